"""How a learner takes an offset: a known part of its prediction on the link scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    LogisticRegression,
    TweedieRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_sample_weight

from sktransfer._deviance import deviance_power, objective
from sktransfer._learners import fit_learner, last_step, package_of
from sktransfer._solvers.offset_logistic import solve_offset_logistic
from sktransfer.exceptions import warn

# the offset of a class with this probability or less does not fall any further
LEAST_PROBABILITY = 1e-3
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Link:
    """Scale on which the offset is added.

    Attributes
    ----------
    name : {"identity", "log", "logit"}
        Prediction itself, its logarithm, or log-odds of classes.
    power : float
        Power of the Tweedie deviance that goes with "log": 1 Poisson, 2 gamma.
    """

    name: str
    power: float = 0.0


def link_of(learner):
    """Return the link of a learner, or raise an error if it takes no offset.

    Parameters
    ----------
    learner : estimator
        Classifier or regressor, or a pipeline that ends in one.

    Returns
    -------
    link : Link
        Scale of its offset.

    Raises
    ------
    TypeError
        If there is no way to give the learner an offset.
    """
    last = last_step(learner)
    if is_classifier(last):
        _check_classifier(last)
        return Link("logit")
    power = deviance_power(last)
    if power is not None:
        return Link("log", power)
    if isinstance(last, TweedieRegressor) and last.power != 0:
        raise TypeError(
            f"target_estimator={last!r} takes no offset: with power != 0 use "
            "link='log'."
        )
    package = package_of(last)
    if package is not None:
        _check_objective(last, package)
    return Link("identity")


def _check_objective(learner, package):
    name, _ = objective(learner, package)
    # a shift of y by the offset shifts the loss of others, and of none of these
    if any(part in name for part in ("mape", "log", "binary", "entropy")):
        raise TypeError(
            f"target_estimator={learner!r} takes no offset with the objective "
            f"{name!r}: use a squared, absolute, Huber, quantile, Poisson, gamma or "
            "Tweedie loss."
        )


def _check_classifier(learner):
    if package_of(learner):
        return
    if isinstance(learner, HistGradientBoostingClassifier):
        if learner.early_stopping is True:
            raise TypeError(
                f"target_estimator={learner!r} takes no offset with early stopping: "
                "set early_stopping=False."
            )
        return
    if isinstance(learner, LogisticRegression):
        ridge = learner.penalty in ("deprecated", "l2", None) and not learner.l1_ratio
        if ridge and learner.solver != "liblinear":
            return
        raise TypeError(
            f"target_estimator={learner!r} takes no offset: use the ridge penalty "
            "(l1_ratio=0) and solver='lbfgs'."
        )
    raise TypeError(
        f"target_estimator={type(learner).__name__}(...) takes no offset. Classifiers "
        "that do are LogisticRegression, HistGradientBoostingClassifier, and those of "
        "LightGBM, XGBoost and CatBoost; a pipeline may end in one."
    )


@dataclass
class Correction:
    """A learner fitted beside an offset.

    Attributes
    ----------
    model : estimator
        The fitted learner.
    link : Link
        Scale of the correction.
    constant : float or ndarray of shape (n_classes,)
        Starting value of a boosted learner.
    raw : bool
        Whether the model was given the offset as a starting value of its own kind.
    """

    model: Any
    link: Link
    constant: Any = 0.0
    raw: bool = False

    def __call__(self, X):
        """Return what the learner adds to the offset, one row per row of X.

        One column is the log-odds of the second of two classes.
        """
        if self.raw:
            head, last = _split(self.model)
            X = X if head is None else head.transform(X)
            return _raw_prediction(last, X) + self.constant
        if self.link.name == "identity":
            return np.asarray(self.model.predict(X), dtype=np.float64)
        if self.link.name == "log":
            return np.log(np.maximum(self.model.predict(X), _TINY))
        return log_odds(np.asarray(self.model.predict_proba(X)), least=1e-15)


def log_odds(proba, least=LEAST_PROBABILITY):
    """Return the log-odds of the second of two classes, else centered logarithms.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    least : float, default=0.001
        Lower limit of the probabilities.

    Returns
    -------
    scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Log-odds for two classes, else logarithms with mean 0 in each row.
    """
    logs = np.log(np.maximum(np.asarray(proba, dtype=np.float64), least))
    if logs.shape[1] == 2:
        return logs[:, 1] - logs[:, 0]
    return logs - logs.mean(axis=1, keepdims=True)


def fit_plain(learner, link, X, y, sample_weight=None):
    """Fit a clone of a learner without an offset."""
    return Correction(fit_learner(learner, X, y, sample_weight=sample_weight), link)


def fit_with_offset(learner, link, X, y, offset, sample_weight=None):
    """Fit a clone of a learner beside an offset.

    Parameters
    ----------
    learner : estimator
        Learner that :func:`link_of` accepts.
    link : Link
        Its link.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels.
    offset : ndarray
        On the link scale, shaped like y; for more than two classes of shape
        (n_samples, n_classes), in their sorted order.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.

    Returns
    -------
    correction : Correction
        The fitted learner. With an offset of zeros it is the plain fit.
    """
    if not np.any(offset) or (link.name == "log" and not np.any(y)):
        return fit_plain(learner, link, X, y, sample_weight)
    if link.name == "identity":
        return fit_plain(learner, link, X, y - offset, sample_weight)
    head, last = _split(clone(learner))
    if head is not None:
        X = head.fit_transform(X, y)
    if link.name == "logit":
        fitted = _fit_classifier(last, X, y, offset, sample_weight)
    else:
        fitted = _fit_log_link(last, link, X, y, offset, sample_weight)
    if head is not None:
        fitted.model = _join(head, learner, fitted.model)
    return fitted


def _split(learner):
    """Return the steps before the last one (None: there are none) and the last."""
    if not isinstance(learner, Pipeline):
        return None, learner
    if len(learner.steps) == 1:
        return None, learner.steps[0][1]
    return learner[:-1], learner.steps[-1][1]


def _join(head, learner, last):
    """Return the fitted pipeline of the fitted steps."""
    return Pipeline([*head.steps, (learner.steps[-1][0], last)])


def _fit_log_link(last, link, X, y, offset, sample_weight):
    package = package_of(last)
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    if package is None:
        return _fit_exposure(last, link, X, y, np.exp(offset), weight)
    constant = 0.0
    if package != "catboost":  # which starts at 0 itself
        scale = np.exp(offset)
        mean = weight @ (y * scale ** (1 - link.power))
        constant = np.log(mean / (weight @ scale ** (2 - link.power)))
    _fit_booster(last, X, y, offset + constant, sample_weight)
    return Correction(last, link, constant, raw=True)


def _fit_exposure(last, link, X, y, exposure, weight):
    r"""Fit with exposures :math:`E`: the deviance :math:`d(y, E m)` is a weighted one.

    For a Tweedie deviance :math:`d_p(y, E m) = E^{2-p} d_p(y / E, m)`. Linear models
    of scikit-learn divide the deviance by the sum of the weights but not the penalty,
    which is undone here.
    """
    weights = weight * exposure ** (2 - link.power)
    if hasattr(last, "alpha"):
        last.set_params(alpha=last.alpha * weight.sum() / weights.sum())
    last.fit(X, y / exposure, sample_weight=weights)
    return Correction(last, link)


def _fit_classifier(last, X, y, offset, sample_weight):
    classes, codes = np.unique(y, return_inverse=True)
    if isinstance(last, LogisticRegression):
        return _fit_logistic(last, X, y, classes, codes, offset, sample_weight)
    package = package_of(last)
    constant = 0.0
    if package != "catboost":  # which starts at 0 itself
        weights = sample_weight
        if getattr(last, "class_weight", None) is not None:
            weights = compute_sample_weight(last.class_weight, y)
            weights = weights if sample_weight is None else weights * sample_weight
        constant = _best_constant(codes, offset, len(classes), weights)
    start = offset + constant
    if package is None:
        _fit_hist_boosting(last, X, y, codes, start, sample_weight)
    else:
        # XGBoost takes codes alone
        labels = codes if package == "xgboost" else y
        _fit_booster(last, X, labels, start, sample_weight)
    return Correction(last, Link("logit"), constant, raw=True)


def _best_constant(codes, offset, n_classes, sample_weight):
    """Return the intercepts of the model that has nothing else beside the offset."""
    nothing = np.empty((len(codes), 0))
    _, intercept, _ = solve_offset_logistic(
        nothing, codes, offset, n_classes=n_classes, sample_weight=sample_weight
    )
    return float(intercept[0]) if n_classes == 2 else intercept


def _fit_logistic(last, X, y, classes, codes, offset, sample_weight):
    rows = check_array(X, accept_sparse="csr", dtype=np.float64)
    weights = sample_weight
    if last.class_weight is not None:
        weights = compute_sample_weight(last.class_weight, y)
        weights = weights if sample_weight is None else weights * sample_weight
    unpenalized = last.penalty is None or np.isinf(last.C)
    coef, intercept, info = solve_offset_logistic(
        rows,
        codes,
        offset,
        n_classes=len(classes),
        alpha=0.0 if unpenalized else 1.0 / last.C,
        sample_weight=weights,
        fit_intercept=last.fit_intercept,
    )
    if not info.converged:
        warn(
            "The logistic regression beside the offset stopped with a gradient of "
            f"{info.gradient:.1e} after {info.n_iter} iterations; scale the features "
            "or lower C of target_estimator.",
            ConvergenceWarning,
        )
    last.classes_, last.coef_, last.intercept_ = classes, coef, intercept
    last.n_iter_ = np.array([info.n_iter])
    last.n_features_in_ = rows.shape[1]
    if hasattr(X, "columns"):
        last.feature_names_in_ = np.asarray(X.columns, dtype=object)
    return _LogisticCorrection(last, Link("logit"))


class _LogisticCorrection(Correction):
    """The decision values of a logistic regression."""

    def __call__(self, X):
        """Return the linear predictor."""
        return self.model.decision_function(X)


def _fit_booster(last, X, y, start, sample_weight):
    """Fit a learner of LightGBM, XGBoost or CatBoost from given starting values."""
    argument = {
        "lightgbm": "init_score",
        "xgboost": "base_margin",
        "catboost": "baseline",
    }[package_of(last)]
    last.fit(X, y, sample_weight=sample_weight, **{argument: start})


def _raw_prediction(last, X):
    """Return what the trees add to the starting values."""
    package = package_of(last)
    if package == "lightgbm":
        return np.asarray(last.predict(X, raw_score=True), dtype=np.float64)
    if package == "catboost":
        raw = last.predict(X, prediction_type="RawFormulaVal")
        return np.asarray(raw, dtype=np.float64)
    if package == "xgboost":
        # without a margin of its own the prediction would contain a guessed constant
        n_columns = getattr(last, "n_classes_", 1)
        shape = (X.shape[0], n_columns) if n_columns > 2 else X.shape[0]
        raw = last.predict(X, output_margin=True, base_margin=np.zeros(shape))
        return np.asarray(raw, dtype=np.float64)
    return last.decision_function(X)


def _fit_hist_boosting(last, X, y, codes, start, sample_weight):
    """Fit HistGradientBoostingClassifier to the gradients at shifted predictions."""
    from sktransfer._compat import HalfBinomialLoss, HalfMultinomialLoss

    if last.early_stopping == "auto" and len(codes) > 10_000:
        raise ValueError(
            "target_estimator=HistGradientBoostingClassifier(...) stops early with "
            "more than 10000 rows, which takes no offset: set early_stopping=False."
        )
    plain = HalfBinomialLoss if start.ndim == 1 else HalfMultinomialLoss

    class ShiftedLoss(plain):
        def fit_intercept_only(self, y_true, sample_weight=None):
            return 0.0 * super().fit_intercept_only(y_true, sample_weight)

        def gradient_hessian(self, y_true, raw_prediction, **options):
            shifted = raw_prediction + start.reshape(raw_prediction.shape)
            return super().gradient_hessian(y_true, shifted, **options)

        def __call__(self, y_true, raw_prediction, **options):
            shifted = raw_prediction + start.reshape(raw_prediction.shape)
            return super().__call__(y_true, shifted, **options)

    sizes = {} if start.ndim == 1 else {"n_classes": start.shape[1]}
    last.set_params(loss=ShiftedLoss(sample_weight=sample_weight, **sizes))
    last.fit(X, y, sample_weight=sample_weight)
    last.set_params(loss="log_loss")
    last._loss = plain(sample_weight=sample_weight, **sizes)
