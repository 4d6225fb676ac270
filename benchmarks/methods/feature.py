"""Common feature spaces and transport, with the common learner on the pooled rows."""

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from benchmarks.board.registry import method
from sktransfer.baselines import Pooled
from sktransfer.feature import (
    CORAL,
    JCPOT,
    JDA,
    JDOT,
    SSTCA,
    TCA,
    TJM,
    TSL,
    DomainInvariantPLS,
    DualTransfer,
    FeatureAugmentation,
    FeatureMMDSelection,
    GeodesicFlowKernel,
    LinearTransportMap,
    LowRankSparseTransfer,
    MMDLinearMap,
    OptimalTransportMap,
    OTLabelPropagation,
    SubspaceAlignment,
)
from sktransfer.preprocessing import DomainScaler


def n_components(problem):
    """Return 10 components, or as many as there are features."""
    return min(10, problem.n_features)


MAPS = {
    "TCA": lambda p: TCA(n_components(p)),
    "SSTCA": lambda p: SSTCA(n_components(p)),
    "TJM": lambda p: TJM(n_components(p)),
    "TSL": lambda p: TSL(
        n_components(p), criterion="pca" if p.regression else "flda", max_samples=300
    ),
    "JDA": lambda p: JDA(n_components(p), balance=0.0 if p.regression else 0.5),
    "CORAL": lambda p: CORAL(),
    "SubspaceAlignment": lambda p: SubspaceAlignment(n_components(p)),
    "GeodesicFlowKernel": lambda p: GeodesicFlowKernel(max(n_components(p) // 2, 1)),
    "LinearTransportMap": lambda p: LinearTransportMap(),
    "OptimalTransportMap": lambda p: OptimalTransportMap(),
    "MMDLinearMap": lambda p: MMDLinearMap(),
    "FeatureAugmentation": lambda p: FeatureAugmentation(),
    "FeatureMMDSelection": lambda p: FeatureMMDSelection(),
    "DomainScaler": lambda p: DomainScaler(),
}
CORE = "CORAL", "TCA", "FeatureAugmentation", "SubspaceAlignment"
WITH_TREES = "CORAL", "TCA", "FeatureAugmentation", "DomainScaler"

for name, make in MAPS.items():
    for family in ("linear", "trees") if name in WITH_TREES else ("linear",):
        tier = "core" if name in CORE and family == "linear" else "further"

        @method(f"{name}, {family}", family=family, tier=tier)
        def mapped(problem, make=make, family=family):
            """Fit the common learner to the mapped rows of all domains."""
            return make_pipeline(make(problem), Pooled(problem.learner(family)))


@method("DomainInvariantPLS", family="own", tasks="regression")
def di_pls(problem):
    """Regress on components that sources and target share."""
    return DomainInvariantPLS(min(5, problem.n_features))


@method("LowRankSparseTransfer, linear", tasks="classification")
def low_rank(problem):
    """Write the target rows by few source rows."""
    return make_pipeline(LowRankSparseTransfer(), Pooled(problem.linear()))


for cls in (JDOT, OTLabelPropagation):

    @method(f"{cls.__name__}, linear")
    def transported(problem, cls=cls):
        """Carry labels to the target by transport."""
        return cls(problem.linear())


@method("JCPOT, linear", tasks="classification")
def jcpot(problem):
    """Find the shares of the classes by transport."""
    return JCPOT(problem.linear())


@method("DualTransfer", family="own", tasks="classification")
def dual_transfer(problem):
    """Factorize sources and target together; features are moved to [0, 1] before."""
    factors = DualTransfer(min(10, problem.n_features), 2)
    return make_pipeline(MinMaxScaler(clip=True), factors)
