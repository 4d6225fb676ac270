"""Does DATN transfer from a rich feature space to a poor one?

Source rows are labeled and described in one feature space, target rows in another;
few target rows are labeled, and unlabeled pairs have both descriptions.

- texts to images: source topics (LDA, 10) or words (tf-idf, reduced to 50 components),
  target bags of SIFT words (128), 10 classes (Wikipedia articles);
- many sensors to one: source sensors 1 to 8 of 16 (64 features), target sensor 16
  (8 features), 6 gases (one batch of the gas sensor drift data).

Compared are the three variants of DATN, the same net without a source (theta(0, T)),
and two shallow yardsticks: logistic regression on the labeled target rows, and the
same with the pairs added, labeled by a logistic regression of the source.

Questions: (1) full > supervised > target only? (2) Does a better source give a better
target (label noise and number of rows of the source)? (3) How many pairs does it take?
(4) What does a longer descent do?

Fixed for speed: tf-idf is reduced by a truncated SVD, 32-bit floats, batches of 512.
The weight decay and the number of iterations were chosen by the full variant on the
seeds 100 to 104 of the first task, which are not among those that are reported.

    python benchmarks/datn.py --data DIR --out DIR [--parts variants ...]
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from scipy import sparse, stats
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.deep import DATN

SETTINGS = {"weight_decay": 1e-2, "max_iter": 20, "batch_size": 512}
METHODS = (
    "DATN", "DATN supervised", "DATN unsupervised", "DATN, target only",
    "LR, target only", "LR, pairs labeled by the source",
)  # fmt: skip


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


def draw(views, seed, *, n_source=None, n_pairs=None, noise=0.0):
    """Split rows at random into source, pairs, labeled, unlabeled and test rows."""
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
    source = source[:n_source]
    pairs = pairs[:n_pairs]
    y_source = y[source].copy()
    wrong = rng.permutation(len(source))[: int(noise * len(source))]
    y_source[wrong] = rng.choice(np.unique(y), size=len(wrong))
    parts = source, pairs, labeled, unlabeled
    order, kind = (
        np.concatenate(parts),
        np.repeat(np.arange(4), [len(p) for p in parts]),
    )
    X = np.hstack([views.source[order], views.target[order]]).astype(np.float32)
    width = views.source.shape[1]
    X[kind == 0, width:] = np.nan
    X[kind >= 2, :width] = np.nan
    marked = np.full(len(order), -1)
    marked[kind == 0] = y_source
    marked[kind == 2] = y[labeled]
    X_test = np.full((len(test), X.shape[1]), np.nan, dtype=np.float32)
    X_test[:, width:] = views.target[test]
    domain = np.where(kind == 0, 1, -1)
    return Task(X, marked, domain, width, X_test, y[test], views.source[test])


def logistic():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))


def fit_datn(task, seed, *, variant="full", with_source=True, settings=SETTINGS):
    rows = np.ones(len(task.y), dtype=bool) if with_source else task.sample_domain < 0
    columns = np.arange(task.X.shape[1])
    net = DATN(
        columns[: task.width],
        columns[task.width :],
        variant=variant,
        random_state=seed,
        **settings,
    )
    return net.fit(
        task.X[rows], task.y[rows], sample_domain=task.sample_domain[rows]
    ).score(task.X_test, task.y_test)


def source_model(task):
    rows = task.sample_domain > 0
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


def score(method, task, seed, settings):
    if method.startswith("LR"):
        return fit_logistic(task, with_pairs="pairs" in method)
    if "target only" in method:
        return fit_datn(task, seed, with_source=False, settings=settings)
    variant = (method.split() + ["full"])[1]
    return fit_datn(task, seed, variant=variant, settings=settings)


def cell(views, seed, method, *, settings=SETTINGS, **change):
    """Return the accuracy of a method, and how long it took."""
    torch.set_num_threads(1)
    task = draw(views, seed, **change)
    begin = time.perf_counter()
    if method == "source":
        accuracy = source_model(task).score(task.source_test, task.y_test)
    else:
        accuracy = score(method, task, seed, settings)
    return accuracy, time.perf_counter() - begin


def measure(views, method, seeds, jobs, **change):
    cells = Parallel(n_jobs=jobs)(
        delayed(cell)(views, seed, method, **change) for seed in range(seeds)
    )
    return np.array(cells).T


def interval(values, digits=3):
    """Format the mean with its 95 % t-interval over the seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.{digits}f} ± {half:.{digits}f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def compare(tasks, args):
    """Question 1: every method on every task, and paired differences."""
    accuracy, seconds = {}, {}
    for name, views in tasks.items():
        for method in METHODS:
            accuracy[name, method], spent = measure(
                views, method, args.seeds, args.jobs
            )
            seconds[name, method] = spent.mean()
            print(name, method, interval(accuracy[name, method]), flush=True)
    rows = [
        [m, *(f"{interval(accuracy[n, m])} ({seconds[n, m]:.1f} s)" for n in tasks)]
        for m in METHODS
    ]
    text = table(["accuracy (time of a fit)", *tasks], rows)
    differences = [
        ("DATN", "DATN supervised"),
        ("DATN supervised", "DATN, target only"),
        ("DATN", "DATN, target only"),
        ("DATN unsupervised", "DATN, target only"),
        ("DATN", "LR, pairs labeled by the source"),
    ]
    rows = [
        [f"{a} - {b}", *(interval(accuracy[n, a] - accuracy[n, b]) for n in tasks)]
        for a, b in differences
    ]
    return text + "\n" + table(["difference over the same draws", *tasks], rows)


def sweep(tasks, changes, methods, args):
    """Questions 2 and 3: accuracy as one property of the task changes."""
    rows = []
    for name, views in tasks.items():
        for label, change in changes.items():
            results = [
                interval(measure(views, m, args.seeds, args.jobs, **change)[0])
                for m in methods
            ]
            print(name, label, results, flush=True)
            rows.append([name, label, *results])
    header = ["task", "", *(m if m != "source" else "source accuracy" for m in methods)]
    return table(header, rows)


def variants(tasks, args):
    return "## Variants\n\n" + compare(tasks, args)


def quality(tasks, args):
    changes = {f"{n:.0%} wrong labels": {"noise": n} for n in (0.0, 0.5, 1.0)}
    changes["50 rows"] = {"n_source": 50}
    return "## Quality of the source\n\n" + sweep(
        tasks, changes, ["source", "DATN"], args
    )


def pairs(tasks, args):
    changes = {f"{n} pairs": {"n_pairs": n} for n in (30, 300)}
    return "## Number of pairs\n\n" + sweep(tasks, changes, METHODS[:2], args)


def length(tasks, args):
    changes = {
        f"{n} iterations, weight decay {decay:g}": {
            "settings": {"weight_decay": decay, "max_iter": n, "batch_size": 512}
        }
        for n, decay in ((60, 1e-2), (60, 1e-4))
    }
    return "## Length of the descent\n\n" + sweep(tasks, changes, METHODS[:2], args)


def main():
    parts = {
        "variants": variants, "quality": quality, "pairs": pairs, "length": length,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    tasks = {
        "topics to images": load_wikipedia(args.data, "topics"),
        "8 sensors to 1": load_gas(args.data),
        "words to images": load_wikipedia(args.data, "words"),
    }
    for name in args.parts:
        some = dict(list(tasks.items())[: 3 if name == "variants" else 2])
        text = parts[name](some, args)
        print(text, flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / f"datn_{name}.md").write_text(text)


if __name__ == "__main__":
    main()
