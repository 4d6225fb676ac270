"""Self-training on the target: the template of all methods with pseudo-labels."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import (
    LearnerMethodsMixin,
    check_takes_sample_weight,
    fit_learner,
    name_samples,
)
from sktransfer._response import align_classes
from sktransfer._solvers.cut_edge import cut_edge_noise
from sktransfer._source_models import check_has_proba
from sktransfer.base import TransferMetaEstimator, slice_params

__all__ = ["SelfTraining"]

_CRITERIA = {"confidence", "margin", "entropy", "mutual_information"}


class SelfTraining(LearnerMethodsMixin, TransferMetaEstimator):
    r"""Fit a classifier, label target samples with it, and fit it again.

    In each round the samples of the target without a label get the class that the
    classifier of the round before predicts, and the most certain of them are fitted on
    too. Labeled target samples keep their labels.

    Parameters
    ----------
    estimator : classifier
        Learner with ``predict_proba`` whose ``fit`` takes ``sample_weight`` where
        weights are asked for.
    n_rounds : int in [1, inf), default=10
        Number of rounds T; in round m the share m / T of the samples is labeled, so
        that the last one labels all.
    criterion : {"confidence", "margin", "entropy", "mutual_information"}, \
            default="confidence"
        What certain means, see Notes.
    class_balance : bool, default=True
        Whether the share counts within each predicted class, so that easy classes do
        not displace the others.
    threshold : float in [0, 1], default=0.0
        Least probability of the predicted class for a label to be accepted.
    soft : bool, default=False
        Whether a pseudo-labeled sample counts by the probability of its class.
    pseudo_weight : float in (0, inf), default=1.0
        Weight of a pseudo-labeled sample.
    fade_sources : bool, default=False
        Whether source samples lose weight, down to 0 in the last round.
    max_noise : float in (0, 1], default=None
        Largest noise probability of an accepted label by
        :func:`label_noise`; None: no filter.
    predict_harm : bool, default=False
        Whether to end before labels are accepted that are predicted to hurt, see
        Notes.
    n_neighbors : int in [1, inf), default=10
        Neighbors for `max_noise` and `predict_harm`.

    Attributes
    ----------
    pseudo_labels_ : ndarray of shape (n_unlabeled,)
        Class given to each unlabeled target sample in the last round, in input order.
    pseudo_weight_ : ndarray of shape (n_unlabeled,)
        Weight with which it was fitted on; 0: its label was not accepted.
    n_accepted_ : ndarray of shape (n_rounds,)
        Number of accepted labels in each round.
    mean_entropy_, mutual_information_ : ndarray of shape (n_rounds,)
        Mean entropy of the predictions in each round, and the entropy of their mean
        less that: large where they are certain and of all classes.
    bound_ : ndarray of shape (n_rounds,)
        Term of the error bound with the labels of each round; NaN unless
        `predict_harm` is True.
    harm_round_ : int or None
        Round whose labels were predicted to hurt and not accepted.
    estimator_ : estimator
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SelectivePseudoLabeling : Labels from class means and clusters of the target.
    label_noise : The probability that a label is noise.

    Notes
    -----
    With the probabilities p of a sample, certain means: a large :math:`\max_c p_c`
    ("confidence"); a large difference of the two largest ("margin"); a small
    :math:`-\sum_c p_c \log p_c` ("entropy"); or a large
    :math:`\sum_c p_c \log(p_c / \bar p_c)` with the mean :math:`\bar p` over the
    samples, whose mean is the mutual information of sample and class, so that rare
    classes count more ("mutual_information").

    The prediction of harm follows [1]_: with m samples of which the share
    :math:`\eta` has a wrong label, an error bound has the term
    :math:`1 / (\sqrt m (1 - 2 \eta))`. More samples make it smaller, wrong labels
    larger; where the labels of a round would make it larger, the round before is the
    result. Labels that were given are taken as right; the noise of the others is
    estimated by :func:`label_noise`.

    Without unlabeled target samples this is
    :class:`~sktransfer.baselines.Pooled`.

    References
    ----------
    .. [1] L. Gui, R. Xu, Q. Lu, J. Du, Y. Zhou. Negative transfer detection in
       transductive transfer learning. International Journal of Machine Learning and
       Cybernetics 9, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.pseudo_label import SelfTraining
    >>> X = np.r_[-1.0, -0.5, 0.5, 1.0, np.linspace(0, 1, 9), np.linspace(3, 4, 9)]
    >>> y = np.r_[[0.0, 0.0, 1.0, 1.0], np.full(18, np.nan)]
    >>> domain = np.repeat([1, -1], [4, 18])
    >>> model = SelfTraining(LogisticRegression(), fade_sources=True)
    >>> model = model.fit(X[:, None], y, sample_domain=domain)
    >>> model.n_accepted_[-1]
    np.int64(18)
    """

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "criterion": [StrOptions(_CRITERIA)],
        "class_balance": ["boolean"],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "soft": ["boolean"],
        "pseudo_weight": [Interval(Real, 0, None, closed="neither")],
        "fade_sources": ["boolean"],
        "max_noise": [Interval(Real, 0, 1, closed="right"), None],
        "predict_harm": ["boolean"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        *,
        n_rounds=10,
        criterion="confidence",
        class_balance=True,
        threshold=0.0,
        soft=False,
        pseudo_weight=1.0,
        fade_sources=False,
        max_noise=None,
        predict_harm=False,
        n_neighbors=10,
    ):
        super().__init__(estimator)
        self.n_rounds = n_rounds
        self.criterion = criterion
        self.class_balance = class_balance
        self.threshold = threshold
        self.soft = soft
        self.pseudo_weight = pseudo_weight
        self.fade_sources = fade_sources
        self.max_noise = max_noise
        self.predict_harm = predict_harm
        self.n_neighbors = n_neighbors

    def _fit_estimator(self, data, fit_params):
        self._check_learner()
        run = _Run(self, data, fit_params)
        self.bound_ = np.full(self.n_rounds, np.nan)
        self.n_accepted_ = np.zeros(self.n_rounds, dtype=int)
        self.mean_entropy_ = np.full(self.n_rounds, np.nan)
        self.mutual_information_ = np.full(self.n_rounds, np.nan)
        self.harm_round_ = None
        labels, weights = run.labels[run.unlabeled], np.zeros(run.n_unlabeled)
        model, done = self._refit(run, labels, weights, 0), 0
        for number in range(1, self.n_rounds + 1) if run.n_unlabeled else ():
            proposed = self._propose(model, run)
            self._measure(proposed, number)
            new_labels = run.classes[proposed.argmax(axis=1)]
            new_weights = self._select(proposed, number)
            new_weights = self._clean(run, new_labels, new_weights)
            if self.predict_harm and self._would_hurt(run, new_labels, new_weights):
                self.harm_round_ = number - 1
                break
            labels, weights, done = new_labels, new_weights, number
            self.n_accepted_[number - 1] = np.count_nonzero(weights)
            model = self._refit(run, labels, weights, number)
        for name in ("bound_", "n_accepted_", "mean_entropy_", "mutual_information_"):
            setattr(self, name, getattr(self, name)[:done])
        self.pseudo_labels_, self.pseudo_weight_ = labels, weights
        return model

    def _check_learner(self):
        if not is_classifier(self.estimator):
            raise TypeError(
                f"estimator={self.estimator!r} is no classifier, and pseudo-labels are "
                "classes."
            )
        check_has_proba(self.estimator, type(self).__name__)
        if self.soft or self.fade_sources or self.pseudo_weight != 1.0:
            check_takes_sample_weight(self.estimator)

    def _propose(self, model, run):
        """Return probabilities of the classes for the unlabeled target samples."""
        proba = model.predict_proba(run.X_unlabeled)
        return align_classes(np.asarray(proba), model.classes_, run.classes, 0.0)

    def _select(self, proposed, number):
        """Return weights of the unlabeled target samples; 0: not accepted yet."""
        confidence = proposed.max(axis=1)
        certainty = _certainty(proposed, self.criterion)
        parts = proposed.argmax(axis=1) if self.class_balance else None
        chosen = most_certain(certainty, number / self.n_rounds, parts)
        chosen &= confidence >= self.threshold
        weights = np.where(chosen, self.pseudo_weight, 0.0)
        return weights * confidence if self.soft else weights

    def _clean(self, run, labels, weights):
        """Return the weights without those of labels that are probably noise."""
        if self.max_noise is None or not weights.any():
            return weights
        noise = run.noise(labels, weights, self.n_neighbors)
        return np.where(noise > self.max_noise, 0.0, weights)

    def _refit(self, run, labels, weights, number):
        """Return the learner fitted on labeled and accepted samples."""
        source_weight = 1.0
        if self.fade_sources:
            source_weight = 1.0 - number / self.n_rounds
        return run.fit(labels, weights, source_weight)

    def _would_hurt(self, run, labels, weights):
        """Tell whether the labels of a round make the error bound larger."""
        rounds = np.flatnonzero(~np.isnan(self.bound_))
        known = int(run.labeled.sum())
        before = self.bound_[rounds[-1]] if len(rounds) else 1.0 / np.sqrt(known)
        accepted = weights > 0
        bound = before
        if accepted.any():
            wrong = run.noise(labels, weights, self.n_neighbors)[accepted].sum()
            n_samples = known + int(accepted.sum())
            rate = wrong / n_samples
            bound = np.inf
            if rate < 0.5:
                bound = 1.0 / (np.sqrt(n_samples) * (1 - 2 * rate))
        if bound > before * (1 + 1e-12):
            return True
        self.bound_[rounds[-1] + 1 if len(rounds) else 0] = bound
        return False

    def _measure(self, proposed, number):
        """Keep what the predictions of a round say about the target."""
        mean_entropy = float(np.mean(_entropy(proposed)))
        marginal = float(_entropy(proposed.mean(axis=0, keepdims=True))[0])
        self.mean_entropy_[number - 1] = mean_entropy
        self.mutual_information_[number - 1] = max(marginal - mean_entropy, 0.0)

    def _restore_rows(self, data, kept):
        unlabeled = data.is_target & ~data.labeled
        there = kept[unlabeled]
        weights = np.zeros(len(there))
        weights[there] = self.pseudo_weight_
        labels = np.asarray(self.predict(data.X_unlabeled))
        labels[there] = self.pseudo_labels_
        self.pseudo_labels_, self.pseudo_weight_ = labels, weights

    def _numbers(self, X):
        """Return samples as numbers where distances between them are asked for."""
        return self._numeric_rows(X)

    def _needs_distances(self):
        return self.predict_harm or self.max_noise is not None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.transfer_tags.uses_unlabeled = True
        if self._needs_distances():
            tags.input_tags.allow_nan = False
        return tags


class _Run:
    """The samples of a fit, and how to fit a learner on some of them."""

    def __init__(self, method, data, fit_params):
        self.method, self.data = method, data
        self.labeled = data.labeled
        self.unlabeled = data.is_target & ~data.labeled
        self.n_unlabeled = int(self.unlabeled.sum())
        self.X_unlabeled = data.X_unlabeled
        known = data.labels(self.labeled)
        self.classes = np.unique(known)
        self.labels = np.full(len(self.labeled), known[0], dtype=known.dtype)
        self.labels[self.labeled] = known
        self.user_weight = fit_params.get("sample_weight")
        self.params = {k: v for k, v in fit_params.items() if k != "sample_weight"}
        self.numbers = method._numbers(data.X) if method._needs_distances() else None

    def fit(self, labels, weights, source_weight):
        """Fit on labeled samples and those pseudo-labeled ones that have a weight."""
        y, factor = self.labels.copy(), self.labeled.astype(float)
        y[self.unlabeled], factor[self.unlabeled] = labels, weights
        factor[self.data.is_source] *= source_weight
        rows = factor > 0
        # without any weight of ours the learner need not take weights
        weight = None if (factor[rows] == 1.0).all() else factor[rows]
        user = None if self.user_weight is None else np.asarray(self.user_weight)[rows]
        if user is not None:
            weight = user if weight is None else weight * user
        if not rows.any() or len(np.unique(y[rows])) < len(np.unique(y[self.labeled])):
            rows, weight = self._with_sources(y, factor, rows, weight)
        return fit_learner(
            self.method.estimator,
            take_rows(self.data.X, rows),
            y[rows],
            method_weight=weight,
            samples=name_samples(self.data, rows & self.labeled),
            **slice_params(self.params, rows),
        )

    def _with_sources(self, y, factor, rows, weight):
        """Keep a little weight of faded sources where a class would be lost."""
        if not (self.data.is_source & ~rows).any():
            return rows, weight
        factor = factor.copy()
        factor[self.data.is_source] = 1e-3
        if self.user_weight is not None:
            factor = factor * np.asarray(self.user_weight)
        rows = factor > 0
        return rows, factor[rows]

    def noise(self, labels, weights, n_neighbors):
        """Return noise probabilities of the labels of unlabeled target samples."""
        y, rows = self.labels.copy(), self.labeled.copy()
        y[self.unlabeled], rows[self.unlabeled] = labels, weights > 0
        noise = np.zeros(len(y))
        noise[rows] = cut_edge_noise(
            take_rows(self.numbers, rows), y[rows], n_neighbors
        )
        return noise[self.unlabeled]


def most_certain(certainty, share, parts=None):
    """Return the mask of the most certain share of each part.

    Parameters
    ----------
    certainty : ndarray of shape (n_samples,)
        More is more certain; of equal ones all are chosen.
    share : float
        In (0, 1].
    parts : ndarray of shape (n_samples,), default=None
        Part of each sample, such as its predicted class; None: one part.

    Returns
    -------
    chosen : ndarray of bool of shape (n_samples,)
        Mask.
    """
    if parts is None:
        parts = np.zeros(len(certainty), dtype=int)
    chosen = np.zeros(len(certainty), dtype=bool)
    for part in np.unique(parts):
        rows = np.flatnonzero(parts == part)
        # rounding must not turn 3 of 10 into 4
        quota = min(int(np.ceil(share * len(rows) - 1e-9)), len(rows))
        least = np.sort(certainty[rows])[-quota]
        chosen[rows] = certainty[rows] >= least - 1e-12 * abs(least)
    return chosen


def _entropy(proba):
    return -np.sum(np.where(proba > 0, proba * np.log(np.maximum(proba, 1e-300)), 0), 1)


def _certainty(proba, criterion):
    """Return how certain predictions are; more is more certain."""
    if criterion == "confidence":
        return proba.max(axis=1)
    if criterion == "entropy":
        return -_entropy(proba)
    if criterion == "margin":
        if proba.shape[1] == 1:
            return proba[:, 0]
        best = np.partition(proba, -2, axis=1)[:, -2:]
        return best[:, 1] - best[:, 0]
    mean = np.maximum(proba.mean(axis=0), 1e-300)
    return -_entropy(proba) - proba @ np.log(mean)
