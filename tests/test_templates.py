"""The templates of ``sktransfer.base`` for new methods."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression

from sktransfer._response import common_columns
from sktransfer.base import (
    BlendingMetaEstimator,
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
