"""Negative transfer gap: definition, folds, interval, scorer."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._domains import check_domains
from sktransfer._folds import target_folds
from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics import cross_val_ntg, make_ntg_scorer, negative_transfer_gap
from sktransfer.metrics._negative_transfer import corrected_resampled_t
from sktransfer.model_selection import StratifiedTargetKFold, TargetKFold
from sktransfer.safe import TransferGuard


def problem(seed=0, n_source=40, n_target=30, n_unlabeled=10, sign=1.0):
    rng = np.random.default_rng(seed)
    domain = np.repeat([1, -1], [n_source, n_target + n_unlabeled])
    X = rng.normal(size=(len(domain), 3))
    y = X.sum(axis=1) * np.where(domain > 0, sign, 1.0) + 0.3 * rng.normal(
        size=len(domain)
    )
    labeled = np.arange(len(domain)) < n_source + n_target
    return X, y, domain, labeled


def classes(y, labeled):
    return np.where(labeled, (y > 0).astype(int), -1)


def test_ntg_is_error_with_minus_error_without_sources():
    X, y, domain, _ = problem(sign=-1.0)
    y = (y > 0).astype(int)
    transfer = Pooled(LogisticRegression()).fit(X, y, sample_domain=domain)
    rows = domain < 0
    target_only = LogisticRegression().fit(X[rows], y[rows])
    X_test, y_test, domain_test, _ = problem(seed=1)
    X_test, y_test = X_test[domain_test < 0], (y_test > 0)[domain_test < 0].astype(int)
    error = [
        1 - accuracy_score(y_test, m.predict(X_test)) for m in (transfer, target_only)
    ]
    gap = negative_transfer_gap(transfer, target_only, X_test, y_test)
    assert_allclose(gap, error[0] - error[1])
    assert gap > 0
    same = negative_transfer_gap(target_only, target_only, X_test, y_test)
    assert same == 0


def test_unlabeled_rows_cannot_be_scored():
    X, y, _, _ = problem()
    model = LogisticRegression().fit(X, y > 0)
    y = np.where(np.arange(len(y)) < 3, np.nan, y)
    with pytest.raises(UnlabeledTargetError, match="3 of"):
        negative_transfer_gap(model, model, X, y)


def test_identical_estimators_have_gap_zero():
    X, y, domain, labeled = problem()
    y = np.where(labeled, y, np.nan)
    result = cross_val_ntg(TargetOnly(Ridge()), X, y, sample_domain=domain)
    assert_array_equal(result.gaps, 0)
    assert_array_equal(result.interval, 0)


@pytest.mark.parametrize("estimator", [Pooled(Ridge()), "pipeline"])
def test_gaps_are_those_of_explicit_fits(estimator):
    X, y, domain, labeled = problem()
    y = np.where(labeled, y, np.nan)
    if estimator == "pipeline":
        estimator = make_pipeline(StandardScaler(), Pooled(Ridge()))
    result = cross_val_ntg(
        estimator, X, y, sample_domain=domain, cv=TargetKFold(3), scoring="r2"
    )
    for k, (train, test) in enumerate(TargetKFold(3).split(X, y, sample_domain=domain)):
        target = train[domain[train] < 0]
        scores = []
        with sklearn.config_context(enable_metadata_routing=True):
            for rows in (train, target):
                model = clone(estimator).fit(
                    X[rows], y[rows], sample_domain=domain[rows]
                )
                scores.append(model.score(X[test], y[test]))
        assert_allclose(result.transfer_scores[k], scores[0])
        assert_allclose(result.target_only_scores[k], scores[1])
        assert_allclose(result.gaps[k], scores[1] - scores[0])
    assert_allclose(result.ntg, result.gaps.mean())


def test_interval_is_the_corrected_resampled_t():
    gaps = np.array([0.1, 0.3, -0.2, 0.4])
    low, high = corrected_resampled_t(gaps, [(5, 15)] * 4, 0.9)
    half = stats.t.ppf(0.95, 3) * np.sqrt((1 / 4 + 5 / 15) * gaps.var(ddof=1))
    assert_allclose([low, high], [gaps.mean() - half, gaps.mean() + half])
    assert_array_equal(
        corrected_resampled_t(gaps[:1], [(5, 15)], 0.9), [-np.inf, np.inf]
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sign_of_the_gap(sign):
    X, y, domain, labeled = problem(sign=sign, n_target=8)
    y = np.where(labeled, y, np.nan)
    result = cross_val_ntg(
        Pooled(Ridge()),
        X,
        y,
        sample_domain=domain,
        cv=4,
        scoring="neg_mean_squared_error",
    )
    assert np.sign(result.ntg) == -sign


@pytest.mark.parametrize("cv", [2, 5, 100])
def test_folds_of_an_int_cover_the_labeled_target_rows(cv):
    X, y, domain, labeled = problem()
    data = check_domains(X, np.where(labeled, y, np.nan), domain)
    folds = target_folds(data, cv, stratify=False, random_state=0)
    tests = np.concatenate([test for _, test in folds])
    assert_array_equal(np.sort(tests), np.flatnonzero(data.is_labeled_target))
    assert len(folds) == min(cv, 30)
    sizes = [len(test) for _, test in folds]
    assert max(sizes) - min(sizes) <= 1
    for train, test in folds:
        assert_array_equal(np.sort(np.append(train, test)), np.arange(len(domain)))


@pytest.mark.parametrize("counts", [(2, 2, 9), (3, 1, 4), (2, 5)])
@pytest.mark.parametrize("cv", [2, 3, 5, 20])
def test_folds_keep_every_class_in_training(counts, cv):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.random.default_rng(0).normal(size=(len(y), 2))
    data = check_domains(X, y, np.full(len(y), -1))
    folds = target_folds(data, cv, stratify=True, random_state=0)
    for train, _ in folds:
        assert_array_equal(np.unique(y[train]), np.unique(y))
    tested = np.concatenate([test for _, test in folds])
    singles = np.flatnonzero(np.isin(y, np.flatnonzero(np.array(counts) == 1)))
    assert_array_equal(np.sort(tested), np.setdiff1d(np.arange(len(y)), singles))


def test_folds_do_not_depend_on_the_order_of_rows():
    X, y, domain, labeled = problem()
    y = np.where(labeled, y, np.nan)
    order = np.random.default_rng(1).permutation(len(y))
    first = target_folds(check_domains(X, y, domain), 4, stratify=False, random_state=3)
    second = target_folds(
        check_domains(X[order], y[order], domain[order]),
        4, stratify=False, random_state=3,
    )  # fmt: skip
    for (_, a), (_, b) in zip(first, second, strict=True):
        assert_array_equal(np.sort(order[b]), a)


def test_splitters_of_both_kinds():
    X, y, domain, labeled = problem(n_target=8)
    y = classes(y, labeled)
    data = check_domains(X, y, domain)
    ours = target_folds(data, StratifiedTargetKFold(3), stratify=True, random_state=0)
    theirs = target_folds(data, LeaveOneOut(), stratify=True, random_state=0)
    listed = target_folds(data, ours, stratify=True, random_state=0)
    assert len(ours) == 3 and len(theirs) == 8
    for folds in (ours, theirs, listed):
        for _, test in folds:
            assert data.is_labeled_target[test].all()


def test_too_few_labels_is_an_error():
    X, y, domain, labeled = problem(n_target=1)
    with pytest.raises(UnlabeledTargetError, match="hold out"):
        cross_val_ntg(
            Pooled(Ridge()), X, np.where(labeled, y, np.nan), sample_domain=domain
        )


def test_metadata_are_sliced():
    X, y, domain, labeled = problem()
    y = np.where(labeled, y, np.nan)
    weight = np.where(domain > 0, 1e-9, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = Pooled(Ridge().set_fit_request(sample_weight=True))
    result = cross_val_ntg(
        estimator, X, y, sample_domain=domain, params={"sample_weight": weight}
    )
    assert_allclose(result.gaps, 0, atol=1e-6)


def fitted_guard():
    X, y, domain, labeled = problem(sign=-1.0)
    y = classes(y, labeled)
    guard = TransferGuard(Pooled(LogisticRegression()), cv=3)
    return guard, X, y, domain


def test_scorer_returns_minus_the_gap_wherever_the_guard_is():
    guard, X, y, domain = fitted_guard()
    X_test, y_test = X[:20], (X[:20].sum(axis=1) > 0).astype(int)
    scorer = make_ntg_scorer("accuracy")
    guard.fit(X, y, sample_domain=domain)
    pair = guard.transfer_, guard.target_only_
    gap = negative_transfer_gap(*pair, X_test, y_test, scoring="accuracy")
    assert gap > 0
    assert scorer(guard, X_test, y_test) == -gap
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(guard, {"risk": [0.3]}, cv=StratifiedTargetKFold(2))
        search.fit(X, y, sample_domain=domain)
        pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False), guard)
        pipe.fit(X, y, sample_domain=domain)
    assert scorer(search, X_test, y_test) == -gap
    assert scorer(pipe, X_test, y_test) == -gap


def test_scorer_in_cross_validate():
    guard, X, y, domain = fitted_guard()
    with sklearn.config_context(enable_metadata_routing=True):
        result = cross_validate(
            guard, X, y, cv=StratifiedTargetKFold(2), params={"sample_domain": domain},
            scoring={"ntg": make_ntg_scorer("accuracy"), "accuracy": "accuracy"},
            return_estimator=True,
        )  # fmt: skip
    split = StratifiedTargetKFold(2).split(X, y, sample_domain=domain)
    for guard, score, (_, test) in zip(
        result["estimator"], result["test_ntg"], split, strict=True
    ):
        scores = [
            m.score(X[test], y[test]) for m in (guard.transfer_, guard.target_only_)
        ]
        assert_allclose(score, scores[0] - scores[1])


def test_scorer_without_a_guard_is_a_clear_error():
    X, y, _, _ = problem()
    model = FrozenEstimator(LogisticRegression().fit(X, y > 0))
    with pytest.raises(TypeError, match="TransferGuard"):
        make_ntg_scorer()(model, X, y > 0)


@pytest.mark.parametrize("name", ["scoring", "cv", "confidence_level"])
def test_bad_parameters_are_named(name):
    X, y, domain, _ = problem()
    bad = {"scoring": "best", "cv": "five", "confidence_level": 1.0}[name]
    with pytest.raises(ValueError, match=name):
        cross_val_ntg(Pooled(Ridge()), X, y, sample_domain=domain, **{name: bad})


def test_score_that_is_not_finite_is_an_error():
    X, y, domain, _ = problem(n_target=5, n_unlabeled=0)
    with (
        pytest.warns(sklearn.exceptions.UndefinedMetricWarning),
        pytest.raises(ValueError, match="Lower cv"),
    ):
        cross_val_ntg(Pooled(Ridge()), X, y, sample_domain=domain, scoring="r2")
