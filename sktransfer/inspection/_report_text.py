"""From numbers to plain sentences: the verdict, its evidence, what to label next."""

from dataclasses import dataclass, replace
from textwrap import wrap

import numpy as np

from sktransfer.inspection._display import number
from sktransfer.inspection._report_steps import FEW_LABELS, RISK, error_of

#: a source whose weight is below this share of the largest is not named
_LEAST_SHARE = 0.05
_MOST_NAMES = 6
#: most sources that the text lists
_MOST_LINES = 12
#: most members of the model that the text lists
_MOST_MEMBERS = 6
#: a gap within this share of the target's own error is not worth the sources
_NEGLIGIBLE = 0.01
#: from this probability on, an effect is called probable
_PROBABLE = 0.75


@dataclass(frozen=True)
class Decision:
    """A verdict with the sentence for it and the method it is about."""

    verdict: str
    recommendation: str
    method: str | None = None
    harm_probability: float = float("nan")

    @property
    def grade(self):
        """The verdict on the best method as words and a probability."""
        return graded(self.harm_probability)


def listed(names):
    """Return names as an enumeration in words."""
    names = [str(name) for name in names]
    if len(names) > _MOST_NAMES:
        names = [*names[: _MOST_NAMES - 1], f"{len(names) - _MOST_NAMES + 1} others"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def graded(harm_probability):
    """Return what a probability of harm means, with the probability of that.

    Parameters
    ----------
    harm_probability : float
        In [0, 1]; NaN if it is not known.

    Returns
    -------
    grade : str
        Such as "probably helps, 0.86"; empty for NaN.
    """
    if np.isnan(harm_probability):
        return ""
    hurts = harm_probability > 0.5
    sure = harm_probability if hurts else 1 - harm_probability
    effect = "hurt" if hurts else "help"
    shown = min(np.floor(100 * sure + 1e-9) / 100, 0.99)
    if sure >= 1 - RISK:
        return f"{effect}s, {shown:.2f}"
    if sure >= _PROBABLE:
        return f"probably {effect}s, {shown:.2f}"
    return f"may {effect}, {shown:.2f}"


def used_sources(method, weights, sources):
    """Return the sources that a method gives weight to; all if it states none.

    Parameters
    ----------
    method : str
        Name of the method.
    weights : pandas.DataFrame
        Weights of the sources by method.
    sources : list of str
        All sources.

    Returns
    -------
    names : list of str
        Sources with a part in the fit.
    """
    own = weights[weights["method"] == method]
    if own.empty:
        return list(sources)
    heavy = own["weight"] > _LEAST_SHARE * max(own["weight"].max(), 0.0)
    return own["source"][heavy].tolist()


def decide(run, found, reason):
    """Return the decision that the cross-validated gaps support.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    found : dict
        Tables of the report.
    reason : str
        Why nothing can be held out; empty if the methods were cross-validated.

    Returns
    -------
    decision : Decision
        "transfer" needs a probability of harm of at most 0.05, and an error below that
        of the best fit on the target alone; "do_not_transfer" a probability of help of
        at most 0.05, or a gap that makes no difference.
    """
    methods = found["methods"]
    tried = methods[(methods["method"] != "target only") & methods["error"].notna()]
    if not reason and tried.empty:
        reason = "no method could be cross-validated; the notes say why"
    if reason:
        return Decision(
            "unknown",
            f"Whether to transfer to {run.target} cannot be known yet: {reason}. "
            "Similar inputs alone do not mean that the sources help.",
        )
    alone = methods.loc[methods["method"] == "target only", "error"].iloc[0]
    good = tried[(tried["harm_probability"] <= RISK) & (tried["error"] < alone)]
    best = (good if len(good) else tried).iloc[0]
    words = _Words(run, best, alone)
    about = best["method"], best["harm_probability"]
    if len(good):
        used = used_sources(best["method"], found["source_weights"], run.sources)
        return Decision("transfer", words.transfer(used or run.sources), *about)
    if best["harm_probability"] >= 1 - RISK:
        return Decision("do_not_transfer", words.do_not_transfer(), *about)
    if max(abs(best["joint_low"]), abs(best["joint_high"])) <= _NEGLIGIBLE * alone:
        return Decision("do_not_transfer", words.no_difference(), *about)
    return Decision("undecided", words.undecided(), *about)


class _Words:
    """Sentences about the best method."""

    def __init__(self, run, best, alone):
        self.method, self.target, self.best = best["method"], run.target, best
        self.error_name = error_of(run.scoring)[1]
        self.error, self.alone = number(best["error"]), number(alone)
        self.own = number(best["target_only_error"])
        self.level = f"{run.confidence_level * 100:.3g} % interval"
        self.grade = graded(best["harm_probability"])

    def _gap(self):
        low, high = number(self.best["fitted_low"]), number(self.best["fitted_high"])
        gap = number(self.best["ntg"])
        return f"negative transfer gap {gap}, {self.level} {low} to {high}"

    def transfer(self, sources):
        low, high = number(-self.best["fitted_high"]), number(-self.best["fitted_low"])
        return (
            f"Transfer from {listed(sources)} with {self.method}: it {self.grade}. The "
            f"{self.error_name} on {self.target} falls by {number(-self.best['ntg'])} "
            f"({self.level} {low} to {high}), from {self.own} to {self.error}."
        )

    def do_not_transfer(self):
        return (
            f"Do not transfer: the best method, {self.method}, {self.grade}. It has "
            f"the {self.error_name} {self.error} on {self.target}, the target alone "
            f"{self.alone} ({self._gap()})."
        )

    def no_difference(self):
        return (
            f"Do not transfer: it makes no difference. The best method, {self.method}, "
            f"has the {self.error_name} {self.error} on {self.target}, the target "
            f"alone {self.alone} ({self._gap()})."
        )

    def undecided(self):
        guarded = "guard" in self.method
        advice = (
            f"Use {self.method}, which transfers as far as the evidence goes"
            if guarded
            else "Use a portfolio, or TransferGuard around this method: they transfer "
            "as far as the evidence goes"
        )
        return (
            f"The labels do not decide, but the best method, {self.method}, "
            f"{self.grade}. It has the {self.error_name} {self.error} on "
            f"{self.target}, the target alone {self.own}; the gap of "
            f"{number(self.best['ntg'])} may be chance ({self._gap()}). {advice}, or "
            "label more target rows."
        )


def explained(report):
    """Return a report with its sentences.

    Parameters
    ----------
    report : TransferReport
        All that was computed.

    Returns
    -------
    report : TransferReport
        The same with evidence and advice on labels.
    """
    return replace(report, evidence=evidence_of(report), to_label=label_advice(report))


def evidence_of(report):
    """Return the sentences that support the recommendation.

    Parameters
    ----------
    report : TransferReport
        All that was computed.

    Returns
    -------
    evidence : list of str
        One sentence per finding.
    """
    found = [
        *_method_sentences(report),
        *_source_sentences(report),
        *_part_sentences(report),
        *_similarity_sentences(report),
    ]
    guard = report.guard
    if guard is not None and np.isfinite(guard["ntg"]):
        found.append(
            f"A guard around {guard['method']}, whose probability of harm is "
            f"{guard['harm_probability']:.2f} ({guard['loss']} of "
            f"{guard['held_out_rows']} held-out {guard['counted']}), gives transfer "
            f"the weight {number(guard['weight'])} in a blend with the target alone."
        )
    return found


def leave_out_sentence(report):
    """Return the advice to leave out the sources that hurt.

    Parameters
    ----------
    report : TransferReport
        All that was computed.

    Returns
    -------
    sentence : str
        Empty if no source hurts, or all do.
    """
    if not report.leave_out:
        return ""
    gaps = report.sources.set_index("source")["ntg"]
    worst = gaps[report.leave_out].idxmax()
    one = len(report.leave_out) == 1
    line = report.sources[report.sources["source"] == worst].iloc[0]
    which = "Pooled with the target alone it raises" if one else f"{worst} raises"
    return (
        f"Leave out {listed(report.leave_out)}. {which} the {report.error_name} by "
        f"{number(line['ntg'])} (interval {number(line['low'])} to "
        f"{number(line['high'])}). The recommended model is fitted without "
        f"{'it' if one else 'them'}."
    )


def linear_kind(report):
    """Return what the model is whose sources are left out part by part."""
    return "log-linear" if report.has_exposure else "linear"


def rates_sentence(report):
    """Return what the recommended model predicts; empty without exposures."""
    if not report.has_exposure:
        return ""
    return (
        "The model predicts rates, labels per unit of exposure: multiply each by the "
        "exposure of its row for the expected label."
    )


def _method_sentences(report):
    table = report.methods
    tried = table[(table["method"] != "target only") & table["ntg"].notna()]
    if tried.empty:
        return []
    better = tried[tried["ntg"] < 0]["method"].tolist()
    hurt = tried[tried["harm_probability"] >= 1 - RISK]["method"].tolist()
    share = f"{len(better)} of {len(tried)} methods" if better else "No method"
    which = f": {listed(better)}" if better else ""
    verb = "have" if len(better) > 1 else "has"
    found = [
        f"{share} {verb} a smaller cross-validated {report.error_name} than the target "
        f"alone{which}."
    ]
    if hurt:
        found.append(
            f"The sources hurt, with a probability of at least {1 - RISK:.2f}, with "
            f"{listed(hurt)}."
        )
    return found


def _source_sentences(report):
    if "effect" not in report.sources:
        return []
    found, by_effect = [], report.sources.groupby("effect")["source"]
    for effect, names in by_effect:
        if effect != "unclear":
            verb = effect if len(names) == 1 else effect.removesuffix("s")
            alone = "alone" if len(names) == 1 else "each alone"
            found.append(f"{listed(names)}, {alone} with the target, {verb}.")
            continue
        which = listed(names) if len(names) <= _MOST_NAMES else f"{len(names)} sources"
        found.append(
            f"Whether {which} alone would help or hurt, the labels do not tell."
        )
    return found


def _part_sentences(report):
    """Advise to leave out the parts of the sources that hurt, the worst first."""
    if report.parts is None or report.parts.empty:
        return []
    hurts = report.parts["effect"] == "hurts"
    bad = report.parts[hurts]
    of_class = report.parts["class"].notna()
    mixed = set(report.parts["source"][of_class & ~hurts])
    # where every class of a source hurts, the line of the source is enough
    whole = set(bad["source"][bad["class"].isna()]) - mixed
    bad = bad[bad["class"].isna() | ~bad["source"].isin(whole)]
    bad = bad.sort_values("influence", ascending=False, kind="stable")
    return [
        f"Leave out {part_name(line)}: beside the other parts of the sources, its "
        f"{line['rows']} rows raise the {report.error_name} of a {linear_kind(report)} "
        f"model by {number(line['influence'])} (interval {number(line['low'])} to "
        f"{number(line['high'])})."
        for _, line in bad.head(_MOST_NAMES).iterrows()
    ]


def part_name(line):
    """Return the name of a part of the sources: "X", or "class c of X"."""
    if line["class"] is None or line["class"] != line["class"]:  # a missing value
        return str(line["source"])
    return f"class {line['class']} of {line['source']}"


def _similarity_sentences(report):
    distance = report.sources.get("proxy_a_distance")
    if distance is None or distance.isna().all():
        return []
    near, far = distance.idxmin(), distance.idxmax()
    names = report.sources["source"]
    found = [
        f"By its inputs {names[near]} is {_closeness(distance[near])} "
        f"{report.target} (proxy A-distance {number(distance[near])} of 2)"
    ]
    if near != far:
        found.append(
            f"{names[far]} is {_closeness(distance[far])} it ({number(distance[far])})"
        )
    return ["; ".join(found) + "."]


def _closeness(distance):
    if distance < 0.5:
        return "hard to tell from"
    return "partly like" if distance < 1.5 else "easy to tell from"


def wants_labels(verdict, n_labeled):
    """Tell whether more labels of the target are advised."""
    return verdict not in ("transfer", "do_not_transfer") or n_labeled < FEW_LABELS


def label_advice(report):
    """Say how many rows to label next, and which.

    Parameters
    ----------
    report : TransferReport
        All that was computed.

    Returns
    -------
    advice : str
        Empty if nothing need be labeled.
    """
    n_labeled = int(report.domains["labeled"].iloc[0])
    if not wants_labels(report.verdict, n_labeled):
        return ""
    parts = []
    if report.verdict == "unknown":
        each = "several of each class, " * (report.task == "classification")
        parts.append(
            f"Label at least {FEW_LABELS} target rows, {each}drawn at random (rows "
            "picked because they are easy would mislead), and make the report again."
        )
    elif report.verdict == "undecided" and report.more_labels is not None:
        parts += _curve_sentences(report.more_labels)
    else:
        parts.append(
            f"Only {n_labeled} target rows are labeled; more of them, drawn at random, "
            "would make this surer."
        )
    if not report.label_next:
        return " ".join([*parts, "The table has no unlabeled target row left."])
    named = len(report.label_next)
    parts.append(f"The report names {named} rows drawn at random to begin with.")
    if report.label_for_model:
        parts.append(
            f"It also names {len(report.label_for_model)} whose labels would improve "
            "a model most: those are no random sample, and a gap on them misleads."
        )
    return " ".join(parts)


def _curve_sentences(more):
    """Return the sentences on the extrapolated learning curve of the gap."""
    n, needed, what = more["n_labeled"], more["labels_needed"], more["counted"]
    chance = f"{more['probability']:.0%}"
    if more["goal"] == needed:
        found = [
            f"Label about {int(needed - n)} more target {what}, drawn at random: with "
            f"{int(needed)} in all a clear answer has a probability of {chance}, by "
            f"the learning curve of {more['method']}."
        ]
    else:
        found = [
            "More labels will hardly tell whether the sources help: by the learning "
            f"curve of {more['method']}, {int(more['goal'])} labeled target {what} "
            f"give a clear answer with a probability of {chance} only, as the gap "
            "changes with every label. With a probability of "
            f"{more['undecidable']:.0%} no number of them would: the gap vanishes as "
            "fast as its error. They give a better model, though."
        ]
    found.append(
        f"The gap in the {more['loss']}, about {number(more['gap_now'])} with the {n} "
        f"there are, is then about {number(more['gap'])} ({number(more['low'])} to "
        f"{number(more['high'])})."
    )
    return found


def render_text(report):
    """Return the report in a few lines.

    Parameters
    ----------
    report : TransferReport
        The report.

    Returns
    -------
    content : str
        The recommendation, the ranking of the methods and of the sources, the
        evidence, and what to label.
    """
    lines = [f"Transfer report for target {report.target} ({report.task})", ""]
    lines += _wrapped(report.recommendation, "")
    if report.leave_out:
        lines += ["", *_wrapped(leave_out_sentence(report), "")]
    lines += ["", "How the table was read"]
    lines += [line for s in report.reading for line in _wrapped(s, "- ")]
    if len(report.methods):
        lines += [
            "",
            f"Methods by {report.error_name}, with the gap to the target alone",
        ]
        lines += _aligned(
            ["method", "error", "gap", "on average", "this fit", "P(harm)"],
            [
                [m["method"], number(m["error"]), *_gap_cells(m), *_fit_cells(m)]
                for _, m in report.methods.iterrows()
            ],
        )
    if report.recommended is not None:
        lines += ["", "The recommended model, fitted: the weights of its members"]
        heaviest = report.members.head(_MOST_MEMBERS)
        lines += _aligned(
            ["weight", "member"],
            [[f"{m['weight']:.0%}", m["member"]] for _, m in heaviest.iterrows()],
        )
        rest = float(report.members["weight"].iloc[_MOST_MEMBERS:].sum())
        if rest > 0.005:
            lines.append(f"  {rest:.0%}".ljust(10) + "others")
    if "ntg" in report.sources:
        ordered = report.sources.sort_values("ntg", kind="stable")
        lines += ["", "Sources, each alone with the target"]
        lines += _aligned(
            ["source", "rows", "gap", "interval", "effect"],
            [
                [s["source"], str(s["rows"]), *_gap_cells(s), s["effect"]]
                for _, s in ordered.head(_MOST_LINES).iterrows()
            ],
        )
        if len(ordered) > _MOST_LINES:
            lines.append(f"  and {len(ordered) - _MOST_LINES} with larger gaps")
    if report.evidence:
        lines += ["", "Evidence"]
        lines += [line for s in report.evidence for line in _wrapped(s, "- ")]
    if report.to_label:
        lines += ["", *_wrapped(report.to_label, "")]
    if report.notes:
        lines += ["", "Notes"]
        lines += [line for s in report.notes for line in _wrapped(s, "- ")]
    return "\n".join(lines)


def _gap_cells(line):
    if line.get("method") == "target only":
        return ["", ""]
    if np.isnan(line["ntg"]):
        return ["-", "not computed"]
    return [number(line["ntg"]), f"{number(line['low'])} to {number(line['high'])}"]


def _fit_cells(line):
    if line["method"] == "target only" or np.isnan(line["ntg"]):
        return ["", ""]
    return [
        f"{number(line['fitted_low'])} to {number(line['fitted_high'])}",
        f"{line['harm_probability']:.2f}",
    ]


def _wrapped(sentence, bullet):
    return wrap(
        sentence, 79, initial_indent=bullet, subsequent_indent=" " * len(bullet),
        break_long_words=False,
    )  # fmt: skip


def _aligned(header, rows):
    """Lay out columns of text."""
    widths = [
        max(len(str(row[k])) for row in [header, *rows]) for k in range(len(header))
    ]
    return [
        "  "
        + "  ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
