"""Alignments that learn a weight of each source row by a net of its own (IWN, WANN)."""

from numbers import Integral

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, softplus

from sktransfer.deep._alignment import Alignment
from sktransfer.deep._checks import check_number
from sktransfer.deep._class_alignment import another_head

__all__ = ["AdversarialWeighting", "ImportanceWeighting"]


class _WeightNet(Alignment):
    """The net of the weights: a new extractor, one output, nonnegative."""

    settled = 0.0

    def build(self, sizes, net):
        """Make the net of the weights; its weights are 1 at first."""
        last = nn.Linear(sizes.n_features, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.weigher = nn.Sequential(another_head(net.extractor), last)

    def weigh(self, x):
        """Return weights of rows, with mean 1."""
        weight = softplus(self.weigher(x)[:, 0])
        tiny = torch.finfo(weight.dtype).tiny
        return weight / weight.mean().clamp_min(tiny)

    def source_weight(self, net, batch):
        """Return weights of the source rows, without their gradient."""
        return self.weigh(batch.x[: batch.n_source]).detach()


class ImportanceWeighting(_WeightNet):
    r"""Source rows weighted by a net such that they look like the target's (IWN).

    A net of the form of the extractor gives each source row a weight,
    :math:`w(x) \ge 0` with mean 1 in a batch, and minimizes the squared maximum mean
    discrepancy of the weighted source and the target rows [1]_. The label loss of a
    source row counts by its weight; the features are not aligned.

    Parameters
    ----------
    n_kernels : int in [1, inf), default=5
        Number of Gaussian kernels of the rows, with widths around the mean squared
        distance in the batch.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] A. de Mathelin, F. Deheeger, M. Mougeot, N. Vayatis, "Fast and accurate
       importance weighting for correcting sample bias", ECML PKDD 2022,
       arXiv:2209.04215.

    Examples
    --------
    >>> from sktransfer.deep import ImportanceWeighting, TransferNetRegressor
    >>> net = TransferNetRegressor(alignment=ImportanceWeighting(n_kernels=3))
    """

    def __init__(self, n_kernels=5):
        super().__init__()
        self.n_kernels = check_number("n_kernels", n_kernels, Integral, 1)

    def own_losses(self, net, batch, encoded):
        """Return the discrepancy, which trains the net of the weights alone."""
        source, _, target = batch.split(batch.x)
        n, rows = len(source), torch.cat([source, target]).flatten(1)
        v = torch.cat([self.weigh(source) / n, rows.new_full((len(target),), -1.0)])
        v[n:] /= len(target)
        gaps = torch.cdist(rows, rows).square()
        width = gaps.mean().clamp_min(torch.finfo(rows.dtype).tiny)
        kernel = sum(
            torch.exp(-gaps / (width * 2.0 ** (k - self.n_kernels // 2)))
            for k in range(self.n_kernels)
        )
        return {"discrepancy": v @ (kernel / self.n_kernels) @ v}


class AdversarialWeighting(_WeightNet):
    r"""Source rows weighted against an adversary that finds where labels differ (WANN).

    A second net h' (extractor and head of the same form) looks for the hypothesis whose
    losses on the labeled target rows and on the weighted source rows differ most, and
    the net of the weights w makes that difference small [1]_:

    .. math:: \min_w \max_{h'} \left| E_T\, l(h'(x), y) - E_S\, w(x)\, l(h'(x), y)
        \right|

    with the squared loss, of classes the cross-entropy. The label loss of a source row
    counts by its weight, with mean 1 in a batch. It needs labeled target rows;
    without sources all weights are 1.

    Parameters
    ----------
    clip : float in (0, inf), default=1.0
        Largest Frobenius norm of a weight matrix of h', without which its losses would
        grow for ever.

    Raises
    ------
    ValueError
        If ``clip`` is out of its range, and in a fit with sources but without labeled
        target rows.

    References
    ----------
    .. [1] A. de Mathelin, G. Richard, F. Deheeger, M. Mougeot, N. Vayatis, "Adversarial
       weighting for domain adaptation in regression", ICTAI 2021, arXiv:2006.08251.

    Examples
    --------
    >>> from sktransfer.deep import AdversarialWeighting, TransferNetRegressor
    >>> net = TransferNetRegressor(alignment=AdversarialWeighting(clip=2.0))
    """

    def __init__(self, clip=1.0):
        super().__init__()
        if check_number("clip", clip) == 0:
            raise ValueError(
                "clip must be more than 0: 0 leaves the adversary no weights."
            )
        self.clip = clip

    def build(self, sizes, net):
        """Make the net of the weights and the adversary."""
        super().build(sizes, net)
        self.n_classes = sizes.n_classes
        self.second = nn.Sequential(another_head(net.extractor), another_head(net.head))

    def own_losses(self, net, batch, encoded):
        """Return the difference, for the adversary with the opposite sign."""
        if batch.target_alone:
            return {}
        if not batch.n_labeled:
            raise ValueError(
                "alignment=AdversarialWeighting compares losses on source rows with "
                "those on labeled target rows, but no target row has a label: use "
                "ImportanceWeighting."
            )
        with torch.no_grad():
            for parameter in self.second.parameters():
                if parameter.ndim > 1:
                    norm = parameter.norm().clamp_min(self.clip)
                    parameter.mul_(self.clip / norm)
        x, y = batch.known()
        loss = self._loss(self.second(x), y)
        source, labeled = loss[: batch.n_source], loss[batch.n_source :]
        weight = self.weigh(x[: batch.n_source])
        gap = (weight.detach() * source).mean() - labeled.mean()
        fixed = (weight * source.detach()).mean() - labeled.detach().mean()
        return {"adversary": -gap.abs(), "weights": fixed.abs()}

    def _loss(self, outputs, y):
        if self.n_classes:
            return cross_entropy(outputs, y, reduction="none")
        return mse_loss(outputs[:, 0], y.to(outputs.dtype), reduction="none")
