"""Angle-based transfer for classes: two limits, leave-one-out, direction."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sktransfer.multisource import AngleTransferLogistic, summarize_source
from sktransfer.multisource._angle_transfer_logistic import _fit


def _data(rng, n=40, d=4, n_sources=2, scale=2.0, classes=2):
    beta = rng.normal(size=d)
    X = rng.normal(size=(n_sources * 200 + n, d))
    domain = np.repeat([*range(1, n_sources + 1), -1], [200] * n_sources + [n])
    score = np.where(domain > 0, scale, 1.0) * (X @ beta) + rng.logistic(size=len(X))
    y = np.digitize(score, [-1, 1]) if classes == 3 else (score > 0).astype(int)
    return X, y, domain, beta


@pytest.mark.parametrize("classes", [2, 3])
def test_no_pull_is_logistic_ridge_and_alpha_is_ridge_toward_the_sources(rng, classes):
    X, y, domain, _ = _data(rng, classes=classes)
    own = domain < 0
    mean, scale = X.mean(axis=0), X.std(axis=0)
    Z = (X - mean) / scale
    ridge = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(Z[own], y[own])
    model = AngleTransferLogistic(alpha=2.0, eta=0.0).fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(model.coef_, ridge.coef_ / scale, atol=1e-6)
    model = AngleTransferLogistic(alpha=2.0, eta=2.0, source_weights="uniform")
    model.fit(X, y, sample_domain=domain)
    w = model.source_coef_.mean(axis=0)
    # a ridge toward w: what a very large penalty leaves is w itself
    strong = AngleTransferLogistic(alpha=1e7, eta=1e7, source_weights="uniform")
    strong.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(strong.coef_, w, atol=1e-5)
    # and the gradient of the log loss is the penalty of the distance from it
    goal = (y[own][:, None] == model.classes_)[:, -len(model.coef_) :]
    P = model.predict_proba(X[own])[:, -len(model.coef_) :]
    gradient = (P - goal).T @ Z[own]
    distance = (model.coef_ - w) * scale
    np.testing.assert_allclose(gradient, -2.0 * distance, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_leave_one_out_is_near_brute_force(rng, classes):
    X, y, domain, _ = _data(rng, classes=classes)
    own = domain < 0
    design = np.column_stack([X[own], np.ones(own.sum())])
    goal = (y[own][:, None] == np.arange(classes))[:, int(classes == 2) :] * 1.0
    family = "binomial" if classes == 2 else "multinomial"
    C = goal.shape[1]
    slopes = np.tile([True] * 4 + [False], C)
    w, ones = rng.normal(size=5 * C), np.ones(own.sum())
    arguments = w, 3.0, 1.5, slopes, slopes, None
    _, loss, _ = _fit(family, design, goal, ones, *arguments)
    losses = []
    for i in range(len(goal)):
        rest = np.arange(len(goal)) != i
        theta, _, _ = _fit(family, design[rest], goal[rest], ones[rest], *arguments)
        z = design[i] @ theta.T
        if C == 1:
            losses.append(np.logaddexp(0, z[0]) - goal[i, 0] * z[0])
        else:
            losses.append(np.log(np.exp(z).sum()) - goal[i] @ z)
    assert loss == pytest.approx(np.mean(losses), rel=0.02)


def test_sources_of_another_scale_help_and_useless_ones_hardly_hurt():
    losses = []
    for seed in range(5):
        rng = np.random.RandomState(seed)
        X, y, domain, beta = _data(rng, n=30, d=8)
        useless = np.where(domain > 0, rng.randint(0, 2, size=len(y)), y)
        new = rng.normal(size=(500, 8))
        p, row = expit(new @ beta), []
        for labels, rows in [(y, domain != 0), (useless, domain != 0), (y, domain < 0)]:
            model = AngleTransferLogistic()
            model.fit(X[rows], labels[rows], sample_domain=domain[rows])
            own = model.predict_proba(new)[:, 1]
            excess = p * np.log(p / own) + (1 - p) * np.log((1 - p) / (1 - own))
            row.append(excess.mean())
        losses.append(row)
    helpful, useless, alone = np.mean(losses, axis=0)
    assert helpful < 0.7 * alone
    assert useless < 1.1 * alone


def test_direction_is_that_of_the_good_source(rng):
    X, y, domain, _ = _data(rng, n=60)
    y = np.where(domain == 2, 1 - y, y)  # the second source says the contrary
    model = AngleTransferLogistic().fit(X, y, sample_domain=domain)
    assert model.source_weights_[0] > 0.9
    given = AngleTransferLogistic(source_weights=[1.0, 3.0])
    given.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(given.source_weights_, [0.25, 0.75])
    with pytest.raises(ValueError, match="source_weights must hold one"):
        AngleTransferLogistic(source_weights=[1.0]).fit(X, y, sample_domain=domain)


def test_summaries_are_near_the_rows(rng):
    X, y, domain, _ = _data(rng)
    own = domain < 0
    summaries = [
        summarize_source(LogisticRegression(C=10.0), X[domain == k], y[domain == k])
        for k in (1, 2)
    ]
    rows = AngleTransferLogistic().fit(X, y, sample_domain=domain)
    given = AngleTransferLogistic(summaries).fit(X[own], y[own])
    np.testing.assert_allclose(
        given.predict_proba(X[own]), rows.predict_proba(X[own]), atol=0.05
    )
    assert given.source_names_ == ["source_summaries[0]", "source_summaries[1]"]


def test_few_labels(rng):
    X, y, domain, _ = _data(rng)
    for labels in ([0], [1], [0, 1]):
        rows = [np.flatnonzero((domain < 0) & (y == label))[0] for label in labels]
        kept = np.r_[np.flatnonzero(domain > 0), rows]
        model = AngleTransferLogistic().fit(
            X[kept], y[kept], sample_domain=domain[kept]
        )
        assert np.isfinite(model.coef_).all()
        assert log_loss(y, model.predict_proba(X)) < 0.75
        assert np.isnan(model.loo_loss_) == (len(labels) == 1)


def test_weight_two_is_two_rows(rng):
    X, y, domain, _ = _data(rng)
    weight = np.where(domain < 0, rng.randint(0, 3, size=len(y)), 1)
    rows = np.repeat(np.arange(len(y)), weight)
    one = AngleTransferLogistic().fit(X, y, sample_domain=domain, sample_weight=weight)
    two = AngleTransferLogistic().fit(X[rows], y[rows], sample_domain=domain[rows])
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-6)
    assert one.loo_loss_ == pytest.approx(two.loo_loss_)
