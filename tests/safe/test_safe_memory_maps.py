"""Memory-mapped samples go to parallel workers by the name of their file."""

import numpy as np
import pytest
from joblib import parallel_config
from joblib.externals.loky.backend import queues
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from sktransfer.baselines import Pooled
from sktransfer.metrics import cross_val_ntg
from sktransfer.model_selection import TargetKFold
from sktransfer.safe import TransferGuard


@pytest.fixture
def sent(monkeypatch):
    """Sizes of what is sent to the workers, in bytes."""
    sizes, dumps = [], queues.dumps

    def counted(*args, **kwargs):
        message = dumps(*args, **kwargs)
        sizes.append(len(message))
        return message

    monkeypatch.setattr(queues, "dumps", counted)
    return sizes


def guard(X, y, domain):
    # a solver whose folds have fits of their own
    learner = Ridge(solver="lsqr")
    TransferGuard(Pooled(learner), cv=2, n_jobs=2).fit(X, y, sample_domain=domain)


def gap(X, y, domain):
    learner = Ridge(solver="lsqr")
    cross_val_ntg(Pooled(learner), X, y, sample_domain=domain, cv=2, n_jobs=2)


def search(X, y, domain):
    model = TransferGuard(Pooled(Ridge()), cv=2)
    grid = {"estimator__estimator__alpha": [1.0, 10.0]}
    GridSearchCV(model, grid, cv=TargetKFold(2), n_jobs=2).fit(
        X, y, sample_domain=domain
    )


@pytest.mark.parametrize("fit", [guard, gap, search])
def test_workers_get_no_copy_of_a_memory_map(fit, rng, tmp_path, sent, routing):
    X = rng.normal(size=(2000, 100))
    y = X[:, 0] + rng.normal(size=2000)
    domain = np.repeat([1, -1], [1900, 100])
    X.tofile(tmp_path / "samples")
    memory_map = np.memmap(tmp_path / "samples", X.dtype, "r", shape=X.shape)
    # joblib would write a large array to a file of its own
    with parallel_config(max_nbytes=None):
        fit(X, y, domain)
        copied = max(sent)
        sent.clear()
        fit(memory_map, y, domain)
    assert copied > X.nbytes
    assert 0 < max(sent) < X.nbytes / 5
