"""Do transferability scores predict the accuracy after transfer?

Source models (perceptrons and linear pipelines of different sizes, trained on all or
half of the classes of a source domain) are transferred to target tasks: random sets of
classes of another domain. The transferred model is a logistic regression on the frozen
features, trained on the task's training rows; its accuracy is that on held-out rows.
Each score sees the training rows only.

Settings: standard (2 to 10 classes, all training rows), few-shot (2 to 10 classes, 10
rows each), fixed categories (5 classes, all rows).

Reported is the rank correlation of score and accuracy
- over tasks: for one source model over all tasks, averaged over the models, and
- over models: for one task over all source models, averaged over the tasks,
with 95 % intervals from a bootstrap over tasks, and the time of every score.

    python benchmarks/transferability.py --data DIR --out DIR
"""

import argparse
import csv
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sktransfer.metrics import (
    OTCERegressor,
    gbc,
    h_score,
    leep,
    logme,
    n_leep,
    nce,
    otce_components,
    silhouette,
    transrate,
)
from sktransfer.metrics._source_model import source_features

SETTINGS = ("standard", "few-shot", "fixed categories")
SCORES = (
    "OTCE", "OTCE (-W_T)", "LEEP", "NCE", "N-LEEP", "H-score", "H-score (shrunk)",
    "LogME", "TransRate", "GBC", "silhouette", "-log(classes)",
)  # fmt: skip
MAX_TRAIN, MAX_TEST, SOURCE_ROWS = 300, 300, 300
FIXED_CLASSES, SHOTS, AUXILIARY = 5, 10, 8


class Task(NamedTuple):
    """Rows of a target domain that make one task."""

    domain: str
    train: np.ndarray
    test: np.ndarray


class Model(NamedTuple):
    """A source model with its features and outputs for the rows of every domain."""

    domain: str
    source_rows: np.ndarray
    source_labels: np.ndarray
    features: dict
    proba: dict


def load_families(folder):
    """Return {family: {domain: (X, y)}}."""
    digits = np.load(folder / "digits_mnist_usps_256.npz")
    raw = np.load(folder / "digits_raw.npz")
    families = {"digits": _by_domain(digits)}
    families["digits"]["semeion"] = (
        raw["semeion_X"].astype(np.float32),
        raw["semeion_y"].astype(int),
    )
    for domain, (X, y) in families["digits"].items():
        families["digits"][domain] = (X / np.abs(X).max(), y)
    families["office-googlenet"] = _by_domain(
        np.load(folder / "office10_awd_googlenet1024.npz")
    )
    families["office-decaf"] = _by_domain(np.load(folder / "office10_dw_decaf6.npz"))
    for name in ("office-googlenet", "office-decaf"):
        for domain, (X, y) in families[name].items():
            norm = np.linalg.norm(X, axis=1, keepdims=True)
            families[name][domain] = (X / norm, y)
    return families


def _by_domain(archive):
    names = [str(name) for name in archive["domain_names"]]
    X, y = archive["X"].astype(np.float32), archive["y"].astype(int)
    return {
        name: (X[archive["domain"] == k], y[archive["domain"] == k])
        for k, name in enumerate(names)
    }


def make_tasks(domains, per_domain, setting, rng):
    """Draw tasks: a set of classes, and disjoint training and test rows."""
    tasks = []
    for domain, (_, y) in domains.items():
        classes = np.unique(y)
        for _ in range(per_domain):
            size = FIXED_CLASSES if setting == SETTINGS[2] else rng.randint(2, 11)
            chosen = rng.choice(classes, size, replace=False)
            train, test = [], []
            for label in chosen:
                rows = rng.permutation(np.flatnonzero(y == label))
                half = len(rows) // 2
                few = SHOTS if setting == SETTINGS[1] else half
                train.append(rows[: min(few, half)])
                test.append(rows[half:])
            train, test = np.concatenate(train), np.concatenate(test)
            train, test = _at_most(train, MAX_TRAIN, rng), _at_most(test, MAX_TEST, rng)
            tasks.append(Task(domain, train, test))
    return tasks


def _at_most(rows, size, rng):
    return rows if len(rows) <= size else rng.choice(rows, size, replace=False)


def fit_models(domains, rng):
    """Train four source models on each domain."""
    models = []
    for domain, (X, y) in domains.items():
        half = rng.choice(np.unique(y), 5, replace=False)
        for classes in (np.unique(y), half):
            rows = np.flatnonzero(np.isin(y, classes))
            rows = _at_most(rows, 1000, rng)
            wide = MLPClassifier((64,), max_iter=60, random_state=rng.randint(1000))
            linear = make_pipeline(
                PCA(24, random_state=0), LogisticRegression(C=10, max_iter=500)
            )
            for estimator in (make_pipeline(StandardScaler(), wide), linear):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    estimator.fit(X[rows], y[rows])
                features = {
                    name: source_features(estimator, rows_X).astype(np.float64)
                    for name, (rows_X, _) in domains.items()
                }
                proba = {
                    name: estimator.predict_proba(rows_X)
                    for name, (rows_X, _) in domains.items()
                }
                sampled = _at_most(rows, SOURCE_ROWS, rng)
                models.append(Model(domain, sampled, y[sampled], features, proba))
    return models


def evaluate(model, task, y):
    """Return the accuracy after transfer, the scores, and the OTCE differences."""
    features = model.features[task.domain]
    F, proba = features[task.train], model.proba[task.domain][task.train]
    target = y[task.train]
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        head.fit(F, target)
        accuracy = head.score(features[task.test], y[task.test])
        differences = otce_components(
            model.features[model.domain][model.source_rows],
            model.source_labels,
            F,
            target,
            max_iter=1000,
        )
        scores = {
            "OTCE (-W_T)": -differences.task_difference,
            "LEEP": leep(proba, target),
            "NCE": nce(proba.argmax(axis=1), target),
            "N-LEEP": n_leep(F, target, random_state=0),
            "H-score": h_score(F, target),
            "H-score (shrunk)": h_score(F, target, shrinkage="ledoit_wolf"),
            "LogME": logme(F, target),
            "TransRate": transrate(F, target, standardize=True),
            "GBC": gbc(F, target),
            "silhouette": silhouette(F, target),
            "-log(classes)": -np.log(len(np.unique(target))),
        }
    return accuracy, scores, differences


def run_family(domains, per_domain, rng, n_jobs):
    """Return {setting: (accuracy, {score: values})}, arrays (n_models, n_tasks).

    A model is not transferred to its own domain: NaN there.
    """
    models = fit_models(domains, rng)
    auxiliary = make_tasks(domains, AUXILIARY, "standard", rng)
    results, auxiliary_results = {}, {}
    for setting in SETTINGS:
        tasks = make_tasks(domains, per_domain, setting, rng)
        results[setting] = _grid(models, tasks, domains, n_jobs)
    auxiliary_results = _grid(models, auxiliary, domains, n_jobs)
    for accuracy, scores, differences in results.values():
        scores["OTCE"] = np.full(accuracy.shape, np.nan)
        for m in range(len(models)):
            seen = np.isfinite(auxiliary_results[0][m])
            regressor = OTCERegressor(negative=True).fit(
                auxiliary_results[2][m][seen], auxiliary_results[0][m][seen]
            )
            seen = np.isfinite(accuracy[m])
            scores["OTCE"][m, seen] = regressor.predict(differences[m][seen])
    return {setting: result[:2] for setting, result in results.items()}


def _grid(models, tasks, domains, n_jobs):
    pairs = [
        (m, t)
        for m, model in enumerate(models)
        for t, task in enumerate(tasks)
        if model.domain != task.domain
    ]
    found = Parallel(n_jobs=n_jobs)(
        delayed(evaluate)(models[m], tasks[t], domains[tasks[t].domain][1])
        for m, t in pairs
    )
    shape = (len(models), len(tasks))
    accuracy, differences = np.full(shape, np.nan), np.full((*shape, 2), np.nan)
    scores = {name: np.full(shape, np.nan) for name in found[0][1]}
    for (m, t), (value, values, difference) in zip(pairs, found, strict=True):
        accuracy[m, t], differences[m, t] = value, difference
        for name in values:
            scores[name][m, t] = values[name]
    return accuracy, scores, differences


def spearman(a, b):
    """Spearman's correlation; NaN where one side is constant."""
    a, b = rankdata(a), rankdata(b)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return a @ b / scale if scale > 0 else np.nan


def kendall(a, b):
    """Kendall's tau-b; NaN where one side is constant."""
    a, b = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    scale = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return np.sum(a * b) / scale if scale > 0 else np.nan


def mean_correlation(accuracy, score, statistic):
    """Average the correlation within each row over the rows."""
    values = []
    for a, s in zip(accuracy, score, strict=True):
        seen = np.isfinite(a)
        if seen.sum() >= 3:
            values.append(statistic(a[seen], s[seen]))
    return np.array(values)


def correlations(families, setting, score, statistic, by, n_bootstrap, seed):
    """Return the mean correlation over families, and its bootstrap replicates.

    The same seed draws the same tasks for every score, so differences are paired.
    """
    rng = np.random.RandomState(seed)

    def estimate(resample):
        values = []
        for results in families.values():
            accuracy, scores = results[setting]
            tasks = np.arange(accuracy.shape[1])
            if resample:
                tasks = rng.choice(tasks, len(tasks))
            a, s = accuracy[:, tasks], scores[score][:, tasks]
            if by == "models":
                a, s = a.T, s.T
            values.append(mean_correlation(a, s, statistic))
        values = np.concatenate(values)
        return np.nanmean(values) if np.isfinite(values).any() else np.nan

    value = estimate(False)
    if not np.isfinite(value):
        return value, np.full(n_bootstrap, np.nan)
    return value, np.array([estimate(True) for _ in range(n_bootstrap)])


def published_logme(F, y):
    """LogME by the fixed-point recipe of the literature, as a yardstick of speed.

    Squared singular values from a decomposition of F'F, then for each class the usual
    updates of both precisions until lambda changes by less than 1 %, 10 at most.
    """
    n, d = F.shape
    V, sigma, _ = np.linalg.svd(F.T @ F)
    U = F @ V / np.sqrt(sigma)
    evidences = []
    for label in np.unique(y):
        target = (y == label).astype(float)
        z2 = (U.T @ target) ** 2
        rest = target @ target - z2.sum()
        alpha = beta = 1.0
        for _ in range(11):
            t = alpha / beta
            gamma = np.sum(sigma / (sigma + t))
            m2 = np.sum(sigma * z2 / (t + sigma) ** 2)
            res2 = np.sum(z2 / (1 + sigma / t) ** 2) + rest
            alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (res2 + 1e-5)
            if abs(alpha / beta - t) / t <= 1e-2:
                break
        log_det = np.sum(np.log(alpha + beta * sigma))
        evidence = d / 2 * np.log(alpha) + n / 2 * np.log(beta) - log_det / 2
        evidence -= beta / 2 * res2 + alpha / 2 * m2 + n / 2 * np.log(2 * np.pi)
        evidences.append(evidence / n)
    return np.mean(evidences)


def speed_table(n=10_000, d=1024, n_classes=100, repeats=1):
    """Time every score on one core; CPU seconds, best of `repeats`."""
    rng = np.random.RandomState(0)
    y = rng.randint(n_classes, size=n)
    latent = 2 * rng.normal(size=(n_classes, 64))[y] + rng.normal(size=(n, 64))
    F = np.maximum(latent @ rng.normal(size=(64, d)) + 2 * rng.normal(size=(n, d)), 0)
    proba = rng.dirichlet(np.full(n_classes, 0.1), size=n)
    timed = {
        "one product F'F (yardstick)": lambda: F.T @ F,
        "NCE": lambda: nce(proba.argmax(axis=1), y),
        "LEEP": lambda: leep(proba, y),
        "H-score": lambda: h_score(F, y),
        "H-score (shrunk)": lambda: h_score(F, y, shrinkage="ledoit_wolf"),
        "LogME": lambda: logme(F, y),
        "LogME, published recipe (yardstick)": lambda: published_logme(F, y),
        "TransRate": lambda: transrate(F, y),
        "GBC": lambda: gbc(F, y),
        "N-LEEP": lambda: n_leep(F, y, random_state=0),
        "silhouette (4000 rows)": lambda: silhouette(F, y),
        "OTCE (2000 + 2000 rows)": lambda: otce_components(
            F, y, F + 0.1, y, max_samples=2000, random_state=0
        ),
    }
    rows = []
    with threadpool_limits(1):
        logme(F[:100], y[:100])  # first calls load libraries
        otce_components(F[:50], y[:50], F[50:90], y[50:90])
        for name, function in timed.items():
            seconds = np.inf
            for _ in range(repeats):
                start = time.process_time()
                function()
                seconds = min(seconds, time.process_time() - start)
            rows.append({"score": name, "cpu_seconds": round(seconds, 3)})
    return rows


def correlation_table(families, n_bootstrap, seed):
    """Return one row per view, setting and score, over all families and for each."""
    rows, replicates = [], {}
    for by in ("tasks", "models"):
        for setting in SETTINGS:
            for score in SCORES:
                row = {"family": "all", "over": by, "setting": setting, "score": score}
                for name, statistic in (("spearman", spearman), ("kendall", kendall)):
                    value, drawn = correlations(
                        families, setting, score, statistic, by, n_bootstrap, seed
                    )
                    low, high = np.percentile(drawn, [2.5, 97.5])
                    row |= {name: value, f"{name}_low": low, f"{name}_high": high}
                    replicates[name, by, setting, score] = drawn
                rows.append(row)
    for family, results in families.items():
        for by in ("tasks", "models"):
            for setting in SETTINGS:
                for score in SCORES:
                    value, _ = correlations(
                        {family: results}, setting, score, spearman, by, 0, seed
                    )
                    rows.append(
                        {"family": family, "over": by, "setting": setting,
                         "score": score, "spearman": value}
                    )  # fmt: skip
    return rows, replicates


def differences_markdown(rows, replicates):
    """Lay out Spearman of OTCE minus that of each score, mean over the settings."""
    lines = [
        "Spearman of OTCE minus that of another score, mean over settings "
        "[95 % interval, tasks resampled in pairs]",
        "",
        "| score | over tasks | over models |",
        "|---|---|---|",
    ]
    for score in SCORES[1:-1]:
        cells = []
        for by in ("tasks", "models"):
            values = {
                name: np.mean(
                    [r["spearman"] for r in rows
                     if (r["family"], r["over"], r["score"]) == ("all", by, name)]
                )
                for name in ("OTCE", score)
            }  # fmt: skip
            drawn = np.mean(
                [
                    replicates["spearman", by, setting, "OTCE"]
                    - replicates["spearman", by, setting, score]
                    for setting in SETTINGS
                ],
                axis=0,
            )
            low, high = np.percentile(drawn, [2.5, 97.5])
            gap = values["OTCE"] - values[score]
            cells.append(f"{gap:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append(f"| {score} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def families_markdown(rows, families):
    """Lay out each family: accuracies, and the mean Spearman over the settings."""
    header = ["family", "mean accuracy", "accuracy >= 0.99", "over", *SCORES[:-1]]
    lines = [
        "Each family alone: Spearman, mean over settings",
        "",
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
    ]
    for family, results in families.items():
        accuracy = np.concatenate([a[np.isfinite(a)] for a, _ in results.values()])
        for by in ("tasks", "models"):
            cells = [
                family,
                f"{accuracy.mean():.3f}",
                f"{(accuracy >= 0.99).mean():.0%}",
            ]
            cells.append(by)
            for score in SCORES[:-1]:
                values = [
                    r["spearman"]
                    for r in rows
                    if (r["family"], r["over"], r["score"]) == (family, by, score)
                ]
                cells.append(f"{np.mean(values):.3f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def to_markdown(rows, by):
    """Lay out the correlations of one view, best score on average first."""
    rows = [r for r in rows if r["over"] == by and r["family"] == "all"]

    def mean(score):
        values = [
            r["spearman"] for r in rows if r["score"] == score and r["over"] == by
        ]
        return np.nanmean(values) if np.isfinite(values).any() else -np.inf

    lines = [
        f"Rank correlation over {by}: Spearman [95 % interval] / Kendall",
        "",
        "| score | " + " | ".join(SETTINGS) + " | mean Spearman |",
        "|---" * (len(SETTINGS) + 2) + "|",
    ]
    for score in sorted(SCORES, key=mean, reverse=True):
        cells = []
        for setting in SETTINGS:
            (row,) = (r for r in rows if (r["setting"], r["score"]) == (setting, score))
            cells.append(
                f"{row['spearman']:.3f} [{row['spearman_low']:.3f}, "
                f"{row['spearman_high']:.3f}] / {row['kendall']:.3f}"
                if np.isfinite(row["spearman"])
                else "constant"
            )
        average = mean(score)
        average = f"{average:.3f}" if np.isfinite(average) else "-"
        lines.append(f"| {score} | " + " | ".join(cells) + f" | {average} |")
    return "\n".join(lines)


def speed_markdown(rows):
    lines = ["Time on one core, n = 10000, d = 1024, 100 classes", ""]
    lines += ["| score | CPU seconds |", "|---|---|"]
    lines += [f"| {row['score']} | {row['cpu_seconds']:.2f} |" for row in rows]
    return "\n".join(lines)


def save(rows, path):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--out", type=Path, default=Path("transferability-results"))
    parser.add_argument("--tasks", type=int, default=14, help="tasks per domain")
    parser.add_argument("--bootstrap", type=int, default=100)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-speed", action="store_true")
    return parser.parse_args()


def main():
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    families, counts = {}, {}
    for k, (name, domains) in enumerate(load_families(options.data).items()):
        rng = np.random.RandomState(options.seed + k)
        families[name] = run_family(domains, options.tasks, rng, options.n_jobs)
        counts[name] = families[name]["standard"][0].shape
        print(f"{name}: {counts[name][0]} source models, {counts[name][1]} tasks per "
              f"setting, {time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    rows, replicates = correlation_table(families, options.bootstrap, options.seed)
    save(rows, options.out / "correlations.csv")
    parts = [
        to_markdown(rows, "tasks"),
        to_markdown(rows, "models"),
        differences_markdown(rows, replicates),
        families_markdown(rows, families),
    ]
    if not options.skip_speed:
        speed = speed_table()
        save(speed, options.out / "speed.csv")
        parts.append(speed_markdown(speed))
    models, tasks = (sum(count[i] for count in counts.values()) for i in (0, 1))
    parts.append(
        f"{models} source models, {tasks} target tasks per setting, seed "
        f"{options.seed}, {time.perf_counter() - start:.0f} s in all."
    )
    text = "\n\n".join(parts) + "\n"
    (options.out / "transferability.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
