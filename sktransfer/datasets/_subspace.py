"""Subspace shift: the signal lies in planes that are turned against each other."""

from numbers import Integral, Real

import numpy as np
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

__all__ = ["make_subspace_shift"]


@validate_params(
    {
        **COMMON_CONSTRAINTS,
        "n_features": [Interval(Integral, 2, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "feature_noise": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def make_subspace_shift(
    n_source=200,
    *,
    n_labeled=10,
    n_unlabeled=200,
    n_test=1000,
    n_features=20,
    n_components=2,
    shift=0.8,
    feature_noise=0.1,
    noise=0.1,
    task="classification",
    random_state=None,
):
    r"""Generate domains whose rows lie near subspaces turned against each other.

    The label depends on the coordinates within the subspace in the same way in every
    domain, so a learner that aligns the subspaces can carry the rule over.

    Parameters
    ----------
    n_source : int >= 1, default=200
        Rows of each source.
    n_labeled : int >= 0, default=10
        Labeled target rows.
    n_unlabeled : int >= 0, default=200
        Unlabeled target rows.
    n_test : int >= 0, default=1000
        Further target rows, returned apart.
    n_features : int >= 2 * n_components, default=20
        Number of features.
    n_components : int >= 1, default=2
        Dimension of the subspaces.
    shift : float or array-like of shape (n_sources,), default=0.8
        Every principal angle between a source's subspace and the target's, in
        radians; a list makes one source per entry.
    feature_noise : float >= 0, default=0.1
        Standard deviation of the noise on each feature.
    noise : float >= 0, default=0.1
        Standard deviation of the noise on the rule's value.
    task : {"classification", "regression"}, default="classification"
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
        basis : dict of int to ndarray of shape (n_features, n_components)
            Orthonormal basis of the subspace of each domain id.
        coef : ndarray of shape (n_components,)
            Coefficients of the rule, the same in all domains.

    See Also
    --------
    sktransfer.datasets.make_concept_shift : The rule moves, the inputs stay.

    Notes
    -----
    Rows are :math:`x = B_k z + e` with :math:`z \sim N(0, D^2)`,
    :math:`D = \operatorname{diag}(q, q - 1, \dots, 1)` for :math:`q` components, so
    that the principal axes are identified. The bases are

    .. math:: B_k = \cos(\delta_k) B_T + \sin(\delta_k) C,

    with :math:`C` orthonormal and orthogonal to :math:`B_T`. The rule is
    :math:`c^\top D^{-1} z` with a random unit vector :math:`c`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.datasets import make_subspace_shift
    >>> data = make_subspace_shift(shift=np.pi / 3, random_state=0)
    >>> (data.basis[1].T @ data.basis[-1]).round(2) + 0.0
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    if n_features < 2 * n_components:
        raise ValueError(
            f"n_features={n_features} must be at least twice n_components="
            f"{n_components}, so that a subspace can be turned."
        )
    rng, shifts = check_random_state(random_state), check_shifts(shift)
    target_basis, other = _orthonormal_pair(n_features, n_components, rng)
    bases = [np.cos(angle) * target_basis + np.sin(angle) * other for angle in shifts]
    [coef] = unit_vectors(1, n_components, rng)
    spread = np.arange(n_components, 0, -1.0)

    def draw(n_rows, source):
        basis = target_basis if source is None else bases[source]
        z = rng.standard_normal((n_rows, n_components))
        X = (z * spread) @ basis.T
        X += feature_noise * rng.standard_normal(X.shape)
        return X, to_labels(z @ coef, noise=noise, task=task, rng=rng)

    data = assemble(
        draw,
        len(shifts),
        n_source=n_source,
        n_labeled=n_labeled,
        n_unlabeled=n_unlabeled,
        n_test=n_test,
    )
    data.basis, data.coef = per_domain(bases, target_basis), coef
    return data


def _orthonormal_pair(n_features, n_components, rng):
    random = rng.standard_normal((n_features, 2 * n_components))
    basis = np.linalg.qr(random)[0]
    return basis[:, :n_components], basis[:, n_components:]
