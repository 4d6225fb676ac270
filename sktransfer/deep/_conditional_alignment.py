"""Conditional adversarial alignment (CDAN)."""

import torch
from torch.nn.functional import softplus

from sktransfer.deep._checks import check_flag, check_widths
from sktransfer.deep._class_alignment import ClassAlignment
from sktransfer.deep._discriminator import DomainDiscriminator
from sktransfer.deep._modules import reverse_gradient

__all__ = ["ConditionalAlignment"]


class ConditionalAlignment(ClassAlignment):
    r"""Features that deceive a discriminator of features and predictions (CDAN).

    The discriminator sees the features f, the predicted probabilities p and their
    products :math:`f \otimes p`, so that the domains are to be alike class by class
    [1]_.

    Parameters
    ----------
    entropy : bool, default=True
        Weigh every row by :math:`1 + e^{-H(p)}` with the entropy H of its prediction,
        divided by the mean of its domain (CDAN+E).
    hidden_units : tuple of int, default=(64,)
        Widths of the hidden layers of the discriminator.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    References
    ----------
    .. [1] M. Long, Z. Cao, J. Wang, M. I. Jordan, "Conditional adversarial domain
       adaptation", NeurIPS 2018, arXiv:1705.10667.

    Examples
    --------
    >>> from sktransfer.deep import ConditionalAlignment, TransferNetClassifier
    >>> net = TransferNetClassifier(alignment=ConditionalAlignment(entropy=False))
    >>> net.alignment.entropy
    False
    """

    def __init__(self, entropy=True, hidden_units=(64,)):
        super().__init__()
        self.entropy = check_flag("entropy", entropy)
        self.hidden_units = check_widths("hidden_units", hidden_units)

    def build(self, sizes, net):
        """Make the discriminator."""
        super().build(sizes, net)
        self.critic = DomainDiscriminator(
            sizes.n_features, sizes.n_classes, hidden_units=self.hidden_units
        )

    def own_losses(self, net, batch, encoded):
        """Return the discriminator's loss; its gradient is reversed on the way."""
        losses = []
        for features, outputs, sign in (
            (encoded.source, encoded.out_source, 1),
            (encoded.target, encoded.out_target, -1),
        ):
            proba = outputs.detach().softmax(1)
            code = torch.cat([proba, torch.zeros_like(proba[:, :1])], 1)
            logits = self.critic(reverse_gradient(features, net.mu), code)
            losses.append((self._weight(proba) * softplus(sign * logits)).mean())
        return {"conditional": losses[0] + losses[1]}

    def _weight(self, proba):
        """Return the weights of rows by the entropy of their predictions."""
        if not self.entropy:
            return 1.0
        weight = 1 + torch.exp(torch.special.entr(proba).sum(1).neg())
        return weight / weight.mean()
