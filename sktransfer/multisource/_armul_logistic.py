"""ARMUL for classes: logistic tasks that share centers, or leave them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._solvers.armul import GlmTask, QuadraticTask
from sktransfer._solvers.glm import glm_losses
from sktransfer.multisource._armul_base import ArmulEstimator
from sktransfer.multisource._logistic_tasks import LogisticSummaryEstimator

__all__ = ["ARMULLogistic"]


class ARMULLogistic(LogisticSummaryEstimator, ArmulEstimator):
    r"""Logistic regression on all domains at once, each at a shared center or away.

    The classifier beside :class:`ARMUL`: domains that are like each other have exactly
    the same coefficients, and one that is different leaves without pulling the others
    far.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows; they need the classes
        of all domains together.
    form : {"vanilla", "clustered", "low_rank"}, default="vanilla"
        What the centers share, see :class:`ARMUL`.
    n_centers : {"auto"} or int, default="auto"
        Number of clusters, or rank of the centers, see :class:`ARMUL`.
    penalty : {"auto"} or float in [0, inf], default="auto"
        The constant C. 0: each domain alone; infinity: the pooled fit. "auto": that of
        the least log loss of held-out target rows among 0, 1/4, 1/2, 1, 2, 4, 8
        and infinity (0, 1/4, 1, 4 and infinity if the form is not "vanilla"), of equal
        ones the largest; 1 if nothing can be held out.
    alpha : float in [0, inf), default=1.0
        Ridge penalty :math:`\tfrac{\alpha}{2} \|\cdot\|^2` of every domain beside its
        *summed* log loss, of standardized features; intercepts are free.
    cv : int, splitter or iterable, default=5
        Folds of the labeled target rows for "auto".
    fit_intercept : bool, default=True
        Fit intercepts; they have centers as the coefficients do.
    random_state : int, RandomState instance or None, default=0
        Deals the rows to the folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of all labeled rows.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of the target, one row if there are two classes; else they sum to
        0 over the classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    center_coef_, center_intercept_ : ndarray
        The center of the target, shaped as ``coef_`` and ``intercept_``.
    source_coef_ : ndarray of shape (n_sources, n_logits, n_features)
        Coefficients of the sources.
    source_intercept_ : ndarray of shape (n_sources, n_logits)
        Their intercepts.
    source_center_coef_ : ndarray of shape (n_sources, n_logits, n_features)
        The centers of the sources.
    source_center_intercept_ : ndarray of shape (n_sources, n_logits)
        Their intercepts.
    labels_ : ndarray of int of shape (n_sources + 1,)
        Cluster of each domain; the target is last. Only if ``form="clustered"``.
    n_centers_ : int
        Number of clusters that have a domain, or rank that was used; 1 for "vanilla".
    source_names_ : list of str
        Ids of the sources among the rows, then ``"source_summaries[i]"``.
    at_center_ : ndarray of bool of shape (n_sources + 1,)
        Which domains have exactly their center; the target is last.
    penalty_ : float
        The constant C that was used.
    cv_errors_ : dict
        Held-out log loss of each constant, or pair of constant and ``n_centers`` if
        the form is not "vanilla"; empty if nothing was chosen.
    kkt_residual_ : float
        Relative violation of the optimality conditions.
    n_iter_ : int
        Steps of the solver in the last fit; at least 1.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    ARMUL : The same for real labels; it states the program.
    EmpiricalBayesLogistic : Pays for the square of each coefficient's distance.

    Notes
    -----
    The program of [1]_ with :math:`f_j` the mean log loss plus the ridge penalty
    divided by :math:`n_j`. The gradient of one row in a logit has at most the standard
    deviation 1/2 times the feature, so

    .. math:: \lambda_j = \tfrac12 C \sqrt{d / n_j}

    with d the number of parameters. The rows of a source enter exactly; a summary by
    its quadratic, which is the expansion of its log-likelihood at its fit. For a fixed
    center each task is solved by proximal Newton steps; :math:`\theta_j = \gamma_j`
    exactly if :math:`\|\nabla f_j(\gamma_j)\| \le \lambda_j`.

    References
    ----------
    .. [1] Y. Duan, K. Wang. "Adaptive and robust multi-task learning". Annals of
       Statistics 51(5), 2023. :doi:`10.1214/23-AOS2319`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import ARMULLogistic
    >>> rng = np.random.default_rng(0)
    >>> X, domain = rng.normal(size=(420, 2)), np.repeat([1, 2, -1], [200, 200, 20])
    >>> slope = np.where(domain == 2, -3.0, 2.0)  # the second source is another one
    >>> y = np.where(slope * X[:, 0] + rng.logistic(size=420) > 0, "yes", "no")
    >>> model = ARMULLogistic(penalty=2.0).fit(X, y, sample_domain=domain)
    >>> model.at_center_
    array([ True, False,  True])
    """

    def __init__(
        self,
        source_summaries: Any = None,
        *,
        form: str = "vanilla",
        n_centers: Any = "auto",
        penalty: Any = "auto",
        alpha: Any = 1.0,
        cv: Any = 5,
        fit_intercept: bool = True,
        random_state: Any = 0,
    ) -> None:
        self.source_summaries = source_summaries
        self.form = form
        self.n_centers = n_centers
        self.penalty = penalty
        self.alpha = alpha
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.random_state = random_state

    def _prepare(
        self, data: Any, weight: NDArray[Any], summaries: list[tuple[str, Any]]
    ) -> tuple[Any, Any, Any, NDArray[Any]]:
        coordinates, rows_of = self._prepare_rows(data, weight, summaries)
        names, sizes = [], []
        tasks: list[Any] = []
        for k in data.sources:
            names.append(str(int(k)))
            tasks.append(self._glm(*rows_of(data.rows_of(k))))
            sizes.append(weight[data.rows_of(k)].sum())
        for name, summary in summaries:
            vector, information = coordinates.standardized(summary)
            H = (information + self.alpha * np.diag(self._slopes)) / summary.n
            names.append(name)
            tasks.append(QuadraticTask(H, information @ vector / summary.n))
            sizes.append(summary.n)
        return coordinates, names, tasks, np.array(sizes, dtype=np.float64)

    @property
    def _slopes(self) -> NDArray[Any]:
        width = self.n_features_in_ + self.fit_intercept
        return np.tile(np.arange(width) < self.n_features_in_, self._n_logits) * 1.0

    def _glm(
        self,
        family: str,
        design: NDArray[Any],
        goal: NDArray[Any],
        weight: NDArray[Any],
    ) -> GlmTask:
        ridge = self.alpha * self._slopes / weight.sum()
        return GlmTask(family, design, goal, weight, ridge)

    def _target_task(
        self, data: Any, weight: NDArray[Any], coordinates: Any
    ) -> tuple[GlmTask, float]:
        rows = data.is_labeled_target
        task = self._glm(*self._read(data, weight, rows, coordinates))
        return task, float(weight[rows].sum())

    def _unit(self, n_parameters: int) -> float:
        return 0.5 * np.sqrt(n_parameters)

    def _loss(
        self,
        theta: NDArray[Any],
        data: Any,
        rows: NDArray[np.bool_],
        coordinates: Any,
        weight: NDArray[Any],
    ) -> Any:
        family, design, goal, _ = self._read(
            data, np.ones(len(rows)), rows, coordinates
        )
        eta = design @ theta.reshape(self._n_logits, -1).T
        return weight @ glm_losses(family, eta, goal)

    def _set_coefficients(
        self,
        theta: NDArray[Any],
        centers: NDArray[Any],
        coordinates: Any,
        dtype: type[Any],
    ) -> None:
        raw = [self._raw(t, coordinates) for t in theta]
        self.coef_, self.intercept_ = self._raw(theta[-1], coordinates, dtype)
        self.source_coef_ = np.array([coef for coef, _ in raw[:-1]])
        self.source_intercept_ = np.array([intercept for _, intercept in raw[:-1]])
        raw = [self._raw(t, coordinates) for t in centers]
        self.center_coef_, self.center_intercept_ = raw[-1]
        self.source_center_coef_ = np.array([coef for coef, _ in raw[:-1]])
        self.source_center_intercept_ = np.array([inter for _, inter in raw[:-1]])
