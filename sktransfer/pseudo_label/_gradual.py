"""Self-training along the way from the source to the target."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._compat import Interval
from sktransfer._domains import take_rows
from sktransfer._response import align_classes
from sktransfer._source_models import check_has_proba
from sktransfer.pseudo_label._template import PseudoLabeling, most_certain

__all__ = ["GradualSelfTraining"]


class GradualSelfTraining(PseudoLabeling):
    r"""Label the target step by step, from samples like the source's to the others.

    Where a target has drifted far, samples on the way are labeled first: each step
    labels the next part of the target with the classifier of the step before, and fits
    on the most certain of them and on the labeled target samples alone.

    Parameters
    ----------
    estimator : classifier
        Learner with ``predict_proba``.
    n_steps : int in [1, inf), default=5
        Number of parts of equal size.
    keep : float in (0, 1], default=0.9
        Share of the labels of a part that is kept, in each predicted class.
    regularization : float in (0, inf), default=1.0
        Inverse strength C of the domain classifier that orders the samples where
        `order` is not given in ``fit``.

    Attributes
    ----------
    pseudo_labels_ : ndarray of shape (n_unlabeled,)
        Class given to each unlabeled target sample when its part was labeled, in input
        order.
    pseudo_weight_ : ndarray of shape (n_unlabeled,)
        1 if the label was kept, else 0.
    part_ : ndarray of shape (n_unlabeled,)
        Part of each unlabeled target sample, from 0; -1 for one of weight 0.
    estimator_ : estimator
        The classifier fitted in the last step.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SelfTraining : All target samples from the start.

    Notes
    -----
    Gradual self-training [1]_ asks for samples in the order of the drift: hand it to
    ``fit`` as `order`, such as the time of each sample. Otherwise they are ordered by
    the odds of a logistic regression of source against target, which needs finite
    numbers. A class that a part lacks keeps the samples of the part before it.

    References
    ----------
    .. [1] A. Kumar, T. Ma, P. Liang. Understanding self-training for gradual domain
       adaptation. International Conference on Machine Learning, 2020.

    Examples
    --------
    The clusters turn by 90 degrees.

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.pseudo_label import GradualSelfTraining
    >>> rng = np.random.RandomState(0)
    >>> time = np.r_[np.zeros(100), np.linspace(0, 1, 400)]
    >>> y, angle = np.arange(500) % 2, time * np.pi / 2
    >>> center = np.c_[np.cos(angle), np.sin(angle)] * (2 * y - 1)[:, None]
    >>> X = 2 * center + 0.5 * rng.normal(size=(500, 2))
    >>> labels, domain = np.where(time > 0, np.nan, y), np.where(time > 0, -1, 1)
    >>> model = GradualSelfTraining(LogisticRegression())
    >>> model = model.fit(X, labels, sample_domain=domain, order=time)
    >>> bool(model.score(X[-50:], y[-50:]) > 0.95)
    True
    """

    _parameter_constraints: dict = {
        **PseudoLabeling._parameter_constraints,
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "keep": [Interval(Real, 0, 1, closed="right")],
        "regularization": [Interval(Real, 0, None, closed="neither")],
    }
    __metadata_request__fit = {"sample_domain": True, "order": True}

    def __init__(self, estimator, *, n_steps=5, keep=0.9, regularization=1.0):
        super().__init__(estimator)
        self.n_steps = n_steps
        self.keep = keep
        self.regularization = regularization

    def fit(self, X, y, sample_domain=None, order=None, **fit_params):
        """Fit the classifier on source and target samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels. Those of unlabeled target samples are missing: NaN among numbers,
            None among objects.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every sample is a
            labeled one of the target.
        order : array-like of shape (n_samples,), default=None
            Place of each sample in the drift, such as its time: the smallest are
            labeled first. Only those of unlabeled target samples count; the others may
            be NaN. None: a classifier of the domain finds one.
        **fit_params : dict
            Metadata that the wrapped estimator requests, one entry per sample.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the samples break the domain contract.
        ValueError
            If `order` has another length, or is not a number where it counts.
        """
        if order is not None:
            fit_params["order"] = np.asarray(order, dtype=np.float64)
        return super().fit(X, y, sample_domain=sample_domain, **fit_params)

    def _route(self, method, data, params):
        own = {name: params.pop(name) for name in ("order",) if name in params}
        if own and own["order"].shape != data.sample_domain.shape:
            raise ValueError(
                f"order has shape {own['order'].shape}, but there are "
                f"{len(data.sample_domain)} samples: give one number for each."
            )
        return {**super()._route(method, data, params), **own}

    def _fit_estimator(self, data, fit_params):
        # the loop starts with the fit on what is labeled
        params = {k: v for k, v in fit_params.items() if k != "order"}
        self.part_ = self._parts(data, fit_params.get("order"))
        self._labels = np.empty(0)
        model = super()._fit_estimator(data, params)
        self.pseudo_labels_ = self._labels
        self.pseudo_weight_ = self._kept.astype(float)
        del self._labels, self._kept, self._before
        return model

    def _parts(self, data, order):
        """Deal the unlabeled target samples to parts by their place in the drift."""
        unlabeled = data.is_target & ~data.labeled
        if not unlabeled.any():
            return np.empty(0, dtype=int)
        if order is None:
            place = self._odds(data, unlabeled)
        else:
            place = np.asarray(order)[unlabeled]
        if not np.isfinite(place).all():
            raise ValueError("order must be a number for unlabeled target samples.")
        rank = rankdata(place, method="min") - 1
        return (rank * self.n_steps / len(place)).astype(int)

    def _odds(self, data, unlabeled):
        """Return how much unlabeled samples look like the target's."""
        X = self._numeric_rows(data.X)
        start = data.is_source if data.n_source else data.labeled
        rows = start | unlabeled
        scaler = StandardScaler(with_mean=not sparse.issparse(X))
        learner = LogisticRegression(C=self.regularization, max_iter=1000)
        model = make_pipeline(scaler, learner)
        model.fit(take_rows(X, rows), unlabeled[rows])
        return model.decision_function(take_rows(X, unlabeled))

    def _n_rounds(self):
        return self.n_steps

    def _check_learner(self):
        super()._check_learner()
        check_has_proba(self.estimator, type(self).__name__)

    def _propose(self, model, run):
        proba = model.predict_proba(run.X_unlabeled)
        return align_classes(np.asarray(proba), model.classes_, run.classes, 0.0)

    def _select(self, run, proposed, number):
        part = self.part_ == number - 1
        predicted = proposed.argmax(axis=1)
        chosen = np.zeros(len(part), dtype=bool)
        if part.any():
            certainty = proposed[part].max(axis=1)
            chosen[part] = most_certain(certainty, self.keep, predicted[part])
        self._labels[part] = run.classes[predicted[part]]
        self._kept |= chosen
        return self._labels.copy(), chosen.astype(float)

    def _refit(self, run, labels, weights, number):
        if number == 0:
            self._labels, self._kept = labels.copy(), np.zeros(len(labels), dtype=bool)
            self._before = run.data.labeled
            return run.fit(labels, weights, 1.0)
        y = run.labels.copy()
        y[run.unlabeled] = labels
        rows = run.data.is_labeled_target.copy()
        rows[run.unlabeled] = weights > 0
        # a class that this part lacks keeps the samples it had
        missing = ~np.isin(y, np.unique(y[rows]))
        rows |= self._before & missing
        self._before = rows
        source = rows[run.data.is_source].astype(float)
        return run.fit(labels, rows[run.unlabeled].astype(float), source)

    def _restore_rows(self, data, kept):
        super()._restore_rows(data, kept)
        there = kept[data.is_target & ~data.labeled]
        parts = np.full(len(there), -1)
        parts[there] = self.part_
        self.part_ = parts
