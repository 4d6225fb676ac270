"""The discriminator of domains, which is also the gate."""

import math

import torch
from torch import nn

from sktransfer.deep._modules import label_code, reverse_gradient

__all__ = ["DomainDiscriminator"]

_MAX_PRODUCT = 4096
_N_PROJECTIONS = 1024


class DomainDiscriminator(nn.Module):
    r"""Discriminator :math:`D(F(x), y)` of target (1) and source (0) rows.

    The label is coded as one-hot classes (or the real label) and a last column "nil",
    which means that no label is given. With ``labels=False`` it sees features alone.
    Beside features and code it sees their products; of more than 4096 products it sees
    1024 random ones, :math:`(R_f^\top f) \odot (R_y^\top y) / \sqrt{1024}` with fixed
    Gaussian :math:`R_f, R_y` [1]_.

    Parameters
    ----------
    n_features : int
        Number of learned features.
    n_classes : int
        Number of classes; 0 for real labels.
    labels : bool, default=True
        Whether labels are an input.
    max_ratio : float, default=inf
        Bound of the density ratio.
    noise : float, default=0.0
        Standard deviation, in those of the features, of Gaussian noise on the features
        in training: the ratio is then that of the densities smoothed by it.
    hidden_units : tuple of int, default=(64,)
        Width of each hidden layer.

    References
    ----------
    .. [1] M. Long, Z. Cao, J. Wang, M. I. Jordan, "Conditional adversarial domain
       adaptation", NeurIPS 2018, arXiv:1705.10667.
    """

    def __init__(
        self,
        n_features,
        n_classes,
        *,
        labels=True,
        max_ratio=float("inf"),
        noise=0.0,
        hidden_units=(64,),
    ):
        super().__init__()
        self.max_ratio, self.noise = max_ratio, noise
        self.n_classes, self.labels = n_classes, labels
        n_codes = (n_classes or 1) + 1 if labels else 0
        n_products = n_features * n_codes
        self.projected = n_products > _MAX_PRODUCT
        if self.projected:
            n_products = _N_PROJECTIONS
            self.register_buffer("of_features", torch.randn(n_features, n_products))
            self.register_buffer("of_codes", torch.randn(n_codes, n_products))
        layers, width = [], n_features + n_codes + n_products
        for units in hidden_units:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        self.hidden = nn.Sequential(*layers)
        self.logit = nn.Linear(width, 1)

    def forward(self, features, code=None):
        """Return the logit of "target" for each row, shape (n,)."""
        if self.labels:
            if self.projected:
                products = (features @ self.of_features) * (code @ self.of_codes)
                products = products / math.sqrt(_N_PROJECTIONS)
            else:
                products = (features[:, :, None] * code[:, None, :]).flatten(1)
            features = torch.cat([features, code, products], 1)
        return self.logit(self.hidden(features)).squeeze(1)

    def code(self, y, like):
        """Return the code of labels, or of "nil" for ``y=None``."""
        return label_code(y, like, self.n_classes)

    def judge(self, source, y_source, labeled, y_labeled, target, reversal):
        """Judge the rows of a batch, in one pass.

        Rows are judged by their features alone and, where the discriminator takes
        labels and there are labeled target rows, as pairs with their labels.
        ``reversal`` sets for both how strongly the gradient of the features is
        reversed.
        """
        if self.noise and self.training:
            spread = torch.cat([source, target]).detach().std(0, correction=0)
            source, labeled, target = (
                part + self.noise * spread * torch.randn_like(part)
                for part in (source, labeled, target)
            )
        terms = [((source, target), None)]
        if self.labels and len(labeled):
            terms.append(((source, labeled), torch.cat([y_source, y_labeled])))
        features, codes = [], []
        for (parts, y), strength in zip(terms, reversal, strict=False):
            rows = torch.cat(parts)
            features.append(reverse_gradient(rows, strength))
            if self.labels:
                codes.append(self.code(y, rows))
        if len(features) == 1:  # of one part nothing is copied
            logits = self(features[0], codes[0] if self.labels else None)
        else:
            logits = self(torch.cat(features), torch.cat(codes))
        return torch.split(logits, [len(part) for parts, _ in terms for part in parts])

    @staticmethod
    def losses(logits, source_weight=None):
        r"""Cross-entropies of the domain, by term, from the logits of ``judge``.

        .. math::

            L_{marginal} &= -E_T \log D(F(x), nil) - E_S \log(1 - D(F(x), nil)) \\
            L_{joint} &= -E_{T_L} \log D(F(x), y) - E_S \log(1 - D(F(x), y))
        """
        losses = {}
        for term, i in ("marginal", 0), ("joint", 2):
            if i < len(logits):
                fake = nn.functional.softplus(logits[i])
                fake = fake if source_weight is None else source_weight * fake
                real = nn.functional.softplus(-logits[i + 1])
                losses[term] = fake.mean() + real.mean()
        return losses

    def ratio(self, logits):
        r"""Return :math:`D / (1 - D)` of rows from their logits, without gradient."""
        return torch.exp(logits.detach()).clamp_max(self.max_ratio)
