"""Resampled: weights for learners that take none."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_consistent_length, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from sktransfer._compat import Interval, _fit_context, _num_samples
from sktransfer._domains import canonical_order, take_rows
from sktransfer._learners import (
    HasLearnerMethods,
    check_method,
    check_weights,
    fit_or_constant,
)

__all__ = ["Resampled"]


def _learner_has(method):
    def check(self):
        inner = self.estimator_ if hasattr(self, "estimator_") else self.estimator
        return check_method(inner, method)

    return check


class Resampled(MetaEstimatorMixin, BaseEstimator):
    r"""Give a learner that takes no weights a weighted resample.

    Nearest neighbors, neural nets and models that store their samples take no
    ``sample_weight``. Wrapped in this, they can be the learner of every method that
    weighs samples, as in ``KMM(Resampled(KNeighborsClassifier()))``.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor.
    max_rows : int >= 1, default=None
        Largest number of samples that the learner gets, for one whose context is
        limited. None: as many as have a positive weight.
    random_state : int, RandomState instance or None, default=0
        Seed of the one random number that a resample takes. A fixed seed makes the fit
        the same each time; the order of the samples does not matter.

    Attributes
    ----------
    estimator_ : estimator
        The fitted learner.
    counts_ : ndarray of shape (n_samples,)
        How often each sample was taken.
    classes_ : ndarray of shape (n_classes,)
        Classes, for classifiers.

    See Also
    --------
    KMM : A method that weighs samples.

    Notes
    -----
    Of n samples with weights :math:`w_i`, sample i is expected

    .. math:: m w_i / \sum_j w_j

    times among m, by systematic resampling: the actual number is this one rounded down
    or up, and samples of one class lie side by side, so that classes keep their
    shares. Samples of equal weight are taken once each. Whole numbers as weights, up
    to a sum of 2 n, are the numbers themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.instance import Resampled
    >>> X = np.arange(12.0)[:, None]
    >>> y, domain = np.repeat([0, 1, 0], 4), np.repeat([1, -1, -1], 4)
    >>> neighbors = Resampled(KNeighborsClassifier(3))
    >>> model = Pooled(neighbors, source_weight=0.25).fit(X, y, sample_domain=domain)
    >>> model.estimator_.counts_
    array([0, 1, 0, 0, 1, 1, 2, 1, 2, 1, 1, 2])
    """

    _parameter_constraints: dict = {
        "estimator": [HasLearnerMethods(["fit", "predict"])],
        "max_rows": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator, *, max_rows=None, random_state=0):
        self.estimator = estimator
        self.max_rows = max_rows
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the learner on a resample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights. None: all are 1.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        n_samples = _num_samples(X)
        weights = np.ones(n_samples)
        if sample_weight is not None:
            weights = check_weights(sample_weight, n_samples)
            if not weights.any():
                raise ValueError("sample_weight is zero for all samples.")
        validate_data(self, X, reset=True, skip_check_array=True)
        if _is_plain(weights) and (self.max_rows or n_samples) >= n_samples:
            self.counts_ = np.ones(n_samples, dtype=np.intp)
            self.estimator_ = clone(self.estimator).fit(X, y)
            return self
        if y is None:
            raise ValueError("Resampled requires y to be passed, but y is None.")
        check_consistent_length(X, y)
        labels = np.asarray(y)
        self.counts_ = self._counts(X, labels, weights)
        rows = np.repeat(np.arange(n_samples), self.counts_)
        self.estimator_ = fit_or_constant(
            self.estimator, take_rows(_indexable(X), rows), labels[rows]
        )
        return self

    def _counts(self, X, y, weights):
        total = weights.sum()
        whole = np.all(weights % 1 == 0) and total <= 2 * len(weights)
        if whole and total <= (self.max_rows or np.inf):
            return weights.astype(np.intp)
        kept = np.flatnonzero(weights)
        n_draws = min(self.max_rows or len(kept), len(kept))
        X = take_rows(_indexable(X), kept)
        order = kept[canonical_order(X, y[kept], weights[kept])]
        share = np.cumsum(weights[order]) / total
        start = check_random_state(self.random_state).uniform()
        ticks = np.floor(share * n_draws - start + 1e-9).astype(np.intp) + 1
        ticks[-1] = n_draws
        counts = np.zeros(len(weights), dtype=np.intp)
        counts[order] = np.diff(np.maximum(ticks, 0), prepend=0)
        return counts

    def predict(self, X):
        """Predict with the learner.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_learner_has("predict_proba"))
    def predict_proba(self, X):
        """Predict class probabilities with the learner.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_learner_has("decision_function"))
    def decision_function(self, X):
        """Compute decision values with the learner.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    def score(self, X, y, sample_weight=None):
        """Score predictions.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            Accuracy for classifiers, R2 for regressors.
        """
        metric = accuracy_score if is_classifier(self.estimator) else r2_score
        return metric(y, self.predict(X), sample_weight=sample_weight)

    @property
    def classes_(self):
        """Classes of the fitted classifier, shape (n_classes,)."""
        return self.estimator_.classes_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        return tags


def _is_plain(weights):
    return np.ptp(weights) == 0


def _indexable(X):
    return (
        X.tocsr()
        if hasattr(X, "tocsr")
        else (X if hasattr(X, "shape") or isinstance(X, list) else np.asarray(X))
    )
