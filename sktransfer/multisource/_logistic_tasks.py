"""Template of classifiers whose sources are rows, summaries, or both."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._domains import take_rows
from sktransfer._linear import LinearClassifierMixin
from sktransfer._solvers.glm import fit_glm, glm_expansion
from sktransfer._solvers.random_effects import Evidence, log_pseudo_determinant
from sktransfer.multisource._summarize import labels_as_goal
from sktransfer.multisource._summary_estimator import (
    Coordinates,
    SummaryEstimator,
    Task,
)

#: precision of the prior that keeps the coefficients of a separated source finite
WEAK = 0.1


class LogisticSummaryEstimator(LinearClassifierMixin, SummaryEstimator):
    """Classes of all domains in common logits, rows in common coordinates."""

    _families = ("binomial", "multinomial")

    def _prepare_rows(
        self, data: Any, weight: NDArray[Any], summaries: list[tuple[str, Any]]
    ) -> tuple[Coordinates, Callable[..., Any]]:
        """Set ``classes_``; return the coordinates and a reader of rows.

        The reader maps a mask to ``(family, design, goal, weight)``.
        """
        self._check_classes(data, summaries)
        coordinates = Coordinates(
            data, weight, summaries, fit_intercept=self.fit_intercept, shift=False
        )
        return coordinates, lambda rows: self._read(data, weight, rows, coordinates)

    def _read(
        self,
        data: Any,
        weight: NDArray[Any],
        rows: NDArray[np.bool_],
        coordinates: Coordinates,
    ) -> tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]]:
        design = coordinates.design(take_rows(data.X, rows))
        goal = labels_as_goal(data.labels(rows), self.classes_)
        return self._family, design, goal, weight[rows]

    @property
    def _family(self) -> str:
        return "binomial" if len(self.classes_) == 2 else "multinomial"

    @property
    def _n_logits(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _expanded_sources(
        self,
        data: Any,
        summaries: list[tuple[str, Any]],
        coordinates: Coordinates,
        rows_of: Callable[..., Any],
    ) -> list[Task]:
        """Return the quadratics of all sources; of rows at the weakly penalized fit."""
        sources = [
            source_task(str(int(k)), *rows_of(data.rows_of(k))) for k in data.sources
        ]
        for name, summary in summaries:
            vector, information = coordinates.standardized(summary)
            sources.append(Task(name, information, vector, float(summary.n)))
        return sources

    def _raw(
        self, theta: NDArray[Any], coordinates: Coordinates, dtype: Any = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return raw coefficients and intercepts; of several logits they sum to 0."""
        coef, intercept = coordinates.raw(_centered(theta, self._n_logits))
        return coef.astype(np.float32) if dtype == np.float32 else coef, intercept

    def _check_classes(self, data: Any, summaries: list[tuple[str, Any]]) -> None:
        y = data.labels(data.labeled)
        check_classification_targets(y)
        self.classes_ = np.unique(
            np.concatenate([y, *(s.classes for _, s in summaries)])
        )
        if len(self.classes_) < 2:
            raise ValueError(
                "Labels of at least two classes are needed, but all labeled rows have "
                f"one class: {self.classes_.tolist()[0]!r}."
            )
        for name, summary in summaries:
            if not np.array_equal(summary.classes, self.classes_):
                raise ValueError(
                    f"{name} has the classes {summary.classes.tolist()}, but those of "
                    f"all domains are {self.classes_.tolist()}."
                )


class PenalizedLikelihood:
    """Log-likelihood of the target and its marginal likelihood under a prior."""

    def __init__(
        self,
        family: str,
        design: NDArray[Any],
        goal: NDArray[Any],
        weight: NDArray[Any],
        slopes: NDArray[np.bool_],
    ) -> None:
        self.rows = family, design, goal, weight
        self.n = float(weight.sum())
        self.slopes = slopes
        self.shape = (goal.shape[1], design.shape[1])
        self.start = np.zeros(self.shape)
        hessian = glm_expansion(*self.rows, self.start)[2]
        # of several logits a common shift has no effect: it counts as determined
        C, d = self.shape
        shift = np.kron(np.ones((C, C)) / C, np.eye(d)) if C > 1 else 0.0
        self.curvature = hessian + shift

    def log_likelihood(self, theta: NDArray[Any]) -> float:
        """Return the log-likelihood of the labels."""
        return -glm_expansion(*self.rows, theta.reshape(self.shape))[0]

    def evidence(self, prior: NDArray[Any], pull: NDArray[Any], alpha: Any) -> Evidence:
        """Return the posterior mode with Laplace's marginal likelihood."""
        R = prior + alpha * np.diag(self.slopes.astype(np.float64))
        theta, _, _ = fit_glm(*self.rows, prior=R, pull=pull, start=self.start)
        self.start = theta
        value, _, hessian = glm_expansion(*self.rows, theta)
        flat = theta.ravel()
        center = np.linalg.pinv(R, hermitian=True) @ pull
        distance = (flat - center) @ R @ (flat - center)
        precision = hessian + R
        log_likelihood = -value - 0.5 * distance - 0.5 * (
            log_pseudo_determinant(precision) - log_pseudo_determinant(R)
        )  # fmt: skip
        return Evidence(flat, precision, float(log_likelihood))


def source_task(
    name: str,
    family: str,
    design: NDArray[Any],
    goal: NDArray[Any],
    weight: NDArray[Any],
) -> Task:
    """Expand the likelihood of a source at its weakly penalized fit."""
    p = goal.shape[1] * design.shape[1]
    theta, _, _ = fit_glm(
        family, design, goal, weight, prior=WEAK * np.eye(p), pull=np.zeros(p)
    )
    _, _, fisher = glm_expansion(family, design, goal, weight, theta)
    return Task(name, fisher, theta.ravel(), float(weight.sum()))


def _centered(theta: NDArray[Any], n_logits: int) -> NDArray[Any]:
    """Return parameters of shape (n_logits, width) that sum to 0 over the classes."""
    theta = theta.reshape(n_logits, -1)
    return theta - theta.mean(axis=0) * (n_logits > 1)
