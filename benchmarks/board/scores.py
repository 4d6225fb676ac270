"""Scores of predictions: the main score, squared error, log loss or deviance."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import r2_score, roc_auc_score

LEAST_PROBABILITY = 1e-6  # in the log loss, so that one row cannot decide a task


def score_predictions(estimator, X, y, metric):
    """Return the scores of a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        A classifier, with or without probabilities, or a regressor.
    X, y : ndarray
        Test rows.
    metric : {"accuracy", "auc", "r2"}
        The main score.

    Returns
    -------
    scores : dict
        ``score``; ``halves``, the same on even and on odd test rows; ``error``, the
        squared error, or the Brier score summed over classes; ``deviance``, the log
        loss in nats, or the log of the squared error (the Gaussian deviance at its best
        variance, up to constants). The last two are None without probabilities.
    """
    if metric == "r2":
        predicted = np.asarray(estimator.predict(X), float).ravel()
        error = float(np.mean((predicted - y) ** 2))

        def score(rows):
            return r2_score(y[rows], predicted[rows])

        rest = {"error": error, "deviance": float(np.log(max(error, 1e-12)))}
    else:
        score, rest = _of_classes(estimator, X, y, metric)
    rows = np.arange(len(y))
    halves = [_rounded(score(rows % 2 == i)) for i in (0, 1)]
    rest = {name: _rounded(value) for name, value in rest.items()}
    return {"score": _rounded(score(rows >= 0)), "halves": halves, **rest}


def _of_classes(estimator, X, y, metric):
    if not is_classifier(estimator):
        raise TypeError(f"{type(estimator).__name__} is no classifier.")
    if not hasattr(estimator, "predict_proba"):
        if metric == "auc":
            margin = estimator.decision_function(X)
            return (
                lambda rows: _auc(y[rows], margin[rows]),
                dict.fromkeys(("error", "deviance")),
            )
        hit = np.asarray(estimator.predict(X)) == y
        return lambda rows: np.mean(hit[rows]), dict.fromkeys(("error", "deviance"))
    known = np.asarray(estimator.classes_)
    classes = np.union1d(known, y)
    proba = np.zeros((len(y), len(classes)))
    proba[:, np.searchsorted(classes, known)] = estimator.predict_proba(X)
    own = y[:, None] == classes
    rest = {
        "error": float(np.mean(np.sum((proba - own) ** 2, axis=1))),
        "deviance": float(-np.mean(np.log(np.maximum(proba[own], LEAST_PROBABILITY)))),
    }
    if getattr(estimator, "votes_", False):  # of another package: no probabilities
        rest = dict.fromkeys(rest)
    if metric == "auc":
        return lambda rows: _auc(y[rows], proba[rows, -1]), rest
    hit = classes[proba.argmax(axis=1)] == y
    return lambda rows: np.mean(hit[rows]), rest


def _auc(y, score):
    return roc_auc_score(y, score) if len(np.unique(y)) == 2 else np.nan


def _rounded(value):
    """Round to six digits; None where there is no number."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.6g}")
