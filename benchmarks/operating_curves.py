"""Operating curves: error, bias and rate of harm against the conflict of a source.

As in clinical borrowing: n = 20 target observations with mean 0 and variance 1 and 200
of a source whose mean is off by the conflict. The estimate is the target's mean. The
target alone uses its own mean; the members of the portfolio are the pooled mean, the
pooled mean with source weight 0.1, and the source's mean. Every rule sees leave-one-out
residuals, as the estimators do.

Run: ``python benchmarks/operating_curves.py --out docs/images`` (about a minute).
"""

import argparse
from pathlib import Path

import numpy as np

from sktransfer._solvers.aggregation import (
    blend_posterior,
    blend_weight,
    exponential_weights,
    select_weights,
)
from sktransfer.safe import _defaults as defaults

N_TARGET, N_SOURCE = 20, 200
#: weight of a source observation in each member beside the target alone
MEMBERS = {"pooled": 1.0, "down-weighted": 0.1, "source only": np.inf}
CONFLICTS = np.linspace(0.0, 2.0, 17)


def member_means(target_sum, n, source_mean, weight):
    """Return the estimate of a member from the sum of n target observations."""
    if np.isinf(weight):
        return np.broadcast_to(source_mean, np.shape(target_sum)).copy()
    return (target_sum + weight * N_SOURCE * source_mean) / (n + weight * N_SOURCE)


def residuals_of(y, source_mean, weight):
    """Return leave-one-out residuals of a member."""
    left = y.sum() - y
    return y - member_means(left, len(y) - 1, source_mean, weight)


def aggregate(residuals):
    """Weigh members by all residuals, and each residual without its own row."""
    n, prior = residuals.shape[1], np.ones(len(residuals))
    squares = residuals**2
    losses = squares.sum(axis=1)
    weights = exponential_weights(losses, n, defaults.TEMPERATURE, prior)
    without = exponential_weights(
        (losses[:, None] - squares).T, n - 1, defaults.TEMPERATURE, prior
    )
    return weights, np.einsum("im,mi->i", without, residuals)


def estimates(y, source_mean):
    """Return the estimate of every rule for one draw."""
    alone = y.mean()
    means = np.array(
        [member_means(y.sum(), len(y), source_mean, w) for w in MEMBERS.values()]
    )
    own = residuals_of(y, source_mean, 0.0)
    others = np.stack([residuals_of(y, source_mean, w) for w in MEMBERS.values()])

    def blend(mean, residual, risk, atom):
        info = blend_posterior(
            own[:, None], residual[:, None], inflation=defaults.INFLATION
        )
        weight = blend_weight(info, risk, atom)
        return (1 - weight) * alone + weight * mean

    everyone = np.vstack([own, others])
    chosen = select_weights((everyone**2).sum(axis=1), np.ones(len(everyone)))
    weights, residual = aggregate(others)
    return {
        "target alone": alone,
        "pooled": means[0],
        "select by cross-validation": chosen @ np.append(alone, means),
        "TransferGuard of pooled": blend(
            means[0], others[0], defaults.RISK, defaults.ATOM
        ),
        "portfolio": blend(
            weights @ means,
            residual,
            defaults.PORTFOLIO_RISK,
            defaults.PORTFOLIO_ATOM,
        ),
    }


def simulate(n_draws, seed=0):
    """Return rule -> (mean squared error ratio, bias, rate of harm) by conflict."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n_draws, N_TARGET))
    offsets = rng.normal(size=n_draws) / np.sqrt(N_SOURCE)
    curves = {}
    for conflict in CONFLICTS:
        draws = [
            estimates(y, conflict + o) for y, o in zip(noise, offsets, strict=True)
        ]
        found = {rule: np.array([d[rule] for d in draws]) for rule in draws[0]}
        alone = found["target alone"]
        for rule, values in found.items():
            ratio = np.mean(values**2) / np.mean(alone**2)
            harm = np.mean(np.abs(values) > np.abs(alone) + 0.02)
            curves.setdefault(rule, []).append((ratio, values.mean(), harm))
    return {rule: np.array(rows) for rule, rows in curves.items()}


def draw(curves, path):
    """Draw the three curves of every rule."""
    import matplotlib.pyplot as plt

    styles = dict(zip(curves, ("--", ":", "-.", "-", "-"), strict=True))
    colors = dict(
        zip(
            curves, ("#000000", "#E69F00", "#009E73", "#0072B2", "#D55E00"), strict=True
        )
    )
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    titles = ("mean squared error / target alone", "bias", "rate of harm")
    for k, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        for rule, rows in curves.items():
            width = 2.4 if rule == "portfolio" else 1.4
            panel.plot(
                CONFLICTS, rows[:, k], styles[rule], color=colors[rule],
                linewidth=width, label=rule,
            )  # fmt: skip
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("conflict (standard deviations)")
    panels[0].set_ylim(0, 3)
    panels[1].set_ylim(-0.1, 0.8)
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", default=".", help="folder of the picture")
    args = parser.parse_args(argv)
    curves = simulate(args.draws)
    print("| rule | conflict | error ratio | bias | harm |")
    print("|---|---|---|---|---|")
    for rule, rows in curves.items():
        for k in (0, 4, 8, 16):
            cells = " | ".join(f"{value:.2f}" for value in rows[k])
            print(f"| {rule} | {CONFLICTS[k]:.2f} | {cells} |")
    draw(curves, Path(args.out) / "operating_curves.svg")


if __name__ == "__main__":
    main()
