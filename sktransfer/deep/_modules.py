"""Small modules that the nets are made of."""

import math
from collections import OrderedDict
from itertools import pairwise
from numbers import Integral

import torch
from torch import nn
from torch.func import functional_call

from sktransfer.deep._checks import check_interval, check_number, check_widths

__all__ = ["MLP", "fool", "freeze", "label_code", "reverse_gradient"]


class MLP(nn.Module):
    """Multi-layer perceptron, the default feature extractor.

    Parameters
    ----------
    n_features : int in [1, inf)
        Number of inputs; rows with more axes, such as images, are flattened.
    hidden_units : tuple of int, default=None
        Width of each layer; the last is the number of learned features. None sizes
        two layers from the data: the first is the power of two next to
        ``n_features``, between 32 and 256, the second half of it.
    dropout : float in [0, 1), default=0.0
        Share of the units that is dropped after each layer in training.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import MLP
    >>> MLP(4, hidden_units=(8, 3))(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self, n_features, hidden_units=None, dropout=0.0):
        super().__init__()
        check_number("n_features", n_features, Integral, 1)
        check_interval("dropout", dropout, 0, 1)
        if hidden_units is None:
            width = 2 ** min(max(math.ceil(math.log2(n_features)), 5), 8)
            hidden_units = width, width // 2
        widths = [n_features, *check_widths("hidden_units", hidden_units)]
        layers = [nn.Flatten()]
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        """Map rows of shape (n, n_features) to features of shape (n, n_units)."""
        return self.layers(x)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.save_for_backward(strength)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        (strength,) = ctx.saved_tensors
        return -strength * gradient, None


def reverse_gradient(x, strength):
    """Return ``x``; on the way back its gradient is multiplied by ``-strength``."""
    return _ReverseGradient.apply(x, strength)


def freeze(module):
    """Return a function like ``module`` whose parameters get no gradient."""
    fixed = OrderedDict((k, v.detach()) for k, v in module.named_parameters())

    def call(*args):
        return functional_call(module, fixed, args)

    return call


def fool(logits):
    r"""Mean of :math:`-\log(1 - D)`: the loss of a target row that plays a source."""
    return nn.functional.softplus(logits).mean()


def label_code(y, like, n_classes):
    """Return the code of labels: classes one-hot, or the real label, then "nil".

    ``y=None`` means that no label is given; ``like`` has a row for each code and their
    dtype; ``n_classes=0`` stands for real labels.
    """
    code = like.new_zeros(len(like), (n_classes or 1) + 1)
    if y is None:
        code[:, -1] = 1
    elif n_classes:
        code.scatter_(1, y[:, None], 1.0)
    else:
        code[:, 0] = y.to(code.dtype)
    return code
