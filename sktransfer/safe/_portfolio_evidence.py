"""Evidence of held-out rows about the members of a portfolio."""

import numpy as np

from sktransfer._folds import check_groups
from sktransfer.metrics._evidence import fold_evidence, row_evidence


class Evidence:
    """Residuals of members on held-out rows, fold after fold.

    Parameters
    ----------
    data : DomainData
        Rows of every domain.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    residuals : dict of str to ndarray of shape (n_tests, n_columns)
        One entry per member. With a deviance they are divided by the root of the
        variance function, see :meth:`~sktransfer._response.CommonColumns.spread`.
    groups, sample_weight : array-like of shape (n_samples,) or None
        Units and weights of the rows.
    columns : CommonColumns
        What the residuals are in, and by which loss they are compared.
    """

    def __init__(self, data, folds, residuals, groups, sample_weight, columns):
        tests = [test for _, test in folds]
        self.columns = columns
        self.y = np.concatenate([data.y[:0], *(data.y[test] for test in tests)])
        self.spread = np.ones(1)
        if columns.power and residuals:
            self.spread = columns.spread(self.y, np.stack([*residuals.values()]))
        self.residuals = {name: r / self.spread for name, r in residuals.items()}
        self.row_weights, self.n_units = row_evidence(
            data, folds, groups, sample_weight
        )
        self.folds = None
        if folds:
            self.folds = fold_evidence(data, folds, groups, sample_weight)
        self.fold = np.repeat(np.arange(len(tests)), [len(test) for test in tests])
        rows = np.concatenate([np.zeros(0, dtype=np.intp), *tests])
        units = check_groups(groups, data)
        self.unit = rows if units is None else units[rows]

    def scaled(self, residual):
        """Return residuals whose squares add up to a sum over units."""
        return np.sqrt(self.row_weights)[:, None] * residual

    def _stack(self, names):
        if not self.n_units:
            return np.zeros((len(names), 0, 1))
        return np.stack([self.residuals[name] for name in names])

    def weigh(self, names, prior, rule):
        """Return name -> weight by all held-out rows."""
        pi = np.array([prior[name] for name in names])
        weights = rule(self.scaled(self._stack(names)), self.n_units, pi)
        return dict(zip(names, map(float, weights), strict=True))

    def out_of_fold(self, names, prior, rule):
        """Return residuals of the blend, with weights that no unit of the fold saw."""
        pi = np.array([prior[name] for name in names])
        residuals = self._stack(names)
        scaled = self.scaled(residuals)
        blend = np.zeros(residuals.shape[1:])
        for inside in self._each_fold():
            others = ~np.isin(self.unit, self.unit[inside])
            n_units = len(np.unique(self.unit[others]))
            weights = rule(scaled[:, others], n_units, pi)
            blend[inside] = np.tensordot(weights, residuals[:, inside], axes=1)
        return blend

    def loss(self, name):
        """Return the mean squared residual of a member; NaN without evidence."""
        if not self.n_units:
            return np.nan
        losses = self._losses(self.residuals[name])
        return float(self.row_weights @ losses / self.n_units)

    def _losses(self, residual):
        """Return squared errors, or deviances where the learner fits such ones."""
        if not self.columns.power:
            return np.sum(residual**2, axis=1)
        return self.columns.losses(self.y, residual * self.spread)

    def gap(self, residual, residual_0):
        """Return the mean gap, its interval and the probability that it is positive."""
        if not self.n_units:
            return np.nan, np.array([-np.inf, np.inf]), 0.5
        difference = self._losses(residual) - self._losses(residual_0)
        gaps = np.array(
            [
                np.average(difference[inside], weights=self.row_weights[inside])
                for inside in self._each_fold()
            ]
        )
        return (
            self.folds.mean(gaps),
            self.folds.interval(gaps, 0.95),
            self.folds.probability_positive(gaps),
        )

    def _each_fold(self):
        return [self.fold == k for k in range(self.fold.max(initial=-1) + 1)]
