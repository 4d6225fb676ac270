"""UOWQ: weights by the algebra, limits, penalties, source models, fallbacks."""

import numpy as np
import pytest
from joblib import parallel_backend
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sktransfer import _learners
from sktransfer.multisource import (
    UOWQ,
    Likelihood,
    _weighted_likelihood,
    register_likelihood,
    uowq_weights,
)
from sktransfer.multisource._row_space import RowSpace


def regression_data(seed=0, n_target=30, n_source=100, shifts=(0.0, 0.5, 5.0), d=3):
    rng = np.random.default_rng(seed)
    X, y, domain = [], [], []
    for k, shift in enumerate((None, *shifts)):
        n = n_target if shift is None else n_source
        A = rng.normal(size=(n, d))
        X.append(A)
        y.append(A @ np.ones(d) + (shift or 0.0) * A[:, 0] + rng.normal(size=n))
        domain.append(np.full(n, k or -1))
    return np.concatenate(X), np.concatenate(y), np.concatenate(domain)


def class_data(seed=0, n_classes=2, **sizes):
    X, score, domain = regression_data(seed, **sizes)
    return X, np.digitize(score, [0.0] if n_classes == 2 else [-1.0, 1.0]), domain


CASES = [
    (LinearRegression(), regression_data),
    (Ridge(1.0), regression_data),
    (LogisticRegression(), class_data),
    (LogisticRegression(), lambda **k: class_data(n_classes=3, **k)),
]


def test_weights_of_least_squares_are_those_of_uowq_weights():
    X, y, domain = regression_data()
    T = domain == -1
    params, sizes = [], []
    for k in (-1, 1, 2, 3):
        model = LinearRegression().fit(X[domain == k], y[domain == k])
        params.append(np.append(model.coef_, model.intercept_))
        sizes.append(np.sum(domain == k))
    A = np.column_stack([X[T], np.ones(T.sum())])
    noise = np.sum((y[T] - A @ params[0]) ** 2) / (T.sum() - 4)
    for correction in (False, True):
        expected = uowq_weights(
            target_params=params[0],
            source_params=params[1:],
            n_target=sizes[0],
            source_sizes=sizes[1:],
            fisher=A.T @ A / T.sum() / noise,
            noise_correction=correction,
        )
        model = UOWQ(
            LinearRegression(), noise_correction=correction, weighting="static"
        )
        model.fit(X, y, sample_domain=domain)
        np.testing.assert_allclose(model.source_weights_, expected.weights, rtol=1e-6)
        assert model.kl_path_[:2] == pytest.approx(
            [expected.kl_target_only, expected.kl]
        )
        assert model.n_parameters_ == 4
        weights = np.ones(len(y))
        for k, w in zip((1, 2, 3), expected.weights, strict=True):
            weights[domain == k] = w
        fit = LinearRegression().fit(X, y, sample_weight=weights)
        np.testing.assert_allclose(model.estimator_.coef_, fit.coef_, rtol=1e-6)


@pytest.mark.parametrize(("learner", "make"), CASES)
@pytest.mark.parametrize("weighting", ["static", "dynamic"])
@pytest.mark.parametrize("correction", [False, True])
def test_near_sources_count_and_far_ones_do_not(learner, make, weighting, correction):
    X, y, domain = make(n_target=60, n_source=300, shifts=(0.0, 20.0))
    model = UOWQ(
        learner, weighting=weighting, noise_correction=correction, max_iter=200
    )
    model.fit(X, y, sample_domain=domain)
    near, far = model.source_weights_
    assert near > 3 * far
    assert model.kl_path_[-1] < model.kl_path_[0]
    assert model.source_proportions_.sum() == pytest.approx(1)
    assert model.n_iter_ == len(model.kl_path_) - 1


@pytest.mark.parametrize(("learner", "make"), CASES)
def test_copy_of_the_target_as_source_gets_weight_one(learner, make):
    X, y, domain = make(shifts=())
    X, y = np.vstack([X, X]), np.concatenate([y, y])
    domain = np.concatenate([domain, np.ones_like(domain)])
    for correction, weighting in ((False, "static"), (True, "dynamic")):
        model = UOWQ(learner, noise_correction=correction, weighting=weighting)
        model.fit(X, y, sample_domain=domain)
        np.testing.assert_allclose(model.source_weights_, [1.0], atol=1e-6)


def test_halving_a_source_raises_its_weight():
    X, y, domain = regression_data(shifts=(1.0,), n_source=400)
    full = UOWQ(LinearRegression()).fit(X, y, sample_domain=domain)
    keep = np.ones(len(y), dtype=bool)
    keep[np.flatnonzero(domain == 1)[::2]] = False
    half = UOWQ(LinearRegression()).fit(X[keep], y[keep], sample_domain=domain[keep])
    assert half.source_weights_[0] > 1.3 * full.source_weights_[0]


def test_a_penalty_does_not_push_a_large_source_away():
    """A large source is shrunk less; that alone must not look like a discrepancy."""
    X, y, domain = regression_data(n_target=2000, n_source=20_000, shifts=(0.0,))
    model = UOWQ(Ridge(2000.0)).fit(X, y, sample_domain=domain)
    assert model.transfer_quantity_ > 1000
    T = domain == -1
    source = Ridge(2000.0).fit(X[~T], y[~T])
    target = Ridge(2000.0).fit(X[T], y[T])
    naive = uowq_weights(
        target_params=target.coef_,
        source_params=[source.coef_],
        n_target=2000,
        source_sizes=[20_000],
        fisher=X[T].T @ X[T] / 2000,
        noise_correction=True,
    )
    assert naive.transfer_quantity < 20


def test_interpolating_target_fit_does_not_trust_every_source():
    """The empirical information vanishes here, and all weights would be 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(220, 2))
    domain = np.repeat([1, -1], [200, 20])
    y = (X[:, 0] > 0).astype(int)
    y[domain == 1] = (X[domain == 1, 0] < 0).astype(int)
    model = UOWQ(LogisticRegression(C=1e4, max_iter=1000))
    model.fit(X, y, sample_domain=domain)
    assert model.estimator_.score(X[domain == -1], y[domain == -1]) > 0.9
    assert model.source_weights_[0] < 0.05


def test_dynamic_reports_that_it_did_not_settle():
    X, y, domain = class_data(shifts=(0.5, 1.0))
    model = UOWQ(LogisticRegression(), max_iter=2, tol=0.0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        model.fit(X, y, sample_domain=domain)


def test_poisson_regression():
    weights = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(330, 2))
        domain = np.repeat([1, 2, -1], [150, 150, 30])
        slope = np.where(domain == 2, -1.0, 0.5)
        y = rng.poisson(np.exp(slope * X[:, 0])).astype(float)
        model = UOWQ(PoissonRegressor(alpha=1e-3)).fit(X, y, sample_domain=domain)
        weights.append(model.source_weights_)
    near, far = np.mean(weights, axis=0)
    assert near > 10 * far


class _Gamma(Likelihood):
    def parameters(self, model):
        return np.append(model.coef_, model.intercept_)

    def scores(self, model, X, y):
        residual = y / model.predict(X) - 1
        return residual[:, None] * np.column_stack([X, np.ones(len(X))])


class ScoredGamma(GammaRegressor):
    """Of its own, since what is registered stays for all other tests."""


def test_registered_learner_uses_held_out_scores():
    register_likelihood(ScoredGamma, _Gamma())
    rng = np.random.default_rng(0)
    X = rng.normal(size=(340, 2))
    domain = np.repeat([1, 2, -1], [150, 150, 40])
    mean = np.exp(np.where(domain == 2, -1.0, 1.0) * X[:, 0])
    y = mean * rng.gamma(2.0, 0.5, size=340)
    model = UOWQ(ScoredGamma(alpha=1e-3), min_gain=None)
    model.fit(X, y, sample_domain=domain)
    assert model.source_weights_[0] > 5 * model.source_weights_[1]
    shuffle = rng.permutation(340)
    again = UOWQ(ScoredGamma(alpha=1e-3), min_gain=None).fit(
        X[shuffle], y[shuffle], sample_domain=domain[shuffle]
    )
    np.testing.assert_allclose(again.source_weights_, model.source_weights_, rtol=1e-3)
    model = UOWQ(ScoredGamma(alpha=1e-3)).fit(X, y, sample_domain=domain)
    assert 0 <= model.scale_ <= 1


def test_parallel_fits_change_nothing():
    X, y, domain = regression_data()
    one = UOWQ(Ridge()).fit(X, y, sample_domain=domain)
    with parallel_backend("threading", n_jobs=2):
        two = UOWQ(Ridge(), n_jobs=2).fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(one.source_weights_, two.source_weights_, rtol=1e-9)


@pytest.mark.parametrize(("learner", "make"), CASES)
def test_source_models_average_the_parameters(learner, make):
    X, y, domain = make(shifts=(0.1, 10.0))
    T = domain == -1
    sources = [
        FrozenEstimator(clone(learner).fit(X[domain == k], y[domain == k]))
        for k in (1, 2)
    ]
    model = UOWQ(learner, source_models=sources, source_sizes=[100, 100])
    clone(model).fit(X[T], y[T])
    model.fit(X[T], y[T])
    target = clone(learner).fit(X[T], y[T])
    w = model.source_weights_ * 100
    expected = 30 * target.coef_ + sum(
        wk * s.estimator.coef_ for wk, s in zip(w, sources, strict=True)
    )
    np.testing.assert_allclose(model.estimator_.coef_, expected / (30 + w.sum()))
    assert w[0] > w[1]
    alone = model.without_sources()
    assert alone.source_models is None
    np.testing.assert_allclose(alone.fit(X[T], y[T]).estimator_.coef_, target.coef_)


def test_source_models_equal_rows_for_equal_designs():
    """Orthonormal designs, no noise estimate in the way: averaging is exact."""
    rng = np.random.default_rng(0)
    X = np.vstack([np.eye(4)] * 30)
    y = X @ np.arange(4) + rng.normal(size=120)
    domain = np.repeat([1, 2, -1], 40)
    rows = UOWQ(LinearRegression(fit_intercept=False)).fit(X, y, sample_domain=domain)
    models = [
        FrozenEstimator(
            LinearRegression(fit_intercept=False).fit(X[domain == k], y[domain == k])
        )
        for k in (1, 2)
    ]
    free = UOWQ(
        LinearRegression(fit_intercept=False),
        source_models=models,
        source_sizes=[40, 40],
    ).fit(X[domain == -1], y[domain == -1])
    np.testing.assert_allclose(free.source_weights_, rows.source_weights_)
    np.testing.assert_allclose(free.estimator_.coef_, rows.estimator_.coef_)


def test_bad_source_models():
    X, y, domain = regression_data()
    T = domain == -1
    fitted = Ridge().fit(X[T], y[T])
    with pytest.raises(ValueError, match="source_sizes"):
        UOWQ(Ridge(), source_models=[fitted]).fit(X[T], y[T])
    with pytest.raises(ValueError, match="Give one of the two"):
        UOWQ(Ridge(), source_models=[fitted], source_sizes=[9]).fit(
            X, y, sample_domain=domain
        )
    with pytest.raises(NotFittedError):
        UOWQ(Ridge(), source_models=[Ridge()], source_sizes=[9]).fit(X[T], y[T])
    with pytest.raises(ValueError, match=r"source_models\[0\].* fitted on 2 features"):
        narrow = Ridge().fit(X[T, :2], y[T])
        UOWQ(Ridge(), source_models=[narrow], source_sizes=[9]).fit(X[T], y[T])
    with pytest.raises(ValueError, match="are not those of Ridge"):
        poisson = PoissonRegressor().fit(X[T], abs(y[T]))
        UOWQ(Ridge(), source_models=[poisson], source_sizes=[9]).fit(X[T], y[T])
    with pytest.warns(UserWarning, match="its weight is 0"):
        other = LogisticRegression().fit(X[T], np.where(y[T] > 0, "a", "b"))
        labels = np.where(y[T] > 0, "a", "c")
        model = UOWQ(LogisticRegression(), source_models=[other], source_sizes=[9])
        assert model.fit(X[T], labels).source_weights_[0] == 0


def test_learner_without_likelihood_is_refused_before_fitting():
    X, y, domain = class_data()
    with pytest.raises(TypeError, match="no registered likelihood"):
        UOWQ(RandomForestClassifier()).fit(X, y, sample_domain=domain)


def test_source_without_a_class_of_the_target():
    X, y, domain = class_data(n_classes=3)
    y[(domain == 2) & (y == 2)] = 0
    with pytest.warns(UserWarning, match=r"Source 2 has no row of the classes \[2\]"):
        model = UOWQ(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert model.source_weights_[1] == 0
    assert model.source_weights_[0] > 0


def test_target_without_a_class_of_the_sources():
    X, y, domain = class_data(n_classes=3)
    keep = ~((domain == -1) & (y == 2))
    with pytest.warns(UserWarning, match=r"No labeled target row .* \[2\]"):
        model = UOWQ(LogisticRegression()).fit(
            X[keep], y[keep], sample_domain=domain[keep]
        )
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.source_weights_[0] > 0


def test_target_of_one_class_is_refused():
    X, y, domain = class_data()
    y[domain == -1] = 1
    with pytest.raises(ValueError, match="hold one class"):
        UOWQ(LogisticRegression()).fit(X, y, sample_domain=domain)


def test_source_of_one_row():
    X, y, domain = regression_data(n_source=60, shifts=(0.0, 0.0))
    keep = domain != 2
    keep[np.flatnonzero(domain == 2)[0]] = True
    model = UOWQ(Ridge()).fit(X[keep], y[keep], sample_domain=domain[keep])
    assert np.isfinite(model.source_weights_).all()
    assert model.source_proportions_[1] < 0.1
    X, y, domain = class_data(n_source=60, shifts=(0.0, 0.0))
    with pytest.warns(UserWarning, match="Source 2 has no row of the classes"):
        model = UOWQ(LogisticRegression()).fit(
            X[keep], y[keep], sample_domain=domain[keep]
        )
    assert model.source_weights_[1] == 0


def test_no_source_is_the_fit_on_the_target():
    X, y, _ = regression_data(shifts=())
    model = UOWQ(Ridge()).fit(X, y)
    assert model.source_weights_.shape == (0,)
    assert model.n_iter_ == 1
    np.testing.assert_allclose(model.predict(X), Ridge().fit(X, y).predict(X))


def test_singular_information_counts_what_the_target_determines():
    X, y, domain = regression_data(n_target=20)
    X = np.column_stack([X, X[:, 0]])  # a copied column
    model = UOWQ(LinearRegression()).fit(X, y, sample_domain=domain)
    assert model.n_parameters_ == 4
    assert np.isfinite(model.source_weights_).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_features_are_fitted_in_the_space_of_the_samples(
    n_classes, weighted, monkeypatch
):
    X, y, domain = class_data(n_classes=n_classes, n_target=20, n_source=30, d=200)
    y = np.array(["a", "b", "c"])[y]
    learner, extra = LogisticRegression(max_iter=1000), {}
    if weighted:
        extra = {"sample_weight": np.random.default_rng(0).uniform(0.5, 2, len(y))}
    fits = []

    def fit_learner(*args, **params):
        fits.append(args)
        return _learners.fit_learner(*args, **params)

    monkeypatch.setattr(_weighted_likelihood, "fit_learner", fit_learner)
    with config_context(enable_metadata_routing=True):
        learner.set_fit_request(sample_weight=True)
        fast = UOWQ(learner).fit(X, y, sample_domain=domain, **extra)
        assert not fits
        monkeypatch.setattr(RowSpace, "fit", lambda *args: None)
        slow = UOWQ(learner).fit(X, y, sample_domain=domain, **extra)
    assert fits
    assert_allclose(fast.source_weights_, slow.source_weights_, atol=1e-6)
    assert_allclose(fast.predict_proba(X), slow.predict_proba(X), atol=1e-7)
    for name in ("classes_", "n_iter_", "n_features_in_"):
        assert np.all(getattr(fast.estimator_, name) == getattr(slow.estimator_, name))
    # what has no such space has fits of the learner
    for other, table in (
        (LogisticRegression(solver="newton-cg"), X),
        (LogisticRegression(), X.astype(np.float32)),
        (LogisticRegression(class_weight="balanced"), X),
    ):
        space = RowSpace(other, table, y)
        assert not space.usable and space.fit(domain > 0, np.ones(90)) is None


def test_many_features_are_refused_and_warned_of_as_by_the_learner():
    X, y, domain = class_data(n_target=20, n_source=30, d=200)
    for name, value in {"tol": None, "max_iter": "a", "fit_intercept": "no"}.items():
        learner = LogisticRegression(**{name: value})
        with pytest.raises(ValueError, match=f"The '{name}' parameter of Logistic"):
            UOWQ(learner).fit(X, y, sample_domain=domain)
    with pytest.warns(FutureWarning, match="'penalty' was deprecated"):
        UOWQ(LogisticRegression(penalty="l2")).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="Unknown label type"):
        UOWQ(LogisticRegression()).fit(X, y + 0.5, sample_domain=domain)
