"""Nets that see one domain's labels: what a transfer has to beat."""

import numpy as np

from sktransfer.deep._net import (
    TRANSFER_PARAMETERS,
    TransferNetClassifier,
    TransferNetRegressor,
)
from sktransfer.deep._parameters import inherit_parameters


class _SourceRows:
    """See the labeled rows of the sources only."""

    def _roles(self, data):
        nobody = np.zeros(len(data.labeled), bool)
        rows = data.is_source if data.n_source else data.is_labeled_target
        return rows & data.labeled, nobody, nobody

    def _scaled_rows(self, data):
        """Return all rows: a feature that hardly varies in the source may elsewhere."""
        return np.ones(len(data.labeled), dtype=bool)

    def _validation_pool(self, data):
        return self._roles(data)[0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        return tags


class _TargetRows:
    """See the labeled target rows only."""

    def _roles(self, data):
        nobody = np.zeros(len(data.labeled), bool)
        return data.is_labeled_target, nobody, nobody

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        return tags


@inherit_parameters(but=TRANSFER_PARAMETERS)
class SourceOnlyNet(_SourceRows, TransferNetClassifier):
    """Fit the net on the source rows and predict the target with it.

    Target labels are not used; of target rows only the scales of the inputs are
    learned. Without any source row it is fitted on the labeled target rows.

    Parameters
    ----------
    %(module)s
    early_stopping : {"auto"} or bool, default="auto"
        Hold out labeled source rows, stop when their loss no longer falls, and go back
        to the best epoch. "auto": with 200 labeled source rows or more. Without sources
        labeled target rows are held out. With ``warm_start`` they are the same in every
        fit on the same rows.
    validation_fraction : float in (0, 1), default=0.2
        Share of these rows to hold out.
    %(parameters)s

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Ones; 0 for rows that are held out or whose ``sample_weight`` is 0.
    %(attributes)s

    See Also
    --------
    TargetOnlyNet : The same net on the labeled target rows.

    Examples
    --------
    >>> from sktransfer.deep import SourceOnlyNet
    >>> X, y, domain = [[-1.0], [1.0], [0.9]], [0, 1, None], [1, 1, -1]
    >>> net = SourceOnlyNet(lr=0.05, max_steps=50, random_state=0)
    >>> net = net.fit(X, y, sample_domain=domain)
    >>> net.predict([[0.9]])
    array([1])
    """


@inherit_parameters(but=TRANSFER_PARAMETERS)
class SourceOnlyNetRegressor(_SourceRows, TransferNetRegressor):
    """Fit the regression net on the source rows and predict the target with it.

    Target labels are not used; of target rows only the scales of the inputs are
    learned. Without any source row it is fitted on the labeled target rows.

    Parameters
    ----------
    %(module)s
    early_stopping : {"auto"} or bool, default="auto"
        Hold out labeled source rows, stop when their loss no longer falls, and go back
        to the best epoch. "auto": with 200 labeled source rows or more. Without sources
        labeled target rows are held out. With ``warm_start`` they are the same in every
        fit on the same rows.
    validation_fraction : float in (0, 1), default=0.2
        Share of these rows to hold out.
    %(parameters)s

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Ones; 0 for rows that are held out or whose ``sample_weight`` is 0.
    %(attributes)s

    See Also
    --------
    TargetOnlyNetRegressor : The same net on the labeled target rows.

    Examples
    --------
    >>> from sktransfer.deep import SourceOnlyNetRegressor
    >>> X, y, domain = [[-1.0], [1.0], [0.5]], [-1.0, 1.0, None], [1, 1, -1]
    >>> net = SourceOnlyNetRegressor(lr=0.05, max_steps=50, random_state=0)
    >>> net.fit(X, y, sample_domain=domain).predict([[1.0]]).round()
    array([1.])
    """


@inherit_parameters(but=TRANSFER_PARAMETERS)
class TargetOnlyNet(_TargetRows, TransferNetClassifier):
    """Fit the net on the labeled target rows alone.

    Source rows and unlabeled target rows are ignored.

    %(sections)s

    See Also
    --------
    SourceOnlyNet : The same net on the source rows.

    Examples
    --------
    >>> from sktransfer.deep import TargetOnlyNet
    >>> X, y, domain = [[-1.0], [1.0], [0.9]], [0, 1, 0], [-1, -1, 1]
    >>> net = TargetOnlyNet(lr=0.05, max_steps=50, random_state=0)
    >>> net = net.fit(X, y, sample_domain=domain)
    >>> net.predict([[0.9]])
    array([1])
    """


@inherit_parameters(but=TRANSFER_PARAMETERS)
class TargetOnlyNetRegressor(_TargetRows, TransferNetRegressor):
    """Fit the regression net on the labeled target rows alone.

    Source rows and unlabeled target rows are ignored.

    %(sections)s

    See Also
    --------
    SourceOnlyNetRegressor : The same net on the source rows.

    Examples
    --------
    >>> from sktransfer.deep import TargetOnlyNetRegressor
    >>> X, y, domain = [[-1.0], [1.0], [0.5]], [-1.0, 1.0, 9.0], [-1, -1, 1]
    >>> net = TargetOnlyNetRegressor(lr=0.05, max_steps=50, random_state=0)
    >>> net.fit(X, y, sample_domain=domain).predict([[1.0]]).round()
    array([1.])
    """


__all__ = [
    "SourceOnlyNet",
    "SourceOnlyNetRegressor",
    "TargetOnlyNet",
    "TargetOnlyNetRegressor",
]
