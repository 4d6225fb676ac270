"""Alignments by the predictions for target rows (MCC, contrastive, FixMatch)."""

from numbers import Integral

import torch
from torch.nn.functional import cross_entropy, one_hot

from sktransfer.deep._checks import check_interval, check_number
from sktransfer.deep._class_alignment import ClassAlignment

__all__ = [
    "ClassConfusionAlignment",
    "ConsistencyAlignment",
    "ContrastiveAlignment",
]


class ClassConfusionAlignment(ClassAlignment):
    r"""Predictions that do not confuse classes (MCC).

    With the probabilities P of the target rows at a temperature, and weights W of rows
    that are larger for surer predictions, the loss is the mean share of
    :math:`P^\top W P`, normalized by rows, that is off the diagonal [1]_.

    Parameters
    ----------
    temperature : float in (0, inf), default=2.5
        The outputs are divided by it.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    References
    ----------
    .. [1] Y. Jin, X. Wang, M. Long, J. Wang, "Minimum class confusion for versatile
       domain adaptation", ECCV 2020, arXiv:1912.03699.

    Examples
    --------
    >>> from sktransfer.deep import ClassConfusionAlignment
    >>> ClassConfusionAlignment().temperature
    2.5
    """

    def __init__(self, temperature=2.5):
        super().__init__()
        self.temperature = check_interval(
            "temperature", temperature, 0, closed="neither"
        )

    def losses(self, net, batch, encoded):
        """Return the confusion."""
        proba = (encoded.out_target / self.temperature).softmax(1)
        weight = 1 + torch.exp(torch.special.entr(proba.detach()).sum(1).neg())
        weight = weight / weight.mean()
        pairs = proba.T @ (weight[:, None] * proba)
        pairs = pairs / pairs.sum(1, keepdim=True)
        return {"confusion": 1 - pairs.trace() / len(pairs)}


class ContrastiveAlignment(ClassAlignment):
    r"""Classes that are near their own kind in the other domain and far from others.

    With the kernel distances :math:`D_{ab}` of source rows of class a and target rows
    that are predicted as class b, the loss is the mean of :math:`D_{aa}` minus the mean
    of :math:`D_{ab}, a \ne b`, over the classes of the batch [1]_. (The paper finds
    the target's classes by clustering.)

    Parameters
    ----------
    n_kernels : int in [1, inf), default=5
        Number of Gaussian kernels, with widths around the mean squared distance.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    References
    ----------
    .. [1] G. Kang, L. Jiang, Y. Yang, A. G. Hauptmann, "Contrastive adaptation network
       for unsupervised domain adaptation", CVPR 2019, arXiv:1901.00976.

    Examples
    --------
    >>> from sktransfer.deep import ContrastiveAlignment
    >>> ContrastiveAlignment().n_kernels
    5
    """

    def __init__(self, n_kernels=5):
        super().__init__()
        self.n_kernels = check_number("n_kernels", n_kernels, Integral, 1)

    def losses(self, net, batch, encoded):
        """Return the distance within classes minus that between them."""
        rows = torch.cat([encoded.source, encoded.target])
        source = one_hot(batch.y_source, self.n_classes).to(rows.dtype)
        target = one_hot(encoded.out_target.argmax(1), self.n_classes).to(rows.dtype)
        n = len(source)
        gaps = torch.cdist(rows, rows).square()
        width = gaps.detach().mean().clamp_min(torch.finfo(rows.dtype).tiny)
        kernel = sum(
            torch.exp(-gaps / (width * 2.0 ** (k - self.n_kernels // 2)))
            for k in range(self.n_kernels)
        )
        S, T = (part / part.sum(0).clamp_min(1) for part in (source, target))
        within_s = ((S.T @ kernel[:n, :n]) * S.T).sum(1)
        within_t = ((T.T @ kernel[n:, n:]) * T.T).sum(1)
        across = S.T @ kernel[:n, n:] @ T
        distance = (within_s[:, None] + within_t[None] - 2 * across) / self.n_kernels
        there = (source.sum(0) > 0)[:, None] & (target.sum(0) > 0)[None]
        same = torch.eye(len(there), dtype=torch.bool, device=rows.device)
        intra, inter = there & same, there & ~same
        return {
            "intra": (distance * intra).sum() / intra.sum().clamp_min(1),
            "inter": -(distance * inter).sum() / inter.sum().clamp_min(1),
        }


class ConsistencyAlignment(ClassAlignment):
    r"""Target rows that keep their sure predictions under noise (FixMatch).

    A prediction of probability :math:`\tau` or more is the label of the same row after
    a strong perturbation: Gaussian noise, and a share of its inputs set to their mean
    [1]_. (The paper's perturbations are those of images.)

    Parameters
    ----------
    threshold : float in [0, inf), default=0.95
        :math:`\tau`; above 1 no row counts.
    noise : float in [0, inf), default=0.3
        Standard deviation of the noise, in those of the inputs.
    dropped : float in [0, 1), default=0.2
        Share of the inputs that are set to their mean.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    References
    ----------
    .. [1] K. Sohn et al., "FixMatch: simplifying semi-supervised learning with
       consistency and confidence", NeurIPS 2020, arXiv:2001.07685.

    Examples
    --------
    >>> from sktransfer.deep import ConsistencyAlignment
    >>> ConsistencyAlignment().threshold
    0.95
    """

    def __init__(self, threshold=0.95, noise=0.3, dropped=0.2):
        super().__init__()
        self.threshold = check_number("threshold", threshold)
        self.noise = check_number("noise", noise)
        self.dropped = check_interval("dropped", dropped, 0, 1)

    def losses(self, net, batch, encoded):
        """Return the cross-entropy of perturbed rows with sure predictions."""
        share, label = encoded.out_target.detach().softmax(1).max(1)
        x = batch.x[batch.n_source + batch.n_labeled :]
        kept = torch.rand_like(x) >= self.dropped
        x = (x + self.noise * torch.randn_like(x)) * kept
        outputs = net.head(net.extractor(x))
        loss = cross_entropy(outputs, label, reduction="none")
        return {"consistency": (loss * (share >= self.threshold)).mean()}
