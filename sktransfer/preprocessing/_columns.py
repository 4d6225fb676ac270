"""Columns of a table: their values, what they hold, and which may not be learned from.

Values come in one of four forms, whatever library the table is from: floats with NaN,
``datetime64[us]`` with NaT, ``timedelta64[us]`` with NaT for times of the day, or
objects that are strings or None.
"""

import datetime as dt
import re
from decimal import Decimal
from functools import partial
from numbers import Real

import numpy as np

from sktransfer._compat import _num_samples
from sktransfer._domains import is_missing

#: what a column may hold, and why it may not be learned from
ROLES = ("number", "date", "time", "category", "text")
DROPPED = {
    "id": "a running number, or a text of its own in every sample",
    "empty": "missing in every sample",
    "copy of the label": "a copy of the label",
    "copy of the domain": "a copy of the domain",
}
#: how numbers and dates are written -> the role that is written so
FORMS = {"decimal comma": "number", "day first": "date", "month first": "date"}
#: fewer samples than this cannot show that a column is an id or a copy
LEAST_EVIDENCE = 20
#: a column of texts with more words than this per sample is free text
WORDS_OF_A_TEXT = 3
#: an unbroken range of whole numbers, of which at most half are missing, is an id
_LARGEST_GAP = 2.0

_LEADING_ZERO = re.compile(r"[-+]?0\d")
_LARGEST_EXACT = 2**53
_WITH_COMMA = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>\d+|\d{1,3}(?:\.\d{3})+|)(?:,(?P<part>\d+))?"
    r"(?P<power>[eE][-+]?\d+)?"
)
_DATE_FORMATS = (
    "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d", "%d-%b-%Y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
    "%d.%m.%y", "%d.%m.%y %H:%M", "%d.%m.%y %H:%M:%S", "%d-%b-%y", "%d %b %y",
)  # fmt: skip
_SLASHED = re.compile(
    r"(\d{1,2})([/-])(\d{1,2})\2(\d{4}|\d{2})( \d{1,2}:\d{2}(?::\d{2})?)?"
)
_MONTH = re.compile(r"(?:19|20)\d{2}[-/](?:0[1-9]|1[0-2])")
_CLOCK = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?(?:\s*([ap])\.?m\.?)?", re.I
)
#: years of two digits: 69 to 99 are in the last century, as in POSIX
_FIRST_OF_LAST_CENTURY = 69
_START = np.datetime64("1970-01-01", "us")
_DAY = np.timedelta64(1, "D")


def column_names(X):
    """Return the names of the columns of a table, or ``x0, x1, ...`` of an array."""
    if hasattr(X, "columns"):
        return list(X.columns)
    return [f"x{position}" for position in range(np.shape(X)[1])]


def column_of(X, name, position):
    """Return one column of a table or an array."""
    return X[name] if hasattr(X, "columns") else np.asarray(X)[:, position]


def is_categorical(column):
    """Tell whether a column is of a categorical type of pandas or polars."""
    return str(getattr(column, "dtype", "")).split("(")[0].lower() in {
        "category",
        "categorical",
        "enum",
    }


def values_of(column, *, as_text=False, form=None):
    """Return the values of a column as floats, dates, or strings with None.

    Parameters
    ----------
    column : array-like of shape (n_samples,)
        Numbers, truth values, dates, text or a mix, with missing values.
    as_text : bool, default=False
        Return strings in any case, as for a column of categories.
    form : str, default=None
        One of ``FORMS``: how numbers or dates are written. None: the
        result of :func:`form_of` for the column.

    Returns
    -------
    values : ndarray of shape (n_samples,)
        Floats with NaN, ``datetime64[us]`` or, for times of the day,
        ``timedelta64[us]`` with NaT, or objects: strings and None. Text in which every
        value is a number, a date or a time of the day counts as that.

    Raises
    ------
    ValueError
        If the values are complex numbers.
    TypeError
        If they are nested.
    """
    raw = column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)
    if hasattr(getattr(column, "cat", None), "codes"):  # pandas: each text once
        texts = _texts(np.append(column.cat.categories.astype(object), [None]))
        return texts[column.cat.codes.to_numpy()]
    if as_text or is_categorical(column):
        return _texts(raw)
    if raw.dtype.kind in "biuf":
        return raw.astype(np.float64)
    if raw.dtype.kind == "M":
        return raw.astype("datetime64[us]")
    if raw.dtype.kind == "m":
        return np.where(np.isnat(raw), np.nan, raw / np.timedelta64(1, "s"))
    if raw.dtype.kind == "c":
        raise ValueError("Complex data not supported: a column holds complex numbers.")
    return _from_objects(raw.astype(object), form)


def _from_objects(raw, form=None):
    missing = missing_in(raw)
    present = raw[~missing]
    if all(isinstance(value, Real | Decimal | np.bool_) for value in present):
        values = np.full(len(raw), np.nan)
        values[~missing] = present.astype(np.float64)
        return values
    if all(isinstance(value, dt.date | np.datetime64) for value in present):
        return _fill_dates(missing, [_as_date(value) for value in present])
    if all(type(value).__name__ == "Period" for value in present):
        return _fill_dates(missing, [v.to_timestamp().to_datetime64() for v in present])
    if all(isinstance(value, dt.time) for value in present):
        return parse_times(np.array([_text(value) for value in raw], dtype=object))
    if any(isinstance(v, list | tuple | dict | set | np.ndarray) for v in present):
        raise TypeError(
            "argument must be a string or a number: a column holds the nested value "
            f"{present[0]!r}. Spread it over columns."
        )
    values = _texts(raw)
    if all(isinstance(value, str) for value in present):
        form = form_of(values) if form is None else form
        parsed = parse_numbers(values, comma=form == "decimal comma")
        if parsed is None:
            parsed = parse_dates(
                values, {"day first": True, "month first": False}.get(form)
            )
        if parsed is None:
            parsed = parse_times(values)
        if parsed is not None:
            return parsed
    return values


def missing_in(values):
    """Mask of the missing values of a column in any form."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype == object:
        return np.array([is_missing(value) for value in values], dtype=bool)
    return np.zeros(len(values), dtype=bool)


def _texts(raw):
    return np.array([_text(value) for value in raw], dtype=object)


def _text(value):
    if type(value) is str:
        return value
    if is_missing(value):
        return None
    if isinstance(value, Real | Decimal) and not isinstance(value, bool | np.bool_):
        return f"{float(value):.17g}"
    return str(value)


def form_of(values):
    """Return how the numbers or dates of a column are written, where texts show it.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Strings and None.

    Returns
    -------
    form : str or None
        One of ``FORMS``. "decimal comma": all values are numbers with a comma, or
        without a fraction, and in one of them the comma cannot stand for thousands, as
        in ``1,5`` or ``0,125``.
    """
    day_first = day_first_of(values)
    if day_first is not None:
        return "day first" if day_first else "month first"
    decimal = False
    for value in values:
        if value is None:
            continue
        match = _number_with_comma(value.strip())
        if match is None:
            return None
        if match["part"] is not None:
            sure = match["whole"] in ("", "0") or "." in match["whole"]
            decimal = decimal or sure or len(match["part"]) != 3
            decimal = decimal or len(match["whole"]) > 3
        elif "." in match["whole"]:
            return None  # 1.234 may be a fraction
    return "decimal comma" if decimal else None


def _number_with_comma(text):
    """Return the parts of a number that may have a decimal comma, or None."""
    match = _WITH_COMMA.fullmatch(text)
    empty = match is None or not (match["whole"] or match["part"])
    return None if empty or _LEADING_ZERO.match(text) else match


def _without_comma(text):
    """Return a number with a decimal comma as others are written."""
    match = _number_with_comma(text)
    if match is None:
        return "no number"
    whole = match["whole"].replace(".", "") or "0"
    return f"{match['sign']}{whole}.{match['part'] or 0}{match['power'] or ''}"


def parse_numbers(values, *, comma=False):
    """Return strings as floats, or None if one is no number or has a leading zero.

    With ``comma`` they have a decimal comma, and points between thousands.
    """
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value is None:
            continue
        text = value.strip()
        if _LEADING_ZERO.match(text) or text.lower().lstrip("+-") == "nan":
            return None
        if "_" in text or is_beyond_floats(text):  # Python reads 1_000 as a number
            return None
        try:
            numbers[row] = float(_without_comma(text) if comma else text)
        except ValueError:
            return None
    return None if np.isnan(numbers).all() else numbers


def is_beyond_floats(text):
    """Tell whether a text is a whole number that floats round to another one."""
    digits = text.strip().lstrip("+-")
    return len(digits) > 15 and digits.isdecimal() and int(digits) > _LARGEST_EXACT


def day_first_of(values):
    """Tell whether days come before months in dates such as ``31/12/2020``.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Strings and None.

    Returns
    -------
    day_first : bool or None
        None if a value is no such date, or no day is above 12 in any of them, or all
        of them may begin with a year of two digits.
    """
    found = [_SLASHED.fullmatch(value.strip()) for value in values if value is not None]
    if not found or None in found:
        return None
    first, second = (max(int(match[k]) for match in found) > 12 for k in (1, 3))
    short = any(len(match[4]) == 2 for match in found)
    if short and all(int(match[1]) > 12 for match in found):
        return None  # 20/12/31 may be a date of 2020
    return None if first == second else first


def parse_dates(values, day_first=None):
    """Return strings as dates, or None if one is in no unambiguous format.

    ISO 8601, ``31.12.2020``, ``31 Dec 2020``, ``2020/12/31`` and ``2020-12``, the first
    of December, are; ``03/04/2020`` is where another value of the column, or
    ``day_first``, settles what comes first. A year may have two digits where it comes
    last: 69 to 99 are 1969 to 1999.
    """
    missing = missing_in(values)
    if day_first is None:
        day_first = day_first_of(values)
    parse = _parse_date if day_first is None else partial(_parse_slashed, day_first)
    dates = []
    for value in values[~missing]:
        date = parse(value.strip())
        if date is None:
            return None
        dates.append(date)
    return _fill_dates(missing, dates) if dates else None


def _parse_date(text):
    if _MONTH.fullmatch(text):
        return np.datetime64(f"{text.replace('/', '-')}-01", "us")
    if not 8 <= len(text) <= 35 or not text[-1].isalnum() or text.isdigit():
        return None
    if not any(character.isdigit() for character in text):
        return None
    try:
        return _as_date(dt.datetime.fromisoformat(text))
    except ValueError:
        pass
    for form in _DATE_FORMATS:
        try:
            return _as_date(dt.datetime.strptime(text, form))
        except ValueError:
            continue
    return None


def _parse_slashed(day_first, text):
    match = _SLASHED.fullmatch(text)
    if match is None:
        return None
    day, month = (match[1], match[3]) if day_first else (match[3], match[1])
    time = (match[5] or " 00:00").strip().zfill(5)
    try:
        return _as_date(
            dt.datetime.fromisoformat(f"{_year(match[4])}-{month:0>2}-{day:0>2} {time}")
        )
    except ValueError:
        return None


def _year(digits):
    if len(digits) == 4:
        return digits
    century = "19" if int(digits) >= _FIRST_OF_LAST_CENTURY else "20"
    return century + digits


def parse_times(values):
    """Return strings as times of the day, or None if one is none.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Strings such as ``14:30``, ``14:30:05`` and ``2:30 PM``, and None.

    Returns
    -------
    times : ndarray of shape (n_samples,) or None
        ``timedelta64[us]`` since midnight, NaT where missing.
    """
    times = np.full(len(values), np.timedelta64("NaT", "us"))
    for row, value in enumerate(values):
        if value is None:
            continue
        seconds = _seconds(value.strip())
        if seconds is None:
            return None
        times[row] = np.timedelta64(round(seconds * 1e6), "us")
    return None if np.isnat(times).all() else times


def _seconds(text):
    """Return the seconds since midnight, or None if a text is no time of the day."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), float(match[3] or 0)
    if match[4]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[4].lower() == "p" else 0)
    if hour > 23 or minute > 59 or second >= 60:
        return None
    return 3600 * hour + 60 * minute + second


def hours(times):
    """Return times of the day as hours, NaN where missing."""
    return np.where(np.isnat(times), np.nan, times / np.timedelta64(1, "h"))


def _as_date(value):
    """Return a date as ``datetime64``, in UTC if it names a time zone."""
    if getattr(value, "tzinfo", None) is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")


def _fill_dates(missing, dates):
    values = np.full(len(missing), np.datetime64("NaT", "us"))
    values[~missing] = np.array(dates, dtype="datetime64[us]")
    return values


def role_of(values, *, categorical=False):
    """Return what a column holds.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Values of :func:`values_of`.
    categorical : bool, default=False
        Whether the table itself calls the column categorical.

    Returns
    -------
    role : {"number", "date", "time", "category", "text", "id", "empty"}
        A running number, or a text of its own in each sample, is an id: whole numbers
        without a repetition fill half of their range by chance in no measurement.
    """
    if missing_in(values).all():
        return "empty"
    if values.dtype.kind == "f":
        return "id" if _is_running(values) else "number"
    if values.dtype.kind == "M":
        return "date"
    if values.dtype.kind == "m":
        return "time"
    present = values[~missing_in(values)]
    n_values = len(set(present))
    if not categorical and len(present) and n_values > LEAST_EVIDENCE:
        words = np.mean([len(value.split()) for value in present])
        if words > WORDS_OF_A_TEXT and n_values > len(present) / 2:
            return "text"
    unique = n_values == len(present) >= LEAST_EVIDENCE and not _is_measured(present)
    return "id" if unique and not categorical else "category"


def is_date(text):
    """Tell whether a text is a date in one of the unambiguous formats."""
    return _parse_date(text.strip()) is not None


def is_ambiguous_date(values):
    """Tell whether texts are dates of which nobody can tell day, month and year."""
    present = [value.strip() for value in values if value is not None]
    return bool(present) and all(map(_SLASHED.fullmatch, present))


def _is_measured(present):
    """Tell whether most texts are numbers, dates or times, so that others are stray."""
    part = present[:: max(len(present) // 1000, 1)]
    parsed = [
        parse_numbers(np.array([v], dtype=object)) is not None
        or _parse_date(v.strip()) is not None
        or _SLASHED.fullmatch(v.strip()) is not None
        or _CLOCK.fullmatch(v.strip()) is not None
        for v in part
    ]
    return np.mean(parsed) > 0.5


def _is_running(values):
    present = values[~np.isnan(values)]
    n = len(present)
    if n < LEAST_EVIDENCE or not np.isfinite(present).all():
        return False
    if (present % 1 != 0).any() or len(np.unique(present)) < n:
        return False
    return bool(np.ptp(present) + 1 <= _LARGEST_GAP * n)


def is_copy(values, key):
    """Tell whether a column is another one under other names or in other units.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Values of :func:`values_of`.
    key : ndarray of shape (n_samples,)
        Labels or domain ids, none missing.

    Returns
    -------
    copy : bool
        True if each value belongs to one key and each key to one value, or both are
        numbers and one is a straight line of the other, in 20 samples or more. Samples
        in which the column is missing do not count.
    """
    known = ~missing_in(values)
    values, key = values[known], np.asarray(key)[known]
    if _num_samples(values) < LEAST_EVIDENCE:
        return False
    codes = [np.unique(part, return_inverse=True)[1] for part in (_plain(values), key)]
    n_values, n_keys = (int(part.max()) + 1 for part in codes)
    if n_keys < 2:
        return False
    pairs = len(np.unique(codes[0] * n_keys + codes[1]))
    if pairs == n_values == n_keys and n_keys < len(key) / 2:
        return True
    if values.dtype.kind != "f" or np.asarray(key).dtype.kind not in "iuf":
        return False
    return n_keys > 2 and n_values > 2 and _on_a_line(values, key.astype(np.float64))


def _plain(values):
    return values.astype(str) if values.dtype == object else values


def _on_a_line(a, b):
    """Tell whether two columns have a correlation of 1 or -1 up to rounding."""
    if not np.isfinite(a).all():
        return False
    scaled = []
    for part in (a, b):
        centered = part - part.mean()
        size = np.abs(centered).max()
        if size <= 1e-12 * np.abs(part).max():
            return False
        scaled.append(centered / np.linalg.norm(centered / size) / size)
    return bool(1 - abs(scaled[0] @ scaled[1]) < 1e-9)


def days_since_1970(dates):
    """Return dates, or times of the day, as days, and where they are missing (0)."""
    missing = np.isnat(dates)
    if dates.dtype.kind == "m":
        return np.where(missing, np.timedelta64(0, "us"), dates) / _DAY, missing
    known = np.where(missing, _START, dates)
    return (known - _START) / _DAY, missing


def years(dates):
    """Return dates as years since 1970, NaN where missing."""
    days, missing = days_since_1970(dates)
    return np.where(missing, np.nan, days / 365.2425)


#: name of a cycle -> length in days, and the days from its start to 1970-01-01
CYCLES = {"year": (365.2425, 0.0), "week": (7.0, 3.0), "day": (1.0, 0.0)}


def cycle(dates, name):
    """Return sine and cosine of the time within a cycle, 0 where missing."""
    length, start = CYCLES[name]
    days, missing = days_since_1970(dates)
    phase = 2 * np.pi * ((days + start) % length) / length
    both = np.column_stack([np.sin(phase), np.cos(phase)])
    return np.where(missing[:, None], 0.0, both)


def has_time(dates):
    """Tell whether a date comes with a time of the day."""
    known = dates[~np.isnat(dates)]
    return bool((known != known.astype("datetime64[D]")).any())
