"""Summaries and parallel fits on a cluster of Dask or Ray on this machine.

Run ``.ci/matrix/engines``, or ``python .ci/matrix/engines.py dask`` (or ``ray``) where
the extras are installed. Every line is a check that holds; an assertion ends the run.
"""

import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from joblib import parallel_config
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV

from sktransfer.baselines import Pooled
from sktransfer.datasets import make_concept_shift
from sktransfer.inspection import transfer_report
from sktransfer.instance import KMM
from sktransfer.model_selection import TargetKFold
from sktransfer.multisource import summarize_source
from sktransfer.safe import TransferGuard, TransferPortfolioRegressor
from sktransfer.utils import send_memory_maps_by_name

FEATURES = ["a", "b", "c"]


def table():
    """Features, a number and a class to predict, and weights."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(600, 3)), columns=FEATURES)
    frame["y"] = frame["a"] * 2 + rng.normal(size=600)
    frame["label"] = np.where(frame["y"] > 0, "p", "q")
    frame["w"] = rng.uniform(0, 2, size=600)
    return frame


@contextmanager
def dask_cluster():
    """Two workers of Dask."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as own,
        Client(own),
    ):
        yield


@contextmanager
def ray_cluster():
    """Two workers of Ray, and its backend of joblib."""
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    try:
        yield
    finally:
        ray.shutdown()


def dask_table(frame):
    """Return a Dask dataframe of many partitions."""
    import dask.dataframe as dd

    return dd.from_pandas(frame, npartitions=20)


def ray_table(frame):
    """Return a Ray dataset of many blocks."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data.from_pandas(frame).repartition(5)


def check_summaries(distribute):
    """Summaries do not depend on where the rows are."""
    frame = table()
    fitted = LogisticRegression().fit(frame[FEATURES].to_numpy(), frame["label"])
    for learner, y, weight in [
        (LinearRegression(), "y", "w"),
        (LinearRegression(), "y", None),
        (fitted, "label", "w"),
    ]:
        columns = [*FEATURES, y] + ([] if weight is None else [weight])
        found = summarize_source(learner, distribute(frame[columns]), y, weight)
        own = None if weight is None else frame[weight]
        whole = summarize_source(learner, frame[FEATURES], frame[y], own)
        np.testing.assert_allclose(found.vector, whole.vector, rtol=1e-8)
        np.testing.assert_allclose(found.information, whole.information, rtol=1e-8)
        assert found.feature_names == whole.feature_names
        assert abs(found.n - whole.n) < 1e-8
    for bad in ("nope", None, frame["y"]):
        try:
            summarize_source(LinearRegression(), distribute(frame), bad)
        except ValueError as error:
            assert "name of a column" in str(error)
        else:
            raise AssertionError(f"y={bad!r} was taken")
    empty = frame[[*FEATURES, "y", "w"]].assign(w=0.0)
    try:
        summarize_source(LinearRegression(), distribute(empty), "y", "w")
    except ValueError as error:
        assert "no row of positive weight" in str(error)
    print("ok  summaries of a distributed table are those of its rows", flush=True)


def check_parallel(backend):
    """Fits spread over the cluster are those of one process."""
    data = make_concept_shift(shift=[0.1, 3.0], random_state=0)
    fit = {"sample_domain": data.sample_domain}
    search = GridSearchCV(
        TransferGuard(KMM(Ridge()), cv=3, random_state=0),
        {"estimator__estimator__alpha": [0.1, 10.0]},
        cv=TargetKFold(3),
        n_jobs=2,
    )
    portfolio = TransferPortfolioRegressor(random_state=0, n_jobs=2)

    def report():
        return transfer_report(
            data.X, data.y, sample_domain=data.sample_domain, quick=True,
            random_state=0, n_jobs=2,
        ).evidence  # fmt: skip

    def run():
        found = sklearn.clone(search).fit(data.X, data.y, **fit)
        blended = sklearn.clone(portfolio).fit(data.X, data.y, **fit)
        return found.cv_results_["mean_test_score"], blended.predict(data.X_test)

    with parallel_config(backend="sequential"):
        alone = run()
    with parallel_config(backend=backend):
        spread = run()
        evidence = report()
    for one, two, name in zip(alone, spread, ["search", "portfolio"], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)
        print(f"ok  {name} on {backend} workers", flush=True)
    assert evidence
    print(f"ok  report on {backend} workers", flush=True)


def own_memory(model, X, y):
    """Score: megabytes of the worker that no file and no other process shares."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"Anonymous:\s+(\d+)", text)[1]) / 1024


def check_memory_maps(backend, n_samples=1_000_000):
    """Workers open the file of a memory map; they do not get a copy of it."""
    kind = np.where(np.arange(n_samples) % 2, 1, -1).astype(np.int8)
    # a guard of few samples: what a worker holds is what it was sent
    folds = [(np.arange(k, 400 + k), np.arange(400 + k, 450 + k)) for k in (0, 500)]
    search = GridSearchCV(
        TransferGuard(Pooled(Ridge()), cv=3),
        {"estimator__estimator__alpha": [0.1, 1.0, 10.0]},
        scoring=own_memory, cv=folds, refit=False, n_jobs=2,
    )  # fmt: skip

    def most(rows):
        """Return the most memory of a worker that searches on these samples."""
        domain = kind[: len(rows)]
        search.fit(rows, domain.astype(np.float32), sample_domain=domain)
        results = search.cv_results_
        return max(results[f"split{k}_test_score"].max() for k in range(len(folds)))

    with tempfile.TemporaryDirectory() as folder, parallel_config(backend=backend):
        X = np.lib.format.open_memmap(
            f"{folder}/X.npy", "w+", np.float64, (n_samples, 20)
        )
        rng = np.random.default_rng(0)
        for start in range(0, n_samples, 100_000):
            X[start : start + 100_000] = rng.normal(size=(100_000, 20))
        X.flush()
        X = np.load(f"{folder}/X.npy", mmap_mode="r")
        few = X[:1000]
        most(few)  # imports
        before = most(few)
        grown = {"as it is": most(X) - before}
        client = None
        if backend == "dask":
            from dask.distributed import default_client

            client = default_client()
        send_memory_maps_by_name(client)
        most(few)
        before = most(few)
        grown["by name"] = most(X) - before
    size = X.nbytes / 2**20
    for way, megabytes in grown.items():
        print(f"    a map of {size:.0f} MB sent {way}: {megabytes:.0f} MB in a worker")
    assert grown["by name"] < size / 4, grown
    print(f"ok  memory maps are not copied to {backend} workers", flush=True)


if __name__ == "__main__":
    sklearn.set_config(enable_metadata_routing=True)
    engine = sys.argv[1]
    cluster, distribute = {
        "dask": (dask_cluster, dask_table),
        "ray": (ray_cluster, ray_table),
    }[engine]
    with cluster():
        check_summaries(distribute)
        check_parallel(engine)
        check_memory_maps(engine)
