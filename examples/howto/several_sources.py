r"""
Several sources: which of them count?
=====================================

After this page you will know how to rank sources, measure the gap of each, and weigh
them in one fit.

Four sources, and nobody has told you which one is good. Rank them, look at the gap of
each, and let :class:`~sktransfer.multisource.UOWQ` weigh them.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import stack_domains
from sktransfer.inspection import NegativeTransferDisplay, SourceWeightsDisplay
from sktransfer.metrics import rank_sources
from sktransfer.multisource import OTQMS, UOWQ, SingleBestSource

sklearn.set_config(enable_metadata_routing=True)

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with amazon_reviews_400.npz")
args, _ = parser.parse_known_args()
rng = np.random.default_rng(0)


# %%
# The data
# --------
# Handwritten digits from five scanners. Those of the target and of the first source are
# clean. The others are noisy, mirror the image, or write down a random digit. The
# target has five labels per class.
#
# With ``--data`` the domains are reviews of four kinds of products and the target is
# kitchen ware.
def draw_digits():
    X, y = load_digits(return_X_y=True)
    X, parts = X / 16, np.array_split(rng.permutation(len(y)), 5)
    clean, noisy, mirror, random, target = ((X[rows], y[rows]) for rows in parts)
    noisy = noisy[0] + 0.5 * rng.normal(size=noisy[0].shape), noisy[1]
    mirror = mirror[0].reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64), mirror[1]
    random = random[0], rng.permutation(random[1])
    sources = {"clean": clean, "noisy": noisy, "mirror": mirror, "random": random}
    return sources, *target


def read_reviews():
    file = np.load(args.data / "amazon_reviews_400.npz")
    X, y = file["X"].astype(float), file["y"].astype(int)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    X = 10 * PCA(50, random_state=0).fit_transform(X)
    names = file["domain_names"][file["domain"]]
    rows = {name: rng.permutation(np.flatnonzero(names == name))[:500]
            for name in np.unique(names)}  # fmt: skip
    target = rows.pop("kitchen")
    return {k: (X[r], y[r]) for k, r in rows.items()}, X[target], y[target]


sources, X_target, y_target = draw_digits() if args.data is None else read_reviews()
few = np.concatenate([np.flatnonzero(y_target == c)[:5] for c in np.unique(y_target)])
rest = np.setdiff1d(np.arange(len(y_target)), few)
data = stack_domains(sources, target=(X_target[few], y_target[few]))
X_test, y_test = X_target[rest], y_target[rest]

# %%
# Rank them
# ---------
# "mmd" compares the inputs: a scanner with random labels looks as good as the clean
# one. "leep" asks a model of the source about the labeled target rows, and "ntg" is the
# cross-validated negative transfer gap of each source; it selects.
learner = LogisticRegression(max_iter=1000)
ranking = rank_sources(
    Pooled(learner),
    data.X,
    data.y,
    data.sample_domain,
    scores=["mmd", "leep", "ntg"],
    random_state=0,
)
ranking = pd.DataFrame(ranking)
ranking["source"] = ranking["source"].map(data.domain_names)
print(ranking.pivot(index="source", columns="score", values="rank").astype(int))
kept = ranking.loc[ranking["selected"], "source"].unique()
print("selected:", ", ".join(kept))

# %%
# What each does on its own
# -------------------------
# The gap of each source alone, with an interval from cross-validation on the few target
# labels. Right of the line a source hurts.
NegativeTransferDisplay.from_estimator(
    Pooled(learner),
    data.X,
    data.y,
    sample_domain=data.sample_domain,
    by="source",
    domain_names=data.domain_names,
    random_state=0,
)

# %%
# Weigh them
# ----------
models = {
    "target only": TargetOnly(learner),
    "all sources, equal": Pooled(learner),
    "best single source": SingleBestSource(learner),
    "OTQMS": OTQMS(learner, random_state=0),
    "UOWQ": UOWQ(learner),
}
for name, model in models.items():
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    print(f"{name:20s} accuracy {model.score(X_test, y_test):.3f}")
SourceWeightsDisplay.from_estimator(
    {"UOWQ": models["UOWQ"]}, domain_names=data.domain_names
)
plt.show()
