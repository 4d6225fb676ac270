"""Distances of two batches of features, as differentiable functions."""

import torch
from torch import nn

__all__ = [
    "coral_loss", "masked_mmd_loss", "mk_mmd_loss", "sliced_wasserstein",
    "soft_triplet_loss",
]  # fmt: skip


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

    Raises
    ------
    ValueError
        If ``n_kernels`` or ``factor`` is out of its range.

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
    if n_kernels < 1 or factor <= 1:
        raise ValueError(
            "n_kernels must be 1 or more and factor more than 1, got "
            f"{n_kernels!r} and {factor!r}."
        )
    rows = _full_precision(torch.cat([source, target]))
    weight = rows.new_full((len(rows),), 1 / max(len(source), 1))
    weight[len(source) :] = -1 / max(len(target), 1)
    with torch.autocast(rows.device.type, enabled=False):
        return _mk_mmd(rows, weight, n_kernels, factor)


def masked_mmd_loss(rows, mask):
    """Return :func:`mk_mmd_loss` of the rows of a mask and the others.

    Parameters
    ----------
    rows : tensor of shape (n, n_features)
        Features.
    mask : tensor of shape (n,)
        Rows of one part.

    Returns
    -------
    loss : tensor of shape ()
        Squared distance; 0 where a part has less than two rows. Nothing waits for the
        device to know.
    """
    rows = _full_precision(rows)
    n, m = mask.sum(), (~mask).sum()
    weight = torch.where(mask, 1 / n.clamp_min(1), -1 / m.clamp_min(1)).to(rows.dtype)
    with torch.autocast(rows.device.type, enabled=False):
        return _mk_mmd(rows, weight, 5, 2.0) * ((n > 1) & (m > 1))


def _mk_mmd(rows, weight, n_kernels, factor):
    squares = (rows * rows).sum(1)
    distances = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    distances = distances.clamp_min(0)
    n = len(rows)
    mean = distances.detach().sum() / max(n * (n - 1), 1)
    mean = mean.clamp_min(torch.finfo(rows.dtype).tiny * 1e6)
    # the widest kernel first: the others are powers of it
    kernel = torch.exp(-distances / (mean * factor ** ((n_kernels - 1) / 2)))
    total = kernel
    for _ in range(n_kernels - 1):
        kernel = kernel * kernel if factor == 2 else kernel**factor
        total = total + kernel
    return weight @ total @ weight / n_kernels


def coral_loss(source, target, *, scaled=False, centered=True):
    r"""Squared distance of the covariances of two batches.

    .. math:: \frac{1}{4 d^2} \|C_s - C_t\|_F^2

    with the unbiased covariances :math:`C` of d features [1]_. Features a hundred times
    smaller make it 10^8 times smaller; free of their scale is

    .. math:: \frac14 \frac{\|C_s - C_t\|_F^2}{\|C_s\|_F^2 + \|C_t\|_F^2}.

    Covariances do not see where the rows lie; second moments around 0, the means of
    :math:`x x^\top`, do.

    Parameters
    ----------
    source : tensor of shape (n_source, n_features)
        Features of source rows; a single row has covariance 0.
    target : tensor of shape (n_target, n_features)
        Features of target rows.
    scaled : bool, default=False
        Whether the distance is free of the features' scale; of two zeros it is 0.
    centered : bool, default=True
        False: second moments around 0 in place of the covariances.

    Returns
    -------
    loss : tensor of shape ()
        Value in [0, inf), with ``scaled`` in [0, 1/4].

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
    >>> coral_loss(x / 100, x / 50, scaled=True)
    tensor(0.1324)
    """
    moments = _covariance if centered else _second_moments
    with torch.autocast(source.device.type, enabled=False):
        of_source, of_target = moments(source), moments(target)
        gap = (of_source - of_target).square().sum()
        if not scaled:
            return gap / (4 * source.shape[1] ** 2)
        total = of_source.square().sum() + of_target.square().sum()
        return gap / (4 * (total + torch.finfo(total.dtype).tiny ** 0.5))


def soft_triplet_loss(features, y, mean_features=None):
    r"""Soft triplet loss of a batch, against the features of a mean net or hard labels.

    Every row i has a hardest positive p, the farthest row of its class, and a hardest
    negative n, the nearest row of another class. With

    .. math::

        T_i = \frac{e^{\|f_i - f_n\|}}{e^{\|f_i - f_p\|} + e^{\|f_i - f_n\|}}

    and :math:`\bar T_i` the same for the features of a mean net, without gradient, the
    loss is the mean binary cross-entropy

    .. math:: -\bar T_i \log T_i - (1 - \bar T_i) \log(1 - T_i)

    over the rows that have both [1]_.

    Parameters
    ----------
    features : tensor of shape (n, n_features)
        Features of the rows.
    y : tensor of shape (n,)
        Their classes, or pseudo-labels.
    mean_features : tensor of shape (n, n_features), default=None
        Features of the same rows by the mean net, the moving average of the net in
        training. None: :math:`\bar T = 1`, the softmax triplet loss.

    Returns
    -------
    loss : tensor of shape ()
        Value in [0, inf); 0 if no row has a positive and a negative.

    References
    ----------
    .. [1] Y. Ge, D. Chen, H. Li, "Mutual mean-teaching: pseudo label refinery for
       unsupervised domain adaptation on person re-identification", ICLR 2020,
       arXiv:2001.01526.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import soft_triplet_loss
    >>> x, y = torch.tensor([[0.0], [0.1], [5.0], [5.1]]), torch.tensor([0, 0, 1, 1])
    >>> bool(soft_triplet_loss(x, y) < 0.01)
    True
    >>> bool(soft_triplet_loss(x, torch.tensor([0, 1, 0, 1])) > 4)
    True
    """
    with torch.autocast(features.device.type, enabled=False):
        distance = _distances(_full_precision(features))
        same = y[:, None] == y[None]
        positive = same & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
        complete = positive.any(1) & (~same).any(1)
        found = distance.detach()
        far = found.masked_fill(~positive, -1.0).argmax(1)
        near = found.masked_fill(same, float("inf")).argmin(1)
        logit = _gaps(distance, near, far)
        if mean_features is None:
            share = torch.ones_like(logit)
        else:
            mean = _distances(_full_precision(mean_features.detach()))
            share = _gaps(mean, near, far).sigmoid()
        loss = nn.functional.binary_cross_entropy_with_logits(
            logit, share, reduction="none"
        )
        return (loss * complete).sum() / complete.sum().clamp_min(1)


def _gaps(distance, near, far):
    """Return how much farther than the positive the negative is, for each row."""
    rows = torch.arange(len(distance), device=distance.device)
    return distance[rows, near] - distance[rows, far]


def _distances(x):
    """Return the distances of all rows, with a gradient of 0 at 0."""
    squares = (x[:, None] - x[None]).square().sum(2)
    zero = squares == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())


def sliced_wasserstein(rows, left, right, lines):
    r"""Sliced 1-Wasserstein distances of pairs of weightings of the same rows.

    Parameters
    ----------
    rows : tensor of shape (n, n_features)
        Rows.
    left, right : tensor of shape (n, n_pairs)
        Weights; each column has the sum 1. A pair with a column of zeros has distance
        0.
    lines : tensor of shape (n_features, n_lines)
        Directions, of length 1.

    Returns
    -------
    distance : tensor of shape (n_pairs,)
        Mean over the lines of :math:`\int |F_l - F_r|` of the projected rows.
    """
    places, order = (_full_precision(rows) @ lines).sort(0)
    here = (left.sum(0) > 0) & (right.sum(0) > 0)
    excess = ((left - right) * here)[order].cumsum(0)[:-1]  # rows, lines, pairs
    return (excess.abs() * places.diff(dim=0)[:, :, None]).sum(0).mean(0)


def _full_precision(x):
    """Return at least single precision: differences of half ones are noise."""
    return x.float() if x.element_size() < 4 else x


def _covariance(x):
    x = _full_precision(x)
    centered = x - x.mean(0)
    return centered.T @ centered / max(len(x) - 1, 1)


def _second_moments(x):
    x = _full_precision(x)
    return x.T @ x / len(x)
