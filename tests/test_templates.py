"""The templates of ``sktransfer.base`` for new methods."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

from sktransfer._response import common_columns
from sktransfer.base import (
    BlendingMetaEstimator,
    DomainData,
    MultiTargetMetaEstimator,
    ReweightingMetaEstimator,
    TransferEstimator,
    TransferMetaEstimator,
    TransferTransformer,
)

X = np.array([[-2.0], [-1.0], [1.0], [2.0]])


class ForgottenFit(TransferEstimator):
    pass


class ForgottenMap(TransferTransformer):
    def _fit_domains(self, data):
        self.fitted_ = True


class ForgottenWrapper(TransferMetaEstimator):
    pass


class ForgottenBlend(BlendingMetaEstimator):
    def _fit_estimator(self, data, fit_params):
        return self.estimator.fit(data.X_labeled, data.y_labeled)


class ForgottenWeights(ReweightingMetaEstimator):
    pass


class ForgottenTasks(MultiTargetMetaEstimator):
    pass


class Halves(BlendingMetaEstimator):
    """The mean of one fit to even and one to odd samples."""

    def _fit_estimator(self, data, fit_params):
        self.models_ = [
            type(self.estimator)().fit(data.X[k::2], data.y[k::2]) for k in (0, 1)
        ]
        classify = hasattr(self.models_[0], "classes_")
        self._columns = common_columns(self.models_, data.y, classify=classify)
        return self.models_[0]

    def _blend(self, X):
        return self._columns.blend(self.models_, np.array([0.5, 0.5]), X)


@pytest.mark.parametrize(
    ("estimator", "hook"),
    [
        (ForgottenFit(), r"_fit_domains\(data\)"),
        (ForgottenMap(), r"_transform\(X, source\)"),
        (ForgottenWrapper(LinearRegression()), r"_fit_estimator\(data, fit_params\)"),
        (ForgottenBlend(LinearRegression()), r"_blend\(X\)"),
        (ForgottenWeights(LinearRegression()), r"_weigh_sources\(data\)"),
        (ForgottenTasks(LinearRegression()), r"_fit_tasks\(data, tasks, fit_params\)"),
    ],
)
def test_a_forgotten_hook_is_named_with_its_contract(estimator, hook):
    with pytest.raises(NotImplementedError, match=f"must implement the hook {hook}. "):
        fitted = estimator.fit(X, X[:, 0])
        fitted.transform(X) if hasattr(fitted, "transform") else fitted.predict(X)


def test_hooks_are_named_without_docstrings_too():
    code = (
        "from sktransfer.base import TransferEstimator\n"
        "try:\n    TransferEstimator().fit([[1.0]], [1.0])\n"
        "except NotImplementedError as error:\n    print(error)\n"
    )
    run = [sys.executable, "-OO", "-c", code]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "must implement the hook _fit_domains(data)" in found


def test_one_hook_makes_a_blend():
    model = Halves(LinearRegression()).fit(X, [0.0, 1.0, 2.0, 5.0])
    assert_allclose(
        model.predict(X), np.mean([m.predict(X) for m in model.models_], axis=0)
    )
    assert not hasattr(model, "predict_proba")
    model = Halves(LogisticRegression()).fit(X, ["a", "a", "b", "b"])
    proba = np.mean([m.predict_proba(X) for m in model.models_], axis=0)
    assert_allclose(model.predict_proba(X), proba)
    assert_allclose(model.predict_log_proba(X), np.log(proba))
    assert_allclose(model.decision_function(X), np.log(proba[:, 1] / proba[:, 0]))
    assert model.score(X, ["a", "a", "b", "b"]) == 1
    with pytest.raises(TypeError, match="predict blends several models and takes no r"):
        model.predict(X, return_std=True)


class Alternate(ReweightingMetaEstimator):
    """Every other source sample."""

    def _weigh_sources(self, data):
        assert isinstance(data, DomainData)
        return np.arange(data.n_source) % 2.0


def test_one_hook_makes_a_reweighting():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    domain = np.repeat([1, -1], [20, 10])
    model = Alternate(LinearRegression(), target_weight=3.0)
    model.fit(X, y, sample_domain=domain)
    weight = np.r_[np.tile([0.0, 1.0], 10), np.full(10, 3.0)]
    expected = LinearRegression().fit(X, y, sample_weight=weight)
    assert_allclose(model.predict(X), expected.predict(X))
    assert_allclose(model.sample_weight_, weight[:20])
    model.set_params(target_weight=0.0).fit(X, y, sample_domain=domain)
    expected = LinearRegression().fit(X[1:20:2], y[1:20:2])
    assert_allclose(model.predict(X), expected.predict(X))
    alone = Alternate(LinearRegression(), target_weight=0.0).fit(X[20:], y[20:])
    expected = LinearRegression().fit(X[20:], y[20:])
    assert_allclose(alone.predict(X), expected.predict(X))
    with pytest.raises(TypeError, match="takes no sample_weight"):
        Alternate(KNeighborsRegressor()).fit(X, y, sample_domain=domain)


class OneEach(MultiTargetMetaEstimator):
    """A fit to each domain alone."""

    def _fit_tasks(self, data, tasks, fit_params):
        parts = [data.rows_of(task) & data.labeled for task in tasks]
        return [
            clone(self.estimator).fit(data.X[rows], data.labels(rows)) for rows in parts
        ]


def test_one_hook_makes_a_model_per_task():
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(60, 2)), np.repeat([-1, -2, 5], 20)
    y = np.where(X[:, 0] > 0, np.where(task == 5, "c", "b"), "a")
    model = OneEach(LogisticRegression()).fit(X, y, sample_domain=task)
    assert model.task_ids_.tolist() == [-1, -2, 5]
    assert model.classes_.tolist() == ["a", "b", "c"]
    shuffle = rng.permutation(60)
    proba = model.predict_proba(X[shuffle], sample_domain=task[shuffle])
    for k in range(60):
        own = model.estimators_[[-1, -2, 5].index(task[shuffle][k])]
        columns = [0, 2 if task[shuffle][k] == 5 else 1]
        assert_allclose(proba[k, columns], own.predict_proba(X[shuffle][k : k + 1])[0])
    assert model.score(X, y, sample_domain=task) > 0.9
    assert_allclose(model.predict_proba(X), model.predict_proba(X, sample_domain=-1))
    with pytest.raises(ValueError, match=r"names the domains \[7\]"):
        model.predict(X, sample_domain=7)
    with pytest.raises(ValueError, match=r"No row of domain -2 .* task of OneEach"):
        OneEach(LogisticRegression()).fit(
            X, np.where(task == -2, None, y), sample_domain=task
        )
