"""Scores of held-out rows: over all classes, pooled over the folds, or by row."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context, get_config
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    check_scoring,
    d2_brier_score,
    d2_log_loss_score,
    get_scorer,
    log_loss,
    mean_absolute_error,
    mean_gamma_deviance,
    mean_poisson_deviance,
    mean_squared_error,
    mean_tweedie_deviance,
    r2_score,
    root_mean_squared_error,
    top_k_accuracy_score,
)
from sklearn.utils import get_tags

from sktransfer._deviance import unit_deviance
from sktransfer._learners import flatten_column
from sktransfer._response import align_classes, all_classes


def exact_match_score(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
    """Return the share of samples of which all outputs are predicted right.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples, n_outputs)
        Classes.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.

    Returns
    -------
    score : float
        In [0, 1].
    """
    right = np.all(np.asarray(y_true) == np.asarray(y_pred), axis=1)
    return float(np.average(right, weights=sample_weight))


#: scores of probabilities that need the classes that a fold lacks
_OVER_CLASSES = (
    brier_score_loss,
    d2_brier_score,
    d2_log_loss_score,
    log_loss,
    top_k_accuracy_score,
)
#: those that get one column of two, that of the last class
_ONE_COLUMN = (brier_score_loss, d2_brier_score)
_ANSWERS = ("predict", "predict_proba", "predict_log_proba", "decision_function")
#: scores that are means over rows, or the root of one
_KINDS = {
    accuracy_score: "hits",
    brier_score_loss: "brier",
    exact_match_score: "hits",
    mean_absolute_error: "absolute",
    mean_gamma_deviance: "deviance",
    mean_poisson_deviance: "deviance",
    mean_squared_error: "squared",
    mean_tweedie_deviance: "deviance",
    r2_score: "r2",
    root_mean_squared_error: "root",
}
#: power of a deviance; that of Tweedie has it among its options
_POWERS = {mean_poisson_deviance: 1.0, mean_gamma_deviance: 2.0}
#: most tested rows of a score that is no mean: a jackknife calls it once for each, and
#: with more of them the scores of the folds are evidence enough
_MOST_JACKKNIFED = 200
#: share by which a mean in single precision may be off
_SINGLE = 1e-4


@dataclass
class HeldOutScore:
    """Score of one model on the held-out rows of one fold.

    Parameters
    ----------
    value : float
        The score; NaN where it is not defined on these rows alone.
    answers : dict of str to ndarray
        What the model answered, by the name of the method; empty if the scorer does
        not say what it asks.
    classes : ndarray or None
        Classes of the columns of the answers.
    tags : object
        Tags of the model.
    y, sample_weight : ndarray
        Labels and weights of the rows; weights may be None.
    """

    value: float
    answers: dict[str, Any]
    classes: Any
    tags: Any
    y: Any
    sample_weight: Any


def score_pair(
    pair: Any, X: Any, y: Any, sample_weight: Any = None, *, scoring: Any
) -> list[HeldOutScore]:
    """Score both models on held-out rows, over the classes of both.

    Parameters
    ----------
    pair : tuple of estimator
        Fitted models.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows that neither was fitted on.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Their labels.
    sample_weight : ndarray of shape (n_samples,), default=None
        Their weights.
    scoring : str, callable or None
        Scorer, higher is better.

    Returns
    -------
    scores : list of HeldOutScore
        One per model.
    """
    classes = None
    if all(map(is_classifier, pair)) and np.ndim(y) == 1:
        classes = all_classes(pair, y)
    return [_score(model, X, y, sample_weight, scoring, classes) for model in pair]


def settle_scores(scores: Any, scoring: Any) -> NDArray[Any]:
    r"""Return the score of every fold, pooled where a fold alone does not define it.

    Parameters
    ----------
    scores : list of list of HeldOutScore
        For every fold the scores of the same models.
    scoring : str, callable or None
        Scorer, higher is better.

    Returns
    -------
    values : ndarray of shape (n_models, n_splits)
        Scores of the folds. If one is not defined, jackknife values of the score
        :math:`s` of the answers of all J folds together,

        .. math:: s + (J - 1) (\bar s_{(\\cdot)} - s_{(-j)}),

        with :math:`s_{(-j)}` without fold j and :math:`\bar s_{(\\cdot)}` their mean.
        Their mean is :math:`s`.
    """
    values = np.array([[score.value for score in fold] for fold in scores]).T
    if np.isfinite(values).all():
        return values
    if not all(score.answers for fold in scores for score in fold):
        least = min(len(fold[0].y) for fold in scores)
        raise ValueError(
            f"scoring={scoring!r} is not finite on a fold with {least} labeled target "
            "rows, and as what it asks of a model is not known, the folds cannot be "
            "pooled. Lower cv, or use a score that is defined on so few rows."
        )
    models = zip(*scores, strict=True)
    return np.array([_jackknife(folds, scoring) for folds in models])


@dataclass
class RowScores:
    """Scores of both models by held-out row.

    Parameters
    ----------
    kind : {"hits", "squared", "brier", "root", "r2", "absolute", "deviance", "other"}
        What the score is: the share of correct predictions, the negated mean of
        squared errors or the root of it, R2 (given the variance of the labels of a
        fold), the negated mean of absolute errors or of deviances, or another one.
    values : ndarray of shape (2, n_tested)
        The weighted mean over the rows of a fold is its score (for "root", the
        negated square of it).
    guesses : ndarray of shape (n_tested,) or None
        By how much the losses of the two models can differ, as in
        :class:`~sktransfer.metrics._evidence.PairedEvidence`.
    scales : list of float, default=()
        For each fold the factor of the squared step between the answers in the
        guesses.
    """

    kind: str
    values: Any
    guesses: Any
    scales: tuple[float, ...] = ()


def row_scores(scores: Any, scoring: Any, units: Any) -> RowScores | None:
    r"""Return the scores of rows whose means are the scores of the folds, or None.

    A score that is no mean has jackknife values: with the share :math:`p_i` of unit i
    in the weight of its fold, and the score :math:`s_{(-i)}` of the fold without it,

    .. math:: \frac{s - (1 - p_i)\, s_{(-i)}}{p_i} + c,

    where c makes their mean the score s of the fold. The value of a score that is a
    mean is that of the unit itself.

    Parameters
    ----------
    scores : list of list of HeldOutScore
        For every fold the scores of the model without and with the sources.
    scoring : str, callable or None
        Scorer, higher is better.
    units : list of ndarray
        Unit of each test row, fold by fold.

    Returns
    -------
    rows : RowScores or None
        None if the score is not defined on every fold or without some unit, if it is
        not known what it asks of a model, or if it is no mean, as R2, and more than
        200 rows are tested.
    """
    if not all(fold_score.answers for fold in scores for fold_score in fold):
        return None
    kind = _KINDS.get(_score_func(scoring), "other")
    if scoring is None:  # score() of a classifier or of a regressor
        # of several outputs score() is the share of rows that are right in all
        kind = "hits" if scores[0][0].tags.estimator_type == "classifier" else "r2"
    many = sum(map(len, units)) > _MOST_JACKKNIFED
    if kind != "other" and not (kind == "r2" and many):
        found = _mean_scores(scores, kind, _power_of(scoring))
        if found is not None:
            return found
    if many or scoring is None:  # a score() of its own
        return None
    values = [
        [_within(one, scoring, unit) for one in fold]
        for fold, unit in zip(scores, units, strict=True)
    ]
    if not all(np.isfinite(one).all() for fold in values for one in fold):
        return None
    return RowScores("other", np.concatenate(values, axis=1), None)


def _score_func(scoring: Any) -> Callable[..., Any] | None:
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    return getattr(scorer, "_score_func", None)


def _power_of(scoring: Any) -> Any:
    """Return the power of the deviance that a scorer averages; None: no deviance."""
    function = _score_func(scoring)
    if function is mean_tweedie_deviance:
        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        return float(getattr(scorer, "_kwargs", {}).get("power", 0))
    return _POWERS.get(function)


def counts_hits(scoring: Any, pair: "list[Remembering]") -> bool:
    """Tell whether a score is the accuracy of two classifiers."""
    if scoring is None:
        return all(map(is_classifier, pair))
    return _score_func(scoring) is accuracy_score


def _mean_scores(
    scores: list[list[HeldOutScore]], kind: str, power: Any
) -> RowScores | None:
    """Return the row scores of a mean, if the scores of the folds are that mean."""
    for scale in (1.0, 0.5) if kind == "brier" else (1.0,):
        parts = [_of_rows(fold, kind, scale, power) for fold in scores]
        if any(part is None for part in parts):
            continue
        values, guesses, scales = zip(*parts, strict=True)
        known = guesses[0] is not None
        return RowScores(
            kind,
            np.concatenate(values, axis=1),
            np.concatenate(guesses) if known else None,
            scales,
        )
    return None


def _of_rows(
    fold: list[HeldOutScore], kind: str, scale: float, power: Any
) -> tuple[NDArray[Any], Any, Any] | None:
    """Return scores of the rows of a fold, guesses of a difference, and their scale."""
    method = "predict_proba" if kind == "brier" else "predict"
    if any(method not in score.answers for score in fold):
        return None
    y, weight = fold[0].y, fold[0].sample_weight
    answers = [np.asarray(score.answers[method]) for score in fold]
    guesses: Any = None
    best: Any = 0.0
    if kind == "hits":
        right = np.array([answer == y for answer in answers])
        differ = answers[0] != answers[1]
        if y.ndim > 1:
            right, differ = right.all(axis=2), differ.any(axis=1)
        values: Any = right.astype(np.float64)
        # where no class is predicted for unlabeled rows they say nothing
        guesses = differ.astype(np.float64) if y.ndim == 1 else None
    else:
        if kind == "brier":
            label = (y[:, None] == fold[0].classes).astype(np.float64)
        else:
            label = y.reshape(len(y), -1).astype(np.float64)
            answers = [answer.reshape(label.shape) for answer in answers]
            scale = 1.0 / label.shape[1]
        if kind in ("root", "r2", "deviance") and label.shape[1] > 1:
            return None
        if kind == "r2":
            mean = np.average(label, axis=0, weights=weight)
            variance = np.average((label - mean) ** 2, axis=0, weights=weight)[0]
            if variance == 0:
                return None
            scale, best = 1.0 / variance, 1.0
        errors = np.array([answer - label for answer in answers])
        if kind == "deviance":
            values = -np.array([unit_deviance(label, m, power)[:, 0] for m in answers])
        elif kind == "absolute":
            values = -scale * np.sum(np.abs(errors), axis=2)
        else:
            values = best - scale * np.sum(errors**2, axis=2)
            guesses = scale * np.sum((errors[1] - errors[0]) ** 2, axis=1)
    single = any(np.asarray(a).dtype in (np.float16, np.float32) for a in (y, *answers))
    share = _SINGLE if single else 1e-9
    for score, value in zip(fold, values, strict=True):
        mean = np.average(value, weights=score.sample_weight)
        mean = -np.sqrt(-mean) if kind == "root" else mean
        # R2 rounds in the unit of its best value
        room = share * abs(best) if single else 1e-12
        if not np.isclose(mean, score.value, rtol=share, atol=room):
            return None
    return values, guesses, scale


def _within(score: HeldOutScore, scoring: Any, units: NDArray[Any]) -> NDArray[Any]:
    """Return the jackknife values of the units of one fold, at their rows."""
    weight = score.sample_weight
    weight = np.ones(len(units)) if weight is None else np.asarray(weight)
    names, unit = np.unique(units, return_inverse=True)
    share = np.bincount(unit, weight) / weight.sum()
    if len(names) == 1 or not np.isfinite(score.value):
        return np.full(len(units), score.value)
    values = np.empty(len(names))
    for k in range(len(names)):
        without = _score_of_part(score, scoring, unit != k)
        values[k] = (score.value - (1 - share[k]) * without) / share[k]
    return (values + score.value - share @ values)[unit]


def _score_of_part(score: HeldOutScore, scoring: Any, rows: NDArray[np.bool_]) -> float:
    """Score some of the rows of a fold; NaN where that is not defined."""
    part = replace(
        score,
        answers={name: np.asarray(a)[rows] for name, a in score.answers.items()},
        y=score.y[rows],
        sample_weight=None if score.sample_weight is None
        else np.asarray(score.sample_weight)[rows],
    )  # fmt: skip
    model = _OutOfFold([part])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _call(
                model, np.empty((rows.sum(), 0)), part.y, part.sample_weight, scoring,
                model.classes,
            )  # fmt: skip
        except ValueError:
            return np.nan


def _jackknife(folds: tuple[Any, ...], scoring: Any) -> NDArray[Any]:
    n_folds = len(folds)
    whole = _pooled(folds, scoring)
    if n_folds == 1:
        return np.array([whole])
    without = np.array(
        [_pooled(folds[:j] + folds[j + 1 :], scoring) for j in range(n_folds)]
    )
    return whole + (n_folds - 1) * (without.mean() - without)


def _pooled(folds: tuple[Any, ...], scoring: Any) -> float:
    """Return the score of the answers of several folds together."""
    model = _OutOfFold(folds)
    y = np.concatenate([fold.y for fold in folds])
    weight = None
    if folds[0].sample_weight is not None:
        weight = np.concatenate([fold.sample_weight for fold in folds])
    rows = np.empty((len(y), 0))
    reason = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        try:
            value = _call(model, rows, y, weight, scoring, model.classes)
        except ValueError as error:
            value, reason = np.nan, f" ({error})"
    if not np.isfinite(value):
        raise ValueError(
            f"scoring={scoring!r} is not defined on the held-out labeled target rows, "
            f"even with the folds taken together{reason}. Label more target rows, or "
            "use another score."
        )
    return value


def _score(
    model: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    scoring: Any,
    classes: NDArray[Any] | None,
) -> HeldOutScore:
    known = hasattr(check_scoring(model, scoring=scoring), "_score_func")
    asked = _Asked(model, classes) if known else model
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = _call(asked, X, y, sample_weight, scoring, classes)
        except ValueError:
            if not (known and asked.answers):
                raise
            value = np.nan
    undefined = not np.isfinite(value)
    for warning in caught:
        if not (undefined and issubclass(warning.category, UndefinedMetricWarning)):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    answers = asked.answers if known else {}
    if scoring is None and undefined and is_regressor(model):
        answers = {"predict": flatten_column(np.asarray(model.predict(X)))}
    return HeldOutScore(value, answers, classes, get_tags(model), y, sample_weight)


def _call(
    model: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    scoring: Any,
    classes: NDArray[Any] | None,
) -> float:
    """Call a scorer with the weights, and with the classes that it may need."""
    scorer = check_scoring(model, scoring=scoring)
    score_func = getattr(scorer, "_score_func", None)
    extra = {}
    if sample_weight is not None:
        takes = model.score if scoring is None else score_func or scorer
        if "sample_weight" not in signature(takes).parameters:
            raise TypeError(
                f"scoring={scoring!r} takes no sample_weight, so the weights of the "
                "rows would be lost. Use a scorer that does."
            )
        extra["sample_weight"] = sample_weight
    if classes is not None and score_func in _OVER_CLASSES:
        known = {"labels": classes}
        if score_func in _ONE_COLUMN and len(classes) == 2:
            known["pos_label"] = classes[1]
        extra |= {k: v for k, v in known.items() if k not in scorer._kwargs}
    routing = get_config()["enable_metadata_routing"]
    if "labels" in extra:
        routing = True  # without it a scorer takes no further argument
    elif scoring is None and extra:
        routing = False  # with it the score of a pipeline wants a request of weights
    with config_context(enable_metadata_routing=routing):
        return float(scorer(model, X, y, **extra))


class _Asked:
    """A fitted model that keeps what it is asked, in columns of all classes."""

    def __init__(self, model: Any, classes: NDArray[Any] | None) -> None:
        self.model = model
        self.classes = classes
        self.answers: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["model"], name)
        if name == "classes_" and self.classes is not None:
            return self.classes
        return self._asking(name) if name in _ANSWERS else value

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.model)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _asking(self, name: str) -> Callable[..., Any]:
        def ask(X: Any) -> NDArray[Any]:
            values = getattr(self.model, name)(X)
            if self.classes is not None and name != "predict":
                values = _in_columns(values, name, self.model.classes_, self.classes)
            self.answers[name] = values
            return values

        ask.__name__ = name
        return ask


class Remembering:
    """A fitted model that is asked once about the same rows, whoever asks.

    Prediction may be the costly part, as for models that store their samples.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.answers: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["model"], name)
        if name not in _ANSWERS:
            return value

        def ask(X: Any) -> NDArray[Any]:
            known = self.answers.get(name)
            if known is None or known[0] is not X:
                known = self.answers[name] = X, value(X)
            return known[1]

        ask.__name__ = name
        return ask

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.model)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _OutOfFold:
    """The out-of-fold answers of one model, as an estimator that a scorer can ask."""

    predict: Callable[..., Any]

    def __init__(self, folds: Any) -> None:
        self.tags = folds[0].tags
        self.classes = None
        if folds[0].classes is not None:
            self.classes = np.unique(np.concatenate([fold.classes for fold in folds]))
            self.classes_ = self.classes
        for name in folds[0].answers:
            parts = [
                fold.answers[name]
                if name == "predict" or self.classes is None
                else _in_columns(fold.answers[name], name, fold.classes, self.classes)
                for fold in folds
            ]
            setattr(self, name, _answering(name, np.concatenate(parts)))

    def __sklearn_tags__(self) -> Any:
        return self.tags

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any) -> Self:
        """Refuse to be fitted: scorers only ask whether there is a ``fit``."""
        raise NotImplementedError("out-of-fold answers are not fitted")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R2; it is asked only where no fold defines the own score."""
        return r2_score(y, self.predict(X), sample_weight=sample_weight)


def _answering(name: str, values: NDArray[Any]) -> Callable[..., Any]:
    def answer(X: Any) -> NDArray[Any]:
        return values

    answer.__name__ = name
    return answer


def _in_columns(
    values: NDArray[Any], name: str, known: NDArray[Any], classes: NDArray[Any]
) -> NDArray[Any]:
    """Return answers of a classifier in the columns of ``classes``."""
    values = np.asarray(values)
    if np.array_equal(known, classes):
        return values
    if values.ndim == 1:
        values = np.column_stack([-values, values])
    absent = {"predict_proba": 0.0, "predict_log_proba": -np.inf}
    return align_classes(values, known, classes, absent.get(name, values.min() - 1.0))
