"""
Which tasks are alike? Clusters by scores
=========================================

After this page you will know how to find groups among many sources by how well they
serve each other.

With many sources, ask which of them serve the same targets. Each domain in turn is the
target, and every other domain is scored as its source. The score is
:func:`~sktransfer.metrics.transfer_affinity`, the share of held-out target rows that a
source serves better than the others, put together as in Taskonomy (A. Zamir et al.,
CVPR 2018). Domains with alike columns of scores are alike as sources.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from scipy.cluster.hierarchy import dendrogram, fcluster, linkage
from sklearn.linear_model import Ridge

from sktransfer.baselines import Pooled
from sktransfer.metrics import ranking_footrule, transfer_affinity

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, default=40, help="rows of each domain")
args, _ = parser.parse_known_args()

# %%
# Six domains, two rules
# ----------------------
# The first three domains have one rule and the others another one; within a family the
# rules differ a little.
rng = np.random.default_rng(0)
rules = {"A": np.array([2.0, 0.0, 1.0]), "B": np.array([0.0, 2.0, -1.0])}
names = ["A1", "A2", "A3", "B1", "B2", "B3"]
X = rng.normal(size=(len(names) * args.rows, 3))
owner = np.repeat(np.arange(len(names)), args.rows)
slopes = np.array([rules[name[0]] + 0.3 * rng.normal(size=3) for name in names])
y = np.sum(X * slopes[owner], axis=1) + rng.normal(size=len(X))

# %%
# The scores
# ----------
# A row of the table belongs to a target, a column to a source. The logarithm makes odds
# of scores; a domain is no source of its own.
table = np.full((len(names), len(names)), np.nan)
for target in range(len(names)):
    domain = np.where(owner == target, -1, owner + 1)
    # few rows of the target have labels
    labeled = (owner != target) | (np.cumsum(owner == target) <= 15)
    found = transfer_affinity(
        Pooled(Ridge()), X, np.where(labeled, y, np.nan), sample_domain=domain
    )
    table[target, found.sources - 1] = np.log(found.affinity)

# %%
# The clusters
# ------------
# The distance of two sources is the mean difference of their scores over the targets
# that are neither of them.
n = len(names)
distances = [
    np.nanmean(np.abs(table[:, i] - table[:, j]))
    for i in range(n)
    for j in range(i + 1, n)
]
tree = linkage(distances, method="average")
for name, group in zip(names, fcluster(tree, 2, criterion="maxclust"), strict=True):
    print(name, "is in cluster", group)

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
shown = axes[0].imshow(table)
axes[0].set(
    xlabel="source", ylabel="target", xticks=range(n), xticklabels=names,
    yticks=range(n), yticklabels=names, title="log affinity",
)  # fmt: skip
fig.colorbar(shown, ax=axes[0])
dendrogram(tree, labels=names, ax=axes[1])
axes[1].set(ylabel="distance of the scores", title="Clusters of sources")

# %%
# Do two targets want the same sources? The footrule of their rankings measures how far
# they are apart: 0 is the same order, 1 the reverse.
others = [k for k in range(n) if k not in (0, 1, 3)]
for other in (1, 3):
    far = ranking_footrule(table[0, others], table[other, others], normalize=True)
    print(f"{names[0]} and {names[other]}: {far:.2f}")
