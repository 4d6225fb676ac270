"""Write the pages that follow from the code: API, capabilities, references.

``conf.py`` calls :func:`write_pages` before Sphinx reads the sources. The result lies
in ``docs/api/generated``, which is not under version control. Sphinx is not needed.
"""

import csv
import importlib
import inspect
import pkgutil
import re
from functools import cached_property
from pathlib import Path
from textwrap import dedent

import sktransfer
from sktransfer.base import TransferMixin, get_transfer_tags

DOCS = Path(__file__).parent
GENERATED = DOCS / "api" / "generated"
#: what a docstring without ``versionadded`` is there since
FIRST_RELEASE = "0.1.0"
#: templates to derive from, not methods
BASES = "sktransfer.base"


def public_modules():
    """Return the public modules with an ``__all__``, by name."""
    modules = {}
    for info in pkgutil.walk_packages(sktransfer.__path__, "sktransfer."):
        if any(part.startswith("_") for part in info.name.split(".")):
            continue
        if info.name.startswith("sktransfer.deep") and not _has_torch():
            continue
        module = importlib.import_module(info.name)
        if getattr(module, "__all__", None):
            modules[info.name] = module
    return modules


def _has_torch():
    return importlib.util.find_spec("torch") is not None


def documented():
    """Return module -> names: every exported object once, where it is shortest."""
    pages, seen = {}, set()
    for name, module in sorted(
        public_modules().items(), key=lambda item: (item[0].count("."), item[0])
    ):
        fresh = [n for n in module.__all__ if id(getattr(module, n)) not in seen]
        seen |= {id(getattr(module, n)) for n in fresh}
        if fresh:
            pages[name] = fresh
    return pages


def api_page(module_name, names):
    """Return the page of one module: its docstring and a table of its objects."""
    module = importlib.import_module(module_name)
    lines = [
        module_name,
        "=" * len(module_name),
        "",
        inspect.getdoc(module),
        "",
        f".. currentmodule:: {module_name}",
        "",
        ".. autosummary::",
        "   :toctree: objects",
        "   :nosignatures:",
        "",
        *(f"   {name}" for name in names),
        "",
    ]
    return "\n".join(lines)


def own_methods():
    """Return class -> its public methods that this library defines or explains."""
    methods = {}
    for module_name, names in documented().items():
        module = importlib.import_module(module_name)
        for name in names:
            obj = getattr(module, name)
            if inspect.isclass(obj):
                methods[f"{module_name}.{name}"] = _methods_of(obj)
    return methods


def _methods_of(cls):
    found = []
    for name in dir(cls):
        if name.startswith("_") or re.fullmatch("set_.*_request", name):
            continue
        owner = next(base for base in cls.__mro__ if name in vars(base))
        callable_or_property = callable(getattr(cls, name, None)) or isinstance(
            vars(owner)[name], property | cached_property
        )
        if owner.__module__.startswith("sktransfer") and callable_or_property:
            found.append(name)
    return found


def estimator_classes():
    """Return name with module -> class of every exported transfer estimator."""
    classes = {}
    for module_name, names in documented().items():
        module = importlib.import_module(module_name)
        for name in names:
            obj = getattr(module, name)
            if module_name == BASES or not inspect.isclass(obj):
                continue
            if issubclass(obj, TransferMixin):
                classes[f"{module_name}.{name}"] = obj
    return classes


HEADER = [
    "estimator",
    "sources",
    "targets",
    "labeled target rows",
    "unlabeled target rows",
    "fitted source models",
    "unseen domains",
    "classification",
    "regression",
    "sparse rows",
    "scale-free",
]


def capability_rows(instances):
    """Return the table, read from the tags of the instances of every class.

    Parameters
    ----------
    instances : list of estimators
        At least one per exported class; what any of them supports counts.

    Returns
    -------
    rows : list of list of str
        One per class, in the order of ``HEADER``.
    """
    rows = []
    for name, cls in estimator_classes().items():
        own = [estimator for estimator in instances if type(estimator) is cls]
        if not own:
            raise ValueError(f"{name} has no instance, so its tags cannot be read.")
        rows.append([f":class:`~{name}`", *_capabilities(own)])
    return rows


def _capabilities(instances):
    tags = [get_transfer_tags(estimator) for estimator in instances]
    sparse = [e.__sklearn_tags__().input_tags.sparse for e in instances]

    def yes(attribute):
        return "yes" if any(getattr(t, attribute) for t in tags) else "no"

    tasks = [yes("classification"), yes("regression")]
    if hasattr(instances[0], "transform") and not hasattr(instances[0], "predict"):
        tasks = ["transformer", "transformer"]
    labels = dict.fromkeys(t.target_labels for t in tags)
    return [
        "many" if any(t.multi_source for t in tags) else "one",
        "many" if any(t.multi_target for t in tags) else "one",
        " or ".join(labels),
        "used" if any(t.uses_unlabeled for t in tags) else "ignored",
        yes("source_free"),
        yes("unseen_domain"),
        *tasks,
        "yes" if any(sparse) else "no",
        yes("scale_free"),
    ]


#: name in the safety benchmark -> the class that it measures, where they differ
BENCHMARKED = {
    "MMD ensemble": "MMDWeightedEnsemble",
    "pooled": "Pooled",
    "prior": "PositiveTransferRidge",
    "reliable": "ReliableTransfer",
    "source only": "SourceOnly",
}
SAFETY = DOCS.parent / "benchmarks" / "safety.md"
#: written by ``python -m benchmarks table LINES --guide docs/guide``
BOARD = DOCS / "guide" / "figures_by_estimator.csv"
METHOD_HEADER = [
    "method",
    "target labels",
    "unlabeled target rows",
    "task",
    "classes: hurt, kept (sets)",
    "real labels: hurt, kept (sets)",
    "measured as",
    "guarded: hurt, kept (runs)",
]
#: rooms that the table leaves out: nets have a section of their own, the other none
_NO_METHODS = ("deep", "preprocessing")


def safety_figures(text):
    """Return class -> figures of the safety benchmark, read from its page.

    Parameters
    ----------
    text : str
        The page, with lines "method: NAME POLICY n hurt mean kept ...".

    Returns
    -------
    figures : dict of str to tuple
        Percent hurt and kept with the guard at its default risk, and the number of
        runs.
    """
    line = re.compile(
        r"^method: (.+?) {2,}aggregate 0\.3 +(\d+) +([\d.]+) +[+-][\d.]+ +([\d.]+|nan)",
        re.M,
    )
    return {
        BENCHMARKED.get(name, name): (hurt, kept, runs)
        for name, runs, hurt, kept in line.findall(text)
    }


def board_figures(path):
    """Return (class, kind of labels) -> row of the leaderboard's file.

    Parameters
    ----------
    path : Path
        CSV file with the columns estimator, labels ("classes" or "reals"), method,
        sets, hurt and kept; the last two are percentages, empty with few sets.
    """
    with path.open(newline="") as file:
        return {(row["estimator"], row["labels"]): row for row in csv.DictReader(file)}


def method_rows(instances, text, board):
    """Return the table "which method when": needs from tags, figures from benchmarks.

    Methods with figures come first, those that hurt least at the top.

    Parameters
    ----------
    instances : list of estimators
        At least one per exported class.
    text : str
        The page of the safety benchmark.
    board : Path
        File of the leaderboard, see :func:`board_figures`.

    Returns
    -------
    rows : list of list of str
        One per method, in the order of ``METHOD_HEADER``.
    """
    guarded, figures = safety_figures(text), board_figures(board)
    rows = []
    for name, cls in estimator_classes().items():
        if name.split(".")[1] in _NO_METHODS:
            continue
        own = [estimator for estimator in instances if type(estimator) is cls]
        needs = dict(zip(HEADER[1:], _capabilities(own), strict=True))
        tasks = [
            task for task in ("classification", "regression") if needs[task] == "yes"
        ]
        found = [figures.get((cls.__name__, kind)) for kind in ("classes", "reals")]
        hurt = [float(row["hurt"]) for row in found if row and row["hurt"]]
        measured = dict.fromkeys(row["method"] for row in found if row)
        row = [
            f":class:`~{name}`",
            needs["labeled target rows"],
            needs["unlabeled target rows"],
            " or ".join(tasks) or "transformer",
            *map(_board_cell, found),
            " or ".join(measured),
            _guard_cell(guarded.get(cls.__name__)),
        ]
        order = ["unused", "optional", "required"].index(row[1].split(" or ")[0])
        mean = sum(hurt) / len(hurt) if hurt else 0.0
        rows.append(((not hurt, mean, order, row[0]), row))
    return [row for _, row in sorted(rows)]


def _board_cell(row):
    if row is None:
        return ""
    if not row["hurt"]:
        return f"few sets ({row['sets']})"
    return f"{row['hurt']} %, {row['kept']} % ({row['sets']})"


def _guard_cell(found):
    if found is None:
        return ""
    hurt, kept, runs = found
    return f"{hurt} %" + ("" if kept == "nan" else f", {kept} %") + f" ({runs})"


def references():
    """Return text -> names: each paper that a docstring cites, and who cites it."""
    texts, users = {}, {}
    for module_name, names in documented().items():
        module = importlib.import_module(module_name)
        for name in names:
            obj = getattr(module, name)
            if not (inspect.isclass(obj) or inspect.isfunction(obj)):
                continue
            for text in _cited(inspect.getdoc(obj) or ""):
                key = _identifier(text)
                texts.setdefault(key, text)
                role = "class" if inspect.isclass(obj) else "func"
                users.setdefault(key, []).append(f":{role}:`~{module_name}.{name}`")
    order = sorted(texts, key=lambda key: texts[key].lower())
    return {texts[key]: list(dict.fromkeys(users[key])) for key in order}


def _cited(doc):
    """Yield the entries of the section References of a docstring."""
    match = re.search(r"^References\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", doc, re.M | re.S)
    if not match:
        return
    text = dedent(match.group(1)).strip()
    entries = re.split(r"^\.\. \[\d+\] ", text, flags=re.M)
    entries = entries[1:] if len(entries) > 1 else re.split(r"\n\n", text)
    for entry in entries:
        yield link_arxiv(" ".join(entry.split()))


def link_arxiv(text):
    """Return text in which plain arXiv numbers are links."""
    return re.sub(r"\barXiv:(\d{4}\.\d{4,5})", r":arxiv:`\1`", text)


def _identifier(text):
    """Return the DOI or arXiv number of a reference, else its text."""
    match = re.search(r"(10\.\d{4,}/[^\s`]+|\d{4}\.\d{4,5})", text)
    return match.group(1).rstrip(".,").lower() if match else text


def write_pages(instances):
    """Write all generated pages."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    for module_name, names in documented().items():
        _write(GENERATED / f"{module_name}.rst", api_page(module_name, names))
    with (GENERATED / "capabilities.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *capability_rows(instances)])
    rows = method_rows(instances, SAFETY.read_text(), BOARD)
    with (GENERATED / "methods.csv").open("w", newline="") as file:
        csv.writer(file).writerows([METHOD_HEADER, *rows])
    entries = [
        f"- {text}\n\n  Used by {', '.join(users)}."
        for text, users in references().items()
    ]
    _write(GENERATED / "references.inc", "\n".join(entries) + "\n")


def _write(path, text):
    """Write a file unless it is there already: Sphinx reads changed files only."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
