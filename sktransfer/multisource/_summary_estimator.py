"""Template of estimators whose sources are rows, summaries, or both."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier

from sktransfer._domains import take_rows
from sktransfer._folds import target_folds
from sktransfer._learners import check_weights
from sktransfer._solvers.glm import information_rank
from sktransfer._source_summary import (
    SourceSummary,
    check_source_summaries,
    noise_of_few_rows,
)
from sktransfer.base import TransferEstimator
from sktransfer.exceptions import UnlabeledTargetError

ALPHAS = np.logspace(-4, 4, 17)


class SummaryEstimator(TransferEstimator):
    """Keep ``source_summaries`` and ``sample_weight``; the hook gets both checked.

    The hook is ``_fit_tasks(data, weight, summaries, folds)``: data of the rows with
    positive weight, their weights, a list of ``(name, summary)``, and the folds of the
    labeled target rows of an estimator with ``cv``.
    """

    _families: tuple[str, ...] = ("gaussian",)

    _parameter_constraints: dict[str, Any] = {
        "source_summaries": [list, tuple, SourceSummary, None],
        "fit_intercept": ["boolean"],
    }

    def fit(
        self, X: Any, y: Any, sample_domain: Any = None, sample_weight: Any = None
    ) -> Any:
        """Fit on target rows and sources.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights; a weight of 2 counts as two rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract.
        """
        self._sample_weight = sample_weight
        try:
            return super().fit(X, y, sample_domain=sample_domain)
        finally:
            del self._sample_weight

    def without_sources(self) -> Any:
        r"""Return the unfitted :math:`\theta(0,T)`: a copy without summaries.

        Returns
        -------
        target_only : estimator
            A copy whose ``source_summaries`` is None.
        """
        return clone(self).set_params(source_summaries=None)

    def _fit_domains(self, data: Any) -> None:
        weight = np.ones(len(data.sample_domain))
        if self._sample_weight is not None:
            weight = check_weights(self._sample_weight, len(weight)).astype(np.float64)
        kept = weight > 0
        if not (kept & data.is_labeled_target).any():
            raise UnlabeledTargetError(
                "sample_weight is zero on all labeled target rows."
            )
        summaries, folds = self._check_summaries(), []
        if hasattr(self, "cv"):
            folds = target_folds(
                data, self.cv, sample_weight=weight, stratify=is_classifier(self),
                random_state=self.random_state,
            )  # fmt: skip
        if not kept.all():
            position = np.cumsum(kept) - 1
            data, weight = data.take(kept), weight[kept]
            folds = [
                tuple(position[part[kept[part]]] for part in fold) for fold in folds
            ]
        self._fit_tasks(data, weight, summaries, folds)

    def _check_summaries(self) -> list[tuple[str, SourceSummary]]:
        """Return ``(name, summary)`` of every entry, or one error that names it."""
        return check_source_summaries(
            self.source_summaries, self, families=self._families,
            fit_intercept=self.fit_intercept,
        )  # fmt: skip

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.source_free = True
        tags.transfer_tags.scale_free = self.fit_intercept
        return tags


@dataclass
class Task:
    """Sufficient statistics of one domain in standardized coordinates.

    ``information`` and ``vector`` describe the log-likelihood; ``gram`` is the
    information times the noise variance (None if that is unknown), the moment of the
    labels is ``gram @ vector``; ``rss`` is the least sum of squares.
    """

    name: str
    information: np.ndarray
    vector: np.ndarray
    n: float
    gram: np.ndarray | None = None
    noise: float | None = None
    rss: float = 0.0
    dof: float = 0.0

    @property
    def moment(self) -> NDArray[Any]:
        """Moment of the labels."""
        return self.gram @ self.vector

    @property
    def energy(self) -> float:
        """Sum of the squared labels."""
        return self.rss + self.vector @ self.gram @ self.vector


class Coordinates:
    """Centered and scaled features, centered labels: results keep no units.

    Center and scale are those of all labeled rows together; of a summary they are
    read from its information.
    """

    def __init__(
        self,
        data: Any,
        weight: NDArray[Any],
        summaries: list[tuple[str, SourceSummary]],
        *,
        fit_intercept: bool,
        shift: bool = True,
    ) -> None:
        self.fit_intercept = fit_intercept
        d = data.X.shape[1]
        parts = [
            (float(weight[rows].sum()), *_moments(data, weight, rows))
            for rows in [*(data.rows_of(k) for k in data.sources), _labeled(data)]
        ]
        parts += [_summary_moments(s) for _, s in summaries]
        total = sum(n for n, _, _ in parts)
        center = sum(n * mean for n, mean, _ in parts) / total
        if not fit_intercept:
            center = np.zeros(d)
        square = sum(n * (var + (mean - center) ** 2) for n, mean, var in parts) / total
        self.center = center
        # of a constant feature only rounding is left: it is not blown up
        rounding = 10 * np.finfo(float).eps * np.abs(center)
        self.scale = np.where(square > rounding**2, np.sqrt(square), 1.0)
        rows = _labeled(data)
        labels = data.labels(rows)
        self.shift = 0.0
        if shift and fit_intercept:
            self.shift = float(np.average(labels.astype(float), weights=weight[rows]))

    @classmethod
    def at(
        cls, center: NDArray[Any], scale: NDArray[Any], *, fit_intercept: bool
    ) -> "Coordinates":
        """Return the coordinates of a given center and scale; labels stay."""
        coordinates = cls.__new__(cls)
        coordinates.fit_intercept, coordinates.shift = fit_intercept, 0.0
        coordinates.center, coordinates.scale = center, scale
        return coordinates

    def design(self, X: Any) -> NDArray[Any]:
        """Return standardized rows, with a column of ones for the intercept."""
        rows = (np.asarray(X, dtype=np.float64) - self.center) / self.scale
        if self.fit_intercept:
            return np.column_stack([rows, np.ones(len(rows))])
        return rows

    @property
    def to_raw(self) -> NDArray[Any]:
        """Matrix that maps standardized parameters to raw ones, less the shift."""
        d = len(self.scale)
        if not self.fit_intercept:
            return np.diag(1 / self.scale)
        matrix = np.diag(np.append(1 / self.scale, 1.0))
        matrix[d, :d] = -self.center / self.scale
        return matrix

    def raw(self, theta: NDArray[Any]) -> tuple[NDArray[Any], Any]:
        """Return raw coefficients and intercept of standardized parameters."""
        coef = theta[..., : len(self.scale)] / self.scale
        if not self.fit_intercept:
            return coef, np.zeros(theta.shape[:-1])
        return coef, theta[..., -1] + self.shift - coef @ self.center

    def standardized(self, summary: SourceSummary) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return vector and information of a summary in these coordinates."""
        L = summary.n_logits
        theta = summary.vector.reshape(L, -1)
        std = theta * np.append(self.scale, [1.0] * self.fit_intercept)
        units = 1 / self.scale
        if self.fit_intercept:
            std[:, -1] = (
                summary.vector_at(self.center).reshape(L, -1)[:, -1] - self.shift
            )
            units = np.append(units, 1.0)
        units = np.tile(units, L)
        information = summary.information_at(self.center)
        return std.ravel(), information * units * units[:, None]


def _labeled(data: Any) -> NDArray[np.bool_]:
    return data.is_labeled_target


def _moments(
    data: Any, weight: NDArray[Any], rows: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    X = np.asarray(take_rows(data.X, rows), dtype=np.float64)
    mean = np.average(X, axis=0, weights=weight[rows])
    return mean, np.average((X - mean) ** 2, axis=0, weights=weight[rows])


def _summary_moments(
    summary: SourceSummary,
) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Size, mean and variance of the features as the information weighs the rows."""
    L, center = summary.n_logits, summary.center
    information = summary.information_at(center)
    blocks = information.reshape(L, -1, L, len(information) // L)
    block = np.einsum("aiaj->ij", blocks)
    d = summary.n_features
    if summary.intercept is None:
        size = np.diagonal(block) * (summary.noise or 1.0) / summary.n
        return summary.n, np.zeros(d), size
    mean = block[:d, d] / block[d, d]
    return (
        summary.n,
        mean if center is None else center + mean,
        np.maximum(np.diagonal(block)[:d] / block[d, d] - mean**2, 0),
    )


def gaussian_tasks(
    data: Any,
    weight: NDArray[Any],
    summaries: list[tuple[str, SourceSummary]],
    coordinates: Coordinates,
) -> tuple[Task, Any]:
    """Return the task of the target and those of the sources."""
    rows = _labeled(data)
    target = _task_of_rows("target", data, weight, rows, coordinates)
    sources = [
        _task_of_rows(str(int(k)), data, weight, data.rows_of(k), coordinates)
        for k in data.sources
    ]
    for name, summary in summaries:
        vector, information = coordinates.standardized(summary)
        gram = None if summary.noise is None else information * summary.noise
        dof = summary.residual_dof if summary.noise is not None else 0.0
        sources.append(
            Task(
                name, information, vector, float(summary.n), gram, summary.noise,
                (summary.noise or 0.0) * dof, dof,
            )
        )  # fmt: skip
    tasks = [target, *sources]
    target, *sources = [_with_noise(task, tasks) for task in tasks]
    return target, sources


def _with_noise(task: Task, tasks: list[Task]) -> Task:
    """Give a domain whose labels are all equal the noise of the other ones."""
    if task.noise != 0:
        return task
    rss, dof = sum(t.rss for t in tasks), sum(t.dof for t in tasks)
    noise = (rss / dof if dof > 0 else 0.0) or 1.0
    gram: Any = task.gram
    return replace(task, noise=noise, information=gram / noise)


def _task_of_rows(
    name: str,
    data: Any,
    weight: NDArray[Any],
    rows: NDArray[np.bool_],
    coordinates: Coordinates,
) -> Task:
    design = coordinates.design(take_rows(data.X, rows))
    y = data.labels(rows).astype(np.float64) - coordinates.shift
    w = weight[rows]
    gram = (design * w[:, None]).T @ design
    moment = (design * w[:, None]).T @ y
    root = np.sqrt(w)
    vector = np.linalg.lstsq(design * root[:, None], y * root, rcond=1e-10)[0]
    rss = float(w @ (y - design @ vector) ** 2)
    n = float(w.sum())
    if coordinates.fit_intercept and np.ptp(y) == 0:  # no sign of the noise
        vector = np.append(np.zeros(design.shape[1] - 1), y[0])
        return Task(name, gram, vector, n, gram, noise=0.0)
    energy = float(w @ y**2)
    dof = max(n - information_rank(gram), 0.0)
    floor = np.finfo(float).eps * energy
    if dof > 0:
        noise = max(rss, floor) / dof
    else:
        noise = noise_of_few_rows(gram, moment, energy, n, coordinates.fit_intercept)
    noise = max(noise, floor) or 1.0
    return Task(name, gram / noise, vector, n, gram, noise, rss, dof)
