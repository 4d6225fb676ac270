"""Weights of whole sources."""

from benchmarks.board.registry import method
from sktransfer.baselines import Pooled
from sktransfer.multisource import (
    ARMUL,
    MCW,
    OTQMS,
    UOWQ,
    WADN,
    AngleTransfer,
    AngleTransferLogistic,
    ARMULLogistic,
    ChiSquareWeights,
    DomainRecognitionEnsemble,
    EmpiricalBayesLogistic,
    EmpiricalBayesRidge,
    FeatureFusion,
    HEnsemble,
    IncrementalSourceEnsemble,
    MMDWeightedEnsemble,
    MultiTaskRelationship,
    PeerWeightedEnsemble,
    SourceClusters,
    SourceFreeEnsemble,
    SourceInfluence,
    SourceSelector,
    TransGLM,
    UOWQMultiTask,
)

BOTH = [
    UOWQ, UOWQMultiTask, MMDWeightedEnsemble, DomainRecognitionEnsemble,
    MultiTaskRelationship, SourceClusters,
]  # fmt: skip
CORE = [UOWQ, MMDWeightedEnsemble]
CLASSES = [
    PeerWeightedEnsemble, SourceFreeEnsemble, HEnsemble, MCW, WADN,
    IncrementalSourceEnsemble, FeatureFusion,
]  # fmt: skip

for cls in BOTH + CLASSES:
    tasks = "both" if cls in BOTH else "classification"
    tier = "core" if cls in CORE else "further"

    @method(f"{cls.__name__}, linear", tasks=tasks, tier=tier)
    def weighted(problem, cls=cls):
        """Weigh the sources for the common learner."""
        return cls(problem.linear())


@method("MMDWeightedEnsemble, trees", family="trees")
def ensemble_of_trees(problem):
    """Weigh the sources' forests by their distance."""
    return MMDWeightedEnsemble(problem.trees())


@method("OTQMS, linear")
def quantities(problem):
    """Choose how many rows of each source are used."""
    return OTQMS(problem.linear(), random_state=0)


@method("ChiSquareWeights", family="own", tasks="classification")
def chi_square(problem):
    """Weigh the sources by chi-square distances."""
    return ChiSquareWeights()


@method("EmpiricalBayes, linear")
def empirical_bayes(problem):
    """Learn the prior of the coefficients from the sources."""
    return EmpiricalBayesRidge() if problem.regression else EmpiricalBayesLogistic()


@method("AngleTransfer, linear")
def angle(problem):
    """Shrink toward a direction of the sources."""
    return AngleTransfer() if problem.regression else AngleTransferLogistic()


@method("ARMUL, linear")
def armul(problem):
    """Pull the tasks together where they agree."""
    return ARMUL() if problem.regression else ARMULLogistic()


@method("TransGLM, linear")
def trans_glm(problem):
    """Find the sources that help, pool them, correct on the target."""
    return TransGLM(family="gaussian" if problem.regression else "binomial")


@method("SourceSelector by MMD, linear")
def selected(problem):
    """Pool the sources that are near."""
    return SourceSelector(Pooled(problem.linear()))


@method("SourceSelector by gap, linear")
def selected_by_gap(problem):
    """Pool the sources that help held-out labels."""
    return SourceSelector(Pooled(problem.linear()), source_score="ntg", cv=3)


@method("SourceInfluence, linear")
def influence(problem):
    """Drop the sources whose influence hurts."""
    return SourceInfluence(Pooled(problem.linear()), cv=3, n_subsets=16)
