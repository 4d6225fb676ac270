"""How should TransGLM weigh sets of sources, and ARMUL choose its constant?

Both have to find out from held-out rows whether sources are of use. Every task is drawn
with its sources as they are ("clean"), with the labels of every second source permuted
("mixed") and with those of all sources permuted ("useless"). A cell of TransGLM fits
every set of sources once and weighs the fits by every rule; a cell of ARMUL fits every
constant on every fold and chooses by every rule. An error is the mean squared error of
the target's test rows (of generated ones without their noise), or the log loss of
classes; tables show geometric means of its ratio to that of the same method without
sources (ARMUL: with the constant 0), and how often it is above it by 5 %. Run::

    python benchmarks/source_rules.py --out LINES                  # generated tasks
    python benchmarks/source_rules.py --out LINES --data DIR       # and the tune sets
    python benchmarks/source_rules.py --out LINES --data DIR --part proof
    python benchmarks/source_rules.py --report LINES

Sets, targets, labels and draws are those of the leaderboard. What is chosen was fixed
before the run: of the rules whose mean ratio with useless sources is at most 1.1 on
generated tasks and 1.03 on ``tune``, where errors hold noise, the one of the smallest
mean of both over all kinds. A run that was stopped goes on where it was.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
from scipy import special
from sklearn.metrics import log_loss

from benchmarks.board.sets import SETS
from benchmarks.board.tasks import Splits, all_tasks, load_task
from sktransfer._domains import check_domains
from sktransfer._solvers.aggregation import exponential_weights, q_weights
from sktransfer.model_selection import StratifiedTargetKFold, TargetKFold
from sktransfer.multisource import ARMUL, ARMULLogistic, TransGLM
from sktransfer.multisource._armul_base import CONSTANTS
from sktransfer.multisource._summary_estimator import Coordinates
from sktransfer.multisource._trans_glm import (
    _CORRECTIONS,
    _PENALTIES,
    _cross_fit,
    _fold_losses,
    _Problem,
)

KINDS = "clean", "mixed", "useless"
TEMPERATURES = (4.0, 1.0, 0.25, 0.0)
DETECTION = (0.0, 0.5, 1.0, 2.0)
THEN_WEIGHED = "detect 0", "detect 1", "detect, paired 0", "detect, paired 1"
LABELS, SEEDS = (30, 100), 2
#: features and size of the coefficients, five of the sparse ones and all dense ones
SHAPES = {"sparse": (40, 0.5), "dense": (15, 0.3)}
#: sets with fewer sources or rows than these rules are about
LEFT_OUT = {"digits_raw", "newsgroups_comp_sci", "reuters_orgspeople", "sarcos_test7"}


# --- tasks ----------------------------------------------------------------------------


def generated(name, seed):
    """Return four sources of 70 rows, a target, and test rows without noise."""
    rng = np.random.RandomState(seed)
    shape, n_useful, n = name
    p, size = SHAPES[shape]
    beta = np.zeros(p)
    beta[: 5 if shape == "sparse" else p] = size
    X, y, ids = [], [], []
    for k in range(4):
        own = beta + 0.02 * rng.normal(size=p)
        if k >= n_useful:
            own = rng.permutation(own) * rng.choice([-1, 1], p)
        mix = np.eye(p) + 0.3 * rng.normal(size=(p, 1)) * rng.normal(size=p) / p**0.5
        X.append(rng.normal(size=(70, p)) @ mix)
        y.append(X[-1] @ own + 0.5 * (k >= n_useful) + rng.normal(size=70))
        ids.append(np.full(70, k + 1))
    for count, label in ((n, -1), (500, 0)):
        X.append(rng.normal(size=(count, p)))
        y.append(X[-1] @ beta + (label < 0) * rng.normal(size=count))
        ids.append(np.full(count, label))
    return np.concatenate(X), np.concatenate(y), np.concatenate(ids)


def generated_cells(seed):
    """Yield the cells of generated tasks: four draws for each seed of the others."""
    draws = range(4 * seed, 4 * seed + 4)
    for draw, shape, useful, n in product(draws, SHAPES, (0, 2, 4), (40, 100)):
        yield {"set": f"generated {shape}", "useful": useful, "labels": n, "seed": draw}


def spoiled(y, ids, kind, seed):
    """Permute the labels within all sources, or every second one."""
    rng, y = np.random.RandomState(seed), y.copy()
    for k in np.unique(ids[ids > 0])[:: 2 if kind == "mixed" else 1]:
        if kind != "clean":
            y[ids == k] = rng.permutation(y[ids == k])
    return y


# --- TransGLM -------------------------------------------------------------------------


class EveryRule(TransGLM):
    """Fits of all rules from one cross-fit."""

    def _fit_tasks(self, data, weight, summaries, folds):
        grids = [np.array(_PENALTIES), np.array(_CORRECTIONS)]
        classes = self._check_labels(data, summaries)
        coordinates = Coordinates(
            data, weight, summaries, fit_intercept=True, shift=self.family == "gaussian"
        )
        problem = _Problem(self, data, weight, summaries, coordinates, classes, grids)
        rows = np.flatnonzero(data.is_labeled_target)

        def fits(sets):
            best, _, residuals = _cross_fit(problem, rows, folds, sets)
            targets, used = problem.targets(rows), sets(problem.rank(rows))
            found = [
                problem.fit(targets, A, [grids[0][i]], [grids[1][j]])[:, 0, 0]
                for A, (i, j) in zip(used, best, strict=True)
            ]
            return np.array(found), residuals

        theta, residuals = fits(problem.nested)
        self.fits_ = {"without sources": theta[0]}
        for name, w in weights_of(residuals).items():
            self.fits_[name] = np.tensordot(w, theta, axes=1)

        def singles(ranking):
            return [[], *([k] for k in range(len(ranking)))]

        best, _, _ = _cross_fit(problem, rows, folds, singles, correct=False)
        losses = np.array([
            _fold_losses(problem, rows, fold, singles, best) for fold in folds
        ])  # fmt: skip
        known = {}
        for name, kept in detected(losses).items():
            if kept not in known:
                known[kept] = fits(lambda _, kept=kept: [[], list(kept)])
            theta, residuals = known[kept]
            self.fits_[name] = theta[1]
            if name in THEN_WEIGHED:
                w = weights_of(residuals)["exponential 1, half"]
                self.fits_[f"{name}, then exponential"] = np.tensordot(w, theta, axes=1)
        self.linear_ = {}
        for name, found in self.fits_.items():
            self._store(problem, rows, found, coordinates, np.float64)
            self.linear_[name] = np.copy(self.coef_), np.copy(self.intercept_)

    def predict_with(self, name, X):
        """Predict by one rule: values or probabilities."""
        self.coef_, self.intercept_ = self.linear_[name]
        if self.family == "gaussian":
            return X @ self.coef_ + self.intercept_
        return self.predict_proba(X)


def weights_of(residuals):
    """Return rule -> weights of the fits with the best 0, 1, ... sources."""
    n_sets, n = residuals.shape[:2]
    flat = residuals.reshape(n_sets, -1)
    losses = np.sum(flat**2, axis=1)
    even = np.full(n_sets, 1 / n_sets)
    half = np.r_[0.5, np.full(n_sets - 1, 0.5 / max(n_sets - 1, 1))]
    found = {}
    for T in TEMPERATURES:
        if T == 0:
            found["select"] = exponential_weights(losses, n, T, even)
        else:
            found[f"exponential {T:g}"] = exponential_weights(losses, n, T, even)
            found[f"exponential {T:g}, half"] = exponential_weights(losses, n, T, half)
            found[f"q {T:g}"] = q_weights(flat @ flat.T, n, T, even)[0]
            found[f"q {T:g}, half"] = q_weights(flat @ flat.T, n, T, half)[0]
    return found


def detected(losses):
    """Return rule -> sources that it keeps, by losses of folds and single sources."""
    spread, mean = max(losses[:, 0].std(), 0.01), losses.mean(axis=0)
    gap = losses[:, 1:] - losses[:, :1]
    error = gap.std(axis=0, ddof=1) / np.sqrt(len(losses))
    keep = {f"detect {c:g}": mean[1:] <= mean[0] + c * spread for c in DETECTION}
    for c in (-1, 0, 1):
        keep[f"detect, paired {c}"] = gap.mean(axis=0) <= c * error
    return {name: tuple(np.flatnonzero(k).tolist()) for name, k in keep.items()}


def errors_of_glm(X, y, ids, X_test, y_test):
    classes = np.unique(y)
    family = "gaussian" if y.dtype.kind == "f" else "binomial"
    model = EveryRule(family=family).fit(X, y, sample_domain=ids)
    return {
        name: error(y_test, model.predict_with(name, X_test), classes)
        for name in model.linear_
    }


# --- ARMUL ----------------------------------------------------------------------------


def predictions(model, X):
    """Return predictions of rows X by the model of each domain, the target last."""
    sources = model.source_coef_.reshape(-1, X.shape[1])
    coef = np.concatenate([sources, model.coef_.reshape(1, -1)])
    intercept = np.append(np.ravel(model.source_intercept_), model.intercept_)
    return coef @ X.T + intercept[:, None]


def errors_of_armul(X, y, ids, X_test, y_test):
    """Errors of every rule of choice; None with more than two classes."""
    real = y.dtype.kind == "f"
    classes, make = np.unique(y), ARMUL if real else ARMULLogistic
    if not real and len(classes) > 2:
        return None
    code = y if real else (y == classes[1]).astype(float)
    own, sources = ids < 0, np.unique(ids[ids > 0])

    def eta(C, train):
        model = make(penalty=C).fit(X[train], y[train], sample_domain=ids[train])
        return predictions(model, X)

    def loss(found, rows, k):
        if real:
            return (code[rows] - found[k, rows]) ** 2
        return np.logaddexp(0, found[k, rows]) - code[rows] * found[k, rows]

    data = check_domains(X, y, ids)
    split = TargetKFold if real else StratifiedTargetKFold
    folds = list(split(5, shuffle=True, random_state=0).split(data.X, y, ids))
    rng = np.random.RandomState(0)
    held = rng.permutation(len(y)) % 5
    on_target, on_all = [], []
    for C in CONSTANTS:
        target, every = np.zeros(0), 0.0
        for _, test in folds:
            train = np.setdiff1d(np.arange(len(y)), test)
            target = np.append(target, loss(eta(C, train), test, -1))
        for f in range(5):
            train = held != f
            if not real and any(
                len(np.unique(y[train & (ids == k)])) < 2 for k in (*sources, -1)
            ):
                continue
            found = eta(C, train)
            every += loss(found, np.flatnonzero(~train & own), -1).sum()
            for j, k in enumerate(sources):
                every += loss(found, np.flatnonzero(~train & (ids == k)), j).sum()
        on_target.append(target)
        on_all.append(every)
    on_target, on_all = np.array(on_target), np.array(on_all)
    finals = {}
    for C in CONSTANTS:
        found = make(penalty=C).fit(X, y, sample_domain=ids)
        found = X_test @ np.ravel(found.coef_) + found.intercept_
        p = special.expit(found)
        guess = found if real else np.column_stack([1 - p, p])
        finals[C] = error(y_test, guess, classes)
    errors = {"without sources": finals[0.0]}
    errors |= {f"C = {C:g}": finals[C] for C in CONSTANTS if C}
    means = on_target.mean(axis=1)
    best = int(np.argmin(means))
    errors["target"] = finals[CONSTANTS[best]]
    errors["all domains"] = finals[CONSTANTS[int(np.argmin(on_all))]]
    for s in (0.5, 1.0, 2.0):
        excess = on_target - on_target[best]
        spread = excess.std(axis=1, ddof=1) / np.sqrt(on_target.shape[1])
        near = np.flatnonzero(excess.mean(axis=1) <= s * spread)
        errors[f"target, {s:g} s.e. to own fits"] = finals[CONSTANTS[near[-1]]]
        errors[f"target, {s:g} s.e. to sharing"] = finals[CONSTANTS[near[0]]]
    finite = [i for i, C in enumerate(CONSTANTS) if np.isfinite(C)]
    for most in (1.0, 2.0, 4.0):
        some = [i for i in finite if CONSTANTS[i] <= most]
        i = some[int(np.argmin(means[some]))]
        errors[f"target, at most {most:g}"] = finals[CONSTANTS[i]]
        i = some[int(np.argmin(on_all[some]))]
        errors[f"all domains, at most {most:g}"] = finals[CONSTANTS[i]]
    return errors


# --- run and report -------------------------------------------------------------------


def error(y, guess, classes):
    if guess.ndim == 1:
        return float(np.mean((y - guess) ** 2))
    return float(log_loss(y, np.clip(guess, 1e-6, 1), labels=classes))


METHODS = {"TransGLM": errors_of_glm, "ARMUL": errors_of_armul}


def run_cell(method, data, kind, seed):
    X, y, ids, X_test, y_test = data
    return METHODS[method](X, spoiled(y, ids, kind, seed), ids, X_test, y_test)


def work(args):
    """Yield a cell, a function that loads its rows, and how they are spoiled."""
    for seed in range(args.seeds):
        if args.part == "tune":
            yield from generated_work(seed)  # the same with --quick
        if args.data:
            yield from real_work(args, seed)


def generated_work(seed):
    """Yield the work on generated tasks."""
    for cell in generated_cells(seed):
        name = cell["set"].split()[1], cell["useful"], cell["labels"]

        def rows(name=name, seed=cell["seed"]):
            X, y, ids = generated(name, seed)
            seen = ids != 0
            return X[seen], y[seen], ids[seen], X[~seen], y[~seen]

        kind = {0: "useless", 2: "mixed", 4: "clean"}[cell["useful"]]
        yield {**cell, "kind": kind}, rows, "clean"


def real_work(args, seed):
    """Yield the work on the leaderboard's tasks of one seed."""
    splits = Splits()
    names = [name for name in SETS[args.part] if name not in LEFT_OUT]
    labels, positions = (LABELS[:1], (0,)) if args.quick else (LABELS, (0, 1))
    for task in all_tasks(names, labels, [seed], args.data, positions):
        found = load_task(task, splits, args.data)
        if found is None or found.problem.n_sources < 2:
            continue

        def rows(found=found):
            X, y, ids = found.training_rows(unlabeled=False)
            return X, y, ids, found.X_test, found.y_test

        cell = {
            "set": task.set, "target": int(task.target), "labels": task.labels,
            "seed": task.seed, "classes": len(found.problem.classes),
        }  # fmt: skip
        for kind in KINDS:
            yield {**cell, "kind": kind}, rows, kind


def run(args):
    known = set()
    if args.out.exists():
        lines = args.out.read_text().splitlines()
        known = {json.dumps(json.loads(line)["cell"]) for line in lines}
    with args.out.open("a") as file:
        for cell, rows, kind in work(args):
            if cell.get("classes", 0) > 2:
                continue
            for method in args.methods:
                key = {"method": method, "part": args.part, **cell}
                if json.dumps(key) in known:
                    continue
                errors = run_cell(method, rows(), kind, cell["seed"])
                file.write(json.dumps({"cell": key, "errors": errors}) + "\n")
                file.flush()


def report(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for method in METHODS:
        groups = {}
        for line in lines:
            cell = line["cell"]
            if cell["method"] == method:
                part = "generated" if "useful" in cell else cell["part"]
                groups.setdefault(part, []).append(line)
        for part, mine in groups.items():
            print(f"\n### {method}: {part}, {len(mine)} tasks\n")
            print("| rule | all | clean | mixed | useless | above by 5 %: clean "
                  "| mixed | useless |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
            rules = [r for r in mine[0]["errors"] if r != "without sources"]
            rows = [(rule, *summary(mine, rule)) for rule in rules]
            for rule, mean, *others in sorted(rows, key=lambda row: row[1]):
                cells = [f"{mean:.3f}", *others]
                print(f"| {rule} | {' | '.join(cells)} |")


def summary(lines, rule):
    """Return the mean ratio of a rule, and by kind of sources ratio and harm.

    Every set counts the same, whatever its number of targets and draws.
    """
    logs, harms = {k: {} for k in KINDS}, {k: {} for k in KINDS}
    for line in lines:
        cell, errors = line["cell"], line["errors"]
        ratio = np.log(errors[rule] / errors["without sources"])
        logs[cell["kind"]].setdefault(cell["set"], []).append(ratio)
        harms[cell["kind"]].setdefault(cell["set"], []).append(ratio > np.log(1.05))
    means = {
        k: np.mean([np.mean(v) for v in found.values()]) for k, found in logs.items()
    }
    shares = [np.mean([np.mean(v) for v in harms[k].values()]) for k in KINDS]
    return (
        float(np.exp(np.mean(list(means.values())))),
        *(f"{np.exp(means[k]):.3f}" for k in KINDS),
        *(f"{share:.0%}" for share in shares),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="lines of JSON, one per cell")
    parser.add_argument("--data", type=Path, help="folder with the .npz files")
    parser.add_argument("--part", choices=["tune", "proof"], default="tune")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--quick", action="store_true", help="one target, few labels")
    parser.add_argument("--report", type=Path, help="print the tables of a file")
    args = parser.parse_args()
    if args.out:
        run(args)
    if args.report:
        report(args.report)


if __name__ == "__main__":
    main()
