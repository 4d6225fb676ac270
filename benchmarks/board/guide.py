"""The page of the user guide that says what to do: sentences with figures of the lines.

``what_to_do.in.rst`` has the sentences; ``{{gain|classes|30|UOWQ, linear}}`` stands for
a figure. A test makes the page again from the stored lines and compares.
"""

import re
from functools import cache
from pathlib import Path
from textwrap import fill

from benchmarks.board.sets import SETS
from benchmarks.board.summary import (
    REAL,
    all_runs,
    figures,
    kind_of_shift,
    number_of_sources,
)

TEMPLATE = Path(__file__).parent / "what_to_do.in.rst"
PAGE = "what_to_do.rst"


def fill_in(text, lines, methods):
    """Replace every figure that a text asks for.

    Parameters
    ----------
    text : str
        With ``{{what|kind|where|method}}``. *What* is one of the functions of
        ``WHAT``, or of ``RANGES`` for several methods joined by " / "; *kind* "classes"
        or "reals"; *where* conditions joined by " & ": a number of labels, "tune" or
        "proof", a set, "1 source", "2-4 sources", "5-8 sources", or the end or the
        beginning of a kind of shift such as "sources far"; *method* its name. *What*
        may also be a check of a sentence beside it, such as ``mean<0`` (see
        ``VALUES``): it is written as nothing, and must hold for all of the methods.
    lines : list of dict
        Lines of results.
    methods : dict of str to Method
        The methods.

    Returns
    -------
    text : str
        With figures.

    Raises
    ------
    ValueError
        If a figure has no lines, something in it is not known, or a check fails.
    """
    runs = all_runs(lines, methods)

    def figure(match):
        asked = match.group(1).split("|")
        check = re.fullmatch(rf"({'|'.join(VALUES)})([<>])(-?[\d.]+)", asked[0])
        if len(asked) != 4 or not (check or asked[0] in {**WHAT, **RANGES}):
            raise ValueError(f"{match.group(0)} is no figure.")
        what, kind, where, names = asked
        found = [of_runs(kind, where, name) for name in names.split(" / ")]
        if None in found:
            raise ValueError(f"{match.group(0)} has no lines.")
        if check:
            return _checked(match.group(0), found, *check.groups())
        return WHAT[what](*found) if what in WHAT else RANGES[what](found)

    @cache
    def of_runs(kind, where, name):
        fits = [_condition(part) for part in where.split(" & ") if part]
        return figures([
            r for r in runs.get(name, [])
            if r.kind == kind and r.part in REAL and all(f(r) for f in fits)
        ])  # fmt: skip

    return re.sub(r"\{\{(.+?)\}\}", figure, text)


def _checked(text, found, value, sign, limit):
    """Return nothing, or refuse a sentence that is not true."""
    values = [VALUES[value](f) for f in found]
    side = 1 if sign == ">" else -1
    if not all(side * (v - float(limit)) > 0 for v in values):
        raise ValueError(f"{text} is not true: {values}. Change the sentence.")
    return ""


def _wrapped(text):
    """Break the lines of paragraphs and lists anew; leave titles and directives."""
    blocks = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        title = len(lines) == 2 and set(lines[1]) <= set("=-~")
        if block.startswith(("..", "   ")) or title:
            blocks.append(block)
            continue
        items = re.split(r"\n(?=- )", block.strip("\n"))
        after = "  " if block.startswith("- ") else ""
        items = [" ".join(item.split()).replace(" %", "\0%") for item in items]
        wrapped = [
            fill(item, 88, subsequent_indent=after, break_on_hyphens=False,
                 break_long_words=False).replace("\0", " ")
            for item in items
        ]  # fmt: skip
        blocks.append("\n".join(wrapped) + "\n" * block.endswith("\n"))
    return "\n\n".join(blocks)


def _condition(part):
    if part.isdigit():
        return lambda r: r.labels == int(part)
    if part in REAL:
        return lambda r: r.part == part
    if any(part in names for names in SETS.values()):
        return lambda r: r.set == part
    if "source" in part and part[0].isdigit():
        return lambda r: number_of_sources(r) == part

    def like(run):
        shift = kind_of_shift(run) or ""
        return shift.startswith(part) or shift.endswith(part)

    return like


def _short(value):
    """Write a number without the 0 before its point."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3f}").replace("-.000", ".000")


#: what a figure may be -> how it is written
WHAT = {
    "gain": lambda f: (
        f"{_short(f.gain[0])} ({_short(f.gain[1])} to {_short(f.gain[2])})"
    ),
    "mean": lambda f: _short(f.gain[0]),
    "hurt": lambda f: f"{100 * f.hurt[0]:.0f} %",
    "hurt-interval": lambda f: (
        f"{100 * f.hurt[0]:.0f} % ({100 * f.hurt[1]:.0f} to {100 * f.hurt[2]:.0f})"
    ),
    "kept": lambda f: f"{100 * f.kept[0]:.0f} %",
    "loss": lambda f: _short(f.loss),
    "tail": lambda f: _short(f.tail),
    "place": lambda f: f"{f.place:.2f}".removeprefix("0"),
    "seconds": lambda f: f"{f.cpu:.2g}",
    "sets": lambda f: str(f.sets),
    "tasks": lambda f: str(f.tasks),
}


def _ends(values, write):
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"


#: what a figure of several methods may be -> how its smallest and largest are written
RANGES = {
    "hurt-range": lambda found: _ends(
        [100 * f.hurt[0] for f in found], lambda value: f"{value:.0f}"
    ) + " %",
    "mean-range": lambda found: _ends([f.gain[0] for f in found], _short),
    "sets-range": lambda found: _ends([f.sets for f in found], str),
}  # fmt: skip

#: what a check may compare -> its value
VALUES = {
    "mean": lambda f: f.gain[0],
    "low": lambda f: f.gain[1],
    "high": lambda f: f.gain[2],
    "hurt": lambda f: f.hurt[0],
}


def write_guide(folder, lines, methods):
    """Write the page "what to do" to a folder.

    Parameters
    ----------
    folder : Path
        Gets ``what_to_do.rst``.
    lines : list of dict
        Lines of results.
    methods : dict of str to Method
        The methods.
    """
    text = _wrapped(fill_in(TEMPLATE.read_text(), lines, methods))
    (folder / PAGE).write_text(text)
