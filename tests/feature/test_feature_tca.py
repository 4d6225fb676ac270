"""Transfer components as transformers, against an independent dense reference."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import eigh, subspace_angles
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled
from sktransfer.feature import SSTCA, TCA
from sktransfer.model_selection import StratifiedTargetKFold, TargetKFold


@pytest.fixture
def rows(rng):
    X = rng.normal(size=(70, 4))
    domain = np.tile([2, 1, -1, 2, 1, -1, -1], 10)
    X[domain > 0] += [2.0, 0.0, 0.0, -1.0]
    return X, domain


def _problem(K, domain, mu):
    """The matrices KHK and KLK + mu I, written out."""
    n = len(K)
    source = domain > 0
    v = np.where(source, 1 / source.sum(), -1 / (~source).sum())
    H = np.eye(n) - 1 / n
    return K @ H @ K, K @ np.outer(v, v) @ K + mu * np.eye(n)


@pytest.mark.parametrize("eigen_solver", ["dense", "lanczos"])
@pytest.mark.parametrize("mu", [0.01, 1.0, 100.0])
def test_components_span_the_subspace_of_a_dense_reference(rows, eigen_solver, mu):
    X, domain = rows
    tca = TCA(3, mu=mu, gamma=0.3, eigen_solver=eigen_solver)
    Z = tca.fit_transform(X, sample_domain=domain)
    A, M = _problem(rbf_kernel(X, gamma=0.3), domain, mu)
    values, W = eigh(A, M)
    np.testing.assert_allclose(tca.eigenvalues_, values[:-4:-1], rtol=1e-8)
    expected = rbf_kernel(X, gamma=0.3) @ W[:, :-4:-1]
    assert np.rad2deg(subspace_angles(Z, expected)).max() < 1e-4
    np.testing.assert_allclose(np.abs(Z), np.abs(expected), rtol=1e-5, atol=1e-7)


def test_components_solve_the_stated_problem(rows):
    X, domain = rows
    tca = TCA(3, mu=0.5, gamma=0.3).fit(X, sample_domain=domain)
    A, M = _problem(rbf_kernel(X, gamma=0.3), domain, 0.5)
    W, values = tca.components_, tca.eigenvalues_
    # (KLK + mu I)^-1 KHK W = W diag(values)
    residual = np.linalg.solve(M, A) @ W - W * values
    assert np.linalg.norm(residual) < 1e-8 * values[0] * np.linalg.norm(W)
    np.testing.assert_allclose(W.T @ M @ W, np.eye(3), atol=1e-8)
    assert tca.residual_ < 1e-8


def test_a_linear_kernel_equals_the_kernel_form(rows):
    X, domain = rows
    primal = TCA(3, kernel="linear").fit(X, sample_domain=domain)
    dual = TCA(3, kernel="linear", eigen_solver="dense").fit(X, sample_domain=domain)
    assert primal.X_fit_ is None
    assert primal.components_.shape == (4, 3)
    np.testing.assert_allclose(primal.transform(X), dual.transform(X), atol=1e-7)


def test_large_mu_gives_the_eigenvectors_of_khk(rows):
    X, domain = rows
    Z = TCA(3, mu=1e9, gamma=0.3).fit_transform(X, sample_domain=domain)
    _, W = eigh(_problem(rbf_kernel(X, gamma=0.3), domain, 1.0)[0])
    expected = rbf_kernel(X, gamma=0.3) @ W[:, :-4:-1]
    assert subspace_angles(Z, expected).max() < 1e-6


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_small_mu_brings_the_means_of_the_domains_together(rows, kernel):
    X, domain = rows
    gaps = []
    for mu in (1e-3, 1e3):
        Z = TCA(1, mu=mu, kernel=kernel).fit_transform(X, sample_domain=domain)
        gap = Z[domain > 0].mean(axis=0) - Z[domain < 0].mean(axis=0)
        gaps.append(np.abs(gap / Z.std()).max())
    assert gaps[0] < 0.1 * gaps[1]


def test_new_rows_are_embedded_as_training_rows_are(rows):
    X, domain = rows
    tca = TCA(3)
    np.testing.assert_allclose(
        tca.fit_transform(X, sample_domain=domain)[5:9], tca.transform(X[5:9])
    )


def test_nystroem_with_every_row_as_landmark_is_exact(rows):
    X, domain = rows
    exact = TCA(2, gamma=0.3).fit_transform(X, sample_domain=domain)
    nystroem = TCA(2, gamma=0.3, eigen_solver="nystroem", n_landmarks=70)
    Z = nystroem.fit_transform(X, sample_domain=domain)
    assert subspace_angles(exact, Z).max() < 1e-4


def test_nystroem_states_a_subspace_error_that_holds(rows):
    X, domain = rows
    exact = TCA(2, gamma=0.1).fit_transform(X, sample_domain=domain)
    nystroem = TCA(2, gamma=0.1, eigen_solver="nystroem", n_landmarks=25)
    Z = nystroem.fit_transform(X, sample_domain=domain)
    angle = np.sin(subspace_angles(exact, Z).max())
    assert angle <= nystroem.subspace_error_ + 1e-9


def test_sstca_without_labels_and_graph_is_tca(rows):
    X, domain = rows
    y = np.arange(70) % 2
    sstca = SSTCA(3, label_dependence=0.0, laplacian_weight=0.0)
    Z = sstca.fit_transform(X, y, sample_domain=domain)
    np.testing.assert_allclose(
        Z, TCA(3).fit_transform(X, sample_domain=domain), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_sstca_solves_the_stated_problem(rows, rng, task):
    X, domain = rows
    y = np.arange(70) % 3 if task == "classification" else rng.normal(size=70)
    y = y.astype(float)
    y[domain < 0] = np.nan
    y[-1] = 0.0
    sstca = SSTCA(2, mu=0.5, label_dependence=0.7, laplacian_weight=3.0, gamma=0.3,
                  n_neighbors=4, heat_width=1.3, task=task)  # fmt: skip
    sstca.fit(X, y, sample_domain=domain)
    K = rbf_kernel(X, gamma=0.3)
    _, M = _problem(K, domain, 0.5)
    distance = np.linalg.norm(X[:, None] - X[None], axis=-1)
    near = np.argsort(distance, axis=1)[:, 1:5]
    graph = np.zeros((70, 70), dtype=bool)
    graph[np.arange(70)[:, None], near] = True
    graph |= graph.T
    weight = np.where(graph, np.exp(-(distance**2) / (2 * 1.3**2)), 0.0)
    laplacian = np.diag(weight.sum(1)) - weight
    M = M + 3.0 / 70**2 * K @ laplacian @ K
    labeled = ~np.isnan(y)
    if task == "classification":
        Kyy = (y[:, None] == y[None]) & labeled[:, None] & labeled[None]
    else:
        z = np.where(labeled, (y - np.nanmean(y)) / np.nanstd(y), 0.0)
        Kyy = np.outer(z, z)
    H = np.eye(70) - 1 / 70
    A = K @ H @ (0.7 * Kyy + 0.3 * np.eye(70)) @ H @ K
    values, W = eigh(A, M)
    np.testing.assert_allclose(sstca.eigenvalues_, values[:-3:-1], rtol=1e-7)
    np.testing.assert_allclose(
        np.abs(sstca.transform(X)), np.abs(K @ W[:, :-3:-1]), rtol=1e-5, atol=1e-7
    )


def test_more_components_than_rows_are_refused():
    with pytest.raises(ValueError, match="n_components=10 exceeds"):
        TCA().fit(np.eye(4), sample_domain=[1, 1, -1, -1])


@pytest.mark.parametrize("regression", [False, True])
def test_grid_search_over_mu_in_a_pipeline(regression, rows, rng, routing):
    X, domain = rows
    signal = X @ [0.2, 1.0, -1.0, 0.2]
    target = np.flatnonzero(domain < 0)
    if regression:
        y, learner, cv, scoring = signal, Ridge(), TargetKFold(3), "r2"
        y[target[15:]] = np.nan
    else:
        y, learner = (signal > 0).astype(int), LogisticRegression()
        y[target[15:]], cv, scoring = -1, StratifiedTargetKFold(3), "accuracy"
    pipeline = make_pipeline(StandardScaler(), TCA(8), Pooled(learner))
    search = GridSearchCV(
        pipeline, {"tca__mu": [0.1, 1, 10]}, cv=cv, scoring=scoring, n_jobs=2
    )
    search.fit(X, y, sample_domain=domain)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > (0.0 if regression else 0.5)


def test_feature_names(rows):
    X, domain = rows
    names = TCA(2).fit(X, sample_domain=domain).get_feature_names_out()
    assert names.tolist() == ["tca0", "tca1"]


def price_rows(offset, scale, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 5))
    domain = np.repeat([1, -1], 100)
    X[domain > 0, 1] += 0.5
    X[:, 0] = offset + scale * X[:, 0]
    return X, domain


@pytest.mark.parametrize("eigen_solver", ["auto", "nystroem"])
@pytest.mark.parametrize(("offset", "scale"), [(2020, 5), (5e5, 1e5), (1e8, 1)])
def test_kind_30_linear_components_of_a_price(eigen_solver, offset, scale):
    """Against the eigenvalues in 60 digits."""
    import mpmath as mp

    mp.mp.dps = 60
    X, domain = price_rows(offset, scale)
    X, domain = X[80:120, :3], domain[80:120]
    M, n = mp.matrix(X.tolist()), len(X)
    v = mp.matrix(np.where(domain > 0, 1 / 20, -1 / 20).tolist())
    H = mp.eye(n) - mp.ones(n) / n
    values, Q = mp.eigsy(M.T * M)
    root = Q * mp.diag([mp.sqrt(value) for value in values]) * Q.T
    A = root * (M.T * H * M) * root
    u = root * (M.T * v)
    inverse = mp.cholesky(u * u.T + mp.eye(3)) ** -1
    exact = sorted(mp.eigsy(inverse * A * inverse.T, eigvals_only=True), reverse=True)
    tca = TCA(3, kernel="linear", eigen_solver=eigen_solver)
    tca.fit(X, sample_domain=domain)
    assert_allclose(tca.eigenvalues_, [float(e) for e in exact], rtol=1e-4)


@pytest.mark.parametrize("eigen_solver", ["dense", "lanczos"])
def test_kind_30_lost_digits_of_a_price_are_said(eigen_solver):
    X, domain = price_rows(5e5, 1e5)
    with pytest.warns(ConvergenceWarning, match="center and scale X"):
        TCA(3, kernel="linear", eigen_solver=eigen_solver).fit(X, sample_domain=domain)


def test_kind_30_landmarks_that_miss_the_objective_are_said():
    # two landmarks cannot span 20 directions that count alike
    X = np.random.default_rng(1).normal(size=(80, 20))
    tca = TCA(2, kernel="linear", eigen_solver="nystroem", n_landmarks=2)
    with pytest.warns(ConvergenceWarning, match=r"miss an estimated \d+%"):
        tca.fit(X, sample_domain=np.repeat([1, -1], 40))
    assert tca.objective_error_ > 0.2


def test_kind_30_a_kernel_far_larger_than_mu_is_one_clear_error():
    X = 1e5 * np.random.default_rng(0).normal(size=(80, 20))
    tca = TCA(2, kernel="linear", eigen_solver="nystroem", n_landmarks=3)
    with (
        warnings.catch_warnings(),
        pytest.raises(ValueError, match=r"mu=.*Scale the features"),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        tca.fit(X, sample_domain=np.repeat([1, -1], 40))


@pytest.mark.parametrize("eigen_solver", ["dense", "lanczos", "nystroem"])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_kind_30_kernels_of_distances_do_not_depend_on_the_origin(kernel, eigen_solver):
    X, domain = price_rows(0, 1)
    X = np.round(X * 2**20) / 2**20  # exact after the offset
    plain, moved = (
        TCA(2, kernel=kernel, eigen_solver=eigen_solver, n_landmarks=150)
        .fit(rows, sample_domain=domain)
        .transform(rows)
        for rows in (X, X + [1e8, 0, 0, 0, 0])
    )
    assert_allclose(moved, plain, atol=1e-4 * np.abs(plain).max())
