"""The perturbation protocol on real digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.datasets import load_perturbed_digits


def rows_of(X):
    return sorted(map(tuple, X))


def test_without_corruption_every_digit_is_there_once():
    data = load_perturbed_digits(0.0, 0.0, 0.1, random_state=0)
    original, labels = load_digits(return_X_y=True)
    assert rows_of(np.vstack([data.X, data.X_test])) == rows_of(original)
    assert not data.input_perturbed.any()
    assert not data.label_randomized.any()
    by_row = {tuple(row): label for row, label in zip(original, labels, strict=True)}
    assert [by_row[tuple(row)] for row in data.X] == data.y_true.tolist()
    assert [by_row[tuple(row)] for row in data.X_test] == data.y_test.tolist()


def test_flags_say_what_was_corrupted():
    clean = load_perturbed_digits(0.0, 0.0, 0.2, random_state=3)
    data = load_perturbed_digits(0.5, 0.3, 0.2, random_state=3)
    original = set(map(tuple, clean.X))
    changed = np.array([tuple(row) not in original for row in data.X])
    np.testing.assert_array_equal(changed, data.input_perturbed)
    source = data.sample_domain > 0
    assert not data.input_perturbed[~source].any()
    assert not data.label_randomized[~source].any()
    assert data.input_perturbed[source].mean() == pytest.approx(0.5, abs=0.05)
    assert data.label_randomized[source].mean() == pytest.approx(0.3, abs=0.05)
    kept = source & ~data.label_randomized
    np.testing.assert_array_equal(data.y[kept], data.y_true[kept])
    drawn = data.label_randomized
    assert (data.y[drawn] != data.y_true[drawn]).mean() == pytest.approx(0.9, abs=0.06)


def test_corruptions_are_independent_and_labels_uniform():
    data = load_perturbed_digits(0.5, 1.0, random_state=0)
    source = data.sample_domain > 0
    counts = np.bincount(data.y[source].astype(int), minlength=10)
    assert data.label_randomized[source].all()
    assert counts.min() > 60
    both = load_perturbed_digits(0.5, 0.5, random_state=0)
    joint = (both.input_perturbed & both.label_randomized)[source].mean()
    assert joint == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 1.0])
def test_labeled_share_of_the_training_half(fraction):
    data = load_perturbed_digits(0, 0, fraction, random_state=0)
    target = data.sample_domain < 0
    labeled = target & ~np.isnan(data.y)
    np.testing.assert_array_equal(data.y[labeled], data.y_true[labeled])
    for digit in range(10):
        of_class = target & (data.y_true == digit)
        expected = max(1, round(fraction * of_class.sum())) if fraction else 0
        assert labeled[of_class].sum() == expected
    assert (data.sample_domain > 0).sum() == 898
    assert target.sum() == 449


def test_max_per_class_and_seeds():
    few = load_perturbed_digits(labeled_fraction=0.5, max_per_class=3, random_state=0)
    labeled = (few.sample_domain < 0) & ~np.isnan(few.y)
    assert np.bincount(few.y[labeled].astype(int)).tolist() == [3] * 10
    same = load_perturbed_digits(labeled_fraction=0.5, max_per_class=3, random_state=0)
    other = load_perturbed_digits(labeled_fraction=0.5, random_state=1)
    np.testing.assert_array_equal(few.X, same.X)
    np.testing.assert_array_equal(few.y, same.y)
    assert not np.array_equal(few.X_test, other.X_test)


def test_perturbed_images_look_different_but_stay_images():
    clean = load_perturbed_digits(0.0, 0.0, random_state=0)
    data = load_perturbed_digits(1.0, 0.0, random_state=0)
    source = data.sample_domain > 0
    assert data.X.min() >= 0
    assert data.X.max() <= 16
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(clean.X[source], clean.y[source])
    assert model.score(clean.X_test, clean.y_test) > 0.93
    # enough to cause misclassification, as the protocol wants
    assert model.score(data.X[source], data.y_true[source]) < 0.5


def test_bundled_digits_are_not_modified():
    before = load_digits(return_X_y=True)[0]
    load_perturbed_digits(1.0, 1.0, random_state=0).X[:] = 0
    np.testing.assert_array_equal(load_digits(return_X_y=True)[0], before)


@pytest.mark.parametrize("name", ["eps_x", "eps_y", "labeled_fraction"])
def test_probabilities_are_checked(name):
    with pytest.raises(ValueError, match=name):
        load_perturbed_digits(**{name: 1.5})
