"""What UOWQ asks of a model: its parameters and its Fisher information."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)

from sktransfer._deviance import deviance_power, unit_deviance
from sktransfer._solvers.information import effective_parameters
from sktransfer.exceptions import warn

__all__ = ["FisherRoot", "Likelihood", "likelihood_of", "register_likelihood"]

_MAX_SCORES = 4000


@dataclass(frozen=True, eq=False)
class FisherRoot:
    r"""A square root of the Fisher information, kept as a product of small factors.

    Row ``i`` contributes ``factors[i]`` times its features: with
    :math:`J = \frac1n \sum_i (B_i \otimes x_i^\top)^\top (B_i \otimes x_i^\top)` the
    matrix of ``n_params`` squared entries is never formed.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_rows, n_features)
        Features; for a model that gives scores, the scores themselves.
    factors : ndarray of shape (n_rows, n_factors, n_outputs)
        Factor :math:`B_i` of each row.
    intercept : bool
        Whether every output has a last parameter that multiplies 1.
    penalty : float in [0, inf) or ndarray of shape (n_outputs,), default=0.0
        Precision of the Gaussian prior to which the penalty on the coefficients
        amounts, in units of the log-likelihood of all rows; the intercept is free.
    dispersion : float, default=1.0
        Dispersion of the labels, where the likelihood has one.
    """

    X: Any
    factors: np.ndarray
    intercept: bool
    penalty: float | np.ndarray = 0.0
    dispersion: float = 1.0

    def project(self, params: Any) -> NDArray[Any]:
        """Return the root times parameter vectors.

        Parameters
        ----------
        params : ndarray of shape (n_vectors, n_params)
            Parameter vectors, or differences of them.

        Returns
        -------
        projected : ndarray of shape (n_rows * n_factors, n_vectors)
            Its columns have the squared norms ``params @ J @ params.T``.
        """
        n, _, q = self.factors.shape
        blocks = params.reshape(len(params), q, -1)
        coef = blocks[:, :, :-1] if self.intercept else blocks
        flat = coef.reshape(len(params) * q, -1)
        linear = np.asarray(self.X @ flat.T).reshape(n, len(params), q)
        if self.intercept:
            linear = linear + blocks[:, :, -1]
        projected = np.einsum("nrq,nkq->nrk", self.factors, linear, optimize=True)
        return projected.reshape(-1, len(params)) / np.sqrt(n)

    def n_parameters(self, n_rows: float, power: Any = 2) -> float:
        r"""Count the parameters that ``n_rows`` rows determine.

        Parameters
        ----------
        n_rows : float
            Number of rows :math:`n` that the penalty :math:`\Lambda` competes with.
        power : {1, 2}, default=2
            2 counts the variance that is left, 1 the degrees of freedom.

        Returns
        -------
        d : float
            :math:`\mathrm{tr}[(J (J + \Lambda/n)^{-1})^{\text{power}}]`; the rank of
            :math:`J` without a penalty, of centered and scaled features. At most 4000
            scores, evenly spaced, count.
        """
        rows = slice(None, None, -(-self.factors[..., 0].size // _MAX_SCORES))
        B = self.factors[rows]
        return effective_parameters(
            self.X[rows],
            B * np.sqrt(n_rows / len(B)),
            self.intercept,
            self.penalties,
            power=power,
        )

    @property
    def penalties(self) -> NDArray[Any]:
        """Precision of the prior of each output, shape (n_outputs,)."""
        return np.broadcast_to(np.asarray(self.penalty, float), self.factors.shape[2:])

    def weighted(self, sample_weight: Any) -> "FisherRoot":
        r"""Return the root with weighted rows; the information stays one per row.

        Parameters
        ----------
        sample_weight : ndarray of shape (n_rows,) or None
            Weights of the rows.

        Returns
        -------
        root : FisherRoot
            Of :math:`\sum_i w_i B_i^\top B_i \otimes x_i x_i^\top / \sum_i w_i`.
        """
        if sample_weight is None:
            return self
        share = np.sqrt(sample_weight / np.mean(sample_weight))
        return replace(self, factors=self.factors * share[:, None, None])


class Likelihood:
    """Parameters and scores of a type of model, for use by UOWQ.

    Subclass it and hand an instance to :func:`register_likelihood`. A subclass must
    define ``parameters`` and ``scores``. It may define ``fisher_root``, where the
    expected Fisher information is known, ``deviance``, where the log-likelihood itself
    is at hand, and ``set_parameters``, which makes fitted source models usable without
    their rows.

    Attributes
    ----------
    expected : bool
        True if ``fisher_root`` gives the expected Fisher information of the model.
        False: scores of held-out target rows are used, because the scores at a fit
        vanish where it interpolates its own rows.
    constant : bool
        True if the Fisher information does not depend on the parameters; it is then
        taken at the fit on the target alone.
    normalized : bool
        True if the learner divides the log-likelihood by the total weight of its rows
        before it adds the penalty.

    See Also
    --------
    register_likelihood : Register an instance.
    likelihood_of : Look up what is registered.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import GammaRegressor
    >>> from sktransfer.multisource import Likelihood, register_likelihood
    >>> class MyGamma(GammaRegressor):
    ...     pass
    >>> class GammaLikelihood(Likelihood):
    ...     def parameters(self, model):
    ...         return np.append(model.coef_, model.intercept_)
    ...     def scores(self, model, X, y):
    ...         residual = y / model.predict(X) - 1
    ...         return residual[:, None] * np.column_stack([X, np.ones(len(X))])
    >>> register_likelihood(MyGamma, GammaLikelihood())
    """

    expected = False
    constant = False
    normalized = False

    def parameters(self, model: Any) -> Any:
        """Return the parameters of a fitted model.

        Parameters
        ----------
        model : estimator
            A fitted model.

        Returns
        -------
        params : ndarray of shape (n_params,)
            Its parameters in a fixed order.
        """
        raise TypeError(f"{type(self).__name__} does not define parameters(model).")

    def scores(self, model: Any, X: Any, y: Any) -> Any:
        """Return the gradients of the log-likelihood of single rows.

        Parameters
        ----------
        model : estimator
            A fitted model.
        X : {ndarray, sparse matrix} of shape (n_rows, n_features)
            Rows.
        y : ndarray of shape (n_rows,)
            Their labels.

        Returns
        -------
        scores : ndarray of shape (n_rows, n_params)
            Gradients with respect to ``parameters``.
        """
        raise TypeError(f"{type(self).__name__} does not define scores(model, X, y).")

    def fisher_root(self, model: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Return a root of the Fisher information at a model, per row.

        Parameters
        ----------
        model : estimator
            A fitted model.
        X : {ndarray, sparse matrix} of shape (n_rows, n_features)
            Rows over which the information is averaged.
        y : ndarray of shape (n_rows,)
            Their labels.
        sample_weight : ndarray of shape (n_rows,), default=None
            Weights of the rows; a weight of 2 counts as two rows.

        Returns
        -------
        root : FisherRoot
            The empirical Fisher information of ``scores``, unless overridden.
        """
        G = self.scores(model, X, y)
        root = FisherRoot(G, np.ones((G.shape[0], 1, 1)), intercept=False)
        return root.weighted(sample_weight)

    def source_root(
        self, model: Any, X: Any, y: Any, target_root: Any, sample_weight: Any = None
    ) -> FisherRoot:
        """Return a root of the Fisher information over rows of a source.

        Parameters
        ----------
        model : estimator
            A fitted model.
        X : {ndarray, sparse matrix} of shape (n_rows, n_features)
            Rows of a source.
        y : ndarray of shape (n_rows,)
            Their labels.
        target_root : FisherRoot
            That of the target rows, for the nuisance parameters of the target.
        sample_weight : ndarray of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        root : FisherRoot
            ``fisher_root(model, X, y, sample_weight)``, unless overridden.
        """
        return self.fisher_root(model, X, y, sample_weight)

    def deviance(
        self, model: Any, reference: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        r"""Return twice the log-likelihood that rows lose from one model to another.

        Parameters
        ----------
        model : estimator
            A fitted model, with parameters :math:`\theta`.
        reference : estimator
            Another one, with :math:`\theta_0`; nuisance parameters are taken at it.
        X : {ndarray, sparse matrix} of shape (n_rows, n_features)
            Rows.
        y : ndarray of shape (n_rows,)
            Their labels.
        sample_weight : ndarray of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        deviance : float
            By default :math:`-\sum_i (g_i(\theta_0) + g_i(\theta))^\top (\theta -
            \theta_0)` with :math:`g_i` the scores, which is exact for a quadratic
            log-likelihood.
        """
        move = self.parameters(model) - self.parameters(reference)
        g = self.scores(reference, X, y) + self.scores(model, X, y)
        return -float(np.dot(_weights(sample_weight, len(g)), g @ move))

    def set_parameters(self, model: Any, params: Any) -> Any:
        """Write parameters into a fitted model.

        Parameters
        ----------
        model : estimator
            A fitted model, changed in place.
        params : ndarray of shape (n_params,)
            Parameters in the order of ``parameters``.
        """
        raise TypeError(
            f"{type(self).__name__} does not define set_parameters(model, params), "
            "which source models without rows need."
        )


class _LinearPredictor(Likelihood):
    """Models of ``X @ coef_.T + intercept_``; parameters output by output."""

    _residuals: Callable[..., Any]

    expected = True

    def parameters(self, model: Any) -> NDArray[Any]:
        coef = np.atleast_2d(model.coef_)
        if not model.fit_intercept:
            return coef.ravel()
        intercept = np.broadcast_to(model.intercept_, len(coef))
        return np.column_stack([coef, intercept]).ravel()

    def set_parameters(self, model: Any, params: NDArray[Any]) -> None:
        blocks = params.reshape(len(np.atleast_2d(model.coef_)), -1)
        coef = blocks[:, :-1] if model.fit_intercept else blocks
        model.coef_ = coef.reshape(np.shape(model.coef_))
        if model.fit_intercept:
            intercept = blocks[:, -1].reshape(np.shape(model.intercept_))
            model.intercept_ = intercept if intercept.ndim else float(intercept)

    def scores(self, model: Any, X: Any, y: Any) -> NDArray[Any]:
        residual = self._residuals(model, X, y)
        X = X.toarray() if sparse.issparse(X) else np.asarray(X)
        if model.fit_intercept:
            X = np.column_stack([X, np.ones(len(X))])
        return (residual[:, :, None] * X[:, None, :]).reshape(len(X), -1)


def _decisions(model: Any, X: Any) -> Any:
    """Return decision values; numbers are not checked, as fits have seen them."""
    if type(model) is not LogisticRegression or type(X) is not np.ndarray:
        return model.decision_function(X)
    if X.dtype != np.float64:
        return model.decision_function(X)
    values = X @ model.coef_.T + model.intercept_
    return values[:, 0] if values.shape[1] == 1 else values


class _Logistic(_LinearPredictor):
    """Binary and multinomial logistic regression; labels drawn from the model."""

    def fisher_root(
        self, model: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> FisherRoot:
        decision = _decisions(model, X)
        if decision.ndim == 1:
            p = expit(decision)
            factors = np.sqrt(p * (1 - p))[:, None, None]
        else:
            factors = _multinomial_factors(softmax(decision, axis=1))
        penalty = self.penalty_of(model)
        root = FisherRoot(_as_matrix(X), factors, model.fit_intercept, penalty)
        return root.weighted(sample_weight)

    def deviance(
        self, model: Any, reference: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        columns = np.searchsorted(reference.classes_, y)[:, None]
        losses = []
        for fit in (reference, model):
            decision = _decisions(fit, X)
            if decision.ndim == 1:
                decision = np.column_stack([np.zeros(len(decision)), decision])
            hits = np.take_along_axis(log_softmax(decision, axis=1), columns, axis=1)
            losses.append(-2 * np.dot(_weights(sample_weight, len(hits)), hits[:, 0]))
        return float(losses[1] - losses[0])

    @staticmethod
    def penalty_of(model: Any) -> float:
        """Precision of the L2 part of the penalty; an L1 part is no Gaussian prior."""
        C = float(np.mean(model.C_ if hasattr(model, "C_") else model.C))
        if getattr(model, "penalty", "deprecated") is None or np.isinf(C):
            return 0.0
        chosen = getattr(model, "l1_ratio_", None)  # by LogisticRegressionCV
        l1_ratio = (model.l1_ratio or 0.0) if chosen is None else float(np.mean(chosen))
        if getattr(model, "penalty", "deprecated") == "l1":
            l1_ratio = 1.0
        return (1 - l1_ratio) / C

    def _residuals(self, model: Any, X: Any, y: Any) -> NDArray[Any]:
        hits = np.asarray(y)[:, None] == model.classes_
        residuals = hits - model.predict_proba(X)
        return residuals[:, 1:] if len(np.atleast_2d(model.coef_)) == 1 else residuals


class _Gaussian(_LinearPredictor):
    """Least squares; the noise variance is estimated on the rows, per output."""

    constant = True

    def fisher_root(
        self, model: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> FisherRoot:
        rows, weights = _as_matrix(X), _weights(sample_weight, len(y))
        alpha, n = np.asarray(getattr(model, "alpha", 0.0), float), float(weights.sum())
        ones = np.ones((len(weights), 1, 1))
        unit = FisherRoot(rows, ones, model.fit_intercept, float(np.mean(alpha)))
        free = n - unit.weighted(sample_weight).n_parameters(n, power=1)
        noise = _noise_variance(model, X, y, free, weights)
        factors = ones * np.diag(1 / np.sqrt(noise))
        root = FisherRoot(rows, factors, model.fit_intercept, alpha / noise)
        return root.weighted(sample_weight)

    def source_root(
        self,
        model: Any,
        X: Any,
        y: Any,
        target_root: FisherRoot,
        sample_weight: Any = None,
    ) -> FisherRoot:
        rows = _as_matrix(X)
        factors = np.ones((rows.shape[0], 1, 1)) * _mean_factor(target_root)
        root = FisherRoot(rows, factors, model.fit_intercept, target_root.penalty)
        return root.weighted(sample_weight)

    def deviance(
        self, model: Any, reference: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        root = self.fisher_root(reference, X, y, sample_weight)
        precision, weights = (
            np.diag(_mean_factor(root)) ** 2,
            _weights(sample_weight, len(y)),
        )
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        fits = [m.predict(X).reshape(y.shape) for m in (reference, model)]
        losses = [weights @ (y - fit) ** 2 @ precision for fit in fits]
        return float(losses[1] - losses[0])

    def _residuals(self, model: Any, X: Any, y: Any) -> NDArray[Any]:
        residuals = (y - model.predict(X)).reshape(len(y), -1)
        root = self.fisher_root(model, X, y)
        return residuals * np.diag(root.factors[0]) ** 2


class _LogTweedie(_LinearPredictor):
    """Poisson, gamma and Tweedie regression with the log link.

    The dispersion is 1 for Poisson, else that of the rows, by their Pearson residuals;
    rows of a source have that of the target.
    """

    normalized = True

    def fisher_root(
        self, model: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> FisherRoot:
        return self._root(
            model, X, self._dispersion(model, X, y, sample_weight), sample_weight
        )

    def source_root(
        self,
        model: Any,
        X: Any,
        y: Any,
        target_root: FisherRoot,
        sample_weight: Any = None,
    ) -> FisherRoot:
        return self._root(model, X, target_root.dispersion, sample_weight)

    def _root(
        self, model: Any, X: Any, dispersion: float, sample_weight: Any
    ) -> FisherRoot:
        mean = model.predict(X)
        factors = np.sqrt(mean ** (2 - deviance_power(model)) / dispersion)
        # the learner divides the log-likelihood by the total weight
        penalty = model.alpha * float(_weights(sample_weight, len(mean)).sum())
        root = FisherRoot(
            _as_matrix(X), factors[:, None, None], model.fit_intercept,
            penalty / dispersion, dispersion,
        )  # fmt: skip
        return root.weighted(sample_weight)

    def _dispersion(self, model: Any, X: Any, y: Any, sample_weight: Any) -> float:
        power = deviance_power(model)
        if power == 1:
            return 1.0
        weights = _weights(sample_weight, len(y))
        n = float(weights.sum())
        free = n - self._root(model, X, 1.0, sample_weight).n_parameters(n, power=1)
        spread = model.predict(X) ** (power / 2)
        scaled = _Scaled(model, spread)
        return float(_noise_variance(scaled, X, y / spread, free, weights)[0])

    def deviance(
        self, model: Any, reference: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        power, weights = deviance_power(model), _weights(sample_weight, len(y))
        losses = [
            weights @ unit_deviance(y, fit.predict(X), power)
            for fit in (reference, model)
        ]
        dispersion = self._dispersion(reference, X, y, sample_weight)
        return float(losses[1] - losses[0]) / dispersion

    def _residuals(self, model: Any, X: Any, y: Any) -> NDArray[Any]:
        mean = model.predict(X)
        dispersion = self._dispersion(model, X, y, None)
        slope = mean ** (1 - deviance_power(model)) / dispersion
        return ((np.asarray(y) - mean) * slope)[:, None]


class _Scaled:
    """Predictions divided by the root of their variance function."""

    def __init__(self, model: Any, spread: Any) -> None:
        self.model, self.spread = model, spread

    def predict(self, X: Any) -> NDArray[Any]:
        """Return scaled predictions of the rows that the spread is of."""
        return self.model.predict(X) / self.spread


@singledispatch
def likelihood_of(estimator: Any) -> Any:
    """Return the likelihood that is registered for the type of an estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.

    Returns
    -------
    likelihood : Likelihood
        That of the nearest base class.

    Raises
    ------
    TypeError
        If none is registered.

    See Also
    --------
    register_likelihood : Register one.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.multisource import likelihood_of
    >>> likelihood_of(Ridge()).expected
    True
    """
    raise TypeError(
        f"estimator={type(estimator).__name__}(...) has no registered likelihood. Use "
        "LogisticRegression, LinearRegression, Ridge, PoissonRegressor, "
        "GammaRegressor or TweedieRegressor, or "
        "register_likelihood() of sktransfer.multisource; in a pipeline, wrap the last "
        "step, not the pipeline."
    )


def register_likelihood(estimator_type: Any, likelihood: Any) -> None:
    """Register the likelihood of a type of estimator and of its subclasses.

    Parameters
    ----------
    estimator_type : type
        Class of the estimator.
    likelihood : Likelihood
        What it answers for fitted models of this class.

    Raises
    ------
    TypeError
        If the arguments are no class and no ``Likelihood``.

    See Also
    --------
    Likelihood : The base class, with an example.

    Examples
    --------
    >>> from sklearn.linear_model import BayesianRidge, Ridge
    >>> from sktransfer.multisource import likelihood_of, register_likelihood
    >>> register_likelihood(BayesianRidge, likelihood_of(Ridge()))
    >>> likelihood_of(BayesianRidge()) is likelihood_of(Ridge())
    True
    """
    if not isinstance(estimator_type, type) or not isinstance(likelihood, Likelihood):
        raise TypeError(
            "register_likelihood takes a class of estimators and an instance of "
            f"Likelihood, got {estimator_type!r} and {likelihood!r}."
        )
    likelihood_of.register(estimator_type, lambda estimator: likelihood)


register_likelihood(LogisticRegression, _Logistic())
register_likelihood(LinearRegression, _Gaussian())
register_likelihood(Ridge, _Gaussian())
register_likelihood(PoissonRegressor, _LogTweedie())
register_likelihood(GammaRegressor, _LogTweedie())


@likelihood_of.register
def _(estimator: TweedieRegressor) -> Any:
    if deviance_power(estimator) is None:
        raise TypeError(
            f"estimator={estimator!r} has no log link: set link='log', or use Ridge."
        )
    return _LOG_TWEEDIE


_LOG_TWEEDIE = _LogTweedie()


def _as_matrix(X: Any) -> NDArray[Any]:
    return X.tocsr() if sparse.issparse(X) else np.asarray(X, dtype=np.float64)


def _multinomial_factors(p: NDArray[Any]) -> NDArray[Any]:
    r"""Root of :math:`\mathrm{diag}(p) - pp^\top`, one row less than classes.

    It is :math:`Q \mathrm{diag}(\sqrt p)` with the rows of Q orthonormal and orthogonal
    to :math:`\sqrt p`: all but the last of the Householder reflection that maps
    :math:`\sqrt p` to the last axis.
    """
    root = np.sqrt(p)
    normal = root.copy()
    normal[:, -1] += 1.0
    head = root[:, :-1] / normal[:, -1:]
    Q = np.eye(p.shape[1])[:-1] - head[:, :, None] * normal[:, None, :]
    return Q * root[:, None, :]


def _weights(sample_weight: Any, n_rows: int) -> NDArray[Any]:
    return np.ones(n_rows) if sample_weight is None else sample_weight


def _mean_factor(root: FisherRoot) -> NDArray[Any]:
    """Root mean square of the factors, which weights leave alone."""
    return np.sqrt(np.mean(root.factors**2, axis=0))


def _noise_variance(
    model: Any, X: Any, y: Any, free: float, weights: NDArray[Any]
) -> NDArray[Any]:
    """Residual variance of each output over the free degrees of freedom."""
    y = np.asarray(y, dtype=np.float64)
    y = y.reshape(len(y), -1)
    if len(y) < 2:
        raise ValueError(
            "One labeled target row gives no estimate of the noise variance; label at "
            "least two target rows."
        )
    residuals = y - model.predict(X).reshape(y.shape)
    noise = weights @ residuals**2 / max(free, 1.0)
    mean = np.average(y, axis=0, weights=weights)
    spread = np.average((y - mean) ** 2, axis=0, weights=weights)
    if free < 1:
        warn(
            f"{len(y)} labeled target rows are too few to estimate the noise "
            "variance next to the coefficients; the variance of y takes its place, "
            "which favors the sources.",
            UserWarning,
        )
        noise = spread
    eps = np.finfo(np.float64).eps
    floor = eps * (spread + eps * np.max(y**2, axis=0))
    return np.maximum(noise, np.where(floor > 0, floor, eps))
