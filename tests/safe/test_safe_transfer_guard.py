"""TransferGuard: limits, the stated weight, few labels, and the scikit-learn API."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer._solvers.aggregation import blend_posterior, blend_weight
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics import make_ntg_scorer
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.safe import TransferGuard


def regression(seed=0, n_source=60, n_target=12, sign=1.0, noise=0.1, n_sources=1):
    rng = np.random.default_rng(seed)
    n = n_source + n_target + 200
    X = rng.normal(size=(n, 6))
    domain = np.repeat([1, -1], [n_source, n_target + 200])
    domain[:n_source] = 1 + np.arange(n_source) % n_sources
    y = X.sum(axis=1) * np.where(domain > 0, sign, 1.0) + noise * rng.normal(size=n)
    train = np.arange(n) < n_source + n_target
    return X[train], y[train], domain[train], X[~train], y[~train]


def classification(seed=0, n_source=60, per_class=4, n_classes=3, flip=False):
    rng = np.random.default_rng(seed)
    sizes = [n_source, per_class * n_classes, 150]
    y = np.concatenate([np.arange(size) % n_classes for size in sizes])
    X = rng.normal(size=(len(y), 5)) + 1.5 * np.eye(n_classes, 5)[y]
    domain = np.repeat([1, -1, -1], sizes)
    if flip:
        y[:n_source] = (y[:n_source] + 1) % n_classes
    train = np.arange(len(y)) < sum(sizes[:2])
    return X[train], y[train], domain[train], X[~train], y[~train]


@pytest.mark.parametrize("policy", ["select", "aggregate"])
def test_reversed_source_is_refused_and_related_source_is_used(policy):
    guard = TransferGuard(Pooled(Ridge()), policy=policy)
    X, y, domain, X_test, y_test = regression(sign=-1.0, n_target=40)
    guard.fit(X, y, sample_domain=domain)
    assert guard.ntg_ > 0 and guard.ntg_interval_[0] > 0
    assert not guard.transferred_
    assert_array_equal(guard.weights_, [1.0, 0.0])
    assert_array_equal(guard.predict(X_test), guard.target_only_.predict(X_test))

    X, y, domain, X_test, y_test = regression(sign=1.0)
    guard.fit(X, y, sample_domain=domain)
    assert guard.transferred_ and guard.ntg_ < 0 and guard.weights_[1] > 0.7
    assert guard.score(X_test, y_test) > guard.target_only_.score(X_test, y_test)


def test_equal_models_have_no_gap():
    X, y, domain, X_test, _ = regression()
    guard = TransferGuard(TargetOnly(Ridge()), policy="aggregate")
    guard.fit(X, y, sample_domain=domain)
    assert guard.ntg_ == 0
    assert_allclose(guard.predict(X_test), guard.target_only_.predict(X_test))


def test_no_source_is_theta_0_T():
    X, y, domain, X_test, _ = regression()
    rows = domain < 0
    guard = TransferGuard(Pooled(Ridge())).fit(X[rows], y[rows])
    assert not guard.transferred_ and guard.ntg_ == 0 and len(guard.models_) == 1
    expected = Ridge().fit(X[rows], y[rows]).predict(X_test)
    assert_allclose(guard.predict(X_test), expected)


def test_weight_is_the_posterior_quantile_of_leave_one_out():
    X, y, domain, _, _ = regression(noise=2.0, n_target=9)
    guard = TransferGuard(Pooled(Ridge()), policy="aggregate", risk=0.25)
    guard.fit(X, y, sample_domain=domain)
    source, target = domain > 0, np.flatnonzero(domain < 0)
    residuals = np.zeros((2, len(target), 1))
    for i, row in enumerate(target):
        rest = np.setdiff1d(target, row)
        both = np.concatenate([np.flatnonzero(source), rest])
        for k, rows in enumerate((rest, both)):
            model = Ridge().fit(X[rows], y[rows])
            residuals[k, i] = y[row] - model.predict(X[[row]])
    weight = blend_weight(blend_posterior(*residuals), 0.25)
    assert 0 < weight < 1
    assert_allclose(guard.weights_, [1 - weight, weight])
    assert guard.n_held_out_ == 9
    gap = np.mean(residuals[1] ** 2) - np.mean(residuals[0] ** 2)
    assert_allclose(guard.ntg_, gap)


def test_less_risk_gives_less_transfer():
    X, y, domain, _, _ = regression(noise=2.0, n_target=9)
    weights = [
        TransferGuard(Pooled(Ridge()), policy="aggregate", risk=risk)
        .fit(X, y, sample_domain=domain)
        .weights_[1]
        for risk in (0.05, 0.2, 0.4, 0.6)
    ]
    assert np.all(np.diff(weights) > 0)


@pytest.mark.parametrize("learner", [LogisticRegression(), GaussianNB()])
def test_probabilities_are_blended(learner):
    X, y, domain, X_test, _ = classification()
    guard = TransferGuard(Pooled(learner), policy="aggregate", cv=3)
    guard.fit(X, y, sample_domain=domain)
    w = guard.weights_[1]
    assert 0 < w < 1
    parts = guard.target_only_, guard.transfer_
    p0, p1 = (model.predict_proba(X_test) for model in parts)
    p = guard.predict_proba(X_test)
    assert_allclose(p, (1 - w) * p0 + w * p1)
    assert_allclose(guard.predict_log_proba(X_test), np.log(p))
    assert_array_equal(guard.predict(X_test), guard.classes_[p.argmax(axis=1)])
    assert hasattr(guard, "decision_function") == hasattr(learner, "decision_function")


def test_binary_decision_is_the_log_odds():
    X, y, domain, X_test, _ = classification(n_classes=2)
    guard = TransferGuard(Pooled(LogisticRegression()), policy="aggregate")
    guard.fit(X, y, sample_domain=domain)
    p = guard.predict_proba(X_test)
    assert_allclose(guard.decision_function(X_test), np.log(p[:, 1] / p[:, 0]))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_decision_values_are_blended(n_classes):
    X, y, domain, X_test, _ = classification(n_classes=n_classes, seed=2)
    guard = TransferGuard(Pooled(LinearSVC(dual=False)), policy="aggregate")
    guard.fit(X, y, sample_domain=domain)
    assert not hasattr(guard, "predict_proba")
    models = guard.target_only_, guard.transfer_
    d0, d1 = (model.decision_function(X_test) for model in models)
    blend = guard.weights_[0] * d0 + guard.weights_[1] * d1
    assert_allclose(guard.decision_function(X_test), blend)
    index = (blend > 0).astype(int) if n_classes == 2 else blend.argmax(axis=1)
    assert_array_equal(guard.predict(X_test), guard.classes_[index])


class Voter(ClassifierMixin, BaseEstimator):
    """Nearest centroids without probabilities or decision values."""

    def fit(self, X, y):
        self.inner_ = NearestCentroid().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict(self, X):
        return self.inner_.predict(X)


def test_votes_follow_the_larger_weight():
    X, y, domain, X_test, _ = classification(seed=2)
    guard = TransferGuard(Pooled(Voter()), policy="aggregate")
    guard.fit(X, y, sample_domain=domain)
    assert not hasattr(guard, "predict_proba")
    assert not hasattr(guard, "decision_function")
    heavier = guard.models_[int(guard.weights_.argmax())]
    assert_array_equal(guard.predict(X_test), heavier.predict(X_test))


def test_class_without_target_label_is_known_from_the_source():
    X, y, domain, X_test, _ = classification()
    labels = np.array(["ant", "bee", "cat"], dtype=object)[y]
    keep = (domain > 0) | (y != 2)
    guard = TransferGuard(Pooled(LogisticRegression()), policy="aggregate")
    guard.fit(X[keep], labels[keep], sample_domain=domain[keep])
    assert_array_equal(guard.classes_, ["ant", "bee", "cat"])
    assert guard.predict_proba(X_test).shape == (len(X_test), 3)
    assert set(guard.predict(X_test)) <= set(guard.classes_)


@pytest.mark.parametrize(("policy", "weight"), [("select", 0.0), ("aggregate", 0.3)])
def test_one_label_per_class_leaves_the_prior(policy, weight):
    X, y, domain, X_test, _ = classification(per_class=1)
    guard = TransferGuard(Pooled(LogisticRegression()), policy=policy, risk=0.3)
    guard.fit(X, y, sample_domain=domain)
    assert np.isnan(guard.ntg_) and guard.n_held_out_ == 0
    assert_array_equal(guard.ntg_interval_, [-np.inf, np.inf])
    assert_allclose(guard.weights_, [1 - weight, weight])
    assert guard.predict(X_test).shape == (len(X_test),)


def test_class_with_one_label_is_never_held_out():
    X, y, domain, _, _ = classification(per_class=3)
    single = np.flatnonzero((domain < 0) & (y == 2))[1:]
    X, y, domain = (np.delete(a, single, axis=0) for a in (X, y, domain))
    guard = TransferGuard(Pooled(LogisticRegression()), policy="aggregate")
    guard.fit(X, y, sample_domain=domain)
    assert guard.n_held_out_ == 6 and np.isfinite(guard.ntg_)


def test_order_of_rows_does_not_matter():
    X, y, domain, X_test, _ = regression(n_target=45, noise=3.0)
    order = np.random.default_rng(3).permutation(len(y))
    guard = TransferGuard(Pooled(Ridge()), policy="aggregate")
    first = guard.fit(X, y, sample_domain=domain).predict(X_test)
    guard.fit(X[order], y[order], sample_domain=domain[order])
    assert_allclose(guard.predict(X_test), first, rtol=1e-8)


def test_safew_projects_on_the_hull_of_the_transfer_models():
    X, y, domain, X_test, _ = regression(n_sources=3, noise=1.0)
    y = np.where(domain == 2, -y, y)
    X = np.concatenate([X, X_test])
    y = np.concatenate([y, np.full(len(X_test), np.nan)])
    domain = np.concatenate([domain, np.full(len(X_test), -1)])
    guard = TransferGuard(Pooled(Ridge()), policy="safew", cv=3)
    guard.fit(X, y, sample_domain=domain)
    assert len(guard.models_) == 5 and guard.weights_[0] == 0
    rows = X[domain < 0]
    safe, *others = (model.predict(rows) for model in guard.models_)
    others = np.array(others)
    gradient = others @ (guard.weights_[1:] @ others - safe)
    used = guard.weights_[1:] > 0
    assert_allclose(gradient[used], gradient.min(), rtol=1e-5, atol=1e-5)
    assert_allclose(guard.weights_.sum(), 1)


def test_target_estimator_may_be_plain():
    X, y, domain, X_test, _ = regression(sign=-1.0)
    guard = TransferGuard(Pooled(Ridge()), target_estimator=Ridge(alpha=5.0))
    guard.fit(X, y, sample_domain=domain)
    rows = domain < 0
    expected = Ridge(alpha=5.0).fit(X[rows], y[rows]).predict(X_test)
    assert_allclose(guard.predict(X_test), expected)


def test_several_outputs():
    X, y, domain, X_test, _ = regression()
    Y = np.column_stack([y, -2 * y])
    guard = TransferGuard(Pooled(Ridge()), policy="aggregate")
    guard.fit(X, Y, sample_domain=domain)
    assert guard.predict(X_test).shape == (len(X_test), 2)
    single = TransferGuard(Pooled(MultiOutputRegressor(Ridge())), policy="aggregate")
    single.fit(X, Y, sample_domain=domain)
    assert_allclose(single.predict(X_test), guard.predict(X_test))


def test_scoring_sets_the_unit_of_the_gap():
    X, y, domain, _, _ = regression(sign=-1.0, n_target=40)
    guard = TransferGuard(Pooled(Ridge()), scoring="r2", cv=4)
    guard.fit(X, y, sample_domain=domain)
    assert guard.ntg_ > 1  # R2 falls from about 1 to below 0


def test_scoring_not_finite_on_a_fold_is_an_error():
    X, y, domain, _, _ = regression()
    guard = TransferGuard(Pooled(Ridge()), scoring="r2")
    with (
        pytest.warns(sklearn.exceptions.UndefinedMetricWarning),
        pytest.raises(ValueError, match="scoring='r2' is not finite"),
    ):
        guard.fit(X, y, sample_domain=domain)


def test_nests_in_a_grid_search_with_the_ntg_scorer():
    X, y, domain, X_test, _ = classification(per_class=4, n_source=30)
    guard = TransferGuard(
        make_pipeline(StandardScaler(), Pooled(LogisticRegression())),
        policy="aggregate",
        cv=3,
    )
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            guard,
            {"estimator__pooled__source_weight": [1.0]},
            cv=StratifiedTargetKFold(2),
            scoring={"accuracy": "accuracy", "ntg": make_ntg_scorer("accuracy")},
            refit="accuracy",
        ).fit(X, y, sample_domain=domain)
    best = search.best_estimator_
    gap = make_ntg_scorer("accuracy")(search, X_test, best.predict(X_test))
    assert np.isfinite(gap)
    assert np.isfinite(search.cv_results_["mean_test_ntg"]).all()


@pytest.mark.parametrize(
    ("guard", "error", "match"),
    [
        (TransferGuard(Ridge()), TypeError, "Pooled"),
        (TransferGuard(make_pipeline(Ridge())), TypeError, "Pooled"),
        (
            TransferGuard(Pooled(Ridge()), target_estimator=LogisticRegression()),
            TypeError,
            "target_estimator",
        ),
        (TransferGuard(Pooled(Ridge()), risk=0.0), ValueError, "risk"),
        (TransferGuard(Pooled(Ridge()), policy="best"), ValueError, "policy"),
    ],
)
def test_bad_parameters(guard, error, match):
    X, y, domain, _, _ = regression()
    with pytest.raises(error, match=match):
        guard.fit(X, y, sample_domain=domain)


def test_one_class_in_the_target_is_an_error():
    X, y, domain, _, _ = classification()
    keep = (domain > 0) | (y == 0)
    with pytest.raises(UnlabeledTargetError, match="one class"):
        TransferGuard(Pooled(LogisticRegression())).fit(
            X[keep], y[keep], sample_domain=domain[keep]
        )


def test_no_labeled_target_row_is_an_error():
    X, y, domain, _, _ = regression()
    y = np.where(domain < 0, np.nan, y)
    with pytest.raises(UnlabeledTargetError, match="labeled target rows"):
        TransferGuard(SourceOnly(Ridge())).fit(X, y, sample_domain=domain)
