"""Moments of several sources and the target that agree (M3SDA)."""

from numbers import Integral

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sktransfer.deep._alignment import Alignment, Encoded
from sktransfer.deep._checks import check_flag, check_number
from sktransfer.deep._class_alignment import another_head
from sktransfer.deep._domain_layers import extract
from sktransfer.deep._modules import reverse_gradient

__all__ = ["MomentMatchingAlignment"]


class MomentMatchingAlignment(Alignment):
    r"""Features whose moments agree between each source and the target (M3SDA).

    .. math::

        L = \sum_{q=1}^{Q} \Bigl( \frac1K \sum_k \|E_{S_k} f^q - E_T f^q\|_2
            + \frac{2}{K (K - 1)} \sum_{k<l} \|E_{S_k} f^q - E_{S_l} f^q\|_2 \Bigr)

    with powers of each feature and K sources [1]_. Each source has a head of its own,
    and the target is predicted by the mean of their probabilities (of their outputs in
    regression), weighted by accuracy.

    Parameters
    ----------
    n_moments : int in [1, inf), default=2
        Q.
    source_heads : bool, default=True
        Whether each source has a head; False: one head for all.
    beta : bool, default=False
        Give every source a second head: on target rows both of a pair maximize, and the
        extractor minimizes, the mean of :math:`|p - p'|` (M3SDA-:math:`\beta`), in one
        backward pass with a reversed gradient.
    weight : float in [0, inf), default=0.001
        Weight of L, which the ``mu`` of the net multiplies. 1 is the formula; lengths
        are not squared, so their pull does not fade, and at 1 it leaves features that
        tell no classes apart (``benchmarks/net_defaults.md``).

    Attributes
    ----------
    head_weight : tensor of shape (n_sources,)
        Weights of the heads, with sum 1: found after the training from the accuracy on
        the labeled target rows or, where there are none, on the rows of their sources;
        equal until then and in regression. Of a fitted net they are
        ``net.module_.alignment.head_weight``.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or ``beta=True`` with
        ``source_heads=False`` or in the fit of a regressor, which has no classes.

    Notes
    -----
    Of one source there is no pair, and with one moment the loss is the distance of the
    means, a linear MMD. A batch without rows of a source leaves it out. The heads learn
    the labeled target rows through their mean.

    References
    ----------
    .. [1] X. Peng, Q. Bai, X. Xia, Z. Huang, K. Saenko, B. Wang, "Moment matching for
       multi-source domain adaptation", ICCV 2019, arXiv:1812.01754.

    Examples
    --------
    >>> from sktransfer.deep import MomentMatchingAlignment, TransferNetClassifier
    >>> X = [[0.0], [1.0], [2.0], [3.0], [1.5], [2.5]]
    >>> y, domain = [0, 1, 0, 1, 0, None], [1, 1, 4, 4, -1, -1]
    >>> net = TransferNetClassifier(
    ...     alignment=MomentMatchingAlignment(beta=True), max_epochs=3, random_state=0
    ... )
    >>> net.fit(X, y, sample_domain=domain).module_.alignment.head_weight.shape
    torch.Size([2])
    """

    per_source = True

    def __init__(self, n_moments=2, source_heads=True, beta=False, weight=0.001):
        super().__init__()
        whole = isinstance(n_moments, Integral) and not isinstance(n_moments, bool)
        if not whole or n_moments < 1:
            raise ValueError(f"n_moments must be 1 or more, got {n_moments!r}.")
        check_flag("source_heads", source_heads)
        if check_flag("beta", beta) and not source_heads:
            raise ValueError("beta=True gives pairs of heads: set source_heads=True.")
        self.n_moments, self.source_heads, self.beta = n_moments, source_heads, beta
        self.weight = check_number("weight", weight)

    def build(self, sizes, net):
        """Make the heads; that of the net is the first source's."""
        if self.beta and not sizes.n_classes:
            raise ValueError("beta=True compares classes: use it in a classifier.")
        self.n_sources, self.n_classes = sizes.n_sources, sizes.n_classes
        n_heads = self.n_sources if self.source_heads else 1
        self.others = nn.ModuleList(another_head(net.head) for _ in range(n_heads - 1))
        n_second = n_heads if self.beta else 0
        self.seconds = nn.ModuleList(another_head(net.head) for _ in range(n_second))
        self.register_buffer("head_weight", torch.full((n_heads,), 1 / n_heads))

    @property
    def own_heads(self):
        """Whether there are heads beside that of the net."""
        return len(self.others) > 0

    def _heads(self, net):
        return [net.head, *self.others]

    def encode(self, net, batch):
        """Map source rows by the heads of their sources, target rows by all."""
        if len(self.head_weight) == 1:
            return super().encode(net, batch)
        n = batch.n_source
        n_told = 0 if batch.target_alone else n
        features = extract(net.extractor, batch.x, n_told, batch.domain)
        source = self.source_outputs(net, features[:n], batch.domain)
        outputs = torch.cat([source, self.outputs(net, features[n:])])
        return Encoded(*batch.split(features), *batch.split(outputs))

    def source_outputs(self, net, features, domain):
        """Return the output of the head of each row's source."""
        outputs = [head(features) for head in self._heads(net)]
        if len(outputs) == 1:
            return outputs[0]
        outputs = torch.stack(outputs)
        return outputs.gather(0, domain[None, :, None].expand_as(outputs[:1]))[0]

    def outputs(self, net, features):
        """Return the logarithm of the mean probability, or the mean output."""
        outputs = [head(features) for head in self._heads(net)]
        if len(outputs) == 1:
            return outputs[0]
        outputs, weight = torch.stack(outputs), self.head_weight[:, None, None]
        if not self.n_classes:
            return (weight * outputs).sum(0)
        return torch.logsumexp(outputs.log_softmax(2) + weight.log(), 0)

    def losses(self, net, batch, encoded):
        """Return the distances of the moments."""
        member = self._members(batch, encoded.source.dtype)
        count = member.sum(0)
        share = member / count.clamp_min(1)
        here = count > 0
        n = here.sum()
        first, second = torch.triu_indices(
            self.n_sources, self.n_sources, 1, device=here.device
        )
        both = here[first] & here[second]
        total = 0
        for q in range(1, self.n_moments + 1):
            of_source = share.T @ encoded.source**q
            of_target = (encoded.target**q).mean(0)
            gap = _length(of_source - of_target)
            total = total + (gap * here).sum() / n
            if len(first):
                pairs = _length(of_source[first] - of_source[second])
                total = total + (pairs * both).sum() / both.sum().clamp_min(1)
        return {"moments": self.weight * total}

    def own_losses(self, net, batch, encoded):
        """Return the second heads' losses and their part of the gap."""
        if not self.beta:
            return {}
        features = reverse_gradient(encoded.target, net.mu)
        gaps, learned = [], []
        member = self._members(batch, encoded.source.dtype)
        for k, (head, second) in enumerate(
            zip(self._heads(net), self.seconds, strict=True)
        ):
            gap = head(features).softmax(1) - second(features).softmax(1)
            gaps.append(gap.abs().mean())
            loss = cross_entropy(
                second(encoded.source), batch.y_source, reduction="none"
            )
            learned.append((member[:, k] * loss).sum() / len(member))
        return {
            "second_heads": torch.stack(learned).sum(),
            "discrepancy": -torch.stack(gaps).mean(),
        }

    def _members(self, batch, dtype):
        """Return the indicators of rows and sources, shape (n_source, n_sources)."""
        if batch.domain is None:
            return torch.ones(
                batch.n_source, 1, dtype=dtype, device=batch.y_source.device
            )
        return nn.functional.one_hot(batch.domain, self.n_sources).to(dtype)

    def end_training(self, net, rows, rows_at_once):
        """Weigh the heads by their accuracy."""
        if len(self.head_weight) == 1 or not self.n_classes:
            return
        net.eval()
        by_target = rows.sizes[1] > 0
        x = rows.x_labeled if by_target else rows.x_source
        y = rows.y_labeled if by_target else rows.y_source
        domain = torch.zeros_like(y) if by_target else rows.domain
        right, parts = [], (y.split(rows_at_once), domain.split(rows_at_once))
        with torch.no_grad():
            for part, labels, k in zip(
                rows.chunks(x, rows_at_once), *parts, strict=True
            ):
                n = 0 if by_target else len(part)
                features = extract(net.extractor, part, n, k)
                found = [
                    head(features).argmax(1) == labels for head in self._heads(net)
                ]
                right.append(torch.stack(found, 1))
        right = torch.cat(right).to(self.head_weight.dtype)
        if by_target:
            accuracy = right.mean(0)
        else:
            own = nn.functional.one_hot(rows.domain, self.n_sources).to(right.dtype)
            accuracy = (own * right).sum(0) / own.sum(0).clamp_min(1)
        if accuracy.sum() > 0:
            self.head_weight.copy_(accuracy / accuracy.sum())


def _length(rows):
    """Return the length of each row, with a gradient of 0 at 0."""
    squares = rows.square().sum(-1)
    zero = squares == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())
