"""Joint distribution adaptation and its balanced form."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, is_classifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import HasLearnerMethods, fit_learner, predict_learner
from sktransfer._solvers.joint_components import (
    joint_components,
    joint_vectors,
    range_root,
)
from sktransfer._solvers.low_rank import fit_landmarks
from sktransfer.base import KernelParametersMixin, TransferTransformer

__all__ = ["JDA"]


class JDA(KernelParametersMixin, ClassNamePrefixFeaturesOutMixin, TransferTransformer):
    r"""Joint distribution adaptation: components on which classes agree as well.

    The components keep the variance of all samples and bring together the means of the
    domains and the means of each class in them. The classes of unlabeled target
    samples are pseudo-labels of a learner on the components, in turn with them.

    Parameters
    ----------
    n_components : int in [1, inf), default=10
        Number of components.
    mu : float in (0, inf), default=1.0
        Weight of the squared norm of the directions beside the distance of the means.
    balance : float in [0, 1], default=0.5
        Weight of the means of the classes; one minus it is that of the means of the
        domains. 0.5 is joint distribution adaptation, other values are its balanced
        form; with 0 labels do not count.
    regularizer : {"directions", "coefficients"}, default="directions"
        Whose norm is penalized: that of the directions in the features of the kernel,
        or that of their coefficients on the samples.
    estimator : estimator, default=None
        Classifier that gives the pseudo-labels; None: the nearest neighbor.
    max_iter : int in [1, inf), default=10
        Largest number of rounds. They end where the pseudo-labels stay as they are.
    kernel : str or callable, default="linear"
        Kernel: "linear", "rbf", "poly", "sigmoid", "laplacian", "cosine", or a
        callable that takes two samples.
    gamma : {"median", "scale"}, float in (0, inf) or None, default="median"
        Width of the kernel. "median": one over the median squared distance of all
        samples; "scale": one over n_features times the variance; None:
        1 / n_features.
    degree : float in [1, inf), default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further arguments of a callable kernel.
    n_landmarks : int in [1, inf), default=1000
        Samples that the kernel's features are built on; the kernel is exact where
        there are no more samples, and for a linear kernel with no more features.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks.

    Attributes
    ----------
    components_ : ndarray of shape (n_kernel_features, n_components)
        Directions in the features of the kernel, for a linear kernel in X.
    eigenvalues_ : ndarray of shape (n_components,)
        Their eigenvalues, descending; 0 beyond the rank.
    landmarks_ : LandmarkMap or None
        The kernel's features; None where they are those of X.
    pseudo_labels_ : ndarray of shape (n_target,)
        Classes of the target samples in input order, labels where they are known. None
        without sources, or with ``balance=0``.
    gamma_ : float or None
        The width that was used.
    n_iter_ : int
        Number of eigenproblems.
    residual_ : float
        Relative eigen-residual.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TCA : Means of the domains alone.
    TJM : Drops source samples as well.

    Notes
    -----
    With features :math:`\Phi` of the kernel, P holds the leading solutions of

    .. math:: \Phi'H\Phi\, p = \lambda \left( \Phi' \frac{M}{\lVert M \rVert_F} \Phi
        + \mu I \right) p, \quad
        M = (1 - b) v v' + b \sum_c v_c v_c',

    :math:`v` with :math:`1/n_s` on source and :math:`-1/n_t` on target samples, and
    :math:`v_c` the same among samples of class c [1]_, [2]_. With
    ``regularizer="coefficients"`` :math:`\mu I` is :math:`\mu (\Phi'\Phi)^{-1}`, the
    norm of the least coefficients a with :math:`p = \Phi'a`. Unlike the first form it
    depends on the origin of the features where the kernel does (linear, polynomial):
    center them before. The paper has the first form for features as they are and the
    second for kernels. Its published table of images goes with the second, a linear
    kernel, and equal weights for the means of the domains and for those of all classes
    together (``balance=1 / (1 + n_classes)``). The first round has no pseudo-labels and
    M compares the means of the domains and the classes of labeled samples alone.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu. Transfer feature learning with
       joint distribution adaptation. ICCV, 2013. :doi:`10.1109/ICCV.2013.274`
    .. [2] J. Wang, Y. Chen, S. Hao, W. Feng, Z. Shen. Balanced distribution adaptation
       for transfer learning. ICDM, 2017. :doi:`10.1109/ICDM.2017.150`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import JDA
    >>> rng = np.random.RandomState(0)
    >>> label, domain = np.tile([0, 1], 40), np.repeat([1, -1], 40)
    >>> X = rng.normal(size=(80, 3)) + np.c_[4 * label, 3 * (domain > 0), 0 * label]
    >>> y = np.where(domain > 0, label, np.nan)
    >>> jda = JDA(2).fit(X, y, sample_domain=domain)
    >>> bool(np.mean(jda.pseudo_labels_ == label[40:]) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        **KernelParametersMixin._kernel_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "balance": [Interval(Real, 0, 1, closed="both")],
        "regularizer": [StrOptions({"directions", "coefficients"})],
        "estimator": [HasLearnerMethods(["fit", "predict"]), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=10,
        *,
        mu=1.0,
        balance=0.5,
        regularizer="directions",
        estimator=None,
        max_iter=10,
        kernel="linear",
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
        n_landmarks=1000,
        random_state=0,
    ):
        self.n_components = n_components
        self.mu = mu
        self.balance = balance
        self.regularizer = regularizer
        self.estimator = estimator
        self.max_iter = max_iter
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def _fit_domains(self, data):
        if self.n_components > data.X.shape[0]:
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of samples, "
                f"n_samples = {data.X.shape[0]}."
            )
        if self.estimator is not None and not is_classifier(self.estimator):
            raise TypeError(f"estimator={self.estimator!r} must be a classifier.")
        options = self._kernel_options(data.X)
        small = data.X.shape[1] <= self.n_landmarks
        self.landmarks_ = None
        if self.kernel != "linear" or not small:
            self.landmarks_ = fit_landmarks(
                data.X, self.n_landmarks, random_state=self.random_state, **options
            )
        phi, root = self._features(data.X), None
        if self.regularizer == "coefficients":
            root = range_root(phi)
            phi = np.asarray(phi @ root)
        labels = self._labels(data)
        self.n_iter_, self.pseudo_labels_ = 0, None
        codes = None if labels is None else labels.codes(None)
        while self.n_iter_ < self.max_iter:
            self._solve(data, phi, codes)
            if labels is None or not labels.unknown.any():
                break
            previous = self.pseudo_labels_
            self.pseudo_labels_ = labels.predict(
                self.estimator, np.asarray(phi @ self.components_)
            )
            if np.array_equal(previous, self.pseudo_labels_):
                break
            codes = labels.codes(self.pseudo_labels_)
        if labels is not None:
            self.pseudo_labels_ = labels.all_target(self.pseudo_labels_)
        if root is not None:
            self.components_ = root @ self.components_
        self.components_ = self.components_.astype(data.X.dtype, copy=False)

    def _solve(self, data, phi, codes):
        V = joint_vectors(data.is_source, codes, self.balance)
        self.components_, self.eigenvalues_, self.residual_ = joint_components(
            phi, V, self.n_components, self.mu
        )
        self.n_iter_ += 1

    def _labels(self, data):
        """Return the pseudo-labels' bookkeeping, None where labels do not count."""
        if not data.n_source or self.balance == 0:
            return None
        known = data.labels(data.labeled)
        if type_of_target(known).startswith("continuous"):
            raise ValueError(
                f"balance={self.balance} needs classes as labels, but y holds real "
                "numbers. With balance=0 labels have no say."
            )
        check_classification_targets(known)
        return PseudoLabels(data)

    def _features(self, X):
        if self.landmarks_ is None:
            return X
        return np.ascontiguousarray(self.landmarks_.transform(X).T)

    def _transform(self, X, source):
        return np.asarray(self._features(X) @ self.components_).astype(
            X.dtype, copy=False
        )

    @property
    def _n_features_out(self):
        return self.n_components

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = self.balance > 0
        tags.transfer_tags.regression = False
        tags.transfer_tags.uses_unlabeled = True
        if self.balance == 0:
            tags.transfer_tags.target_labels = "unused"
        return tags


class PseudoLabels:
    """Classes of labeled samples, and pseudo-labels of the others.

    Parameters
    ----------
    data : DomainData
        Samples with their labels.
    """

    def __init__(self, data):
        self.labeled, self.is_target = data.labeled, data.is_target
        self.classes, self.known = np.unique(
            data.labels(data.labeled), return_inverse=True
        )

    @property
    def unknown(self):
        """Mask of the samples without a label."""
        return ~self.labeled

    def predict(self, estimator, Z):
        """Return pseudo-labels of unlabeled samples from their components."""
        learner = KNeighborsClassifier(1) if estimator is None else estimator
        model = fit_learner(
            learner, take_rows(Z, self.labeled), self.classes[self.known]
        )
        return predict_learner(model, take_rows(Z, self.unknown))

    def codes(self, pseudo_labels):
        """Return codes of all samples; -1 for those without a (pseudo-)label."""
        codes = np.full(len(self.labeled), -1)
        codes[self.labeled] = self.known
        if pseudo_labels is not None:
            codes[self.unknown] = np.searchsorted(self.classes, pseudo_labels)
        return codes

    def all_target(self, pseudo_labels):
        """Return labels or pseudo-labels of the target samples, in input order."""
        codes = self.codes(pseudo_labels)[self.is_target]
        return self.classes[codes]
