"""Office-Caltech with SURF features: subspace alignment, GFK, TCA, JDA, TJM, CORAL."""

import warnings
from functools import cache
from itertools import pairwise

import numpy as np
import published_protocols
import shallow_methods as benchmark
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC

from reproduction.registry import (
    Claim,
    Experiment,
    Outcome,
    interval,
    over_seeds,
    positive,
    settled,
    text,
    together,
)
from sktransfer.feature import (
    CORAL,
    JDA,
    TCA,
    TJM,
    GeodesicFlowKernel,
    SubspaceAlignment,
)

FILE = "office_caltech10_surf800.npz"
#: no map and subspace alignment, ten draws, as an independent program publishes them
DRAWS = {
    "AC": (21.1, 33.0), "AD": (22.3, 32.2), "AW": (25.4, 31.7), "CA": (20.4, 35.3),
    "CD": (22.5, 36.9), "CW": (20.4, 28.1), "DA": (27.6, 32.5), "DC": (24.8, 30.0),
    "DW": (52.7, 79.5), "WA": (23.1, 32.2), "WC": (19.3, 28.4), "WD": (50.6, 82.9),
}  # fmt: skip
#: all source rows, the collected table: mean over the pairs and every pair
WHOLE = {
    "none": (23.7, 25.8, 25.5, 26.0, 29.8, 25.5, 19.9, 23.0, 59.2, 26.3, 28.5, 63.4),
    "GFK": (41.0, 40.7, 38.9, 40.2, 39.0, 36.3, 30.7, 29.8, 80.9, 30.3, 32.0, 75.6),
    "TCA": (38.2, 38.6, 41.4, 37.8, 37.6, 33.1, 29.3, 30.1, 87.3, 31.7, 32.1, 86.1),
    "JDA": (44.8, 41.7, 45.2, 39.4, 38.0, 39.5, 31.2, 32.8, 89.2, 31.5, 33.1, 89.5),
    "TJM": (46.8, 39.0, 44.6, 39.5, 42.0, 45.2, 30.2, 30.0, 89.2, 31.4, 32.8, 85.4),
}
PAIRS = ("CA", "CW", "CD", "AC", "AW", "AD", "WC", "WA", "WD", "DC", "DA", "DW")


@cache
def load(folder):
    return benchmark.load(folder / FILE)


# --- a few rows per class, many draws -------------------------------------------------


def few_rows(cell, folder):
    """Accuracies of the nearest neighbor and of a linear machine, with maps."""
    (Xs, ys), (Xt, yt) = (load(folder)[letter] for letter in cell["pair"])
    rng = np.random.RandomState(cell["seed"])
    size = 8 if cell["pair"][0] == "D" else 20
    kept = np.concatenate(
        [rng.permutation(np.flatnonzero(ys == c))[:size] for c in np.unique(ys)]
    )
    Xs, ys = Xs[kept], ys[kept]
    dimension = min(80, len(kept) - 1)
    maps = {
        "none": None,
        "SA": SubspaceAlignment(dimension),
        "GFK": GeodesicFlowKernel(20),
        "CORAL": CORAL(0.0, reg=1.0),
    }
    found = {}
    for name, transformer in maps.items():
        Zs, Zt = benchmark.mapped(transformer, Xs, ys, Xt)
        nearest = KNeighborsClassifier(1).fit(Zs, ys)
        found[f"{name}, 1-NN"] = 100 * nearest.score(Zt, yt)
        if name in {"none", "CORAL"}:
            machine = SVC(kernel="linear").fit(Zs, ys)
            found[f"{name}, SVM"] = 100 * machine.score(Zt, yt)
    return {name: float(value) for name, value in found.items()}


FEW = Experiment(
    name="office-caltech-draws",
    setting=(
        "Office-Caltech, SURF features divided by their sum and standardized in each "
        "domain, 12 pairs; 20 source rows per class (8 from DSLR), all target rows "
        "without labels, 1-NN. Subspace alignment with 80 components as in the "
        "published program (one less than the rows from DSLR), GFK with 20; CORAL with "
        "a ridge of 1 also with a linear support vector machine. Published: 10 draws "
        "in the public repository redhat12345/OfficeCaltechDomainAdaptation; the "
        "figures of the papers themselves (Fernando et al. 2013, Sun et al. 2016) were "
        "not at hand."
    ),
    cells=lambda quick: [
        {"pair": pair, "seed": seed}
        for seed in range(1 if quick else 10)
        for pair in PAIRS
    ],
    run=few_rows,
)


def by_pair(frame):
    names = [name for name in frame if name not in {"pair", "seed"}]
    return frame.groupby("pair")[names].mean().loc[list(PAIRS)]


def draws_agree(frame):
    """Each mean within the spread of ten draws of both programs."""
    means, answers, parts = by_pair(frame), [], []
    spread = frame.groupby("pair")[["none, 1-NN", "SA, 1-NN"]].std()
    for column, name in enumerate(("none, 1-NN", "SA, 1-NN")):
        cells = []
        for pair in PAIRS:
            published = DRAWS[pair][column]
            n = len(frame) / len(PAIRS)
            reach = 2.6 * spread.loc[pair, name] * np.sqrt(1 / n + 1 / 10)
            apart = means.loc[pair, name] - published
            answers.append("yes" if abs(apart) < reach else "no")
            cells.append(f"{pair} {means.loc[pair, name]:.1f} ({published:.1f})")
        average = np.mean([DRAWS[pair][column] for pair in PAIRS])
        parts.append(
            f"{name}: mean {means[name].mean():.1f} ({average:.1f}); {', '.join(cells)}"
        )
    return Outcome(
        "Published in brackets. "
        + ". ".join(parts)
        + " (agree: within the 99 % interval of the difference; chance alone puts one "
        f"of {len(answers)} cells or more outside in {1 - 0.99 ** len(answers):.0%} of "
        "such tables)",
        together(answers),
    )


def maps_gain(frame):
    """Every map over the same learner without one."""
    means, answers, parts = by_pair(frame), [], []
    for name, base in (
        ("SA, 1-NN", "none, 1-NN"),
        ("GFK, 1-NN", "none, 1-NN"),
        ("CORAL, 1-NN", "none, 1-NN"),
        ("CORAL, SVM", "none, SVM"),
    ):
        gain = over_seeds(frame.assign(gain=frame[name] - frame[base]), "gain")
        answers.append(positive(gain))
        above = int((means[name] > means[base]).sum())
        parts.append(
            f"{name} {means[name].mean():.1f} over {means[base].mean():.1f}, "
            f"{text(gain, '+.1f')}, {above} of {len(PAIRS)} pairs above"
        )
    return Outcome("; ".join(parts), together(answers))


# --- all source rows, one split -------------------------------------------------------


def whole(cell, folder):
    """Accuracy of a method on one pair."""
    (Xs, ys), (Xt, yt) = (load(folder)[letter] for letter in cell["pair"])
    method, n_classes = cell["method"], len(np.unique(ys))
    if cell["program"] == "dense":
        X = np.vstack([published_protocols.unit(Xs), published_protocols.unit(Xt)])
        function = {"JDA": published_protocols.jda, "TJM": published_protocols.tjm}
        with np.errstate(all="ignore"):
            found = function[method](X, ys)
        return {"accuracy": float(100 * np.mean(found == yt))}
    scaled = make_pipeline(Normalizer(), KNeighborsClassifier(1))
    learner = KNeighborsClassifier(1) if method in {"none", "GFK"} else scaled
    if method not in {"none", "GFK"}:
        Xs, Xt = Normalizer().transform(Xs), Normalizer().transform(Xt)
    transformer = {
        "none": None,
        "GFK": GeodesicFlowKernel(20),
        "TCA": TCA(100, kernel="linear"),
        "JDA": JDA(
            100, estimator=scaled, regularizer="coefficients",
            balance=1 / (1 + n_classes),
        ),
        "TJM": TJM(20),
    }[method]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Zs, Zt = benchmark.mapped(transformer, Xs, ys, Xt)
    return {"accuracy": float(100 * learner.fit(Zs, ys).score(Zt, yt))}


ALL_ROWS = Experiment(
    name="office-caltech-whole",
    setting=(
        "As above with all source rows, one split, rows of length 1 for TCA, JDA and "
        'TJM. "Library": the estimators, JDA in the form of the published table; '
        '"dense": benchmarks/published_protocols.py, which shares no code with it. '
        "Published: the collection of results in the public repository "
        "jindongwang/transferlearning (GFK, TCA, JDA from Long et al., ICCV 2013, TJM "
        "from Tahmoresnezhad and Hashemi 2017). Nothing is drawn; intervals are over "
        "the 12 pairs."
    ),
    cells=lambda quick: [
        {"program": program, "method": method, "pair": pair, "seed": 0}
        for program, methods in (("library", WHOLE), ("dense", ("JDA", "TJM")))
        for method in (("none", "GFK") if quick else methods)
        for pair in PAIRS
        if not (quick and program == "dense")
    ],
    run=whole,
)


def tables_of(frame):
    """Return (program, method) -> accuracies in the order of the pairs."""
    return {
        key: group.set_index("pair")["accuracy"].loc[list(PAIRS)].to_numpy()
        for key, group in frame.groupby(["program", "method"])
    }


def tables_agree(frame):
    """Means within a point; how many cells within two points."""
    answers, parts = [], []
    for (program, method), values in tables_of(frame).items():
        apart = values - np.array(WHOLE[method])
        near = int(np.sum(np.abs(apart) <= 2))
        answers.append("yes" if abs(apart.mean()) <= 1 else "no")
        parts.append(
            f"{method}, {program}: mean {values.mean():.1f} "
            f"({np.mean(WHOLE[method]):.1f}), {near} of {len(PAIRS)} cells within 2 "
            f"points, largest difference {np.abs(apart).max():.1f}"
        )
    return Outcome("Published in brackets. " + "; ".join(parts), together(answers))


def order(frame):
    """Ask for the published order of the means: none, GFK, TCA, JDA; by pairs."""
    found, answers, parts = tables_of(frame), [], []
    names = [
        name for name in ("none", "GFK", "TCA", "JDA") if ("library", name) in found
    ]
    for worse, better in pairwise(names):
        ours = interval(found["library", better] - found["library", worse])
        published = interval(np.subtract(WHOLE[better], WHOLE[worse]))
        answers.append(positive(ours))
        parts.append(
            f"{better} minus {worse} {settled(ours, len(PAIRS), 'pairs', '+.1f')} "
            f"(published {text(published, '+.1f')})"
        )
    return Outcome(
        "Intervals over pairs, of which there are no more: "
        + "; ".join(parts)
        + ". The published figures do not tell TCA from GFK either; this library's TCA "
        "is two points above the published one, which is what JDA's lead lacks",
        together(answers),
    )


CLAIMS = [
    Claim(
        name="office-draws",
        paper="Fernando et al. 2013, subspace alignment",
        claim="Subspace alignment has the published accuracies on Office-Caltech.",
        published="In brackets in our figure; means 27.5 without a map, 40.2 with",
        experiment=FEW,
        conclude=draws_agree,
    ),
    Claim(
        name="office-maps",
        paper="Fernando et al. 2013; Gong et al. 2012; Sun et al. 2016",
        claim="Subspace alignment, GFK and CORAL beat the learner without a map.",
        published="Subspace alignment 40.2 over 27.5 (1-NN, 12 of 12 pairs)",
        experiment=FEW,
        conclude=maps_gain,
    ),
    Claim(
        name="office-whole",
        paper="Long et al. 2013, JDA",
        claim="GFK, TCA, JDA and TJM have the published accuracies on Office-Caltech.",
        published="Means: 1-NN 31.4, GFK 42.9, TCA 43.6, JDA 46.3, TJM 46.3",
        experiment=ALL_ROWS,
        conclude=tables_agree,
        reason=(
            "the table's TJM has eigenvectors of another scale, with which the dense "
            "program is at the published mean, and its TCA another form of the "
            "penalty; its GFK has a dimension by a rule, where ours is 20. "
            "benchmarks/shallow_methods.md has these forms side by side"
        ),
    ),
    Claim(
        name="office-order",
        paper="Long et al. 2013, JDA",
        claim="JDA is better than TCA, that than GFK, and that than no map.",
        published="Means: JDA 46.3, TCA 43.6, GFK 42.9, 1-NN 31.4",
        experiment=ALL_ROWS,
        conclude=order,
    ),
]
