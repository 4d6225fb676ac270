"""What several fitted models answer, in common columns of numbers.

A regressor answers with its values. A classifier answers with probabilities, decision
values or votes, one column per class, whatever classes it has seen itself.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, softmax
from sklearn import config_context

from sktransfer._deviance import least_mean, unit_deviance
from sktransfer._learners import predict_learner, routing_of
from sktransfer._solvers.slope import fit_slope, starting_slope

__all__ = [
    "CommonColumns",
    "InDomains",
    "MarginColumns",
    "OutputColumns",
    "all_classes",
    "common_columns",
    "in_domains",
    "log_odds",
    "union_of_classes",
]

_METHODS = ("predict_proba", "decision_function", "predict")
#: share of the residuals below which two answers count as equal
_NEAR = 1e-4


@dataclass(frozen=True, eq=False)
class CommonColumns:
    """Columns in which answers of models and labels can be compared and blended.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,), default=None
        Sorted classes, one column each; None for regression.
    method : {"predict_proba", "decision_function", "predict"}, default="predict"
        What the models are asked. The answers to "predict" are values in regression,
        and one vote per sample among classes.
    absent : float, default=0.0
        Answer of a model for a class that it has not seen or does not vote for.
    n_outputs : int, default=0
        Number of columns of the labels in regression; 0 for one-dimensional labels.
    power : float, default=0.0
        Power of the Tweedie deviance by which answers are compared; 0: squared error.
    scale : ndarray of shape (n_outputs,), default=None
        Standard deviations by which the errors of several quantities are divided
        before they are added up, so that none counts for its unit; None: 1.
    """

    classes: Any = None
    method: str = "predict"
    absent: float = 0.0
    n_outputs: int = 0
    power: float = 0.0
    scale: Any = None

    def answer(
        self, model: Any, X: Any, name: str | None = None, key: Any = None
    ) -> NDArray[Any]:
        """Return the answers of a fitted model, shape (n_samples, n_columns).

        Parameters
        ----------
        model : estimator
            Fitted model.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        name : str, default=None
            What an error calls the model.
        key : hashable, default=None
            Name of the model in :meth:`calibrated`.
        """
        return self.read(self.ask(model, X, name), key)

    def read(self, values: NDArray[Any], key: int | str | None = None) -> NDArray[Any]:
        """Return comparable answers; ``values`` are those of :meth:`ask`."""
        return values

    def calibrated(self, values: Any, y: Any, sample_weight: Any = None) -> Self:
        """Return columns that know how to read what held-out samples were answered.

        Only :class:`MarginColumns` have something to learn.

        Parameters
        ----------
        values : dict of hashable to ndarray of shape (n_samples, n_columns)
            Name of a model -> its answers as :meth:`ask` gives them.
        y : ndarray of shape (n_samples,)
            Labels.
        sample_weight : ndarray of shape (n_samples,), default=None
            How many samples each of them counts for.

        Returns
        -------
        columns : CommonColumns
            The same, or a copy.
        """
        return self

    def completed(self, models: Any, X: Any) -> Self:
        """Return columns that can read models of which no sample was held out.

        Parameters
        ----------
        models : dict of hashable to estimator
            Fitted models by their names.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples, labeled or not.

        Returns
        -------
        columns : CommonColumns
            The same, or a copy.
        """
        return self

    def ask(self, model: Any, X: Any, name: Any = None) -> NDArray[Any]:
        """Return what a fitted model itself answers, (n_samples, n_columns)."""
        if self.method == "predict":
            values = np.asarray(predict_learner(model, X))
        else:
            values = np.asarray(getattr(model, self.method)(X))
        if self.classes is None:
            return self._check_values(values, model, name)
        if self.method == "predict":
            return self.code(values)
        values = values.astype(np.float64)
        if values.ndim == 1:
            values = np.column_stack([-values, values])
        return align_classes(values, model.classes_, self.classes, self.absent)

    def _check_values(
        self, values: NDArray[Any], model: Any, name: str | None
    ) -> NDArray[Any]:
        n_columns = 1 if values.ndim == 1 else values.shape[1]
        if values.dtype.kind not in "iuf" or n_columns != (self.n_outputs or 1):
            raise ValueError(
                f"{name or 'The model'} ({model!r}) predicts {n_columns} column(s) of "
                f"dtype {values.dtype}, but y has {self.n_outputs or 1} numeric "
                "column(s): give a regressor of the same outputs."
            )
        return values.reshape(len(values), n_columns).astype(np.float64)

    def answers(self, models: list[Any], X: Any, names: Any = None) -> NDArray[Any]:
        """Return the answers of fitted models, (n_models, n_samples, n_columns).

        The key of a model is its place.
        """
        names = names or [None] * len(models)
        each = [
            self.answer(model, X, name, key)
            for key, (model, name) in enumerate(zip(models, names, strict=True))
        ]
        return np.stack(each)

    def blend(self, models: list[Any], weights: Any, X: Any, keys: Any = None) -> Any:
        """Return the weighted sum of answers; a model without weight is not asked.

        The key of a model is its place, unless ``keys`` are given.
        """
        keys = range(len(models)) if keys is None else keys
        return sum(
            weight * self.answer(model, X, key=key)
            for model, weight, key in zip(models, weights, keys, strict=True)
            if weight
        )

    def code(self, y: Any) -> NDArray[Any]:
        """Return labels in these columns."""
        if self.classes is None:
            return np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        hit = np.asarray(y)[:, None] == self.classes
        return np.where(hit, 1.0, self.absent)

    def residual(self, model: Any, X: Any, y: Any) -> Any:
        """Return labels less answers, shape (n_samples, n_columns)."""
        return self.code(y) - self.answer(model, X)

    def losses(self, y: Any, residuals: Any) -> NDArray[Any]:
        """Return squared errors, or deviances, of samples: one for each residual row.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels.
        residuals : ndarray of shape (..., n_samples, n_columns)
            Labels less answers.
        """
        if not self.power:
            return np.sum(self.standardized(residuals) ** 2, axis=-1)
        coded = self.code(y)
        deviance = unit_deviance(coded, coded - residuals, self.power)
        return np.sum(deviance, axis=-1)

    def standardized(self, differences: Any) -> Any:
        """Divide differences of answers by the scale of their outputs."""
        return differences if self.scale is None else differences / self.scale

    def spread(self, y: Any, residuals: Any) -> Any:
        """Return what residuals are divided by, so that their squares sum up to losses.

        For deviances it is the root of the variance function at the mean of several
        answers, by which the sum is about the deviance; else the scale of the outputs.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels.
        residuals : ndarray of shape (n_models, n_samples, n_columns)
            Labels less answers.
        """
        if not self.power:
            return np.ones(1) if self.scale is None else self.scale
        coded = self.code(y)
        answers = np.maximum(coded - residuals, least_mean(coded))
        return np.mean(answers, axis=0) ** (self.power / 2)

    def paired(self, y: Any, residuals: Any) -> NDArray[Any]:
        r"""Return residuals of two models whose squares differ as the losses do.

        Residuals :math:`e_0, e_1` over :meth:`spread` are about that for deviances
        :math:`d_0, d_1`. With the same step :math:`s = e_0 - e_1` it is exact for
        :math:`e_0 = ((d_0 - d_1) / s + s) / 2`, so a blend and a gap of the models
        have one evidence: the best weight is above 1/2 where the gap is negative.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels.
        residuals : ndarray of shape (2, n_samples, n_columns)
            Labels less answers.
        """
        scaled = residuals / self.spread(y, residuals)
        if not self.power:
            return np.asarray(scaled)
        coded = self.code(y)
        deviance = unit_deviance(coded, coded - residuals, self.power)
        step = scaled[0] - scaled[1]
        # of nearly equal answers the quotient is rounding, and the limit is reached
        far = np.abs(step) > _NEAR * np.abs(scaled).max(axis=0)
        ratio = np.divide(
            deviance[0] - deviance[1], step, where=far, out=2 * scaled[0] - step
        )
        first = (ratio + step) / 2
        return np.stack([first, first - step])

    def decide(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn answers into predictions of the form of the labels."""
        if self.classes is not None:
            return self.classes[values.argmax(axis=1)]
        return values if self.n_outputs else values[:, 0]

    def split(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return class shares as classifiers give them: one array, or one an output."""
        return values

    def decisions(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn answers into decision values; shares of the classes into log-odds."""
        if self.absent == 0:
            return log_odds(values)
        return values[:, 1] if values.shape[1] == 2 else values


@dataclass(frozen=True, eq=False)
class MarginColumns(CommonColumns):
    r"""Class shares of classifiers that have decision values, but no probabilities.

    Decision values have no common scale, and their squared distance from -1 and 1 is
    large where a model is right by a wide margin. They are read as shares,

    .. math:: p_k(x) \propto \exp(b\, d_k(x)),

    with a slope b > 0 of each model, so with two classes :math:`\sigma(b\, d(x))`.
    The class of the largest share is the class that the model predicts. A multiple of
    the decision values changes nothing. The slope is that of
    :func:`~sktransfer._solvers.slope.fit_slope`.

    Parameters
    ----------
    slopes : dict of hashable to float
        Name of a model -> its slope; others have 2.
    """

    slopes: dict[Any, float] = field(default_factory=dict)

    def ask(self, model: Any, X: Any, name: Any = None) -> NDArray[Any]:
        """Return decision values, one column per class; -inf for unknown classes."""
        values = np.asarray(model.decision_function(X), dtype=np.float64)
        if values.ndim == 1:
            values = np.column_stack([-0.5 * values, 0.5 * values])
        return align_classes(values, model.classes_, self.classes, -np.inf)

    def read(self, values: NDArray[Any], key: int | str | None = None) -> NDArray[Any]:
        """Return class shares."""
        return softmax(self.slopes.get(key, 2.0) * values, axis=1)

    def calibrated(
        self, values: dict[Any, Any], y: Any, sample_weight: Any = None
    ) -> "MarginColumns":
        """Return columns with the slopes that held-out samples support."""
        hits = self.code(y) > 0
        slopes = {k: fit_slope(v, hits, sample_weight) for k, v in values.items()}
        return replace(self, slopes=self.slopes | slopes)

    def completed(self, models: dict[Any, Any], X: Any) -> "MarginColumns":
        """Return columns with slopes for all models, from the size of their answers."""
        slopes = {
            key: starting_slope(self.ask(model, X))
            for key, model in models.items()
            if key not in self.slopes
        }
        return replace(self, slopes=self.slopes | slopes)


@dataclass(frozen=True, eq=False)
class OutputColumns(CommonColumns):
    """Columns of classifiers with several outputs: one per output and class.

    Parameters
    ----------
    outputs : tuple of ndarray
        Sorted classes of each output. ``classes`` is a list of the same.
    """

    outputs: tuple[Any, ...] = ()

    def ask(self, model: Any, X: Any, name: Any = None) -> Any:
        """Return shares or votes of a fitted model, shape (n_samples, n_columns)."""
        if self.method == "predict":
            return self.code(np.asarray(model.predict(X)))
        parts = model.predict_proba(X)
        known = model.classes_
        if not isinstance(parts, list):  # the shares of 1 in each of 0/1 outputs
            parts = [np.column_stack([1 - p, p]) for p in np.asarray(parts).T]
            known = [np.arange(2)] * len(parts)
        aligned = [
            align_classes(np.asarray(part, dtype=np.float64), own, classes, 0.0)
            for part, own, classes in zip(parts, known, self.outputs, strict=True)
        ]
        return np.hstack(aligned)

    def code(self, y: Any) -> Any:
        """Return labels in these columns."""
        y = np.asarray(y)
        hits = [y[:, [k]] == classes for k, classes in enumerate(self.outputs)]
        return np.hstack(hits).astype(np.float64)

    def decide(self, values: Any) -> Any:
        """Turn shares into the likeliest class of each output."""
        chosen = [
            classes[part.argmax(axis=1)]
            for part, classes in zip(self.split(values), self.outputs, strict=True)
        ]
        return np.column_stack(chosen)

    def split(self, values: Any) -> Any:
        """Return the shares of each output, as classifiers of several outputs do."""
        ends = np.cumsum([len(classes) for classes in self.outputs])
        return np.split(values, ends[:-1], axis=1)

    def decisions(self, values: Any) -> Any:
        """Refuse decision values, of which several outputs have no common form."""
        raise AttributeError("classifiers of several outputs have no decision values")


class InDomains:
    """A fitted model that is asked about samples of given domains.

    Parameters
    ----------
    model : estimator
        Fitted. What of it takes ``sample_domain`` gets it; all else is asked as it is.
    sample_domain : array-like of shape (n_samples,) or int
        Domains of the samples.
    """

    def __init__(self, model: Any, sample_domain: Any) -> None:
        self.model = model
        self.sample_domain = sample_domain

    @staticmethod
    def matters(model: Any, method: str) -> bool:
        """Tell whether a method of a model, or of a step in it, takes domains."""
        return bool(routing_of(model).consumes(method, ["sample_domain"]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("model", "sample_domain"):
            raise AttributeError(name)
        value = getattr(self.model, name)
        if name not in _METHODS or not self.matters(self.model, name):
            return value

        def ask(X: Any) -> NDArray[Any]:
            with config_context(enable_metadata_routing=True):
                return value(X, sample_domain=self.sample_domain)

        return ask


def in_domains(blend: Any, names: Any, method: str, sample_domain: Any) -> Any:
    """Return a copy of a fitted blend of models that answers about given domains.

    Parameters
    ----------
    blend : estimator
        Fitted; each attribute in ``names`` is a model, or a list or dict of them.
    names : list of str
        Attributes.
    method : str
        What is asked.
    sample_domain : array-like of shape (n_samples,) or int
        Domains of the samples.

    Returns
    -------
    copy : estimator
        A shallow copy.

    Raises
    ------
    TypeError
        If no model takes domains.
    """
    asked = "predict_proba" if method == "predict_log_proba" else method
    answer = copy(blend)
    found = False
    for name in names:
        models = getattr(blend, name)
        each = models.values() if isinstance(models, dict) else models
        found = found or any(InDomains.matters(model, asked) for model in each)
        if isinstance(models, dict):
            wrapped: Any = {k: InDomains(m, sample_domain) for k, m in models.items()}
        else:
            wrapped = [InDomains(model, sample_domain) for model in models]
        setattr(answer, name, wrapped)
    if not found:
        raise TypeError(
            f"{type(blend).__name__}.{method} takes no sample_domain here: none of its "
            "models answers by domains, as a pipeline with a DomainScaler or a "
            "UOWQMultiTask does."
        )
    return answer


def _output_columns(models: Any, y: Any) -> Any:
    """Return the columns of classifiers with several outputs."""
    every = [
        np.asarray(classes)
        for model in models
        for classes in (model.classes_ if isinstance(model.classes_, list) else [])
    ]
    n_outputs = y.shape[1]
    outputs = tuple(
        np.unique(np.concatenate([np.unique(y[:, k]), *every[k::n_outputs]]))
        for k in range(n_outputs)
    )
    proba = all(hasattr(model, "predict_proba") for model in models)
    method = "predict_proba" if proba else "predict"
    return OutputColumns(list(outputs), method, n_outputs=n_outputs, outputs=outputs)


def log_odds(proba: NDArray[Any]) -> NDArray[Any]:
    """Return finite log-odds of the second of two classes, else logarithms."""
    proba = np.clip(proba, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)
    return logit(proba[:, 1]) if proba.shape[1] == 2 else np.log(proba)


def common_columns(
    models: Any, y: Any, *, classify: bool, power: float | None = None
) -> Any:
    """Return the columns of the richest answer that all models can give.

    Parameters
    ----------
    models : list of estimator
        Fitted models.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels; their classes get a column too. The scale of several quantities is
        their standard deviation.
    classify : bool
        Whether the models are classifiers.
    power : float or None, default=None
        Power of the deviance by which regressors are compared; None: squared error.

    Returns
    -------
    columns : CommonColumns
        Values for regressors; for classifiers probabilities if all models have them,
        else the shares of :class:`MarginColumns` if all have decision values, one a
        class, else votes. Classifiers of several outputs have :class:`OutputColumns`.
    """
    if not classify:
        n_outputs, scale = y.shape[1] if y.ndim == 2 else 0, None
        if n_outputs > 1 and not power:
            scale = np.std(np.asarray(y, dtype=np.float64), axis=0)
            scale[~(scale > 0)] = 1.0
        return CommonColumns(n_outputs=n_outputs, power=power or 0.0, scale=scale)
    if np.ndim(y) == 2:
        return _output_columns(models, y)
    method = next(m for m in _METHODS if all(answers_with(one, m) for one in models))
    kind = MarginColumns if method == "decision_function" else CommonColumns
    return kind(all_classes(models, y), method)


def answers_with(model: Any, method: str) -> bool:
    """Tell whether a fitted classifier has a method with one column per class."""
    if not hasattr(model, method):
        return False
    if method != "decision_function" or len(model.classes_) < 3:
        return True
    params = model.get_params() if hasattr(model, "get_params") else {}
    pairs = [value == "ovo" for name, value in params.items()
             if name.endswith("decision_function_shape")]  # fmt: skip
    return not any(pairs)


def all_classes(models: Any, y: Any = None) -> NDArray[Any]:
    """Return the classes of all models and of labels, sorted."""
    parts = [model.classes_ for model in models]
    return union_of_classes(parts if y is None else [*parts, np.unique(y)])


def union_of_classes(parts: Any) -> NDArray[Any]:
    """Return the classes of several origins, sorted.

    Parameters
    ----------
    parts : list of array-like of shape (n_classes,)
        Classes of each origin.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        All of them.

    Raises
    ------
    ValueError
        If some are text and some are not, which NumPy would turn into text.
    """
    parts = [np.asarray(part) for part in parts]
    is_text = {isinstance(one, str) for part in parts for one in part.tolist()}
    if len(is_text) > 1:
        shown = " and ".join(str(part.tolist()[:5]) for part in parts[:5])
        raise ValueError(
            f"The classes of models and labels are text and numbers ({shown}): give "
            "all of them as one kind."
        )
    return np.unique(np.concatenate(parts))


def align_classes(
    values: NDArray[Any], known: NDArray[Any], classes: NDArray[Any], absent: float
) -> NDArray[Any]:
    """Put columns of ``known`` classes where ``classes`` has them; drop the others."""
    known = np.asarray(known)
    if values.ndim != 2 or values.shape[1] != len(known):
        raise ValueError(
            f"A model answers with shape {values.shape}, but knows {len(known)} "
            f"classes ({known.tolist()}): each of its classes_ needs a column."
        )
    if np.array_equal(known, classes):
        return values
    shared = np.isin(known, classes)
    aligned = np.full((len(values), len(classes)), absent, dtype=values.dtype)
    aligned[:, np.searchsorted(classes, known[shared])] = values[:, shared]
    return aligned


def class_of_each(y: Any) -> Any:
    """Return the class of each sample; of several outputs their combination.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Classes, none missing.

    Returns
    -------
    classes : ndarray of shape (n_samples,)
        ``y`` itself, or a number for each combination.
    """
    if y.ndim == 1:
        return y
    codes = [np.unique(output, return_inverse=True)[1] for output in y.T]
    return np.unique(np.column_stack(codes), axis=0, return_inverse=True)[1].ravel()
