"""Which tests can run here: those whose own imports are installed.

Everything that is not a dependency of the base install is optional. A test that imports
such a package itself, at the top of its file or in its body, is left out where the
package is missing. What the library imports does not count: a method of the base
install that needs an extra fails its tests in ``.ci/matrix/no_extras``.
"""

import ast
import inspect
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

#: packages of the extras "deep", "plot" and "test"
OPTIONAL = {
    "catboost",
    "lightgbm",
    "matplotlib",
    "mpmath",
    "pandas",
    "polars",
    "rich",
    "skorch",
    "torch",
    "xgboost",
}
#: folder or file -> package without which nothing in it runs
ROOMS = {
    "sktransfer/deep": "torch",
    "sktransfer/inspection": "matplotlib",
    "tests/deep": "torch",
    "tests/examples/test_leaderboard.py": "torch",
    "tests/examples/test_reproduce.py": "torch",
    "tests/test_defaults.py": "torch",
    "tests/inspection": "matplotlib",
}
#: path in the gallery -> script
EXAMPLES = {
    f"{path.parent.name}/{path.stem}": path
    for path in Path(__file__).parent.glob("examples/*/*.py")
}
MISSING = {name for name in OPTIONAL if find_spec(name) is None}


@cache
def lacks(source, everywhere):
    """Return whether source imports a missing package, at the top or everywhere."""
    tree = ast.parse(source)
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module}
        else:
            continue
        if "torch" in MISSING and any(n.startswith("sktransfer.deep") for n in names):
            return True
        if MISSING & {name.split(".")[0] for name in names}:
            return True
    return False


def pytest_ignore_collect(collection_path, config):
    """Leave out files and folders whose imports cannot work."""
    for room, package in ROOMS.items():
        if package in MISSING and collection_path.match(room):
            return True
    if MISSING and collection_path.suffix == ".py":
        return lacks(collection_path.read_text(), everywhere=False) or None
    return None


def _sources(item):
    """Yield the code of a test, and of its parameters: functions, examples by name."""
    if isinstance(item, pytest.DoctestItem):
        yield "\n".join(example.source for example in item.dtest.examples)
        return
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    for name in filter(lambda value: isinstance(value, str), parameters):
        if name in EXAMPLES:
            yield EXAMPLES[name].read_text()
    for function in [item.function, *filter(inspect.isfunction, parameters)]:
        yield dedent(inspect.getsource(function))


def pytest_collection_modifyitems(config, items):
    """Leave out tests and doctests that import a missing package in their body."""
    if not MISSING:
        return
    kept, left_out = [], []
    for item in items:
        cannot = any(lacks(source, everywhere=True) for source in _sources(item))
        (left_out if cannot else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
