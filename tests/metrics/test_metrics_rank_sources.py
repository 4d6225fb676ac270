import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sktransfer import metrics
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.exceptions import DomainError
from sktransfer.metrics import cross_val_ntg, rank_sources
from sktransfer.metrics._rank_sources import (
    SOURCE_SCORES,
    choose_sources,
    resolve_score,
)

NEAR, FAR = 4, 9


@pytest.fixture
def data():
    """A source like the target, and one that is shifted and has flipped labels."""
    rng = np.random.RandomState(0)
    sizes = [30, 40, 35]
    domain = np.repeat([NEAR, FAR, -1], sizes)
    label = np.arange(105) % 2
    X = rng.normal(size=(105, 3)) + 1.5 * label[:, None] * [1, 1, 0]
    far = domain == FAR
    X[far] = 2.5 * X[far] @ np.linalg.qr(rng.normal(size=(3, 3)))[0] + 2.0
    label[far] = 1 - label[far]
    y = np.array(["a", "b"], dtype=object)[label]
    y[-10:] = None
    order = rng.permutation(105)
    return X[order], y[order], domain[order]


def column(table, score, key="value"):
    return table[key][table["score"] == score]


def pipeline():
    return make_pipeline(StandardScaler(), Pooled(LogisticRegression()))


def labeled_target(data):
    X, y, domain = data
    rows = (domain < 0) & np.array([label is not None for label in y])
    return X[rows], y[rows].astype(str)


def test_scores_agree_with_their_functions(data):
    X, y, domain = data
    table = rank_sources(pipeline(), X, y, domain, scores="all", random_state=0)
    assert set(table["score"]) == set(SOURCE_SCORES)
    assert (table["note"] == "").all()
    target, labels = labeled_target(data)
    for k, source in enumerate((NEAR, FAR)):
        rows = domain == source
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit(X[rows], y[rows].astype(str))
        for name in ("leep", "nce", "h_score", "logme", "transrate", "gbc", "n_leep"):
            expected = getattr(metrics, f"{name}_scorer")(model, target, labels)
            assert column(table, name)[k] == pytest.approx(expected), name
        transform = model[0].transform
        otce = metrics.otce(transform(X[rows]), y[rows], transform(target), labels)
        assert column(table, "otce")[k] == pytest.approx(otce)
        distance = metrics.mmd(X[rows], X[domain < 0])
        assert column(table, "mmd")[k] == pytest.approx(distance)


def test_gap_is_that_of_each_source_alone(data):
    X, y, domain = data
    table = rank_sources(
        pipeline(), X, y, domain, scores=["ntg"], cv=4, scoring="neg_log_loss",
        confidence_level=0.8, random_state=3,
    )  # fmt: skip
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    for k, source in enumerate((NEAR, FAR)):
        rows = (domain == source) | (domain < 0)
        result = cross_val_ntg(
            pipeline(), X[rows], y[rows], sample_domain=domain[rows], cv=4,
            scoring="neg_log_loss", confidence_level=0.8, random_state=seed,
        )  # fmt: skip
        row = [table[name][k] for name in ("value", "low", "high")]
        assert row == pytest.approx([result.ntg, *result.interval])


def test_directions_prefer_the_near_source(data):
    X, y, domain = data
    table = rank_sources(pipeline(), X, y, domain, scores="all", random_state=0)
    # these see a source only through the scaler that it fitted
    blind = {"n_leep", "h_score", "logme", "transrate", "silhouette", "gbc"}
    seen = set(table["score"]) - blind
    assert len(seen) == 20
    for name in seen:
        assert_array_equal(column(table, name, "rank"), [1, 2], err_msg=name)
        near, far = column(table, name)
        assert column(table, name, "higher_is_better")[0] == (near > far), name


def test_noisy_source_labels_transfer_worse():
    rng = np.random.RandomState(0)
    X, domain = rng.normal(size=(240, 3)), np.repeat([1, 2, -1], 80)
    y = (X[:, 0] > 0).astype(int)
    y[domain == 2] = rng.randint(2, size=80)
    table = rank_sources(
        Pooled(LogisticRegression()), X, y, domain, scores=["leep", "nce", "ntg"]
    )
    for name in ("leep", "nce"):
        assert column(table, name, "higher_is_better").all()
        assert_array_equal(column(table, name, "rank"), [1, 2])
    assert not column(table, "ntg", "higher_is_better").any()


def test_selected_is_one_subset(data):
    X, y, domain = data

    def selected(**options):
        table = rank_sources(
            pipeline(), X, y, domain, scores=["mmd", "q_statistic", "ntg"],
            cv=3, random_state=0, **options,
        )  # fmt: skip
        values = table["selected"].reshape(3, 2)
        assert (values == values[0]).all()
        return values[0].tolist()

    assert selected() == [True, False]  # the gap of the far source is above 0
    assert selected(select_by="mmd") == [True, False]  # the better half
    assert selected(select_by="mmd", n_sources=2) == [True, True]
    assert selected(select_by="mmd", threshold=1e-9) == [False, False]
    assert selected(select_by="q_statistic", threshold=-1.0) == [True, True]
    assert selected(select_by="q_statistic", threshold=0.6) == [True, False]


@pytest.mark.parametrize("name", ["mmd", "leep"])
def test_choice_by_threshold_and_number(name):
    score = resolve_score(name)
    sign = -1 if score.higher_is_better else 1
    values = sign * np.array([2.0, 1.0, np.nan, 1.0, 3.0])

    def kept(threshold=None, n_sources=None):
        threshold = None if threshold is None else sign * threshold
        mask = choose_sources(score, values, threshold, n_sources)
        return np.flatnonzero(mask).tolist()

    assert kept() == [0, 1, 3]
    assert kept(n_sources=1) == [1]  # of equal sources the first
    assert kept(n_sources=9) == [0, 1, 3, 4]  # never the undefined one
    assert kept(threshold=2.0) == [0, 1, 3]
    assert kept(threshold=2.0, n_sources=2) == [1, 3]
    assert kept(threshold=0.5) == []


def test_defaults_follow_what_is_there(data):
    X, y, domain = data
    target = domain < 0
    unlabeled = np.where(target, None, y)

    def names(estimator, y):
        table = rank_sources(estimator, X, y, domain, cv=3)
        assert {len(v) for v in table.values()} == {len(table["value"])}
        return list(dict.fromkeys(table["score"]))

    similar = ["mmd", "coral_distance"]
    every = [*similar, "leep", "nce", "h_score", "logme", "ntg"]
    assert names(pipeline(), y) == every
    assert names(pipeline(), unlabeled) == similar
    assert names(pipeline(), None) == similar
    # a model without features, one without domains, one without predictions
    assert names(Pooled(LogisticRegression()), y) == [*similar, "leep", "nce", "ntg"]
    assert names(LogisticRegression(), y) == [*similar, "leep", "nce"]
    assert names(PCA(2), y) == [*similar, "h_score", "logme"]
    real = np.where([v is None for v in y], np.nan, X[:, 0])
    assert names(make_pipeline(PCA(2), Pooled(Ridge())), real) == [
        *similar, "logme", "ntg",
    ]  # fmt: skip


def test_fitted_models_take_the_place_of_the_sources(data):
    X, y, domain = data
    target = domain < 0
    models = {}
    for source in (FAR, NEAR):
        rows = domain == source
        model = make_pipeline(StandardScaler(), LogisticRegression())
        models[source] = model.fit(X[rows], y[rows].astype(str))
    expected = rank_sources(pipeline(), X, y, domain, scores=["leep", "logme"])
    found = rank_sources(models, X[target], y[target], domain[target])
    assert_array_equal(found["source"][:2], [NEAR, FAR])
    for name in ("leep", "logme"):
        assert_allclose(column(found, name), column(expected, name))
    assert not {"mmd", "ntg"} & set(found["score"])
    # with the rows of the sources, similarity and transport work again
    scores = ["mmd", "otce"]
    found = rank_sources(models, X, y, domain, scores=scores, random_state=0)
    expected = rank_sources(pipeline(), X, y, domain, scores=scores, random_state=0)
    assert_allclose(found["value"], expected["value"])
    # a list names the sources 1, 2, ...; labels at face value
    rows, labels = labeled_target(data)
    found = rank_sources([models[NEAR], models[FAR]], rows, labels, None)
    assert_array_equal(found["source"][:2], [1, 2])


def test_callables_and_names(data):
    X, y, domain = data
    target, labels = labeled_target(data)
    table = rank_sources(
        SourceOnly(LogisticRegression()), X, y, domain,
        scores={"accuracy": get_scorer("accuracy"), "distance": "mmd"},
        select_by="accuracy",
    )  # fmt: skip
    rows = domain == NEAR
    model = LogisticRegression().fit(X[rows], y[rows].astype(str))
    assert column(table, "accuracy")[0] == model.score(target, labels)
    assert column(table, "accuracy", "higher_is_better").all()
    assert column(table, "accuracy", "selected").tolist() == [True, False]
    distance = metrics.mmd(X[rows], X[domain < 0])
    assert column(table, "distance")[0] == pytest.approx(distance)


def test_undefined_values_are_noted(data):
    X, y, domain = data

    def moody(model, X, y):
        if model.intercept_[0] < 0:
            raise ValueError("bad mood")
        return 1.0

    near = domain == NEAR
    model = LogisticRegression().fit(X[near], y[near].astype(str))
    other = LogisticRegression().fit(X[near], y[near].astype(str))
    other.intercept_, model.intercept_ = np.array([-1.0]), np.array([1.0])
    table = rank_sources([other, model], *labeled_target(data), None, scores=[moody])
    assert_array_equal(table["value"], [np.nan, 1.0])
    assert_array_equal(table["rank"], [np.nan, 1.0])
    assert table["note"].tolist() == ["bad mood", ""]
    assert table["selected"].tolist() == [False, True]
    # too few labels to hold some out: the next score selects
    marked = np.where(domain < 0, None, y)
    marked[np.flatnonzero(domain < 0)[0]] = "a"
    table = rank_sources(
        Pooled(LogisticRegression()), X, marked, domain, scores=["ntg", "mmd"]
    )
    assert np.isnan(column(table, "ntg")).all()
    assert "hold out" in column(table, "ntg", "note")[0]
    assert column(table, "mmd", "selected").tolist() == [True, False]


def test_containers_order_jobs_and_samples(data):
    import pandas

    X, y, domain = data
    scores = ["mmd", "leep", "otce", "ntg"]

    def values(X, y, domain, **options):
        table = rank_sources(
            pipeline(), X, y, domain, scores=scores, random_state=0, **options
        )
        return table["value"]

    expected = values(X, y, domain)
    order = np.random.RandomState(5).permutation(len(y))
    assert_allclose(values(X[order], y[order], domain[order]), expected)
    assert_allclose(values(X.tolist(), y.tolist(), domain.tolist()), expected)
    frame = pandas.DataFrame(X, columns=list("abc"), index=order)
    assert_allclose(values(frame, y, domain), expected)
    with joblib.parallel_config("threading"):
        assert_allclose(values(X, y, domain, n_jobs=2), expected)
    sampled = values(X, y, domain, max_samples=10)
    # similarity and transport draw rows; models and gaps see all of them
    same = np.repeat([False, True, False, True], 2)
    assert_array_equal(sampled == expected, same)
    plain = Pooled(LogisticRegression())
    dense = rank_sources(plain, X, y, domain, scores=["mmd", "ntg"], random_state=0)
    thin = rank_sources(
        plain, sparse.coo_array(X), y, domain, scores=["mmd", "ntg"], random_state=0
    )
    assert_allclose(thin["value"], dense["value"])


def test_columns_that_only_the_estimator_understands():
    import pandas

    rng = np.random.RandomState(0)
    X = pandas.DataFrame({"a": rng.choice(list("xyz"), 60)})
    y, domain = (X["a"] == "x").astype(int), np.repeat([1, -1], 30)
    estimator = make_pipeline(OneHotEncoder(), Pooled(LogisticRegression()))
    found = rank_sources(estimator, X, y, domain)["score"].tolist()
    assert found == ["leep", "nce", "h_score", "logme", "ntg"]
    table = rank_sources(estimator, X, y, domain, scores=["mmd"])
    assert table["note"][0].startswith("similarity needs numeric columns")
    assert not table["selected"].any()


def test_samples_keep_labeled_rows_for_scores_that_need_them():
    rng = np.random.RandomState(0)
    X, domain = rng.normal(size=(460, 2)), np.repeat([1, -1], [30, 430])
    y = (X[:, 0] > 0).astype(int)
    y[60:] = -1  # 30 labeled among 430 target rows
    table = rank_sources(
        make_pipeline(PCA(), Pooled(LogisticRegression())), X, y, domain,
        scores=["azab_weights", "otce"], max_samples=30,
    )  # fmt: skip
    assert np.isfinite(table["value"]).all(), table["note"]


def test_bootstrap_gives_intervals_of_similarity(data):
    X, y, domain = data
    table = rank_sources(
        Pooled(LogisticRegression()), X, y, domain, scores=["mmd", "leep"],
        n_bootstrap=5, random_state=0,
    )  # fmt: skip
    low, high = column(table, "mmd", "low"), column(table, "mmd", "high")
    assert (low < column(table, "mmd")).all()
    assert (high > column(table, "mmd")).all()
    assert np.isnan(column(table, "leep", "low")).all()


def test_errors(data):
    X, y, domain = data
    estimator = Pooled(LogisticRegression())

    def rank(scores, *, estimator=estimator, y=y, domain=domain, **options):
        return rank_sources(estimator, X, y, domain, scores=scores, **options)

    with pytest.raises(ValueError, match="'nonsense'; known are mmd"):
        rank(["nonsense"])
    with pytest.raises(ValueError, match="empty"):
        rank([])
    with pytest.raises(ValueError, match="twice"):
        rank(["mmd", "mmd"])
    with pytest.raises(ValueError, match="select_by='leep' is not among"):
        rank(["mmd"], select_by="leep")
    with pytest.raises(ValueError, match="'leep' needs labeled target rows"):
        rank(["leep"], y=np.where(domain < 0, None, y))
    name = "domain_transferability_estimation"
    with pytest.raises(ValueError, match="needs the labels of the sources"):
        rank([name], y=None)
    with pytest.raises(ValueError, match="knows domains; wrap LogisticRegression"):
        rank(["ntg"], estimator=LogisticRegression())
    with pytest.raises(ValueError, match="needs classes"):
        rank(["leep"], estimator=Pooled(Ridge()), y=X[:, 0])
    with pytest.raises(DomainError, match="at least one source"):
        rank(["mmd"], domain=np.full(105, -1))
    with pytest.raises(DomainError, match="2 targets"):
        rank(["mmd"], domain=np.where(domain == NEAR, -2, domain))
    with pytest.raises(NotFittedError):
        rank(["leep"], estimator=[LogisticRegression()])
    model = LogisticRegression().fit(*labeled_target(data))
    with pytest.raises(DomainError, match=r"models of the sources \[1\]"):
        rank(["leep"], estimator=[model])
    with pytest.raises(ValueError, match="unfitted estimator"):
        rank(["ntg"], estimator={NEAR: model, FAR: model})
    rows, labels = labeled_target(data)
    with pytest.raises(ValueError, match="rows of the sources"):
        rank_sources([model], rows, labels, None, scores=["mmd"])
    with pytest.raises(ValueError, match="no model"):
        rank_sources({}, rows, labels, None)
