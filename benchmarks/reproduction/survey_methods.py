"""W. Zhang et al., "A survey on negative transfer": what it says of single methods."""

import warnings
from functools import cache, partial

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from torch import nn

from reproduction import uowq
from reproduction.data import (
    digits16,
    office_features,
    perturb_images,
    perturbed_pair,
    sample,
)
from reproduction.registry import (
    Claim,
    Experiment,
    Outcome,
    interval,
    over_seeds,
    positive,
    power,
    text,
    together,
)
from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import stack_domains
from sktransfer.deep import (
    DANN,
    AdversarialTraining,
    BatchSpectralPenalization,
    BatchSpectralShrinkage,
    FineTuning,
    TransNorm1d,
)
from sktransfer.hypothesis import PositiveTransferRidge
from sktransfer.multisource import UOWQ, DomainRecognitionEnsemble, SourceFreeEnsemble
from sktransfer.pseudo_label import SelectivePseudoLabeling, SelfTraining
from sktransfer.safe import ReliableTransfer, TransferGuard

SURVEY = "Zhang et al. 2022, survey"
MARGIN = 0.01


def quiet(fit, *args, **kwargs):
    with warnings.catch_warnings(), config_context(enable_metadata_routing=True):
        warnings.simplefilter("ignore")
        return fit(*args, **kwargs)


# --- Yoon and Li: a prior from the sources --------------------------------------------

WEIGHTS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
#: patients have levels of their own
UNLIKE = "parkinsons_updrs"


def strengthen(cell, folder):
    """R2 of the ridge alone, at every weight of the prior, and at the chosen one."""
    with np.load(folder / f"{cell['data']}.npz") as z:
        X, y, domain = z["X"].astype(float), z["y"].astype(float), z["domain"]
    keep = X.std(axis=0) > 0
    X, y = X[:, keep], (y - y.mean()) / y.std()
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    rng = np.random.RandomState(cell["seed"])
    chosen = rng.choice(np.unique(domain), 6, replace=False)
    rows = [rng.permutation(np.flatnonzero(domain == k)) for k in chosen]
    target, few = rows[0], rows[0][:20]
    sources = {f"s{k}": (X[r[:100]], y[r[:100]]) for k, r in enumerate(rows[1:])}
    data = stack_domains(sources, (X[few], y[few]))
    test = target[20:]
    found = {}
    for weight in (0.0, *WEIGHTS, "auto"):
        model = PositiveTransferRidge(
            0.1, prior_weight=weight, drop_sources=weight == "auto"
        )
        quiet(model.fit, data.X, data.y, sample_domain=data.sample_domain)
        found[str(weight)] = float(r2_score(y[test], model.predict(X[test])))
    return found


PRIOR = Experiment(
    name="survey-prior",
    setting=(
        "Ridge regression with a Gaussian prior from five random sources of 100 rows, "
        "20 labeled target rows: schools, and patients with Parkinson's disease, whose "
        "scores have levels of their own: here the prior should harm, schools are the "
        "control. A seed is a new target with new sources."
    ),
    cells=lambda quick: [
        {"data": data, "seed": seed}
        for seed in range(3 if quick else 100)
        for data in ("school_ilea139", UNLIKE)
    ],
    run=strengthen,
)


def harmed_by_strength(frame):
    """Conclude for the strongest prior, and for the chosen one."""
    parts, answers = [], []
    for data, group in frame.groupby("data", sort=False):
        gaps = {w: interval(group["0.0"] - group[w]) for w in map(str, WEIGHTS)}
        strongest = gaps[str(WEIGHTS[-1])]
        mean, low, high = interval(group["0.0"] - group["auto"])
        answers.append(positive((MARGIN - mean, MARGIN - high, MARGIN - low)))
        if data == UNLIKE:  # schools are alike: no strength harms them
            answers.append(positive(strongest))
        line = ", ".join(f"{gaps[w][0]:+.3f}" for w in gaps)
        parts.append(
            f"{data}: {line}; at {WEIGHTS[-1]:g} {text(strongest)}"
            f"{power(strongest, len(group), 'targets')}, at the chosen weight "
            f"{text((mean, low, high))}"
        )
    listed = ", ".join(f"{w:g}" for w in WEIGHTS)
    return Outcome(f"NTG in R2 at λ = {listed}. " + ". ".join(parts), together(answers))


# --- Ahmed et al.: a mixture of source models -----------------------------------------


def mix(cell, folder):
    """Accuracy of the mixture and of each single source model."""
    X, y, domain, _, cap = uowq.load(cell["data"], folder)
    train, test, sources = uowq.multisource.split(
        y, domain, cell["target"], False, cap, cell["seed"]
    )
    learner = LogisticRegression(max_iter=1000)
    unlabeled = np.concatenate([train, test])
    rows = np.concatenate([sources, unlabeled])
    ids = np.where(domain[rows] == cell["target"], -1, domain[rows] + 1)
    labels = y[rows].astype(float)
    labels[len(sources) :] = np.nan
    mixture = SourceFreeEnsemble(learner)
    quiet(mixture.fit, X[rows], labels, sample_domain=ids)
    single = []
    for k in np.unique(domain[sources]):
        own = sources[domain[sources] == k]
        model = quiet(clone(learner).fit, X[own], y[own])
        single.append(float(model.score(X[test], y[test])))
    return {
        "mixture": float(np.mean(mixture.predict(X[test]) == y[test])),
        "best": max(single),
        "mean": float(np.mean(single)),
    }


MIXTURE = Experiment(
    name="survey-mixture",
    setting=(
        "SourceFreeEnsemble, the shallow form of Ahmed et al.: models of the sources, "
        "mixed by unlabeled target rows, on the targets of the UOWQ comparison. The "
        "best single source is the one that is best on the test rows."
    ),
    cells=lambda quick: uowq.grid(quick, 15),
    run=mix,
)


def at_least_the_best(frame):
    gain = over_seeds(frame.assign(gain=frame["mixture"] - frame["best"]), "gain")
    mean = over_seeds(frame.assign(gain=frame["mixture"] - frame["mean"]), "gain")
    share = np.mean(frame["mixture"] >= frame["best"] - MARGIN)
    return Outcome(
        f"Mixture {frame['mixture'].mean():.3f}, best single source "
        f"{frame['best'].mean():.3f}, mean of the sources {frame['mean'].mean():.3f}; "
        f"minus the best {text(gain)}, minus the mean {text(mean)}; not below the best "
        f"by more than {MARGIN} in {share:.0%} of the runs",
        positive(gain),
    )


# --- Zuo et al.: shares of the sources ------------------------------------------------


@cache
def surf(folder):
    """Office-Caltech, with all domains scaled as one: apart they would look alike."""
    with np.load(folder / "office_caltech10_surf800.npz") as z:
        X, y, domain = z["X"].astype(float), z["y"], z["domain"].astype(int)
    X = StandardScaler().fit_transform(X / X.sum(axis=1, keepdims=True))
    return PCA(60, random_state=0).fit_transform(X), y, domain, None, 150


def find_shares(cell, folder):
    """Correlation of learned weights and true shares of a mixed target."""
    of_surf = cell["data"] == uowq.DATA[0]
    X, y, domain, _, cap = surf(folder) if of_surf else uowq.load(cell["data"], folder)
    rng = np.random.default_rng(cell["seed"])
    ids = np.unique(domain)
    rows = [rng.permutation(np.flatnonzero(domain == k)) for k in ids]
    sources = [r[: min(cap, len(r) // 2)] for r in rows]
    rest = [r[len(s) :] for r, s in zip(rows, sources, strict=True)]
    shares = rng.dirichlet(np.ones(len(ids)))
    size = min(len(r) / max(share, 1e-9) for r, share in zip(rest, shares, strict=True))
    counts = np.floor(min(size, 400) * shares).astype(int)
    mixed = np.concatenate([r[:n] for r, n in zip(rest, counts, strict=True)])
    every = np.concatenate([*sources, mixed])
    labels = y[every].astype(float)
    labels[-len(mixed) :] = np.nan
    marks = np.append(
        np.repeat(ids + 1, [len(s) for s in sources]), np.full(len(mixed), -1)
    )
    model = DomainRecognitionEnsemble(LogisticRegression(max_iter=1000))
    quiet(model.fit, X[every], labels, sample_domain=marks)
    truth = counts / counts.sum()
    own = np.concatenate(sources)
    telling = quiet(LogisticRegression(max_iter=1000).fit, X[own], domain[own])
    return {
        "told": float(telling.score(X[mixed], domain[mixed])),
        "correlation": float(np.corrcoef(model.source_weights_, truth)[0, 1]),
        "error": float(np.abs(model.source_weights_ - truth).max()),
    }


SHARES = Experiment(
    name="survey-shares",
    setting=(
        "DomainRecognitionEnsemble: the target is mixed of unseen rows of all domains "
        "of a set of the UOWQ comparison, with random shares (uniform over all "
        "mixtures), and without labels. SURF features are scaled over all domains."
    ),
    cells=lambda quick: [
        {"data": data, "seed": seed}
        for seed in range(2 if quick else 30)
        for data in uowq.DATA
    ],
    run=find_shares,
    version=2,
)


def recovers_shares(frame):
    parts, answers = [], []
    for data, group in frame.groupby("data", sort=False):
        mean, low, high = interval(group["correlation"])
        above = mean - 0.8, low - 0.8, high - 0.8
        answers.append(positive(above))
        line = text((mean, low, min(high, 1.0)), ".2f")
        line += power(above, len(group), "draws")
        parts.append(
            f"{data} {line} (largest error of a "
            f"share {group['error'].mean():.2f}; a classifier tells the domain of "
            f"{group['told'].mean():.0%} of the target's rows)"
        )
    return Outcome(
        "Correlation with the true shares (high: above 0.8): " + ", ".join(parts),
        together(answers),
    )


# --- selective pseudo-labels ----------------------------------------------------------


def select(cell, folder):
    """Accuracy with pseudo-labels of the surest rows, of all rows, and without."""
    X, y, domain, _, cap = uowq.load(cell["data"], folder)
    train, test, sources = uowq.multisource.split(
        y, domain, cell["target"], False, min(cap, 150), cell["seed"]
    )
    unlabeled = np.concatenate([train, test])
    rows = np.concatenate([sources, unlabeled])
    ids = np.where(domain[rows] == cell["target"], -1, 1)
    labels = y[rows].astype(float)
    labels[len(sources) :] = np.nan
    learner = LogisticRegression(max_iter=1000)
    models = {
        "none": Pooled(learner),
        "all at once": SelfTraining(learner, n_rounds=1),
        "selective": SelfTraining(learner, n_rounds=5),
        "SPL, one round": SelectivePseudoLabeling(n_rounds=1),
        "SPL": SelectivePseudoLabeling(n_rounds=10),
    }
    found = {}
    for name, model in models.items():
        quiet(model.fit, X[rows], labels, sample_domain=ids)
        found[name] = float(np.mean(model.predict(X[test]) == y[test]))
    return found


SELECTIVE = Experiment(
    name="survey-selective",
    setting=(
        "The targets of the UOWQ comparison without labels, all sources in one. "
        '"Selective" adds the surest rows in five steps to a logistic regression '
        '(SelfTraining), "all at once" all rows in one; SPL is Wang and Breckon\'s '
        "method with its own classifier of class means, in ten rounds and in one."
    ),
    cells=lambda quick: uowq.grid(quick, 12),
    run=select,
)


def improves_prediction(frame):
    pairs = (
        ("selective", "none"), ("selective", "all at once"), ("SPL", "SPL, one round"),
    )  # fmt: skip
    parts, answers = [], []
    for better, worse in pairs:
        gain = over_seeds(frame.assign(gain=frame[better] - frame[worse]), "gain")
        answers.append(positive(gain))
        settled = power(gain, frame["seed"].nunique(), "draws of all targets")
        parts.append(f"{better} minus {worse} {text(gain)}{settled}")
    names = ("none", "all at once", "selective", "SPL, one round", "SPL")
    means = ", ".join(f"{name} {frame[name].mean():.3f}" for name in names)
    return Outcome(f"{means}. " + "; ".join(parts), together(answers))


# --- the guideline --------------------------------------------------------------------

EPS = (0.0, 0.4, 0.7, 1.0)


def halved(X):
    """Return images of half the width and height."""
    return X.reshape(-1, 8, 2, 8, 2).mean(axis=(2, 4)).reshape(len(X), -1)


def follow(cell, folder):
    """Accuracy of pooling, mitigation, the target alone, and of the guideline."""
    domains = {name: (halved(X), y) for name, (X, y) in digits16(folder).items()}
    rng = np.random.RandomState(cell["seed"])
    target = sample(domains["usps"], 600, rng)
    source = sample(domains[cell["source"]], 300, rng)
    data, X_test, y_test = perturbed_pair(
        source,
        target,
        cell["eps"],
        cell["eps"],
        0.1,
        None,
        perturb_images,
        cell["seed"],
    )
    learner = LogisticRegression(C=0.1, max_iter=1000)
    models = {
        "pool": Pooled(learner),
        "mitigate": TransferGuard(Pooled(learner), policy="aggregate"),
        "none": TargetOnly(learner),
        "guideline": ReliableTransfer(learner),
    }
    found = {}
    for name, model in models.items():
        quiet(model.fit, data.X, data.y, sample_domain=data.sample_domain)
        found[name] = float(model.score(X_test, y_test))
    level = models["guideline"].levels_.values()
    return found | {"level": next(iter(level))}


GUIDELINE = Experiment(
    name="survey-guideline",
    setting=(
        "USPS (8 x 8 pixels) with 10 % of 300 rows labeled; the source is USPS or "
        "MNIST, a share ε of whose images and labels is corrupted. ReliableTransfer "
        "estimates the similarity by tests and pools (high), guards (medium) or leaves "
        "out (low); logistic regression. Intervals are over the runs."
    ),
    cells=lambda quick: [
        {"source": source, "eps": eps, "seed": seed}
        for seed in range(1 if quick else 2)
        for source in ("usps", "mnist")
        for eps in EPS
    ],
    run=follow,
)


def follows_guideline(frame):
    parts, answers = [], []
    for rival in ("pool", "mitigate", "none"):
        gain = interval(frame["guideline"] - frame[rival])
        reached = tuple(value + MARGIN for value in gain)
        answers.append(positive(reached))
        line = text(gain) + power(reached, len(frame), "runs")
        parts.append(f"always {rival} {frame[rival].mean():.3f} ({line})")
    frame = frame.assign(ntg=frame["none"] - frame["pool"])
    levels = [
        f"{level} {group['ntg'].mean():+.3f} ({len(group)} runs)"
        for level in ("high", "medium", "low")
        for group in [frame[frame["level"] == level]]
        if len(group)
    ]
    return Outcome(
        f"Guideline {frame['guideline'].mean():.3f}; others (gain over them) "
        + ", ".join(parts)
        + "; NTG of pooling at the levels that it finds: "
        + ", ".join(levels)
        + f" (holds: not below any of them by more than {MARGIN})",
        together(answers),
    )


# --- nets -----------------------------------------------------------------------------


def layers(width, norm=None):
    """Return an extractor of two layers, with a normalization if one is given."""
    parts = []
    for _ in range(2):
        parts += [nn.LazyLinear(width), *([norm(width)] if norm else []), nn.ReLU()]
    return nn.Sequential(*parts)


PENALTIES = {
    "fine-tuning": None,
    "robust": AdversarialTraining(eps=1.0),
    "BSS": BatchSpectralShrinkage(k=16),
    "BSS, weight 0.1": BatchSpectralShrinkage(0.1, k=16),
    "DANN": None,
    "BSP": BatchSpectralPenalization(),
    "BSP, weight 0.01": BatchSpectralPenalization(0.01),
}
NORMS = {"BatchNorm": nn.BatchNorm1d, "TransNorm": TransNorm1d}
#: claim -> methods and what they should beat; the first pair decides
OF_NETS = {
    "robust": [("robust", "fine-tuning")],
    "BSS": [("BSS", "fine-tuning"), ("BSS, weight 0.1", "fine-tuning")],
    "BSP": [("BSP", "DANN"), ("BSP, weight 0.01", "DANN")],
    "TransNorm": [("TransNorm", "BatchNorm"), ("TransNorm", "DANN")],
}


def train(cell, folder):
    """Accuracy of every net on one task."""
    torch.set_num_threads(1)
    rng = np.random.RandomState(cell["seed"])
    if cell["task"] == "MNIST to USPS":
        domains = digits16(folder)
        source, target = (
            sample(domains["mnist"], 1000, rng), sample(domains["usps"], 900, rng)
        )  # fmt: skip
    else:
        domains = office_features(folder)
        source, target = domains["amazon"], domains["webcam"]
    X, y = (np.asarray(part) for part in target)
    rows = rng.permutation(len(y))
    few = np.concatenate([rows[y[rows] == c][:3] for c in np.unique(y)])
    rest = rows[~np.isin(rows, few)]
    unlabeled, test = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    data = stack_domains(source_of(source), (X[few], y[few]), X[unlabeled])
    common = {
        "max_steps": 300, "early_stopping": False, "random_state": cell["seed"],
        "device": "cpu",
    }  # fmt: skip
    found = {}
    for name in (*PENALTIES, *NORMS):
        cls = FineTuning if name[:3] in ("fin", "rob", "BSS") else DANN
        penalty = PENALTIES.get(name)
        torch.manual_seed(cell["seed"])
        net = cls(
            partial(layers, 64, NORMS.get(name)),
            penalties=[penalty] if penalty is not None else None,
            **common,
        )
        Z, z, domain = data.X.astype(np.float32), data.y, data.sample_domain
        if cls is FineTuning:
            kept = ~np.isnan(np.asarray(z, dtype=float))
            Z, z, domain = Z[kept], z[kept], domain[kept]
        quiet(net.fit, Z, z, sample_domain=domain)
        found[name] = float(net.score(X[test].astype(np.float32), y[test]))
    return found


def source_of(source):
    return {"source": tuple(np.asarray(part) for part in source)}


NETS = Experiment(
    name="survey-nets",
    setting=(
        "MNIST to USPS (16 x 16 pixels) and Amazon to webcam (GoogLeNet features), "
        "three labels per class, half of the other target rows unlabeled, half to "
        "test; perceptrons of two layers with 64 units, 300 steps. Fine-tuning from a "
        "source net that is trained on rows moved against it (length 1 in scaled "
        "inputs), or with BSS on 16 singular values; DANN with BSP, and with TransNorm "
        "in place of BatchNorm. BSS and BSP with the published weight, which decides, "
        "and with the hundredfold. After five draws the rows named up to 39, so 40 "
        "were run."
    ),
    cells=lambda quick: [
        {"task": task, "seed": seed}
        for seed in range(2 if quick else 40)
        for task in ("MNIST to USPS", "amazon to webcam")
    ],
    run=train,
)


def of_nets(frame, pairs):
    parts, answers = [], []
    for task, group in frame.groupby("task", sort=False):
        for better, worse in pairs:
            gain = interval(group[better] - group[worse])
            line = text(gain)
            if (better, worse) == pairs[0]:
                answers.append(positive(gain))
                line += power(gain, len(group), "draws")
            parts.append(
                f"{task}: {better} {group[better].mean():.3f}, {worse} "
                f"{group[worse].mean():.3f}, {line}"
            )
    return Outcome("; ".join(parts), together(answers))


# --- UOWQ's closed form ---------------------------------------------------------------

D, N_TARGET = 5, 200
SIZES, SHIFTS = (50, 200, 800), (0.1, 0.3, 1.0)


def weigh_one(cell, folder):
    """Weight of one source, and that of the closed form at the true parameters."""
    rng = np.random.default_rng(cell["seed"])
    n, shift = cell["n"], cell["shift"]
    delta = np.full(D, shift / np.sqrt(D))
    theta = rng.normal(size=D)
    X = rng.normal(size=(N_TARGET + n, D))
    source = np.arange(len(X)) >= N_TARGET
    y = X @ theta + source * (X @ delta) + rng.normal(size=len(X))
    model = UOWQ(LinearRegression(fit_intercept=False))
    quiet(model.fit, X, y, sample_domain=np.where(source, 1, -1))
    return {
        "weight": float(model.source_weights_[0]),
        "formula": float(1 / (1 + n * shift**2 / D)),
    }


ONE_SOURCE = Experiment(
    name="uowq-one-source",
    setting=(
        f"Linear regression with {D} coefficients, noise of variance 1, {N_TARGET} "
        "target rows and one source, whose coefficients differ by a vector of length "
        "0.1, 0.3 or 1; 50, 200 or 800 source rows."
    ),
    cells=lambda quick: [
        {"n": n, "shift": shift, "seed": seed}
        for seed in range(3 if quick else 60)
        for n in SIZES
        for shift in SHIFTS
    ],
    run=weigh_one,
)


def follows_formula(frame):
    parts, answers = [], []
    table = frame.pivot_table(index="seed", columns=["shift", "n"], values="weight")
    formula = frame.groupby(["shift", "n"])["formula"].first()
    for shift in SHIFTS:
        of_shift = table[shift]
        fall = interval(of_shift[SIZES[0]] - of_shift[SIZES[-1]])
        answers.append(positive(fall))
        listed = ", ".join(
            f"{of_shift[n].mean():.2f} ({formula[shift, n]:.2f})" for n in SIZES
        )
        parts.append(f"δ {shift:g}: {listed}, first minus last {text(fall, '+.2f')}")
    for n in SIZES:
        answers.append(positive(interval(table[SHIFTS[0], n] - table[SHIFTS[-1], n])))
    listed = ", ".join(map(str, SIZES))
    return Outcome(
        f"Weight (closed form with the true parameters) with {listed} source rows. "
        + "; ".join(parts),
        together(answers),
    )


CLAIMS = [
    Claim(
        name="survey-prior",
        paper="Yoon and Li 2018, in the survey of Zhang et al. 2022",
        claim="Too strong a prior from the sources harms; a chosen strength does not.",
        published="Section 4.2, a statement without numbers",
        experiment=PRIOR,
        conclude=harmed_by_strength,
    ),
    Claim(
        name="survey-mixture",
        paper="Ahmed et al. 2021, in the survey of Zhang et al. 2022",
        claim="A mixture of source models is at least as good as the best of them.",
        published="Section 7.1.1, a statement without numbers",
        experiment=MIXTURE,
        conclude=at_least_the_best,
        reason=(
            "the best source is known only from test labels; without labels the "
            "mixture gives weight to others, too. The same runs show it: the mixture "
            "is far above the mean of the sources, and close to the best"
        ),
    ),
    Claim(
        name="survey-shares",
        paper="Zuo et al. 2021, in the survey of Zhang et al. 2022",
        claim="Learned weights of the domains correlate highly with the true shares.",
        published="Section 7.1.1, a statement without numbers",
        experiment=SHARES,
        conclude=recovers_shares,
        reason=(
            "the weights can be no better than the recognition of the domains that "
            "they count: on SURF features it tells half of the rows only, as two of "
            "the four domains hold pictures of one kind"
        ),
    ),
    Claim(
        name="survey-selective",
        paper="Wang and Breckon 2020, in the survey of Zhang et al. 2022",
        claim="Selective pseudo-labels improve the prediction of the target.",
        published="Section 7.3, a statement without numbers",
        experiment=SELECTIVE,
        conclude=improves_prediction,
    ),
    Claim(
        name="survey-guideline",
        paper=SURVEY,
        claim="Pool if similar, mitigate in between, else leave out: never the worse.",
        published="Section 10, a recommendation without numbers",
        experiment=GUIDELINE,
        conclude=follows_guideline,
    ),
    *(
        Claim(
            name=f"survey-nets-{name.lower()}",
            paper=f"{author}, in the survey of Zhang et al. 2022",
            claim=claim,
            published=published,
            experiment=NETS,
            conclude=partial(of_nets, pairs=OF_NETS[name]),
        )
        for name, author, claim, published in (
            (
                "robust",
                "Salman et al. 2020",
                "Nets that are robust against adversaries transfer better.",
                "Section 7.2, ImageNet, a statement without numbers",
            ),
            (
                "BSS",
                "Chen et al. 2019",
                "Shrinking small singular values improves fine-tuning (BSS).",
                "Section 7.1, a statement without numbers",
            ),
            (
                "BSP",
                "Chen et al. 2019",
                "Penalizing large singular values improves adversarial nets (BSP).",
                "Section 7.1, a statement without numbers",
            ),
            (
                "TransNorm",
                "Wang et al. 2019",
                "Normalizing each domain apart improves transfer (TransNorm).",
                "Section 7.2, a statement without numbers",
            ),
        )
    ),
    Claim(
        name="uowq-one-source",
        paper=uowq.PAPER,
        claim="The weight of a single source falls with its distance and its rows.",
        published="Equation 10 and its text; figure 1 (no numbers)",
        experiment=ONE_SOURCE,
        conclude=follows_formula,
    ),
]
