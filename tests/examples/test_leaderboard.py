"""The leaderboard: one program, a method is a file, a result is a line."""

import csv
import importlib
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = [
    pytest.mark.skipif(
        not BENCHMARKS.exists(), reason="no benchmarks beside the tests"
    ),
    # the processes of a test run have threads of their own
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

METHOD = '''"""Two methods of a user: one that works, and one that does not stop."""

from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from benchmarks.board.registry import method
from sktransfer.baselines import Pooled


@method("nearest of all", family="own")
def nearest(problem):
    """Take the nearest rows of all domains."""
    learner = KNeighborsRegressor if problem.regression else KNeighborsClassifier
    return Pooled(learner(5))


class Endless(KNeighborsRegressor):
    def fit(self, X, y):
        while True:
            pass


@method("endless", family="own")
def endless(problem):
    """Never stop."""
    return Endless()
'''


@pytest.fixture(scope="module")
def board():
    """Return a function that imports a module of the program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS.parent))
        yield lambda name: importlib.import_module(f"benchmarks.board.{name}")


@pytest.fixture
def small(board, monkeypatch):
    """Leave two sets, a task each."""
    quick = board("quick")
    names = ["g_labels", "sk_diabetes"]
    monkeypatch.setattr(quick, "BUNDLED", dict.fromkeys(names))
    monkeypatch.setattr(quick, "QUICK_LABELS", [10])
    return quick


def test_a_part_of_the_quick_leaderboard_is_reproduced(board, small, tmp_path):
    """All of it, in a minute or two: ``python -m benchmarks run --quick``."""
    chosen = ["alone, linear", "UOWQ, linear", "linear on scores of linear"]
    found = board("registry").read_methods()
    work = small.quick_work({name: found[name] for name in chosen})
    path = tmp_path / "lines.jsonl"
    lines = board("runner").run(work, path, n_jobs=2)
    stored = [
        line
        for line in board("runner").read_lines(small.QUICK_LINES)
        if line["method"] in chosen
        and line["labels"] == 10
        and line["set"] in small.BUNDLED
    ]
    assert len(stored) == 6
    assert small.compare_quick(lines, stored) == []
    of_fits = [line for line in lines if line["method"] in chosen]
    wanted = {"cpu", "mb", "versions", "halves", "error", "deviance"}
    assert all(wanted <= set(line) for line in of_fits)
    stored[0]["score"] += 0.01
    assert "score" in small.compare_quick(lines, stored)[0]
    stored[0]["draw"] = "another"
    assert "draw" in small.compare_quick(lines, stored)[0]
    # a stop in the middle of a line: the rest is run again, and nothing else
    text = path.read_text()
    path.write_text(text[:-20])
    again = board("runner").run(work, path)
    assert [board("runner").key_of(line) for line in again] == [
        board("runner").key_of(line) for line in lines
    ]
    assert path.read_text().startswith(text[: text[:-20].rindex("\n") + 1])


def test_a_method_is_added_in_one_file(board, small, tmp_path, capsys):
    main = board("cli").main
    file = tmp_path / "mine.py"
    out = tmp_path / "mine.jsonl"
    with pytest.raises(SystemExit, match="0"):
        main(["add", str(file)])
    assert '@method("mine"' in file.read_text()
    compile(file.read_text(), "mine.py", "exec")
    file.write_text(METHOD)
    registry = board("registry")
    before = registry.read_methods()  # all of them, whichever test comes first
    try:
        with pytest.raises(SystemExit, match="0"):
            main(["add", str(file), "--out", str(out), "--cap", "1"])
    finally:
        registry._found.clear()
        registry._found.update(before)
    shown = capsys.readouterr().out
    assert "| nearest of all | transfer |" in shown
    lines = [json.loads(text) for text in out.read_text().splitlines()]
    status = {(line["method"], line["set"]): line["status"] for line in lines}
    assert status["nearest of all", "sk_diabetes"] == "ok"
    assert status["endless", "sk_diabetes"] == "timeout"


def test_draws_are_nested_grouped_and_kept(board, tmp_path):
    tasks, sets = board("tasks"), board("sets")
    rows = sets.read_set("g_concept_mixed")
    target = rows.targets[0]
    twins = sets.Rows(
        rows.X, rows.y, rows.domain, rows.metric, np.arange(len(rows.y)) // 2, (target,)
    )
    drawn = tasks.draw_rows(twins, target, seed=3)
    units = {name: set(twins.unit[np.array(index)]) for name, index in drawn.items()}
    assert not units["test"] & (units["labeled"] | units["source"])
    assert (rows.domain[drawn["source"]] != target).all()
    first = rows.y[drawn["labeled"][:4]]
    assert sorted(first) == [0, 0, 1, 1]
    # what is stored is what counts, and it must belong to the rows
    splits = tasks.Splits(tmp_path / "splits.jsonl.gz")
    task = tasks.Task("g_concept_mixed", target, 30, 7)
    small, digest = splits.get(task, rows)
    splits.save()
    again = tasks.Splits(tmp_path / "splits.jsonl.gz")
    assert again.get(task, rows) == (small, digest)
    moved = sets.Rows(rows.X, 1 - rows.y, *list(vars(rows).values())[2:])
    with pytest.raises(ValueError, match="the stored draw has hash"):
        again.get(task, moved)
    few = tasks.load_task(task, again, None)
    more = tasks.load_task(tasks.Task("g_concept_mixed", target, 100, 7), again, None)
    np.testing.assert_array_equal(few.X_labeled, more.X_labeled[:30])
    np.testing.assert_array_equal(few.X_test, more.X_test)


#: public estimators that are no method of the leaderboard -> why
NOT_THERE = {
    "CDLS": "two feature spaces",
    "DATN": "two feature spaces",
    "WSDTN": "two feature spaces",
    "HHTL": "two feature spaces",
    "TTI": "two feature spaces",
    "DirectStandardization": "pairs of rows",
    "PiecewiseDirectStandardization": "pairs of rows",
    "Resampled": "gives a learner without weights weights; adds nothing to the others",
    "TableEncoder": "prepares raw tables; these are numbers",
    "TransferConformal": "sets and intervals, see sets_and_shifts.md",
    "TransferTree": "the one tree of TransferForest",
    "OTCERegressor": "no method",
}


def _classes(value, problem_kinds=()):
    """Yield the classes in an estimator."""
    if isinstance(value, BaseEstimator):
        yield type(value).__name__
        for part in value.get_params(deep=False).values():
            yield from _classes(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _classes(part)


def test_everything_in_the_library_is_there_or_has_a_reason(board):
    import skorch  # noqa: F401 - without it the nets are left out

    problem_of = board("problem").Problem
    problems = [
        problem_of(True, np.zeros(0), 30, 2, 100, 8),
        problem_of(False, np.arange(2), 30, 2, 100, 8),
    ]
    there = set()
    for method in board("registry").read_methods().values():
        for problem in problems:
            if method.suits(problem.regression):
                there |= set(_classes(method.make(problem)))
    public = set()
    for room in ("baselines", "instance", "feature", "hypothesis", "multisource",
                 "preprocessing", "pseudo_label", "safe", "deep"):  # fmt: skip
        module = importlib.import_module(f"sktransfer.{room}")
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            if (
                inspect.isclass(value)
                and issubclass(value, BaseEstimator)
                and value.__module__.startswith("sktransfer")
                and hasattr(value, "fit")
                and not inspect.isabstract(value)
                and not name.startswith("_")
                and not issubclass(value, Pipeline)
            ):
                public.add(name)
    missing = public - there - set(NOT_THERE)
    assert not missing, (
        f"{sorted(missing)}: add them to a file in benchmarks/methods, or give the "
        "reason here"
    )
    assert set(NOT_THERE) & there == set()


def test_figures_by_hand(board):
    summary = board("summary")
    lines = [
        {"method": method, "set": name, "part": "tune", "target": 0, "labels": 10,
         "seed": 0, "metric": "accuracy", "n_sources": 1, "cpu": 1.0,
         "status": "failed" if score is None else "ok", "score": score,
         "halves": [score, score], "error": score and 1 - score}
        for name, scores in {
            "a": {"alone, linear": 0.5, "Pooled, linear": 0.7, "KMM, linear": 0.6},
            "b": {"alone, linear": 0.8, "Pooled, linear": 0.7, "KMM, linear": None},
        }.items()
        for method, score in scores.items()
    ]  # fmt: skip
    runs = summary.all_runs(lines, board("registry").read_methods())
    pooled = summary.figures(runs["Pooled, linear"])
    assert pooled.tasks == 2
    assert pooled.gain[0] == pytest.approx(0.05)
    assert pooled.gain[1] == pytest.approx(-0.1)
    assert pooled.gain[2] == pytest.approx(0.2)
    assert pooled.hurt[0] == 0.5
    assert pooled.loss == pytest.approx(0.1)
    assert pooled.tail == pytest.approx(-0.1)
    assert pooled.kept[0] == pytest.approx(0.5)
    assert pooled.place == pytest.approx((1 / 6 + 3 / 4) / 2)
    assert pooled.error == pytest.approx(np.sqrt(0.6 * 1.5))
    kmm = summary.figures(runs["KMM, linear"])  # the target alone where it failed
    assert (kmm.gain[0], kmm.ok) == (pytest.approx(0.05), 0.5)
    assert summary.figures(runs[summary.ORACLE]).gain[0] == pytest.approx(0.1)
    ranks = summary.common_ranks(runs, ["alone, linear", "Pooled, linear"])
    np.testing.assert_array_equal(ranks, [[2, 1], [1, 2]])
    # Demsar (2006): 14 sets and 4 methods, q = 2.569
    assert summary.critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)


def test_stored_lines_make_every_table_and_picture(board, tmp_path):
    import matplotlib  # noqa: F401

    pages = board("pages")
    lines = board("runner").read_lines(BENCHMARKS / "board" / "quick.jsonl")
    methods = board("registry").read_methods()
    for line in lines:  # as if they were real sets
        line["part"] = "tune" if line["set"].startswith("g_") else "proof"
    names = [name for kind in pages.KINDS for name in
             (f"main {kind}", f"parts {kind}", f"labels {kind}", f"shift {kind}",
              f"sources {kind}", f"pays {kind}", f"learners {kind}")]  # fmt: skip
    text = "\n".join("{{" + name + "}}" for name in ["state", "coverage", *names])
    (tmp_path / "page.in.md").write_text(text)
    pages.write_page(tmp_path / "page.md", lines, methods)
    page = (tmp_path / "page.md").read_text()
    assert "{{" not in page
    assert "CPU hours; seeds 0." in page
    pages.write_pictures(tmp_path, lines, methods)
    pages.write_tables(tmp_path, lines, methods)
    assert len(list(tmp_path.glob("*.svg"))) == 4
    assert len(list(tmp_path.glob("gain_by_labels_*.csv"))) == 2
    assert len((tmp_path / "figures_by_estimator.csv").read_text().split("\n")) > 20


def test_a_table_is_a_query_on_lines(board, capsys):
    asked = ["table", str(board("quick").QUICK_LINES), "--methods", "UOWQ", "KMM",
             "--sets", "sk_diabetes", "g_labels", "--labels", "10"]  # fmt: skip
    with pytest.raises(SystemExit, match="0"):
        board("cli").main(asked)
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert [row[:10] for row in rows if "linear" in row] == [
        "| KMM, lin",
        "| UOWQ, li",
    ] * 2
    assert all("| 1 |" in row for row in rows if "linear" in row)  # a task of each kind


def test_the_figures_of_the_guide_are_those_of_the_stored_lines(board):
    pages, methods = board("pages"), board("registry").read_methods()
    lines = board("runner").read_lines(BENCHMARKS / "board" / "lines.jsonl.xz")
    guide = BENCHMARKS.parent / "docs" / "guide" / "figures_by_estimator.csv"
    with guide.open(newline="") as file:
        stated = list(csv.DictReader(file))
    rows = pages.rows_by_estimator(board("summary").all_runs(lines, methods), methods)
    assert [{k: str(v) for k, v in row.items()} for row in rows] == stated
    names = {row["estimator"]: row["method"] for row in rows}
    assert names["TCA"] == "TCA, linear" and names["SecureRLS"] == "Secure, linear"
    assert all((row["sets"] < pages.LEAST_SETS) == (row["hurt"] == "") for row in rows)


def test_the_page_what_to_do_is_that_of_the_stored_lines(board, tmp_path):
    guide, methods = board("guide"), board("registry").read_methods()
    lines = board("runner").read_lines(BENCHMARKS / "board" / "lines.jsonl.xz")
    guide.write_guide(tmp_path, lines, methods)
    written = (tmp_path / guide.PAGE).read_text()
    page = BENCHMARKS.parent / "docs" / "guide" / guide.PAGE
    assert written == page.read_text(), "python -m benchmarks table LINES --guide"
    asked = "{{sets|classes|30 & tune|alone, linear}}"
    shown = guide.fill_in(asked + " {{mean|reals||KMM, linear}}", lines, methods)
    assert re.fullmatch(r"\d+ -?\.\d{3}", shown)
    with pytest.raises(ValueError, match="has no lines"):
        guide.fill_in(asked.replace("linear", "none"), lines, methods)
    with pytest.raises(ValueError, match="is not true"):
        guide.fill_in("{{mean>0|reals|30|CORAL, linear / KMM, linear}}", lines, methods)
    with pytest.raises(ValueError, match="is no figure"):
        guide.fill_in(asked.replace("sets", "luck"), lines, methods)


def test_pages_that_the_library_cites_are_there():
    package = BENCHMARKS.parent / "sktransfer"
    cited = set()
    for path in package.rglob("*.py"):
        cited |= set(re.findall(r"benchmarks/(\w+\.(?:md|py))", path.read_text()))
    assert len(cited) > 8
    assert {name for name in cited if not (BENCHMARKS / name).exists()} == set()


def test_what_cannot_be_done_is_one_line(board, tmp_path, capsys):
    main, known = board("cli").main, str(board("quick").QUICK_LINES)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"a": 1}\n')
    for asked, words in [
        (["run", "--sets", "nonsense"], "--sets nonsense: not among the sets"),
        (["run", "--sets", "coil20_1024"], "--data is needed for coil20_1024"),
        (["run", "--data", "nowhere"], "--data nowhere is no folder"),
        (["run", "--methods", "UOWQ", "nonsense"], "No method starts with nonsense"),
        (["run", "--files", "nowhere.py"], "There is no file nowhere.py"),
        (["table", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["table", str(broken)], "line 1 is no line of results"),
        (["table", known, "--sets", "nonsense"], "--sets nonsense: not among"),
        (["table", known, "--labels", "7", "--parts", "proof"], "There are no lines"),
    ]:
        with pytest.raises(SystemExit) as stop:
            main(asked)
        assert words in str(stop.value) and "\n" not in str(stop.value)
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--n-jobs", "0"])
    assert "0 is less than 1" in capsys.readouterr().err


def test_one_run_at_a_time_has_a_file(board, tmp_path):
    runner, path = board("runner"), tmp_path / "lines.jsonl"
    whole = board("quick").QUICK_LINES.read_text().split("\n")[0] + "\n"
    path.write_text(whole + whole[:50])
    assert len(runner.read_lines(path)) == 1
    assert path.read_text() == whole + whole[:50]  # who reads leaves it as it is
    with runner.Lines(path) as lines:
        assert len(lines.lines) == 1
        assert path.read_text() == whole
        with pytest.raises(ValueError, match="Another run writes"):
            runner.Lines(path)
    runner.Lines(path).file.close()


def test_a_file_may_have_the_name_of_one_of_ours(board, tmp_path):
    registry, file = board("registry"), tmp_path / "peers.py"
    file.write_text(METHOD)
    before = registry.read_methods()
    try:
        assert "nearest of all" in registry.read_methods(file)
    finally:
        registry._found.clear()
        registry._found.update(before)
