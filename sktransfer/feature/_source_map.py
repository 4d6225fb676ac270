"""Template of maps that carry source samples to the target."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import OneToOneFeatureMixin

from sktransfer._domains import is_source, take_rows
from sktransfer.base import TransferTransformer, missing_hook
from sktransfer.exceptions import DomainError

#: key of the map that all sources share
POOLED = "all sources"


@dataclass(frozen=True)
class AffineMap:
    """The map ``x -> (x - center) @ matrix + offset`` of dense or sparse rows.

    Parameters
    ----------
    matrix : ndarray of shape (n_features, n_features_out)
        Linear part; a vector of shape (n_features,) is its diagonal.
    center : ndarray of shape (n_features,)
        What is taken off a row.
    offset : ndarray of shape (n_features_out,)
        What is added to the product.
    """

    matrix: Any
    center: Any
    offset: Any

    def __call__(self, X):
        """Map rows."""
        if self.matrix.ndim == 1:
            return (densify(X) - self.center) * self.matrix + self.offset
        if sparse.issparse(X):
            return X @ self.matrix + (self.offset - self.center @ self.matrix)
        return (X - self.center) @ self.matrix + self.offset


def densify(X):
    """Return a dense copy of rows."""
    return X.toarray() if sparse.issparse(X) else np.array(X)


def check_rows_of_domains(transformer, data, at_least, why):
    """Raise an error if source or target have fewer than ``at_least`` samples."""
    domains = {"source": data.n_source, "target": data.n_target}
    for name, size in domains.items():
        if size < at_least and (name == "target" or data.n_source):
            raise ValueError(
                f"{type(transformer).__name__} needs {at_least} samples of each domain "
                f"{why}, but the {name} has n_samples = {size}."
            )


class DomainMaps(TransferTransformer):
    """Template of transformers with a map of its own for each source.

    The hook ``_fit_map(data)`` returns the map of the sources in ``data``, called with
    rows; with ``per_source=True`` it is asked once for each source, always with all
    target samples. ``_map_target(X)`` maps target samples.
    """

    _parameter_constraints: dict = {"per_source": ["boolean"]}

    def _fit_map(self, data):
        """Return the map of the source samples in ``data``, a callable of rows."""
        raise missing_hook(self, "_fit_map(data)")

    def _map_target(self, X):
        return densify(X)

    def _fit_target(self, data):
        """Set the fitted attributes that depend on target samples alone (a hook)."""

    def _fit_domains(self, data):
        self._fit_target(data)
        self.source_ids_ = data.sources
        self.maps_ = {}
        if not data.n_source:
            return
        if not self.per_source:
            self.maps_[POOLED] = self._fit_map(data)
            return
        for source in data.sources:
            part = data.take(data.is_target | data.rows_of(source))
            self.maps_[int(source)] = self._fit_map(part)

    def _transform_domains(self, X, sample_domain):
        source = is_source(sample_domain)
        if not source.any():
            return self._map_target(X).astype(X.dtype, copy=False)
        out = np.empty((X.shape[0], self._n_features_out), dtype=X.dtype)
        if not source.all():
            out[~source] = self._map_target(take_rows(X, ~source))
        if not self.maps_:
            raise DomainError(
                f"sample_domain names source samples, but {type(self).__name__} was "
                "fitted without a source, so there is no map for them."
            )
        if not self.per_source:
            out[source] = self.maps_[POOLED](take_rows(X, source))
            return out
        for domain in np.unique(sample_domain[source]):
            if int(domain) not in self.maps_:
                raise DomainError(
                    f"sample_domain names source {domain}, which fit did not see; the "
                    f"sources are {self.source_ids_.tolist()}. With per_source=False "
                    "all sources share one map."
                )
            rows = sample_domain == domain
            out[rows] = self.maps_[int(domain)](take_rows(X, rows))
        return out

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True  # labels are not used
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        return tags


class SourceMap(OneToOneFeatureMixin, DomainMaps):
    """Template of maps of source samples into the target's own features.

    Target samples stay what they are. The hook ``_fit_map(data)`` returns the map.
    """

    @property
    def _n_features_out(self):
        return self.n_features_in_


def check_n_components(transformer, data):
    """Raise an error unless every domain has ``n_components`` principal axes."""
    sizes = [data.n_target]
    if data.n_source and transformer.per_source:
        sizes += [int(data.rows_of(source).sum()) for source in data.sources]
    elif data.n_source:
        sizes.append(data.n_source)
    k, (n, d) = transformer.n_components, (min(sizes), data.X.shape[1])
    if k > d or k >= n:
        raise ValueError(
            f"n_components={k} must be at most the number of features, n_features = "
            f"{d}, and below the number of samples of each domain, of which the "
            f"smallest has n_samples = {n}."
        )
