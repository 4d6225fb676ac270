"""The evidence of held-out rows: units, repeats and weights are counted here.

A unit is a row, or a group of rows. However often folds test it, it counts once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sktransfer._domains import canonical_order, take_rows
from sktransfer._folds import check_groups
from sktransfer._learners import check_weights
from sktransfer._solvers.paired_gap import least_spread, paired_gap

#: the gaps that an interval can be about
INTERVAL_FOR = ("average", "fitted")
#: share of n - 1 that counts as degrees of freedom, by kind of loss: differences of
#: losses are heavy-tailed, less so where they are bounded. These constants are the
#: choice of ``benchmarks/uncertainty.py --calibrate``
_DOF_SHARE = {"unbounded": 0.5, "brier": 0.5, "hits": 0.75}
#: share of the variance that the average gap has not where units are many: a unit
#: that raises the gap as a tested one lowers it as one of the training sets
_SHARED_UNITS = {"unbounded": 0.2, "brier": 0.3, "hits": 0.0}
#: as many units share nothing yet
_FEW_UNITS = 10.0
#: how much of the variance an unstable step between the models adds, fitted pair
_INSTABILITY = 1.0
#: standard errors by which the probability of harm leans toward help: sources helped
#: more often than the estimates said, on the "tune" sets and in the simulation
_LEAN = 0.2
#: the same as _INSTABILITY for the gaps of folds
_FITTED_FOLDS = 1.25
#: e^2 / g of the unit that Brier scores count more: half of the largest that can be
UNSEEN = 4.0
#: most unlabeled rows about which the models of all folds are asked
_MOST_REFERENCE = 200


def dof_share(kind: str) -> float:
    """Return the share of n - 1 that counts as degrees of freedom.

    The kind of the losses is "hits", "brier" or "unbounded".
    """
    return _DOF_SHARE[kind]


def error_ratio(instability: Any, interval_for: str, kind: str, n_units: Any) -> Any:
    """Return the standard error for a gap over that of the noise of its units."""
    if interval_for == "fitted":
        return np.sqrt(1 + _INSTABILITY * instability)
    many = np.maximum(1 - _FEW_UNITS / np.asarray(n_units, dtype=np.float64), 0)
    return np.sqrt(1 - _SHARED_UNITS[kind] * many)


@dataclass(frozen=True, eq=False)
class PairedEvidence:
    r"""Evidence of held-out units on the gap between two models.

    The negative transfer gap can be that of *this fitted pair* of models, whose
    training rows are what they are, or the *average* over labeled target samples of
    this size, with the sources as they are. Held-out units estimate both by the same
    number :math:`\hat\Delta`, with different noise:

    .. math:: \hat\Delta \pm t_\nu \sqrt{v\,(1 + A)} \quad \text{(fitted)}, \qquad
              \hat\Delta \pm t_\nu \sqrt{v\,(1 - c\,(1 - 10/n)_+)} \quad
              \text{(average)}.

    :math:`\hat\Delta` and v are those of
    :func:`~sktransfer._solvers.paired_gap.paired_gap`, and A is
    :math:`(1 - \hat\lambda) / 2`, the best weight of the second model in a blend of
    both: the more of the step between the models is error of the first one, the more
    it hangs on what labeled rows there happen to be. What chance did to the rows in
    the training parts it did, with the opposite sign, to the test parts: this adds to
    the error for the fitted pair, and takes from that for the average, where the
    units are many; c is 0.2 for squared errors and other losses without a bound, 0.3
    for Brier scores and 0 for 0-1 losses. Differences of losses have heavy tails, so
    that :math:`\nu` is half of n - 1, and three quarters of it for 0-1 losses.
    ``benchmarks/uncertainty.md`` has the coverage of both.

    Parameters
    ----------
    differences : ndarray of shape (n_units,)
        Loss with the sources less loss without, averaged over the times that a unit
        is tested.
    weights : ndarray of shape (n_units,), default=None
        Nonnegative weights of the units. None: equal.
    guesses : ndarray of shape (n_units,), default=None
        By how much the losses can differ: 1 where two classifiers disagree and 0
        elsewhere for 0-1 losses, the squared step between the answers for squared
        losses. None for other losses; A is then 1.
    reference_guesses : ndarray of shape (n_reference,), default=None
        The same for unlabeled rows of the target, averaged over the folds; they must
        be drawn as the labeled ones.
    hits : bool, default=False
        Whether the losses are 0 or 1.
    unseen : float, default=0.0
        As in :func:`~sktransfer._solvers.paired_gap.paired_gap`, for Brier scores.
    """

    differences: np.ndarray
    weights: np.ndarray | None = None
    guesses: np.ndarray | None = None
    reference_guesses: np.ndarray | None = None
    hits: bool = False
    unseen: float = 0.0

    @cached_property
    def _moments(self) -> tuple[float, ...]:
        """The estimate, the variance of its noise, the number of units, and lambda."""
        weights = self.weights
        if weights is None:
            weights = np.ones(len(self.differences))
        weights = np.asarray(weights, dtype=np.float64)
        known = weights > 0
        guesses, reference = self.guesses, self.reference_guesses
        if guesses is not None:
            guesses = np.asarray(guesses, dtype=np.float64)[known]
        n_reference = 0 if guesses is None or reference is None else len(reference)
        moments = paired_gap(
            np.asarray(self.differences, dtype=np.float64)[known],
            weights[known] / weights.sum(),
            guesses,
            None if reference is None or not n_reference else np.mean(reference),
            n_reference,
            hits=self.hits,
            unseen=self.unseen,
        )
        return tuple(map(float, moments))

    @property
    def mean(self) -> float:
        """The estimated gap."""
        return self._moments[0]

    @property
    def n_units(self) -> float:
        """Number of units that equal weights would need to carry the same evidence."""
        return self._moments[2]

    @property
    def instability(self) -> float:
        """How much of the step between the models hangs on the labeled rows: A."""
        slope = self._moments[3]
        return 1.0 if np.isnan(slope) else (1.0 - slope) / 2

    def scaled(self, factor: float) -> "PairedEvidence":
        """Return the evidence about a positive multiple of the gap."""
        guesses, reference = (
            None if values is None else factor * np.asarray(values)
            for values in (self.guesses, self.reference_guesses)
        )
        return replace(
            self,
            differences=factor * np.asarray(self.differences),
            guesses=guesses,
            reference_guesses=reference,
            unseen=factor * self.unseen,
        )

    @property
    def kind(self) -> str:
        """Kind of the losses: "hits", "brier" or "unbounded"."""
        return "hits" if self.hits else "brier" if self.unseen > 0 else "unbounded"

    @property
    def dof(self) -> float:
        """Degrees of freedom of both intervals."""
        return dof_share(self.kind) * (self.n_units - 1)

    def standard_error(self, interval_for: str = "fitted") -> float:
        """Return the standard error of the mean as an estimate of the gap.

        Parameters
        ----------
        interval_for : {"average", "fitted"}, default="fitted"
            Of which gap.

        Returns
        -------
        error : float
            Infinite with fewer than two units.
        """
        if self.n_units < 1 + 1e-9:
            return np.inf
        return np.sqrt(self._moments[1]) * error_ratio(
            self.instability, interval_for, self.kind, self.n_units
        )

    def interval(
        self, confidence_level: Any = 0.95, interval_for: str = "fitted"
    ) -> NDArray[Any]:
        """Return the confidence interval of the gap.

        Parameters
        ----------
        confidence_level : float in (0, 1), default=0.95
            Coverage.
        interval_for : {"average", "fitted"}, default="fitted"
            Of which gap.

        Returns
        -------
        interval : ndarray of shape (2,)
            Lower and upper limit; infinite with fewer than two units, and a point
            only where the two models answer the same everywhere.
        """
        error = self.standard_error(interval_for)
        limits = _t_interval(self.mean, error, self.dof, confidence_level)
        return np.clip(limits, -1.0, 1.0) if self.hits else limits

    def probability_positive(self) -> float:
        """Return the probability that the gap of the fitted pair is positive.

        It is that of the Student t of the interval, moved by 0.2 standard errors
        toward help: the harm probability of guard, portfolio and report. 0.5 without
        evidence.
        """
        error = self.standard_error("fitted")
        return _t_positive(self.mean, error, self.dof, _LEAN)


@dataclass(frozen=True, eq=False)
class FoldEvidence:
    r"""Evidence of the values of J folds on their mean.

    The interval is the corrected resampled t of Nadeau and Bengio,

    .. math:: \bar g \pm t_\nu \sqrt{(\textstyle\sum_j \omega_j^2 + \rho) s^2},

    with :math:`\omega_j = 1/J` and :math:`\nu = J - 1` without weights and repeats. If
    all values are equal, :math:`s^2` is that with one more fold of value 0.

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
    def dof(self) -> int:
        """Degrees of freedom: no more than distinct units allow."""
        return min(len(self.weights), self.n_units) - 1

    def mean(self, values: NDArray[Any]) -> float:
        """Return the weighted mean of a value per fold."""
        if np.ptp(self.weights) == 0:
            return float(np.mean(values))
        return float(self.weights @ values)

    def interval(self, values: NDArray[Any], confidence_level: float) -> NDArray[Any]:
        """Return the confidence interval of the mean, shape (2,)."""
        return _t_interval(
            self.mean(values), self.scale(values), self.dof, confidence_level
        )

    def probability_positive(self, values: NDArray[Any]) -> float:
        """Return the probability of a positive mean, by the t of the interval."""
        return _t_positive(self.mean(values), self.scale(values), self.dof)

    def scale(self, values: NDArray[Any]) -> Any:
        """Return the standard error of the mean."""
        squares = float(np.sum(self.weights**2))
        if self.dof < 1 or squares > 1 - 1e-12:
            return np.inf
        mean = self.mean(values)
        spread = self.weights @ (values - mean) ** 2
        if np.ptp(values) <= 1e-12 * abs(mean):  # equal values are no proof
            spread = least_spread(mean, 1 / squares)
        return np.sqrt((squares + self.ratio) * spread / (1 - squares))


@dataclass(frozen=True, eq=False)
class FoldGaps:
    r"""Evidence of the gaps of J folds, where a score has no values of units.

    The interval for the average gap is that of :class:`FoldEvidence`; for the fitted
    pair its variance is multiplied by 1.25.

    Parameters
    ----------
    gaps : ndarray of shape (n_splits,)
        Gap of every fold.
    folds : FoldEvidence
        Their weights and sizes.
    shares : bool, default=False
        Whether the score is at most 1. Then gaps that are all 0 have the standard error
        of one unit more that is worth 1, and never 0.
    """

    gaps: np.ndarray
    folds: FoldEvidence
    shares: bool = False

    @property
    def mean(self) -> float:
        """The weighted mean of the gaps."""
        return self.folds.mean(self.gaps)

    @property
    def n_units(self) -> int:
        """Number of distinct units that are tested."""
        return self.folds.n_units

    def standard_error(self, interval_for: str = "fitted") -> float:
        """Return the standard error of the mean as an estimate of the gap."""
        more = _FITTED_FOLDS if interval_for == "fitted" else 1.0
        error = self.folds.scale(self.gaps)
        if self.shares and not self.gaps.any():
            error = max(error, 1.0 / self.n_units)
        return float(error * np.sqrt(more))

    def interval(
        self, confidence_level: float = 0.95, interval_for: str = "fitted"
    ) -> NDArray[Any]:
        """Return the confidence interval of the gap, shape (2,)."""
        error = self.standard_error(interval_for)
        return _t_interval(self.mean, error, self.folds.dof, confidence_level)

    def probability_positive(self) -> float:
        """Return the probability that the gap of the fitted pair is positive."""
        error = self.standard_error("fitted")
        return _t_positive(self.mean, error, self.folds.dof, _LEAN)


def _t_interval(
    mean: float, error: float, dof: float, confidence_level: float
) -> NDArray[Any]:
    if not np.isfinite(error):
        return np.array([-np.inf, np.inf])
    if error == 0:
        return np.array([mean, mean])
    reach = special.stdtrit(dof, (1 + confidence_level) / 2) * error
    return np.array([mean - reach, mean + reach])


def _t_positive(mean: float, error: float, dof: float, lean: float = 0.0) -> float:
    if not np.isfinite(error) or (error == 0 and mean == 0):
        return 0.5
    if error == 0:
        return float(mean > 0)
    return float(special.stdtr(dof, mean / error - lean))


def paired_evidence(
    data: Any,
    folds: Any,
    differences: Any,
    *,
    guesses: Any = None,
    reference_guesses: Any = None,
    hits: bool = False,
    unseen: float = 0.0,
    groups: Any = None,
    sample_weight: Any = None,
) -> PairedEvidence:
    """Collect the differences of held-out rows by unit.

    The weight of a row in a fold is its share of the fold's weight, and folds count as
    in :func:`fold_evidence`, so that without unlabeled rows the mean is the weighted
    mean over the folds.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    differences : ndarray of shape (n_tested,)
        Loss with the sources less loss without, for the rows of all test parts in
        turn.
    guesses : ndarray of shape (n_tested,), default=None
        As in :class:`PairedEvidence`, for the same rows.
    reference_guesses : ndarray of shape (n_reference,), default=None
        The same for unlabeled rows, averaged over the folds.
    hits : bool, default=False
        Whether the losses are 0 or 1.
    unseen : float, default=0.0
        As in :class:`PairedEvidence`.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    evidence : PairedEvidence
        One value per unit.
    """
    weights, collect = by_unit(data, folds, groups, sample_weight)
    return PairedEvidence(
        collect(np.asarray(differences, dtype=np.float64)),
        weights,
        None if guesses is None else collect(np.asarray(guesses, dtype=np.float64)),
        reference_guesses,
        hits,
        unseen,
    )


def by_unit(
    data: Any,
    folds: list[tuple[NDArray[Any], NDArray[Any]]],
    groups: Any = None,
    sample_weight: Any = None,
) -> tuple[NDArray[Any], Callable[..., Any]]:
    """Return the weights of the tested units and what averages rows to units.

    Parameters
    ----------
    data, folds, groups, sample_weight
        As in :func:`paired_evidence`.

    Returns
    -------
    weights : ndarray of shape (n_units,)
        With the sum 1.
    collect : callable
        Maps a value of each tested row, in the order of the test parts, to the mean of
        each unit.
    """
    tested = np.concatenate([test for _, test in folds])
    folded = fold_evidence(data, folds, groups, sample_weight).weights
    shares = np.concatenate(
        [
            share * _shares(sample_weight, test)
            for share, (_, test) in zip(folded, folds, strict=True)
        ]
    )
    unit = np.unique(units_of(data, groups)[tested], return_inverse=True)[1]
    weights = np.bincount(unit, shares)

    def collect(values: NDArray[Any]) -> NDArray[Any]:
        total = np.bincount(unit, shares * values)
        return np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)

    return weights, collect


def _shares(sample_weight: Any, test: NDArray[Any]) -> NDArray[Any]:
    if sample_weight is None:
        return np.full(len(test), 1 / len(test))
    weight = np.asarray(sample_weight, dtype=np.float64)[test]
    return weight / weight.sum()


def mean_interval(
    values: Any, weights: Any, confidence_level: Any, *, hits: bool = False
) -> NDArray[Any]:
    r"""Return the confidence interval of a mean loss, which is never negative.

    Parameters
    ----------
    values : ndarray of shape (n_units,)
        Losses of the units, not negative.
    weights : ndarray of shape (n_units,)
        Weights with the sum 1; n is the inverse of the sum of their squares.
    confidence_level : float in (0, 1)
        Coverage.
    hits : bool, default=False
        Whether the losses are 0 or 1.

    Returns
    -------
    interval : ndarray of shape (2,)
        Wilson's interval of a share; otherwise
        :math:`\\bar x \\exp(\\pm t_{n-1} s / (\\sqrt n\\, \\bar x))`, a t interval of
        the logarithm; s is at least that with one more unit without loss. Infinite
        with fewer than two units.
    """
    n = 1.0 / np.sum(weights**2)
    mean = float(weights @ values)
    if n < 1 + 1e-9:
        return np.array([0.0, 1.0 if hits else np.inf])
    if hits:
        z = special.ndtri((1 + confidence_level) / 2)
        center = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z * np.sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        return np.clip([center - reach, center + reach], 0.0, 1.0)
    if mean <= 0:
        return np.zeros(2)
    spread = max(weights @ (values - mean) ** 2, least_spread(mean, n))
    error = np.sqrt(spread / (n - 1))
    reach = special.stdtrit(n - 1, (1 + confidence_level) / 2) * error / mean
    return mean * np.exp([-reach, reach])


def reference_rows(data: Any, sample_weight: Any = None) -> NDArray[Any]:
    """Choose unlabeled target rows about which the models of all folds are asked.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    sample_weight : array-like of shape (n_samples,), default=None
        Rows of weight 0 are left out.

    Returns
    -------
    rows : ndarray
        Indices of at most 200 unlabeled target rows, whatever the order of the rows.
    """
    rows = data.is_target & ~data.labeled
    if sample_weight is not None:
        rows = rows & (np.asarray(sample_weight, dtype=np.float64) > 0)
    rows = np.flatnonzero(rows)
    if len(rows) > _MOST_REFERENCE:
        first, last = int(rows[0]), int(rows[-1]) + 1
        table = isinstance(data.X, np.ndarray) and last - first == len(rows)
        own = data.X[first:last] if table else take_rows(data.X, rows)
        order = canonical_order(own)
        rows = np.sort(rows[order[:_MOST_REFERENCE]])
    return rows


def fold_evidence(
    data: Any, folds: Any, groups: Any = None, sample_weight: Any = None
) -> FoldEvidence:
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
    units = units_of(data, groups)
    labeled = np.flatnonzero(data.is_labeled_target)
    tested = np.concatenate([test for _, test in folds])

    def n_units(rows: NDArray[Any]) -> int:
        # without groups each labeled row is a unit, which a fold may repeat
        known = labeled[data.mask_of(rows)[labeled]]
        return len(known) if groups is None else len(np.unique(units[known]))

    sizes = [(n_units(test), n_units(train)) for train, test in folds]
    each = np.ones(len(folds))
    if sample_weight is not None:
        weight = check_weights(sample_weight, len(units))
        each = np.array([weight[test].mean() for _, test in folds])
    return FoldEvidence(
        each / each.sum(),
        float(np.mean([n_test / max(n_train, 1) for n_test, n_train in sizes])),
        n_units(tested),
    )


def row_evidence(
    data: Any, folds: Any, groups: Any = None, sample_weight: Any = None
) -> tuple[NDArray[Any], int]:
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
    units = units_of(data, groups)
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


def units_of(data: Any, groups: Any) -> Any:
    """Return the number of the unit of every row: its group, or the row itself."""
    if groups is None:
        return np.arange(len(data.sample_domain))
    return check_groups(groups, data)
