"""Source models and a target model, blended linearly."""

from numbers import Real

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._folds import take_folds, target_folds
from sktransfer._learners import fit_or_constant
from sktransfer._response import common_columns
from sktransfer._solvers.simplex_qp import SOLVERS
from sktransfer._source_models import (
    SourceModelsMixin,
    check_source_models,
    fit_domain,
    fit_simplex_weights,
    fit_sources,
    given_entries,
)
from sktransfer.base import BlendingMetaEstimator, TakesGroupsMixin, slice_params
from sktransfer.exceptions import warn

__all__ = ["LinearInterpolation"]


class LinearInterpolation(TakesGroupsMixin, SourceModelsMixin, BlendingMetaEstimator):
    r"""Blend models of the sources and a model of the target by fixed shares.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor; a clone is fitted on the labeled target samples, and
        one on each source where `source_models` is None.
    source_models : estimator or list of them, default=None
        Source models. Fitted ones are used as they are; a clone of every unfitted one
        is fitted on each source.
    target_share : "cv" or float in [0, 1], default="cv"
        Share of the target's model. "cv": shares of all models by least squares on
        held-out target labels.
    cv : int, splitter, iterable or None, default=5
        Folds of the labeled target samples for "cv".
    solver : {"auto", "cvxpy"}, default="auto"
        Of the program for the shares: an active set, or cvxpy (CLARABEL). They agree to
        1e-8.
    random_state : int, RandomState instance or None, default=0
        Deals the folds; the order of the samples does not matter.

    Attributes
    ----------
    estimator_ : estimator
        The model of the target; the first source model where no target sample is
        labeled.
    source_models_ : list of estimator
        The fitted source models.
    source_names_ : list of str
        ``"source_models[i]"`` for a given model, the domain id for one fitted here.
    source_weights_ : ndarray of shape (n_source_models,)
        Shares of the source models.
    target_share_ : float
        Share of the target's model; all shares sum to 1.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.safe.TransferGuard : Blends fits with and without sources by evidence.
    SourcePredictions : Source predictions as features of a learner.

    Notes
    -----
    The answer is :math:`a_0 f_0(x) + \sum_k a_k f_k(x)` with shares that are not
    negative and sum to 1: of values, or of class probabilities [1]_. Classifiers that
    have none answer as in :class:`~sktransfer.safe.TransferGuard`. With "cv" the shares
    minimize the squared error of

    .. math:: \sum_j \Bigl\| y_j - a_0 f_0^{(-j)}(x_j) - \sum_k a_k f_k(x_j)
        \Bigr\|^2

    over the labeled target samples, where :math:`f_0^{(-j)}` has not seen sample j, so
    that it has no advantage over the sources. Where nothing can be held out, as with
    one label per class, the sources have equal shares and a warning tells that the
    target's model has none. With a number the rest is divided among the sources by the
    same criterion. Without sources this is ``estimator`` on the target.

    References
    ----------
    .. [1] H. Daume III. Frustratingly easy domain adaptation. Annual Meeting of the
       Association for Computational Linguistics, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.hypothesis import LinearInterpolation
    >>> X = np.tile(np.linspace(-1, 1, 10), 3)[:, None]
    >>> y = np.r_[X[:10, 0], -X[10:20, 0], X[20:, 0]]
    >>> y[20:] += 0.3 * np.tile([1, -1], 5)
    >>> domain = np.repeat([1, 2, -1], 10)
    >>> model = LinearInterpolation(LinearRegression())
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> bool(model.source_weights_[0] > 0.5 > model.source_weights_[1])
    True
    """

    _parameter_constraints: dict = {
        **BlendingMetaEstimator._parameter_constraints,
        **SourceModelsMixin._source_models_constraints,
        "target_share": [StrOptions({"cv"}), Interval(Real, 0, 1, closed="both")],
        "cv": ["cv_object"],
        "solver": [StrOptions(SOLVERS)],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        source_models=None,
        target_share="cv",
        cv=5,
        solver="auto",
        random_state=0,
    ):
        super().__init__(estimator)
        self.source_models = source_models
        self.target_share = target_share
        self.cv = cv
        self.solver = solver
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        given = given_entries(self.source_models)
        n_features = getattr(self, "n_features_in_", None)
        check_source_models(given, owner=self, n_features=n_features, learners=True)
        groups = fit_params.get("groups")
        plain = {k: v for k, v in fit_params.items() if k != "groups"}
        part, params, kept = self._existing(data, plain)
        if given:
            found = fit_sources(given, part)
        else:
            found = fit_sources([clone(self.estimator)], part, params)
        self.source_models_, self.source_names_ = found
        models = list(self.source_models_)
        folds = []
        if part.n_labeled:
            models.append(
                fit_domain(self.estimator, part, part.is_labeled_target, params)
            )
            if self.target_share == "cv" and self.source_models_:
                folds = target_folds(
                    data,
                    self.cv,
                    groups=groups,
                    sample_weight=plain.get("sample_weight"),
                    stratify=is_classifier(self.estimator),
                    random_state=check_random_state(self.random_state),
                )
        self._models = models
        y = part.y_labeled if part.n_labeled else part.y_source
        self._columns = common_columns(
            models, y, classify=is_classifier(self.estimator)
        )
        shares = self._shares(part, params, take_folds(folds, kept))
        self._columns = self._columns.completed(dict(enumerate(models)), part.X_target)
        self.source_weights_ = shares[: len(self.source_models_)]
        self.target_share_ = float(shares[len(self.source_models_) :].sum())
        self._weights = shares
        return models[-1] if part.n_labeled else models[0]

    def _shares(self, data, params, folds):
        """Return the shares of the source models and, last, of the target's."""
        n_sources = len(self.source_models_)
        if not n_sources:
            return np.ones(1)
        if not data.n_labeled:
            return np.full(n_sources, 1.0 / n_sources)
        weight = params.get("sample_weight")
        rows = data.is_labeled_target
        weight = np.ones(data.n_labeled) if weight is None else np.asarray(weight)[rows]
        X, y = data.X_labeled, data.y_labeled
        goal = self._columns.code(y)
        said = [self._columns.ask(model, X) for model in self.source_models_]
        self._columns = self._columns.calibrated(dict(enumerate(said)), y, weight)
        answers = np.stack([self._columns.read(one, k) for k, one in enumerate(said)])
        if self.target_share != "cv":
            others = self._least_squares(answers, goal, weight)
            return np.append((1 - self.target_share) * others, self.target_share)
        own, known = np.zeros_like(goal), np.zeros(data.n_labeled, dtype=bool)
        place = np.cumsum(rows) - 1
        for train, test in folds:
            seen = data.mask_of(train) & rows
            if not seen.any():
                continue
            model = fit_or_constant(
                self.estimator,
                take_rows(data.X, seen),
                data.labels(seen),
                **slice_params(params, seen),
            )
            own[place[test]] = self._columns.ask(model, take_rows(data.X, test))
            known[place[test]] = True
        if not known.any():
            warn(
                f"{data.n_labeled} labeled target samples, one per class or of one "
                "unit, leave none to hold out, so that the target's model has no "
                "share: label more samples, or give target_share as a number.",
            )
            return np.append(np.full(n_sources, 1.0 / n_sources), 0.0)
        own, weight = own[known], weight[known]
        self._columns = self._columns.calibrated({n_sources: own}, y[known], weight)
        own = self._columns.read(own, n_sources)
        columns = np.concatenate([answers[:, known], own[None]])
        return self._least_squares(columns, goal[known], weight)

    def _least_squares(self, answers, goal, weight):
        """Return shares of models, by weighted least squares of their answers."""
        root = np.sqrt(weight)[:, None]
        rows = self._columns.standardized(answers * root).reshape(len(answers), -1)
        goal = self._columns.standardized(goal * root).ravel()
        return fit_simplex_weights(rows, goal, self.solver)

    def _blend(self, X):
        return self._columns.blend(self._models, self._weights, X)

    def _blended_models(self):
        return getattr(self, "_models", [self.estimator])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.source_free = True
        return tags
