"""Transport maps: marginals of plans, agreement with POT and SciPy, limits."""

import cvxpy as cp
import numpy as np
import ot
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

from sktransfer._solvers.transport import (
    class_plan,
    entropic_plan,
    exact_plan,
    marginal_violation,
    squared_distances,
)
from sktransfer.feature import LinearTransportMap, OptimalTransportMap


@pytest.fixture
def problem(rng):
    """Two classes in each domain; the target's lie apart."""
    source, target = rng.normal(size=(30, 2)), rng.normal(size=(24, 2))
    y_source, y_target = np.arange(30) % 2, np.arange(24) % 2
    source[:, 0] += 3 * y_source
    target[:, 0] += 3 * y_target
    target[:, 1] += 4
    return source, target, y_source, y_target


@pytest.fixture
def rows(problem):
    source, target, y_source, _ = problem
    X = np.vstack([source, target])
    y = np.r_[y_source, np.full(24, np.nan)]
    return X, y, np.repeat([1, -1], [30, 24])


def _uniform(m, n):
    return np.full(m, 1 / m), np.full(n, 1 / n)


# plans


def test_squared_distances_far_from_the_origin(rng):
    X, Z = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    assert_allclose(
        squared_distances(X + 1e6, Z + 1e6), cdist(X, Z, "sqeuclidean"), rtol=1e-6
    )


def test_exact_plan_is_the_assignment_of_scipy(rng):
    C = rng.uniform(size=(20, 20))
    plan = exact_plan(C, *_uniform(20, 20))
    assert_allclose(
        np.sum(plan.coupling * C), C[linear_sum_assignment(C)].sum() / 20, rtol=1e-10
    )
    assert plan.residual < 1e-12


@pytest.mark.parametrize("epsilon", [1.0, 0.1])
def test_entropic_plan_has_the_given_marginals_and_its_potential(rng, epsilon):
    C = rng.uniform(size=(12, 9))
    a, b = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(9))
    plan = entropic_plan(C, epsilon, a, b, max_iter=20000, tol=1e-10)
    assert_allclose(plan.coupling.sum(axis=1), a, atol=1e-9)
    assert_allclose(plan.coupling.sum(axis=0), b, atol=1e-9)
    reference = ot.sinkhorn(a, b, C, epsilon, numItermax=20000, stopThr=1e-10)
    assert_allclose(plan.coupling, reference, atol=1e-8)
    by_potential = np.exp((plan.potential - C) / epsilon)
    by_potential *= (a / by_potential.sum(axis=1))[:, None]
    assert_allclose(by_potential, plan.coupling, atol=1e-9)


def test_entropic_plan_in_the_log_domain(rng):
    C = rng.uniform(size=(8, 8))
    C[0] += 2.0  # far beyond what can be represented at this strength
    plan = entropic_plan(C, 2e-3, max_iter=500, tol=1e-9)
    by_potential = softmax((plan.potential - C) / 2e-3, axis=1) / 8
    assert_allclose(by_potential.sum(axis=0), plan.coupling.sum(axis=0), atol=1e-3)
    assert_allclose(by_potential, plan.coupling, atol=1e-3)


def test_group_lasso_is_solved_to_the_optimum(problem):
    """By an independent solver; POT's loop stops 2 % above it on this problem."""
    source, target, codes, _ = problem
    C = squared_distances(source, target)
    C /= C.mean()
    a, b = _uniform(*C.shape)
    plan = class_plan(C, 0.1, codes, 0.5, "group_lasso", a, b, tol=1e-9)
    assert marginal_violation(plan.coupling, a, b) < 1e-8 and plan.converged

    def objective(G):
        norms = np.sqrt(np.stack([(G[codes == c] ** 2).sum(0) for c in (0, 1)]))
        return np.sum(G * C) + 0.1 * np.sum(G * np.log(G)) + 0.5 * norms.sum()

    G = cp.Variable(C.shape)
    groups = [cp.norm(G[codes == c, j]) for c in (0, 1) for j in range(24)]
    entropy = cp.sum(cp.entr(G))
    exact = cp.Problem(
        cp.Minimize(cp.sum(cp.multiply(C, G)) - 0.1 * entropy + 0.5 * sum(groups)),
        [cp.sum(G, axis=1) == a, cp.sum(G, axis=0) == b],
    )
    exact.solve(solver="CLARABEL")
    assert_allclose(objective(plan.coupling), exact.value, rtol=1e-6)
    assert_allclose(plan.coupling, G.value, atol=2e-5)
    pot = ot.da.sinkhorn_l1l2_gl(
        a, codes, b, C, 0.1, eta=0.5, numItermax=200, numInnerItermax=5000
    )
    assert exact.value - 1e-7 <= objective(plan.coupling) <= objective(pot)


def test_lp_l1_agrees_with_pot(problem):
    source, target, codes, _ = problem
    C = squared_distances(source, target)
    C /= C.mean()
    a, b = _uniform(*C.shape)
    # POT rounds masses, not shares, and weighs their roots without the target's mass
    options = {"tol": 1e-10, "rounding": 24e-3, "fall": 1e-12}
    plan = class_plan(C, 0.1, codes, 0.2, "lp_l1", a, b, **options)
    reference = ot.da.sinkhorn_lpl1_mm(
        a, codes, b, C, 0.1, eta=0.2 / np.sqrt(24), numItermax=100, numInnerItermax=5000
    )
    assert plan.residual < 1e-8 and plan.converged
    assert_allclose(plan.coupling, reference, atol=1e-5)


@pytest.mark.parametrize("penalty", ["group_lasso", "lp_l1"])
def test_class_penalty_of_no_strength_is_the_entropic_plan(problem, penalty):
    source, target, codes, _ = problem
    C = squared_distances(source, target)
    a, b = _uniform(*C.shape)
    plan = class_plan(C, C.mean(), codes, 0.0, penalty, a, b)
    assert_allclose(plan.coupling, entropic_plan(C, C.mean()).coupling, atol=1e-8)


@pytest.mark.parametrize("penalty", ["group_lasso", "lp_l1"])
def test_class_penalty_keeps_classes_apart(problem, penalty):
    source, target, codes, _ = problem
    C = squared_distances(source, target)
    C /= C.mean()
    a, b = _uniform(*C.shape)

    def mixed(strength):
        plan = class_plan(C, 0.2, codes, strength, penalty, a, b)
        share = np.stack([plan.coupling[codes == c].sum(axis=0) for c in (0, 1)])
        return share.min(axis=0).sum()

    assert mixed(1.0) < mixed(0.2) < mixed(0.0)


# maps


@pytest.mark.parametrize("reg", [0.0, 0.05, 1.0])
def test_samples_move_to_the_mean_of_what_they_are_coupled_with(rows, reg):
    X, _, domain = rows
    source, target = X[:30], X[30:]
    C = cdist(source, target, "sqeuclidean")
    a, b = _uniform(30, 24)
    plan = ot.emd(a, b, C) if reg == 0 else ot.sinkhorn(a, b, C, reg * C.mean())
    mapped = OptimalTransportMap(reg, tol=1e-9)
    Z = mapped.fit_transform(X, sample_domain=domain)
    assert_allclose(Z[:30], plan @ target * 30, atol=1e-5)
    assert_allclose(Z[30:], target)
    assert mapped.residual_ < 1e-8


def test_entropic_map_between_exact_transport_and_the_mean(rng):
    X = rng.normal(size=(40, 2))
    both, domain = np.vstack([X, X + [5.0, 0.0]]), np.repeat([1, -1], 40)
    exact = OptimalTransportMap(0.0).fit_transform(both, sample_domain=domain)
    assert_allclose(exact[:40], X + [5.0, 0.0], atol=1e-10)
    small = OptimalTransportMap(5e-3, tol=1e-4)
    Z = small.fit_transform(both, sample_domain=domain)
    assert_allclose(Z[:40], X + [5.0, 0.0], atol=0.5)
    Z = OptimalTransportMap(1e6).fit_transform(both, sample_domain=domain)
    assert_allclose(Z[:40], np.tile((X + [5.0, 0.0]).mean(0), (40, 1)), atol=1e-4)


def test_new_samples_move_like_their_neighbors(rows, rng):
    X, _, domain = rows
    new = X[:30] + 1e-6 * rng.normal(size=(30, 2))
    for transport in (OptimalTransportMap(0.1), OptimalTransportMap(0.0)):
        transport.fit(X, sample_domain=domain)
        expected = transport.transform(X[:30], sample_domain=1)
        Z = transport.transform(new, sample_domain=1)
        assert_allclose(Z, expected, atol=1e-3)
    nearest = OptimalTransportMap(0.1, out_of_sample="nearest")
    nearest.fit(X, sample_domain=domain)
    closed = OptimalTransportMap(0.1).fit(X, sample_domain=domain)
    seen = [m.transform(X[:30], sample_domain=1) for m in (nearest, closed)]
    assert_allclose(*seen, atol=1e-5)
    far = np.array([[100.0, 100.0]])
    move = nearest.transform(far, sample_domain=1) - far
    moves = seen[0] - X[:30]
    assert np.isclose(moves, move, atol=1e-10).all(axis=1).any()
    # the closed form stays within the target's samples
    bounds = X[30:].min(axis=0), X[30:].max(axis=0)
    inside = closed.transform(far, sample_domain=1)
    assert (inside >= bounds[0] - 1e-9).all() and (inside <= bounds[1] + 1e-9).all()


def test_labeled_target_samples_keep_other_classes_away(problem):
    source, target, y_source, y_target = problem
    X, domain = np.vstack([source, target]), np.repeat([1, -1], [30, 24])
    y = np.r_[y_source, 1 - y_target]  # the target's classes lie on the other side
    kept = []
    for match in ("auto", False):
        Z = OptimalTransportMap(0.05, match_labels=match)
        Z = Z.fit_transform(X, y, sample_domain=domain)[:30]
        nearest = cdist(Z, target).argmin(axis=1)
        kept.append(np.mean((1 - y_target)[nearest] == y_source))
    assert kept[0] > 0.9 and kept[1] < 0.3


def test_labels_that_are_no_classes(rows, rng):
    X, _, domain = rows
    y = rng.normal(size=len(X))
    plain = OptimalTransportMap().fit_transform(X, sample_domain=domain)
    assert_allclose(
        OptimalTransportMap().fit_transform(X, y, sample_domain=domain), plain
    )
    for name, value in (("class_reg", 0.1), ("match_labels", True)):
        transport = OptimalTransportMap(**{name: value})
        with pytest.raises(ValueError, match=f"{name}={value} needs classes"):
            transport.fit(X, y, sample_domain=domain)


def test_class_penalty_needs_labels_and_entropy(rows):
    X, y, domain = rows
    with pytest.raises(ValueError, match="requires y"):
        OptimalTransportMap(class_reg=0.1).fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="set reg > 0"):
        OptimalTransportMap(0.0, class_reg=0.1).fit(X, y, sample_domain=domain)


def test_parts_of_large_domains_are_coupled_through_a_sample(rng):
    X = rng.normal(size=(400, 2))
    both, domain = np.vstack([X, X * 2 + 3]), np.repeat([1, -1], 400)
    whole = OptimalTransportMap(0.1).fit_transform(both, sample_domain=domain)[:400]
    part = OptimalTransportMap(0.1, max_samples=150)
    Z = part.fit_transform(both, sample_domain=domain)[:400]
    assert np.abs(Z - whole).mean() < 0.1 * np.abs(whole - X).mean()


def test_transport_of_each_source(rows):
    X, _, domain = rows
    domain = np.where((domain > 0) & (np.arange(54) % 3 == 0), 2, domain)
    each = OptimalTransportMap(per_source=True).fit_transform(X, sample_domain=domain)
    for source in (1, 2):
        alone = domain != 3 - source
        one = OptimalTransportMap().fit_transform(X[alone], sample_domain=domain[alone])
        assert_allclose(each[alone], one, atol=1e-6)


def test_transport_warns_when_it_stops_early(rows):
    X, _, domain = rows
    with pytest.warns(ConvergenceWarning, match="misses its marginals"):
        OptimalTransportMap(0.01, max_iter=2).fit(X, sample_domain=domain)


# linear transport


def test_linear_transport_agrees_with_pot(rng):
    X, Z = rng.normal(size=(50, 3)), rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3))
    X[:, 0] += 4
    A, b = ot.gaussian.empirical_bures_wasserstein_mapping(X, Z, reg=0)
    both, domain = np.vstack([X, Z]), np.repeat([1, -1], [50, 60])
    linear = LinearTransportMap(0.0).fit(both, sample_domain=domain)
    assert_allclose(linear.transform(X, sample_domain=1), X @ A + b, atol=1e-6)


def test_linear_transport_of_several_sources(rng):
    target = rng.normal(size=(80, 2)) @ [[2.0, 0.3], [0.3, 1.0]]
    parts = [target @ [[1.5, 0.2], [0.2, 0.5]] - 3, target * 0.1 + 7, target]
    domain = np.repeat([1, 2, -1], 80)
    X = np.vstack(parts)
    Z = LinearTransportMap(0.0, per_source=True).fit_transform(X, sample_domain=domain)
    assert_allclose(Z[domain == 1], target, atol=1e-8)
    assert_allclose(Z[domain == 2], target, atol=1e-8)
    pooled = LinearTransportMap(0.0).fit_transform(X, sample_domain=domain)
    moments = [np.cov(rows, rowvar=False, bias=True) for rows in (pooled[:160], target)]
    assert_allclose(*moments, rtol=1e-8)
    assert not np.allclose(pooled[domain == 1], target, atol=0.1)


def test_several_outputs(problem):
    source, target, y_source, _ = problem
    X, domain = np.vstack([source, target]), np.repeat([1, -1], [30, 24])
    y = np.r_[y_source, np.arange(24) % 2].astype(float)
    expected = OptimalTransportMap(class_reg=0.1).fit_transform(X, y, domain)
    both = np.column_stack([y, 1 - y])  # the same classes, told twice
    for labels in (both, np.array(["no", "yes"])[both.astype(int)]):
        mapped = OptimalTransportMap(class_reg=0.1).fit_transform(X, labels, domain)
        assert_allclose(mapped, expected)
    # real numbers are no classes
    plain = OptimalTransportMap(match_labels=False).fit_transform(X, y, domain)
    numbers = np.column_stack([X[:, 0], X[:, 1]])
    assert_allclose(OptimalTransportMap().fit_transform(X, numbers, domain), plain)
    with pytest.raises(ValueError, match="real numbers"):
        OptimalTransportMap(class_reg=0.1).fit(X, numbers, domain)
