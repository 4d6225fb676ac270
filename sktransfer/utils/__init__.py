"""Tools for people who write transfer estimators."""

from sktransfer.utils.estimator_checks import (
    check_transfer_estimator,
    parametrize_with_transfer_checks,
)

__all__ = ["check_transfer_estimator", "parametrize_with_transfer_checks"]
