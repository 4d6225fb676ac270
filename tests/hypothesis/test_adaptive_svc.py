"""Support vector machines beside sources: known limits and other solvers."""

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from sktransfer.hypothesis import AdaptiveSVC


@pytest.fixture
def problem(rng):
    """Return a source, and target samples of a rule beside its own."""
    X = rng.normal(size=(160, 4))
    source = LinearSVC(dual=False).fit(X[:80], X[:80].sum(axis=1) > 0)
    return source, X[80:], X[80:].sum(axis=1) + 2 * X[80:, 0] > 0.3


def hinge(C):
    return LinearSVC(C=C, loss="hinge", tol=1e-8, max_iter=200_000, random_state=0)


def test_without_sources_it_is_the_linear_machine(problem):
    _, X, y = problem
    model = AdaptiveSVC(C=0.3).fit(X[:40], y[:40])
    expected = hinge(0.3).fit(X[:40], y[:40]).decision_function(X)
    assert model.decision_function(X) == pytest.approx(expected, abs=1e-3)


def test_weights_are_pulled_to_those_of_the_source(problem):
    source, X, y = problem
    weight = np.linspace(0.5, 2, 30)
    model = AdaptiveSVC(source, C=0.2, source_share=0.7)
    model.fit(X[:30], y[:30], sample_weight=weight)
    w = np.append(source.coef_[0], source.intercept_)
    rows, sign = np.c_[X[:30], np.ones(30)], np.where(y[:30], 1.0, -1.0)
    v = cp.Variable(5)
    losses = cp.pos(1 - cp.multiply(sign, rows @ v)) @ weight
    cp.Problem(cp.Minimize(cp.sum_squares(v - 0.7 * w) / 2 + 0.2 * losses)).solve()
    expected = np.c_[X, np.ones(len(X))] @ v.value
    assert model.decision_function(X) == pytest.approx(expected, abs=1e-3)
    assert model.gap_ < 1e-4


def test_a_small_C_is_the_source_and_no_labels_too(problem):
    source, X, y = problem
    model = AdaptiveSVC(source, C=1e-7).fit(X[:30], y[:30])
    expected = source.decision_function(X)
    assert model.decision_function(X) == pytest.approx(expected, abs=1e-4)
    data = np.concatenate([X, X]), np.r_[y.astype(float), np.full(80, np.nan)]
    model = AdaptiveSVC(LinearSVC(dual=False))
    model.fit(*data, sample_domain=np.repeat([1, -1], 80))
    alone = LinearSVC(dual=False).fit(X, y)
    assert model.decision_function(X) == pytest.approx(alone.decision_function(X))


def test_labels_beyond_the_margin_change_nothing(problem):
    source, X, _ = problem
    far = 50 * X[:20]
    model = AdaptiveSVC(source).fit(far, source.predict(far))
    assert not model.dual_coef_.any() and model.gap_ == 0


@pytest.mark.parametrize("kind", ["forest", "logistic", "text", "sparse"])
def test_sources_of_all_kinds_and_more_classes(rng, kind):
    X = rng.normal(size=(200, 3))
    y = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    learner = LogisticRegression()
    if kind == "forest":
        learner = RandomForestClassifier(10, random_state=0)
    source = learner.fit(X[:100], y[:100])
    rows = sparse.csr_array(X) if kind == "sparse" else X
    model = AdaptiveSVC([source, source], kernel="rbf").fit(rows[100:140], y[100:140])
    assert model.decision_function(rows).shape == (200, 3)
    assert model.score(rows[140:], y[140:]) > 0.8
    assert model.dual_coef_.shape == (3, 40)


def test_a_class_that_the_source_lacks(rng):
    X = rng.normal(size=(150, 2))
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    source = LogisticRegression().fit(X[:80], y[:80] > 0)
    source.classes_ = np.array([0, 1])
    model = AdaptiveSVC(source, kernel="rbf", C=10).fit(X[80:], y[80:])
    assert set(model.predict(X)) == {0, 1, 2}


def test_what_cannot_be_done_is_refused(problem):
    _, X, y = problem
    with pytest.raises(TypeError, match="is a regressor"):
        AdaptiveSVC(Ridge().fit(X, y)).fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        AdaptiveSVC().fit(X, np.zeros(80))
