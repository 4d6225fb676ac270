"""Nets, losses and descent of DATN."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional as F

from sktransfer.deep._trainer import TransferTrainer
from sktransfer.deep._transfer_module import StepModule

__all__ = [
    "ACTIVATIONS", "PATIENCE", "GroupModule", "GroupRows", "Pathway", "Side",
    "StalledStopping", "as_index", "check_hidden", "cross_entropy", "cross_losses",
    "draw_batches", "encode", "intra_losses", "mean_discrepancy", "pair_loss",
    "solve_map", "squared_weights", "train_groups",
]  # fmt: skip

ACTIVATIONS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}
#: iterations without progress after which the descent has converged
PATIENCE = 10


@dataclass(frozen=True)
class Side:
    """Rows of the table as one domain sees them; indices are rows of ``X``.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_block)
        Standardized block; rows that lack it are 0 and in none of the indices.
    members : ndarray of shape (n_members,)
        Rows to reconstruct and to compare in distribution.
    labeled : ndarray of shape (n_labeled,)
        Rows whose label belongs to the domain.
    codes : Tensor of shape (n_samples,)
        Class of each labeled row.
    """

    X: torch.Tensor
    members: NDArray[np.intp]
    labeled: NDArray[np.intp]
    codes: torch.Tensor


class Pathway(nn.Module):
    """Extractor, decoder and softmax of one domain.

    Parameters
    ----------
    sizes : sequence of int
        Units of the block, of the hidden layers and of the representation.
    n_classes : int
        Number of classes.
    activation : str
        A key of ``ACTIVATIONS``.
    """

    def __init__(self, sizes, n_classes, *, activation):
        super().__init__()
        self.encoder = _layers(sizes, activation, last=activation)
        self.decoder = _layers(sizes[::-1], activation, last="identity")
        self.softmax = nn.Linear(sizes[-1], n_classes, bias=False)


def _layers(sizes, activation, *, last):
    """Stack linear layers, each followed by its activation."""
    names = [activation] * (len(sizes) - 2) + [last]
    layers = []
    for n_in, n_out, name in zip(sizes[:-1], sizes[1:], names, strict=True):
        linear = nn.Linear(n_in, n_out)
        gain = nn.init.calculate_gain("relu" if name == "relu" else "linear")
        nn.init.xavier_uniform_(linear.weight, gain=gain)
        nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[name]()]
    return nn.Sequential(*layers)


def solve_map(Z_source, Z_target, ridge):
    r"""Solve :math:`\min_G \|Z_S - Z_T G\|_F^2 + \lambda_0 \|G\|_F^2`.

    Parameters
    ----------
    Z_source, Z_target : Tensor of shape (n_pairs, n_components)
        Representations of the two halves of each pair.
    ridge : float in (0, inf)
        The penalty :math:`\lambda_0`.

    Returns
    -------
    G : Tensor of shape (n_components, n_components)
        :math:`(Z_T' Z_T + \lambda_0 I)^{-1} Z_T' Z_S`.
    """
    eye = torch.eye(Z_target.shape[1], dtype=Z_target.dtype, device=Z_target.device)
    gram = Z_target.T @ Z_target + ridge * eye
    return torch.linalg.solve(gram, Z_target.T @ Z_source)


def pair_loss(Z_source, Z_target, G):
    r"""Return :math:`\|Z_S - Z_T G\|_F^2` per pair.

    Parameters
    ----------
    Z_source, Z_target : Tensor of shape (n_pairs, n_components)
        Representations of the two halves of each pair.
    G : Tensor of shape (n_components, n_components)
        Map from the target's representations to the source's.

    Returns
    -------
    loss : Tensor of shape ()
        Mean squared length of the error.
    """
    return (Z_source - Z_target @ G).square().sum(dim=1).mean()


def mean_discrepancy(Z_source, Z_target):
    r"""Return the linear-kernel MMD, :math:`\|\bar z_S - \bar z_T\|^2`.

    Parameters
    ----------
    Z_source : Tensor of shape (n_source, n_components)
        Representations of one domain.
    Z_target : Tensor of shape (n_target, n_components)
        Representations of the other.

    Returns
    -------
    loss : Tensor of shape ()
        Squared distance of the means.
    """
    return (Z_source.mean(dim=0) - Z_target.mean(dim=0)).square().sum()


def squared_weights(*encoders):
    """Return the sum of all squared weights and biases of some encoders.

    Parameters
    ----------
    *encoders : Module
        Extractors.

    Returns
    -------
    penalty : Tensor of shape ()
        Their squared length.
    """
    parameters = chain.from_iterable(e.parameters() for e in encoders)
    return sum(p.square().sum() for p in parameters)


def encode(encoder, X, groups):
    """Encode groups of rows in one pass; a row in several groups is encoded once.

    Parameters
    ----------
    encoder : Module
        Extractor.
    X : Tensor of shape (n_samples, n_block)
        All rows.
    groups : list of ndarray
        Indices of rows.

    Returns
    -------
    Z : list of Tensor
        Representations of each group, each row in its place.
    """
    rows, places = np.unique(np.concatenate(groups), return_inverse=True)
    Z = encoder(X[as_index(rows, X)])
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return [Z[as_index(part, X)] for part in np.split(places, ends)]


def as_index(rows, like):
    """Return indices of rows as a tensor on the device of another."""
    return torch.as_tensor(rows, device=like.device)


def draw_batches(groups, batch_size, rng):
    """Yield, step by step, rows of each group for one pass over the largest.

    Parameters
    ----------
    groups : list of ndarray
        Indices of rows. A group of up to `batch_size` rows takes part whole in every
        step; a larger one is shuffled and dealt out, beginning anew as it ends.
    batch_size : int
        Rows of a group in a step.
    rng : RandomState
        Random numbers.

    Yields
    ------
    batch : tuple of ndarray
        One array of rows per group.
    """
    n_steps = max(1, -(-max(len(group) for group in groups) // batch_size))
    dealt = [_deal(group, n_steps, batch_size, rng) for group in groups]
    yield from zip(*dealt, strict=True)


def _deal(group, n_steps, batch_size, rng):
    if len(group) <= batch_size:
        return [group] * n_steps
    needed = n_steps * batch_size
    decks = [rng.permutation(group) for _ in range(-(-needed // len(group)))]
    return np.split(np.concatenate(decks)[:needed], n_steps)


def intra_losses(pathway, side, batch):
    """Return the losses of the semi-supervised initialization of one domain.

    Parameters
    ----------
    pathway : Pathway
        Nets of the domain.
    side : Side
        Its rows.
    batch : tuple of ndarray
        Rows of this step: members, and labeled rows.

    Returns
    -------
    losses : dict of str to Tensor
        "reconstruction" (mean squared error per entry), "classification" (mean
        cross-entropy) and "regularization" (squared length of the weights).
    """
    members, labeled = batch
    Z, Z_labeled = encode(pathway.encoder, side.X, [members, labeled])
    error = pathway.decoder(Z) - side.X[as_index(members, side.X)]
    return {
        "reconstruction": error.square().mean(),
        "classification": cross_entropy(pathway.softmax(Z_labeled), side, labeled),
        "regularization": squared_weights(pathway.encoder),
    }


def cross_entropy(logits, side, labeled):
    """Return the mean cross-entropy of labeled rows, 0 without any.

    Parameters
    ----------
    logits : Tensor of shape (n_labeled, n_classes)
        Outputs.
    side : Side
        Domain of the rows.
    labeled : ndarray of shape (n_labeled,)
        The rows.

    Returns
    -------
    loss : Tensor of shape ()
        With a gradient, also without rows.
    """
    if not len(labeled):
        return logits.sum()  # a mean over nothing; 0 with a gradient
    return F.cross_entropy(logits, side.codes[as_index(labeled, logits)])


def cross_losses(source, target, G, classifier, sides, batch):
    """Return the losses of the transfer between the domains.

    Parameters
    ----------
    source, target : Pathway
        Nets of the domains.
    G : Tensor of shape (n_components, n_components)
        Map from the target's representations to the source's, held fixed.
    classifier : Module
        The softmax for mapped rows of the target.
    sides : tuple of Side
        Rows of the source and of the target.
    batch : tuple of ndarray
        Rows of this step: pairs, members of the source, of the target, and labeled
        rows of the target.

    Returns
    -------
    losses : dict of str to Tensor
        "pair", "classification", "mmd", "map" and "regularization", not yet weighted.
    """
    pairs, members_source, members_target, labeled = batch
    Zs_pair, Zs = encode(source.encoder, sides[0].X, [pairs, members_source])
    Zt_pair, Zt, Zt_labeled = encode(
        target.encoder, sides[1].X, [pairs, members_target, labeled]
    )
    logits = classifier(Zt_labeled @ G)
    return {
        "pair": pair_loss(Zs_pair, Zt_pair, G) if len(pairs) else Zs_pair.sum(),
        "classification": cross_entropy(logits, sides[1], labeled),
        "mmd": mean_discrepancy(Zs, Zt),
        "map": G.square().sum(),
        "regularization": squared_weights(source.encoder, target.encoder),
    }


class GroupRows(torch.utils.data.Dataset):
    """Groups of rows; iterating over them gives the batches of one pass.

    Parameters
    ----------
    groups : list of ndarray
        Indices of rows, as ``draw_batches`` takes them.
    batch_size : int
        Rows of a group in a step.
    rng : RandomState
        Random numbers.
    """

    validation = None

    def __init__(self, groups, batch_size, rng):
        self.groups, self.batch_size, self.rng = groups, batch_size, rng

    def __len__(self):
        return self.n_batches

    @property
    def n_batches(self):
        """Number of batches of a pass."""
        largest = max(len(group) for group in self.groups)
        return max(1, -(-largest // self.batch_size))

    def __iter__(self):
        return draw_batches(self.groups, self.batch_size, self.rng)


class GroupModule(StepModule):
    """Losses of groups of rows, for the loop that all nets share.

    Parameters
    ----------
    trained : list of Module
        What is trained.
    losses_of : callable
        ``losses_of(batch)`` returns a dict of losses.
    weights : dict of str to float
        Weights of the losses in the objective; 1 where absent.
    begin : callable, default=None
        Called before each pass.
    """

    def __init__(self, trained, losses_of, weights, begin=None):
        super().__init__()
        self.trained = nn.ModuleList(trained)
        self.losses_of, self.weights, self.begin = losses_of, weights, begin

    def begin_epoch(self, rows, progress):
        """Do what comes before a pass."""
        if self.begin is not None:
            self.begin()

    def forward(self, batch, criterion, keep_outputs=False):
        """Return the losses of a batch by name; ``loss`` is their weighted sum."""
        losses = self.losses_of(batch)
        total = sum(self.weights.get(name, 1.0) * v for name, v in losses.items())
        return {"loss": total, **{f"{name}_loss": v for name, v in losses.items()}}


class StalledStopping(Callback):
    """End a training whose objective has stopped to fall.

    Parameters
    ----------
    tol : float
        Relative fall over ``PATIENCE`` passes that counts as progress.
    """

    def __init__(self, tol):
        self.tol = tol
        self.values, self.stalled = [], False

    def on_epoch_end(self, net, **kwargs):
        """Look at the objective of a pass."""
        self.values.append(net.history[-1, "train_loss"])
        self.stalled = self.residual <= self.tol
        if self.stalled:
            raise KeyboardInterrupt  # how skorch's own early stopping ends a training

    @property
    def residual(self):
        """Relative fall of the best objective over the last passes."""
        before, last = self.values[:-PATIENCE], self.values[-PATIENCE:]
        if not before:
            return np.inf
        best = min(before)
        return max(0.0, best - min(last)) / max(abs(best), np.finfo(float).tiny)


def train_groups(module, rows, n_passes, *, lr, device, callbacks=(), verbose=0):
    """Train a module by Adam, in the loop that all nets share.

    Parameters
    ----------
    module : GroupModule
        Its losses.
    rows : GroupRows
        What to train on.
    n_passes : int
        Passes over the rows.
    lr : float
        Step of Adam.
    device : torch.device
        Where the module is.
    callbacks : list, default=()
        Callbacks of skorch.
    verbose : int, default=0
        1 prints a line for each pass.

    Returns
    -------
    history : dict of str to ndarray
        Mean of each loss in each pass, and their weighted sum, "objective".
    """
    if not n_passes:
        return {}
    n_steps = n_passes * rows.n_batches
    trainer = TransferTrainer(
        module, nn.Identity(), n_steps=n_steps, lr=lr, optimizer=torch.optim.Adam,
        max_epochs=n_passes, train_split=None, device=str(device),
        callbacks=list(callbacks), verbose=int(verbose),
    ).initialize()  # fmt: skip
    trainer.train(rows, n_steps)
    passes = [epoch for epoch in trainer.history if "train_loss" in epoch]
    names = {"train_loss": "objective"}
    for name in passes[0] if passes else ():
        if name.startswith("train_") and name.endswith("_loss"):
            names.setdefault(name, name.removeprefix("train_").removesuffix("_loss"))
    return {
        shown: np.array([epoch[name] for epoch in passes])
        for name, shown in names.items()
    }


def check_hidden(hidden, name, width):
    """Return the units of the hidden layers of one domain.

    Parameters
    ----------
    hidden : tuple of int or None
        What the user gave.
    name : str
        Name of the domain for messages.
    width : int
        Columns of its block.

    Returns
    -------
    hidden : list of int
        Units of each layer.
    """
    if hidden is None:
        return [int(np.clip(width, 16, 256))]
    units = np.asarray(hidden)
    if units.ndim != 1 or (
        units.size and (units.dtype.kind not in "iu" or units.min() < 1)
    ):
        raise ValueError(
            f"{name}_hidden must hold positive numbers of units, got {hidden!r}."
        )
    return units.astype(int).tolist()
