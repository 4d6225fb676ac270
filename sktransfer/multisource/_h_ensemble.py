"""HEnsemble: source features mixed for the largest H-score on the target."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.simplex_qp import SOLVERS, solve_simplex_qp
from sktransfer._source_models import (
    ProbaClassifier,
    SourceModelCombiner,
)
from sktransfer.base import is_scale_free
from sktransfer.exceptions import warn
from sktransfer.multisource._model_response import RESPONSES, model_response

__all__ = ["HEnsemble"]


class HEnsemble(SourceModelCombiner):
    r"""Mix the features of source models for the largest H-score, and classify on top.

    What every source model makes of the labeled target rows, its features or its class
    probabilities, is mixed for the largest H-score, and a closed-form classifier with
    few parameters maps the mixture to the classes of the target.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``: fitted to source rows where they are given
        in place of ``source_models``, and to the target alone without sources.
    source_models : estimator or list of them, default=None
        Fitted classifiers, which clones keep. They take the place of source rows. In
        a parameter grid give each as ``FrozenEstimator(model)``.
    response : {"predict_proba", "features", "auto"}, default="predict_proba"
        What the source models are asked, see Notes. "predict_proba": class
        probabilities. "features": the last hidden layer of a net, or what the last
        step of a pipeline sees. "auto": features where every model has some, of
        the same number, else probabilities.
    shrinkage : float in (0, 1], default=0.1
        Share of the mean variance of the features that is added to the diagonal of
        their covariance, which is singular for probabilities.
    max_iter : int in [1, inf), default=200
        Largest number of optimizer steps from each start.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves the quadratic programs that end the search, see Notes: "auto" an
        active set, "cvxpy" CLARABEL. They agree to 1e-8.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The classifier on the mixed features; without sources the fit on the target.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source; with ``source_models`` their positions 1, 2, ...
    source_weights_ : ndarray of shape (n_sources,)
        Weights of the models, summing to 1.
    h_score_ : float
        H-score of the mixture; NaN without sources.
    n_iter_ : int
        Optimizer steps from the best start; 1 without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels of the target rows.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    MCW : Another classifier on the outputs of source models.
    UOWQ : Weighs the rows of the sources.

    Notes
    -----
    With :math:`f = \sum_k a_k f_k` the mixture of the centered features, the weights
    maximize over the simplex

    .. math::
        H(a) = \mathrm{tr}\bigl(\mathrm{cov}(f)^{-1}
        \mathrm{cov}(\mathrm{E}[f | y])\bigr),

    by L-BFGS from two starts, and then, as :math:`\mathrm{tr}(S^{-1} M^\top M) =
    \max_G 2\, \mathrm{tr}(GM) - \mathrm{tr}(G^\top S G)` is concave in the weights
    for a fixed :math:`G`, by quadratic programs over the simplex that never lower it.

    The classifier is :math:`P(y | x) \propto P(y) (1 + f(x)^\top
    \mathrm{cov}(f)^{-1} \mathrm{E}[f | y])`, with values below 0 set to 0.

    Features are those of the transferability scores (:func:`sktransfer.metrics.h_score`
    and its kin); the paper mixes those of nets that were trained on many rows. Features
    of a pipeline with a scaler are the scaled inputs, in which nothing is left of the
    labels of the source. On the five `tune` sets of ``benchmarks/multisource.md``, with
    10 labels per class and the same nets of 16 hidden units, the mean accuracy is 0.712
    with features and 0.763 with probabilities, which are better there on average and
    therefore the default; the paper's features are one argument away.
    A source of one class has a constant model, whose features are 0. A user's
    ``sample_weight`` counts rows, in the fits of the source models and here.

    References
    ----------
    Y. Wu et al., "H-ensemble: an information theoretic approach to reliable few-shot
    multi-source-free transfer", AAAI 2024. :arxiv:`2312.12489`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import HEnsemble
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(230, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 30])
    >>> y = np.where(domain == 2, X[:, 1] > 0, X[:, 0] > 0).astype(int)
    >>> model = HEnsemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    >>> bool(model.source_weights_[0] > 0.8)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **SourceModelCombiner._parameter_constraints,
        "response": [StrOptions(RESPONSES)],
        "shrinkage": [Interval(Real, 0, 1, closed="right")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions(SOLVERS)],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        source_models: Any = None,
        response: str = "predict_proba",
        shrinkage: Any = 0.1,
        max_iter: Any = 200,
        solver: Any = "auto",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator, source_models=source_models, n_jobs=n_jobs)
        self.response = response
        self.shrinkage = shrinkage
        self.max_iter = max_iter
        self.solver = solver

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        self.h_score_, self.n_iter_ = np.nan, 1
        return super()._fit_estimator(data, fit_params)

    def _combine_models(
        self, models: list[Any], data: Any, fit_params: dict[str, Any]
    ) -> "FeatureClassifier":
        classes, label = target_classes(data, type(self).__name__)
        columns = model_response(
            models,
            self.source_ids_,
            data.X_labeled,
            self.response,
            equal_widths=True,
            owner=type(self).__name__,
        )
        F = columns.answers(models, data.X_labeled)
        share = row_shares(data, fit_params)
        self.source_weights_, info = maximize_h_score(
            F, label, self.shrinkage, share, max_iter=self.max_iter, solver=self.solver
        )
        self.h_score_, self.n_iter_ = info["h_score"], info["n_iter"]
        if not info["converged"]:
            warn(
                f"The weights did not converge in max_iter={self.max_iter} steps: the "
                f"gradient of the H-score is still {info['gradient']:.2g}.",
                ConvergenceWarning,
            )
        return FeatureClassifier(
            models, self.source_weights_, columns, classes, self.shrinkage
        ).fit_features(F, label, share)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.scale_free = is_scale_free(self.estimator)
        return tags


def target_classes(data: Any, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the classes of the labeled target rows, at least two, and the codes."""
    classes, label = np.unique(data.y_labeled, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"{name} learns the classes from the labeled target samples, but they hold "
            f"one class, {classes.tolist()[0]!r}: label samples of at least two."
        )
    return classes, label


def row_shares(data: Any, fit_params: dict[str, Any]) -> NDArray[Any]:
    """Return the shares of the labeled target rows, which sum to 1."""
    weight = fit_params.get("sample_weight")
    if weight is None:
        return np.full(data.n_labeled, 1 / data.n_labeled)
    weight = np.asarray(weight, dtype=np.float64)[data.is_labeled_target]
    return weight / weight.sum()


def class_means(
    f: NDArray[Any], label: NDArray[Any], share: NDArray[Any]
) -> NDArray[Any]:
    """Return the weighted means of features in each class."""
    mass = share[:, None] * (label[:, None] == np.arange(label.max() + 1))
    return (mass / mass.sum(axis=0)).T @ f


def h_score_of_mixture(
    weights: Any, F: Any, label: Any, shrinkage: Any, share: Any = None
) -> tuple[float, NDArray[Any]]:
    """Compute the H-score of mixed features and its gradient in the weights.

    Parameters
    ----------
    weights : ndarray of shape (n_models,)
        Weights of the models.
    F : ndarray of shape (n_models, n_rows, n_features)
        Centered features of the models.
    label : ndarray of shape (n_rows,)
        Class of each row, 0, 1, ...
    shrinkage : float
        Ridge, in units of the mean variance of the models' features.
    share : ndarray of shape (n_rows,), default=None
        Weights of the rows, which sum to 1. None: equal ones.

    Returns
    -------
    score : float
        The H-score.
    gradient : ndarray of shape (n_models,)
        Its gradient.
    """
    share = _equal_shares(F) if share is None else share
    f = np.tensordot(weights, F, axes=1)
    S = _ridged_covariance(f, F, shrinkage, share)
    means = class_means(f, label, share)
    B = (means * np.bincount(label, weights=share)[:, None]).T @ means
    inverse = linalg.inv(S)
    # d tr(S^-1 B) = 2 <f S^-1 averaged within classes - f S^-1 B S^-1, dF> by shares
    within = (means @ inverse)[label]
    slope = 2 * (within - f @ inverse @ B @ inverse) * share[:, None]
    return float(np.sum(inverse * B)), np.tensordot(F, slope, axes=([1, 2], [0, 1]))


def maximize_h_score(
    F: Any,
    label: Any,
    shrinkage: Any,
    share: Any = None,
    *,
    max_iter: int,
    solver: Any = "auto",
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Maximize the H-score over the simplex, from uniform weights and the best model.

    Parameters
    ----------
    F : ndarray of shape (n_models, n_rows, n_features)
        Features of the models.
    label : ndarray of shape (n_rows,)
        Class of each row, 0, 1, ...
    shrinkage : float
        Ridge, in units of the mean variance of the models' features.
    share : ndarray of shape (n_rows,), default=None
        Weights of the rows, which sum to 1. None: equal ones.
    max_iter : int
        Steps from each start.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves the quadratic programs at the end.

    Returns
    -------
    weights : ndarray of shape (n_models,)
        Weights on the simplex.
    info : dict
        ``h_score``, ``n_iter``, ``converged`` and ``gradient``, the largest entry of
        the gradient in the logits of the weights.
    """
    share = _equal_shares(F) if share is None else share
    F = _centered(F, share)
    K = len(F)

    def objective(logits: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        weights = softmax(logits)
        score, gradient = h_score_of_mixture(weights, F, label, shrinkage, share)
        return -score, -weights * (gradient - weights @ gradient)

    singles = [h_score_of_mixture(e, F, label, shrinkage, share)[0] for e in np.eye(K)]
    starts = [np.zeros(K), 3.0 * np.eye(K)[int(np.argmax(singles))]]
    found = [
        minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iter},
        )
        for start in starts
    ]
    # among equal optima the weights from the uniform start, not an arbitrary model
    best = min(found, key=lambda f: round(float(f.fun), 9))
    weights, steps = softmax(best.x), 0
    if best.success:
        weights, steps = _improve(weights, F, label, shrinkage, share, solver)
    info = {
        "h_score": h_score_of_mixture(weights, F, label, shrinkage, share)[0],
        "n_iter": max(int(best.nit) + steps, 1),
        "converged": bool(best.success),
        "gradient": float(np.max(np.abs(best.jac))),
    }
    return weights, info


def _improve(
    weights: NDArray[Any],
    F: NDArray[Any],
    label: NDArray[Any],
    shrinkage: Any,
    share: NDArray[Any],
    solver: Any,
    *,
    max_steps: int = 50,
    tol: float = 1e-10,
) -> tuple[NDArray[Any], int]:
    """Maximize the concave bound that touches the H-score, until nothing changes."""
    prior = np.bincount(label, weights=share)
    mass = share[:, None] * (label[:, None] == np.arange(len(prior)))
    for step in range(max_steps):
        score = h_score_of_mixture(weights, F, label, shrinkage, share)[0]
        f = np.tensordot(weights, F, axes=1)
        S = _ridged_covariance(f, F, shrinkage, share)
        means = class_means(f, label, share)
        G = linalg.solve(S, means.T, assume_a="pos")  # n_features x n_classes
        along = np.sqrt(share)[:, None] * (F @ (G * np.sqrt(prior)))
        Q = np.einsum("kic,lic->kl", along, along, optimize=True)
        linear = np.einsum("kic,ic->k", F @ G, mass)
        found, _ = solve_simplex_qp(2 * Q, -2 * linear, solver=solver)
        change = np.max(np.abs(found - weights))
        if h_score_of_mixture(found, F, label, shrinkage, share)[0] < score:
            return weights, step  # rounding
        weights = found
        if change <= tol:
            return weights, step + 1
    return weights, max_steps


class FeatureClassifier(ProbaClassifier):
    """Closed-form classifier on mixed, centered answers of source models."""

    def __init__(
        self,
        models: list[Any],
        weights: NDArray[Any],
        columns: Any,
        classes: NDArray[Any],
        shrinkage: Any,
    ) -> None:
        self.models = models
        self.weights = weights
        self.columns = columns
        self.classes_ = classes
        self.shrinkage = shrinkage

    def fit_features(
        self, F: NDArray[Any], label: NDArray[Any], share: NDArray[Any] | None = None
    ) -> Self:
        """Store center, prior and the linear map of the labeled target rows."""
        share = _equal_shares(F) if share is None else share
        f = np.tensordot(self.weights, F, axes=1)
        self.center_ = share @ f
        f = f - self.center_
        S = _ridged_covariance(f, _centered(F, share), self.shrinkage, share)
        self.prior_ = np.bincount(label, weights=share)
        means = class_means(f, label, share)
        self.map_ = linalg.solve(S, means.T, assume_a="pos")
        return self

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict class probabilities; rows without a positive one get the prior."""
        f = self.columns.blend(self.models, self.weights, X)
        return clipped_proba(self.prior_, 1 + (f - self.center_) @ self.map_)


def _equal_shares(F: NDArray[Any]) -> NDArray[Any]:
    return np.full(F.shape[1], 1 / F.shape[1])


def _centered(F: NDArray[Any], share: NDArray[Any]) -> NDArray[Any]:
    return F - np.einsum("i,kid->kd", share, F)[:, None]


def _ridged_covariance(
    f: NDArray[Any], F: NDArray[Any], shrinkage: Any, share: NDArray[Any]
) -> NDArray[Any]:
    """Return the covariance of centered features and a share of the mean variance.

    The ridge is 1 where no feature varies and none counts.
    """
    spread = np.mean(np.einsum("i,kid->kd", share, F**2))
    ridge = shrinkage * spread if spread > 1e-20 else 1.0
    return (f * share[:, None]).T @ f + ridge * np.eye(f.shape[1])


def clipped_proba(prior: NDArray[Any], ratio: NDArray[Any]) -> NDArray[Any]:
    """Normalize prior times ratio, with negative ratios set to 0."""
    raw = prior * np.maximum(ratio, 0.0)
    total = raw.sum(axis=1, keepdims=True)
    return np.where(total > 0, raw / np.where(total > 0, total, 1.0), prior)
