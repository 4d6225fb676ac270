"""Contrastive semantic alignment of source and labeled target rows (CCSA)."""

import torch

from sktransfer.deep._checks import check_number
from sktransfer.deep._class_alignment import ClassAlignment

__all__ = ["ContrastiveSemanticAlignment"]


class ContrastiveSemanticAlignment(ClassAlignment):
    r"""Rows of one class near each other across the domains, others a margin apart.

    Over the pairs of a source row and a labeled target row of a batch, with the
    distance d of their features, the losses are the means [1]_

    .. math:: \tfrac12 d^2 \;\text{(same class)}, \qquad
        \tfrac12 \max(0, m - d)^2 \;\text{(different classes)}.

    It needs labeled target rows, and uses no others; without sources it is no loss.

    Parameters
    ----------
    margin : float in [0, inf), default=1.0
        Distance m beyond which rows of different classes are left alone.

    Raises
    ------
    ValueError
        If ``margin`` is out of its range, and in a fit without labeled target rows or
        of a regressor, which has no classes.

    References
    ----------
    .. [1] S. Motiian, M. Piccirilli, D. A. Adjeroh, G. Doretto, "Unified deep
       supervised domain adaptation and generalization", ICCV 2017, arXiv:1709.10190.

    Examples
    --------
    >>> from sktransfer.deep import ContrastiveSemanticAlignment, TransferNetClassifier
    >>> net = TransferNetClassifier(alignment=ContrastiveSemanticAlignment())
    """

    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = check_number("margin", margin)

    def losses(self, net, batch, encoded):
        """Return the losses of both kinds of pairs; 0 where there are none."""
        if batch.target_alone:
            return {}
        if not batch.n_labeled:
            raise ValueError(
                "alignment=ContrastiveSemanticAlignment compares source rows with "
                "labeled target rows, but no target row has a label: use "
                "ContrastiveAlignment."
            )
        square = (encoded.source[:, None] - encoded.labeled[None]).square().sum(2)
        distance = (square + torch.finfo(square.dtype).eps).sqrt()
        same = batch.y_source[:, None] == batch.y_labeled[None]
        apart = (self.margin - distance).clamp_min(0).square()
        return {
            "semantic": 0.5 * (square * same).sum() / same.sum().clamp_min(1),
            "separation": 0.5 * (apart * ~same).sum() / (~same).sum().clamp_min(1),
        }
