"""The quickstart runs on a user's own table and fails in one line."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn

SCRIPT = Path(__file__).parents[2] / "examples" / "quickstart.py"


@pytest.fixture
def quickstart(monkeypatch, tmp_path):
    """The script as a function of its arguments, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("quickstart", SCRIPT)
    module = importlib.util.module_from_spec(spec)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["quickstart.py", *arguments])
        module.main()

    with sklearn.config_context():  # the script switches routing on
        spec.loader.exec_module(module)
        yield run


def write_table(regression=False):
    rng = np.random.default_rng(0)
    n_rows = 70
    table = pd.DataFrame(
        {
            "age": rng.normal(size=n_rows),
            "dose": rng.normal(size=n_rows),
            "sex": rng.choice(["f", "m"], size=n_rows),
            "site": np.repeat(["a", "b", "c"], [20, 20, 30]),
        }
    )
    score = table["age"] - table["dose"] + 0.1 * rng.normal(size=n_rows)
    table["out"] = score if regression else np.where(score > 0, 1, -1)
    table.loc[rng.choice(n_rows, 5, replace=False), "age"] = np.nan
    table.loc[64:, "out"] = np.nan  # unlabeled target rows
    table.loc[0, "out"] = np.nan  # a source row of no use
    table.to_csv("table.csv", index=False)


def options(**changes):
    values = {"data": "table.csv", "domain": "site", "target": "c", "label": "out"}
    values |= changes
    return [part for name, value in values.items() for part in (f"--{name}", value)]


@pytest.mark.slow
@pytest.mark.parametrize("regression", [False, True])
def test_own_table(quickstart, capsys, regression):
    write_table(regression)
    quickstart(*options(draws="1", output="picture.png"))
    printed = capsys.readouterr().out
    assert "test 1 - R2" in printed if regression else "test error rate" in printed
    assert "[1/" not in printed and "%" not in printed  # no bar without a terminal
    assert "Left out 1 source rows without a label" in printed
    for method in ("Target only", "Source only", "Pooled", "KMM", "TCA + pooled"):
        assert f"\n{method}" in printed
    assert Path("picture.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": "other.csv"}, "--data other.csv cannot be read"),
        ({"domain": "place"}, "--domain place is no column"),
        ({"label": "ill"}, "--label ill is no column of table.csv. Columns: age, dose"),
        ({"target": "z"}, "--target z is no value of site. Values: a, b, c"),
        ({"label": "sex", "task": "regression"}, "--label sex holds text"),
    ],
)
def test_errors_are_one_line(quickstart, change, message):
    write_table()
    with pytest.raises(SystemExit) as stop:
        quickstart(*options(**change))
    assert message in str(stop.value)
    assert "\n" not in str(stop.value)


def test_options_go_together(quickstart, capsys):
    with pytest.raises(SystemExit):
        quickstart("--data", "table.csv")
    assert "go together" in capsys.readouterr().err
