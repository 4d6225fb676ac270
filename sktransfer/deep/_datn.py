"""Deep asymmetric transfer between two feature spaces (DATN)."""

from numbers import Real

import numpy as np
import torch
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer.deep._datn_nets import (
    PATIENCE,
    StalledStopping,
    as_index,
    cross_losses,
    solve_map,
)
from sktransfer.deep._paired_net import PairedNet
from sktransfer.exceptions import warn

__all__ = ["DATN"]


class DATN(PairedNet):
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
    callbacks : list or None, default=None
        Callbacks of skorch that follow the descent (without source rows the
        initialization), such as a schedule of the step. A pass is an epoch.
    verbose : int in [0, inf), default=0
        1 prints a line for each pass of each training.
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

    _parameter_constraints: dict = {
        **PairedNet._parameter_constraints,
        "variant": [StrOptions({"full", "supervised", "unsupervised"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "map_penalty": [Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
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
        callbacks=None,
        verbose=0,
        device="auto",
        random_state=None,
    ):
        super().__init__(
            source_columns, target_columns,
            n_components=n_components, source_hidden=source_hidden,
            target_hidden=target_hidden, activation=activation,
            standardize=standardize, weight_decay=weight_decay,
            pretrain_iter=pretrain_iter, max_iter=max_iter,
            learning_rate=learning_rate, fine_tuning_rate=fine_tuning_rate,
            batch_size=batch_size, callbacks=callbacks, verbose=verbose,
            device=device, random_state=random_state,
        )  # fmt: skip
        self.variant = variant
        self.alpha = alpha
        self.beta = beta
        self.map_penalty = map_penalty
        self.tol = tol

    _learned = "its map"
    _way_out = ", or use variant='unsupervised'"

    @property
    def _classifies_with_source(self):
        return self.transferred_ and self.variant != "unsupervised"

    def _fit_domains(self, data):
        super()._fit_domains(data)
        if not self.transferred_:
            self.G_ = np.eye(self._n_features_out, dtype=data.X.dtype)

    def _descend(self, pathways, sides, pairs, rng, device):
        """Alternate the closed form of the map and a pass of gradient steps."""
        source, target = pathways
        classifier = (source if self._classifies_with_source else target).softmax
        state = {}

        def solve():
            state["G"] = self._best_map(pathways, sides, pairs)

        def losses_of(batch):
            return cross_losses(source, target, state["G"], classifier, sides, batch)

        stopping = [] if self.tol is None else [StalledStopping(self.tol)]
        self._run(
            [source.encoder, target.encoder, classifier],
            losses_of,
            self._weights(),
            [pairs, sides[0].members, sides[1].members, sides[1].labeled],
            rng,
            device,
            begin=solve,
            stopping=stopping,
        )
        self.G_ = state["G"].cpu().numpy()
        if stopping and not stopping[0].stalled:
            warn(
                f"DATN has not converged in max_iter={self.max_iter} iterations: in "
                f"the last {PATIENCE} the objective fell by "
                f"{stopping[0].residual:.1e} of itself, tol={self.tol:g}.",
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
        like = sides[0].X
        if not len(pairs):
            return torch.eye(self._n_features_out, dtype=like.dtype, device=like.device)
        rows = as_index(pairs, like)
        Z_source, Z_target = (
            pathway.encoder(side.X[rows])
            for pathway, side in zip(pathways, sides, strict=True)
        )
        return solve_map(Z_source, Z_target, self.map_penalty)

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
        Z = self._represent_each(X, source)
        Z[~source] = Z[~source] @ self.G_
        return Z
