"""The torch module of a net: extractor, head, alignment and gate in one step."""

import math
from functools import reduce
from operator import add

import torch
from torch import nn

from sktransfer.deep._domain_layers import extract

__all__ = ["StepModule", "TransferModule"]


class StepModule(nn.Module):
    """What :class:`TransferTrainer` trains: ``forward`` gives the losses of a batch.

    They are a dict of tensors, "loss" the one to minimize.
    """

    def begin_epoch(self, rows, progress):
        """Prepare an epoch; ``progress`` in [0, 1] is the share that is done."""

    def ramp(self, progress):
        """Prepare a step."""

    def epoch_values(self):
        """Return numbers to record beside the losses of an epoch, by name."""
        return {}


class TransferModule(StepModule):
    r"""Extractor, head, alignment and discriminator; ``forward`` gives the losses.

    Parameters
    ----------
    extractor, head : Module
        F and C.
    alignment : Alignment
        A built alignment.
    discriminator : DomainDiscriminator or None
        Discriminator of domains.
    gate_discriminator : DomainDiscriminator, default=None
        One of the gate's own, which no feature is trained against. None: the gate asks
        ``discriminator``.
    gate : bool
        Weigh source rows by :math:`D / (1 - D)`.
    mu, source_weight : float
        Largest weight of the alignment; weight :math:`\lambda` of the source rows.
    penalties : sequence of Penalty, default=()
        What is added to the loss in full.
    """

    def __init__(
        self,
        extractor,
        head,
        alignment,
        discriminator,
        *,
        gate,
        mu,
        source_weight,
        gate_discriminator=None,
        penalties=(),
    ):
        super().__init__()
        self.extractor, self.head = extractor, head
        self.alignment, self.discriminator = alignment, discriminator
        self.gate_discriminator = gate_discriminator
        self.penalties = nn.ModuleList(penalties)
        self.gate = gate
        self.largest_mu, self.lambda_ = mu, source_weight
        self.ramped_mu = 0.0
        self.register_buffer("mu", torch.zeros(()), persistent=False)

    def begin_epoch(self, rows, progress):
        """Let the alignment prepare an epoch."""
        self.alignment.begin_epoch(self, rows, progress)

    def epoch_values(self):
        """Return the weight of the alignment."""
        return {"mu": self.ramped_mu}

    def ramp(self, progress):
        r"""Set :math:`\mu_p = \mu\,(2 / (1 + e^{-10 p}) - 1)` for progress p."""
        ramp = 2 / (1 + math.exp(-10 * min(progress, 1))) - 1
        # not by setattr, which looks for modules, in every step
        self.__dict__["ramped_mu"] = self.largest_mu * ramp
        self.mu.fill_(self.ramped_mu)

    def forward(self, batch, criterion, keep_outputs=False):
        """Return the losses of a batch by name; ``loss`` is their sum.

        With ``keep_outputs`` the outputs of the labeled rows are there as ``y_pred``.
        """
        for penalty in self.penalties:
            batch = penalty.perturb(self, batch, criterion)
        encoded = self.alignment.encode(self, batch)
        aligned, weight = {}, None
        own = self.alignment.row_losses(self, batch, encoded)
        if batch.n_source:
            weight = self.alignment.source_weight(self, batch)
        if batch.n_source and len(encoded.target):
            aligned = self.alignment.losses(self, batch, encoded)
            own = own | self.alignment.own_losses(self, batch, encoded)
            if self.discriminator is not None:
                logits = self.judge(self.discriminator, batch, encoded)
                own = own | self.discriminator.losses(logits, weight)
                gate = self.discriminator
                if self.gate_discriminator is not None:
                    gate = self.gate_discriminator
                    logits = self.judge(gate, batch, encoded)
                    judged = gate.losses(logits, weight)
                    own = own | {f"gate_{k}": v for k, v in judged.items()}
                if self.gate:
                    # of the pairs with their labels, where pairs were judged
                    ratio = gate.ratio(logits[-2])
                    weight = ratio if weight is None else weight * ratio
        parts = self.label_losses(batch, encoded, criterion, weight)
        learned = dict(parts)
        if not self.alignment.learns_from_source(self):
            learned.pop("source", None)
        learned |= {k: self.mu * v for k, v in aligned.items()} | own
        parts |= aligned | own
        for penalty in self.penalties:
            for name, loss in penalty.losses(self, batch, encoded).items():
                free = _free_name(name, parts)
                learned[free] = parts[free] = loss
        total = reduce(add, learned.values())
        losses = {"loss": total, **{f"{name}_loss": v for name, v in parts.items()}}
        if keep_outputs:
            outputs = torch.cat([encoded.out_source, encoded.out_labeled])
            losses["y_pred"] = outputs.detach()
        return losses

    def label_losses(self, batch, encoded, criterion, weight):
        """Return the losses of the labeled rows, source rows times ``weight``."""
        losses = {}
        if batch.n_source:
            source = criterion(encoded.out_source, batch.y_source)
            source = source if weight is None else weight * source
            source = source if batch.w_source is None else batch.w_source * source
            losses["source"] = _times(self.lambda_, source.mean())
        if batch.n_labeled:
            labeled = criterion(encoded.out_labeled, batch.y_labeled)
            labeled = labeled if batch.w_labeled is None else batch.w_labeled * labeled
            factor = self.alignment.labeled_weight(self)
            losses["labeled"] = _times(factor, labeled.mean())
        return losses

    def judge(self, discriminator, batch, encoded):
        """Let a discriminator judge a batch."""
        seen = self.alignment.gate_features(self, batch.x)
        parts = encoded[:3] if seen is None else batch.split(seen)
        source, labeled, target = parts
        if discriminator is self.gate_discriminator:
            reversal = [self.mu * 0] * 2
        else:
            reversal = [self.alignment.reversal(self, t) for t in ("marginal", "joint")]
        return discriminator.judge(
            source, batch.y_source, labeled, batch.y_labeled, target, reversal
        )

    def weights_of_source(self, rows, rows_at_once):
        """Return the gate's weight of every source row, in the order of ``rows``."""
        gate = self.gate_discriminator or self.discriminator
        paired, weights = rows.sizes[1] > 0 and gate.labels, []
        with torch.no_grad():
            for x, y, domain in zip(
                rows.chunks(rows.x_source, rows_at_once),
                rows.y_source.split(rows_at_once),
                rows.domain.split(rows_at_once),
                strict=True,
            ):
                seen = self.alignment.gate_features(self, x)
                if seen is None:
                    seen = extract(self.extractor, x, len(x), domain)
                code = gate.code(y if paired else None, seen)
                logits = gate(seen, code if gate.labels else None)
                weights.append(gate.ratio(logits))
        return torch.cat(weights)

    def outputs_of_source(self, x, domain):
        """Return the outputs of source rows, given the positions of their sources."""
        features = extract(self.extractor, x, len(x), domain)
        return self.alignment.source_outputs(self, features, domain)

    def predict(self, x):
        """Return features and outputs of target rows."""
        features = self.alignment.target_extractor(self)(x)
        return features, self.alignment.outputs(self, features)


def _free_name(name, taken):
    """Return a name that is not taken, with a number where it must be."""
    free, i = name, 2
    while free in taken:
        free, i = f"{name}_{i}", i + 1
    return free


def _times(factor, loss):
    """Multiply a loss; a factor of 1 takes no step of the graph."""
    return loss if isinstance(factor, float) and factor == 1 else factor * loss
