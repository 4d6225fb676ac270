"""How often does transfer hurt on real tasks, and what does the guard change?

Every transfer method x every task (each domain in turn is the target) x few labels
(3 per class or 30 rows, and ten times that) x seeds. One fit of the guard gives the
transfer model, the target-only model and both policies of the guard, so all four are
compared on the same draw. Run::

    python benchmarks/safety.py --data DIR            # 20 seeds, slow ones fewer
    python benchmarks/safety.py --data DIR --quick    # 2 seeds, three methods

DIR holds the ``.npz`` files named in ``SETS``. The table goes to the screen and, with
one line per run, to ``--out``. Runs that are there already are not repeated, so a
stopped benchmark goes on where it was; all sets see a seed before any sees the next.

What was fixed for speed: at most 400 source rows per fit, drawn at random over all
other domains; more than eight other domains are merged at random, always in the same
way, into eight sources, and one whose drawn rows hold one class joins the largest of
the others; at most 1000 test rows; above 60 features 30 principal components of all
rows without labels; four targets, always the same, where a set has more than eight
domains; 100 test rows are given as unlabeled rows to methods that use them. ``SLOW``
names what is run with fewer seeds. A method may refuse a draw, e.g. if a source lacks a
class; that run is left out.

Columns "at 0.1" ... "at 0.9" of the lines are the scores with this weight of transfer,
"minimizer", "scale" and "dof" the posterior of the weight: enough to try another rule.

A run is hurt if it loses more than 0.01 accuracy (AUC for the landmine fields) or
0.02 R2 to the target alone. "kept" is the sum of the gains over the target alone
relative to always transferring; gains and losses are cut at 1. Every method counts the
same on every task, however many seeds it had; "worst task" needs three runs of it.

The form of the policy and its ten folds were chosen with pooled linear models on these
very sets (other draws, both halves); the default ``risk=0.3`` from the table of the
three plain methods (pooled, source only, pooled 3-nn). One number leaves little room to
overfit, but the table is no untouched test.
"""

import argparse
import csv
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from portfolio_sets import load_file as load
from portfolio_sets import merged, reduce, with_two_classes
from sklearn.base import is_classifier
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._solvers.aggregation import BlendInfo, blend_weight
from sktransfer.base import get_transfer_tags
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.feature import (
    CORAL,
    JCPOT,
    JDA,
    JDOT,
    TCA,
    TJM,
    TSL,
    DomainInvariantPLS,
    FeatureAugmentation,
    FeatureMMDSelection,
    GeodesicFlowKernel,
    LinearTransportMap,
    MMDLinearMap,
    OptimalTransportMap,
    OTLabelPropagation,
    SubspaceAlignment,
)
from sktransfer.hypothesis import (
    LinearInterpolation,
    OffsetTransfer,
    PositiveTransferLogistic,
    PositiveTransferRidge,
    SecureLogistic,
    SecureRLS,
    SourcePredictions,
    TransferForest,
)
from sktransfer.instance import (
    KLIEP,
    KMM,
    LDM,
    RULSIF,
    ULSIF,
    BalancedWeighting,
    DomainClassifierWeighting,
    GaussianWeighting,
    LabelShiftClassifier,
    MultiSourceTrAdaBoost,
    NearestNeighborWeighting,
    TaskTrAdaBoost,
    TrAdaBoost,
    TrAdaBoostR2,
)
from sktransfer.multisource import UOWQ, MMDWeightedEnsemble
from sktransfer.pseudo_label import SelectivePseudoLabeling, SelfTraining
from sktransfer.safe import SAFEW, ReliableTransfer, TransferGuard

SETS = {
    "first": [
        "abalone",
        "heart_4sites",
        "school_ilea139",
        "sarcos_test7",
        "adult_census",
        "amazon_reviews_400",
        "office10_dw_decaf6",
        "office_caltech10_surf800",
        "california_housing",
        "newsgroups_comp_sci",
    ],
    "second": [
        "air_beijing12",
        "auto_mpg",
        "digits_mnist_usps_256",
        "gas_drift_batches",
        "landmine29",
        "office10_awd_googlenet1024",
        "parkinsons_updrs",
        "reuters_orgspeople",
        "wine_quality",
    ],
}
N_SOURCE, N_TEST, N_UNLABELED = 400, 1000, 100
LEAST_RUNS = 3  # for the mean of a task
# seeds of a method on a set, or on all sets (""), where a run takes seconds
SLOW = {
    ("reliable", ""): 1,
    ("prior", "office_caltech10_surf800"): 1,
    ("prior", "office10_awd_googlenet1024"): 1,
    ("prior", "digits_mnist_usps_256"): 1,
    ("UOWQ", "office_caltech10_surf800"): 2,
    ("UOWQ", "gas_drift_batches"): 2,
    ("UOWQ", "office10_awd_googlenet1024"): 2,
    ("UOWQ", "digits_mnist_usps_256"): 2,
}
RISKS = 0.2, 0.3, 0.4, 0.5  # of the blend; "select" takes the guard's default
HURT = {"accuracy": 0.01, "auc": 0.01, "r2": 0.02}
KEY = "method", "set", "target", "size", "seed"
CURVE = [round(0.1 * i, 1) for i in range(1, 10)]
FIELDS = [
    "method", "set", "half", "target", "size", "seed", "metric", "n_labeled",
    "target_only", "always", "select", *(f"aggregate {q}" for q in RISKS),
    *(f"at {w}" for w in CURVE), "minimizer", "scale", "dof", "ntg", "seconds",
]  # fmt: skip
POLICIES = "always", "select", *(f"aggregate {q}" for q in RISKS)


class FitOnce:
    """Learner that takes over the result if it has seen the same rows before.

    The folds of the guard and the methods fit the same models of the sources and of
    the target alone over and over; the results do not change.
    """

    seen: dict = {}

    def fit(self, X, y, sample_weight=None):
        """Fit, or take over the fit to the same rows."""
        parts = X, y, sample_weight
        key = tuple(None if a is None else np.asarray(a).tobytes() for a in parts)
        if key not in self.seen:
            super().fit(X, y, sample_weight=sample_weight)
            self.seen[key] = vars(self).copy()
        vars(self).update(self.seen[key])
        return self


class FitOnceRidge(FitOnce, Ridge):
    """Ridge regression."""


class FitOnceLogistic(FitOnce, LogisticRegression):
    """Logistic regression."""


def learner(metric):
    if metric == "r2":
        return FitOnceRidge()
    return FitOnceLogistic(tol=1e-3, max_iter=200)


def methods(metric):
    """Return the unfitted transfer methods for a kind of task."""
    base = learner(metric)
    near = KNeighborsRegressor(3) if metric == "r2" else KNeighborsClassifier(3)
    common = {
        "pooled": Pooled(base),
        "pooled 0.1": Pooled(base, source_weight=0.1),
        "source only": SourceOnly(base),
        "pooled 3-nn": Pooled(near),
        "KMM": KMM(base),
        "TCA": make_pipeline(TCA(n_components=10, kernel="linear"), Pooled(base)),
        "UOWQ": UOWQ(base),
        "MMD ensemble": MMDWeightedEnsemble(base),
        "SAFEW": SAFEW(base),
        "reliable": ReliableTransfer(base, n_permutations=99),
        "FeatureAugmentation": make_pipeline(FeatureAugmentation(), Pooled(base)),
        "JDOT": JDOT(base),
        "OTLabelPropagation": OTLabelPropagation(base),
    }
    maps = {
        "CORAL": CORAL(),
        "LinearTransportMap": LinearTransportMap(),
        "OptimalTransportMap": OptimalTransportMap(),
        "SubspaceAlignment": SubspaceAlignment(5),
        "GeodesicFlowKernel": GeodesicFlowKernel(5),
    }
    if metric != "r2":
        maps["JDA"] = JDA(10)
    for name, step in maps.items():
        common[name] = make_pipeline(step, Pooled(base))
    if metric == "r2":
        common |= {"SecureRLS": SecureRLS(), "prior": PositiveTransferRidge()}
    else:
        common |= {"prior": PositiveTransferLogistic()}
    return common | further_methods(metric, base)


def further_methods(metric, base):
    """Return the methods that were run once, on fewer seeds."""
    reals = metric == "r2"
    weights = [
        ULSIF, RULSIF, DomainClassifierWeighting, NearestNeighborWeighting,
        GaussianWeighting, LDM, BalancedWeighting, LinearInterpolation, OffsetTransfer,
    ]  # fmt: skip
    maps = {
        "TJM": TJM(10),
        "TSL": TSL(5, criterion="pca" if reals else "flda", n_init=1, max_samples=300),
        "MMDLinearMap": MMDLinearMap(max_iter=50),
        "FeatureMMDSelection": FeatureMMDSelection(),
    }
    found = {cls.__name__: cls(base) for cls in weights}
    found["KLIEP"] = KLIEP(base, gamma="median")
    found |= {name: make_pipeline(step, Pooled(base)) for name, step in maps.items()}
    stack = make_pipeline(SourcePredictions(base), TargetOnly(base))
    found["SourcePredictions"] = stack
    if reals:
        tree = DecisionTreeRegressor(max_depth=3)
        return found | {
            "TransferForest": TransferForest(ExtraTreesRegressor(10, max_depth=5)),
            "TrAdaBoostR2": TrAdaBoostR2(tree, n_estimators=10),
            "DomainInvariantPLS": DomainInvariantPLS(5),
        }
    stump = DecisionTreeClassifier(max_depth=1)
    return found | {
        "TransferForest": TransferForest(ExtraTreesClassifier(10, max_depth=5)),
        "TrAdaBoost": TrAdaBoost(stump, n_estimators=10),
        "MultiSourceTrAdaBoost": MultiSourceTrAdaBoost(stump, n_estimators=10),
        "TaskTrAdaBoost": TaskTrAdaBoost(stump, n_estimators=10),
        "SelfTraining": SelfTraining(base),
        "SelectivePseudoLabeling": SelectivePseudoLabeling(),
        "LabelShiftClassifier": LabelShiftClassifier(base),
        "SecureLogistic": SecureLogistic(),
        "JCPOT": JCPOT(base),
    }


def targets_of(domain):
    ids = np.unique(domain)
    if len(ids) <= 8:
        return ids
    return np.sort(np.random.RandomState(0).choice(ids, 4, replace=False))


def draw(X, y, domain, target, metric, size, seed):
    """Draw labeled target rows, source rows and test rows; None if too few remain."""
    rng = np.random.RandomState(1000 * seed + int(target))
    rows = rng.permutation(np.flatnonzero(domain == target))
    if metric == "r2":
        labeled = rows[: min(30 * 10**size, len(rows) // 2)]
    else:
        labeled = np.concatenate(
            [
                (own := rows[y[rows] == c])[: min(3 * 10**size, -(-len(own) // 2))]
                for c in np.unique(y[rows])
            ]
        )
    test = rng.permutation(np.setdiff1d(rows, labeled))[:N_TEST]
    if len(test) < 15:
        return None
    others = np.flatnonzero(domain != target)
    source = rng.choice(others, min(N_SOURCE, len(others)), replace=False)
    ids = merged(domain, target)[source]
    if metric == "r2":
        y = (y - y[source].mean()) / y[source].std()
    else:
        ids = with_two_classes(ids, y[source])
    return (
        (X[source], y[source], ids),
        (X[labeled], y[labeled]),
        (X[test], y[test]),
    )


def score(metric, y, prediction, classes):
    if metric == "r2":
        return r2_score(y, prediction)
    if metric == "auc":
        return roc_auc_score(y, prediction[:, 1])
    return np.mean(classes[prediction.argmax(axis=1)] == y)


def outputs(model, X, classes):
    """Return predictions, for classifiers probabilities over ``classes``."""
    if not is_classifier(model):
        return model.predict(X)
    proba = np.zeros((len(X), len(classes)))
    proba[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(X)
    return proba


def run(name, half, target, size, seed, metric, parts, wanted):
    """Return one record per method."""
    (Xs, ys, ids), (Xl, yl), (X_test, y_test) = parts
    unlabeled = X_test[:N_UNLABELED]
    marker = np.nan if metric == "r2" else -1
    records = []
    FitOnce.seen.clear()
    for method in wanted:
        estimator = methods(metric)[method]
        tags = get_transfer_tags(estimator)
        uses = tags.uses_unlabeled or isinstance(estimator, Pipeline)
        extra = unlabeled if uses else unlabeled[:0]
        X = np.concatenate([Xs, Xl, extra])
        y = np.concatenate([ys, yl, np.full(len(extra), marker, dtype=ys.dtype)])
        domain = np.concatenate([ids, np.full(len(yl) + len(extra), -1)])
        guard = TransferGuard(estimator, policy="aggregate", atom=0.0, inflation=1.0)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # solvers that stop at max_iter
            try:
                guard.fit(X, y, sample_domain=domain)
            except ValueError as error:  # e.g. a source lacks a class
                print(f"{method} refuses {name}/{target}: {error}", flush=True)
                continue
        seconds = time.perf_counter() - start
        classes = getattr(guard, "classes_", None)
        f0, f1 = (
            outputs(model, X_test, classes)
            for model in (guard.target_only_, guard.transfer_)
        )
        known = guard.weight_posterior_
        select = float(guard.harm_probability_ <= guard.risk)
        blends = [blend_weight(known, q) for q in RISKS]
        scores = [
            score(metric, y_test, (1 - w) * f0 + w * f1, classes)
            for w in (0.0, 1.0, select, *blends, *CURVE)
        ]
        values = (
            method, name, half, target, size, seed, metric, len(yl), *scores,
            known.minimizer, known.standard_error, known.dof, guard.ntg_, seconds,
        )  # fmt: skip
        records.append(dict(zip(FIELDS, values, strict=True)))
    return records


def jobs(folder, chosen, seeds, wanted, done):
    """Yield the runs that are missing, seed by seed."""
    sets = []
    for half, names in SETS.items():
        for name in names:
            if chosen is None or name in chosen:
                X, y, domain, metric = load(folder, name)
                sets.append((name, half, reduce(X), y, domain, metric))
    for seed in range(seeds):
        for name, half, X, y, domain, metric in sets:
            known = [m for m in methods(metric) if wanted is None or m in wanted]
            for target in targets_of(domain).tolist():
                n_labeled = {}
                for size in (0, 1):
                    missing = [
                        m
                        for m in known
                        if (m, name, target, size, seed) not in done
                        and seed < SLOW.get((m, name), SLOW.get((m, ""), seeds))
                    ]
                    parts = draw(X, y, domain, target, metric, size, seed)
                    n_labeled[size] = 0 if parts is None else len(parts[1][1])
                    if missing and n_labeled[size] > n_labeled.get(size - 1, 0):
                        key = name, half, target, size, seed, metric
                        yield delayed(run)(*key, parts, missing)


def summary(records, policy):
    """Return hurt share, mean gain, kept share, worst run, worst mean of a task.

    Every method counts the same on every task, however many seeds it was run with.
    """
    cells = [(r["method"], r["set"], r["target"], r["size"]) for r in records]
    n_seeds = Counter(cells)
    share = np.array([1 / n_seeds[cell] for cell in cells])
    gain = np.clip([r[policy] - r["target_only"] for r in records], -1, 1)
    always = np.clip([r["always"] - r["target_only"] for r in records], -1, 1)
    limit = np.array([HURT[r["metric"]] for r in records])
    tasks = {}
    for i, cell in enumerate(cells):
        tasks.setdefault(cell[1:], []).append(i)
    means = {
        task: np.average(gain[rows], weights=share[rows])
        for task, rows in tasks.items()
        if len(rows) >= LEAST_RUNS
    }
    attainable = share @ np.maximum(always, 0)
    worst = min(means, key=means.get, default=None)
    return {
        "hurt": 100 * np.average(gain < -limit, weights=share),
        "mean": np.average(gain, weights=share),
        "kept": 100 * share @ np.maximum(gain, 0) / (attainable or np.nan),
        "worst run": gain.min(),
        "worst task": means.get(worst, np.nan),
        "which": worst and f"{worst[0]}/{worst[1]}/{('few', 'more')[worst[2]]}",
    }


def calibration(records, risk=0.3):
    """Return how the weight and its posterior compare with the best weight.

    R2 on the test rows is a parabola in the weight, so three scores give the best
    one. Returned: the percentage of regression runs whose weight is beyond it, and
    median and half the central 68 % of (center of the posterior - best) / scale.
    """
    beyond, error = [], []
    for r in records:
        known = BlendInfo(r["minimizer"], r["scale"], r["dof"])
        if r["metric"] != "r2" or not np.isfinite(r["at 0.5"] + known.standard_error):
            continue
        bend = 2 * (r["target_only"] + r["always"] - 2 * r["at 0.5"])
        if bend < -1e-9:
            best = (r["target_only"] - r["always"] + bend) / (2 * bend)
            weight = blend_weight(known, risk)
            beyond.append(weight > np.clip(best, 0, 1))
            error.append((known.minimizer - best) / known.standard_error)
    if not error:
        return None
    low, middle, high = np.quantile(error, (0.16, 0.5, 0.84))
    return 100 * np.mean(beyond), middle, (high - low) / 2


def table(records):
    """Return the lines of the table: groups of runs x policies."""
    head = f"{'runs':<34}{'policy':<15}{'n':>6}{'hurt %':>8}{'mean':>8}{'kept %':>8}"
    lines = [head + f"{'worst run':>11}{'worst task':>12}"]
    groups = {"all": records}
    for field in ("method", "half", "size"):
        for value in dict.fromkeys(r[field] for r in records):
            groups[f"{field}: {value}"] = [r for r in records if r[field] == value]
    for kind, test in (("classification", False), ("regression", True)):
        groups[kind] = [r for r in records if (r["metric"] == "r2") == test]
    for group, chosen in groups.items():
        for policy in POLICIES if chosen else ():
            s = summary(chosen, policy)
            lines.append(
                f"{group:<34}{policy:<15}{len(chosen):>6}{s['hurt']:>8.1f}"
                f"{s['mean']:>+8.3f}{s['kept']:>8.1f}{s['worst run']:>+11.3f}"
                f"{s['worst task']:>+12.3f} {s['which'] or ''}"
            )
    lines += [
        "",
        "weight beyond the best (regression) %, error / scale: median, spread",
    ]
    for method in dict.fromkeys(r["method"] for r in records):
        found = calibration([r for r in records if r["method"] == method])
        if found:
            lines.append(
                f"{method:<20}{found[0]:>4.0f}{found[1]:>+7.2f}{found[2]:>6.2f}"
            )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--sets", nargs="*", default=None)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seeds = 2
        options.methods = options.methods or ["pooled", "source only", "pooled 3-nn"]
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "safety.csv"
    done = read(path) if path.exists() else []
    known = {tuple(r[k] for k in KEY) for r in done}
    todo = jobs(options.data, options.sets, options.seeds, options.methods, known)
    start, last = time.perf_counter(), None
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if not done:
            writer.writeheader()
        parallel = Parallel(n_jobs=options.n_jobs, return_as="generator")
        for records in parallel(todo):
            writer.writerows(records)
            file.flush()
            if records and records[0]["seed"] != last:
                last = records[0]["seed"]
                print(f"seed {last}: {time.perf_counter() - start:.0f} s", flush=True)
    lines = "\n".join(table(read(path)))
    (options.out / "safety.txt").write_text(lines + "\n")
    print(lines)


def read(path):
    """Return the runs of a file."""
    with path.open(newline="") as file:
        return [
            {
                k: v if k in ("method", "set", "half", "metric") else _number(k, v)
                for k, v in row.items()
            }
            for row in csv.DictReader(file)
        ]


def _number(field, value):
    whole = field in ("target", "size", "seed", "dof")
    return int(value) if whole and value else float(value or "nan")


if __name__ == "__main__":
    main()
