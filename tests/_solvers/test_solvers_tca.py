"""Transfer components: the stated eigenproblem against dense references."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, sparse
from scipy.sparse.linalg import ArpackNoConvergence
from sklearn.exceptions import ConvergenceWarning

from sktransfer._solvers import tca
from sktransfer._solvers.kernels import kernel_matrix, median_gamma
from sktransfer._solvers.low_rank import fit_landmarks
from sktransfer._solvers.sstca import (
    class_label_factor,
    knn_laplacian,
    numeric_label_factor,
    sstca_components,
)
from sktransfer._solvers.tca import domain_vector, embedding_signs, tca_components
from sktransfer.feature import TCA


def two_domains(n=70, m=50, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = np.vstack([rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.7])
    X *= np.linspace(1.0, 2.0, d)
    order = rng.permutation(n + m)
    return X[order], (np.arange(n + m) < n)[order]


def pan(K, mask, mu, q):
    n = len(K)
    H = np.eye(n) - 1 / n
    v = domain_vector(mask)
    A, M = K @ H @ K, K @ np.outer(v, v) @ K + mu * np.eye(n)
    values, W = linalg.eigh(A, M)
    return A, M, values[::-1][:q], W[:, ::-1][:, :q]


def embed(X, components, info, **kernel):
    if info.form == "primal":
        return X @ components
    basis = X if info.form == "dual" else X[info.landmarks]
    return kernel_matrix(X, basis, **kernel) @ components


@pytest.mark.parametrize("mu", [1e-2, 1.0, 100.0])
@pytest.mark.parametrize("eigen_solver", ["dense", "lanczos"])
@pytest.mark.parametrize("kernel", ["rbf", "linear", "laplacian"])
def test_solves_the_stated_problem(mu, eigen_solver, kernel):
    X, mask = two_domains()
    K = kernel_matrix(X, kernel=kernel, gamma=0.1)
    A, M, values, W_ref = pan(K, mask, mu, 3)
    W, found, info = tca_components(
        X,
        mask,
        n_components=3,
        mu=mu,
        kernel=kernel,
        gamma=0.1,
        eigen_solver=eigen_solver,
    )
    residual = np.linalg.norm(A @ W - M @ W * found, axis=0)
    assert np.all(residual < 1e-8 * found[0] * np.linalg.norm(M @ W, axis=0))
    assert info.converged and info.eigen_residual < 1e-8
    assert_allclose(found, values, rtol=1e-8)
    assert_allclose(W.T @ M @ W, np.eye(3), atol=1e-8)
    reference = K @ W_ref
    reference *= embedding_signs(reference)
    assert_allclose(K @ W, reference, atol=1e-6 * np.abs(reference).max())


def test_primal_form_equals_the_kernel_form():
    X, mask = two_domains()
    W, values, dual = tca_components(
        X, mask, n_components=3, kernel="linear", eigen_solver="dense"
    )
    P, other, primal = tca_components(X, mask, n_components=3, kernel="linear")
    assert (dual.form, primal.form, P.shape) == ("dual", "primal", (4, 3))
    assert_allclose(other, values, rtol=1e-9)
    assert_allclose(X @ P, X @ X.T @ W, atol=1e-8)
    Q, _, _ = tca_components(
        sparse.csr_matrix(X), mask, n_components=3, kernel="linear"
    )
    assert_allclose(Q, P, atol=1e-8)
    assert primal.eigen_residual < 1e-8


def test_components_beyond_the_rank_are_zero():
    X, mask = two_domains(d=2)
    for eigen_solver in ("auto", "dense", "lanczos"):
        W, values, info = tca_components(
            X, mask, n_components=5, kernel="linear", eigen_solver=eigen_solver
        )
        Z = embed(X, W, info, kernel="linear")
        assert np.all(values[:2] > 0)
        assert_allclose(values[2:], 0.0, atol=1e-9 * values[0])
        assert_allclose(Z[:, 2:], 0.0, atol=1e-5 * np.abs(Z).max())


def test_large_mu_gives_kernel_pca_and_small_mu_removes_the_mean_shift():
    X, mask = two_domains()
    K = kernel_matrix(X, gamma=0.1)
    H = np.eye(len(K)) - 1 / len(K)
    _, V = np.linalg.eigh(K @ H @ K)
    W, _, _ = tca_components(X, mask, n_components=2, mu=1e9, gamma=0.1)
    assert linalg.subspace_angles(W, V[:, -2:]).max() < 1e-5

    def distance(mu):
        W, _, _ = tca_components(X, mask, n_components=2, mu=mu, gamma=0.1)
        Z = K @ W
        return np.linalg.norm(Z[mask].mean(0) - Z[~mask].mean(0)) / Z.std()

    assert distance(1e-3) < 0.05 * distance(1e6)


def test_one_domain_is_kernel_pca():
    X, _ = two_domains()
    _, values, info = tca_components(
        X, np.zeros(len(X), dtype=bool), n_components=2, mu=0.5, gamma=0.1
    )
    K = kernel_matrix(X, gamma=0.1)
    H = np.eye(len(K)) - 1 / len(K)
    assert_allclose(values, np.linalg.eigvalsh(K @ H @ K)[::-1][:2] / 0.5, rtol=1e-9)
    assert info.converged


@pytest.mark.parametrize("eigen_solver", ["dense", "lanczos"])
def test_row_order_moves_the_rows_and_nothing_else(eigen_solver):
    X, mask = two_domains()
    order = np.random.default_rng(5).permutation(len(X))
    options = {"n_components": 3, "gamma": 0.1, "eigen_solver": eigen_solver}
    W, _, _ = tca_components(X, mask, **options)
    shuffled, _, _ = tca_components(X[order], mask[order], **options)
    assert_allclose(shuffled, W[order], atol=1e-7)


def test_nystroem_with_every_row_is_exact_and_states_its_error():
    X, mask = two_domains()
    gamma = median_gamma(X)
    options = {"n_components": 2, "gamma": gamma}
    W, values, info = tca_components(X, mask, **options)
    Z = embed(X, W, info, gamma=gamma)
    errors = []
    for rank in (10, 30, 120):
        W, other, info = tca_components(
            X, mask, eigen_solver="nystroem", n_landmarks=rank, **options
        )
        approximate = embed(X, W, info, gamma=gamma)
        angle = np.sin(linalg.subspace_angles(Z, approximate).max())
        assert info.form == "landmarks" and info.eigen_residual < 1e-8
        assert 0 <= info.trace_residual <= 1
        errors.append(info.exact_residual)
        if rank == 120:
            assert_allclose(approximate, Z, atol=1e-5 * np.abs(Z).max())
            assert_allclose(other, values, rtol=1e-5)
            assert info.subspace_error < 1e-4
    assert errors[0] > errors[1] > errors[2]
    assert angle < 1e-5


def test_subspace_error_covers_the_true_angle():
    X, mask = two_domains(d=2)
    K = kernel_matrix(X, gamma=0.02)
    _, M, _, W_ref = pan(K, mask, 1.0, 2)
    root = linalg.sqrtm(M).real
    for rank in (4, 6, 10):
        W, _, info = tca_components(
            X,
            mask,
            n_components=2,
            gamma=0.02,
            eigen_solver="nystroem",
            n_landmarks=rank,
        )
        # the dual vectors over all rows that the landmark components stand for
        landmarks = fit_landmarks(X, rank, random_state=0, gamma=0.02)
        G = landmarks.transform(X)
        dual = G.T @ np.linalg.solve(G @ G.T, landmarks.factor.T @ W)
        angle = linalg.subspace_angles(root @ dual, root @ W_ref).max()
        assert info.subspace_error >= 0
        assert np.sin(angle) <= info.subspace_error + 1e-6


@pytest.mark.parametrize("d, rank", [(3, 20), (20, 60), (20, 300)])
def test_objective_error_is_the_share_of_the_optimum_that_is_missed(d, rank):
    X, mask = two_domains(n=400, m=300, d=d)
    gamma = median_gamma(X)
    options = {"n_components": 4, "gamma": gamma}
    _, values, exact = tca_components(X, mask, tol=1e-10, **options)
    W, _, info = tca_components(
        X, mask, eigen_solver="nystroem", n_landmarks=rank, **options
    )
    landmarks = fit_landmarks(X, rank, random_state=0, gamma=gamma)
    G = landmarks.transform(X)
    dual = G.T @ np.linalg.solve(G @ G.T, landmarks.factor.T @ W)
    A, M, _, _ = pan(kernel_matrix(X, gamma=gamma), mask, 1.0, 4)
    captured = linalg.eigvalsh(dual.T @ A @ dual, dual.T @ M @ dual).sum()
    missed = 1 - captured / values.sum()
    assert exact.objective_error == exact.subspace_error == 0
    # the best sum found is below the optimum, and close to it
    assert 0 <= info.objective_error <= missed + 1e-9
    assert_allclose(info.objective_error, missed, rtol=0.2, atol=1e-6)


def test_the_error_of_the_check_is_left_out_on_request():
    X, mask = two_domains()
    _, _, info = tca_components(
        X, mask, n_components=2, gamma=0.1, eigen_solver="nystroem", verify=False
    )
    assert np.isnan(info.objective_error) and np.isnan(info.subspace_error)


def test_equal_rows_and_one_row_have_no_components():
    for X in (np.ones((1, 2)), np.ones((9, 2))):
        for eigen_solver in ("dense", "nystroem"):
            W, values, info = tca_components(
                X,
                np.zeros(len(X), dtype=bool),
                n_components=1,
                gamma=0.1,
                eigen_solver=eigen_solver,
            )
            assert_allclose(values, 0.0, atol=1e-12)
            assert np.all(np.isfinite(W)) and info.objective_error == 0


def test_components_that_lanczos_did_not_find_are_announced(monkeypatch):
    X, mask = two_domains(n=300, m=200)
    found = tca.eigsh

    def stops_early(operator, **options):
        values, vectors = found(operator, **options)
        raise ArpackNoConvergence("stopped", values[-2:], vectors[:, -2:])

    monkeypatch.setattr(tca, "eigsh", stops_early)
    W, values, info = tca_components(
        X, mask, n_components=4, gamma=0.1, eigen_solver="lanczos"
    )
    assert np.all(values[:2] > 0) and np.all(values[2:] == 0)
    assert np.all(W[:, 2:] == 0) and np.all(np.any(W[:, :2] != 0, axis=0))
    assert not info.converged and info.eigen_residual >= 1
    with pytest.warns(ConvergenceWarning, match="relative residual of 1"):
        TCA(4, gamma=0.1, eigen_solver="lanczos").fit(
            X, sample_domain=np.where(mask, 1, -1)
        )


def test_float32_stays_float32():
    X, mask = two_domains(n=300, m=200)
    high, _, _ = tca_components(X, mask, n_components=2, gamma=0.1)
    for eigen_solver in ("auto", "nystroem"):
        low, values, info = tca_components(
            X.astype(np.float32),
            mask,
            n_components=2,
            gamma=0.1,
            eigen_solver=eigen_solver,
        )
        assert low.dtype == values.dtype == np.float32
        assert info.eigen_residual < 1e-4
    assert_allclose(
        tca_components(X.astype(np.float32), mask, n_components=2, gamma=0.1)[0],
        high,
        atol=1e-3 * np.abs(high).max(),
    )


def test_precomputed_kernel_and_unknown_solver():
    X, mask = two_domains()
    K = kernel_matrix(X, gamma=0.1)
    a, _, _ = tca_components(K, mask, n_components=2, kernel="precomputed")
    b, _, _ = tca_components(X, mask, n_components=2, gamma=0.1)
    assert_allclose(a, b)
    with pytest.raises(ValueError, match="eigen_solver must be"):
        tca_components(X, mask, n_components=2, eigen_solver="magic")
    with pytest.raises(ValueError, match="eigen_solver must be"):
        sstca_components(X, mask, K[:, :1], None, n_components=1, eigen_solver="magic")


@pytest.mark.parametrize("eigen_solver", ["dense", "lanczos", "nystroem"])
def test_sstca_solves_the_stated_problem(eigen_solver):
    X, mask = two_domains()
    n = len(X)
    K = kernel_matrix(X, gamma=0.1)
    F = class_label_factor((X[:, 0] > 0).astype(int), mask)
    graph = knn_laplacian(X, 5)
    H = np.eye(n) - 1 / n
    v = domain_vector(mask)
    A = K @ H @ (0.3 * F @ F.T + 0.7 * np.eye(n)) @ H @ K
    M = K @ (np.outer(v, v) + 50.0 / n**2 * graph.toarray()) @ K + 0.2 * np.eye(n)
    W, values, info = sstca_components(
        X,
        mask,
        F,
        graph,
        n_components=3,
        gamma_dep=0.3,
        lambda_laplacian=50.0,
        mu=0.2,
        gamma=0.1,
        eigen_solver=eigen_solver,
        n_landmarks=n,
    )
    assert info.eigen_residual < 1e-8
    reference = linalg.eigh(A, M)
    rtol = 1e-5 if eigen_solver == "nystroem" else 1e-9
    assert_allclose(values, reference[0][::-1][:3], rtol=rtol)
    Z = embed(X, W, info, gamma=0.1)
    Z_ref = K @ reference[1][:, ::-1][:, :3]
    Z_ref *= embedding_signs(Z_ref)
    assert_allclose(Z, Z_ref, atol=1e-4 * np.abs(Z_ref).max())


def test_sstca_without_labels_and_graph_is_tca():
    X, mask = two_domains()
    F = np.zeros((len(X), 1))
    a, _, _ = sstca_components(
        X, mask, F, None, n_components=2, gamma=0.1, gamma_dep=0.0
    )
    b, _, _ = tca_components(X, mask, n_components=2, gamma=0.1)
    assert_allclose(a, b, atol=1e-9)


def test_label_factors_and_laplacian():
    codes, labeled = np.array([0, 1, 1, 0]), np.array([True, True, True, False])
    F = class_label_factor(codes, labeled)
    assert_allclose(F @ F.T, [[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0] * 4])
    y = np.array([1.0, 3.0, np.nan, 5.0])
    G = numeric_label_factor(y, ~np.isnan(y))
    assert_allclose(G.ravel()[[0, 1, 3]], np.array([-2, 0, 2]) / np.sqrt(8 / 3))
    assert G[2, 0] == 0
    L = knn_laplacian(np.random.default_rng(0).normal(size=(30, 2)), 4).toarray()
    assert_allclose(L, L.T)
    assert_allclose(L.sum(axis=1), 0.0, atol=1e-12)
    assert np.linalg.eigvalsh(L)[0] > -1e-12
    assert knn_laplacian(np.zeros((1, 2))).shape == (1, 1)
