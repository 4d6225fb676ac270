"""The check of a GPU runs, tiny and on the CPU."""

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(not BENCHMARKS.exists(), reason="no benchmarks beside the tests")
def test_every_line_of_the_check_is_there(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import gpu_check

    lines = list(gpu_check.check(torch.device("cpu"), tiny=True, compiled=False))
    kinds = {line[0] for line in lines}
    assert kinds == {"step", "waits", "bf16", "pickle", "speed", "kernel", "dispatch"}
    wrong = [line for line in lines if line[0] != "speed" and line[3] is False]
    assert wrong == []
