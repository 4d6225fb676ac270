import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linprog
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

from sktransfer.base import without_sources
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.safe import SAFEW
from sktransfer.safe._safew import safew_hinge, safew_squared
from sktransfer.utils import parametrize_with_transfer_checks

MANY = [
    DecisionTreeClassifier(max_depth=1, random_state=0),
    KNeighborsClassifier(1),
    KNeighborsClassifier(5),
]
ESTIMATORS = [  # beside those of the common table
    SAFEW(KNeighborsRegressor(3)),
    SAFEW(LogisticRegression(), [*MANY, LogisticRegression()], loss="hinge"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_sklearn_contract(estimator):
    with warnings.catch_warnings():
        # array API checks need an environment variable before SciPy is imported
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(estimator)


@parametrize_with_transfer_checks(ESTIMATORS)
def test_transfer_contract(estimator, check):
    check(estimator)


def classes_problem(seed=0, n_sources=3, n_labeled=9, n_unlabeled=40, n_classes=3):
    """Sources of shifted blobs; the last target rows are unlabeled."""
    rng = np.random.default_rng(seed)
    sizes = [*[30] * n_sources, n_labeled + n_unlabeled]
    ids = [*range(1, n_sources + 1), -1]
    centers = rng.normal(scale=2, size=(n_classes, 3))
    X, y, domain = [], [], []
    for size, d in zip(sizes, ids, strict=True):
        label = np.arange(size) % n_classes
        shift = rng.normal(scale=1.0 if d > 0 else 0, size=3)
        X.append(centers[label] + shift + rng.normal(size=(size, 3)))
        y.append(label)
        domain.append(np.full(size, d))
    X, y, domain = (np.concatenate(parts) for parts in (X, y, domain))
    seen = np.where(np.arange(len(y)) < sum(sizes) - n_unlabeled, y, -1)
    return X, y, seen, domain


def random_votes(rng, n_models, n=30, n_columns=2):
    votes = np.where(rng.random((n_models, n)) < 0.5, 1.0, -1.0)
    return np.stack([votes, -votes], axis=2)[..., :n_columns]


@pytest.mark.parametrize("seed", range(5))
def test_squared_truth_in_the_hull_is_no_worse_than_the_baseline(seed):
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(4, 25, 2))
    goal = rng.normal(size=(25, 2))
    weights, scores = safew_squared(goal, columns)
    assert (weights >= 0).all()
    assert_allclose(weights.sum(), 1)
    assert_allclose(scores, np.tensordot(weights, columns, axes=1))
    for mix in rng.dirichlet(np.full(4, 0.3), size=50):
        truth = np.tensordot(mix, columns, axes=1)
        assert np.sum((scores - truth) ** 2) <= np.sum((goal - truth) ** 2) + 1e-9


def test_squared_is_the_projection_on_the_hull():
    """The variational inequality of a projection, at every vertex."""
    rng = np.random.default_rng(0)
    columns, goal = rng.normal(size=(5, 20, 1)), 3 * rng.normal(size=(20, 1))
    _, scores = safew_squared(goal, columns)
    inner = [np.sum((goal - scores) * (vertex - scores)) for vertex in columns]
    assert max(inner) <= 1e-8


def test_squared_baseline_inside_the_hull_stays():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(3, 20, 1))
    mix = np.array([0.2, 0.5, 0.3])
    goal = np.tensordot(mix, columns, axes=1)
    weights, scores = safew_squared(goal, columns)
    assert_allclose(scores, goal, atol=1e-9)
    assert_allclose(weights, mix, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_hinge_solves_the_maximin_program(seed):
    """Against an independent simplex solver without merged patterns."""
    rng = np.random.default_rng(seed)
    columns, goal = random_votes(rng, 4), random_votes(rng, 1)[0]
    weights, scores = safew_hinge(goal, columns)
    flat, n = columns.reshape(4, -1), goal.size
    reference = linprog(
        np.r_[np.zeros(n), -1.0],
        A_ub=np.c_[-flat, np.ones(4)],
        b_ub=-flat @ goal.ravel(),
        bounds=[(-1, 1)] * n + [(None, None)],
    )
    value = (flat @ (scores - goal).ravel()).min()
    assert_allclose(value, -reference.fun, atol=1e-5 * n)
    assert np.abs(scores).max() <= 1 + 1e-12
    mean = weights @ flat
    decided = np.abs(mean) > 1e-3
    assert_allclose(scores.ravel()[decided], np.sign(mean[decided]), atol=1e-4)
    assert_allclose(weights.sum(), 1)


@pytest.mark.parametrize("seed", range(5))
def test_hinge_truth_in_the_hull_is_no_worse_than_the_baseline(seed):
    rng = np.random.default_rng(seed)
    columns, goal = random_votes(rng, 4), random_votes(rng, 1)[0]
    _, scores = safew_hinge(goal, columns)
    for mix in rng.dirichlet(np.full(4, 0.3), size=50):
        truth = np.tensordot(mix, columns, axes=1)
        loss, base = np.sum(1 - scores * truth), np.sum(1 - goal * truth)
        assert loss <= base + 1e-4


def test_hinge_equal_models_get_equal_weights():
    votes = random_votes(np.random.default_rng(0), 1)
    weights, _ = safew_hinge(votes[0], np.repeat(votes, 3, axis=0))
    assert_allclose(weights, 1 / 3, atol=1e-6)


def test_hinge_warns_with_its_duality_gap():
    votes = random_votes(np.random.default_rng(0), 3)
    with pytest.warns(ConvergenceWarning, match="duality gap"):
        safew_hinge(votes[0], votes[1:], tol=-1.0)


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_classifier_follows_its_weights(loss):
    X, _, seen, domain = classes_problem()
    model = SAFEW(LogisticRegression(), loss=loss).fit(X, seen, sample_domain=domain)
    new = X[domain == -1] + 0.1
    if loss == "squared":
        parts = [m.predict_proba(new) for m in model.source_models_]
        combined = np.tensordot(model.weights_, parts, axes=1)
        assert_allclose(model.predict_proba(new), combined)
        assert_allclose(combined.sum(axis=1), 1)
        assert_allclose(model.predict_log_proba(new), np.log(combined))
        assert not hasattr(model, "decision_function")
    else:
        votes = [2.0 * (m.predict(new)[:, None] == [0, 1, 2]) - 1 for m in
                 model.source_models_]  # fmt: skip
        combined = np.tensordot(model.weights_, votes, axes=1)
        assert_allclose(model.decision_function(new), combined)
        assert not hasattr(model, "predict_proba")
    assert_array_equal(model.predict(new), combined.argmax(axis=1))
    assert model.source_names_ == ["1", "2", "3"]
    assert model.safe_scores_.shape == (40, 3)


def test_weights_come_from_unlabeled_rows_else_from_labeled_ones():
    X, y, seen, domain = classes_problem()
    target = domain == -1
    labeled = LogisticRegression().fit(X[target & (seen >= 0)], y[target & (seen >= 0)])
    sources = [
        LogisticRegression().fit(X[domain == d], y[domain == d]) for d in (1, 2, 3)
    ]
    for rows, labels in [(target & (seen < 0), seen), (target, y)]:
        model = SAFEW(LogisticRegression()).fit(X, labels, sample_domain=domain)
        base = (
            labeled
            if labels is seen
            else LogisticRegression().fit(X[target], y[target])
        )
        expected, scores = safew_squared(
            base.predict_proba(X[rows]),
            np.stack([s.predict_proba(X[rows]) for s in sources]),
        )
        assert_allclose(model.weights_, expected, atol=1e-8)
        assert_allclose(model.safe_scores_, scores, atol=1e-8)


def test_multi_output_regression():
    rng = np.random.default_rng(0)
    X, domain = rng.normal(size=(60, 3)), np.repeat([1, 2, -1], 20)
    Y = np.column_stack([X[:, 0], X[:, 1] - X[:, 2]]) + domain[:, None]
    Y[-10:] = np.nan
    model = SAFEW(LinearRegression()).fit(X, Y, sample_domain=domain)
    assert model.predict(X[-10:]).shape == (10, 2)
    assert_allclose(model.predict(X[-10:]), model.safe_scores_)


def test_regression_truth_in_the_hull_end_to_end():
    rng = np.random.default_rng(1)
    models = [Ridge().fit(X := rng.normal(size=(20, 4)), X @ rng.normal(size=4))
              for _ in range(3)]  # fmt: skip
    X = rng.normal(size=(60, 4))
    truth = np.tensordot([0.6, 0.1, 0.3], [m.predict(X) for m in models], axes=1)
    seen = np.where(np.arange(60) < 4, truth + rng.normal(size=60), np.nan)
    safew = SAFEW(Ridge(alpha=0.1), [FrozenEstimator(m) for m in models])
    safew.fit(X, seen, sample_domain=np.full(60, -1))
    error = np.mean((safew.predict(X[4:]) - truth[4:]) ** 2)
    assert error < np.mean((safew.estimator_.predict(X[4:]) - truth[4:]) ** 2)


def test_without_sources_is_the_baseline():
    X, y, seen, domain = classes_problem()
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    target = domain == -1
    rows = target & (seen >= 0)
    expected = LogisticRegression(C=0.1).fit(X[rows], y[rows])
    for loss in ["squared", "hinge"]:
        model = SAFEW(LogisticRegression(C=0.1), [frozen], loss=loss)
        alone = without_sources(model).fit(X[rows], y[rows])
        assert alone.source_models is None
        assert alone.weights_.shape == (0,)
        assert_array_equal(alone.predict(X), expected.predict(X))


def test_models_learners_and_both_survive_clone_and_pickle():
    X, y, seen, domain = classes_problem(n_sources=2)
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    model = clone(SAFEW(LogisticRegression(), [forest, GaussianNB()]))
    model.fit(X, seen, sample_domain=domain)
    assert model.source_names_ == ["source_models[0]", "1", "2"]
    assert model.source_models_[0] is forest
    again = pickle.loads(pickle.dumps(model))
    assert_allclose(again.predict_proba(X), model.predict_proba(X))


def test_class_that_a_source_does_not_know_has_probability_zero():
    X, _, seen, domain = classes_problem(n_sources=1)
    known = (domain < 0) | (seen != 2)
    model = SAFEW(LogisticRegression())
    model.fit(X[known], seen[known], sample_domain=domain[known])
    assert_array_equal(model.predict_proba(X)[:, 2], 0)
    assert np.isneginf(model.predict_log_proba(X)[:, 2]).all()


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_source_of_one_class_votes_for_it(loss):
    X, _, y, domain = classes_problem(n_sources=2, n_classes=2)
    y[domain == 1] = 1
    model = SAFEW(LogisticRegression(), loss=loss)
    model.fit(X, y, sample_domain=domain)
    assert_array_equal(model.source_models_[0].predict(X[:3]), [1, 1, 1])


def test_metadata_reaches_baseline_and_sources(routing):
    X, _, seen, domain = classes_problem(n_sources=1)
    weight = np.where(seen == 0, 5.0, 1.0)
    learner = LogisticRegression().set_fit_request(sample_weight=True)
    model = SAFEW(learner).fit(X, seen, sample_domain=domain, sample_weight=weight)
    source, labeled = domain == 1, (domain == -1) & (seen >= 0)
    for fitted, rows in [
        (model.source_models_[0], source),
        (model.estimator_, labeled),
    ]:
        expected = clone(learner).fit(X[rows], seen[rows], sample_weight=weight[rows])
        assert_allclose(fitted.coef_, expected.coef_)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SAFEW(LinearSVC()), "estimator=.* has no predict_proba"),
        (
            SAFEW(LogisticRegression(), LinearSVC()),
            r"source_models\[0\]=.* has no predict_proba",
        ),
        (SAFEW(LogisticRegression(), ["a"]), r"source_models\[0\] must be a model"),
        (
            SAFEW(
                LogisticRegression(),
                FrozenEstimator(LogisticRegression().fit(np.eye(2), [0, 1])),
            ),
            "fitted on 2 features, but X has 3",
        ),
        (
            SAFEW(
                LogisticRegression(),
                FrozenEstimator(LogisticRegression().fit(np.eye(3), [0, 1, 7])),
            ),
            r"source_models\[0\] knows the classes \[7\]",
        ),
    ],
)
def test_bad_models_are_one_clear_error(model, message):
    X, _, seen, domain = classes_problem()
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, seen, sample_domain=domain)


def test_class_of_source_rows_unseen_in_the_target():
    X, y, seen, domain = classes_problem()
    unseen = (domain == -1) & (y == 1)
    seen = np.where(unseen, -1, seen)
    for loss in ["squared", "hinge"]:
        model = SAFEW(LogisticRegression(), loss=loss)
        with pytest.raises(DomainError, match=r"source 1 knows the classes \[1\]"):
            model.fit(X, seen, sample_domain=domain)


def test_hinge_needs_a_classifier_and_labels_are_needed():
    X, _, seen, domain = classes_problem()
    with pytest.raises(ValueError, match="loss='hinge' is for classifiers"):
        SAFEW(Ridge(), loss="hinge").fit(X, seen.astype(float), sample_domain=domain)
    nothing = np.where(domain == -1, -1, seen)
    with pytest.raises(UnlabeledTargetError):
        SAFEW(LogisticRegression()).fit(X, nothing, sample_domain=domain)


@pytest.mark.parametrize("twins", [False, True])
def test_both_solvers_agree(twins):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(150, 3))
    domain = np.repeat([1, 2, 3, -1], [30, 30, 30, 60])
    y = X @ [1.0, 1.0, 0.5] + (domain == 2) * X[:, 0] + 0.3 * rng.normal(size=150)
    if twins:
        X[30:60], y[30:60] = X[:30], y[:30]
    y = np.where(np.arange(150) < 100, y, np.nan)
    auto, cvxpy = (
        SAFEW(LinearRegression(), solver=solver).fit(X, y, sample_domain=domain)
        for solver in ("auto", "cvxpy")
    )
    np.testing.assert_allclose(auto.weights_, cvxpy.weights_, atol=1e-8)
    if twins:
        assert auto.weights_[0] == pytest.approx(auto.weights_[1], abs=1e-8)
