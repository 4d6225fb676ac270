"""ARMUL for classes: limits, centers, summaries, several classes."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sktransfer.multisource import ARMULLogistic, SourceSummary, summarize_source


def _data(rng, slopes=(1.0, 1.0, 1.0), n=150, n_target=30, classes=2):
    X = rng.normal(size=(n * len(slopes) + n_target, 2))
    domain = np.repeat([*range(1, len(slopes) + 1), -1], [n] * len(slopes) + [n_target])
    factor = np.append(slopes, 1.0)[np.where(domain < 0, len(slopes), domain - 1)]
    score = factor * (X @ [2.0, -1.0]) + 0.3 + rng.logistic(size=len(X))
    if classes == 3:
        return X, np.digitize(score, [-1, 1]), domain
    return X, np.where(score > 0, "yes", "no"), domain


def _scales(X):
    return X.mean(axis=0), X.std(axis=0)


@pytest.mark.parametrize("classes", [2, 3])
def test_limits_are_each_domain_alone_and_the_pooled_fit(rng, classes):
    X, y, domain = _data(rng, classes=classes)
    mean, scale = _scales(X)
    Z = (X - mean) / scale
    alone = ARMULLogistic(penalty=0.0).fit(X, y, sample_domain=domain)
    for k, coef in zip([1, 2, 3, -1], [*alone.source_coef_, alone.coef_], strict=True):
        own = domain == k
        expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(
            Z[own], y[own]
        )
        np.testing.assert_allclose(coef, expected.coef_ / scale, atol=1e-5)
    pooled = ARMULLogistic(penalty=np.inf).fit(X, y, sample_domain=domain)
    # four domains pay the ridge penalty four times
    expected = LogisticRegression(C=0.25, tol=1e-10, max_iter=1000).fit(Z, y)
    np.testing.assert_allclose(pooled.coef_, expected.coef_ / scale, atol=1e-5)
    np.testing.assert_allclose(
        pooled.predict_proba(X), expected.predict_proba(Z), atol=1e-5
    )
    assert pooled.at_center_.all()
    assert not alone.at_center_.any()


def test_similar_domains_are_exactly_at_the_center_and_an_outlier_is_not(rng):
    X, y, domain = _data(rng, slopes=(1.0, 1.0, -2.0))
    model = ARMULLogistic(penalty=2.0).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(model.at_center_, [True, True, False, True])
    np.testing.assert_array_equal(model.coef_, model.center_coef_)
    np.testing.assert_array_equal(model.source_coef_[0], model.center_coef_)
    assert model.kkt_residual_ < 1e-9


def test_clusters_and_subspaces(rng):
    X, y, domain = _data(rng, slopes=(-1.5, 1.0, -1.5, 1.0))
    model = ARMULLogistic(form="clustered", n_centers=2, penalty=2.0)
    model.fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(model.labels_, [0, 1, 0, 1, 1])
    line = ARMULLogistic(
        form="low_rank", n_centers=1, penalty=4.0, fit_intercept=False
    ).fit(X, y, sample_domain=domain)
    centers = np.vstack([*line.source_center_coef_, line.center_coef_])
    assert np.linalg.matrix_rank(centers, tol=1e-6) == 1
    assert line.kkt_residual_ <= 1e-6


def test_constant_is_chosen_by_held_out_log_loss(rng):
    X, y, domain = _data(rng)
    model = ARMULLogistic().fit(X, y, sample_domain=domain)
    assert model.cv_errors_[model.penalty_] == min(model.cv_errors_.values())
    other = np.where(domain > 0, np.where(y == "yes", "no", "yes"), y)
    assert ARMULLogistic().fit(X, other, sample_domain=domain).penalty_ < 4


@pytest.mark.parametrize("classes", [2, 3])
def test_summaries_are_near_the_rows(rng, classes):
    X, y, domain = _data(rng, classes=classes)
    rows = ARMULLogistic(penalty=1.0).fit(X, y, sample_domain=domain)
    learner = LogisticRegression(C=1.0)
    summaries = [
        summarize_source(learner, X[domain == k], y[domain == k]) for k in (1, 2, 3)
    ]
    own = domain == -1
    given = ARMULLogistic(summaries, penalty=1.0).fit(X[own], y[own])
    np.testing.assert_allclose(given.predict_proba(X), rows.predict_proba(X), atol=0.03)


def test_sources_tell_a_class_that_the_target_lacks(rng):
    X, y, domain = _data(rng, classes=3)
    kept = (domain > 0) | (y != 2)
    model = ARMULLogistic().fit(X[kept], y[kept], sample_domain=domain[kept])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert np.isfinite(model.predict_proba(X)).all()
    one = (domain > 0) | (y == 1)
    model = ARMULLogistic(penalty=2.0).fit(X[one], y[one], sample_domain=domain[one])
    assert set(model.predict(X)) >= {0, 1}


def test_it_helps_where_domains_are_alike_and_hardly_hurts_where_not():
    losses = {"alike": [], "unlike": []}
    for seed in range(6):
        for name, slopes in [("alike", (1.0, 1.1)), ("unlike", (-2.0, -1.0))]:
            rng = np.random.RandomState(seed)
            X, y, domain = _data(rng, slopes, n_target=15)
            new = rng.normal(size=(500, 2))
            p = expit(new @ [2.0, -1.0] + 0.3)
            row = []
            for rows in (domain != 0, domain < 0):
                model = ARMULLogistic(cv=3)
                model.fit(X[rows], y[rows], sample_domain=domain[rows])
                own = model.predict_proba(new)[:, 1]
                row.append(-np.mean(p * np.log(own) + (1 - p) * np.log(1 - own)))
            losses[name].append(row)
    alike, unlike = (np.mean(losses[k], axis=0) for k in ("alike", "unlike"))
    assert alike[0] < alike[1]
    assert unlike[0] < unlike[1] + 0.02


def test_units_do_not_matter(rng):
    X, y, domain = _data(rng)
    factor, offset = np.array([1e4, 1e-3]), np.array([2e4, 0.0])
    first = ARMULLogistic(penalty=1.0).fit(X, y, sample_domain=domain)
    second = ARMULLogistic(penalty=1.0).fit(
        X * factor + offset, y, sample_domain=domain
    )
    np.testing.assert_allclose(
        second.predict_proba(X * factor + offset), first.predict_proba(X), atol=1e-8
    )


def test_weight_two_is_two_rows(rng):
    X, y, domain = _data(rng, n=40)
    weight = rng.randint(0, 3, size=len(y))
    model = ARMULLogistic(penalty=0.5)
    one = model.fit(X, y, sample_domain=domain, sample_weight=weight).predict_proba(X)
    rows = np.repeat(np.arange(len(y)), weight)
    two = model.fit(X[rows], y[rows], sample_domain=domain[rows]).predict_proba(X)
    np.testing.assert_allclose(one, two, atol=1e-8)
    assert log_loss(y, one) < 0.7


def test_summary_of_other_classes_is_one_error(rng):
    X, y, domain = _data(rng)
    own = domain < 0
    summary = SourceSummary([[1.0, 1.0]], [0.0], fisher=np.eye(3), n=9, classes=[0, 1])
    with pytest.raises(ValueError, match=r"source_summaries\[0\] has the classes"):
        ARMULLogistic(summary).fit(X[own], (y[own] == "yes") + 1)
