"""Outputs of a source model for rows: features, probabilities, labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from sktransfer._compat import ACTIVATIONS


def source_features(estimator: Any, X: Any) -> NDArray[Any]:
    """Return the features of a fitted source model for rows.

    Parameters
    ----------
    estimator : estimator
        A transformer gives its transformed rows; a pipeline those of all steps but a
        last one that predicts, and the features of that last step if it is a net; a
        multilayer perceptron of scikit-learn and a skorch net give the input of their
        last linear layer; a fitted wrapper those of its ``estimator_``.
    X : array-like of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features_out)
        Features.

    Raises
    ------
    TypeError
        If the model has no features besides its predictions.
    """
    features = _features(estimator, X)
    if features is None:
        raise TypeError(
            f"{type(estimator).__name__} has no features: use a transformer, a "
            "pipeline of a transformer and a predictor, or a net."
        )
    return np.asarray(features.toarray() if hasattr(features, "toarray") else features)


def has_features(estimator: Any, X: Any) -> bool:
    """Tell whether a fitted source model has features besides its predictions."""
    return _features(estimator, X) is not None


def _features(estimator: Any, X: Any) -> Any:
    """Return the features, or None where the model has none."""
    if isinstance(estimator, Pipeline):
        return _pipeline_features(estimator, X)
    if hasattr(estimator, "transform"):
        return estimator.transform(X)
    if hasattr(estimator, "coefs_") and hasattr(estimator, "activation"):
        return _hidden_layer(estimator, X)
    if hasattr(estimator, "module_") and hasattr(estimator, "forward_iter"):
        return _net_features(estimator, X)
    if hasattr(estimator, "estimator_"):
        return _features(estimator.estimator_, X)
    return None


def _pipeline_features(pipeline: Any, X: Any) -> Any:
    steps, last = pipeline[:-1], pipeline.steps[-1][1]
    transformed = steps.transform(X) if len(steps.steps) else X
    if last is None or last == "passthrough":
        return transformed
    features = _features(last, transformed)
    return transformed if features is None and len(steps.steps) else features


def _hidden_layer(perceptron: Any, X: Any) -> NDArray[Any]:
    """Return the last hidden layer of a multilayer perceptron of scikit-learn."""
    check_is_fitted(perceptron)
    hidden = validate_data(perceptron, X, reset=False)
    weights = zip(perceptron.coefs_[:-1], perceptron.intercepts_[:-1], strict=True)
    for coefficients, intercepts in weights:
        hidden = hidden @ coefficients + intercepts
        ACTIVATIONS[perceptron.activation](hidden)
    return hidden


def _net_features(net: Any, X: Any) -> NDArray[Any] | None:
    """Return the input of the last linear layer of a skorch net."""
    linear = [m for m in net.module_.modules() if hasattr(m, "in_features")]
    if not linear:
        return None
    seen = []
    handle = linear[-1].register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach().cpu().numpy())
    )
    try:
        for _ in net.forward_iter(X, training=False):
            pass
    finally:
        handle.remove()
    return np.concatenate(seen)


def source_probabilities(estimator: Any, X: Any) -> NDArray[Any]:
    """Return the probabilities of the source classes of a fitted source model."""
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"{type(estimator).__name__} has no predict_proba. Calibrate the source "
            "model, e.g. by CalibratedClassifierCV, or score it by nce_scorer."
        )
    return np.asarray(estimator.predict_proba(X))


def source_labels(estimator: Any, X: Any) -> NDArray[Any]:
    """Return the hard labels that a fitted source model gives to rows."""
    if not hasattr(estimator, "predict"):
        raise TypeError(
            f"{type(estimator).__name__} has no predict. Score a transformer by a "
            "scorer of its features, such as logme_scorer."
        )
    return np.asarray(estimator.predict(X))
