"""The discrepancy of chunks is that of the samples in memory."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from sktransfer.metrics import mmd, mmd_of_chunks


def samples(rng, n=600, d=3):
    X = rng.normal(size=(n, d))
    return X, rng.normal(size=(n // 2, d)) + [1.0, 0.0, 0.0]


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_chunks_arrays_and_memory_maps_agree_with_random_features(
    rng, tmp_path, kernel
):
    X, Y = samples(rng)
    options = {"kernel": kernel, "gamma": 0.3, "n_components": 50, "random_state": 0}
    whole = mmd(X, Y, estimator="random_features", **options)
    X.tofile(tmp_path / "rows")
    memory_map = np.memmap(tmp_path / "rows", dtype=X.dtype, mode="r", shape=X.shape)
    for source, target in [
        (X, Y),
        ((X[i : i + 7] for i in range(0, 600, 7)), [Y[:1], Y[1:1], Y[1:]]),
        (memory_map, Y),
    ]:
        found = mmd_of_chunks(source, target, **options)
        assert found.mmd2 == pytest.approx(whole, rel=1e-9)
        assert (found.source_size, found.target_size) == (600, 300)
    moved = mmd_of_chunks(X + 1e6, Y + 1e6, **options)
    assert moved.mmd2 == pytest.approx(whole, rel=1e-6)


def test_the_standard_error_is_that_of_the_features(rng):
    X, Y = samples(rng)
    exact = mmd(X, Y, gamma=0.3)
    draws = [
        mmd_of_chunks(X, Y, gamma=0.3, n_components=100, random_state=s)
        for s in range(60)
    ]
    found = np.array([d.mmd2 for d in draws])
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / np.sqrt(60))
    assert np.mean([d.stderr for d in draws]) == pytest.approx(np.std(found), rel=0.3)


@pytest.mark.parametrize(
    "source, target, error, match",
    [
        ([], np.ones((2, 2)), ValueError, "source holds no sample"),
        (np.ones((2, 2)), [], ValueError, "target holds no sample"),
        (np.ones((2, 2)), np.ones((2, 3)), ValueError, "target has 3 features"),
        ([np.ones((2, 2)), np.ones((2, 1))], np.ones((2, 2)), ValueError, "has 1 feat"),
        (np.ones(3), np.ones((2, 2)), ValueError, "1 dimension"),
        (3, np.ones((2, 2)), TypeError, "source must be an array or an iterable"),
        ([np.full((2, 2), np.nan)], np.ones((2, 2)), ValueError, "NaN"),
    ],
)
def test_bad_samples_are_named(source, target, error, match):
    with pytest.raises(error, match=match):
        mmd_of_chunks(source, target, gamma=1.0)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_columns_in_another_order_are_refused(rng, kind):
    X = rng.normal(size=(20, 2)) + [5.0, 0.0]
    frame = kind({"a": X[:, 0], "b": X[:, 1]})
    same = mmd_of_chunks([frame, frame], X, gamma=0.5)
    assert same.mmd2 == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="the same order"):
        mmd_of_chunks(frame, frame[["b", "a"]], gamma=0.5)
    with pytest.raises(ValueError, match="A chunk of source has the columns"):
        mmd_of_chunks([frame, frame[["b", "a"]]], X, gamma=0.5)


def test_sparse_samples_are_refused():
    with pytest.raises(TypeError, match="target is sparse"):
        mmd_of_chunks(np.eye(3), [sparse.csr_matrix(np.eye(3))], gamma=0.5)
