"""How much held-out rows say: units, repeats and weights are counted here.

A unit is a row, or a group of rows. However often folds test it, it counts once.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from sktransfer._domains import canonical_order
from sktransfer._folds import check_groups
from sktransfer._learners import check_weights
from sktransfer._solvers.paired_gap import paired_gap

#: the gaps that an interval can be about
INTERVAL_FOR = ("average", "fitted")
#: share of n - 1 that counts as degrees of freedom: loss differences are heavy-tailed.
#: This and the next are the choice of ``benchmarks/uncertainty.py``
_DOF_SHARE = 0.5
#: how much of the variance an unstable step between the models adds
_INSTABILITY = {"average": 0.0, "fitted": 1.5}
#: most rows on which the models of all folds are compared
_MOST_REFERENCE = 200


@dataclass(frozen=True, eq=False)
class PairedEvidence:
    r"""What held-out units say about the gap between two models.

    The negative transfer gap can be that of *this fitted pair* of models, whose
    training rows are what they are, or the *average* over labeled target samples of
    this size, with the sources as they are. Held-out units estimate both by the same
    number :math:`\hat\Delta`, with different noise:

    .. math:: \hat\Delta \pm t_{(n - 1)/2} \sqrt{v\,(1 + c A)} .

    :math:`\hat\Delta` and v are those of
    :func:`~sktransfer._solvers.paired_gap.paired_gap`. The instability A in [0, 1] is
    the share of the step between the two models' answers that would be another with
    other labeled rows: the jackknife variance of the step over the folds, divided by
    its mean square. With c = 0 the interval is about the average, with c = 1.5 about
    the fitted pair: what chance did to the rows in the training parts it did, with the
    opposite sign, to the test parts. Differences of losses have heavy tails, so that
    half of n - 1 counts as degrees of freedom. ``benchmarks/uncertainty.md`` has the
    coverage of both.

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
        losses. None for other losses.
    reference_guesses : ndarray of shape (n_reference,), default=None
        The same for unlabeled rows of the target, averaged over the folds; they must
        be drawn as the labeled ones.
    instability : float in [0, 1], default=1.0
        A; 1 is the cautious choice where it is not known.
    hits : bool, default=False
        Whether the losses are 0 or 1.
    """

    differences: np.ndarray
    weights: np.ndarray | None = None
    guesses: np.ndarray | None = None
    reference_guesses: np.ndarray | None = None
    instability: float = 1.0
    hits: bool = False

    @cached_property
    def _moments(self):
        """The estimate, the variance of its noise, and the number of units."""
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
            np.mean(reference) if n_reference else None,
            n_reference,
            hits=self.hits,
        )
        return tuple(map(float, moments))

    @property
    def mean(self):
        """The estimated gap."""
        return self._moments[0]

    @property
    def n_units(self):
        """Number of units that equal weights would need to say as much."""
        return self._moments[2]

    @property
    def dof(self):
        """Degrees of freedom of both intervals."""
        return _DOF_SHARE * (self.n_units - 1)

    def standard_error(self, interval_for="fitted"):
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
        share = min(max(self.instability, 0.0), 1.0)
        return np.sqrt(self._moments[1] * (1 + _INSTABILITY[interval_for] * share))

    def interval(self, confidence_level=0.95, interval_for="fitted"):
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

    def probability_positive(self):
        """Return the probability that the gap of the fitted pair is positive.

        It is that of the Student t of the interval, under a flat prior: the harm
        probability of guard, portfolio and report. 0.5 without evidence.
        """
        return _t_positive(self.mean, self.standard_error("fitted"), self.dof)


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
        return _t_interval(
            self.mean(values), self.scale(values), self.dof, confidence_level
        )

    def probability_positive(self, values):
        """Return the probability of a positive mean, by the t of the interval."""
        return _t_positive(self.mean(values), self.scale(values), self.dof)

    def scale(self, values):
        """Return the standard error of the mean."""
        squares = float(np.sum(self.weights**2))
        if self.dof < 1 or squares > 1 - 1e-12:
            return np.inf
        spread = self.weights @ (values - self.mean(values)) ** 2 / (1 - squares)
        return np.sqrt((squares + self.ratio) * spread)


@dataclass(frozen=True, eq=False)
class FoldGaps:
    r"""What the gaps of J folds say, where a score has no values of units.

    The interval for the average gap is that of :class:`FoldEvidence`; for the fitted
    pair its variance is multiplied by :math:`1 + A / 2`.

    Parameters
    ----------
    gaps : ndarray of shape (n_splits,)
        Gap of every fold.
    folds : FoldEvidence
        Their weights and sizes.
    instability : float in [0, 1], default=1.0
        A, as in :class:`PairedEvidence`.
    """

    gaps: np.ndarray
    folds: FoldEvidence
    instability: float = 1.0

    @property
    def mean(self):
        """The weighted mean of the gaps."""
        return self.folds.mean(self.gaps)

    @property
    def n_units(self):
        """Number of distinct units that are tested."""
        return self.folds.n_units

    def standard_error(self, interval_for="fitted"):
        """Return the standard error of the mean as an estimate of the gap."""
        share = min(max(self.instability, 0.0), 1.0) / 2
        more = 1.0 + share * (interval_for == "fitted")
        return self.folds.scale(self.gaps) * np.sqrt(more)

    def interval(self, confidence_level=0.95, interval_for="fitted"):
        """Return the confidence interval of the gap, shape (2,)."""
        error = self.standard_error(interval_for)
        return _t_interval(self.mean, error, self.folds.dof, confidence_level)

    def probability_positive(self):
        """Return the probability that the gap of the fitted pair is positive."""
        error = self.standard_error("fitted")
        return _t_positive(self.mean, error, self.folds.dof)


def _t_interval(mean, error, dof, confidence_level):
    if not np.isfinite(error):
        return np.array([-np.inf, np.inf])
    if error == 0:
        return np.array([mean, mean])
    reach = stats.t.ppf((1 + confidence_level) / 2, dof) * error
    return np.array([mean - reach, mean + reach])


def _t_positive(mean, error, dof):
    if not np.isfinite(error) or (error == 0 and mean == 0):
        return 0.5
    if error == 0:
        return float(mean > 0)
    return float(stats.t.cdf(mean / error, dof))


def paired_evidence(
    data,
    folds,
    differences,
    *,
    guesses=None,
    reference_guesses=None,
    instability=1.0,
    hits=False,
    groups=None,
    sample_weight=None,
):
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
    instability : float, default=1.0
        Of :func:`step_instability`.
    hits : bool, default=False
        Whether the losses are 0 or 1.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    evidence : PairedEvidence
        One value per unit.
    """
    tested = np.concatenate([test for _, test in folds])
    shares = np.concatenate(
        [
            share * _shares(sample_weight, test)
            for share, (_, test) in zip(
                fold_evidence(data, folds, groups, sample_weight).weights,
                folds,
                strict=True,
            )
        ]
    )
    unit = np.unique(_units(data, groups)[tested], return_inverse=True)[1]
    weights = np.bincount(unit, shares)

    def collect(values):
        total = np.bincount(unit, shares * values)
        return np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)

    return PairedEvidence(
        collect(np.asarray(differences, dtype=np.float64)),
        weights,
        None if guesses is None else collect(np.asarray(guesses, dtype=np.float64)),
        reference_guesses,
        instability,
        hits,
    )


def _shares(sample_weight, test):
    if sample_weight is None:
        return np.full(len(test), 1 / len(test))
    weight = np.asarray(sample_weight, dtype=np.float64)[test]
    return weight / weight.sum()


def reference_rows(data, sample_weight=None):
    """Choose the target rows on which the models of all folds are compared.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    sample_weight : array-like of shape (n_samples,), default=None
        Rows of weight 0 are left out.

    Returns
    -------
    rows : ndarray
        Indices of unlabeled target rows, at most 200 of them, whatever the order of
        the rows; of labeled ones if there are no others.
    unlabeled : bool
        Whether they are unlabeled.
    """
    exists = np.ones(len(data.labeled), dtype=bool)
    if sample_weight is not None:
        exists = np.asarray(sample_weight, dtype=np.float64) > 0
    rows = np.flatnonzero(data.is_target & ~data.labeled & exists)
    unlabeled = bool(len(rows))
    if not unlabeled:
        rows = np.flatnonzero(data.is_labeled_target & exists)
    if len(rows) > _MOST_REFERENCE:
        order = canonical_order(data.take(rows).X)
        rows = np.sort(rows[order[:_MOST_REFERENCE]])
    return rows, unlabeled


def step_instability(steps, ratio):
    r"""Return how much of the step between two models hangs on the labeled rows.

    Parameters
    ----------
    steps : ndarray of shape (n_splits, n_rows, n_columns)
        Answers with the sources less answers without, of the models of every fold on
        the same rows.
    ratio : float
        Size of a test part over that of the labeled target part of its training part.

    Returns
    -------
    instability : float in [0, 1]
        With J folds, which leave out the share 1 / J each,

        .. math:: \frac{(J - 1) \sum_j \lVert s_j - \bar s \rVert^2}
                       {\sum_j \lVert s_j \rVert^2},

        the jackknife variance of the step over its mean square; J - 1 is 1 / ratio
        for any other folds. 1 with a single fold, 0 where there is no step.
    """
    if len(steps) < 2:
        return 1.0
    size = float(np.mean(np.sum(steps**2, axis=-1)))
    if size == 0:
        return 0.0
    common = float(np.mean(np.sum(steps.mean(axis=0) ** 2, axis=-1)))
    return float(np.clip((1 - common / size) / ratio, 0.0, 1.0))


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
