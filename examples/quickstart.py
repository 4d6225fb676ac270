r"""
Quickstart: does transfer help here?
====================================

A target domain with few labels, a source domain with many that is not quite the
same. Five ways to use them, each tuned with scikit-learn's ``GridSearchCV`` on folds
of the labeled target rows, and compared on target rows that no fit has seen.

Run it as it is (real handwritten digits, three labels per class, a source whose
images and labels are partly corrupted), or on a table of your own::

    python examples/quickstart.py
    python examples/quickstart.py --data patients.csv --domain hospital \
        --target Lyon --label outcome
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.datasets import from_frame, load_perturbed_digits
from sktransfer.exceptions import DomainError
from sktransfer.feature import TCA
from sktransfer.instance import KMM
from sktransfer.model_selection import StratifiedTargetKFold, TargetKFold

# scikit-learn's own switch: sample_domain reaches every step, split and fit
sklearn.set_config(enable_metadata_routing=True)

BASELINE = "Target only"
HELPS, HURTS = "#0072B2", "#BF5300"


# %%
# The candidates
# --------------
# Each is a plain scikit-learn pipeline and a grid. Source rows weigh less than
# target rows where a grid says so; KMM finds a weight for each source row; TCA finds
# features on which the domains agree, and Pooled ends its pipeline.
def candidates(scale, task, n_features):
    """Return name -> (pipeline, grid) of everything that is compared."""
    if task == "classification":
        model, knob, strengths = (
            LogisticRegression(max_iter=1000),
            "C",
            [0.01, 0.1, 1.0],
        )
    else:
        model, knob, strengths = Ridge(), "alpha", [1.0, 10.0, 100.0]
    strength = {f"model__estimator__{knob}": strengths}
    fewer = {f"model__estimator__{knob}": strengths[:2]}  # for the slower fits
    weights = {"model__source_weight": [0.1, 1.0]}
    kmm_grid = {"model__gamma": ["median", "scale"], "model__target_weight": [1, 10]}
    components = sorted({min(k, n_features) for k in (20, 50)})
    tca_grid = {"tca__mu": [0.1, 10.0], "tca__n_components": components}

    def pipeline(last, *between):
        return Pipeline([("scale", scale), *between, ("model", last)])

    tca = ("tca", TCA()), ("rescale", StandardScaler())
    return {
        BASELINE: (pipeline(TargetOnly(model)), strength),
        "Source only": (pipeline(SourceOnly(model)), strength),
        "Pooled": (pipeline(Pooled(model)), strength | weights),
        "KMM": (pipeline(KMM(model)), fewer | kmm_grid),
        "TCA + pooled": (pipeline(Pooled(model), *tca), fewer | tca_grid),
    }


def tune(pipeline, grid, data, task, jobs):
    """Search the grid on folds of the labeled target rows."""
    smallest = data.smallest_group
    folds = StratifiedTargetKFold if task == "classification" else TargetKFold
    search = GridSearchCV(
        clone(pipeline),
        grid,
        cv=folds(min(5, max(2, smallest)), shuffle=True, random_state=0),
        scoring="accuracy" if task == "classification" else "r2",
        n_jobs=jobs,
    )
    return search, {"sample_domain": data.sample_domain}


# %%
# The data
# --------
# A scenario yields one draw after the other: rows to learn from and test rows.
def digits_scenario(args):
    """Real digits: 30 target labels and a source that is partly corrupted."""

    def draw(seed):
        data = load_perturbed_digits(
            args.eps_x,
            args.eps_y,
            labeled_fraction=0.1,
            max_per_class=3,
            random_state=seed,
        )
        data.smallest_group = 3
        return data

    share = f"{args.eps_x:.0%} of images and {args.eps_y:.0%} of labels corrupted"
    return Bunch(
        draw=draw,
        task="classification",
        scale=StandardScaler(),
        title=f"Handwritten digits, 30 target labels; source: {share}",
    )


def table_scenario(args):
    """Read the user's table; half of its labeled target rows are held out."""
    table = read_table(args)
    task = args.task or guess_task(table[args.label])
    if task == "classification":
        table[args.label] = as_class_names(table[args.label])
    else:
        table[args.label] = as_numbers(table[args.label], args.label)
    table = without_unlabeled_sources(table, args)
    data = from_frame(table, label=args.label, domain=args.domain, target=args.target)
    X = data.X.dropna(axis="columns", how="all")
    labeled_target = data.sample_domain < 0
    labeled_target &= ~pd.isna(data.y)
    check_table(data, labeled_target, task)

    def draw(seed):
        return draw_from_table(X, data, labeled_target, task, args.max_rows, seed)

    return Bunch(
        draw=draw,
        task=task,
        scale=encoder(X),
        title=(
            f"{Path(args.data).name}: {args.label}, target {args.target} "
            f"({labeled_target.sum()} labeled rows, half of them to test on)"
        ),
    )


def read_table(args):
    """Read the CSV file; domain names become text."""
    try:
        table = pd.read_csv(args.data)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        reason = str(error).splitlines()[0]
        raise DomainError(f"--data {args.data} cannot be read: {reason}") from None
    for option in ("domain", "label"):
        column = getattr(args, option)
        if column not in table.columns:
            known = ", ".join(map(str, table.columns))
            raise DomainError(
                f"--{option} {column} is no column of {args.data}. Columns: {known}"
            )
    named = table[args.domain].notna()
    table[args.domain] = table[args.domain].astype(str).where(named, None)
    domains = sorted(table[args.domain].dropna().unique())
    if args.target not in domains:
        raise DomainError(
            f"--target {args.target} is no value of {args.domain}. Values: "
            f"{', '.join(domains[:10])}{', ...' if len(domains) > 10 else ''}"
        )
    return table


def without_unlabeled_sources(table, args):
    """Leave source rows without a label out: there is nothing to learn from them."""
    useless = table[args.label].isna() & (table[args.domain] != args.target)
    if useless.any():
        print(f"Left out {useless.sum()} source rows without a label.")
    return table[~useless]


def guess_task(labels):
    """Classification for text, booleans, and up to 10 whole numbers."""
    if not pd.api.types.is_numeric_dtype(labels) or labels.dtype == bool:
        return "classification"
    values = labels.dropna().unique()
    whole = np.all(values == np.round(values))
    return "classification" if whole and len(values) <= 10 else "regression"


def as_class_names(labels):
    """Return classes as text: a class -1 must not look like a missing label."""
    if pd.api.types.is_numeric_dtype(labels) and labels.dtype != bool:
        names = labels.map(number_name, na_action="ignore")
    else:
        names = labels.map(str, na_action="ignore")
    return names.astype(object).where(labels.notna(), None)


def number_name(value):
    return str(int(value)) if value == int(value) else str(value)


def as_numbers(labels, column):
    """Return labels as floats."""
    numbers = pd.to_numeric(labels, errors="coerce").astype(float)
    if (numbers.isna() & labels.notna()).any():
        raise DomainError(
            f"--label {column} holds text, so --task regression cannot use it."
        )
    return numbers


def check_table(data, labeled_target, task):
    """Refuse tables on which nothing could be learned or measured."""
    if len(data.domain_names) < 2:
        raise DomainError("--domain names no other domain than --target: no source.")
    needed = 8
    if labeled_target.sum() < needed:
        raise DomainError(
            f"The target has {labeled_target.sum()} labeled rows; at least {needed} "
            "are needed, since half of them are held out to test on."
        )
    if task == "classification" and len(set(data.y[labeled_target])) < 2:
        raise DomainError("All labeled target rows are of one class: nothing to test.")


def encoder(X):
    """Scale numbers, one-hot encode the rest, fill gaps."""
    numbers = make_column_selector(dtype_include="number")
    others = make_column_selector(dtype_exclude="number")
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (
            OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                max_categories=20,
                sparse_output=False,
            ),
            others,
        ),
    )


def draw_from_table(X, data, labeled_target, task, max_rows, seed):
    """Hold out half of the labeled target rows; keep at most ``max_rows`` a side."""
    rng = np.random.RandomState(seed)
    y, rows = data.y, np.flatnonzero(labeled_target)
    classes = Counter(y[rows]) if task == "classification" else {}
    stratify = y[rows] if classes and min(classes.values()) > 1 else None
    train, test = train_test_split(
        rows, test_size=0.5, stratify=stratify, random_state=rng
    )
    source = np.flatnonzero(data.sample_domain > 0)
    unlabeled = np.flatnonzero((data.sample_domain < 0) & ~labeled_target)
    kept = np.concatenate([sample(part, max_rows, rng) for part in (source, unlabeled)])
    train = sample(train, max_rows, rng)
    rows = np.sort(np.concatenate([kept, train]))
    seen = Counter(y[train]) if task == "classification" else {}
    return Bunch(
        X=X.iloc[rows],
        y=y[rows],
        sample_domain=data.sample_domain[rows],
        X_test=X.iloc[test],
        y_test=as_plain(y[test]),
        smallest_group=min(seen.values()) if seen else len(train),
    )


def sample(rows, max_rows, rng):
    """Return at most ``max_rows`` of ``rows``."""
    if len(rows) <= max_rows:
        return rows
    return rng.choice(rows, size=max_rows, replace=False)


def as_plain(y):
    return np.asarray(y.tolist())


# %%
# The comparison
# --------------
def compare(scenario, n_draws, jobs):
    """Tune and test every candidate on every draw; return one row per fit."""
    results = []
    for draw in range(n_draws):
        data = scenario.draw(draw)
        n_features = scenario.scale.fit_transform(data.X).shape[1]
        methods = candidates(scenario.scale, scenario.task, n_features)
        for position, (name, (pipeline, grid)) in enumerate(methods.items(), start=1):
            label = f"draw {draw + 1} of {n_draws}: {name}"
            step = draw * len(methods) + position
            search, domains = tune(pipeline, grid, data, scenario.task, jobs)
            started = time.perf_counter()
            with_progress(search, f"[{step:2d}/{n_draws * len(methods)}] {label}")
            search.fit(data.X, data.y, **domains)
            results.append(
                {
                    "method": name,
                    "error": 1 - search.score(data.X_test, data.y_test),
                    "seconds": time.perf_counter() - started,
                    "tuned": readable(search.best_params_),
                }
            )
    return results


def with_progress(search, label):
    """Print the label; on a terminal show scikit-learn's progress bar, if any."""
    print(label, flush=True)
    if not sys.stdout.isatty():
        return
    try:
        from sklearn.callback import ProgressBar

        search.set_callbacks(ProgressBar(max_propagation_depth=0))
    except ImportError:  # scikit-learn before 1.9, or no rich: the label must do
        return


def readable(params):
    """Write tuned parameters without the steps' names."""
    short = {name.rsplit("__", 1)[-1]: value for name, value in params.items()}
    return ", ".join(f"{name}={value}" for name, value in short.items())


def summarize(results):
    """Return one row per method: mean and range of the error, gap, time, tuning."""
    by_method = {}
    for result in results:
        by_method.setdefault(result["method"], []).append(result)
    base = np.array([result["error"] for result in by_method[BASELINE]])
    rows = []
    for name, runs in by_method.items():
        errors = np.array([run["error"] for run in runs])
        tuned = Counter(run["tuned"] for run in runs).most_common(1)[0][0]
        seconds = np.mean([run["seconds"] for run in runs])
        rows.append(
            Bunch(
                name=name,
                errors=errors,
                gap=(errors - base).mean(),
                seconds=seconds,
                tuned=tuned,
            )
        )
    return rows


def print_table(rows, error):
    """Print the comparison."""
    head = f"{'method':<14}{'test ' + error:>16}{'range':>16}{'gap':>9}"
    print(f"\n{head}{'fit s':>7}   most frequent tuning")
    for row in rows:
        span = f"{row.errors.min():.3f} to {row.errors.max():.3f}"
        gap = "" if row.name == BASELINE else f"{row.gap:+.3f}"
        print(
            f"{row.name:<14}{row.errors.mean():>16.3f}{span:>16}{gap:>9}"
            f"{row.seconds:>7.1f}   {row.tuned}"
        )
    print("gap: error minus that of the target only; negative: the source helps")


# %%
# The picture
# -----------
# An open circle per draw, a filled one for their mean. Left of the dashed line the
# source rows helped (blue), right of it they hurt (orange), as in the displays of the
# library.
def draw_picture(rows, error, title, path):
    """Save the comparison as one picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    base = rows[0].errors.mean()
    figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    ax.axvline(base, color="black", linestyle="--", linewidth=1)
    for height, row in enumerate(reversed(rows)):
        draw_method(ax, height, row, base)
    ax.set_yticks(range(len(rows)), [row.name for row in reversed(rows)], fontsize=12)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    every = np.concatenate([row.errors for row in rows])
    span = max(np.ptp(every), 0.02)
    ax.set_xlim(every.min() - 0.1 * span, every.max() + 0.1 * span)
    ax.set_xlabel(f"{error} on unseen target rows (● mean, ○ each draw)")
    for text, side, x, color in (
        ("◂ transfer helps ", "right", -3, HELPS),
        (" transfer hurts ▸", "left", 3, HURTS),
    ):
        ax.annotate(
            text,
            (base, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(x, 3),
            textcoords="offset points",
            ha=side,
            color=color,
        )
    figure.suptitle(title, fontsize=11)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_method(ax, height, row, base):
    """Draw one line: the draws, their mean, and the way from the baseline to it."""
    mean = row.errors.mean()
    color = "black" if row.name == BASELINE else HELPS if mean < base else HURTS
    ax.plot([base, mean], [height, height], color=color, linewidth=3, alpha=0.5)
    ax.plot(mean, height, "o", color=color, markersize=12)
    every = np.full(len(row.errors), height)
    ax.plot(row.errors, every, "o", color=color, markerfacecolor="white", markersize=6)
    note = f"{mean:.3f}"
    note += " (the bar to beat)" if row.name == BASELINE else f" ({row.gap:+.3f})"
    ax.annotate(
        note,
        (mean, height),
        xytext=(0, 11),
        textcoords="offset points",
        ha="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def parse_arguments():
    parser = argparse.ArgumentParser(description="Does transfer help here?")
    table = parser.add_argument_group("your own table")
    table.add_argument("--data", metavar="FILE.CSV", help="one row per observation")
    table.add_argument("--domain", metavar="COLUMN", help="names each row's domain")
    table.add_argument("--target", metavar="VALUE", help="the domain to predict in")
    table.add_argument("--label", metavar="COLUMN", help="what to predict")
    table.add_argument("--task", choices=["classification", "regression"])
    table.add_argument(
        "--max-rows",
        type=int,
        default=1500,
        help="rows kept of a domain (default 1500)",
    )
    digits = parser.add_argument_group("the bundled digits")
    digits.add_argument("--eps-x", type=float, default=0.5, help="corrupted images")
    digits.add_argument("--eps-y", type=float, default=0.3, help="random labels")
    parser.add_argument("--draws", type=int, default=3, help="repetitions (default 3)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", default="quickstart.png", help="the picture")
    args = parser.parse_args()
    given = [args.data, args.domain, args.target, args.label]
    if any(given) and not all(given):
        parser.error("--data, --domain, --target and --label go together")
    if args.draws < 1 or args.max_rows < 10:
        parser.error("--draws must be at least 1, --max-rows at least 10")
    if not (0 <= args.eps_x <= 1 and 0 <= args.eps_y <= 1):
        parser.error("--eps-x and --eps-y are shares between 0 and 1")
    return args


def main():
    args = parse_arguments()
    started = time.perf_counter()
    try:
        scenario = table_scenario(args) if args.data else digits_scenario(args)
    except ValueError as error:
        sys.exit(f"quickstart.py: {error}")
    with threadpool_limits(1):  # for fits as small as these threads only cost time
        rows = summarize(compare(scenario, args.draws, args.jobs))
    error = "error rate" if scenario.task == "classification" else "1 - R2"
    print(f"\n{scenario.title}")
    print_table(rows, error)
    draw_picture(rows, error, scenario.title, args.output)
    seconds = time.perf_counter() - started
    print(f"\nPicture: {args.output}   ({args.draws} draws, {seconds:.0f} s)")


if __name__ == "__main__":
    main()
