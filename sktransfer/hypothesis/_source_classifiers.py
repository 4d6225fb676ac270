"""Rows and source classifiers of estimators that add to their decision values."""

from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._folds import check_groups
from sktransfer._learners import check_weights
from sktransfer._response import all_classes
from sktransfer._source_models import (
    SourceModelsMixin,
    check_source_models,
    fit_sources,
    given_entries,
)
from sktransfer.hypothesis._offset_transfer import without_weightless


class SourceClassifiersMixin(SourceModelsMixin):
    """Read the rows of ``fit``, and fit or take over the classifiers of the sources."""

    def _read_rows(self, X, y, sample_domain, sample_weight, groups=None):
        """Return the domains, their numeric rows, and metadata of the rows."""
        # source models may want the frame, so only the rows of the addition are numeric
        data = self._validate_domains(X, y, sample_domain, skip_check_X=True)
        if data.y is not None:
            check_classification_targets(data.labels(data.labeled))
        meta = {"units": check_groups(groups, data)}
        if sample_weight is not None:
            meta["weight"] = check_weights(sample_weight, len(data.labeled))
        data, meta = without_weightless(data, meta)
        self._check_capable(data)
        rows = self._validate_X(data.X, get_tags(self), reset=False)
        if not hasattr(data.X, "columns"):
            data = data.with_X(rows)
        return data, rows, meta

    def _fit_source_models(self, data, meta, learner):
        """Set ``source_models_``, ``source_names_`` and ``classes_``.

        The learner is fitted on each source if no model is given.
        """
        given = {"sample_weight": meta["weight"]} if "weight" in meta else None
        models = given_entries(self.source_models)
        check_source_models(
            models, owner=self, n_features=self.n_features_in_, learners=True
        )
        self.source_models_, self.source_names_ = fit_sources(
            models or [learner], data, given
        )
        labels = data.y_labeled if data.n_labeled else None
        self.classes_ = all_classes(self.source_models_, labels)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, but the source "
                "models and the labeled target samples have one class, "
                f"{self.classes_.tolist()[0]!r}."
            )
