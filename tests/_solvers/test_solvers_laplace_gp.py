import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF

from sktransfer._solvers.laplace_gp import laplace_evidence, posterior_mode


@pytest.fixture
def problem():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(20, 2))
    return X, np.where(X[:, 0] + 0.5 * rng.normal(size=20) > 0, 1.0, -1.0)


def test_the_evidence_is_that_of_scikit_learn(problem):
    X, t = problem
    for width in (0.3, 1.3, 5.0):
        found, _, _ = laplace_evidence(9.0 * RBF(width)(X), t)
        plain = GaussianProcessClassifier(9.0 * RBF(width), optimizer=None).fit(X, t)
        assert found == pytest.approx(-plain.log_marginal_likelihood_value_, rel=1e-5)


def test_the_mode_has_gradient_0(problem):
    X, t = problem
    for scale in (0.01, 1.0, 1e4):
        K = scale * RBF(1.0)(X)
        f, a, residual = posterior_mode(K, t)
        assert residual <= 1e-8
        assert_allclose(a, (t + 1) / 2 - expit(f), atol=1e-8)
        assert_allclose(f, K @ a)


def test_the_slope_is_that_of_differences(problem):
    X, t = problem
    K = RBF(1.0)(X)
    rng = np.random.RandomState(1)
    for _ in range(3):
        D = rng.normal(size=(20, 20))
        D = D @ D.T
        slope = laplace_evidence(K, t)[1]
        found = approx_fprime(
            [0.0], lambda e, D=D: laplace_evidence(K + e[0] * D, t)[0], 1e-7
        )
        assert np.sum(slope * D) == pytest.approx(found[0], rel=1e-4)
