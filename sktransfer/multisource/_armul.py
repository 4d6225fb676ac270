"""ARMUL: tasks that share one center, or leave it where their rows call for it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._linear import LinearRegressorMixin
from sktransfer._solvers.armul import QuadraticTask
from sktransfer.multisource._armul_base import ArmulEstimator
from sktransfer.multisource._summary_estimator import Coordinates, gaussian_tasks

__all__ = ["ARMUL"]


class ARMUL(LinearRegressorMixin, ArmulEstimator):
    r"""Least squares on all domains at once, each at a shared center or away from it.

    Every domain, the target among them, has coefficients of its own, and pays for
    their distance from its center, not for the square of it. So domains that are
    like each other have exactly the same coefficients, and one that is different leaves
    without pulling the others far.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows; they need ``noise``.
    form : {"vanilla", "clustered", "low_rank"}, default="vanilla"
        What the centers share. "vanilla": all domains have one center. "clustered":
        every domain has one of ``n_centers`` centers. "low_rank": the centers are in a
        subspace of dimension ``n_centers``; of dimension 1 they are multiples of one
        vector.
    n_centers : {"auto"} or int, default="auto"
        Number of clusters, or rank of the centers. "auto": that of the least held-out
        error among 1, 2 and 3, of equal ones the smallest; 2 clusters or rank 1 if
        nothing can be held out. "vanilla" has one center.
    penalty : {"auto"} or float in [0, inf], default="auto"
        The constant C. 0: each domain alone; infinity: the pooled fit. "auto": that of
        the least squared error on held-out target rows among 0, 1/4, 1/2, 1, 2, 4, 8
        and infinity (0, 1/4, 1, 4 and infinity if the form is not "vanilla"), of equal
        ones the largest; 1 if nothing can be held out.
    alpha : float in [0, inf), default=0.0
        Ridge penalty of every domain relative to the *mean* squared error, of
        standardized features.
    cv : int, splitter or iterable, default=5
        Folds of the labeled target rows for "auto".
    fit_intercept : bool, default=True
        Fit an intercept; it has a center as the coefficients do.
    random_state : int, RandomState instance or None, default=0
        Deals the rows to the folds.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients of the target.
    intercept_ : float
        Its intercept.
    center_coef_, center_intercept_ : ndarray of shape (n_features,), float
        The center of the target.
    source_center_coef_ : ndarray of shape (n_sources, n_features)
        The centers of the sources.
    source_center_intercept_ : ndarray of shape (n_sources,)
        Their intercepts.
    labels_ : ndarray of int of shape (n_sources + 1,)
        Cluster of each domain; the target is last. Only if ``form="clustered"``.
    n_centers_ : int
        Number of clusters that have a domain, or rank that was used; 1 for "vanilla".
    source_coef_ : ndarray of shape (n_sources, n_features)
        Coefficients of the sources.
    source_intercept_ : ndarray of shape (n_sources,)
        Their intercepts.
    source_names_ : list of str
        Ids of the sources among the rows, then ``"source_summaries[i]"``.
    at_center_ : ndarray of bool of shape (n_sources + 1,)
        Which domains have exactly their center; the target is last.
    penalty_ : float
        The constant C that was used.
    cv_errors_ : dict
        Held-out mean squared error of each constant, or pair of constant and
        ``n_centers`` if the form is not "vanilla"; empty if nothing was chosen.
    kkt_residual_ : float
        Relative violation of the optimality conditions, see Notes.
    n_iter_ : int
        Steps of the solver in the last fit; at least 1.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    ARMULLogistic : The same for classes.
    EmpiricalBayesRidge : Pays for the square of each coefficient's distance.
    UOWQMultiTask : Every domain is a target in turn, with weighted sources.

    Notes
    -----
    The program of [1]_, with :math:`f_j` half the mean squared residual and the
    pooled noise :math:`\hat\sigma`:

    .. math:: \min_{\theta_j, \gamma_j} \sum_j n_j \left[ f_j(\theta_j)
              + \lambda_j \|\theta_j - \gamma_j\|_2 \right], \qquad
              \lambda_j = C \hat\sigma \sqrt{d / n_j},

    where the centers are :math:`\gamma_j = g` (vanilla), :math:`\gamma_j = g_{c(j)}`
    (clustered) or :math:`\gamma_j = B z_j` (low rank). For a fixed center
    :math:`\theta_j = \gamma_j` exactly if :math:`\|\nabla f_j(\gamma_j)\| \le
    \lambda_j`; else its distance r solves :math:`\|(r H_j + \lambda_j I)^{-1} \nabla
    f_j(\gamma_j)\| = 1` with the Hessian :math:`H_j`. At the optimum
    :math:`\nabla f_j(\theta_j)` is in the ball of radius :math:`\lambda_j`, or
    :math:`\lambda_j` times the direction from :math:`\theta_j` to
    :math:`\gamma_j`.

    The vanilla program is convex; it is solved by Newton's method in g, and there
    :math:`\sum_j n_j \nabla f_j(\theta_j) = 0`. The other two are not convex. The
    clusters are the best of three starts of assigning and solving in turn, and
    ``kkt_residual_`` is that of the program within them; the subspace is stationary in
    both factors. One cluster is the vanilla form; as many clusters as domains, or a
    rank that is not below the number of domains or of parameters, is each domain alone.

    Directions that the rows of a domain do not determine are those of the center.

    The constant of "auto" is the best for the target; [1]_ chooses it on held-out rows
    of all domains, which ``benchmarks/source_rules.md`` found better where the model
    holds (0.92 times the error) and worse on real data (1.09 times).

    References
    ----------
    .. [1] Y. Duan, K. Wang. "Adaptive and robust multi-task learning". Annals of
       Statistics 51(5), 2023. :doi:`10.1214/23-AOS2319`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import ARMUL
    >>> rng = np.random.default_rng(0)
    >>> X, domain = rng.normal(size=(220, 4)), np.repeat([1, 2, -1], [100, 100, 20])
    >>> slope = np.where(domain == 2, -3.0, 1.0)  # the second source is another one
    >>> y = slope * X[:, 0] + X[:, 1] + rng.normal(size=220)
    >>> model = ARMUL(penalty=2.0).fit(X, y, sample_domain=domain)
    >>> model.at_center_
    array([ True, False,  True])

    Domains of two kinds have two centers:

    >>> kinds = ARMUL(form="clustered", n_centers=2, penalty=2.0)
    >>> kinds.fit(X, y, sample_domain=domain).labels_
    array([0, 1, 0])
    """

    def __init__(
        self,
        source_summaries: Any = None,
        *,
        form: str = "vanilla",
        n_centers: Any = "auto",
        penalty: Any = "auto",
        alpha: Any = 0.0,
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
    ) -> tuple[Coordinates, Any, Any, NDArray[Any]]:
        coordinates = Coordinates(
            data, weight, summaries, fit_intercept=self.fit_intercept
        )
        target, sources = gaussian_tasks(data, weight, summaries, coordinates)
        for task in sources:
            if task.gram is None:
                raise ValueError(
                    f"{task.name} has no noise, which ARMUL needs to weigh its squared "
                    "residuals: give SourceSummary(noise=...)."
                )
        self._noise_sd = _pooled_noise([*sources, target])
        names = [task.name for task in sources]
        sizes = np.array([task.n for task in sources])
        return coordinates, names, [self._quadratic(task) for task in sources], sizes

    def _target_task(
        self, data: Any, weight: NDArray[Any], coordinates: Coordinates
    ) -> tuple[QuadraticTask, float]:
        task, _ = gaussian_tasks(
            data.without_sources(), weight[data.is_target], [], coordinates
        )
        return self._quadratic(task), task.n

    def _quadratic(self, task: Any) -> QuadraticTask:
        H = task.gram / task.n
        slopes = np.arange(len(H)) < self.n_features_in_
        return QuadraticTask(H + self.alpha * np.diag(slopes), task.moment / task.n)

    def _unit(self, n_parameters: int) -> float:
        return self._noise_sd * np.sqrt(n_parameters)

    def _loss(
        self,
        theta: NDArray[Any],
        data: Any,
        rows: NDArray[np.bool_],
        coordinates: Coordinates,
        weight: NDArray[Any],
    ) -> float:
        labels = data.labels(rows) - coordinates.shift
        return weight @ (labels - coordinates.design(data.take(rows).X) @ theta) ** 2

    def _set_coefficients(
        self,
        theta: NDArray[Any],
        centers: NDArray[Any],
        coordinates: Coordinates,
        dtype: type[Any],
    ) -> None:
        coef, intercept = coordinates.raw(theta)
        self.coef_, self.intercept_ = coef[-1].astype(dtype), float(intercept[-1])
        self.source_coef_, self.source_intercept_ = coef[:-1], intercept[:-1]
        coef, intercept = coordinates.raw(centers)
        self.center_coef_, self.center_intercept_ = coef[-1], float(intercept[-1])
        self.source_center_coef_ = coef[:-1]
        self.source_center_intercept_ = intercept[:-1]


def _pooled_noise(tasks: list[Any]) -> float:
    """Return the standard deviation of the noise of all domains together."""
    dof = sum(task.dof for task in tasks)
    if dof > 0:
        return float(np.sqrt(sum(task.rss for task in tasks) / dof))
    return float(np.sqrt(np.mean([task.noise for task in tasks])))
