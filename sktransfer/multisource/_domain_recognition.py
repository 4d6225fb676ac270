"""DomainRecognitionEnsemble: a classifier of domains votes on the sources."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags

from sktransfer._learners import HasLearnerMethods, fit_learner, predict_learner
from sktransfer._source_models import (
    check_has_proba,
    fit_domain,
    fit_source_models,
    mixture,
)
from sktransfer.base import TransferMetaEstimator

__all__ = ["DomainRecognitionEnsemble"]


class DomainRecognitionEnsemble(TransferMetaEstimator):
    r"""Mix source models by the share of target rows that look like each source.

    A classifier learns to tell the source of a row; the target rows that it assigns
    to a source vote for the model of that source.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``, or regressor; one model per source.
    domain_estimator : estimator, default=None
        Classifier of the sources. None: ``LogisticRegression(max_iter=1000)``.
    joint : bool, default=True
        Whether the domain classifier learns pairs of source and class, so that it
        separates classes as well. Regression has no classes and ignores this.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The mixture; without sources the fit on the labeled target rows.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    source_weights_ : ndarray of shape (n_sources,)
        Share of the target rows assigned to each source.
    domain_estimator_ : estimator or None
        The fitted domain classifier; None with fewer than two sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    MMDWeightedEnsemble : Weighs by a distance between samples.

    Notes
    -----
    With :math:`\hat d_j` the source that the domain classifier finds for target row
    :math:`j`,

    .. math:: w_k = \frac1{n_T} \sum_{j \in T} 1[\hat d_j = k] .

    With ``joint`` its classes are the pairs of source and class; the class is then
    dropped from its answer.

    References
    ----------
    Y. Zuo, H. Yao and C. Xu, "Attention-based multi-source domain adaptation", IEEE
    Transactions on Image Processing, 2021. :doi:`10.1109/TIP.2021.3065254`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import DomainRecognitionEnsemble
    >>> X = np.array([[0.0], [1.0], [8.0], [9.0], [0.1], [0.9], [1.1], [9.1]])
    >>> y = [0, 1, 0, 1] + 4 * [None]
    >>> domain = [1, 1, 2, 2, -1, -1, -1, -1]
    >>> model = DomainRecognitionEnsemble(LogisticRegression())
    >>> model.fit(X, y, sample_domain=domain).source_weights_
    array([0.75, 0.25])
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "domain_estimator": [HasLearnerMethods(["fit", "predict"]), None],
        "joint": ["boolean"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        domain_estimator: Any = None,
        joint: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator)
        self.domain_estimator = domain_estimator
        self.joint = joint
        self.n_jobs = n_jobs

    def _fit_estimator(self, data: Any, fit_params: dict[Any, Any]) -> Any:
        classifies = is_classifier(self.estimator)
        if classifies:
            check_has_proba(self.estimator, type(self).__name__)
        self.source_ids_ = data.sources
        self.source_weights_ = np.ones(len(data.sources))
        self.domain_estimator_ = None
        if not data.n_source:
            return fit_domain(self.estimator, data, data.is_labeled_target, fit_params)
        if self.domain_estimator is None and len(data.sources) > 1:
            self._numeric_rows(data.X)  # else domain_estimator decides what it takes
        models = fit_source_models(self.estimator, data, fit_params, self.n_jobs)
        if len(models) > 1:
            self._recognize(data, joint=self.joint and classifies)
        return mixture(self.estimator, models, self.source_weights_)

    def _recognize(self, data: Any, *, joint: bool) -> None:
        domain = np.searchsorted(data.sources, data.source_ids)
        n_classes = 1
        if joint:
            classes, label = np.unique(data.y_source, return_inverse=True)
            n_classes = len(classes)
            domain = domain * n_classes + label
        learner = self.domain_estimator
        learner = LogisticRegression(max_iter=1000) if learner is None else learner
        self.domain_estimator_ = fit_learner(learner, data.X_source, domain)
        found = predict_learner(self.domain_estimator_, data.X_target) // n_classes
        counts = np.bincount(found, minlength=len(data.sources))
        self.source_weights_ = counts / counts.sum()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        if self.domain_estimator is None:
            tags.input_tags.allow_nan = False
        else:
            domain_tags = get_tags(self.domain_estimator).input_tags
            tags.input_tags.sparse &= domain_tags.sparse
            tags.input_tags.allow_nan &= domain_tags.allow_nan
        return tags
