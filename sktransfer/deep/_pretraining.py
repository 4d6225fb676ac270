"""Train a copy of a net on rows of one domain, by the loop of every net."""

import torch

from sktransfer.deep._alignment import Alignment
from sktransfer.deep._rows import DomainRows
from sktransfer.deep._trainer import TransferTrainer
from sktransfer.deep._transfer_module import TransferModule

__all__ = ["RepeatedRows", "train_alone"]


class RepeatedRows(DomainRows):
    """Labeled rows of one domain, with a given number of batches in an epoch.

    Parameters
    ----------
    x : tensor of shape (n, ...)
        Rows.
    y : tensor of shape (n,)
        Labels.
    batch_size : int
        Rows in a batch.
    n_batches : int, default=None
        Batches of an epoch. None: as many as it takes to see every row.
    """

    def __init__(self, x, y, batch_size, n_batches=None):
        none = torch.zeros(0, dtype=torch.long, device=x.device)
        super().__init__(x, y, x[:0], y[:0], x[:0], none, batch_size)
        self._n_batches = n_batches

    @property
    def n_batches(self):
        """Number of batches of an epoch."""
        return self._n_batches or super().n_batches


def train_alone(net, extractor, head, rows, epochs, seed):
    """Train an extractor and a head, in place, on labeled rows alone.

    Parameters
    ----------
    net : TransferNet
        Estimator with the settings of the training.
    extractor, head : Module
        What to train, on the device of ``rows``.
    rows : RepeatedRows
        Labeled rows.
    epochs : int
        Number of epochs.
    seed : int
        Seed of the batches; the state of torch's generator is left as it was.
    """
    module = TransferModule(
        extractor, head, Alignment(), None, gate=False, mu=0.0, source_weight=1.0
    )
    device = rows.x.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        trainer = TransferTrainer(
            module,
            net._criterion,
            max_epochs=epochs,
            verbose=0,
            device=str(device),
            **net._training_params(module.alignment),
        )
        trainer.initialize().partial_fit(rows, None, epochs=epochs)
