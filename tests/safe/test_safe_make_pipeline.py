"""From a raw table to a guarded model in one call, with any learner."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBClassifier

from sktransfer.base import get_transfer_tags
from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import from_frame
from sktransfer.exceptions import DomainError
from sktransfer.hypothesis import OffsetTransfer, SourcePredictions
from sktransfer.instance import KMM
from sktransfer.multisource import UOWQMultiTask
from sktransfer.preprocessing import DomainScaler
from sktransfer.safe import (
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
    make_transfer_pipeline,
)

N_SOURCE, N_TARGET = 60, 40
PLANS = ["basic", "family", "student"]
LEARNERS = {
    "hist": HistGradientBoostingClassifier(
        max_iter=5, categorical_features="from_dtype", random_state=0
    ),
    "lightgbm": LGBMClassifier(
        n_estimators=5, min_child_samples=5, verbose=-1, n_jobs=1
    ),
    "xgboost": XGBClassifier(n_estimators=5, enable_categorical=True, n_jobs=1),
    "catboost": CatBoostClassifier(
        iterations=5, cat_features=("plan",), verbose=False, thread_count=1,
        allow_writing_files=False,
    ),
}  # fmt: skip


@pytest.fixture
def table(rng):
    """A churn table with strings, dates, missing values and an id."""
    n = N_SOURCE + N_TARGET
    df = pd.DataFrame({"customer": np.arange(n) + 1000})
    df["plan"] = rng.choice(PLANS, n)
    df["age"] = rng.normal(45, 12, n).round()
    df.loc[rng.uniform(size=n) < 0.1, "age"] = np.nan
    days = rng.randint(900, size=n)
    dates = pd.Timestamp("2020-01-01") + pd.to_timedelta(days, "D")
    df["since"] = [f"{d:%d.%m.%y}" for d in dates]
    score = np.where(df["plan"] == "student", 1.5, -0.5) + days / 500 - 0.9
    df["churn"] = np.where(score + 0.3 * rng.normal(size=n) > 0, "yes", "no")
    df["country"] = np.repeat(["FR", "DE"], [N_SOURCE, N_TARGET])
    df.loc[n - N_TARGET // 2 :, "churn"] = None
    return df


def read(table, library=pd.DataFrame):
    columns = table.astype(object).where(table.notna(), None).to_dict("list")
    return from_frame(
        library(columns), label="churn", domain="country", target="DE",
        features=["plan", "age", "since"],
    )  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("method", ["portfolio", "guard"])
def test_native_categories_in_every_learner(table, name, method):
    data = read(table)
    model = make_transfer_pipeline(LEARNERS[name], method=method, cv=2)
    with warnings.catch_warnings():
        if name == "catboost":  # constant folds of tiny samples
            warnings.simplefilter("ignore")
        model.fit(data.X, data.y, **data.metadata)
    if method == "portfolio":
        # CatBoost takes no category that its cat_features do not name
        named = {"pooled_domain_learner"} if name == "catboost" else set()
        assert {*model.skipped_} == named, model.skipped_
        assert {"offset", "stacking", "pooled_learner"} <= {*model.members_}
    else:
        assert model.weights_.sum() == pytest.approx(1)
    X = data.X.iloc[-30:].copy()
    X.iloc[0, 0] = "a plan that nobody has seen"
    assert np.isfinite(model.predict_proba(X)).all()
    assert set(model.predict(X)) <= {"yes", "no"}


@pytest.mark.parametrize("name", LEARNERS)
def test_native_categories_in_offset_and_stacking(table, name):
    data = read(table)
    pipeline = make_transfer_pipeline(LEARNERS[name], method="guard").estimator
    learner = pipeline.estimator  # encoder and learner
    simple = make_transfer_pipeline(LogisticRegression(), method="guard")
    simple = simple.estimator.estimator
    offset = OffsetTransfer(learner, simple, cv=2).fit(data.X, data.y, **data.metadata)
    assert np.isfinite(offset.predict_proba(data.X)).all()
    stack = SourcePredictions(learner, passthrough=False)
    columns = stack.fit(data.X, data.y, **data.metadata).transform(data.X)
    assert columns.shape == (len(data.X), 1)


@pytest.mark.parametrize("method", ["portfolio", "guard"])
@pytest.mark.parametrize("name", ["hist", "linear"])
def test_pandas_and_polars_give_the_same_predictions(table, method, name):
    learner = {**LEARNERS, "linear": LogisticRegression()}[name]
    answers = []
    for library in (pd.DataFrame, pl.DataFrame):
        data = read(table, library)
        model = make_transfer_pipeline(learner, method=method, cv=2)
        model.fit(data.X, data.y, **data.metadata)
        answers.append(model.predict_proba(data.X))
    np.testing.assert_allclose(*answers, atol=1e-12)


def test_what_columns_hold_is_told_by_all_samples(rng):
    """A source in which no day is above 12 must not turn dates into categories."""
    n = 40
    days = [f"{k % 12 + 1:02d}/{k % 11 + 1:02d}/2020" for k in range(n)]
    late = [f"{k % 28 + 1:02d}/{k % 11 + 1:02d}/2020" for k in range(n)]
    df = pd.DataFrame({"day": days + late, "y": rng.normal(size=2 * n)})
    df["site"] = np.repeat(["a", "b"], n)
    data = from_frame(df, label="y", domain="site", target="b")
    for method in ("guard", "portfolio"):
        model = make_transfer_pipeline(Ridge(), method=method, cv=3)
        model.fit(data.X, data.y, **data.metadata)
        members = getattr(model, "members_", {"pooled": model.transfer_})
        used = [
            m for name, m in members.items() if name.startswith(("pooled", "target"))
        ]
        assert {m.estimator_[0].roles_["day"] for m in used} == {"date"}


def test_ids_are_left_out_once(table):
    data = from_frame(table, label="churn", domain="country", target="DE")
    for method in ("guard", "portfolio"):
        model = make_transfer_pipeline(LogisticRegression(), method=method, cv=2)
        with pytest.warns(UserWarning, match="'customer'") as caught:
            model.fit(data.X, data.y, **data.metadata)
        assert len([w for w in caught if "'customer'" in str(w.message)]) == 1


def test_weights_reach_the_learner(table):
    table = table.assign(w=np.where(np.arange(len(table)) % 3, 1.0, 0.0))
    data = from_frame(
        table, label="churn", domain="country", target="DE", sample_weight="w",
        features=["plan", "age"],
    )  # fmt: skip
    assert set(data.metadata) == {"sample_domain", "sample_weight"}
    kept = table[table["w"] > 0]
    part = from_frame(
        kept, label="churn", domain="country", target="DE", features=["plan", "age"]
    )
    for method in ("guard", "portfolio"):
        model = make_transfer_pipeline(LogisticRegression(), method=method, cv=2)
        model.fit(data.X, data.y, **data.metadata)
        again = make_transfer_pipeline(LogisticRegression(), method=method, cv=2)
        again.fit(part.X, part.y, **part.metadata)
        np.testing.assert_allclose(
            model.predict_proba(data.X), again.predict_proba(data.X), atol=1e-9
        )


def test_kinds_of_models():
    portfolio = make_transfer_pipeline(LogisticRegression(), risk=0.2)
    assert isinstance(portfolio, TransferPortfolioClassifier)
    assert portfolio.risk == 0.2
    assert isinstance(make_transfer_pipeline(Ridge()), TransferPortfolioRegressor)
    guard = make_transfer_pipeline(KMM(LogisticRegression()))
    assert isinstance(guard, TransferGuard)
    assert isinstance(guard.estimator[-1], KMM)
    forest = make_transfer_pipeline(RandomForestClassifier())
    assert forest.learner[0].missing == "keep"
    own = make_column_transformer((OneHotEncoder(), ["plan"]))
    assert make_transfer_pipeline(Ridge(), encoder=own).learner[0] is own
    bare = make_transfer_pipeline(Ridge(), encoder=None, method="guard")
    assert isinstance(bare.estimator, Pooled)
    assert isinstance(bare.estimator.estimator, Ridge)


@pytest.mark.parametrize(
    ("learner", "options", "error", "match"),
    [
        (OneHotEncoder(), {}, TypeError, "neither a classifier nor a regressor"),
        (Ridge(), {"method": "best"}, ValueError, "method must be one of"),
        (Ridge(), {"encoder": "onehot"}, ValueError, 'encoder must be "auto"'),
        (Ridge(), {"encoder": Ridge()}, ValueError, "a transformer or None"),
        (TargetOnly(Ridge()), {"method": "portfolio"}, TypeError, 'method="guard"'),
        (Ridge(), {"folds": 3}, TypeError, "folds"),
        (CatBoostClassifier(cat_features=["a"]), {}, TypeError, "tuple"),
    ],
)
def test_errors(learner, options, error, match):
    with pytest.raises(error, match=match):
        make_transfer_pipeline(learner, **options)


def test_further_columns_of_a_frame(table):
    table = table.assign(patient=[f"p{k // 2}" for k in range(len(table))])
    data = from_frame(
        table, label="churn", domain="country", target="DE", groups="patient",
        exposure="age",
    )  # fmt: skip
    assert [*data.X.columns] == ["customer", "plan", "since"]
    assert data.metadata["groups"][2] == "p1"
    assert np.isnan(data.metadata["exposure"]).any()
    with pytest.raises(ValueError, match="groups='who' is no column of df"):
        from_frame(table, label="churn", domain="country", target="DE", groups="who")


@pytest.mark.parametrize("name", ["hist", "lightgbm", "xgboost", "catboost"])
def test_names_that_boosting_libraries_refuse(table, name):
    renamed = table.rename(columns={"plan": "plan:type [1]", "age": '{"age"}'})
    data = from_frame(renamed, label="churn", domain="country", target="DE")
    learner = LEARNERS[name]
    if name == "catboost":
        learner = CatBoostClassifier(
            iterations=5, cat_features=("plan:type [1]",), verbose=False,
            thread_count=1, allow_writing_files=False,
        )  # fmt: skip
    model = make_transfer_pipeline(learner, method="guard", cv=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TableEncoder leaves out")
        model.fit(data.X, data.y, **data.metadata)
    plain = from_frame(table, label="churn", domain="country", target="DE")
    other = make_transfer_pipeline(LEARNERS[name], method="guard", cv=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TableEncoder leaves out")
        other.fit(plain.X, plain.y, **plain.metadata)
    np.testing.assert_array_equal(
        model.predict_proba(data.X), other.predict_proba(plain.X)
    )


def test_a_warning_points_at_the_line_of_the_user(table):
    data = from_frame(table, label="churn", domain="country", target="DE")
    for method in ("guard", "portfolio"):
        model = make_transfer_pipeline(LogisticRegression(), method=method, cv=2)
        with pytest.warns(UserWarning, match="leaves out 'customer'") as record:
            model.fit(data.X, data.y, **data.metadata)
        assert {warning.filename for warning in record} == {__file__}


@pytest.mark.parametrize("method", ["guard", "portfolio"])
@pytest.mark.parametrize("kind", ["text", "date", "array"])
@pytest.mark.parametrize(
    "learner",
    [LogisticRegression(), LEARNERS["lightgbm"], XGBClassifier(), CatBoostClassifier()],
    ids=lambda learner: type(learner).__name__,
)
def test_text_without_an_encoder_is_an_error_that_names_one(
    table, learner, kind, method
):
    data = from_frame(table, label="churn", domain="country", target="DE")
    X = data.X[["plan", "age"]].fillna(1.0)
    if kind == "date":
        X = X.assign(plan=pd.Timestamp("2020-01-01"))
    X = X.to_numpy() if kind == "array" else X
    model = make_transfer_pipeline(learner, method=method, encoder=None, cv=2)
    if method == "portfolio" and not isinstance(learner, LogisticRegression):
        # the linear model of the target alone has an encoder of its own
        with pytest.warns(UserWarning, match=r"(?s)No member .*make_transfer_pipeline"):
            model.fit(X, data.y, **data.metadata)
        return
    with pytest.raises((TypeError, ValueError), match="make_transfer_pipeline"):
        model.fit(X, data.y, **data.metadata)


@pytest.mark.parametrize("kind", ["guard", "portfolio", "multi-task"])
def test_prediction_at_a_new_site(rng, kind):
    """The blend hands the domains on to whatever of it answers by domains."""
    domain = np.repeat([1, 2, 3, -1], 30)
    y = rng.permutation(np.arange(120) % 2)
    X = rng.normal(size=(120, 2)) + 1.5 * y[:, None]
    X += rng.normal(0, 4, size=(4, 2))[np.where(domain > 0, domain - 1, 3)]
    label = rng.permutation(np.arange(100) % 2)
    new = rng.normal(size=(100, 2)) + 1.5 * label[:, None] + [9.0, -9.0]
    scaled = make_pipeline(DomainScaler(), Pooled(LogisticRegression()))
    model = {
        "guard": TransferGuard(scaled, cv=3),
        "portfolio": TransferPortfolioClassifier(
            members=[("alone", TargetOnly(LogisticRegression())), ("scaled", scaled)],
            cv=3,
        ),
        "multi-task": TransferGuard(UOWQMultiTask(LogisticRegression()), cv=3),
    }[kind]
    model.fit(X, y, sample_domain=domain)
    assert get_transfer_tags(model).unseen_domain
    known = domain < 0
    np.testing.assert_array_equal(
        model.predict_proba(X[known], sample_domain=-1), model.predict_proba(X[known])
    )
    models = model.models_ if kind != "portfolio" else model.members_.values()
    weights = model.weights_ if kind != "portfolio" else model.weights_.values()
    expected = 0.0
    for part, weight in zip(models, weights, strict=True):
        if weight and isinstance(part, Pipeline):
            Z = part[0].transform(new, sample_domain=-7)
            expected = expected + weight * part[-1].predict_proba(Z)
        elif weight and isinstance(part, UOWQMultiTask):
            expected += weight * part.predict_proba(new, sample_domain=-7)
        elif weight:
            expected = expected + weight * part.predict_proba(new)
    answer = model.predict_proba(new, sample_domain=np.full(100, -7))
    np.testing.assert_allclose(answer, expected)
    np.testing.assert_allclose(
        model.predict_log_proba(new, sample_domain=-7), np.log(answer)
    )
    score = model.score(new, label, sample_domain=-7)
    assert score == np.mean(model.predict(new, sample_domain=-7) == label)
    assert model.score(X[known], y[known], sample_domain=-1) == model.score(
        X[known], y[known]
    )
    if kind == "guard":
        assert score > 0.8
    with pytest.raises(DomainError, match="3 entries"):
        model.predict(new, sample_domain=[1, 1, 1])


def test_a_blend_without_domains_refuses_them(rng):
    X, domain = rng.normal(size=(60, 2)), np.repeat([1, -1], 30)
    guard = TransferGuard(Pooled(Ridge()), cv=3).fit(X, X[:, 0], sample_domain=domain)
    assert not get_transfer_tags(guard).unseen_domain
    with pytest.raises(TypeError, match="takes no sample_domain here"):
        guard.predict(X, sample_domain=-7)


@pytest.mark.parametrize("learner", ["logistic", "hist", "catboost"])
def test_what_a_library_has_for_missing_changes_nothing(rng, learner):
    """Missing text and truth values, and a column without any value."""
    n = 120
    values = {
        "plan": [("a:b", '"c"', None)[k] for k in rng.randint(3, size=n)],
        "vip": [(True, False, None)[k] for k in rng.randint(3, size=n)],
        "age": [None if k % 9 == 0 else float(k % 50) for k in rng.permutation(n)],
        "empty": [None] * n,
        "sales": [f"{v:.2f}".replace(".", ",") for v in rng.gamma(2, 900, n)],
        "site": np.repeat(["A", "T"], n // 2).tolist(),
    }
    score = np.array([p == "a:b" for p in values["plan"]]) + rng.normal(0, 0.7, n)
    values["left"] = np.where(score > 0.5, "yes", "no").tolist()
    values["left"][-30:] = [None] * 30
    frames = [pd.DataFrame(values), pl.DataFrame(values)]
    frames.append(frames[0].convert_dtypes())
    frames[0]["vip"] = frames[0]["vip"].astype(object)
    model = {
        "logistic": LogisticRegression(),
        "hist": LEARNERS["hist"],
        "catboost": CatBoostClassifier(
            iterations=5, cat_features=("plan", "vip"), verbose=False, thread_count=1,
            allow_writing_files=False,
        ),
    }[learner]  # fmt: skip
    answers = []
    for frame in frames:
        data = from_frame(frame, label="left", domain="site", target="T")
        guard = make_transfer_pipeline(model, method="guard", cv=3)
        with pytest.warns(UserWarning, match="leaves out 'empty'"):
            guard.fit(data.X, data.y, **data.metadata)
        answers.append(guard.predict_proba(data.X))
        other = from_frame(frames[0], label="left", domain="site", target="T")
        np.testing.assert_array_equal(guard.predict_proba(other.X), answers[-1])
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
