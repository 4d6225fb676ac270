"""Transferability across domains and tasks by optimal transport."""

from numbers import Integral, Real
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from sktransfer._compat import Interval, StrOptions, _fit_context, validate_params
from sktransfer.metrics._checks import (
    check_domain_pair,
    encode_labels,
    warn_not_converged,
)
from sktransfer.metrics._leep import conditional_entropy
from sktransfer.metrics._transport import cost_matrix, entropic_plan


class OTCEComponents(NamedTuple):
    """The two differences between a source and a target task.

    Parameters
    ----------
    domain_difference : float
        Cost of the transport of the features, at least 0.
    task_difference : float
        Conditional entropy of the target labels, at least 0, in nats.

    Examples
    --------
    >>> from sktransfer.metrics import OTCEComponents
    >>> OTCEComponents(1.5, 0.0).task_difference
    0.0
    """

    domain_difference: float
    task_difference: float


_CONSTRAINTS = {
    "features_source": ["array-like"],
    "y_source": ["array-like"],
    "features_target": ["array-like"],
    "y_target": ["array-like"],
    "reg": [Interval(Real, 0, None, closed="neither")],
    "cost": [StrOptions({"sqeuclidean", "euclidean"})],
    "max_samples": [Interval(Integral, 2, None, closed="left"), None],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="neither")],
    "random_state": ["random_state"],
}


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def otce_components(
    features_source: Any,
    y_source: Any,
    features_target: Any,
    y_target: Any,
    *,
    reg: Any = 0.05,
    cost: str = "sqeuclidean",
    max_samples: int | None = None,
    max_iter: int = 5000,
    tol: float = 1e-6,
    random_state: Any = None,
) -> OTCEComponents:
    r"""Compute the domain difference and the task difference of OTCE.

    Parameters
    ----------
    features_source : array-like of shape (n_source, n_features)
        Features of the source model for source rows.
    y_source : array-like of shape (n_source,)
        Their source classes.
    features_target : array-like of shape (n_target, n_features)
        Features of the same model for labeled target rows.
    y_target : array-like of shape (n_target,)
        Their target classes; the label sets may differ.
    reg : float > 0, default=0.05
        Strength of the entropy term relative to the mean cost, so that the coupling
        does not depend on the scale of the features.
    cost : {"sqeuclidean", "euclidean"}, default="sqeuclidean"
        Cost of coupling two rows.
    max_samples : int, default=None
        A domain with more rows is replaced by a random sample of this size; time and
        memory grow with the product of the rows. None: all rows.
    max_iter : int, default=5000
        Largest number of Sinkhorn iterations.
    tol : float, default=1e-6
        Largest violation of the marginals.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples.

    Returns
    -------
    components : OTCEComponents
        ``(domain_difference, task_difference)``; small means similar for both.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` ends the iterations, with the violation that is left.

    See Also
    --------
    otce : The score that needs no auxiliary tasks.
    OTCERegressor : The score learned from auxiliary tasks.

    Notes
    -----
    :math:`\pi = \arg\min \sum_{ij} \pi_{ij} c_{ij} + \epsilon \sum_{ij} \pi_{ij} \log
    \pi_{ij}` over couplings of the source and target rows with uniform marginals.
    Then :math:`W_D = \sum_{ij} \pi_{ij} c_{ij}` and, with :math:`P(y_s, y_t) =
    \sum_{ij : y_i = y_s, y_j = y_t} \pi_{ij}`,

    .. math:: W_T = H(Y_t | Y_s) = -\sum_{y_s, y_t} P(y_s, y_t)
       \log \frac{P(y_s, y_t)}{P(y_s)}.

    References
    ----------
    .. [1] Tan, Li and Huang, "OTCE: A transferability metric for cross-domain
       cross-task representations", CVPR (2021), :arxiv:`2103.13843`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import otce_components
    >>> X = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> components = otce_components(X, ["a", "a", "b", "b"], X + 1, [3, 3, 8, 8])
    >>> [round(value, 2) for value in components]
    [1.0, 0.0]
    """
    source, target = check_domain_pair(features_source, features_target, center=True)
    source_classes, codes_source = encode_labels(y_source, len(source), name="y_source")
    target_classes, codes_target = encode_labels(y_target, len(target), name="y_target")
    rng = check_random_state(random_state)
    source, codes_source = _sample(source, codes_source, max_samples, rng)
    target, codes_target = _sample(target, codes_target, max_samples, rng)
    C = cost_matrix(source, target, cost)
    epsilon = reg * C.mean()
    if epsilon > 0:
        plan, residual = entropic_plan(C, epsilon, max_iter=max_iter, tol=tol)
        if residual > 10 * tol:
            warn_not_converged("Sinkhorn", residual, tol, "Raise reg or max_iter.")
    else:
        plan = np.full(C.shape, 1 / C.size)
    member_source = np.eye(len(source_classes))[codes_source]
    member_target = np.eye(len(target_classes))[codes_target]
    joint = member_source.T @ plan @ member_target
    return OTCEComponents(
        float(np.sum(plan * C)), conditional_entropy(joint / joint.sum())
    )


def _sample(
    features: NDArray[Any],
    codes: NDArray[Any],
    max_samples: int | None,
    rng: np.random.RandomState,
) -> tuple[NDArray[Any], NDArray[Any]]:
    if max_samples is None or len(features) <= max_samples:
        return features, codes
    rows = rng.choice(len(features), max_samples, replace=False)
    return features[rows], codes[rows]


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def otce(
    features_source: Any,
    y_source: Any,
    features_target: Any,
    y_target: Any,
    *,
    reg: Any = 0.05,
    cost: str = "sqeuclidean",
    max_samples: int | None = None,
    max_iter: int = 5000,
    tol: float = 1e-6,
    random_state: Any = None,
) -> float:
    r"""Score transferability across domains and tasks without auxiliary tasks.

    Parameters
    ----------
    features_source : array-like of shape (n_source, n_features)
        Features of the source model for source rows.
    y_source : array-like of shape (n_source,)
        Their source classes.
    features_target : array-like of shape (n_target, n_features)
        Features of the same model for labeled target rows.
    y_target : array-like of shape (n_target,)
        Their target classes; the label sets may differ.
    reg : float > 0, default=0.05
        Strength of the entropy term relative to the mean cost.
    cost : {"sqeuclidean", "euclidean"}, default="sqeuclidean"
        Cost of coupling two rows.
    max_samples : int, default=None
        A domain with more rows is replaced by a random sample of this size.
    max_iter : int, default=5000
        Largest number of Sinkhorn iterations.
    tol : float, default=1e-6
        Largest violation of the marginals.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples.

    Returns
    -------
    score : float
        :math:`-W_T`, at most 0, in nats; higher is better.

    See Also
    --------
    otce_components : Both differences and their equations.
    OTCERegressor : Adds the domain difference with learned coefficients.

    Notes
    -----
    :math:`-W_T = -H(Y_t | Y_s)` under the coupling of :func:`otce_components`.

    References
    ----------
    .. [1] Tan, Li and Huang, "OTCE: A transferability metric for cross-domain
       cross-task representations", CVPR (2021), :arxiv:`2103.13843`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import otce
    >>> X = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> round(otce(X, ["a", "a", "b", "b"], X, [3, 8, 3, 8]), 3)
    -0.693
    """
    components = otce_components(
        features_source,
        y_source,
        features_target,
        y_target,
        reg=reg,
        cost=cost,
        max_samples=max_samples,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
    )
    return 0.0 - components.task_difference


class OTCERegressor(RegressorMixin, BaseEstimator):
    r"""Predict transfer accuracy from the two differences of OTCE.

    Fitted on auxiliary tasks whose accuracy after transfer is known; its prediction
    for another task is the OTCE score.

    Parameters
    ----------
    negative : bool, default=False
        Force :math:`\lambda_1, \lambda_2 \le 0`, as a larger difference should not
        raise the accuracy; useful with few auxiliary tasks.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features_in_,)
        :math:`(\lambda_1, \lambda_2)`.
    intercept_ : float
        :math:`b`.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if all are strings.

    See Also
    --------
    otce_components : Computes the differences.
    otce : The score without auxiliary tasks.

    Notes
    -----
    :math:`\mathrm{OTCE} = \lambda_1 W_D + \lambda_2 W_T + b` by least squares. Further
    columns, such as the logarithm of the number of classes, get a coefficient each.

    References
    ----------
    .. [1] Tan, Li and Huang, "OTCE: A transferability metric for cross-domain
       cross-task representations", CVPR (2021), :arxiv:`2103.13843`.

    Examples
    --------
    >>> from sktransfer.metrics import OTCERegressor
    >>> differences = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    >>> model = OTCERegressor().fit(differences, [0.9, 0.8, 0.4, 0.3])
    >>> model.coef_.round(3), round(model.intercept_, 3)
    (array([-0.1, -0.5]), 0.9)
    """

    _parameter_constraints: dict[str, Any] = {"negative": ["boolean"]}

    def __init__(self, negative: bool = False) -> None:
        self.negative = negative

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Self:
        """Learn the coefficients.

        Parameters
        ----------
        X : array-like of shape (n_tasks, 2)
            Rows ``(domain_difference, task_difference)`` of auxiliary tasks.
        y : array-like of shape (n_tasks,)
            Their accuracy after transfer.

        Returns
        -------
        self : OTCERegressor
            The fitted estimator.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        # scikit-learn forces coefficients to be positive, so the sign is turned
        model = LinearRegression(positive=self.negative).fit(-X, y)
        self.coef_ = -model.coef_
        self.intercept_ = float(model.intercept_)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the accuracy of tasks.

        Parameters
        ----------
        X : array-like of shape (n_tasks, 2)
            Rows ``(domain_difference, task_difference)``.

        Returns
        -------
        y_pred : ndarray of shape (n_tasks,)
            OTCE scores; higher is better.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return X @ self.coef_ + self.intercept_
