"""Weights of source rows, and boosting over sources."""

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from benchmarks.board.registry import method
from sktransfer.instance import (
    KLIEP,
    KMM,
    LDM,
    RULSIF,
    ULSIF,
    ActiveSourceSelection,
    BalancedWeighting,
    DomainClassifierWeighting,
    GaussianWeighting,
    LabelShiftClassifier,
    MultiSourceTrAdaBoost,
    MultiSourceTrAdaBoostR2,
    NearestNeighborWeighting,
    TaskTrAdaBoost,
    TaskTrAdaBoostR2,
    TrAdaBoost,
    TrAdaBoostR2,
    TwoStageTrAdaBoostR2,
)

WEIGHTINGS = [
    KMM, KLIEP, ULSIF, RULSIF, DomainClassifierWeighting, NearestNeighborWeighting,
    GaussianWeighting, BalancedWeighting, LDM, ActiveSourceSelection,
]  # fmt: skip
CORE = [KMM, NearestNeighborWeighting, DomainClassifierWeighting]
WITH_TREES = [KMM, DomainClassifierWeighting, NearestNeighborWeighting]

for cls in WEIGHTINGS:
    for family in ("linear", "trees") if cls in WITH_TREES else ("linear",):
        tier = "core" if cls in CORE and family == "linear" else "further"

        @method(f"{cls.__name__}, {family}", family=family, tier=tier)
        def weighting(problem, cls=cls, family=family):
            """Fit the common learner to weighted source rows and the target."""
            return cls(problem.learner(family))


@method("LabelShiftClassifier, linear", tasks="classification")
def label_shift(problem):
    """Weigh the classes of the sources."""
    return LabelShiftClassifier(problem.linear())


#: 20 trees of depth 3 in each, as boosting is usually set for few rows
BOOSTED = [
    (TrAdaBoost, "classification"), (MultiSourceTrAdaBoost, "classification"),
    (TaskTrAdaBoost, "classification"), (TrAdaBoostR2, "regression"),
    (MultiSourceTrAdaBoostR2, "regression"), (TaskTrAdaBoostR2, "regression"),
]  # fmt: skip

for cls, tasks in BOOSTED:

    @method(cls.__name__, family="trees", tasks=tasks)
    def boosted(problem, cls=cls):
        """Boost small trees."""
        tree = DecisionTreeRegressor if problem.regression else DecisionTreeClassifier
        return cls(tree(max_depth=3, random_state=0), n_estimators=20)


@method("TwoStageTrAdaBoostR2", family="trees", tasks="regression")
def two_stage(problem):
    """Boost small trees in 5 steps of weights of the sources."""
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    return TwoStageTrAdaBoostR2(tree, n_estimators=10, n_steps=5, cv=3)


@method("KMM, small forest", family="trees")
def small_forest(problem):
    """Fit few, larger leaves to the weighted rows."""
    forest = RandomForestRegressor if problem.regression else RandomForestClassifier
    return KMM(forest(50, min_samples_leaf=3, random_state=0))
