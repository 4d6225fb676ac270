"""Discrepancy minimization and fixed shares: equations and limits."""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge

from sktransfer.baselines import Pooled
from sktransfer.instance import LDM, BalancedWeighting, kmm_weights, ldm_weights


def pair(n=60, d=3, shift=0.8):
    rng = np.random.RandomState(0)
    return rng.normal(size=(n, d)), 0.7 * rng.normal(size=(n, d)) + shift


def discrepancy(X_source, X_target, w):
    return np.linalg.norm(
        X_target.T @ X_target / len(X_target) - (X_source.T * w) @ X_source, 2
    )


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_optimum_is_that_of_a_semidefinite_program(fit_intercept):
    S, T = pair(shift=1.5)
    weights, info = ldm_weights(
        S, T, fit_intercept=fit_intercept, tol=1e-4, max_iter=20000, return_info=True
    )
    if fit_intercept:
        S, T = (np.column_stack([X, np.ones(len(X))]) for X in (S, T))
    w = cp.Variable(len(S), nonneg=True)
    M = T.T @ T / len(T) - S.T @ cp.diag(w) @ S
    problem = cp.Problem(cp.Minimize(cp.sigma_max(M)), [cp.sum(w) == 1])
    problem.solve(solver=cp.CLARABEL)
    assert weights.min() >= 0 and weights.mean() == pytest.approx(1)
    assert info.discrepancy == pytest.approx(discrepancy(S, T, weights / len(S)))
    assert info.discrepancy == pytest.approx(problem.value, abs=2e-4 * info.uniform)
    assert info.lower_bound <= problem.value + 1e-6
    assert info.uniform == pytest.approx(discrepancy(S, T, np.full(60, 1 / 60)))


def test_equal_domains_keep_equal_weights():
    S, _ = pair()
    weights, info = ldm_weights(S, S[::-1], return_info=True)
    assert weights == pytest.approx(np.ones(60)) and info.n_iter == 1


def test_units_do_not_decide_on_convergence():
    S, T = pair()
    one = ldm_weights(S, T, fit_intercept=False)
    assert ldm_weights(1e6 * S, 1e6 * T, fit_intercept=False) == pytest.approx(one)


def test_all_linear_hypotheses_lose_alike_on_both_domains():
    S, T = pair(400)
    w = ldm_weights(S, T) / 400
    rng = np.random.RandomState(1)
    u, b = rng.normal(size=(3, 50)), rng.normal(size=50)
    on_source = w @ (S @ u + b) ** 2
    on_target = np.mean((T @ u + b) ** 2, axis=0)
    plain = np.mean((S @ u + b) ** 2, axis=0)
    assert abs(on_source - on_target).max() < 0.1 * abs(plain - on_target).max()


def test_stopping_early_is_said():
    S, T = pair()
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        ldm_weights(S, T, max_iter=2)


def test_line_through_the_target_part_of_a_curve():
    S, T = pair(200, 1, 1.0)
    X, y = np.vstack([S, T]), np.r_[S[:, 0] ** 2, np.full(200, np.nan)]
    domain = np.repeat([1, -1], 200)
    model = LDM(LinearRegression()).fit(X, y, sample_domain=domain)
    mse = np.mean((model.predict(T) - T[:, 0] ** 2) ** 2)
    plain = Pooled(LinearRegression()).fit(X, y, sample_domain=domain)
    assert mse < 0.6 * np.mean((plain.predict(T) - T[:, 0] ** 2) ** 2)
    assert model.ratio_info_[0].converged
    assert len(kmm_weights(S, T)) == len(model.sample_weight_)


def test_share_of_the_target_is_the_share_of_the_weight(routing):
    X, y = np.zeros((10, 1)), np.r_[np.zeros(8), [3.0, 5.0]]
    domain = np.repeat([1, 2, -1], [6, 2, 2])
    user = np.r_[np.ones(8), [2.0, 0.5]]
    for share in (0.1, 0.5, 0.9):
        learner = LinearRegression().set_fit_request(sample_weight=True)
        model = BalancedWeighting(learner, target_share=share)
        found = model.fit(X, y, sample_domain=domain, sample_weight=user)
        expected = share * np.average(y[8:], weights=user[8:])
        assert found.predict(X[:1]) == pytest.approx(expected)
    model.set_params(per_source=True, target_share=0.5)
    model.fit(X, np.r_[np.zeros(6), 4.0, 4.0, 0, 0], sample_domain=domain)
    assert model.predict(X[:1]) == pytest.approx(1.0)


def test_balance_is_a_source_weight_of_pooled():
    S, T = pair()
    X, y = np.vstack([S, T]), np.r_[S[:, 0], T[:, 0] + 1]
    y[70:] = np.nan
    domain = np.repeat([1, -1], 60)
    balanced = BalancedWeighting(Ridge(), target_share=0.2)
    balanced = balanced.fit(X, y, sample_domain=domain)
    pooled = Pooled(Ridge(), source_weight=0.8 * 10 / (0.2 * 60))
    pooled = pooled.fit(X, y, sample_domain=domain)
    assert balanced.predict(T) == pytest.approx(pooled.predict(T))


def test_tiny_weights_of_the_user_are_no_collapse(routing):
    S, T = pair()
    X, y = np.vstack([S, T]), np.r_[S[:, 0], np.full(60, np.nan)]
    ridge = Ridge().set_fit_request(sample_weight=True)
    model = LDM(ridge, tol=0.1)  # a warning would be an error
    weights = np.full(120, 1e-6)
    model.fit(X, y, sample_domain=np.repeat([1, -1], 60), sample_weight=weights)
    assert model.effective_sample_size_ < 1e-4
