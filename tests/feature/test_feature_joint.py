"""JDA, its balanced form and TJM, against dense references and limits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import eigh, subspace_angles
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier

from sktransfer._solvers.joint_components import (
    joint_components,
    joint_vectors,
    matching_components,
)
from sktransfer.feature import JDA, TCA, TJM


@pytest.fixture
def rows(rng):
    """Classes that moved apart from each other between the domains."""
    label = np.arange(90) % 3
    X = rng.normal(size=(90, 5)) * 0.5 + 3 * np.eye(3, 5)[label]
    domain = np.repeat([1, 2, -1], 30)
    X[domain < 0] += [1.0, -1.0, 0.5, 2.0, 0.0]
    order = rng.permutation(90)
    return X[order], label[order], domain[order]


def _hidden(y, domain):
    return np.where(domain > 0, y, np.nan)


def _mmd_matrix(source, target):
    e = np.where(source, 1 / max(source.sum(), 1), 0.0)
    e = e - np.where(target, 1 / max(target.sum(), 1), 0.0)
    return np.outer(e, e)


def _joint_matrix(label, domain, balance):
    source, target = domain > 0, domain < 0
    M = (1 - balance) * _mmd_matrix(source, target)
    for c in range(3):
        M += balance * _mmd_matrix(source & (label == c), target & (label == c))
    return M / np.linalg.norm(M)


@pytest.mark.parametrize("balance", [0.0, 0.3, 0.5, 1.0])
def test_vectors_are_the_matrix_of_the_definition(rows, balance):
    _, label, domain = rows
    V = joint_vectors(domain > 0, label, balance)
    assert_allclose(V @ V.T, _joint_matrix(label, domain, balance), atol=1e-12)


def test_a_class_that_a_domain_lacks_is_not_compared(rows):
    _, label, domain = rows
    only = np.where(domain < 0, 0, label)
    V = joint_vectors(domain > 0, only, 1.0)
    M = _mmd_matrix((domain > 0) & (only == 0), domain < 0)
    assert_allclose(V @ V.T, M / np.linalg.norm(M), atol=1e-12)


def test_components_solve_the_stated_problem(rows):
    X, label, domain = rows
    V = joint_vectors(domain > 0, label, 0.5)
    P, values, residual = joint_components(X, V, 3, 0.1)
    n = len(X)
    H = np.eye(n) - 1 / n
    A, B = X.T @ H @ X, X.T @ (V @ V.T) @ X + 0.1 * np.eye(5)
    expected, W = eigh(A, B)
    assert_allclose(values, expected[:-4:-1], rtol=1e-8)
    assert np.rad2deg(subspace_angles(P, W[:, :-4:-1])).max() < 1e-4
    assert residual < 1e-10


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_penalty_of_coefficients_is_the_problem_of_the_kernel_matrix(rows, kernel):
    X, label, domain = rows
    options = {"mu": 0.1, "kernel": kernel, "gamma": 0.2}
    jda = JDA(3, regularizer="coefficients", max_iter=1, **options)
    Z = jda.fit(X, _hidden(label, domain), sample_domain=domain).transform(X)
    K = X @ X.T if kernel == "linear" else rbf_kernel(X, gamma=0.2)
    M = _mmd_matrix(domain > 0, domain < 0)
    centered = K - K.mean(axis=0)
    metric = K @ (M / np.linalg.norm(M)) @ K + 0.1 * np.eye(90)
    values, A = eigh(centered.T @ centered, metric)
    assert_allclose(jda.eigenvalues_, values[:-4:-1], rtol=1e-6)
    assert_allclose(abs(Z), abs(K @ A[:, :-4:-1]), rtol=1e-4, atol=1e-6)


def test_jda_is_a_fixed_point_of_its_pseudo_labels(rows):
    X, label, domain = rows
    jda = JDA(3, mu=0.1).fit(X, _hidden(label, domain), sample_domain=domain)
    assert 1 < jda.n_iter_ < 10
    Z = jda.transform(X)
    source = domain > 0
    nearest = KNeighborsClassifier(1).fit(Z[source], label[source])
    assert_array_equal(nearest.predict(Z[~source]), jda.pseudo_labels_)
    codes = label.copy()
    codes[~source] = jda.pseudo_labels_
    V = joint_vectors(source, codes, 0.5)
    P = joint_components(X, V, 3, 0.1)[0]
    assert_allclose(np.abs(P), np.abs(jda.components_), atol=1e-8)


def test_classes_that_moved_apart_come_together(rows):
    X, label, domain = rows
    y, source = _hidden(label, domain), domain > 0
    jda, plain = (
        JDA(3, mu=0.01, balance=b).fit(X, y, sample_domain=domain) for b in (0.5, 0.0)
    )
    assert np.mean(jda.pseudo_labels_ == label[~source]) > 0.9

    def gap(Z):
        apart = [
            Z[source & (label == c)].mean(0) - Z[~source & (label == c)].mean(0)
            for c in range(3)
        ]
        return np.linalg.norm(apart) / Z.std()

    assert gap(jda.transform(X)) < 0.5 * gap(plain.transform(X))


def test_kernel_form_of_many_landmarks_is_exact(rows):
    X, label, domain = rows
    y = _hidden(label, domain)
    linear = JDA(3).fit(X, y, sample_domain=domain)
    same = JDA(3, kernel=lambda a, b: a @ b).fit(X, y, sample_domain=domain)
    Z, other = linear.transform(X), same.transform(X)
    assert_allclose(np.abs(other), np.abs(Z), rtol=1e-3, atol=1e-5)
    # more features than landmarks: through the linear kernel as well
    wide = JDA(3, n_landmarks=4).fit(X, y, sample_domain=domain)
    assert wide.landmarks_ is not None and wide.transform(X).shape == (90, 3)


def test_without_class_means_labels_have_no_say(rows):
    X, label, domain = rows
    first = JDA(2, balance=0.0).fit(X, sample_domain=domain)
    second = JDA(2, balance=0.0).fit(X, label, sample_domain=domain)
    assert_allclose(first.components_, second.components_)
    assert first.n_iter_ == 1 and first.pseudo_labels_ is None


def test_without_class_means_labels_need_not_be_classes(rows, rng):
    X, _, domain = rows
    y = rng.normal(size=len(X))
    assert JDA(2, balance=0.0).fit(X, y, sample_domain=domain).pseudo_labels_ is None


def test_a_large_penalty_gives_principal_components(rows):
    X, label, domain = rows
    y = _hidden(label, domain)
    jda = JDA(2, mu=1e9).fit(X, y, sample_domain=domain)
    U = np.linalg.svd(X - X.mean(0))[2][:2].T
    assert np.rad2deg(subspace_angles(jda.components_, U)).max() < 1e-3


def test_labels_of_the_target_and_the_learner_count(rows):
    X, label, domain = rows
    y = _hidden(label, domain)
    known = np.flatnonzero(domain < 0)[::3]
    y[known] = label[known]
    jda = JDA(3, estimator=LogisticRegression()).fit(X, y, sample_domain=domain)
    order = np.searchsorted(np.flatnonzero(domain < 0), known)
    assert_array_equal(jda.pseudo_labels_[order], label[known])
    names = np.array(["a", "b", "c"], dtype=object)[label]
    names[(domain < 0) & np.isnan(y)] = None
    text = JDA(3, estimator=LogisticRegression()).fit(X, names, sample_domain=domain)
    assert_allclose(text.components_, jda.components_)
    assert set(text.pseudo_labels_) <= {"a", "b", "c"}
    full = JDA(3).fit(X, label, sample_domain=domain)
    assert full.n_iter_ == 1
    assert_array_equal(full.pseudo_labels_, label[domain < 0])


def test_jda_refuses_what_it_cannot_use(rows, rng):
    X, label, domain = rows
    with pytest.raises(ValueError, match="needs classes"):
        JDA(2).fit(X, rng.normal(size=90), sample_domain=domain)
    with pytest.raises(TypeError, match="must be a classifier"):
        JDA(2, estimator=Ridge()).fit(X, label, sample_domain=domain)
    with pytest.raises(ValueError, match="requires y"):
        JDA(2).fit(X, sample_domain=domain)
    for kind in (JDA, TJM):
        with pytest.raises(ValueError, match="n_components=91 exceeds"):
            kind(91).fit(X, label, sample_domain=domain)


# TJM


def test_matching_components_solve_the_stated_problem(rng):
    X = rng.normal(size=(50, 4))
    K, n = rbf_kernel(X, gamma=0.3), 50
    v = np.where(np.arange(50) < 20, 1 / 20, -1 / 30)
    g = rng.uniform(0.5, 3.0, size=50)
    W, values, residual = matching_components(K, v, g, 3, 0.2)
    H = np.eye(n) - 1 / n
    metric = K @ np.outer(v, v) @ K + 0.2 * np.diag(g)
    expected, E = eigh(K @ H @ K, metric)
    assert_allclose(values, expected[:-4:-1], rtol=1e-8)
    assert_allclose(np.abs(W), np.abs(E[:, :-4:-1]), atol=1e-8)
    assert residual < 1e-10


def test_lanczos_and_dense_pairs_agree(rng):
    X = rng.normal(size=(700, 3))
    K = rbf_kernel(X, gamma=0.5)
    v = np.where(np.arange(700) < 300, 1 / 300, -1 / 400)
    g = rng.uniform(0.5, 3.0, size=700)
    _, values, residual = matching_components(K, v, g, 3, 0.2)
    assert residual < 1e-6
    H = np.eye(700) - 1 / 700
    metric = K @ np.outer(v, v) @ K + 0.2 * np.diag(g)
    expected = eigh(K @ H @ K, metric, eigvals_only=True, subset_by_index=[697, 699])
    assert_allclose(values, expected[::-1], rtol=1e-6)


def test_first_round_is_tca_of_a_normalized_matrix(rows):
    X, _, domain = rows
    tjm = TJM(2, max_iter=1, kernel="rbf", gamma=0.1).fit(X, sample_domain=domain)
    size = 1 / np.sum(domain > 0) + 1 / np.sum(domain < 0)  # the norm of vv'
    tca = TCA(2, mu=size, gamma=0.1).fit(X, sample_domain=domain)
    assert subspace_angles(tjm.transform(X), tca.transform(X)).max() < 1e-5


def test_objective_of_tjm_never_rises_and_is_the_equation(rows):
    X, _, domain = rows
    tjm = TJM(3, mu=0.5, kernel="rbf", gamma=0.1, max_iter=20, tol=1e-9)
    tjm.fit(X, sample_domain=domain)
    assert (np.diff(tjm.objective_) <= 1e-8 * tjm.objective_[0]).all()
    K, A = rbf_kernel(X, gamma=0.1), tjm.components_
    H = np.eye(90) - 1 / 90
    assert_allclose(A.T @ K @ H @ K @ A, np.eye(3), atol=1e-6)
    M = _mmd_matrix(domain > 0, domain < 0)
    norms = np.linalg.norm(A, axis=1)
    value = np.trace(A.T @ K @ M @ K @ A) / np.linalg.norm(M)
    value += 0.5 * (norms[domain > 0].sum() + (norms[domain < 0] ** 2).sum())
    assert_allclose(tjm.objective_[-1], value, rtol=1e-6)


def test_far_source_samples_lose_their_part(rng):
    X = rng.normal(size=(120, 2))
    domain = np.repeat([1, -1], 60)
    X[:20] = X[:20] * 0.3 + [15.0, 15.0]
    tjm = TJM(3, mu=10.0, kernel="rbf", gamma=0.3, max_iter=30)
    tjm.fit(X, sample_domain=domain)
    relevance = tjm.source_relevance_
    assert relevance.shape == (60,)
    plain = TJM(3, mu=10.0, kernel="rbf", gamma=0.3, max_iter=1)
    plain.fit(X, sample_domain=domain)
    share = [r[:20].sum() / r.sum() for r in (relevance, plain.source_relevance_)]
    assert share[0] < share[1]
