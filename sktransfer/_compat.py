"""Every private import of scikit-learn, so that a new release is met in one place."""

from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss
from sklearn.base import _fit_context
from sklearn.neural_network._base import ACTIVATIONS
from sklearn.utils import _safe_indexing
from sklearn.utils._array_api import (
    _convert_to_numpy,
    _is_numpy_namespace,
    get_namespace_and_device,
)
from sklearn.utils._indexing import _get_column_indices
from sklearn.utils._metadata_requests import MetadataRouter, MethodMapping
from sklearn.utils._optional_dependencies import (
    check_matplotlib_support,
    check_pandas_support,
)
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from sklearn.utils.validation import _check_feature_names_in, _num_samples

__all__ = [
    "ACTIVATIONS",
    "HalfBinomialLoss",
    "HalfMultinomialLoss",
    "HasMethods",
    "Interval",
    "MetadataRouter",
    "MethodMapping",
    "StrOptions",
    "_check_feature_names_in",
    "_convert_to_numpy",
    "_fit_context",
    "_get_column_indices",
    "_is_numpy_namespace",
    "_num_samples",
    "_safe_indexing",
    "check_matplotlib_support",
    "check_pandas_support",
    "get_namespace_and_device",
    "validate_params",
]
