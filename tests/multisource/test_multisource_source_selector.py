import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.base import get_transfer_tags
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.exceptions import (
    CapabilityError,
    NegativeTransferWarning,
    UnlabeledTargetError,
)
from sktransfer.feature import TCA
from sktransfer.instance import KMM
from sktransfer.metrics import cross_val_ntg, rank_sources
from sktransfer.metrics._rank_sources import SOURCE_SCORES
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.multisource import SourceSelector
from sktransfer.safe import TransferGuard

NEAR, MIDDLE, FAR = 7, 3, 5


@pytest.fixture
def data():
    """Sources that get worse; in the farthest the labels are flipped."""
    rng = np.random.RandomState(0)
    sizes = [30, 25, 35, 32]
    domain = np.repeat([NEAR, MIDDLE, FAR, -1], sizes)
    label = np.arange(sum(sizes)) % 2
    X = rng.normal(size=(sum(sizes), 3)) + label[:, None]
    X += np.repeat([0.0, 1.0, 3.0, 0.0], sizes)[:, None]
    label[domain == FAR] = 1 - label[domain == FAR]
    label = np.r_[label[:-8].astype(float), np.full(8, np.nan)]
    order = rng.permutation(len(X))
    return X[order], label[order], domain[order]


def fit(data, estimator=None, **options):
    X, y, domain = data
    estimator = estimator or Pooled(LogisticRegression())
    return SourceSelector(estimator, **options).fit(X, y, sample_domain=domain)


def kept(data, estimator=None, **options):
    return fit(data, estimator, **options).kept_sources_.tolist()


def test_fit_is_that_on_the_kept_sources(data):
    X, y, domain = data
    for estimator in (
        Pooled(LogisticRegression()),
        KMM(LogisticRegression()),
        make_pipeline(StandardScaler(), TCA(2), Pooled(LogisticRegression())),
    ):
        model = fit(data, estimator, n_sources=2)
        assert_array_equal(model.kept_sources_, [MIDDLE, NEAR])
        assert_array_equal(model.dropped_sources_, [FAR])
        rows = domain != FAR
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            selected = fit((X[rows], y[rows], domain[rows]), estimator, n_sources=9)
        assert_array_equal(selected.dropped_sources_, [])
        assert_array_equal(selected.predict(X), model.predict(X))
    plain = Pooled(LogisticRegression()).fit(X[rows], y[rows], domain[rows])
    pooled = fit(data, n_sources=2)
    assert_array_equal(pooled.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("score", SOURCE_SCORES)
def test_scores_and_directions_are_those_of_rank_sources(data, score):
    X, y, domain = data
    estimator = make_pipeline(StandardScaler(), Pooled(LogisticRegression()))
    table = rank_sources(
        estimator, X, y, domain, scores=[score], cv=2, max_samples=15,
        random_state=4, n_sources=1,
    )  # fmt: skip
    model = fit(
        data, estimator, source_score=score, cv=2, max_samples=15, random_state=4,
        n_sources=1,
    )  # fmt: skip
    assert list(model.scores_) == [MIDDLE, FAR, NEAR]
    assert_array_equal(list(model.scores_.values()), table["value"])
    assert_array_equal(model.kept_sources_, table["source"][table["selected"]])
    sign = 1 if table["higher_is_better"][0] else -1
    best = max(model.scores_, key=lambda source: sign * model.scores_[source])
    assert model.kept_sources_.tolist() == [best]


def test_threshold_and_number(data):
    assert kept(data) == [MIDDLE, NEAR]  # the better half of three, rounded up
    assert kept(data, n_sources=1) == [NEAR]
    assert kept(data, n_sources=5) == [MIDDLE, FAR, NEAR]
    scores = fit(data).scores_
    assert scores[NEAR] < scores[MIDDLE] < scores[FAR]
    assert kept(data, threshold=scores[MIDDLE]) == [MIDDLE, NEAR]
    assert kept(data, threshold=scores[MIDDLE], n_sources=1) == [NEAR]
    gaps = fit(data, source_score="ntg")
    for source, gap in gaps.scores_.items():
        assert (source in gaps.kept_sources_) == (gap <= 0)
    assert FAR in gaps.dropped_sources_
    accuracy = get_scorer("accuracy")
    assert kept(data, source_score=accuracy, threshold=0.7) == [NEAR]
    assert kept(data, source_score=accuracy, n_sources=1) == [NEAR]


def test_dropping_a_reversed_source_helps():
    rng = np.random.RandomState(0)
    X, domain = rng.normal(size=(130, 3)), np.repeat([1, 2, -1], [60, 60, 10])
    y = X @ [1.0, -1.0, 0.5] * np.where(domain == 2, -1.0, 1.0)
    model = SourceSelector(Pooled(Ridge()), source_score="ntg")
    model.fit(X, y, sample_domain=domain)
    assert_array_equal(model.kept_sources_, [1])
    test = rng.normal(size=(100, 3))
    truth = test @ [1.0, -1.0, 0.5]
    pooled = Pooled(Ridge()).fit(X, y, sample_domain=domain)
    assert model.score(test, truth) > 0.99 > 0.7 > pooled.score(test, truth)


def test_no_source_kept_is_the_fit_on_the_target(data):
    X, y, domain = data
    with pytest.warns(NegativeTransferWarning, match="No source passes") as record:
        model = fit(data, threshold=-1.0)
    assert record[0].filename == __file__
    assert_array_equal(model.kept_sources_, [])
    assert_array_equal(model.dropped_sources_, [MIDDLE, FAR, NEAR])
    target = TargetOnly(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert_array_equal(model.predict_proba(X), target.predict_proba(X))
    with pytest.raises(UnlabeledTargetError, match="no target row is labeled"):
        fit((X, np.where(domain < 0, np.nan, y), domain), threshold=-1.0)


def test_unlabeled_target_and_target_alone(data):
    X, y, domain = data
    model = fit((X, np.where(domain < 0, np.nan, y), domain))
    assert_array_equal(model.kept_sources_, [MIDDLE, NEAR])
    rows = (domain < 0) & (y >= 0)
    for options in ({}, {"source_score": "leep", "threshold": 0.0}):
        alone = SourceSelector(Pooled(LogisticRegression()), **options)
        alone.fit(X[rows], y[rows])
        assert alone.scores_ == {}
        assert len(alone.kept_sources_) == len(alone.dropped_sources_) == 0


def test_one_source_for_a_method_that_takes_one(data):
    class OneSource(Pooled):
        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.transfer_tags.multi_source = False
            return tags

    estimator = OneSource(LogisticRegression())
    assert kept(data, estimator, n_sources=1) == [NEAR]
    with pytest.raises(CapabilityError, match="takes one"):
        fit(data, estimator, n_sources=2)


def test_tags_say_what_the_score_needs():
    def tags(score, estimator):
        return get_transfer_tags(SourceSelector(estimator, source_score=score))

    pooled, source_only = Pooled(Ridge()), SourceOnly(Ridge())
    assert tags("mmd", pooled).target_labels == "optional"
    assert tags("mmd", source_only).target_labels == "unused"
    assert tags("mmd", pooled).uses_unlabeled
    for score in ("ntg", "logme", get_scorer("r2")):
        assert tags(score, source_only).target_labels == "required"
        assert not tags(score, pooled).uses_unlabeled
    assert tags("ntg", KMM(Ridge())).uses_unlabeled


@pytest.mark.usefixtures("routing")
def test_metadata_reach_source_models_and_gaps(data):
    X, y, domain = data
    weight = np.where(domain == NEAR, 1e-6, 1.0) * (1 + np.arange(len(y)) % 3)
    learner = LogisticRegression().set_fit_request(sample_weight=True)
    for score in ("leep", "ntg"):
        model = SourceSelector(
            Pooled(learner), source_score=score, scoring="neg_log_loss"
        )
        light = clone(model).fit(X, y, sample_domain=domain, sample_weight=weight)
        plain = clone(model).fit(X, y, sample_domain=domain)
        assert light.scores_[NEAR] != plain.scores_[NEAR]


@pytest.mark.usefixtures("routing")
def test_search_over_the_number_of_sources(data):
    X, y, domain = data
    pipeline = make_pipeline(
        StandardScaler(), SourceSelector(Pooled(LogisticRegression()))
    )
    search = GridSearchCV(
        pipeline, {"sourceselector__n_sources": [1, 3]}, cv=StratifiedTargetKFold(3)
    )
    search.fit(X, y, sample_domain=domain)
    assert search.best_params_ == {"sourceselector__n_sources": 1}


def test_undefined_scores_drop_a_source(data):
    X, y, domain = data

    def moody(source_model, X, y):
        accuracy = source_model.score(X, y)
        if accuracy < 0.6:
            raise ValueError("bad mood")
        return accuracy

    y = np.where(domain == MIDDLE, 1 - y, y)  # both others are flipped now
    X = np.where((domain == FAR)[:, None], X - 3.0, X)
    with pytest.warns(UserWarning, match=r"undefined for source .* bad mood") as record:
        model = fit((X, y, domain), source_score=moody, n_sources=3)
    assert [str(MIDDLE) in str(w.message) for w in record] == [True, False]
    assert record[0].filename == __file__
    assert np.isnan([model.scores_[MIDDLE], model.scores_[FAR]]).all()
    assert_array_equal(model.kept_sources_, [NEAR])
    with pytest.raises(ValueError, match="'h_score' is undefined for every source"):
        fit(data, source_score="h_score")


def test_sparse_rows_are_sampled_before_they_are_dense(data):
    X, y, domain = data
    dense = fit(data, max_samples=20)
    thin = fit((sparse.csr_array(X), y, domain), max_samples=20)
    assert thin.scores_ == pytest.approx(dense.scores_)
    assert dense.scores_ != fit(data).scores_
    assert dense.scores_ != fit(data, max_samples=20, random_state=1).scores_


def test_errors(data):
    X, y, domain = data
    with pytest.raises(TypeError, match="does not know domains"):
        fit(data, LogisticRegression())
    with pytest.raises(TypeError, match="not know domains"):
        fit(data, make_pipeline(StandardScaler(), LogisticRegression()))
    with pytest.raises(ValueError, match="'source_score' parameter"):
        fit(data, source_score="nonsense")
    with pytest.raises(ValueError, match="'n_sources' parameter"):
        fit(data, n_sources=0)
    with pytest.raises(UnlabeledTargetError, match="needs labeled target rows"):
        fit((X, np.where(domain < 0, np.nan, y), domain), source_score="ntg")
    with pytest.raises(ValueError, match="numeric columns; transform X first"):
        fit((np.where(X > 3, np.nan, X), y, domain))
    with pytest.raises(ValueError, match="source_score='leep' needs classes"):
        fit((X, X[:, 0], domain), Pooled(Ridge()), source_score="leep")


# -- kinds 03, 04 and 33: the folds of "ntg" ------------------------------------


def evidence_data(seed=0):
    """Ten target patients with three rows each, a near source and a reversed one."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(110, 3))
    domain = np.r_[np.repeat([3, 5], 40), np.full(30, -1)]
    groups = np.r_[np.arange(80) + 100, np.repeat(np.arange(10), 3)]
    X[80:] = np.repeat(X[80:90], 3, axis=0) + 0.01 * rng.normal(size=(30, 3))
    y = X.sum(axis=1) * np.where(domain == 5, -1.0, 1.0)
    y = y + 0.5 * rng.normal(size=110)
    return X, y, domain, groups


def gap_of(X, y, domain, source, **options):
    rows = np.isin(domain, [source, -1])
    options = {k: v[rows] if isinstance(v, np.ndarray) else v
               for k, v in options.items()}  # fmt: skip
    return cross_val_ntg(
        Pooled(Ridge()), X[rows], y[rows], sample_domain=domain[rows], **options
    ).ntg


@pytest.mark.parametrize("cv", [3, GroupKFold(3)])
def test_kind_03_groups_reach_the_folds(cv):
    X, y, domain, groups = evidence_data()
    model = SourceSelector(
        Pooled(Ridge()), source_score="ntg", n_sources=1, cv=cv, random_state=0
    )
    model.fit(X, y, sample_domain=domain, groups=groups)
    seed = np.random.RandomState(0).randint(2**31 - 1)
    for source in (3, 5):
        expected = gap_of(X, y, domain, source, cv=cv, groups=groups, random_state=seed)
        assert model.scores_[source] == pytest.approx(expected)
    loose = clone(model).set_params(cv=3)
    assert loose.fit(X, y, sample_domain=domain).scores_ != model.scores_
    with pytest.raises(ValueError, match="groups has shape"):
        model.fit(X, y, sample_domain=domain, groups=groups[:-1])
    table = rank_sources(
        Pooled(Ridge()), X, y, domain, scores=["ntg"], cv=cv, groups=groups,
        random_state=0,
    )  # fmt: skip
    assert dict(zip(table["source"], table["value"], strict=True)) == pytest.approx(
        model.scores_
    )


@pytest.mark.parametrize("source_score", ["mmd", "ntg"])
def test_kind_03_groups_are_handed_to_an_inner_guard(source_score):
    X, y, domain, groups = evidence_data()
    guard = TransferGuard(Pooled(Ridge()), cv=3)
    model = SourceSelector(guard, source_score=source_score, n_sources=1, cv=3)
    model.fit(X, y, sample_domain=domain, groups=groups)
    assert model.estimator_.n_held_out_ == 10
    plain = SourceSelector(Pooled(Ridge()), source_score=mean_score)
    plain.fit(X, y, sample_domain=domain, groups=groups)  # not for the source models


def mean_score(model, X, y):
    return model.score(X, y)


def test_kind_04_explicit_folds_count_all_rows():
    X, y, domain, _ = evidence_data()
    order = np.random.default_rng(0).permutation(110)
    X, y, domain = X[order], y[order], domain[order]
    folds = [(np.setdiff1d(order, order[k::3]), order[k::3]) for k in range(3)]
    model = SourceSelector(
        Pooled(Ridge()), source_score="ntg", n_sources=1, cv=iter(folds)
    )
    model.fit(X, y, sample_domain=domain)
    table = rank_sources(Pooled(Ridge()), X, y, domain, scores=["ntg"], cv=iter(folds))
    for k, source in enumerate((3, 5)):
        rows = np.isin(domain, [source, -1])
        position = np.cumsum(rows) - 1
        own = [tuple(position[part[rows[part]]] for part in fold) for fold in folds]
        expected = gap_of(X, y, domain, source, cv=own)
        assert model.scores_[source] == pytest.approx(expected)
        assert table["value"][k] == pytest.approx(expected)


@pytest.mark.parametrize("cv", [3, "explicit"])
@pytest.mark.parametrize("source_score", ["ntg", "mmd", "leep"])
def test_kind_33_weight_zero_is_a_removed_row(source_score, cv):
    X, y, domain, _ = evidence_data()
    learner = Ridge()
    if source_score == "leep":
        y, learner = (y > 0).astype(int), LogisticRegression()
    with config_context(enable_metadata_routing=True):
        learner = learner.set_fit_request(sample_weight=True)
    weight = np.random.default_rng(1).integers(0, 3, 110).astype(float)
    weight[domain == 5] *= np.arange(40) > 2
    kept, inner, everything = weight > 0, cv, np.arange(110)
    if cv == "explicit":
        rows = np.flatnonzero(domain < 0)
        cv = [(np.setdiff1d(everything, rows[k::3]), rows[k::3]) for k in range(3)]
        inner = [(np.isin(everything, a)[kept], np.isin(everything, b)[kept])
                 for a, b in cv]  # fmt: skip
    options = {"source_score": source_score, "n_sources": 1}
    one = SourceSelector(Pooled(learner), cv=cv, **options)
    one.fit(X, y, sample_domain=domain, sample_weight=weight)
    two = SourceSelector(Pooled(learner), cv=inner, **options)
    two.fit(X[kept], y[kept], sample_domain=domain[kept], sample_weight=weight[kept])
    assert one.scores_ == pytest.approx(two.scores_)
    np.testing.assert_allclose(one.predict(X), two.predict(X))
