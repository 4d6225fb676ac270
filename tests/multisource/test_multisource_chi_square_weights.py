"""ChiSquareWeights: the sentences of its specification, and cvxpy."""

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.multisource import ChiSquareWeights
from sktransfer.multisource._h_ensemble import FeatureClassifier


def make_data(rng, n=(100, 100), n_target=30, turns=(0.0, 1.5), n_classes=2):
    """Draw domains whose classes lie along a direction that is turned in sources."""
    sizes = [*n, n_target]
    domain = np.repeat([*range(1, len(n) + 1), -1], sizes)
    y = np.arange(len(domain)) % n_classes
    angle = np.repeat([*turns, 0.0], sizes)
    X = rng.normal(size=(len(y), 3))
    place = y - (n_classes - 1) / 2
    X[:, 0] += place * np.cos(angle)
    X[:, 1] += place * np.sin(angle)
    return X, y, domain


def test_without_sources_it_is_the_closed_form_target_classifier(rng):
    """K = 0: closed-form target classifier."""
    X, y, domain = make_data(rng, n_classes=3)
    own = domain < 0
    model = ChiSquareWeights().fit(X[own], y[own])

    class Plain:
        def blend(self, models, weights, X):
            return X

    reference = FeatureClassifier([None], np.ones(1), Plain(), np.arange(3), 0.3)
    reference.fit_features(X[own][None], y[own])
    assert_allclose(model.predict_proba(X), reference.predict_proba(X))
    assert model.target_weight_ == 1
    assert model.source_weights_.shape == (0,)


def test_a_large_target_gets_all_the_weight(rng):
    """n_0 large: alpha_0 to 1 (where D_kk > 0)."""
    X, y, domain = make_data(rng, n_target=30_000, turns=(0.8, 1.5))
    model = ChiSquareWeights().fit(X, y, sample_domain=domain)
    assert model.target_weight_ > 0.98
    assert (model.distances_ > 0).all()


@pytest.mark.parametrize("noise_correction", [True, False])
def test_identical_domains_get_weights_like_their_sizes(noise_correction, rng):
    """Identical domains: alpha_k ~ n_k."""
    X, y, _ = make_data(rng, n=(), turns=(), n_target=40)
    copies = [1, 3, 2]  # of the same samples in the target and two sources
    domain = np.repeat([-1, 1, 2], 40 * np.array(copies))
    X, y = np.tile(X, (6, 1)), np.tile(y, 6)
    model = ChiSquareWeights(noise_correction=noise_correction)
    model.fit(X, y, sample_domain=domain)
    found = [model.target_weight_, *model.source_weights_]
    # the estimated variances divide by the samples less the classes
    tolerance = 0.01 if noise_correction else 1e-8
    assert_allclose(found, np.array(copies) / 6, atol=tolerance)


@pytest.mark.parametrize("noise_correction", [True, False])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_equations(noise_correction, n_classes, rng):
    """D, V, the weights by cvxpy and the classifier by hand."""
    X, y, domain = make_data(
        rng, n=(60, 80, 50), turns=(0, 0.7, 1.5), n_classes=n_classes
    )
    y = np.where(domain < 0, y, rng.permutation(y) * (domain == 3) + y * (domain < 3))
    model = ChiSquareWeights(noise_correction=noise_correction, shrinkage=0.2)
    model.fit(X, y, sample_domain=domain)
    own = domain < 0
    prior = np.bincount(y[own]) / own.sum()
    L = np.cov(X[own].T, bias=True)
    L += 0.2 * np.trace(L) / 3 * np.eye(3)
    g = []
    for k in (-1, 1, 2, 3):
        means = np.stack(
            [X[(domain == k) & (y == c)].mean(axis=0) for c in range(n_classes)]
        )
        g.append((means - prior @ means) @ np.linalg.inv(L))
    sizes = np.array([np.sum(domain == k) for k in (-1, 1, 2, 3)])
    variance = 3 * (n_classes - 1) / sizes
    if noise_correction:
        variance = []
        for k in (-1, 1, 2, 3):
            parts = [X[(domain == k) & (y == c)] for c in range(n_classes)]
            scatter = sum(len(p) * np.cov(p.T, bias=True) for p in parts)
            within = scatter / (sum(map(len, parts)) - n_classes)
            counts = np.array([len(p) for p in parts])
            size = np.trace(np.linalg.inv(L) @ within)
            variance.append(size * np.sum(prior * (1 - prior) / counts))
        variance = np.array(variance)
    D = np.zeros((3, 3))
    for k in range(3):
        for m in range(3):
            for c in range(n_classes):
                D[k, m] += prior[c] * ((g[k + 1] - g[0])[c] @ L @ (g[m + 1] - g[0])[c])
    if noise_correction:
        D -= variance[0] + np.diag(variance[1:])
        values, vectors = np.linalg.eigh(D)
        D = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
    assert_allclose(model.distances_, np.diag(D), atol=1e-10)
    Q = np.diag(variance)
    Q[1:, 1:] += D
    a = cp.Variable(4, nonneg=True)
    problem = cp.Problem(cp.Minimize(cp.quad_form(a, cp.psd_wrap(Q))), [cp.sum(a) == 1])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    assert_allclose([model.target_weight_, *model.source_weights_], a.value, atol=1e-6)
    assert model.kkt_residual_ <= 1e-9
    mixed = np.tensordot(a.value, np.stack(g), axes=1)
    raw = prior * np.maximum(1 + (X - X[own].mean(axis=0)) @ mixed.T, 0)
    assert_allclose(
        model.predict_proba(X), raw / raw.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_both_solvers_agree(rng):
    X, y, domain = make_data(rng)
    a, b = (
        ChiSquareWeights(solver=s).fit(X, y, sample_domain=domain)
        for s in ("auto", "cvxpy")
    )
    assert_allclose(a.source_weights_, b.source_weights_, atol=1e-8)


def test_the_correction_takes_the_noise_out_of_the_distances():
    """D is inflated by about V/n_0 in every entry and V/n_k on the diagonal."""
    found = {True: [], False: []}
    for seed in range(60):
        rng = np.random.RandomState(seed)
        X, y, domain = make_data(rng, n=(40,), turns=(0.0,), n_target=40)
        for correction, values in found.items():
            model = ChiSquareWeights(noise_correction=correction, shrinkage=1e-6)
            values.append(model.fit(X, y, sample_domain=domain).distances_[0])
    noise = 3 / 40 + 3 / 40  # less what the classes explain
    assert np.mean(found[False]) == pytest.approx(noise, rel=0.35)
    assert np.mean(found[True]) < 0.5 * noise


def test_a_source_that_lacks_a_class_is_told_and_gets_no_weight(rng):
    X, y, domain = make_data(rng)
    y[domain == 2] = 1
    with pytest.warns(UserWarning, match=r"sources \[2\] lack classes"):
        model = ChiSquareWeights().fit(X, y, sample_domain=domain)
    assert model.source_weights_[1] == 0
    assert model.distances_[1] == np.inf
    alone = domain != 2
    other = ChiSquareWeights().fit(X[alone], y[alone], sample_domain=domain[alone])
    assert_allclose(model.predict_proba(X), other.predict_proba(X))


def test_weights_count_samples_sparse_samples_and_names(rng):
    X, y, domain = make_data(rng)
    weight = rng.randint(0, 3, size=len(y)).astype(float)
    many = np.repeat(np.arange(len(y)), weight.astype(int))
    model = ChiSquareWeights()
    weighted = model.fit(X, y, sample_domain=domain, sample_weight=weight)
    proba, weights = weighted.predict_proba(X), weighted.source_weights_
    model.fit(X[many], y[many], sample_domain=domain[many])
    assert_allclose(model.predict_proba(X), proba, atol=1e-10)
    X[np.abs(X) < 0.3] = 0
    expected = model.fit(X, y, sample_domain=domain).predict_proba(X)
    rows = sparse.csr_matrix(X)
    model.fit(rows, y, sample_domain=domain)
    assert_allclose(model.predict_proba(rows), expected, atol=1e-8)
    ids = np.where(domain == 1, 9, domain)
    model.fit(X, np.array(["u", "v"])[y], sample_domain=ids)
    assert_allclose(model.predict_proba(X), expected, atol=1e-8)
    assert set(model.predict(X)) <= {"u", "v"}
    assert len(weights) == 2


def test_features_come_from_a_pipeline_and_a_good_source_helps():
    scores = []
    for seed in range(40):
        rng = np.random.RandomState(seed)
        X, y, domain = make_data(rng, n=(400, 400), n_target=12)
        Z, v, _ = make_data(rng, n=(), turns=(), n_target=2000)
        pipe = make_pipeline(StandardScaler(), ChiSquareWeights())
        own = domain < 0
        alone = pipe.fit(X[own], y[own]).score(Z, v)
        pipe.fit(X, y, chisquareweights__sample_domain=domain)
        weights = pipe[-1].source_weights_
        scores.append([pipe.score(Z, v), alone, *weights])
    helped, alone, good, other = np.mean(scores, axis=0)
    assert helped > alone + 0.01
    assert good > other + 0.3


def test_errors(rng):
    X, y, domain = make_data(rng)
    with pytest.raises(ValueError, match="they hold one class, 0"):
        ChiSquareWeights().fit(X, np.where(domain < 0, 0, y), sample_domain=domain)
    with pytest.raises(NotFittedError):
        ChiSquareWeights().predict(X)
