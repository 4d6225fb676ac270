r"""The pair :math:`\theta(S,T)` and :math:`\theta(0,T)`, fitted once or out of fold.

Whoever compares an estimator with itself without the sources asks here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._deviance import without_exposure
from sktransfer._domains import labels_checked_before, take_rows
from sktransfer._learners import fit_learner, name_samples
from sktransfer._progress import run_task
from sktransfer.base import (
    consumes_sample_domain,
    fit_on_domains,
    get_transfer_tags,
    slice_params,
    with_budget_of,
    without_sources,
)

#: least target rows from which transformers of a pipeline are fitted once for all folds
LEAST_SHARED = 1000
#: rooms of scikit-learn whose transformers, if they do not require labels, ignore them
_LABEL_FREE = (
    "sklearn.decomposition",
    "sklearn.impute",
    "sklearn.kernel_approximation",
    "sklearn.preprocessing",
    "sklearn.random_projection",
)
#: metadata for those who look at units or pairs
_OPTIONAL = {"groups", "sample_pair"}


def check_pair(estimator: Any, target_estimator: Any = None) -> Any:
    """Check what is to be compared and return the unfitted theta(0,T).

    Parameters
    ----------
    estimator : estimator
        It must take `sample_domain`.
    target_estimator : estimator, default=None
        What to compare with; None: ``estimator`` without its sources.

    Returns
    -------
    baseline : estimator
        An unfitted copy without source models.
    """
    check_knows_domains(estimator)
    other = target_estimator
    if other is not None and is_classifier(other) != is_classifier(estimator):
        raise TypeError(
            f"target_estimator={other!r} and estimator={estimator!r} must both be "
            "classifiers or both be regressors."
        )
    return without_sources(estimator if other is None else other)


def check_knows_domains(estimator: Any) -> None:
    """Refuse an estimator to which ``sample_domain`` would be lost."""
    if not consumes_sample_domain(estimator):
        get_transfer_tags(estimator)
        raise TypeError(
            f"The last step of estimator={estimator!r} does not take sample_domain; "
            "wrap it, e.g. in Pooled of sktransfer.baselines."
        )


def takes_unlabeled_sources(estimator: Any) -> bool:
    """Tell whether labels of source samples may be missing."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    tags = getattr(get_tags(last), "transfer_tags", None)
    return tags is not None and tags.unlabeled_sources


class Prepared(NamedTuple):
    """An unfitted estimator that holds what its fit shares with others.

    Attributes
    ----------
    estimator : estimator
        It is fitted once.
    """

    estimator: Any


class Fitted(NamedTuple):
    """An estimator that is fitted already.

    Attributes
    ----------
    estimator : estimator
        What a fit would return.
    """

    estimator: Any


class Refit(NamedTuple):
    """An estimator that is fitted to all rows, of which each fold has some.

    Attributes
    ----------
    estimator : estimator
        It has a method ``fit_of_fold``.
    """

    estimator: Any


class PreparedPipeline:
    """A pipeline whose transformers are fitted, once for several fits of its end.

    Parameters
    ----------
    steps : list of (str, estimator)
        The fitted transformers.
    name : str
        Name of the last step.
    last : estimator, Prepared, Fitted or Refit
        The last step.
    data : DomainData
        The rows of this fit behind the transformers.
    """

    def __init__(self, steps: Any, name: str, last: Any, data: Any) -> None:
        self.steps, self.name, self.last, self.data = steps, name, last, data

    def train_as_long_as_on(self, data: Any) -> None:
        """Give the last step, if it counts passes, the budget of these samples."""
        if not isinstance(self.last, Prepared | Fitted | Refit):
            self.last = with_budget_of(self.last, data)

    def fit(self, params: dict[str, Any]) -> Any:
        """Return the fitted pipeline; ``params`` are metadata of its rows."""
        last = fit_transfer(self.last, self.data, params)
        return Pipeline([*self.steps, (self.name, last)])


def fit_transfer(estimator: Any, data: Any, params: dict[str, Any]) -> Any:
    r"""Fit a clone on all rows: :math:`\theta(S,T)`.

    Parameters
    ----------
    estimator : estimator, or one of the above
        It takes `sample_domain`. A prepared one is fitted itself, not a clone.
    data : DomainData
        Rows of sources and target.
    params : dict
        Metadata for ``fit``, one entry per row. ``groups`` are handed on only to an
        estimator that requests them.

    Returns
    -------
    estimator : estimator
        The fitted clone.
    """
    if isinstance(estimator, Fitted):
        return estimator.estimator
    if isinstance(estimator, Refit):
        return estimator.estimator.fit_of_fold(data, _weights_alone(params))
    if isinstance(estimator, PreparedPipeline):
        return estimator.fit(params)
    fresh = estimator.estimator if isinstance(estimator, Prepared) else clone(estimator)
    params = handed_on(fresh, params)
    if data.n_source or not data.labeled.all():
        return fit_on_domains(fresh, data, **params)
    # labels at face value: -1 may be a class here
    with config_context(enable_metadata_routing=True), labels_checked_before():
        return fresh.fit(data.X, data.labels(data.labeled), **params)


def fit_target_only(baseline: Any, data: Any, params: dict[str, Any]) -> Any:
    r"""Fit a clone without the source rows: :math:`\theta(0,T)`.

    Parameters
    ----------
    baseline : estimator
        What :func:`check_pair` returns. One without `sample_domain` gets the labeled
        target rows, any other all target rows. What counts passes over its samples
        trains as long as on all of them.
    data : DomainData
        Rows of sources and target.
    params : dict
        Metadata for ``fit``, one entry per row.

    Returns
    -------
    estimator : estimator
        The fitted clone.
    """
    if isinstance(baseline, Fitted):
        return baseline.estimator
    if isinstance(baseline, Refit):
        rows = data.is_target
        return fit_transfer(baseline, data.take(rows), slice_params(params, rows))
    if isinstance(baseline, PreparedPipeline):
        return baseline.fit(slice_params(params, data.is_target))
    baseline = with_budget_of(baseline, data)
    if consumes_sample_domain(baseline):
        rows = data.is_target
        return fit_transfer(baseline, data.take(rows), slice_params(params, rows))
    rows = data.is_labeled_target
    params = slice_params(handed_on(baseline, params), rows)
    samples = name_samples(data, rows)
    y, params = without_exposure(data.y_labeled, params, baseline)
    return fit_learner(baseline, data.X_labeled, y, samples=samples, **params)


def prepare_folds(
    estimator: Any, data: Any, folds: Any, params: dict[str, Any]
) -> list[Any]:
    """Return one fitter for all rows and one per fold, which share what they can.

    An estimator with a method ``prepare_folds(data, folds, params)`` computes there
    what its fits on all rows and on the training parts have in common, and returns a
    list of unfitted clones that hold it: for all rows, then for each fold. One whose
    ``leaves_out(n_samples)`` is true, such as ridge regression in ``Pooled``, is fitted
    here by ``fit_with_folds(data, folds, params)`` on all rows and, if they follow from
    that, on the folds; otherwise each fold has a fit of its own by ``fit_of_fold``. Of
    a pipeline transformers that see no label of the target are fitted once on all rows
    if there are ``LEAST_SHARED`` target rows or more: the few rows that a fold leaves
    out, without their labels, are then among those that they are fitted on. Every other
    estimator is fitted from scratch.

    Parameters
    ----------
    estimator : estimator
        It takes `sample_domain`.
    data : DomainData
        Rows of sources and target.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    params : dict
        Metadata for ``fit``, one entry per row.

    Returns
    -------
    prepared : list of estimator, Prepared, Fitted or Refit
        ``len(folds) + 1`` of them for :func:`fit_transfer`.
    """
    prepared = None
    if folds and type(estimator) is Pipeline:  # a subclass may fit in its own way
        prepared = _prepare_pipeline(estimator, data, folds, params)
    elif folds and hasattr(estimator, "prepare_folds"):
        prepared = estimator.prepare_folds(data, folds, params)
        prepared = None if prepared is None else [Prepared(one) for one in prepared]
    elif folds and leaves_out(estimator, data):
        prepared = _prepare_linear(estimator, data, folds, params)
    return [estimator] * (len(folds) + 1) if prepared is None else prepared


def prepare_target_only(
    baseline: Any, data: Any, folds: Any, params: dict[str, Any]
) -> list[Any]:
    r"""Return one fitter of :math:`\theta(0,T)` for all rows and one per fold.

    Parameters
    ----------
    baseline : estimator
        What :func:`check_pair` returns.
    data : DomainData
        Rows of sources and target.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    params : dict
        Metadata for ``fit``, one entry per row.

    Returns
    -------
    prepared : list of estimator or PreparedPipeline
        ``len(folds) + 1`` of them for :func:`fit_target_only`.
    """
    prepared = None
    pipeline = folds and type(baseline) is Pipeline and consumes_sample_domain(baseline)
    linear = folds and leaves_out(baseline, data)
    if pipeline or linear:
        # what a linear model learns without sources are labeled rows alone
        rows = data.is_target if pipeline else data.is_labeled_target
        parts = [
            (np.flatnonzero(data.mask_of(train)[rows]), None) for train, _ in folds
        ]
        prepare = _prepare_pipeline if pipeline else _prepare_linear
        prepared = prepare(baseline, data.take(rows), parts, slice_params(params, rows))
        if linear and prepared is not None:
            everyone: Any = prepared[0]
            everyone.estimator._restore_rows(data, data.labeled[data.is_target])
    if pipeline and prepared is not None:
        everyone = [data, *(data.take(train) for train, _ in folds)]
        for fitter, rows in zip(prepared, everyone, strict=True):
            fitter.train_as_long_as_on(rows)
    return [baseline] * (len(folds) + 1) if prepared is None else prepared


def leaves_out(estimator: Any, data: Any) -> bool:
    """Tell whether the fits on folds follow from the fit on all rows.

    Parameters
    ----------
    estimator : estimator
        Unfitted.
    data : DomainData
        Rows of sources and target.

    Returns
    -------
    leaves_out : bool
        False also for estimators without a method of this name.
    """
    tells = getattr(estimator, "leaves_out", None)
    if tells is None or getattr(data.X, "ndim", 2) != 2:  # its own fit refuses these
        return False
    return bool(tells(len(data.sample_domain)))


def _prepare_linear(estimator: Any, data: Any, folds: Any, params: Any) -> Any:
    """Return an estimator fitted on all rows, and what the folds make of it."""
    weight = params.get("sample_weight")
    if weight is not None and not (np.asarray(weight, dtype=np.float64) > 0).all():
        return None  # its fit on all rows has other rows than the folds
    if set(params) - {"groups", "sample_weight"}:
        return None
    weights = _weights_alone(params)
    model, others = estimator.fit_with_folds(data, folds, weights)
    if others is None:
        return [Fitted(model), *[Refit(model)] * len(folds)]
    return list(map(Fitted, [model, *others]))


def _weights_alone(params: Any) -> Any:
    return {k: v for k, v in params.items() if k == "sample_weight" and v is not None}


def _prepare_pipeline(
    pipeline: Any, data: Any, folds: list[Any], params: dict[str, Any]
) -> list[PreparedPipeline] | None:
    """Return prepared pipelines; None where nothing can be shared."""
    *head, (name, last) = pipeline.steps
    shared = (
        int(data.is_target.sum()) >= LEAST_SHARED
        and set(params) <= {"groups"}
        and pipeline.memory is None
        and hasattr(last, "fit")
        and all(map(_sees_no_target_label, (step for _, step in head)))
    )
    if not shared:
        return None
    steps, X = [], data.X
    for label, step in head:
        fitted = step
        if hasattr(step, "fit"):
            fitted, X = _fit_transform(clone(step), data.with_X(X))
        steps.append((label, fitted))
    data = data.with_X(X)
    ends = prepare_folds(last, data, folds, params)
    rows = [data, *(data.take(train) for train, _ in folds)]
    return [
        PreparedPipeline(steps, name, end, part)
        for end, part in zip(ends, rows, strict=True)
    ]


def _fit_transform(step: Any, data: Any) -> tuple[Any, NDArray[Any]]:
    if not consumes_sample_domain(step):
        return step, step.fit_transform(data.X)
    with config_context(enable_metadata_routing=True), labels_checked_before():
        X = step.fit_transform(data.X, data.y, sample_domain=data.sample_domain)
    return step, X


def _sees_no_target_label(step: Any) -> bool:
    """Tell whether a step of a pipeline learns nothing from labels of the target."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return True
    if not hasattr(step, "__sklearn_tags__"):
        return False
    tags = get_tags(step)
    transfer = getattr(tags, "transfer_tags", None)
    if transfer is not None:
        return transfer.target_labels == "unused" and hasattr(step, "fit_transform")
    return type(step).__module__.startswith(_LABEL_FREE) and not (
        tags.target_tags.required
    )


def cross_fit(
    estimator: Any,
    baseline: Any,
    data: Any,
    folds: Any,
    measure: Any,
    *,
    params: dict[str, Any],
    n_jobs: int | None = None,
    prepared: Any = None,
    tasks: Any = None,
    alone: Any = None,
) -> list[Any]:
    """Fit the pair on the training part of every fold and measure it on the test part.

    Parameters
    ----------
    estimator, baseline : estimator
        The pair, unfitted.
    data : DomainData
        Rows of sources and target.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    measure : callable
        ``measure((target_only, transfer), X, y, sample_weight)`` of the test rows.
    params : dict
        Metadata for ``fit``, one entry per row; ``sample_weight`` is handed to
        `measure`, too.
    n_jobs : int, default=None
        Number of folds that are fitted in parallel.
    prepared : list of estimator, default=None
        Of :func:`prepare_folds`, if they are there already.
    alone : list of estimator, default=None
        Of :func:`prepare_target_only`, if they are there already.
    tasks : list, default=None
        Tasks of a :class:`~sktransfer._progress.Stage`, one for each fold.

    Returns
    -------
    results : list
        What `measure` returns, fold by fold.
    """
    if prepared is None:
        prepared = prepare_folds(estimator, data, folds, params)
    if alone is None:
        alone = prepare_target_only(baseline, data, folds, params)
    tasks = [None] * len(folds) if tasks is None else tasks
    calls = [
        (task, _fit_and_measure, fitter, other, estimator, data, *fold, measure, params)
        for task, fitter, other, fold in zip(
            tasks, prepared[1:], alone[1:], folds, strict=True
        )
    ]
    if all(isinstance(one, Fitted) for one in (*prepared[1:], *alone[1:])):
        return [run_task(*call) for call in calls]  # nothing is left to be fitted
    return Parallel(n_jobs=n_jobs)(delayed(run_task)(*call) for call in calls)


def _fit_and_measure(
    fitter: Any,
    baseline: Any,
    estimator: Any,
    data: Any,
    train: NDArray[Any],
    test: NDArray[Any],
    measure: Callable[..., Any],
    params: dict[str, Any],
) -> Any:
    rows: Any = None
    handed: Any = None
    if not (isinstance(fitter, Fitted) and isinstance(baseline, Fitted)):
        rows, handed = data.take(train), slice_params(params, data.mask_of(train))
    pair = (
        fit_target_only(baseline, rows, handed),
        fit_transfer(fitter, rows, handed),
    )
    y, weight = labels_to_score(estimator, data, data.mask_of(test), params)
    return measure(pair, take_rows(data.X, test), y, weight)


def labels_to_score(
    estimator: Any, data: Any, rows: NDArray[np.bool_], params: dict[str, Any]
) -> tuple[NDArray[Any], Any]:
    """Return labels and weights of rows (a mask): rates where there are exposures."""
    held_out = slice_params(params, rows)
    y, held_out = without_exposure(data.labels(rows), held_out, estimator)
    weight = held_out.get("sample_weight")
    return y, None if weight is None else np.asarray(weight, dtype=np.float64)


def handed_on(estimator: Any, params: dict[str, Any]) -> dict[Any, Any]:
    """Return metadata for the fit of an estimator: some only if it requests them."""
    if not _OPTIONAL & params.keys():
        return params
    with config_context(enable_metadata_routing=True):
        routing = get_routing_for_object(estimator)
        lost = {
            n for n in _OPTIONAL & params.keys() if not routing.consumes("fit", [n])
        }
    return {name: value for name, value in params.items() if name not in lost}
