import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

from sktransfer._solvers.simplex_qp import SimplexQPInfo
from sktransfer.base import without_sources
from sktransfer.datasets import make_concept_shift
from sktransfer.hypothesis import SecureLogistic, SecureRLS


class Constant:
    """A model that can only predict, as a foreign library's might."""

    def __init__(self, value):
        self.value = value

    def predict(self, X):
        return np.full((len(X), *np.shape(self.value)), self.value, dtype=float)


class Linear:
    def __init__(self, coef):
        self.coef = np.asarray(coef, dtype=float)

    def predict(self, X):
        return np.asarray(X) @ self.coef.T


@pytest.fixture
def target():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4))
    return X, X @ [1.0, -2.0, 0.5, 3.0] + 5 + 0.3 * rng.normal(size=20)


@pytest.fixture
def query():
    return np.random.default_rng(1).normal(size=(50, 4))


SLOPE = Linear([0.8, -2.2, 0.0, 2.0])


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
def test_without_source_and_bound_is_sklearn_ridge(target, query, alpha, fit_intercept):
    X, y = target
    ridge = Ridge(alpha=len(y) * alpha, fit_intercept=fit_intercept).fit(X, y)
    model = SecureRLS(alpha=alpha, truncation=None, fit_intercept=fit_intercept)
    model.fit(X, y)
    assert_allclose(model.predict(query), ridge.predict(query), rtol=1e-10)
    assert_allclose(model.coef_, ridge.coef_, rtol=1e-9)
    zero = SecureRLS(
        Constant(0.0), alpha=alpha, truncation=None, fit_intercept=fit_intercept
    ).fit(X, y)
    assert_allclose(zero.predict(query), ridge.predict(query), rtol=1e-10)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_infinite_bound_is_biased_least_squares(target, query, fit_intercept):
    """One source at weight 1: ridge of the residuals, added to the source."""
    X, y = target
    ridge = Ridge(alpha=len(y) * 0.3, fit_intercept=fit_intercept)
    ridge.fit(X, y - SLOPE.predict(X))
    expected = ridge.predict(query) + SLOPE.predict(query)
    for bound in [None, 1e6]:
        model = SecureRLS(
            SLOPE,
            alpha=0.3,
            truncation=bound,
            source_weights="uniform",
            fit_intercept=fit_intercept,
        ).fit(X, y)
        assert_allclose(model.predict(query), expected, rtol=1e-10)


@pytest.mark.parametrize("setting", [{"alpha": 1e12}, {"truncation": 1e-12}])
def test_infinite_penalty_or_no_room_leaves_the_source(target, query, setting):
    X, y = target
    plain = SecureRLS(
        SLOPE, source_weights="uniform", fit_intercept=False, **setting
    ).fit(X, y)
    assert_allclose(plain.predict(query), SLOPE.predict(query), rtol=1e-9, atol=1e-9)
    shifted = SecureRLS(SLOPE, source_weights="uniform", **setting).fit(X, y)
    shift = np.mean(y - SLOPE.predict(X))
    assert_allclose(shifted.intercept_, shift)
    assert_allclose(
        shifted.predict(query), SLOPE.predict(query) + shift, rtol=1e-9, atol=1e-9
    )


def test_first_order_condition_of_the_stated_objective(target):
    X, y = target
    model = SecureRLS(SLOPE, alpha=0.2, truncation=None).fit(X, y)
    residual = y - model.source_weights_[0] * SLOPE.predict(X)
    centered = X - X.mean(axis=0)
    error = centered @ model.coef_ - (residual - residual.mean())
    gradient = 2 * centered.T @ error / len(y) + 2 * 0.2 * model.coef_
    assert_allclose(gradient, 0, atol=1e-12)
    assert_allclose(model.center_, X.mean(axis=0))


def test_truncation_bounds_the_correction(target, query):
    X, y = target
    model = SecureRLS(SLOPE, alpha=1e-3, truncation=0.4).fit(X, y)
    source = model.source_weights_[0] * SLOPE.predict(10 * query)
    correction = model.predict(10 * query) - source - model.intercept_
    assert_allclose(np.abs(correction).max(), 0.4)  # it is active here
    assert model.truncation_ == 0.4


def test_auto_truncation_is_the_best_multiple_by_leave_one_out():
    """Brute force over refits: each takes the multiple of its own residuals."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(12, 8))
    y = SLOPE.predict(X[:, :4]) + rng.normal(size=12)
    source = Linear(np.r_[SLOPE.coef, np.zeros(4)])
    options = {"source_weights": "uniform"}
    n, alpha, rows = len(y), 0.01, np.arange(12)
    errors = {}
    for multiple in [np.inf, 2.0, 1.0, 0.5, 0.25]:
        left_out = np.empty(n)
        for i in rows:
            rest, r = rows != i, (y - source.predict(X))[rows != i]
            bound = multiple * np.abs(r - r.mean()).max()
            bound = bound if np.isfinite(bound) else None
            refit = SecureRLS(
                source, alpha=alpha * n / (n - 1), truncation=bound, **options
            )
            left_out[i] = refit.fit(X[rest], y[rest]).predict(X[[i]])[0]
        errors[multiple] = np.mean((left_out - y) ** 2)
    best = min(errors, key=errors.get)
    assert best < 1  # so the rule is put to a test
    residual = y - source.predict(X)
    model = SecureRLS(source, alpha=alpha, **options).fit(X, y)
    assert_allclose(model.truncation_, best * np.abs(residual - residual.mean()).max())
    assert_allclose(model.selection_error_, errors[best])


def test_auto_truncation_takes_an_exact_source_as_it_is(target, query):
    X, _ = target
    model = SecureRLS(SLOPE, source_weights="uniform").fit(X, SLOPE.predict(X))
    assert_allclose(model.predict(query), SLOPE.predict(query))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("bound", [None, 1.0])
def test_leave_one_out_is_exact(target, bound, fit_intercept):
    """Against refits with the absolute penalty n * alpha kept."""
    X, y = target
    n, alpha = len(y), 0.05
    options = {"truncation": bound, "fit_intercept": fit_intercept}
    source = SLOPE
    model = SecureRLS(source, alpha=alpha, source_weights="uniform", **options)
    model.fit(X, y)
    expected = np.empty(n)
    for i in range(n):
        rest = np.arange(n) != i
        refit = SecureRLS(
            source, alpha=alpha * n / (n - 1), source_weights="uniform", **options
        )
        expected[i] = refit.fit(X[rest], y[rest]).predict(X[[i]])[0]
    assert_allclose(model.loo_predictions_, expected, rtol=1e-9)
    assert_allclose(model.loo_error_, np.mean((y - expected) ** 2))


def test_weights_minimize_the_leave_one_out_error(target):
    """That error plus, with 1/n of the weight, the distance from equal weights."""
    X, y = target
    n = len(y)
    models = [SLOPE, Linear([-1.0, 1, 1, 0]), Constant(3.0)]
    fitted = SecureRLS(models, alpha=0.5, truncation=None).fit(X, y)
    assert (fitted.source_weights_ >= 0).all()
    assert fitted.source_weights_.sum() <= 1 + 1e-12
    ridge = Ridge(alpha=n * 0.5)
    hat = np.column_stack([ridge.fit(X, e).predict(X) for e in np.eye(n)])

    def left_out(beta):
        source = sum(b * m.predict(X) for b, m in zip(beta, models, strict=True))
        residual = y - source
        return (residual - hat @ residual) / (1 - np.diag(hat))

    def criterion(beta):
        to_equal = left_out(beta) - left_out([1 / 3] * 3)
        own = np.mean(left_out(beta) ** 2)
        return (1 - 1 / n) * own + np.mean(to_equal**2) / n

    best = fitted.source_weights_
    assert_allclose(fitted.selection_error_, np.mean(left_out(best) ** 2))
    rng = np.random.default_rng(0)
    for beta in rng.dirichlet(np.ones(4), 30)[:, :3]:
        assert criterion(beta) >= criterion(best) - 1e-12
    near = best + 1e-3 * rng.normal(size=(30, 3))
    for beta in near[(near >= 0).all(axis=1) & (near.sum(axis=1) <= 1)]:
        assert criterion(beta) >= criterion(best) - 1e-12


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n", [2, 3, 4, 9])
def test_left_out_predictions_make_every_choice_anew(n, fit_intercept):
    """Against refits that choose weights, penalty and bound without the row."""
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 6))
    Y = SLOPE.predict(X[:, :4])[:, None] + rng.normal(size=(n, 2))
    coef = np.zeros((2, 6))
    coef[:, :4] = SLOPE.coef
    models = [Linear(coef), Linear(-coef + 0.5), Linear(0.3 * coef)]
    grid = np.array([0.01, 0.3, 5.0])
    for y, sources in ((Y, models), (Y[:, 0], [Linear(coef[0]), Constant(2.0)])):
        fit = SecureRLS(sources, alphas=grid, fit_intercept=fit_intercept).fit(X, y)
        expected = []
        for i in range(n):
            rest = np.arange(n) != i
            refit = clone(fit).set_params(alphas=grid * n / (n - 1))
            expected.append(refit.fit(X[rest], y[rest]).predict(X[[i]])[0])
        assert_allclose(fit.loo_predictions_, expected, rtol=1e-7, atol=1e-9)
        assert_allclose(fit.loo_error_, np.mean((y - np.array(expected)) ** 2))


def test_left_out_error_of_a_few_rows_is_honest():
    """On average it is the error of the fit on one row less (1.27 for 2.51 before)."""
    claimed, true, optimistic = [], [], []
    for seed in range(80):
        data = make_concept_shift(
            shift=[1.0, 1.5], n_labeled=4, n_unlabeled=0, n_test=200, random_state=seed
        )
        fit = SecureRLS().fit(data.X, data.y, data.sample_domain)
        rest = np.arange(len(data.y)) != np.flatnonzero(data.sample_domain < 0)[0]
        smaller = SecureRLS(alpha=4 / 3).fit(
            data.X[rest], data.y[rest], data.sample_domain[rest]
        )
        claimed.append(fit.loo_error_)
        optimistic.append(fit.selection_error_)
        true.append(np.mean((smaller.predict(data.X_test) - data.y_test) ** 2))
    gap = np.array(claimed) - np.array(true)
    assert abs(gap.mean()) < 2.5 * gap.std() / np.sqrt(len(gap))
    assert np.mean(optimistic) < 0.8 * np.mean(true)


def test_alphas_select_by_leave_one_out(target):
    X, y = target
    grid = [1e-4, 1e-2, 1.0, 100.0]
    errors = [SecureRLS(SLOPE, alpha=a).fit(X, y).selection_error_ for a in grid]
    model = SecureRLS(SLOPE, alphas=grid).fit(X, y)
    assert model.alpha_ == grid[int(np.argmin(errors))]
    assert_allclose(model.selection_error_, min(errors))
    constant = SecureRLS(alphas=grid).fit(X, np.ones(len(y)))
    assert constant.alpha_ == 100.0  # of equal errors the largest penalty


def test_multi_output_is_one_problem_per_output_for_given_weights(target, query):
    X, y = target
    Y = np.column_stack([y, -3 * X[:, 0] + 1])
    coef = np.array([SLOPE.coef, [-2.0, 0.5, 0, 0]])
    joint = SecureRLS(Linear(coef), alpha=0.1, source_weights="uniform").fit(X, Y)
    assert joint.coef_.shape == (2, 4)
    assert joint.loo_predictions_.shape == Y.shape
    for j in range(2):
        alone = SecureRLS(Linear(coef[j]), alpha=0.1, source_weights="uniform")
        alone.fit(X, Y[:, j])
        assert_allclose(joint.predict(query)[:, j], alone.predict(query))
        assert_allclose(joint.truncation_[j], alone.truncation_)
        assert_allclose(joint.loo_predictions_[:, j], alone.loo_predictions_)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_sparse_rows_equal_dense_rows(target, query, fit_intercept):
    X, y = target
    X = np.where(X > 0, X, 0)
    model = SecureRLS(alpha=0.1, fit_intercept=fit_intercept)
    dense = clone(model).fit(X, y)
    thin = clone(model).fit(sparse.csr_array(X), y)
    assert_allclose(thin.coef_, dense.coef_, rtol=1e-8)
    assert_allclose(thin.predict(sparse.csr_array(query)), dense.predict(query))
    assert_allclose(thin.loo_predictions_, dense.loo_predictions_, atol=1e-12)


def test_more_features_than_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 30)), rng.normal(size=6)
    model = SecureRLS(alpha=0.01, truncation=None).fit(X, y)
    ridge = Ridge(alpha=0.06).fit(X, y)
    assert_allclose(model.coef_, ridge.coef_, rtol=1e-8, atol=1e-12)


def test_one_labeled_row_shifts_the_mean_of_the_sources(query):
    """Nothing can be left out of one row, so it chooses nothing."""
    y = SLOPE.predict(query[:1]) + 0.25
    model = SecureRLS([SLOPE, Constant(3.0)], alphas=[0.1, 10.0]).fit(query[:1], y)
    assert_array_equal(model.coef_, 0)
    assert_array_equal(model.source_weights_, [0.5, 0.5])
    mean = (SLOPE.predict(query[:1]) + 3.0) / 2
    assert_allclose(model.loo_predictions_, mean)
    assert_allclose(model.intercept_, y[0] - mean[0])
    assert model.alpha_ == 10.0


def test_one_labeled_row_does_not_choose_the_weights_in_sample():
    """A close source: the risk was .5, chosen on the row that the shift then fits."""
    risks = []
    for seed in range(100):
        data = make_concept_shift(
            shift=0.1, n_labeled=1, n_unlabeled=0, random_state=seed
        )
        model = SecureRLS().fit(data.X, data.y, data.sample_domain)
        truth = data.X_test @ data.coef[-1]
        risks.append(np.mean((model.predict(data.X_test) - truth) ** 2))
    # noise^2 and shift^2 of the row, and shift^2 of the rule
    assert np.mean(risks) < 2 * (0.3**2 + 2 * 0.1**2)


def mean_errors(shift, seeds=20):
    """Mean excess test errors of (secure, target alone, pooled, source alone)."""
    errors = []
    for seed in range(seeds):
        data = make_concept_shift(shift=shift, n_unlabeled=0, random_state=seed)
        X, y, own = data.X, data.y, data.sample_domain < 0
        alone = SecureRLS(alphas=np.logspace(-2, 2, 9), truncation=None)  # ridge
        fits = [
            clone(alone).set_params(truncation="auto").fit(X, y, data.sample_domain),
            clone(alone).fit(X[own], y[own]),
            clone(alone).fit(X, y),
            clone(alone).fit(X[~own], y[~own]),
        ]
        truth = data.X_test @ data.coef[-1]
        errors.append([np.mean((f.predict(data.X_test) - truth) ** 2) for f in fits])
    return np.mean(errors, axis=0)


def test_unrelated_source_does_not_hurt():
    """A rule at distance 2 from the target's, whose norm is 1."""
    secure, alone, pooled, _ = mean_errors(shift=2.0)
    assert secure < 1.2 * alone
    assert pooled > 10 * alone


def test_related_source_beats_target_and_source_alone():
    secure, alone, _, source = mean_errors(shift=0.3)
    assert secure < 0.8 * alone
    assert secure < 0.8 * source


def test_useless_source_among_several_gets_no_weight():
    data = make_concept_shift(shift=[0.1, 3.0], random_state=0)
    model = SecureRLS().fit(data.X, data.y, sample_domain=data.sample_domain)
    assert model.source_names_ == ["1", "2"]
    assert model.source_weights_[0] > 0.8
    assert model.source_weights_[1] < 0.05


def test_models_learners_and_both(target):
    X, y = target
    rows = np.concatenate([X, X + 1, X])
    labels, domain = np.concatenate([y, y, y]), np.repeat([1, 5, -1], len(y))
    fitted = LinearRegression().fit(X, y)
    model = SecureRLS([fitted, Ridge(), DecisionTreeRegressor(random_state=0)])
    model.fit(rows, labels, sample_domain=domain)
    expected = [
        "source_models[0]",
        *(f"{d} (source_models[{i}])" for i in (1, 2) for d in (1, 5)),
    ]
    assert model.source_names_ == expected
    assert model.source_models_[0] is fitted
    assert_allclose(model.source_models_[2].coef_, Ridge().fit(X + 1, y).coef_)


def test_fitted_models_need_no_source_rows_and_ignore_them(target, query):
    X, y = target
    fitted = FrozenEstimator(LinearRegression().fit(X, y))
    rows = np.concatenate([np.full_like(X, 100.0), X])
    labels, domain = np.concatenate([-y, y]), np.repeat([1, -1], len(y))
    with_rows = SecureRLS(fitted).fit(rows, labels, sample_domain=domain)
    assert_allclose(
        with_rows.predict(query), SecureRLS(fitted).fit(X, y).predict(query)
    )


@pytest.mark.parametrize("frozen", [True, False])
def test_clone_pickle_and_cross_validation_keep_fitted_models(target, frozen):
    X, y = target
    fitted = LinearRegression().fit(X, y)
    fitted = FrozenEstimator(fitted) if frozen else fitted
    for source in [fitted, [fitted, Ridge()]]:
        model = clone(SecureRLS(source, alpha=1e6)).fit(X, y)
        assert model.source_weights_[0] > 0.9
        again = pickle.loads(pickle.dumps(model))
        assert_allclose(again.predict(X), model.predict(X))
    predicted = cross_val_predict(SecureRLS(fitted, alpha=1e6), X, y)
    assert np.corrcoef(predicted, y)[0, 1] > 0.98


def test_without_sources_forgets_models_and_keeps_learners(target, query):
    X, y = target
    fitted = FrozenEstimator(LinearRegression().fit(X, y))
    assert SecureRLS(fitted, alpha=3.0).without_sources().get_params() == (
        SecureRLS(alpha=3.0).get_params()
    )
    kept = without_sources(SecureRLS([fitted, Ridge(alpha=7)])).source_models
    assert [type(m) for m in kept] == [Ridge]
    assert isinstance(SecureRLS(Ridge()).without_sources().source_models, Ridge)
    alone = without_sources(SecureRLS(fitted)).fit(X, y)
    assert_allclose(alone.predict(query), SecureRLS().fit(X, y).predict(query))
    assert alone.source_weights_.shape == (0,)


def test_source_model_gets_the_frame_it_was_fitted_on(target):
    import pandas as pd

    X, y = target
    frame = pd.DataFrame(X, columns=list("abcd"))
    first = FunctionTransformer(lambda rows: rows[["a", "d"]].to_numpy())
    source = make_pipeline(first, LinearRegression()).fit(frame, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SecureRLS(LinearRegression().fit(frame, y)).fit(frame, y)
        model.predict(frame)
        assert SecureRLS(source).fit(frame, y).predict(frame).shape == (20,)


def test_float32_is_kept(target):
    X, y = target
    model = SecureRLS(SLOPE).fit(X.astype(np.float32), y.astype(np.float32))
    assert model.coef_.dtype == np.float32
    assert model.predict(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"truncation": 0.0}, "truncation"),
        ({"truncation": -1.0}, "truncation"),
        ({"alpha": 0.0}, "alpha"),
        ({"alphas": [1.0, -1.0]}, "alphas must hold positive"),
        ({"alphas": []}, "alphas must hold positive"),
        ({"source_models": "ridge"}, "source"),
        (
            {"source_models": ["ridge"]},
            r"source_models\[0\] must be a model with predict",
        ),
        (
            {"source_models": [Ridge]},
            r"source_models\[0\] must be a model with predict",
        ),
        (
            {"source_models": LinearRegression().fit(np.eye(3), [0, 1, 2])},
            "was fitted on 3 features, but X has 4",
        ),
        (
            {"source_models": LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])},
            "is a classifier",
        ),
        ({"source_models": Constant([1.0, 2.0])}, "predicts 2 column"),
    ],
)
def test_bad_input_is_one_clear_error(target, params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        SecureRLS(**params).fit(*target)


def test_unlabeled_target_is_refused(target):
    X, y = target
    with pytest.raises(ValueError, match="labeled target rows"):
        SecureRLS().fit(X, np.r_[y[:10], np.full(10, np.nan)], np.repeat([1, -1], 10))


def test_unsolved_weights_warn_with_the_residual(target, monkeypatch):
    info = SimplexQPInfo(0.0, 0.125, 7, False)
    monkeypatch.setattr(
        "sktransfer._solvers.simplex_qp.solve_simplex_qp",
        lambda Q, c, **_: (np.full(len(c), 1 / len(c)), info),
    )
    with pytest.warns(ConvergenceWarning, match=r"residual 0\.12 after 7"):
        SecureRLS(SLOPE).fit(*target)


def test_a_source_of_one_row_is_its_label():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(21, 2)), rng.normal(size=21)
    domain = np.repeat([1, -1], [1, 20])
    model = SecureRLS().fit(X, y, sample_domain=domain)
    assert model.source_models_[0].predict(X) == pytest.approx(y[0])


@pytest.mark.parametrize("model", [SecureRLS(), SecureLogistic()])
def test_one_strength_and_candidates_exclude_each_other(model):
    X, y = np.arange(8.0)[:, None], np.tile([0.0, 1.0], 4)
    model.set_params(alpha=0.5, alphas=[0.1, 1.0])
    with pytest.raises(ValueError, match="give one of them"):
        model.fit(X, y)
