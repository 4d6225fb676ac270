"""UOWQMultiTask: every domain is a task, and the other ones are its sources."""

from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.simplex_qp import SOLVERS
from sktransfer._source_models import mixture
from sktransfer.base import MultiTargetMetaEstimator, is_scale_free
from sktransfer.exceptions import DomainError, warn
from sktransfer.multisource._estimated_risk import least_risk
from sktransfer.multisource._weighted_likelihood import (
    Relaxation,
    WeightedLikelihood,
    likelihood_problem,
)

__all__ = ["UOWQMultiTask"]


class UOWQMultiTask(MultiTargetMetaEstimator):
    r"""Fit one model per domain, each helped by weighted rows of the other domains.

    Every domain id, positive or negative, is a task. A row that is to be predicted
    names its task in ``sample_domain``. Rows of a domain that ``fit`` has not seen get
    the mean of the predictions of all tasks, as the best guess for one more of them.

    Parameters
    ----------
    estimator : estimator
        Learner with a likelihood, see :class:`UOWQ`. It must take ``sample_weight``.
    weighting : {"static", "dynamic"}, default="dynamic"
        "static" computes all weights once, from the fits on the single tasks;
        "dynamic" alternates weights and weighted fits of all tasks until the weights
        settle.
    noise_correction : bool, default=True
        Whether to take the noise of the parameters of the single task out of the
        discrepancies, see :class:`UOWQ`. False: discrepancies between the current
        fits of the tasks.
    min_gain : float in [0, inf) or None, default=0.5
        What the weighted fit of a task must gain in estimated risk over its own rows
        alone if its weights had to be scaled down; None leaves the weights as they are,
        see :class:`UOWQ`.
    max_iter : int in [1, inf), default=30
        Largest number of updates when dynamic.
    tol : float in [0, inf), default=0.01
        The weights have settled when none changes by more.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves for the weights: "auto" an active set, "cvxpy" CLARABEL. They
        agree to 1e-8.
    n_jobs : int, default=None
        Number of tasks fitted in parallel. None means 1 unless in a joblib backend
        context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        Model of the first target, for predictions without ``sample_domain``.
    estimators_ : list of estimators
        Model of each task.
    task_ids_ : ndarray of shape (n_tasks,)
        Domain id of each task, the targets -1, -2, ... first.
    affinity_ : ndarray of shape (n_tasks, n_tasks)
        Entry (i, j): weight of the rows of task j in the fit of task i; its diagonal
        is 1.
    n_iter_ : int
        Number of times that the weights were computed; 1 for a single task.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers. A task whose weighted fit lacks a class
        gives it probability 0.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    UOWQ : One target only.

    Notes
    -----
    Task :math:`i` maximizes :math:`\sum_j a_{ij} \sum_{r \in T_j} \log p(y_r | x_r;
    \theta_i)` with :math:`a_{ii} = 1` and, for :math:`j \ne i`, the weights of
    :func:`uowq_weights` with task :math:`i` as the target. All labeled rows of a
    task count, unlabeled ones do not; a user's ``sample_weight`` counts rows, as in
    :class:`UOWQ`.

    References
    ----------
    Q. Zhang et al., "Unified optimization of source weights and transfer quantities
    in multi-source transfer learning: an asymptotic framework", 2026.
    :arxiv:`2601.10779`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.multisource import UOWQMultiTask
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(120, 2))
    >>> task = np.repeat([-1, -2, -3], 40)
    >>> y = np.where(task == -3, 9.0, 1.0) * X[:, 0] + rng.normal(size=120)
    >>> model = UOWQMultiTask(LinearRegression()).fit(X, y, sample_domain=task)
    >>> model.affinity_.round(1)
    array([[1., 1., 0.],
           [1., 1., 0.],
           [0., 0., 1.]])
    >>> model.predict([[1.0, 0.0], [1.0, 0.0]], sample_domain=[-1, -3]).round(0)
    array([1., 9.])
    """

    _parameter_constraints: dict[str, Any] = {
        **MultiTargetMetaEstimator._parameter_constraints,
        "weighting": [StrOptions({"static", "dynamic"})],
        "noise_correction": ["boolean"],
        "min_gain": [Interval(Real, 0, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions(SOLVERS)],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        weighting: str = "dynamic",
        noise_correction: bool = True,
        min_gain: Any = 0.5,
        max_iter: Any = 30,
        tol: Any = 0.01,
        solver: Any = "auto",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator)
        self.weighting = weighting
        self.noise_correction = noise_correction
        self.min_gain = min_gain
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.n_jobs = n_jobs

    def _fit_tasks(
        self, data: Any, tasks: NDArray[Any], fit_params: dict[str, Any]
    ) -> list[Any]:
        problems = [
            likelihood_problem(self, data, fit_params, target=task) for task in tasks
        ]
        models = self._map(WeightedLikelihood.fit_target, problems)
        self.affinity_, self.n_iter_ = np.eye(len(problems)), 1
        if len(problems) > 1:
            models = self._alternate(problems, models)
        return models

    def _unseen_model(self) -> Any:
        n_tasks = len(self.estimators_)
        equal = np.full(n_tasks, 1 / n_tasks)
        return mixture(self.estimator, self.estimators_, equal)

    def _check_decisions(self, sample_domain: Any) -> None:
        super()._check_decisions(sample_domain)
        asked = [] if sample_domain is None else sample_domain
        unseen = np.setdiff1d(asked, self.task_ids_)
        if len(unseen):
            raise DomainError(
                f"The domains {unseen.tolist()} were not in fit, so their samples get "
                "the mean of the tasks' probabilities and have no decision values; "
                "use predict_proba."
            )

    def _map(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        return Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(function)(*args) for args in zip(*arguments, strict=True)
        )

    def _alternate(
        self, problems: list[WeightedLikelihood], models: list[Any]
    ) -> list[Any]:
        """Alternate the weights of all tasks and their weighted fits."""
        single, affinity = models, np.eye(len(problems))
        peers = self._map(_fit_peers, problems)
        relaxed = [Relaxation() for _ in problems]
        rounds = self.max_iter if self.weighting == "dynamic" else 1
        for round_ in range(1, rounds + 1):
            self.n_iter_ = round_
            anchors = single if self.noise_correction else models
            rows = self._map(self._affinity_row, problems, models, anchors, peers)
            change = float(np.max(np.abs(np.stack(rows) - affinity)))
            if round_ > 1 and change <= self.tol:
                break
            affinity = np.stack(
                [r.move(a, b) for r, a, b in zip(relaxed, affinity, rows, strict=True)]
            )
            models = self._map(self._refit, problems, affinity)
            if not self.noise_correction:
                peers = [self._current(problem, models) for problem in problems]
        if self.weighting == "dynamic" and change > self.tol:
            warn(
                f"The weights of UOWQMultiTask still change by {change:.2g} > "
                f"tol={self.tol:g} after max_iter={self.max_iter} updates.",
                ConvergenceWarning,
            )
        if self.min_gain is not None:
            pairs = self._map(self._lower, problems, affinity, models)
            affinity = np.stack([row for row, _ in pairs])
            models = [model for _, model in pairs]
        self.affinity_ = affinity
        return [
            model if p.shared.all() else p.fit_weighted(self._of_sources(p, row))
            for model, p, row in zip(models, problems, affinity, strict=True)
        ]

    def _of_sources(
        self, problem: WeightedLikelihood, values: NDArray[Any]
    ) -> NDArray[Any]:
        """Pick from one entry per task those of a problem's sources, in its order."""
        position = {task: i for i, task in enumerate(self.task_ids_)}
        return np.array([values[position[source]] for source in problem.sources])

    def _affinity_row(
        self, problem: WeightedLikelihood, model: Any, anchor: Any, params: NDArray[Any]
    ) -> NDArray[Any]:
        result, _ = problem.weigh(
            model,
            problem.likelihood.parameters(anchor),
            params,
            noise_correction=self.noise_correction,
        )
        weights = dict(zip(problem.sources, result.weights, strict=True))
        return np.array([weights.get(task, 1.0) for task in self.task_ids_])

    def _refit(self, problem: WeightedLikelihood, row: NDArray[Any]) -> Any:
        return problem.fit_weighted(self._of_sources(problem, row), shared_only=True)

    def _lower(
        self, problem: WeightedLikelihood, row: NDArray[Any], model: Any
    ) -> tuple[NDArray[Any], Any]:
        refit = partial(problem.fit_weighted, shared_only=True)
        weights = self._of_sources(problem, row)
        _, model, scale = least_risk(problem, weights, model, refit, self.min_gain)
        own = self.task_ids_ == problem.target
        return np.where(own, 1.0, scale * row), model

    def _current(self, problem: WeightedLikelihood, models: list[Any]) -> NDArray[Any]:
        """Parameters of the other tasks' current fits; other classes give infinity."""
        classes: Any = getattr(problem.target_model, "classes_", None)
        position = {task: i for i, task in enumerate(self.task_ids_)}
        peers = [models[position[source]] for source in problem.sources]
        known: list[Any] = [getattr(m, "classes_", None) for m in peers]
        return problem.parameters(
            [
                m if np.array_equal(of_m, classes) else None
                for m, of_m in zip(peers, known, strict=True)
            ]
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.scale_free = is_scale_free(self.estimator)
        tags.transfer_tags.unseen_domain = True
        return tags


def _fit_peers(problem: WeightedLikelihood) -> NDArray[Any]:
    return problem.parameters(problem.fit_sources())
