"""Neural nets for transfer, trained by skorch on a CPU or a GPU (extra ``deep``)."""

try:
    import skorch  # noqa: F401
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sktransfer.deep needs torch and skorch: pip install 'sktransfer[deep]'."
    ) from error

from sktransfer.deep._alignment import Alignment, Encoded, Sizes
from sktransfer.deep._baselines import (
    SourceOnlyNet,
    SourceOnlyNetRegressor,
    TargetOnlyNet,
    TargetOnlyNetRegressor,
)
from sktransfer.deep._losses import coral_loss, mk_mmd_loss
from sktransfer.deep._modules import MLP
from sktransfer.deep._net import TransferNetClassifier, TransferNetRegressor

__all__ = [
    "MLP",
    "Alignment",
    "Encoded",
    "Sizes",
    "SourceOnlyNet",
    "SourceOnlyNetRegressor",
    "TargetOnlyNet",
    "TargetOnlyNetRegressor",
    "TransferNetClassifier",
    "TransferNetRegressor",
    "coral_loss",
    "mk_mmd_loss",
]
