"""Does the discriminator gate turn negative transfer of deep nets off?

The protocol of Wang et al. (CVPR 2019): source rows are perturbed with probability
eps, and their labels are replaced by random ones with probability eps (``--noise``
also does one of both alone); half of the target is for training, of which a share
keeps its labels (1 or more: labels per class), the rest for testing. Six methods, each
without a gate, with the discriminator alone (the paper's gate), with a judge of source
labels and equal means over three nets beside it, and with the gate as it is by default,
whose means are weighed by held-out labels. All are measured against one and the same
net on the target alone, theta(0,T): the method without gate, whose labeled target rows
play the source and whose unlabeled ones the target. "no matching" is a net whose
features are matched to nothing, so the gate is all it has; "oracle" is that net without
a gate on the source rows that are not corrupted: where even it does not beat the target
alone, no gate can. Run::

    python benchmarks/gate.py --data DIR --out gate.csv --seeds 3
    python benchmarks/gate.py --data DIR --out gate.csv --sets W-D --budgets matched

Both sides of every gap get the same number of steps ("matched", 30 passes over the
larger domain), or both choose theirs from one grid by two folds of the labeled
*training* rows of the target ("chosen"). Every fit is a line of ``--out`` (columns
``FIELDS``; ``kind`` is "transfer" or "target", ``gate`` a key of ``GATES``); a run that
was stopped goes on where it was. ``--report`` prints the tables of what is there, each
row over the draws that all of its columns have; a column that did not run is "-".

Data: "W-D", "A-D" and "D-A" are the paper's tasks between Webcam, DSLR and Amazon, as
1024 features of a GoogLeNet (half of the features of a perturbed row are shuffled),
with one layer of 64 units. "mnist usps images" is MNIST -> USPS (16 x 16 pixels), 1000
source rows and 1000 target rows, through two small convolutions. "perturbed digits" are
the two random halves of scikit-learn's digits (8 x 8 pixels), with the default
extractor. Perturbed images are turned, mirrored and sprinkled with salt and pepper.
Always float32, no early stopping; all else is the default. "mnist usps" (the same
pixels) and "features" (Caltech -> Amazon, SURF) are there for ``reproduce.py``, with
the default extractor.
"""

import argparse
import csv
import time
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import normalize
from torch import nn

from sktransfer._domains import check_domains
from sktransfer.datasets import stack_domains
from sktransfer.datasets._digits import labeled_rows, perturb_image
from sktransfer.deep import ADDA, DAN, DANN, GTA, PADA, DeepCORAL
from sktransfer.model_selection import StratifiedTargetKFold

METHODS = {
    "DANN": DANN, "ADDA": ADDA, "PADA": PADA, "GTA": GTA, "DAN": DAN,
    "DeepCORAL": DeepCORAL,
}  # fmt: skip
METHODS = {name: partial(cls) for name, cls in METHODS.items()}
METHODS["DANN"] = partial(DANN, match="both")
METHODS["DeepCORAL"] = partial(DeepCORAL, layers="output", scaled=False, centered=True)
NO_MATCHING = partial(DANN, match="none")
NETS = METHODS | {"no matching": NO_MATCHING, "oracle": NO_MATCHING}
#: the paper's gate: the discriminator alone
PUBLISHED = {"gate": True, "agreement": False, "ensemble": False}
#: ablations of DANN with the gate: paper's table 4
ABLATIONS = {
    "gate only": PUBLISHED | {"label_input": False, "match": "both"},
    "labels only": {"label_input": True},
    "joint": PUBLISHED | {"match": "joint"},
    "marginal": PUBLISHED | {"match": "marginal"},
    "none": PUBLISHED | {"match": "none"},
}
#: the column "gate" of the file: its name in tables, and parameters
GATES = {
    0: ("no gate", {}),
    1: ("discriminator", PUBLISHED),
    2: ("equal mean", {"gate": True, "ensemble": "equal"}),
    3: ("gate", {"gate": True}),
}
EPS, SHARES = (0.0, 0.3, 0.7, 0.9), (3.0,)
NOISE, BUDGETS = ("both", "labels", "inputs"), ("matched", "chosen")
#: steps to choose from, and passes of a matched budget
STEPS, PASSES = (30, 100, 300), 30
#: the corruption that tables show beside a clean source
CORRUPTED = 0.7
FIRST = NOISE[0], BUDGETS[0]
ABLATION_EPS, ABLATION_SHARES = (0.3, 0.7), (3.0, 0.1, 0.3)
FIELDS = [
    "data", "method", "gate", "kind", "eps", "share", "seed", "noise", "budget",
    "accuracy",
    "auc_label", "auc_any", "weight_clean", "weight_corrupt", "seconds",
]  # fmt: skip
KEYS = FIELDS[:9]
N_SOURCE = N_TARGET = 1000


def load_halves(folder):
    """Return two halves of the bundled digits and how an image is perturbed."""
    X, y = load_digits(return_X_y=True)
    X_source, X_target, y_source, y_target = train_test_split(
        X.astype(np.float32), y, test_size=0.5, stratify=y, random_state=0
    )

    def perturb(row, rng):
        return perturb_image(row.reshape(8, 8), rng).ravel()

    return X_source, y_source, X_target, y_target, perturb


def load_mnist_usps(folder):
    """Return MNIST as the source and USPS as the target."""
    with np.load(folder / "digits_mnist_usps_256.npz") as z:
        X, y, domain = z["X"].astype(np.float32), z["y"], z["domain"]
    X = X / X.max(axis=1, keepdims=True)

    def perturb(row, rng):
        return perturb_image(row.reshape(16, 16), rng, white=1.0).ravel()

    return X[domain == 0], y[domain == 0], X[domain == 1], y[domain == 1], perturb


def load_images(folder):
    """Return MNIST and USPS as images of one channel."""
    X_source, y_source, X_target, y_target, perturb = load_mnist_usps(folder)

    def perturb_channel(image, rng):
        return perturb(image, rng).reshape(1, 16, 16)

    shape = -1, 1, 16, 16
    X_source, X_target = X_source.reshape(shape), X_target.reshape(shape)
    return X_source, y_source, X_target, y_target, perturb_channel


def convolutions():
    """Return two strided convolutions and a layer of 64 features."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(8, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(),
    )  # fmt: skip


def load_office(source, target, folder):
    """Return two domains of Office, as features of a GoogLeNet."""
    with np.load(folder / "office10_awd_googlenet1024.npz") as z:
        X, y, domain = z["X"].astype(np.float32), z["y"], z["domain"]
        names = z["domain_names"].tolist()
    of_source, of_target = (domain == names.index(name) for name in (source, target))

    def perturb(row, rng):
        row, half = row.copy(), rng.permutation(len(row))[: len(row) // 2]
        row[half] = row[rng.permutation(half)]
        return row

    return X[of_source], y[of_source], X[of_target], y[of_target], perturb


def load_surf(folder):
    """Return Caltech as the source and Amazon as the target, as SURF features."""
    with np.load(folder / "office_caltech10_surf800.npz") as z:
        X, y, domain = z["X"].astype(np.float32), z["y"], z["domain"]
        names = z["domain_names"].tolist()
    X = normalize(X, "l1")
    source, target = (domain == names.index(name) for name in ("caltech", "amazon"))

    def perturb(row, rng):
        return rng.permutation(row)

    return X[source], y[source], X[target], y[target], perturb


#: the sets that are run where none is named, and all others
SETS = "W-D", "perturbed digits", "D-A", "A-D", "mnist usps images"
LOADERS = {
    "W-D": partial(load_office, "webcam", "dslr"),
    "A-D": partial(load_office, "amazon", "dslr"),
    "D-A": partial(load_office, "dslr", "amazon"),
    "mnist usps images": load_images,
    "perturbed digits": load_halves,
    "mnist usps": load_mnist_usps,
    "features": load_surf,
}


def extractor_params(X):
    """Return the extractor of a set as parameters of a net."""
    if X.ndim == 4:
        return {"module": convolutions}
    return {"module__hidden_units": (64,)} if X.shape[1] == 1024 else {}


def subset(X, y, size, rng):
    if len(y) <= size:
        return X, y
    return train_test_split(X, y, train_size=size, stratify=y, random_state=rng)[::2]


def draw(parts, eps, share, seed, noise="both"):
    """Perturb the source, hide target labels, and stack both; the rest is the test."""
    X_source, y_source, X_target, y_target, perturb = parts
    rng = np.random.RandomState(seed)
    X_source, y_source = subset(X_source, y_source, N_SOURCE, rng)
    X_target, y_target = subset(X_target, y_target, N_TARGET, rng)
    X_train, X_test, y_train, y_test = train_test_split(
        X_target, y_target, test_size=0.5, stratify=y_target, random_state=rng
    )
    per_class = int(share) if share >= 1 else None
    labeled = labeled_rows(y_train, min(share, 1.0), per_class, rng)
    hit = (rng.uniform(size=len(y_source)) < eps) & (noise != "labels")
    randomized = (rng.uniform(size=len(y_source)) < eps) & (noise != "inputs")
    X_source = X_source.copy()
    for row in np.flatnonzero(hit):
        X_source[row] = perturb(X_source[row], rng)
    noisy = y_source.copy()
    noisy[randomized] = rng.choice(np.unique(y_source), randomized.sum())
    data = stack_domains(
        {"source": (X_source, noisy)},
        target=(X_train[labeled], y_train[labeled]) if labeled.any() else None,
        unlabeled=X_train[~labeled],
    )
    return data, X_test, y_test, noisy != y_source, hit | (noisy != y_source)


def run(parts, method, gate, kind, eps, share, seed, noise="both", budget="matched"):
    """Fit one net and return its line; "target" is the net without gate."""
    data, X_test, y_test, wrong, corrupt = draw(parts, eps, share, seed, noise)
    X, y, domain = data.X, data.y, data.sample_domain
    params = GATES[gate][1] if kind == "transfer" else {}
    params |= ABLATIONS.get(method, {})
    net = NETS.get(method, DANN)(
        **extractor_params(X),
        max_epochs=PASSES,
        early_stopping=False,
        random_state=seed,
        **params,
    )
    # all fits of a draw take the steps of the one on all of its rows
    everything = check_domains(X, y, domain)
    net.set_params(**net.budget_params(everything))
    if kind == "target":
        X, y, domain = X[domain < 0], y[domain < 0], domain[domain < 0]
    elif method == "oracle":
        keep = np.ones(len(y), dtype=bool)
        keep[: len(corrupt)] = ~corrupt
        X, y, domain = X[keep], y[keep], domain[keep]
    if budget == "chosen":
        net.set_params(max_epochs=None)
        folds = StratifiedTargetKFold(2, shuffle=True, random_state=seed)
        net = GridSearchCV(net, {"max_steps": STEPS}, cv=folds)
    start = time.process_time()
    with config_context(enable_metadata_routing=True):
        net.fit(X, y, sample_domain=domain)
    line = {"seconds": round(time.process_time() - start, 3)}
    line["accuracy"] = round(net.score(X_test, y_test), 4)
    if gate and kind == "transfer" and corrupt.any() and not corrupt.all():
        weight = getattr(net, "best_estimator_", net).sample_weight_
        line["weight_clean"] = round(float(weight[~corrupt].mean()), 4)
        line["weight_corrupt"] = round(float(weight[corrupt].mean()), 4)
        line["auc_any"] = round(roc_auc_score(~corrupt, weight), 4)
        if wrong.any():
            line["auc_label"] = round(roc_auc_score(~wrong, weight), 4)
    return line


def cells(args):
    """Yield the settings of every fit, seed by seed."""
    for seed, budget in product(range(args.seeds), args.budgets):
        for data, share in product(args.sets, args.share):
            if budget == "chosen" and not share:
                continue  # no label to choose by
            rest = share, seed
            for noise, eps in product(args.noise, args.eps):
                if not eps and noise != args.noise[0]:
                    continue  # no noise is the same of every kind
                nets = [
                    (method, gate)
                    for method in args.methods
                    for gate in ((0,) if method == "oracle" else args.gates)
                ]
                ablate = share in ABLATION_SHARES and eps in ABLATION_EPS
                if ablate and not args.no_ablation and (noise, budget) == FIRST:
                    nets += [(method, 0) for method in ABLATIONS]
                # a clean source has one name, whatever noise is asked for
                kind = noise if eps else FIRST[0]
                for net in nets:
                    yield (data, *net, "transfer", eps, *rest, kind, budget)
            for method in args.methods:
                if share and method != "oracle":
                    yield (data, method, 0, "target", 0.0, *rest, FIRST[0], budget)


def key_of(line):
    """Return the setting of a line of the file."""
    return (
        line["data"], line["method"], int(line["gate"]), line["kind"],
        float(line["eps"]), float(line["share"]), int(line["seed"]),
        line.get("noise") or "both", line.get("budget") or "matched",
    )  # fmt: skip


def done(path):
    """Return the settings that are in the file, and its lines."""
    if not path.exists():
        return {}
    with path.open() as file:
        return {key_of(line): line for line in csv.DictReader(file)}


def fill(args):
    """Run what is missing."""
    known = done(args.out)
    todo = [cell for cell in cells(args) if cell not in known]
    parts = {name: LOADERS[name](args.data) for name in args.sets}
    new = not args.out.exists()
    start = time.perf_counter()
    with args.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        for i, cell in enumerate(todo):
            line = run(parts[cell[0]], *cell[1:])
            writer.writerow(dict(zip(KEYS, cell, strict=True)) | line)
            file.flush()
            if i % 50 == 0:
                minutes = (time.perf_counter() - start) / 60
                print(f"{i + 1} / {len(todo)} fits, {minutes:.1f} min", flush=True)


def mean(values):
    """Format a mean with its standard error."""
    values = np.asarray(values, dtype=float)
    if not len(values) or np.isnan(values).any():
        return "-"
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def table(title, head, rows):
    """Print rows as a table in markdown, where there are any."""
    if not rows:
        return
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


#: kinds of noise in tables
NAMES = {
    "none": "clean", "both": "labels and inputs", "labels": "labels alone",
    "inputs": "inputs alone",
}  # fmt: skip


class Results:
    """The lines of one data set, number of labels and budget, asked for by setting."""

    def __init__(self, lines, data, share, budget):
        self.data = data
        self.gates = sorted({key[2] for key in lines})
        self.titles = [GATES[gate][0] for gate in self.gates]
        self.columns = ["target alone", *self.titles, "oracle"]
        self.lines = {
            (key[1], key[2], key[3], key[7] if key[4] else "none", key[6]): line
            for key, line in lines.items()
            if (key[0], key[5], key[8]) == (data, share, budget)
            and key[4] in (0.0, CORRUPTED)
        }

    def by_seed(self, method, gate, kind, noise, field="accuracy"):
        """Return the figures of a setting, one per seed, where there are any."""
        setting = method, gate, kind, noise
        return {
            key[4]: float(line[field])
            for key, line in self.lines.items()
            if key[:4] == setting and line[field] != ""
        }

    def row(self, method, noise):
        """Return accuracies, shape (draws, columns), NaN in columns that did not run.

        The draws are those that all other columns have.
        """
        plain = method if method in METHODS else "no matching"
        found = [
            self.by_seed(plain, 0, "target", "none"),
            *(self.by_seed(method, gate, "transfer", noise) for gate in self.gates),
            self.by_seed("oracle", 0, "transfer", noise),
        ]
        if not (found[0] and found[1]):
            return np.empty((0, len(found)))
        seeds = sorted(set.intersection(*(set(column) for column in found if column)))
        return np.array([[column.get(s, np.nan) for column in found] for s in seeds])

    def rows(self):
        """Yield noise, method and accuracies of every row of the tables."""
        for noise, method in product(NAMES, (*METHODS, "no matching")):
            accuracy = self.row(method, noise)
            if len(accuracy):
                yield noise, method, accuracy


def named(share):
    """Name a number of labels."""
    return f"{share:.0f} labels per class" if share >= 1 else f"{share:.0%} labeled"


def gaps(accuracy):
    """Return the negative transfer gaps of accuracies, their first column."""
    return accuracy[..., :1] - accuracy[..., 1:]


def of_set(results):
    """Return the table of one data set: accuracy of the target alone, and NTGs."""
    rows = []
    for noise, method, accuracy in results.rows():
        cells = [mean(accuracy[:, 0]), *map(mean, gaps(accuracy).T)]
        if gaps(accuracy).mean(axis=0)[-1] >= 0:
            cells[-1] += ", none to gain"
        rows.append([NAMES[noise], method, str(len(accuracy)), *cells])
    return ["noise", "method", "draws", *results.columns], rows


def over_sets(every):
    """Return the table of means over the sets that have all columns."""
    found = {}
    for results in every:
        for noise, method, accuracy in results.rows():
            if not np.isnan(accuracy).any():
                found.setdefault((noise, method), []).append(accuracy.mean(axis=0))
    rows = []
    for (noise, method), accuracy in sorted(found.items(), key=by_noise):
        accuracy = np.array(accuracy)
        cells = [mean(accuracy[:, 0]), *map(mean, gaps(accuracy).T)]
        rows.append([NAMES[noise], method, str(len(accuracy)), *cells])
    return ["noise", "method", "sets", *every[0].columns], rows


def by_noise(item):
    """Sort rows as tables have them."""
    (noise, method), _ = item
    return list(NAMES).index(noise), [*METHODS, "no matching"].index(method)


def counts(every):
    """Return the table of how often a column keeps what a gate should keep."""
    cells = [accuracy.mean(axis=0) for r in every for _, _, accuracy in r.rows()]
    cells = np.array([row for row in cells if not np.isnan(row).any()])
    if not len(cells):
        return [], []
    ntg, gated = gaps(cells)[:, :-1], cells[:, 1:-1]
    ours = gaps(cells)[:, -1]
    better = cells[:, :2].max(axis=1, keepdims=True)
    tests = {
        "NTG below 0 where the oracle's is": (ntg < 0, ours < 0),
        "NTG below 0 where the oracle's is below -.02": (ntg < 0, ours < -0.02),
        "at most .01 below the better of target alone and no gate": (
            gated >= better - 0.01,
            np.ones(len(cells), dtype=bool),
        ),
    }
    rows = [
        [name, str(asked.sum()), *(str(n) for n in holds[asked].sum(axis=0))]
        for name, (holds, asked) in tests.items()
    ]
    return ["of all rows with all columns", "asked", *every[0].titles], rows


def weights(every):
    """Return the table of what the gate makes of clean and corrupt rows."""
    head = [
        "set", "noise", "gate", "AUC clean / corrupt", "AUC right / wrong label",
        "weight of clean", "weight of corrupt",
    ]  # fmt: skip
    fields = "auc_any", "auc_label", "weight_clean", "weight_corrupt"
    rows = []
    for results, noise, gate in product(every, NOISE, (1, 2, 3)):
        setting = "no matching", gate, "transfer", noise
        found = [list(results.by_seed(*setting, field=f).values()) for f in fields]
        if found[0]:
            start = [results.data, NAMES[noise], GATES[gate][0]]
            rows.append(start + [mean(values) for values in found])
    return head, rows


def ablations(every):
    """Return the table of DANN's variants."""
    variants = {"DANN": ("DANN", 0), "DANN, discriminator": ("DANN", 1)}
    variants |= {name: (name, 0) for name in ABLATIONS} | {"oracle": ("oracle", 0)}
    rows = []
    for title, (method, gate) in variants.items():
        found = [r.by_seed(method, gate, "transfer", "both") for r in every]
        if any(found):
            rows.append([title, *(mean(list(f.values())) for f in found)])
    return ["variant", *(results.data for results in every)], rows


def report(path):
    """Print the tables of what has been run."""
    lines = done(path)
    sets = [name for name in LOADERS if any(key[0] == name for key in lines)]
    shares = sorted({key[5] for key in lines}, key=lambda share: (share < 1, share))
    every = {
        (budget, share): [Results(lines, name, share, budget) for name in sets]
        for budget, share in product(BUDGETS, shares)
    }
    for (budget, share), results in every.items():
        what = f"budget {budget}, {named(share)}"
        table(f"Means over the sets, {what}", *over_sets(results))
        table(f"Counts, {what}", *counts(results))
    for (budget, share), results in every.items():
        for one in results:
            table(f"{one.data}, budget {budget}, {named(share)}", *of_set(one))
    for share in shares:
        results = every[BUDGETS[0], share]
        table(f"Weights of the gate of no matching, {named(share)}", *weights(results))
        table(f"Accuracy of ablations of DANN, {named(share)}", *ablations(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files")
    parser.add_argument("--out", type=Path, required=True, help="CSV of all fits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=LOADERS)
    parser.add_argument("--methods", nargs="+", default=list(NETS), choices=NETS)
    parser.add_argument("--gates", type=int, nargs="+", default=GATES, choices=GATES)
    parser.add_argument("--eps", type=float, nargs="+", default=(0.0, CORRUPTED))
    parser.add_argument("--share", type=float, nargs="+", default=SHARES)
    parser.add_argument("--noise", nargs="+", default=NOISE, choices=NOISE)
    parser.add_argument("--budgets", nargs="+", default=BUDGETS, choices=BUDGETS)
    parser.add_argument("--no-ablation", action="store_true")
    parser.add_argument("--report", action="store_true", help="print tables only")
    args = parser.parse_args()
    if not args.report:
        fill(args)
    report(args.out)


if __name__ == "__main__":
    main()
