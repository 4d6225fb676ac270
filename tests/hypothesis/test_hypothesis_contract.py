from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from sktransfer.hypothesis import (
    AdaptiveGP,
    PositiveTransferLogistic,
    PositiveTransferRidge,
    SecureRLS,
)
from sktransfer.utils.estimator_checks import parametrize_with_transfer_checks

ESTIMATORS = [
    AdaptiveGP(RBF(2.0, "fixed")),
    AdaptiveGP(transfer_strength=0.5, noise_bounds="fixed", normalize_y=False),
    PositiveTransferLogistic(),
    PositiveTransferLogistic(0.1, prior_weight=1.0, fit_intercept=False),
    PositiveTransferRidge(),
    PositiveTransferRidge(prior_weight=0.3, drop_sources=False, fit_intercept=False),
    SecureRLS(),
    SecureRLS([Ridge(), LinearRegression()], alphas=[0.1, 1.0], truncation=None),
    SecureRLS(fit_intercept=False, truncation=1.0, source_weights="uniform"),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_contract(estimator, check):
    check(estimator)


@parametrize_with_transfer_checks(ESTIMATORS)
def test_transfer_contract(estimator, check):
    check(estimator)
