"""Dual transfer: texts of two domains by nonnegative matrix tri-factorization."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_non_negative

from sktransfer._compat import Interval
from sktransfer._domains import take_rows
from sktransfer._learners import HasLearnerMethods, fit_or_constant
from sktransfer._response import align_classes
from sktransfer._solvers.dual_factorization import (
    dual_factorization,
    nonnegative_shares,
)
from sktransfer.base import TransferEstimator, TransferPredictorMixin
from sktransfer.exceptions import UnlabeledTargetError, warn

__all__ = ["DualTransfer"]


class DualTransfer(TransferPredictorMixin, ClassifierMixin, TransferEstimator):
    r"""Dual transfer learning: common and own clusters of words.

    Rows of counts or tf-idf weights are classes of clusters of words. Some clusters
    are common to all domains, some are a domain's own, and how classes are made of
    clusters is the same in all of them. The classes of source rows are known; those of
    target rows are found with the clusters.

    Parameters
    ----------
    n_common : int in [1, inf), default=30
        Clusters that all domains share.
    n_specific : int in [0, inf), default=5
        Clusters of each domain alone. With 0 it is collective factorization.
    estimator : estimator, default=None
        Classifier with ``predict_proba``, fitted on all labeled rows, whose
        probabilities are the start of the classes of unlabeled target rows. None:
        ``LogisticRegression``.
    tol : float in [0, inf), default=1e-3
        Relative fall of the objective in ten rounds at which they end.
    max_iter : int in [1, inf), default=300
        Largest number of rounds.
    random_state : int, RandomState instance or None, default=0
        Seed of the start of the clusters.

    Attributes
    ----------
    profiles_ : ndarray of shape (n_features, n_classes)
        What a row of each class is like in the target, :math:`[U_0\; U_T] H`.
    common_clusters_ : ndarray of shape (n_features, n_common)
        Clusters :math:`U_0`.
    target_clusters_ : ndarray of shape (n_features, n_specific)
        Clusters :math:`U_T`.
    association_ : ndarray of shape (n_common + n_specific, n_classes)
        The factor H.
    target_labels_ : ndarray of shape (n_target,)
        Classes of the target rows of ``fit``, the largest entry of each row of
        :math:`V_T`; the labels where they are known.
    objective_ : ndarray of shape (n_iter_ + 1,)
        Objective before the first round and after each; it never rises.
    n_iter_ : int
        Rounds.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` rounds do not reach `tol`.

    See Also
    --------
    JDA : Components of any features.
    sktransfer.pseudo_label.SelfTraining : Pseudo-labels of any learner.

    Notes
    -----
    With rows x of norm 1 as columns of X, V the classes of rows (0 or 1 where they are
    known) and all factors nonnegative [1]_,

    .. math:: \min \lVert X_S - [U_0\; U_S] H V_S' \rVert^2
        + \lVert X_T - [U_0\; U_T] H V_T' \rVert^2 .

    The updates are products, none of which raises the objective. The paper scales
    columns after each, which does; here they keep their scale, and the known classes
    fix that of H. Several sources have own clusters each. Labeled target rows keep
    their classes. A new row gets the nonnegative combination of ``profiles_`` nearest
    to it, and its class is the largest share. Without source rows the target is
    factorized alone.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, W. Cheng, X. Zhang, W. Wang. Dual transfer
       learning. SIAM International Conference on Data Mining, 2012.
       :doi:`10.1137/1.9781611972825.47`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import DualTransfer
    >>> rng = np.random.RandomState(0)
    >>> label, domain = np.tile([0, 1], 40), np.repeat([1, -1], 40)
    >>> rate = np.ones((80, 6))
    >>> rate[label == 0, :2] += 6  # words of class 0, of class 1, and of each domain
    >>> rate[label == 1, 2:4] += 6
    >>> rate[domain == 1, 4] += 5
    >>> rate[domain == -1, 5] += 5
    >>> y = np.where(domain == 1, label, np.nan)
    >>> model = DualTransfer(n_common=4, n_specific=1)
    >>> model = model.fit(rng.poisson(rate), y, sample_domain=domain)
    >>> bool(np.mean(model.target_labels_ == label[40:]) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        "n_common": [Interval(Integral, 1, None, closed="left")],
        "n_specific": [Interval(Integral, 0, None, closed="left")],
        "estimator": [HasLearnerMethods(["fit", "predict_proba"]), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_common=30,
        n_specific=5,
        *,
        estimator=None,
        tol=1e-3,
        max_iter=300,
        random_state=0,
    ):
        self.n_common = n_common
        self.n_specific = n_specific
        self.estimator = estimator
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _fit_domains(self, data):
        if self.estimator is not None and not is_classifier(self.estimator):
            raise TypeError(f"estimator={self.estimator!r} must be a classifier.")
        check_non_negative(data.X, f"{type(self).__name__} (counts, tf-idf weights)")
        if not data.labeled.any():
            raise UnlabeledTargetError("DualTransfer has no label to learn from.")
        known = data.labels(data.labeled)
        check_classification_targets(known)
        self.classes_ = np.unique(known)
        X = normalize(data.X.astype(np.float64))
        V = self._start(data, X)
        domains = [data.rows_of(d) for d in [*data.sources, *data.targets]]
        factors, info = dual_factorization(
            [take_rows(X, rows) for rows in domains],
            [V[rows] for rows in domains],
            [~data.labeled[rows] for rows in domains],
            *self._draw(X),
            tol=self.tol,
            max_iter=self.max_iter,
        )
        self._store(factors, info, data)

    def _start(self, data, X):
        """Return the classes of rows: known ones, or a classifier's probabilities."""
        V = np.zeros((X.shape[0], len(self.classes_)))
        known = data.labels(data.labeled)
        V[data.labeled] = known[:, None] == self.classes_
        unknown = ~data.labeled
        if unknown.any():
            learner = LogisticRegression() if self.estimator is None else self.estimator
            model = fit_or_constant(learner, take_rows(X, data.labeled), known)
            proba = model.predict_proba(take_rows(X, unknown))
            # no product brings a class back that starts at 0
            V[unknown] = 0.01 + align_classes(proba, model.classes_, self.classes_, 0.0)
        return V

    def _draw(self, X):
        """Return the start of the clusters and of the middle factor."""
        rng = check_random_state(self.random_state)
        n_features, n_clusters = X.shape[1], self.n_common + self.n_specific
        mean = max(float(X.mean()), 1e-12)
        U = mean * rng.uniform(0.5, 1.5, size=(n_features, n_clusters))
        H = rng.uniform(0.5, 1.5, size=(n_clusters, len(self.classes_))) / n_clusters
        return U[:, : self.n_common], U[:, self.n_common :], H

    def _store(self, factors, info, data):
        self.common_clusters_, self.target_clusters_ = factors.common, factors.own[-1]
        self.association_ = factors.H
        clusters = np.hstack([self.common_clusters_, self.target_clusters_])
        self.profiles_ = clusters @ factors.H
        best = factors.V[-1].argmax(axis=1)
        self.target_labels_ = self.classes_[best]
        self.objective_, self.n_iter_ = info.objectives, info.n_iter
        if not info.converged:
            warn(
                f"DualTransfer stopped after {info.n_iter} rounds; in the last ten the "
                f"objective still fell by more than tol={self.tol:g} of itself. Raise "
                "max_iter or tol.",
                ConvergenceWarning,
            )

    def _shares(self, X):
        X = self._validate_rows(X)
        check_non_negative(X, f"{type(self).__name__} (counts, tf-idf weights)")
        shares = nonnegative_shares(normalize(X.astype(np.float64)), self.profiles_)
        return shares.astype(X.dtype, copy=False)

    def predict(self, X):
        """Predict the classes of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Nonnegative target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            The class of the largest share.
        """
        shares = self._shares(X)
        return self.classes_[shares.argmax(axis=1)]

    def predict_proba(self, X):
        """Predict shares of the classes in target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Nonnegative target rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Shares divided by their sum; equal ones for a row of zeros.
        """
        shares = self._shares(X)
        total = shares.sum(axis=1, keepdims=True)
        return np.where(
            total > 0, shares / np.where(total > 0, total, 1), 1 / len(self.classes_)
        ).astype(shares.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        # of coordinates that are no counts the profiles of classes are much alike
        tags.classifier_tags.poor_score = True
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.regression = False
        return tags
