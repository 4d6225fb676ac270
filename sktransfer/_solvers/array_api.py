"""Arrays of other libraries, which scikit-learn's array API dispatch lets through."""

from typing import Any

import numpy as np

from sktransfer._compat import (
    _convert_to_numpy,
    _is_numpy_namespace,
    get_namespace_and_device,
)


def namespace_of(*arrays: Any) -> Any:
    """Return the functions that fit some arrays.

    Parameters
    ----------
    *arrays : array-like or sparse matrix
        Arrays of one library, on one device.

    Returns
    -------
    xp : module
        NumPy, unless ``array_api_dispatch`` is on and the arrays are of another
        library.

    Raises
    ------
    ValueError
        If the arrays are of several libraries or on several devices.
    """
    try:
        xp = get_namespace_and_device(*arrays)[0]
    except ValueError as error:
        kinds = [f"{type(X).__module__}.{type(X).__name__}" for X in arrays]
        raise ValueError(
            "under array_api_dispatch arrays must be of one library and on one device; "
            f"got {', '.join(kinds)}: {error}"
        ) from error
    return np if _is_numpy_namespace(xp) else xp


def refuse_other_arrays(taker: str, **arrays: Any) -> None:
    """Refuse arrays of another library than NumPy under ``array_api_dispatch``.

    Parameters
    ----------
    taker : str
        Who takes NumPy's arrays only.
    **arrays : array-like or sparse matrix
        Arrays by the name of the argument.

    Raises
    ------
    TypeError
        If the dispatch is on and an array is of another library.
    """
    for name, X in arrays.items():
        if namespace_of(X) is not np:
            raise TypeError(
                f"{taker} takes NumPy's arrays, but {name} is a "
                f"{type(X).__module__}.{type(X).__name__} under array_api_dispatch: "
                "convert it, or switch the dispatch off."
            )


def array_like(values: Any, X: Any, dtype: Any = None) -> Any:
    """Convert NumPy values to the library, device and dtype of an array.

    Parameters
    ----------
    values : ndarray
        The values.
    X : array
        The array whose kind they take.
    dtype : dtype, default=None
        None: that of `X`.

    Returns
    -------
    array
        The values, unchanged where `X` is NumPy's.
    """
    xp = namespace_of(X)
    if xp is np:
        return values
    kind = X.dtype if dtype is None else dtype
    return xp.asarray(values, dtype=kind, device=X.device)


def to_numpy(X: Any) -> Any:
    """Copy an array of another library to the host; NumPy's and sparse ones stay."""
    xp = namespace_of(X)
    return X if xp is np else _convert_to_numpy(X, xp)


def float_types(X: Any) -> list[Any]:
    """Return the floating types, double first, that ``check_array`` is to keep."""
    xp = namespace_of(X)
    return [xp.float64, xp.float32]


class HostProducts:
    """A matrix on a device, whose products take and give NumPy's arrays.

    Parameters
    ----------
    array : array of shape (n, m)
        The matrix, of another library than NumPy.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape = tuple(array.shape)
        self.dtype = np.dtype("float32" if "32" in str(array.dtype) else "float64")

    def __matmul__(self, other: Any) -> Any:
        return to_numpy(self.array @ array_like(other, self.array))
