"""Errors and warnings of the library.

Every error is a :class:`ValueError` (or :class:`TypeError`) too, so code that
catches scikit-learn's errors catches ours.
"""

import sys
import warnings

__all__ = [
    "CapabilityError",
    "CollapsedWeightsWarning",
    "DomainError",
    "IntegerMarkerWarning",
    "NegativeTransferWarning",
    "UnlabeledTargetError",
]


class DomainError(ValueError):
    """``sample_domain`` or the labels break the domain contract.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.exceptions import DomainError
    >>> from sklearn.dummy import DummyClassifier
    >>> try:
    ...     Pooled(DummyClassifier()).fit([[0.0], [1.0]], [0, 1], sample_domain=[0, -1])
    ... except DomainError as error:
    ...     print(str(error)[:39])
    sample_domain holds 0 (first at row 0):
    """


class UnlabeledTargetError(DomainError):
    """A labeled target row is needed and there is none, or a marker was scored."""


class CapabilityError(DomainError):
    """The data ask for something that the estimator's tags do not declare.

    For example two targets for an estimator without the ``multi_target`` tag.
    """


class CollapsedWeightsWarning(UserWarning):
    """Nearly all weight of the sources is on a few of their samples, or gone."""


class NegativeTransferWarning(UserWarning):
    """The evidence at hand indicates that the sources hurt on the target."""


class IntegerMarkerWarning(UserWarning):
    """The integer -1 among the labels may be a class.

    :func:`sktransfer.datasets.mark_unlabeled` turns it into a missing value.
    """


#: packages whose lines no user can change
_OF_LIBRARIES = {"sktransfer", "sklearn", "joblib", "contextlib", "functools"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user, however deep in libraries the cause is found.

    Parameters
    ----------
    message : str
        What to say.
    category : type of Warning, default=UserWarning
        Kind of the warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back:
        room = frame.f_globals.get("__name__", "").partition(".")[0]
        if room not in _OF_LIBRARIES:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
