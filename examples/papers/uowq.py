r"""
UOWQ: how much each of several sources weighs
=============================================

After this page you will know how UOWQ compares with the target alone and with plain
pooling here.

Q. Zhang et al., "Unified optimization of source weights and transfer quantities in
multi-source transfer learning", derive the weight of each source from its distance to
the target in parameters and from both numbers of rows. They find that UOWQ beats the
target alone, the single sources and all sources unweighted (table II). Weights that are
updated during training beat static ones (section VI). With half of the source rows the
weights are larger, with the same pattern (figures 5 and 6).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import stack_domains
from sktransfer.inspection import SourceWeightsDisplay
from sktransfer.multisource import OTQMS, UOWQ, SingleBestSource

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with office_caltech10_*.npz")
parser.add_argument("--draws", type=int, default=2)
args, _ = parser.parse_known_args()
N_SHOTS = 5


# %%
# The domains
# -----------
# The digits of scikit-learn in five parts, turned by 0 to 80 degrees: neighbors are
# similar. Each domain is the target in turn, with five labels per class. With
# ``--data`` the domains are Amazon, Caltech, DSLR and webcam of Office-Caltech.
def rotated_digits():
    X, y = load_digits(return_X_y=True)
    parts = np.array_split(np.random.default_rng(0).permutation(len(y)), 5)
    return {
        f"{angle}°": (rotate(X[rows].reshape(-1, 8, 8), angle, axes=(2, 1),
                             reshape=False, order=1).reshape(-1, 64) / 16, y[rows])
        for angle, rows in zip(range(0, 81, 20), parts, strict=True)
    }  # fmt: skip


def office():
    file = np.load(args.data / "office_caltech10_surf800.npz")
    X = file["X"].astype(float)
    X = X / X.sum(axis=1, keepdims=True)
    for k in np.unique(file["domain"]):
        rows = file["domain"] == k
        X[rows] = (X[rows] - X[rows].mean(axis=0)) / (X[rows].std(axis=0) + 1e-9)
    X = PCA(30, random_state=0).fit_transform(X)
    X, y = X / X.std(), file["y"].astype(int)
    return {
        str(name): (X[file["domain"] == k], y[file["domain"] == k])
        for k, name in enumerate(file["domain_names"])
    }


domains = rotated_digits() if args.data is None else office()


def draw(target, seed, share=1.0):
    """Five labels per class of the target, a share of each source, test rows."""
    rng = np.random.default_rng(seed)
    X, y = domains[target]
    rows = rng.permutation(len(y))
    few = np.concatenate([rows[y[rows] == c][:N_SHOTS] for c in np.unique(y)])
    test = np.setdiff1d(rows, few)
    sources = {}
    for name, (X_source, y_source) in domains.items():
        if name != target:
            kept = rng.permutation(len(y_source))[: int(share * len(y_source))]
            sources[name] = X_source[kept], y_source[kept]
    return stack_domains(sources, target=(X[few], y[few])), X[test], y[test]


# %%
# Against the baselines
# ---------------------
learner = LogisticRegression(max_iter=1000)
methods = {
    "target only": TargetOnly(learner),
    "best single source": SingleBestSource(learner),
    "all sources, equal": Pooled(learner),
    "OTQMS": OTQMS(learner, random_state=0),
    "UOWQ, static": UOWQ(learner, weighting="static"),
    "UOWQ": UOWQ(learner),
}
scores = {name: [] for name in methods}
for target in domains:
    for seed in range(args.draws):
        data, X_test, y_test = draw(target, seed)
        for name, method in methods.items():
            method.fit(data.X, data.y, sample_domain=data.sample_domain)
            scores[name].append(method.score(X_test, y_test))
for name, values in scores.items():
    print(f"{name:20s} mean accuracy {np.mean(values):.3f}, worst {min(values):.3f}")
best = max(scores, key=lambda name: np.mean(scores[name]))
print("Best mean here:", best)


# %%
# Weights, with all and with half of the source rows
# --------------------------------------------------
# A line is a target, a column a source.
def weights(share):
    table = np.full((len(domains), len(domains)), np.nan)
    for i, target in enumerate(domains):
        data = draw(target, 0, share)[0]
        model = UOWQ(learner).fit(data.X, data.y, sample_domain=data.sample_domain)
        table[i, np.arange(len(domains)) != i] = model.source_weights_
    return table


figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
everything, half = weights(1.0), weights(0.5)
for ax, table, title in zip(
    axes, (everything, half), ("all source rows", "half of them"), strict=True
):
    display = SourceWeightsDisplay(
        table, target_names=list(domains), source_names=list(domains)
    )
    display.plot(ax=ax)
    ax.set_title(title, fontsize=10)
seen = np.isfinite(everything)
print(f"With half of the rows the mean weight goes from {everything[seen].mean():.2f} "
      f"to {half[seen].mean():.2f}; the correlation of both patterns is "
      f"{np.corrcoef(everything[seen], half[seen])[0, 1]:.2f}")  # fmt: skip
plt.show()
