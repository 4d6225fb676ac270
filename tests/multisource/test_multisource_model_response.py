"""Ensembles on features of source models: equations, limits and errors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from sktransfer.metrics import h_score
from sktransfer.multisource import MCW, HEnsemble

ENSEMBLES = [HEnsemble, MCW]
NET = MLPClassifier((4,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0)


class WithFeatures(LogisticRegression):
    """A classifier whose features are its probabilities."""

    def transform(self, X):
        return self.predict_proba(X)


def make_data(rng, n_classes=2, n_target=40):
    domain = np.repeat([1, 2, -1], [60, 60, n_target])
    y = np.arange(len(domain)) % n_classes
    X = rng.normal(size=(len(domain), 4))
    X[:, 0] += 2.0 * y
    X[domain == 2] = X[domain == 2][:, [1, 0, 2, 3]]
    return X, y, domain


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_with_one_hot_like_features_both_responses_give_the_same_numbers(ensemble, rng):
    """With one-hot-like features both give the present numbers."""
    X, y, domain = make_data(rng, n_classes=3)
    fits = [
        ensemble(WithFeatures(), response=response).fit(X, y, sample_domain=domain)
        for response in ("features", "predict_proba", "auto")
    ]
    for fit in fits[1:]:
        assert_allclose(fit.source_weights_, fits[0].source_weights_, atol=1e-9)
        assert_allclose(fit.predict_proba(X), fits[0].predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize(
    ("learner", "expected"),
    [(LogisticRegression(), "predict_proba"), (NET, "features")],
)
def test_auto_is_features_where_the_models_have_some(ensemble, learner, expected, rng):
    X, y, domain = make_data(rng)
    auto, other = (
        ensemble(learner, response=response).fit(X, y, sample_domain=domain)
        for response in ("auto", expected)
    )
    assert_array_equal(auto.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_probabilities_are_the_default(ensemble, rng):
    X, y, domain = make_data(rng)
    found = ensemble(NET).fit(X, y, sample_domain=domain)
    asked = ensemble(NET, response="predict_proba").fit(X, y, sample_domain=domain)
    assert_array_equal(found.predict_proba(X), asked.predict_proba(X))


def test_h_score_of_the_mixed_features_is_the_h_score(rng):
    """The formula is unchanged: the H-score of one source's features at weight 1."""
    X, y, domain = make_data(rng)
    rows = domain != 2
    model = HEnsemble(NET, response="features", shrinkage=1e-12)
    model.fit(X[rows], y[rows], sample_domain=domain[rows])
    target = domain < 0
    hidden = np.maximum(X[target] @ _hidden(model)[0] + _hidden(model)[1], 0)
    assert model.h_score_ == pytest.approx(
        h_score(hidden, y[target], shrinkage=0.0), rel=1e-6
    )


def _hidden(model):
    net = model.estimator_.models[0]
    return net.coefs_[0], net.intercepts_[0]


def test_mcw_takes_features_of_any_widths_and_h_ensemble_one(rng):
    """Equal widths for HEnsemble; MCW any."""
    X, y, _ = make_data(rng)
    models = [
        make_pipeline(PCA(k), LogisticRegression()).fit(X[:120], y[:120])
        for k in (2, 3)
    ]
    target = (X[120:], y[120:])
    found = MCW(LogisticRegression(), source_models=models, response="features")
    found.fit(*target)
    assert found.correlations_.shape == (2, 3)
    assert found.correlations_[0, 2] == 0
    features = np.hstack([m[:-1].transform(X[120:]) for m in models])
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    means = np.stack([features[y[120:] == c].mean(axis=0) for c in (0, 1)])
    expected = np.sqrt(np.bincount(y[120:]) / 40 @ means**2)
    assert_allclose(np.r_[found.correlations_[0, :2], found.correlations_[1]], expected)
    mixed = HEnsemble(LogisticRegression(), source_models=models, response="auto")
    proba = clone(mixed).set_params(response="predict_proba").fit(*target)
    assert_array_equal(mixed.fit(*target).predict_proba(X), proba.predict_proba(X))
    with pytest.raises(ValueError, match=r"widths \[2, 3\]"):
        mixed.set_params(response="features").fit(*target)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_model_without_features_is_named(ensemble, rng):
    X, y, domain = make_data(rng)
    model = ensemble(LogisticRegression(), response="features")
    with pytest.raises(TypeError, match=r"source 1 \(LogisticRegression\) has no feat"):
        model.fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_source_of_one_class_adds_nothing(ensemble, rng):
    X, y, domain = make_data(rng)
    alone = domain != 2
    without = ensemble(LinearDiscriminantAnalysis(), response="features")
    without.fit(X[alone], y[alone], sample_domain=domain[alone])
    y[domain == 2] = 1
    model = ensemble(LinearDiscriminantAnalysis(), response="features")
    model.fit(X, y, sample_domain=domain)
    assert_allclose(model.source_weights_, [1, 0], atol=1e-8)
    assert_allclose(model.predict(X), without.predict(X))
    rows = domain != 1
    with pytest.raises(TypeError, match="every source has one class"):
        model.fit(X[rows], y[rows], sample_domain=domain[rows])


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_features_of_sparse_samples(ensemble, rng):
    X, y, domain = make_data(rng)
    X[np.abs(X) < 0.5] = 0
    learner = make_pipeline(TruncatedSVD(2, random_state=0), LogisticRegression())
    model = ensemble(learner, response="features")
    dense = clone(model).fit(X, y, sample_domain=domain)
    found = model.fit(sparse.csr_matrix(X), y, sample_domain=domain)
    assert_allclose(
        found.predict_proba(sparse.csr_matrix(X)), dense.predict_proba(X), atol=1e-6
    )


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_order_of_sources_and_labels_do_not_matter(ensemble, rng):
    X, y, domain = make_data(rng)
    model = ensemble(NET, response="features").fit(X, y, sample_domain=domain)
    names = np.array(["no", "yes"], dtype=object)[y]
    swapped = np.where(domain == 1, 7, np.where(domain == 2, 3, -1))
    other = ensemble(NET, response="features").fit(X, names, sample_domain=swapped)
    assert_allclose(other.source_weights_[::-1], model.source_weights_, atol=1e-6)
    assert_allclose(other.predict_proba(X), model.predict_proba(X), atol=1e-6)
