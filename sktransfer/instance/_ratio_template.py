"""What all methods share that weigh source samples by a ratio of densities."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_random_state

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._domains import take_rows
from sktransfer._learners import LearnerMethodsMixin
from sktransfer._solvers import density_ratio
from sktransfer.base import ReweightingMetaEstimator, missing_hook

WIDTH_CONSTRAINTS: dict[str, Any] = {
    "gamma": [
        StrOptions({"cv", "median", "scale"}),
        Interval(Real, 0, None, closed="neither"),
    ],
    "n_centers": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
}
PAIR_CONSTRAINTS: dict[str, Any] = {
    "X_source": ["array-like", "sparse matrix"],
    "X_target": ["array-like", "sparse matrix"],
}


def check_pair(X_source, X_target, *, accept_sparse="csr"):
    """Check the samples of two domains and make both dense, or both sparse."""
    options = {"accept_sparse": accept_sparse, "dtype": [np.float64, np.float32]}
    X_source = check_array(X_source, input_name="X_source", **options)
    X_target = check_array(X_target, input_name="X_target", **options)
    if X_source.shape[1] != X_target.shape[1]:
        raise ValueError(
            f"X_source has {X_source.shape[1]} features, but X_target has "
            f"{X_target.shape[1]}."
        )
    if sparse.issparse(X_source) != sparse.issparse(X_target):
        X_source, X_target = sparse.csr_array(X_source), sparse.csr_array(X_target)
    return X_source, X_target


@validate_params(
    {"weights": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def effective_sample_size(weights):
    r"""Count how many equally weighted samples some weights are worth.

    Parameters
    ----------
    weights : array-like of shape (n_samples,)
        Weights, finite and not negative.

    Returns
    -------
    size : float
        :math:`(\sum_i w_i)^2 / \sum_i w_i^2`, between 1 and n_samples; 0 if all
        weights are 0.

    Raises
    ------
    ValueError
        If a weight is negative or not finite.

    Examples
    --------
    >>> from sktransfer.instance import effective_sample_size
    >>> effective_sample_size([1.0, 1.0, 1.0, 1.0])
    4.0
    >>> effective_sample_size([5.0, 0.0, 0.0, 0.0])
    1.0
    """
    weights = check_array(
        weights, input_name="weights", ensure_2d=False, dtype=np.float64
    )
    if weights.ndim != 1 or (weights < 0).any():
        raise ValueError("weights must be one-dimensional and not negative.")
    return density_ratio.effective_sample_size(weights)


class RatioWeighting(LearnerMethodsMixin, ReweightingMetaEstimator):
    """Template: the hook ``_ratio(X_source, X_target, rng)`` weighs source samples.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample.
    per_source : bool, default=False
        One ratio for each source, or one for all sources together.
    """

    _parameter_constraints: dict = {
        **ReweightingMetaEstimator._parameter_constraints,
        "per_source": ["boolean"],
    }
    #: whether the mathematics takes sparse rows
    _takes_sparse = True

    def __init__(self, estimator, *, target_weight=1.0, per_source=False):
        super().__init__(estimator, target_weight=target_weight)
        self.per_source = per_source

    def _weigh_sources(self, data):
        X = self._rows_to_weigh(data.X)
        rng = check_random_state(getattr(self, "random_state", None))
        self.ratio_info_ = []
        weights = np.zeros(len(data.sample_domain))
        X_target = take_rows(X, data.is_target)
        for rows in self._denominators(data):
            ratio, info = self._ratio(take_rows(X, rows), X_target, rng)
            weights[rows] = ratio
            if info is not None:
                self.ratio_info_.append(info)
        return weights[data.is_source]

    def _ratio(self, X_source, X_target, rng):
        """Return the weights of source samples, and an info object or None."""
        raise missing_hook(self, "_ratio(X_source, X_target, rng)")

    def _rows_to_weigh(self, X):
        sparse_form = "csr" if self._takes_sparse else False
        return self._numeric_rows(X, accept_sparse=sparse_form)

    def _denominators(self, data):
        """Return the masks of the source samples that one ratio each is for."""
        if self.per_source:
            return [data.rows_of(source) for source in data.sources]
        return [data.is_source] if data.n_source else []

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        if not self._takes_sparse:
            tags.input_tags.sparse = False
        tags.transfer_tags.uses_unlabeled = True
        if self.target_weight == 0:
            tags.transfer_tags.target_labels = "unused"
        return tags
