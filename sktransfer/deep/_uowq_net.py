"""UOWQ for nets: one net for target and source rows, sources weighted every epoch."""

import copy
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order
from sktransfer._solvers.uowq import solve_uowq
from sktransfer.deep._adapters import (
    add_adapters,
    freeze_module,
    trainable_parameters,
)
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._net import TRANSFER_PARAMETERS, TransferNetClassifier
from sktransfer.deep._parameters import inherit_parameters
from sktransfer.deep._pretraining import labeled_rows, train_alone

__all__ = ["UOWQNet"]

_N_FOLDS = 3
_ROWS_AT_ONCE = 1024
#: unlabeled target rows of which differences are measured, at most
_MOST_MEASURED = 2000


class _SourceWeights(Alignment):
    """Weights of the sources in the loss, computed anew in every epoch.

    Parameters
    ----------
    fisher : {"path", "expected", "empirical"}
        How differences of nets are measured.
    n_parameters : {"estimate", "all"} or float
        Number of parameters in the theory.
    warmup : float
        Share of the training before the weights are updated in every epoch.
    noise_correction : bool
        Take the noise of the fits out of the differences.
    pickle_fits : bool, default=False
        Whether pickles hold the nets of the sources, without which no training goes on.
    """

    def __init__(
        self, fisher, n_parameters, *, warmup, noise_correction, pickle_fits=False
    ):
        super().__init__()
        self.pickle_fits, self.fits_are_missing = pickle_fits, False
        self.fisher, self.n_parameters = fisher, n_parameters
        self.warmup, self.noise_correction = warmup, noise_correction
        self.settled = min(warmup, 1.0) if np.isfinite(warmup) else 0.0
        self.sources, self.start, self.path, self.results = None, None, [], []

    def set_fits(self, sources, folds, start=None):
        """Take in states of the nets of sources, of folds and of the target alone."""
        self.sources, self.folds, self.start = sources, folds, start

    def __getstate__(self):
        """Leave the nets of the sources out of pickles: they are large."""
        state = dict(super().__getstate__())
        if self.sources is not None and not self.pickle_fits:
            left_out = {"sources": None, "folds": None, "start": None}
            state |= left_out | {"in_batch": None, "fits_are_missing": True}
        return state

    def begin_epoch(self, net, rows, progress):
        """Set the weights of this epoch."""
        if self.sources is None:
            return
        domains = rows.domain.cpu().numpy()
        self.sizes = np.bincount(domains, minlength=len(self.sources)).astype(float)
        if self.path and progress < self.warmup:
            weights = self.path[-1]
        elif self.path or self.start is not None:
            weights = self._weigh(net, rows, None if self.path else self.start)
        else:
            weights = np.zeros(len(self.sizes))
        self.path.append(weights)
        n_target = rows.sizes[1]
        total = n_target + weights @ self.sizes
        like = rows.x.new_tensor
        self.in_batch = like(weights * rows.sizes[0] / total)[rows.domain]
        self.of_target = like(n_target / total)

    def source_weight(self, net, batch):
        """Return the weight of each source row, for the mean over a batch."""
        return None if self.sources is None else self.in_batch[batch.source]

    def labeled_weight(self, net):
        """Return the weight of the mean loss of the labeled target rows."""
        return 1.0 if self.sources is None else self.of_target

    def _weigh(self, net, rows, state):
        """Compute the weights at the current net, or at another state of it."""
        predictor = nn.Sequential(net.extractor, net.head)
        training = predictor.training
        predictor.eval()
        state = state_of(predictor) if state is None else state
        n = rows.sizes[1]
        x, y = rows.x_labeled, rows.y_labeled
        if self.fisher != "empirical" and len(rows.x_unlabeled):
            x = torch.cat([x, rows.x_unlabeled.to(x.device)])
            y = torch.cat([y, y.new_zeros(len(x) - n)])  # not looked at
        fits = [*self.sources, *self.folds]
        found = row_differences(predictor, state, fits, x, y, self.fisher)
        predictor.train(training)
        found = found.cpu().double().numpy()
        P = found[:, :, : len(self.sources)].reshape(-1, len(self.sources))
        d = self._count(predictor, found[:, :, len(self.sources) :], n)
        result = solve_uowq(
            P / np.sqrt(len(found)),
            n,
            self.sizes,
            d,
            noise_correction=self.noise_correction,
        )
        self.results.append((result, d))
        return result.weights

    def _count(self, predictor, held_out, n):
        """Return the number of parameters that the n labeled target rows determine."""
        if self.n_parameters == "all":
            count = sum(p.numel() for p in trainable_parameters(predictor).values())
        elif self.n_parameters == "estimate":
            # labeled rows by the one net that has not seen them, others by all nets
            squares = np.sum(held_out**2, axis=1)
            fold = np.arange(n) % squares.shape[1]
            own = squares[np.arange(n), fold].sum()
            count = n * (own + squares[n:].mean(axis=1).sum()) / len(squares)
        else:
            count = self.n_parameters
        return max(float(count), 1e-8)


def state_of(module):
    """Return copies of the trainable parameters and the buffers of a module."""
    tensors = trainable_parameters(module) | dict(module.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def row_differences(predictor, state, fits, x, y, fisher):
    r"""Measure on every row how far fits of a net are from one of them.

    Parameters
    ----------
    predictor : Module
        Net from rows to the logarithms of class probabilities, up to a constant.
    state : dict of str to tensor
        Trainable parameters and buffers of the one fit, :math:`\theta_0`.
    fits : list of dict of str to tensor
        Those of the others, :math:`\theta_k`.
    x : tensor of shape (n, ...)
        Rows.
    y : tensor of shape (n,)
        Their classes.
    fisher : {"path", "expected", "empirical"}
        See :class:`UOWQNet`.

    Returns
    -------
    differences : tensor of shape (n, n_factors, n_fits)
        :math:`R` with :math:`\frac1n \sum_{if} R_{ifk} R_{ifl} = (\theta_k -
        \theta_0)^\top J (\theta_l - \theta_0)`, for "path" to second order.
    """
    parts = zip(x.split(_ROWS_AT_ONCE), y.split(_ROWS_AT_ONCE), strict=True)
    with torch.no_grad():
        if fisher == "path":
            found = [_along_path(predictor, state, fits, part) for part, _ in parts]
        else:
            expected = fisher == "expected"
            found = [_tangent(predictor, state, fits, *p, expected) for p in parts]
    return torch.cat(found)


def _along_path(predictor, state, fits, x):
    root = functional_call(predictor, state, (x,)).softmax(1).sqrt()
    others = [functional_call(predictor, fit, (x,)).softmax(1).sqrt() for fit in fits]
    return 2 * (torch.stack(others, 2) - root[:, :, None])


def _tangent(predictor, state, fits, x, y, expected):
    """Differentiate the outputs in the directions of the fits: no row's gradient."""
    names = trainable_parameters(predictor).keys()
    at = {name: state[name] for name in names}
    fixed = {name: value for name, value in state.items() if name not in at}

    def outputs(params):
        return functional_call(predictor, params | fixed, (x,))

    def slope(cotangent, direction):
        gradient = vjp(outputs, at)[1](cotangent)[0]
        return sum((gradient[name] * direction[name]).sum() for name in names)

    # a gradient is linear in its cotangent, so its gradient is the way forward
    out, moves = outputs(at), []
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        for fit in fits:
            direction = {name: fit[name] - at[name] for name in names}
            moves.append(grad(slope)(torch.zeros_like(out), direction))
    moves, proba = torch.stack(moves, 2), out.softmax(1)
    moves = moves - (proba[:, :, None] * moves).sum(1, keepdim=True)
    if expected:
        return proba.sqrt()[:, :, None] * moves
    return moves.gather(1, y[:, None, None].expand(-1, 1, len(fits)))


@inherit_parameters(but=TRANSFER_PARAMETERS)
class UOWQNet(TransferNetClassifier):
    r"""Fit a net to target rows and optimally weighted source rows.

    Every source gets one weight: how much a row of it is worth beside a
    labeled target row, and which is updated once in each epoch [1]_. Sources are kept
    apart. On unlabeled target rows the nets are compared, but not trained.

    Parameters
    ----------
    %(module)s
    weighting : {"static", "dynamic"}, default="dynamic"
        "static" computes the weights once, at a net fitted to the labeled target rows
        alone; "dynamic" updates them before every epoch, at the current net. Give it
        unlabeled target rows, see Notes: on labeled ones alone they hardly move.
    warmup : float in [0, 1], default=0.5
        Share of the epochs before the updates of "dynamic", with the weights of
        "static": at a net that does not yet fit the target, useless sources look
        like it. 0 is as published: a first epoch without sources, then updates.
    fisher : {"path", "expected", "empirical"}, default="path"
        Fisher information that measures the differences between nets, see Notes:
        along the path between two nets, or, as published, at the current net, where
        "empirical" takes the given labels and "expected" labels drawn from the net.
    n_parameters : {"estimate", "all"} or float in (0, inf), default="estimate"
        Number d of parameters in the theory. "estimate": the number that the labeled
        target rows determine, see Notes; "all": all trainable ones, as published.
    noise_correction : bool, default=False
        Take the noise of the fits out of the differences, which raises all weights.
    trainable : {"all", "head", "adapter"}, default="all"
        What to train: everything, the head alone, or the head and low-rank adapters
        of every linear layer of a frozen ``module``.
    adapter_rank : int in [1, inf), default=8
        Rank of the adapters.
    adapter_alpha : float in (0, inf), default=8.0
        Scale of the adapters, see :class:`LowRankLinear`.
    %(parameters)s

    Attributes
    ----------
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    source_weights_ : ndarray of shape (n_sources,)
        Weight of the rows of each source in the last epoch.
    source_proportions_ : ndarray of shape (n_sources,)
        Share of each source in the transferred quantity.
    transfer_quantity_ : float
        Effective number of transferred rows, the sum of weight times rows.
    n_parameters_ : float
        Number of parameters in the last update; nan without an update.
    weights_path_ : ndarray of shape (n_iter_, n_sources)
        Weights in each epoch.
    kl_path_ : ndarray of shape (n_updates,)
        Predicted Kullback-Leibler divergence of the weighted fit at each update.
    sample_weight_ : ndarray of shape (n_source,)
        Weight of each source row, in the order of the source rows in the input.
    %(attributes)s

    See Also
    --------
    TargetOnlyNet : The net without sources.
    add_adapters : Adapters of a module.

    Notes
    -----
    The net minimizes, by batches that are unbiased for it,

    .. math:: \frac{1}{N_0 + s} \Bigl[ \sum_{i \in T} \ell_i(\theta)
              + \sum_k w_k \sum_{i \in S_k} \ell_i(\theta) \Bigr], \qquad
              s = \sum_k w_k n_k,

    with :math:`\ell` the negative log-likelihood and the weights of
    :func:`sktransfer.multisource.uowq_weights`. Its :math:`\theta_k` are the trainable
    parameters of nets of the same initial state, one fitted to each source, its
    :math:`\theta_0` those of the current net. :math:`\Theta^\top J \Theta` takes one
    derivative of the outputs in the direction of each :math:`\theta_k - \theta_0`; no
    gradient of a row and no matrix :math:`J` is formed.

    A net that interpolates its few target rows is sure of their labels, so that
    its Fisher information there, empirical or expected, vanishes and every source
    looks like the target. The Fisher information is the metric of the
    probabilities, and the roots :math:`2 \sqrt p` map it to a sphere isometrically.
    So "path" measures :math:`\theta_k^\top J \theta_l` as the mean over all target rows
    (of more than 2000 unlabeled ones over 2000) of

    .. math:: 4 \sum_c \bigl(\sqrt{p_k(c|x)} - \sqrt{p_0(c|x)}\bigr)
              \bigl(\sqrt{p_l(c|x)} - \sqrt{p_0(c|x)}\bigr),

    which agrees to second order and holds at any distance. "expected" takes all target
    rows, too, "empirical" the labeled ones. Once the net interpolates its labeled rows
    its probabilities there no longer change, and neither do weights that are measured
    there; on unlabeled rows they move on.

    A net of its own for each source is kept for further fits; pickles leave these nets
    out, unless ``warm_start=True``.

    In theory the target alone has an expected divergence of :math:`d / (2 N_0)`
    with d parameters. For a net d is far less than their number, with which every
    weight would be near 1. The estimate turns the equation around: three nets, each
    fitted to two thirds of the labeled target rows, differ from the current net on the
    target rows that they have not seen by :math:`d / N_0` in the same measure.

    References
    ----------
    .. [1] Q. Zhang et al., "Unified optimization of source weights and transfer
       quantities in multi-source transfer learning: an asymptotic framework", 2026,
       arXiv:2601.10779.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import UOWQNet
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(220, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 20])
    >>> y = (X[:, 0] > 0).astype(int)
    >>> y[domain == 2] = rng.permutation(y[domain == 2])  # labels without meaning
    >>> net = UOWQNet(max_epochs=20, lr=0.01, random_state=0)
    >>> near, useless = net.fit(X, y, sample_domain=domain).source_weights_
    >>> bool(near > 0.2 > 0.05 > useless)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferNetClassifier._parameter_constraints,
        "weighting": [StrOptions({"static", "dynamic"})],
        "fisher": [StrOptions({"path", "expected", "empirical"})],
        "n_parameters": [
            StrOptions({"estimate", "all"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "warmup": [Interval(Real, 0, 1, closed="both")],
        "noise_correction": ["boolean"],
        "trainable": [StrOptions({"all", "head", "adapter"})],
        "adapter_rank": [Interval(Integral, 1, None, closed="left")],
        "adapter_alpha": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        module=None,
        *,
        weighting="dynamic",
        warmup=0.5,
        fisher="path",
        n_parameters="estimate",
        noise_correction=False,
        trainable="all",
        adapter_rank=8,
        adapter_alpha=8.0,
        **params,
    ):
        super().__init__(module, **params)
        self.weighting = weighting
        self.warmup = warmup
        self.fisher = fisher
        self.n_parameters = n_parameters
        self.noise_correction = noise_correction
        self.trainable = trainable
        self.adapter_rank = adapter_rank
        self.adapter_alpha = adapter_alpha

    def _make_alignment(self):
        return _SourceWeights(
            self.fisher,
            self.n_parameters,
            warmup=np.inf if self.weighting == "static" else self.warmup,
            noise_correction=self.noise_correction,
            pickle_fits=self.warm_start,
        )

    def _encode_rows(self, data, weight, held_out, device, budget):
        """Return the rows of the training, with others to measure differences on."""
        rows, order = super()._encode_rows(data, weight, held_out, device, budget)
        X = data.X[data.is_target & ~data.labeled]
        found = canonical_order(X)
        if len(found) > _MOST_MEASURED:  # evenly over the sorted rows
            found = found[np.linspace(0, len(found) - 1, _MOST_MEASURED).astype(int)]
        rows.x_unlabeled = self._encoder.tensor(X[found])
        return rows, order

    def _make_extractor(self, x):
        extractor, n_features = super()._make_extractor(x)
        if self.trainable == "head":
            extractor = freeze_module(extractor)
        if self.trainable == "adapter":
            extractor = add_adapters(extractor, self.adapter_rank, self.adapter_alpha)
        return extractor, n_features

    def _note_sources(self, sources, warm):
        if warm and not np.array_equal(sources, self.source_ids_):
            raise ValueError(
                f"sample_domain names the sources {sources.tolist()}, but the net "
                f"was set up for {self.source_ids_.tolist()}; each source's own net "
                "is fitted in the first call. Fit anew, without warm_start."
            )
        if warm and self.module_.alignment.fits_are_missing:
            raise ValueError(
                "This net comes from a pickle, which holds the nets of the sources "
                "only with warm_start=True: fit anew, or set it before the first fit."
            )
        self.source_ids_ = sources
        super()._note_sources(sources, warm)

    def _make_trainer(self, rows, device, budget):
        trainer = super()._make_trainer(rows, device, budget)
        if len(self.source_ids_):
            self._fit_parts(trainer.base_module, rows, budget)
        return trainer

    def _fit_parts(self, module, rows, budget):
        """Fit a net to each source, and to parts of the labeled target rows."""
        n_target = rows.sizes[1]
        x, y, w = rows.x_labeled, rows.y_labeled, rows.w_labeled
        own = [rows.domain == k for k in range(len(self.source_ids_))]
        # all sources together take as many steps as the net itself
        enough = -(-budget.epoch_steps // len(own))
        seed = torch.initial_seed()

        def fit(x, y, w, target_alone=True):
            part = copy.deepcopy(nn.Sequential(module.extractor, module.head))
            if len(x):
                n_batches = max(enough, -(-len(x) // self.batch_size))
                batches = labeled_rows(
                    x, y, self.batch_size,
                    n_batches=n_batches, weight=w, target_alone=target_alone,
                    device=rows.device,
                )  # fmt: skip
                part = part.to(rows.device)
                n_steps = min(budget.n_epochs * n_batches, budget.n_steps)
                penalties = [p for p in self._make_penalties() if p.in_pretraining]
                train_alone(self, *part, batches, n_steps, seed, penalties)
            return state_of(part.eval())

        def of(mask, w):
            return None if w is None else w[mask]

        sources = [
            fit(rows.x_source[mask.to(rows.x.device)], rows.y_source[mask],
                of(mask, rows.w_source), target_alone=False)
            for mask in own
        ]  # fmt: skip
        folds, start = [], None
        if self.n_parameters == "estimate":
            fold = torch.arange(n_target, device=y.device) % _N_FOLDS
            folds = [
                fit(x[(fold != k).to(x.device)], y[fold != k], of(fold != k, w))
                for k in range(min(_N_FOLDS, n_target))
            ]
        if module.alignment.warmup > 0:
            start = fit(x, y, w)
        module.alignment.set_fits(sources, folds, start)

    def _source_weights(self, rows, order, data):
        """Set what was found about the sources; return the weights of their rows."""
        found = self.module_.alignment
        n_sources = len(self.source_ids_)
        path = np.array(found.path) if n_sources else np.zeros((self.n_iter_, 0))
        self.weights_path_ = path
        self.source_weights_ = path[-1]
        quantities = self.source_weights_ * (found.sizes if n_sources else 1.0)
        self.transfer_quantity_ = float(quantities.sum())
        self.source_proportions_ = quantities / (self.transfer_quantity_ or 1.0)
        self.kl_path_ = np.array([result.kl for result, _ in found.results])
        self.n_parameters_ = found.results[-1][1] if found.results else np.nan
        return self.source_weights_[np.searchsorted(data.sources, data.source_ids)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.uses_unlabeled = self.fisher != "empirical"
        return tags
