"""Noise of labels, such as pseudo-labels, from a graph of neighbors."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from sktransfer._compat import Interval, validate_params
from sktransfer._solvers.cut_edge import cut_edge_noise

__all__ = ["label_noise"]


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def label_noise(X, y, *, n_neighbors=10):
    r"""Estimate for each label how probable it is that it is noise.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples; scale the features, as distances count.
    y : array-like of shape (n_samples,)
        Their classes, true or guessed.
    n_neighbors : int in [1, inf), default=10
        Neighbors whose labels are compared.

    Returns
    -------
    noise : ndarray of shape (n_samples,)
        Values in [0, 1]: near 0 where the neighbors agree with the label, about 1/2
        where labels do not depend on neighbors, near 1 where neighbors disagree.

    Raises
    ------
    ValueError
        If `X` and `y` have different lengths.

    Notes
    -----
    The statistic is that of the cut-edge weight test: with
    :math:`w_{ij} = 1 / (1 + d_{ij})` over the nearest neighbors j of sample i and the
    share :math:`\pi` of its class, :math:`J_i = \sum_j w_{ij} [y_i \ne y_j]` has mean
    :math:`(1 - \pi) \sum_j w_{ij}` and variance
    :math:`\pi (1 - \pi) \sum_j w_{ij}^2` where labels are independent of neighbors
    [1]_. The mean of the values is an estimate of the noise rate.

    References
    ----------
    .. [1] L. Gui, R. Xu, Q. Lu, J. Du, Y. Zhou. Negative transfer detection in
       transductive transfer learning. International Journal of Machine Learning and
       Cybernetics 9, 2018.

    Examples
    --------
    One label among the others of its cluster is wrong.

    >>> import numpy as np
    >>> from sktransfer.pseudo_label import label_noise
    >>> X = np.r_[np.linspace(0, 1, 20), np.linspace(9, 10, 20)][:, None]
    >>> y = np.repeat(["a", "b"], 20)
    >>> y[5] = "b"
    >>> int(label_noise(X, y).argmax())
    5
    """
    X = check_array(X, accept_sparse="csr", input_name="X")
    y = column_or_1d(y)
    check_consistent_length(X, y)
    return cut_edge_noise(X, np.asarray(y), n_neighbors)
