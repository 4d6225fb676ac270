"""The gap by units: what each score gives, and one probability for all who ask."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    make_scorer,
    r2_score,
)
from sklearn.utils import get_tags

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import make_concept_shift
from sktransfer.metrics import cross_val_ntg, rank_sources
from sktransfer.metrics._held_out import HeldOutScore, row_scores
from sktransfer.safe import (
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)


def task(classify=False, n_labeled=20, shift=1.0, n_unlabeled=30, labels=(0, 1)):
    rng = np.random.default_rng(0)
    n = 40 + n_labeled + n_unlabeled
    X = rng.normal(size=(n, 3))
    domain = np.repeat([1, -1], [40, n - 40])
    y = X[:, 0] + shift * X[:, 1] * (domain > 0) + 0.5 * rng.normal(size=n)
    if classify:
        y = np.array(labels)[(y > 0).astype(int)].astype(
            float if isinstance(labels[0], int) else object
        )
    y[n - n_unlabeled :] = np.nan if y.dtype.kind == "f" else None
    return X, y, domain


def gap_of(scoring=None, classify=False, estimator=None, **options):
    X, y, domain = task(classify, **options)
    if estimator is None:
        estimator = Pooled(LogisticRegression() if classify else Ridge())
    return cross_val_ntg(
        estimator, X, y, sample_domain=domain, scoring=scoring, random_state=0
    )


SCORES = [
    (None, True), ("accuracy", True), ("neg_brier_score", True), ("neg_log_loss", True),
    ("roc_auc", True), ("balanced_accuracy", True), (None, False), ("r2", False),
    ("neg_mean_squared_error", False), ("neg_root_mean_squared_error", False),
    ("neg_mean_absolute_error", False), ("neg_max_error", False),
]  # fmt: skip


@pytest.mark.parametrize(("scoring", "classify"), SCORES)
def test_every_score_has_two_intervals_and_a_probability(scoring, classify):
    result = gap_of(scoring, classify)
    evidence = result.evidence
    assert_allclose(evidence.interval(0.95, "average"), result.interval)
    average, fitted = (evidence.interval(0.9, k) for k in ("average", "fitted"))
    assert np.ptp(fitted) >= np.ptp(average) > 0
    assert average[0] <= result.ntg <= average[1]
    if result.harm_probability > 0.5:  # it leans a little toward help
        assert result.ntg > 0
    for name in ("transfer", "target_only"):
        low, high = result[f"{name}_interval"]
        assert low <= result[f"{name}_scores"].mean() <= high


@pytest.mark.parametrize(
    "scoring", ["accuracy", "neg_brier_score", "neg_log_loss", "neg_mean_squared_error"]
)
def test_without_unlabeled_rows_it_is_the_mean_of_the_folds(scoring):
    result = gap_of(scoring, scoring[4:8] != "mean", n_unlabeled=0, n_labeled=21)
    assert_allclose(result.ntg, result.gaps.mean())


def test_root_mean_squared_error_is_that_of_all_rows():
    squared = gap_of("neg_mean_squared_error", n_unlabeled=0)
    result = gap_of("neg_root_mean_squared_error", n_unlabeled=0)
    roots = [
        np.sqrt(-squared[f"{k}_scores"].mean()) for k in ("transfer", "target_only")
    ]
    assert_allclose(result.ntg, roots[0] - roots[1])
    assert_allclose(result.harm_probability, squared.harm_probability)


def test_labels_and_units_of_the_score_do_not_matter():
    codes, words = (
        gap_of("accuracy", True, labels=labels) for labels in ((0, 1), ("no", "yes"))
    )
    assert_allclose(codes.interval, words.interval)
    by_name = gap_of(make_scorer(accuracy_score), True)
    assert_allclose(codes.interval, by_name.interval)
    assert_allclose(codes.interval, gap_of(None, True).interval)


def test_unlabeled_rows_narrow_a_clear_gap():
    few, many = (
        gap_of("neg_mean_squared_error", shift=3.0, n_labeled=40, n_unlabeled=n)
        for n in (0, 200)
    )
    assert np.ptp(many.interval) < np.ptp(few.interval)
    assert few.interval[0] > 0


def fold(answers, y, value, weight=None, classes=None):
    tags = get_tags(Ridge() if classes is None else LogisticRegression())
    return HeldOutScore(value, answers, classes, tags, y, weight)


def test_values_of_rows_have_the_scores_of_the_folds_as_means():
    rng = np.random.default_rng(0)
    y = rng.normal(size=7)
    weight = rng.uniform(0.5, 2, 7)
    for w in (None, weight):
        pair = []
        for _ in range(2):
            predicted = y + rng.normal(size=7)
            value = r2_score(y, predicted, sample_weight=w)
            pair.append(fold({"predict": predicted}, y, value, w))
        rows = row_scores([pair], "r2", [np.arange(7)])
        assert rows.kind == "r2" and (rows.guesses > 0).all()
        means = np.average(rows.values, axis=1, weights=w)
        assert_allclose(means, [score.value for score in pair])


def test_jackknife_of_a_mean_is_the_row_itself():
    y = np.array([0, 1, 1, 0])
    proba = np.array([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    loss = -log_loss(y, proba)
    score = fold({"predict_proba": proba}, y, loss, classes=np.array([0, 1]))
    rows = row_scores([[score, score]], "neg_log_loss", [np.arange(4)])
    assert_allclose(rows.values[0], np.log(proba[np.arange(4), y]))
    # rows of a unit have the value of the unit
    rows = row_scores([[score, score]], "neg_log_loss", [np.array([0, 0, 1, 1])])
    assert_allclose(rows.values[0][:2], np.log(proba[np.arange(4), y])[:2].mean())


def test_brier_score_of_two_classes_and_its_guess():
    y = np.array([0, 1, 1])
    p, q = np.array([0.2, 0.9, 0.4]), np.array([0.1, 0.5, 0.8])
    pair = [
        fold({"predict_proba": np.column_stack([1 - a, a])}, y,
             -brier_score_loss(y, a), classes=np.array([0, 1]))
        for a in (p, q)
    ]  # fmt: skip
    rows = row_scores([pair], "neg_brier_score", [np.arange(3)])
    assert rows.kind == "brier"
    assert_allclose(rows.values, -((np.array([p, q]) - y) ** 2))
    assert_allclose(rows.guesses, (p - q) ** 2)
    steps = np.column_stack([p - q, q - p])
    assert_allclose(rows.scales[0] * np.sum(steps**2, axis=1), rows.guesses)


def test_scores_without_values_of_rows_fall_back_on_folds():
    def custom(estimator, X, y):
        return -np.abs(estimator.predict(X) - y).max()

    result = gap_of(custom)
    assert_allclose(result.ntg, result.gaps.mean())
    assert np.isfinite(result.interval).all()


class OwnScore(Ridge):
    """A regressor with another score than R2."""

    def score(self, X, y, sample_weight=None):
        """Return the negated largest error."""
        return -np.abs(self.predict(X) - y).max()


def test_a_score_of_its_own_has_no_values_of_rows():
    result = gap_of(None, estimator=Pooled(OwnScore()), n_unlabeled=0)
    assert_allclose(result.ntg, result.gaps.mean())
    assert_allclose(result.evidence.folds.weights, 0.2)


def test_identical_models_differ_nowhere_but_equal_classes_may():
    X, y, domain = task(classify=True)
    same = TargetOnly(LogisticRegression())
    result = cross_val_ntg(same, X, y, sample_domain=domain, scoring="accuracy")
    assert_array_equal(result.interval, 0) and result.harm_probability == 0.5
    X, y = np.sign(X) * 5, np.where(np.isnan(y), np.nan, X[:, 0] > 0)
    easy = cross_val_ntg(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, scoring="accuracy"
    )
    assert_array_equal(easy.gaps, 0)
    assert easy.interval[0] < 0 < easy.interval[1]
    assert easy.transfer_interval[0] < easy.transfer_interval[1] == 1


@pytest.mark.parametrize("classify", [False, True])
def test_guard_portfolio_and_gap_give_one_probability(classify):
    X, y, domain = task(classify, n_unlabeled=25)
    base = LogisticRegression() if classify else Ridge()
    guard = TransferGuard(Pooled(base)).fit(X, y, sample_domain=domain)
    kind = TransferPortfolioClassifier if classify else TransferPortfolioRegressor
    members = [("alone", base), ("pooled", Pooled(base))]
    portfolio = kind(members=members).fit(X, y, sample_domain=domain)
    scoring = "neg_brier_score" if classify else "neg_mean_squared_error"
    result = cross_val_ntg(
        Pooled(base), X, y, sample_domain=domain, cv=10, scoring=scoring, random_state=0
    )
    assert 0 < guard.harm_probability_ < 1
    assert_allclose(portfolio.harm_probability_, guard.harm_probability_)
    assert_allclose(result.harm_probability, guard.harm_probability_)
    assert_allclose(portfolio.ntg_interval_, guard.ntg_interval_)
    factor = 2.0 if classify else 1.0  # two columns of one probability
    fitted = factor * result.evidence.interval(0.95, "fitted")
    assert_allclose(guard.ntg_interval_, fitted)
    guard.set_params(interval_for="average").fit(X, y, sample_domain=domain)
    assert_allclose(guard.ntg_interval_, factor * result.interval)
    with pytest.raises(ValueError, match="interval_for"):
        TransferGuard(Pooled(base), interval_for="mean").fit(X, y, sample_domain=domain)


def test_rank_sources_takes_the_folds_and_the_gap():
    data = make_concept_shift(60, n_labeled=24, shift=[0.0, 3.0], random_state=0)
    args = Pooled(Ridge()), data.X, data.y, data.sample_domain
    tables = [
        rank_sources(*args, scores=["ntg"], interval_for=k, random_state=0)
        for k in ("average", "fitted")
    ]
    width = [table["high"] - table["low"] for table in tables]
    assert (width[0] < width[1]).all()
    assert_array_equal(tables[0]["value"], tables[1]["value"])
