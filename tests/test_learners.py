"""Learners in the wrappers: weights, classes, predictions, methods, and rows."""

from functools import partial
from importlib import import_module
from inspect import isclass, signature

import numpy as np
import pandas as pd
import polars as pl
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags
from xgboost import XGBClassifier, XGBRegressor

from sktransfer._learners import CodedClassifier, fit_learner
from sktransfer.base import TransferMetaEstimator, get_transfer_tags
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.exceptions import DomainError
from sktransfer.feature import TCA
from sktransfer.instance import (
    KLIEP,
    KMM,
    RULSIF,
    ULSIF,
    DomainClassifierWeighting,
    GaussianWeighting,
    LabelShiftClassifier,
    MultiSourceTrAdaBoost,
    NearestNeighborWeighting,
    TrAdaBoost,
)
from sktransfer.metrics import cross_val_ntg
from sktransfer.multisource import (
    OTQMS,
    UOWQ,
    DomainRecognitionEnsemble,
    MMDWeightedEnsemble,
    PeerWeightedEnsemble,
    SingleBestSource,
    SourceFreeEnsemble,
    SourceSelector,
    UOWQMultiTask,
)
from sktransfer.preprocessing import TableEncoder
from sktransfer.pseudo_label import PredictiveDistributionMatching
from sktransfer.safe import SAFEW, ReliableTransfer, TransferGuard

_CAT = {
    "iterations": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False,
    "random_seed": 0,
}  # fmt: skip
_XGB = {"n_estimators": 3, "n_jobs": 1}
_LGBM = {"n_estimators": 3, "n_jobs": 1, "verbose": -1, "min_child_samples": 3}
BOOSTERS = [
    CatBoostClassifier(**_CAT), XGBClassifier(**_XGB), LGBMClassifier(**_LGBM),
]  # fmt: skip
REAL_BOOSTERS = [
    CatBoostRegressor(**_CAT), XGBRegressor(**_XGB), LGBMRegressor(**_LGBM),
]  # fmt: skip


@pytest.fixture
def rows(rng):
    """Two sources and a target, three classes, the last ten rows unlabeled."""
    domain = np.repeat([1, 2, -1], [30, 30, 40])
    X = rng.normal(size=(100, 3)) + 0.3 * (domain == 2)[:, None]
    y = np.digitize(X[:, 0] + 0.3 * rng.normal(size=100), [-0.5, 0.5]).astype(float)
    y[-10:] = np.nan
    return X, y, domain


def _real(rows):
    X, _, domain = rows
    z = X @ [1.0, -1.0, 0.5] + 3.0
    z[-10:] = np.nan
    return X, z, domain


# --- weights -------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda e: Pooled(e, 0.5), KMM, Pooled])
def test_kind_11_the_weights_of_user_and_method_are_multiplied(
    rows, routing, wrap, rng
):
    X, z, domain = _real(rows)
    w = rng.uniform(0.5, 2.0, size=100)
    learner = Ridge().set_fit_request(sample_weight=True)
    model = wrap(learner).fit(X, z, sample_domain=domain, sample_weight=w)
    method = np.ones(100)
    if isinstance(model, KMM):
        method[domain > 0] = model.sample_weight_
    else:
        method[domain > 0] = model.source_weight
    known = ~np.isnan(z)
    expected = Ridge().fit(X[known], z[known], sample_weight=(w * method)[known])
    assert_allclose(model.estimator_.coef_, expected.coef_)


def test_kind_11_weights_of_a_learner_that_knows_no_requests(rows, rng):
    X, y, domain = rows
    w = rng.uniform(0.5, 2.0, size=100)
    known = ~np.isnan(y)
    for learner in (CatBoostClassifier(**_CAT), AdaBoostClassifier(n_estimators=3)):
        model = Pooled(learner).fit(X, y, sample_domain=domain, sample_weight=w)
        expected = clone(learner)
        expected.fit(X[known], y[known].astype(int), sample_weight=w[known])
        assert_allclose(model.predict_proba(X), expected.predict_proba(X))


_TREE = DecisionTreeClassifier(max_depth=2, random_state=0)
WEIGHTED = [
    LogisticRegressionCV(
        Cs=2, cv=2, l1_ratios=(0.0,), scoring="accuracy", use_legacy_attributes=False
    ),
    RidgeClassifierCV(),
    AdaBoostClassifier(n_estimators=2),
    BaggingClassifier(DecisionTreeClassifier(max_depth=2), 2, random_state=0),
    VotingClassifier(
        [("a", LogisticRegression()), ("b", DecisionTreeClassifier(random_state=0))]
    ),
    StackingClassifier([("a", LogisticRegression())], cv=2),
    CalibratedClassifierCV(LogisticRegression(), cv=2),
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
    GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2),
    make_pipeline(StandardScaler(), LogisticRegression()),
]
WEIGHTED_REAL = [
    RidgeCV(),
    RidgeCV(scoring="r2"),
    LassoCV(cv=2, alphas=[0.01, 0.1]),
    TransformedTargetRegressor(Ridge(), func=np.arcsinh, inverse_func=np.sinh),
    StackingRegressor([("a", Ridge())], cv=2),
]


def _name(learner):
    return "".join(str(learner).split())[:50]


@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
@pytest.mark.parametrize("learner", WEIGHTED + WEIGHTED_REAL, ids=_name)
def test_kind_32_what_takes_weights_in_scikit_learn_takes_them_here(rows, learner, on):
    X, labels, domain = rows if get_tags(learner).classifier_tags else _real(rows)
    with config_context(enable_metadata_routing=on):
        model = Pooled(learner, source_weight=0.5)
        model.fit(X, labels, sample_domain=domain)
        alone = Pooled(learner).fit(X, labels, sample_domain=domain)
    known = ~np.isnan(labels)
    name = "sample_weight"
    inner = getattr(learner, "estimator", learner)
    if hasattr(inner, "steps"):
        name = "logisticregression__sample_weight"
    y = labels[known] if get_tags(learner).regressor_tags else labels[known].astype(int)
    weights = np.where(domain > 0, 0.5, 1.0)[known]
    with config_context(enable_metadata_routing=False):
        expected = clone(learner).fit(X[known], y, **{name: weights})
    assert_allclose(model.predict(X), expected.predict(X))
    assert alone.predict(X).shape == (100,)
    Pooled(learner).get_metadata_routing()


def test_kind_32_a_fit_with_any_arguments_is_tried():
    class Loose(ClassifierMixin, BaseEstimator):
        def fit(self, X, y, **params):
            self.model_ = LogisticRegression().fit(X, y, **params)
            self.classes_ = self.model_.classes_
            return self

        def predict(self, X):
            return self.model_.predict(X)

    class Strict(Loose):
        def fit(self, X, y, **params):
            raise TypeError("unexpected argument sample_weight")

    X, y = np.arange(6.0)[:, None], np.array([0, 1, 0, 1, 0, 1])
    w = np.arange(1.0, 7.0)
    expected = LogisticRegression().fit(X, y, sample_weight=w)
    found = fit_learner(Loose(), X, y, method_weight=w).model_
    assert_allclose(found.coef_, expected.coef_)
    with pytest.raises(TypeError, match=r"Strict.*takes no sample_weight"):
        fit_learner(Strict(), X, y, method_weight=w)


@pytest.mark.parametrize(
    "wrap",
    [
        SourceOnly, TargetOnly, Pooled, KMM, MMDWeightedEnsemble, SingleBestSource,
        lambda e: TransferGuard(Pooled(e), cv=3, policy="aggregate"),
        lambda e: SourceSelector(Pooled(e)), SAFEW,
        lambda e: ReliableTransfer(e, alpha=0.2, n_permutations=20),
    ],
)  # fmt: skip
def test_a_row_of_weight_zero_is_a_removed_row(rows, routing, wrap):
    X, y, domain = rows
    # a tree counts its rows: a weightless row left in would change it
    tree = DecisionTreeClassifier(min_samples_leaf=4, random_state=0)
    w = np.ones(100)
    w[::5] = 0.0
    kept = w > 0
    model = wrap(tree.set_fit_request(sample_weight=True))
    whole = clone(model).fit(X, y, sample_domain=domain, sample_weight=w)
    part = clone(model).fit(
        X[kept], y[kept], sample_domain=domain[kept], sample_weight=w[kept]
    )
    assert_allclose(whole.predict_proba(X), part.predict_proba(X))


def test_fitted_rows_are_those_of_the_input(rows, routing):
    X, y, domain = rows
    w = np.ones(100)
    w[[0, 70]] = 0.0
    learner = LogisticRegression().set_fit_request(sample_weight=True)
    model = Pooled(learner).fit(X, y, sample_domain=domain, sample_weight=w)
    assert_array_equal(model.rows_, np.setdiff1d(np.arange(90), [0, 70]))
    model = KMM(learner).fit(X, y, sample_domain=domain, sample_weight=w)
    assert model.sample_weight_.shape == (60,)
    assert model.sample_weight_[0] == 0 < model.sample_weight_[1]


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.ones(99), r"shape \(99,\), but X has 100 rows"),
        (-np.ones(100), "must hold finite numbers of 0 or more"),
        (np.full(100, np.nan), "must hold finite numbers"),
        (["a"] * 100, "must hold numbers"),
        (np.repeat([1.0, 0.0], [60, 40]), "target domain -1 has sample_weight 0"),
        (np.repeat([1.0, 0.0, 1.0], [60, 30, 10]), "needs labeled target rows"),
    ],
)
def test_bad_weights_are_one_error(rows, routing, weights, match):
    X, y, domain = rows
    learner = LogisticRegression().set_fit_request(sample_weight=True)
    with pytest.raises(ValueError, match=match):
        TargetOnly(learner).fit(X, y, sample_domain=domain, sample_weight=weights)


# --- classes and predictions ---------------------------------------------------------


WRAPPERS = {
    "SourceOnly": SourceOnly,
    "Pooled": lambda e: Pooled(e, source_weight=0.5),
    "KMM": KMM,
    "MMD": MMDWeightedEnsemble,
    "Peer": PeerWeightedEnsemble,
    "DomainRecognition": DomainRecognitionEnsemble,
    "SourceFree": SourceFreeEnsemble,
    "SingleBest": SingleBestSource,
    "Guard": lambda e: TransferGuard(Pooled(e), target_estimator=e, cv=2),
    "SAFEW": SAFEW,
}


@pytest.mark.parametrize("learner", BOOSTERS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=list(WRAPPERS))
def test_boosters_on_a_source_that_lacks_a_class(rows, learner, wrap):
    X, y, domain = rows
    y[(domain == 1) & (y == 1)] = 2
    model = wrap(learner).fit(X, y, sample_domain=domain)
    assert_array_equal(model.classes_, [0, 1, 2])
    assert model.predict(X).shape == (100,)
    assert model.predict_proba(X).shape == (100, 3)
    names = np.array(["ant", "bee", "cat"], dtype=object)
    text = np.where(np.isnan(y), None, names[np.nan_to_num(y).astype(int)])
    named = wrap(learner).fit(X, text, sample_domain=domain)
    assert_array_equal(named.classes_, names)
    assert_allclose(named.predict_proba(X), model.predict_proba(X))
    assert_array_equal(named.predict(X), names[model.predict(X)])


@pytest.mark.parametrize("learner", REAL_BOOSTERS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("wrap", ["Pooled", "KMM", "MMD", "Guard", "SAFEW"])
def test_boosters_of_real_labels(rows, learner, wrap):
    X, z, domain = _real(rows)
    model = WRAPPERS[wrap](learner).fit(X, z, sample_domain=domain)
    assert model.predict(X).shape == (100,)
    assert np.isfinite(model.score(X[:90], z[:90], sample_weight=np.ones(90)))


def test_classes_are_coded_only_for_learners_that_need_it():
    X, y = np.arange(8.0)[:, None], np.repeat([3, 7], 4)
    assert type(fit_learner(LogisticRegression(), X, y)) is LogisticRegression
    assert type(fit_learner(LGBMClassifier(**_LGBM), X, y)) is LGBMClassifier
    assert type(fit_learner(XGBClassifier(**_XGB), X, y == 7)) is XGBClassifier
    model = fit_learner(XGBClassifier(**_XGB), X, y)
    assert isinstance(model, CodedClassifier)
    assert model.feature_importances_.shape == (1,)
    assert set(model.predict(X)) <= {3, 7}
    assert model.predict(X, output_margin=True).dtype.kind == "f"
    with pytest.raises(ValueError, match="Unknown label type"):
        fit_learner(LogisticRegression(), X, X.ravel() + 0.5)


class _Column(LogisticRegression):
    """A learner whose predictions are a column."""

    def predict(self, X):
        return super().predict(X)[:, None]


class _RealColumn(LinearRegression):
    def predict(self, X):
        return super().predict(X)[:, None]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=list(WRAPPERS))
def test_kind_31_predictions_of_shape_n_1_are_flattened(rows, wrap):
    X, y, domain = rows
    plain = wrap(LogisticRegression()).fit(X, y, sample_domain=domain)
    column = wrap(_Column()).fit(X, y, sample_domain=domain)
    assert_array_equal(column.predict(X), plain.predict(X))
    if hasattr(plain, "source_weights_"):
        assert_allclose(column.source_weights_, plain.source_weights_)
    if type(plain) in (Pooled, KMM, MMDWeightedEnsemble, SAFEW, TransferGuard):
        X, z, domain = _real(rows)
        plain = wrap(LinearRegression()).fit(X, z, sample_domain=domain)
        column = wrap(_RealColumn()).fit(X, z, sample_domain=domain)
        assert_allclose(column.predict(X), plain.predict(X))


def test_an_unfitted_ensemble_is_never_asked_for_its_length(rows):
    X, z, domain = _real(rows)
    learner = AdaBoostRegressor(n_estimators=2, random_state=0)
    guard = TransferGuard(Pooled(learner), target_estimator=learner, cv=2)
    assert hasattr(guard, "predict")
    assert not hasattr(guard, "decision_function")
    assert guard.fit(X, z, sample_domain=domain).predict(X).shape == (100,)
    assert SAFEW(learner).fit(X, z, sample_domain=domain).predict(X).shape == (100,)


def test_kind_31_votes_of_columns(rows):
    X, y, domain = rows
    plain, column = (
        SAFEW(e, loss="hinge").fit(X, y, sample_domain=domain)
        for e in (LogisticRegression(), _Column())
    )
    assert_allclose(column.decision_function(X), plain.decision_function(X))


# --- arguments and methods -----------------------------------------------------------


def test_kind_17_arguments_of_predict_reach_the_learner(rows):
    X, z, domain = _real(rows)
    learner = GaussianProcessRegressor(alpha=0.1, optimizer=None)
    for wrap in (SourceOnly, TargetOnly, Pooled, SingleBestSource):
        model = wrap(learner).fit(X, z, sample_domain=domain)
        mean, std = model.predict(X[:3], return_std=True)
        expected = model.estimator_.predict(X[:3], return_std=True)
        assert_allclose(mean, expected[0])
        assert_allclose(std, expected[1])
        assert model.predict(X[:3], return_cov=True)[1].shape == (3, 3)
        assert model.sample_y(X[:3], n_samples=2).shape == (3, 2)
    with pytest.raises(TypeError, match="return_std"):
        Pooled(Ridge()).fit(X, z, sample_domain=domain).predict(X, return_std=True)


def test_kind_17_arguments_of_predict_are_routed_through_a_pipeline(rows, routing):
    X, z, domain = _real(rows)
    learner = GaussianProcessRegressor(alpha=0.1, optimizer=None)
    learner.set_predict_request(return_std=True)
    model = make_pipeline(StandardScaler(), Pooled(learner))
    model.fit(X, z, sample_domain=domain)
    assert len(model.predict(X[:3], return_std=True)) == 2


def test_kind_17_methods_of_the_learner_are_forwarded(rows):
    X, y, domain = rows
    boosting = GradientBoostingClassifier(n_estimators=3)
    model = Pooled(boosting).fit(X, y, sample_domain=domain)
    stages = list(model.staged_predict(X))
    assert len(stages) == 3
    assert_array_equal(stages[-1], model.predict(X))
    assert_allclose(list(model.staged_predict_proba(X))[-1], model.predict_proba(X))
    last = list(model.staged_decision_function(X))[-1]
    assert_allclose(last, model.decision_function(X))
    assert_array_equal(model.apply(X), model.estimator_.apply(X))
    assert not hasattr(Pooled(LogisticRegression()), "staged_predict")
    assert not hasattr(MMDWeightedEnsemble(boosting), "staged_predict")
    path = Pooled(DecisionTreeClassifier()).fit(X, y, sample_domain=domain)
    assert path.decision_path(X).shape[0] == 100


@pytest.mark.parametrize("wrap", [SourceOnly, TargetOnly, Pooled])
def test_kind_17_partial_fit_goes_on_with_the_rows_of_a_batch(rows, wrap):
    X, y, domain = rows
    learner = SGDClassifier(random_state=0)
    model, expected = wrap(learner), clone(learner)
    order = np.random.RandomState(0).permutation(100)
    for batch in (order[:50], order[50:]):
        model.partial_fit(
            X[batch], y[batch], sample_domain=domain[batch], classes=[0, 1, 2]
        )
        used = batch[~np.isnan(y[batch])]
        if wrap is not Pooled:
            used = used[(domain[used] > 0) == (wrap is SourceOnly)]
        expected.partial_fit(X[used], y[used].astype(int), classes=[0, 1, 2])
    assert_allclose(model.decision_function(X), expected.decision_function(X))


def test_kind_17_partial_fit_of_batches_without_a_target(rows):
    X, z, domain = _real(rows)
    source = domain > 0
    model = Pooled(SGDRegressor(random_state=0), source_weight=0.5)
    model.partial_fit(X[source], z[source], sample_domain=domain[source])
    expected = SGDRegressor(random_state=0)
    expected.partial_fit(X[source], z[source], sample_weight=np.full(60, 0.5))
    assert_allclose(model.predict(X), expected.predict(X))
    empty = np.isnan(z)
    model.partial_fit(X[empty], z[empty], sample_domain=domain[empty])  # no label
    assert_allclose(model.predict(X), expected.predict(X))
    with pytest.raises(ValueError, match="no row to learn from in the first batch"):
        TargetOnly(SGDRegressor()).partial_fit(
            X[source], z[source], sample_domain=domain[source]
        )
    with pytest.raises(ValueError, match="can neither add_domain"):
        Pooled(SGDRegressor(), max_rows=5).partial_fit(X, z, sample_domain=domain)
    assert not hasattr(Pooled(Ridge()), "partial_fit")


# --- rows ----------------------------------------------------------------------------


def _flatten(rows):
    return rows.reshape(len(rows), -1)


@pytest.mark.parametrize(
    "wrap",
    [
        Pooled, SourceOnly, TargetOnly, SAFEW, SingleBestSource,
        lambda e: TransferGuard(Pooled(e), cv=3),
        lambda e: TransferGuard(Pooled(e), cv=3, policy="aggregate"),
        lambda e: SourceSelector(Pooled(e), source_score="ntg", threshold=9.0, cv=2),
        lambda e: SourceFreeEnsemble(e, pseudo_label_weight=0.0),
        lambda e: DomainRecognitionEnsemble(e, domain_estimator=e),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["lists", "texts", "list of texts", "3-D", "sparse"])
def test_kinds_06_13_rows_are_handed_through(rows, wrap, kind):
    X, y, domain = rows
    learner = LogisticRegression()
    texts = np.array(
        [f"{'ab'[int(x[0] > 0)] * 2} {'cd'[int(x[1] > 0)] * 2}" for x in X]
    )
    given, step = {
        "lists": (X.tolist(), None),
        "texts": (texts.astype(object), TfidfVectorizer()),
        "list of texts": (texts.tolist(), TfidfVectorizer()),
        "3-D": (X[:, :, None] * np.ones(2), FunctionTransformer(_flatten)),
        "sparse": (sparse.coo_array(X), None),
    }[kind]
    if step is not None:
        learner = make_pipeline(step, learner)
    model = wrap(learner).fit(given, y, sample_domain=domain)
    assert model.predict(given).shape == (100,)
    few = given.tocsr()[:2] if kind == "sparse" else given[:2]
    assert_array_equal(model.predict(few), model.predict(given)[:2])


@pytest.mark.parametrize("kind", ["lists", "list of texts", "3-D"])
def test_kinds_06_13_rows_in_the_cross_validated_gap(rows, kind):
    X, y, domain = rows
    inner = LogisticRegression()
    given = X.tolist()
    if kind == "list of texts":
        given = [" ".join(f"w{int(v > 0)}{j}" for j, v in enumerate(x)) for x in X]
        inner = make_pipeline(TfidfVectorizer(), inner)
    if kind == "3-D":
        given, inner = (
            X[:, :, None],
            make_pipeline(FunctionTransformer(_flatten), inner),
        )
    options = {"sample_domain": domain, "cv": 3, "random_state": 0}
    gap = cross_val_ntg(Pooled(inner), given, y, **options).ntg
    assert np.isfinite(gap)
    if kind == "lists":
        assert gap == cross_val_ntg(Pooled(inner), X, y, **options).ntg


@pytest.fixture(params=["pandas", "polars"])
def frame(request, rows):
    """A frame with numbers, text, categories, dates and missing values."""
    X, y, domain = rows
    a = X[:, 0].copy()
    a[::9] = np.nan
    letters = np.array(["x", "y", "z"])[np.arange(100) % 3]
    columns = {"a": a, "b": X[:, 1], "text": letters}
    if request.param == "polars":
        table = pl.DataFrame(columns).with_columns(
            pl.col("text").cast(pl.Categorical).alias("kind")
        )
        return table, y, domain
    table = pd.DataFrame(columns)
    table["kind"] = pd.Categorical(letters)
    table["date"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(100), "D")
    return table, y, domain


@pytest.mark.parametrize(
    "wrap",
    [
        lambda e: Pooled(e), lambda e: TransferGuard(Pooled(e), cv=3),
        lambda e: SourceSelector(Pooled(e), source_score="ntg", threshold=9.0, cv=2),
        lambda e: SAFEW(e), SingleBestSource,
        lambda e: SourceFreeEnsemble(e, pseudo_label_weight=0.0),
    ],
)  # fmt: skip
def test_a_wrapper_takes_the_frames_that_its_pipeline_takes(frame, wrap):
    table, y, domain = frame
    learner = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["text", "kind"]),
            ("passthrough", ["a", "b"]),
        ),
        HistGradientBoostingClassifier(max_iter=3),
    )
    learner[0].sparse_threshold = 0.0
    model = wrap(learner).fit(table, y, sample_domain=domain)
    expected = model.predict(table)
    columns = list(table.columns)
    assert_array_equal(model.predict(table[columns[::-1]]), expected)  # another order
    extra = table[[*columns, "a"][:-1]].copy() if hasattr(table, "iloc") else table
    extra = (
        extra.assign(new=1.0) if hasattr(table, "iloc")
        else table.with_columns(pl.lit(1.0).alias("new"))
    )  # fmt: skip
    assert_array_equal(model.predict(extra), expected)  # one more column
    without = table.drop(columns="a") if hasattr(table, "iloc") else table.drop("a")
    with pytest.raises(ValueError, match="a"):
        model.predict(without)


ARITHMETIC = [
    KMM(HistGradientBoostingClassifier(max_iter=2)),
    MMDWeightedEnsemble(HistGradientBoostingClassifier(max_iter=2)),
    PeerWeightedEnsemble(HistGradientBoostingClassifier(max_iter=2)),
    SourceFreeEnsemble(HistGradientBoostingClassifier(max_iter=2)),
    DomainRecognitionEnsemble(HistGradientBoostingClassifier(max_iter=2)),
    ReliableTransfer(HistGradientBoostingClassifier(max_iter=2)),
    TCA(),
]


@pytest.mark.parametrize("model", ARITHMETIC, ids=lambda e: type(e).__name__)
def test_kind_18_arithmetic_refuses_nan_by_its_tag_and_names_the_step(rows, model):
    X, y, domain = rows
    X[::7, 0] = np.nan
    assert not get_tags(model).input_tags.allow_nan
    name = type(model).__name__
    with pytest.raises(ValueError, match=rf"NaN[^$]*SimpleImputer\(\), {name}"):
        clone(model).fit(X, y, sample_domain=domain)
    X = X.astype(object)
    X[:, 0] = "text"
    with pytest.raises(ValueError, match=rf"OneHotEncoder\(.*{name}"):
        clone(model).fit(X, y, sample_domain=domain)


def test_kind_18_the_tag_promises_nan_where_it_is_taken(rows):
    X, y, domain = rows
    X[::7, 0] = np.nan
    learner = HistGradientBoostingClassifier(max_iter=2)
    for model in (
        Pooled(learner),
        SAFEW(learner),
        TransferGuard(Pooled(learner), cv=3),
        SourceFreeEnsemble(learner, pseudo_label_weight=0.0),
        DomainRecognitionEnsemble(learner, domain_estimator=learner),
    ):
        assert get_tags(model).input_tags.allow_nan
        assert model.fit(X, y, sample_domain=domain).predict(X).shape == (100,)
    scored = SourceSelector(Pooled(learner))
    assert not get_tags(scored).input_tags.allow_nan
    with pytest.raises(ValueError, match=r"transform X first.*SimpleImputer"):
        scored.fit(X, y, sample_domain=domain)


@pytest.mark.parametrize(
    "wrap",
    [
        SourceOnly, TargetOnly, Pooled, KMM, MMDWeightedEnsemble, SAFEW,
        DomainRecognitionEnsemble, SingleBestSource,
        lambda e: TransferGuard(Pooled(e), cv=3),
        lambda e: TransferGuard(Pooled(e), cv=3, policy="aggregate"),
        lambda e: SourceSelector(Pooled(e)), UOWQ, UOWQMultiTask,
        lambda e: OTQMS(e, random_state=0),
        lambda e: ReliableTransfer(e, alpha=0.2, n_permutations=20),
    ],
)  # fmt: skip
@pytest.mark.parametrize("learner", [Ridge(), LinearRegression()])
def test_two_columns_of_labels(rows, wrap, learner):
    X, z, domain = _real(rows)
    Z = np.column_stack([z, 2 * z + X[:, 1]])
    Z += 0.1 * np.random.RandomState(0).normal(size=Z.shape)
    model = wrap(learner).fit(X, Z, sample_domain=domain)
    assert model.predict(X).shape == (100, 2)
    assert np.isfinite(model.score(X[60:90], Z[60:90]))
    assert get_transfer_tags(model).regression


def test_a_pipeline_with_further_metadata_and_a_last_step_without_requests(rng):
    """CatBoost gets its weights though the encoder before it asks for domains."""
    frame = pd.DataFrame({"x": rng.normal(size=60), "c": ["a", "b", "c"] * 20})
    y = (frame["x"] > 0).to_numpy().astype(int)
    domain = np.repeat([1, -1], 30)
    trees = CatBoostClassifier(
        iterations=3, verbose=False, thread_count=1, allow_writing_files=False
    )
    pipeline = make_pipeline(TableEncoder(), trees)
    model = Pooled(pipeline, source_weight=1e-9).fit(frame, y, sample_domain=domain)
    y_bad = np.where(domain > 0, 1 - y, y)
    other = Pooled(pipeline, source_weight=1e-9).fit(frame, y_bad, sample_domain=domain)
    np.testing.assert_allclose(
        model.predict_proba(frame), other.predict_proba(frame), atol=1e-6
    )


def _wrappers():
    """Every wrapper around one plain learner, by its class and parameter."""
    for room in ("baselines", "instance", "hypothesis", "multisource", "pseudo_label",
                 "safe", "feature"):  # fmt: skip
        module = import_module(f"sktransfer.{room}")
        for name in module.__all__:
            wrapper = getattr(module, name)
            if not isclass(wrapper) or not issubclass(wrapper, TransferMetaEstimator):
                continue
            if "estimator" in signature(wrapper).parameters:
                yield pytest.param(wrapper, id=name)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("wrapper", list(_wrappers()))
@pytest.mark.parametrize("kind", ["plain", "pipeline", "guarded"])
def test_weights_for_a_learner_that_takes_none_are_refused_by_name(wrapper, kind):
    X, domain = np.tile(np.arange(20.0), 3).reshape(-1, 1), np.repeat([1, 2, -1], 20)
    learner = KNeighborsClassifier()
    if kind == "pipeline":
        learner = make_pipeline(StandardScaler(), learner)
    if kind == "guarded":
        learner = make_pipeline(TCA(1), Pooled(learner))
    model = wrapper(estimator=learner)
    y, weight = np.arange(60) % 2, np.arange(60) + 1.0
    try:
        model.fit(X, y, sample_domain=domain)
    except (TypeError, DomainError) as error:
        if "Resampled" not in str(error):
            return  # it refuses such a learner, or two sources, anyway
    with pytest.raises(TypeError, match=r"Resampled\(KNeighborsClassifier\(...\)\)"):
        model.fit(X, y, sample_domain=domain, sample_weight=weight)


@pytest.mark.parametrize("last", [False, True], ids=["plain", "pipeline"])
@pytest.mark.parametrize(
    "wrapper",
    [KMM, DomainClassifierWeighting, GaussianWeighting, KLIEP, NearestNeighborWeighting,
     RULSIF, ULSIF, LabelShiftClassifier, TrAdaBoost, MultiSourceTrAdaBoost,
     partial(Pooled, source_weight=0.5), PredictiveDistributionMatching],
)  # fmt: skip
def test_methods_that_weigh_samples_name_the_resample(wrapper, last):
    X, domain = np.arange(60.0).reshape(-1, 1), np.repeat([1, -1], 30)
    learner = KNeighborsClassifier()
    learner = make_pipeline(StandardScaler(), learner) if last else learner
    with pytest.raises(TypeError, match=r"Resampled\(KNeighborsClassifier\(...\)\)"):
        wrapper(learner).fit(X, np.arange(60) % 2, sample_domain=domain)
