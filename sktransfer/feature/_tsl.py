"""Transfer subspace learning."""

from numbers import Integral, Real

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.subspace_learning import trace_ratio, transfer_subspace
from sktransfer._solvers.tca import domain_vector, embedding_signs
from sktransfer.base import TransferTransformer
from sktransfer.exceptions import warn

__all__ = ["TSL"]


class TSL(ClassNamePrefixFeaturesOutMixin, TransferTransformer):
    r"""Transfer subspace learning: a criterion, and densities of domains that agree.

    Components serve a criterion of dimension reduction (separate classes, keep the
    variance, or keep neighbors of one class together), and are penalized by the
    difference of the densities of source and target samples in them.

    Parameters
    ----------
    n_components : int in [1, n_features], default=2
        Number of components.
    criterion : {"flda", "pca", "lpp"}, default="flda"
        "flda": small variance within the classes, as a share of the whole
        (discriminant analysis). "pca": large variance. "lpp": small distances of
        neighbors of one class (locality preserving projections). "pca" does not use
        labels.
    mu : float in [0, inf), default=1.0
        Weight of the difference of the densities, which is at most 2 and often below
        0.1, beside a criterion between -1 and 1: try 1 to 100. 0: the criterion alone.
    gamma : "median" or float in (0, inf), default="median"
        Width of the kernel of the densities in the components, and of the neighborhoods
        of "lpp" among all features. "median": one over the median squared distance, for
        the densities in the components that are best by the criterion alone.
    reg : float in [0, inf), default=1e-3
        Share of the mean variance that is added to the variances within the classes.
    n_init : int in [1, inf), default=3
        How many starts: the components that are best by the criterion alone, and random
        ones. The best local minimum is kept.
    max_samples : int in [2, inf), default=1000
        Largest number of samples of the sources, of the target, and of labeled ones in
        "lpp", whose pairs are compared; a random choice where there are more.
    max_iter : int in [1, inf), default=100
        Largest number of iterations of each start.
    tol : float in (0, inf), default=1e-5
        Largest entry of the gradient at which they end.
    random_state : int, RandomState instance or None, default=0
        Seed of the starts and of the choice of samples.

    Attributes
    ----------
    components_ : ndarray of shape (n_features, n_components)
        Orthonormal directions, by descending variance of the samples along them.
    objective_ : float
        Criterion plus weighted difference of the densities.
    divergence_ : float
        Difference of the densities: squared, integrated, and relative to the peak of
        the kernel.
    gamma_ : float
        Width of the densities' kernel.
    n_iter_ : int
        Iterations of the start that was kept.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Raises
    ------
    ValueError
        If `n_components` exceeds the number of features, or labels are real numbers
        with a criterion that needs classes.

    Warns
    -----
    ConvergenceWarning
        If the start that was kept had not converged after `max_iter` iterations.

    See Also
    --------
    TCA : The means of kernel features instead of densities; no local minima.
    JDA : Means of the classes, by pseudo-labels.

    Notes
    -----
    .. math:: \min_{W'W = I} F(W) + \mu \int (\hat p_s(z) - \hat p_t(z))^2 dz,
        \qquad F(W) = \frac{\mathrm{tr}(W'NW)}{\mathrm{tr}(W'BW)}

    with kernel estimates of the densities of W'x, up to a constant factor of the
    integral [1]_. N and B are the scatter within the classes and the whole one of
    labeled samples ("flda"), minus the scatter and its mean ("pca"), or
    :math:`X'(D - E)X` and :math:`X'DX` of the neighborhoods E of labeled samples with
    row sums D ("lpp"). All three are of order one, so that `mu` means the same on all
    scales. Standardize features of different units. The cost of an iteration is
    quadratic in `max_samples`.

    References
    ----------
    .. [1] S. Si, D. Tao, B. Geng. Bregman divergence-based regularization for transfer
       subspace learning. IEEE TKDE 22(7), 2010. :doi:`10.1109/TKDE.2009.126`

    Examples
    --------
    Two features separate the classes; the first one moved, the second did not.

    >>> import numpy as np
    >>> from sktransfer.feature import TSL
    >>> rng = np.random.RandomState(0)
    >>> label, domain = np.tile([0, 1], 60), np.repeat([1, -1], 60)
    >>> X = rng.normal(size=(120, 2)) + 4 * label[:, None]
    >>> X[domain < 0, 0] *= -1
    >>> y = np.where(domain > 0, label, np.nan)
    >>> tsl = TSL(1, mu=10).fit(X, y, sample_domain=domain)
    >>> bool(abs(tsl.components_[1, 0]) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "criterion": [StrOptions({"flda", "pca", "lpp"})],
        "mu": [Interval(Real, 0, None, closed="left")],
        "gamma": [StrOptions({"median"}), Interval(Real, 0, None, closed="neither")],
        "reg": [Interval(Real, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=2,
        *,
        criterion="flda",
        mu=1.0,
        gamma="median",
        reg=1e-3,
        n_init=3,
        max_samples=1000,
        max_iter=100,
        tol=1e-5,
        random_state=0,
    ):
        self.n_components = n_components
        self.criterion = criterion
        self.mu = mu
        self.gamma = gamma
        self.reg = reg
        self.n_init = n_init
        self.max_samples = max_samples
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit_domains(self, data):
        X = data.X.astype(np.float64)
        n_features = X.shape[1]
        if self.n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of features, "
                f"n_features = {n_features}."
            )
        rng = check_random_state(self.random_state)
        X -= X.mean(axis=0)
        N, B = self._criterion(X, data, rng)
        start = trace_ratio(N, B, self.n_components)
        rows = np.sort(
            np.concatenate(
                [
                    self._some(np.flatnonzero(part), rng)
                    for part in (data.is_source, data.is_target)
                ]
            )
        )
        X, v = X[rows], domain_vector(data.is_source[rows])
        self.gamma_ = _width(X @ start, self.gamma)
        starts = [start]
        if self.mu > 0 and v.any() and self.n_components < n_features:
            size = (n_features, self.n_components)
            starts += [
                np.linalg.qr(rng.normal(size=size))[0] for _ in range(self.n_init - 1)
            ]
        found = [
            transfer_subspace(
                N,
                B,
                X,
                v,
                one,
                mu=self.mu,
                gamma=self.gamma_,
                max_iter=self.max_iter,
                tol=self.tol,
            )
            for one in starts
        ]
        best = min(found, key=lambda one: one.objective)
        if not best.converged:
            warn(
                f"The subspace had not converged after max_iter={self.max_iter} "
                "iterations: raise it, or scale X.",
                ConvergenceWarning,
            )
        Z = X @ best.W
        _, turn = np.linalg.eigh(Z.T @ Z)
        W = best.W @ turn[:, ::-1]
        W = W * embedding_signs(W)
        self.components_ = W.astype(data.X.dtype, copy=False)
        self.objective_, self.divergence_ = best.objective, best.divergence
        self.n_iter_ = max(best.n_iter, 1)

    def _some(self, rows, rng):
        if len(rows) <= self.max_samples:
            return rows
        return rng.choice(rows, self.max_samples, replace=False)

    def _criterion(self, X, data, rng):
        """Return the matrices N and B of the criterion."""
        n_features = X.shape[1]
        if self.criterion == "pca":
            scatter = X.T @ X
            mean = np.trace(scatter) / self.n_components or 1.0
            return -scatter / mean, np.eye(n_features)
        labels = data.labels(data.labeled)
        if type_of_target(labels).startswith("continuous"):
            raise ValueError(
                f"criterion={self.criterion!r} needs classes as labels, but y holds "
                "real numbers. criterion='pca' uses no labels."
            )
        check_classification_targets(labels)
        codes, rows = np.unique(labels, return_inverse=True)[1], X[data.labeled]
        if self.criterion == "flda":
            rows = rows - rows.mean(axis=0)
            total = rows.T @ rows
            one_hot = np.eye(codes.max() + 1)[codes]
            means = (one_hot.T @ rows) / one_hot.sum(axis=0)[:, None]
            inner = rows - means[codes]
            ridge = self.reg * np.trace(total) / n_features * np.eye(n_features)
            return inner.T @ inner + ridge, total + ridge
        chosen = self._some(np.arange(len(codes)), rng)
        rows, codes = rows[chosen], codes[chosen]
        E = rbf_kernel(rows, gamma=_width(rows, self.gamma))
        E *= codes[:, None] == codes
        degree = E.sum(axis=1)
        whole = (rows.T * degree) @ rows
        ridge = self.reg * np.trace(whole) / n_features * np.eye(n_features)
        return whole - rows.T @ E @ rows + ridge, whole + ridge

    def _transform(self, X, source):
        return np.asarray(X @ self.components_)

    @property
    def _n_features_out(self):
        return self.n_components

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.uses_unlabeled = True
        if self.criterion == "pca":
            tags.transfer_tags.target_labels = "unused"
        else:
            tags.target_tags.required = True
            tags.transfer_tags.regression = False
        return tags


def _width(Z, gamma):
    """Return the width of the kernel of some samples."""
    if gamma != "median":
        return float(gamma)
    middle = float(np.median(pdist(Z, "sqeuclidean"))) if len(Z) > 1 else 0.0
    return 1.0 / middle if middle > 0 else 1.0
