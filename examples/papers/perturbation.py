r"""
Negative transfer: when and by whom
===================================

After this page you will know how corruption of a source turns into negative transfer,
and which methods bear it.

Z. Wang, Z. Dai, B. Póczos and J. Carbonell, "Characterizing and avoiding negative
transfer", CVPR 2019, corrupt a source on purpose and measure the negative transfer gap
(NTG): the error of a method with the source minus its error without. They find that it
grows with the corruption (table 1), grows with the labeled share of the target
(table 1, figure 3), and that KMM suffers less than TCA (table 2).

This script does the same to the digits that come with scikit-learn.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from sktransfer.base import without_sources
from sktransfer.baselines import Pooled
from sktransfer.datasets import load_perturbed_digits, stack_domains
from sktransfer.feature import TCA
from sktransfer.inspection import SampleWeightDisplay
from sktransfer.instance import KMM

sklearn.set_config(enable_metadata_routing=True)

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with digits_mnist_usps_256.npz")
parser.add_argument("--draws", type=int, default=2)
args, _ = parser.parse_known_args()

EPS = [0.0, 0.3, 0.7, 0.9]
SHARES = [0.1, 0.3]
LEARNER = LogisticRegression(C=0.1, max_iter=500)
METHODS = {
    "pooled": make_pipeline(MaxAbsScaler(), Pooled(LEARNER)),
    "KMM": make_pipeline(MaxAbsScaler(), KMM(LEARNER)),
    "TCA": make_pipeline(
        MaxAbsScaler(), TCA(30, random_state=0), StandardScaler(), Pooled(LEARNER)
    ),
}


# %%
# The protocol
# ------------
# Each source image is turned, mirrored and sprinkled with probability ε, and each
# source label is replaced by a random one with probability ε. A quarter of the digits
# is the target's training half; a share of them keeps its labels. With ``--data`` the
# source is MNIST, whose labels are replaced, and the target is USPS.
def draw(eps, share, seed):
    if args.data is None:
        return load_perturbed_digits(eps, eps, share, random_state=seed)
    file = np.load(args.data / "digits_mnist_usps_256.npz")
    X, y = file["X"].astype(float), file["y"].astype(int)
    rng = np.random.default_rng(seed)
    is_usps = file["domain_names"][file["domain"]] == "usps"
    source = rng.choice(np.flatnonzero(~is_usps), 900, replace=False)
    train, test = np.split(rng.permutation(np.flatnonzero(is_usps))[:900], 2)
    hidden = train[int(share * len(train)) :]
    labeled = train[: int(share * len(train))]
    noisy = np.where(rng.uniform(size=900) < eps, rng.integers(10, size=900), y[source])
    data = stack_domains({"mnist": (X[source], noisy)}, (X[labeled], y[labeled]),
                         unlabeled=X[hidden])  # fmt: skip
    return sklearn.utils.Bunch(**data, X_test=X[test], y_test=y[test])


def gap(method, data):
    """Error on the test rows with the source, minus that without."""
    is_target = data.sample_domain < 0
    transfer = clone(method).fit(data.X, data.y, sample_domain=data.sample_domain)
    alone = without_sources(method).fit(
        data.X[is_target],
        data.y[is_target],
        sample_domain=data.sample_domain[is_target],
    )
    return alone.score(data.X_test, data.y_test) - transfer.score(
        data.X_test, data.y_test
    )


gaps = np.array(
    [
        [
            [
                [gap(method, draw(eps, share, seed)) for seed in range(args.draws)]
                for eps in EPS
            ]
            for share in SHARES
        ]
        for method in METHODS.values()
    ]
)

# %%
# The gap grows with the corruption, and with the labels at hand
# --------------------------------------------------------------
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, share, of_share in zip(axes, SHARES, gaps.swapaxes(0, 1), strict=True):
    ax.axhline(0, color="black", linestyle="--", linewidth=1)
    for name, values, style in zip(METHODS, of_share, ("o-", "s--", "^:"), strict=True):
        mean = values.mean(axis=1)
        ax.errorbar(EPS, mean, yerr=[mean - values.min(axis=1),
                    values.max(axis=1) - mean], fmt=style, color="black",
                    markerfacecolor="white", capsize=3, label=name)  # fmt: skip
    ax.set_title(f"{share:.0%} of the target's rows labeled", fontsize=10)
    ax.set_xlabel("corrupted share of the source, ε")
axes[0].set_ylabel("negative transfer gap\n(above 0 the source hurts)")
axes[0].legend(frameon=False)

mean = gaps.mean(axis=-1)
for name, values in zip(METHODS, mean, strict=True):
    for share, line in zip(SHARES, values, strict=True):
        rises = "rises at every step" if np.all(np.diff(line) > 0) else "does not rise"
        numbers = ", ".join(f"{value:+.3f}" for value in line)
        print(f"{name:7s} {share:.0%} labeled, NTG over ε: {numbers}: {rises}")
more = mean[:, 1] - mean[:, 0]
print(f"More labels: larger gap in {np.sum(more > 0)} of {more.size} cells")
kmm, tca = list(METHODS).index("KMM"), list(METHODS).index("TCA")
print(f"KMM below TCA in {np.sum(mean[kmm] < mean[tca])} of {mean[kmm].size} cells")

# %%
# What KMM sees
# -------------
# KMM weighs source rows by how likely their inputs are under the target. So it can
# lower the weight of a corrupted image, and never that of a wrong label.
data = load_perturbed_digits(0.5, 0.5, 0.1, random_state=0)
kmm = METHODS["KMM"].fit(data.X, data.y, sample_domain=data.sample_domain)
is_source = data.sample_domain > 0
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for ax, flag, names in zip(
    axes,
    (data.input_perturbed[is_source], data.label_randomized[is_source]),
    (("clean image", "perturbed image"), ("true label", "random label")),
    strict=True,
):
    SampleWeightDisplay.from_estimator(
        kmm, flag=flag, flag_names={False: names[0], True: names[1]}, ax=ax
    )
    weights = kmm[-1].sample_weight_
    print(f"mean weight: {names[0]} {weights[~flag].mean():.2f}, "
          f"{names[1]} {weights[flag].mean():.2f}")  # fmt: skip
plt.show()
