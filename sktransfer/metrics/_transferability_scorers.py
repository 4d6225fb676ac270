"""Scorers of transferability for model selection."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.metadata_routing import MetadataRequest

from sktransfer._compat import StrOptions, validate_params
from sktransfer._domains import check_domains, check_scorable
from sktransfer.exceptions import DomainError
from sktransfer.metrics._gbc import gbc
from sktransfer.metrics._h_score import h_score
from sktransfer.metrics._leep import leep, n_leep, nce
from sktransfer.metrics._logme import logme
from sktransfer.metrics._otce import otce
from sktransfer.metrics._silhouette import silhouette
from sktransfer.metrics._source_model import (
    source_features,
    source_labels,
    source_probabilities,
)
from sktransfer.metrics._transrate import transrate

#: these compare classes; logme also takes values
_OF_CLASSES = (gbc, h_score, leep, n_leep, nce, otce, silhouette, transrate)
_RESPONSES = {
    "features": source_features,
    "predict_proba": source_probabilities,
    "predict": source_labels,
}


@validate_params(
    {"score_func": [callable], "response": [StrOptions(set(_RESPONSES))]},
    prefer_skip_nested_validation=True,
)
def make_transferability_scorer(
    score_func: Any, *, response: str = "features", **kwargs: Any
) -> "_Scorer":
    """Make a scorer ``(estimator, X, y)`` of a function of a source model's output.

    Parameters
    ----------
    score_func : callable
        ``score_func(output, y, **kwargs)``, higher is better. If it has an argument
        ``task``, that is "classification" for a classifier and "regression" for a
        regressor unless given here.
    response : {"features", "predict_proba", "predict"}, default="features"
        Output of the source model for the rows that are scored. "features" are the
        transformed rows of a transformer or of a pipeline without its last step, or
        the input of the last layer of a net.
    **kwargs : dict
        Further arguments of `score_func`.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` for ``GridSearchCV`` and ``cross_validate``.

    See Also
    --------
    make_otce_scorer : Scorer that also needs source rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sktransfer.metrics import h_score, make_transferability_scorer
    >>> X = np.random.RandomState(0).normal(size=(20, 5))
    >>> scorer = make_transferability_scorer(h_score, shrinkage=0.1)
    >>> bool(scorer(PCA(2).fit(X), X, np.arange(20) % 2) >= 0)
    True
    """
    return _Scorer(score_func, response, kwargs)


class _Scorer:
    """Callable ``(estimator, X, y)`` on labeled target rows; higher is better."""

    def __init__(
        self, score_func: Callable[..., Any], response: str, kwargs: dict[str, Any]
    ) -> None:
        self.score_func = score_func
        self.response = response
        self.kwargs = kwargs

    def __call__(
        self, estimator: Any, X: Any, y: Any, *, task: str | None = None
    ) -> float:
        check_scorable(y)
        if self.score_func in _OF_CLASSES and task is None:
            check_compares_classes(self.score_func, estimator, y)
        task = self._task(estimator, task)
        output = _RESPONSES[self.response](estimator, X)
        return self.score_func(output, y, **task | self.kwargs)

    def _task(self, estimator: Any, task: str | None) -> dict[str, Any]:
        """Return the task of the estimator for a function that asks for it."""
        if "task" not in signature(self.score_func).parameters:
            return {}
        if task is not None:
            return {"task": task}
        if is_classifier(estimator):
            return {"task": "classification"}
        return {"task": "regression"} if is_regressor(estimator) else {}

    def __repr__(self) -> str:
        options = "".join(f", {k}={v!r}" for k, v in self.kwargs.items())
        name = self.score_func.__name__
        return (
            f"make_transferability_scorer({name}, response={self.response!r}{options})"
        )


def check_compares_classes(
    score_func: Callable[..., Any], estimator: Any, y: Any
) -> None:
    """Refuse numbers as classes where the estimator treats them as values."""
    if is_regressor(estimator) and np.asarray(y).dtype.kind in "iuf":
        raise ValueError(
            f"{score_func.__name__} compares classes, but {type(estimator).__name__} "
            "is a regressor, for which the numbers in y are values: use logme_scorer. "
            "If they are classes, pass them as text."
        )


def make_otce_scorer(
    X_source: Any = None, y_source: Any = None, **kwargs: Any
) -> "_OTCEScorer":
    """Make a scorer of OTCE that holds the source rows.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features), default=None
        Source rows, in the form that the source model takes. None: the scorer takes
        the source rows from the rows that it is called with, by ``sample_domain``.
    y_source : array-like of shape (n_source,), default=None
        Classes of these rows.
    **kwargs : dict
        Further arguments of :func:`otce`.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_domain=None)``.

    See Also
    --------
    otce : The score.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sktransfer.metrics import make_otce_scorer
    >>> X, y = np.array([[0.0], [1.0], [5.0], [6.0]]), [0, 0, 1, 1]
    >>> scorer = make_otce_scorer(X, y)
    >>> scorer(StandardScaler().fit(X), X + 0.1, ["a", "a", "b", "b"]) > -0.01
    True
    """
    if (X_source is None) != (y_source is None):
        raise ValueError("Give both X_source and y_source, or none of them.")
    return _OTCEScorer(X_source, y_source, kwargs)


class _OTCEScorer:
    """Callable ``(estimator, X, y, sample_domain)``; higher is better."""

    def __init__(
        self,
        X_source: NDArray[Any] | None,
        y_source: NDArray[Any] | None,
        kwargs: dict[Any, Any],
    ) -> None:
        self.X_source = X_source
        self.y_source = y_source
        self.kwargs = kwargs

    def get_metadata_routing(self) -> Any:
        """Request ``sample_domain`` of the scored rows."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sample_domain", alias=True)
        return request

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_domain: Any = None
    ) -> float:
        data = check_domains(X, y, sample_domain, numeric_labels=None)
        if not data.n_labeled:
            raise DomainError("OTCE needs labeled target rows, but y labels none.")
        X_source, y_source = self.X_source, self.y_source
        if X_source is None:
            if not data.n_source:
                raise DomainError(
                    "otce_scorer needs source rows among the scored rows. Where a "
                    "splitter tests on target rows only, use "
                    "make_otce_scorer(X_source, y_source)."
                )
            X_source, y_source = data.X_source, data.y_source
        check_compares_classes(otce, estimator, data.y_labeled)
        return otce(
            source_features(estimator, X_source),
            y_source,
            source_features(estimator, data.X_labeled),
            data.y_labeled,
            **self.kwargs,
        )

    def __repr__(self) -> str:
        return "make_otce_scorer(...)"


leep_scorer = make_transferability_scorer(leep, response="predict_proba")
nce_scorer = make_transferability_scorer(nce, response="predict")
n_leep_scorer = make_transferability_scorer(n_leep, random_state=0)
h_score_scorer = make_transferability_scorer(h_score, shrinkage="ledoit_wolf")
logme_scorer = make_transferability_scorer(logme)
transrate_scorer = make_transferability_scorer(transrate, standardize=True)
silhouette_scorer = make_transferability_scorer(silhouette)
gbc_scorer = make_transferability_scorer(gbc)
otce_scorer = make_otce_scorer()
