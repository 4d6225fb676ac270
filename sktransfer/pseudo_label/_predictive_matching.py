"""Source samples kept where the target's labels agree with theirs."""

from numbers import Integral, Real

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sktransfer._compat import Interval
from sktransfer._domains import take_rows
from sktransfer._learners import check_takes_sample_weight
from sktransfer._response import align_classes
from sktransfer._source_models import check_has_proba
from sktransfer.pseudo_label._template import PseudoLabeling

__all__ = ["PredictiveDistributionMatching"]


class PredictiveDistributionMatching(PseudoLabeling):
    r"""Drop source samples whose label the target contradicts, and label the target.

    Rounds alternate between pseudo-labels of confident target samples and the
    probability that the target, labeled or pseudo-labeled, gives the label of each
    source sample in its neighborhood: its positive transferability.

    Parameters
    ----------
    estimator : classifier
        Learner with ``predict_proba`` whose ``fit`` takes ``sample_weight``.
    target_threshold : float in [0, inf), default=0.8
        Least probability of a predicted class for a pseudo-label; above 1: none.
    source_threshold : float in [0, 1], default=0.5
        Source samples of less transferability are left out; 0: all stay.
    soft : bool, default=False
        Whether source samples count by their transferability too.
    n_neighbors : int in [1, inf), default=10
        Target samples around a source sample that are asked, and neighbors for
        `max_noise`.
    n_rounds : int in [1, inf), default=10
        Largest number of rounds; they end where nothing changes.
    max_noise : float in (0, 1], default=None
        Largest noise probability of an accepted label by
        :func:`label_noise`; None: no filter.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in the last round, in input order.
    pseudo_labels_ : ndarray of shape (n_unlabeled,)
        Class given to each unlabeled target sample, in input order.
    pseudo_weight_ : ndarray of shape (n_unlabeled,)
        Its probability if it was fitted on, else 0.
    n_rounds_ : int
        Number of rounds.
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
    SelfTraining : Keeps all source samples.

    Notes
    -----
    The transferability of source sample i is

    .. math:: r_i = \frac{\sum_{j} k_{ij} p_j [y_j = y_i]}{\sum_j k_{ij} p_j},
        \qquad k_{ij} = e^{-\|x_i - x_j\|^2 / h^2},

    over its nearest target samples j that are labeled (:math:`p_j = 1`) or
    pseudo-labeled (with their probability), with h the mean distance to the farthest
    of them. The loop is that of [1]_, with this estimate of the target's predictive
    distribution. Labels that were given are never changed. With `source_threshold` 0
    and `target_threshold` above 1 it is :class:`~sktransfer.baselines.Pooled`.

    References
    ----------
    .. [1] C.-W. Seah, Y.-S. Ong, I. Tsang. Combating negative transfer from predictive
       distribution differences. IEEE Transactions on Cybernetics 43, 2013.

    Examples
    --------
    On the left the source has the opposite labels.

    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from sktransfer.pseudo_label import PredictiveDistributionMatching
    >>> X = np.tile(np.linspace(-1, 1, 40), 2)[:, None]
    >>> y = (np.abs(X[:, 0]) > 0.5).astype(int)
    >>> y[:20] = 1 - y[:20]
    >>> domain = np.repeat([1, -1], 40)
    >>> model = PredictiveDistributionMatching(DecisionTreeClassifier(), n_neighbors=3)
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> float(model.sample_weight_[:20].sum()), float(model.sample_weight_[20:].sum())
    (0.0, 20.0)
    """

    _parameter_constraints: dict = {
        **PseudoLabeling._parameter_constraints,
        "target_threshold": [Interval(Real, 0, None, closed="left")],
        "source_threshold": [Interval(Real, 0, 1, closed="both")],
        "soft": ["boolean"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "max_noise": [Interval(Real, 0, 1, closed="right"), None],
    }

    def __init__(
        self,
        estimator,
        *,
        target_threshold=0.8,
        source_threshold=0.5,
        soft=False,
        n_neighbors=10,
        n_rounds=10,
        max_noise=None,
    ):
        super().__init__(estimator)
        self.target_threshold = target_threshold
        self.source_threshold = source_threshold
        self.soft = soft
        self.n_neighbors = n_neighbors
        self.n_rounds = n_rounds
        self.max_noise = max_noise

    def _n_rounds(self):
        return self.n_rounds

    def _check_learner(self):
        super()._check_learner()
        check_has_proba(self.estimator, type(self).__name__)
        check_takes_sample_weight(self.estimator)

    def _needs_distances(self):
        return True

    def _fit_estimator(self, data, fit_params):
        self.n_rounds_, self._before = 0, None
        model = super()._fit_estimator(data, fit_params)
        del self._before
        return model

    def _propose(self, model, run):
        proba = model.predict_proba(run.X_unlabeled)
        return align_classes(np.asarray(proba), model.classes_, run.classes, 0.0)

    def _select(self, run, proposed, number):
        confidence = proposed.max(axis=1)
        chosen = confidence >= self.target_threshold
        return run.classes[proposed.argmax(axis=1)], np.where(chosen, confidence, 0.0)

    def _clean(self, run, labels, weights):
        return run.without_noise(labels, weights, self.max_noise, self.n_neighbors)

    def _accepts(self, run, proposed, labels, weights, number):
        before, self._before = self._before, (labels, weights)
        settled = before is not None and np.array_equal(before[0], labels)
        if settled and np.allclose(before[1], weights, atol=1e-6):
            return False
        self.n_rounds_ = number
        return True

    def _refit(self, run, labels, weights, number):
        self.sample_weight_ = self._transferability(run, labels, weights)
        return run.fit(labels, weights, self.sample_weight_)

    def _transferability(self, run, labels, weights):
        """Return the weights of the source samples."""
        data = run.data
        y, belief = run.labels.copy(), data.is_labeled_target.astype(float)
        y[run.unlabeled], belief[run.unlabeled] = labels, weights
        asked = belief > 0
        if not data.n_source or not asked.any():
            return np.ones(data.n_source)
        k = min(self.n_neighbors, int(asked.sum()))
        graph = NearestNeighbors(n_neighbors=k).fit(take_rows(run.numbers, asked))
        distance, index = graph.kneighbors(take_rows(run.numbers, data.is_source))
        width = distance[:, -1].mean() or 1.0
        # relative to the nearest one, so that far samples have neighbors too
        exponent = (distance**2 - distance[:, :1] ** 2) / width**2
        kernel = np.exp(-exponent) * belief[asked][index]
        agrees = y[asked][index] == data.y_source[:, None]
        found = np.sum(kernel * agrees, axis=1) / kernel.sum(axis=1)
        kept = found >= self.source_threshold - 1e-12
        return np.where(kept, found if self.soft else 1.0, 0.0)

    def _restore_rows(self, data, kept):
        super()._restore_rows(data, kept)
        weights = np.zeros(data.n_source)
        weights[kept[data.is_source]] = self.sample_weight_
        self.sample_weight_ = weights
