r"""
A gate by a bound: Bayesian search for a source weight
======================================================

After this page you will know how to let an upper bound of the gap choose the weight of
the sources, and when a guard does that with fewer fits.

M. Sorocky, S. Zhou and A. Schoellig (ICRA 2020) let a robot take over experience only
where a Gaussian process bounds the loss. For tables the idea reads as follows.
Cross-validation measures the gap of a tuning value, such as the weight of the source
rows, with noise. A Gaussian process over the value joins the measurements. The sources
are used only where the upper bound of the gap is below 0.

It is an example, not a class: with one value to tune
:class:`~sktransfer.safe.TransferGuard` decides with fewer fits.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.linear_model import Ridge

from sktransfer.baselines import Pooled
from sktransfer.metrics import cross_val_ntg

parser = argparse.ArgumentParser()
parser.add_argument("--draws", type=int, default=6, help="measurements of the search")
args, _ = parser.parse_known_args()
WEIGHTS = np.logspace(-3, 1, 81)
PLACES = np.log10(WEIGHTS)[:, None]


# %%
# Two sources
# -----------
# Twenty labeled target rows, and 200 of a source whose rule is a little, or much,
# different.
def problem(difference):
    rng = np.random.default_rng(3)
    X, domain = rng.normal(size=(220, 8)), np.repeat([1, -1], [200, 20])
    rule = rng.normal(size=8)
    other = rule + difference * rng.normal(size=8)
    y = np.where(domain > 0, X @ other, X @ rule) + rng.normal(size=220)
    return X, y, domain


def measure(data, weight):
    """Return the gap of a weight in mean squared error, and its standard error."""
    X, y, domain = data
    result = cross_val_ntg(
        Pooled(Ridge(), source_weight=weight),
        X,
        y,
        sample_domain=domain,
        scoring="neg_mean_squared_error",
        random_state=0,
    )
    low, high = result.interval
    return result.ntg, max((high - low) / 4, 1e-3)


# %%
# The search
# ----------
# It begins at both ends. Each further weight is the one whose lower bound is least: it
# may be the best. Differences of neighbors are small beside the noise of one of them,
# since all are measured on the same rows, so the noise is taken to be a tenth.
def search(data):
    tried = [0, len(WEIGHTS) - 1]
    seen = [measure(data, WEIGHTS[i]) for i in tried]
    while True:
        gaps, errors = np.array(seen).T
        scale = max(np.abs(gaps).max(), 1e-3)
        kernel = ConstantKernel(1.0, "fixed") * RBF(0.7, "fixed")
        model = GaussianProcessRegressor(kernel, alpha=(0.1 * errors / scale) ** 2)
        mean, sd = model.fit(PLACES[tried], gaps / scale).predict(
            PLACES, return_std=True
        )
        # the error that all measurements share does not go away by more of them
        upper = scale * (mean + 2 * sd) + 2 * errors.mean()
        lower = scale * (mean - 2 * sd)
        lower[tried] = np.inf
        if len(tried) == args.draws + 2:
            return tried, gaps, scale * mean, upper
        tried.append(int(lower.argmin()))
        seen.append(measure(data, WEIGHTS[tried[-1]]))


figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for ax, (name, difference) in zip(
    axes, {"a close source": 0.1, "a far source": 2.0}.items(), strict=True
):
    tried, gaps, mean, upper = search(problem(difference))
    best = int(upper.argmin())
    open_gate = upper[best] < 0
    print(
        f"{name}: least upper bound {upper[best]:+.2f} at the weight "
        f"{WEIGHTS[best]:.3g}: {'transfer' if open_gate else 'the target alone'}"
    )
    ax.plot(WEIGHTS, mean, label="gap by the process")
    ax.plot(WEIGHTS, upper, "--", label="upper bound")
    ax.plot(WEIGHTS[tried], gaps, "ko", label="measured")
    ax.axhline(0.0, color="gray", linewidth=0.8)
    ax.set(xscale="log", xlabel="weight of the source", ylabel="gap", title=name)
    ax.legend()
plt.show()
