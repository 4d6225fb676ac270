"""The picture of the guide: each rule without conflict and with much of it."""

import importlib.util
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "operating_curves.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("operating_curves", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rules_without_conflict_and_with_much(program, tmp_path):
    curves = program.simulate(60)
    error = {rule: rows[:, 0] for rule, rows in curves.items()}
    assert (error["target alone"] == 1).all()
    assert error["pooled"][0] < 0.3 < 20 < error["pooled"][-1]
    assert error["portfolio"][0] < 0.9
    assert error["portfolio"].max() < 1.6
    assert error["TransferGuard of pooled"].max() < 1.2
    program.draw(curves, tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").stat().st_size > 1000
