"""The weight of a blend: posterior quantile, limits, invariances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import cumulative_trapezoid, quad
from scipy.optimize import minimize

from sktransfer._solvers.aggregation import (
    BlendInfo,
    BlendPrior,
    atom_probability,
    blend_posterior,
    blend_weight,
    convex_weights,
    exponential_weights,
    fit_blend_prior,
    log_bayes_factor,
    q_weights,
    select_weights,
)
from sktransfer.safe._defaults import (
    ATOM,
    INFLATION,
    LEAST_WEIGHT,
    PORTFOLIO_RISK,
    RISK,
    TRIAL_ATOM,
    TRIAL_WHOLE,
)


def residuals(seed=0, n=12, k=1, gap=0.5):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, k))
    return common, common * gap + 0.7 * rng.normal(size=(n, k))


def weigh(e0, e1, quantile):
    return blend_weight(blend_posterior(e0, e1), quantile)


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("quantile", [0.1, 0.4, 0.8])
def test_quantile_of_the_stated_density(n, k, quantile):
    e0, e1 = residuals(n=n, k=k)
    info = blend_posterior(e0, e1)
    weight = blend_weight(info, quantile)
    w = np.linspace(0, 1, 20001)
    risk = np.array([np.sum(((1 - v) * e0 + v * e1) ** 2) for v in w])
    density = (risk / risk.min()) ** (-n / 2)
    cdf = cumulative_trapezoid(density, w, initial=0)
    assert_allclose(weight, np.interp(quantile, cdf / cdf[-1], w), atol=1e-5)
    assert info.dof == n - 1


def test_swapping_the_models_mirrors_the_weight():
    e0, e1 = residuals()
    weight = weigh(e0, e1, 0.3)
    mirrored = weigh(e1, e0, 0.7)
    assert_allclose(weight, 1 - mirrored)


def test_many_rows_give_the_best_blend():
    e0, e1 = residuals(n=200_000, gap=0.2)
    info = blend_posterior(e0, e1)
    weight = blend_weight(info, 0.3)
    assert_allclose(weight, info.minimizer, atol=0.01)
    assert 0 < weight < 1


@pytest.mark.parametrize(("first", "second", "weight"), [(1, 0, 1), (0, 1, 0)])
def test_perfect_model_gets_all(first, second, weight):
    noise = residuals()[0]
    assert weigh(first * noise, second * noise, 0.4) == weight


def test_no_evidence_gives_the_prior():
    e0, e1 = residuals(n=1)
    assert weigh(e0, e1, 0.4) == 0.4
    e0, _ = residuals()
    assert weigh(e0, e0.copy(), 0.4) == 0.4
    assert weigh(np.zeros((0, 1)), np.zeros((0, 1)), 0.2) == 0.2


def test_far_tails_do_not_underflow():
    e0 = residuals(n=4000)[0]
    assert weigh(e0, 50 * e0 + 1.0, 0.4) < 0.01
    assert weigh(50 * e0 + 1.0, e0, 0.4) > 0.99


def test_scale_does_not_matter():
    e0, e1 = residuals()
    weight = weigh(e0, e1, 0.3)
    assert_allclose(weigh(1e-6 * e0, 1e-6 * e1, 0.3), weight)


@pytest.mark.parametrize(
    ("center", "scale", "dof"),
    [(0.3, 0.2, 9), (-3, 0.1, 9), (5, 0.1, 9), (0.5, 10.0, 3), (0.99, 0.01, 5)],
)
def test_atom_is_the_ratio_of_integrals(center, scale, dof):
    def risk(w):
        return 1 + ((w - center) / scale) ** 2 / dof

    points = [1e-4, 1e-3, 0.01, 0.1, min(max(center, 0), 1)]
    integral, _ = quad(
        lambda w: (risk(w) / risk(0)) ** (-(dof + 1) / 2),
        0,
        1,
        points=points,
        limit=500,
    )
    assert_allclose(log_bayes_factor(center, scale, dof), -np.log(integral), rtol=1e-9)
    expected = 0.3 / (0.3 + 0.7 * integral)
    assert_allclose(atom_probability(center, scale, dof, 0.3), expected)


def test_atom_in_far_tails_and_without_evidence():
    # the exponential with the slope of the log density at 0 is its limit for center < 0
    slope = 4001 * 100 / (4000 + 100**2) / 0.01
    assert_allclose(log_bayes_factor(-1, 0.01, 4000), np.log(slope), rtol=1e-3)
    assert np.exp(log_bayes_factor(2, 0.01, 4000)) == 0
    assert atom_probability(np.nan, np.inf, 0, 0.3) == pytest.approx(0.3)
    assert atom_probability(0.5, 0.1, 9, 0.0) == 0


@pytest.mark.parametrize("atom", [0.1, 0.6])
def test_weight_is_the_quantile_of_the_mixture(atom):
    info = BlendInfo(0.3, 0.2, 9)
    zero = float(atom_probability(0.3, 0.2, 9, atom))
    for quantile in (0.05, 0.5, 0.9):
        weight = blend_weight(info, quantile, atom)
        if quantile <= zero:
            assert weight == 0
        else:
            inner = (quantile - zero) / (1 - zero)
            assert_allclose(weight, blend_weight(info, inner))
    no_evidence = BlendInfo(np.nan, np.inf, 0)
    assert blend_weight(no_evidence, atom / 2, atom) == 0
    expected = (1 + atom) / 2
    assert_allclose(blend_weight(no_evidence, expected, atom), 0.5)


def test_inflation_widens_the_posterior():
    e0, e1 = residuals()
    one, two = blend_posterior(e0, e1), blend_posterior(e0, e1, inflation=2.0)
    assert two.standard_error == 2 * one.standard_error
    assert (two.minimizer, two.dof) == (one.minimizer, one.dof)


def useless_sources(n, spread, n_draws=10_000, seed=0):
    """Posterior of the weight where a step away from the target alone is pure noise."""
    rng = np.random.default_rng(seed)
    e0 = rng.normal(size=(n_draws, n))
    step = spread * rng.normal(size=(n_draws, n))
    curvature = np.sum(step**2, axis=1)
    center = np.sum(e0 * step, axis=1) / curvature
    least = np.sum((e0 - center[:, None] * step) ** 2, axis=1)
    return center, INFLATION * np.sqrt(least / curvature / (n - 1)), n - 1


@pytest.mark.parametrize("n", [6, 10, 20, 40])
@pytest.mark.parametrize("spread", [0.03, 0.1, 0.3, 0.6, 1.0, 3.0])
def test_useless_sources_are_transferred_in_one_of_twenty_draws(n, spread):
    posterior = useless_sources(n, spread)
    rate = np.mean(atom_probability(*posterior, ATOM) < RISK)
    assert rate <= 0.05
    # the rate by the very function that the guard calls
    center, scale, dof = posterior
    weights = [
        blend_weight(BlendInfo(c, s, dof), RISK, ATOM)
        for c, s in zip(center[:200], scale[:200], strict=True)
    ]
    assert np.mean(np.array(weights) >= LEAST_WEIGHT) <= rate + 0.05


def members(seed=0, m=5, n=30):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, n)) + 0.3 * np.arange(m)[:, None]


def every_rule(residual, prior):
    """Weights of the members by every rule."""
    losses, gram = np.sum(residual**2, axis=1), residual @ residual.T
    n = residual.shape[1]
    return {
        "exponential": exponential_weights(losses, n, 4.0, prior),
        "select": select_weights(losses, prior),
        "convex": convex_weights(gram)[0],
        "q": q_weights(gram, n, 4.0, prior)[0],
    }


def test_no_temperature_selects_and_all_temperature_leaves_the_prior():
    residual, prior = members(), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    losses, gram = np.sum(residual**2, axis=1), residual @ residual.T
    best = np.eye(5)[losses.argmin()]
    assert_allclose(exponential_weights(losses, 30, 0.0, prior), best)
    assert_allclose(exponential_weights(losses, 30, 1e-9, prior), best, atol=1e-12)
    assert_allclose(select_weights(losses, prior), best)
    for temperature in (np.inf, 1e9):
        for weights in (
            exponential_weights(losses, 30, temperature, prior),
            q_weights(gram, 30, temperature, prior)[0],
        ):
            assert_allclose(weights, prior / 15, rtol=1e-6)
    # without entropy Q-aggregation is its own quadratic program
    weights, info = q_weights(gram, 30, 1e-4, prior)
    assert info.converged
    direct = np.array(convex_weights(gram)[0])
    value = [w @ gram @ w + w @ losses for w in (weights, direct)]
    assert value[0] <= value[1] + 1e-6 * losses.max()


def test_no_held_out_unit_leaves_the_prior():
    prior = np.array([1.0, 3.0])
    assert_allclose(exponential_weights(np.zeros(2), 0, 4.0, prior), [0.25, 0.75])
    assert_allclose(q_weights(np.zeros((2, 2)), 0, 4.0, prior)[0], [0.25, 0.75])


def test_members_without_loss_share_by_the_prior():
    residual = members()
    residual[[1, 3]] = 0
    prior = np.arange(1.0, 6.0)
    for rule in ("exponential", "select", "q"):
        assert_allclose(every_rule(residual, prior)[rule], [0, 1 / 3, 0, 2 / 3, 0])


def test_permuting_members_changes_nothing():
    residual, prior = members(), np.arange(1.0, 6.0)
    order = np.array([3, 0, 4, 1, 2])
    first, second = (
        every_rule(residual, prior),
        every_rule(residual[order], prior[order]),
    )
    for rule in first:
        assert_allclose(second[rule], first[rule][order], atol=1e-7, err_msg=rule)


def test_copy_that_shares_the_prior_changes_nothing():
    residual, prior = members(), np.ones(5)
    copied = np.vstack([residual, residual[[1]]])
    shared = np.array([1.0, 0.5, 1.0, 1.0, 1.0, 0.5])
    first, second = every_rule(residual, prior), every_rule(copied, shared)
    for rule in first:
        merged = second[rule][:5].copy()
        merged[1] += second[rule][5]
        assert_allclose(merged, first[rule], atol=1e-7, err_msg=rule)


@pytest.mark.parametrize("temperature", [1e-3, 0.1, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("degenerate", [False, True])
def test_q_aggregation_agrees_with_cvxpy(temperature, degenerate):
    residual, prior = members(3, m=6, n=20), np.arange(1.0, 7.0)
    if degenerate:
        residual[4:] = residual[:2]
        residual[3] = 1e3
    gram = residual @ residual.T
    ours, info = q_weights(gram, 20, temperature, prior)
    theirs, other = q_weights(gram, 20, temperature, prior, solver="cvxpy")
    assert info.converged and other.converged
    assert_allclose(ours, theirs, atol=1e-7 if not degenerate else 1e-6)
    with pytest.raises(ValueError, match="solver"):
        q_weights(gram, 20, temperature, prior, solver="scip")


@pytest.mark.parametrize("rule", ["exponential", "q"])
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 3.0])
def test_regret_is_of_the_order_log_m_over_n(rule, spread):
    """Fixed members, Gaussian errors, s^2 from the same rows: 10^4 draws."""
    n, m, temperature, n_draws = 30, 8, 4.0, 10_000
    rng = np.random.default_rng(1)
    bias = spread * rng.normal(size=(m, n)) * np.linspace(0.3, 1.0, m)[:, None]
    risk = np.mean(bias**2, axis=1)
    residual = bias + rng.normal(size=(n_draws, 1, n))
    prior = np.ones(m)
    if rule == "exponential":
        losses = np.sum(residual**2, axis=2)
        weights = exponential_weights(losses, n, temperature, prior)
    else:
        gram = residual @ residual.swapaxes(1, 2)
        weights, info = q_weights(gram, n, temperature, prior)
        assert info.converged
    blended = np.mean((weights @ bias) ** 2, axis=1)
    regret = blended.mean() - risk.min()
    scale = np.sum(residual**2, axis=2).min(axis=1).mean() / n
    assert regret <= 2 * temperature * scale * np.log(m) / n


def test_weight_with_both_atoms():
    info = BlendInfo(0.7, 0.3, 12)
    assert blend_weight(info, 0.4, 0.2, 0.0) == blend_weight(info, 0.4, 0.2)
    weights = [blend_weight(info, 0.4, 0.2, whole) for whole in (0.0, 0.2, 0.5, 0.8)]
    assert np.all(np.diff(weights) > 0) and weights[-1] == 1
    # mirrored: the atoms change their roles
    mirrored = blend_weight(BlendInfo(0.3, 0.3, 12), 0.6, 0.1, 0.3)
    assert_allclose(mirrored, 1 - blend_weight(info, 0.4, 0.3, 0.1))
    no_evidence = BlendInfo(np.nan, np.inf, 0)
    assert_allclose(blend_weight(no_evidence, 0.4, 0.2, 0.4), 0.5)
    assert blend_weight(no_evidence, 0.7, 0.2, 0.4) == 1


def test_prior_maximizes_the_likelihood_of_the_trials():
    rng = np.random.default_rng(0)
    center, scale, dof = rng.normal(0.6, 0.5, 6), rng.uniform(0.1, 0.5, 6), 30
    base = BlendPrior(0.5, 0.1)
    found = fit_blend_prior(center, scale, dof, base, strength=1.5)
    at_0 = np.exp(log_bayes_factor(center, scale, dof))
    at_1 = np.exp(log_bayes_factor(1 - center, scale, dof))

    def objective(p):
        between = 1 - p[0] - p[1]
        likelihood = np.log(p[0] * at_0 + p[1] * at_1 + between)
        prior = np.log([p[0], p[1], between]) @ [0.5, 0.1, 0.4]
        return -likelihood.sum() - 1.5 * prior

    best = minimize(
        objective, [0.3, 0.3], bounds=[(1e-6, 0.9)] * 2, method="Nelder-Mead"
    )
    assert_allclose([found.atom, found.whole], best.x, atol=1e-4)


def test_prior_without_evidence_is_the_base():
    found = fit_blend_prior([np.nan] * 3, np.inf, 0, BlendPrior(0.6, 0.1))
    assert_allclose([found.atom, found.whole], [0.6, 0.1])


@pytest.mark.parametrize("n_trials", [2, 6])
@pytest.mark.parametrize("spread", [0.03, 0.1, 0.3, 1.0])
def test_useless_sources_of_which_no_trial_has_a_use_are_refused(spread, n_trials):
    trials = [useless_sources(45, spread, seed=k) for k in range(n_trials)]
    center, scale, dof = zip(*trials, strict=True)
    prior = fit_blend_prior(
        np.stack(center, axis=1),
        np.stack(scale, axis=1),
        dof[0],
        BlendPrior(TRIAL_ATOM, TRIAL_WHOLE),
        max_iter=50,
    )
    for n in (10, 20, 40):
        posterior = useless_sources(n, spread, seed=100 + n)
        zero = atom_probability(*posterior, prior.atom, prior.whole)
        for risk in (PORTFOLIO_RISK, 0.45):
            assert np.mean(zero < risk) <= 0.05
