"""The torch module of a net: extractor, head, alignment and gate in one step."""

import math

import torch
from torch import nn

__all__ = ["TransferModule"]


class TransferModule(nn.Module):
    r"""Extractor, head, alignment and discriminator; ``forward`` gives the losses.

    Parameters
    ----------
    extractor, head : Module
        F and C.
    alignment : Alignment
        A built alignment.
    discriminator : DomainDiscriminator or None
        Discriminator of domains.
    gate : bool
        Weigh source rows by :math:`D / (1 - D)`.
    mu, source_weight : float
        Largest weight of the alignment; weight :math:`\lambda` of the source rows.
    """

    def __init__(
        self, extractor, head, alignment, discriminator, *, gate, mu, source_weight
    ):
        super().__init__()
        self.extractor, self.head = extractor, head
        self.alignment, self.discriminator = alignment, discriminator
        self.gate = gate
        self.largest_mu, self.lambda_ = mu, source_weight
        self.register_buffer("mu", torch.zeros(()), persistent=False)

    def ramp(self, progress):
        r"""Set :math:`\mu_p = \mu\,(2 / (1 + e^{-10 p}) - 1)` for progress p."""
        self.mu.fill_(
            self.largest_mu * (2 / (1 + math.exp(-10 * min(progress, 1))) - 1)
        )

    def forward(self, batch, criterion):
        """Return the losses of a batch by name; ``loss`` is their sum."""
        encoded = self.alignment.encode(self, batch)
        aligned, own, weight = {}, {}, None
        if batch.n_source:
            weight = self.alignment.source_weight(self, batch)
        if batch.n_source and len(encoded.target):
            aligned = self.alignment.losses(self, batch, encoded)
            own = self.alignment.own_losses(self, batch, encoded)
            if self.discriminator is not None:
                logits = self.judge(batch, encoded)
                own = own | self.discriminator.losses(logits, weight)
                if self.gate:
                    # of the pairs with their labels, where pairs were judged
                    ratio = self.discriminator.ratio(logits[-2])
                    weight = ratio if weight is None else weight * ratio
        parts = self.label_losses(batch, encoded, criterion, weight)
        learned = dict(parts)
        if not self.alignment.learns_from_source(self):
            learned.pop("source", None)
        learned |= {k: self.mu * v for k, v in aligned.items()} | own
        total = torch.stack(tuple(learned.values())).sum()
        parts |= aligned | own
        return {"loss": total, **{f"{name}_loss": v for name, v in parts.items()}}

    def label_losses(self, batch, encoded, criterion, weight):
        """Return the losses of the labeled rows, source rows times ``weight``."""
        losses = {}
        if batch.n_source:
            source = criterion(encoded.out_source, batch.y_source)
            source = source if weight is None else weight * source
            losses["source"] = self.lambda_ * source.mean()
        if batch.n_labeled:
            labeled = criterion(encoded.out_labeled, batch.y_labeled).mean()
            losses["labeled"] = self.alignment.labeled_weight(self) * labeled
        return losses

    def judge(self, batch, encoded):
        """Let the discriminator judge a batch."""
        seen = self.alignment.gate_features(self, batch.x)
        parts = encoded[:3] if seen is None else batch.split(seen)
        source, labeled, target = parts
        reversal = [self.alignment.reversal(self, t) for t in ("marginal", "joint")]
        return self.discriminator.judge(
            source, batch.y_source, labeled, batch.y_labeled, target, reversal
        )

    def weights_of_source(self, rows, rows_at_once):
        """Return the gate's weight of every source row, in the order of ``rows``."""
        paired, weights = rows.sizes[1] > 0 and self.discriminator.labels, []
        with torch.no_grad():
            for x, y in zip(
                rows.x_source.split(rows_at_once),
                rows.y_source.split(rows_at_once),
                strict=True,
            ):
                seen = self.alignment.gate_features(self, x)
                seen = self.extractor(x) if seen is None else seen
                code = self.discriminator.code(y if paired else None, seen)
                logits = self.discriminator(
                    seen, code if self.discriminator.labels else None
                )
                weights.append(self.discriminator.ratio(logits))
        return torch.cat(weights)

    def predict(self, x):
        """Return features and outputs of target rows."""
        features = self.alignment.target_extractor(self)(x)
        return features, self.head(features)
