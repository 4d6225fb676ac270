"""Cross-domain landmark selection: two feature spaces without pairs."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.utils import get_tags

from sktransfer._column_blocks import ColumnBlocksMixin
from sktransfer._compat import Interval
from sktransfer._learners import (
    check_takes_sample_weight,
    fit_learner,
    name_samples,
    predict_learner,
)
from sktransfer._solvers.landmarks import (
    Side,
    class_sizes,
    fit_map,
    mean_operator,
    solve_landmarks,
    target_means,
)
from sktransfer.base import TransferMetaEstimator
from sktransfer.exceptions import warn
from sktransfer.feature._label_transport import slice_params_at

__all__ = ["CDLS"]

#: weights below this are 0: the learner does not see the rows
_LEAST_WEIGHT = 1e-6


class CDLS(ColumnBlocksMixin, TransferMetaEstimator):
    r"""Cross-domain landmark selection: two feature spaces that no pair ties together.

    Source rows are mapped into the principal components of the target, so that their
    mean and the means of their classes are those of the target. Rows of both domains
    that help it are landmarks: source and unlabeled target rows get weights in [0, 1].
    The classifier is fitted on all of them.

    Parameters
    ----------
    estimator : estimator
        Classifier whose ``fit`` takes ``sample_weight``; the paper has a linear
        support vector machine. It sees components of the target.
    source_columns, target_columns : int, str, slice, array-like or None, default=None
        The two blocks of columns: positions, a slice, a boolean mask, or names if X is
        a dataframe. A row that lacks a block holds NaN in all of its columns. Columns
        in no block, and the other block of a row that has both, are ignored. None for
        both: one feature space.
    n_components : int in [1, inf) or None, default=100
        Principal components of the target; None, or more than there are: all.
    delta : float in (0, 1], default=0.5
        Mean weight of the rows of each class. With 1 all weights are 1.
    map_penalty : float in (0, inf), default=0.01
        Factor :math:`\lambda` of the squared norm of the map.
    max_iter : int in [1, inf), default=5
        Rounds of map, weights and pseudo-labels. They end early where the
        pseudo-labels stay as they are.
    standardize : bool, default=True
        Scale the columns of each block to mean 0 and variance 1 over the rows of its
        domain.
    normalize : bool, default=True
        Then scale each row to norm 1. Without either the columns are only centered.

    Attributes
    ----------
    estimator_ : estimator
        The classifier of components.
    map_ : ndarray of shape (n_source_columns, n_components) or None
        The map of scaled source rows; None without source rows.
    components_ : ndarray of shape (n_components, n_target_columns)
        Principal components of the scaled target rows.
    source_weights_ : ndarray of shape (n_source,)
        Weights of the source rows, in input order.
    target_weights_ : ndarray of shape (n_target,)
        Weights of the target rows, in input order; 1 where they are labeled.
    pseudo_labels_ : ndarray of shape (n_target,)
        Classes of the target rows, in input order, labels where they are known.
    n_iter_ : int
        Rounds; 0 without source rows.
    gap_ : float
        Largest relative duality gap of the weights over the rounds.
    source_columns_, target_columns_ : ndarray of shape (n_block,)
        Positions of the blocks.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the weights do not reach the relative gap 1e-3.

    See Also
    --------
    HHTL : Two feature spaces with pairs.
    sktransfer.deep.DATN : The same with nets.

    Notes
    -----
    With :math:`z` the components of a target row, the map A and the weights
    :math:`\alpha, \beta \in [0, 1]` in turn minimize [1]_

    .. math::

        \Big\lVert \frac{\sum_i \alpha_i A'x_i}{\delta n_S}
        - \frac{\sum_l z_l + \sum_u \beta_u z_u}{n_L + \delta n_U} \Big\rVert^2
        + \sum_c \Big\lVert \frac{\sum_{i \in c} \alpha_i A'x_i}{\delta n_{S,c}}
        - \frac{\sum_{l \in c} z_l + \sum_{u \in c} \beta_u z_u}
        {n_{L,c} + \delta n_{U,c}} \Big\rVert^2 + \lambda \lVert A \rVert_F^2,

    where the weights of each class have the mean :math:`\delta`, the classes of
    unlabeled rows are those that the classifier predicted in the round before, and
    classes that only one domain has are left out of the sum. The map has a closed
    form; the weights solve a quadratic program, certified by its duality gap. The
    paper adds the distances of all pairs of rows of a class, which draw each class to
    one point; they are left out here.

    The program compares means alone. The map is unique in the span of the means of
    the source's classes and 0 across it: in equal spaces and domains it is near the
    principal components of the target there, for small :math:`\lambda`. Rows far from
    their mean are mapped badly then, which is why rows have norm 1 by default.

    Several sources share one block and one map. ``sample_weight`` reaches the
    classifier; means count rows. Without source rows the classifier is fitted on the
    components of the labeled target rows.

    References
    ----------
    .. [1] Y.-H. H. Tsai, Y.-R. Yeh, Y.-C. F. Wang. Learning cross-domain landmarks for
       heterogeneous domain adaptation. CVPR, 2016. :doi:`10.1109/CVPR.2016.549`

    Examples
    --------
    Texts (columns 0 to 2) are labeled; of the images (columns 3 to 6) six are. No
    image comes with a text.

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.feature import CDLS
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(200) % 3
    >>> latent = np.eye(3)[y] * 2 + 0.5 * rng.normal(size=(200, 3))
    >>> X = np.hstack([latent, latent @ rng.normal(size=(3, 4))])
    >>> domain = np.repeat([1, -1], [60, 140])
    >>> X[:60, 3:], X[60:, :3] = np.nan, np.nan
    >>> marked = np.where(np.arange(200) < 66, y, np.nan)
    >>> model = CDLS(LogisticRegression(), source_columns=[0, 1, 2],
    ...              target_columns=[3, 4, 5, 6])
    >>> model = model.fit(X[:120], marked[:120], sample_domain=domain[:120])
    >>> bool(model.score(X[120:], y[120:]) > 0.8)
    True
    """

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        **ColumnBlocksMixin._column_blocks_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "delta": [Interval(Real, 0, 1, closed="right")],
        "map_penalty": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "standardize": ["boolean"],
        "normalize": ["boolean"],
    }

    def __init__(
        self,
        estimator,
        *,
        source_columns=None,
        target_columns=None,
        n_components=100,
        delta=0.5,
        map_penalty=0.01,
        max_iter=5,
        standardize=True,
        normalize=True,
    ):
        super().__init__(estimator)
        self.source_columns = source_columns
        self.target_columns = target_columns
        self.n_components = n_components
        self.delta = delta
        self.map_penalty = map_penalty
        self.max_iter = max_iter
        self.standardize = standardize
        self.normalize = normalize

    def _fit_estimator(self, data, fit_params):
        if not is_classifier(self.estimator):
            raise TypeError(
                f"estimator={self.estimator!r} must be a classifier: CDLS compares the "
                "means of classes."
            )
        check_takes_sample_weight(self.estimator)
        data = data.with_X(self._validate_X(data.X, get_tags(self), reset=True))
        self._set_columns()
        self._find_blocks(data)
        Z = self._fit_components(data)
        self.n_iter_, self.gap_, self.map_ = 0, 0.0, None
        self.source_weights_ = np.ones(data.n_source)
        self.target_weights_ = np.ones(data.n_target)
        rows = _Rows(data, self._scaled_source(data), Z)
        if data.n_source:
            model = self._fit_rounds(data, rows, fit_params)
        else:
            model = self._fit_classifier(data, rows, fit_params)
        guessed = ~rows.labeled
        self.target_weights_[guessed & (rows.target_codes < 0)] = 0.0
        self.pseudo_labels_ = np.empty(data.n_target, dtype=rows.classes.dtype)
        self.pseudo_labels_[rows.labeled] = data.y_labeled
        if guessed.any():
            self.pseudo_labels_[guessed] = predict_learner(model, Z[guessed])
        return model

    def _fit_components(self, data):
        """Return the components of the target rows."""
        block = data.X_target[:, self.target_columns_]
        self._target_scaler, scaled = self._fit_scaler(block)
        most = min(block.shape)
        n_components = min(self.n_components or most, most)
        _, _, V = np.linalg.svd(scaled, full_matrices=False)
        # signs by the largest entries, so that they do not depend on the solver
        V = V[:n_components]
        largest = np.abs(V).argmax(axis=1)
        V = V * np.sign(V[np.arange(len(V)), largest])[:, None]
        self.components_ = V
        return scaled @ V.T

    def _fit_scaler(self, block):
        """Return the steps that scale a block, and the scaled block."""
        steps = [StandardScaler()] if self.standardize else []
        steps += [Normalizer()] if self.normalize else []
        scaler = make_pipeline(*steps, StandardScaler(with_std=False))
        return scaler, scaler.fit_transform(block)

    def _scaled_source(self, data):
        if not data.n_source:
            return np.empty((0, len(self.source_columns_)))
        block = data.X_source[:, self.source_columns_]
        self._source_scaler, scaled = self._fit_scaler(block)
        return scaled

    def _fit_rounds(self, data, rows, fit_params):
        """Alternate the map, the weights and the pseudo-labels."""
        for _ in range(self.max_iter):
            self._fit_map(rows)
            source, labeled, unlabeled = self._sides(rows)
            if self.n_iter_ and self.delta < 1:
                mapped = source._replace(rows=source.rows @ self.map_)
                shared = rows.shared
                self.source_weights_, beta, info = solve_landmarks(
                    mapped, labeled, unlabeled, self.delta, shared, tol=5e-4
                )
                self.target_weights_[rows.guessed] = beta
                self.gap_ = max(self.gap_, info.gap)
                self._fit_map(rows)
            model = self._fit_classifier(data, rows, fit_params)
            self.n_iter_ += 1
            if not rows.guess(model) and self.n_iter_ > 1:
                break
        if self.gap_ > 1e-3:
            warn(
                f"The weights of CDLS have a relative duality gap of {self.gap_:.1e}: "
                "they are not optimal. Take fewer n_components.",
                ConvergenceWarning,
            )
        return model

    def _sides(self, rows):
        return (
            Side(rows.source, rows.source_codes, self.source_weights_),
            Side(
                rows.Z[rows.labeled],
                rows.target_codes[rows.labeled],
                np.ones(int(rows.labeled.sum())),
            ),
            Side(
                rows.Z[rows.guessed],
                rows.target_codes[rows.guessed],
                self.target_weights_[rows.guessed],
            ),
        )

    def _fit_map(self, rows):
        source, labeled, unlabeled = self._sides(rows)
        # the first round has equal weights, the later ones have the mean delta
        delta = 1.0 if np.all(source.weights == 1) else self.delta
        sizes = class_sizes(source.codes, len(rows.shared))
        M = mean_operator(source.codes, delta * sizes, rows.shared) * source.weights
        V, _, _ = target_means(labeled, unlabeled, delta, rows.shared)
        self.map_ = fit_map(M @ source.rows, V, self.map_penalty)

    def _fit_classifier(self, data, rows, fit_params):
        """Fit on mapped source rows, labeled rows and rows with pseudo-labels."""
        target = np.flatnonzero(data.is_target)
        used = rows.labeled | (rows.guessed & (self.target_weights_ > _LEAST_WEIGHT))
        index, parts = target[used], [rows.Z[used]]
        codes, weights = rows.target_codes[used], self.target_weights_[used]
        if self.map_ is not None:
            own = self.source_weights_ > _LEAST_WEIGHT
            index = np.concatenate([index, np.flatnonzero(data.is_source)[own]])
            parts.append(rows.source[own] @ self.map_)
            codes = np.concatenate([codes, rows.source_codes[own]])
            weights = np.concatenate([weights, self.source_weights_[own]])
        user = fit_params.get("sample_weight")
        params = slice_params_at(fit_params, index, len(data.labeled))
        X = np.vstack(parts).astype(data.X.dtype, copy=False)
        return fit_learner(
            self.estimator,
            X,
            rows.classes[codes],
            method_weight=None if np.all(weights == 1) else weights,
            sample_weight=None if user is None else np.asarray(user)[index],
            samples=name_samples(data, data.labeled),
            **params,
        )

    def _for_estimator(self, X):
        X = self._validate_X(X, get_tags(self), reset=False)
        everything = np.ones(len(X), dtype=bool)
        block = self._block_of(X, everything, "target")
        scaled = self._target_scaler.transform(block)
        return (scaled @ self.components_.T).astype(X.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = not self._one_space
        tags.target_tags.multi_output = False
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.regression = False
        return tags


class _Rows:
    """Rows in the space of the target's components, with classes as codes."""

    def __init__(self, data, source, Z):
        self.source, self.Z = source, Z
        self.labeled = data.labeled[data.is_target]
        self.classes, codes = np.unique(data.labels(data.labeled), return_inverse=True)
        everything = np.full(len(data.labeled), -1)
        everything[data.labeled] = codes
        self.source_codes = everything[data.is_source]
        self.target_codes = everything[data.is_target]

    @property
    def guessed(self):
        """Mask of the unlabeled target rows that have a pseudo-label."""
        return ~self.labeled & (self.target_codes >= 0)

    @property
    def shared(self):
        """Mask of the classes that both domains have."""
        codes = np.arange(len(self.classes))
        return np.isin(codes, self.source_codes) & np.isin(codes, self.target_codes)

    def guess(self, model):
        """Set the pseudo-labels, and tell whether they have changed."""
        unknown = ~self.labeled
        if not unknown.any():
            return False
        new = np.searchsorted(self.classes, predict_learner(model, self.Z[unknown]))
        changed = not np.array_equal(new, self.target_codes[unknown])
        self.target_codes[unknown] = new
        return changed
