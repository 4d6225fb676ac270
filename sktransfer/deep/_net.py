"""The scikit-learn side of every net: validation, encoding, fit and prediction."""

import copy
import inspect
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
from skorch.callbacks import EarlyStopping
from torch import nn

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order
from sktransfer.base import TransferPredictorMixin, TransferTransformer
from sktransfer.deep._alignment import Alignment, Sizes
from sktransfer.deep._device import find_device
from sktransfer.deep._discriminator import DomainDiscriminator
from sktransfer.deep._modules import MLP
from sktransfer.deep._parameters import ModuleParametersMixin, inherit_parameters
from sktransfer.deep._rows import DomainRows
from sktransfer.deep._trainer import TransferTrainer
from sktransfer.deep._transfer_module import TransferModule

__all__ = ["TRANSFER_PARAMETERS", "TransferNetClassifier", "TransferNetRegressor"]

#: parameters of alignment and gate, for nets that have neither
TRANSFER_PARAMETERS = (
    "alignment", "gate", "label_input", "max_weight", "gate_smoothing", "mu",
    "source_weight",
)  # fmt: skip

_ROWS_AT_ONCE = 8192
_ENOUGH_LABELS = 200


class TransferNet(
    ModuleParametersMixin, ClassNamePrefixFeaturesOutMixin, TransferTransformer
):
    """Template of nets; a named net overrides ``_make_alignment``.

    Its parameters and attributes are described in ``_parameters.py``.
    """

    _parameter_constraints: ClassVar[dict] = {
        "module": [None, nn.Module, callable],
        "head": [None, nn.Module, callable],
        "alignment": [None, Alignment],
        "gate": ["boolean"],
        "label_input": ["boolean", StrOptions({"auto"})],
        "max_weight": [Interval(Real, 0, None, closed="right")],
        "gate_smoothing": [Interval(Real, 0, None, closed="left")],
        "mu": [Interval(Real, 0, None, closed="left")],
        "source_weight": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [None, callable],
        "standardize": ["boolean"],
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

    def __init__(
        self,
        module=None,
        *,
        head=None,
        alignment=None,
        gate=False,
        label_input="auto",
        max_weight=10.0,
        gate_smoothing=1.0,
        mu=1.0,
        source_weight=1.0,
        max_epochs=50,
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
        self.label_input = label_input
        self.max_weight = max_weight
        self.gate_smoothing = gate_smoothing
        self.mu = mu
        self.source_weight = source_weight
        self.max_epochs = max_epochs
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

    # -- fit -------------------------------------------------------------------

    def _fit_domains(self, data):
        warm = self.warm_start and hasattr(self, "net_")
        self._train(data, self.max_epochs, warm=warm)

    def partial_fit(self, X, y, sample_domain=None, classes=None):
        """Train one more epoch on these rows.

        The first call sets up the net; the scales of inputs and labels stay as it
        found them. The ramp of ``mu`` takes ``max_epochs`` calls.

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

        Returns
        -------
        self : object
            The net.

        Raises
        ------
        DomainError
            If the rows break the domain contract.
        ValueError
            If a label is not among the classes, or ``classes`` is given in
            regression.
        """
        self._validate_params()
        first = not hasattr(self, "net_")
        data = self._validate_domains(X, y, sample_domain, reset=first)
        self._train(data, 1, warm=not first, classes=classes)
        return self

    def _train(self, data, n_epochs, *, warm, classes=None):
        """Train for some epochs, on from the last fit where ``warm``."""
        device = find_device(self.device)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        cuda = [device] if device.type == "cuda" else []
        data, validation = self._hold_out(data, seed)
        if not warm:
            self._prepare(data, device.type)
            self._learn_labels(data, classes)
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            rows, order = self._to_device(data, validation, device)
            if not warm:
                self.net_ = self._make_trainer(rows, str(device))
            trainer = self.net_
            # as everywhere in skorch, Ctrl-C ends the training and keeps the net
            trainer.partial_fit(rows, None, epochs=n_epochs)
        self.module_.eval()
        self.history_ = _as_columns(trainer.history)
        self.n_iter_ = len(trainer.history)
        self.sample_weight_ = self._source_weights(rows, order, data)

    def _prepare(self, data, kind):
        """Learn classes, scales and dtype from the rows of a first fit."""
        double = self.dtype == "float64" or (
            self.dtype == "auto" and kind == "cpu" and data.X.dtype == np.float64
        )
        self.dtype_ = np.dtype(np.float64 if double else np.float32).name
        self.row_shape_ = data.X.shape[1:]
        source, labeled, target = self._roles(data)
        used = data.X[source | labeled | target]
        axes = tuple(axis for axis in range(used.ndim) if axis != 1)
        # in canonical order, so that rounding does not depend on the order of rows
        used = used[canonical_order(used)]
        if self.standardize:
            self.shift_ = used.mean(axis=axes, keepdims=True)[0]
            spread = used.std(axis=axes, keepdims=True)[0]
            self.scale_ = np.where(spread > 0, spread, 1.0).astype(spread.dtype)
        else:
            self.shift_, self.scale_ = np.zeros(1, used.dtype), np.ones(1, used.dtype)

    def _hold_out(self, data, seed):
        """Hide labels for early stopping; return the rest and the held-out mask."""
        pool = self._validation_pool(data)
        n, n_valid = pool.sum(), int(pool.sum() * self.validation_fraction)
        nobody = np.zeros_like(pool)
        if self.early_stopping is False or (
            self.early_stopping == "auto" and n < _ENOUGH_LABELS
        ):
            return data, nobody
        if not 1 <= n_valid < n:
            raise ValueError(
                "early_stopping=True with validation_fraction="
                f"{self.validation_fraction} leaves nothing to validate or to learn "
                f"from {n} labeled rows; set early_stopping=False."
            )
        rows = np.flatnonzero(pool)
        rows = rows[canonical_order(data.X[rows], data.labels(pool))]
        strata = self._strata(data.y[rows], n_valid)
        held = train_test_split(
            rows, test_size=n_valid, stratify=strata, random_state=seed
        )[1]
        nobody[held] = True
        return data.without_labels(nobody), nobody

    def _validation_pool(self, data):
        """Mask of the rows from which rows for early stopping are held out."""
        return data.is_labeled_target

    def _to_device(self, data, validation, device):
        """Return the rows on the device, and where they are in the input."""
        source, labeled, target = self._roles(data)
        parts, order = [], []
        for mask, with_labels in (source, True), (labeled, True), (target, False):
            rows = np.flatnonzero(mask)
            y = self._encode(data.labels(mask)) if with_labels else np.zeros(len(rows))
            found = canonical_order(data.X[rows], y)
            parts += [
                self._tensor(data.X[rows[found]], device),
                torch.as_tensor(y[found]),
            ]
            order.append(rows[found])
        ids = np.searchsorted(data.sources, data.sample_domain[order[0]])
        parts = [part.to(device) for part in parts]
        batch = DomainRows(*parts[:5], torch.as_tensor(ids).to(device), self.batch_size)
        if validation.any():
            y = self._encode(data.labels(validation))
            y = torch.as_tensor(y).to(device)
            batch.validation = [(self._tensor(data.X[validation], device), y)]
        return batch, order[0]

    def _tensor(self, X, device):
        X = ((X - self.shift_) / self.scale_).astype(self.dtype_, copy=False)
        return torch.as_tensor(np.ascontiguousarray(X)).to(device)

    def _make_trainer(self, rows, device):
        module = self._make_module(rows).to(getattr(torch, self.dtype_))
        callbacks = [*(self.callbacks or [])]
        if rows.validation:
            callbacks.append(
                EarlyStopping(
                    "valid_loss", patience=self.n_iter_no_change, load_best=True
                )
            )
        trainer = TransferTrainer(
            module,
            self._criterion,
            max_epochs=self.max_epochs,
            callbacks=callbacks,
            verbose=int(self.verbose),
            device=device,
            compile=self.compile,
            **self._training_params(module.alignment),
        )
        return trainer.initialize()

    def _training_params(self, alignment):
        """Return the trainer's parameters that every training of this net shares."""
        params = {
            f"optimizer__{k}": v for k, v in self._params_of("optimizer__").items()
        }
        if self.optimizer is None and alignment.adversarial:
            params = {"optimizer__betas": (0.0, 0.99)} | params
        return params | {
            "optimizer": self.optimizer or torch.optim.Adam,
            "lr": self.lr,
            "mixed_precision": self.mixed_precision,
            "train_split": None,
        }

    def _make_module(self, rows):
        """Build extractor, head, alignment and discriminator."""
        extractor, n_features = self._make_extractor(rows.x[:2].to("cpu"))
        n_outputs = self._n_classes or 1
        sizes = Sizes(tuple(self.row_shape_), n_features, n_outputs, self._n_classes)
        self._n_features_out = n_features
        head = self._make_part("head", nn.Linear, n_features, n_outputs)
        alignment = self._make_alignment()
        module = TransferModule(
            extractor, head, alignment, None,
            gate=self.gate, mu=self.mu, source_weight=self.source_weight,
        )  # fmt: skip
        alignment.build(sizes, module)
        if self.gate or alignment.needs_discriminator:
            module.discriminator = self._make_discriminator(
                alignment.gate_width(sizes), rows
            )
        return module

    def _make_discriminator(self, width, rows):
        """Build the discriminator; that of a gate sees features through noise."""
        labels = self.gate if self.label_input == "auto" else self.label_input
        _, n_labeled, n_target = rows.sizes
        n = (n_labeled if labels else 0) or n_target
        scott = n ** (-1 / (width + 4)) if n and self.gate else 0.0
        return DomainDiscriminator(
            width,
            self._n_classes,
            labels=labels,
            max_ratio=self.max_weight,
            noise=self.gate_smoothing * scott,
        )

    def _make_extractor(self, x):
        """Return the extractor, with outputs of shape (n, width), and the width."""
        n_features = int(np.prod(self.row_shape_))
        extractor = self._make_part("module", MLP, n_features=n_features)
        extractor = extractor.to(x.dtype)
        try:
            with torch.no_grad():
                features = extractor.eval()(x)
        except RuntimeError as error:
            raise ValueError(
                f"module={self.module!r} cannot take rows of shape "
                f"{tuple(self.row_shape_)}: {error}"
            ) from error
        rows = isinstance(features, torch.Tensor) and features.ndim > 1
        if not rows or len(features) != len(x):
            raise ValueError(
                f"module={self.module!r} must return one tensor with a row of features "
                "for each row."
            )
        if features.ndim > 2:
            extractor = nn.Sequential(extractor, nn.Flatten())
        return extractor.train(), features[0].numel()

    def _make_part(self, name, default, *args, **kwargs):
        """Copy a module, or call a class with its own arguments and ours."""
        part = getattr(self, name)
        own = self._params_of(f"{name}__")
        if isinstance(part, nn.Module):
            if own:
                raise ValueError(
                    f"{name} is an instance, so {name}__{next(iter(own))} has no "
                    f"effect; give the class and its arguments."
                )
            return copy.deepcopy(part)
        maker = default if part is None else part
        made = None
        if not isinstance(maker, type) or issubclass(maker, nn.Module):
            taken = inspect.signature(maker).parameters
            made = maker(
                *args, **{k: v for k, v in kwargs.items() if k in taken}, **own
            )
        if not isinstance(made, nn.Module):
            raise TypeError(f"{name}={part!r} does not make a torch module.")
        return made

    def _source_weights(self, rows, order, data):
        """Return the final weights of the source rows in input order."""
        weights = np.ones(len(order))
        if self.gate and self.module_.discriminator is not None and rows.sizes[2]:
            found = self.module_.weights_of_source(rows, _ROWS_AT_ONCE)
            weights = found.double().cpu().numpy()
        everywhere = np.zeros(len(data.X))
        everywhere[order] = weights
        return everywhere[data.is_source]

    # -- prediction ------------------------------------------------------------

    @property
    def module_(self):
        """The trained torch module, with ``extractor``, ``head`` and further parts."""
        return self.net_.base_module

    def _infer(self, X):
        """Return features and outputs of target rows as arrays."""
        x, module = self._tensor(X, self.net_.device), self.module_
        with torch.no_grad():
            chunks = [module.predict(part) for part in x.split(_ROWS_AT_ONCE)]
        return (torch.cat(part).cpu().numpy() for part in zip(*chunks, strict=True))

    def _transform(self, X, source):
        features, _ = self._infer(X)
        if source.any():
            x = self._tensor(X[source], self.net_.device)
            with torch.no_grad():
                chunks = [self.module_.extractor(p) for p in x.split(_ROWS_AT_ONCE)]
            features[source] = torch.cat(chunks).cpu().numpy()
        return features.astype(X.dtype, copy=False)

    def _validate_X(self, X, tags, *, reset, skip_check=False):
        X = validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], allow_nd=True
        )
        if not reset and X.shape[1:] != tuple(self.row_shape_):
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but {type(self).__name__} was "
                f"fitted on rows of shape {tuple(self.row_shape_)}."
            )
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.uses_unlabeled = self._uses_target_rows()
        return tags


class _SquaredError(nn.Module):
    """Squared error of each row."""

    def forward(self, output, y):
        """Return the squared errors, shape (n,)."""
        return (output.squeeze(1) - y).square()


class _RowCrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy of each row."""

    def __init__(self):
        super().__init__(reduction="none")


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
    D tells target pairs (features, label) from source pairs, so source rows that do
    not look like the target's count little.

    %(sections)s

    See Also
    --------
    DANN : Adversarial alignment.

    References
    ----------
    .. [1] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import TransferNetClassifier
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(60, 2))
    >>> y, domain = (X[:, 0] > 0).astype(int), np.repeat([1, -1], 30)
    >>> y[:20] = 1 - y[:20]  # wrong labels in the source
    >>> net = TransferNetClassifier(gate=True, lr=0.01, random_state=0)
    >>> weight = net.fit(X, y, sample_domain=domain).sample_weight_
    >>> bool(weight[:20].mean() < weight[20:].mean())
    True
    """

    _criterion = _RowCrossEntropy

    @property
    def _n_classes(self):
        return len(self.classes_)

    def _learn_labels(self, data, classes):
        source, labeled, _ = self._roles(data)
        check_classification_targets(data.labels(source | labeled))
        self.classes_ = np.unique(data.labels(source | labeled))
        if classes is not None:
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
        _, outputs = self._infer(self._validate_rows(X))
        return softmax(outputs, axis=1)

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
        _, outputs = self._infer(self._validate_rows(X))
        return log_softmax(outputs, axis=1)

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
        _, outputs = self._infer(self._validate_rows(X))
        return self.classes_[outputs.argmax(axis=1)]

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
    >>> net = TransferNetRegressor(lr=0.01, random_state=0)
    >>> y = np.abs(X[:, 0])
    >>> net.fit(X, y, sample_domain=domain).score(X, y) > 0.9
    True
    """

    _criterion = _SquaredError
    _n_classes = 0

    def _learn_labels(self, data, classes):
        if classes is not None:
            raise ValueError("classes must be None in regression.")
        source, labeled, _ = self._roles(data)
        y = np.sort(data.labels(source | labeled))  # sorted: rounding knows no order
        self.label_shift_, self.label_scale_ = y.mean(), y.std() or 1.0

    def _encode(self, labels):
        return ((labels - self.label_shift_) / self.label_scale_).astype(self.dtype_)

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
        _, outputs = self._infer(self._validate_rows(X))
        return outputs[:, 0] * self.label_scale_ + self.label_shift_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.classification = False
        return tags
