"""Validation shared by the functions of this package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, column_or_1d

from sktransfer._compat import _num_samples
from sktransfer._solvers.array_api import namespace_of, refuse_other_arrays
from sktransfer.exceptions import warn

# more distinct whole numbers than this, with fewer rows each, may be values
_MANY, _FEW_ROWS = 20, 5

#: what NumPy and scikit-learn say of a table that does not hold finite numbers
_NO_NUMBERS = (
    "contains NaN",
    "contains infinity",
    "could not convert string",
    "bytes/strings",
    "DateTime",
    "Timestamp",
    "NAType",
)


def check_numbers(X: Any, *, accept_sparse: bool | str = False) -> Any:
    """Return the rows of all domains as finite float64 numbers."""
    refuse_other_arrays("this function", X=X)
    try:
        return check_array(
            X, dtype=np.float64, input_name="X", accept_sparse=accept_sparse
        )
    except (TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        if not any(sign in first for sign in _NO_NUMBERS):
            raise
        raise ValueError(
            f"X must hold finite numbers: {first.rstrip('.')}. Encode text, dates and "
            "categories and fill in missing values first, e.g. by TableEncoder of "
            "sktransfer.preprocessing."
        ) from error


def check_domain_pair(
    X_source: NDArray[Any],
    X_target: NDArray[Any],
    *,
    min_rows: int = 1,
    center: bool = False,
    array_api: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return two float64 arrays with the same number of features.

    With ``center`` both move to an origin halfway between their means, for measures
    that do not depend on the origin but lose digits far from it. With ``array_api``
    arrays to which scikit-learn's dispatch applies stay what they are, float32 too.
    """
    if not array_api:
        refuse_other_arrays("this measure", X_source=X_source, X_target=X_target)
    xp = namespace_of(X_source, X_target) if array_api else np
    dtype = np.float64 if xp is np else [xp.float64, xp.float32]
    X_source = check_array(
        X_source, dtype=dtype, input_name="X_source", ensure_min_samples=min_rows
    )
    X_target = check_array(
        X_target, dtype=dtype, input_name="X_target", ensure_min_samples=min_rows
    )
    if X_source.dtype != X_target.dtype:
        X_source, X_target = (xp.astype(X, xp.float64) for X in (X_source, X_target))
    if X_source.shape[1] != X_target.shape[1]:
        raise ValueError(
            f"X_source has {X_source.shape[1]} features and X_target has "
            f"{X_target.shape[1]}; both domains need the same features."
        )
    if center:
        # around a row first, as the mean of large numbers is a rounded one
        X_source, X_target = X_source - X_target[0], X_target - X_target[0]
        middle = (xp.mean(X_source, axis=0) + xp.mean(X_target, axis=0)) / 2
        X_source, X_target = X_source - middle, X_target - middle
    return X_source, X_target


def infer_task(y: Any, *, name: str = "y", argument: str = "task") -> str:
    """Tell classes from values where the labels alone decide, else ask.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels.
    name : str, default="y"
        What the message calls them.
    argument : str, default="task"
        Argument that decides instead.

    Returns
    -------
    task : {"classification", "regression"}
        Several columns, floats with a fractional part, and whole floats of which
        more than half are distinct are values. Text, truth values and whole numbers
        with few distinct ones are classes.

    Raises
    ------
    ValueError
        If whole numbers may be either: more than 20 distinct ones with fewer than 5
        rows each, or integers that :func:`looks_like_values`.
    """
    labels = _natural(y)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return "regression"
    labels = labels.ravel()
    if labels.dtype.kind not in "iuf" or not _finite(labels):
        return "classification"
    if (labels != np.round(labels)).any():
        return "regression"
    n_distinct = len(np.unique(labels))
    if labels.dtype.kind == "f" and n_distinct > len(labels) / 2:
        return "regression"
    thin = n_distinct > _MANY and len(labels) < _FEW_ROWS * n_distinct
    if not thin and not looks_like_values(labels):
        return "classification"
    raise ValueError(
        f"{name} holds {n_distinct} distinct whole numbers in {len(labels)} rows, "
        f"which may be classes or values: give {argument}."
    )


def looks_like_values(y: Any) -> bool:
    """Tell whether whole numbers can hardly be classes, by scikit-learn's own rule.

    These are more than 20 rows of which more than half hold distinct numbers, as ages
    or counts do (``sklearn.utils.multiclass.type_of_target`` warns of them).
    """
    labels = _natural(y)
    if labels.dtype.kind not in "iuf" or len(labels) <= _MANY:
        return False
    return len(np.unique(labels)) > len(labels) / 2


def _natural(y: Any) -> NDArray[Any]:
    """Return labels as an array; objects get their natural dtype."""
    labels = np.asarray(y)
    return np.asarray(labels.tolist()) if labels.dtype == object else labels


def _finite(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind != "f" or bool(np.isfinite(labels).all())


def encode_labels(
    y: Any,
    n_samples: int | None = None,
    *,
    name: str = "y",
    min_classes: int = 1,
    declared: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ``(classes, codes)`` of class labels of any kind.

    Numbers that can hardly be classes are refused unless the caller has ``declared``
    that they are.
    """
    labels = column_or_1d(y, warn=True)
    if n_samples is not None and _num_samples(labels) != n_samples:
        raise ValueError(
            f"{name} has {_num_samples(labels)} entries for {n_samples} rows."
        )
    if labels.dtype == object and any(v is None or v != v for v in labels):
        raise ValueError(f"{name} has missing labels; pass labeled rows only.")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} has missing labels; pass labeled rows only.")
    if labels.dtype.kind == "f" and (labels != np.round(labels)).any():
        raise ValueError(
            f"{name} holds continuous values, but class labels are needed here."
        )
    if not declared and looks_like_values(labels):
        raise ValueError(
            f"{name} holds {len(np.unique(labels))} distinct numbers in {len(labels)} "
            "rows, so that nearly every row would be its own class: they look like "
            "values, but class labels are needed here. If they are classes, pass them "
            "as text."
        )
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < min_classes:
        raise ValueError(
            f"{name} has {len(classes)} class; at least {min_classes} are needed."
        )
    return classes, codes


def check_features(
    features: NDArray[Any], y: Any, *, min_classes: int = 1
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return float64 features and the encoded labels of their rows."""
    features = check_array(features, dtype=np.float64, input_name="features")
    return features, *encode_labels(y, len(features), min_classes=min_classes)


def to_unit_range(features: NDArray[Any]) -> NDArray[Any]:
    """Divide by the largest absolute value, for scores that do not see the scale.

    Squares of what is left neither overflow nor vanish.
    """
    largest = np.abs(features).max()
    return features / largest if largest > 0 else features


def bin_labels(y: Any, n_bins: int) -> NDArray[Any]:
    """Return the quantile bin of each real label; equal labels share a bin."""
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim != 1:
        raise ValueError(f"y must have shape (n_samples,) to be binned, got {y.shape}.")
    edges = np.quantile(y, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.searchsorted(edges, y, side="left")


def class_means(
    features: NDArray[Any], codes: NDArray[Any], n_classes: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean of each class and the number of rows of each class."""
    counts = np.bincount(codes, minlength=n_classes)
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(features[order], starts, axis=0)
    return sums / counts[:, None], counts


def warn_not_converged(what: str, residual: float, tol: float, advice: str) -> None:
    """Warn with the residual that a solver ended with."""
    warn(
        f"{what} did not converge: residual {residual:.2e}, tolerance {tol:.1e}. "
        f"{advice}",
        ConvergenceWarning,
    )
