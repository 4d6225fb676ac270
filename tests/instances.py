"""Every public estimator, built cheaply: the table behind the common tests.

A new method adds a line here. Both scikit-learn's checks and the transfer contract
run on every line.
"""

from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.feature import SSTCA, TCA
from sktransfer.instance import KMM

ESTIMATORS = [
    SourceOnly(LogisticRegression()),
    SourceOnly(Ridge()),
    TargetOnly(LogisticRegression()),
    TargetOnly(Ridge()),
    Pooled(LogisticRegression()),
    Pooled(Ridge(), source_weight=0.5),
    KMM(LogisticRegression()),
    KMM(LogisticRegression(), target_weight=0.0, kernel="linear"),
    KMM(Ridge()),
    TCA(2),
    TCA(2, kernel="linear"),
    SSTCA(2),
]

#: per class: name of a check -> the property of the method that makes it fail
EXPECTED_FAILURES = {
    KMM: {
        "check_non_transformer_estimators_n_iter": (
            "the check fits without sources, where no weight is to be found: "
            "n_iter_ is 0"
        ),
    },
}


def expected_failures(estimator):
    """Return the expected failures of an estimator's class."""
    return EXPECTED_FAILURES.get(type(estimator), {})
