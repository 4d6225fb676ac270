"""Every script of the gallery runs as it is, draws something, and warns of nothing."""

import ast
import os
import re
import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import sklearn
from threadpoolctl import threadpool_limits

EXAMPLES = Path(__file__).parents[2] / "examples"
FAST = ["howto/federated", "howto/few_shot", "howto/own_method", "howto/regression"]
FAST += ["howto/bound_gate", "howto/prototypes", "howto/segmentation_scores"]
FAST += ["howto/clusters_of_tasks", "howto/several_sources"]
RAW = ["cases/churn", "cases/counts", "cases/sites", "cases/spectra"]
CASES = [*RAW, "cases/activity", "cases/schools"]
FAST += [*CASES, "cases/make_tables"]
SLOW = ["howto/images", "howto/own_net", "papers/datn", "papers/gate"]
SLOW += ["papers/perturbation", "papers/transferability", "papers/uowq"]


def run(name, monkeypatch, tmp_path, *arguments):
    """Run a script; return the number of its pictures."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path = EXAMPLES / f"{name}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(path), *arguments])
    monkeypatch.setattr(plt, "show", lambda: None)
    try:
        with (
            sklearn.config_context(),
            threadpool_limits(1),
        ):  # scripts switch routing on
            runpy.run_path(str(path), run_name="__main__")
        return len(plt.get_fignums())
    finally:
        plt.close("all")


@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_script_runs(name, monkeypatch, tmp_path, capsys):
    assert run(name, monkeypatch, tmp_path, "--draws", "1") >= 1
    assert capsys.readouterr().out.strip()
    assert not list(tmp_path.iterdir())


def test_every_script_is_tested():
    scripts = {str(path.relative_to(EXAMPLES).with_suffix(""))
               for path in EXAMPLES.glob("*/*.py")}  # fmt: skip
    assert scripts == {*FAST, *SLOW}


@pytest.mark.parametrize("name", RAW)
def test_a_raw_table_takes_less_than_25_lines(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    tree = ast.parse(text[: text.index("# Decision\n")])
    code = {
        n for part in tree.body[1:] for n in range(part.lineno, part.end_lineno + 1)
    }
    assert len(code) < 25


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_in_a_decision_on_a_table_to_download(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    _, decision = text.split("\n# Decision\n# --------\n")
    assert "\nassert " in decision  # the script checks what the decision claims
    (file,) = re.findall(r":download:`(\w+\.csv)\s+<([\w./]+)>`", text)
    page = EXAMPLES.parent / "docs" / "auto_examples" / f"{name}.rst"
    assert Path(os.path.normpath(page.parent / file[1])) == EXAMPLES / "cases" / file[0]
    assert (EXAMPLES / "cases" / file[0]).exists()


def test_tables_are_those_of_the_script(monkeypatch, tmp_path):
    copy = tmp_path / "make_tables.py"
    copy.write_text((EXAMPLES / "cases" / "make_tables.py").read_text())
    monkeypatch.setattr("sys.argv", [str(copy), "--write"])
    matplotlib.use("Agg")
    runpy.run_path(str(copy), run_name="__main__")
    matplotlib.pyplot.close("all")
    files = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert len(files) == 6
    for name in files:
        fresh = pd.read_csv(tmp_path / name)
        pd.testing.assert_frame_equal(fresh, pd.read_csv(EXAMPLES / "cases" / name))


def test_every_tier_has_its_text():
    for folder in {path.parent for path in EXAMPLES.rglob("*.py")}:
        assert (folder / "GALLERY_HEADER.rst").exists()


def test_larger_data(monkeypatch, tmp_path, capsys):
    rng = np.random.default_rng(0)
    domain = np.repeat([0, 1], 200)
    np.savez(
        tmp_path / "california_housing.npz",
        X=rng.normal(size=(400, 3)),
        y=rng.normal(size=400),
        domain=domain,
        domain_names=np.array(["north_west", "south_east"]),
    )
    run("howto/regression", monkeypatch, tmp_path, "--data", str(tmp_path))
    assert "north_west    200" in capsys.readouterr().out
