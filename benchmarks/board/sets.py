"""The sets of the leaderboard: bundled and generated ones, files, tables of R.

Bundled and generated sets need neither files nor a network. scikit-learn's tables get
domains by a column that is then left out. Generated sets have domains whose difference
is known.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from benchmarks.portfolio_sets import LEAST_ROWS, MULTILEVEL, PARTS, load, reduce
from sktransfer.datasets import (
    make_concept_shift,
    make_covariate_shift,
    make_label_shift,
    make_subspace_shift,
)

N_POOL = 700  # rows of a generated source; the target has twice as many


@dataclass(frozen=True)
class Rows:
    """All rows of a set.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Standardized features, or 30 principal components of more than 60.
    y : ndarray of shape (n_samples,)
        Labels: floats, or codes of classes.
    domain : ndarray of shape (n_samples,)
        Domain of each row.
    metric : {"accuracy", "auc", "r2"}
        Main score.
    unit : ndarray of shape (n_samples,)
        What must not be in the training and in the test rows.
    targets : tuple of int
        Domains that may be the target, always in this order.
    """

    X: np.ndarray
    y: np.ndarray
    domain: np.ndarray
    metric: str
    unit: np.ndarray
    targets: tuple


def _by_column(bunch, column, shares):
    """Cut a table at quantiles of a column, which is then left out."""
    values = bunch.data[:, column]
    domain = np.searchsorted(np.quantile(values, shares), values)
    return np.delete(bunch.data, column, axis=1), bunch.target, domain


def _diabetes():
    return *_by_column(load_diabetes(), 0, [1 / 3, 2 / 3]), "r2"


def _breast_cancer():
    return *_by_column(load_breast_cancer(), 1, [0.5]), "accuracy"


def _wine():
    return *_by_column(load_wine(), 4, [0.5]), "accuracy"


def _digits():
    """Show scikit-learn's digits plain, in negative, and moved by a pixel."""
    X, y = load_digits(return_X_y=True)
    domain = np.random.RandomState(0).permutation(len(X)) % 3
    images = X.reshape(-1, 8, 8).copy()
    images[domain == 1] = 16 - images[domain == 1]
    images[domain == 2] = np.roll(images[domain == 2], 1, axis=2)
    return images.reshape(len(X), -1), y, domain, "accuracy"


def _generated(make, n_sources, **parameters):
    """Return rows of a generator; the target is the last domain."""
    data = make(
        N_POOL, n_labeled=2, n_unlabeled=0, n_test=2 * N_POOL, random_state=0,
        **parameters,
    )  # fmt: skip
    ours = data.sample_domain > 0
    X = np.concatenate([data.X[ours], data.X_test])
    y = np.concatenate([data.y[ours], data.y_test])
    domain = np.concatenate([data.sample_domain[ours] - 1,
                             np.full(len(data.y_test), n_sources)])  # fmt: skip
    metric = "r2" if parameters["task"] == "regression" else "accuracy"
    if metric == "accuracy":
        y = y.astype(int)
    return X, y, domain, metric


_CLASSES, _REALS = {"task": "classification"}, {"task": "regression"}
#: name -> function that returns X, y, domain and metric
BUNDLED = {
    "sk_diabetes": _diabetes,
    "sk_breast_cancer": _breast_cancer,
    "sk_wine": _wine,
    "sk_digits": _digits,
    "g_concept_near": lambda: _generated(
        make_concept_shift, 2, shift=[0.2, 0.4], n_features=20, **_REALS
    ),
    "g_concept_mixed": lambda: _generated(
        make_concept_shift, 3, shift=[0.3, 1.0, 3.0], n_features=20, **_CLASSES
    ),
    "g_useless": lambda: _generated(
        make_concept_shift, 2, shift=[1.4, 2.0], n_features=20, **_REALS
    ),
    "g_covariate": lambda: _generated(
        make_covariate_shift, 2, shift=[0.5, 1.5], n_features=3, **_REALS
    ),
    "g_labels": lambda: _generated(
        make_label_shift, 2, shift=[1.5, -1.0], n_features=5, **_CLASSES
    ),
    "g_subspace": lambda: _generated(make_subspace_shift, 1, shift=0.8, **_CLASSES),
}
#: generated sets have one target, the others all of their domains or two of them
_GENERATED = tuple(name for name in BUNDLED if name.startswith("g_"))
SETS = {"bundled": list(BUNDLED), **PARTS}
N_TARGETS = 2


def part_of(name):
    """Return the part of a set: bundled, tune or proof."""
    return next(part for part, names in SETS.items() if name in names)


def needs_files(name):
    """Return whether a set is read from a folder of files."""
    return name not in BUNDLED and name not in MULTILEVEL


@cache
def read_set(name, folder=None):
    """Return the rows of a set, read from ``folder`` where it is a file."""
    unit = None
    if name in BUNDLED:
        X, y, domain, metric = BUNDLED[name]()
    else:
        X, y, domain, metric, unit = load(folder, part_of(name), name)
    if unit is None:
        unit = np.arange(len(y))
    targets = _targets_of(name, domain, LEAST_ROWS.get(name, 20))
    return Rows(reduce(X), y, domain, metric, unit, tuple(int(t) for t in targets))


def _targets_of(name, domain, least):
    """Return two domains of enough rows, always the same; at worst the two largest."""
    ids, counts = np.unique(domain, return_counts=True)
    if name in _GENERATED:
        return ids[-1:]
    enough = ids[counts >= least]
    if len(enough) < N_TARGETS:
        return np.sort(ids[np.argsort(-counts, kind="stable")][:N_TARGETS])
    rng = np.random.RandomState(0)
    # the target that comes first is drawn, too: a run that has only seen the first
    # targets should not have seen the first domains alone
    return rng.choice(enough, N_TARGETS, replace=False)
