"""Distances of domains other than MMD and transport."""

import mpmath
import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from sktransfer.metrics import (
    azab_weights,
    bregman,
    coral_distance,
    domain_transferability_estimation,
    feature_correlation,
    gaussian_kl,
    label_informed_divergence,
    mmd,
    proxy_a_distance,
    q_statistic,
    rank_of_domain,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein,
)

DISTANCES = {
    "mmd": mmd,
    "coral_distance": coral_distance,
    "proxy_a_distance": lambda X, Y: proxy_a_distance(X, Y, random_state=0),
    "wasserstein": wasserstein,
    "sinkhorn_divergence": sinkhorn_divergence,
    "sliced_wasserstein": lambda X, Y: sliced_wasserstein(X, Y, random_state=0),
    "gaussian_kl": gaussian_kl,
    "bregman": bregman,
    "rank_of_domain": lambda X, Y: rank_of_domain(X, Y, n_components=2),
}
# rounding of small angles, of squared distances, and of Sinkhorn's tolerance
ZERO = {"rank_of_domain": 1e-8, "wasserstein": 1e-6, "sinkhorn_divergence": 1e-5}


@pytest.fixture
def pair():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(40, 3)) * [3, 2, 1]
    Y = rng.normal(0.5, size=(40, 3)) @ rng.normal(size=(3, 3))
    return X, Y


@pytest.mark.parametrize("name", DISTANCES)
def test_zero_for_identical_samples(name, pair):
    X = pair[0]
    assert abs(DISTANCES[name](X, X)) < ZERO.get(name, 1e-10)


@pytest.mark.parametrize("name", DISTANCES)
def test_symmetric_and_positive(name, pair):
    X, Y = pair
    forward, backward = DISTANCES[name](X, Y), DISTANCES[name](Y, X)
    assert forward > 0
    # folds pair other rows when the domains are exchanged
    tolerance = 0.3 if name == "proxy_a_distance" else 1e-6
    assert forward == pytest.approx(backward, rel=tolerance)


@pytest.mark.parametrize("name", DISTANCES)
def test_order_of_rows_does_not_matter(name, pair):
    X, Y = pair
    shuffled = DISTANCES[name](X[::-1], np.roll(Y, 7, axis=0))
    tolerance = 0.3 if name == "proxy_a_distance" else 1e-6
    assert shuffled == pytest.approx(DISTANCES[name](X, Y), rel=tolerance)


@pytest.mark.parametrize("name", sorted(set(DISTANCES) - {"coral_distance"}))
def test_monotone_in_a_mean_shift(name):
    # the shift is orthogonal to the leading direction, which makes angles grow too
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(2, 60, 3))
    direction = np.array([1.0, 0.5, 0.2])
    values = [DISTANCES[name](X, Y + s * direction) for s in (0.5, 1.0, 2.0)]
    assert np.all(np.diff(values) > 0)


def test_coral_distance_is_monotone_in_scale_and_blind_to_the_mean(pair):
    X = pair[0]
    values = [coral_distance(X, X * s) for s in (1.0, 1.5, 2.0, 3.0)]
    assert np.all(np.diff(values) > 0)
    assert coral_distance(X, X + 100) == pytest.approx(0, abs=1e-12)


def test_coral_distance_formula(pair):
    X, Y = pair
    gap = np.cov(X.T) - np.cov(Y.T)
    assert coral_distance(X, Y) == pytest.approx(np.sum(gap**2) / 36, rel=1e-12)


def mp_gaussian_kl(X, Y):
    """KL(Y || X) of Gaussian fits with 40 digits."""
    with mpmath.workdps(40):

        def fit(A):
            A = mpmath.matrix(A.tolist())
            n, d = A.rows, A.cols
            mean = mpmath.matrix([mpmath.fsum(A[:, j]) / n for j in range(d)])
            cov = mpmath.matrix(d, d)
            for i in range(n):
                row = A[i, :].T - mean
                cov += row * row.T / n
            return mean, cov, d

        (ms, cs, d), (mt, ct, _) = fit(X), fit(Y)
        inverse = cs**-1
        product = inverse * ct
        trace = mpmath.fsum(product[i, i] for i in range(d))
        quadratic = ((ms - mt).T * inverse * (ms - mt))[0, 0]
        logs = mpmath.log(mpmath.det(cs) / mpmath.det(ct))
        return float((trace + quadratic - d + logs) / 2)


def test_gaussian_kl_matches_high_precision(pair):
    X, Y = pair
    one_way = gaussian_kl(X, Y, shrinkage=0.0, symmetric=False)
    assert one_way == pytest.approx(mp_gaussian_kl(X, Y), rel=1e-10)
    both = (mp_gaussian_kl(X, Y) + mp_gaussian_kl(Y, X)) / 2
    assert gaussian_kl(X, Y, shrinkage=0.0) == pytest.approx(both, rel=1e-10)


def test_gaussian_kl_is_affine_invariant_without_shrinkage(pair):
    X, Y = pair
    A = np.random.RandomState(1).normal(size=(3, 3))
    before = gaussian_kl(X, Y, shrinkage=0.0)
    after = gaussian_kl(X @ A + 3, Y @ A + 3, shrinkage=0.0)
    assert after == pytest.approx(before, rel=1e-8)


def test_ledoit_wolf_shrinkage_is_scikit_learns(pair):
    from sktransfer.metrics._gaussian import shrunk_covariance

    for X in (*pair, np.random.RandomState(0).normal(size=(5, 30))):
        covariance, amount = shrunk_covariance(X - X.mean(0), "ledoit_wolf")
        expected, expected_amount = ledoit_wolf(X)
        assert amount == pytest.approx(expected_amount, rel=1e-9)
        np.testing.assert_allclose(covariance, expected, atol=1e-12)


@pytest.mark.parametrize(
    "X", [np.ones((5, 2)), np.arange(10.0).reshape(5, 2), np.eye(3, 8)]
)
def test_singular_covariance_is_an_error(X):
    with pytest.raises(ValueError, match="X_source is singular"):
        gaussian_kl(
            X, np.random.RandomState(0).normal(size=(9, X.shape[1])), shrinkage=0
        )


def test_more_features_than_rows_needs_only_shrinkage():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(10, 40)), rng.normal(size=(12, 40))
    assert np.isfinite(gaussian_kl(X, Y))
    assert gaussian_kl(X, X) == pytest.approx(0, abs=1e-10)


def test_bregman_is_the_integral_in_one_dimension():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(7, 1)), rng.normal(1, size=(5, 1))
    h, grid = 0.4, np.linspace(-9, 9, 20001)

    def density(rows):
        kernels = np.exp(-((grid[:, None] - rows.T) ** 2) / (2 * h**2))
        return kernels.mean(axis=1) / np.sqrt(2 * np.pi * h**2)

    p, q, step = density(X), density(Y), grid[1] - grid[0]
    raw = np.sum((p - q) ** 2) * step
    assert bregman(X, Y, bandwidth=h, normalize=False) == pytest.approx(raw, rel=1e-9)
    relative = raw / (np.sum(p**2 + q**2) * step)
    assert bregman(X, Y, bandwidth=h) == pytest.approx(relative, rel=1e-9)


def test_bregman_is_mmd_up_to_a_factor(pair):
    X, Y = pair
    ratios = [
        bregman(A, B, bandwidth=1.0, normalize=False) / mmd(A, B, gamma=0.25)
        for A, B in ((X, Y), (X, X + 1))
    ]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-9)
    assert ratios[0] == pytest.approx((4 * np.pi) ** -1.5, rel=1e-9)


def test_bregman_in_many_dimensions_is_normalized_or_refused():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(10, 2000)), rng.normal(1, size=(10, 2000))
    assert 0 < bregman(X, Y) <= 1 + 1e-12
    with pytest.raises(ValueError, match="normalize=True"):
        bregman(X, Y, normalize=False)
    with pytest.raises(ValueError, match="bandwidth"):
        bregman(np.ones((3, 1)), np.ones((2, 1)))
    assert bregman(np.ones((3, 1)), np.ones((2, 1)), bandwidth=1.0) == 0


def test_feature_correlation_is_pearsons(pair):
    X, Y = pair
    expected = np.corrcoef(X.mean(0), Y.mean(0))[0, 1]
    assert feature_correlation(X, Y) == pytest.approx(expected, abs=1e-12)
    assert feature_correlation(X, 3 * X + 2) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="mean of X_source"):
        feature_correlation(np.ones((3, 2)), Y[:, :2])


def test_dte_matches_its_definition(pair):
    X, Y = pair
    y = np.array(["b", "a", "c", "a"] * 10)
    m = X.mean(0)
    within = np.zeros((3, 3))
    for label in "abc":
        gap = X[y == label].mean(0) - m
        within += np.mean(y == label) * np.outer(gap, gap)
    middle = (m + Y.mean(0)) / 2
    across = sum(np.outer(v - middle, v - middle) / 2 for v in (m, Y.mean(0)))
    expected = np.abs(within).sum(0).max() / np.abs(across).sum(0).max()
    value = domain_transferability_estimation(X, y, Y)
    assert value == pytest.approx(expected, rel=1e-12)
    more_rows = domain_transferability_estimation(np.vstack([X] * 3), np.tile(y, 3), Y)
    assert more_rows == pytest.approx(value, rel=1e-12)


def test_dte_limits(pair):
    X = pair[0]
    y = np.arange(40) % 2
    assert domain_transferability_estimation(X, y, X) == np.inf
    far = [domain_transferability_estimation(X, y, X + s) for s in (1, 2, 4)]
    assert np.all(np.diff(far) < 0)
    with pytest.raises(ValueError, match="at least 2"):
        domain_transferability_estimation(X, np.zeros(40), X)
    with pytest.raises(ValueError, match="same mean"):
        domain_transferability_estimation([[1.0], [1.0]], [0, 1], [[1.0]])


def test_rank_of_domain_in_a_known_geometry():
    # domains along two directions of the plane at an angle of 30 degrees
    t = np.linspace(-1, 1, 21)[:, None]
    angle = np.pi / 6
    X = t * [1.0, 0.0]
    Y = 2 * t * [np.cos(angle), np.sin(angle)] + 0.5
    v, u = np.var(t), 4 * np.var(t)
    # the means are measured from the point between them, (0.25, 0.25)
    gap = (0.25 + 0.25 * (np.cos(angle) + np.sin(angle))) ** 2
    kl = 0.5 * (v / u + gap / u - 1 + np.log(u / v))
    kl += 0.5 * (u / v + gap / v - 1 + np.log(v / u))
    value = rank_of_domain(X, Y, n_components=1)
    assert value == pytest.approx(angle * kl, rel=1e-10)


def test_rank_of_domain_errors(pair):
    with pytest.raises(ValueError, match="exceeds the rank"):
        rank_of_domain(*pair, n_components=4)
    with pytest.raises(ValueError, match="are the same"):
        rank_of_domain(np.ones((4, 3)), pair[1])


def test_azab_weights_formula():
    rng = np.random.RandomState(0)
    y = np.arange(60) % 3
    target = rng.normal(size=(60, 2)) + y[:, None]
    sources = [(target + s, y + 0) for s in (0.2, 0.5, 1.0)]
    kl = np.array(
        [
            np.mean(
                [
                    gaussian_kl(X[ys == c], target[y == c], symmetric=False)
                    for c in range(3)
                ]
            )
            for X, ys in sources
        ]
    )
    expected = (1 / (kl + 1e-4)) ** 4
    weights = azab_weights(sources, target, y)
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-9)
    assert np.all(np.diff(weights) < 0)
    same = azab_weights([(target, y)] * 2, target, y)
    np.testing.assert_allclose(same, [0.5, 0.5])


def test_azab_weights_names_the_class_that_is_too_small():
    X = np.random.RandomState(0).normal(size=(10, 2))
    y = np.array(["a", "b"] * 5)
    with pytest.raises(ValueError, match="class b of source 1 has 0 rows"):
        azab_weights([(X, y), (X, ["a"] * 10)], X, y)


def test_q_statistic_by_hand():
    truth = np.zeros(10)
    first = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 1])
    second = np.array([0, 0, 0, 0, 1, 0, 1, 1, 0, 1])
    # N11 = 5, N00 = 3, N10 = 1, N01 = 1
    assert q_statistic(truth, first, second) == pytest.approx(14 / 16)
    assert q_statistic(truth, first, first) == 1.0
    assert q_statistic([0, 0], [0, 1], [1, 0]) == -1.0
    with pytest.raises(ValueError, match="zero_division"):
        q_statistic(truth, truth, truth)
    assert q_statistic(truth, truth, truth, zero_division=1.0) == 1.0


@pytest.mark.parametrize(
    "estimator", [None, KNeighborsClassifier(5), DecisionTreeClassifier(random_state=0)]
)
def test_proxy_a_distance_takes_any_classifier(estimator):
    X = np.random.RandomState(0).normal(size=(40, 2))
    far = proxy_a_distance(X, X + 50, estimator=estimator, random_state=0)
    assert far == pytest.approx(2.0)


def test_proxy_a_distance_does_not_reward_unequal_sizes():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(300, 2)), rng.normal(size=(15, 2))
    majority = DecisionTreeClassifier(max_depth=1, min_samples_leaf=100)
    assert proxy_a_distance(X, Y, estimator=majority, random_state=0) == 0.0
    with pytest.raises(ValueError, match="cv=5 folds"):
        proxy_a_distance(X, Y[:3])


def test_label_informed_divergence_sees_what_features_do_not():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(80, 2))
    y = np.where(X[:, 0] > 0, "pos", "neg")
    flipped = np.where(y == "pos", "neg", "pos")
    same = label_informed_divergence(X, y, X, y, random_state=0)
    changed = label_informed_divergence(X, y, X, flipped, random_state=0)
    assert same < 0.3 < 1.7 < changed
    assert proxy_a_distance(X, X, random_state=0) < 0.3


def test_label_informed_divergence_with_three_classes():
    rng = np.random.RandomState(0)
    centers = np.array([[4.0, 0], [-4.0, 0], [0, 4.0]])
    y = np.arange(90) % 3
    X = centers[y] + rng.normal(size=(90, 2))
    assert label_informed_divergence(X, y, X, y, random_state=0) < 0.3
    changed = label_informed_divergence(
        X, y, X, (y + 1) % 3, estimator=LogisticRegression(), random_state=0
    )
    assert changed > 1.7


def test_label_informed_divergence_errors():
    X = np.zeros((10, 1))
    with pytest.raises(ValueError, match="at least 2"):
        label_informed_divergence(X, np.zeros(10), X, np.zeros(10))
    with pytest.raises(ValueError, match="sample_weight"):
        label_informed_divergence(
            X, np.arange(10) % 2, X, np.arange(10) % 2, estimator=KNeighborsClassifier()
        )


def test_weights_of_q_statistic_count_rows():
    rng = np.random.default_rng(0)
    truth, first, second = rng.integers(2, size=(3, 60))
    weight = rng.integers(4, size=60)
    every = [np.repeat(part, weight) for part in (truth, first, second)]
    found = q_statistic(truth, first, second, sample_weight=weight)
    assert found == pytest.approx(q_statistic(*every))
    with pytest.raises(ValueError, match="sample_weight"):
        q_statistic(truth, first, second, sample_weight=-weight)


@pytest.mark.parametrize("seed", [0, 1])
def test_distances_by_classifiers_do_not_depend_on_the_order_of_rows(seed):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) + 0.5
    y, z = X[:, 0] > 0, Y[:, 0] > 0.5
    i, j = rng.permutation(40), rng.permutation(30)
    found = proxy_a_distance(X, Y, random_state=0)
    assert proxy_a_distance(X[i], Y[j], random_state=0) == found
    found = label_informed_divergence(X, y, Y, z, random_state=0)
    again = label_informed_divergence(X[i], y[i], Y[j], z[j], random_state=0)
    assert again == found


def test_label_informed_divergence_refuses_text_beside_numbers():
    X = np.arange(12.0)[:, None]
    with pytest.raises(ValueError, match="text and numbers"):
        label_informed_divergence(X, ["0", "1"] * 6, X, [0, 1] * 6)
