"""The rows of a fit, and domain-balanced batches of them on the device."""

from typing import Any, NamedTuple

import torch

__all__ = ["Batch", "DomainRows"]

#: rows that take more bytes than this stay in the memory of the host
_MOST_BYTES = 2**30


class Batch(NamedTuple):
    """One step's rows in their three parts.

    ``source`` are positions of source rows (for weights that belong to a row), ``x``
    holds the rows of all parts one after another: ``n_source`` source rows,
    ``n_labeled`` labeled target rows, then target rows whose labels are not looked
    at. ``y_source`` and ``y_labeled`` are class codes or real labels, ``w_source``
    and ``w_labeled`` the user's weights of the rows, or None.

    ``domain`` is the position of each source row's domain among the sources.
    ``target_alone`` tells that there is no source: labeled target rows play one.
    ``y_target`` holds the labels of the last part where they are known, else -1 (NaN in
    regression); None where no label of it is known.
    """

    x: torch.Tensor
    y_source: torch.Tensor
    y_labeled: torch.Tensor
    source: torch.Tensor
    w_source: Any = None
    w_labeled: Any = None
    domain: Any = None
    y_target: Any = None
    target_alone: bool = False

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

    def known(self):
        """Return rows and labels of the labeled parts."""
        n = self.n_source + self.n_labeled
        return self.x[:n], torch.cat([self.y_source, self.y_labeled])


class DomainRows(torch.utils.data.Dataset):
    """Rows of a fit; iterating over it gives one epoch of batches on the device.

    Its length is the number of these batches, so that a progress bar can show it.

    A batch holds ``batch_size`` rows of each part, fewer where a part is smaller. The
    rows of a part come in shuffled rounds, so that each of them comes equally often.
    Rows are kept on the device unless they take more than a gigabyte: then a batch at
    a time is moved there.

    Parameters
    ----------
    x_source, x_labeled, x_target : tensor of shape (n, ...)
        Source rows, labeled target rows, target rows without labels, on the CPU.
    y_source, y_labeled : tensor of shape (n,)
        Labels.
    domain : tensor of shape (n_source,)
        Position of each source row's domain among the sources.
    batch_size : int
        Rows of each part in a batch.
    n_batches : int, default=None
        Batches of an epoch. None: as many as it takes to see every row.
    w_source, w_labeled : tensor of shape (n,), default=None
        Weights of the labeled rows.
    y_target : tensor of shape (n,), default=None
        Labels of the last part where they are known, else -1 or NaN.
    n_sources : int in [0, inf), default=1
        Number of sources; 0: labeled target rows play the source.
    device : torch.device, default=None
        Where batches are used. None: where the rows are.
    """

    def __init__(
        self,
        x_source,
        y_source,
        x_labeled,
        y_labeled,
        x_target,
        domain,
        batch_size,
        *,
        n_batches=None,
        w_source=None,
        w_labeled=None,
        y_target=None,
        n_sources=1,
        device=None,
    ):
        x = torch.cat([x_source, x_labeled, x_target])
        self.device = x.device if device is None else torch.device(device)
        self.sizes = len(x_source), len(x_labeled), len(x_target)
        self.batch_size = batch_size
        large = x.element_size() * x.nelement() > _MOST_BYTES
        if large and self.device.type == "cuda":
            self.x = x.pin_memory()
        else:
            self.x = x if large else x.to(self.device)
        parts = y_source, y_labeled, domain, w_source, w_labeled, y_target
        moved = [None if part is None else part.to(self.device) for part in parts]
        self.y_source, self.y_labeled, self.domain = moved[:3]
        self.w_source, self.w_labeled, self.y_target = moved[3:]
        self.n_sources = n_sources
        self._n_batches = n_batches
        self.validation = None
        #: further target rows, which no batch holds
        self.x_unlabeled = x[:0]

    def __len__(self):
        return self.n_batches

    @property
    def n_batches(self):
        """Number of batches of an epoch."""
        return self._n_batches or max(1, -(-max(self.sizes) // self.batch_size))

    @property
    def x_source(self):
        """Source rows, where they are kept."""
        return self.x[: self.sizes[0]]

    @property
    def x_labeled(self):
        """Labeled target rows, where they are kept."""
        return self.x[self.sizes[0] : self.sizes[0] + self.sizes[1]]

    @property
    def x_target(self):
        """Target rows without labels, where they are kept."""
        return self.x[self.sizes[0] + self.sizes[1] :]

    def chunks(self, x, rows_at_once):
        """Cut rows into parts and hand each to the device."""
        for part in x.split(rows_at_once):
            yield self._moved(part)

    def _moved(self, x):
        return x if x.device == self.device else x.to(self.device, non_blocking=True)

    def __iter__(self):
        source, labeled, target = (self._positions(size) for size in self.sizes)
        n_source, n_labeled, _ = self.sizes
        rows = torch.cat([source, labeled + n_source, target + n_source + n_labeled], 1)
        # positions are used where the rows are, labels and weights on the device
        rows = rows.to(self.x.device)
        source, labeled = source.to(self.device), labeled.to(self.device)
        if self.y_target is not None:
            target = target.to(self.device)
        for of_batch, i, j, k in zip(rows, source, labeled, target, strict=True):
            yield Batch(
                self._moved(self.x[of_batch]),
                self.y_source[i],
                self.y_labeled[j],
                i,
                None if self.w_source is None else self.w_source[i],
                None if self.w_labeled is None else self.w_labeled[j],
                self.domain[i],
                None if self.y_target is None else self.y_target[k],
                not self.n_sources,
            )

    def _positions(self, size):
        """Return shuffled positions, shape (n_batches, rows of a batch)."""
        width = min(self.batch_size, size)
        needed = self.n_batches * width
        rounds = -(-needed // size) if size else 0
        order = [torch.randperm(size) for _ in range(rounds)]
        positions = torch.cat(order)[:needed] if order else torch.zeros(0).long()
        return positions.view(self.n_batches, width)
