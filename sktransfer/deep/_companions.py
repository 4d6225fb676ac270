"""Nets that train beside a gated one: a judge of source labels, members of a mean."""

import joblib
import numpy as np
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state

from sktransfer._folds import deal_rows
from sktransfer.deep._parameters import PREFIXES

__all__ = ["Companions"]

#: parameters that a net shares with its companions
_OF_ALL = (
    "module", "head", "criterion", "class_weight", "batch_size", "lr", "optimizer",
    "standardize", "device", "dtype", "mixed_precision",
)  # fmt: skip
#: those that it shares with the one that has source rows, too
_OF_UNGATED = (*_OF_ALL, "penalties", "source_weight")
#: a source row counts this much, however wrong its label seems
_LEAST_AGREEMENT = 1e-3
#: folds that tell the share of the target alone, and rows that count for equal shares
_FOLDS, _ROWS_FOR_EQUAL = 3, 20


class Companions:
    r"""Nets that learn beside another one from the same rows, for as many steps.

    A net of the labeled target rows alone needs two labels that differ. Without it
    there are no companions.

    In a mean the net itself has a third. The rest is divided between the target alone
    and the net without gate: the first gets the share w that minimizes

    .. math::

        \sum_i \| w\,p_A(x_i) + (1 - w)\,p_U(x_i) - y_i \|^2
        + n_0\,m\,(w - \tfrac12)^2, \qquad m = \frac1n \sum_i \|p_A - p_U\|^2

    over target labels that both were trained without, where :math:`y_i` is a row of
    the identity for a class, or a label: :math:`n_0` further rows count for equal
    shares.

    Parameters
    ----------
    make : type
        Class of the companions.

    Attributes
    ----------
    alone : TransferNet or None
        Net of the labeled target rows alone.
    judged : ndarray of shape (n_labels,)
        Labels that it has seen.
    ungated : TransferNet or None
        Net of all labeled rows without alignment, gate and judge.
    in_mean : bool
        Whether predictions are means over the net and its companions.
    share : float in [0, 1]
        Share of the target alone in what the two companions have together.
    unseen : str or None
        Hash of the rows that every call has held out; None: calls differ, so some may
        have been trained with.
    """

    def __init__(self, make):
        self.make = make
        self.alone = self.ungated = self.unseen = None
        self.judged = np.array([])
        self.in_mean = False
        self.share = 0.5

    @property
    def weights(self):
        """Weights of the net itself, the target alone and the net without gate."""
        if not self.in_mean:
            return np.array([1.0, 0.0, 0.0])
        return np.array([1.0, 2 * self.share, 2 * (1 - self.share)]) / 3

    def train(self, net, data, weight, held_out, *, mean, judge, **training):
        """Train the companions that a net asks for, on from their last training.

        Parameters
        ----------
        net : TransferNet
            Whose companions they are.
        data : DomainData
            Rows of the net, without the labels that it holds out.
        weight : ndarray of shape (n_samples,) or None
            The user's weights of the rows.
        held_out : ndarray of shape (n_samples,)
            Mask of the rows whose labels the net holds out.
        mean : {"stacked", "equal"} or False
            How the net predicts means, if it does.
        judge : bool
            Whether source labels are judged.
        **training : dict
            ``seed``, ``budget``, ``one_epoch`` and ``classes`` of the net's training.
        """
        labels = np.unique(data.labels(data.is_labeled_target))
        possible = data.n_source > 0 and len(labels) > 1
        if mean or judge:
            rows = joblib.hash(data.X[held_out])
            new = self.alone is None and self.ungated is None
            self.unseen = rows if new or rows == self.unseen else None
        if not (mean or judge):
            self.alone, self.judged = None, self.judged[:0]
        elif possible:
            # what judges the labels of the first epoch has to be trained by then
            first = {"one_epoch": False} if self.alone is None else {}
            self.alone = self._train_alone(
                self.alone, net, data, weight, training | first
            )
            known = [self.judged, labels] if len(self.judged) else [labels]
            self.judged = np.unique(np.concatenate(known))
        self.in_mean = bool(mean) and self.alone is not None
        if not mean:
            self.ungated = None
        elif self.in_mean:
            self.ungated = self._train_ungated(
                self.ungated, net, data, weight, training
            )
            if mean == "equal":
                self.share = 0.5
            elif possible and not training["one_epoch"]:
                self.share = self._find_share(net, data, weight, held_out, training)

    def _train_alone(self, known, net, data, weight, training):
        """Train a net of the labeled target rows, a new one if none is known."""
        rows = data.is_labeled_target
        own = None if weight is None else weight[rows]
        return self._train_one(known, net, _OF_ALL, data.take(rows), own, training)

    def _train_ungated(self, known, net, data, weight, training):
        """Train a net of all labeled rows, a new one if none is known."""
        # other initial weights make a better mean
        training = training | {"seed": training["seed"] ^ 1}
        return self._train_one(known, net, _OF_UNGATED, data, weight, training)

    def _train_one(self, known, net, shared, data, weight, training):
        """Train a companion, a new one if none is known."""
        options = {k: v for k, v in training.items() if k != "seed"}
        warm = known is not None
        params = {k: getattr(net, k) for k in shared if hasattr(net, k)}
        parts = {k: v for k, v in vars(net).items() if k.startswith(PREFIXES)}
        if warm:
            known.set_params(**params, **parts)
        else:
            known = self.make(
                **params, **parts, early_stopping=False, random_state=training["seed"]
            )
        known._train(data, weight, warm=warm, **options)
        if known.net_.steps_done_ < known.net_.stop_at_:
            # Ctrl-C: there is no net to keep before the last training
            raise KeyboardInterrupt
        return known

    def _find_share(self, net, data, weight, held_out, training):
        """Return the share of the target alone by labels that it has not seen."""
        if held_out.any() and self.unseen:
            tests = [(held_out, self.alone, self.ungated)]
        else:
            tests = self._fold_nets(net, data, weight, training)
        distance = gain = 0.0
        for rows, alone, ungated in tests:
            y = alone._as_answers(data.y[rows])
            p_alone, p_ungated = (
                part._own_answers(data.X[rows]) for part in (alone, ungated)
            )
            own = np.ones(len(y)) if weight is None else weight[rows]
            apart = p_ungated - p_alone
            gain += own @ ((p_ungated - y) * apart).sum(axis=1)
            distance += own @ (apart**2).sum(axis=1)
        if not distance > 0:
            return 0.5
        # weights are relative: those of the rows count as many rows as there are
        n = sum(rows.sum() for rows, *_ in tests)
        share = (n * gain / distance + _ROWS_FOR_EQUAL / 2) / (n + _ROWS_FOR_EQUAL)
        return float(np.clip(share, 0.0, 1.0))

    def _fold_nets(self, net, data, weight, training):
        """Return for each fold its rows and two nets that did not see their labels."""
        labeled = np.flatnonzero(data.is_labeled_target)
        rng = check_random_state(training["seed"])
        y = data.y[labeled]
        folds = []
        stratify = issubclass(self.make, ClassifierMixin)
        for test in deal_rows(data.X[labeled], y, _FOLDS, stratify, rng):
            rest = np.delete(y, test)
            if len(np.unique(rest)) < 2:
                continue
            rows = data.mask_of(labeled[test])
            part, seed = data.without_labels(rows), {"seed": rng.randint(2**31 - 1)}
            folds.append(
                (
                    rows,
                    self._train_alone(None, net, part, weight, training | seed),
                    self._train_ungated(None, net, part, weight, training | seed),
                )
            )
        return folds

    def agreement(self, data):
        """Return the probability of the label of each source row, 1 for target rows.

        Parameters
        ----------
        data : DomainData
            All rows.

        Returns
        -------
        agreement : ndarray of shape (n_samples,) or None
            In (0, 1]; rows of a class that no labeled target row has get the mean of
            the others. None: there is no judge.
        """
        if self.alone is None:
            return None
        source = data.is_source
        y = data.labels(source)
        known = np.isin(y, self.judged)
        found = np.ones(len(y))
        if known.any():
            proba = softmax(self.alone._outputs(data.X[source][known]), axis=1)
            own = proba[np.arange(len(proba)), self.alone._encode(y[known])]
            found[known] = np.maximum(own, _LEAST_AGREEMENT)
            found[~known] = found[known].mean()
        agreement = np.ones(len(source))
        agreement[source] = found
        return agreement

    def mean_log_proba(self, own, X, classes):
        r"""Return logarithms of the mean of the class probabilities of all nets.

        The net of the target alone has not seen the classes that no labeled target
        row has: these get the probability that the others give them, and it divides
        the rest.

        Parameters
        ----------
        own : ndarray of shape (n_samples, n_classes)
            Logarithms of the net's own probabilities.
        X : ndarray of shape (n_samples, ...)
            Validated rows.
        classes : ndarray of shape (n_classes,)
            Class of each column.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Natural logarithms.
        """
        of_own, of_alone, of_ungated = self.weights
        ungated = log_softmax(self.ungated._outputs(X), axis=1)
        others = [of_own, of_ungated]
        alone = _log_mean([own, ungated], others)
        known = np.isin(classes, self.judged)
        share = logsumexp(alone[:, known], axis=1, keepdims=True)
        outputs = self.alone._outputs(X)[:, known]
        alone[:, known] = log_softmax(outputs, axis=1) + share
        return _log_mean([own, ungated, alone], [*others, of_alone])

    def mean_label(self, own, X):
        """Return the mean of the labels that all nets predict.

        Parameters
        ----------
        own : ndarray of shape (n_samples,)
            Labels that the net predicts itself.
        X : ndarray of shape (n_samples, ...)
            Validated rows.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            In the unit of ``y``.
        """
        labels = own, self.alone._predict_label(X), self.ungated._predict_label(X)
        return np.average(labels, axis=0, weights=self.weights)


def _log_mean(logs, weights):
    """Return the logarithm of a weighted mean of numbers given by their logarithms."""
    b = np.reshape(weights, (-1, 1, 1)) / np.sum(weights)
    return logsumexp(logs, axis=0, b=b)
