"""What a row of the table is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Experiment:
    """A grid of cells. Each cell is run once and kept.

    ``cells(quick)`` lists the cells as dicts of plain values; each has a "seed".
    ``run(cell, folder)`` returns one dict of plain values, or a list of them.
    A new ``version`` makes kept results invalid. ``simulated``: it reads no data.
    """

    name: str
    setting: str
    cells: Callable[[bool], list[dict]]
    run: Callable[[dict, Path], dict | list[dict]]
    version: int = 1
    simulated: bool = False


class Outcome(NamedTuple):
    """Our figure, and whether the claim holds: "yes", "no" or a qualified answer."""

    ours: str
    holds: str


@dataclass(frozen=True)
class Claim:
    """One row of the table.

    ``conclude`` gets one line per result, a frame of the cell's and the result's
    values. ``reason`` stands beside a "no" or an "in part": why, and which experiment
    shows it.
    """

    name: str
    paper: str
    claim: str
    published: str
    experiment: Experiment
    conclude: Callable[[pd.DataFrame], Outcome]
    reason: str = ""


def interval(values):
    """Return mean, lower and upper limit of a t interval of independent values."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return values.mean(), -np.inf, np.inf
    error = values.std(ddof=1) / np.sqrt(len(values))
    reach = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * error
    return values.mean(), values.mean() - reach, values.mean() + reach


def over_seeds(frame, column):
    """Mean over everything but the seed, with an interval over the seeds."""
    return interval(frame.groupby("seed")[column].mean())


def text(estimate, form="+.3f"):
    mean, low, high = estimate
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def settled(estimate, n_units, unit, form="+.3f"):
    """Write an estimate, and how many units would settle it where it includes zero."""
    return text(estimate, form) + power(estimate, n_units, unit)


def power(estimate, n_units, unit):
    """Tell how many units would settle a mean whose interval includes zero.

    The width of the interval falls with the root of their number.
    """
    mean, low, high = estimate
    if low > 0 or high < 0 or not np.isfinite(high - low):
        return ""
    if abs(mean) < 1e-12:
        return f" (no number of {unit} settles a difference of 0)"
    reach = (mean - low) if mean > 0 else (high - mean)
    needed = int(np.ceil(n_units * (reach / abs(mean)) ** 2))
    return f" (about {needed} {unit} would settle a difference of this size)"


def positive(estimate):
    """Is the mean positive? "not settled" where the interval includes zero."""
    _, low, high = estimate
    return "yes" if low > 0 else "no" if high <= 0 else "not settled"


def together(answers):
    """Join the answers of several parts of a claim."""
    answers = list(answers)
    if all(answer == "yes" for answer in answers):
        return "yes"
    if not any(answer == "yes" for answer in answers):
        return "no" if "no" in answers else "not settled"
    return f"in part ({answers.count('yes')} of {len(answers)})"
