"""Splitters that test on the target, and validation without target labels."""

from sktransfer.model_selection._split import (
    GroupTargetKFold,
    GroupTargetShuffleSplit,
    SourceToTargetSplit,
    StratifiedGroupTargetKFold,
    StratifiedTargetKFold,
    TargetKFold,
    TargetShuffleSplit,
)
from sktransfer.model_selection._unseen_domain import (
    UnseenDomainResult,
    cross_val_unseen_domain,
)
from sktransfer.model_selection._unsupervised_validation import (
    MixedDomainKFold,
    circular_validation_scorer,
    deep_embedded_validation_scorer,
    importance_weighted_risk,
    importance_weighted_scorer,
    make_importance_weighted_scorer,
    make_soft_neighborhood_density_scorer,
    prediction_entropy,
    prediction_entropy_scorer,
    soft_neighborhood_density,
    soft_neighborhood_density_scorer,
)

__all__ = [
    "GroupTargetKFold",
    "GroupTargetShuffleSplit",
    "MixedDomainKFold",
    "SourceToTargetSplit",
    "StratifiedGroupTargetKFold",
    "StratifiedTargetKFold",
    "TargetKFold",
    "TargetShuffleSplit",
    "UnseenDomainResult",
    "circular_validation_scorer",
    "cross_val_unseen_domain",
    "deep_embedded_validation_scorer",
    "importance_weighted_risk",
    "importance_weighted_scorer",
    "make_importance_weighted_scorer",
    "make_soft_neighborhood_density_scorer",
    "prediction_entropy",
    "prediction_entropy_scorer",
    "soft_neighborhood_density",
    "soft_neighborhood_density_scorer",
]
