r"""
Your own net and your own alignment
===================================

After this page you will know how to replace the extractor, the head and the alignment
of a net.

A net of :mod:`sktransfer.deep` has parts that you can replace one by one: the
``module`` that makes features, the ``head`` on top, and the ``alignment`` that brings
the domains together. Everything else, from batches to the gate, stays.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.utils import Bunch
from torch import nn

from sktransfer.datasets import load_perturbed_digits, stack_domains
from sktransfer.deep import Alignment, TransferNetClassifier
from sktransfer.inspection import NegativeTransferDisplay
from sktransfer.metrics import make_ntg_scorer
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.safe import TransferGuard

sklearn.set_config(enable_metadata_routing=True)

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with digits_mnist_usps_256.npz")
args, _ = parser.parse_known_args()


# %%
# The extractor
# -------------
# Any module will do. ``n_features`` is filled in, other arguments are parameters of the
# net: ``module__width=64``.
class Residual(nn.Module):
    """Two layers, the second with a shortcut."""

    def __init__(self, n_features, width=64):
        super().__init__()
        self.first = nn.Linear(n_features, width)
        self.second = nn.Linear(width, width)

    def forward(self, x):
        """Return features of rows."""
        x = torch.relu(self.first(x))
        return x + torch.relu(self.second(x))


# %%
# The alignment
# -------------
# A loss per step, weighted by ``mu``. This one asks that each class of the source has
# the same mean features as the labeled target rows of that class.
class ClassMeans(Alignment):
    """Equal means of the features of each class."""

    def losses(self, net, batch, encoded):
        """Return the mean squared distance of the class means."""
        gaps = []
        for label in batch.y_labeled.unique():
            source = encoded.source[batch.y_source == label]
            target = encoded.labeled[batch.y_labeled == label]
            if len(source):
                gaps.append((source.mean(dim=0) - target.mean(dim=0)).square().mean())
        return {"class_means": torch.stack(gaps).mean()} if gaps else {}


# %%
# The whole is an estimator
# -------------------------
# So it goes into a search, on folds of the labeled target rows. The second scorer is
# the negative transfer gap, for which TransferGuard fits the net without the source
# too. With ``--data`` the source is MNIST and the target is USPS.
def read():
    if args.data is None:
        return load_perturbed_digits(0.5, 0.3, max_per_class=6, random_state=0)
    file = np.load(args.data / "digits_mnist_usps_256.npz")
    X, y = file["X"].astype(float), file["y"].astype(int)
    usps = file["domain_names"][file["domain"]] == "usps"
    few = np.concatenate([np.flatnonzero(usps & (y == c))[:6] for c in range(10)])
    test = np.setdiff1d(np.flatnonzero(usps), few)
    data = stack_domains({"mnist": (X[~usps], y[~usps])}, (X[few], y[few]))
    return Bunch(**data, X_test=X[test], y_test=y[test])


data = read()
net = TransferNetClassifier(
    Residual,
    alignment=ClassMeans(),
    module__width=64,
    max_epochs=10,
    random_state=0,
)
search = GridSearchCV(
    TransferGuard(net, cv=2),
    {"estimator__mu": [0.0, 10.0]},
    cv=StratifiedTargetKFold(3, shuffle=True, random_state=0),
    scoring={"accuracy": "accuracy", "ntg": make_ntg_scorer("accuracy")},
    refit="accuracy",
)
search.fit(data.X, data.y, sample_domain=data.sample_domain)
for mu, accuracy in zip(
    search.cv_results_["param_estimator__mu"],
    search.cv_results_["mean_test_accuracy"],
    strict=True,
):
    print(f"mu = {mu:g}: accuracy on the folds {accuracy:.3f}")
mu = search.best_params_["estimator__mu"]
print("The alignment", "pays" if mu else "does not pay", "here.")
print(f"accuracy on unseen target rows: {search.score(data.X_test, data.y_test):.3f}")
NegativeTransferDisplay.from_cv_results(search.cv_results_)
plt.show()
