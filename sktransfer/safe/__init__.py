"""Estimators that are built to be no worse than the target alone."""

from sktransfer.safe._conformal import TransferConformal
from sktransfer.safe._make_pipeline import make_transfer_pipeline
from sktransfer.safe._portfolio import (
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)
from sktransfer.safe._reliable_transfer import ReliableTransfer
from sktransfer.safe._safew import SAFEW
from sktransfer.safe._transfer_guard import TransferGuard

__all__ = [
    "ReliableTransfer",
    "SAFEW",
    "TransferConformal",
    "TransferGuard",
    "TransferPortfolioClassifier",
    "TransferPortfolioRegressor",
    "make_transfer_pipeline",
]
