"""Store fitted models of this release: ``python tests/stored_models/store.py``.

A model goes to ``tests/stored_models/VERSION/NAME.joblib`` with samples and what it
predicts for them. The models of a release are stored once, with the oldest supported
libraries; until it is out they may be stored again.
"""

from pathlib import Path

import joblib
from sklearn.linear_model import LogisticRegression, Ridge

import sktransfer
from sktransfer.baselines import Pooled
from sktransfer.datasets import make_concept_shift
from sktransfer.feature import TCA
from sktransfer.hypothesis import (
    AdaptiveGP,
    OffsetTransfer,
    PositiveTransferRidge,
    SecureRLS,
    SourcePredictions,
)
from sktransfer.instance import KMM, LabelShiftClassifier
from sktransfer.multisource import UOWQ, EmpiricalBayesRidge, MMDWeightedEnsemble
from sktransfer.preprocessing import TableEncoder
from sktransfer.safe import (
    SAFEW,
    TransferConformal,
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)

FOLDER = Path(__file__).parent
REGRESSORS = [
    TransferPortfolioRegressor(Ridge(), cv=2),
    TransferGuard(Pooled(Ridge()), cv=3),
    TransferConformal(Pooled(Ridge()), method="split"),
    KMM(Ridge()),
    TCA(2),
    SecureRLS(),
    PositiveTransferRidge(),
    AdaptiveGP(),
    OffsetTransfer(Ridge(), shrinkage=0.5),
    SourcePredictions(Ridge()),
    SAFEW(Ridge()),
    UOWQ(Ridge()),
    EmpiricalBayesRidge(),
    TableEncoder(),
]
CLASSIFIERS = [
    TransferPortfolioClassifier(LogisticRegression(), cv=2),
    LabelShiftClassifier(LogisticRegression(), cv=2),
    MMDWeightedEnsemble(LogisticRegression()),
]


def answer(model, X):
    """Return what a model makes of samples."""
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(model, method):
            return getattr(model, method)(X)
    raise TypeError(f"{type(model).__name__} neither predicts nor transforms.")


def main():
    """Fit and store every model."""
    folder = FOLDER / sktransfer.__version__
    folder.mkdir(exist_ok=True)
    for task, models in [("regression", REGRESSORS), ("classification", CLASSIFIERS)]:
        data = make_concept_shift(
            20, n_labeled=16, n_features=3, shift=[0.2, 1.0], task=task, random_state=0
        )
        X = data.X_test[:8]
        for model in models:
            model.fit(data.X, data.y, sample_domain=data.sample_domain)
            stored = {"model": model, "X": X, "answer": answer(model, X)}
            path = folder / f"{type(model).__name__}.joblib"
            joblib.dump(stored, path, compress=("xz", 9))
            print(f"{path.stat().st_size:7d} bytes  {path.name}")  # noqa: T201


if __name__ == "__main__":
    main()
