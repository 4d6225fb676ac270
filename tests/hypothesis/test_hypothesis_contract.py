"""The two contracts for other settings than those of the common table."""

import warnings

import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils.estimator_checks import check_estimator

from sktransfer.hypothesis import (
    AdaptiveGP,
    PositiveTransferLogistic,
    PositiveTransferRidge,
    SecureRLS,
)
from sktransfer.utils.estimator_checks import parametrize_with_transfer_checks

ESTIMATORS = [
    AdaptiveGP(RBF(2.0, "fixed"), likelihood="joint"),
    AdaptiveGP(transfer_strength=0.5, noise_bounds="fixed", normalize_y=False),
    PositiveTransferLogistic(0.1, prior_weight=1.0, fit_intercept=False),
    PositiveTransferRidge(prior_weight=0.3, drop_sources=False, fit_intercept=False),
    SecureRLS([Ridge(), LinearRegression()], alphas=[0.1, 1.0], truncation=None),
    SecureRLS(fit_intercept=False, truncation=1.0, source_weights="uniform"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_sklearn_contract(estimator):
    with warnings.catch_warnings():
        # array API checks need an environment variable before SciPy is imported
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(estimator)


@parametrize_with_transfer_checks(ESTIMATORS)
def test_transfer_contract(estimator, check):
    check(estimator)
