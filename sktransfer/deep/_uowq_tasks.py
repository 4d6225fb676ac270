"""Weights of tasks by UOWQ's theory, from nets of the single tasks."""

import copy

import numpy as np
import torch
from torch import nn

from sktransfer._solvers.uowq import solve_uowq
from sktransfer.deep._pretraining import labeled_rows, train_alone
from sktransfer.deep._task_weighting import TaskWeighting

__all__ = ["UOWQTasks"]

_N_FOLDS = 3


class UOWQTasks(TaskWeighting):
    r"""Weigh tasks by how much they are worth to each other, by UOWQ's theory [1]_.

    Before the training each task gets a net of its own. With task i as the target and
    the others as its sources, :func:`~sktransfer.multisource.uowq_weights` gives the
    worth of a row of task j to it, beside a row of its own: :math:`a_{ij}`, with
    :math:`a_{ii} = 1`. The extractor serves all tasks, so the loss of task j gets the
    mean of its shares in them,

    .. math:: w_j = \frac1K \sum_i \frac{a_{ij} n_j}{\sum_l a_{il} n_l} .

    Tasks that are alike are pooled, :math:`w_j = n_j / \sum_l n_l`; tasks that are
    worth nothing to each other count equally, :math:`w_j = 1/K`. A task that helps
    others counts more.

    Parameters
    ----------
    noise_correction : bool, default=False
        Take the noise of the fits out of the differences, which raises all
        :math:`a_{ij}`.

    Notes
    -----
    Differences between nets are measured on the rows of task i as in
    :class:`UOWQNet` with ``fisher="path"``; in regression they are differences of
    outputs, in units of the held-out standard deviation of task i. The number of
    parameters that a task determines comes from nets on two thirds of its rows each.
    The nets of the single tasks take about as many steps as the training itself, those
    on two thirds three times as many, on rows of one task each. The matrix is in
    ``net.module_.state.memory["affinity"]``.

    References
    ----------
    .. [1] Q. Zhang et al., "Unified optimization of source weights and transfer
       quantities in multi-source transfer learning: an asymptotic framework", 2026,
       arXiv:2601.10779.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import MultiTaskNetClassifier, UOWQTasks
    >>> rng = np.random.RandomState(0)
    >>> X, task = rng.normal(size=(120, 2)), np.repeat([-1, 1, 2], 40)
    >>> y = np.where(task == 2, X[:, 1] > 0, X[:, 0] > 0).astype(int)
    >>> net = MultiTaskNetClassifier(
    ...     weighting=UOWQTasks(), max_steps=60, lr=0.01, random_state=0
    ... )
    >>> net = net.fit(X, y, sample_domain=task)
    >>> affinity = net.module_.state.memory["affinity"]
    >>> bool(affinity[0, 1] > 2 * affinity[0, 2])
    True
    """

    def __init__(self, noise_correction=False):
        self.noise_correction = noise_correction

    def start(self, net, module, rows, budget):
        """Fit the single tasks and find the affinity of tasks."""
        sizes = np.array(rows.task_sizes, dtype=float)
        module.state.memory["affinity"] = self._affinity(net, module, rows, budget)
        shares = module.state.memory["affinity"] * sizes
        shares /= shares.sum(axis=1, keepdims=True)
        module.state.memory["weights"] = shares.mean(axis=0)

    def weights(self, losses, state):
        """Return the weights found at the start."""
        return torch.as_tensor(state.memory["weights"]).to(losses)

    def _affinity(self, net, module, rows, budget):
        n_tasks = len(rows.task_sizes)
        if n_tasks == 1:
            return np.ones((1, 1))
        enough = -(-budget.epoch_steps // n_tasks)
        seed = torch.initial_seed()

        def fit(head, x, y, w):
            part = copy.deepcopy(nn.Sequential(module.extractor, head))
            n_batches = max(enough, -(-len(x) // net.batch_size))
            batches = labeled_rows(
                x, y, net.batch_size,
                n_batches=n_batches, weight=w, device=rows.device,
            )  # fmt: skip
            n_steps = min(budget.n_epochs * n_batches, budget.n_steps)
            if len(x):
                train_alone(net, *part.to(rows.device), batches, n_steps, seed)
            return part.eval()

        tasks = [rows.of_task(k) for k in range(n_tasks)]
        single = [fit(h, *task) for h, task in zip(module.head, tasks, strict=True)]
        affinity = np.eye(n_tasks)
        for i, (x, y, w) in enumerate(tasks):
            fold = torch.arange(len(y), device=y.device) % _N_FOLDS
            parts = [
                fit(module.head[i], x[(fold != k).to(x.device)], y[fold != k],
                    None if w is None else w[fold != k])
                for k in range(min(_N_FOLDS, len(y)))
            ]  # fmt: skip
            affinity[i] = self._row(i, single, parts, rows, net._n_classes)
        return affinity

    def _row(self, i, single, parts, rows, n_classes):
        """Return what rows of every task are worth to task i."""
        x, y, _ = rows.of_task(i)
        n = len(y)

        def answers(net):
            with torch.no_grad():
                out = torch.cat([net(part) for part in rows.chunks(x, 8192)])
            if n_classes:
                out = 2 * out.softmax(1).sqrt()
            return out.cpu().double().numpy()

        own = answers(single[i])
        fold = np.arange(n) % _N_FOLDS
        held_out = np.stack([answers(part) for part in parts])[fold, np.arange(n)]
        unit = 1.0
        if not n_classes:
            errors = held_out - y.cpu().double().numpy()[:, None]
            unit = max(np.sqrt(np.mean(errors**2)), 1e-8)
        d = max(np.sum(((held_out - own) / unit) ** 2), 1e-8)
        others = [k for k in range(len(single)) if k != i]
        gaps = np.stack([(answers(single[k]) - own) / unit for k in others], axis=2)
        found = solve_uowq(
            gaps.reshape(-1, len(others)) / np.sqrt(n),
            n,
            np.array(rows.task_sizes, dtype=float)[others],
            d,
            noise_correction=self.noise_correction,
        )
        row = np.ones(len(single))
        row[others] = found.weights
        return row
