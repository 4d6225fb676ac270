"""skorch's training loop, fed with batches that are cut on the device."""

import inspect
import math
from contextlib import nullcontext
from itertools import islice

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)

__all__ = [
    "SCORES", "HeldOutRows", "HeldOutStopping", "TransferTrainer", "check_callbacks",
    "check_optimizer", "cut_held_out", "each_callback", "reads_held_out",
]  # fmt: skip

#: callbacks that score outputs
SCORES = EpochScoring, BatchScoring
_ROWS_AT_ONCE = 8192


class HeldOutStopping(EarlyStopping):
    """Stop when the loss of held-out rows no longer falls, once the task is settled.

    Parameters
    ----------
    start : float in [0, 1]
        Share of the training before which no epoch counts: until then the objective
        itself still changes.
    **params : dict
        Parameters of skorch's EarlyStopping.
    """

    def __init__(self, start=0.0, **params):
        super().__init__("valid_loss", load_best=True, **params)
        self.start = start

    def on_epoch_end(self, net, **kwargs):
        """Count an epoch that has a loss of held-out rows."""
        if net.progress >= self.start and "valid_loss" in net.history[-1]:
            super().on_epoch_end(net, **kwargs)


class HeldOutRows:
    """Held-out rows, in the parts in which a device takes them.

    Parameters
    ----------
    parts : list of tuple
        ``(x, y, weight)`` of each part.
    """

    def __init__(self, parts):
        self.parts = parts

    def __len__(self):
        return len(self.parts)

    def __iter__(self):
        return iter(self.parts)


class FollowedEpochs(Callback):
    """Tell scikit-learn's callbacks of the epochs.

    Parameters
    ----------
    tasks : list of Task
        One for each epoch at most.
    """

    def __init__(self, tasks):
        self.tasks = iter(tasks)

    def on_epoch_begin(self, net, **kwargs):
        """Begin the task of an epoch."""
        self.task = next(self.tasks)
        self.task.begin()

    def on_epoch_end(self, net, **kwargs):
        """End it."""
        self.task.end()


class TransferTrainer(NeuralNet):
    """Train a :class:`StepModule` on rows that cut their own batches.

    :class:`DomainRows` do so on the device, and losses are read from the device once an
    epoch. Everything else, such as callbacks, optimizers and devices, is
    skorch's. Its items are batches; scoring callbacks get the outputs of the steps and
    of held-out rows, which are computed once.
    """

    def __init__(
        self,
        module,
        criterion,
        *,
        mixed_precision=False,
        n_steps=1,
        n_classes=0,
        **kwargs,
    ):
        super().__init__(module, criterion, batch_size=1, use_caching=True, **kwargs)
        self.mixed_precision = mixed_precision
        self.n_steps = n_steps
        self.n_classes = n_classes

    def initialize(self):
        """Initialize all parts; no step is done."""
        self.steps_done_ = self.stop_at_ = 0
        self.keeps_outputs_, self.least_ = False, {}
        return super().initialize()

    @property
    def _default_callbacks(self):
        shown = [("print_log", PrintLog()), ("progress_bar", ProgressBar())]
        return shown[: self.verbose]

    @property
    def progress(self):
        """Share of the steps that are done, 1 at most."""
        return min(self.steps_done_ / self.n_steps, 1.0)

    def train(self, rows, n_steps, progress=None):
        """Take some steps more; Ctrl-C ends the training and keeps the net.

        Parameters
        ----------
        rows : DomainRows
            What to train on.
        n_steps : int
            Number of steps.
        progress : Progress, default=None
            What scikit-learn's callbacks follow.

        Returns
        -------
        self : TransferTrainer
            The trainer.
        """
        self.stop_at_ = self.steps_done_ + n_steps
        n_epochs = -(-n_steps // rows.n_batches)
        if progress is None:
            return self._train_epochs(rows, n_epochs)
        own = self.callbacks_
        with progress.stage("epochs", n_epochs) as stage:
            try:
                if stage.tasks[0] is not None:
                    # before early stopping, which ends the round of callbacks
                    followed = "scikit_learn", FollowedEpochs(stage.tasks)
                    self.callbacks_ = [followed, *own]
                return self._train_epochs(rows, n_epochs)
            finally:
                self.callbacks_ = own

    def _train_epochs(self, rows, n_epochs):
        try:
            return self.partial_fit(rows, None, epochs=n_epochs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "module normalizes by the rows of a batch, but a batch has one row "
                "only: raise batch_size, give more rows, or use a module without "
                f"batch normalization. ({error})"
            ) from error

    def initialize_optimizer(self, triggered_directly=None):
        """Make the optimizer; a schedule of its rates may begin in a later call."""
        super().initialize_optimizer()
        for group in self.optimizer_.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return self

    def renew_optimizer(self, params):
        """Go on with another optimizer.

        Parameters
        ----------
        params : dict
            ``optimizer``, ``lr`` and ``optimizer__NAME``, in place of all old ones.
        """
        for name in [name for name in vars(self) if name.startswith("optimizer__")]:
            delattr(self, name)
        vars(self).update(params)
        self.initialize_optimizer()

    def renew_callbacks(self, callbacks, verbose):
        """Go on with other callbacks.

        Parameters
        ----------
        callbacks : list
            Callbacks of skorch.
        verbose : int
            1 prints a line for each epoch, 2 shows a progress bar, too.
        """
        self.callbacks, self.verbose = callbacks, verbose
        self.initialize_callbacks()

    def get_dataset(self, X, y=None):
        """Return the rows themselves."""
        return X

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return the training rows and the held-out labeled rows."""
        return X, X.validation

    def get_iterator(self, dataset, training=False):
        """Return the rows themselves: they cut their own batches."""
        return dataset

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Put all modules in training mode, whatever mode each of them came in."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self.keeps_outputs_ = any(
            isinstance(callback, SCORES) and callback.on_train
            for _, callback in self.callbacks_
        )
        self._set_training(True)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run the steps of an epoch and record the mean of every loss."""
        if iterator is None:
            return
        module = self.base_module
        if module.training != training:  # to set it visits every submodule
            self._set_training(training)
        batches = iterator
        if training:
            self._forget_batches(self.history[:-1])
            module.begin_epoch(iterator, self.progress)
            left = self.stop_at_ - self.steps_done_
            batches = islice(iterator, left) if left < iterator.n_batches else iterator
        losses, steps = {}, []
        for batch in batches:
            if training:
                module.ramp(self.progress)
            self.history.new_batch()
            self.notify("on_batch_begin", batch=batch, training=training)
            losses = step_fn(batch)
            outputs = losses.pop("y_pred", None)
            shown = batch if training else batch[:2]
            if training and self.keeps_outputs_:
                shown = batch.known()
            self.steps_done_ += training
            self.notify(
                "on_batch_end", batch=shown, training=training, y_pred=outputs, **losses
            )
            steps.append(torch.stack([value.detach() for value in losses.values()]))
        steps = torch.stack(steps).cpu().double()
        if training:  # all batches are alike
            sizes = [_size_of(shown)] * len(steps)
        else:
            sizes = [len(y) for _, y, _ in iterator]
        names = [f"{prefix}_batch_size", *(f"{prefix}_{name}" for name in losses)]
        records = self.history[-1]["batches"][-len(sizes) :]
        for record, size, values in zip(records, sizes, steps.tolist(), strict=True):
            record.update(zip(names, (size, *values), strict=True))
        if not training:  # parts of held-out rows differ in size
            steps = steps * (steps.new_tensor(sizes) / np.mean(sizes))[:, None]
        means = steps.mean(0).tolist()
        if not all(map(math.isfinite, means)):
            raise ValueError(
                f"The loss is not finite in epoch {len(self.history)}: lower lr="
                f"{self.lr:g}, or scale the inputs (standardize=True)."
            )
        for name, value in zip(losses, means, strict=True):
            self.history.record(f"{prefix}_{name}", value)
        self._record_best(f"{prefix}_loss")
        if training:
            for name, value in module.epoch_values().items():
                self.history.record(name, value)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Forget the records of single batches."""
        super().on_train_end(net, X=X, y=y, **kwargs)
        self._forget_batches(self.history)

    def _forget_batches(self, epochs):
        """Keep the last batch's record of the last of some epochs only."""
        if epochs:
            del epochs[-1]["batches"][:-1]

    def _record_best(self, name):
        """Record whether a loss is the least so far, as skorch's own loop does."""
        value, least = self.history[-1, name], self.least_.get(name, math.inf)
        self.least_[name] = min(value, least)
        self.history.record(f"{name}_best", value < least)

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
            losses = self.module_(batch, self.criterion_, self.keeps_outputs_)
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
        """Return loss and outputs of held-out labeled rows."""
        x, y, weight = batch
        with torch.no_grad():
            outputs = self.base_module.predict(x)[1]
            loss = self.criterion_(outputs, y)
            loss = loss if weight is None else loss * weight
        return {"loss": loss.mean(), "y_pred": outputs}

    # -- what scoring callbacks ask for ------------------------------------------------

    def predict(self, X):
        """Return class codes, or scaled labels, of the rows that a callback scores."""
        outputs = self.predict_proba(X)
        return outputs.argmax(axis=1) if self.n_classes else outputs[:, 0]

    def evaluation_step(self, batch, training=False):
        """Return the outputs for held-out rows."""
        with torch.no_grad():
            return self.base_module.predict(batch[0])[1]

    @property
    def classes_(self):
        """Codes of the classes."""
        return np.arange(self.n_classes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier" if self.n_classes else "regressor"
        return tags


def _size_of(batch):
    """Return the number of labeled rows of a batch, or of rows of its largest group."""
    if hasattr(batch, "known"):
        batch = batch.known()
    return max(map(len, batch))


def cut_held_out(x, y, weight):
    """Cut held-out rows into parts that a device takes at once.

    Parameters
    ----------
    x : tensor of shape (n, ...)
        Rows.
    y, weight : tensor of shape (n,)
        Labels; weights or None.

    Returns
    -------
    parts : HeldOutRows
        ``(x, y, weight)`` of each part.
    """
    weights = [None] * len(y) if weight is None else weight.split(_ROWS_AT_ONCE)
    parts = x.split(_ROWS_AT_ONCE), y.split(_ROWS_AT_ONCE), weights
    return HeldOutRows(list(zip(*parts, strict=False)))


def check_callbacks(callbacks, held_out):
    """Refuse callbacks that read held-out rows where there are none.

    Parameters
    ----------
    callbacks : list or None
        Callbacks of skorch, some of them with their names.
    held_out : bool
        Whether rows are held out.

    Raises
    ------
    TypeError
        If an entry is no callback of skorch.
    ValueError
        If a callback would look for what is not recorded.
    """
    for callback in each_callback(callbacks):
        reads = reads_held_out(callback)
        scores = isinstance(callback, SCORES) and not callback.on_train
        if (reads or scores) and not held_out:
            what = f"monitors {reads!r}" if reads else "scores held-out rows"
            other = "monitor 'train_loss'" if reads else "set its on_train=True"
            raise ValueError(
                f"callbacks hold {type(callback).__name__}, which {what}, but no "
                "labels are held out: set early_stopping=True with enough labels, or "
                f"{other}."
            )


def each_callback(callbacks):
    """Yield the callbacks of a list, instances of those that come as classes.

    Parameters
    ----------
    callbacks : list or None
        Callbacks of skorch, some of them with their names, or their classes.

    Yields
    ------
    callback : Callback
        One of them.

    Raises
    ------
    TypeError
        If an entry is something else.
    """
    for entry in callbacks or []:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                "callbacks must hold callbacks of skorch, or pairs of a name and one, "
                f"got {entry!r}."
            )
        yield callback() if isinstance(callback, type) else callback


def reads_held_out(callback):
    """Return the name of what a callback reads of held-out rows, or None.

    Parameters
    ----------
    callback : Callback
        A callback of skorch.

    Returns
    -------
    name : str or None
        Such as "valid_loss".
    """
    name = getattr(callback, "monitor", None)
    if isinstance(callback, PassthroughScoring):
        name = callback.name
    return name if isinstance(name, str) and name.startswith("valid_") else None


def check_optimizer(optimizer):
    """Refuse an optimizer that evaluates the loss itself, such as LBFGS.

    Parameters
    ----------
    optimizer : class, callable or None
        What the user gave.

    Raises
    ------
    ValueError
        If its ``step`` needs a closure.
    """
    step = getattr(optimizer, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"optimizer={optimizer.__name__} evaluates the loss several times in a "
            "step, which nets do not do; use one whose step needs no closure."
        )
