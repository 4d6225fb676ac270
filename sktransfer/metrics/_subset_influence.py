r"""What every part of the sources does to the target: fits on subsets of the parts."""

import copy
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.base import is_classifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import get_scorer_names
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._deviance import without_exposure
from sktransfer._domains import check_domains, take_rows
from sktransfer._learners import (
    HasLearnerMethods,
    check_weights,
    fit_learner,
    multiply_weights,
    name_samples,
    predict_learner,
)
from sktransfer._solvers.glm import glm_expansion
from sktransfer._solvers.subset_values import (
    banzhaf_contrasts,
    draw_subsets,
    linear_surrogate,
    sampling_error,
)
from sktransfer.base import as_rows, slice_params
from sktransfer.exceptions import DomainError
from sktransfer.metrics._checks import check_numbers
from sktransfer.metrics._evidence import by_unit, fold_evidence, units_of
from sktransfer.metrics._held_out import (
    Remembering,
    row_scores,
    score_pair,
    settle_scores,
)
from sktransfer.metrics._negative_transfer import labeled_folds, with_groups
from sktransfer.metrics._pair import (
    check_pair,
    fit_target_only,
    fit_transfer,
    handed_on,
    labels_to_score,
    takes_unlabeled_sources,
)
from sktransfer.metrics._source_parts import SOURCE_PARTS, source_parts

__all__ = ["subset_influence"]

METHODS = ("refit", "gradient")
_LINEAR = (LogisticRegression, Ridge, LinearRegression)


@validate_params(
    {
        "estimator": [HasLearnerMethods(["fit", "predict"])],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "sample_domain": ["array-like", Integral],
        "parts": [StrOptions(set(SOURCE_PARTS)), "array-like"],
        "n_subsets": [Interval(Integral, 2, None, closed="left")],
        "method": [StrOptions(set(METHODS))],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "groups": ["array-like", None],
        "params": [dict, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def subset_influence(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    parts: Any = "source",
    n_subsets: Any = 64,
    method: str = "refit",
    n_clusters: Any = 2,
    cv: Any = 5,
    scoring: Any = None,
    groups: Any = None,
    params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
    random_state: Any = 0,
) -> Any:
    r"""Estimate what each part of the sources adds to the score on the target.

    The estimator is fitted on the target and on many subsets of the parts, and scored
    on held-out target samples. The influence of a part is the mean score with it less
    the mean score without it; a part with a negative influence hurts.

    Parameters
    ----------
    estimator : estimator
        Estimator with ``sample_domain``, such as ``Pooled(LogisticRegression())``, or a
        pipeline that ends in one.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, ...)
        Samples of every domain, in any order.
    y : array-like of shape (n_samples,)
        Labels, missing for unlabeled target samples.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    parts : {"source", "class", "cluster"} or array-like of shape (n_samples,), \
            default="source"
        What is left out together: a source; the samples of a class in a source; a
        cluster of the samples of a source, by k-means on the features as they are; or
        the samples with the same entry here (those of target samples do not count).
    n_subsets : int >= 2, default=64
        Most subsets. If all :math:`2^K` subsets of the K parts are no more than this,
        all of them are used and the influences are exact; else half as many random
        subsets and their complements.
    method : {"refit", "gradient"}, default="refit"
        "refit": a fit for each subset and fold. "gradient": one fit for each fold, on
        all parts, and for each subset one Newton step from it, from sums over the
        samples of each part. It is exact for least squares and ridge regression, an
        approximation for logistic regression, and costs no more with more samples. It
        needs a ``Pooled`` estimator around ``LogisticRegression``, ``Ridge`` or
        ``LinearRegression``, and numbers as X.
    n_clusters : int >= 1, default=2
        Clusters of each source for ``parts="cluster"``.
    cv : int, splitter or iterable, default=5
        Folds of labeled target samples, as in
        :func:`~sktransfer.metrics.cross_val_ntg`.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: the ``score`` method of the estimator.
    groups : array-like of shape (n_samples,), default=None
        Unit of each sample, such as the patient: never fitted on and tested at once.
    params : dict, default=None
        Metadata for ``fit``, one entry per sample. Its ``"sample_weight"`` counts in
        the scores, too; samples of weight 0 are left out. With ``"exposure"`` rates
        are scored.
    n_jobs : int, default=None
        Number of fits in parallel.
    random_state : int, RandomState instance or None, default=0
        Deals the samples to the folds, draws subsets, and starts k-means.

    Returns
    -------
    result : :class:`~sklearn.utils.Bunch`
        With the keys

        parts : list
            Names: source ids; ``(source id, class)``; ``(source id, number)``, the
            largest cluster being 0; or the entries of ``parts``.
        influence : ndarray of shape (n_parts,)
            Influence of each part, in units of ``scoring``.
        standard_error : ndarray of shape (n_parts,)
            Its standard error: over the held-out units, and over the draw of the
            subsets unless all are used.
        subset_error : ndarray of shape (n_parts,)
            The second of these alone; 0 if all subsets are used.
        n_samples : ndarray of shape (n_parts,)
            Number of samples of each part.
        codes : ndarray of shape (n_samples,)
            Number of the part of each sample; -1 for target samples and those of
            weight 0.
        subsets : ndarray of bool of shape (n_drawn, n_parts)
            The subsets.
        scores : ndarray of shape (n_drawn,)
            Mean score of each.
        intercept : float
            :math:`b_0` below.
        coefficients : ndarray of shape (n_parts,)
            :math:`b_k` below.
        exact : bool
            Whether all subsets were used.

    Raises
    ------
    DomainError
        If there is no source or not exactly one target.
    UnlabeledTargetError
        If the labeled target samples are too few to hold some out.
    TypeError
        If ``estimator`` does not know domains, or is none that ``method="gradient"``
        can handle.
    ValueError
        If ``parts`` do not fit the samples, or are classes although the labels are
        numbers.

    See Also
    --------
    sktransfer.multisource.SourceInfluence : Fit without the parts that hurt.
    rank_sources : Judge each source alone.

    Notes
    -----
    With :math:`v(A)` the score of the fit on the target and the parts in A, averaged
    over the folds, the influence of part k is

    .. math:: \mathrm{mean}\{v(A) : k \in A\} - \mathrm{mean}\{v(A) : k \notin A\}.

    Each part is in A with probability 1/2, independently of the others. Over all
    subsets this is the Banzhaf value of the part, and equals the coefficient
    :math:`b_k` of the least-squares fit

    .. math:: v(A) \approx b_0 + \sum_{k \in A} b_k,

    for which :math:`b_0 + \sum_k b_k/2` is the mean of v. A source that hurts alone may
    help beside others, and the other way round: that is what subsets are for.
    The idea of leaving out what hurts is that of [1]_, which draws subsets of source
    classes, the first-order model of the fits that of [2]_, which solves it for each
    subset.

    The standard error over held-out units is that of the influence for these training
    samples. With few labeled samples it is large: a part whose influence is less than
    two standard errors below 0 need not hurt.

    References
    ----------
    .. [1] S. Jain et al., "A data-based perspective on transfer learning", CVPR
       (2023), :arxiv:`2207.05739`.
    .. [2] D. Li, Z. Zhang and H. R. Zhang, "Scalable fine-tuning from multiple data
       sources: a first-order approximation approach", EMNLP Findings (2024),
       :arxiv:`2409.19458`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.metrics import subset_influence
    >>> X = np.random.default_rng(0).normal(size=(90, 2))
    >>> domain = np.repeat([1, 2, -1], 30)
    >>> y = X[:, 0] * np.where(domain == 2, -1.0, 1.0)  # the second is reversed
    >>> found = subset_influence(Pooled(Ridge()), X, y, sample_domain=domain)
    >>> found.parts, found.influence.round(2), found.exact
    ([1, 2], array([ 0.26, -0.74]), True)
    """
    check_pair(estimator)
    classify = is_classifier(estimator)
    data = check_domains(
        as_rows(X), y, sample_domain, numeric_labels=not classify,
        multi_output=parts_allow_outputs(parts),
        unlabeled_sources=takes_unlabeled_sources(estimator),
    )  # fmt: skip
    if len(data.targets) != 1 or not data.n_source:
        raise DomainError(
            f"sample_domain names {len(data.sources)} sources and {len(data.targets)} "
            "targets; at least one source and exactly one target are needed."
        )
    params = with_groups(params, groups)
    rng = check_random_state(random_state)
    folds = labeled_folds(data, cv, params=params, stratify=classify, random_state=rng)
    study = SubsetStudy(
        estimator, data, folds, params=params, parts=parts, n_clusters=n_clusters,
        method=method, scoring=scoring, n_jobs=n_jobs,
        seed=rng.randint(np.iinfo(np.int32).max),
    )  # fmt: skip
    return study.influence(n_subsets)


def parts_allow_outputs(parts: Any) -> bool:
    """Tell whether several outputs have these parts."""
    return not (isinstance(parts, str) and parts == "class")


class SubsetStudy:
    """Scores of the fits on the target and some parts of the sources.

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
    parts, n_clusters, method, scoring, n_jobs
        As in :func:`subset_influence`.
    seed : int
        Draws the subsets and starts k-means.
    """

    def __init__(
        self,
        estimator: Any,
        data: Any,
        folds: Any,
        *,
        params: dict[str, Any],
        parts: Any,
        n_clusters: Any,
        method: Any,
        scoring: Any,
        n_jobs: int | None,
        seed: int,
    ) -> None:
        if isinstance(parts, str) and parts == "class" and not is_classifier(estimator):
            raise ValueError(
                "parts='class' needs classes, but the estimator is a regressor. Use "
                "'source' or 'cluster', or name the part of each row."
            )
        self.estimator, self.data, self.folds = estimator, data, folds
        self.params, self.scoring, self.n_jobs = dict(params), scoring, n_jobs
        self.seed, self.exists = seed, np.ones(len(data.sample_domain), dtype=bool)
        weight = self.params.get("sample_weight")
        if weight is not None:
            weight = check_weights(weight, len(self.exists))
            self.params["sample_weight"], self.exists = weight, weight > 0
        self.codes = np.full(len(self.exists), -1)
        codes, self.names = source_parts(
            data.take(self.exists), _of_rows(parts, self.exists), n_clusters, seed
        )
        self.codes[self.exists] = codes
        self.linear: Any = None
        if method == "gradient":
            self.linear = _PooledLinear.of(estimator, data)

    def scores(self, subsets: Any) -> "SubsetScores":
        """Score fits on subsets of the parts, overall and by unit.

        Parameters
        ----------
        subsets : ndarray of bool of shape (n_subsets, n_parts)
            Which parts each fit gets, beside the target.

        Returns
        -------
        scores : SubsetScores
            Overall and by unit.
        """
        return self._settle(self._scores_of_folds(subsets))

    def means(self, subsets: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the mean scores of fits on subsets of the parts, (n_subsets,)."""
        by_fold = settle_scores(self._scores_of_folds(subsets), self.scoring)
        evidence = fold_evidence(self.data, self.folds, **self._units())
        return np.array([evidence.mean(one) for one in by_fold])

    def _units(self) -> dict[str, Any]:
        _, params = without_exposure(self.data.y, self.params, self.estimator)
        return {name: params.get(name) for name in ("groups", "sample_weight")}

    def _scores_of_folds(self, subsets: NDArray[np.bool_]) -> list[list[Any]]:
        if self.linear is not None:
            return Parallel(n_jobs=self.n_jobs)(
                delayed(_step_and_score)(self, fold, subsets) for fold in self.folds
            )
        tasks = [(train, subset) for train, _ in self.folds for subset in subsets]
        models = Parallel(n_jobs=self.n_jobs)(
            delayed(_refit)(self, train, subset) for train, subset in tasks
        )
        # classes that one fit lacks count for all models of its fold
        n = len(subsets)
        return [
            self._score(models[k * n : (k + 1) * n], test)
            for k, (_, test) in enumerate(self.folds)
        ]

    def influence(self, n_subsets: int) -> Any:
        """Return the influences of the parts, as :func:`subset_influence` does."""
        rng = np.random.RandomState(self.seed)
        subsets, exact = draw_subsets(len(self.names), n_subsets, rng)
        found = self.scores(subsets)
        contrasts = banzhaf_contrasts(subsets)
        drawn = np.zeros(len(self.names))
        if not exact:
            drawn = sampling_error(subsets, found.overall)
        intercept, coefficients = linear_surrogate(subsets, found.overall)
        return Bunch(
            parts=self.names,
            influence=contrasts @ found.overall,
            standard_error=np.hypot(drawn, found.errors(contrasts)),
            subset_error=drawn,
            n_samples=np.bincount(
                self.codes[self.codes >= 0], minlength=len(self.names)
            ),
            codes=self.codes,
            subsets=subsets,
            scores=found.overall,
            intercept=intercept,
            coefficients=coefficients,
            exact=exact,
        )

    def _score(self, models: list[Any], test: NDArray[Any]) -> list[Any]:
        mask = self.data.mask_of(test)
        y, weight = labels_to_score(self.estimator, self.data, mask, self.params)
        rows = take_rows(self.data.X, test)
        models = [Remembering(model) for model in models]
        scores = score_pair(models, rows, y, weight, scoring=self.scoring)
        for score, model in zip(scores, models, strict=True):
            if self.scoring is None and not score.answers:
                # score() does not show what it asks: predictions
                score.answers = {"predict": np.asarray(predict_learner(model, rows))}
        return scores

    def _settle(self, scores: list[list[Any]]) -> "SubsetScores":
        units = self._units()
        by_fold = settle_scores(scores, self.scoring)
        evidence = fold_evidence(self.data, self.folds, **units)
        overall = np.array([evidence.mean(one) for one in by_fold])
        of_rows = units_of(self.data, units["groups"])
        rows = row_scores(
            scores, self.scoring, [of_rows[test] for _, test in self.folds]
        )
        if rows is None:
            return SubsetScores(overall, by_fold, None, None, evidence)
        weights, collect = by_unit(self.data, self.folds, **units)
        values = np.array([collect(one) for one in rows.values])
        if rows.kind == "root":  # to first order, the root of the mean
            root = np.sqrt(np.maximum(-values @ weights, 0.0))
            values = values / np.where(root > 0, 2 * root, 1.0)[:, None]
        return SubsetScores(overall, by_fold, values, weights, evidence)


@dataclass
class SubsetScores:
    """Scores of the fits on several subsets.

    Parameters
    ----------
    overall : ndarray of shape (n_subsets,)
        Mean over the folds.
    by_fold : ndarray of shape (n_subsets, n_splits)
        Scores of the folds.
    values : ndarray of shape (n_subsets, n_units) or None
        Scores of the held-out units, if the score has any.
    weights : ndarray of shape (n_units,) or None
        Weights of the units.
    evidence : FoldEvidence
        Weights of the folds.
    """

    overall: Any
    by_fold: Any
    values: Any
    weights: Any
    evidence: Any

    def errors(self, contrasts: NDArray[Any]) -> NDArray[Any]:
        """Return the standard errors of contrasts over the held-out units."""
        if self.values is None:
            each = [self.evidence.scale(one) for one in contrasts @ self.by_fold]
            return np.array(each, dtype=np.float64).reshape(len(contrasts))
        share = float(np.sum(self.weights**2))
        if share > 1 - 1e-12:
            return np.full(len(contrasts), np.inf)
        values = contrasts @ self.values
        centered = values - (values @ self.weights)[:, None]
        return np.sqrt(centered**2 @ self.weights * share / (1 - share))


def _of_rows(parts: Any, rows: NDArray[np.bool_]) -> Any:
    """Return given parts of some rows, checked by the length of all of them."""
    if isinstance(parts, str):
        return parts
    given = parts.to_numpy() if hasattr(parts, "to_numpy") else np.asarray(parts)
    if given.shape != rows.shape:
        raise ValueError(
            f"parts has shape {given.shape}, but X has {len(rows)} rows: give the name "
            f"of a part per row, shape ({len(rows)},), or one of {SOURCE_PARTS}."
        )
    return given[rows]


def _refit(study: SubsetStudy, train: NDArray[Any], subset: NDArray[np.bool_]) -> Any:
    """Fit on the target rows of a training part and on the chosen parts."""
    data = study.data
    rows = data.mask_of(train) & study.exists
    rows &= data.is_target | np.append(subset, False)[study.codes]
    part, params = data.take(rows), slice_params(study.params, rows)
    if not part.n_source:
        return fit_target_only(check_pair(study.estimator), part, params)
    return fit_transfer(study.estimator, part, params)


def _step_and_score(
    study: SubsetStudy,
    fold: tuple[NDArray[Any], NDArray[Any]],
    subsets: NDArray[np.bool_],
) -> list[Any]:
    train, test = fold
    return study._score(study.linear.fits(study, train, subsets), test)


class _PooledLinear:
    """Fits of a pooled linear learner on subsets of the parts, by one Newton step.

    Parameters
    ----------
    learner : estimator
        The linear learner.
    source_weight : float
        Weight of a source row.
    """

    def __init__(self, learner: Any, source_weight: float) -> None:
        self.learner, self.source_weight = learner, source_weight

    @classmethod
    def of(cls, estimator: Any, data: Any) -> "_PooledLinear":
        """Return it for an estimator, or say why there is none."""
        if np.ndim(data.y) == 2:
            raise TypeError(
                f"method='gradient' is for one label, but y has {data.y.shape[1]} "
                "outputs: use method='refit'."
            )
        pooled: Any = getattr(estimator, "pooled_learner", lambda: None)()
        learner = None if pooled is None else pooled[0]
        if not isinstance(learner, _LINEAR) or _unlike(learner):
            raise TypeError(
                f"method='gradient' cannot handle estimator={estimator!r}: it needs "
                "Pooled(LogisticRegression(...)) with an L2 penalty or none, "
                "Pooled(Ridge(...)) or Pooled(LinearRegression(...)), without "
                "add_domain and max_rows. Put other steps in front of the whole, or "
                "use method='refit'."
            )
        check_numbers(data.X, accept_sparse="csr")
        return cls(*pooled)

    def fits(
        self, study: SubsetStudy, train: NDArray[Any], subsets: NDArray[np.bool_]
    ) -> list[Any]:
        """Return a model for each subset of the parts."""
        data, learner = study.data, self.learner
        rows = data.mask_of(train) & study.exists & data.labeled
        params = handed_on(learner, slice_params(study.params, rows))
        factor = np.where(data.is_source[rows], self.source_weight, 1.0)
        X, y = take_rows(data.X, rows), data.labels(rows)
        whole = fit_learner(
            learner, X, y, method_weight=None if (factor == 1).all() else factor,
            samples=name_samples(data, rows), **params,
        )  # fmt: skip
        weight: Any = multiply_weights(factor, params.get("sample_weight"))
        codes, kept = study.codes[rows], weight > 0
        X = X.toarray() if sparse.issparse(X) else np.asarray(X, dtype=np.float64)
        if learner.fit_intercept:
            X = np.column_stack([X, np.ones(len(X))])
        family, goal = _family(whole, y)
        theta = _parameters(whole)
        penalty = _penalty(learner, theta.shape, learner.fit_intercept)
        n_parts = len(study.names)
        gradients = np.zeros((n_parts + 1, theta.size))
        hessians = np.zeros((n_parts + 1, theta.size, theta.size))
        for part in np.unique(codes[kept]):
            at = kept & (codes == part)
            _, gradients[part], hessians[part] = glm_expansion(
                family, X[at], goal[at], weight[at], theta
            )
        models = []
        for subset in subsets:
            chosen = np.append(subset, True).astype(np.float64)
            gradient = chosen @ gradients + penalty * theta.ravel()
            hessian = np.tensordot(chosen, hessians, 1) + np.diag(penalty)
            step = linalg.lstsq(hessian, gradient)[0]
            models.append(_with_parameters(whole, theta - step.reshape(theta.shape)))
        return models


def _unlike(learner: Any) -> bool:
    """Tell whether the objective of a linear learner is no smooth quadratic penalty."""
    if isinstance(learner, LogisticRegression):
        # another class of the name has its own fit; an L1 part has no Hessian
        l1 = getattr(learner, "l1_ratio", None) or getattr(learner, "penalty", None)
        return type(learner) is not LogisticRegression or l1 not in (
            None, 0, 0.0, "l2", "deprecated",
        ) or learner.class_weight is not None  # fmt: skip
    if getattr(learner, "positive", False):
        return True
    return np.size(getattr(learner, "alpha", 0.0)) != 1


def _family(model: Any, y: Any) -> tuple[str, NDArray[Any]]:
    """Return the family of the likelihood and the labels as numbers."""
    if not is_classifier(model):
        return "gaussian", np.asarray(y, dtype=np.float64).reshape(len(y), -1)
    hits = (np.asarray(y)[:, None] == model.classes_).astype(np.float64)
    if len(np.atleast_2d(model.coef_)) == 1:
        return "binomial", hits[:, 1:]
    return "multinomial", hits


def _parameters(model: Any) -> NDArray[Any]:
    coef = np.atleast_2d(model.coef_).astype(np.float64)
    if not model.fit_intercept:
        return coef
    intercept = np.broadcast_to(model.intercept_, len(coef))
    return np.column_stack([coef, intercept])


def _penalty(learner: Any, shape: tuple[int, int], intercept: bool) -> NDArray[Any]:
    """Return the diagonal of the Hessian of the penalty."""
    if isinstance(learner, LogisticRegression):
        none = getattr(learner, "penalty", "") is None
        strength = 0.0 if none or np.isinf(learner.C) else 1.0 / learner.C
    else:
        strength = float(np.ravel(getattr(learner, "alpha", 0.0))[0])
    penalty = np.full(shape, strength)
    if intercept:
        penalty[:, -1] = 0.0
    return penalty.ravel()


def _with_parameters(model: Any, theta: NDArray[Any]) -> Any:
    """Return a copy of a fitted linear model with other parameters."""
    other = copy.copy(model)
    coef = theta[:, :-1] if model.fit_intercept else theta
    other.coef_ = coef.reshape(np.shape(model.coef_))
    if model.fit_intercept:
        other.intercept_ = theta[:, -1].reshape(np.shape(model.intercept_))
        if not np.ndim(model.intercept_):
            other.intercept_ = float(theta[0, -1])
    return other
