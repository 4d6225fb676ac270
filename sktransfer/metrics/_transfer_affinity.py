"""Which source wins against which, sample by sample."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils import Bunch, check_array, check_random_state

from sktransfer._compat import validate_params
from sktransfer._domains import check_domains, take_rows
from sktransfer._learners import HasLearnerMethods, check_weights
from sktransfer._response import common_columns
from sktransfer.base import as_rows, slice_params
from sktransfer.exceptions import DomainError
from sktransfer.metrics._evidence import row_evidence
from sktransfer.metrics._negative_transfer import labeled_folds, with_groups
from sktransfer.metrics._pair import check_knows_domains, fit_transfer

__all__ = ["affinity_of_losses", "transfer_affinity"]

_LEAST = 1e-3
#: relative difference of losses that counts as none
_ROUNDING = 1e-9


@validate_params(
    {"losses": ["array-like"], "sample_weight": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def affinity_of_losses(losses: Any, *, sample_weight: Any = None) -> NDArray[Any]:
    r"""Turn losses of several models on the same samples into shares of their value.

    Parameters
    ----------
    losses : array-like of shape (n_models, n_samples)
        Loss of each model on each held-out sample.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    affinity : ndarray of shape (n_models,)
        Positive, with the sum 1; higher is better.

    Raises
    ------
    ValueError
        If losses or weights are not finite or of a wrong shape.

    See Also
    --------
    transfer_affinity : Compute the losses, too.

    Notes
    -----
    :math:`D_{ij}` is the share of samples on which model i has a smaller loss than
    model j, moved into [0.001, 0.999]; one that is equal to nine digits counts half.
    The affinity is the leading eigenvector of the matrix of odds :math:`D_{ij} /
    D_{ji}` [1]_: of two models the odds, of equal models uniform. A monotone change of
    the loss changes nothing.

    References
    ----------
    .. [1] A. R. Zamir et al., "Taskonomy: disentangling task transfer learning", CVPR
       (2018), :doi:`10.1109/CVPR.2018.00391`.

    Examples
    --------
    >>> from sktransfer.metrics import affinity_of_losses
    >>> affinity_of_losses([[1, 1, 1, 3], [2, 2, 2, 2]])
    array([0.75, 0.25])
    """
    losses = check_array(losses, dtype=np.float64, input_name="losses")
    weight = np.ones(losses.shape[1])
    if sample_weight is not None:
        weight = check_weights(sample_weight, losses.shape[1])
    if weight.sum() == 0:
        raise ValueError("sample_weight is zero for every sample.")
    return _affinity(_wins(losses, weight / weight.sum()))


def _wins(losses: NDArray[Any], share: NDArray[Any]) -> NDArray[Any]:
    """Return the share of the samples on which each model beats each other."""
    gap = losses[None, :, :] - losses[:, None, :]
    size = np.abs(losses[None, :, :]) + np.abs(losses[:, None, :])
    steps = np.where(np.abs(gap) <= _ROUNDING * size, 0.0, np.sign(gap))
    return 0.5 + 0.5 * steps @ share


def _affinity(wins: NDArray[Any]) -> NDArray[Any]:
    clipped = np.clip(wins, _LEAST, 1 - _LEAST)
    values, vectors = np.linalg.eig(clipped / clipped.T)
    leading = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
    return leading / leading.sum()


@validate_params(
    {
        "estimator": [HasLearnerMethods(["fit", "predict"])],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "sample_domain": ["array-like", Integral],
        "cv": ["cv_object"],
        "groups": ["array-like", None],
        "params": [dict, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def transfer_affinity(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    cv: Any = 5,
    groups: Any = None,
    params: dict[str, Any] | None = None,
    random_state: Any = 0,
) -> Any:
    r"""Compare the transfers from all sources sample by sample.

    The estimator is fitted on each source alone with the target. Held-out target
    samples decide, pair by pair, which source serves them better.

    Parameters
    ----------
    estimator : estimator
        Estimator with ``sample_domain``, such as ``Pooled(LogisticRegression())``, or a
        pipeline that ends in one.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, ...)
        Samples of every domain, in any order.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels, missing for unlabeled target samples.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    cv : int, splitter or iterable, default=5
        Folds of labeled target samples, as in
        :func:`~sktransfer.metrics.cross_val_ntg`.
    groups : array-like of shape (n_samples,), default=None
        Unit of each sample, such as the patient: a unit counts once, and is never
        fitted on and tested at once.
    params : dict, default=None
        Metadata for ``fit``, one entry per sample; ``"sample_weight"`` counts in the
        shares, too.
    random_state : int, RandomState instance or None, default=0
        Deals the samples to the folds.

    Returns
    -------
    result : :class:`~sklearn.utils.Bunch`
        With the keys

        sources : ndarray of shape (n_sources,)
            Their ids.
        affinity : ndarray of shape (n_sources,)
            Positive, with the sum 1; higher is better.
        wins : ndarray of shape (n_sources, n_sources)
            Share of held-out target samples that the source of the row serves better
            than that of the column; 1/2 for equal losses.

    Raises
    ------
    DomainError
        If there is no source or not exactly one target.
    UnlabeledTargetError
        If the labeled target samples are too few to hold some out.
    TypeError
        If ``estimator`` does not know domains.

    See Also
    --------
    affinity_of_losses : The same from losses that are known already.
    rank_sources : Has it as the score "affinity".

    Notes
    -----
    The loss is the squared error; of classes the squared distance between probabilities
    (decision values, votes) and the indicator of the class.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.metrics import transfer_affinity
    >>> X = np.random.default_rng(0).normal(size=(90, 2))
    >>> domain = np.repeat([1, 2, -1], 30)
    >>> y = X[:, 0] * np.where(domain == 2, -1.0, 1.0)  # the second is reversed
    >>> found = transfer_affinity(Pooled(Ridge()), X, y, sample_domain=domain)
    >>> bool(found.affinity[0] > 0.9)
    True
    """
    check_knows_domains(estimator)
    classify = is_classifier(estimator)
    data = check_domains(
        as_rows(X), y, sample_domain, numeric_labels=not classify, multi_output=True
    )
    if len(data.targets) != 1 or not data.n_source:
        raise DomainError(
            f"sample_domain names {len(data.sources)} sources and {len(data.targets)} "
            "targets; at least one source and exactly one target are needed."
        )
    params = with_groups(params, groups)
    folds = labeled_folds(
        data, cv, params=params, stratify=classify,
        random_state=check_random_state(random_state),
    )  # fmt: skip
    return affinity_on_folds(estimator, data, folds, params)


def affinity_on_folds(
    estimator: Any, data: Any, folds: Any, params: dict[str, Any]
) -> Any:
    """Return the affinity of the sources, as :func:`transfer_affinity` does.

    Parameters
    ----------
    estimator : estimator
        It takes ``sample_domain``.
    data : DomainData
        Checked rows.
    folds : list of (train, test)
        Of :func:`~sktransfer._folds.target_folds`.
    params : dict
        Metadata for ``fit``, one entry per row.

    Returns
    -------
    result : Bunch
        Sources, affinity and wins.
    """
    exists = np.ones(len(data.sample_domain), dtype=bool)
    if params.get("sample_weight") is not None:
        exists = np.asarray(params["sample_weight"], dtype=np.float64) > 0
    sources = np.unique(data.sample_domain[data.is_source & exists])
    losses = []
    for train, test in folds:
        models = []
        for source in sources:
            rows = data.mask_of(train) & exists
            rows &= data.is_target | data.rows_of(source)
            models.append(
                fit_transfer(estimator, data.take(rows), slice_params(params, rows))
            )
        y = data.labels(data.mask_of(test))
        columns = common_columns(models, y, classify=is_classifier(estimator))
        X = take_rows(data.X, test)
        columns = columns.completed(dict(enumerate(models)), data.X_labeled)
        residuals = columns.code(y) - columns.answers(models, X)
        losses.append(np.sum(np.square(residuals), axis=-1))
    weights = {name: params.get(name) for name in ("groups", "sample_weight")}
    weight, _ = row_evidence(data, folds, **weights)
    # an error below this is that of rounding, which decides nothing
    coded = columns.code(data.y_labeled)
    losses = np.maximum(np.concatenate(losses, axis=1), 1e-24 * np.max(coded**2))
    wins = _wins(losses, weight / weight.sum())
    return Bunch(sources=sources, affinity=_affinity(wins), wins=wins)
