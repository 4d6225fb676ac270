"""Summaries of sources: from rows, chunk by chunk, or from a distributed table."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import check_X_y
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sktransfer._learners import check_weights
from sktransfer._solvers.glm import glm_expansion, information_rank, newton_direction
from sktransfer._source_summary import (
    SourceSummary,
    centered_logits,
    noise_of_few_rows,
)

__all__ = ["SourceSummarizer", "summarize_source"]


class SourceSummarizer:
    r"""Summarize a source chunk by chunk, so that its rows need not fit in memory.

    Every chunk is summarized at the same coefficients and merged into ``summary_``,
    which therefore does not depend on where the chunks begin: it is
    ``summarize_source(model_, X, y)`` of all rows, to rounding. Sums are kept about the
    mean of the first chunk, so that features may lie far from 0.

    Parameters
    ----------
    estimator : estimator
        As in :func:`summarize_source`. An unfitted one is fitted to the first chunk.

    Attributes
    ----------
    model_ : estimator
        The fitted estimator at whose coefficients chunks are expanded. For least
        squares any choice of it gives the same summary.
    summary_ : SourceSummary
        Summary of the rows so far.
    n_chunks_ : int
        Number of chunks that held rows.

    See Also
    --------
    summarize_source : The same for all rows or chunks at once.
    SourceSummary.merge : Merge summaries of sites.

    Notes
    -----
    Other families than least squares are known to second order around ``model_``. A
    second pass that begins with ``SourceSummarizer(first.summary_.to_estimator())``
    is a Newton step closer to the maximum likelihood of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.multisource import SourceSummarizer
    >>> rng = np.random.default_rng(0)
    >>> summarizer = SourceSummarizer(LinearRegression())
    >>> for _ in range(3):
    ...     X = rng.normal(size=(100, 2))
    ...     _ = summarizer.partial_fit(X, X @ [1.0, 2.0] + rng.normal(size=100))
    >>> summarizer.summary_
    SourceSummary(family='gaussian', n_features=2, n=300)
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Add the rows of a chunk.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the source. A chunk without rows changes nothing.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights; a weight of 2 counts as two rows.

        Returns
        -------
        self : object
            The summarizer.
        """
        family = _family_of(self.estimator)
        if not n_counted(X, sample_weight):
            return self
        if not hasattr(self, "model_"):
            self.model_ = expansion_point(self.estimator, [(X, y, sample_weight)])
            self.n_chunks_ = 0
        elif family is None:
            _check_known_classes(y, self.model_.classes_)
        part = _summarize_rows(self.model_, X, y, sample_weight)
        first = not self.n_chunks_
        self.summary_: SourceSummary = part if first else self.summary_.merge(part)
        self.n_chunks_ += 1
        return self


def summarize_source(
    estimator: Any, X: Any, y: Any = None, sample_weight: Any = None
) -> SourceSummary:
    r"""Summarize the rows of a source by a linear model.

    The log-likelihood is expanded at the coefficients of the estimator. So a penalty
    of the estimator only decides where it is expanded: with :math:`g` the gradient of
    the log-likelihood there, the summary has :math:`b = \hat\theta + \Lambda^{+} g`,
    which for least squares are the unpenalized coefficients.

    Parameters
    ----------
    estimator : estimator
        Linear regressor (Gaussian), ``PoissonRegressor``, or linear classifier with
        probabilities such as ``LogisticRegression``. A fitted one is used as it is, of
        an unfitted one a clone is fitted; of chunks, to the first one.
    X : array-like of shape (n_samples, n_features), iterable, or distributed table
        Rows of the source; or, without ``y``, an iterable of chunks ``(X, y)`` or
        ``(X, y, sample_weight)``, of which one at a time is in memory; or a Dask
        dataframe or Ray dataset, whose partitions are summarized where they are.
    y : array-like of shape (n_samples,) or str, default=None
        Labels of the rows. Of a distributed table the name of their column; the other
        columns are the features. None: ``X`` is an iterable of chunks.
    sample_weight : array-like of shape (n_samples,) or str, default=None
        Nonnegative weights; a weight of 2 counts as two rows. Of a distributed table
        the name of their column.

    Returns
    -------
    summary : SourceSummary
        Coefficients, Fisher information, size, classes, names and noise variance. If
        there are not more rows than parameters the noise is that of the ridge
        regression of largest marginal likelihood.

    Raises
    ------
    ValueError
        If no row has a weight, columns are not those of the estimator or of other
        chunks, classes are unknown to the estimator, or counts are negative.
    TypeError
        If the estimator is no linear model of these families.

    See Also
    --------
    SourceSummarizer : Chunks that arrive one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.multisource import summarize_source
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> y = np.array([0.0, 2.1, 3.9, 6.0])
    >>> summary = summarize_source(LinearRegression(), X, y)
    >>> summary.coef.round(2), summary.n
    (array([1.98]), 4.0)
    >>> chunks = ((X[i : i + 2], y[i : i + 2]) for i in (0, 2))
    >>> summarize_source(LinearRegression(), chunks).coef.round(2)
    array([1.98])
    """
    engine = type(X).__module__.partition(".")[0]
    if engine == "dask":
        from sktransfer.multisource._summarize_dask import summarize_dask

        return summarize_dask(estimator, X, y, sample_weight)
    if engine == "ray":
        from sktransfer.multisource._summarize_ray import summarize_ray

        return summarize_ray(estimator, X, y, sample_weight)
    if y is not None:
        return _summarize_rows(estimator, X, y, sample_weight)
    if sample_weight is not None:
        raise ValueError(
            "sample_weight of chunks is the third entry of each: (X, y, sample_weight)."
        )
    summarizer = SourceSummarizer(estimator)
    for position, chunk in enumerate(_iterate(X)):
        if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
            raise TypeError(
                "Without y, X must be an iterable of chunks (X, y) or "
                f"(X, y, sample_weight); chunk {position} is a "
                f"{type(chunk).__name__}."
            )
        summarizer.partial_fit(*chunk)
    if not hasattr(summarizer, "summary_"):
        raise ValueError("The chunks hold no row of positive weight.")
    return summarizer.summary_


def n_counted(X: Any, sample_weight: Any) -> int:
    """Return the number of rows of positive weight."""
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    if sample_weight is None or not n:
        return n
    return int(np.sum(check_weights(sample_weight, n) > 0))


def expansion_point(estimator: Any, chunks: Any) -> Any:
    """Return a fitted estimator: itself, or a clone fitted to the first usable chunk.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.
    chunks : iterable of (X, y, sample_weight)
        Chunks with rows; of a classifier the first with two classes is taken.

    Returns
    -------
    model : estimator
        The fitted estimator.
    """
    classification = _family_of(estimator) is None
    if _is_fitted(estimator):
        return estimator
    for X, y, sample_weight in chunks:
        rows, labels, weight = _checked_rows(estimator, X, y, sample_weight)
        if not classification or len(np.unique(labels)) > 1:
            weights = {} if sample_weight is None else {"sample_weight": weight}
            return clone(estimator).fit(rows, labels, **weights)
    raise ValueError(
        "The first chunk holds one class, so estimator cannot be fitted to it: give a "
        "fitted estimator, or first a chunk that holds every class."
        if classification
        else "There is no row of positive weight."
    )


def split_frame(frame: Any, y: Any, sample_weight: Any) -> Any:
    """Split a pandas frame into features, labels and weights by column names."""
    weight = None if sample_weight is None else frame[sample_weight].to_numpy()
    named = [y] if sample_weight is None else [y, sample_weight]
    return frame.drop(columns=named), frame[y].to_numpy(), weight


def check_columns(columns: Any, y: Any, sample_weight: Any) -> None:
    """Refuse names of labels or weights that a distributed table does not have."""
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is None and name == "sample_weight":
            continue
        if not isinstance(value, str) or value not in list(columns):
            raise ValueError(
                f"{name} must be the name of a column of the table, one of "
                f"{list(columns)}, got {value!r}."
            )


def _iterate(X: Any) -> Any:
    if hasattr(X, "shape") or hasattr(X, "columns") or not isinstance(X, Iterable):
        raise TypeError(
            f"y is missing: give the labels of the rows in X, a {type(X).__name__}, or "
            "an iterable of chunks (X, y)."
        )
    return X


def _check_known_classes(y: Any, classes: NDArray[Any]) -> None:
    unseen = np.setdiff1d(np.asarray(y), classes)
    if len(unseen):
        raise ValueError(
            f"y has the classes {unseen.tolist()}, which estimator does not know: give "
            "a fitted estimator, or first a chunk that holds every class."
        )


def _checked_rows(
    estimator: Any, X: Any, y: Any, sample_weight: Any
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return rows, labels and weights without the rows of weight 0."""
    rows, labels = check_X_y(
        X, y, dtype=np.float64, y_numeric=_family_of(estimator) is not None,
        estimator=estimator,
    )  # fmt: skip
    if sample_weight is None:
        return rows, labels, np.ones(len(rows))
    weight = check_weights(sample_weight, len(rows)).astype(np.float64)
    kept = weight > 0
    if not kept.any():
        raise ValueError("sample_weight is 0 on every row.")
    return rows[kept], labels[kept], weight[kept]


def _summarize_rows(
    estimator: Any, X: Any, y: Any, sample_weight: Any
) -> SourceSummary:
    family: Any = _family_of(estimator)
    classification = family is None
    names: Any = list(X.columns) if hasattr(X, "columns") else [None]
    if not all(isinstance(name, str) for name in names):
        names = None  # as scikit-learn: only text names features
    rows, labels, weight = _checked_rows(estimator, X, y, sample_weight)
    if not _is_fitted(estimator):
        weights = {} if sample_weight is None else {"sample_weight": weight}
        estimator = clone(estimator).fit(rows, labels, **weights)
    if not hasattr(estimator, "coef_"):
        raise TypeError(
            f"estimator={estimator!r} has no coef_: give a linear model, such as "
            "LinearRegression or LogisticRegression."
        )
    known = list(getattr(estimator, "feature_names_in_", names or []))
    if names and known != names:
        raise ValueError(
            f"X has the columns {names}, but estimator was fitted to {known}: give the "
            "same columns in the same order."
        )
    coef = np.atleast_2d(estimator.coef_)
    if coef.shape[1] != rows.shape[1]:
        raise ValueError(
            f"estimator has coefficients of {coef.shape[1]} features, but X has "
            f"{rows.shape[1]}."
        )
    classes = None
    if classification:
        check_classification_targets(labels)
        classes = estimator.classes_
        _check_known_classes(labels, classes)
        family = "binomial" if len(classes) == 2 else "multinomial"
    elif family == "poisson" and labels.min() < 0:
        raise ValueError("y holds negative values, which a Poisson model cannot have.")
    elif coef.shape[0] != 1:
        raise ValueError("y with several columns cannot be summarized.")
    has_intercept = bool(getattr(estimator, "fit_intercept", True))
    theta: Any = np.array(coef, dtype=np.float64)
    center: Any = np.average(rows, axis=0, weights=weight) if has_intercept else 0.0
    design = rows - center
    if has_intercept:
        # of a constant feature only rounding is left
        rounding = 10 * np.finfo(float).eps * np.max(np.abs(rows), axis=0)
        design[:, np.max(np.abs(design), axis=0) <= rounding] = 0.0
        # expanded at the center of the rows, where digits are kept
        intercept = np.ravel(estimator.intercept_) + theta @ center
        theta = np.column_stack([theta, intercept])
        design = np.column_stack([design, np.ones(len(rows))])
    goal = labels_as_goal(labels, classes)
    value, gradient, fisher = glm_expansion(family, design, goal, weight, theta)
    step = -newton_direction(fisher, gradient)
    theta = centered_logits((theta.ravel() + step), family, len(theta)).reshape(
        theta.shape
    )
    noise, rss, n = None, None, float(weight.sum())
    if family == "gaussian":
        rss = max(float(2 * (value + 0.5 * gradient @ step)), 0.0)
        dof = n - information_rank(fisher)
        floor = np.finfo(float).eps * float(weight @ goal[:, 0] ** 2)
        noise = max(rss, floor) / dof if dof > 0 else None
        if noise is None:  # no residual is left: by the evidence of a ridge
            y_centered = goal[:, 0] - has_intercept * (weight @ goal[:, 0]) / n
            noise = noise_of_few_rows(
                fisher, design.T @ (weight * y_centered),
                float(weight @ y_centered**2), n, has_intercept,
            )  # fmt: skip
        noise = float(noise) or 1.0
        fisher = fisher / noise
    if has_intercept:
        theta = theta.copy()
        theta[:, -1] -= theta[:, :-1] @ center
    coef, intercept = theta, None
    if has_intercept:
        coef, intercept = theta[:, :-1], theta[:, -1]
    if classes is None:
        coef = coef.ravel()
    return SourceSummary(
        coef, intercept, fisher=fisher, n=n, classes=classes, feature_names=names,
        noise=noise, family=family, rss=rss, center=center if has_intercept else None,
    )  # fmt: skip


def labels_as_goal(labels: NDArray[Any], classes: NDArray[Any] | None) -> NDArray[Any]:
    """Return labels, or indicators of classes, as columns of numbers."""
    if classes is None:
        return np.asarray(labels, dtype=np.float64)[:, None]
    goal = labels[:, None] == np.asarray(classes)
    return (goal[:, 1:] if len(classes) == 2 else goal).astype(np.float64)


def _family_of(estimator: Any) -> str | None:
    """Return the family; None for classes."""
    if isinstance(estimator, Pipeline):
        raise TypeError(
            "estimator is a Pipeline, whose coefficients are not those of the features "
            "of X. Give its last step, and X as the other steps leave it; methods that "
            "take summaries scale the features themselves."
        )
    if is_classifier(estimator):
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(
                f"estimator={estimator!r} has no probabilities: give a classifier with "
                "a logistic likelihood, such as LogisticRegression."
            )
        return None
    if not is_regressor(estimator):
        raise TypeError(f"estimator={estimator!r} is no regressor or classifier.")
    if isinstance(estimator, PoissonRegressor):
        return "poisson"
    if isinstance(estimator, GammaRegressor | TweedieRegressor):
        raise TypeError(
            f"estimator={estimator!r} has no canonical link: use PoissonRegressor or a "
            "Gaussian regression."
        )
    return "gaussian"


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
