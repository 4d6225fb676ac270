"""Shared fixtures."""

from importlib.util import find_spec

import numpy as np
import pytest
import sklearn
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


# threads of two workers on two cores only get in each other's way
threadpool_limits(1)
if find_spec("torch"):
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def rng():
    """Seeded random numbers."""
    return np.random.RandomState(0)


@pytest.fixture
def routing():
    """Switch scikit-learn's metadata routing on for one test."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield
