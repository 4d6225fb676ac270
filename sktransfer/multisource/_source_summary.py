"""What a source gives in place of its rows: coefficients and their information."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import check_X_y
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sktransfer._learners import check_weights
from sktransfer._solvers.glm import (
    FAMILIES,
    glm_expansion,
    information_rank,
    newton_direction,
)
from sktransfer._solvers.random_effects import evidence_ridge

__all__ = ["SourceSummary", "summarize_source"]


@dataclass(frozen=True, eq=False, repr=False)
class SourceSummary:
    r"""Coefficients of a source with their information, in place of its rows.

    A site that may not share rows fits a linear model and gives this object. It
    stands for the quadratic

    .. math:: -\tfrac12 (\theta - b)' \Lambda (\theta - b),

    the log-likelihood of its rows as a function of the parameters: exactly so for
    least squares, to second order for other families.

    Parameters
    ----------
    coef : array-like of shape (n_features,) or (n_logits, n_features)
        Coefficients; ``n_logits`` is 1 for two classes, else the number of classes.
    intercept : float or array-like of shape (n_logits,), default=None
        Intercepts. None: the model has none.
    covariance : array-like of shape (n_parameters, n_parameters), default=None
        Covariance of the estimates. The parameters of one logit are its coefficients,
        then its intercept if there is one; logit comes after logit.
    fisher : array-like of shape (n_parameters, n_parameters), default=None
        Fisher information of all rows, the inverse of ``covariance``; unlike that it
        may be singular. Give one of the two.
    n : float in (0, inf)
        Number of rows, or the sum of their weights.
    classes : array-like of shape (n_classes,), default=None
        Classes of a classifier, ascending. None: a regression.
    feature_names : sequence of str, default=None
        Names of the features, in the order of ``coef``.
    noise : float in (0, inf), default=None
        Variance of the noise of a Gaussian regression, which is part of ``covariance``.
    family : {"gaussian", "binomial", "multinomial", "poisson"}, default=None
        Family of the likelihood, with canonical link. None: "gaussian" without
        classes, "binomial" with two, else "multinomial".

    See Also
    --------
    summarize_source : Make a summary from rows.
    EmpiricalBayesRidge : Takes summaries as sources.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import SourceSummary
    >>> one = SourceSummary([1.0], covariance=[[0.5]], n=20, noise=1.0)
    >>> two = SourceSummary([2.0], covariance=[[0.5]], n=20, noise=1.0)
    >>> one.merge(two).coef
    array([1.5])
    """

    coef: np.ndarray
    intercept: np.ndarray | None = None
    covariance: np.ndarray | None = None
    fisher: np.ndarray | None = None
    n: float = np.nan
    classes: np.ndarray | None = None
    feature_names: tuple | None = None
    noise: float | None = None
    family: str | None = None

    def __post_init__(self):
        coef = _finite(self.coef, "coef")
        if coef.ndim not in (1, 2) or not coef.size:
            raise ValueError(
                "coef must have shape (n_features,) or (n_logits, n_features), got "
                f"{coef.shape}."
            )
        classes, family = self._checked_family()
        n_logits = len(classes) if family == "multinomial" else 1
        if (coef.shape[0] if coef.ndim == 2 else 1) != n_logits:
            raise ValueError(
                f"coef of shape {coef.shape} does not fit family={family!r}: "
                f"{n_logits} row(s) of coefficients are needed."
            )
        coef = coef.reshape(n_logits, -1) if classes is not None else coef.ravel()
        intercept = self.intercept
        if intercept is not None:
            intercept = _finite(intercept, "intercept").ravel()
            if len(intercept) != n_logits:
                raise ValueError(
                    f"intercept must hold {n_logits} number(s), got {len(intercept)}."
                )
            intercept = intercept if classes is not None else float(intercept[0])
        if not (np.isscalar(self.n) and np.isfinite(self.n) and self.n > 0):
            raise ValueError(f"n must be a positive number of rows, got {self.n!r}.")
        if self.noise is not None and not (
            family == "gaussian" and np.isfinite(self.noise) and self.noise > 0
        ):
            raise ValueError(
                "noise must be the positive variance of a Gaussian regression, got "
                f"{self.noise!r} with family={family!r}."
            )
        names = self.feature_names
        if names is not None:
            names = tuple(map(str, names))
            if len(names) != coef.shape[-1]:
                raise ValueError(
                    f"feature_names has {len(names)} names for {coef.shape[-1]} "
                    "coefficients."
                )
        checked = {
            "coef": coef, "intercept": intercept, "classes": classes,
            "feature_names": names, "family": family,
        }  # fmt: skip
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._check_information()

    def _checked_family(self):
        classes = None if self.classes is None else np.asarray(self.classes)
        if classes is not None and (
            classes.ndim != 1
            or len(classes) < 2
            or not np.array_equal(classes, np.unique(classes))
        ):
            raise ValueError(
                f"classes must hold two or more ascending classes, got {classes!r}."
            )
        family = self.family
        if family is None:
            family = "gaussian"
            if classes is not None:
                family = "binomial" if len(classes) == 2 else "multinomial"
        if family not in FAMILIES:
            raise ValueError(f"family must be one of {FAMILIES}, got {family!r}.")
        if (classes is not None) != (family in ("binomial", "multinomial")) or (
            family == "binomial" and len(classes) != 2
        ):
            raise ValueError(f"family={family!r} does not fit classes={classes!r}.")
        return classes, family

    def _check_information(self):
        if (self.covariance is None) == (self.fisher is None):
            raise ValueError("Give exactly one of covariance and fisher.")
        name = "fisher" if self.covariance is None else "covariance"
        matrix = _finite(getattr(self, name), name)
        size = self.vector.size
        if matrix.shape != (size, size):
            raise ValueError(
                f"{name} must have shape {(size, size)}, one row per parameter "
                f"(intercepts included), got {matrix.shape}."
            )
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12 * abs(matrix).max()):
            raise ValueError(f"{name} must be symmetric.")
        matrix = (matrix + matrix.T) / 2
        # judged after scaling: units of the features must not decide
        scale = np.sqrt(np.abs(np.diagonal(matrix)))
        scale = np.where(scale > 0, scale, 1.0)
        values = linalg.eigvalsh(matrix / scale / scale[:, None])
        if values[0] < -1e-7:
            raise ValueError(
                f"{name} must be positive semidefinite; after scaling its smallest "
                f"eigenvalue is {values[0]:.3g}."
            )
        if name == "covariance" and values[0] <= 1e-14:
            raise ValueError(
                "covariance is singular, so some parameters would be known exactly. "
                "Give the Fisher information as fisher=, which may be singular."
            )
        object.__setattr__(self, name, matrix)

    def __repr__(self):
        shape = f"family={self.family!r}, n_features={self.n_features}, n={self.n:g}"
        return f"SourceSummary({shape})"

    @property
    def n_features(self):
        """Number of features."""
        return self.coef.shape[-1]

    @property
    def n_logits(self):
        """Number of linear predictors."""
        return self.coef.size // self.n_features

    @property
    def vector(self):
        """All parameters, logit after logit, each with its intercept last."""
        coef = self.coef.reshape(-1, self.coef.shape[-1])
        if self.intercept is None:
            return coef.ravel()
        return np.column_stack([coef, np.ravel(self.intercept)]).ravel()

    @property
    def information(self):
        """Fisher information, shape (n_parameters, n_parameters)."""
        if self.fisher is not None:
            return self.fisher
        scale = np.sqrt(np.diagonal(self.covariance))
        inverse = np.linalg.inv(self.covariance / scale / scale[:, None])
        return inverse / scale / scale[:, None]

    @property
    def residual_dof(self):
        """Rows less the rank of the information; 0 if there are not more rows."""
        return max(self.n - information_rank(self.information), 0.0)

    def merge(self, *others):
        """Merge summaries of parts of one source.

        Parameters
        ----------
        *others : SourceSummary
            Summaries of other rows of the same source.

        Returns
        -------
        merged : SourceSummary
            Summary of all rows: the exact one for least squares with ``noise``, else
            the sum of the quadratics.
        """
        parts = [self, *others]
        for i, part in enumerate(parts[1:]):
            _check_alike(self, part, f"others[{i}]")
        gaussian = self.family == "gaussian" and all(p.noise for p in parts)
        scales = [part.noise if gaussian else 1.0 for part in parts]
        grams = [s * part.information for s, part in zip(scales, parts, strict=True)]
        total = sum(grams)
        # solved from the first part's parameters: equal parts stay as they are
        pull = sum(
            gram @ (part.vector - self.vector)
            for gram, part in zip(grams, parts, strict=True)
        )
        vector = self.vector + newton_direction(total, pull)
        n = float(sum(part.n for part in parts))
        noise = None
        if gaussian:
            rss = sum(part.noise * part.residual_dof for part in parts)
            for gram, part in zip(grams, parts, strict=True):
                rss += (part.vector - vector) @ gram @ (part.vector - vector)
            dof = n - information_rank(total)
            noise = float(rss / dof) if dof > 0 and rss > 0 else self.noise
            total = total / noise
        coef, intercept = _split(vector, self.n_logits, self.intercept is not None)
        return replace(
            self, coef=coef, intercept=intercept, covariance=None, fisher=total, n=n,
            noise=noise,
        )  # fmt: skip


def summarize_source(estimator, X, y, sample_weight=None):
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
        an unfitted one a clone is fitted.
    X : array-like of shape (n_samples, n_features)
        Rows of the source.
    y : array-like of shape (n_samples,)
        Their labels.
    sample_weight : array-like of shape (n_samples,), default=None
        Nonnegative weights; a weight of 2 counts as two rows.

    Returns
    -------
    summary : SourceSummary
        Coefficients, Fisher information, size, classes, names and noise variance. If
        there are not more rows than parameters the noise is that of the ridge
        regression of largest marginal likelihood.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.multisource import summarize_source
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> summary = summarize_source(LinearRegression(), X, [0.0, 2.1, 3.9, 6.0])
    >>> summary.coef.round(2), summary.n
    (array([1.98]), 4.0)
    """
    family = _family_of(estimator)
    classification = family is None
    names = list(X.columns) if hasattr(X, "columns") else [None]
    if not all(isinstance(name, str) for name in names):
        names = None  # as scikit-learn: only text names features
    rows, labels = check_X_y(
        X, y, dtype=np.float64, y_numeric=not classification, estimator=estimator
    )
    weight = np.ones(len(rows))
    if sample_weight is not None:
        weight = check_weights(sample_weight, len(rows)).astype(np.float64)
    kept = weight > 0
    if not kept.any():
        raise ValueError("sample_weight is 0 on every row.")
    rows, labels, weight = rows[kept], labels[kept], weight[kept]
    if not _is_fitted(estimator):
        weights = {} if sample_weight is None else {"sample_weight": weight}
        estimator = clone(estimator).fit(rows, labels, **weights)
    if not hasattr(estimator, "coef_"):
        raise TypeError(
            f"estimator={estimator!r} has no coef_: give a linear model, such as "
            "LinearRegression or LogisticRegression."
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
        unseen = np.setdiff1d(labels, classes)
        if len(unseen):
            raise ValueError(
                f"y has the classes {unseen.tolist()}, which estimator does not know."
            )
        family = "binomial" if len(classes) == 2 else "multinomial"
    elif coef.shape[0] != 1:
        raise ValueError("y with several columns cannot be summarized.")
    has_intercept = bool(getattr(estimator, "fit_intercept", True))
    theta = np.array(coef, dtype=np.float64)
    center = np.average(rows, axis=0, weights=weight) if has_intercept else 0.0
    design = rows - center
    if has_intercept:  # expanded at the center of the rows, where digits are kept
        intercept = np.ravel(estimator.intercept_) + theta @ center
        theta = np.column_stack([theta, intercept])
        design = np.column_stack([design, np.ones(len(rows))])
    goal = labels_as_goal(labels, classes)
    value, gradient, fisher = glm_expansion(family, design, goal, weight, theta)
    step = -newton_direction(fisher, gradient)
    theta = theta + step.reshape(theta.shape)
    noise, n = None, float(weight.sum())
    if family == "gaussian":
        rss = 2 * (value + 0.5 * gradient @ step)
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
    shift = np.eye(theta.shape[1])
    if has_intercept:
        shift[-1, :-1] = center
        theta = theta.copy()
        theta[:, -1] -= theta[:, :-1] @ center
    blocks = linalg.block_diag(*[shift] * len(theta))
    coef, intercept = _split(theta.ravel(), len(theta), has_intercept)
    if classes is None:
        coef = coef.ravel()
    return SourceSummary(
        coef, intercept, fisher=blocks.T @ fisher @ blocks, n=n, classes=classes,
        feature_names=names, noise=noise, family=family,
    )  # fmt: skip


def noise_of_few_rows(gram, moment, energy, n, has_intercept):
    """Noise variance by the evidence of a ridge, where no residual is left."""
    scale = np.sqrt(np.maximum(np.diagonal(gram) / n, 0))
    scale = np.where(scale > 0, scale, 1.0)
    penalized = np.ones(len(gram), dtype=bool)
    penalized[len(gram) - 1 :] = not has_intercept
    if has_intercept and n <= 1:
        return energy
    ridge = evidence_ridge(
        gram / scale / scale[:, None], moment / scale, energy, n, penalized,
        n * np.logspace(-3, 4, 15),
    )  # fmt: skip
    return ridge.noise


def labels_as_goal(labels, classes):
    """Return labels, or indicators of classes, as columns of numbers."""
    if classes is None:
        return np.asarray(labels, dtype=np.float64)[:, None]
    goal = labels[:, None] == np.asarray(classes)
    return (goal[:, 1:] if len(classes) == 2 else goal).astype(np.float64)


def _finite(value, name):
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers, got {value!r}.") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    return array


def _split(vector, n_logits, has_intercept):
    theta = vector.reshape(n_logits, -1)
    if not has_intercept:
        return theta, None
    return theta[:, :-1], theta[:, -1]


def _family_of(estimator):
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


def _is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _check_alike(first, other, name):
    """Refuse a summary of other parameters than the first."""
    if not isinstance(other, SourceSummary):
        raise TypeError(f"{name} must be a SourceSummary, got {other!r}.")
    for what, one, two in [
        ("family", first.family, other.family),
        ("n_features", first.n_features, other.n_features),
        ("an intercept", first.intercept is not None, other.intercept is not None),
    ]:
        if one != two:
            raise ValueError(f"{name} has {what}={two!r}, but {one!r} is needed.")
    if not np.array_equal(first.classes, other.classes):
        raise ValueError(
            f"{name} has the classes {other.classes}, but {first.classes} are needed."
        )
    check_summary_names(other, first.feature_names, name)


def check_summary_names(summary, names, name):
    """Refuse a summary whose feature names, or their order, differ."""
    if names is None or summary.feature_names is None:
        return
    for position, (own, wanted) in enumerate(
        zip(summary.feature_names, names, strict=True)
    ):
        if own != wanted:
            raise ValueError(
                f"{name} has the feature {own!r} at position {position}, where "
                f"{wanted!r} is needed: give the features the same names and order."
            )
