"""Alignments by optimal transport (WDGRL, DeepJDOT)."""

import math
from numbers import Integral

import torch
from torch import nn
from torch.nn.functional import log_softmax

from sktransfer.deep._alignment import Alignment
from sktransfer.deep._checks import check_interval, check_number
from sktransfer.deep._class_alignment import ClassAlignment
from sktransfer.deep._modules import reverse_gradient

__all__ = ["JointTransportAlignment", "WassersteinAlignment"]


class WassersteinAlignment(Alignment):
    r"""Features of small Wasserstein distance between the domains (WDGRL).

    A critic c maximizes, and the extractor minimizes with weight :math:`\mu`,
    :math:`E_S\, c(f) - E_T\, c(f)`; the critic is kept near slope 1 by the penalty
    :math:`\gamma\, E (\|\nabla c\| - 1)^2` on rows between both domains [1]_.

    Parameters
    ----------
    penalty : float in [0, inf), default=10.0
        :math:`\gamma`.
    hidden_units : int in [1, inf), default=64
        Width of the critic's hidden layer.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] J. Shen, Y. Qu, W. Zhang, Y. Yu, "Wasserstein distance guided representation
       learning for domain adaptation", AAAI 2018, arXiv:1707.01217.

    Examples
    --------
    >>> from sktransfer.deep import WassersteinAlignment
    >>> WassersteinAlignment().penalty
    10.0
    """

    def __init__(self, penalty=10.0, hidden_units=64):
        super().__init__()
        self.penalty = check_number("penalty", penalty)
        self.hidden_units = check_number("hidden_units", hidden_units, Integral, 1)

    def build(self, sizes, net):
        """Make the critic."""
        units = self.hidden_units
        self.critic = nn.Sequential(
            nn.Linear(sizes.n_features, units), nn.ReLU(), nn.Linear(units, 1)
        )

    def own_losses(self, net, batch, encoded):
        """Return the critic's loss; its gradient is reversed on the way."""
        source = self.critic(reverse_gradient(encoded.source, net.mu)).mean()
        target = self.critic(reverse_gradient(encoded.target, net.mu)).mean()
        n = min(len(encoded.source), len(encoded.target))
        s, t = encoded.source[:n].detach(), encoded.target[:n].detach()
        share = torch.rand_like(s[:, :1])
        between = (share * s + (1 - share) * t).requires_grad_()
        slope = torch.autograd.grad(
            self.critic(between).sum(), between, create_graph=True
        )[0]
        excess = (slope.square().sum(1) + 1e-12).sqrt() - 1
        return {
            "wasserstein": target - source,
            "slope": self.penalty * excess.square().mean(),
        }


class JointTransportAlignment(ClassAlignment):
    r"""Features and labels that a cheap transport plan couples (DeepJDOT).

    The loss is :math:`\sum_{ij} \pi_{ij} c_{ij}` with

    .. math:: c_{ij} = \alpha \|f_i - f_j\|^2 / d + \lambda\, CE(y_i, p_j)

    for source rows i and target rows j of a batch, d features, and the entropic plan
    :math:`\pi` of these costs, held fixed [1]_. (The paper's plan is exact.)

    Parameters
    ----------
    features, labels : float in [0, inf), default=1.0
        :math:`\alpha` and :math:`\lambda`.
    reg : float in (0, inf), default=0.05
        Strength of the entropy, relative to the mean cost.
    n_iter : int in [1, inf), default=50
        Sinkhorn iterations.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    References
    ----------
    .. [1] B. B. Damodaran, B. Kellenberger, R. Flamary, D. Tuia, N. Courty, "DeepJDOT:
       deep joint distribution optimal transport for unsupervised domain adaptation",
       ECCV 2018, arXiv:1803.10081.

    Examples
    --------
    >>> from sktransfer.deep import JointTransportAlignment
    >>> JointTransportAlignment(labels=0.5).labels
    0.5
    """

    def __init__(self, features=1.0, labels=1.0, reg=0.05, n_iter=50):
        super().__init__()
        self.features = check_number("features", features)
        self.labels = check_number("labels", labels)
        self.reg = check_interval("reg", reg, 0, closed="neither")
        self.n_iter = check_number("n_iter", n_iter, Integral, 1)

    def losses(self, net, batch, encoded):
        """Return the cost of the plan."""
        distance = (encoded.source[:, None] - encoded.target[None]).square().mean(2)
        surprise = -log_softmax(encoded.out_target, 1).T[batch.y_source]
        cost = self.features * distance + self.labels * surprise
        return {"transport": (self._plan(cost.detach()) * cost).sum()}

    def _plan(self, cost):
        """Return the entropic plan; a fixed number of iterations waits for nothing."""
        m, n = cost.shape
        kernel = -cost / (self.reg * cost.mean() + torch.finfo(cost.dtype).tiny)
        v = kernel.new_zeros(n)
        for _ in range(self.n_iter):
            u = -torch.logsumexp(kernel + v[None], 1) - math.log(m)
            v = -torch.logsumexp(kernel + u[:, None], 0) - math.log(n)
        return torch.exp(kernel + u[:, None] + v[None])
