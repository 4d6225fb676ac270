"""Selection of features on which the domains agree."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.feature_selection import SelectorMixin

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._solvers.kernels import kernel_matrix, median_gamma, order_free_sample
from sktransfer.base import TransferTransformer

__all__ = ["FeatureMMDSelection"]


class FeatureMMDSelection(TransferTransformer, SelectorMixin):
    r"""Feature selection by maximum mean discrepancy: drop what separates the domains.

    Each feature gets the weight that makes the discrepancy between the domains
    largest; features of large weight are dropped. Labels are not used.

    Parameters
    ----------
    n_features_to_select : {"auto"}, int in [1, inf) or float in (0, 1], default="auto"
        Number or share of the features to keep. "auto": those below the largest gap
        between the sorted weights, all where the weights are equal.
    kernel : {"linear", "rbf"}, default="linear"
        "linear" compares the means of a feature, in its own unit; "rbf" its whole
        distribution, whatever its unit.
    max_samples : int in [2, inf), default=500
        A domain with more samples is represented by a random sample of this size; only
        with ``kernel="rbf"``, whose cost is quadratic in it.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples.

    Attributes
    ----------
    scores_ : ndarray of shape (n_features,)
        Squared discrepancy of each feature; 0 without sources.
    weights_ : ndarray of shape (n_features,)
        Weights of norm 1 that make the discrepancy largest, proportional to the
        scores.
    support_ : ndarray of shape (n_features,)
        True for features that are kept; all of them without sources.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TCA : Components on which the means of the domains agree.
    sktransfer.metrics.mmd : The discrepancy of all features together.

    Notes
    -----
    For a kernel :math:`\sum_f w_f k(x_f, z_f)` the squared discrepancy is
    :math:`\sum_f w_f m_f` with :math:`m_f` that of feature f, so that under
    :math:`w \ge 0` and :math:`\lVert w \rVert \le 1` the largest one has
    :math:`w \propto m` [1]_. With the linear kernel :math:`m_f` is the squared
    difference of the means: standardize the features first. A feature whose weight is
    large may be the best one to predict with; compare by held-out labels where there
    are any.

    References
    ----------
    .. [1] S. Uguroglu, J. Carbonell. Feature selection for transfer learning. ECML
       PKDD, 2011. :doi:`10.1007/978-3-642-23808-6_28`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import FeatureMMDSelection
    >>> X = np.random.RandomState(0).normal(size=(60, 3))
    >>> domain = np.repeat([1, -1], 30)
    >>> X[domain == 1, 1] += 4
    >>> FeatureMMDSelection().fit(X, sample_domain=domain).get_support().tolist()
    [True, False, True]
    """

    _parameter_constraints: dict = {
        "n_features_to_select": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
        ],
        "kernel": [StrOptions({"linear", "rbf"})],
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_features_to_select="auto",
        *,
        kernel="linear",
        max_samples=500,
        random_state=0,
    ):
        self.n_features_to_select = n_features_to_select
        self.kernel = kernel
        self.max_samples = max_samples
        self.random_state = random_state

    def _fit_domains(self, data):
        d = data.X.shape[1]
        wanted = self.n_features_to_select
        if isinstance(wanted, Integral) and wanted > d:
            raise ValueError(
                f"n_features_to_select={wanted} exceeds the number of features, "
                f"n_features = {d}."
            )
        self.scores_ = np.zeros(d)
        if data.n_source:
            by_kernel = {"linear": self._mean_gaps, "rbf": self._discrepancies}
            self.scores_ = by_kernel[self.kernel](data)
        size = float(np.linalg.norm(self.scores_))
        self.weights_ = self.scores_ / size if size > 0 else np.full(d, d**-0.5)
        self.support_ = np.ones(d, dtype=bool)
        if data.n_source:
            self.support_ = self._least(self.scores_)

    def _mean_gaps(self, data):
        means = [
            np.asarray(X.mean(axis=0), dtype=np.float64).ravel()
            for X in (data.X_source, data.X_target)
        ]
        return (means[0] - means[1]) ** 2

    def _discrepancies(self, data):
        kept = []
        for X in (data.X_source, data.X_target):
            rows = take_rows(
                X, order_free_sample(X, self.max_samples, self.random_state)
            )
            kept.append(rows.toarray() if sparse.issparse(rows) else rows)
        source, target = (rows.astype(np.float64) for rows in kept)
        n_source, n_target = len(source), len(target)
        v = np.repeat([1 / n_source, -1 / n_target], [n_source, n_target])
        scores = np.empty(source.shape[1])
        for f in range(len(scores)):
            column = np.r_[source[:, f], target[:, f]][:, None]
            K = kernel_matrix(column, kernel="rbf", gamma=median_gamma(column))
            scores[f] = max(float(v @ K @ v), 0.0)
        return scores

    def _least(self, scores):
        """Return the mask of the features of least score that are kept."""
        order = np.argsort(scores, kind="stable")
        wanted = self.n_features_to_select
        if wanted == "auto":
            gaps = np.diff(scores[order])
            n_kept = len(scores)
            if len(gaps) and gaps.max() > 0:
                n_kept = int(gaps.argmax()) + 1
        elif isinstance(wanted, Integral):
            n_kept = int(wanted)
        else:
            n_kept = max(1, round(wanted * len(scores)))
        mask = np.zeros(len(scores), dtype=bool)
        mask[order[:n_kept]] = True
        return mask

    def _get_support_mask(self):
        return self.support_

    def _transform(self, X, source):
        return X[:, np.flatnonzero(self.support_)]

    @property
    def _n_features_out(self):
        return int(self.support_.sum())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        return tags
