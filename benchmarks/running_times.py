"""CPU seconds of one fit of every method, with its defaults, on one core.

    python benchmarks/running_times.py          # writes docs/guide/running_times.csv
    python benchmarks/running_times.py --words WADN CDLS    # these rows of it only

Data: three sources of 500 samples and a target of 500, 50 of them labeled; 20 features;
two classes, or real labels where a method is for these alone. The learner inside is a
linear model. Methods for counts of words get the absolute values. A fit that takes
longer than ``--limit`` seconds is stopped.
"""

import argparse
import csv
import itertools
import os
import signal
import sys
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import numpy as np
from pages_from_code import estimator_classes
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from sktransfer.base import get_transfer_tags
from sktransfer.baselines import Pooled
from sktransfer.datasets import make_concept_shift
from sktransfer.hypothesis import SecureRLS

PATH = ROOT / "docs" / "guide" / "running_times.csv"


def make_rows(task):
    """Draw the samples of a task: those with any values, and nonnegative ones."""
    data = make_concept_shift(
        500, n_labeled=50, n_unlabeled=450, shift=[0.2, 0.5, 1.0], n_features=20,
        task=task, random_state=0,
    )  # fmt: skip
    return [(X, data.y, data.sample_domain) for X in (data.X, np.abs(data.X))]


def measure(cls, rows, limit):
    """Return the task and the CPU seconds of a fit, or None if no fit succeeds."""
    learners = {"classification": LogisticRegression(max_iter=1000),
                "regression": Ridge()}  # fmt: skip
    for task, learner in learners.items():
        arguments = ([learner], [Pooled(learner)], [SecureRLS()], [])
        for given, data in itertools.product(arguments, rows[task]):
            try:
                model = cls(*given)
                if not getattr(get_transfer_tags(model), task):
                    continue  # some would take classes for numbers
                seconds = fit_seconds(model, data, limit)
            except (TypeError, ValueError, AttributeError, NotImplementedError):
                continue
            return task, seconds
    return None


def fit_seconds(model, data, limit):
    """Return the CPU seconds of a fit, infinite where it is stopped."""

    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            X, y, sample_domain = data
            model.fit(X, y, sample_domain=sample_domain)
    except TimeoutError:
        return float("inf")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=20.0)
    parser.add_argument("--words", nargs="*", default=[], help="choose by name")
    args = parser.parse_args()
    rows = {task: make_rows(task) for task in ("classification", "regression")}
    lines = []
    for name, cls in sorted(estimator_classes().items()):
        if name.startswith("sktransfer.deep"):
            continue
        if args.words and not any(word in name for word in args.words):
            continue
        found = measure(cls, rows, args.limit)
        if found is None:
            print(f"{name}: no fit on such samples", flush=True)
            continue
        task, seconds = found
        text = "below 0.01" if seconds < 0.01 else f"{seconds:.2g}"
        if seconds == float("inf"):
            text = f"over {args.limit:g}"
        print(f"{name}: {text} s ({task})", flush=True)
        lines.append([f":class:`~{name}`", task, text])
    if args.words:
        with PATH.open(newline="") as file:
            known = {line[0]: line for line in list(csv.reader(file))[1:]}
        known |= {line[0]: line for line in lines}
        lines = [known[name] for name in sorted(known, key=lambda name: name[:-1])]
    with PATH.open("w", newline="") as file:
        csv.writer(file).writerows([["estimator", "task", "CPU seconds"], *lines])


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
