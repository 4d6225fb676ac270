"""Weightings of tasks: which way a net goes that several tasks share."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from sktransfer._solvers.projections import project_simplex
from sktransfer._solvers.task_directions import (
    conflict_averse_weights,
    min_norm_weights,
    surgery_weights,
    vaccine_weights,
)

__all__ = [
    "CAGrad",
    "DynamicAverage",
    "EqualTasks",
    "GradNorm",
    "GradientVaccine",
    "LossBalance",
    "MGDA",
    "MoCo",
    "MoDo",
    "PCGrad",
    "RandomTasks",
    "TaskState",
    "TaskWeighting",
    "UncertaintyWeighting",
]

#: smallest weight that GradNorm leaves to a task
_LEAST = 1e-3


@dataclass
class TaskState:
    """What a weighting remembers of a training.

    Parameters
    ----------
    n_tasks : int
        Number of tasks.
    past : list of tensor of shape (n_tasks,)
        Mean losses of each past epoch.
    first : tensor of shape (n_tasks,) or None
        Losses of the first batch of this epoch.
    memory : dict
        Whatever the weighting puts there.
    weights : tensor of shape (n_tasks,) or None
        Weights of the tasks in the last step; the weighting sets them.

    Examples
    --------
    >>> from sktransfer.deep import TaskState
    >>> TaskState(3).memory
    {}
    """

    n_tasks: int
    past: list = field(default_factory=list)
    first: Any = None
    memory: dict = field(default_factory=dict)
    weights: Any = None


class TaskWeighting:
    r"""Base of the weightings of tasks; a subclass overrides one of two methods.

    In every step a net with an extractor for all tasks has the losses
    :math:`l_1, \dots, l_K` of the tasks and, where a weighting asks for them, their
    gradients :math:`g_1, \dots, g_K` with respect to the extractor. A weighting that
    needs the losses alone overrides ``weights``; one that needs the gradients sets
    ``needs_gradients`` and overrides ``combine``. Directions are on the scale of the
    mean gradient: with equal weights each is :math:`1/K`.

    An object holds parameters only. What a training has to remember is in its ``state``
    (:class:`TaskState`), so one object serves several nets.

    See Also
    --------
    MultiTaskNetClassifier : A net that takes it.

    Notes
    -----
    ``on_features`` asks for gradients with respect to the features of the batch in
    place of the parameters, and ``needs_two_batches`` for the gradients of two
    independent halves of the batch: then ``gradients`` has the shape (2, K, p).

    Examples
    --------
    The task with the largest loss decides alone:

    >>> import torch
    >>> from sktransfer.deep import MultiTaskNetRegressor, TaskWeighting
    >>> class WorstTask(TaskWeighting):
    ...     def weights(self, losses, state):
    ...         return (losses == losses.max()).to(losses.dtype)
    >>> net = MultiTaskNetRegressor(weighting=WorstTask(), max_steps=20, random_state=0)
    >>> X, y, task = [[0.0], [1.0], [0.0], [0.0]], [0.0, 1.0, 0.0, 1.0], [-1, -1, 1, 1]
    >>> net.fit(X, y, sample_domain=task).task_weights_
    array([0., 1.])
    """

    needs_gradients: ClassVar[bool] = False
    needs_two_batches: ClassVar[bool] = False
    on_features: bool = False

    def start(self, net: Any, module: Any, rows: Any, budget: Any) -> None:
        """Prepare a training; what is found goes to ``module.state.memory``."""

    def weights(self, losses: torch.Tensor, state: TaskState) -> torch.Tensor:
        """Return the weights of the tasks, shape (n_tasks,), without gradient."""
        raise NotImplementedError(
            f"{type(self).__name__} must override weights(losses, state) or, with "
            "needs_gradients = True, combine(losses, gradients, state)."
        )

    def combine(
        self, losses: torch.Tensor, gradients: torch.Tensor, state: TaskState
    ) -> torch.Tensor:
        """Return the direction of the extractor, shape (p,), from gradients (K, p)."""
        state.weights = self.weights(losses, state)
        return state.weights @ gradients

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({inside})"


class EqualTasks(TaskWeighting):
    r"""Weigh all tasks equally: :math:`d = \frac1K \sum_k g_k`.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import EqualTasks, TaskState
    >>> gradients = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> EqualTasks().combine(torch.ones(2), gradients, TaskState(2))
    tensor([0.5000, 0.5000])
    """

    def weights(self, losses: torch.Tensor, state: TaskState) -> torch.Tensor:
        """Return equal weights."""
        return torch.full_like(losses, 1 / len(losses))


class RandomTasks(TaskWeighting):
    r"""Draw the weights anew in every step: :math:`w = \mathrm{softmax}(N(0, I))` [1]_.

    References
    ----------
    .. [1] B. Lin, F. Ye, Y. Zhang, I. Tsang, "Reasonable effectiveness of random
       weighting: a litmus test for multi-task learning", TMLR 2022.
       arXiv:2111.10603.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import RandomTasks, TaskState
    >>> weights = RandomTasks().weights(torch.ones(3), TaskState(3))
    >>> bool(weights.sum().isclose(torch.tensor(1.0)))
    True
    """

    def weights(self, losses: torch.Tensor, state: TaskState) -> torch.Tensor:
        """Return the softmax of normal random numbers."""
        return torch.randn_like(losses).softmax(0)


class DynamicAverage(TaskWeighting):
    r"""Give weight to tasks that learn slowly: dynamic weight average (DWA) [1]_.

    With the mean losses :math:`l_k(t)` of epoch t the weights of epoch t are the
    softmax of :math:`l_k(t-1) / l_k(t-2) / T`; those of the first two are equal.

    Parameters
    ----------
    temperature : float in (0, inf), default=2.0
        Temperature T.

    References
    ----------
    .. [1] S. Liu, E. Johns, A. J. Davison, "End-to-end multi-task learning with
       attention", CVPR 2019. arXiv:1803.10704.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import DynamicAverage, TaskState
    >>> past = [torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.5])]
    >>> DynamicAverage().weights(torch.ones(2), TaskState(2, past=past))
    tensor([0.5622, 0.4378])
    """

    def __init__(self, temperature: float = 2.0) -> None:
        self.temperature = _positive("temperature", temperature)

    def weights(self, losses: torch.Tensor, state: TaskState) -> torch.Tensor:
        """Return weights by the falls of the losses between the last two epochs."""
        if len(state.past) < 2:
            return torch.full_like(losses, 1 / len(losses))
        before, last = (epoch.to(losses) for epoch in state.past[-2:])
        tiny = torch.finfo(losses.dtype).tiny
        rate = torch.where(before > tiny, last / before.clamp_min(tiny), 1.0)
        return (rate / self.temperature).softmax(0)


class LossBalance(TaskWeighting):
    r"""Give weight to tasks whose loss falls slowly within an epoch: LBTW [1]_.

    :math:`w_k = (l_k / l_k^0)^\alpha / K` with the loss :math:`l_k^0` of the first
    batch of the epoch.

    Parameters
    ----------
    alpha : float in [0, inf), default=0.5
        Exponent; 0 gives equal weights.

    References
    ----------
    .. [1] S. Liu, Y. Liang, A. Gitter, "Loss-balanced task weighting to reduce negative
       transfer in multi-task learning", AAAI 2019.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import LossBalance, TaskState
    >>> state = TaskState(2, first=torch.tensor([1.0, 1.0]))
    >>> LossBalance().weights(torch.tensor([1.0, 0.25]), state)
    tensor([0.5000, 0.2500])
    """

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = _positive("alpha", alpha, or_zero=True)

    def weights(self, losses: torch.Tensor, state: TaskState) -> torch.Tensor:
        """Return weights by the ratios to the losses of the first batch."""
        first = losses if state.first is None else state.first
        tiny = torch.finfo(losses.dtype).tiny
        ratio = torch.where(first > tiny, losses / first.clamp_min(tiny), 1.0)
        return ratio**self.alpha / len(losses)


class UncertaintyWeighting(TaskWeighting):
    r"""Weigh tasks by their noise, which is learned [1]_.

    The net minimizes :math:`\frac1K \sum_k (e^{-s_k} l_k + s_k / 2)` over its
    parameters and, by gradient steps, over :math:`s_k`, the logarithm of the noise
    variance; at its optimum :math:`e^{-s_k} = 1 / (2 l_k)`.

    Parameters
    ----------
    rate : float in (0, inf), default=0.02
        Length of a gradient step in :math:`s_k`.

    References
    ----------
    .. [1] A. Kendall, Y. Gal, R. Cipolla, "Multi-task learning using uncertainty to
       weigh losses for scene geometry and semantics", CVPR 2018. arXiv:1705.07115.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import TaskState, UncertaintyWeighting
    >>> weighting, state = UncertaintyWeighting(rate=0.5), TaskState(2)
    >>> for _ in range(200):
    ...     weights = weighting.weights(torch.tensor([0.5, 2.0]), state)
    >>> 2 * weights  # 1 / (2 * loss)
    tensor([1.0000, 0.2500])
    """

    def __init__(self, rate: float = 0.02) -> None:
        self.rate = _positive("rate", rate)

    def weights(self, losses: torch.Tensor, state: TaskState) -> torch.Tensor:
        """Return the weights and take a step of the logarithms of the variances."""
        log_variance = state.memory.get("log_variance", torch.zeros_like(losses))
        precision = (-log_variance).exp()
        # a step of 1 at most, so that no huge loss throws a variance off
        step = (self.rate * (0.5 - precision * losses)).clamp(-1.0, 1.0)
        state.memory["log_variance"] = log_variance - step
        return precision / len(losses)


class GradNorm(TaskWeighting):
    r"""Learn weights that give slow tasks gradients of larger norm [1]_.

    The weights, of sum K, take gradient steps on
    :math:`\sum_k | w_k \|g_k\| - \bar g\, r_k^\alpha |` with the mean
    :math:`\bar g` of :math:`w_k \|g_k\|` and the relative rate :math:`r_k`: the ratio
    of the loss to the first one, divided by the mean ratio. No gradient passes through
    :math:`\bar g\, r_k^\alpha`. The direction is :math:`\frac1K \sum_k w_k g_k`.

    Parameters
    ----------
    alpha : float in [0, inf), default=1.5
        Strength of the pull to equal rates.
    rate : float in (0, inf), default=0.02
        Length of a step of the weights, relative to the mean norm.

    References
    ----------
    .. [1] Z. Chen, V. Badrinarayanan, C.-Y. Lee, A. Rabinovich, "GradNorm: gradient
       normalization for adaptive loss balancing in deep multitask networks", ICML
       2018. arXiv:1711.02257.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import GradNorm, TaskState
    >>> weighting, state = GradNorm(rate=0.01), TaskState(2)
    >>> gradients = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    >>> for _ in range(300):
    ...     direction = weighting.combine(torch.ones(2), gradients, state)
    >>> direction.round(decimals=1)  # both tasks as long
    tensor([0.8000, 0.8000])
    """

    needs_gradients: ClassVar[bool] = True

    def __init__(self, alpha: float = 1.5, rate: float = 0.02) -> None:
        self.alpha = _positive("alpha", alpha, or_zero=True)
        self.rate = _positive("rate", rate)

    def combine(
        self, losses: torch.Tensor, gradients: torch.Tensor, state: TaskState
    ) -> torch.Tensor:
        """Return the weighted mean of the gradients and move the weights."""
        w = state.memory.get("weights", torch.ones_like(losses))
        first = state.memory.setdefault("first", losses.detach().clone())
        tiny = torch.finfo(losses.dtype).tiny
        norms = gradients.norm(dim=1)
        ratio = torch.where(first > tiny, losses / first.clamp_min(tiny), 1.0)
        rate = ratio / ratio.mean().clamp_min(tiny)
        mean = (w * norms).mean().clamp_min(tiny)
        slope = torch.sign(w * norms - mean * rate**self.alpha) * norms / mean
        moved = (w - self.rate * slope).clamp_min(_LEAST)
        state.memory["weights"] = moved * (len(w) / moved.sum())
        state.weights = w / len(w)
        return state.weights @ gradients


class _GramWeighting(TaskWeighting):
    """Base of weightings that see the Gram matrix of the gradients alone."""

    needs_gradients: ClassVar[bool] = True

    def _of_gram(self, gram: np.ndarray, state: TaskState) -> np.ndarray:
        """Return the weights of the gradients."""
        raise NotImplementedError

    def combine(
        self, losses: torch.Tensor, gradients: torch.Tensor, state: TaskState
    ) -> torch.Tensor:
        """Return a combination of the gradients."""
        gram = (gradients @ gradients.T).double().cpu().numpy()
        found = self._of_gram(gram, state)
        state.weights = torch.as_tensor(found).to(gradients)
        return state.weights @ gradients


class MGDA(_GramWeighting):
    r"""Take the shortest convex combination of the gradients [1]_.

    :math:`d = G^\top w` with :math:`w = \arg\min_{w \in \Delta} \|G^\top w\|`. It is no
    step back for any task, :math:`d^\top g_k \ge \|d\|^2`, and it is 0 where no
    direction helps all tasks.

    Parameters
    ----------
    on_features : bool, default=False
        MGDA-UB: gradients with respect to the features of the batch, which cost one
        pass through the head of each task, in place of the parameters. It is an upper
        bound made for tasks that share their samples. Here each task has samples of its
        own, so these gradients are orthogonal and the weights inverse to their squared
        lengths.

    References
    ----------
    .. [1] O. Sener, V. Koltun, "Multi-task learning as multi-objective optimization",
       NeurIPS 2018. arXiv:1810.04650.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import MGDA, TaskState
    >>> opposite = torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    >>> MGDA().combine(torch.ones(2), opposite, TaskState(2)).norm().round(decimals=6)
    tensor(0.)
    """

    def __init__(self, on_features: bool = False) -> None:
        self.on_features = on_features

    def _of_gram(self, gram: np.ndarray, state: TaskState) -> np.ndarray:
        return min_norm_weights(gram)[0]


class PCGrad(_GramWeighting):
    r"""Project conflicts out of the gradients: PCGrad [1]_.

    For the other tasks j in random order, :math:`g_i` loses its component along
    :math:`g_j` where their product is negative; d is the mean. Without conflict it is
    the mean of the gradients.

    References
    ----------
    .. [1] T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman, C. Finn, "Gradient surgery
       for multi-task learning", NeurIPS 2020. arXiv:2001.06782.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import PCGrad, TaskState
    >>> gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    >>> PCGrad().combine(torch.ones(2), gradients, TaskState(2))
    tensor([0.2500, 0.7500])
    """

    def _of_gram(self, gram: np.ndarray, state: TaskState) -> np.ndarray:
        return surgery_weights(gram, _orders(len(gram)))


class GradientVaccine(_GramWeighting):
    r"""Raise the cosines between gradients to their running means [1]_.

    For the other tasks j in random order, :math:`g_i` gets so much of :math:`g_j` that
    their cosine is :math:`\hat\phi_{ij}`, where it is below. Each cosine that is met
    moves :math:`\hat\phi_{ij}`, which starts at 0, by the share ``beta``.

    Parameters
    ----------
    beta : float in [0, 1], default=0.01
        Weight of a new cosine in the running mean. 0 is PCGrad.

    References
    ----------
    .. [1] Z. Wang, Y. Tsvetkov, O. Firat, Y. Cao, "Gradient vaccine: investigating and
       improving multi-task optimization in massively multilingual models", ICLR 2021.
       arXiv:2010.05874.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import GradientVaccine, TaskState
    >>> gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    >>> GradientVaccine().combine(torch.ones(2), gradients, TaskState(2))
    tensor([0.2500, 0.7500])
    """

    def __init__(self, beta: float = 0.01) -> None:
        if not 0 <= beta <= 1:
            raise ValueError(f"beta must be in [0, 1], got {beta!r}.")
        self.beta = beta

    def _of_gram(self, gram: np.ndarray, state: TaskState) -> np.ndarray:
        goals = state.memory.get("cosines", np.zeros_like(gram))
        weights, state.memory["cosines"] = vaccine_weights(
            gram, _orders(len(gram)), goals, self.beta
        )
        return weights


class CAGrad(_GramWeighting):
    r"""Go near the mean gradient, and where the worst task gains most [1]_.

    d is the direction of the largest :math:`\min_k g_k^\top d` within
    :math:`\|d - g_0\| \le c \|g_0\|` of the mean gradient :math:`g_0`. Equal gradients
    g give :math:`(1 + c) g`.

    Parameters
    ----------
    c : float in [0, inf), default=0.4
        Radius. 0: the mean gradient.

    References
    ----------
    .. [1] B. Liu, X. Liu, X. Jin, P. Stone, Q. Liu, "Conflict-averse gradient descent
       for multi-task learning", NeurIPS 2021. arXiv:2110.14048.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import CAGrad, TaskState
    >>> gradients = torch.tensor([[4.0, 0.0], [0.0, 2.0]])
    >>> CAGrad(c=0.5).combine(torch.ones(2), gradients, TaskState(2))  # more of task 2
    tensor([2.0000, 2.1180])
    """

    def __init__(self, c: float = 0.4) -> None:
        self.c = _positive("c", c, or_zero=True)

    def _of_gram(self, gram: np.ndarray, state: TaskState) -> np.ndarray:
        return conflict_averse_weights(gram, self.c)[0]


class MoCo(TaskWeighting):
    r"""Follow running means of the gradients, and MGDA's weights for them [1]_.

    :math:`Y \leftarrow Y - \beta (Y - G)`,
    :math:`w \leftarrow P_\Delta(w - \gamma (Y Y^\top w + \rho w))`,
    :math:`d = Y^\top w`, from the first gradients and equal weights on.
    :math:`P_\Delta` projects on the simplex.

    Parameters
    ----------
    beta : float in (0, 1], default=0.5
        Share of the new gradients.
    gamma : float in [0, inf), default=0.1
        Length of a step of the weights.
    rho : float in [0, inf), default=0.0
        Pull to equal weights.

    References
    ----------
    .. [1] H. Fernando, H. Shen, M. Liu, S. Chaudhury, K. Murugesan, T. Chen,
       "Mitigating gradient bias in multi-objective learning: a provably convergent
       stochastic approach", ICLR 2023.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import MoCo, TaskState
    >>> gradients = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> weighting, state = MoCo(), TaskState(2)
    >>> for _ in range(200):
    ...     direction = weighting.combine(torch.ones(2), gradients, state)
    >>> direction.round(decimals=2)  # as MGDA
    tensor([0.4000, 0.8000])
    """

    needs_gradients: ClassVar[bool] = True

    def __init__(self, beta: float = 0.5, gamma: float = 0.1, rho: float = 0.0) -> None:
        if not 0 < beta <= 1:
            raise ValueError(f"beta must be in (0, 1], got {beta!r}.")
        self.beta = beta
        self.gamma = _positive("gamma", gamma, or_zero=True)
        self.rho = _positive("rho", rho, or_zero=True)

    def combine(
        self, losses: torch.Tensor, gradients: torch.Tensor, state: TaskState
    ) -> torch.Tensor:
        """Return the weighted running means of the gradients."""
        followed = state.memory.get("gradients")
        if followed is None:
            followed = gradients.clone()
        else:
            followed = followed - self.beta * (followed - gradients)
        state.memory["gradients"] = followed
        gram = followed @ followed.T
        state.weights = _simplex_step(gram, state, self.gamma, self.rho)
        return state.weights @ followed


class MoDo(TaskWeighting):
    r"""MGDA's weights from two independent halves of a batch, one step at a time [1]_.

    With the gradients :math:`G_1, G_2` of the halves,
    :math:`w \leftarrow P_\Delta(w - \gamma (G_1 G_2^\top w + \rho w))` and
    :math:`d = (G_1 + G_2)^\top w / 2`: the product of independent gradients has no bias
    from their noise.

    Parameters
    ----------
    gamma : float in [0, inf), default=0.1
        Length of a step of the weights.
    rho : float in [0, inf), default=0.0
        Pull to equal weights.

    References
    ----------
    .. [1] L. Chen, H. Fernando, Y. Ying, T. Chen, "Three-way trade-off in
       multi-objective learning: optimization, generalization and conflict-avoidance",
       NeurIPS 2023. arXiv:2305.20057.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import MoDo, TaskState
    >>> halves = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]).expand(2, 2, 2)
    >>> weighting, state = MoDo(), TaskState(2)
    >>> for _ in range(200):
    ...     direction = weighting.combine(torch.ones(2), halves, state)
    >>> direction.round(decimals=2)
    tensor([0.4000, 0.8000])
    """

    needs_gradients: ClassVar[bool] = True
    needs_two_batches: ClassVar[bool] = True

    def __init__(self, gamma: float = 0.1, rho: float = 0.0) -> None:
        self.gamma = _positive("gamma", gamma, or_zero=True)
        self.rho = _positive("rho", rho, or_zero=True)

    def combine(
        self, losses: torch.Tensor, gradients: torch.Tensor, state: TaskState
    ) -> torch.Tensor:
        """Return the weighted mean of the gradients of both halves."""
        product = gradients[0] @ gradients[1].T
        state.weights = _simplex_step(product, state, self.gamma, self.rho)
        return state.weights @ gradients.mean(0)


def _simplex_step(
    gram: torch.Tensor, state: TaskState, gamma: float, rho: float
) -> torch.Tensor:
    """Take a projected step of the weights and return them."""
    product = gram.double().cpu().numpy()
    k = len(product)
    w = state.memory.get("weights", np.full(k, 1 / k))
    w = project_simplex(w - gamma * (product @ w + rho * w))
    state.memory["weights"] = w
    return torch.as_tensor(w).to(gram)


def _orders(k: int) -> np.ndarray:
    """Return a random order of the tasks for each of them."""
    return np.zeros((1, 1), int) if k == 1 else torch.rand(k, k).argsort(1).numpy()


def _positive(name: str, value: float, *, or_zero: bool = False) -> float:
    """Return a number that must be positive, or not negative."""
    if not (0 < value < float("inf") or (or_zero and value == 0)):
        bound = "[0, inf)" if or_zero else "(0, inf)"
        raise ValueError(f"{name} must be in {bound}, got {value!r}.")
    return value
