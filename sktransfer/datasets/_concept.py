"""Concept shift: the inputs stay, the rule moves, all coefficients are known."""

from numbers import Integral

from sklearn.utils import check_random_state

from sktransfer._compat import Interval, validate_params
from sktransfer.datasets._assemble import (
    COMMON_CONSTRAINTS,
    assemble,
    check_shifts,
    per_domain,
    to_labels,
    unit_vectors,
)

__all__ = ["make_concept_shift"]


@validate_params(
    {
        **COMMON_CONSTRAINTS,
        "n_features": [Interval(Integral, 2, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def make_concept_shift(
    n_source=200,
    *,
    n_labeled=20,
    n_unlabeled=100,
    n_test=1000,
    n_features=10,
    shift=0.5,
    noise=0.3,
    task="regression",
    random_state=None,
):
    r"""Generate domains with the same inputs and different linear rules.

    Parameters
    ----------
    n_source : int >= 1, default=200
        Rows of each source.
    n_labeled : int >= 0, default=20
        Labeled target rows.
    n_unlabeled : int >= 0, default=100
        Unlabeled target rows.
    n_test : int >= 0, default=1000
        Further target rows, returned apart.
    n_features : int >= 2, default=10
        Number of features.
    shift : float or array-like of shape (n_sources,), default=0.5
        Distance between the coefficients of a source and of the target, which have
        norm 1; a list makes one source per entry.
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
        coef : dict of int to ndarray of shape (n_features,)
            Coefficients of each domain id.

    See Also
    --------
    sktransfer.datasets.make_covariate_shift : The inputs move, the rule stays.

    Notes
    -----
    In every domain :math:`x \sim N(0, I)`. The rule of domain :math:`k` is
    :math:`w_k^\top x` with :math:`w_k = w_T + \delta_k v_k`, where :math:`w_T` and the
    :math:`v_k` are random unit vectors and :math:`\delta_k` is the shift. The target
    rule used on the target has mean squared error :math:`\text{noise}^2`, the rule of
    source :math:`k` has :math:`\text{noise}^2 + \delta_k^2`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.datasets import make_concept_shift
    >>> data = make_concept_shift(shift=[0.0, 2.0], random_state=0)
    >>> [float(np.linalg.norm(data.coef[k] - data.coef[-1]).round(3)) for k in (1, 2)]
    [0.0, 2.0]
    """
    rng, shifts = check_random_state(random_state), check_shifts(shift)
    target_coef, *directions = unit_vectors(1 + len(shifts), n_features, rng)
    coefs = [
        target_coef + size * direction
        for size, direction in zip(shifts, directions, strict=True)
    ]

    def draw(n_rows, source):
        coef = target_coef if source is None else coefs[source]
        X = rng.standard_normal((n_rows, n_features))
        return X, to_labels(X @ coef, noise=noise, task=task, rng=rng)

    data = assemble(
        draw,
        len(shifts),
        n_source=n_source,
        n_labeled=n_labeled,
        n_unlabeled=n_unlabeled,
        n_test=n_test,
    )
    data.coef = per_domain(coefs, target_coef)
    return data
