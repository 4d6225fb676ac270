"""Do sets and intervals of predictions cover, and is the kind of a shift found?

*Sets and intervals*: the draws of few labels of ``uncertainty.py``, from the same real
tasks. ``TransferConformal`` around pooled logistic or ridge regression, and around the
target alone, with ``alpha=.1``; with fewer than 50 labels by the jackknife+, else by
split. The coverage is that of the other half of the target domain. *Width*: of the
mean interval, or the mean number of classes in a set, over those of the target alone.

*Kinds of shift*: ``which_shift`` on three columns, of which the label follows two, 150
source rows and 25 or 80 labeled target rows; shifted inputs, other shares of the
labels, or another slope. Shares of the draws with a p-value up to .05, in the row
"none" the size of the tests. Run::

    python benchmarks/sets_and_shifts.py --data DIR --part tune --out OUT
    python benchmarks/sets_and_shifts.py --data DIR --part proof --out OUT
    python benchmarks/sets_and_shifts.py --shifts --out OUT
    python benchmarks/sets_and_shifts.py --report --out OUT

Nothing is chosen here.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from safety import load, reduce
from scipy.special import expit
from scipy.stats import fisher_exact, ks_2samp, norm
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits
from uncertainty import PARTS, draw_task, table, targets_of

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import mark_unlabeled
from sktransfer.metrics import which_shift
from sktransfer.safe import TransferConformal

DRAWS = (1, 0), (1, 1), (3, 4), (3, 5)
ALPHA = 0.1
N_SHIFT_DRAWS, N_PERMUTATIONS = 50, 199
KINDS = "none", "covariate", "label", "concept"


def cover(task, metric):
    """Return coverage and widths, with the sources and without."""
    (X, y, domain), (X_test, y_test) = task
    classify = metric != "r2"
    learner = LogisticRegression(max_iter=200) if classify else Ridge()
    if classify:
        missing = np.isnan(y)
        y = mark_unlabeled(np.where(missing, 0, y).astype(int), missing)
    found = {}
    for name, model in {
        "pooled": Pooled(learner),
        "alone": TargetOnly(learner),
    }.items():
        conformal = TransferConformal(model, alpha=ALPHA)
        conformal.fit(X, y, sample_domain=domain)
        labels = y_test.astype(int) if classify else y_test
        found[name] = conformal.coverage(X_test, labels)[-1]
        if classify:
            width = conformal.predict_set(X_test).sum(axis=1)
        else:
            width = np.diff(conformal.predict_interval(X_test), axis=1)
        found[f"width {name}"] = float(np.mean(width))
    found["method"] = conformal.method_
    found["n"] = len(conformal.scores_)
    return found


def run_sets(data, part, out):
    folder = data / "proof" if part == "proof" else data
    with (out / f"sets_{part}.jsonl").open("w") as file:
        for name in PARTS[part]:
            X, y, domain, metric = load(folder, name)
            X = reduce(X)
            for target in targets_of(domain):
                for size, seed in DRAWS:
                    task = draw_task(X, y, domain, target, metric, size, seed, "random")
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # solvers that stop early
                        line = cover(task, metric)
                    line |= {"set": name, "target": int(target), "metric": metric}
                    file.write(json.dumps(line | {"size": size}) + "\n")
                    file.flush()


def draw_shift(rng, kind, classify, n_target):
    n = 150 + n_target
    X, domain = rng.normal(size=(n, 3)), np.repeat([1, -1], [150, n_target])
    target = domain < 0
    if kind == "covariate":
        X[target, 0] += 1.0
    slope = np.where(target & (kind == "concept"), -2.0, 2.0)
    score = slope * X[:, 0] + X[:, 1]
    y = score + (rng.logistic if classify else rng.normal)(size=n)
    y = (y > 0).astype(float) if classify else y
    if kind == "label":
        # a sample by label of a larger pool
        more, labels, _ = draw_shift(rng, "none", classify, 20 * n_target)
        more, labels = more[150:], labels[150:]
        weight = np.exp(1.5 * (labels if classify else labels / labels.std()))
        drawn = rng.choice(
            len(labels), n_target, p=weight / weight.sum(), replace=False
        )
        X[target], y[target] = more[drawn], labels[drawn]
    return X, y, domain


def run_shifts(out):
    lines = []
    for classify in (True, False):
        for n_target in (25, 80):
            for kind in KINDS:
                rng = np.random.RandomState(len(lines))
                p = np.array([
                    which_shift(
                        X, y, sample_domain=domain, n_permutations=N_PERMUTATIONS,
                        task="classification" if classify else "regression",
                    )[:3]
                    for X, y, domain in (
                        draw_shift(rng, kind, classify, n_target)
                        for _ in range(N_SHIFT_DRAWS)
                    )
                ])  # fmt: skip
                lines.append(
                    ["classes" if classify else "values", n_target, kind,
                     *map(float, (p <= 0.05).mean(axis=0))]
                )  # fmt: skip
    (out / "shifts.json").write_text(json.dumps(lines))


def known_source(out):
    """How often is label shift found by who knows p(y | x) of the source?

    The mean residual of the target's labels, which is the score of the shift, has the
    known variance there; two-sided test at 5 %. The labels must differ, too.
    """
    lines = []
    for classify in (True, False):
        for n_target in (25, 80):
            rng, found = np.random.RandomState(len(lines)), []
            for _ in range(10 * N_SHIFT_DRAWS):
                X, y, domain = draw_shift(rng, "label", classify, n_target)
                own = domain < 0
                score = 2 * X[own, 0] + X[own, 1]
                mean = expit(score) if classify else score
                variance = mean * (1 - mean) if classify else np.ones(n_target)
                z = np.sum(y[own] - mean) / np.sqrt(variance.sum())
                given = 2 * norm.sf(abs(z)) <= 0.05
                if classify:
                    table_ = [[np.sum(y[part] == c) for c in (0, 1)]
                              for part in (own, ~own)]  # fmt: skip
                    labels = fisher_exact(table_).pvalue <= 0.05
                else:
                    labels = ks_2samp(y[own], y[~own]).pvalue <= 0.05
                found.append((labels, given, labels and given))
            lines.append(["classes" if classify else "values", n_target,
                          *map(float, np.mean(found, axis=0))])  # fmt: skip
    return lines


def report(out):
    print("# Sets and intervals of predictions, and kinds of shift\n")
    print(
        "Output of `benchmarks/sets_and_shifts.py --report`; its first lines explain."
    )
    for part in ("tune", "proof"):
        lines = [json.loads(line) for line in (out / f"sets_{part}.jsonl").open()]
        print(f"\n## Coverage of {1 - ALPHA:.0%} sets and intervals: {part}\n")
        groups, rows = {}, []
        for line in lines:
            key = line["set"], line["target"], line["method"]
            groups.setdefault(key, []).append(line)
        for key, some in groups.items():
            widths = [
                line["width pooled"] / line["width alone"] for line in some
                if 0 < line["width alone"] < np.inf
            ]  # fmt: skip
            rows.append([
                *key, len(some), *(
                    float(np.mean([line[name] for line in some]))
                    for name in ("pooled", "alone")
                ), float(np.median(widths)) if widths else "-",
            ])  # fmt: skip
        table(["set", "target domain", "method", "draws", "coverage, pooled",
               "coverage, target alone", "width"], rows)  # fmt: skip
        for name in ("pooled", "alone"):
            values = np.array([line[name] for line in lines])
            print(
                f"{name}: mean {values.mean():.3f} over {len(values)} draws, "
                f"{np.mean(values < 0.8):.0%} of them below 0.8.\n"
            )
    print("## Which shift\n")
    lines = json.loads((out / "shifts.json").read_text())
    print(f"{N_SHIFT_DRAWS} draws each.\n")
    table(["labels", "target rows", "true shift", "covariate found", "label found",
           "concept found"], lines)  # fmt: skip
    print(
        "Label shift, by who knows the source's law of the label given the row "
        f"({10 * N_SHIFT_DRAWS} draws): share in which the labels differ, the law of "
        "the label given the row differs (its best test), and both.\n"
    )
    table(["labels", "target rows", "labels differ", "given the row", "both"],
          known_source(out))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--part", choices=["tune", "proof"])
    parser.add_argument("--shifts", action="store_true")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(1):
        if options.data is not None:
            run_sets(options.data, options.part, options.out)
        if options.shifts:
            run_shifts(options.out)
    if options.report:
        report(options.out)


if __name__ == "__main__":
    main()
