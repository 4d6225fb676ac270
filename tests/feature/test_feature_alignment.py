"""Maps of covariances, subspaces and copies: equations, limits, references."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.linalg import sqrtm, subspace_angles
from scipy.spatial.distance import cdist
from scipy.stats import special_ortho_group
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf, oas
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._solvers.augmentation import agreement_roots
from sktransfer._solvers.location_scale import fit_location_scale
from sktransfer._solvers.moments import (
    ledoit_wolf_share,
    mean_and_covariance,
    monge_map,
    oas_share,
    shrink_covariance,
)
from sktransfer._solvers.subspaces import geodesic, geodesic_flow_root, principal_axes
from sktransfer.baselines import Pooled
from sktransfer.exceptions import DomainError
from sktransfer.feature import (
    CORAL,
    FeatureAugmentation,
    GeodesicFlowKernel,
    MMDLinearMap,
    SubspaceAlignment,
)
from sktransfer.model_selection import StratifiedTargetKFold

MAPS = [CORAL(), SubspaceAlignment(2), MMDLinearMap(max_iter=1000)]


@pytest.fixture
def rows(rng):
    """Two sources and a target with means and covariances of their own."""
    X = rng.normal(size=(120, 4)) @ rng.normal(size=(4, 4))
    domain = np.tile([2, 1, -1, 2, 1, -1], 20)
    X[domain == 1] = X[domain == 1] * [3.0, 1.0, 0.5, 1.0] + [2.0, 0.0, 0.0, -1.0]
    X[domain == 2] = X[domain == 2] @ rng.normal(size=(4, 4)) - 1
    return X, domain


def _cov(X):
    return np.cov(X, rowvar=False, bias=True)


# moments


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_moments_and_shares_are_those_of_scikit_learn(rng, kind):
    X = rng.normal(size=(30, 5)) * (rng.uniform(size=(30, 5)) < 0.5) + [0, 0, 3, 0, 0]
    mean, covariance = mean_and_covariance(kind(X))
    assert_allclose(mean, X.mean(axis=0))
    assert_allclose(covariance, _cov(X), atol=1e-12)
    expected, share = ledoit_wolf(X)
    assert_allclose(ledoit_wolf_share(covariance, kind(X), mean), share)
    shrunk = shrink_covariance(covariance, kind(X), mean, "ledoit_wolf")
    assert_allclose(shrunk, expected)
    expected, share = oas(X)
    assert_allclose(oas_share(covariance, 30), share)
    shrunk = shrink_covariance(covariance, kind(X), mean, "oas")
    assert_allclose(shrunk, expected)


def test_shrunk_covariances_keep_the_trace(rng):
    X = rng.normal(size=(10, 3))
    mean, covariance = mean_and_covariance(X)
    whole = shrink_covariance(covariance, X, mean, 1.0)
    assert_allclose(whole, np.eye(3) * np.trace(covariance) / 3)
    assert_allclose(shrink_covariance(covariance, X, mean, 0.0), covariance)


def test_monge_map_is_symmetric_and_carries_one_covariance_to_the_other(rng):
    A, B = (rng.normal(size=(20, 4)) for _ in range(2))
    source, target = A.T @ A, B.T @ B
    matrix = monge_map(source, target)
    assert_allclose(matrix, matrix.T)
    assert_allclose(matrix @ source @ matrix, target)
    assert np.linalg.eigvalsh(matrix).min() > 0


# CORAL


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_coral_makes_means_and_covariances_equal(rows, kind):
    X, domain = rows
    Z = CORAL(0.0).fit_transform(kind(X), sample_domain=domain)
    assert_allclose(_cov(Z[domain > 0]), _cov(X[domain < 0]), rtol=1e-8)
    assert_allclose(Z[domain > 0].mean(0), X[domain < 0].mean(0), atol=1e-8)
    assert_allclose(Z[domain < 0], X[domain < 0])


def test_coral_with_a_map_for_each_source(rows):
    X, domain = rows
    coral = CORAL(0.0, per_source=True).fit(X, sample_domain=domain)
    Z = coral.transform(X, sample_domain=domain)
    for source in (1, 2):
        assert_allclose(_cov(Z[domain == source]), _cov(X[domain < 0]), rtol=1e-8)
        alone = domain != 3 - source
        one = CORAL(0.0).fit_transform(X[alone], sample_domain=domain[alone])
        assert_allclose(Z[alone], one)
    assert sorted(coral.maps_) == [1, 2]


def test_coral_of_the_paper(rows):
    """Whitening and coloring of C + I, written with SciPy's matrix root."""
    X, domain = rows
    X = X.copy()
    X[domain > 0] -= X[domain > 0].mean(axis=0)
    X[domain < 0] -= X[domain < 0].mean(axis=0)
    source, target = (_cov(X[mask]) + np.eye(4) for mask in (domain > 0, domain < 0))
    expected = X[domain > 0] @ np.linalg.inv(sqrtm(source)) @ sqrtm(target)
    Z = CORAL(0.0, reg=1.0).fit_transform(X, sample_domain=domain)
    assert_allclose(Z[domain > 0], expected, atol=1e-10)


def test_coral_keeps_the_source_mean_where_asked(rows):
    X, domain = rows
    Z = CORAL(align_means=False).fit_transform(X, sample_domain=domain)
    assert_allclose(Z[domain > 0].mean(0), X[domain > 0].mean(0), atol=1e-10)


def test_coral_of_equal_domains_changes_nothing(rng):
    X = rng.normal(size=(20, 3))
    both, domain = np.vstack([X, X]), np.repeat([1, -1], 20)
    for shrinkage in (0.0, 0.3, "ledoit_wolf", "oas"):
        Z = CORAL(shrinkage).fit_transform(both, sample_domain=domain)
        assert_allclose(Z, both, atol=1e-8)
    # wholly shrunk covariances differ in size alone
    both[20:] *= 2
    Z = CORAL(1.0).fit_transform(both, sample_domain=domain)
    assert_allclose(Z[:20], both[20:], atol=1e-8)


def test_coral_with_a_constant_column_uses_the_pseudo_inverse(rows):
    X, domain = rows
    X = np.column_stack([X, np.full(len(X), 7.0)])
    Z = CORAL(0.0).fit_transform(X, sample_domain=domain)
    assert_allclose(_cov(Z[domain > 0]), _cov(X[domain < 0]), atol=1e-8)
    assert_allclose(Z[:, 4], 7.0)


def test_coral_helps_a_linear_model(rng):
    y = np.tile([0, 1], 150)
    X = rng.normal(size=(300, 2)) * 0.3 + np.c_[y, np.zeros(300)]
    domain = np.repeat([1, -1], 150)
    X[domain > 0] = X[domain > 0] * [0.2, 8.0] + [2.0, 0.0]
    labels = np.where(domain > 0, y, np.nan)
    scores = []
    for step in (CORAL(0.0), None):
        learner = Pooled(LogisticRegression())
        Z = X if step is None else step.fit_transform(X, sample_domain=domain)
        learner.fit(Z, labels, sample_domain=domain)
        scores.append(learner.score(Z[domain < 0], y[domain < 0]))
    assert scores[0] > scores[1]


# what all maps share


@pytest.mark.parametrize("transformer", MAPS, ids=lambda t: type(t).__name__)
def test_samples_of_a_source_that_fit_did_not_see(transformer, rows):
    X, domain = rows
    alone = clone(transformer).fit(X)
    with pytest.raises(DomainError, match="fitted without a source"):
        alone.transform(X, sample_domain=domain)
    each = clone(transformer).set_params(per_source=True)
    each.fit(X, sample_domain=domain)
    with pytest.raises(DomainError, match="source 9, which fit did not see"):
        each.transform(X[:1], sample_domain=[9])
    pooled = clone(transformer).fit(X, sample_domain=domain)
    assert pooled.transform(X[:1], sample_domain=[9]).shape[0] == 1


@pytest.mark.parametrize("transformer", MAPS, ids=lambda t: type(t).__name__)
def test_one_map_for_each_source_is_that_of_the_source_alone(transformer, rows):
    X, domain = rows
    each = clone(transformer).set_params(per_source=True)
    Z = each.fit_transform(X, sample_domain=domain)
    alone = domain != 2
    one = clone(transformer).fit_transform(X[alone], sample_domain=domain[alone])
    assert_allclose(Z[alone], one, atol=1e-6)


@pytest.mark.parametrize("transformer", [CORAL(), MMDLinearMap()])
def test_target_samples_stay_what_they_are_and_are_copied(transformer, rows):
    X, domain = rows
    fitted = clone(transformer).fit(X, sample_domain=domain)
    Z = fitted.transform(X[domain < 0])
    assert_allclose(Z, X[domain < 0])
    assert not np.shares_memory(Z, X)
    assert_allclose(clone(transformer).fit_transform(X), X)


def test_one_sample_of_a_domain_is_an_error(rows):
    X, domain = rows
    domain = np.where(np.arange(len(domain)) == 0, -1, 1)
    with pytest.raises(ValueError, match="but the target has n_samples = 1"):
        CORAL().fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="but the source has n_samples = 1"):
        MMDLinearMap().fit(X, sample_domain=-domain)


def test_maps_can_be_searched_over(rows, rng):
    X, domain = rows
    y = (X[:, 0] > X[:, 0].mean()).astype(float)
    pipe = make_pipeline(StandardScaler(), CORAL(), Pooled(LogisticRegression()))
    grid = {"coral__shrinkage": [0.0, "oas"], "coral__per_source": [True, False]}
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(pipe, grid, cv=StratifiedTargetKFold(2))
        search.fit(X, y, sample_domain=domain)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# subspaces


@pytest.mark.parametrize("size", [(200, 5), (8, 5), (12, 40)])
def test_principal_axes_are_those_of_pca(rng, size):
    X = rng.normal(size=size) * np.geomspace(3, 0.5, size[1])
    mean, axes = principal_axes(X, 3)
    pca = PCA(3).fit(X)
    assert_allclose(mean, pca.mean_)
    assert_allclose(axes, pca.components_.T, atol=1e-8)
    same = principal_axes(sparse.csr_array(X), 3)[1]
    assert_allclose(np.abs(same), np.abs(axes), atol=1e-6)


def test_axes_without_variance_are_zero(rng):
    X = np.column_stack([rng.normal(size=20), np.zeros((20, 2))])
    axes = principal_axes(X, 3)[1]
    assert_allclose(axes, np.diag([1.0, 0.0, 0.0]), atol=1e-12)


def test_subspace_alignment_is_the_equation(rows):
    X, domain = rows
    source, target = X[domain > 0], X[domain < 0]
    P, Q = (PCA(2).fit(part).components_.T for part in (source, target))
    Z = SubspaceAlignment(2).fit_transform(X, sample_domain=domain)
    assert_allclose(Z[domain > 0], (source - source.mean(0)) @ P @ P.T @ Q)
    assert_allclose(Z[domain < 0], (target - target.mean(0)) @ Q)


@pytest.mark.parametrize(
    "transformer", [SubspaceAlignment(2), GeodesicFlowKernel(2)], ids=["SA", "GFK"]
)
def test_rotated_features_give_the_same_components_up_to_signs(transformer, rows):
    X, domain = rows
    turn = special_ortho_group.rvs(4, random_state=0)
    Z, rotated = (
        clone(transformer).fit_transform(part, sample_domain=domain)
        for part in (X, X @ turn + 3)
    )
    signs = np.sign(np.sum(Z * rotated, axis=0))
    assert_allclose(rotated * signs, Z, atol=1e-6)
    assert_allclose(cdist(rotated, rotated), cdist(Z, Z), atol=1e-6)


def test_equal_domains_give_principal_components(rng):
    X = rng.normal(size=(40, 4)) * [4, 3, 2, 1]
    both, domain = np.vstack([X, X]), np.repeat([1, -1], 40)
    expected = PCA(2).fit_transform(X)
    Z = SubspaceAlignment(2).fit_transform(both, sample_domain=domain)
    assert_allclose(Z[:40], expected, atol=1e-10)
    assert_allclose(Z[40:], expected, atol=1e-10)
    Z = GeodesicFlowKernel(2).fit_transform(both, sample_domain=domain)
    assert_allclose(np.abs(Z[40:, :2]), np.abs(expected), atol=1e-6)
    assert_allclose(Z[:, 2:], 0, atol=1e-6)


@pytest.mark.parametrize("kind", [SubspaceAlignment, GeodesicFlowKernel])
def test_more_axes_than_samples_or_features_are_an_error(kind, rows):
    X, domain = rows
    with pytest.raises(ValueError, match="n_components=5 must be at most"):
        kind(5).fit(X, sample_domain=domain)
    few = np.flatnonzero(domain > 0)[:3].tolist() + np.flatnonzero(domain < 0).tolist()
    with pytest.raises(ValueError, match="smallest has n_samples = 3"):
        kind(3).fit(X[few], sample_domain=domain[few])
    kind(2).fit(X[few], sample_domain=domain[few])


def _bases(rng, d, k):
    return [np.linalg.qr(rng.normal(size=(d, k)))[0] for _ in range(2)]


@pytest.mark.parametrize("shape", [(6, 2), (5, 3), (4, 4)])
def test_geodesic_goes_from_one_subspace_to_the_other(rng, shape):
    P, Q = _bases(rng, *shape)
    start, direction, angles = geodesic(P, Q)
    for time, basis in ((0.0, P), (1.0, Q)):
        point = start * np.cos(time * angles) + direction * np.sin(time * angles)
        assert_allclose(point.T @ point, np.eye(shape[1]), atol=1e-10)
        assert_allclose(point @ point.T, basis @ basis.T, atol=1e-8)
    assert_allclose(np.sort(angles), np.sort(subspace_angles(P, Q)), atol=1e-7)


@pytest.mark.parametrize("shape", [(6, 2), (5, 3), (3, 1)])
def test_geodesic_flow_kernel_is_its_integral(rng, shape):
    P, Q = _bases(rng, *shape)
    start, direction, angles = geodesic(P, Q)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    integral = np.zeros((shape[0], shape[0]))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = start * np.cos(node * angles) + direction * np.sin(node * angles)
        integral += weight * point @ point.T
    root = geodesic_flow_root(P, Q)
    assert_allclose(root @ root.T, integral, atol=1e-12)


def test_geodesic_flow_kernel_of_the_paper(rng):
    """The closed form with the orthogonal complement, as printed (twice the mean)."""
    P, Q = _bases(rng, 6, 2)
    complement = np.linalg.svd(P, full_matrices=True)[0][:, 2:]
    U1, cosines, Vt = np.linalg.svd(P.T @ Q)
    theta = np.arccos(cosines)
    U2 = -(complement.T @ Q) @ Vt.T / np.sin(theta)
    diagonals = [
        1 + np.sin(2 * theta) / (2 * theta),
        (np.cos(2 * theta) - 1) / (2 * theta),
        1 - np.sin(2 * theta) / (2 * theta),
    ]
    one, two, three = (np.diag(values) for values in diagonals)
    basis = np.hstack([P @ U1, complement @ U2])
    printed = basis @ np.block([[one, two], [two, three]]) @ basis.T
    root = geodesic_flow_root(P, Q)
    assert_allclose(root @ root.T, printed / 2, atol=1e-10)


def test_embedded_samples_have_the_inner_products_of_the_kernel(rows):
    X, domain = rows
    gfk = GeodesicFlowKernel(2).fit(X, sample_domain=domain)
    Z = gfk.transform(X, sample_domain=domain)
    center = np.where(
        domain[:, None] > 0, X[domain > 0].mean(axis=0), X[domain < 0].mean(axis=0)
    )
    assert_allclose(Z @ Z.T, (X - center) @ gfk.kernel_ @ (X - center).T, atol=1e-8)
    assert gfk.angles_.shape == (2,)
    scatter = Z[domain > 0].T @ Z[domain > 0] / np.sum(domain > 0)
    scatter += Z[domain < 0].T @ Z[domain < 0] / np.sum(domain < 0)
    assert_allclose(scatter, np.diag(np.diag(scatter)), atol=1e-8)
    assert_allclose(GeodesicFlowKernel(2).fit(X).angles_, 0)


# feature augmentation


def _kernel_form(K, left, right):
    return K * (1 + (left[:, None] == right))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("per_source", [True, False])
def test_augmentation_is_the_kernel_form(rows, rng, kernel, per_source):
    X, domain = rows
    y = rng.normal(size=len(X))
    train, test = np.arange(len(X)) < 90, np.arange(len(X)) >= 90
    augmentation = FeatureAugmentation(kernel, gamma=0.1, per_source=per_source)
    Z = augmentation.fit_transform(X[train], sample_domain=domain[train])
    new = augmentation.transform(X[test], sample_domain=domain[test])
    K = rbf_kernel(X, gamma=0.1) if kernel == "rbf" else X @ X.T
    group = domain if per_source else np.sign(domain)
    K = _kernel_form(K, group, group)
    assert_allclose(Z @ Z.T, K[train][:, train], atol=1e-5)
    linear = Ridge(0.5, fit_intercept=False).fit(Z, y[train])
    expected = KernelRidge(alpha=0.5, kernel="precomputed")
    expected.fit(K[train][:, train], y[train])
    assert_allclose(linear.predict(new), expected.predict(K[test][:, train]), atol=1e-4)


def test_augmented_sparse_samples_stay_sparse(rows):
    X, domain = rows
    dense = FeatureAugmentation().fit_transform(X, sample_domain=domain)
    Z = FeatureAugmentation().fit_transform(sparse.csr_array(X), sample_domain=domain)
    assert sparse.issparse(Z)
    assert_allclose(Z.toarray(), dense)
    agreeing = FeatureAugmentation(agreement=1.0)
    mixed = agreeing.fit_transform(sparse.csr_array(X), sample_domain=domain)
    assert_allclose(mixed, agreeing.fit_transform(X, sample_domain=domain))


@pytest.mark.parametrize("n_sources", [1, 3])
def test_roots_are_those_of_the_agreement_penalty(rng, n_sources):
    X = rng.normal(size=(20, 3))
    C, size = X.T @ X / 20, n_sources + 1
    total = sum(np.kron(P, S) for P, S in agreement_roots(C, 0.7, n_sources))
    w = rng.normal(size=(size, 3))
    disagreement = sum(np.mean((X @ (w[k] - w[-1])) ** 2) for k in range(n_sources))
    inverse = np.linalg.inv(total @ total)
    penalty = (w**2).sum() + 0.7 * disagreement
    assert_allclose(w.ravel() @ inverse @ w.ravel(), penalty)


def test_agreement_is_a_penalty_on_unlabeled_target_samples(rows, rng):
    """A ridge on mapped samples is the penalized fit, solved as one least squares."""
    X, domain = rows
    X, domain = X[domain != 2], domain[domain != 2]
    labeled = (domain > 0) | (np.cumsum(domain < 0) <= 5)
    y, alpha, agreement = rng.normal(size=len(X)), 0.5, 3.0
    augmentation = FeatureAugmentation(agreement=agreement)
    Z = augmentation.fit(X, sample_domain=domain).transform(X, sample_domain=domain)
    ridge = Ridge(alpha, fit_intercept=False).fit(Z[labeled], y[labeled])
    plain = FeatureAugmentation().fit_transform(X, sample_domain=domain)
    target = X[domain < 0]
    apart = np.hstack([np.zeros_like(target), target, -target]) / np.sqrt(len(target))
    stacked = np.vstack(
        [
            plain[labeled],
            np.sqrt(alpha) * np.eye(12),
            np.sqrt(alpha * agreement) * apart,
        ]
    )
    goal = np.concatenate([y[labeled], np.zeros(12 + len(target))])
    weights = np.linalg.lstsq(stacked, goal, rcond=None)[0]
    assert_allclose(ridge.predict(Z), plain @ weights, atol=1e-8)


def test_agreement_of_infinite_weight_pools_the_domains(rows, rng):
    X, domain = rows
    y = rng.normal(size=len(X))
    for agreement, same in ((1e12, True), (0.0, False)):
        Z = FeatureAugmentation(agreement=agreement)
        Z = Z.fit(X, sample_domain=domain)
        ridge = Ridge(1.0, fit_intercept=False)
        ridge.fit(Z.transform(X, sample_domain=domain), y)
        asked = [ridge.predict(Z.transform(X, sample_domain=k)) for k in (1, 2, -1)]
        equal = np.allclose(asked[0], asked[1], atol=1e-3)
        assert equal == same and np.allclose(asked[0], asked[2], atol=1e-3) == same


def test_augmentation_without_sources_and_unknown_ones(rows):
    X, domain = rows
    augmentation = FeatureAugmentation().fit(X)
    assert_allclose(augmentation.transform(X), np.hstack([X, X]))
    assert list(augmentation.get_feature_names_out())[-1] == "target_x3"
    with pytest.raises(DomainError, match="no copy of the features"):
        augmentation.transform(X, sample_domain=domain)
    pooled = FeatureAugmentation(per_source=False).fit(X, sample_domain=domain)
    assert_allclose(
        pooled.transform(X[:2], sample_domain=[7, -3]),
        np.vstack([np.r_[X[0], X[0], np.zeros(4)], np.r_[X[1], np.zeros(4), X[1]]]),
    )
    names = pooled.get_feature_names_out()
    assert names[4] == "source_x0" and len(names) == 12
    with pytest.raises(DomainError, match=r"names the sources \[7\]"):
        FeatureAugmentation().fit(X, sample_domain=domain).transform(
            X[:1], sample_domain=[7]
        )


# location and scale


@pytest.mark.parametrize("n_random_features", [None, 50])
def test_location_and_scale_are_recovered(rng, n_random_features):
    X = rng.normal(size=(80, 3)) + rng.uniform(size=(80, 3)) ** 3
    scale, location = np.array([2.0, 0.5, 1.0]), np.array([1.0, -30.0, 0.0])
    both = np.vstack([X, X * scale + location])
    domain = np.repeat([1, -1], 80)
    both[80:] = both[80:][rng.permutation(80)]
    mapped = MMDLinearMap(n_random_features=n_random_features)
    Z = mapped.fit_transform(both, sample_domain=domain)
    assert_allclose(Z[:80], X * scale + location, atol=1e-3)
    assert mapped.mmd2_[0] < 1e-8


def test_outliers_mislead_means_but_not_the_discrepancy(rng):
    X = rng.normal(size=(100, 1))
    Z = rng.normal(size=(100, 1)) * 2 + 3
    Z[:5] = 200.0
    both, domain = np.vstack([X, Z]), np.repeat([1, -1], 100)
    mapped = MMDLinearMap(max_iter=1000).fit(both, sample_domain=domain)
    (moved,) = mapped.maps_.values()
    assert abs(moved.offset[0] - 3) < 0.5 and abs(abs(moved.matrix[0]) - 2) < 0.7


@pytest.mark.parametrize("n_random_features", [None, 40])
def test_gradients_of_the_discrepancy(rng, n_random_features):
    X, Z = rng.normal(size=(12, 2)), rng.normal(size=(9, 2)) * 2 + 1
    options = {"gamma": 0.3, "n_random_features": n_random_features, "max_iter": 500}
    scale, location, info = fit_location_scale(X, Z, **options)
    assert info.gradient < 1e-5 and info.mmd2 < info.start_mmd2
    if n_random_features is None:
        moved = X * scale + location

        def mmd2(rows):
            K = rbf_kernel(np.vstack([rows, Z]), gamma=0.3)
            v = np.r_[np.full(12, 1 / 12), np.full(9, -1 / 9)]
            return v @ K @ v

        assert_allclose(mmd2(moved), info.mmd2, atol=1e-12)
        for step in np.eye(2) * 1e-3:
            assert mmd2(moved) <= mmd2(moved + step) + 1e-10
            assert mmd2(moved) <= mmd2(moved * (1 + step)) + 1e-10


def test_location_scale_with_a_heavy_penalty_equates_means_and_spreads(rows):
    X, domain = rows
    Z = MMDLinearMap(reg=1e6).fit_transform(X, sample_domain=domain)
    assert_allclose(Z[domain > 0].mean(0), X[domain < 0].mean(0), atol=1e-3)
    assert_allclose(Z[domain > 0].std(0), X[domain < 0].std(0), atol=1e-3)


def test_location_scale_warns_when_it_stops_early(rows):
    X, domain = rows
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        MMDLinearMap(max_iter=1).fit(X, sample_domain=domain)
