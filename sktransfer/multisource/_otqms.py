"""OTQMS: how many rows of every source to add, all with weight one."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order
from sktransfer._solvers.simplex_qp import SOLVERS
from sktransfer._solvers.uowq import optimal_quantities
from sktransfer.base import TransferMetaEstimator, is_scale_free
from sktransfer.multisource._weighted_likelihood import likelihood_problem

__all__ = ["OTQMS"]


class OTQMS(TransferMetaEstimator):
    r"""Fit a likelihood model to target rows and well-chosen numbers of source rows.

    In place of weighting all rows of a source, as UOWQ does, it takes a random part
    of them, each with the weight of a target row, in the numbers that minimize the
    same expected KL divergence.

    Parameters
    ----------
    estimator : estimator
        Learner with a likelihood, see :class:`UOWQ`. It must take ``sample_weight``.
    quantities : {"static", "dynamic"}, default="dynamic"
        "static" computes the numbers once, from the fit on the target alone;
        "dynamic" alternates numbers and fits, with rows drawn anew each time.
    n_updates : int in [1, inf), default=5
        Number of updates when dynamic; fresh rows keep them from settling.
    random_state : int, RandomState instance or None, default=None
        Draws the rows. The draw does not depend on the order of the rows.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves for the numbers. Both are cvxpy's CLARABEL: the program has upper
        bounds, for which no faster solver is at hand.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The last fit.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    source_quantities_ : ndarray of shape (n_sources,)
        Number of rows taken from each source.
    kl_path_ : ndarray of shape (n_iter_ + 1,)
        Predicted KL divergence, first of the fit on the target alone, then of the
        numbers that each update found.
    n_iter_ : int
        Number of times that the numbers were computed; 1 without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    UOWQ : Weights of all rows in place of numbers of rows.

    Notes
    -----
    With :math:`s = \sum_k n_k`, :math:`\alpha_k = n_k / s` and the other symbols of
    :func:`uowq_weights`, the numbers minimize over :math:`0 \le n_k \le N_k`

    .. math::
        \frac d2 \Bigl[\frac1{N_0 + s} + \frac{s^2}{(N_0 + s)^2}
        \alpha^\top \frac{\Theta^\top J \Theta}{d} \alpha\Bigr] .

    With :math:`z = 1/(N_0 + s)` and :math:`u_k = n_k z` this is the convex quadratic
    program :math:`\min z + u^\top \Theta^\top J \Theta u / d` subject to
    :math:`\sum_k u_k + N_0 z = 1` and :math:`0 \le u_k \le N_k z`, which is solved.
    The measure is never smaller than that of the best weights on the same data. A
    user's ``sample_weight`` counts rows, as in :class:`UOWQ`: rows are drawn until the
    sum of their weights is nearest to :math:`n_k`.

    References
    ----------
    Q. Zhang et al., "A high-dimensional statistical method for optimizing transfer
    quantities in multi-source transfer learning", NeurIPS 2025. :arxiv:`2502.04242`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.multisource import OTQMS
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(230, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 30])
    >>> slope = np.where(domain == 2, 5.0, 1.0)
    >>> y = slope * X[:, 0] + rng.normal(size=230)
    >>> model = OTQMS(LinearRegression(), quantities="static", random_state=0)
    >>> near, far = model.fit(X, y, sample_domain=domain).source_quantities_
    >>> bool(near > 20 > 2 > far)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "quantities": [StrOptions({"static", "dynamic"})],
        "n_updates": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "solver": [StrOptions(SOLVERS)],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        quantities: str = "dynamic",
        n_updates: Any = 5,
        random_state: Any = None,
        solver: Any = "auto",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator)
        self.quantities = quantities
        self.n_updates = n_updates
        self.random_state = random_state
        self.solver = solver
        self.n_jobs = n_jobs

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        problem = likelihood_problem(self, data, fit_params)
        self.source_ids_ = problem.sources
        self.source_quantities_ = np.zeros(len(problem.sources), dtype=int)
        self.kl_path_, self.n_iter_ = np.full(2, np.nan), 1
        model = problem.fit_target()
        if not len(problem.sources):
            return model
        return self._alternate(problem, model)

    def _alternate(self, problem: Any, model: Any) -> Any:
        """Alternate numbers and fits, starting from the target alone."""
        rng = check_random_state(self.random_state)
        source_params = problem.parameters(problem.fit_sources())
        sizes = problem.source_sizes
        order = canonical_order(problem.X, problem.y)
        path: list[Any] = []
        for _ in range(self.n_updates if self.quantities == "dynamic" else 1):
            anchor = problem.likelihood.parameters(model)
            P, d = problem.root_differences(model, anchor, source_params)
            numbers, kl = optimal_quantities(P, problem.n_target, sizes, d)
            path = path or [d / (2 * problem.n_target)]
            path.append(kl)
            drawn = _draw(problem, order, numbers, rng)
            taken = [np.sum(drawn & (problem.domain == k)) for k in problem.sources]
            model = problem.fit_rows(drawn, np.ones(drawn.sum()))
            if not problem.shared.all():
                final, drawn = model, drawn & problem.shared
                model = problem.fit_rows(drawn, np.ones(drawn.sum()))
        self.source_quantities_ = np.array(taken)
        self.kl_path_, self.n_iter_ = np.array(path), len(path) - 1
        return model if problem.shared.all() else final

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.scale_free = is_scale_free(self.estimator)
        return tags


def _draw(
    problem: Any,
    order: NDArray[Any],
    quantities: NDArray[Any],
    rng: np.random.RandomState,
) -> NDArray[np.bool_]:
    """Mask of the target rows and of randomly drawn rows of every source.

    Rows and sources are drawn in the order of their values, whatever their ids; rows
    with weights until their sum is nearest to the quantity.
    """
    rows = problem.is_target.copy()
    groups = [order[problem.domain[order] == source] for source in problem.sources]
    rank = np.argsort(order)
    for i in np.argsort([rank[group[0]] for group in groups]):
        drawn = rng.permutation(groups[i])
        own = problem.weights_of(drawn)
        own = np.ones(len(drawn)) if own is None else own
        rows[drawn[np.cumsum(own) - own / 2 < quantities[i]]] = True
    return rows
