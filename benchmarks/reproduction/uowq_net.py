"""Q. Zhang et al., UOWQ, with a net instead of a linear model."""

import numpy as np
import torch

from reproduction.registry import (
    Claim,
    Experiment,
    Outcome,
    over_seeds,
    positive,
    text,
    together,
)
from reproduction.uowq import PAPER, grid, load
from sktransfer.deep import TargetOnlyNet, TransferNetClassifier, UOWQNet


def split(y, domain, target, cap, seed):
    """Ten labels per class of the target, test rows, rows of the sources."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(domain == target))
    few = np.concatenate([rows[y[rows] == c][:10] for c in np.unique(y[rows])])
    sources = [
        rng.permutation(np.flatnonzero(domain == k))[:cap]
        for k in np.unique(domain)
        if k != target
    ]
    return few, np.setdiff1d(rows, few), np.concatenate(sources)


def run(cell, folder):
    """Accuracy of every net on one target."""
    torch.set_num_threads(1)
    X, y, domain, _, cap = load(cell["data"], folder)
    few, test, sources = split(y, domain, cell["target"], cap, cell["seed"])
    rows = np.concatenate([sources, few])
    ids = np.where(domain[rows] == cell["target"], -1, domain[rows] + 1)
    common = {"max_epochs": 30, "random_state": cell["seed"], "device": "cpu"}
    nets = {
        "target only": TargetOnlyNet(**{**common, "max_epochs": 300}),
        "all sources": TransferNetClassifier(**common),
        "UOWQ": UOWQNet(**common),
        "UOWQ static": UOWQNet(weighting="static", **common),
    }
    X = X.astype(np.float32)
    return {
        name: float(
            net.fit(X[rows], y[rows], sample_domain=ids).score(X[test], y[test])
        )
        for name, net in nets.items()
    }


EXPERIMENT = Experiment(
    name="uowq-net",
    setting=(
        "As uowq-comparison, with perceptrons of two layers and 30 epochs in place of "
        "logistic regression: UOWQNet updates its weights in every epoch."
    ),
    cells=lambda quick: grid(quick, 3),
    run=run,
)


def gain_over(frame, names):
    parts, answers = [], []
    for name in names:
        gain = over_seeds(frame.assign(gain=frame["UOWQ"] - frame[name]), "gain")
        answers.append(positive(gain))
        parts.append(f"{name} {frame[name].mean():.3f} (gain {text(gain)})")
    ours = f"UOWQNet {frame['UOWQ'].mean():.3f}; " + ", ".join(parts)
    return Outcome(ours, together(answers))


CLAIMS = [
    Claim(
        name="uowq-net",
        paper=PAPER,
        claim="A net with UOWQ weights beats the target alone and all sources.",
        published="Table II, Office-Home: 79.6; target only 45.2, all sources 77.2",
        experiment=EXPERIMENT,
        conclude=lambda frame: gain_over(frame, ("target only", "all sources")),
    ),
    Claim(
        name="uowq-net-dynamic",
        paper=PAPER,
        claim="Weights that are updated in every epoch beat static ones.",
        published="Table V, Office-Home: 79.6 against 75.7",
        experiment=EXPERIMENT,
        conclude=lambda frame: gain_over(frame, ("UOWQ static",)),
    ),
]
