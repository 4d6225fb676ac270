"""skorch's training loop, fed with batches that are cut on the device."""

import math
from contextlib import nullcontext

import torch
from skorch import NeuralNet
from skorch.callbacks import PrintLog, ProgressBar

__all__ = ["TransferTrainer"]


class TransferTrainer(NeuralNet):
    """Train a :class:`TransferModule` on :class:`DomainRows`.

    The rows are on the device and cut their own batches, and losses are read from the
    device once an epoch. Everything else, such as callbacks, optimizers and devices, is
    skorch's.
    """

    def __init__(self, module, criterion, *, mixed_precision=False, **kwargs):
        super().__init__(module, criterion, **kwargs)
        self.mixed_precision = mixed_precision

    @property
    def _default_callbacks(self):
        shown = [("print_log", PrintLog()), ("progress_bar", ProgressBar())]
        return shown[: self.verbose]

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return the training rows and the held-out labeled target rows."""
        return X, X.validation

    def get_iterator(self, dataset, training=False):
        """Return the rows themselves: they cut their own batches."""
        return dataset

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Put all modules in training mode, whatever mode each of them came in."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self._set_training(True)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run the steps of an epoch and record the mean of every loss."""
        if iterator is None:
            return
        if self.base_module.training != training:  # to set it visits every submodule
            self._set_training(training)
        losses, steps = [], []
        if training:
            module = self.base_module
            epochs = len(self.history) - 1
            module.alignment.begin_epoch(module, iterator, epochs / self.max_epochs)
        for i, batch in enumerate(iterator):
            if training:
                done = epochs + i / iterator.n_batches
                module.ramp(done / self.max_epochs)
            self.notify("on_batch_begin", batch=batch, training=training)
            losses = step_fn(batch)
            self.notify("on_batch_end", batch=batch, training=training, **losses)
            steps.append(torch.stack(tuple(losses.values())).detach())
        means = torch.stack(steps).mean(0).tolist()
        if not all(map(math.isfinite, means)):
            raise ValueError(
                f"The loss is not finite in epoch {len(self.history)}: lower lr="
                f"{self.lr:g}, or scale the inputs (standardize=True)."
            )
        for name, value in zip(losses, means, strict=True):
            self.history.record(f"{prefix}_{name}", value)
        if training:
            self.history.record("mu", module.mu.item())

    @property
    def base_module(self):
        """The module, also where it was compiled."""
        return getattr(self.module_, "_orig_mod", self.module_)

    def autocast(self):
        """Return the context of a step: mixed precision where it was asked for."""
        if not self.mixed_precision:
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(device_type=kind, dtype=torch.bfloat16)

    def train_step(self, batch, **fit_params):
        """Take one step of the optimizer and return the losses."""
        self._zero_grad_optimizer(set_to_none=True)
        with self.autocast():
            losses = self.module_(batch, self.criterion_)
        losses["loss"].backward()
        self.notify(
            "on_grad_computed",
            named_parameters=self.module_.named_parameters(),
            batch=batch,
            training=True,
        )
        self.optimizer_.step()
        return losses

    def validation_step(self, batch, **fit_params):
        """Return the loss of held-out labeled target rows."""
        x, y = batch
        with torch.no_grad():
            return {"loss": self.criterion_(self.base_module.predict(x)[1], y).mean()}
