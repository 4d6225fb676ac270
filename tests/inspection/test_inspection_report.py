"""The report: its verdicts, its tables, and its ways out."""

import json
import re
from dataclasses import fields
from html import unescape
from html.parser import HTMLParser

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy.stats import t
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._domains import check_domains
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.datasets import from_frame, make_concept_shift
from sktransfer.exceptions import DomainError
from sktransfer.inspection import TransferReport, transfer_report
from sktransfer.inspection import _report_portfolio as report_portfolio
from sktransfer.inspection._report import _check
from sktransfer.inspection._report_models import (
    column_notes,
    infer_task,
    make_preprocessor,
    read_columns,
    target_only,
)
from sktransfer.inspection._report_portfolio import member_name
from sktransfer.inspection._report_steps import Run, error_of, score_sources
from sktransfer.inspection._report_text import listed, number
from sktransfer.metrics import cross_val_ntg, gap_learning_curve, subset_influence
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.multisource import UOWQ
from sktransfer.safe import TransferGuard, TransferPortfolioRegressor

METHODS = {"pooled": Pooled(Ridge()), "source only": SourceOnly(Ridge())}


def _concept(shift, n_labeled=12, n_source=50, **options):
    options = {"noise": 0.3, "random_state": 0, **options}
    return make_concept_shift(n_source, n_labeled=n_labeled, shift=shift, **options)


def _helpful():
    """Sources with the target's own rule, and few noisy labels."""
    return _concept([0.0, 0.0], 32, 150, n_features=30, noise=1.0)


def _report(data, **options):
    options = {"estimators": METHODS, "n_repeats": 1, **options}
    return transfer_report(data.X, data.y, data.sample_domain, **options)


def _rows(data):
    return data.X, data.y, data.sample_domain


def _mixed(n=64, n_labeled=8):
    """A frame with numbers, text, missing values and string labels."""
    rng = np.random.RandomState(0)
    df = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "color": rng.choice(["red", "blue"], n),
            "shop": np.repeat(["A", "B", "T", "T"], n // 4),
        }
    )
    df["bought"] = np.where(df["size"] + (df["color"] == "red") > 0.5, "yes", "no")
    df.loc[[1, 40], "size"] = np.nan
    df.loc[[2, 41], "color"] = None
    df.loc[n // 2 + n_labeled :, "bought"] = None
    return from_frame(df, label="bought", domain="shop", target="T")


@pytest.fixture(scope="module")
def helped():
    return _report(_helpful())


@pytest.fixture(scope="module")
def default():
    """The default methods on a mixed frame."""
    data = _mixed()
    return transfer_report(
        data.X, data.y, data.sample_domain, domain_names=data.domain_names, cv=2,
        n_repeats=1,
    )  # fmt: skip


class _Reader(HTMLParser):
    """Checks that tags are balanced and keeps what the page refers to."""

    VOID = {"meta", "img", "br", "hr", "link"}

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links, self.tags = [], [], [], []
        self.attributes = {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.attributes.setdefault(tag, []).append(attrs)
        self.links += [attrs[k] for k in ("src", "href", "action") if k in attrs]
        if tag == "img":
            self.images.append(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _read(page):
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def test_equal_sources_help(helped):
    assert helped.verdict == "transfer"
    assert helped.recommendation.startswith("Transfer from source 1 and source 2 with")
    best = helped.methods.iloc[0]
    assert best["method"] != "target only"
    assert best["joint_high"] < 0
    assert isinstance(helped.recommended, TransferPortfolioRegressor)
    assert helped.recommended.transferred_
    assert set(helped.members["member"]) == {*METHODS, "target only"}
    assert helped.members["weight"].sum() == pytest.approx(1.0)


def test_far_sources_are_refused():
    report = _report(_concept([5.0], n_labeled=40))
    assert report.verdict == "do_not_transfer"
    assert report.methods["method"][0] == "target only"
    assert isinstance(report.recommended, TransferPortfolioRegressor)
    assert report.recommended.weights_ == {"target only": 1.0}
    assert report.members["uses_sources"].to_list() == [False]
    assert report.sources["effect"].to_list() == ["hurts"]
    assert report.to_label == ""


def test_a_gap_that_may_be_chance_is_undecided():
    data = _concept([1.0], n_labeled=8, noise=1.0)
    report = _report(data)
    assert report.verdict == "undecided"
    assert isinstance(report.recommended, TransferPortfolioRegressor)
    assert "may be chance" in report.recommendation
    more = report.more_labels
    assert more["labels_needed"] > more["n_labeled"] == 8
    assert more["low"] <= more["gap"] <= more["high"]
    assert f"{more['probability']:.0%}" in report.to_label
    assert f"{int(more['goal'])}" in report.to_label
    # the number is that of the learning curve, not the square root of today's gap
    curve = gap_learning_curve(
        METHODS[more["method"]], data.X, data.y, sample_domain=data.sample_domain,
        n_repeats=2, random_state=report_seed(),
    )  # fmt: skip
    assert (
        curve.labels_needed(confidence=0.9, interval_for="fitted")
        == (more["labels_needed"])
    )


def report_seed():
    """Seed of the steps of a report with ``random_state=0``."""
    return np.random.RandomState(0).randint(np.iinfo(np.int32).max)


def test_rows_to_label_for_a_model_are_those_of_query_target():
    data = _concept([0.0, 2.0], n_labeled=8, n_unlabeled=40)
    report = _report(data, estimators={"pooled": Pooled(Ridge())})
    unlabeled = np.flatnonzero(np.isnan(data.y))
    assert set(report.label_for_model) <= set(unlabeled)
    assert len(set(report.label_for_model)) == 20
    assert "no random sample" in report.to_label
    page = report.to_html()
    assert ", ".join(map(str, report.label_for_model)) in page
    grouped = _report(
        data, groups=np.arange(len(data.y)) // 2, max_samples=30,
        estimators={"pooled": Pooled(Ridge())},
    )  # fmt: skip
    assert set(grouped.label_for_model) <= set(unlabeled)
    if grouped.more_labels is not None:
        assert grouped.more_labels["counted"] == "groups"


def test_a_negligible_gap_is_not_worth_the_sources():
    data = _concept([0.3], n_labeled=200)
    report = _report(data, estimators={"light": Pooled(Ridge(), source_weight=1e-4)})
    assert report.verdict == "do_not_transfer"
    assert abs(report.methods["ntg"]).max() < 0.01 * report.methods["error"].min()


def test_methods_are_those_of_cross_val_ntg():
    data = _concept([0.0, 3.0])
    folds = KFold(4, shuffle=True, random_state=0)
    report = _report(data, cv=folds, confidence_level=0.8)
    table = report.methods.set_index("method")
    for name, estimator in METHODS.items():
        result = cross_val_ntg(
            estimator, data.X, data.y, sample_domain=data.sample_domain, cv=folds,
            scoring="neg_root_mean_squared_error", confidence_level=0.8,
        )  # fmt: skip
        assert table.loc[name, "ntg"] == pytest.approx(result.ntg)
        assert table.loc[name, ["low", "high"]].to_list() == pytest.approx(
            result.interval.tolist()
        )
        assert table.loc[name, "error"] == pytest.approx(-result.transfer_scores.mean())
    assert table.loc["target only", "ntg"] == 0
    assert table["error"].is_monotonic_increasing


def test_joint_level_is_that_of_bonferroni():
    """The level 1 - (1 - confidence_level) / m."""
    report = _report(_concept([0.0]), confidence_level=0.9)
    line = report.methods[report.methods["method"] == "pooled"].iloc[0]
    ratio = (line["joint_high"] - line["joint_low"]) / (line["high"] - line["low"])
    # two methods; half of the rows but one count as degrees of freedom; folds of two
    # and of three rows weigh the same, so that 12 rows say as much as 11.5
    dof = (1 / (6 / 10**2 + 6 / 15**2) - 1) / 2
    assert ratio == pytest.approx(t.ppf(0.975, dof) / t.ppf(0.95, dof))


def test_reproducible_and_input_unchanged(helped):
    data = _helpful()
    before = data.X.copy(), data.y.copy(), data.sample_domain.copy()
    data.X.setflags(write=False)
    again = _report(data)
    assert again.to_json() == helped.to_json()
    for old, new in zip(before, (data.X, data.y, data.sample_domain), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("switch", [True, False])
def test_routing_switch_is_no_matter(switch):
    data = _concept([0.0])
    methods = {"piped": make_pipeline(StandardScaler(), Pooled(Ridge()))}
    with sklearn.config_context(enable_metadata_routing=switch):
        report = _report(data, estimators=methods)
    assert np.isfinite(report.methods["ntg"]).all()


def test_default_methods_on_a_mixed_frame(default):
    assert set(default.methods["method"]) == {*default.estimators, "target only"}
    assert default.methods["error"].notna().all()
    assert default.sources["source"].to_list() == ["A", "B"]
    assert default.target == "T"
    assert default.task == "classification"
    assert set(default.source_weights["method"]) == {
        "KMM", "UOWQ", "pooling of the better half",
    }  # fmt: skip
    assert default.guard["held_out_rows"] == 8
    assert default.learning_curve is None
    assert any("learning curve" in note for note in default.notes)
    assert any("Only 8 target rows" in note for note in default.notes)
    data = _mixed()
    assert set(default.label_next) <= set(np.flatnonzero(pd.isna(data.y)))


def test_the_recommended_model_is_fitted_and_saved(default, tmp_path):
    data = _mixed()
    expected = default.recommended.predict(data.X)
    assert set(expected) <= {"yes", "no"}
    path = tmp_path / "model.joblib"
    saved = default.save_model(path)
    np.testing.assert_array_equal(joblib.load(path).predict(data.X), expected)
    assert f"joblib.load({str(path)!r})" in unescape(saved.to_html())
    assert 'report.save_model("model.joblib")' in unescape(default.to_html())
    again = clone(default.recommended)
    again.fit(data.X, data.y, sample_domain=data.sample_domain)
    np.testing.assert_array_equal(again.predict(data.X), expected)


def test_members_have_the_names_of_the_domains(default):
    members = default.members["member"].tolist()
    assert "linear model of the target alone" in members
    assert len(set(members)) == len(members)
    source = default.sources["source"][0]
    names = {3: source, -1: "T"}
    assert member_name("source_3_trees", names) == f"boosted trees of {source} alone"
    assert member_name("my own", names) == "my own"
    for key in default.recommended.weights_:
        assert "_" not in member_name(key, {1: "A", 2: "B", -1: "T"})


def test_a_source_that_hurts_is_left_out_of_the_model():
    data = _concept([0.0, 6.0], n_labeled=30)
    report = _report(data, domain_names={1: "near", 2: "far", -1: "here"})
    assert report.leave_out == ["far"]
    assert "Leave out far. Pooled with the target alone it raises" in str(report)
    assert 'class="leave-out">Leave out far.' in report.to_html()
    pooled = report.recommended.members_["pooled"].estimator_
    rows = (data.sample_domain != 2) & ~np.isnan(data.y)
    expected = Ridge().fit(data.X[rows], data.y[rows]).coef_
    np.testing.assert_allclose(pooled.coef_, expected)


def test_a_part_of_a_source_that_hurts_is_named():
    """The report advises to leave out X, or class c of X."""
    rng = np.random.RandomState(0)
    domain = np.repeat([1, 2, 3, -1], [60, 60, 60, 60])
    X = rng.normal(size=(240, 2))
    y = np.where(X[:, 0] + 0.3 * rng.normal(size=240) > 0, "yes", "no")
    X[(domain == 2) & (y == "yes"), 0] -= 4
    report = transfer_report(
        X, y, domain, domain_names={1: "a", 2: "b", 3: "c", -1: "t"}, n_repeats=1,
        estimators={"pooled": Pooled(LogisticRegression())},
    )  # fmt: skip
    table = report.parts.set_index(["source", "class"])
    assert len(table) == 9 and table["rows"].sum() == 2 * 180
    assert table.loc[("b", "yes"), "effect"] == "hurts"
    assert table.loc[("b", "no"), "effect"] != "hurts"
    assert table["influence"].idxmax() == ("b", "yes")
    advice = [line for line in report.evidence if line.startswith("Leave out")]
    assert advice[0].startswith("Leave out class yes of b: beside the other parts")
    found = subset_influence(
        Pooled(LogisticRegression(max_iter=1000)), StandardScaler().fit_transform(X), y,
        sample_domain=domain, parts="class", method="gradient", n_subsets=64,
        cv=StratifiedTargetKFold(5), scoring="accuracy",
    )  # fmt: skip
    own = table.loc[("b", "yes"), "influence"]
    assert own == pytest.approx(-found.influence[3], abs=0.08)
    assert "class yes of b" in report.to_html()
    assert list(report.factors["source"]) == ["a", "b", "c"]
    assert report.factors["joint_error"].idxmax() == 1
    assert "error of one model of both" in report.to_html()


def test_the_model_is_fitted_on_a_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr(report_portfolio, "MOST_SOURCE_ROWS", 120)
    report = _report(_concept([0.0, 0.0], n_source=80))
    assert any("a random sample of 232 of 272 rows" in note for note in report.notes)


def test_a_portfolio_that_cannot_be_fitted_is_a_note(monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("no luck")

    monkeypatch.setattr(TransferPortfolioRegressor, "fit", fail)
    report = _report(_concept([0.0]))
    assert report.recommended is None
    assert "No portfolio could be fitted: no luck" in report.notes
    assert report.members.empty
    with pytest.raises(ValueError, match="no model to save"):
        report.save_model("model.joblib")


def test_to_json_is_the_report(default, tmp_path):
    content = default.to_json(tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text() == content
    loaded = json.loads(content)
    assert set(loaded) == {f.name for f in fields(TransferReport)}
    assert loaded["verdict"] == default.verdict
    assert [m["method"] for m in loaded["methods"]] == list(default.methods["method"])
    assert loaded["methods"][0]["error"] == default.methods["error"][0]


def test_page_prints_and_needs_neither_mouse_nor_script(default):
    page = default.to_html()
    head, body = page.split("</head>")
    assert "@media print" in head and "<style" not in body
    assert "<script" not in page
    levels = [int(level) for level in re.findall(r"<h(\d)", body)]
    assert levels[0] == 1 and set(levels[1:]) == {2}
    scrolling = re.findall(r'<(?:pre|div class="table[^>]*)[^>]*>', body)
    assert scrolling and all('tabindex="0"' in tag for tag in scrolling)


def test_page_is_well_formed_and_alone(default, tmp_path):
    page = default.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    reader = _read(page)
    assert reader.attributes["html"] == [{"lang": "en"}]
    assert "<title>Transfer report for T</title>" in page
    assert len(reader.images) == 4  # gaps of methods and sources, weights, rows
    for image in reader.images:
        assert image["src"].startswith("data:image/png;base64,")
        assert len(image["alt"]) > 20
    assert all(link.startswith("data:") for link in reader.links)
    text = re.sub(r'src="data:[^"]*"', "", page)
    assert "http" not in text
    assert "url(" not in text
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert all("scope" in cell for cell in reader.attributes["th"])
    assert reader.tags.count("caption") == reader.tags.count("table")
    for method in default.methods["method"]:
        assert f'<th scope="row">{method}</th>' in page


def test_names_are_escaped():
    data = _concept([0.0])
    names = {1: "<b>bad</b>", -1: "a & b"}
    report = _report(data, domain_names=names, n_repeats=1)
    page = report.to_html()
    _read(page)
    assert "<b>" not in page
    assert "a &amp; b" in page


def test_a_long_name_does_not_fill_the_title():
    names = {1: "a source", -1: "The municipal comprehensive school number " + "9" * 40}
    page = _report(_concept([0.0]), domain_names=names, n_repeats=1).to_html()
    title = re.search("<title>(.*)</title>", page)[1]
    assert len(title) <= 70 and title.endswith("9999")
    assert f"<h1>Transfer report for {names[-1]}</h1>" in page


def test_how_the_table_was_read_comes_first(default):
    page = default.to_html()
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings[0] == "How the table was read"
    assert headings.count("How the table was read") == 1


def test_letters_without_a_font_are_stated():
    names = {1: "\U0001f642 site", -1: "T"}
    page = _report(_concept([0.0]), domain_names=names, n_repeats=1).to_html()
    assert "lack some letters" in page
    assert "\U0001f642 site" in page


def test_a_quick_report_says_so():
    data = _mixed()
    report = transfer_report(*_rows(data), cv=2, quick=True)
    assert not {"KMM", "guarded pooling"} & set(report.methods["method"])
    assert report.learning_curve is None
    assert report.settings["n_repeats"] == 1
    assert report.settings["max_samples"] == 200
    assert any("quick report" in note for note in report.notes)
    fewer = _report(_concept([0.0]), quick=True, max_samples=20)
    assert fewer.settings["max_samples"] == 20


def test_progress_is_in_lines_with_the_time_left(capsys):
    _report(_concept([0.0]), n_repeats=1, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(r"\[\d+/\d+\] ", line) for line in lines)
    assert "left" not in lines[0]
    assert all(re.search(r", about \d+ s left$", line) for line in lines[1:])


def test_columns_that_tell_the_domain_or_nothing_are_named():
    X, y, domains = _rows(_mixed())
    site = np.unique(domains, return_inverse=True)[1]
    X = X.assign(
        unit=1000 * site + np.arange(len(X)) // 2, same=3, empty=np.nan,
        region=np.where(site == 0, "north", "south"), month=np.arange(len(X)) % 12,
        nr=np.arange(len(X)) * 10,
    )  # fmt: skip
    typed, reading, _ = read_columns(X, y, domains)
    assert "Empty in every row: empty." in reading  # and left out
    assert "The same in every row: same." in reading
    assert any("tell domains apart: unit, region." in text for text in reading)
    assert any("another one in every row: nr." in text for text in reading)
    assert list(typed.columns) == [name for name in X.columns if name != "empty"]


def test_columns_are_read_once_and_hold_the_same_numbers():
    X, y, domains = _rows(_mixed())
    days = pd.date_range("2020-01-01", periods=len(X)).strftime("%Y-%m-%d")
    X = X.assign(day=days, code=[f"0{k % 5}" for k in range(len(X))])
    typed, _, roles = read_columns(X, y, domains)
    assert typed["day"].dtype.kind == "M"
    assert isinstance(typed["code"].dtype, pd.CategoricalDtype)
    raw, fast = (make_preprocessor().fit_transform(part) for part in (X, typed))
    np.testing.assert_array_equal(raw, fast)
    assert roles == {}


def test_a_broken_date_is_named():
    days = pd.date_range("2020-01-01", periods=40).strftime("%Y-%m-%d").to_numpy(object)
    broken = np.where(np.arange(40) == 7, "2020-13-45", days)
    frame = pd.DataFrame({"x": np.arange(40) % 7.0, "day": broken})
    notes = column_notes(frame.assign(kind=pd.Categorical(days)))
    assert sum("mostly dates" in note for note in notes) == 1
    assert "Column 'day' holds mostly dates but also '2020-13-45'" in notes[-1]
    only = pd.DataFrame({"nr": np.arange(40)})
    with pytest.raises(ValueError, match="Add other columns"):
        column_notes(only)


@pytest.mark.parametrize("as_array", [False, True, "objects"])
def test_the_recommended_model_leaves_out_what_the_report_left_out(as_array, routing):
    X, y, domains = _rows(_mixed(120, 24))
    copy = np.array([np.nan if v is None else float(v == "yes") for v in y])
    X = X.assign(copy=copy, nr=np.arange(len(X)))
    if as_array:
        X = X[["size", "copy", "nr"]].to_numpy()
        X = X.astype(object) if as_array == "objects" else X
    report = transfer_report(X, y, domains, cv=2, quick=True)
    model = report.recommended
    other = X.copy()
    if as_array:
        other[:, 1] = 1 - other[:, 1]
    else:
        other["copy"] = 1 - other["copy"]
    np.testing.assert_array_equal(model.predict(X), model.predict(other))
    if not as_array:  # new rows have neither number nor label
        without = other.drop(columns=["copy", "nr"])
        np.testing.assert_array_equal(model.predict(X), model.predict(without))
    if as_array:  # of a frame the portfolio leaves them out itself, with a warning
        again = clone(model).fit(X, y, sample_domain=domains)
        np.testing.assert_array_equal(again.predict(X), again.predict(other))


def test_notebook_gets_a_fragment(helped):
    fragment = helped._repr_html_()
    _read(fragment)
    assert "<html" not in fragment
    assert "max-width: none" in fragment


def test_text_of_the_report(default):
    text = str(default)
    assert text == default.summary()
    assert max(map(len, text.splitlines())) < 100
    assert "TransferReport(target='T'" in repr(default)


def test_learning_curve_with_enough_labels():
    report = _report(_concept([0.0], n_labeled=20))
    assert report.learning_curve["n_labels"].nunique() > 2
    assert len(_read(report.to_html()).images) == 3  # methods, rows, curve


@pytest.mark.parametrize("labeled", [0, 1])
def test_without_enough_labels_nothing_is_claimed(labeled):
    data = _concept([0.0, 2.0], n_labeled=1, n_unlabeled=20)
    y = data.y.copy()
    if not labeled:
        y[data.sample_domain < 0] = np.nan
    report = transfer_report(data.X, y, data.sample_domain, estimators=METHODS)
    assert report.verdict == "unknown"
    assert report.recommended is None
    assert report.guard is None
    assert report.methods.empty
    assert np.isfinite(report.sources["proxy_a_distance"]).all()
    assert ("source_model_error" in report.sources) == bool(labeled)
    assert len(report.label_next) == 20
    assert "Label at least" in report.to_label
    _read(report.to_html())
    json.loads(report.to_json())
    assert "cannot be known" in str(report)


def test_no_label_at_all():
    data = _concept([0.0])
    report = transfer_report(data.X, None, data.sample_domain)
    assert report.verdict == "unknown"
    assert report.domains["labeled"].sum() == 0


def test_one_target_class_is_stated():
    rng = np.random.RandomState(0)
    X, domain = rng.normal(size=(40, 2)), np.repeat([1, -1], 20)
    y = np.where(np.arange(40) < 25, 1, -1)
    y[:10] = 0
    report = transfer_report(
        X, y, domain, estimators={"pooled": Pooled(LogisticRegression())}
    )
    assert "all 5 labeled target rows are of one class, 1" in report.recommendation


def test_large_domains_are_sampled():
    data = _concept([0.0, 1.0], n_labeled=40)
    report = _report(data, max_samples=30)
    assert report.sources["rows"].to_list() == [30, 30]
    assert report.domains["rows"].to_list()[1:] == [50, 50]
    assert any("30 of 50 rows of source 1" in note for note in report.notes)
    assert any("With all labeled target rows" in note for note in report.notes)


class _Failing(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise ValueError("it never works")

    def predict(self, X):
        raise AssertionError


def test_a_method_that_fails_is_named():
    rng = np.random.RandomState(0)
    X, domain = rng.normal(size=(60, 2)), np.repeat([1, -1], 30)
    y = (X[:, 0] > 0).astype(int)
    methods = {"bad": Pooled(_Failing()), "good": Pooled(LogisticRegression())}
    report = transfer_report(
        X, y, domain, n_repeats=1, cv=3,
        estimators={"good": methods["good"], "bad": methods["bad"]},
    )  # fmt: skip
    table = report.methods.set_index("method")
    assert np.isnan(table.loc["bad", "error"])
    assert table.loc["bad", "note"] == "it never works"
    assert np.isfinite(table.loc["good", "error"])
    assert any("bad could not be" in note for note in report.notes)
    _read(report.to_html())


def test_warnings_become_notes():
    """Nothing reaches the user's screen; pytest makes a warning an error."""
    report = _report(_concept([0.0], n_labeled=3), n_repeats=1)
    assert report.verdict in ("undecided", "do_not_transfer", "transfer")


def test_frames_of_polars_and_pandas_agree():
    data = _mixed()
    columns = {
        name: [None if pd.isna(v) else v for v in data.X[name]] for name in data.X
    }
    reports = [
        transfer_report(X, None, data.sample_domain)
        for X in (data.X, pl.DataFrame(columns), data.X.to_numpy(dtype=object))
    ]
    for report in reports[1:]:
        pd.testing.assert_frame_equal(report.sources, reports[0].sources)


def test_preprocessor_takes_every_type_of_column():
    n = 12
    df = pd.DataFrame(
        {
            "whole": pd.array([1, None, *range(n - 2)], dtype="Int64"),
            "real": [np.nan, *np.linspace(0, 1, n - 1)],
            "truth": np.arange(n) % 2 == 0,
            "maybe": pd.array([None, *[True] * (n - 1)], dtype="boolean"),
            "text": pd.Series([None, np.nan, *"abababcabc"], dtype=object),
            "kind": pd.Categorical([None, *"xyxyxyxyxyx"]),
            "day": pd.date_range("2020-01-01", periods=n),
            "empty": np.full(n, np.nan),
        }
    )
    before = df.copy()
    with pytest.warns(UserWarning, match="leaves out 'empty'"):
        features = make_preprocessor().fit(df).transform(df)
    assert np.isfinite(features).all()
    pd.testing.assert_frame_equal(df, before)
    numbers = make_preprocessor()
    scaled = numbers.fit_transform(df[["real"]].to_numpy())
    np.testing.assert_allclose(scaled.std(axis=0), 1)


def test_unseen_categories_are_no_error():
    train = pd.DataFrame({"c": ["a", "b"] * 5})
    new = pd.DataFrame({"c": ["z", None]})
    assert make_preprocessor().fit(train).transform(new).shape == (2, 2)


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([0, 1, 2], "classification"),
        ([0.0, 1.0], "classification"),
        ([0.5, 1.5], "classification"),
        ([0.5, 1.5, 2.0], "regression"),
        (np.arange(11), "regression"),
    ],
)
def test_task_is_inferred(labels, task):
    assert infer_task(np.asarray(labels)) == task


def test_kind_40_the_estimators_type_decides_what_whole_numbers_are():
    ratings, text = np.arange(20) % 5 + 1, np.array(["a", "b"] * 10)
    ages = np.arange(40)
    assert infer_task(ratings) == "classification"
    assert infer_task(ratings, [Ridge()]) == "regression"
    assert infer_task(ratings, [LogisticRegression()]) == "classification"
    assert infer_task(ages, [Pooled(LogisticRegression())]) == "classification"
    assert infer_task(ratings, [Ridge(), LogisticRegression()]) == "classification"
    assert infer_task(ages + 0.5, [LogisticRegression()]) == "regression"
    assert infer_task(text, [Ridge()]) == "classification"
    halves = np.arange(20) % 2 + 0.5
    assert infer_task(halves, [Ridge()]) == "regression"


def test_two_numbers_that_are_not_whole_are_asked_about():
    data = _concept([0.0])
    y = np.where(np.isnan(data.y), np.nan, np.where(data.y > 0, 1.5, 0.5))
    words = r"0\.5 and 1\.5, which may be classes or quantities\. Say task='regression'"
    with pytest.raises(ValueError, match=words):
        transfer_report(data.X, y, data.sample_domain)
    data.y = y
    with pytest.raises(ValueError, match=words):
        _report(data, estimators={"a": Pooled(LogisticRegression())})
    assert _check(data.X, y, data.sample_domain, "auto", [Ridge()])[1] == "regression"


@pytest.mark.parametrize(
    ("scoring", "best", "name"),
    [
        ("accuracy", 1.0, "error rate"),
        ("neg_root_mean_squared_error", 0.0, "root mean squared error"),
        ("neg_log_loss", 0.0, "log loss"),
        ("r2", 1.0, "1 - r2"),
    ],
)
def test_error_names(scoring, best, name):
    assert error_of(scoring) == (best, name)


def test_target_only_learner():
    learner = LogisticRegression(C=3.0)
    piped = make_pipeline(StandardScaler(), Pooled(learner))
    found = target_only(TransferGuard(piped))
    assert isinstance(found[-1], TargetOnly)
    assert found[-1].estimator.C == 3.0
    assert len(found) == 2


def test_words():
    assert listed(["a"]) == "a"
    assert listed("ab") == "a and b"
    assert listed("abcdefgh") == "a, b, c, d, e and 3 others"
    assert number(np.nan) == "-"
    assert number(np.inf) == "infinity"
    shown = [number(v) for v in (0.012345, -3.14159, 999.4, 6177.3, -10725, 1.2e8)]
    assert shown == ["0.0123", "-3.14", "999", "6177", "-10725", "1.20e+08"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"estimators": {}}, ValueError, "estimators is empty"),
        ({"estimators": {"a": Ridge()}}, TypeError, "does not know domains"),
        ({"estimators": {"a": 3}}, TypeError, "no fit and predict"),
        (
            {"estimators": {"a": Pooled(LogisticRegression())}},
            TypeError,
            "does not predict quantities",
        ),
        (
            {"estimators": {"target only": METHODS["pooled"]}},
            ValueError,
            "reserved|name",
        ),
        ({"estimators": None, "learner": LogisticRegression()}, TypeError, "regressor"),
        ({"task": "classification"}, ValueError, "not whole"),
        ({"cv": 1}, ValueError, "cv"),
        ({"scoring": "nonsense"}, ValueError, "scoring"),
        ({"domain_names": {1: "x", -1: "x"}}, ValueError, "domain_names"),
    ],
)
def test_bad_arguments_are_named(options, error, words):
    with pytest.raises(error, match=words):
        _report(_concept([0.0]), **options)


def test_bad_domains_are_named():
    data = _concept([0.0])
    with pytest.raises(DomainError, match="at least one source"):
        transfer_report(data.X[-12:], data.y[-12:], np.full(12, -1))
    two = np.where(np.arange(len(data.y)) == len(data.y) - 1, -2, data.sample_domain)
    with pytest.raises(DomainError, match="2 targets"):
        transfer_report(data.X, data.y, two)
    text = np.where(data.sample_domain > 0, "a", "b")
    with pytest.raises(ValueError, match="needs numbers in y"):
        transfer_report(data.X, text, data.sample_domain, task="regression")


def test_pictures_of_many_sources_are_cut():
    rng = np.random.RandomState(0)
    X, domain = (
        rng.normal(size=(100, 2)),
        np.repeat([*range(1, 31), -1], [3] * 30 + [10]),
    )
    methods = {"UOWQ": UOWQ(Ridge())}
    report = transfer_report(X, X[:, 0], domain, estimators=methods, cv=2, n_repeats=1)
    assert len(report.sources) == 30
    page = report.to_html()
    assert "6 sources in between are left out" in page
    assert "The 6 sources with the smallest weights" in page
    assert report.embedding["domain"].nunique() == 6  # the target and five
    assert "The 5 nearest sources" in page
    heights = [int(image["height"]) for image in _read(page).images]
    assert max(heights) < 1500
    assert "and 18 with larger gaps" in str(report)


def _patients(seed=0, n_patients=12, per=4):
    """A source, and target patients whose rows are copies with their own offset."""
    rng = np.random.default_rng(seed)
    w = np.array([1.0, -1.0, 0.5])
    X_source = rng.normal(size=(80, 3))
    X_target = np.repeat(rng.normal(size=(n_patients, 3)), per, axis=0)
    X_target = X_target + 0.05 * rng.normal(size=X_target.shape)
    offset = np.repeat(rng.normal(size=n_patients), per)
    y = np.r_[X_source @ w, X_target @ w + offset] + 0.1 * rng.normal(
        size=80 + n_patients * per
    )
    domain = np.r_[np.ones(80, int), -np.ones(n_patients * per, int)]
    groups = np.r_[np.full(80, None), np.repeat(np.arange(n_patients), per)]
    return np.r_[X_source, X_target], y, domain, groups


def test_kind_03_groups_are_held_out_as_a_whole_and_counted():
    X, y, domain, groups = _patients()
    knn = KNeighborsRegressor(1)
    methods = {"source only": SourceOnly(knn), "pooled": Pooled(Ridge())}
    options = {"estimators": methods, "n_repeats": 1, "cv": 4}
    report = transfer_report(X, y, domain, groups=groups, **options)
    loose = transfer_report(X, y, domain, **options)
    assert report.settings["groups"] == 12 and loose.settings["groups"] is None
    frame = report.methods.set_index("method")
    copies = loose.methods.set_index("method")
    # rows of the same patient in training flatter the target alone
    assert frame.ntg["source only"] < 0 < copies.ntg["source only"]
    assert report.guard["held_out_rows"] == 12 and report.guard["counted"] == "groups"
    assert loose.guard["held_out_rows"] == 48 and loose.guard["counted"] == "rows"
    assert "12 held-out groups" in report.summary()
    notes = " ".join(report.notes)
    assert "48 labeled target rows belong to 12 groups" in notes
    assert "Only 12 groups of target rows are labeled" in notes
    assert not any("could not" in note for note in report.notes)
    assert report.learning_curve is not None
    gaps = report.transferability.set_index("score").value["ntg"]
    assert gaps == pytest.approx(report.sources.ntg[0])
    json.loads(report.to_json())


def test_kind_03_groups_that_do_not_fit_are_named():
    X, y, domain, groups = _patients()
    with pytest.raises(ValueError, match="groups has shape"):
        transfer_report(X, y, domain, groups=groups[1:], estimators=METHODS)
    groups[100] = None
    with pytest.raises(ValueError, match="groups has no value for 1 labeled"):
        transfer_report(X, y, domain, groups=groups, estimators=METHODS)


def test_kind_03_groups_of_a_sample_of_the_rows():
    X, y, domain, groups = _patients(n_patients=20)
    report = transfer_report(
        X, y, domain, groups=groups, estimators=METHODS, max_samples=40, n_repeats=1
    )
    assert not any("could not" in note for note in report.notes)


def test_a_source_of_one_class_stands_in_a_note(rng):
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 2
    domain = np.repeat([1, 2, -1], 20)
    y[domain == 1] = 0
    data = check_domains(X, y, domain)
    folds = [(np.arange(50), np.arange(50, 60)), (np.r_[:40, 50:60], np.arange(40, 50))]
    run = Run(
        data, {1: "N", 2: "M", -1: "home"}, "accuracy", 2, 1, 0.95, None, 0,
        groups=np.arange(60),
    )  # fmt: skip
    found = score_sources(run, Pooled(LogisticRegression()), True, folds)
    undefined = found[found["value"].isna()]
    assert set(zip(undefined["source"], undefined["score"], strict=True)) == {
        ("N", "source_model"), ("N", "leep"), ("N", "nce"),
    }  # fmt: skip
    assert run.notes == [
        "The model of N alone has no score: all labels of this source are 0, and no "
        "model is fitted on one class."
    ]
