import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.stats import chi2, gamma, multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Matern,
    WhiteKernel,
)

from sktransfer.hypothesis import AdaptiveGP
from sktransfer.hypothesis._adaptive_gp import (
    _Model,
    conditional_likelihood,
    maximize_likelihood,
)

KERNEL = ConstantKernel(1.3, "fixed") * RBF(0.8, "fixed")
FIXED = {"noise": 0.05, "noise_bounds": "fixed", "normalize_y": False}


def waves(seed, shares, n_source=30, n_target=8, n_test=200):
    """Sources that share some of the target's wave; an unrelated one has share 0."""
    rng = np.random.default_rng(seed)
    sizes = [*[n_source] * len(shares), n_target + n_test]
    domain = np.repeat([*range(1, len(shares) + 1), -1], sizes)
    X = rng.uniform(-3, 3, size=(len(domain), 1))
    share = np.array([*shares, 1.0])[np.where(domain > 0, domain - 1, len(shares))]
    wave, other = np.sin(2 * X[:, 0]), np.cos(5 * X[:, 0])
    y = share * wave + (1 - np.abs(share)) * other + 0.1 * rng.normal(size=len(X))
    seen = np.arange(len(y)) < len(y) - n_test
    return X[seen], y[seen], domain[seen], X[~seen], wave[~seen]


@pytest.fixture
def problem():
    return waves(0, [1.0, 0.5], n_source=12)


def gpr(X, y):
    model = GaussianProcessRegressor(KERNEL, alpha=0.05, optimizer=None)
    return model.fit(X, y)


def assert_same_process(model, reference, X):
    for ours, theirs in zip(
        model.predict(X, return_std=True),
        reference.predict(X, return_std=True),
        strict=True,
    ):
        assert_allclose(ours, theirs, atol=1e-9)


def test_strength_one_is_the_pooled_process(problem):
    X, y, domain, X_test, _ = problem
    model = AdaptiveGP(KERNEL, transfer_strength=1.0, **FIXED)
    model.fit(X, y, sample_domain=domain)
    assert_same_process(model, gpr(X, y), X_test)
    assert_array_equal(model.transfer_strength_, [1, 1])
    assert model.n_iter_ == 0


def test_strength_zero_is_the_process_of_the_target(problem):
    X, y, domain, X_test, _ = problem
    own = domain < 0
    reference = gpr(X[own], y[own])
    model = AdaptiveGP(KERNEL, transfer_strength=0.0, **FIXED)
    model.fit(X, y, sample_domain=domain)
    assert_same_process(model, reference, X_test)
    assert_allclose(
        model.log_marginal_likelihood_, reference.log_marginal_likelihood_value_
    )
    assert_same_process(
        AdaptiveGP(KERNEL, **FIXED).fit(X[own], y[own]), reference, X_test
    )


def test_without_sources_it_learns_what_scikit_learn_learns():
    X, y, domain, X_test, _ = waves(0, [], n_target=30)
    model = AdaptiveGP(
        ConstantKernel() * RBF(), noise_bounds=(1e-5, 1e2), normalize_y=False
    )
    model.fit(X, y, sample_domain=domain)
    reference = GaussianProcessRegressor(
        ConstantKernel() * RBF() + WhiteKernel(0.1, (1e-5, 1e2)), alpha=0
    ).fit(X, y)
    assert_allclose(
        model.log_marginal_likelihood_,
        reference.log_marginal_likelihood_value_,
        rtol=1e-5,
    )
    assert_allclose(model.predict(X_test), reference.predict(X_test), atol=1e-3)
    assert_allclose(model.noise_, reference.kernel_.k2.noise_level, rtol=1e-2)


def test_strength_is_the_kernel_factor_with_rho_integrated_out():
    for b in [0.2, 1.0, 3.0]:
        law = gamma(b)  # scale mu = 1
        mean, _ = quad(
            lambda rho, law=law: (2 * np.exp(-rho) - 1) * law.pdf(rho), 0, 50
        )
        assert_allclose(2 * 2.0**-b - 1, mean, atol=1e-6)
    X, y, domain, *_ = waves(0, [1.0])
    model = AdaptiveGP(transfer_strength=-0.5).fit(X, y, sample_domain=domain)
    assert_allclose(2 * 2.0**-model.b_ - 1, -0.5)


@pytest.mark.parametrize("seed", range(5))
def test_covariance_is_positive_semidefinite(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 2))
    codes = np.repeat([0, 1, 2, 3], 10)
    for strength in [rng.uniform(-1, 1, 3), np.array([1, -1, 1.0]), np.zeros(3)]:
        model = _Model(RBF(3.0), X, np.zeros(40), codes, joint=False)
        v = np.append(strength, 1.0)
        expected = np.outer(v, v)
        np.fill_diagonal(expected, 1)
        factors = model.factors(v[codes])
        assert_array_equal(factors, expected[np.ix_(codes, codes)])
        assert np.linalg.eigvalsh(factors * RBF(3.0)(X)).min() > -1e-10


def test_conditional_likelihood_is_the_difference_of_two_gaussians():
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(7, 7)), rng.normal(size=7)
    C = A @ A.T + np.eye(7)
    joint = multivariate_normal(np.zeros(7), C).logpdf(y)
    value, _ = conditional_likelihood(C, y, 0)
    assert_allclose(-value, joint)
    given = multivariate_normal(np.zeros(4), C[:4, :4]).logpdf(y[:4])
    value, W = conditional_likelihood(C, y, 4)
    assert_allclose(-value, joint - given)
    D = rng.normal(size=(7, 7))
    D, step = D + D.T, 1e-6
    up, down = (conditional_likelihood(C + s * step * D, y, 4)[0] for s in (1, -1))
    assert_allclose(np.sum(W * D), (up - down) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("shares", [[], [1.0], [1.0, 0.3]])
def test_gradient_of_the_likelihood(shares, joint):
    X, y, domain, *_ = waves(0, shares, n_source=8)
    codes = np.where(domain > 0, domain - 1, len(shares))
    kernel = ConstantKernel() * RBF() + DotProduct() * Matern(2.0)
    model = _Model(kernel, X, y, codes, joint=joint)
    rng = np.random.default_rng(0)
    for _ in range(3):
        params = model.join(0.1, 0.4) + rng.normal(scale=0.3, size=5 + 2 * len(shares))
        exact = model.objective(params)[1]
        error = check_grad(
            lambda p: model.objective(p)[0], lambda p: model.objective(p)[1], params
        )
        assert error < 1e-5 * max(1, np.abs(exact).max())
        assert np.abs(exact).min() > 0 or not joint


def test_likelihood_of_the_target_given_the_sources(problem):
    """The fitted optimum against direct Gaussians of the stated covariance."""
    X, y, domain, *_ = problem
    model = AdaptiveGP(KERNEL, transfer_strength=0.6, **FIXED)
    model.fit(X, y, sample_domain=domain)
    v = np.where(domain > 0, 0.6, 1.0)
    K = KERNEL(X) * np.where(domain[:, None] == domain, 1, np.outer(v, v))
    K += 0.05 * np.eye(len(y))
    source = domain > 0

    def density(rows):
        K_rows = K[np.ix_(rows, rows)]
        return multivariate_normal(np.zeros(rows.sum()), K_rows).logpdf(y[rows])

    expected = density(np.ones(len(y), dtype=bool)) - density(source)
    assert_allclose(model.log_marginal_likelihood_, expected)
    joint = AdaptiveGP(KERNEL, transfer_strength=0.6, likelihood="joint", **FIXED)
    joint.fit(X, y, sample_domain=domain)
    assert_allclose(joint.log_marginal_likelihood_ - density(source), expected)


def fit_many(shares, seeds=5, n_target=8, **params):
    """Strengths of each seed; mean errors of transfer and of the target alone."""
    strengths, errors = [], []
    for seed in range(seeds):
        X, y, domain, X_test, truth = waves(seed, shares, n_target=n_target)
        own = domain < 0
        model = AdaptiveGP(**params).fit(X, y, sample_domain=domain)
        alone = AdaptiveGP(**params).fit(X[own], y[own])
        strengths.append(model.transfer_strength_)
        errors.append(
            [np.mean((m.predict(X_test) - truth) ** 2) for m in (model, alone)]
        )
    return np.array(strengths), *np.mean(errors, axis=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_related_or_opposite_source_gets_full_strength_and_helps(sign):
    strengths, transfer, alone = fit_many([float(sign)])
    assert (sign * strengths > 0.8).all()
    assert transfer < 0.3 * alone


def test_unrelated_source_is_dropped_and_does_not_hurt():
    strengths, transfer, alone = fit_many([0.0], seeds=10)
    assert np.mean(strengths == 0) >= 0.8
    assert transfer < 1.05 * alone


@pytest.mark.parametrize("likelihood", ["conditional", "joint"])
def test_related_and_unrelated_source_together(likelihood):
    strengths, transfer, alone = fit_many([1.0, 0.0], 3, likelihood=likelihood)
    assert (strengths[:, 0] > 0.8).all()
    assert np.mean(strengths[:, 1] == 0) > 0.6
    assert transfer < 0.5 * alone


def test_without_a_source_left_the_fit_is_that_of_the_target():
    X, y, domain, X_test, _ = waves(0, [0.0])
    own = domain < 0
    model = AdaptiveGP(normalize_y=False).fit(X, y, sample_domain=domain)
    alone = AdaptiveGP(normalize_y=False).fit(X[own], y[own])
    assert_array_equal(model.transfer_strength_, 0)
    assert_allclose(
        model.log_marginal_likelihood_, alone.log_marginal_likelihood_, rtol=1e-5
    )
    assert_allclose(model.predict(X_test), alone.predict(X_test), atol=1e-2)


def test_likelihood_gain_decides_who_is_dropped(problem):
    """The gain is the difference of two fits, and the test is chi-square."""
    X, y, domain, *_ = waves(5, [0.0])
    kept = AdaptiveGP(significance=1.0).fit(X, y, sample_domain=domain)
    zero = AdaptiveGP(transfer_strength=0.0).fit(X, y, sample_domain=domain)
    gain = kept.log_marginal_likelihood_ - zero.log_marginal_likelihood_
    assert_allclose(kept.likelihood_gain_, gain, atol=1e-4)
    assert np.isnan(zero.likelihood_gain_).all()
    p_value = chi2(2).sf(2 * gain)
    assert 0.01 < p_value < 0.99
    for level, dropped in [(0.9 * p_value, True), (1.1 * p_value, False)]:
        model = AdaptiveGP(significance=level).fit(X, y, sample_domain=domain)
        assert (model.transfer_strength_[0] == 0) == dropped


def test_noise_is_learned_per_domain():
    X, y, domain, *_ = waves(0, [1.0, 1.0], n_source=60)
    rng = np.random.default_rng(0)
    y = y + np.where(domain == 2, 0.5, 0.0) * rng.normal(size=len(y))
    model = AdaptiveGP(likelihood="joint").fit(X, y, sample_domain=domain)
    assert_allclose(model.source_noise_, [0.01, 0.26], rtol=0.5)


def test_normalization_ignores_offsets_of_domains_and_the_unit(problem):
    X, y, domain, X_test, _ = problem
    plain = AdaptiveGP(KERNEL).fit(X, y, sample_domain=domain)
    moved = AdaptiveGP(KERNEL).fit(X, 100 * (y + 7 * domain), sample_domain=domain)
    mean, std = plain.predict(X_test, return_std=True)
    mean_moved, std_moved = moved.predict(X_test, return_std=True)
    assert_allclose(mean_moved, 100 * (mean - 7), rtol=1e-3)
    assert_allclose(std_moved, 100 * std, rtol=1e-3)
    assert_allclose(moved.noise_, 1e4 * plain.noise_, rtol=1e-2)


def test_fixed_hyperparameters_stay(problem):
    X, y, domain, *_ = problem
    model = AdaptiveGP(KERNEL, significance=1.0, **FIXED)
    model.fit(X, y, sample_domain=domain)
    assert model.kernel_ == KERNEL
    assert_allclose([model.noise_, *model.source_noise_], 0.05)
    assert model.n_iter_ > 0  # the strengths are still learned


def test_random_starts_do_not_worsen_and_repeat(problem):
    X, y, domain, X_test, _ = problem
    plain = AdaptiveGP().fit(X, y, sample_domain=domain)
    more, again = (
        AdaptiveGP(n_restarts=2, random_state=0).fit(X, y, sample_domain=domain)
        for _ in range(2)
    )
    assert more.log_marginal_likelihood_ >= plain.log_marginal_likelihood_ - 1e-9
    assert_array_equal(more.predict(X_test), again.predict(X_test))


def test_std_returns_to_the_prior_far_away(problem):
    X, y, domain, *_ = problem
    model = AdaptiveGP(KERNEL, **FIXED).fit(X, y, sample_domain=domain)
    _, std = model.predict(np.array([[1e3]]), return_std=True)
    assert_allclose(std, np.sqrt(1.3))
    _, near = model.predict(X[domain < 0], return_std=True)
    assert (near < 0.3).all()


def test_float32_rows_give_float32_predictions(problem):
    X, y, domain, X_test, _ = problem
    model = AdaptiveGP(KERNEL, **FIXED).fit(
        X.astype(np.float32), y, sample_domain=domain
    )
    mean, std = model.predict(X_test.astype(np.float32), return_std=True)
    assert mean.dtype == std.dtype == np.float32


def test_failed_optimizer_warns_with_its_residual():
    def wrong(x):
        return float(x @ x), -2 * x - 1

    with pytest.warns(ConvergenceWarning, match="projected gradient"):
        maximize_likelihood(wrong, [np.ones(2)], np.tile([-5.0, 5.0], (2, 1)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kernel": "rbf"}, "kernel"),
        ({"noise": 0.0}, "noise"),
        ({"noise_bounds": (1.0, 0.1)}, "noise_bounds must be 'fixed' or a pair"),
        ({"noise_bounds": (0.1,)}, "noise_bounds must be 'fixed' or a pair"),
        ({"noise_bounds": (0.0, 1.0)}, "noise_bounds must be 'fixed' or a pair"),
        ({"transfer_strength": -1.0}, "transfer_strength"),
        ({"significance": 0.0}, "significance"),
        ({"transfer_strength": 1.5}, "transfer_strength"),
        ({"likelihood": "marginal"}, "likelihood"),
    ],
)
def test_bad_parameters(problem, params, message):
    X, y, domain, *_ = problem
    with pytest.raises(ValueError, match=message):
        AdaptiveGP(**params).fit(X, y, sample_domain=domain)


def test_large_domains_are_learned_from_samples_and_predicted_from_all():
    X, y, domain, X_test, truth = waves(1, [1.0, 0.0], n_source=50)
    whole = AdaptiveGP().fit(X, y, sample_domain=domain)
    assert whole.n_samples_learned_ == len(y) == 108
    part = AdaptiveGP(max_samples=48, random_state=0).fit(X, y, sample_domain=domain)
    assert part.n_samples_learned_ == 48  # 20 of each source, and the target's 8
    assert len(part.X_train_) == len(y)
    assert_allclose(part.transfer_strength_, whole.transfer_strength_, atol=0.1)
    assert np.mean((part.predict(X_test) - truth) ** 2) < 0.02
    again = AdaptiveGP(max_samples=48, random_state=0).fit(X, y, sample_domain=domain)
    assert_array_equal(again.predict(X_test), part.predict(X_test))
    given = AdaptiveGP(
        KERNEL, transfer_strength=0.5, max_samples=3, random_state=0, **FIXED
    )
    every = AdaptiveGP(KERNEL, transfer_strength=0.5, max_samples=None, **FIXED)
    assert_array_equal(
        given.fit(X, y, sample_domain=domain).predict(X_test),
        every.fit(X, y, sample_domain=domain).predict(X_test),
    )


def test_callbacks_follow_the_search(problem):
    pytest.importorskip("sklearn.callback")
    X, y, domain, *_ = problem
    ended = []

    class Log:
        def setup(self, estimator, context):
            ended.append("setup")

        def teardown(self, estimator, context):
            ended.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            ended.append(context.task_name)

    model = AdaptiveGP(significance=1e-9).set_callbacks(Log())
    model.fit(X, y, sample_domain=domain)
    # both sources are dropped: the first maximum, two rounds, the stage and the whole
    assert not model.transfer_strength_.any()
    assert ended == ["setup", *["fit"] * 3, "likelihood", "fit", "teardown"]
