"""The command line: a table goes in, a report or one clear line comes out."""

import bz2
import gzip
import json
import lzma
import re
import subprocess
import sys
import zipfile
from html import unescape
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest

import sktransfer
from sktransfer.__main__ import _as_text, _prepare_labels, main
from sktransfer.inspection import read_table as read_frame
from sktransfer.inspection._table_file import BadTable, read_table, stray_text

COLUMNS = ["--domain", "site", "--label", "y"]


@pytest.fixture(scope="module")
def table():
    """Two sources and a target with labels on some rows."""
    rng = np.random.RandomState(0)
    df = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    df["c"] = rng.choice(["u", "v"], 60)
    df["site"] = np.repeat(["DE", "FR", "IT"], 20)
    df["id"] = [f"row{k}" for k in range(60)]
    df["y"] = np.where(df["a"] + 0.3 * df["b"] > 0, "yes", "no")
    df.loc[:19, "y"] = ["yes", "no", "yes", "no", *[None] * 16]  # four labels in DE
    return df


@pytest.fixture
def data(table, tmp_path):
    """Return a function that writes a changed table to a file."""

    def write(change=None, **options):
        df = table.copy()
        if change is not None:
            df = change(df)
        path = tmp_path / "data.csv"
        df.to_csv(path, index=False, **options)
        return str(path)

    return write


def _failed(capsys, args, *words):
    """Run, and check that there is one line with all words on stderr."""
    try:
        status = main(args)
    except SystemExit as stop:  # argparse's own refusals
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert "error: " in err
    for word in words:
        assert word in err, err


def test_report_is_written(data, tmp_path, capsys):
    path = data(lambda df: df[df["site"] != "IT"].drop(columns="c"), sep=";")
    html, numbers = tmp_path / "r.html", tmp_path / "r.json"
    status = main(
        ["report", path, "--target", "DE", *COLUMNS, "--drop", "id", "--folds", "2",
         "--quiet", "--out", str(html), "--json", str(numbers)]
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert status == 0
    assert err == ""
    assert out.startswith("Transfer report for target DE (classification)")
    assert "Methods by error rate" in out
    assert f"Written: {html}" in out
    assert html.read_text().startswith("<!DOCTYPE html>")
    loaded = json.loads(numbers.read_text())
    assert loaded["domains"][0] == {
        "domain": "DE", "role": "target", "rows": 20, "labeled": 4,
        "labels": loaded["domains"][0]["labels"],
    }  # fmt: skip
    assert loaded["settings"]["columns"] == 2
    assert [s["source"] for s in loaded["sources"]] == ["FR"]


def test_the_model_is_saved_and_predicts_for_a_file(data, tmp_path, capsys):
    path, model = data(sep=";", decimal=","), tmp_path / "model.joblib"
    page = tmp_path / "r.html"
    status = main(
        ["report", path, "--target", "DE", *COLUMNS, "--quick", "--folds", "2",
         "--quiet", "--save", str(model), "--out", str(page)]
    )  # fmt: skip
    out, _ = capsys.readouterr()
    assert status == 0
    assert f"joblib.load({str(model)!r})" in out
    assert f"joblib.load({str(model)!r})" in unescape(page.read_text())
    predicted = joblib.load(model).predict(read_frame(path))
    assert set(predicted) <= {"yes", "no"}


def test_a_table_that_cannot_be_read_is_a_value_error(tmp_path):
    file = tmp_path / "empty.csv"
    file.write_text("")
    with pytest.raises(ValueError, match=r"empty\.csv' is empty"):
        read_frame(file)


def test_no_model_is_saved_without_labels(data, tmp_path, capsys):
    path, model = data(_unlabel), tmp_path / "model.joblib"
    main(["report", path, "--target", "1", *COLUMNS, "--quick", "--quiet",
          "--save", str(model)])  # fmt: skip
    # a line may end within the sentence, wherever the folder of the test is
    assert "was not written" in " ".join(capsys.readouterr().out.split())
    assert not model.exists()


def test_two_numbers_that_are_not_whole_are_asked_about_and_may_be_classes(
    data, capsys
):
    path = data(lambda df: df.assign(y=df["y"].map({"yes": 0.5, "no": 1.5})))
    args = ["report", path, "--target", "DE", *COLUMNS, "--quick", "--quiet"]
    _failed(capsys, args, "--label 'y'", "0.5 and 1.5", "--task classification")
    found = read_table(path)
    args = SimpleNamespace(task="classification", na_values=[], exposure=None)
    labels, task = _prepare_labels(found.frame["y"], args, found)
    assert task == "classification"
    assert set(labels.dropna()) == {"0.5", "1.5"}
    text = _as_text(pd.Series([1234567.0, 0.1234567, np.nan, -1.0]))
    assert text.tolist()[:2] == ["1234567", "0.1234567"]


def _unlabel(df):
    df["y"] = (df["y"] == "yes").astype(float)
    df.loc[df["site"] == "DE", "y"] = np.nan
    df.loc[[20, 45], "y"] = np.nan
    df["site"] = df["site"].map({"DE": 1, "FR": 2, "IT": 3})
    return df


def test_numeric_domains_and_no_target_label(data, capsys):
    path = data(_unlabel)
    status = main(
        ["report", path, "--target", "1", *COLUMNS, "--drop", "id", "--quiet"]
    )
    out, _ = capsys.readouterr()
    assert status == 0
    assert "cannot be known yet: no target row is labeled" in out
    assert "2 of 40 source rows" in out
    # line 1 is the header; the target is in lines 2 to 21
    lines = out.split("to label next: ")[1].splitlines()[0].split(", ")
    assert sorted(map(int, lines)) == list(range(2, 22))


def test_lines_to_label_are_those_of_the_file(data, capsys):
    def change(df):
        df = df.iloc[::-1].reset_index(drop=True)  # the target comes last
        df.loc[[0, 25], "y"] = np.nan
        df.loc[df["site"] == "DE", "y"] = [*[None] * 6, "yes", *[None] * 13]
        return df

    path = data(change)
    arguments = ["--target", "DE", *COLUMNS, "--drop", "id", "--quiet"]
    assert main(["report", path, *arguments]) == 0
    out, _ = capsys.readouterr()
    lines = out.split("to label next: ")[1].splitlines()[0].split(", ")
    file = pd.read_csv(path)
    chosen = file.iloc[[int(line) - 2 for line in lines]]
    assert len(chosen) == 19
    assert chosen["y"].isna().all()
    assert (chosen["site"] == "DE").all()


def test_classes_may_be_minus_one(data, capsys):
    def change(df):
        df["y"] = df["y"].map({"yes": 1, "no": -1})
        df.loc[df["site"] == "DE", "y"] = np.nan
        return df

    path = data(change)
    arguments = ["--target", "DE", *COLUMNS, "--drop", "id", "--quiet"]
    assert main(["report", path, *arguments]) == 0
    assert "(classification)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "DE", "--domain", "sit", "--label", "y"],
         ["--domain 'sit'", "a, b, c, site, id, y"]),
        (["--target", "DE", "--domain", "site", "--label", "z"],
         ["--label 'z'", "a, b, c, site, id, y"]),
        (["--target", "NL", *COLUMNS], ["--target 'NL'", "DE, FR, IT"]),
        (["--target", "DE", *COLUMNS, "--drop", "q"], ["--drop 'q'", "a, b, c"]),
        (["--target", "DE", *COLUMNS, "--drop", "y"], ["--drop", "--label"]),
        (["--target", "DE", "--domain", "y", "--label", "y"], ["both 'y'"]),
        (["--target", "DE", *COLUMNS, "--folds", "1"], ["--folds", "2 or more"]),
        (["--target", "DE", *COLUMNS, "--folds", "x"], ["--folds", "'x'"]),
        (["--target", "DE", *COLUMNS, "--seed", "-1"], ["--seed"]),
        (["--target", "DE", *COLUMNS, "--scoring", "best"], ["--scoring 'best'"]),
        (["--target", "DE", *COLUMNS, "--task", "regression"],
         ["--task", "--label 'y'", "'yes'"]),
        (["--target", "DE", *COLUMNS, "--task", "ranking"], ["--task", "regression"]),
        (["--target", "DE", *COLUMNS, "--out", "no/such/r.html"],
         ["--out 'no/such/r.html'", "no such folder"]),
        (["--target", "DE", *COLUMNS, "--json", "."], ["--json '.'", "folder"]),
        (["--target", "DE", "--domain", "site"], ["--label"]),
    ],
)  # fmt: skip
def test_wrong_arguments_get_one_line(data, capsys, arguments, words):
    _failed(capsys, ["report", data(), *arguments], *words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda df: df[["site", "y"]], ["no column left"]),
        (lambda df: df[df["site"] == "DE"], ["--domain 'site'", "single value DE"]),
        (lambda df: df.assign(site=[None, *df["site"][1:]]),
         ["--domain 'site'", "1 rows", "line 2"]),
        (lambda df: df.assign(y=df["y"].where(df["site"] == "DE")),
         ["--label 'y'", "every source row"]),
        (lambda df: df.iloc[:0], ["no row"]),
    ],
)  # fmt: skip
def test_wrong_tables_get_one_line(data, capsys, change, words):
    _failed(capsys, ["report", data(change), "--target", "DE", *COLUMNS], *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["does not exist"]),
        (b"", ["is empty"]),
        (b"\n \n", ["is empty"]),
        (b"site,y,x\n", ["has a header but no row"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", ["no text in UTF-8"]),
        (b"a,b\n1,2\n\n1,2,3,4\n", ["4 cells in line 4", "--sep"]),
        (b"a,a\n1,2\n", ["several columns named 'a'"]),
    ],
)
def test_wrong_files_get_one_line(tmp_path, capsys, content, words):
    path = tmp_path / "file.csv"
    if content is not None:
        path.write_bytes(content)
    _failed(
        capsys, ["report", str(path), "--target", "x", *COLUMNS], "data.csv", *words
    )


@pytest.mark.parametrize("module", ["pandas", "matplotlib"])
def test_a_missing_extra_gets_one_line(data, capsys, monkeypatch, module):
    path = data()
    monkeypatch.setitem(sys.modules, module, None)
    words = [module, 'pip install "sktransfer[plot]"']
    _failed(capsys, ["report", path, "--target", "DE", *COLUMNS], *words)


def test_no_command_gets_one_line(capsys):
    _failed(capsys, [], "COMMAND")


@pytest.mark.parametrize("command", [["--help"], ["report", "--help"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 0
    assert "report" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"sktransfer {sktransfer.__version__}\n"


def test_module_runs_as_a_command(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "sktransfer", "report", str(tmp_path / "none.csv"),
         "--target", "x", *COLUMNS],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


def _read(tmp_path, content, **options):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    return read_table(str(path), names=("site", "y"), **options)


def test_kind_41_names_of_classes_and_domains_may_be_none_or_na(tmp_path):
    table = _read(tmp_path, b"site,y,x\nNA,None,1\nNA,null,NA\nB,,2\n?,nan,3\n")
    assert table.frame["site"].tolist()[:3] == ["NA", "NA", "B"]
    assert table.frame["y"].tolist()[:2] == ["None", "null"]
    assert table.frame["y"].isna().tolist() == [False, False, True, True]
    assert table.frame["x"].isna().tolist() == [False, True, False, False]
    assert any("'NA' in column 'x'" in note for note in table.notes)
    more = _read(tmp_path, b"site,y\nA,low\nA,?\nB,n.d.\n", na_values=["n.d."])
    assert more.frame["y"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("content", "numbers", "word"),
    [
        (b"x;y\n0,5;1\n1,25;2\n", [0.5, 1.25], "decimal"),
        (b"x;y\n1,234;1\n5,678;2\n", [1.234, 5.678], "decimal"),
        (b"x;y\n1.234,5;1\n2;2\n", [1234.5, 2], "decimal"),
        (b'x,y\n"1,234",1\n"12,345,678",2\n', [1234, 12345678], "thousands"),
        (b'x,y\n"1,234.5",1\n-2,2\n', [1234.5, -2], "thousands"),
        (b'x,y\n"5,123",1\n"6,001",2\n', [5123, 6001], "thousands"),
        (b"x\ty\n1e3\t1\n.5\t2\n", [1000, 0.5], None),
        (b"x|y\n+1|1\n-2|2\n", [1, -2], None),
    ],
)
def test_kind_41_decimal_and_thousands_commas(tmp_path, content, numbers, word):
    table = _read(tmp_path, content)
    assert table.frame["x"].tolist() == numbers
    assert word is None or any(f"{word} commas" in note for note in table.notes)


def test_kind_41_commas_that_contradict_each_other_are_asked_about(tmp_path):
    content = b'x,y\n"0,5","1,234,567"\n'
    with pytest.raises(BadTable, match="--decimal"):
        _read(tmp_path, content)
    assert _read(tmp_path, content, decimal=",").frame["x"].tolist() == [0.5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_kind_41_encodings(tmp_path, encoding):
    table = _read(tmp_path, "site,y\nZürich,1\nKöln,2\n".encode(encoding))
    assert table.frame["site"].tolist() == ["Zürich", "Köln"]
    assert any("Windows-1252" in n for n in table.notes) == (encoding == "cp1252")
    with pytest.raises(BadTable, match="--encoding"):
        _read(tmp_path, "site,y\nZürich,1\n".encode("cp1252"), encoding="utf-8")


def test_kind_41_lines_are_those_of_the_file(tmp_path):
    table = _read(tmp_path, b'site,y\n\nA,1\n\n"A\nB",2\n,\nC,x\n')
    assert table.frame.index.tolist() == [3, 5, 8]
    assert stray_text(table, "y") == (8, "x")
    with pytest.raises(BadTable, match="'inf' in line 3"):
        _read(tmp_path, b"x,y\n1,2\ninf,3\n")


def test_kind_41_codes_with_leading_zeros_stay_text(tmp_path):
    assert _read(tmp_path, b"zip,y\n01234,1\n98765,2\n").frame["zip"][2] == "01234"


def test_kind_41_one_stray_text_among_numeric_labels(data, capsys):
    def change(df):
        df["y"] = np.arange(60).astype(str)
        df.loc[3, "y"] = "n.d."
        return df

    _failed(
        capsys, ["report", data(change), "--target", "DE", *COLUMNS],
        "'n.d.' in line 5", "--na-values",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "numbers", "word"),
    [
        (["12.5%", "7 %"], [12.5, 7], "without their '%'"),
        (["$1,234.50", "-$20.00"], [1234.5, -20], "without their '$'"),
        (["3.50 €", "€4.00"], [3.5, 4], "without their '€'"),
        (["(12.50)", "3"], [-12.5, 3], "parentheses are negative"),
        (["1 234", "12\u00a0345"], [1234, 12345], "separators of thousands"),
        (["1'234.5", "7"], [1234.5, 7], "separators of thousands"),
        (["\u22121.5", "2"], [-1.5, 2], None),
        (["-", "2"], [np.nan, 2], "'-' in column 'x' was read as a missing"),
        (["n.d.", "2"], [np.nan, 2], "'n.d.' in column 'x' was read as a missing"),
        (["#DIV/0!", "2"], [np.nan, 2], "'#DIV/0!' in column 'x' was read as"),
        (["12,34,567", "1,23,456.5"], [1234567, 123456.5], "thousands commas"),
    ],
)
def test_kind_41_numbers_as_people_write_them(tmp_path, cells, numbers, word):
    content = "x,y\n" + "".join(f'"{cell}",1\n' for cell in cells)
    table = _read(tmp_path, content.encode())
    np.testing.assert_array_equal(table.frame["x"], numbers)
    assert word is None or any(word in note for note in table.notes)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ("$1,€2", "have a unit"),
        ("5%,7", "have a unit"),
        ("555-1234,5", None),
        ("-,x", None),
        ("(a),1", None),
        ("1_000,2_000", None),
        ("9007199254740993,1", "codes"),
        ("100000000000000000007,100000000000000000008", "codes"),
    ],
)
def test_kind_41_what_is_no_number_stays_text(tmp_path, cells, note):
    content = "x,y\n" + "".join(f"{cell},1\n" for cell in cells.split(","))
    table = _read(tmp_path, content.encode())
    assert table.frame["x"].tolist() == cells.split(",")
    assert any(note in text for text in table.notes) if note else len(table.notes) == 1


def test_kind_41_labels_are_not_missing_by_a_dash(tmp_path):
    table = _read(tmp_path, b"x,y\n1,3\n2,-\n3,4\n")
    assert stray_text(table, "y") == (3, "-")


@pytest.mark.parametrize(
    ("content", "lines", "note"),
    [
        (b"# by the lab\n#\nx,y\n1,2\n# checked\n3,4\n", [4, 6], "Comments skipped"),
        (b"sep=;\r\nx;y\r\n1;2\r\n", [3], "sep=;"),
        (b"\n\nx,y\n1,2\n", [4], None),
        (b"x,y\r1,2\r3,4\r", [2, 3], None),
        (b"x,y,,\n1,2,,\n", [2], "neither a name nor values: 2"),
        (b"x,y\n1,2,\n3,4,\n", [2, 3], None),
        (b",x,y\n0,1,2\n2,3,4\n", [2, 3], "counts rows"),
    ],
)
def test_kind_41_lines_that_are_no_rows(tmp_path, content, lines, note):
    table = _read(tmp_path, content)
    assert list(table.frame.columns) == ["x", "y"]
    assert table.frame.index.tolist() == lines
    assert note is None or any(note in text for text in table.notes)


def test_kind_41_a_column_without_a_name_that_does_not_count_is_kept(tmp_path):
    table = _read(tmp_path, b",y\n5,1\n1,2\n3,3\n")
    assert table.frame["(unnamed)"].tolist() == [5, 1, 3]


def test_kind_41_two_encodings_in_one_file(tmp_path):
    content = "x,y\nZürich,1\n".encode() + "Köln,2\n".encode("cp1252")
    with pytest.raises(BadTable, match=r"line 2, and lines in another .* line 3"):
        _read(tmp_path, content)
    assert _read(tmp_path, content, encoding="latin-1").frame["x"][3] == "Köln"


def test_kind_41_an_open_quotation_mark(tmp_path):
    with pytest.raises(BadTable, match=r"line 2,.*quotation mark may be open"):
        _read(tmp_path, b'x,y\n"1,2\n3,4\n')


def test_kind_41_a_header_may_begin_with_a_hash(tmp_path):
    assert list(_read(tmp_path, b"#x,y\n1,2\n").frame.columns) == ["#x", "y"]


def test_kind_41_line_of_a_fault_after_a_preamble(tmp_path):
    with pytest.raises(BadTable, match="3 cells in line 5"):
        _read(tmp_path, b'# by the lab\nx,y\n1,"a\nb"\n1,2,3\n')


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_kind_41_files_are_unpacked_by_what_they_hold(tmp_path, pack, name):
    path = tmp_path / name
    path.write_bytes(pack(b"x,y\n1,2\n"))
    assert read_table(str(path)).frame["x"].tolist() == [1]


def test_kind_41_archives(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x,y\n1,2\n")
    assert read_table(str(path)).frame["x"].tolist() == [1]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", "x,y\n1,2\n")
    with pytest.raises(BadTable, match="2 files"):
        read_table(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    with pytest.raises(BadTable, match=r"call it \.xlsx"):
        read_table(str(path))
    path.write_bytes(b"PK nothing")
    with pytest.raises(BadTable, match="unpacked"):
        read_table(str(path))


def test_kind_41_typed_files_are_read_as_text_is(tmp_path, monkeypatch):
    frame = pd.DataFrame(
        {
            "site": ["NA", "B", "B"],
            "y": pd.array([True, None, False], dtype="boolean"),
            "x": [1.5, "n.d.", 2],
            "z": ["1,5", "2,5", None],
            "smokes": [True, False, True],
        },
        index=pd.Index([7, 8, 9], name="nr"),
    )
    monkeypatch.setattr(pd, "read_parquet", lambda path: frame.copy())
    table = read_table("a.parquet", names=("site", "y"))
    assert table.frame.index.tolist() == [2, 3, 4]
    assert table.frame["nr"].tolist() == [7, 8, 9]
    assert table.frame["site"].tolist() == ["NA", "B", "B"]
    assert table.frame["y"].dropna().to_dict() == {2: "True", 4: "False"}
    assert table.frame["smokes"].tolist() == ["True", "False", "True"]
    np.testing.assert_array_equal(table.frame["x"], [1.5, np.nan, 2])
    np.testing.assert_array_equal(table.frame["z"], [1.5, 2.5, np.nan])
    more = read_table("a.parquet", names=("site", "x"), na_values=["NA"])
    assert more.frame["site"].isna().tolist() == [True, False, False]
    assert stray_text(more, "x") == (3, "n.d.")
    with pytest.raises(BadTable, match="--sep is for text files"):
        read_table("a.parquet", sep=";")


def test_kind_41_other_sheets_are_named(monkeypatch):
    class Book:
        sheet_names = ["2023", "2024", "notes"]

        def __init__(self, path):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def parse(self, **options):
            flags = pd.Series([True, None], dtype=object)
            return pd.DataFrame(
                {"Unnamed: 0": [0, 5], "site": ["A", "NA"], "x": ["", 2.5], "y": flags}
            )

    monkeypatch.setattr(pd, "ExcelFile", Book)
    table = read_table("a.xlsx", names=["site", "y"])
    assert table.frame["site"].tolist() == ["A", "NA"]
    np.testing.assert_array_equal(table.frame["x"], [np.nan, 2.5])
    assert table.frame["y"].dropna().tolist() == ["True"]
    assert "counts rows" in table.notes[1]
    assert "first sheet, '2023', was read" in table.notes[2]
    assert "('2024', 'notes')" in table.notes[2]


def test_kind_41_a_label_that_never_repeats_is_no_class(data, capsys):
    path = data(lambda df: df.assign(y=[f"P{k}" for k in range(60)]))
    _failed(
        capsys, ["report", path, "--target", "DE", *COLUMNS],
        "60 distinct values", "classes repeat",
    )  # fmt: skip


def test_codes_are_categories_where_the_user_says_so(data, capsys):
    path = data(lambda df: df.assign(zip=[10115, 69001, 75002] * 20))
    args = ["report", path, "--target", "DE", *COLUMNS]
    options = ["--folds", "2", "--quick", "--quiet", "--category", "zip"]
    assert main([*args, *options]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Read as category: [^.]*\bzip\b", out)
    assert "quick report" in out
    for column, word in (("site", "another option"), ("none", "is no column")):
        _failed(capsys, [*args, "--category", column], "--category", word)


def test_the_report_begins_with_how_the_file_was_read(data, capsys, tmp_path):
    page = tmp_path / "report.html"
    options = ["--folds", "2", "--quiet", "--out", str(page)]
    path = data(lambda df: df.assign(nr=np.arange(60), site2=df["site"]))
    assert main(["report", path, "--target", "DE", *COLUMNS, *options]) == 0
    out = capsys.readouterr().out
    for text in (out, page.read_text()):
        assert "How the table was read" in text
        assert "Left out as a copy of the domain: site2" in " ".join(text.split())
        assert "classification: labels are 2 classes (no, yes)" in " ".join(
            text.split()
        )
    assert "60 rows and 8 columns" in out


def _with_patients(df):
    return df.assign(patient=[f"p{k // 2}" for k in range(len(df))])


def test_kind_03_groups_are_a_column_of_the_file(data, capsys, tmp_path):
    numbers = tmp_path / "report.json"
    options = ["--groups", "patient", "--folds", "2", "--quiet", "--json", str(numbers)]
    path = data(_with_patients)
    assert main(["report", path, "--target", "DE", *COLUMNS, *options]) == 0
    content = json.loads(numbers.read_text())
    assert content["guard"]["counted"] == "groups"
    assert content["settings"]["groups"] == 2
    assert content["settings"]["columns"] == 3  # the group is no feature
    assert "belong to" in " ".join(capsys.readouterr().out.split())


def test_kind_03_wrong_groups_get_one_line(data, capsys):
    def change(df):
        df = _with_patients(df)
        row = df.index[(df["site"] == "DE") & df["y"].notna()][1]
        df.loc[row, "patient"] = None
        return df

    start = ["report", data(change), "--target", "DE", *COLUMNS]
    _failed(capsys, [*start, "--groups", "patient"], "--groups 'patient'", "line")
    _failed(capsys, [*start, "--groups", "person"], "--groups 'person' is no column")
    _failed(capsys, [*start, "--groups", "y"], "--groups 'y' is the column")
    both = ["--groups", "patient", "--drop", "patient"]
    _failed(capsys, [*start, *both], "--drop leaves out the column of --groups")


def test_points_are_read_as_thousands_where_there_are_thousands(tmp_path):
    """A column of 154.3 beside one of 1.234,5 has decimal points, and no note."""
    lines = [f"{150 + k / 10:.1f};{k + 1}.234,5" for k in range(9)]
    table = _read(tmp_path, "\n".join(["size;sales", *lines]).encode())
    assert table.frame["size"].tolist() == [150 + k / 10 for k in range(9)]
    assert table.frame["sales"].tolist() == [1000 * (k + 1) + 234.5 for k in range(9)]
    notes = [note for note in table.notes if "thousands points" in note]
    assert len(notes) == 1
    assert "'sales'" in notes[0]
