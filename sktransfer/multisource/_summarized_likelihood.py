"""The weighted-likelihood problem of UOWQ with summaries among its sources."""

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sktransfer._domains import take_rows
from sktransfer._solvers.glm import fit_glm, newton_direction, pseudo_trace
from sktransfer.exceptions import warn
from sktransfer.multisource._summarize import labels_as_goal
from sktransfer.multisource._summary_estimator import Coordinates
from sktransfer.multisource._weighted_likelihood import WeightedLikelihood


def summary_families(learner: Any) -> tuple[Any, ...]:
    """Return the families of summaries that go with a learner, or refuse it.

    Parameters
    ----------
    learner : estimator
        Unfitted learner.

    Returns
    -------
    families : tuple of str
        Families of the likelihood.

    Raises
    ------
    TypeError
        If weighted fits of the learner are not penalized Newton fits.
    """
    name = type(learner).__name__
    if getattr(learner, "positive", False) or getattr(learner, "class_weight", None):
        raise TypeError(
            f"estimator={learner!r} cannot be fitted to summaries: leave out positive "
            "and class_weight, which ask for rows."
        )
    if isinstance(learner, LogisticRegression):
        old = getattr(learner, "penalty", "deprecated")
        ratio = getattr(learner, "l1_ratio", None) or 0.0
        if old in ("l1", "elasticnet") or np.any(np.asarray(ratio, float) > 0):
            raise TypeError(
                f"estimator={learner!r} has an L1 penalty, which summaries cannot "
                "follow: use l1_ratio=0."
            )
        return ("binomial", "multinomial")
    if isinstance(learner, LinearRegression | Ridge):
        return ("gaussian",)
    if isinstance(learner, PoissonRegressor):
        return ("poisson",)
    raise TypeError(
        f"estimator={name}(...) has no family of summaries: use LinearRegression, "
        "Ridge, LogisticRegression or PoissonRegressor."
    )


class SummarizedLikelihood(WeightedLikelihood):
    r"""A target, sources of rows, and sources of which summaries are known.

    A weighted fit maximizes the penalized log-likelihood of the rows plus
    :math:`-\tfrac{w_k}2 (\theta - b_k)' \Lambda_k (\theta - b_k)` for every summary
    (for least squares times its noise variance, which is the scale of the learner).

    Parameters
    ----------
    summaries : list of (str, SourceSummary)
        Names and summaries.
    *args : tuple
        Arguments of ``WeightedLikelihood``.
    """

    def __init__(self, summaries: Any, *args: Any) -> None:
        self.summaries = [summary for _, summary in summaries]
        super().__init__(*args)
        if not self.shared.all():
            raise ValueError(
                "Some source rows are of classes that no labeled target row has; "
                "beside source_summaries leave these rows out."
            )
        self.row_sources = self.sources
        names = [int(k) for k in self.sources] + [name for name, _ in summaries]
        self.sources = np.array(names, dtype=object)
        self.source_sizes = np.append(
            self.source_sizes, [float(s.n) for s in self.summaries]
        )

    def fit_target(self) -> Any:
        """Fit the learner to the target rows, and choose coordinates there."""
        model = super().fit_target()
        self.classes: Any = getattr(model, "classes_", None)
        X = self._dense(self.is_target)
        own = self.weights_of(self.is_target)
        center = np.average(X, axis=0, weights=own)
        spread = np.sqrt(np.average((X - center) ** 2, axis=0, weights=own))
        center = center * bool(self.estimator.fit_intercept)
        spread = np.where(spread > 10 * np.finfo(float).eps * abs(center), spread, 1.0)
        self.coordinates = Coordinates.at(
            center, spread, fit_intercept=bool(self.estimator.fit_intercept)
        )
        self.quadratics = [self._quadratic(s, i) for i, s in enumerate(self.summaries)]
        return model

    def _quadratic(self, summary: Any, position: int) -> Any:
        """Parameters and information in the units of the learner; None: unusable."""
        if self.classes is not None and not np.array_equal(
            self.classes, summary.classes
        ):
            warn(
                f"source_summaries[{position}] is of the classes "
                f"{summary.classes.tolist()}, the target of {self.classes.tolist()}: "
                "its weight is 0.",
            )
            return None
        vector, information = self.coordinates.standardized(summary)
        return vector, information * (summary.noise or 1.0)

    def source_parameters(self) -> NDArray[Any]:
        """Fit sources of rows; of summaries take the penalized maximum."""
        models = [self._fit_source(source) for source in self.row_sources]
        rows = [None if m is None else self.likelihood.parameters(m) for m in models]
        penalty = self._penalty(self.n_target)
        for summary, known in zip(self.summaries, self.quadratics, strict=True):
            if known is None:
                rows.append(None)
                continue
            vector, information = known
            share = self.n_target / float(summary.n)
            total = share * information + np.diag(penalty)
            theta = newton_direction(total, share * (information @ vector))
            rows.append(self._raw(theta))
        width = len(self.likelihood.parameters(self.target_model))
        return np.array([np.full(width, np.inf) if r is None else r for r in rows])

    def fit_weighted(self, weights: NDArray[Any], *, shared_only: bool = False) -> Any:
        """Fit to the target, the weighted rows and the weighted summaries."""
        if not np.any(weights > 0):
            return self.target_model
        row_weight = self.is_target.astype(float)
        n_rows = len(self.row_sources)
        for source, weight in zip(self.row_sources, weights[:n_rows], strict=True):
            row_weight[self.domain == source] = weight
        rows = row_weight > 0
        own = self.weights_of(rows)
        weight = row_weight[rows] * (1.0 if own is None else own)
        goal = labels_as_goal(self.y[rows], self.classes)
        total = float(weight.sum()) + float(
            weights[n_rows:] @ self.source_sizes[n_rows:]
        )
        prior = np.diag(self._penalty(total))
        pull = np.zeros(len(prior))
        for share, known in zip(weights[n_rows:], self.quadratics, strict=True):
            if share > 0:
                vector, information = known
                prior = prior + share * information
                pull = pull + share * (information @ vector)
        start = self._standardized(self.likelihood.parameters(self.target_model))
        theta, _, _ = fit_glm(
            self._family, self.coordinates.design(self._dense(rows)), goal, weight,
            prior=prior, pull=pull, start=start.reshape(goal.shape[1], -1),
        )  # fmt: skip
        model = deepcopy(self.target_model)
        self.likelihood.set_parameters(model, self._raw(theta.ravel()))
        return model

    def degrees_of_freedom(
        self, model: Any, weights: NDArray[Any], *, room: float = 0.0
    ) -> float:
        """Return the trace of the target's leverages, of matrices of the parameters.

        They are small, so that no error is made, whatever ``room`` is allowed.
        """
        root, n = self.fisher_root(model), self.n_target
        own = n * self._information(root)
        total, n_rows = own.copy(), len(self.row_sources)
        quantities = weights * self.source_sizes
        for source, quantity in zip(self.row_sources, quantities[:n_rows], strict=True):
            if quantity > 0:
                rows = int(((self.domain == source) & self.shared).sum())
                part = self.source_root(model, source, root, rows)
                total += quantity * self._information(part)
        # least squares are in units of the noise of the target
        noise = 1.0
        if self._family == "gaussian":
            noise = float(1 / np.mean(root.factors**2))
        for share, known in zip(weights[n_rows:], self.quadratics, strict=True):
            if share > 0:
                total += share * known[1] / noise
        scale = 1.0
        if self.likelihood.normalized:
            scale = (n + quantities.sum()) / n
        penalty = np.repeat(root.penalties * scale, len(own) // len(root.penalties))
        return pseudo_trace(own, total + np.diag(penalty * self._unpenalized_unit()))

    @property
    def _family(self) -> str:
        if self.classes is not None:
            return "binomial" if len(self.classes) == 2 else "multinomial"
        return summary_families(self.estimator)[0]

    def _unpenalized_unit(self) -> NDArray[Any]:
        """Squared unit of every parameter, 0 for intercepts."""
        unit = 1 / self.coordinates.scale**2
        if self.coordinates.fit_intercept:
            unit = np.append(unit, 0.0)
        n_logits = len(self.classes) if self._family == "multinomial" else 1
        return np.tile(unit, n_logits)

    def _penalty(self, total: float) -> NDArray[Any]:
        """Precision of the learner's prior in standardized units, per parameter."""
        learner = self.target_model
        if isinstance(learner, LogisticRegression):
            strength = self.likelihood.penalty_of(learner)
        else:
            strength = float(np.mean(getattr(learner, "alpha", 0.0)))
            strength *= total if self.likelihood.normalized else 1.0
        return strength * self._unpenalized_unit()

    def _information(self, root: Any) -> NDArray[Any]:
        """Fisher information per row in standardized coordinates."""
        n_logits = root.factors.shape[2]
        matrix = np.kron(np.eye(n_logits), self.coordinates.to_raw)
        half = root.project(matrix.T)
        return half.T @ half

    def _raw(self, theta: NDArray[Any]) -> NDArray[Any]:
        matrix = self.coordinates.to_raw
        return (theta.reshape(-1, len(matrix)) @ matrix.T).ravel()

    def _standardized(self, params: NDArray[Any]) -> NDArray[Any]:
        matrix = self.coordinates.to_raw
        return np.linalg.solve(matrix, params.reshape(-1, len(matrix)).T).T.ravel()

    def _dense(self, rows: NDArray[np.bool_]) -> NDArray[Any]:
        X = take_rows(self.X, rows)
        return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64)
