"""DualTransfer and LowRankSparseTransfer: limits, certificates, budgets."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from sktransfer._solvers.dual_factorization import (
    dual_factorization,
    nonnegative_shares,
)
from sktransfer._solvers.low_rank_sparse import low_rank_sparse, relaxed_regression
from sktransfer.baselines import Pooled
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.feature import DualTransfer, LowRankSparseTransfer


def texts(seed=0, n=60, n_labeled=0, domains=(1, -1)):
    """Return counts of words: of classes, of both domains, and of one alone."""
    rng = np.random.RandomState(seed)
    label = np.tile([0, 1, 2], n * len(domains) // 3)
    domain = np.repeat(domains, n)
    rate = np.full((len(label), 20), 0.4)
    for c in range(3):
        rate[np.ix_(label == c, range(2 * c, 2 * c + 2))] += 2.5
    for k, d in enumerate(domains):
        rate[np.ix_(domain == d, range(6 + 3 * k, 9 + 3 * k))] += 2.0
        for c in range(3):  # words that only this domain has for the class
            rate[np.ix_((domain == d) & (label == c), [14 + (c + k) % 3])] += 2.0
    X = rng.poisson(rate).astype(float)
    y = np.where(domain > 0, label, np.nan).astype(float)
    target = np.flatnonzero(domain < 0)
    y[target[:n_labeled]] = label[target[:n_labeled]]
    return X, y, domain, label


class TestDualTransfer:
    @pytest.mark.parametrize("n_specific", [0, 4])
    def test_the_objective_never_rises(self, n_specific):
        """Objective never rises."""
        X, y, domain, _ = texts()
        model = DualTransfer(6, n_specific, tol=1e-4, max_iter=2000)
        model.fit(X, y, sample_domain=domain)
        falls = -np.diff(model.objective_)
        assert falls.min() >= -1e-10 * model.objective_[0]
        assert len(model.objective_) == model.n_iter_ + 1

    def test_the_objective_is_the_sum_of_squares(self):
        rng = np.random.RandomState(0)
        tables = [rng.uniform(size=(7, 5)), rng.uniform(size=(6, 5))]
        V = [rng.uniform(size=(7, 2)), rng.uniform(size=(6, 2))]
        free = [np.zeros(7, dtype=bool), np.ones(6, dtype=bool)]
        start = rng.uniform(size=(5, 3)), rng.uniform(size=(5, 1))
        factors, info = dual_factorization(
            tables, V, free, *start, rng.uniform(size=(4, 2)), max_iter=30, tol=0.0
        )
        total = 0.0
        for X, own, v in zip(tables, factors.own, factors.V, strict=True):
            U = np.hstack([factors.common, own])
            total += np.sum((X.T - U @ factors.H @ v.T) ** 2)
        assert info.objectives[-1] == pytest.approx(total)
        assert_array_equal(factors.V[0], V[0])  # known classes stay
        for part in (factors.common, factors.H, factors.V[1]):
            assert (part >= 0).all()

    def test_no_specific_cluster_is_collective_factorization(self):
        """k specific clusters = 0: collective NMTF."""
        X, y, domain, _ = texts()
        model = DualTransfer(6, 0, tol=1e-3, max_iter=1000)
        model.fit(X, y, sample_domain=domain)
        assert model.target_clusters_.shape == (20, 0)
        # one table of both domains has the same factors
        rows = normalize(X)
        V = np.zeros((len(y), 3))
        known = ~np.isnan(y)
        V[known] = y[known, None] == np.arange(3)
        plain = LogisticRegression().fit(rows[known], y[known])
        V[~known] = 0.01 + plain.predict_proba(rows[~known])
        one, _ = dual_factorization(
            [rows], [V], [~known], *model._draw(rows), tol=0.0,
            max_iter=model.n_iter_,
        )  # fmt: skip
        assert_allclose(one.common @ one.H, model.profiles_, atol=1e-8)

    def test_equal_domains_have_equal_classes(self):
        """X_S = X_T: V_T = V_S up to noise."""
        X, _, _, label = texts(domains=(1,))
        both = np.vstack([X, X])
        y = np.r_[label, np.full(len(label), np.nan)]
        domain = np.repeat([1, -1], len(label))
        model = DualTransfer(9, 2).fit(both, y, sample_domain=domain)
        assert np.mean(model.target_labels_ == label) > 0.95
        assert np.mean(model.predict(X) == label) > 0.95

    def test_shares_are_those_of_scipy(self):
        rng = np.random.RandomState(0)
        profile, X = rng.uniform(size=(6, 3)), rng.uniform(size=(5, 6))
        expected = np.array([nnls(profile, x)[0] for x in X])
        assert_allclose(nonnegative_shares(X, profile), expected, atol=1e-6)

    def test_it_is_better_than_its_start_where_words_differ(self):
        gains = []
        for seed in range(4):
            X, y, domain, label = texts(seed)
            own = domain < 0
            start = LogisticRegression().fit(normalize(X[~own]), y[~own])
            model = DualTransfer(9, 4).fit(X, y, sample_domain=domain)
            right = np.mean(model.target_labels_ == label[own])
            gains.append(right - start.score(normalize(X[own]), label[own]))
        assert np.mean(gains) >= 0.0

    def test_sparse_several_sources_and_kept_labels(self):
        X, y, domain, label = texts(n_labeled=6, domains=(3, 7, -1))
        y[np.flatnonzero(domain < 0)[0]] = 2.0  # a label that clusters contradict
        dense = DualTransfer(9, 2).fit(X, y, sample_domain=domain)
        thin = DualTransfer(9, 2).fit(sparse.csr_array(X), y, sample_domain=domain)
        assert_allclose(
            thin.predict_proba(sparse.csr_array(X)), dense.predict_proba(X), atol=1e-6
        )
        known = ~np.isnan(y[domain < 0])
        assert_array_equal(dense.target_labels_[known], y[domain < 0][known])
        assert np.mean(dense.target_labels_ == label[domain < 0]) > 0.7

    def test_text_labels_and_another_start(self):
        X, y, domain, _ = texts()
        names = np.array(["x", "y", "z"], dtype=object)
        labels = np.full(len(y), None, dtype=object)
        labels[domain > 0] = names[y[domain > 0].astype(int)]
        model = DualTransfer(9, 2, estimator=MultinomialNB())
        model.fit(X, labels, sample_domain=domain)
        assert set(model.predict(X)) <= set(names)
        assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
        assert_allclose(model.predict_proba(np.zeros((1, 20))), 1 / 3)

    def test_bad_input_is_one_error(self):
        X, y, domain, _ = texts()
        with pytest.raises(ValueError, match="Negative values in data"):
            DualTransfer().fit(X - 1, y, sample_domain=domain)
        own = domain < 0
        with pytest.raises(UnlabeledTargetError, match="no label"):
            DualTransfer().fit(X[own], y[own], sample_domain=domain[own])
        with pytest.warns(ConvergenceWarning, match="stopped after 1 rounds"):
            DualTransfer(max_iter=1).fit(X, y, sample_domain=domain)


def shifted(seed=0, n=40):
    rng = np.random.RandomState(seed)
    label, domain = np.tile([0, 1], n), np.repeat([1, -1], n)
    X = rng.normal(size=(2 * n, 4)) + np.c_[3 * label, np.zeros((2 * n, 3))]
    X[domain < 0] += [0.0, 1.5, 0.0, 0.0]
    return X, np.where(domain > 0, label, np.nan), domain, label


class TestLowRankSparseTransfer:
    def test_the_residual_of_the_constraint_is_the_certificate(self):
        """Residual of the constraint as certificate."""
        X, y, domain, _ = shifted()
        model = LowRankSparseTransfer().fit(X, y, sample_domain=domain)
        left = model.transform(X[domain < 0]).T
        right = model.transform(X[domain > 0]).T @ model.coupling_ + model.rest_
        assert np.abs(left - right).max() <= 1e-3 * np.abs(left).max()
        assert 0 < model.residual_ <= 1e-3

    def test_equal_domains_without_a_sparse_term(self):
        """X_T = X_S with alpha = 0 and beta large: Z = V V', E = 0."""
        rng = np.random.RandomState(0)
        label = np.arange(30) % 3
        X = rng.normal(size=(30, 5)) + 3 * np.eye(3, 5)[label]
        model = LowRankSparseTransfer(
            alpha=0.0, beta=100.0, growth=1.02, tol=1e-7, max_iter=3000
        )
        model.fit(
            np.vstack([X, X]), np.r_[label, np.full(30, np.nan)],
            sample_domain=np.repeat([1, -1], 30),
        )  # fmt: skip
        V = np.linalg.svd(model.transform(X).T, full_matrices=False)[2].T
        assert_allclose(model.coupling_, V @ V.T, atol=1e-4)
        assert_allclose(model.rest_, 0.0, atol=1e-6)

    def test_a_small_beta_leaves_all_to_the_rest(self):
        """Beta small: Z = 0, E = P'X_T."""
        X, y, domain, _ = shifted()
        model = LowRankSparseTransfer(beta=1e-4, tol=1e-6, growth=1.05)
        model.fit(X, y, sample_domain=domain)
        assert_allclose(model.coupling_, 0.0, atol=1e-6)
        mapped = model.transform(X[domain < 0]).T
        assert_allclose(model.rest_, mapped, atol=1e-4)
        # the target has no say then: the map is that of the source alone
        signs = np.where(y[domain > 0, None] == [0, 1], 1.0, -1.0)
        alone = relaxed_regression(X[domain > 0], signs, 1.0)
        assert_allclose(model.components_, alone, atol=1e-2)

    def test_infinite_alpha_and_beta_are_refused(self):
        """alpha, beta to infinity: Z = E = 0, so P'X_T = 0 is forced (refuse)."""
        X, y, domain, _ = shifted()
        with pytest.raises(ValueError, match="alpha=inf and beta=inf"):
            LowRankSparseTransfer(alpha=np.inf, beta=np.inf).fit(
                X, y, sample_domain=domain
            )
        one = LowRankSparseTransfer(alpha=np.inf, growth=1.05)
        assert_allclose(one.fit(X, y, sample_domain=domain).coupling_, 0, atol=1e-3)

    def test_more_rows_than_the_budget_are_refused_by_name(self):
        """n_s x n_t matrix: refuse above a memory budget."""
        X, y, domain, _ = shifted()
        with pytest.raises(ValueError, match="LowRankSparseTransfer needs about"):
            LowRankSparseTransfer(max_memory=1e-5).fit(X, y, sample_domain=domain)

    def test_the_coupling_agrees_with_cvxpy_for_its_map(self):
        cvxpy = pytest.importorskip("cvxpy")
        X, y, domain, _ = shifted(n=12)
        signs = np.where(y[domain > 0, None] == [0, 1], 1.0, -1.0)
        solution, info = low_rank_sparse(
            X[domain > 0], signs, X[domain < 0], lam=1.0, alpha=0.05, beta=2.0,
            growth=1.002, tol=1e-6, max_iter=20000,
        )  # fmt: skip
        assert info.converged
        S, T = (solution.P.T @ X[rows].T for rows in (domain > 0, domain < 0))
        Z = cvxpy.Variable(solution.Z.shape)
        goal = cvxpy.normNuc(Z) + 0.05 * cvxpy.sum(cvxpy.abs(Z))
        goal += 2.0 * cvxpy.sum(cvxpy.abs(T - S @ Z))
        best = cvxpy.Problem(cvxpy.Minimize(goal)).solve(solver="SCS", eps=1e-6)
        value = np.linalg.svd(solution.Z, compute_uv=False).sum()
        value += 0.05 * np.abs(solution.Z).sum() + 2.0 * np.abs(solution.E).sum()
        # the penalty grows, so the last steps are small: near the optimum, not at it
        assert best * (1 - 1e-3) <= value <= 1.05 * best

    def test_no_source_separates_the_labeled_rows(self):
        X, _, _, label = shifted()
        X = X - X.mean(axis=0)
        model = LowRankSparseTransfer().fit(X, label)
        assert np.mean(model.transform(X).argmax(axis=1) == label) > 0.85
        assert model.coupling_ is None and model.n_iter_ == 0

    def test_relaxed_regression_lowers_its_objective_to_the_optimum(self):
        cvxpy = pytest.importorskip("cvxpy")
        X, _, _, label = shifted(n=15)
        Y = np.where(label[:, None] == [0, 1], 1.0, -1.0)
        P, M = cvxpy.Variable((4, 2)), cvxpy.Variable(Y.shape, nonneg=True)
        goal = 0.5 * cvxpy.sum_squares(X @ P - Y - cvxpy.multiply(Y, M))
        goal += 0.35 * cvxpy.sum_squares(P)
        cvxpy.Problem(cvxpy.Minimize(goal)).solve(solver="CLARABEL")
        assert_allclose(relaxed_regression(X, Y, 0.7), P.value, atol=1e-4)

    def test_in_a_pipeline(self):
        X, y, domain, label = shifted()
        pipe = make_pipeline(
            StandardScaler(), LowRankSparseTransfer(), Pooled(LogisticRegression())
        )
        with sklearn.config_context(enable_metadata_routing=True):
            pipe.fit(X, y, sample_domain=domain)
        assert pipe.score(X[domain < 0], label[domain < 0]) > 0.8

    def test_too_few_rounds_warn(self):
        X, y, domain, _ = shifted()
        with pytest.warns(ConvergenceWarning, match="violation of its constraints"):
            LowRankSparseTransfer(max_iter=2).fit(X, y, sample_domain=domain)
