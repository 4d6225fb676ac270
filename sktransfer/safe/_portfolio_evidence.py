"""Evidence of held-out rows about the members of a portfolio."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._folds import check_groups
from sktransfer.metrics._evidence import row_evidence


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a member, or a blend of members, does out of fold.

    Parameters
    ----------
    residuals : ndarray of shape (n_tests, n_columns)
        Labels less answers on held-out rows, fold after fold.
    answers : ndarray of shape (n_splits, n_reference, n_columns), or None
        Answers of the models of every fold on unlabeled rows; None without such rows.
    """

    residuals: np.ndarray
    answers: Any


class Evidence:
    """Residuals of members on held-out rows, fold after fold.

    Parameters
    ----------
    pair : PairMeasure
        Knows the rows, their units and weights.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    held_out : dict of str to HeldOut
        One entry per member; empty without folds. The residuals are then divided by
        the root of the variance function of a deviance, or the scales of outputs, see
        :meth:`~sktransfer._response.CommonColumns.spread`.
    """

    def __init__(self, pair: Any, folds: Any, held_out: Any) -> None:
        self.pair, self.folds = pair, folds
        data, groups = pair.data, pair.units["groups"]
        self.columns = pair.columns
        tests = [test for _, test in folds]
        self.y = np.concatenate([data.y[:0], *(data.y[test] for test in tests)])
        self.spread = np.ones(1)
        residuals = {name: one.residuals for name, one in held_out.items()}
        if residuals:
            self.spread = self.columns.spread(self.y, np.stack([*residuals.values()]))
        self.residuals = {name: r / self.spread for name, r in residuals.items()}
        self.held_out = {
            name: HeldOut(self.residuals[name], one.answers)
            for name, one in held_out.items()
        }
        self.row_weights, self.n_units = row_evidence(data, folds, **pair.units)
        self.fold = np.repeat(np.arange(len(tests)), [len(test) for test in tests])
        rows = np.concatenate([np.zeros(0, dtype=np.intp), *tests])
        units = check_groups(groups, data)
        self.unit = rows if units is None else units[rows]

    def scaled(self, residual: NDArray[Any]) -> NDArray[Any]:
        """Return residuals whose squares add up to a sum over units."""
        return np.sqrt(self.row_weights)[:, None] * residual

    def _stack(self, names: list[str]) -> NDArray[Any]:
        if not self.n_units:
            return np.zeros((len(names), 0, 1))
        return np.stack([self.residuals[name] for name in names])

    def weigh(
        self, names: list[str], prior: dict[str, Any], rule: Callable[..., Any]
    ) -> dict[str, Any]:
        """Return name -> weight by all held-out rows."""
        pi = np.array([prior[name] for name in names])
        weights = rule(self.scaled(self._stack(names)), self.n_units, pi)
        return dict(zip(names, map(float, weights), strict=True))

    def out_of_fold(
        self, names: list[str], prior: dict[str, Any], rule: Callable[..., Any]
    ) -> HeldOut:
        """Return the blend, with weights that no unit of the fold saw, as HeldOut."""
        pi = np.array([prior[name] for name in names])
        residuals = self._stack(names)
        scaled = self.scaled(residuals)
        blend, answers = np.zeros(residuals.shape[1:]), []
        for k, inside in enumerate(self._each_fold()):
            others = ~np.isin(self.unit, self.unit[inside])
            n_units = len(np.unique(self.unit[others]))
            weights = rule(scaled[:, others], n_units, pi)
            blend[inside] = np.tensordot(weights, residuals[:, inside], axes=1)
            if len(self.pair.reference):
                each = np.stack([self.held_out[name].answers[k] for name in names])
                answers.append(np.tensordot(weights, each, axes=1))
        return HeldOut(blend, np.array(answers) if answers else None)

    def loss(self, name: str) -> float:
        """Return the mean squared residual of a member; NaN without evidence."""
        if not self.n_units:
            return np.nan
        losses = self._losses(self.residuals[name])
        return float(self.row_weights @ losses / self.n_units)

    def _losses(self, residual: NDArray[Any]) -> NDArray[Any]:
        """Return squared errors, or deviances where the learner fits such ones."""
        if not self.columns.power:
            return np.sum(residual**2, axis=1)
        return self.columns.losses(self.y, residual * self.spread)

    def pair_of(self, transfer: HeldOut, target_only: HeldOut) -> NDArray[Any]:
        """Return scaled residuals of two HeldOut, whose squares differ as losses do."""
        residuals = np.stack([target_only.residuals, transfer.residuals])
        if self.columns.power and self.n_units:
            residuals = self.columns.paired(self.y, residuals * self.spread)
        return np.sqrt(self.row_weights)[:, None] * residuals

    def gap(self, transfer: Any, target_only: HeldOut) -> Any:
        """Return the evidence about the gap of two HeldOut; None without folds."""
        if not self.n_units:
            return None
        residuals = np.stack([target_only.residuals, transfer.residuals])
        losses = np.stack([self._losses(one) for one in residuals])
        steps = None
        if len(self.pair.reference):
            steps = self.columns.standardized(transfer.answers - target_only.answers)
        return self.pair.losses(self.folds, losses, residuals, steps)

    def _each_fold(self) -> list[NDArray[np.bool_]]:
        return [self.fold == k for k in range(self.fold.max(initial=-1) + 1)]
