"""How much held-out rows say: units, repeats and weights are counted here.

A unit is a row, or a group of rows. However often folds test it, it counts once.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from sktransfer._folds import check_groups
from sktransfer._learners import check_weights


@dataclass(frozen=True, eq=False)
class FoldEvidence:
    r"""What the values of J folds say about their mean.

    The interval is the corrected resampled t of Nadeau and Bengio,

    .. math:: \bar g \pm t_\nu \sqrt{(\textstyle\sum_j \omega_j^2 + \rho) s^2},

    with :math:`\omega_j = 1/J` and :math:`\nu = J - 1` without weights and repeats.

    Parameters
    ----------
    weights : ndarray of shape (n_splits,)
        Weights of the folds, with the sum 1.
    ratio : float
        Size of a test part over that of the labeled target part of its training part.
    n_units : int
        Number of distinct units that are tested.
    """

    weights: np.ndarray
    ratio: float
    n_units: int

    @property
    def dof(self):
        """Degrees of freedom: no more than distinct units allow."""
        return min(len(self.weights), self.n_units) - 1

    def mean(self, values):
        """Return the weighted mean of a value per fold."""
        if np.ptp(self.weights) == 0:
            return float(np.mean(values))
        return float(self.weights @ values)

    def interval(self, values, confidence_level):
        """Return the confidence interval of the mean, shape (2,)."""
        scale = self._scale(values)
        if not np.isfinite(scale):
            return np.array([-np.inf, np.inf])
        t = stats.t.ppf((1 + confidence_level) / 2, self.dof)
        return self.mean(values) + np.array([-1.0, 1.0]) * t * scale

    def probability_positive(self, values):
        """Return the probability of a positive mean, by the t of the interval."""
        mean, scale = self.mean(values), self._scale(values)
        if not np.isfinite(scale) or (scale == 0 and mean == 0):
            return 0.5
        if scale == 0:
            return float(mean > 0)
        return float(stats.t.cdf(mean / scale, self.dof))

    def _scale(self, values):
        squares = float(np.sum(self.weights**2))
        if self.dof < 1 or squares > 1 - 1e-12:
            return np.inf
        spread = self.weights @ (values - self.mean(values)) ** 2 / (1 - squares)
        return np.sqrt((squares + self.ratio) * spread)


def fold_evidence(data, folds, groups=None, sample_weight=None):
    """Return what folds of labeled target rows are worth.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows; a fold counts by the mean weight of its test rows.

    Returns
    -------
    evidence : FoldEvidence
        Its sizes count units.
    """
    units = _units(data, groups)
    labeled = data.is_labeled_target
    sizes = [
        (len(np.unique(units[test])), len(np.unique(units[train[labeled[train]]])))
        for train, test in folds
    ]
    each = np.ones(len(folds))
    if sample_weight is not None:
        weight = check_weights(sample_weight, len(units))
        each = np.array([weight[test].mean() for _, test in folds])
    tested = np.concatenate([test for _, test in folds])
    return FoldEvidence(
        each / each.sum(),
        float(np.mean([n_test / max(n_train, 1) for n_test, n_train in sizes])),
        len(np.unique(units[tested])),
    )


def row_evidence(data, folds, groups=None, sample_weight=None):
    r"""Return the weight of every held-out row, fold by fold, and the number of units.

    A row that is tested :math:`r_i` times and shares its unit with
    :math:`m_i` tested rows, itself included, has the weight :math:`w_i / (r_i m_i)`
    each time: its squared residuals are averaged over the repeats, and those of a
    unit over its rows.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights :math:`w_i` of the rows.

    Returns
    -------
    weights : ndarray of shape (n_tested,)
        Weights of the rows of all test parts in turn, with the sum `n_units`.
    n_units : int
        Number of distinct units that are tested.
    """
    units = _units(data, groups)
    tested = np.concatenate([np.empty(0, dtype=int), *(test for _, test in folds)])
    weight = np.ones(len(units))
    if sample_weight is not None:
        weight = check_weights(sample_weight, len(units))
    rows, times = np.unique(tested, return_counts=True)
    names, unit, size = np.unique(units[rows], return_inverse=True, return_counts=True)
    each = np.zeros(len(units))
    each[rows] = weight[rows] / (times * size[unit])
    weights = each[tested]
    return weights * (len(names) / max(weights.sum(), np.finfo(float).tiny)), len(names)


def _units(data, groups):
    if groups is None:
        return np.arange(len(data.sample_domain))
    return check_groups(groups, data)
