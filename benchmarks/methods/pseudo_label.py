"""Labels of unlabeled target rows that the model gives itself."""

from sklearn.svm import LinearSVC

from benchmarks.board.registry import method
from sktransfer.pseudo_label import (
    DASVM,
    GradualSelfTraining,
    PredictiveDistributionMatching,
    SelectivePseudoLabeling,
    SelfTraining,
)

for cls in (SelfTraining, GradualSelfTraining, PredictiveDistributionMatching):

    @method(f"{cls.__name__}, linear", tasks="classification")
    def self_trained(problem, cls=cls):
        """Label the target rows in rounds."""
        return cls(problem.linear())


@method("SelectivePseudoLabeling", family="own", tasks="classification")
def selective(problem):
    """Label the target rows in a space of classes."""
    return SelectivePseudoLabeling()


@method("DASVM", family="own", tasks="classification")
def dasvm(problem):
    """Move the margin from the sources to the target."""
    return DASVM(LinearSVC(dual=False))
