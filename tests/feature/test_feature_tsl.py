"""Transfer subspace learning: the criterion, the densities, and limits of both."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.linalg import subspace_angles
from scipy.optimize import approx_fprime
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer._solvers.subspace_learning import divergence, trace_ratio
from sktransfer._solvers.tca import domain_vector
from sktransfer.feature import TSL
from sktransfer.metrics import mmd


def problem(rng, n=80, d=5):
    label, domain = rng.randint(2, size=2 * n), np.repeat([1, -1], n)
    X = rng.normal(size=(2 * n, d))
    X[:, 0] += 3 * label  # moves
    X[:, 1] += 3 * label  # stays
    X[domain < 0, 0] *= -1
    return X, np.where(domain > 0, label, np.nan), domain, label


def test_gradient_of_the_divergence(rng):
    X, v = rng.normal(size=(30, 4)), domain_vector(np.arange(30) < 12)
    W = np.linalg.qr(rng.normal(size=(4, 2)))[0]
    value, gradient = divergence(X, v, W, 0.3)
    K = rbf_kernel(X @ W, gamma=0.3)
    assert value == pytest.approx(v @ K @ v)
    assert value == pytest.approx(mmd(X[:12] @ W, X[12:] @ W, gamma=0.3))
    numeric = approx_fprime(
        W.ravel(), lambda w: divergence(X, v, w.reshape(4, 2), 0.3)[0]
    )
    assert gradient.ravel() == pytest.approx(numeric, abs=1e-6)


def test_divergence_is_the_integral_of_the_squared_difference(rng):
    z, gamma = rng.normal(size=(25, 1)), 0.5  # kernel of half the variance
    v = domain_vector(np.arange(25) < 10)
    grid = np.linspace(-12, 12, 4001)
    densities = np.exp(-2 * gamma * (grid[:, None] - z.T) ** 2) @ v
    integral = trapezoid(densities**2, grid) / np.sqrt(np.pi / (4 * gamma))
    assert divergence(z, v, np.eye(1), gamma)[0] == pytest.approx(integral)


def test_without_weight_the_criterion_decides(rng):
    X, y, domain, _ = problem(rng)
    pca = TSL(2, criterion="pca", mu=0).fit(X, sample_domain=domain)
    axes = PCA(2).fit(X).components_.T
    assert np.max(subspace_angles(pca.components_, axes)) < 1e-6
    lda = TSL(1, mu=0, reg=0).fit(X, y, sample_domain=domain)
    axis = LinearDiscriminantAnalysis(solver="eigen").fit(X[:80], y[:80]).scalings_
    assert np.max(subspace_angles(lda.components_, axis[:, :1])) < 1e-5


def test_trace_ratio_is_below_all_others(rng):
    N, B = (A.T @ A for A in rng.normal(size=(2, 12, 6)))
    W = trace_ratio(N, B, 2)
    best = np.trace(W.T @ N @ W) / np.trace(W.T @ B @ W)
    for _ in range(200):
        V = np.linalg.qr(rng.normal(size=(6, 2)))[0]
        assert best <= np.trace(V.T @ N @ V) / np.trace(V.T @ B @ V)


@pytest.mark.parametrize("criterion", ["flda", "lpp"])
def test_weight_finds_the_feature_that_stayed(rng, criterion):
    X, y, domain, label = problem(rng)
    tsl = TSL(1, criterion=criterion, mu=10.0).fit(X, y, sample_domain=domain)
    free = TSL(1, criterion=criterion, mu=0.0).fit(X, y, sample_domain=domain)
    assert tsl.divergence_ < 0.2 * free.divergence_
    Z = tsl.transform(X)[:, 0]
    cut = np.mean([Z[:80][label[:80] == k].mean() for k in (0, 1)])
    sign = np.sign(Z[:80][label[:80] == 1].mean() - cut)
    assert np.mean((sign * (Z[80:] - cut) > 0) == label[80:]) > 0.85


def test_more_starts_are_no_worse_and_units_do_not_matter(rng):
    X, y, domain, _ = problem(rng)
    one = TSL(2, mu=5.0, n_init=1).fit(X, y, sample_domain=domain)
    more = TSL(2, mu=5.0, n_init=4).fit(X, y, sample_domain=domain)
    assert more.objective_ <= one.objective_
    scaled = TSL(2, mu=5.0, n_init=1).fit(1e3 * X + 7, y, sample_domain=domain)
    assert scaled.objective_ == pytest.approx(one.objective_, rel=1e-4)
    W = more.components_
    assert pytest.approx(np.eye(2)) == W.T @ W


def test_large_domains_are_compared_by_a_sample(rng):
    X, y, domain, _ = problem(rng)
    part = TSL(1, mu=5.0, max_samples=40).fit(X, y, sample_domain=domain)
    whole = TSL(1, mu=5.0).fit(X, y, sample_domain=domain)
    assert abs(part.components_[:, 0] @ whole.components_[:, 0]) > 0.9


def test_real_labels_need_the_criterion_without_labels(rng):
    X, _, domain, _ = problem(rng)
    with pytest.raises(ValueError, match="criterion='pca' uses no labels"):
        TSL().fit(X, X[:, 0], sample_domain=domain)
    with pytest.raises(ValueError, match="n_components=6 exceeds"):
        TSL(6).fit(X, X[:, 0] > 0, sample_domain=domain)
