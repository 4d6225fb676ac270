"""Arguments of alignments, penalties and layers: what is refused, and how."""

import math
from numbers import Integral, Real

import numpy as np

from sktransfer._compat import Interval

__all__ = [
    "check_choice", "check_flag", "check_interval", "check_number", "check_widths"
]  # fmt: skip


def check_number(name, value, kind=Real, least=0):
    """Return a finite number of a kind, not less than a bound.

    Parameters
    ----------
    name : str
        Argument.
    value : object
        What was given.
    kind : type, default=Real
        Kind of number.
    least : number, default=0
        Bound.

    Returns
    -------
    value : number
        The same.

    Raises
    ------
    ValueError
        If it is something else.
    """
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or value < least:
        what = "an integer" if kind is Integral else "a finite number"
        raise ValueError(f"{name} must be {what}, {least} or more, got {value!r}.")
    return value


def check_interval(name, value, low, high=None, *, closed="left"):
    """Return a number in an interval.

    Parameters
    ----------
    name : str
        Argument.
    value : object
        What was given.
    low, high : float or None
        Ends of the interval; None: infinity.
    closed : {"left", "right", "both", "neither"}, default="left"
        Which ends belong to it.

    Returns
    -------
    value : number
        The same.

    Raises
    ------
    ValueError
        If it is something else.
    """
    interval = Interval(Real, low, high, closed=closed)
    fits = isinstance(value, Real) and not isinstance(value, bool)
    if not fits or value not in interval:
        raise ValueError(f"{name} must be {interval}, got {value!r}.")
    return value


def check_choice(name, value, choices):
    """Return one of some names.

    Parameters
    ----------
    name : str
        Argument.
    value : object
        What was given.
    choices : tuple of str
        The names.

    Returns
    -------
    value : str
        The same.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}.")
    return value


def check_flag(name, value):
    """Return True or False.

    Parameters
    ----------
    name : str
        Argument.
    value : object
        What was given.

    Returns
    -------
    value : bool
        The same.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
    return value


def check_widths(name, value):
    """Return the widths of hidden layers: integers of 1 or more, or none.

    Parameters
    ----------
    name : str
        Argument.
    value : object
        What was given.

    Returns
    -------
    value : tuple or list of int
        The same.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(value, (tuple, list)):
        raise ValueError(f"{name} must be a tuple of widths, got {value!r}.")
    for width in value:
        check_number(f"{name}={value!r}: each width", width, Integral, 1)
    return value
