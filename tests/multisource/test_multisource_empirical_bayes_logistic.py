"""Empirical Bayes for classes: limits, Laplace's approximation, nine trials."""

import numpy as np
import pytest
from scipy import integrate, special
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._solvers.glm import fit_glm, glm_expansion
from sktransfer._solvers.random_effects import (
    fit_random_effects,
    prior_precision,
    random_effects_mean,
)
from sktransfer.multisource import (
    EmpiricalBayesLogistic,
    SourceSummary,
    summarize_source,
)
from sktransfer.multisource._logistic_tasks import PenalizedLikelihood


def _data(rng, n_classes=2, n=300, n_target=40, sources=2, shift=0.0):
    sizes = [n] * sources + [n_target]
    domain = np.repeat([*range(1, sources + 1), -1], sizes)
    X = rng.normal(size=(len(domain), 3))
    W = np.array([[0.0, 0.0, 0.0], [1.5, -1.0, 0.0], [0.0, 1.0, 1.0]])[:n_classes]
    eta = X @ W.T
    eta[domain == 2, 1] += shift * X[domain == 2, 2]
    return X, np.argmax(eta + rng.gumbel(size=eta.shape), axis=1), domain


@pytest.mark.parametrize("n_classes", [2, 3])
def test_without_sources_it_is_the_penalized_logistic_regression(rng, n_classes):
    X, y, domain = _data(rng, n_classes)
    X, y = X[domain == -1], y[domain == -1]
    model = EmpiricalBayesLogistic(alpha=2.0).fit(X, y)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, tol=1e-9))
    plain.fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), plain.predict_proba(X), atol=1e-5
    )
    assert np.isnan(model.commensurability_)
    assert model.borrow_weight_ == 0


def test_infinite_variation_is_the_target_s_ridge(rng):
    X, y, domain = _data(rng)
    model = EmpiricalBayesLogistic(tau=np.inf, alpha=2.0)
    model.fit(X, y, sample_domain=domain)
    own, scale = domain == -1, X.std(axis=0)
    plain = LogisticRegression(C=0.5, tol=1e-9).fit(X[own] / scale, y[own])
    np.testing.assert_allclose(model.coef_, plain.coef_ / scale, atol=1e-5)
    large = EmpiricalBayesLogistic(tau=1e5, commensurability=1.0, alpha=2.0)
    large.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(large.coef_, plain.coef_ / scale, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_variation_is_near_the_pooled_fit(rng, n_classes):
    X, y, domain = _data(rng, n_classes, n=500)
    model = EmpiricalBayesLogistic(tau=0.0, commensurability=1.0, alpha=0.0)
    model.fit(X, y, sample_domain=domain)
    pooled = LogisticRegression(C=1e4).fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), pooled.predict_proba(X), atol=0.01
    )


def test_posterior_is_the_mode_under_the_prior_of_the_sources(rng):
    """Every piece by hand, from summaries, in the raw units of one feature."""
    X, y, domain = _data(rng)
    X = X[:, :1]
    own = domain == -1
    summaries = [
        summarize_source(
            LogisticRegression(C=1e3, fit_intercept=False),
            X[domain == k], y[domain == k],
        )
        for k in (1, 2)
    ]  # fmt: skip
    model = EmpiricalBayesLogistic(
        summaries, pseudo_sources=0.0, commensurability=1.0, alpha=0.0,
        fit_intercept=False,
    ).fit(X[own], y[own])  # fmt: skip
    information = np.array([s.information for s in summaries])
    vectors = np.array([s.vector for s in summaries])
    effects = fit_random_effects(information, vectors)
    mean, S = random_effects_mean(information, vectors, effects.variances)
    P = prior_precision(S, effects.variances, 1.0)
    grid = np.linspace(-5, 5, 200001)
    eta = np.outer(grid, X[own, 0])
    posterior = (eta * y[own] - np.logaddexp(0, eta)).sum(axis=1)
    posterior -= 0.5 * P[0, 0] * (grid - mean[0]) ** 2
    assert model.coef_[0, 0] == pytest.approx(grid[posterior.argmax()], abs=1e-3)
    assert model.prior_coef_[0, 0] == pytest.approx(mean[0], rel=1e-4)


def test_laplace_is_near_the_integral(rng):
    x, R, m = rng.normal(size=30), 2.0, 0.5
    y = (rng.uniform(size=30) < special.expit(x)).astype(float)
    target = PenalizedLikelihood(
        "binomial", x[:, None], y[:, None], np.ones(30), np.array([True])
    )
    found = target.evidence(np.array([[R]]), np.array([R * m]), 0.0)

    def density(t):
        eta = t * x
        prior = np.sqrt(R / (2 * np.pi)) * np.exp(-0.5 * R * (t - m) ** 2)
        return prior * np.exp(np.sum(y * eta - np.logaddexp(0, eta)))

    exact = np.log(integrate.quad(density, -10, 10)[0])
    assert found.log_likelihood == pytest.approx(exact, abs=0.02)


def test_sources_tell_a_class_that_the_target_lacks(rng):
    X, y, domain = _data(rng, 3, n_target=8)
    kept = (domain > 0) | (y != 2)
    model = EmpiricalBayesLogistic()
    model.fit(X[kept], y[kept], sample_domain=domain[kept])
    assert model.classes_.tolist() == [0, 1, 2]
    assert np.mean(model.predict(X) == 2) > 0.05
    np.testing.assert_allclose(model.coef_.sum(axis=0), 0, atol=1e-9)


def test_summaries_and_rows_are_near(rng):
    X, y, domain = _data(rng, 3)
    own = domain == -1
    rows = EmpiricalBayesLogistic().fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(LogisticRegression(C=10), X[domain == k], y[domain == k])
        for k in (1, 2)
    ]
    given = EmpiricalBayesLogistic(summaries).fit(X[own], y[own])
    np.testing.assert_allclose(given.predict_proba(X), rows.predict_proba(X), atol=0.02)


def test_alike_sources_help_and_other_ones_hardly_hurt():
    losses = {"alike": [], "unlike": []}
    for seed in range(8):
        for name in losses:
            rng = np.random.RandomState(seed)
            X, y, domain = _data(rng, n_target=1012, sources=3)
            if name == "unlike":
                y = np.where(domain > 0, rng.permutation(y), y)
            train = np.arange(len(y)) < len(y) - 1000
            test = ~train
            model = EmpiricalBayesLogistic()
            model.fit(X[train], y[train], sample_domain=domain[train])
            own = train & (domain < 0)
            alone = EmpiricalBayesLogistic().fit(X[own], y[own])
            losses[name].append([
                -np.mean(np.log(m.predict_proba(X[test])[np.arange(1000), y[test]]))
                for m in (model, alone)
            ])  # fmt: skip
    alike, unlike = (np.mean(losses[k], axis=0) for k in ("alike", "unlike"))
    assert alike[0] < 0.9 * alike[1]
    assert unlike[0] < 1.15 * unlike[1]


def test_robust_mixture_stops_borrowing_under_conflict(rng):
    X, y, domain = _data(rng, n_target=60, sources=4)
    flipped = np.where(domain == -1, 1 - y, y)
    weights = [
        EmpiricalBayesLogistic(
            borrow_weight=weight, sam_delta=0.5, commensurability=1.0
        )
        .fit(X, labels, sample_domain=domain)
        .borrow_weight_
        for labels in (y, flipped)
        for weight in (0.5, "sam")
    ]
    assert min(weights[:2]) > 0.8
    assert max(weights[2:]) < 0.1
    with pytest.raises(ValueError, match="sam_delta"):
        EmpiricalBayesLogistic(borrow_weight="sam").fit(X, y)


#: control arms of nine trials in ankylosing spondylitis: responders, patients
#: (restated from the example of P. Yang et al., Biometrics 79(4), 2023)
TRIALS = np.array([
    (1, 6), (35, 122), (31, 104), (10, 23), (56, 153), (55, 117), (28, 76), (21, 74),
    (35, 87),
])  # fmt: skip


def _trial(responders, patients):
    """One trial as a logistic regression on a constant."""
    return SourceSummary(
        [[np.log(responders / (patients - responders))]],
        fisher=[[responders * (patients - responders) / patients]],
        n=float(patients), classes=[0, 1],
    )  # fmt: skip


def test_nine_trials_are_the_prior_of_a_tenth():
    trials = [_trial(*t) for t in TRIALS]
    rates = {}
    for responders in (11, 20):
        y = np.repeat([1, 0], [responders, 30 - responders])
        model = EmpiricalBayesLogistic(
            trials, pseudo_sources=0.0, commensurability=1.0, alpha=0.0,
            fit_intercept=False,
        ).fit(np.ones((30, 1)), y)  # fmt: skip
        rates[responders] = special.expit(model.coef_[0, 0])
    # the sources respond in 36 %; the prior is worth more than 30 patients
    assert rates[11] == pytest.approx(0.363, abs=0.01)
    assert 0.36 < rates[20] < 0.55
    # a self-adapting weight: near the trials it borrows, far from them it stops
    weights = []
    for responders in (11, 15, 18, 24):
        y = np.repeat([1, 0], [responders, 30 - responders])
        model = EmpiricalBayesLogistic(
            trials, borrow_weight="sam", sam_delta=0.5, pseudo_sources=0.0,
            commensurability=1.0, alpha=0.0, fit_intercept=False,
        ).fit(np.ones((30, 1)), y)  # fmt: skip
        weights.append(model.borrow_weight_)
    assert weights[0] > 0.85
    assert weights[-1] < 0.1
    assert all(np.diff(weights) < 0)


def test_bad_labels_and_summaries_are_one_error(rng):
    X, y, _ = _data(rng)
    with pytest.raises(ValueError, match="at least two classes"):
        EmpiricalBayesLogistic().fit(X, np.ones(len(y), dtype=int))
    summary = summarize_source(LogisticRegression(), X, y + 5)
    with pytest.raises(ValueError, match=r"source_summaries\[0\] has the classes"):
        EmpiricalBayesLogistic(summary).fit(X, y)


@pytest.mark.parametrize("family", ["binomial", "multinomial", "poisson"])
def test_newton_s_method_finds_a_zero_gradient(rng, family):
    X = np.column_stack([rng.normal(size=(50, 3)), np.ones(50)])
    label = rng.randint(0, 3, size=50)
    goal = {
        "binomial": (label > 0)[:, None].astype(float),
        "multinomial": np.eye(3)[label],
        "poisson": label[:, None].astype(float),
    }[family]
    p = 4 * goal.shape[1]
    weight = rng.uniform(0.5, 2, size=50)
    theta, residual, n_iter = fit_glm(
        family, X, goal, weight, prior=0.1 * np.eye(p), pull=np.ones(p)
    )
    gradient = glm_expansion(family, X, goal, weight, theta)[1]
    np.testing.assert_allclose(gradient + 0.1 * theta.ravel() - 1, 0, atol=1e-6)
    assert residual < 1e-9
    assert n_iter < 15
    # the Hessian is the derivative of the gradient
    step = 1e-6 * rng.normal(size=theta.shape)
    _, moved, hessian = glm_expansion(family, X, goal, weight, theta + step)
    np.testing.assert_allclose(moved - gradient, hessian @ step.ravel(), atol=1e-8)
