"""Kernel mean matching finds the density ratio that the generator states."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression

from sktransfer.datasets import make_covariate_shift
from sktransfer.instance import kmm_weights


@pytest.mark.parametrize("n_features", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kmm_follows_the_known_density_ratio(n_features, seed):
    data = make_covariate_shift(n_features=n_features, n_test=5000, random_state=seed)
    source = data.sample_domain > 0
    weight = kmm_weights(data.X[source], data.X[~source])
    assert spearmanr(weight, data.sample_weight_true)[0] > 0.85

    def error(sample_weight):
        fit = LinearRegression().fit(data.X[source], data.y[source], sample_weight)
        return np.mean((fit.predict(data.X_test) - data.y_test) ** 2)

    assert error(weight) < 1.1 * error(data.sample_weight_true)
    assert error(weight) < 0.5 * error(None)
