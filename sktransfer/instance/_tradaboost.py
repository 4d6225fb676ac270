"""TrAdaBoost for classes and for real labels."""

import numpy as np

from sktransfer._compat import StrOptions
from sktransfer.instance._boosting import (
    LOSS_CONSTRAINTS,
    TransferBoosting,
    boost,
    source_exponent,
)

__all__ = ["TrAdaBoost", "TrAdaBoostR2"]


class TrAdaBoost(TransferBoosting):
    r"""Boost a classifier; source samples that it gets wrong lose weight.

    Labels of the target are required. Target samples that a round gets wrong gain
    weight, as in AdaBoost; source samples that it gets wrong lose it, so that the
    sources keep the samples which agree with the target.

    Parameters
    ----------
    estimator : classifier
        The weak learner, whose ``fit`` takes ``sample_weight``, such as
        ``DecisionTreeClassifier(max_depth=1)``.
    n_estimators : int in [1, inf), default=50
        Largest number of rounds N.
    learning_rate : float in (0, inf), default=1.0
        Factor of the steps of all weights, and of the votes.
    voting : {"second_half", "all"}, default="second_half"
        Rounds that vote. "second_half": as in the paper, where sources still have to
        lose weight in the first half. Without sources all vote.
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
    MultiSourceTrAdaBoost : Chooses the most helpful source in each round.
    TaskTrAdaBoost : Chooses among weak learners of the sources.
    TrAdaBoostR2 : For real labels.

    Notes
    -----
    With the weighted error :math:`\epsilon_t` on the target, K classes and N rounds

    .. math:: \alpha_t &= \log\frac{1 - \epsilon_t}{\epsilon_t} + \log(K - 1), \\
        w_j &\leftarrow w_j e^{\alpha_t [h_t(x_j) \ne y_j]} \quad (j \in T), \\
        w_i &\leftarrow w_i \bigl(1 + \sqrt{2 \log(n_s) / N}\bigr)^{-[h_t(x_i) \ne
        y_i]} \quad (i \in S),

    and the class with most votes :math:`\alpha_t` is predicted; for two classes this
    is the method of [1]_, with
    :math:`\beta_t = \epsilon_t / (1 - \epsilon_t) = e^{-\alpha_t}`. A round with
    :math:`\epsilon_t \ge 1 - 1/K` does not vote and leaves target weights alone; one
    without error counts half an error in :math:`n_t + 1`. Without sources this is
    AdaBoost (SAMME). Weights are scaled to the mean 1 before each fit.

    References
    ----------
    .. [1] W. Dai, Q. Yang, G.-R. Xue, Y. Yu. Boosting for transfer learning.
       International Conference on Machine Learning, 2007.

    Examples
    --------
    Half of the source has its labels flipped, and loses its weight.

    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from sktransfer.instance import TrAdaBoost
    >>> X = np.tile(np.linspace(-1, 1, 20), 3)[:, None]
    >>> y = (X[:, 0] > 0.3).astype(int)
    >>> y[:20] = 1 - y[:20]
    >>> domain = np.repeat([1, 1, -1], 20)
    >>> stump = DecisionTreeClassifier(max_depth=1)
    >>> model = TrAdaBoost(stump, n_estimators=10).fit(X, y, sample_domain=domain)
    >>> bool(model.sample_weight_[:20].sum() < 0.5 * model.sample_weight_[20:].sum())
    True
    """

    _parameter_constraints: dict = {
        **TransferBoosting._parameter_constraints,
        "voting": [StrOptions({"second_half", "all"})],
    }

    def __init__(
        self,
        estimator,
        *,
        n_estimators=50,
        learning_rate=1.0,
        voting="second_half",
        random_state=0,
    ):
        super().__init__(
            estimator,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            random_state=random_state,
        )
        self.voting = voting

    def _boost(self, problem, data):
        step = source_exponent(problem, self.n_estimators)
        rounds = boost(
            problem,
            self.n_estimators,
            self.learning_rate,
            lambda weights: [(problem.fit(weights), None)],
            step,
        )
        if self.voting == "second_half" and data.n_source:
            silent = (len(rounds.votes) + 1) // 2 - 1
            if np.any(rounds.votes[silent:]):
                rounds.votes[:silent] = [0.0] * silent
        return rounds


class TrAdaBoostR2(TrAdaBoost):
    r"""Boost a regressor; source samples far from its predictions lose weight.

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
    voting : {"second_half", "all"}, default="second_half"
        Rounds that vote, see :class:`TrAdaBoost`.
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
    TwoStageTrAdaBoostR2 : Lowers source weights step by step, by cross-validation.
    TrAdaBoost : For classes.

    Notes
    -----
    The error of a sample is :math:`e_i = |y_i - h_t(x_i)| / \max_k |y_k - h_t(x_k)|`,
    its square or :math:`1 - \exp(-e_i)`. With :math:`\epsilon_t` its weighted mean on
    the target and :math:`\beta_t = \epsilon_t / (1 - \epsilon_t)` target weights are
    multiplied by :math:`\beta_t^{-e_j}`, source weights by
    :math:`(1 + \sqrt{2 \log(n_s) / N})^{-e_i}` [1]_. The prediction is the median of
    the rounds weighted by :math:`\log(1 / \beta_t)`; a round with
    :math:`\epsilon_t \ge 1/2` does not vote.

    References
    ----------
    .. [1] D. Pardoe, P. Stone. Boosting for regression transfer. International
       Conference on Machine Learning, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from sktransfer.instance import TrAdaBoostR2
    >>> X = np.tile(np.linspace(-1, 1, 20), 3)[:, None]
    >>> y = X[:, 0] ** 2 + np.repeat([3.0, 0.0, 0.0], 20)
    >>> domain = np.repeat([1, 1, -1], 20)
    >>> tree = DecisionTreeRegressor(max_depth=3)
    >>> model = TrAdaBoostR2(tree, n_estimators=10).fit(X, y, sample_domain=domain)
    >>> bool(model.sample_weight_[:20].sum() < model.sample_weight_[20:].sum())
    True
    """

    _parameter_constraints: dict = {
        **TrAdaBoost._parameter_constraints,
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
        voting="second_half",
        random_state=0,
    ):
        super().__init__(
            estimator,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            voting=voting,
            random_state=random_state,
        )
        self.loss = loss
