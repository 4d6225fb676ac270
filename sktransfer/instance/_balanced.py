"""Fixed shares of the sources and the target in the loss."""

from numbers import Real

import numpy as np

from sktransfer._compat import Interval
from sktransfer._learners import check_takes_sample_weight
from sktransfer.base import ReweightingMetaEstimator, TransferMetaEstimator

__all__ = ["BalancedWeighting"]


class BalancedWeighting(ReweightingMetaEstimator):
    r"""Fit a learner on all labeled samples, the target with a fixed share of the loss.

    However many source samples there are beside a few labeled target samples, the
    latter make up ``target_share`` of the total weight.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    target_share : float in (0, 1), default=0.5
        Share of the labeled target samples in the total weight.
    per_source : bool, default=False
        False: all source samples count the same. True: all sources do, however many
        samples they have.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, beside 1 for a labeled target
        sample, and without the user's ``sample_weight``, by which they are multiplied.
        1 where there is no labeled target sample (with `per_source`, on average).
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    estimator_ : estimator
        The fitted learner.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.baselines.Pooled : A fixed weight of each source sample instead.
    sktransfer.safe.TransferGuard : Chooses between both domains by held-out labels.

    Notes
    -----
    With the share g the learner minimizes

    .. math:: \frac{g}{\sum_{i \in T} u_i} \sum_{i \in T} u_i \, l(f(x_i), y_i)
        + \frac{1 - g}{\sum_{i \in S} u_i} \sum_{i \in S} u_i \, l(f(x_i), y_i)

    times the weight of the labeled target samples over g, with the user's weights
    :math:`u_i` [1]_. So a penalty of the learner is as strong beside a target sample
    as without sources.

    References
    ----------
    .. [1] P. Wu, T. G. Dietterich. Improving SVM accuracy by training on auxiliary data
       sources. ICML, 2004. :doi:`10.1145/1015330.1015436`

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sktransfer.instance import BalancedWeighting
    >>> model = BalancedWeighting(DummyRegressor(), target_share=0.75)
    >>> X, y = [[0.0]] * 4, [0.0, 0.0, 0.0, 8.0]
    >>> model.fit(X, y, sample_domain=[1, 1, 1, -1]).predict([[0.0]])
    array([6.])
    """

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        "target_share": [Interval(Real, 0, 1, closed="neither")],
        "per_source": ["boolean"],
    }
    #: read by the template
    target_weight = 1.0

    def __init__(self, estimator, *, target_share=0.5, per_source=False):
        self.estimator = estimator
        self.target_share = target_share
        self.per_source = per_source

    def _fit_estimator(self, data, fit_params):
        check_takes_sample_weight(self.estimator)
        mass = fit_params.get("sample_weight")
        mass = np.ones(len(data.sample_domain)) if mass is None else np.asarray(mass)
        return self._fit_weighted(data, self._balance(data, mass), fit_params)

    def _balance(self, data, mass):
        """Return the weights of the source samples beside the user's."""
        weights = np.where(data.is_source, 1.0, 0.0)
        if self.per_source:
            for source in data.sources:
                rows = data.rows_of(source)
                weights[rows] = 1.0 / (mass[rows].sum() or 1.0)
        weights = weights[data.is_source]
        total = float(weights @ mass[data.is_source])
        if not total:
            return weights
        goal = float(mass[data.is_source].sum())
        if data.n_labeled:
            labeled = float(mass[data.is_labeled_target].sum())
            goal = labeled * (1.0 - self.target_share) / self.target_share
        return weights * (goal / total)
