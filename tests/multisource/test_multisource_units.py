"""Kind 30: equal problems in other units get equal weights, counts and predictions."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sktransfer._solvers.information import (
    column_units,
    leverage_of_first,
    row_products,
)
from sktransfer.multisource import (
    OTQMS,
    UOWQ,
    FisherRoot,
    Likelihood,
    UOWQMultiTask,
    likelihood_of,
    register_likelihood,
    uowq_weights,
)

#: a year, a price, a time, a concentration, ids (LinearRegression cuts at 1e-6)
UNITS = [(2020, 5), (5e5, 1e5), (1.7e8, 1.0), (0.0, 1e-5), (0.0, 2e5), (-3e6, 0.02)]


def make_rows(seed=0):
    rng = np.random.default_rng(seed)
    domain = np.repeat([1, -1], [200, 30])
    X = rng.normal(size=(230, 5))
    y = X.sum(axis=1) + rng.normal(size=230)
    y += 0.25 * (domain > 0) * (X @ [1.0, -1, 1, -1, 1])
    return X, y, domain


def in_units(X, offset, scale, column=0):
    X = X.copy()
    X[:, column] = offset + scale * X[:, column]
    return X


@pytest.mark.parametrize(("offset", "scale"), UNITS)
def test_kind_30_uowq_does_not_depend_on_units(offset, scale):
    for seed in range(3):
        X, y, domain = make_rows(seed)
        Z = in_units(X, offset, scale)
        plain = UOWQ(LinearRegression()).fit(X, y, sample_domain=domain)
        moved = UOWQ(LinearRegression()).fit(Z, y, sample_domain=domain)
        assert moved.n_parameters_ == plain.n_parameters_ == 6
        assert_allclose(moved.source_weights_, plain.source_weights_, rtol=1e-5)
        assert_allclose(moved.predict(Z), plain.predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("offset", "scale"), UNITS)
def test_kind_30_otqms_does_not_depend_on_units(offset, scale):
    X, y, domain = make_rows()
    Z = in_units(X, offset, scale)
    kwargs = {"quantities": "static", "random_state": 0}
    plain = OTQMS(LinearRegression(), **kwargs).fit(X, y, sample_domain=domain)
    moved = OTQMS(LinearRegression(), **kwargs).fit(Z, y, sample_domain=domain)
    assert_allclose(moved.kl_path_, plain.kl_path_, rtol=1e-5)
    assert plain.kl_path_[0] == pytest.approx(6 / 2 / 30)
    assert moved.source_quantities_ == plain.source_quantities_


@pytest.mark.parametrize(("offset", "scale"), UNITS)
def test_kind_30_uowq_multi_task_does_not_depend_on_units(offset, scale):
    X, y, domain = make_rows()
    Z = in_units(X, offset, scale)
    plain = UOWQMultiTask(LinearRegression()).fit(X, y, sample_domain=domain)
    moved = UOWQMultiTask(LinearRegression()).fit(Z, y, sample_domain=domain)
    assert_allclose(moved.affinity_, plain.affinity_, rtol=1e-5)


def unpenalized(kind, n_classes=2):
    """A learner without a penalty, and labels for it."""
    if kind == "poisson":
        return PoissonRegressor(alpha=0, solver="newton-cholesky", tol=1e-8)
    return LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)


@pytest.mark.parametrize("kind", ["poisson", "binary", "three classes"])
@pytest.mark.parametrize(("offset", "scale"), [(2020, 5), (2e5, 1e5), (0, 1e-4)])
def test_kind_30_of_other_likelihoods(kind, offset, scale):
    X, score, domain = make_rows(1)
    rng = np.random.default_rng(2)
    if kind == "poisson":
        y = rng.poisson(np.exp(score / 5)).astype(float)
    else:
        noisy = score + 2 * rng.logistic(size=len(score))
        y = np.digitize(noisy, [0.0] if kind == "binary" else [-1.5, 1.5])
    Z = in_units(X, offset, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain, moved = (
            UOWQ(unpenalized(kind)).fit(rows, y, sample_domain=domain)
            for rows in (X, Z)
        )
    assert moved.n_parameters_ == pytest.approx(plain.n_parameters_)
    assert_allclose(moved.source_weights_, plain.source_weights_, rtol=1e-3)


@pytest.mark.parametrize("learner", [Ridge(1.0), LogisticRegression(tol=1e-10)])
@pytest.mark.parametrize("offset", [2020.0, 1e6])
def test_kind_30_an_offset_changes_no_penalized_count(learner, offset):
    X, y, _ = make_rows()
    y = (y > 0).astype(int) if isinstance(learner, LogisticRegression) else y
    model = learner.fit(X, y)
    likelihood = likelihood_of(learner)
    plain = likelihood.fisher_root(model, X, y)
    moved = FisherRoot(X + offset, plain.factors, True, plain.penalty)
    for n in (10, 1e4):
        expected = plain.n_parameters(n)
        assert moved.n_parameters(n) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n_rows", [4, 40])  # the dual and the primal matrix
@pytest.mark.parametrize("penalty", [0.0, 0.5])
@pytest.mark.parametrize("thin", [False, True])
def test_kind_30_the_count_of_both_matrices(n_rows, penalty, thin):
    rng = np.random.default_rng(n_rows)
    X = rng.normal(size=(n_rows, 6))
    B = rng.uniform(0.5, 2, size=(n_rows, 1, 1))
    known = FisherRoot(X, B, True, penalty)
    Z = X + [0, 1e7, 0, 2020, 0, 0]
    if not penalty:
        Z = Z * [1, 1, 1e-6, 1, 1e6, 1]
    moved = FisherRoot(sparse.csr_matrix(Z) if thin else Z, B, True, penalty)
    expected = known.n_parameters(n_rows)
    assert moved.n_parameters(n_rows) == pytest.approx(expected, rel=1e-6)
    if not penalty:
        assert expected == min(n_rows, 7)


def test_kind_30_constant_columns_are_no_parameters():
    X, y, _ = make_rows()
    X = np.column_stack([X, np.full(230, 1 / 3), X[:, 0] * 1e4 + 2020])
    model = LinearRegression().fit(X, y)
    root = likelihood_of(model).fisher_root(model, X, y)
    assert root.n_parameters(230) == 6
    center, scale = column_units(X, np.ones(230), True)
    assert np.isinf(scale[5])
    assert center[5] == 1 / 3


class ScoresOfGamma(Likelihood):
    def parameters(self, model):
        return np.append(model.coef_, model.intercept_)

    def scores(self, model, X, y):
        residual = y / model.predict(X) - 1
        return residual[:, None] * np.column_stack([X, np.ones(len(X))])


class ScoredGamma(GammaRegressor):
    """Of its own, since what is registered stays for all other tests."""


def test_kind_30_registered_likelihoods():
    register_likelihood(ScoredGamma, ScoresOfGamma())
    X, score, domain = make_rows()
    y = np.exp(score / 5)
    Z = in_units(X, 2020, 5)
    learner = ScoredGamma(alpha=0, solver="newton-cholesky", tol=1e-10)
    plain = UOWQ(learner).fit(X, y, sample_domain=domain)
    moved = UOWQ(learner).fit(Z, y, sample_domain=domain)
    assert moved.n_parameters_ == plain.n_parameters_ == 6
    assert_allclose(moved.source_weights_, plain.source_weights_, rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-9, 1e6])
@pytest.mark.parametrize("learner", [LinearRegression(), Ridge(2.0)])
def test_kind_30_units_of_labels(learner, unit):
    X, y, domain = make_rows()
    plain = UOWQ(learner).fit(X, y, sample_domain=domain)
    moved = UOWQ(learner).fit(X, unit * y, sample_domain=domain)
    assert moved.n_parameters_ == pytest.approx(plain.n_parameters_, rel=1e-6)
    assert_allclose(moved.source_weights_, plain.source_weights_, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_kind_30_outputs_in_different_units(alpha):
    X, y, _ = make_rows()
    Y = np.column_stack([y, y[::-1]])
    counts = []
    for units in ([1, 1], [1e-6, 1e6]):
        model = Ridge(alpha).fit(X, Y * units)
        root = likelihood_of(model).fisher_root(model, X, Y * units)
        counts.append(root.n_parameters(230))
    assert counts[1] == pytest.approx(counts[0], rel=1e-6)


def test_kind_30_uowq_weights_in_other_units():
    rng = np.random.default_rng(3)
    units = np.array([1e-8, 1.0, 1e8, 1.0])
    G = rng.normal(size=(60, 4))
    theta = rng.normal(size=(3, 4)) / 3
    sizes = {"n_target": 20, "source_sizes": [50, 80]}
    found = [
        uowq_weights(
            target_params=theta[0] * u,
            source_params=theta[1:] * u,
            **information,
            **sizes,
        ).weights
        for u in (1.0, units)
        for information in (
            {"fisher": (G / u).T @ (G / u) / 60},
            {"scores": G / u},
        )
    ]
    for weights in found[1:]:
        assert_allclose(weights, found[0], rtol=1e-8)


def test_products_of_sparse_rows_keep_their_digits():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(20, 7)) + [0, 1e8, 0, 0, 30, 0, 0]
    center, scale = column_units(X, np.ones(20), True)
    Z = (X - center) / scale
    found = row_products(sparse.csr_matrix(X), center, 1 / scale)
    assert_allclose(found, Z @ Z.T, atol=1e-9)
    again = column_units(sparse.csr_matrix(X), np.ones(20), True)
    assert_allclose(again[0], center)
    assert_allclose(again[1], scale)


@pytest.mark.parametrize(("n", "size"), [(20, 1e10), (500, 1e20)])
def test_rounding_of_large_numbers_counts_no_parameters(n, size):
    rng = np.random.default_rng(0)
    X = size * np.outer(rng.normal(size=n), rng.normal(size=n + 20))
    B, penalty = np.ones((n, 1, 1)), np.ones(1)
    trace = leverage_of_first(X, B, n, True, penalty, room=0.25)
    assert trace == pytest.approx(2)
