r"""
Your own method in thirty lines
===============================

After this page you will know how to write a transfer method of your own and check that
it keeps the contract.

A transfer method is a scikit-learn estimator whose ``fit`` also takes
``sample_domain``. Derive from :class:`~sktransfer.base.TransferEstimator`: it checks
the input and hands you the rows by domain, and
:func:`~sktransfer.utils.check_transfer_estimator` checks whether the method keeps
the contract that all methods of this library keep.
"""

import argparse
from numbers import Real
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sktransfer.base import TransferEstimator, TransferPredictorMixin
from sktransfer.datasets import load_perturbed_digits, stack_domains
from sktransfer.inspection import LearningCurveTransferDisplay
from sktransfer.utils import check_transfer_estimator

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with digits_mnist_usps_256.npz")
args, _ = parser.parse_known_args()


# %%
# The method
# ----------
# Nearest centroids with a prior: the center of a class is the mean of its target rows
# and of the source's center, which counts as much as ``strength`` target rows.
#
# ``_fit_domains`` gets the checked rows, by domain: ``data.X_source``,
# ``data.y_source``, ``data.X_labeled``, ``data.y_labeled``, ``data.X_unlabeled``. Two
# things are up to you: the fit must also work without source rows, because that is what
# the negative transfer gap compares with; and the tags declare what the method does.
class PriorCentroids(TransferPredictorMixin, ClassifierMixin, TransferEstimator):
    """Nearest centroids that are drawn to those of the sources."""

    _parameter_constraints = {"strength": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, strength=3.0):
        self.strength = strength

    def _fit_domains(self, data):
        rows = data.labeled & (data.is_target | (self.strength > 0))
        X, y, is_source = data.X[rows], data.labels(rows), data.is_source[rows]
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self.centers_ = np.array([self._center(X[y == c], is_source[y == c])
                                  for c in self.classes_])  # fmt: skip

    def _center(self, X, is_source):
        share = self.strength / max(is_source.sum(), 1)
        return np.average(X, axis=0, weights=np.where(is_source, share, 1.0))

    def predict(self, X):
        """Return the class of the nearest center."""
        check_is_fitted(self)
        X = self._validate_rows(X)
        distance = np.sum(self.centers_**2, axis=1) - 2 * X @ self.centers_.T
        return self.classes_[distance.argmin(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.regression = False
        return tags


# %%
# Does it keep the contract?
# --------------------------
# The checks ensure: row order does not matter, an unlabeled row is no class, the
# caller's arrays stay as they are, errors name the argument, and so on. The first one
# that fails raises an error that names it.
checks = check_transfer_estimator(PriorCentroids())
print(len(checks), "checks passed, such as", ", ".join(checks[:3]))


# %%
# Does it pay?
# ------------
# Every tool of the library works with it, such as the learning curve with and without
# the source. With ``--data`` the source is MNIST and the target is USPS.
def read_digits():
    if args.data is None:
        return load_perturbed_digits(0.3, 0.3, labeled_fraction=1.0, random_state=0)
    file = np.load(args.data / "digits_mnist_usps_256.npz")
    X, y = file["X"].astype(float), file["y"].astype(int)
    is_usps = file["domain_names"][file["domain"]] == "usps"
    return Bunch(
        **stack_domains({"mnist": (X[~is_usps], y[~is_usps])}, (X[is_usps], y[is_usps]))
    )


data = read_digits()
curve = LearningCurveTransferDisplay.from_estimator(
    PriorCentroids(),
    data.X,
    data.y,
    sample_domain=data.sample_domain,
    n_labels=[10, 20, 40, 80, 160],
)
if curve.break_even is None:
    print("The source still pays with", curve.n_labels[-1], "labeled target rows.")
else:
    print("The source no longer pays from", curve.break_even, "labels on.")
plt.show()
