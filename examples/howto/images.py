r"""
Images: a convolutional net that crosses domains
================================================

After this page you will know how to train a convolutional net on pictures of two kinds,
with few labels of the second.

The source is labeled pictures, the target is pictures of another kind with three labels
per class. Any torch module that turns images into features can be the extractor; the
nets of :mod:`sktransfer.deep` do the rest.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter, rotate
from sklearn.datasets import load_digits
from torch import nn

from sktransfer.deep import DAN, DANN, SourceOnlyNet, TargetOnlyNet
from sktransfer.inspection import DomainEmbeddingDisplay, NegativeTransferDisplay

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with digits_mnist_usps_256.npz")
args, _ = parser.parse_known_args()
rng = np.random.default_rng(0)


# %%
# The data
# --------
# Images have the shape (rows, channels, height, width). The source is scikit-learn's
# digits as they are, the target has them blurred, tilted, on a brighter background and
# with noise. With ``--data`` the source is MNIST and the target is USPS.
def read():
    if args.data is None:
        images, y = load_digits(return_X_y=True)
        images = (images / 16).reshape(-1, 1, 8, 8)
        source, target = np.split(rng.permutation(len(y)), [900])
        noisy = rotate(images[target], 10, axes=(3, 2), reshape=False, order=1)
        noisy = 0.2 + 0.7 * gaussian_filter(noisy, (0, 0, 0.5, 0.5))
        noisy += 0.1 * rng.normal(size=noisy.shape)
        return (images[source], y[source]), (noisy, y[target])
    file = np.load(args.data / "digits_mnist_usps_256.npz")
    images, y = file["X"].astype(float).reshape(-1, 1, 16, 16), file["y"].astype(int)
    usps = file["domain_names"][file["domain"]] == "usps"
    rows = rng.permutation(np.flatnonzero(usps))
    return (images[~usps], y[~usps]), (images[rows], y[rows])


(X_source, y_source), (X_target, y_target) = read()
few = np.concatenate([np.flatnonzero(y_target == c)[:3] for c in range(10)])
rest = np.setdiff1d(np.arange(len(y_target)), few)
unlabeled, test = rest[:400], rest[400:]
domain = np.repeat([1, -1], [len(y_source), len(few) + len(unlabeled)])
X = np.concatenate([X_source, X_target[few], X_target[unlabeled]])
y = np.concatenate([y_source, y_target[few], np.full(len(unlabeled), np.nan)])
X = X.astype(np.float32)
X_test, y_test = X_target[test].astype(np.float32), y_target[test]


# %%
# The nets
# --------
# DAN makes the features of both domains alike by their means in a kernel's space, DANN
# by a discriminator. The gap is measured against a net on labeled target rows alone.
# The gate, beside which nothing is matched, is for sources with bad rows; this one has
# none, so the gate gains less than the matching of DANN.
def extractor():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.LazyLinear(64), nn.ReLU(),
    )  # fmt: skip


options = {"module": extractor, "max_epochs": 20, "random_state": 0}
nets = {
    "target only": TargetOnlyNet(**options),
    "source only": SourceOnlyNet(**options),
    "DAN": DAN(**options),
    "DANN": DANN(**options),
    "DANN with gate": DANN(**options, gate=True),
}
predictions = {}
for name, net in nets.items():
    net.fit(X, y, sample_domain=domain)
    predictions[name] = net.predict(X_test)
    print(f"{name:15s} accuracy {np.mean(predictions[name] == y_test):.3f}")
alone = predictions.pop("target only")
NegativeTransferDisplay.from_predictions(y_test, predictions, alone)

# %%
# What the features look like
# ---------------------------
# Left the pixels, right the features of DAN: the domains should lie on each other, and
# the classes apart.
DomainEmbeddingDisplay.from_rows(
    X.reshape(len(X), -1),
    nets["DAN"].transform(X, sample_domain=domain),
    y=y,
    sample_domain=domain,
    method="tsne",
    max_samples=150,
    domain_names={1: "source", -1: "target"},
)
plt.show()
