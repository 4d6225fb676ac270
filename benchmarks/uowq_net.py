"""Measure UOWQNet and OTCE fine-tuning on several image-feature domains.

    python benchmarks/uowq_net.py --data DIR

Every domain of a data set is the target in turn, with 10 labels per class (half of
a class that has fewer than 20 rows); of the rest one half is the test set, the other
half comes without labels, for UOWQNet to measure differences on. The other domains
are the sources, at most 300 rows of each. "shuffled" is the same with the labels of
the first source shuffled. Every net has hidden layers of 64 and 32 units and takes as
many steps as the others: 15 passes of batches of 64 rows over the sources or the
target, whichever is more. "UOWQ labeled" is the dynamic form without the unlabeled
rows, as UOWQNet measured before. "UOWQ adapter" freezes an extractor trained on the
sources and trains adapters of rank 4 at five times the rate; "UOWQ published" takes
the empirical Fisher information, all parameters, and updates from the second epoch;
"OTCE" and "fine-tuning" start from a net of all sources, with a new head.
The data sets are read by path; none is part of this project.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from sktransfer.deep import (
    OTCEFineTuning,
    SourceOnlyNet,
    TargetOnlyNet,
    TransferNetClassifier,
    UOWQNet,
)

DATA = {
    "surf": "office_caltech10_surf800",
    "googlenet": "office10_awd_googlenet1024",
    "digits": "digits_mnist_usps_256",
}
SHOTS, MAX_SOURCE, EPOCHS, BATCH = 10, 300, 15, 64
METHODS = [
    "target only", "pooled", "UOWQ static", "UOWQ dynamic", "UOWQ labeled",
    "UOWQ published",
    "UOWQ adapter", "fine-tuning", "OTCE", "OTCE 5 epochs",
]  # fmt: skip


def load(folder, name):
    with np.load(folder / f"{DATA[name]}.npz", allow_pickle=True) as file:
        X, y, domain = file["X"].astype(np.float32), file["y"], file["domain"]
        names = file["domain_names"].astype(str)
    if name == "surf":  # counts of visual words
        X = np.sqrt(X / X.sum(axis=1, keepdims=True))
    return X, y.astype(int), domain, names


def split(y, domain, target, rng, *, shuffled):
    """Return training rows with labels (NaN: none) and ids, and the test rows."""
    labeled, unlabeled, rest, ids = [], [], [], np.unique(domain)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero((domain == target) & (y == label)))
        n = min(SHOTS, len(rows) // 2)
        labeled.append(rows[:n])
        half = n + (len(rows) - n) // 2
        unlabeled.append(rows[n:half])
        rest.append(rows[half:])
    parts = [np.concatenate(labeled)]
    for source in ids[ids != target]:
        rows = rng.permutation(np.flatnonzero(domain == source))
        parts.append(rows[:MAX_SOURCE])
    labels = [y[rows].astype(float) for rows in parts]
    if shuffled:
        labels[1] = rng.permutation(labels[1])
    parts.append(np.concatenate(unlabeled))
    labels.append(np.full(len(parts[-1]), np.nan))
    sample_domain = np.repeat(
        [-1, *range(1, len(parts) - 1), -1], [len(rows) for rows in parts]
    )
    train = np.concatenate(parts), np.concatenate(labels), sample_domain
    return train, np.concatenate(rest)


def make(method, seed):
    """Return an unfitted net, and the net that trains its extractor or None."""
    common = {
        "lr": 2e-3, "batch_size": BATCH, "standardize": False, "random_state": seed,
    }  # fmt: skip
    hidden = {"module__hidden_units": (64, 32), **common}
    uowq = {"max_epochs": EPOCHS, **hidden}
    published = {"fisher": "empirical", "n_parameters": "all", "warmup": 0.0}
    tuning = {"max_epochs": EPOCHS, **hidden}
    faster = common | {"lr": 5 * common["lr"]}
    nets = {
        "target only": TargetOnlyNet(max_epochs=EPOCHS, **hidden),
        "pooled": TransferNetClassifier(max_epochs=EPOCHS, **hidden),
        "UOWQ static": UOWQNet(weighting="static", **uowq),
        "UOWQ dynamic": UOWQNet(**uowq),
        "UOWQ labeled": UOWQNet(**uowq),
        "UOWQ published": UOWQNet(**published, **uowq),
        "UOWQ adapter": UOWQNet(
            trainable="adapter", adapter_rank=4, max_epochs=EPOCHS, **faster
        ),
        "fine-tuning": OTCEFineTuning(otce_epochs=0, **tuning),
        "OTCE": OTCEFineTuning(**tuning),
        "OTCE 5 epochs": OTCEFineTuning(otce_epochs=5, **tuning),
    }
    base = SourceOnlyNet(max_epochs=EPOCHS, **hidden)
    return nets[method], base if method == "UOWQ adapter" else None


def epoch_size(domain):
    """Return the number of rows of a pass of the other nets."""
    return int(max((domain > 0).sum(), (domain < 0).sum()))


def fit(method, X, train, seed):
    """Fit a method and return it with its seconds."""
    rows, y, domain = train
    start = time.perf_counter()
    net, base = make(method, seed)
    if method == "UOWQ labeled":
        net.set_params(epoch_size=epoch_size(domain))
        rows, y, domain = (part[np.isfinite(y)] for part in train)
    if base is not None:
        base.fit(X[rows], y, sample_domain=domain)
        net.set_params(module=base.module_.extractor)
    net.fit(X[rows], y, sample_domain=domain)
    return net, time.perf_counter() - start


def measure(folder, name, n_seeds, methods, *, shuffled=False):
    """Print the table of a data set."""
    X, y, domain, names = load(folder, name)
    targets = np.unique(domain)
    accuracy = np.empty((len(targets), n_seeds, len(methods)))
    seconds = np.zeros(len(methods))
    weights, paths, moves = {}, {}, {}
    for i, seed in np.ndindex(len(targets), n_seeds):
        rng = np.random.RandomState(seed)
        train, test = split(y, domain, targets[i], rng, shuffled=shuffled)
        scaled = StandardScaler().fit(X[train[0]]).transform(X)
        for j, method in enumerate(methods):
            net, spent = fit(method, scaled, train, seed)
            accuracy[i, seed, j] = net.score(scaled[test], y[test])
            seconds[j] += spent
            if hasattr(net, "source_weights_"):
                moves.setdefault(method, []).append(np.ptp(net.weights_path_[1:], 0))
                weights.setdefault((i, method), []).append(net.source_weights_)
            if getattr(net, "otce_epochs", 0):
                paths.setdefault(method, []).append(net.task_difference_path_)
    title = f"{name}, shuffled labels in the first source" if shuffled else name
    print(f"\n### {title}\n")
    print("| target | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 1) + "|")
    for i, target in enumerate(names):
        print(f"| {target} | {_cells(accuracy[i])} |")
    print(f"| mean | {_cells(accuracy.mean(axis=0))} |")
    each = seconds / (len(targets) * n_seeds)
    print("| seconds a fit | " + " | ".join(f"{value:.1f}" for value in each) + " |")
    for (i, method), found in weights.items():
        sources = names[targets != targets[i]]
        pairs = zip(sources, np.mean(found, axis=0), strict=True)
        shown = ", ".join(f"{source} {weight:.3f}" for source, weight in pairs)
        print(f"- weights for {names[i]}, {method}: {shown}")
    for method, found in moves.items():
        largest = np.mean([np.max(move) for move in found])
        print(f"- largest range of a weight over the epochs, {method}: {largest:.3f}")
    for method, found in paths.items():
        shown = ", ".join(f"{value:.2f}" for value in np.mean(found, axis=0))
        print(f"- task difference in the epochs of step 1, {method}: {shown}")


def _cells(values):
    """Format mean and standard error over the seeds, in percent."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return " | ".join(
        f"{100 * m:.1f} ± {100 * e:.1f}"
        for m, e in zip(values.mean(axis=0), error, strict=True)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.sets:
        measure(args.data, name, args.seeds, args.methods)
        if name == "surf":
            measure(args.data, name, args.seeds, args.methods, shuffled=True)


if __name__ == "__main__":
    main()
