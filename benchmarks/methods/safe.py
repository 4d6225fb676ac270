"""Guards, portfolios, and what else promises not to hurt."""

from sklearn.pipeline import make_pipeline

from benchmarks.board.registry import method
from sktransfer.baselines import Pooled
from sktransfer.feature import CORAL, FeatureAugmentation
from sktransfer.hypothesis import LinearInterpolation
from sktransfer.instance import KMM
from sktransfer.multisource import UOWQ
from sktransfer.safe import (
    SAFEW,
    ReliableTransfer,
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)


def _portfolio(problem):
    if problem.regression:
        return TransferPortfolioRegressor
    return TransferPortfolioClassifier


@method(
    "portfolio", family="own", kind="guarded", reference="alone, portfolio",
    tier="slow",
)  # fmt: skip
def portfolio(problem):
    """Mix members that transfer in different ways, with all defaults."""
    return _portfolio(problem)()


@method(
    "portfolio, trials", family="own", kind="guarded", reference="alone, portfolio",
    tier="slow",
)  # fmt: skip
def trials(problem):
    """Learn the prior of the members from the sources."""
    return _portfolio(problem)(prior="trials")


@method("portfolio of linear", kind="guarded", tier="core")
def linear_portfolio(problem):
    """Mix five linear members."""
    base = problem.linear()
    return _portfolio(problem)(members=[
        ("alone", base),
        ("pooled", Pooled(base)),
        ("interpolated", LinearInterpolation(base)),
        ("augmented", make_pipeline(FeatureAugmentation(), Pooled(base))),
        ("kmm", KMM(base)),
    ])  # fmt: skip


GUARDED = {
    "Pooled, linear": lambda p: Pooled(p.linear()),
    "FeatureAugmentation, linear": lambda p: make_pipeline(
        FeatureAugmentation(), Pooled(p.linear())
    ),
    "CORAL, linear": lambda p: make_pipeline(CORAL(), Pooled(p.linear())),
    "KMM, linear": lambda p: KMM(p.linear()),
    "UOWQ, linear": lambda p: UOWQ(p.linear()),
    "Pooled, trees": lambda p: Pooled(p.trees()),
}

for name, make in GUARDED.items():
    tier = {"Pooled, linear": "core", "Pooled, trees": "slow"}.get(name, "further")
    family = name.split(", ")[1]

    @method(f"guard of {name}", family=family, kind="guarded", tier=tier)
    def guarded(problem, make=make):
        """Blend the method with its fit on the target alone."""
        return TransferGuard(make(problem))


@method("SAFEW, linear", kind="guarded")
def safew(problem):
    """Stay safe against every weight of the sources."""
    return SAFEW(problem.linear())


@method("ReliableTransfer, linear", kind="guarded")
def reliable(problem):
    """Test the sources by permutations first."""
    return ReliableTransfer(problem.linear(), n_permutations=99)
