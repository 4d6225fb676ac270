"""What would more evidence bring the portfolio, and how much is there to keep?

Fits beside the runs of ``portfolio.py``, at the same rows with few labels::

    python benchmarks/portfolio_evidence.py --data DIR --out OUT --fit WHAT

with WHAT one of deals0, deals1, loo, members, small; what is there already is not
repeated. Tables of OUT, which is that of ``portfolio.py``, without a fit::

    python benchmarks/portfolio_evidence.py --out OUT --levers     # what each brings
    python benchmarks/portfolio_evidence.py --out OUT --trees      # the same of "small"
    python benchmarks/portfolio_evidence.py --out OUT --shortfall  # where gain is lost
    python benchmarks/portfolio_evidence.py --out OUT --ceiling    # what could be kept

- *deals0*, *deals1*: the members of "auto" on ten other folds, dealt anew, two deals
  each. Repeated folds are the first folds and these together. The members are the
  same, and a row counts as one row however often it is held out.
- *loo*: the same members with one row held out at a time, where n <= 20.
- *members*: further members on the first folds, closer to the target: ``balanced`` is
  pooled with as much weight on the target as on all sources; ``importance`` is pooled
  with the weights of RULSIF and the target three times as heavy; ``augmented`` is the
  feature augmentation of Daume; ``trees_on_trees`` boosts small trees on the target
  from the log-odds or values of boosted trees on the sources; ``linear_on_linear`` is
  the offset with a linear model of the sources.
- *small*: boosted trees on the target alone that split few rows, with leaves of five
  rows or of a sixth of all, and 30 or 100 trees; also with more labels.

A lever is compared with the default run by run: the difference of the gain, as a share
of the gain of the best members of "auto" ("kept", so that a new member does not move
the reference), and of the share hurt, with 90 % bootstrap intervals over tasks.

The ceiling: the fitted members are weighed by m rows of the one half of the test rows,
labels that no member has seen, and judged on the other half (both ways, three splits;
runs with 200 test rows or more). Given is the share of the best member's gain that is
kept, and in parentheses that of the member that the one half chooses. With m the number
of labels that is a rule with the same amount of evidence, but free of what
cross-validation loses; a large m tells what would be kept if the evidence grew.
"""

import argparse
import json
import time
import warnings
from copy import copy
from pathlib import Path

import numpy as np
import portfolio as base
from portfolio_sets import FEW_LABELS, LEAST_ROWS, PARTS, load
from safety import reduce
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from sktransfer._folds import target_folds
from sktransfer._response import CommonColumns
from sktransfer._solvers.aggregation import blend_posterior, blend_weight
from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.feature import FeatureAugmentation
from sktransfer.hypothesis import OffsetTransfer
from sktransfer.instance import RULSIF
from sktransfer.safe import TransferPortfolioClassifier, TransferPortfolioRegressor
from sktransfer.safe._defaults import LEAST_WEIGHT
from sktransfer.safe._portfolio_members import Member

N_FEW = 20  # labels up to which one row is held out at a time
#: what was frozen on "tune", seed 0, before "proof" was run: these members together
FROZEN = "trees_on_trees", "importance_trees", "balanced_trees"
#: and, each by itself: folds dealt three times in regression; T = 8 up to these labels
FROZEN_TEMPERATURE, FROZEN_LABELS = 8.0, {"regression": 45, "classification": 20}
MANY_TESTS = 200  # with so many test rows the best member is hardly noise
MANY_CLASSES = 2  # with more classes the trees of the new members are left out


def small_trees(classify, max_iter=30, min_samples_leaf=5):
    """Return boosted trees for few rows: scikit-learn's do not split below 40."""
    boosting = HistGradientBoostingRegressor
    if classify:
        boosting = HistGradientBoostingClassifier
    return boosting(
        max_iter=max_iter,
        min_samples_leaf=min_samples_leaf,
        early_stopping=False,
        random_state=0,
    )


def target_trees(classify, n):
    """Return target-only members with trees that split few rows."""
    share = min(20, max(2, n // 6))
    found = {
        "target_5_30": small_trees(classify),
        "target_5_100": small_trees(classify, 100),
        "target_share_30": small_trees(classify, 30, share),
        "target_share_100": small_trees(classify, 100, share),
    }
    return [Member(name, TargetOnly(one), True) for name, one in found.items()]


def closer_members(members, data):
    """Return members that are closer to the target, of the portfolio's learners."""
    learners = {m.name: m.estimator.estimator for m in members if not m.target_only
                and m.name in ("source_linear", "source_trees")}  # fmt: skip
    linear, trees = learners["source_linear"], learners["source_trees"]
    classify = hasattr(linear[-1], "C")
    few = not classify or len(np.unique(data.labels(data.labeled))) <= MANY_CLASSES
    plain = LogisticRegression(max_iter=1000)
    if not classify:
        plain = RidgeCV(np.logspace(-2, 3, 11))
    share = data.n_labeled / data.n_source
    found = {
        "balanced_linear": Pooled(clone(linear), source_weight=share),
        "importance_linear": RULSIF(clone(linear), target_weight=3.0),
        "augmented_linear": make_pipeline(FeatureAugmentation(), Pooled(plain)),
        "linear_on_linear": OffsetTransfer(clone(linear), clone(linear)),
    }
    if few:
        small = small_trees(classify)
        found |= {
            "balanced_trees": Pooled(clone(trees), source_weight=share),
            "importance_trees": RULSIF(clone(trees), target_weight=3.0),
            "trees_on_trees": OffsetTransfer(clone(trees), small),
        }
    return [Member(name, estimator, False) for name, estimator in found.items()]


def fit(what, metric, parts, frozen=False):
    """Fit members on other folds, or other members; return arrays and seconds."""
    portfolio_class = (
        TransferPortfolioRegressor if metric == "r2" else TransferPortfolioClassifier
    )

    class Kept(portfolio_class):
        def _plan(self, data, table):
            members = super()._plan(data, table)
            target = [m for m in members if m.target_only]
            if what == "members":
                closer = closer_members(members, data)
                if frozen:
                    closer = [m for m in closer if m.name in FROZEN]
                return target + closer
            if what == "small":
                small = target_trees(metric != "r2", data.n_labeled)
                return target + small[: 1 if frozen else None]
            return members

        def _cross_fit(self, *arguments):
            self.evidence_ = super()._cross_fit(*arguments)
            return self.evidence_

    (Xs, ys, ids), (Xl, yl), (X_test, _) = parts
    X, y = np.concatenate([Xs, Xl]), np.concatenate([ys, yl])
    domain = np.concatenate([ids, np.full(len(yl), -1)])
    portfolio = Kept()
    data = portfolio._validate_domains(X, y, domain)

    def deal(cv, seed):
        return target_folds(data, cv, stratify=metric != "r2", random_state=seed)

    if what == "loo":
        folds = deal(len(yl), 0)
    elif what in ("members", "small"):
        folds = deal(10, 0)
    else:
        first = 2 * int(what.removeprefix("deals")) + 1
        folds = deal(10, first) + deal(10, first + 1)
    portfolio.set_params(cv=folds)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # solvers that stop at max_iter
        portfolio.fit(X, y, sample_domain=domain)
        answers = np.zeros(0)
        if what in ("members", "small"):
            answers = portfolio._columns.answers(portfolio.members_.values(), X_test)
    evidence, names = portfolio.evidence_, list(portfolio.members_)
    return {
        "names": np.array(names),
        "target_only": np.array([m.target_only for m in portfolio._members]),
        "residuals": np.stack([evidence.residuals[k] for k in names]).astype("f4"),
        "fold": evidence.fold,
        "unit": np.unique(evidence.unit, return_inverse=True)[1],
        "answers": answers.astype("f4"),
        "seconds": time.process_time() - start,
    }


def file_of(out, what, key):
    return out / (f"{what}-" + "-".join(map(str, key)) + ".npz")


def fit_missing(options):
    """Fit what is not there yet."""
    draws = [(seed, "few") for seed in options.seeds]
    if options.fit == "small" and 0 in options.seeds:
        draws.append((0, "more"))
    for name in options.sets or PARTS[options.part]:
        X, y, domain, metric, unit = load(options.data, options.part, name)
        rows = base.rounded(reduce(X))
        for target in base.targets_of(domain, LEAST_ROWS.get(name, 20)):
            for seed, size in draws:
                if size != "few" and name in FEW_LABELS:
                    continue
                key = options.part, name, int(target), size, seed
                path = file_of(options.out, options.fit, key)
                if path.exists():
                    continue
                parts = base.draw(rows, y, domain, target, metric, size, seed, unit)
                if options.fit == "loo" and len(parts[1][1]) > N_FEW:
                    continue
                arrays = fit(options.fit, metric, parts, options.part == "proof")
                np.savez_compressed(path, **arrays)
                print(options.fit, key, f"{arrays['seconds']:.1f} s", flush=True)


# ---------------------------------------------------------------------------- levers


MEMBER_ARRAYS = "names", "target_only", "residuals", "answers"


def extended(run, out, *, deals=(), loo=False, mean=False, members=(), instead=None):
    """Return a copy of a run with more folds or members; None if there is no file."""
    new = copy(run)
    new.cache = {}
    auto = ~np.isin(run.names, base.FURTHER)
    new.names, new.target_only = run.names[auto], run.target_only[auto]
    new.answers, new.residuals = run.answers[auto], run.residuals[auto]
    for what in ["loo"] if loo else deals:
        path = file_of(out, what, run.key)
        if not path.exists():
            return None
        with np.load(path) as z:
            place = [z["names"].tolist().index(name) for name in new.names]
            residuals, fold, unit = z["residuals"][place], z["fold"], z["unit"]
        if not loo:
            residuals = np.concatenate([new.residuals, residuals], axis=1)
            fold = np.concatenate([new.fold, fold + new.fold.max() + 1])
            unit = np.concatenate([new.unit, unit])
        if mean:  # one residual per row, that of the mean of its models
            residuals = np.stack(
                [residuals[:, unit == u].mean(axis=1) for u in range(run.n_units)],
                axis=1,
            )[:, run.unit]
            fold, unit = run.fold, run.unit
        new.residuals, new.fold, new.unit = residuals, fold, unit
        new.__dict__.pop("share", None)
    added = [_added(run, new, out, name) for name in members]
    if members and not any(added):
        return None
    if instead is not None:
        if not _added(run, new, out, instead):
            return None
        kept = new.names != "target_trees"
        for key in MEMBER_ARRAYS:
            setattr(new, key, getattr(new, key)[kept])
    return new


def _added(run, new, out, name):
    """Add a member that was fitted alone; tell whether there is one."""
    path = file_of(out, "small" if name.startswith("target") else "members", run.key)
    if not path.exists():
        return False
    with np.load(path) as z:
        names = z["names"].tolist()
        same = z["residuals"][names.index("target_linear")]
        if not np.allclose(
            same, new.residuals[new.names.tolist().index("target_linear")]
        ):
            raise ValueError(f"{path} has other folds than the run")
        if name not in names:
            return False
        place = [names.index(name)]
        for key in MEMBER_ARRAYS:
            setattr(new, key, np.concatenate([getattr(new, key), z[key][place]]))
    return True


def compare(title, runs, others, setting=base.DEFAULT):
    """Return a line: a lever against the default, run by run, over tasks."""
    pairs = [(r, o) for r, o in zip(runs, others, strict=True) if o is not None]
    if not pairs:
        return None
    runs = [r for r, _ in pairs]
    rows = []
    for run, other in pairs:
        score_0 = run.reference("exponential", base.TEMPERATURE)[0]
        gains = [
            np.clip(one.score(one.blend(s)) - score_0, -1, 1)
            for one, s in ((run, base.DEFAULT), (other, setting))
        ]
        rows.append([*gains, run.best_gain(score_0), *(g < -base.HURT for g in gains)])
    tasks = base.by_task(runs, np.array(rows, dtype=float))
    table = np.array(list(tasks.values()))
    draws = np.random.RandomState(0).randint(len(table), size=(2000, len(table)))
    sums = table[draws].sum(axis=1)
    kept = 100 * (sums[:, 1] - sums[:, 0]) / np.maximum(sums[:, 2], 1e-12)
    hurt = 100 * (sums[:, 4] - sums[:, 3]) / len(table)
    total = table.sum(axis=0)
    return (
        f"| {title} | {len(runs)} | {100 * total[0] / total[2]:.0f} | "
        f"{100 * total[1] / total[2]:.0f} | {_signed(kept, total, 1)} | "
        f"{100 * total[3] / len(table):.1f} | {100 * total[4] / len(table):.1f} | "
        f"{_signed(hurt, None, 1)} | {table[:, 0].min():+.3f} | "
        f"{table[:, 1].min():+.3f} |"
    )


def replace_trees(title, runs, others):
    """Return a line: other target-only members, each side by its own target alone."""
    pairs = [(r, o) for r, o in zip(runs, others, strict=True) if o is not None]
    if not pairs:
        return None
    rows = []
    for pair in pairs:
        row = []
        for one in pair:
            alone = one.reference("exponential", base.TEMPERATURE)[0]
            score = one.score(one.blend(base.DEFAULT))
            each = [one.score(w) for w in np.eye(len(one.names))]
            gain = np.clip(score - alone, -1, 1)
            best = np.clip(max(each) - alone, 0, 1)
            row += [np.clip(alone, -1, 1), np.clip(score, -1, 1), gain, best]
            row.append(gain < -base.HURT)
        rows.append(row)
    tasks = base.by_task([r for r, _ in pairs], np.array(rows, dtype=float))
    table = np.array(list(tasks.values()))
    draws = np.random.RandomState(0).randint(len(table), size=(2000, len(table)))
    steps = table[:, 5:7] - table[:, :2]
    low, high = np.quantile(steps[draws].mean(axis=1), (0.05, 0.95), axis=0)
    cells = [
        f"{m:+.3f} ({a:+.3f} to {b:+.3f})"
        for m, a, b in zip(steps.mean(axis=0), low, high, strict=True)
    ]
    for k in (0, 5):
        gain, best, hurt = table[:, k + 2 : k + 5].sum(axis=0)
        cells += [
            f"{100 * hurt / len(table):.1f}",
            f"{100 * gain / best:.0f}",
            f"{table[:, k + 2].min():+.3f}",
        ]
    return f"| {title} | {len(pairs)} | {' | '.join(cells)} |"


REPLACE_HEAD = [
    "| trees of the target alone | runs | score of the target alone: change (90 %) | "
    "score of the default: change (90 %) | before: hurt % | kept % | worst task | "
    "after: hurt % | kept % | worst task |",
    "|---" * 10 + "|",
]


def trees_table(runs, out):
    """Return the lines of a table of trees for few rows."""
    lines = [*REPLACE_HEAD]
    for kind in ("regression", "classification"):
        for size in base.SIZES:
            mine = [r for r in runs if r.kind == kind and r.line["size"] == size]
            for name in ("target_5_30", "target_5_100", "target_share_30",
                         "target_share_100"):  # fmt: skip
                others = [extended(r, out, instead=name) for r in mine]
                line = replace_trees(f"{kind}, {size}: {name}", mine, others)
                lines += [] if line is None else [line]
            others = [extended(r, out, members=("target_5_30",)) for r in mine]
            title = f"{kind}, {size}: target_5_30 beside the default's"
            line = replace_trees(title, mine, others)
            lines += [] if line is None else [line]
    return [*lines, ""]


def _signed(draws, total, digits):
    low, high = np.quantile(draws, (0.05, 0.95))
    if total is None:
        return f"({low:+.{digits}f} to {high:+.{digits}f})"
    center = 100 * (total[1] - total[0]) / total[2]
    return f"{center:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


LEVER_HEAD = [
    "| lever | runs | kept %: default | lever | difference (90 %) | hurt %: default | "
    "lever | difference (90 %) | worst task: default | lever |",
    "|---" * 10 + "|",
]


def levers(runs, out):
    """Return the lines of the tables of levers, of one kind of task after another."""
    new_members = sorted(
        {
            str(name)
            for r in runs
            if (path := file_of(out, "members", r.key)).exists()
            for name in np.load(path)["names"]
            if name not in ("target_linear", "target_trees")
        }
    )
    lines = []
    for kind in ("regression", "classification"):
        mine = [r for r in runs if r.kind == kind and r.line["size"] == "few"]
        lines += [f"#### {kind}, few labels", "", *LEVER_HEAD]
        options = {
            "folds dealt 3 times": {"deals": ("deals0",)},
            "folds dealt 5 times": {"deals": ("deals0", "deals1")},
            "3 times, models of a row averaged": {"deals": ("deals0",), "mean": True},
            f"one row at a time, n <= {N_FEW}": {"loo": True},
        }
        options |= {f"with {name}": {"members": (name,)} for name in new_members}
        options["with all of them"] = {"members": tuple(new_members)}
        options[f"with {', '.join(FROZEN)}"] = {"members": FROZEN}
        for title, option in options.items():
            line = compare(title, mine, [extended(r, out, **option) for r in mine])
            lines += [] if line is None else [line]
        lines.append("")
    lines += ["#### frozen temperature", "", *LEVER_HEAD]
    for kind, most in FROZEN_LABELS.items():
        mine = [r for r in runs if r.kind == kind and r.line["n_labeled"] <= most]
        setting = base.DEFAULT | {"temperature": FROZEN_TEMPERATURE}
        title = f"{kind}, n <= {most}, T = {FROZEN_TEMPERATURE:g}"
        line = compare(title, mine, mine, setting)
        lines += [] if line is None else [line]
    lines.append("")
    lines += ["#### temperature by number of labels", "", *LEVER_HEAD]
    for kind in ("regression", "classification"):
        for low, high in ((0, 20), (21, 45), (46, 200)):
            mine = [
                r for r in runs
                if r.kind == kind and low <= r.line["n_labeled"] <= high
            ]  # fmt: skip
            for temperature in (2.0, 4.0, 8.0, 24.0):
                setting = base.DEFAULT | {"temperature": temperature}
                title = f"{kind}, n {low}-{high}, T = {temperature:g}"
                line = compare(title, mine, mine, setting)
                lines += [] if line is None else [line]
    return [*lines, ""]


# --------------------------------------------------------------------------- ceiling

CEILING_RULES = {
    "select": ("select", 0.0, "none"),
    "exponential T=4": ("exponential", 4.0, "none"),
    "exponential T=12": ("exponential", base.TEMPERATURE, "none"),
    "convex": ("convex", 0.0, "none"),
    "default": ("exponential", base.TEMPERATURE, "guard"),
    "T=12, best blend known": ("exponential", base.TEMPERATURE, "best"),
}
SIZES_OF_EVIDENCE = (1, 3)


def with_evidence(run, n_splits=3):
    """Return gains (rule, size of evidence), those of the best member, and hurts."""
    columns = CommonColumns()
    if run.kind == "classification":
        columns = CommonColumns(run.classes, "predict_proba")
    auto = ~np.isin(run.names, base.FURTHER)
    answers, alone = run.answers[auto].astype(float), run.target_only[auto]
    residuals = columns.code(run.y_test) - answers
    rng = np.random.RandomState(0)
    metric, n, found = run.line["metric"], run.n_units, []

    def score(rows, weights):
        flat = base._flat(metric, np.tensordot(weights, answers[:, rows], axes=1))
        return base.score(metric, run.y_test[rows], flat, run.classes)

    for _ in range(n_splits):
        halves = np.array_split(rng.permutation(len(run.y_test)), 2)
        for choose, judge in (halves, halves[::-1]):
            values = np.full((len(CEILING_RULES), len(SIZES_OF_EVIDENCE) + 1), np.nan)
            try:
                members = [score(judge, row) for row in np.eye(len(answers))]
                chosen = [score(choose, row) for row in np.eye(len(answers))]
                weights_0 = _embed(run_rule(
                    residuals[alone][:, choose[:n]], "exponential", base.TEMPERATURE
                ), alone)  # fmt: skip
                score_0 = score(judge, weights_0)
            except ValueError:  # one class on a side
                continue
            for k, factor in enumerate((*SIZES_OF_EVIDENCE, None)):
                m = len(choose) if factor is None else factor * n
                if m > len(choose):
                    continue
                rows = choose[:m]
                for j, rule in enumerate(CEILING_RULES.values()):
                    weights = weigh_by(residuals[:, rows], alone, *rule, score, judge)
                    values[j, k] = np.clip(score(judge, weights) - score_0, -1, 1)
            best = np.clip([max(members) - score_0, members[int(np.argmax(chosen))]
                            - score_0], -1, 1)  # fmt: skip
            found.append((values, best))
    if not found:
        return None
    values = np.stack([v for v, _ in found])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # sizes that do not exist
        mean = np.nanmean(values, axis=0)
    return mean, np.mean([b for _, b in found], axis=0)


def run_rule(residuals, rule, temperature):
    """Return the weights of members by residuals of rows that none has seen."""
    return base.weigh(residuals, rule, temperature)


def _embed(weights, members):
    full = np.zeros(len(members))
    full[members] = weights
    return full


def weigh_by(residuals, alone, rule, temperature, blend, score, judge):
    """Return weights of all members by held-out residuals."""
    if blend == "none":
        return run_rule(residuals, rule, temperature)
    sides = [alone, ~alone]
    weights = [_embed(run_rule(residuals[s], rule, temperature), s) for s in sides]
    if blend == "best":
        grid = np.linspace(0, 1, 21)
        tried = [(1 - w) * weights[0] + w * weights[1] for w in grid]
        return max(tried, key=lambda t: score(judge, t))
    out = [np.empty(residuals.shape[1:]) for _ in sides]
    for inside in np.array_split(np.arange(residuals.shape[1]), 10):
        others = np.setdiff1d(np.arange(residuals.shape[1]), inside)
        for one, side in zip(out, sides, strict=True):
            part = run_rule(residuals[side][:, others], rule, temperature)
            one[inside] = np.tensordot(part, residuals[side][:, inside], axes=1)
    known = blend_posterior(*out, inflation=base.DEFAULT["inflation"])
    weight = blend_weight(known, base.DEFAULT["risk"], base.DEFAULT["atom"])
    weight = weight if weight >= LEAST_WEIGHT else 0.0
    return (1 - weight) * weights[0] + weight * weights[1]


def ceiling(runs):
    """Return the lines of the table of what could be kept."""
    sizes = [f"{k} n" for k in SIZES_OF_EVIDENCE] + ["half of the test rows"]
    lines = []
    for part in PARTS:
        for kind in ("regression", "classification"):
            mine = [
                r for r in runs
                if r.kind == kind and r.line["size"] == "few" and r.line["part"] == part
                and len(r.y_test) >= MANY_TESTS
            ]  # fmt: skip
            found = [(r, with_evidence(r)) for r in mine]
            found = [(r, f) for r, f in found if f is not None]
            if not found:
                continue
            best = _over_tasks(found, lambda f: f[1])
            lines += [
                f"#### {part}: {kind}, few labels, {len(found)} runs: best member "
                f"{best[0]:+.3f} by its own test rows, {best[1]:+.3f} chosen on the "
                "other half",
                "", "| rule | " + " | ".join(sizes) + " |", "|---" * 4 + "|",
            ]  # fmt: skip
            for j, rule in enumerate(CEILING_RULES):
                cells = []
                for k in range(len(sizes)):
                    some = [(r, f) for r, f in found if np.isfinite(f[0][j, k])]
                    if not some:
                        cells.append("-")
                        continue
                    gain = _over_tasks(some, lambda f, j=j, k=k: f[0][j, k])
                    own, fair = _over_tasks(some, lambda f: f[1])
                    cells.append(f"{100 * gain / own:.0f} ({100 * gain / fair:.0f})")
                lines.append(f"| {rule} | " + " | ".join(cells) + " |")
            lines.append("")
    return lines


def _over_tasks(found, value):
    tasks = base.by_task([r for r, _ in found], [value(f) for _, f in found])
    return np.mean(list(tasks.values()), axis=0)


# -------------------------------------------------------------------------- shortfall


def test_error(run, weights, weights_0, n_draws=100):
    """Return the standard error of a gain, over draws of the test rows."""
    metric, rng = run.line["metric"], np.random.RandomState(0)
    sides = [np.tensordot(w, run.answers, axes=1) for w in (weights, weights_0)]
    gains = []
    for _ in range(n_draws):
        rows = rng.randint(len(run.y_test), size=len(run.y_test))
        try:
            scores = [
                base.score(metric, run.y_test[rows], base._flat(metric, s[rows]),
                           run.classes)
                for s in sides
            ]  # fmt: skip
        except ValueError:  # one class
            continue
        gains.append(np.clip(scores[0] - scores[1], -1, 1))
    return float(np.std(gains))


def shortfall(runs):
    """Return the lines of tables: what the best member has and the default lacks."""
    values = []
    for run in runs:
        gain, best = run.gains(base.DEFAULT)
        weights_0 = run.reference("exponential", base.TEMPERATURE)[1]
        weights = run.blend(base.DEFAULT)
        moved = 1 - weights[run.target_only].sum()
        free = run.gains(base.DEFAULT, guard=False)[0]
        values.append([
            gain, free, run.fair_best, best, moved, test_error(run, weights, weights_0),
            run.line["n_labeled"], len(run.y_test), gain < -base.HURT,
        ])  # fmt: skip
    lines = []
    for part in PARTS:
        for kind in ("regression", "classification"):
            chosen = [
                k for k, r in enumerate(runs)
                if (r.line["part"], r.kind, r.line["size"]) == (part, kind, "few")
            ]  # fmt: skip
            if not chosen:
                continue
            tasks = base.by_task([runs[k] for k in chosen], [values[k] for k in chosen])
            table = np.array(list(tasks.values()))
            gain, free, fair, best = table[:, :4].sum(axis=0)
            large = table[table[:, 7] >= MANY_TESTS]
            lines += [
                f"#### {part}: {kind}, few labels",
                "",
                f"The best members of {len(table)} tasks gain {best:+.2f}, the default "
                f"{gain:+.2f}. Between them: {best - fair:+.2f} noise of the test rows "
                f"(best less fair best), {fair - free:+.2f} weights of the members "
                f"(fair best less no guard), {free - gain:+.2f} the guard. On the "
                f"{len(large)} tasks with {MANY_TESTS} test rows or more "
                f"{100 * large[:, 0].sum() / max(large[:, 3].sum(), 1e-12):.0f} % are "
                f"kept, {100 * large[:, 0].sum() / max(large[:, 2].sum(), 1e-12):.0f} "
                f"% of the fair best, and {100 * large[:, 8].mean():.1f} % hurt.",
                "",
                "| task | labels | test rows | default | +- | weight of transfer | "
                "no guard | fair best | best |",
                "|---" * 9 + "|",
            ]
            order = sorted(tasks, key=lambda t: tasks[t][0] - tasks[t][3])
            losers = sorted(tasks, key=lambda t: tasks[t][0])[:3]
            for task in [*order[:6], *(t for t in losers if t not in order[:6])]:
                gain, free, fair, best, moved, error, n, n_test, _ = tasks[task]
                lines.append(
                    f"| {task[0]}/{task[1]} | {n:.0f} | {n_test:.0f} | {gain:+.3f} | "
                    f"{error:.3f} | {moved:.2f} | {free:+.3f} | {fair:+.3f} | "
                    f"{best:+.3f} |"
                )
            lines.append("")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--part", choices=PARTS, default="tune")
    parser.add_argument(
        "--fit", choices=["deals0", "deals1", "loo", "members", "small"]
    )
    parser.add_argument("--sets", nargs="*", default=None)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--levers", action="store_true")
    parser.add_argument("--trees", action="store_true")
    parser.add_argument("--ceiling", action="store_true")
    parser.add_argument("--shortfall", action="store_true")
    options = parser.parse_args()
    threadpool_limits(1)
    if options.fit:
        fit_missing(options)
        return
    path = options.out / "portfolio.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    if options.levers or options.trees:
        lines = [line for line in lines if line["part"] == options.part]
    runs = [base.Run(line, options.out) for line in lines]
    if options.levers:
        lines = levers(runs, options.out)
    elif options.trees:
        lines = trees_table(runs, options.out)
    else:
        lines = shortfall(runs) if options.shortfall else ceiling(runs)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
