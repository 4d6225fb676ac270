"""Does the discriminator gate turn negative transfer of deep nets off?

The protocol of Wang et al. (CVPR 2019): source rows are perturbed with probability
eps, and their labels are replaced by random ones with probability eps (``--noise``
also does one of both alone); half of the target is for training, of which a share
keeps its labels (1 or more: labels per class), the rest for testing. Six methods with
and without gate, each against one and the same net on the target alone, theta(0,T):
the method without gate, whose labeled target rows play the source and whose unlabeled
ones the target. The gate is the paper's, a discriminator alone, or multiplied by the
agreement of a net of the target alone ("with agreement", the library's default). "no
matching" is a net whose features are matched to nothing, so the gate is all it has;
"oracle" is that net on the source rows that are not corrupted: where even it does not
beat the target alone, no gate can. Run::

    python benchmarks/gate.py --data DIR --out gate.csv            # everything
    python benchmarks/gate.py --data DIR --out gate.csv --seeds 1 --eps 0 0.7

Both sides of every gap get the same number of steps ("matched", 30 passes over the
larger domain), or both choose theirs from one grid by two folds of the labeled
*training* rows of the target ("chosen"). Every fit is a line of ``--out`` (columns
``FIELDS``; ``kind`` is "transfer" or "target", ``gate`` a key of ``GATES``); a run that
was stopped goes on where it was. ``--report`` prints the tables of what is there.

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
NO_MATCHING = partial(DANN, match="none")
NETS = METHODS | {"no matching": NO_MATCHING, "oracle": NO_MATCHING}
#: the paper's gate: the discriminator alone
PUBLISHED = {"gate": True, "agreement": False}
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
    0: ("without", {}),
    1: ("with", PUBLISHED),
    2: ("with agreement", {"gate": True}),
}
EPS, SHARES = (0.0, 0.3, 0.7, 0.9), (3.0,)
NOISE, BUDGETS = ("both", "labels", "inputs"), ("matched", "chosen")
#: steps to choose from, and passes of a matched budget
STEPS, PASSES = (30, 100, 300), 30
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
SETS = "W-D", "A-D", "D-A", "mnist usps images", "perturbed digits"
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
    start = time.perf_counter()
    with config_context(enable_metadata_routing=True):
        net.fit(X, y, sample_domain=domain)
    line = {"seconds": round(time.perf_counter() - start, 3)}
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
            for noise, eps in product(args.noise, args.eps):
                if not eps and noise != args.noise[0]:
                    continue  # no noise is the same of every kind
                for method in args.methods:
                    gates = (0,) if method == "oracle" else args.gates
                    for gate in gates:
                        yield (
                            data, method, gate, "transfer", eps, share, seed, noise,
                            budget,
                        )  # fmt: skip
                ablate = share in ABLATION_SHARES and eps in ABLATION_EPS
                if ablate and not args.no_ablation and (noise, budget) == FIRST:
                    for method in ABLATIONS:
                        yield (
                            data,
                            method,
                            0,
                            "transfer",
                            eps,
                            share,
                            seed,
                            noise,
                            budget,
                        )
            if share:
                for method in args.methods:
                    if method != "oracle":
                        yield (
                            data,
                            method,
                            0,
                            "target",
                            0.0,
                            share,
                            seed,
                            "both",
                            budget,
                        )


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
    if not len(values):
        return "-"
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def is_figure(cell):
    """Tell whether a cell of a table holds a number."""
    return cell.removeprefix("-")[:1].isdigit()


def table(title, head, rows):
    """Print the rows that hold a figure as a table in markdown."""
    rows = [row for row in rows if any(map(is_figure, row))]
    if not rows:
        return
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


class Results:
    """The lines of one data set, number of labels and budget, asked for by setting."""

    def __init__(self, lines, data, share, budget):
        self.lines = {
            (key[1], key[2], key[3], key[7] if key[4] else "none", key[6]): line
            for key, line in lines.items()
            if (key[0], key[5], key[8]) == (data, share, budget)
        }
        self.seeds = sorted({key[4] for key in self.lines})
        self.kinds = [
            kind
            for kind in ("none", *NOISE)
            if any(key[2:4] == ("transfer", kind) for key in self.lines)
        ]

    def by_seed(self, method, gate, kind, noise, field="accuracy"):
        """Return the figures of a setting, one per seed, where there are any."""
        setting = method, gate, kind, noise
        found = {seed: self.lines.get((*setting, seed)) for seed in self.seeds}
        return {s: float(r[field]) for s, r in found.items() if r and r[field] != ""}

    def alone(self, method):
        """Return the accuracies of the target alone, one per seed."""
        plain = method if method in METHODS else "no matching"
        return self.by_seed(plain, 0, "target", "none")

    def mean(self, *setting, **field):
        """Return the mean of a setting with its error, as text."""
        return mean(list(self.by_seed(*setting, **field).values()))

    def gaps(self, method, gate, noise):
        """Return the negative transfer gaps of a setting, one per seed."""
        alone, found = self.alone(method), self.by_seed(method, gate, "transfer", noise)
        return [alone[seed] - found[seed] for seed in alone if seed in found]


NAMES = {
    "none": "clean", "both": "labels and inputs", "labels": "labels alone",
    "inputs": "inputs alone",
}  # fmt: skip


def named(share):
    """Name a number of labels."""
    return f"{share:.0f} labels per class" if share >= 1 else f"{share:.0%} labeled"


def gap_of(results, method, gate, noise):
    """Write a gap; where even the oracle does not help, say so."""
    gaps = results.gaps(method, gate, noise)
    oracle = results.gaps("oracle", 0, noise)
    hopeless = oracle and np.mean(oracle) >= 0 and method != "oracle"
    return mean(gaps) + (" (nor the oracle)" if gaps and hopeless else "")


def accuracies(results):
    """Return the table of all nets: accuracy without and with the noise, and NTG."""
    head = ["method", "gate", "target alone"]
    head += [f"accuracy, {NAMES[k]}" for k in results.kinds if k in ("none", "both")]
    head += [f"NTG, {NAMES[k]}" for k in results.kinds]
    rows = []
    for method, gate in product(NETS, GATES):
        row = [method, GATES[gate][0]]
        row.append(mean(list(results.alone(method).values())))
        found = [
            results.mean(method, gate, "transfer", kind)
            for kind in results.kinds
            if kind in ("none", "both")
        ]
        if not any(map(is_figure, found)):
            continue
        gaps = [gap_of(results, method, gate, kind) for kind in results.kinds]
        rows.append(row + found + gaps)
    return head, rows


def weights(results):
    """Return the table of what the gate alone makes of clean and corrupt rows."""
    head = [
        "noise", "gate", "AUC clean / corrupt", "AUC right / wrong label",
        "weight of clean", "weight of corrupt",
    ]  # fmt: skip
    fields = "auc_any", "auc_label", "weight_clean", "weight_corrupt"
    rows = [
        [NAMES[kind], GATES[gate][0]]
        + [results.mean("no matching", gate, "transfer", kind, field=f) for f in fields]
        for kind, gate in product(results.kinds, (1, 2))
    ]
    return head, rows


def ablations(results):
    """Return the table of DANN's variants."""
    variants = {"DANN": ("DANN", 0), "DANN with gate": ("DANN", 1)}
    variants |= {name: (name, 0) for name in ABLATIONS} | {"oracle": ("oracle", 0)}
    rows = [
        [title, results.mean(*net, "transfer", "both")]
        for title, net in variants.items()
    ]
    return ["variant", "accuracy"], rows


def over_sets(every):
    """Return the table of NTGs, means over the sets."""
    kinds = [k for k in NAMES if any(k in results.kinds for results in every)]
    head = ["method", "gate", *[f"NTG, {NAMES[k]}" for k in kinds]]
    rows = []
    for method, gate in product(NETS, GATES):
        gaps = [[r.gaps(method, gate, kind) for r in every] for kind in kinds]
        means = [[np.mean(g) for g in of_kind if g] for of_kind in gaps]
        rows.append([method, GATES[gate][0], *map(mean, means)])
    return head, rows


def report(path):
    """Print the tables of what has been run."""
    lines = done(path)
    sets = [name for name in LOADERS if any(key[0] == name for key in lines)]
    shares = sorted({key[5] for key in lines}, key=lambda share: (share < 1, share))
    for budget, share in product(BUDGETS, shares):
        every = {name: Results(lines, name, share, budget) for name in sets}
        what = f"budget {budget}, {named(share)}"
        table(f"Means over the sets, {what}", *over_sets(list(every.values())))
        for name, results in every.items():
            table(f"{name}, {what}, seeds {results.seeds}", *accuracies(results))
            if budget == BUDGETS[0]:
                table(f"{name}: weights of the gate alone", *weights(results))
                table(f"{name}: ablations of DANN", *ablations(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files")
    parser.add_argument("--out", type=Path, required=True, help="CSV of all fits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=LOADERS)
    parser.add_argument("--methods", nargs="+", default=list(NETS), choices=NETS)
    parser.add_argument("--gates", type=int, nargs="+", default=GATES, choices=GATES)
    parser.add_argument("--eps", type=float, nargs="+", default=(0.0, 0.7))
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
