"""A task is a data set x a target x a number of labels x a seed, as stored indices.

Half of the target's units give labels, the other half is the test. The labels of a draw
are an ordered list, and a task with n labels takes its first n: two of each class, then
rows at random. So tasks with more labels hold those with fewer, and all of a draw have
the same source and test rows. Indices are stored with a hash (``splits.jsonl.gz``), and
a stored draw is never drawn again.
"""

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.board.problem import Problem
from benchmarks.board.registry import TIERS, InputError
from benchmarks.board.sets import SETS, part_of, read_set
from benchmarks.portfolio_sets import merged, with_two_classes
from sktransfer.datasets import mark_unlabeled

LABELS = 30, 10, 100, 300  # in the order in which a growing run does them
LEAST_PER_CLASS = 2
LEAST_TEST = 15
N_UNLABELED, N_TEST = 100, 500
N_SOURCE, N_SOURCE_CLASSES = 600, 400  # with more than two classes
SPLITS = Path(__file__).parent / "splits.jsonl.gz"


@dataclass(frozen=True)
class Task:
    """What identifies a task.

    Parameters
    ----------
    set : str
        Name of the data set.
    target : int
        Domain that is the target.
    labels : int
        Labeled target rows.
    seed : int
        Seed of the draw.
    """

    set: str
    target: int
    labels: int
    seed: int

    @property
    def part(self):
        """Bundled, tune or proof."""
        return part_of(self.set)

    @property
    def draw(self):
        """Key of the stored indices: all but the number of labels."""
        return self.set, self.target, self.seed


@dataclass(frozen=True)
class TaskData:
    """Rows of a task, and the hash of its draw."""

    X_source: np.ndarray
    y_source: np.ndarray
    source_ids: np.ndarray
    X_labeled: np.ndarray
    y_labeled: np.ndarray
    X_unlabeled: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    metric: str
    hash: str

    @property
    def problem(self):
        """What a method is told before it is fitted."""
        regression = self.metric == "r2"
        seen = np.concatenate([self.y_source, self.y_labeled])
        return Problem(
            regression=regression,
            classes=np.zeros(0) if regression else np.unique(seen),
            n_labeled=len(self.y_labeled),
            n_sources=len(np.unique(self.source_ids)),
            n_source_rows=len(self.y_source),
            n_features=self.X_test.shape[1],
        )

    def training_rows(self, unlabeled=True):
        """Return X, y and sample_domain; labels of unlabeled rows are missing."""
        extra = self.X_unlabeled if unlabeled else self.X_unlabeled[:0]
        X = np.concatenate([self.X_source, self.X_labeled, extra])
        y = np.concatenate([self.y_source, self.y_labeled,
                            np.zeros(len(extra), self.y_source.dtype)])  # fmt: skip
        n_seen = len(y) - len(extra)
        if len(extra):
            y = mark_unlabeled(y, np.arange(len(y)) >= n_seen)
        ids = np.full(len(y), -1)
        ids[: len(self.source_ids)] = self.source_ids
        return X, y, ids


def draw_rows(rows, target, seed):
    """Draw the indices of labeled rows (an order), source rows and test rows.

    Parameters
    ----------
    rows : Rows
        The set.
    target : int
        The target's domain.
    seed : int
        Seed.

    Returns
    -------
    indices : dict of str to list of int
        ``labeled`` (the first n are the labels of a task, the next ones its unlabeled
        rows), ``source`` and ``test``.
    """
    rng = np.random.RandomState(1000 * seed + target)
    mine = np.flatnonzero(rows.domain == target)
    units = rng.permutation(np.unique(rows.unit[mine]))
    in_half = np.isin(rows.unit[mine], units[: len(units) // 2])
    half, test = rng.permutation(mine[in_half]), rng.permutation(mine[~in_half])
    test = test[:N_TEST]
    if rows.metric != "r2":
        half = _each_class_first(half, rows.y[half])
    useful = (rows.domain != target) & ~np.isin(rows.unit, rows.unit[test])
    others = np.flatnonzero(useful)
    few = rows.metric == "r2" or len(np.unique(rows.y)) == 2
    n_source = min(N_SOURCE if few else N_SOURCE_CLASSES, len(others))
    source = rng.choice(others, n_source, replace=False)
    labeled = half[: max(LABELS) + N_UNLABELED]
    drawn = {"labeled": labeled, "source": source, "test": test}
    return {name: index.tolist() for name, index in drawn.items()}


def _each_class_first(order, y):
    """Move two rows of each class to the front."""
    first = [np.flatnonzero(y == c)[:LEAST_PER_CLASS] for c in np.unique(y)]
    first = np.sort(np.concatenate(first))
    return np.concatenate([order[first], np.delete(order, first)])


def hash_of(indices, rows):
    """Return a hash of the indices, the domains and the labels of a set."""
    text = json.dumps(indices, sort_keys=True).encode()
    labels = np.round(rows.y.astype(float), 4) + 0.0  # no -0
    digest = hashlib.sha256(text)
    digest.update(rows.domain.astype("<i8").tobytes())
    digest.update(labels.astype("<f8").tobytes())
    return digest.hexdigest()[:16]


class Splits:
    """Stored draws; a new one is drawn and added.

    Parameters
    ----------
    path : Path, default=SPLITS
        A line per draw.
    """

    def __init__(self, path=SPLITS):
        self.path = path
        self.known, self.added = {}, False
        if path.exists():
            with gzip.open(path, "rt") as file:
                for text in file:
                    line = json.loads(text)
                    self.known[tuple(line.pop("draw"))] = line

    def get(self, task, rows):
        """Return the indices of a task's draw and their hash.

        Raises
        ------
        InputError
            If the set is no longer the one that the draw was made from.
        """
        if task.draw not in self.known:
            indices = draw_rows(rows, task.target, task.seed)
            self.known[task.draw] = {**indices, "hash": hash_of(indices, rows)}
            self.added = True
        line = dict(self.known[task.draw])
        stored = line.pop("hash")
        if stored != (found := hash_of(line, rows)):
            raise InputError(
                f"{task.set}, target {task.target}, seed {task.seed}: the stored draw "
                f"has hash {stored}, the set that is here gives {found}. Use the file "
                "that the draw was made from, or remove its line and all its results."
            )
        return line, stored

    def save(self):
        """Write the draws, in a fixed order and without a date."""
        lines = [json.dumps({"draw": key} | self.known[key], separators=(",", ":"))
                 for key in sorted(self.known)]  # fmt: skip
        text = "".join(line + "\n" for line in lines).encode()
        self.path.write_bytes(gzip.compress(text, mtime=0))
        self.added = False


def all_tasks(names, labels, seeds, folder, positions=(0, 1)):
    """Yield tasks: one seed, one target, one number of labels over all sets first."""
    for seed in seeds:
        for position in positions:
            for n in labels:
                for name in names:
                    targets = read_set(name, folder).targets
                    if position < len(targets):
                        yield Task(name, targets[position], n, seed)


def all_work(names, methods, labels, seeds, folder, positions=(0, 1)):
    """Yield tasks and methods so that a run that grows is balanced at any time.

    One seed and one target of all sets come before anything else: the core methods with
    every number of labels, then the further ones, then the slow ones.
    """
    for seed in seeds:
        for position in positions:
            for tier in TIERS:
                chosen = [m for m in methods if m.tier == tier]
                tasks = all_tasks(names, labels, [seed], folder, [position])
                for task in tasks if chosen else ():
                    yield task, chosen


def load_task(task, splits, folder):
    """Return the rows of a task, or None where the target has too few."""
    rows = read_set(task.set, folder)
    indices, digest = splits.get(task, rows)
    labeled = np.array(indices["labeled"], int)[: task.labels]
    unlabeled = np.array(indices["labeled"], int)[task.labels :][:N_UNLABELED]
    test, source = np.array(indices["test"], int), np.array(indices["source"], int)
    if len(labeled) < task.labels or len(test) < LEAST_TEST:
        return None
    y, ids = rows.y, merged(rows.domain, task.target)[source]
    if rows.metric == "r2":
        y = (y - y[source].mean()) / y[source].std()
    else:
        classes = np.unique(y[rows.domain == task.target])
        if task.labels < LEAST_PER_CLASS * len(classes):
            return None
        ids = with_two_classes(ids, y[source])
    return TaskData(
        rows.X[source], y[source], ids, rows.X[labeled], y[labeled],
        rows.X[unlabeled], rows.X[test], y[test], rows.metric, digest,
    )  # fmt: skip


def set_names(parts):
    """Return the names of the sets of some parts."""
    return [name for part in parts for name in SETS[part]]
