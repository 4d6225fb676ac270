"""UOWQMultiTask: every task is the target of a UOWQ problem; rows name their task."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.multisource import UOWQ, UOWQMultiTask


def make_tasks(seed=1, n=40):
    rng = np.random.default_rng(seed)
    task = np.repeat([-1, -2, 3], n)
    X = rng.normal(size=(3 * n, 2))
    y = np.where(task == 3, -3.0, 1.0) * X[:, 0] + rng.normal(size=3 * n)
    shuffle = rng.permutation(3 * n)
    return X[shuffle], y[shuffle], task[shuffle]


@pytest.mark.parametrize("weighting", ["static", "dynamic"])
def test_every_task_is_a_uowq_problem(weighting):
    X, y, task = make_tasks()
    model = UOWQMultiTask(LinearRegression(), weighting=weighting)
    model.fit(X, y, sample_domain=task)
    np.testing.assert_array_equal(model.task_ids_, [-1, -2, 3])
    for i, target in enumerate(model.task_ids_):
        others = [t for t in model.task_ids_ if t != target]
        ids = np.select([task == target, task == others[0]], [-1, 1], 2)
        one = UOWQ(LinearRegression(), weighting=weighting)
        one.fit(X, y, sample_domain=ids)
        row = np.delete(model.affinity_[i], i)
        np.testing.assert_allclose(row, one.source_weights_, atol=1e-8)
        np.testing.assert_allclose(
            model.predict(X, sample_domain=target), one.predict(X), atol=1e-8
        )
    np.testing.assert_array_equal(np.diag(model.affinity_), 1)
    assert model.affinity_[0, 1] > 5 * model.affinity_[0, 2]


def test_joint_alternation_without_noise_correction():
    X, y, task = make_tasks()
    model = UOWQMultiTask(LinearRegression(), noise_correction=False, max_iter=200)
    model.fit(X, y, sample_domain=task)
    assert model.affinity_[0, 1] > 5 * model.affinity_[0, 2]
    assert model.n_iter_ > 1


def test_rows_are_answered_by_their_task():
    X, y, task = make_tasks()
    model = UOWQMultiTask(LinearRegression()).fit(X, y, sample_domain=task)
    mixed = model.predict(X, sample_domain=task)
    for i, t in enumerate(model.task_ids_):
        rows = task == t
        np.testing.assert_array_equal(
            mixed[rows], model.estimators_[i].predict(X[rows])
        )
    np.testing.assert_array_equal(model.predict(X), model.predict(X, sample_domain=-1))
    assert model.score(X, y, sample_domain=task) > model.score(X, y) + 0.2
    unseen = model.predict(X[:1], sample_domain=[-9])  # the mean of the tasks
    assert unseen == pytest.approx(
        np.mean([m.predict(X[:1]) for m in model.estimators_])
    )


def test_classification_with_tasks_of_different_classes():
    X, y, task = make_tasks(n=60)
    labels = np.digitize(y, [-1.0, 1.0])
    labels[(task == 3) & (labels == 2)] = 1
    model = UOWQMultiTask(LogisticRegression())
    with pytest.warns(UserWarning, match="class"):
        model.fit(X, labels, sample_domain=task)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    proba = model.predict_proba(X, sample_domain=task)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(
        model.predict(X, sample_domain=task), proba.argmax(axis=1)
    )
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(X, sample_domain=task)), proba
    )


def test_decision_function():
    X, y, task = make_tasks()
    model = UOWQMultiTask(LogisticRegression())
    model.fit(X, (y > 0).astype(int), sample_domain=task)
    decision = model.decision_function(X, sample_domain=task)
    np.testing.assert_array_equal(
        decision > 0, model.predict(X, sample_domain=task) == 1
    )


def test_a_task_without_labels_is_refused():
    X, y, task = make_tasks()
    y[task == -2] = np.nan
    with pytest.raises(UnlabeledTargetError, match="domain -2"):
        UOWQMultiTask(LinearRegression()).fit(X, y, sample_domain=task)


def test_tasks_reach_predict_through_a_pipeline():
    X, y, task = make_tasks()
    with config_context(enable_metadata_routing=True):
        pipe = make_pipeline(StandardScaler(), UOWQMultiTask(LinearRegression()))
        pipe.fit(X, y, sample_domain=task)
        found = pipe.predict(X, sample_domain=task)
    expected = pipe[-1].predict(pipe[0].transform(X), sample_domain=task)
    np.testing.assert_array_equal(found, expected)
