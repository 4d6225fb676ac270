r"""
DATN: labels in one feature space, predictions in another
=========================================================

After this page you will know which parts of DATN matter here, and how that compares
with the paper.

D. Wang, P. Cui and W. Zhu, "Deep asymmetric transfer network for unbalanced domain
adaptation", AAAI 2018, classify images with the labels of texts. Rows that have both a
text and an image, without any label, are the bridge. They find that all parts of the
method are needed: without the unlabeled rows it is a little worse, and without pairs
and the source's classifier much worse (table 5); more pairs are better (figure 4).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from sktransfer.deep import DATN
from sktransfer.inspection import DomainEmbeddingDisplay

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with wikipedia_text_image.npz")
parser.add_argument("--draws", type=int, default=2)
args, _ = parser.parse_known_args()
N_SHOTS = 3


# %%
# Two feature spaces
# ------------------
# The upper and the lower half of each digit are two descriptions of it. Upper halves
# are labeled; of the lower halves, which are to be classified, three per class are.
# With ``--data`` the source is texts of Wikipedia, the target the images beside them.
def read_blocks():
    if args.data is None:
        X, y = load_digits(return_X_y=True)
        return X[:, :32] / 16, X[:, 32:] / 16, y
    file = np.load(args.data / "wikipedia_text_image.npz")
    return file["X_lda10"].astype(float), file["X_img"].astype(float), file["y"]


source_block, target_block, labels = read_blocks()
n_source, n_target = source_block.shape[1], target_block.shape[1]
source_columns = np.arange(n_source)
target_columns = np.arange(n_source, n_source + n_target)


# %%
# One table holds both: a row that lacks a block has NaN there, a row with both is a
# pair. Unlabeled rows carry -1.
def draw(n_pairs, seed):
    rows = np.random.default_rng(seed).permutation(len(labels))
    source, pairs, rest = rows[:500], rows[500 : 500 + n_pairs], rows[1000:]
    few = np.concatenate([rest[labels[rest] == c][:N_SHOTS] for c in np.unique(labels)])
    test = np.setdiff1d(rest, few)
    X = np.hstack([source_block, target_block])
    X = np.vstack([X[source], X[pairs], X[few]])
    X[: len(source), target_columns] = np.nan
    X[len(source) + len(pairs) :, source_columns] = np.nan
    y = np.concatenate([labels[source], np.full(len(pairs), -1), labels[few]])
    domain = np.repeat([1, -1], [len(source), len(pairs) + len(few)])
    X_test = np.full((len(test), X.shape[1]), np.nan)
    X_test[:, target_columns] = target_block[test]
    return X, y, domain, X_test, labels[test]


# %%
# Which parts matter, and how many pairs
# --------------------------------------
# "target alone" is the same net without the source rows: an autoencoder with a softmax.
# Learning rate and weight decay were chosen on two other draws.
def accuracy(variant, n_pairs, seed):
    X, y, domain, X_test, y_test = draw(n_pairs, seed)
    if variant == "logistic regression":
        few = (domain < 0) & (y >= 0)
        model = LogisticRegression(max_iter=1000).fit(X[few][:, target_columns], y[few])
        return model.score(X_test[:, target_columns], y_test)
    rows = domain < 0 if variant == "target alone" else slice(None)
    name = "full" if variant == "target alone" else variant
    net = make_net(name, seed).fit(X[rows], y[rows], sample_domain=domain[rows])
    return net.score(X_test, y_test)


def make_net(variant, seed):
    return DATN(
        source_columns,
        target_columns,
        variant=variant,
        pretrain_iter=60,
        max_iter=40,
        learning_rate=5e-3,
        weight_decay=1e-2,
        random_state=seed,
    )


variants = ["full", "supervised", "unsupervised", "target alone", "logistic regression"]
for variant in variants:
    found = [accuracy(variant, 400, seed) for seed in range(args.draws)]
    print(f"{variant:20s} accuracy {np.mean(found):.3f}  of {np.round(found, 3)}")

for n_pairs in (25, 100):
    found = [accuracy("full", n_pairs, seed) for seed in range(args.draws)]
    print(f"{f'full, {n_pairs} pairs':20s} accuracy {np.mean(found):.3f}")

# %%
# One space for both
# ------------------
# Rows that the net has not seen, once by their source block and once by their target
# block, which the map sends to the source's space: equal classes should lie together.
X, y, domain, X_test, y_test = draw(400, 0)
net = make_net("full", 0).fit(X, y, sample_domain=domain)
rows = np.random.default_rng(0).permutation(len(labels))[-200:]
both = np.full((2 * len(rows), X.shape[1]), np.nan)
both[: len(rows), source_columns] = source_block[rows]
both[len(rows) :, target_columns] = target_block[rows]
halves = np.repeat([1, -1], len(rows))
Z = net.transform(both, sample_domain=halves)
nearest = NearestNeighbors(n_neighbors=1).fit(Z[halves > 0])
found = nearest.kneighbors(Z[halves < 0], return_distance=False).ravel()
share = np.mean(labels[rows][found] == labels[rows])
print(f"{share:.0%} of the target halves lie next to a source half of the same class")
DomainEmbeddingDisplay.from_rows(
    Z,
    y=np.tile(labels[rows], 2),
    sample_domain=halves,
    method="tsne",
    domain_names={1: "source", -1: "target"},
)
plt.show()
