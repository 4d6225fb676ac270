"""How sure is the negative transfer gap, and does the probability of harm come true?

*Simulation* (no data needed): ridge regression and logistic regression on the target
alone, and pooled with 200 rows of a source whose coefficients are those of the target
plus a step of length ``SHIFTS`` ("useless": the source's labels do not depend on its
inputs). Features are 5 standard normal ones; n labeled and 200 unlabeled target rows.
The gap of the fitted pair is computed on 1000 rows with known expected losses, its
average over 60 draws of the labeled rows for each of 16 sources. That is the first of
several laws (``LAWS``), which differ in the number of features, the size of the source
and the tails (the others with half of the draws, and three times five folds only);
those called "proof" are looked at when the constants are frozen.
*Before* is the rule
that this program was written to replace: Nadeau and Bengio's corrected resampled t of
the fold means, five folds, once for the row of a source and three times for the row of
a method; "transfer" if the interval at level 1 - .05 / 7 (seven methods) is below zero
and "do not transfer" if the estimate is not. *After* is :class:`PairedEvidence` on the
same folds; "transfer" if the probability of harm is at most .05, "do not transfer" from
.95 on. *Fresh* is a t test of the same size on n further labeled rows, which nobody
has: about what n rows can tell of a given pair at best.

*Real tasks*: a target domain of a set with few labels (3 times the number of classes,
10 times if binary, 30 rows in regression; and three times that), from one half of its
rows. They are drawn at random, twice for each number of labels (drawn again where
no two classes have two rows), or, which the intervals are not made for, the same
number per class. Of the rest of that half 200 rows stay unlabeled, and the other half
tells the truth. Three methods with logistic or ridge regression: pooled, pooled with
weight .1, sources only; ten folds. "Harmed" is a larger test loss than the target
alone. Run::

    python benchmarks/uncertainty.py --simulate --out OUT
    python benchmarks/uncertainty.py --data DIR --part tune --out OUT
    python benchmarks/uncertainty.py --calibrate --out OUT   # tune and simulation
    python benchmarks/uncertainty.py --data DIR --part proof --out OUT
    python benchmarks/uncertainty.py --report --out OUT > benchmarks/uncertainty.md

``--calibrate`` chooses the constants of ``sktransfer.metrics._evidence`` and
``sktransfer._solvers.paired_gap`` on the simulation and the "tune" sets, and those of
``sktransfer.metrics._gap_learning_curve`` on the simulation; "proof" is run when they
are frozen.
"""

import argparse
import json
import warnings
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safety import load, merged, reduce, with_two_classes
from scipy import special, stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from sktransfer._domains import check_domains
from sktransfer._folds import target_folds
from sktransfer._response import common_columns
from sktransfer._solvers import paired_gap as paired_gap_module
from sktransfer._solvers.paired_gap import paired_gap
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.metrics import (
    GapLearningCurve,
    _evidence,
    _gap_learning_curve,
    cross_val_ntg,
)
from sktransfer.metrics._evidence import fold_evidence
from sktransfer.metrics._gap import PairMeasure
from sktransfer.metrics._pair import (
    check_pair,
    cross_fit,
    fit_target_only,
    fit_transfer,
)
from sktransfer.model_selection import StratifiedTargetKFold, TargetKFold

SHIFTS = {"none": 0.0, "mild": 1.0, "strong": 3.0, "useless": None}
SIZES = 5, 10, 20, 40
N_UNLABELED, N_BASE, N_SOURCES = 200, 1000, 16


class Law(NamedTuple):
    """How samples are drawn in the simulation."""

    part: str
    n_features: int = 5
    n_source: int = 200
    heavy: bool = False  # Student's t of 5 degrees of freedom, not normal
    seed: int = 1
    n_draws: int = 30


#: the first is that of the tables; "tune" chooses constants, "proof" shows them
LAWS = {
    "5 features": Law("tune", n_draws=60),
    "2 features": Law("tune", n_features=2, seed=2),
    "10 features": Law("tune", n_features=10, seed=3),
    "3 features, heavy tails, 60 source rows": Law("proof", 3, 60, True, 4),
    "8 features, 400 source rows": Law("proof", 8, 400, False, 5),
}
MAIN = "5 features"
#: samples of 20 labels for which is predicted what 40 would say
N_CURVES, FEW, MORE = 160, 20, 40
#: samples for the verdicts of the public functions
N_VERDICTS = 8
KINDS = "unbounded", "brier", "hits"
LOSSES = {"squared": "squared error, ridge", "brier": "Brier score, logistic",
          "hits": "error rate, logistic"}  # fmt: skip
#: (times as many labels, seed, how they are drawn)
DRAWS = [(1, 0, "random"), (1, 1, "random"), (3, 4, "random"), (3, 5, "random"),
         (1, 0, "per class")]  # fmt: skip
N_TARGETS = 2
PARTS = {
    "tune": [
        "abalone",
        "adult_census",
        "air_beijing12",
        "amazon_reviews_400",
        "auto_mpg",
        "california_housing",
        "digits_mnist_usps_256",
        "gas_drift_batches",
        "heart_4sites",
        "landmine29",
        "newsgroups_comp_sci",
        "office10_awd_googlenet1024",
        "office10_dw_decaf6",
        "office_caltech10_surf800",
        "parkinsons_updrs",
        "reuters_orgspeople",
        "sarcos_test7",
        "school_ilea139",
        "wine_quality",
    ],
    "proof": [
        "bike_dc_seoul",
        "cmapss_fd001_fd003",
        "coil20_1024",
        "computer_survey190",
        "german_credit",
        "imdb_genre3",
        "mushroom_stalk",
        "pima_diabetes",
        "spam_sms_mail",
        "wisdm_users",
    ],
}
KEY = "part", "set", "target", "size", "seed", "how"
BINS = np.array([0, 0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1])


# ------------------------------------------------------------------------- simulation


def fit(X, y, weight, classify):
    """Fit many ridge or logistic regressions at once; rows of weight 0 are absent."""
    Z = np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=2)
    penalty = np.diag([1.0] * X.shape[2] + [1e-6])
    T = Z.transpose(0, 2, 1)
    if not classify:
        gram = T @ (Z * weight[:, :, None]) + penalty
        return np.linalg.solve(gram, T @ (weight * y)[:, :, None])[:, :, 0]
    coef = np.zeros((len(X), Z.shape[2]))
    for _ in range(8):
        p = special.expit(np.clip((Z @ coef[:, :, None])[:, :, 0], -30, 30))
        curvature = weight * np.maximum(p * (1 - p), 1e-6)
        gradient = (T @ (weight * (y - p))[:, :, None])[:, :, 0] - coef @ penalty
        hessian = T @ (Z * curvature[:, :, None]) + penalty
        coef += np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return coef


def answer(coef, X, classify):
    value = (X @ coef[:, :-1, None])[:, :, 0] + coef[:, -1:]
    return special.expit(value) if classify else value


def loss(f, y, name):
    if name == "hits":
        return ((f > 0.5) != (y > 0.5)).astype(float)
    return (1 + (name == "brier")) * (f - y) ** 2


def guess(f0, f1, name):
    if name == "hits":
        return ((f0 > 0.5) != (f1 > 0.5)).astype(float)
    return (1 + (name == "brier")) * (f1 - f0) ** 2


def deal(y, n_folds, classify, rng):
    """Deal the rows of many samples to folds, sorted by label."""
    n_draws, n = y.shape
    order = np.lexsort((rng.random(y.shape), y), axis=1)
    fold = np.empty(y.shape, dtype=int)
    if classify:
        cards = np.broadcast_to(np.arange(n) % n_folds, y.shape)
    else:
        n_blocks = -(-n // n_folds)
        cards = np.argsort(rng.random((n_draws, n_blocks, n_folds)), axis=2)
        cards = cards.reshape(n_draws, -1)[:, :n]
    np.put_along_axis(fold, order, cards, axis=1)
    return fold


def draw(rng, size, law):
    """Draw numbers of mean 0 and variance 1."""
    if law.heavy:
        return rng.standard_t(5, size=size) * np.sqrt(3 / 5)
    return rng.normal(size=size)


def draw_rows(rng, coef, n, classify, law):
    X = draw(rng, (len(coef), n, law.n_features), law)
    score = (X @ coef[:, :, None])[:, :, 0]
    if not classify:
        return X, score + draw(rng, score.shape, law)
    return X, (score + 0.7 * rng.logistic(size=score.shape) > 0).astype(float)


def simulate(classify, n, shift, law, n_folds=5, n_repeats=3):
    """Return for every loss what the folds of many samples say, and the truth."""
    rng = np.random.default_rng(law.seed)
    n_folds = min(n_folds, n)
    coef, step = rng.normal(size=(2, N_SOURCES, law.n_features))
    coef *= np.sqrt(3) / np.linalg.norm(coef, axis=1, keepdims=True)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    at_source = 0 * coef if shift is None else coef + shift * step
    X_s, y_s = draw_rows(rng, at_source, law.n_source, classify, law)
    group = np.repeat(np.arange(N_SOURCES), law.n_draws)
    X, y = draw_rows(rng, coef[group], n, classify, law)
    if classify:  # at least two of each class
        known = (y.sum(axis=1) >= 2) & (y.sum(axis=1) <= n - 2)
        group, X, y = group[known], X[known], y[known]
    both = (
        np.concatenate([X_s[group], X], axis=1),
        np.concatenate([y_s[group], y], axis=1),
    )
    unlabeled = draw(rng, (len(y), N_UNLABELED, law.n_features), law)
    ones = np.ones((len(y), law.n_source))

    def pair(weight):
        return (
            fit(X, y, weight, classify),
            fit(*both, np.concatenate([ones, weight], axis=1), classify),
        )

    names = ("brier", "hits") if classify else ("squared",)
    out = {name: {"d": 0.0, "g": 0.0, "reference": 0.0, "gaps": []} for name in names}
    for _ in range(n_repeats):
        fold = deal(y, n_folds, classify, rng)
        for k in range(n_folds):
            test = fold == k
            models = pair((~test).astype(float))
            f0, f1 = (answer(model, X, classify) for model in models)
            u0, u1 = (answer(model, unlabeled, classify) for model in models)
            for name, found in out.items():
                d = np.where(test, loss(f1, y, name) - loss(f0, y, name), 0)
                found["d"] += d / n_repeats
                found["g"] += np.where(test, guess(f0, f1, name), 0) / n_repeats
                n_splits = n_repeats * n_folds
                found["reference"] += guess(u0, u1, name).mean(axis=1) / n_splits
                found["gaps"].append(d.sum(axis=1) / test.sum(axis=1))
    models = pair(np.ones(y.shape))
    X_b = draw(rng, (1, N_BASE, law.n_features), law)
    score = (X_b @ coef[group][:, :, None])[:, :, 0]
    p = special.expit(score / 0.7) if classify else None
    f0, f1 = (answer(model, X_b, classify) for model in models)
    X_n, y_n = draw_rows(rng, coef[group], n, classify, law)
    n0, n1 = (answer(model, X_n, classify) for model in models)
    for name, found in out.items():
        if classify:
            each = [
                p * loss(f, 1.0, name) + (1 - p) * loss(f, 0.0, name) for f in (f0, f1)
            ]
        else:
            each = [(f - score) ** 2 for f in (f0, f1)]
        found["fitted"] = (each[1] - each[0]).mean(axis=1)
        sums = np.bincount(group, found["fitted"]) / np.maximum(np.bincount(group), 1)
        found["average"] = sums[group]
        found["gaps"] = np.array(found["gaps"]).T
        found["fresh"] = loss(n1, y_n, name) - loss(n0, y_n, name)
        found["n_folds"] = n_folds
    return out


def simulate_curve(classify, n, shift, law, n_folds=5, n_repeats=2):
    """Return the numbers of labels and, by unit, the differences of the loss there."""
    rng = np.random.default_rng(law.seed)
    coef, step = rng.normal(size=(2, N_SOURCES, law.n_features))
    coef *= np.sqrt(3) / np.linalg.norm(coef, axis=1, keepdims=True)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    at_source = 0 * coef if shift is None else coef + shift * step
    group = np.repeat(np.arange(N_SOURCES), N_CURVES // N_SOURCES)
    source = draw_rows(rng, at_source, law.n_source, classify, law)
    X_s, y_s = (part[group] for part in source)
    X, y = draw_rows(rng, coef[group], n, classify, law)
    if classify:
        known = (y.sum(axis=1) >= 2) & (y.sum(axis=1) <= n - 2)
        X_s, y_s, X, y = X_s[known], y_s[known], X[known], y[known]
    both = np.concatenate([X_s, X], axis=1), np.concatenate([y_s, y], axis=1)
    ones = np.ones((len(y), law.n_source))
    least = n - -(-n // n_folds)
    sizes = np.unique(np.round(np.array([0.4, 0.55, 0.75, 1]) * least).astype(int))
    name = "hits" if classify else "squared"
    each, guesses = np.zeros((*y.shape, len(sizes))), np.zeros(y.shape)
    for _ in range(n_repeats):
        fold = deal(y, n_folds, classify, rng)
        for k in range(n_folds):
            test = fold == k
            place = rng.random(y.shape)
            if classify:  # the classes come by their shares, one of each first
                for c in (0, 1):
                    own = (y == c) & ~test
                    order = np.argsort(np.where(own, place, 2), axis=1).argsort(axis=1)
                    place = np.where(own, order / own.sum(axis=1, keepdims=True), place)
            rank = np.argsort(np.where(test, 9, place), axis=1).argsort(axis=1)
            for s, size in enumerate(sizes):
                weight = ((rank < size) & ~test).astype(float)
                models = (
                    fit(X, y, weight, classify),
                    fit(*both, np.concatenate([ones, weight], axis=1), classify),
                )
                f0, f1 = (answer(model, X, classify) for model in models)
                d = np.where(test, loss(f1, y, name) - loss(f0, y, name), 0)
                each[:, :, s] += d / n_repeats
            guesses += np.where(test, guess(f0, f1, name), 0) / n_repeats
    return sizes, each, guesses


def curve_of(sizes, each, guesses, classify):
    """Return the curve of one sample, as ``gap_learning_curve`` makes it."""
    n = len(each)
    weights = np.full(n, 1 / n)
    mean, covariance = _gap_learning_curve._moments(each, weights)
    rates = np.array(_gap_learning_curve._RATES)
    rates, shares, coefs, covariances = _gap_learning_curve._fit_curves(
        sizes, mean, covariance, rates
    )
    error = np.sqrt(np.diagonal(covariance))
    return GapLearningCurve(
        sizes, mean, error, rates, shares, coefs, covariances,
        _gap_learning_curve._spread(sizes, np.sqrt(n) * error), n,
        _evidence.PairedEvidence(each[:, -1], None, guesses, hits=classify).instability,
        "hits" if classify else "unbounded",
    )  # fmt: skip


def before(found, n, n_repeats=3):
    """Return mean, standard error and degrees of freedom by the fold means."""
    n_folds = int(found["n_folds"])
    gaps = found["gaps"][:, : n_repeats * n_folds]
    n_splits = gaps.shape[1]
    variance = (1 / n_splits + 1 / (n_folds - 1)) * gaps.var(axis=1, ddof=1)
    return gaps.mean(axis=1), np.sqrt(variance), min(n_splits, n) - 1


@contextmanager
def constants(**values):
    """Set constants of the evidence for a while."""
    modules = {
        **{f"dof_{kind}": (_evidence, "_DOF_SHARE") for kind in KINDS},
        **{f"shared_{kind}": (_evidence, "_SHARED_UNITS") for kind in KINDS},
        "instability": (_evidence, "_INSTABILITY"),
        "unseen": (_evidence, "UNSEEN"),
        "pseudo_units": (paired_gap_module, "_PSEUDO_UNITS"),
        "caution": (paired_gap_module, "_CAUTION"),
        "factor": (_gap_learning_curve, "_SHARED"),
        "no_limit": (_gap_learning_curve, "_NO_LIMIT"),
    }
    old = {name: getattr(*modules[name]) for name in values}
    try:
        for name, value in values.items():
            kind = name.partition("_")[2]
            if kind in KINDS:
                value = getattr(*modules[name]) | {kind: value}
            setattr(*modules[name], value)
        yield
    finally:
        for name, value in old.items():
            setattr(*modules[name], value)


def kind_of(name):
    """Return the kind of a loss, as the evidence names it."""
    return name if name in KINDS else "unbounded"


def moments(found, n, name, unlabeled=True):
    """Return the estimate, its variance and the slope of many samples."""
    return paired_gap(
        found["d"], None, found["g"], found["reference"],
        N_UNLABELED if unlabeled else 0, hits=name == "hits",
        unseen=_evidence.UNSEEN * (name == "brier"),
    )  # fmt: skip


def after(found, n, name, interval_for="fitted", unlabeled=True, moments_=None):
    """Return mean, standard error and degrees of freedom by the units."""
    mean, variance, _, slope = moments_ or moments(found, n, name, unlabeled)
    kind = kind_of(name)
    error = np.sqrt(variance)
    error = error * _evidence.error_ratio((1 - slope) / 2, interval_for, kind, n)
    return mean, error, _evidence.dof_share(kind) * (n - 1)


def covers(estimate, truth, level=0.95):
    mean, error, dof = estimate
    reach = stats.t.ppf((1 + level) / 2, dof) * error
    return float(np.mean(np.abs(mean - truth) <= reach + 1e-12))


def finds(estimate, truth, level=0.95):
    """Share of intervals that lie on the true side of zero."""
    mean, error, dof = estimate
    reach = stats.t.ppf((1 + level) / 2, dof) * error
    return float(np.mean(np.where(truth < 0, mean + reach < 0, mean - reach > 0)))


def positive(mean, error, dof, lean=0.0):
    z = np.divide(mean, error, out=np.zeros_like(mean), where=error > 0)
    return stats.t.cdf(z - lean, dof)


def cells():
    for classify in (False, True):
        for n in SIZES:
            for shift, step in SHIFTS.items():
                yield classify, n, shift, step


def run_simulation(out):
    for k, (name, law) in enumerate(LAWS.items()):
        arrays = {}
        for classify, n, shift, step in cells():
            if name != MAIN and n < 10:
                continue
            for design, folds in {"3x5": (5, 3), "1x10": (10, 1)}.items():
                if name != MAIN and design != "3x5":
                    continue
                found = simulate(classify, n, step, law, *folds)
                for loss_name, parts in found.items():
                    for key, value in parts.items():
                        arrays[f"{design}/{loss_name}/{n}/{shift}/{key}"] = value
        np.savez_compressed(out / f"simulated{k}.npz", **arrays)
    curves = {}
    for classify in (False, True):
        for shift, step in SHIFTS.items():
            found = simulate_curve(classify, FEW, step, LAWS[MAIN])
            for key, value in zip(("sizes", "each", "guesses"), found, strict=True):
                curves[f"{'hits' if classify else 'squared'}/{shift}/{key}"] = value
    np.savez_compressed(out / "curves.npz", **curves)


def read_simulation(out, design="3x5", law=MAIN):
    """Return (loss, n, shift) -> arrays."""
    found = {}
    with np.load(out / f"simulated{list(LAWS).index(law)}.npz") as z:
        for path in z.files:
            kind, name, n, shift, key = path.split("/")
            if kind == design:
                found.setdefault((name, int(n), shift), {})[key] = z[path]
    order = {name: k for k, name in enumerate([*LOSSES, *SHIFTS])}
    return dict(sorted(found.items(), key=lambda c: (order[c[0][0]], c[0][1],
                                                     order[c[0][2]])))  # fmt: skip


# ------------------------------------------------ verdicts, by what users call


def draw_verdict(rng, task, n, shift):
    """Draw a source, n target rows and the two fitted models' gap; both classes."""
    coef = np.array([1.0, -1.0, 0.5, 0.0, 0.0])
    other = coef + shift * np.array([0.0, 1.0, 1.0, 0.0, 0.0]) / np.sqrt(2)
    while True:
        parts = []
        for size, slope in ((200, other), (n, coef), (5000, coef)):
            X = rng.normal(size=(size, 5))
            noise = rng.normal if task == "regression" else rng.logistic
            y = X @ slope + (1 if task == "regression" else 0.7) * noise(size=size)
            parts.append((X, y if task == "regression" else np.where(y > 0, 1, 0)))
        if task == "regression" or 2 <= parts[1][1].sum() <= n - 2:
            break
    (X_s, y_s), (X_t, y_t), (X_b, y_b) = parts
    learner = Ridge() if task == "regression" else LogisticRegression()
    alone = clone(learner).fit(X_t, y_t)
    both = np.concatenate([X_s, X_t]), np.concatenate([y_s, y_t])
    pooled = clone(learner).fit(*both)
    if task == "regression":
        errors = [
            np.sqrt(np.mean((m.predict(X_b) - y_b) ** 2)) for m in (alone, pooled)
        ]
    else:
        errors = [np.mean(m.predict(X_b) != y_b) for m in (alone, pooled)]
    return both, np.repeat([1, -1], [200, n]), Pooled(learner), errors[1] - errors[0]


def run_verdicts(out):
    """Write the verdicts of ``cross_val_ntg`` on fresh draws, cell by cell."""
    shifts = {"regression": (0.0, 1.5, 3.0), "classification": (0.0, 2.0, 4.0)}
    lines = []
    for task, some in shifts.items():
        scoring = "neg_root_mean_squared_error" if task == "regression" else "accuracy"
        folds = TargetKFold if task == "regression" else StratifiedTargetKFold
        for n in (10, 20, 40):
            for shift in some:
                rng = np.random.default_rng([n, int(10 * shift)])
                found = []
                for _ in range(N_VERDICTS):
                    (X, y), domain, model, gap = draw_verdict(rng, task, n, shift)
                    deals = [
                        list(folds(5, shuffle=True, random_state=k).split(X, y, domain))
                        for k in range(3)
                    ]
                    row = [gap]
                    for cv in (deals[0], [fold for deal in deals for fold in deal]):
                        result = cross_val_ntg(
                            model, X, y, sample_domain=domain, cv=cv, scoring=scoring
                        )
                        row += [result.harm_probability, *result.interval]
                    found.append(row)
                lines.append([task, n, shift, found])
    (out / "verdicts.json").write_text(json.dumps(lines))


def public_table(out):
    """Print what ``cross_val_ntg`` says of one source, as users call it."""
    print("## Verdicts by the public functions\n")
    print(
        "`cross_val_ntg` (labels only) on pooled ridge regression (root mean squared "
        "error) or logistic regression (error rate), 200 rows of one source, "
        f"{N_VERDICTS} draws: a verdict is a harm probability up to .05 or from .95 "
        "on, with five folds once (the row of a source) and three times (the row of a "
        "method). *wrong*: the other sign than the gap of the fitted pair on 5000 "
        "rows; *covers*: the 95 % interval for the average holds the mean gap; "
        "*least width*: of any interval.\n"
    )
    rows = []
    for task, n, shift, found in json.loads((out / "verdicts.json").read_text()):
        found = np.array(found)
        gap, mean = found[:, 0], found[:, 0].mean()
        row = [task, n, shift, float(np.mean(gap > 0))]
        for p, low, high in (found[:, 1:4].T, found[:, 4:7].T):
            wrong = ((p <= 0.05) & (gap > 0)) | ((p >= 0.95) & (gap < 0))
            row += [*(float(np.mean(v)) for v in (
                p <= 0.05, p >= 0.95, wrong, (low <= mean) & (mean <= high)
            )), f"{np.min(high - low):.3f}"]  # fmt: skip
        rows.append(row)
    kinds = "transfer", "do not", "wrong", "covers", "least width"
    table(["task", "n", "shift", "harmed",
           *(f"{k}, {times}" for times in ("once", "3 times") for k in kinds)],
          rows)  # fmt: skip


# ------------------------------------------------------------------------- real tasks


def targets_of(domain):
    """Return two domains of 20 rows or more, always the same."""
    ids, counts = np.unique(domain, return_counts=True)
    ids = ids[counts >= 20]
    if len(ids) <= N_TARGETS:
        return ids
    return np.sort(np.random.RandomState(0).choice(ids, N_TARGETS, replace=False))


def draw_task(X, y, domain, target, metric, size, seed, how):
    """Draw sources, labeled and unlabeled target rows, and test rows."""
    rng = np.random.RandomState(1000 * seed + int(target))
    own = np.flatnonzero(domain == target)
    for _ in range(200):
        rows = rng.permutation(own)
        half, test = rows[: len(rows) // 2], rows[len(rows) // 2 :][:1000]
        if metric == "r2":
            labeled = half[: 30 * size]
            break
        classes = np.unique(y[rows])
        share = (10 if len(classes) == 2 else 3) * size
        labeled = half[: share * len(classes)]
        if how == "per class":
            labeled = np.concatenate([half[y[half] == c][:share] for c in classes])
        if np.sum(np.unique(y[labeled], return_counts=True)[1] > 1) > 1:
            break
    else:
        raise ValueError(f"no draw of target {target} holds two rows of two classes")
    rest = half[~np.isin(half, labeled)][:N_UNLABELED]
    others = np.flatnonzero(domain != target)
    source = rng.choice(others, min(400, len(others)), replace=False)
    ids = merged(domain, target)[source]
    if metric == "r2":
        y = (y - y[source].mean()) / y[source].std()
    else:
        ids = with_two_classes(ids, y[source])
    rows = np.concatenate([source, labeled, rest])
    labels = y[rows].astype(float)
    labels[len(rows) - len(rest) :] = np.nan
    where = np.concatenate([ids, np.full(len(labeled) + len(rest), -1)])
    return (X[rows], labels, where), (X[test], y[test].astype(float))


def methods(metric):
    learner = Ridge() if metric == "r2" else LogisticRegression(max_iter=200)
    return {
        "pooled": Pooled(learner),
        "light": Pooled(learner, source_weight=0.1),
        "sources": SourceOnly(learner),
    }


def run_task(key, metric, task):
    """Return one line per method and loss."""
    (X, y, domain), (X_test, y_test) = task
    classify = metric != "r2"
    data = check_domains(X, y, domain, numeric_labels=not classify)
    scoring = "accuracy" if classify else "neg_root_mean_squared_error"
    folds = target_folds(data, 10, stratify=classify, random_state=0)
    for name, method in methods(metric).items():
        baseline = check_pair(method)
        pair = (
            fit_target_only(baseline, data, {}),
            fit_transfer(clone(method), data, {}),
        )
        columns = common_columns(pair, data.labels(data.labeled), classify=classify)
        measure = PairMeasure(data, {}, scoring, columns)
        results = cross_fit(method, baseline, data, folds, measure.measure(), params={})
        held_out = measure.compare(folds, results)
        residuals, losses, steps = (
            held_out.residuals, held_out.losses, held_out.steps,
        )  # fmt: skip
        ends = np.cumsum([len(test) for _, test in folds])[:-1]
        scores = measure.scores(folds, results)
        by_score, gaps = scores.evidence, scores.target_only - scores.transfer
        squared = [
            float(np.diff([np.mean(np.sum(k**2, axis=1)) for k in part])[0])
            for part in np.split(residuals, ends, axis=1)
        ]
        errors = [
            np.sum(columns.residual(model, X_test, y_test) ** 2, axis=1)
            for model in pair
        ]
        if classify:
            truth = [np.mean(model.predict(X_test) != y_test) for model in pair]
        else:
            truth = [np.sqrt(np.mean(one)) for one in errors]
        found = {
            "quadratic": (measure.losses(folds, losses, residuals, steps), squared,
                          np.mean(errors[1] - errors[0])),
            "score": (by_score, gaps, truth[1] - truth[0]),
        }  # fmt: skip
        old = fold_evidence(data, folds)
        for kind, (evidence, values, gap) in found.items():
            yield dict(zip(KEY, key, strict=True)) | {
                "metric": metric, "method": name, "loss": kind,
                "n": len(np.concatenate([t for _, t in folds])),
                "mean": evidence.mean, "error": evidence.standard_error("fitted"),
                "dof": evidence.dof if hasattr(evidence, "dof") else old.dof,
                "old": old.probability_positive(np.array(values)),
                "old_interval": old.interval(np.array(values), 0.95).tolist(),
                "interval": evidence.interval(0.95, "fitted").tolist(),
                "gap": float(gap), "units": units_of_line(evidence),
            }  # fmt: skip


def units_of_line(evidence):
    """Return what another choice of the constants needs, in a few numbers."""
    if not isinstance(evidence, _evidence.PairedEvidence):
        return None
    reference = evidence.reference_guesses
    return {
        "d": np.round(evidence.differences, 8).tolist(),
        "weights": np.round(evidence.weights, 8).tolist(),
        "g": None if evidence.guesses is None else evidence.guesses.round(8).tolist(),
        "reference": None if reference is None else float(np.mean(reference)),
        "n_reference": 0 if reference is None else len(reference),
        "hits": evidence.hits,
        "unseen": evidence.unseen / _evidence.UNSEEN if _evidence.UNSEEN else 0.0,
    }


def evidence_of(line):
    """Return the evidence of a real task with the constants as they are."""
    units = line["units"]
    n_reference = units["n_reference"]
    return _evidence.PairedEvidence(
        np.array(units["d"]), np.array(units["weights"]),
        None if units["g"] is None else np.array(units["g"]),
        np.full(n_reference, units["reference"]) if n_reference else None,
        units["hits"], units["unseen"] * _evidence.UNSEEN,
    )  # fmt: skip


def run_tasks(data, part, out):
    """Append the runs that are not there yet."""
    path = out / "uncertainty.jsonl"
    done = {tuple(r[k] for k in KEY) for r in read(out)}
    folder = data / "proof" if part == "proof" else data
    for name in PARTS[part]:
        X, y, domain, metric = load(folder, name)
        X = reduce(X)
        for target in targets_of(domain):
            for size, seed, how in DRAWS:
                key = part, name, int(target), size, seed, how
                if metric == "r2" and how != "random":
                    continue
                if key in done:
                    continue
                task = draw_task(X, y, domain, target, metric, size, seed, how)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # solvers that stop at max_iter
                    lines = list(run_task(key, metric, task))
                with path.open("a") as file:
                    file.writelines(json.dumps(line) + "\n" for line in lines)


def read(out):
    """Return the lines of the real tasks, with the constants as they are."""
    path = out / "uncertainty.jsonl"
    lines = [json.loads(line) for line in path.open()] if path.exists() else []
    lines = [x for x in lines if (x["size"], x["seed"], x["how"]) in DRAWS]
    for line in lines:
        if line["units"]:
            evidence = evidence_of(line)
            line |= {
                "mean": evidence.mean,
                "error": evidence.standard_error("fitted"),
                "dof": evidence.dof,
                "interval": evidence.interval(0.95, "fitted").tolist(),
                "labels_error": replace(
                    evidence, reference_guesses=None
                ).standard_error(),
            }
    return lines


# ------------------------------------------------------------------------------ tables


def judged(out):
    """Return group -> (t statistic, degrees of freedom, harmed, old probability)."""
    groups = {}
    for (name, n, _), found in read_simulation(out).items():
        mean, error, dof = after(found, n, name)
        z = np.where(error > 0, mean / np.where(error > 0, error, 1), 0)
        row = z, np.full(len(z), dof), found["fitted"] > 0, positive(*before(found, n))
        groups.setdefault(f"simulated, {LOSSES[name]}", []).append(row)
    for line in read(out):
        error = line["error"]
        z = line["mean"] / error if error > 0 else 0.0
        row = [[z], [line["dof"]], [line["gap"] > 0], [line["old"]]]
        regression = line["metric"] == "r2"
        name = {
            ("quadratic", True): "squared error",
            ("quadratic", False): "Brier score",
            ("score", True): "root mean squared error",
            ("score", False): "error rate",
        }[line["loss"], regression]
        how = "" if line["how"] == "random" else " (labels per class)"
        groups.setdefault(f"{line['part']}{how}, {name}", []).append(row)
    return {
        name: [np.concatenate(c) for c in zip(*rows, strict=True)]
        for name, rows in groups.items()
    }


#: candidates of the constants of the intervals; more pseudo units would cost what
#: unlabeled rows gain
CANDIDATES = {
    **{f"dof_{kind}": (0.4, 0.5, 0.75, 1.0) for kind in KINDS},
    **{f"shared_{kind}": (0.0, 0.1, 0.2, 0.3, 0.4) for kind in KINDS},
    "instability": (1.0, 1.5),
    "unseen": (0.0, 2.0, 4.0, 8.0),
    "pseudo_units": (2.0, 4.0),
    "caution": (1.0, 2.0, 4.0),
}


#: where one constant is moved at a time from, and what is then moved together
START = (0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 1.0, 8.0, 4.0, 2.0)
TOGETHER = {
    "unseen": (4.0, 8.0),
    "dof_brier": (0.5, 0.75, 1.0),
    "dof_hits": (0.5, 0.75, 1.0),
    "shared_unbounded": (0.0, 0.2),
    "shared_brier": (0.0, 0.3),
}
CHANCE = 0.001
#: what the package had before
OLD = (0.5, 0.75, 0.75, 0.0, 0.0, 0.0, 1.0, 8.0, 4.0, 2.0)


def in_package():
    """Return the constants as they are, in the order of the candidates."""
    return (
        *_evidence._DOF_SHARE.values(), *_evidence._SHARED_UNITS.values(),
        _evidence._INSTABILITY, _evidence.UNSEEN, paired_gap_module._PSEUDO_UNITS,
        paired_gap_module._CAUTION,
    )  # fmt: skip


class IntervalErrors:
    """How far the coverage is from .95, and the width, by the constants.

    The distance is a mean over cells: in the simulation n from 10 on, shifts, losses,
    both gaps and all designs of the laws of a part; on the real tasks, with labels at
    random, the losses and tasks. Half of it is the simulation, half the real tasks. A
    coverage too low counts double.
    """

    def __init__(self, out, part):
        self.cells = [
            (name, n, found)
            for law, options in LAWS.items()
            if options.part == part
            for design in (("3x5", "1x10") if law == MAIN else ("3x5",))
            for (name, n, _), found in read_simulation(out, design, law).items()
            if n >= 10
        ]
        self.lines = [
            line
            for line in read(out)
            if line["part"] == part and line["how"] == "random" and line["units"]
        ]
        self.moments = {}

    def __call__(self, values):
        """Return the distance and what it is made of."""
        names = list(CANDIDATES)
        with constants(**dict(zip(names, values, strict=True))):
            key = values[names.index("unseen") :]
            if key not in self.moments:
                self.moments = {key: [moments(f, n, name) for name, n, f in self.cells]}
            simulated, widths = [], []
            for (name, n, found), some in zip(
                self.cells, self.moments[key], strict=True
            ):
                for gap in ("average", "fitted"):
                    estimate = after(found, n, name, gap, moments_=some)
                    simulated.append(covers(estimate, found[gap]))
                    reach = stats.t.ppf(0.975, estimate[2]) * estimate[1]
                    widths.append(np.log(np.median(reach)))
            real = {}
            for line in self.lines:
                low, high = evidence_of(line).interval(0.95, "fitted")
                kind = line["metric"] == "r2", line["loss"]
                real.setdefault(kind, []).append(low <= line["gap"] <= high)
        simulated, real = np.array(simulated), [np.mean(c) for c in real.values()]

        def distance(covered):
            covered = np.array(covered)
            return np.mean(abs(covered - 0.95) * np.where(covered < 0.95, 2, 1))

        inside = (simulated >= 0.93 - 5e-3) & (simulated <= 0.97 + 5e-3)
        return (
            (distance(simulated) + distance(real)) / 2, np.mean(simulated),
            np.mean(inside), np.mean(simulated < 0.93 - 5e-3), min(simulated),
            np.mean(real), min(real), np.exp(np.mean(widths)),
        )  # fmt: skip


def choose_intervals(out):
    """Print what the constants of the intervals do, around the best of all."""
    names, errors = list(CANDIDATES), IntervalErrors(out, "tune")
    current = in_package()
    best = START
    results = {best: errors(best)}
    moved = True
    while moved:  # one constant at a time, from the last to the first
        moved = False
        for k in reversed(range(len(names))):
            for value in CANDIDATES[names[k]]:
                values = (*best[:k], value, *best[k + 1 :])
                if values not in results:
                    results[values] = errors(values)
            near = [(*best[:k], v, *best[k + 1 :]) for v in CANDIDATES[names[k]]]
            found = min(near, key=lambda values: results[values][0])
            if results[found][0] < results[best][0]:
                best, moved = found, True
    for chosen in product(*TOGETHER.values()):
        values = list(best)
        for name, value in zip(TOGETHER, chosen, strict=True):
            values[names.index(name)] = value
        if tuple(values) not in results:
            results[tuple(values)] = errors(tuple(values))
    least = min(found[0] for found in results.values())
    near = [values for values in results if results[values][0] <= least + CHANCE]
    best = max(near, key=lambda values: (results[values][2], -results[values][7]))
    print("## Choice of the constants of the intervals\n")
    print(
        f"Of {len(results)} combinations ({least:.4f} is the least distance) that "
        f"with most cells inside among those within {CHANCE} of the least, which is "
        "chance, and those that differ from it in one constant. *distance*: mean "
        "distance of the coverage from .95, a coverage too low counted double; half of "
        'it is the simulation by the laws of "tune" (n from 10 on, both gaps, with '
        'unlabeled rows), half the sets of "tune" (labels at random, the gap of the '
        "fitted pair). *inside*: cells of the simulation in .93 to .97; *low*: below.\n"
    )
    header = ["distance", "simulated", "inside", "low", "least", "sets",
              "least of sets", "width"]  # fmt: skip

    def row(values, found):
        return [*values, *(f"{v:.4f}" if k == 0 else f"{v:.3f}"
                           for k, v in enumerate(found))]  # fmt: skip

    table(["moved", "to", *header], [
        row(("-", "-"), results[best]),
        *(row((names[k], str(value)), results[values])
          for k in range(len(names)) for value in CANDIDATES[names[k]]
          if (values := (*best[:k], value, *best[k + 1 :])) in results
          and values != best),
    ])  # fmt: skip
    print(f"The best: {dict(zip(names, best, strict=True))}.\n")
    if current != best:
        print(f"In the package: {dict(zip(names, current, strict=True))}.\n")
    print("The constants of the package, and those that it had before, by part:\n")
    parts = {part: IntervalErrors(out, part) for part in PARTS}
    table(["part", "constants", *header], [
        row((part, which), found(values))
        for part, found in parts.items() if found.lines
        for which, values in (("before", OLD), ("now", current))
    ])  # fmt: skip
    print("Intervals from the gaps of folds, for the fitted pair (simulation):\n")
    rows = []
    for factor in (1.0, 1.25, 1.5, 2.0):
        covered = []
        for (_, n, _), found in read_simulation(out).items():
            if n >= 10:
                mean, error, dof = before(found, n)
                covered.append(covers((mean, np.sqrt(factor) * error, dof),
                                      found["fitted"]))  # fmt: skip
        rows.append([factor, float(np.mean(covered)),
                     float(np.mean(np.abs(np.array(covered) - 0.95)))])  # fmt: skip
    table(["factor of the variance", "coverage", "distance"], rows)


def calibrate(out):
    """Print the mean log loss against sharpness and lean, on random labels."""
    groups = {
        name: values
        for name, values in judged(out).items()
        if "proof" not in name and "per class" not in name
    }
    print("## Choice of the constants\n")
    print(
        "Log loss of the probability t(b z - a), z the estimate over its standard "
        "error for the fitted pair: means over the losses, on the simulation and on "
        "the tune sets with labels drawn at random.\n"
    )
    rows = []
    for b in (0.6, 0.8, 1.0, 1.2):
        for a in (0.0, 0.1, 0.2, 0.3, 0.4):
            found = {"simulated": [], "tune": []}
            for name, (z, dof, harmed, _) in groups.items():
                p = np.clip(stats.t.cdf(b * z - a, dof), 1e-4, 1 - 1e-4)
                value = -np.mean(np.where(harmed, np.log(p), np.log1p(-p)))
                found[name.split(",")[0]].append(value)
            means = [np.mean(v) for v in found.values()]
            rows.append([b, a, *(f"{v:.4f}" for v in (*means, np.mean(means)))])
    table(["b", "a", "simulated", "tune", "mean"], rows)


def table(header, rows):
    print("|", " | ".join(header), "|")
    print("|" + "---|" * len(header))
    for row in rows:
        print("|", " | ".join(
            f"{v:.2f}" if isinstance(v, float) else str(v) for v in row
        ), "|")  # fmt: skip
    print()


def coverage_tables(out):
    found, single = read_simulation(out), read_simulation(out, "1x10")
    print("## Coverage of 95 % intervals\n")
    print(
        "Columns: for the average gap and for the gap of the fitted pair; *before* and "
        "*after* with three times five folds, *after* with labels only and with 200 "
        "unlabeled rows; *1x10*: after, unlabeled rows, ten folds once (the guard).\n"
    )
    inside = {}
    for name, title in LOSSES.items():
        print(f"### {title}\n")
        rows = []
        for (loss_name, n, shift), one in found.items():
            if loss_name != name:
                continue
            row = [n, shift, float(np.mean(one["fitted"] > 0))]
            for gap in ("average", "fitted"):
                ten = single[loss_name, n, shift]
                values = [
                    covers(before(one, n), one[gap]),
                    covers(after(one, n, name, gap, False), one[gap]),
                    covers(after(one, n, name, gap), one[gap]),
                    covers(after(ten, n, name, gap), ten[gap]),
                ]
                row += values
                if n >= 10:
                    for k, value in enumerate(values):
                        inside.setdefault((gap, k), []).append(value)
            rows.append(row)
        kinds = ["before", "labels", "unlabeled", "1x10"]
        table(["n", "shift", "harmed"]
              + [f"average, {k}" for k in kinds] + [f"fitted, {k}" for k in kinds],
              rows)  # fmt: skip
    print("All losses, n from 10 on:\n")
    rows = []
    for (gap, k), values in inside.items():
        v = np.array(values)
        rows.append([gap, kinds[k], v.mean(), v.min(), v.max(),
                     float(np.mean((v >= 0.93) & (v <= 0.97))),
                     float(np.mean(v < 0.93))])  # fmt: skip
    table(["gap", "rule", "mean", "least", "most", "share of cells in .93 to .97",
           "below .93"], rows)  # fmt: skip


def laws_table(out):
    """Print the coverage by the laws of the simulation."""
    print("By law, n from 10 on, with unlabeled rows, three times five folds:\n")
    rows = []
    for law, options in LAWS.items():
        for gap in ("average", "fitted"):
            v, names = [], []
            for (name, n, shift), found in read_simulation(out, law=law).items():
                if n >= 10:
                    v.append(covers(after(found, n, name, gap), found[gap]))
                    names.append(f"{LOSSES[name]}, n = {n}, {shift}")
            v = np.array(v)
            rows.append([options.part, law, gap, v.mean(), v.min(), v.max(),
                         float(np.mean((v >= 0.93) & (v <= 0.97))),
                         float(np.mean(v < 0.93)), names[v.argmin()]])  # fmt: skip
    table(["part", "law", "gap", "mean", "least", "most",
           "share of cells in .93 to .97", "below .93", "the least"],
          rows)  # fmt: skip


def power_tables(out):
    print("## Power\n")
    print(
        "Share of draws whose 95 % interval for the average gap lies on its true side "
        "of zero: *source, before* five folds once; *method, before* three times; "
        "*after* on the latter. *fresh*: t test on n further labels. *width* and "
        "*error*: with 200 unlabeled rows, relative to labels only (median standard "
        "error; root mean squared error of the estimated average gap).\n"
    )
    ratios = []
    for name, title in LOSSES.items():
        print(f"### {title}\n")
        rows = []
        for (loss_name, n, shift), one in read_simulation(out).items():
            if loss_name != name:
                continue
            truth = one["average"]
            labels = after(one, n, name, "average", False)
            more = after(one, n, name, "average")
            fresh = one["fresh"]
            fresh = (fresh.mean(axis=1), fresh.std(axis=1, ddof=1) / np.sqrt(n), n - 1)
            old = finds(before(one, n, 1), truth), finds(before(one, n), truth)
            new = finds(labels, truth), finds(more, truth)
            best = finds(fresh, one["fitted"])
            error = [np.sqrt(np.mean((e[0] - truth) ** 2)) for e in (more, labels)]
            rows.append([n, shift, *old, *new, best,
                         float(np.median(more[1]) / np.median(labels[1])),
                         float(error[0] / error[1])])  # fmt: skip
            ratios.append((*old, *new, best))
        table(["n", "shift", "source, before", "method, before", "after, labels",
               "after, unlabeled", "fresh", "width", "error"], rows)  # fmt: skip
    r = np.array(ratios)
    low = r[:, 0] < 0.5
    print(
        f"Over the {low.sum()} cells where a source's row was below 50 %: "
        f"{r[low, 0].mean():.3f} (source, before), {r[low, 1].mean():.3f} (method, "
        f"before), {r[low, 2].mean():.3f} (after, labels), {r[low, 3].mean():.3f} "
        f"(after, unlabeled), {r[low, 4].mean():.3f} (fresh).\n"
    )


def verdict_tables(out):
    print("## Verdicts\n")
    print(
        "Share of draws by verdict, and of wrong ones (the sign of the fitted pair's "
        "gap is the other). *Sharp* is the mean probability that the grade gives to "
        "the true sign.\n"
    )
    worst = [0.0, 0.0]
    for name, title in LOSSES.items():
        print(f"### {title}\n")
        rows = []
        for (loss_name, n, shift), one in read_simulation(out).items():
            if loss_name != name:
                continue
            harmed = one["fitted"] > 0
            mean, error, dof = before(one, n)
            yes = mean + stats.t.ppf(1 - 0.05 / 14, dof) * error < 0
            old = yes, mean >= 0
            p = positive(*after(one, n, name), _evidence._LEAN)
            new = p <= 0.05, p >= 0.95
            wrong = [
                float(np.mean((a & harmed) | (b & ~harmed))) for a, b in (old, new)
            ]
            worst = [max(w, v) for w, v in zip(worst, wrong, strict=True)]
            rows.append([n, shift, float(np.mean(harmed)),
                         float(np.mean(old[0])), float(np.mean(old[1])), wrong[0],
                         float(np.mean(new[0])), float(np.mean(new[1])), wrong[1],
                         float(np.mean(np.where(harmed, p, 1 - p)))])  # fmt: skip
        table(["n", "shift", "harmed", "before: transfer", "before: do not",
               "before: wrong", "after: transfer", "after: do not", "after: wrong",
               "sharp"], rows)  # fmt: skip
    print(
        f"Most wrong verdicts in a cell: {worst[0]:.3f} before, {worst[1]:.3f} after.\n"
    )


def curve_cells(out, needed=True):
    """Yield, by cell, what curves of 20 labels predict of 40, beside the truth."""
    with np.load(out / "curves.npz") as z:
        for (name, n, shift), found in read_simulation(out).items():
            if n != MORE or f"{name}/{shift}/each" not in z.files:
                continue
            parts = [z[f"{name}/{shift}/{key}"] for key in ("each", "guesses")]
            sizes = z[f"{name}/{shift}/sizes"]
            curves = [
                curve_of(sizes, each, guesses, name == "hits")
                for each, guesses in zip(*parts, strict=True)
            ]
            truth = found["average"].mean()
            gaps = [curve.predict(MORE) for curve in curves]
            clear = {"confidence": 0.9, "interval_for": "fitted"}
            p = positive(*after(found, n, name, unlabeled=False), _evidence._LEAN)
            cell = {
                "loss": LOSSES[name],
                "shift": shift,
                "gap": float(truth),
                "predicted": float(np.mean([gap for gap, _ in gaps])),
                "covered": float(np.mean([a <= truth <= b for _, (a, b) in gaps])),
                "clear": float(
                    np.mean([c.decision_probability(MORE, **clear) for c in curves])
                ),
                "decided": float(np.mean((p <= 0.05) | (p >= 0.95))),
            }
            if needed:
                quartiles = np.quantile(
                    [curve.labels_needed(**clear) for curve in curves[::8]],
                    [0.25, 0.5, 0.75], method="inverted_cdf",
                )  # fmt: skip
                cell["needed"] = ", ".join(f"{v:.0f}" for v in quartiles)
                medians = np.quantile(
                    [curve.labels_interval(**clear)[0] for curve in curves[::8]],
                    [0.25, 0.5, 0.75], method="inverted_cdf",
                )  # fmt: skip
                cell["median"] = ", ".join(f"{v:.0f}" for v in medians)
                cell["undecidable"] = float(
                    np.mean([c.undecidable_probability(**clear) for c in curves[::8]])
                )
            yield cell


def curve_table(out):
    """Print what curves of 20 labels say of 40, beside what 40 labels say."""
    print("## How many more labels\n")
    print(
        f"`gap_learning_curve` on {FEW} labels (four sizes, five folds twice) predicts "
        f"the average gap with {MORE} labels, and how probable a clear verdict then is "
        "(a probability of harm up to .05 or from .95 on, labels only, three times "
        "five folds). *decided*: the share of draws with that many labels that have "
        "one. *needed*: quartiles of the number of labels for a clear verdict with "
        "probability 0.8, by `labels_needed` and, curve by curve, by "
        "`labels_interval`; *undecidable*: mean of `undecidable_probability`.\n"
    )
    cells = list(curve_cells(out))
    table(["loss", "shift", "gap", "predicted", "95 % interval covers",
           "clear verdict, predicted", "decided", "needed", "needed, by curve",
           "undecidable"],
          [list(cell.values()) for cell in cells])  # fmt: skip
    predicted, decided = (
        np.mean([c[key] for c in cells]) for key in ("clear", "decided")
    )
    print(f"Mean over the cells: {predicted:.2f} predicted, {decided:.2f} decided.\n")


def choose_curves(out):
    """Print what the constants of the learning curve do."""
    print("## Choice of the constants of the learning curve\n")
    print(
        "On the simulated curves. *coverage*: mean distance of the coverage of the "
        "interval of the gap predicted for more labels from .95, a coverage too low "
        "counted double; *verdicts*: mean distance of the predicted probability of a "
        "clear verdict from the share of draws that have one; *distance*: their sum.\n"
    )
    rows = []
    for shared in (1.0, 1.5, 2.0, 3.0):
        for no_limit in (0.05, 0.25, 0.5, 0.75):
            with constants(factor=shared, no_limit=no_limit):
                cells = list(curve_cells(out, needed=False))
            error = np.array([c["covered"] - 0.95 for c in cells])
            coverage = np.mean(np.where(error < 0, -2 * error, error))
            verdicts = np.mean([abs(c["clear"] - c["decided"]) for c in cells])
            rows.append([shared, no_limit, float(coverage), float(verdicts),
                         float(coverage + verdicts)])  # fmt: skip
    table(["factor of the covariance", "prior of a limit of 0", "coverage", "verdicts",
           "distance"], rows)  # fmt: skip


def reliability_tables(out):
    print("## Does the probability of harm come true?\n")
    groups = judged(out)
    rows = []
    for name, (z, dof, harmed, old) in groups.items():
        p = stats.t.cdf(z - _evidence._LEAN, dof)
        base = harmed.mean()
        safe = np.clip(np.where(harmed, p, 1 - p), 1e-6, 1)
        rows.append([name, len(z), float(base), float(p.mean()),
                     *(f"{v:.3f}" for v in (
                         np.mean((p - harmed) ** 2), np.mean((old - harmed) ** 2),
                         base * (1 - base), 0.25, -np.mean(np.log(safe)),
                     ))])  # fmt: skip
    print("Brier scores, of the sign of the gap on the test rows:\n")
    table(["runs", "number", "harmed", "mean probability", "Brier", "before",
           "if the share harmed were known", "always 0.5", "log loss"],
          rows)  # fmt: skip
    print(
        "Reliability: in each bin of the probability of harm the number of runs, the "
        "mean probability and the share that was harmed.\n"
    )
    joined = {}
    for name, values in groups.items():
        joined.setdefault(name.split(",")[0], []).append(values)
    for part, several in joined.items():
        z, dof, harmed, _ = (np.concatenate(c) for c in zip(*several, strict=True))
        p = stats.t.cdf(z - _evidence._LEAN, dof)
        place = np.clip(np.searchsorted(BINS, p, side="right") - 1, 0, len(BINS) - 2)
        print(f"### {part}\n")
        table(["from", "to", "runs", "mean probability", "harmed"],
              [[float(BINS[k]), float(BINS[k + 1]), int(np.sum(place == k)),
                float(p[place == k].mean()), float(harmed[place == k].mean())]
               for k in range(len(BINS) - 1) if np.any(place == k)])  # fmt: skip
    print("## Real tasks: coverage, verdicts, and what unlabeled rows add\n")
    lines, rows = {}, []
    for line in read(out):
        task = "regression" if line["metric"] == "r2" else "classification"
        how = "" if line["how"] == "random" else " (labels per class)"
        lines.setdefault((line["part"] + how, task, line["loss"]), []).append(line)
    for (part, task, kind), some in lines.items():
        gap, old, new = (
            np.array([line[k] for line in some])
            for k in ("gap", "old_interval", "interval")
        )
        p = np.array([line_probability(line) for line in some])
        p_old = np.array([line["old"] for line in some])
        wrong = [
            float(np.mean(((q <= 0.05) & (gap > 0)) | ((q >= 0.95) & (gap < 0))))
            for q in (p_old, p)
        ]
        said = [float(np.mean((q <= 0.05) | (q >= 0.95))) for q in (p_old, p)]
        width = "-"
        if kind == "quadratic":
            width = float(np.median([
                line["error"] / line["labels_error"] for line in some
                if line["labels_error"] > 0
            ]))  # fmt: skip
        rows.append([part, task, kind, len(some),
                     *(float(np.mean((i[:, 0] <= gap) & (gap <= i[:, 1])))
                       for i in (old, new)), *said, *wrong, width])  # fmt: skip
    print(
        "Coverage of the fitted pair's gap (its own test error is in it) by 95 % "
        "intervals; share of runs with a probability of harm up to .05 or from .95 on, "
        "and of those that were wrong, among all runs; *before* is the t of the "
        "means of ten folds. *width*: standard error with unlabeled rows over that of "
        "labels only, median.\n"
    )
    table(["part", "task", "loss", "runs", "coverage before", "after", "said before",
           "after", "wrong before", "after", "width"], rows)  # fmt: skip


def line_probability(line):
    z = line["mean"] / line["error"] if line["error"] > 0 else 0.0
    return float(stats.t.cdf(z - _evidence._LEAN, line["dof"]))


def report(out):
    """Print all tables."""
    print("# How sure is the gap?\n")
    print(
        "Output of `benchmarks/uncertainty.py --report`; its first lines explain the "
        "simulation, the real tasks, *before* and *after*.\n"
    )
    coverage_tables(out)
    laws_table(out)
    power_tables(out)
    verdict_tables(out)
    public_table(out)
    curve_table(out)
    reliability_tables(out)
    choose_intervals(out)
    choose_curves(out)
    calibrate(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--part", choices=["tune", "proof"])
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(1):
        if options.simulate:
            run_simulation(options.out)
            run_verdicts(options.out)
        if options.data is not None:
            run_tasks(options.data, options.part, options.out)
    if options.calibrate:
        choose_intervals(options.out)
        choose_curves(options.out)
        calibrate(options.out)
    if options.report:
        report(options.out)


if __name__ == "__main__":
    main()
