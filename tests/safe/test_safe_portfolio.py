"""Portfolios: members, weights, the guard's blend, few labels, tables, cost."""

import pickle
import time
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.svm import LinearSVC

from sktransfer._solvers.aggregation import (
    blend_posterior,
    blend_weight,
    exponential_weights,
)
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.feature import DualTransfer, LowRankSparseTransfer
from sktransfer.hypothesis import (
    AdaptiveGPClassifier,
    SecureLogistic,
    SecureRLS,
    TransferChain,
)
from sktransfer.metrics import cross_val_ntg, make_ntg_scorer
from sktransfer.model_selection import (
    GroupTargetKFold,
    StratifiedTargetKFold,
    TargetKFold,
)
from sktransfer.multisource import (
    UOWQ,
    WADN,
    ChiSquareWeights,
    FeatureFusion,
    HEnsemble,
    IncrementalSourceEnsemble,
    MultiTaskRelationship,
    SourceClusters,
)
from sktransfer.safe import (
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)
from sktransfer.safe._defaults import TEMPERATURE
from sktransfer.safe._portfolio_trials import plan_trials


def regression(seed=0, n_source=60, n_target=12, sign=1.0, noise=0.3, n_sources=1):
    rng = np.random.default_rng(seed)
    n = n_source + n_target + 200
    X = rng.normal(size=(n, 6))
    domain = np.repeat([1, -1], [n_source, n_target + 200])
    domain[:n_source] = 1 + np.arange(n_source) % n_sources
    y = X.sum(axis=1) * np.where(domain > 0, sign, 1.0) + noise * rng.normal(size=n)
    train = np.arange(n) < n_source + n_target
    return X[train], y[train], domain[train], X[~train], y[~train]


def classification(seed=0, n_source=60, per_class=4, n_classes=3, n_sources=1):
    rng = np.random.default_rng(seed)
    sizes = [n_source, per_class * n_classes, 150]
    y = np.concatenate([np.arange(size) % n_classes for size in sizes])
    X = rng.normal(size=(len(y), 5)) + 1.5 * np.eye(n_classes, 5)[y]
    domain = np.repeat([1, -1, -1], sizes)
    domain[:n_source] = 1 + (np.arange(n_source) // n_classes) % n_sources
    train = np.arange(len(y)) < sum(sizes[:2])
    return X[train], y[train], domain[train], X[~train], y[~train]


def ridges(*sources):
    """Cheap members: ridge with and without the sources."""
    return [
        ("alone", Ridge()),
        ("pooled", Pooled(Ridge())),
        ("source", SourceOnly(Ridge())),
        *sources,
    ]


@pytest.mark.parametrize(
    ("portfolio", "data", "counts"),
    [
        (TransferPortfolioClassifier(), classification(n_classes=2), (2, 11)),
        (TransferPortfolioClassifier(), classification(n_sources=3), (2, 14)),
        (TransferPortfolioRegressor(), regression(), (2, 13)),
        (TransferPortfolioRegressor(), regression(n_sources=6), (2, 13)),
        (TransferPortfolioRegressor(Ridge()), regression(n_sources=2), (1, 11)),
        (
            TransferPortfolioClassifier(GaussianNB()),
            classification(n_sources=4),
            (2, 10),
        ),
    ],
    ids=["binary", "classes-3-sources", "real", "real-6-sources", "ridge", "bayes"],
)
def test_members_of_six_kinds_of_task(portfolio, data, counts):
    X, y, domain, *_ = data
    portfolio = clone(portfolio).set_params(cv=2)
    portfolio.fit(X, y, sample_domain=domain)
    assert portfolio.skipped_ == {}
    alone = portfolio.member_table_["target_only"]
    assert (alone.sum(), (~alone).sum()) == counts
    assert list(portfolio.members_) == list(portfolio.weights_)
    assert_allclose(sum(portfolio.weights_.values()), 1)


def test_reversed_source_is_refused_and_related_source_is_used():
    X, y, domain, X_test, y_test = regression(sign=-1.0, n_target=40)
    portfolio = TransferPortfolioRegressor(members=ridges())
    portfolio.fit(X, y, sample_domain=domain)
    assert portfolio.ntg_ > 0 and not portfolio.transferred_
    assert portfolio.harm_probability_ > 0.9
    assert portfolio.weights_ == {"alone": 1.0, "pooled": 0.0, "source": 0.0}
    expected = portfolio.target_only_.predict(X_test)
    assert_allclose(portfolio.predict(X_test), expected)

    X, y, domain, X_test, y_test = regression()
    portfolio.fit(X, y, sample_domain=domain)
    assert portfolio.ntg_ < 0 and portfolio.transferred_
    assert portfolio.score(X_test, y_test) > portfolio.target_only_.score(
        X_test, y_test
    )


def test_weights_are_the_stated_rule_on_leave_one_out():
    X, y, domain, _, _ = regression(noise=1.5, n_target=9)
    portfolio = TransferPortfolioRegressor(members=ridges(), atom=0.1, risk=0.4)
    portfolio.fit(X, y, sample_domain=domain)
    source, target = np.flatnonzero(domain > 0), np.flatnonzero(domain < 0)
    residuals = np.zeros((3, len(target)))
    for i, row in enumerate(target):
        rest = np.setdiff1d(target, row)
        for k, rows in enumerate((rest, np.r_[source, rest], source)):
            model = Ridge().fit(X[rows], y[rows])
            residuals[k, i] = (y[row] - model.predict(X[[row]]))[0]

    def weigh(rows):
        losses = np.sum(residuals[1:, rows] ** 2, axis=1)
        return exponential_weights(losses, len(rows), TEMPERATURE, np.ones(2))

    everyone = np.arange(len(target))
    # the weights of a row's blend do not see the row
    blended = np.array(
        [weigh(np.delete(everyone, i)) @ residuals[1:, i] for i in everyone]
    )
    info = blend_posterior(residuals[0][:, None], blended[:, None], inflation=1.5)
    weight = blend_weight(info, 0.4, 0.1)
    assert 0 < weight < 1
    expected = [1 - weight, *(weight * weigh(everyone))]
    assert_allclose(list(portfolio.weights_.values()), expected)
    assert portfolio.n_held_out_ == 9
    gap = np.mean(blended**2) - np.mean(residuals[0] ** 2)
    assert_allclose(portfolio.ntg_, gap)
    assert_allclose(portfolio.member_table_["loss"], np.mean(residuals**2, axis=1))


def test_less_risk_or_more_atom_gives_less_transfer():
    X, y, domain, _, _ = regression(noise=2.0, n_target=9)

    def transferred(**params):
        portfolio = TransferPortfolioRegressor(members=ridges(), **params)
        return 1 - portfolio.fit(X, y, sample_domain=domain).weights_["alone"]

    by_risk = [transferred(risk=risk, atom=0.0) for risk in (0.05, 0.2, 0.4, 0.6)]
    by_atom = [transferred(risk=0.6, atom=atom) for atom in (0.5, 0.2, 0.0)]
    assert np.all(np.diff(by_risk) > 0) and np.all(np.diff(by_atom) > 0)


@pytest.mark.parametrize("aggregation", ["exponential", "q", "convex", "select"])
def test_order_and_copies_of_members_change_nothing(aggregation):
    X, y, domain, X_test, _ = regression(noise=1.5, n_target=15)
    portfolio = TransferPortfolioRegressor(
        members=ridges(), aggregation=aggregation, atom=0.0
    )
    first = portfolio.fit(X, y, sample_domain=domain).predict(X_test)
    assert portfolio.transferred_
    reordered = clone(portfolio).set_params(members=ridges()[::-1])
    second = reordered.fit(X, y, sample_domain=domain).predict(X_test)
    assert_allclose(first, second, atol=1e-6)
    copied = clone(portfolio).set_params(
        members=ridges(("copy", Pooled(Ridge()))), prior={"copy": 0.5, "pooled": 0.5}
    )
    third = copied.fit(X, y, sample_domain=domain).predict(X_test)
    assert_allclose(first, third, atol=1e-5)


@pytest.mark.parametrize("aggregation", ["q", "convex"])
def test_solvers_agree(aggregation):
    X, y, domain, _, _ = regression(noise=1.5, n_target=15)
    weights = [
        list(
            TransferPortfolioRegressor(
                members=ridges(), aggregation=aggregation, solver=solver, cv=3
            )
            .fit(X, y, sample_domain=domain)
            .weights_.values()
        )
        for solver in ("auto", "cvxpy")
    ]
    assert_allclose(*weights, atol=1e-8)


def test_small_temperature_selects_and_large_leaves_the_prior():
    X, y, domain, _, _ = regression(noise=1.5, n_target=15)
    portfolio = TransferPortfolioRegressor(members=ridges(), atom=0.0, risk=0.5)
    weights = {}
    for temperature in (1e-6, 1e9):
        portfolio.set_params(temperature=temperature, prior={"source": 3.0})
        weights[temperature] = portfolio.fit(X, y, sample_domain=domain).weights_
    table = portfolio.member_table_
    best = table["name"][1:][table["loss"][1:].argmin()]
    other = {"pooled": "source", "source": "pooled"}[best]
    assert weights[1e-6][best] > 0 and weights[1e-6][other] == 0
    assert_allclose(weights[1e9]["source"], 3 * weights[1e9]["pooled"], rtol=1e-6)


@pytest.mark.parametrize("learner", [None, LogisticRegression(C=0.1)])
def test_target_only_is_the_portfolio_fitted_on_target_rows(learner):
    X, y, domain, X_test, _ = classification()
    portfolio = TransferPortfolioClassifier(learner, cv=3)
    portfolio.fit(X, y, sample_domain=domain)
    rows = domain < 0
    alone = clone(portfolio).fit(X[rows], y[rows])
    assert not alone.transferred_ and alone.ntg_ == 0
    expected = alone.predict_proba(X_test)
    assert_allclose(portfolio.target_only_.predict_proba(X_test), expected)
    assert alone.target_only_.weights_ == alone.weights_
    again = portfolio.without_sources().fit(X[rows], y[rows])
    assert_allclose(again.predict_proba(X_test), expected)
    sole = [n for n, w in portfolio.target_only_.weights_.items() if w]
    assert all(name.startswith("target_") for name in sole)


@pytest.mark.parametrize("labels", ["one per class", "one row"])
def test_one_label_per_class_leaves_the_priors(labels):
    if labels == "one row":
        X, y, domain, X_test, _ = regression(n_target=1)
        portfolio = TransferPortfolioRegressor(atom=0.2, risk=0.4)
        n_target = 2
    else:
        X, y, domain, X_test, _ = classification(per_class=1)
        portfolio = TransferPortfolioClassifier(atom=0.2, risk=0.4)
        n_target = 2
    portfolio.fit(X, y, sample_domain=domain)
    assert portfolio.n_held_out_ == 0 and np.isnan(portfolio.ntg_)
    assert_array_equal(portfolio.ntg_interval_, [-np.inf, np.inf])
    alone = portfolio.member_table_["target_only"]
    weights = portfolio.member_table_["weight"]
    assert alone.sum() == n_target
    assert_allclose(weights[~alone].sum(), (0.4 - 0.2) / 0.8)
    assert_allclose(weights[alone], 0.75 / n_target)
    assert np.isfinite(portfolio.predict(X_test)).all()
    # an atom above the tolerated risk refuses without evidence
    assert (
        not portfolio.set_params(atom=0.5).fit(X, y, sample_domain=domain).transferred_
    )


def test_target_of_one_class_is_refused_by_name():
    X, y, domain, *_ = classification()
    rows = (domain > 0) | (y == 1)
    with pytest.raises(UnlabeledTargetError, match="one class, 1"):
        TransferPortfolioClassifier().fit(X[rows], y[rows], sample_domain=domain[rows])


def test_members_that_cannot_be_fitted_are_named():
    X, y, domain, X_test, _ = classification(n_classes=2, n_sources=2)
    source_1 = domain == 1
    y = np.where(source_1, 0, y)  # one class
    portfolio = TransferPortfolioClassifier(KNeighborsClassifier(3), cv=3)
    portfolio.fit(X, y, sample_domain=domain)
    assert set(portfolio.skipped_) == {"downweighted_learner", "source_1_learner"}
    assert "sample_weight" in portfolio.skipped_["downweighted_learner"]
    assert "one class only" in portfolio.skipped_["source_1_learner"]
    assert "pooled_learner" in portfolio.weights_
    assert len(portfolio.predict(X_test)) == len(X_test)


def test_members_of_weight_0_are_not_asked():
    X, y, domain, X_test, _ = regression(sign=-1.0, n_target=40)
    portfolio = TransferPortfolioRegressor(members=ridges())
    portfolio.fit(X, y, sample_domain=domain)
    unused = [name for name, weight in portfolio.weights_.items() if not weight]
    assert unused
    for name in unused:
        del portfolio.members_[name]
    portfolio.predict(X_test)


def test_given_members_without_a_target_only_one_get_the_default_ones():
    X, y, domain, *_ = regression()
    portfolio = TransferPortfolioRegressor(members=[("pooled", Pooled(Ridge()))], cv=3)
    portfolio.fit(X, y, sample_domain=domain)
    assert list(portfolio.weights_) == ["target_linear", "target_trees", "pooled"]
    given = TransferPortfolioRegressor(
        members=[("own", TargetOnly(Ridge())), ("pooled", Pooled(Ridge()))], cv=3
    )
    given.fit(X, y, sample_domain=domain)
    assert list(given.weights_) == ["own", "pooled"]


def test_fitted_source_models_are_members_without_source_rows():
    X, y, domain, X_test, y_test = regression()
    source, target = domain > 0, domain < 0
    model = FrozenEstimator(Ridge().fit(X[source], y[source]))
    portfolio = TransferPortfolioRegressor(
        members=[("alone", Ridge()), ("secure", SecureRLS(model))]
    )
    portfolio.fit(X[target], y[target])
    assert portfolio.transferred_ and portfolio.weights_["secure"] > 0.5
    alone = portfolio.without_sources().fit(X[target], y[target])
    assert list(alone.weights_) == ["alone"]
    assert portfolio.score(X_test, y_test) > alone.score(X_test, y_test)


class Voter(ClassifierMixin, BaseEstimator):
    """A classifier that has nothing but ``predict``."""

    def fit(self, X, y):
        self.model_ = GaussianNB().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)


@pytest.mark.parametrize(
    ("learner", "methods"),
    [
        (GaussianNB(), {"predict_proba", "decision_function"}),
        (LinearSVC(dual=False), {"decision_function"}),
        (Voter(), set()),
    ],
)
def test_what_is_blended(learner, methods):
    X, y, domain, X_test, _ = classification(per_class=6)
    members = [("alone", learner), ("pooled", Pooled(learner))]
    portfolio = TransferPortfolioClassifier(members=members, cv=3, atom=0.0)
    every = {"predict_proba", "decision_function"}
    assert {m for m in every if hasattr(portfolio, m)} == methods
    portfolio.fit(X, y, sample_domain=domain)
    assert {m for m in every if hasattr(portfolio, m)} == methods
    w = portfolio.weights_["pooled"]
    assert 0 < w < 1
    for method in methods & {"predict_proba"} or methods:
        parts = [
            getattr(portfolio.members_[name], method)(X_test)
            for name in ("alone", "pooled")
        ]
        if method == "decision_function":
            slopes = [portfolio._columns.slopes[name] for name in ("alone", "pooled")]
            parts = [softmax(b * d, axis=1) for b, d in zip(slopes, parts, strict=True)]
        blend = (1 - w) * parts[0] + w * parts[1]
        wanted = np.log(blend) if method == "decision_function" else blend
        assert_allclose(getattr(portfolio, method)(X_test), wanted)
        predicted = portfolio.classes_[blend.argmax(axis=1)]
        assert_array_equal(portfolio.predict(X_test), predicted)


def table(n=160, seed=0):
    rng = np.random.default_rng(seed)
    color = rng.choice(["red", "green", "blue"], size=n)
    size = rng.normal(size=n)
    y = (color == "red") * 2.0 + size + 0.1 * rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "color": color,
            "size": size,
            "flag": rng.random(n) < 0.5,
            "level": pd.Categorical(rng.integers(0, 3, size=n)),
            "count": pd.array(rng.integers(0, 9, size=n), dtype="Int64"),
        }
    )
    frame.loc[::7, "size"] = np.nan
    frame.loc[::11, "color"] = None
    frame.loc[::13, "count"] = pd.NA
    return frame, y, np.repeat([1, -1], [n - 40, 40])


@pytest.mark.parametrize("kind", ["pandas", "polars", "objects"])
def test_default_learners_take_mixed_tables(kind):
    frame, y, domain = table()
    X = frame
    if kind == "polars":
        X = pl.DataFrame({name: frame[name].tolist() for name in frame}, strict=False)
    if kind == "objects":
        X = frame.astype(object).to_numpy()
    portfolio = TransferPortfolioRegressor(cv=2).fit(X, y, sample_domain=domain)
    assert portfolio.skipped_ == {}
    assert portfolio.score(X[120:], y[120:]) > 0.6
    c = np.where(y > 1, "high", "low")
    classifier = TransferPortfolioClassifier(cv=2).fit(X, c, sample_domain=domain)
    assert set(classifier.classes_) == {"high", "low"}
    # values that were never seen, and rows of missing values
    if kind == "pandas":
        new = frame[:2].copy()
        new["color"] = ["violet", None]
        new["size"] = np.nan
        assert np.isfinite(portfolio.predict(new)).all()


def test_dates_are_encoded_and_ids_left_out_by_name():
    frame, y, domain = table()
    more = frame.assign(day=pd.date_range("2020-01-01", periods=len(frame), freq="5h"))
    more["nr"] = np.arange(len(frame)) + 100
    with pytest.warns(UserWarning, match="leaves out 'nr'") as caught:
        portfolio = TransferPortfolioRegressor(cv=2).fit(more, y, sample_domain=domain)
    assert len(caught) == 1
    assert portfolio.skipped_ == {}
    assert portfolio.score(more[120:], y[120:]) > 0.6


def test_what_the_default_learners_do_not_encode_is_refused_by_name():
    frame, y, domain = table()
    with pytest.raises(TypeError, match="nested value"):
        TransferPortfolioRegressor().fit(
            frame.assign(tags=[["a"]] * len(frame)), y, sample_domain=domain
        )
    with pytest.raises(ValueError, match="'size' of X contains infinity"):
        TransferPortfolioRegressor().fit(
            frame.assign(size=np.inf), y, sample_domain=domain
        )


def test_a_column_without_values_in_the_target_keeps_its_kind():
    frame, y, domain = table()
    frame.loc[domain < 0, "color"] = None
    portfolio = TransferPortfolioRegressor(cv=3).fit(frame, y, sample_domain=domain)
    new = frame[:5].assign(color="red")
    assert portfolio.skipped_ == {} and np.isfinite(portfolio.predict(new)).all()


def test_wrong_arguments_name_themselves():
    X, y, domain, *_ = regression()

    def fit(**params):
        TransferPortfolioRegressor(**params).fit(X, y, sample_domain=domain)

    with pytest.raises(TypeError, match=r"learner=.*must be a regressor"):
        fit(learner=LogisticRegression())
    with pytest.raises(TypeError, match=r"members\['a'\]=.*must be a regressor"):
        fit(members=[("a", Pooled(LogisticRegression()))])
    with pytest.raises(TypeError, match=r"list of \(name, estimator\)"):
        fit(members=[Ridge()])
    with pytest.raises(ValueError, match="name 'a' twice"):
        fit(members=[("a", Ridge()), ("a", Ridge())])
    with pytest.raises(ValueError, match="prior names 'b'"):
        fit(members=ridges(), prior={"b": 1.0})
    with pytest.raises(ValueError, match=r"prior\['alone'\] must be a positive"):
        fit(members=ridges(), prior={"alone": 0.0})


def test_nests_in_a_grid_search_and_its_pair_is_scored(routing):
    X, y, domain, *_ = classification(per_class=8)
    members = [("alone", GaussianNB()), ("pooled", Pooled(GaussianNB()))]
    search = GridSearchCV(
        TransferPortfolioClassifier(members=members, cv=3),
        {"temperature": [0.5, 4.0], "aggregation": ["exponential", "select"]},
        scoring={"accuracy": "accuracy", "ntg": make_ntg_scorer("accuracy")},
        refit="accuracy",
        cv=StratifiedTargetKFold(2),
        error_score="raise",
    )
    search.fit(X, y, sample_domain=domain)
    assert np.isfinite(search.cv_results_["mean_test_ntg"]).all()
    result = cross_val_ntg(
        TransferPortfolioRegressor(members=ridges(), cv=3),
        *regression()[:2],
        sample_domain=regression()[2],
        cv=3,
    )
    assert result.ntg < 0


@pytest.mark.parametrize("cv", [TargetKFold(3), 3])
def test_seeds_and_splitters(cv):
    X, y, domain, X_test, _ = regression()
    portfolio = TransferPortfolioRegressor(members=ridges(), cv=cv)
    first = portfolio.fit(X, y, sample_domain=domain).predict(X_test)
    second = clone(portfolio).set_params(n_jobs=2).fit(X, y, sample_domain=domain)
    assert_allclose(first, second.predict(X_test))


class Counting(Ridge):
    """Counts its fits."""

    fits = 0

    def fit(self, X, y):
        type(self).fits += 1
        return super().fit(X, y)


def test_members_that_use_no_target_label_are_fitted_once():
    X, y, domain, *_ = regression()
    members = [("alone", Ridge()), ("source", SourceOnly(Counting()))]
    Counting.fits = 0
    TransferPortfolioRegressor(members=members).fit(X, y, sample_domain=domain)
    assert Counting.fits == 1
    members = [("alone", Ridge()), ("pooled", Pooled(Counting()))]
    Counting.fits = 0
    TransferPortfolioRegressor(members=members).fit(X, y, sample_domain=domain)
    assert Counting.fits == 11


def test_one_member_is_the_guard():
    X, y, domain, X_test, _ = regression(noise=2.0, n_target=9)
    portfolio = TransferPortfolioRegressor(
        members=[("alone", Ridge()), ("pooled", Pooled(Ridge()))],
        risk=0.3,
        atom=0.0,
        inflation=1.0,
    ).fit(X, y, sample_domain=domain)
    guard = TransferGuard(Pooled(Ridge()), policy="aggregate", atom=0.0, inflation=1.0)
    guard.fit(X, y, sample_domain=domain)
    assert 0 < guard.weights_[1] < 1
    assert_allclose(portfolio.predict(X_test), guard.predict(X_test))
    assert_allclose(portfolio.ntg_, guard.ntg_)


def with_weights(learner):
    with sklearn.config_context(enable_metadata_routing=True):
        return learner.set_fit_request(sample_weight=True)


def weighted_members():
    return [("alone", Ridge()), ("pooled", Pooled(with_weights(Ridge())))]


def test_kind_33_weight_zero_is_a_removed_row():
    X, y, domain, X_test, _ = regression(noise=1.5, n_target=20)
    weight = np.random.default_rng(3).integers(0, 3, len(y)).astype(float)
    kept = weight > 0
    portfolio = TransferPortfolioRegressor(members=weighted_members(), cv=3, atom=0.0)
    portfolio.fit(X, y, sample_domain=domain, sample_weight=weight)
    other = clone(portfolio).fit(
        X[kept], y[kept], sample_domain=domain[kept], sample_weight=weight[kept]
    )
    assert portfolio.skipped_ == {} and portfolio.transferred_
    assert portfolio.n_held_out_ == np.sum(kept & (domain < 0))
    assert_allclose(portfolio.predict(X_test), other.predict(X_test))
    ones = clone(portfolio).fit(
        X, y, sample_domain=domain, sample_weight=np.ones(len(y))
    )
    plain = clone(portfolio).fit(X, y, sample_domain=domain)
    assert_allclose(ones.predict(X_test), plain.predict(X_test))
    with pytest.raises(UnlabeledTargetError, match="sample_weight is zero"):
        portfolio.fit(X, y, sample_domain=domain, sample_weight=1.0 * (domain > 0))


def test_kind_33_repeats_and_groups_count_units():
    X, y, domain, _, _ = regression(noise=1.5, n_target=12)
    rows, everything = np.flatnonzero(domain < 0), np.arange(len(y))
    once = [(np.setdiff1d(everything, rows[k::3]), rows[k::3]) for k in range(3)]
    one = TransferPortfolioRegressor(members=ridges(), cv=once)
    one.fit(X, y, sample_domain=domain)
    two = clone(one).set_params(cv=once + once).fit(X, y, sample_domain=domain)
    assert two.n_held_out_ == one.n_held_out_ == 12
    assert_allclose(list(two.weights_.values()), list(one.weights_.values()))
    assert_allclose(two.member_table_["loss"], one.member_table_["loss"])

    groups = np.where(domain < 0, np.arange(len(y)) % 4, -1)
    grouped = TransferPortfolioRegressor(members=ridges(), cv=4)
    grouped.fit(X, y, sample_domain=domain, groups=groups)
    assert grouped.n_held_out_ == 4 and grouped.weight_posterior_.dof == 3
    with pytest.raises(ValueError, match="groups"):
        grouped.fit(X, y, sample_domain=domain, groups=groups[:-1])


def test_groups_are_routed(routing):
    X, y, domain, *_ = regression(n_target=24)
    groups = np.where(domain < 0, np.arange(len(y)) % 6, -1)
    search = GridSearchCV(
        TransferPortfolioRegressor(members=ridges(), cv=3),
        {"temperature": [1.0, 4.0]},
        cv=GroupTargetKFold(2),
        error_score="raise",
    )
    search.fit(X, y, sample_domain=domain, groups=groups)
    assert search.best_estimator_.n_held_out_ == 6


@pytest.mark.slow
def test_cost_of_a_hundred_thousand_source_rows():
    rng = np.random.default_rng(0)
    n = 100_000
    X = rng.normal(size=(n + 30, 20))
    y = X[:, 0] + np.abs(X[:, 1]) + rng.normal(size=n + 30)
    domain = np.repeat([1, -1], [n, 30])
    start = time.process_time()
    portfolio = TransferPortfolioRegressor(cv=2).fit(X, y, sample_domain=domain)
    assert len(portfolio.weights_) >= 8
    assert time.process_time() - start < 25


def trials_of(X, y, domain, **params):
    portfolio = TransferPortfolioRegressor(
        members=ridges(), prior="trials", cv=5, **params
    )
    return portfolio.fit(X, y, sample_domain=domain)


def test_trials_make_transfer_likely_where_the_sources_help_each_other():
    X, y, domain, X_test, y_test = regression(
        n_sources=3, n_source=180, n_target=10, noise=1.5
    )
    learned = trials_of(X, y, domain)
    assert_array_equal(learned.trial_table_["domain"], [1, 2, 3])
    assert np.all(learned.trial_table_["best_weight"] > 0.5)
    plain = clone(learned).set_params(prior="uniform").fit(X, y, sample_domain=domain)
    assert learned.atom_ < plain.atom_ == plain.atom
    assert learned.weights_["alone"] < plain.weights_["alone"]
    assert learned.score(X_test, y_test) > plain.score(X_test, y_test)
    assert plain.prior_ == {"alone": 1.0, "pooled": 0.5, "source": 0.5}
    assert not len(plain.trial_table_["domain"])
    # the target alone does not see the sources, not even through their trials
    assert_allclose(
        learned.target_only_.predict(X_test), plain.target_only_.predict(X_test)
    )


def test_trials_make_transfer_unlikely_where_the_sources_are_strangers():
    X, _, domain, *_ = regression(n_sources=4, n_source=240, n_target=12)
    rng = np.random.default_rng(0)
    coef = rng.normal(size=(6, 6))
    y = np.einsum("ij,ij->i", X, coef[domain]) + 0.3 * rng.normal(size=len(X))
    portfolio = trials_of(X, y, domain)
    assert portfolio.atom_ > 0.8
    assert not portfolio.transferred_
    # related with each other, but not with the target: its labels decide
    X, y, domain, *_ = regression(n_sources=3, n_source=180, n_target=30, sign=-1.0)
    portfolio = trials_of(X, y, domain)
    assert portfolio.atom_ < 0.3
    assert not portfolio.transferred_


def test_prior_of_members_is_the_stated_formula():
    X, y, domain, *_ = regression(n_sources=2, n_source=120, n_target=8, noise=1.0)
    portfolio = trials_of(X, y, domain, temperature=6.0)
    data = portfolio._validate_domains(X, y, domain)
    excess = np.zeros(2)
    trials = plan_trials(data, {}, classification=False, random_state=0, max_trials=8)
    for trial in trials:
        inside = np.flatnonzero(domain == trial.domain)
        used = np.flatnonzero(trial.rows)
        assert not np.isin(trial.test, used).any()
        labeled = np.intersect1d(inside, used)
        assert len(labeled) == 8 and set(trial.test) <= set(inside)
        assert not (domain[used] < 0).any()
        source = np.flatnonzero(domain == 3 - trial.domain)
        rows = labeled, np.r_[labeled, source], source
        models = [Ridge().fit(X[r], y[r]) for r in rows]
        losses = [
            np.mean((y[trial.test] - model.predict(X[trial.test])) ** 2)
            for model in models
        ]
        excess += np.array(losses[1:]) / min(losses)
    expected = np.exp(-30 / (2 * 6.0 * 2) * excess)
    found = [portfolio.prior_["pooled"], portfolio.prior_["source"]]
    assert_allclose(found, expected / expected.sum())


def test_trials_need_two_sources_with_enough_labels():
    X, y, domain, *_ = regression(n_sources=1)
    assert not len(trials_of(X, y, domain).trial_table_["domain"])
    X, y, domain, *_ = regression(n_sources=2, n_source=60, n_target=20)
    few = (domain == 2) & (np.cumsum(domain == 2) > 25)
    portfolio = trials_of(X[~few], y[~few], domain[~few])
    assert not len(portfolio.trial_table_["domain"])  # 30 and 25 rows for 20 labels
    X, y, domain, *_ = regression(n_sources=12, n_source=360, n_target=10)
    assert len(trials_of(X, y, domain).trial_table_["domain"]) == 8


@pytest.mark.parametrize("labels", [str, int, float])
def test_trials_among_classes(labels):
    X, y, domain, X_test, y_test = classification(
        n_sources=3, n_source=120, per_class=1
    )
    y = y.astype(labels)
    portfolio = TransferPortfolioClassifier(
        members=[
            ("alone", GaussianNB()),
            ("pooled", Pooled(GaussianNB())),
            ("source", SourceOnly(GaussianNB())),
        ],
        prior="trials",
    ).fit(X, y, sample_domain=domain)
    # one label per class: no row can be held out, so the trials alone speak
    assert portfolio.n_held_out_ == 0
    assert len(portfolio.trial_table_["domain"]) == 3
    assert portfolio.transferred_
    alone = portfolio.target_only_.score(X_test, y_test.astype(labels))
    assert portfolio.score(X_test, y_test.astype(labels)) > alone


def test_trials_keep_units_together_and_rows_of_weight_0_out():
    X, y, domain, *_ = regression(n_sources=2, n_source=120, n_target=8)
    with sklearn.config_context(enable_metadata_routing=True):
        ridge = Ridge().set_fit_request(sample_weight=True)
    members = [("target", TargetOnly(ridge)), ("pooled", Pooled(ridge))]
    portfolio = TransferPortfolioRegressor(members=members, prior="trials")
    groups = np.arange(len(y)) // 4
    data = portfolio._validate_domains(X, y, domain)
    options = {"classification": False, "random_state": 0, "max_trials": 8}
    for trial in plan_trials(data, {"groups": groups}, **options):
        assert not np.isin(groups[trial.test], groups[trial.rows]).any()
    gone = np.zeros(len(y), dtype=bool)
    gone[::7] = domain[::7] > 0
    y_wrong = np.where(gone, 1e6, y)
    params = {"sample_domain": domain, "sample_weight": np.where(gone, 0.0, 1.0)}
    weighted = clone(portfolio).fit(X, y_wrong, **params)
    removed = clone(portfolio).fit(
        X[~gone],
        y[~gone],
        sample_domain=domain[~gone],
        sample_weight=np.ones(sum(~gone)),
    )
    assert removed.skipped_ == {}
    for name, column in removed.trial_table_.items():
        assert_allclose(weighted.trial_table_[name], column)


def test_fitted_source_models_are_in_no_trial():
    X, y, domain, *_ = regression(n_sources=3, n_source=90, n_target=8)
    model = Ridge().fit(X[domain == 1], y[domain == 1])
    members = ridges(("secure", SecureRLS([FrozenEstimator(model)])))
    portfolio = TransferPortfolioRegressor(members=members, prior="trials", cv=4)
    portfolio.fit(X, y, sample_domain=domain)
    assert portfolio.prior_["secure"] > 0  # the median loss stands in


def test_unknown_prior_is_refused_by_name():
    X, y, domain, *_ = regression()
    with pytest.raises(ValueError, match="prior"):
        TransferPortfolioRegressor(prior="guess").fit(X, y, sample_domain=domain)


class Log:
    """A callback that keeps what it hears."""

    def __init__(self):
        self.heard = []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.heard.append(("end", context.task_name))


def test_callbacks_follow_every_fit():
    pytest.importorskip("sklearn.callback")
    X, y, domain, X_test, _ = regression(n_sources=2, n_source=120, n_target=8)
    portfolio = TransferPortfolioRegressor(members=ridges(), prior="trials", cv=4)
    expected = clone(portfolio).fit(X, y, sample_domain=domain).predict(X_test)
    log = Log()
    portfolio.set_callbacks(log)
    found = portfolio.fit(X, y, sample_domain=domain).predict(X_test)
    assert_array_equal(found, expected)
    assert log.heard[0] == "setup" and log.heard[-1] == "teardown"
    for stage in ("fit", "members", "trials", "held-out samples"):
        begun, ended = (
            log.heard.count(("begin", stage)),
            log.heard.count(("end", stage)),
        )
        # the root is named fit, too: 3 members, 2 trials of 3, 4 folds of 3
        assert begun == ended == (1 + 3 + 6 + 12 if stage == "fit" else 1)
    pickle.loads(pickle.dumps(portfolio))
    with pytest.raises(ValueError, match="risk"):
        portfolio.set_params(risk=2.0).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("learner", [None, KNeighborsRegressor(3)])
def test_a_portfolio_that_loses_all_its_sources_says_so(rng, learner):
    """A learner without weights left the linear target-only member, in silence."""
    X, domain = rng.normal(size=(40, 2)), np.repeat([1, -1], [28, 12])
    members = "auto" if learner else [("all", Pooled(KNeighborsRegressor(3)))]
    portfolio = TransferPortfolioRegressor(learner, members=members, cv=2)
    weight = np.ones(40)
    with pytest.warns(UserWarning, match="nothing is transferred.*sample_weight"):
        portfolio.fit(X, X[:, 0], sample_domain=domain, sample_weight=weight)
    assert not portfolio.transferred_ and portfolio.skipped_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        portfolio.fit(X, X[:, 0], sample_domain=domain)


def members_without_nets(regressors):
    """Return (name, estimator) of the survey's methods that need no net."""
    if regressors:
        return [
            ("chain", TransferChain(SecureRLS())),
            ("clusters", SourceClusters(UOWQ(Ridge()), 2, merge=True)),
            ("relationship", MultiTaskRelationship(Ridge(), penalty=0.1)),
        ]
    learner = LogisticRegression()
    sparse_map = LowRankSparseTransfer(growth=1.2, tol=0.05)
    return [
        ("secure", SecureLogistic(alphas=[0.1, np.inf])),
        ("gp", AdaptiveGPClassifier(RBF(2.0, "fixed"), transfer_strength=0.5)),
        ("relationship", MultiTaskRelationship(learner, penalty=0.1)),
        ("wadn", WADN(learner, n_rounds=2, n_projections=10)),
        ("chi_square", ChiSquareWeights()),
        ("chain", TransferChain(SecureLogistic(alphas=[0.1, np.inf]))),
        ("batches", IncrementalSourceEnsemble(learner)),
        ("fusion", FeatureFusion(make_pipeline(PCA(2), learner))),
        ("words", make_pipeline(MaxAbsScaler(), DualTransfer(4, 2, tol=0.05))),
        ("low_rank", make_pipeline(sparse_map, Pooled(learner))),
        ("clusters", SourceClusters(UOWQ(learner), 2, merge=True)),
        ("features", HEnsemble(make_pipeline(PCA(2), learner), response="features")),
    ]


@pytest.mark.parametrize("regressors", [False, True])
@pytest.mark.usefixtures("routing")
def test_methods_without_nets_are_members(regressors):
    members = members_without_nets(regressors)
    if regressors:
        X, y, domain, X_test, _ = regression(n_sources=3)
        portfolio = TransferPortfolioRegressor(
            members=[("alone", Ridge()), *members], cv=2
        )
    else:
        X, y, domain, X_test, _ = classification(n_classes=2, n_sources=3)
        X, X_test = np.abs(X), np.abs(X_test)  # counts have no sign
        alone = ("alone", LogisticRegression())
        portfolio = TransferPortfolioClassifier(members=[alone, *members], cv=2)
    portfolio.fit(X, y, sample_domain=domain)
    assert portfolio.skipped_ == {}
    assert list(portfolio.weights_) == ["alone", *(name for name, _ in members)]
    assert np.isfinite(portfolio.member_table_["loss"]).all()
    # each of them answers, whatever its weight
    for name, _ in members:
        assert portfolio.members_[name].predict(X_test).shape == (len(X_test),)
    assert portfolio.predict(X_test).shape == (len(X_test),)
