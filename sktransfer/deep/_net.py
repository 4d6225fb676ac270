"""The scikit-learn side of every net: validation, fit and prediction."""

import copy
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
)
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from torch import nn

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order, is_source
from sktransfer._learners import check_weights
from sktransfer._progress import CallbackSupportMixin, Progress, with_callbacks
from sktransfer.base import (
    TransferPredictorMixin,
    TransferTransformer,
    naming_the_step,
)
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._budget import epoch_size_of, find_budget
from sktransfer.deep._builder import make_extractor, make_module
from sktransfer.deep._companions import Companions
from sktransfer.deep._criterion import make_criterion
from sktransfer.deep._device import find_device, seeded, with_gradients
from sktransfer.deep._domain_layers import extract, tells_domains
from sktransfer.deep._encoder import RowEncoder
from sktransfer.deep._parameters import (
    ModuleParametersMixin,
    inherit_parameters,
)
from sktransfer.deep._penalties import Penalty
from sktransfer.deep._rows import DomainRows
from sktransfer.deep._trainer import (
    HeldOutStopping,
    TransferTrainer,
    check_callbacks,
    check_optimizer,
    cut_held_out,
)
from sktransfer.exceptions import DomainError

__all__ = ["TRANSFER_PARAMETERS", "TransferNetClassifier", "TransferNetRegressor"]

#: parameters of alignment and gate, for nets that have neither
TRANSFER_PARAMETERS = (
    "alignment", "gate", "agreement", "ensemble", "label_input", "max_weight",
    "gate_smoothing", "discriminator_units", "mu", "source_weight",
)  # fmt: skip

_ROWS_AT_ONCE = 8192
_ENOUGH_LABELS = 200


class TransferNet(
    CallbackSupportMixin,
    ModuleParametersMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransferTransformer,
):
    """Template of nets; a named net overrides ``_make_alignment``.

    Its parameters and attributes are described in ``_parameters.py``.
    """

    _parameter_constraints: ClassVar[dict] = {
        "module": [None, nn.Module, callable],
        "head": [None, nn.Module, callable],
        "alignment": [None, Alignment],
        "gate": ["boolean"],
        "agreement": ["boolean", StrOptions({"auto"})],
        "ensemble": ["boolean", StrOptions({"auto", "stacked", "equal"})],
        "label_input": ["boolean", StrOptions({"auto"})],
        "max_weight": [Interval(Real, 0, None, closed="right")],
        "gate_smoothing": [Interval(Real, 0, None, closed="left")],
        "discriminator_units": [tuple, list],
        "mu": [Interval(Real, 0, None, closed="left")],
        "source_weight": [Interval(Real, 0, None, closed="left")],
        "penalties": [None, list, tuple],
        "criterion": [None, nn.Module, callable],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "max_steps": [Interval(Integral, 1, None, closed="left"), None],
        "epoch_size": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [None, callable],
        "standardize": ["boolean", StrOptions({"robust"})],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "callbacks": [None, list],
        "device": [str],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
        "mixed_precision": ["boolean"],
        "compile": ["boolean"],
        "warm_start": ["boolean"],
        "verbose": [Interval(Integral, 0, None, closed="left"), "boolean"],
        "random_state": ["random_state"],
    }

    _trainer_class = TransferTrainer

    def __init__(
        self,
        module=None,
        *,
        head=None,
        alignment=None,
        gate=False,
        agreement="auto",
        ensemble="auto",
        label_input="auto",
        max_weight=10.0,
        gate_smoothing=1.0,
        discriminator_units=(64,),
        mu=1.0,
        source_weight=1.0,
        penalties=None,
        criterion=None,
        max_epochs=None,
        max_steps=None,
        epoch_size=None,
        batch_size=128,
        lr=1e-3,
        optimizer=None,
        standardize=True,
        early_stopping="auto",
        validation_fraction=0.2,
        n_iter_no_change=10,
        callbacks=None,
        device="auto",
        dtype="auto",
        mixed_precision=False,
        compile=False,
        warm_start=False,
        verbose=0,
        random_state=None,
        **module_params,
    ):
        self.module = module
        self.head = head
        self.alignment = alignment
        self.gate = gate
        self.agreement = agreement
        self.ensemble = ensemble
        self.label_input = label_input
        self.max_weight = max_weight
        self.gate_smoothing = gate_smoothing
        self.discriminator_units = discriminator_units
        self.mu = mu
        self.source_weight = source_weight
        self.penalties = penalties
        self.criterion = criterion
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.epoch_size = epoch_size
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.callbacks = callbacks
        self.device = device
        self.dtype = dtype
        self.mixed_precision = mixed_precision
        self.compile = compile
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self._set_module_params(module_params)

    def _make_alignment(self):
        """Return an unbuilt alignment that this fit may change."""
        return Alignment() if self.alignment is None else copy.deepcopy(self.alignment)

    def _make_penalties(self):
        """Return copies of the penalties that change anything."""
        penalties = self.penalties or ()
        for penalty in penalties:
            if not isinstance(penalty, Penalty):
                raise TypeError(
                    f"penalties must hold instances of Penalty, got {penalty!r}."
                )
        return [copy.deepcopy(penalty) for penalty in penalties if penalty.active]

    def _uses_target_rows(self):
        """Tell whether target rows matter beyond their labels."""
        return self.gate or self.alignment is not None

    def _roles(self, data):
        r"""Return masks of the source rows, labeled target rows and target rows.

        Without sources this is :math:`\theta(0,T)`: labeled target rows play the
        source, unlabeled target rows the target.
        """
        labeled, nobody = data.is_labeled_target, np.zeros(len(data.labeled), bool)
        if data.n_source:
            roles = data.is_source, labeled, data.is_target
        else:
            roles = labeled, nobody, data.is_target & ~labeled
        return roles if self._uses_target_rows() else (*roles[:2], nobody)

    def budget_params(self, data):
        """Return parameters that make a fit as long as one on these samples.

        A fit without the sources that is compared with one with them gets them, so
        that both take the same number of steps.

        Parameters
        ----------
        data : DomainData
            All samples, those of the sources included.

        Returns
        -------
        params : dict
            ``epoch_size``, unless the user has set it.
        """
        return {} if self.epoch_size else {"epoch_size": epoch_size_of(data)}

    # -- fit -------------------------------------------------------------------

    @with_callbacks
    def fit(self, X, y, sample_domain=None, sample_weight=None):
        """Train the net on source and target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels. Those of unlabeled target rows are missing: NaN among numbers,
            None among objects; see :func:`~sktransfer.datasets.mark_unlabeled`.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the losses of the labels and in the scales, relative
            to their mean. A row of weight 0 is left out; the alignment, the gate and
            the weights of sources count all others alike.

        Returns
        -------
        self : object
            The fitted net.

        Raises
        ------
        DomainError
            If the rows break the domain contract or ask for more than the tags
            declare, or no target row has a weight.
        ValueError
            If parameters contradict each other or a loss is not finite.
        """
        self._sample_weight = sample_weight
        try:
            return super().fit(X, y, sample_domain=sample_domain)
        finally:
            del self._sample_weight

    def fit_transform(self, X, y=None, sample_domain=None, sample_weight=None):
        """Train the net and map the same rows to features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,), default=None
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as in ``fit``.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Features, in input order.
        """
        self.fit(X, y, sample_domain=sample_domain, sample_weight=sample_weight)
        return self.transform(X, sample_domain=sample_domain)

    def _fit_domains(self, data):
        warm = self.warm_start and hasattr(self, "net_")
        self._train(data, self._sample_weight, warm=warm)

    def partial_fit(self, X, y, sample_domain=None, classes=None, sample_weight=None):
        """Train one more epoch on these rows.

        The first call sets up the net; the scales of inputs and labels stay as it
        found them, and the ramp of ``mu`` takes as many steps as a fit on its rows
        would. No label is held out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target.
        classes : array-like of shape (n_classes,), default=None
            Every class that will ever come, for the first call of a classifier. None:
            the classes of the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as in ``fit``.

        Returns
        -------
        self : object
            The net.

        Raises
        ------
        DomainError
            If the rows break the domain contract.
        ValueError
            If a label is not among the classes, ``classes`` is given in regression, or
            ``early_stopping=True``.
        """
        self._validate_params()
        if self.early_stopping is True:
            raise ValueError(
                "partial_fit holds out no label, so early_stopping=True has no effect; "
                "set it to False or 'auto'."
            )
        first = not hasattr(self, "net_")
        data = self._validate_domains(X, y, sample_domain, reset=first)
        self._train(
            data, sample_weight, warm=not first, one_epoch=True, classes=classes
        )
        return self

    @with_gradients
    def _train(
        self, data, sample_weight, *, warm, one_epoch=False, classes=None, budget=None
    ):
        """Train, on from the last fit where ``warm``; None: a budget of its own."""
        device = find_device(self.device)
        progress = None if one_epoch else Progress(self, 1)
        check_optimizer(self.optimizer)
        self._make_penalties()  # what is no penalty is refused before work starts
        if self.agreement is True and not isinstance(self, ClassifierMixin):
            raise ValueError(
                "agreement=True judges classes, so it has no effect in regression; "
                "leave it at 'auto'."
            )
        if warm and getattr(self.module_, "gate", self.gate) != self.gate:
            raise ValueError(
                f"gate={self.gate} cannot follow on a fit with gate={not self.gate}, "
                "as the discriminator is a part of the module: clone the net, or set "
                "warm_start=False."
            )
        everything = data
        data, weight, kept = self._leave_out_weightless(data, sample_weight)
        budget = budget or self._budget(data)
        if not warm:
            self._random_state = check_random_state(self.random_state)
        seed = self._random_state.randint(np.iinfo(np.int32).max)
        if not warm:
            self._held_out_seed = seed  # later calls hold out the same rows
        self._note_sources(data.sources, warm)
        held_out = np.zeros(len(data.labeled), dtype=bool)
        if not one_epoch:
            held_out = self._choose_held_out(data)
        check_callbacks(self.callbacks, held_out.any())
        data = data.without_labels(held_out)
        if not warm:
            self._learn_labels(data, classes, weight)
            self._companions = Companions(self._companion_class)
        self._companions.train(
            self, data, weight, held_out, **self._wanted_companions(),
            seed=seed, budget=budget, one_epoch=one_epoch,
            classes=getattr(self, "classes_", None),
        )  # fmt: skip
        agreement = self._companions.agreement(data) if self._wants_judge() else None
        if agreement is not None:
            weight = agreement if weight is None else weight * agreement
        if not warm:
            used = self._scaled_rows(data)
            of_used = None if weight is None else weight[used]
            self._encoder = RowEncoder(
                self.standardize, self.dtype, self.mixed_precision
            )
            self._encoder.fit(data.X[used], device, of_used)
        with seeded(seed, device):
            rows, order = self._encode_rows(data, weight, held_out, device, budget)
            if not warm:
                self.net_ = self._make_trainer(rows, device, budget)
            self._renew_trainer(warm)
            n_steps = budget.epoch_steps if one_epoch else budget.n_steps
            # as everywhere in skorch, Ctrl-C ends the training and keeps the net
            self.net_.train(rows, n_steps, progress)
            module = self.module_
            module.alignment.end_training(module, rows, _ROWS_AT_ONCE)
        self.module_.eval()
        if "ensemble" in self.get_params(deep=False):
            self.ensemble_weights_ = self._companions.weights
        self.history_ = _as_columns(self.net_.history)
        self.n_iter_ = len(self.net_.history)
        weights = np.zeros(len(kept))
        found = self._source_weights(rows, order, data)
        if agreement is not None:
            found = found * agreement[data.is_source]
        weights[np.flatnonzero(kept)[data.is_source]] = found
        self.sample_weight_ = weights[everything.is_source]
        if progress is not None:
            progress.end()

    def _note_sources(self, sources, warm):
        """Give each source a position; a later call may bring further ones."""
        known = self._source_ids if warm else sources[:0]
        new = sources[~np.isin(sources, known)]
        if warm and len(new):
            module = self.module_
            if module.alignment.per_source or tells_domains(module.extractor):
                raise DomainError(
                    f"sample_domain names the sources {new.tolist()}, but the net has "
                    f"parts for each of {known.tolist()}, those of its first call."
                )
        self._source_ids = np.r_[known, new]

    def _source_positions(self, ids):
        """Return the position of the source of each row; target rows have 0."""
        order = np.argsort(self._source_ids)
        if not len(order):
            return np.zeros(len(ids), dtype=int)
        found = np.searchsorted(self._source_ids, ids, sorter=order)
        return order[np.minimum(found, len(order) - 1)]

    def _leave_out_weightless(self, data, sample_weight):
        """Return the rows of positive weight, their weights, and their mask."""
        kept = np.ones(len(data.labeled), dtype=bool)
        if sample_weight is None:
            return data, None, kept
        weight = check_weights(sample_weight, len(kept)).astype(np.float64)
        kept = weight > 0
        part = data.take(kept)
        if data.n_target and not part.n_target:
            raise DomainError(
                "sample_weight is zero in every target row, and a row of weight 0 is "
                "left out: give one a positive weight."
            )
        self._check_capable(part)
        return part, weight[kept], kept

    def _budget(self, data):
        """Return how long a fit on these rows trains."""
        return find_budget(
            self.epoch_size or epoch_size_of(data),
            self.batch_size,
            max_epochs=self.max_epochs,
            max_steps=self.max_steps,
        )

    def _scaled_rows(self, data):
        """Return the mask of the rows that the scales are learned from."""
        source, labeled, target = self._roles(data)
        return source | labeled | target

    def _choose_held_out(self, data):
        """Return the mask of the rows whose labels early stopping looks at."""
        pool = self._validation_pool(data)
        n, n_valid = pool.sum(), int(pool.sum() * self.validation_fraction)
        nobody = np.zeros_like(pool)
        if self.early_stopping is False or (
            self.early_stopping == "auto" and n < _ENOUGH_LABELS
        ):
            return nobody
        if not 1 <= n_valid < n:
            raise ValueError(
                "early_stopping=True with validation_fraction="
                f"{self.validation_fraction} leaves nothing to validate or to learn "
                f"from {n} labeled rows; set early_stopping=False."
            )
        nobody[self._draw_held_out(data, pool, n_valid)] = True
        return nobody

    def _draw_held_out(self, data, pool, n_valid):
        """Return the positions of the rows of a pool that are held out."""
        rows = np.flatnonzero(pool)
        rows = rows[canonical_order(data.X[rows], data.labels(pool))]
        strata = self._strata(data.y[rows], n_valid)
        return train_test_split(
            rows,
            test_size=n_valid,
            stratify=strata,
            random_state=self._held_out_seed,
        )[1]

    def _validation_pool(self, data):
        """Mask of the rows from which rows for early stopping are held out."""
        return data.is_labeled_target

    def _encode_rows(self, data, weight, held_out, device, budget):
        """Return the rows as tensors, and where they are in the input."""
        masks = self._roles(data)
        weight = self._label_weights(data, weight, masks[0] | masks[1], held_out)
        parts, order, weights = [], [], []
        for mask, with_labels in zip(masks, (True, True, False), strict=True):
            rows = np.flatnonzero(mask)
            y = self._encode(data.labels(mask)) if with_labels else np.zeros(len(rows))
            found = canonical_order(data.X[rows], y)
            order.append(rows[found])
            parts.append(self._encoder.tensor(data.X[order[-1]]))
            if with_labels:
                parts.append(torch.as_tensor(y[found]))
                weights.append(self._as_weight(weight, order[-1]))
        ids = self._source_positions(data.sample_domain[order[0]])
        from_sources = data.is_source[order[0]].any()
        batch = DomainRows(
            *parts,
            torch.as_tensor(ids),
            self.batch_size,
            n_batches=budget.epoch_steps,
            w_source=weights[0],
            w_labeled=weights[1],
            y_target=self._known_labels(data, order[2]),
            n_sources=len(self._source_ids) if from_sources else 0,
            device=device,
        )
        if held_out.any():
            y = self._encode(data.labels(held_out))
            tensors = [self._encoder.tensor(data.X[held_out]), torch.as_tensor(y)]
            tensors.append(self._as_weight(weight, np.flatnonzero(held_out)))
            moved = (None if part is None else part.to(device) for part in tensors)
            batch.validation = cut_held_out(*moved)
        return batch, order[0]

    def _known_labels(self, data, rows):
        """Return encoded labels of target rows, -1 or NaN where there is none."""
        known = data.is_labeled_target & np.isin(np.arange(len(data.labeled)), rows)
        if not known.any():
            return None
        codes = self._encode(data.labels(known))
        y = np.full(len(known), -1 if self._n_classes else np.nan, dtype=codes.dtype)
        y[known] = codes
        return torch.as_tensor(y[rows])

    def _label_weights(self, data, weight, labeled, held_out):
        """Return weights of the rows in the losses of the labels, or None."""
        if weight is None:
            return None
        return weight / weight[labeled].mean()

    def _as_weight(self, weight, rows):
        if weight is None:
            return None
        return torch.as_tensor(weight[rows].astype(self._encoder.dtype_name))

    def _make_trainer(self, rows, device, budget):
        dtype = getattr(torch, self._encoder.dtype_name)
        module = self._make_module(rows).to(dtype)
        self._n_features_out = module.sizes.n_features
        self._prepare_module(module, rows, device, budget)
        for penalty in module.penalties:
            penalty.begin(module)
        trainer = self._trainer_class(
            module,
            self._make_criterion(),
            max_epochs=budget.n_epochs,
            n_steps=budget.n_steps,
            callbacks=self._all_callbacks(module),
            verbose=int(self.verbose),
            device=str(device),
            compile=self.compile,
            **self._trainer_params(),
        )
        return trainer.initialize()

    def _all_callbacks(self, module):
        """Return the callbacks of the user and that of early stopping."""
        callbacks = [*(self.callbacks or [])]
        if self.early_stopping is not False:
            plain = type(module.alignment) is Alignment and not self.gate
            start = 0.0 if plain else module.alignment.settled
            patience = self.n_iter_no_change
            callbacks.append(HeldOutStopping(start, patience=patience))
        return callbacks

    def _renew_trainer(self, warm):
        """Let parameters that were changed between two calls have their effect."""
        optimizer = {
            name: value
            for name, value in self._trainer_params().items()
            if name == "lr" or name.startswith("optimizer")
        }
        followed = [
            *(self.callbacks or []), self.early_stopping is False,
            self.n_iter_no_change, self.verbose,
        ]  # fmt: skip
        if warm and optimizer != self._optimized_by:
            self.net_.renew_optimizer(optimizer)
        if warm and followed != self._followed_by:
            callbacks = self._all_callbacks(self.module_)
            self.net_.renew_callbacks(callbacks, int(self.verbose))
        self._optimized_by, self._followed_by = optimizer, followed
        self._weigh_losses(self.module_)

    def _weigh_losses(self, module):
        """Set the weights of the losses, which may change between two calls."""
        module.largest_mu, module.lambda_ = self.mu, self.source_weight
        for part in module.discriminator, module.gate_discriminator:
            if part is not None:
                part.max_ratio = self.max_weight

    def _prepare_module(self, module, rows, device, budget):
        """Change a new module before its training begins."""

    def _make_module(self, rows):
        """Return the module that is trained; its ``sizes`` hold the widths."""
        return make_module(self, rows, self._n_classes)

    def _make_criterion(self):
        """Return the loss of each row."""
        criterion = make_criterion(
            self.criterion,
            self._params_of("criterion__"),
            self._default_criterion,
            one_output=not self._n_classes,
        )
        return criterion.to(getattr(torch, self._encoder.dtype_name))

    def _trainer_params(self):
        """Return parameters of the trainer of the net itself."""
        return self._training_params()

    def _training_params(self):
        """Return the trainer's parameters that every training of this net shares."""
        return self._optimizer_params() | {
            "mixed_precision": self.mixed_precision,
            "n_classes": self._n_classes,
            "predict_nonlinearity": _proba if self._n_classes else None,
            "train_split": None,
        }

    def _optimizer_params(self):
        """Return the parameters of the optimizer, as skorch takes them."""
        params = self._params_of("optimizer__")
        return {f"optimizer__{name}": value for name, value in params.items()} | {
            "optimizer": self.optimizer or torch.optim.Adam,
            "lr": self.lr,
        }

    def _make_extractor(self, x):
        """Return the extractor, with outputs of shape (n, width), and the width."""
        return make_extractor(self, x)

    def _wanted_companions(self):
        """Return what nets beside this one are wanted for."""
        mean = self.gate if self.ensemble == "auto" else self.ensemble
        return {
            "mean": "stacked" if mean is True else mean,
            "judge": self._wants_judge(),
        }

    def _wants_judge(self):
        """Tell whether a net of the target alone judges source labels."""
        return False

    def _source_weights(self, rows, order, data):
        """Return the final weights of the source rows in input order."""
        weights = np.ones(len(order))
        if self.gate and self.module_.discriminator is not None and rows.sizes[2]:
            found = self.module_.weights_of_source(rows, _ROWS_AT_ONCE)
            weights = found.cpu().double().numpy()
        everywhere = np.zeros(len(data.X))
        everywhere[order] = weights
        return everywhere[data.is_source]

    # -- prediction ------------------------------------------------------------

    @property
    def module_(self):
        """The trained torch module, with ``extractor``, ``head`` and further parts."""
        return self.net_.base_module

    @property
    def shift_(self):
        """Location of each feature, which is taken off before the net sees it."""
        return self._encoder.shift

    @property
    def scale_(self):
        """Scale of each feature, by which it is divided."""
        return self._encoder.scale

    def _chunks(self, X):
        """Yield encoded rows, a part at a time, on the device."""
        for start in range(0, max(len(X), 1), _ROWS_AT_ONCE):
            part = self._encoder.tensor(X[start : start + _ROWS_AT_ONCE])
            yield part.to(self.net_.device)

    def _infer(self, X):
        """Return features and outputs of target rows as arrays."""
        with torch.no_grad():
            chunks = [
                [part.cpu() for part in self.module_.predict(x)]
                for x in self._chunks(X)
            ]
        return (torch.cat(part).numpy() for part in zip(*chunks, strict=True))

    def _outputs(self, X):
        """Return the net's own outputs for target rows as an array."""
        _, outputs = self._infer(X)
        return outputs

    def _transform_domains(self, X, sample_domain):
        features, _ = self._infer(X)
        source = is_source(sample_domain)
        if source.any():
            extractor = self.module_.extractor
            ids = self._positions(extractor, sample_domain[source])
            parts = zip(self._chunks(X[source]), self._cut(ids), strict=True)
            with torch.no_grad():
                chunks = [extract(extractor, x, len(x), k).cpu() for x, k in parts]
            features[source] = torch.cat(chunks).numpy()
        return features.astype(X.dtype, copy=False)

    def _positions(self, extractor, ids):
        """Return the positions of the sources of rows, for layers that ask."""
        known = self._source_ids
        if tells_domains(extractor) and not np.isin(ids, known).all():
            raise DomainError(
                f"sample_domain names the sources {np.unique(ids).tolist()}, but the "
                f"module has layers that tell those of the fit apart: {known.tolist()}."
            )
        return torch.as_tensor(self._source_positions(ids))

    def _cut(self, values):
        """Cut a tensor as rows are cut, on the device."""
        return (part.to(self.net_.device) for part in values.split(_ROWS_AT_ONCE))

    def _validate_X(self, X, tags, *, reset, skip_check=False):
        with naming_the_step(type(self).__name__):
            X = validate_data(
                self, X, reset=reset, dtype=[np.float64, np.float32], allow_nd=True
            )
        if not reset and X.shape[1:] != self._encoder.row_shape:
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but {type(self).__name__} was "
                f"fitted on rows of shape {self._encoder.row_shape}."
            )
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.uses_unlabeled = self._uses_target_rows()
        return tags


def _proba(outputs):
    """Return class probabilities, for callbacks that score them."""
    return outputs.softmax(1)


def _as_columns(history):
    """Return the losses of each epoch by name; NaN where an epoch lacks one."""
    hidden = {"batches", "epoch", "dur"}
    names = dict.fromkeys(name for epoch in history for name in epoch)
    return {
        name.removeprefix("train_"): np.array([e.get(name, np.nan) for e in history])
        for name in names
        if name not in hidden and not name.endswith("_best")
    }


@inherit_parameters()
class TransferNetClassifier(TransferPredictorMixin, ClassifierMixin, TransferNet):
    r"""Neural net with an alignment of domains and a gate, both of choice.

    It minimizes

    .. math::

        E_{T_L} \ell(C(F(x)), y) + \lambda E_S\, \omega(x, y)\, \ell(C(F(x)), y)
        + \mu\, L_{align}

    over the extractor F and the head C, where :math:`\omega = 1` without a gate and
    :math:`\omega = D / (1 - D)`, without gradient, with the discriminator gate [1]_:
    D separates target pairs (features, label) from source pairs, so source rows that do
    not look like the target's count little. The gate is multiplied by the probability
    of the row's label by a net of the target alone, after [2]_, and predictions are
    means over this net, that one and a net without gate and alignment
    (``ensemble``).

    %(sections)s

    See Also
    --------
    DANN : Adversarial alignment.

    Notes
    -----
    In a "stacked" mean this net has a third. Of the rest the net of the target alone
    gets the share w, and the net without gate :math:`1 - w`, that minimize

    .. math::

        \sum_i \| w\,p_A(x_i) + (1 - w)\,p_U(x_i) - y_i \|^2
        + 20\,m\,(w - \tfrac12)^2, \qquad m = \frac1n \sum_i \|p_A - p_U\|^2

    over n labeled target rows that neither was trained with; :math:`y_i` is 1 for the
    class of the row and 0 for the others. It is stacking [3]_ with a prior that is
    worth twenty rows. The gated net is not weighed, which would take twice the time.

    References
    ----------
    .. [1] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.
    .. [2] J. Jiang, C. Zhai, "Instance weighting for domain adaptation in NLP", ACL
       2007.
    .. [3] L. Breiman, "Stacked regressions", Machine Learning 24, 1996.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import TransferNetClassifier
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(60, 2))
    >>> y, domain = (X[:, 0] > 0).astype(int), np.repeat([1, -1], 30)
    >>> y[:20] = 1 - y[:20]  # wrong labels in the source
    >>> net = TransferNetClassifier(gate=True, lr=0.01, max_steps=50, random_state=0)
    >>> weight = net.fit(X, y, sample_domain=domain).sample_weight_
    >>> bool(weight[:20].mean() < weight[20:].mean())
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferNet._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _default_criterion = nn.CrossEntropyLoss

    @property
    def _companion_class(self):
        return TransferNetClassifier

    def _own_answers(self, X):
        """Return this net's own class probabilities of validated rows."""
        return softmax(self._outputs(X), axis=1)

    def _as_answers(self, labels):
        """Return what probabilities would be right."""
        return np.eye(len(self.classes_))[self._encode(labels)]

    def __init__(self, module=None, *, class_weight=None, **params):
        super().__init__(module, **params)
        self.class_weight = class_weight

    def _label_weights(self, data, weight, labeled, held_out):
        weight = super()._label_weights(data, weight, labeled, held_out)
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, dict):
            unknown = [c for c in self.class_weight if c not in self.classes_]
            if unknown:
                raise ValueError(
                    f"class_weight names {unknown[0]!r}, which is not among the "
                    f"classes {self.classes_.tolist()}."
                )
            bad = [v for v in self.class_weight.values() if not 0 <= v < np.inf]
            if bad:
                raise ValueError(
                    f"class_weight must hold numbers in [0, inf), got {bad[0]!r}."
                )
            if not any(self.class_weight.get(c, 1.0) for c in self.classes_.tolist()):
                raise ValueError(
                    f"class_weight={self.class_weight!r} is 0 for every class: give "
                    "one a positive weight."
                )
        of_class = np.ones(len(data.labeled))
        for part in self._class_parts(data, labeled, held_out):
            if not part.any():
                continue
            known, place = np.unique(data.labels(part), return_inverse=True)
            if isinstance(self.class_weight, dict):  # a part may lack a class
                given = [self.class_weight.get(c, 1.0) for c in known.tolist()]
                of_class[part] = np.array(given)[place]
            else:
                of_class[part] = len(place) / len(known) / np.bincount(place)[place]
        return of_class if weight is None else weight * of_class

    def _wants_judge(self):
        return self.gate if self.agreement == "auto" else self.agreement

    def _class_parts(self, data, labeled, held_out):
        """Return masks of the rows that count by class frequencies of their own."""
        return data.is_source & labeled, data.is_target & labeled, held_out

    @property
    def _n_classes(self):
        return len(self.classes_)

    def _learn_labels(self, data, classes, weight):
        if classes is None:
            source, labeled, _ = self._roles(data)
            classes = data.labels(source | labeled)
            check_classification_targets(classes)
        self.classes_ = np.unique(classes)

    def _encode(self, labels):
        known = np.isin(labels, self.classes_)
        if not known.all():
            raise ValueError(
                f"y holds the class {labels[~known].tolist()[0]!r}, which is not among "
                f"the classes {self.classes_.tolist()} that the net was set up for."
            )
        return np.searchsorted(self.classes_, labels)

    def _strata(self, labels, n_valid):
        counts = np.unique(labels, return_counts=True)[1]
        possible = counts.min() > 1 and n_valid >= len(counts)
        return labels if possible and len(labels) - n_valid >= len(counts) else None

    def predict_proba(self, X):
        """Predict class probabilities of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Target rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in [0, 1], in the order of ``classes_``.
        """
        return np.exp(self._log_proba(self._validate_rows(X)))

    def predict_log_proba(self, X):
        """Predict logarithms of class probabilities of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Target rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Natural logarithms, in the order of ``classes_``.
        """
        return self._log_proba(self._validate_rows(X))

    def predict(self, X):
        """Predict the class of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            The most probable classes.
        """
        found = self._log_proba(self._validate_rows(X))
        return self.classes_[found.argmax(axis=1)]

    def _log_proba(self, X):
        """Return logarithms of the class probabilities of validated rows."""
        own = log_softmax(self._outputs(X), axis=1)
        if not self._companions.in_mean:
            return own
        return self._companions.mean_log_proba(own, X, self.classes_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.regression = False
        return tags


@inherit_parameters()
class TransferNetRegressor(TransferPredictorMixin, RegressorMixin, TransferNet):
    r"""Neural net for regression with an alignment of domains and a gate, of choice.

    As :class:`TransferNetClassifier` with the squared error; labels are scaled to
    mean 0 and variance 1 over the rows that the net learns from.

    %(sections)s

    See Also
    --------
    TransferNetClassifier : The same for classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import TransferNetRegressor
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> domain = np.tile([1, -1], 40)
    >>> net = TransferNetRegressor(lr=0.01, max_steps=150, random_state=0)
    >>> y = np.abs(X[:, 0])
    >>> net.fit(X, y, sample_domain=domain).score(X, y) > 0.9
    True
    """

    _default_criterion = nn.MSELoss
    _n_classes = 0

    @property
    def _companion_class(self):
        return TransferNetRegressor

    def _own_answers(self, X):
        """Return this net's own labels of validated rows as a column."""
        return self._predict_label(X)[:, None]

    def _as_answers(self, labels):
        """Return the labels as a column."""
        return labels.astype(np.float64)[:, None]

    def _learn_labels(self, data, classes, weight):
        if classes is not None:
            raise ValueError("classes must be None in regression.")
        source, labeled, _ = self._roles(data)
        y = data.labels(source | labeled)
        weight = np.ones(len(y)) if weight is None else weight[source | labeled]
        order = np.lexsort((weight, y))  # sorted: rounding depends on the order
        y, weight = y[order], weight[order]
        self.label_shift_ = np.average(y, weights=weight)
        spread = np.sqrt(np.average((y - self.label_shift_) ** 2, weights=weight))
        self.label_scale_ = spread if y[0] < y[-1] else 1.0

    def _encode(self, labels):
        return ((labels - self.label_shift_) / self.label_scale_).astype(
            self._encoder.dtype_name
        )

    def _strata(self, labels, n_valid):
        return None

    def predict(self, X):
        """Predict the label of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Predicted values, in the unit of ``y``.
        """
        X = self._validate_rows(X)
        own = self._predict_label(X)
        companions = self._companions
        return companions.mean_label(own, X) if companions.in_mean else own

    def _predict_label(self, X):
        """Return this net's own label of validated rows, in the unit of ``y``."""
        return self._outputs(X)[:, 0] * self.label_scale_ + self.label_shift_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.classification = False
        return tags
