"""Sources and classes by weight, and transport class by class (WADN)."""

from numbers import Integral

import numpy as np
import torch
from torch.nn.functional import cross_entropy, one_hot

from sktransfer._solvers.label_shift import confusion_weights
from sktransfer._solvers.norm_simplex import solve_norm_simplex
from sktransfer.deep._checks import check_choice, check_number
from sktransfer.deep._class_alignment import ClassAlignment
from sktransfer.deep._losses import sliced_wasserstein

__all__ = ["ConditionalWassersteinAlignment"]


class ConditionalWassersteinAlignment(ClassAlignment):
    r"""Weighted sources whose features are near the target's, class by class (WADN).

    A row of source k and class y counts :math:`\lambda_k\, \alpha_k(y)\, n / n_k` in
    the loss of the labels, with the ratio :math:`\alpha_k(y) = T(y) / S_k(y)` of the
    shares of the class in the target and in the source. The loss of the alignment is

    .. math:: \sum_k \lambda_k W_k, \qquad
        W_k = \sum_y T(y)\, W_1(T(f | y), S_k(f | y)),

    and once an epoch the weights of the sources solve

    .. math:: \min_{\lambda \in \Delta} \sum_k \lambda_k (R_k + c_0 W_k)
        + c_1 \sqrt{\textstyle\sum_k d_k \lambda_k^2}

    with the risks :math:`R_k` of the sources under the ratios, and :math:`d_k = 1`, or
    :math:`n / n_k` [1]_.

    Parameters
    ----------
    distance_weight : float in [0, inf), default=0.3
        :math:`c_0`.
    spread : float in [0, inf), default=0.3
        :math:`c_1`; 0 leaves one source.
    spread_by : {"sizes", "sources"}, default="sizes"
        Toward which weights: "sources" equal ones, :math:`d_k = 1`; "sizes" ones like
        the sizes of the sources, as in the error bound of [1]_.
    class_ratio : {"auto", "labels", "predictions"}, default="auto"
        What tells the shares T of the classes. "labels": the labeled target rows, taken
        for a random sample; "predictions": predictions for the sources' rows against
        those for the target's (BBSE); "auto": labels where there are some.
    n_projections : int in [1, inf), default=16
        Random lines of a step, on which distances are measured (sliced).

    Attributes
    ----------
    source_weights : tensor of shape (n_sources,)
        :math:`\lambda` of the last epoch, in the order of the ids. Of a fitted net they
        are ``net.module_.alignment.source_weights``.
    class_ratios : tensor of shape (n_sources, n_classes)
        :math:`\alpha` of the last epoch; 0 where a source lacks the class.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    Notes
    -----
    Risks, distances and predictions are those of the batches of the last epoch. Target
    rows count in a class by their label, or by their predicted probability, without
    gradient. Without sources all weights are 1. See
    :class:`sktransfer.multisource.WADN` for any learner of scikit-learn.

    References
    ----------
    .. [1] C. Shui, Z. Li, J. Li, C. Gagne, C. Ling, B. Wang, "Aggregating from multiple
       target-shifted sources", ICML 2021, arXiv:2105.04051.

    Examples
    --------
    The second source has other labels.

    >>> import numpy as np
    >>> from sktransfer.deep import ConditionalWassersteinAlignment
    >>> from sktransfer.deep import TransferNetClassifier
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(230, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 30])
    >>> y = np.where(domain == 2, X[:, 0] < 0, X[:, 0] > 0).astype(int)
    >>> alignment = ConditionalWassersteinAlignment(spread=0.1)
    >>> net = TransferNetClassifier(
    ...     alignment=alignment, lr=0.01, max_epochs=15, random_state=0
    ... )
    >>> weights = net.fit(X, y, sample_domain=domain).module_.alignment.source_weights
    >>> bool(weights[0] > 0.8)
    True
    """

    per_source = True

    def __init__(
        self,
        distance_weight=0.3,
        spread=0.3,
        spread_by="sizes",
        class_ratio="auto",
        n_projections=16,
    ):
        super().__init__()
        check_choice("spread_by", spread_by, ("sizes", "sources"))
        check_choice("class_ratio", class_ratio, ("auto", "labels", "predictions"))
        self.distance_weight = check_number("distance_weight", distance_weight)
        self.spread = check_number("spread", spread)
        self.spread_by, self.class_ratio = spread_by, class_ratio
        self.n_projections = check_number("n_projections", n_projections, Integral, 1)

    def build(self, sizes, net):
        """Start with equal weights."""
        super().build(sizes, net)
        k, c = sizes.n_sources, sizes.n_classes
        self.register_buffer("source_weights", torch.full((k,), 1 / k))
        self.register_buffer("class_ratios", torch.ones(k, c))
        self.register_buffer("shares", torch.full((c,), 1 / c))
        self.register_buffer("of_row", torch.ones(k, c))
        self.seen = None

    def begin_epoch(self, net, rows, progress):
        """Set the weights of this epoch by what the last one has shown."""
        y, domain = rows.y_source.cpu().numpy(), rows.domain.cpu().numpy()
        k, c = self.class_ratios.shape
        table = np.zeros((k, c))
        np.add.at(table, (domain, y), 1.0)
        sizes = table.sum(1)
        own = table / np.maximum(sizes, 1)[:, None]
        here, seen = sizes > 0, None
        if self.seen is not None and np.array_equal(here, self.here):
            seen = [value.double().cpu().numpy() for value in self.seen]
        shares = own.mean(0)
        if rows.n_sources:
            shares = self._shares(rows, table, seen)
        ratios = np.where(own > 0, shares / np.where(own > 0, own, 1.0), 0.0)
        weights = self.source_weights.double().cpu().numpy()
        if rows.n_sources and not here.all():  # a later fit, without some sources
            weights = np.where(here, np.maximum(weights, 1e-12), 0.0)
            weights = weights / weights.sum()
        if rows.n_sources and seen is not None and here.sum() > 1:
            risks, distances, count = seen[:3]
            losses = (risks + self.distance_weight * distances) / max(count, 1)
            curvature = sizes.sum() / np.maximum(sizes, 1)
            curvature = curvature[here] if self.spread_by == "sizes" else None
            found, _ = solve_norm_simplex(losses[here], self.spread, curvature)
            weights = np.zeros(k)
            weights[here] = found
        if not rows.n_sources:
            ratios = np.ones_like(ratios)
        scale = weights * sizes.sum() / np.maximum(sizes, 1)
        for name, value in (
            ("source_weights", weights), ("class_ratios", ratios), ("shares", shares),
            ("of_row", scale[:, None] * ratios),
        ):  # fmt: skip
            buffer = getattr(self, name)
            buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype))
        like = self.source_weights.new_zeros
        self.seen = [like(k), like(k), like(()), like(c, c), like(c)]
        self.here = here
        share = np.where(here, sizes, 1.0) / sizes.sum()  # of none its risk is 0
        self.in_source = torch.as_tensor(share).to(self.source_weights)

    def _shares(self, rows, table, seen):
        """Return the shares of the classes in the target."""
        labeled = rows.y_labeled.cpu().numpy()
        if self.class_ratio == "labels" and not len(labeled):
            raise ValueError(
                "class_ratio='labels', but no target row is labeled: use 'predictions'."
            )
        if len(labeled) and self.class_ratio != "predictions":
            found = np.bincount(labeled, minlength=self.n_classes).astype(float)
        elif seen is None or not seen[3].any():
            found = table.sum(0)
        else:
            joint, target = seen[3] / seen[3].sum(), seen[4] / seen[4].sum()
            found = confusion_weights(joint, target, penalty=0.0) * joint.sum(axis=0)
        return found / found.sum()

    def source_weight(self, net, batch):
        """Return the weights of rows by source and class."""
        if batch.target_alone:
            return None
        return self.of_row[batch.domain, batch.y_source]

    def losses(self, net, batch, encoded):
        """Return the weighted distances; note what the epoch shows."""
        k, c = self.class_ratios.shape
        proba = encoded.out_target.detach().softmax(1)
        belief = proba
        if batch.y_target is not None:
            known = one_hot(batch.y_target.clamp_min(0), c).to(proba.dtype)
            belief = torch.where((batch.y_target >= 0)[:, None], known, proba)
        label = one_hot(batch.y_source, c).to(belief.dtype)
        member = one_hot(batch.domain, k).to(belief.dtype)
        source = (member[:, :, None] * label[:, None, :]).flatten(1)
        left = torch.cat([source, source.new_zeros(len(belief), k * c)])
        right = belief[:, None, :].expand(-1, k, -1).flatten(1)
        right = torch.cat([right.new_zeros(len(source), k * c), right])
        left, right = (w / w.sum(0).clamp_min(1e-12) for w in (left, right))
        lines = torch.randn_like(encoded.source[:1].expand(self.n_projections, -1))
        lines = lines / lines.norm(dim=1, keepdim=True)
        features = torch.cat([encoded.source, encoded.target])
        found = sliced_wasserstein(features, left, right, lines.T).view(k, c)
        distances = (found * self.shares).sum(1)
        with torch.no_grad():
            risk = cross_entropy(encoded.out_source, batch.y_source, reduction="none")
            risk = self.class_ratios[batch.domain, batch.y_source] * risk
            risk = (member.T @ risk) / len(risk) / self.in_source
            update = risk, distances, 1, encoded.out_source.softmax(1).T @ label
            for total, value in zip(self.seen, (*update, proba.sum(0)), strict=True):
                total += value
        return {"conditional_wasserstein": (self.source_weights * distances).sum()}
