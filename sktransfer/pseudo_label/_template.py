"""The one loop of methods that label the target themselves, and its template."""

import numpy as np
from sklearn.base import is_classifier

from sktransfer._domains import take_rows
from sktransfer._learners import LearnerMethodsMixin, fit_learner, name_samples
from sktransfer._solvers.cut_edge import cut_edge_noise
from sktransfer.base import TransferMetaEstimator, missing_hook, slice_params


class PseudoLabeling(LearnerMethodsMixin, TransferMetaEstimator):
    """Template: propose, select, clean and refit, round by round.

    Hooks: ``_propose(model, run)`` returns scores of the classes for the unlabeled
    target samples, ``_select(run, proposed, number)`` their classes and weights,
    ``_clean(run, labels, weights)`` weights without dubious labels,
    ``_accepts(run, proposed, labels, weights, number)`` whether to go on, and
    ``_refit(run, labels, weights, number)`` a fitted learner. Labels that were given
    are never changed.

    Parameters
    ----------
    estimator : classifier
        The learner.
    """

    def _n_rounds(self):
        """Return the largest number of rounds."""
        raise missing_hook(self, "_n_rounds()")

    def _check_learner(self):
        """Refuse learners that cannot serve."""
        if not is_classifier(self.estimator):
            raise TypeError(
                f"estimator={self.estimator!r} is no classifier, and pseudo-labels are "
                "classes."
            )

    def _propose(self, model, run):
        """Return scores of the classes, shape (n_unlabeled, n_classes)."""
        raise missing_hook(self, "_propose(model, run)")

    def _select(self, run, proposed, number):
        """Return classes and weights of the unlabeled samples; 0: not accepted."""
        raise missing_hook(self, "_select(run, proposed, number)")

    def _clean(self, run, labels, weights):
        """Return the weights, 0 for labels that are not to be believed."""
        return weights

    def _accepts(self, run, proposed, labels, weights, number):
        """Tell whether the labels of a round are taken; else it is not fitted."""
        return True

    def _refit(self, run, labels, weights, number):
        """Return the learner fitted with the labels of a round; 0: without any."""
        raise missing_hook(self, "_refit(run, labels, weights, number)")

    def _needs_distances(self):
        """Tell whether distances between samples are asked for."""
        return False

    def _fit_estimator(self, data, fit_params):
        self._check_learner()
        run = Run(self, data, fit_params)
        labels, weights = run.labels[run.unlabeled], np.zeros(run.n_unlabeled)
        model = self._refit(run, labels, weights, 0)
        for number in range(1, self._n_rounds() + 1) if run.n_unlabeled else ():
            proposed = self._propose(model, run)
            new_labels, new_weights = self._select(run, proposed, number)
            new_weights = self._clean(run, new_labels, new_weights)
            if not self._accepts(run, proposed, new_labels, new_weights, number):
                break
            labels, weights = new_labels, new_weights
            model = self._refit(run, labels, weights, number)
        self.pseudo_labels_, self.pseudo_weight_ = labels, weights
        return model

    def _restore_rows(self, data, kept):
        unlabeled = data.is_target & ~data.labeled
        there = kept[unlabeled]
        if there.all():
            return
        weights = np.zeros(len(there))
        weights[there] = self.pseudo_weight_
        labels = np.asarray(self.predict(data.X_unlabeled))
        labels[there] = self.pseudo_labels_
        self.pseudo_labels_, self.pseudo_weight_ = labels, weights

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.transfer_tags.uses_unlabeled = True
        if self._needs_distances():
            tags.input_tags.allow_nan = False
        return tags


class Run:
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
        self.numbers = None
        if method._needs_distances():
            self.numbers = method._numeric_rows(data.X)

    def without_noise(self, labels, weights, max_noise, n_neighbors):
        """Return the weights, 0 for labels whose noise probability is too large."""
        if max_noise is None or not weights.any():
            return weights
        noise = self.noise(labels, weights, n_neighbors)
        return np.where(noise > max_noise, 0.0, weights)

    def fit_soft(self, proba, weights, source_weight):
        """Fit on labeled samples, and on accepted ones as every class in its share."""
        every = np.flatnonzero(self.unlabeled)
        place, column = np.nonzero(proba * (weights > 0)[:, None])
        rows = np.r_[np.flatnonzero(self.labeled), every[place]]
        y = np.r_[self.labels[self.labeled], self.classes[column]]
        factor = np.ones(len(self.labeled))
        factor[self.data.is_source] *= source_weight
        factor = np.r_[factor[self.labeled], weights[place] * proba[place, column]]
        if self.user_weight is not None:
            factor = factor * np.asarray(self.user_weight)[rows]
        params = {
            name: take_rows(value, rows)
            if hasattr(value, "__len__") and len(value) == len(self.labeled)
            else value
            for name, value in self.params.items()
        }
        there = factor > 0
        if len(np.unique(y[there])) < len(self.classes):
            # faded sources keep a little weight, or a class would be lost
            factor = np.maximum(factor, 1e-3)
            there[:] = True
        return fit_learner(
            self.method.estimator,
            take_rows(self.data.X, rows[there]),
            y[there],
            method_weight=factor[there],
            samples=name_samples(self.data, self.labeled),
            **slice_params(params, there),
        )

    def fit(self, labels, weights, source_weight):
        """Fit on labeled samples and those pseudo-labeled ones that have a weight.

        ``source_weight`` is a factor of all source samples, or one of each.
        """
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
