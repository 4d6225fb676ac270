"""In what numbers should a guard compare classifiers that have no probabilities?

Classifiers such as ``LinearSVC`` answer with decision values of no common scale. Their
squared distance from -1 and 1 punishes answers that are right by a wide margin. The
candidates here are bounded scores of the decision values:

- "raw": the decision values;
- "clip": cut at -1 and 1;
- "votes": 1 for the predicted class, else 0;
- "softmax b": shares of the classes, the softmax of b times the decision values (of
  two classes -d and d);
- "scaled c": the softmax with b = c / m, where m is the median lead of the first class
  over the second among the labeled samples that the model was fitted on with others;
- "platt": the softmax whose b has the least logarithmic loss on the held-out samples,
  one b for each model.

For each draw a target-only and a pooled model are fitted on all samples and fold by
fold, once; then every candidate makes the guard's residuals, weight and blend. Run::

    python benchmarks/margins.py --data DIR --part tune
    python benchmarks/margins.py --data DIR --part proof
    python benchmarks/margins.py --part simulated

The draws are those of ``benchmarks/portfolio.py`` (few labels), with at most two
targets of a set. "hurt" is the share of the draws that lose more than one point of
accuracy to the target alone, "kept" the sum of the gains relative to always pooling
where that gains, "mean" the mean gain, "worst" the worst draw.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from portfolio import PARTS, draw, targets_of
from safety import load, reduce
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.linear_model import Perceptron, RidgeClassifier, SGDClassifier
from sklearn.svm import SVC, LinearSVC

from sktransfer._folds import deal_rows
from sktransfer._solvers.aggregation import blend_posterior, blend_weight
from sktransfer.safe._defaults import ATOM, INFLATION, LEAST_WEIGHT, RISK

LEARNERS = {
    "LinearSVC": LinearSVC(dual=False),
    "LinearSVC(C=0.001)": LinearSVC(C=0.001, dual=False),
    "RidgeClassifier": RidgeClassifier(),
    "RidgeClassifier(1e4)": RidgeClassifier(alpha=1e4),
    "SVC": SVC(),
    "Perceptron": Perceptron(),
    "SGD hinge": SGDClassifier(random_state=0),
}
SCALES = {"LinearSVC": (0.01, 100.0), "Perceptron": (0.01, 100.0)}
N_SEEDS = {"tune": 2, "proof": 2, "simulated": 8}


def decisions(model, X, classes):
    """Return one column of decision values per class; -inf: the model lacks it."""
    values = model.decision_function(X)
    if values.ndim == 1:
        values = np.column_stack([-values, values])
    full = np.full((len(X), len(classes)), -np.inf)
    full[:, np.searchsorted(classes, model.classes_)] = values
    return full


def lead(values):
    """Return the median lead of the first class over the second."""
    first = np.sort(values, axis=1)
    return max(float(np.median(first[:, -1] - first[:, -2])), 1e-300)


def platt(values, y, least=-5.0, smooth=0.0, width=np.inf):
    """Return the slope of the least logarithmic loss."""
    known = np.maximum(values, -1e300)
    unit = lead(values)
    goal = np.eye(values.shape[1])[y]
    goal = (1 - smooth) * goal + smooth / goal.shape[1]

    def loss(log_slope):
        logs = log_softmax(np.exp(log_slope) * known / unit, axis=1)
        away = 0.5 * ((log_slope - np.log(2)) / width) ** 2
        return away - np.sum(goal * np.maximum(logs, -50))

    return np.exp(minimize_scalar(loss, method="bounded",
                                  bounds=(least, 5.0)).x) / unit  # fmt: skip


def candidates(held_out, y):
    """Return name -> (function of the values of model j, code of the label or not)."""

    def bounded(low, high):
        return lambda values, j: np.clip(np.maximum(values, -1e300), low, high)

    def shares(slopes):
        return lambda values, j: softmax(slopes[j] * values, axis=1)

    leads = [lead(values) for values in held_out]
    found = {
        "raw": (lambda values, j: np.where(values == -np.inf, -1.0, values), -1.0),
        "clip": (bounded(-1, 1), -1.0),
        "votes": (lambda values, j: np.eye(values.shape[1])[values.argmax(1)], 0.0),
    }
    for slope in (0.5, 1.0, 2.0, 4.0):
        found[f"softmax {slope:g}"] = shares([slope, slope]), 0.0
    for c in (1.0, 2.0, 4.0):
        found[f"scaled {c:g}"] = shares([c / one for one in leads]), 0.0
    found["platt"] = shares([platt(values, y) for values in held_out]), 0.0
    for width in (0.5, 1.0, 1.5):
        slopes = [platt(values, y, width=width) for values in held_out]
        found[f"prior {width:g}"] = shares(slopes), 0.0
    slopes = [platt(values, y, smooth=1 / (len(y) + 2)) for values in held_out]
    found["platt smooth"] = shares(slopes), 0.0
    return found


def compare(learner, parts):
    """Return accuracies: of the target alone, of pooling, of the guard's blends."""
    (Xs, ys), (X, y), (X_test, y_test) = parts
    classes, code = np.unique(np.concatenate([ys, y]), return_inverse=True)
    code = code[len(ys) :]

    def pair(rows):
        alone = clone(learner).fit(X[rows], y[rows])
        pooled = np.concatenate([Xs, X[rows]]), np.concatenate([ys, y[rows]])
        return alone, clone(learner).fit(*pooled)

    held_out = np.full((2, len(y), len(classes)), np.nan)
    for test in deal_rows(X, y, 10, True, np.random.RandomState(0)):
        rows = np.setdiff1d(np.arange(len(y)), test)
        for j, model in enumerate(pair(rows)):
            held_out[j, test] = decisions(model, X[test], classes)
    known = ~np.isnan(held_out[0, :, 0])
    held_out, code = held_out[:, known], code[known]
    tests = [decisions(m, X_test, classes) for m in pair(np.arange(len(y)))]

    def accuracy(values):
        return np.mean(classes[values.argmax(axis=1)] == y_test)

    found = {"alone": accuracy(tests[0]), "pooled": accuracy(tests[1])}
    for name, (score, absent) in candidates(held_out, code).items():
        goal = np.where(np.eye(len(classes))[code] > 0, 1.0, absent)
        residuals = [goal - score(values, j) for j, values in enumerate(held_out)]
        info = blend_posterior(*residuals, inflation=INFLATION)
        weight = float(blend_weight(info, RISK, ATOM))
        weight = weight if weight >= LEAST_WEIGHT else 0.0
        scores = [score(values, j) for j, values in enumerate(tests)]
        found[name] = accuracy((1 - weight) * scores[0] + weight * scores[1])
    return found


def real_draws(folder, part):
    for name in PARTS[part]:
        X, y, domain, metric = load(
            folder / "proof" if part == "proof" else folder, name
        )
        if metric == "r2":
            continue
        X = reduce(X)
        for target in targets_of(domain).tolist():
            for seed in range(N_SEEDS[part]):
                parts = draw(X, y, domain, target, metric, "few", seed)
                (Xs, ys, _), labeled, test = parts
                yield name, ((Xs, ys), labeled, test)


def simulated_draws():
    """Yield draws of normal classes, of the source alike, mislabeled or exchanged."""
    for n_classes in (2, 5):
        for kind in ("useful", "useless", "harmful"):
            for seed in range(N_SEEDS["simulated"]):
                rng = np.random.RandomState(seed)
                means = rng.normal(size=(n_classes, 10)) * 0.6
                source = means + 0.1 * rng.normal(size=means.shape)
                if kind == "harmful":
                    source = means[::-1]
                sizes = 300, 10 * n_classes if n_classes == 2 else 20, 500
                labels = [rng.permutation(np.arange(n) % n_classes) for n in sizes]
                X = [
                    m[k] + rng.normal(size=(len(k), 10))
                    for m, k in zip([source, means, means], labels, strict=True)
                ]
                if kind == "useless":
                    labels[0] = rng.permutation(labels[0])
                yield f"{kind} {n_classes}", list(zip(X, labels, strict=True))


def figures(records, name):
    gain = np.array([r[name] - r["alone"] for r in records])
    always = np.array([r["pooled"] - r["alone"] for r in records])
    total = np.maximum(always, 0).sum()
    kept = np.maximum(gain, 0).sum() / total if total else np.nan
    hurt = np.mean(gain < -0.01 - 1e-9)
    return (f"{100 * hurt:.1f}", f"{gain.mean():.4f}", f"{100 * kept:.0f}",
            f"{gain.min():.3f}")  # fmt: skip


def table(records, title):
    print(f"\n{title} ({len(records)} draws)\n")
    print("| score | hurt % | mean | kept % | worst |\n|---|---|---|---|---|")
    for name in records[0]:
        if name not in ("alone", "set", "learner"):
            print(f"| {name} | {' | '.join(figures(records, name))} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--part", choices=list(N_SEEDS), default="simulated")
    given = parser.parse_args()
    if given.part == "simulated":
        draws = list(simulated_draws())
    else:
        draws = list(real_draws(given.data, given.part))
    records = []
    for name, parts in draws:
        for title, learner in LEARNERS.items():
            for scale in (1.0, *SCALES.get(title, ())):
                scaled = [(scale * X, y) for X, y in parts]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # solvers that stop at max_iter
                    found = compare(learner, scaled)
                title_ = title if scale == 1 else f"{title}, X times {scale:g}"
                records.append({"set": name, "learner": title_} | found)
    table(records, f"{given.part}, all")
    key = "set" if given.part == "simulated" else "learner"
    for value in dict.fromkeys(r[key] for r in records):
        table([r for r in records if r[key] == value], f"{given.part}, {value}")


if __name__ == "__main__":
    main()
