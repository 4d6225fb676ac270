"""Deep asymmetric transfer between two feature spaces (DATN)."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from torch import nn

from sktransfer._column_blocks import PairedBlocksMixin
from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order
from sktransfer.base import TransferPredictorMixin, TransferTransformer
from sktransfer.deep._datn_nets import (
    ACTIVATIONS,
    PATIENCE,
    Pathway,
    Progress,
    Side,
    as_index,
    check_hidden,
    cross_losses,
    draw_batches,
    intra_losses,
    one_pass,
    solve_map,
)
from sktransfer.deep._device import find_device
from sktransfer.exceptions import DomainError, warn

__all__ = ["DATN"]


def _scale(block, scaler):
    return block if scaler is None else scaler.transform(block)


class DATN(
    PairedBlocksMixin,
    TransferPredictorMixin,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransferTransformer,
):
    r"""Deep asymmetric transfer network: learn in one feature space, use in another.

    Each domain has an extractor of its own, initialized as an autoencoder with a
    softmax on top. Rows that are described in both feature spaces then teach a map
    from the target's representations to the source's, and the classifier of the
    source is used, and refined, on mapped target rows.

    Parameters
    ----------
    source_columns, target_columns : int, str, slice, array-like or None, default=None
        The two blocks of columns: positions, a slice, a boolean mask, or names if X
        is a dataframe. A row that lacks a block holds NaN in all of its columns; a
        row with both blocks is a pair. Columns in no block are ignored. None for
        both: one feature space, and each row is its own pair (see Notes).
    variant : {"full", "supervised", "unsupervised"}, default="full"
        "supervised" leaves out the term of the distributions; "unsupervised" leaves
        out pairs and the source's classifier, and keeps the target's own.
    n_components : int in [1, inf) or None, default=None
        Units of the representations. None: the wider block's number of columns, but
        16 at least and 64 at most.
    source_hidden, target_hidden : tuple of int or None, default=None
        Units of the layers between block and representation. None: one layer, as wide
        as the block, but 16 units at least and 256 at most.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of every layer but the decoder's last, which is linear.
    standardize : bool, default=True
        Scale the columns of each block to mean 0 and variance 1 over the rows that
        have it.
    alpha : float in [0, inf), default=2.0
        Weight of the classification of labeled target rows.
    beta : float in [0, inf), default=1.0
        Weight of the distance between the distributions.
    map_penalty : float in (0, inf), default=0.1
        Ridge penalty :math:`\lambda_0` of the map.
    weight_decay : float in [0, inf), default=1e-4
        Weight :math:`\lambda` of the squared weights and biases of the extractors.
    pretrain_iter : int in [0, inf), default=100
        Passes over the rows in the initialization of each domain.
    max_iter : int in [1, inf), default=20
        Iterations of the descent at most: one solution for the map, then one pass
        over the rows for the nets.
    tol : float in [0, inf) or None, default=None
        The descent ends when its objective has not fallen by this share of itself for
        10 iterations. None: it always takes `max_iter` iterations.
    learning_rate : float in (0, inf), default=1e-3
        Step of Adam in the initialization.
    fine_tuning_rate : float in (0, inf), default=1e-4
        Step of Adam in the descent. Small steps keep what was learned from the source:
        few labeled target rows are soon overfitted.
    batch_size : int in [1, inf), default=256
        Rows of a group (pairs, rows of a domain, labeled rows) in a step. A group that
        is not larger takes part whole, without chance.
    device : str, default="auto"
        Where to train: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ...
    random_state : int, RandomState instance or None, default=None
        Seed of the first weights and of the batches.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of the source and of the target.
    G_ : ndarray of shape (n_components, n_components)
        Map from the target's representations to the source's; the identity for
        ``variant="unsupervised"`` and without source rows.
    transferred_ : bool
        Whether there were source rows.
    n_pairs_ : int
        Number of pairs that were used.
    history_ : dict of str to ndarray
        Unweighted losses of each pass, averaged over its steps, and the objective.
        Those of the initialization begin with ``source_`` or ``target_``.
    n_iter_ : int
        Iterations of the descent; without source rows those of the initialization.
    source_module_ : Module or None
        Nets of the source (``encoder``, ``decoder``, ``softmax``), on the CPU; None
        without source rows.
    target_module_ : Module
        Nets of the target.
    source_columns_, target_columns_ : ndarray of shape (n_block,)
        Positions of the blocks.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If `tol` is given and `max_iter` iterations do not reach it.

    See Also
    --------
    sktransfer.baselines.Pooled : Both domains in one feature space.

    Notes
    -----
    With :math:`z_i` the representation of row i, and :math:`Z^c` those of the pairs,
    the descent [1]_ is on

    .. math::

        J = \tfrac{1}{n_c} \left( \|Z_S^c - Z_T^c G\|_F^2 + \lambda_0 \|G\|_F^2
        \right) + \alpha \, \mathrm{CE}(y_T, \mathrm{softmax}(Z_T G \vartheta_S))
        + \beta \, \|\bar z_S - \bar z_T\|^2 + \lambda \sum \|W\|_F^2 + \|b\|^2

    An iteration solves the first term for the map,
    :math:`G = (Z_T^{c\prime} Z_T^c + \lambda_0 I)^{-1} Z_T^{c\prime} Z_S^c`, with all
    pairs, and then takes gradient steps on J for both extractors and the source's
    softmax :math:`\vartheta_S`. As in the paper the map ignores the term of
    :math:`\alpha`, so its step lowers the first term but not always J. The first term
    is a mean over pairs here, and the error of reconstruction one over entries: the
    paper's sums grow with the rows, its batches are not stated, and the map is the
    same. Adam replaces the paper's gradient descent with momentum.

    J holds no label of a source row. Long descents and large steps therefore unlearn
    what the initialization taught the source's softmax, shrink the representations,
    and overfit few labeled target rows; a larger `weight_decay` helps against
    the last.

    A row takes part in both domains with the blocks that it has. Its label belongs to
    its own domain: a labeled pair among the source rows trains the softmax of the
    source, one among the target rows the transferred classifier. Unlabeled rows of
    either domain, whose labels are missing values (NaN, None), are reconstructed and
    count in the distributions; an unlabeled pair may belong to either domain. A pair
    may also be two rows, one of each domain, that ``sample_pair`` in ``fit`` gives the
    same name; each then takes part in its own domain. In
    one feature space (no columns named) both extractors see
    every row, so the map begins as a copy of the source's net on the target's
    representations; reconstruction and means are those of each domain's own rows. With
    ``sample_pair`` only the pairs that it names teach the map.

    Without source rows the estimator is the target's own autoencoder and softmax.

    The paper does not state how its unsupervised variant classifies. Here it is the
    target's softmax, which the term of :math:`\alpha` keeps trained, with G = I.

    References
    ----------
    .. [1] D. Wang, P. Cui, W. Zhu. Deep asymmetric transfer network for unbalanced
       domain adaptation. AAAI Conference on Artificial Intelligence 32, 2018.
       :doi:`10.1609/aaai.v32i1.11267`

    Examples
    --------
    Texts (columns 0 and 1) are labeled. Images (columns 2 to 4) are to be classified:
    twenty are unlabeled but come with a text, and none is labeled.

    >>> import numpy as np
    >>> from sktransfer.deep import DATN
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(80) % 2
    >>> latent = (2 * y - 1)[:, None] + 0.3 * rng.normal(size=(80, 2))
    >>> X = np.hstack([latent, latent @ rng.normal(size=(2, 3))])
    >>> domain = np.repeat([1, -1], [40, 40])
    >>> X[:40, 2:] = np.nan
    >>> X[60:, :2] = np.nan
    >>> marked = np.where(domain == 1, y, np.nan)
    >>> net = DATN([0, 1], [2, 3, 4], random_state=0)
    >>> net = net.fit(X[:60], marked[:60], sample_domain=domain[:60])
    >>> net.n_pairs_
    20
    >>> net.score(X[60:], y[60:])
    1.0

    The same with the pairs as two rows each, which ``sample_pair`` names:

    >>> texts, images = X[40:60].copy(), X[40:60].copy()
    >>> texts[:, 2:], images[:, :2] = np.nan, np.nan
    >>> X = np.vstack([X[:40], texts, images])
    >>> domain, name = np.repeat([1, -1], [60, 20]), np.r_[[np.nan] * 40, :20, :20]
    >>> net = net.set_params(pretrain_iter=2, max_iter=1)  # to save time here
    >>> net = net.fit(X, np.r_[y[:60], [np.nan] * 20], domain, sample_pair=name)
    >>> net.n_pairs_
    20
    """

    __metadata_request__fit_transform = {"sample_domain": True, "sample_pair": True}

    _parameter_constraints: dict = {
        **PairedBlocksMixin._column_blocks_constraints,
        "variant": [StrOptions({"full", "supervised", "unsupervised"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "source_hidden": ["array-like", None],
        "target_hidden": ["array-like", None],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "standardize": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "map_penalty": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "pretrain_iter": [Interval(Integral, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "fine_tuning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        source_columns=None,
        target_columns=None,
        *,
        variant="full",
        n_components=None,
        source_hidden=None,
        target_hidden=None,
        activation="relu",
        standardize=True,
        alpha=2.0,
        beta=1.0,
        map_penalty=0.1,
        weight_decay=1e-4,
        pretrain_iter=100,
        max_iter=20,
        tol=None,
        learning_rate=1e-3,
        fine_tuning_rate=1e-4,
        batch_size=256,
        device="auto",
        random_state=None,
    ):
        self.source_columns = source_columns
        self.target_columns = target_columns
        self.variant = variant
        self.n_components = n_components
        self.source_hidden = source_hidden
        self.target_hidden = target_hidden
        self.activation = activation
        self.standardize = standardize
        self.alpha = alpha
        self.beta = beta
        self.map_penalty = map_penalty
        self.weight_decay = weight_decay
        self.pretrain_iter = pretrain_iter
        self.max_iter = max_iter
        self.tol = tol
        self.learning_rate = learning_rate
        self.fine_tuning_rate = fine_tuning_rate
        self.batch_size = batch_size
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

    def _fit_domains(self, data):
        device = find_device(self.device)
        self._set_columns()
        has_source, has_target, named = self._check_blocks(data)
        self.transferred_ = data.n_source > 0
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
        self._initialize(target, target_side, "target", rng)
        self.G_ = np.eye(self._n_features_out, dtype=data.X.dtype)
        if self.transferred_:
            source_side, self._source_scaler = self._make_side(
                data, codes, data.is_source, has_source[order], self.source_columns_,
                device,
            )  # fmt: skip
            self._initialize(source, source_side, "source", rng)
            if named is not None:
                # a paired target row shows its partner to the source's extractor
                source_side.X[named[1]] = source_side.X[named[0]]
            self._descend((source, target), (source_side, target_side), pairs, rng)
        self.source_module_ = source.cpu() if self.transferred_ else None
        self.target_module_ = target.cpu()

    @property
    def _classifies_with_source(self):
        return self.transferred_ and self.variant != "unsupervised"

    def _check_blocks(self, data):
        """Return the masks of the rows that have each block, and the named pairs."""
        has_source, has_target = self._find_blocks(data)
        both = has_source & has_target
        named = self._named_pairs(self._pair_names, data, both)
        needs_pairs = data.n_source > 0 and self.variant != "unsupervised"
        if needs_pairs and named is None and not both.any():
            raise DomainError(
                "No row of X has both blocks, but DATN learns its map from such pairs. "
                "Give some rows both, name pairs of rows by sample_pair, or use "
                "variant='unsupervised'."
            )
        return has_source, has_target, named

    def _encode_labels(self, data):
        """Set ``classes_`` and return the class of each row, -1 where unlabeled."""
        of_sources = data.is_source & data.labeled
        if self._classifies_with_source and not of_sources.any():
            raise DomainError(
                "y holds no label of a source row, but DATN transfers the classifier "
                "of the source. Give some, or use variant='unsupervised'."
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
                hidden = check_hidden(
                    getattr(self, f"{name}_hidden"), name, widths[name]
                )
                pathways[name] = Pathway(
                    [widths[name], *hidden, top],
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

    # skorch's loop takes one step on one loss per batch; here a closed form over all
    # pairs alternates with steps on batches of several groups of rows.
    def _initialize(self, pathway, side, name, rng):
        """Train the autoencoder and the softmax of one domain."""
        adam = torch.optim.Adam(pathway.parameters(), lr=self.learning_rate)
        weights = {"regularization": self.weight_decay}
        groups = [side.members, side.labeled]
        history = []
        for _ in range(self.pretrain_iter):
            batches = draw_batches(groups, self.batch_size, rng)
            losses = partial(intra_losses, pathway, side)
            history.append(one_pass(adam, losses, weights, batches))
        self._record(history, f"{name}_")
        self.n_iter_ = self.pretrain_iter

    def _descend(self, pathways, sides, pairs, rng):
        """Alternate the closed form of the map and a pass of gradient steps."""
        source, target = pathways
        classifier = (source if self._classifies_with_source else target).softmax
        trained = nn.ModuleList([source.encoder, target.encoder, classifier])
        adam = torch.optim.Adam(trained.parameters(), lr=self.fine_tuning_rate)
        weights = self._weights()
        groups = [pairs, sides[0].members, sides[1].members, sides[1].labeled]
        history, progress = [], Progress(self.tol)
        while len(history) < self.max_iter and not progress.stalled:
            G = self._best_map(pathways, sides, pairs)
            losses = partial(cross_losses, source, target, G, classifier, sides)
            batches = draw_batches(groups, self.batch_size, rng)
            history.append(one_pass(adam, losses, weights, batches))
            progress.update(history[-1]["objective"])
        self._record(history, "")
        self.n_iter_ = len(history)
        self.G_ = G.cpu().numpy()
        if self.tol is not None and not progress.stalled:
            warn(
                f"DATN has not converged in max_iter={self.max_iter} iterations: in "
                f"the last {PATIENCE} the objective fell by "
                f"{progress.residual:.1e} of itself, tol={self.tol:g}.",
                ConvergenceWarning,
            )

    def _weights(self):
        """Return the weight of each loss in the objective."""
        full = self._classifies_with_source
        return {
            "pair": 1.0 if full else 0.0,
            "map": self.map_penalty / self.n_pairs_ if full else 0.0,
            "classification": self.alpha,
            "mmd": 0.0 if self.variant == "supervised" else self.beta,
            "regularization": self.weight_decay,
        }

    @torch.no_grad()
    def _best_map(self, pathways, sides, pairs):
        """Solve for the map, or return the identity where no pair teaches one."""
        rows = as_index(pairs, sides[0].X)
        if not len(pairs):
            return torch.as_tensor(self.G_, device=sides[0].X.device)
        Z_source, Z_target = (
            pathway.encoder(side.X[rows])
            for pathway, side in zip(pathways, sides, strict=True)
        )
        return solve_map(Z_source, Z_target, self.map_penalty)

    def _record(self, history, prefix):
        names = history[0] if history else ()
        for name in names:
            self.history_[prefix + name] = np.array([h[name] for h in history])

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

    def predict_proba(self, X):
        """Predict class probabilities of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows; only the target's block is read.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in [0, 1], in the order of ``classes_``.
        """
        X = self._validate_rows(X)
        source = self._classifies_with_source
        module = self.source_module_ if source else self.target_module_
        weight = module.softmax.weight.detach().numpy()
        Z = self._transform(X, np.zeros(len(X), dtype=bool))
        return softmax(Z @ weight.T, axis=1)

    def _transform(self, X, source):
        """Represent target rows in the source's space, source rows as they are."""
        Z = np.empty((len(X), self._n_features_out), dtype=X.dtype)
        target = ~source
        if source.any() and not self.transferred_:
            raise DomainError(
                "sample_domain names source rows, but DATN was fitted without any, so "
                "it has no representation of them."
            )
        if source.any():
            Z[source] = self._represent(X, source, "source")
        if target.any():
            Z[target] = self._represent(X, target, "target") @ self.G_
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
