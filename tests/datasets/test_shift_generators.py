"""The generators' stated truth is the truth of what they draw."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import norm
from sklearn.linear_model import LinearRegression

from sktransfer.datasets import (
    make_concept_shift,
    make_covariate_shift,
    make_label_shift,
    make_subspace_shift,
)
from sktransfer.exceptions import DomainError

MAKERS = [
    make_concept_shift,
    make_covariate_shift,
    make_label_shift,
    make_subspace_shift,
]
TASKS = ["classification", "regression"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("make", MAKERS)
def test_rows_labels_and_domains(make, task):
    data = make(
        7, n_labeled=4, n_unlabeled=5, n_test=6, shift=[0.0, 0.3], task=task,
        random_state=0,
    )  # fmt: skip
    assert np.bincount(data.sample_domain + 1).tolist() == [9, 0, 7, 7]
    assert data.domain_names == {1: "source_1", 2: "source_2", -1: "target"}
    unlabeled = np.isnan(data.y)
    assert np.flatnonzero(unlabeled).tolist() == [18, 19, 20, 21, 22]
    np.testing.assert_array_equal(data.y[~unlabeled], data.y_true[~unlabeled])
    assert data.y_true.shape == (23,)
    assert data.X_test.shape == (6, data.X.shape[1])
    assert data.y_test.shape == (6,)
    if task == "classification":
        assert set(data.y_true) | set(data.y_test) <= {0, 1}


@pytest.mark.parametrize("make", MAKERS)
def test_seeds(make):
    one, same, other = (make(5, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.X, same.X)
    np.testing.assert_array_equal(one.y, same.y)
    assert not np.array_equal(one.X, other.X)


@pytest.mark.parametrize("make", MAKERS)
def test_target_parts_may_be_empty_but_not_both(make):
    assert len(make(3, n_labeled=0, n_unlabeled=2, random_state=0).X) == 5
    assert len(make(3, n_labeled=2, n_unlabeled=0, n_test=0, random_state=0).X) == 5
    with pytest.raises(DomainError, match="n_labeled and n_unlabeled are both 0"):
        make(3, n_labeled=0, n_unlabeled=0)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("shift", [[], [[1.0]], [np.inf]])
def test_bad_shift(make, shift):
    with pytest.raises(ValueError, match="shift must be a finite number"):
        make(3, shift=shift)


@pytest.mark.parametrize("n_features", [1, 2, 5])
@pytest.mark.parametrize("shift", [0.5, [0.0, 1.5]])
def test_covariate_ratio_is_the_density_ratio(n_features, shift):
    data = make_covariate_shift(
        2000, n_features=n_features, shift=shift, target_scale=0.6, random_state=0
    )
    X = data.X[data.sample_domain > 0]
    direction = np.ones(n_features) / np.sqrt(n_features)
    mixture = np.mean(
        [norm.pdf(X - s * direction).prod(axis=1) for s in np.atleast_1d(shift)],
        axis=0,
    )
    expected = norm.pdf(X, scale=0.6).prod(axis=1) / mixture
    np.testing.assert_allclose(data.sample_weight_true, expected, rtol=1e-10)
    # E_S[w] = 1 and E_S[w x] = E_T[x] = 0
    assert data.sample_weight_true.mean() == pytest.approx(1, abs=0.2)
    moments = data.sample_weight_true @ X / len(X)
    np.testing.assert_allclose(moments, 0, atol=0.1)


@pytest.mark.parametrize("n_features", [1, 2])
def test_covariate_true_weights_repair_a_misspecified_model(n_features):
    data = make_covariate_shift(2000, n_features=n_features, random_state=0)
    source = data.sample_domain > 0
    X, y = data.X[source], data.y[source]

    def error(weight=None):
        fit = LinearRegression().fit(X, y, weight)
        return np.mean((fit.predict(data.X_test) - data.y_test) ** 2)

    best = LinearRegression().fit(data.X_test, data.y_test)
    optimum = np.mean((best.predict(data.X_test) - data.y_test) ** 2)
    assert error(data.sample_weight_true) < 1.1 * optimum
    assert error() > 3 * optimum


def test_covariate_rule_is_the_same_everywhere():
    data = make_covariate_shift(50, shift=[0.0, 2.0], noise=0.0, random_state=0)
    t = data.X[:, 0]
    np.testing.assert_allclose(data.y_true, t**3 - t, atol=1e-12)
    signs = make_covariate_shift(50, noise=0.0, task="classification", random_state=0)
    t = signs.X[:, 0]
    np.testing.assert_array_equal(signs.y_true, t**3 - t > 0)


def test_concept_coefficients():
    data = make_concept_shift(
        30, n_labeled=30, noise=0.0, shift=[0.0, 0.5, 3.0], random_state=0
    )
    for domain, coef in data.coef.items():
        rows = data.sample_domain == domain
        fit = LinearRegression().fit(data.X[rows], data.y_true[rows])
        np.testing.assert_allclose(fit.coef_, coef, atol=1e-10)
    distances = [np.linalg.norm(data.coef[k] - data.coef[-1]) for k in (1, 2, 3)]
    np.testing.assert_allclose(distances, [0.0, 0.5, 3.0], atol=1e-12)
    assert np.linalg.norm(data.coef[-1]) == pytest.approx(1)


def test_concept_error_of_a_source_rule_is_noise_plus_squared_shift():
    data = make_concept_shift(shift=0.7, noise=0.3, n_test=20_000, random_state=0)
    error = np.mean((data.X_test @ data.coef[1] - data.y_test) ** 2)
    assert error == pytest.approx(0.3**2 + 0.7**2, rel=0.05)
    error = np.mean((data.X_test @ data.coef[-1] - data.y_test) ** 2)
    assert error == pytest.approx(0.3**2, rel=0.05)


def test_label_shift_classification_law():
    data = make_label_shift(
        5000, shift=[0.0, np.log(4)], n_unlabeled=5000, random_state=0
    )
    for domain, probability in {1: 0.5, 2: 0.8, -1: 0.5}.items():
        assert data.label_law[domain] == pytest.approx(probability)
        rows = data.sample_domain == domain
        assert data.y_true[rows].mean() == pytest.approx(probability, abs=0.02)
    y = data.y[data.sample_domain > 0]
    expected = np.where(y == 1, 0.5 / 0.65, 0.5 / 0.35)
    np.testing.assert_allclose(data.sample_weight_true, expected)
    # inputs given the label do not move
    ones = data.y_true == 1
    means = [data.X[ones & (data.sample_domain == k)].mean(axis=0) for k in (2, -1)]
    np.testing.assert_allclose(*means, atol=0.1)
    assert np.linalg.norm(means[0]) == pytest.approx(2.0, abs=0.1)


def test_label_shift_regression_law():
    data = make_label_shift(4000, shift=0.8, task="regression", random_state=0)
    y = data.y[data.sample_domain > 0]
    assert y.mean() == pytest.approx(0.8, abs=0.05)
    expected = norm.pdf(y) / norm.pdf(y, loc=0.8)
    np.testing.assert_allclose(data.sample_weight_true, expected)
    assert np.average(y, weights=data.sample_weight_true) == pytest.approx(0, abs=0.1)


def test_subspace_angles_and_rule():
    shift = [0.0, 0.4, 1.2]
    data = make_subspace_shift(
        60, n_components=3, n_labeled=60, shift=shift, feature_noise=0.0, noise=0.0,
        task="regression", random_state=0,
    )  # fmt: skip
    target = data.basis[-1]
    np.testing.assert_allclose(target.T @ target, np.eye(3), atol=1e-12)
    for domain, angle in enumerate(shift, start=1):
        angles = subspace_angles(data.basis[domain], target)
        np.testing.assert_allclose(angles, angle, atol=1e-7)
    for domain, basis in data.basis.items():
        rows = data.sample_domain == domain
        X = data.X[rows]
        np.testing.assert_allclose(X @ basis @ basis.T, X, atol=1e-10)
        rule = X @ basis / [3.0, 2.0, 1.0] @ data.coef
        np.testing.assert_allclose(data.y_true[rows], rule, atol=1e-10)


def test_subspace_needs_room_to_turn():
    with pytest.raises(ValueError, match="n_features=3 must be at least twice"):
        make_subspace_shift(n_features=3, n_components=2)
