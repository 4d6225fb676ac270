"""Models of the sources in place of their rows."""

from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from benchmarks.board.registry import method
from sktransfer.baselines import TargetOnly
from sktransfer.hypothesis import (
    AdaptiveGP,
    AdaptiveGPClassifier,
    AdaptiveSVC,
    LinearInterpolation,
    OffsetTransfer,
    PositiveTransferLogistic,
    PositiveTransferRidge,
    SecureLogistic,
    SecureRLS,
    SlopeBiasCorrection,
    SourcePredictions,
    TransferChain,
    TransferForest,
)

for family in ("linear", "trees"):

    @method(
        f"LinearInterpolation, {family}",
        family=family,
        tier="core" if family == "linear" else "further",
    )
    def interpolation(problem, family=family):
        """Mix the sources' model with that of the target, by cross-validation."""
        return LinearInterpolation(problem.learner(family))

    @method(f"OffsetTransfer, {family}", family=family, tier="core")
    def offset(problem, family=family):
        """Fit what the sources' model leaves on the target."""
        return OffsetTransfer(problem.learner(family), problem.linear())

    @method(f"SourcePredictions, {family}", family=family)
    def stacked(problem, family=family):
        """Add the sources' predictions as columns."""
        columns = SourcePredictions(problem.learner(family), pooled=True)
        return make_pipeline(columns, TargetOnly(problem.learner(family)))


@method("PositiveTransfer, linear", tier="core")
def positive_transfer(problem):
    """Shrink toward the coefficients of the sources."""
    if problem.regression:
        return PositiveTransferRidge()
    return PositiveTransferLogistic()


@method("Secure, linear", tier="core")
def secure(problem):
    """Fit the residual of weighted source models."""
    return SecureRLS() if problem.regression else SecureLogistic()


@method("TransferChain, linear")
def chain(problem):
    """Carry the model from domain to domain."""
    return TransferChain(SecureRLS() if problem.regression else SecureLogistic())


@method("AdaptiveGP", family="own", tier="slow")
def gaussian_process(problem):
    """Learn how much a Gaussian process of the sources is worth."""
    if problem.regression:
        return AdaptiveGP(random_state=0)
    return AdaptiveGPClassifier(random_state=0)


@method("AdaptiveSVC", family="own", tasks="classification")
def support_vectors(problem):
    """Bias a support vector machine toward those of the sources."""
    return AdaptiveSVC(LinearSVC(dual=False))


@method("SlopeBiasCorrection, linear", tasks="regression")
def slope_bias(problem):
    """Correct the sources' predictions by a slope and a bias."""
    return SlopeBiasCorrection(problem.linear())


for rule, tasks in {"ser": "both", "strut": "classification"}.items():

    @method(f"TransferForest, {rule}", family="trees", tasks=tasks, tier="slow")
    def forest(problem, rule=rule):
        """Expand and reduce, or move the thresholds of, the trees of the sources."""
        return TransferForest(problem.trees(), method=rule)
