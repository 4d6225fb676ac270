"""Methods: a function that returns an estimator, found in the files of a folder."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

METHODS = Path(__file__).parents[1] / "methods"
FAMILIES = "linear", "trees", "nets", "own"
KINDS = "alone", "transfer", "guarded", "recipe", "peer"
TASKS = "both", "classification", "regression"
TIERS = "core", "further", "slow", "peers"


class InputError(ValueError):
    """What was asked for cannot be done; the command line shows the message alone."""


@dataclass(frozen=True)
class Method:
    """A method of the leaderboard.

    Parameters
    ----------
    name : str
        Its name in the lines.
    make : callable
        Takes a :class:`~benchmarks.board.problem.Problem`, returns an estimator.
    family : {"linear", "trees", "nets", "own"}
        What learns: the common learners, nets, or a learner of its own.
    reference : str
        The method that is the same without sources; its gain is measured from there.
    kind : {"alone", "transfer", "guarded", "recipe", "peer"}
        What it is.
    tasks : {"both", "classification", "regression"}
        What it is for.
    tier : {"core", "further", "slow", "peers"}
        When a growing run comes to it: first the core on all sets, then the others.
    """

    name: str
    make: Callable
    family: str
    reference: str
    kind: str
    tasks: str = "both"
    tier: str = "further"

    def suits(self, regression):
        """Return whether it is for this kind of labels."""
        return self.tasks in ("both", "regression" if regression else "classification")


_found: dict[str, Method] = {}
_REFERENCE = {
    "linear": "alone, linear",
    "trees": "alone, trees",
    "nets": "alone, net",
    "own": "alone, linear",
}


def method(
    name,
    *,
    family="linear",
    reference=None,
    kind="transfer",
    tasks="both",
    tier="further",
):
    """Add the function below to the leaderboard.

    Parameters
    ----------
    name : str
        Name in the lines. It is refused if another method has it.
    family, kind, tasks, tier : str
        See :class:`Method`.
    reference : str or None, default=None
        Name of the same method without sources; None for the common learner of the
        family on the target alone, which is linear for a learner of its own.

    Returns
    -------
    decorator : callable
        Returns the function as it is.
    """
    for value, allowed, what in (
        (family, FAMILIES, "family"), (kind, KINDS, "kind"), (tasks, TASKS, "tasks"),
        (tier, TIERS, "tier"),
    ):  # fmt: skip
        if value not in allowed:
            raise InputError(f"{name}: {what} must be one of {allowed}, got {value!r}.")

    def decorator(make):
        if name in _found:
            raise InputError(f"There are two methods with the name {name!r}.")
        _found[name] = Method(
            name, make, family, reference or _REFERENCE[family], kind, tasks, tier
        )
        return make

    return decorator


def read_methods(*files):
    """Return name -> method of the benchmark's folder and of further files.

    Parameters
    ----------
    *files : Path
        Python files whose functions have :func:`method` above them.

    Returns
    -------
    methods : dict of str to Method
        In the order of the files' names.

    Raises
    ------
    InputError
        If a file is missing, a reference is no method, or two methods share a name.
    """
    for path in [*sorted(METHODS.glob("*.py")), *map(Path, files)]:
        _read(path)
    for m in _found.values():
        if m.reference not in _found:
            raise InputError(f"{m.name}: its reference {m.reference!r} is no method.")
    return dict(_found)


def _read(path):
    name = f"benchmarks.methods.{path.stem}"
    if path.resolve().parent != METHODS:  # a user's file may have a name of ours
        name = f"benchmarks.methods of {path.resolve()}"
    if name in sys.modules:
        return
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
