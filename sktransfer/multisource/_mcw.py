"""MCW: every output of every source model weighted by its maximal correlation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._compat import StrOptions
from sktransfer._source_models import (
    ProbaClassifier,
    SourceModelCombiner,
)
from sktransfer.multisource._h_ensemble import (
    class_means,
    clipped_proba,
    row_shares,
    target_classes,
)
from sktransfer.multisource._model_response import RESPONSES, model_response

__all__ = ["MCW"]


class MCW(SourceModelCombiner):
    r"""Classify by the features of source models, each weighted by its correlation.

    Maximal correlation weighting: on the labeled target rows every feature of every
    source model, or every class probability, is paired with the function of the label
    that it correlates with most, and counts by that correlation.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``: fitted to source rows where they are given
        in place of ``source_models``, and to the target alone without sources.
    source_models : estimator or list of them, default=None
        Fitted classifiers, which clones keep. They take the place of source rows. In
        a parameter grid give each as ``FrozenEstimator(model)``.
    response : {"predict_proba", "features", "auto"}, default="predict_proba"
        What the source models are asked, see Notes. "predict_proba": class
        probabilities. "features": the last hidden layer of a net, or what the last
        step of a pipeline sees. "auto": features where every model has some, else
        probabilities.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The classifier; without sources the fit on the target.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source; with ``source_models`` their positions 1, 2, ...
    correlations_ : ndarray of shape (n_sources, n_columns)
        Correlation :math:`\sigma_{ki}` of each feature, or each class probability, with
        its function of the label, in [0, 1]; 0 beyond the features of a model that
        has fewer than another one.
    source_weights_ : ndarray of shape (n_sources,)
        Share of each source in the sum of the correlations.
    classes_ : ndarray of shape (n_classes,)
        Class labels of the target rows.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    HEnsemble : Mixes the source models with one weight each.

    Notes
    -----
    With :math:`f_{ki}` centered and scaled to unit variance on the labeled target
    rows, :math:`\sigma_{ki}^2 = \mathrm{E}[\mathrm{E}[f_{ki} | y]^2]` and
    :math:`g_{ki}(y) = \mathrm{E}[f_{ki} | y] / \sigma_{ki}`,

    .. math::
        P(y | x) \propto P(y) \Bigl(1 + \sum_{k, i} \sigma_{ki} f_{ki}(x)
        g_{ki}(y)\Bigr),

    with values below 0 set to 0. Features that are constant on the target count
    nothing. A user's ``sample_weight`` counts rows, in the fits of the source models
    and here.

    Features are those of the transferability scores (:func:`sktransfer.metrics.h_score`
    and its kin); the paper mixes those of nets that were trained on many rows. Features
    of a pipeline with a scaler are the scaled inputs, in which nothing is left of the
    labels of the source. On the five `tune` sets of ``benchmarks/multisource.md``, with
    10 labels per class and the same nets of 16 hidden units, the mean accuracy is 0.711
    with features and 0.762 with probabilities, which are better there on each set and
    therefore the default; the paper's features are one argument away.

    References
    ----------
    J. Lee, P. Sattigeri and G. Wornell, "Learning new tricks from old dogs:
    multi-source transfer learning from pre-trained networks", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import MCW
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(230, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 30])
    >>> y = np.where(domain == 2, X[:, 1] > 0, X[:, 0] > 0).astype(int)
    >>> model = MCW(LogisticRegression()).fit(X, y, sample_domain=domain)
    >>> bool(model.source_weights_[0] > 0.6)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **SourceModelCombiner._parameter_constraints,
        "response": [StrOptions(RESPONSES)],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        source_models: Any = None,
        response: str = "predict_proba",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator, source_models=source_models, n_jobs=n_jobs)
        self.response = response

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        self.correlations_ = np.zeros((0, 0))
        return super()._fit_estimator(data, fit_params)

    def _combine_models(
        self, models: list[Any], data: Any, fit_params: dict[str, Any]
    ) -> "CorrelationClassifier":
        classes, label = target_classes(data, type(self).__name__)
        columns = model_response(
            models,
            self.source_ids_,
            data.X_labeled,
            self.response,
            equal_widths=False,
            owner=type(self).__name__,
        )
        classifier = CorrelationClassifier(models, columns, classes)
        share = row_shares(data, fit_params)
        sigma = classifier.fit_rows(data.X_labeled, label, share)
        self.correlations_ = np.zeros((len(models), max(map(len, sigma))))
        for row, found in zip(self.correlations_, sigma, strict=True):
            row[: len(found)] = found
        total = self.correlations_.sum(axis=1)
        uniform = np.full(len(models), 1 / len(models))
        self.source_weights_ = total / total.sum() if total.any() else uniform
        return classifier

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        return tags


class CorrelationClassifier(ProbaClassifier):
    """Closed-form classifier on the scaled answers of source models."""

    def __init__(self, models: list[Any], columns: Any, classes: NDArray[Any]) -> None:
        self.models = models
        self.columns = columns
        self.classes_ = classes

    def _features(self, X: Any) -> NDArray[Any]:
        return np.hstack(self.columns.blocks(self.models, X))

    def fit_rows(
        self, X: Any, label: NDArray[Any], share: NDArray[Any]
    ) -> list[NDArray[Any]]:
        """Learn scales and conditional means; return the correlations by model."""
        blocks = self.columns.blocks(self.models, X)
        F = np.hstack(blocks)
        self.center_ = share @ F
        self.scale_ = np.sqrt(share @ (F - self.center_) ** 2)
        self.scale_[self.scale_ <= 1e-12 * np.abs(F).max(axis=0)] = np.inf
        f = (F - self.center_) / self.scale_
        self.prior_ = np.bincount(label, weights=share)
        # sigma g(y) = E[f | y], so the means are all that the classifier needs
        self.means_ = class_means(f, label, share)
        sigma = np.sqrt(self.prior_ @ self.means_**2)
        ends = np.cumsum([block.shape[1] for block in blocks])
        return np.split(sigma, ends[:-1])

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict class probabilities; rows without a positive one get the prior."""
        f = (self._features(X) - self.center_) / self.scale_
        return clipped_proba(self.prior_, 1 + f @ self.means_.T)
