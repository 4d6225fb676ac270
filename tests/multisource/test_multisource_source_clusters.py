import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier

from sktransfer.baselines import Pooled
from sktransfer.metrics import mmd
from sktransfer.multisource import (
    UOWQ,
    MMDWeightedEnsemble,
    PeerWeightedEnsemble,
    SourceClusters,
    SourceSelector,
)


@pytest.fixture
def data():
    """Of source 5 one half lies far away and has flipped labels."""
    rng = np.random.RandomState(0)
    domain = np.repeat([5, 8, -1], [60, 30, 40])
    X = rng.normal(size=(130, 2))
    y = (X[:, 0] + 0.3 * rng.normal(size=130) > 0).astype(int)
    X[:30, 1] += 12
    y[:30] = 1 - y[:30]
    order = rng.permutation(130)
    return X[order], y[order], domain[order]


def fit(data, estimator=None, *args, **options):
    X, y, domain = data
    model = SourceClusters(estimator or LogisticRegression(), *args, **options)
    return model.fit(X, y, sample_domain=domain)


def far_rows(data):
    X, _, domain = data
    return X[domain > 0, 1] > 6


@pytest.mark.parametrize("by_class", [False, True])
def test_half_of_a_source_corrupt_and_separable_gets_weight_near_0(data, by_class):
    model = fit(data, by_class=by_class)
    far = np.unique(model.components_[far_rows(data)])
    near = np.unique(model.components_[~far_rows(data)])
    assert not np.intersect1d(far, near).size
    assert model.component_weights_[far - 1].sum() < 0.02
    assert model.component_weights_.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "inner",
    [
        UOWQ(LogisticRegression()),
        MMDWeightedEnsemble(LogisticRegression()),
        PeerWeightedEnsemble(LogisticRegression()),
        SourceSelector(Pooled(LogisticRegression())),
    ],
    ids=lambda e: type(e).__name__,
)
def test_one_component_of_each_source_is_the_inner_estimator(data, inner):
    X, y, domain = data
    model = fit(data, inner, 1)
    plain = inner.fit(X, y, sample_domain=domain)
    assert_allclose(model.predict_proba(X), plain.predict_proba(X))
    assert model.component_sources_ == [(5,), (8,)]


def test_components_are_the_sources_of_the_inner_estimator(data):
    X, y, domain = data
    model = fit(data, SourceSelector(Pooled(LogisticRegression()), source_score="ntg"))
    ids = domain.copy()
    ids[domain > 0] = model.components_
    plain = SourceSelector(Pooled(LogisticRegression()), source_score="ntg")
    plain.fit(X, y, sample_domain=ids)
    assert_allclose(model.predict_proba(X), plain.predict_proba(X))
    far = model.components_[far_rows(data)][0]
    assert far in model.estimator_.dropped_sources_


def test_weights_match_kernel_means_as_cvxpy_finds_them(data):
    import cvxpy as cp

    X, _, domain = data
    model = fit(data, alpha=0.05, gamma=0.3)
    k = RBF(np.sqrt(1 / 0.6))
    parts = [X[domain > 0][model.components_ == c] for c in range(1, 5)]
    target = X[domain < 0]
    products = np.array([[k(a, b).mean() for a in parts] for b in parts])
    across = np.array([k(a, target).mean() for a in parts])
    a = cp.Variable(4, nonneg=True)
    goal = cp.quad_form(a, cp.psd_wrap(products + 0.05 * np.eye(4))) - 2 * across @ a
    cp.Problem(cp.Minimize(goal), [cp.sum(a) == 1]).solve(solver=cp.CLARABEL)
    assert_allclose(model.component_weights_, a.value, atol=1e-6)
    assert model.residual_ < 1e-9


def test_a_plain_learner_gets_the_weights_of_the_components(data):
    X, y, domain = data
    model = fit(data, by_class=True)
    n = np.bincount(model.components_)
    weight = np.ones(len(y))
    share = model.component_weights_[model.components_ - 1]
    weight[domain > 0] = share * 90 / n[model.components_]
    assert weight[domain > 0].sum() == pytest.approx(90)
    plain = LogisticRegression().fit(X, y, sample_weight=weight)
    assert_allclose(model.predict_proba(X), plain.predict_proba(X))


def test_weights_of_the_user_are_copies_of_samples(data):
    X, y, domain = data
    counts = np.random.RandomState(1).randint(0, 3, len(y))
    with config_context(enable_metadata_routing=True):
        learner = Ridge().set_fit_request(sample_weight=True)
    weighted = SourceClusters(learner, 1, gamma=0.3)
    weighted.fit(X, 1.0 * y, sample_domain=domain, sample_weight=1.0 * counts)
    rows = np.repeat(np.arange(len(y)), counts)
    copied = SourceClusters(learner, 1, gamma=0.3)
    copied.fit(X[rows], 1.0 * y[rows], sample_domain=domain[rows])
    assert_allclose(weighted.component_weights_, copied.component_weights_)
    assert_allclose(weighted.predict(X), copied.predict(X))


def test_merging_joins_the_sources_whose_kernel_means_are_close():
    rng = np.random.RandomState(0)
    domain = np.repeat([1, 2, 3, 4, 5, -1], 30)
    X = rng.normal(size=(180, 2))
    for source, place in {1: 0, 2: 6, 3: 0, 4: 6, 5: 12}.items():
        X[domain == source] += place
    y = X[:, 0]
    model = SourceClusters(Pooled(Ridge()), 3, merge=True)
    model.fit(X, y, sample_domain=domain)
    assert sorted(model.component_sources_) == [(1, 3), (2, 4), (5,)]
    assert mmd(X[domain == 1], X[domain == 3]) < mmd(X[domain == 1], X[domain == 2])
    best = int(np.argmax(model.component_weights_))
    assert model.component_sources_[best] == (1, 3)
    many = SourceClusters(Pooled(Ridge()), 9, merge=True)
    assert len(many.fit(X, y, sample_domain=domain).component_sources_) == 5


def test_merged_sources_are_the_sources_of_uowq():
    """Six sources of two kinds: UOWQ sees two, of three times the rows."""
    rng = np.random.RandomState(0)
    domain = np.repeat([1, 2, 3, 4, 5, 6, -1], [25, 25, 25, 25, 25, 25, 20])
    X = rng.normal(size=(170, 2))
    even = (domain > 0) & (domain % 2 == 0)
    X[even] += 6
    slope = np.where(even[:, None], [-1.0, 2.0], [1.0, 0.5])
    y = np.sum(X * slope, axis=1) + 0.3 * rng.normal(size=170)
    model = SourceClusters(UOWQ(Ridge()), 2, merge=True)
    model.fit(X, y, sample_domain=domain)
    assert sorted(model.component_sources_) == [(1, 3, 5), (2, 4, 6)]
    merged = np.where(domain < 0, -1, np.where(even, 2, 1))
    expected = UOWQ(Ridge()).fit(X, y, sample_domain=merged)
    order = np.argsort(model.component_sources_, axis=0)[:, 0]
    inner = model.estimator_
    assert_allclose(inner.source_weights_[order], expected.source_weights_)
    assert inner.source_weights_[order][0] > 10 * inner.source_weights_[order][1]
    assert_allclose(model.predict(X), expected.predict(X))


def test_sparse_and_equal_samples(data):
    X, y, domain = data
    X = np.where(np.abs(X) < 0.3, 0.0, X)
    for options in ({"n_components": 1}, {"n_components": 1, "merge": True}):
        dense = fit((X, y, domain), **options)
        found = fit((sparse.csr_array(X), y, domain), **options)
        assert_array_equal(found.components_, dense.components_)
        assert_allclose(found.component_weights_, dense.component_weights_, atol=1e-9)
    near = domain != 8
    model = fit((sparse.csr_array(X[near]), y[near], domain[near]))
    far = X[near][domain[near] > 0, 1] > 6
    assert adjusted_rand_score(model.components_, far) == 1
    X = np.zeros_like(X)
    assert fit((X, y, domain)).component_sources_ == [(5,), (8,)]
    assert fit((sparse.csr_array(X), y, domain)).component_sources_ == [(5,), (8,)]


def test_what_cannot_be_done_is_refused(data):
    with pytest.raises(ValueError, match="no use for merge"):
        fit(data, by_class=True, merge=True)
    with pytest.raises(ValueError, match="by_class=True needs classes"):
        fit(data, Ridge(), by_class=True)
    with pytest.raises(TypeError, match="sample_weight"):
        fit(data, KNeighborsClassifier())
