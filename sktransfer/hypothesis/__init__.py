"""Carry the model, not the data: source hypotheses and priors."""

from sktransfer.hypothesis._adaptive_gp import AdaptiveGP
from sktransfer.hypothesis._adaptive_gp_classifier import AdaptiveGPClassifier
from sktransfer.hypothesis._adaptive_svc import AdaptiveSVC
from sktransfer.hypothesis._linear_interpolation import LinearInterpolation
from sktransfer.hypothesis._offset_transfer import OffsetTransfer
from sktransfer.hypothesis._positive_transfer import (
    PositiveTransferLogistic,
    PositiveTransferRidge,
)
from sktransfer.hypothesis._secure_logistic import SecureLogistic
from sktransfer.hypothesis._secure_rls import SecureRLS
from sktransfer.hypothesis._slope_bias import SlopeBiasCorrection
from sktransfer.hypothesis._source_predictions import SourcePredictions
from sktransfer.hypothesis._transfer_chain import TransferChain
from sktransfer.hypothesis._transfer_forest import TransferForest, TransferTree

__all__ = [
    "AdaptiveGP",
    "AdaptiveGPClassifier",
    "AdaptiveSVC",
    "LinearInterpolation",
    "OffsetTransfer",
    "PositiveTransferLogistic",
    "PositiveTransferRidge",
    "SecureLogistic",
    "SecureRLS",
    "SlopeBiasCorrection",
    "SourcePredictions",
    "TransferChain",
    "TransferForest",
    "TransferTree",
]
