"""Which defaults of the adversarial nets are best, and what do they bring elsewhere?

Choices are made on the sets of ``TUNE`` and on generated moons alone, one after the
other, each with those before it in force: the gate with and without matching, its form,
its discriminator, rates of the parts; whether a net of the target alone judges source
labels; what is matched beside the gate; then DANN (momentum, discriminator, rates of
the parts, weight of the adversary), all with 300 steps for every net; over which nets a
gated net predicts means; then the steps.
The distance of Deep CORAL and the weight of M3SDA are chosen beside these.
The candidate with the best mean accuracy over tasks wins; a later one in the list must
be better by more than .005 to replace an earlier one. What is chosen is then run on
the sets of ``PROOF``, which chose nothing, and on bundled digits::

    python benchmarks/net_defaults.py tune --data DIR --out fits.csv
    python benchmarks/net_defaults.py agreement --data DIR --out fits.csv  # a part
    python benchmarks/net_defaults.py ensemble --data DIR --out fits.csv --seeds 6
    python benchmarks/net_defaults.py real --data DIR --out fits.csv --seeds 3
    python benchmarks/net_defaults.py stacking --data DIR --out fits.csv --labels 8
    python benchmarks/net_defaults.py proof --data DIR --out fits.csv
    python benchmarks/net_defaults.py pairs --data DIR --out fits.csv
    python benchmarks/net_defaults.py moons --out fits.csv
    python benchmarks/net_defaults.py report --out fits.csv

A task is a source (500 rows at most, clean or with 70 % of the rows corrupted: features
shuffled within a row, labels random), 300 target rows of which 3 per class are labeled
(or none), and up to 500 other target rows for the test. Every net of a task takes the
same number of steps and has an extractor of 64 and 32 units (the library's on moons).
Fits that are in the file are not run again.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from scipy import sparse, stats
from sklearn.base import is_regressor
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from sktransfer.datasets import stack_domains
from sktransfer.deep import (
    DAN,
    DANN,
    ConditionalAlignment,
    DeepCORAL,
    MomentMatchingAlignment,
    SourceOnlyNet,
    TargetOnlyNet,
    TargetOnlyNetRegressor,
    TransferNetClassifier,
    TransferNetRegressor,
)

FIELDS = ["part", "task", "net", "seed", "accuracy", "seconds"]
#: file, source, target, scale rows to length 1
TUNE = {
    "office": ("office10_awd_googlenet1024", "webcam", "amazon", True),
    "reviews": ("amazon_reviews_400", "books", "kitchen", True),
    "mnist-usps": ("digits_mnist_usps_256", "mnist", "usps", True),
    "gas": ("gas_drift_batches", "batch1", "batch4", False),
    "heart": ("heart_4sites", "cleveland", "va", False),
    "surf": ("office_caltech10_surf800", "caltech", "amazon", True),
    "words": ("newsgroups_comp_sci", "task1", "task2", True),
    "census": ("adult_census", "US", "Asia", False),
}
#: file, sources, target last, scale rows to length 1
SEVERAL = {
    "office": ("office10_awd_googlenet1024", "dslr", "webcam", "amazon", True),
    "surf": ("office_caltech10_surf800", "amazon", "webcam", "caltech", True),
    "reviews": ("amazon_reviews_400", "books", "dvd", "electronics", "kitchen", True),
    "gas": ("gas_drift_batches", "batch1", "batch2", "batch3", "batch4", False),
    "heart": ("heart_4sites", "cleveland", "hungarian", "va", False),
}
#: file, source, target, with real labels
REAL = {
    "wine": ("wine_quality", "red", "white", False),
    "california": ("california_housing", "north_west", "south_east", False),
    "air": ("air_beijing12", "Huairou", "Dongsi", False),
    "abalone": ("abalone", "M", "I", False),
    "mpg": ("auto_mpg", "usa", "japan", False),
    "parkinsons": ("parkinsons_updrs", 0, 1, False),
    "school": ("school_ilea139", 0, 1, False),
}
PROOF = {
    "coil": ("proof/coil20_1024", 0, 1, True),
    "mushroom": ("proof/mushroom_stalk", 0, 1, False),
    "wisdm": ("proof/wisdm_users", 0, 1, False),
    "credit": ("proof/german_credit", 0, 1, False),
    "pima": ("proof/pima_diabetes", 0, 1, False),
    "spam": ("proof/spam_sms_mail", "sms", "mail", True),
    "movies": ("proof/imdb_genre3", "action", "war", True),
}
#: pairs of domains of the same sets that are in no other list
PAIRS = {
    "coil": ("proof/coil20_1024", 1, 0, True),
    "mushroom": ("proof/mushroom_stalk", 1, 0, False),
    "wisdm": ("proof/wisdm_users", 4, 5, False),
    "credit": ("proof/german_credit", 1, 0, False),
    "pima": ("proof/pima_diabetes", 1, 2, False),
    "spam": ("proof/spam_sms_mail", "mail", "sms", True),
    "movies": ("proof/imdb_genre3", "war", "family", True),
}
NO_MOMENTUM = {"optimizer__betas": (0.0, 0.99)}
#: steps of all nets in the search
SEARCH = 300
#: the extractor of every net but those on moons
SMALL = {"module__hidden_units": (64, 32)}
#: what a candidate must gain to replace an earlier one
MARGIN = 0.005


def load(folder, name, *domains_and_unit, real=False):
    """Return the rows of each domain of a file; whether to scale them comes last."""
    *wanted, unit = domains_and_unit
    with np.load(folder / f"{name}.npz", allow_pickle=True) as z:
        if "X" in z:
            X = z["X"].astype(np.float32)
        else:
            parts = z["X_data"], z["X_indices"], z["X_indptr"]
            X = sparse.csr_matrix(parts, shape=z["X_shape"]).toarray().astype("f")
        y, domain = z["y"].astype(float if real else int), z["domain"]
        names = [str(n) for n in z["domain_names"]]
    X = normalize(X) if unit else X
    at = [names.index(d) if isinstance(d, str) else d for d in wanted]
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
    """Return the rows of a task, which source rows are corrupted, and the test."""
    rng = np.random.RandomState(seed)
    (X_source, y_source), (X, y) = domains
    chosen = rng.permutation(len(y_source))[:500]
    X_source, y_source = X_source[chosen].copy(), y_source[chosen].copy()
    moved = rng.uniform(size=len(y_source)) < eps
    for row in np.flatnonzero(moved):
        X_source[row] = rng.permutation(X_source[row])
    hit = rng.uniform(size=len(y_source)) < eps
    drawn = rng.choice(np.unique(y_source), hit.sum())
    corrupt = moved.copy()
    corrupt[np.flatnonzero(hit)[drawn != y_source[hit]]] = True
    y_source[hit] = drawn
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
    return data, corrupt, X[test], y[test]


def tasks(part, folder, n_labels=3):
    """Yield ``(name, domains of a seed, eps, labels per class)``."""
    sets = {"tune": TUNE, "proof": PROOF, "pairs": PAIRS}.get(part, {})
    more = "" if n_labels == 3 else f", {n_labels} labels"
    for name, source in sets.items():
        domains = load(folder, *source)
        for eps in (0.0, 0.7):
            task = f"{name}, {eps:.0%} corrupted{more}"
            yield task, lambda seed, d=domains: d, eps, n_labels
        if name in ("reviews", "mnist-usps"):
            yield f"{name}, no labels", lambda seed, d=domains: d, 0.0, 0
    if part == "tune":
        yield "moons, no labels", rotated_moons, 0.0, 0
    else:
        halves = load_halves()
        halves = halves[::-1] if part == "pairs" else halves
        for eps in (0.0, 0.7):
            yield (
                f"digits, {eps:.0%} corrupted{more}", lambda seed: halves, eps, n_labels
            )  # fmt: skip


def draw_sources(domains, eps, per_class, seed):
    """Return the rows of a task of several sources, and the test.

    As ``draw``, with 200 rows of each source at most, none of which is corrupted.
    """
    rng = np.random.RandomState(seed)
    *sources, (X, y) = domains
    parts = {}
    for i, (X_source, y_source) in enumerate(sources):
        chosen = rng.permutation(len(y_source))[:200]
        parts[f"source {i + 1}"] = X_source[chosen], y_source[chosen]
    order = rng.permutation(len(y))
    n_train = min(300, len(y) // 2)
    train, test = order[:n_train], order[n_train : n_train + 500]
    known = [np.flatnonzero(y[train] == c)[:per_class] for c in np.unique(y[train])]
    labeled = np.isin(np.arange(n_train), np.concatenate(known))
    data = stack_domains(
        parts,
        target=(X[train][labeled], y[train][labeled]) if labeled.any() else None,
        unlabeled=X[train][~labeled],
    )
    return data, None, X[test], y[test]


def draw_real(domains, eps, n_labeled, seed):
    """Return the rows of a task with real labels, and the test.

    As ``draw``, with ``n_labeled`` labeled target rows; wrong labels are those of
    other rows.
    """
    rng = np.random.RandomState(seed)
    (X_source, y_source), (X, y) = domains
    chosen = rng.permutation(len(y_source))[:500]
    X_source, y_source = X_source[chosen].copy(), y_source[chosen].copy()
    for row in np.flatnonzero(rng.uniform(size=len(y_source)) < eps):
        X_source[row] = rng.permutation(X_source[row])
    hit = rng.uniform(size=len(y_source)) < eps
    y_source[hit] = rng.choice(y_source, hit.sum())
    order = rng.permutation(len(y))
    n_train = min(300, len(y) // 2)
    train, test = order[:n_train], order[n_train : n_train + 500]
    labeled, others = train[:n_labeled], train[n_labeled:]
    data = stack_domains(
        {"source": (X_source, y_source)},
        target=(X[labeled], y[labeled]),
        unlabeled=X[others],
    )
    return data, None, X[test], y[test]


class Net:
    """A class of nets with parameters, named after both.

    Parameters
    ----------
    cls : type
        Class of the net.
    oracle : bool, default=False
        Whether it is shown the source rows that are not corrupted alone.
    title : str, default=None
        Another name, where that of a parameter does not tell what is in it.
    **params : dict
        What differs from the defaults.
    """

    def __init__(self, cls, *, oracle=False, title=None, **params):
        self.cls, self.oracle, self.params = cls, oracle, params
        shown = [f"{k}={v}" for k, v in sorted(params.items())]
        self.name = title or " ".join([cls.__name__, *shown] + ["oracle"] * oracle)

    def but(self, **params):
        """Return a net with other parameters."""
        return Net(self.cls, oracle=self.oracle, **(self.params | params))

    def score(self, task, seed):
        """Return the accuracy on a task; of real labels the error in deviations."""
        *_, X_test, y_test = task
        net = self.fit(task, seed)
        if is_regressor(net):
            error = np.sqrt(np.mean((net.predict(X_test) - y_test) ** 2))
            return error / y_test.std()
        return net.score(X_test, y_test)

    def fit(self, task, seed):
        """Return the fitted net."""
        data, corrupt, *_ = task
        X, y, domain = data.X, data.y, data.sample_domain
        if self.oracle:
            keep = np.ones(len(y), dtype=bool)
            keep[np.flatnonzero(domain > 0)[corrupt]] = False
            X, y, domain = X[keep], y[keep], domain[keep]
        fixed = {"early_stopping": False, "random_state": seed}
        net = self.cls(**(({} if X.shape[1] == 2 else SMALL) | fixed | self.params))
        return net.fit(X, y, sample_domain=domain)


class Mean:
    """Several nets whose class probabilities are averaged.

    Parameters
    ----------
    name : str
        What it is called.
    *nets : Net
        The nets; one that stands there twice has another seed the second time.
    """

    cls = None

    def __init__(self, name, *nets):
        self.name, self.nets = name, nets

    def score(self, task, seed):
        """Return the accuracy on a task of ``draw``."""
        *_, X_test, y_test = task
        found = []
        for i, net in enumerate(self.nets):
            fitted = net.fit(task, seed + 100 * (net in self.nets[:i]))
            found.append((fitted.classes_, fitted.predict_proba(X_test)))
        classes = np.unique(np.concatenate([known for known, _ in found]))
        total = np.zeros((len(y_test), len(classes)))
        for known, proba in found:
            total[:, np.searchsorted(classes, known)] += proba
        return np.mean(classes[total.argmax(axis=1)] == y_test)


#: settings of every net of the search; the tasks whose targets have labels
FEW, LABELED = {"max_steps": SEARCH}, {"labeled_only": True}
ALONE, PLAIN = Net(TargetOnlyNet, **FEW), Net(TransferNetClassifier, **FEW)

#: the gate of the paper: the discriminator alone
PUBLISHED = Net(TransferNetClassifier, gate=True, agreement=False, ensemble=False)


def rates(**factors):
    """Return parameters of the optimizer: a rate for each part of a net."""
    groups = [(f"{k}*", {"lr": round(1e-3 * v, 6)}) for k, v in factors.items()]
    return {"optimizer__param_groups": groups}


class Fits:
    """Accuracies of nets on tasks; each is computed once and kept in a file.

    Parameters
    ----------
    path : Path
        CSV of all fits.
    part : {"tune", "proof", "pairs"}
        Which sets.
    folder : Path or None
        Where the data are; None: only read.
    seeds : int
        Draws of each task.
    n_labels : int, default=3
        Labels per class.
    """

    def __init__(self, path, part, folder, seeds, n_labels=3):
        self.path, self.part, self.seeds = path, part, seeds
        self.known = {}
        if path.exists():
            with path.open() as file:
                for r in csv.DictReader(file):
                    key = r["part"], r["task"], r["net"], int(r["seed"])
                    self.known[key] = float(r["accuracy"])
        self.tasks = list(tasks(part, folder, n_labels)) if folder else []
        self.folder, self.draw = folder, draw

    def of(self, net, *, labeled_only=False):
        """Return the accuracies of a net, one per task, means over seeds."""
        found = []
        for task, domains, eps, per_class in self.tasks:
            if not per_class and (labeled_only or net.cls is TargetOnlyNet):
                continue
            values = [
                self.one(net, task, domains, eps, per_class, seed)
                for seed in range(self.seeds)
            ]
            found.append(np.mean(values))
        return np.array(found)

    def one(self, net, task, domains, eps, per_class, seed):
        """Return the accuracy of one fit, which is run where it is not in the file."""
        key = self.part, task, net.name, seed
        if key not in self.known:
            drawn = self.draw(domains(seed), eps, per_class, seed)
            start = time.process_time()
            accuracy = round(net.score(drawn, seed), 4)
            seconds = round(time.process_time() - start, 2)
            new = not self.path.exists()
            with self.path.open("a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(FIELDS)
                writer.writerow([*key, accuracy, seconds])
            self.known[key] = accuracy
        return self.known[key]


def choose(fits, title, first, others, *, errors=0.0, **options):
    """Print candidates with their means; return the best one.

    Parameters
    ----------
    fits : Fits
        Where the accuracies are.
    title : str
        Printed above.
    first : Net
        What is in force.
    others : list of Net
        What could replace it.
    errors : float, default=0.0
        How many standard errors over tasks, too, the mean must be better by.
    **options : dict
        Of ``fits.of``.

    Returns
    -------
    best : Net
        The net with the best mean, by more than ``MARGIN`` over earlier ones.
    """
    base = fits.of(first, **options)
    print(f"\n### {title}\n\n| accuracy | to the first | better in | candidate |")
    print("|---|---|---|---|", flush=True)
    print(f"| {base.mean():.4f} | | | {first.name} |", flush=True)
    best, most = first, base
    for net in others:
        values = fits.of(net, **options)
        gain = values - base
        error = stats.sem(gain)
        print(
            f"| {values.mean():.4f} | {gain.mean():+.4f} ± {error:.4f} "
            f"| {(gain > 0).sum()} of {len(gain)} | {net.name} |",
            flush=True,
        )
        lead = values - most
        if lead.mean() > max(MARGIN, errors * stats.sem(lead)):
            best, most = net, values
    print(f"\nBest: {best.name}", flush=True)
    return best


def tune(fits):
    """Choose the defaults, one after the other; the search takes ``SEARCH`` steps."""
    choose(fits, "For comparison: target alone", ALONE, [])
    choose(fits, "For comparison: no matching, no gate", PLAIN, [], **LABELED)
    gate(fits)
    agreement(fits)
    matching(fits)
    short_coral(fits)
    coral(fits)
    ensemble(fits)
    short_adversary(fits)
    many = {"max_steps": 1000}
    gated, dann = PLAIN.but(gate=True, ensemble=False), Net(DANN, **FEW)
    choose(fits, "Steps: gate", gated, [gated.but(**many)], **LABELED)
    choose(fits, "Steps: DANN", dann, [dann.but(**many)])
    adversary(fits)


def gate(fits):
    """Choose the form of the discriminator's gate, without any judge of labels."""
    first = PUBLISHED.but(**FEW)
    both = Net(DANN, match="both", **PUBLISHED.params, **FEW)
    choose(fits, "Gate: matching", first, [both], **LABELED)
    first = choose(
        fits,
        "Gate without matching: form",
        first,
        [
            first.but(gate_smoothing=0.0, max_weight=np.inf),
            first.but(max_weight=1.0),
            first.but(gate_smoothing=0.0),
            first.but(gate_smoothing=2.0),
            first.but(gate_smoothing=2.0, max_weight=1.0),
        ],
        **LABELED,
    )
    choose(
        fits,
        "Gate without matching: discriminator and rates",
        first,
        [
            first.but(**rates(**{"*discriminator": 5.0})),
            first.but(**rates(**{"*discriminator": 0.2})),
            first.but(discriminator_units=(256,)),
            first.but(discriminator_units=()),
            first.but(label_input=False),
            first.but(source_weight=0.3),
            first.but(**rates(extractor=0.3)),
        ],
        **LABELED,
    )


def agreement(fits):
    """Choose whether a net of the target judges source labels, beside the gate."""
    judged = PLAIN.but(gate=True, ensemble=False)
    first = judged.but(agreement=False)
    others = [judged, PLAIN.but(agreement=True), judged.but(source_weight=0.3)]
    choose(fits, "Gate: agreement with a net of the target", first, others, **LABELED)
    show_gaps(fits, (ALONE, PLAIN), [first, *others])
    # soft weights may fade with the steps: the default number of them, too
    first, judged = PUBLISHED, PUBLISHED.but(agreement="auto")
    choose(fits, "The same, default steps", first, [judged], **LABELED)
    show_gaps(fits, (Net(TargetOnlyNet), Net(TransferNetClassifier)), [first, judged])


def ensemble(fits):
    """Choose over which nets the predictions of a gated net are means."""
    alone, plain = Net(TargetOnlyNet), Net(TransferNetClassifier)
    published, judged = PUBLISHED, PUBLISHED.but(agreement="auto")
    means = [
        Mean("two of target alone", alone, alone),
        Mean("gate and target alone", judged, alone),
        Mean("gate and no gate", judged, plain),
        Mean("gate, target alone and no gate", judged, alone, plain),
        Mean("published gate, target alone and no gate", published, alone, plain),
        Mean("gate, published gate, target alone, no gate", judged, published, alone,
             plain),
    ]  # fmt: skip
    nets = [alone, plain, published, *means]
    choose(fits, "Means over nets, default steps", judged, nets, **LABELED)
    oracle = Net(TransferNetClassifier, oracle=True)
    show_gaps(fits, (alone, plain), [judged, *nets], oracle)


def show_gaps(fits, references, nets, oracle=None):
    """Print how far nets are from the better of two others in each task.

    With an oracle also in how many of the tasks in which it is better than the first
    of the two the net is so, too.
    """
    alone, plain = (fits.of(net, **LABELED) for net in references)
    best = np.maximum(alone, plain)
    print("\n| to the better of target alone and plain | at most .01 below | net |")
    print("|---|---|---|")
    for net in nets:
        values = fits.of(net, **LABELED)
        gap = values - best
        near = f"{(gap >= -0.01).sum()} of {len(gap)}"
        if oracle is not None:
            helped = fits.of(oracle, **LABELED) > alone
            below = (values > alone)[helped].sum()
            near += f" | {below} of {helped.sum()}"
        print(f"| {interval(gap)} | {near} | {net.name} |")


def matching(fits):
    """Choose what is matched beside the gate."""
    gate = {"gate": True, "ensemble": False}
    matched = [Net(DAN, **gate, **FEW), CORAL.but(**gate, **FEW)]
    for terms in "both", "marginal", "joint":
        matched.append(Net(DANN, match=terms, **gate, **FEW))
    first = PLAIN.but(**gate)
    choose(fits, "Matching beside the gate", first, matched, **LABELED)


def adversary(fits):
    """Choose momentum, discriminator, rates and weight of DANN without a gate.

    With the default number of steps a candidate must be better by two standard errors,
    too; that it was ahead with fewer steps is no reason yet.
    """
    candidates = {
        "five times the rate": rates(**{"*discriminator": 5.0}),
        "weight .3": {"mu": 0.3},
    }
    dann = Net(DANN)
    free = dann.but(**NO_MOMENTUM)
    choose(
        fits,
        "DANN: momentum, rate of the discriminator and weight, default steps",
        dann,
        [free, *[net.but(**c) for c in candidates.values() for net in (dann, free)]],
        errors=2.0,
    )


def short_adversary(fits):
    """Compare further changes of DANN without a gate in ``SEARCH`` steps."""
    dann = Net(DANN, **FEW)
    dann = choose(fits, "DANN: momentum", dann, [dann.but(**NO_MOMENTUM)])
    choose(
        fits,
        "DANN: discriminator, rates and weight of the adversary",
        dann,
        [
            dann.but(**rates(**{"*discriminator": 5.0})),
            dann.but(**rates(extractor=0.3)),
            dann.but(discriminator_units=(64, 64)),
            dann.but(discriminator_units=(256,)),
            dann.but(mu=0.3),
        ],
    )


#: Deep CORAL as published
CORAL = Net(DeepCORAL, layers="output", scaled=False, centered=True)


def coral(fits):
    """Choose the distance of Deep CORAL, with the default number of steps."""
    choose(fits, "Deep CORAL: distance, default steps", CORAL, [Net(DeepCORAL)])


def short_coral(fits):
    """Compare layers and weights of Deep CORAL's published distance."""
    first = CORAL.but(**FEW)
    choose(
        fits,
        "Deep CORAL: layers and weight",
        first,
        [first.but(layers="features", mu=mu) for mu in (1e4, 1e3)],
    )


#: weights of the moments' distances; the first is that of the formula
MOMENT_WEIGHTS = 1.0, 0.1, 0.03, 0.01, 0.003, 0.001


def stacking(fits):
    """Choose how the nets of a mean are weighed."""
    alone, plain = Net(TargetOnlyNet), Net(TransferNetClassifier)
    equal = plain.but(gate=True, ensemble="equal")
    single = plain.but(gate=True, ensemble=False)
    others = [plain.but(gate=True), single, alone, plain]
    choose(
        fits, "Weights of the nets in a mean, default steps", equal, others, **LABELED
    )
    oracle = Net(TransferNetClassifier, oracle=True)
    show_gaps(fits, (alone, plain), [equal, *others], oracle)


def real(fits):
    """Show what a mean of nets brings where labels are real."""
    sets = {name: load(fits.folder, *rows, real=True) for name, rows in REAL.items()}
    fits.draw, fits.tasks = draw_real, [
        (f"{name}, {eps:.0%} corrupted, {n} labels", lambda seed, d=domains: d, eps, n)
        for name, domains in sets.items()
        for eps in (0.0, 0.7)
        for n in (10, 30)
    ]  # fmt: skip
    gated = Net(TransferNetRegressor, gate=True)
    nets = {
        "target alone": Net(TargetOnlyNetRegressor),
        "no gate": Net(TransferNetRegressor),
        "gate, one net": gated.but(ensemble=False),
        "gate, equal mean of three": gated.but(ensemble="equal"),
        "gate, stacked mean of three": gated,
    }
    errors = {name: np.log(fits.of(net)) for name, net in nets.items()}
    alone, best = errors["target alone"], np.minimum(*[*errors.values()][:2])
    print(
        "| net | log error | to the better of the first two | at most 2 % above "
        "| NTG negative |\n|---|---|---|---|---|"
    )
    for name, found in errors.items():
        near, below = (found - best <= 0.02).sum(), (found < alone).sum()
        print(
            f"| {name} | {found.mean():+.3f} | {interval(found - best)} "
            f"| {near} of {len(found)} | {below} of {len(found)} |"
        )


def moments(fits):
    """Choose the weight of M3SDA on tasks of several sources."""
    several = {name: load(fits.folder, *rows) for name, rows in SEVERAL.items()}
    fits.draw, fits.tasks = (
        draw_sources,
        [
            (
                f"several: {name}, {per_class} labels",
                lambda seed, d=domains: d,
                0.0,
                per_class,
            )
            for name, domains in several.items()
            for per_class in (3, 0)
        ],
    )
    choose(fits, "For comparison: no matching", PLAIN, [])
    nets = [
        Net(
            TransferNetClassifier,
            title=f"M3SDA weight={weight}",
            alignment=MomentMatchingAlignment(weight=weight),
            max_steps=SEARCH,
        )
        for weight in MOMENT_WEIGHTS
    ]
    choose(fits, "M3SDA: weight", nets[0], nets[1:])


#: reported on the proof sets, all with the library's defaults
FROZEN = {
    "target alone": Net(TargetOnlyNet),
    "no matching": Net(TransferNetClassifier),
    "gate": Net(TransferNetClassifier, gate=True),
    "gate, equal": Net(TransferNetClassifier, gate=True, ensemble="equal"),
    "one gated net": PUBLISHED.but(agreement="auto"),
    "gate as published": PUBLISHED,
    "oracle": Net(TransferNetClassifier, oracle=True),
    "DANN": Net(DANN),
    "DANN, gate": Net(DANN, gate=True, match="both"),
    "DAN": Net(DAN),
    "DAN, gate": Net(DAN, gate=True),
    "DeepCORAL as published": CORAL,
    "DeepCORAL": Net(DeepCORAL),
    "DeepCORAL, gate": Net(DeepCORAL, gate=True),
}
#: gated nets and what they are without the gate
GATED = dict.fromkeys(
    ("gate", "gate, equal", "one gated net", "gate as published"), "no matching"
) | {f"{name}, gate": name for name in ("DANN", "DAN", "DeepCORAL")}


def proof(fits):
    """Run what was chosen where nothing was chosen."""
    for name, net in FROZEN.items():
        print(f"{fits.of(net).mean():.4f}  {name}", flush=True)


def interval(values):
    """Return the mean with its 95 % t-interval over tasks, as text."""
    values = np.asarray(values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    low, high = values.mean() - half, values.mean() + half
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def report(path):
    """Print the proof sets' accuracies, and what the gate is worth, in markdown."""
    known = Fits(path, "proof", None, 0).known
    found = {}
    for (part, task, net, _), accuracy in known.items():
        if part == "proof":
            found.setdefault((task, net), []).append(accuracy)
    mean = {key: float(np.mean(values)) for key, values in found.items()}
    names = [n for n, net in FROZEN.items() if any(k[1] == net.name for k in mean)]
    all_tasks = list(dict.fromkeys(task for task, _ in mean))
    print("| task | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for task in all_tasks:
        row = [mean.get((task, FROZEN[n].name), np.nan) for n in names]
        print(f"| {task} | " + " | ".join(f"{v:.3f}" for v in row) + " |")
    print(
        "\n| gated net | tasks | to the better of target alone and the same without "
        "gate | at most .01 below | NTG negative where the oracle's is |"
    )
    print("|---|---|---|---|---|")
    for gated, plain in GATED.items():
        for kind in ("0%", "70%", ""):
            needed = ("target alone", plain, gated, "oracle")
            rows = np.array(
                [
                    [mean[task, FROZEN[n].name] for n in needed]
                    for task in all_tasks
                    if not kind or f", {kind} corrupted" in task
                    if all((task, FROZEN[n].name) in mean for n in needed)
                ]
            )
            if len(rows) < 2:
                continue
            alone, without, with_gate, oracle = rows.T
            gap = with_gate - np.maximum(alone, without)
            helped = oracle > alone
            print(
                f"| {gated} | {kind or 'all'} ({len(rows)}) | {interval(gap)} "
                f"| {(gap >= -0.01).sum()} of {len(gap)} "
                f"| {(with_gate > alone)[helped].sum()} of {helped.sum()} |"
            )


#: on moons that are turned by 35 degrees, with all defaults
MOONS = {
    "source only": Net(SourceOnlyNet),
    "no matching": Net(TransferNetClassifier),
    "DANN": Net(DANN),
    "CDAN+E": Net(TransferNetClassifier, alignment=ConditionalAlignment()),
    "DAN": Net(DAN),
    "Deep CORAL": Net(DeepCORAL),
}


def moons(fits):
    """Print the accuracies on moons without target labels."""
    print("| net | mean | each |\n|---|---|---|")
    for name, net in MOONS.items():
        values = [
            fits.one(net, "turned by 35", rotated_moons, 0.0, 0, seed)
            for seed in range(fits.seeds)
        ]
        shown = " ".join(f"{v:.3f}" for v in values)
        print(f"| {name} | {np.mean(values):.3f} | {shown} |", flush=True)


#: what is run: the sets and the function
PARTS = {
    "tune": ("tune", tune),
    "gate": ("tune", gate),
    "agreement": ("tune", agreement),
    "ensemble": ("tune", ensemble),
    "stacking": ("tune", stacking),
    "real": ("tune", real),
    "matching": ("tune", matching),
    "coral": ("tune", coral),
    "short_coral": ("tune", short_coral),
    "adversary": ("tune", adversary),
    "short_adversary": ("tune", short_adversary),
    "moments": ("tune", moments),
    "proof": ("proof", proof),
    "pairs": ("pairs", stacking),
    "moons": ("moons", moons),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=[*PARTS, "report"])
    parser.add_argument("--data", type=Path, help="folder of .npz files")
    parser.add_argument("--out", type=Path, required=True, help="CSV of all fits")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--labels", type=int, default=3, help="of each class")
    args = parser.parse_args()
    if args.what == "report":
        report(args.out)
        return
    part, run = PARTS[args.what]
    run(Fits(args.out, part, args.data, args.seeds, args.labels))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
