"""Boosting that takes its model from the most helpful source in each round."""

from sktransfer.instance._boosting import (
    LOSS_CONSTRAINTS,
    TransferBoosting,
    boost,
    source_exponent,
)

__all__ = ["MultiSourceTrAdaBoost", "MultiSourceTrAdaBoostR2"]


class MultiSourceTrAdaBoost(TransferBoosting):
    r"""Boost a classifier on the target and, in each round, the most helpful source.

    Parameters
    ----------
    estimator : classifier
        The weak learner, whose ``fit`` takes ``sample_weight``, such as
        ``DecisionTreeClassifier(max_depth=1)``.
    n_estimators : int in [1, inf), default=50
        Largest number of rounds N.
    learning_rate : float in (0, inf), default=1.0
        Factor of the steps of all weights, and of the votes.
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

    Warns
    -----
    CollapsedWeightsWarning
        If the sources have lost their weight before the first round that votes.

    See Also
    --------
    TrAdaBoost : Fits on all sources together.
    TaskTrAdaBoost : Reuses weak learners instead of samples.

    Notes
    -----
    In each round the learner is fitted once per source, on its samples and those of
    the target; the model :math:`h_t` with the least weighted error :math:`\epsilon_t`
    on the target is kept [1]_. All weights are updated as in :class:`TrAdaBoost`, with
    :math:`n_s` the samples of all sources, and all rounds vote with
    :math:`\alpha_t = \log((1 - \epsilon_t) / \epsilon_t) + \log(K - 1)`. Without
    sources this is AdaBoost (SAMME).

    References
    ----------
    .. [1] Y. Yao, G. Doretto. Boosting for transfer learning with multiple sources.
       IEEE Conference on Computer Vision and Pattern Recognition, 2010.

    Examples
    --------
    Source 1 has its labels flipped.

    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from sktransfer.instance import MultiSourceTrAdaBoost
    >>> X = np.tile(np.linspace(-1, 1, 20), 3)[:, None]
    >>> y = (X[:, 0] > 0.3).astype(int)
    >>> y[:20] = 1 - y[:20]
    >>> domain = np.repeat([1, 2, -1], 20)
    >>> stump = DecisionTreeClassifier(max_depth=1)
    >>> model = MultiSourceTrAdaBoost(stump, n_estimators=5)
    >>> model.fit(X, y, sample_domain=domain).chosen_sources_
    [2, 2, 2, 2, 2]
    """

    def _boost(self, problem, data):
        sources = data.sources.tolist()

        def candidates(weights):
            used = 0
            for source in sources:
                rows = problem.domain == source
                if weights[rows].sum() > 0:
                    used += 1
                    yield problem.fit(weights, rows | problem.is_target), source
            if not used:
                yield problem.fit(weights, problem.is_target), None

        step = source_exponent(problem, self.n_estimators)
        return boost(problem, self.n_estimators, self.learning_rate, candidates, step)

    def _keep(self, rounds, problem):
        self.chosen_sources_ = rounds.chosen
        return super()._keep(rounds, problem)


class MultiSourceTrAdaBoostR2(MultiSourceTrAdaBoost):
    r"""Boost a regressor on the target and, in each round, the most helpful source.

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

    Warns
    -----
    CollapsedWeightsWarning
        If the sources have lost their weight before the first round that votes.

    See Also
    --------
    MultiSourceTrAdaBoost : For classes.
    TwoStageTrAdaBoostR2 : Lowers source weights by cross-validation.

    Notes
    -----
    As :class:`MultiSourceTrAdaBoost`: the model with the least weighted absolute error
    on the target is kept [1]_; weights, votes and the weighted median are those of
    :class:`TrAdaBoostR2`, with all rounds voting.

    References
    ----------
    .. [1] Y. Yao, G. Doretto. Boosting for transfer learning with multiple sources.
       IEEE Conference on Computer Vision and Pattern Recognition, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from sktransfer.instance import MultiSourceTrAdaBoostR2
    >>> X = np.tile(np.linspace(-1, 1, 20), 3)[:, None]
    >>> y = X[:, 0] ** 2 + np.repeat([3.0, 0.0, 0.0], 20)
    >>> domain = np.repeat([1, 2, -1], 20)
    >>> tree = DecisionTreeRegressor(max_depth=3)
    >>> model = MultiSourceTrAdaBoostR2(tree, n_estimators=5)
    >>> model.fit(X, y, sample_domain=domain).chosen_sources_[0]
    2
    """

    _parameter_constraints: dict = {
        **MultiSourceTrAdaBoost._parameter_constraints,
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
        random_state=0,
    ):
        super().__init__(
            estimator,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            random_state=random_state,
        )
        self.loss = loss
