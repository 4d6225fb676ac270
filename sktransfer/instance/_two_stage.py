"""Two-stage boosting of regressors, with source weights chosen by cross-validation."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from sktransfer._compat import Interval
from sktransfer._domains import take_rows
from sktransfer._folds import take_folds, target_folds
from sktransfer._learners import check_takes_sample_weight
from sktransfer.base import TakesGroupsMixin
from sktransfer.instance._boosting import (
    LOSS_CONSTRAINTS,
    Problem,
    TransferBoosting,
    boost,
    boosted_median,
)

__all__ = ["TwoStageTrAdaBoostR2"]


class TwoStageTrAdaBoostR2(TakesGroupsMixin, TransferBoosting):
    r"""Boost a regressor with source weights lowered as far as held-out labels tell.

    Parameters
    ----------
    estimator : regressor
        The weak learner, whose ``fit`` takes ``sample_weight``, such as
        ``DecisionTreeRegressor(max_depth=3)``.
    n_estimators : int in [1, inf), default=50
        Largest number of rounds N.
    learning_rate : float in (0, inf), default=1.0
        Factor of the steps of all weights, and of the votes.
    loss : {"linear", "square", "exponential"}, default="linear"
        Error of a sample from its absolute error relative to the largest one.
    n_steps : int in [1, inf), default=10
        Number of source weightings that are compared, from all weight to none; 1: the
        source samples count fully.
    cv : int, splitter, iterable or None, default=5
        Folds of the labeled target samples.
    random_state : int, RandomState instance or None, default=0
        Seeds the weak learners and deals the folds.

    Attributes
    ----------
    estimators_ : list of estimator
        The model of each round.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Vote of each round; 0 for a round that does not vote.
    target_errors_ : ndarray of shape (n_rounds,)
        Weighted error of each round on the labeled target samples.
    source_mass_ : ndarray of shape (n_rounds,)
        Share of the weight that the source samples had in each round.
    vanished_round_ : int or None
        First round in which that share was below 1 %; None if there is none.
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in the last round, in input order; with those of
        the target they sum to 1. 0 for a sample whose ``sample_weight`` is 0.
    estimator_ : estimator
        The model of the last round.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.
    cv_errors_ : ndarray of shape (n_steps,)
        Held-out mean squared error of each weighting; NaN where nothing can be held
        out, and then the first weighting is taken.
    best_step_ : int
        The weighting that was taken; ``n_steps - 1`` is the target alone.

    See Also
    --------
    TrAdaBoostR2 : Lowers source weights while boosting.

    Notes
    -----
    Stage one: at step t of S the learner is fitted with the weights at hand, and
    source weights are multiplied by :math:`\beta_t^{e_i}` with the relative errors
    :math:`e_i`, where :math:`\beta_t` makes the target's share of the weight

    .. math:: \frac{m}{n + m} + \frac{t}{S - 1} \Bigl(1 - \frac{m}{n + m}\Bigr)

    for n source and m target samples. Stage two: with each of these weightings
    AdaBoost.R2 is run, in which the source weights stay and errors are counted on the
    target; the run with the least cross-validated error is the result [1]_. One of
    them is the target alone, so that bad sources can be dropped altogether.

    References
    ----------
    .. [1] D. Pardoe, P. Stone. Boosting for regression transfer. International
       Conference on Machine Learning, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from sktransfer.instance import TwoStageTrAdaBoostR2
    >>> X = np.tile(np.linspace(-1, 1, 20), 2)[:, None]
    >>> y = X[:, 0] ** 2 + np.repeat([3.0, 0.0], 20)
    >>> domain = np.repeat([1, -1], 20)
    >>> tree = DecisionTreeRegressor(max_depth=3)
    >>> model = TwoStageTrAdaBoostR2(tree, n_estimators=5, n_steps=3)
    >>> model.fit(X, y, sample_domain=domain).best_step_
    2
    """

    _parameter_constraints: dict = {
        **TransferBoosting._parameter_constraints,
        **LOSS_CONSTRAINTS,
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
    }
    _boosts_classes = False

    def __init__(
        self,
        estimator,
        *,
        n_estimators=50,
        learning_rate=1.0,
        loss="linear",
        n_steps=10,
        cv=5,
        random_state=0,
    ):
        super().__init__(
            estimator,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            random_state=random_state,
        )
        self.loss = loss
        self.n_steps = n_steps
        self.cv = cv

    def _fit_estimator(self, data, fit_params):
        self._check_kind()
        check_takes_sample_weight(self.estimator)
        rng = check_random_state(self.random_state)
        seed = rng.randint(np.iinfo(np.int32).max)
        folds = []
        if data.n_source and self.n_steps > 1:
            folds = target_folds(
                data,
                self.cv,
                groups=fit_params.get("groups"),
                sample_weight=fit_params.get("sample_weight"),
                stratify=False,
                random_state=seed,
            )
        params = {k: v for k, v in fit_params.items() if k != "groups"}
        part, params, kept = self._existing(data, params)
        # folds of the labeled samples of positive weight
        folds = take_folds(take_folds(folds, kept), part.labeled)
        problem = Problem(self.estimator, part, params, self.loss, rng)
        model = self._keep(self._best_run(problem, folds, seed), problem)
        if not kept.all():
            self._restore_rows(data, kept)
        return model

    def _best_run(self, problem, folds, seed):
        """Run stage two with each weighting of stage one, and return the best run."""
        stages = self._weightings(problem)
        self.cv_errors_ = np.full(len(stages), np.nan)
        for step, weights in enumerate(stages):
            if folds:
                errors = [
                    self._held_out(problem, weights, train, test, seed)
                    for train, test in folds
                ]
                total, count = np.sum(errors, axis=0)
                self.cv_errors_[step] = total / count
        self.best_step_ = int(np.argmin(self.cv_errors_)) if folds else 0
        return self._stage_two(problem, stages[self.best_step_], seed)

    def _weightings(self, problem):
        """Return the weights of stage one."""
        target = problem.is_target
        weights = problem.start / problem.start.sum()
        first = weights[target].sum()
        stages = [weights]
        if target.all():
            return stages
        for step in range(1, self.n_steps):
            share = first + step / (self.n_steps - 1) * (1 - first)
            if step == self.n_steps - 1:
                weights = np.where(target, weights, 0.0)
            else:
                problem.draw_seeds()
                model = problem.fit(weights)
                errors = problem.errors(problem.losses(model))
                weights = lower_sources(weights, errors, target, share)
            weights = weights / weights.sum()
            stages.append(weights)
        return stages

    def _tell_vanished(self):
        # the target alone was chosen by held-out labels: no failure
        gone = len(self.sample_weight_) and not self.sample_weight_.any()
        self.vanished_round_ = 0 if gone else None

    def _stage_two(self, problem, weights, seed):
        # all rows stay: those without weight are left out of every fit
        problem = problem.part(np.ones(len(problem.y), dtype=bool))
        problem.start, problem.rng = weights, np.random.RandomState(seed)
        return boost(
            problem,
            self.n_estimators,
            self.learning_rate,
            lambda w: [(problem.fit(w), None)],
            0.0,
            keep_mass=True,
        )

    def _held_out(self, problem, weights, train, test, seed):
        """Return the sum of weighted squared errors on a fold, and of weights."""
        rows = np.zeros(len(problem.y), dtype=bool)
        rows[train] = True
        run = self._stage_two(problem.part(rows), weights[rows], seed)
        X, y = take_rows(problem.X, np.asarray(test)), problem.y[test]
        square = (boosted_median(run.models, run.votes, X) - y) ** 2
        return float(problem.start[test] @ square), float(problem.start[test].sum())


def lower_sources(weights, errors, target, share):
    r"""Multiply source weights by :math:`\beta^{e}` so that the target has a share."""
    goal = weights[target].sum() * (1 / share - 1)
    source, e = weights[~target], errors[~target]

    def mass(log_beta):
        with np.errstate(under="ignore"):
            return source @ np.exp(log_beta * e)

    low = -1.0
    while mass(low) > goal and low > -1e6:
        low *= 2
    high = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) <= goal else (low, middle)
    lowered = weights.copy()
    lowered[~target] = source * np.exp(low * e)
    total = lowered[~target].sum()
    if total > goal:
        # samples without an error lose no weight by a power of beta
        lowered[~target] *= goal / total
    return lowered
