"""The reproduction keeps its cells, goes on where it was, and says no."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("reproduce"), importlib.import_module(
        "reproduction.registry"
    )


def toy(registry, calls):
    def run(cell, folder):
        calls.append(cell)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"gap": cell["seed"] - 10.0}

    def conclude(frame):
        estimate = registry.over_seeds(frame, "gap")
        return registry.Outcome(registry.text(estimate), registry.positive(estimate))

    experiment = registry.Experiment(
        "toy", "A toy.", lambda quick: [{"seed": s} for s in range(4)], run
    )
    return registry.Claim("toy", "nobody", "is | large", "1", experiment, conclude)


def test_a_stopped_run_goes_on(modules, tmp_path, monkeypatch, capsys):
    reproduce, registry = modules
    calls = []
    claim = toy(registry, calls)
    monkeypatch.setattr(reproduce, "all_claims", lambda: [claim])
    arguments = ["--data", ".", "--cache", "cells", "--out", "table.md"]
    monkeypatch.setattr("sys.argv", ["reproduce.py", *arguments])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        reproduce.main()
    assert len(list(tmp_path.rglob("*.json"))) == 2
    reproduce.main()
    assert [c["seed"] for c in calls] == [0, 1, 2, 2, 3]  # the stopped one anew
    reproduce.main()
    assert len(calls) == 5
    table = (tmp_path / "table.md").read_text()
    (row,) = (line for line in table.splitlines() if "nobody" in line)
    assert row.startswith(r"| is \| large | nobody | 1 | -8.500 [-10.554, -6.446] | no")
    assert "Seeds 0 to 3, 4 cells" in table
    assert "Of 1 claims: yes 0, in part 0, not settled 0, no 1." in table
    record = json.loads(next(tmp_path.rglob("*.json")).read_text())
    assert set(record) == {"cell", "found", "seconds"}


def test_a_part_that_is_run_again_leaves_the_rest(modules, tmp_path, monkeypatch):
    reproduce, registry = modules
    claim = toy(registry, [0, 0, 0, 0])
    other = replace(claim, name="other", claim="is small", experiment=replace(
        claim.experiment, name="second", setting="Another one."
    ))  # fmt: skip
    monkeypatch.setattr(reproduce, "all_claims", lambda: [claim, other])
    monkeypatch.chdir(tmp_path)
    arguments = ["reproduce.py", "--data", ".", "--cache", "c", "--out", "table.md"]
    monkeypatch.setattr("sys.argv", arguments)
    reproduce.main()
    table = (tmp_path / "table.md").read_text()
    changed = replace(other, conclude=lambda frame: registry.Outcome("a figure", "yes"))
    monkeypatch.setattr(reproduce, "all_claims", lambda: [claim, changed])
    monkeypatch.setattr("sys.argv", [*arguments, "--only", "other"])
    reproduce.main()
    anew = (tmp_path / "table.md").read_text()
    before, after = ({*text.splitlines()} for text in (table, anew))
    (row,) = (line for line in after - before if line.startswith("| "))
    assert row == "| is small | nobody | 1 | a figure | yes |"
    assert "Of 2 claims: yes 1, in part 0, not settled 0, no 1." in after
    assert len(table.splitlines()) == len(anew.splitlines())


def test_unknown_claim_is_one_line(modules):
    reproduce, _ = modules
    with pytest.raises(SystemExit, match="names no claim of: ntg-corruption"):
        reproduce.chosen_claims(["nothing"])


def test_claims_have_names_of_their_own(modules):
    claims = modules[0].all_claims()
    assert len({claim.name for claim in claims}) == len(claims)
    by_name = {claim.experiment.name: claim.experiment for claim in claims}
    assert all(by_name[c.experiment.name] is c.experiment for c in claims)
    for claim in claims:
        cells = claim.experiment.cells(False)
        assert len({json.dumps(cell, sort_keys=True) for cell in cells}) == len(cells)
        assert all("seed" in cell for cell in cells)


def test_verdicts(modules):
    _, registry = modules
    assert registry.positive((1.0, 0.5, 1.5)) == "yes"
    assert registry.positive((1.0, -0.5, 2.5)) == "not settled"
    assert registry.positive((-1.0, -1.5, -0.5)) == "no"
    assert registry.together(["yes", "yes"]) == "yes"
    assert registry.together(["yes", "no", "not settled"]) == "in part (1 of 3)"
    assert registry.together(["no", "not settled"]) == "no"
    assert registry.together(["not settled"]) == "not settled"


def test_claims_that_are_not_run_have_their_count_and_setting(modules):
    reproduce, _ = modules
    assert "not run 1, no 1." in reproduce.count(["not run", "no", "in part (1 of 2)"])
    assert "not run" not in reproduce.count(["yes", "not settled"])
    claims = [claim for claim in reproduce.all_claims() if claim.name == "uowq-lora"]
    assert claims[0].conclude(pd.DataFrame()).holds == "not run"
    setting = reproduce.describe(claims, claims[0].experiment, 0.0, [])
    assert setting.startswith("**not-run** (`uowq-lora`)")


def test_interval_covers(modules):
    _, registry = modules
    rng = np.random.default_rng(0)
    found = [registry.interval(rng.normal(size=5)) for _ in range(2000)]
    covered = np.mean([low < 0 < high for _, low, high in found])
    assert abs(covered - 0.95) < 0.02


def test_kmm_below_tca_is_told_apart(modules):
    module = importlib.import_module("reproduction.negative_transfer")
    frame = pd.DataFrame(
        [
            {"task": "t", "eps_y": noise, "seed": seed, "method": m, "common": gap,
             "ntg": -gap, "learner": learner}
            for learner in module.LEARNERS
            for seed in range(5)
            for noise in (0.7, 0.0)
            for m, gap in (("KMM", 0.1), ("TCA", 0.3 + 0.001 * seed))
        ]
    )  # fmt: skip
    assert module.kmm_below_tca(frame).holds == "yes"  # by the common baseline
    of_svm = frame["learner"] == "linear SVM"
    frame.loc[of_svm & (frame["eps_y"] > 0), "common"] *= -1
    outcome = module.kmm_below_tca(frame)
    assert outcome.holds == "in part (1 of 2)" and "true labels" in outcome.ours


def test_simulated_claims_need_no_data(modules, monkeypatch, capsys):
    reproduce, _ = modules
    monkeypatch.setattr("sys.argv", ["reproduce.py", "--only", "sam-", "armul-"])
    assert reproduce.parse().data is None
    monkeypatch.setattr("sys.argv", ["reproduce.py", "--only", "sam-", "secure"])
    with pytest.raises(SystemExit):
        reproduce.parse()
    assert "--data is needed for secure-rls" in capsys.readouterr().err


def test_rejections_without_a_prior_are_those_by_hand(modules):
    module = importlib.import_module("reproduction.borrowing")
    rejected = module.rejections("library", "none")
    assert rejected.shape == (36, 71)
    rng = np.random.default_rng(0)
    for controls, treated in [(10, 27), (10, 36), (20, 50)]:
        control = rng.beta(1 + controls, 36 - controls, size=20_000)
        share = np.mean(rng.beta(1 + treated, 71 - treated, size=20_000) > control)
        assert rejected[controls, treated] == (share > 0.95)


def test_a_task_method_keeps_what_it_gains(modules):
    module = importlib.import_module("reproduction.many_tasks")
    table = pd.DataFrame(
        {"single": [1.0, 1.1, 1.2], "pooled": [0.1, 0.1, 0.1], "ARMUL": [0.11] * 3}
    )
    assert module.keeps(table, "pooled") == "yes"
    assert module.below(table, "ARMUL", "pooled") == "no"
    assert module.below(table, "ARMUL", "single") == "yes"


def datn_frame(module, part, accuracy):
    """Cells of a part on one task, whose accuracy is a function of the cell."""
    cells = module.cells_of(part, {module.TASKS[0]: 3})(False)
    return pd.DataFrame([{**c, "accuracy": accuracy(c)} for c in cells])


def test_figures_of_datn_are_read_as_the_paper_reads_them(modules):
    module = importlib.import_module("reproduction.datn")

    def by_quality(cell):
        rows = int(cell["label"].split()[0]) if cell["label"] else 700
        source = np.log10(rows) / 3 + 0.001 * cell["seed"]
        slope = {"source": 1.0, "DATN supervised": 0.5, "DNN": 0.0}
        start = {"source": 0.0, "DATN supervised": 0.1, "DNN": 0.2}
        return start.get(cell["method"], 0.1) + slope.get(cell["method"], 0.2) * source

    frame = datn_frame(module, "quality", by_quality)
    assert module.rises_faster(frame).holds == "yes"
    poor = module.beats_dnn_with_poor_source(frame)  # 0.5 * log10(20) / 3 + 0.1 > 0.2
    assert poor.holds == "yes" and "20 rows" in poor.ours

    def by_weight(cell):
        weight, value = cell["label"].split()
        return 0.01 * cell["seed"] * float(value) + (weight == "alpha") * float(value)

    frame = datn_frame(module, "weights", by_weight)
    assert module.alpha_matters_more(frame).holds == "yes"

    def by_pairs(cell):
        n = int(cell["label"].split()[0]) if cell["label"] else 700
        first = cell["method"] in ("DATN", "DATN supervised")
        return n / 1000 + 0.001 * cell["seed"] + 0.1 * first

    assert module.pairs_of(datn_frame(module, "pairs", by_pairs)).holds == "yes"
    cells = [c for c in module.MANY.cells(False) if c["seed"] < 4]

    def by_rows(cell):
        sign = 1 if cell["label"].startswith("1000000") else -1
        own = cell["method"] == "DATN"
        return 0.5 + own * (0.1 * sign + 0.001 * cell["seed"])

    frame = pd.DataFrame([{**c, "accuracy": by_rows(c)} for c in cells])
    assert module.helped_by_unlabeled(frame).holds == "yes"


def test_multi_task_rivals_are_compared_task_by_task(modules):
    module = importlib.import_module("reproduction.multi_task")
    frame = pd.DataFrame(
        [
            {"set": name, "task": task, "method": method, "seed": seed,
             "score": 0.1 * task + (0.05 + 0.001 * task) * (method == module.OWN)}
            for name in module.DOMAINS
            for task in range(3)
            for method in module.METHODS
            for seed in range(2)
        ]
    )  # fmt: skip
    outcome = module.best_on_average(frame)
    assert outcome.holds == "yes" and "over 12 tasks" in outcome.ours
    frame.loc[frame["method"] == "modo", "score"] += 1.0
    assert module.best_on_average(frame).holds == "in part (7 of 8)"


def test_every_no_has_a_reason_and_what_is_open_a_number(modules):
    """On the stored page; and a gap that rises with the first labels only is no yes."""
    page = (BENCHMARKS.parent / "docs" / "reproduction.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    for row in rows:
        *_, ours, holds = row.removesuffix(" |").split(" | ")
        assert holds != "no" or ". Why: " in ours, row
        assert not holds.startswith(("in part", "not settled")) or (
            "would settle" in ours or ". Why: " in ours or "Exact." in ours
            or "LabelShiftClassifier counts" in ours or "chance alone" in ours
        ), row  # fmt: skip
    assert modules[0].count([row.split(" | ")[-1].rstrip(" |") for row in rows]) in page
    rises = importlib.import_module("reproduction.negative_transfer").with_labels
    frame = pd.DataFrame(
        [{"eps_x": 0.9, "share": share, "seed": seed, "method": "m",
          "ntg": gap + 0.001 * seed * share}
         for seed in range(4)
         for share, gap in ((0.0, -0.5), (0.1, 0.3), (0.3, 0.2), (0.5, 0.1))]
    )  # fmt: skip
    assert rises(frame).holds == "in part (1 of 2)"
