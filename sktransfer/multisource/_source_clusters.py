"""SourceClusters: split sources into components, or merge many of them."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.base import is_classifier
from sklearn.utils import check_random_state, get_tags

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order, source_id, take_rows
from sktransfer._learners import (
    LearnerMethodsMixin,
    check_takes_sample_weight,
    fit_learner,
    name_samples,
)
from sktransfer._solvers.kernels import (
    common_origin,
    kernel_product,
    resolve_gamma,
)
from sktransfer._solvers.simplex_qp import solve_simplex_qp
from sktransfer.base import (
    TransferMetaEstimator,
    consumes_sample_domain,
    get_transfer_tags,
    slice_params,
)
from sktransfer.metrics._pair import fit_transfer
from sktransfer.metrics._source_parts import row_clusters, source_parts

__all__ = ["SourceClusters"]


class SourceClusters(LearnerMethodsMixin, TransferMetaEstimator):
    r"""Split each source into components, or merge similar sources.

    A source of which one part resembles the target and another does not becomes two
    sources, between which a method for several sources can choose. With
    ``merge=True`` many small sources become a few.

    Parameters
    ----------
    estimator : estimator
        Estimator with ``sample_domain`` and several sources, such as
        ``UOWQ(LogisticRegression())``: its sources are the components. Or a plain
        learner that takes ``sample_weight``: it is fitted on the labeled samples, with
        the weights of the components.
    n_components : int >= 1, default=2
        Components of each source (of each class in it with ``by_class``), or number of
        sources after merging.
    by_class : bool, default=False
        Cluster the samples of each class of a source for themselves; not for merging.
    merge : bool, default=False
        Merge sources whose kernel means are close, by average linkage, until
        ``n_components`` are left.
    gamma : "median", "scale" or float in (0, inf), default="median"
        Width of the Gaussian kernel of the means.
    alpha : float in [0, inf), default=0.01
        Penalty :math:`\lambda` of the squared weights.
    random_state : int, RandomState instance or None, default=0
        Seed of k-means.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    components_ : ndarray of shape (n_source,)
        Id 1, 2, ... of the component of each source sample, in input order.
    component_sources_ : list of tuple of int
        Ids of the sources that each component has samples of.
    component_weights_ : ndarray of shape (n_components,)
        Weights :math:`a_c`; they sum to 1.
    residual_ : float
        Scaled KKT residual of the weights.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourceInfluence : Leave out clusters by what they do to the score.
    MMDWeightedEnsemble : Weigh models of the sources by their kernel means.

    Notes
    -----
    With the means :math:`\mu_c` of the features :math:`k(x, \cdot)` over component c
    and :math:`\mu_T` over the target, the weights are

    .. math:: \arg\min_{a \ge 0, \sum a_c = 1} \Bigl\| \sum_c a_c \mu_c - \mu_T
              \Bigr\|^2 + \lambda \|a\|^2,

    which is the form of [1]_ without the metric that is learned there in turn. A plain
    learner gets the weight :math:`a_c n_S / n_c` for a sample of component c, which has
    :math:`n_c` of the :math:`n_S` source samples.

    A user's ``sample_weight`` goes to the estimator; clusters and means count samples.
    K-means and the kernel use the features as they are: scale them first. With one
    component of each source, no merging and an estimator with ``sample_domain`` the
    fit is that of the estimator.

    References
    ----------
    .. [1] C. Yi, Y. Xu, H. Yu, Y. Yan, Y. Liu, "Multi-component transfer metric
       learning for handling unrelated source domain samples", Knowledge-Based Systems
       203 (2020), :doi:`10.1016/j.knosys.2020.106132`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.multisource import SourceClusters
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(90, 1)) + np.repeat([0.0, 9.0, 0.0], 30)[:, None]
    >>> domain = np.repeat([1, 1, -1], 30)  # half of the source is far away
    >>> y = X[:, 0] * np.repeat([1.0, -1.0, 1.0], 30)
    >>> model = SourceClusters(Ridge()).fit(X, y, sample_domain=domain)
    >>> model.component_weights_.round(2)
    array([0.95, 0.05])
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "by_class": ["boolean"],
        "merge": ["boolean"],
        "gamma": [
            StrOptions({"median", "scale"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        n_components: Any = 2,
        *,
        by_class: bool = False,
        merge: bool = False,
        gamma: Any = "median",
        alpha: Any = 0.01,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.n_components = n_components
        self.by_class = by_class
        self.merge = merge
        self.gamma = gamma
        self.alpha = alpha
        self.random_state = random_state

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        if self.by_class and self.merge:
            raise ValueError("by_class=True splits sources; it has no use for merge.")
        if self.by_class and not is_classifier(self.estimator):
            raise ValueError("by_class=True needs classes, but estimator is no "
                             "classifier.")  # fmt: skip
        knows = consumes_sample_domain(self.estimator)
        if not knows:
            check_takes_sample_weight(self.estimator)
        X = self._numeric_rows(data.X)
        weight = fit_params.get("sample_weight")
        self._find_components(data.with_X(X), weight)
        if knows:
            ids = data.sample_domain.copy()
            ids[data.is_source] = self.components_
            params = {k: v for k, v in fit_params.items() if k != "sample_domain"}
            return fit_transfer(
                self.estimator, replace(data, sample_domain=ids), params
            )
        rows = data.labeled
        return fit_learner(
            self.estimator, take_rows(data.X, rows), data.labels(rows),
            method_weight=self._sample_weight(data, weight)[rows],
            samples=name_samples(data, rows), **slice_params(fit_params, rows),
        )  # fmt: skip

    def _find_components(self, data: Any, weight: NDArray[Any] | None) -> None:
        self.components_ = np.empty(0, dtype=np.int64)
        self.component_sources_, self.component_weights_ = [], np.empty(0)
        self.residual_ = 0.0
        if not data.n_source:
            return
        self._options: dict[str, Any] = {
            "kernel": "rbf",
            "gamma": resolve_gamma(self.gamma, data.X),
        }
        data = data.with_X(common_origin(data.X)[0])
        weight = np.ones(len(data.labeled)) if weight is None else weight
        codes = self._merged(data, weight) if self.merge else self._split(data)
        codes = np.unique(codes, return_inverse=True)[1]
        self.components_ = np.array([source_id(code) for code in codes])
        n = codes.max() + 1
        self.component_sources_ = [
            tuple(np.unique(data.source_ids[codes == c]).tolist()) for c in range(n)
        ]
        products, target = self._means(data, weight, codes, n)
        Q = 2 * (products + self.alpha * np.eye(n))
        self.component_weights_, info = solve_simplex_qp(Q, -2 * target)
        self.residual_ = info.kkt_residual

    def _split(self, data: Any) -> NDArray[Any]:
        """Return the component of each source row: clusters in a source or class."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        parts = source_parts(data, "class" if self.by_class else "source")[0]
        parts = parts[data.is_source]
        codes, n = np.empty(len(parts), dtype=np.intp), 0
        for part in range(parts.max() + 1):
            rows = np.flatnonzero(parts == part)
            found = row_clusters(
                take_rows(data.X_source, rows), self.n_components, seed
            )
            codes[rows] = found + n
            n += found.max() + 1
        return codes

    def _merged(self, data: Any, weight: NDArray[Any]) -> NDArray[Any]:
        """Return the group of the source of each source row."""
        position = np.searchsorted(data.sources, data.source_ids)
        n = len(data.sources)
        if n <= self.n_components:
            return position
        products = self._means(data, weight, position, n)[0]
        own = np.diagonal(products)
        squares = own[:, None] + own - 2 * products
        distances = np.sqrt(np.maximum(squares, 0.0))
        np.fill_diagonal(distances, 0.0)
        # the groups must not depend on the ids: sources in the order of their rows
        order = np.argsort([self._place(data, k) for k in data.sources], kind="stable")
        distances = distances[np.ix_(order, order)]
        tree = linkage(squareform(distances, checks=False), method="average")
        groups = np.empty(n, dtype=np.intp)
        groups[order] = fcluster(tree, self.n_components, criterion="maxclust")
        return groups[position]

    def _place(self, data: Any, source: int) -> float:
        """Return a number of a source that does not depend on its id."""
        order = canonical_order(data.X)
        rank = np.argsort(order)
        return rank[data.rows_of(source)].mean()

    def _means(
        self, data: Any, weight: NDArray[Any], codes: NDArray[Any], n: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the products of the kernel means of parts, and with the target's."""
        share = np.zeros((n, data.n_source))
        own = weight[data.is_source]
        share[codes, np.arange(data.n_source)] = own
        share /= share.sum(axis=1, keepdims=True)
        products, X = np.empty((n, n)), data.X_source
        target = data.X_target
        of_target = weight[data.is_target] / weight[data.is_target].sum()
        across = np.empty(n)
        for c in range(n):
            rows = np.flatnonzero(codes == c)
            part = take_rows(X, rows)
            for b in range(c + 1):
                others = np.flatnonzero(codes == b)
                means = kernel_product(
                    part, take_rows(X, others), share[b, others], **self._options
                )
                products[b, c] = products[c, b] = share[c, rows] @ means
            means = kernel_product(part, target, of_target, **self._options)
            across[c] = share[c, rows] @ means
        return products, across

    def _sample_weight(
        self, data: Any, user_weight: NDArray[Any] | None
    ) -> NDArray[Any]:
        """Return the weights of a plain learner."""
        weights = np.ones(len(data.labeled))
        if not data.n_source:
            return weights
        codes = self.components_ - 1
        own = np.ones(data.n_source)
        if user_weight is not None:
            own = np.asarray(user_weight, dtype=np.float64)[data.is_source]
        size = np.bincount(codes, own)
        weights[data.is_source] = (
            self.component_weights_[codes] * own.sum() / size[codes]
        )
        return weights

    def _restore_rows(self, data: Any, kept: NDArray[np.bool_]) -> None:
        codes = np.zeros(data.n_source, dtype=self.components_.dtype)
        codes[kept[data.is_source]] = self.components_
        self.components_ = codes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.uses_unlabeled = True
        if get_tags(self.estimator).target_tags.multi_output and self.by_class:
            tags.target_tags.multi_output = False
        try:
            inner = get_transfer_tags(self.estimator)
        except TypeError:  # a plain learner, which gets weights
            return tags
        tags.transfer_tags = inner
        inner.unlabeled_sources = False
        inner.multi_target = False
        inner.scale_free = False
        return tags
