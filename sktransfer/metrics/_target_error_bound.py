"""Which factor makes a transfer fail: the parts of the bound on the target's error."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_random_state

from sktransfer._compat import HasMethods, validate_params
from sktransfer._domains import check_domains, take_rows
from sktransfer._folds import check_groups, deal_rows, deal_units
from sktransfer._learners import fit_or_constant, predict_learner
from sktransfer.base import as_rows
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics._checks import check_numbers
from sktransfer.metrics._domain_classifier import proxy_a_distance

__all__ = ["target_error_bound"]


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "sample_domain": ["array-like", Integral],
        "learner": [HasMethods(["fit", "predict"]), None],
        "cv": [Integral],
        "groups": ["array-like", None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def target_error_bound(
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    learner: Any = None,
    cv: Any = 5,
    groups: Any = None,
    random_state: Any = 0,
) -> dict[str, Any]:
    r"""Split what bounds the error on the target into its factors, source by source.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples of every domain, in any order; numbers.
    y : array-like of shape (n_samples,)
        Classes, missing for unlabeled target samples.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    learner : classifier, default=None
        Fitted on a source, and on a source with the labeled target samples. None:
        ``LogisticRegression(max_iter=1000)``.
    cv : int >= 2, default=5
        Folds of source and of labeled target samples in which errors are measured.
    groups : array-like of shape (n_samples,), default=None
        Unit of each sample: never fitted on and tested at once.
    random_state : int, RandomState instance or None, default=0
        Deals the samples to the folds.

    Returns
    -------
    table : dict of ndarray of shape (n_sources,)
        Ready for ``pandas.DataFrame(table)``: "source" (id), "source_error" (of the
        model of the source, on the source), "divergence" (half of the proxy
        A-distance), "joint_error", "joint_source_error" and "joint_target_error" (of
        one model of both; the first is the sum of the others), "total", and "factor",
        the name of the largest of "source_error", "divergence" and "joint_error".

    Raises
    ------
    DomainError
        If there is no source or not exactly one target.
    UnlabeledTargetError
        If no labeled target sample can be held out.
    ValueError
        If the labels are not classes, or X does not hold numbers.

    See Also
    --------
    proxy_a_distance : The divergence alone.
    which_shift : What differs between the domains, tested.
    sktransfer.inspection.transfer_report : Has this table.

    Notes
    -----
    For hypotheses h of one class [1]_

    .. math:: \varepsilon_T(h) \le \varepsilon_S(h) + \tfrac12 d(S, T) +
              \min_{h'} [\varepsilon_S(h') + \varepsilon_T(h')].

    The three terms are the quality of the source, the divergence of the inputs, and how
    far one rule can serve both. They tell which one to work on: clean the source, align
    the inputs, or correct the model, as no alignment mends rules that differ. All
    errors are held out, and the distance is that which one classifier of the domains
    sees, so that the total is an indicator and no bound. Identical domains have a
    divergence near 0; flipped labels a joint error near 1, whatever the inputs.

    References
    ----------
    .. [1] S. Ben-David et al., "A theory of learning from different domains", Machine
       Learning 79 (2010), :doi:`10.1007/s10994-009-5152-4`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import target_error_bound
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat([1, 2, -1], 60)
    >>> X = rng.normal(size=(180, 2)) + np.where(domain == 1, 6.0, 0.0)[:, None]
    >>> y = X[:, 0] - X[:, 1] > 0
    >>> y = np.where(domain == 2, ~y, y)  # the second is flipped
    >>> target_error_bound(X, y, sample_domain=domain)["factor"].tolist()
    ['divergence', 'joint_error']
    """
    if cv < 2:
        raise ValueError(f"cv must be at least 2, got {cv}.")
    data = check_domains(as_rows(X), y, sample_domain, numeric_labels=False)
    if len(data.targets) != 1 or not data.n_source:
        raise DomainError(
            f"sample_domain names {len(data.sources)} sources and {len(data.targets)} "
            "targets; at least one source and exactly one target are needed."
        )
    if data.labels(data.labeled).dtype.kind == "f":
        raise ValueError(
            "y holds numbers that are not whole: the bound is about error rates of "
            "classes."
        )
    learner = LogisticRegression(max_iter=1000) if learner is None else learner
    rows = check_numbers(data.X)
    data, rng = data.with_X(rows), check_random_state(random_state)
    seed = rng.randint(np.iinfo(np.int32).max)
    units = check_groups(groups, data)
    lines = [
        _factors(data, units, source, learner, cv, seed) for source in data.sources
    ]
    table = {"source": data.sources}
    for name in lines[0]:
        table[name] = np.array([line[name] for line in lines])
    terms = ["source_error", "divergence", "joint_error"]
    table["total"] = np.sum([table[name] for name in terms], axis=0)
    largest = np.argmax([table[name] for name in terms], axis=0)
    table["factor"] = np.array(terms, dtype=object)[largest]
    return table


def _factors(
    data: Any, units: NDArray[Any] | None, source: int, learner: Any, cv: Any, seed: int
) -> dict[str, Any]:
    """Return the terms of one source."""
    of_source, of_target = data.rows_of(source), data.is_labeled_target
    alone = _errors(data, units, [of_source], learner, cv, seed)
    if alone[0] is None:
        raise ValueError(
            f"Source {source} has no two samples of a class, or one unit: its error "
            "cannot be measured. Leave it out."
        )
    both = _errors(data, units, [of_source, of_target], learner, cv, seed)
    if both[1] is None:
        raise UnlabeledTargetError(
            "The joint error needs labeled target samples to hold out, but y labels "
            f"{data.n_labeled}, or one per class. Label more target samples."
        )
    distance = proxy_a_distance(
        take_rows(data.X, of_source), data.X_target, random_state=seed
    )
    return {
        "source_error": alone[0],
        "divergence": max(distance, 0.0) / 2,
        "joint_error": sum(both),
        "joint_source_error": both[0],
        "joint_target_error": both[1],
    }


def _errors(
    data: Any,
    units: NDArray[Any] | None,
    parts: list[NDArray[np.bool_]],
    learner: Any,
    cv: Any,
    seed: int,
) -> list[Any]:
    """Return the held-out error rate on each part of a model of all parts."""
    folds: list[Any] = []
    for mask in parts:
        rows = np.flatnonzero(mask)
        if not len(rows):
            folds.append([])
            continue
        rng, y = np.random.RandomState(seed), data.labels(mask)
        if units is None:
            dealt = deal_rows(take_rows(data.X, rows), y, cv, True, rng)
        else:
            dealt = deal_units(units[rows], y, cv, True, rng)
        folds.append([np.sort(rows[part]) for part in dealt])
    wrong, tested = np.zeros(len(parts)), np.zeros(len(parts))
    every = np.logical_or.reduce(parts)
    for k in range(max(map(len, folds))):
        out = [fold[k] if k < len(fold) else np.empty(0, dtype=int) for fold in folds]
        train = every & ~data.mask_of(np.concatenate(out))
        if units is not None:
            train &= ~np.isin(units, units[np.concatenate(out)])
        if not train.any():
            continue
        model = fit_or_constant(learner, take_rows(data.X, train), data.labels(train))
        for j, test in enumerate(out):
            if len(test):
                guess = predict_learner(model, take_rows(data.X, test))
                wrong[j] += np.sum(guess != data.labels(data.mask_of(test)))
                tested[j] += len(test)
    return [w / t if t else None for w, t in zip(wrong, tested, strict=True)]
