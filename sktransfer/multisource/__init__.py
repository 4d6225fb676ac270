"""Several sources: which of them count, and how much."""

from sktransfer.multisource._likelihood import (
    FisherRoot,
    Likelihood,
    likelihood_of,
    register_likelihood,
)
from sktransfer.multisource._uowq import UOWQ
from sktransfer.multisource._uowq_weights import UOWQResult, uowq_weights

__all__ = [
    "UOWQ",
    "FisherRoot",
    "Likelihood",
    "UOWQResult",
    "likelihood_of",
    "register_likelihood",
    "uowq_weights",
]
