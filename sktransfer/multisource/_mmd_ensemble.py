"""MMDWeightedEnsemble: models of the sources, weighted by closeness of features."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils import get_tags

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._solvers.kernels import (
    ORIGIN_FREE_KERNELS,
    PSD_KERNELS,
    common_origin,
    kernel_row_means,
    resolve_gamma,
)
from sktransfer._source_models import (
    check_has_proba,
    fit_domain,
    fit_source_models,
    mixture,
)
from sktransfer.base import TransferMetaEstimator

__all__ = ["MMDWeightedEnsemble"]


class MMDWeightedEnsemble(TransferMetaEstimator):
    r"""Mix the models of the sources by the closeness of their rows to the target.

    One model is fitted per source, and one on the labeled target rows where there
    are any. The maximum mean discrepancy (MMD) between the rows of a source and all
    target rows, labeled or not, decides on the weight of its model.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``, or regressor.
    kernel : {"rbf", "laplacian", "linear", "cosine"}, default="rbf"
        Kernel of the MMD.
    gamma : "median", "scale" or float in (0, inf), default="median"
        Width of the kernel; "median" sets it by the distances of all rows.
    scale : "mean" or float in (0, inf), default="mean"
        Squared MMD at which a weight falls to 1/e of that of a perfect source.
        "mean" takes the mean over the sources.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The mixture; without sources the fit on the target.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    source_weights_ : ndarray of shape (n_sources,)
        Weights of the source models; with ``target_weight_`` they sum to 1.
    target_weight_ : float
        Weight of the model of the target, which grows with its labeled rows; 0
        without any.
    mmd_ : ndarray of shape (n_sources,)
        Squared MMD of each source to the target.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    PeerWeightedEnsemble : Adds how well the models do on each other's sources.
    UOWQ : Weighs the rows of the sources, by their labels.

    Notes
    -----
    The weight of source :math:`k` and that of the target model are proportional to

    .. math:: \delta_k = \exp(-\mathrm{MMD}_k^2 / \text{scale}), \qquad
        \delta_0 = \frac{n_0 - 1}{n_0 - 1 + p},

    with :math:`n_0` labeled target rows and :math:`p = (d + 1) \max(C - 1, 1)`, the
    number of coefficients of a linear model of :math:`d` features and :math:`C`
    classes. In [1]_ :math:`\delta_0 = 1`, the limit of many rows. The factor is about
    the share of the error of a fitted model that more rows would not remove. It keeps a
    model of a few rows from outvoting the sources. One row, which fits no more than a
    constant, counts nothing beside a source.

    References
    ----------
    .. [1] Z. Wang and J. Carbonell, "Towards more reliable transfer learning",
       ECML-PKDD 2018. :doi:`10.1007/978-3-030-10928-8_47`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import MMDWeightedEnsemble
    >>> X = np.array([[0.0], [1.0], [5.0], [6.0], [0.1], [0.9]])
    >>> y, domain = [0, 1, 0, 1, None, None], [1, 1, 2, 2, -1, -1]
    >>> model = MMDWeightedEnsemble(LogisticRegression(), scale=0.5)
    >>> model.fit(X, y, sample_domain=domain).source_weights_.round(1)
    array([1., 0.])
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "kernel": [StrOptions(set(PSD_KERNELS))],
        "gamma": [
            StrOptions({"median", "scale"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "scale": [StrOptions({"mean"}), Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        kernel: Any = "rbf",
        gamma: Any = "median",
        scale: Any = "mean",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator)
        self.kernel = kernel
        self.gamma = gamma
        self.scale = scale
        self.n_jobs = n_jobs

    def _fit_estimator(self, data: Any, fit_params: dict[Any, Any]) -> Any:
        if get_tags(self).estimator_type == "classifier":
            check_has_proba(self.estimator, type(self).__name__)
        X = self._validate_X(data.X, get_tags(self), reset=False)
        self.source_ids_ = data.sources
        target = []
        if data.n_labeled:
            rows = data.is_labeled_target
            target = [fit_domain(self.estimator, data, rows, fit_params)]
        models = fit_source_models(self.estimator, data, fit_params, self.n_jobs)
        self.mmd_ = source_mmd(data.with_X(X), self.kernel, self.gamma)
        closeness = -self.mmd_ / self._scale()
        share = 1.0
        if target:
            if data.n_source:
                share = target_share(data, X, is_classifier(self.estimator))
            with np.errstate(divide="ignore"):
                closeness = np.append(closeness, np.log(share))
        # a common factor changes no weight, and keeps them all from vanishing
        closeness = np.exp(closeness - closeness.max())
        return self._combine(models + target, closeness, share, data)

    def _scale(self) -> float:
        if self.scale != "mean":
            return self.scale
        return np.mean(self.mmd_) if self.mmd_.any() else 1.0

    def _combine(
        self, models: list[Any], closeness: NDArray[Any], share: float, data: Any
    ) -> Any:
        self._set_weights(closeness / closeness.sum())
        if not len(self.source_ids_):
            return models[0]
        weights = np.append(self.source_weights_, self.target_weight_)[: len(models)]
        return mixture(self.estimator, models, weights)

    def _set_weights(self, weights: NDArray[Any]) -> None:
        n = len(self.source_ids_)
        self.source_weights_ = weights[:n]
        self.target_weight_ = float(weights[n:].sum())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.uses_unlabeled = True
        return tags


def target_share(data: Any, X: Any, classify: bool) -> float:
    """Return how much the model of the labeled target rows counts, in [0, 1).

    Parameters
    ----------
    data : DomainData
        Rows of every domain.
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Their numeric features.
    classify : bool
        Whether the labels are classes.

    Returns
    -------
    share : float
        (n_0 - 1) / (n_0 - 1 + p), with p the number of coefficients of a linear model.
    """
    n_models = 1
    if classify:
        n_models = max(len(np.unique(data.labels(data.labeled))) - 1, 1)
    n_coefficients = (X.shape[1] + 1) * n_models
    return (data.n_labeled - 1) / (data.n_labeled - 1 + n_coefficients)


def source_mmd(data: Any, kernel: Any, gamma: Any) -> NDArray[Any]:
    """Compute the squared biased MMD of every source to all target rows.

    Parameters
    ----------
    data : DomainData
        Rows with numeric features.
    kernel : str
        Kernel.
    gamma : "median", "scale" or float
        Its width.

    Returns
    -------
    mmd : ndarray of shape (n_sources,)
        Squared MMD, not negative.
    """
    if not data.n_source:  # neither the width nor the target alone matters
        return np.empty(0)
    options = {"kernel": kernel, "gamma": resolve_gamma(gamma, data.X, kernel=kernel)}
    rows = common_origin(data.X)[0] if kernel in ORIGIN_FREE_KERNELS else data.X
    target = take_rows(rows, data.is_target)
    within = np.mean(kernel_row_means(target, target, **options))
    values = []
    for source in data.sources:
        X = take_rows(rows, data.rows_of(source))
        own = np.mean(kernel_row_means(X, X, **options))
        across = np.mean(kernel_row_means(X, target, **options))
        values.append(own + within - 2 * across)
    return np.maximum(np.array(values, dtype=np.float64), 0.0)
