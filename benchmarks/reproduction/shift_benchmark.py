"""Y. Lalou et al., "SKADA-Bench", its simulated shifts."""

import warnings

import numpy as np
import simulated_shifts as benchmark
from sklearn import config_context
from sklearn.base import clone
from sklearn.svm import SVC

from reproduction.registry import (
    Claim,
    Experiment,
    Outcome,
    interval,
    positive,
    settled,
    text,
    together,
)
from sktransfer.model_selection import (
    circular_validation_scorer,
    importance_weighted_scorer,
    mixval_scorer,
)

PAPER = "Lalou et al. 2024, SKADA-Bench"
#: published accuracies without target labels, by the best criterion
WITHOUT = {
    "KLIEP": (0.88, 0.86, 0.65, 0.18),
    "KMM": (0.89, 0.86, 0.66, 0.17),
    "LabelShiftClassifier": (0.88, 0.86, 0.64, 0.20),
    "CORAL": (0.74, 0.62, 0.81, 0.11),
    "OptimalTransportMap, entropic": (0.71, 0.60, 0.82, 0.12),
    "SubspaceAlignment": (0.74, 0.68, 0.80, 0.11),
    "TCA": (0.55, 0.50, 0.51, 0.58),
}
METHODS = ("source only", "target only", *WITHOUT)
SCORERS = {
    "circular": circular_validation_scorer,
    "importance-weighted": importance_weighted_scorer,
    "MixVal": mixval_scorer,
}
KINDS = {
    "weights": ("KLIEP", "KMM"),
    "labels": ("LabelShiftClassifier",),
    "maps": ("CORAL", "OptimalTransportMap, entropic"),
    "subspaces": ("TCA",),
}
#: the kind of method that each shift is made for
MADE_FOR = {
    "covariate": "weights",
    "target": "labels",
    "conditional": "maps",
    "subspace": "subspaces",
}
TOLERANCE = 0.05


def fitted(candidate, source, target, rows):
    """Fit on the sources and on target rows without labels."""
    (Xs, ys), (Xt, yt) = source, target
    if candidate is None:
        return SVC().fit(Xt[rows], yt[rows])
    X = np.concatenate([Xs, Xt[rows]])
    y = np.r_[ys.astype(float), np.full(rows.sum(), np.nan)]
    domain = np.repeat([1, -1], [len(Xs), rows.sum()])
    return clone(candidate).fit(X, y, sample_domain=domain)


def compare(cell, folder):
    """Accuracies on test rows of the candidates that each criterion chooses."""
    Xs, ys, Xt, yt = benchmark.draw(cell["shift"], cell["seed"])
    rng = np.random.RandomState(cell["seed"])
    train, valid, test = benchmark.parts(len(yt), rng)
    held = benchmark.parts(len(ys), rng)[2]
    source, target = (Xs[~held], ys[~held]), (Xt, yt)
    candidates = benchmark.methods()[cell["method"]]
    chosen = dict.fromkeys(("by labels", *SCORERS), 0)
    with warnings.catch_warnings(), config_context(enable_metadata_routing=True):
        warnings.simplefilter("ignore")
        if len(candidates) > 1:
            X = np.concatenate([Xs[held], Xt[valid]])
            y = np.r_[ys[held].astype(float), np.full(valid.sum(), np.nan)]
            domain = np.repeat([1, -1], [held.sum(), valid.sum()])
            models = [fitted(c, source, target, train) for c in candidates]
            right = [np.mean(m.predict(Xt[valid]) == yt[valid]) for m in models]
            chosen["by labels"] = int(np.argmax(right))
            for name, scorer in SCORERS.items():
                scores = [scorer(m, X, y, sample_domain=domain) for m in models]
                chosen[name] = int(np.argmax(scores))
        found = {}
        for k in set(chosen.values()):
            model = fitted(candidates[k], source, target, train | valid)
            found[k] = float(np.mean(model.predict(Xt[test]) == yt[test]))
    return {name: found[k] for name, k in chosen.items()}


SHIFTS = Experiment(
    name="simulated-shifts",
    setting=(
        "The four simulated shifts of the benchmark as benchmarks/simulated_shifts.py "
        "draws them, an RBF support vector machine, the candidates of that program: of "
        "each method the one is taken that is best by target labels, or by a criterion "
        "without target labels (circular validation, importance-weighted risk, MixVal) "
        "on a sixth of the target's rows and a fifth of the source's. Published: "
        "the results page of the benchmark, version 1.0.0; its grids hold more "
        "settings, which is why maps chosen by labels are better there (see "
        "benchmarks/simulated_shifts.md, with all methods). TCA is left out of the "
        "agreement: skada solves another eigenproblem."
    ),
    cells=lambda quick: [
        {"shift": shift, "method": method, "seed": seed}
        for seed in range(2 if quick else 10)
        for method in METHODS
        for shift in benchmark.SHIFTS
    ],
    run=compare,
    simulated=True,
)


def agrees(frame):
    """Accuracies where labels choose among equal candidates, or where none choose."""
    answers, parts, largest = [], [], 0.0
    for method in METHODS:
        if method == "TCA":
            continue
        by, published = "by labels", benchmark.PUBLISHED[method]
        if method in ("CORAL", "OptimalTransportMap, entropic", "SubspaceAlignment"):
            by, published = "circular", WITHOUT[method]
        cells = []
        for shift, value in zip(benchmark.SHIFTS, published, strict=True):
            kept = frame[(frame["method"] == method) & (frame["shift"] == shift)]
            mean, low, high = interval(kept[by])
            near = low - TOLERANCE < value < high + TOLERANCE
            answers.append("yes" if near else "no")
            largest = max(largest, abs(mean - value))
            cells.append(f"{mean:.2f} ({value:.2f})")
        parts.append(f"{method} {', '.join(cells)}")
    return Outcome(
        "Covariate, target, conditional and subspace shift, published in brackets: "
        + "; ".join(parts)
        + f" (agree: within {TOLERANCE} of the interval; largest difference of the "
        f"means {largest:.2f}). LabelShiftClassifier counts predicted classes, the "
        "published method matches kernel means of the inputs",
        together(answers),
    )


def gain_of(frame, shift, methods, by="by labels"):
    """Gain over the source alone, mean of some methods, with an interval over draws."""
    kept = frame[frame["shift"] == shift]
    table = kept.pivot_table(index="seed", columns="method", values=by)
    return interval(table[list(methods)].mean(axis=1) - table["source only"])


def right_kind(frame):
    """Say whether the kind that a shift is made for gains, and gains most."""
    answers, parts = [], []
    for shift, right in MADE_FOR.items():
        gains = {kind: gain_of(frame, shift, ms) for kind, ms in KINDS.items()}
        table = frame[frame["shift"] == shift].pivot_table(
            index="seed", columns="method", values="by labels"
        )
        own = table[list(KINDS[right])].mean(axis=1)
        answers.append(positive(gains[right]))
        for kind, methods in KINDS.items():
            if kind != right:
                gap = interval(own - table[list(methods)].mean(axis=1))
                answers.append(positive(gap))
            if (shift, kind) == ("covariate", "subspaces"):
                lead = tuple(-value for value in (gap[0], gap[2], gap[1]))
        shown = {kind: text(gain) for kind, gain in gains.items()}
        shown[right] = settled(gains[right], len(table), "draws")
        listed = ", ".join(f"{kind} {line}" for kind, line in shown.items())
        parts.append(f"{shift}: {listed}")
    return Outcome(
        "Gain over the source alone, settings by labels. "
        + "; ".join(parts)
        + ". Under covariate shift TCA minus the weights is "
        + settled(lead, len(own), "draws")
        + "; the published 0.40 is that of another eigenproblem, which skada solves",
        together(answers),
    )


def labels_choose_better(frame):
    """Compare each criterion without labels with a choice by labels."""
    kept = frame[~frame["method"].isin(("source only", "target only"))]
    chosen = kept[kept["method"].isin(several())]
    answers, parts = [], []
    for name in SCORERS:
        loss = interval(
            chosen.assign(loss=chosen["by labels"] - chosen[name])
            .groupby("seed")["loss"].mean()
        )  # fmt: skip
        answers.append(positive(loss))
        parts.append(f"{name} {text(loss)}")
    base = frame[frame["method"] == "source only"].set_index(["shift", "seed"])
    hurt = [
        np.mean(
            kept[name].to_numpy()
            < base["by labels"].loc[
                list(zip(kept["shift"], kept["seed"], strict=True))
            ].to_numpy()
        )
        for name in ("by labels", *SCORERS)
    ]  # fmt: skip
    return Outcome(
        f"Loss of accuracy against a choice by labels, mean of {len(several())} "
        f"methods with several settings: {', '.join(parts)}. Below the source alone: "
        f"{hurt[0]:.0%} of the runs by labels, "
        + ", ".join(
            f"{share:.0%} by {name}"
            for name, share in zip(SCORERS, hurt[1:], strict=True)
        ),
        together(answers),
    )


def several():
    """Return the methods with several candidates."""
    return [name for name in WITHOUT if len(benchmark.methods()[name]) > 1]


CLAIMS = [
    Claim(
        name="skada-table",
        paper=PAPER,
        claim="Accuracies under four simulated shifts are those published.",
        published="In brackets in our figure",
        experiment=SHIFTS,
        conclude=agrees,
    ),
    Claim(
        name="skada-kinds",
        paper=PAPER,
        claim="Under each shift the kind of method that is made for it gains most.",
        published=(
            "By labels, source only 0.88, 0.85, 0.66, 0.19: KLIEP and KMM 0.89 "
            "(covariate), label shift 0.93 (target), CORAL and transport 0.82 "
            "(conditional), TCA 0.58 and TSL 0.86 (subspace)"
        ),
        experiment=SHIFTS,
        conclude=right_kind,
    ),
    Claim(
        name="skada-labels",
        paper=PAPER,
        claim="Settings chosen without target labels are worse than by labels.",
        published=(
            "Entropic transport 0.89, 0.61, 0.82, 0.47 by labels and 0.71, 0.60, 0.82, "
            "0.12 without; real tasks: 53 to 72 % of the runs below the source alone "
            "without labels, 44 % with"
        ),
        experiment=SHIFTS,
        conclude=labels_choose_better,
    ),
]
