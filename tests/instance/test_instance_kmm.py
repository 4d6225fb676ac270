"""Kernel mean matching as a learner; its solver is tested beside the solver."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._folds import target_folds
from sktransfer._solvers import kmm as _kmm
from sktransfer.instance import KMM, kmm_weights
from sktransfer.metrics import cross_val_ntg
from sktransfer.model_selection import StratifiedTargetKFold, TargetKFold
from sktransfer.safe import TransferGuard


def _covariate_shift(dim, rng, n=400, shift=0.7, scale=0.7):
    """Normal rows; the density ratio of the two normals is known."""
    X_source = rng.normal(size=(n, dim))
    X_target = shift + scale * rng.normal(size=(n, dim))
    log_ratio = (
        (X_source**2).sum(1) / 2
        - ((X_source - shift) ** 2).sum(1) / (2 * scale**2)
        - dim * np.log(scale)
    )
    return X_source, X_target, np.exp(log_ratio)


def curve(X):
    return np.sin(1.5 * X[:, 0]) + X[:, 0] ** 2 / 2


@pytest.mark.parametrize("dim", [1, 2])
def test_weights_follow_the_density_ratio(dim, rng):
    X_source, X_target, ratio = _covariate_shift(dim, rng)
    weights = kmm_weights(X_source, X_target)
    assert spearmanr(weights, ratio)[0] > 0.85


def test_a_misspecified_line_is_nearly_as_good_as_with_the_true_ratio(rng):
    errors = []
    for _ in range(10):
        X_source, X_target, ratio = _covariate_shift(1, rng)
        y_source = curve(X_source) + 0.1 * rng.normal(size=len(X_source))
        X = np.concatenate([X_source, X_target])
        y = np.r_[y_source, np.full(len(X_target), np.nan)]
        domain = np.repeat([1, -1], [len(X_source), len(X_target)])
        model = KMM(LinearRegression()).fit(X, y, sample_domain=domain)
        true = LinearRegression().fit(X_source, y_source, sample_weight=ratio)
        plain = LinearRegression().fit(X_source, y_source)
        errors.append(
            [
                np.mean((m.predict(X_target) - curve(X_target)) ** 2)
                for m in (model, true, plain)
            ]
        )
    kmm, true, plain = np.mean(errors, axis=0)
    assert kmm < 1.1 * true
    assert kmm < 0.5 * plain


def test_the_learner_sees_the_weights_and_the_labeled_target_rows(rng):
    X = rng.normal(size=(40, 2))
    y = rng.normal(size=40)
    y[35:] = np.nan
    domain = np.tile([1, -1], 20)
    y[domain > 0] = 1.0 + X[domain > 0, 0]
    model = KMM(Ridge(), target_weight=2.5).fit(X, y, sample_domain=domain)
    weights = kmm_weights(X[domain > 0], X[domain < 0])
    np.testing.assert_allclose(model.sample_weight_, weights, rtol=1e-6, atol=1e-8)
    weight = np.full(40, 2.5)
    weight[domain > 0] = weights
    rows = ~np.isnan(y)
    expected = Ridge().fit(X[rows], y[rows], sample_weight=weight[rows])
    np.testing.assert_allclose(model.estimator_.coef_, expected.coef_, rtol=1e-6)


def test_bound_slack_and_tolerance_bind(rng):
    X_source, X_target, _ = _covariate_shift(2, rng, n=80)
    weights = kmm_weights(X_source, X_target, B=1.5, eps=0.01)
    assert weights.max() <= 1.5 + 1e-12
    assert abs(weights.mean() - 1) <= 0.01 + 1e-9
    loose, loose_info = kmm_weights(X_source, X_target, tol=1e-1, return_info=True)
    tight, tight_info = kmm_weights(X_source, X_target, tol=1e-9, return_info=True)
    assert tight_info.duality_gap <= 1e-9 < loose_info.duality_gap
    assert loose_info.n_iter < tight_info.n_iter
    assert np.abs(loose - tight).max() > 1e-6


def test_a_solver_that_stops_early_warns_with_its_gap(rng):
    X_source, X_target, _ = _covariate_shift(2, rng, n=80)
    with pytest.warns(ConvergenceWarning, match="duality gap of"):
        kmm_weights(X_source, X_target, max_iter=1)


def test_identical_samples_have_equal_weights(rng):
    X = rng.normal(size=(50, 3))
    weights, info = kmm_weights(X, X, tol=1e-10, return_info=True)
    K = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1))
    assert np.isfinite(K).all()
    np.testing.assert_allclose(weights, 1.0, atol=1e-3)
    assert info.kkt_residual < 1e-3


def test_a_learner_without_weights_is_refused_by_name(rng):
    model = KMM(KNeighborsRegressor())
    with pytest.raises(TypeError, match="KNeighborsRegressor"):
        model.fit(rng.normal(size=(9, 2)), np.ones(9), sample_domain=[1] * 5 + [-1] * 4)


def test_contradicting_bounds_are_refused(rng):
    X = rng.normal(size=(9, 2))
    with pytest.raises(ValueError, match=r"B=0\.5"):
        kmm_weights(X, X, B=0.5, eps=0.1)


def test_rows_of_other_width_are_refused(rng):
    with pytest.raises(ValueError, match="X_target has 3"):
        kmm_weights(rng.normal(size=(5, 2)), rng.normal(size=(5, 3)))


@pytest.mark.parametrize("regression", [False, True])
def test_grid_search_over_gamma_in_a_pipeline(regression, rng, routing):
    X = rng.normal(size=(90, 3))
    domain = np.repeat([1, -1], [60, 30])
    X[60:] += 0.5
    signal = X @ [1.0, -1.0, 0.5]
    if regression:
        y, learner, cv, scoring = signal, Ridge(), TargetKFold(3), "r2"
        y[80:] = np.nan
    else:
        y, learner, scoring = (signal > 0).astype(int), LogisticRegression(), "accuracy"
        y[80:], cv = -1, StratifiedTargetKFold(3)
    pipeline = make_pipeline(StandardScaler(), KMM(learner))
    search = GridSearchCV(
        pipeline,
        {"kmm__gamma": ["median", 0.1, 10.0]},
        cv=cv,
        scoring=scoring,
        n_jobs=2,
    )
    search.fit(X, y, sample_domain=domain)
    assert search.best_score_ > 0.7
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("solver", ["dense", "low_rank"])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
@pytest.mark.parametrize("thin", [False, True])
def test_kind_30_the_origin_of_a_feature_does_not_matter(solver, kernel, thin):
    """Offset over spread 1e8, on a grid on which the moved rows are exact."""
    rng = np.random.default_rng(0)
    X = np.round(rng.normal(size=(150, 3)) * 2**20) / 2**20
    moved = X + [1e8, 0, -3e7]
    as_rows = sparse.csr_matrix if thin else np.asarray
    kwargs = {"kernel": kernel, "solver": solver, "random_state": 0}
    plain, found = (
        kmm_weights(as_rows(rows[:100]), as_rows(rows[100:] + [0.5, 0, 0]), **kwargs)
        for rows in (X, moved)
    )
    np.testing.assert_allclose(found, plain, atol=1e-3 * plain.max())


def guarded(n=60, n_labeled=12, **params):
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + 0.5]
    y = X[:, 0] ** 2 + X[:, 1] + 0.1 * rng.normal(size=2 * n)
    y[n + n_labeled :] = np.nan
    domain = np.repeat([1, -1], n)
    return KMM(LinearRegression(), **params), X, y, domain


@pytest.mark.parametrize("solver", ["dense", "low_rank", "cvxpy"])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_guard_shares_the_kernel_and_agrees_with_plain_refits(
    solver, kernel, monkeypatch
):
    model, X, y, domain = guarded(solver=solver, kernel=kernel, gamma=0.3, tol=1e-8)
    shared = TransferGuard(model, cv=4).fit(X, y, sample_domain=domain)
    monkeypatch.delattr(KMM, "prepare_folds")
    plain = TransferGuard(model, cv=4).fit(X, y, sample_domain=domain)
    assert_allclose(shared.ntg_, plain.ntg_, rtol=2e-3, atol=1e-6)
    assert_allclose(shared.weights_, plain.weights_, atol=2e-3)
    weights = shared.transfer_.sample_weight_, plain.transfer_.sample_weight_
    assert_array_equal(*weights)


def test_guard_evaluates_the_kernel_of_the_sources_once(monkeypatch):
    calls = {"source": 0, "between": 0}

    def kernel_matrix(X, *args, **options):
        calls["source"] += 1
        return original_matrix(X, *args, **options)

    def kernel_row_means(X, Y, **options):
        calls["between"] += len(X) * len(Y)
        return original_means(X, Y, **options)

    original_matrix = _kmm.kernel_matrix
    original_means = _kmm.kernel_row_means
    monkeypatch.setattr(_kmm, "kernel_matrix", kernel_matrix)
    monkeypatch.setattr(_kmm, "kernel_row_means", kernel_row_means)
    model, X, y, domain = guarded(n=60, n_labeled=12)
    TransferGuard(model, cv=4).fit(X, y, sample_domain=domain)
    # the target rows once, the held-out ones twice
    assert calls == {"source": 1, "between": 60 * (60 + 12)}
    cross_val_ntg(model, X, y, sample_domain=domain, cv=4)
    assert calls["source"] == 2


def test_guard_with_weights_groups_and_what_cannot_be_shared(routing):
    model, X, y, domain = guarded()
    model.estimator.set_fit_request(sample_weight=True)
    weight = np.ones(len(y))
    weight[:5] = 0.0
    y_wrong = np.where(weight > 0, y, 1e6)
    guard = TransferGuard(model.set_params(gamma=0.3), cv=4)
    some = clone(guard).fit(X, y_wrong, sample_domain=domain, sample_weight=weight)
    rest = clone(guard).fit(
        X[5:], y[5:], sample_domain=domain[5:], sample_weight=weight[5:]
    )
    assert_allclose(some.weights_, rest.weights_)
    assert_allclose(some.transfer_.sample_weight_, rest.transfer_.sample_weight_)
    # a fold that leaves source rows out has a kernel of its own
    groups = np.r_[np.arange(60), np.arange(60)]
    data = model._validate_domains(X, y, domain)
    folds = target_folds(data, 4, groups=groups, stratify=False, random_state=0)
    assert model.prepare_folds(data, folds, {}) is None
    guard.fit(X, y, sample_domain=domain, groups=groups)
    assert np.isfinite(guard.ntg_)
    with pytest.raises(ValueError, match="gamma"):
        clone(guard).set_params(estimator__gamma=-1.0).fit(X, y, sample_domain=domain)
