"""Class-balanced selection of source samples: limits, optimality, balance."""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer._solvers.class_balance import balanced_counts, solve_balanced
from sktransfer.baselines import Pooled
from sktransfer.instance import ActiveSourceSelection


def test_counts_are_equal_but_for_exhausted_classes():
    sizes = np.array([3, 10, 20])
    np.testing.assert_array_equal(balanced_counts(sizes, 33), sizes)
    np.testing.assert_array_equal(balanced_counts(sizes, 9), [3, 3, 3])
    np.testing.assert_array_equal(balanced_counts(sizes, 15), [3, 6, 6])
    np.testing.assert_array_equal(balanced_counts(sizes, 28), [3, 10, 15])
    np.testing.assert_array_equal(balanced_counts(sizes, 2), [1, 1, 0])


def test_solution_agrees_with_cvxpy(rng):
    A = rng.normal(size=(30, 12))
    K, kappa = A @ A.T, 3 * rng.uniform(size=30)
    classes, counts = np.arange(30) % 3, np.array([4, 7, 10])
    b, info = solve_balanced(K, kappa, classes, counts, tol=1e-8, max_iter=20000)
    assert info.gap <= 1e-8
    v = cp.Variable(30)
    constraints = [v >= 0, v <= 1]
    constraints += [cp.sum(v[classes == c]) == counts[c] for c in range(3)]
    objective = 0.5 * cp.sum_squares(A.T @ v) - kappa @ v
    best = cp.Problem(cp.Minimize(objective), constraints).solve(solver="CLARABEL")
    assert info.objective == pytest.approx(best, abs=1e-5)
    np.testing.assert_allclose(
        [b[classes == c].sum() for c in range(3)], counts, atol=1e-8
    )
    assert b.min() >= 0
    assert b.max() <= 1
    _, stopped = solve_balanced(K, kappa, classes, counts, max_iter=1)
    assert stopped.gap > 1e-4


def _data(rng):
    X = rng.normal(size=(200, 2))
    X[:60] += 9  # a far cluster of the source
    domain = np.repeat([1, -1], [150, 50])
    y = np.where(rng.uniform(size=200) < 0.2, "rare", "usual")
    return X, y, domain


def test_far_samples_are_dropped_and_classes_are_balanced(rng):
    X, y, domain = _data(rng)
    model = ActiveSourceSelection(LogisticRegression(), n_samples=30)
    model.fit(X, y, sample_domain=domain)
    kept = model.sample_weight_.astype(bool)
    assert kept.sum() == 30
    assert not kept[:60].any()
    assert model.n_kept_ == {"rare": 15, "usual": 15}
    assert (y[:150][kept] == "rare").sum() == 15
    assert model.effective_sample_size_ == 30
    assert set(np.unique(model.sample_weight_)) == {0, 1}
    share = ActiveSourceSelection(LogisticRegression(), n_samples=0.2)
    share.fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(share.sample_weight_, model.sample_weight_)


def test_all_samples_is_the_pooled_fit(rng):
    X, y, domain = _data(rng)
    model = ActiveSourceSelection(LogisticRegression(), n_samples=1.0)
    model.fit(X, y, sample_domain=domain)
    pooled = Pooled(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert model.sample_weight_.all()
    np.testing.assert_allclose(model.predict_proba(X), pooled.predict_proba(X))


def test_order_of_the_samples_is_free(rng):
    X, y, domain = _data(rng)
    X[100:120] = X[100]  # equal samples are exchangeable
    order = rng.permutation(200)
    one = ActiveSourceSelection(LogisticRegression(), n_samples=0.3)
    two = ActiveSourceSelection(LogisticRegression(), n_samples=0.3)
    one.fit(X, y, sample_domain=domain)
    two.fit(X[order], y[order], sample_domain=domain[order])
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X), atol=1e-8)


def test_regression_has_one_class(rng):
    X, _, domain = _data(rng)
    y = X[:, 0] + rng.normal(size=200)
    model = ActiveSourceSelection(Ridge(), n_samples=40).fit(X, y, sample_domain=domain)
    assert model.n_kept_ == {None: 40}
    assert not model.sample_weight_[:60].any()


def test_more_than_all_is_one_error(rng):
    X, y, domain = _data(rng)
    with pytest.raises(ValueError, match="n_samples=151, but the sources have 150"):
        ActiveSourceSelection(LogisticRegression(), n_samples=151).fit(
            X, y, sample_domain=domain
        )
