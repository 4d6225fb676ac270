"""Tests that keep the house: layers, exports, docstrings, light imports."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from instances import ESTIMATORS
from numpydoc.validate import validate

import sktransfer

PACKAGE = Path(sktransfer.__file__).parent
FAMILIES = {
    "baselines",
    "instance",
    "feature",
    "hypothesis",
    "multisource",
    "preprocessing",
    "pseudo_label",
    "deep",
}
#: what every method may use; a new module of the root gets a line
ROOT = {
    "_chunks",
    "_column_blocks",
    "_compat",
    "_deviance",
    "_domains",
    "_fold_fits",
    "_folds",
    "_learners",
    "_linear",
    "_progress",
    "_response",
    "_solvers",
    "_source_models",
    "_source_summary",
    "base",
    "exceptions",
}
METHODS = {*ROOT, "metrics", "model_selection"}
#: layer -> the layers that it may import; absent layers may import everything
ALLOWED = {
    "_chunks": set(),
    "_compat": set(),
    "exceptions": set(),
    "_column_blocks": {"_compat", "_domains", "exceptions"},
    "_learners": {"_compat", "exceptions"},
    "_deviance": {"_learners", "exceptions"},
    "_response": {"_deviance", "_learners", "_solvers"},
    "_solvers": {"_compat", "exceptions"},
    "_domains": {"_compat", "exceptions"},
    "_folds": {"_compat", "_domains", "_learners", "exceptions"},
    "_fold_fits": {"_solvers"},
    "_linear": {"base"},
    "_progress": set(),
    "_source_models": {
        "_compat", "_domains", "_learners", "_response", "_solvers",
        "_source_summary", "base", "exceptions",
    },
    "_source_summary": {"_solvers"},
    "base": {
        "_compat", "_deviance", "_domains", "_learners", "_response", "_solvers",
        "exceptions",
    },
    "metrics": {
        "_chunks", "_compat", "_deviance", "_domains", "_folds", "_learners",
        "_progress", "_response",
        "_solvers", "base", "exceptions",
    },
    "model_selection": {
        "_compat", "_domains", "_folds", "_learners", "_solvers", "base",
        "exceptions", "metrics",
    },
    "datasets": {"_compat", "_domains", "_solvers", "exceptions"},
    "utils": {"_compat", "_domains", "base", "exceptions"},
    "safe": {*METHODS, *FAMILIES},
    **dict.fromkeys(FAMILIES, METHODS),
    # UOWQNet applies the source weights of UOWQ to nets
    "deep": {*METHODS, "multisource"},
}  # fmt: skip
#: third-party modules that only some layers may import, and only inside functions
GUARDED = {"torch": {"deep"}, "skorch": {"deep"}, "matplotlib": {"inspection"}}


def _modules():
    return sorted(PACKAGE.rglob("*.py"))


def _layer(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path):
    """Yield (module, node) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    layer = _layer(path)
    for module, node in _imports(path):
        parts = module.split(".")
        where = f"{path}:{node.lineno} imports {module}"
        if parts[0] in GUARDED:
            assert layer in GUARDED[parts[0]], where
        if parts[0] == "sktransfer" and len(parts) > 1 and layer in ALLOWED:
            assert parts[1] == layer or parts[1] in ALLOWED[layer], where
        assert parts[:2] != ["sktransfer", "inspection"] or layer in {
            "inspection",
            "__main__",
        }, where


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_one_module_imports_private_names_of_sklearn(path):
    if path.name == "_compat.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert names[0] != "sklearn" or not any(n.startswith("_") for n in names), (
                f"{path}:{node.lineno} imports a private name of scikit-learn: "
                f"import it from sktransfer._compat"
            )


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_one_module_knows_signs(path):
    """No comparison of a sample_domain with a number outside ``_domains``."""
    if path.name in {"_domains.py", "estimator_checks.py"}:
        return  # the contract's own checks must break the convention on purpose
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            numbers = [
                n
                for side in [node.left, *node.comparators]
                for n in ast.walk(side)
                if isinstance(n, ast.Constant) and type(n.value) is int
            ]
            assert not ("sample_domain" in names and numbers), (
                f"{path}:{node.lineno} tests a sign of sample_domain"
            )


def _public_modules():
    names = ["sktransfer"]
    for info in pkgutil.walk_packages([str(PACKAGE)], "sktransfer."):
        private = any(part.startswith("_") for part in info.name.split("."))
        deep = info.name.startswith("sktransfer.deep") and not find_spec("torch")
        if not private and not deep:
            names.append(info.name)
    return names


@pytest.mark.parametrize("name", _public_modules())
def test_exports_are_sorted_and_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    exported = module.__all__
    assert exported == sorted(exported)
    assert all(isinstance(entry, str) and hasattr(module, entry) for entry in exported)
    undocumented = [e for e in exported if not getattr(module, e).__doc__]
    assert not undocumented


#: numpydoc's codes that are not asked for, each with the reason
UNASKED = {
    "EX01": "examples are asked of classes and functions, not of methods",
    "SA01": "a See Also that only repeats the module helps nobody",
    "ES01": "one good summary line can be enough",
    "RT02": "named results are clearer",
    "GL01": "ruff formats where the text starts",
    "SA04": "names speak for themselves in See Also",
    "YD01": "generators say Yields in words",
    "PR02": "attributes of dataclasses count as parameters here",
    "RT03": "a result with a good name needs no sentence",
    "GL03": "two blank lines inside a docstring are ruff's business",
    "GL08": "overridden hooks inherit their text",
}


def _documented():
    seen = set()
    for name in _public_modules():
        module = importlib.import_module(name)
        for entry in module.__all__:
            obj = getattr(module, entry)
            if (inspect.isclass(obj) or inspect.isfunction(obj)) and obj not in seen:
                seen.add(obj)
                yield f"{obj.__module__}.{obj.__qualname__}"


@pytest.mark.parametrize("name", list(_documented()))
def test_docstrings_are_numpydoc(name):
    errors = [e for e in validate(name)["errors"] if e[0] not in UNASKED]
    assert not errors


def test_every_estimator_is_in_the_common_tests():
    from sktransfer.base import TransferMixin

    tested = {type(estimator) for estimator in ESTIMATORS}
    for name in _public_modules():
        module = importlib.import_module(name)
        if name == "sktransfer.base":
            continue
        for entry in module.__all__:
            obj = getattr(module, entry)
            if inspect.isclass(obj) and issubclass(obj, TransferMixin):
                assert obj in tested, f"{obj.__name__} is missing in tests/instances.py"


def test_import_is_light_and_changes_nothing():
    heavy = {"deep", "inspection"}  # torch and matplotlib are theirs
    public = [name for name in _public_modules() if not heavy & set(name.split("."))]
    code = (
        "import sys, warnings, sklearn\n"
        "before = sklearn.get_config(), list(warnings.filters)\n"
        f"import {', '.join(public)}\n"
        "assert (sklearn.get_config(), list(warnings.filters)) == before\n"
        "heavy = {'torch', 'skorch', 'matplotlib', 'cvxpy', 'ot'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_news_have_names_that_a_release_collects():
    folder = Path(__file__).parents[1] / "changes"
    form = re.compile(r"\+\w+\.(added|changed|fixed|deprecated|removed)\.md")
    names = {path.name for path in folder.iterdir()} - {"README.md"}
    assert not [name for name in names if not form.fullmatch(name)]


def test_no_text_holds_control_characters():
    """Such as a backspace that came from the first letters of a formula."""
    folder = Path(__file__).parents[1]
    found = [
        str(path.relative_to(folder))
        for room in ("sktransfer", "docs", "tests", "examples")
        for suffix in ("*.py", "*.rst")
        for path in (folder / room).rglob(suffix)
        if re.search(r"[\x00-\x08\x0b-\x1f]", path.read_text())
    ]
    assert not found
