"""Self-labeling of the target: pseudo-labels, and how far to believe them."""

from sktransfer.pseudo_label._dasvm import DASVM
from sktransfer.pseudo_label._gradual import GradualSelfTraining
from sktransfer.pseudo_label._label_noise import label_noise
from sktransfer.pseudo_label._predictive_matching import (
    PredictiveDistributionMatching,
)
from sktransfer.pseudo_label._selective import SelectivePseudoLabeling
from sktransfer.pseudo_label._self_training import SelfTraining

__all__ = [
    "DASVM",
    "GradualSelfTraining",
    "PredictiveDistributionMatching",
    "SelectivePseudoLabeling",
    "SelfTraining",
    "label_noise",
]
