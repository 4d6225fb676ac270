"""TransferGuard: limits, the stated weight, few labels, and the scikit-learn API."""

import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RepeatedKFold
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer._solvers.aggregation import blend_posterior, blend_weight
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics import make_ntg_scorer
from sktransfer.model_selection import (
    GroupTargetKFold,
    StratifiedTargetKFold,
    TargetKFold,
)
from sktransfer.safe import TransferGuard
from sktransfer.safe._defaults import INFLATION


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
    guard = TransferGuard(
        Pooled(Ridge()), policy="aggregate", risk=0.25, atom=0.1, inflation=1.2
    )
    guard.fit(X, y, sample_domain=domain)
    source, target = domain > 0, np.flatnonzero(domain < 0)
    residuals = np.zeros((2, len(target), 1))
    for i, row in enumerate(target):
        rest = np.setdiff1d(target, row)
        both = np.concatenate([np.flatnonzero(source), rest])
        for k, rows in enumerate((rest, both)):
            model = Ridge().fit(X[rows], y[rows])
            residuals[k, i] = y[row] - model.predict(X[[row]])
    posterior = blend_posterior(*residuals, inflation=1.2)
    weight = blend_weight(posterior, 0.25, 0.1)
    assert 0 < weight < 1
    assert_allclose(guard.weights_, [1 - weight, weight])
    assert guard.n_held_out_ == 9
    gap = np.mean(residuals[1] ** 2) - np.mean(residuals[0] ** 2)
    assert_allclose(guard.ntg_, gap)


def test_less_risk_gives_less_transfer():
    X, y, domain, _, _ = regression(noise=2.0, n_target=9)
    weights = [
        TransferGuard(Pooled(Ridge()), policy="aggregate", risk=risk, atom=0.0)
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
def test_decision_values_are_blended_as_shares(n_classes):
    X, y, domain, X_test, _ = classification(n_classes=n_classes, seed=2)
    guard = TransferGuard(Pooled(LinearSVC(dual=False)), policy="aggregate", atom=0.0)
    guard.fit(X, y, sample_domain=domain)
    assert not hasattr(guard, "predict_proba")
    assert 0 < guard.weights_[1] < 1
    blend = np.zeros((len(X_test), n_classes))
    for k, model in enumerate(guard.models_):
        d = model.decision_function(X_test)
        d = np.column_stack([np.zeros_like(d), d]) if n_classes == 2 else d
        blend += guard.weights_[k] * softmax(guard._columns.slopes[k] * d, axis=1)
    wanted = logit(blend[:, 1]) if n_classes == 2 else np.log(blend)
    assert_allclose(guard.decision_function(X_test), wanted, rtol=1e-6)
    assert_array_equal(guard.predict(X_test), guard.classes_[blend.argmax(axis=1)])


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


@pytest.mark.parametrize(
    ("policy", "atom", "weight"),
    [
        ("select", 0.0, 0.0),
        ("aggregate", 0.0, 0.3),
        ("aggregate", 0.2, 0.125),
        ("aggregate", 0.4, 0.0),
    ],
)
def test_one_label_per_class_leaves_the_prior(policy, atom, weight):
    X, y, domain, X_test, _ = classification(per_class=1)
    guard = TransferGuard(
        Pooled(LogisticRegression()), policy=policy, risk=0.3, atom=atom
    )
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


def test_solvers_of_safew_agree():
    X, y, domain, _, _ = regression(n_sources=3, n_source=90)
    found = [
        TransferGuard(Pooled(Ridge()), policy="safew", cv=3, solver=solver)
        .fit(X, y, sample_domain=domain)
        .weights_
        for solver in ("auto", "cvxpy")
    ]
    assert_allclose(*found, atol=1e-8)


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


def test_kind_12_scores_that_single_rows_do_not_define_are_pooled():
    X, y, domain, _, _ = regression(sign=-1.0)
    guard = TransferGuard(Pooled(Ridge()), scoring="r2")  # leave-one-out
    guard.fit(X, y, sample_domain=domain)
    assert guard.ntg_ > 1 and np.isfinite(guard.ntg_interval_).all()
    X, y, domain, _, _ = classification()
    for scoring in ("neg_log_loss", "neg_brier_score", "roc_auc_ovr"):
        guard = TransferGuard(Pooled(LogisticRegression()), scoring=scoring)
        assert np.isfinite(guard.fit(X, y, sample_domain=domain).ntg_interval_).all()


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


# -- kind 33: evidence counts units -------------------------------------------


def evidence_of(guard):
    posterior = guard.weight_posterior_
    return [
        guard.n_held_out_, guard.ntg_, *guard.ntg_interval_, guard.harm_probability_,
        posterior.minimizer, posterior.standard_error, posterior.dof, *guard.weights_,
    ]  # fmt: skip


@pytest.mark.parametrize("policy", ["select", "aggregate"])
def test_kind_33_the_same_folds_again_are_no_new_evidence(policy):
    X, y, domain, _, _ = regression(noise=2.0, n_target=20)
    rows = np.flatnonzero(domain < 0)
    folds = [(np.setdiff1d(np.arange(len(y)), rows[k::5]), rows[k::5])
             for k in range(5)]  # fmt: skip
    posteriors = []
    for repeats in (1, 40):
        guard = TransferGuard(Pooled(Ridge()), policy=policy, cv=folds * repeats)
        guard.fit(X, y, sample_domain=domain)
        posteriors.append(guard.weight_posterior_)
        assert guard.n_held_out_ == 20 and guard.weight_posterior_.dof == 19
    assert_allclose(posteriors[0].minimizer, posteriors[1].minimizer)
    assert_allclose(posteriors[0].standard_error, posteriors[1].standard_error)


def test_kind_33_repeated_folds_do_not_narrow_the_posterior():
    widths = []
    for seed in range(5):
        X, y, domain, _, _ = regression(seed, noise=2.0, n_target=20)
        widths.append([])
        for repeats in (1, 20):
            cv = RepeatedKFold(n_splits=10, n_repeats=repeats, random_state=0)
            guard = TransferGuard(Pooled(Ridge()), policy="aggregate", cv=cv)
            guard.fit(X, y, sample_domain=domain)
            assert guard.weight_posterior_.dof == 19 and guard.n_held_out_ == 20
            widths[-1].append(guard.weight_posterior_.standard_error)
    ratio = np.divide(*np.mean(widths, axis=0)[::-1])
    assert 0.9 < ratio < 1.1


def test_kind_33_posterior_of_overlapping_splits_by_hand():
    X, y, domain, _, _ = regression(noise=2.0, n_target=9)
    rows, everything = np.flatnonzero(domain < 0), np.arange(len(y))
    tests = [rows[:4], rows[2:6], rows[6:8]]  # two rows twice, one never
    folds = [(np.setdiff1d(everything, test), test) for test in tests]
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        model = Pooled(Ridge().set_fit_request(sample_weight=True))
    guard = TransferGuard(model, cv=folds, policy="aggregate")
    guard.fit(X, y, sample_domain=domain, sample_weight=weight)
    terms = np.zeros((3, len(y), 2))  # squares, products, steps: sum and count
    for train, test in folds:
        target = train[domain[train] < 0]
        e = [
            y[test] - Ridge().fit(X[r], y[r], sample_weight=weight[r]).predict(X[test])
            for r in (target, train)
        ]
        step = e[0] - e[1]
        for k, term in enumerate((e[0] ** 2, e[0] * step, step**2)):
            terms[k, test, 0] += term
            terms[k, test, 1] += 1
    seen = rows[:8]
    square, product, curvature = (
        np.sum(weight[seen] * terms[k, seen, 0] / terms[k, seen, 1]) for k in range(3)
    )
    center = product / curvature
    scale = INFLATION * np.sqrt((square - product * center) / (curvature * 7))
    posterior = guard.weight_posterior_
    assert guard.n_held_out_ == 8 and posterior.dof == 7
    assert_allclose([posterior.minimizer, posterior.standard_error], [center, scale])


def weighted_guard(learner=None, **params):
    with sklearn.config_context(enable_metadata_routing=True):
        model = Pooled((learner or Ridge()).set_fit_request(sample_weight=True))
    return TransferGuard(model, **params)


@pytest.mark.parametrize("policy", ["select", "aggregate", "safew"])
@pytest.mark.parametrize("cv", [3, KFold(3), TargetKFold(3), "explicit"], ids=str)
def test_kind_33_weight_zero_is_a_removed_row(policy, cv):
    X, y, domain, X_test, _ = regression(noise=2.0, n_target=30, n_sources=2)
    weight = np.random.default_rng(3).integers(0, 3, len(y)).astype(float)
    kept, inner, everything = weight > 0, cv, np.arange(len(y))
    if isinstance(cv, str):
        rows = np.flatnonzero(domain < 0)
        cv = [(np.setdiff1d(everything, rows[k::3]), rows[k::3]) for k in range(3)]
        inner = [(np.isin(everything, a)[kept], np.isin(everything, b)[kept])
                 for a, b in cv]  # fmt: skip
    one = weighted_guard(policy=policy, cv=cv)
    one.fit(X, y, sample_domain=domain, sample_weight=weight)
    two = weighted_guard(policy=policy, cv=inner)
    two.fit(X[kept], y[kept], sample_domain=domain[kept], sample_weight=weight[kept])
    assert_allclose(evidence_of(one), evidence_of(two))
    assert_allclose(one.predict(X_test), two.predict(X_test))


def test_kind_33_weights_count_and_their_unit_does_not():
    X, y, domain, _, _ = regression(noise=2.0, n_target=30)
    weight = np.random.default_rng(3).uniform(0.1, 3, len(y))
    fits = {
        name: weighted_guard(
            LinearRegression(), policy="aggregate", atom=0.0, inflation=1.0
        ).fit(X, y, sample_domain=domain, sample_weight=w)
        for name, w in {"w": weight, "5": 5 * weight, "1": np.ones(len(y))}.items()
    }
    plain = TransferGuard(
        Pooled(LinearRegression()), policy="aggregate", atom=0.0, inflation=1.0
    )
    plain.fit(X, y, sample_domain=domain)
    assert_allclose(evidence_of(fits["1"]), evidence_of(plain))
    assert abs(fits["w"].ntg_ - plain.ntg_) > 1e-3
    assert_allclose(evidence_of(fits["5"]), evidence_of(fits["w"]))


def test_all_weights_of_the_target_zero_is_an_error():
    X, y, domain, _, _ = regression()
    with pytest.raises(DomainError, match="domain -1 has sample_weight 0"):
        weighted_guard().fit(
            X, y, sample_domain=domain, sample_weight=(domain > 0).astype(float)
        )


# -- kind 03: groups -----------------------------------------------------------


def repeated_measures(seed=0, n_patients=10, per=4):
    rng = np.random.default_rng(seed)
    X, y, domain, _, _ = regression(seed, noise=1.0, n_target=n_patients)
    rows = np.r_[np.flatnonzero(domain > 0),
                 np.repeat(np.flatnonzero(domain < 0), per)]  # fmt: skip
    X = X[rows] + 1e-3 * rng.normal(size=(len(rows), X.shape[1]))
    groups = np.array([f"patient {r}" for r in rows])
    return X, y[rows], domain[rows], groups


@pytest.mark.parametrize("cv", [10, 5, GroupKFold(5), GroupTargetKFold(5)], ids=str)
def test_kind_03_groups_are_the_units_of_the_evidence(cv):
    X, y, domain, groups = repeated_measures()
    guard = TransferGuard(Pooled(Ridge()), policy="aggregate", cv=cv)
    guard.fit(X, y, sample_domain=domain, groups=groups)
    assert guard.n_held_out_ == 10 and guard.weight_posterior_.dof == 9
    loose = TransferGuard(Pooled(Ridge()), policy="aggregate")
    loose.fit(X, y, sample_domain=domain)
    assert loose.n_held_out_ == 40
    assert loose.ntg_ > guard.ntg_  # copies of a test row flatter the target alone
    listed = TransferGuard(Pooled(Ridge()), policy="aggregate", cv=cv)
    listed.fit(X, y, sample_domain=domain, groups=groups.tolist())
    assert_allclose(evidence_of(listed), evidence_of(guard))


def test_kind_03_one_row_per_group_is_no_group():
    X, y, domain, _, _ = regression(noise=2.0, n_target=9)
    guard = TransferGuard(Pooled(Ridge()), policy="aggregate")
    plain = evidence_of(guard.fit(X, y, sample_domain=domain))
    own = evidence_of(
        guard.fit(X, y, sample_domain=domain, groups=np.arange(len(y))[::-1])
    )
    assert_allclose(own, plain)


def test_kind_03_bad_groups_are_named_before_any_fit():
    X, y, domain, groups = repeated_measures()
    guard = TransferGuard(Pooled(Ridge()))
    with pytest.raises(ValueError, match="groups has shape"):
        guard.fit(X, y, sample_domain=domain, groups=groups[1:])
    with pytest.raises(ValueError, match="groups has shape"):
        guard.fit(X[domain < 0], y[domain < 0], groups=groups)
    with pytest.raises(ValueError, match="units in groups"):
        TransferGuard(Pooled(Ridge()), cv=KFold(3)).fit(
            X, y, sample_domain=domain, groups=groups
        )


def test_kind_03_groups_are_routed_through_a_search_and_a_pipeline():
    X, y, domain, groups = repeated_measures()
    guard = TransferGuard(Pooled(Ridge()), cv=3)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), guard),
            {"transferguard__risk": [0.2, 0.3]},
            cv=GroupTargetKFold(2),
        ).fit(X, y, sample_domain=domain, groups=groups)
    assert search.best_estimator_[-1].n_held_out_ == 10


# -- kind 04: explicit folds ---------------------------------------------------


def test_kind_04_explicit_folds_hold_out_labeled_target_rows():
    X, y, domain, _, _ = regression(sign=-1.0, n_target=30)
    y = np.where(np.arange(len(y)) >= len(y) - 10, np.nan, y)
    everything = np.random.default_rng(0).permutation(len(y))
    folds = [(np.setdiff1d(everything, everything[k::3]), everything[k::3])
             for k in range(3)]  # fmt: skip
    labeled = (domain < 0) & ~np.isnan(y)
    good = [(train, test[labeled[test]]) for train, test in folds]
    fits = [
        TransferGuard(Pooled(Ridge()), cv=cv).fit(X, y, sample_domain=domain)
        for cv in (folds, good)
    ]
    assert fits[0].n_held_out_ == 20
    assert_allclose(evidence_of(fits[0]), evidence_of(fits[1]))


def test_kind_04_a_generator_can_be_used_twice():
    X, y, domain, _, _ = regression(noise=2.0)
    rows = np.flatnonzero(domain < 0)
    pairs = ((np.setdiff1d(np.arange(len(y)), rows[k::3]), rows[k::3])
             for k in range(3))  # fmt: skip
    guard = TransferGuard(Pooled(Ridge()), cv=pairs)
    first = evidence_of(guard.fit(X, y, sample_domain=domain))
    assert_allclose(evidence_of(guard.fit(X, y, sample_domain=domain)), first)


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


@pytest.mark.parametrize("groups", [False, True])
def test_callbacks_follow_every_fit(groups):
    pytest.importorskip("sklearn.callback")
    X, y, domain, X_test, _ = regression()
    params = {"groups": np.arange(len(y))} if groups else {}
    guard = TransferGuard(Pooled(Ridge()), cv=4)
    expected = clone(guard).fit(X, y, sample_domain=domain, **params).predict(X_test)
    log = Log()
    guard.set_callbacks(log)
    found = guard.fit(X, y, sample_domain=domain, **params).predict(X_test)
    assert_array_equal(found, expected)
    assert log.heard[0] == "setup" and log.heard[-1] == "teardown"
    # the root is named fit, too: 2 models and 4 folds
    for stage, count in {"fit": 1 + 2 + 4, "models": 1, "held-out samples": 1}.items():
        assert log.heard.count(("begin", stage)) == count
        assert log.heard.count(("end", stage)) == count
    pickle.loads(pickle.dumps(guard))
    target = domain < 0
    guard.fit(X[target], y[target])  # nothing to transfer: one model, no fold
    with pytest.raises(ValueError, match="risk"):
        guard.set_params(risk=2.0).fit(X, y, sample_domain=domain)


def test_a_guard_without_a_fold_ends_its_progress():
    pytest.importorskip("sklearn.callback")
    X, y, domain, _, _ = regression(n_target=1)
    log = Log()
    guard = TransferGuard(Pooled(Ridge())).set_callbacks(log)
    guard.fit(X, y, sample_domain=domain)
    assert log.heard[-1] == "teardown"
    assert log.heard.count(("end", "fit")) == 3
