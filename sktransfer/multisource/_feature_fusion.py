"""Features of several source models, weighted by their transferability."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import HasLearnerMethods, fit_or_constant
from sktransfer._source_models import ProbaClassifier, SourceModelCombiner
from sktransfer.base import slice_params
from sktransfer.metrics import h_score, logme, otce
from sktransfer.multisource._model_response import RESPONSES, model_response

__all__ = ["FeatureFusion"]

#: rows of a domain that enter a coupling
_MOST_ROWS = 500


class FeatureFusion(SourceModelCombiner):
    r"""Fuse the features of source models, each as far as it is transferable.

    Every source model gets a transferability score on the labeled target rows. The
    features of all models, weighted by the scores, are what a head is fitted on.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``: fitted to each source where rows are given
        in place of ``source_models``, and to the target alone without sources. A
        pipeline or a net has features besides its probabilities.
    source_models : estimator or list of them, default=None
        Fitted classifiers, which clones keep. They take the place of source rows. In
        a parameter grid give each as ``FrozenEstimator(model)``.
    head : estimator, default=None
        Classifier with ``predict_proba`` of fused features. None:
        ``LogisticRegression``.
    source_score : {"h_score", "logme", "otce", "uniform"}, default="h_score"
        Transferability of a model: the shrunk H-score, the evidence LogME, OTCE, which
        needs source rows, or the same for all.
    temperature : float in (0, inf), default=1.0
        How much scores count: the smaller, the nearer to the best model alone.
    fusion : {"concatenate", "sum"}, default="concatenate"
        Features side by side, or their sum, for which all models must have equally
        many.
    response : {"auto", "features", "predict_proba"}, default="auto"
        What a model gives: its features, or the probabilities of its classes. "auto":
        features where all models have some, and for a sum equally many.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The head on fused features; without sources the fit on the target.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source; with ``source_models`` their positions 1, 2, ...
    source_scores_ : ndarray of shape (n_sources,)
        Transferability of each model; 0 for "uniform".
    source_weights_ : ndarray of shape (n_sources,)
        Weights of the models, which sum to 1.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    HEnsemble : One mixture of features for the largest H-score.
    MCW : All features, each by its correlation.

    Notes
    -----
    With the features :math:`f_k` of model k, standardized over all target rows, and
    its score :math:`s_k` on the labeled ones,

    .. math:: w = \mathrm{softmax}(s / \tau), \qquad
        f(x) = \sum_k w_k f_k(x) \quad\text{or}\quad
        f(x) = [\sqrt{w_1} f_1(x), \ldots, \sqrt{w_K} f_K(x)].

    Side by side, with a penalty on the squared norm of its coefficients, the head
    shrinks those of a model of small weight more, whatever the order of the models.
    A user's ``sample_weight`` counts in the fits of the source models and of the head;
    scores and standardization count rows.
    The paper [1]_ fuses features of nets by OTCE. Equal models get equal weights; one
    source has the weight 1.

    On plain tables, with principal components as features, it improved nothing
    (``benchmarks/remaining_methods.md``): it is for models that learned features
    elsewhere, such as nets.

    References
    ----------
    .. [1] Y. Tan, Y. Li, S.-L. Huang. OTCE: A transferability metric for cross-domain
       cross-task representations. CVPR, 2021. :arxiv:`2103.13843`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import FeatureFusion
    >>> rng = np.random.default_rng(0)
    >>> X, domain = rng.normal(size=(230, 4)), np.repeat([1, 2, -1], [100, 100, 30])
    >>> y = (X[:, 0] > 0).astype(int)
    >>> y[100:200] = rng.integers(2, size=100)  # source 2 has no rule
    >>> model = FeatureFusion(LogisticRegression(), temperature=0.1)
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> bool(model.source_weights_[0] > 0.9)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **SourceModelCombiner._parameter_constraints,
        "head": [HasLearnerMethods(["fit", "predict_proba"]), None],
        "source_score": [StrOptions({"h_score", "logme", "otce", "uniform"})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "fusion": [StrOptions({"concatenate", "sum"})],
        "response": [StrOptions(RESPONSES)],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        source_models: Any = None,
        head: Any = None,
        source_score: str = "h_score",
        temperature: Any = 1.0,
        fusion: str = "concatenate",
        response: str = "auto",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator, source_models=source_models, n_jobs=n_jobs)
        self.head = head
        self.source_score = source_score
        self.temperature = temperature
        self.fusion = fusion
        self.response = response

    def _fit_estimator(
        self, data: Any, fit_params: dict[str, Any]
    ) -> "FusedClassifier":
        self.source_scores_ = np.zeros(0)
        if self.head is not None and not is_classifier(self.head):
            raise TypeError(f"head={self.head!r} must be a classifier.")
        return super()._fit_estimator(data, fit_params)

    def _combine_models(
        self, models: list[Any], data: Any, fit_params: dict[str, Any]
    ) -> "FusedClassifier":
        columns = model_response(
            models,
            self.source_ids_,
            data.X_labeled,
            self.response,
            equal_widths=self.fusion == "sum",
            owner=type(self).__name__,
        )
        blocks = columns.blocks(models, data.X_labeled)
        self.source_scores_ = np.array(
            [
                self._score(columns, data, k, model, block)
                for k, (model, block) in enumerate(zip(models, blocks, strict=True))
            ]
        )
        self.source_weights_ = softmax(self.source_scores_ / self.temperature)
        fused = _Fusion(models, self.source_weights_, columns, self.fusion)
        fused.fit_scalers(data.X_target)
        rows = data.is_labeled_target
        weight = fit_params.get("sample_weight")
        params = {} if weight is None else {"sample_weight": weight}
        head = LogisticRegression() if self.head is None else self.head
        model = fit_or_constant(
            head,
            fused.transform(data.X_labeled),
            data.y_labeled,
            **slice_params(params, rows),
        )
        return FusedClassifier(fused, model)

    def _score(
        self, columns: Any, data: Any, k: int, model: Any, block: NDArray[Any]
    ) -> float:
        """Return the transferability of a model; the least for one without features."""
        y = data.y_labeled
        if self.source_score == "uniform":
            return 0.0
        if not block.shape[1]:  # a constant model tells as much as a constant feature
            block = np.zeros((len(block), 1))
        if self.source_score == "h_score":
            amount = "ledoit_wolf" if len(block) > 1 else None
            return h_score(block, y, shrinkage=amount)
        if self.source_score == "logme":
            return logme(block, y, task="classification")
        if not data.n_source:
            raise ValueError(
                "source_score='otce' couples source rows with target rows, but "
                "source_models takes their place: use 'h_score' or 'logme'."
            )
        rows = data.rows_of(int(self.source_ids_[k]))
        source = columns.answer(model, take_rows(data.X, rows))
        return otce(
            source[:, : block.shape[1]], data.labels(rows), block, y,
            max_samples=_MOST_ROWS, tol=1e-4, random_state=0,
        )  # fmt: skip

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.uses_unlabeled = True
        return tags


class _Fusion:
    """Weighted, standardized features of fitted models."""

    def __init__(
        self, models: list[Any], weights: NDArray[Any], columns: Any, fusion: str
    ) -> None:
        self.models, self.weights = models, weights
        self.columns, self.fusion = columns, fusion

    def fit_scalers(self, X: Any) -> None:
        """Learn means and scales of the features over target rows."""
        blocks = self.columns.blocks(self.models, X)
        self.scalers = [
            StandardScaler().fit(block) if block.shape[1] else None for block in blocks
        ]

    def transform(self, X: Any) -> Any:
        """Return the fused features of rows."""
        blocks = self.columns.blocks(self.models, X)
        scaled = [
            block if scaler is None else scaler.transform(block)
            for scaler, block in zip(self.scalers, blocks, strict=True)
        ]
        if self.fusion == "sum":
            pairs = zip(self.weights, scaled, strict=True)
            return sum(w * block for w, block in pairs if block.shape[1])
        factors = np.sqrt(self.weights)
        return np.hstack([f * b for f, b in zip(factors, scaled, strict=True)])


class FusedClassifier(ProbaClassifier):
    """A head on fused features."""

    def __init__(self, fusion: _Fusion, head: Any) -> None:
        self.fusion = fusion
        self.head = head
        self.classes_ = head.classes_

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict the head's probabilities."""
        return self.head.predict_proba(self.fusion.transform(X))
