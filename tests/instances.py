"""Every public estimator, built cheaply: the table behind the common tests.

A new method adds a line here. Both scikit-learn's checks and the transfer contract
run on every line.
"""

from importlib.util import find_spec

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import check_array, get_tags

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.feature import (
    CDLS,
    CORAL,
    HHTL,
    JCPOT,
    JDA,
    JDOT,
    SSTCA,
    TCA,
    TJM,
    TSL,
    TTI,
    DirectStandardization,
    DomainInvariantPLS,
    DualTransfer,
    FeatureAugmentation,
    FeatureMMDSelection,
    GeodesicFlowKernel,
    LinearTransportMap,
    LowRankSparseTransfer,
    MMDLinearMap,
    OptimalTransportMap,
    OTLabelPropagation,
    PiecewiseDirectStandardization,
    SubspaceAlignment,
)
from sktransfer.hypothesis import (
    AdaptiveGP,
    AdaptiveGPClassifier,
    AdaptiveSVC,
    LinearInterpolation,
    OffsetTransfer,
    PositiveTransferLogistic,
    PositiveTransferRidge,
    SecureLogistic,
    SecureRLS,
    SlopeBiasCorrection,
    SourcePredictions,
    TransferChain,
    TransferForest,
    TransferTree,
)
from sktransfer.instance import (
    KLIEP,
    KMM,
    LDM,
    RULSIF,
    ULSIF,
    ActiveSourceSelection,
    BalancedWeighting,
    DomainClassifierWeighting,
    GaussianWeighting,
    LabelShiftClassifier,
    MultiSourceTrAdaBoost,
    MultiSourceTrAdaBoostR2,
    NearestNeighborWeighting,
    Resampled,
    TaskTrAdaBoost,
    TaskTrAdaBoostR2,
    TrAdaBoost,
    TrAdaBoostR2,
    TwoStageTrAdaBoostR2,
)
from sktransfer.metrics import OTCERegressor
from sktransfer.multisource import (
    ARMUL,
    MCW,
    OTQMS,
    UOWQ,
    WADN,
    AngleTransfer,
    AngleTransferLogistic,
    ARMULLogistic,
    ChiSquareWeights,
    DomainRecognitionEnsemble,
    EmpiricalBayesLogistic,
    EmpiricalBayesRidge,
    FeatureFusion,
    HEnsemble,
    IncrementalSourceEnsemble,
    MMDWeightedEnsemble,
    MultiTaskRelationship,
    PeerWeightedEnsemble,
    SingleBestSource,
    SourceClusters,
    SourceFreeEnsemble,
    SourceInfluence,
    SourceSelector,
    TransGLM,
    UOWQMultiTask,
)
from sktransfer.preprocessing import DomainScaler, TableEncoder
from sktransfer.pseudo_label import (
    DASVM,
    GradualSelfTraining,
    PredictiveDistributionMatching,
    SelectivePseudoLabeling,
    SelfTraining,
)
from sktransfer.safe import (
    SAFEW,
    ReliableTransfer,
    TransferConformal,
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)

_STUMP = DecisionTreeClassifier(max_depth=1, random_state=0)
_TREE = DecisionTreeRegressor(max_depth=2, random_state=0)


class WithFeatures(LogisticRegression):
    """A source model that has features: the inputs."""

    def transform(self, X):
        """Return the samples."""
        return check_array(X, accept_sparse=True)


#: estimators that know no domains: scikit-learn's checks alone
PLAIN_ESTIMATORS = [
    OTCERegressor(),
    TableEncoder(drop_copies=False),
    Resampled(LogisticRegression()),
    Resampled(Ridge()),
]

ESTIMATORS = [
    SourceOnly(LogisticRegression()),
    SourceOnly(Ridge()),
    TargetOnly(LogisticRegression()),
    TargetOnly(Ridge()),
    Pooled(LogisticRegression()),
    Pooled(LinearRegression()),
    TargetOnly(DecisionTreeRegressor(random_state=0)),
    Pooled(Ridge(), source_weight=0.5),
    Pooled(Ridge(), add_domain=True, max_rows=8),
    Pooled(LogisticRegression(), add_domain="one-hot", max_rows=8),
    ActiveSourceSelection(LogisticRegression()),
    ActiveSourceSelection(Ridge(), n_samples=0.8, kernel="linear"),
    KMM(LogisticRegression()),
    KMM(LogisticRegression(), target_weight=0.0, kernel="linear"),
    KMM(Ridge()),
    KMM(Ridge(), solver="low_rank"),
    ULSIF(LogisticRegression()),
    ULSIF(Ridge(), gamma="median", regularization=0.1, per_source=True),
    RULSIF(Ridge(), n_centers=20, target_weight=0.0),
    KLIEP(LogisticRegression(), gamma="median"),
    KLIEP(Ridge(), gamma="scale", n_centers=10),
    DomainClassifierWeighting(LogisticRegression(), cv=2, per_source=True),
    DomainClassifierWeighting(
        Ridge(), classifier=LogisticRegression(), calibrate=False, cv=2
    ),
    NearestNeighborWeighting(LogisticRegression()),
    GaussianWeighting(Ridge()),
    LDM(Ridge()),
    BalancedWeighting(LogisticRegression(), per_source=True),
    BalancedWeighting(Ridge()),
    TrAdaBoost(_STUMP, n_estimators=4),
    TrAdaBoost(LogisticRegression(), n_estimators=3, voting="all"),
    TrAdaBoostR2(_TREE, n_estimators=4),
    TwoStageTrAdaBoostR2(Ridge(), n_estimators=2, n_steps=2, cv=2),
    MultiSourceTrAdaBoost(_STUMP, n_estimators=3),
    MultiSourceTrAdaBoostR2(Ridge(), n_estimators=3, loss="square"),
    TaskTrAdaBoost(_STUMP, n_estimators=3),
    TaskTrAdaBoostR2(_TREE, n_estimators=3),
    DASVM(LinearSVC(dual=False), n_rounds=2),
    GradualSelfTraining(LogisticRegression(), n_steps=2),
    PredictiveDistributionMatching(LogisticRegression(), n_rounds=2),
    SelectivePseudoLabeling(n_rounds=2),
    SelfTraining(LogisticRegression(), n_rounds=2, assign="clusters", soft="shares"),
    SelfTraining(LogisticRegression(), n_rounds=2),
    SelfTraining(
        LogisticRegression(),
        n_rounds=2,
        criterion="mutual_information",
        class_balance=False,
        soft=True,
        fade_sources=True,
        max_noise=0.5,
        predict_harm=True,
    ),
    LabelShiftClassifier(LogisticRegression(), cv=3),
    LabelShiftClassifier(LinearSVC(dual=False), method="bbse", cv=2),
    LabelShiftClassifier(LogisticRegression(), method="rlls", cv=2),
    TCA(2),
    TCA(2, kernel="linear"),
    TCA(2, eigen_solver="nystroem", n_landmarks=15),
    SSTCA(2),
    DirectStandardization(),
    PiecewiseDirectStandardization(1),
    SlopeBiasCorrection(Ridge()),
    DomainScaler(),
    DomainScaler(rotate=True, covariates=[0], shrinkage=2.0),
    JDA(2),
    JDA(2, kernel="rbf", balance=0.2, n_landmarks=20, regularizer="coefficients"),
    TJM(2, max_iter=3),
    TSL(1, n_init=1),
    TSL(1, criterion="pca", n_init=1),
    DomainInvariantPLS(),
    FeatureMMDSelection(2, kernel="rbf"),
    FeatureMMDSelection(0.5),
    CORAL(),
    CORAL(0.0, reg=1.0, align_means=False, per_source=True),
    SubspaceAlignment(2),
    GeodesicFlowKernel(1),
    FeatureAugmentation(),
    FeatureAugmentation("rbf", agreement=1.0, n_landmarks=15),
    MMDLinearMap(max_iter=1000),
    OptimalTransportMap(0.2),
    OptimalTransportMap(0.2, class_reg=0.1, class_penalty="lp_l1"),
    OptimalTransportMap(0.0, match_labels=False, per_source=True),
    LinearTransportMap(),
    OTLabelPropagation(LogisticRegression(), reg=0.2),
    OTLabelPropagation(Ridge(), reg=0.0),
    JDOT(LogisticRegression(), max_iter=50),
    JDOT(Ridge(), reg=0.2, max_iter=50),
    JCPOT(LogisticRegression(), reg=0.2),
    CDLS(LogisticRegression(), max_iter=2),
    CDLS(LinearSVC(dual=False), delta=1.0, n_components=2),
    HHTL(LogisticRegression()),
    HHTL(Ridge(), n_layers=0),
    TTI(),
    DualTransfer(4, 2, tol=0.05),
    LowRankSparseTransfer(growth=1.2, tol=0.01),
    SecureRLS(),
    SecureRLS([Ridge(), LinearRegression()], alphas=[0.1, 1.0], truncation=None),
    SecureRLS(fit_intercept=False, truncation=1.0, source_weights="uniform"),
    SecureLogistic(alphas=[0.1, np.inf]),
    AdaptiveSVC(LinearSVC(dual=False)),
    SecureLogistic(alpha=0.1, unlabeled_weight=0.5, fit_intercept=False),
    PositiveTransferRidge(),
    PositiveTransferRidge(prior_weight=0.3, drop_sources=False, fit_intercept=False),
    PositiveTransferLogistic(),
    PositiveTransferLogistic(0.1, prior_weight=1.0, fit_intercept=False),
    AdaptiveGP(RBF(2.0, "fixed")),
    AdaptiveGP(
        RBF(2.0, "fixed"),
        transfer_strength=0.5,
        noise_bounds="fixed",
        normalize_y=False,
    ),
    AdaptiveGPClassifier(RBF(2.0, "fixed"), transfer_strength=0.5),
    LinearInterpolation(LogisticRegression(), cv=2),
    LinearInterpolation(Ridge(), target_share=0.5),
    TransferTree(DecisionTreeClassifier(max_depth=4, random_state=0), method="strut"),
    TransferChain(SecureRLS()),
    TransferChain(SecureLogistic(alphas=[0.1, np.inf])),
    TransferForest(ExtraTreesRegressor(2, max_depth=2, random_state=0)),
    OffsetTransfer(LogisticRegression(C=0.1), cv=3),
    OffsetTransfer(Ridge(), shrinkage=0.5),
    OffsetTransfer(Ridge(), Ridge(alpha=10.0), cv=3),
    SourcePredictions(LogisticRegression()),
    SourcePredictions(Ridge(), passthrough=False, cv=3),
    SAFEW(LogisticRegression()),
    SAFEW(Ridge()),
    TransferGuard(Pooled(LogisticRegression()), cv=3),
    TransferGuard(Pooled(Ridge()), cv=3, policy="aggregate"),
    TransferGuard(Pooled(Ridge()), cv=3, policy="safew"),
    TransferGuard(Pooled(LinearSVC(dual=False)), cv=3, policy="aggregate"),
    TransferPortfolioClassifier(DecisionTreeClassifier(random_state=0), cv=2),
    TransferPortfolioClassifier(
        members=[
            ("pooled", Pooled(LogisticRegression())),
            ("kmm", KMM(LogisticRegression())),
            ("alone", LogisticRegression()),
        ],
        aggregation="q",
        cv=3,
    ),
    TransferPortfolioRegressor(Ridge(), aggregation="convex", cv=2),
    TransferPortfolioRegressor(
        members=[
            ("alone", Ridge()),
            ("pooled", Pooled(Ridge())),
            ("source", SourceOnly(Ridge())),
        ],
        cv=2,
    ),
    ReliableTransfer(
        LogisticRegression(), alpha=0.5, mitigation=KMM(LogisticRegression())
    ),
    ReliableTransfer(Ridge(), alpha=0.5, mitigation=KMM(Ridge())),
    TransferConformal(Pooled(LogisticRegression())),
    TransferConformal(Pooled(Ridge()), method="split"),
    TransferConformal(KMM(Ridge()), method="weighted"),
    UOWQ(LogisticRegression()),
    UOWQ(Ridge(), weighting="static"),
    UOWQ(LinearRegression()),
    UOWQMultiTask(LogisticRegression()),
    UOWQMultiTask(LinearRegression()),
    MultiTaskRelationship(LogisticRegression(), penalty=0.1),
    MultiTaskRelationship(Ridge(), cv=2, max_iter=500),
    OTQMS(LogisticRegression(), random_state=0),
    OTQMS(Ridge(), random_state=0),
    OTQMS(LinearRegression(), random_state=0),
    MMDWeightedEnsemble(LogisticRegression()),
    MMDWeightedEnsemble(Ridge()),
    PeerWeightedEnsemble(LogisticRegression()),
    DomainRecognitionEnsemble(LogisticRegression()),
    DomainRecognitionEnsemble(Ridge()),
    SourceFreeEnsemble(LogisticRegression()),
    ChiSquareWeights(),
    ChiSquareWeights(noise_correction=False, shrinkage=1.0),
    FeatureFusion(LogisticRegression()),
    FeatureFusion(LogisticRegression(), source_score="otce", fusion="sum"),
    IncrementalSourceEnsemble(LogisticRegression()),
    IncrementalSourceEnsemble(LogisticRegression(), threshold=-1.0, max_models=3),
    HEnsemble(LogisticRegression()),
    MCW(LogisticRegression()),
    HEnsemble(WithFeatures(), response="features"),
    MCW(WithFeatures(), response="features"),
    WADN(LogisticRegression(), n_rounds=2, n_projections=10),
    WADN(
        LinearSVC(dual=False),
        class_ratio="predictions",
        spread_by="sources",
        n_rounds=2,
        n_projections=10,
        cv=2,
    ),
    SingleBestSource(LogisticRegression()),
    SingleBestSource(Ridge()),
    SourceSelector(Pooled(LogisticRegression())),
    SourceSelector(Pooled(Ridge()), source_score="ntg", n_sources=1, cv=3),
    SourceInfluence(Pooled(LogisticRegression()), cv=2, n_subsets=4),
    SourceInfluence(Pooled(Ridge()), method="gradient", cv=2, n_subsets=4),
    SourceClusters(LogisticRegression(), by_class=True),
    SourceClusters(Pooled(Ridge()), 1, merge=True),
    ARMUL(),
    ARMUL(penalty=1.0, alpha=0.1, fit_intercept=False),
    ARMUL(form="clustered", n_centers=2, penalty=1.0),
    ARMUL(form="low_rank", n_centers=1, penalty=1.0, alpha=0.1),
    ARMULLogistic(penalty=1.0),
    ARMULLogistic(
        form="clustered", n_centers=2, penalty=1.0, alpha=0.1, fit_intercept=False
    ),
    TransGLM(penalties=[0.5, 0.1], correction_penalties=[0.5, 0.1], cv=2),
    TransGLM(
        penalties=[0.5, 0.1],
        correction_penalties=[0.5],
        aggregation="exponential",
        cv=2,
    ),
    TransGLM(
        family="binomial",
        penalties=[0.3],
        correction_penalties=[np.inf, 0.3],
        aggregation="q",
        cv=2,
    ),
    AngleTransfer(),
    AngleTransfer(alpha=1.0, eta=0.5, fit_intercept=False),
    AngleTransferLogistic(alpha=1.0),
    AngleTransferLogistic(alpha=1.0, eta=0.5, fit_intercept=False),
    EmpiricalBayesLogistic(),
    EmpiricalBayesLogistic(
        alpha=0.1, commensurability=1.0, borrow_weight=0.5, fit_intercept=False
    ),
    EmpiricalBayesRidge(),
    EmpiricalBayesRidge(
        pseudo_sources=0.0, noise="common", borrow_weight=0.5, fit_intercept=False
    ),
]

if find_spec("torch"):
    from sktransfer.deep import (
        ADDA,
        DAN,
        DANN,
        DATN,
        GTA,
        PADA,
        SHOT,
        WSDTN,
        DANNRegressor,
        DANRegressor,
        DeepCORAL,
        DeepCORALRegressor,
        FineTuning,
        FineTuningRegressor,
        MultiTaskNetClassifier,
        MultiTaskNetRegressor,
        OTCEFineTuning,
        SelectiveAutoencoder,
        SourceFreeNets,
        SourceOnlyNet,
        SourceOnlyNetRegressor,
        TargetOnlyNet,
        TargetOnlyNetRegressor,
        TransferNetClassifier,
        TransferNetRegressor,
        UOWQNet,
    )

    #: a net for classes, and one for real labels, need few epochs at this rate
    _CLASSES = {"max_steps": 5, "lr": 0.05, "batch_size": 64, "random_state": 0}
    _REALS = _CLASSES | {"max_steps": 10}
    ESTIMATORS += [
        TransferNetClassifier(**_CLASSES),
        TransferNetRegressor(gate=True, **_REALS),
        SourceOnlyNet(**_CLASSES),
        SourceOnlyNetRegressor(**_REALS),
        TargetOnlyNet(**_CLASSES),
        TargetOnlyNetRegressor(**_REALS),
        DANN(gate=True, **_CLASSES),
        DANNRegressor(**_REALS),
        DAN(**_CLASSES),
        DANRegressor(gate=True, **_REALS),
        DeepCORAL(gate=True, **_CLASSES),
        DeepCORALRegressor(**_REALS),
        ADDA(**_CLASSES | {"max_steps": 12}),
        PADA(gate=True, **_CLASSES),
        GTA(**_CLASSES),
        UOWQNet(max_epochs=3, lr=0.02, batch_size=32, random_state=0),
        UOWQNet(
            max_epochs=3,
            lr=0.02,
            trainable="adapter",
            warmup=0.0,
            fisher="expected",
            noise_correction=True,
            random_state=0,
        ),
        MultiTaskNetClassifier(weighting="dwa", **_CLASSES),
        MultiTaskNetRegressor(weighting="cagrad", **_REALS),
        SelectiveAutoencoder(warmup=0.0, mmd_weight=0.1, **_CLASSES),
        SHOT(TransferNetClassifier(**_CLASSES), max_steps=4, random_state=0),
        SourceFreeNets(
            TransferNetClassifier(**_CLASSES), max_steps=4, lr=0.01, random_state=0
        ),
        OTCEFineTuning(max_epochs=3, lr=0.02, batch_size=32, random_state=0),
        FineTuning(path="auto", trainable=1, **_CLASSES),
        FineTuningRegressor(lr_ratio=0.5, **_REALS),
        DATN(
            n_components=6,
            source_hidden=(),
            target_hidden=(),
            pretrain_iter=15,
            max_iter=3,
            learning_rate=0.1,
            random_state=0,
        ),
        WSDTN(
            n_components=6,
            pretrain_iter=15,
            max_iter=3,
            learning_rate=0.1,
            random_state=0,
        ),
    ]

_NO_ITERATION = {
    "check_non_transformer_estimators_n_iter": (
        "the check fits without sources, where no weight is to be found: n_iter_ is 0"
    )
}
_NO_MAP = {
    "check_transformer_n_iter": (
        "the check fits without sources, where there is no map: n_iter_ is 0"
    )
}
_BY_NAME = {
    "check_dataframe_column_names_consistency": (
        "columns are found by name, so that their order does not matter"
    )
}
_MAPPED = {
    "check_metadata_sliced": (
        "the learner sees mapped features, and the check reads the first one of X"
    )
}
#: (class, type): name of a check -> the property of the method that makes it fail
EXPECTED_FAILURES = {
    (TableEncoder, None): _BY_NAME,
    (ActiveSourceSelection, "classifier"): _NO_ITERATION,
    (ActiveSourceSelection, "regressor"): _NO_ITERATION,
    (LDM, "regressor"): _NO_ITERATION,
    (CDLS, "classifier"): _NO_ITERATION | _MAPPED,
    (DualTransfer, "classifier"): {
        "check_pipeline_routing": "the scaler of the check makes negative rows"
    },
    (HHTL, "classifier"): _MAPPED,
    (HHTL, "regressor"): _MAPPED,
    (KMM, "classifier"): _NO_ITERATION,
    (KMM, "regressor"): _NO_ITERATION,
    (LabelShiftClassifier, "classifier"): _NO_ITERATION,
    (SourcePredictions, None): {
        "check_domain_order": "the columns of the sources come in the order of the ids"
    },
    (MMDLinearMap, None): _NO_MAP,
    (LowRankSparseTransfer, None): _NO_MAP,
    (OptimalTransportMap, None): _NO_MAP,
    (OTLabelPropagation, "classifier"): _NO_ITERATION,
    (OTLabelPropagation, "regressor"): _NO_ITERATION,
    (JDOT, "classifier"): _NO_ITERATION,
    (JDOT, "regressor"): _NO_ITERATION,
    (JCPOT, "classifier"): _NO_ITERATION,
    (FeatureAugmentation, None): {
        "check_domain_order": "the copies of the sources come in the order of the ids"
    },
    (UOWQ, "classifier"): _NO_ITERATION,
    (UOWQMultiTask, "classifier"): _NO_ITERATION,
    (SourceFreeEnsemble, "classifier"): _NO_ITERATION,
    (HEnsemble, "classifier"): _NO_ITERATION,
}


def expected_failures(estimator):
    """Return the expected failures of an estimator."""
    kind = get_tags(estimator).estimator_type
    return EXPECTED_FAILURES.get((type(estimator), kind), {})
