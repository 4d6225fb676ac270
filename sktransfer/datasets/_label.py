"""Label shift: the labels' law moves, the inputs given the label stay."""

from numbers import Integral, Real

import numpy as np
from scipy.special import expit, logsumexp
from scipy.stats import norm
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, validate_params
from sktransfer._domains import is_source
from sktransfer.datasets._assemble import (
    COMMON_CONSTRAINTS,
    assemble,
    check_shifts,
    per_domain,
    unit_vectors,
)

__all__ = ["make_label_shift"]

_OWN = {
    "n_features": [Interval(Integral, 1, None, closed="left")],
    "separation": [Interval(Real, 0, None, closed="left")],
}


@validate_params(
    {k: v for k, v in COMMON_CONSTRAINTS.items() if k != "noise"} | _OWN,
    prefer_skip_nested_validation=True,
)
def make_label_shift(
    n_source=200,
    *,
    n_labeled=20,
    n_unlabeled=200,
    n_test=1000,
    n_features=2,
    shift=1.5,
    separation=2.0,
    task="classification",
    random_state=None,
):
    r"""Generate domains that differ in how frequent each label is.

    Parameters
    ----------
    n_source : int >= 1, default=200
        Rows of each source.
    n_labeled : int >= 0, default=20
        Labeled target rows.
    n_unlabeled : int >= 0, default=200
        Unlabeled target rows.
    n_test : int >= 0, default=1000
        Further target rows, returned apart.
    n_features : int >= 1, default=2
        Number of features.
    shift : float or array-like of shape (n_sources,), default=1.5
        Classification: log-odds of class 1 in the source; in the target they are 0.
        Regression: mean of y in the source; in the target it is 0. A list makes one
        source per entry.
    separation : float >= 0, default=2.0
        Distance between the inputs' means of the two classes, or of two labels one
        apart; the inputs' standard deviation is 1.
    task : {"classification", "regression"}, default="classification"
        Whether ``y`` is a class 0 or 1 or a normal variable of variance 1.
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
            True ratio of the labels' laws for each source row, in input order.
        label_law : dict of int to float
            Probability of class 1, or mean of y, of each domain id.

    See Also
    --------
    sktransfer.datasets.make_covariate_shift : The law of the inputs moves.

    Notes
    -----
    In every domain :math:`x \mid y \sim N(s\,y\,u, I)` with a random unit vector
    :math:`u` and :math:`s` = ``separation``. The weights are ratios to all sources
    pooled,

    .. math:: w(y) = p_T(y) \Big/ \frac{1}{K} \sum_{k=1}^{K} p_k(y).

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.datasets import make_label_shift
    >>> data = make_label_shift(shift=np.log(3), random_state=0)
    >>> {k: round(law, 2) for k, law in data.label_law.items()}
    {1: 0.75, -1: 0.5}
    """
    rng, shifts = check_random_state(random_state), check_shifts(shift)
    [direction] = unit_vectors(1, n_features, rng)
    laws = expit(shifts) if task == "classification" else shifts
    target_law = 0.5 if task == "classification" else 0.0

    def draw(n_rows, source):
        law = target_law if source is None else laws[source]
        if task == "classification":
            y = (rng.uniform(size=n_rows) < law).astype(np.int64)
        else:
            y = law + rng.standard_normal(n_rows)
        noise = rng.standard_normal((n_rows, n_features))
        return separation * np.outer(y, direction) + noise, y

    data = assemble(
        draw,
        len(shifts),
        n_source=n_source,
        n_labeled=n_labeled,
        n_unlabeled=n_unlabeled,
        n_test=n_test,
    )
    y_source = data.y[is_source(data.sample_domain)]
    data.sample_weight_true = _label_ratio(y_source, laws, target_law, task)
    data.label_law = per_domain(laws.tolist(), target_law)
    return data


def _label_ratio(y, laws, target_law, task):
    """Law of the target's labels over that of the pooled sources, at ``y``."""

    def log_law(law):
        if task == "regression":
            return norm.logpdf(y, loc=law)
        return np.log(np.where(y == 1, law, 1 - law))

    sources = [log_law(law) for law in laws]
    return np.exp(log_law(target_law) - logsumexp(sources, axis=0, b=1 / len(laws)))
