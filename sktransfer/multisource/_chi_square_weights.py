"""ChiSquareWeights: class means of the domains mixed by bias and variance."""

import warnings
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import check_weights
from sktransfer._linear import ProbaClassifierMixin
from sktransfer._solvers.simplex_qp import SOLVERS, solve_simplex_qp
from sktransfer._source_models import warn_unless_converged
from sktransfer.base import TransferEstimator
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.multisource._h_ensemble import clipped_proba

__all__ = ["ChiSquareWeights"]


class ChiSquareWeights(ProbaClassifierMixin, TransferEstimator):
    r"""Classify in closed form by class means, those of the domains mixed.

    The target's own class means have a large variance, those of a source a bias. The
    weights of the target and of all sources minimize the sum of both, a chi-square
    distance of the mixture to the truth. Features of any kind come from steps in
    front of it in a pipeline.

    Parameters
    ----------
    noise_correction : bool, default=True
        Whether to estimate the variances of the class means, and to take them out of
        the distances of the sources. False: the published form, with the variances
        :math:`V / n_k` and the distances as they are.
    shrinkage : float in (0, 1], default=0.3
        Share of the mean variance of the features that is added to the diagonal of
        their covariance on the target.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves for the weights: "auto" an active set, "cvxpy" CLARABEL. They
        agree to 1e-8.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of the target samples.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    source_weights_ : ndarray of shape (n_sources,)
        Weight :math:`\alpha_k` of each source.
    target_weight_ : float
        Weight :math:`\alpha_0` of the target; all weights sum to 1.
    distances_ : ndarray of shape (n_sources,)
        Squared distance :math:`D_{kk}` of each source; infinite for one that lacks a
        class.
    kkt_residual_ : float
        Scaled residual of the optimality of the weights.
    center_ : ndarray of shape (n_features,)
        Mean of the labeled target samples.
    class_weights_ : ndarray of shape (n_features, n_classes)
        The mixed functions g, one column for each class.
    class_prior_ : ndarray of shape (n_classes,)
        Shares of the classes in the labeled target samples.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    UserWarning
        If a source lacks a class of the target: its weight is 0.

    See Also
    --------
    UOWQ : Weights of the likelihood of a model, of the same form.
    HEnsemble : The same classifier on mixed features of source models.

    Notes
    -----
    With :math:`\Lambda` the covariance of the features f on the target and
    :math:`g_k(y) = \Lambda^{-1} (\mathrm{E}_k[f | y] - \sum_c P_0(c)\, \mathrm{E}_k[f |
    c])` of domain k, 0 being the target, the classifier is

    .. math:: P(y | x) \propto P_0(y) \Bigl(1 + f(x)^\top \sum_k \alpha_k g_k(y)\Bigr)

    for centered features, with values below 0 set to 0. The weights solve

    .. math:: \min_{\alpha \in \Delta}\; \alpha^\top \bigl(\mathrm{diag}(V / n_0, \dots,
        V / n_K) + D\bigr) \alpha, \quad
        D_{kl} = \sum_y P_0(y) (g_k - g_0)(y)^\top \Lambda\, (g_l - g_0)(y)

    with V the number of features times the number of classes less 1 [1]_. Estimated
    class means make D too large, by about :math:`V / n_0` in every entry of sources and
    :math:`V / n_k` on the diagonal; the correction subtracts that and sets negative
    eigenvalues to 0. In its place it uses an estimate, as classes that lie far apart
    and the shrinkage make it much smaller than V:

    .. math:: v_k = \mathrm{tr}(\Lambda^{-1} \Sigma_k) \sum_y P_0(y) (1 - P_0(y)) /
        n_k(y)

    with the covariance :math:`\Sigma_k` within the classes of domain k. Equal domains
    get weights like their sizes; with many target samples the target gets all the
    weight.

    A user's ``sample_weight`` counts samples. Samples of classes that the target does
    not have are left out. Without sources it is the closed-form classifier of the
    target.

    References
    ----------
    .. [1] X. Tong, X. Xu, S.-L. Huang, L. Zheng. A mathematical framework for
       quantifying transferability in multi-source transfer learning. Advances in
       Neural Information Processing Systems 34, 2021.

    Examples
    --------
    The second source has the opposite labels.

    >>> import numpy as np
    >>> from sktransfer.multisource import ChiSquareWeights
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(230, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 30])
    >>> y = np.where(domain == 2, X[:, 0] < 0, X[:, 0] > 0).astype(int)
    >>> model = ChiSquareWeights().fit(X, y, sample_domain=domain)
    >>> bool(model.source_weights_[0] > 0.5), bool(model.source_weights_[1] < 0.01)
    (True, True)
    """

    _parameter_constraints: dict[str, Any] = {
        "noise_correction": ["boolean"],
        "shrinkage": [Interval(Real, 0, 1, closed="right")],
        "solver": [StrOptions(SOLVERS)],
    }

    def __init__(
        self,
        *,
        noise_correction: bool = True,
        shrinkage: Any = 0.3,
        solver: Any = "auto",
    ) -> None:
        self.noise_correction = noise_correction
        self.shrinkage = shrinkage
        self.solver = solver

    def fit(
        self, X: Any, y: Any, sample_domain: Any = None, sample_weight: Any = None
    ) -> Any:
        """Fit on target samples and sources.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of every domain, in any order.
        y : array-like of shape (n_samples,)
            Classes. Those of unlabeled target samples are missing.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every sample is a
            labeled one of the target.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights; a weight of 2 counts as two samples.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        DomainError
            If the samples break the domain contract.
        ValueError
            If the labeled target samples have one class.
        """
        self._sample_weight = sample_weight
        try:
            return super().fit(X, y, sample_domain=sample_domain)
        finally:
            del self._sample_weight

    def _fit_domains(self, data: Any) -> None:
        weight = np.ones(len(data.sample_domain))
        if self._sample_weight is not None:
            weight = check_weights(self._sample_weight, len(weight)).astype(np.float64)
        own = data.is_labeled_target & (weight > 0)
        if not own.any():
            raise UnlabeledTargetError(
                "sample_weight is zero on all labeled target samples."
            )
        known = data.labels(own)
        check_classification_targets(known)
        self.classes_ = np.unique(known)
        if len(self.classes_) < 2:
            raise ValueError(
                "ChiSquareWeights learns the classes from the labeled target samples, "
                f"but they hold one class, {self.classes_.tolist()[0]!r}: label "
                "samples of at least two."
            )
        table = self._class_means(data, own, weight)
        n_target, self.class_prior_, means = table
        X = take_rows(data.X, own)
        self.center_ = np.asarray(weight[own] @ X).ravel() / n_target
        root = self._root(X, weight[own] / n_target)
        self.source_ids_ = data.sources
        tables = [
            self._class_means(data, data.rows_of(k) & (weight > 0), weight)
            for k in data.sources
        ]
        usable = np.array([np.isfinite(t[2]).all() for t in tables], dtype=bool)
        self._warn_of_lacking(data.sources, usable)
        every = [means, *(t[2] for t, fits in zip(tables, usable, strict=True) if fits)]
        # whitened class means about their mean: g' Lambda g is their square
        whitened = np.stack([self._whitened(m, root) for m in every])
        sizes = np.array([n_target, *(t[0] for t in tables)])
        sizes = sizes[np.append(True, usable)]
        variance = whitened[0].size * (1 - 1 / len(self.classes_)) / sizes
        if self.noise_correction:
            domains = [own, *(data.rows_of(k) for k in data.sources[usable])]
            pairs = zip(domains, every, strict=True)
            variance = np.array(
                [self._variance(data, rows, weight, m, root) for rows, m in pairs]
            )
        alpha, info, D = self._solve(whitened, variance)
        warn_unless_converged(info)
        self.source_weights_ = np.zeros(len(tables))
        self.source_weights_[usable] = alpha[1:]
        self.target_weight_ = float(alpha[0])
        self.distances_ = np.full(len(tables), np.inf)
        self.distances_[usable] = np.diag(D)
        self.kkt_residual_ = info.kkt_residual
        mixed = np.tensordot(alpha, whitened, axes=1)
        self.class_weights_ = linalg.solve_triangular(
            root, mixed.T, lower=True, trans=1
        )

    def _class_means(
        self, data: Any, rows: NDArray[np.bool_], weight: NDArray[Any]
    ) -> tuple[float, NDArray[Any], NDArray[Any]]:
        """Return size, shares and means of the target's classes in some samples."""
        labels = data.labels(rows)
        members = labels[:, None] == self.classes_
        mass = members * weight[rows][:, None]
        total = mass.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.asarray((take_rows(data.X, rows).T @ mass).T) / total[:, None]
        return float(total.sum()), total / max(total.sum(), 1e-300), means

    def _root(self, X: Any, share: NDArray[Any]) -> NDArray[Any]:
        """Return the Cholesky factor of the covariance of the target's features."""
        if hasattr(X, "multiply"):
            second = np.asarray((X.T @ X.multiply(share[:, None])).todense())
            covariance = second - np.outer(self.center_, self.center_)
        else:
            centered = X - self.center_
            covariance = (centered * share[:, None]).T @ centered
        spread = float(np.trace(covariance)) / len(covariance)
        ridge = self.shrinkage * spread if spread > 1e-20 else 1.0
        return linalg.cholesky(covariance + ridge * np.eye(len(covariance)), lower=True)

    def _whitened(self, means: NDArray[Any], root: NDArray[Any]) -> NDArray[Any]:
        centered = means - self.class_prior_ @ means
        return linalg.solve_triangular(root, centered.T, lower=True).T

    def _variance(
        self,
        data: Any,
        rows: NDArray[np.bool_],
        weight: NDArray[Any],
        means: NDArray[Any],
        root: NDArray[Any],
    ) -> float:
        """Estimate the variance of the class means of a domain."""
        rows = rows & (weight > 0)
        members = data.labels(rows)[:, None] == self.classes_
        mass = members * weight[rows][:, None]
        total, row_mass = mass.sum(axis=0), mass.sum(axis=1)
        X = take_rows(data.X, rows)
        if hasattr(X, "multiply"):
            scatter = np.asarray((X.T @ X.multiply(row_mass[:, None])).todense())
            scatter = scatter - (means.T * total) @ means
        else:
            left = X - members.astype(float) @ means
            scatter = (left * row_mass[:, None]).T @ left
        freedom = total.sum() - len(self.classes_)
        white = linalg.solve_triangular(root, scatter, lower=True)
        white = linalg.solve_triangular(root, white.T, lower=True)
        # without a second sample in a class, as much as there is on the target
        size = np.trace(white) / freedom if freedom > 0 else float(len(root))
        prior = self.class_prior_
        return float(size * np.sum(prior * (1 - prior) / total))

    def _solve(
        self, whitened: NDArray[Any], variance: NDArray[Any]
    ) -> tuple[NDArray[Any], Any, NDArray[Any]]:
        """Return weights, their certificate, and the distances of the sources."""
        _, n_classes, n_features = whitened.shape
        moves = (whitened[1:] - whitened[0]) * np.sqrt(self.class_prior_)[:, None]
        moves = moves.reshape(len(moves), n_classes * n_features)
        D = moves @ moves.T
        if self.noise_correction and len(D):
            D = D - variance[0] - np.diag(variance[1:])
            values, vectors = linalg.eigh(D)
            D = (vectors * np.maximum(values, 0.0)) @ vectors.T
        Q = np.diag(variance)
        Q[1:, 1:] += D
        alpha, info = solve_simplex_qp(Q, solver=self.solver)
        return alpha, info, D

    def _warn_of_lacking(
        self, sources: NDArray[Any], usable: NDArray[np.bool_]
    ) -> None:
        lacking = sources[~usable].tolist()
        if lacking:
            warnings.warn(
                f"The sources {lacking} lack classes of the target "
                f"({self.classes_.tolist()}): their weight is 0.",
                UserWarning,
                stacklevel=2,
            )

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict class probabilities of target samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``; the prior where no class has a
            positive one.
        """
        X = self._validate_rows(X)
        ratio = (
            1 + np.asarray(X @ self.class_weights_) - self.center_ @ self.class_weights_
        )
        return clipped_proba(self.class_prior_, ratio)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        tags.transfer_tags.target_labels = "required"
        return tags
