"""Kind 30: what says that it is scale-free is, and what is not does not say so."""

import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

from sktransfer.base import get_transfer_tags, is_scale_free
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.feature import TCA
from sktransfer.instance import KMM
from sktransfer.multisource import (
    OTQMS,
    UOWQ,
    HEnsemble,
    SingleBestSource,
    SourceSelector,
    UOWQMultiTask,
)
from sktransfer.safe import TransferGuard
from sktransfer.utils.estimator_checks import check_scale_free, make_problem

FREE = LogisticRegression(C=np.inf, solver="newton-cholesky")

SCALE_FREE = [
    Pooled(LinearRegression()),
    Pooled(LinearRegression(), source_weight=0.3),
    Pooled(LinearRegression(), max_rows=20),
    Pooled(FREE),
    Pooled(RandomForestClassifier(10, random_state=0)),
    SourceOnly(ExtraTreesRegressor(10, random_state=0)),
    TargetOnly(DecisionTreeRegressor(random_state=0)),
    Pooled(HistGradientBoostingClassifier(max_iter=5)),
    Pooled(make_pipeline(StandardScaler(), Ridge())),
    make_pipeline(MinMaxScaler(), Pooled(SVC())),
    UOWQ(LinearRegression()),
    UOWQ(LinearRegression(), weighting="static", noise_correction=False),
    UOWQ(make_pipeline(LinearRegression())[-1], solver="cvxpy"),
    UOWQMultiTask(LinearRegression()),
    OTQMS(LinearRegression(), random_state=0),
    TransferGuard(Pooled(LinearRegression()), cv=3),
    TransferGuard(UOWQ(LinearRegression()), cv=3, policy="aggregate"),
    SourceSelector(Pooled(LinearRegression()), source_score="ntg", n_sources=1, cv=3),
    SingleBestSource(LinearRegression()),
    HEnsemble(RandomForestClassifier(10, random_state=0)),
]

NOT_SCALE_FREE = [
    Pooled(Ridge()),
    Pooled(LogisticRegression()),
    Pooled(LogisticRegression(C=np.inf)),  # lbfgs stops where the units let it
    Pooled(LinearRegression(fit_intercept=False)),
    Pooled(PoissonRegressor()),
    Pooled(KNeighborsClassifier()),
    UOWQ(Ridge()),
    KMM(LinearRegression()),
    make_pipeline(TCA(2), Pooled(LinearRegression())),
    make_pipeline(StandardScaler(with_mean=False), Pooled(Ridge())),
    UOWQ(LinearRegression(), source_models=[LinearRegression()], source_sizes=[9]),
    SourceSelector(Pooled(LinearRegression()), n_sources=1),
]


@pytest.mark.parametrize("estimator", SCALE_FREE, ids=lambda e: repr(e)[:60])
def test_kind_30_the_units_of_a_feature_change_no_prediction(estimator):
    assert get_transfer_tags(estimator).scale_free
    with config_context(enable_metadata_routing=True):
        check_scale_free(estimator, make_problem)


@pytest.mark.parametrize("estimator", NOT_SCALE_FREE, ids=lambda e: repr(e)[:60])
def test_what_has_a_penalty_a_kernel_or_distances_is_not_scale_free(estimator):
    assert not get_transfer_tags(estimator).scale_free


def test_learners():
    assert is_scale_free(DummyClassifier())
    assert is_scale_free(PoissonRegressor(alpha=0, solver="newton-cholesky"))
    assert is_scale_free(make_pipeline("passthrough", LinearRegression()))
    assert not is_scale_free(make_pipeline(StandardScaler(with_std=False), Ridge()))


def test_kind_30_few_labels_of_a_free_logistic_regression():
    """The target alone is separable, so the fit has no end, but its labels do."""
    problem = make_problem(UOWQ(FREE), n_source=(60, 40), n_labeled=40)
    predicted = []
    for scale, offset in ((1.0, 0.0), (1e5, 2e5)):
        X, X_test = problem.X.copy(), problem.X_test.copy()
        X[:, 0], X_test[:, 0] = offset + scale * X[:, 0], offset + scale * X_test[:, 0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = UOWQ(FREE).fit(X, problem.y, sample_domain=problem.sample_domain)
        predicted.append(model.predict_proba(X_test))
    np.testing.assert_allclose(predicted[1], predicted[0], atol=1e-3)
