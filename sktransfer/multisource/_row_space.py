"""Fits of logistic regression to few samples with many features."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._solvers.row_space import logistic_of_rows, row_factor

#: most samples per feature of a fit that is worth the factorization
_MOST_SHARE = 2 / 3


#: parameters of the learner that may differ from their defaults
_FREE = {"C", "tol", "max_iter", "fit_intercept", "random_state", "intercept_scaling"}


def _is_plain(learner: Any) -> bool:
    """Tell whether a fit here is one of the learner, which warns and refuses itself."""
    if type(learner) is not LogisticRegression or hasattr(learner, "_skl_callbacks"):
        return False
    params, defaults = learner.get_params(), LogisticRegression().get_params()
    for name in defaults.keys() - _FREE:
        value, default = params[name], defaults[name]
        if type(value) is not type(default) or value != default:
            return False
    try:
        learner._validate_params()
    except ValueError:
        return False
    return bool(np.isfinite(learner.C) and min(learner.tol, learner.max_iter) > 0)


class RowSpace:
    """Fits of one learner to several parts of the same samples.

    They are those of the learner to rounding, as far as they are found here: by its
    own steps and its own stop, but in as many coordinates as there are samples.

    Parameters
    ----------
    learner : estimator
        Unfitted.
    X : {array, sparse matrix, dataframe} of shape (n_samples, n_features)
        Samples.
    y : ndarray of shape (n_samples,)
        Classes.
    """

    def __init__(self, learner: Any, X: Any, y: NDArray[Any]) -> None:
        self.learner, self.X, self.y = learner, X, y
        self._products: Any = None
        self._rows: Any = None
        self._factor: Any = None
        self.usable = bool(
            _is_plain(learner)
            and type(X) is np.ndarray
            and X.dtype == np.float64
            and X.ndim == 2
            and np.isfinite(X).all()
        )

    def fit(self, rows: NDArray[np.bool_], weight: NDArray[Any]) -> Any:
        """Return the learner fitted to weighted samples.

        Parameters
        ----------
        rows : ndarray of bool of shape (n_samples,)
            Which samples.
        weight : ndarray of shape (n_rows,)
            Their positive weights.

        Returns
        -------
        model : estimator or None
            None where the learner has to be fitted itself: others, many samples, or
            such that depend on each other, one class, numbers that are no classes, or a
            fit that does not converge.
        """
        n, d = int(rows.sum()), self.X.shape[1] if self.usable else 0
        if not self.usable or not 0 < n <= _MOST_SHARE * d:
            return None
        try:
            check_classification_targets(self.y[rows])
        except ValueError:
            return None
        classes, codes = np.unique(self.y[rows], return_inverse=True)
        factor = self._factor_of(rows) if len(classes) > 1 else None
        if factor is None:
            return None
        learner = self.learner
        X = self.X if rows.all() else self.X[rows]
        found = logistic_of_rows(
            X, factor, codes, weight, len(classes), C=learner.C, tol=learner.tol,
            fit_intercept=learner.fit_intercept, max_iter=learner.max_iter,
        )  # fmt: skip
        if found is None:
            return None
        model = clone(learner)
        model.classes_ = classes
        model.coef_, model.intercept_, n_iter = found
        model.n_iter_ = np.array([n_iter], dtype=np.int32)
        model.n_features_in_ = d
        return model

    def _factor_of(self, rows: NDArray[np.bool_]) -> Any:
        if self._rows is not None and np.array_equal(rows, self._rows):
            return self._factor
        products = self.products(rows)
        self._rows, self._factor = rows, row_factor(products)
        return self._factor

    def products(self, rows: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the inner products of samples, those of all at once if that pays."""
        n = len(self.X)
        if n > self.X.shape[1] or (self._products is None and 4 * rows.sum() < n):
            own = self.X[rows]
            return own @ own.T
        if self._products is None:
            self._products = self.X @ self.X.T
        return self._products if rows.all() else self._products[np.ix_(rows, rows)]
