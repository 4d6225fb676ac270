"""Which labeled rows a plain estimator sees."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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


def test_a_pipeline_that_drops_the_weights_is_refused_with_the_line_to_add(data):
    X, y, domain = data
    model = Pooled(make_pipeline(StandardScaler(), Ridge()), source_weight=0.5)
    with pytest.raises(TypeError, match=r"Ridge\(...\).set_fit_request"):
        model.fit(X, y, sample_domain=domain)


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
