"""Predictions of linear models, and of classifiers that have probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin

from sktransfer.base import TransferPredictorMixin

__all__ = ["LinearClassifierMixin", "LinearRegressorMixin", "ProbaClassifierMixin"]


class ProbaClassifierMixin(TransferPredictorMixin, ClassifierMixin):
    """Predict the class of the largest of ``predict_proba``."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict classes of target samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            The most probable classes.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.regression = False
        return tags


class LinearRegressorMixin(TransferPredictorMixin, RegressorMixin):
    """Predict by ``coef_`` of shape (n_features,) and ``intercept_``."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Predictions.
        """
        return self._validate_rows(X) @ self.coef_ + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.classification = False
        return tags


class LinearClassifierMixin(TransferPredictorMixin, ClassifierMixin):
    """Predict by the logits of ``coef_``, one row if there are two classes."""

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Compute the logits of target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Logits; of two classes those of the second.
        """
        logits = self._logits(X)
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict classes of target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            The most probable classes.
        """
        logits = self.decision_function(X)
        best = logits > 0 if logits.ndim == 1 else logits.argmax(axis=1)
        return self.classes_[best.astype(np.intp)]

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Predict logarithms of class probabilities of target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Natural logarithms, in the order of ``classes_``.
        """
        return log_softmax(self._logits_of_all(X), axis=1)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict class probabilities of target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return softmax(self._logits_of_all(X), axis=1)

    def _logits(self, X: Any) -> NDArray[Any]:
        """Return the logits, one column for two classes."""
        return self._validate_rows(X) @ self.coef_.T + self.intercept_

    def _logits_of_all(self, X: Any) -> NDArray[Any]:
        logits = self.decision_function(X)
        if logits.ndim == 2:
            return logits
        return np.column_stack([np.zeros_like(logits), logits])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.regression = False
        return tags
