"""The rows of a fit, on the device, and domain-balanced batches of them."""

from typing import NamedTuple

import torch

__all__ = ["Batch", "DomainRows"]


class Batch(NamedTuple):
    """One step's rows in their three parts.

    ``source`` are positions of source rows (for weights that belong to a row), ``x``
    holds the rows of all parts one after another: ``n_source`` source rows,
    ``n_labeled`` labeled target rows, then target rows whose labels are not looked
    at. ``y_source`` and ``y_labeled`` are class codes or real labels.
    """

    x: torch.Tensor
    y_source: torch.Tensor
    y_labeled: torch.Tensor
    source: torch.Tensor

    @property
    def n_source(self):
        """Number of source rows."""
        return len(self.y_source)

    @property
    def n_labeled(self):
        """Number of labeled target rows."""
        return len(self.y_labeled)

    def split(self, rows):
        """Cut something with a row for each of ``x`` into the three parts."""
        n_target = len(rows) - self.n_source - self.n_labeled
        return torch.split(rows, [self.n_source, self.n_labeled, n_target])


class DomainRows(torch.utils.data.Dataset):
    """Rows of a fit on the device; iterating over it gives one epoch of batches.

    A batch holds ``batch_size`` rows of each part, fewer where a part is smaller. An
    epoch has as many batches as it takes to see every row of the larger domain; the
    rows of smaller parts come again, in a new order each time.

    Parameters
    ----------
    x_source, x_labeled, x_target : tensor of shape (n, ...)
        Source rows, labeled target rows, target rows without labels.
    y_source, y_labeled : tensor of shape (n,)
        Labels.
    domain : tensor of shape (n_source,)
        Position of each source row's domain among the sources.
    batch_size : int
        Rows of each part in a batch.
    """

    def __init__(
        self, x_source, y_source, x_labeled, y_labeled, x_target, domain, batch_size
    ):
        self.x = torch.cat([x_source, x_labeled, x_target])
        self.y_source, self.y_labeled = y_source, y_labeled
        self.domain = domain
        self.sizes = len(x_source), len(x_labeled), len(x_target)
        self.batch_size = batch_size
        self.validation = None

    def __len__(self):
        return max(self.sizes[0], self.sizes[2])

    @property
    def n_batches(self):
        """Number of batches of an epoch."""
        return -(-len(self) // self.batch_size)

    @property
    def x_source(self):
        """Source rows."""
        return self.x[: self.sizes[0]]

    @property
    def x_target(self):
        """Target rows without labels."""
        return self.x[self.sizes[0] + self.sizes[1] :]

    def __iter__(self):
        source, labeled, target = (self._positions(size) for size in self.sizes)
        n_source, n_labeled, _ = self.sizes
        rows = torch.cat([source, labeled + n_source, target + n_source + n_labeled], 1)
        for of_batch, i, j in zip(rows, source, labeled, strict=True):
            yield Batch(self.x[of_batch], self.y_source[i], self.y_labeled[j], i)

    def _positions(self, size):
        """Return shuffled positions, shape (n_batches, rows of a batch)."""
        width = min(self.batch_size, size)
        needed = self.n_batches * width
        rounds = -(-needed // size) if size else 0
        order = [torch.randperm(size) for _ in range(rounds)]
        positions = torch.cat(order)[:needed] if order else torch.zeros(0).long()
        return positions.view(self.n_batches, width).to(self.x.device)
