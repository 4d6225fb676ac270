"""Every default has a row that says where it comes from, with figures of its page."""

import csv
import importlib
import inspect
import re
from collections import Counter
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "guide" / "defaults.csv"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no docs beside the tests")
ORIGINS = (
    "data", "simulation", "fitted", "paper", "convention", "plain", "speed",
    "not varied",
)  # fmt: skip
ROOMS = (
    "baselines", "deep", "feature", "hypothesis", "inspection", "instance", "metrics",
    "multisource", "preprocessing", "pseudo_label", "safe",
)  # fmt: skip


def _rows():
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def _pairs(row):
    """Return the defaults of a row, written as in a signature."""
    return re.split(r"; ", row["defaults"])


def _of_estimators():
    """Return class -> its defaults, of every exported estimator."""
    import skorch  # noqa: F401 - without it the nets are left out

    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"sktransfer.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.isclass(value) or not issubclass(value, BaseEstimator):
                continue
            signature = inspect.signature(value)
            found[name] = [
                f"{parameter.name}={parameter.default!r}"
                for parameter in signature.parameters.values()
                if parameter.default is not parameter.empty
            ]
    return found


def test_every_default_has_one_origin():
    """A row that names classes comes before one that names none."""
    named, general = {}, Counter()
    for row in _rows():
        assert row["from"] in ORIGINS, row
        for pair in _pairs(row):
            if not row["of"]:
                general[pair] += 1
            for name in row["of"].split():
                assert (name, pair) not in named, f"{name}: {pair} has two rows"
                named[name, pair] = row["from"]
    assert {pair for pair, n in general.items() if n > 1} == set()
    found = _of_estimators()
    missing, used = {}, set()
    for name, pairs in found.items():
        for pair in pairs:
            if (name, pair) in named:
                used.add((name, pair))
            elif pair in general:
                used.add(pair)
            else:
                missing.setdefault(pair, []).append(name)
    assert missing == {}, "say in docs/guide/defaults.csv where these come from"
    assert (set(named) | set(general)) - used == set(), "no estimator has these"


def test_what_was_chosen_on_data_cites_a_page_with_the_figures():
    for row in _rows():
        if row["from"] not in ("data", "simulation"):
            assert not row["tune"] and not row["proof"], row["defaults"]
            continue
        pages = re.findall(r"\w+\.md", " ".join(row.values()))
        assert pages and row["why"].startswith(pages[0]), row["defaults"]
        text = "\n".join((ROOT / "benchmarks" / page).read_text() for page in pages)
        if row["from"] == "data":
            assert row["tune"] and row["proof"], row["defaults"]
        for column in ("why", "tune", "proof"):
            for number in re.findall(r"\d*\.\d+", row[column]):
                assert number in text, f"{number} is not in {pages}"
