"""A discriminator of domains for each class (MADA)."""

import torch
from torch import nn
from torch.nn.functional import one_hot, softplus

from sktransfer.deep._checks import check_widths
from sktransfer.deep._class_alignment import ClassAlignment
from sktransfer.deep._discriminator import DomainDiscriminator
from sktransfer.deep._modules import reverse_gradient

__all__ = ["MultiAdversarialAlignment"]


class MultiAdversarialAlignment(ClassAlignment):
    r"""Features that deceive a discriminator of domains for each class (MADA).

    The discriminator of class c sees the features times the probability of the class,
    so that rows are aligned with those of their kind [1]_:

    .. math::

        L = -\sum_c \bigl( E_T \log D_c(p_c(x) f(x))
            + E_S \log(1 - D_c(p_c(x) f(x))) \bigr)

    The discriminators minimize it, the extractor maximizes it with weight :math:`\mu`,
    in one backward pass with a reversed gradient. The probabilities p are the head's
    and carry no gradient; labeled target rows have their labels instead.

    Parameters
    ----------
    hidden_units : tuple of int, default=(64,)
        Widths of the hidden layers of each discriminator.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    Notes
    -----
    With one class it is :class:`AdversarialAlignment`, as in :class:`DANN`.

    References
    ----------
    .. [1] Z. Pei, Z. Cao, M. Long, J. Wang, "Multi-adversarial domain adaptation", AAAI
       2018, arXiv:1809.02176.

    Examples
    --------
    >>> from sktransfer.deep import MultiAdversarialAlignment, TransferNetClassifier
    >>> net = TransferNetClassifier(alignment=MultiAdversarialAlignment())
    >>> net.alignment.hidden_units
    (64,)
    """

    def __init__(self, hidden_units=(64,)):
        super().__init__()
        self.hidden_units = check_widths("hidden_units", hidden_units)

    def build(self, sizes, net):
        """Make a discriminator for each class."""
        super().build(sizes, net)
        self.discriminators = nn.ModuleList(
            DomainDiscriminator(
                sizes.n_features,
                sizes.n_classes,
                labels=False,
                hidden_units=self.hidden_units,
            )
            for _ in range(sizes.n_classes)
        )

    def own_losses(self, net, batch, encoded):
        """Return the discriminators' loss; its gradient is reversed on the way."""
        rows = torch.cat([encoded.source, encoded.target])
        rows = reverse_gradient(rows, net.mu)
        proba = torch.cat([encoded.out_source, encoded.out_target])
        proba = proba.detach().softmax(1)
        n = len(encoded.source)
        if batch.y_target is not None:
            known = one_hot(batch.y_target.clamp_min(0), self.n_classes).to(proba.dtype)
            labeled = (batch.y_target >= 0)[:, None]
            target = torch.where(labeled, known, proba[n:])
            proba = torch.cat([proba[:n], target])
        losses = []
        for c, discriminator in enumerate(self.discriminators):
            logits = discriminator(proba[:, c : c + 1] * rows)
            losses.append(softplus(logits[:n]).mean() + softplus(-logits[n:]).mean())
        return {"classwise": torch.stack(losses).sum()}
