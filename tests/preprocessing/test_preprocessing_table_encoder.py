"""Mixed tables become numbers; ids and copies are found; libraries agree."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer.baselines import Pooled
from sktransfer.datasets import mark_unlabeled
from sktransfer.feature import CORAL
from sktransfer.preprocessing import TableEncoder

N = 60
DOMAIN = np.repeat([1, 2, -1], 20)


def table(rng):
    """A table as people have them."""
    return {
        "age": np.where(np.arange(N) % 7 == 0, np.nan, rng.normal(40, 9, N)).tolist(),
        "plan": [("free", "paid", None)[k] for k in rng.randint(3, size=N)],
        "since": [str(dt.date(2020, 1, 1) + dt.timedelta(int(k))) for k in range(N)],
        "seen": [dt.datetime(2020, 1, 1) + dt.timedelta(hours=7 * k) for k in range(N)],
        "zip": [f"0{k % 7}123" for k in range(N)],
        "flag": (rng.uniform(size=N) > 0.5).tolist(),
        "price": [str(1.5 * k * k) for k in range(N)],
        "note": [f"patient number {k} feels {k % 3} times better" for k in range(N)],
    }


def test_roles_and_names_of_columns(rng):
    encoder = TableEncoder().fit(pd.DataFrame(table(rng)))
    assert encoder.roles_ == {
        "age": "number",
        "plan": "category",
        "since": "date",
        "seen": "date",
        "zip": "category",
        "flag": "number",
        "price": "number",
        "note": "text",
    }
    names = encoder.get_feature_names_out().tolist()
    assert {"age_missing", "since_years", "plan_(missing)", "note_text0"} <= {*names}
    assert "seen_day_sin" in names
    assert "since_day_sin" not in names  # a date without a time has no time of the day
    assert encoder.dropped_ == {}
    assert "zip: category" in encoder.summary()


def test_pandas_polars_order_and_further_columns_give_the_same_numbers(rng):
    data = table(rng)
    frame = pd.DataFrame(data)
    encoder = TableEncoder().fit(frame)
    expected = encoder.transform(frame)
    assert np.isfinite(expected).all()
    assert expected.shape == (N, len(encoder.get_feature_names_out()))
    other = pl.DataFrame(data)
    np.testing.assert_allclose(TableEncoder().fit_transform(other), expected)
    np.testing.assert_array_equal(encoder.transform(other), expected)
    moved = frame[frame.columns[::-1]].assign(more="x")
    np.testing.assert_array_equal(encoder.transform(moved), expected)
    named = encoder.set_output(transform="pandas").transform(frame)
    assert named.columns.tolist() == encoder.get_feature_names_out().tolist()


@pytest.mark.parametrize("shuffle", [False, True])
def test_running_ids_are_left_out_with_a_warning(rng, shuffle):
    frame = pd.DataFrame({"x": rng.normal(size=N), "pid": np.arange(N) + 1000})
    frame["name"] = [f"P{k}" for k in range(N)]
    frame = frame.sample(frac=1, random_state=0) if shuffle else frame
    with pytest.warns(UserWarning, match=r"'pid' .*'name'.*drop_ids=False"):
        encoder = TableEncoder().fit(frame)
    assert list(encoder.dropped_) == ["pid", "name"]
    assert encoder.transform(frame).shape == (N, 1)
    # a part of the samples, as a fold has, still shows the id
    with pytest.warns(UserWarning, match="'pid'"):
        TableEncoder().fit(frame.iloc[rng.permutation(N)[:40]])
    kept = TableEncoder(drop_ids=False).fit(frame)
    assert kept.roles_ == {"x": "number", "pid": "number", "name": "category"}


def test_whole_numbers_that_repeat_or_are_spread_are_numbers(rng):
    ages, codes = rng.randint(20, 90, N), rng.permutation(10**6)[:N]
    encoder = TableEncoder().fit(pd.DataFrame({"age": ages, "code": codes}))
    assert set(encoder.roles_.values()) == {"number"}


@pytest.mark.parametrize("kind", ["classes", "text", "real"])
def test_copies_of_label_and_domain_are_left_out(rng, kind):
    real = rng.normal(size=N)
    y = real if kind == "real" else (real > 0).astype(int)
    copy = 32 + 1.8 * y if kind == "real" else np.array(["sick", "well"])[y]
    labels = np.array(["no", "yes"])[y] if kind == "text" else y
    frame = pd.DataFrame({"x": rng.normal(size=N), "copy": copy})
    frame["site"] = np.repeat(["US", "FR", "DE"], 20)
    frame.loc[DOMAIN < 0, "copy"] = copy[0]  # says nothing where labels are missing
    y = mark_unlabeled(labels, DOMAIN < 0)
    with pytest.warns(UserWarning, match=r"'copy' .*'site'"):
        encoder = TableEncoder().fit(frame, y, sample_domain=DOMAIN)
    assert encoder.roles_["copy"] == "copy of the label"
    assert encoder.roles_["site"] == "copy of the domain"
    assert "copy: left out, a copy of the label" in encoder.summary()
    kept = TableEncoder(drop_copies=False).fit(frame, y, sample_domain=DOMAIN)
    assert kept.dropped_ == {}


@pytest.mark.parametrize("numeric", [True, False])
def test_copies_with_missing_values_are_copies(rng, numeric):
    y = rng.normal(size=N) if numeric else rng.randint(0, 2, N)
    frame = pd.DataFrame({"x": rng.normal(size=N), "copy": 2.0 * y + 1})
    frame["site"] = np.repeat([5.0, 6.0, 7.0], N // 3)
    frame.loc[::4, ["copy", "site"]] = np.nan
    with pytest.warns(UserWarning, match=r"'copy' .*'site'"):
        encoder = TableEncoder().fit(frame, y, sample_domain=DOMAIN)
    assert encoder.roles_["copy"] == "copy of the label"
    assert encoder.roles_["site"] == "copy of the domain"
    frame.loc[: N - 10, "copy"] = np.nan  # ten values show nothing
    kept = TableEncoder().fit(frame[["x", "copy"]], y)
    assert kept.dropped_ == {}


@pytest.mark.parametrize("kind", ["number", "date"])
def test_a_stray_text_makes_no_id_of_measured_values(rng, kind):
    values = rng.normal(size=N).astype(str).astype(object)
    if kind == "date":
        days = pd.date_range("2020-01-01", periods=N)
        values = np.array(days.strftime("%Y-%m-%d").to_list(), dtype=object)
    values[3] = "n.d."
    assert TableEncoder().fit(pd.DataFrame({"x": values})).roles_ == {"x": "category"}


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d/%m/%Y %H:%M", "%d-%b-%Y",
             "%B %d, %Y", "%d %b %Y", "%m/%d/%Y %H:%M:%S"]
)  # fmt: skip
def test_dates_as_people_write_them(form):
    days = pd.date_range("2020-01-01 01:00", periods=N, freq="D")
    if "%H" not in form:
        days = days.normalize()
    text = pd.DataFrame({"day": days.strftime(form)})
    true = TableEncoder().fit(pd.DataFrame({"day": days}))
    encoder = TableEncoder().fit(text)
    assert encoder.roles_ == {"day": "date"}
    expected = true.transform(pd.DataFrame({"day": days}))
    np.testing.assert_allclose(encoder.transform(text), expected)
    frame = pl.DataFrame({"day": text["day"].to_list()})
    np.testing.assert_allclose(
        TableEncoder().fit(frame).transform(frame[:1]), expected[:1]
    )
    # alone, the first row would not tell its day from its month
    np.testing.assert_allclose(encoder.transform(text[:1]), expected[:1])


def test_dates_without_a_day_above_twelve_stay_categories():
    text = [f"{k % 12 + 1:02d}/{k % 11 + 1:02d}/{2000 + k}" for k in range(N)]
    assert TableEncoder().fit(pd.DataFrame({"day": text})).roles_ == {"day": "category"}
    mixed = ["31/01/2020", "01/31/2020"] * 3
    assert TableEncoder().fit(pd.DataFrame({"d": mixed})).roles_ == {"d": "category"}
    encoder = TableEncoder().fit(pd.DataFrame({"day": ["31/01/2020", "01/02/2020"]}))
    with pytest.raises(ValueError, match="'12/31/2020'"):
        encoder.transform(pd.DataFrame({"day": ["12/31/2020"]}))


def test_labels_are_used_to_find_copies_alone(rng):
    frame, y = pd.DataFrame(table(rng)), rng.normal(size=N)
    first = TableEncoder().fit(frame, y, sample_domain=DOMAIN)
    second = TableEncoder().fit(frame, y[::-1], sample_domain=DOMAIN)
    np.testing.assert_array_equal(first.transform(frame), second.transform(frame))


def test_a_good_feature_is_no_copy(rng):
    y = rng.normal(size=N)
    frame = pd.DataFrame({"good": y + 1e-3 * rng.normal(size=N), "x": y**2})
    assert TableEncoder().fit(frame, y).dropped_ == {}


def _by_name(encoder, frame):
    return dict(
        zip(encoder.get_feature_names_out(), encoder.transform(frame).T, strict=True)
    )


def test_dates_become_years_and_cycles():
    days = pd.DataFrame({"day": pd.date_range("1970-01-01", periods=3, freq="365D")})
    encoder = TableEncoder(scale=False).fit(days)
    encoded = _by_name(encoder, days)
    np.testing.assert_allclose(encoded["day_years"], np.arange(3) * 365 / 365.2425)
    monday = pd.DataFrame({"day": ["2024-01-01", "2024-01-08", None]})
    encoder = TableEncoder(scale=False).fit(monday)
    encoded = _by_name(encoder, monday)
    np.testing.assert_allclose(encoded["day_week_cos"], [1, 1, 0], atol=1e-9)
    np.testing.assert_allclose(encoded["day_missing"], [0, 0, 1])


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("2020-03-04", "date"),
        ("2020-03-04T05:06:07", "date"),
        ("31.12.2020", "date"),
        ("03/04/2020", "category"),
        ("20200304", "number"),
        ("007", "category"),
        ("1e3", "number"),
        ("nan", "category"),
    ],
)
def test_what_text_means(text, role):
    frame = pd.DataFrame({"x": [text, None, text]})
    assert TableEncoder().fit(frame).roles_ == {"x": role}


def test_native_categories_and_missing_numbers_for_trees(rng):
    frame = pd.DataFrame(table(rng))[["age", "plan", "zip"]]
    frame.loc[:25, "plan"] = [f"rare{k}" for k in range(26)]
    encoder = TableEncoder(categories="native", missing="keep", max_categories=4)
    encoded = encoder.fit_transform(frame)
    assert encoded["plan"].dtype == "category"
    assert len(encoded["plan"].cat.categories) == 4
    assert encoded["age"].isna().sum() == frame["age"].isna().sum()
    new = encoder.transform(frame.assign(plan="never seen"))
    assert new["plan"].isna().all() or new["plan"].nunique() == 1
    y = rng.normal(size=N)
    trees = HistGradientBoostingRegressor(
        categorical_features="from_dtype", max_iter=3, min_samples_leaf=5
    )
    assert make_pipeline(encoder, trees).fit(frame, y).predict(frame).shape == (N,)


def test_a_categorical_column_of_numbers_is_a_category(rng):
    codes = pd.Series(rng.randint(3, size=N)).astype("category")
    encoder = TableEncoder().fit(pd.DataFrame({"code": codes}))
    assert encoder.roles_ == {"code": "category"}
    assert encoder.get_feature_names_out().tolist() == ["code_0", "code_1", "code_2"]


def test_native_categories_have_the_names_of_any_table(rng):
    frame = pd.DataFrame({"age": rng.normal(size=N), "plan": ["a", "b", "c"] * 20})
    frame["since"], frame["since_years"] = pd.Timestamp("2020-02-02"), frame["plan"]
    encoder = TableEncoder(categories="native", missing="keep")
    expected = encoder.fit_transform(frame)
    assert [str(kind) for kind in expected.dtypes][-2:] == ["category"] * 2
    assert str(expected.dtypes.iloc[1]) == "float64"  # years of since
    for other in (frame.set_axis([7, 3, 5, 1], axis=1), frame.to_numpy(dtype=object)):
        encoded = encoder.fit_transform(other)
        assert encoded.dtypes.tolist() == expected.dtypes.tolist()
        np.testing.assert_array_equal(encoded.to_numpy(), expected.to_numpy())


def test_copies_of_one_of_several_labels_are_left_out(rng):
    y = rng.randint(2, size=(N, 2))
    frame = pd.DataFrame({"x": rng.normal(size=N), "copy": np.array([*"ab"])[y[:, 1]]})
    labels = np.array(["no", "yes"], dtype=object)[y]
    for several in (y, mark_unlabeled(y.astype(float), DOMAIN < 0), labels):
        with pytest.warns(UserWarning, match="'copy'"):
            encoder = TableEncoder().fit(frame, several, sample_domain=DOMAIN)
        assert encoder.dropped_ == {"copy": "a copy of the label"}


@pytest.mark.parametrize("library", [pd, pl])
def test_decimals_of_a_database_are_numbers(rng, library):
    price = [None if k % 7 == 0 else Decimal(k * k) / 8 for k in range(N)]
    floats = [None if value is None else float(value) for value in price]
    encoder = TableEncoder().fit(library.DataFrame({"price": price}))
    assert encoder.roles_ == {"price": "number"}
    np.testing.assert_allclose(
        encoder.transform(library.DataFrame({"price": price})),
        TableEncoder().fit_transform(library.DataFrame({"price": floats})),
    )
    mixed = library.DataFrame({"code": [*price[1:3], *"ab"] * 9}, **(
        {"strict": False, "schema": {"code": pl.Object}} if library is pl else {}
    ))  # fmt: skip
    assert TableEncoder().fit(mixed).roles_ == {"code": "category"}


def test_errors_name_the_column(rng):
    frame = pd.DataFrame({"x": rng.normal(size=N), "day": ["2020-01-01"] * N})
    encoder = TableEncoder().fit(frame)
    with pytest.raises(ValueError, match=r"'x' of X is to hold a number .* 'old'"):
        encoder.transform(frame.assign(x="old"))
    with pytest.raises(ValueError, match=r"'day' of X is to hold a date .* 'soon'"):
        encoder.transform(frame.assign(day="soon"))
    with pytest.raises(ValueError, match=r"lacks the columns \['day'\]"):
        encoder.transform(frame[["x"]])
    with pytest.raises(ValueError, match=r"'x' of X contains infinity .*row 3"):
        TableEncoder().fit(frame.assign(x=[0, 0, 0, np.inf] + [0] * (N - 4)))
    with pytest.raises(ValueError, match="unique column names"):
        TableEncoder().fit(pd.concat([frame, frame], axis=1))
    with pytest.raises(ValueError, match="No column of X is left"):
        TableEncoder().fit(pd.DataFrame({"id": np.arange(N)}))
    with pytest.raises(TypeError, match="Sparse"):
        encoder.transform(sparse.eye_array(2, format="csr"))
    with pytest.raises(TypeError, match="nested value"):
        TableEncoder().fit(frame.assign(x=[[1]] * N))
    with pytest.raises(ValueError, match="roles names 'y'"):
        TableEncoder(roles={"y": "number"}).fit(frame)
    with pytest.raises(ValueError, match="must be one of number"):
        TableEncoder(roles={"x": "real"}).fit(frame)
    with pytest.raises(ValueError, match=r"'day' of X is to hold a number .*2020"):
        TableEncoder(roles={"day": "number"}).fit(frame)


def test_missing_values_everywhere_at_prediction_time(rng):
    frame = pd.DataFrame(table(rng))
    encoder = TableEncoder().fit(frame)
    empty = pd.DataFrame({name: [None, None] for name in frame})
    assert np.isfinite(encoder.transform(empty)).all()


def test_in_a_pipeline_with_domains(rng):
    frame, y = pd.DataFrame(table(rng)), rng.randint(2, size=N)
    frame["x"] = y + 0.1 * rng.normal(size=N)
    marked = mark_unlabeled(y, np.arange(N) >= 50)
    with config_context(enable_metadata_routing=True):
        pipe = make_pipeline(TableEncoder(), Pooled(LogisticRegression()))
        pipe.fit(frame, marked, sample_domain=DOMAIN)
    assert pipe.classes_.tolist() == [0, 1]
    assert pipe.score(frame[50:], y[50:]) > 0.8


def test_roles_of_the_user_count():
    frame = pd.DataFrame({"code": [1, 2, 3] * 20, "pid": np.arange(N), "z": 1.0})
    encoder = TableEncoder(roles={"code": "category", "pid": "number", "z": "id"})
    encoder.fit(frame)
    assert encoder.roles_ == {"code": "category", "pid": "number", "z": "id"}
    assert encoder.get_feature_names_out().tolist()[0] == "pid"
    assert encoder.transform(frame).shape == (N, 4)


@pytest.mark.parametrize("scale", [True, False])
def test_sparse_numbers_stay_sparse(rng, scale):
    X = sparse.random_array((30, 4), density=0.5, rng=rng.randint(9), format="csr")
    encoder = TableEncoder(scale=scale).fit(X)
    encoded = encoder.transform(X)
    assert sparse.issparse(encoded)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3"]
    spread = X.toarray().std(axis=0) if scale else np.ones(4)
    np.testing.assert_allclose(encoded.toarray(), X.toarray() / spread)


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["31.12.20", "01.02.21", "05.06.71"], "2020-12-31"),
        (["31/12/20", "01/02/21", "05/06/71"], "2020-12-31"),
        (["12/31/20", "02/01/21", "06/05/71"], "2020-12-31"),
        (["31-Dec-20", "01-Feb-21", "05-Jun-71"], "2020-12-31"),
        (["31.12.20 14:30", "01.02.21 00:00", "05.06.71 23:59"], "2020-12-31T14:30"),
    ],
)
def test_years_of_two_digits_are_dates(texts, first):
    encoder = TableEncoder(scale=False).fit(pd.DataFrame({"day": texts * 10}))
    assert encoder.roles_ == {"day": "date"}
    days = (np.datetime64(first) - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    read = encoder.transform(pd.DataFrame({"day": texts}))[:, 0]
    assert read[0] == pytest.approx(days / 365.2425)
    assert 1.4 < read[2] < 1.5  # 71 is 1971


def test_a_year_of_two_digits_that_may_come_first_is_not_guessed():
    frame = pd.DataFrame({"day": ["20/12/31", "21/02/01"] * 15})
    assert TableEncoder().fit(frame).roles_ == {"day": "category"}


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_times_of_the_day(library):
    minutes = np.arange(0, 1440, 24)
    clock = [f"{m // 60}:{m % 60:02d}" for m in minutes]
    frame = library({"at": clock, "spoken": [
        f"{(m // 60 - 1) % 12 + 1}:{m % 60:02d} {'AM' if m < 720 else 'p.m.'}"
        for m in minutes
    ], "real": [dt.time(int(m // 60), int(m % 60), 30) for m in minutes]})  # fmt: skip
    encoder = TableEncoder(scale=False).fit(frame)
    assert set(encoder.roles_.values()) == {"time"}
    names = encoder.get_feature_names_out().tolist()
    assert names[:4] == ["at_hours", "spoken_hours", "real_hours", "at_day_sin"]
    read = encoder.transform(frame)
    np.testing.assert_allclose(read[:, 0], minutes / 60)
    np.testing.assert_allclose(read[:, 1], minutes / 60)
    np.testing.assert_allclose(read[:, 2], minutes / 60 + 30 / 3600)
    angle = 2 * np.pi * minutes / 1440
    np.testing.assert_allclose(read[:, 3:5], np.c_[np.sin(angle), np.cos(angle)])


def test_missing_times_have_an_indicator_and_other_text_is_refused():
    frame = pd.DataFrame({"at": ["08:15", None, "23:59:59.5"] * 10})
    encoder = TableEncoder(scale=False).fit(frame)
    assert encoder.get_feature_names_out()[:2].tolist() == ["at_hours", "at_missing"]
    empty = encoder.transform(pd.DataFrame({"at": [None, "08:15"]}))
    assert empty[0, 1] == 1
    assert np.isfinite(empty).all()
    with pytest.raises(ValueError, match=r"'at' of X is to hold a time.*'25:00'"):
        encoder.transform(pd.DataFrame({"at": ["25:00"]}))


def test_durations_beyond_a_day_are_no_ids():
    frame = pd.DataFrame({"took": [f"{h}:{h % 60:02d}" for h in range(40)]})
    assert TableEncoder().fit(frame).roles_ == {"took": "category"}


def test_native_categories_keep_the_index_of_the_frame():
    df = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]}, index=[7, 3, 5])
    encoder = TableEncoder(categories="native", drop_ids=False)
    assert encoder.fit_transform(df).index.tolist() == [7, 3, 5]
    assert encoder.transform(df[::-1]).index.tolist() == [5, 3, 7]


def test_no_name_is_given_twice():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "a_missing": [1.0, 2.0, 3.0]})
    frame["b"], frame["b_x"] = ["x", "y", "x"], [4.0, 5.0, 6.0]
    encoder = TableEncoder(scale=False).set_output(transform="pandas")
    encoded = encoder.fit_transform(frame)
    names = ["a", "a_missing", "b_x", "a_missing_2", "b_x_2", "b_y"]
    assert encoded.columns.tolist() == names
    assert encoded["a_missing"].tolist() == [1.0, 2.0, 3.0]
    assert encoded["a_missing_2"].tolist() == [0.0, 1.0, 0.0]
    twice = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
    with pytest.raises(ValueError, match="several columns of the name 'a'"):
        TableEncoder().fit(twice)


def test_plain_names():
    names = ["plan:type", "a[0]", '{"q": 1}', "b<c", "plan_type"]
    frame = pd.DataFrame([[1.0, 2.0, 3.0, 4.0, 5.0]] * 2, columns=names)
    encoder = TableEncoder(plain_names=True).fit(frame)
    plain = ["plan_type", "a_0_", "__q___1_", "b_c", "plan_type_2"]
    assert encoder.get_feature_names_out().tolist() == plain
    assert TableEncoder().fit(frame).get_feature_names_out().tolist() == names


def test_periods_are_dates():
    periods = pd.period_range("2020-01", periods=N, freq="M")
    frame = pd.DataFrame({"month": periods})
    texts = pd.DataFrame({"month": periods.strftime("%Y-%m")})
    days = pd.DataFrame({"month": periods.to_timestamp()})
    frame.loc[3, "month"] = days.loc[3, "month"] = pd.NaT
    texts.loc[3, "month"] = None
    for months in (frame, texts):
        encoder = TableEncoder().fit(months)
        assert encoder.roles_ == {"month": "date"}
        np.testing.assert_array_equal(
            encoder.transform(months), TableEncoder().fit_transform(days)
        )


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (["1,5", "2,25", "-7", None], "number, decimal comma"),
        (["1.234,5", "12", "3,1e2"], "number, decimal comma"),
        (["0,125", "5,678"], "number, decimal comma"),
        ([",5", "12345,678"], "number, decimal comma"),
        (["1,234", "5,678"], "category"),  # thousands, perhaps
        (["1,5", "1.5"], "category"),
        (["1.234", "1,5"], "category"),  # a fraction, perhaps
        (["007,5", "1,5"], "category"),
        (["1,5", "x"], "category"),
    ],
)
def test_decimal_commas(values, role):
    frame = pd.DataFrame({"dose": values})
    encoder = TableEncoder(scale=False, missing="keep").fit(frame)
    assert encoder.summary() == f"dose: {role}"
    assert encoder.roles_ == {"dose": role.partition(",")[0]}
    if role != "category":
        new = pd.DataFrame({"dose": ["1,234", "1.000", "2", None]})
        expected = [1.234, 1000.0, 2.0, np.nan]
        np.testing.assert_array_equal(encoder.transform(new)[:, 0], expected)
        with pytest.raises(ValueError, match=r"'dose' of X is to hold a number"):
            encoder.transform(pd.DataFrame({"dose": ["1.5"]}))


def test_a_role_says_how_values_are_written(rng):
    """What only the whole table shows holds for a part of it, too."""
    frame = pd.DataFrame({"dose": ["0,125", "5,678", "9,012"] * 10})
    frame["day"] = ["13/02/2020", "03/04/2020", "01/02/2020"] * 10
    part = frame[frame["dose"] != "0,125"]
    assert set(TableEncoder().fit(part).roles_.values()) == {"category"}
    roles = {"dose": "number, decimal comma", "day": "date, day first"}
    assert TableEncoder().fit(frame).summary().splitlines() == [
        f"{name}: {role}" for name, role in roles.items()
    ]
    whole, told = (TableEncoder(scale=False, roles=r) for r in (None, roles))
    np.testing.assert_array_equal(
        told.fit(part).transform(part), whole.fit(frame).transform(part)
    )
    assert told.roles_ == {"dose": "number", "day": "date"}
    for wrong in ("number, day first", "number, comma", "category, decimal comma", 3):
        with pytest.raises(ValueError, match=r"number, decimal comma or date, day"):
            TableEncoder(roles={"dose": wrong}).fit(frame)


@pytest.mark.parametrize(
    "empty", [np.nan, None, pd.NaT, pd.NA], ids=["nan", "None", "NaT", "NA"]
)
def test_a_column_without_any_value_is_left_out(rng, empty):
    frame = pd.DataFrame({"x": rng.normal(size=N), "empty": [empty] * N})
    with pytest.warns(UserWarning, match=r"'empty' \(missing in every sample\)\.$"):
        encoder = TableEncoder().fit(frame)
    assert encoder.roles_ == {"x": "number", "empty": "empty"}
    assert encoder.transform(frame.assign(empty="a value")).shape == (N, 1)
    with pytest.raises(ValueError, match="'empty' is missing in every sample"):
        TableEncoder().fit(frame[["empty"]])


@pytest.mark.parametrize("kind", ["onehot", "native"])
def test_a_part_in_which_a_number_is_missing_everywhere(rng, kind):
    """A site that does not measure a feature must not stop a learner."""
    frame = pd.DataFrame({"x": rng.normal(size=N), "z": rng.normal(size=N)})
    part = frame.assign(z=np.nan)
    encoder = TableEncoder(
        categories=kind, missing="keep", scale=False, roles={"z": "number"}
    ).fit(part)
    for rows in (part, frame):
        assert (np.asarray(encoder.transform(rows))[:, 1] == 0).all()
    model = make_pipeline(encoder, HistGradientBoostingRegressor(max_iter=2))
    assert np.isfinite(model.fit(part, rng.normal(size=N)).predict(frame)).all()


def test_methods_that_need_numbers_name_the_encoder_where_there_are_dates(rng):
    frame = pd.DataFrame({"a": rng.normal(size=20)})
    frame["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(20), "D")
    domain = np.repeat([1, -1], 10)
    with pytest.raises(TypeError, match=r"make_pipeline\(TableEncoder\(\), CORAL"):
        CORAL().fit(frame, sample_domain=domain)
    texts = {"a": [0.5] * 20, "when": list(frame["when"]), "plan": ["free"] * 20}
    with pytest.raises(TypeError, match=r"make_pipeline\(TableEncoder\(\), CORAL"):
        CORAL().fit(pl.DataFrame(texts), sample_domain=domain)
