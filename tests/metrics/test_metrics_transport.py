import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from sklearn.exceptions import ConvergenceWarning

from sktransfer.metrics import sinkhorn_divergence, sliced_wasserstein, wasserstein
from sktransfer.metrics._transport import entropic_plan


@pytest.mark.parametrize("order", [1, 2, 3.5])
def test_wasserstein_is_the_best_assignment(order):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(12, 3)), rng.normal(1, size=(12, 3))
    C = np.linalg.norm(X[:, None] - Y[None], axis=-1) ** order
    expected = C[linear_sum_assignment(C)].mean() ** (1 / order)
    assert wasserstein(X, Y, order=order) == pytest.approx(expected, rel=1e-9)


def test_one_feature_agrees_with_scipy():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(15, 1)), rng.normal(1, size=(9, 1))
    expected = wasserstein_distance(X[:, 0], Y[:, 0])
    assert wasserstein(X, Y) == pytest.approx(expected, rel=1e-12)
    assert sliced_wasserstein(X, Y, order=1) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_translation_costs_its_length(order):
    X = np.random.RandomState(0).normal(size=(20, 2))
    assert wasserstein(X, X + [3.0, 4.0], order=order) == pytest.approx(5.0)


def test_units():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(20, 2)), rng.normal(1, size=(30, 2))
    assert wasserstein(10 * X, 10 * Y) == pytest.approx(10 * wasserstein(X, Y))
    before, after = sinkhorn_divergence(X, Y), sinkhorn_divergence(10 * X, 10 * Y)
    assert after == pytest.approx(100 * before, rel=1e-5)


def test_sliced_distance_is_seeded_and_below_the_exact_one():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(20, 4)), rng.normal(1, size=(30, 4))
    first = sliced_wasserstein(X, Y, random_state=1)
    assert first == sliced_wasserstein(X, Y, random_state=1)
    assert 0 < first < wasserstein(X, Y, order=2)


@pytest.mark.parametrize("epsilon", [0.5, 0.1, 0.03])
def test_entropic_plan_solves_its_optimality_conditions(epsilon):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(15, 2)), rng.normal(1, size=(10, 2))
    C = np.sum((X[:, None] - Y[None]) ** 2, axis=-1)
    plan, residual = entropic_plan(C, epsilon, max_iter=20000, tol=1e-10)
    assert residual < 1e-9
    np.testing.assert_allclose(plan.sum(1), 1 / 15, atol=1e-8)
    np.testing.assert_allclose(plan.sum(0), 1 / 10, atol=1e-8)
    # log plan + C / epsilon is a sum of a row and a column term
    total = np.log(plan) + C / epsilon
    double = total - total[:1] - total[:, :1] + total[0, 0]
    np.testing.assert_allclose(double, 0, atol=1e-6)


def test_sinkhorn_approaches_exact_transport():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(15, 2)), rng.normal(2, size=(15, 2))
    exact = wasserstein(X, Y, order=2) ** 2
    errors = [
        abs(sinkhorn_divergence(X, Y, reg=r, tol=1e-6, max_iter=100000) - exact)
        for r in (1.0, 0.1, 0.01)
    ]
    assert errors[2] < errors[0]
    assert errors[2] < 0.01 * exact


def test_sinkhorn_divergence_from_its_plans():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(8, 2)), rng.normal(1, size=(6, 2))

    def entropic(A, B, epsilon):
        # averaged dual updates in the log domain, written out
        C = np.sum((A[:, None] - B[None]) ** 2, axis=-1)
        f, g = np.zeros(len(A)), np.zeros(len(B))
        for _ in range(3000):
            new_f = -epsilon * np.log(np.mean(np.exp((g - C) / epsilon), axis=1))
            lifted = (f[:, None] - C) / epsilon
            new_g = -epsilon * np.log(np.mean(np.exp(lifted), axis=0))
            f, g = (f + new_f) / 2, (g + new_g) / 2
        return f.mean() + g.mean()

    epsilon = 0.2 * np.mean(np.sum((X[:, None] - Y[None]) ** 2, axis=-1))
    expected = entropic(X, Y, epsilon)
    expected -= (entropic(X, X, epsilon) + entropic(Y, Y, epsilon)) / 2
    value = sinkhorn_divergence(X, Y, reg=0.2, tol=1e-12)
    assert value == pytest.approx(expected, rel=1e-8)


def test_early_stop_warns_with_the_residual():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(30, 2)), rng.normal(5, size=(30, 2))
    with pytest.warns(ConvergenceWarning, match="residual"):
        sinkhorn_divergence(X, Y, reg=0.01, max_iter=2)


def test_constant_samples():
    assert sinkhorn_divergence(np.ones((3, 2)), np.ones((4, 2))) == 0
    assert wasserstein(np.ones((3, 2)), np.ones((4, 2))) == pytest.approx(0, abs=1e-7)
