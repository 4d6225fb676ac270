"""Pages and pictures, from lines alone."""

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from benchmarks.board.problem import Problem
from benchmarks.board.registry import TIERS
from benchmarks.board.runner import FEATURES
from benchmarks.board.summary import (
    EXPLAINED_BY,
    FAIR,
    ORACLE,
    REAL,
    all_runs,
    common_ranks,
    critical_difference,
    figures,
    kind_of_shift,
    number_of_sources,
    when_it_pays,
)
from sktransfer.base import TransferMixin

TEMPLATE = Path(__file__).parents[1] / "leaderboard.in.md"
LABELS = 10, 30, 100, 300
LEAST_SETS = 8  # with a result, for figures of a method in the user guide
MOST = 0.8  # of the tasks, for a place in the first table
KINDS = {"classes": "Classes (gains in accuracy)", "reals": "Real labels (gains in R2)"}
#: methods of the tables by regime and of the pictures
SHOWN = [
    "Pooled, linear",
    "Pooled, linear, equal totals",
    "Pooled, linear, domain column",
    "FeatureAugmentation, linear",
    "LinearInterpolation, linear",
    "OffsetTransfer, linear",
    "linear on scores of linear",
    "linear on scores alone",
    "PositiveTransfer, linear",
    "Secure, linear",
    "UOWQ, linear",
    "KMM, linear",
    "CORAL, linear",
    "portfolio of linear",
    "guard of Pooled, linear",
    "Pooled, trees",
    "OffsetTransfer, trees",
    "lightgbm, pooled",
    "lightgbm, up-weighted",
    "lightgbm, domain column",
    "lightgbm, continued",
    "lightgbm, offset",
]
CURVES = [
    "Pooled, linear",
    "Pooled, linear, equal totals",
    "LinearInterpolation, linear",
    "portfolio of linear",
    "guard of Pooled, linear",
    "lightgbm, pooled",
    "lightgbm, continued",
]
#: methods of the picture of ranks: the more there are, the larger the difference needed
RANKED = [
    "alone, linear",
    "alone, portfolio",
    "Pooled, linear",
    "Pooled, linear, equal totals",
    "LinearInterpolation, linear",
    "linear on scores of linear",
    "UOWQ, linear",
    "CORAL, linear",
    "KMM, linear",
    "portfolio of linear",
    "guard of Pooled, linear",
    "lightgbm, alone",
    "lightgbm, pooled",
    "lightgbm, up-weighted",
    "lightgbm, continued",
]

#: named in the picture of harm beside the best ones
KNOWN = [
    "Pooled, linear",
    "Pooled, linear, equal totals",
    "UOWQ, linear",
    "portfolio of linear",
    "guard of Pooled, linear",
    "SourceOnly, linear",
    "KMM, linear",
    "CORAL, linear",
    "TrAdaBoost",
    "TrAdaBoostR2",
    "lightgbm, continued",
]
LEARNERS = "linear", "forest", "LightGBM", "XGBoost", "CatBoost"
#: way of using the sources -> the method with each of these learners
USES = {
    "target alone": (
        "alone, linear", "alone, trees", "lightgbm, alone", "xgboost, alone",
        "catboost, alone",
    ),
    "sources alone": ("SourceOnly, linear", "SourceOnly, trees"),
    "all rows": (
        "Pooled, linear", "Pooled, trees", "lightgbm, pooled", "xgboost, pooled",
        "catboost, pooled",
    ),
    "all rows, equal totals": (
        "Pooled, linear, equal totals", "Pooled, trees, equal totals",
        "lightgbm, up-weighted", "xgboost, up-weighted", "catboost, up-weighted",
    ),
    "all rows, a column per domain": (
        "Pooled, linear, domain column", "Pooled, trees, domain column",
        "lightgbm, domain column", "xgboost, domain column",
        "catboost, domain column",
    ),
    "training continued": (
        None, None, "lightgbm, continued", "xgboost, continued", "catboost, continued",
    ),
    "offset on the sources' model": (
        "OffsetTransfer, linear", "OffsetTransfer, trees", "lightgbm, offset",
        "xgboost, offset", "catboost, offset",
    ),
    "interpolated": ("LinearInterpolation, linear", "LinearInterpolation, trees"),
    "kernel mean matching": ("KMM, linear", "KMM, trees"),
    "CORAL, then all rows": ("CORAL, linear", "CORAL, trees"),
    "guard of all rows": ("guard of Pooled, linear", "guard of Pooled, trees"),
}  # fmt: skip


def leaderboard(lines, methods, rows=None):
    """Return the leaderboard of each kind of labels as text.

    Parameters
    ----------
    lines : list of dict
        Lines of results.
    methods : dict of str to Method
        The methods.
    rows : set of str or None, default=None
        Methods that are shown; places and oracles are those among all of them.

    Returns
    -------
    text : str
        Markdown.
    """
    runs = all_runs(lines, methods)
    if rows is not None:
        runs = {name: own for name, own in runs.items() if name in rows}
    return "\n\n".join(
        f"## {title}\n\n{_main_table(runs, methods, kind)}"
        for kind, title in KINDS.items()
    )


def _main_table(runs, methods, kind, parts=None, labels=None):
    """Return the table of methods that have most of the tasks, and one of the rest."""
    found = {}
    for name, own in runs.items():
        own = [r for r in own if r.kind == kind and (not parts or r.part in parts)
               and labels in (None, r.labels)]  # fmt: skip
        if own:
            found[name] = figures(own)
    if not found:
        return "No lines yet."
    most = max(f.tasks for f in found.values())
    groups = [
        {name: f for name, f in found.items() if (f.tasks >= MOST * most) == whole}
        for whole in (True, False)
    ]
    tables = [_figures_table(group, methods) for group in groups if group]
    return "\n\nMethods that have run on fewer tasks so far:\n\n".join(tables)


def _figures_table(found, methods):
    head = ["method", "kind", "tasks", "place", "gain", "hurt %", "loss when hurt",
            "worst tenth", "kept %", "of fair %", "error", "CPU s",
            "ran %"]  # fmt: skip
    body = []
    for name, f in sorted(found.items(), key=_by_place):
        what = methods[name].kind if name in methods else "oracle"
        body.append([
            name, what, f"{f.tasks}", "" if name == FAIR else f"{f.place:.2f}",
            _signed(f.gain), _percent(f.hurt), f"{f.loss:.3f}", f"{f.tail:+.3f}",
            _percent(f.kept), _percent(f.kept_fair),
            "" if np.isnan(f.error) else f"{f.error:.2f}",
            *(["", ""] if name in (ORACLE, FAIR) else
              [f"{f.cpu:.2f}", f"{100 * f.ok:.0f}"]),
        ])  # fmt: skip
    return _markdown(head, body)


def _by_place(item):
    name, f = item
    return (-1.0 if name in (ORACLE, FAIR) else f.place), name


def _side_by_side(runs, kind, labels=None):
    """Return gain, hurt and kept on tune and on proof of methods with most tasks."""
    head = ["method"]
    for part in REAL:
        head += [f"{part}: tasks", "place", "gain", "hurt %", "kept %"]
    found = {}
    for name, own in runs.items():
        own = [r for r in own if r.kind == kind and labels in (None, r.labels)]
        both = [figures([r for r in own if r.part == part]) for part in REAL]
        if all(both):
            found[name] = both
    most = max((both[0].tasks for both in found.values()), default=0)
    rows = []
    for name, both in found.items():
        if both[0].tasks < MOST * most:
            continue
        cells = [name]
        for f in both:
            cells += [f"{f.tasks}", "" if name == FAIR else f"{f.place:.2f}",
                      _signed(f.gain), _percent(f.hurt), _percent(f.kept)]  # fmt: skip
        place = -1.0 if name in (ORACLE, FAIR) else sum(f.place for f in both)
        rows.append((place, cells))
    return _markdown(head, [cells for _, cells in sorted(rows)])


def with_all_labels(own):
    """Return the runs of draws that have every number of labels."""
    seen = {}
    for r in own:
        seen.setdefault((r.set, r.target, r.seed), set()).add(r.labels)
    return [r for r in own if set(LABELS) <= seen[r.set, r.target, r.seed]]


def _by_regime(runs, kind, regime, values, choose=list):
    """Return gain and share hurt of the shown methods in each regime as Markdown."""
    return _markdown(*_regime_rows(runs, kind, regime, values, choose))


def _regime_rows(runs, kind, regime, values, choose=list):
    body, counts = [], Counter()
    for name in SHOWN:
        own = [r for r in runs.get(name, []) if r.kind == kind and r.part in REAL]
        own = choose(own)
        cells = []
        for value in values:
            f = figures([r for r in own if regime(r) == value])
            cells.append("" if f is None else
                         f"{f.gain[0]:+.3f} ({f.gain[1]:+.3f} to {f.gain[2]:+.3f}), "
                         f"{100 * f.hurt[0]:.0f} %")  # fmt: skip
            counts[value] = max(counts[value], 0 if f is None else f.tasks)
        if any(cells):
            body.append([name, *cells])
    return ["method", *(f"{v} ({counts[v]} tasks)" for v in values)], body


def _by_learner(runs, kind, labels):
    """Return place, gain and share hurt of each use with each learner as Markdown.

    A cell needs ``LEAST_SETS`` sets; in brackets the number of its tasks.
    """
    body = []
    for use, names in USES.items():
        cells = []
        for name in names:
            own = [r for r in runs.get(name, []) if r.kind == kind and r.part in REAL
                   and r.labels == labels]  # fmt: skip
            f = figures(own)
            cells.append("" if f is None or f.sets < LEAST_SETS else
                         f"{f.place:.2f}; {f.gain[0]:+.3f}, {100 * f.hurt[0]:.0f} % "
                         f"({f.tasks})")  # fmt: skip
        cells += [""] * (len(LEARNERS) - len(cells))
        if any(cells):
            body.append([use, *cells])
    return _markdown(["use of the sources", *LEARNERS], body)


def _pays(runs, kind):
    head = ["method", *EXPLAINED_BY]
    body = []
    for name in SHOWN:
        own = [r for r in runs.get(name, []) if r.kind == kind and r.part in REAL]
        found = when_it_pays(own)
        if found:
            body.append([name, *(_coefficient(found[key]) for key in EXPLAINED_BY)])
    return _markdown(head, body)


def _coefficient(value):
    middle, low, high = value
    text = f"{middle:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"**{text}**" if low > 0 or high < 0 else text


def _signed(value):
    return f"{value[0]:+.3f} ({value[1]:+.3f} to {value[2]:+.3f})"


def _percent(value):
    if np.isnan(value[0]):
        return ""
    return f"{100 * value[0]:.0f} ({100 * value[1]:.0f} to {100 * value[2]:.0f})"


def _markdown(head, body):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join(lines)


def state_of(lines):
    """Return what the lines are: sizes, seeds, versions and CPU hours, as Markdown.

    Parameters
    ----------
    lines : list of dict
        Lines of results.

    Returns
    -------
    text : str
        A list.
    """
    results = [line for line in lines if line["method"] != FEATURES]
    seeds = sorted({line["seed"] for line in results})
    versions = Counter(
        ", ".join(f"{k} {v}" for k, v in line["versions"].items()) for line in results
    )
    common = versions.most_common(3)
    rest = len(results) - sum(n for _, n in common)
    status = Counter(line["status"] for line in results)
    sets = Counter(part for _, part in {(x["set"], x["part"]) for x in results})
    labels = Counter(
        n
        for *_, n in {(x["set"], x["target"], x["seed"], x["labels"]) for x in results}
    )
    hours = sum(line["cpu"] for line in lines) / 3600
    return "\n".join([
        f"- {len(results)} results of {len({x['method'] for x in results})} methods, "
        f"{hours:.2f} CPU hours; seeds {', '.join(map(str, seeds))}.",
        "- Sets: " + ", ".join(f"{n} {part}" for part, n in sorted(sets.items())) + ".",
        "- Tasks: " + ", ".join(f"{labels[n]} with {n} labels"
                                for n in sorted(labels)) + ".",
        "- Results: " + ", ".join(f"{n} {name}" for name, n in status.items()) + ".",
        *(f"- {n} results with {text}." for text, n in common),
        *([f"- {rest} results with {len(versions) - len(common)} other versions."]
          if rest else []),
    ])  # fmt: skip


def coverage(lines, methods):
    """Return how far the run is, as Markdown.

    Parameters
    ----------
    lines : list of dict
        Lines of results.
    methods : dict of str to Method
        The methods.

    Returns
    -------
    text : str
        A row per tier; a cell has the number of its methods with results on real sets
        and the median number of tasks that they have.
    """
    tasks = {}
    for line in lines:
        name = line["method"]
        if name in methods and line["part"] in REAL:
            own = tasks.setdefault((methods[name].tier, line["labels"]), Counter())
            own[name] += 1
    body = []
    for tier in TIERS:
        n = sum(m.tier == tier for m in methods.values())
        cells = [f"{tier} ({n} methods)"]
        for labels in LABELS:
            own = tasks.get((tier, labels), {})
            cells.append(f"{len(own)} methods, {np.median(list(own.values())):.0f} "
                         "tasks" if own else "")  # fmt: skip
        body.append(cells)
    return _markdown(["tier", *(f"{n} labels" for n in LABELS)], body)


def write_page(path, lines, methods):
    """Write the page of the leaderboard.

    Parameters
    ----------
    path : Path
        A template beside it with the ending ``.in.md`` (or, where there is none, that
        of the repository's page) is filled in, where
        ``{{name}}`` stands for a table.
    lines : list of dict
        Lines of results.
    methods : dict of str to Method
        The methods.
    """
    runs = all_runs(lines, methods)
    tables = {"state": state_of(lines), "coverage": coverage(lines, methods)}
    for kind in KINDS:
        tables |= {
            f"main {kind}": _main_table(runs, methods, kind, REAL, 30),
            f"all {kind}": _main_table(runs, methods, kind, REAL),
            f"bundled {kind}": _main_table(runs, methods, kind, ["bundled"], 30),
            f"parts {kind}": _side_by_side(runs, kind, 30),
            f"learners {kind}": _by_learner(runs, kind, 30),
            f"labels {kind}": _by_regime(
                runs, kind, lambda r: r.labels, LABELS, with_all_labels
            ),
            f"sources {kind}": _by_regime(
                runs, kind, number_of_sources,
                ["1 source", "2-4 sources", "5-8 sources"],
            ),
            f"shift {kind}": _by_regime(
                runs, kind, kind_of_shift,
                [f"{a}, sources {b}" for a in ("same inputs", "inputs moved")
                 for b in ("near", "far")],
            ),
            f"pays {kind}": _pays(runs, kind),
        }  # fmt: skip
    own = path.with_suffix(".in.md")
    text = (own if own.exists() else TEMPLATE).read_text()
    for name, table in tables.items():
        text = text.replace("{{" + name + "}}", table)
    path.write_text(text)


def estimator_of(method, regression):
    """Return the name of the library's class that a method measures, or None.

    Of a pipeline it is the first step that transfers. Nets, recipes and other packages
    measure none, or not one alone.
    """
    if method.kind not in ("transfer", "guarded") or method.family == "nets":
        return None
    if not method.suits(regression):
        return None
    classes = np.zeros(0) if regression else np.arange(2)
    made = method.make(Problem(regression, classes, 30, 2, 100, 8))
    steps = [step for _, step in made.steps] if isinstance(made, Pipeline) else [made]
    found = (type(s).__name__ for s in steps if isinstance(s, TransferMixin))
    return next(found, None)


def rows_by_estimator(runs, methods):
    """Return hurt and kept of each class of the library on real sets, 30 labels.

    Of several methods with a class the one with most sets counts, of as many the first.

    Parameters
    ----------
    runs : dict of str to list of Run
        By method.
    methods : dict of str to Method
        The methods.

    Returns
    -------
    rows : list of dict
        By class and kind of labels: its method, the number of sets, and percentages
        that are empty where fewer than ``LEAST_SETS`` sets have a result.
    """
    rows = {}
    for kind in KINDS:
        for name, method in methods.items():
            estimator = estimator_of(method, kind == "reals")
            own = [r for r in runs.get(name, []) if r.kind == kind and r.labels == 30
                   and r.part in REAL]  # fmt: skip
            if estimator is None or not own:
                continue
            n_sets = len({r.set for r in own if r.ok})
            if n_sets > rows.get((estimator, kind), {"sets": -1})["sets"]:
                f = figures(own)
                known = n_sets >= LEAST_SETS
                rows[estimator, kind] = {
                    "estimator": estimator, "labels": kind, "method": name,
                    "sets": n_sets, "hurt": round(100 * f.hurt[0]) if known else "",
                    "kept": round(100 * f.kept[0]) if known else "",
                }  # fmt: skip
    return [rows[key] for key in sorted(rows)]


def write_tables(folder, lines, methods):
    """Write gain and harm by the number of labels and by class, for the user guide.

    Parameters
    ----------
    folder : Path
        Gets ``gain_by_labels_classes.csv``, ``gain_by_labels_reals.csv`` and
        ``figures_by_estimator.csv``.
    lines : list of dict
        Lines of results.
    methods : dict of str to Method
        The methods.
    """
    runs = all_runs(lines, methods)
    for kind in KINDS:
        rows = _regime_rows(runs, kind, lambda r: f"{r.labels} labels",
                            [f"{n} labels" for n in LABELS])  # fmt: skip
        path = folder / f"gain_by_labels_{kind}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([rows[0], *rows[1]])
    rows = rows_by_estimator(runs, methods)
    with (folder / "figures_by_estimator.csv").open("w", newline="") as file:
        writer = csv.DictWriter(
            file, list(rows[0]) if rows else [], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


def write_pictures(folder, lines, methods):
    """Draw the pictures of the leaderboard.

    Parameters
    ----------
    folder : Path
        Gets ``leaderboard_ranks.svg``, ``leaderboard_labels.svg``,
        ``leaderboard_shift.svg`` and ``leaderboard_harm.svg``.
    lines : list of dict
        Lines of results.
    methods : dict of str to Method
        The methods.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "leaderboard"
    runs = all_runs(lines, methods)
    folder.mkdir(parents=True, exist_ok=True)
    _save(_draw_ranks(runs), folder / "leaderboard_ranks.svg")
    _save(_draw_labels(runs), folder / "leaderboard_labels.svg")
    _save(_draw_shift(runs), folder / "leaderboard_shift.svg")
    _save(_draw_harm(runs, methods), folder / "leaderboard_harm.svg")


def _save(figure, path):
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def _draw_ranks(runs):
    """Draw mean ranks; methods under one bar are not told apart by Nemenyi's test."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7))
    axes = figure.subplots(2, 1)
    for ax, (kind, title) in zip(axes, KINDS.items(), strict=True):
        own = {name: [r for r in rows if r.kind == kind and r.part in REAL]
               for name, rows in runs.items()}  # fmt: skip
        names = [name for name in RANKED if own.get(name)]
        ranks = common_ranks(own, names)
        if len(ranks) < 2:
            ax.set_axis_off()
            continue
        width = critical_difference(len(names), len(ranks))
        _draw_difference(ax, names, ranks.mean(axis=0), width)
        what = title.split(" (")[0]
        ax.set_title(
            f"{what}: mean rank over {len(ranks)} sets (critical difference "
            f"{width:.1f})", fontsize=10,
        )  # fmt: skip
    figure.subplots_adjust(hspace=0.25)
    return figure


def _draw_difference(ax, names, ranks, width):
    order = np.argsort(ranks)
    n = len(names)
    half = -(-n // 2)
    low, high = np.floor(ranks.min()), np.ceil(ranks.max())
    span = high - low
    ax.set_xlim(low - 0.9 * span, high + 0.9 * span)
    groups = _groups(ranks[order], width)
    top = 0.35 * (len(groups) + 1)
    ax.set_ylim(top + half + 0.5, -1.2)
    ax.plot([low, high], [0, 0], color="black", linewidth=1)
    for tick in np.arange(low, high + 1, max(1, round(span / 8))):
        ax.plot([tick, tick], [0, -0.2], color="black", linewidth=1)
        ax.text(tick, -0.3, f"{tick:.0f}", ha="center", va="bottom", fontsize=8)
    for i, (first, last) in enumerate(groups):
        y = 0.3 + 0.35 * i
        ends = ranks[order[first]] - 0.04 * span, ranks[order[last]] + 0.04 * span
        ax.plot(ends, [y, y], color="tab:red", linewidth=3, solid_capstyle="butt")
    for position, i in enumerate(order):
        left = position < half
        y = top + (position if left else n - 1 - position) + 0.3
        x = low - 0.06 * span if left else high + 0.06 * span
        ax.plot([ranks[i], ranks[i], x], [0, y, y], color="0.6", linewidth=0.6)
        text = f"{names[i]}  {ranks[i]:.1f}" if left else f"{ranks[i]:.1f}  {names[i]}"
        ax.text(x, y, f" {text} ", ha="right" if left else "left", va="center",
                fontsize=8)  # fmt: skip
    ax.set_axis_off()


def _groups(ranks, width):
    """Return first and last of each largest run of ranks within the width."""
    found = []
    for first in range(len(ranks)):
        last = np.searchsorted(ranks, ranks[first] + width, side="right") - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, int(last)))
    return found


_STYLE = {
    "Pooled, linear": ("tab:blue", "-", "o"),
    "Pooled, linear, equal totals": ("tab:cyan", "-", "s"),
    "LinearInterpolation, linear": ("tab:purple", "-", "^"),
    "portfolio of linear": ("tab:green", "-", "D"),
    "guard of Pooled, linear": ("black", "-", "v"),
    "lightgbm, pooled": ("tab:orange", "--", "o"),
    "lightgbm, continued": ("tab:red", "--", "s"),
}


def _curve_axes(runs, groups, draw):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5))
    axes = figure.subplots(2, 2, sharex="col" if groups else False)
    for column, (kind, title) in enumerate(KINDS.items()):
        for name in CURVES:
            own = [r for r in runs.get(name, []) if r.kind == kind and r.part in REAL]
            points = draw(own)
            if not points:
                continue
            color, line, marker = _STYLE[name]
            x = np.array([p[0] for p in points], float)
            gain = np.array([p[1].gain for p in points])
            hurt = np.array([p[1].hurt for p in points])
            style = {"color": color, "linestyle": line, "marker": marker,
                     "markersize": 4, "linewidth": 1.4}  # fmt: skip
            axes[0, column].plot(x, gain[:, 0], label=name, **style)
            axes[0, column].fill_between(x, gain[:, 1], gain[:, 2], color=color,
                                         alpha=0.07, linewidth=0)  # fmt: skip
            axes[1, column].plot(x, 100 * hurt[:, 0], **style)
        axes[0, column].axhline(0, color="0.5", linewidth=0.8)
        axes[0, column].set_title(title, fontsize=10)
    axes[0, 0].set_ylabel("mean gain over the target alone")
    axes[1, 0].set_ylabel("tasks hurt, %")
    return figure, axes


def _draw_labels(runs):
    """Draw gain and share hurt against the number of labels."""

    def points(own):
        own = with_all_labels(own)
        found = [(n, figures([r for r in own if r.labels == n])) for n in LABELS]
        return [p for p in found if p[1] is not None]

    figure, axes = _curve_axes(runs, True, points)
    for ax in axes.flat:
        ax.set_xscale("log")
        ax.set_xticks(LABELS, [str(n) for n in LABELS])
        ax.minorticks_off()
    for ax in axes[1]:
        ax.set_xlabel("labels of the target")
    _legend(figure, axes)
    return figure


def _draw_shift(runs):
    """Draw gain and share hurt against what the sources fall short by."""

    def points(own):
        own = [r for r in own if r.features.get("gap") is not None]
        if len(own) < 10:
            return []
        gaps = np.array([r.features["gap"] for r in own])
        edges = np.quantile(gaps, [0, 0.2, 0.4, 0.6, 0.8, 1.0])
        found = []
        for low, high in pairwise(edges):
            inside = [r for r in own if low <= r.features["gap"] <= high]
            if inside:
                middle = np.median([r.features["gap"] for r in inside])
                found.append((np.clip(middle, -0.5, 1.5), figures(inside)))
        return found

    figure, axes = _curve_axes(runs, False, points)
    for ax in axes[1]:
        ax.set_xlabel("what a forest of the sources falls short by")
    _legend(figure, axes)
    return figure


_COLORS = {"transfer": "tab:blue", "guarded": "tab:green", "recipe": "tab:orange",
           "peer": "tab:red"}  # fmt: skip


def _draw_harm(runs, methods, labels=30):
    """Draw each method by its share of tasks hurt and its mean gain.

    Named are those that no method beats in both, and some that many know.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8))
    axes = figure.subplots(1, 2)
    for ax, (kind, title) in zip(axes, KINDS.items(), strict=True):
        found = {}
        for name, method in methods.items():
            own = [r for r in runs.get(name, []) if r.kind == kind
                   and r.part in REAL and r.labels == labels]  # fmt: skip
            f = figures(own)
            if f is None or f.sets < LEAST_SETS or method.kind not in _COLORS:
                continue
            found[name] = 100 * f.hurt[0], f.gain[0], method.kind
        for what, color in _COLORS.items():
            points = [(x, y) for x, y, other in found.values() if other == what]
            if points:
                ax.scatter(*zip(*points, strict=True), s=16, color=color, label=what,
                           alpha=0.7, linewidth=0)  # fmt: skip
        best = _undominated({name: point[:2] for name, point in found.items()})
        named = [*best, *(n for n in KNOWN if n in found and n not in best)]
        for i, name in enumerate(named, start=1):
            ax.annotate(str(i), found[name][:2], fontsize=8, xytext=(3, 2),
                        textcoords="offset points")  # fmt: skip
        texts = [f"{i}  {name}" for i, name in enumerate(named, start=1)]
        half = -(-len(texts) // 2)
        for x, part in ((0.0, texts[:half]), (0.6, texts[half:])):
            ax.text(x, -0.16, "\n".join(part), fontsize=7.5, va="top",
                    transform=ax.transAxes)  # fmt: skip
        ax.axhline(0, color="0.5", linewidth=0.8)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("tasks hurt, %")
    axes[0].set_ylabel("mean gain over the target alone")
    handles, names = axes[1].get_legend_handles_labels()
    if handles:
        axes[1].legend(handles, names, fontsize=8, loc="upper right")
    return figure


def _undominated(points):
    """Return the names whose points no other has both less hurt and more gain than."""
    order = sorted(points, key=lambda name: (points[name][0], -points[name][1]))
    best, most = [], -np.inf
    for name in order:
        if points[name][1] > most:
            best.append(name)
            most = points[name][1]
    return best


def _legend(figure, axes):
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=8,
                  frameon=False)  # fmt: skip
    figure.subplots_adjust(bottom=0.17, hspace=0.12, wspace=0.18)
