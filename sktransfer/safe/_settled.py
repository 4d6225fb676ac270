"""What the columns of a table hold, told once for all fits of one estimator."""

from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sktransfer._source_models import is_fitted
from sktransfer.preprocessing import TableEncoder


class Settled:
    """Encoders of one fit, whose roles are told by the samples of all domains.

    A fold or a source may be too small to tell a category from an id, or may lack the
    one date that tells days from months. So every :class:`TableEncoder` at the front
    of a pipeline gets the roles that the whole table shows.

    Parameters
    ----------
    data : DomainData
        Samples of every domain.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._roles: dict[str, Any] = {}

    def __call__(self, estimator: Any) -> Any:
        """Return an estimator in which leading encoders have their roles settled."""
        if is_fitted(estimator):
            return estimator
        if isinstance(estimator, TableEncoder):
            # nothing is looked for again: a column that a step adds, such as the
            # domain, is to be learned from
            return clone(estimator).set_params(
                roles=self.roles_of(estimator), drop_ids=False, drop_copies=False
            )
        if isinstance(estimator, Pipeline):
            (name, first), *rest = estimator.steps
            settled = self(first)
            if settled is first:
                return estimator
            return clone(estimator).set_params(steps=[(name, settled), *rest])
        if not hasattr(estimator, "get_params") or isinstance(estimator, type):
            return estimator
        changed = {}
        for name, value in estimator.get_params(deep=False).items():
            if hasattr(value, "fit") and not isinstance(value, type):
                settled = self(value)
                if settled is not value:
                    changed[name] = settled
        return clone(estimator).set_params(**changed) if changed else estimator

    def roles_of(self, encoder: TableEncoder) -> dict[str, Any]:
        """Return the roles that an encoder finds in the whole table."""
        key = repr(encoder)
        if key not in self._roles:
            data = self._data
            fitted = clone(encoder).fit(data.X, data.y, data.sample_domain)
            self._roles[key] = fitted._roles_and_forms()
        return self._roles[key]


def leading_encoder(learner: Any) -> TableEncoder | None:
    """Return the table encoder at the front of a pipeline, or None."""
    first = learner.steps[0][1] if isinstance(learner, Pipeline) else None
    if isinstance(first, Pipeline):
        return leading_encoder(first)
    return first if isinstance(first, TableEncoder) else None
