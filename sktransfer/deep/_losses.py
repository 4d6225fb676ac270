"""Distances of two batches of features, as differentiable functions."""

import torch

__all__ = ["coral_loss", "mk_mmd_loss"]


def mk_mmd_loss(source, target, n_kernels=5, factor=2.0):
    r"""Squared maximum mean discrepancy of two batches, over several kernels.

    .. math::

        \frac{1}{n_s^2} \sum_{ij} k(s_i, s_j) + \frac{1}{n_t^2} \sum_{ij} k(t_i, t_j)
        - \frac{2}{n_s n_t} \sum_{ij} k(s_i, t_j), \qquad
        k(a, b) = \frac1m \sum_{l=1}^m \exp(-\|a - b\|^2 / \sigma_l),

    the biased estimate of MK-MMD [1]_ with equal weights of the kernels. The widths
    :math:`\sigma_l = \bar d\, f^{\,l - (m+1)/2}` lie around the mean squared distance
    :math:`\bar d` of distinct rows, which carries no gradient.

    Parameters
    ----------
    source : tensor of shape (n_source, n_features)
        Features of source rows.
    target : tensor of shape (n_target, n_features)
        Features of target rows.
    n_kernels : int in [1, inf), default=5
        Number m of Gaussian kernels.
    factor : float in (1, inf), default=2.0
        Ratio f of neighboring widths.

    Returns
    -------
    loss : tensor of shape ()
        Squared distance in [0, 2].

    References
    ----------
    .. [1] M. Long, Y. Cao, J. Wang, M. I. Jordan, "Learning transferable features
       with deep adaptation networks", ICML 2015, arXiv:1502.02791.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import mk_mmd_loss
    >>> x = torch.arange(4.0)[:, None]
    >>> print(f"{mk_mmd_loss(x, x):.2f} {mk_mmd_loss(x, x + 9):.2f}")
    0.00 1.31
    """
    rows = _full_precision(torch.cat([source, target]))
    with torch.autocast(rows.device.type, enabled=False):
        return _mk_mmd(rows, len(source), n_kernels, factor)


def _mk_mmd(rows, n_source, n_kernels, factor):
    squares = (rows * rows).sum(1)
    distances = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    distances = distances.clamp_min(0)
    n = len(rows)
    mean = distances.detach().sum() / max(n * (n - 1), 1)
    mean = mean.clamp_min(torch.finfo(rows.dtype).tiny * 1e6)
    weight = rows.new_full((n,), 1 / n_source)
    weight[n_source:] = -1 / (n - n_source)
    # the widest kernel first: the others are powers of it
    kernel = torch.exp(-distances / (mean * factor ** ((n_kernels - 1) / 2)))
    total = kernel
    for _ in range(n_kernels - 1):
        kernel = kernel * kernel if factor == 2 else kernel**factor
        total = total + kernel
    return weight @ total @ weight / n_kernels


def coral_loss(source, target):
    r"""Squared distance of the covariances of two batches.

    .. math:: \frac{1}{4 d^2} \|C_s - C_t\|_F^2

    with the unbiased covariances :math:`C` of d features [1]_.

    Parameters
    ----------
    source : tensor of shape (n_source, n_features)
        Features of source rows; a single row has covariance 0.
    target : tensor of shape (n_target, n_features)
        Features of target rows.

    Returns
    -------
    loss : tensor of shape ()
        Value in [0, inf).

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: correlation alignment for deep domain
       adaptation", ECCV 2016 Workshops, arXiv:1607.01719.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import coral_loss
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> coral_loss(x, 2 * x)
    tensor(9.)
    """
    d = source.shape[1]
    with torch.autocast(source.device.type, enabled=False):
        gap = _covariance(source) - _covariance(target)
    return gap.square().sum() / (4 * d**2)


def _full_precision(x):
    """Return at least single precision: differences of half ones are noise."""
    return x.float() if x.element_size() < 4 else x


def _covariance(x):
    x = _full_precision(x)
    centered = x - x.mean(0)
    return centered.T @ centered / max(len(x) - 1, 1)
