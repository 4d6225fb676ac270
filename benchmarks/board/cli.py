"""The command line: ``python -m benchmarks run|table|add``."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.board.peers import VARIABLE
from benchmarks.board.quick import QUICK_LINES, compare_quick, quick_methods, quick_work
from benchmarks.board.registry import TIERS, InputError, read_methods
from benchmarks.board.runner import read_lines, run
from benchmarks.board.sets import SETS, needs_files
from benchmarks.board.tasks import LABELS, all_work, set_names

TEMPLATE = '''"""Say in one sentence what the method does."""

from benchmarks.board.registry import method
from sktransfer.baselines import Pooled


@method("{name}", family="linear")
def make(problem):
    """Return an unfitted estimator; ``problem`` has the sizes and the learners."""
    return Pooled(problem.linear(), source_weight=0.5)
'''


def main(arguments=None):
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands)
    _add_table(commands)
    _add_add(commands)
    options = parser.parse_args(arguments)
    try:
        sys.exit(options.do(options))
    except InputError as error:
        sys.exit(f"{parser.prog}: {error}")


def _whole(least):
    """Return the type of a whole number from ``least`` on."""

    def number(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number


def _add_run(commands):
    parser = commands.add_parser("run", help="run what has no line yet")
    parser.add_argument("--quick", action="store_true",
                        help="few methods, sets that need no files; compare with the "
                             "lines in the repository")  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder of the files of the sets")
    parser.add_argument("--out", type=Path, help="file of lines that is continued")
    parser.add_argument("--parts", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--sets", nargs="+", help="names of sets; all by default")
    parser.add_argument("--labels", nargs="+", type=_whole(1), default=list(LABELS))
    parser.add_argument("--seeds", nargs="+", type=_whole(0), default=[0])
    parser.add_argument("--targets", nargs="+", type=_whole(0), default=[0, 1],
                        help="positions among the targets of a set")  # fmt: skip
    parser.add_argument("--tiers", nargs="+", default=list(TIERS[:-1]), choices=TIERS)
    parser.add_argument("--peers", type=Path, metavar="PYTHON",
                        help="interpreter with peers; runs them alone")  # fmt: skip
    parser.add_argument("--describe", action=argparse.BooleanOptionalAction,
                        default=True, help="measure the features of tasks")  # fmt: skip
    parser.add_argument("--methods", nargs="+", help="names, or the start of names")
    parser.add_argument("--files", nargs="*", default=[], type=Path,
                        help="further files with methods")  # fmt: skip
    parser.add_argument(
        "--cap", type=_whole(1), default=20, help="CPU seconds of a fit"
    )
    parser.add_argument("--n-jobs", type=_whole(1), default=2)
    parser.set_defaults(do=_run)


def _add_table(commands):
    parser = commands.add_parser("table", help="make tables and pictures from lines")
    parser.add_argument("lines", nargs="+", type=Path)
    parser.add_argument("--page", type=Path, help="write the page to this file")
    parser.add_argument("--pictures", type=Path, help="write pictures to this folder")
    parser.add_argument("--guide", type=Path, metavar="FOLDER",
                        help="write what the user guide shows")  # fmt: skip
    parser.add_argument("--methods", nargs="+", help="rows: names, or their start")
    parser.add_argument("--files", nargs="*", default=[], type=Path,
                        help="further files with methods")  # fmt: skip
    parser.add_argument("--sets", nargs="+", help="only tasks of these sets")
    parser.add_argument("--parts", nargs="+", choices=SETS, help="of these parts")
    parser.add_argument(
        "--labels", nargs="+", type=_whole(1), help="with so many labels"
    )
    parser.set_defaults(do=_table)


def _add_add(commands):
    parser = commands.add_parser(
        "add", help="run the methods of a file beside the quick leaderboard"
    )
    parser.add_argument("file", type=Path, help="written from a template if missing")
    parser.add_argument("--out", type=Path, help="file of lines that is continued")
    parser.add_argument(
        "--cap", type=_whole(1), default=20, help="CPU seconds of a fit"
    )
    parser.add_argument("--n-jobs", type=_whole(1), default=2)
    parser.set_defaults(do=_add)


def _run(options):
    if options.quick:
        out = options.out or Path("benchmarks/results/quick.jsonl")
        out.parent.mkdir(parents=True, exist_ok=True)
        work = quick_work(quick_methods())
        run(work, out, total=len(work), n_jobs=options.n_jobs, cap=options.cap)
        differences = compare_quick(read_lines(out), read_lines(QUICK_LINES))
        print("\n".join(differences) or "All scores are those of the repository.")
        return bool(differences)
    methods = read_methods(*options.files)
    if options.methods is not None:
        methods = _chosen(methods, options.methods)
    tiers = options.tiers
    if options.peers is not None:
        os.environ[VARIABLE] = str(options.peers)
        tiers = ["peers"]
    methods = {n: m for n, m in methods.items() if m.tier in tiers}
    if not methods:
        raise InputError(f"No method asked for is in the tiers {' '.join(tiers)}.")
    if options.data is not None and not options.data.is_dir():
        raise InputError(f"--data {options.data} is no folder.")
    names = _chosen_sets(options, set_names(options.parts))
    without = [n for n in names if needs_files(n)] if options.data is None else []
    if without and options.sets is not None:
        raise InputError(f"--data is needed for {', '.join(without)}.")
    names = [n for n in names if n not in without]
    parts = options.labels, options.seeds, options.targets
    total = len(names) * np.prod([len(part) for part in parts])
    total *= len({m.tier for m in methods.values()})
    work = all_work(names, list(methods.values()), options.labels, options.seeds,
                    options.data, options.targets)  # fmt: skip
    out = options.out or Path("benchmarks/results/lines.jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    run(work, out, total=total, folder=options.data, n_jobs=options.n_jobs,
        cap=options.cap, describe=options.describe)  # fmt: skip
    return 0


def _chosen(methods, starts):
    unknown = [s for s in starts if not any(name.startswith(s) for name in methods)]
    if unknown:
        raise InputError(f"No method starts with {' or '.join(unknown)}.")
    return {name: m for name, m in methods.items() if name.startswith(tuple(starts))}


def _chosen_sets(options, names):
    """Return those of some sets that are asked for; an unknown one is an error."""
    if options.sets is None:
        return names
    unknown = [name for name in options.sets if name not in names]
    if unknown:
        raise InputError(
            f"--sets {' '.join(unknown)}: not among the sets {', '.join(names)}."
        )
    return [name for name in names if name in options.sets]


def _table(options):
    from benchmarks.board.guide import write_guide
    from benchmarks.board.pages import (
        leaderboard,
        write_page,
        write_pictures,
        write_tables,
    )

    _chosen_sets(options, set_names(options.parts or SETS))
    lines = [line for path in options.lines for line in read_lines(path)]
    lines = [line for line in lines if _is_asked(line, options)]
    if not lines:
        raise InputError("There are no lines of what is asked for.")
    methods = read_methods(*options.files)
    if options.page:
        write_page(options.page, lines, methods)
    if options.pictures:
        write_pictures(options.pictures, lines, methods)
    if options.guide:
        write_tables(options.guide, lines, methods)
        write_guide(options.guide, lines, methods)
    if not (options.page or options.pictures or options.guide):
        rows = None
        if options.methods is not None:
            rows = set(_chosen(methods, options.methods))
        print(leaderboard(lines, methods, rows))
    return 0


def _is_asked(line, options):
    labels = options.labels is None or line["labels"] in (*options.labels, 0)
    return (
        labels
        and (options.sets is None or line["set"] in options.sets)
        and (options.parts is None or line["part"] in options.parts)
    )


def _add(options):
    from benchmarks.board.pages import leaderboard

    if not options.file.exists():
        options.file.write_text(TEMPLATE.format(name=options.file.stem))
        print(f"{options.file} is a template: fill it in, then run this again.")
        return 0
    before = set(read_methods())
    methods = read_methods(options.file)
    new = {name: m for name, m in methods.items() if name not in before}
    if not new:
        raise InputError(f"{options.file} has no function with @method above it.")
    out = options.out or Path(f"benchmarks/results/{options.file.stem}.jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = run(
        quick_work(new), out, n_jobs=options.n_jobs, cap=options.cap, describe=False
    )
    stored = read_lines(QUICK_LINES)
    lines = [line for line in lines if line["method"] in new]
    print(leaderboard(stored + lines, methods))
    return 0
