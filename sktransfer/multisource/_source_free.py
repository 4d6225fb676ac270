"""SourceFreeEnsemble: weights of source models from unlabeled target rows alone."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags

from sktransfer._compat import Interval
from sktransfer._response import CommonColumns, all_classes
from sktransfer._solvers.centroid_labels import centroid_labels
from sktransfer._source_models import (
    SourceModelCombiner,
    known_columns,
    mixture,
)
from sktransfer.base import ByDomainMixin
from sktransfer.exceptions import warn

__all__ = ["SourceFreeEnsemble"]

_TINY = 1e-12


class SourceFreeEnsemble(ByDomainMixin, SourceModelCombiner):
    r"""Mix source models so that their mixture is sure of rows and balanced over them.

    No source row is needed: fitted models suffice, and unlabeled target rows decide
    on the weights. A good mixture gives every row a sure prediction and, over all
    rows, predicts every class; it also agrees with clusters of the rows.

    Rows that are to be predicted may name their domain in ``sample_domain``: those of a
    source are predicted by its model, and those of a domain that ``fit`` has not seen
    by weights of their own. Give all rows of such a domain at once.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``: fitted to source rows where they are given
        in place of ``source_models``, and to the target alone without sources.
    source_models : estimator or list of them, default=None
        Fitted classifiers, which clones keep. They take the place of source rows. In
        a parameter grid give each as ``FrozenEstimator(model)``.
    pseudo_label_weight : float in [0, inf), default=0.3
        Weight of the cross-entropy to the labels of the target rows: the given ones,
        and for other rows pseudo-labels by the nearest class centroid. 0: the
        information-maximization loss alone, in which no label counts.
    n_pseudo_rounds : int in [1, inf), default=2
        How often pseudo-labels and weights are computed in turn.
    max_iter : int in [1, inf), default=200
        Largest number of optimizer steps from each start.
    tol : float in (0, inf), default=1e-8
        Tolerance of the optimizer.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The mixture; without sources the fit on the labeled target rows.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source; with ``source_models`` their positions 1, 2, ...
    source_weights_ : ndarray of shape (n_sources,)
        Weights of the models, summing to 1.
    loss_ : float
        The loss at these weights; NaN without sources.
    n_iter_ : int
        Optimizer steps of the last round from the best start; 1 without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    HEnsemble : Weights models by labeled target rows.

    Notes
    -----
    With :math:`p_i = \sum_k a_k p_{ki}` the mixture of the models' probabilities at
    target row :math:`i`, :math:`\bar p` its mean, :math:`H` the entropy and
    :math:`y_i` a label or pseudo-label, the weights minimize over the simplex

    .. math::
        \frac1n \sum_i H(p_i) - H(\bar p)
        - \frac{\lambda}{n} \sum_i \log p_{i, y_i},

    with :math:`\lambda` = ``pseudo_label_weight``. The loss is not convex; the best
    of the uniform start and of starts near every single model is taken, and every
    single model is a candidate itself. The entropy of single rows favors single
    models, so the weights often are all on one.

    References
    ----------
    S. M. Ahmed et al., "Unsupervised multi-source domain adaptation without access
    to source data", CVPR 2021. :arxiv:`2104.01845`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import SourceFreeEnsemble
    >>> rng = np.random.default_rng(0)
    >>> Xs = rng.normal(size=(200, 2))
    >>> models = [
    ...     LogisticRegression(C=C).fit(Xs, Xs[:, 0] > 0)
    ...     for C in (1e-3, 10.0)
    ... ]
    >>> Xt = np.repeat([[-2.0, 0.0], [2.0, 0.0]], 10, axis=0)
    >>> model = SourceFreeEnsemble(LogisticRegression(), source_models=models)
    >>> model.fit(Xt, np.full(20, np.nan), sample_domain=-1).source_weights_.round(2)
    array([0., 1.])
    """

    _parameter_constraints: dict[str, Any] = {
        **SourceModelCombiner._parameter_constraints,
        "pseudo_label_weight": [Interval(Real, 0, None, closed="left")],
        "n_pseudo_rounds": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        source_models: Any = None,
        pseudo_label_weight: Any = 0.3,
        n_pseudo_rounds: Any = 2,
        max_iter: Any = 200,
        tol: Any = 1e-8,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator, source_models=source_models, n_jobs=n_jobs)
        self.pseudo_label_weight = pseudo_label_weight
        self.n_pseudo_rounds = n_pseudo_rounds
        self.max_iter = max_iter
        self.tol = tol

    def _fit_estimator(self, data: Any, fit_params: dict[Any, Any]) -> Any:
        if self.pseudo_label_weight:  # its labels come from distances
            self._validate_X(data.X_target, get_tags(self), reset=False)
        self.loss_, self.n_iter_ = np.nan, 1
        self._target = int(data.targets[0])
        self._models: list[Any] = []
        return super()._fit_estimator(data, fit_params)

    def _combine_models(
        self, models: list[Any], data: Any, fit_params: dict[Any, Any]
    ) -> Any:
        self._models = models
        known, columns = known_columns(data, all_classes(models))
        weights, info = self._weigh(models, data.X_target, known, columns)
        self.source_weights_ = weights
        self.loss_, self.n_iter_ = info["loss"], info["n_iter"]
        return mixture(self.estimator, models, weights)

    def _known_domains(self) -> Any:
        return np.append(self.source_ids_, self._target)

    def _model_of(self, domain: Any, X: Any) -> Any:
        if domain == self._target or not self._models:
            return self.estimator_
        place = np.flatnonzero(self.source_ids_ == domain)
        if len(place):
            return mixture(self.estimator, [self._models[place[0]]], np.ones(1))
        nothing = np.zeros(0, dtype=int)
        weights, _ = self._weigh(self._models, X, nothing, nothing)
        return mixture(self.estimator, self._models, weights)

    def _weigh(
        self, models: list[Any], X: Any, known: NDArray[Any], columns: NDArray[Any]
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Return the weights of models for rows, some with a known class, and more."""
        P = CommonColumns(all_classes(models), "predict_proba").answers(models, X)
        P = np.maximum(P, _TINY)
        if self.pseudo_label_weight:
            X = self._validate_X(X, get_tags(self), reset=False)
        labels, weights = None, np.full(len(models), 1 / len(models))
        rounds = self.n_pseudo_rounds if self.pseudo_label_weight else 1
        for _ in range(rounds):
            if self.pseudo_label_weight:
                labels = centroid_labels(X, np.tensordot(weights, P, axes=1))
                labels[known] = columns
            weights, info = minimize_information_loss(
                P,
                labels,
                label_weight=self.pseudo_label_weight,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        if not info["converged"]:
            warn(
                f"The weights did not converge in max_iter={self.max_iter} steps: the "
                f"gradient of the loss is still {info['gradient']:.2g}.",
                ConvergenceWarning,
            )
        return weights, info

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # with source models the target needs no label at all
        tags.target_tags.required &= self.source_models is None
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.unseen_domain = True
        if self.pseudo_label_weight:
            tags.input_tags.allow_nan = False
        else:
            tags.transfer_tags.target_labels = "unused"
        return tags


def information_loss(
    weights: Any, P: Any, labels: Any = None, label_weight: float = 0.0
) -> tuple[float, NDArray[Any]]:
    """Compute the loss of a mixture and its gradient with respect to the weights.

    Parameters
    ----------
    weights : ndarray of shape (n_models,)
        Weights of the models.
    P : ndarray of shape (n_models, n_rows, n_classes)
        Positive probabilities of the models.
    labels : ndarray of shape (n_rows,), default=None
        Column of the label of each row.
    label_weight : float, default=0.0
        Weight of the cross-entropy.

    Returns
    -------
    loss : float
        The loss.
    gradient : ndarray of shape (n_models,)
        Its gradient.
    """
    p = np.tensordot(weights, P, axes=1)
    n = len(p)
    mean = p.mean(axis=0)
    log_p, log_mean = np.log(p), np.log(mean)
    loss = -np.sum(p * log_p) / n + mean @ log_mean
    slope = (-log_p + log_mean) / n
    if label_weight:
        rows = np.arange(n)
        loss -= label_weight * np.mean(log_p[rows, labels])
        slope[rows, labels] -= label_weight / n / p[rows, labels]
    return loss, np.tensordot(P, slope, axes=([1, 2], [0, 1]))


def minimize_information_loss(
    P: Any, labels: Any = None, *, label_weight: float = 0.0, max_iter: int, tol: float
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Minimize the loss over the simplex, from the uniform and every single model.

    Parameters
    ----------
    P : ndarray of shape (n_models, n_rows, n_classes)
        Positive probabilities of the models.
    labels : ndarray of shape (n_rows,), default=None
        Column of the label of each row.
    label_weight : float, default=0.0
        Weight of the cross-entropy.
    max_iter : int
        Steps from each start.
    tol : float
        Tolerance of the optimizer.

    Returns
    -------
    weights : ndarray of shape (n_models,)
        Weights on the simplex.
    info : dict
        ``loss``, ``n_iter``, ``converged`` and ``gradient``, the largest entry of
        the gradient in the logits of the weights.
    """
    K = len(P)

    def objective(logits: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        weights = softmax(logits)
        loss, gradient = information_loss(weights, P, labels, label_weight)
        return loss, weights * (gradient - weights @ gradient)

    best: Any = None
    weights = np.ones(1)
    for start in [np.zeros(K), *(2.0 * np.eye(K) if K > 1 else [])]:
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iter, "ftol": tol, "gtol": tol},
        )
        if best is None or found.fun < best.fun - tol:
            best, weights = found, softmax(found.x)
    info = {
        "loss": float(best.fun),
        "n_iter": max(int(best.nit), 1),
        "converged": bool(best.success),
        "gradient": float(np.max(np.abs(best.jac))),
    }
    vertices = [information_loss(e, P, labels, label_weight)[0] for e in np.eye(K)]
    if min(vertices) <= info["loss"] + tol:
        weights = np.eye(K)[int(np.argmin(vertices))]
        info.update(loss=float(min(vertices)), converged=True, gradient=0.0)
    return weights, info
