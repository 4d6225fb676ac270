"""Selective pseudo-labeling by structured prediction."""

from numbers import Integral, Real

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._compat import Interval
from sktransfer._linear import ProbaClassifierMixin
from sktransfer._solvers.cut_edge import cut_edge_noise
from sktransfer._solvers.lpp import supervised_projection
from sktransfer.base import TransferEstimator
from sktransfer.pseudo_label._template import most_certain

__all__ = ["SelectivePseudoLabeling"]


class SelectivePseudoLabeling(ProbaClassifierMixin, TransferEstimator):
    r"""Classify the target by class means and clusters in a supervised projection.

    In each round a projection is learned from the labeled samples and the most certain
    pseudo-labels; a target sample gets the class whose mean, or whose matched cluster
    of target samples, is nearest (SPL).

    Parameters
    ----------
    n_components : int in [1, inf), default=None
        Dimension of the projection; None: 128, or the number of features if less.
    n_rounds : int in [1, inf), default=10
        Number of rounds T; in round m the share m / T of the samples of each predicted
        class is labeled.
    regularization : float in (0, inf), default=0.01
        Multiple of the identity in the projection, relative to its scale.
    max_noise : float in (0, 1], default=None
        Largest noise probability of a pseudo-label by :func:`label_noise` for it to
        count in the projection and the class means; None: no filter.
    n_neighbors : int in [1, inf), default=10
        Neighbors for `max_noise`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    projection_ : ndarray of shape (n_features, n_components)
        The directions.
    center_ : ndarray of shape (n_features,)
        Midpoint of the domains, which is subtracted first.
    class_means_ : ndarray of shape (n_classes, n_components)
        Means of the projected and normalized samples of each class.
    cluster_means_ : ndarray of shape (n_classes, n_components) or None
        Means of the clusters of target samples, one matched to each class; None where
        all samples are labeled, or the target has fewer samples than classes.
    pseudo_labels_ : ndarray of shape (n_unlabeled,)
        Class given to each unlabeled target sample, in input order.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SelfTraining : The same curriculum for any classifier.

    Notes
    -----
    The projection P solves :math:`X'DXp = \lambda (X'LX + rI)p` for the affinity 1 of
    samples of a class. With :math:`z = P'x / \|P'x\|`, class means :math:`\mu_c`,
    and means :math:`\nu_c` of k-means on target samples started at the class
    means and matched to them one to one, the probability of class c is the larger of
    :math:`e^{-\|z - \mu_c\|}` and :math:`e^{-\|z - \nu_c\|}`, each scaled to the sum 1
    over the classes, and then their sum scaled to 1 [1]_. Labeled target samples count
    like those of the source and are never relabeled. Scale the features.

    References
    ----------
    .. [1] Q. Wang, T. Breckon. Unsupervised domain adaptation via structured
       prediction based selective pseudo-labeling. AAAI Conference on Artificial
       Intelligence, 2020.

    Examples
    --------
    The target is turned; its clusters tell the classes.

    >>> import numpy as np
    >>> from sktransfer.pseudo_label import SelectivePseudoLabeling
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(60) % 2
    >>> X = rng.normal(size=(60, 2)) + np.outer(2 * y - 1, [3.0, 1.0])
    >>> turned = rng.normal(size=(60, 2)) + np.outer(2 * y - 1, [2.0, -2.0])
    >>> domain = np.repeat([1, -1], 60)
    >>> model = SelectivePseudoLabeling()
    >>> model = model.fit(
    ...     np.r_[X, turned], np.r_[y, np.full(60, np.nan)], sample_domain=domain
    ... )
    >>> bool(model.score(turned, y) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "regularization": [Interval(Real, 0, None, closed="neither")],
        "max_noise": [Interval(Real, 0, 1, closed="right"), None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components=None,
        *,
        n_rounds=10,
        regularization=0.01,
        max_noise=None,
        n_neighbors=10,
    ):
        self.n_components = n_components
        self.n_rounds = n_rounds
        self.regularization = regularization
        self.max_noise = max_noise
        self.n_neighbors = n_neighbors

    def _fit_domains(self, data):
        X = np.asarray(data.X, dtype=np.float64)
        known = data.labels(data.labeled)
        check_classification_targets(known)
        self.classes_, code = np.unique(known, return_inverse=True)
        unlabeled = data.is_target & ~data.labeled
        # each domain counts the same, or a large source would decide on the middle
        parts = [X[data.is_target]] + ([X[data.is_source]] if data.n_source else [])
        self.center_ = np.mean([part.mean(axis=0) for part in parts], axis=0)
        centered = X - self.center_
        y = np.full(len(X), -1)
        y[data.labeled] = code
        used = data.labeled.copy()
        self._project(centered, y, used, data)
        for number in range(1, self.n_rounds + 1) if unlabeled.any() else ():
            proposed = self._proba(centered[unlabeled])
            labels = proposed.argmax(axis=1)
            y[unlabeled] = labels
            share = number / self.n_rounds
            used[unlabeled] = most_certain(proposed.max(axis=1), share, labels)
            if self.max_noise is not None:
                noise = cut_edge_noise(X[used], y[used], self.n_neighbors)
                dubious = np.flatnonzero(used)[noise > self.max_noise]
                used[dubious] = data.labeled[dubious]
            self._project(centered, y, used, data)
        labels = self._proba(centered[unlabeled]).argmax(axis=1)
        self.pseudo_labels_ = self.classes_[labels]

    def _project(self, X, y, used, data):
        """Learn projection, class means and matched clusters from labels in use."""
        n_components = min(self.n_components or 128, X.shape[1])
        self.projection_ = supervised_projection(
            X[used], y[used], n_components, self.regularization
        )
        Z = self._normalized(X)
        n_classes = len(self.classes_)
        means = np.zeros((n_classes, Z.shape[1]))
        np.add.at(means, y[used], Z[used])
        self.class_means_ = means / np.bincount(y[used])[:, None]
        target = Z[data.is_target]
        self.cluster_means_ = None
        different = len(np.unique(target.round(12), axis=0))
        if data.labeled.all() or different < n_classes:
            return
        clusters = KMeans(n_classes, init=self.class_means_, n_init=1).fit(target)
        found = clusters.cluster_centers_
        match = linear_sum_assignment(cdist(self.class_means_, found))[1]
        self.cluster_means_ = found[match]

    def _normalized(self, X):
        Z = X @ self.projection_
        length = np.linalg.norm(Z, axis=1, keepdims=True)
        return Z / np.where(length > 0, length, 1.0)

    def _proba(self, centered):
        Z = self._normalized(centered)
        proba = _closeness(Z, self.class_means_)
        if self.cluster_means_ is not None:
            proba = np.maximum(proba, _closeness(Z, self.cluster_means_))
        return proba / proba.sum(axis=1, keepdims=True)

    def predict_proba(self, X):
        """Predict class probabilities of target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``.
        """
        X = self._validate_rows(X)
        return self._proba(np.asarray(X, dtype=np.float64) - self.center_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transfer_tags.uses_unlabeled = True
        return tags


def _closeness(Z, means):
    proba = np.exp(-cdist(Z, means))
    return proba / proba.sum(axis=1, keepdims=True)
