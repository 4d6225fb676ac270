"""Several sources: which of them count, and how much."""

from sktransfer._source_summary import SourceSummary
from sktransfer.multisource._angle_transfer import AngleTransfer
from sktransfer.multisource._angle_transfer_logistic import AngleTransferLogistic
from sktransfer.multisource._armul import ARMUL
from sktransfer.multisource._armul_logistic import ARMULLogistic
from sktransfer.multisource._chi_square_weights import ChiSquareWeights
from sktransfer.multisource._domain_recognition import DomainRecognitionEnsemble
from sktransfer.multisource._empirical_bayes import EmpiricalBayesRidge
from sktransfer.multisource._empirical_bayes_logistic import EmpiricalBayesLogistic
from sktransfer.multisource._feature_fusion import FeatureFusion
from sktransfer.multisource._h_ensemble import HEnsemble
from sktransfer.multisource._incremental import IncrementalSourceEnsemble
from sktransfer.multisource._likelihood import (
    FisherRoot,
    Likelihood,
    likelihood_of,
    register_likelihood,
)
from sktransfer.multisource._mcw import MCW
from sktransfer.multisource._mmd_ensemble import MMDWeightedEnsemble
from sktransfer.multisource._otqms import OTQMS
from sktransfer.multisource._peer_ensemble import PeerWeightedEnsemble
from sktransfer.multisource._single_best import SingleBestSource
from sktransfer.multisource._source_clusters import SourceClusters
from sktransfer.multisource._source_free import SourceFreeEnsemble
from sktransfer.multisource._source_influence import SourceInfluence
from sktransfer.multisource._source_selector import SourceSelector
from sktransfer.multisource._summarize import SourceSummarizer, summarize_source
from sktransfer.multisource._task_relationship import MultiTaskRelationship
from sktransfer.multisource._trans_glm import TransGLM
from sktransfer.multisource._uowq import UOWQ
from sktransfer.multisource._uowq_multitask import UOWQMultiTask
from sktransfer.multisource._uowq_weights import UOWQResult, uowq_weights
from sktransfer.multisource._wadn import WADN

__all__ = [
    "ARMUL",
    "ARMULLogistic",
    "AngleTransfer",
    "AngleTransferLogistic",
    "ChiSquareWeights",
    "DomainRecognitionEnsemble",
    "EmpiricalBayesLogistic",
    "EmpiricalBayesRidge",
    "FeatureFusion",
    "FisherRoot",
    "HEnsemble",
    "IncrementalSourceEnsemble",
    "Likelihood",
    "MCW",
    "MMDWeightedEnsemble",
    "MultiTaskRelationship",
    "OTQMS",
    "PeerWeightedEnsemble",
    "SingleBestSource",
    "SourceClusters",
    "SourceFreeEnsemble",
    "SourceInfluence",
    "SourceSelector",
    "SourceSummarizer",
    "SourceSummary",
    "TransGLM",
    "UOWQ",
    "UOWQMultiTask",
    "UOWQResult",
    "WADN",
    "likelihood_of",
    "register_likelihood",
    "summarize_source",
    "uowq_weights",
]
