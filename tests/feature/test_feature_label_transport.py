"""Labels by transport: limits, objectives, class shares, agreement with POT."""

import numpy as np
import ot
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from sktransfer._solvers.transport import joint_class_shares
from sktransfer.baselines import SourceOnly
from sktransfer.exceptions import CapabilityError, UnlabeledTargetError
from sktransfer.feature import JCPOT, JDOT, OTLabelPropagation
from sktransfer.safe import TransferGuard


@pytest.fixture
def moved(rng):
    """Two classes; the target is the source, moved by much more than their distance."""
    label = np.arange(60) % 2
    X = rng.normal(size=(60, 2)) * 0.3 + np.c_[2 * label, np.zeros(60)]
    both = np.vstack([X[:30], X[30:] + [1.5, 4.0]])
    return both, label, np.repeat([1, -1], 30)


@pytest.fixture
def curve(rng):
    """A rule that is moved along the feature."""
    x = rng.uniform(size=80)
    y = 3 * x + 0.1 * rng.normal(size=80)
    X = np.r_[x[:40], x[40:] + 2][:, None]
    return X, y, np.repeat([1, -1], 40)


def _hidden(y, domain):
    return np.where(domain > 0, y, np.nan)


# propagation


def test_labels_follow_the_coupling(moved):
    X, label, domain = moved
    model = OTLabelPropagation(LogisticRegression(), reg=0.1, tol=1e-9)
    model.fit(X, _hidden(label, domain), sample_domain=domain)
    C = cdist(X[:30], X[30:], "sqeuclidean")
    plan = ot.sinkhorn([], [], C / C.mean(), 0.1, numItermax=5000, stopThr=1e-12)
    shares = np.stack([plan[label[:30] == c].sum(axis=0) for c in (0, 1)]) * 30
    assert_array_equal(model.transduction_, shares.argmax(axis=0))
    # the learner: every sample once for each class, weighted by its share
    reference = LogisticRegression().fit(
        np.vstack([X[30:]] * 2), np.repeat([0, 1], 30), sample_weight=shares.ravel()
    )
    assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=1e-4)
    source = SourceOnly(LogisticRegression())
    source.fit(X, _hidden(label, domain), sample_domain=domain)
    target = domain < 0
    assert model.score(X[target], label[target]) == 1.0
    assert source.score(X[target], label[target]) < 0.9


def test_exact_propagation_of_equal_domains_copies_the_labels(rng):
    X, y = rng.normal(size=(20, 2)), np.arange(20) % 3
    both, domain = np.vstack([X, X[::-1]]), np.repeat([1, -1], 20)
    labels = np.r_[y, np.full(20, np.nan)]
    # one class each: a learner without weights will do
    model = OTLabelPropagation(KNeighborsClassifier(1), reg=0.0)
    model.fit(both, labels, sample_domain=domain)
    assert_array_equal(model.transduction_, y[::-1])
    assert_array_equal(model.predict(X), y)
    values = rng.normal(size=20)
    model = OTLabelPropagation(LinearRegression(), reg=0.0)
    model.fit(both, np.r_[values, np.full(20, np.nan)], sample_domain=domain)
    assert_allclose(model.transduction_, values[::-1], atol=1e-10)


def test_shared_labels_need_a_learner_that_takes_weights(moved):
    X, label, domain = moved
    model = OTLabelPropagation(KNeighborsClassifier(1))
    with pytest.raises(TypeError, match="takes no sample_weight"):
        model.fit(X, _hidden(label, domain), sample_domain=domain)


@pytest.mark.parametrize("kind", [OTLabelPropagation, JDOT, JCPOT])
def test_labeled_target_samples_keep_their_labels(moved, kind):
    X, label, domain = moved
    y = _hidden(label, domain)
    known = np.flatnonzero(domain < 0)[:6]
    y[known] = 1 - label[known]
    model = kind(DecisionTreeClassifier(random_state=0)).fit(X, y, sample_domain=domain)
    assert_array_equal(model.transduction_[:6], y[known])
    assert_array_equal(model.predict(X[known]), y[known])


@pytest.mark.parametrize("class_penalty", ["group_lasso", "lp_l1"])
def test_class_penalty_sharpens_the_labels(moved, class_penalty):
    X, label, domain = moved
    proba = []
    for class_reg in (0.0, 1.0):
        model = OTLabelPropagation(
            DecisionTreeClassifier(random_state=0),
            reg=1.0,
            class_reg=class_reg,
            class_penalty=class_penalty,
        )
        model.fit(X, _hidden(label, domain), sample_domain=domain)
        proba.append(model.predict_proba(X[domain < 0]).max(axis=1).mean())
    assert proba[1] > proba[0]
    for wrong in (OTLabelPropagation(Ridge()), OTLabelPropagation(Ridge(), reg=0.0)):
        with pytest.raises(ValueError, match="class_reg=1"):
            wrong.set_params(class_reg=1.0).fit(X, label, sample_domain=domain)


def test_weights_are_masses(rng):
    X = np.array([[0.0], [10.0], [0.0], [10.0], [0.0], [10.0]])
    y = np.array([0, 1, 0, 1, np.nan, np.nan])
    domain = np.array([1, 1, 1, 1, -1, -1])
    weight = np.array([3.0, 1.0, 3.0, 1.0, 1.0, 1.0])
    with sklearn.config_context(enable_metadata_routing=True):
        learner = DecisionTreeClassifier().set_fit_request(sample_weight=True)
    model = OTLabelPropagation(learner, reg=0.0)
    model.fit(X, y, sample_domain=domain, sample_weight=weight)
    # three quarters of the mass are of class 0, so half of the second sample is, too
    assert_allclose(model.predict_proba([[0.0], [10.0]])[:, 0], [1.0, 0.5])


def test_without_sources_it_is_the_learner_on_the_labeled_target(moved):
    X, label, _ = moved
    y = label.astype(float)
    y[40:] = np.nan
    for kind in (OTLabelPropagation, JDOT, JCPOT):
        model = kind(LogisticRegression()).fit(X, y, sample_domain=-1)
        plain = LogisticRegression().fit(X[:40], label[:40])
        assert_allclose(model.predict_proba(X), plain.predict_proba(X))
        assert_array_equal(model.transduction_[:40], label[:40])
        with pytest.raises(UnlabeledTargetError, match="no label to learn from"):
            kind(LogisticRegression()).fit(X, y * np.nan, sample_domain=-1)


def test_large_domains_are_coupled_through_a_sample(rng):
    label = np.arange(400) % 2
    X = rng.normal(size=(400, 2)) * 0.3 + np.c_[2 * label, np.zeros(400)]
    X[200:] += [0.0, 5.0]
    domain = np.repeat([1, -1], 200)
    y = _hidden(label, domain)
    for kind in (OTLabelPropagation, JDOT, JCPOT):
        model = kind(LogisticRegression(), max_samples=50)
        model.fit(X, y, sample_domain=domain)
        assert np.mean(model.transduction_ == label[200:]) > 0.95


# JDOT


def test_objective_of_least_squares_never_rises(curve):
    X, y, domain = curve
    for label_weight in (0.1, 1.0, 10.0):
        model = JDOT(LinearRegression(), label_weight=label_weight, max_iter=50)
        model.fit(X, _hidden(y, domain), sample_domain=domain)
        assert (np.diff(model.objective_) <= 1e-10).all() and model.n_iter_ < 50


def test_the_objective_is_the_equation(curve):
    X, y, domain = curve
    model = JDOT(LinearRegression(), label_weight=2.0, max_iter=1)
    model.fit(X, _hidden(y, domain), sample_domain=domain)
    D = cdist(X[:40], X[40:], "sqeuclidean")
    first = LinearRegression().fit(X[:40], y[:40]).predict(X[40:])
    loss = (y[:40, None] - first) ** 2 / y[:40].var()
    cost = D / D.mean() + 2.0 * loss
    plan = ot.emd([], [], cost)
    assert_allclose(model.objective_, [np.sum(plan * cost)])
    goal = plan.T @ y[:40] * 40
    expected = LinearRegression().fit(X[40:], goal)
    assert_allclose(model.predict(X), expected.predict(X), atol=1e-8)
    assert_allclose(model.transduction_, goal)


def test_infinite_label_weight_couples_sorted_labels_with_sorted_predictions(curve):
    """Without features, transport on the line is monotone."""
    X, y, domain = curve
    model = JDOT(LinearRegression(), label_weight=np.inf, max_iter=1)
    model.fit(X, _hidden(y, domain), sample_domain=domain)
    first = LinearRegression().fit(X[:40], y[:40]).predict(X[40:])
    expected = np.empty(40)
    expected[first.argsort()] = np.sort(y[:40])
    assert_allclose(model.transduction_, expected, atol=1e-10)
    large = JDOT(LinearRegression(), label_weight=1e9, max_iter=1)
    large.fit(X, _hidden(y, domain), sample_domain=domain)
    assert_allclose(large.transduction_, expected, atol=1e-10)


def test_label_weight_0_is_label_propagation(curve, moved):
    for (X, y, domain), learner in (
        (curve, LinearRegression()),
        (moved, LogisticRegression()),
    ):
        fits = [
            model.fit(X, _hidden(y, domain), sample_domain=domain).transduction_
            for model in (
                JDOT(learner, label_weight=0.0),
                OTLabelPropagation(learner, reg=0.0),
            )
        ]
        assert_allclose(*fits)


def test_jdot_follows_a_moved_rule(curve, moved):
    X, y, domain = curve
    target = domain < 0
    model = JDOT(LinearRegression(), label_weight=0.1, max_iter=50)
    model.fit(X, _hidden(y, domain), sample_domain=domain)
    assert model.score(X[target], y[target]) > 0.5
    plain = SourceOnly(LinearRegression())
    plain.fit(X, _hidden(y, domain), sample_domain=domain)
    assert plain.score(X[target], y[target]) < 0
    X, label, domain = moved
    target = domain < 0
    for learner in (LogisticRegression(), DecisionTreeClassifier(random_state=0)):
        model = JDOT(clone(learner), max_iter=50)
        model.fit(X, _hidden(label, domain), sample_domain=domain)
        assert model.score(X[target], label[target]) > 0.95


def test_jdot_warns_when_it_stops_early(rng):
    X = rng.normal(size=(60, 3))
    y = np.sin(3 * X[:, 0]) + rng.normal(size=60)
    domain = np.repeat([1, -1], 30)
    X[30:] += rng.normal(size=3)
    with pytest.warns(ConvergenceWarning, match="max_iter=2 couplings"):
        JDOT(LinearRegression(), label_weight=5.0, max_iter=2).fit(
            X, _hidden(y, domain), sample_domain=domain
        )


def test_jdot_is_guarded_like_any_method(moved):
    X, label, domain = moved
    y = _hidden(label, domain)
    known = np.flatnonzero(domain < 0)[:12]
    y[known] = label[known]
    guard = TransferGuard(JDOT(LogisticRegression(), max_iter=50), cv=3)
    guard.fit(X, y, sample_domain=domain)
    assert np.isfinite(guard.ntg_)


# JCPOT


def _label_shift(rng, shares, n=90):
    """A sample of two classes with given shares of class 1 in each domain."""
    parts = [(rng.permutation(n) < share * n).astype(int) for share in shares]
    label = np.concatenate(parts)
    X = rng.normal(size=(len(label), 2)) + np.c_[4 * label, np.zeros(len(label))]
    return X, label, np.repeat([*range(1, len(shares)), -1], n)


def test_jcpot_finds_the_shares_of_the_target(rng):
    X, label, domain = _label_shift(rng, [0.5, 0.7, 0.2])
    y = _hidden(label, domain)
    model = JCPOT(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert_allclose(model.target_shares_, [0.8, 0.2], atol=0.05)
    assert model.residual_ < 1e-6
    target = domain < 0
    propagated = OTLabelPropagation(LogisticRegression()).fit(
        X, y, sample_domain=domain
    )
    scores = [m.score(X[target], label[target]) for m in (model, propagated)]
    assert scores[0] > 0.95 > scores[1]


def test_jcpot_agrees_with_pot(rng):
    X, label, domain = _label_shift(rng, [0.5, 0.7, 0.2], n=40)
    parts = [(X[domain == k], label[domain == k]) for k in (1, 2)]
    target = X[domain < 0]
    shares, log = ot.da.jcpot_barycenter(
        [rows for rows, _ in parts],
        [y.copy() for _, y in parts],
        target,
        reg=2.0,
        numItermax=5000,
        stopThr=1e-12,
        log=True,
    )
    costs = [cdist(rows, target, "sqeuclidean") for rows, _ in parts]
    members = [np.c_[1 - y, y] / np.r_[40 - y.sum(), y.sum()] for _, y in parts]
    ours, couplings, info = joint_class_shares(
        costs, members, 2.0, np.full(40, 1 / 40), tol=1e-12
    )
    assert_allclose(ours, shares, atol=1e-6)
    for plan, reference in zip(couplings, log["gamma"], strict=True):
        assert_allclose(plan, reference, atol=1e-6)
    # the marginals of the definition
    assert info.converged and info.residual < 1e-10
    for plan, member in zip(couplings, members, strict=True):
        assert_allclose(plan.sum(axis=0), 1 / 40)
        assert_allclose(plan.sum(axis=1), member @ ours, atol=1e-6)


def test_jcpot_needs_every_class_in_every_source(rng):
    X, label, domain = _label_shift(rng, [0.5, 1.0, 0.2])
    with pytest.raises(CapabilityError, match="Source 2 has no sample"):
        JCPOT(LogisticRegression()).fit(X, _hidden(label, domain), sample_domain=domain)
    with pytest.raises(TypeError, match="must be a classifier"):
        JCPOT(Ridge()).fit(X, label, sample_domain=domain)
    with pytest.warns(ConvergenceWarning, match="JCPOT stopped early"):
        JCPOT(LogisticRegression(), max_iter=2).fit(
            X[domain != 2], label[domain != 2], sample_domain=domain[domain != 2]
        )
