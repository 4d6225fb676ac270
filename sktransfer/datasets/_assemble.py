"""Shared by the generators: rows of a scenario and their ground truth."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import TARGET_ID, source_id
from sktransfer.datasets._stack import stack_domains
from sktransfer.exceptions import DomainError

#: constraints of the parameters that all generators have
COMMON_CONSTRAINTS = {
    "n_source": [Interval(Integral, 1, None, closed="left")],
    "n_labeled": [Interval(Integral, 0, None, closed="left")],
    "n_unlabeled": [Interval(Integral, 0, None, closed="left")],
    "n_test": [Interval(Integral, 0, None, closed="left")],
    "shift": [Interval(Real, None, None, closed="neither"), "array-like"],
    "noise": [Interval(Real, 0, None, closed="left")],
    "task": [StrOptions({"classification", "regression"})],
    "random_state": ["random_state"],
}


def check_shifts(shift):
    """Return one finite shift per source as a float array of shape (n_sources,)."""
    shifts = np.atleast_1d(np.asarray(shift, dtype=np.float64))
    if shifts.ndim != 1 or not len(shifts) or not np.isfinite(shifts).all():
        raise ValueError(
            "shift must be a finite number, or a list of them with one per source; "
            f"got {shift!r}."
        )
    return shifts


def to_labels(score, *, noise, task, rng):
    """Turn noisy scores into labels: themselves, or their sign as class 0 or 1."""
    noisy = score + noise * rng.standard_normal(len(score))
    return noisy if task == "regression" else (noisy > 0).astype(np.int64)


def unit_vectors(n_vectors, n_features, rng):
    """Draw random unit vectors, one per row."""
    vectors = rng.standard_normal((n_vectors, n_features))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def per_domain(sources, target):
    """Map each domain id to its part of the ground truth."""
    truth = {source_id(position): part for position, part in enumerate(sources)}
    return truth | {TARGET_ID: target}


def assemble(draw, n_sources, *, n_source, n_labeled, n_unlabeled, n_test):
    """Draw every domain and stack it.

    Parameters
    ----------
    draw : callable
        ``draw(n_rows, source)`` returns ``(X, y)`` of the source 0, 1, ..., or of the
        target, where ``source`` is None.
    n_sources : int
        Number of sources.
    n_source, n_labeled, n_unlabeled, n_test : int
        Rows of each source, and of the parts of the target.

    Returns
    -------
    data : Bunch
        What ``stack_domains`` returns, with the labels of all rows as ``y_true`` and
        further target rows as ``X_test``, ``y_test``.
    """
    if not n_labeled + n_unlabeled:
        raise DomainError("n_labeled and n_unlabeled are both 0: no target row.")
    sources = [draw(n_source, source) for source in range(n_sources)]
    X_labeled, y_labeled = draw(n_labeled, None)
    X_unlabeled, y_unlabeled = draw(n_unlabeled, None)
    X_test, y_test = draw(n_test, None)
    stacked = stack_domains(
        sources,
        target=(X_labeled, y_labeled) if n_labeled else None,
        unlabeled=X_unlabeled if n_unlabeled else None,
    )
    y_true = np.concatenate([*(y for _, y in sources), y_labeled, y_unlabeled])
    return Bunch(**stacked, y_true=y_true, X_test=X_test, y_test=y_test)
