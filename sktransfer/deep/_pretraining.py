"""Train a copy of a net on rows of one domain, by the loop of every net."""

import torch

from sktransfer.deep._alignment import Alignment
from sktransfer.deep._device import seeded
from sktransfer.deep._rows import DomainRows
from sktransfer.deep._trainer import TransferTrainer
from sktransfer.deep._transfer_module import TransferModule

__all__ = ["labeled_rows", "train_alone"]


def labeled_rows(
    x, y, batch_size, *, device, n_batches=None, weight=None, target_alone=False
):
    """Return labeled rows of one domain, to be trained on alone.

    Parameters
    ----------
    x : tensor of shape (n, ...)
        Rows.
    y : tensor of shape (n,)
        Labels.
    batch_size : int
        Rows in a batch.
    device : torch.device
        Where batches are used.
    n_batches : int, default=None
        Batches of an epoch. None: as many as it takes to see every row.
    weight : tensor of shape (n,), default=None
        Weights of the rows.
    target_alone : bool, default=False
        Whether the domain is the target.

    Returns
    -------
    rows : DomainRows
        Rows that play the source.
    """
    one = torch.zeros(len(x), dtype=torch.long)
    return DomainRows(
        x, y, x[:0], y[:0], x[:0], one, batch_size, n_batches=n_batches,
        w_source=weight, n_sources=int(not target_alone), device=device,
    )  # fmt: skip


def train_alone(net, extractor, head, rows, n_steps, seed, penalties=()):
    """Train an extractor and a head, in place, on labeled rows alone.

    Parameters
    ----------
    net : TransferNet
        Estimator with the settings of the training.
    extractor, head : Module
        What to train, on the device of ``rows``.
    rows : DomainRows
        Labeled rows.
    n_steps : int
        Number of steps.
    seed : int
        Seed of the batches; the state of torch's generators is left as it was.
    penalties : sequence of Penalty, default=()
        What is added to the loss of the labels.
    """
    module = TransferModule(
        extractor, head, Alignment(), None,
        gate=False, mu=0.0, source_weight=1.0, penalties=penalties,
    )  # fmt: skip
    for penalty in penalties:
        penalty.begin(module)
    with seeded(seed, rows.device):
        trainer = TransferTrainer(
            module,
            net._make_criterion(),
            max_epochs=-(-n_steps // rows.n_batches),
            n_steps=n_steps,
            verbose=0,
            device=str(rows.device),
            **net._training_params(),
        )
        trainer.initialize().train(rows, n_steps)
