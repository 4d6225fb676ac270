"""Empirical Bayes over sources: the mixed model, its limits, and the mixture."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, special, stats
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._solvers.random_effects import (
    evidence_ridge,
    fit_random_effects,
    gaussian_evidence,
    prior_precision,
    random_effects_mean,
    sam_weight,
)
from sktransfer.multisource import (
    ARMUL,
    AngleTransfer,
    EmpiricalBayesRidge,
    SourceSummary,
    summarize_source,
)

#: statsmodels 0.15.0, MixedLM on the data of ``_mixed_data``: (kind, reml) -> fixed
#: effects, variances, noise, random effects of group 0. Random slopes are uncorrelated
#: with the intercepts (``free`` has an identity as cov_re).
MIXED_LM = {
    ("intercept", True): (
        [1.0872409097, 2.0410311554], [0.7585653461], 0.2113539705, [0.6184919520],
    ),
    ("intercept", False): (
        [1.0872444556, 2.0409732005], [0.6942156506], 0.2100968093, [0.6175293790],
    ),
    ("slope", True): (
        [1.0890525149, 2.1062080611], [0.7650794013, 0.1929648626], 0.2155837276,
        [0.6353966695, 0.2728759394],
    ),
    ("slope", False): (
        [1.0891868347, 2.1060564643], [0.7001128942, 0.1760607927], 0.2155830332,
        [0.6343732137, 0.2720573241],
    ),
}  # fmt: skip


def _mixed_data(kind, n_groups=12, n=15):
    """Plain formulas, so that every version of NumPy makes the same numbers."""
    group, t = np.repeat(np.arange(n_groups), n), np.arange(n_groups * n)
    x = np.sin(1.7 * t + 0.3) * 1.5 + np.cos(0.37 * t * t)
    u = 1.2 * np.sin(2.1 * np.arange(n_groups) + 0.5)
    v = 0.8 * np.cos(3.3 * np.arange(n_groups) + 1.0)
    y = 1.0 + 2.0 * x + u[group] + 0.7 * np.sin(5.1 * t * t + 0.2 * t)
    return group, x, y + (v[group] * x if kind == "slope" else 0)


def _statistics(kind):
    group, x, y = _mixed_data(kind)
    X = np.column_stack([np.ones_like(x), x])
    parts = [(X[group == g], y[group == g]) for g in range(12)]
    grams = np.array([A.T @ A for A, _ in parts])
    vectors = np.array([np.linalg.lstsq(A, b, rcond=None)[0] for A, b in parts])
    rss = np.array(
        [((b - A @ v) ** 2).sum() for (A, b), v in zip(parts, vectors, strict=True)]
    )
    return parts, grams, vectors, rss


@pytest.mark.parametrize(("kind", "reml"), list(MIXED_LM))
def test_variances_and_predictions_are_those_of_mixed_lm(kind, reml):
    parts, grams, vectors, rss = _statistics(kind)
    free = np.array([True, kind == "slope"])
    found = fit_random_effects(
        grams, vectors, free=free, sizes=np.full(12, 15.0), rss=rss, reml=reml
    )
    fixed, variances, noise, random = MIXED_LM[kind, reml]
    assert found.converged
    np.testing.assert_allclose(found.mean, fixed, rtol=1e-4)
    np.testing.assert_allclose(found.variances[free], variances, rtol=1e-4)
    np.testing.assert_allclose(found.noise, noise, rtol=1e-4)
    # the prior from the other groups, updated by group 0, is the BLUP of group 0
    mean, S = random_effects_mean(grams[1:] / found.noise, vectors[1:], found.variances)
    P = prior_precision(S, found.variances, 1.0)
    A, b = parts[0]
    posterior = gaussian_evidence(
        grams[0], A.T @ b, b @ b, 15, found.noise, P, P @ mean
    )
    np.testing.assert_allclose(
        (posterior.mean - found.mean)[free], random, rtol=1e-4, atol=1e-4
    )


def test_random_intercept_model_of_the_estimator():
    group, x, y = _mixed_data("intercept")
    rows = np.r_[np.arange(180), np.arange(15)]  # group 0 is the target once more
    model = EmpiricalBayesRidge(
        pseudo_sources=0.0,
        noise="common",
        commensurability=1.0,
        varying="intercept",
        alpha=0.0,
    ).fit(x[rows, None], y[rows], sample_domain=np.r_[group + 1, np.full(15, -1)])
    fixed, variances, noise, _ = MIXED_LM["intercept", True]
    assert model.tau_[0] == 0
    np.testing.assert_allclose(model.tau_[1] ** 2, variances[0], rtol=1e-4)
    np.testing.assert_allclose(model.noise_, noise, rtol=1e-4)
    np.testing.assert_allclose(model.prior_coef_, fixed[1:], rtol=1e-4)
    np.testing.assert_allclose(model.prior_intercept_, fixed[0], rtol=1e-4)


@pytest.mark.parametrize("summaries", [False, True])
def test_random_slope_model_of_the_estimator(summaries):
    group, x, y = _mixed_data("slope")
    X = np.column_stack([np.ones(180), x])
    scale = np.sqrt(np.mean(np.r_[X, X[:15]] ** 2, axis=0))
    model = EmpiricalBayesRidge(
        pseudo_sources=0.0, noise="common", commensurability=1.0, fit_intercept=False
    )
    if summaries:
        plain = LinearRegression(fit_intercept=False)
        model.set_params(source_summaries=[
            summarize_source(plain, X[group == g], y[group == g]) for g in range(12)
        ])  # fmt: skip
        model.fit(X[:15], y[:15])
    else:
        rows = np.r_[np.arange(180), np.arange(15)]
        domain = np.r_[group + 1, np.full(15, -1)]
        model.fit(X[rows], y[rows], sample_domain=domain)
    fixed, variances, noise, _ = MIXED_LM["slope", True]
    np.testing.assert_allclose((model.tau_ / scale) ** 2, variances, rtol=1e-4)
    np.testing.assert_allclose(model.noise_, noise, rtol=1e-4)
    np.testing.assert_allclose(model.prior_coef_, fixed, rtol=1e-4)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("common", [True, False])
def test_gradient_of_the_likelihood(rng, reml, common):
    """The optimum has a zero gradient in every direction, also the penalized one."""
    _, grams, vectors, rss = _statistics("slope")
    options = {"sizes": np.full(12, 15.0), "rss": rss, "reml": reml, "common": common}
    for extra in ({}, {"shrink_to": 0.5, "shrinkage": 2.0}, {"boundary": 1.0}):
        found = fit_random_effects(grams, vectors, **options, **extra)
        assert found.gradient < 1e-5


def _data(rng, sizes=(40, 50, 30), n_target=20, d=3, shift=0.5):
    beta = np.array([1.0, -0.5, 0.2])[:d]
    X, y, domain = [], [], []
    for k, n in enumerate([*sizes, n_target]):
        rows = rng.normal(size=(n, d)) + 0.2 * k
        own = beta + shift * rng.normal(size=d)
        X.append(rows)
        y.append(rows @ own + 1.0 + rng.normal(size=n))
        domain.append(np.full(n, k + 1 if k < len(sizes) else -1))
    return np.concatenate(X), np.concatenate(y), np.concatenate(domain)


def test_no_variation_is_the_pooled_fit(rng):
    X, y, domain = _data(rng)
    model = EmpiricalBayesRidge(
        tau=0.0, commensurability=1.0, noise="common", alpha=0.0
    )
    model.fit(X, y, sample_domain=domain)
    pooled = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, pooled.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.intercept_, pooled.intercept_, rtol=1e-8)


def test_infinite_variation_is_the_target_alone(rng):
    X, y, domain = _data(rng)
    own = domain == -1
    model = EmpiricalBayesRidge(tau=np.inf, alpha=0.0).fit(X, y, sample_domain=domain)
    ols = LinearRegression().fit(X[own], y[own])
    np.testing.assert_allclose(model.coef_, ols.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.intercept_, ols.intercept_, rtol=1e-8)
    large = EmpiricalBayesRidge(tau=1e6, commensurability=1.0, alpha=0.0)
    large.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(large.coef_, ols.coef_, rtol=1e-6)


def test_infinite_variation_with_few_rows_is_the_target_s_ridge(rng):
    X, y, domain = _data(rng, n_target=2)
    own = domain == -1
    model = EmpiricalBayesRidge(tau=np.inf, alpha=3.0).fit(X, y, sample_domain=domain)
    scale = X.std(axis=0)
    ridge = Ridge(alpha=3.0, tol=1e-12).fit(X[own] / scale, y[own])
    np.testing.assert_allclose(model.coef_, ridge.coef_ / scale, rtol=1e-7)


def test_without_sources_it_is_ridge_by_marginal_likelihood(rng):
    X, y, domain = _data(rng)
    X, y = X[domain == -1], y[domain == -1]
    given = EmpiricalBayesRidge(alpha=2.0).fit(X, y)
    ridge = make_pipeline(StandardScaler(), Ridge(2.0)).fit(X, y)
    np.testing.assert_allclose(given.predict(X), ridge.predict(X), rtol=1e-9)
    chosen = EmpiricalBayesRidge().fit(X, y)
    rows = (X - X.mean(axis=0)) / X.std(axis=0)
    values = {}
    for alpha in 20 * np.logspace(-4, 4, 17):
        # the labels less their mean: an orthonormal basis of the contrasts
        basis = np.linalg.svd(np.ones((1, 20)))[2][1:]
        z, A = basis @ y, basis @ rows
        V = np.eye(19) + A @ A.T / alpha
        noise = z @ np.linalg.solve(V, z) / 19
        values[alpha] = stats.multivariate_normal(cov=noise * V).logpdf(z)
    assert chosen.alpha_ == pytest.approx(max(values, key=values.get))


def test_marginal_likelihood_is_that_of_the_labels(rng):
    X, y, _ = _data(rng)
    X = X[:15]
    y = y[:15]
    root = rng.normal(size=(3, 3))
    prior, mean = root @ root.T, rng.normal(size=3)
    found = gaussian_evidence(X.T @ X, X.T @ y, y @ y, 15, 0.7, prior, prior @ mean)
    covariance = 0.7 * np.eye(15) + X @ np.linalg.solve(prior, X.T)
    expected = stats.multivariate_normal(X @ mean, covariance).logpdf(y)
    assert found.log_likelihood == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(
        found.mean, np.linalg.solve(prior + X.T @ X / 0.7, prior @ mean + X.T @ y / 0.7)
    )


def test_prior_precision_is_the_inverse_where_that_exists(rng):
    root = rng.normal(size=(4, 4))
    S, T = root @ root.T, np.array([0.5, 0.0, 2.0, 0.1])
    P = prior_precision(S, T, 3.0)
    np.testing.assert_allclose(
        P, np.linalg.inv(3 * np.diag(T) + np.linalg.inv(S)), rtol=1e-8
    )
    infinite = prior_precision(S, T, np.inf)
    np.testing.assert_allclose(infinite, prior_precision(S, T, 1e12), atol=1e-8)
    singular = prior_precision(np.outer(S[0], S[0]), T, 1.0)
    assert np.linalg.matrix_rank(singular, tol=1e-10) == 1


def test_commensurability_grows_with_the_distance_of_the_target(rng):
    X, y, domain = _data(rng, sizes=(60,) * 5, n_target=40, shift=0.1)
    near = EmpiricalBayesRidge().fit(X, y, sample_domain=domain)
    far_y = np.where(domain == -1, y + 4 * X[:, 0] - 3 * X[:, 1], y)
    far = EmpiricalBayesRidge().fit(X, far_y, sample_domain=domain)
    assert far.commensurability_ > 30 * near.commensurability_
    ols = LinearRegression().fit(X[domain == -1], far_y[domain == -1])
    np.testing.assert_allclose(far.coef_, ols.coef_, atol=0.3)


def test_one_source_of_the_same_kind_helps_and_another_one_hardly_hurts():
    excess = {"same": [], "other": []}
    for seed in range(12):
        rng = np.random.RandomState(seed)
        X, X_source = rng.normal(size=(10, 5)), rng.normal(size=(100, 5))
        beta = rng.normal(size=5)
        y = X @ beta + rng.normal(size=10)
        for name, other in [("same", beta), ("other", 3 * rng.normal(size=5))]:
            y_source = X_source @ other + rng.normal(size=100)
            source = summarize_source(LinearRegression(), X_source, y_source)
            excess[name].append([
                np.sum((EmpiricalBayesRidge(s).fit(X, y).coef_ - beta) ** 2)
                for s in (source, None)
            ])  # fmt: skip
    same, other = np.mean(excess["same"], axis=0), np.mean(excess["other"], axis=0)
    assert same[0] < 0.3 * same[1]
    assert other[0] < 1.4 * other[1]


def test_summaries_and_rows_give_the_same_fit(rng):
    X, y, domain = _data(rng)
    rows = EmpiricalBayesRidge().fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(Ridge(), X[domain == k], y[domain == k]) for k in (1, 2, 3)
    ]
    own = domain == -1
    given = EmpiricalBayesRidge(summaries).fit(X[own], y[own])
    both = EmpiricalBayesRidge(summaries[1:]).fit(
        X[domain < 2], y[domain < 2], sample_domain=domain[domain < 2]
    )
    for model in (given, both):
        np.testing.assert_allclose(model.coef_, rows.coef_, rtol=1e-5)
        np.testing.assert_allclose(model.intercept_, rows.intercept_, rtol=1e-5)
    assert both.source_names_ == [
        "1", "source_summaries[0]", "source_summaries[1]",
    ]  # fmt: skip


def test_kind_30_units_do_not_matter(rng):
    X, y, domain = _data(rng)
    first = EmpiricalBayesRidge().fit(X, y, sample_domain=domain)
    second = EmpiricalBayesRidge().fit(
        X * [1e5, 1e-3, 1.0] + [2e5, 0.0, 2000.0], 7 * y + 1e4, sample_domain=domain
    )
    np.testing.assert_allclose(
        second.predict(X * [1e5, 1e-3, 1.0] + [2e5, 0.0, 2000.0]),
        7 * first.predict(X) + 1e4,
        rtol=1e-6,
    )


def test_posterior_covariance_is_that_of_least_squares_without_prior(rng):
    X, y, domain = _data(rng)
    own = domain == -1
    model = EmpiricalBayesRidge(tau=np.inf, alpha=0.0).fit(X, y, sample_domain=domain)
    design = np.column_stack([X[own], np.ones(own.sum())])
    np.testing.assert_allclose(
        model.covariance_, model.noise_ * np.linalg.inv(design.T @ design), rtol=1e-7
    )


def test_robust_mixture_stops_borrowing_under_conflict(rng):
    X, y, domain = _data(rng, shift=0.05)
    weights = []
    for conflict in (0.0, 1.0, 3.0, 10.0):
        moved = np.where(domain == -1, y + conflict * X[:, 0], y)
        model = EmpiricalBayesRidge(borrow_weight=0.5, commensurability=1.0)
        weights.append(model.fit(X, moved, sample_domain=domain).borrow_weight_)
    assert weights[0] > 0.9
    assert weights[-1] < 0.01
    assert all(np.diff(weights) < 0)


def test_mixture_is_the_average_by_bayes_rule(rng):
    X, y, domain = _data(rng)
    whole = EmpiricalBayesRidge(commensurability=1.0).fit(X, y, sample_domain=domain)
    almost = EmpiricalBayesRidge(commensurability=1.0, borrow_weight=1 - 1e-12)
    almost.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(almost.coef_, whole.coef_, rtol=1e-6)


def test_sam_weight_is_that_of_the_likelihood_ratio():
    # one mean, known noise: y ~ N(theta, 1/n)
    n, delta = 20, 0.5
    for mean, y in [(0.0, 0.1), (0.0, 0.25), (0.0, 0.9)]:
        density = [
            stats.norm(m, n**-0.5).logpdf(y) for m in (mean, mean + delta, mean - delta)
        ]
        ratio = np.exp(density[0] - max(density[1:]))
        assert sam_weight(density[0], np.array(density[1:])) == pytest.approx(
            ratio / (1 + ratio)
        )
    assert sam_weight(0.0, np.array([0.0])) == 0.5


def test_sam_in_the_estimator(rng):
    X, y, domain = _data(rng, shift=0.05)
    near = EmpiricalBayesRidge(borrow_weight="sam", sam_delta=0.5)
    near.fit(X, y, sample_domain=domain)
    assert near.borrow_weight_ > 0.5
    far = EmpiricalBayesRidge(
        borrow_weight="sam", sam_delta=0.5, commensurability=1.0
    ).fit(X, np.where(domain == -1, y + 5, y), sample_domain=domain)
    assert far.borrow_weight_ < 1e-3
    with pytest.raises(ValueError, match="sam_delta"):
        EmpiricalBayesRidge(borrow_weight="sam").fit(X, y, sample_domain=domain)


def test_constant_columns_leave_weight_and_variance(rng):
    X, y, domain = _data(rng, shift=0.05)
    wide = np.column_stack([X, np.zeros(len(X))])
    settings = {"borrow_weight": "sam", "sam_delta": 0.5, "commensurability": 1.0}
    fits = [
        EmpiricalBayesRidge(**settings).fit(rows, y, sample_domain=domain)
        for rows in (X, wide)
    ]
    assert fits[0].borrow_weight_ > 0.5
    assert fits[1].borrow_weight_ == pytest.approx(fits[0].borrow_weight_, rel=1e-4)
    # a mean alone: the spread of the intercepts is that of the sources' means
    means = EmpiricalBayesRidge(alpha=0.0).fit(
        np.zeros((len(X), 1)), y, sample_domain=domain
    )
    sources = [y[domain == k].mean() for k in np.unique(domain) if k > 0]
    assert means.tau_[-1] < 3 * np.ptp(sources)


#: Nine trials in ankylosing spondylitis, control arms: responders and patients.
#: Restated from the example of P. Yang et al., Biometrics 79(4), 2023.
TRIALS = np.array([
    (1, 6), (35, 122), (31, 104), (10, 23), (56, 153), (55, 117), (28, 76), (21, 74),
    (35, 87),
])  # fmt: skip


def _trial_summaries():
    responders, patients = TRIALS.T.astype(float)
    logit = np.log(responders / (patients - responders))
    variance = 1 / responders + 1 / (patients - responders)
    return logit, variance


def test_nine_trials_have_the_meta_analytic_prior():
    logit, variance = _trial_summaries()
    found = fit_random_effects(1 / variance[:, None, None], logit[:, None])

    def restricted(tau2):  # written out: the scalar model needs no matrices
        w = 1 / (variance + tau2)
        mean = w @ logit / w.sum()
        return np.sum(np.log(w)) - np.log(w.sum()) - w @ (logit - mean) ** 2

    grid = np.linspace(0, 0.3, 30001)
    best = grid[np.argmax([restricted(t) for t in grid])]
    assert found.variances[0] == pytest.approx(best, abs=2e-5)
    w = 1 / (variance + best)
    assert found.mean[0] == pytest.approx(w @ logit / w.sum(), abs=1e-5)
    # about 36 % respond, as in the pooled 272 of 762
    assert 1 / (1 + np.exp(-found.mean[0])) == pytest.approx(0.36, abs=0.01)


def test_nine_trials_are_borrowed_from_unless_a_new_one_conflicts():
    logit, variance = _trial_summaries()
    found = fit_random_effects(1 / variance[:, None, None], logit[:, None])
    rate = 1 / (1 + np.exp(-found.mean[0]))
    weights = []
    for responders in (11, 13, 16, 20):  # of 30 new patients
        density = stats.binom(30, [rate, rate + 0.2, rate - 0.2]).logpmf(responders)
        ratio = np.exp(density[0] - density[1:].max())
        weight = sam_weight(density[0], density[1:])
        assert weight == pytest.approx(ratio / (1 + ratio))
        weights.append(weight)
    assert weights[0] > 0.8
    assert weights[-1] < 0.1
    assert all(np.diff(weights) < 0)


#: The meta-analytic predictive prior of the nine trials as P. Yang and Y. Yuan publish
#: it with the package SAMprior (vignette "SAMprior for Binary Endpoints"): a mixture of
#: beta distributions that was fitted to draws from the posterior.
PUBLISHED_PRIOR = [(0.63, 42.5, 77.2), (0.37, 7.2, 12.4)]


def test_nine_trials_have_the_published_prior_and_weight():
    logit, variance = _trial_summaries()
    found = fit_random_effects(1 / variance[:, None, None], logit[:, None])
    spread = np.sqrt(found.variances[0] + 1 / found.mean_precision[0, 0])
    for level, margin in [(0.25, 0.01), (0.5, 0.005), (0.75, 0.01), (0.975, 0.08)]:
        # the tails of the published prior are wider: it is uncertain about tau
        rate = special.expit(found.mean[0] + spread * stats.norm.ppf(level))
        share = sum(w * stats.beta(a, b).cdf(rate) for w, a, b in PUBLISHED_PRIOR)
        assert share == pytest.approx(level, abs=0.05)
        published = optimize.brentq(
            lambda q, level=level: sum(
                w * stats.beta(a, b).cdf(q) for w, a, b in PUBLISHED_PRIOR
            ) - level, 0.01, 0.99,
        )  # fmt: skip
        assert rate == pytest.approx(published, abs=margin)
    # its example: 10 of 35 new patients respond, 0.2 is the smallest difference
    mean = sum(w * a / (a + b) for w, a, b in PUBLISHED_PRIOR)
    assert mean == pytest.approx(0.36, abs=0.001)
    for rate, margin in [(mean, 0.001), (special.expit(found.mean[0]), 0.03)]:
        density = stats.binom(35, [rate, rate + 0.2, rate - 0.2]).logpmf(10)
        weight = sam_weight(density[0], density[1:])
        # by hand: the ratio of the binomial densities at .36 and .56, over 1 plus it
        assert weight == pytest.approx(0.7906, abs=margin)


def test_evidence_ridge_of_least_norm(rng):
    X, y = rng.normal(size=(3, 5)), rng.normal(size=3)
    ridge = evidence_ridge(
        X.T @ X, X.T @ y, y @ y, 3.0, np.ones(5, dtype=bool), np.zeros(1)
    )
    np.testing.assert_allclose(ridge.coef, np.linalg.pinv(X) @ y, atol=1e-8)


def test_bad_parameters_are_one_error(rng):
    X, y, domain = _data(rng)
    for params, message in [
        ({"tau": [1.0, 2.0]}, "tau must be one number or 4"),
        ({"tau": [1.0, 2.0, np.inf, 0.0]}, "infinite for all"),
    ]:
        with pytest.raises(ValueError, match=message):
            EmpiricalBayesRidge(**params).fit(X, y, sample_domain=domain)
    nameless = SourceSummary([1.0] * 3, 0.0, covariance=np.eye(4), n=10)
    with pytest.raises(ValueError, match=r"source_summaries\[0\] has none"):
        EmpiricalBayesRidge([nameless], noise="common").fit(X, y)
    EmpiricalBayesRidge([nameless]).fit(X, y)


def test_row_of_weight_zero_is_a_removed_row(rng):
    X, y, domain = _data(rng)
    weight = np.ones(len(y))
    weight[::7] = 0
    kept = weight > 0
    one = EmpiricalBayesRidge().fit(X, y, sample_domain=domain, sample_weight=weight)
    two = EmpiricalBayesRidge().fit(X[kept], y[kept], sample_domain=domain[kept])
    np.testing.assert_array_equal(one.coef_, two.coef_)


@pytest.mark.parametrize("constant", ["target", "source"])
@pytest.mark.parametrize("n_target", [3, 6])
def test_units_of_labels_do_not_matter_where_a_domain_has_equal_labels(
    rng, constant, n_target
):
    X = rng.normal(size=(60 + n_target, 4))
    y = X[:, 0] + 0.1 * rng.normal(size=len(X))
    domain = np.repeat([1, 2, -1], [30, 30, n_target])
    y[domain == (-1 if constant == "target" else 1)] = 0.7
    for model in (ARMUL(), AngleTransfer(), EmpiricalBayesRidge()):
        fitted = model.fit(X, y, sample_domain=domain).predict(X)
        in_grams = model.fit(X, 1e5 * y, sample_domain=domain).predict(X)
        assert_allclose(1e-5 * in_grams, fitted, rtol=1e-4, atol=1e-6)


def test_a_common_noise_without_residuals_is_that_of_the_ridges(rng):
    X = rng.normal(size=(36, 60))
    y = X[:, 0] + 0.1 * rng.normal(size=36)
    domain = np.repeat([1, 2, -1], 12)
    model = EmpiricalBayesRidge(noise="common").fit(X, y, sample_domain=domain)
    assert np.isfinite(model.predict(X)).all()
    assert model.noise_ > 1e-6
    scaled = EmpiricalBayesRidge(noise="common").fit(X, 1e3 * y, sample_domain=domain)
    assert_allclose(scaled.predict(X), 1e3 * model.predict(X), rtol=1e-4, atol=1e-3)
