"""Slope and bias correction: a straight line makes predictions of a source fit."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, is_regressor

from sktransfer._compat import Interval
from sktransfer._domains import match_pairs, take_rows
from sktransfer._learners import fit_learner, name_samples, predict_learner
from sktransfer.base import TransferMetaEstimator, slice_params

__all__ = ["SlopeBiasCorrection"]


class SlopeBiasCorrection(TransferMetaEstimator):
    r"""Correct the predictions of a source model by a straight line.

    The simplest transfer of a calibration: predictions of the source model for target
    samples are stretched and shifted. The line comes from target samples with labels,
    from pairs of samples of the same objects, or from both.

    Parameters
    ----------
    estimator : estimator
        Regressor; it is fitted on the source samples.
    alpha : float in [0, inf), default=1.0
        Number of samples that speak for a slope of 1: few samples change the bias
        alone. 0: least squares.

    Attributes
    ----------
    slope_, bias_ : float or ndarray of shape (n_outputs,)
        The line :math:`b + a \hat y`; 1 and 0 if there is nothing to learn it from.
    n_points_ : int
        Number of labeled target samples and pairs that it comes from.
    estimator_ : estimator
        The corrected model; its attribute ``model`` is the fitted one of the source,
        without source samples that of the target.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.feature.DirectStandardization : Maps samples in place of predictions.
    OffsetTransfer : A richer correction.

    Notes
    -----
    With predictions :math:`\hat y_i` of the source model for the target samples and
    what they ought to be, :math:`y_i` (the label, or the prediction for the partner of
    the sample in the source), the line minimizes

    .. math:: \sum_i (y_i - b - a \hat y_i)^2 + \alpha s^2 (a - 1)^2,

    where :math:`s^2` is the variance of the :math:`\hat y_i`. With one point the slope
    is 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.hypothesis import SlopeBiasCorrection
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> y = X[:, 0] * np.where(domain > 0, 1.0, 2.0) + np.where(domain > 0, 0.0, 5.0)
    >>> model = SlopeBiasCorrection(LinearRegression(), alpha=0)
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> round(float(model.slope_), 6), round(float(model.bias_), 6)
    (2.0, 5.0)
    """

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
    }
    __metadata_request__fit = {"sample_domain": True, "sample_pair": True}
    _routed_methods = ("fit",)

    def __init__(self, estimator, *, alpha=1.0):
        super().__init__(estimator)
        self.alpha = alpha

    def fit(self, X, y, sample_domain=None, sample_pair=None, **fit_params):
        """Fit the model of the source and the line.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of every domain.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels; those of unlabeled target samples are missing.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every sample is a
            labeled target sample.
        sample_pair : array-like of shape (n_samples,), default=None
            Name of the object that each sample was measured on: a sample of a source
            and one of the target with the same name are a pair. None or NaN: a sample
            without a partner.
        **fit_params : dict
            Metadata that the wrapped estimator requests, one entry per sample.
            ``sample_weight`` counts in the line, too.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If a domain has two samples of the same name, or no name occurs in both.
        TypeError
            If the estimator is no regressor.
        """
        if sample_pair is not None:
            fit_params["sample_pair"] = sample_pair
        return super().fit(X, y, sample_domain=sample_domain, **fit_params)

    def _route(self, method, data, params):
        pair = params.pop("sample_pair", None)
        routed = super()._route(method, data, params)
        return routed if pair is None else {**routed, "sample_pair": pair}

    def _fit_estimator(self, data, fit_params):
        if not is_regressor(self.estimator):
            raise TypeError(f"estimator={self.estimator!r} is no regressor.")
        names = fit_params.pop("sample_pair", None)
        self.slope_, self.bias_, self.n_points_ = 1.0, 0.0, 0
        rows = data.is_source if data.n_source else data.is_labeled_target
        model = fit_learner(
            self.estimator,
            take_rows(data.X, rows),
            data.labels(rows),
            samples=name_samples(data, rows),
            **slice_params(fit_params, rows),
        )
        if data.n_source:
            self._fit_line(model, data, names, fit_params.get("sample_weight"))
        return _Corrected(model, self.slope_, self.bias_)

    def _fit_line(self, model, data, names, weight):
        labeled = np.flatnonzero(data.is_labeled_target)
        weight = np.ones(len(data.labeled)) if weight is None else np.asarray(weight)
        points, truth = [labeled], [data.y_labeled]
        if names is not None:
            source, target = match_pairs(names, data)
            unknown = ~data.labeled[target]
            points.append(target[unknown])
            if unknown.any():
                truth.append(predict_learner(model, take_rows(data.X, source[unknown])))
        rows = np.concatenate(points)
        self.n_points_ = len(rows)
        if not len(rows):
            return
        y = np.concatenate(truth)
        predicted = np.asarray(predict_learner(model, take_rows(data.X, rows)))
        w = weight[rows].reshape(-1, *[1] * (predicted.ndim - 1)) / weight[rows].sum()
        mean, center = (w * predicted).sum(axis=0), (w * y).sum(axis=0)
        spread = (w * (predicted - mean) ** 2).sum(axis=0)
        common = (w * (predicted - mean) * (y - center)).sum(axis=0)
        share = self.alpha / len(rows)
        flat = spread <= 1e-14 * (1 + mean**2)
        slope = (common + share * spread) / np.where(flat, 1.0, (1 + share) * spread)
        self.slope_ = np.where(flat, 1.0, slope)[()]
        self.bias_ = (center - self.slope_ * mean)[()]


class _Corrected(RegressorMixin, BaseEstimator):
    """A fitted model whose predictions are stretched and shifted."""

    def __init__(self, model, slope, bias):
        self.model = model
        self.slope = slope
        self.bias = bias

    def predict(self, X):
        """Predict with the model and correct the result."""
        predicted = np.asarray(predict_learner(self.model, X), dtype=np.float64)
        return self.bias + self.slope * predicted

    def __sklearn_is_fitted__(self):
        return True
