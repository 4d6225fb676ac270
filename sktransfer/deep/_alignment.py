"""Alignments: what a net does to bring source and target together.

An alignment is a module of its own. It is told the sizes once (``build``) and then
adds losses to each step. A new method is a new alignment and, if it deserves a name,
an estimator that uses it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from sktransfer.deep._domain_layers import extract

__all__ = ["Alignment", "Encoded", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """What an alignment needs to build its modules.

    Parameters
    ----------
    row_shape : tuple of int
        Shape of one row of X.
    n_features : int
        Number of learned features.
    n_outputs : int
        Outputs of the head: the number of classes, or 1.
    n_classes : int
        Number of classes; 0 in regression.
    n_sources : int, default=1
        Number of sources; 1 where the labeled target rows play a source.

    Examples
    --------
    >>> from sktransfer.deep import Sizes
    >>> Sizes((3, 8, 8), n_features=16, n_outputs=2, n_classes=2).n_sources
    1
    """

    row_shape: tuple
    n_features: int
    n_outputs: int
    n_classes: int
    n_sources: int = 1


class Encoded(NamedTuple):
    """Features and outputs of a batch, part by part.

    Parameters
    ----------
    source, labeled, target : tensor of shape (n, n_features)
        Features of the source rows, of the labeled target rows, and of the target
        rows whose labels are not looked at.
    out_source, out_labeled, out_target : tensor of shape (n, n_outputs)
        Outputs of the head for the same rows.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import Encoded
    >>> parts = torch.zeros(6, 3).split([3, 1, 2])
    >>> len(Encoded(*parts, *parts).target)
    2
    """

    source: torch.Tensor
    labeled: torch.Tensor
    target: torch.Tensor
    out_source: torch.Tensor
    out_labeled: torch.Tensor
    out_target: torch.Tensor


class Alignment(nn.Module):
    r"""No alignment, and the base of all alignments.

    The loss of a step is the classification (or squared) loss of the source rows and
    of the labeled target rows, plus :math:`\mu` times the sum of what ``losses``
    returns, plus what ``own_losses`` returns. A subclass overrides what it changes.

    Notes
    -----
    ``needs_discriminator`` states whether the net needs a discriminator of domains; a
    net with a gate has one in any case. Before the share ``settled`` of the training
    the objective itself still changes, so early stopping does not count.

    A batch tells sources apart: ``batch.domain`` is the position of the source of each
    source row among the sorted ids, and ``sizes.n_sources`` is their number.

    Examples
    --------
    An alignment of means, used by a net:

    >>> from sktransfer.deep import Alignment, TransferNetClassifier
    >>> class MeanAlignment(Alignment):
    ...     def losses(self, net, batch, encoded):
    ...         gap = encoded.source.mean(0) - encoded.target.mean(0)
    ...         return {"mean": gap.square().sum()}
    >>> net = TransferNetClassifier(alignment=MeanAlignment(), max_epochs=3)
    >>> X = [[0.0], [1.0], [2.0], [3.0], [1.5], [2.5]]
    >>> y, domain = [0, 1, 0, 1, 0, None], [1, 1, 1, 1, -1, -1]
    >>> sorted(net.fit(X, y, sample_domain=domain).history_)
    ['labeled_loss', 'loss', 'mean_loss', 'mu', 'source_loss']
    """

    needs_discriminator: ClassVar[bool] = False
    #: whether it has parts for each source, so that no further one can come later
    per_source: ClassVar[bool] = False
    #: whether the target is predicted by other heads beside that of the net
    own_heads: bool = False
    #: share of the training after which early stopping counts: the ramp of mu is over
    settled: float = 0.5

    def __init__(self) -> None:
        super().__init__()

    def build(self, sizes: Sizes, net: Any) -> None:
        """Make the modules; ``net`` holds ``extractor`` and ``head``."""

    def encode(self, net: Any, batch: Any) -> Encoded:
        """Map a batch to features and outputs; both domains share the extractor."""
        n_source = 0 if batch.target_alone else batch.n_source
        features = extract(net.extractor, batch.x, n_source, batch.domain)
        outputs = net.head(features)
        return Encoded(*batch.split(features), *batch.split(outputs))

    def outputs(self, net: Any, features: torch.Tensor) -> torch.Tensor:
        """Return the outputs for features of target rows."""
        return net.head(features)

    def source_outputs(
        self, net: Any, features: torch.Tensor, domain: torch.Tensor
    ) -> torch.Tensor:
        """Return the outputs for features of rows of sources at these positions."""
        return net.head(features)

    def target_extractor(self, net: Any) -> nn.Module:
        """Return the extractor of target rows."""
        return net.extractor

    def source_weight(self, net: Any, batch: Any) -> torch.Tensor | None:
        """Return weights of the batch's source rows, shape (n_source,), or None."""
        return None

    def labeled_weight(self, net: Any) -> torch.Tensor | float:
        """Return the weight of the loss of the labeled target rows."""
        return 1.0

    def learns_from_source(self, net: Any) -> bool:
        """Tell whether the loss of the source rows is minimized in this epoch."""
        return True

    def reversal(self, net: Any, term: str) -> torch.Tensor:
        """Return how strongly the discriminator's gradient is reversed.

        ``term`` is "marginal" or "joint"; 0 keeps the gradient from the features.
        """
        return net.mu * 0

    def gate_features(self, net: Any, x: torch.Tensor) -> torch.Tensor | None:
        """Return what the discriminator of the gate sees of rows; None: features."""
        return None

    def gate_width(self, sizes: Sizes) -> int:
        """Return the width of what the discriminator sees."""
        return sizes.n_features

    def losses(self, net: Any, batch: Any, encoded: Encoded) -> dict:
        """Return losses that are weighted by the ramp of mu."""
        return {}

    def own_losses(self, net: Any, batch: Any, encoded: Encoded) -> dict:
        """Return losses of the alignment's own modules, in full from the start."""
        return {}

    def row_losses(self, net: Any, batch: Any, encoded: Encoded) -> dict:
        """Return losses that need no source, in full from the start."""
        return {}

    def begin_epoch(self, net: Any, rows: Any, progress: float) -> None:
        """Prepare an epoch; ``progress`` in [0, 1] is the share that is done."""

    def end_training(self, net: Any, rows: Any, rows_at_once: int) -> None:
        """Finish a training, before the net is set to prediction."""
