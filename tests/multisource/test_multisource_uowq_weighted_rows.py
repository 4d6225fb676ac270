"""UOWQ and its kin count weighted rows, and solve alike by either solver."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sktransfer._solvers.uowq import optimal_quantities, solve_uowq
from sktransfer.multisource import (
    OTQMS,
    UOWQ,
    Likelihood,
    UOWQMultiTask,
    register_likelihood,
    uowq_weights,
)


class GammaLikelihood(Likelihood):
    """Scores alone, so that the held-out ones are used."""

    def parameters(self, model):
        return np.append(model.coef_, model.intercept_)

    def scores(self, model, X, y):
        residual = y / model.predict(X) - 1
        return residual[:, None] * np.column_stack([X, np.ones(len(X))])


class ScoredGamma(GammaRegressor):
    """Of its own, since what is registered stays for all other tests."""


register_likelihood(ScoredGamma, GammaLikelihood())


@pytest.fixture(autouse=True)
def routing():
    with config_context(enable_metadata_routing=True):
        yield


LEARNERS = [
    LinearRegression(),
    Ridge(0.7),
    LogisticRegression(tol=1e-10, solver="newton-cholesky"),
    PoissonRegressor(alpha=0.1, tol=1e-10, solver="newton-cholesky"),
]
WRAPPERS = [UOWQ, UOWQMultiTask, lambda learner: OTQMS(learner, random_state=0)]


def make_rows(learner, seed=0):
    rng = np.random.default_rng(seed)
    domain = np.repeat([1, 2, -1], [60, 50, 40])
    X = rng.normal(size=(150, 3))
    eta = X @ [1.0, 0.5, 0.0] + np.where(domain == 2, 1.5, 0.2) * X[:, 2] * (domain > 0)
    if isinstance(learner, LogisticRegression):
        return X, (eta + rng.logistic(size=150) > 0).astype(int), domain
    if isinstance(learner, PoissonRegressor):
        return X, rng.poisson(np.exp(eta / 4)).astype(float), domain
    if isinstance(learner, GammaRegressor):
        return X, np.exp(eta / 4) * rng.gamma(5, size=150), domain
    return X, eta + rng.normal(size=150), domain


def weigh(wrapper, learner, X, y, domain, **weights):
    learner = learner.set_fit_request(sample_weight=True)
    return wrapper(learner).fit(X, y, sample_domain=domain, **weights)


def weights_of(model):
    for name in ("source_weights_", "affinity_", "source_quantities_"):
        if hasattr(model, name):
            return getattr(model, name)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("wrapper", WRAPPERS[:2])
def test_a_weight_of_two_is_two_rows(wrapper, learner):
    X, y, domain = make_rows(learner)
    w = np.random.default_rng(1).integers(1, 4, size=len(y))
    found = weigh(wrapper, learner, X, y, domain, sample_weight=w.astype(float))
    rows = np.repeat(np.arange(len(y)), w)
    expected = wrapper(learner).fit(X[rows], y[rows], sample_domain=domain[rows])
    assert_allclose(weights_of(found), weights_of(expected), atol=1e-6)
    assert_allclose(found.predict(X), expected.predict(X), atol=1e-6)
    if wrapper is UOWQ:
        assert found.n_parameters_ == pytest.approx(expected.n_parameters_, rel=1e-6)
        assert_allclose(found.kl_path_, expected.kl_path_, rtol=1e-5)


@pytest.mark.parametrize("learner", [*LEARNERS, ScoredGamma(alpha=0.1)])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_row_of_weight_zero_is_a_removed_row(wrapper, learner):
    X, y, domain = make_rows(learner)
    rng = np.random.default_rng(2)
    w = np.where(rng.uniform(size=len(y)) < 0.3, 0.0, rng.uniform(0.5, 2, size=len(y)))
    y_spoilt = np.where(w == 0, y[::-1], y)
    found = weigh(wrapper, learner, X, y_spoilt, domain, sample_weight=w)
    kept = w > 0
    expected = weigh(
        wrapper, learner, X[kept], y[kept], domain[kept], sample_weight=w[kept]
    )
    assert_allclose(weights_of(found), weights_of(expected), atol=1e-9)
    assert_allclose(found.predict(X), expected.predict(X), atol=1e-9)


def test_a_source_or_class_of_weight_zero_is_gone():
    learner = LogisticRegression()
    X, y, domain = make_rows(learner)
    y[:5] = 7  # a class that only weightless rows of the first source have
    w = np.where((y == 7) | (domain == 2), 0.0, 1.0)
    model = weigh(UOWQ, learner, X, y, domain, sample_weight=w)
    assert model.source_ids_.tolist() == [1]
    assert model.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_weights_that_cannot_be_counted_are_refused(wrapper):
    learner = LinearRegression()
    X, y, domain = make_rows(learner)
    with pytest.raises(ValueError, match=r"domain -1 has sample_weight 0"):
        w = np.where(domain == -1, 0.0, 1.0)
        weigh(wrapper, learner, X, y, domain, sample_weight=w)
    with pytest.raises(ValueError, match="sample_weight must hold"):
        weigh(wrapper, learner, X, y, domain, sample_weight=-np.ones(len(y)))


def test_quantities_are_sums_of_weights():
    learner = LinearRegression()
    X, y, domain = make_rows(learner)
    rows = np.repeat(np.arange(150), 2)
    twice = OTQMS(learner, quantities="static", random_state=0)
    twice.fit(X[rows], y[rows], sample_domain=domain[rows])
    heavy = OTQMS(
        learner.set_fit_request(sample_weight=True), quantities="static", random_state=0
    )
    heavy.fit(X, y, sample_domain=domain, sample_weight=np.full(150, 2.0))
    assert_allclose(heavy.kl_path_, twice.kl_path_, rtol=1e-8)
    assert_allclose(2 * heavy.source_quantities_, twice.source_quantities_, atol=1)


def problems(kind, rng, n=6):
    for _ in range(n):
        K = int(rng.integers(1, 9))
        P, sizes = rng.normal(size=(6, K)), rng.integers(5, 500, size=K).astype(float)
        if kind == "twins":
            P, sizes = np.tile(P, 2), np.tile(sizes, 2)
        elif kind == "at the target":
            P[:, : K // 2 + 1] = 0.0
        elif kind == "few rows":
            P = P[:2]
        elif kind == "scales":
            P, sizes = P * 10.0 ** rng.integers(-4, 5, size=K), sizes**2
        elif kind == "opposite":
            P = np.hstack([P, -P])
            sizes = np.tile(sizes, 2)
        elif kind == "unusable":
            P[:, 0] = np.inf
        yield P, sizes


KINDS = [
    "random", "twins", "at the target", "few rows", "scales", "opposite", "unusable",
]  # fmt: skip


@pytest.mark.parametrize("noise_correction", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_both_solvers_give_the_same_weights(kind, noise_correction):
    for P, sizes in problems(kind, np.random.default_rng(len(kind))):
        auto, cvxpy = (
            solve_uowq(
                P, 30, sizes, 6.0, noise_correction=noise_correction, solver=solver
            )
            for solver in ("auto", "cvxpy")
        )
        assert_allclose(auto.weights, cvxpy.weights, atol=1e-8)
        assert_allclose(auto.proportions, cvxpy.proportions, atol=1e-8)
        assert auto.kl == pytest.approx(cvxpy.kl, rel=1e-8)
        quantities, kl = optimal_quantities(P, 30, sizes, 6.0)
        assert np.all((quantities >= 0) & (quantities <= sizes))
        plain = solve_uowq(P, 30, sizes, 6.0)
        assert plain.kl <= kl * (1 + 1e-8)


@pytest.mark.parametrize("wrapper", WRAPPERS[:2])
@pytest.mark.parametrize("learner", LEARNERS[:3], ids=lambda m: type(m).__name__)
def test_both_solvers_give_the_same_fit(wrapper, learner):
    X, y, domain = make_rows(learner)
    auto, cvxpy = (
        wrapper(learner).set_params(solver=s).fit(X, y, sample_domain=domain)
        for s in ("auto", "cvxpy")
    )
    assert_allclose(weights_of(auto), weights_of(cvxpy), atol=1e-7)


def test_unknown_solvers_are_refused():
    with pytest.raises(ValueError, match="solver"):
        solve_uowq(np.ones((1, 2)), 5, np.ones(2), 1.0, solver="nnls")
    with pytest.raises(ValueError, match="solver"):
        uowq_weights(
            target_params=[0.0],
            source_params=[[1.0]],
            n_target=5,
            source_sizes=[5],
            fisher=[[1.0]],
            solver="nnls",
        )
