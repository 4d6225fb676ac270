"""The target alone: what every gain is measured from, and stronger ways to do it."""

import numpy as np
from sklearn.linear_model import LogisticRegressionCV, RidgeCV

from benchmarks.board.registry import method
from sktransfer.baselines import TargetOnly
from sktransfer.safe import TransferPortfolioClassifier, TransferPortfolioRegressor

for family in ("linear", "trees"):

    @method(f"alone, {family}", family=family, kind="alone", tier="core")
    def alone(problem, family=family):
        """Fit the common learner to the labeled target rows."""
        return problem.learner(family)


@method("alone, linear, penalty by CV", kind="alone", tier="core")
def tuned(problem):
    """Choose the penalty by cross-validation among the labeled target rows."""
    if problem.regression:
        return RidgeCV(np.logspace(-2, 4, 13))
    return LogisticRegressionCV(
        Cs=np.logspace(-4, 2, 7), cv=2, max_iter=1000, l1_ratios=(0.0,),
        scoring="neg_log_loss", use_legacy_attributes=False,
    )  # fmt: skip


@method(
    "alone, portfolio", family="own", kind="alone", reference="alone, portfolio",
    tier="core",
)  # fmt: skip
def portfolio(problem):
    """Mix the portfolio's linear model and boosted trees, without sources."""
    if problem.regression:
        return TargetOnly(TransferPortfolioRegressor())
    return TargetOnly(TransferPortfolioClassifier())
