"""SingleBestSource: the one source whose model does best on labeled target rows."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_regressor
from sklearn.metrics import check_scoring, get_scorer_names

from sktransfer._compat import StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import LearnerMethodsMixin
from sktransfer._source_models import fit_domain, fit_source_models
from sktransfer.base import TransferMetaEstimator, is_scale_free

__all__ = ["SingleBestSource"]


class SingleBestSource(LearnerMethodsMixin, TransferMetaEstimator):
    r"""Choose one source by validation on the target, and fit to it and the target.

    The labeled target rows validate a model of every source alone; the learner is
    then fitted to the rows of the best source and the labeled target rows. It is the
    baseline that every weighting of sources has to beat.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor.
    scoring : str or callable, default=None
        Score of a source model on the labeled target rows, higher is better. None:
        accuracy for classifiers, negative mean squared error for regressors.
    include_target : bool, default=True
        Whether the final fit has the labeled target rows beside the source's.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The final fit; without sources the fit on the target.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    source_scores_ : ndarray of shape (n_sources,)
        Score of each source model on the labeled target rows.
    best_source_ : int or None
        Id of the chosen source, of several equal ones that of most rows; None
        without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.baselines.Pooled : All sources.
    UOWQ : A weight for every source.

    Notes
    -----
    With :math:`h_k` the model of source :math:`k` and :math:`S` the score on the
    labeled target rows, the choice is :math:`\arg\max_k S(h_k)`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.multisource import SingleBestSource
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [0.0], [2.0]])
    >>> y = [0.0, 1.0, 5.0, 0.0, 0.0, 2.2]
    >>> model = SingleBestSource(LinearRegression())
    >>> model.fit(X, y, sample_domain=[1, 1, 2, 2, -1, -1]).best_source_
    1
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "include_target": ["boolean"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        scoring: Any = None,
        include_target: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator)
        self.scoring = scoring
        self.include_target = include_target
        self.n_jobs = n_jobs

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        scoring = self.scoring
        if scoring is None and is_regressor(self.estimator):
            scoring = "neg_mean_squared_error"
        scorer = check_scoring(self.estimator, scoring=scoring or "accuracy")
        self.source_ids_ = data.sources
        self.source_scores_ = np.zeros(0)
        self.best_source_ = None
        target = data.is_labeled_target
        if not data.n_source:
            return fit_domain(self.estimator, data, target, fit_params)
        models = fit_source_models(self.estimator, data, fit_params, self.n_jobs)
        X, y = take_rows(data.X, target), data.y_labeled
        self.source_scores_ = np.array([scorer(model, X, y) for model in models])
        sizes = [data.rows_of(source).sum() for source in data.sources]
        best = int(np.lexsort((sizes, self.source_scores_))[-1])
        self.best_source_ = int(data.sources[best])
        if not self.include_target:
            return models[best]
        rows = target | data.rows_of(self.best_source_)
        return fit_domain(self.estimator, data, rows, fit_params)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.scale_free = is_scale_free(self.estimator)
        return tags
