"""A report as one page of HTML that asks for no other file."""

import warnings
from base64 import b64encode
from html import escape
from io import BytesIO

import numpy as np

from sktransfer._learners import deviance_power
from sktransfer.inspection._display import number, plain_text, short_name
from sktransfer.inspection._domain_embedding import DomainEmbeddingDisplay
from sktransfer.inspection._learning_curve import LearningCurveTransferDisplay
from sktransfer.inspection._negative_transfer import NegativeTransferDisplay
from sktransfer.inspection._report_text import (
    leave_out_sentence,
    linear_kind,
    listed,
    part_name,
    rates_sentence,
)
from sktransfer.inspection._source_weights import SourceWeightsDisplay

_STYLE = """
.sktransfer-report { color-scheme: light dark; --line: #8886; --soft: #8881;
  background: Canvas; color: CanvasText;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  max-width: 66rem; margin: 0 auto; padding: 1rem; }
.sktransfer-report p, .sktransfer-report ul, .sktransfer-report dl,
.sktransfer-report figcaption, .sktransfer-report .verdict { max-width: 52rem; }
.sktransfer-report h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
.sktransfer-report h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem;
  border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
.sktransfer-report .verdict { border: 2px solid; border-left-width: .6rem;
  border-radius: .3rem; padding: .6rem 1rem; font-size: 1.1rem; margin: 1rem 0; }
.sktransfer-report .verdict strong { display: block; font-size: .85rem;
  letter-spacing: .04em; text-transform: uppercase; }
.sktransfer-report .transfer { border-color: #1b7f4b; }
.sktransfer-report .do_not_transfer { border-color: #b3261e; }
.sktransfer-report .undecided { border-color: #9a6700; }
.sktransfer-report .unknown { border-color: #6b7280; }
.sktransfer-report .table { overflow-x: auto; margin: 1rem 0; }
.sktransfer-report table { border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
.sktransfer-report caption { text-align: left; font-weight: 600;
  padding-bottom: .3rem; position: sticky; left: 0;
  max-width: min(52rem, 100vw - 2rem); }
.sktransfer-report th, .sktransfer-report td { padding: .25rem .7rem;
  border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
.sktransfer-report thead th { vertical-align: bottom; background: var(--soft);
  white-space: normal; max-width: 9rem; }
.sktransfer-report th:first-child, .sktransfer-report .text { text-align: left; }
.sktransfer-report tbody th { white-space: normal; overflow-wrap: break-word;
  min-width: min(9rem, 36vw); max-width: min(22rem, 45vw); }
.sktransfer-report figure { margin: 1.2rem 0; }
.sktransfer-report figure > div { overflow-x: auto; }
.sktransfer-report img { background: #fff; min-width: 540px; max-width: 100%;
  height: auto; border: 1px solid var(--line); border-radius: .3rem; }
.sktransfer-report img.narrow { min-width: max-content; }
.sktransfer-report figcaption, .sktransfer-report .small { font-size: .9rem;
  opacity: .85; }
.sktransfer-report pre { overflow-x: auto; background: var(--soft);
  padding: .7rem 1rem; border-radius: .3rem; }
.sktransfer-report dt { font-weight: 600; }
.sktransfer-report .long { max-height: 30rem; overflow-y: auto;
  border-bottom: 1px solid var(--line); }
.sktransfer-report .leave-out { border-left: .6rem solid #b3261e;
  padding: .3rem 1rem; font-weight: 600; }
@media print {
  .sktransfer-report { max-width: none; padding: 0; font-size: 10pt;
    color-scheme: light; }
  .sktransfer-report .table, .sktransfer-report figure > div,
  .sktransfer-report pre { overflow: visible; max-height: none; }
  .sktransfer-report pre { white-space: pre-wrap; }
  .sktransfer-report table { font-size: 9pt; }
  .sktransfer-report th, .sktransfer-report td { white-space: normal;
    padding: .2rem .5rem; }
  .sktransfer-report tbody th { min-width: 7rem; max-width: 55%; }
  .sktransfer-report p, .sktransfer-report ul, .sktransfer-report caption {
    max-width: none; }
  .sktransfer-report thead { display: table-header-group; }
  .sktransfer-report tr, .sktransfer-report figure, .sktransfer-report .verdict,
  .sktransfer-report caption, .sktransfer-report pre,
  .sktransfer-report .table:not(.long) {
    break-inside: avoid; }
  .sktransfer-report h2, .sktransfer-report caption, .sktransfer-report thead,
  .sktransfer-report thead tr { break-after: avoid; }
  .sktransfer-report details::details-content { content-visibility: visible;
    block-size: auto; }
  .sktransfer-report img { min-width: 0 !important; max-height: 20cm; width: auto; }
  .sktransfer-report .verdict, .sktransfer-report .leave-out {
    print-color-adjust: exact; }
}
"""
_DPI = 120
#: most sources in one picture; the tables have all
_MOST_SOURCES = 24
#: a picture scrolls below this width, as its text would be too small; see the style
_LEAST_WIDTH = 540
_VERDICTS = {
    "transfer": "Transfer",
    "do_not_transfer": "Do not transfer",
    "undecided": "Undecided",
    "unknown": "Not known yet",
}
_SIMILARITY_COLUMNS = {
    "source": "source",
    "rows": "rows",
    "proxy_a_distance": "proxy A-distance",
    "mmd": "MMD",
    "coral_distance": "CORAL distance",
}
_LABEL_COLUMNS = {
    "source": "source",
    "source_model_error": "error of its model",
    "leep": "LEEP",
    "nce": "NCE",
    "ntg": "gap",
    "interval": "interval of the gap",
    "effect": "alone it",
}
_FACTOR_COLUMNS = {
    "source": "source",
    "source_error": "error on the source",
    "divergence": "divergence of the inputs",
    "joint_error": "error of one model of both",
    "total": "sum",
    "largest": "largest",
}
_PART_COLUMNS = {
    "part": "part",
    "rows": "rows",
    "influence": "influence",
    "interval": "interval",
    "effect": "it",
}
_MEMBER_COLUMNS = {
    "member": "member",
    "weight": "weight",
    "loss": "held-out squared error",
    "uses_sources": "uses sources",
}
#: a table with more rows scrolls
_MOST_ROWS = 15
#: members of less weight are not listed
_LEAST_WEIGHT = 0.01
_METHOD_COLUMNS = {
    "method": "method",
    "error": "error",
    "error_interval": "interval of the error",
    "ntg": "gap",
    "interval": "interval, on average",
    "fitted_interval": "interval, this fit",
    "joint_interval": "on average, all methods at once",
    "harm": "probability of harm",
}


def render_page(report):
    """Return a report as a complete page.

    Parameters
    ----------
    report : TransferReport
        The report.

    Returns
    -------
    page : str
        HTML.
    """
    title = escape(f"Transfer report for {short_name(report.target)}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{_body(report)}\n"
        "</body>\n</html>\n"
    )


def render_fragment(report):
    """Return a report as a part of a page, for notebooks.

    Parameters
    ----------
    report : TransferReport
        The report.

    Returns
    -------
    fragment : str
        HTML with its own style.
    """
    return f"<style>{_STYLE}</style>\n{_body(report)}"


def _body(report):
    parts = [
        _head(report),
        _model(report),
        _should_i(report),
        _from_which(report),
        _with_which(report),
        _did_it_hurt(report),
        _limits(report),
    ]
    body = "\n".join(parts)
    return f'<main class="sktransfer-report">\n{body}\n</main>'


def _head(report):
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.evidence)
    evidence = f"<h2>Evidence</h2>\n<ul>{items}</ul>" if items else ""
    advice = f"<p>{escape(report.to_label)}</p>" if report.to_label else ""
    if report.leave_out:
        advice = (
            f'<p class="leave-out">{escape(leave_out_sentence(report))}</p>\n{advice}'
        )
    verdict = _VERDICTS[report.verdict] + f": {report.grade}" * bool(report.grade)
    return (
        f"<h1>Transfer report for {escape(report.target)}</h1>\n"
        f'<div class="verdict {report.verdict}"><strong>{verdict}</strong>'
        f"{escape(report.recommendation)}</div>\n{advice}\n{_reading(report)}\n"
        f"{evidence}\n"
        f"<h2>The table</h2>\n{_domain_table(report)}"
    )


def _domain_table(report):
    header = ["domain", "role", "rows", "labeled", "labels"]
    rows = [[line[name] for name in header] for _, line in report.domains.iterrows()]
    what = "classes" if report.task == "classification" else "quantities"
    caption = (
        f"{report.settings['columns']} columns to learn from; the labels are {what} "
        f"({report.task})."
    )
    return _table(caption, header, rows, text={1, 4})


def _should_i(report):
    parts = ["<h2>Should I transfer?</h2>"]
    shown = report.methods[
        (report.methods["method"] != "target only") & report.methods["ntg"].notna()
    ]
    if shown.empty:
        parts.append(
            "<p>The negative transfer gap, the error with the sources minus the error "
            "without them, needs labeled target rows to hold out. Here it cannot be "
            "computed, and no other number stands in for it.</p>"
        )
        return "\n".join(parts)
    display = NegativeTransferDisplay(
        shown["ntg"], shown[["low", "high"]], methods=shown["method"],
        unit=report.error_name,
    )  # fmt: skip
    lines = "; ".join(
        f"{m['method']} {number(m['ntg'])} ({number(m['low'])} to {number(m['high'])})"
        for _, m in shown.iterrows()
    )
    settings = report.settings
    parts.append(
        _figure(
            display,
            (6.8, 1.5 + 0.42 * len(shown)),
            f"Negative transfer gap of each method with its interval: {lines}.",
            "Negative transfer gap: the error on held-out target rows with the sources "
            "minus the error of the same method without them. Left of the line the "
            f"sources help. {settings['confidence_level']:.0%} intervals from "
            f"{_folds(settings)}, for the average over samples of this size.",
        )
    )
    return "\n".join(parts)


def _folds(settings):
    if not isinstance(settings["cv"], int):
        return "cross-validation"
    times = f"{settings['n_repeats']} times " * (settings["n_repeats"] > 1)
    return f"{times}{settings['cv']}-fold cross-validation"


def _from_which(report):
    frame = report.sources.copy()
    if "ntg" in frame:
        frame["interval"] = _intervals(frame, "low", "high")
    parts = [
        "<h2>From which sources?</h2>",
        _columns(f"Inputs of each source against {report.target}", frame,
                 _SIMILARITY_COLUMNS),
    ]  # fmt: skip
    if "source_model_error" in frame:
        caption = f"Each source alone, by the labels of {report.target}"
        parts.append(_columns(caption, frame, _LABEL_COLUMNS, ("effect",)))
    parts.append(_explanations({**_SIMILARITY_COLUMNS, **_LABEL_COLUMNS}, report))
    if "ntg" in frame and len(frame) > 1 and frame["ntg"].notna().any():
        parts.append(_source_gaps(report, frame[frame["ntg"].notna()]))
    parts.append(_parts(report))
    parts.append(_factors(report))
    if len(report.source_weights):
        parts.append(_source_weights(report))
    parts.append(_embedding(report))
    return "\n".join(parts)


def _explanations(columns, report):
    known = {
        "proxy_a_distance": (
            "from 0 (no classifier can tell the inputs of the source from those of the "
            "target) to 2 (it always can)."
        ),
        "mmd": "distance of the inputs in the feature space of a kernel; 0 is alike.",
        "coral_distance": "distance of the covariances of the inputs; 0 is alike.",
        "source_model_error": (
            f"{report.error_name} on the labeled target rows of a model fitted on that "
            "source alone."
        ),
        "leep": "log-likelihood of target labels given the source model's "
        "probabilities; higher is better.",
        "nce": "the same from its predicted classes; higher is better.",
        "ntg": "error with that source alone minus error without it; negative helps.",
    }
    items = "".join(
        f"<dt>{escape(columns[name])}</dt><dd>{escape(words)}</dd>"
        for name, words in known.items()
        if name in report.sources
    )
    return (
        f'<details class="small"><summary>What the columns mean</summary><dl>{items}'
        "</dl></details>"
    )


def _parts(report):
    if report.parts is None or report.parts.empty:
        return ""
    frame = report.parts.copy()
    frame["part"] = [part_name(line) for _, line in frame.iterrows()]
    frame["interval"] = _intervals(frame, "low", "high")
    caption = (
        f"What each part adds to the {report.error_name} of a {linear_kind(report)} "
        "model of all rows, on average over the subsets of the other parts; negative "
        "helps"
    )
    return _columns(caption, frame, _PART_COLUMNS, ("effect",))


def _factors(report):
    if report.factors is None or report.factors.empty:
        return ""
    frame = report.factors.copy()
    titles = {**_FACTOR_COLUMNS}
    frame["largest"] = [titles[name] for name in frame["factor"]]
    caption = (
        "Which factor: clean the source, align the inputs, or correct the model (error "
        "rates of a linear model, held out; the last one is on source plus target)"
    )
    return _columns(caption, frame, titles, ("largest",))


def _source_gaps(report, frame):
    frame, left_out = _extremes(frame.sort_values("ntg", kind="stable"))
    display = NegativeTransferDisplay(
        frame["ntg"], frame[["low", "high"]], methods=["alone"] * len(frame),
        groups=frame["source"], by="source", unit=report.error_name,
    )  # fmt: skip
    lines = "; ".join(
        f"{s['source']} {number(s['ntg'])}, {s['effect']}" for _, s in frame.iterrows()
    )
    return _figure(
        display,
        (6.8, 1.5 + 0.38 * len(frame)),
        f"Negative transfer gap of each source alone: {lines}.",
        "Gap with one source at a time, pooled with the target. Sources that help one "
        f"by one may still be redundant together.{left_out}",
    )


def _extremes(frame):
    """Return the lines at both ends of a long frame, and what is left out."""
    left_out = len(frame) - _MOST_SOURCES
    if left_out <= 0:
        return frame, ""
    middle = frame.index[_MOST_SOURCES // 2 : _MOST_SOURCES // 2 + left_out]
    return frame.drop(index=middle), f" {left_out} sources in between are left out."


def _source_weights(report):
    wide = report.source_weights.pivot(
        index="method", columns="source", values="weight"
    )
    heaviest = wide.max().sort_values(ascending=False, kind="stable").index
    shown = set(heaviest[:_MOST_SOURCES])
    wide = wide[[s for s in report.sources["source"] if s in shown]]
    left_out = len(heaviest) - len(shown)
    more = f" The {left_out} sources with the smallest weights are left out."
    display = SourceWeightsDisplay(
        wide.to_numpy(), target_names=list(wide.index), source_names=list(wide.columns)
    )
    lines = "; ".join(
        f"{method}: " + ", ".join(f"{s} {number(w)}" for s, w in row.items())
        for method, row in wide.iterrows()
    )
    n_methods, n_sources = wide.shape
    longest = max(len(plain_text(name)) for name in wide.columns)
    turned = longest > 9 or n_sources > 8
    return _figure(
        display,
        (
            2.6 + min(0.95 * n_sources, 9),
            1.5 + 0.5 * n_methods + 0.08 * longest * turned,
        ),
        f"Weights of the sources. {lines}.",
        "Weight of a source row, where a labeled target row weighs about 1. UOWQ "
        "weighs by labels, KMM by inputs (the mean over its rows is shown); 1 and 0 "
        f"say kept and dropped.{more * bool(left_out)}",
        rotation=90 if turned else 0,
    )


def _embedding(report):
    frame = report.embedding
    classes = frame.get("class")
    if classes is not None:  # pandas may have made NaN of None
        classes = classes.astype(object).where(classes.notna(), None)
    display = DomainEmbeddingDisplay(
        frame[["before_1", "before_2"]].to_numpy(), None, domains=frame["domain"],
        is_target=frame["is_target"], classes=classes, axis_name="component",
    )  # fmt: skip
    names = listed(frame["domain"].unique())
    n_shown = frame["domain"].nunique() - 1
    which = f" The {n_shown} nearest sources by MMD are shown." * (
        n_shown < len(report.sources)
    )
    return _figure(
        display,
        (6.8, 5.6),
        f"Rows of {names} by their first two principal components.",
        "A sample of the rows by principal components of the scaled inputs; filled "
        f"markers are rows of {report.target}. Where domains lie apart, their inputs "
        f"differ.{which}",
    )


def _with_which(report):
    parts = ["<h2>With which method?</h2>"]
    if report.methods.empty:
        parts.append("<p>Methods cannot be ranked without labeled target rows.</p>")
        return "\n".join(parts)
    frame = report.methods.copy()
    frame["error_interval"] = _intervals(frame, "error_low", "error_high")
    frame["interval"] = _intervals(frame, "low", "high")
    frame["joint_interval"] = _intervals(frame, "joint_low", "joint_high")
    frame["fitted_interval"] = _intervals(frame, "fitted_low", "fitted_high")
    frame["harm"] = [
        "-" if np.isnan(p) else f"{p:.2f}" for p in frame["harm_probability"]
    ]
    alone = frame["method"] == "target only"
    frame.loc[alone, "ntg"] = np.nan
    frame.loc[alone, ["interval", "fitted_interval", "joint_interval"]] = "-"
    caption = f"Methods by cross-validated {report.error_name}"
    parts.append(_columns(caption, frame, _METHOD_COLUMNS))
    return "\n".join(parts)


def _model(report):
    """Return what the fitted model is made of, and how to use it."""
    if report.recommended is None:
        return ""
    frame = report.members[report.members["weight"] > _LEAST_WEIGHT].copy()
    rest = float(1 - frame["weight"].sum())
    frame["uses_sources"] = np.where(frame["uses_sources"], "yes", "no")
    frame["weight"] = [f"{weight:.0%}" for weight in frame["weight"]]
    if frame["loss"].isna().all():
        frame = frame.drop(columns="loss")
    titles = {**_MEMBER_COLUMNS}
    if deviance_power(report.recommended) is not None:
        titles["loss"] = "held-out deviance"
    left_out = f" Members below {_LEAST_WEIGHT:.0%} together have {rest:.0%}."
    saved = report.saved or "model.joblib"
    first = "" if report.saved else f'report.save_model("{saved}")\n\n'
    return (
        "<h2>The model</h2>\n<p>The recommended model is fitted. It predicts by the "
        "weighted mean of these members, which were compared on held-out labeled rows "
        f"of {escape(report.target)}.{left_out * (rest > 0.005)}</p>\n"
        + _columns("Members of the model", frame, titles, ("uses_sources",))
        + "\n<p>To predict for new rows, which need the columns that were read, but "
        "neither domain nor label, nor what was left out:</p>\n"
        f'<pre tabindex="0"><code>{escape(first)}'
        "import joblib\nfrom sktransfer.inspection import read_table\n\n"
        f"model = joblib.load({escape(repr(saved))})\n"
        'model.predict(read_table("new_rows.csv"))</code></pre>\n'
        f"{_rates(report)}"
        '<p class="small">Load model files of people you trust only: loading one runs '
        "code that it contains.</p>"
    )


def _rates(report):
    """Return what the predictions are where there are exposures."""
    return f"<p>{escape(rates_sentence(report))}</p>\n" * report.has_exposure


def _did_it_hurt(report):
    parts = ["<h2>How do I know that it did not hurt?</h2>"]
    guard = report.guard
    if guard is None:
        parts.append(
            "<p>Not without labeled target rows that are held out. Once there are "
            "some, TransferGuard compares transfer with the target alone and falls "
            "back.</p>"
        )
        return "\n".join(parts)
    used = "has a part in" if guard["transferred"] else "has no part in"
    parts.append(
        f"<p>TransferGuard around {escape(guard['method'])}: the gap in "
        f"{guard['loss']} is {number(guard['ntg'])} (95 % interval "
        f"{number(guard['low'])} to {number(guard['high'])}, "
        f"{guard['held_out_rows']} held-out {guard['counted']}); the probability that "
        f"the sources hurt is {guard['harm_probability']:.2f}. Transfer {used} its "
        f"prediction, with the weight {number(guard['weight'])}; the rest is the "
        "target alone. For "
        "a final check keep some labeled target rows out of all of this.</p>"
    )
    curve = report.learning_curve
    if curve is not None:
        parts.append(_curve(report, curve))
    return "\n".join(parts)


def _curve(report, curve):
    wide = curve.pivot(index="n_labels", columns="split")
    display = LearningCurveTransferDisplay(
        wide.index, wide["transfer_error"], wide["target_only_error"],
        error_name=report.error_name,
    )  # fmt: skip
    means = curve.groupby("n_labels").mean()
    method = report.guard["method"]
    lines = "; ".join(
        f"{n} labels: {number(m['transfer_error'])} with, "
        f"{number(m['target_only_error'])} without"
        for n, m in means.iterrows()
    )
    return _figure(
        display,
        (6.8, 4.2),
        f"Error on the target against the number of labels. {lines}.",
        f"{method[:1].upper()}{method[1:]} with ever more labeled target rows, "
        "with and without the sources; bars span the middle 80 % of random splits.",
    )


def _reading(report):
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.reading)
    return f"<h2>How the table was read</h2>\n<ul>{items}</ul>"


def _limits(report):
    always = [
        "Intervals come from one table. They say nothing of target rows that are drawn "
        "in another way than the labeled ones.",
        "The best method was chosen by its error, so that error is a little too small, "
        "and so may its probability of harm be.",
        "Intervals on average are about the mean gap over labeled target samples of "
        "this size; those of this fit, and the probability of harm, are about the "
        "models that are fitted on these rows.",
    ]
    for what, numbers in (
        ("Rows to label next, drawn at random", report.label_next),
        ("Rows whose labels would improve a model most", report.label_for_model),
    ):
        rows = ", ".join(map(str, numbers))
        if rows and report.to_label:
            always.append(f"{what} (positions from 0 in the table): {rows}.")
    items = "".join(f"<li>{escape(note)}</li>" for note in [*report.notes, *always])
    settings = ", ".join(f"{k} {v}" for k, v in report.settings.items())
    return (
        f'<h2>Notes and limits</h2>\n<ul>{items}</ul>\n<p class="small">Settings: '
        f"{escape(settings)}.</p>"
    )


def _intervals(frame, low, high):
    pairs = zip(frame[low], frame[high], strict=True)
    return ["-" if np.isnan(a) else f"{number(a)} to {number(b)}" for a, b in pairs]


def _columns(caption, frame, titles, text=()):
    """Return a table of the columns of a frame that it has."""
    shown = [name for name in titles if name in frame]
    rows = [[line[name] for name in shown] for _, line in frame.iterrows()]
    left = {k for k, name in enumerate(shown) if name in text}
    return _table(caption, [titles[name] for name in shown], rows, left)


def _table(caption, header, rows, text=frozenset()):
    """Return a table; the columns in ``text`` are aligned to the left."""
    kinds = [' class="text"' if k in text else "" for k in range(len(header))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(header, kinds, strict=True)
    )
    lines = []
    for row in rows:
        first, *others = (_cell(value) for value in row)
        cells = "".join(
            f"<td{kind}>{value}</td>"
            for value, kind in zip(others, kinds[1:], strict=True)
        )
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    long = " long" * (len(rows) > _MOST_ROWS)
    return (
        f'<section class="table{long}" aria-label="{escape(caption)}" tabindex="0">'
        "<table>"
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></section>"
    )


def _cell(value):
    if isinstance(value, float | np.floating):
        whole = np.isfinite(value) and value == round(value) and abs(value) < 1e6
        return str(int(value)) if whole and value else number(value)
    return escape(str(value))


def _figure(display, size, alt, caption, **options):
    """Draw a display without any window and put it inside the page."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    display.plot(ax=figure.add_subplot(), **options)
    picture = BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(picture, format="png", dpi=_DPI, metadata={"Software": None})
    if any("missing from" in str(warning.message) for warning in caught):
        caption += (
            " The fonts at hand lack some letters of these names; the tables have them."
        )
    code = b64encode(picture.getvalue()).decode("ascii")
    width, height = (round(_DPI * side) for side in size)
    small = ' class="narrow"' if width < _LEAST_WIDTH else ""
    return (
        f'<figure><div tabindex="0"><img src="data:image/png;base64,{code}" '
        f'alt="{escape(alt)}" width="{width}" height="{height}"{small}></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
