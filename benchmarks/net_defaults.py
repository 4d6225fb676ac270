"""Which defaults of the adversarial nets are best, and what do they bring elsewhere?

Choices are made on the sets of ``TUNE`` and on generated moons alone, one after the
other, each with those before it in force: momentum of the optimizer and number of
steps, then form and matching of the gate, then the discriminator (layers, rate) and the
rate of the extractor. The candidate with the best mean accuracy over tasks wins; a
later one in the list must be better by more than .005 to replace an earlier one. What
is chosen is then run on the sets of ``PROOF``, which chose nothing, and on bundled
digits::

    python benchmarks/net_defaults.py tune --data DIR --out fits.csv
    python benchmarks/net_defaults.py proof --data DIR --out fits.csv
    python benchmarks/net_defaults.py report --out fits.csv

A task is a source (500 rows at most, clean or with 70 % of the rows corrupted: features
shuffled within a row, labels random), 300 target rows of which 3 per class are labeled
(or none), and up to 500 other target rows for the test. Every net of a task takes the
same number of steps. Fits that are in the file are not run again.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from sktransfer.datasets import stack_domains
from sktransfer.deep import DAN, DANN, DeepCORAL, TargetOnlyNet, TransferNetClassifier

FIELDS = ["part", "task", "net", "seed", "accuracy", "seconds"]
#: file, source, target, scale rows to length 1
TUNE = {
    "office": ("office10_awd_googlenet1024", "webcam", "amazon", True),
    "reviews": ("amazon_reviews_400", "books", "kitchen", True),
    "mnist-usps": ("digits_mnist_usps_256", "mnist", "usps", True),
    "gas": ("gas_drift_batches", "batch1", "batch4", False),
    "heart": ("heart_4sites", "cleveland", "va", False),
}
PROOF = {
    "coil": ("proof/coil20_1024", 0, 1, True),
    "mushroom": ("proof/mushroom_stalk", 0, 1, False),
    "wisdm": ("proof/wisdm_users", 0, 1, False),
    "credit": ("proof/german_credit", 0, 1, False),
    "pima": ("proof/pima_diabetes", 0, 1, False),
}
MOMENTUM = {"optimizer__betas": (0.9, 0.999)}
NO_MOMENTUM = {"optimizer__betas": (0.0, 0.99)}
STEPS = (300, 1000)


def load(folder, name, source, target, unit):
    """Return source and target rows of a file."""
    with np.load(folder / f"{name}.npz", allow_pickle=True) as z:
        if "X" in z:
            X = z["X"].astype(np.float32)
        else:
            parts = z["X_data"], z["X_indices"], z["X_indptr"]
            X = sparse.csr_matrix(parts, shape=z["X_shape"]).toarray().astype("f")
        y, domain = z["y"].astype(int), z["domain"]
        names = [str(n) for n in z["domain_names"]]
    X = normalize(X) if unit else X
    at = [names.index(d) if isinstance(d, str) else d for d in (source, target)]
    return [(X[domain == k], y[domain == k]) for k in at]


def load_halves():
    """Return two halves of the bundled digits."""
    X, y = load_digits(return_X_y=True)
    cut = train_test_split(X.astype("f"), y, test_size=0.5, stratify=y, random_state=0)
    return [(cut[0], cut[2]), (cut[1], cut[3])]


def rotated_moons(seed, n=300, degrees=35):
    """Return two moons, and two more that are turned around the origin."""
    X, y = make_moons(2 * n, noise=0.1, random_state=seed)
    turn = np.deg2rad(degrees)
    R = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    X[n:] = X[n:] @ R
    return [(X[:n].astype("f"), y[:n]), (X[n:].astype("f"), y[n:])]


def draw(domains, eps, per_class, seed):
    """Return the rows of a task, and the test."""
    rng = np.random.RandomState(seed)
    (X_source, y_source), (X, y) = domains
    chosen = rng.permutation(len(y_source))[:500]
    X_source, y_source = X_source[chosen].copy(), y_source[chosen].copy()
    for row in np.flatnonzero(rng.uniform(size=len(y_source)) < eps):
        X_source[row] = rng.permutation(X_source[row])
    hit = rng.uniform(size=len(y_source)) < eps
    y_source[hit] = rng.choice(np.unique(y_source), hit.sum())
    order = rng.permutation(len(y))
    n_train = min(300, len(y) // 2)
    train, test = order[:n_train], order[n_train : n_train + 500]
    known = [np.flatnonzero(y[train] == c)[:per_class] for c in np.unique(y[train])]
    labeled = np.isin(np.arange(n_train), np.concatenate(known))
    data = stack_domains(
        {"source": (X_source, y_source)},
        target=(X[train][labeled], y[train][labeled]) if labeled.any() else None,
        unlabeled=X[train][~labeled],
    )
    return data, X[test], y[test]


def tasks(part, folder):
    """Yield ``(name, domains of a seed, eps, labels per class)``."""
    sets = TUNE if part == "tune" else PROOF
    for name, source in sets.items():
        domains = load(folder, *source)
        for eps in (0.0, 0.7):
            yield f"{name}, {eps:.0%} corrupted", lambda seed, d=domains: d, eps, 3
        if name in ("reviews", "mnist-usps", "coil", "mushroom"):
            yield f"{name}, no labels", lambda seed, d=domains: d, 0.0, 0
    if part == "tune":
        yield "moons, no labels", rotated_moons, 0.0, 0
    else:
        halves = load_halves()
        for eps in (0.0, 0.7):
            yield f"digits, {eps:.0%} corrupted", lambda seed: halves, eps, 3


class Fits:
    """Accuracies of nets on tasks; each is computed once and kept in a file.

    Parameters
    ----------
    path : Path
        CSV of all fits.
    part : {"tune", "proof"}
        Which sets.
    folder : Path or None
        Where the data are; None: only read.
    seeds : int
        Draws of each task.
    """

    def __init__(self, path, part, folder, seeds):
        self.path, self.part, self.seeds = path, part, seeds
        self.known = {}
        if path.exists():
            with path.open() as file:
                for r in csv.DictReader(file):
                    key = r["part"], r["task"], r["net"], int(r["seed"])
                    self.known[key] = float(r["accuracy"])
        self.tasks = list(tasks(part, folder)) if folder else []

    def mean(self, name, net, *, labeled_only=False):
        """Return the mean accuracy of a net over tasks and seeds."""
        found = []
        for task, domains, eps, per_class in self.tasks:
            if labeled_only and not per_class:
                continue
            for seed in range(self.seeds):
                key = self.part, task, name, seed
                if key not in self.known:
                    self.known[key] = self._fit(key, net, domains(seed), eps, per_class)
                found.append(self.known[key])
        return float(np.mean(found))

    def _fit(self, key, net, domains, eps, per_class):
        data, X_test, y_test = draw(domains, eps, per_class, key[3])
        start = time.process_time()
        if isinstance(net(), TargetOnlyNet) and not per_class:
            accuracy = np.nan
        else:
            fitted = net().set_params(random_state=key[3], early_stopping=False)
            fitted.fit(data.X, data.y, sample_domain=data.sample_domain)
            accuracy = round(fitted.score(X_test, y_test), 4)
        seconds = round(time.process_time() - start, 2)
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(FIELDS)
            writer.writerow([*key, accuracy, seconds])
        return accuracy


def choose(fits, title, candidates, **options):
    """Print the candidates with their means; return the name of the best."""
    best, most = None, -np.inf
    print(f"\n{title}")
    for name, net in candidates.items():
        mean = fits.mean(name, net, **options)
        print(f"  {mean:.4f}  {name}", flush=True)
        if mean > most + 0.005:
            best, most = name, mean
    print(f"  -> {best}")
    return best


def tune(fits):
    """Choose the defaults, one after the other."""
    momenta = {"no momentum": NO_MOMENTUM, "momentum": MOMENTUM}
    settings = {
        f"{name}, {steps} steps": kind | {"max_steps": steps}
        for name, kind in momenta.items()
        for steps in STEPS
    }
    for title, cls in ("target alone", TargetOnlyNet), ("both", TransferNetClassifier):
        choose(
            fits,
            f"{title}: steps (for comparison)",
            {f"{title}, {s} steps": lambda c=cls, s=s: c(max_steps=s) for s in STEPS},
            labeled_only=cls is TargetOnlyNet,
        )
    first = choose(
        fits,
        "DANN: momentum and steps",
        {k: lambda v=v: DANN(**v) for k, v in settings.items()},
    )
    base = settings[first]
    forms = {
        "smoothed": {"gate_smoothing": 1.0, "max_weight": 10.0},
        "published": {"gate_smoothing": 0.0, "max_weight": np.inf},
        "smoothed, bounded 2": {"gate_smoothing": 1.0, "max_weight": 2.0},
    }
    gates = {
        f"{first}, gate {k}, matching {m}": base | v | {"gate": True, "match": m}
        for k, v in forms.items()
        for m in ("none", "both")
    }
    choose(
        fits,
        "DANN with gate: matching and form",
        {k: lambda v=v: DANN(**v) for k, v in gates.items()},
        labeled_only=True,
    )

    def rates(**factors):
        groups = [(f"{k}*", {"lr": 1e-3 * v}) for k, v in factors.items()]
        return {"optimizer__param_groups": groups}

    parts = {
        first: {},
        f"{first}, 64-64 units": {"discriminator_units": (64, 64)},
        f"{first}, discriminator x 5": rates(discriminator=5.0),
        f"{first}, extractor x 0.1": rates(extractor=0.1),
    }
    choose(
        fits,
        "DANN: discriminator and rates",
        {k: lambda v=v: DANN(**(base | v)) for k, v in parts.items()},
    )


#: reported on the proof sets, all with the library's defaults
FROZEN = {
    "target alone": TargetOnlyNet,
    "no matching": TransferNetClassifier,
    "gate alone": lambda: TransferNetClassifier(gate=True),
    "DANN": DANN,
    "DANN with gate": lambda: DANN(gate=True, match="both"),
    "DAN": DAN,
    "DAN with gate": lambda: DAN(gate=True),
    "DeepCORAL": DeepCORAL,
    "DeepCORAL with gate": lambda: DeepCORAL(gate=True),
}


def proof(fits):
    """Run what was chosen where nothing was chosen."""
    for name, net in FROZEN.items():
        print(f"{fits.mean(name, net):.4f}  {name}", flush=True)


def report(path):
    """Print the accuracies on the proof sets as a table in markdown."""
    known = Fits(path, "proof", None, 0).known
    known = {key[1:]: v for key, v in known.items() if key[0] == "proof"}
    names = [n for n in FROZEN if any(key[1] == n for key in known)]
    print("| task | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for task in dict.fromkeys(key[0] for key in known):
        means = []
        for name in names:
            found = [v for (t, n, _), v in known.items() if (t, n) == (task, name)]
            means.append(np.mean(found) if found else np.nan)
        shown = ["-" if np.isnan(m) else f"{m:.3f}" for m in means]
        print(f"| {task} | " + " | ".join(shown) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["tune", "proof", "report"])
    parser.add_argument("--data", type=Path, help="folder of .npz files")
    parser.add_argument("--out", type=Path, required=True, help="CSV of all fits")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    if args.what == "report":
        report(args.out)
        return
    fits = Fits(args.out, args.what, args.data, args.seeds)
    (tune if args.what == "tune" else proof)(fits)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
