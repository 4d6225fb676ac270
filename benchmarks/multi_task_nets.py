"""Do weightings of tasks help a net that several tasks share?

    python benchmarks/multi_task_nets.py run --data DIR --out fits.csv
    python benchmarks/multi_task_nets.py report --out fits.csv

Table III of the UOWQ paper in small: landmine fields (AUC), schools and robot torques
(R2, the mean over the tasks), and users of a phone (accuracy; the proof set). Of each
set the first 8 tasks (all 7 torques, each with rows of its own) are taken, with 40 rows
of each to learn from (landmine 120) and up to 200 others to test on; labels of a
torque or school are scaled by its training rows. Every net takes 200 steps of batches
with up to 32 rows of each task, at the default rate, with hidden layers of 64 and 32
units.
"single" is a net for each task, "pooled" one for the rows of all tasks,
"UOWQNet per task" the algorithm 2 of the paper: for each task a net of its own
with weighted rows of the others. All others are ``MultiTaskNet`` with that weighting.
Fits that are in the file are not run again. The data sets are read by path; none is
part of this project.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import r2_score, roc_auc_score

from sktransfer.deep import (
    MGDA,
    MultiTaskNetClassifier,
    MultiTaskNetRegressor,
    TransferNetClassifier,
    TransferNetRegressor,
    UOWQNet,
)

SETS = {
    "landmine": ("landmine29", 120),
    "school": ("school_ilea139", 40),
    "sarcos": ("sarcos_test7", 40),
    "wisdm": ("proof/wisdm_users", 40),
}
WEIGHTINGS = {
    name: name
    for name in ("equal", "random", "dwa", "lbtw", "uncertainty", "gradnorm", "mgda",
                 "pcgrad", "gradvac", "cagrad", "moco", "modo", "uowq")
} | {"mgda-ub": MGDA(on_features=True)}  # fmt: skip
METHODS = ["single", "pooled", "UOWQNet per task", *WEIGHTINGS]
N_TASKS, N_TEST, STEPS, BATCH = 8, 200, 200, 32
FIELDS = ["set", "method", "seed", "score", "worst", "seconds"]


def load(folder, name, seed):
    """Return training and test rows of the tasks: X, y, task of each."""
    file, n_train = SETS[name]
    with np.load(folder / f"{file}.npz", allow_pickle=True) as z:
        X, rng = z["X"].astype(np.float32), np.random.RandomState(seed)
        if name == "sarcos":
            y, task = z["Y"].astype(float), rng.randint(7, size=len(X))
            y = y[np.arange(len(X)), task]
        else:
            y, task = z["y"], z["domain"].astype(int)
    parts = [[], []]
    for k, domain in enumerate(np.unique(task)[:N_TASKS]):
        rows = rng.permutation(np.flatnonzero(task == domain))
        n = min(n_train, len(rows) // 2)
        train, test = rows[:n], rows[n : n + N_TEST]
        labels = y
        if y.dtype.kind == "f":
            labels = (y - y[train].mean()) / max(y[train].std(), 1e-9)
        for part, chosen in zip(parts, (train, test), strict=True):
            part.append((X[chosen], labels[chosen], np.full(len(chosen), -1 - k)))
    return [
        [np.concatenate(values) for values in zip(*part, strict=True)] for part in parts
    ]


def predict(method, seed, train, test):
    """Return predictions of the test rows: values, or probabilities and classes."""
    X, y, task = train
    classes = y.dtype.kind != "f"
    tasks = np.unique(task)
    params = {"max_steps": STEPS, "early_stopping": False, "random_state": seed}
    params["module__hidden_units"] = (64, 32)
    answer = "predict_proba" if classes else "predict"
    if method in WEIGHTINGS:
        kind = MultiTaskNetClassifier if classes else MultiTaskNetRegressor
        net = kind(weighting=WEIGHTINGS[method], batch_size=BATCH, **params)
        net.fit(X, y, sample_domain=task)
        found = getattr(net, answer)(test[0], sample_domain=test[2])
        return found, getattr(net, "classes_", None)
    kind = TransferNetClassifier if classes else TransferNetRegressor
    if method == "pooled":
        net = kind(batch_size=BATCH * len(tasks), **params).fit(X, y)
        return getattr(net, answer)(test[0]), getattr(net, "classes_", None)
    labels = np.unique(y) if classes else None
    found = np.zeros((len(test[0]), len(labels)) if classes else len(test[0]))
    for k in tasks:
        own, asked = task == k, test[2] == k
        if method == "single":
            net = kind(batch_size=BATCH, **params).fit(X[own], y[own])
        else:
            domain = np.where(own, -1, -task)
            domain[~own & (domain == 1)] = len(tasks) + 1
            net = UOWQNet(batch_size=BATCH, **params)
            net.fit(X, y, sample_domain=domain)
        values = getattr(net, answer)(test[0][asked])
        if classes:
            columns = np.searchsorted(labels, net.classes_)
            found[np.ix_(np.flatnonzero(asked), columns)] = values
        else:
            found[asked] = values
    return found, labels


def scores(name, found, classes, test):
    """Return the score of each task."""
    values = []
    for k in np.unique(test[2]):
        asked = test[2] == k
        y = test[1][asked]
        if name == "landmine":
            values.append(roc_auc_score(y, found[asked, 1]))
        elif classes is None:
            values.append(r2_score(y, found[asked]))
        else:
            values.append(np.mean(classes[found[asked].argmax(axis=1)] == y))
    return np.array(values)


def run(folder, out, seeds):
    """Fit what is not in the file."""
    done = {(r["set"], r["method"], int(r["seed"])) for r in read(out)}
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if not done:
            writer.writeheader()
        for seed in range(seeds):
            for name in SETS:
                train, test = load(folder, name, seed)
                for method in METHODS:
                    regression = train[1].dtype.kind == "f"
                    if (name, method, seed) in done or (
                        regression and method.startswith("UOWQNet")
                    ):
                        continue
                    start = time.process_time()
                    found = scores(name, *predict(method, seed, train, test), test)
                    row = (name, method, seed, found.mean(), found.min())
                    spent = time.process_time() - start
                    row = (*row[:3], *(f"{v:.4f}" for v in (*row[3:], spent)))
                    writer.writerow(dict(zip(FIELDS, row, strict=True)))
                    file.flush()
                    print(*row, flush=True)


def read(out):
    """Return the fits of a file."""
    if not out.exists():
        return []
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def report(out):
    """Print the table: mean over seeds, and its standard error beside "equal"."""
    rows = read(out)
    by = {(r["set"], r["method"], int(r["seed"])): r for r in rows}
    seeds = sorted({int(r["seed"]) for r in rows})
    print(f"| method | {' | '.join(SETS)} | worst task | seconds |")
    print("|---" * (len(SETS) + 3) + "|")
    for method in METHODS:
        cells, worst, spent = [], [], []
        for name in SETS:
            found = [by.get((name, method, seed)) for seed in seeds]
            if None in found:
                cells.append("-")
                continue
            own = np.array([float(r["score"]) for r in found])
            base = np.array([float(by[name, "equal", s]["score"]) for s in seeds])
            gap = own - base
            error = gap.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else 0.0
            cells.append(f"{own.mean():.3f} ({gap.mean():+.3f} ± {error:.3f})")
            worst.append(np.mean([float(r["worst"]) for r in found]))
            spent.append(np.mean([float(r["seconds"]) for r in found]))
        if spent:
            last = f"{np.mean(worst):.3f} | {np.mean(spent):.1f}"
            print(f"| {method} | {' | '.join(cells)} | {last} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    if args.what == "run":
        run(args.data, args.out, args.seeds)
    else:
        report(args.out)
