r"""
Prototypes: new classes from a handful of labels
================================================

After this page you will know how to classify new classes by the features of a source
model and a handful of labels.

A source model that has never seen the target's classes may still have features that
tell them apart. The prototype of a class is the mean of the features of its few
labeled rows, and a row gets the class of the nearest one, as in prototypical networks
(J. Snell, K. Swersky, R. Zemel, NeurIPS 2017). Here it is two lines:
:class:`~sktransfer.multisource.FeatureFusion` gives the features of a fitted model to
scikit-learn's ``NearestCentroid``.
"""

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier

from sktransfer.multisource import FeatureFusion

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with digits_mnist_usps_256.npz")
parser.add_argument("--draws", type=int, default=10)
args, _ = parser.parse_known_args()


# %%
# A source of other classes
# -------------------------
# A small network is trained on the digits 0 to 5. The target has 6 to 9, with two to
# ten labels each. With ``--data`` the source is MNIST and the target USPS.
def read_digits():
    if args.data is None:
        X, y = load_digits(return_X_y=True)
        return X / 16, y, y < 6
    file = np.load(args.data / "digits_mnist_usps_256.npz")
    X, y = file["X"].astype(float), file["y"].astype(int)
    mnist = file["domain_names"][file["domain"]] == "mnist"
    keep = mnist == (y < 6)
    return X[keep], y[keep], mnist[keep]


X, y, source = read_digits()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    net = MLPClassifier((64,), max_iter=40, random_state=0).fit(X[source], y[source])
X, y = X[~source], y[~source]

warnings.filterwarnings("ignore", "self.within_class_std_dev_")  # pixels always dark

# %%
# Three ways
# ----------
# Prototypes of the features of the network, prototypes of the pixels, and logistic
# regression on the pixels.
ways = {
    "prototypes, features of the source": FeatureFusion(
        LogisticRegression(), source_models=net, head=NearestCentroid()
    ),
    "prototypes, pixels": NearestCentroid(),
    "logistic regression, pixels": LogisticRegression(),
}
shots = [2, 3, 5, 10]
accuracy = np.zeros((len(ways), len(shots), args.draws))
for draw in range(args.draws):
    rows = np.random.default_rng(draw).permutation(len(y))
    place = np.array([np.sum(y[rows[:i]] == y[row]) for i, row in enumerate(rows)])
    test = rows[place >= max(shots)]
    for j, k in enumerate(shots):
        few = rows[place < k]
        for i, model in enumerate(ways.values()):
            accuracy[i, j, draw] = model.fit(X[few], y[few]).score(X[test], y[test])

# %%
# The result
# ----------
# On the bundled digits the features lose against the pixels, with few labels most: a
# net that tells 0 to 5 apart has dropped what tells 6 to 9 apart. So compare, as
# :class:`~sktransfer.safe.TransferGuard` does by held-out labels; what is known for
# nets that saw hundreds of classes need not hold for one that saw six.
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, values in zip(ways, accuracy, strict=True):
    print(f"{name}: {np.round(values.mean(axis=1), 3)}")
    ax.errorbar(shots, values.mean(axis=1), values.std(axis=1), label=name, capsize=3)
ax.set(xlabel="labels per class", ylabel="accuracy", xticks=shots)
ax.legend()
plt.show()
