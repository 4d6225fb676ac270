"""Problems for the nets."""

import numpy as np
import pytest

from sktransfer.datasets import load_perturbed_digits


class Toy:
    """Two classes in the plane, shifted between the domains."""

    def __init__(self, n_source=40, n_labeled=10, n_unlabeled=30, seed=0, shift=2.0):
        rng = np.random.RandomState(seed)
        n = n_source + n_labeled + n_unlabeled
        self.y_true = rng.randint(2, size=n)
        self.X = rng.normal(size=(n, 2)) + 2.5 * self.y_true[:, None] * [1, 0]
        self.domain = np.repeat([1, -1], [n_source, n_labeled + n_unlabeled])
        self.X[self.domain > 0] += [0, shift]
        self.y = self.y_true.copy()
        self.y[n_source + n_labeled :] = -1


@pytest.fixture
def toy():
    """Return a small problem of two shifted domains."""
    return Toy()


@pytest.fixture
def make_toy():
    """Return the maker of such problems."""
    return Toy


@pytest.fixture(scope="session")
def corrupted_digits():
    """Return digits with 70 % corruption and 30 % of the target labeled."""
    return load_perturbed_digits(0.7, 0.7, 0.3, random_state=0)
