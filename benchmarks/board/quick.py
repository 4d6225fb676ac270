"""The quick leaderboard: small, without files, and stored in the repository."""

from pathlib import Path

from benchmarks.board.registry import read_methods
from benchmarks.board.runner import FEATURES, key_of
from benchmarks.board.sets import BUNDLED
from benchmarks.board.tasks import all_tasks

QUICK_LINES = Path(__file__).parent / "quick.jsonl"
QUICK_LABELS = 10, 30
METHODS = [
    "alone, linear",
    "alone, linear, penalty by CV",
    "alone, trees",
    "SourceOnly, linear",
    "Pooled, linear",
    "Pooled, linear, equal totals",
    "Pooled, trees",
    "KMM, linear",
    "NearestNeighborWeighting, linear",
    "CORAL, linear",
    "TCA, linear",
    "SubspaceAlignment, linear",
    "FeatureAugmentation, linear",
    "LinearInterpolation, linear",
    "OffsetTransfer, linear",
    "PositiveTransfer, linear",
    "Secure, linear",
    "UOWQ, linear",
    "MMDWeightedEnsemble, linear",
    "EmpiricalBayes, linear",
    "linear on scores of linear",
    "linear on scores alone",
    "guard of Pooled, linear",
    "portfolio of linear",
]
#: scores are compared to this: processors differ in the last digits
TOLERANCE = 1e-4
COMPARED = "score", "error", "deviance"


def quick_methods():
    """Return the methods of the quick leaderboard."""
    found = read_methods()
    return {name: found[name] for name in METHODS}


def quick_work(methods):
    """Return methods and tasks: every bundled and generated set, one target, one seed.

    Parameters
    ----------
    methods : dict of str to Method
        The methods.
    """
    tasks = all_tasks(list(BUNDLED), QUICK_LABELS, [0], None, positions=[0])
    return [(task, list(methods.values())) for task in tasks]


def compare_quick(lines, stored):
    """Return what differs between lines and the stored ones, as sentences.

    Scores must be equal (to four digits); times and memory are not compared.
    """
    found = {key_of(line): line for line in lines}
    differences = []
    for line in stored:
        if line["method"] == FEATURES:
            continue
        other = found.get(key_of(line))
        where = (f"{line['method']} on {line['set']}, target {line['target']}, "
                 f"{line['labels']} labels")  # fmt: skip
        if other is None:
            differences.append(f"{where}: no line")
            continue
        for name in ("status", "draw"):
            if line[name] != other[name]:
                differences.append(f"{where}: {name} {other[name]}, not {line[name]}")
        for name in COMPARED:
            old, new = line.get(name), other.get(name)
            if old is None or new is None:
                equal = old is new
            else:
                equal = abs(old - new) <= TOLERANCE * max(1.0, abs(old))
            if not equal:
                differences.append(f"{where}: {name} {new}, not {old}")
    return differences
