"""Source hypotheses: models that are given fitted, or fitted on source rows."""

import warnings

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from sktransfer._solvers.simplex_qp import simplex_least_squares
from sktransfer.base import fit_or_constant, slice_params


class SourceModelsMixin:
    """Keep the parameter ``source``: models or learners, one or a list of them."""

    def without_sources(self):
        r"""Return the unfitted :math:`\theta(0,T)`: a copy without fitted models.

        Returns
        -------
        target_only : estimator
            The same algorithm; learners that wait for source rows stay.
        """
        copy = clone(self)
        learners = [clone(m) for m in as_list(self.source) if not is_fitted(m)]
        single = not isinstance(self.source, list | tuple)
        source = learners[0] if learners and single else learners or None
        return copy.set_params(source=source)

    def __sklearn_clone__(self):
        # a fitted source model is data: a clone that forgot it would transfer nothing
        copy = super().__sklearn_clone__()
        if isinstance(self.source, list | tuple):
            copy.source = [m if is_fitted(m) else clone(m) for m in self.source]
        elif self.source is not None and is_fitted(self.source):
            copy.source = self.source
        return copy


def as_list(source):
    """Return the models or learners of the parameter ``source`` as a list."""
    if source is None:
        return []
    return list(source) if isinstance(source, list | tuple) else [source]


def is_fitted(model):
    """Tell a fitted model (anything that can only predict is one) from a learner."""
    if not (hasattr(model, "fit") and hasattr(model, "__sklearn_tags__")):
        return True
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def check_sources(source, n_features):
    """Refuse entries of ``source`` that cannot predict rows of ``n_features``.

    Parameters
    ----------
    source : list
        Models and learners.
    n_features : int
        Number of features of the target rows.

    Raises
    ------
    TypeError
        If an entry has no ``predict``.
    ValueError
        If a model was fitted on another number of features.
    """
    for i, model in enumerate(source):
        if isinstance(model, type) or not hasattr(model, "predict"):
            raise TypeError(
                f"source[{i}] must be a model with predict, got {model!r} of type "
                f"{type(model).__name__}."
            )
        seen = getattr(model, "n_features_in_", n_features)
        if is_fitted(model) and seen != n_features:
            raise ValueError(
                f"source[{i}]={model!r} was fitted on {seen} features, but X has "
                f"{n_features}: give a model of the same features, or a pipeline that "
                "starts with the selection of its features."
            )


def fit_sources(source, data, fit_params=None):
    """Return the fitted models of ``source``, with a name for each.

    Parameters
    ----------
    source : list
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
        ``"source[i]"`` for a given model; the domain id for a fitted one, with the
        position of the learner where there are several.
    """
    given = [(i, model) for i, model in enumerate(source) if is_fitted(model)]
    learners = [(i, model) for i, model in enumerate(source) if not is_fitted(model)]
    models = [model for _, model in given]
    names = [f"source[{i}]" for i, _ in given]
    for i, learner in learners:
        for domain, X, y in data.each_source():
            params = slice_params(fit_params or {}, data.rows_of(domain))
            with config_context(skip_parameter_validation=False):
                models.append(fit_or_constant(learner, X, y, **params))
            suffix = f" (source[{i}])" if len(learners) > 1 else ""
            names.append(f"{domain}{suffix}")
    return models, names


def predict_columns(models, names, X, n_outputs):
    """Return the numeric predictions of models, shape (n_models, n, n_outputs).

    Raises
    ------
    ValueError
        If a model predicts no numbers or another number of outputs.
    """
    stacked = np.empty((len(models), X.shape[0], n_outputs))
    for k, (model, name) in enumerate(zip(models, names, strict=True)):
        predicted = np.asarray(model.predict(X))
        columns = 1 if predicted.ndim == 1 else predicted.shape[1]
        if predicted.dtype.kind not in "iuf" or columns != n_outputs:
            raise ValueError(
                f"The source hypothesis {name} ({model!r}) predicts {columns} "
                f"column(s) of dtype {predicted.dtype}, but y has {n_outputs} numeric "
                "column(s): give a regressor of the same outputs."
            )
        stacked[k] = predicted.reshape(X.shape[0], n_outputs)
    return stacked


def fit_simplex_weights(columns, goal, solver="auto"):
    """Return the weights of ``simplex_least_squares``; warn if it did not converge."""
    weights, info = simplex_least_squares(columns, goal, solver=solver)
    warn_unless_converged(info)
    return weights


def warn_unless_converged(info):
    """Warn with the residual of weights of source models that are not optimal."""
    if not info.converged:
        warnings.warn(
            "The weights of the source models did not converge: KKT residual "
            f"{info.kkt_residual:.2g} after {info.n_iter} iterations.",
            ConvergenceWarning,
            stacklevel=2,
        )
