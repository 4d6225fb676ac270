"""Torch arrays stay torch arrays under scikit-learn's array API dispatch.

SciPy reads its own switch when it is imported, so each test runs a process of its own.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from sktransfer._solvers import array_api
from sktransfer._solvers.kernels import kernel_diagonal, kernel_matrix, kernel_product
from sktransfer.feature import CORAL, TCA
from sktransfer.instance import KMM, kmm_weights
from sktransfer.metrics import coral_distance, mmd, mmd_test, sinkhorn_divergence

KERNELS = ["rbf", "laplacian", "linear", "poly", "cosine"]
WIDTHS = [
    ("rbf", "median"),
    ("rbf", "scale"),
    ("laplacian", "median"),
    ("rbf", 0.2),
    *((k, 0.1) for k in KERNELS),
]
CASES = [
    *({"kernel": k, "gamma": g, "estimator": "biased"} for k, g in WIDTHS),
    *({"kernel": k, "gamma": 0.1, "estimator": "unbiased"} for k in KERNELS),
    {"kernel": "rbf", "gamma": 0.1, "estimator": "block", "block_size": 7},
    {"kernel": "cosine", "gamma": 0.1, "estimator": "block", "block_size": 40},
    {"kernel": "laplacian", "gamma": 0.1, "estimator": "random_features"},
]


ESTIMATORS = ["biased", "unbiased", "random_features"]


def permuted(X, Y, estimator):
    """Return the whole result of a test of domains that differ little."""
    Y = Y - 0.8
    result = mmd_test(X, Y, estimator=estimator, n_permutations=30, random_state=0)
    assert type(result.null_statistics) is type(X)
    return [result.statistic, result.p_value, *result.null_statistics.tolist()]


def samples(n=61, offset=0.0):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n, 3)) + offset, rng.normal(size=(n - 10, 3)) + offset
    Y[:, 0] += 1.0
    return X, Y


def no_way_to_numpy(*args, **kwargs):
    raise AssertionError("a torch array was copied to NumPy")


def on_torch(name):
    """Run a function of this file in a process where dispatch is possible."""
    code = f"import test_deep_array_api as t; t.{name}()"
    path = [os.path.dirname(__file__), *sys.path]
    env = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def solved(X, Y):
    """Return what the solvers find of two domains."""
    domain, rows = np.repeat([1, -1], [len(X), len(Y)]), (X, Y)
    Z = torch.concat(rows) if isinstance(X, torch.Tensor) else np.concatenate(rows)
    tca = TCA(3, eigen_solver="lanczos").fit(Z, sample_domain=domain)
    embedded = tca.transform(Y)
    weights = kmm_weights(X, Y, solver="low_rank")
    assert type(embedded) is type(weights) is type(tca.components_) is type(X)
    costs = [sinkhorn_divergence(X, Y, reg=reg) for reg in (0.05, 0.01)]
    # each component up to its sign, in units of the largest entry
    shown = embedded / abs(embedded).max()
    return [costs, shown.tolist(), weights.tolist()]


def _all_solved():
    import sklearn

    found, copied = {}, []

    def to_numpy(X, xp):
        copied.append(X.shape)
        return original(X, xp)

    original = array_api._convert_to_numpy
    domain = np.repeat([1, -1], [61, 51])
    with sklearn.config_context(array_api_dispatch=True):
        for kind in ("float64", "float32"):
            pair = [torch.asarray(A, dtype=getattr(torch, kind)) for A in samples()]
            found[kind] = solved(*pair)
        with pytest.MonkeyPatch.context() as m:
            m.setattr(array_api, "_convert_to_numpy", to_numpy)
            TCA(3, eigen_solver="lanczos").fit(torch.concat(pair), sample_domain=domain)
        found["largest"] = max(torch.Size(size).numel() for size in copied)
        X, Y = (torch.asarray(A) for A in samples())
        domain, errors = np.repeat([1, -1], [30, 31]), []
        for refused in (
            lambda: TCA(eigen_solver="nystroem").fit(X, sample_domain=domain),
            lambda: TCA(30).fit(X, sample_domain=domain),
            lambda: kmm_weights(X, Y, solver="dense"),
            lambda: CORAL().fit(X, sample_domain=domain),
            lambda: KMM(Ridge()).fit(X, X[:, 0], sample_domain=domain),
            lambda: coral_distance(X, Y),
        ):
            try:
                refused()
            except (TypeError, ValueError) as error:
                errors.append(str(error))
        found["errors"] = errors
        assert CORAL().fit(X.tolist(), sample_domain=domain).n_features_in_ == 3
    return found


@pytest.fixture(scope="module")
def solutions(found):
    return found["solved"]


@pytest.mark.parametrize("kind, tol", [("float64", 1e-6), ("float32", 1e-3)])
def test_sinkhorn_tca_and_kmm_of_torch_are_those_of_numpy(solutions, kind, tol):
    for value, expected in zip(solutions[kind], solved(*samples()), strict=True):
        np.testing.assert_allclose(value, expected, rtol=tol, atol=tol)


def test_kernel_matrices_stay_where_they_are(solutions):
    assert solutions["largest"] == 112 * 3  # the embedding


def test_solvers_that_need_numpy_say_so(solutions):
    nystroem, many, dense, *others = solutions["errors"]
    assert "eigen_solver='nystroem' takes NumPy's arrays" in nystroem
    assert "more than a third" in many
    assert "solver='dense'" in dense
    for other, taker in zip(others, ["CORAL", "KMM", "this measure"], strict=True):
        assert f"{taker} takes NumPy's arrays" in other


def _print_values():
    import sklearn

    found = {}
    copies = [(torch.Tensor, "__array__"), (torch.Tensor, "numpy")]
    with (
        sklearn.config_context(array_api_dispatch=True),
        pytest.MonkeyPatch.context() as m,
    ):
        arrays = {
            f"{n} {offset:g} {kind}": [
                torch.asarray(X, dtype=getattr(torch, kind)) for X in samples(n, offset)
            ]
            for n, offset in [(61, 0.0), (61, 1e3), (1100, 0.0)]
            for kind in ("float64", "float32")
        }
        plain = samples()
        found["numpy"] = [mmd(*plain, random_state=0, **case) for case in CASES]
        for owner, name in copies:
            m.setattr(owner, name, no_way_to_numpy)
        for name, pair in arrays.items():
            cases = CASES if name.startswith("61 0") else CASES[:2]
            found[name] = [mmd(*pair, random_state=0, **case) for case in cases]
            if name.startswith("61 0"):
                found[f"test {name}"] = [permuted(*pair, e) for e in ESTIMATORS]
        X, Y = arrays["61 0 float64"]
        for kernel in [*KERNELS, "sigmoid"]:
            options = {"kernel": kernel, "gamma": 0.1}
            K = kernel_matrix(X, Y, **options)
            assert isinstance(K, torch.Tensor)
            diagonal = kernel_diagonal(X, **options)
            product = kernel_product(X, Y, Y, working_memory=0.01, **options)
            found[kernel] = [A.tolist() for A in (K, diagonal, product)]
        found["integers"] = mmd(torch.arange(12).reshape(4, 3), torch.ones((4, 3)))
        errors = []
        for pair, options in [
            ((X, plain[1]), {}),
            ((X, Y), {"kernel": lambda a, b: 1.0}),
            ((X, Y[:, :2]), {}),
            ((X * np.nan, Y), {}),
        ]:
            try:
                mmd(*pair, **options)
            except (TypeError, ValueError) as error:
                errors.append(str(error))
        found["errors"] = errors
    found["solved"] = _all_solved()
    sys.stdout.write(json.dumps(found))


@pytest.fixture(scope="module")
def found():
    return on_torch("_print_values")


@pytest.mark.parametrize("kind, rtol", [("float64", 1e-6), ("float32", 1e-3)])
def test_discrepancies_are_those_of_numpy(found, kind, rtol):
    for n, offset, cases in [(61, 0.0, CASES), (61, 1e3, CASES[:2])]:
        X, Y = samples(n, offset)
        if kind == "float32":  # the values themselves are rounded there
            X, Y = X.astype(np.float32), Y.astype(np.float32)
        expected = [mmd(X, Y, random_state=0, **case) for case in cases]
        values = found[f"{n} {offset:g} {kind}"]
        np.testing.assert_allclose(values, expected, rtol=rtol, atol=rtol / 100)


@pytest.mark.parametrize("kind, rtol", [("float64", 1e-6), ("float32", 1e-3)])
def test_the_median_of_a_sample_of_many_rows_is_that_of_numpy(found, kind, rtol):
    expected = [mmd(*samples(1100), random_state=0, **case) for case in CASES[:2]]
    np.testing.assert_allclose(found[f"1100 0 {kind}"], expected, rtol=rtol)


def test_numpy_arrays_under_dispatch_give_what_they_give_without(found):
    expected = [mmd(*samples(), random_state=0, **case) for case in CASES]
    np.testing.assert_allclose(found["numpy"], expected, rtol=1e-12)
    whole = np.arange(12.0).reshape(4, 3)
    assert found["integers"] == pytest.approx(mmd(whole, np.ones((4, 3))), rel=1e-6)


@pytest.mark.parametrize("kind, rtol", [("float64", 1e-6), ("float32", 1e-3)])
def test_the_permutation_test_is_that_of_numpy(found, kind, rtol):
    expected = [permuted(*samples(), estimator) for estimator in ESTIMATORS]
    values = found[f"test 61 0 {kind}"]
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=rtol / 1000)


@pytest.mark.parametrize("kernel", [*KERNELS, "sigmoid"])
def test_kernels_are_those_of_numpy(found, kernel):
    X, Y = samples()
    options = {"kernel": kernel, "gamma": 0.1}
    K = kernel_matrix(X, Y, **options)
    for values, expected in zip(
        found[kernel], (K, kernel_diagonal(X, **options), K @ Y), strict=True
    ):
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9)


def test_what_cannot_be_dispatched_is_one_clear_error(found):
    mixed, kernel, features, missing = found["errors"]
    assert "of one library and on one device; got torch.Tensor, numpy" in mixed
    assert "kernel must be one of" in kernel
    assert "X_source has 3 features" in features
    assert "NaN" in missing


def test_without_dispatch_torch_arrays_are_read_as_numpy():
    X, Y = samples()
    assert mmd(torch.asarray(X), torch.asarray(Y)) == pytest.approx(mmd(X, Y))
