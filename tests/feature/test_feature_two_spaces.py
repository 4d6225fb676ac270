"""CDLS, HHTL and TTI: two feature spaces in one table, without nets."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktransfer._solvers.class_balance import solve_balanced
from sktransfer._solvers.landmarks import (
    Side,
    class_sizes,
    fit_map,
    mean_operator,
    solve_landmarks,
)
from sktransfer._solvers.marginalized_denoising import denoising_weights
from sktransfer._solvers.trace_norm import Grid, Pairs, gradient, solve_trace_norm
from sktransfer.exceptions import DomainError
from sktransfer.feature import CDLS, HHTL, TTI
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.safe import TransferGuard

SOURCE, TARGET = np.arange(3), np.arange(3, 8)
BLOCKS = {"source_columns": SOURCE, "target_columns": TARGET}
METHODS = [
    CDLS(LogisticRegression(), max_iter=2, **BLOCKS),
    HHTL(LogisticRegression(), **BLOCKS),
    TTI(**BLOCKS),
]


def two_views(seed=0, *, n_source=60, n_pairs=60, n_labeled=9, n_unlabeled=30):
    """Return X, y, sample_domain and test rows; the last have the target's block."""
    rng = np.random.RandomState(seed)
    sizes = [n_source, n_pairs, n_labeled, n_unlabeled, 150]
    y = np.arange(sum(sizes)) % 3
    latent = 1.5 * np.eye(3)[y] + 0.4 * rng.normal(size=(len(y), 3))
    other = latent @ rng.normal(size=(3, 5))
    X = np.hstack([latent, other + 1.2 * rng.normal(size=other.shape)])
    kind = np.repeat(np.arange(5), sizes)
    X[np.ix_(kind == 0, TARGET)] = np.nan
    X[np.ix_(kind >= 2, SOURCE)] = np.nan
    marked = np.where((kind == 0) | (kind == 2), y, np.nan)
    train, test = kind < 4, kind == 4
    domain = np.where(kind == 0, 1, -1)[train]
    return X[train], marked[train], domain, X[test], y[test]


def fit(method, data, **params):
    X, y, domain, _, _ = data
    return clone(method).set_params(**params).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
class TestColumnBlocks:
    """The convention of DATN holds for all of them."""

    def test_names_positions_and_masks_are_one(self, method):
        data = two_views()
        frame = pd.DataFrame(data[0], columns=list("abcdefgh"))
        named = clone(method).set_params(
            source_columns=list("abc"), target_columns=slice("d", "h")
        )
        named.fit(frame, data[1], sample_domain=data[2])
        plain = fit(method, data)
        masked = fit(method, data, source_columns=np.arange(8) < 3)
        test = pd.DataFrame(data[3], columns=list("abcdefgh"))
        expected = plain.decision_function(data[3])
        assert_allclose(named.decision_function(test), expected)
        assert_allclose(masked.decision_function(data[3]), expected)

    def test_the_block_of_the_source_is_not_read_of_target_rows(self, method):
        data = two_views()
        model = fit(method, data)
        changed = data[3].copy()
        changed[:, SOURCE] = 7.0
        assert_allclose(
            model.decision_function(changed), model.decision_function(data[3])
        )

    def test_half_a_block_and_shared_columns_are_one_error(self, method):
        X, y, domain, _, _ = data = two_views()
        half = X.copy()
        half[0, 0] = np.nan
        with pytest.raises(DomainError, match="NaN in some of source_columns"):
            clone(method).fit(half, y, sample_domain=domain)
        with pytest.raises(ValueError, match="share the columns"):
            fit(method, data, source_columns=[2, 3])
        with pytest.raises(ValueError, match="name both blocks"):
            fit(method, data, source_columns=None)
        absent = X.copy()
        absent[-1] = np.nan
        with pytest.raises(DomainError, match="is a target row, but holds NaN"):
            clone(method).fit(absent, y, sample_domain=domain)

    def test_clone_pickle_and_grid_search(self, method):
        X, y, domain, X_test, _ = data = two_views()
        model = fit(method, data)
        again = pickle.loads(pickle.dumps(model))
        assert_array_equal(model.predict(X_test), again.predict(X_test))
        name = "penalty" if isinstance(method, TTI) else "map_penalty"
        search = GridSearchCV(method, {name: [0.01, 0.5]}, cv=StratifiedTargetKFold(3))
        with sklearn.config_context(enable_metadata_routing=True):
            search.fit(X, y, sample_domain=domain)
        assert search.best_score_ > 0.3

    def test_two_sources_and_text_labels(self, method):
        X, y, domain, X_test, _ = two_views()
        names = np.array(["a", "b", "c"], dtype=object)
        labels = np.full(len(y), None, dtype=object)
        known = ~np.isnan(y)
        labels[known] = names[y[known].astype(int)]
        two = domain.copy()
        two[np.flatnonzero(domain > 0)[::2]] = 4
        model = clone(method).fit(X, labels, sample_domain=two)
        one = clone(method).fit(X, y, sample_domain=domain)
        # several sources share one block, so they are pooled
        expected = names[one.predict(X_test).astype(int)]
        assert_array_equal(model.predict(X_test), expected)
        assert list(model.classes_) == list(names)

    def test_a_source_helps_where_labels_are_few(self, method):
        gains = []
        for seed in range(3):
            data = two_views(seed, n_labeled=3, n_pairs=90)
            X, y, domain, X_test, y_test = data
            own = domain < 0
            alone = clone(method).fit(X[own], y[own], sample_domain=domain[own])
            gains.append(
                fit(method, data).score(X_test, y_test) - alone.score(X_test, y_test)
            )
        assert np.mean(gains) > 0.0


class TestCDLS:
    def test_no_source_is_the_classifier_on_the_labeled_rows(self):
        """beta = 0, no source: SVM on T_l."""
        X, y, domain, X_test, _ = two_views()
        own = domain < 0
        model = CDLS(SVC(kernel="linear"), normalize=False, **BLOCKS)
        model.fit(X[own], y[own], sample_domain=domain[own])
        scaler = StandardScaler().fit(X[np.ix_(own, TARGET)])
        known = own & ~np.isnan(y)
        plain = SVC(kernel="linear").fit(
            scaler.transform(X[np.ix_(known, TARGET)]), y[known]
        )
        expected = plain.decision_function(scaler.transform(X_test[:, TARGET]))
        # all components are a rotation, which a linear SVM does not see
        assert_allclose(model.decision_function(X_test), expected, atol=1e-6)
        assert model.n_iter_ == 0

    def test_equal_spaces_and_domains_map_near_the_components(self):
        """Equal spaces and domains: A near the PCA matrix."""
        rng = np.random.RandomState(0)
        y = np.arange(120) % 6
        X = 3 * rng.normal(size=(6, 3))[y] + 0.1 * rng.normal(size=(120, 3))
        domain = np.repeat([1, -1], 120)
        model = CDLS(LogisticRegression(), map_penalty=1e-8, delta=1.0, normalize=False)
        model.fit(np.vstack([X, X]), np.r_[y, y], sample_domain=domain)
        # six means of classes span the three columns, so the map is unique
        assert_allclose(model.map_, model.components_.T, atol=1e-4)

    def test_delta_one_is_all_weights_one(self):
        """delta = 1: all weights 1."""
        model = fit(METHODS[0], two_views(), delta=1.0)
        assert_array_equal(model.source_weights_, 1.0)
        assert_array_equal(model.target_weights_, 1.0)

    def test_weights_have_the_mean_delta_within_each_class(self):
        data = two_views()
        model = fit(METHODS[0], data, delta=0.4)
        y = data[1][data[2] > 0]
        for c in range(3):
            assert model.source_weights_[y == c].mean() == pytest.approx(0.4)
        assert model.source_weights_.min() >= 0
        assert model.source_weights_.max() <= 1
        assert model.gap_ < 1e-3

    def test_landmarks_agree_with_cvxpy(self):
        cvxpy = pytest.importorskip("cvxpy")
        rng = np.random.RandomState(0)
        delta, k = 0.5, 2
        sides = [
            Side(rng.normal(size=(n, 2)), rng.randint(k, size=n), np.ones(n))
            for n in (12, 6, 9)
        ]
        shared = np.ones(k, dtype=bool)
        alpha, beta, info = solve_landmarks(*sides, delta, shared, tol=1e-8)
        source, labeled, unlabeled = sides
        a, b = cvxpy.Variable(12), cvxpy.Variable(9)
        terms, limits = [], [a >= 0, a <= 1, b >= 0, b <= 1]
        for c in (None, 0, 1):
            s, t, u = (
                np.ones(len(side.rows)) if c is None else 1.0 * (side.codes == c)
                for side in sides
            )
            own = (source.rows * s[:, None]).T @ a / (delta * s.sum())
            size = t.sum() + delta * u.sum()
            rest = (t @ labeled.rows + (unlabeled.rows * u[:, None]).T @ b) / size
            terms.append(cvxpy.sum_squares(own - rest))
            if c is not None:
                limits += [s @ a == delta * s.sum(), u @ b == delta * u.sum()]
        problem = cvxpy.Problem(cvxpy.Minimize(sum(terms)), limits)
        best = problem.solve(solver="CLARABEL")

        def value(alpha, beta):
            a.value, b.value = alpha, beta
            return sum(term.value for term in terms)

        assert value(alpha, beta) == pytest.approx(best, abs=1e-6)
        assert info.gap < 1e-6

    def test_the_map_is_ridge_regression_of_the_means(self):
        rng = np.random.RandomState(0)
        U, V = rng.normal(size=(4, 7)), rng.normal(size=(4, 3))
        expected = Ridge(alpha=0.3, fit_intercept=False).fit(U, V).coef_.T
        assert_allclose(fit_map(U, V, 0.3), expected, atol=1e-10)

    def test_the_operator_makes_the_means(self):
        codes = np.array([0, 1, 1, 0, 2])
        rows = np.arange(10.0).reshape(5, 2)
        M = mean_operator(codes, class_sizes(codes, 3), np.array([True, True, False]))
        assert_allclose(M[0] @ rows, rows.mean(axis=0))
        assert_allclose(M[2] @ rows, rows[1:3].mean(axis=0))
        assert_array_equal(M[3], 0.0)  # class 2 is in one domain only

    def test_one_labeled_row_is_enough(self):
        X, y, domain, X_test, y_test = two_views(n_labeled=1)
        model = CDLS(LogisticRegression(), **BLOCKS).fit(X, y, sample_domain=domain)
        assert model.score(X_test, y_test) > 0.2
        assert list(model.classes_) == [0, 1, 2]

    def test_a_regressor_is_one_error(self):
        X, y, domain, _, _ = two_views()
        with pytest.raises(TypeError, match="must be a classifier"):
            CDLS(Ridge(), **BLOCKS).fit(X, y, sample_domain=domain)


class TestHHTL:
    def test_no_layer_is_a_ridge_map_and_the_source_classifier(self):
        """L = 0: ridge map + source classifier."""
        X, y, domain, X_test, _ = two_views(n_labeled=0)
        model = HHTL(LogisticRegression(), n_layers=0, map_penalty=2.0, **BLOCKS)
        model.fit(X, y, sample_domain=domain)
        has_s, has_t = (~np.isnan(X[:, c]).any(axis=1) for c in (SOURCE, TARGET))
        s = StandardScaler().fit(X[np.ix_(has_s, SOURCE)])
        t = StandardScaler().fit(X[np.ix_(has_t, TARGET)])
        pairs = has_s & has_t
        ridge = Ridge(alpha=2.0).fit(
            t.transform(X[np.ix_(pairs, TARGET)]), s.transform(X[np.ix_(pairs, SOURCE)])
        )
        source = domain > 0
        plain = LogisticRegression().fit(
            s.transform(X[np.ix_(source, SOURCE)]), y[source]
        )
        mapped = ridge.predict(t.transform(X_test[:, TARGET]))
        assert_allclose(model.predict_proba(X_test), plain.predict_proba(mapped))

    def test_invertible_map_and_clean_pairs_give_the_source_accuracy(self):
        """Square invertible map and clean pairs: source accuracy."""
        rng = np.random.RandomState(0)
        y = np.arange(200) % 3
        S = 1.5 * np.eye(3)[y] + 0.6 * rng.normal(size=(200, 3))
        X = np.hstack([S, S @ rng.normal(size=(3, 3)) + 1.0])
        X[:80, 3:], X[140:, :3] = np.nan, np.nan
        marked = np.where(np.arange(200) < 80, y, np.nan)
        domain = np.repeat([1, -1], [80, 120])
        model = HHTL(
            LogisticRegression(), source_columns=[0, 1, 2], target_columns=[3, 4, 5],
            n_layers=0, map_penalty=1e-8,
        )  # fmt: skip
        model.fit(X[:140], marked[:140], sample_domain=domain[:140])
        scaler = StandardScaler().fit(S[:140])
        plain = LogisticRegression().fit(scaler.transform(S[:80]), y[:80])
        assert_allclose(
            model.predict_proba(X[140:]),
            plain.predict_proba(scaler.transform(S[140:])),
            atol=1e-5,
        )

    def test_a_layer_is_the_mean_over_corruptions(self):
        rng = np.random.RandomState(0)
        X = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4))
        W = denoising_weights(X, 0.4, penalty=0.0)
        # least squares over many drawn corruptions, an independent computation
        copies = np.repeat(X, 20000, axis=0)
        noisy = copies * (rng.uniform(size=copies.shape) >= 0.4)
        noisy = np.column_stack([noisy, np.ones(len(noisy))])
        expected = np.linalg.lstsq(noisy, copies, rcond=None)[0]
        assert_allclose(W, expected, atol=0.02)

    def test_no_corruption_restores_the_rows(self):
        X = np.random.RandomState(0).normal(size=(30, 4))
        W = denoising_weights(X, 0.0, penalty=0.0)
        assert_allclose(X @ W[:-1] + W[-1], X, atol=1e-8)

    def test_a_weight_of_two_is_a_row_twice(self):
        X, y, domain, X_test, _ = two_views()
        rng = np.random.RandomState(0)
        w = rng.randint(1, 3, size=len(y))
        model = HHTL(Ridge(), **BLOCKS)
        with sklearn.config_context(enable_metadata_routing=True):
            model.estimator.set_fit_request(sample_weight=True)
            model.fit(X, y, sample_domain=domain, sample_weight=w)
        values = model.predict(X_test)
        twice = np.repeat(np.arange(len(y)), w)
        again = clone(model).fit(X[twice], y[twice], sample_domain=domain[twice])
        assert_allclose(again.predict(X_test), values, atol=1e-6)

    def test_no_pair_is_one_error(self):
        X, y, domain, _, _ = two_views(n_pairs=0)
        with pytest.raises(DomainError, match="No row of X has both blocks"):
            HHTL(LogisticRegression(), **BLOCKS).fit(X, y, sample_domain=domain)


class TestTTI:
    def test_a_large_penalty_gives_no_translator(self):
        """lam large: S = 0."""
        data = two_views()
        model = fit(METHODS[2], data, penalty=1.0)
        assert not model.translator_.any()
        assert model.rank_ == 0
        assert fit(METHODS[2], data, penalty=0.9).rank_ == 1

    def test_pairs_only_are_more_similar_than_others(self):
        """Pairs only: similarity of pairs > non-pairs."""
        data = two_views(n_labeled=0)
        X = data[0]
        model = fit(METHODS[2], data)
        pairs = ~np.isnan(X).any(axis=1)
        x = StandardScaler().fit(X[~np.isnan(X[:, 3])][:, TARGET])
        z = StandardScaler().fit(X[~np.isnan(X[:, 0])][:, SOURCE])
        ones = np.ones((pairs.sum(), 1))
        left = np.hstack([x.transform(X[np.ix_(pairs, TARGET)]), ones])
        right = np.hstack([z.transform(X[np.ix_(pairs, SOURCE)]), ones])
        similarity = left @ model.translator_ @ right.T
        others = similarity[~np.eye(len(similarity), dtype=bool)]
        assert np.diag(similarity).mean() > others.mean()

    def test_the_solution_agrees_with_cvxpy(self):
        cvxpy = pytest.importorskip("cvxpy")
        rng = np.random.RandomState(0)
        grid = Grid(
            rng.normal(size=(6, 3)),
            rng.normal(size=(2, 4)),
            rng.choice([-1.0, 1.0], size=(6, 2)),
            1.0,
        )
        pairs = Pairs(rng.normal(size=(5, 3)), rng.normal(size=(5, 4)), 0.7)
        S, info = solve_trace_norm(grid, pairs, 0.08, tol=1e-7, max_iter=20000)
        V = cvxpy.Variable((3, 4))
        margins = cvxpy.multiply(grid.Y, grid.A @ V @ grid.B.T)
        tied = cvxpy.hstack([a @ V @ b for a, b in zip(*pairs[:2], strict=True)])
        loss = cvxpy.sum(cvxpy.logistic(-margins)) / 6
        loss += 0.7 * cvxpy.sum(cvxpy.logistic(-tied)) / 5
        best = cvxpy.Problem(cvxpy.Minimize(loss + 0.08 * cvxpy.normNuc(V))).solve(
            solver="SCS", eps=1e-8
        )
        assert info.objective == pytest.approx(best, abs=1e-6)
        assert_allclose(S, V.value, atol=1e-3)
        # at the optimum no direction has a slope above the penalty
        slope = np.linalg.norm(gradient(S, grid, pairs), 2)
        assert slope <= 0.08 * (1 + 1e-4)

    def test_few_rows_are_solved_in_their_span(self):
        rng = np.random.RandomState(0)
        grid = Grid(rng.normal(size=(4, 30)), rng.normal(size=(2, 20)),
                    rng.choice([-1.0, 1.0], size=(4, 2)), 1.0)  # fmt: skip
        pairs = Pairs(np.empty((0, 30)), np.empty((0, 20)), 1.0)
        S, info = solve_trace_norm(grid, pairs, 0.5, tol=1e-6)
        assert info.converged
        g = gradient(S, grid, pairs)
        assert np.linalg.norm(g, 2) <= 0.5 * (1 + 1e-4)
        # by optimality <S, -gradient> = penalty * trace norm
        nuclear = np.linalg.svd(S, compute_uv=False).sum()
        assert -np.vdot(S, g) == pytest.approx(0.5 * nuclear, rel=1e-4)

    def test_too_few_steps_warn(self):
        with pytest.warns(ConvergenceWarning, match="TTI stopped after 2 steps"):
            fit(METHODS[2], two_views(), max_iter=2, tol=1e-9)

    def test_neither_pairs_nor_labels_is_one_error(self):
        X, y, domain, _, _ = two_views(n_pairs=0, n_labeled=0)
        with pytest.raises(DomainError, match="Give some of either"):
            TTI(**BLOCKS).fit(X, y, sample_domain=domain)


def test_real_counts_are_shared_in_the_gap():
    """The gap of class-balanced weights holds for sums that are no whole numbers."""
    rng = np.random.RandomState(0)
    A = rng.normal(size=(10, 10))
    b, info = solve_balanced(
        A @ A.T, rng.normal(size=10), np.arange(10) % 2, np.array([2.5, 1.25])
    )
    assert info.gap < 1e-4
    assert b[::2].sum() == pytest.approx(2.5)
    assert b[1::2].sum() == pytest.approx(1.25)


def paired_by_name(seed=0):
    """Return the same views, each pair as a labeled source row and a target row."""
    X, y, domain, X_test, y_test = two_views(seed, n_source=30)
    both = np.flatnonzero((domain < 0) & ~np.isnan(X).any(axis=1))
    first, second = X[both].copy(), X.copy()
    first[:, TARGET] = np.nan
    second[np.ix_(both, SOURCE)] = np.nan
    names = np.full(len(X), None, dtype=object)
    names[both] = [f"object {k}" for k in both]
    # rows of two_views have the classes 0, 1, 2 in turn
    rows = (
        np.vstack([second, first]),
        np.r_[y, both % 3],
        np.r_[domain, np.ones(len(both), dtype=int)],
        np.r_[names, names[both]],
    )
    order = np.random.RandomState(1).permutation(len(rows[0]))
    return *(part[order] for part in rows), X_test, y_test


def rows_of_pairs(domain, names):
    """Return the rows of the source and of the target, pair by pair."""
    place = {
        (name, d > 0): i for i, (name, d) in enumerate(zip(names, domain, strict=True))
    }
    shared = sorted(name for name, own in place if name is not None and own)
    return [[place[name, own] for name in shared] for own in (True, False)]


def test_hhtl_maps_rows_that_sample_pair_names():
    X, y, domain, names, X_test, y_test = paired_by_name()
    weight = np.random.RandomState(2).uniform(0.5, 2, size=len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        learner = LogisticRegression().set_fit_request(sample_weight=True)
    model = HHTL(learner, n_layers=0, **BLOCKS)
    model.fit(X, y, sample_domain=domain, sample_pair=names, sample_weight=weight)
    source, target = rows_of_pairs(domain, names)
    assert model.n_pairs_ == len(source) == 60
    scaled = [
        StandardScaler()
        .fit(X[has][:, columns], sample_weight=weight[has])
        .transform(X[rows][:, columns])
        for rows, columns, has in (
            (source, SOURCE, domain > 0), (target, TARGET, domain < 0),
        )
    ]  # fmt: skip
    expected = Ridge(alpha=10.0).fit(
        scaled[1], scaled[0], np.sqrt(weight[source] * weight[target])
    )
    assert_allclose(model.maps_[0].coef_, expected.coef_)
    assert model.score(X_test, y_test) > 0.75


def test_tti_ties_rows_that_sample_pair_names():
    X, y, domain, names, X_test, y_test = paired_by_name()
    model = TTI(**BLOCKS).fit(X, y, sample_domain=domain, sample_pair=names)
    source, target = rows_of_pairs(domain, names)
    assert model.n_pairs_ == len(source) == 60

    def scaled(rows, columns, has):
        scaler = StandardScaler().fit(X[has][:, columns])
        return np.column_stack(
            [scaler.transform(X[rows][:, columns]), np.ones(len(X[rows]))]
        )

    known = (domain < 0) & ~np.isnan(y)
    signs = np.where(y[:, None] == np.arange(3), 1.0, -1.0)
    vectors = signs[domain > 0].T @ scaled(domain > 0, SOURCE, domain > 0)
    grid = Grid(
        scaled(known, TARGET, domain < 0), vectors / np.sum(domain > 0), signs[known],
        1.0,
    )  # fmt: skip
    pairs = Pairs(
        scaled(target, TARGET, domain < 0), scaled(source, SOURCE, domain > 0), 1.0
    )
    S, _ = solve_trace_norm(grid, pairs, model.penalty_, tol=1e-4, max_iter=1000)
    assert_allclose(model.translator_, S, atol=1e-6)
    assert model.score(X_test, y_test) > 0.5


@pytest.mark.parametrize("method", [HHTL(LogisticRegression()), TTI()])
def test_named_pairs_in_one_feature_space(method, rng):
    """A second instrument turns the features round; forty objects show how."""
    y = np.arange(120) % 2
    objects = rng.normal(size=(120, 3)) + np.where(y, 1.5, -1.5)[:, None]
    X = np.vstack([objects[:60], -objects[:40], -objects[60:]])
    labels = np.r_[y[:60], np.full(100, np.nan)]
    domain = np.repeat([1, -1], [60, 100])
    names = np.r_[np.arange(40.0), np.full(20, np.nan), np.arange(40.0)]
    names = np.r_[names, np.full(60, np.nan)]
    fitted = clone(method).fit(X, labels, sample_domain=domain, sample_pair=names)
    assert fitted.n_pairs_ == 40
    assert fitted.score(X[100:], y[60:]) > 0.9
    alone = clone(method).fit(X, labels, sample_domain=domain)
    assert alone.n_pairs_ > 40
    assert alone.score(X[100:], y[60:]) < 0.2


@pytest.mark.parametrize("method", METHODS[1:], ids=lambda m: type(m).__name__)
def test_named_pairs_are_checked_and_routed(method):
    X, y, domain, names, *_ = paired_by_name()
    no_labels = np.where(domain < 0, np.nan, y)
    fit = clone(method).fit
    with pytest.raises(DomainError, match="sample_pair"):
        fit(X, no_labels, sample_domain=domain)
    with pytest.raises(DomainError, match="no name that is in a source row and"):
        fit(X, y, sample_domain=domain, sample_pair=np.arange(len(X)))
    with pytest.raises(DomainError, match="shape"):
        fit(X, y, sample_domain=domain, sample_pair=names[:3])
    whole = X.copy()
    row = rows_of_pairs(domain, names)[1][0]
    whole[row, SOURCE] = 0.0
    with pytest.raises(DomainError, match="is a pair by itself"):
        fit(whole, y, sample_domain=domain, sample_pair=names)
    target = domain < 0  # nothing to pair without a source
    alone = fit(
        X[target], y[target], sample_domain=domain[target], sample_pair=names[target]
    )
    assert alone.n_pairs_ == 0
    # names beside rows with both blocks
    names[names == names[row]] = None
    mixed = fit(whole, y, sample_domain=domain, sample_pair=pd.Series(names))
    assert mixed.n_pairs_ == 60
    with sklearn.config_context(enable_metadata_routing=True):
        guard = TransferGuard(method, cv=StratifiedTargetKFold(3))
        guard.fit(X, y, sample_domain=domain, sample_pair=names)
    assert guard.transfer_.n_pairs_ == 59
