"""Distant transfer: an autoencoder that selects the source rows it can use."""

from dataclasses import replace
from itertools import pairwise
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from sktransfer._compat import Interval
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._checks import check_widths
from sktransfer.deep._losses import mk_mmd_loss
from sktransfer.deep._net import TRANSFER_PARAMETERS, TransferNetClassifier
from sktransfer.deep._parameters import inherit_parameters

__all__ = ["SelectiveAutoencoder"]

_ROWS_AT_ONCE = 8192


class _Selection(Alignment):
    """Reconstruct rows, and select the source rows before every epoch.

    Parameters
    ----------
    keep, max_loss : dict of int to float, or None
        Share or bound for the source at each position; one of them is None.
    warmup : float
        Share of the training without rows that are not kept in any case.
    units : tuple of int
        Widths of the hidden layers of the decoder.
    reconstruction_weight, mmd_weight : float
        Weights of the two losses.
    """

    def __init__(
        self, keep, max_loss, *, warmup, units, reconstruction_weight, mmd_weight
    ):
        super().__init__()
        self.keep, self.max_loss = keep, max_loss
        self.warmup, self.units = warmup, units
        self.reconstruction_weight = reconstruction_weight
        self.mmd_weight = mmd_weight
        self.settled = max(warmup, 0.5)
        self.selected, self.shares = None, []

    def build(self, sizes, net):
        """Make the decoder."""
        widths = [sizes.n_features, *self.units]
        layers = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        n_inputs = int(np.prod(sizes.row_shape))
        self.decoder = nn.Sequential(*layers, nn.Linear(widths[-1], n_inputs))

    def errors(self, features, x):
        """Return the mean squared error of the reconstruction of each row."""
        return (self.decoder(features) - x.flatten(1)).square().mean(1)

    def begin_epoch(self, net, rows, progress):
        """Select source rows."""
        self.sizes = rows.sizes
        if not rows.sizes[0]:
            return
        if self.selected is None or self.selected.numel() != rows.sizes[0]:
            self.selected = rows.x.new_zeros(rows.sizes[0], device=rows.device)
        losses = self._losses(net, rows) if progress >= self.warmup else None
        n_sources = int(rows.domain.max()) + 1
        shares = []
        for k in range(n_sources):
            own = rows.domain == k
            kept = self._kept(
                k, None if losses is None else losses[own], int(own.sum())
            )
            self.selected[own] = kept.to(self.selected)
            shares.append(float(kept.double().mean()))
        self.shares.append(shares)

    def _kept(self, k, losses, n):
        """Return the mask of the rows of a source that are kept."""
        limit = self.keep[k] if self.max_loss is None else self.max_loss[k]
        everything = limit == (1 if self.max_loss is None else np.inf)
        if everything or limit == 0 or losses is None:
            return torch.full((n,), everything)
        if self.max_loss is not None:
            return losses < limit
        kept = torch.zeros(n, dtype=bool)
        kept[losses.cpu().argsort(stable=True)[: int(np.ceil(limit * n))]] = True
        return kept

    def _losses(self, net, rows):
        """Return the total loss of every source row at the current net."""
        training = net.training
        net.eval()
        found = []
        with torch.no_grad():
            start = 0
            for x in rows.chunks(rows.x_source, _ROWS_AT_ONCE):
                part = slice(start, start + len(x))
                features = net.extractor(x)
                log_p = net.head(features).log_softmax(1)
                label = -log_p.gather(1, rows.y_source[part][:, None])[:, 0]
                entropy = -(log_p.exp() * log_p).sum(1)
                own = torch.where(rows.labeled_source[part], label, entropy)
                error = self.errors(features, x)
                found.append(own + self.reconstruction_weight * error)
                start += len(x)
        net.train(training)
        return torch.cat(found)

    def source_weight(self, net, batch):
        """Return 1 for the selected rows that have a label."""
        return self.selected[batch.source] * self.known[batch.source]

    def row_losses(self, net, batch, encoded):
        """Return reconstruction, entropy and discrepancy of codes."""
        x_source, x_labeled, x_target = batch.split(batch.x)
        weight = self.reconstruction_weight
        losses, parts, n = {}, [], self.sizes
        if len(x_labeled):
            error = self.errors(encoded.labeled, x_labeled)
            error = error if batch.w_labeled is None else batch.w_labeled * error
            parts.append(n[1] / (n[1] + n[2]) * error.mean())
        if len(x_target):
            error = self.errors(encoded.target, x_target)
            parts.append(n[2] / (n[1] + n[2]) * error.mean())
        losses["reconstruction"] = weight * sum(parts)
        if not batch.n_source:
            return losses
        selected = self.selected[batch.source]
        if batch.w_source is not None:
            selected = selected * batch.w_source
        error = self.errors(encoded.source, x_source)
        losses["source_reconstruction"] = weight * (selected * error).mean()
        unknown = selected * (1 - self.known[batch.source])
        log_p = encoded.out_source.log_softmax(1)
        entropy = -(log_p.exp() * log_p).sum(1)
        losses["entropy"] = (unknown * entropy).mean()
        if self.mmd_weight:
            kept = selected > 0
            gap = encoded.source.sum() * 0
            if kept.any():
                codes = torch.cat([encoded.labeled, encoded.target])
                gap = mk_mmd_loss(encoded.source[kept], codes)
            losses["mmd"] = self.mmd_weight * gap
        return losses


@inherit_parameters(but=TRANSFER_PARAMETERS)
class SelectiveAutoencoder(TransferNetClassifier):
    r"""Classify by the codes of an autoencoder that selects its source rows.

    For a target that is far from its source, with intermediate domains between them
    [1]_. Target rows and those source rows that the net reconstructs and predicts well
    at present train it; the selection is made anew before every epoch. Source rows
    without a label belong to intermediate domains. Unlabeled target rows are
    reconstructed.

    Parameters
    ----------
    %(module)s
    keep : float in [0, 1], dict or None, default=0.5
        Share of the rows of each source that is selected: those of least loss. A dict
        holds the share of each source by its domain id. 0: the target alone; 1: all
        rows.
    max_loss : float in [0, inf], dict or None, default=None
        Bound :math:`\lambda` of the loss of selected rows, in place of ``keep=None``.
        0: the target alone; inf: all rows.
    warmup : float in [0, 1], default=0.2
        Share of the training in which no source row is selected, unless all are: a new
        net has no opinion on rows.
    reconstruction_weight : float in [0, inf), default=1.0
        Weight of the reconstruction errors.
    mmd_weight : float in [0, inf), default=0.0
        Weight of the maximum mean discrepancy between the codes of selected source rows
        and of target rows. With ``keep=1`` that is distant feature fusion [2]_.
    decoder_units : tuple of int, default=(64,)
        Widths of the hidden layers of the decoder.
    %(parameters)s

    Attributes
    ----------
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    sample_weight_ : ndarray of shape (n_source,)
        1 for the source rows that were selected in the last epoch, else 0, in the
        order of the source rows in the input.
    selected_path_ : ndarray of shape (n_iter_, n_sources)
        Selected share of the rows of each source in each epoch.
    %(attributes)s

    See Also
    --------
    TransferNetClassifier : Weighs source rows by a gate.
    sktransfer.hypothesis.TransferChain : One intermediate domain after another.

    Notes
    -----
    With the mean squared error r of the reconstruction of the features of a row, the
    net minimizes over the encoder, the decoder, the head and :math:`v_i \in \{0, 1\}`

    .. math:: \frac{1}{n_T} \sum_T r_i + \frac{1}{n_{T_L}} \sum_{T_L} \ell_i
              + \frac{1}{n_S} \sum_S v_i (r_i + \ell_i) - \frac{\lambda}{n_S} \sum_S v_i

    with :math:`\ell` the cross-entropy, and for rows without a label the entropy of
    their prediction. For a given net :math:`v_i = 1` where :math:`r_i + \ell_i <
    \lambda`; ``keep`` chooses :math:`\lambda` for each source so that its share is
    selected.

    References
    ----------
    .. [1] B. Tan, Y. Zhang, S. J. Pan, Q. Yang, "Distant domain transfer learning",
       AAAI 2017.
    .. [2] S. Niu et al., "Distant domain transfer learning for medical imaging", IEEE
       Journal of Biomedical and Health Informatics 25, 2021. arXiv:2012.06346.

    Examples
    --------
    Half of the source is like nothing in the target.

    >>> import numpy as np
    >>> from sktransfer.deep import SelectiveAutoencoder
    >>> rng = np.random.RandomState(0)
    >>> X, domain = rng.normal(size=(120, 4)), np.repeat([1, -1], [80, 40])
    >>> y = (X[:, 0] > 0).astype(int)
    >>> X[:40] += 6 * rng.normal(size=(40, 4))
    >>> net = SelectiveAutoencoder(lr=0.01, max_steps=100, random_state=0)
    >>> weight = net.fit(X, y, sample_domain=domain).sample_weight_
    >>> bool(weight[:40].mean() < 0.2 < 0.8 < weight[40:].mean())
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferNetClassifier._parameter_constraints,
        "keep": [Interval(Real, 0, 1, closed="both"), dict, None],
        "max_loss": [Interval(Real, 0, None, closed="both"), dict, None],
        "warmup": [Interval(Real, 0, 1, closed="both")],
        "reconstruction_weight": [Interval(Real, 0, None, closed="left")],
        "mmd_weight": [Interval(Real, 0, None, closed="left")],
        "decoder_units": [tuple, list],
    }

    def __init__(
        self,
        module=None,
        *,
        keep=0.5,
        max_loss=None,
        warmup=0.2,
        reconstruction_weight=1.0,
        mmd_weight=0.0,
        decoder_units=(64,),
        **params,
    ):
        super().__init__(module, **params)
        self.keep = keep
        self.max_loss = max_loss
        self.warmup = warmup
        self.reconstruction_weight = reconstruction_weight
        self.mmd_weight = mmd_weight
        self.decoder_units = decoder_units

    def _make_alignment(self):
        keep, max_loss = (
            None if limits is None else dict(enumerate(limits))
            for limits in self._limits(self.source_ids_)
        )
        return _Selection(
            keep,
            max_loss,
            warmup=self.warmup,
            units=tuple(check_widths("decoder_units", self.decoder_units)),
            reconstruction_weight=self.reconstruction_weight,
            mmd_weight=self.mmd_weight,
        )

    def _check_limits(self, sources):
        """Refuse shares and bounds that contradict each other or the sources."""
        if (self.keep is None) == (self.max_loss is None):
            raise ValueError(
                f"keep={self.keep!r} and max_loss={self.max_loss!r} both say which "
                "source rows are selected: set exactly one of them to None."
            )
        for name, top in (("keep", 1.0), ("max_loss", np.inf)):
            given = getattr(self, name)
            if isinstance(given, dict):
                if sorted(given) != sorted(sources.tolist()):
                    raise ValueError(
                        f"{name} holds values for the domains {sorted(given)}, but the "
                        f"sources are {sources.tolist()}: give one for each."
                    )
                bad = [v for v in given.values() if not 0 <= v <= top]
                if bad:
                    raise ValueError(f"{name} must hold values in [0, {top:g}]: {bad}.")

    def _limits(self, sources):
        """Return shares and bounds of the sources; one of the two is None."""
        return [
            None
            if given is None
            else [given[k] if isinstance(given, dict) else given for k in sources]
            for given in (self.keep, self.max_loss)
        ]

    def _uses_target_rows(self):
        return True

    def _roles(self, data):
        """Return the same kinds of rows with and without sources."""
        unlabeled = data.is_target & ~data.labeled
        return data.is_source, data.is_labeled_target, unlabeled

    def _note_sources(self, sources, warm):
        if warm and not np.array_equal(sources, self.source_ids_):
            raise ValueError(
                f"sample_domain names the sources {sources.tolist()}, but the net "
                f"was set up for {self.source_ids_.tolist()}. Fit anew, without "
                "warm_start."
            )
        self.source_ids_ = sources
        super()._note_sources(sources, warm)

    def _train(self, data, sample_weight, *, warm, **options):
        self._check_limits(data.sources)
        unknown = data.is_source & ~data.labeled
        if unknown.any():  # any label stands for none; what has one is remembered
            y = data.y.copy()
            y[unknown] = data.y[data.labeled][0]
            data = replace(data, y=y)
        super()._train(data, sample_weight, warm=warm, **options)

    def _class_parts(self, data, labeled, held_out):
        parts = super()._class_parts(data, labeled, held_out)
        return [part & (data.labeled | held_out) for part in parts]

    def _encode_rows(self, data, weight, held_out, device, budget):
        rows, order = super()._encode_rows(data, weight, held_out, device, budget)
        rows.labeled_source = torch.as_tensor(data.labeled[order]).to(rows.device)
        if hasattr(self, "net_"):
            self._remember(self.module_, rows)
        return rows, order

    def _prepare_module(self, module, rows, device, budget):
        super()._prepare_module(module, rows, device, budget)
        self._remember(module, rows)

    def _remember(self, module, rows):
        module.alignment.known = rows.labeled_source.to(rows.x.dtype)

    def _source_weights(self, rows, order, data):
        """Set what was selected; return the weights of the source rows."""
        found = self.module_.alignment
        n_sources = len(self.source_ids_)
        path = found.shares if n_sources else np.zeros((self.n_iter_, 0))
        self.selected_path_ = np.array(path)
        weights = np.zeros(len(data.labeled))
        if n_sources:
            weights[order] = found.selected.cpu().double().numpy()
        return weights[data.is_source]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.unlabeled_sources = True
        return tags
