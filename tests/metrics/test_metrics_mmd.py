import numpy as np
import pytest
from scipy.stats import kstest

from sktransfer.metrics import hsic, mmd, mmd_test


def brute_mmd(X, Y, gamma, unbiased):
    def k(a, b):
        return np.exp(-gamma * np.sum((a - b) ** 2))

    m, n = len(X), len(Y)
    skip = 1 if unbiased else 0
    xx = sum(k(X[i], X[j]) for i in range(m) for j in range(m) if not skip or i != j)
    yy = sum(k(Y[i], Y[j]) for i in range(n) for j in range(n) if not skip or i != j)
    xy = sum(k(a, b) for a in X for b in Y)
    return xx / (m * (m - skip)) + yy / (n * (n - skip)) - 2 * xy / (m * n)


@pytest.mark.parametrize("unbiased", [False, True])
def test_mmd_matches_double_loop(unbiased):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(13, 3)), rng.normal(0.4, size=(9, 3))
    estimator = "unbiased" if unbiased else "biased"
    value = mmd(X, Y, gamma=0.3, estimator=estimator)
    assert value == pytest.approx(brute_mmd(X, Y, 0.3, unbiased), abs=1e-12)
    assert value == pytest.approx(mmd(Y, X, gamma=0.3, estimator=estimator), abs=1e-12)


def test_linear_kernel_is_distance_of_means():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(20, 3)), rng.normal(1, size=(15, 3))
    expected = np.sum((X.mean(0) - Y.mean(0)) ** 2)
    assert mmd(X, Y, kernel="linear") == pytest.approx(expected)
    by_callable = mmd(X, Y, kernel=lambda a, b: a @ b)
    assert by_callable == pytest.approx(expected)


def test_biased_is_zero_for_identical_samples_and_grows_with_shift():
    X = np.random.RandomState(0).normal(size=(50, 2))
    values = [mmd(X, X + s, gamma=0.5) for s in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert np.all(np.diff(values) > 0)


@pytest.mark.parametrize("estimator", ["unbiased", "block"])
def test_unbiased_estimates_have_mean_zero_without_shift(estimator):
    rng = np.random.RandomState(0)
    values = [
        mmd(
            rng.normal(size=(12, 2)),
            rng.normal(size=(12, 2)),
            gamma=0.5,
            estimator=estimator,
            random_state=0,
        )
        for _ in range(400)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert np.min(values) < 0


def test_biased_estimate_has_positive_mean_without_shift():
    rng = np.random.RandomState(0)
    values = [
        mmd(rng.normal(size=(12, 2)), rng.normal(size=(12, 2)), gamma=0.5)
        for _ in range(50)
    ]
    assert np.mean(values) > 4 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("block_size", [2, 5, 20])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_block_estimate_is_mean_of_unbiased_estimates(block_size, kernel):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(43, 2)), rng.normal(1, size=(40, 2))
    options = {"kernel": kernel, "gamma": 0.5}
    value = mmd(
        X, Y, estimator="block", block_size=block_size, random_state=3, **options
    )
    draw = np.random.RandomState(3)
    rows = 40 // block_size * block_size
    left = X[draw.permutation(43)[:rows]].reshape(-1, block_size, 2)
    right = Y[draw.permutation(40)[:rows]].reshape(-1, block_size, 2)
    expected = np.mean(
        [
            mmd(a, b, estimator="unbiased", **options)
            for a, b in zip(left, right, strict=True)
        ]
    )
    assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_random_features_approach_the_biased_estimate(kernel):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(60, 3)), rng.normal(0.7, size=(50, 3))
    exact = mmd(X, Y, kernel=kernel, gamma=0.3)
    fast = mmd(
        X,
        Y,
        kernel=kernel,
        gamma=0.3,
        estimator="random_features",
        n_components=20000,
        random_state=0,
    )
    assert fast == pytest.approx(exact, rel=0.05)


def test_random_features_refuse_other_kernels():
    with pytest.raises(ValueError, match="random_features"):
        mmd([[0.0]], [[1.0]], kernel="poly", estimator="random_features")


def test_median_width_makes_mmd_free_of_units():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(30, 3)), rng.normal(1, size=(20, 3))
    assert mmd(X, Y) == pytest.approx(mmd(1000 * X + 5, 1000 * Y + 5), rel=1e-8)


@pytest.mark.parametrize("estimator", ["biased", "unbiased", "random_features"])
def test_p_value_is_uniform_under_the_null(estimator):
    rng = np.random.RandomState(0)
    p_values = [
        mmd_test(
            rng.normal(size=(10, 2)),
            rng.normal(size=(14, 2)),
            n_permutations=99,
            estimator=estimator,
            n_components=50,
            random_state=rng,
        ).p_value
        for _ in range(200)
    ]
    # the values are multiples of 1/100: spread them within their step
    spread = np.array(p_values) - rng.uniform(0, 0.01, size=200)
    assert kstest(spread, "uniform").pvalue > 0.01


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_statistic_of_the_test_is_the_estimate(estimator):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(11, 2)), rng.normal(3, size=(17, 2))
    result = mmd_test(X, Y, estimator=estimator, n_permutations=99, random_state=0)
    assert result.statistic == pytest.approx(mmd(X, Y, estimator=estimator), abs=1e-12)
    assert result.p_value == pytest.approx(0.01)
    assert result.null_statistics.shape == (99,)


def test_test_of_constant_samples_has_p_value_one():
    result = mmd_test(np.ones((4, 2)), np.ones((5, 2)), random_state=0)
    assert result.p_value == 1.0


@pytest.mark.parametrize("estimator", ["unbiased", "block"])
def test_too_few_rows_is_an_error(estimator):
    with pytest.raises(ValueError, match="minimum of 2"):
        mmd([[0.0]], [[1.0], [2.0]], estimator=estimator)


def test_different_features_is_an_error():
    with pytest.raises(ValueError, match="same features"):
        mmd([[0.0]], [[1.0, 2.0]])


def brute_hsic(K, L):
    n = len(K)
    H = np.eye(n) - 1 / n
    return np.trace(K @ H @ L @ H) / n**2


def test_hsic_is_the_trace_formula():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(15, 3)), rng.normal(size=(15, 2))
    K = np.exp(-0.4 * np.sum((X[:, None] - X[None]) ** 2, axis=-1))
    L = np.exp(-0.4 * np.sum((Y[:, None] - Y[None]) ** 2, axis=-1))
    assert hsic(X, Y, gamma=0.4) == pytest.approx(brute_hsic(K, L), abs=1e-12)
    linear = brute_hsic(X @ X.T, Y @ Y.T)
    assert hsic(X, Y, kernel="linear") == pytest.approx(linear, abs=1e-12)
    labels = np.array(["b", "a", "c"])[rng.randint(3, size=15)]
    delta = (labels[:, None] == labels[None]).astype(float)
    expected = brute_hsic(K, delta)
    assert hsic(X, labels, gamma=0.4) == pytest.approx(expected, abs=1e-12)


def test_hsic_with_domains_is_mmd():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(12, 3)), rng.normal(1, size=(20, 3))
    domain = np.repeat(["s", "t"], [12, 20])
    expected = 2 * (12 * 20 / 32**2) ** 2 * mmd(X, Y, gamma=0.3)
    value = hsic(np.vstack([X, Y]), domain, gamma=0.3)
    assert value == pytest.approx(expected, rel=1e-10)


def test_normalized_hsic_is_one_for_equal_descriptions():
    X = np.random.RandomState(0).normal(size=(15, 3))
    assert hsic(X, X, normalize=True) == pytest.approx(1.0)
    assert hsic(X, 3 * X, kernel="linear", normalize=True) == pytest.approx(1.0)
    assert hsic(X, np.zeros(15)) == 0.0
    with pytest.raises(ValueError, match="constant"):
        hsic(X, np.zeros(15), normalize=True)
