"""Statistics of batch normalization from the target (AdaBN)."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sktransfer.deep._alignment import Alignment

__all__ = ["BatchNormAlignment"]


class BatchNormAlignment(Alignment):
    """Means and variances of batch normalization that are those of the target (AdaBN).

    After the training every layer of batch normalization learns its statistics anew
    from all target rows, which is the whole adaptation [1]_. A net without such layers
    stays as it is. Rows of the source are mapped with the statistics of the target,
    too.

    References
    ----------
    .. [1] Y. Li, N. Wang, J. Shi, X. Hou, J. Liu, "Adaptive batch normalization for
       practical domain adaptation", Pattern Recognition 80, 2018, arXiv:1603.04779.

    Examples
    --------
    >>> from sktransfer.deep import BatchNormAlignment, TransferNetClassifier
    >>> net = TransferNetClassifier(alignment=BatchNormAlignment())
    """

    settled = 0.0

    def end_training(self, net, rows, rows_at_once):
        """Learn the statistics of the target."""
        layers = [m for m in net.extractor.modules() if isinstance(m, _BatchNorm)]
        layers = [m for m in layers if m.track_running_stats]
        if not layers or not rows.sizes[2]:
            return
        net.eval()
        before = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over parts
            layer.train()
        with torch.no_grad():
            for x in rows.chunks(rows.x_target, rows_at_once):
                net.extractor(x)
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
