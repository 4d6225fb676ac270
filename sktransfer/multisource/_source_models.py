"""Models of single sources and their weighted mixtures, shared by the ensembles."""

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    is_regressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sktransfer._domains import take_rows
from sktransfer._response import CommonColumns, all_classes
from sktransfer.base import fit_or_constant, slice_params


def fit_domain(estimator, data, rows, fit_params):
    """Fit a clone to some labeled rows; one class only gives a constant model."""
    X, y = take_rows(data.X, rows), data.labels(rows)
    return fit_or_constant(estimator, X, y, **slice_params(fit_params, rows))


def fit_source_models(estimator, data, fit_params, n_jobs):
    """Fit one clone of ``estimator`` to the rows of every source."""
    return Parallel(n_jobs=n_jobs)(
        delayed(fit_domain)(estimator, data, data.rows_of(source), fit_params)
        for source in data.sources
    )


def check_has_proba(estimator, name):
    """Refuse a learner that gives no class probabilities."""
    if is_regressor(estimator):
        raise TypeError(
            f"{name} is for classification, but estimator="
            f"{type(estimator).__name__}(...) is a regressor."
        )
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"estimator={type(estimator).__name__}(...) has no predict_proba, which "
            f"{name} combines. Use a learner that has, or CalibratedClassifierCV."
        )


def unfreeze(models):
    """Check that source models are fitted and take them out of FrozenEstimator."""
    models = [m.estimator if isinstance(m, FrozenEstimator) else m for m in models]
    for model in models:
        check_is_fitted(model)
    return models


class ProbaClassifier(ClassifierMixin, BaseEstimator):
    """Predict the class of the largest probability."""

    def predict(self, X):
        """Predict the classes of rows."""
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]


class ClassifierMixture(ProbaClassifier):
    """Weighted mean of the class probabilities of fitted models."""

    def __init__(self, models, weights):
        self.models = models
        self.weights = weights
        self.classes_ = all_classes(models)

    def predict_proba(self, X):
        """Predict the mixture of the probabilities."""
        columns = CommonColumns(self.classes_, "predict_proba")
        return columns.blend(self.models, self.weights, X)


class RegressorMixture(RegressorMixin, BaseEstimator):
    """Weighted mean of the predictions of fitted models."""

    def __init__(self, models, weights):
        self.models = models
        self.weights = weights

    def predict(self, X):
        """Predict the mixture of the predictions."""
        return sum(
            weight * model.predict(X)
            for model, weight in zip(self.models, self.weights, strict=True)
        )


def mixture(estimator, models, weights):
    """Mix fitted models by the type of their learner."""
    kind = RegressorMixture if is_regressor(estimator) else ClassifierMixture
    return kind(models, weights)
