"""The module of several tasks, its batches, and the step that a weighting decides."""

from typing import Any, NamedTuple

import numpy as np
import torch

from sktransfer.deep._alignment import Alignment
from sktransfer.deep._rows import DomainRows
from sktransfer.deep._task_weighting import TaskState
from sktransfer.deep._trainer import TransferTrainer
from sktransfer.deep._transfer_module import TransferModule

__all__ = ["HeldOutTask", "TaskModule", "TaskRows", "TaskTrainer"]


class TaskBatch(NamedTuple):
    """Rows of all tasks, one task after another.

    ``widths`` holds the number of rows of each; ``w`` are weights of rows, or None.
    """

    x: torch.Tensor
    y: torch.Tensor
    w: Any
    widths: list

    def known(self):
        """Return rows and labels."""
        return self.x, self.y

    def parts(self):
        """Yield rows, labels and weights of each task."""
        weights = [None] * len(self.widths)
        if self.w is not None:
            weights = self.w.split(self.widths)
        x, y = self.x.split(self.widths), self.y.split(self.widths)
        return list(zip(x, y, weights, strict=True))


class TaskRows(DomainRows):
    """Labeled rows of several tasks; a batch holds rows of each of them.

    Parameters
    ----------
    x, y : tensor of shape (n, ...)
        Rows and labels, one task after another.
    sizes : list of int
        Number of rows of each task.
    batch_size : int
        Rows of each task in a batch, fewer of a smaller one.
    n_batches : int
        Batches of an epoch.
    weight : tensor of shape (n,) or None
        Weights of the rows.
    device : torch.device
        Where batches are used.
    """

    def __init__(self, x, y, sizes, batch_size, *, n_batches, weight, device):
        domain = torch.repeat_interleave(torch.tensor(sizes))
        super().__init__(
            x, y, x[:0], y[:0], x[:0], domain, batch_size,
            n_batches=n_batches, w_source=weight, device=device,
        )  # fmt: skip
        self.task_sizes = list(sizes)
        # what is drawn must not depend on the ids of the tasks
        means = [
            (len(y), *(part.double().mean().item() for part in (y, x)))
            for x, y, _ in map(self.of_task, range(len(sizes)))
        ]
        self._drawn = sorted(range(len(sizes)), key=means.__getitem__)

    def __iter__(self):
        starts = np.cumsum([0, *self.task_sizes])
        parts = [None] * len(self.task_sizes)
        for k in self._drawn:
            parts[k] = self._positions(self.task_sizes[k]) + int(starts[k])
        widths = [part.shape[1] for part in parts]
        positions = torch.cat(parts, 1)
        at_rows, at_labels = positions.to(self.x.device), positions.to(self.device)
        for i, j in zip(at_rows, at_labels, strict=True):
            weight = None if self.w_source is None else self.w_source[j]
            yield TaskBatch(self._moved(self.x[i]), self.y_source[j], weight, widths)

    def of_task(self, k):
        """Return rows, labels and weights of the task at position ``k``."""
        start = sum(self.task_sizes[:k])
        own = slice(start, start + self.task_sizes[k])
        weight = None if self.w_source is None else self.w_source[own]
        return self.x[own], self.y_source[own], weight


class HeldOutTask(tuple):
    """Rows, labels and weights of held-out rows of the task at position ``task``."""

    def __new__(cls, part, task):
        """Make it from a tuple."""
        made = super().__new__(cls, part)
        made.task = task
        return made


class _Epochs(Alignment):
    """Tell a module of tasks when an epoch begins and ends."""

    settled = 0.0

    def begin_epoch(self, net, rows, progress):
        """Close the last epoch."""
        net.close_epoch()

    def end_training(self, net, rows, rows_at_once):
        """Close the last epoch."""
        net.close_epoch()


class TaskModule(TransferModule):
    """Shared extractor and a head for each task.

    Parameters
    ----------
    extractor : Module
        Extractor of all tasks.
    heads : ModuleList
        Head of each task.
    weighting : TaskWeighting
        What decides on the direction of the extractor.
    """

    def __init__(self, extractor, heads, weighting):
        super().__init__(
            extractor, heads, _Epochs(), None, gate=False, mu=0.0, source_weight=1.0
        )
        self.weighting, self.state = weighting, TaskState(len(heads))
        self.weights_path, self._steps = [], []

    def close_epoch(self):
        """Record the mean losses and weights of the epoch that ends."""
        self.state.first = None
        if self._steps:
            losses, weights = zip(*self._steps, strict=True)
            self.state.past.append(torch.stack(losses).mean(0))
            self.weights_path.append(torch.stack(weights).mean(0))
            self._steps = []

    def backward(self, batch, criterion, autocast):
        """Set the gradients of a step.

        Parameters
        ----------
        batch : TaskBatch
            Rows of all tasks.
        criterion : Module
            Loss of each row.
        autocast : callable
            Makes the context in which outputs are computed.

        Returns
        -------
        loss : tensor of shape ()
            Mean loss of the tasks.
        outputs : tensor of shape (n, n_outputs)
            Outputs for the rows, in their order.
        """
        if not self.weighting.needs_gradients:
            losses, outputs = self._by_losses(batch, criterion, autocast)
        elif self.weighting.on_features:
            losses, outputs = self._by_features(batch, criterion, autocast)
        else:
            losses, outputs = self._by_parameters(batch, criterion, autocast)
        self._steps.append((losses, self.state.weights))
        return losses.mean(), torch.cat(outputs)

    def _by_losses(self, batch, criterion, autocast):
        """Go back once, through the weighted mean of the losses."""
        with autocast():
            losses, outputs = self._losses(self.extractor(batch.x), batch, criterion)
        seen = self._seen(losses)
        self.state.weights = self.weighting.weights(seen, self.state)
        (self.state.weights * losses).sum().backward()
        return seen, outputs

    def _by_features(self, batch, criterion, autocast):
        """Combine gradients with respect to features, and go back with them once."""
        with autocast():
            features = self.extractor(batch.x)
            leaf = features.detach().requires_grad_()
            losses, outputs = self._losses(leaf, batch, criterion)
        seen = self._seen(losses)
        losses.mean().backward()
        # a loss depends on the features of its own rows alone
        own = leaf.grad.flatten(1) * len(losses)
        of_task = torch.repeat_interleave(
            torch.arange(len(losses)), torch.tensor(batch.widths)
        ).to(own.device)
        gradients = own.new_zeros(len(losses), *own.shape)
        gradients[of_task, torch.arange(len(own), device=own.device)] = own
        direction = self.weighting.combine(seen, gradients.flatten(1), self.state)
        if features.requires_grad:
            features.backward(direction.view_as(features))
        return seen, outputs

    def _by_parameters(self, batch, criterion, autocast):
        """Combine gradients with respect to the extractor, task by task."""
        shared = [p for p in self.extractor.parameters() if p.requires_grad]
        n_shared, n_tasks = len(shared), len(self.head)
        halves = 2 if self.weighting.needs_two_batches else 1
        losses, outputs = [], []
        gradients = [[] for _ in range(halves)]
        for head, part in zip(self.head, batch.parts(), strict=True):
            heads = [p for p in head.parameters() if p.requires_grad]
            whole, out = [], []
            for half, (x, y, w) in enumerate(_cut(part, halves)):
                with autocast():
                    out.append(head(self.extractor(x)))
                    loss = _mean_loss(criterion, out[-1], y, w)
                found = torch.autograd.grad(
                    loss, [*shared, *heads], materialize_grads=True
                )
                gradients[half].append(_flat(found[:n_shared], loss))
                for parameter, own in zip(heads, found[n_shared:], strict=True):
                    step = own / (n_tasks * halves)
                    last = parameter.grad
                    parameter.grad = step if last is None else last + step
                whole.append(loss)
            losses.append(torch.stack(whole).mean())
            outputs.append(torch.cat(out)[: len(part[1])].detach())
        seen = self._seen(torch.stack(losses))
        stacked = torch.stack([torch.stack(rows) for rows in gradients])
        stacked = stacked if halves > 1 else stacked[0]
        direction = self.weighting.combine(seen, stacked, self.state)
        sizes = [p.numel() for p in shared]
        for parameter, part in zip(shared, direction.split(sizes), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)
        return seen, outputs

    def _losses(self, features, batch, criterion):
        """Return the loss of each task, and outputs."""
        outputs = [
            head(part)
            for head, part in zip(self.head, features.split(batch.widths), strict=True)
        ]
        losses = [
            _mean_loss(criterion, out, y, w)
            for out, (_, y, w) in zip(outputs, batch.parts(), strict=True)
        ]
        return torch.stack(losses), [out.detach() for out in outputs]

    def _seen(self, losses):
        """Return the losses without gradient, and keep those of a first batch."""
        seen = losses.detach()
        if self.state.first is None:
            self.state.first = seen
        return seen

    def predict(self, x, task=0):
        """Return features and the outputs of the head at position ``task``."""
        features = self.extractor(x)
        return features, self.head[task](features)


def _cut(part, halves):
    """Cut rows of a task in halves; a single row is in both."""
    n = len(part[1])
    if halves == 1:
        return [part]
    if n == 1:
        return [part, part]
    first, second = slice(0, n // 2), slice(n // 2, n)
    return [
        tuple(None if values is None else values[rows] for values in part)
        for rows in (first, second)
    ]


def _mean_loss(criterion, outputs, y, w):
    losses = criterion(outputs, y)
    return (losses if w is None else losses * w).mean()


def _flat(gradients, like):
    if not gradients:  # every parameter of the extractor is frozen
        return like.new_zeros(0)
    return torch.cat([gradient.flatten() for gradient in gradients])


class TaskTrainer(TransferTrainer):
    """Train a :class:`TaskModule`; the weighting decides on every step."""

    def train_step(self, batch, **fit_params):
        """Take one step of the optimizer and return the mean loss of the tasks."""
        self._zero_grad_optimizer(set_to_none=True)
        loss, outputs = self.base_module.backward(batch, self.criterion_, self.autocast)
        self.notify(
            "on_grad_computed",
            named_parameters=self.module_.named_parameters(),
            batch=batch,
            training=True,
        )
        self.optimizer_.step()
        losses = {"loss": loss}
        if self.keeps_outputs_:
            losses["y_pred"] = outputs
        return losses

    def validation_step(self, batch, **fit_params):
        """Return loss and outputs of held-out rows of one task."""
        x, y, weight = batch
        with torch.no_grad():
            outputs = self.base_module.predict(x, batch.task)[1]
            loss = _mean_loss(self.criterion_, outputs, y, weight)
        return {"loss": loss, "y_pred": outputs}

    def evaluation_step(self, batch, training=False):
        """Return the outputs for held-out rows of one task."""
        with torch.no_grad():
            return self.base_module.predict(batch[0], batch.task)[1]
