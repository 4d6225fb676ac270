"""``source_models`` means the same in every estimator that takes it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from instances import ESTIMATORS
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer._source_models import SourceModelsMixin
from sktransfer.base import get_transfer_tags, without_sources
from sktransfer.hypothesis import (
    AdaptiveSVC,
    LinearInterpolation,
    SecureLogistic,
    SecureRLS,
    SourcePredictions,
)
from sktransfer.instance import TaskTrAdaBoost, TaskTrAdaBoostR2
from sktransfer.multisource import (
    MCW,
    UOWQ,
    FeatureFusion,
    HEnsemble,
    IncrementalSourceEnsemble,
    SourceFreeEnsemble,
)
from sktransfer.safe import SAFEW, TransferGuard

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
REAL = X @ [1.0, 2.0, 0.0] + 0.1 * rng.normal(size=40)
CLASS = np.where(REAL > 0, "yes", "no")
REGRESSOR = Ridge().fit(X + 0.1, REAL)
CLASSIFIER = LogisticRegression().fit(X + 0.1, CLASS)
SVM = LinearSVC().fit(X + 0.1, CLASS)


def uowq(learner, source_models):
    many = isinstance(source_models, list | tuple)
    sizes = [40] * len(source_models) if many else 40
    sizes = None if source_models is None else sizes
    return UOWQ(learner, source_models=source_models, source_sizes=sizes)


#: how each estimator is made of source models, and the kind of model that it takes
CASES = {
    "AdaptiveSVC": (lambda models: AdaptiveSVC(models), SVM),
    "SecureRLS": (lambda models: SecureRLS(models, alpha=0.1), REGRESSOR),
    "SAFEW regression": (lambda models: SAFEW(Ridge(), models), REGRESSOR),
    "SAFEW": (lambda models: SAFEW(LogisticRegression(), models), CLASSIFIER),
    "SAFEW hinge": (
        lambda models: SAFEW(LogisticRegression(), models, loss="hinge"),
        CLASSIFIER,
    ),
    "HEnsemble": (
        lambda models: HEnsemble(LogisticRegression(), source_models=models),
        CLASSIFIER,
    ),
    "MCW": (lambda models: MCW(LogisticRegression(), source_models=models), CLASSIFIER),
    "SourceFreeEnsemble": (
        lambda models: SourceFreeEnsemble(LogisticRegression(), source_models=models),
        CLASSIFIER,
    ),
    "TaskTrAdaBoost": (
        lambda models: TaskTrAdaBoost(
            LogisticRegression(), source_models=models, n_estimators=3
        ),
        CLASSIFIER,
    ),
    "TaskTrAdaBoostR2": (
        lambda models: TaskTrAdaBoostR2(Ridge(), source_models=models, n_estimators=3),
        REGRESSOR,
    ),
    "LinearInterpolation": (
        lambda models: LinearInterpolation(Ridge(), source_models=models),
        REGRESSOR,
    ),
    "SecureLogistic": (lambda models: SecureLogistic(models), CLASSIFIER),
    "FeatureFusion": (
        lambda models: FeatureFusion(LogisticRegression(), source_models=models),
        CLASSIFIER,
    ),
    "IncrementalSourceEnsemble": (
        lambda models: IncrementalSourceEnsemble(
            LogisticRegression(), source_models=models
        ),
        CLASSIFIER,
    ),
    "UOWQ": (lambda models: uowq(LogisticRegression(), models), CLASSIFIER),
    "UOWQ regression": (lambda models: uowq(Ridge(), models), REGRESSOR),
}
#: those whose learners wait for source rows, so that an unfitted entry is welcome
LEARNERS_TOO = {
    "SecureRLS", "SAFEW regression", "SAFEW", "SAFEW hinge", "LinearInterpolation",
    "SecureLogistic", "AdaptiveSVC",
}  # fmt: skip
#: those that take nets; tests/deep has their tests
OF_NETS = {"SHOT", "SourceFreeNets"}


def labels_for(model):
    return REAL if model is REGRESSOR else CLASS


def test_there_is_one_spelling_and_one_room():
    known = {type(make(None)) for make, _ in CASES.values()} | {SourcePredictions}
    for estimator in ESTIMATORS:
        params = estimator.get_params(deep=False)
        takes = "source_models" in params
        assert takes == isinstance(estimator, SourceModelsMixin)
        assert (
            not takes or type(estimator) in known or type(estimator).__name__ in OF_NETS
        )
        assert not {"source", "sources", "models"} & set(params)


@pytest.mark.parametrize("frozen", [False, True], ids=["bare", "frozen"])
@pytest.mark.parametrize("form", ["one", "list", "tuple"])
@pytest.mark.parametrize("name", CASES)
def test_one_or_many_bare_or_frozen_survive_clone_and_pickle(name, form, frozen):
    make, fitted = CASES[name]
    y = labels_for(fitted)
    model = FrozenEstimator(fitted) if frozen else fitted
    given = {"one": model, "list": [model], "tuple": (model,)}[form]
    estimator = make(given)
    copy = pickle.loads(pickle.dumps(clone(clone(estimator))))
    expected = estimator.fit(X, y).predict(X)
    assert_array_equal(copy.fit(X, y).predict(X), expected)
    assert_array_equal(make([fitted]).fit(X, y).predict(X), expected)
    assert get_transfer_tags(estimator).source_free


@pytest.mark.parametrize("name", CASES)
def test_fitted_models_reach_every_fit_of_outer_estimators(name):
    make, fitted = CASES[name]
    y = labels_for(fitted)
    estimator = make(fitted)
    seen = cross_validate(
        estimator, X, y, cv=KFold(3), return_estimator=True, error_score="raise"
    )
    for fold in seen["estimator"]:
        assert fold.source_models is fitted
    wraps = "estimator" in estimator.get_params(deep=False)
    learner = {"estimator": [clone(fitted)]} if wraps else {}
    search = GridSearchCV(estimator, learner, cv=3, error_score="raise").fit(X, y)
    assert search.best_estimator_.source_models is fitted
    values = [FrozenEstimator(fitted), [FrozenEstimator(fitted)] * 1]
    grid = GridSearchCV(estimator, {"source_models": values}, error_score="raise", cv=3)
    assert np.ptp(grid.fit(X, y).cv_results_["mean_test_score"]) == 0
    guard = clone(TransferGuard(estimator, cv=3)).fit(X, y)
    assert guard.transfer_.source_models is fitted
    assert guard.target_only_.source_models is None
    assert_array_equal(
        guard.transfer_.predict(X), clone(estimator).fit(X, y).predict(X)
    )


@pytest.mark.parametrize("name", CASES)
def test_without_sources_is_the_fit_that_knows_no_model(name):
    make, fitted = CASES[name]
    y = labels_for(fitted)
    alone = without_sources(make_pipeline(StandardScaler(), make([fitted])))[-1]
    assert alone.get_params(deep=False).keys() == make(None).get_params(False).keys()
    assert alone.source_models is None
    expected = make(None).fit(X, y).predict(X)
    assert_array_equal(alone.fit(X, y).predict(X), expected)


@pytest.mark.parametrize("name", CASES)
def test_wrong_entries_are_one_error_that_names_the_entry(name):
    make, fitted = CASES[name]
    y = labels_for(fitted)
    other = CLASSIFIER if fitted is REGRESSOR else REGRESSOR
    with pytest.raises(TypeError, match=r"source_models\[1\].* (classifier|regressor)"):
        make([fitted, other]).fit(X, y)
    narrow = clone(fitted).fit(X[:, :2], y)
    with pytest.raises(ValueError, match=r"source_models\[1\].* on 2 features.* 3"):
        make([fitted, narrow]).fit(X, y)
    for wrong in ("model", type(fitted), None):
        with pytest.raises(TypeError, match=r"source_models\[1\] must be a model"):
            clone(make([fitted, wrong])).fit(X, y)
    lost = FrozenEstimator(clone(fitted))
    entries = [lost] if name in LEARNERS_TOO else [lost, clone(fitted)]
    for entry in entries:
        with pytest.raises(NotFittedError, match=r"source_models\[1\].*FrozenEst"):
            make([fitted, entry]).fit(X, y)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"UOWQ", "UOWQ regression"}))
def test_models_of_frames_need_their_columns_by_name(name):
    """A pipeline that picks its columns takes wider frames."""
    make, fitted = CASES[name]
    y = labels_for(fitted)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    pick = ColumnTransformer([("own", "passthrough", ["b", "a"])])
    own = make_pipeline(pick, clone(fitted)).fit(frame[["b", "a"]], y)
    given = make([own, clone(fitted).fit(frame, y)])
    assert given.fit(frame, y).predict(frame).shape == y.shape
    wide = clone(fitted).fit(frame.rename(columns={"c": "d"}), y)
    with pytest.raises(ValueError, match=r"source_models\[1\].* features \['d'\]"):
        make([own, wide]).fit(frame, y)
    narrow = clone(fitted).fit(frame[["a", "b"]], y)
    with pytest.raises(ValueError, match=r"source_models\[1\].* on 2 features.* 3"):
        make([own, narrow]).fit(frame, y)


@pytest.mark.parametrize("name", CASES)
def test_an_empty_list_is_an_error(name):
    make, fitted = CASES[name]
    with pytest.raises(ValueError, match="source_models is empty"):
        make([]).fit(X, labels_for(fitted))


@pytest.mark.parametrize("name", sorted(set(CASES) - LEARNERS_TOO))
def test_models_beside_source_rows_are_an_error(name):
    make, fitted = CASES[name]
    y = labels_for(fitted)
    with pytest.raises(ValueError, match="Give one of the two"):
        make(fitted).fit(X, y, sample_domain=np.repeat([1, -1], 20))


def test_models_without_probabilities_are_refused_where_they_are_needed():
    class Voter:
        def predict(self, X):
            return np.full(len(X), "yes")

    for name in ("HEnsemble", "MCW", "SourceFreeEnsemble", "SAFEW"):
        make, fitted = CASES[name]
        with pytest.raises(TypeError, match=r"source_models\[1\].*no predict_proba"):
            make([fitted, Voter()]).fit(X, CLASS)
    assert SAFEW(LogisticRegression(), Voter(), loss="hinge").fit(X, CLASS)


def test_learners_are_cloned_and_fitted_on_the_sources():
    domain = np.repeat([1, 2, -1], [15, 15, 10])
    learner = LinearRegression()
    model = clone(SecureRLS([learner, REGRESSOR])).fit(X, REAL, sample_domain=domain)
    assert model.source_names_ == ["source_models[1]", "1", "2"]
    assert not hasattr(learner, "coef_")
    assert model.source_models_[0] is REGRESSOR
