"""A rich source model, corrected by a simple learner on the target."""

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from xgboost import XGBClassifier, XGBRegressor

from sktransfer.base import without_sources
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.hypothesis import OffsetTransfer
from sktransfer.safe import TransferGuard

_FEW = {"max_iter": 10, "min_samples_leaf": 2, "random_state": 0}
_LIGHT = {"n_estimators": 10, "min_child_samples": 2, "verbose": -1, "n_jobs": 1}
_CAT = {"iterations": 10, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
_XGB = {"n_estimators": 10, "n_jobs": 1}

CLASSIFIERS = [
    LogisticRegression(),
    make_pipeline(StandardScaler(), LogisticRegression()),
    HistGradientBoostingClassifier(**_FEW),
    LGBMClassifier(**_LIGHT),
    XGBClassifier(**_XGB),
    CatBoostClassifier(**_CAT),
]
REGRESSORS = [
    Ridge(),
    make_pipeline(StandardScaler(), Ridge()),
    HistGradientBoostingRegressor(**_FEW),
    LGBMRegressor(**_LIGHT),
    XGBRegressor(**_XGB),
    CatBoostRegressor(**_CAT),
]
COUNTS = [
    PoissonRegressor(),
    make_pipeline(StandardScaler(), PoissonRegressor()),
    TweedieRegressor(power=1.5),
    GammaRegressor(),
    HistGradientBoostingRegressor(loss="poisson", **_FEW),
    HistGradientBoostingRegressor(loss="gamma", **_FEW),
    LGBMRegressor(objective="poisson", **_LIGHT),
    LGBMRegressor(objective="gamma", **_LIGHT),
    XGBRegressor(objective="count:poisson", **_XGB),
    XGBRegressor(objective="reg:gamma", **_XGB),
    CatBoostRegressor(loss_function="Poisson", **_CAT),
    CatBoostRegressor(loss_function="Tweedie:variance_power=1.3", **_CAT),
]


def name(learner):
    return "".join(repr(learner).split())[:50]


class Known(DummyRegressor):
    """Predict the first column, whatever it was fitted on."""

    def predict(self, X):
        return np.asarray(X)[:, 0]


class KnownClasses(DummyClassifier):
    """Predict the softmax of the first columns, whatever it was fitted on."""

    def predict_proba(self, X):
        values = np.asarray(X)[:, : len(self.classes_)]
        if values.shape[1] == 2:
            return np.column_stack([expit(-values[:, 0]), expit(values[:, 0])])
        return softmax(values, axis=1)


@pytest.fixture
def domain():
    return np.repeat([1, 2, -1], [30, 30, 40])


@pytest.fixture
def X(rng):
    return rng.normal(size=(100, 4))


@pytest.fixture
def y(X, rng):
    return X @ [1.0, 2.0, 0.0, -1.0] + rng.normal(size=100)


def classes_of(X, rng, n_classes):
    scores = X[:, :n_classes] + rng.gumbel(size=(100, n_classes))
    return scores.argmax(axis=1)


@pytest.mark.parametrize("learner", REGRESSORS, ids=name)
@pytest.mark.parametrize("shrinkage", [0.6, "auto"])
def test_a_source_that_predicts_zero_gives_the_target_learner(
    X, y, domain, learner, shrinkage
):
    zero = DummyRegressor(strategy="constant", constant=0.0)
    model = OffsetTransfer(zero, learner, shrinkage=shrinkage)
    model.fit(X, y, sample_domain=domain)
    alone = clone(learner).fit(X[60:], y[60:])
    assert_array_equal(model.predict(X), np.ravel(alone.predict(X)))


@pytest.mark.parametrize("learner", COUNTS, ids=name)
def test_a_log_source_of_zero_gives_the_target_learner(X, y, domain, learner):
    counts = np.exp(0.5 * y) + 0.1
    one = DummyRegressor(strategy="constant", constant=1.0)
    model = OffsetTransfer(one, learner, shrinkage=0.6)
    model.fit(X, counts, sample_domain=domain)
    alone = clone(learner).fit(X[60:], counts[60:])
    assert_array_equal(model.predict(X), alone.predict(X))


@pytest.mark.parametrize("learner", CLASSIFIERS, ids=name)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_source_of_even_odds_gives_the_target_learner(
    X, rng, domain, learner, n_classes
):
    y = classes_of(X, rng, n_classes)
    y[:60] = np.arange(60) % n_classes
    even = DummyClassifier(strategy="uniform")
    model = OffsetTransfer(even, learner, shrinkage=0.6)
    model.fit(X, y, sample_domain=domain)
    alone = clone(learner).fit(X[60:], y[60:])
    assert_array_equal(model.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("learner", [*REGRESSORS, *COUNTS[:4]], ids=name)
def test_without_shrinkage_or_sources_the_target_learner_is_left(X, y, domain, learner):
    labels = np.exp(0.5 * y) + 0.1
    alone = np.ravel(clone(learner).fit(X[60:], labels[60:]).predict(X))
    rich = HistGradientBoostingRegressor(loss="poisson", **_FEW)
    model = OffsetTransfer(rich, learner, shrinkage=0.0)
    fitted = clone(model).fit(X, labels, sample_domain=domain)
    assert_array_equal(fitted.predict(X), alone)
    for shrinkage in (1.0, "auto"):
        model.set_params(shrinkage=shrinkage)
        fitted = model.fit(X[60:], labels[60:], sample_domain=domain[60:])
        assert_array_equal(fitted.predict(X), alone)
        assert fitted.shrinkage_ == 0.0
        assert fitted.source_model_ is None


@pytest.mark.parametrize("learner", CLASSIFIERS, ids=name)
def test_without_shrinkage_the_target_classifier_is_left(X, rng, domain, learner):
    y = classes_of(X, rng, 3)
    y[60:][y[60:] == 2] = 1  # the target has two of the three classes
    model = OffsetTransfer(LogisticRegression(), learner, shrinkage=0.0)
    model.fit(X, y, sample_domain=domain)
    alone = clone(learner).fit(X[60:], y[60:])
    proba = model.predict_proba(X)
    assert_array_equal(model.classes_, [0, 1, 2])
    assert_array_equal(proba[:, :2], alone.predict_proba(X))
    assert_array_equal(proba[:, 2], 0.0)


@pytest.mark.parametrize("shrinkage", [0.3, 1.0])
def test_regression_learns_the_residuals(X, y, domain, shrinkage):
    model = OffsetTransfer(Ridge(), Ridge(3.0), shrinkage=shrinkage)
    model.fit(X, y, sample_domain=domain)
    source = Ridge().fit(X[:60], y[:60])
    part = shrinkage * source.predict(X)
    rest = Ridge(3.0).fit(X[60:], (y - part)[60:])
    assert_allclose(model.predict(X), part + rest.predict(X), rtol=1e-12)


def test_several_outputs_are_shifted_column_by_column(X, y, domain):
    Y = np.column_stack([y, -2 * y])
    model = OffsetTransfer(Ridge(), Ridge(3.0), shrinkage=1.0)
    model.fit(X, Y, sample_domain=domain)
    single = clone(model).fit(X, Y[:, 1], sample_domain=domain)
    assert_allclose(model.predict(X)[:, 1], single.predict(X), rtol=1e-10)


def test_the_shrinkage_has_the_least_out_of_fold_loss(X, y, domain):
    model = OffsetTransfer(Ridge(), Ridge(1e3), cv=4)
    model.fit(X, y, sample_domain=domain)
    assert model.shrinkage_candidates_.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert model.shrinkage_ >= 0.75  # the source is right, the target learner poor
    best = model.shrinkage_losses_.argmin()
    assert model.shrinkage_ == model.shrinkage_candidates_[best]
    reversed_source = np.where(domain > 0, -y, y)
    model.fit(X, reversed_source, sample_domain=domain)
    assert model.shrinkage_ == 0.0
    model = OffsetTransfer(Ridge(), shrinkage=[0.9, 0.1]).fit(
        X, y, sample_domain=domain
    )
    assert model.shrinkage_candidates_.tolist() == [0.1, 0.9]


def test_the_losses_are_those_of_models_that_did_not_see_the_row(X, y, domain):
    weight = np.linspace(0.5, 2.0, 100)
    model = OffsetTransfer(Ridge(), Ridge(3.0), shrinkage=[0.0, 0.7], cv=40)
    model.fit(X, y, sample_domain=domain, sample_weight=weight)
    source = Ridge().fit(X[:60], y[:60], sample_weight=weight[:60])
    part = 0.7 * source.predict(X)
    errors = []
    for i in range(60, 100):
        train = np.setdiff1d(np.arange(60, 100), i)
        rest = Ridge(3.0).fit(X[train], (y - part)[train], sample_weight=weight[train])
        errors.append((y[i] - part[i] - rest.predict(X[[i]])[0]) ** 2)
    expected = np.average(errors, weights=weight[60:])
    assert model.shrinkage_losses_[1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("learner", "power"),
    [(PoissonRegressor(alpha=0.1), 1), (GammaRegressor(alpha=0.1), 2),
     (TweedieRegressor(power=1.5, alpha=0.1), 1.5)],
    ids=name,
)  # fmt: skip
@pytest.mark.parametrize("exposed", [False, True])
def test_linear_models_of_counts_solve_the_problem_with_the_offset(
    X, y, domain, rng, learner, power, exposed
):
    exposure = rng.uniform(0.5, 3.0, 100) if exposed else np.ones(100)
    labels = exposure * (np.exp(0.4 * y) + 0.05)
    learner.set_params(tol=1e-10, max_iter=2000)
    one = Known().fit(np.exp(X), labels)
    model = OffsetTransfer(one, learner, shrinkage=0.8)
    rows = np.column_stack([np.exp(X[:, 0]), X])
    extra = {"exposure": exposure} if exposed else {}
    model.fit(rows, labels, sample_domain=domain, **extra)
    coef, intercept = model.target_model_.coef_, model.target_model_.intercept_

    def objective(beta):
        eta = 0.8 * X[60:, 0] + np.log(exposure[60:]) + rows[60:] @ beta[:-1] + beta[-1]
        t = labels[60:]
        if power == 1:
            losses = np.exp(eta) - t * eta
        elif power == 2:
            losses = t * np.exp(-eta) + eta
        else:
            losses = np.exp((2 - power) * eta) / (2 - power)
            losses = losses - t * np.exp((1 - power) * eta) / (1 - power)
        return losses.mean() + 0.05 * np.sum(beta[:-1] ** 2)

    found = minimize(objective, np.zeros(6), tol=1e-12)
    assert_allclose(np.append(coef, intercept), found.x, atol=1e-4)
    predicted = np.exp(0.8 * X[:, 0] + rows @ coef + intercept)
    assert_allclose(model.predict(rows), predicted, rtol=1e-10)
    assert_allclose(
        model.predict(rows, exposure=exposure), predicted * exposure, rtol=1e-10
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_logistic_regression_solves_the_problem_with_the_offset(
    X, rng, domain, n_classes
):
    y = classes_of(X, rng, n_classes)
    source = KnownClasses().fit(X, y)
    model = OffsetTransfer(source, LogisticRegression(C=0.5), shrinkage=0.8)
    model.fit(X, y, sample_domain=domain)
    coef, intercept = model.target_model_.coef_, model.target_model_.intercept_
    if n_classes == 2:
        eta = 0.8 * X[:, 0] + X @ coef[0] + intercept
        proba = np.column_stack([expit(-eta), expit(eta)])
        error = (proba[:, 1] - (y == 1))[60:, None]
    else:
        eta = 0.8 * X[:, :3] + X @ coef.T + intercept
        proba = softmax(eta, axis=1)
        error = (proba - (y[:, None] == np.arange(3)))[60:]
    assert_allclose(model.predict_proba(X), proba, rtol=1e-5, atol=2e-3)
    # the source's probabilities are cut at .001, which these hardly meet
    gradient = error.T @ X[60:] + coef / 0.5
    assert_allclose(gradient, 0.0, atol=0.05)


@pytest.mark.parametrize("learner", CLASSIFIERS, ids=name)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_start_from_the_source(rng, domain, learner, n_classes):
    """Labels that follow the source in full need no correction."""
    domain = np.repeat([1, -1], [380, 20])
    scores = 3.0 * rng.normal(size=(400, n_classes))
    if n_classes == 2:
        scores[:, 1] = 0.0
    noise = 2.0 * rng.normal(size=(400, 6))
    y = (scores[:, ::-1] if n_classes == 2 else scores) + 0.5 * rng.gumbel(
        size=scores.shape
    )
    y = y.argmax(axis=1)
    rows = np.hstack([scores[:, : n_classes if n_classes > 2 else 1], noise])
    source = KnownClasses().fit(rows, y)
    model = OffsetTransfer(source, learner, shrinkage=1.0)
    model.fit(rows, y, sample_domain=domain)
    alone = clone(learner).fit(rows[380:], y[380:])

    def loss(fitted):
        return log_loss(y[:380], fitted.predict_proba(rows[:380]))

    assert loss(model) < loss(alone)
    proba = model.predict_proba(rows)
    assert_allclose(proba.sum(axis=1), 1.0)
    decision = model.decision_function(rows)
    if n_classes == 2:
        assert_allclose(expit(decision), proba[:, 1])
    else:
        assert_allclose(softmax(decision, axis=1), proba)
    assert_allclose(model.predict_log_proba(rows), np.log(proba))


@pytest.mark.parametrize("learner", COUNTS, ids=name)
def test_learners_of_counts_start_from_the_source(rng, learner):
    """Labels of three times the source need a constant, whatever the learner."""
    X = rng.normal(size=(200, 3))
    rate = np.exp(X[:, 0])
    rows = np.column_stack([rate, X])
    domain = np.repeat([1, -1], [100, 100])
    labels = 3 * rate
    model = OffsetTransfer(Known().fit(rows, labels), learner, shrinkage=1.0)
    model.fit(rows, labels, sample_domain=domain)
    if "CatBoost" in repr(learner):  # starts at 0 and moves a tenth at a time
        ratio = model.predict(rows) / rate
        assert np.std(np.log(ratio)) < 0.15
    else:
        assert_allclose(model.predict(rows), labels, rtol=0.02)


def test_boosting_with_a_tiny_offset_is_near_the_plain_fit(X, rng, domain):
    y = classes_of(X, rng, 3)
    tiny = KnownClasses().fit(X, y)
    # larger leaves than elsewhere: fewer splits are equally good up to rounding
    for learner in (
        HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=9),
        LGBMClassifier(**_LIGHT | {"min_child_samples": 9}),
        XGBClassifier(**_XGB),
        CatBoostClassifier(**_CAT),
    ):
        model = OffsetTransfer(tiny, learner, shrinkage=1e-9)
        model.fit(X, y, sample_domain=domain)
        alone = clone(learner).fit(X[60:], y[60:])
        assert_allclose(model.predict_proba(X), alone.predict_proba(X), atol=1e-5)


def test_text_labels_reach_every_classifier(X, rng, domain):
    y = classes_of(X, rng, 3)
    names = np.array(["a", "b", "c"])[y]
    for learner in CLASSIFIERS:
        pair = [
            OffsetTransfer(LogisticRegression(), learner, shrinkage=0.5).fit(
                X, labels, sample_domain=domain
            )
            for labels in (y, names)
        ]
        assert_allclose(pair[0].predict_proba(X), pair[1].predict_proba(X), atol=1e-6)
        assert pair[1].predict(X).dtype.kind == "U"


def test_weights_and_class_weights_count_as_repeated_rows(X, rng, domain):
    y = classes_of(X, rng, 2)
    weight = rng.randint(1, 4, 100)
    model = OffsetTransfer(LogisticRegression(), shrinkage=0.5)
    weighted = clone(model).fit(X, y, sample_domain=domain, sample_weight=weight)
    rows = np.repeat(np.arange(100), weight)
    repeated = model.fit(X[rows], y[rows], sample_domain=domain[rows])
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-4)
    balanced = OffsetTransfer(
        LogisticRegression(), LogisticRegression(class_weight={0: 1, 1: 3}),
        shrinkage=0.5,
    ).fit(X, y, sample_domain=domain)  # fmt: skip
    by_hand = np.where((domain < 0) & (y == 1), 3.0, 1.0)
    expected = OffsetTransfer(LogisticRegression(), shrinkage=0.5)
    expected.fit(X, y, sample_domain=domain, sample_weight=by_hand)
    assert_allclose(balanced.predict_proba(X), expected.predict_proba(X), atol=1e-5)


def test_a_class_without_target_labels_keeps_the_share_of_the_source(X, rng, domain):
    y = classes_of(X, rng, 3)
    y[60:][y[60:] == 2] = 1
    model = OffsetTransfer(LogisticRegression(), shrinkage=1.0)
    proba = model.fit(X, y, sample_domain=domain).predict_proba(X)
    assert proba[:, 2].mean() > 0.1
    assert_allclose(proba.sum(axis=1), 1.0)


def test_a_class_that_the_sources_lack_is_learned(X, rng, domain):
    y = classes_of(X, rng, 3)
    y[:60][y[:60] == 2] = 0
    model = OffsetTransfer(LogisticRegression(), shrinkage=1.0)
    model.fit(X, y, sample_domain=domain)
    assert model.predict_proba(X[60:])[y[60:] == 2, 2].mean() > 0.4


def test_without_labeled_target_rows_the_source_predicts(X, y, domain):
    y[60:] = np.nan
    model = OffsetTransfer(Ridge()).fit(X, y, sample_domain=domain)
    assert_allclose(model.predict(X), Ridge().fit(X[:60], y[:60]).predict(X))
    assert model.shrinkage_ == 1.0
    assert model.target_model_ is None


def test_one_row_per_class_leaves_the_full_offset(X, rng, domain):
    y = classes_of(X, rng, 2)
    rows = np.r_[:60, 60 + np.flatnonzero(y[60:] == 0)[0], 60 + y[60:].argmax()]
    model = OffsetTransfer(LogisticRegression())
    model.fit(X[rows], y[rows], sample_domain=domain[rows])
    assert model.shrinkage_ == 1.0
    assert np.isnan(model.shrinkage_losses_).all()
    one = rows[:-1]
    with pytest.raises(UnlabeledTargetError, match="hold one class, 0"):
        model.fit(X[one], y[one], sample_domain=domain[one])


def test_a_fitted_source_needs_no_source_rows(X, y, domain):
    source = Ridge().fit(X[:60], y[:60])
    rows = OffsetTransfer(Ridge(), shrinkage=1.0).fit(X, y, sample_domain=domain)
    target = {"X": X[60:], "y": y[60:], "sample_domain": domain[60:]}
    model = OffsetTransfer(source, Ridge(), shrinkage=1.0)
    assert_allclose(clone(model).fit(**target).predict(X), rows.predict(X))
    alone = without_sources(model).fit(**target)
    assert_array_equal(alone.predict(X), Ridge().fit(X[60:], y[60:]).predict(X))
    guard = TransferGuard(model, cv=5).fit(**target)
    assert_allclose(guard.transfer_.predict(X), rows.predict(X))


def test_a_rich_source_and_the_default_target_learner(rng):
    X = rng.uniform(-2, 2, size=(600, 2))
    domain = np.repeat([1, -1], [570, 30])
    wave = np.sin(3 * X[:, 0])
    y = wave + np.where(domain < 0, X[:, 1], 0) + 0.1 * rng.normal(size=600)
    X_test = rng.uniform(-2, 2, size=(300, 2))
    y_test = np.sin(3 * X_test[:, 0]) + X_test[:, 1]
    rich = HistGradientBoostingRegressor()
    model = OffsetTransfer(rich).fit(X, y, sample_domain=domain)
    assert isinstance(model.target_model_, Ridge)
    assert model.score(X_test, y_test) > 0.9
    labels = (y > 0).astype(int)
    forest = OffsetTransfer(RandomForestClassifier(30, random_state=0))
    forest.fit(X, labels, sample_domain=domain)
    assert isinstance(forest.target_model_, LogisticRegression)
    alone = LogisticRegression().fit(X[570:], labels[570:])
    test = (y_test > 0).astype(int)
    assert forest.score(X_test, test) > alone.score(X_test, test)


def test_frames_and_sparse_rows_reach_the_learners(X, rng, domain):
    y = classes_of(X, rng, 3)
    model = OffsetTransfer(LogisticRegression(), shrinkage=0.5)
    expected = clone(model).fit(X, y, sample_domain=domain).predict_proba(X)
    rows = sparse.csr_array(X)
    found = clone(model).fit(rows, y, sample_domain=domain).predict_proba(rows)
    assert_allclose(found, expected, atol=1e-3)
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    fitted = OffsetTransfer(pipeline, pipeline, shrinkage=0.5)
    fitted.fit(frame, y, sample_domain=domain)
    assert fitted.target_model_[0].feature_names_in_.tolist() == list("abcd")
    assert fitted.predict_proba(frame).shape == (100, 3)


def test_learners_that_take_no_offset_are_refused_by_name(X, y, domain, rng):
    labels = classes_of(X, rng, 2)

    def refuse(match, source, target, kind=TypeError, **params):
        goal = labels if "Classifier" in repr(source) or "Log" in repr(source) else y
        with pytest.raises(kind, match=match):
            OffsetTransfer(source, target, **params).fit(X, goal, sample_domain=domain)

    logistic = LogisticRegression()
    refuse("GradientBoostingClassifier.*takes no offset", logistic,
           GradientBoostingClassifier())  # fmt: skip
    refuse("ridge penalty", logistic, LogisticRegression(l1_ratio=1, solver="saga"))
    refuse("early_stopping=False", logistic,
           HistGradientBoostingClassifier(early_stopping=True))  # fmt: skip
    refuse("link='log'", Ridge(), TweedieRegressor(power=1.5, link="identity"))
    refuse("objective 'mape'", Ridge(), LGBMRegressor(objective="mape"))
    refuse("both be classifiers", logistic, Ridge())
    refuse("no predict_proba", LinearSVC(), None)
    refuse(r"values in \[0, 1\]", Ridge(), None, ValueError, shrinkage=[0.5, 1.5])
    with pytest.raises(ValueError, match="exposure needs a target_estimator"):
        OffsetTransfer(Ridge()).fit(X, y, sample_domain=domain, exposure=np.ones(100))
    with pytest.raises(ValueError, match="exposure must hold 100 positive"):
        OffsetTransfer(Ridge(), PoissonRegressor()).fit(
            X, np.exp(y), sample_domain=domain, exposure=np.zeros(100)
        )


def test_exposure_and_weights_are_routed(X, y, domain, routing):
    labels = np.exp(0.4 * y)
    exposure = np.linspace(1, 2, 100)
    model = OffsetTransfer(PoissonRegressor(), PoissonRegressor(), shrinkage=0.5)
    expected = clone(model).fit(X, labels, sample_domain=domain, exposure=exposure)
    step = model.set_fit_request(exposure=True).set_predict_request(exposure=True)
    pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False), step)
    pipeline.fit(X, labels, sample_domain=domain, exposure=exposure)
    assert_allclose(
        pipeline.predict(X, exposure=exposure),
        expected.predict(X, exposure=exposure),
        rtol=1e-10,
    )


def test_linear_regression_beside_a_linear_source_is_least_squares(X, y, domain):
    model = OffsetTransfer(Ridge(), LinearRegression(), shrinkage=1.0)
    model.fit(X, y, sample_domain=domain)
    expected = LinearRegression().fit(X[60:], y[60:]).predict(X)
    assert_allclose(model.predict(X), expected, rtol=1e-8)


def test_units_are_held_out_whole_and_their_source_rows_with_them(X, y, domain):
    groups = np.r_[np.arange(60), 100 + np.arange(40) // 4]
    groups[60:64] = 0  # a unit with a source row and four target rows
    model = OffsetTransfer(Ridge(), Ridge(3.0), shrinkage=[0.0, 0.7], cv=99)
    model.fit(X, y, sample_domain=domain, groups=groups)
    errors = []
    for unit in np.unique(groups[60:]):
        source = (domain > 0) & (groups != unit)
        train = (domain < 0) & (groups != unit)
        test = (domain < 0) & (groups == unit)
        part = 0.7 * Ridge().fit(X[source], y[source]).predict(X)
        rest = Ridge(3.0).fit(X[train], (y - part)[train])
        errors.extend((y - part - rest.predict(X))[test] ** 2)
    assert model.shrinkage_losses_[1] == pytest.approx(np.mean(errors))


def test_rows_of_weight_0_do_not_exist(X, y, domain):
    weight = np.ones(100)
    weight[[3, 65, 66]] = 0
    kept = weight > 0
    model = OffsetTransfer(Ridge()).fit(
        X, y, sample_domain=domain, sample_weight=weight
    )
    expected = OffsetTransfer(Ridge()).fit(
        X[kept], y[kept], sample_domain=domain[kept], sample_weight=weight[kept]
    )
    assert_allclose(model.predict(X), expected.predict(X))
    assert_allclose(model.shrinkage_losses_, expected.shrinkage_losses_)
    with pytest.raises(ValueError, match="zero for every target row"):
        model.fit(X, y, sample_domain=domain, sample_weight=domain > 0)


def test_folds_that_lack_a_class_are_scored_too(X, rng, domain):
    y = classes_of(X, rng, 3)
    train, test = np.flatnonzero(y != 2), np.flatnonzero((y == 2) & (domain < 0))
    model = OffsetTransfer(LogisticRegression(), cv=[(train, test)])
    model.fit(X, y, sample_domain=domain)
    assert model.shrinkage_losses_[0] == np.inf  # the target alone excludes class 2
    assert np.isfinite(model.shrinkage_losses_[1:]).all()
