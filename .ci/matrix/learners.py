#!/usr/bin/env python
"""Every wrapper with every learner: classification, regression, a class that lacks.

Run ``python .ci/matrix/learners.py [WORD ...]``; words choose rows of the table by
text, such as ``XGB`` or ``KMM-lacks``. It needs the extra "test". A line is "ok", or
"refused" where an error names the reason that is expected of this pair, or the error;
the exit status is the number of errors.
"""

import sys
import warnings

import numpy as np
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.linear_model import (
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.instance import KMM
from sktransfer.multisource import (
    MCW,
    OTQMS,
    UOWQ,
    DomainRecognitionEnsemble,
    HEnsemble,
    MMDWeightedEnsemble,
    PeerWeightedEnsemble,
    SingleBestSource,
    SourceFreeEnsemble,
    SourceSelector,
    UOWQMultiTask,
)
from sktransfer.safe import SAFEW, ReliableTransfer, TransferGuard

_XGB = {"n_estimators": 5, "n_jobs": 1, "max_depth": 2}
_LGBM = {"n_estimators": 5, "n_jobs": 1, "verbose": -1, "min_child_samples": 3}
_CAT = {
    "iterations": 5, "verbose": 0, "thread_count": 1, "allow_writing_files": False,
    "random_seed": 0,
}  # fmt: skip
_LR, _TREE = LogisticRegression(), DecisionTreeClassifier(max_depth=3, random_state=0)

CLASSIFIERS = [
    _LR,
    LogisticRegressionCV(
        Cs=3, cv=3, l1_ratios=(0.0,), scoring="accuracy", use_legacy_attributes=False
    ),
    RidgeClassifierCV(),
    LinearSVC(),
    SVC(),
    GaussianNB(),
    KNeighborsClassifier(),
    GaussianProcessClassifier(),
    RandomForestClassifier(5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    AdaBoostClassifier(n_estimators=3),
    BaggingClassifier(_TREE, n_estimators=3, random_state=0),
    VotingClassifier([("a", _LR), ("b", _TREE)], voting="soft"),
    StackingClassifier([("a", _LR), ("b", _TREE)], cv=3),
    CalibratedClassifierCV(_LR, cv=3),
    GridSearchCV(_LR, {"C": [0.1, 1.0]}, cv=3),
    GridSearchCV(make_pipeline(StandardScaler(), _LR), {}, cv=3),
    make_pipeline(StandardScaler(), _LR),
    make_pipeline(StandardScaler(), KNeighborsClassifier()),
    make_pipeline(StandardScaler(), XGBClassifier(**_XGB)),
    XGBClassifier(**_XGB),
    LGBMClassifier(**_LGBM),
    CatBoostClassifier(**_CAT),
    CalibratedClassifierCV(XGBClassifier(**_XGB), cv=3),
    GridSearchCV(XGBClassifier(**_XGB), {"max_depth": [1, 2]}, cv=3),
]
REGRESSORS = [
    LinearRegression(),
    Ridge(),
    RidgeCV(),
    RidgeCV(scoring="r2"),
    LassoCV(cv=3, max_iter=10_000),
    PoissonRegressor(max_iter=1000),
    KNeighborsRegressor(),
    GaussianProcessRegressor(alpha=0.1, optimizer=None),
    RandomForestRegressor(5, random_state=0),
    HistGradientBoostingRegressor(max_iter=5),
    AdaBoostRegressor(n_estimators=3, random_state=0),
    BaggingRegressor(DecisionTreeRegressor(max_depth=3), 3, random_state=0),
    VotingRegressor([("a", Ridge()), ("b", LinearRegression())]),
    StackingRegressor([("a", Ridge()), ("b", LinearRegression())], cv=3),
    TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=3),
    make_pipeline(StandardScaler(), Ridge()),
    XGBRegressor(**_XGB),
    LGBMRegressor(**_LGBM),
    CatBoostRegressor(**_CAT),
]
WRAPPERS = {
    "SourceOnly": SourceOnly,
    "TargetOnly": TargetOnly,
    "Pooled": Pooled,
    "Pooled.5": lambda e: Pooled(e, source_weight=0.5),
    "KMM": KMM,
    "UOWQ": UOWQ,
    "UOWQMultiTask": UOWQMultiTask,
    "OTQMS": lambda e: OTQMS(e, random_state=0),
    "MMD": MMDWeightedEnsemble,
    "Peer": PeerWeightedEnsemble,
    "DomainRecognition": DomainRecognitionEnsemble,
    "SourceFree": SourceFreeEnsemble,
    "HEnsemble": HEnsemble,
    "MCW": MCW,
    "SingleBest": SingleBestSource,
    "Selector": lambda e: SourceSelector(Pooled(e)),
    "Guard": lambda e: TransferGuard(Pooled(e), cv=3),
    "GuardBlend": lambda e: TransferGuard(Pooled(e), cv=3, policy="aggregate"),
    "GuardPlain": lambda e: TransferGuard(Pooled(e), target_estimator=e, cv=3),
    "SAFEW": SAFEW,
    "SAFEWhinge": lambda e: SAFEW(e, loss="hinge"),
    "Reliable": lambda e: ReliableTransfer(e, alpha=0.1, n_permutations=30),
}
#: reasons to refuse a pair, each one error before any work
REASONS = [
    "has no registered likelihood",
    "has no predict_proba",
    "is for classification",
    "takes no sample_weight",
    "hands sample_weight to none",
    "loss='hinge' is for classifiers",
]


def make_rows(task):
    """Draw three domains; "lacks": the first source has no row of the class 1."""
    rng = np.random.default_rng(0)
    domain = np.repeat([1, 2, -1], [40, 40, 50])
    X = rng.normal(size=(130, 3)) + 0.3 * (domain == 2)[:, None]
    score = X[:, 0] + 0.3 * rng.normal(size=130)
    if task == "regression":
        y = np.exp(score)
    else:
        y = np.digitize(score, [-0.5, 0.5]).astype(float)
        if task == "lacks":
            y[(domain == 1) & (y == 1)] = 2
    y[-15:] = np.nan
    if task == "text":
        names = np.array(["ant", "bee", "cat"], dtype=object)
        text = names[np.nan_to_num(y).astype(int)]
        text[-15:] = None
        y = text
    return X, y, domain


def try_pair(wrap, learner, X, y, domain):
    """Fit and predict; return "ok", the reason of a refusal, or the error."""
    target = domain == -1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = wrap(learner).fit(X, y, sample_domain=domain)
            predicted = model.predict(X[target])
            assert predicted.shape == (target.sum(),), predicted.shape
            if hasattr(model, "predict_proba"):
                shape = model.predict_proba(X[target]).shape
                assert shape == (target.sum(), len(model.classes_)), shape
            if hasattr(model, "classes_"):
                assert np.isin(predicted, model.classes_).all(), predicted
            assert np.isfinite(model.score(X[target][:35], y[target][:35]))
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        refused = any(reason in text for reason in REASONS)
        return f"refused: {text[:90]}" if refused else text[:300]
    return "ok"


def main(words):
    """Print the table; return the number of errors."""
    n_errors = 0
    for task in ("classes", "text", "lacks", "regression"):
        rows = make_rows(task)
        for learner in REGRESSORS if task == "regression" else CLASSIFIERS:
            for name, wrap in WRAPPERS.items():
                label = f"{name}-{task}-{''.join(str(learner).split())[:60]}"
                if words and not any(word in label for word in words):
                    continue
                found = try_pair(wrap, learner, *rows)
                n_errors += not found.startswith(("ok", "refused"))
                print(f"{label}: {found}", flush=True)
    print(f"{n_errors} errors")
    return n_errors


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 100))
