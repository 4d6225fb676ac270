"""Reports on counts with exposure: rates, deviances, and what cannot be."""

import re
from html import unescape

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import (
    GammaRegressor,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import get_scorer, mean_poisson_deviance

from sktransfer.__main__ import main
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.datasets import from_frame
from sktransfer.inspection import transfer_report
from sktransfer.metrics import (
    cross_val_ntg,
    gap_learning_curve,
    rank_sources,
    subset_influence,
)
from sktransfer.multisource import SourceSelector
from sktransfer.safe import TransferPortfolioRegressor

SIZES = {"north": 60, "south": 60, "here": 50}
COLUMNS = {"label": "claims", "domain": "region", "target": "here",
           "exposure": "years"}  # fmt: skip


def _table(seed=0):
    """Claims: the rate of "south" is 4 times that of the others, by no column."""
    rng = np.random.default_rng(seed)
    region = np.repeat([*SIZES], [*SIZES.values()])
    n = len(region)
    df = pd.DataFrame(
        {"age": rng.normal(size=n).round(2), "car": rng.choice(["small", "van"], n)}
    )
    df["region"], df["years"] = region, rng.uniform(0.3, 4, n).round(2)
    rate = np.exp(0.4 * df["age"] + 0.5 * (df["car"] == "van"))
    rate *= np.where(region == "south", 4, 1)
    df["claims"] = rng.poisson(rate * df["years"]).astype(float)
    df["household"] = [f"h{k // 2}" for k in range(n)]
    df.loc[n - 12 :, "claims"] = np.nan
    df.loc[n - 4 :, "years"] = np.nan
    return df


def _report(df, columns=COLUMNS, **options):
    data = from_frame(df, **columns)
    return transfer_report(
        data.X, data.y, domain_names=data.domain_names, quick=True,
        **{"cv": 3, **data.metadata, **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def report():
    return _report(_table()[[c for c in _table() if c != "household"]])


def _text(page):
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_all_comparisons_are_deviances_of_rates(report):
    df = _table()
    assert report.task == "regression"
    assert report.error_name == "mean Poisson deviance"
    assert report.settings["scoring"] == "neg_mean_poisson_deviance"
    assert report.leave_out == ["south"]
    assert set(report.parts["source"]) == {"north", "south"}
    assert report.guard["loss"] == "mean Poisson deviance"
    assert not [note for note in report.notes if "could not" in note]
    data = from_frame(df.drop(columns="household"), **COLUMNS)
    labeled = (data.sample_domain < 0) & ~np.isnan(data.y)
    exposure = data.metadata["exposure"]
    line = report.domains.set_index("domain").loc["here"]
    total = data.y[labeled].sum(), exposure[labeled].sum()
    assert line["labels"].startswith(f"rate {total[0] / total[1]:.3g} (")


def test_the_portfolio_is_fitted_with_exposures(report):
    df = _table()
    here = df[df["region"] != "south"]
    rates = report.recommended.predict(here[["age", "car"]])
    truth = np.exp(0.4 * here["age"] + 0.5 * (here["car"] == "van"))
    assert np.mean(np.abs(np.log(rates / truth))) < 0.35
    counts = report.recommended.predict(
        here[["age", "car"]], exposure=np.full(len(here), 2.0)
    )
    np.testing.assert_allclose(counts, 2 * rates)
    assert report.members["member"].str.contains("log-linear model").any()
    losses = report.members["loss"]
    assert (losses > 0).all()


def test_the_page_says_what_it_compares(report):
    page, text = _text(report.to_html()), " ".join(report.summary().split())
    for words in (
        "Labels per unit of exposure, rates, are predicted; they are compared by the "
        "mean Poisson deviance",
        "Leave out south",
    ):
        assert words in page
        assert words in text
    assert "held-out deviance" in page
    assert "multiply each by the exposure of its row" in page
    assert "squared error" not in page


def test_the_unit_of_exposure_does_not_matter(report):
    unit = 1e-3
    df = _table().drop(columns="household")
    other = _report(df.assign(years=df["years"] * unit))
    one, two = (r.methods.set_index("method") for r in (report, other))
    for column in ("error", "ntg"):  # deviances of rates are in units of rates
        np.testing.assert_allclose(
            two[column][one.index] * unit, one[column], rtol=0.02, atol=2e-3
        )
    assert other.leave_out == report.leave_out
    assert other.verdict == report.verdict


def test_polars(report):
    df = _table().drop(columns="household")
    one, two = report, _report(pl.DataFrame(df.to_dict("list")))
    assert one.verdict == two.verdict
    np.testing.assert_allclose(
        one.methods["ntg"].astype(float), two.methods["ntg"].astype(float)
    )
    new = {"age": [0.0, 1.0], "car": ["van", "small"]}
    np.testing.assert_allclose(
        one.recommended.predict(pd.DataFrame(new)),
        two.recommended.predict(pl.DataFrame(new)),
    )


@pytest.mark.parametrize(
    ("learner", "name"),
    [
        (TweedieRegressor(power=1.5, alpha=0.01), "mean Tweedie deviance"),
        (
            HistGradientBoostingRegressor(loss="poisson", max_iter=5),
            "mean Poisson deviance",
        ),
    ],
)
def test_learners_of_other_deviances(learner, name):
    df = _table().drop(columns=["household", "car"])
    df["claims"] += 1.0
    report = _report(df, learner=learner, cv=2)
    assert report.error_name == name
    assert report.methods["error"].notna().all() or "UOWQ" in str(report.notes)
    assert report.recommended is not None


def test_methods_of_the_user():
    df = _table().drop(columns=["household", "car"])
    learner = PoissonRegressor(alpha=0.01)
    methods = {"pooled": Pooled(learner), "source": SourceOnly(learner)}
    report = _report(df, estimators=methods, n_repeats=1)
    data = from_frame(df, **COLUMNS)
    exposure = data.metadata["exposure"]
    labeled = (data.sample_domain < 0) & ~np.isnan(data.y)
    own = data.sample_domain == 1
    model = learner.fit(
        data.X[own], (data.y / exposure)[own], sample_weight=exposure[own]
    )
    expected = mean_poisson_deviance(
        (data.y / exposure)[labeled], model.predict(data.X[labeled]),
        sample_weight=exposure[labeled],
    )  # fmt: skip
    assert report.sources["source_model_error"][0] == pytest.approx(expected)
    assert report.recommended is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learner": Ridge()}, "learner has none that is known"),
        ({"estimators": {"a": Pooled(Ridge())}}, r"estimators\['a'\] has none"),
        (
            {
                "estimators": {
                    "a": Pooled(PoissonRegressor()),
                    "b": Pooled(GammaRegressor()),
                }
            },
            "several powers",
        ),
        ({"task": "classification"}, "exposure is for counts"),
        ({"exposure": np.zeros(170)}, "exposure must hold 170 positive values"),
        ({"exposure": np.ones(3)}, "exposure must hold 170"),
    ],
)
def test_what_is_refused(options, words):
    df = _table().drop(columns=["household", "car"])
    with pytest.raises(ValueError, match=words):
        _report(df, **options)


def test_negative_counts_are_refused():
    df = _table().drop(columns=["household", "car"])
    df.loc[0, "claims"] = -1.0
    with pytest.raises(ValueError, match=r"labels must be 0 or more, but y holds -1"):
        _report(df)


def test_no_labeled_target_row():
    df = _table().drop(columns="household")
    df.loc[df["region"] == "here", "claims"] = np.nan
    report = _report(df)
    assert report.verdict == "unknown"
    assert report.recommended is None


def _evidence_of(df):
    data = from_frame(df.drop(columns=["household", "car"]), **COLUMNS)
    params = {"exposure": data.metadata["exposure"]}
    return data, params, Pooled(PoissonRegressor(alpha=0.01))


def test_gaps_of_rates_weigh_rows_by_exposure():
    """The evidence was the plain mean over rows, the score of a fold a weighted one."""
    data, params, model = _evidence_of(_table())
    labeled = np.flatnonzero((data.sample_domain < 0) & ~np.isnan(data.y))
    folds = [
        (np.setdiff1d(np.arange(len(data.y)), labeled[k::3]), labeled[k::3])
        for k in range(3)
    ]
    result = cross_val_ntg(
        model, data.X, data.y, sample_domain=data.sample_domain, cv=folds,
        scoring="neg_mean_poisson_deviance", params=params,
    )  # fmt: skip
    weights = [params["exposure"][test].mean() for _, test in folds]
    assert result.ntg == pytest.approx(np.average(result.gaps, weights=weights))


def test_rank_sources_with_exposures():
    data, params, model = _evidence_of(_table())
    scorer = get_scorer("neg_mean_poisson_deviance")
    table = rank_sources(
        model, data.X, data.y, data.sample_domain, scores={"own": scorer}, params=params
    )
    exposure, own = params["exposure"], data.sample_domain == 1
    labeled = (data.sample_domain < 0) & ~np.isnan(data.y)
    fitted = PoissonRegressor(alpha=0.01).fit(
        data.X[own], (data.y / exposure)[own], sample_weight=exposure[own]
    )
    expected = mean_poisson_deviance(
        (data.y / exposure)[labeled], fitted.predict(data.X[labeled]),
        sample_weight=exposure[labeled],
    )  # fmt: skip
    assert table["value"][0] == pytest.approx(-expected)
    for score in ("logme", lambda model, X, y: 0.0):
        with pytest.raises(ValueError, match="compares counts with rates"):
            rank_sources(
                model, data.X, data.y, data.sample_domain, scores=[score],
                params=params,
            )  # fmt: skip
    selector = SourceSelector(model, source_score=scorer)
    selector.fit(data.X, data.y, sample_domain=data.sample_domain, **params)
    assert selector.kept_sources_.tolist() == [1]


def test_influence_and_learning_curve_of_rates():
    data, params, model = _evidence_of(_table())
    found = subset_influence(
        model, data.X, data.y, sample_domain=data.sample_domain, params=params,
        scoring="neg_mean_poisson_deviance", cv=3,
    )  # fmt: skip
    assert found.influence[0] > 0 > found.influence[1]
    options = {"sample_domain": data.sample_domain, "cv": 3, "n_repeats": 1}
    curve = gap_learning_curve(
        model, data.X, data.y, loss="deviance", params=params, **options
    )
    assert curve.gaps[-1] > 0
    with pytest.raises(ValueError, match="needs a learner with a log link"):
        gap_learning_curve(Pooled(Ridge()), data.X, data.y, loss="deviance", **options)


def test_deviances_of_many_rows_have_values_of_rows(rng):
    """Only folds were compared, as for a score of any kind."""
    X, domain = rng.normal(size=(420, 2)), np.repeat([1, -1], [120, 300])
    y = rng.poisson(np.exp(0.3 * X[:, 0])).astype(float)
    result = cross_val_ntg(
        Pooled(PoissonRegressor()), X, y, sample_domain=domain,
        scoring="neg_mean_poisson_deviance",
    )  # fmt: skip
    assert result.evidence.n_units == pytest.approx(300)
    assert result.ntg == pytest.approx(result.gaps.mean(), abs=1e-12)


def _command(path, *more):
    return main(["report", str(path), "--domain", "region", "--target", "here",
                 "--label", "claims", "--exposure", "years", *more])  # fmt: skip


def test_the_command_line(tmp_path, capsys):
    path, saved = tmp_path / "claims.csv", tmp_path / "m.joblib"
    df = _table()
    df.to_csv(path, index=False)
    assert (
        _command(path, "--groups", "household", "--quick", "--quiet", "--folds", "3",
                 "--save", str(saved), "--out", str(tmp_path / "r.html"))
        == 0
    )  # fmt: skip
    said = " ".join(capsys.readouterr().out.split())
    assert "Exposures are from" in said
    assert "Methods by mean Poisson deviance" in said
    assert "multiply each by the exposure of its row" in said
    assert "belong to 19 groups" in said
    rates = joblib.load(saved).predict(df[["age", "car"]])
    assert np.isfinite(rates).all()
    assert isinstance(joblib.load(saved), TransferPortfolioRegressor)
    assert "years" not in joblib.load(saved).feature_names_in_


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ({}, ["--task", "classification"], "--exposure, which is for counts"),
        ({}, ["--groups", "years"], "is the column of another option"),
        ({}, ["--drop", "years"], "leaves out the column of --exposure"),
        ({}, ["--category", "years"], "is the column of another option"),
        ({"years": 0.0}, [], "not positive in 170 rows (first in line 2)"),
        ({"years": "long"}, [], "must hold numbers"),
        ({"years": 1.0, "claims": "a"}, [], "--exposure needs numbers"),
        ({"years": 1.0, "claims": -1.0}, [], "labels must be 0 or more"),
    ],
)
def test_wrong_arguments_get_one_line(tmp_path, capsys, change, more, words):
    path = tmp_path / "claims.csv"
    _table().assign(**change).to_csv(path, index=False)
    assert _command(path, *more) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err, err
