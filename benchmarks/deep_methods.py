"""Which of the deep methods pay on tables, beside fine-tuning and a gate?

    python benchmarks/deep_methods.py --data DIR --out lines.csv
    python benchmarks/deep_methods.py --data DIR --out lines.csv --guard --draws 1
    python benchmarks/deep_methods.py --out lines.csv --table

For each method and each set of DIR/INDEX.md (tune and proof) some draws, those of
``remaining_methods.py``: up to 300 source rows of at most four domains, 3 labels per
class of the target (15 rows for regression), 200 unlabeled rows, up to 500 to test on.
Every net has hidden layers of 32 and 16 units and takes 200 steps of batches of 64
rows, the target alone, too. A run goes on where the lines end; draws come one after the
other, so that what is there is balanced.

"hurt" is the share of the runs in which the error with the sources is larger than that
of the same net on the target alone, "mean" the mean relative fall of the error.
``--guard`` fits each method inside of a ``TransferGuard`` of three folds, too: "kept"
is the share of the falls that is left.

A method is a line of ``METHODS``: a function that makes it for classes, and one for
real labels or None. Both get the settings that all share.
"""

import argparse
import csv
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import remaining_methods as sets
import sklearn
import torch
from torch import nn

from sktransfer import deep
from sktransfer.safe import TransferGuard

CLASSES = {
    "tune": ["heart_4sites", "gas_drift_batches", "amazon_reviews_400"],
    "proof": ["german_credit", "pima_diabetes", "wisdm_users", "mushroom_stalk"],
}
REALS = {
    "tune": ["abalone", "california_housing", "auto_mpg"],
    "proof": ["bike_dc_seoul", "computer_survey190", "cmapss_fd001_fd003"],
}
SETTINGS = {
    "max_steps": 200, "batch_size": 64, "module__hidden_units": (32, 16),
    "device": "cpu", "random_state": 0,
}  # fmt: skip
FIELDS = ["part", "set", "draw", "method", "guard", "error"]
ALONE = "target alone"


def trans_norm(n_features):
    """Make the extractor of all nets, with TransNorm after each layer."""
    layers = []
    for n_in, n_out in pairwise((n_features, 32, 16)):
        layers += [nn.Linear(n_in, n_out), deep.TransNorm1d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)


def both(name, regressor, **own):
    """Return makers of a net for classes and for real labels."""
    made = getattr(deep, name), regressor and getattr(deep, regressor)
    return [
        cls and (lambda cls=cls, **settings: cls(**settings, **own)) for cls in made
    ]


def tuned(**own):
    return both("FineTuning", "FineTuningRegressor", **own)


def aligned(alignment, reals=False, **own):
    name = "TransferNetRegressor" if reals else None
    return both("TransferNetClassifier", name, alignment=alignment, **own)


def with_trans_norm(**settings):
    settings = {k: v for k, v in settings.items() if not k.startswith("module__")}
    return deep.DANN(trans_norm, **settings)


def tasks(weighting):
    return both("MultiTaskNetClassifier", "MultiTaskNetRegressor", weighting=weighting)


def source_free(name, **own):
    """Return the maker of an adaptation; the nets are trained with smoothed labels."""

    def make(**settings):
        net = deep.TransferNetClassifier(criterion__label_smoothing=0.1, **settings)
        shared = {k: settings[k] for k in ("max_steps", "batch_size", "random_state")}
        return getattr(deep, name)(net, **shared, **own)

    return make, None


#: name -> makers for classes and for real labels
METHODS = {
    ALONE: both("TargetOnlyNet", "TargetOnlyNetRegressor"),
    "pooled": both("TransferNetClassifier", "TransferNetRegressor"),
    "fine-tuning": tuned(),
    "gate without matching": both(
        "DANN",
        "DANNRegressor",
        gate=True,
        agreement=False,
        ensemble=False,
        match="none",
    ),
    "DANN": both("DANN", "DANNRegressor"),
    "fine-tuning, new head": tuned(keep_head=False),
    "fine-tuning, head alone": tuned(trainable="head"),
    "fine-tuning, last block": tuned(trainable=1),
    "fine-tuning, slow extractor": tuned(lr_ratio=0.1),
    "fine-tuning, path": tuned(path="auto"),
    "fine-tuning, L2-SP": tuned(penalties=[deep.StartPointPenalty()]),
    "fine-tuning, BSS": tuned(penalties=[deep.BatchSpectralShrinkage()]),
    "fine-tuning, adversarial": tuned(penalties=[deep.AdversarialTraining()]),
    "OTCE fine-tuning": both("OTCEFineTuning", None),
    "DANN, BSP": both(
        "DANN", "DANNRegressor", penalties=[deep.BatchSpectralPenalization()]
    ),
    "DANN, TransNorm": (with_trans_norm, None),
    "MADA": aligned(deep.MultiAdversarialAlignment()),
    "M3SDA": aligned(deep.MomentMatchingAlignment(), reals=True, mu=0.01),
    "M3SDA, beta": aligned(deep.MomentMatchingAlignment(beta=True), mu=0.01),
    "WADN": aligned(deep.ConditionalWassersteinAlignment()),
    "UOWQNet": both("UOWQNet", None),
    "tasks, equal": tasks("equal"),
    "tasks, uncertainty": tasks("uncertainty"),
    "tasks, MGDA": tasks("mgda"),
    "tasks, gradient vaccine": tasks("gradvac"),
    "tasks, CAGrad": tasks("cagrad"),
    "tasks, UOWQ": tasks("uowq"),
    "SHOT": source_free("SHOT"),
    "source-free, DECISION": source_free("SourceFreeNets"),
    "source-free, DATE": source_free("SourceFreeNets", weights="date"),
    "source-free, MSFDA": source_free(
        "SourceFreeNets", pseudo_label_share=0.5, feature_alignment=1.0
    ),
    "selective autoencoder": both("SelectiveAutoencoder", None),
    "distant feature fusion": both(
        "SelectiveAutoencoder", None, keep=1, mmd_weight=1.0
    ),
}


def error(maker, run, regression, guard):
    """Return the error on the test rows."""
    X, y, domain, X_test, y_test, _ = run
    net = maker(**SETTINGS)
    net = TransferGuard(net, cv=3) if guard else net
    answer = net.fit(X, y, sample_domain=domain).predict(X_test)
    wrong = (answer - y_test) ** 2 if regression else answer != y_test
    return float(np.mean(wrong))


def cells(args):
    """Yield (part, set, draw, regression) in a balanced order."""
    for draw in range(args.draws):
        for part in args.parts:
            for regression, group in ((False, CLASSES), (True, REALS)):
                for name in group[part]:
                    yield part, name, draw, regression


def read(paths):
    """Return the lines of files, by key."""
    lines = []
    for path in paths:
        if path.exists():
            with path.open() as file:
                lines += csv.DictReader(file)
    return {tuple(line[k] for k in FIELDS[:-1]): float(line["error"]) for line in lines}


def fill(args):
    """Fit what has no line yet; new lines go to the first file."""
    known, tables, out = read(args.out), {}, args.out[0]
    new = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(FIELDS)
        for part, name, draw, regression in cells(args):
            for method in args.methods:
                maker = METHODS[method][regression]
                key = part, name, str(draw), method, str(int(args.guard))
                skip = args.guard and method == ALONE
                if key in known or maker is None or skip:
                    continue
                if name not in tables:
                    tables[name] = sets.read(args.data, part, name)
                run = sets.draw(*tables[name], draw, regression)
                found = error(maker, run, regression, args.guard)
                writer.writerow([*key, f"{found:.6g}"])
                file.flush()


def table(lines):
    """Print what every method brings."""
    print("| method | sets | hurt | mean fall | runs | guarded: hurt | kept |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    groups = [(kind, part) for kind in ("classes", "reals") for part in CLASSES]
    for method in [name for name in METHODS if name != ALONE]:
        for kind, part in groups:
            names = (REALS if kind == "reals" else CLASSES)[part]
            falls, guarded, plain = [], [], []
            for key, value in lines.items():
                alone = lines.get((*key[:3], ALONE, "0"))
                wanted = key[0] == part and key[1] in names and key[3:] == (method, "0")
                if not wanted or alone is None:
                    continue
                fall = 1 - value / alone if alone else float(-(value > 0))
                falls.append(fall)
                behind = lines.get((*key[:4], "1"))
                if behind is not None:
                    guarded.append(1 - behind / alone if alone else -(behind > 0))
                    plain.append(fall)
            if falls:
                print(f"| {method} | {kind}, {part} | {_row(falls, guarded, plain)} |")


def _row(falls, guarded, plain):
    hurt = np.mean(np.array(falls) < 0)
    cells = [f"{hurt:.0%}", f"{np.mean(falls):+.1%}", str(len(falls)), "", ""]
    if guarded:
        gains = np.maximum(plain, 0).sum()
        kept = np.maximum(np.minimum(guarded, plain), 0).sum() / gains if gains else 0
        cells[3:] = f"{np.mean(np.array(guarded) < 0):.0%}", f"{kept:.0%}"
    return " | ".join(cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True, nargs="+")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--parts", nargs="*", default=["tune", "proof"])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    sklearn.set_config(enable_metadata_routing=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if args.data:
        fill(args)
    if args.table or not args.data:
        table(read(args.out))


if __name__ == "__main__":
    main()
