"""One boosting loop over the samples of several domains, and its template.

What differs between the methods is which models a round may choose from (the hook
``_candidates``), who votes, and whether source samples lose weight.
"""

from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
from scipy.special import softmax
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import (
    check_takes_sample_weight,
    fit_learner,
    predict_learner,
)
from sktransfer._response import CommonColumns
from sktransfer.base import BlendingMetaEstimator, missing_hook, slice_params
from sktransfer.exceptions import CollapsedWeightsWarning, warn

#: share of the weight below which the sources count as vanished
_VANISHED = 0.01
_LOSSES = {
    "linear": lambda error: error,
    "square": np.square,
    "exponential": lambda error: 1.0 - np.exp(-error),
}


@dataclass
class Rounds:
    """What a boosting run leaves behind, one entry per round."""

    models: list = field(default_factory=list)
    votes: list = field(default_factory=list)
    target_errors: list = field(default_factory=list)
    source_mass: list = field(default_factory=list)
    chosen: list = field(default_factory=list)
    weights: np.ndarray | None = None


class Problem:
    """Labeled samples of all domains, and the learner to boost on them."""

    def __init__(self, estimator, data, fit_params, loss, rng):
        rows = data.labeled
        self.estimator, self.rng, self.loss = estimator, rng, loss
        self.X, self.y = take_rows(data.X, rows), data.labels(rows)
        self.is_target = data.is_target[rows]
        self.domain = data.sample_domain[rows]
        params = slice_params(fit_params, rows)
        weight = params.pop("sample_weight", None)
        self.params = params
        n = len(self.is_target)
        self.start = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
        self.classes = np.unique(self.y) if is_classifier(estimator) else None
        self.seeds = {}

    @property
    def chance(self):
        """Error of a model without information."""
        if self.classes is None:
            return 0.5
        return 1.0 - 1.0 / max(len(self.classes), 2)

    def part(self, rows):
        """Return the problem of some of its samples, with the same classes."""
        part = object.__new__(Problem)
        vars(part).update(vars(self))
        part.X, part.y = take_rows(self.X, rows), self.y[rows]
        part.is_target, part.domain = self.is_target[rows], self.domain[rows]
        part.start = self.start[rows]
        part.params = slice_params(self.params, rows)
        return part

    def fit(self, weight, rows=None):
        """Fit a clone of the learner with weights, which are scaled to the mean 1."""
        rows = np.ones(len(self.y), dtype=bool) if rows is None else rows
        # a sample whose weight has become 0 is no sample
        rows = rows & (weight > 0)
        scaled = weight[rows] / weight[rows].mean()
        return fit_learner(
            clone(self.estimator).set_params(**self.seeds),
            take_rows(self.X, rows),
            self.y[rows],
            method_weight=scaled,
            **slice_params(self.params, rows),
        )

    def draw_seeds(self):
        """Draw the random states of the learners of the next round."""
        self.seeds = {
            name: self.rng.randint(np.iinfo(np.int32).max)
            for name in sorted(self.estimator.get_params(deep=True))
            if name == "random_state" or name.endswith("__random_state")
        }

    def losses(self, model):
        """Return the loss of a model at each sample: 0 or 1, or absolute errors."""
        predicted = predict_learner(model, self.X)
        if self.classes is not None:
            return (predicted != self.y).astype(float)
        return np.abs(predicted - self.y)

    def errors(self, losses):
        """Return losses in [0, 1], relative to the largest of a regression."""
        if self.classes is not None:
            return losses
        largest = losses.max()
        return _LOSSES[self.loss](losses / largest if largest > 0 else losses)


def boost(
    problem, n_rounds, learning_rate, candidates, source_step, *, keep_mass=False
):
    """Boost: each round takes the candidate with the least loss on the target.

    Parameters
    ----------
    problem : Problem
        Samples and learner.
    n_rounds : int
        Largest number of rounds.
    learning_rate : float
        Factor of votes and exponents.
    candidates : callable
        ``candidates(weights)`` yields pairs of a fitted model and its source.
    source_step : float
        Exponent by which source samples lose weight for an error of 1; 0: they stay.
    keep_mass : bool, default=False
        Whether the sources keep their share of the weight.

    Returns
    -------
    rounds : Rounds
        Models, votes, errors and weights.
    """
    target, rounds = problem.is_target, Rounds()
    weights = problem.start / problem.start.sum()
    n_target, classes = float(problem.start[target].sum()), problem.classes
    offset = 0.0 if classes is None else np.log(max(len(classes) - 1, 1))
    for number in range(n_rounds):
        mass = float(weights[~target].sum())
        share = weights[target] / weights[target].sum()
        problem.draw_seeds()
        model, source, losses = _best_candidate(problem, weights, candidates(weights))
        errors = problem.errors(losses)
        error = float(share @ errors[target])
        vote = 0.0
        if error < problem.chance:
            # without an error there would be no bound: half an error in n + 1
            floored = error if error > 0 else 0.5 / (n_target + 1)
            vote = learning_rate * (np.log((1 - floored) / floored) + offset)
        done = mass == 0 and (error <= 0 or vote == 0.0)
        if done and error <= 0:
            vote = 1.0
        if done and vote == 0.0 and rounds.models:
            break
        rounds.models.append(model)
        rounds.votes.append(vote)
        rounds.target_errors.append(error)
        rounds.source_mass.append(mass)
        rounds.chosen.append(source)
        rounds.weights = weights
        if done:
            break
        if number < n_rounds - 1:
            step = np.where(target, vote, -learning_rate * source_step)
            with np.errstate(under="ignore"):
                weights = weights * np.exp(step * errors - (step * errors).max())
            if keep_mass:
                weights[target] *= (1 - mass) / weights[target].sum()
                weights[~target] = rounds.weights[~target]
            weights = weights / weights.sum()
    return rounds


def _best_candidate(problem, weights, candidates):
    """Return the model of least loss on the target, its source and its losses.

    Of equal ones the best on the samples of its own source, which agree with the
    target then, whatever the ids of the sources.
    """
    best = None
    for model, source in candidates:
        losses = problem.losses(model)
        own = problem.domain == source
        target = problem.is_target
        loss = weights[target] @ losses[target] / weights[target].sum()
        total = weights[own].sum()
        tie = weights[own] @ losses[own] / total if total > 0 else 0.0
        rank = (round(float(loss), 12), round(float(tie), 12))
        if best is None or rank < best[0]:
            best = rank, model, source, losses
    return best[1:]


def weighted_median(values, weights):
    """Return the weighted median of each row of ``values``, as AdaBoost.R2 does."""
    order = np.argsort(values, axis=1)
    total = np.cumsum(weights[order], axis=1)
    place = (total >= 0.5 * total[:, -1:]).argmax(axis=1)
    rows = np.arange(len(values))
    return values[rows, order[rows, place]]


def boosted_median(models, votes, X):
    """Return the median of the predictions of boosted regressors by their votes."""
    votes = np.asarray(votes, dtype=float)
    used = np.flatnonzero(votes) if votes.any() else np.array([len(models) - 1])
    values = np.column_stack([predict_learner(models[k], X) for k in used])
    return weighted_median(values, votes[used] if votes.any() else np.ones(1))


class TransferBoosting(BlendingMetaEstimator):
    """Template of boosted learners: the hook ``_boost(problem, data)`` gives rounds.

    Parameters
    ----------
    estimator : estimator
        The weak learner, whose ``fit`` takes ``sample_weight``.
    n_estimators : int in [1, inf), default=50
        Largest number of rounds.
    learning_rate : float in (0, inf), default=1.0
        Factor of the steps of all weights, and of the votes.
    random_state : int, RandomState instance or None, default=0
        Seeds the weak learners.
    """

    _parameter_constraints: dict = {
        **BlendingMetaEstimator._parameter_constraints,
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }
    _boosts_classes = True

    def __init__(
        self, estimator, *, n_estimators=50, learning_rate=1.0, random_state=0
    ):
        super().__init__(estimator)
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.random_state = random_state

    def _boost(self, problem, data):
        """Return the ``Rounds`` of this method; votes of 0 do not count."""
        raise missing_hook(self, "_boost(problem, data)")

    def _fit_estimator(self, data, fit_params):
        self._check_kind()
        check_takes_sample_weight(self.estimator)
        rng = check_random_state(self.random_state)
        loss = getattr(self, "loss", "linear")
        problem = Problem(self.estimator, data, fit_params, loss, rng)
        return self._keep(self._boost(problem, data), problem)

    def _check_kind(self):
        if is_classifier(self.estimator) != self._boosts_classes:
            wanted = "classifier" if self._boosts_classes else "regressor"
            raise TypeError(
                f"estimator={self.estimator!r} is no {wanted}, which "
                f"{type(self).__name__} boosts."
            )

    def _keep(self, rounds, problem):
        """Set the fitted attributes and return the last model."""
        votes = np.array(rounds.votes, dtype=float)
        if not votes.any():
            # no round was better than chance: the last model is as good as any
            votes[-1] = 1.0
        self.estimators_, self.estimator_weights_ = rounds.models, votes
        self.target_errors_ = np.array(rounds.target_errors)
        self.source_mass_ = np.array(rounds.source_mass)
        self.sample_weight_ = rounds.weights[~problem.is_target]
        self._columns = CommonColumns(problem.classes)
        self._tell_vanished()
        return rounds.models[-1]

    def _tell_vanished(self):
        """Set ``vanished_round_``, and warn if the sources hardly took part."""
        gone = np.flatnonzero(self.source_mass_ < _VANISHED)
        self.vanished_round_ = None
        if not len(self.sample_weight_) or not len(gone):
            return
        self.vanished_round_ = int(gone[0])
        voters = np.flatnonzero(self.estimator_weights_)
        if self.vanished_round_ <= voters[0]:
            warn(
                f"The sources have less than {_VANISHED:.0%} of the weight from round "
                f"{self.vanished_round_} on, and the first round that votes is "
                f"{voters[0]}: {type(self).__name__} is a boosted learner of the "
                "target alone. Use fewer rounds or a smaller learning_rate, or leave "
                "the sources out.",
                CollapsedWeightsWarning,
            )

    def _restore_rows(self, data, kept):
        weights = np.zeros(data.n_source)
        weights[kept[data.is_source]] = self.sample_weight_
        self.sample_weight_ = weights

    def _check_answers(self, method):
        classes = {"predict_proba", "predict_log_proba", "decision_function"}
        if method in classes and not is_classifier(self.estimator):
            raise AttributeError(f"A boosted regressor has no {method}.")

    def _blend(self, X):
        votes = self.estimator_weights_
        if self._columns.classes is None:
            return boosted_median(self.estimators_, votes, X)[:, None]
        return self._columns.blend(self.estimators_, votes / votes.sum(), X)

    def _answer(self, method, X, params):
        if method == "predict" or params or self._columns.classes is None:
            return super()._answer(method, X, params)
        # AdaBoost's scale: a vote for a class is one against the others
        shares, n_classes = self._blend(X), max(len(self._columns.classes), 2)
        score = shares - (1.0 - shares) / (n_classes - 1)
        if method == "decision_function":
            return score[:, 1] - score[:, 0] if score.shape[1] == 2 else score
        proba = softmax(score / (n_classes - 1), axis=1)
        return proba if method == "predict_proba" else np.log(proba)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.transfer_tags.target_labels = "required"
        return tags


LOSS_CONSTRAINTS = {"loss": [StrOptions(set(_LOSSES))]}


def source_exponent(problem, n_rounds):
    r"""Return :math:`\log(1 + \sqrt{2 \log(n_s) / N})`; 0 without source samples."""
    n_source = max(float(problem.start[~problem.is_target].sum()), 1.0)
    return float(np.log1p(np.sqrt(2 * np.log(n_source) / n_rounds)))
