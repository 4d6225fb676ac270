"""Two nets and rows that both see: the template of DATN and WSDTN."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._column_blocks import PairedBlocksMixin
from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order
from sktransfer.base import TransferPredictorMixin, TransferTransformer
from sktransfer.deep._datn_nets import (
    ACTIVATIONS,
    GroupModule,
    GroupRows,
    Pathway,
    Side,
    check_hidden,
    intra_losses,
    train_groups,
)
from sktransfer.deep._device import find_device, with_gradients
from sktransfer.deep._trainer import SCORES, each_callback, reads_held_out
from sktransfer.exceptions import DomainError

__all__ = ["PairedNet"]


def _scale(block, scaler):
    return block if scaler is None else scaler.transform(block)


class PairedNet(
    PairedBlocksMixin,
    TransferPredictorMixin,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransferTransformer,
):
    """Template: each domain's autoencoder and softmax, then a descent on both.

    A subclass has the descent, ``_descend``, and what it predicts with.
    """

    __metadata_request__fit_transform = {"sample_domain": True, "sample_pair": True}

    _parameter_constraints: dict = {
        **PairedBlocksMixin._column_blocks_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "source_hidden": ["array-like", None],
        "target_hidden": ["array-like", None],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "standardize": ["boolean"],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "pretrain_iter": [Interval(Integral, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "fine_tuning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "callbacks": [None, list],
        "verbose": [Interval(Integral, 0, None, closed="left"), "boolean"],
        "device": [str],
        "random_state": ["random_state"],
    }

    #: what pairs teach, and what to do without, for messages
    _learned = "the similarity of both domains"
    _way_out = ""

    def __init__(
        self,
        source_columns,
        target_columns,
        *,
        n_components,
        source_hidden,
        target_hidden,
        activation,
        standardize,
        weight_decay,
        pretrain_iter,
        max_iter,
        learning_rate,
        fine_tuning_rate,
        batch_size,
        callbacks,
        verbose,
        device,
        random_state,
    ):
        self.source_columns = source_columns
        self.target_columns = target_columns
        self.n_components = n_components
        self.source_hidden = source_hidden
        self.target_hidden = target_hidden
        self.activation = activation
        self.standardize = standardize
        self.weight_decay = weight_decay
        self.pretrain_iter = pretrain_iter
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.fine_tuning_rate = fine_tuning_rate
        self.batch_size = batch_size
        self.callbacks = callbacks
        self.verbose = verbose
        self.device = device
        self.random_state = random_state

    def fit_transform(self, X, y=None, sample_domain=None, sample_pair=None):
        """Fit and represent the same rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,)
            Labels, as in ``fit``.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain ids, as in ``fit``.
        sample_pair : array-like of shape (n_samples,), default=None
            Names of the objects, as in ``fit``.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            Representations in the space of the source, in input order.
        """
        fitted = self.fit(X, y, sample_domain=sample_domain, sample_pair=sample_pair)
        return fitted.transform(X, sample_domain=sample_domain)

    @with_gradients
    def _fit_domains(self, data):
        device = find_device(self.device)
        self._check_callbacks()
        self._set_columns()
        self.transferred_ = data.n_source > 0
        has_source, has_target, named = self._check_blocks(data)
        codes = self._encode_labels(data)
        used = np.union1d(self.source_columns_, self.target_columns_)
        order = canonical_order(data.X[:, used], data.is_source, has_source, codes)
        data, codes = data.take(order), codes[order]
        named = named if named is None else np.argsort(order)[named]
        pairs = self._find_pairs(has_source[order], has_target[order], named)
        rng = check_random_state(self.random_state)
        source, target = self._make_pathways(rng, data.X.dtype, device)
        target_side, self._target_scaler = self._make_side(
            data, codes, data.is_target, has_target[order], self.target_columns_, device
        )
        self.history_ = {}
        self._initialize(target, target_side, "target", rng, device)
        if self.transferred_:
            source_side, self._source_scaler = self._make_side(
                data, codes, data.is_source, has_source[order], self.source_columns_,
                device,
            )  # fmt: skip
            self._initialize(source, source_side, "source", rng, device)
            if named is not None:
                # a paired target row shows its partner to the source's extractor
                source_side.X[named[1]] = source_side.X[named[0]]
            sides = source_side, target_side
            self._descend((source, target), sides, pairs, rng, device)
        self.source_module_ = source.cpu() if self.transferred_ else None
        self.target_module_ = target.cpu()

    @property
    def _classifies_with_source(self):
        """Whether the labels of the source classify the target."""
        return self.transferred_

    def _check_callbacks(self):
        """Refuse callbacks that ask for outputs or held-out rows."""
        for callback in each_callback(self.callbacks):
            if reads_held_out(callback) or isinstance(callback, SCORES):
                raise ValueError(
                    f"callbacks hold {type(callback).__name__}, which looks at outputs "
                    f"or held-out rows; {type(self).__name__} records the losses of "
                    "training alone: monitor 'train_loss'."
                )

    def _sizes(self, name, width, top):
        """Return the units of each layer of the encoder of a domain."""
        return [width, *check_hidden(getattr(self, f"{name}_hidden"), name, width), top]

    def _check_blocks(self, data):
        """Return the masks of the rows that have each block, and the named pairs."""
        has_source, has_target = self._find_blocks(data)
        both = has_source & has_target
        named = self._named_pairs(self._pair_names, data, both)
        if self._classifies_with_source and named is None and not both.any():
            raise DomainError(
                f"No row of X has both blocks, but {type(self).__name__} learns "
                f"{self._learned} from such pairs. Give some rows both, name pairs of "
                f"rows by sample_pair{self._way_out}."
            )
        return has_source, has_target, named

    def _encode_labels(self, data):
        """Set ``classes_`` and return the class of each row, -1 where unlabeled."""
        of_sources = data.is_source & data.labeled
        if self._classifies_with_source and not of_sources.any():
            raise DomainError(
                f"y holds no label of a source row, but {type(self).__name__} "
                f"transfers the classifier of the source. Give some{self._way_out}."
            )
        labels = data.labels(data.labeled)
        check_classification_targets(labels)
        self.classes_, known = np.unique(labels, return_inverse=True)
        codes = np.full(len(data.labeled), -1)
        codes[data.labeled] = known
        return codes

    def _find_pairs(self, has_source, has_target, named):
        """Return the rows that teach the map; of two paired rows that of the target."""
        pair = has_source & has_target
        if named is not None:
            pair = pair & (not self._one_space)
            pair[named[1]] = True
        pairs = np.flatnonzero(pair & self._classifies_with_source)
        self.n_pairs_ = len(pairs)
        return pairs

    def _make_pathways(self, rng, dtype, device):
        """Draw the nets of the source and of the target."""
        widths = {
            "source": self.source_columns_.size,
            "target": self.target_columns_.size,
        }
        top = self.n_components or int(np.clip(max(widths.values()), 16, 64))
        self._n_features_out = top
        seed = int(rng.randint(np.iinfo(np.int32).max))
        pathways = {}
        # drawn on the CPU, so that a seed means the same on every device; the target
        # first, so that it begins alike with and without a source
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for name in ("target", "source"):
                pathways[name] = Pathway(
                    self._sizes(name, widths[name], top),
                    len(self.classes_),
                    activation=self.activation,
                ).to(device, torch.float32 if dtype == np.float32 else torch.float64)
        return pathways["source"], pathways["target"]

    def _make_side(self, data, codes, own, has, columns, device):
        """Collect the rows of a domain; in one feature space only its own."""
        members = np.flatnonzero(own if self._one_space else has)
        block = data.X[:, columns]
        scaler = StandardScaler().fit(block[members]) if self.standardize else None
        scaled = np.nan_to_num(_scale(block, scaler))
        side = Side(
            X=torch.as_tensor(scaled, device=device),
            members=members,
            labeled=np.flatnonzero(own & data.labeled),
            codes=torch.as_tensor(codes, device=device),
        )
        return side, scaler

    def _initialize(self, pathway, side, name, rng, device):
        """Train the autoencoder and the softmax of one domain."""
        history = train_groups(
            GroupModule(
                [pathway],
                partial(intra_losses, pathway, side),
                {"regularization": self.weight_decay},
            ),
            GroupRows([side.members, side.labeled], self.batch_size, rng),
            self.pretrain_iter,
            lr=self.learning_rate,
            device=device,
            callbacks=() if self.transferred_ else self.callbacks or (),
            verbose=self.verbose,
        )
        for loss, values in history.items():
            self.history_[f"{name}_{loss}"] = values
        self.n_iter_ = len(history.get("objective", ()))

    def _run(
        self, trained, losses_of, weights, groups, rng, device, *, begin=None,
        stopping=(),
    ):  # fmt: skip
        """Descend on the losses of groups of rows of both domains."""
        history = train_groups(
            GroupModule(trained, losses_of, weights, begin),
            GroupRows(groups, self.batch_size, rng),
            self.max_iter,
            lr=self.fine_tuning_rate,
            device=device,
            callbacks=[*(self.callbacks or ()), *stopping],
            verbose=self.verbose,
        )
        self.history_ |= history
        self.n_iter_ = len(history.get("objective", ()))

    def predict(self, X):
        """Predict the classes of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows; only the target's block is read.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            The most probable class of each row.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def _represent_each(self, X, source):
        """Encode the rows of each domain with its own extractor."""
        if source.any() and not self.transferred_:
            raise DomainError(
                f"sample_domain names source rows, but {type(self).__name__} was "
                "fitted without any, so it has no representation of them."
            )
        Z = np.empty((len(X), self._n_features_out), dtype=X.dtype)
        for name, rows in ("source", source), ("target", ~source):
            if rows.any():
                Z[rows] = self._represent(X, rows, name)
        return Z

    def _represent(self, X, rows, domain):
        """Encode rows with the extractor of a domain."""
        block = _scale(
            self._block_of(X, rows, domain), getattr(self, f"_{domain}_scaler")
        )
        encoder = getattr(self, f"{domain}_module_").encoder
        dtype = encoder[0].weight.dtype
        with torch.no_grad():
            return encoder(torch.as_tensor(block, dtype=dtype)).numpy()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = not self._one_space
        tags.transfer_tags.multi_source = False
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.unlabeled_sources = True
        tags.transfer_tags.regression = False
        return tags
