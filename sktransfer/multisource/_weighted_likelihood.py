"""The weighted-likelihood problem that UOWQ, its multi-task form and OTQMS share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._domains import canonical_order, take_rows
from sktransfer._learners import (
    check_takes_sample_weight,
    fit_learner,
    has_no_event,
)
from sktransfer._solvers.uowq import solve_uowq
from sktransfer.base import slice_params
from sktransfer.exceptions import warn
from sktransfer.multisource._estimated_risk import degrees_of_freedom
from sktransfer.multisource._likelihood import FisherRoot, likelihood_of
from sktransfer.multisource._row_space import RowSpace


class Relaxation:
    """Fixed-point steps that halve when they turn back, because full ones can cycle."""

    def __init__(self) -> None:
        self.step, self.previous = 1.0, None

    def move(self, current: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
        """Step from ``current`` toward ``found``; the first step is a full one."""
        direction = found - current
        if self.previous is not None and np.sum(direction * self.previous) < 0:
            self.step /= 2
        self.previous = direction
        return current + self.step * direction


class WeightedLikelihood:
    """A target, its sources, and weighted fits of one learner to their rows.

    Parameters
    ----------
    estimator : estimator
        Unfitted learner with a registered likelihood.
    X : {array, sparse matrix, dataframe} of shape (n_rows, n_features)
        Labeled rows of every domain.
    y : ndarray of shape (n_rows,)
        Labels.
    domain : ndarray of shape (n_rows,)
        Domain id of each row.
    target : int
        Id of the target.
    fit_params : dict
        Metadata of the learner, one entry per row; ``sample_weight`` is positive, and
        a weight of 2 counts as two rows.
    n_jobs : int or None
        Number of sources fitted at the same time.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves for the weights of the sources.

    Attributes
    ----------
    averages : bool
        Whether weighted fits are averages of parameters, as for source models.
    n_target : float
        Number of target rows, the sum of their weights.
    source_sizes : ndarray of shape (n_sources,)
        The same of every source.
    """

    averages = False
    summaries: Any = ()

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        domain: Any,
        target: int,
        fit_params: dict[str, Any],
        n_jobs: int | None,
        solver: Any = "auto",
    ) -> None:
        self.estimator = estimator
        self.likelihood = likelihood_of(estimator)
        check_takes_sample_weight(estimator)
        self.X, self.y, self.domain = X, y, domain
        self.fit_params = fit_params
        self.n_jobs = n_jobs
        self.solver = solver
        own = fit_params.get("sample_weight")
        self.own_weight = None if own is None else np.asarray(own, dtype=np.float64)
        self.target, self.is_target = target, domain == target
        self.n_target = self.size_of(self.is_target)
        ids = np.unique(domain)
        self.sources = ids[ids != target]
        self.source_sizes = np.array([self.size_of(domain == k) for k in self.sources])
        self._row_space = RowSpace(estimator, X, y)
        self._check_classes()

    def _check_classes(self) -> None:
        self.shared = np.ones(len(self.y), dtype=bool)
        if has_no_event(self.estimator, self.y[self.is_target]):
            raise ValueError(
                "All labels of the target are 0, where the parameters of a log link "
                "are infinite: label target samples with an event."
            )
        if not is_classifier(self.estimator):
            return
        if not len(self.sources) and not self.summaries:
            return
        classes = np.unique(self.y[self.is_target])
        if len(classes) < 2:
            raise ValueError(
                "The labeled target rows in y hold one class; the parameters of the "
                "target need rows of at least two classes."
            )
        self.shared = np.isin(self.y, classes)
        if not self.shared.all():
            unseen = np.unique(self.y[~self.shared])
            warn(
                f"No labeled target row is of the classes {unseen.tolist()}: the "
                "weights of the sources come from their other rows.",
                UserWarning,
            )

    def weights_of(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """Return the user's weights of rows (a mask or positions), None: all 1."""
        return None if self.own_weight is None else self.own_weight[rows]

    def size_of(self, rows: NDArray[np.bool_]) -> float:
        """Return the number of rows in a mask, or the sum of their weights."""
        own = self.weights_of(rows)
        return float(rows.sum() if own is None else own.sum())

    def fit_rows(self, rows: NDArray[np.bool_], sample_weight: Any) -> Any:
        """Fit the learner to weighted rows, given by a mask."""
        found = self._fit_in_row_space(rows, sample_weight)
        if found is not None:
            return found
        X, y = take_rows(self.X, rows), self.y[rows]
        params = slice_params(self.fit_params, rows)
        params["sample_weight"] = self.weights_of(rows)
        return fit_learner(self.estimator, X, y, method_weight=sample_weight, **params)

    def _fit_in_row_space(self, rows: NDArray[np.bool_], weight: Any) -> Any:
        """Return the fit, to rounding, where there are more features than rows."""
        if set(self.fit_params) - {"sample_weight"}:
            return None
        weight = np.ones(rows.sum()) if weight is None else weight
        own = self.weights_of(rows)
        return self._row_space.fit(rows, weight if own is None else weight * own)

    def fit_target(self) -> Any:
        """Fit the learner to the target rows alone."""
        found = self._fit_in_row_space(self.is_target, None)
        if found is not None:
            self.target_model = found
            return found
        X, y = take_rows(self.X, self.is_target), self.y[self.is_target]
        params = slice_params(self.fit_params, self.is_target)
        params["samples"] = "the labeled target samples"
        self.target_model = fit_learner(self.estimator, X, y, **params)
        return self.target_model

    def fit_sources(self) -> list[Any]:
        """Fit every source; a source without a class of the target gives None.

        The rows of a source have the total weight of the target rows, so that a
        penalty shrinks source and target parameters alike.
        """
        return Parallel(n_jobs=self.n_jobs)(
            delayed(self._fit_source)(source) for source in self.sources
        )

    def _fit_source(self, source: int) -> Any:
        rows = (self.domain == source) & self.shared
        if is_classifier(self.estimator):
            missing = np.setdiff1d(self.y[self.is_target], self.y[rows])
            if len(missing):
                warn(
                    f"Source {source} has no row of the classes {missing.tolist()}: "
                    "to its model they are impossible, so its weight is 0.",
                    UserWarning,
                )
                return None
        if has_no_event(self.estimator, self.y[rows]):
            warn(
                f"All labels of source {source} are 0, where the parameters of a log "
                "link are infinite, so its weight is 0.",
                UserWarning,
            )
            return None
        share = self.n_target / self.size_of(rows)
        return self.fit_rows(rows, np.full(rows.sum(), share))

    def fit_weighted(self, weights: NDArray[Any], *, shared_only: bool = False) -> Any:
        """Fit the learner to the target rows and the weighted source rows.

        With ``shared_only`` to those of classes that the target has, so that the
        parameters are comparable with the target's.
        """
        row_weight = self.is_target.astype(float)
        for source, weight in zip(self.sources, weights, strict=True):
            row_weight[self.domain == source] = weight
        if shared_only:
            row_weight[~self.shared] = 0.0
        rows = row_weight > 0
        if not np.any(weights > 0):
            return self.target_model
        return self.fit_rows(rows, row_weight[rows])

    def parameters(self, models: list[Any]) -> NDArray[Any]:
        """Stack the parameters of models; None gives a row of infinities."""
        rows = [None if m is None else self.likelihood.parameters(m) for m in models]
        width = max((len(r) for r in rows if r is not None), default=1)
        return np.array([np.full(width, np.inf) if r is None else r for r in rows])

    def source_parameters(self) -> NDArray[Any]:
        """Fit every source and stack the parameters."""
        return self.parameters(self.fit_sources())

    def fisher_root(self, model: Any) -> FisherRoot:
        """Root of the Fisher information over the target rows at a model."""
        X = take_rows(self.X, self.is_target)
        y = self.y[self.is_target]
        if self.likelihood.constant:
            model = self.target_model
        if self.likelihood.expected:
            return self.likelihood.fisher_root(
                model, X, y, **self._own_weight(self.is_target)
            )
        scores = self._held_out_scores(X, y)
        root = FisherRoot(scores, np.ones((len(scores), 1, 1)), intercept=False)
        return root.weighted(self.weights_of(self.is_target))

    def source_root(
        self, model: Any, source: int, target_root: FisherRoot, at_most: int
    ) -> FisherRoot:
        """Root of the Fisher information over at most so many rows of a source."""
        rows = np.flatnonzero((self.domain == source) & self.shared)
        rows = rows[:: max(1, -(-len(rows) // max(at_most, 1)))]
        return self.likelihood.source_root(
            model,
            take_rows(self.X, rows),
            self.y[rows],
            target_root,
            **self._own_weight(rows),
        )

    def degrees_of_freedom(
        self, model: Any, weights: NDArray[Any], *, room: float = 0.0
    ) -> float:
        """Return the trace of the target's leverages, up to an error of ``room``."""
        return degrees_of_freedom(self, model, weights, room=room)

    def deviance(self, model: Any) -> float:
        """Twice the log-likelihood that the target rows lose to another model."""
        X, y = take_rows(self.X, self.is_target), self.y[self.is_target]
        return self.likelihood.deviance(
            model, self.target_model, X, y, **self._own_weight(self.is_target)
        )

    def _own_weight(self, rows: NDArray[Any]) -> dict[str, Any]:
        own = self.weights_of(rows)
        return {} if own is None else {"sample_weight": own}

    def _held_out_scores(self, X: Any, y: Any, n_folds: int = 5) -> NDArray[Any]:
        """Scores of every row at the fit without its fold, alike in any row order."""
        fold = np.empty(len(y), dtype=int)
        fold[canonical_order(X, y)] = np.arange(len(y)) % min(n_folds, len(y))
        own = self.weights_of(self.is_target)
        parts = []
        for k in np.unique(fold):
            train, test = fold != k, fold == k
            if has_no_event(self.estimator, y[train]):
                parts.append(self._scores_of_all(X, y, test))
                continue
            model = fit_learner(
                self.estimator,
                take_rows(X, train),
                y[train],
                sample_weight=None if own is None else own[train],
                samples="the labeled target samples outside of a fold",
            )
            parts.append(self.likelihood.scores(model, take_rows(X, test), y[test]))
        return np.vstack(parts)

    def _scores_of_all(self, X: Any, y: Any, rows: Any) -> Any:
        """Scores of rows at the fit of all: without them there is no event."""
        return self.likelihood.scores(self.target_model, take_rows(X, rows), y[rows])

    def root_differences(
        self, model: Any, anchor: NDArray[Any], source_params: NDArray[Any]
    ) -> tuple[NDArray[Any], float]:
        """Return the projected differences of the sources, and the parameter count."""
        root = self.fisher_root(model)
        usable = np.isfinite(source_params).all(axis=1)
        P = np.full((1, len(source_params)), np.inf)
        if usable.any():
            projected = root.project(source_params[usable] - anchor)
            P = np.full((len(projected), len(source_params)), np.inf)
            P[:, usable] = projected
        return P, max(root.n_parameters(self.n_target), 1e-12)

    def weigh(
        self,
        model: Any,
        anchor: NDArray[Any],
        source_params: NDArray[Any],
        *,
        noise_correction: bool,
    ) -> tuple[Any, float]:
        """Compute the weights with the information at ``model``."""
        P, d = self.root_differences(model, anchor, source_params)
        result = solve_uowq(
            P,
            self.n_target,
            self.source_sizes,
            d,
            noise_correction=noise_correction,
            solver=self.solver,
        )
        return result, d


def likelihood_problem(
    estimator: Any,
    data: Any,
    fit_params: dict[str, Any],
    target: int | None = None,
    *,
    kind: Any = None,
) -> Any:
    """Build the problem of a wrapper from validated rows.

    Parameters
    ----------
    estimator : TransferMetaEstimator
        The wrapper; its ``estimator``, ``n_jobs`` and ``solver`` count.
    data : DomainData
        Rows of every domain; unlabeled ones and those of weight 0 are dropped.
    fit_params : dict
        Metadata, one entry per row of ``data``.
    target : int, default=None
        Id of the target; None: the only one in ``data``.
    kind : callable, default=None
        Makes the problem. None: ``WeightedLikelihood``.

    Returns
    -------
    problem : WeightedLikelihood
        The problem on the labeled rows.
    """
    target = data.targets[0] if target is None else target
    rows = data.labeled & positive_weight(fit_params, len(data.labeled))
    if not rows[data.rows_of(target)].any():
        raise ValueError(
            f"Every labeled row of domain {target} has sample_weight 0, which removes "
            "it: give a positive weight to some of them."
        )
    return (kind or WeightedLikelihood)(
        estimator.estimator,
        take_rows(data.X, rows),
        data.labels(rows),
        data.sample_domain[rows],
        target,
        slice_params(fit_params, rows),
        estimator.n_jobs,
        estimator.solver,
    )


def positive_weight(fit_params: dict[str, Any], n_rows: int) -> NDArray[np.bool_]:
    """Mask of the rows whose ``sample_weight`` is not 0; negative ones are refused."""
    own = fit_params.get("sample_weight")
    if own is None:
        return np.ones(n_rows, dtype=bool)
    own = np.asarray(own, dtype=np.float64)
    if own.shape != (n_rows,) or not (np.isfinite(own) & (own >= 0)).all():
        raise ValueError(
            "sample_weight must hold one finite number of at least 0 per row of X."
        )
    return own > 0
