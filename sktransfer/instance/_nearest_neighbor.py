"""Density ratios by counting which source sample is nearest to a target sample."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from sktransfer._compat import Interval, validate_params
from sktransfer._domains import take_rows
from sktransfer._solvers.kernels import common_origin
from sktransfer.instance._ratio_template import (
    PAIR_CONSTRAINTS,
    RatioWeighting,
    check_pair,
)

__all__ = ["NearestNeighborWeighting", "nearest_neighbor_weights"]

_CONSTRAINTS = {
    "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    "smoothing": [Interval(Real, 0, None, closed="left")],
}
#: distances that differ by less are equal
_TIE = 1e-9


@validate_params(
    {**PAIR_CONSTRAINTS, **_CONSTRAINTS}, prefer_skip_nested_validation=True
)
def nearest_neighbor_weights(X_source, X_target, *, n_neighbors=1, smoothing=1.0):
    r"""Weigh source samples by how many target samples they are nearest to.

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Source samples.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Target samples, labeled or not.
    n_neighbors : int in [1, inf), default=1
        How many nearest source samples share a target sample.
    smoothing : float in [0, inf), default=1.0
        Added to each count (Laplace smoothing); 0: a source sample that no target
        sample is near to gets the weight 0.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Weights with mean 1.

    Raises
    ------
    ValueError
        If the domains have different numbers of features, or there are fewer source
        samples than neighbors.

    See Also
    --------
    NearestNeighborWeighting : A learner that is fitted with these weights.

    Notes
    -----
    .. math:: w_i = n_s \frac{c_i + a}{n_t + a n_s}, \qquad
        c_i = \tfrac1k \sum_{j \in T} [x_i \text{ is among the } k \text{ source
        samples nearest to } x_j]

    with a = `smoothing` [1]_. Source samples at the same distance share their count,
    so that neither copies of a sample nor the order of the samples matter. Distances
    are Euclidean: scale the features. Time grows with :math:`n_s n_t`, memory does
    not.

    References
    ----------
    .. [1] M. Loog. Nearest neighbor-based importance weighting. IEEE International
       Workshop on Machine Learning for Signal Processing, 2012.

    Examples
    --------
    >>> from sktransfer.instance import nearest_neighbor_weights
    >>> X_source, X_target = [[0.0], [1.0], [2.0]], [[1.1], [2.1], [2.2]]
    >>> nearest_neighbor_weights(X_source, X_target)
    array([0.5, 1. , 1.5])
    """
    X_source, X_target = check_pair(X_source, X_target)
    return _weights(X_source, X_target, n_neighbors, smoothing)


def _weights(X_source, X_target, n_neighbors, smoothing):
    n_source, n_target = X_source.shape[0], X_target.shape[0]
    if n_source < n_neighbors:
        raise ValueError(
            f"n_neighbors={n_neighbors}, but there are {n_source} source samples."
        )
    stack = sparse.vstack if sparse.issparse(X_source) else np.concatenate
    moved = common_origin(stack([X_source, X_target]).astype(np.float64))[0]
    X_source, X_target = moved[:n_source], moved[n_source:]
    # what rounding leaves of a distance of 0
    noise = 1e-14 * float(abs(moved).max()) ** 2 * moved.shape[1]
    search = NearestNeighbors(n_neighbors=min(n_neighbors + 1, n_source))
    distance, near = search.fit(X_source).kneighbors(X_target)
    # a further neighbor at the distance of the k-th shares its place
    kth = distance[:, n_neighbors - 1] ** 2
    tied = distance[:, -1] ** 2 <= kth * (1 + 4 * _TIE) + 4 * noise
    tied &= n_neighbors < n_source
    places = near[~tied, :n_neighbors].ravel()
    counts = np.bincount(places, minlength=n_source) / n_neighbors
    if tied.any():
        counts += _shared_counts(
            X_source, take_rows(X_target, tied), n_neighbors, noise
        )
    weights = counts + smoothing
    return weights * (n_source / (n_target + smoothing * n_source))


def _shared_counts(X_source, X_target, n_neighbors, noise):
    """Count neighbors where some are at the same distance."""
    n_source = X_source.shape[0]
    counts = np.zeros(n_source)
    chunks = pairwise_distances_chunked(
        X_target, X_source, metric="euclidean", squared=True, working_memory=64
    )
    for square in chunks:
        if n_neighbors == 1:
            kth = square.min(axis=1)
        else:
            kth = np.partition(square, n_neighbors - 1, axis=1)[:, n_neighbors - 1]
        row, near = np.nonzero(square <= (kth * (1 + _TIE) + noise)[:, None])
        inside = square[row, near] < (kth * (1 - _TIE) - noise)[row]
        # those at the distance of the k-th share the places that are left
        n_inside = np.bincount(row[inside], minlength=len(kth))
        n_tied = np.bincount(row[~inside], minlength=len(kth))
        share = np.where(inside, 1.0, ((n_neighbors - n_inside) / n_tied)[row])
        counts += np.bincount(near, weights=share / n_neighbors, minlength=n_source)
    return counts


class NearestNeighborWeighting(RatioWeighting):
    r"""Fit a learner on source samples weighted by their nearest target samples.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    n_neighbors : int in [1, inf), default=1
        How many nearest source samples share a target sample.
    smoothing : float in [0, inf), default=1.0
        Added to each count, see :func:`nearest_neighbor_weights`.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample; the mean weight of a source sample is 1.
    per_source : bool, default=False
        False: all sources are one denominator. True: each source has its own ratio.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, without the user's
        ``sample_weight``, by which they are multiplied.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    ratio_info_ : list
        Empty: there is nothing to choose.
    estimator_ : estimator
        The fitted learner.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    nearest_neighbor_weights : The weights alone, with the equations.
    ULSIF : A smooth ratio.

    References
    ----------
    .. [1] M. Loog. Nearest neighbor-based importance weighting. IEEE International
       Workshop on Machine Learning for Signal Processing, 2012.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import NearestNeighborWeighting
    >>> X = [[0.0], [1.0], [2.0], [1.1], [2.1], [2.2]]
    >>> y = [0.0, 1.0, 4.0, float("nan"), float("nan"), float("nan")]
    >>> model = NearestNeighborWeighting(LinearRegression())
    >>> model.fit(X, y, sample_domain=[1, 1, 1, -1, -1, -1]).sample_weight_
    array([0.5, 1. , 1.5])
    """

    _parameter_constraints: dict = {
        **RatioWeighting._parameter_constraints,
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator,
        *,
        n_neighbors=1,
        smoothing=1.0,
        target_weight=1.0,
        per_source=False,
    ):
        super().__init__(estimator, target_weight=target_weight, per_source=per_source)
        self.n_neighbors = n_neighbors
        self.smoothing = smoothing

    def _ratio(self, X_source, X_target, rng):
        ratio = _weights(X_source, X_target, self.n_neighbors, self.smoothing)
        return ratio, None
