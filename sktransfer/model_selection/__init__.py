"""Splitters that test on labeled target rows only."""

from sktransfer.model_selection._split import (
    SourceToTargetSplit,
    StratifiedTargetKFold,
    TargetKFold,
    TargetShuffleSplit,
)

__all__ = [
    "SourceToTargetSplit",
    "StratifiedTargetKFold",
    "TargetKFold",
    "TargetShuffleSplit",
]
