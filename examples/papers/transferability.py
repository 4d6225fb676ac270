r"""
Transferability: which source model to take
===========================================

After this page you will know how well scores of transferability rank source models
here.

A score of transferability predicts, without any training on the target, how well a
source model will do there. Y. Bao et al. show that the H-score follows the negative
log-loss (ICIP 2019), and Y. Tan et al. that OTCE ranks source models best of H-score,
LogME, LEEP and NCE (CVPR 2021, and the later table I). This script ranks sixteen
models.
"""

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from sktransfer.inspection import TransferabilityDisplay
from sktransfer.metrics import h_score, leep, logme, otce

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with digits_mnist_usps_256.npz")
args, _ = parser.parse_known_args()
rng = np.random.RandomState(0)


# %%
# Source models
# -------------
# Networks of one hidden layer, trained on digits that are turned by 0 to 168 degrees,
# half of them on five classes only. The target is the digits as they are, with ten
# labels per class. With ``--data`` the sources are turned MNIST and the target is USPS.
def read_digits():
    if args.data is None:
        X, y = load_digits(return_X_y=True)
        rows = rng.permutation(len(y))
        return X[rows[:900]] / 16, y[rows[:900]], X[rows[900:]] / 16, y[rows[900:]]
    file = np.load(args.data / "digits_mnist_usps_256.npz")
    X, y = file["X"].astype(float), file["y"].astype(int)
    usps = file["domain_names"][file["domain"]] == "usps"
    X /= np.abs(X).max()
    rows = rng.permutation(np.flatnonzero(usps))
    return X[~usps], y[~usps], X[rows], y[rows]


def turned(X, angle):
    side = int(np.sqrt(X.shape[1]))
    images = X.reshape(-1, side, side)
    return rotate(images, angle, axes=(2, 1), reshape=False, order=1).reshape(X.shape)


def hidden(model, X):
    """Features of a network: its hidden layer."""
    return np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0)


X_source, y_source, X_target, y_target = read_digits()
models = {}
for angle in range(0, 169, 24):
    for classes in (10, 5):
        kept = y_source < classes
        X, y = turned(X_source[kept], angle), y_source[kept]
        model = MLPClassifier((16,), max_iter=80, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            models[f"{angle}°/{classes}"] = model.fit(X, y), X, y

# %%
# Score and truth
# ---------------
# The truth is that of a new last layer, trained on the labeled target rows and tested
# on the others. The scores see the labeled rows only.
few = np.concatenate([np.flatnonzero(y_target == c)[:10] for c in range(10)])
rest = np.setdiff1d(np.arange(len(y_target)), few)
X_few, y_few = X_target[few], y_target[few]
scores = {name: [] for name in ("H-score", "LogME", "LEEP", "OTCE (-W_T)")}
accuracies, losses = [], []
for model, X, y in models.values():
    head = LogisticRegression(max_iter=2000).fit(hidden(model, X_few), y_few)
    features = hidden(model, X_target[rest])
    accuracies.append(head.score(features, y_target[rest]))
    losses.append(log_loss(y_target[rest], head.predict_proba(features)))
    features = hidden(model, X_few)
    scores["H-score"].append(h_score(features, y_few, shrinkage="ledoit_wolf"))
    scores["LogME"].append(logme(features, y_few))
    scores["LEEP"].append(leep(model.predict_proba(X_few), y_few))
    scores["OTCE (-W_T)"].append(otce(hidden(model, X[:300]), y[:300], features, y_few))

figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
correlations = {}
for ax, (name, values) in zip(axes.flat, scores.items(), strict=True):
    display = TransferabilityDisplay.from_scores(
        values, accuracies, score_name=name, ax=ax
    )
    ax.locator_params(axis="x", nbins=5)
    correlations[name] = display.spearman
for name, value in sorted(correlations.items(), key=lambda item: -item[1]):
    print(f"{name:12s} rank correlation with the accuracy {value:+.2f}")

# %%
# H-score and log-loss
# --------------------
display = TransferabilityDisplay.from_scores(
    scores["H-score"],
    -np.array(losses),
    names=list(models),
    score_name="H-score",
    accuracy_name="-log-loss on the target",
)
print(f"H-score and negative log-loss: rank correlation {display.spearman:+.2f}")
plt.show()
