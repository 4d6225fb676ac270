"""Weights from chunks are those of the samples in memory."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from sktransfer._solvers import kmm
from sktransfer._solvers.kernels import median_gamma
from sktransfer.instance import (
    density_ratio_of_chunks,
    kmm_weights_of_chunks,
    rulsif_weights,
)

FUNCTIONS = [kmm_weights_of_chunks, density_ratio_of_chunks]


@pytest.fixture
def pair(rng):
    X_source = rng.normal(size=(300, 3))
    return X_source, rng.normal(size=(200, 3)) + [1.0, 0.0, 0.0]


def in_parts(X, size):
    return [X[i : i + size] for i in range(0, len(X), size)]


def in_memory(function, X_source, X_target, **options):
    if function is density_ratio_of_chunks:
        return rulsif_weights(X_source, X_target, alpha=0.0, **options)
    gamma = median_gamma(np.concatenate([X_source, X_target]))
    options = {"rank": 30, "gamma": gamma, "solver": "low_rank", **options}
    return kmm.kmm_weights(X_source, X_target, **options)[0]


def of_chunks(function, source, target, **options):
    if function is kmm_weights_of_chunks:
        options = {"n_components": 30, "memory_budget": 0, **options}
    return function(source, target, **options)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_form_of_chunks_gives_the_weights_of_the_samples_in_memory(
    function, pair, tmp_path
):
    X, Y = pair
    whole = in_memory(function, X, Y)
    X.tofile(tmp_path / "samples")
    memory_map = np.memmap(tmp_path / "samples", X.dtype, "r", shape=X.shape)

    def generated():
        yield from in_parts(X, 70)

    for source, target in [
        (X, Y),
        (in_parts(X, 37), [Y[:1], Y[1:1], Y[1:]]),
        (memory_map, lambda: in_parts(Y, 50)),
        (generated, Y),
    ]:
        weights = of_chunks(function, source, target)
        assert_allclose(weights, whole, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_more_samples_than_the_median_and_the_centers_are_drawn_from(function, rng):
    X, Y = rng.normal(size=(5000, 2)), rng.normal(size=(300, 2)) + 1.0
    options = {"tol": 1e-10} if function is kmm_weights_of_chunks else {}
    weights = of_chunks(function, in_parts(X, 999), in_parts(Y, 77), **options)
    whole = in_memory(function, X, Y, **options)
    assert_allclose(weights, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_weights_follow_the_samples_and_an_offset_changes_nothing(function, pair, rng):
    X, Y = pair
    order = rng.permutation(len(X))
    weights = of_chunks(function, in_parts(X, 100), Y)
    moved = of_chunks(function, in_parts(X[order], 130), Y[::-1])
    assert_allclose(moved, weights[order], rtol=1e-6, atol=1e-7)
    moved = of_chunks(function, in_parts(X + 1e5, 100), Y + 1e5)
    assert_allclose(moved, weights, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("options", [{"B": 3.0, "eps": 0.01}, {"eps": 0.0}, {}])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_kmm_keeps_its_constraints_and_states_its_error(pair, kernel, options):
    X, Y = pair
    options = {"kernel": kernel, "gamma": 0.3, "n_components": 30, **options}
    results = [
        kmm_weights_of_chunks(
            in_parts(X, 100), Y, memory_budget=m, return_info=True, **options
        )
        for m in (0, 256)
    ]
    for weights, info in results:
        slack = options.get("eps", kmm.usual_eps(len(X))) + 1e-9
        assert weights.min() >= 0 and weights.max() <= options.get("B", 1000.0)
        assert abs(weights.mean() - 1) <= slack
        assert info.converged and info.duality_gap <= 1e-6 and info.rank == 30
        assert 0 < info.approximation_error < 0.2
    assert results[0][1].objective == pytest.approx(results[1][1].objective, rel=2e-6)


def test_kmm_weights_that_are_all_b_and_one_sample(pair):
    X, Y = pair
    weights = kmm_weights_of_chunks(X, Y, B=0.5, eps=0.5, memory_budget=0)
    assert_allclose(weights, 0.5)
    for budget in (0, 256):
        weights = kmm_weights_of_chunks(X[:1], Y, eps=0.0, memory_budget=budget)
        assert_allclose(weights, 1.0)
    with pytest.raises(ValueError, match="contradict each other"):
        kmm_weights_of_chunks(X, Y, B=0.5, eps=0.1)
    with pytest.warns(ConvergenceWarning, match="Raise max_iter"):
        kmm_weights_of_chunks(X, Y, max_iter=1, tol=1e-12, memory_budget=0)


@pytest.mark.parametrize("alpha, gamma", [(0.3, "cv"), (0.0, "median"), (0.5, 0.2)])
def test_the_ratio_has_the_width_and_ridge_of_the_samples_in_memory(pair, alpha, gamma):
    X, Y = pair
    options = {"alpha": alpha, "gamma": gamma, "n_centers": 20, "return_info": True}
    whole, chosen = rulsif_weights(X, Y, **options)
    weights, info = density_ratio_of_chunks(in_parts(X, 33), in_parts(Y, 33), **options)
    assert_allclose(weights, whole, rtol=1e-6, atol=1e-9)
    assert info.gamma == pytest.approx(chosen.gamma)
    assert info.regularization == chosen.regularization
    assert info.score == pytest.approx(chosen.score, nan_ok=True)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_domains_that_cannot_be_read_are_named(function, pair):
    X, Y = pair
    once = (part for part in in_parts(X, 100))
    used = in_parts(X, 100).__iter__()
    for source, target, error, match in [
        (once, Y, ValueError, "source is an iterator, which can be read once"),
        (X, iter([Y]), ValueError, "target is an iterator"),
        (lambda: used, Y, ValueError, "source gave 300 samples in one pass and 0"),
        ([], Y, ValueError, "source holds no sample"),
        (X, Y[:, :2], ValueError, "source has 3 features, but target has 2"),
        ([X, X[:, :2]], Y, ValueError, "A chunk of source has 2 features"),
        (3, Y, TypeError, "source must be an array or an iterable"),
        (X[0], Y, ValueError, "1 dimension"),
        ([X, np.full((2, 3), np.nan)], Y, ValueError, "NaN"),
    ]:
        with pytest.raises(error, match=match):
            function(source, target)


def test_cv_of_one_sample_is_refused(pair):
    with pytest.raises(ValueError, match="the target has 1: give numbers"):
        density_ratio_of_chunks(pair[0], pair[1][:1])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_columns_in_another_order_are_refused(function, pair):
    source, target = (pd.DataFrame(X[:, :2], columns=["a", "b"]) for X in pair)
    assert function(source, target).shape == (len(source),)
    with pytest.raises(ValueError, match="but target has"):
        function(source, target[["b", "a"]])
    with pytest.raises(ValueError, match="A chunk of source has the columns"):
        function([source, source[["b", "a"]]], target)
