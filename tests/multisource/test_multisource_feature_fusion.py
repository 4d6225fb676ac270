"""Fusion of source features: limits, scores, heads."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.metrics import h_score, logme, otce
from sktransfer.multisource import FeatureFusion


def problem(seed=0, n_labeled=30):
    rng = np.random.default_rng(seed)
    X, domain = rng.normal(size=(320, 5)), np.repeat([1, 2, -1], [100, 100, 120])
    y = (X[:, 0] + X[:, 1] > 0).astype(float)
    y[100:200] = rng.integers(2, size=100)  # source 2 has no rule
    y[200 + n_labeled :] = np.nan
    return X, y, domain


def net(width=4, seed=0):
    return MLPClassifier((width,), max_iter=40, random_state=seed, tol=1.0)


def models(X, y, domain, widths=(4, 4)):
    return [
        net(width, k).fit(X[domain == k + 1], y[domain == k + 1])
        for k, width in enumerate(widths)
    ]


def hidden(model, X):
    return np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0)


@pytest.mark.parametrize("fusion", ["concatenate", "sum"])
def test_one_source_is_its_features(fusion):
    """One source: its features."""
    X, y, domain = problem()
    model = models(X, y, domain)[0]
    target = domain < 0
    fused = FeatureFusion(LogisticRegression(), source_models=model, fusion=fusion)
    fused.fit(X[target], y[target], sample_domain=domain[target])
    assert_allclose(fused.source_weights_, 1.0)
    scaler = StandardScaler().fit(hidden(model, X[target]))
    known = target & ~np.isnan(y)
    head = LogisticRegression().fit(scaler.transform(hidden(model, X[known])), y[known])
    expected = head.predict_proba(scaler.transform(hidden(model, X[target])))
    assert_allclose(fused.predict_proba(X[target]), expected)


@pytest.mark.parametrize("score", ["h_score", "logme", "uniform"])
def test_equal_models_have_uniform_weights(score):
    """Equal models: uniform weights."""
    X, y, domain = problem()
    model = models(X, y, domain)[0]
    target = domain < 0
    fused = FeatureFusion(
        LogisticRegression(), source_models=[model] * 3, source_score=score
    )
    fused.fit(X[target], y[target], sample_domain=domain[target])
    assert_allclose(fused.source_weights_, 1 / 3)


def test_a_small_temperature_is_the_best_model_alone():
    """Temperature to 0: the best model alone."""
    X, y, domain = problem()
    given = models(X, y, domain)
    target = domain < 0
    args = X[target], y[target]

    def fit(chosen):
        model = FeatureFusion(
            LogisticRegression(), source_models=chosen, temperature=1e-4, fusion="sum"
        )
        return model.fit(*args, sample_domain=domain[target])

    fused = fit(given)
    best = int(np.argmax(fused.source_scores_))
    alone = fit(given[best])
    assert fused.source_weights_[best] > 1 - 1e-8
    assert_allclose(fused.predict_proba(X), alone.predict_proba(X), atol=1e-6)


def test_concatenation_with_an_l2_head_is_invariant_to_order():
    """Concatenation with an L2 head is invariant to order."""
    X, y, domain = problem()
    given = models(X, y, domain, widths=(4, 6))
    target = domain < 0
    forth, back = (
        FeatureFusion(
            LogisticRegression(),
            source_models=chosen,
            head=LogisticRegression(tol=1e-8),
        ).fit(X[target], y[target], sample_domain=domain[target])
        for chosen in (given, given[::-1])
    )
    assert_allclose(forth.predict_proba(X), back.predict_proba(X), atol=1e-5)
    assert_allclose(forth.source_weights_, back.source_weights_[::-1])


def test_scores_are_those_of_metrics():
    X, y, domain = problem()
    known = (domain < 0) & ~np.isnan(y)
    learner = make_pipeline(StandardScaler(), PCA(2), LogisticRegression())

    def scores(name):
        fused = FeatureFusion(learner, source_score=name)
        return fused.fit(X, y, sample_domain=domain).source_scores_

    features = []
    for source in (1, 2):
        rows = domain == source
        steps = make_pipeline(StandardScaler(), PCA(2)).fit(X[rows])
        features.append((steps.transform(X[rows]), y[rows], steps.transform(X[known])))
    labels = y[known]
    assert_allclose(
        scores("h_score"),
        [h_score(f, labels, shrinkage="ledoit_wolf") for _, _, f in features],
    )
    assert_allclose(scores("logme"), [logme(f, labels) for _, _, f in features])
    assert_allclose(
        scores("otce"),
        [otce(*part, labels, tol=1e-4, random_state=0) for part in features],
        atol=1e-3,
    )


def test_a_source_without_a_rule_gets_less():
    gaps = []
    for seed in range(3):
        X, y, domain = problem(seed)
        model = FeatureFusion(LogisticRegression(), temperature=0.1)
        weights = model.fit(X, y, sample_domain=domain).source_weights_
        gaps.append(weights[0] - weights[1])
    assert np.mean(gaps) > 0.3


def test_learners_without_features_give_probabilities():
    X, y, domain = problem()
    model = FeatureFusion(LogisticRegression()).fit(X, y, sample_domain=domain)
    asked = FeatureFusion(LogisticRegression(), response="predict_proba")
    asked.fit(X, y, sample_domain=domain)
    assert_allclose(model.predict_proba(X), asked.predict_proba(X))


def test_weights_reach_models_and_head():
    X, y, domain = problem()
    with sklearn.config_context(enable_metadata_routing=True):
        learner = LogisticRegression().set_fit_request(sample_weight=True)

        def proba(rows=slice(None), **weight):
            model = FeatureFusion(learner)
            model.fit(X[rows], y[rows], sample_domain=domain[rows], **weight)
            return model.predict_proba(X)

        half = np.where(np.arange(len(y)) % 2 == 0, 1.0, 0.0)
        assert_allclose(proba(sample_weight=half), proba(slice(None, None, 2)))
        heavy = proba(sample_weight=np.where(domain < 0, 9.0, 1.0))
        assert np.abs(heavy - proba()).max() > 1e-3


def test_bad_input_is_one_error():
    X, y, domain = problem()
    given = models(X, y, domain, widths=(4, 6))
    target = domain < 0
    args = {"sample_domain": domain[target]}
    with pytest.raises(ValueError, match="widths"):
        FeatureFusion(
            LogisticRegression(), source_models=given, fusion="sum",
            response="features",
        ).fit(X[target], y[target], **args)  # fmt: skip
    with pytest.raises(ValueError, match="couples source rows"):
        FeatureFusion(
            LogisticRegression(), source_models=given, source_score="otce"
        ).fit(X[target], y[target], **args)


def test_string_labels():
    X, y, domain = problem()
    labels = np.full(len(y), None, dtype=object)
    known = ~np.isnan(y)
    labels[known] = np.where(y[known] > 0, "yes", "no")
    named = FeatureFusion(LogisticRegression()).fit(X, labels, sample_domain=domain)
    plain = FeatureFusion(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert_array_equal(named.predict(X) == "yes", plain.predict(X) == 1)


def test_one_class_is_a_constant():
    X, y, domain = problem()
    y[domain < 0] = np.where(np.isnan(y[domain < 0]), np.nan, 1.0)
    model = FeatureFusion(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert_array_equal(model.predict(X), 1.0)


@pytest.mark.parametrize("score", ["h_score", "logme", "otce", "uniform"])
@pytest.mark.parametrize("fusion", ["sum", "concatenate"])
def test_a_source_of_one_class_has_no_features(score, fusion):
    X, y, domain = problem()
    y[domain == 2] = 1
    learner = make_pipeline(StandardScaler(), LogisticRegression())
    model = FeatureFusion(learner, source_score=score, fusion=fusion)
    model.fit(X, y, sample_domain=domain)
    assert model.source_scores_[1] <= model.source_scores_[0]
    assert np.isfinite(model.predict_proba(X)).all()
