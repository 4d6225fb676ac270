"""uowq_weights: optimality of the KL expression, limits, and bad input."""

import time

import numpy as np
import pytest
from scipy.optimize import minimize

from sktransfer.multisource import uowq_weights


def make_problem(rng, n_sources, n_params=6):
    A = rng.normal(size=(n_params, 2 * n_params))
    return {
        "target_params": rng.normal(size=n_params),
        "source_params": rng.normal(size=(n_sources, n_params)),
        "n_target": int(rng.integers(10, 60)),
        "source_sizes": rng.integers(20, 500, size=n_sources),
        "fisher": A @ A.T / n_params,
    }


def divergence(weights, problem):
    """Evaluate the expected KL term by term: squared bias and variance of the fit."""
    n0, n = problem["n_target"], problem["source_sizes"]
    J, d = problem["fisher"], len(problem["target_params"])
    total = n0 + weights @ n
    shift = problem["source_params"] - problem["target_params"]
    bias = (weights * n) @ shift / total
    variance = d * (n0 + weights**2 @ n) / total**2
    return (variance + bias @ J @ bias) / 2


@pytest.mark.parametrize("n_sources", [1, 2, 3, 4, 5])
def test_weights_minimize_the_divergence(n_sources):
    rng = np.random.default_rng(n_sources)
    for _ in range(4):
        problem = make_problem(rng, n_sources)
        problem["source_params"] *= 0.3
        result = uowq_weights(**problem)
        found = [
            minimize(
                divergence,
                start,
                args=(problem,),
                bounds=[(0, None)] * n_sources,
                method="L-BFGS-B",
                options={"ftol": 1e-16, "gtol": 1e-12, "maxiter": 5000},
            )
            for start in (np.zeros(n_sources), rng.uniform(size=n_sources))
        ]
        best = min(found, key=lambda f: f.fun)
        assert result.kl == pytest.approx(divergence(result.weights, problem))
        assert result.kl <= best.fun + 1e-12
        assert result.kl == pytest.approx(best.fun, abs=1e-6)
        np.testing.assert_allclose(result.weights, best.x, atol=1e-4)


def test_proportions_solve_the_quadratic_program_on_the_simplex():
    import cvxpy as cp

    rng = np.random.default_rng(0)
    problem = make_problem(rng, 5)
    result = uowq_weights(**problem)
    shift = problem["source_params"] - problem["target_params"]
    Q = np.diag(1 / problem["source_sizes"]) + shift @ problem["fisher"] @ shift.T / 6
    alpha = cp.Variable(5)
    objective = cp.Minimize(cp.quad_form(alpha, cp.psd_wrap(Q)))
    cp.Problem(objective, [alpha >= 0, cp.sum(alpha) == 1]).solve(
        solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
    )
    np.testing.assert_allclose(result.proportions, alpha.value, atol=1e-6)
    # stationarity: equal gradients on the support, larger ones off it
    gradient, t = Q @ result.proportions, 1 / result.transfer_quantity
    assert gradient.min() == pytest.approx(t, rel=1e-10)
    np.testing.assert_allclose(gradient[result.proportions > 0], t, rtol=1e-10)


def test_result_is_consistent():
    problem = make_problem(np.random.default_rng(1), 3)
    result = uowq_weights(**problem)
    quantities = result.weights * problem["source_sizes"]
    assert quantities.sum() == pytest.approx(result.transfer_quantity)
    np.testing.assert_allclose(quantities / quantities.sum(), result.proportions)
    d, n0 = 6, problem["n_target"]
    assert result.kl == pytest.approx(d / 2 / (n0 + result.transfer_quantity))
    assert result.kl_target_only == pytest.approx(d / 2 / n0)
    assert result.kl < result.kl_target_only


@pytest.mark.parametrize("n", [1, 30, 3000])
def test_one_source_has_a_closed_form(n):
    rng = np.random.default_rng(n)
    problem = make_problem(rng, 1)
    problem["source_sizes"] = [n]
    delta = problem["source_params"][0] - problem["target_params"]
    expected = 1 / (1 + n * delta @ problem["fisher"] @ delta / 6)
    assert uowq_weights(**problem).weights[0] == pytest.approx(expected, rel=1e-12)


def test_copy_of_the_target_gets_weight_one_and_a_far_source_none():
    theta = np.array([1.0, -2.0])
    result = uowq_weights(
        target_params=theta,
        source_params=[theta, theta + 1e6],
        n_target=10,
        source_sizes=[50, 50],
        fisher=np.eye(2),
    )
    np.testing.assert_allclose(result.weights, [1, 0], atol=1e-6)


def test_fewer_rows_get_a_larger_weight():
    problem = make_problem(np.random.default_rng(2), 1)
    problem["source_sizes"] = [400]
    full = uowq_weights(**problem).weights[0]
    problem["source_sizes"] = [200]
    assert uowq_weights(**problem).weights[0] > 1.5 * full


def test_splitting_a_source_changes_no_weight():
    problem = make_problem(np.random.default_rng(3), 2)
    problem["source_sizes"] = np.array([300, 100])
    whole = uowq_weights(**problem)
    problem["source_params"] = problem["source_params"][[0, 0, 1]]
    problem["source_sizes"] = [150, 150, 100]
    split = uowq_weights(**problem)
    assert split.transfer_quantity == pytest.approx(whole.transfer_quantity)
    np.testing.assert_allclose(split.weights, whole.weights[[0, 0, 1]], rtol=1e-8)


def test_reparametrization_changes_nothing():
    rng = np.random.default_rng(4)
    problem = make_problem(rng, 3)
    A = rng.normal(size=(6, 6))
    moved = dict(problem)
    moved["target_params"] = A @ problem["target_params"]
    moved["source_params"] = problem["source_params"] @ A.T
    inverse = np.linalg.inv(A)
    moved["fisher"] = inverse.T @ problem["fisher"] @ inverse
    moved["fisher"] = (moved["fisher"] + moved["fisher"].T) / 2
    np.testing.assert_allclose(
        uowq_weights(**moved).weights, uowq_weights(**problem).weights, rtol=1e-6
    )


def test_scores_equal_their_information():
    rng = np.random.default_rng(5)
    problem = make_problem(rng, 3)
    G = rng.normal(size=(40, 6))
    problem["fisher"] = G.T @ G / 40
    expected = uowq_weights(**problem).weights
    problem["fisher"] = None
    np.testing.assert_allclose(
        uowq_weights(**problem, scores=G).weights, expected, rtol=1e-10
    )


def test_noise_correction_subtracts_the_noise_of_target_and_sources():
    problem = make_problem(np.random.default_rng(6), 3)
    problem["source_params"] += 2
    plain = uowq_weights(**problem)
    corrected = uowq_weights(**problem, noise_correction=True)
    np.testing.assert_allclose(corrected.proportions, plain.proportions)
    floor = np.sum(plain.proportions**2 / problem["source_sizes"])
    t = 1 / plain.transfer_quantity - 1 / problem["n_target"] - floor
    assert t > floor
    assert corrected.transfer_quantity == pytest.approx(1 / t)


def test_corrected_discrepancy_is_unbiased():
    """For fixed shares, here of one source; its positive part is checked above."""
    rng = np.random.default_rng(10)
    d, n0, n, delta = 8, 20, 30, 1.0
    found = []
    for _ in range(500):
        result = uowq_weights(
            target_params=rng.normal(size=d) / np.sqrt(n0),
            source_params=[delta + rng.normal(size=d) / np.sqrt(n)],
            n_target=n0,
            source_sizes=[n],
            fisher=np.eye(d),
            noise_correction=True,
        )
        found.append(result.discrepancy)
    assert abs(np.mean(found) - delta**2) < 4 * np.std(found) / np.sqrt(500)


def test_noise_correction_is_positive_part_james_stein():
    """With J = I and an endless source the fit shrinks by 1 - d / (N_0 |x|^2)."""
    rng = np.random.default_rng(7)
    d, n0 = 10, 25
    for scale in (0.1, 0.5, 1.0):
        x = rng.normal(size=d) * scale
        result = uowq_weights(
            target_params=x,
            source_params=np.zeros((1, d)),
            n_target=n0,
            source_sizes=[1e12],
            fisher=np.eye(d),
            noise_correction=True,
        )
        kept = n0 / (n0 + result.transfer_quantity)
        assert kept == pytest.approx(max(1 - d / (n0 * x @ x), 0), abs=1e-6)


def test_two_hundred_sources_in_two_seconds():
    rng = np.random.default_rng(8)
    K, d = 200, 500
    start = time.perf_counter()
    result = uowq_weights(
        target_params=np.zeros(d),
        source_params=rng.normal(size=(K, d)) / 10,
        n_target=30,
        source_sizes=rng.integers(20, 2000, size=K),
        scores=rng.normal(size=(30, d)),
    )
    assert time.perf_counter() - start < 2
    assert (result.proportions >= 0).all()
    assert result.proportions.sum() == pytest.approx(1)


def test_a_hundred_thousand_parameters_never_form_the_information():
    rng = np.random.default_rng(9)
    d = 100_000  # the matrix would take 80 GB
    result = uowq_weights(
        target_params=np.zeros(d),
        source_params=rng.normal(size=(3, d)) / 100,
        n_target=30,
        source_sizes=[100, 100, 100],
        scores=rng.normal(size=(10, d)),
    )
    assert np.isfinite(result.weights).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"source_params": np.empty((0, 6)), "source_sizes": []}, "no source"),
        ({"source_sizes": [1, 2]}, "source_sizes"),
        ({"source_sizes": [1, 0, 2]}, "source_sizes"),
        ({"target_params": np.zeros(5)}, "source_params has 6 columns"),
        ({"scores": np.ones((3, 6))}, "exactly one"),
        ({"fisher": None}, "exactly one"),
        ({"fisher": None, "scores": np.zeros((3, 6))}, "held-out"),
        ({"fisher": None, "scores": np.ones((3, 5))}, "scores has 5 columns"),
        ({"fisher": np.zeros((6, 6))}, "is zero"),
        ({"fisher": -np.eye(6)}, "semidefinite"),
        ({"fisher": np.triu(np.ones((6, 6)))}, "symmetric"),
        ({"n_target": 0}, "n_target"),
    ],
)
def test_bad_input(change, match):
    problem = {**make_problem(np.random.default_rng(0), 3), **change}
    with pytest.raises(ValueError, match=match):
        uowq_weights(**problem)


def test_singular_fisher_warns_and_counts_its_rank():
    problem = make_problem(np.random.default_rng(0), 2)
    problem["fisher"] = np.diag([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    with pytest.warns(UserWarning, match="rank 3 of 6"):
        result = uowq_weights(**problem)
    seen = {
        **problem,
        "target_params": problem["target_params"][:3],
        "source_params": problem["source_params"][:, :3],
        "fisher": np.eye(3),
    }
    np.testing.assert_allclose(result.weights, uowq_weights(**seen).weights)


def alternate(x, n0, n_rounds=4000):
    """Kept share of x under the published alternation, one endless source at 0."""
    d, current = len(x), x
    for _ in range(n_rounds):
        s = uowq_weights(
            target_params=current,
            source_params=np.zeros((1, d)),
            n_target=n0,
            source_sizes=[1e12],
            fisher=np.eye(d),
        ).transfer_quantity
        kept = n0 / (n0 + s)
        if abs(kept * x - current).max() < 1e-13:
            break
        current = kept * x
    return kept


def test_published_alternation_gives_in_below_four():
    """Its fixed point is full transfer for c = N_0 |x|^2 / d < 4, whatever the truth.

    Beyond, u = s / N_0 is the smaller root of u^2 + (2 - c) u + 1 = 0.
    """
    n0, d = 25, 10
    direction = np.ones(d)
    x = direction * np.sqrt(3.0 / n0)
    assert alternate(x, n0) < 1e-3
    c = 6.0
    u = ((c - 2) - np.sqrt(c * (c - 4))) / 2
    x = direction * np.sqrt(c / n0)
    assert alternate(x, n0) == pytest.approx(1 / (1 + u), rel=1e-6)
