"""Which source rows count: reweighting of instances."""

from sktransfer.instance._kmm import KMM, kmm_weights
from sktransfer.instance._label_shift import (
    LabelShiftClassifier,
    LabelShiftInfo,
    label_shift_weights,
)

__all__ = [
    "KMM",
    "LabelShiftClassifier",
    "LabelShiftInfo",
    "kmm_weights",
    "label_shift_weights",
]
