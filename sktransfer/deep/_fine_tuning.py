"""Fine-tuning: train on the sources, then on the target's labels."""

import copy
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._learners import check_weights
from sktransfer.deep._adapters import add_adapters
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._net import (
    TRANSFER_PARAMETERS,
    TransferNet,
    TransferNetClassifier,
    TransferNetRegressor,
)
from sktransfer.deep._parameters import inherit_parameters
from sktransfer.deep._pretraining import labeled_rows, train_alone
from sktransfer.metrics._path import find_path

__all__ = ["FineTuning", "FineTuningRegressor"]


class _Held(Alignment):
    """Parts of the extractor that stay as they are, their statistics included."""

    settled = 0.0

    def __init__(self):
        super().__init__()
        self.names = ()

    def hold(self, extractor, names):
        """Freeze parts of an extractor, and parameters that belong to no other part."""
        self.names = tuple(names)
        blocks = [extractor.get_submodule(name) for name in blocks_of(extractor)]
        held = [extractor.get_submodule(name) for name in self.names]
        free = {id(p) for block in blocks for p in block.parameters()}
        free -= {id(p) for part in held for p in part.parameters()}
        for parameter in extractor.parameters():
            if id(parameter) not in free:
                parameter.requires_grad_(False)

    def begin_epoch(self, net, rows, progress):
        """Keep their statistics, and draw no dropout in them."""
        for name in self.names:
            net.extractor.get_submodule(name).eval()


def blocks_of(module):
    """Return the names of the blocks of a module, in order.

    Parameters
    ----------
    module : Module
        Extractor.

    Returns
    -------
    names : list of str
        Names of its children with parameters; of a module with one such child, those
        of the child.
    """
    prefix = ""
    while True:
        names = [n for n, child in module.named_children() if _has_parameters(child)]
        if not names:
            return [prefix] if _has_parameters(module) else []
        if len(names) > 1:
            return [f"{prefix}.{name}".lstrip(".") for name in names]
        prefix = f"{prefix}.{names[0]}".lstrip(".")
        module = getattr(module, names[0])


def _has_parameters(module):
    return next(module.parameters(), None) is not None


class _FineTunes:
    """Parameters and steps of all nets that are fine-tuned."""

    _parameter_constraints: ClassVar[dict] = {
        **TransferNet._parameter_constraints,
        "source_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "keep_head": ["boolean"],
        "trainable": [
            StrOptions({"all", "head", "adapter"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "adapter_rank": [Interval(Integral, 1, None, closed="left")],
        "adapter_alpha": [Interval(Real, 0, None, closed="neither")],
        "lr_ratio": [Interval(Real, 0, None, closed="left")],
        "path": [None, StrOptions({"auto"}), "array-like"],
    }

    def __init__(
        self,
        module=None,
        *,
        source_epochs=None,
        keep_head=True,
        trainable="all",
        adapter_rank=8,
        adapter_alpha=8.0,
        lr_ratio=1.0,
        path=None,
        **params,
    ):
        super().__init__(module, **params)
        self.source_epochs = source_epochs
        self.keep_head = keep_head
        self.trainable = trainable
        self.adapter_rank = adapter_rank
        self.adapter_alpha = adapter_alpha
        self.lr_ratio = lr_ratio
        self.path = path

    def _make_alignment(self):
        return _Held()

    def _make_penalties(self):
        """Hold no weights where nothing was learned before."""
        penalties = super()._make_penalties()
        if self._tunes:
            return penalties
        return [penalty for penalty in penalties if penalty.in_pretraining]

    def _train(self, data, sample_weight, *, warm, **options):
        self._check_rates()
        weight = np.ones(len(data.labeled))
        if sample_weight is not None:
            weight = check_weights(sample_weight, len(weight))
        if not warm:
            # without any weight the fit of the net raises
            part = data.take(weight > 0) if weight.any() else data
            self._tunes = part.n_source > 0 or self.source_epochs == 0
            self.path_, self.distances_ = self._find_path(part)
        left_out = data.is_source & ~np.isin(data.sample_domain, self.path_)
        if self.path is not None and left_out.any():
            sample_weight = np.where(left_out, 0.0, weight)
        super()._train(data, sample_weight, warm=warm, **options)

    def _check_rates(self):
        """Refuse rates that have no effect or contradict others."""
        frozen = self.trainable in ("head", 0)
        if frozen and self.lr_ratio not in (0, 1):
            raise ValueError(
                f"lr_ratio={self.lr_ratio} has no effect, as trainable="
                f"{self.trainable!r} trains no part of the extractor; leave it at 1."
            )
        if self.source_epochs == 0 and self.module is None:
            raise ValueError(
                "source_epochs=0 takes module as an extractor that is trained already, "
                "but module=None is a new one: give the module, or set source_epochs "
                "to None."
            )
        if self.source_epochs == 0 and self.path is not None:
            raise ValueError(
                f"path={self.path!r} has no effect, as source_epochs=0 trains on no "
                "source; set one of them to None."
            )
        if self.trainable == "adapter" and self.lr_ratio == 0:
            raise ValueError(
                "lr_ratio=0 would train no adapter; use trainable='head' for that."
            )
        if self.lr_ratio not in (0, 1) and self._params_of("optimizer__param_groups"):
            raise ValueError(
                "lr_ratio and optimizer__param_groups both set rates: use one of them."
            )

    def _find_path(self, data):
        """Return the ids of the sources in their order, and their distances."""
        if self.path is None:
            return data.sources.tolist(), {}
        rng = check_random_state(0)
        X = np.asarray(data.X).reshape(len(data.X), -1)
        return find_path(self.path, data, X, rng)

    def _encode_rows(self, data, weight, held_out, device, budget):
        """Return the labeled target rows, which remember the rows of all domains."""
        rows, order = super()._encode_rows(data, weight, held_out, device, budget)
        if not data.n_source:
            return rows, order
        tuning = labeled_rows(
            rows.x_labeled, rows.y_labeled, self.batch_size,
            n_batches=budget.epoch_steps, weight=rows.w_labeled, target_alone=True,
            device=device,
        )  # fmt: skip
        tuning.validation, tuning.all_rows = rows.validation, rows
        return tuning, order

    def _prepare_module(self, module, rows, device, budget):
        blocks = blocks_of(module.extractor)
        if isinstance(self.trainable, Integral) and self.trainable > len(blocks):
            raise ValueError(
                f"trainable={self.trainable}, but the module has {len(blocks)} blocks "
                "with parameters."
            )
        if hasattr(rows, "all_rows"):
            self._pretrain(module.to(device), rows.all_rows, budget)
        if self._tunes:
            self._freeze(module, blocks)

    def _pretrain(self, module, rows, budget):
        """Train on the sources, one after the other along a path."""
        head = copy.deepcopy(module.head.state_dict())
        domains = [None]
        if self.path is not None:
            domains = self._source_positions(np.array(self.path_))
        penalties = [p for p in self._make_penalties() if p.in_pretraining]
        for i, position in enumerate(domains):
            x, y, weight = rows.x_source, rows.y_source, rows.w_source
            if position is not None:
                own = rows.domain == position
                x, y = x[own.to(x.device)], y[own]
                weight = None if weight is None else weight[own]
            n_steps = -(-budget.n_steps // len(domains))
            if self.source_epochs is not None:
                n_steps = self.source_epochs * -(-len(x) // self.batch_size)
            if n_steps:
                batches = labeled_rows(
                    x, y, self.batch_size, weight=weight, device=rows.device
                )
                train_alone(
                    self, module.extractor, module.head, batches, n_steps,
                    torch.initial_seed() + i, penalties,
                )  # fmt: skip
        self._between(module, rows)
        if not self.keep_head:
            module.head.load_state_dict(head)

    def _between(self, module, rows):
        """Change the net of the sources before it is fine-tuned."""

    def _freeze(self, module, blocks):
        """Hold what is not to be trained, or add what alone is trained."""
        if self.trainable == "adapter":
            rank, alpha = self.adapter_rank, self.adapter_alpha
            module.extractor = add_adapters(module.extractor, rank, alpha)
        elif self.trainable == "head" or self.lr_ratio == 0:
            module.alignment.hold(module.extractor, [""])
        elif self.trainable != "all" and len(blocks) > self.trainable:
            n_held = len(blocks) - self.trainable
            module.alignment.hold(module.extractor, blocks[:n_held])

    def _trainer_params(self):
        params = super()._trainer_params()
        if self._tunes and self.lr_ratio not in (0, 1):
            slow = ("extractor*", {"lr": self.lr_ratio * self.lr})
            params["optimizer__param_groups"] = [slow]
        return params

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.uses_unlabeled = isinstance(self.path, str)
        return tags


@inherit_parameters(but=TRANSFER_PARAMETERS)
class FineTuning(_FineTunes, TransferNetClassifier):
    r"""Train a net on the sources, then fine-tune it on the target's labels.

    What is trained in the second step, and how fast, is a choice: all of the net, its
    last blocks, its head or adapters alone, the extractor more slowly than the head;
    :class:`StartPointPenalty` holds the weights near those of the source's net [1]_.
    Several sources are learned at once, or one after the other along a path, each a
    bridge to the next [2]_.

    %(sections)s

    See Also
    --------
    FineTuningRegressor : The same for regression.
    OTCEFineTuning : The same with a step between both.
    sktransfer.hypothesis.TransferChain : A path for models without a net.

    Notes
    -----
    Without sources it is :class:`TargetOnlyNet`: nothing is frozen or held, as nothing
    was learned before. With ``source_epochs=0`` the given ``module`` is what was
    learned before, with and without sources.

    A block is a child of the module with parameters: each linear layer of :class:`MLP`,
    or each stage of a pretrained net. Frozen blocks keep their statistics, too.
    ``max_epochs`` and ``max_steps`` are those of the second step, which takes as many
    steps as any other net on the same rows.

    References
    ----------
    .. [1] X. Li, Y. Grandvalet, F. Davoine, "Explicit inductive bias for transfer
       learning with convolutional networks", ICML 2018, arXiv:1802.01483.
    .. [2] M. Xie, N. Jean, M. Burke, D. Lobell, S. Ermon, "Transfer learning from deep
       features for remote sensing and poverty mapping", AAAI 2016, arXiv:1510.00098.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import FineTuning, StartPointPenalty
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(220, 4))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 20])
    >>> y = (X[:, 0] + X[:, 1] * (domain == 1) > 0).astype(int)
    >>> net = FineTuning(path="auto", trainable=1, max_steps=60, random_state=0)
    >>> net = net.set_params(penalties=[StartPointPenalty(0.01)])
    >>> len(net.fit(X, y, sample_domain=domain).path_)
    2
    """


@inherit_parameters(but=TRANSFER_PARAMETERS)
class FineTuningRegressor(_FineTunes, TransferNetRegressor):
    r"""Train a regression net on the sources, then on the target's labels.

    As :class:`FineTuning` with the squared error.

    %(sections)s

    See Also
    --------
    FineTuning : The same for classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import FineTuningRegressor
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> domain = np.tile([1, -1], 40)
    >>> net = FineTuningRegressor(lr=0.01, lr_ratio=0.1, max_steps=150, random_state=0)
    >>> y = np.abs(X[:, 0])
    >>> net.fit(X, y, sample_domain=domain).score(X, y) > 0.9
    True
    """
