"""Covariate shift: the inputs move, the rule stays, the density ratio is known."""

from numbers import Integral, Real

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, validate_params
from sktransfer._domains import is_source
from sktransfer.datasets._assemble import (
    COMMON_CONSTRAINTS,
    assemble,
    check_shifts,
    to_labels,
)

__all__ = ["make_covariate_shift"]


@validate_params(
    {
        **COMMON_CONSTRAINTS,
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "target_scale": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def make_covariate_shift(
    n_source=300,
    *,
    n_labeled=10,
    n_unlabeled=600,
    n_test=1000,
    n_features=1,
    shift=0.5,
    target_scale=0.4,
    noise=0.3,
    task="regression",
    random_state=None,
):
    r"""Generate domains that differ in their inputs alone.

    Every domain has the same nonlinear rule, so a linear model is misspecified: its
    best fit differs from region to region, and source rows are worth as much as the
    target has rows like them.

    Parameters
    ----------
    n_source : int >= 1, default=300
        Rows of each source.
    n_labeled : int >= 0, default=10
        Labeled target rows.
    n_unlabeled : int >= 0, default=600
        Unlabeled target rows.
    n_test : int >= 0, default=1000
        Further target rows, returned apart.
    n_features : int >= 1, default=1
        Number of features.
    shift : float or array-like of shape (n_sources,), default=0.5
        Distance from the target's mean to the source's; a list makes one source per
        entry.
    target_scale : float > 0, default=0.4
        Standard deviation of each target feature; that of a source is 1.
    noise : float >= 0, default=0.3
        Standard deviation of the noise on the rule's value.
    task : {"classification", "regression"}, default="regression"
        Whether ``y`` is the noisy value of the rule or its sign (1 if positive).
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    data : Bunch
        ``X``, ``y``, ``sample_domain``, ``domain_names`` as of
        :func:`sktransfer.datasets.stack_domains`, and

        y_true : ndarray of shape (n_samples,)
            Labels of all rows, unlabeled target rows included.
        X_test, y_test : ndarray of shape (n_test, n_features), (n_test,)
            Further target rows and their labels.
        sample_weight_true : ndarray of shape (n_source_rows,)
            True density ratio of each source row, in input order.

    See Also
    --------
    sktransfer.datasets.make_concept_shift : The rule moves, the inputs stay.

    Notes
    -----
    With :math:`u = (1, \dots, 1) / \sqrt{d}` a source with shift :math:`\delta_k` is
    :math:`p_k = N(\delta_k u, I)` and the target is
    :math:`p_T = N(0, \text{target\_scale}^2 I)`. The rule is
    :math:`g(x) = t^3 - t`, :math:`t = u^\top x`. The density ratio is that to all
    sources pooled,

    .. math:: w(x) = p_T(x) \Big/ \frac{1}{K} \sum_{k=1}^{K} p_k(x).

    Examples
    --------
    >>> from sktransfer.datasets import make_covariate_shift
    >>> data = make_covariate_shift(n_source=4, n_unlabeled=3, random_state=0)
    >>> data.X.shape, data.sample_weight_true.shape
    ((17, 1), (4,))
    """
    rng, shifts = check_random_state(random_state), check_shifts(shift)
    direction = np.full(n_features, n_features**-0.5)

    def draw(n_rows, source):
        scale = target_scale if source is None else 1.0
        center = (0.0 if source is None else shifts[source]) * direction
        X = center + scale * rng.standard_normal((n_rows, n_features))
        along = X @ direction
        score = along**3 - along
        return X, to_labels(score, noise=noise, task=task, rng=rng)

    data = assemble(
        draw,
        len(shifts),
        n_source=n_source,
        n_labeled=n_labeled,
        n_unlabeled=n_unlabeled,
        n_test=n_test,
    )
    X_source = data.X[is_source(data.sample_domain)]
    data.sample_weight_true = _density_ratio(
        X_source, shifts[:, np.newaxis] * direction, target_scale
    )
    return data


def _density_ratio(X, source_means, target_scale):
    """Density of N(0, target_scale^2 I) over that of the mixture of N(mean, I)."""
    target = norm.logpdf(X, scale=target_scale).sum(axis=1)
    sources = [norm.logpdf(X, loc=mean).sum(axis=1) for mean in source_means]
    return np.exp(target - logsumexp(sources, axis=0, b=1 / len(source_means)))
