"""Tags, mixins and one template base per family of estimators.

A public ``fit`` validates and calls one private hook; the hook computes. What an
estimator supports is said once, in its :class:`TransferTags`: validation, the
contract checks and the documentation's capability table all read them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    TweedieRegressor,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import BaseDecisionTree
from sklearn.utils import Tags, check_array, get_tags
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from sktransfer._compat import (
    Interval,
    MetadataRouter,
    MethodMapping,
    StrOptions,
    _fit_context,
    _num_samples,
)
from sktransfer._deviance import as_rates, check_exposure, deviance_power, to_score
from sktransfer._domains import (
    DomainData,
    check_capabilities,
    check_domains,
    check_sample_domain,
    check_scorable,
    is_source,
    labels_checked_before,
    take_rows,
)
from sktransfer._learners import (
    HasLearnerMethods,
    check_method,
    check_takes_sample_weight,
    check_weights,
    check_weights_arrive,
    fit_learner,
    flatten_column,
    knows_requests,
    multiply_weights,
    name_samples,
    predict_learner,
    routing_of,
)
from sktransfer._response import CommonColumns, all_classes, common_columns
from sktransfer._solvers.array_api import float_types, refuse_other_arrays
from sktransfer._solvers.density_ratio import effective_sample_size
from sktransfer._solvers.kernels import KERNELS, kernel_product, resolve_gamma
from sktransfer.exceptions import (
    CollapsedWeightsWarning,
    DomainError,
    UnlabeledTargetError,
    warn,
)

__all__ = [
    "BlendMixin",
    "BlendingMetaEstimator",
    "ByDomainMixin",
    "CommonColumns",
    "DomainData",
    "KernelParametersMixin",
    "MultiTargetMetaEstimator",
    "ReweightingMetaEstimator",
    "TakesGroupsMixin",
    "TransferEstimator",
    "TransferMetaEstimator",
    "TransferMixin",
    "TransferPredictorMixin",
    "TransferTags",
    "TransferTransformer",
    "common_columns",
    "consumes_sample_domain",
    "fit_learner",
    "fit_on_domains",
    "get_transfer_tags",
    "is_scale_free",
    "predict_learner",
    "with_budget_of",
    "without_sources",
]


#: learners that ignore the features, or whose thresholds move with them
_UNIT_FREE_LEARNERS = (
    BaseDecisionTree,
    DummyClassifier,
    DummyRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
_GLMS = (GammaRegressor, PoissonRegressor, TweedieRegressor)
_SCALERS = (MinMaxScaler, RobustScaler, StandardScaler)
_SCALING = ("with_mean", "with_std", "with_centering", "with_scaling")


@dataclass(slots=True)
class TransferTags:
    """What a transfer estimator supports.

    Parameters
    ----------
    multi_source : bool, default=True
        Several sources in one fit.
    multi_target : bool, default=False
        Several targets in one fit.
    target_labels : {"unused", "optional", "required"}, default="optional"
        What labels of target rows do in a fit with sources.
    uses_unlabeled : bool, default=False
        Whether unlabeled target rows change the fit.
    unlabeled_sources : bool, default=False
        Whether labels of source rows may be missing.
    source_free : bool, default=False
        Whether fitted source models can take the place of source rows.
    unseen_domain : bool, default=False
        Whether ``predict`` or ``transform`` take ``sample_domain`` with ids that
        ``fit`` has not seen.
    scale_free : bool, default=False
        Whether predictions do not depend on the units and offsets of the features, as
        without a penalty, a kernel and distances. Wrappers that only choose rows
        follow their learner, see :func:`is_scale_free`.
    classification, regression : bool, default=True
        The tasks that are supported.
    """

    multi_source: bool = True
    multi_target: bool = False
    target_labels: Literal["unused", "optional", "required"] = "optional"
    uses_unlabeled: bool = False
    unlabeled_sources: bool = False
    source_free: bool = False
    unseen_domain: bool = False
    scale_free: bool = False
    classification: bool = True
    regression: bool = True


@dataclass(slots=True)
class _TagsWithTransfer(Tags):
    transfer_tags: TransferTags = field(default_factory=TransferTags)


def get_transfer_tags(estimator: Any) -> TransferTags:
    """Return the transfer tags of an estimator, of a pipeline those of its last step.

    Parameters
    ----------
    estimator : estimator
        An estimator of this library, or a pipeline that ends in one.

    Returns
    -------
    tags : TransferTags
        What it supports.

    Raises
    ------
    TypeError
        If the estimator does not take `sample_domain`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.base import get_transfer_tags
    >>> from sktransfer.baselines import TargetOnly
    >>> get_transfer_tags(TargetOnly(LogisticRegression())).target_labels
    'required'
    """
    if isinstance(estimator, Pipeline):
        tags = get_transfer_tags(estimator.steps[-1][1])
        tags.scale_free = is_scale_free(estimator)
        tags.unseen_domain = _takes_unseen_domains(estimator)
        return tags
    tags = get_tags(estimator)
    if not isinstance(tags, _TagsWithTransfer):
        raise TypeError(
            f"{type(estimator).__name__} does not know domains. Wrap it, e.g. "
            f"Pooled({type(estimator).__name__}(...)) of sktransfer.baselines."
        )
    return tags.transfer_tags


def _takes_unseen_domains(pipeline: Any) -> bool:
    """Tell whether steps take domains in predict, and all of these ones not seen."""
    asked = []
    for position, (_, step) in enumerate(pipeline.steps):
        last = position == len(pipeline.steps) - 1
        if not hasattr(step, "fit"):
            continue
        method = "predict" if last else "transform"
        if routing_of(step).consumes(method, ["sample_domain"]):
            asked.append(step)
    return bool(asked) and all(map(_is_for_unseen_domains, asked))


def _is_for_unseen_domains(step: Any) -> bool:
    try:
        return get_transfer_tags(step).unseen_domain
    except TypeError:
        return False


def is_scale_free(estimator: Any) -> bool:
    """Tell whether the units of the features leave an estimator's predictions alone.

    Parameters
    ----------
    estimator : estimator
        Unfitted. Trees and forests of scikit-learn are scale-free, linear models with
        an intercept and without a penalty (iterative ones with the solver
        "newton-cholesky", whose steps are), pipelines that begin with a scaler, and
        estimators of this library that declare it in their tags.

    Returns
    -------
    scale_free : bool
        False where it is not known.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression, Ridge
    >>> from sktransfer.base import is_scale_free
    >>> is_scale_free(LinearRegression()), is_scale_free(Ridge())
    (True, False)
    """
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if hasattr(step, "fit")]
        first = isinstance(steps[0], _SCALERS) and all(
            getattr(steps[0], name, True) for name in _SCALING
        )
        return first or (len(steps) == 1 and is_scale_free(steps[0]))
    tags = get_tags(estimator)
    if isinstance(tags, _TagsWithTransfer):
        return tags.transfer_tags.scale_free
    if isinstance(estimator, _UNIT_FREE_LEARNERS):
        return True
    if isinstance(estimator, LinearRegression):
        return bool(estimator.fit_intercept)
    if isinstance(estimator, LogisticRegression):
        # LogisticRegressionCV, which chooses a penalty, is one too
        C = getattr(estimator, "C", 1.0)
        unpenalized = np.isinf(C) or getattr(estimator, "penalty", C) is None
    elif isinstance(estimator, _GLMS):
        unpenalized = estimator.alpha == 0
    else:
        return False
    exact = estimator.solver == "newton-cholesky"
    return bool(unpenalized and exact and estimator.fit_intercept)


def consumes_sample_domain(estimator: Any) -> bool:
    """Tell whether ``fit`` of an estimator, or of a step in it, takes domains.

    Parameters
    ----------
    estimator : estimator
        Any scikit-learn estimator.

    Returns
    -------
    consumes : bool
        True if ``sample_domain`` reaches something in it.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.base import consumes_sample_domain
    >>> consumes_sample_domain(Ridge())
    False
    """
    if _asks_by_class(estimator):
        return True
    return bool(routing_of(estimator).consumes("fit", ["sample_domain"]))


def _asks_by_class(estimator: Any) -> Any:
    """Tell whether nobody has changed what an estimator of ours requests in ``fit``."""
    return isinstance(estimator, TransferMixin) and not hasattr(
        estimator, "_metadata_request"
    )


def fit_on_domains(estimator: Any, data: DomainData, **fit_params: Any) -> Any:
    """Fit an estimator that takes `sample_domain` on the rows of ``data``.

    The domains reach every step of a pipeline whatever scikit-learn's global routing
    switch is.

    Parameters
    ----------
    estimator : estimator
        Unfitted estimator; it is fitted in place.
    data : DomainData
        Rows, labels with markers and domains.
    **fit_params : dict
        Further metadata, one entry per row of ``data``.

    Returns
    -------
    estimator : estimator
        The fitted estimator.

    Raises
    ------
    TypeError
        If the estimator does not take ``sample_domain``.
    """
    if not consumes_sample_domain(estimator):
        get_transfer_tags(estimator)
        raise TypeError(
            f"{type(estimator).__name__}.fit does not take sample_domain; wrap its "
            "last step, e.g. in Pooled of sktransfer.baselines."
        )
    with config_context(enable_metadata_routing=True), labels_checked_before():
        return estimator.fit(
            data.X, data.y, sample_domain=data.sample_domain, **fit_params
        )


def without_sources(estimator: Any) -> Any:
    r"""Return the unfitted :math:`\theta(0,T)` of an estimator.

    It is the same algorithm without sources. Source rows are left out by the caller;
    this function takes care of source *models* given to a constructor, in a pipeline
    step by step.

    Parameters
    ----------
    estimator : estimator
        Fitted or not; it is not changed.

    Returns
    -------
    target_only : estimator
        An unfitted copy without source models.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.base import without_sources
    >>> without_sources(Ridge(alpha=2.0))
    Ridge(alpha=2.0)
    """
    if hasattr(estimator, "without_sources"):
        return estimator.without_sources()
    copy = clone(estimator)
    if not any(
        hasattr(value, "without_sources") and not isinstance(value, type)
        for value in copy.get_params(deep=True).values()
    ):
        return copy
    nested = {
        name: without_sources(value)
        for name, value in copy.get_params(deep=False).items()
        if hasattr(value, "fit") and not isinstance(value, type)
    }
    if isinstance(copy, Pipeline):
        nested = {
            name: without_sources(step)
            for name, step in copy.steps
            if hasattr(step, "fit")
        }
    return copy.set_params(**nested) if nested else copy


def with_budget_of(estimator: Any, data: DomainData) -> Any:
    r"""Return an estimator that trains as long on fewer samples as on these.

    What is compared with a fit on all samples, such as :math:`\theta(0,T)`, must not
    lose by a shorter training. Estimators that count passes over their samples have a
    method ``budget_params(data)``, which returns the parameters that make other fits as
    long; steps of pipelines and inner estimators are asked, too.

    Parameters
    ----------
    estimator : estimator
        Unfitted; it is not changed.
    data : DomainData
        All samples.

    Returns
    -------
    estimator : estimator
        A copy with these parameters, or the estimator itself if there are none.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.base import with_budget_of
    >>> with_budget_of(Ridge(), None)
    Ridge()
    """
    found = {}
    if hasattr(estimator, "budget_params"):
        found = dict(estimator.budget_params(data))
    for name, part in estimator.get_params(deep=True).items():
        if hasattr(part, "budget_params") and not isinstance(part, type):
            own = part.budget_params(data)
            found |= {f"{name}__{key}": value for key, value in own.items()}
    return clone(estimator).set_params(**found) if found else estimator


def missing_hook(estimator: Any, hook: Any) -> Any:
    """Return the error of a class that lacks a hook of its template."""
    contract = getattr(type(estimator), hook.split("(")[0]).__doc__ or ""  # -OO: None
    return NotImplementedError(
        f"{type(estimator).__name__} must implement the hook {hook}. {contract}".strip()
    )


def has_numeric_labels(estimator: Any) -> bool | None:
    """Tell regression (True) from classification (False); None: it serves both."""
    if is_regressor(estimator) or is_classifier(estimator):
        return is_regressor(estimator)
    tags = get_tags(estimator).transfer_tags
    return None if tags.regression == tags.classification else tags.regression


class TransferMixin:
    """Request ``sample_domain`` in ``fit``, carry transfer tags, validate rows."""

    __metadata_request__fit = {"sample_domain": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        inherited = {f.name: getattr(tags, f.name) for f in fields(tags)}
        return _TagsWithTransfer(**inherited)

    def _validate_domains(
        self,
        X: Any,
        y: Any,
        sample_domain: Any,
        *,
        skip_check_X: bool = False,
        reset: bool = True,
        is_batch: bool = False,
    ) -> DomainData:
        """Check the input of ``fit`` against the contract and the tags."""
        tags = get_tags(self)
        if y is None and tags.target_tags.required:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None"
            )
        X = self._validate_X(X, tags, reset=reset, skip_check=skip_check_X)
        data = check_domains(
            X,
            y,
            sample_domain,
            numeric_labels=has_numeric_labels(self),
            multi_output=tags.target_tags.multi_output,
            target_required=not is_batch,
            unlabeled_sources=tags.transfer_tags.unlabeled_sources,
        )
        self._check_capable(data, is_batch=is_batch)
        return data

    def _check_capable(self, data: DomainData, *, is_batch: bool = False) -> None:
        """Refuse rows that ask for more than the tags declare; batches may lack."""
        tags = get_tags(self)
        transfer = tags.transfer_tags
        check_capabilities(
            data,
            type(self).__name__,
            multi_source=transfer.multi_source,
            multi_target=transfer.multi_target,
            labels_required=transfer.target_labels == "required" and not is_batch,
            needs_y=tags.target_tags.required and not is_batch,
        )

    def _validate_X(
        self, X: Any, tags: _TagsWithTransfer, *, reset: bool, skip_check: bool = False
    ) -> Any:
        if skip_check:
            # what rows may look like is the business of the wrapped estimator: here
            # they must be indexable
            X = as_rows(X)
            if reset:
                vars(self).pop("n_features_in_", None)
                validate_data(self, X, reset=True, skip_check_array=True)
            return X
        if not tags.array_api_support:
            refuse_other_arrays(type(self).__name__, X=X)
        with naming_the_step(type(self).__name__):
            _refuse_dates(X)
            return validate_data(
                self,
                X,
                reset=reset,
                accept_sparse="csr" if tags.input_tags.sparse else False,
                dtype=float_types(X),
                ensure_all_finite="allow-nan" if tags.input_tags.allow_nan else True,
            )

    def _numeric_rows(self, X: Any, **options: Any) -> Any:
        """Return rows as numbers for a wrapper that does arithmetic on them."""
        options = {"accept_sparse": "csr", "dtype": [np.float64, np.float32]} | options
        refuse_other_arrays(type(self).__name__, X=X)
        with naming_the_step(type(self).__name__):
            _refuse_dates(X)
            return check_array(X, input_name="X", **options)


class KernelParametersMixin:
    """The parameters of a kernel: ``kernel, gamma, degree, coef0, kernel_params``."""

    kernel: Any
    gamma: Any
    degree: float
    coef0: float
    kernel_params: Any
    X_fit_: Any
    components_: NDArray[Any]

    _kernel_constraints: ClassVar[dict[str, Any]] = {
        "kernel": [StrOptions(set(KERNELS)), callable],
        "gamma": [
            StrOptions({"median", "scale"}),
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
        "degree": [Interval(Real, 1, None, closed="left")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "kernel_params": [dict, None],
    }

    def _kernel_options(self, X: Any) -> dict[str, Any]:
        """Resolve the width on the rows of all domains and set ``gamma_``."""
        self.gamma_ = resolve_gamma(self.gamma, X, kernel=self.kernel)
        return self._fitted_kernel()

    def _fitted_kernel(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "gamma": self.gamma_,
            "degree": self.degree,
            "coef0": self.coef0,
            "kernel_params": self.kernel_params,
        }

    def _project(self, X: Any) -> NDArray[Any]:
        """Return the kernel with the fitted rows times ``components_``."""
        Z = kernel_product(X, self.X_fit_, self.components_, **self._fitted_kernel())
        return Z.astype(X.dtype, copy=False) if isinstance(Z, np.ndarray) else Z


class TransferPredictorMixin:
    """Refuse to score unlabeled rows."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions on labeled target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels; a marker of a missing label is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Accuracy for classifiers, R2 for regressors.

        Raises
        ------
        UnlabeledTargetError
            If a row of ``y`` carries a marker.
        """
        check_scorable(y, getattr(self, "classes_", None))
        return super().score(X, y, sample_weight=sample_weight)  # type: ignore[misc]


class TransferEstimator(TransferMixin, BaseEstimator):
    """Template: ``fit`` validates, the hook ``_fit_domains(data)`` computes."""

    _parameter_constraints: dict[str, Any] = {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_domain: Any = None) -> Self:
        """Fit on source and target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels. Those of unlabeled target rows are missing: NaN among numbers,
            None among objects; see :func:`~sktransfer.datasets.mark_unlabeled`.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract or ask for more than the tags
            declare.
        """
        self._fit_domains(self._validate_domains(X, y, sample_domain))
        return self

    def _fit_domains(self, data: DomainData) -> Any:
        """Set the fitted attributes from a checked ``DomainData``."""
        raise missing_hook(self, "_fit_domains(data)")

    def _validate_rows(self, X: Any) -> Any:
        """Check the rows of ``predict``."""
        check_is_fitted(self)
        return self._validate_X(X, get_tags(self), reset=False)


class TransferTransformer(TransformerMixin, TransferEstimator):
    """Template of transformers: adds the hook ``_transform(X, source)``.

    ``source`` is the mask of the source rows; maps that treat both domains alike
    ignore it. Maps that differ between sources override
    ``_transform_domains(X, sample_domain)``, which calls that hook.
    """

    __metadata_request__transform = {"sample_domain": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: Any = None, sample_domain: Any = None) -> Any:
        """Fit the map on source and target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,), default=None
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            target row.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        DomainError
            If the rows break the domain contract or ask for more than the tags
            declare.
        """
        return super().fit(X, y, sample_domain=sample_domain)

    def transform(self, X: Any, sample_domain: Any = None) -> Any:
        """Map rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to map.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain ids of the rows. None: target rows.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Mapped rows, in input order.
        """
        check_is_fitted(self)
        X = self._validate_X(X, get_tags(self), reset=False)
        domain = check_sample_domain(sample_domain, _num_samples(X))
        return self._transform_domains(X, domain)

    def _transform_domains(self, X: Any, sample_domain: Any) -> Any:
        return self._transform(X, is_source(sample_domain))

    def _transform(self, X: Any, source: Any) -> Any:
        """Return mapped samples, in order; ``source`` is the mask of source samples."""
        raise missing_hook(self, "_transform(X, source)")

    def fit_transform(self, X: Any, y: Any = None, sample_domain: Any = None) -> Any:
        """Fit the map and map the same rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,), default=None
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Mapped rows, in input order.
        """
        fitted = self.fit(X, y, sample_domain=sample_domain)
        return fitted.transform(X, sample_domain=sample_domain)


def _answers(method: str) -> Callable[..., Any]:
    def check(self: Any) -> bool:
        self._check_answers(method)
        return True

    return check


class _AnswersMixin:
    """Predictions, probabilities and decision values from one hook, ``_answer``."""

    _validate_X: Callable[..., Any]

    def _answer(self, method: Any, X: Any, params: Any) -> Any:
        """Return what ``method`` answers to target samples ``X``, which are checked."""
        raise missing_hook(self, "_answer(method, X, params)")

    def _check_answers(self, method: Any) -> Any:
        """Raise an AttributeError if there is no answer to ``method``."""
        raise missing_hook(self, "_check_answers(method)")

    def _delegate(self, method: str, X: Any, params: dict[Any, Any]) -> NDArray[Any]:
        check_is_fitted(self)
        X = self._validate_X(X, get_tags(self), reset=False, skip_check=True)
        return self._answer(method, X, params)

    @available_if(_answers("predict"))
    def predict(self, X: Any, **predict_params: Any) -> NDArray[Any]:
        """Predict target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        **predict_params : dict
            Arguments of the ``predict`` of the one model that answers, such as
            ``return_std`` of a Gaussian process. ``exposure``, of shape (n_samples,),
            multiplies the predictions of learners with a log link; without it they are
            rates. ``sample_domain``, of shape (n_samples,) or an int, names the
            domains of the samples for guards and portfolios whose models answer by
            domains, such as pipelines with a
            :class:`~sktransfer.preprocessing.DomainScaler`.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions; a tuple where ``predict_params`` ask for more.
        """
        exposure = predict_params.pop("exposure", None)
        if exposure is not None:
            exposure = check_exposure(exposure, _num_samples(X), self)
        values = flatten_column(self._delegate("predict", X, predict_params))
        return values if exposure is None else _times(values, exposure)

    @available_if(_answers("predict_proba"))
    def predict_proba(self, X: Any, **params: Any) -> NDArray[Any]:
        """Predict class probabilities of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        **params : dict
            Arguments of the ``predict_proba`` of the one model that answers.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in [0, 1], in the order of ``classes_``.
        """
        return self._delegate("predict_proba", X, params)

    @available_if(_answers("predict_log_proba"))
    def predict_log_proba(self, X: Any, **params: Any) -> NDArray[Any]:
        """Predict logarithms of class probabilities of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        **params : dict
            Arguments of the ``predict_log_proba`` of the one model that answers.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Natural logarithms, in the order of ``classes_``; -inf for 0.
        """
        return self._delegate("predict_log_proba", X, params)

    @available_if(_answers("decision_function"))
    def decision_function(self, X: Any, **params: Any) -> NDArray[Any]:
        """Compute decision values of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        **params : dict
            Arguments of the ``decision_function`` of the one model that answers.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values; of blended probabilities their log-odds.
        """
        return self._delegate("decision_function", X, params)


class TransferMetaEstimator(
    _AnswersMixin, TransferMixin, MetaEstimatorMixin, BaseEstimator
):
    """Template of wrappers: type, predictions and classes follow ``estimator``.

    ``fit`` validates, routes the metadata and calls the hook
    ``_fit_estimator(data, fit_params)``, which returns the fitted ``estimator_``.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to wrap.
    """

    _parameter_constraints: dict[str, Any] = {
        "estimator": [HasLearnerMethods(["fit", "predict"])]
    }
    _routed_methods: tuple[str, ...] = ("fit", "predict")
    #: whether the hook gets ``exposure`` in ``fit_params``, and not rates and weights
    _hands_exposure_on = False
    __metadata_request__fit = {"sample_domain": True, "exposure": True}
    __metadata_request__predict = {"exposure": True}
    __metadata_request__score = {"exposure": True}

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_domain: Any = None, **fit_params: Any) -> Self:
        """Fit the wrapped estimator on source and target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels. Those of unlabeled target rows are missing: NaN among numbers,
            None among objects; see :func:`~sktransfer.datasets.mark_unlabeled`.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        **fit_params : dict
            Metadata that the wrapped estimator requests, one entry per row; it gets
            the entries of the rows that it is fitted on; None counts as not given.
            ``exposure``, of shape (n_samples,), goes with learners that have a log
            link: a row of twice the exposure is expected to have twice the label. It
            needs no request.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract or ask for more than the tags
            declare.
        """
        data = self._validate_domains(X, y, sample_domain, skip_check_X=True)
        exposure = fit_params.pop("exposure", None)
        if exposure is not None:
            exposure = self._check_exposure(exposure, data)
        params = self._route("fit", data, fit_params)
        if exposure is not None:
            data, params = self._expose(data, params, exposure)
        part, params, kept = self._drop_weightless(data, params)
        self.estimator_ = self._fit_estimator(part, params)
        if not kept.all():
            self._restore_rows(data, kept)
        return self

    def _check_exposure(self, exposure: Any, data: DomainData) -> NDArray[Any]:
        inner = routing_of(self.estimator).consumes("fit", ["exposure"])
        if inner and not self._hands_exposure_on:
            raise TypeError(
                f"{type(self).__name__} takes no exposure around an estimator that "
                "knows domains. Give rates as y, and exposure ** (2 - power) as "
                "sample_weight."
            )
        return check_exposure(exposure, len(data.labeled), self, data.labeled)

    def _expose(
        self, data: DomainData, params: dict[Any, Any], exposure: Any
    ) -> tuple[DomainData, dict[str, Any]]:
        """Hand exposures on, or turn labels into rates and exposures into weights."""
        if self._hands_exposure_on:
            return data, {**params, "exposure": exposure}
        rates, factor = as_rates(data.y, exposure, deviance_power(self))
        weight = multiply_weights(factor, params.get("sample_weight"))
        return replace(data, y=rates), {**params, "sample_weight": weight}

    def _restore_rows(self, data: DomainData, kept: NDArray[np.bool_]) -> None:
        """Give fitted attributes, one entry per row, those of dropped rows (a hook)."""

    def _fit_estimator(self, data: DomainData, fit_params: Any) -> Any:
        """Return the fitted ``estimator_``; ``data`` is a checked ``DomainData``."""
        raise missing_hook(self, "_fit_estimator(data, fit_params)")

    def _route(
        self, method: str, data: DomainData, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the metadata that the wrapped estimator requests."""
        own = {}
        for name in ("sample_weight", "groups"):  # None: as if it were not given
            if params.get(name, self) is None:
                params = {k: value for k, value in params.items() if k != name}
        if "sample_weight" in params and not knows_requests(self.estimator):
            # a learner without metadata requests cannot request its weights
            check_takes_sample_weight(self.estimator)
            own["sample_weight"] = params.pop("sample_weight")
        if method == "fit" and not params:  # what the routing below would say
            if _asks_by_class(self.estimator):
                return {"sample_domain": data.sample_domain, **own}
            if not consumes_sample_domain(self.estimator):
                return own
        with config_context(enable_metadata_routing=True):
            try:
                routed = process_routing(
                    self, method, sample_domain=data.sample_domain, **params
                )
            except TypeError as error:
                check_weights_arrive(self.estimator, error)
                raise
        return {**routed["estimator"][method], **own}

    def _drop_weightless(
        self, data: DomainData, params: dict[str, Any], *, is_batch: bool = False
    ) -> tuple[DomainData, Any, NDArray[np.bool_]]:
        """Drop rows of weight zero, before anything is counted or dealt to folds."""
        kept = np.ones(len(data.sample_domain), dtype=bool)
        if params.get("sample_weight") is None:
            return data, params, kept
        weights = check_weights(params["sample_weight"], len(kept))
        params, kept = {**params, "sample_weight": weights}, weights > 0
        if kept.all():
            return data, params, kept
        part = data.take(kept)
        if not (part.n_target or is_batch):
            raise DomainError(
                f"The target domain {data.targets[0]} has sample_weight 0 in every "
                "row, and a row of weight 0 is left out: give one a positive weight."
            )
        required = get_tags(self).transfer_tags.target_labels == "required"
        if required and data.n_labeled and not (part.n_labeled or is_batch):
            raise UnlabeledTargetError(
                f"{type(self).__name__} needs labeled target rows, but all of them "
                "have sample_weight 0, and a row of weight 0 is left out: give one a "
                "positive weight."
            )
        self._check_capable(part, is_batch=is_batch)
        return part, slice_params(params, kept), kept

    @available_if(_answers("score"))
    def score(
        self, X: Any, y: Any, sample_weight: Any = None, exposure: Any = None
    ) -> float:
        """Score predictions on labeled target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        y : array-like of shape (n_samples,)
            Their labels; a marker of a missing label is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        exposure : array-like of shape (n_samples,), default=None
            Exposures of counts ``y``: their rates are scored, weighted as in ``fit``.

        Returns
        -------
        score : float
            Score of the wrapped estimator: accuracy or R2 unless it defines another.

        Raises
        ------
        UnlabeledTargetError
            If a row of ``y`` carries a marker.
        """
        check_is_fitted(self)
        check_scorable(y, getattr(self, "classes_", None))
        y, sample_weight = to_score(y, sample_weight, exposure, self)
        X = self._for_estimator(as_rows(X))
        if sample_weight is None:
            return self.estimator_.score(X, y)
        if "sample_weight" not in signature(self.estimator_.score).parameters:
            y_pred = predict_learner(self.estimator_, X)
            return _metric(self)(y, y_pred, sample_weight=sample_weight)
        if exposure is None:
            return self.estimator_.score(X, y, sample_weight=sample_weight)
        # of a pipeline the last step gets them, as in `fit`, without a request
        with config_context(enable_metadata_routing=False):
            return self.estimator_.score(X, y, sample_weight=sample_weight)

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes of the wrapped classifier, shape (n_classes,)."""
        return self.estimator_.classes_

    def _answer(self, method: str, X: Any, params: dict[Any, Any]) -> NDArray[Any]:
        return getattr(self.estimator_, method)(self._for_estimator(X), **params)

    def _check_answers(self, method: str) -> Any:
        inner = self.estimator_ if hasattr(self, "estimator_") else self.estimator
        check_method(inner, method)

    def _for_estimator(self, X: Any) -> Any:
        """Return target rows with the columns that ``estimator_`` expects (a hook)."""
        return X

    def get_metadata_routing(self) -> Any:
        """Get the metadata routing of this object.

        Returns
        -------
        routing : MetadataRouter
            Routing information of this object and the wrapped estimator.
        """
        mapping = MethodMapping()
        for method in self._routed_methods:
            mapping.add(caller=method, callee=method)
        router = MetadataRouter(owner=self).add_self_request(self)
        learner = routing_of(self.estimator)
        return router.add(estimator=learner, method_mapping=mapping)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        tags.transfer_tags.classification = inner.estimator_type == "classifier"
        tags.transfer_tags.regression = inner.estimator_type == "regressor"
        return tags


class TakesGroupsMixin:
    """Mixin of wrappers that hold out: ``groups`` in ``fit`` keep units together.

    ``_fit_estimator`` gets them as an entry of ``fit_params``, and rows of weight 0
    too, as explicit folds count all rows; both are the business of
    :func:`~sktransfer._folds.target_folds`.
    """

    cv: Any

    __metadata_request__fit = {"sample_domain": True, "groups": True}

    def fit(
        self,
        X: Any,
        y: Any,
        sample_domain: Any = None,
        groups: Any = None,
        **fit_params: Any,
    ) -> Any:
        """Fit the wrapped estimator on source and target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels. Those of unlabeled target rows are missing: NaN among numbers,
            None among objects; see :func:`~sktransfer.datasets.mark_unlabeled`.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, such as the patient, where units have several rows: a
            unit is never fitted on and tested at once. Rows of a source, or without a
            label, may have none (None or NaN).
        **fit_params : dict
            Metadata that the wrapped estimator requests, one entry per row; it gets
            the entries of the rows that it is fitted on. Held-out rows count by their
            ``sample_weight``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract or ask for more than the tags
            declare.
        """
        if isinstance(getattr(self, "cv", None), Iterator):
            self.cv = list(self.cv)  # a generator, which the next fit needs again
        if groups is not None:
            fit_params["groups"] = groups
        return super().fit(X, y, sample_domain=sample_domain, **fit_params)  # type: ignore[misc]

    def _route(
        self, method: str, data: DomainData, params: dict[str, Any]
    ) -> dict[str, Any]:
        routed = super()._route(method, data, params)  # type: ignore[misc]
        own = {name: params[name] for name in ("groups",) if name in params}
        return {**routed, **own}

    def _drop_weightless(
        self, data: DomainData, params: dict[str, Any], *, is_batch: bool = False
    ) -> tuple[DomainData, Any, NDArray[np.bool_]]:
        kept = np.ones(len(data.sample_domain), dtype=bool)
        if params.get("sample_weight") is not None:
            weights = check_weights(params["sample_weight"], len(kept))
            params = {**params, "sample_weight": weights}
        return data, params, kept

    def _existing(
        self, data: DomainData, params: dict[str, Any]
    ) -> tuple[DomainData, Any, NDArray[np.bool_]]:
        """Return the rows of positive weight, their metadata, and their mask."""
        return super()._drop_weightless(data, params)  # type: ignore[misc]


class BlendMixin(_AnswersMixin):
    """Predict with several fitted models at once.

    ``fit`` sets ``_columns``, the columns in which all models answer; the hook
    ``_blend(X)`` puts their answers together. Predictions, probabilities and decision
    values follow from it.
    """

    _columns: Any

    # rows to score are target rows unless a user asks for other domains
    __metadata_request__score = {"sample_domain": False}

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        exposure: Any = None,
        sample_domain: Any = None,
    ) -> float:
        """Score predictions on labeled target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        y : array-like of shape (n_samples,)
            Their labels; a marker of a missing label is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        exposure : array-like of shape (n_samples,), default=None
            Exposures of counts ``y``: their rates are scored, weighted as in ``fit``.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domains of the rows, as for ``predict``; None: the target.

        Returns
        -------
        score : float
            Accuracy for classifiers, of several outputs the share of rows in which all
            are right; R2 for regressors.

        Raises
        ------
        UnlabeledTargetError
            If a row of ``y`` carries a marker.
        """
        check_is_fitted(self)
        check_scorable(y, getattr(self, "classes_", None))
        y, sample_weight = to_score(y, sample_weight, exposure, self)
        domain = {} if sample_domain is None else {"sample_domain": sample_domain}
        y_pred = self.predict(X, **domain)
        if is_classifier(self) and np.ndim(y) == 2:
            hits = np.all(y_pred == np.asarray(y), axis=1)
            return float(np.average(hits, weights=sample_weight))
        metric = accuracy_score if is_classifier(self) else r2_score
        return metric(y, y_pred, sample_weight=sample_weight)

    def _blend(self, X: Any) -> Any:
        """Return the blended answers to checked ``X``, in the columns ``_columns``."""
        raise missing_hook(self, "_blend(X)")

    def _sole_model(self) -> Any:
        """Return the one fitted model that the blend consists of, or None."""
        return None

    def _answer(self, method: str, X: Any, params: dict[Any, Any]) -> NDArray[Any]:
        if params:
            raise TypeError(
                f"{type(self).__name__}.{method} blends several models and takes no "
                f"{', '.join(params)}."
            )
        sole = self._sole_model()
        if sole is not None and (method == "predict" or self._has_same_margins(sole)):
            return getattr(sole, method)(X)
        values = self._blend(X)
        if method == "predict":
            return self._columns.decide(values)
        if method == "decision_function":
            return self._columns.decisions(values)
        if method == "predict_log_proba":
            with np.errstate(divide="ignore"):
                values = np.log(values)
        return self._columns.split(values)

    def _has_same_margins(self, model: Any) -> bool:
        """Whether decision values of one model are those of the blend."""
        return self._columns.method == "decision_function" and np.array_equal(
            model.classes_, self._columns.classes
        )


class BlendingMetaEstimator(BlendMixin, TransferMetaEstimator):
    """Template of wrappers that predict with several fitted models at once.

    ``_fit_estimator`` sets ``_columns``, the columns in which all models answer; the
    hook ``_blend(X)`` puts their answers together. Predictions, probabilities and
    decision values follow from it.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to wrap.
    """

    _routed_methods = ("fit",)

    def _blended_models(self) -> list[Any]:
        """Return the models whose methods the blend offers, fitted or not yet."""
        # no truth value is asked: the length of an unfitted forest is an error
        return [self.estimator_ if hasattr(self, "estimator_") else self.estimator]

    def _check_answers(self, method: str) -> None:
        if method == "score":
            return  # by the metric of the task, whatever the models score by
        for model in self._blended_models():
            check_method(model, method)

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes of all blended models, shape (n_classes,); a list, one an output."""
        if not is_classifier(self.estimator):
            raise AttributeError("a regressor has no classes_")
        return self._columns.classes


class ReweightingMetaEstimator(TransferMetaEstimator):
    """Template of wrappers that fit a learner on weighted source samples.

    The hook ``_weigh_sources(data)`` returns the weights of the source samples. The
    learner is fitted on these and on the labeled target samples. The effective size
    of the weighted sources is kept as ``effective_sample_size_``, with a
    :class:`~sktransfer.exceptions.CollapsedWeightsWarning` where little is left of
    them.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample.
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "target_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, estimator: Any, *, target_weight: Any = 1.0) -> None:
        super().__init__(estimator)
        self.target_weight = target_weight

    def _weigh_sources(self, data: DomainData) -> Any:
        """Return nonnegative weights of the source samples, shape (n_source,)."""
        raise missing_hook(self, "_weigh_sources(data)")

    def _fit_estimator(self, data: DomainData, fit_params: dict[str, Any]) -> Any:
        check_takes_sample_weight(self.estimator)
        return self._fit_weighted(data, self._weigh_sources(data), fit_params)

    def _fit_weighted(
        self, data: DomainData, sample_weight: Any, fit_params: dict[str, Any]
    ) -> Any:
        """Fit the learner on weighted source samples and labeled target samples."""
        self.sample_weight_ = sample_weight
        self._measure_effective_size(data, fit_params.get("sample_weight"))
        rows = data.labeled
        if self.target_weight == 0 and data.n_source:
            rows = data.is_source
        weight = np.full(len(rows), float(self.target_weight) or 1.0)
        weight[data.is_source] = self.sample_weight_
        return fit_learner(
            self.estimator,
            take_rows(data.X, rows),
            data.labels(rows),
            method_weight=weight[rows],
            samples=name_samples(data, rows),
            **slice_params(fit_params, rows),
        )

    def _measure_effective_size(
        self, data: DomainData, user_weight: NDArray[Any] | None
    ) -> None:
        """Set ``effective_sample_size_``, and warn where the weights have collapsed.

        A sample with the user's weight 2 counts as two samples. Weights with a mean
        below 1, as of those that sum to 1, are no counts: their unit is left out of
        the warning.
        """
        weights, counts = self.sample_weight_, np.ones(data.n_source)
        if user_weight is not None:
            counts = np.asarray(user_weight, dtype=np.float64)[data.is_source]
        size = effective_sample_size(weights, counts)
        self.effective_sample_size_ = size
        unit = min(1.0, float(counts.sum()) / max(data.n_source, 1))
        if size >= unit * min(5.0, data.n_source / 20):
            return
        name = type(self).__name__
        if size == 0 and not data.n_labeled:
            raise ValueError(
                f"{name} gives all {data.n_source} source samples the weight 0, and "
                "there is no labeled target sample to fit on: the domains do not "
                "overlap at this width of the kernel, or in these features."
            )
        warn(
            f"The weights of {name} leave {data.n_source} source samples with an "
            f"effective sample size of {size:.1f}: a few of them decide. Widen the "
            "kernel, use fewer features, or a method that does not weigh samples.",
            CollapsedWeightsWarning,
        )

    def _restore_rows(self, data: DomainData, kept: NDArray[np.bool_]) -> None:
        weights = np.zeros(data.n_source, dtype=self.sample_weight_.dtype)
        weights[kept[data.is_source]] = self.sample_weight_
        self.sample_weight_ = weights


class ByDomainMixin:
    """Predict samples of several domains, each by the model of its domain.

    The samples that are to be predicted name their domain in ``sample_domain``; without
    it they belong to the (first) target, whose model is ``estimator_``. The hooks are
    ``_known_domains()`` and ``_model_of(domain, X)``.
    """

    estimator_: Any
    _validate_X: Callable[..., Any]

    __metadata_request__predict = {"sample_domain": True, "exposure": True}
    __metadata_request__predict_proba = {"sample_domain": True}
    __metadata_request__predict_log_proba = {"sample_domain": True}
    __metadata_request__decision_function = {"sample_domain": True}
    __metadata_request__score = {"sample_domain": True}

    def _known_domains(self) -> Any:
        """Return the ids of the domains that ``fit`` has seen."""
        raise missing_hook(self, "_known_domains()")

    def _model_of(self, domain: Any, X: Any) -> Any:
        """Return the fitted model for the samples ``X`` of one domain."""
        raise missing_hook(self, "_model_of(domain, X)")

    def _check_decisions(self, sample_domain: Any) -> None:
        """Refuse decision values that differ in their columns (a hook)."""

    def predict(
        self, X: Any, sample_domain: Any = None, exposure: Any = None
    ) -> NDArray[Any]:
        """Predict rows of several domains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row. None: the (first) target.
        exposure : array-like of shape (n_samples,), default=None
            Exposures, which multiply the predictions of learners with a log link;
            without them they are rates.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Predictions of the models of the domains.
        """
        if exposure is not None:
            exposure = check_exposure(exposure, _num_samples(X), self)
        values = self._by_domain(predict_learner, X, sample_domain)
        return values if exposure is None else _times(values, exposure)

    @available_if(_answers("predict_proba"))
    def predict_proba(self, X: Any, sample_domain: Any = None) -> NDArray[Any]:
        """Predict class probabilities of rows of several domains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row. None: the (first) target.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``.
        """
        check_is_fitted(self)
        columns = CommonColumns(self.classes_, "predict_proba")  # type: ignore[attr-defined]
        return self._by_domain(columns.answer, X, sample_domain)

    @available_if(_answers("predict_proba"))
    def predict_log_proba(self, X: Any, sample_domain: Any = None) -> NDArray[Any]:
        """Predict logarithms of class probabilities of rows of several domains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row. None: the (first) target.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Natural logarithms in the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X, sample_domain))

    @available_if(_answers("decision_function"))
    def decision_function(self, X: Any, sample_domain: Any = None) -> NDArray[Any]:
        """Compute decision values of rows of several domains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row. None: the (first) target.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values; the domains must have the same classes.
        """
        check_is_fitted(self)
        self._check_decisions(sample_domain)
        return self._by_domain(
            lambda model, rows: model.decision_function(rows), X, sample_domain
        )

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        sample_domain: Any = None,
        exposure: Any = None,
    ) -> float:
        """Score predictions of labeled rows of several domains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels; a marker of a missing label is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row. None: the (first) target.
        exposure : array-like of shape (n_samples,), default=None
            Exposures of counts ``y``: their rates are scored, weighted as in ``fit``.

        Returns
        -------
        score : float
            Accuracy for classifiers, R2 for regressors, over all rows together.
        """
        check_is_fitted(self)
        check_scorable(y, getattr(self, "classes_", None))
        y, sample_weight = to_score(y, sample_weight, exposure, self)
        y_pred = self.predict(X, sample_domain)
        return _metric(self)(y, y_pred, sample_weight=sample_weight)

    def _by_domain(
        self, function: Callable[..., Any], X: Any, sample_domain: Any
    ) -> NDArray[Any]:
        """Answer every sample by the model of its domain, in input order."""
        check_is_fitted(self)
        X = self._validate_X(X, get_tags(self), reset=False, skip_check=True)
        if sample_domain is None:
            return function(self.estimator_, X)
        ids = check_sample_domain(sample_domain, _num_samples(X))
        self._check_known(ids)
        order, parts = [], []
        for domain in np.unique(ids):
            rows = np.flatnonzero(ids == domain)
            part = take_rows(X, rows)
            order.append(rows)
            parts.append(function(self._model_of(int(domain), part), part))
        return np.concatenate(parts)[np.argsort(np.concatenate(order))]

    def _check_known(self, ids: NDArray[Any]) -> None:
        """Refuse ids that ``fit`` has not seen, unless the tags declare them."""
        known = self._known_domains()
        unknown = np.setdiff1d(ids, known)
        if len(unknown) and not get_transfer_tags(self).unseen_domain:
            raise DomainError(
                f"sample_domain names the domains {unknown.tolist()}, which fit did "
                f"not see; it saw {known.tolist()}."
            )


class MultiTargetMetaEstimator(ByDomainMixin, TransferMetaEstimator):
    """Template of wrappers with one model per domain, every domain being a task.

    The hook ``_fit_tasks(data, tasks, fit_params)`` returns a fitted model for each
    domain id in ``tasks``. Samples that are to be predicted name their task in
    ``sample_domain``; without it they belong to the first target.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor; each task gets a model of its kind.
    """

    def _fit_tasks(self, data: DomainData, tasks: Any, fit_params: Any) -> Any:
        """Return a list of fitted models, one for each domain id in ``tasks``."""
        raise missing_hook(self, "_fit_tasks(data, tasks, fit_params)")

    def _fit_estimator(self, data: DomainData, fit_params: dict[str, Any]) -> Any:
        self.task_ids_ = tasks_of(data, type(self).__name__)
        self.estimators_ = self._fit_tasks(data, self.task_ids_, fit_params)
        return self.estimators_[0]

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes of all tasks, shape (n_classes,)."""
        if not is_classifier(self.estimator):
            raise AttributeError("A regressor has no classes_.")
        return all_classes(self.estimators_)

    def _known_domains(self) -> NDArray[Any]:
        return self.task_ids_

    def _model_of(self, domain: int, X: Any) -> Any:
        place = np.flatnonzero(self.task_ids_ == domain)
        return self.estimators_[place[0]] if len(place) else self._unseen_model()

    def _unseen_model(self) -> Any:
        """Return a model for a domain that ``fit`` has not seen (a hook)."""
        raise missing_hook(self, "_unseen_model()")

    def _check_decisions(self, sample_domain: Any) -> None:
        if any(len(m.classes_) != len(self.classes_) for m in self.estimators_):
            raise ValueError(
                "The tasks have different classes, so their decision values have "
                "different columns; use predict_proba."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.multi_target = True
        return tags


def tasks_of(data: DomainData, owner: Any) -> Any:
    """Return the ids of the tasks, the targets -1, -2, ... first; all have labels."""
    tasks = np.concatenate([data.targets, data.sources])
    for task in tasks:
        if not data.labeled[data.rows_of(task)].any():
            raise UnlabeledTargetError(
                f"No row of domain {task} is labeled in y, but every domain is a "
                f"task of {owner}: label some of its rows or leave it out."
            )
    return tasks


def _times(values: Any, exposure: Any) -> Any:
    """Multiply predictions by exposures, row by row."""
    return values * exposure.reshape(-1, *[1] * (np.ndim(values) - 1))


def _metric(wrapper: Any) -> Callable[..., Any]:
    """Return the metric that scikit-learn scores an estimator of this type by."""
    return accuracy_score if is_classifier(wrapper) else r2_score


def as_rows(X: Any) -> NDArray[Any]:
    """Make rows indexable; arrays of any shape, frames and lists stay what they are."""
    if sparse.issparse(X):
        return X.tocsr()
    return X if hasattr(X, "shape") or isinstance(X, list | tuple) else np.asarray(X)


def _refuse_dates(X: Any) -> None:
    """Refuse dates, of which NumPy would make a number of nanoseconds."""
    dtypes, names = [getattr(X, "dtype", None)], ["X"]
    if hasattr(X, "columns"):
        dtypes, names = list(X.dtypes), [f"column {name!r}" for name in X.columns]
    for name, dtype in zip(names, dtypes, strict=True):
        temporal = getattr(dtype, "is_temporal", None)  # of polars
        if (
            temporal()
            if temporal is not None
            else getattr(dtype, "kind", "") in tuple("mM")
        ):
            raise TypeError(f"{name} holds dates or times (dtype {dtype}, datetime).")


@contextmanager
def naming_the_step(name: str) -> Iterator[Any]:
    """Add to an error about the values of X the step that makes them numbers."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message = str(error)
        for sign, step in _STEPS.items():
            if sign in message:
                first, *rest = message.splitlines()
                advice = (
                    f"{first} {name} does arithmetic on the samples: put a step in "
                    "front of it that makes them finite numbers, e.g. "
                    f"make_pipeline({step}, {name}(...))."
                )
                raise type(error)("\n".join([advice, *rest])) from error
        raise


#: what scikit-learn says of samples that are no numbers -> a step that helps
_STEPS = {
    "contains NaN": "SimpleImputer()",
    "could not convert string": "OneHotEncoder(handle_unknown='ignore')",
    "arrays of bytes/strings": "OneHotEncoder(handle_unknown='ignore')",
    "1D array instead": "a vectorizer such as TfidfVectorizer()",
    "with dim 3": "FunctionTransformer(flatten)",
    "with dim 4": "FunctionTransformer(flatten)",
    "DateTime64DType": "TableEncoder()",
    "datetime": "TableEncoder()",
    "Timestamp": "TableEncoder()",
}


def slice_params(params: dict[Any, Any], rows: NDArray[np.bool_]) -> dict[Any, Any]:
    """Slice metadata, one entry per row, to ``rows`` (a mask); scalars stay."""
    return {
        name: take_rows(value, rows)
        if hasattr(value, "__len__") and _num_samples(value) == len(rows)
        else value
        for name, value in params.items()
    }
