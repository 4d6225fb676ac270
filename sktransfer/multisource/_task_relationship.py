"""MultiTaskRelationship: linear models of all domains, and how these are related."""

import warnings
from copy import deepcopy
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
)
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._compat import Interval, StrOptions
from sktransfer._folds import check_groups, deal_rows, deal_units
from sktransfer._solvers.glm import glm_expansion, glm_losses
from sktransfer._solvers.task_relationship import GlmRows, solve_task_relationship
from sktransfer._source_models import mixture
from sktransfer.base import MultiTargetMetaEstimator, TakesGroupsMixin
from sktransfer.exceptions import DomainError
from sktransfer.multisource._summarize import labels_as_goal

__all__ = ["MultiTaskRelationship"]

#: penalties that are tried, in units of the mean curvature over the number of tasks
_PENALTIES = (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0)


class MultiTaskRelationship(TakesGroupsMixin, MultiTargetMetaEstimator):
    r"""Fit linear models of all domains together with the matrix of their relation.

    Every domain id, positive or negative, is a task. Tasks that turn out to be alike
    draw their coefficients together, and tasks that conflict push them apart: their
    entry in the relation matrix is negative. A row that is to be predicted names its
    task in ``sample_domain``. Rows of a domain that ``fit`` has not seen get the mean
    of the predictions of all tasks.

    Parameters
    ----------
    estimator : estimator
        ``LinearRegression``, ``Ridge`` or ``LogisticRegression`` (binary, multinomial)
        with an L2 penalty or none, which is the penalty of the single tasks. Scale the
        features: the relation weighs all coefficients alike.
    penalty : {"auto"} or float in [0, inf), default="auto"
        Factor :math:`\lambda_2` of the relation. 0: every task is fitted for itself.
        "auto": the one of least held-out loss, the mean over the tasks.
    task_covariance : array-like of shape (n_tasks, n_tasks), default=None
        Known relation, positive definite, in the order of ``task_ids_``; it is used as
        it is. None: it is learned.
    smoothing : float in (0, inf), default=1e-4
        :math:`\epsilon` relative to the mean squared length of the coefficients of the
        tasks, see Notes.
    max_iter : int in [1, inf), default=200
        Largest number of steps.
    tol : float in (0, inf), default=1e-4
        Largest entry of the gradient, relative to that at 0, that counts as solved.
    cv : int in [2, inf), default=3
        Number of folds of each task for ``penalty="auto"``.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Attributes
    ----------
    estimator_ : estimator
        Model of the first target, for predictions without ``sample_domain``.
    estimators_ : list of estimators
        Model of each task.
    task_ids_ : ndarray of shape (n_tasks,)
        Domain id of each task, the targets -1, -2, ... first.
    task_covariance_ : ndarray of shape (n_tasks, n_tasks)
        The relation matrix :math:`\Omega`, positive definite, of trace 1 where learned.
    task_correlation_ : ndarray of shape (n_tasks, n_tasks)
        The same with a diagonal of 1.
    coef_ : ndarray of shape (n_tasks, n_features) or (n_tasks, n_classes, n_features)
        Coefficients; with three or more classes of each.
    intercept_ : ndarray of shape (n_tasks,) or (n_tasks, n_classes)
        Intercepts.
    penalty_ : float
        The factor that was used.
    cv_losses_ : dict
        Held-out loss of each factor that was tried; empty if none was.
    objective_path_ : ndarray of shape (n_iter_ + 1,)
        Value of the smoothed program after each step; it never rises.
    kkt_residual_ : float
        Largest entry of the gradient at the end, relative to that at 0.
    n_iter_ : int
        Number of steps.
    classes_ : ndarray of shape (n_classes,)
        Class labels of all tasks; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the gradient is above `tol` after `max_iter` steps.

    See Also
    --------
    UOWQMultiTask : Weighs the rows of the other tasks.
    ARMUL : Tasks with common centers.

    Notes
    -----
    With the slopes :math:`w_t` of task t in row t of W, intercepts without a penalty,
    half squared residuals or log losses l, and :math:`n_t` labeled rows,

    .. math:: \min_{W, b, \Omega} \sum_t \frac{1}{n_t} \Bigl[\sum_i l(y_i, w_t^\top x_i
        + b_t) + \frac{\lambda_1}{2} \|w_t\|^2\Bigr] + \frac{\lambda_2}{2}
        \mathrm{tr}(W^\top \Omega^{-1} W), \quad
        \Omega \succeq 0,\; \mathrm{tr}\, \Omega = 1

    [1]_, with the learner's ``alpha`` or ``1 / C`` as :math:`\lambda_1`, so that
    :math:`\lambda_2 = 0` gives the learner's own fit to every task. The program is
    convex. For given W the best :math:`\Omega` is :math:`S / \mathrm{tr}\, S`,
    :math:`S = (W W^\top)^{1/2}`, and for given :math:`\Omega` all tasks are fitted
    by a damped Newton step; steps are mixed with those before where that lowers the
    program (Anderson's acceleration). As :math:`\Omega` is singular for identical
    tasks, :math:`\epsilon\, \mathrm{tr}(\Omega^{-1})` is added to the trace, which
    makes it :math:`S = (W W^\top + \epsilon I)^{1/2}`. Without smoothing it is the
    penalty :math:`\frac{\lambda_2}{2} \|W\|_*^2` of the squared trace norm.

    A user's ``sample_weight`` counts rows. Unlabeled rows do not count. A task that
    lacks a class gives it a probability near 0, as intercepts have no penalty. A
    single task has :math:`\Omega = 1`, a ridge of :math:`\lambda_2`.

    References
    ----------
    .. [1] Y. Zhang, D.-Y. Yeung. A convex formulation for learning task relationships
       in multi-task learning. Conference on Uncertainty in Artificial Intelligence,
       2010. :arxiv:`1203.3536`

    Examples
    --------
    The third task is the opposite of the others.

    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.multisource import MultiTaskRelationship
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 3))
    >>> task = np.repeat([-1, -2, -3], 20)
    >>> y = np.where(task == -3, -1.0, 1.0) * X.sum(axis=1) + rng.normal(size=60)
    >>> model = MultiTaskRelationship(Ridge(), penalty=0.1)
    >>> model = model.fit(X, y, sample_domain=task)
    >>> np.sign(model.task_covariance_)
    array([[ 1.,  1., -1.],
           [ 1.,  1., -1.],
           [-1., -1.,  1.]])
    """

    _parameter_constraints: dict[str, Any] = {
        **MultiTargetMetaEstimator._parameter_constraints,
        "penalty": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "task_covariance": ["array-like", None],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        penalty: Any = "auto",
        task_covariance: Any = None,
        smoothing: Any = 1e-4,
        max_iter: Any = 200,
        tol: Any = 1e-4,
        cv: Any = 3,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.penalty = penalty
        self.task_covariance = task_covariance
        self.smoothing = smoothing
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.random_state = random_state

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        self._ridge = _check_learner(self.estimator)
        groups = fit_params.get("groups")
        units = check_groups(groups, data)
        params = {k: v for k, v in fit_params.items() if k != "groups"}
        if units is not None:
            params["units"] = units
        data, params, _ = self._existing(data, params)
        return super()._fit_estimator(data, params)

    def _fit_tasks(
        self, data: Any, tasks: NDArray[Any], fit_params: dict[str, Any]
    ) -> list[Any]:
        omega = self._check_covariance(len(tasks))
        rows = self._read(data, tasks, fit_params)
        self.cv_losses_: dict[float, float] = {}
        penalty = self.penalty
        if penalty == "auto":
            penalty = self._choose(data, tasks, rows, fit_params.get("units"), omega)
        theta, found, info = self._solve(rows, penalty, omega)
        if not info.converged:
            warnings.warn(
                f"MultiTaskRelationship did not converge in max_iter={self.max_iter} "
                f"steps: the relative gradient is still {info.kkt_residual:.2g} > "
                f"tol={self.tol:g}.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.penalty_ = float(penalty)
        self.task_covariance_ = found
        scale = np.sqrt(np.diag(found))
        self.task_correlation_ = found / scale / scale[:, None]
        self.objective_path_ = info.objective
        self.kkt_residual_, self.n_iter_ = info.kkt_residual, info.n_iter
        return self._keep(theta, data)

    def _check_covariance(self, n_tasks: int) -> NDArray[Any] | None:
        if self.task_covariance is None:
            return None
        omega = np.asarray(self.task_covariance, dtype=np.float64)
        if omega.shape != (n_tasks, n_tasks):
            raise ValueError(
                f"task_covariance has shape {omega.shape}, but there are {n_tasks} "
                f"tasks ({self.task_ids_.tolist()}): give one row and one column each."
            )
        if not np.allclose(omega, omega.T) or np.linalg.eigvalsh(omega)[0] <= 0:
            raise ValueError("task_covariance must be symmetric and positive definite.")
        return omega

    def _read(
        self, data: Any, tasks: NDArray[Any], fit_params: dict[str, Any]
    ) -> list[GlmRows]:
        """Return the labeled rows of each task."""
        X = self._numeric_rows(data.X, accept_sparse=False).astype(np.float64)
        if self.estimator.fit_intercept:
            X = np.column_stack([X, np.ones(len(X))])
        classes, family = None, "gaussian"
        if is_classifier(self.estimator):
            known = data.labels(data.labeled)
            check_classification_targets(known)
            classes = np.unique(known)
            if len(classes) < 2:
                raise ValueError(
                    "Labels of at least two classes are needed, but all labeled "
                    f"samples have one class: {classes.tolist()[0]!r}."
                )
            family = "binomial" if len(classes) == 2 else "multinomial"
        self._labels = classes
        weight = fit_params.get("sample_weight")
        weight = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=float)
        read = []
        for task in tasks:
            mask = data.rows_of(task) & data.labeled
            own = weight[mask]
            goal = labels_as_goal(data.labels(mask), classes)
            ridge = self._ridge / own.sum()
            read.append(GlmRows(family, X[mask], goal, own / own.sum(), ridge))
        return read

    def _solve(
        self,
        rows: list[GlmRows],
        penalty: float,
        omega: NDArray[Any] | None,
        start: NDArray[Any] | None = None,
        quick: bool = False,
    ) -> tuple[NDArray[Any], NDArray[Any], Any]:
        return solve_task_relationship(
            rows,
            float(penalty),
            n_intercepts=int(self.estimator.fit_intercept),
            smoothing=self.smoothing,
            omega=omega,
            start=start,
            tol=max(self.tol, 1e-2) if quick else self.tol,
            max_iter=min(self.max_iter, 30) if quick else self.max_iter,
        )

    def _choose(
        self,
        data: Any,
        tasks: NDArray[Any],
        rows: list[GlmRows],
        units: NDArray[Any] | None,
        omega: Any,
    ) -> float:
        """Return the penalty of least held-out loss."""
        unit = _mean_curvature(rows, int(self.estimator.fit_intercept)) / len(rows)
        folds = self._folds(data, tasks, units)
        if not folds:
            return unit
        losses, counted = np.zeros(len(_PENALTIES)), 0
        for held_out in folds:
            parts = [
                _without(row, test) for row, test in zip(rows, held_out, strict=True)
            ]
            start = None
            for i in np.argsort(_PENALTIES)[::-1]:
                theta, _, _ = self._solve(
                    parts, unit * _PENALTIES[i], omega, start, quick=True
                )
                start = theta
                for row, test, own in zip(rows, held_out, theta, strict=True):
                    losses[i] += _loss(row, test, own)
            counted += sum(len(test) > 0 for test in held_out)
        losses /= counted
        self.cv_losses_ = {
            float(unit * value): float(loss)
            for value, loss in zip(_PENALTIES, losses, strict=True)
        }
        return unit * _PENALTIES[int(np.argmin(losses))]

    def _folds(
        self, data: Any, tasks: NDArray[Any], units: NDArray[Any] | None
    ) -> list[list[NDArray[Any]]]:
        """Return, fold by fold, the held-out rows among the labeled ones of tasks."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        stratify = is_classifier(self.estimator)
        dealt = []
        for task in tasks:
            mask = data.rows_of(task) & data.labeled
            part, y = data.take(mask), data.labels(mask)
            rng = np.random.RandomState(seed)  # whatever the order of the tasks
            if units is None:
                dealt.append(deal_rows(part.X, y, self.cv, stratify, rng))
            else:
                dealt.append(deal_units(units[mask], y, self.cv, stratify, rng))
        n_folds = max(len(parts) for parts in dealt)
        none = np.zeros(0, dtype=np.intp)
        return [
            [parts[k] if k < len(parts) else none for parts in dealt]
            for k in range(n_folds)
        ]

    def _keep(self, theta: NDArray[Any], data: Any) -> list[Any]:
        """Set coefficients; return a fitted learner for each task."""
        n_tasks, n_logits, _ = theta.shape
        if self.estimator.fit_intercept:
            coef, intercept = theta[:, :, :-1], theta[:, :, -1]
        else:
            coef, intercept = theta, np.zeros((n_tasks, n_logits))
        if getattr(data.X, "dtype", None) == np.float32:
            coef, intercept = coef.astype(np.float32), intercept.astype(np.float32)
        several = n_logits > 1
        self.coef_ = coef if several else coef[:, 0]
        self.intercept_ = intercept if several else intercept[:, 0]
        learner = clone(self.estimator)
        learner.n_features_in_ = coef.shape[2]
        if hasattr(self, "feature_names_in_"):
            learner.feature_names_in_ = self.feature_names_in_
        if self._labels is not None:
            learner.classes_ = self._labels
            learner.n_iter_ = np.array([self.n_iter_])
        models = []
        for own, shift in zip(coef, intercept, strict=True):
            model = deepcopy(learner)
            flat = self._labels is None
            model.coef_ = own[0].copy() if flat else own.copy()
            model.intercept_ = shift[0] if flat else shift.copy()
            models.append(model)
        return models

    def _unseen_model(self) -> Any:
        equal = np.full(len(self.estimators_), 1 / len(self.estimators_))
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.input_tags.sparse = False
        tags.target_tags.multi_output = False
        tags.transfer_tags.unseen_domain = True
        return tags


def _check_learner(learner: Any) -> float:
    """Return the factor of half the squared coefficients in a learner's penalty."""
    name = type(learner).__name__
    fits = isinstance(learner, LinearRegression | Ridge | LogisticRegression)
    if not fits or isinstance(learner, LogisticRegressionCV):
        raise TypeError(
            f"MultiTaskRelationship fits linear models with a penalty of its own: "
            f"estimator={name}(...) must be LinearRegression, Ridge or "
            "LogisticRegression."
        )
    if getattr(learner, "positive", False):
        raise ValueError(
            "estimator has positive=True, which MultiTaskRelationship does not keep: "
            "use positive=False."
        )
    if isinstance(learner, LinearRegression):
        return 0.0
    if isinstance(learner, Ridge):
        if np.ndim(learner.alpha) > 0:
            raise ValueError("estimator has an alpha for each output: give one number.")
        return float(learner.alpha)
    if learner.class_weight is not None:
        raise ValueError(
            "estimator has a class_weight, which MultiTaskRelationship does not use: "
            "give sample_weight in fit."
        )
    old = getattr(learner, "penalty", "deprecated")
    if old in {"l1", "elasticnet"} or (learner.l1_ratio or 0.0) > 0:
        raise ValueError(
            "estimator has an L1 penalty, but MultiTaskRelationship needs an L2 "
            "penalty or none: set l1_ratio=0."
        )
    return 0.0 if old is None or np.isinf(learner.C) else 1.0 / learner.C


def _mean_curvature(rows: list[GlmRows], n_intercepts: int) -> float:
    """Return the mean diagonal entry of the Hessians of the slopes at 0."""
    entries = []
    for row in rows:
        shape = row.goal.shape[1], row.design.shape[1]
        hessian = glm_expansion(
            row.family, row.design, row.goal, row.weight, np.zeros(shape)
        )[2]
        diagonal = np.diag(hessian).reshape(shape)
        entries.append(diagonal[:, : shape[1] - n_intercepts].mean())
    return float(np.mean(entries)) or 1.0


def _without(row: GlmRows, test: NDArray[Any]) -> GlmRows:
    """Leave rows out of a task, and keep the sum of its weights 1."""
    kept = np.setdiff1d(np.arange(len(row.weight)), test)
    total = float(row.weight[kept].sum())
    return replace(
        row,
        design=row.design[kept],
        goal=row.goal[kept],
        weight=row.weight[kept] / total,
        ridge=row.ridge / total,
    )


def _loss(row: GlmRows, test: NDArray[Any], theta: NDArray[Any]) -> float:
    """Return the weighted mean loss of held-out rows; 0 without any."""
    if not len(test):
        return 0.0
    losses = glm_losses(row.family, row.design[test] @ theta.T, row.goal[test])
    return float(np.average(losses, weights=row.weight[test]))
