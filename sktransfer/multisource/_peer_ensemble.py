"""PeerWeightedEnsemble: proximity of the sources, and models that ask their peers."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._compat import Interval
from sktransfer._domains import take_rows
from sktransfer._learners import predict_learner
from sktransfer._response import CommonColumns, all_classes
from sktransfer._source_models import (
    ProbaClassifier,
    check_has_proba,
)
from sktransfer.multisource._mmd_ensemble import MMDWeightedEnsemble

__all__ = ["PeerWeightedEnsemble"]


class PeerWeightedEnsemble(MMDWeightedEnsemble):
    r"""Mix source models by closeness and by how well they do on each other's rows.

    A model that is not confident about a row does not answer: it asks its peers,
    each as much as it is right about the rows of the asking model's source. Where
    target rows are labeled, their model is one of the peers.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``.
    mu : float in [0, 1], default=0.5
        Share of a model's own closeness in its weight; the rest comes from the
        closeness of the sources on which it does well. 1: by the MMD alone.
    sharpness : float in [0, inf), default=5.0
        How fast the weight of a peer falls with its error rate.
    tolerance : float in [0, 1], default=0.2
        A model is confident where its largest probability exceeds the second by at
        least this much. 0: no model asks.
    kernel : {"rbf", "laplacian", "linear", "cosine"}, default="rbf"
        Kernel of the MMD.
    gamma : "median", "scale" or float in (0, inf), default="median"
        Width of the kernel; "median" sets it by the distances of all rows.
    scale : "mean" or float in (0, inf), default="mean"
        Squared MMD at which closeness falls to 1/e of that of a perfect source.
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
    peer_matrix_ : ndarray of shape (n_models, n_models)
        Entry (i, j): how much model i trusts model j; rows sum to 1. The model of
        the target is the last one, if there is one. The diagonal is zero but for the
        trust in that model which its few rows do not earn.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    MMDWeightedEnsemble : Closeness alone.

    Notes
    -----
    With closeness :math:`\delta` of :class:`MMDWeightedEnsemble`,
    :math:`e_{ij}` the error rate of model :math:`j` on the rows of source :math:`i`
    and :math:`R_{ij} \propto \exp(-\text{sharpness} \cdot e_{ij})` for
    :math:`i \ne j`, every row of :math:`R` summing to 1,

    .. math::
        w \propto \delta^\top (\mu I + (1 - \mu) R), \qquad
        p(y | x) = \sum_k w_k p_k(y | x),

    where :math:`p_k` is the answer of model :math:`k` if it is confident at :math:`x`,
    and otherwise :math:`\sum_m R_{km} h_m(y | x)` with :math:`h_m` the model of source
    :math:`m`. The trust :math:`R_{k0}` in the model of the target counts with the share
    :math:`\delta_0 = (n_0 - 1) / (n_0 - 1 + p)`, as its closeness does; the rest stays
    with model :math:`k`.

    References
    ----------
    Z. Wang and J. Carbonell, "Towards more reliable transfer learning", ECML-PKDD
    2018. :doi:`10.1007/978-3-030-10928-8_47`

    Examples
    --------
    Two sources agree, the third has its labels upside down: no peer trusts it.

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import PeerWeightedEnsemble
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(160, 2))
    >>> domain = np.repeat([1, 2, 3, -1], 40)
    >>> y = np.where(domain == 3, X[:, 0] < 0, X[:, 0] > 0).astype(int)
    >>> y = np.where(domain == -1, np.nan, y)
    >>> model = PeerWeightedEnsemble(LogisticRegression(), mu=0.0)
    >>> model.fit(X, y, sample_domain=domain).peer_matrix_[0].round(2)
    array([0.  , 0.99, 0.01])
    """

    _parameter_constraints: dict[str, Any] = {
        **MMDWeightedEnsemble._parameter_constraints,
        "mu": [Interval(Real, 0, 1, closed="both")],
        "sharpness": [Interval(Real, 0, None, closed="left")],
        "tolerance": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        mu: Any = 0.5,
        sharpness: Any = 5.0,
        tolerance: Any = 0.2,
        kernel: Any = "rbf",
        gamma: Any = "median",
        scale: Any = "mean",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            estimator, kernel=kernel, gamma=gamma, scale=scale, n_jobs=n_jobs
        )
        self.mu = mu
        self.sharpness = sharpness
        self.tolerance = tolerance

    def _fit_estimator(self, data: Any, fit_params: dict[Any, Any]) -> "PeerMixture":
        check_has_proba(self.estimator, type(self).__name__)
        return super()._fit_estimator(data, fit_params)

    def _combine(
        self, models: list[Any], closeness: NDArray[Any], share: float, data: Any
    ) -> "PeerMixture":
        domains = [data.rows_of(source) for source in data.sources]
        if data.n_labeled:
            domains.append(data.is_labeled_target)
        R = peer_matrix(models, domains, data, self.sharpness)
        if data.n_labeled:
            kept = (1 - share) * R[:-1, -1]
            R[:-1, -1] -= kept
            R[np.arange(len(kept)), np.arange(len(kept))] += kept
        self.peer_matrix_ = R
        mixed = self.mu * closeness + (1 - self.mu) * closeness @ self.peer_matrix_
        if len(models) == 1:
            mixed = closeness
        self._set_weights(mixed / mixed.sum())
        if not len(self.source_ids_):
            return models[0]
        weights = np.append(self.source_weights_, self.target_weight_)[: len(models)]
        return PeerMixture(models, weights, self.peer_matrix_, self.tolerance)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.regression = False
        return tags


def peer_matrix(models: Any, domains: Any, data: Any, sharpness: float) -> NDArray[Any]:
    """Compute how much every model trusts its peers, by their errors on its rows.

    Parameters
    ----------
    models : list of estimators
        One fitted model per domain.
    domains : list of ndarray of shape (n_samples,)
        Mask of the rows of each domain.
    data : DomainData
        Rows and labels.
    sharpness : float
        Fall of the trust with the error rate.

    Returns
    -------
    R : ndarray of shape (n_models, n_models)
        Trust of row model in column model; a single model has none.
    """
    labeled = np.any(domains, axis=0)
    X, y = take_rows(data.X, labeled), data.labels(labeled)
    # one prediction per model, on the rows of all domains at once
    wrong = np.stack([predict_learner(model, X) != y for model in models])
    share = np.stack([rows[labeled] / rows.sum() for rows in domains])
    R = np.exp(-sharpness * (share @ wrong.T))
    np.fill_diagonal(R, 0.0)
    return R / np.maximum(R.sum(axis=1, keepdims=True), np.finfo(float).tiny)


class PeerMixture(ProbaClassifier):
    """Weighted mean of models that ask their peers where they are not confident."""

    def __init__(
        self,
        models: list[Any],
        weights: NDArray[Any],
        peers: NDArray[Any],
        tolerance: float,
    ) -> None:
        self.models = models
        self.weights = weights
        self.peers = peers
        self.tolerance = tolerance
        self.classes_ = all_classes(models)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict the mixture of own and asked probabilities."""
        columns = CommonColumns(self.classes_, "predict_proba")
        own = columns.answers(self.models, X)
        if len(self.models) == 1 or len(self.classes_) == 1:
            return np.tensordot(self.weights, own, axes=1)
        asked = np.tensordot(self.peers, own, axes=1)
        ranked = np.sort(own, axis=2)
        confident = ranked[..., -1] - ranked[..., -2] >= self.tolerance
        answers = np.where(confident[..., None], own, asked)
        return np.tensordot(self.weights, answers, axes=1)
