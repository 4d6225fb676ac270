"""Support vector machines that exchange source samples for target samples."""

from numbers import Integral

import numpy as np

from sktransfer._compat import Interval
from sktransfer._learners import has_method
from sktransfer._response import CommonColumns
from sktransfer.pseudo_label._template import PseudoLabeling, most_certain

__all__ = ["DASVM"]


class DASVM(PseudoLabeling):
    r"""Exchange source samples for pseudo-labeled ones near the margin (DASVM).

    Starting with a machine of the source, each round labels target samples that are
    next to the margin, drops source samples that are farthest from the boundary, and
    fits again; the last machine has seen target samples alone.

    Parameters
    ----------
    estimator : classifier
        Learner with ``decision_function`` and a margin at 1, such as ``SVC()`` with
        ``decision_function_shape="ovr"`` or ``LinearSVC()``.
    n_rounds : int in [1, inf), default=10
        Number of rounds T; after round m the share m / T of the target samples of
        each predicted class is labeled, and that share of the source samples of each
        class is gone.

    Attributes
    ----------
    pseudo_labels_ : ndarray of shape (n_unlabeled,)
        Class given to each unlabeled target sample in the last round, in input order.
    pseudo_weight_ : ndarray of shape (n_unlabeled,)
        1 if it was fitted on with that class, else 0.
    n_sources_left_ : ndarray of shape (n_rounds,)
        Number of source samples in each round's fit.
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
    SelfTraining : Labels what is most certain, for any classifier.

    Notes
    -----
    With the decision value f of the predicted class, those samples are labeled for
    which :math:`|f - 1|` is smallest: they become support vectors, as samples deep
    inside a class would not. A label counts for one round and is given anew in the
    next, so that it can change. Source samples go by their decision value for their
    own class, the largest first. Labeled target samples stay with their labels. The
    method of [1]_ exchanges a fixed number in each round for two classes; the shares
    here do so for any number. It follows clusters that turn or drift a little; where a
    cluster of the target lies across the source's boundary, the samples next to the
    margin get wrong labels and the exchange makes it worse. Without unlabeled target
    samples this is :class:`~sktransfer.baselines.Pooled`.

    References
    ----------
    .. [1] L. Bruzzone, M. Marconcini. Domain adaptation problems: a DASVM
       classification technique and a circular validation strategy. IEEE Transactions
       on Pattern Analysis and Machine Intelligence 32, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVC
    >>> from sktransfer.pseudo_label import DASVM
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(120) % 2
    >>> X = 0.5 * rng.normal(size=(120, 2)) + np.outer(2 * y - 1, [1.5, 0.0])
    >>> X[60:, 0] += 1.0
    >>> labels, domain = np.r_[y[:60], np.full(60, np.nan)], np.repeat([1, -1], 60)
    >>> model = DASVM(SVC()).fit(X, labels, sample_domain=domain)
    >>> bool(model.score(X[60:], y[60:]) > 0.95)
    True
    """

    _parameter_constraints: dict = {
        **PseudoLabeling._parameter_constraints,
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, estimator, *, n_rounds=10):
        super().__init__(estimator)
        self.n_rounds = n_rounds

    def _n_rounds(self):
        return self.n_rounds

    def _check_learner(self):
        super()._check_learner()
        if not has_method(self.estimator, "decision_function"):
            raise TypeError(
                f"estimator={self.estimator!r} has no decision_function, whose margin "
                "DASVM needs: use a support vector machine."
            )

    def _fit_estimator(self, data, fit_params):
        self.n_sources_left_ = np.zeros(0, dtype=int)
        return super()._fit_estimator(data, fit_params)

    def _propose(self, model, run):
        columns = CommonColumns(run.classes, "decision_function", absent=-1.0)
        if run.data.n_source:
            own = columns.answer(model, run.data.X_source)
            code = np.searchsorted(run.classes, run.data.y_source)
            run.source_margin = own[np.arange(len(code)), code]
        return columns.answer(model, run.X_unlabeled)

    def _select(self, run, proposed, number):
        predicted, margin = proposed.argmax(axis=1), proposed.max(axis=1)
        closeness = -np.abs(margin - 1.0)
        chosen = most_certain(closeness, number / self.n_rounds, predicted)
        return run.classes[predicted], chosen.astype(float)

    def _refit(self, run, labels, weights, number):
        stays = np.ones(run.data.n_source, dtype=bool)
        if number and run.data.n_source:
            gone = most_certain(
                run.source_margin, number / self.n_rounds, run.data.y_source
            )
            # a class that no label of the target stands for stays in the source
            found = np.union1d(
                labels[weights > 0], run.labels[run.data.is_labeled_target]
            )
            stays = ~gone | ~np.isin(run.data.y_source, found)
        if number:
            self.n_sources_left_ = np.append(self.n_sources_left_, stays.sum())
        return run.fit(labels, weights, stays.astype(float))
