"""SAFEW: combine source models so that the worst case still beats a baseline."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import StrOptions
from sktransfer._learners import fit_learner, has_method, name_samples
from sktransfer._response import CommonColumns
from sktransfer._solvers.simplex_qp import SOLVERS
from sktransfer._source_models import (
    SourceModelsMixin,
    check_source_models,
    fit_simplex_weights,
    fit_sources,
    given_entries,
    is_fitted,
)
from sktransfer.base import BlendingMetaEstimator, slice_params
from sktransfer.exceptions import DomainError, warn


class SAFEW(SourceModelsMixin, BlendingMetaEstimator):
    r"""Combine source models by their worst-case gain over a target-only baseline.

    The weights need no labels: they maximize the gain over the baseline that is
    certain whatever convex combination of the source models is the truth.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor. A clone fitted on the labeled target rows is the
        baseline :math:`h_0`.
    source_models : estimator or list of them, default=None
        Source models. Fitted ones are used as they are and need no source rows, and
        clones keep them; a clone of every unfitted one is fitted on each source.
        None: a clone of ``estimator`` on each source. In a parameter grid give each
        fitted model as ``FrozenEstimator(model)``.
    loss : {"squared", "hinge"}, default="squared"
        ``"squared"``: of real labels, or of the matrix of class probabilities.
        ``"hinge"``: of one-vs-rest votes in {-1, 1}, for classifiers.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves the quadratic program of the squared loss: "auto" an active set,
        "cvxpy" CLARABEL. They agree to 1e-8. The linear program of the hinge loss is
        always solved by cvxpy.

    Attributes
    ----------
    estimator_ : estimator
        The baseline :math:`h_0`.
    source_models_ : list of estimator
        The fitted source models :math:`h_k`.
    source_names_ : list of str
        ``"source_models[i]"`` for a given model, the domain id for one fitted here.
    weights_ : ndarray of shape (n_source_models,)
        Weights :math:`a_k \ge 0` with sum 1; empty without source models, where the
        baseline predicts.
    safe_scores_ : ndarray of shape (n_rows,) or (n_rows, n_outputs or n_classes)
        The maximin prediction :math:`h` of the rows that the weights come from: the
        unlabeled target rows, the labeled ones if there is none.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.hypothesis.SecureRLS : Correct source models by target labels.

    Notes
    -----
    With the simplex :math:`\Delta` the prediction solves [1]_

    .. math::

        \max_h \min_{a \in \Delta} \ell\Big(h_0, \sum_k a_k h_k\Big)
        - \ell\Big(h, \sum_k a_k h_k\Big).

    :math:`h = h_0` gives 0, so the optimum is never negative: if the truth is a
    convex combination of the source models on these rows, :math:`h` is no worse than
    the baseline there. With the squared loss :math:`h = \sum_k a_k h_k` is the
    projection of :math:`h_0` on their convex hull. The hinge loss of votes in
    :math:`[-1, 1]` is :math:`1 - h'f` and gives a linear program; :math:`h` is the
    sign of :math:`\sum_k a_k h_k` where this is not 0.

    The guarantee is about ``safe_scores_``. For other rows the same weights are
    used: :math:`\sum_k a_k h_k(x)`, and the class of its largest column. A class
    that a source model has not seen has probability 0 there.

    References
    ----------
    .. [1] Y.-F. Li, L.-Z. Guo, Z.-H. Zhou. "Towards safe weakly supervised
       learning". IEEE Transactions on Pattern Analysis and Machine Intelligence
       43(1), 2021. :doi:`10.1109/TPAMI.2019.2922396`

    Examples
    --------
    The truth is close to the first of two sources; three labels are few.

    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.safe import SAFEW
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(260, 2))
    >>> domain = np.repeat([1, 2, -1], [30, 30, 200])
    >>> slopes = {1: [1.0, 1.0], 2: [-1.0, 1.0], -1: [0.8, 1.0]}
    >>> y = np.array([x @ slopes[d] for x, d in zip(X, domain)])
    >>> y += 0.5 * rng.normal(size=260)
    >>> seen = np.where(np.arange(260) < 63, y, np.nan)
    >>> model = SAFEW(LinearRegression()).fit(X, seen, sample_domain=domain)
    >>> model.weights_.round(1)
    array([0.7, 0.3])
    >>> round(model.score(X[63:], y[63:]), 2)
    0.75
    >>> round(model.estimator_.score(X[63:], y[63:]), 2)
    0.4
    """

    _parameter_constraints: dict[str, Any] = {
        **BlendingMetaEstimator._parameter_constraints,
        **SourceModelsMixin._source_models_constraints,
        "loss": [StrOptions({"squared", "hinge"})],
        "solver": [StrOptions(SOLVERS)],
    }

    def __init__(
        self,
        estimator: Any,
        source_models: Any = None,
        *,
        loss: Any = "squared",
        solver: Any = "auto",
    ) -> None:
        super().__init__(estimator)
        self.source_models = source_models
        self.loss = loss
        self.solver = solver

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        given = given_entries(self.source_models)
        self._check_input(given, data)
        rows = data.is_labeled_target
        params = slice_params(fit_params, rows) | {"samples": name_samples(data, rows)}
        baseline = fit_learner(self.estimator, data.X_labeled, data.y_labeled, **params)
        if not given:
            models = fit_sources([clone(self.estimator)], data, fit_params)
        else:
            models = fit_sources(given, data)
        self.source_models_, self.source_names_ = models
        X = data.X_unlabeled if data.n_target > data.n_labeled else data.X_labeled
        self._set_columns(data.y_labeled)
        goal = self._columns.answer(baseline, X, "estimator")
        self.weights_, scores = np.empty(0), goal
        if self.source_models_:
            names = [f"The source hypothesis {n}" for n in self.source_names_]
            columns = self._columns.answers(self.source_models_, X, names)
            if self.loss == "hinge":
                self.weights_, scores = safew_hinge(goal, columns)
            else:
                self.weights_, scores = safew_squared(goal, columns, self.solver)
        flat = not (is_classifier(self.estimator) or self._columns.n_outputs)
        self.safe_scores_ = scores[:, 0] if flat else scores
        return baseline

    def _check_input(self, given: list[Any], data: Any) -> None:
        """Refuse models and classes that cannot be combined, before any fit."""
        classify = is_classifier(self.estimator)
        if self.loss == "hinge" and not classify:
            raise ValueError(
                "loss='hinge' is for classifiers, but estimator="
                f"{self.estimator!r} is none: use loss='squared'."
            )
        soft = classify and self.loss == "squared"
        if soft and not has_method(self.estimator, "predict_proba"):
            raise TypeError(
                f"estimator={self.estimator!r} has no predict_proba, which "
                "loss='squared' needs: use loss='hinge' or a classifier with "
                "probabilities."
            )
        check_source_models(
            given,
            owner=self,
            n_features=getattr(self, "n_features_in_", None),
            method="predict_proba" if soft else "predict",
            learners=True,
        )
        if not classify:
            return
        classes = np.unique(data.y_labeled)
        for i, model in enumerate(given):
            if is_fitted(model) and hasattr(model, "classes_"):
                _check_classes(f"source_models[{i}]", model.classes_, classes)
        if not given or not all(map(is_fitted, given)):
            for domain, _, y in data.each_source():
                _check_classes(f"source {domain}", np.unique(y), classes)

    def _set_columns(self, y: Any) -> None:
        """Decide what the loss compares: values, probabilities or votes in {-1, 1}."""
        if not is_classifier(self.estimator):
            self._columns = CommonColumns(n_outputs=y.shape[1] if y.ndim == 2 else 0)
        elif self.loss == "squared":
            self._columns = CommonColumns(np.unique(y), "predict_proba")
        else:
            self._columns = CommonColumns(np.unique(y), "predict", absent=-1.0)

    def _blend(self, X: Any) -> NDArray[Any]:
        if not self.source_models_:
            return self._columns.answer(self.estimator_, X)
        return self._columns.blend(self.source_models_, self.weights_, X)

    def _check_answers(self, method: str) -> None:
        votes = is_classifier(self.estimator) and self.loss == "hinge"
        if method == "decision_function" and not votes:
            raise AttributeError(f"{method} needs a classifier and loss='hinge'")
        if method in {"predict_proba", "predict_log_proba"} and votes:
            raise AttributeError(f"{method} needs loss='squared'")
        if method != "decision_function":
            super()._check_answers(method)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.source_free = True
        return tags


def _check_classes(name: str, known: NDArray[Any], classes: NDArray[Any]) -> None:
    unseen = np.setdiff1d(known, classes)
    if len(unseen):
        raise DomainError(
            f"{name} knows the classes {unseen.tolist()}, but no labeled target row "
            "has them: label a target row of each class or leave these source rows out."
        )


def safew_squared(
    goal: Any, columns: Any, solver: Any = "auto"
) -> tuple[NDArray[Any], NDArray[Any]]:
    r"""Project the baseline's predictions on the hull of the models' predictions.

    Parameters
    ----------
    goal : ndarray of shape (n, n_columns)
        Predictions of the baseline.
    columns : ndarray of shape (n_models, n, n_columns)
        Predictions of the models.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves the quadratic program.

    Returns
    -------
    weights : ndarray of shape (n_models,)
        Point of the simplex.
    scores : ndarray of shape (n, n_columns)
        The projection.
    """
    rows = columns.reshape(len(columns), -1)
    weights = fit_simplex_weights(rows, goal.ravel(), solver)
    return weights, np.tensordot(weights, columns, axes=1)


def safew_hinge(
    goal: Any, columns: Any, *, tol: float = 1e-5
) -> tuple[NDArray[Any], NDArray[Any]]:
    r"""Solve :math:`\max_{|h| \le 1} \min_k (h - h_0)'f_k` for votes in [-1, 1].

    Parameters
    ----------
    goal : ndarray of shape (n, n_columns)
        Votes :math:`h_0` of the baseline.
    columns : ndarray of shape (n_models, n, n_columns)
        Votes :math:`f_k` of the models.
    tol : float, default=1e-5
        Duality gap relative to the number of votes that counts as solved.

    Returns
    -------
    weights : ndarray of shape (n_models,)
        Multipliers of the models, a point of the simplex.
    scores : ndarray of shape (n, n_columns)
        The maximin votes :math:`h`.
    """
    import cvxpy as cp

    votes = np.vstack([goal.ravel(), columns.reshape(len(columns), -1)])
    # equal patterns of votes share one variable: seldom more than a few dozen
    patterns, inverse, counts = np.unique(
        votes, axis=1, return_inverse=True, return_counts=True
    )
    share = counts / counts.sum()
    h = cp.Variable(len(share))
    worst = cp.Variable()
    gains = (patterns[1:] * share) @ (h - patterns[0])
    limits = [gains >= worst, h <= 1, h >= -1]
    # an interior point treats equal models alike, whatever the order of the rows
    problem: Any = cp.Problem(cp.Maximize(worst), limits)
    problem.solve(solver=cp.CLARABEL)
    weights = np.clip(limits[0].dual_value, 0, None)
    weights /= weights.sum()
    scores = np.clip(np.asarray(h.value), -1, 1)
    mean = weights @ patterns[1:]
    upper = share @ (np.abs(mean) - patterns[0] * mean)
    lower = ((patterns[1:] * share) @ (scores - patterns[0])).min()
    if upper - lower > tol:
        warn(
            "The linear program of SAFEW did not converge: duality gap "
            f"{upper - lower:.2g}.",
            ConvergenceWarning,
        )
    return weights, scores[inverse].reshape(goal.shape)
