"""A rich model of the sources, corrected by a simple learner on the target."""

from numbers import Real

import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import accuracy_score, d2_tweedie_score, r2_score
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    _num_samples,
)
from sktransfer._deviance import check_exposure, deviance_power, to_score
from sktransfer._domains import check_scorable, take_rows
from sktransfer._folds import target_folds
from sktransfer._learners import check_weights, fit_or_constant
from sktransfer._response import align_classes, log_odds, union_of_classes
from sktransfer._source_models import is_fitted
from sktransfer.base import TransferMixin
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.hypothesis._offset_learners import (
    LEAST_PROBABILITY,
    fit_with_offset,
    link_of,
)

__all__ = ["OffsetTransfer"]

_CANDIDATES = (0.0, 0.25, 0.5, 0.75, 1.0)
# predictions of the sources for a log link are at least this share of the mean label
_LEAST_SHARE = 1e-3


def _classifies(self):
    if not is_classifier(self):
        raise AttributeError("a regressor has no probabilities")
    return True


class OffsetTransfer(TransferMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Correct a model of the sources by a learner fitted on the target.

    The source learner is fitted on all source rows. Its prediction on the link scale,
    shrunk by a factor c, is the offset of the target learner: the part of the
    prediction that is known beforehand. The target learner only learns what is left.
    A rich source learner, such as boosted trees, and a simple target learner, the
    default, suit many source rows and few target labels.

    Parameters
    ----------
    source_estimator : estimator
        Classifier or regressor, fitted on the source rows of all sources together. A
        fitted model is taken as it is; the source rows are then not needed.
    target_estimator : estimator, default=None
        Learner of the correction, of the same type. None: ``LogisticRegression()`` or
        ``Ridge()``, and a generalized linear model of the same deviance where the
        source learner has a log link. Any regressor works; the classifiers are
        ``LogisticRegression`` with a ridge penalty, ``HistGradientBoostingClassifier``
        and those of LightGBM, XGBoost and CatBoost. A pipeline may end in one.
    shrinkage : float in [0, 1], array-like of floats or "auto", default="auto"
        Factor c of the offset. 0: the target learner alone; 1: the full offset. Of
        several values the one with the least out-of-fold loss on the labeled target
        rows is taken, the smaller of two equal ones. "auto": 0, 0.25, 0.5, 0.75, 1.
    cv : int, splitter or iterable, default=5
        How the labeled target rows are held out to choose c; as in
        :func:`~sktransfer.metrics.cross_val_ntg`.
    random_state : int, RandomState instance or None, default=0
        Deals the labeled target rows to the folds when ``cv`` is an int. The order of
        the rows does not matter.

    Attributes
    ----------
    source_model_ : estimator or None
        The fitted model of the sources; None if there is nothing to transfer from.
    target_model_ : estimator or None
        The fitted learner of the correction; None without labeled target rows.
    shrinkage_ : float
        The factor c that is used.
    shrinkage_candidates_ : ndarray of shape (n_candidates,)
        The values of c that were compared, ascending.
    shrinkage_losses_ : ndarray of shape (n_candidates,)
        Their out-of-fold losses: squared error, Tweedie deviance or log loss; NaN
        where no comparison was needed or possible.
    classes_ : ndarray of shape (n_classes,)
        Classes of source and target; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourcePredictions : The predictions of source models as further columns.
    SecureRLS : Ridge regression on the residuals of several source hypotheses.

    Notes
    -----
    With the source model s on the link scale and the target learner r,

    .. math:: g(\mathrm{E}\, y) = c \, s(x) + r(x),

    where r is fitted with the offset :math:`c\,s(x)`:

    - *Identity link*, every regressor that is not named below: r is fitted on the
      residuals :math:`y - c\,s(x)`.
    - *Log link*, ``PoissonRegressor``, ``GammaRegressor``, ``TweedieRegressor``, and
      boosting with such a loss: the offset is :math:`c \log s(x)`. Learners of
      scikit-learn get it as an exposure E, which turns the deviance of power p into a
      weighted one, :math:`d_p(y, E m) = E^{2-p} d_p(y/E, m)`. Predictions of the
      sources below a thousandth of the mean label are raised to it.
    - *Logit link*, classifiers: :math:`s(x)` are log-odds of the source's
      probabilities, which are raised to 0.001 before; for more than two classes
      logarithms with mean 0. A class that the sources lack has the offset 0, their
      mean. A class without labeled target rows has the correction 0, the mean of
      the others', unless c is 0.
    - *Boosting* gets the offset as ``init_score`` (LightGBM), ``base_margin``
      (XGBoost) or ``baseline`` (CatBoost); ``HistGradientBoostingClassifier`` is
      fitted to the gradients at the shifted predictions.

    Limits: c = 0, a source that predicts 0 on the link scale, and a fit without source
    rows give the target learner; without labeled target rows c is 1 and the
    source model alone predicts. If no labeled row can be held out, e.g. with one row
    per class, c is the largest candidate.

    A log link takes ``exposure`` in ``fit`` and ``predict``: a row with twice the
    exposure is expected to have twice the label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from sktransfer.hypothesis import OffsetTransfer
    >>> rng = np.random.RandomState(0)
    >>> X = rng.uniform(-2, 2, size=(520, 2))
    >>> domain = np.repeat([1, -1], [500, 20])
    >>> y = np.sin(3 * X[:, 0]) + np.where(domain < 0, X[:, 1], 0.0)
    >>> model = OffsetTransfer(HistGradientBoostingRegressor())
    >>> model.fit(X, y, sample_domain=domain).shrinkage_
    1.0
    >>> X_test = rng.uniform(-2, 2, size=(200, 2))
    >>> model.score(X_test, np.sin(3 * X_test[:, 0]) + X_test[:, 1]) > 0.9
    True
    """

    __metadata_request__fit = {"sample_domain": True, "groups": True, "exposure": True}
    __metadata_request__predict = {"exposure": True}
    __metadata_request__score = {"exposure": True}

    _parameter_constraints: dict = {
        "source_estimator": [HasMethods(["predict"])],
        "target_estimator": [HasMethods(["fit", "predict"]), None],
        "shrinkage": [
            Interval(Real, 0, 1, closed="both"),
            StrOptions({"auto"}),
            "array-like",
        ],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        source_estimator,
        target_estimator=None,
        *,
        shrinkage="auto",
        cv=5,
        random_state=0,
    ):
        self.source_estimator = source_estimator
        self.target_estimator = target_estimator
        self.shrinkage = shrinkage
        self.cv = cv
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X,
        y,
        sample_domain=None,
        sample_weight=None,
        exposure=None,
        groups=None,
    ):
        """Fit the source model and its correction.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels; those of unlabeled target rows are missing.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in both fits and in the choice of c. A row of weight 0
            is left out.
        exposure : array-like of shape (n_samples,), default=None
            Positive exposures of the rows, with a log link alone.
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, such as a patient: the choice of c holds units out.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract.
        TypeError
            If a learner is of the wrong type or takes no offset.
        """
        learner = self._learner()
        self._link = link_of(learner)
        candidates = self._candidates()
        data = self._validate_domains(X, y, sample_domain, skip_check_X=True)
        exposure = self._check_exposure(
            exposure, _num_samples(data.X), labeled=data.labeled
        )
        meta = {"groups": groups, "exposure": exposure}
        if sample_weight is not None:
            meta["weight"] = check_weights(sample_weight, len(data.labeled))
        data, meta = without_weightless(data, meta)
        self._check_classes(data)
        self.source_model_ = self._fit_source(data, meta)
        self._set_classes(data)
        rows = _Rows(self, data, meta)
        if self.source_model_ is None:
            candidates = np.zeros(1)
        self.shrinkage_candidates_ = candidates
        self.shrinkage_losses_ = np.full(len(candidates), np.nan)
        self.shrinkage_ = self._choose(rows, data)
        self._correction, self.target_model_ = None, None
        if data.n_labeled:
            self._correction = rows.fit(learner, self.shrinkage_, rows.offset)
            self.target_model_ = self._correction.model
        return self

    def _learner(self):
        """Return the target learner, of the type of the source learner."""
        source, target = self.source_estimator, self.target_estimator
        if not (is_classifier(source) or is_regressor(source)):
            raise TypeError(
                f"source_estimator={source!r} is neither a classifier nor a regressor."
            )
        if is_classifier(source) and not hasattr(source, "predict_proba"):
            raise TypeError(
                f"source_estimator={source!r} has no predict_proba, which the offset "
                "comes from: use another classifier, or CalibratedClassifierCV."
            )
        if target is None:
            return self._default_target()
        if is_classifier(target) != is_classifier(source) or (
            is_regressor(target) != is_regressor(source)
        ):
            raise TypeError(
                f"source_estimator={source!r} and target_estimator={target!r} must "
                "both be classifiers or both be regressors."
            )
        return target

    def _default_target(self):
        if is_classifier(self.source_estimator):
            return LogisticRegression()
        power = deviance_power(self.source_estimator)
        if power is None:
            return Ridge()
        if power == 1:
            return PoissonRegressor()
        return GammaRegressor() if power == 2 else TweedieRegressor(power=power)

    def _candidates(self):
        if isinstance(self.shrinkage, str):
            return np.array(_CANDIDATES)
        values = np.unique(np.asarray(self.shrinkage, dtype=np.float64))
        inside = values.size and np.all((values >= 0) & (values <= 1))
        if np.ndim(self.shrinkage) > 1 or not inside:
            raise ValueError(
                f"shrinkage must hold values in [0, 1], got {self.shrinkage!r}."
            )
        return values

    def _check_exposure(self, exposure, n_samples, labeled=None):
        if exposure is None:
            return None
        if self._link.name != "log":
            raise ValueError(
                "exposure needs a target_estimator with a log link, such as "
                "PoissonRegressor()."
            )
        return check_exposure(exposure, n_samples, self._learner(), labeled)

    def _check_classes(self, data):
        if not is_classifier(self) or not (
            data.n_source or is_fitted(self.source_estimator)
        ):
            return
        known = np.unique(data.y_labeled).tolist() if data.n_labeled else []
        if len(known) == 1:
            raise UnlabeledTargetError(
                f"The labeled target rows hold one class, {known[0]!r}, so no "
                "correction can be learned: label a row of another class, or give no "
                "target labels."
            )

    def _fit_source(self, data, meta):
        """Return the model of the sources, or None if there is no source."""
        source = self.source_estimator
        if is_fitted(source):
            return source
        if not data.n_source:
            return None
        y, rows, weights = data.y_source, data.is_source, None
        if meta.get("exposure") is not None:
            exposure = meta["exposure"][rows]
            y, weights = y / exposure, exposure ** (2 - self._link.power)
        params = {}
        if meta.get("weight") is not None or weights is not None:
            own = None if meta.get("weight") is None else meta["weight"][rows]
            params = {"method_weight": weights, "sample_weight": own}
        return fit_or_constant(source, data.X_source, y, **params)

    def _set_classes(self, data):
        """Set the classes, and for a log link the floor of the sources' predictions."""
        labels = data.labels(data.labeled)
        if is_classifier(self):
            known = [np.unique(labels)] if len(labels) else []
            if self.source_model_ is not None:
                known.append(self.source_model_.classes_)
            self.classes_ = union_of_classes(known)
            self._seen = np.isin(self.classes_, np.unique(data.y_labeled))
            return
        self._output_shape = labels.shape[1:]
        mean = np.mean(labels) if len(labels) else 0.0
        self._floor = max(_LEAST_SHARE * mean, np.finfo(float).tiny)

    def _choose(self, rows, data):
        """Return the candidate of the least out-of-fold loss."""
        candidates = self.shrinkage_candidates_
        if self.source_model_ is None:
            return 0.0
        if not data.n_labeled:
            return 1.0
        if len(candidates) == 1:
            return float(candidates[0])
        folds = target_folds(
            data,
            self.cv,
            groups=rows.meta.get("groups"),
            sample_weight=rows.meta.get("weight"),
            stratify=is_classifier(self),
            random_state=self.random_state,
        )
        if not folds:
            return float(candidates[-1])
        self.shrinkage_losses_ = rows.cross_validate(candidates, folds, self._learner())
        return float(candidates[int(np.argmin(self.shrinkage_losses_))])

    def _offset(self, X, model=None):
        """Return the prediction of a model of the sources on the link scale."""
        model = self.source_model_ if model is None else model
        if self._link.name == "logit":
            return self._class_offset(X, model)
        if model is None:
            return np.zeros((_num_samples(X), *self._output_shape))
        values = self._shaped(model.predict(X))
        if self._link.name == "log":
            values = np.log(np.maximum(values, self._floor))
        return values

    def _shaped(self, predicted):
        """Return predictions as floats, shaped like the labels."""
        values = np.asarray(predicted, dtype=np.float64)
        return values.reshape(len(values), *self._output_shape)

    def _class_offset(self, X, model):
        """Return log-odds, or centered logarithms of each class of ``classes_``."""
        logs = np.zeros((_num_samples(X), len(self.classes_)))
        if model is not None:
            proba = np.asarray(model.predict_proba(X), dtype=np.float64)
            known = np.log(np.maximum(proba, LEAST_PROBABILITY))
            known -= known.mean(axis=1, keepdims=True)
            logs = align_classes(known, model.classes_, self.classes_, 0.0)
        return logs[:, 1] - logs[:, 0] if len(self.classes_) == 2 else logs

    def _predictor(self, X):
        """Return checked rows and the predictor on the link scale, per class if many.

        The predictor is None where the target learner alone predicts.
        """
        check_is_fitted(self)
        X = self._validate_X(X, get_tags(self), reset=False, skip_check=True)
        added = self._correction
        if added is None:
            return X, self._offset(X)
        alone = not added.raw
        if alone and self.shrinkage_ == 0:
            return X, None
        offset = self.shrinkage_ * self._offset(X)
        if self._link.name != "logit":
            if alone and not np.any(offset):
                return X, None
            return X, offset + self._shaped(added(X))
        if alone and self._seen.all() and not np.any(offset):
            return X, None
        return X, _add_correction(offset, added(X), self._seen, self.shrinkage_)

    def predict(self, X, exposure=None):
        """Predict target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        exposure : array-like of shape (n_samples,), default=None
            Positive exposures of the rows, with a log link alone. None: 1.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted classes or values.
        """
        check_is_fitted(self)
        if is_classifier(self):
            proba = self.predict_proba(X)
            return self.classes_[proba.argmax(axis=1)]
        X, predictor = self._predictor(X)
        if predictor is None:
            values = self._shaped(self.target_model_.predict(X))
        else:
            values = np.exp(predictor) if self._link.name == "log" else predictor
        exposure = self._check_exposure(exposure, _num_samples(X))
        return values if exposure is None else values * exposure

    @available_if(_classifies)
    def predict_proba(self, X):
        """Predict class probabilities of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in [0, 1], in the order of ``classes_``.
        """
        X, predictor = self._predictor(X)
        if predictor is None:
            proba = np.asarray(self.target_model_.predict_proba(X))
            return align_classes(proba, self._seen_classes(), self.classes_, 0.0)
        if predictor.ndim == 1:
            return np.column_stack([expit(-predictor), expit(predictor)])
        return softmax(predictor, axis=1)

    @available_if(_classifies)
    def predict_log_proba(self, X):
        """Predict logarithms of class probabilities of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Natural logarithms, in the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @available_if(_classifies)
    def decision_function(self, X):
        """Compute the linear predictors of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of the second of two classes, else logarithms of the
            probabilities.
        """
        rows, predictor = self._predictor(X)
        if predictor is None:
            return log_odds(self.predict_proba(rows))
        return predictor if predictor.ndim == 1 else log_softmax(predictor, axis=1)

    def _seen_classes(self):
        return self.classes_[self._seen]

    def score(self, X, y, sample_weight=None, exposure=None):
        """Score predictions on labeled target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels; a missing label is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        exposure : array-like of shape (n_samples,), default=None
            Exposures of counts ``y``: their rates are scored, weighted as in ``fit``.

        Returns
        -------
        score : float
            Accuracy of a classifier, R2 of a regressor, with a log link the share of
            the Tweedie deviance that is explained (D2).

        Raises
        ------
        UnlabeledTargetError
            If a label is missing.
        """
        check_is_fitted(self)
        check_scorable(y, getattr(self, "classes_", None))
        y, sample_weight = to_score(y, sample_weight, exposure, self)
        predicted = self.predict(X)
        if is_classifier(self):
            return accuracy_score(y, predicted, sample_weight=sample_weight)
        if self._link.name == "log":
            return d2_tweedie_score(
                y, predicted, sample_weight=sample_weight, power=self._link.power
            )
        return r2_score(y, predicted, sample_weight=sample_weight)

    def without_sources(self):
        r"""Return the unfitted :math:`\theta(0,T)`: a copy without source models.

        Returns
        -------
        target_only : estimator
            The same algorithm; a source learner that waits for source rows stays.
        """
        copy = clone(self)
        if is_fitted(self.source_estimator):
            classify = is_classifier(self.source_estimator)
            copy.source_estimator = DummyClassifier() if classify else DummyRegressor()
        return copy

    def __sklearn_clone__(self):
        # a fitted source model is data: a clone that forgot it would transfer nothing
        copy = super().__sklearn_clone__()
        if is_fitted(self.source_estimator):
            copy.source_estimator = self.source_estimator
        return copy

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        source = get_tags(self.source_estimator)
        learner = self.target_estimator
        target = get_tags(self._default_target() if learner is None else learner)
        tags.estimator_type = source.estimator_type
        tags.classifier_tags = target.classifier_tags
        tags.regressor_tags = target.regressor_tags
        tags.target_tags = target.target_tags
        tags.target_tags.multi_output &= source.target_tags.multi_output
        tags.input_tags = target.input_tags
        tags.input_tags.sparse &= source.input_tags.sparse
        tags.input_tags.allow_nan &= source.input_tags.allow_nan
        tags.transfer_tags.source_free = True
        tags.transfer_tags.classification = is_classifier(self.source_estimator)
        tags.transfer_tags.regression = is_regressor(self.source_estimator)
        return tags


class _Rows:
    """The labeled target rows, their offsets, and what is held out of them."""

    def __init__(self, owner, data, meta):
        self.owner, self.data, self.meta = owner, data, meta
        labeled = data.is_labeled_target
        self.place = np.cumsum(labeled) - 1
        self.X, self.y = data.X_labeled, data.y_labeled
        weight, exposure = meta.get("weight"), meta.get("exposure")
        self.weight = None if weight is None else weight[labeled]
        self.exposure = None if exposure is None else exposure[labeled]
        if len(self.y):
            self.offset = owner._offset(self.X)

    def fit(self, learner, shrinkage, offset, rows=None):
        """Return the correction fitted on all or some of the rows."""
        rows = np.arange(len(self.y)) if rows is None else rows
        y, total = self.y[rows], shrinkage * offset[rows]
        if self.owner._link.name == "logit":
            seen = np.isin(self.owner.classes_, y)
            if total.ndim == 2:
                total = total[:, seen]
                if total.shape[1] == 2:
                    total = total[:, 1] - total[:, 0]
        if self.exposure is not None:
            total = total + np.log(self.exposure[rows])
        weight = None if self.weight is None else self.weight[rows]
        X = take_rows(self.X, rows)
        return fit_with_offset(learner, self.owner._link, X, y, total, weight)

    def cross_validate(self, candidates, folds, learner):
        """Return the mean out-of-fold losses of shrinkage factors."""
        sums = np.zeros((len(candidates), len(self.y)))
        counts = np.zeros(len(self.y))
        for train, test in folds:
            fitted_on = self.place[train[self.data.is_labeled_target[train]]]
            test = self.place[test]
            offset = self._offset_of_fold(train)
            counts[test] += 1
            for k, shrinkage in enumerate(candidates):
                correction = self.fit(learner, shrinkage, offset, fitted_on)
                losses = self._losses(correction, shrinkage, offset, fitted_on, test)
                sums[k, test] += losses
        tested = counts > 0
        weights = None if self.weight is None else self.weight[tested]
        means = sums[:, tested] / counts[tested]
        return np.average(means, axis=1, weights=weights)

    def _offset_of_fold(self, train):
        """Return the offset of a source model without the units that are held out."""
        if self.data.is_source[train].sum() == self.data.n_source:
            return self.offset
        part = self.data.take(train)
        meta = {name: value[train] for name, value in self.meta.items()}
        model = self.owner._fit_source(part, meta)
        return self.owner._offset(self.X, model) if model else 0.0 * self.offset

    def _losses(self, correction, shrinkage, offset, fitted_on, test):
        owner, y = self.owner, self.y[test]
        known, added = shrinkage * offset[test], correction(take_rows(self.X, test))
        if owner._link.name == "logit":
            seen = np.isin(owner.classes_, self.y[fitted_on])
            total = _add_correction(known, added, seen, shrinkage)
            return _log_loss(np.searchsorted(owner.classes_, y), total)
        total = known + added.reshape(y.shape)
        if owner._link.name == "log":
            if self.exposure is not None:
                total = total + np.log(self.exposure[test])
            return _tweedie_loss(y, total, owner._link.power)
        errors = (y - total) ** 2
        return errors if errors.ndim == 1 else errors.mean(axis=1)


def without_weightless(data, meta):
    """Leave out the rows of weight 0, and the metadata that are None."""
    meta = {name: np.asarray(v) for name, v in meta.items() if v is not None}
    kept = meta["weight"] > 0 if "weight" in meta else np.ones(1, dtype=bool)
    if kept.all():
        return data, meta
    if not data.is_target[kept].any():
        raise DomainError(
            "sample_weight is zero for every target row, and a row of weight zero is "
            "left out: give a target row a positive weight."
        )
    return data.take(kept), {name: value[kept] for name, value in meta.items()}


def _add_correction(offset, added, seen, shrinkage):
    """Add the correction of the classes with target labels to the offset."""
    if offset.ndim == 1:
        return offset + added
    if added.ndim == 1:  # two of more classes have target labels
        added = np.column_stack([-added / 2, added / 2])
    total = offset.copy()
    total[:, seen] += added - added.mean(axis=1, keepdims=True)
    if shrinkage == 0:  # the target alone does not know the other classes
        total[:, ~seen] = -np.inf
    return total


def _log_loss(codes, predictor):
    if predictor.ndim == 1:
        return np.logaddexp(0.0, np.where(codes == 1, -predictor, predictor))
    return -log_softmax(predictor, axis=1)[np.arange(len(codes)), codes]


def _tweedie_loss(y, predictor, power):
    """Tweedie deviance at exp(predictor), without the terms in y alone."""
    if power == 1:
        return np.exp(predictor) - y * predictor
    if power == 2:
        return y * np.exp(-predictor) + predictor
    first = np.exp((2 - power) * predictor) / (2 - power)
    return first - y * np.exp((1 - power) * predictor) / (1 - power)
