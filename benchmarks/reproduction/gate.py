"""Z. Wang et al., CVPR 2019: the discriminator gate of six deep methods."""

import csv
from functools import cache

import gate as benchmark
import numpy as np
import torch

from reproduction.negative_transfer import PAPER, rises, with_labels
from reproduction.registry import (
    Claim,
    Experiment,
    Outcome,
    interval,
    over_seeds,
    positive,
    power,
    settled,
    text,
    together,
)

DIGITS = "perturbed digits"
OFFICE = ("W-D", "A-D", "D-A")
SEEDS = {DIGITS: 5} | dict.fromkeys(OFFICE, 8)
#: at most three labels per class, as in the paper's table 2
FEW = 3.0
WEIGHTS = ("weight_clean", "weight_corrupt")
KEYS = ("data", "method", "gate", "kind", "eps", "share", "seed")
#: what is perturbed where a cell does not name it
BOTH = "both"
#: how far below a rival still counts as not below
MARGIN = 0.02
#: lines of the gate benchmark that need not be run again
KNOWN = {}


def take(path):
    """Take over the lines of a file of benchmarks/gate.py."""
    with path.open() as file:
        for line in csv.DictReader(file):
            if (line.get("budget") or "matched") == "matched":
                KNOWN[key_of(line)] = line


def key_of(line):
    return (
        line["data"], line["method"], int(line["gate"]), line["kind"],
        float(line["eps"]), float(line["share"]), int(line["seed"]),
        line.get("noise") or BOTH,
    )  # fmt: skip


@cache
def parts_of(data, folder):
    return benchmark.LOADERS[data](folder)


def chance(parts):
    """Return the accuracy of a guess: the target alone without a label.

    ``parts`` are those of a loader of benchmarks/gate.py. Table 1 of the paper has it
    at L% = 0, with 1/31 for 31 classes.
    """
    y_test = benchmark.draw(parts, 0.0, 1.0, 0)[2]
    return 1 / len(np.unique(y_test))


def run(cell, folder):
    """Accuracy of one fit, and what its gate did."""
    torch.set_num_threads(1)
    if cell["kind"] == "target" and not cell["share"]:
        return {"accuracy": chance(parts_of(cell["data"], folder))}
    line = KNOWN.get(key_of(cell))
    if line is None:
        line = benchmark.run(
            parts_of(cell["data"], folder),
            *(cell[key] for key in KEYS[1:]),
            noise=cell.get("noise", BOTH),
        )
    names = ("accuracy", "seconds", "auc_label", "auc_any", *WEIGHTS)
    return {
        name: float(line[name]) if line.get(name) not in (None, "") else None
        for name in names
    }


def fits(data, seed, methods, gates, eps, shares):
    """Cells with the sources, and those of the target alone."""
    for share in shares:
        for method in methods:
            for gate in gates:
                for e in eps:
                    yield (data, method, gate, "transfer", e, share, seed)
            yield (data, method, 0, "target", 0.0, share, seed)


def cells_of(sets, methods, gates, eps, shares):
    def cells(quick):
        return [
            dict(zip(KEYS, key, strict=True))
            for data in (sets[:1] if quick else sets)
            for seed in range(2 if quick else SEEDS[data])
            for key in fits(data, seed, methods, gates, eps, shares)
        ]

    return cells


def ablation_cells(quick):
    variants = [("DANN", 0), ("DANN", 1)]
    variants += [(name, 0) for name in (*benchmark.ABLATIONS, "oracle")]
    return [
        dict(zip(KEYS, ("A-D", name, gate, "transfer", 0.7, FEW, seed), strict=True))
        for seed in range(2 if quick else 20)
        for name, gate in variants
    ]


def true_label_cells(quick):
    """Cells of W to D whose source inputs are perturbed and whose labels are true."""
    return [
        cell | {"noise": "inputs"}
        for eps, share in ((0.7, 0.1), (1.0, 0.3))
        for cell in cells_of(("W-D",), ("DAN", "DANN", "GTA"), (0,), (eps,), (share,))(
            quick
        )
    ]


GATES = Experiment(
    name="gate-six-methods",
    setting=(
        "benchmarks/gate.py on three tasks of the paper's table 2, between webcam (W), "
        "DSLR (D) and Amazon (A), at ε = 0.7 and with at most three labels per class: "
        "1024 features of a GoogLeNet, half of which are shuffled in a perturbed row, "
        "and one layer of 64 units. All nets of a task take the same number of steps. "
        "The target alone is the net without gate, as in the paper: labeled target "
        "rows play the source. Intervals are t intervals over the draws of all tasks, "
        "eight of each. Published figures are those of a ResNet on images."
    ),
    cells=cells_of(OFFICE, tuple(benchmark.METHODS), (0, 1), (0.7,), (FEW,)),
    run=run,
    version=5,
)
TRUE_LABELS = Experiment(
    name="gate-true-labels",
    setting=(
        "As above from webcam to DSLR, the paper's task, with true source labels: "
        "ε_x = 0.7 with 10 % and ε_x = 1 with 30 % of the target labeled."
    ),
    cells=true_label_cells,
    run=run,
    version=5,
)
DANN_FACTORS = Experiment(
    name="gate-dann",
    setting=(
        "benchmarks/gate.py on the two halves of scikit-learn's digits, with a "
        "perceptron of two layers: DANN at every corruption and labeled share; without "
        "labels the target alone is a guess."
    ),
    cells=cells_of((DIGITS,), ("DANN",), (0, 1), benchmark.EPS, (0.0, 0.1, 0.3, 0.5)),
    run=run,
    version=5,
)
ABLATION = Experiment(
    name="gate-ablation",
    setting=(
        "As the six methods, from Amazon to DSLR, with the variants of DANN and 20 "
        "draws."
    ),
    cells=ablation_cells,
    run=run,
    version=5,
)


DEGENERATE = Experiment(
    name="gate-degenerate",
    setting=(
        "As DANN on the halves of the digits, with every source row corrupted and 10 % "
        "of the target labeled. The target alone takes as many steps as the transfer. "
        "Equal means that the gap is below 0.02. Published: 20 % labeled."
    ),
    cells=cells_of((DIGITS,), ("DANN",), (0, 1), (1.0,), (0.1,)),
    run=run,
    version=5,
)


def gaps(frame):
    """One line per fit with sources, with its negative transfer gap."""
    keys = ["data", "method", "share", "seed"]
    alone = frame[frame["kind"] == "target"].set_index(keys)["accuracy"]
    frame = frame[frame["kind"] == "transfer"].copy()
    index = list(frame[keys].itertuples(index=False, name=None))
    frame["ntg"] = alone.loc[index].to_numpy() - frame["accuracy"].to_numpy()
    return frame


def by_draw(group, column):
    """One line per draw, one column with and one without the gate."""
    return group.pivot_table(index=["data", "seed"], columns="gate", values=column)


def by_set(pair):
    """Write the means of both columns, set by set."""
    means = pair.groupby("data", sort=False).mean()
    return ", ".join(f"{data} {m[0]:+.3f}, {m[1]:+.3f}" for data, m in means.iterrows())


def improves(frame):
    frame, parts, answers = gaps(frame), [], []
    for method, group in frame.groupby("method", sort=False):
        pair = by_draw(group, "accuracy")
        gain = interval(pair[1] - pair[0])
        answers.append(positive(gain))
        parts.append(
            f"{method} {pair[0].mean():.3f} to {pair[1].mean():.3f}, {text(gain)}"
        )
    pair = by_draw(frame, "accuracy")
    parts.append(f"mean of the six {text(interval(pair[1] - pair[0]))}")
    return Outcome("; ".join(parts), together(answers))


def removes_negative_transfer(frame):
    frame, parts, answers = gaps(frame), [], []
    for method, group in frame.groupby("method", sort=False):
        pair = by_draw(group, "ntg")
        plain, gated = interval(pair[0]), interval(pair[1])
        mean, low, high = gated
        answers.append(positive((-mean, -high, -low)))
        parts.append(
            f"{method} {text(plain)}, gated {settled(gated, len(pair), 'draws')} (by "
            f"set: {by_set(pair)})"
        )
    pair = by_draw(frame, "ntg")
    plain, gated = (text(interval(pair[g])) for g in (0, 1))
    parts.append(f"mean of the six {plain}, gated {gated}")
    return Outcome("NTG. " + "; ".join(parts), together(answers))


def stays_negative(frame):
    """Conclude for each method at each corruption."""
    parts, answers = [], []
    for (name, eps), group in gaps(frame).groupby(["method", "eps"], sort=False):
        mean, low, high = over_seeds(group, "ntg")
        answers.append(positive((-mean, -high, -low)))
        parts.append(f"{name} at ε_x = {eps:g}: {text((mean, low, high))}")
    return Outcome("NTG. " + "; ".join(parts), together(answers))


def order(frame):
    table = frame.assign(
        name=np.where(frame["gate"] == 1, "gate", frame["method"])
    ).pivot_table(index="seed", columns="name", values="accuracy")
    pairs = [
        ("gate", "DANN"), ("gate", "gate only"), ("gate", "labels only"),
        ("gate only", "DANN"), ("labels only", "DANN"), ("joint", "marginal"),
        ("marginal", "none"), ("gate", "joint"),
    ]  # fmt: skip
    answers, parts = [], []
    for better, worse in pairs:
        difference = (table[better] - table[worse]).rename("gain").reset_index()
        estimate = over_seeds(difference, "gain")
        answers.append(positive(estimate))
        line = settled(estimate, len(table), "draws")
        parts.append(f"{better} minus {worse} {line}")
    means = ", ".join(
        f"{name} {table[name].mean():.3f}"
        for name in ("DANN", "labels only", "gate only", "none", "marginal", "joint",
                     "gate", "oracle")
    )  # fmt: skip
    return Outcome(f"Mean accuracy: {means}. " + "; ".join(parts), together(answers))


def dann_by_corruption(frame):
    plain = gaps(frame).query("gate == 0 and share > 0").assign(method="DANN")
    return rises(plain.rename(columns={"eps": "ε"}), "ε", "per unit of ε")


def dann_by_labels(frame):
    plain = gaps(frame).query("gate == 0").assign(method="DANN")
    return with_labels(plain.rename(columns={"eps": "eps_x"}))


def tells_rows_apart(frame):
    gated = frame[(frame["gate"] == 1) & (frame["eps"] == 0.7) & (frame["share"] > 0)]
    gated = gated[gated["kind"] == "transfer"]
    gated = gated.astype(dict.fromkeys(("auc_any", *WEIGHTS), float))
    auc = over_seeds(gated, "auc_any")
    clean, corrupt = (gated[name] for name in WEIGHTS)
    ratio = over_seeds(gated.assign(ratio=np.log(clean / corrupt)), "ratio")
    return Outcome(
        f"AUC of the weight for clean against corrupted rows {text(auc, '.2f')}; "
        "logarithm of the mean weight of clean over that of corrupted rows "
        f"{text(ratio, '+.2f')}",
        together([positive(ratio), positive(tuple(v - 0.5 for v in auc))]),
    )


def order_of_methods(frame):
    """Compare the gaps of the plain methods, draw by draw."""
    plain = gaps(frame).query("gate == 0")
    table = plain.pivot_table(index=["data", "seed"], columns="method", values="ntg")
    pairs = [(name, "GTA") for name in table if name != "GTA"]
    pairs += [("DANN", "DAN"), ("ADDA", "DANN")]
    answers, parts = [], []
    for larger, smaller in pairs:
        estimate = interval(table[larger] - table[smaller])
        answers.append(positive(estimate))
        line = settled(estimate, len(table), "draws")
        parts.append(f"{larger} minus {smaller} {line}")
    means = ", ".join(f"{name} {table[name].mean():+.3f}" for name in table)
    return Outcome(f"NTG {means}. " + "; ".join(parts), together(answers))


def negative_without_labels(frame):
    plain = gaps(frame).query("gate == 0 and share == 0")
    parts, answers = [], []
    for eps, group in plain.groupby("eps"):
        mean, low, high = over_seeds(group, "ntg")
        answers.append(positive((-mean, -high, -low)))
        line = settled((mean, low, high), group["seed"].nunique(), "seeds")
        parts.append(f"{line} at ε = {eps:g}")
    return Outcome("NTG. " + "; ".join(parts), together(answers))


def unharmed_by_the_gate(frame):
    """Conclude from accuracies with a clean source whether the gate costs nothing."""
    clean = frame[(frame["kind"] == "transfer") & (frame["eps"] == 0)]
    parts, answers = [], []
    for share, group in clean[clean["share"] > 0].groupby("share"):
        table = group.pivot_table(index="seed", columns="gate", values="accuracy")
        gain = interval(table[1] - table[0])
        above = tuple(value + MARGIN for value in gain)
        answers.append(positive(above))
        line = f"{text(gain)}{power(above, len(table), 'seeds')}"
        parts.append(f"{line} at {share:.0%} labeled")
    return Outcome(
        f"Accuracy, gated minus plain: {'; '.join(parts)} (costs nothing: less than "
        f"{MARGIN})",
        together(answers),
    )


def degenerate(frame):
    """Compare the gated net with the target alone, and the plain net with both."""
    frame, parts, answers = gaps(frame), [], []
    for eps, group in frame.groupby("eps"):
        table = group.pivot_table(index="seed", columns="gate", values="ntg")
        plain, gated = interval(table[0]), interval(table[1])
        mean, low, high = gated
        margin = MARGIN - mean, MARGIN - high, MARGIN - low
        answers.append(positive(margin))
        line = f"{text(gated)}{power(margin, len(table), 'draws')}"
        parts.append(f"ε = {eps:g}: plain {text(plain)}, gated {line}")
    return Outcome(
        f"NTG. {'; '.join(parts)} (equal: a gap of less than {MARGIN})",
        together(answers),
    )


CLAIMS = [
    Claim(
        name="gate-improves",
        paper=PAPER,
        claim="The gate improves all six deep methods.",
        published=(
            "Table 2, mean of eight tasks: DAN 49.8 to 54.6, DCORAL 49.6 to 54.7, DANN "
            "47.0 to 57.4, ADDA 45.5 to 59.5, PADA 47.9 to 58.0, GTA 52.9 to 60.8"
        ),
        experiment=GATES,
        conclude=improves,
    ),
    Claim(
        name="gate-removes",
        paper=PAPER,
        claim="With the gate the negative transfer gap of all six methods is negative.",
        published=(
            "Table 2, mean, plain and gated, in points: DAN +0.1, -4.7; DCORAL 0.0, "
            "-5.1; DANN +3.0, -7.4; ADDA +4.4, -9.6; PADA +2.0, -8.1; GTA -2.7, -10.6"
        ),
        experiment=GATES,
        conclude=removes_negative_transfer,
        reason=(
            "the gate takes 45 % of the gap or more away, but three labels per class "
            "on features of a pretrained net leave nothing to gain from a source of "
            "which seven rows in ten are corrupted. The paper's target alone has .44 "
            "to .57 on these tasks, ours (ADDA's aside) .89 to .98"
        ),
    ),
    Claim(
        name="gate-true-labels",
        paper=PAPER,
        claim="With corrupted inputs and true labels the gap of nets stays negative.",
        published=(
            "Table 3, W to D: DAN -29.3, DANN -30.8, GTA -33.5 points at ε_x = 0.7, "
            "L% = 10 and -6.2, -6.5, -8.0 at ε_x = 1, L% = 30"
        ),
        experiment=TRUE_LABELS,
        conclude=stays_negative,
    ),
    Claim(
        name="gate-dann-corruption",
        paper=PAPER,
        claim="The gap of DANN rises with the corruption of the source.",
        published=(
            "Table 1, A to D: -28.4, -4.4, +1.2, +18.4 points at L% = 10 and -1.5, "
            "+6.5, +8.9, +28.4 at L% = 30, at ε = 0, 0.3, 0.7, 0.9"
        ),
        experiment=DANN_FACTORS,
        conclude=dann_by_corruption,
    ),
    Claim(
        name="gate-dann-labels",
        paper=PAPER,
        claim="The gap of DANN rises with the labeled share.",
        published=(
            "Table 1, A to D, mean over ε: -34.5, -3.3, +10.6, +14.7 points at L% = 0, "
            "10, 30, 50; figure 3 (b), curves at ε = 0.2"
        ),
        experiment=DANN_FACTORS,
        conclude=dann_by_labels,
        reason=(
            "the rise at high corruption is that from no label to the first ones. From "
            "there on the gap stays level, as the slopes of the shares above 0 show"
        ),
    ),
    Claim(
        name="gate-weights",
        paper=PAPER,
        claim="The gate gives corrupted source rows smaller weights.",
        published="Figure 4 (d) and (h), A to W, ε = 0.7: histograms",
        experiment=DANN_FACTORS,
        conclude=tells_rows_apart,
    ),
    Claim(
        name="gate-ablation",
        paper=PAPER,
        claim=(
            "Gate and labels each help, both together help most; joint beats marginal "
            "matching, that beats none, and both beat each."
        ),
        published=(
            "Table 4, mean: DANN 61.7, labels only 64.9, gate only 66.0, none 67.3, "
            "marginal 69.3, joint 70.6, gate 71.2, oracle 78.7"
        ),
        experiment=ABLATION,
        conclude=order,
        reason=(
            "on features of a pretrained net the domains are close, and every kind of "
            "matching costs more than it brings: without it the gate is at the level "
            "of the oracle, which knows the corrupted rows"
        ),
    ),
    Claim(
        name="gate-algorithms",
        paper=PAPER,
        claim="GTA has the least gap of the six; DAN's is below DANN's, ADDA's above.",
        published=(
            "Table 2, mean in points: DAN +0.1, DCORAL 0.0, DANN +3.0, ADDA +4.4, PADA "
            "+2.0, GTA -2.7"
        ),
        experiment=GATES,
        conclude=order_of_methods,
        reason=(
            "ADDA trains its classifier on the source before it adapts; with labeled "
            "target rows in the source's place its target alone is the weakest of the "
            "six, and that alone makes its gap the least"
        ),
    ),
    Claim(
        name="gate-unlabeled",
        paper=PAPER,
        claim="Without a label in the target the gap stays negative.",
        published="Table 1, A to D, L% = 0: -44.1, -37.3, -17.2, -9.7 points",
        experiment=DANN_FACTORS,
        conclude=negative_without_labels,
    ),
    Claim(
        name="gate-clean",
        paper=PAPER,
        claim="With a clean source the gate costs nothing.",
        published="Table 1, ε = 0: gains of the gate from 0 points on",
        experiment=DANN_FACTORS,
        conclude=unharmed_by_the_gate,
        reason=(
            "the gate compares a source row with the target rows; with few labels it "
            "gives true rows of the source small weights, too, and the net has the "
            "fewer rows. The loss shrinks as labels are added"
        ),
    ),
    Claim(
        name="gate-degenerate",
        paper=PAPER,
        claim="With a wholly corrupted source the gated net equals the target alone.",
        published="Figure 3 (a), Pr to Rw, ε = 1, L% = 20 (a figure)",
        experiment=DEGENERATE,
        conclude=degenerate,
    ),
]
