"""Self-training on the target, for any classifier."""

from numbers import Integral, Real

import numpy as np

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import check_takes_sample_weight
from sktransfer._response import align_classes
from sktransfer._solvers.centroid_labels import centroid_labels
from sktransfer._source_models import check_has_proba
from sktransfer.pseudo_label._template import PseudoLabeling, most_certain

__all__ = ["SelfTraining"]

_CRITERIA = {"confidence", "margin", "entropy", "mutual_information"}


class SelfTraining(PseudoLabeling):
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
    assign : {"prediction", "clusters"}, default="prediction"
        Which class a sample gets: the likeliest one, or that of the nearest centroid,
        in the cosine distance, of the target samples weighed by their probabilities.
    soft : bool or "shares", default=False
        Whether a pseudo-labeled sample counts by the probability of its class.
        "shares": it counts as every class, each by its probability.
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
        Weight with which it was fitted on; 0: its label was not accepted. With
        ``soft="shares"`` the sum over its classes.
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

    Centroids of clusters follow the target where the classifier of the source cuts
    through them; they take the shares of the classes in a cluster for its label, once
    with probabilities and once more with the labels found. ``soft="shares"`` with the
    log loss is the cross-entropy to the predicted probabilities: it keeps what is
    uncertain, so rounds change less.

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
    >>> int(model.n_accepted_[-1])
    18
    """

    _parameter_constraints: dict = {
        **PseudoLabeling._parameter_constraints,
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "criterion": [StrOptions(_CRITERIA)],
        "class_balance": ["boolean"],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "assign": [StrOptions({"prediction", "clusters"})],
        "soft": ["boolean", StrOptions({"shares"})],
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
        assign="prediction",
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
        self.assign = assign
        self.soft = soft
        self.pseudo_weight = pseudo_weight
        self.fade_sources = fade_sources
        self.max_noise = max_noise
        self.predict_harm = predict_harm
        self.n_neighbors = n_neighbors

    def _n_rounds(self):
        return self.n_rounds

    def _check_learner(self):
        super()._check_learner()
        check_has_proba(self.estimator, type(self).__name__)
        if self.soft or self.fade_sources or self.pseudo_weight != 1.0:
            check_takes_sample_weight(self.estimator)

    def _fit_estimator(self, data, fit_params):
        self.n_accepted_ = np.zeros(0, dtype=int)
        self.mean_entropy_ = self.mutual_information_ = self.bound_ = np.zeros(0)
        self.harm_round_ = None
        model = super()._fit_estimator(data, fit_params)
        vars(self).pop("_shares", None)
        return model

    def _propose(self, model, run):
        proba = model.predict_proba(run.X_unlabeled)
        return align_classes(np.asarray(proba), model.classes_, run.classes, 0.0)

    def _select(self, run, proposed, number):
        self._shares = proposed
        predicted = proposed.argmax(axis=1)
        if self.assign == "clusters":
            rows = take_rows(run.numbers, run.unlabeled)
            predicted = centroid_labels(rows, proposed)
        confidence = proposed[np.arange(len(predicted)), predicted]
        certainty = confidence
        if self.criterion != "confidence":
            certainty = _certainty(proposed, self.criterion)
        parts = predicted if self.class_balance else None
        chosen = most_certain(certainty, number / self.n_rounds, parts)
        chosen &= confidence >= self.threshold
        weights = np.where(chosen, self.pseudo_weight, 0.0)
        if self.soft is True:
            weights = weights * confidence
        return run.classes[predicted], weights

    def _clean(self, run, labels, weights):
        return run.without_noise(labels, weights, self.max_noise, self.n_neighbors)

    def _accepts(self, run, proposed, labels, weights, number):
        bound = np.nan
        if self.predict_harm:
            before = self.bound_[-1] if number > 1 else run.labeled.sum() ** -0.5
            bound = self._bound(run, labels, weights)
            if bound > before * (1 + 1e-12):
                self.harm_round_ = number - 1
                return False
        mean_entropy = float(np.mean(_entropy(proposed)))
        marginal = float(_entropy(proposed.mean(axis=0, keepdims=True))[0])
        information = max(marginal - mean_entropy, 0.0)
        self.n_accepted_ = np.append(self.n_accepted_, np.count_nonzero(weights))
        self.mean_entropy_ = np.append(self.mean_entropy_, mean_entropy)
        self.mutual_information_ = np.append(self.mutual_information_, information)
        self.bound_ = np.append(self.bound_, bound)
        return True

    def _bound(self, run, labels, weights):
        """Return the term of the error bound with the labels of a round."""
        accepted = weights > 0
        n_samples = int(run.labeled.sum() + accepted.sum())
        wrong = 0.0
        if accepted.any():
            wrong = run.noise(labels, weights, self.n_neighbors)[accepted].sum()
        rate = wrong / n_samples
        return 1.0 / (np.sqrt(n_samples) * (1 - 2 * rate)) if rate < 0.5 else np.inf

    def _refit(self, run, labels, weights, number):
        source_weight = 1.0
        if self.fade_sources:
            source_weight = 1.0 - number / self.n_rounds
        if self.soft == "shares" and weights.any():
            return run.fit_soft(self._shares, weights, source_weight)
        return run.fit(labels, weights, source_weight)

    def _needs_distances(self):
        clusters = self.assign == "clusters"
        return clusters or self.predict_harm or self.max_noise is not None


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
