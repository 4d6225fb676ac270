"""Numbers from lines: gains, hurt, kept, places, with intervals over sets.

Nothing here fits anything. A method that stopped or failed on a task counts as its
reference there: its user is left with the target alone.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from benchmarks.board.runner import FEATURES

HURT = 0.01 + 1e-9  # a loss of one point by rounding is none of more than a point
MOST = 1.0  # gains are cut at -1 and 1
TAIL = 0.1  # share of the worst runs in the conditional value at risk
N_BOOTSTRAP, LEVEL = 1000, 0.9
REAL = "tune", "proof"
ORACLE, FAIR = "(best in hindsight)", "(best, chosen fairly)"


@dataclass
class Run:
    """A method on a task, compared with its reference.

    Parameters
    ----------
    method, set, part, kind : str
        Names; the kind is "classes" or "reals".
    target, labels, seed, n_sources : int
        The task.
    gain : float
        Score less that of the reference, cut at -1 and 1.
    best, fair : float
        The same for the best core method of the run, and for the one that is best on
        half of the test rows, on the other half.
    place : float
        Share of the core methods that are better, ties counting half.
    error : float or None
        Squared error or Brier score relative to that of the reference.
    cpu : float
        Seconds.
    ok : bool
        Whether the method had a result.
    features : dict
        What the task is like.
    """

    method: str
    set: str
    part: str
    kind: str
    target: int
    labels: int
    seed: int
    n_sources: int
    gain: float
    best: float
    fair: float
    place: float
    error: float | None
    cpu: float
    ok: bool
    features: dict = field(default_factory=dict)


def all_runs(lines, methods):
    """Return the runs of all methods that lines tell of.

    Parameters
    ----------
    lines : list of dict
        Lines of results, in any order; of two of a run the later one counts.
    methods : dict of str to Method
        The methods; lines of others are left out.

    Returns
    -------
    runs : dict of str to list of Run
        By method; two further ones are the best core method of each run, see
        :class:`Run`, compared with the linear learner alone.
    """
    tasks, features = defaultdict(dict), {}
    for line in lines:
        key = line["set"], line["target"], line["seed"]
        if line["method"] == FEATURES:
            features[key] = line.get("features", {})
        elif line["method"] in methods:
            tasks[*key, line["labels"]][line["method"]] = line
    core = [name for name, m in methods.items() if m.tier == "core"]
    runs = defaultdict(list)
    for key, found in tasks.items():
        about = features.get(key[:3], {})
        field_ = [found[name] for name in core if _ok(found.get(name))]
        for name, line in found.items():
            reference = found.get(methods[name].reference)
            if _ok(reference) and field_:
                runs[name].append(_run(name, line, reference, field_, about))
        plain = found.get("alone, linear")
        if _ok(plain) and field_:
            for name in (ORACLE, FAIR):
                run = _run(name, plain, plain, field_, about)
                run.gain = run.best if name == ORACLE else run.fair
                run.place = 0.0 if name == ORACLE else np.nan
                run.error = None
                runs[name].append(run)
    return dict(runs)


def _ok(line):
    return line is not None and line["status"] == "ok" and line["score"] is not None


def _run(name, line, reference, field_, features):
    used = line if _ok(line) else reference
    scores = np.array([other["score"] for other in field_])
    halves = np.array([_halves(other) for other in field_])
    base = np.array(_halves(reference))
    chosen = halves.argmax(axis=0)
    fair = np.mean([halves[chosen[0], 1] - base[1], halves[chosen[1], 0] - base[0]])
    better = np.mean(scores > used["score"]) + np.mean(scores == used["score"]) / 2
    ratio = None
    if used.get("error") is not None and reference.get("error"):
        ratio = max(used["error"] / reference["error"], 1e-3)
    return Run(
        method=name, set=line["set"], part=line["part"],
        kind="reals" if line["metric"] == "r2" else "classes",
        target=line["target"], labels=line["labels"], seed=line["seed"],
        n_sources=line["n_sources"],
        gain=_cut(used["score"] - reference["score"]),
        best=_cut(scores.max() - reference["score"]), fair=_cut(fair),
        place=float(better), error=ratio, cpu=line["cpu"], ok=_ok(line),
        features=features,
    )  # fmt: skip


def _halves(line):
    """Return the scores of both halves; that of all rows for one that has none."""
    return [line["score"] if half is None else half for half in line["halves"]]


def _cut(value):
    return float(np.clip(value, -MOST, MOST))


@dataclass
class Figures:
    """What a method did on some tasks; intervals are 90 % bootstrap over sets.

    Parameters
    ----------
    tasks, sets : int
        How many.
    gain, hurt, kept, kept_fair : tuple of float
        Value and both ends: mean gain, share hurt, sum of the gains relative to that of
        the best core method of each run, and of the fairly chosen one.
    loss : float
        Mean loss of the runs that are hurt; 0 where none is.
    tail : float
        Mean gain of the worst tenth of the runs.
    place, error, cpu, ok : float
        Mean place, geometric mean of the errors' ratio, median of the seconds, share
        with a result.
    """

    tasks: int
    sets: int
    gain: tuple
    hurt: tuple
    kept: tuple
    kept_fair: tuple
    loss: float
    tail: float
    place: float
    error: float
    cpu: float
    ok: float


def figures(runs, seed=0):
    """Return the figures of runs of one method; None without a run.

    Seeds of a task are averaged first, where a share is one of draws; every task counts
    once. A resample of the bootstrap draws sets with all their tasks.
    """
    if not runs:
        return None
    cells = defaultdict(list)
    for run in runs:
        cells[run.set, run.target, run.labels].append(run)
    names = sorted({key[0] for key in cells})
    place_of = {name: i for i, name in enumerate(names)}
    sums = np.zeros((len(names), 5))  # tasks, gain, hurt, best, fair
    for key, own in cells.items():
        sums[place_of[key[0]]] += [
            1.0,
            np.mean([r.gain for r in own]),
            np.mean([r.gain < -HURT for r in own]),
            np.mean([r.best for r in own]),
            np.mean([r.fair for r in own]),
        ]
    rng = np.random.RandomState(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)),
                            N_BOOTSTRAP)  # fmt: skip
    resampled = draws @ sums
    gain = np.array([r.gain for r in runs])
    hurt = gain < -HURT
    worst = np.sort(gain)[: max(1, int(np.ceil(TAIL * len(gain))))]
    errors = [r.error for r in runs if r.error is not None]
    total = sums.sum(axis=0)
    return Figures(
        tasks=len(cells),
        sets=len(names),
        gain=_interval(total, resampled, 1, 0),
        hurt=_interval(total, resampled, 2, 0),
        kept=_interval(total, resampled, 1, 3),
        kept_fair=_interval(total, resampled, 1, 4),
        loss=float(-gain[hurt].mean()) if hurt.any() else 0.0,
        tail=float(worst.mean()),
        place=float(np.mean([r.place for r in runs])),
        error=float(np.exp(np.mean(np.log(errors)))) if errors else np.nan,
        cpu=float(np.median([r.cpu for r in runs])),
        ok=float(np.mean([r.ok for r in runs])),
    )


def _interval(total, resampled, above, below):
    """Return a ratio of sums with its interval; NaN where nothing can be gained."""
    ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = total[above] / total[below]
        ratios = resampled[:, above] / resampled[:, below]
    usable = ratios[(resampled[:, below] > 0) & np.isfinite(ratios)]
    if total[below] <= 0 or not len(usable):
        return (np.nan,) * 3
    return float(value), *map(float, np.quantile(usable, ends))


def number_of_sources(run):
    """Return the regime of the number of sources; more than eight were merged."""
    n = run.n_sources
    return "1 source" if n == 1 else "2-4 sources" if n < 5 else "5-8 sources"


def kind_of_shift(run):
    """Return the regime of the shift, from the features of the task.

    A forest that tells the domains apart with an AUC above .8 makes the inputs "moved".
    The rule is "moved" where a forest of the sources scores more than .1 below one of
    the target's own test rows.
    """
    auc, gap = run.features.get("domain_auc"), run.features.get("gap")
    if auc is None or gap is None:
        return None
    inputs = "inputs moved" if auc > 0.8 else "same inputs"
    rule = "sources far" if gap > 0.1 else "sources near"
    return f"{inputs}, {rule}"


def common_ranks(runs, names):
    """Return ranks of methods on the tasks that all of them have, averaged by set.

    Parameters
    ----------
    runs : dict of str to list of Run
        By method.
    names : list of str
        Methods to rank.

    Returns
    -------
    ranks : ndarray of shape (n_sets, n_methods)
        Mean rank in each set, 1 for the best.
    """
    from scipy.stats import rankdata

    places = [
        {(r.set, r.target, r.labels, r.seed): r.place for r in runs.get(name, [])}
        for name in names
    ]
    common = set.intersection(*map(set, places)) if places else set()
    by_set = defaultdict(list)
    for key in sorted(common):
        by_set[key[0]].append(rankdata([own[key] for own in places]))
    return np.array([np.mean(ranks, axis=0) for ranks in by_set.values()])


def critical_difference(n_methods, n_sets, level=0.05):
    """Return the difference of mean ranks that Nemenyi's test needs.

    Parameters
    ----------
    n_methods, n_sets : int
        Methods compared, and sets.
    level : float, default=0.05
        Level of the test over all pairs.

    Returns
    -------
    difference : float
        q sqrt(k (k + 1) / 6 N), with the quantile q of the studentized range over
        the root of 2 [Demsar, JMLR 7, 2006].
    """
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - level, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_sets)))


#: name -> value of a run; logarithms where sizes differ by factors
EXPLAINED_BY = {
    "labels (each doubling)": lambda r: np.log2(r.labels),
    "sources (each doubling)": lambda r: np.log2(r.n_sources),
    "features (each doubling)": lambda r: np.log2(r.features["n_features"]),
    "inputs differ (AUC, per .1)": lambda r: 10 * r.features["domain_auc"],
    "sources fall short (gap, per .1)": lambda r: 10 * np.clip(
        r.features["gap"], -0.5, 1.0
    ),
    "labels differ (per .1)": lambda r: 10 * min(r.features["label_shift"], 1.0),
}  # fmt: skip


def when_it_pays(runs, seed=0):
    """Regress the gain of a method on features of the tasks, by least squares.

    Parameters
    ----------
    runs : list of Run
        Of one method.
    seed : int, default=0
        Seed of the bootstrap over sets.

    Returns
    -------
    coefficients : dict of str to tuple of float
        Change of the gain with each feature, the others held fixed, and both ends of
        its 90 % interval; empty with fewer than 10 sets.
    """
    runs = [r for r in runs if kind_of_shift(r)]
    names = np.array([r.set for r in runs])
    if len(set(names)) < 10:
        return {}
    Z = np.array([[1.0, *(f(r) for f in EXPLAINED_BY.values())] for r in runs])
    gain = np.array([r.gain for r in runs])
    fitted = np.linalg.lstsq(Z, gain, rcond=None)[0]
    rng = np.random.RandomState(seed)
    rows = [np.flatnonzero(names == name) for name in sorted(set(names))]
    draws = []
    for _ in range(N_BOOTSTRAP):
        chosen = np.concatenate(
            [rows[i] for i in rng.randint(len(rows), size=len(rows))]
        )
        draws.append(np.linalg.lstsq(Z[chosen], gain[chosen], rcond=None)[0])
    ends = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {
        name: (float(fitted[i]), float(ends[0, i]), float(ends[1, i]))
        for i, name in enumerate(EXPLAINED_BY, start=1)
    }
