"""What the members of an ensemble tell of samples: their features or probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier

from sktransfer._compat import _num_samples
from sktransfer._response import CommonColumns, all_classes
from sktransfer.metrics._source_model import has_features, source_features

__all__ = ["RESPONSES", "ModelFeatures", "model_response"]

#: values of the parameter ``response``
RESPONSES = {"auto", "features", "predict_proba"}


class ModelFeatures:
    """Features of fitted source models, in place of answers in common columns.

    Parameters
    ----------
    widths : list of int
        Number of features of each model; 0 for a constant model.
    """

    def __init__(self, widths: Any) -> None:
        self.widths = widths

    def answer(self, model: Any, X: Any) -> NDArray[Any]:
        """Return the features of a model; a constant model has zeros."""
        if _is_constant(model):
            return np.zeros((_num_samples(X), max(self.widths)))
        return _as_table(source_features(model, X))

    def answers(self, models: list[Any], X: Any) -> NDArray[Any]:
        """Return the features of models, (n_models, n_samples, n_features)."""
        return np.stack([self.answer(model, X) for model in models])

    def blocks(self, models: list[Any], X: Any) -> list[NDArray[Any]]:
        """Return the features of each model; none of a constant model."""
        return [
            self.answer(model, X)[:, :width]
            for model, width in zip(models, self.widths, strict=True)
        ]

    def blend(self, models: list[Any], weights: NDArray[Any], X: Any) -> NDArray[Any]:
        """Return the weighted sum of features; a model without weight is not asked."""
        used = np.flatnonzero(weights)
        return sum(weights[k] * self.answer(models[k], X) for k in used)


class ModelProbabilities(CommonColumns):
    """Probabilities of the classes of all models."""

    def blocks(self, models: list[Any], X: Any) -> list[NDArray[Any]]:
        """Return the probabilities of each model."""
        return list(self.answers(models, X))


def model_response(
    models: Any, ids: Any, X: Any, response: str, *, equal_widths: bool, owner: str
) -> Any:
    """Return what an ensemble asks its models.

    Parameters
    ----------
    models : list of estimator
        Fitted source models.
    ids : ndarray of shape (n_models,)
        Their names in an error.
    X : array-like of shape (n_samples, n_features)
        Samples of the target on which the features are tried.
    response : {"auto", "features", "predict_proba"}
        "auto" is "features" where every model has some (of the same number where
        ``equal_widths``), else "predict_proba".
    equal_widths : bool
        Whether the models need the same number of features.
    owner : str
        Name of the ensemble in an error.

    Returns
    -------
    columns : ModelFeatures or ModelProbabilities
        It has ``answers``, ``blocks`` and ``blend``.

    Raises
    ------
    TypeError
        If features are asked for and a model has none.
    ValueError
        If the numbers of features differ and must not.
    """
    probabilities = ModelProbabilities(all_classes(models), "predict_proba")
    if response == "predict_proba":
        return probabilities
    widths = []
    for source, model in zip(ids, models, strict=True):
        width = 0 if _is_constant(model) else _width(model, X)
        if width is None:
            if response == "auto":
                return probabilities
            raise TypeError(
                f"response='features', but the model of source {source} "
                f"({type(model).__name__}) has no features besides its predictions: "
                "use a net, a pipeline of a transformer and a classifier, or "
                "response='predict_proba'."
            )
        widths.append(width)
    found = sorted({width for width in widths if width})
    if not found or (equal_widths and len(found) > 1):
        if response == "auto":
            return probabilities
        if not found:
            raise TypeError(
                "response='features', but every source has one class, so that its "
                "model is a constant: use response='predict_proba'."
            )
        raise ValueError(
            f"{owner} adds up features, but those of the source models have the "
            f"widths {found}: give models of one width, use MCW, which takes any, or "
            "response='predict_proba'."
        )
    return ModelFeatures(widths)


def _is_constant(model: Any) -> bool:
    return isinstance(model, DummyClassifier)


def _width(model: Any, X: Any) -> int | None:
    """Return the number of features of a model; None where it has none."""
    if not has_features(model, X[:1]):
        return None
    return _as_table(source_features(model, X[:1])).shape[1]


def _as_table(features: NDArray[Any]) -> NDArray[Any]:
    features = np.asarray(features, dtype=np.float64)
    return features.reshape(len(features), -1)
