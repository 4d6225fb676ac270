"""Do the claims of the papers hold here?

    python benchmarks/reproduce.py --data DIR
    python benchmarks/reproduce.py --data DIR --only uowq secure --quick
    python benchmarks/reproduce.py --only sam glm armul    # simulated: no data

DIR holds the ``.npz`` files named in the modules of ``reproduction``. Every cell (one
setting with one seed) is kept as a small file under ``--cache``, so a stopped run goes
on where it was, and changed conclusions cost nothing. ``--quick`` takes few cells.
The table goes to ``--out``; a claim that does not hold says "no". With ``--only`` rows
and settings of the other claims stay as they stand there. ``--gate`` and ``--datn``
take over the fits that ``benchmarks/gate.py`` and ``benchmarks/datn.py`` have done.
"""

import argparse
import hashlib
import json
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import sklearn
from threadpoolctl import threadpool_limits

import sktransfer

MODULES = (
    "negative_transfer",
    "gate",
    "uowq",
    "uowq_net",
    "multi_task",
    "datn",
    "transferability",
    "fine_tuning",
    "survey",
    "survey_methods",
    "borrowing",
    "many_tasks",
    "high_dimensional",
    "shift_benchmark",
    "office_caltech",
    "not_run",
)


def version_of(package):
    """Return the version of a package, "none" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def all_claims():
    return [
        claim
        for name in MODULES
        for claim in import_module(f"reproduction.{name}").CLAIMS
    ]


def chosen_claims(only):
    """Claims whose name starts with one of ``only``."""
    claims = all_claims()
    if not only:
        return claims
    kept = [claim for claim in claims if claim.name.startswith(tuple(only))]
    unknown = [
        name for name in only if not any(c.name.startswith(name) for c in claims)
    ]
    if unknown:
        known = ", ".join(claim.name for claim in claims)
        sys.exit(f"reproduce.py: --only {' '.join(unknown)} names no claim of: {known}")
    return kept


# --- cells --------------------------------------------------------------------------


def cell_file(cache, experiment, cell):
    """Name the file of a cell by what it is."""
    key = json.dumps({**cell, "version": experiment.version}, sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return cache / experiment.name / f"{digest}.json"


def run_cell(cache, experiment, cell, folder):
    """Run a cell unless its result is kept."""
    path = cell_file(cache, experiment, cell)
    if path.exists():
        return
    start = time.perf_counter()
    with threadpool_limits(1):
        found = experiment.run(cell, folder)
    found = found if isinstance(found, list) else [found]
    record = {"cell": cell, "found": found, "seconds": time.perf_counter() - start}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record))
    part.replace(path)  # a file is whole or not there


def read_cells(cache, experiment, cells):
    """Return one line per result, and the seconds of all cells."""
    lines, seconds = [], 0.0
    for cell in cells:
        record = json.loads(cell_file(cache, experiment, cell).read_text())
        lines += [{**cell, **found} for found in record["found"]]
        # a fit that was taken over took its time elsewhere
        elsewhere = sum(found.get("seconds") or 0.0 for found in record["found"])
        seconds += max(record["seconds"], elsewhere)
    return pd.DataFrame(lines), seconds


class Progress:
    """A bar of rich, or a line now and then."""

    def __init__(self, title, total):
        self.title, self.total, self.done, self.bar = title, total, 0, None
        try:
            from rich.progress import Progress as Bar
        except ImportError:
            return
        if sys.stderr.isatty():
            self.bar = Bar()
            self.bar.start()
            self.task = self.bar.add_task(title, total=total)

    def step(self):
        """Count one cell."""
        self.done += 1
        if self.bar is not None:
            self.bar.advance(self.task)
        elif self.done == self.total or self.done % max(self.total // 5, 1) == 0:
            print(f"{self.title}: {self.done} of {self.total}", flush=True)

    def close(self):
        """End the bar."""
        if self.bar is not None:
            self.bar.stop()


def run_experiment(experiment, cache, folder, quick):
    """Run what is missing; return the results and what it took."""
    cells = experiment.cells(quick)
    missing = [c for c in cells if not cell_file(cache, experiment, c).exists()]
    progress = Progress(experiment.name, len(missing))
    try:
        for cell in missing:
            run_cell(cache, experiment, cell, folder)
            progress.step()
    finally:
        progress.close()
    return (*read_cells(cache, experiment, cells), cells)


# --- table --------------------------------------------------------------------------


def count(answers):
    """Say how many claims hold."""
    kinds = ("yes", "in part", "not settled", "not run", "no")
    numbers = dict.fromkeys(kinds, 0)
    for answer in answers:
        numbers[next(kind for kind in kinds if answer.startswith(kind))] += 1
    if not numbers["not run"]:
        del numbers["not run"]
    listed = ", ".join(f"{kind} {number}" for kind, number in numbers.items())
    return f"Of {len(answers)} claims: {listed}."


def kept(out, names):
    """Read rows and settings from a page; those of claims in ``names`` are left out.

    Returns
    -------
    rows : dict of str to str
        Text of a claim -> its row.
    settings : dict of str to str
        Name of an experiment -> its paragraph.
    """
    rows, settings = {}, {}
    if not out.exists():
        return rows, settings
    for line in out.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| claim |"):
            rows[line.split(" | ")[0].removeprefix("| ")] = line
        elif line.startswith("**"):
            settings[line[2:].split("**")[0]] = line
    known = {escaped(claim.claim) for claim in all_claims()} - names
    return {text: row for text, row in rows.items() if text in known}, settings


def write(found, runs, args):
    """Lay out the table and what was run; what was not run stays as it stands."""
    claims = all_claims()
    old, settings = kept(args.out, set(found)) if args.only else ({}, {})
    texts, found = [escaped(claim.claim) for claim in claims], old | found
    rows = {text: found[text] for text in texts if text in found}
    answers = [row.removesuffix(" |").split(" | ")[-1] for row in rows.values()]
    shown = [claim for claim in claims if escaped(claim.claim) in rows]
    settings |= {run[0].name: describe(shown, *run) for run in runs}
    names = dict.fromkeys(claim.experiment.name for claim in claims)
    settings = [settings[name] for name in names if name in settings]
    parts = [
        "# Do the claims of the papers hold here?",
        "Made by",
        f"    python benchmarks/reproduce.py --data DIR{' --quick' * args.quick}"
        f"{' --gate FILE ...' * bool(args.gate)}{' --datn FILE ...' * bool(args.datn)}"
        f"{' --only NAME ...' * bool(args.only)}",
        "Each row is a claim, the paper's own figure, and ours with a 95 % interval: a "
        "t interval over the seeds unless the setting says otherwise. A claim holds "
        '("yes") if the interval says so, it does not ("no") if the interval says the '
        "opposite, and otherwise it is not settled by this run. "
        '"In part (2 of 3)": the claim has three parts, of which two hold. The '
        "settings are far smaller than the papers': linear models and shallow networks "
        "on small data, "
        'so a "no" says that the claim does not carry over to this setting, not that '
        "the paper's own figure is wrong. Where a claim is not settled, the row has "
        "the number of tasks that would settle a difference of the measured size. "
        '"Not run" are claims that need data or pretrained nets that are not at hand.',
        count(answers),
        "| claim | paper | figure in the paper | our figure | holds? |\n"
        "|---|---|---|---|---|\n" + "\n".join(rows.values()),
        "## Settings",
        *settings,
        f"sktransfer {sktransfer.__version__}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-learn "
        f"{sklearn.__version__}, torch {version_of('torch')}; one thread.",
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("\n\n".join(parts) + "\n")


def escaped(cell):
    """Write a cell so that no column ends in it."""
    return cell.replace("|", "\\|")


def row_of(claim, outcome):
    ours, holds = outcome
    if claim.reason and holds.startswith(("no", "in part")) and holds != "not settled":
        ours = f"{ours}. Why: {claim.reason}"
    cells = (claim.claim, claim.paper, claim.published, ours, holds)
    return "| " + " | ".join(map(escaped, cells)) + " |"


def describe(claims, experiment, seconds, cells):
    own = [claim.name for claim in claims if claim.experiment.name == experiment.name]
    names = ", ".join(f"`{name}`" for name in own)
    if not cells:
        return f"**{experiment.name}** ({names}). {experiment.setting}"
    seeds = sorted({cell["seed"] for cell in cells})
    numbers = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    return (
        f"**{experiment.name}** ({names}). {experiment.setting} Seeds {numbers}, "
        f"{len(cells)} cells, {seconds:.0f} s."
    )


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder; simulated claims need none")
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/results/cells"))
    parser.add_argument("--out", type=Path, default=Path("docs/reproduction.md"))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of claims")
    parser.add_argument(
        "--gate", nargs="+", type=Path, default=[], help="files of benchmarks/gate.py"
    )
    parser.add_argument(
        "--datn", nargs="+", type=Path, default=[], help="files of benchmarks/datn.py"
    )
    parser.add_argument("--quick", action="store_true", help="few cells")
    args = parser.parse_args()
    if args.data is not None and not args.data.is_dir():
        parser.error(f"--data {args.data} is no folder")
    args.claims = chosen_claims(args.only)
    needy = [c.name for c in args.claims if not c.experiment.simulated]
    if args.data is None and needy:
        parser.error(f"--data is needed for {', '.join(needy)}")
    return args


def main():
    args = parse()
    for path in args.gate:
        import_module("reproduction.gate").take(path)
    for path in args.datn:
        import_module("reproduction.datn").take(path)
    groups = {}
    for claim in args.claims:
        groups.setdefault(claim.experiment.name, []).append(claim)
    found, runs = {}, []
    for claims in groups.values():
        experiment = claims[0].experiment
        frame, seconds, cells = run_experiment(
            experiment, args.cache, args.data, args.quick
        )
        runs.append((experiment, seconds, cells))
        for claim in claims:
            outcome = claim.conclude(frame)
            found[escaped(claim.claim)] = row_of(claim, outcome)
            print(f"\n{claim.name}: {outcome.holds}\n  {outcome.ours}", flush=True)
    write(found, runs, args)
    print(f"\nTable: {args.out}")


if __name__ == "__main__":
    main()
