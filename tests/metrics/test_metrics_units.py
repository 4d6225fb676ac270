"""Kind 30: measures that do not depend on the origin, or on units, keep their digits.

The features lie on a grid, so that they are exact after an offset.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from sktransfer.metrics import (
    bregman,
    coral_distance,
    domain_transferability_estimation,
    gaussian_kl,
    gbc,
    h_score,
    hsic,
    mmd,
    mmd_test,
    n_leep,
    otce_components,
    proxy_a_distance,
    rank_of_domain,
    silhouette,
    sinkhorn_divergence,
    sliced_wasserstein,
    transrate,
    wasserstein,
)
from sktransfer.multisource import MMDWeightedEnsemble

OFFSETS = [2020.0, 5e5, 1e8]


def grid(rng, n, shift=0.0):
    return np.round((rng.normal(size=(n, 4)) + shift) * 2**20) / 2**20


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X_source, X_target = grid(rng, 50), grid(rng, 40, 0.3)
    y_source = (X_source[:, 0] > 0).astype(int)
    return X_source, y_source, X_target, (X_target[:, :2].sum(axis=1) > 0).astype(int)


PAIRS = {
    "mmd": mmd,
    "mmd laplacian": lambda X, Y: mmd(X, Y, kernel="laplacian"),
    "mmd linear": lambda X, Y: mmd(X, Y, kernel="linear", estimator="unbiased"),
    "mmd blocks": lambda X, Y: mmd(
        X, Y, estimator="block", block_size=10, random_state=0
    ),
    "mmd features": lambda X, Y: mmd(
        X, Y, estimator="random_features", gamma=0.2, random_state=0
    ),
    "mmd_test": lambda X, Y: mmd_test(X, Y, random_state=0).statistic,
    "wasserstein": wasserstein,
    "sliced_wasserstein": lambda X, Y: sliced_wasserstein(X, Y, random_state=0),
    "sinkhorn_divergence": sinkhorn_divergence,
    "bregman": bregman,
    "coral_distance": coral_distance,
    "gaussian_kl": gaussian_kl,
    "rank_of_domain": rank_of_domain,
    "proxy_a_distance": lambda X, Y: proxy_a_distance(X, Y, random_state=0),
    "hsic": lambda X, Y: hsic(np.vstack([X, Y]), np.repeat([0, 1], [50, 40])),
    "hsic linear": lambda X, Y: hsic(
        np.vstack([X, Y]), np.repeat([0, 1], [50, 40]), kernel="linear", normalize=True
    ),
}


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("name", list(PAIRS))
def test_kind_30_similarity_does_not_depend_on_the_origin(rows, name, offset):
    X_source, _, X_target, _ = rows
    shift = np.array([offset, 0.0, -offset / 4, 0.0])
    found = PAIRS[name](X_source + shift, X_target + shift)
    assert_allclose(found, PAIRS[name](X_source, X_target), rtol=1e-6, atol=1e-8)


LABELED = {
    "h_score": h_score,
    "h_score shrunk": lambda F, y: h_score(F, y, shrinkage="ledoit_wolf"),
    "gbc": gbc,
    "silhouette": silhouette,
    "transrate": transrate,
    "n_leep": lambda F, y: n_leep(F, y, random_state=0),
}


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("name", list(LABELED))
def test_kind_30_transferability_does_not_depend_on_the_origin(rows, name, offset):
    _, _, F, y = rows
    moved = F + [offset, 0.0, 0.0, -offset]
    assert_allclose(LABELED[name](moved, y), LABELED[name](F, y), rtol=1e-5)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_kind_30_otce_does_not_depend_on_the_origin(rows, offset, cost):
    X_source, y_source, X_target, y_target = rows
    shift = [0.0, offset, 0.0, 0.0]
    plain = otce_components(X_source, y_source, X_target, y_target, cost=cost)
    moved = otce_components(
        X_source + shift, y_source, X_target + shift, y_target, cost=cost
    )
    assert_allclose(moved, plain, rtol=1e-6)


@pytest.mark.parametrize("units", [[1e-9, 1, 1, 1], [1e8, 1, 1, 1e-4]])
def test_kind_30_measures_without_units(rows, units):
    X_source, _, X_target, y_target = rows
    expected = gaussian_kl(X_source, X_target, shrinkage=0.0)
    found = gaussian_kl(X_source * units, X_target * units, shrinkage=0.0)
    assert found == pytest.approx(expected, rel=1e-8)
    expected = h_score(X_target, y_target)
    assert h_score(X_target * units, y_target) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_kind_30_a_common_unit_is_no_constant(rows, unit):
    X_source, y_source, X_target, _ = rows
    X, d = np.vstack([X_source, X_target]), np.repeat([0, 1], [50, 40])
    for kernel in ("linear", "rbf"):
        plain = hsic(X, d, kernel=kernel, normalize=True)
        moved = hsic(unit * X, d, kernel=kernel, normalize=True)
        assert moved == pytest.approx(plain, rel=1e-8)
    with pytest.raises(ValueError, match="constant"):
        hsic(np.full((90, 2), 1e8 + 1 / 3), d, normalize=True)
    plain = domain_transferability_estimation(X_source, y_source, X_target)
    moved = domain_transferability_estimation(
        unit * X_source, y_source, unit * X_target
    )
    assert moved == pytest.approx(plain)


@pytest.mark.parametrize("kernel", ["rbf", "linear", "laplacian"])
def test_kind_30_closeness_of_sources_does_not_depend_on_the_origin(kernel):
    rng = np.random.default_rng(1)
    X = np.vstack([grid(rng, 30, s) for s in (0.0, 1.0, 0.2)])
    domain = np.repeat([1, 2, -1], 30)
    y = (X[:, 0] > 0.3).astype(int)
    found = [
        MMDWeightedEnsemble(LogisticRegression(), kernel=kernel)
        .fit(X + np.array([offset, 0, 0, 0]), y, sample_domain=domain)
        .mmd_
        for offset in (0.0, 1e8)
    ]
    assert_allclose(found[1], found[0], rtol=1e-6)
