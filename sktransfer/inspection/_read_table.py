"""Read a table as a report does."""

from sktransfer.inspection._table_file import BadTable
from sktransfer.inspection._table_file import read_table as read_with_notes

__all__ = ["read_table"]


def read_table(path, *, names=(), encoding=None, sep=None, decimal=None, na_values=()):
    r"""Read a table from a file, as ``python -m sktransfer report`` does.

    Parameters
    ----------
    path : str or Path
        A file: text with a header, separated by ``,``, ``;``, ``|`` or tab (which may
        be compressed), parquet, or a spreadsheet, whose first sheet is read.
    names : list of str, default=()
        Columns whose values are names, such as labels and domains: ``None`` and
        ``NA`` may be among them.
    encoding : str, default=None
        Encoding of the text. None: by a byte order mark, else UTF-8, else
        Windows-1252.
    sep : str, default=None
        What separates columns. None: what splits every line alike.
    decimal : {".", ","}, default=None
        Decimal point. None: what all numbers of the file agree with.
    na_values : list of str, default=()
        Further cells that stand for a missing value.

    Returns
    -------
    frame : pandas.DataFrame
        Numbers where every value of a column is one, else text; missing values are NaN
        or None. A first column without a name that counts rows is left out. The index
        holds the line of the file that each row begins in.

    Raises
    ------
    ValueError
        If the file cannot be read, with the line of the fault.

    See Also
    --------
    sktransfer.datasets.from_frame : Make samples, labels and domains of a frame.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sktransfer.inspection import read_table
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "sites.csv"
    ...     _ = file.write_text("site;dose;ill\nLyon;1,5;yes\nParis;2,5;NA\n")
    ...     frame = read_table(file)
    >>> frame["dose"].tolist()
    [1.5, 2.5]
    >>> frame.index.tolist()
    [2, 3]
    """
    try:
        return read_with_notes(
            str(path),
            names=names,
            encoding=encoding,
            sep=sep,
            decimal=decimal,
            na_values=na_values,
        ).frame
    except BadTable as error:
        raise ValueError(str(error).replace("--", "")) from error
