"""TransRate, GBC and the silhouette."""

import mpmath
import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from sktransfer.metrics import gbc, silhouette, transrate


def mp_rate(Z, eps):
    with mpmath.workdps(40):
        Z = mpmath.matrix(Z.tolist())
        G = mpmath.eye(Z.cols) + Z.T * Z / (Z.rows * mpmath.mpf(eps))
        return float(mpmath.log(mpmath.det(G)) / 2)


@pytest.mark.parametrize("shape", [(15, 3), (9, 12)])
def test_transrate_matches_high_precision(shape):
    rng = np.random.RandomState(0)
    F, y = rng.normal(size=shape) + 5, np.array(list("aabbbcaac") * 2)[: shape[0]]
    Z = F - F.mean(0)
    labels, counts = np.unique(y, return_counts=True)
    rates = np.array([mp_rate(Z[y == c], 1e-4) for c in labels])
    whole = mp_rate(Z, 1e-4)
    expected = whole - counts @ rates / len(y)
    assert transrate(F, y) == pytest.approx(expected, abs=1e-8)
    uniform = transrate(F, y, class_weight="uniform")
    assert uniform == pytest.approx(whole - rates.mean(), abs=1e-8)


def test_transrate_scale():
    rng = np.random.RandomState(0)
    F, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    onehot = np.eye(4)[y]
    assert transrate(onehot, y) < 0.6 * transrate(100 * onehot, y)
    first = transrate(F, y, standardize=True)
    assert first == pytest.approx(transrate(100 * F + 3, y, standardize=True))
    assert transrate(F, y) == pytest.approx(transrate(F + 7, y))
    Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert transrate(F @ Q, y) == pytest.approx(transrate(F, y))


def test_transrate_limits():
    F = np.random.RandomState(0).normal(size=(12, 3))
    assert transrate(F, np.zeros(12)) == pytest.approx(0, abs=1e-12)
    assert transrate(np.ones((12, 3)), np.arange(12) % 2, standardize=True) == 0
    zeros = np.hstack([F, np.zeros((12, 2))])
    y = np.arange(12) % 2
    assert transrate(zeros, y) == pytest.approx(transrate(F, y))


def brute_gbc(F, y, spherical):
    total = 0.0
    fits = {}
    for c in set(y.tolist()):
        rows = F[y == c]
        variance = rows.var(0)
        fits[c] = (
            rows.mean(0),
            np.full_like(variance, variance.mean()) if spherical else variance,
        )
    for a, (m1, v1) in fits.items():
        for b, (m2, v2) in fits.items():
            if a != b:
                v = (v1 + v2) / 2
                distance = np.sum((m1 - m2) ** 2 / v) / 8
                distance += np.log(np.prod(v) / np.sqrt(np.prod(v1) * np.prod(v2))) / 2
                total -= np.exp(-distance)
    return total


@pytest.mark.parametrize("kind", ["spherical", "diag"])
def test_gbc_matches_loops(kind):
    rng = np.random.RandomState(0)
    y = np.arange(30) % 3
    F = rng.normal(size=(30, 2)) + y[:, None]
    value = gbc(F, y, covariance_type=kind)
    assert value == pytest.approx(brute_gbc(F, y, kind == "spherical"), abs=1e-10)
    if kind == "spherical":
        Q = np.linalg.qr(rng.normal(size=(2, 2)))[0]
        assert gbc(F @ Q, y) == pytest.approx(value)
    assert gbc(50 * F - 2, y, covariance_type=kind) == pytest.approx(value)


def test_gbc_is_the_overlap_integral():
    F = np.array([[-1.0], [1.0], [0.5], [3.5]])
    grid = np.linspace(-40, 40, 400001)

    def density(mean, std):
        return np.exp(-((grid - mean) ** 2) / (2 * std**2)) / np.sqrt(2 * np.pi) / std

    overlap = np.sum(np.sqrt(density(0, 1) * density(2, 1.5))) * (grid[1] - grid[0])
    assert gbc(F, [0, 0, 1, 1]) == pytest.approx(-2 * overlap, abs=1e-8)


def test_gbc_limits():
    rng = np.random.RandomState(0)
    y = np.arange(30) % 3
    assert gbc(np.ones((30, 2)), y) == pytest.approx(-6)
    assert gbc(1e3 * np.eye(3)[y] + rng.normal(size=(30, 3)), y) == pytest.approx(0)
    single = np.r_[np.zeros(10, int), np.ones(10, int), 2]
    assert -6 < gbc(rng.normal(size=(21, 2)), single) < -0.1
    assert gbc(rng.normal(size=(30, 2)), np.zeros(30)) == 0


@pytest.mark.parametrize("shape", [(200, 80), (60, 80)])
def test_gbc_after_pca_is_gbc_of_principal_components(shape):
    rng = np.random.RandomState(0)
    F = rng.normal(size=shape) * np.linspace(3, 0.1, 80)
    y = np.arange(shape[0]) % 3
    centered = F - F.mean(0)
    Vt = np.linalg.svd(centered, full_matrices=False)[2][:10]
    expected = brute_gbc(centered @ Vt.T, y, True)
    assert gbc(F, y, pca_components=10) == pytest.approx(expected, rel=1e-8)


def test_silhouette_is_scikit_learns():
    rng = np.random.RandomState(0)
    F, y = rng.normal(size=(40, 3)), np.arange(40) % 3
    assert silhouette(F, y.astype(str)) == pytest.approx(silhouette_score(F, y))
    sampled = silhouette(F, y, max_samples=20)
    assert sampled == silhouette(F, y, max_samples=20)
    assert -1 <= sampled <= 1
    with pytest.raises(ValueError, match="at least 2"):
        silhouette(F, np.zeros(40))
    with pytest.raises(ValueError, match="its own class"):
        silhouette(F, np.arange(40))
