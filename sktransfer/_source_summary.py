"""What a source gives in place of its rows: coefficients and their information."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
)

from sktransfer._solvers.glm import FAMILIES, information_rank, newton_direction
from sktransfer._solvers.random_effects import evidence_ridge

__all__ = ["SourceSummary", "check_source_summaries", "noise_of_few_rows"]


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
    rss : float in [0, inf), default=None
        Residual sum of squares of a Gaussian regression with ``noise``, by which
        ``merge`` is exact. None: ``noise`` times the residual degrees of freedom.
    center : array-like of shape (n_features,), default=None
        Point about which ``fisher`` is given: in it the linear predictor at this point
        stands in place of the intercept. Far from 0, in units of the spread of the
        features, it keeps the digits. None: the origin.

    See Also
    --------
    summarize_source : Make a summary from rows.
    SourceSummarizer : Make one chunk by chunk.
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
    intercept: Any = None
    covariance: Any = None
    fisher: Any = None
    n: Any = np.nan
    classes: Any = None
    feature_names: tuple[Any, ...] | None = None
    noise: Any = None
    family: Any = None
    rss: float | None = None
    center: np.ndarray | None = None

    def __post_init__(self) -> None:
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
        is_number: bool = np.isscalar(self.n)
        if not (is_number and np.isfinite(self.n) and self.n > 0):
            raise ValueError(f"n must be a positive number of rows, got {self.n!r}.")
        if self.noise is not None and not (
            family == "gaussian" and np.isfinite(self.noise) and self.noise > 0
        ):
            raise ValueError(
                "noise must be the positive variance of a Gaussian regression, got "
                f"{self.noise!r} with family={family!r}."
            )
        if self.rss is not None and not (
            self.noise is not None and np.isfinite(self.rss) and self.rss >= 0
        ):
            raise ValueError(
                "rss must be the sum of squares, 0 or more, of a Gaussian regression "
                f"with noise, got {self.rss!r}."
            )
        names = self.feature_names
        if names is not None:
            names = tuple(map(str, names))
            if len(names) != coef.shape[-1]:
                raise ValueError(
                    f"feature_names has {len(names)} names for {coef.shape[-1]} "
                    "coefficients."
                )
        center = self.center
        if center is not None:
            center = _finite(center, "center")
            if center.shape != coef.shape[-1:]:
                raise ValueError(
                    f"center must have shape {coef.shape[-1:]}, got {center.shape}."
                )
            if intercept is None or self.fisher is None:
                raise ValueError(
                    "center describes fisher of a model with an intercept: give both, "
                    "or no center."
                )
        checked = {
            "coef": coef, "intercept": intercept, "classes": classes,
            "feature_names": names, "family": family, "center": center,
        }  # fmt: skip
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._check_information()

    def _checked_family(self) -> tuple[Any, str]:
        classes: Any = None if self.classes is None else np.asarray(self.classes)
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

    def _check_information(self) -> None:
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

    def __repr__(self) -> str:
        shape = f"family={self.family!r}, n_features={self.n_features}, n={self.n:g}"
        return f"SourceSummary({shape})"

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.coef.shape[-1]

    @property
    def n_logits(self) -> int:
        """Number of linear predictors."""
        return self.coef.size // self.n_features

    @property
    def vector(self) -> NDArray[Any]:
        """All parameters, logit after logit, each with its intercept last."""
        coef = self.coef.reshape(-1, self.coef.shape[-1])
        if self.intercept is None:
            return coef.ravel()
        return np.column_stack([coef, np.ravel(self.intercept)]).ravel()

    @property
    def information(self) -> NDArray[Any]:
        """Fisher information, shape (n_parameters, n_parameters)."""
        return self.information_at(None)

    def information_at(self, center: Any) -> Any:
        """Return the Fisher information about a point of the feature space.

        Parameters
        ----------
        center : ndarray of shape (n_features,) or None
            The linear predictor at this point stands in place of the intercept. None:
            the origin, that is the intercept itself.

        Returns
        -------
        information : ndarray of shape (n_parameters, n_parameters)
            Fisher information of the parameters.
        """
        matrix = self._own_information()
        if self.intercept is None or (center is None and self.center is None):
            return matrix
        move = np.zeros(self.n_features)
        move = move if self.center is None else move + self.center
        move = move if center is None else move - center
        shift = np.eye(self.n_features + 1)
        shift[-1, :-1] = move
        shift = np.kron(np.eye(self.n_logits), shift)
        moved = shift.T @ matrix @ shift
        return (moved + moved.T) / 2

    def vector_at(self, center: Any) -> Any:
        """Return all parameters, with linear predictors at a point for intercepts.

        Parameters
        ----------
        center : ndarray of shape (n_features,) or None
            The point. None: the origin.

        Returns
        -------
        vector : ndarray of shape (n_parameters,)
            Parameters, logit after logit.
        """
        vector = self.vector
        if self.intercept is None or center is None:
            return vector
        theta = vector.reshape(self.n_logits, -1).copy()
        theta[:, -1] += theta[:, :-1] @ center
        return theta.ravel()

    def _own_information(self) -> Any:
        """Information about ``center``."""
        if self.fisher is not None:
            return self.fisher
        scale = np.sqrt(np.diagonal(self.covariance))
        inverse = np.linalg.inv(self.covariance / scale / scale[:, None])
        return inverse / scale / scale[:, None]

    @property
    def residual_dof(self) -> float:
        """Rows less the rank of the information; 0 if there are not more rows."""
        return max(self.n - information_rank(self._own_information()), 0.0)

    def to_estimator(self) -> Any:
        """Return the fitted linear model that a summary describes.

        Returns
        -------
        model : LinearRegression, LogisticRegression or PoissonRegressor
            A model with these coefficients, classes and names. It takes the place of
            the summary in ``source_models``.
        """
        has_intercept = self.intercept is not None
        if self.classes is not None:
            model = LogisticRegression(fit_intercept=has_intercept)
            model.classes_ = self.classes
            model.coef_ = self.coef.reshape(self.n_logits, -1)
            model.intercept_ = np.zeros(self.n_logits)
            if has_intercept:
                model.intercept_ = np.ravel(self.intercept)
            model.n_iter_ = np.zeros(1, dtype=np.int32)
        else:
            kind = LinearRegression if self.family == "gaussian" else PoissonRegressor
            model = kind(fit_intercept=has_intercept)
            # what else the model keeps is set by a fit to nothing
            model.fit(np.zeros((2, self.n_features)), np.ones(2))
            model.coef_ = self.coef
            model.intercept_ = self.intercept if has_intercept else 0.0
        model.n_features_in_ = self.n_features
        if self.feature_names is not None:
            model.feature_names_in_ = np.asarray(self.feature_names, dtype=object)
        return model

    def merge(self, *others: Any) -> "SourceSummary":
        """Merge summaries of parts of one source.

        Parameters
        ----------
        *others : SourceSummary
            Summaries of other rows of the same source.

        Returns
        -------
        merged : SourceSummary
            Summary of all rows. It is exact for least squares with ``noise``, and
            for other families if all parts were expanded at the same coefficients,
            as by one fitted estimator; else it is the sum of the quadratics.
        """
        parts = [self, *others]
        for i, part in enumerate(parts[1:]):
            _check_alike(self, part, f"others[{i}]")
        gaussian = self.family == "gaussian" and all(p.noise for p in parts)
        scales = [part.noise if gaussian else 1.0 for part in parts]
        center = next((p.center for p in parts if p.center is not None), None)
        grams = [
            s * part.information_at(center)
            for s, part in zip(scales, parts, strict=True)
        ]
        total = sum(grams)
        # solved from the first part's parameters: equal parts stay as they are
        vectors = [part.vector_at(center) for part in parts]
        pull = sum(
            gram @ (vector - vectors[0])
            for gram, vector in zip(grams, vectors, strict=True)
        )
        vector = vectors[0] + newton_direction(total, pull)
        vector = centered_logits(vector, self.family, self.n_logits)
        n = float(sum(part.n for part in parts))
        noise = rss = None
        if gaussian:
            rss = float(sum(part._sum_of_squares for part in parts))
            for gram, own in zip(grams, vectors, strict=True):
                move = own - vector
                rss += max(float(move @ gram @ move), 0.0)
            noise = _noise_of(total, vector, rss, n, self.intercept is not None)
            total = total / noise
        coef, intercept = _split(vector, self.n_logits, self.intercept is not None)
        if center is not None:
            intercept = intercept - coef @ center
        return replace(
            self, coef=coef, intercept=intercept, covariance=None, fisher=total, n=n,
            noise=noise, rss=rss, center=center,
        )  # fmt: skip

    @property
    def _sum_of_squares(self) -> float:
        return self.noise * self.residual_dof if self.rss is None else self.rss


def centered_logits(vector: NDArray[Any], family: str, n_logits: int) -> NDArray[Any]:
    """Return parameters that sum to 0 over the classes, which is the same model."""
    if family != "multinomial":
        return vector
    theta = vector.reshape(n_logits, -1)
    return (theta - theta.mean(axis=0)).ravel()


def noise_of_few_rows(
    gram: NDArray[Any],
    moment: NDArray[Any],
    energy: float,
    n: float,
    has_intercept: bool,
) -> float:
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


def _noise_of(
    gram: NDArray[Any], vector: NDArray[Any], rss: float, n: float, has_intercept: bool
) -> float:
    """Noise variance of least squares, from its sums over all rows."""
    moment = gram @ vector
    energy = float(rss + vector @ moment)
    dof = n - information_rank(gram)
    if dof > 0:
        noise = max(rss, np.finfo(float).eps * energy) / dof
        return float(noise) or 1.0
    if has_intercept:
        center = np.eye(len(gram))
        center[-1, :-1] = -gram[-1, :-1] / gram[-1, -1]
        mean = moment[-1] / n
        moment = center.T @ (moment - mean * gram[:, -1])
        gram = center.T @ gram @ center
        energy = max(energy - n * mean**2, 0.0)
    return float(noise_of_few_rows(gram, moment, energy, n, has_intercept)) or 1.0


def _finite(value: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers, got {value!r}.") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    return array


def _split(
    vector: NDArray[Any], n_logits: int, has_intercept: bool
) -> tuple[NDArray[Any], Any]:
    theta = vector.reshape(n_logits, -1)
    if not has_intercept:
        return theta, None
    return theta[:, :-1], theta[:, -1]


def _check_alike(first: SourceSummary, other: SourceSummary, name: str) -> None:
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


def check_summary_names(summary: SourceSummary, names: Any, name: str) -> None:
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


def check_source_summaries(
    given: Any,
    owner: Any,
    *,
    families: Any,
    fit_intercept: bool,
    parameter: str = "source_summaries",
) -> list[tuple[str, SourceSummary]]:
    """Return ``(name, summary)`` of every entry, or one error that names it.

    Parameters
    ----------
    given : SourceSummary, list of them or None
        The parameter of an estimator.
    owner : estimator
        The estimator; its ``n_features_in_`` and ``feature_names_in_`` are set.
    families : tuple of str
        Families of which it takes summaries.
    fit_intercept : bool
        Whether its model has an intercept.
    parameter : str, default="source_summaries"
        Name of the parameter.

    Returns
    -------
    checked : list of (str, SourceSummary)
        Name and summary of every entry.
    """
    if given is None:
        return []
    given = [given] if isinstance(given, SourceSummary) else list(given)
    names = getattr(owner, "feature_names_in_", None)
    checked = []
    for i, summary in enumerate(given):
        name = f"{parameter}[{i}]"
        if not isinstance(summary, SourceSummary):
            raise TypeError(
                f"{name} must be a SourceSummary, got {type(summary).__name__}: "
                "make it with summarize_source(estimator, X, y)."
            )
        if summary.n_features != owner.n_features_in_:
            raise ValueError(
                f"{name} has {summary.n_features} features, but X has "
                f"{owner.n_features_in_}."
            )
        check_summary_names(summary, names, name)
        if summary.family not in families:
            raise ValueError(
                f"{name} has family={summary.family!r}, but "
                f"{type(owner).__name__} takes {' or '.join(families)}."
            )
        if (summary.intercept is not None) != fit_intercept:
            kind = "an intercept" if summary.intercept is not None else "none"
            raise ValueError(
                f"{name} has {kind}, but fit_intercept={fit_intercept}: "
                "summarize the source with the same kind of model."
            )
        checked.append((name, summary))
    return checked
