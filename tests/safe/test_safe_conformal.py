"""TransferConformal: intervals and sets that cover new target labels."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktransfer._solvers.conformal import (
    cross_interval,
    cross_set,
    split_quantile,
    weighted_quantiles,
)
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.datasets import make_concept_shift, make_label_shift
from sktransfer.safe import (
    TransferConformal,
    TransferGuard,
    TransferPortfolioRegressor,
)

TEXTS = make_pipeline(CountVectorizer(), MultinomialNB())


def regression(n_labeled, seed, shift=(0.0, 2.0)):
    return make_concept_shift(
        40,
        n_labeled=n_labeled,
        n_unlabeled=10,
        n_test=300,
        shift=list(shift),
        noise=0.5,
        random_state=seed,
    )


def classes(n_labeled, seed):
    return make_label_shift(
        40, n_labeled=n_labeled, n_unlabeled=10, n_test=300, random_state=seed
    )


def fitted(model, data):
    return model.fit(data.X, data.y, sample_domain=data.sample_domain)


def test_the_jackknife_agrees_with_mapie():
    """MAPIE 1.6.0, ``CrossConformalRegressor(cv=LeaveOneOut(), method="plus")``."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(25, 2))
    y = X @ [1.0, -2.0] + rng.normal(size=25)
    model = TransferConformal(Pooled(LinearRegression()), alpha=0.2).fit(X, y)
    expected = [
        [-0.5582643814708134, 1.903565779296882],
        [-1.4914759070519206, 1.0216950149124824],
        [0.6554780425789877, 3.1318763824974307],
        [-1.6301723265910755, 1.0392962404890178],
    ]
    interval = model.predict_interval(rng.normal(size=(4, 2)))
    assert interval == pytest.approx(np.array(expected), abs=1e-9)


def test_ranks():
    scores = np.arange(1.0, 20.0)[::-1]
    assert split_quantile(scores, 0.1) == 18
    assert split_quantile(scores, 0.05) == 19
    assert split_quantile(scores, 0.04) == np.inf
    assert split_quantile(scores[:0], 0.5) == np.inf
    same = np.zeros((19, 2))
    assert cross_interval(same, scores, 0.1).tolist() == [[-18, 18]] * 2
    assert cross_interval(same, scores, 0.04).tolist() == [[-np.inf, np.inf]] * 2
    of_classes = np.tile([17.5, 18.0, 18.5], (19, 1, 1))
    assert cross_set(of_classes, scores, 0.1).tolist() == [[True, True, False]]
    assert cross_set(of_classes, scores, 0.04).all()


def test_weighted_quantiles():
    rng = np.random.RandomState(0)
    scores, weights = rng.uniform(size=30), rng.uniform(size=30)
    test = np.array([0.0, 0.5, 3.0, 1e6])
    for w, q in zip(test, weighted_quantiles(scores, weights, test, 0.2), strict=True):
        fine = [
            s
            for s in [*scores, np.inf]
            if weights[scores <= s].sum() + w * np.isinf(s)
            >= 0.8 * (weights.sum() + w) - 1e-12
        ]
        assert q == min(fine)
    equal = weighted_quantiles(scores, np.ones(30), np.ones(4), 0.1)
    assert (equal == split_quantile(scores, 0.1)).all()


@pytest.mark.parametrize(
    ("n_labeled", "method", "n_draws"),
    [(10, "jackknife+", 60), (30, "jackknife+", 25), (80, "split", 60)],
)
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_intervals_cover(n_labeled, method, n_draws, alpha):
    """One of the sources is useless; coverage of new labels by simulation."""
    found = []
    for seed in range(n_draws):
        data = regression(n_labeled, seed)
        model = fitted(TransferConformal(Pooled(Ridge()), alpha=alpha), data)
        assert model.method_ == method
        found.append(model.coverage(data.X_test, data.y_test)[-1])
    error = 3 * np.std(found) / np.sqrt(n_draws)
    assert 1 - alpha - error <= np.mean(found) <= 1 - alpha + error + 0.02


@pytest.mark.parametrize(
    ("n_labeled", "method", "n_draws"), [(12, "jackknife+", 40), (80, "split", 60)]
)
def test_sets_cover(n_labeled, method, n_draws):
    found, sizes = [], []
    for seed in range(n_draws):
        data = classes(n_labeled, seed)
        model = fitted(TransferConformal(Pooled(LogisticRegression())), data)
        assert model.method_ == method
        found.append(model.coverage(data.X_test, data.y_test)[-1])
        sizes.append(model.predict_set(data.X_test).sum(axis=1).mean())
    error = 3 * np.std(found) / np.sqrt(n_draws)
    assert 0.9 - error <= np.mean(found) <= 0.95 + error
    assert np.mean(sizes) < 1.6  # of two classes


def test_source_rows_calibrate_under_covariate_shift():
    """The noise grows where the target is: without weights too few are covered."""
    weighted, plain = [], []
    for seed in range(40):
        rng = np.random.RandomState(seed)
        X = rng.normal(size=(700, 1)) + np.repeat([0.0, 1.0], [400, 300])[:, None]
        noise = np.where(X[:, 0] > 0.5, 1.0, 0.2) * rng.normal(size=700)
        y, domain = X[:, 0] + noise, np.repeat([1, -1], [400, 300])
        shown = np.where(domain > 0, y, np.nan)
        part = np.arange(700) < 500
        model = TransferConformal(SourceOnly(Ridge()))
        model.fit(X[part], shown[part], sample_domain=domain[part])
        assert model.method_ == "weighted"
        weighted.append(model.coverage(X[~part], y[~part])[-1])
        radius = split_quantile(model.scores_, 0.1)
        plain.append(np.mean(np.abs(model.predict(X[~part]) - y[~part]) <= radius))
    assert np.mean(weighted) == pytest.approx(0.9, abs=0.03)
    assert np.mean(plain) < 0.82


def test_weighted_sets_and_several_sources():
    data = make_label_shift(
        100, shift=[0.0, 0.0], n_labeled=0, n_unlabeled=100, random_state=0
    )
    model = fitted(TransferConformal(Pooled(LogisticRegression())), data)
    assert model.method_ == "weighted"
    assert len(model.scores_) == 100
    assert 0.8 < model.coverage(data.X_test, data.y_test)[-1] < 0.97


def test_coverage_by_domain():
    """The source that breaks the rule of the target is covered less."""
    data = regression(60, 0, shift=[0.0, 3.0])
    model = fitted(TransferConformal(TargetOnly(Ridge())), data)
    source = data.sample_domain > 0
    X = np.concatenate([data.X[source], data.X_test])
    y = np.concatenate([data.y[source], data.y_test])
    domain = np.concatenate([data.sample_domain[source], np.full(300, -1)])
    coverage = model.coverage(X, y, sample_domain=domain)
    assert sorted(coverage) == [-1, 1, 2]
    assert coverage[2] < 0.7 < min(coverage[1], coverage[-1])


def test_a_guarded_model():
    data = regression(20, 0, shift=[0.3])
    model = TransferConformal(TransferGuard(Pooled(Ridge()), cv=3))
    interval = fitted(model, data).predict_interval(data.X_test)
    assert (interval[:, 0] < interval[:, 1]).all()
    assert model.coverage(data.X_test, data.y_test)[-1] > 0.75
    alone = TransferGuard(Pooled(Ridge()), cv=3)
    expected = fitted(alone, data).predict(data.X_test)
    assert model.predict(data.X_test) == pytest.approx(expected)


@pytest.mark.parametrize("method", ["jackknife+", "split", "weighted"])
def test_groups_calibrate_as_a_whole(method):
    """A copy of a row knows its label: its score is 0 without groups, and leaks."""
    data = regression(24, 0)
    X, y, domain = data.X, data.y, data.sample_domain
    twice = np.repeat(np.arange(len(domain)), 2)
    fit = {"sample_domain": domain[twice]}
    conformal = TransferConformal(
        Pooled(KNeighborsRegressor(1)), method=method, alpha=0.2
    )
    leaky = clone(conformal).fit(X[twice], y[twice], **fit)
    assert np.mean(leaky.scores_ == 0) > 0.3
    for names in (twice, twice.astype(str), list(twice)):
        grouped = clone(conformal).fit(X[twice], y[twice], groups=names, **fit)
        assert (grouped.scores_ > 0).all()
    assert len(grouped.models_) == (24 if method == "jackknife+" else 1)
    assert grouped.coverage(data.X_test, data.y_test)[-1] > 0.6
    with pytest.raises(ValueError, match="groups has shape"):
        clone(conformal).fit(X, y, sample_domain=domain, groups=[1, 2])


def test_groups_of_one_row_and_of_classes():
    data = classes(20, 0)
    X, y, domain = data.X, data.y, data.sample_domain
    conformal = TransferConformal(Pooled(KNeighborsClassifier(3)), alpha=0.2)
    plain = clone(conformal).fit(X, y, sample_domain=domain)
    alone = clone(conformal).fit(X, y, sample_domain=domain, groups=np.arange(len(y)))
    np.testing.assert_allclose(np.sort(alone.scores_), np.sort(plain.scores_))
    sites = np.where(domain < 0, np.arange(len(y)) % 5, -1)
    for method in ("jackknife+", "split", "weighted"):
        model = clone(conformal).set_params(method=method)
        model.fit(X, y, sample_domain=domain, groups=sites)
        members = model.predict_set(data.X_test)
        assert members.shape == (300, len(model.classes_))
        if method == "weighted":  # one group of source rows cannot calibrate itself
            assert members.all()


def test_a_pipeline_and_a_portfolio():
    data = regression(16, 0)
    pipeline = make_pipeline(StandardScaler(), Pooled(Ridge()))
    portfolio = TransferPortfolioRegressor(
        members=[("pooled", Pooled(Ridge())), ("alone", TargetOnly(Ridge()))]
    )
    for model in (pipeline, portfolio):
        coverage = fitted(TransferConformal(model), data).coverage(
            data.X_test, data.y_test
        )
        assert coverage[-1] > 0.75


def test_too_few_labels_are_not_hidden():
    data = regression(8, 0)
    jackknife = fitted(TransferConformal(Pooled(Ridge()), method="jackknife+"), data)
    assert np.isinf(jackknife.predict_interval(data.X_test)).all()
    assert fitted(TransferConformal(Pooled(Ridge())), data).method_ == "weighted"
    wide = fitted(TransferConformal(Pooled(Ridge()), alpha=0.3), data)
    assert wide.method_ == "jackknife+"
    assert np.isfinite(wide.predict_interval(data.X_test)).all()
    data = classes(1, 0)
    for method in ("jackknife+", "split"):
        model = TransferConformal(Pooled(LogisticRegression()), method=method)
        assert fitted(model, data).predict_set(data.X_test).all()


def test_a_class_with_one_row():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 2))
    y = np.array(["a", "b", "c"])[np.r_[np.zeros(30), np.ones(29), 2].astype(int)]
    for method, n in (("split", 60), ("jackknife+", 60)):
        model = TransferConformal(Pooled(LogisticRegression()), method=method)
        model.fit(X[-n:], y[-n:])
        assert model.classes_.tolist() == ["a", "b", "c"]
        assert model.predict_set(X).shape == (60, 3)
    # left out, the only "b" leaves a fit with one class
    model = TransferConformal(Pooled(RandomForestClassifier(5)), method="jackknife+")
    model.fit(X[:12], np.array(["a"] * 11 + ["b"]))
    assert np.isin(1.0, model.scores_)


def test_sparse_rows_give_the_same():
    data = regression(60, 0)
    dense = fitted(TransferConformal(Pooled(Ridge(solver="cholesky"))), data)
    thin = TransferConformal(Pooled(Ridge(solver="sparse_cg", tol=1e-10)))
    thin.fit(sparse.csr_array(data.X), data.y, sample_domain=data.sample_domain)
    assert thin.predict_interval(sparse.csr_array(data.X_test)) == pytest.approx(
        dense.predict_interval(data.X_test), abs=1e-4
    )


def test_what_it_refuses():
    data = classes(20, 0)
    with pytest.raises(TypeError, match="has no predict_proba"):
        fitted(TransferConformal(Pooled(SVC())), data)
    with pytest.raises(TypeError, match="does not take sample_domain; wrap it"):
        fitted(TransferConformal(LogisticRegression()), data)
    with pytest.raises(ValueError, match="The 'alpha' parameter"):
        fitted(TransferConformal(Pooled(LogisticRegression()), alpha=1.0), data)
    model = fitted(TransferConformal(Pooled(LogisticRegression())), data)
    assert not hasattr(model, "predict_interval")
    assert not hasattr(TransferConformal(Pooled(Ridge())), "predict_set")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.coverage(data.X_test, data.y_test[:-1])
    missing = data.y_test.astype(float)
    missing[0] = np.nan
    with pytest.raises(ValueError, match=r"unlabeled|missing|marker"):
        model.coverage(data.X_test, missing)
    with pytest.raises(
        ValueError, match=r"domain_classifier=.* cannot be fitted to them"
    ):
        TransferConformal(Pooled(TEXTS), method="weighted").fit(
            ["red", "blue"] * 6, [0, 1] * 6, sample_domain=[1] * 8 + [-1] * 4
        )


def test_rows_of_text_with_their_own_domain_classifier():
    words, domain = (
        ["red", "blue", "red green", "blue green"] * 10,
        [1] * 24 + [-1] * 16,
    )
    y = np.array([0, 1, 0, 1] * 10, dtype=float)
    y[24:] = np.nan
    vectorizer = CountVectorizer()
    model = TransferConformal(
        Pooled(TEXTS),
        alpha=0.2,
        domain_classifier=make_pipeline(vectorizer, LogisticRegression()),
    ).fit(words, y, sample_domain=domain)
    assert model.method_ == "weighted"
    assert model.predict_set(["red", "blue"]).tolist() == [[True, False], [False, True]]
