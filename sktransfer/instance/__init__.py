"""Which source samples count: reweighting of instances."""

from sktransfer._solvers.density_ratio import DensityRatioInfo
from sktransfer.instance._domain_classifier import (
    DomainClassifierWeighting,
    domain_classifier_weights,
    domain_density_ratios,
)
from sktransfer.instance._gaussian import GaussianWeighting, gaussian_weights
from sktransfer.instance._kliep import KLIEP, kliep_weights
from sktransfer.instance._kmm import KMM, kmm_weights
from sktransfer.instance._label_shift import (
    LabelShiftClassifier,
    LabelShiftInfo,
    label_shift_weights,
)
from sktransfer.instance._nearest_neighbor import (
    NearestNeighborWeighting,
    nearest_neighbor_weights,
)
from sktransfer.instance._ratio_template import effective_sample_size
from sktransfer.instance._ulsif import (
    RULSIF,
    ULSIF,
    rulsif_weights,
    ulsif_weights,
)

__all__ = [
    "DensityRatioInfo",
    "DomainClassifierWeighting",
    "GaussianWeighting",
    "KLIEP",
    "KMM",
    "LabelShiftClassifier",
    "LabelShiftInfo",
    "NearestNeighborWeighting",
    "RULSIF",
    "ULSIF",
    "domain_classifier_weights",
    "domain_density_ratios",
    "effective_sample_size",
    "gaussian_weights",
    "kliep_weights",
    "kmm_weights",
    "label_shift_weights",
    "nearest_neighbor_weights",
    "rulsif_weights",
    "ulsif_weights",
]
