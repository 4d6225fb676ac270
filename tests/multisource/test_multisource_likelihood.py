"""Likelihoods: scores against numerical gradients, information against scores."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import gammaln
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sktransfer.multisource import (
    FisherRoot,
    Likelihood,
    likelihood_of,
    register_likelihood,
)


def binary(X, rng):
    return (X[:, 0] + rng.logistic(size=len(X)) > 0).astype(int)


def three_classes(X, rng):
    return np.digitize(X[:, 0] + rng.logistic(size=len(X)), [-0.7, 0.7])


def gaussian(X, rng):
    return X @ np.ones(X.shape[1]) + 0.5 * rng.normal(size=len(X))


def counts(X, rng):
    return rng.poisson(np.exp(X[:, 0] / 2)).astype(float)


MODELS = [
    (LogisticRegression(), binary),
    (LogisticRegression(fit_intercept=False), binary),
    (LogisticRegression(), three_classes),
    (LinearRegression(), gaussian),
    (Ridge(2.0), gaussian),
    (Ridge(2.0, fit_intercept=False), gaussian),
    (PoissonRegressor(alpha=0.1), counts),
]
IDS = [f"{type(m).__name__}-{make.__name__}-{i}" for i, (m, make) in enumerate(MODELS)]


def fitted(model, make, n=60, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = make(X, rng)
    return clone(model).fit(X, y), X, y


def log_likelihood(model, X, y, noise):
    if isinstance(model, LogisticRegression):
        columns = np.searchsorted(model.classes_, y)
        return model.predict_log_proba(X)[np.arange(len(y)), columns]
    mean = model.predict(X)
    if isinstance(model, PoissonRegressor):
        return y * np.log(mean) - mean - gammaln(y + 1)
    return -((y - mean) ** 2) / (2 * noise)


@pytest.mark.parametrize(("model", "make"), MODELS, ids=IDS)
def test_scores_are_gradients_of_the_log_likelihood(model, make):
    model, X, y = fitted(model, make)
    likelihood = likelihood_of(model)
    theta = likelihood.parameters(model)
    root = likelihood.fisher_root(model, X, y)
    noise = 1 / root.factors[0, 0, 0] ** 2
    scores = likelihood.scores(model, X, y)
    h = 1e-5
    for j in range(len(theta)):
        values = []
        for step in (h, -h):
            moved = theta.copy()
            moved[j] += step
            likelihood.set_parameters(model, moved)
            values.append(log_likelihood(model, X, y, noise))
        likelihood.set_parameters(model, theta)
        numeric = (values[0] - values[1]) / (2 * h)
        np.testing.assert_allclose(scores[:, j], numeric, atol=1e-6)


@pytest.mark.parametrize(("model", "make"), MODELS, ids=IDS)
def test_expected_information_is_the_limit_of_the_empirical_one(model, make):
    model, X, y = fitted(model, make, n=40_000, d=2)
    likelihood = likelihood_of(model)
    root = likelihood.fisher_root(model, X, y)
    d = len(likelihood.parameters(model))
    R = root.project(np.eye(d))
    G = likelihood.scores(model, X, y)
    J = R.T @ R
    np.testing.assert_allclose(J, G.T @ G / len(X), atol=0.1 * abs(J).max())


@pytest.mark.parametrize(("model", "make"), MODELS, ids=IDS)
def test_deviance_is_twice_the_difference_of_the_log_likelihoods(model, make):
    reference, X, y = fitted(model, make)
    model = clone(model).fit(X[:50], y[:50])
    likelihood = likelihood_of(model)
    noise = 1 / likelihood.fisher_root(reference, X, y).factors[0, 0, 0] ** 2
    losses = [-2 * log_likelihood(m, X, y, noise).sum() for m in (reference, model)]
    found = likelihood.deviance(model, reference, X, y)
    assert found == pytest.approx(losses[1] - losses[0])


def test_deviance_from_scores_alone_errs_by_the_third_order():
    model, X, y = fitted(PoissonRegressor(alpha=0.1), counts)
    likelihood = likelihood_of(model)
    moved = fitted(PoissonRegressor(alpha=0.1), counts)[0]
    theta = likelihood.parameters(model)
    errors = []
    for step in (0.02, 0.01):
        likelihood.set_parameters(moved, theta + step)
        exact = likelihood.deviance(moved, model, X, y)
        approximate = Likelihood.deviance(likelihood, moved, model, X, y)
        errors.append(approximate - exact)
    assert abs(errors[1]) < 0.05 * exact
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(("model", "make"), MODELS, ids=IDS)
def test_parameters_round_trip(model, make):
    model, X, _ = fitted(model, make)
    likelihood = likelihood_of(model)
    before = model.predict(X)
    theta = likelihood.parameters(model)
    likelihood.set_parameters(model, 0 * theta)
    likelihood.set_parameters(model, theta)
    np.testing.assert_array_equal(model.predict(X), before)
    np.testing.assert_array_equal(likelihood.parameters(model), theta)


@pytest.mark.parametrize(("model", "make"), MODELS, ids=IDS)
def test_sparse_rows_give_the_same_information(model, make):
    model, X, y = fitted(model, make)
    likelihood = likelihood_of(model)
    d = len(likelihood.parameters(model))
    dense = likelihood.fisher_root(model, X, y)
    thin = likelihood.fisher_root(model, sparse.csr_matrix(X), y)
    np.testing.assert_allclose(thin.project(np.eye(d)), dense.project(np.eye(d)))
    assert thin.n_parameters(50) == pytest.approx(dense.n_parameters(50))


@pytest.mark.parametrize("penalty", [0.0, 3.0])
@pytest.mark.parametrize("shape", [(4, 9), (30, 2)])
@pytest.mark.parametrize("intercept", [False, True])
def test_parameter_count_is_the_trace(penalty, shape, intercept):
    """Both ways to the eigenvalues agree with the trace of its formula."""
    rng = np.random.default_rng(0)
    X, B = rng.normal(size=shape), rng.normal(size=(shape[0], 2, 2))
    root = FisherRoot(X, B, intercept, penalty)
    d = 2 * (shape[1] + intercept)
    R = root.project(np.eye(d))
    J = R.T @ R
    n = 12
    if penalty:
        prior = np.full((2, shape[1] + intercept), penalty)
        if intercept:
            prior[:, -1] *= 1e-8
        shrink = J @ np.linalg.inv(J + np.diag(prior.ravel()) / n)
        assert root.n_parameters(n) == pytest.approx(np.trace(shrink @ shrink))
        assert root.n_parameters(n, power=1) == pytest.approx(np.trace(shrink))
    else:
        assert root.n_parameters(n) == np.linalg.matrix_rank(J)


def test_multinomial_counts_identifiable_parameters():
    model, X, y = fitted(LogisticRegression(C=np.inf), three_classes, n=200)
    root = likelihood_of(model).fisher_root(model, X, y)
    assert root.n_parameters(200) == 2 * (3 + 1)


def test_stronger_penalty_leaves_fewer_parameters():
    count = []
    for C in (1e-3, 1.0, 1e3):
        model, X, y = fitted(LogisticRegression(C=C), binary)
        root = likelihood_of(model).fisher_root(model, X, y)
        count.append(root.n_parameters(60))
    assert 1 <= count[0] < count[1] < count[2] < 4 + 1e-6


def test_gaussian_noise_variance_is_estimated():
    model, X, y = fitted(LinearRegression(), gaussian, n=4000)
    root = likelihood_of(model).fisher_root(model, X, y)
    assert 1 / root.factors[0, 0, 0] ** 2 == pytest.approx(0.25, rel=0.1)
    residuals = y - model.predict(X)
    assert 1 / root.factors[0, 0, 0] ** 2 == pytest.approx(
        residuals @ residuals / (4000 - 4)
    )


def test_several_outputs_have_their_own_noise():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 2))
    y = np.column_stack([X[:, 0], X[:, 1]]) + rng.normal(size=(3000, 2)) * [1, 3]
    model = Ridge(1.0).fit(X, y)
    root = likelihood_of(model).fisher_root(model, X, y)
    noise = 1 / np.diag(root.factors[0]) ** 2
    np.testing.assert_allclose(noise, [1, 9], rtol=0.1)
    assert root.project(likelihood_of(model).parameters(model)[None]).shape == (6000, 1)


def test_too_few_rows_for_the_noise_variance():
    model, X, y = fitted(LinearRegression(), gaussian, n=3, d=5)
    with pytest.warns(UserWarning, match="too few"):
        root = likelihood_of(model).fisher_root(model, X, y)
    assert 1 / root.factors[0, 0, 0] ** 2 == pytest.approx(np.var(y))
    with pytest.raises(ValueError, match="One labeled target row"):
        likelihood_of(model).fisher_root(model, X[:1], y[:1])


def test_unregistered_learner_is_refused():
    with pytest.raises(TypeError, match="no registered likelihood"):
        likelihood_of(RandomForestClassifier())


def test_registration():
    class Mine(Ridge):
        pass

    class Other(Likelihood):
        pass

    assert likelihood_of(Mine()) is likelihood_of(Ridge())
    register_likelihood(Mine, Other())
    assert isinstance(likelihood_of(Mine()), Other)
    for method, args in [("parameters", 1), ("scores", 3), ("set_parameters", 2)]:
        with pytest.raises(TypeError, match=f"does not define {method}"):
            getattr(Other(), method)(*[None] * args)
    with pytest.raises(TypeError, match="instance of Likelihood"):
        register_likelihood(Mine, Other)


def test_multinomial_factors_are_a_root_without_the_null_direction():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 4
    model = LogisticRegression().fit(X, y)
    B = likelihood_of(model).fisher_root(model, X, y).factors
    assert B.shape == (60, 3, 4)
    p = model.predict_proba(X)
    expected = p[:, :, None] * np.eye(4) - p[:, :, None] * p[:, None, :]
    np.testing.assert_allclose(np.einsum("nrq,nrp->nqp", B, B), expected, atol=1e-14)
