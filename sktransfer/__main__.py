"""Command line: ``python -m sktransfer report data.csv --domain COLUMN ...``."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from sktransfer import __version__

_DESCRIPTION = "Transfer learning that measures and prevents negative transfer."
_REPORT = """\
Decide for one table whether, from which sources and how to transfer to a target.

The table has one row per observation: one column names the domain of the row, one
holds the label, all others are features (numbers or text, with missing values).
Every domain but --target is a source. Target rows without a label are used as
unlabeled rows; source rows without a label are left out.
"""
_EXAMPLE = """\
example:
  python -m sktransfer report patients.csv --domain hospital --target Lyon \\
      --label ill --drop patient_id --out report.html
"""
_MOST_LISTED = 12
#: more classes than this must have two rows each on average
_MOST_CLASSES = 20


class _BadInput(Exception):
    """Something the user can put right; its text is one line."""


class _Parser(argparse.ArgumentParser):
    """A parser with errors of one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def _make_parser():
    parser = _Parser(
        prog="python -m sktransfer",
        description=_DESCRIPTION,
        epilog="python -m sktransfer COMMAND --help explains a command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"sktransfer {__version__}"
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    report = commands.add_parser(
        "report",
        help="decide for a table whether, from which sources and how to transfer",
        description=_REPORT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = report.add_argument
    add(
        "data",
        metavar="data.csv",
        help="text with a header, separated by , ; | or tab (may be gzipped), parquet, "
        "or a spreadsheet",
    )
    add("--domain", required=True, metavar="COLUMN",
        help="column that names the domain of each row")  # fmt: skip
    add("--target", required=True, metavar="VALUE",
        help="value of that column that is the target")  # fmt: skip
    add("--label", required=True, action="append", metavar="COLUMN",
        help="column to predict; several for several outputs: a,b or given "
             "again")  # fmt: skip
    add("--drop", action="append", default=[], metavar="COLUMN",
        help="column to leave out, such as an id; may be given again")  # fmt: skip
    add("--category", action="append", default=[], metavar="COLUMN",
        help="column of numbers that are codes, such as a postal code; may be given "
             "again")  # fmt: skip
    add("--groups", metavar="COLUMN",
        help="column that names the unit of each row, such as the patient, if units "
             "have several rows")  # fmt: skip
    add("--exposure", metavar="COLUMN",
        help="column of the exposures of counts, such as the years at risk: rates are "
             "predicted, and compared by their deviance")  # fmt: skip
    add("--encoding", metavar="NAME",
        help="encoding of the text (default: UTF-8 or by its mark, else "
             "Windows-1252)")  # fmt: skip
    add("--sep", metavar="CHARACTER", help="what separates columns (default: detected)")
    add("--decimal", choices=[".", ","],
        help="decimal point of numbers (default: detected)")  # fmt: skip
    add("--na-values", action="append", default=[], metavar="TEXT",
        help="cell that stands for a missing value; may be given again")  # fmt: skip
    tasks = ["auto", "classification", "regression"]
    add("--task", choices=tasks, default="auto",
        help="auto: text and few whole numbers are classes")  # fmt: skip
    add("--scoring", metavar="NAME",
        help="scorer of scikit-learn (default: accuracy, or "
             "neg_root_mean_squared_error; with --exposure "
             "neg_mean_poisson_deviance)")  # fmt: skip
    add("--folds", type=int, default=5, metavar="N",
        help="folds of the labeled target rows (default: 5)")  # fmt: skip
    add("--quick", action="store_true",
        help="an answer sooner, from fewer rows, folds and methods")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    add("--jobs", type=int, default=None, metavar="N",
        help="folds that run in parallel; -1: one per processor")  # fmt: skip
    add("--out", metavar="report.html", help="write the report with pictures here")
    add("--save", metavar="model.joblib",
        help="write the recommended model, fitted, here")  # fmt: skip
    add("--json", metavar="report.json", help="write all numbers here")
    add("--quiet", action="store_true", help="no progress")
    return parser


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; None: those of the process.

    Returns
    -------
    status : int
        0; the process ends with 2 where an argument is wrong.
    """
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        report = _make_report(args)
        written, report = _write(report, args)
    except _BadInput as error:
        line = " ".join(str(error).split())
        sys.stderr.write(f"{parser.prog} report: error: {line}\n")
        return 2
    from sktransfer.inspection._report_text import rates_sentence

    said = [report.summary()]
    for what, rows in (
        ("to label next", report.label_next),
        ("whose labels would improve a model most", report.label_for_model),
    ):
        if report.to_label and rows:
            lines = ", ".join(map(str, rows))
            said.append(f"Lines of {args.data} {what}: {lines}")
    said += [f"Written: {path}" for path in written]
    if report.saved:
        said.append(
            "To predict for new rows:\n  import joblib\n"
            "  from sktransfer.inspection import read_table\n"
            f"  model = joblib.load({report.saved!r})\n"
            '  model.predict(read_table("new_rows.csv"))'
        )
    if report.has_exposure and report.recommended is not None:
        said.append(rates_sentence(report))
    if not args.out:
        said.append("--out report.html writes the full report with pictures.")
    sys.stdout.write("\n\n".join(said) + "\n")
    return 0


def _write(report, args):
    """Write the files that were asked for; return their paths and the report."""
    written = []
    for option in ("save", "out", "json"):  # the page tells where the model is
        path = getattr(args, option)
        if not path:
            continue
        if option == "save" and report.recommended is None:
            report.notes.append(f"--save {path!r} was not written: no model is known.")
            continue
        try:
            if option == "save":
                report = report.save_model(path)
            else:
                (report.to_html if option == "out" else report.to_json)(path)
        except OSError as error:
            raise _BadInput(
                f"--{option} {path!r} cannot be written ({error}); name another file"
            ) from error
        written.append(path)
    return written, report


def _make_report(args):
    _check_options(args)
    table = _read(args)
    df = table.frame
    args.label = _labels(df, args.label)
    _check_columns(df, args)
    target = _find_target(df, args)
    df, notes = _leave_out_unlabeled_sources(df.drop(columns=args.drop), args, target)
    groups = _take_groups(df, args, target)
    exposure = _take_exposure(df, args, table)
    df = df.drop(columns=[c for c in (args.groups, args.exposure) if c is not None])
    df = df.astype(dict.fromkeys(args.category, "category"))
    from sktransfer.datasets import from_frame
    from sktransfer.inspection import transfer_report

    try:
        labels, task = _prepare_all_labels(df, args, table)
        data = from_frame(
            df.assign(**labels), label=args.label, domain=args.domain, target=target
        )
        y = data.y
        if len(args.label) > 1:
            y = type(df)(y, columns=args.label)
        report = transfer_report(
            data.X, y, data.sample_domain, domain_names=data.domain_names,
            task=task, scoring=args.scoring, cv=args.folds, groups=groups,
            exposure=exposure, quick=args.quick, n_jobs=args.jobs,
            random_state=args.seed, verbose=not args.quiet,
        )  # fmt: skip
    except ImportError as error:
        raise _BadInput(_needs_plot(error)) from error
    except (TypeError, ValueError) as error:
        raise _BadInput(f"{args.data}: {error}") from error
    # lines of the file, from which rows may have been left out
    reading = [*table.notes, *notes, *report.reading]
    return replace(
        report,
        reading=reading,
        label_next=df.index[report.label_next].tolist(),
        label_for_model=df.index[report.label_for_model].tolist(),
    )


def _labels(df, given):
    """Return the columns of the labels: commas separate them, unless in a name."""
    found = []
    for text in given:
        parts = [text] if text in df.columns else [p.strip() for p in text.split(",")]
        found += parts
    for name in found:
        if found.count(name) > 1:
            raise _BadInput(f"--label names {name!r} more than once; name it once")
    return found


def _is_labeled(df, args):
    """Return a mask of the rows with a label."""
    return df[args.label].notna().all(axis=1)


def _said(args):
    """Return the labels as they were given."""
    return repr(args.label[0]) if len(args.label) == 1 else _listed(args.label)


def _prepare_all_labels(df, args, table):
    """Return the columns of labels as one task reads them, and the task."""
    found = {name: _prepare_labels(df[name], args, table) for name in args.label}
    tasks = {task for _, task in found.values()}
    if len(tasks) > 1:
        said = ", ".join(f"{name}: {task}" for name, (_, task) in found.items())
        raise _BadInput(
            f"--label names columns of several tasks ({said}); say --task, or make a "
            "report for the columns of each"
        )
    labels = {name: values for name, (values, _) in found.items()}
    texts = [values.dtype.kind not in "iuf" for values in labels.values()]
    if any(texts) and not all(texts):  # one array holds them all
        for name, text in zip(labels, texts, strict=True):
            if not text:
                labels[name] = _as_text(labels[name])
    return labels, tasks.pop()


def _as_text(labels):
    known = labels.dropna()
    known = known.map(lambda v: str(int(v)) if v == int(v) else repr(float(v)))
    return known.astype(object).reindex(labels.index)


def _take_groups(df, args, target):
    """Return the column of the groups; every labeled target row must have one."""
    if args.groups is None:
        return None
    groups = df[args.groups]
    missing = groups.isna() & _is_labeled(df, args) & (df[args.domain] == target)
    if missing.any():
        line = df.index[missing.to_numpy().argmax()]
        raise _BadInput(
            f"--groups {args.groups!r} is empty in {int(missing.sum())} labeled rows "
            f"of the target (first in line {line}); fill it in or remove the rows"
        )
    return groups.to_numpy()


def _take_exposure(df, args, table):
    """Return the exposures; every labeled row must have a positive one."""
    if args.exposure is None:
        return None
    from sktransfer.inspection._table_file import stray_text

    values = df[args.exposure]
    if values.dtype.kind not in "iuf":
        stray = stray_text(table, args.exposure, args.na_values)
        shown = f"{stray[1]!r} in line {stray[0]}" if stray else "text"
        raise _BadInput(f"--exposure {args.exposure!r} must hold numbers, not {shown}")
    bad = ~(values > 0) & _is_labeled(df, args) | (values <= 0)
    if bad.any():
        line = df.index[bad.to_numpy().argmax()]
        raise _BadInput(
            f"--exposure {args.exposure!r} is missing or not positive in "
            f"{int(bad.sum())} rows (first in line {line}); correct it or remove the "
            "rows"
        )
    return values.to_numpy(dtype=float)


def _prepare_labels(labels, args, table):
    """Return labels among which -1 is a value, and the task.

    In an array of integers -1 would mark a missing label, which a file leaves empty.
    Numbers that are not whole become text where they are classes.
    """
    from sktransfer.inspection._report_models import infer_task
    from sktransfer.inspection._table_file import stray_text

    present, task = labels.dropna(), args.task
    stray = stray_text(table, labels.name, args.na_values)
    if stray and task != "classification":
        raise _BadInput(
            f"--label {labels.name!r} holds numbers, but {stray[1]!r} in line "
            f"{stray[0]}; correct it, make it a missing value by --na-values "
            f"{stray[1]!r}, or say --task classification"
        )
    if args.exposure is not None:
        task = "regression"
    fractions = present.dtype.kind == "f" and bool((present % 1 != 0).any())
    if task == "auto":
        task = infer_task(present.to_numpy())
        if fractions and task == "classification":
            seen = " and ".join(f"{value:g}" for value in sorted(present.unique()))
            raise _BadInput(
                f"--label {labels.name!r} holds {seen}, which may be classes or "
                "quantities; say --task classification or --task regression"
            )
    n_classes = present.nunique()
    if task == "classification" and n_classes > max(_MOST_CLASSES, len(present) / 2):
        raise _BadInput(
            f"--label {labels.name!r} holds {n_classes} distinct values in "
            f"{len(present)} labeled rows, such as {str(present.iloc[0])!r}; classes "
            "repeat. Name another column, or clean it if it should hold numbers"
        )
    if task == "regression" and present.dtype.kind not in "iuf":
        why = "--task regression" if args.exposure is None else "--exposure"
        raise _BadInput(
            f"{why} needs numbers, but --label {labels.name!r} holds "
            f"{str(present.iloc[0])!r}; say --task classification or clean the column"
        )
    if task == "regression" and present.dtype.kind in "iu":
        return labels.astype(float), task
    if task == "classification" and (fractions or (present == -1).any()):
        return _as_text(labels), task
    return labels, task


def _needs_plot(error):
    return (
        f"reports need pandas and matplotlib ({error}); install them by "
        'pip install "sktransfer[plot]"'
    )


def _check_options(args):
    """Refuse wrong options before any work."""
    if args.exposure is not None and args.task == "classification":
        raise _BadInput(
            "--task classification has no --exposure, which is for counts; leave one "
            "of them out"
        )
    if args.folds < 2:
        raise _BadInput(f"--folds must be 2 or more, got {args.folds}")
    if args.seed < 0:
        raise _BadInput(f"--seed must be 0 or more, got {args.seed}")
    if args.scoring is not None:
        from sklearn.metrics import get_scorer_names

        if args.scoring not in get_scorer_names():
            raise _BadInput(
                f"--scoring {args.scoring!r} is no scorer of scikit-learn; some are "
                "accuracy, balanced_accuracy, roc_auc, r2, neg_mean_absolute_error"
            )
    for option in ("out", "save", "json"):
        path = getattr(args, option)
        if path and not Path(path).absolute().parent.is_dir():
            raise _BadInput(f"--{option} {path!r}: there is no such folder; make it")
        if path and Path(path).is_dir():
            raise _BadInput(f"--{option} {path!r} is a folder; name a file")


def _read(args):
    """Read the table of the file."""
    path = args.data
    try:
        from sktransfer.inspection._table_file import BadTable, read_table
    except ImportError as error:
        raise _BadInput(_needs_plot(error)) from error
    if not Path(path).is_file():
        found = "is a folder" if Path(path).is_dir() else "does not exist"
        raise _BadInput(f"data.csv: {path!r} {found}; give the path of a CSV file")
    try:
        return read_table(
            path, names=(args.domain, *_names_of(args.label)), encoding=args.encoding,
            sep=args.sep, decimal=args.decimal, na_values=args.na_values,
        )  # fmt: skip
    except BadTable as error:
        raise _BadInput(f"data.csv: {error}") from error
    except ImportError as error:
        raise _BadInput(_needs_plot(error)) from error


def _names_of(labels):
    """Return what may be a column among the labels that were given."""
    return [
        name for text in labels for name in {text, *map(str.strip, text.split(","))}
    ]


def _check_columns(df, args):
    for option, columns in (
        ("domain", [args.domain]), ("label", args.label), ("drop", args.drop),
        ("category", args.category),
        ("groups", [args.groups] * (args.groups is not None)),
        ("exposure", [args.exposure] * (args.exposure is not None)),
    ):  # fmt: skip
        for column in columns:
            if column not in df.columns:
                raise _BadInput(
                    f"--{option} {column!r} is no column of {args.data}; its columns "
                    f"are {_listed(df.columns)}"
                )
    if args.domain in args.label:
        raise _BadInput(
            f"--domain and --label are both {args.domain!r}; name two columns"
        )
    if args.exposure is not None and len(args.label) > 1:
        raise _BadInput(
            f"--exposure is for one label, but --label names {len(args.label)}; make "
            "a report for each"
        )
    if args.groups in (args.domain, *args.label):
        raise _BadInput(
            f"--groups {args.groups!r} is the column of --domain or --label; name the "
            "column of the unit, or leave it out"
        )
    if args.exposure in {args.domain, *args.label, args.groups} - {None}:
        raise _BadInput(
            f"--exposure {args.exposure!r} is the column of another option; name the "
            "column of the exposures, or leave it out"
        )
    taken = {args.domain, *args.label, args.groups, args.exposure, *args.drop}
    for column in args.category:
        if column in taken:
            raise _BadInput(
                f"--category {column!r} is the column of another option; name a feature"
            )
    for option, columns in (
        ("domain", [args.domain]), ("label", args.label), ("groups", [args.groups]),
        ("exposure", [args.exposure]),
    ):  # fmt: skip
        if set(columns) & set(args.drop):
            raise _BadInput(f"--drop leaves out the column of --{option}; keep it")
    if set(df.columns) <= taken:
        raise _BadInput(
            f"data.csv: {args.data!r} has no column left to learn from besides "
            "--domain and --label; add features"
        )
    missing = df[args.domain].isna()
    if missing.any():
        line = df.index[missing.to_numpy().argmax()]
        raise _BadInput(
            f"--domain {args.domain!r} is empty in {int(missing.sum())} rows (first in "
            f"line {line}); fill it in or remove the rows"
        )


def _find_target(df, args):
    """Return the value of the domain column that --target means."""
    values = df[args.domain].drop_duplicates().tolist()
    for value in values:
        if str(value) == args.target or _same_number(value, args.target):
            break
    else:
        raise _BadInput(
            f"--target {args.target!r} is no value of column {args.domain!r}; its "
            f"values are {_listed(sorted(values, key=str))}"
        )
    if len(values) == 1:
        raise _BadInput(
            f"--domain {args.domain!r} has the single value {value}; there is no "
            "source to transfer from"
        )
    return value


def _same_number(value, text):
    try:
        return not isinstance(value, str) and float(value) == float(text)
    except ValueError:
        return False


def _leave_out_unlabeled_sources(df, args, target):
    """Return the other rows, and a note if some were left out."""
    source = df[args.domain] != target
    some = df[args.label].notna().any(axis=1)
    partly = some & ~_is_labeled(df, args) & ~source
    if partly.any():
        raise _BadInput(
            f"--label: {int(partly.sum())} target rows have some of the labels "
            f"{_said(args)} only (first in line {df.index[partly.to_numpy().argmax()]}"
            "); fill them in, or leave all labels of these rows empty"
        )
    out = ~_is_labeled(df, args) & source
    if out.sum() == source.sum():
        raise _BadInput(
            f"--label {_said(args)} is empty in every source row; source rows must be "
            "labeled"
        )
    notes = [
        f"Left out for want of a label in {_said(args)}: {out.sum()} of "
        f"{source.sum()} source rows."
    ] * bool(out.any())
    return df[~out], notes


def _listed(names):
    names = [str(name) for name in names]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


if __name__ == "__main__":
    sys.exit(main())
