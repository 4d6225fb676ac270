"""Trans-GLM: a lasso on the target and its best sources, corrected on the target."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, d2_tweedie_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import check_scorable
from sktransfer._response import union_of_classes
from sktransfer._solvers.aggregation import (
    exponential_weights,
    q_weights,
    select_weights,
)
from sktransfer._solvers.glm import glm_losses, glm_mean
from sktransfer._solvers.l1_glm import QuadraticPart, RowsPart, fit_l1_glm
from sktransfer.exceptions import warn
from sktransfer.multisource._summarize import labels_as_goal
from sktransfer.multisource._summary_estimator import Coordinates, SummaryEstimator

__all__ = ["TransGLM"]

_PENALTIES = (1.0, 0.5, 0.25, 0.1, 0.05)
_CORRECTIONS = (np.inf, 1.0, 0.5, 0.25, 0.1)


def _classifies(estimator: Any) -> bool:
    return estimator.family == "binomial"


class TransGLM(SummaryEstimator):
    r"""Sparse regression on the target and its best sources, corrected on the target.

    A source is kept if the lasso on it and the target has no larger loss on held-out
    target rows than that on the target alone. The lasso on the target and the kept
    sources is corrected by a second lasso on the target alone. Other ways of
    ``aggregation`` order the sources by how well their coefficients explain the target,
    and average such fits with the best 0, 1, ... sources.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows. A Gaussian summary needs
        ``noise``; with more than two classes only rows can be used.
    family : {"gaussian", "binomial", "poisson"}, default="gaussian"
        "binomial" makes this a classifier, of more than two classes one against the
        rest; else it is a regressor.
    penalties : array-like, default=None
        Penalties of the first lasso that are tried, positive, relative to
        :math:`s \sqrt{2 \log (2 d) / N}`, see Notes. None: 1, 0.5, 0.25, 0.1, 0.05.
    correction_penalties : array-like, default=None
        Penalties of the correction that are tried, in the same unit for the rows of
        the target; infinity: no correction. None: infinity, 1, 0.5, 0.25, 0.1.
    aggregation : {"exponential", "q", "select", "detect"}, default="detect"
        "detect" is the rule of [2]_: the one set of the sources whose held-out
        loss is not above that without sources by more than ``detection_constant``
        standard deviations over the folds, or 0.01 if these are smaller; none if
        nothing can be held out. Else the fits with the best 0, 1, ... sources are
        weighted: by exponential weights, Q-aggregation, or the best alone.
    temperature : float in [0, inf], default=4.0
        Temperature of "exponential" and "q"; the other ways have none.
    detection_constant : float in [0, inf), default=0.0
        Constant of "detect". Larger ones, 2 in [2]_, keep more sources, useless ones
        among them.
    cv : int, splitter or iterable, default=5
        Folds of the labeled target rows.
    fit_intercept : bool, default=True
        Fit an intercept of its own for every domain.
    random_state : int, RandomState instance or None, default=0
        Deals the rows to the folds.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_logits, n_features)
        Coefficients; of a classifier one row of two classes, else one per class.
    intercept_ : float or ndarray of shape (n_logits,)
        Intercepts.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only of a classifier.
    source_names_ : list of str
        Ids of the sources among the rows, then ``"source_summaries[i]"``.
    ranking_ : ndarray of shape (n_sources,)
        Positions of the sources in ``source_names_``, the best first.
    set_weights_ : ndarray of shape (n_sets,)
        Weights of the fits with the best 0, 1, ... sources; with "detect" of the fit
        without sources and of that with the detected ones.
    source_weights_ : ndarray of shape (n_sources,)
        Total weight of the fits that use a source, in the order of ``source_names_``.
    held_out_loss_ : ndarray of shape (n_sets,)
        Mean held-out loss of these fits (negative log-likelihood less a constant).
    penalty_, correction_penalty_ : ndarray of shape (n_sets,)
        Penalties that were chosen for each fit.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    EmpiricalBayesRidge : For coefficients that are not sparse.
    SourceSelector : Chooses sources for any learner.

    Notes
    -----
    For a set A of sources [1]_ [2]_

    .. math:: \hat w = \arg\min_w \frac1N \sum_{k \in \{0\} \cup A} L_k(w)
              + \lambda_w \|w\|_1, \qquad
              \hat\delta = \arg\min_\delta \frac1{n_0} L_0(\hat w + \delta)
              + \lambda_\delta \|\delta\|_1

    and :math:`\hat\beta = \hat w + \hat\delta`, on standardized features, with the
    intercept of each domain minimized out. Without sources the second step is left out:
    the target's lasso. The unit of the penalties is :math:`s \sqrt{2 \log(2 d) / N}`,
    s the standard deviation of the target's labels, d the number of features.

    Sources are ordered by the sum of the :math:`n_0 / 2` largest squared entries of
    :math:`X_0' (y_0 - \mu(X_0 \hat b_k)) / n_0`, the gradient that the source's own
    lasso leaves on the target. Order, penalties and fits are made anew without each
    held-out fold; the squared errors of the held-out means give the weights. The
    penalties of each fit are chosen on the same folds, so ``held_out_loss_`` is a
    little optimistic.

    *What to expect.* The defaults were chosen by ``benchmarks/source_rules.py`` on
    generated and real tasks whose sources were useful, in part useless, or all useless.
    On generated ones, with five or all of the coefficients not 0, the error of the
    predicted means was 0.22, 0.38 and 1.04 times that of the target alone, and 0.28,
    0.49 and 1.04 with exponential weights. On real ones with labels that hold noise the
    two were level, 0.82, 0.84 and 0.94, and 0.81, 0.84 and 0.95.

    *Limits.* Held-out losses compare predictions, not coefficients, and of classes,
    whose labels are noisy, they lie close together, so that a useless source may be
    kept and only the correction protects. With more features than samples compare with
    a fit without sources, by :class:`~sktransfer.safe.TransferGuard`.

    References
    ----------
    .. [1] S. Li, T. T. Cai, H. Li. "Transfer learning for high-dimensional linear
       regression: prediction, estimation and minimax optimality". Journal of the Royal
       Statistical Society B 84(1), 2022. :doi:`10.1111/rssb.12479`

    .. [2] Y. Tian, Y. Feng. "Transfer learning under high-dimensional generalized
       linear models". Journal of the American Statistical Association 118(544), 2023.
       :doi:`10.1080/01621459.2022.2071278`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import TransGLM
    >>> rng = np.random.default_rng(0)
    >>> X, beta = rng.normal(size=(230, 30)), np.repeat([1.0, 0.0], [5, 25])
    >>> domain = np.repeat([1, 2, -1], [100, 100, 30])
    >>> y = X @ beta + rng.normal(size=230)
    >>> y[domain == 2] = rng.normal(size=100) - 3 * X[domain == 2, 10]
    >>> model = TransGLM().fit(X, y, sample_domain=domain)
    >>> bool(model.source_weights_[0] > 0.8 > 0.1 > model.source_weights_[1])
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **SummaryEstimator._parameter_constraints,
        "family": [StrOptions({"gaussian", "binomial", "poisson"})],
        "penalties": ["array-like", None],
        "correction_penalties": ["array-like", None],
        "aggregation": [StrOptions({"exponential", "q", "select", "detect"})],
        "temperature": [Interval(Real, 0, None, closed="both")],
        "detection_constant": [Interval(Real, 0, None, closed="left")],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        source_summaries: Any = None,
        *,
        family: str = "gaussian",
        penalties: Any = None,
        correction_penalties: Any = None,
        aggregation: str = "detect",
        temperature: Any = 4.0,
        detection_constant: Any = 0.0,
        cv: Any = 5,
        fit_intercept: bool = True,
        random_state: Any = 0,
    ) -> None:
        self.source_summaries = source_summaries
        self.family = family
        self.penalties = penalties
        self.correction_penalties = correction_penalties
        self.aggregation = aggregation
        self.temperature = temperature
        self.detection_constant = detection_constant
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.random_state = random_state

    @property
    def _families(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.family,)

    def _fit_tasks(
        self,
        data: Any,
        weight: NDArray[Any],
        summaries: list[tuple[str, Any]],
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
    ) -> None:
        grids = [
            _grid(self.penalties, _PENALTIES, "penalties"),
            _grid(self.correction_penalties, _CORRECTIONS, "correction_penalties"),
        ]
        classes = self._check_labels(data, summaries)
        coordinates = Coordinates(
            data, weight, summaries, fit_intercept=self.fit_intercept,
            shift=self.family == "gaussian",
        )  # fmt: skip
        problem = _Problem(self, data, weight, summaries, coordinates, classes, grids)
        self.source_names_ = problem.names
        rows = np.flatnonzero(data.is_labeled_target)
        if self.aggregation == "detect" and problem.names:
            sets = self._detect(problem, rows, folds)
        else:
            sets = problem.nested
        best, mean_loss, residuals = _cross_fit(problem, rows, folds, sets)
        self.set_weights_ = self._weigh(residuals)
        self.held_out_loss_ = mean_loss
        used = sets(problem.rank(rows))
        targets = problem.targets(rows)
        fits = [
            problem.fit(targets, A, [grids[0][i]], [grids[1][j]])[:, 0, 0]
            for A, (i, j) in zip(used, best, strict=True)
        ]
        theta = np.tensordot(self.set_weights_, np.array(fits), axes=1)
        self.ranking_ = problem.rank(rows)
        self.penalty_ = np.array([grids[0][i] for i, _ in best])
        self.correction_penalty_ = np.array([grids[1][j] for _, j in best])
        self.source_weights_ = np.array([
            sum(w for w, A in zip(self.set_weights_, used, strict=True) if k in A)
            for k in range(len(problem.names))
        ], dtype=np.float64)  # fmt: skip
        self._store(problem, rows, theta, coordinates, data.X.dtype)
        if problem.residual > 1e-4:
            warn(
                "A lasso of TransGLM did not converge: relative violation of the "
                f"optimality conditions {problem.residual:.2g}. Larger penalties help.",
                ConvergenceWarning,
            )

    def _check_labels(
        self, data: Any, summaries: list[tuple[str, Any]]
    ) -> NDArray[Any] | None:
        y = data.labels(data.labeled)
        if _classifies(self):
            check_classification_targets(y)
            known = [s.classes for _, s in summaries]
            self.classes_ = union_of_classes([np.unique(y), *known])
            if len(self.classes_) < 2:
                raise ValueError(
                    "Labels of at least two classes are needed, but all labeled rows "
                    f"have one class: {self.classes_.tolist()[0]!r}."
                )
            for name, summary in summaries:
                if not np.array_equal(summary.classes, self.classes_):
                    raise ValueError(
                        f"{name} has the classes {summary.classes.tolist()}, but "
                        f"{self.classes_.tolist()} are needed, two classes."
                    )
            return self.classes_
        if self.family == "poisson" and (y.astype(float) < 0).any():
            raise ValueError('family="poisson" needs labels of 0 or more in y.')
        for name, summary in summaries:
            if self.family == "gaussian" and summary.noise is None:
                raise ValueError(
                    f"{name} has no noise, which TransGLM needs to weigh its squared "
                    "residuals: give SourceSummary(noise=...)."
                )
        return None

    def _weigh(self, residuals: NDArray[Any]) -> NDArray[Any]:
        n_sets, n = residuals.shape[0], residuals.shape[1]
        prior = np.full(n_sets, 1 / n_sets)
        losses = np.sum(residuals.reshape(n_sets, -1) ** 2, axis=1)
        if self.aggregation == "detect":  # the last set holds the detected sources
            return np.eye(n_sets)[-1]
        if not n:
            return prior
        if self.aggregation == "select":
            return select_weights(losses, prior)
        if self.aggregation == "q" and self.temperature > 0:
            flat = residuals.reshape(n_sets, -1)
            return q_weights(flat @ flat.T, n, self.temperature, prior)[0]
        return exponential_weights(losses, n, self.temperature, prior)

    def _detect(
        self,
        problem: "_Problem",
        rows: NDArray[Any],
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
    ) -> Callable[..., Any]:
        """Return the function that gives the sets: none, and the detected sources."""

        def singles(ranking: NDArray[Any]) -> list[list[int]]:
            return [[], *([k] for k in range(len(ranking)))]

        best, _, _ = _cross_fit(problem, rows, folds, singles, correct=False)
        kept = []
        if folds:
            losses = np.array([
                _fold_losses(problem, rows, fold, singles, best) for fold in folds
            ])  # fmt: skip
            spread = max(float(losses[:, 0].std()), 0.01)
            bound = losses[:, 0].mean() + self.detection_constant * spread
            kept = np.flatnonzero(losses[:, 1:].mean(axis=0) <= bound).tolist()
        return lambda ranking: [[], kept]

    def _store(
        self,
        problem: "_Problem",
        rows: NDArray[Any],
        theta: NDArray[Any],
        coordinates: Coordinates,
        dtype: Any,
    ) -> None:
        intercepts = problem.intercepts(rows, theta)
        if self.fit_intercept:
            theta = np.column_stack([theta, intercepts])
        coef, intercept = coordinates.raw(theta)
        dtype = dtype if dtype == np.float32 else np.float64
        self.coef_ = coef.astype(dtype)
        self.intercept_: Any = np.asarray(intercept, dtype=np.float64)
        if not _classifies(self):
            self.coef_, self.intercept_ = self.coef_[0], float(self.intercept_[0])

    def _linear(self, X: Any) -> NDArray[Any]:
        return self._validate_rows(X) @ self.coef_.T + self.intercept_

    @available_if(_classifies)
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Compute the linear predictors of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds; of two classes those of the second.
        """
        eta = self._linear(X)
        return eta[:, 0] if eta.shape[1] == 1 else eta

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict class probabilities of target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``; of more than two classes those
            of one against the rest, divided by their sum.
        """
        eta = self._linear(X)
        if eta.shape[1] == 1:
            return special.expit(np.column_stack([-eta[:, 0], eta[:, 0]]))
        return special.softmax(special.log_expit(eta), axis=1)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Means, or the most probable classes.
        """
        eta = self._linear(X)
        if not _classifies(self):
            return glm_mean(self.family, eta)
        best = eta[:, 0] > 0 if eta.shape[1] == 1 else eta.argmax(axis=1)
        return self.classes_[best.astype(np.intp)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions on labeled target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows.
        y : array-like of shape (n_samples,)
            Their labels; a marker of a missing label is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Accuracy ("binomial"), R2 ("gaussian") or the explained share of the
            deviance ("poisson").

        Raises
        ------
        UnlabeledTargetError
            If a row of ``y`` carries a marker.
        """
        check_is_fitted(self)
        check_scorable(y, getattr(self, "classes_", None))
        predicted = self.predict(X)
        if _classifies(self):
            return float(accuracy_score(y, predicted, sample_weight=sample_weight))
        if self.family == "poisson":
            return float(
                d2_tweedie_score(y, predicted, sample_weight=sample_weight, power=1)
            )
        return r2_score(y, predicted, sample_weight=sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        classifies = _classifies(self)
        tags.estimator_type = "classifier" if classifies else "regressor"
        if classifies:
            tags.classifier_tags = ClassifierTags()
        else:
            tags.regressor_tags = RegressorTags()
        tags.target_tags.required = True
        tags.target_tags.positive_only = self.family == "poisson"
        tags.transfer_tags.classification = classifies
        tags.transfer_tags.regression = not classifies
        return tags


class _Problem:
    """Parts of the loss in standardized coordinates, for every linear predictor."""

    def __init__(
        self,
        owner: TransGLM,
        data: Any,
        weight: NDArray[Any],
        summaries: list[tuple[str, Any]],
        coordinates: Coordinates,
        classes: NDArray[Any] | None,
        grids: list[NDArray[Any]],
    ) -> None:
        self.family, self.fit_intercept = owner.family, owner.fit_intercept
        self.grids, self.residual = grids, 0.0
        d = data.X.shape[1]
        self.X = coordinates.design(data.X)[:, :d]
        self.weight = weight
        labels = data.labels(data.labeled)
        goal = labels_as_goal(labels, classes)
        self.y = np.zeros((len(weight), goal.shape[1]))
        self.y[data.labeled] = goal - coordinates.shift
        self.unit = np.sqrt(2 * np.log(2 * d))
        self.names = [str(int(k)) for k in data.sources] + [n for n, _ in summaries]
        self.sources = [
            [self.part(np.flatnonzero(data.rows_of(k)), c) for k in data.sources]
            + [self._summary_part(s, coordinates) for _, s in summaries]
            for c in range(goal.shape[1])
        ]
        # the scale of the labels is that of all labeled target rows in every fold
        own = np.flatnonzero(data.is_labeled_target)
        mean = np.average(self.y[own], axis=0, weights=weight[own])
        spread = np.average((self.y[own] - mean) ** 2, axis=0, weights=weight[own])
        self.scale = np.sqrt(spread)
        if self.family == "poisson":
            self.scale = np.sqrt(mean)
        typical = np.sqrt(np.average(self.y**2, axis=0)) if len(own) else 1.0
        self.scale = np.where(self.scale > 0, self.scale, np.maximum(typical, 1e-12))
        self.own: Any = [
            _sparse_vectors([part], self, c)
            for c in range(goal.shape[1])
            for part in self.sources[c]
        ]
        self.own = np.array(self.own).reshape(goal.shape[1], len(self.names), d)

    def part(self, rows: NDArray[Any], c: int) -> Any:
        """Return the loss of rows for the linear predictor c."""
        X, y, w = self.X[rows], self.y[rows, c], self.weight[rows]
        if self.family != "gaussian":
            return RowsPart(self.family, X, y, w, self.fit_intercept)
        if self.fit_intercept:
            X = X - np.average(X, axis=0, weights=w)
            y = y - np.average(y, weights=w)
        return QuadraticPart((X * w[:, None]).T @ X, X.T @ (w * y), float(w.sum()))

    def _summary_part(self, summary: Any, coordinates: Coordinates) -> QuadraticPart:
        vector, information = coordinates.standardized(summary)
        information = information * (summary.noise or 1.0)
        d = summary.n_features
        if self.fit_intercept:
            cross = information[:d, d]
            G = information[:d, :d] - np.outer(cross, cross) / information[d, d]
        else:
            G = information
        return QuadraticPart(G, G @ vector[:d], float(summary.n))

    def penalty(self, constants: Any, n: float, c: int) -> NDArray[Any]:
        return np.asarray(constants) * self.scale[c] * self.unit / np.sqrt(n)

    def targets(self, rows: Any) -> Any:
        """Return the loss of target rows for every linear predictor."""
        return [self.part(rows, c) for c in range(self.y.shape[1])]

    def fit(self, targets: Any, A: list[int], firsts: Any, seconds: Any) -> Any:
        """Return coefficients of shape (n_logits, n_firsts, n_seconds, d)."""
        return np.array([
            self._fit_logit(target, A, firsts, seconds, c)
            for c, target in enumerate(targets)
        ])  # fmt: skip

    def _fit_logit(
        self, target: Any, A: list[int], firsts: Any, seconds: Any, c: int
    ) -> NDArray[Any]:
        parts = [target, *(self.sources[c][k] for k in A)]
        total = sum(part.n for part in parts)
        zero = np.zeros(self.X.shape[1])
        w, residual = fit_l1_glm(parts, self.penalty(firsts, total, c), zero)
        self.residual = max(self.residual, residual)
        if not len(A):
            return np.repeat(w[:, None], len(seconds), axis=1)
        fits = []
        for center in w:
            lams = self.penalty(seconds, target.n, c)
            found, residual = fit_l1_glm([target], lams, center)
            self.residual = max(self.residual, residual)
            fits.append(found)
        return np.array(fits)

    def intercepts(self, rows: NDArray[Any], theta: NDArray[Any]) -> NDArray[Any]:
        """Return the best intercept of the rows for each linear predictor."""
        if not self.fit_intercept:
            return np.zeros(len(theta))
        return np.array([
            RowsPart(
                self.family, self.X[rows], self.y[rows, c], self.weight[rows], True
            ).intercept(theta[c])
            for c in range(len(theta))
        ])  # fmt: skip

    def rank(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the sources, the best for these target rows first."""
        scores = np.zeros(len(self.names))
        largest = max(min(len(rows) // 2, self.X.shape[1]), 1)
        w = self.weight[rows]
        for k in range(len(self.names)):
            theta = self.own[:, k]
            eta = self.X[rows] @ theta.T + self.intercepts(rows, theta)
            error = self.y[rows] - np.column_stack([
                glm_mean(self.family, eta[:, [c]]) for c in range(len(theta))
            ])  # fmt: skip
            squares = (self.X[rows].T @ (w[:, None] * error) / w.sum()) ** 2
            scores[k] = np.sort(squares, axis=0)[-largest:].sum()
        # rounded: equal sources keep their order whatever the rounding
        return np.argsort(
            np.round(scores / (scores.max(initial=0) or 1), 12), kind="stable"
        )

    def nested(self, ranking: NDArray[Any]) -> list[Any]:
        """Return the best 0, 1, ... sources."""
        return [ranking[:t].tolist() for t in range(len(ranking) + 1)]


def _sparse_vectors(parts: list[Any], problem: _Problem, c: int) -> NDArray[Any]:
    lam = problem.penalty([0.5], parts[0].n, c)
    zero = np.zeros(problem.X.shape[1])
    theta, residual = fit_l1_glm(parts, lam, zero)
    problem.residual = max(problem.residual, residual)
    return theta[0]


def _held_out(
    problem: _Problem,
    rows: NDArray[Any],
    fold: tuple[NDArray[Any], NDArray[Any]],
    sets: Callable[..., Any],
    seconds: Any,
) -> list[NDArray[Any]] | None:
    """Linear predictors of a fold, one array (n_firsts, n_seconds, n, L) per set."""
    train, test = fold
    train = np.intersect1d(train, rows)
    if not len(train):
        return None
    found, targets = [], problem.targets(train)
    for A in sets(problem.rank(train)):
        theta = problem.fit(targets, A, problem.grids[0], seconds)
        eta = np.empty((*theta.shape[1:3], len(test), theta.shape[0]))
        for i in range(theta.shape[1]):
            for j in range(theta.shape[2]):
                own = theta[:, i, j]
                eta[i, j] = problem.X[test] @ own.T + problem.intercepts(train, own)
        found.append(eta)
    return found


def _cross_fit(
    problem: _Problem,
    rows: NDArray[Any],
    folds: list[tuple[NDArray[Any], NDArray[Any]]],
    sets: Callable[..., Any],
    correct: bool = True,
) -> tuple[list[tuple[int, int]], NDArray[Any], NDArray[Any]]:
    """Choose penalties of each set by held-out loss; return loss and residuals."""
    seconds = problem.grids[1] if correct else [np.inf]
    n_sets = len(sets(np.arange(len(problem.names))))
    parts = [(fold[1], _held_out(problem, rows, fold, sets, seconds)) for fold in folds]
    parts = [(test, etas) for test, etas in parts if etas is not None]
    if not parts:
        middle = (len(problem.grids[0]) // 2, len(seconds) // 2)
        empty = np.zeros((n_sets, 0, problem.y.shape[1]))
        return [middle] * n_sets, np.full(n_sets, np.nan), empty
    total = sum(problem.weight[test].sum() for test, _ in parts)
    best, losses, residuals = [], [], []
    for t in range(n_sets):
        loss = sum(_losses(problem, test, etas[t]) for test, etas in parts) / total
        # of equal losses the sparsest fit, which comes first
        close = loss <= loss.min() + 1e-12 * abs(loss.min())
        i, j = np.unravel_index(int(np.argmax(close)), loss.shape)
        best.append((int(i), int(j)))
        losses.append(loss[i, j])
        residuals.append(np.concatenate([
            np.sqrt(problem.weight[test])[:, None]
            * (problem.y[test] - _means(problem, etas[t][i, j]))
            for test, etas in parts
        ]))  # fmt: skip
    return best, np.array(losses), np.array(residuals)


def _fold_losses(
    problem: _Problem,
    rows: NDArray[Any],
    fold: tuple[NDArray[Any], NDArray[Any]],
    sets: Callable[..., Any],
    best: list[tuple[int, int]],
) -> Any:
    """Mean loss of every set on one fold."""
    etas = _held_out(problem, rows, fold, sets, [np.inf])
    if etas is None:
        return np.full(len(best), np.nan)
    test = fold[1]
    return [
        _losses(problem, test, eta)[i, j] / problem.weight[test].sum()
        for eta, (i, j) in zip(etas, best, strict=True)
    ]


def _losses(problem: _Problem, test: NDArray[Any], eta: NDArray[Any]) -> NDArray[Any]:
    """Weighted sum of the losses over a fold and the linear predictors."""
    total = np.zeros(eta.shape[:2])
    for i in range(eta.shape[0]):
        for j in range(eta.shape[1]):
            for c in range(eta.shape[3]):
                rows = glm_losses(
                    problem.family, eta[i, j][:, [c]], problem.y[test][:, [c]]
                )
                total[i, j] += problem.weight[test] @ rows
    return total


def _means(problem: _Problem, eta: NDArray[Any]) -> NDArray[Any]:
    return np.column_stack(
        [glm_mean(problem.family, eta[:, [c]]) for c in range(eta.shape[1])]
    )


def _grid(
    values: list[float] | None,
    default: tuple[float, float, float, float, float],
    name: str,
) -> NDArray[Any]:
    grid = np.asarray(default if values is None else values, dtype=np.float64)
    grid = np.unique(grid.ravel())[::-1]
    finite = name == "correction_penalties" or np.isfinite(grid).all()
    if not len(grid) or not (grid > 0).all() or not finite:
        kind = "positive" if name == "correction_penalties" else "positive finite"
        raise ValueError(f"{name} must hold {kind} numbers, got {values!r}.")
    return grid
