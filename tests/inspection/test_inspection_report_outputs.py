"""Reports on several outputs: losses over all of them, and what cannot be."""

import re
from html import unescape

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeClassifier

from sktransfer.__main__ import main
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.datasets import from_frame
from sktransfer.inspection import transfer_report
from sktransfer.inspection._report_outputs import scaled_error

SIZES = {"one": 50, "two": 50, "here": 60}
NAMES = {"label": ["sick", "tired"], "domain": "site", "target": "here"}


def _table(kind):
    """Two outputs; in "two" the rule of the first is reversed."""
    rng = np.random.default_rng(0)
    site = np.repeat([*SIZES], [*SIZES.values()])
    n = len(site)
    df = pd.DataFrame(rng.normal(size=(n, 2)).round(2), columns=list("ab"))
    df["group"] = rng.choice(["u", "v"], n)
    df["site"] = site
    sign = np.where(site == "two", -1, 1)
    values = np.c_[sign * df["a"], 100 * df["b"]]
    values += 0.3 * rng.normal(size=(n, 2)) * [1, 100]
    if kind == "text":
        df["sick"], df["tired"] = np.where(values > 0, "yes", "no").T.astype(object)
        df.loc[n - 15 :, ["sick", "tired"]] = None
    else:
        df["sick"], df["tired"] = values.T
        df.loc[n - 15 :, ["sick", "tired"]] = np.nan
    df["patient"] = [f"p{k // 2}" for k in range(n)]
    return df


def _report(df, **options):
    data = from_frame(df, **NAMES, features=["a", "b", "group"])
    y = pd.DataFrame(data.y, columns=NAMES["label"])
    return transfer_report(
        data.X, y, data.sample_domain, domain_names=data.domain_names, quick=True,
        **{"cv": 3, **options},
    )  # fmt: skip


def _text(page):
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture(scope="module")
def classes():
    return _report(_table("text"))


def test_classes(classes):
    report = classes
    assert report.task == "classification"
    assert report.leave_out == ["two"]
    assert report.error_name == "error rate over all outputs"
    assert set(report.parts["source"]) == {"one", "two"}
    assert report.parts["class"].isna().all()
    df = _table("text")
    predicted = report.recommended.predict(df[["a", "b", "group"]])
    assert predicted.shape == (160, 2)
    here = (df["site"] == "here") & df["sick"].notna()
    right = (predicted == df[["sick", "tired"]].to_numpy()).all(axis=1)[here]
    assert right.mean() > 0.6
    # the error of the model of a source, by hand
    fitted = report.estimators["source only"].named_steps
    assert list(fitted) == ["preprocess", "method"]
    assert len(report.label_for_model) == 15
    assert not [n for n in report.notes if "could not" in n or "No portfolio" in n]


def test_the_page_names_what_cannot_be_and_why(classes):
    page, text = _text(classes.to_html()), " ".join(classes.summary().split())
    for words in (
        "labels are 2 outputs (sick, 2 classes (no, yes); tired, 2 classes (no, yes))",
        "A row counts as right if all 2 outputs are",
        "LEEP and NCE of the sources are not computed",
        "The factors of the error are not computed",
        "The influence of classes of a source is not computed",
        "UOWQ was not tried",
        "The picture of the rows does not show classes",
    ):
        assert words in page
        assert words in text
    labels = classes.domains["labels"][0]
    assert labels.startswith("sick: ")
    assert "; tired: " in labels


def test_polars_gives_the_same(classes):
    df = _table("text")
    other = _report(
        pl.DataFrame({c: [None if v != v else v for v in df[c]] for c in df})
    )
    np.testing.assert_allclose(
        other.methods["ntg"].astype(float), classes.methods["ntg"].astype(float)
    )
    assert other.leave_out == classes.leave_out


def test_quantities_count_alike_whatever_their_units():
    df = _table("numbers")
    methods = {"pooled": Pooled(Ridge(1e-6)), "source": SourceOnly(Ridge(1e-6))}
    options = {"estimators": methods, "n_repeats": 1}
    data = from_frame(df, **NAMES, features=["a", "b"])
    args = data.X, data.y, data.sample_domain
    one = transfer_report(*args, quick=True, **options)
    assert one.error_name == "scaled root mean squared error"
    assert "output 0, numbers from" in one.reading[0]
    assert "by squared errors in the units of the outputs" in " ".join(one.notes)
    assert one.to_json()
    two = transfer_report(
        data.X, data.y * [1, 1e-6], data.sample_domain, quick=True, **options
    )
    np.testing.assert_allclose(two.methods["error"], one.methods["error"], rtol=1e-4)
    assert one.recommended.predict(data.X).shape == (160, 2)
    # by hand: the error of the model of source "one"
    own = data.sample_domain == 1
    labeled = (data.sample_domain < 0) & ~np.isnan(data.y[:, 0])
    model = Ridge(1e-6).fit(data.X[own], data.y[own])
    expected = scaled_error(
        data.y[labeled], model.predict(data.X[labeled]),
        scale=data.y[labeled].std(axis=0),
    )  # fmt: skip
    assert one.sources["source_model_error"][0] == pytest.approx(expected)


def test_a_full_report_of_quantities():
    df = _table("numbers")
    data = from_frame(df, **NAMES, features=["a", "b"], groups="patient")
    report = transfer_report(
        data.X, data.y, data.sample_domain, groups=data.metadata["groups"], cv=2,
        n_repeats=1, estimators={"pooled": Pooled(Ridge())},
    )  # fmt: skip
    assert report.settings["groups"] == 23
    assert report.learning_curve is not None
    assert report.guard["loss"] == "scaled root mean squared error"
    assert "scaled root mean squared error" in _text(report.to_html())


def test_methods_of_the_user_and_accuracy():
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    df = _table("text")
    data = from_frame(df, **NAMES, features=["a", "b"])
    report = transfer_report(
        data.X, data.y, data.sample_domain, quick=True, scoring="accuracy",
        estimators={"tree": Pooled(tree)},
    )  # fmt: skip
    assert report.error_name == "error rate over all outputs"
    assert report.methods["error"].notna().all()


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"exposure": np.ones(160)}, "exposure is for one label"),
        ({"sick": 1.0, "tired": np.arange(160) / 7}, {}, "look like different tasks"),
    ],
)
def test_what_is_refused(change, options, words):
    with pytest.raises(ValueError, match=words):
        _report(_table("numbers").assign(**change), **options)


def test_one_class_of_an_output():
    df = _table("text")
    df.loc[(df["site"] == "here") & df["sick"].notna(), "sick"] = "no"
    report = _report(df)
    assert report.verdict == "unknown"
    assert "one class of sick, no" in report.recommendation


def _command(path, *more):
    return main(["report", str(path), "--domain", "site", "--target", "here",
                 *more])  # fmt: skip


def test_the_command_line(tmp_path, capsys):
    path, saved = tmp_path / "sites.csv", tmp_path / "m.joblib"
    df = _table("text")
    df.loc[0, "sick"] = None  # a source row that lacks one of two labels
    df.to_csv(path, index=False)
    args = ["--quick", "--quiet", "--folds", "3", "--groups", "patient", "--save",
            str(saved)]  # fmt: skip
    assert _command(path, "--label", "sick,tired", *args) == 0
    said = capsys.readouterr().out
    assert "Left out for want of a label in sick, tired: 1 of 100" in (
        " ".join(said.split())
    )
    assert joblib.load(saved).predict(df[["a", "b", "group"]]).shape == (160, 2)
    one = joblib.load(saved).predict(df[["a", "b", "group"]])
    assert set(one.ravel()) == {"yes", "no"}


@pytest.mark.parametrize(
    ("change", "labels", "words"),
    [
        ({}, ["sick,nothing"], "--label 'nothing' is no column"),
        ({}, ["sick", "--label", "sick"], "more than once"),
        ({}, ["sick", "--label", "site"], "--domain and --label are both"),
        ({}, ["sick,tired", "--drop", "tired"], "leaves out the column of --label"),
        ({}, ["sick,tired", "--exposure", "a"], "--exposure is for one label"),
        ({"tired": np.arange(160) / 7}, ["sick,tired"], "have some of the labels"),
        (
            {"tired": [*np.arange(145) / 7, *[np.nan] * 15]},
            ["sick,tired"],
            "columns of several tasks",
        ),
    ],
)
def test_wrong_arguments_get_one_line(tmp_path, capsys, change, labels, words):
    path = tmp_path / "sites.csv"
    _table("text").assign(**change).to_csv(path, index=False)
    assert _command(path, "--label", *labels) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err, err
