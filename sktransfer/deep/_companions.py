"""Nets that train beside a gated one: a judge of source labels, members of a mean."""

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

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


class Companions:
    """Nets that learn beside another one from the same rows, for as many steps.

    A net of the labeled target rows alone needs two labels that differ. Without it
    there are no companions.

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
    """

    def __init__(self, make):
        self.make = make
        self.alone = self.ungated = None
        self.judged = np.array([])
        self.in_mean = False

    def train(self, net, data, weight, *, mean, judge, plain, **training):
        """Train the companions that a net asks for, on from their last training.

        Parameters
        ----------
        net : TransferNet
            Whose companions they are.
        data : DomainData
            Rows of the net, without the labels that it holds out.
        weight : ndarray of shape (n_samples,) or None
            The user's weights of the rows.
        mean, judge : bool
            Whether the net predicts means, and whether source labels are judged.
        plain : bool
            Whether the net itself has no alignment, gate and judge.
        **training : dict
            ``seed``, ``budget``, ``one_epoch`` and ``classes`` of the net's training.
        """
        labeled = data.is_labeled_target
        labels = np.unique(data.labels(labeled))
        if not (mean or judge):
            self.alone, self.judged = None, self.judged[:0]
        elif data.n_source and len(labels) > 1:
            own = None if weight is None else weight[labeled]
            part = data.take(labeled)
            # what judges the labels of the first epoch has to be trained by then
            first = {"one_epoch": False} if self.alone is None else {}
            self.alone = self._train_one(
                self.alone, net, _OF_ALL, part, own, **(training | first)
            )
            self.judged = (
                np.union1d(self.judged, labels) if len(self.judged) else labels
            )
        self.in_mean = mean and self.alone is not None
        if self.in_mean and not plain:
            training["seed"] ^= 1  # other initial weights make a better mean
            self.ungated = self._train_one(
                self.ungated, net, _OF_UNGATED, data, weight, **training
            )
        elif not mean or plain:
            self.ungated = None

    def _train_one(self, known, net, shared, data, weight, *, seed, **training):
        """Train a companion, a new one if none is known."""
        warm = known is not None
        params = {k: getattr(net, k) for k in shared if hasattr(net, k)}
        parts = {k: v for k, v in vars(net).items() if k.startswith(PREFIXES)}
        if warm:
            known.set_params(**params, **parts)
        else:
            known = self.make(
                **params, **parts, early_stopping=False, random_state=seed
            )
        known._train(data, weight, warm=warm, **training)
        return known

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

        The net of the target alone knows nothing of the classes that no labeled target
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
        found = [own]
        if self.ungated is not None:
            found.append(log_softmax(self.ungated._outputs(X), axis=1))
        alone = _log_mean(found)
        known = np.isin(classes, self.judged)
        share = logsumexp(alone[:, known], axis=1, keepdims=True)
        outputs = self.alone._outputs(X)[:, known]
        alone[:, known] = log_softmax(outputs, axis=1) + share
        return _log_mean([*found, alone])

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
        nets = [net for net in (self.alone, self.ungated) if net is not None]
        return np.mean([own, *(net._predict_label(X) for net in nets)], axis=0)


def _log_mean(logs):
    """Return the logarithm of the mean of numbers given by their logarithms."""
    return logsumexp(logs, axis=0) - np.log(len(logs))
