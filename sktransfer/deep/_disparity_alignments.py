"""Alignments by the disagreement of two heads (MCD, MDD)."""

import torch
from torch.nn.functional import cross_entropy

from sktransfer.deep._checks import check_interval
from sktransfer.deep._class_alignment import ClassAlignment, another_head
from sktransfer.deep._modules import reverse_gradient

__all__ = ["ClassifierDiscrepancyAlignment", "MarginDisparityAlignment"]


class ClassifierDiscrepancyAlignment(ClassAlignment):
    r"""Features on which two classifiers agree (MCD).

    A second head learns the labels of the source, too. On target rows both heads
    maximize and the extractor minimizes the mean of :math:`|p_1 - p_2|` over rows and
    classes [1]_, in one backward pass with a reversed gradient. The first head
    predicts.

    Raises
    ------
    ValueError
        In the fit of a regressor, which has no classes.

    References
    ----------
    .. [1] K. Saito, K. Watanabe, Y. Ushiku, T. Harada, "Maximum classifier discrepancy
       for unsupervised domain adaptation", CVPR 2018, arXiv:1712.02560.

    Examples
    --------
    >>> from sktransfer.deep import ClassifierDiscrepancyAlignment
    >>> ClassifierDiscrepancyAlignment().needs_discriminator
    False
    """

    def build(self, sizes, net):
        """Make the second head."""
        super().build(sizes, net)
        self.second = another_head(net.head)

    def own_losses(self, net, batch, encoded):
        """Return the loss of the second head and the heads' part of the gap."""
        features = reverse_gradient(encoded.target, net.mu)
        first, second = net.head(features), self.second(features)
        gap = (first.softmax(1) - second.softmax(1)).abs().mean()
        return {
            "second_head": cross_entropy(self.second(encoded.source), batch.y_source),
            "discrepancy": -gap,
        }


class MarginDisparityAlignment(ClassAlignment):
    r"""Features on which an adversarial head cannot disagree on the target only (MDD).

    A second head :math:`f'` minimizes, and the extractor maximizes with weight
    :math:`\mu`,

    .. math::

        \gamma\, E_S\, CE(f'(x), \hat y(x))
        - E_T \log\bigl(1 - p'_{\hat y(x)}(x)\bigr)

    with the class :math:`\hat y` that the first head predicts [1]_.

    Parameters
    ----------
    margin : float in (0, inf), default=4.0
        :math:`\gamma`, the exponential of the margin.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    References
    ----------
    .. [1] Y. Zhang, T. Liu, M. Long, M. I. Jordan, "Bridging theory and algorithm for
       domain adaptation", ICML 2019, arXiv:1904.05801.

    Examples
    --------
    >>> from sktransfer.deep import MarginDisparityAlignment
    >>> MarginDisparityAlignment(margin=2.0).margin
    2.0
    """

    def __init__(self, margin=4.0):
        super().__init__()
        self.margin = check_interval("margin", margin, 0, closed="neither")

    def build(self, sizes, net):
        """Make the adversarial head."""
        super().build(sizes, net)
        self.second = another_head(net.head)

    def own_losses(self, net, batch, encoded):
        """Return the disparity, whose gradient is reversed for the extractor."""
        source = self.second(reverse_gradient(encoded.source, net.mu))
        target = self.second(reverse_gradient(encoded.target, net.mu))
        agreed = cross_entropy(source, encoded.out_source.argmax(1))
        share = target.softmax(1).gather(1, encoded.out_target.argmax(1)[:, None])
        tiny = torch.finfo(share.dtype).eps
        return {"disparity": self.margin * agreed - (1 - share + tiny).log().mean()}
