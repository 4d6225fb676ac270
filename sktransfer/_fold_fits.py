"""Learners whose fits without some rows follow from the fit on all rows."""

from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special
from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer._solvers.without_rows import (
    MOST_NUMBERS,
    logistic_without,
    ridge_without,
)

#: most parameters of a logistic regression whose Newton steps are worth their matrices
_MOST_PARAMETERS = 300
#: how much closer than asked the held-out fits of a logistic regression are solved
_CLOSER = 0.1
#: least number of samples from which the folds of a logistic regression follow from
#: one fit, although its ``tol`` leaves every fit open
_LEAST_FOLLOWED = 1000
#: most folds whose answers to a table are computed together
_MOST_TOGETHER = 50


def is_known(learner: Any) -> bool:
    """Tell whether a learner answers by its coefficients alone.

    Parameters
    ----------
    learner : estimator
        Fitted or not.

    Returns
    -------
    known : bool
        True for :class:`~sklearn.linear_model.Ridge` by Cholesky's factorization, and
        for :class:`~sklearn.linear_model.LogisticRegression` with a plain L2 penalty.
    """
    if type(learner) is Ridge:
        exact = learner.solver in ("auto", "cholesky") and not learner.positive
        exact = exact and learner.copy_X  # its rows are used again
        return bool(exact and np.ndim(learner.alpha) == 0 and learner.alpha > 0)
    if type(learner) is LogisticRegression:
        plain = (
            learner.solver in ("lbfgs", "newton-cg", "newton-cholesky")
            and learner.penalty in ("deprecated", "l2")
            and learner.class_weight is None
        )
        return bool(plain and not learner.l1_ratio and np.isfinite(learner.C))
    return False


def follows(learner: Any, n_samples: int) -> bool:
    """Tell whether fits without some rows are taken from the fit on all rows.

    Parameters
    ----------
    learner : estimator
        Unfitted.
    n_samples : int
        Samples of all domains.

    Returns
    -------
    follows : bool
        True for what :func:`is_known`; for a logistic regression only with
        ``warm_start=True``, by which solutions may depend on a start, or where fits of
        their own would be dear: 1000 samples or more.
    """
    if not is_known(learner):
        return False
    exact = type(learner) is Ridge
    return exact or bool(learner.warm_start) or n_samples >= _LEAST_FOLLOWED


def fits_without(learner: Any, X: Any, y: Any, weight: Any, left_out: Any) -> Any:
    r"""Return what a learner would be without some of the rows that it is fitted on.

    Ridge regression is solved exactly. The fit of a logistic regression ends where
    the gradient, over the sum of the weights, is at most ``tol``; the others are those
    with the same gradient, by Newton steps from the fitted one, up to a tenth of
    ``tol``. Fits of their own would end with other gradients.

    Parameters
    ----------
    learner : estimator
        Fitted on all rows.
    X : ndarray or dataframe of shape (n_samples, n_features)
        The rows.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Their labels.
    weight : ndarray of shape (n_samples,) or None
        Their positive weights.
    left_out : list of ndarray of int
        Rows that each fit lacks.

    Returns
    -------
    folds : LinearFolds or None
        One model per entry of ``left_out``; None where fits of their own are needed:
        other learners and rows, rows of a class that a fit would lack, matrices that
        are too large or singular.
    """
    X = as_floats(X)
    if not is_known(learner) or X is None or not left_out:
        return None
    n, d = X.shape
    if any(len(rows) == n for rows in left_out):
        return None
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    if type(learner) is Ridge:
        solve, n_parameters = _ridge, d + 1 + (1 if y.ndim == 1 else y.shape[1])
    else:
        solve, n_parameters = _logistic, learner.coef_.size + len(learner.coef_)
        if n_parameters > _MOST_PARAMETERS:
            return None
    if (len(left_out) + 1) * n_parameters**2 > MOST_NUMBERS:
        return None
    try:
        found = solve(learner, X, y, weight, left_out)
    except np.linalg.LinAlgError:  # singular to rounding: the learner has its own way
        found = None
    return None if found is None else LinearFolds(learner, *found)


def as_floats(X: Any) -> Any:
    """Return numbers of a table as an array; None for what holds others, or sparse."""
    if sparse.issparse(X):
        return None
    if hasattr(X, "dtypes") and not isinstance(X, np.ndarray):
        if not all(getattr(d, "kind", "") in "fiub" for d in X.dtypes):
            return None
    elif not isinstance(X, np.ndarray):
        return None
    X = np.asarray(X)
    if X.dtype.kind not in "fiub" or X.ndim != 2:
        return None
    return X.astype(np.float64, copy=False)


def _ridge(learner: Any, X: Any, y: Any, weight: Any, left_out: Any) -> Any:
    labels = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
    return ridge_without(
        X, labels, weight, left_out,
        alpha=float(learner.alpha), fit_intercept=learner.fit_intercept,
    )  # fmt: skip


def _logistic(learner: Any, X: Any, y: Any, weight: Any, left_out: Any) -> Any:
    if np.max(learner.n_iter_) >= learner.max_iter:
        return None  # it did not end by itself, and says so
    goal = (y[:, None] == learner.classes_).astype(np.float64)
    counts = goal.sum(axis=0)
    if any((counts - goal[rows].sum(axis=0) < 1).any() for rows in left_out):
        return None
    goal = goal[:, 1:] if len(counts) == 2 else goal
    if goal.shape[1] != len(learner.coef_):
        return None
    start = np.column_stack(
        [learner.coef_, learner.intercept_ * np.ones(goal.shape[1])]
    )
    tol = _CLOSER * learner.tol
    theta, residual = logistic_without(
        X, goal, weight, left_out, penalty=1.0 / learner.C,
        start=start.astype(np.float64), fit_intercept=learner.fit_intercept, tol=tol,
    )  # fmt: skip
    if (residual > tol).any():
        return None
    return theta[:, :, :-1], theta[:, :, -1]


class LinearFolds:
    """Models of all folds, which are asked about one table.

    Parameters
    ----------
    learner : estimator
        A ridge or logistic regression, whose form the models have.
    coef : ndarray of shape (n_folds, n_outputs, n_features)
        Coefficients of each fold.
    intercept : ndarray of shape (n_folds, n_outputs)
        Intercepts of each fold.
    """

    def __init__(self, learner: Any, coef: Any, intercept: Any) -> None:
        self.template = learner
        self.coef, self.intercept = coef, intercept
        self._asked: Any = None
        self._all: NDArray[Any] | None = None

    def __getstate__(self) -> Any:
        return {**vars(self), "_asked": None, "_all": None}

    def __len__(self) -> int:
        return len(self.coef)

    def learner(self, k: int) -> Any:
        """Return the fitted learner of fold k."""
        learner = copy(self.template)
        if hasattr(learner, "n_iter_"):
            learner.n_iter_ = copy(learner.n_iter_)
        like = learner.coef_
        learner.coef_ = self.coef[k].reshape(like.shape).astype(like.dtype)
        if learner.fit_intercept:
            like = np.asarray(learner.intercept_)
            intercept = self.intercept[k].reshape(like.shape).astype(like.dtype)
            learner.intercept_ = intercept if intercept.ndim else intercept[()]
        return learner

    def values(self, k: Any, X: Any) -> Any:
        """Return linear predictors, (n_samples, n_outputs); None: a model must look.

        Where a second fold is asked about the same table, all are. Models in single
        precision look themselves, since they round in their own way.
        """
        if self.template.coef_.dtype != np.float64:
            return None
        if self._asked is not X or self._all is None:
            rows = as_floats(X)
            if rows is None or rows.shape[1] != self.coef.shape[2]:
                return None
            if self._asked is not X or len(self.coef) > _MOST_TOGETHER:
                self._asked, self._all = X, None
                values = rows @ self.coef[k].T + self.intercept[k]
                return values if np.isfinite(values).all() else None
            n_folds, n_outputs, d = self.coef.shape
            values = rows @ self.coef.reshape(-1, d).T + self.intercept.ravel()
            self._all = values.reshape(len(rows), n_folds, n_outputs)
        values = np.asarray(self._all)[:, k]
        return values if np.isfinite(values).all() else None


def held_out_models(model: Any, folds: LinearFolds) -> Any:
    """Return models of folds that answer rows of numbers without checking them.

    Parameters
    ----------
    model : estimator
        Fitted wrapper of the learner.
    folds : LinearFolds
        Its learners on the folds.

    Returns
    -------
    models : list of HeldOutModel
        One for each fold.
    """
    kind = HeldOutModel
    if hasattr(folds.template, "classes_"):
        kind = HeldOutClassifier
    return [kind(model, folds, k) for k in range(len(folds))]


def held_out_model(model: Any, learner: Any) -> Any:
    """Return the model of one fold, whose fitted learner is a known one."""
    coef = np.atleast_2d(learner.coef_)
    intercept = np.broadcast_to(learner.intercept_, len(coef))
    return held_out_models(model, LinearFolds(learner, coef[None], intercept[None]))[0]


class HeldOutModel:
    """A model of one fold, which answers rows of numbers without checking them.

    Parameters
    ----------
    wrapper : estimator
        Fitted wrapper of the learner, of any fold.
    folds : LinearFolds
        Learners of all folds.
    k : int
        Which of them is its own.
    """

    def __init__(self, wrapper: Any, folds: Any, k: int) -> None:
        self.wrapper, self.folds, self.k = wrapper, folds, k

    @cached_property
    def model(self) -> Any:
        """The wrapper of this fold; it is asked whatever else is asked for."""
        model = copy(self.wrapper)
        model.estimator_ = self.folds.learner(self.k)
        return model

    def __getattr__(self, name: Any) -> Any:
        if "folds" not in vars(self):  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.model, name)

    def __sklearn_tags__(self) -> Any:
        return self.wrapper.__sklearn_tags__()

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any, **params: Any) -> NDArray[Any]:
        """Predict values or classes."""
        values = None if params else self.folds.values(self.k, X)
        if values is None:
            return self.model.predict(X, **params)
        template = self.folds.template
        if not hasattr(template, "classes_"):
            return values if template.coef_.ndim == 2 else values[:, 0]
        if values.shape[1] == 1:
            return template.classes_[(values[:, 0] > 0).astype(np.intp)]
        return template.classes_[values.argmax(axis=1)]


class HeldOutClassifier(HeldOutModel):
    """The same with probabilities."""

    @property
    def classes_(self) -> Any:
        """Classes of the learner."""
        return self.folds.template.classes_

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the log-odds, or the logits."""
        values = self.folds.values(self.k, X)
        if values is None:
            return self.model.decision_function(X)
        return values if values.shape[1] > 1 else values[:, 0]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return probabilities of the classes."""
        values = self.folds.values(self.k, X)
        if values is None:
            return self.model.predict_proba(X)
        if values.shape[1] > 1:
            return special.softmax(values, axis=1)
        share = special.expit(values)
        return np.hstack([1 - share, share])
