"""Which labeled rows a plain estimator sees: source, target, or both."""

from numbers import Real

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import Interval

from sktransfer._domains import take_rows
from sktransfer.base import (
    TransferMetaEstimator,
    fit_with_sample_weight,
    slice_params,
)

__all__ = ["Pooled", "SourceOnly", "TargetOnly"]


class SourceOnly(TransferMetaEstimator):
    """Fit an estimator on the source rows and predict the target with it.

    Labels of target rows are not used. Without any source row the estimator is
    fitted on the labeled target rows, so that its fit on the target alone exists.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to fit.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TargetOnly : Fit on the labeled target rows.
    Pooled : Fit on both.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sktransfer.baselines import SourceOnly
    >>> X, y, domain = [[0.0], [1.0], [0.9]], [0, 1, -1], [1, 1, -1]
    >>> model = SourceOnly(KNeighborsClassifier(1)).fit(X, y, sample_domain=domain)
    >>> model.predict([[0.9]])
    array([1])
    """

    def _fit_estimator(self, data, fit_params):
        rows = data.is_source if data.n_source else data.is_labeled_target
        return _fit_rows(self.estimator, data, rows, fit_params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "unused"
        return tags


class TargetOnly(TransferMetaEstimator):
    r"""Fit an estimator on the labeled target rows alone, :math:`\theta(0,T)`.

    Source rows and unlabeled target rows are ignored: this is what transfer has to
    beat.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to fit.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourceOnly : Fit on the source rows.
    Pooled : Fit on both.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sktransfer.baselines import TargetOnly
    >>> X, y, domain = [[0.0], [1.0], [2.0]], [10.0, 2.0, 4.0], [1, -1, -1]
    >>> model = TargetOnly(DummyRegressor()).fit(X, y, sample_domain=domain)
    >>> model.predict([[5.0]])
    array([3.])
    """

    def _fit_estimator(self, data, fit_params):
        return _fit_rows(self.estimator, data, data.is_labeled_target, fit_params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        return tags


class Pooled(TransferMetaEstimator):
    r"""Fit an estimator on all labeled rows, source and target together.

    It also ends a pipeline of adapting transformers, where it drops the unlabeled
    rows before the learner.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to fit.
    source_weight : float in [0, inf), default=1.0
        Weight of a source row relative to a labeled target row. With 1 no weights
        are passed and any estimator works; otherwise ``estimator`` must take
        ``sample_weight``. With 0 the source rows are left out.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourceOnly : Fit on the source rows.
    TargetOnly : Fit on the labeled target rows.

    Notes
    -----
    With source rows :math:`S`, labeled target rows :math:`T` and
    :math:`\omega` = ``source_weight`` the estimator minimizes

    .. math:: \omega \sum_{i \in S} \ell(x_i, y_i) + \sum_{i \in T} \ell(x_i, y_i).

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sktransfer.baselines import Pooled
    >>> X, y, domain = [[0.0], [1.0], [2.0]], [10.0, 2.0, 4.0], [1, -1, -1]
    >>> model = Pooled(DummyRegressor(), source_weight=0.5)
    >>> model.fit(X, y, sample_domain=domain).predict([[5.0]])
    array([4.4])
    """

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        "source_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, estimator, source_weight=1.0):
        super().__init__(estimator)
        self.source_weight = source_weight

    def _fit_estimator(self, data, fit_params):
        rows = data.labeled
        if self.source_weight == 0 and data.n_labeled:
            rows = data.is_labeled_target
        weight = None
        if self.source_weight not in (0, 1):
            weight = np.where(data.is_source, self.source_weight, 1.0)[rows]
        return _fit_rows(self.estimator, data, rows, fit_params, sample_weight=weight)


def _fit_rows(estimator, data, rows, fit_params, sample_weight=None):
    """Fit a clone on some labeled rows, with the metadata of those rows."""
    X, y = take_rows(data.X, rows), data.labels(rows)
    params = slice_params(fit_params, rows)
    if sample_weight is None:
        return clone(estimator).fit(X, y, **params)
    return fit_with_sample_weight(clone(estimator), X, y, sample_weight, **params)
