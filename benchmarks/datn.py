"""Does DATN transfer from a rich feature space to a poor one?

Source rows are labeled and described in one feature space, target rows in another;
few target rows are labeled, and unlabeled pairs have both descriptions.

- texts to images: source topics (LDA, 10) or words (tf-idf, reduced to 50 components),
  target bags of SIFT words (128), 10 classes (Wikipedia articles);
- many sensors to one: source sensors 1 to 8 of 16 (64 features), target sensor 16
  (8 features), 6 gases (one batch of the gas sensor drift data).

Compared are the three variants of DATN, the same net without a source (theta(0, T)),
its rivals in the paper (WSDTN, HHTL, CDLS, TTI; a perceptron and a support vector
machine on the labeled target rows), and two shallow yardsticks: logistic regression on
the labeled target rows, and the same with the pairs added, labeled by a logistic
regression of the source. HHTL and CDLS have the same logistic regression.

Parts: "variants" (every method, the paper's figure 2 and tables 4 and 5), "unlabeled"
(rows of the source without a label, figure 5), "quality" (number of labeled
rows of the source, figure 3), "pairs" (their number, figure 4), "weights" (alpha and
beta, figure 6), "printed" (sums as the paper prints them in place of means), "noise"
(wrong labels of the source), "length" (a longer descent).

Fixed for speed: tf-idf is reduced by a truncated SVD, 32-bit floats, batches of 512.
The weight decay and the number of iterations of DATN were chosen by its full variant on
the seeds 100 to 104 of the first task, those of WSDTN and its sharing on the seeds 100
and 101; none of them is among those that are reported.

    python benchmarks/datn.py --data DIR --out DIR [--parts variants ...]

Every fit is a line of ``cells.jsonl`` in ``--out``; those that are there are not run
again.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse, stats
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktransfer.datasets import mark_unlabeled
from sktransfer.deep import DATN, WSDTN, TargetOnlyNet
from sktransfer.feature import CDLS, HHTL, TTI

SETTINGS = {"weight_decay": 1e-2, "max_iter": 20, "batch_size": 512}
OF_WSDTN = {"weight_decay": 1e-2, "max_iter": 20, "batch_size": 512}
METHODS = (
    "DATN", "DATN supervised", "DATN unsupervised", "DATN, target only", "WSDTN",
    "HHTL", "CDLS", "TTI", "DNN", "SVM", "LR, target only",
    "LR, pairs labeled by the source",
)  # fmt: skip
IMAGES, SENSORS = "topics to images", "8 sensors to 1"
#: values of alpha and of beta in the paper's figure 6
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
FULL, SUPERVISED = METHODS[:2]
BOTH = (FULL, SUPERVISED)
#: part -> label of a change -> the change of the task or of the settings
CHANGES = {
    "unlabeled": {f"{n} unlabeled": {"n_extra": n} for n in (0, 10**6)},
    "quality": {f"{n} rows": {"n_source": n} for n in (10, 20, 50)} | {"": {}},
    "pairs": {f"{n} pairs": {"n_pairs": n} for n in (30, 100)} | {"": {}},
    "weights": {f"alpha {v:g}": {"settings": SETTINGS | {"alpha": v}} for v in WEIGHTS}
    | {f"beta {v:g}": {"settings": SETTINGS | {"beta": v}} for v in WEIGHTS},
    "printed": {"sums": {"printed": True}},
    "noise": {f"{n:.0%} wrong labels": {"noise": n} for n in (0.0, 0.5, 1.0)},
    "length": {
        f"{n} iterations, weight decay {decay:g}": {
            "settings": SETTINGS | {"weight_decay": decay, "max_iter": n}
        }
        for n, decay in ((60, 1e-2), (60, 1e-4))
    },
}
#: part -> methods that are compared in it
COMPARED = {
    "unlabeled": BOTH,
    "quality": ("source", SUPERVISED, "WSDTN", "CDLS", "DNN"),
    "pairs": (*BOTH, "WSDTN", "HHTL", "TTI"),
    "weights": (FULL,),
    "printed": BOTH,
    "noise": ("source", SUPERVISED),
    "length": BOTH,
}
TITLES = {
    "unlabeled": "Unlabeled rows of the source (figure 5)",
    "quality": "Quality of the source (figure 3)",
    "pairs": "Number of pairs (figure 4)",
    "weights": "Weights of the two terms (figure 6)",
    "printed": "Sums as printed",
    "noise": "Wrong labels of the source",
    "length": "Length of the descent",
}


@dataclass
class Views:
    """Rows in both feature spaces, and the sizes of the parts of a task."""

    source: np.ndarray
    target: np.ndarray
    y: np.ndarray
    per_class: int
    n_source: int
    n_pairs: int
    n_test: int


@dataclass
class Task:
    """One draw: a table with NaN blocks, and test rows."""

    X: np.ndarray
    y: np.ndarray
    sample_domain: np.ndarray
    width: int  # columns of the source's block
    X_test: np.ndarray
    y_test: np.ndarray
    source_test: np.ndarray  # the test rows in the source's space


def load_wikipedia(data, text):
    with np.load(data / "wikipedia_text_image.npz") as z:
        if text == "topics":
            source = z["X_lda10"]
        else:
            parts = z["tfidf_data"], z["tfidf_indices"], z["tfidf_indptr"]
            words = sparse.csr_matrix(parts, shape=tuple(z["tfidf_shape"]))
            source = TruncatedSVD(50, random_state=0).fit_transform(words)
        return Views(source, z["X_img"], z["y"].astype(int), 5, 700, 700, 693)


def load_gas(data):
    with np.load(data / "gas_drift_batches.npz") as z:
        batch = z["domain"] == list(z["domain_names"]).index("batch6")
        X, y = z["X"][batch], z["y"][batch].astype(int)
    return Views(X[:, :64], X[:, 120:], y, 2, 500, 300, 700)


def draw(views, seed, *, n_source=None, n_pairs=None, noise=0.0, n_extra=None):
    """Split rows at random into source, pairs, labeled, unlabeled and test rows.

    With ``n_extra`` one half of the unlabeled rows plays no part in the target; so many
    of them are rows of the source without a label.
    """
    rng = np.random.RandomState(seed)
    rows = rng.permutation(len(views.y))
    test, rest = rows[: views.n_test], rows[views.n_test :]
    y = views.y
    labeled = np.concatenate(
        [rest[y[rest] == c][: views.per_class] for c in np.unique(y)]
    )
    rest = rest[~np.isin(rest, labeled)]
    source, rest = rest[: views.n_source], rest[views.n_source :]
    pairs, unlabeled = rest[: views.n_pairs], rest[views.n_pairs :]
    extra = unlabeled[:0]
    if n_extra is not None:  # the target's own rows are the same for every number
        half = len(unlabeled) // 2
        extra, unlabeled = unlabeled[: min(n_extra, half)], unlabeled[half:]
    source = source[:n_source]
    pairs = pairs[:n_pairs]
    y_source = y[source].copy()
    wrong = rng.permutation(len(source))[: int(noise * len(source))]
    y_source[wrong] = rng.choice(np.unique(y), size=len(wrong))
    parts = source, pairs, labeled, unlabeled, extra
    order, kind = (
        np.concatenate(parts),
        np.repeat(np.arange(5), [len(p) for p in parts]),
    )
    X = np.hstack([views.source[order], views.target[order]]).astype(np.float32)
    width = views.source.shape[1]
    of_source = np.isin(kind, [0, 4])
    X[of_source, width:] = np.nan
    X[np.isin(kind, [2, 3]), :width] = np.nan
    marked = np.full(len(order), -1)
    marked[kind == 0] = y_source
    marked[kind == 2] = y[labeled]
    X_test = np.full((len(test), X.shape[1]), np.nan, dtype=np.float32)
    X_test[:, width:] = views.target[test]
    domain = np.where(of_source, 1, -1)
    return Task(X, marked, domain, width, X_test, y[test], views.source[test])


def logistic_weighted():
    return LogisticRegression(C=0.1, max_iter=2000)


def logistic():
    return make_pipeline(StandardScaler(), logistic_weighted())


def fit_net(task, net, *, with_source=True):
    rows = np.ones(len(task.y), dtype=bool) if with_source else task.sample_domain < 0
    columns = np.arange(task.X.shape[1])
    net.set_params(
        source_columns=columns[: task.width], target_columns=columns[task.width :]
    )
    y = mark_unlabeled(task.y, task.y < 0)
    net.fit(task.X[rows], y[rows], sample_domain=task.sample_domain[rows])
    return net.score(task.X_test, task.y_test)


def source_model(task):
    rows = (task.sample_domain > 0) & (task.y >= 0)
    return logistic().fit(task.X[rows, : task.width], task.y[rows])


def fit_logistic(task, *, with_pairs):
    target, width = task.sample_domain < 0, task.width
    labeled = target & (task.y >= 0)
    X, y = task.X[labeled, width:], task.y[labeled]
    if with_pairs:
        pairs = target & ~np.isnan(task.X[:, 0])
        guessed = source_model(task).predict(task.X[pairs, :width])
        X, y = np.vstack([X, task.X[pairs, width:]]), np.append(y, guessed)
    return logistic().fit(X, y).score(task.X_test[:, width:], task.y_test)


def fit_plain(task, model):
    few = (task.sample_domain < 0) & (task.y >= 0)
    model.fit(task.X[few, task.width :], task.y[few])
    return model.score(task.X_test[:, task.width :], task.y_test)


def score(method, task, seed, settings):
    if method.startswith("LR"):
        return fit_logistic(task, with_pairs="pairs" in method)
    if method == "SVM":
        return fit_plain(task, make_pipeline(StandardScaler(), SVC()))
    if method == "DNN":
        net = TargetOnlyNet(max_epochs=200, random_state=seed, device="cpu")
        return fit_plain(task, net)
    if method == "TTI":
        return fit_net(task, TTI())
    if method in ("HHTL", "CDLS"):
        return fit_net(task, {"HHTL": HHTL, "CDLS": CDLS}[method](logistic_weighted()))
    if method == "WSDTN":
        return fit_net(task, WSDTN(random_state=seed, device="cpu", **OF_WSDTN))
    net = DATN(random_state=seed, device="cpu", **settings)
    if "target only" in method:
        return fit_net(task, net, with_source=False)
    return fit_net(task, net.set_params(variant=(method.split() + ["full"])[1]))


def as_printed(task):
    """Return settings that make the mean over pairs a sum.

    Adam does not see a common factor, so the other terms are divided by the number of
    pairs instead.
    """
    n_pairs = int((~np.isnan(task.X)).all(axis=1).sum())
    decay = SETTINGS["weight_decay"] / n_pairs
    return SETTINGS | {"alpha": 2 / n_pairs, "beta": 1 / n_pairs, "weight_decay": decay}


def cell(views, seed, method, *, settings=SETTINGS, printed=False, **change):
    """Return the accuracy of a method, and how long it took."""
    torch.set_num_threads(1)
    task = draw(views, seed, **change)
    if printed:
        settings = as_printed(task)
    begin = time.process_time()
    if method == "source":
        accuracy = source_model(task).score(task.source_test, task.y_test)
    else:
        accuracy = score(method, task, seed, settings)
    return accuracy, time.process_time() - begin


class Cells:
    """Accuracies and seconds of fits, each a line of a file."""

    def __init__(self, path):
        self.path, self.known = path, {}
        if path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.known[tuple(entry["key"])] = entry["accuracy"], entry["seconds"]

    def of(self, name, views, method, n_seeds, label="", **change):
        """Return accuracies and seconds, one per seed."""
        found = []
        for seed in range(n_seeds):
            key = name, label, method, seed
            if key not in self.known:
                accuracy, seconds = cell(views, seed, method, **change)
                line = {"key": key, "accuracy": accuracy, "seconds": seconds}
                with self.path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                self.known[key] = accuracy, seconds
            found.append(self.known[key])
        return np.array(found).T


def interval(values, digits=3):
    """Format the mean with its 95 % t-interval over the seeds."""
    if len(values) < 2:
        return f"{np.mean(values):.{digits}f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.{digits}f} ± {half:.{digits}f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def compare(tasks, cells, args):
    """Every method on every task, and paired differences."""
    accuracy, seconds = {}, {}
    for name, views in tasks.items():
        for method in METHODS:
            found, spent = cells.of(name, views, method, args.seeds)
            accuracy[name, method], seconds[name, method] = found, spent.mean()
            print(name, method, interval(found), flush=True)
    rows = [
        [m, *(f"{interval(accuracy[n, m])} ({seconds[n, m]:.1f} s)" for n in tasks)]
        for m in METHODS
    ]
    text = table(["accuracy (CPU time of a fit)", *tasks], rows)
    differences = [
        ("DATN", "DATN supervised"),
        ("DATN supervised", "DATN, target only"),
        ("DATN", "DATN, target only"),
        ("DATN unsupervised", "DATN, target only"),
        *[("DATN", rival) for rival in ("WSDTN", "HHTL", "CDLS", "TTI")],
        ("DATN", "LR, pairs labeled by the source"),
    ]
    rows = [
        [f"{a} - {b}", *(interval(accuracy[n, a] - accuracy[n, b]) for n in tasks)]
        for a, b in differences
    ]
    return text + "\n" + table(["difference over the same draws", *tasks], rows)


def sweep(part, tasks, cells, args):
    """Accuracy as one property of the task or of a method changes."""
    rows, methods = [], COMPARED[part]
    both = set(BOTH) <= set(methods)
    for name, views in tasks.items():
        for label, change in CHANGES[part].items():
            found = {
                m: cells.of(name, views, m, args.seeds, label, **change)[0]
                for m in methods
            }
            results = [interval(values) for values in found.values()]
            if both:
                results.append(interval(found[FULL] - found[SUPERVISED]))
            print(name, label, results, flush=True)
            rows.append([name, label or "all", *results])
    header = ["task", "", *(m if m != "source" else "source accuracy" for m in methods)]
    return table(header + [f"{FULL} - {SUPERVISED}"] * both, rows)


def main():
    parts = ("variants", *CHANGES)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=2, help="3: words, too (slow)")
    parser.add_argument("--only", nargs="+", metavar="TASK", help="names of tasks")
    args = parser.parse_args()
    tasks = {
        IMAGES: load_wikipedia(args.data, "topics"),
        SENSORS: load_gas(args.data),
    }
    if args.tasks > 2:
        tasks["words to images"] = load_wikipedia(args.data, "words")
    args.out.mkdir(parents=True, exist_ok=True)
    cells = Cells(args.out / "cells.jsonl")
    for part in args.parts:
        some = dict(list(tasks.items())[: args.tasks if part == "variants" else 2])
        some = {n: v for n, v in some.items() if not args.only or n in args.only}
        if part == "variants":
            text = "## Variants and rivals\n\n" + compare(some, cells, args)
        else:
            text = f"## {TITLES[part]}\n\n" + sweep(part, some, cells, args)
        print(text, flush=True)
        (args.out / f"datn_{part}.md").write_text(text)


if __name__ == "__main__":
    main()
