"""Which labeled rows a plain estimator sees."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing

from sktransfer.base import get_transfer_tags, without_sources
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly


@pytest.fixture
def data(rng):
    X = rng.normal(size=(50, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=50)
    domain = np.repeat([1, 2, -1], [15, 15, 20])
    y[45:] = np.nan
    return X, y, domain


def test_source_only_is_the_fit_on_source_rows(data):
    X, y, domain = data
    model = SourceOnly(Ridge()).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(
        model.estimator_.coef_, Ridge().fit(X[:30], y[:30]).coef_
    )


def test_target_only_is_the_fit_on_labeled_target_rows(data):
    X, y, domain = data
    model = TargetOnly(Ridge()).fit(X, y, sample_domain=domain)
    expected = Ridge().fit(X[30:45], y[30:45])
    np.testing.assert_array_equal(model.estimator_.coef_, expected.coef_)


@pytest.mark.parametrize("source_weight", [0.0, 0.3, 1.0])
def test_pooled_minimizes_the_weighted_sum(data, source_weight):
    X, y, domain = data
    model = Pooled(Ridge(), source_weight=source_weight)
    model.fit(X, y, sample_domain=domain)
    weight = np.r_[np.full(30, source_weight), np.ones(15)]
    expected = Ridge().fit(X[:45], y[:45], sample_weight=weight)
    np.testing.assert_allclose(model.estimator_.coef_, expected.coef_, rtol=1e-10)


def test_pooled_without_weights_takes_any_learner(data):
    X, y, domain = data
    classes = np.where(np.isnan(y), -1, y > 0).astype(int)
    model = Pooled(KNeighborsClassifier()).fit(X, classes, sample_domain=domain)
    assert model.predict(X).shape == (50,)
    with pytest.raises(
        TypeError, match=r"KNeighborsClassifier.*takes no sample_weight"
    ):
        Pooled(KNeighborsClassifier(), source_weight=0.5).fit(
            X, classes, sample_domain=domain
        )


def test_methods_follow_the_learner(data):
    assert not hasattr(Pooled(Ridge()), "predict_proba")
    assert hasattr(Pooled(LogisticRegression()), "predict_proba")
    assert not hasattr(Pooled(Ridge()), "classes_")


def test_a_composite_that_drops_the_weights_is_refused_with_the_line_to_add(data):
    X, y, domain = data
    classes = np.where(np.isnan(y), -1, y > 0).astype(int)
    model = Pooled(OneVsRestClassifier(LogisticRegression()), source_weight=0.5)
    with pytest.raises(TypeError, match=r"LogisticRegression\(...\).set_fit_request"):
        model.fit(X, classes, sample_domain=domain)
    inner = make_pipeline(StandardScaler(), KNeighborsClassifier())
    with pytest.raises(TypeError, match="sample_weight to none of its steps"):
        Pooled(inner, source_weight=0.5).fit(X, classes, sample_domain=domain)


def test_the_last_step_of_a_plain_pipeline_gets_the_weights(data):
    X, y, domain = data
    model = Pooled(make_pipeline(StandardScaler(), Ridge()), source_weight=0.5)
    model.fit(X, y, sample_domain=domain)
    Z = StandardScaler().fit_transform(X[:45])
    weight = np.r_[np.full(30, 0.5), np.ones(15)]
    expected = Ridge().fit(Z, y[:45], sample_weight=weight)
    np.testing.assert_allclose(model.estimator_[-1].coef_, expected.coef_, rtol=1e-10)


def test_a_pipeline_that_requests_the_weights_gets_them(data, routing):
    X, y, domain = data
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    ridge = Ridge().set_fit_request(sample_weight=True)
    model = Pooled(make_pipeline(scaler, ridge), source_weight=0.5)
    model.fit(X, y, sample_domain=domain)
    Z = StandardScaler().fit_transform(X[:45])
    weight = np.r_[np.full(30, 0.5), np.ones(15)]
    expected = Ridge().fit(Z, y[:45], sample_weight=weight)
    np.testing.assert_allclose(model.estimator_[-1].coef_, expected.coef_, rtol=1e-10)


def test_capabilities_of_a_pipeline_are_those_of_its_last_step():
    pipeline = make_pipeline(StandardScaler(), TargetOnly(Ridge()))
    assert get_transfer_tags(pipeline).target_labels == "required"


def test_without_sources_copies_step_by_step():
    pipeline = make_pipeline(StandardScaler(), Pooled(Ridge(alpha=3.0)))
    copy = without_sources(pipeline)
    assert copy is not pipeline
    assert copy[-1].estimator.alpha == 3.0
    assert copy[0] is not pipeline[0]


def test_the_domain_is_a_column_and_rows_to_predict_are_target_rows(data):
    X, y, domain = data
    y = y + 5.0 * (domain == 2)  # a level of its own
    model = Pooled(LinearRegression(), add_domain="one-hot")
    model.fit(X, y, sample_domain=domain)
    columns = np.column_stack([domain == 1, domain == 2, domain == -1])
    Z = np.hstack([X, columns.astype(float)])
    expected = LinearRegression().fit(Z[:45], y[:45])
    Z_target = np.hstack([X, np.tile([0.0, 0.0, 1.0], (50, 1))])
    np.testing.assert_allclose(model.predict(X), expected.predict(Z_target))
    score = expected.score(Z_target[30:45], y[30:45])
    assert model.score(X[30:45], y[30:45]) == pytest.approx(score)


def test_the_domain_as_an_integer_is_0_for_the_target(data):
    X, y, domain = data
    model = Pooled(LinearRegression(), add_domain="integer")
    model.fit(X, y, sample_domain=np.where(domain == 2, 9, domain))
    codes = np.select([domain == 1, domain == 2], [1.0, 2.0])
    expected = LinearRegression().fit(np.column_stack([X, codes])[:45], y[:45])
    np.testing.assert_allclose(model.estimator_.coef_, expected.coef_)
    target = np.column_stack([X, np.zeros(50)])
    np.testing.assert_allclose(model.predict(X), expected.predict(target))


@pytest.mark.parametrize("sizes", [(70, 30), (50, 50)])
@pytest.mark.parametrize("as_frame", [False, True])
def test_trees_break_ties_alike_however_the_sources_are_numbered(sizes, as_frame):
    import pandas as pd

    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(124, 3)).astype(float)
    domain = np.repeat([1, 2, -1], [*sizes, 24])
    y = (X[:, 0] + 0.5 * domain + rng.normal(size=124) > 1.5).astype(int)
    rows = X
    if as_frame:
        rows = pd.DataFrame(X, columns=list("abc")).astype({"c": "category"})
    trees = HistGradientBoostingClassifier(
        max_iter=30, min_samples_leaf=2, categorical_features="from_dtype"
    )
    renamed = np.select([domain == 1, domain == 2], [2, 1], domain)
    models = [
        Pooled(trees, add_domain=True).fit(rows, y, sample_domain=ids)
        for ids in (domain, renamed)
    ]
    first, second = (model.predict_proba(rows) for model in models)
    np.testing.assert_array_equal(first, second)


def test_without_a_source_no_domain_is_added(data):
    X, y, domain = data
    target = domain < 0
    model = Pooled(Ridge(), add_domain=True)
    model.fit(X[target], y[target], sample_domain=domain[target])
    np.testing.assert_array_equal(
        model.estimator_.coef_, Ridge().fit(X[30:45], y[30:45]).coef_
    )


def _pandas_frame(X):
    import pandas as pd

    return pd.DataFrame(X, columns=list("abc")).assign(
        kind=pd.Categorical(np.where(X[:, 0] > 0, "up", "down"))
    )


def _polars_frame(X):
    import polars as pl

    kinds = pl.Series(np.where(X[:, 0] > 0, "up", "down"), dtype=pl.Categorical())
    return pl.DataFrame(X, schema=list("abc")).with_columns(kind=kinds)


@pytest.mark.parametrize("make_frame", [_pandas_frame, _polars_frame])
def test_a_mixed_frame_gets_a_categorical_column_and_keeps_its_dtypes(data, make_frame):
    X, y, domain = data
    frame = make_frame(X)
    seen = {}

    class Recorder(DummyRegressor):
        def fit(self, X, y):
            seen["fit"] = X
            return super().fit(X, y)

        def predict(self, X):
            seen["predict"] = X
            return super().predict(X)

    Pooled(Recorder(), add_domain=True).fit(frame, y, sample_domain=domain).predict(
        frame
    )
    for stage in ("fit", "predict"):
        assert list(seen[stage].columns) == ["a", "b", "c", "kind", "domain"]
        assert list(seen[stage].dtypes)[:4] == list(frame.dtypes)
    names = {1: "source 1", 2: "source 2", -1: "target"}
    assert list(seen["fit"]["domain"]) == [names[i] for i in domain[:45]]
    assert set(seen["predict"]["domain"]) == {"target"}
    assert seen["fit"]["domain"].dtype == seen["predict"]["domain"].dtype
    trees = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=2)
    model = Pooled(trees, add_domain=True).fit(frame, y, sample_domain=domain)
    assert model.estimator_.is_categorical_.tolist() == [False] * 3 + [True] * 2


def test_bad_domain_columns_are_refused_by_name(data):
    import pandas as pd

    X, y, domain = data
    taken = pd.DataFrame(X, columns=["a", "b", "domain"])
    with pytest.raises(ValueError, match=r"'domain'.*rename or drop"):
        Pooled(Ridge(), add_domain="integer").fit(taken, y, sample_domain=domain)
    with pytest.raises(TypeError, match="add_domain='category' needs X as a pandas"):
        Pooled(Ridge(), add_domain="category").fit(X, y, sample_domain=domain)


def test_sparse_rows_stay_sparse_with_their_domain(data):
    X, y, domain = data
    dense = Pooled(Ridge(), add_domain=True).fit(X, y, sample_domain=domain)
    sparse_X = sparse.csr_array(X)
    model = Pooled(Ridge(), add_domain=True).fit(sparse_X, y, sample_domain=domain)
    np.testing.assert_allclose(
        model.predict(sparse_X), dense.predict(X), rtol=1e-3, atol=1e-3
    )


def test_max_rows_is_a_budget_of_each_source_and_spares_the_target(data):
    X, y, domain = data
    model = Pooled(Ridge(), max_rows=5).fit(X, y, sample_domain=domain)
    kept = domain[model.rows_]
    assert [(kept == i).sum() for i in (1, 2, -1)] == [5, 5, 15]
    expected = Ridge().fit(X[model.rows_], y[model.rows_])
    np.testing.assert_array_equal(model.estimator_.coef_, expected.coef_)
    everything = Pooled(Ridge(), max_rows=15).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(everything.rows_, np.arange(45))
    other = Pooled(Ridge(), max_rows=5, random_state=1).fit(X, y, sample_domain=domain)
    assert set(other.rows_) != set(model.rows_)


def _text_frame(X):
    import pandas as pd

    kind = np.where(X[:, 0] > 0, "up", "down")
    return pd.DataFrame(X, columns=list("abc")).assign(kind=kind)


@pytest.mark.parametrize("kind", [np.asarray, _text_frame])
def test_the_sample_of_a_source_does_not_depend_on_the_order_of_rows(data, rng, kind):
    X, y, domain = data
    rows = kind(X)
    order = rng.permutation(50)
    shuffled = _safe_indexing(rows, order)
    learner = DummyRegressor()
    first = Pooled(learner, max_rows=5).fit(rows, y, sample_domain=domain)
    second = Pooled(learner, max_rows=5).fit(
        shuffled, y[order], sample_domain=domain[order]
    )
    assert set(first.rows_) == set(order[second.rows_])


def test_the_sample_of_a_source_keeps_its_classes_in_proportion(rng):
    classes = np.repeat([0, 1, 2], [160, 39, 1])
    X, domain = rng.normal(size=(203, 2)), np.repeat([1, -1], [200, 3])
    y = np.concatenate([classes, [0, 1, 2]])
    model = Pooled(DummyClassifier(), max_rows=20).fit(X, y, sample_domain=domain)
    counts = np.bincount(y[model.rows_[model.rows_ < 200]])
    assert counts.sum() == 20
    assert counts[2] == 1  # a rare class is not lost
    assert abs(counts[0] - 16) <= 1


def test_metadata_follow_the_sample(data, routing):
    X, y, domain = data
    model = Pooled(Ridge().set_fit_request(sample_weight=True), max_rows=4)
    weight = np.arange(1.0, 51.0)
    model.fit(X, y, sample_domain=domain, sample_weight=weight)
    rows = model.rows_
    expected = Ridge().fit(X[rows], y[rows], sample_weight=weight[rows])
    np.testing.assert_allclose(model.estimator_.coef_, expected.coef_)


@pytest.mark.parametrize("learner", [KNeighborsClassifier(), LogisticRegression()])
@pytest.mark.parametrize("name", ["sample_weight", "groups"])
def test_metadata_of_none_is_as_not_given(data, learner, name):
    """Also for a learner that takes no weights: None is no weight to lose."""
    X, y, domain = data
    y = np.where(np.isnan(y), np.nan, y > 0)
    model = Pooled(learner)
    expected = model.fit(X, y, sample_domain=domain).predict(X)
    model.fit(X, y, sample_domain=domain, **{name: None})
    np.testing.assert_array_equal(model.predict(X), expected)
