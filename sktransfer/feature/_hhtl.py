"""Hybrid heterogeneous transfer learning: denoised layers, and a map for each."""

from numbers import Integral, Real

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sktransfer._column_blocks import ColumnBlocksMixin
from sktransfer._compat import Interval
from sktransfer._learners import fit_learner, name_samples
from sktransfer._solvers.marginalized_denoising import denoise, denoising_weights
from sktransfer.base import TransferMetaEstimator, slice_params
from sktransfer.exceptions import DomainError

__all__ = ["HHTL"]


class HHTL(ColumnBlocksMixin, TransferMetaEstimator):
    r"""Hybrid heterogeneous transfer learning: two feature spaces tied by pairs.

    Each domain gets layers of features that restore corrupted entries, in closed form.
    Pairs, rows that are described in both feature spaces, teach a linear map from each
    layer of the target to that of the source. The learner is fitted on the stacked
    layers of the source, and target rows are mapped to them.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor. It sees the stacked layers of the source.
    source_columns, target_columns : int, str, slice, array-like or None, default=None
        The two blocks of columns: positions, a slice, a boolean mask, or names if X is
        a dataframe. A row that lacks a block holds NaN in all of its columns; a row
        with both blocks is a pair. Two rows, one of each domain, that ``sample_pair``
        in ``fit`` gives the same name are a pair, too. Columns in no block are ignored.
        None for both: one feature space, in which each row is its own pair; with
        ``sample_pair`` only the pairs that it names count.
    n_layers : int in [0, inf), default=2
        Layers L on top of the scaled columns. With 0 there is one linear map, and the
        learner of the source.
    corruption : float in [0, 1), default=0.5
        Probability that an entry is set to 0 in the training of a layer.
    map_penalty : float in (0, inf), default=10.0
        Ridge penalty :math:`\lambda` of the maps.

    Attributes
    ----------
    estimator_ : estimator
        The learner of stacked layers.
    source_layers_, target_layers_ : list of ndarray of shape (n_block + 1, n_block)
        Weights of the layers; the last row is that of the constant.
    maps_ : list of Ridge
        Maps of the ``n_layers + 1`` representations; empty without source rows.
    n_pairs_ : int
        Number of pairs that were used.
    source_columns_, target_columns_ : ndarray of shape (n_block,)
        Positions of the blocks.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    CDLS : Two feature spaces without pairs.
    sktransfer.deep.DATN : The same idea with trained nets.

    Notes
    -----
    With :math:`h^0` the columns of a block, scaled to mean 0 and variance 1, the layers
    [1]_ of a domain are marginalized denoising autoencoders [2]_

    .. math:: h^l = \tanh(W^l h^{l-1}), \qquad
        W^l = \arg\min_W \sum_i E \lVert h_i^{l-1} - W \tilde h_i^{l-1} \rVert^2
        = E[P]\, E[Q]^{-1},

    where the entries of :math:`\tilde h` are those of :math:`h` or 0, and a constant 1
    is appended. Over the pairs

    .. math:: G^l = \arg\min_G \sum \lVert h_S^l - G h_T^l - g \rVert^2
        + \lambda \lVert G \rVert_F^2 .

    A row takes part in both domains with the blocks that it has, whether it is labeled
    or not. Labeled target rows, mapped, are learned from as well. With
    ``n_layers=0`` all knowledge of the source is taken to be transferable; if the
    blocks of the target are an invertible map of those of the source, the learner of
    the source comes back for small :math:`\lambda`.

    Several sources share one block. Weights of rows count everywhere. Without source
    rows the learner is fitted on the target's own layers.

    References
    ----------
    .. [1] J. T. Zhou, S. J. Pan, I. W. Tsang, Y. Yan. Hybrid heterogeneous transfer
       learning through deep learning. AAAI, 2014. :doi:`10.1609/aaai.v28i1.8961`
    .. [2] M. Chen, Z. Xu, K. Weinberger, F. Sha. Marginalized denoising autoencoders
       for domain adaptation. ICML, 2012. arXiv:1206.4683

    Examples
    --------
    Texts (columns 0 and 1) are labeled. None of the images (columns 2 to 4) is, but
    twenty come with a text.

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.feature import HHTL
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(80) % 2
    >>> latent = (2 * y - 1)[:, None] + 0.3 * rng.normal(size=(80, 2))
    >>> X = np.hstack([latent, latent @ rng.normal(size=(2, 3))])
    >>> domain = np.repeat([1, -1], [40, 40])
    >>> X[:40, 2:], X[60:, :2] = np.nan, np.nan
    >>> marked = np.where(domain == 1, y, np.nan)
    >>> model = HHTL(LogisticRegression(), source_columns=[0, 1],
    ...              target_columns=[2, 3, 4])
    >>> model = model.fit(X[:60], marked[:60], sample_domain=domain[:60])
    >>> model.n_pairs_, model.score(X[60:], y[60:])
    (20, 1.0)
    """

    __metadata_request__fit = {"sample_domain": True, "sample_pair": True}

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        **ColumnBlocksMixin._column_blocks_constraints,
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "corruption": [Interval(Real, 0, 1, closed="left")],
        "map_penalty": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator,
        *,
        source_columns=None,
        target_columns=None,
        n_layers=2,
        corruption=0.5,
        map_penalty=10.0,
    ):
        super().__init__(estimator)
        self.source_columns = source_columns
        self.target_columns = target_columns
        self.n_layers = n_layers
        self.corruption = corruption
        self.map_penalty = map_penalty

    def fit(self, X, y, sample_domain=None, sample_pair=None, **fit_params):
        """Fit the layers, the maps and the learner.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,)
            Labels; those of unlabeled target rows are missing.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        sample_pair : array-like of shape (n_samples,), default=None
            Name of the object that each row describes: a source row and a target row
            of the same name are a pair, beside rows with both blocks. In one feature
            space they are the only pairs. None or NaN: a row without a partner.
        **fit_params : dict
            Metadata that the wrapped estimator requests, one entry per row.
            ``sample_weight`` counts everywhere: a pair of two rows has the geometric
            mean of their weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract, a domain has two rows of the same
            name, no name occurs in both, or a row with both blocks has a partner.
        """
        if sample_pair is not None:
            fit_params["sample_pair"] = sample_pair
        return super().fit(X, y, sample_domain=sample_domain, **fit_params)

    def _route(self, method, data, params):
        pair = params.pop("sample_pair", None)
        routed = super()._route(method, data, params)
        return routed if pair is None else {**routed, "sample_pair": pair}

    def _fit_estimator(self, data, fit_params):
        names = fit_params.pop("sample_pair", None)
        data = data.with_X(self._validate_X(data.X, get_tags(self), reset=True))
        self._set_columns()
        has_source, has_target = self._find_blocks(data)
        weight = fit_params.get("sample_weight")
        weight = np.ones(len(data.labeled)) if weight is None else np.asarray(weight)
        own = data.is_target if self._one_space else has_target
        self._target_scaler, self.target_layers_ = self._fit_layers(
            data.X[np.ix_(own, self.target_columns_)], weight[own]
        )
        self.maps_, self.n_pairs_, self.source_layers_ = [], 0, []
        if data.n_source:
            own = data.is_source if self._one_space else has_source
            self._source_scaler, self.source_layers_ = self._fit_layers(
                data.X[np.ix_(own, self.source_columns_)], weight[own]
            )
            both = has_source & has_target
            self._fit_maps(data.X, self._all_pairs(names, data, both), weight)
        Z = np.empty((int(data.labeled.sum()), self._width()), dtype=data.X.dtype)
        source = data.is_source[data.labeled]
        X = data.X[data.labeled]
        if source.any():
            Z[source] = np.hstack(self._represent(X[source], "source"))
        if not source.all():
            Z[~source] = self._map(X[~source])
        return fit_learner(
            self.estimator,
            Z,
            data.labels(data.labeled),
            samples=name_samples(data, data.labeled),
            **slice_params(fit_params, data.labeled),
        )

    def _width(self):
        columns = self.source_columns_ if self.maps_ else self.target_columns_
        return len(columns) * (self.n_layers + 1)

    def _fit_layers(self, block, weight):
        """Return the scaler of a block and the weights of its layers."""
        scaler = StandardScaler().fit(block, sample_weight=weight)
        hidden, layers = scaler.transform(block), []
        for _ in range(self.n_layers):
            layers.append(denoising_weights(hidden, self.corruption, weight=weight))
            hidden = denoise(hidden, layers[-1])
        return scaler, layers

    def _fit_maps(self, X, pairs, weight):
        """Fit a map for each layer on the pairs of rows."""
        source_rows, target_rows = pairs
        self.n_pairs_ = len(source_rows)
        if not self.n_pairs_:
            raise DomainError(
                "No row of X has both blocks, but HHTL learns its maps from such "
                "pairs. Give some rows both, name pairs of rows by sample_pair, or use "
                "CDLS, which needs none."
            )
        source = self._represent(X[source_rows], "source")
        target = self._represent(X[target_rows], "target")
        weight = np.sqrt(weight[source_rows] * weight[target_rows])
        for h_source, h_target in zip(source, target, strict=True):
            ridge = Ridge(alpha=self.map_penalty)
            self.maps_.append(ridge.fit(h_target, h_source, weight))

    def _represent(self, X, domain):
        """Return the layers of rows as a list."""
        block = self._block_of(X, np.ones(len(X), dtype=bool), domain)
        hidden = [getattr(self, f"_{domain}_scaler").transform(block)]
        for W in getattr(self, f"{domain}_layers_"):
            hidden.append(denoise(hidden[-1], W))
        return hidden

    def _map(self, X):
        """Return the stacked layers of target rows, as the source's if there is one."""
        layers = self._represent(X, "target")
        if self.maps_:
            pairs = zip(self.maps_, layers, strict=True)
            layers = [G.predict(h).reshape(len(h), -1) for G, h in pairs]
        return np.hstack(layers)

    def _for_estimator(self, X):
        X = self._validate_X(X, get_tags(self), reset=False)
        mapped = self._map(X)
        return mapped.astype(X.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = not self._one_space
        tags.transfer_tags.uses_unlabeled = True
        return tags
