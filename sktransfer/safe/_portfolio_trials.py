"""Sources in the role of the target: what was best there is a prior for the target."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sktransfer._domains import DomainData
from sktransfer._folds import check_groups
from sktransfer._solvers.aggregation import blend_posterior

#: most sources that are tried, those with the most rows; this and the next are for
#: speed, and what ``benchmarks/portfolio.md`` measures
MAX_TRIALS = 8
#: most rows on which the members of a trial are compared
MAX_TEST_ROWS = 500


class Trial(NamedTuple):
    """A source as the target of the others.

    Attributes
    ----------
    domain : int
        Id of the source.
    rows : ndarray of shape (n_samples,)
        Mask of the rows that the members are fitted on, in the given data.
    data : DomainData
        These rows: the other sources, and the labeled rows of this one as target.
    test : ndarray of shape (n_test,)
        Indices of the rows that the members are compared on, in the given data.
    weight : ndarray of shape (n_test,)
        Their weights, with the sum n_test.
    """

    domain: int
    rows: Any
    data: DomainData
    test: Any
    weight: Any


def plan_trials(
    data: DomainData,
    params: dict[str, Any],
    *,
    classification: bool,
    random_state: Any,
    max_trials: int,
) -> list[Trial]:
    """Return the trials that the sources allow for.

    A source is tried if it has twice as many rows as the target has labels, and other
    sources are left. As many rows as the target has labels, in classification of each
    class, but no more than half of those of the source, are its labeled rows; the
    members are compared on its other rows.

    Parameters
    ----------
    data : DomainData
        Rows of every domain.
    params : dict
        Metadata of the rows: ``groups`` and ``sample_weight``, if given.
    classification : bool
        The task.
    random_state : int, RandomState instance or None
        Draws the labeled rows.
    max_trials : int
        Most trials; the sources with the most rows are taken.

    Returns
    -------
    trials : list of Trial
        In the order of the ids.
    """
    if len(data.sources) < 2:
        return []
    rng = check_random_state(random_state)
    units = check_groups(params.get("groups"), data)
    if units is None:
        units = np.arange(len(data.sample_domain))
    weights = params.get("sample_weight")
    weights = np.ones(len(units)) if weights is None else np.asarray(weights, float)
    sizes = np.array([data.rows_of(domain).sum() for domain in data.sources])
    largest = data.sources[np.argsort(-sizes, kind="stable")]
    trials: list[Any] = []
    for domain in largest:
        if len(trials) == max_trials:
            break
        rows = rng.permutation(np.flatnonzero(data.rows_of(domain)))
        labeled = _labeled_rows(data, rows, classification)
        if labeled is None:
            continue
        test = np.setdiff1d(rows, labeled)
        test = rows[np.isin(rows, test[~np.isin(units[test], units[labeled])])]
        test = np.sort(test[:MAX_TEST_ROWS])
        fitted = data.is_source & ~data.rows_of(domain)
        fitted &= ~np.isin(units, units[test])
        fitted[labeled] = True
        part = replace(
            data,
            sample_domain=np.where(
                data.rows_of(domain), data.targets[0], data.sample_domain
            ),
        ).take(fitted)
        if not part.n_source:
            continue
        weight = weights[test]
        if classification:
            weight = weight * _class_weights(data, labeled, test)
        test, weight = test[weight > 0], weight[weight > 0]
        if len(test) < 2:
            continue
        trials.append(
            Trial(int(domain), fitted, part, test, weight * len(test) / weight.sum())
        )
    return sorted(trials, key=lambda trial: trial.domain)


def _labeled_rows(
    data: DomainData, rows: NDArray[Any], classification: bool
) -> NDArray[Any] | None:
    """Return the first rows, as many as the target has labels; None if too few."""
    if not classification:
        n = data.n_labeled
        return rows[:n] if len(rows) >= 2 * n else None
    classes, counts = np.unique(data.y_labeled, return_counts=True)
    y = data.labels(data.mask_of(np.sort(rows)))
    y = y[np.argsort(np.argsort(rows))]
    chosen = []
    for c, count in zip(classes, counts, strict=True):
        mine = rows[y == c]
        chosen.append(mine[: min(count, len(mine) // 2)])
    used = sum(map(len, chosen))
    if sum(map(bool, map(len, chosen))) < 2 or used < data.n_labeled / 2:
        return None
    return np.concatenate(chosen)


def _class_weights(
    data: DomainData, labeled: NDArray[Any], test: NDArray[Any]
) -> NDArray[Any]:
    """Weights that give the classes of the test rows the shares of the labeled ones."""

    def named(rows: NDArray[Any]) -> NDArray[Any]:
        return data.labels(data.mask_of(rows))

    classes, counts = np.unique(named(labeled), return_counts=True)
    y = named(test)
    weight = np.zeros(len(test))
    for c, count in zip(classes, counts, strict=True):
        mine = y == c
        weight[mine] = count / max(mine.sum(), 1)
    return weight


class TrialResult(NamedTuple):
    """What the members answer in a trial.

    Attributes
    ----------
    trial : Trial
        The trial.
    members : list of Member
        Those that could be fitted.
    residuals : ndarray of shape (n_members, n_test, n_columns)
        Their residuals on the test rows, multiplied by the root of the weights.
    """

    trial: Trial
    members: list[Any]
    residuals: Any

    def losses(self) -> dict[str, Any]:
        """Return name -> mean squared residual."""
        mean = np.sum(self.residuals**2, axis=(1, 2)) / len(self.trial.test)
        return {m.name: loss for m, loss in zip(self.members, mean, strict=True)}

    def loss_of(self, member: Any) -> float:
        """Return the loss of a member of the target's portfolio, or what is nearest.

        A model of one source has the mean loss of the models of one source. A member
        that was not in the trial has the median loss.
        """
        losses = self.losses()
        if member.domain is None:
            return losses.get(member.name, float(np.median(list(losses.values()))))
        one_source = [losses[m.name] for m in self.members if m.domain is not None]
        return float(np.mean(one_source or list(losses.values())))


def collect_trials(
    trials: Any, tasks: Any, answers: Any, data: DomainData, columns: Any
) -> list[TrialResult]:
    """Return the results of trials with members on both sides.

    Parameters
    ----------
    trials : list of Trial
        The trials.
    tasks : list of (trial, member, ...)
        What was fitted.
    answers : list of ndarray of shape (n_test, n_columns) or None
        Residuals of each task; None where the member could not be fitted.
    data : DomainData
        The rows that the trials are of.
    columns : CommonColumns
        What the residuals are in.

    Returns
    -------
    results : list of TrialResult
        In the order of the trials.
    """
    results = []
    for trial in trials:
        mine = [
            (task[1], answer)
            for task, answer in zip(tasks, answers, strict=True)
            if task[0] is trial and answer is not None
        ]
        if len({member.target_only for member, _ in mine}) < 2:
            continue
        members, residuals = zip(*mine, strict=True)
        residuals = np.stack(residuals)
        spread = columns.spread(data.labels(data.mask_of(trial.test)), residuals)
        weighted = np.sqrt(trial.weight)[:, None] * residuals / spread
        results.append(TrialResult(trial, list(members), weighted))
    return results


def trial_prior(
    results: Any, members: Any, *, worth: float, temperature: float
) -> NDArray[Any]:
    r"""Return the prior weights of members that see a source.

    .. math:: \pi_j \propto \exp\Bigl(-\frac{\kappa}{2 T K}
              \sum_k \frac{L_{jk}}{\min_i L_{ik}}\Bigr)

    with the losses :math:`L_{jk}` of K trials: what :math:`\kappa` labels of a mean
    trial would say.

    Parameters
    ----------
    results : list of TrialResult
        At least one.
    members : list of Member
        The members.
    worth : float
        :math:`\kappa`.
    temperature : float
        T.

    Returns
    -------
    prior : ndarray of shape (n_members,)
        With the largest 1.
    """
    excess = np.zeros(len(members))
    for result in results:
        losses = np.array([result.loss_of(member) for member in members])
        least = min(result.losses().values())
        excess += losses / max(least, np.finfo(float).tiny)
    exponent = -worth * excess / (2 * temperature * len(results))
    return np.maximum(np.exp(exponent - exponent.max()), 1e-300)


def trial_posteriors(
    results: Any, rule: Any, *, n_units: int, inflation: float
) -> list[Any]:
    """Return the evidence of each trial on its best weight of transfer.

    The members are weighed by the rule as if the test rows were as many as the target
    has labels; the blend of the aggregates with and without sources is compared on all
    of them.

    Parameters
    ----------
    results : list of TrialResult
        The trials.
    rule : callable
        ``rule(residuals, n_units, prior)`` returns weights.
    n_units : int
        Number of labeled target units.
    inflation : float
        Factor by which the posteriors are widened.

    Returns
    -------
    infos : list of BlendInfo
        One per trial.
    """
    infos = []
    for result in results:
        sides: Any = []
        for target_only in (True, False):
            mine = [m.target_only is target_only for m in result.members]
            residuals = result.residuals[np.array(mine)]
            weights = rule(residuals, n_units, np.ones(len(residuals)))
            sides.append(np.tensordot(weights, residuals, axes=1))
        infos.append(blend_posterior(sides[0], sides[1], inflation=inflation))
    return infos
