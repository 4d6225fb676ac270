"""Adaptive transfer for classes by a Gaussian process and Laplace's approximation."""

from numbers import Integral, Real

import numpy as np
from scipy import linalg, stats
from scipy.special import expit
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._compat import Interval, StrOptions
from sktransfer._linear import ProbaClassifierMixin
from sktransfer._solvers.laplace_gp import laplace_evidence, posterior_mode
from sktransfer.base import TransferEstimator
from sktransfer.hypothesis._adaptive_gp import (
    _B_BOUNDS,
    _STARTS,
    drop_sources,
    maximize_likelihood,
)

#: nodes of the integral of the logistic function over a latent value
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)


class AdaptiveGPClassifier(ProbaClassifierMixin, TransferEstimator):
    r"""Gaussian process classifier with a learned correlation between the domains.

    One number per source, its transfer strength, scales the influence of a source
    sample on a target sample. It is learned with the kernel by the evidence of the
    target labels given the source labels; a source without information ends at 0.

    Parameters
    ----------
    kernel : kernel of sklearn.gaussian_process.kernels, default=None
        Covariance of the latent values within a domain, the same for all.
        Hyperparameters with bounds ``"fixed"`` stay. None: ``ConstantKernel() *
        RBF(sqrt(n_features))``, each within a factor of 100.
    transfer_strength : {"auto"} or float in (-1, 1], default="auto"
        Strength :math:`\lambda` of every source; ``"auto"`` learns one for each.
    significance : float in (0, 1], default=0.05
        A learned strength is set to 0 unless a likelihood ratio test at this level
        decides that the source matters. 1 keeps every source.
    n_restarts : int in [0, inf), default=0
        Random starts of the optimizer besides the two built-in ones, which begin with
        the given hyperparameters and strengths 0.8 and 0.
    random_state : int, RandomState instance or None, default=None
        Seed of the random starts.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of the sources and of the labeled target samples.
    transfer_strength_ : ndarray of shape (n_sources,)
        Strength :math:`\lambda_k` of each source in (-1, 1].
    evidence_gain_ : ndarray of shape (n_sources,)
        What the strength of each source adds to the log evidence; NaN if it was given.
    sources_ : ndarray of shape (n_sources,)
        Ids of the sources.
    kernel_ : kernel
        The kernel with its learned hyperparameters.
    log_evidence_ : float
        The maximum: approximate log probability of the target labels given those of the
        sources; of more than two classes the sum over one against the rest.
    residual_ : float
        Largest entry of the gradient at the modes of the latent values.
    n_iter_ : int
        Iterations of the optimizer's best run; 0 if nothing was to be learned.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    AdaptiveGP : The same for real labels.
    SecureLogistic : A linear correction of source models.
    sklearn.gaussian_process.GaussianProcessClassifier : One domain.

    Notes
    -----
    The latent values f of samples :math:`x_n, x_m` of domains with the strengths v have
    the covariance of :class:`AdaptiveGP`, :math:`k(x_n, x_m)` within a domain and
    :math:`v_n v_m k(x_n, x_m)` across domains [1]_, where v is :math:`\lambda_k` for
    source k and 1 for the target. A label t in {-1, 1} has the probability
    :math:`1 / (1 + e^{-t f})`, and the posterior of f is Laplace's approximation, a
    Gaussian around its mode. Kernel and strengths maximize

    .. math:: \log q(t_T \mid t_S) = \log q(t_T, t_S) - \log q(t_S)

    with analytic gradients, sources being dropped as in :class:`AdaptiveGP`; q is the
    evidence in that approximation. A strength of 0 is the classifier of the target
    alone, 1 that of all samples. More than two classes are one against the rest, with
    one kernel and the same strengths for all, and probabilities divided by their sum.

    A fit takes memory of order :math:`n^2` and time of order :math:`n^3` in the number
    of all labeled samples.

    References
    ----------
    .. [1] B. Cao, S. J. Pan, Y. Zhang, D.-Y. Yeung, Q. Yang. "Adaptive transfer
       learning". AAAI Conference on Artificial Intelligence, 2010.
       :doi:`10.1609/aaai.v24i1.7682`

    Examples
    --------
    One source has the target's rule, the other an unrelated one.

    >>> import numpy as np
    >>> from sktransfer.hypothesis import AdaptiveGPClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-3, 3, size=(152, 1))
    >>> domain = np.repeat([1, 2, -1], [60, 60, 32])
    >>> y = np.where(domain == 2, np.cos(4 * X[:, 0]), np.sin(2 * X[:, 0])) > 0
    >>> model = AdaptiveGPClassifier().fit(X, y, sample_domain=domain)
    >>> model.transfer_strength_.round(1)
    array([1., 0.])
    """

    _parameter_constraints: dict = {
        "kernel": [Kernel, None],
        "transfer_strength": [
            StrOptions({"auto"}),
            Interval(Real, -1, 1, closed="right"),
        ],
        "significance": [Interval(Real, 0, 1, closed="right")],
        "n_restarts": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernel=None,
        *,
        transfer_strength="auto",
        significance=0.05,
        n_restarts=0,
        random_state=None,
    ):
        self.kernel = kernel
        self.transfer_strength = transfer_strength
        self.significance = significance
        self.n_restarts = n_restarts
        self.random_state = random_state

    def _fit_domains(self, data):
        rng = check_random_state(self.random_state)
        check_classification_targets(data.labels(data.labeled))
        self.sources_ = data.sources
        parts = [(X, y) for _, X, y in data.each_source()]
        parts.append((data.X_labeled, data.y_labeled))
        y = np.concatenate([y for _, y in parts])
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                "AdaptiveGPClassifier needs at least two classes, but all labeled "
                f"samples have one class: {self.classes_.tolist()[0]!r}."
            )
        self.X_train_ = np.concatenate([X for X, _ in parts]).astype(np.float64)
        codes = np.repeat(range(len(parts)), [len(y) for _, y in parts])
        positive = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        signs = np.where(y == positive[:, None], 1.0, -1.0)
        model = _LaplaceModel(self._start_kernel(), self.X_train_, signs, codes)
        best = self._optimize(model, rng)
        self.kernel_, strength = model.split(best)
        self.transfer_strength_ = strength
        self.log_evidence_ = -model.objective(best)[0]
        self._v = np.append(strength, 1.0)[codes]
        K = self.kernel_(self.X_train_) * model.factors(self._v)
        self._modes, self.residual_ = [], 0.0
        for t in signs:
            f, a, residual = posterior_mode(K, t)
            p = expit(f)
            root = np.sqrt(p * (1 - p))
            L = linalg.cholesky(np.eye(len(t)) + root[:, None] * K * root, lower=True)
            self._modes.append((a, root, L))
            self.residual_ = max(self.residual_, residual)

    def _start_kernel(self):
        if self.kernel is not None:
            return clone(self.kernel)
        scale = np.sqrt(self.n_features_in_)
        return ConstantKernel(1.0, (0.01, 100.0)) * RBF(
            scale, (0.01 * scale, 100 * scale)
        )

    def _optimize(self, model, rng):
        fixed = self.transfer_strength != "auto"
        strengths = [self.transfer_strength] if fixed else _STARTS
        starts = [model.join(strength) for strength in strengths]
        starts = starts[: 1 + model.n_sources]  # without sources they are equal
        bounds = model.bounds()
        if fixed:
            bounds[model.shapes] = starts[0][model.shapes, None]
        starts += [
            rng.uniform(*np.clip(bounds, -50, 50).T) for _ in range(self.n_restarts)
        ]
        fit = maximize_likelihood(model.objective, starts, bounds)
        self.evidence_gain_ = np.full(model.n_sources, np.nan)
        if not fixed:
            threshold = 0.5 * stats.chi2.isf(self.significance, 1)
            fit, self.evidence_gain_ = drop_sources(
                model, fit, starts, bounds, threshold=threshold
            )
        self.n_iter_ = fit.n_iter
        return fit.params

    def _latent(self, X):
        """Return means and variances of the latent values, (n_problems, n_samples)."""
        cross = self.kernel_(X, self.X_train_) * self._v
        own, means, variances = self.kernel_.diag(X), [], []
        for a, root, L in self._modes:
            half = linalg.solve_triangular(L, root[:, None] * cross.T, lower=True)
            means.append(cross @ a)
            variances.append(np.maximum(own - np.sum(half**2, axis=0), 0.0))
        return np.array(means), np.array(variances)

    def predict_proba(self, X):
        """Predict class probabilities of target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``: the mean of the logistic
            function over the latent value.
        """
        X = self._validate_rows(X)
        means, variances = self._latent(X.astype(np.float64, copy=False))
        values = means[..., None] + np.sqrt(variances)[..., None] * _NODES
        p = (expit(values) @ (_WEIGHTS / _WEIGHTS.sum())).T
        if p.shape[1] == 1:
            return np.column_stack([1 - p[:, 0], p[:, 0]])
        return p / p.sum(axis=1, keepdims=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        return tags


class _LaplaceModel:
    """The evidence as a function of the kernel's log hyperparameters and log b.

    Parameters
    ----------
    kernel : kernel
        Its hyperparameters are the initial ones.
    X : ndarray of shape (n, n_features)
        Rows, ordered by domain, the target last.
    signs : ndarray of shape (n_problems, n)
        Labels -1 and 1 of each binary problem.
    codes : ndarray of shape (n,)
        Domain 0, 1, ... of each row.
    """

    def __init__(self, kernel, X, signs, codes):
        self.kernel, self.X, self.signs, self.codes = kernel, X, signs, codes
        self.n_sources, self.n_kernel = int(codes[-1]), len(kernel.theta)
        self.n_given = int((codes < self.n_sources).sum())
        self.shapes = slice(self.n_kernel, None)
        self.same = codes[:, None] == codes

    def join(self, strength):
        """Return the vector of the initial kernel and equal strengths."""
        with np.errstate(divide="ignore"):  # strength 1 is b = 0
            log_b = np.log(1 - np.log2(1 + strength))
        return np.r_[self.kernel.theta, np.full(self.n_sources, log_b)]

    def split(self, params):
        """Return the kernel and the strengths of a vector."""
        kernel = self.kernel.clone_with_theta(params[: self.n_kernel])
        return kernel, 2 * 2.0 ** -np.exp(params[self.shapes]) - 1

    def bounds(self):
        """Return lower and upper bounds, shape (n_params, 2)."""
        shapes = np.tile(np.log(_B_BOUNDS), (self.n_sources, 1))
        kernel = np.reshape(self.kernel.bounds, (self.n_kernel, 2))
        return np.concatenate([kernel, shapes])

    def factors(self, v):
        """Return the factors of the kernel between rows of strengths ``v``."""
        return np.where(self.same, 1.0, np.outer(v, v))

    def objective(self, params):
        """Return the negative log evidence and its gradient."""
        kernel, strength = self.split(params)
        v = np.append(strength, 1.0)[self.codes]
        K, dK = kernel(self.X, eval_gradient=True)
        C, m = self.factors(v) * K, self.n_given
        value, slope = 0.0, np.zeros_like(C)
        for t in self.signs:
            of_all, S, _ = laplace_evidence(C, t)
            value, slope = value + of_all, slope + S
            if m:
                of_given, S, _ = laplace_evidence(C[:m, :m], t[:m])
                value -= of_given
                slope[:m, :m] -= S
        by_kernel = np.tensordot(slope * self.factors(v), dK, axes=2)
        across = np.where(self.same, 0.0, slope * K) @ v
        by_strength = 2 * np.bincount(self.codes, across, self.n_sources + 1)[:-1]
        by_shape = (
            -by_strength * (1 + strength) * np.log(2) * np.exp(params[self.shapes])
        )
        return value, np.r_[by_kernel, by_shape]
