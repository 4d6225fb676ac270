"""What practitioners do with linear models: scores of old models as new columns."""

from sklearn.pipeline import make_pipeline

from benchmarks.board.registry import method
from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.hypothesis import SourcePredictions


@method("linear on scores of linear", kind="recipe", tier="core")
def scores(problem):
    """Fit the target's features and the score of each source's linear model."""
    return make_pipeline(
        SourcePredictions(problem.linear()), TargetOnly(problem.linear())
    )


@method("linear on scores of trees", kind="recipe")
def scores_of_trees(problem):
    """Fit the target's features and the score of each source's forest."""
    return make_pipeline(
        SourcePredictions(problem.trees()), TargetOnly(problem.linear())
    )


@method("linear on scores alone", kind="recipe", tier="core")
def scores_alone(problem):
    """Fit the score of the pooled sources' linear model alone: a recalibration."""
    columns = SourcePredictions(problem.linear(), pooled=True, passthrough=False)
    return make_pipeline(columns, TargetOnly(problem.linear()))


@method("Pooled, linear, target 10 times", kind="recipe", tier="core")
def ten_times(problem):
    """Give a target row the weight of ten source rows."""
    return Pooled(problem.linear(), source_weight=0.1)
