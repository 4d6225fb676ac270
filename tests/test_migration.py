"""The page for users of other packages: no class of theirs without a row."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "migration.rst"
#: public names that the packages list, at the versions that the page names
PEERS = {
    "skada 0.6.0": """
        AmazonReviewDomain CAN CDAN CORAL CORALAdapter CircularValidation
        ClassRegularizerOTMapping ClassRegularizerOTMappingAdapter DAN DANN
        DASVMClassifier DeepCoral DeepEmbeddedValidation DeepJDOT DensityReweight
        DensityReweightAdapter DiscriminatorReweight DiscriminatorReweightAdapter
        DomainAwareCriterion DomainAwareDataset DomainAwareModule DomainAwareNet
        DomainShuffleSplit DomainSubsampler EntropicOTMapping EntropicOTMappingAdapter
        GaussianReweight GaussianReweightAdapter GradualEstimator
        ImportanceWeightedScorer JCPOTLabelProp JCPOTLabelPropAdapter JDOTClassifier
        JDOTRegressor KLIEPReweight KLIEPReweightAdapter KMMReweight KMMReweightAdapter
        LeaveOneDomainOut LinearOTMapping LinearOTMappingAdapter MCC MDD
        MMDLSConSMapping MMDLSConSMappingAdapter MMDTarSReweight MMDTarSReweightAdapter
        MaNoScorer MixValScorer MultiLinearMongeAlignment
        MultiLinearMongeAlignmentAdapter NearestNeighborReweight
        NearestNeighborReweightAdapter OTLabelProp OTLabelPropAdapter OTMapping
        OTMappingAdapter Office31Domain OfficeHomeDomain PerDomain
        PredictionEntropyScorer SPA SelectSource SelectSourceTarget SelectTarget Shared
        SoftNeighborhoodDensity SourceOnly SourceTargetShuffleSplit
        StratifiedDomainShuffleSplit StratifiedDomainSubsampler SubspaceAlignment
        SubspaceAlignmentAdapter Subsampler SupervisedScorer TargetOnly
        TransferComponentAnalysis TransferComponentAnalysisAdapter
        TransferJointMatching TransferJointMatchingAdapter TransferSubspaceLearning
        TransferSubspaceLearningAdapter
    """,
    "adapt 0.4.5": """
        ADDA BalancedWeighting CCSA CDAN CORAL DANN DeepCORAL FA FineTuning IWC IWN
        KLIEP KMM LDM LinInt MCD MDD NearestNeighborsWeighting PRED RULSIF
        RegularTransferGP RegularTransferLC RegularTransferLR RegularTransferNN SA TCA
        TrAdaBoost TrAdaBoostR2 TransferForestClassifier TransferForestSelector
        TransferTreeClassifier TransferTreeSelector TwoStageTrAdaBoostR2 ULSIF WANN
        WDGRL fMMD
    """,
    "pyriemann 0.12, module transfer": """
        MDWM TLCenter TLClassifier TLDummy TLEstimator TLRegressor TLRotate TLScale
        TLSplitter decode_domains encode_domains
    """,
}


@pytest.mark.parametrize("title", PEERS)
def test_every_name_of_a_peer_has_a_row(title):
    part = PAGE.read_text().split(f"\n{title}\n~")[1].split("\n~~~")[0]
    rows = re.split(r"^   \* - ", part, flags=re.M)[2:]
    named = set()
    for row in rows:
        there, here, differs = re.split(r"\n     - ", row)[:3]
        assert here.strip() and differs.strip()
        named |= set(re.findall(r"``(\w+)``", there))
    assert set(PEERS[title].split()) <= named
