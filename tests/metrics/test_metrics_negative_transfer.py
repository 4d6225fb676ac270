"""Negative transfer gap: definition, folds, interval, scorer."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    make_scorer,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    cross_validate,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sktransfer._domains import check_domains
from sktransfer._folds import target_folds
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics import cross_val_ntg, make_ntg_scorer, negative_transfer_gap
from sktransfer.metrics._negative_transfer import corrected_resampled_t
from sktransfer.model_selection import (
    GroupTargetKFold,
    StratifiedTargetKFold,
    TargetKFold,
)
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


class Unpoolable:
    """A scorer that does not say what it asks of a model."""

    def __call__(self, estimator, X, y):
        return np.nan if len(y) < 2 else r2_score(y, estimator.predict(X))

    def __repr__(self):
        return "unpoolable"


def test_score_that_is_not_finite_is_an_error():
    X, y, domain, _ = problem(n_target=5, n_unlabeled=0)
    with pytest.raises(ValueError, match=r"unpoolable is not finite.*Lower cv"):
        cross_val_ntg(Pooled(Ridge()), X, y, sample_domain=domain, scoring=Unpoolable())


# -- kind 12: scores that need every class, or more than one row ---------------


def three_classes(seed=0, n_target=9, k=3):
    rng = np.random.default_rng(seed)
    n = 60 + n_target
    domain = np.repeat([1, -1], [60, n_target])
    y = np.r_[np.arange(60) % k, np.arange(n_target) % k]
    X = (
        rng.normal(size=(n, 3))
        + 1.2 * np.eye(3)[y] * np.where(domain > 0, 0.5, 1.0)[:, None]
    )
    return X, y, domain


def out_of_fold(estimator, X, y, domain, folds, rows_of):
    """Probabilities of held-out target rows, by hand."""
    proba = {}
    for train, test in folds:
        rows = train if rows_of == "all" else train[domain[train] < 0]
        model = LogisticRegression().fit(X[rows], y[rows])
        for row, p in zip(test, model.predict_proba(X[test]), strict=True):
            proba[row] = p
    return proba


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize(
    ("scoring", "loss"),
    [
        ("neg_log_loss", log_loss),
        ("neg_brier_score", brier_score_loss),
        (make_scorer(log_loss, greater_is_better=False,
                     response_method="predict_proba"), log_loss),
    ],
)  # fmt: skip
def test_kind_12_leave_one_out_log_loss_over_all_classes(scoring, loss, k, names):
    X, y, domain = three_classes(k=k)
    labels = np.array(["ant", "bee", "cat"])[y] if names else y
    result = cross_val_ntg(
        Pooled(LogisticRegression()), X, labels, sample_domain=domain,
        cv=LeaveOneOut(), scoring=scoring,
    )  # fmt: skip
    rows = np.flatnonzero(domain < 0)
    folds = [(np.setdiff1d(np.arange(len(y)), [r]), np.array([r])) for r in rows]
    for which, got in (("all", result.transfer_scores),
                       ("target", result.target_only_scores)):  # fmt: skip
        proba = out_of_fold(None, X, y, domain, folds, which)
        P = np.array([proba[r] for r in rows])
        if loss is log_loss:
            expected = np.log(P[np.arange(len(rows)), y[rows]])
        else:
            one_hot = np.eye(k)[y[rows]]
            expected = -np.sum((P - one_hot) ** 2, axis=1) * (0.5 if k == 2 else 1.0)
        assert_allclose(got, expected)


@pytest.mark.parametrize("cv", [3, 5, 9])
def test_kind_12_auc_is_pooled_where_a_fold_lacks_a_class(cv):
    X, y, domain = three_classes(seed=1)
    data = check_domains(X, y, domain)
    folds = target_folds(data, cv, stratify=True, random_state=0)
    lacks = [len(np.unique(y[test])) < 3 for _, test in folds]
    result = cross_val_ntg(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, cv=cv,
        scoring="roc_auc_ovr", random_state=0,
    )  # fmt: skip
    assert any(lacks) == (cv > 3)
    if not any(lacks):
        return
    rows = np.concatenate([test for _, test in folds])
    auc = {}
    for which in ("all", "target"):
        proba = out_of_fold(None, X, y, domain, folds, which)
        auc[which] = roc_auc_score(
            y[rows], np.array([proba[r] for r in rows]), multi_class="ovr"
        )
    assert_allclose(result.transfer_scores.mean(), auc["all"])
    assert_allclose(result.target_only_scores.mean(), auc["target"])
    assert_allclose(result.ntg, auc["target"] - auc["all"])
    # the jackknife: the score of all folds but one
    proba = out_of_fold(None, X, y, domain, folds, "all")
    without = []
    for j in range(len(folds)):
        kept = np.concatenate([t for k, (_, t) in enumerate(folds) if k != j])
        P = np.array([proba[r] for r in kept])
        without.append(roc_auc_score(y[kept], P, multi_class="ovr"))
    shift = (len(folds) - 1) * (np.mean(without) - np.array(without))
    assert_allclose(result.transfer_scores, auc["all"] + shift)


def test_kind_12_binary_auc_and_r2_of_single_rows_are_pooled():
    X, y, domain = three_classes(k=2, n_target=10)
    result = cross_val_ntg(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, cv=LeaveOneOut(),
        scoring="roc_auc",
    )  # fmt: skip
    assert 0.5 < result.transfer_scores.mean() <= 1
    X, y, domain, _ = problem(n_target=6, n_unlabeled=0)
    rows = np.flatnonzero(domain < 0)
    for scoring in ("r2", None):
        result = cross_val_ntg(
            Pooled(Ridge()), X, y, sample_domain=domain, cv=LeaveOneOut(),
            scoring=scoring,
        )  # fmt: skip
        predicted = [
            Ridge().fit(np.delete(X, r, 0), np.delete(y, r)).predict(X[[r]])[0]
            for r in rows
        ]
        assert_allclose(result.transfer_scores.mean(), r2_score(y[rows], predicted))


def test_kind_12_a_class_that_the_target_fit_does_not_know_has_probability_0():
    X, y, domain = three_classes(k=3, n_target=12)
    keep = (domain > 0) | (y < 2)  # the target never shows class 2
    X, y, domain = X[keep], y[keep], domain[keep]
    for scoring in ("neg_log_loss", "neg_brier_score", "top_k_accuracy"):
        result = cross_val_ntg(
            Pooled(LogisticRegression()), X, y, sample_domain=domain, scoring=scoring
        )
        assert np.isfinite(result.gaps).all()
    transfer = Pooled(LogisticRegression()).fit(X, y, sample_domain=domain)
    alone = LogisticRegression().fit(X[domain < 0], y[domain < 0])
    gap = negative_transfer_gap(transfer, alone, X, y, scoring="neg_log_loss")
    padded = np.column_stack([alone.predict_proba(X), np.zeros(len(X))])
    with np.errstate(divide="ignore"):
        expected = log_loss(y, transfer.predict_proba(X)) - log_loss(y, padded)
    assert_allclose(gap, expected)


def test_kind_12_undefined_even_together_is_an_error_that_says_so():
    X, y, domain = three_classes(k=3, n_target=12)
    keep = (domain > 0) | (y < 2)
    with pytest.raises(ValueError, match="even with the folds taken together"):
        cross_val_ntg(
            Pooled(LogisticRegression()), X[keep], y[keep],
            sample_domain=domain[keep], scoring="roc_auc_ovr",
        )  # fmt: skip


def test_ill_defined_scores_that_are_finite_still_warn():
    X, y, domain = three_classes(k=3, n_target=12)
    with pytest.warns(sklearn.exceptions.UndefinedMetricWarning):
        cross_val_ntg(
            Pooled(LogisticRegression()), X, y, sample_domain=domain,
            scoring="precision_macro", cv=12,
        )  # fmt: skip


# -- the pair, rows and columns ----------------------------------------------


def test_plain_target_estimator_gets_the_labeled_target_rows():
    X, y, domain, labeled = problem()
    y = np.where(labeled, y, np.nan)
    options = {"sample_domain": domain, "cv": 3, "random_state": 0}
    plain = cross_val_ntg(Pooled(Ridge()), X, y, target_estimator=Ridge(), **options)
    known = cross_val_ntg(Pooled(Ridge()), X, y, **options)
    assert_allclose(plain.gaps, known.gaps)
    with pytest.raises(TypeError, match="both be classifiers"):
        cross_val_ntg(
            Pooled(Ridge()), X, y, target_estimator=LogisticRegression(), **options
        )
    with pytest.raises(TypeError, match="does not know domains"):
        cross_val_ntg(Ridge(), X, y, **options)


@pytest.mark.parametrize("kind", ["lists", "texts", "frame", "3d", "tokens"])
def test_kind_06_rows_of_any_kind_that_the_pipeline_takes(kind):
    import pandas as pd

    X, y, domain, labeled = problem()
    y = classes(y, labeled)
    y = np.where(y == -1, np.nan, y)
    high = X.sum(axis=1) > 0
    words = [f"{'good' if h else 'bad'} film {k % 3}" for k, h in enumerate(high)]
    rows, front = {
        "lists": (X.tolist(), StandardScaler()),
        "texts": (words, CountVectorizer()),
        "frame": (pd.DataFrame({"text": words}),
                  ColumnTransformer([("n", CountVectorizer(), "text")])),
        "3d": (np.stack([X, X], axis=2),
               FunctionTransformer(lambda A: A.reshape(len(A), -1))),
        "tokens": ([w.split()[: 1 + k % 3] for k, w in enumerate(words)],
                   CountVectorizer(analyzer=lambda tokens: tokens)),
    }[kind]  # fmt: skip
    options = {"sample_domain": domain, "cv": 3, "random_state": 0}
    pipe = make_pipeline(front, Pooled(LogisticRegression()))
    result = cross_val_ntg(pipe, rows, y, **options)
    assert np.isfinite(result.gaps).all()
    guard = TransferGuard(pipe).fit(rows, y, sample_domain=domain)
    assert len(guard.predict(rows)) == len(y)
    if kind == "lists":
        assert_array_equal(result.gaps, cross_val_ntg(pipe, X, y, **options).gaps)


def test_kind_07_two_columns():
    X, y, domain, labeled = problem()
    y = np.where(labeled, y, np.nan)
    result = cross_val_ntg(
        Pooled(Ridge()), X, np.column_stack([y, y]), sample_domain=domain, cv=3,
        random_state=0,
    )  # fmt: skip
    one = cross_val_ntg(
        Pooled(Ridge()), X, y, sample_domain=domain, cv=3, random_state=0
    )
    assert_allclose(result.gaps, one.gaps)


# -- kinds 03 and 33: groups and weights ------------------------------------


def patients(seed=0, ng=8, per=6):
    """One source without patient effects, and a target with few patients."""
    r = np.random.default_rng(seed)
    w = r.normal(size=4)
    X_source = r.normal(size=(150, 4))

    def draw(k):
        X = np.repeat(r.normal(size=(k, 4)) * 1.5, per, 0)
        X = X + 0.1 * r.normal(size=(k * per, 4))
        effect = np.repeat(r.normal(size=k) * 1.5, per)
        return X, X @ w + effect + 0.1 * r.normal(size=k * per)

    X_target, y_target = draw(ng)
    X_new, y_new = draw(40)
    X = np.r_[X_source, X_target]
    y = np.r_[X_source @ w + 0.3 * r.normal(size=150), y_target]
    domain = np.r_[np.ones(150, int), -np.ones(ng * per, int)]
    groups = np.r_[np.arange(150) + 100, np.repeat(np.arange(ng), per)]
    return X, y, domain, groups, X_new, y_new


def test_kind_03_with_groups_the_sign_of_the_gap_is_right():
    knn = KNeighborsRegressor(3)
    gaps = {"truth": [], "none": [], "groups": [], "params": [], "splitter": []}
    for seed in range(8):
        X, y, domain, groups, X_new, y_new = patients(seed)
        losses = [
            mean_squared_error(y_new, knn.fit(X[rows], y[rows]).predict(X_new))
            for rows in (domain > 0, domain < 0)
        ]
        gaps["truth"].append(losses[0] - losses[1])
        for name, options in {
            "none": {},
            "groups": {"groups": groups},
            "params": {"params": {"groups": [f"p{g}" for g in groups]}},
            "splitter": {"groups": groups, "cv": GroupKFold(4)},
        }.items():
            result = cross_val_ntg(
                SourceOnly(knn), X, y, sample_domain=domain, random_state=0,
                scoring="neg_mean_squared_error", target_estimator=TargetOnly(knn),
                **options,
            )  # fmt: skip
            gaps[name].append(result.ntg)
            assert result.n_held_out == (8 if options else 48)
    assert np.max(gaps["truth"]) < 0 < np.min(gaps["none"])  # all wrong without
    for name in ("groups", "params", "splitter"):
        assert np.mean(gaps[name]) < 0 and np.mean(np.less(gaps[name], 0)) > 0.7


def test_kind_03_groups_reach_only_fits_that_request_them():
    X, y, domain, groups, *_ = patients()
    seen = []

    class Learner(Ridge):
        def fit(self, X, y, groups=None):
            seen.append((len(y), None if groups is None else len(groups)))
            return super().fit(X, y)

    with sklearn.config_context(enable_metadata_routing=True):
        asks = Pooled(Learner().set_fit_request(groups=True))
        quiet = Pooled(Ridge())
    options = {"sample_domain": domain, "groups": groups, "cv": 4, "random_state": 0}
    one = cross_val_ntg(asks, X, y, **options)
    assert seen and all(n == m for n, m in seen)
    assert_allclose(one.gaps, cross_val_ntg(quiet, X, y, **options).gaps)
    with pytest.raises(ValueError, match=r"groups and params\['groups'\]"):
        cross_val_ntg(quiet, X, y, params={"groups": groups}, **options)
    with pytest.raises(ValueError, match="groups has shape"):
        cross_val_ntg(quiet, X, y, **options | {"groups": groups[1:]})


def test_kind_03_ntg_scorer_in_a_search_with_groups():
    X, y, domain, groups, *_ = patients()
    guard = TransferGuard(Pooled(Ridge()), cv=3)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            guard, {"risk": [0.3]}, cv=GroupTargetKFold(3),
            scoring={"ntg": make_ntg_scorer("r2")}, refit=False,
        ).fit(X, y, sample_domain=domain, groups=groups)  # fmt: skip
    assert np.isfinite(search.cv_results_["mean_test_ntg"]).all()


def weighted(estimator=None):
    with sklearn.config_context(enable_metadata_routing=True):
        return Pooled((estimator or Ridge()).set_fit_request(sample_weight=True))


@pytest.mark.parametrize("cv", [4, KFold(4), LeaveOneOut(), "explicit"])
@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", "r2", None])
def test_kind_33_weight_zero_is_a_removed_row(cv, scoring):
    X, y, domain, labeled = problem()
    y = np.where(labeled, y, np.nan)
    weight = np.random.default_rng(3).integers(0, 3, len(y)).astype(float)
    kept, inner = weight > 0, cv
    if isinstance(cv, str):
        rows = np.flatnonzero(labeled & (domain < 0))
        cv = [(np.setdiff1d(np.arange(len(y)), rows[k::3]), rows[k::3])
              for k in range(3)]  # fmt: skip
        inner = [(np.isin(np.arange(len(y)), a)[kept],
                  np.isin(np.arange(len(y)), b)[kept]) for a, b in cv]  # fmt: skip
    options = {"scoring": scoring, "random_state": 0}
    one = cross_val_ntg(
        weighted(), X, y, sample_domain=domain, cv=cv,
        params={"sample_weight": weight}, **options,
    )  # fmt: skip
    two = cross_val_ntg(
        weighted(), X[kept], y[kept], sample_domain=domain[kept], cv=inner,
        params={"sample_weight": weight[kept]}, **options,
    )  # fmt: skip
    for name in ("ntg", "interval", "gaps", "n_held_out"):
        assert_allclose(one[name], two[name])


def test_kind_33_weights_count_in_the_scores_and_over_the_folds():
    X, y, domain, _ = problem(n_unlabeled=0)
    weight = np.random.default_rng(3).uniform(0.1, 3, len(y))
    result = cross_val_ntg(
        weighted(), X, y, sample_domain=domain, cv=LeaveOneOut(),
        params={"sample_weight": weight}, scoring="neg_mean_squared_error",
    )  # fmt: skip
    losses = np.zeros((2, 30))
    for i, r in enumerate(np.flatnonzero(domain < 0)):
        for k, rows in enumerate((domain < 0, domain != 0)):
            rows = rows & (np.arange(len(y)) != r)
            model = Ridge().fit(X[rows], y[rows], sample_weight=weight[rows])
            losses[k, i] = (model.predict(X[[r]])[0] - y[r]) ** 2
    expected = np.average(losses[1] - losses[0], weights=weight[domain < 0])
    assert_allclose(result.ntg, expected)
    scaled = cross_val_ntg(
        weighted(), X, y, sample_domain=domain, cv=LeaveOneOut(),
        params={"sample_weight": np.ones(len(y))}, scoring="neg_mean_squared_error",
    )  # fmt: skip
    plain = cross_val_ntg(
        Pooled(Ridge()), X, y, sample_domain=domain, cv=LeaveOneOut(),
        scoring="neg_mean_squared_error",
    )  # fmt: skip
    assert_allclose(scaled.interval, plain.interval)


def test_kind_33_a_scorer_without_weights_is_refused():
    X, y, domain, _ = problem()
    with pytest.raises(TypeError, match="'neg_max_error' takes no sample_weight"):
        cross_val_ntg(
            weighted(), X, y, sample_domain=domain, scoring="neg_max_error",
            params={"sample_weight": np.ones(len(y))},
        )  # fmt: skip


def test_kind_33_repeated_folds_are_no_new_evidence():
    X, y, domain, _ = problem(n_target=20, n_unlabeled=0)
    folds = list(KFold(5).split(np.zeros(20)))
    rows = np.flatnonzero(domain < 0)
    once = [(np.setdiff1d(np.arange(len(y)), rows[b]), rows[b]) for _, b in folds]
    results = [
        cross_val_ntg(Pooled(Ridge()), X, y, sample_domain=domain, cv=once * repeats)
        for repeats in (1, 30)
    ]
    assert_allclose(results[0].ntg, results[1].ntg)
    assert results[0].n_held_out == results[1].n_held_out == 20
    gaps = results[1].gaps
    half = stats.t.ppf(0.975, 19) * np.sqrt((1 / 150 + 1 / 4) * gaps.var(ddof=1))
    assert_allclose(np.ptp(results[1].interval), 2 * half)


@pytest.mark.parametrize("n_target", [20, 240])  # with jackknife values, and without
@pytest.mark.parametrize("scoring", ["roc_auc", "f1"])
def test_a_tie_of_classifiers_is_no_proof(scoring, n_target):
    rng = np.random.default_rng(1)
    y = np.arange(30 + n_target) % 2
    X = np.column_stack([10.0 * (2 * y - 1), rng.normal(size=len(y))])
    domain = np.repeat([1, -1], [30, n_target])
    found = cross_val_ntg(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, scoring=scoring,
        random_state=0,
    )  # fmt: skip
    low, high = found.interval
    assert found.ntg == 0 and low == pytest.approx(-high) and 0 < high < 4 / n_target
    assert 0.3 < found.harm_probability < 0.6
