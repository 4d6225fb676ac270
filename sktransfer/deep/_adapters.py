"""Low-rank adapters: train few parameters beside a frozen, pretrained module."""

import math
from numbers import Integral

from torch import nn

from sktransfer.deep._checks import check_interval, check_number

__all__ = [
    "LowRankLinear",
    "add_adapters",
    "freeze_module",
    "trainable_parameters",
]


class LowRankLinear(nn.Module):
    r"""Linear layer whose weight is frozen and gets a trainable low-rank addition.

    .. math:: y = (W + \tfrac{\alpha}{r} B A)\, x + b

    with A of shape (r, n_in) drawn at random and B of shape (n_out, r) zero at the
    start, so that the layer begins as the one it adapts [1]_.

    Parameters
    ----------
    base : Linear
        Layer to adapt; its parameters are frozen in place.
    rank : int in [1, inf), default=8
        Rank r of the addition.
    alpha : float in (0, inf), default=8.0
        Scale :math:`\alpha` of the addition.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] E. J. Hu et al., "LoRA: low-rank adaptation of large language models",
       ICLR 2022, arXiv:2106.09685.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import LowRankLinear
    >>> base = torch.nn.Linear(20, 10)
    >>> adapted = LowRankLinear(base, rank=2)
    >>> x = torch.ones(3, 20)
    >>> bool((adapted(x) == base(x)).all())
    True
    >>> sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    60
    """

    def __init__(self, base, rank=8, alpha=8.0):
        super().__init__()
        check_number("rank", rank, Integral, 1)
        check_interval("alpha", alpha, 0, closed="neither")
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.A = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.B = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    @property
    def weight(self):
        """Effective weight, for modules that read it, such as attention."""
        return self.base.weight + self.scale * self.B @ self.A

    @property
    def bias(self):
        """Bias of the adapted layer."""
        return self.base.bias

    def forward(self, x):
        """Map inputs of shape (..., n_in) to outputs of shape (..., n_out)."""
        return self.base(x) + self.scale * (x @ self.A.T @ self.B.T)


class _Frozen(nn.Module):
    """A module that stays in evaluation mode, so that its statistics are fixed too."""

    def __init__(self, module):
        super().__init__()
        self.module = module.eval()

    def train(self, mode=True):
        return super().train(False)

    def forward(self, x):
        return self.module(x)


def freeze_module(module):
    """Freeze a module in place: no gradients, no moving statistics.

    Parameters
    ----------
    module : Module
        Module to freeze.

    Returns
    -------
    frozen : Module
        Wrapper that keeps it in evaluation mode.
    """
    return _Frozen(module.requires_grad_(False))


def add_adapters(module, rank=8, alpha=8.0):
    """Freeze a module in place and adapt every linear layer of it.

    Parameters
    ----------
    module : Module
        Module with at least one ``torch.nn.Linear``, of any depth. Its linear layers
        are replaced, so give a copy where the module is needed as it was.
    rank : int in [1, inf), default=8
        Rank of the adapters.
    alpha : float in (0, inf), default=8.0
        Scale of the adapters.

    Returns
    -------
    adapted : Module
        Wrapper with the same outputs, of which only the adapters get gradients. It
        stays in evaluation mode, as normalization layers and dropout are frozen.

    Raises
    ------
    ValueError
        If the module has no linear layer.

    See Also
    --------
    LowRankLinear : An adapted layer.

    Examples
    --------
    >>> from sktransfer.deep import MLP, add_adapters
    >>> adapted = add_adapters(MLP(20, hidden_units=(10, 5)), rank=2)
    >>> sorted({tuple(p.shape) for p in adapted.parameters() if p.requires_grad})
    [(2, 10), (2, 20), (5, 2), (10, 2)]
    """
    module.requires_grad_(False)
    if isinstance(module, nn.Linear):
        return _Frozen(LowRankLinear(module, rank, alpha))
    found = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no torch.nn.Linear to adapt; train the head "
            "alone or all parameters."
        )
    # a layer that is used in several places stays one layer
    adapters = {id(layer): LowRankLinear(layer, rank, alpha) for *_, layer in found}
    for parent, name, child in found:
        setattr(parent, name, adapters[id(child)])
    return _Frozen(module)


def trainable_parameters(module):
    """Return the parameters of a module that get gradients, by name, detached."""
    return {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
