"""Boosting on the target that chooses among weak learners of the sources."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from sktransfer._compat import Interval
from sktransfer._learners import predict_learner
from sktransfer._response import union_of_classes
from sktransfer._source_models import SourceModelsMixin, given_models
from sktransfer.instance._boosting import LOSS_CONSTRAINTS, TransferBoosting, boost

__all__ = ["TaskTrAdaBoost", "TaskTrAdaBoostR2"]


class _Negated(ClassifierMixin, BaseEstimator):
    """A classifier of two classes that answers with the other one."""

    def __init__(self, estimator, classes):
        self.estimator = estimator
        self.classes = classes

    def predict(self, X):
        """Predict the class that the classifier does not."""
        predicted = predict_learner(self.estimator, X)
        return np.where(predicted == self.classes[0], *self.classes[::-1])


class TaskTrAdaBoost(SourceModelsMixin, TransferBoosting):
    r"""Boost on the target, choosing among weak classifiers of the sources.

    The sources are boosted first, each alone; then only the weights of target samples
    change, and each round takes the weak classifier of a source that does best on
    them. So few target samples are enough, and fitted models can take the place of
    source samples.

    Parameters
    ----------
    estimator : classifier
        The weak learner, whose ``fit`` takes ``sample_weight``, such as
        ``DecisionTreeClassifier(max_depth=1)``.
    n_estimators : int in [1, inf), default=50
        Largest number of rounds N.
    learning_rate : float in (0, inf), default=1.0
        Factor of the steps of all weights, and of the votes.
    min_vote : float in [0, inf), default=0.0
        Weak classifiers of a source whose vote there is not above it are left out.
    source_models : estimator or list of estimator, default=None
        Fitted classifiers to choose from instead of source samples.
    random_state : int, RandomState instance or None, default=0
        Seeds the weak learners.

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
    chosen_sources_ : list of int or None
        Source whose model each round took; None without sources.
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in the last round, in input order; with those of
        the target they sum to 1. 0 for a sample whose ``sample_weight`` is 0.
    estimator_ : estimator
        The model of the last round.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.
    pool_size_ : int
        Number of weak classifiers to choose from; 0 without sources.

    See Also
    --------
    MultiSourceTrAdaBoost : Reuses the samples of the sources.

    Notes
    -----
    Phase one is AdaBoost (SAMME) on each source with N rounds. Phase two is AdaBoost
    on the target whose weak classifier is the one of the pool with the least weighted
    error [1]_, and of equal ones that with the largest vote in phase one; of two
    classes, a weak classifier that is wrong more often than right is negated. Its time
    does not depend on the sizes of the sources. Without sources this is AdaBoost.
    `source_mass_` is 0 in every round, as no source sample takes part in phase two, and
    `sample_weight_` is 0.

    References
    ----------
    .. [1] Y. Yao, G. Doretto. Boosting for transfer learning with multiple sources.
       IEEE Conference on Computer Vision and Pattern Recognition, 2010.

    Examples
    --------
    One target sample of each class shows which source helps.

    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from sktransfer.instance import TaskTrAdaBoost
    >>> X = np.tile(np.linspace(-1, 1, 20), 2)[:, None]
    >>> y = np.r_[X[:20, 0] > 0.9, X[20:, 0] > 0.3, False, True].astype(int)
    >>> X = np.r_[X, [[0.2], [0.4]]]
    >>> domain = np.repeat([1, 2, -1], [20, 20, 2])
    >>> model = TaskTrAdaBoost(DecisionTreeClassifier(max_depth=1))
    >>> model.fit(X, y, sample_domain=domain).chosen_sources_
    [2]
    """

    _parameter_constraints: dict = {
        **TransferBoosting._parameter_constraints,
        **SourceModelsMixin._source_models_constraints,
        "min_vote": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        *,
        n_estimators=50,
        learning_rate=1.0,
        min_vote=0.0,
        source_models=None,
        random_state=0,
    ):
        super().__init__(
            estimator,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            random_state=random_state,
        )
        self.min_vote = min_vote
        self.source_models = source_models

    def _boost(self, problem, data):
        pool = self._pool(problem, data)
        self.pool_size_ = len(pool)
        target = problem.part(problem.is_target)
        # a model of the pool predicts the target's samples once
        known = {id(model): target.losses(model) for model, _ in pool}
        if problem.classes is not None and len(problem.classes) == 2:
            negated = [(_Negated(m, problem.classes), k) for m, k in pool]
            known |= {id(n): 1 - known[id(n.estimator)] for n, _ in negated}
            pool = pool + negated
        fit_losses = target.losses
        target.losses = lambda m: known[id(m)] if id(m) in known else fit_losses(m)
        rounds = boost(
            target,
            self.n_estimators,
            self.learning_rate,
            lambda weights: pool or [(target.fit(weights), None)],
            0.0,
        )
        rounds.weights = np.zeros(len(problem.y))
        return rounds

    def _pool(self, problem, data):
        """Return weak learners with their sources, boosted there or given."""
        if self.source_models is not None:
            models = given_models(self, data)
            self._check_classes(models, problem)
            return [(model, k + 1) for k, model in enumerate(models)]
        pool = []
        # each source draws the same, so that the order of the ids does not matter
        seed = problem.rng.randint(np.iinfo(np.int32).max)
        for source in data.sources.tolist():
            part = problem.part(problem.domain == source)
            part.rng = np.random.RandomState(seed)
            # alone the source is its own target
            part.is_target = np.ones(len(part.y), dtype=bool)
            rounds = boost(
                part,
                self.n_estimators,
                self.learning_rate,
                lambda weights, part=part: [(part.fit(weights), None)],
                0.0,
            )
            kept = [
                (vote, model, source)
                for model, vote in zip(rounds.models, rounds.votes, strict=True)
                if vote > self.min_vote
            ]
            # a source without such a learner still has its first
            first = rounds.votes[0], rounds.models[0], source
            pool += kept or ([] if self.min_vote else [first])
        # of equal ones on the target the first is chosen, that of the largest vote
        pool.sort(key=lambda entry: -round(entry[0], 12))
        pool = [(model, source) for _, model, source in pool]
        if data.n_source and not pool:
            raise ValueError(
                f"min_vote={self.min_vote} leaves no weak learner of any source: lower "
                "it."
            )
        return pool

    def _check_classes(self, models, problem):
        """Let the classes of given models count too."""
        if problem.classes is not None:
            seen = [m.classes_ for m in models if hasattr(m, "classes_")]
            problem.classes = union_of_classes([problem.classes, *seen])

    def _keep(self, rounds, problem):
        self.chosen_sources_ = rounds.chosen
        return super()._keep(rounds, problem)

    def _tell_vanished(self):
        self.vanished_round_ = None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.source_free = True
        return tags


class TaskTrAdaBoostR2(TaskTrAdaBoost):
    r"""Boost on the target, choosing among weak regressors of the sources.

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
    min_vote : float in [0, inf), default=0.0
        Weak regressors of a source whose vote there is not above it are left out.
    source_models : estimator or list of estimator, default=None
        Fitted regressors to choose from instead of source samples.
    random_state : int, RandomState instance or None, default=0
        Seeds the weak learners.

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
    chosen_sources_ : list of int or None
        Source whose model each round took; None without sources.
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in the last round, in input order; with those of
        the target they sum to 1. 0 for a sample whose ``sample_weight`` is 0.
    estimator_ : estimator
        The model of the last round.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.
    pool_size_ : int
        Number of weak regressors to choose from; 0 without sources.

    See Also
    --------
    TaskTrAdaBoost : For classes.
    MultiSourceTrAdaBoostR2 : Reuses the samples of the sources.

    Notes
    -----
    As :class:`TaskTrAdaBoost` with errors, votes and weighted median of AdaBoost.R2:
    each round takes the weak regressor with the least weighted absolute error on the
    target.

    References
    ----------
    .. [1] Y. Yao, G. Doretto. Boosting for transfer learning with multiple sources.
       IEEE Conference on Computer Vision and Pattern Recognition, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from sktransfer.instance import TaskTrAdaBoostR2
    >>> X = np.tile(np.linspace(-1, 1, 20), 2)[:, None]
    >>> y = np.r_[X[:20, 0] ** 2, -X[20:, 0], 0.2, 0.9]
    >>> X = np.r_[X, [[0.45], [-0.95]]]
    >>> domain = np.repeat([1, 2, -1], [20, 20, 2])
    >>> tree = DecisionTreeRegressor(max_depth=3)
    >>> model = TaskTrAdaBoostR2(tree, n_estimators=5)
    >>> model.fit(X, y, sample_domain=domain).chosen_sources_[0]
    1
    """

    _parameter_constraints: dict = {
        **TaskTrAdaBoost._parameter_constraints,
        **LOSS_CONSTRAINTS,
    }
    _boosts_classes = False

    def __init__(
        self,
        estimator,
        *,
        n_estimators=50,
        learning_rate=1.0,
        loss="linear",
        min_vote=0.0,
        source_models=None,
        random_state=0,
    ):
        super().__init__(
            estimator,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            min_vote=min_vote,
            source_models=source_models,
            random_state=random_state,
        )
        self.loss = loss
