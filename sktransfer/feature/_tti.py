"""Transfer by translation: a bilinear similarity between two feature spaces."""

from numbers import Integral, Real

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._column_blocks import PairedBlocksMixin
from sktransfer._compat import Interval
from sktransfer._solvers.trace_norm import (
    Grid,
    Pairs,
    gradient,
    solve_trace_norm,
)
from sktransfer.base import TransferEstimator, TransferPredictorMixin
from sktransfer.exceptions import DomainError, warn

__all__ = ["TTI"]


class TTI(
    PairedBlocksMixin, TransferPredictorMixin, ClassifierMixin, TransferEstimator
):
    r"""Text-to-image transfer: votes of source rows by a learned similarity.

    A source row votes for its class with the similarity :math:`x'Sz` of the row z to a
    target row x, in another feature space. The translator S makes pairs, rows that are
    described in both spaces, similar, and labeled target rows right; its trace norm
    keeps it of low rank.

    Parameters
    ----------
    source_columns, target_columns : int, str, slice, array-like or None, default=None
        The two blocks of columns: positions, a slice, a boolean mask, or names if X is
        a dataframe. A row that lacks a block holds NaN in all of its columns; a row
        with both blocks is a pair. Two rows, one of each domain, that ``sample_pair``
        in ``fit`` gives the same name are a pair, too. Columns in no block are ignored.
        None for both: one feature space, in which each row is its own pair; with
        ``sample_pair`` only the pairs that it names count.
    pair_weight : float in [0, inf), default=1.0
        Weight :math:`\gamma` of the pairs.
    penalty : float in (0, inf), default=0.005
        Factor of the trace norm, relative to the least one for which S is 0: with 1 or
        more there is no translator.
    tol : float in (0, inf), default=1e-4
        Relative residual at which the solver ends.
    max_iter : int in [1, inf), default=1000
        Largest number of its steps.

    Attributes
    ----------
    translator_ : ndarray of shape (n_target_columns + 1, n_source_columns + 1)
        The matrix S for scaled columns and a constant 1.
    rank_ : int
        Its rank.
    class_vectors_ : ndarray of shape (n_classes, n_source_columns + 1)
        Means :math:`u_c` of the source rows, with the sign of their class.
    n_pairs_ : int
        Number of pairs that were used.
    penalty_ : float
        The factor :math:`\lambda` that was used.
    residual_ : float
        Relative norm of the proximal-gradient mapping, which is 0 at the optimum only.
    n_iter_ : int
        Steps of the solver.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    source_columns_, target_columns_ : ndarray of shape (n_block,)
        Positions of the blocks.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` steps do not reach `tol`.

    See Also
    --------
    CDLS : No pairs needed.
    HHTL : Linear maps of denoised layers.

    Notes
    -----
    With the signs :math:`y_{ic} = 1` for rows of class c, else -1, and the columns of
    each block scaled to mean 0 and variance 1 and followed by a 1, the score of class
    c and the translator are [1]_

    .. math::

        f_c(x) = \tfrac{1}{n_S} \sum_i y_{ic}\, x'S z_i = x'S u_c, \qquad
        \min_S \frac{1}{n_L} \sum_{j \in T_l} \sum_c \log(1 + e^{-y_{jc} f_c(x_j)})
        + \frac{\gamma}{n_P} \sum_{(x, z) \in P} \log(1 + e^{-x'Sz})
        + \lambda \lVert S \rVert_* .

    The sums of the paper, for two classes, are means here, so that
    :math:`\lambda` and :math:`\gamma` do not depend on the numbers of rows. The
    gradient at 0 has the spectral norm :math:`\lambda_{\max}`, and
    :math:`\lambda` is ``penalty`` times it. Large :math:`\lambda` gives S = 0, and all
    scores are 0 then: the first class is predicted.

    Without labeled target rows pairs alone teach S. Without source rows the labeled
    target rows vote for each other, and there are no pairs. Several sources vote
    together.

    References
    ----------
    .. [1] G.-J. Qi, C. Aggarwal, T. Huang. Towards semantic knowledge propagation from
       text corpus to web images. WWW, 2011. :doi:`10.1145/1963405.1963449`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import TTI
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(80) % 2
    >>> latent = (2 * y - 1)[:, None] + 0.3 * rng.normal(size=(80, 2))
    >>> X = np.hstack([latent, latent @ rng.normal(size=(2, 3))])
    >>> domain = np.repeat([1, -1], [40, 40])
    >>> X[:40, 2:], X[60:, :2] = np.nan, np.nan
    >>> marked = np.where(domain == 1, y, np.nan)
    >>> model = TTI([0, 1], [2, 3, 4])
    >>> model = model.fit(X[:60], marked[:60], sample_domain=domain[:60])
    >>> model.n_pairs_, model.score(X[60:], y[60:])
    (20, 1.0)
    """

    _parameter_constraints: dict = {
        **PairedBlocksMixin._column_blocks_constraints,
        "pair_weight": [Interval(Real, 0, None, closed="left")],
        "penalty": [Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        source_columns=None,
        target_columns=None,
        *,
        pair_weight=1.0,
        penalty=0.005,
        tol=1e-4,
        max_iter=1000,
    ):
        self.source_columns = source_columns
        self.target_columns = target_columns
        self.pair_weight = pair_weight
        self.penalty = penalty
        self.tol = tol
        self.max_iter = max_iter

    def _fit_domains(self, data):
        self._set_columns()
        has_source, has_target = self._find_blocks(data)
        known = data.labels(data.labeled)
        check_classification_targets(known)
        self.classes_ = np.unique(known)
        own = data.is_target if self._one_space else has_target
        X = self._scale(data.X, own, has_target, "target")
        labeled = data.is_labeled_target
        signs = self._signs(data.y_labeled) if labeled.any() else None
        if data.n_source:
            own = data.is_source if self._one_space else has_source
            Z = self._scale(data.X, own, has_source, "source")
            votes, y_votes = Z[data.is_source], self._signs(data.y_source)
            both = has_source & has_target
            source, target = self._all_pairs(self._pair_names, data, both)
            tied = Pairs(X[target], Z[source], self.pair_weight)
        else:
            votes, y_votes = X[labeled], signs
            nothing = np.empty((0, X.shape[1]))
            tied = Pairs(nothing, nothing, 0.0)
        self.n_pairs_ = len(tied.A)
        if not labeled.any() and (not self.n_pairs_ or self.pair_weight == 0):
            raise DomainError(
                "TTI learns its translator from labeled target rows and from pairs, "
                "rows with both blocks or named by sample_pair, and here pair_weight="
                f"{self.pair_weight} counts {self.n_pairs_} pairs and no target row is "
                "labeled. Give some of either."
            )
        self.class_vectors_ = y_votes.T @ votes / len(votes)
        if signs is None:
            signs = np.empty((0, len(self.classes_)))
        grid = Grid(X[labeled], self.class_vectors_, signs, 1.0)
        self._solve(grid, tied, data.X.dtype)

    def _solve(self, grid, pairs, dtype):
        start = np.zeros((grid.A.shape[1], grid.B.shape[1]))
        largest = float(np.linalg.norm(gradient(start, grid, pairs), 2))
        # without any gradient every penalty gives S = 0
        self.penalty_ = self.penalty * largest or self.penalty
        S, info = solve_trace_norm(
            grid, pairs, self.penalty_, tol=self.tol, max_iter=self.max_iter
        )
        self.translator_ = S.astype(dtype, copy=False)
        self.rank_ = int(np.linalg.matrix_rank(S))
        self.residual_, self.n_iter_ = info.residual, info.n_iter
        if not info.converged:
            warn(
                f"TTI stopped after {info.n_iter} steps with a relative residual of "
                f"{info.residual:.1e} > tol={self.tol:g}. Raise max_iter, tol or "
                "penalty.",
                ConvergenceWarning,
            )

    def _scale(self, X, own, has, domain):
        """Return the scaled block with a constant; rows that lack it are NaN."""
        columns = getattr(self, f"{domain}_columns_")
        scaler = StandardScaler().fit(X[np.ix_(own, columns)])
        setattr(self, f"_{domain}_scaler", scaler)
        scaled = np.full((len(X), len(columns) + 1), np.nan)
        scaled[has] = self._with_constant(scaler, X[np.ix_(has, columns)])
        return scaled

    @staticmethod
    def _with_constant(scaler, block):
        return np.column_stack([scaler.transform(block), np.ones(len(block))])

    def _signs(self, y):
        return np.where(np.asarray(y)[:, None] == self.classes_, 1.0, -1.0)

    def _scores(self, X):
        X = self._validate_rows(X)
        block = self._block_of(X, np.ones(len(X), dtype=bool), "target")
        rows = self._with_constant(self._target_scaler, block)
        scores = rows @ (self.translator_ @ self.class_vectors_.T)
        return scores.astype(X.dtype, copy=False)

    def decision_function(self, X):
        r"""Compute the scores :math:`f_c` of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows; only the target's block is read.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores in the order of ``classes_``; of two classes that of the second.
        """
        scores = self._scores(X)
        return scores[:, 1] if len(self.classes_) == 2 else scores

    def predict_proba(self, X):
        """Predict class probabilities of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows; only the target's block is read.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Logistic functions of the scores, divided by their sum.
        """
        proba = expit(self._scores(X))
        return proba / proba.sum(axis=1, keepdims=True)

    def predict(self, X):
        """Predict the classes of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows; only the target's block is read.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            The class of the largest score.
        """
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = not self._one_space
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.regression = False
        return tags
