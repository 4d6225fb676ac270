"""Tools for people who write transfer estimators, and for clusters."""

from sktransfer.utils._memory_maps import send_memory_maps_by_name
from sktransfer.utils.estimator_checks import (
    check_transfer_estimator,
    parametrize_with_transfer_checks,
)

__all__ = [
    "check_transfer_estimator",
    "parametrize_with_transfer_checks",
    "send_memory_maps_by_name",
]
