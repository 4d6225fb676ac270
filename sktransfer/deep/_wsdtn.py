"""Weakly shared deep transfer networks (WSDTN)."""

from numbers import Real

import numpy as np
import torch
from scipy.special import softmax
from torch.nn import functional as F

from sktransfer._compat import Interval
from sktransfer.deep._datn_nets import (
    as_index,
    check_hidden,
    cross_entropy,
    encode,
    squared_weights,
)
from sktransfer.deep._paired_net import PairedNet

__all__ = ["WSDTN"]


class WSDTN(PairedNet):
    r"""Weakly shared deep transfer networks: two nets whose upper layers are alike.

    Each domain has an extractor of its own, initialized as an autoencoder with a
    softmax on top. Then the upper layers of both are drawn together, rows that are
    described in both feature spaces become similar, and source rows vote for the
    classes of target rows by the similarity of their representations. Both domains
    move, where :class:`DATN` maps the target to the source.

    Parameters
    ----------
    source_columns, target_columns : int, str, slice, array-like or None, default=None
        The two blocks of columns: positions, a slice, a boolean mask, or names if X is
        a dataframe. A row that lacks a block holds NaN in all of its columns; a row
        with both blocks is a pair. Two rows, one of each domain, that ``sample_pair``
        in ``fit`` gives the same name are a pair, too. Columns in no block are ignored.
        None for both: one feature space, in which each row is its own pair; with
        ``sample_pair`` only the pairs that it names count.
    n_components : int in [1, inf) or None, default=None
        Units of the representations. None: the wider block's number of columns, but
        16 at least and 64 at most.
    source_hidden, target_hidden : tuple of int, default=()
        Units of the layers that belong to one domain, below the shared ones.
    shared_hidden : tuple of int or None, default=None
        Units of the hidden layers that both domains have alike; the weights between
        them, and from the last one to the representation, are shared weakly. None: one
        layer of twice ``n_components`` units.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of every layer but the decoder's last, which is linear.
    standardize : bool, default=True
        Scale the columns of each block to mean 0 and variance 1 over the rows that
        have it.
    pair_weight : float in [0, inf), default=1.0
        Weight :math:`\lambda` of the pairs.
    sharing : float in [0, inf), default=0.1
        Weight :math:`\gamma` of the distance between the upper layers.
    weight_decay : float in (0, inf), default=1e-3
        Weight of the squared weights and biases of the extractors. The loss of the
        pairs falls with the length of the representations, so it cannot be 0.
    pretrain_iter : int in [0, inf), default=100
        Passes over the rows in the initialization of each domain.
    max_iter : int in [1, inf), default=60
        Passes of the descent.
    learning_rate : float in (0, inf), default=1e-3
        Step of Adam in the initialization.
    fine_tuning_rate : float in (0, inf), default=1e-3
        Step of Adam in the descent.
    batch_size : int in [1, inf), default=256
        Rows of a group (pairs, labeled rows of a domain) in a step. A group that is
        not larger takes part whole, without chance.
    callbacks : list or None, default=None
        Callbacks of skorch that follow the descent (without source rows the
        initialization). A pass is an epoch.
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
    class_vectors_ : ndarray of shape (n_components, n_classes)
        Means :math:`u_c` of the representations of the source, with the sign of their
        class; without source rows the weights of the target's softmax.
    transferred_ : bool
        Whether there were source rows.
    n_pairs_ : int
        Number of pairs that were used.
    history_ : dict of str to ndarray
        Unweighted losses of each pass, averaged over its steps, and the objective.
        Those of the initialization begin with ``source_`` or ``target_``.
    n_iter_ : int
        Passes of the descent; without source rows those of the initialization.
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

    See Also
    --------
    DATN : The target is mapped to the source.
    sktransfer.feature.TTI : The same votes without nets.

    Notes
    -----
    With the signs :math:`s_{ic} = 1` for source rows of class c, else -1, and the
    representations z, the descent [1]_ is on

    .. math::

        J = \mathrm{CE}(y_T, \mathrm{softmax}(f(x_T)))
        + \frac{\lambda}{n_P} \sum_{(i, j) \in P} \log(1 + e^{-z_i' z_j})
        + \gamma \sum_l \|W_S^l - W_T^l\|_F^2 + \|b_S^l - b_T^l\|^2
        + \text{decay}, \qquad f_c(x) = \tfrac{1}{n_S} \sum_i s_{ic}\, z_i' z(x)
        = u_c' z(x)

    over the layers l above the domains' own. In training the means are those of a
    batch. The paper has two classes, and sums; its decay is that of the weights here.
    The paper does not print how its classes are weighed where there are more than two:
    here each is set against all others.

    Without source rows the estimator is the target's own autoencoder and softmax.

    References
    ----------
    .. [1] X. Shu, G.-J. Qi, J. Tang, J. Wang. Weakly-shared deep transfer networks for
       heterogeneous-domain knowledge propagation. ACM Multimedia, 2015.
       :doi:`10.1145/2733373.2806216`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import WSDTN
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(80) % 2
    >>> latent = (2 * y - 1)[:, None] + 0.3 * rng.normal(size=(80, 2))
    >>> X = np.hstack([latent, latent @ rng.normal(size=(2, 3))])
    >>> domain = np.repeat([1, -1], [40, 40])
    >>> X[:40, 2:], X[60:, :2] = np.nan, np.nan
    >>> marked = np.where(domain == 1, y, np.nan)
    >>> marked[40:44] = y[40:44]  # four images are labeled
    >>> net = WSDTN([0, 1], [2, 3, 4], pretrain_iter=30, random_state=0)
    >>> net = net.fit(X[:60], marked[:60], sample_domain=domain[:60])
    >>> net.n_pairs_, net.score(X[60:], y[60:])
    (20, 1.0)
    """

    _parameter_constraints: dict = {
        **PairedNet._parameter_constraints,
        "source_hidden": ["array-like"],
        "target_hidden": ["array-like"],
        "shared_hidden": ["array-like", None],
        "weight_decay": [Interval(Real, 0, None, closed="neither")],
        "pair_weight": [Interval(Real, 0, None, closed="left")],
        "sharing": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        source_columns=None,
        target_columns=None,
        *,
        n_components=None,
        source_hidden=(),
        target_hidden=(),
        shared_hidden=None,
        activation="relu",
        standardize=True,
        pair_weight=1.0,
        sharing=0.1,
        weight_decay=1e-3,
        pretrain_iter=100,
        max_iter=60,
        learning_rate=1e-3,
        fine_tuning_rate=1e-3,
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
        self.shared_hidden = shared_hidden
        self.pair_weight = pair_weight
        self.sharing = sharing

    def _sizes(self, name, width, top):
        own = check_hidden(getattr(self, f"{name}_hidden"), name, width)
        return [width, *own, *self._shared(top), top]

    def _shared(self, top):
        """Return the units of the hidden layers that both domains have alike."""
        if self.shared_hidden is None:
            return [2 * top]
        if not len(self.shared_hidden):
            raise ValueError(
                "shared_hidden is empty, so no layer is shared: give one number of "
                "units at least."
            )
        return check_hidden(self.shared_hidden, "shared", top)

    def _fit_domains(self, data):
        super()._fit_domains(data)
        if not self.transferred_:
            self.class_vectors_ = self.target_module_.softmax.weight.detach().numpy().T

    def _descend(self, pathways, sides, pairs, rng, device):
        """Train both extractors on the losses of the class docstring."""
        source, target = pathways
        n_shared = len(self._shared(self._n_features_out))
        # each layer is a linear map and its activation
        alike = [pathway.encoder[-2 * n_shared :] for pathway in pathways]

        def losses_of(batch):
            of_pairs, voters, labeled = batch
            Zs_pair, Zs = encode(source.encoder, sides[0].X, [of_pairs, voters])
            Zt_pair, Zt = encode(target.encoder, sides[1].X, [of_pairs, labeled])
            logits = Zt @ self._votes(Zs, sides[0], voters)
            similar = (Zs_pair * Zt_pair).sum(dim=1)
            return {
                "classification": cross_entropy(logits, sides[1], labeled),
                "pair": F.softplus(-similar).mean(),
                "sharing": sum(
                    (a - b).square().sum()
                    for a, b in zip(*(m.parameters() for m in alike), strict=True)
                ),
                "regularization": squared_weights(source.encoder, target.encoder),
            }

        self._run(
            [source.encoder, target.encoder],
            losses_of,
            {
                "pair": self.pair_weight,
                "sharing": self.sharing,
                "regularization": self.weight_decay,
            },
            [pairs, sides[0].labeled, sides[1].labeled],
            rng,
            device,
        )
        voters = sides[0].labeled
        with torch.no_grad():
            Z = source.encoder(sides[0].X[as_index(voters, sides[0].X)])
            self.class_vectors_ = self._votes(Z, sides[0], voters).cpu().numpy()

    def _votes(self, Z, side, rows):
        """Return the means of representations with the signs of their class."""
        codes = side.codes[as_index(rows, Z)]
        signs = 2 * F.one_hot(codes, len(self.classes_)).to(Z.dtype) - 1
        return Z.T @ signs / max(len(rows), 1)

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
        Z = self._transform(X, np.zeros(len(X), dtype=bool))
        return softmax(Z @ self.class_vectors_, axis=1)

    def _transform(self, X, source):
        """Represent the rows of each domain by its own extractor."""
        return self._represent_each(X, source)
