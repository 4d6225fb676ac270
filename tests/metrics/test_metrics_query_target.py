"""Which rows to label next: limits, and what the choice is good for."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from sktransfer.baselines import Pooled
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics import query_target
from sktransfer.metrics._query_target import _evidential


def _data(rng, n_labeled=10, classes=True):
    X = rng.normal(size=(400, 3))
    domain = np.repeat([2, -1], [200, 200])
    slope = np.where(domain > 0, -1.5, 2.0)
    y = slope * X[:, 0] + X[:, 1] + rng.logistic(size=400)
    y = (y > 0).astype(float) if classes else y
    y[200 + n_labeled :] = np.nan
    order = rng.permutation(400)
    return X[order], y[order], domain[order]


@pytest.mark.parametrize("diverse", [True, False])
@pytest.mark.parametrize(
    ("strategy", "classes"),
    [("model", True), ("difference", True), ("evidential", True), ("model", False),
     ("difference", False)],
)  # fmt: skip
def test_only_unlabeled_target_rows_once_each(rng, strategy, classes, diverse):
    X, y, domain = _data(rng, classes=classes)
    learner = LogisticRegression() if classes else Ridge()
    options = {"sample_domain": domain, "strategy": strategy, "diverse": diverse}
    rows = query_target(Pooled(learner), X, y, n_samples=12, **options)
    assert len(np.unique(rows)) == len(rows) == 12
    assert np.isnan(y[rows]).all()
    assert (domain[rows] < 0).all()
    again = query_target(Pooled(learner), X, y, n_samples=12, **options)
    np.testing.assert_array_equal(rows, again)
    assert len(query_target(Pooled(learner), X, y, n_samples=0, **options)) == 0
    everything = query_target(Pooled(learner), X, y, n_samples=190, **options)
    np.testing.assert_array_equal(
        np.sort(everything), np.flatnonzero(np.isnan(y) & (domain < 0))
    )


def test_equal_rows_are_chosen_once(rng):
    X, y, domain = _data(rng)
    unlabeled = np.flatnonzero(np.isnan(y))
    X[unlabeled[:100]] = X[unlabeled[0]]
    rows = query_target(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, n_samples=20
    )
    assert len(np.unique(X[rows], axis=0)) == 20
    with pytest.raises(ValueError, match="only 91 different target rows"):
        query_target(
            Pooled(LogisticRegression()), X, y, sample_domain=domain, n_samples=92
        )


def test_difference_asks_where_the_models_disagree(rng):
    X, y, domain = _data(rng, n_labeled=40)
    rows = query_target(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, n_samples=20,
        strategy="difference",
    )  # fmt: skip
    pooled = Pooled(LogisticRegression()).fit(X, y, sample_domain=domain)
    own = (domain < 0) & ~np.isnan(y)
    alone = LogisticRegression().fit(X[own], y[own])
    unlabeled = X[np.isnan(y)]
    differ = [
        np.mean(pooled.predict(part) != alone.predict(part))
        for part in (X[rows], unlabeled)
    ]
    assert differ[0] > 1.5 * differ[1]


def test_model_asks_where_it_is_unsure_and_the_sources_say_little(rng):
    X, y, domain = _data(rng)
    X[domain < 0, 2] += 3 * rng.uniform(size=200)
    rows = query_target(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, n_samples=20,
        diverse=False,
    )  # fmt: skip
    model = Pooled(LogisticRegression()).fit(X, y, sample_domain=domain)
    pool = np.isnan(y)
    margin = [
        np.abs(model.decision_function(part)).mean() for part in (X[rows], X[pool])
    ]
    assert margin[0] < margin[1]
    assert X[rows, 2].mean() > X[pool, 2].mean() + 0.5


def test_diverse_rows_are_farther_apart(rng):
    X, y, domain = _data(rng)
    spread = {}
    for diverse in (True, False):
        rows = query_target(
            Pooled(Ridge()), X, np.where(np.isnan(y), np.nan, X[:, 0]),
            sample_domain=domain, n_samples=10, diverse=diverse,
        )  # fmt: skip
        spread[diverse] = X[rows].var(axis=0).sum()
    assert spread[True] > spread[False]


def test_without_labels_and_without_sources(rng):
    X, y, domain = _data(rng, n_labeled=0)
    model = Pooled(LogisticRegression())
    assert len(query_target(model, X, y, sample_domain=domain, n_samples=3)) == 3
    with pytest.raises(UnlabeledTargetError, match="label some rows at random"):
        query_target(
            model, X, y, sample_domain=domain, n_samples=3, strategy="difference"
        )
    X, y, domain = _data(rng)
    own = domain < 0
    rows = query_target(model, X[own], y[own], sample_domain=domain[own], n_samples=3)
    assert np.isnan(y[own][rows]).all()


def test_bad_input_is_one_error(rng):
    X, y, domain = _data(rng)
    with pytest.raises(ValueError, match="needs predict_proba"):
        query_target(Pooled(LinearSVC()), X, y, sample_domain=domain, n_samples=3)
    with pytest.raises(ValueError, match="target_estimator is for"):
        query_target(
            Pooled(Ridge()), X, y, sample_domain=domain, n_samples=3,
            target_estimator=Ridge(),
        )  # fmt: skip
    for learner, labels in ((Ridge(), np.where(np.isnan(y), y, 0.5)), (None, None)):
        model = Pooled(learner or LinearSVC())
        with pytest.raises(ValueError, match="strategy='evidential'"):
            query_target(
                model, X, y if labels is None else labels, sample_domain=domain,
                n_samples=3, strategy="evidential",
            )  # fmt: skip


def test_evidential_score_is_the_sum_of_two_uncertainties_of_a_dirichlet():
    p = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [1.0, 0.0, 0.0]])
    ratio = np.array([0.3, 2.0, 1.0])
    rng = np.random.default_rng(0)
    for row, r, score in zip(p, ratio, _evidential(p, ratio), strict=True):
        logits = np.log(np.maximum(row, 1e-6))
        alpha = 1 + np.exp(logits - logits.mean()) / r
        draws = rng.dirichlet(alpha, size=20000)
        expected_entropy = stats.entropy(draws, axis=1).mean()
        # mutual information of label and probabilities: mean divergence from the mean
        share = alpha / alpha.sum()
        information = stats.entropy(draws, share[None], axis=1).mean()
        assert score == pytest.approx(information + expected_entropy, abs=0.01)
    # far from the sources, and where their model is unsure
    far, near = (
        _evidential(p[:1], np.array([20.0])),
        _evidential(p[:1], np.array([0.05])),
    )
    assert far > 0.99 * np.log(3)
    assert near == pytest.approx(stats.entropy(p[0]), abs=0.05)
    assert _evidential(p, ratio).argmax() == 1


def test_evidential_rows_make_a_better_model_than_random_ones():
    gains = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, y, domain = _data(rng)
        X[domain < 0, 2] += 3 * rng.uniform(size=200)
        truth = (2 * X[:, 0] + X[:, 1] > 0).astype(float)
        model = Pooled(LogisticRegression(), source_weight=0.05)
        rows = query_target(
            model, X, y, sample_domain=domain, n_samples=15, strategy="evidential"
        )
        pool = np.flatnonzero(np.isnan(y))
        right = []
        for chosen in (rows, rng.choice(pool, 15, replace=False)):
            labels = y.copy()
            labels[chosen] = truth[chosen]
            fitted = model.fit(X, labels, sample_domain=domain)
            right.append(fitted.score(X[pool], truth[pool]))
        gains.append(right[0] - right[1])
    assert np.mean(gains) > 0


@pytest.mark.parametrize("strategy", ["model", "difference", "evidential"])
def test_units_are_chosen_as_wholes(rng, strategy):
    X, y, domain = _data(rng, n_labeled=40)
    groups = np.array([f"p{k}" for k in rng.randint(60, size=400)])
    model = Pooled(LogisticRegression())
    options = {"sample_domain": domain, "groups": groups, "strategy": strategy}
    rows = query_target(model, X, y, n_samples=4, **options)
    own = (domain < 0) & ~np.isin(groups, groups[(domain < 0) & ~np.isnan(y)])
    chosen = list(dict.fromkeys(groups[rows]))
    assert len(chosen) == 4
    np.testing.assert_array_equal(
        np.sort(rows), np.flatnonzero(own & np.isin(groups, chosen))
    )
    assert list(groups[rows]) == sorted(groups[rows], key=chosen.index)
    n_free = len(np.unique(groups[own]))
    with pytest.raises(ValueError, match=f"only {n_free} different target units"):
        query_target(model, X, y, n_samples=n_free + 1, **options)
    # a unit per row is no unit
    each = query_target(
        model, X, y, n_samples=9, **options | {"groups": np.arange(400)}
    )
    plain = query_target(model, X, y, n_samples=9, **options | {"groups": None})
    np.testing.assert_array_equal(each, plain)
