"""Adaptive transfer by a Gaussian process whose domains correlate as they should."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize, stats
from sklearn.base import RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._progress import (
    CallbackSupportMixin,
    Progress,
    run_task,
    with_callbacks,
)
from sktransfer.base import TransferEstimator, TransferPredictorMixin
from sktransfer.exceptions import warn

_B_BOUNDS = (1e-6, 20.0)
_STARTS = (0.8, 0.0)


class AdaptiveGP(
    CallbackSupportMixin, TransferPredictorMixin, RegressorMixin, TransferEstimator
):
    r"""Gaussian process over all domains with a learned correlation between them.

    One number per source, its transfer strength, scales the influence of a source row
    on a target row. It is learned with the kernel by the likelihood of the target
    labels given the source labels; a source without information ends near 0.

    Parameters
    ----------
    kernel : kernel of sklearn.gaussian_process.kernels, default=None
        Covariance within a domain, the same for all. Hyperparameters with bounds
        ``"fixed"`` stay. None: ``ConstantKernel() * RBF(sqrt(n_features))``, each
        within a factor of 100.
    noise : float in (0, inf), default=0.1
        Initial noise variance of every domain, relative to the normalized labels.
    noise_bounds : (float, float) or "fixed", default=(1e-3, 10.0)
        Bounds of the noise variances; ``"fixed"`` keeps ``noise``. A source without
        noise would bind the target to its every wiggle.
    transfer_strength : {"auto"} or float in (-1, 1], default="auto"
        Strength :math:`\lambda` of every source; ``"auto"`` learns one for each.
    significance : float in (0, 1], default=0.05
        A learned strength is set to 0 unless a likelihood ratio test at this level
        decides that the source matters. 1 keeps every source, as the paper does.
    likelihood : {"conditional", "joint"}, default="conditional"
        What is maximized: the likelihood of the target labels given those of the
        sources, or of all labels. The joint one is better determined if the sources
        are many rows of the same smoothness; a source of another kind drags the
        kernel away from the target.
    normalize_y : bool, default=True
        Subtract from the labels of each domain their mean, and divide all by their
        pooled standard deviation within domains.
    n_restarts : int in [0, inf), default=0
        Random starts of the optimizer besides the two built-in ones, which begin
        with the given hyperparameters and strengths 0.8 and 0.
    max_samples : int in [1, inf) or None, default=500
        Most labeled samples, of all domains together, from which kernel, noises and
        strengths are learned. If there are more, the large domains are represented by
        random samples of equal size, and small ones, mostly the target, by all of
        theirs. Predictions use all samples. None: learn from all of them.
    random_state : int, RandomState instance or None, default=None
        Seed of the random starts and of the random samples.

    Attributes
    ----------
    n_samples_learned_ : int
        Number of labeled samples that kernel, noises and strengths are learned from.
    transfer_strength_ : ndarray of shape (n_sources,)
        Strength :math:`\lambda_k` of each source in (-1, 1].
    b_ : ndarray of shape (n_sources,)
        Shape of the Gamma law of each source for the scale :math:`\mu = 1`.
    likelihood_gain_ : ndarray of shape (n_sources,)
        What the strength of each source adds to the log likelihood; NaN if it was
        given.
    sources_ : ndarray of shape (n_sources,)
        Ids of the sources.
    kernel_ : kernel
        The kernel with its learned hyperparameters, for normalized labels.
    noise_ : float
        Noise variance of the target labels, in their unit squared.
    source_noise_ : ndarray of shape (n_sources,)
        Noise variances of the source labels.
    log_marginal_likelihood_ : float
        The maximum: log density of the normalized labels, see ``likelihood``, of the
        samples that are learned from.
    n_iter_ : int
        Iterations of the optimizer's best run; 0 if nothing was to be learned.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SecureRLS : A linear correction of source models.
    sklearn.gaussian_process.GaussianProcessRegressor : One domain.

    Notes
    -----
    Rows :math:`x_n, x_m` of domains with strengths :math:`v`, where
    :math:`v = \lambda_k` for source :math:`k` and 1 for the target, have covariance

    .. math::

        K_{nm} = k(x_n, x_m) \cdot
        \begin{cases} 1 & \text{in one domain} \\
        v_n v_m & \text{across domains} \end{cases}
        \quad + \delta_{nm} \sigma^2_{\text{domain}}.

    For one source this is the semiparametric kernel
    :math:`k \, (2 e^{-s \rho} - 1)`, :math:`s = 1` across domains, with
    :math:`\rho \sim \Gamma(b, \mu)` integrated out [1]_:
    :math:`\lambda = 2 (1 + \mu)^{-b} - 1`. As :math:`b` and :math:`\mu` enter by
    :math:`b \log(1 + \mu)` only, :math:`\mu` is 1. :math:`\lambda = 1` is one pooled
    process, :math:`\lambda = 0` the process of the target alone, a negative strength
    means that a source behaves oppositely.

    K is positive semidefinite for any :math:`|\lambda_k| \le 1`: the matrix of
    factors between domains is :math:`v v' + \operatorname{diag}(1 - v_k^2)`, a sum of
    two such matrices, and the elementwise product of positive semidefinite matrices
    is one (Schur). So two sources share what each shares with the target.

    Everything is learned by maximizing :math:`\log p(y_T \mid y_S) = \log p(y_T, y_S) -
    \log p(y_S)`, or only the first term, over the logarithms of :math:`b`, noises and
    the kernel's hyperparameters with analytic gradients. With few target labels the
    maximum overstates unrelated sources. So they are dropped, the weakest first, unless
    twice the gain in log likelihood exceeds the ``significance`` quantile of a
    chi-square law with 2 degrees of freedom (strength and source noise; 1 for the joint
    likelihood, which has the noise anyway). Without a source left the fit is that of
    the target alone.

    Each step of the optimizer takes time of order :math:`m^3` in the number m of
    samples that are learned from, at most ``max_samples``. One further factorization
    takes memory of order :math:`n^2` and time of order :math:`n^3` in the number n of
    all labeled samples. Callbacks of scikit-learn, such as its progress bar, follow
    the search: a task for the first maximum, and one for each round in which a source
    may be dropped.

    References
    ----------
    .. [1] B. Cao, S. J. Pan, Y. Zhang, D.-Y. Yeung, Q. Yang. "Adaptive transfer
       learning". AAAI Conference on Artificial Intelligence, 2010.
       :doi:`10.1609/aaai.v24i1.7682`

    Examples
    --------
    One source has the target's function, the other an unrelated one.

    >>> import numpy as np
    >>> from sktransfer.hypothesis import AdaptiveGP
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-3, 3, size=(86, 1))
    >>> domain = np.repeat([1, 2, -1], [40, 40, 6])
    >>> y = np.where(domain == 2, np.cos(5 * X[:, 0]), np.sin(2 * X[:, 0]))
    >>> y += 0.05 * rng.normal(size=86)
    >>> model = AdaptiveGP().fit(X, y, sample_domain=domain)
    >>> model.transfer_strength_.round(1)
    array([1., 0.])
    >>> mean, std = model.predict([[0.5], [30.0]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1)) < 0.1), bool(std[0] < 0.2 * std[1])
    (True, True)
    """

    _parameter_constraints: dict = {
        "kernel": [Kernel, None],
        "noise": [Interval(Real, 0, None, closed="neither")],
        "noise_bounds": [tuple, list, StrOptions({"fixed"})],
        "transfer_strength": [
            StrOptions({"auto"}),
            Interval(Real, -1, 1, closed="right"),
        ],
        "significance": [Interval(Real, 0, 1, closed="right")],
        "likelihood": [StrOptions({"conditional", "joint"})],
        "normalize_y": ["boolean"],
        "n_restarts": [Interval(Integral, 0, None, closed="left")],
        "max_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernel=None,
        *,
        noise=0.1,
        noise_bounds=(1e-3, 10.0),
        transfer_strength="auto",
        significance=0.05,
        likelihood="conditional",
        normalize_y=True,
        n_restarts=0,
        max_samples=500,
        random_state=None,
    ):
        self.kernel = kernel
        self.noise = noise
        self.noise_bounds = noise_bounds
        self.transfer_strength = transfer_strength
        self.significance = significance
        self.likelihood = likelihood
        self.normalize_y = normalize_y
        self.n_restarts = n_restarts
        self.max_samples = max_samples
        self.random_state = random_state

    fit = with_callbacks(TransferEstimator.fit)

    def _fit_domains(self, data):
        rng = check_random_state(self.random_state)
        self._check_noise_bounds()
        self.sources_ = data.sources
        parts = [(X, y) for _, X, y in data.each_source()]
        parts.append((data.X_labeled, data.y_labeled))
        self.X_train_ = np.concatenate([X for X, _ in parts]).astype(np.float64)
        self._codes = np.repeat(range(len(parts)), [len(y) for _, y in parts])
        labels = self._normalize([np.asarray(y, dtype=np.float64) for _, y in parts])
        rows = self._learn_from(rng)
        self.n_samples_learned_ = len(rows)
        model = _Model(
            self._start_kernel(),
            self.X_train_[rows],
            labels[rows],
            self._codes[rows],
            joint=self.likelihood == "joint",
        )
        best = self._optimize(model, rng)
        self.kernel_, noise, self.b_ = model.split(best)
        self.noise_ = float(noise[-1]) * self._y_scale**2
        self.source_noise_ = noise[:-1] * self._y_scale**2
        self.transfer_strength_ = 2 * 2.0**-self.b_ - 1
        self._v = np.append(self.transfer_strength_, 1.0)[self._codes]
        K = self.kernel_(self.X_train_) * domain_factors(self._codes, self._v)
        self._L = linalg.cholesky(K + np.diag(noise[self._codes]), lower=True)
        self._alpha = linalg.cho_solve((self._L, True), labels)
        self.log_marginal_likelihood_ = -model.objective(best)[0]

    def _learn_from(self, rng):
        """Return the rows of ``X_train_`` that the search for parameters sees."""
        sizes = np.bincount(self._codes)
        if self.max_samples is None or sizes.sum() <= self.max_samples:
            return np.arange(sizes.sum())
        shares, left = np.zeros_like(sizes), self.max_samples
        for position, k in enumerate(np.argsort(sizes, kind="stable")):
            shares[k] = min(sizes[k], max(left // (len(sizes) - position), 1))
            left -= shares[k]
        return np.concatenate([
            np.sort(rng.permutation(np.flatnonzero(self._codes == k))[:share])
            for k, share in enumerate(shares)
        ])  # fmt: skip

    def _check_noise_bounds(self):
        if self.noise_bounds == "fixed":
            return
        if len(self.noise_bounds) != 2 or not (
            0 < self.noise_bounds[0] <= self.noise_bounds[1] < np.inf
        ):
            raise ValueError(
                "noise_bounds must be 'fixed' or a pair 0 < low <= high, got "
                f"{self.noise_bounds!r}."
            )

    def _start_kernel(self):
        if self.kernel is not None:
            return clone(self.kernel)
        scale = np.sqrt(self.n_features_in_)
        return ConstantKernel(1.0, (0.01, 100.0)) * RBF(
            scale, (0.01 * scale, 100 * scale)
        )

    def _normalize(self, parts):
        """Center each domain's labels, divide all by one scale; keep the target's."""
        means = [y.mean() if self.normalize_y else 0.0 for y in parts]
        centered = np.concatenate([y - m for y, m in zip(parts, means, strict=True)])
        scale = centered.std() if self.normalize_y else 1.0
        self._y_mean, self._y_scale = means[-1], scale if scale > 0 else 1.0
        return centered / self._y_scale

    def _optimize(self, model, rng):
        fixed = self.transfer_strength != "auto"
        strengths = [self.transfer_strength] if fixed else _STARTS
        starts = [model.join(self.noise, strength) for strength in strengths]
        starts = starts[: 1 + model.n_sources]  # without sources they are equal
        bounds = model.bounds(self.noise_bounds, self.noise)
        if fixed:
            bounds[model.shapes] = starts[0][model.shapes, None]
        starts += [
            rng.uniform(*np.clip(bounds, -50, 50).T) for _ in range(self.n_restarts)
        ]
        progress = Progress(self, 1)
        with progress.stage("likelihood", 1 + model.n_sources) as stage:
            fit = self._search(model, starts, bounds, stage.tasks, fixed=fixed)
        progress.end()
        self.n_iter_ = fit.n_iter
        return fit.params

    def _search(self, model, starts, bounds, tasks, *, fixed):
        """Return the maximum; set ``likelihood_gain_``."""
        fit = run_task(tasks[0], maximize_likelihood, model.objective, starts, bounds)
        self.likelihood_gain_ = np.full(model.n_sources, np.nan)
        if not fixed:
            n_params = 1 if self.likelihood == "joint" else 2
            fit, self.likelihood_gain_ = drop_sources(
                model,
                fit,
                starts,
                bounds,
                threshold=0.5 * stats.chi2.isf(self.significance, n_params),
                tasks=tasks[1:],
            )
        return fit

    def predict(self, X, return_std=False):
        """Predict target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.
        return_std : bool, default=False
            Return standard deviations, too.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,)
            Posterior mean.
        y_std : ndarray of shape (n_samples,)
            Posterior standard deviation of the function, without the noise of a new
            label: that has ``sqrt(y_std**2 + noise_)``. Only if ``return_std``.
        """
        X = self._validate_rows(X)
        cross = self.kernel_(X, self.X_train_) * self._v
        mean = cross @ self._alpha * self._y_scale + self._y_mean
        mean = mean.astype(X.dtype, copy=False)
        if not return_std:
            return mean
        explained = linalg.solve_triangular(self._L, cross.T, lower=True)
        variance = self.kernel_.diag(X) - np.sum(explained**2, axis=0)
        std = np.sqrt(np.clip(variance, 0, None)) * self._y_scale
        return mean, std.astype(X.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.classification = False
        return tags


class _Model:
    """The likelihood as a function of one vector.

    The vector holds the kernel's log hyperparameters, the log noise variances of the
    sources and the target, and log b of the sources.

    Parameters
    ----------
    kernel : kernel
        Its hyperparameters are the initial ones.
    X : ndarray of shape (n, n_features)
        Rows, ordered by domain, the target last.
    y : ndarray of shape (n,)
        Normalized labels.
    codes : ndarray of shape (n,)
        Domain 0, 1, ... of each row.
    joint : bool
        Whether the likelihood of the sources is a part.
    """

    def __init__(self, kernel, X, y, codes, *, joint):
        self.kernel, self.X, self.y, self.codes = kernel, X, y, codes
        self.n_sources = int(codes[-1])
        self.n_given = 0 if joint else int((codes < self.n_sources).sum())
        self.n_kernel = len(kernel.theta)
        self.shapes = slice(self.n_kernel + self.n_sources + 1, None)

    def join(self, noise, strength):
        """Return the vector of the initial kernel and equal noises and strengths."""
        noises = np.full(self.n_sources + 1, np.log(noise))
        with np.errstate(divide="ignore"):  # strength 1 is b = 0
            log_b = np.log(1 - np.log2(1 + strength))
        return np.r_[self.kernel.theta, noises, np.full(self.n_sources, log_b)]

    def split(self, params):
        """Return kernel, noise variances and b of a vector."""
        theta, noise = params[: self.n_kernel], params[self.n_kernel :]
        kernel = self.kernel.clone_with_theta(theta)
        return kernel, np.exp(noise[: self.n_sources + 1]), np.exp(params[self.shapes])

    def bounds(self, noise_bounds, noise):
        """Return lower and upper bounds, shape (n_params, 2)."""
        pair = (noise, noise) if noise_bounds == "fixed" else tuple(noise_bounds)
        noises = np.tile(np.log(pair), (self.n_sources + 1, 1))
        shapes = np.tile(np.log(_B_BOUNDS), (self.n_sources, 1))
        kernel = np.reshape(self.kernel.bounds, (self.n_kernel, 2))
        return np.concatenate([kernel, noises, shapes])

    def factors(self, v):
        """Return the factors of the kernel between rows of strengths ``v``."""
        return domain_factors(self.codes, v)

    def _same_domain(self):
        return self.codes[:, None] == self.codes

    def objective(self, params):
        """Return the negative log likelihood and its gradient."""
        kernel, noise, b = self.split(params)
        strength = 2 * 2.0**-b - 1
        v = np.append(strength, 1.0)[self.codes]
        K, dK = kernel(self.X, eval_gradient=True)
        factors = self.factors(v)
        C = factors * K + np.diag(noise[self.codes])
        try:
            value, W = conditional_likelihood(C, self.y, self.n_given)
        except linalg.LinAlgError:
            return np.inf, np.zeros_like(params)
        by_kernel = np.tensordot(W * factors, dK, axes=2)
        by_noise = np.bincount(self.codes, W.diagonal(), self.n_sources + 1) * noise
        across = np.where(self._same_domain(), 0.0, W * K) @ v
        by_strength = 2 * np.bincount(self.codes, across, self.n_sources + 1)[:-1]
        by_shape = -by_strength * (1 + strength) * np.log(2) * b
        return value, np.r_[by_kernel, by_noise, by_shape]


def domain_factors(codes, v):
    """Return the factors of the kernel between rows of strengths ``v``.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Domain of each row.
    v : ndarray of shape (n,)
        Strength of each row.

    Returns
    -------
    factors : ndarray of shape (n, n)
        1 within a domain.
    """
    return np.where(codes[:, None] == codes, 1.0, np.outer(v, v))


def conditional_likelihood(C, y, n_given):
    """Return minus the log density of the last labels given the first ``n_given``.

    Parameters
    ----------
    C : ndarray of shape (n, n)
        Covariance of all labels.
    y : ndarray of shape (n,)
        Labels, of mean 0.
    n_given : int
        Number of labels in the condition.

    Returns
    -------
    value : float
        Negative log density.
    W : ndarray of shape (n, n)
        Its derivative with respect to C, symmetric.
    """
    L = linalg.cholesky(C, lower=True)
    whitened = linalg.solve_triangular(L, y, lower=True)[n_given:]
    value = 0.5 * whitened @ whitened + np.log(L.diagonal()[n_given:]).sum()
    value += 0.5 * len(whitened) * np.log(2 * np.pi)
    # a third of the work of solving for the columns of the identity matrix
    lower, failed = linalg.lapack.dpotri(L, lower=1)
    if failed:
        raise linalg.LinAlgError("The covariance of the labels is singular.")
    inverse = lower + lower.T  # above the diagonal L is 0, and so is what comes back
    inverse[np.diag_indices_from(inverse)] = lower.diagonal()
    alpha = inverse @ y
    W = 0.5 * (inverse - np.outer(alpha, alpha))
    if n_given:
        # less the same for the first labels alone, whose inverse covariance is that of
        # all less a Schur complement
        across, last = inverse[:n_given, n_given:], inverse[n_given:, n_given:]
        beta = linalg.cho_solve((L[:n_given, :n_given], True), y[:n_given])
        given = across @ linalg.solve(last, across.T, assume_a="pos")
        given += np.outer(beta, beta) - np.outer(alpha[:n_given], alpha[:n_given])
        W[:n_given, :n_given] = 0.5 * given
    return float(value), W


class _Fit(NamedTuple):
    params: np.ndarray
    value: float
    n_iter: int


def maximize_likelihood(objective, starts, bounds):
    """Minimize ``objective`` from several starts within bounds.

    Parameters
    ----------
    objective : callable
        Returns value and gradient.
    starts : list of ndarray of shape (n_params,)
        Starting points; they are moved into the bounds.
    bounds : ndarray of shape (n_params, 2)
        Bounds; equal ones fix an entry.

    Returns
    -------
    fit : _Fit
        The best point, its value, and the iterations of its run.
    """
    low, high = bounds.T
    free = low < high
    starts = [np.clip(start, low, high) for start in starts]
    if not free.any():
        return _Fit(starts[0], objective(starts[0])[0], 0)

    def reduced(x, base):
        point = base.copy()
        point[free] = x
        value, gradient = objective(point)
        return value, gradient[free]

    runs = [
        optimize.minimize(
            reduced, start[free], args=(start,), jac=True, bounds=bounds[free],
            method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-9, "gtol": 1e-6},
        )
        for start in starts
    ]  # fmt: skip
    winner = int(np.argmin([run.fun for run in runs]))
    run, best = runs[winner], starts[winner].copy()
    best[free] = run.x
    moved = np.clip(run.x - run.jac, low[free], high[free]) - run.x
    residual = float(np.abs(moved).max())
    if not residual < 1e-2:
        warn(
            "The likelihood was not maximized: projected gradient "
            f"{residual:.2g} after {run.nit} iterations. Scale the features, or "
            "narrow the bounds of the kernel.",
            ConvergenceWarning,
        )
    return _Fit(best, run.fun, run.nit)


def drop_sources(model, fit, starts, bounds, *, threshold, tasks=None):
    """Set strengths to 0, the weakest source first, while the likelihood allows it.

    Parameters
    ----------
    model : _Model
        The likelihood.
    fit : _Fit
        Its maximum.
    starts, bounds : list of ndarray, ndarray
        As of `maximize_likelihood`.
    threshold : float
        Least gain in log likelihood that keeps a source.
    tasks : list of Task or None, default=None
        One for each round, of which there are at most as many as sources.

    Returns
    -------
    fit : _Fit
        The maximum over the kept sources.
    gains : ndarray of shape (n_sources,)
        Gain of each source over strength 0, when it was dropped or at the end.
    """
    gains, kept = np.zeros(model.n_sources), list(range(model.n_sources))

    def without_each(fit, bounds):
        trials = []
        for k in kept:
            without = bounds.copy()
            without[model.shapes.start + k] = 0.0  # b = 1
            trial = maximize_likelihood(
                model.objective, [fit.params, starts[0]], without
            )
            trials.append((trial.value - fit.value, k, trial, without))
            gains[k] = trials[-1][0]
        return trials

    for task in tasks or [None] * model.n_sources:
        trials = run_task(task, without_each, fit, bounds)
        gain, k, trial, without = min(trials, key=lambda option: option[0])
        if gain > threshold:
            break
        kept.remove(k)
        fit, bounds = trial, without
    return fit, gains
