"""Feature selection by discrepancy, and domain-invariant partial least squares."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize
from sklearn.cross_decomposition import PLSRegression
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer._solvers.kernels import median_gamma
from sktransfer._solvers.pls import absolute_difference, domain_invariant_pls
from sktransfer.feature import DomainInvariantPLS, FeatureMMDSelection

# selection


@pytest.fixture
def rows(rng):
    X = rng.normal(size=(90, 5))
    domain = np.tile([1, 2, -1], 30)
    X[domain > 0, 1] += 3.0
    X[domain > 0, 3] *= 4.0
    return X, domain


def test_scores_are_the_discrepancies_of_the_features(rows):
    X, domain = rows
    source, target = X[domain > 0], X[domain < 0]
    linear = FeatureMMDSelection().fit(X, sample_domain=domain)
    assert_allclose(linear.scores_, (source.mean(0) - target.mean(0)) ** 2)
    radial = FeatureMMDSelection(kernel="rbf").fit(X, sample_domain=domain)
    for f in range(5):
        column = np.r_[source[:, f], target[:, f]][:, None]
        K = rbf_kernel(column, gamma=median_gamma(column))
        v = np.r_[np.full(60, 1 / 60), np.full(30, -1 / 30)]
        assert_allclose(radial.scores_[f], v @ K @ v, atol=1e-12)


def test_weights_make_the_discrepancy_largest(rows):
    """An optimizer that knows nothing of the closed form finds nothing better."""
    X, domain = rows
    selection = FeatureMMDSelection(kernel="rbf").fit(X, sample_domain=domain)
    found = minimize(
        lambda w: -(w @ selection.scores_),
        np.full(5, 0.1),
        bounds=[(0, None)] * 5,
        constraints={"type": "ineq", "fun": lambda w: 1 - w @ w},
    )
    assert_allclose(found.x, selection.weights_, atol=1e-3)
    assert_allclose(np.linalg.norm(selection.weights_), 1.0)


def test_kernels_see_what_they_should(rows):
    X, domain = rows
    linear = FeatureMMDSelection(4).fit(X, sample_domain=domain)
    assert linear.get_support().tolist() == [True, False, True, True, True]
    radial = FeatureMMDSelection(3, kernel="rbf").fit(X, sample_domain=domain)
    assert radial.get_support().tolist() == [True, False, True, False, True]
    scaled = FeatureMMDSelection(3, kernel="rbf")
    scaled.fit(X * [1, 1e3, 1, 1, 1e-4], sample_domain=domain)
    assert_allclose(scaled.scores_, radial.scores_, atol=1e-8)


def test_numbers_of_features(rows):
    X, domain = rows
    auto = FeatureMMDSelection().fit(X, sample_domain=domain)
    assert auto.transform(X).shape == (90, 4)
    assert_array_equal(auto.get_feature_names_out(), ["x0", "x2", "x3", "x4"])
    share = FeatureMMDSelection(0.4).fit(X, sample_domain=domain)
    assert share.get_support().sum() == 2
    assert FeatureMMDSelection(0.01).fit(X, sample_domain=domain).support_.sum() == 1
    with pytest.raises(ValueError, match="n_features_to_select=6 exceeds"):
        FeatureMMDSelection(6).fit(X, sample_domain=domain)
    everything = FeatureMMDSelection(2).fit(X)  # without sources nothing is dropped
    assert_allclose(everything.transform(X), X)
    same = np.vstack([X, X])
    both = FeatureMMDSelection().fit(same, sample_domain=np.repeat([1, -1], 90))
    assert both.support_.all()


def test_sparse_samples_stay_sparse(rows):
    X, domain = rows
    dense = FeatureMMDSelection(kernel="rbf").fit(X, sample_domain=domain)
    other = FeatureMMDSelection(kernel="rbf")
    Z = other.fit_transform(sparse.csr_array(X), sample_domain=domain)
    assert sparse.issparse(Z)
    assert_allclose(Z.toarray(), dense.transform(X))


# partial least squares


@pytest.fixture
def spectra(rng):
    """Two instruments; the second has an interference of its own."""
    y = rng.normal(size=120)
    peak, other = (np.exp(-((np.arange(30) - c) ** 2) / 20) for c in (8, 12))
    X = np.outer(y, peak) + 0.05 * rng.normal(size=(120, 30))
    domain = np.repeat([1, -1], 60)
    X[domain < 0] += 0.5 + np.outer(2 * rng.normal(size=60), other)
    return X, y, domain


@pytest.mark.parametrize("n_components", [1, 3])
def test_without_a_penalty_it_is_partial_least_squares(spectra, n_components):
    X, y, _ = spectra
    reference = PLSRegression(n_components, scale=False).fit(X, y)
    model = DomainInvariantPLS(n_components, penalty=0.0).fit(X, y)
    assert_allclose(model.predict(X), reference.predict(X).ravel(), atol=1e-8)
    # without sources there is nothing to be invariant to
    alone = DomainInvariantPLS(n_components, penalty=9.0).fit(X, y)
    assert_allclose(alone.coef_, model.coef_)
    scores = (X - X.mean(axis=0)) @ model.x_rotations_
    assert_allclose(scores.T @ scores, np.diag(np.diag(scores.T @ scores)), atol=1e-6)


def test_absolute_difference_has_absolute_eigenvalues(rng):
    A, B = (
        np.cov(rng.normal(size=(20, 3)) * s, rowvar=False) for s in (1, [3, 1, 0.2])
    )
    D = absolute_difference(A, B)
    assert_allclose(
        np.sort(np.linalg.eigvalsh(D)), np.sort(np.abs(np.linalg.eigvalsh(A - B)))
    )
    assert_allclose(D @ D, (A - B) @ (A - B), atol=1e-10)


def test_first_weights_minimize_the_objective_of_the_paper(spectra):
    """The rank-one fit of X plus the penalty, by an optimizer."""
    X, y, domain = spectra
    source, target = (X[mask] - X[mask].mean(0) for mask in (domain > 0, domain < 0))
    goal = y[:60] - y[:60].mean()
    fit = domain_invariant_pls(
        source, goal, [source], target, n_components=1, penalty=5.0
    )
    C, T = source.T @ source / 59, target.T @ target / 59
    D, scale = absolute_difference(C, T), np.mean([np.trace(C), np.trace(T)]) / 30
    strength = 5.0 / scale * (goal @ goal)

    def objective(w):
        rest = source - np.outer(goal, w)
        gradient = -2 * rest.T @ goal + 2 * strength * D @ w
        return np.sum(rest**2) + strength * w @ D @ w, gradient

    found = minimize(objective, np.zeros(30), jac=True, options={"gtol": 1e-9})
    assert_allclose(found.x / np.linalg.norm(found.x), fit.weights[:, 0], atol=1e-5)


def test_a_large_penalty_equates_the_variances_of_the_scores(spectra):
    X, y, domain = spectra
    labels = np.where(domain > 0, y, np.nan)

    def ratio(penalty):
        model = DomainInvariantPLS(1, penalty=penalty)
        model.fit(X, labels, sample_domain=domain)
        scores = X @ model.x_rotations_[:, 0]
        return scores[domain < 0].std() / scores[domain > 0].std()

    assert ratio(0.0) > 1.5
    assert abs(ratio(1e4) - 1) < 0.1


def test_it_reads_the_other_instrument(spectra):
    X, y, domain = spectra
    labels, target = np.where(domain > 0, y, np.nan), domain < 0
    scores = [
        DomainInvariantPLS(2, penalty=penalty)
        .fit(X, labels, sample_domain=domain)
        .score(X[target], y[target])
        for penalty in (0.0, 100.0)
    ]
    assert scores[1] > 0.9 > scores[0]


def test_an_offset_of_a_domain_does_not_matter(spectra):
    X, y, domain = spectra
    labels = np.where(domain > 0, y, np.nan)
    domain = np.where(np.arange(120) < 30, 2, domain)
    model = DomainInvariantPLS(2).fit(X, labels, sample_domain=domain)
    moved = X + np.array([0.0, 3.0, -7.0])[domain][:, None]
    other = DomainInvariantPLS(2).fit(moved, labels, sample_domain=domain)
    assert_allclose(other.coef_, model.coef_, atol=1e-8)
    assert_allclose(other.predict(moved[60:]), model.predict(X[60:]), atol=1e-8)


def test_components_beyond_the_rank_are_zero(rng):
    X = np.outer(rng.normal(size=20), [1.0, 2.0, 0.0])
    model = DomainInvariantPLS(3).fit(X, X[:, 0])
    assert_allclose(model.predict(X), X[:, 0], atol=1e-10)
    assert_allclose(model.x_weights_[:, 1:], 0)
