"""Run methods on tasks: a process per fit, a line of JSON per result.

Every fit is a forked process with a limit of CPU seconds, kept by the system, so that a
fit in compiled code stops, too. Its CPU time and its peak memory are those of the fit
and of the predictions. A line is written as soon as it is there; what is in the file is
not run again.
"""

import fcntl
import json
import lzma
import multiprocessing
import platform
import resource
import signal
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path

from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from benchmarks.board.features import task_features
from benchmarks.board.registry import InputError
from benchmarks.board.scores import score_predictions
from benchmarks.board.tasks import Splits, load_task
from sktransfer.base import TransferMixin, consumes_sample_domain

KEY = "method", "set", "target", "labels", "seed"
FEATURES = "(features)"  # the line that describes a draw, with 0 labels
_PACKAGES = "numpy", "scipy", "scikit-learn"


def versions():
    """Return the versions that a line states."""
    import sktransfer

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    ours = sktransfer.__version__ + (f"+{commit}" if commit else "")
    return {
        "python": platform.python_version(),
        "sktransfer": ours,
        **{name: version(name) for name in _PACKAGES},
    }


def fit_and_score(estimator, data):
    """Fit an estimator to the rows of a task and score it on the test rows.

    An estimator that takes no `sample_domain` is fitted on the labeled target rows. One
    that is no transfer estimator of the library, such as a recipe, is given unlabeled
    target rows only if its attribute ``unlabeled_rows`` asks for them: it need not know
    what a missing label means.
    """
    estimator = clone(estimator)
    with config_context(enable_metadata_routing=True):
        if consumes_sample_domain(estimator):
            X, y, domain = data.training_rows(unlabeled=_takes_unlabeled(estimator))
            estimator.fit(X, y, sample_domain=domain)
        else:
            estimator.fit(data.X_labeled, data.y_labeled)
    scores = score_predictions(estimator, data.X_test, data.y_test, data.metric)
    if hasattr(estimator, "cpu_seconds_"):  # an adapter that waits for another process
        scores["cpu"] = round(estimator.cpu_seconds_, 3)
    return scores


def _takes_unlabeled(estimator):
    steps = [estimator]
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps]
    ours = any(isinstance(step, TransferMixin) for step in steps)
    return ours or getattr(estimator, "unlabeled_rows", False)


def _child(sender, method, data, cap):
    """Fit in a process of its own, and send what goes into the line."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]  # left, for servers of peers
    resource.setrlimit(resource.RLIMIT_CPU, (cap, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before, start = _peak(), time.process_time()
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # solvers that stop early
        try:
            if method is None:
                result = {"features": task_features(data)}
            else:
                result = fit_and_score(method.make(data.problem), data)
            result["status"] = "ok"
        except Exception as error:  # the line says what went wrong
            reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            late = reason == "RuntimeError: timeout"  # of another process
            result = {"status": "timeout" if late else "failed", "reason": reason}
    cpu = round(time.process_time() - start, 3)
    sender.send({"cpu": cpu, "mb": round(_peak() - before, 1)} | result)
    sender.close()


def _peak():
    """Return the peak memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Lines:
    """Lines of results in a file, which grows. One run at a time has the file.

    Parameters
    ----------
    path : Path
        The file; what is in it is known. A line that was cut off by a stop is removed.

    Raises
    ------
    InputError
        If another run has the file, or lines cannot be added to it.
    """

    def __init__(self, path):
        if path.suffix == ".xz" or path.is_dir():
            raise InputError(f"Lines cannot be added to {path}: name a file of text.")
        self.file = path.open("a")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise InputError(
                f"Another run writes {path}: wait for its end, or name another file "
                "with --out."
            ) from None
        self.file.truncate(path.read_bytes().rfind(b"\n") + 1)
        self.lines = read_lines(path)
        self.done = {key_of(line) for line in self.lines}

    def __enter__(self):
        return self

    def __exit__(self, *stop):
        self.file.close()

    def add(self, line):
        """Write a line."""
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        self.lines.append(line)
        self.done.add(key_of(line))


def key_of(line):
    """Return what identifies a line."""
    return tuple(line[name] for name in KEY)


def read_lines(path):
    """Return the lines of a file; an unfinished one at its end is left out.

    Parameters
    ----------
    path : Path
        A file of JSON lines, compressed if its name ends in ``.xz``.

    Returns
    -------
    lines : list of dict
        In the order of the file.

    Raises
    ------
    InputError
        If the file is missing, or holds something else.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".xz":
            content = lzma.decompress(content)
        texts = content.decode().split("\n")[:-1]
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            lines.append(json.loads(text))
            key_of(lines[-1])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}, line {number} is no line of results.") from None
    return lines


def run(
    work, path, *, total=None, folder=None, n_jobs=1, cap=60, splits=None, describe=True
):
    """Run every method on every task that has no line yet.

    Parameters
    ----------
    work : iterable of (Task, list of Method)
        In the order in which it is done.
    path : Path
        File of the lines.
    total : int or None, default=None
        Length of ``work``, for the progress.
    folder : Path or None, default=None
        Where the files of the sets are.
    n_jobs : int, default=1
        Processes at a time.
    cap : int, default=60
        CPU seconds after which a fit is stopped; its line has the status "timeout".
    splits : Splits or None, default=None
        Stored draws.
    describe : bool, default=True
        Measure the features of the draws, too.

    Returns
    -------
    lines : list of dict
        All lines of the file.
    """
    splits = Splits() if splits is None else splits
    with Lines(path) as lines:
        _add_missing(lines, work, total, folder, _Queue(n_jobs, cap), splits, describe)
        return lines.lines


def _add_missing(lines, work, total, folder, queue, splits, describe):
    started, stated = set(lines.done), versions()
    start, cpu = time.perf_counter(), 0.0
    for i, (task, methods) in enumerate(work):
        base = {"set": task.set, "part": task.part, "target": task.target,
                "labels": task.labels, "seed": task.seed}  # fmt: skip
        missing = [None, *methods] if describe else methods
        missing = [m for m in missing if key_of(_named(m, base)) not in started]
        if not missing:
            continue
        data = load_task(task, splits, folder)
        if data is None:
            continue
        base |= {"draw": data.hash, "metric": data.metric, "versions": stated,
                 "n_sources": data.problem.n_sources}  # fmt: skip
        for m in missing:
            if m is not None and not m.suits(data.metric == "r2"):
                continue
            started.add(key_of(_named(m, base)))
            for line in queue.start(_named(m, base), m, data):
                lines.add(line)
                cpu += line["cpu"]
        if splits.added:
            splits.save()
        _show_progress(i + 1, total, task, time.perf_counter() - start, cpu)
    for line in queue.finish():
        lines.add(line)


def _named(method, base):
    if method is None:  # its features do not depend on the labels of a task
        return {"method": FEATURES, **base, "labels": 0}
    return {"method": method.name, **base}


class _Queue:
    """At most some processes at a time."""

    def __init__(self, n_jobs, cap):
        self.n_jobs, self.cap = n_jobs, cap
        self.context = multiprocessing.get_context("fork")
        self.running = {}

    def start(self, line, method, data):
        """Start a fit when there is room; return the lines that became ready."""
        ready = []
        while len(self.running) >= self.n_jobs:
            ready += self._collect()
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_child, args=(sender, method, data, self.cap)
        )
        process.start()
        sender.close()
        self.running[receiver] = process, line
        return ready

    def finish(self):
        """Return the lines of all fits that still run."""
        ready = []
        while self.running:
            ready += self._collect()
        return ready

    def _collect(self):
        ready = []
        for receiver in wait(list(self.running)):
            process, line = self.running.pop(receiver)
            try:
                result = receiver.recv()
            except EOFError:
                result = None
            process.join()
            if result is None:
                late = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
                status = {"status": "timeout"} if late else {
                    "status": "failed", "reason": f"exit code {process.exitcode}"
                }  # fmt: skip
                result = {"cpu": float(self.cap), "mb": None} | status
            receiver.close()
            ready.append(line | result)
        return ready


def _show_progress(done, total, task, seconds, cpu):
    """Show a bar in a terminal, and a line per task elsewhere."""
    what = f"{task.set}, target {task.target}, {task.labels} labels, seed {task.seed}"
    total = max(total or done, done)
    text = f"{done}/{total}  {seconds:.0f} s  {cpu:.0f} CPU s  {what}"
    if sys.stderr.isatty():
        filled = 30 * done // total
        bar = "#" * filled + "." * (30 - filled)
        print(f"\r\x1b[K[{bar}] {text}", end="\n" if done == total else "",
              file=sys.stderr, flush=True)  # fmt: skip
    else:
        print(text, file=sys.stderr, flush=True)
