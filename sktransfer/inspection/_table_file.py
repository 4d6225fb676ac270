"""Read a table as people save it, and tell how it was read."""

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sktransfer._compat import check_pandas_support
from sktransfer.preprocessing._columns import is_beyond_floats

__all__ = ["BadTable", "ReadTable", "read_table"]

_SEPARATORS = (",", ";", "\t", "|")
#: what stands for a missing value in a column of features, or among numbers
_MISSING = {"", "?", "nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nat"}
#: what stands for a missing value among names of classes and domains
_MISSING_NAME = {"", "?", "nan", "<na>", "#n/a", "nat"}
#: what stands for a missing value where every other cell of a column is a number
_MISSING_NUMBER = _MISSING | {
    "-", "--", "---", ".", "..", "n.a.", "n.d.", "nd", "k.a.", "missing", "unknown",
    "#value!", "#div/0!", "#ref!", "#name?", "#num!", "#null!",
}  # fmt: skip
_PACKED = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
_SPACED = re.compile(r"([-+]?\d{1,3}(?:[ \u00a0\u202f'\u2019]\d{3})+)([.,]\d+)?")
_UNITS = "$\u20ac\u00a3\u00a5%"
_WITH_UNIT = re.compile(
    rf"(?P<sign>[-+]?)(?P<before>[{_UNITS}]?)\s*(?P<number>[-+]?[\d.,].*?)\s*"
    rf"(?P<after>[{_UNITS}]?)"
)
_BOMS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_GROUPED = r"[-+]?\d{{1,3}}(?:{sep}\d{{3}})+"
_PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?")
_THOUSANDS_COMMA = re.compile(  # 1,234,567 and, as in India, 12,34,567
    rf"(?:{_GROUPED.format(sep=',')}|[-+]?\d{{1,2}}(?:,\d{{2}})+,\d{{3}})(?:\.\d+)?"
)
_THOUSANDS_POINT = re.compile(_GROUPED.format(sep=r"\.") + r"(?:,\d+)?")
_INFINITE = re.compile(r"[-+]?inf(?:inity)?", re.IGNORECASE)
_COUNTS = "The first column has no name and counts rows: it is left out."


class BadTable(Exception):
    """A fault of the file that its owner can put right; its text is one line."""


@dataclass
class ReadTable:
    """A table and how it was read.

    Parameters
    ----------
    frame : pandas.DataFrame
        Numbers where every value is one, else text; missing values are NaN or None.
        Its index holds the line of the file that each row begins in.
    notes : list of str
        Sentences on how the file was read, for a reader who knows the file.
    texts : dict of str to list of str
        The cells of each column as they stand in the file.
    """

    frame: object
    notes: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)


def read_table(path, *, names=(), encoding=None, sep=None, decimal=None, na_values=()):
    """Read a table from a file: text with separators, parquet, or a spreadsheet.

    Parameters
    ----------
    path : str
        A file. Text may be compressed (.gz, .bz2, .xz, .zip).
    names : list of str, default=()
        Columns whose values are names, such as labels and domains: ``None`` and
        ``NA`` may be among them.
    encoding : str or None, default=None
        Encoding of the text. None: by a byte order mark, else UTF-8, else
        Windows-1252.
    sep : str or None, default=None
        What separates columns. None: the one of ``, ; | tab`` that splits every line
        alike.
    decimal : {".", ","} or None, default=None
        Decimal point. None: what all numbers of the file agree with.
    na_values : list of str, default=()
        Further cells that stand for a missing value.

    Returns
    -------
    table : ReadTable
        The table, with notes on how it was read.

    Raises
    ------
    BadTable
        If the file cannot be read, with the line of the fault.
    """
    suffix = Path(path).suffix.lower()
    if suffix in {".parquet", ".pq", ".feather", ".xlsx", ".xls", ".ods"}:
        given = {"encoding": encoding, "sep": sep}
        for option, value in given.items():
            if value is not None:
                raise BadTable(f"--{option} is for text files; {path!r} is not one")
        extra = {value.strip().lower() for value in na_values}
        return _read_typed(path, suffix, names, extra, decimal)
    text, notes = _decode(_load(path), path, encoding)
    if not text.strip():
        raise BadTable(f"{path!r} is empty")
    if sep is not None and len(sep) != 1:
        raise BadTable(f"--sep must be one character and is {sep!r}")
    text, first = _skip_preamble(text, notes)
    sep = sep or _find_separator(text, path)
    header, lines, rows = _parse(text, sep, path, first, notes)
    texts = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    extra = {value.strip().lower() for value in na_values}
    comma = _comma_means(texts, sep) if decimal is None else _given(decimal)
    columns = {}
    for name, cells in texts.items():
        columns[name] = _convert(name, cells, lines, name in names, extra, comma, notes)
    pandas = check_pandas_support("reading a table")
    frame = pandas.DataFrame(columns, index=lines)
    shown = {"\t": "tab"}.get(sep, sep)
    notes.insert(
        0, f"{len(frame)} rows and {len(header)} columns, separated by {shown!r}."
    )
    return ReadTable(frame, notes, texts)


def _read_typed(path, suffix, names, extra, decimal):
    """Read a file that comes with the types of its columns."""
    pandas = check_pandas_support("reading a table")
    readers = {".parquet": "read_parquet", ".pq": "read_parquet"}
    readers |= {".feather": "read_feather"}
    sheets = []
    try:
        if suffix in readers:
            frame = getattr(pandas, readers[suffix])(path)
        else:
            with pandas.ExcelFile(path) as book:
                sheets = [str(name) for name in book.sheet_names]
                # what stands for a missing value among texts is decided below, and
                # truth values beside empty cells are no numbers
                frame = book.parse(
                    keep_default_na=False, na_values=[""], dtype=object
                ).infer_objects()
    except ImportError as error:
        needed = str(error).splitlines()[0]
        raise BadTable(
            f"{path!r} needs a package that is not installed ({needed}); install it, "
            "or save the table as CSV"
        ) from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadTable(f"{path!r} cannot be read ({error})") from error
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index(names=named) if named else frame
    if frame.empty:
        raise BadTable(f"{path!r} has no row")
    frame.columns = [str(name) for name in frame.columns]
    frame.index = np.arange(2, len(frame) + 2)
    first = frame.columns[0]
    counts = first == "Unnamed: 0" and _is_index(frame[first].astype(str))
    frame = frame.drop(columns=first) if counts else frame
    notes = [f"{len(frame)} rows and {frame.shape[1]} columns, with types of the file."]
    if counts:
        notes.append(_COUNTS)
    if len(sheets) > 1:
        others = ", ".join(map(repr, sheets[1:4])) + ", ..." * (len(sheets) > 4)
        notes.append(
            f"The first sheet, {sheets[0]!r}, was read, and none of the others "
            f"({others}). Save another one as a file of its own."
        )
    texts = {}
    for name in frame.columns:
        present = frame[name].dropna()
        if str(frame[name].dtype) in ("bool", "boolean") or (
            frame[name].dtype == object
            and len(present)
            and all(isinstance(value, bool | np.bool_) for value in present)
        ):  # truth values are words, as in text files, whether some are missing or not
            frame[name] = _cells(frame[name], None)
        elif any(isinstance(value, str) for value in present):
            if isinstance(frame[name].dtype, pandas.CategoricalDtype):
                continue
            texts[name] = _cells(frame[name], "").tolist()
    comma = _comma_means(texts, ",") if decimal is None else _given(decimal)
    lines = frame.index.tolist()
    for name, cells in texts.items():
        frame[name] = _convert(name, cells, lines, name in names, extra, comma, notes)
    return ReadTable(frame, notes, texts)


def _cells(column, missing):
    """Return the values of a column as text."""
    pandas = check_pandas_support("reading a table")
    return column.astype(object).map(
        lambda value: missing if pandas.isna(value) else str(value)
    )


def _load(path):
    """Return the bytes of a file, unpacked by what they begin with."""
    raw = Path(path).read_bytes()
    if raw.startswith(b"PK"):
        return _unzip(raw, path)
    unpack = next((f for mark, f in _PACKED.items() if raw.startswith(mark)), bytes)
    try:
        return unpack(raw)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise BadTable(f"{path!r} cannot be unpacked ({error})") from error


def _unzip(raw, path):
    """Return the only file of an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if "[Content_Types].xml" in names:
                raise BadTable(
                    f"{path!r} is a spreadsheet, whatever its name says; call it .xlsx"
                )
            if len(names) != 1:
                raise BadTable(
                    f"{path!r} is an archive of {len(names)} files; it must hold one"
                )
            return archive.read(names[0])
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise BadTable(f"{path!r} cannot be unpacked ({error})") from error


def _decode(raw, path, encoding):
    """Return the text of a file and a note if its encoding is a guess."""
    marked = next((name for mark, name in _BOMS.items() if raw.startswith(mark)), None)
    try:
        return raw.decode(encoding or marked or "utf-8"), []
    except LookupError as error:
        raise BadTable(f"--encoding {encoding!r} is no encoding of Python") from error
    except UnicodeDecodeError as error:
        if encoding or marked:
            raise BadTable(
                f"{path!r} is not in the encoding {encoding or marked} ({error.reason} "
                f"at byte {error.start}); name another by --encoding"
            ) from error
    _refuse_two_encodings(raw, path)
    if set(raw[:1000]) & {*range(9), *range(14, 32)}:  # control characters
        raise BadTable(
            f"{path!r} is no text in UTF-8; name its encoding by --encoding, such as "
            "utf-16"
        )
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text, [
        "The file is not in UTF-8; it was read as Windows-1252 (Western European). "
        "If letters look wrong, name its encoding by --encoding."
    ]


def _refuse_two_encodings(raw, path):
    """Refuse a file of which some lines are in UTF-8 and others are not.

    Letters of other encodings make hardly ever a valid sequence of UTF-8.
    """
    first = {}
    for number, line in enumerate(raw.splitlines(), 1):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            first.setdefault(False, number)
        else:
            first.setdefault(True, number)
    if len(first) == 2:
        raise BadTable(
            f"{path!r} has lines in UTF-8, such as line {first[True]}, and lines in "
            f"another encoding, such as line {first[False]}; save it in one, or read "
            "it as it is by --encoding"
        )


def _find_separator(text, path):
    """Return the separator that splits the first lines alike, into most columns."""
    head = "\n".join(text.splitlines()[:200])
    widths = {}
    for sep in _SEPARATORS:
        rows = [row for row in csv.reader(io.StringIO(head), delimiter=sep) if row]
        if not rows:
            raise BadTable(f"{path!r} is empty")
        alike = np.mean([len(row) == len(rows[0]) for row in rows])
        widths[sep] = len(rows[0]) if alike > 0.9 else 1
    return max(widths, key=widths.get)


def _skip_preamble(text, notes):
    """Return the text from its header on, and the line that it begins in."""
    lines = io.StringIO(text, newline="").readlines()
    first = 0
    while first < len(lines) - 1 and (
        not lines[first].strip()
        or re.match(r"sep=.\s*$", lines[first])
        or (lines[first].startswith("#") and not _alike(*lines[first : first + 2]))
    ):
        first += 1
    skipped = [line.strip() for line in lines[:first] if line.strip()]
    if skipped:
        notes.append(
            f"Lines skipped before the header: {len(skipped)}, the first of them "
            f"{skipped[0][:60]!r}."
        )
    return "".join(lines[first:]), first + 1


def _alike(line, following):
    """Tell whether some separator splits two lines into as many cells."""
    counts = [(line.count(sep), following.count(sep)) for sep in _SEPARATORS]
    return any(own == other > 0 for own, other in counts)


def _parse(text, sep, path, first, notes):
    """Return the header, and the rows with the line that each begins in."""
    csv.field_size_limit(10**7)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sep)
    header, lines, rows, start, comments, ends = None, [], [], first, [], None
    try:
        for row in reader:
            line, start = start, reader.line_num + first
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [name.strip() for name in row]
                continue
            if len(row) != len(header) and row[0].startswith("#"):
                comments.append(line)
                continue
            if ends is None:
                ends = len(row) == len(header) + 1 and not row[-1].strip()
            if ends and len(row) == len(header) + 1 and not row[-1].strip():
                del row[-1]  # the separator ends each line but the header
            if len(row) != len(header):
                quote = "; a quotation mark may be open" * ("\n" in row[-1])
                raise BadTable(
                    f"{path!r} has {len(row)} cells in line {line}, but its header has "
                    f"{len(header)}; the separator is {sep!r} (--sep names "
                    f"another){quote}"
                )
            lines.append(line)
            rows.append(row)
    except csv.Error as error:
        raise BadTable(
            f"{path!r}: {error} in line {reader.line_num + first - 1}"
        ) from error
    if header is None or not rows:
        raise BadTable(f"{path!r} has a header but no row")
    if comments:
        notes.append(
            f"Comments skipped: {len(comments)}, the first in line {comments[0]}."
        )
    header, rows = _name_unnamed(header, rows, notes)
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise BadTable(f"{path!r} has several columns named {twice[0]!r}; rename one")
    return header, lines, rows


def _name_unnamed(header, rows, notes):
    """Name the columns that have no name, and leave out those that are empty."""
    unnamed = [k for k, name in enumerate(header) if not name]
    empty = {k for k in unnamed if not any(row[k].strip() for row in rows)}
    if empty:
        notes.append(
            f"Columns left out that have neither a name nor values: {len(empty)}."
        )
    index = {0} & ({*unnamed} | {k for k in (0,) if header[k] == "Unnamed: 0"}) - empty
    if index and _is_index([row[0] for row in rows]):
        notes.append(_COUNTS)
        empty |= index
    for k in unnamed:
        header[k] = f"(column {k + 1})" if len({*unnamed} - empty) > 1 else "(unnamed)"
    kept = [k for k in range(len(header)) if k not in empty]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def _is_index(cells):
    """Tell whether cells are whole numbers that rise, with few starts anew."""
    cells = [cell.strip() for cell in cells]
    if not all(re.fullmatch(r"\d{1,15}", cell) for cell in cells):
        return False
    steps = np.diff(np.array(cells, dtype=np.int64))
    return bool((steps != 0).all() and np.sum(steps < 0) <= len(cells) / 10)


def _given(decimal):
    if decimal not in {".", ","}:
        raise BadTable(f"--decimal must be . or , and is {decimal!r}")
    return "decimal" if decimal == "," else "thousands"


def _comma_means(texts, sep):
    """Return what a comma inside of numbers is: "decimal" or "thousands".

    Cells such as ``0,5`` or ``1.234,5`` and ``1,234.5`` or ``1,234,567`` decide; where
    every cell looks like ``1,234``, a file with semicolons has decimal commas.
    """
    decimal = thousands = 0
    for cells in texts.values():
        for cell in cells:
            text, _ = _without_unit(cell.strip())
            if "," not in text:
                continue
            is_decimal = _DECIMAL_COMMA.fullmatch(text) or (
                "." in text and _THOUSANDS_POINT.fullmatch(text)
            )
            is_thousands = _THOUSANDS_COMMA.fullmatch(text)
            decimal += bool(is_decimal and not is_thousands)
            thousands += bool(is_thousands and not is_decimal)
    if decimal and thousands:
        raise BadTable(
            "the file has numbers with decimal commas and with thousands commas; say "
            "--decimal , or --decimal . or clean the columns"
        )
    if decimal or thousands:
        return "decimal" if decimal else "thousands"
    return "decimal" if sep == ";" else "thousands"


def _without_unit(text):
    """Return a cell without its unit and the spaces between thousands, and the unit.

    ``$1,234.50``, ``12 %``, ``1 234,5`` and ``(12.50)``, which is negative, are
    numbers to people.
    """
    text = text.replace("\N{MINUS SIGN}", "-")
    if text.startswith("(") and text.endswith(")") and text[1:2].isprintable():
        inner, unit = _without_unit(text[1:-1].strip())
        return ("-" + inner, unit) if inner[:1].isdigit() else (text, "")
    match = _WITH_UNIT.fullmatch(text)
    if match is None or (match["before"] and match["after"]):
        return text, ""
    unit = match["before"] or match["after"]
    number = match["sign"] + match["number"]
    if _SPACED.fullmatch(number):
        number = re.sub("[ \u00a0\u202f'\u2019]", "", number)
    return number, unit


def _number(text, comma):
    """Return a cell as a float, or None if it is no number."""
    text, _ = _without_unit(text)
    if _PLAIN.fullmatch(text) and not (
        comma == "decimal" and _THOUSANDS_POINT.fullmatch(text)
    ):
        return float(text)
    if comma == "decimal":
        if _DECIMAL_COMMA.fullmatch(text) or _THOUSANDS_POINT.fullmatch(text):
            return float(text.replace(".", "").replace(",", "."))
    elif _THOUSANDS_COMMA.fullmatch(text):
        return float(text.replace(",", ""))
    return None


def _convert(name, cells, lines, is_name, extra, comma, notes):
    """Return a column of numbers where every cell is one, else of text."""
    texts = [cell.strip() for cell in cells]
    lowered = [text.lower() for text in texts]
    # a name, such as a label, may be unknown; a number may not
    words = (_MISSING if is_name else _MISSING_NUMBER) | extra
    gone = np.array([text in words for text in lowered])
    for position, text in enumerate(texts):
        if _INFINITE.fullmatch(text) and not gone[position]:
            raise BadTable(
                f"column {name!r} holds {text!r} in line {lines[position]}; correct "
                f"it, or make it a missing value by --na-values {text}"
            )
    present = [text for text, out in zip(texts, gone, strict=True) if not out]
    numbers = [_number(text, comma) for text in present]
    units = {_without_unit(text)[1] for text in present}
    coded = any(re.match(r"[-+]?0\d", text) for text in present)
    numeric = bool(present) and None not in numbers
    if numeric and len(units) > 1:
        listed = ", ".join(repr(unit) for unit in sorted(units) if unit)
        notes.append(
            f"Column {name!r} stays text: some of its numbers have a unit ({listed}), "
            "others have none or another one."
        )
    if numeric and any(map(is_beyond_floats, present)):
        notes.append(
            f"Column {name!r} stays text: it holds whole numbers of more digits than "
            "calculations keep, which are codes rather than quantities."
        )
        coded = True
    if numeric and not coded and len(units) == 1:
        _note_numbers(name, present, units.pop(), comma, notes)
        values = np.full(len(texts), np.nan)
        values[~gone] = numbers
        _note_missing(name, texts, gone, notes)
        whole = not gone.any() and (values % 1 == 0).all()
        plain = all(re.fullmatch(r"[-+]?\d+", text) for text in present)
        return values.astype(np.int64) if whole and plain else values
    words = (_MISSING_NAME if is_name else _MISSING) | extra
    gone = np.array([text in words for text in lowered])
    _note_missing(name, texts, gone, notes)
    values = np.array(texts, dtype=object)
    values[gone] = None
    return values


def _note_numbers(name, present, unit, comma, notes):
    """Tell how the numbers of a column were read where they are not plain."""
    if unit:
        notes.append(f"Column {name!r} was read as numbers without their {unit!r}.")
    bare = [_without_unit(text)[0] for text in present]
    if any("," in text for text in bare):
        what = "decimal" if comma == "decimal" else "thousands"
        notes.append(f"Commas in column {name!r} were read as {what} commas.")
    if comma == "decimal" and any(map(_THOUSANDS_POINT.fullmatch, bare)):
        notes.append(
            f"Points in column {name!r} were read as thousands points where three "
            "digits follow."
        )
    if any(text.startswith("(") for text in present):
        notes.append(f"Numbers of column {name!r} in parentheses are negative.")
    if any(_SPACED.fullmatch(text.strip("()" + _UNITS).strip()) for text in present):
        notes.append(
            f"Spaces or apostrophes in column {name!r} were read as separators of "
            "thousands."
        )


def _note_missing(name, texts, gone, notes):
    """Tell which words, if any, were read as missing values."""
    words = sorted(
        {text for text, out in zip(texts, gone, strict=True) if out and text}
    )
    if words:
        listed = ", ".join(repr(word) for word in words)
        were = (
            "were read as missing values"
            if len(words) > 1
            else ("was read as a missing value")
        )
        notes.append(f"{listed} in column {name!r} {were}.")


def stray_text(table, name, na_values=()):
    """Return ``(line, text)`` of the first text in a column of mostly numbers.

    Parameters
    ----------
    table : ReadTable
        A table.
    name : str
        One of its columns.
    na_values : list of str, default=()
        Cells that stand for a missing value.

    Returns
    -------
    stray : tuple of (int, str) or None
        None if the column holds numbers alone, or mostly text.
    """
    if name not in table.texts or table.frame[name].dtype.kind in "iuf":
        return None
    extra = {value.strip().lower() for value in na_values}
    cells = [
        (line, cell.strip())
        for line, cell in zip(table.frame.index, table.texts[name], strict=True)
        if cell.strip().lower() not in _MISSING | extra
    ]
    comma = _comma_means({name: [text for _, text in cells]}, ",")
    units = [_without_unit(text)[1] for _, text in cells]
    unit = max(set(units), key=units.count, default="")
    odd = [
        (line, text)
        for (line, text), own in zip(cells, units, strict=True)
        if _number(text, comma) is None or own != unit
    ]
    return odd[0] if odd and len(odd) < len(cells) / 2 else None
