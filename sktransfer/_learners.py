"""The one way to call a learner: weights, classes, predictions and its own methods.

A *learner* is a plain estimator without `sample_domain`: of scikit-learn, of a gradient
boosting library, or of the user. All wrappers fit it with :func:`fit_learner` and
predict with :func:`predict_learner`, so that what one of them takes all of them take.
"""

from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from numbers import Number
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeCV,
    TweedieRegressor,
)
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import (
    MetadataRequest,
    MetadataRouter,
    get_routing_for_object,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sktransfer._compat import HasMethods

# composites that hand fit parameters on without scikit-learn's routing
_VOTERS = (VotingClassifier, VotingRegressor, StackingClassifier, StackingRegressor)
_STACKS = (StackingClassifier, StackingRegressor)
#: what learners say of text and dates among the features
_SIGNS_OF_TEXT = (
    "could not convert string",
    "arrays of bytes/strings",
    "Timestamp",
    "datetime64",
    "DType",
    "pandas dtypes must be",
    "DataFrame.dtypes for data must be",
    "Bad value for num_feature",
)
_WRAPPERS = (GridSearchCV, RandomizedSearchCV, RFE)
#: where a wrapper of this library has its learner
_INNER = ("estimator", "target_estimator", "learner", "source_estimator")


def fit_learner(
    learner: Any,
    X: Any,
    y: Any,
    *,
    method_weight: Any = None,
    sample_weight: Any = None,
    routing: bool | None = None,
    samples: str | Callable[[], str] = "the samples that it is fitted on",
    **params: Any,
) -> Any:
    """Fit a clone of a learner.

    Everything whose ``fit(X, y, sample_weight=w)`` works in scikit-learn works here.
    A classifier that needs the classes 0, ..., K-1 gets them coded and answers with
    the original ones; all other learners come back plain. Counts that are all 0 give
    the constant 0, which a log link has only as a limit.

    Parameters
    ----------
    learner : estimator
        Unfitted learner; it is not changed.
    X : array-like
        Samples, handed on untouched.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels.
    method_weight : ndarray of shape (n_samples,), default=None
        Weights that the method sets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the user. The learner gets the product of both.
    routing : bool, default=None
        Whether scikit-learn's metadata routing is on in ``fit``. None: where the
        learner requests what it gets.
    samples : str or callable, default="the samples that it is fitted on"
        What the message calls the samples where they hold one class only, or a
        function that returns it.
    **params : dict
        Further metadata, one entry per sample.

    Returns
    -------
    model : estimator
        The fitted clone.

    Raises
    ------
    TypeError
        If there are weights and the learner cannot take them.
    ValueError
        If the samples hold one class and the learner needs more.
    """
    weight = multiply_weights(method_weight, sample_weight)
    if has_no_event(learner, y):
        return _constant_zero(X, y)
    if weight is not None:
        argument, routed, params = _weight_route(learner, params)
        params = {**params, str(argument): weight}
        routing = routed if routing is None else routing
    elif routing is None:
        # without metadata nothing is to be routed, and some learners support no routing
        routing = bool(params)

    def fit(model: Any, labels: NDArray[Any]) -> Any:
        with config_context(enable_metadata_routing=routing):
            return model.fit(X, labels, **params)

    try:
        return fit(clone(learner), y)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        if _may_need_codes(learner, y):
            classes, codes = np.unique(y, return_inverse=True)
            try:
                model = fit(clone(learner), codes)
            except Exception as second:
                _check_several_classes(learner, y, samples, error)
                for each in (error, second):
                    _advise_on_text(learner, each)
                raise error from None
            return CodedClassifier(learner)._keep(model, classes)
        if weight is not None and "sample_weight" in str(error):
            raise TypeError(f"{_no_weights(learner)} It says: {error}") from error
        _check_several_classes(learner, y, samples, error)
        _advise_on_text(learner, error)
        raise
    except Exception as error:  # those of CatBoost derive from nothing else
        _advise_on_text(learner, error)
        raise


def has_no_event(learner: Any, y: Any) -> bool:
    """Tell whether a learner with a log link is to learn from counts that are all 0."""
    if np.asarray(y).dtype.kind in "biuf" and np.any(y):
        return False
    if not is_regressor(learner) or not len(y) or np.any(y):
        return False
    power = deviance_power(learner)
    return power is not None and 1 <= power < 2


def _constant_zero(X: Any, y: Any) -> Any:
    constant = np.zeros(np.shape(y)[1:])
    return DummyRegressor(strategy="constant", constant=constant).fit(X, y)


def _advise_on_text(learner: Any, error: Any) -> None:
    """Say what makes numbers of a table, if that is why a learner failed."""
    message = str(error)
    if not any(sign in message for sign in _SIGNS_OF_TEXT):
        return
    kind = TypeError if isinstance(error, TypeError) else ValueError
    raise kind(
        f"{message.rstrip('.')}. The learner takes numbers alone, but X holds text or "
        "dates: put an encoder before it, make_pipeline(TableEncoder(), "
        f"{type(learner).__name__}(...)) of sktransfer.preprocessing, or let "
        "sktransfer.safe.make_transfer_pipeline do so."
    ) from error


def _check_several_classes(learner: Any, y: Any, samples: Any, error: Any) -> None:
    """Say which samples hold one class, if that is why a learner failed."""
    if not is_classifier(learner) or np.ndim(y) != 1 or len(np.unique(y)) != 1:
        return
    named = samples() if callable(samples) else samples
    raise ValueError(
        f"estimator={learner!r} cannot be fitted: {named} hold one class, "
        f"{np.unique(y).tolist()[0]!r}. Label samples of another class, or use a "
        f"learner that takes one class. It says: {error}"
    ) from error


def name_samples(data: Any, rows: Any) -> str:
    """Name the domains of some rows for a message.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    rows : ndarray of bool of shape (n_samples,)
        Some of them.

    Returns
    -------
    name : str
        "the samples of source 2", "the labeled target samples", or both.
    """
    sources = np.unique(data.sample_domain[rows & data.is_source]).tolist()
    parts = []
    if sources:
        several = "sources" if len(sources) > 1 else "source"
        shown = ", ".join(map(str, sources[:5])) + ", ..." * (len(sources) > 5)
        parts.append(f"the samples of {several} {shown}")
    if (rows & data.is_target).any():
        parts.append("the labeled target samples")
    return " and ".join(parts)


def fit_or_constant(learner: Any, X: Any, y: Any, **params: Any) -> Any:
    """Fit a clone of a learner; a classifier on one class gives a constant model."""
    if is_classifier(learner) and np.ndim(y) == 1 and len(np.unique(y)) == 1:
        return DummyClassifier(strategy="most_frequent").fit(X, y)
    return fit_learner(learner, X, y, **params)


class FewRowsRidgeCV(RidgeCV):
    """RidgeCV that also takes a single row, on which nothing can be left out."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        if X.shape[0] > 1:
            return super().fit(X, y, sample_weight=sample_weight)
        model = Ridge(alpha=float(np.max(self.alphas))).fit(X, y)
        self.alpha_ = model.alpha
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.n_features_in_ = model.n_features_in_
        return self


def predict_learner(model: Any, X: Any, **params: Any) -> NDArray[Any]:
    """Predict with a fitted learner: shape (n_samples,) unless there are two outputs.

    Parameters
    ----------
    model : estimator
        Fitted learner.
    X : array-like
        Samples.
    **params : dict
        Arguments of its ``predict``, such as ``return_std``.

    Returns
    -------
    y_pred : ndarray of shape (n_samples,) or (n_samples, n_outputs), or tuple
        The prediction; a tuple where the learner gives more than that.
    """
    return flatten_column(model.predict(X, **params))


def flatten_column(predicted: NDArray[Any]) -> NDArray[Any]:
    """Turn predictions of shape (n_samples, 1) into (n_samples,)."""
    if isinstance(predicted, tuple):
        return (flatten_column(predicted[0]), *predicted[1:])
    if np.ndim(predicted) == 2 and np.shape(predicted)[1] == 1:
        return np.asarray(predicted).ravel()
    return predicted


def multiply_weights(
    method_weight: NDArray[Any] | None, sample_weight: Any
) -> NDArray[Any] | None:
    """Return the product of the method's and the user's weights, or None."""
    if sample_weight is None:
        return method_weight
    sample_weight = np.asarray(sample_weight)
    return sample_weight if method_weight is None else method_weight * sample_weight


def check_weights(sample_weight: Any, n_samples: int) -> NDArray[Any]:
    """Return the user's weights as floats of shape (n_samples,).

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or float
        Weights, finite and not negative.
    n_samples : int
        Number of samples.

    Returns
    -------
    sample_weight : ndarray of shape (n_samples,)
        Checked weights.

    Raises
    ------
    ValueError
        If the shape is another one, or a weight is negative or not finite.
    """
    try:
        weights = np.asarray(sample_weight)
        weights = weights.astype(weights.dtype if weights.dtype.kind == "f" else float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight must hold numbers: {error}") from error
    if isinstance(sample_weight, Number) or weights.ndim == 0:
        weights = np.full(n_samples, weights)
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights.ravel()
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, but X has {n_samples} rows: "
            f"give one weight per row, shape ({n_samples},)."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(
            "sample_weight must hold finite numbers of 0 or more; 0 leaves a row out."
        )
    return weights


def takes_sample_weight(learner: Any) -> bool:
    """Tell whether ``fit`` of a learner can take weights, as far as one can see."""
    return _requests_weight(learner) or _weight_argument(learner) is not None


def check_takes_sample_weight(learner: Any) -> None:
    """Raise a TypeError unless ``fit`` of a learner takes ``sample_weight``."""
    if not takes_sample_weight(learner):
        raise TypeError(_no_weights(learner))


def check_weights_arrive(estimator: Any, error: Any) -> None:
    """Say which learner takes no weights, if that is why they were routed to none.

    Parameters
    ----------
    estimator : estimator
        A learner, or wrappers around one.
    error : TypeError
        What scikit-learn's routing says.
    """
    inner = estimator
    while hasattr(_last_step(inner), "fit") and _last_step(inner) is not inner:
        inner = _last_step(inner)
    if "sample_weight" in str(error) and not takes_sample_weight(inner):
        raise TypeError(_no_weights(inner)) from error


def routing_of(learner: Any) -> Any:
    """Return the metadata requests of a learner; one without routing has none."""
    with config_context(enable_metadata_routing=True):
        try:
            return get_routing_for_object(learner)
        except NotImplementedError:  # AdaBoost and its kin support no routing
            return MetadataRequest(owner=learner)


def knows_requests(learner: Any) -> bool:
    """Tell whether a learner can request its metadata."""
    if not hasattr(learner, "get_metadata_routing"):
        return False
    with config_context(enable_metadata_routing=True):
        try:
            learner.get_metadata_routing()
        except NotImplementedError:
            return False
    return True


def check_method(learner: Any, method: str) -> bool:
    """Raise the learner's own AttributeError unless it has, or will have, a method."""
    if isinstance(learner, Pipeline):
        last = learner.steps[-1][1]
        if isinstance(last, _STACKS):
            check_method(last, method)
            return True
    if isinstance(learner, _STACKS) and learner.final_estimator is None:
        # a stack has the methods of its final learner, of which it shows none before
        # fit where that is the default
        default = LogisticRegression if is_classifier(learner) else RidgeCV
        fitted = getattr(learner, "final_estimator_", None)
        learner = default() if fitted is None else fitted
    getattr(learner, method)
    return True


def has_method(learner: Any, method: str) -> bool:
    """Tell whether a learner has, or will have, a method."""
    try:
        return check_method(learner, method)
    except AttributeError:
        return False


class HasLearnerMethods(HasMethods):
    """Constraint of a parameter: a learner that has methods, or will have them."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether ``val`` is such a learner."""
        return not isinstance(val, type) and all(
            has_method(val, method) for method in self.methods
        )


def _weight_route(learner: Any, params: Any) -> tuple[str | None, bool, dict[str, Any]]:
    """Return the name of the weights in ``fit``, if routing is on, and the metadata."""
    check_takes_sample_weight(learner)
    if _requests_weight(learner):
        return "sample_weight", True, params
    name = _weight_argument(learner)
    if not params:
        return name, False, params
    if name == "sample_weight":
        return name, True, params
    if knows_requests(_last_step(learner)):
        raise TypeError(_no_weights(learner))
    return name, False, _by_steps(learner, params)


def _by_steps(pipeline: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Name metadata by the steps that request them, as without routing.

    A last step without metadata requests, such as CatBoost, gets its weights no other
    way.
    """
    named = {}
    for step, part in pipeline.steps:
        for name, value in params.items():
            if hasattr(part, "fit") and routing_of(part).consumes("fit", [name]):
                named[f"{step}__{name}"] = value
    return named


def _requests_weight(learner: Any) -> bool:
    """Tell whether a part of a composite learner asks for weights by a request."""
    routing = routing_of(learner)
    if not isinstance(routing, MetadataRouter):
        return False
    with config_context(enable_metadata_routing=True):
        if has_fit_parameter(learner, "sample_weight") and hasattr(
            learner, "set_fit_request"
        ):
            # what counts are its parts: the learner itself takes weights anyway
            parts = clone(learner).set_fit_request(sample_weight=None)
            routing = get_routing_for_object(parts)
        return bool(routing.consumes("fit", ["sample_weight"]))


def _weight_argument(learner: Any) -> str | None:
    """Return the name of the weights in a ``fit`` without routing, or None."""
    if isinstance(learner, Pipeline):
        name, last = learner.steps[-1]
        inner = _weight_argument(last) if hasattr(last, "fit") else None
        return f"{name}__{inner}" if inner else None
    if has_fit_parameter(learner, "sample_weight"):
        return "sample_weight"
    kinds = {p.kind for p in signature(learner.fit).parameters.values()}
    if Parameter.VAR_KEYWORD not in kinds:
        return None
    if isinstance(learner, _VOTERS):
        names = {
            _weight_argument(part) for _, part in learner.estimators if part != "drop"
        }
        return "sample_weight" if names == {"sample_weight"} else None
    if isinstance(learner, TransformedTargetRegressor):
        inner = learner.regressor
        return _weight_argument(LinearRegression() if inner is None else inner)
    if isinstance(learner, _WRAPPERS):
        return _weight_argument(learner.estimator)
    # a fit(X, y, **kwargs) of someone else may take them: fit_learner tries
    return None if _is_scikit_learn(learner) else "sample_weight"


def _no_weights(learner: Any) -> str:
    """Return the reason why a learner gets no weights, as a sentence."""
    name = type(learner).__name__
    if not isinstance(routing_of(learner), MetadataRouter):
        return (
            f"estimator={name}(...) takes no sample_weight in fit, so the weights of "
            "the samples would be lost. Use a learner that does, or let it learn from "
            f"a weighted resample: Resampled({name}(...)) of sktransfer.instance."
        )
    inner = _last_step(learner)
    last = type(inner).__name__
    if not takes_sample_weight(inner):
        return (
            f"estimator={name}(...) hands sample_weight to none of its steps: the last "
            f"one, {last}(...), takes none in fit. Use a learner that does, or let it "
            f"learn from a weighted resample: Resampled({last}(...)) of "
            "sktransfer.instance."
        )
    return (
        f"estimator={name}(...) hands sample_weight to none of its steps. After "
        "sklearn.set_config(enable_metadata_routing=True) write "
        f"{last}(...).set_fit_request(sample_weight=True), and "
        "set_fit_request(sample_weight=False) for other steps that could take it."
    )


def deviance_power(estimator: Any) -> Any:
    """Return the power of the deviance that a learner with a log link fits, or None.

    Parameters
    ----------
    estimator : estimator or None
        A regressor, a pipeline that ends in one, or a wrapper around one.

    Returns
    -------
    power : float or None
        1 for Poisson, 2 for gamma; None: no log link, or none that is known.
    """
    if estimator is None or not is_regressor(estimator):
        return None
    last = last_step(estimator)
    if isinstance(last, PoissonRegressor):
        return 1.0
    if isinstance(last, GammaRegressor):
        return 2.0
    if isinstance(last, TweedieRegressor):
        log = last.link == "log" or (last.link == "auto" and last.power > 0)
        return float(last.power) if log else None
    if isinstance(last, HistGradientBoostingRegressor):
        return {"poisson": 1.0, "gamma": 2.0}.get(last.loss)
    package = package_of(last)
    if package is not None:
        return _boosting_power(last, package)
    for name in _INNER:
        inner = getattr(last, name, None)
        if hasattr(inner, "fit") and not isinstance(inner, type):
            return deviance_power(inner)
    members = getattr(last, "members", None)
    if isinstance(members, list | tuple):
        powers = {deviance_power(model) for _, model in members}
        return powers.pop() if len(powers) == 1 else None
    return None


def objective(learner: Any, package: str) -> tuple[str, float]:
    """Return name and Tweedie power of the objective of a boosting regressor."""
    params = learner.get_params()
    if package == "catboost":
        name = str(params.get("loss_function") or "RMSE").lower()
        power = name.partition("variance_power=")[2]
        return name.partition(":")[0], float(power) if power else 1.5
    name = str(params.get("objective") or "regression").lower()
    power = params.get("tweedie_variance_power")
    return name, 1.5 if power is None else float(power)


def _boosting_power(learner: Any, package: str) -> float | None:
    name, power = objective(learner, package)
    known = {"poisson": 1.0, "gamma": 2.0, "tweedie": power}
    return next((p for part, p in known.items() if part in name), None)


def last_step(learner: Any) -> Any:
    """Return the last step of a pipeline, else the learner."""
    return last_step(learner.steps[-1][1]) if isinstance(learner, Pipeline) else learner


def package_of(learner: Any) -> str | None:
    """Return the boosting package that a learner or a base class of it is from."""
    for kind in type(learner).__mro__:
        package = kind.__module__.split(".")[0]
        if package in ("lightgbm", "xgboost", "catboost"):
            return package
    return None


def _last_step(learner: Any) -> Any:
    if isinstance(learner, Pipeline):
        return _last_step(learner.steps[-1][1])
    return getattr(learner, "estimator", learner)


def _is_scikit_learn(part: Any) -> bool:
    return type(part).__module__.partition(".")[0] == "sklearn"


def _may_need_codes(learner: Any, y: Any) -> bool:
    """Tell whether classes other than 0, ..., K-1 may be why a fit failed."""
    if not is_classifier(learner) or np.ndim(y) != 1:
        return False
    classes = np.unique(y)
    if classes.dtype.kind in "iu" and np.array_equal(classes, np.arange(len(classes))):
        return False
    parts = (
        learner.get_params(deep=True).values() if hasattr(learner, "get_params") else []
    )
    return any(
        not _is_scikit_learn(part) for part in [learner, *parts] if hasattr(part, "fit")
    )


class CodedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A classifier that was fitted to the codes 0, ..., K-1 of its classes.

    Parameters
    ----------
    estimator : estimator
        The learner.

    Attributes
    ----------
    estimator_ : estimator
        Its fit to the codes; what is not found here is asked of it.
    classes_ : ndarray of shape (n_classes,)
        The original classes.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def _keep(self, model: Any, classes: NDArray[Any]) -> Self:
        self.estimator_, self.classes_ = model, classes
        return self

    def fit(self, X: Any, y: Any, **params: Any) -> Any:
        """Fit the learner to codes of the classes."""
        classes, codes = np.unique(y, return_inverse=True)
        return self._keep(clone(self.estimator).fit(X, codes, **params), classes)

    def predict(self, X: Any, **params: Any) -> NDArray[Any]:
        """Predict classes; other answers that ``params`` ask for are handed on."""
        return self._decode(predict_learner(self.estimator_, X, **params), params)

    @available_if(lambda self: hasattr(self.estimator_, "staged_predict"))
    def staged_predict(self, X: Any, **params: Any) -> Iterator[Any]:
        """Predict classes after every stage."""
        for predicted in self.estimator_.staged_predict(X, **params):
            yield self._decode(flatten_column(predicted), params)

    def _decode(self, codes: Any, params: Any) -> Any:
        codes = np.asarray(codes)
        if params and (codes.ndim != 1 or codes.dtype.kind not in "iu"):
            return codes
        return self.classes_[codes.astype(np.intp)]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"estimator", "estimator_", "classes_"}:
            raise AttributeError(name)
        return getattr(self.estimator_, name)

    def __sklearn_is_fitted__(self) -> bool:
        return "estimator_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _learner_has(method: str) -> Callable[..., Any]:
    def check(self: Any) -> Any:
        inner = self.estimator_ if hasattr(self, "estimator_") else self.estimator
        return check_method(inner, method)

    return check


class LearnerMethodsMixin:
    """Hand on what the learner in ``estimator_`` does beside predicting.

    It is for wrappers whose predictions are those of one fitted learner.
    """

    estimator_: Any
    _for_estimator: Callable[[Any], Any]

    def _ask_learner(self, method: Any, X: Any, **params: Any) -> Any:
        check_is_fitted(self)
        return getattr(self.estimator_, method)(self._for_estimator(X), **params)

    @available_if(_learner_has("staged_predict"))
    def staged_predict(self, X: Any, **params: Any) -> Iterator[Any]:
        """Predict target samples after every stage of the learner.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Arguments of the learner's method.

        Yields
        ------
        y_pred : ndarray of shape (n_samples,)
            Predictions of the stages.
        """
        for predicted in self._ask_learner("staged_predict", X, **params):
            yield flatten_column(predicted)

    @available_if(_learner_has("staged_predict_proba"))
    def staged_predict_proba(self, X: Any, **params: Any) -> Iterator[Any]:
        """Predict class probabilities after every stage of the learner.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Arguments of the learner's method.

        Yields
        ------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in [0, 1], in the order of ``classes_``.
        """
        yield from self._ask_learner("staged_predict_proba", X, **params)

    @available_if(_learner_has("staged_decision_function"))
    def staged_decision_function(self, X: Any, **params: Any) -> Iterator[Any]:
        """Compute decision values after every stage of the learner.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Arguments of the learner's method.

        Yields
        ------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values of the stages.
        """
        yield from self._ask_learner("staged_decision_function", X, **params)

    @available_if(_learner_has("apply"))
    def apply(self, X: Any, **params: Any) -> Any:
        """Return the leaves of the learner's trees that samples end up in.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Arguments of the learner's method.

        Returns
        -------
        leaves : ndarray of shape (n_samples, ...)
            What the learner's ``apply`` gives.
        """
        return self._ask_learner("apply", X, **params)

    @available_if(_learner_has("decision_path"))
    def decision_path(self, X: Any, **params: Any) -> Any:
        """Return the paths of samples through the learner's trees.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Arguments of the learner's method.

        Returns
        -------
        path : sparse matrix or tuple
            What the learner's ``decision_path`` gives.
        """
        return self._ask_learner("decision_path", X, **params)

    @available_if(_learner_has("sample_y"))
    def sample_y(self, X: Any, **params: Any) -> Any:
        """Draw labels of target samples from the learner.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Arguments of the learner's method, such as ``n_samples``.

        Returns
        -------
        y_samples : ndarray of shape (n_samples, ...)
            What the learner's ``sample_y`` gives.
        """
        return self._ask_learner("sample_y", X, **params)
