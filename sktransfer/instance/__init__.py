"""Which source samples count: reweighting of instances."""

from sktransfer._solvers.density_ratio import DensityRatioInfo
from sktransfer.instance._active_source_selection import ActiveSourceSelection
from sktransfer.instance._balanced import BalancedWeighting
from sktransfer.instance._domain_classifier import (
    DomainClassifierWeighting,
    domain_classifier_weights,
    domain_density_ratios,
)
from sktransfer.instance._gaussian import GaussianWeighting, gaussian_weights
from sktransfer.instance._kliep import KLIEP, kliep_weights
from sktransfer.instance._kmm import KMM, kmm_weights
from sktransfer.instance._kmm_of_chunks import kmm_weights_of_chunks
from sktransfer.instance._label_shift import (
    LabelShiftClassifier,
    LabelShiftInfo,
    label_shift_weights,
)
from sktransfer.instance._ldm import LDM, DiscrepancyInfo, ldm_weights
from sktransfer.instance._multi_source_boosting import (
    MultiSourceTrAdaBoost,
    MultiSourceTrAdaBoostR2,
)
from sktransfer.instance._nearest_neighbor import (
    NearestNeighborWeighting,
    nearest_neighbor_weights,
)
from sktransfer.instance._ratio_of_chunks import density_ratio_of_chunks
from sktransfer.instance._ratio_template import effective_sample_size
from sktransfer.instance._resampled import Resampled
from sktransfer.instance._task_boosting import TaskTrAdaBoost, TaskTrAdaBoostR2
from sktransfer.instance._tradaboost import TrAdaBoost, TrAdaBoostR2
from sktransfer.instance._two_stage import TwoStageTrAdaBoostR2
from sktransfer.instance._ulsif import (
    RULSIF,
    ULSIF,
    rulsif_weights,
    ulsif_weights,
)

__all__ = [
    "ActiveSourceSelection",
    "BalancedWeighting",
    "DensityRatioInfo",
    "DiscrepancyInfo",
    "DomainClassifierWeighting",
    "GaussianWeighting",
    "KLIEP",
    "KMM",
    "LDM",
    "LabelShiftClassifier",
    "LabelShiftInfo",
    "MultiSourceTrAdaBoost",
    "MultiSourceTrAdaBoostR2",
    "NearestNeighborWeighting",
    "RULSIF",
    "Resampled",
    "TaskTrAdaBoost",
    "TaskTrAdaBoostR2",
    "TrAdaBoost",
    "TrAdaBoostR2",
    "TwoStageTrAdaBoostR2",
    "ULSIF",
    "density_ratio_of_chunks",
    "domain_classifier_weights",
    "domain_density_ratios",
    "effective_sample_size",
    "gaussian_weights",
    "kliep_weights",
    "kmm_weights",
    "kmm_weights_of_chunks",
    "label_shift_weights",
    "ldm_weights",
    "nearest_neighbor_weights",
    "rulsif_weights",
    "ulsif_weights",
]
