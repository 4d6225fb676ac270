"""From rows of a table to tensors: shapes, scales and precision."""

import numpy as np
import torch

from sktransfer._domains import canonical_order
from sktransfer.deep._device import has_double

__all__ = ["RowEncoder"]

#: a scale is this share of the range of a feature at least
_FLOOR = 0.05
#: interquartile range of the standard normal distribution
_NORMAL_IQR = 1.3489795003921634


class RowEncoder:
    """Scale rows and turn them into tensors.

    Parameters
    ----------
    standardize : bool or "robust"
        Scale by mean and standard deviation, or by median and interquartile range.
    dtype : {"auto", "float32", "float64"}
        Precision of the tensors.
    mixed_precision : bool, default=False
        Whether steps are computed in bfloat16, which torch does not do in double
        precision.

    Attributes
    ----------
    shift, scale : ndarray
        Of each feature (channel), to be broadcast against a row.
    dtype_name : str
        Precision that was found.
    row_shape : tuple of int
        Shape of a row.
    """

    def __init__(self, standardize, dtype, mixed_precision=False):
        self.standardize, self.dtype = standardize, dtype
        self.mixed_precision = mixed_precision

    def fit(self, X, device, weight=None):
        """Learn scales and precision.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features, ...)
            Rows.
        device : torch.device
            Device that computes.
        weight : ndarray of shape (n_samples,), default=None
            Weights of the rows in means and standard deviations.

        Returns
        -------
        self : RowEncoder
            The encoder.

        Raises
        ------
        ValueError
            If the device lacks the precision, or it excludes mixed precision.
        """
        if self.dtype == "float64" and self.mixed_precision:
            raise ValueError(
                "mixed_precision=True has no effect with dtype='float64'; use "
                "dtype='float32' or 'auto'."
            )
        if self.dtype == "float64" and not has_double(device):
            raise ValueError(
                f"dtype='float64', but device={str(device)!r} has no double precision; "
                "use dtype='float32' or device='cpu'."
            )
        on_cpu = device.type == "cpu" and X.dtype == np.float64
        auto = self.dtype == "auto" and on_cpu and not self.mixed_precision
        double = self.dtype == "float64" or auto
        self.dtype_name = np.dtype(np.float64 if double else np.float32).name
        self.row_shape = X.shape[1:]
        self.shift, self.scale = np.zeros(1, X.dtype), np.ones(1, X.dtype)
        if self.standardize:
            # in canonical order, so that rounding does not depend on that of the rows
            order = canonical_order(X) if weight is None else canonical_order(X, weight)
            weight = None if weight is None else weight[order]
            self.shift, self.scale = self._scales(X[order], weight)
        return self

    def _scales(self, X, weight):
        """Return location and scale of each feature; the scale of a constant is 1."""
        axes = tuple(axis for axis in range(X.ndim) if axis != 1)
        wide = [1] * (X.ndim - 2)
        low, high = X.min(axis=axes), X.max(axis=axes)
        size = np.maximum(np.abs(low), np.abs(high))
        # squares of large numbers would overflow: they are counted in powers of two
        large = size > np.finfo(X.dtype).max ** 0.4
        unit = np.where(large, np.exp2(np.floor(np.log2(np.maximum(size, 1)))), 1.0)
        if large.any():
            X = X / unit.astype(X.dtype).reshape(-1, *wide)
            low, high, size = low / unit, high / unit, size / unit
        if weight is None:
            # sums in single precision would lose the digits of many rows
            mean = X.mean(axis=axes, dtype=np.float64)
            spread = X.std(axis=axes, dtype=np.float64)
        else:
            by_row = X.reshape(*X.shape[:2], -1)
            means = by_row.mean(axis=2, dtype=np.float64)
            mean = np.average(means, axis=0, weights=weight)
            squares = ((by_row - mean[:, None]) ** 2).mean(axis=2)
            spread = np.sqrt(np.average(squares, axis=0, weights=weight))
        spread = np.maximum(spread, _FLOOR * (high - low))
        if self.standardize == "robust":
            lower, mean, upper = np.quantile(X, [0.25, 0.5, 0.75], axis=axes)
            spread = np.where(upper > lower, (upper - lower) / _NORMAL_IQR, spread)
        rounding = 10 * np.finfo(X.dtype).eps * size
        constant = high - low <= rounding
        mean = np.where(constant, low, mean) * unit
        spread = np.where(constant, np.maximum(1.0, rounding * unit), spread * unit)
        return tuple(
            values.reshape(-1, *wide).astype(X.dtype) for values in (mean, spread)
        )

    def tensor(self, X):
        """Return scaled rows as a tensor on the CPU.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features, ...)
            Rows.

        Returns
        -------
        x : tensor of the same shape
            Scaled rows.
        """
        X = ((X - self.shift) / self.scale).astype(self.dtype_name, copy=False)
        return torch.as_tensor(np.ascontiguousarray(X))
