"""Source models: given fitted or fitted on source rows, and mixtures of them."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import HasMethods
from sktransfer._domains import source_id, take_rows
from sktransfer._learners import fit_or_constant, has_method, predict_learner
from sktransfer._response import CommonColumns, all_classes
from sktransfer._solvers.simplex_qp import simplex_least_squares
from sktransfer._source_summary import SourceSummary
from sktransfer.base import TransferMetaEstimator, missing_hook, slice_params
from sktransfer.exceptions import warn

__all__ = [
    "SourceModelCombiner",
    "SourceModelsMixin",
    "check_has_proba",
    "check_source_models",
    "fit_domain",
    "fit_simplex_weights",
    "fit_source_models",
    "fit_sources",
    "given_entries",
    "given_models",
    "is_fitted",
    "known_columns",
    "listed_models",
    "mixture",
    "models_or_rows",
    "warn_unless_converged",
]


class SourceModelsMixin:
    """Keep the parameter ``source_models``: one model or learner, or a list of them.

    A fitted model is data, so a clone keeps it as it is, bare, in a ``FrozenEstimator``
    or as its ``SourceSummary``; a learner is cloned. Only a parameter grid clones its
    values before they get here: there fitted models need a ``FrozenEstimator`` each.
    """

    source_models: Any

    _source_models_constraints: ClassVar[dict[str, Any]] = {
        "source_models": [HasMethods(["predict"]), SourceSummary, list, tuple, None]
    }

    def without_sources(self) -> Any:
        r"""Return the unfitted :math:`\theta(0,T)`: a copy without fitted models.

        Returns
        -------
        target_only : estimator
            The same algorithm; learners that wait for source rows stay.
        """
        copy, given = clone(self), self.source_models
        learners = [m for m in listed_models(given) if not is_fitted(m)]
        learners = [clone(learner, safe=False) for learner in learners]
        single = not isinstance(given, list | tuple)
        copy.source_models = learners[0] if learners and single else learners or None
        return copy

    def __sklearn_clone__(self) -> Any:
        copy, given = super().__sklearn_clone__(), self.source_models  # type: ignore[misc]
        if isinstance(given, list | tuple):
            copy.source_models = type(given)(
                model if is_fitted(model) else clone(model, safe=False)
                for model in given
            )
        elif given is not None and is_fitted(given):
            copy.source_models = given
        return copy


def listed_models(source_models: Any) -> list[Any]:
    """Return the models and learners of the parameter ``source_models`` as a list.

    A ``SourceSummary`` becomes the linear model that it describes.
    """
    if source_models is None:
        return []
    if not isinstance(source_models, list | tuple):
        source_models = [source_models]
    return [
        entry.to_estimator() if isinstance(entry, SourceSummary) else entry
        for entry in source_models
    ]


def given_entries(source_models: Any) -> list[Any]:
    """Return the entries of ``source_models``; an empty list carries no information."""
    entries = listed_models(source_models)
    if source_models is not None and not entries:
        raise ValueError("source_models is empty: give models, or None.")
    return entries


def is_fitted(model: Any) -> bool:
    """Tell a fitted model (anything that can only predict is one) from a learner."""
    if not (hasattr(model, "fit") and hasattr(model, "__sklearn_tags__")):
        return True
    if isinstance(model, type):
        return False
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def _unfrozen(model: Any) -> Any:
    """Take a model out of its ``FrozenEstimator``."""
    return model.estimator if isinstance(model, FrozenEstimator) else model


def check_source_models(
    models: Any,
    *,
    owner: Any,
    n_features: int | None,
    method: str = "predict",
    learners: bool = False,
) -> None:
    """Refuse entries of ``source_models`` that cannot serve, before any work starts.

    Parameters
    ----------
    models : list
        Models and learners.
    owner : estimator
        The estimator that takes them: classifier or regressor.
    n_features : int or None
        Number of features of the target rows; None if they have no such number.
    method : str, default="predict"
        What the owner asks the models.
    learners : bool, default=False
        Whether unfitted entries are welcome: the owner fits them on source rows.

    Raises
    ------
    TypeError
        If an entry lacks the method, or is a classifier where a regressor is needed
        or the other way round.
    ValueError
        If a model was fitted on another number of features, or on others by name.
    NotFittedError
        If an entry is not fitted and cannot be.
    """
    name = type(owner).__name__
    for i, model in enumerate(models):
        entry = f"source_models[{i}]={model!r}"
        if isinstance(model, type) or not hasattr(model, "predict"):
            raise TypeError(
                f"source_models[{i}] must be a model with predict, got {model!r} of "
                f"type {type(model).__name__}."
            )
        kind = _kind(model)
        if is_classifier(owner) and kind == "regressor":
            raise TypeError(
                f"{entry} is a regressor, but {name} is a classifier here: give a "
                "classifier."
            )
        if is_regressor(owner) and kind == "classifier":
            raise TypeError(
                f"{entry} is a classifier, but {name} is a regressor here: give a "
                "regressor."
            )
        fitted = is_fitted(model)
        if not fitted and (not learners or isinstance(model, FrozenEstimator)):
            raise NotFittedError(
                f"{entry} is not fitted, but {name} takes it as it is. If it was "
                "fitted, a clone has lost that, as in a parameter grid: give "
                "FrozenEstimator(model)."
            )
        if not hasattr(model, method):
            raise TypeError(f"{entry} has no {method}, which {name} needs of it.")
        if fitted:
            _check_features(entry, model, owner, n_features)


def _check_features(entry: str, model: Any, owner: Any, n_features: int | None) -> None:
    """Refuse a model of features that the owner's samples do not have."""
    known = getattr(model, "feature_names_in_", None)
    names = getattr(owner, "feature_names_in_", None)
    if known is not None and names is not None:
        lacking = [name for name in known if name not in set(names)]
        if lacking:
            raise ValueError(
                f"{entry} was fitted on the features {lacking}, which X lacks."
            )
        if _selects_columns(model):
            return
    seen = getattr(model, "n_features_in_", None)
    if None not in (seen, n_features) and seen != n_features:
        raise ValueError(
            f"{entry} was fitted on {seen} features, but X has {n_features}: give a "
            "model of the same features, or a pipeline that starts with the selection "
            "of its features."
        )


def _selects_columns(model: Any) -> bool:
    """Tell whether a model picks its columns from a frame by their names."""
    model = _unfrozen(model)
    if isinstance(model, Pipeline):
        return _selects_columns(model.steps[0][1])
    return isinstance(model, ColumnTransformer)


def _kind(model: Any) -> str | None:
    """Return "classifier", "regressor" or None; a model need not be scikit-learn's."""
    return (
        get_tags(model).estimator_type if hasattr(model, "__sklearn_tags__") else None
    )


def fit_domain(
    learner: Any, data: Any, rows: NDArray[np.bool_], fit_params: dict[str, Any]
) -> Any:
    """Fit a clone to some labeled rows; one class only gives a constant model."""
    X, y = take_rows(data.X, rows), data.labels(rows)
    with config_context(skip_parameter_validation=False):
        return fit_or_constant(learner, X, y, **slice_params(fit_params, rows))


def fit_source_models(
    learner: Any, data: Any, fit_params: dict[str, Any], n_jobs: int | None = None
) -> list[Any]:
    """Fit one clone of ``learner`` to the rows of every source."""
    return Parallel(n_jobs=n_jobs)(
        delayed(fit_domain)(learner, data, data.rows_of(source), fit_params)
        for source in data.sources
    )


def fit_sources(
    source_models: Any, data: Any, fit_params: dict[str, Any] | None = None
) -> tuple[list[Any], Any]:
    """Return the fitted models of ``source_models``, with a name for each.

    Parameters
    ----------
    source_models : list
        Fitted models are taken as they are; a clone of every learner is fitted on
        the rows of each source; a classifier on one class gives a constant model.
    data : DomainData
        Rows of every domain.
    fit_params : dict, default=None
        Metadata for the learners, one entry per row of ``data``.

    Returns
    -------
    models : list of estimator
        The fitted models: the given ones first, then learner by learner and source
        by source.
    names : list of str
        ``"source_models[i]"`` for a given model; the domain id for a fitted one, with
        the position of the learner where there are several.
    """
    given = [(i, model) for i, model in enumerate(source_models) if is_fitted(model)]
    learners = [(i, m) for i, m in enumerate(source_models) if not is_fitted(m)]
    models = [model for _, model in given]
    names = [f"source_models[{i}]" for i, _ in given]
    for i, learner in learners:
        models += fit_source_models(learner, data, fit_params or {})
        suffix = f" (source_models[{i}])" if len(learners) > 1 else ""
        names += [f"{domain}{suffix}" for domain in data.sources]
    return models, names


def models_or_rows(
    estimator: Any, data: Any, fit_params: dict[str, Any], *, method: str = "predict"
) -> tuple[list[Any], NDArray[Any]]:
    """Return fitted models given to an estimator, or one per source, and their ids.

    Parameters
    ----------
    estimator : estimator
        It has ``source_models``, which take the place of source rows, ``estimator``,
        which is fitted on each source where there is none, and ``n_jobs``.
    data : DomainData
        Rows of every domain.
    fit_params : dict
        Metadata for the learner, one entry per row of ``data``.
    method : str, default="predict"
        What the models are asked.

    Returns
    -------
    models : list of estimator
        The fitted models.
    ids : ndarray of shape (n_models,)
        Ids of the sources; of given models their positions 1, 2, ...
    """
    if estimator.source_models is None:
        learner = estimator.estimator
        models = fit_source_models(learner, data, fit_params, estimator.n_jobs)
        return models, data.sources
    models = given_models(estimator, data, method=method)
    return models, np.array([source_id(k) for k in range(len(models))])


def given_models(estimator: Any, data: Any, *, method: str = "predict") -> list[Any]:
    """Return the models of an estimator whose ``source_models`` replace source rows."""
    models = given_entries(estimator.source_models)
    if data.n_source:
        raise ValueError(
            "source_models takes the place of source rows, but sample_domain names "
            f"{len(data.sources)} sources. Give one of the two."
        )
    n_features = getattr(estimator, "n_features_in_", None)
    check_source_models(models, owner=estimator, n_features=n_features, method=method)
    return [_unfrozen(model) for model in models]


class SourceModelCombiner(SourceModelsMixin, TransferMetaEstimator):
    """Template of classifiers that combine source models, given or fitted here.

    The hook ``_combine_models(models, data, fit_params)`` sets ``source_weights_`` and
    returns the fitted ``estimator_``. Without sources that is the fit on the labeled
    target rows.
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        **SourceModelsMixin._source_models_constraints,
        "n_jobs": [Integral, None],
    }

    def __init__(
        self, estimator: Any, *, source_models: Any = None, n_jobs: int | None = None
    ) -> None:
        super().__init__(estimator)
        self.source_models = source_models
        self.n_jobs = n_jobs

    def _combine_models(self, models: Any, data: Any, fit_params: Any) -> Any:
        """Return the fitted combination of at least one model."""
        raise missing_hook(self, "_combine_models(models, data, fit_params)")

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        check_has_proba(self.estimator, type(self).__name__)
        models, self.source_ids_ = models_or_rows(
            self, data, fit_params, method="predict_proba"
        )
        self.source_weights_ = np.ones(len(models))
        if not models:
            return fit_domain(self.estimator, data, data.is_labeled_target, fit_params)
        return self._combine_models(models, data, fit_params)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.source_free = True
        tags.transfer_tags.regression = False
        return tags


def check_has_proba(estimator: Any, name: str) -> None:
    """Refuse a learner that gives no class probabilities."""
    if is_regressor(estimator):
        raise TypeError(
            f"{name} is for classification, but estimator="
            f"{type(estimator).__name__}(...) is a regressor."
        )
    if not has_method(estimator, "predict_proba"):
        raise TypeError(
            f"estimator={type(estimator).__name__}(...) has no predict_proba, which "
            f"{name} combines. Use a learner that has, or CalibratedClassifierCV."
        )


def known_columns(data: Any, classes: Any) -> Any:
    """Return positions of the target rows with a label in ``classes``, and its column.

    Parameters
    ----------
    data : DomainData
        Rows of every domain.
    classes : ndarray of shape (n_classes,)
        Classes of the models, sorted.

    Returns
    -------
    positions, columns : ndarray of shape (n_known,)
        Positions among the target rows; columns of their labels.
    """
    labeled = data.labeled[data.is_target]
    if not labeled.any():
        return np.flatnonzero(labeled), np.zeros(0, dtype=int)
    y = data.y_labeled
    seen = np.isin(y, classes)
    positions = np.flatnonzero(labeled)[seen]
    return positions, np.searchsorted(classes, y[seen])


def fit_simplex_weights(
    columns: NDArray[Any], goal: NDArray[Any], solver: Any = "auto"
) -> NDArray[Any]:
    """Return the weights of ``simplex_least_squares``; warn if it did not converge."""
    weights, info = simplex_least_squares(columns, goal, solver=solver)
    warn_unless_converged(info)
    return weights


def warn_unless_converged(info: Any) -> None:
    """Warn with the residual of weights of source models that are not optimal."""
    if not info.converged:
        warn(
            "The weights of the source models did not converge: KKT residual "
            f"{info.kkt_residual:.2g} after {info.n_iter} iterations.",
            ConvergenceWarning,
        )


class ProbaClassifier(ClassifierMixin, BaseEstimator):
    """Predict the class of the largest probability."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the classes of rows."""
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]


class ClassifierMixture(ProbaClassifier):
    """Weighted mean of the class probabilities of fitted models."""

    def __init__(self, models: list[Any], weights: NDArray[Any]) -> None:
        self.models = models
        self.weights = weights
        self.classes_ = all_classes(models)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict the mixture of the probabilities."""
        columns = CommonColumns(self.classes_, "predict_proba")
        return columns.blend(self.models, self.weights, X)


class RegressorMixture(RegressorMixin, BaseEstimator):
    """Weighted mean of the predictions of fitted models."""

    def __init__(self, models: list[Any], weights: NDArray[Any]) -> None:
        self.models = models
        self.weights = weights

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the mixture of the predictions."""
        return sum(
            weight * predict_learner(model, X)
            for model, weight in zip(self.models, self.weights, strict=True)
        )


def mixture(estimator: Any, models: list[Any], weights: NDArray[Any]) -> Any:
    """Mix fitted models by the type of their learner."""
    kind = RegressorMixture if is_regressor(estimator) else ClassifierMixture
    return kind(models, weights)
