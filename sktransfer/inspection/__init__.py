"""Pictures of what transfer does, in scikit-learn's form of displays, and a report.

A display is made by one of its ``from_...`` class methods, which compute and then
call ``plot``. The data stay as attributes, ``frame`` returns them as a table, and
``plot`` may be called again, on other axes. :func:`transfer_report` decides for one
table whether, from which sources and how to transfer. matplotlib and pandas are
imported where they are used; ``pip install "sktransfer[plot]"`` brings both.
"""

from sktransfer.inspection._domain_embedding import DomainEmbeddingDisplay
from sktransfer.inspection._learning_curve import LearningCurveTransferDisplay
from sktransfer.inspection._negative_transfer import NegativeTransferDisplay
from sktransfer.inspection._read_table import read_table
from sktransfer.inspection._report import TransferReport, transfer_report
from sktransfer.inspection._sample_weight import SampleWeightDisplay
from sktransfer.inspection._source_weights import SourceWeightsDisplay
from sktransfer.inspection._transferability import TransferabilityDisplay

__all__ = [
    "DomainEmbeddingDisplay",
    "LearningCurveTransferDisplay",
    "NegativeTransferDisplay",
    "SampleWeightDisplay",
    "SourceWeightsDisplay",
    "TransferReport",
    "TransferabilityDisplay",
    "read_table",
    "transfer_report",
]
