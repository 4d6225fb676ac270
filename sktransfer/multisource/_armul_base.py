"""What the ARMUL estimators share: the three forms and the choice of constants."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.armul import (
    expanded,
    solve_clustered,
    solve_low_rank,
    solve_vanilla,
)
from sktransfer.exceptions import warn
from sktransfer.multisource._summary_estimator import SummaryEstimator

#: constants C that are tried: own fits, 0, to the pooled fit, infinity
CONSTANTS = (np.inf, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.0)
#: the same where the number of centers is chosen as well
FEW_CONSTANTS = (np.inf, 4.0, 1.0, 0.25, 0.0)


class ArmulEstimator(SummaryEstimator):
    """Solve the program over the target and the sources.

    Hooks: ``_prepare(data, weight, summaries)`` returns the coordinates, the names of
    the sources, their tasks and their sizes; ``_target_task(data, weight,
    coordinates)`` the task and the size of the target; ``_unit(n_parameters)`` the
    scale of a gradient's noise, times the root of the number of parameters;
    ``_loss(theta, data, rows, coordinates, weight)`` the summed loss of labeled rows;
    ``_set_coefficients(theta, centers, coordinates, dtype)`` keeps the solution.
    """

    _parameter_constraints: dict[str, Any] = {
        **SummaryEstimator._parameter_constraints,
        "form": [StrOptions({"vanilla", "clustered", "low_rank"})],
        "n_centers": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "penalty": [StrOptions({"auto"}), Interval(Real, 0, None, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }

    def _fit_tasks(
        self,
        data: Any,
        weight: NDArray[Any],
        summaries: list[tuple[str, Any]],
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
    ) -> None:
        if self.form == "vanilla" and self.n_centers not in ("auto", 1):
            raise ValueError(
                f"n_centers={self.n_centers}, but form='vanilla' has one center: set "
                "form='clustered' or form='low_rank'."
            )
        coordinates, names, sources, sizes = self._prepare(data, weight, summaries)
        self.source_names_ = names
        penalty, n_centers = self._choose(
            data, weight, coordinates, sources, sizes, folds
        )
        target, n = self._target_task(data, weight, coordinates)
        theta, centers, info = self._solve(
            [*sources, target], np.append(sizes, n), penalty, n_centers
        )
        self.penalty_ = penalty
        self.n_centers_ = 1 if self.form == "vanilla" else n_centers
        if self.form == "clustered":
            self.labels_ = info.labels
            self.n_centers_ = len(np.unique(info.labels))
        elif self.form == "low_rank":
            self.n_centers_ = min(n_centers, *theta.shape)
        self.at_center_ = (theta == centers).all(axis=1)
        self.kkt_residual_, self.n_iter_ = info.kkt_residual, max(info.n_iter, 1)
        if not info.converged:
            warn(
                f"{type(self).__name__} did not converge: relative KKT residual "
                f"{info.kkt_residual:.2g} after {info.n_iter} steps.",
                ConvergenceWarning,
            )
        dtype = data.X.dtype if data.X.dtype == np.float32 else np.float64
        self._set_coefficients(theta, centers, coordinates, dtype)

    def _solve(
        self,
        tasks: list[Any],
        sizes: NDArray[Any],
        constant: float,
        n_centers: int,
        quick: bool = False,
    ) -> tuple[NDArray[Any], NDArray[Any], Any]:
        lams = np.zeros(len(sizes))
        if constant:
            lams = constant * self._unit(tasks[0].size) / np.sqrt(sizes)
        if self.form == "clustered":
            n_init = 1 if quick else 3
            return solve_clustered(tasks, sizes, lams, n_centers, n_init=n_init)
        if self.form == "low_rank":
            tol = 1e-3 if quick else 1e-6
            return solve_low_rank(tasks, sizes, lams, n_centers, tol=tol)
        return solve_vanilla(tasks, sizes, lams)

    def _choose(
        self,
        data: Any,
        weight: NDArray[Any],
        coordinates: Any,
        sources: list[Any],
        sizes: NDArray[Any],
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
    ) -> tuple[float, int]:
        """Return constant and number of centers of the least held-out error."""
        self.cv_errors_ = {}
        constants, counts = [self.penalty], [self.n_centers]
        if self.penalty == "auto":
            # a single task is its own center
            constants = [1.0]
            if sources:
                constants = CONSTANTS if self.form == "vanilla" else FEW_CONSTANTS
        if self.n_centers == "auto":
            counts = [1, 2, 3] if sources and self.form != "vanilla" else [1]
        fallback = 2 if self.form == "clustered" and self.n_centers == "auto" else None
        candidates = [(constant, count) for count in counts for constant in constants]
        if len(candidates) == 1:
            return candidates[0]
        errors, total = np.zeros(len(candidates)), 0.0
        sources = [expanded(task) for task in sources]
        for train, test in folds:
            part = data.take(train)
            if not part.n_labeled:
                continue
            own, n = self._target_task(part, weight[train], coordinates)
            rows = data.mask_of(test)
            for i, (constant, count) in enumerate(candidates):
                theta = self._solve(
                    [*sources, own], np.append(sizes, n), constant, count, quick=True
                )[0]
                errors[i] += self._loss(
                    theta[-1], data, rows, coordinates, weight[rows]
                )
            total += weight[rows].sum()
        if not total:
            constant = 1.0 if self.penalty == "auto" else self.penalty
            return constant, fallback or counts[0]
        errors /= total
        keys = candidates
        if self.form == "vanilla":
            keys = [constant for constant, _ in candidates]
        self.cv_errors_ = dict(zip(keys, errors.tolist(), strict=True))
        return candidates[int(np.argmin(errors))]
