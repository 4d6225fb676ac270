"""Learners on source samples weighted by a ratio of densities."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.stats import spearmanr
from sklearn import config_context
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer.exceptions import CollapsedWeightsWarning
from sktransfer.instance import (
    KLIEP,
    KMM,
    RULSIF,
    ULSIF,
    DomainClassifierWeighting,
    GaussianWeighting,
    NearestNeighborWeighting,
    domain_classifier_weights,
    domain_density_ratios,
    effective_sample_size,
    gaussian_weights,
    kliep_weights,
    nearest_neighbor_weights,
    rulsif_weights,
    ulsif_weights,
)

PAIRS = [
    (ULSIF, ulsif_weights),
    (RULSIF, rulsif_weights),
    (KLIEP, kliep_weights),
    (DomainClassifierWeighting, domain_classifier_weights),
    (NearestNeighborWeighting, nearest_neighbor_weights),
    (GaussianWeighting, gaussian_weights),
]
CLASSES = [pair[0] for pair in PAIRS]
FUNCTIONS = [pair[1] for pair in PAIRS]


def shifted(rng, n=400, shift=0.7, scale=0.8):
    X_source = rng.normal(size=(n, 1))
    X_target = shift + scale * rng.normal(size=(n, 1))
    log_ratio = X_source**2 / 2 - (X_source - shift) ** 2 / (2 * scale**2)
    return X_source, X_target, np.exp(log_ratio[:, 0]) / scale


def table(X_source, X_target, y_source):
    X = np.concatenate([X_source, X_target])
    y = np.r_[y_source, np.full(len(X_target), np.nan)]
    return X, y, np.repeat([1, -1], [len(X_source), len(X_target)])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_weights_follow_the_density_ratio_the_right_way_round(function, rng):
    X_source, X_target, ratio = shifted(rng)
    weights = function(X_source, X_target)
    rank = 0.4 if function is nearest_neighbor_weights else 0.85
    assert spearmanr(weights, ratio)[0] > rank
    assert weights.mean() == pytest.approx(1.0, abs=0.2)
    assert (weights >= 0).all()


@pytest.mark.parametrize(("cls", "function"), PAIRS)
def test_the_learner_gets_the_weights_of_the_function(cls, function, rng):
    X_source, X_target, _ = shifted(rng, 60)
    y_source = X_source[:, 0] ** 2
    X, y, domain = table(X_source, X_target, y_source)
    model = cls(LinearRegression()).fit(X, y, sample_domain=domain)
    weights = function(X_source, X_target)
    assert_allclose(model.sample_weight_, weights, rtol=1e-10)
    by_hand = LinearRegression().fit(X_source, y_source, sample_weight=weights)
    assert_allclose(model.predict(X_target), by_hand.predict(X_target))
    size = effective_sample_size(weights)
    assert model.effective_sample_size_ == pytest.approx(size)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_neither_the_order_of_the_samples_matters_nor_an_offset(function, rng):
    X_source, X_target, _ = shifted(rng, 80)
    weights = function(X_source, X_target)
    order = rng.permutation(80)
    moved = function(X_source[order] + 64.0, X_target[::-1] + 64.0)
    assert_allclose(moved, weights[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [ULSIF, RULSIF, KLIEP])
def test_sparse_samples_get_the_weights_of_dense_ones(cls, rng):
    X_source, X_target, _ = shifted(rng, 40)
    X, y, domain = table(X_source, X_target, X_source[:, 0])
    X = np.column_stack([np.where(rng.uniform(size=80) < 0.5, 0.0, X[:, 0]), X[:, 0]])
    dense = cls(Ridge(), gamma=1.0).fit(X, y, sample_domain=domain)
    thin = cls(Ridge(), gamma=1.0).fit(sparse.csr_array(X), y, sample_domain=domain)
    assert_allclose(thin.sample_weight_, dense.sample_weight_, rtol=1e-6, atol=1e-8)


def test_rulsif_without_a_share_is_ulsif(rng):
    X_source, X_target, _ = shifted(rng, 100)
    assert_allclose(
        rulsif_weights(X_source, X_target, alpha=0.0),
        ulsif_weights(X_source, X_target),
    )


def test_the_relative_ratio_is_bounded(rng):
    X_source, X_target, ratio = shifted(rng, 600, shift=1.5, scale=0.5)
    weights = rulsif_weights(X_source, X_target, alpha=0.5)
    assert weights.max() < 2.2 < ratio.max()
    relative = ratio / (0.5 * ratio + 0.5)
    assert np.corrcoef(weights, relative)[0, 1] > 0.9


def test_kliep_weights_average_to_one(rng):
    X_source, X_target, _ = shifted(rng, 100)
    assert kliep_weights(X_source, X_target).mean() == pytest.approx(1.0, abs=1e-12)
    X, y, domain = table(X_source, X_target, X_source[:, 0])
    domain[:30] = 2
    model = KLIEP(Ridge(), per_source=True).fit(X, y, sample_domain=domain)
    assert model.sample_weight_[:30].mean() == pytest.approx(1.0, abs=1e-12)
    assert model.sample_weight_[30:].mean() == pytest.approx(1.0, abs=1e-12)
    assert len(model.ratio_info_) == 2


def test_copies_of_a_source_sample_share_their_count():
    X_target = [[0.9], [1.1], [3.0]]
    once = nearest_neighbor_weights([[1.0], [3.0]], X_target, smoothing=0.0)
    assert_allclose(once, [4 / 3, 2 / 3])
    twice = nearest_neighbor_weights([[1.0], [1.0], [3.0]], X_target, smoothing=0.0)
    assert_allclose(twice, [1.0, 1.0, 1.0])
    # halfway between two, and the second of two neighbors
    assert_allclose(nearest_neighbor_weights([[0.0], [2.0]], [[1.0]]), [1.0, 1.0])
    weights = nearest_neighbor_weights(
        [[0.0], [1.0], [3.0], [3.0]], [[0.9]], n_neighbors=2, smoothing=0.0
    )
    assert_allclose(weights, [2.0, 2.0, 0.0, 0.0])


def test_more_neighbors_than_source_samples_are_refused():
    with pytest.raises(ValueError, match="n_neighbors=3, but there are 2"):
        nearest_neighbor_weights([[0.0], [1.0]], [[1.0]], n_neighbors=3)


@pytest.mark.parametrize(
    "classifier",
    [
        LinearSVC(dual=False),
        RandomForestClassifier(20, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")),
    ],
    ids=["svm", "forest", "balanced"],
)
def test_any_classifier_of_the_domain_is_calibrated(classifier, rng):
    X_source, X_target, ratio = shifted(rng, 300)
    weights = domain_classifier_weights(X_source, X_target[:100], classifier=classifier)
    assert spearmanr(weights, ratio)[0] > 0.35
    assert weights.mean() == pytest.approx(1.0, abs=0.15)


def test_domains_that_are_told_apart_have_finite_ratios(rng):
    X_source, X_target = rng.normal(size=(50, 1)), 100 + rng.normal(size=(30, 1))
    for options in ({}, {"calibrate": False}):
        weights = domain_classifier_weights(X_source, X_target, **options)
        assert np.isfinite(weights).all()
        assert (weights > 0).all()


def test_classifier_without_probabilities_needs_calibration(rng):
    X_source, X_target, _ = shifted(rng, 20)
    with pytest.raises(ValueError, match="no predict_proba"):
        domain_classifier_weights(
            X_source, X_target, classifier=LinearSVC(), calibrate=False
        )
    with pytest.raises(TypeError, match="no classifier"):
        domain_classifier_weights(X_source, X_target, classifier=Ridge())
    with pytest.raises(ValueError, match="one sample"):
        domain_classifier_weights(X_source, X_target[:1])


def test_a_classifier_gets_the_samples_as_they_are(rng):
    X_source, X_target, _ = shifted(rng, 100)
    y = (X_source[:, 0] > 0).astype(float)
    X, y, domain = table(X_source, X_target, y)
    X[::7] = np.nan
    trees = HistGradientBoostingClassifier(max_iter=10, early_stopping=False)
    model = DomainClassifierWeighting(trees, classifier=trees, cv=2)
    model.fit(X, y, sample_domain=domain)
    assert np.isfinite(model.sample_weight_).all()
    with pytest.raises(ValueError, match="NaN"):
        DomainClassifierWeighting(trees).fit(X, y, sample_domain=domain)


def test_ratios_of_several_domains_agree_with_each_other_and_with_the_truth(rng):
    means = np.array([0.0, 0.5, 1.0])
    X = np.concatenate([m + rng.normal(size=(800, 1)) for m in means])
    domain = np.repeat([3, 5, -1], 800)
    log_density, domains = domain_density_ratios(X, domain)
    assert domains.tolist() == [-1, 3, 5]
    assert_allclose(np.exp(log_density).mean(axis=1), 1.0)
    # target less source 3: x - 1/2
    slope, offset = np.polyfit(X[:, 0], log_density[:, 0] - log_density[:, 1], 1)
    assert slope == pytest.approx(1.0, abs=0.15)
    assert offset == pytest.approx(-0.5, abs=0.15)
    with pytest.raises(ValueError, match="a ratio needs"):
        domain_density_ratios(X, np.ones(len(X), dtype=int))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_ratio_for_each_source(cls, rng):
    """The law of all is one; so sources of unequal places have unequal ratios."""
    X = np.concatenate(
        [
            rng.normal(size=(100, 1)),
            2.0 + rng.normal(size=(100, 1)),
            1.0 + rng.normal(size=(100, 1)),
        ]
    )
    domain = np.repeat([1, 2, -1], 100)
    y = np.r_[X[:200, 0], np.full(100, np.nan)]
    own = cls(Ridge(), per_source=True).fit(X, y, sample_domain=domain)
    first, second = own.sample_weight_[:100], own.sample_weight_[100:]
    # rising in source 1, falling in source 2; the mixture's ratio is neither
    assert spearmanr(first, X[:100, 0])[0] > 0.4
    assert spearmanr(second, X[100:200, 0])[0] < -0.4
    alone = cls(Ridge()).fit(
        X[domain != 2], y[domain != 2], sample_domain=domain[domain != 2]
    )
    if cls is not DomainClassifierWeighting:  # one classifier for all its domains
        assert_allclose(alone.sample_weight_, first, rtol=1e-6, atol=1e-6)


def test_one_sample_of_a_domain():
    X, y, domain = [[0.0], [0.5], [1.0], [0.6]], [0.0, 1.0, 2.0, 1.0], [1, 1, 1, -1]
    for model in (GaussianWeighting(Ridge()), NearestNeighborWeighting(Ridge())):
        model.fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="target has 1: give numbers"):
        ULSIF(Ridge()).fit(X, y, sample_domain=domain)
    ULSIF(Ridge(), gamma="median", regularization=0.1).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="gamma='cv' holds out"):
        KLIEP(Ridge()).fit(X, y, sample_domain=domain)
    KLIEP(Ridge(), gamma="median").fit(X, y, sample_domain=domain)


@pytest.mark.parametrize(
    "model", [KMM(Ridge()), KLIEP(Ridge(), gamma=10.0), GaussianWeighting(Ridge())]
)
def test_collapsed_weights_are_told(model, rng):
    X_source, X_target = rng.normal(size=(200, 1)), 8 + 0.1 * rng.normal(size=(50, 1))
    X, y, domain = table(X_source, X_target, X_source[:, 0])
    with pytest.warns(CollapsedWeightsWarning, match="effective sample size of [0-4]"):
        model.fit(X, y, sample_domain=domain)
    assert model.effective_sample_size_ < 5


def test_weights_of_zero_alone_cannot_fit_a_learner(rng):
    X_source, X_target = rng.normal(size=(200, 1)), 1e3 + rng.normal(size=(50, 1))
    X, y, domain = table(X_source, X_target, X_source[:, 0])
    model = ULSIF(Ridge(), gamma=1.0, regularization=0.1)
    with pytest.raises(ValueError, match="all 200 source samples the weight 0"):
        model.fit(X, y, sample_domain=domain)
    y[-3:] = 7.0
    with pytest.warns(CollapsedWeightsWarning):
        model.fit(X, y, sample_domain=domain)
    assert model.predict(X_target[:1]) == pytest.approx(7.0)


@config_context(enable_metadata_routing=True)
def test_a_user_weight_counts_samples(rng):
    X_source, X_target, _ = shifted(rng, 60)
    X, y, domain = table(X_source, X_target, X_source[:, 0])
    counts = np.r_[np.repeat([1.0, 2.0, 0.0], 20), np.ones(60)]
    learner = Ridge().set_fit_request(sample_weight=True)
    model = GaussianWeighting(learner)
    model.fit(X, y, sample_domain=domain, sample_weight=counts)
    w = model.sample_weight_
    assert (w[40:] == 0).all()
    repeated = np.repeat(w[:40], np.repeat([1, 2], 20))
    size = effective_sample_size(repeated)
    assert model.effective_sample_size_ == pytest.approx(size)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_columns_must_agree(function):
    with pytest.raises(ValueError, match="X_source has 1 features, but X_target has 2"):
        function([[0.0], [1.0]], [[0.0, 1.0], [1.0, 2.0]])


def test_weights_must_be_weights():
    for weights in ([-1.0, 2.0], [[1.0], [2.0]]):
        with pytest.raises(ValueError, match="one-dimensional and not negative"):
            effective_sample_size(weights)
