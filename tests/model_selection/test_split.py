"""Splitters: only labeled target rows are tested, the rest is trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.model_selection import (
    GroupTargetKFold,
    GroupTargetShuffleSplit,
    MixedDomainKFold,
    SourceToTargetSplit,
    StratifiedGroupTargetKFold,
    StratifiedTargetKFold,
    TargetKFold,
    TargetShuffleSplit,
)

FOLDS = [TargetKFold, StratifiedTargetKFold]
ALL = [
    TargetKFold(2),
    StratifiedTargetKFold(2),
    TargetShuffleSplit(3, test_size=0.4, random_state=0),
    SourceToTargetSplit(),
]

fuzz = settings(derandomize=True, deadline=None, max_examples=25)


@st.composite
def rows(draw):
    """Labels and domains in any order, with six target rows of each class."""
    n_source = draw(st.integers(0, 12))
    n_unlabeled = draw(st.integers(0, 12))
    n_extra = draw(st.integers(0, 9))
    y = [0, 1] * 6 + [0] * n_extra + [-1] * n_unlabeled
    domain = [-1] * len(y) + [1 + i % 3 for i in range(n_source)]
    y += [i % 2 for i in range(n_source)]
    order = draw(st.permutations(range(len(y))))
    return np.array(y)[order], np.array(domain)[order]


def make_rows():
    y = np.array([0, 1, -1, 0, 1, 1, 0, -1, 1, 0, 1, 0])
    domain = np.array([1, 1, -1, -1, -1, 2, 2, -1, -1, -1, -1, -1])
    return np.arange(24.0).reshape(12, 2), y, domain


def folds_of(splitter, y, domain):
    return list(splitter.split(np.zeros((len(y), 1)), y, sample_domain=domain))


@pytest.mark.parametrize("cls", FOLDS)
@given(data=rows(), n_splits=st.integers(2, 6), shuffle=st.booleans())
@fuzz
def test_folds_partition_the_labeled_target_rows(cls, data, n_splits, shuffle):
    y, domain = data
    seed = 0 if shuffle else None
    splitter = cls(n_splits, shuffle=shuffle, random_state=seed)
    splits = folds_of(splitter, y, domain)
    assert len(splits) == splitter.get_n_splits() == n_splits
    labeled = np.flatnonzero((domain < 0) & (y != -1))
    tested = np.concatenate([test for _, test in splits])
    np.testing.assert_array_equal(np.sort(tested), labeled)
    for train, test in splits:
        assert len(test)
        # the training set is everything else, in order and each row once
        np.testing.assert_array_equal(train, np.setdiff1d(np.arange(len(y)), test))


@given(data=rows(), test_size=st.integers(1, 5), train_size=st.integers(1, 6))
@fuzz
def test_shuffle_split_counts_labeled_target_rows(data, test_size, train_size):
    y, domain = data
    splitter = TargetShuffleSplit(
        3, test_size=test_size, train_size=train_size, random_state=0
    )
    labeled = (domain < 0) & (y != -1)
    for train, test in folds_of(splitter, y, domain):
        assert len(test) == test_size
        assert labeled[test].all()
        assert not np.intersect1d(train, test).size
        assert labeled[train].sum() == train_size
        assert np.isin(np.flatnonzero(~labeled), train).all()


@given(data=rows())
@fuzz
def test_source_to_target_is_one_split(data):
    y, domain = data
    splitter = SourceToTargetSplit()
    if not (domain > 0).any():
        with pytest.raises(DomainError, match="names no source"):
            folds_of(splitter, y, domain)
        return
    [(train, test)] = folds_of(splitter, y, domain)
    np.testing.assert_array_equal(train, np.flatnonzero(domain > 0))
    np.testing.assert_array_equal(test, np.flatnonzero((domain < 0) & (y != -1)))
    assert splitter.get_n_splits() == 1


@pytest.mark.parametrize("cls", FOLDS)
@given(data=rows(), shuffle=st.booleans())
@fuzz
def test_folds_do_not_depend_on_the_other_rows(cls, data, shuffle):
    y, domain = data
    splitter = cls(3, shuffle=shuffle, random_state=0 if shuffle else None)
    labeled = np.flatnonzero((domain < 0) & (y != -1))
    alone = folds_of(splitter, y[labeled], domain[labeled])
    among = folds_of(splitter, y, domain)
    for (_, test_alone), (_, test_among) in zip(alone, among, strict=True):
        np.testing.assert_array_equal(labeled[test_alone], test_among)


@pytest.mark.parametrize("cls", FOLDS)
def test_seed_decides_the_shuffle(cls):
    y, domain = np.tile([0, 1], 20), np.full(40, -1)

    def tests(seed):
        splitter = cls(4, shuffle=True, random_state=seed)
        return [t.tolist() for _, t in folds_of(splitter, y, domain)]

    assert tests(0) == tests(0)
    assert tests(0) != tests(1)


def test_stratified_keeps_the_shares():
    y = np.r_[np.zeros(12, int), np.ones(6, int), np.full(5, 1), np.full(4, -1)]
    domain = np.r_[np.full(18, -1), np.full(5, 3), np.full(4, -1)]
    for _, test in folds_of(StratifiedTargetKFold(3), y, domain):
        assert np.bincount(y[test]).tolist() == [4, 2]


@pytest.mark.parametrize("marked", ["float", "text", "object numbers"])
def test_label_markers_of_every_kind(marked):
    values = {
        "float": np.array([0.0, 1.0, np.nan, 0.0, 1.0, 1.0]),
        "text": np.array(["a", "b", None, "a", "b", "b"], dtype=object),
        "object numbers": np.array([0, 1, None, 0, 1, 1], dtype=object),
    }
    domain = [-1, -1, -1, -1, -1, 1]
    splits = folds_of(StratifiedTargetKFold(2), values[marked], domain)
    assert sorted(np.concatenate([t for _, t in splits])) == [0, 1, 3, 4]


@pytest.mark.parametrize("splitter", ALL, ids=lambda s: type(s).__name__)
def test_missing_domain_names_the_line_to_add(splitter):
    X, y, domain = make_rows()
    with pytest.raises(DomainError, match=r"set_config\(enable_metadata_routing=True"):
        splitter.split(X, y)
    if isinstance(splitter, SourceToTargetSplit):
        return
    search = GridSearchCV(Pooled(Ridge()), {"estimator__alpha": [1.0]}, cv=splitter)
    with pytest.raises(DomainError, match=r"search\.fit"):
        search.fit(X, np.where(y == -1, np.nan, y), sample_domain=domain)


def test_groups_are_refused():
    with pytest.raises(ValueError, match=r"does not support groups\. GroupTargetKFold"):
        TargetKFold(2).split([[0], [1]], [0, 1], sample_domain=-1, groups=[0, 1])


@pytest.mark.parametrize("splitter", ALL, ids=lambda s: type(s).__name__)
def test_no_labeled_target_row(splitter):
    y, domain = [0, 1, -1, -1], [1, 1, -1, -1]
    with pytest.raises(UnlabeledTargetError):
        splitter.split(np.zeros((4, 1)), y, sample_domain=domain)


def test_too_few_labeled_rows():
    y, domain = [0, 1, 0, 1, -1], [1, 1, -1, -1, -1]
    with pytest.raises(UnlabeledTargetError, match=r"y labels 2 of 3\. Lower n_splits"):
        folds_of(TargetKFold(3), y, domain)
    with pytest.raises(UnlabeledTargetError, match="no class has more than 1"):
        folds_of(StratifiedTargetKFold(2), y, domain)


def test_small_class_warns_as_scikit_learn_does():
    y, domain = [0, 0, 0, 1, 1], [-1] * 5
    with pytest.warns(UserWarning, match="least populated class in y has only 2"):
        splits = folds_of(StratifiedTargetKFold(3), y, domain)
    assert len(splits) == 3


@pytest.mark.parametrize("cls", FOLDS)
def test_parameters_are_checked_when_constructed(cls):
    with pytest.raises(ValueError, match="n_splits=1"):
        cls(1)
    with pytest.raises(ValueError, match="random_state"):
        cls(2, random_state=0)


@pytest.mark.parametrize("splitter", ALL, ids=lambda s: type(s).__name__)
def test_requests_sample_domain_without_being_told(splitter):
    assert splitter.get_metadata_routing().split.requests == {"sample_domain": True}
    assert repr(splitter).startswith(type(splitter).__name__)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_scores_labeled_target_rows_only(n_jobs):
    X, y, domain = make_rows()
    scored = []

    def scorer(estimator, X, y):
        scored.append(y.tolist())
        return accuracy_score(y, estimator.predict(X))

    model = make_pipeline(StandardScaler(), Pooled(LogisticRegression()))
    grid = {"pooled__estimator__C": [0.1, 1.0]}
    search = GridSearchCV(
        model,
        grid,
        cv=StratifiedTargetKFold(2),
        n_jobs=n_jobs,
        scoring=scorer if n_jobs == 1 else "accuracy",
    )
    with config_context(enable_metadata_routing=True):
        search.fit(X, y, sample_domain=domain)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.n_splits_ == 2
    assert not any(-1 in labels for labels in scored)
    assert sum(map(len, scored)) == (2 * 6 if n_jobs == 1 else 0)


def test_cross_validate_with_regression_and_parallel_jobs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=30)
    y[25:] = np.nan
    domain = np.r_[np.full(10, 1), np.full(20, -1)]
    with config_context(enable_metadata_routing=True):
        result = cross_validate(
            TargetOnly(Ridge()),
            X,
            y,
            cv=TargetKFold(3),
            params={"sample_domain": domain},
            n_jobs=2,
            scoring="r2",
        )
    assert result["test_score"].min() > 0.8


def test_source_to_target_ranks_plain_source_models():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    domain = np.r_[np.full(40, 1), np.full(20, -1)]
    y = (X[:, 0] > 0).astype(int)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            LogisticRegression(), {"C": [1e-6, 1.0]}, cv=SourceToTargetSplit()
        ).fit(X, y, sample_domain=domain)
    by_hand = LogisticRegression(C=1.0).fit(X[:40], y[:40]).score(X[40:], y[40:])
    assert search.cv_results_["split0_test_score"][1] == by_hand


GROUPED = [
    GroupTargetKFold(3),
    GroupTargetKFold(2, shuffle=True, random_state=0),
    StratifiedGroupTargetKFold(3),
    StratifiedGroupTargetKFold(2, shuffle=True, random_state=0),
    GroupTargetShuffleSplit(4, test_size=2, random_state=0),
]


def patients(seed=0):
    """Three rows of each of eight patients, two without a label, and source rows."""
    rng = np.random.default_rng(seed)
    name = np.array([f"patient {k}" for k in range(8)], dtype=object)
    groups = np.r_[np.repeat(name, 3), np.full(10, None)]
    y = np.r_[np.repeat(np.arange(8) % 2, 3), np.arange(10) % 2].astype(float)
    y[[2, 5, 8, 9, 10, 11]] = np.nan
    domain = np.r_[-np.ones(24, int), np.ones(10, int)]
    X = rng.normal(size=(34, 3)) + y.repeat(3).reshape(34, 3).clip(0)
    order = rng.permutation(34)
    return np.nan_to_num(X)[order], y[order], domain[order], groups[order]


@pytest.mark.parametrize("splitter", GROUPED, ids=repr)
@pytest.mark.parametrize("names", ["texts", "numbers"])
def test_kind_03_group_splitters(splitter, names):
    X, y, domain, groups = patients()
    if names == "numbers":
        groups = np.array([np.nan if g is None else float(g[-1]) for g in groups])
    labeled = (domain < 0) & ~np.isnan(y)
    splits = list(splitter.split(X, y, sample_domain=domain, groups=groups))
    assert len(splits) == splitter.get_n_splits()
    for train, test in splits:
        assert labeled[test].all() and np.isin(np.flatnonzero(domain > 0), train).all()
        tested = set(groups[test])
        assert not any(group in tested for group in groups[train])
        # unlabeled rows of the other patients are there
        other = (domain < 0) & np.array([group not in tested for group in groups])
        assert np.isin(np.flatnonzero(other), train).all() or splitter.n_splits == 4
    if not isinstance(splitter, GroupTargetShuffleSplit):
        tested = np.sort(np.concatenate([test for _, test in splits]))
        np.testing.assert_array_equal(tested, np.flatnonzero(labeled))


@pytest.mark.parametrize("splitter", GROUPED, ids=repr)
def test_kind_03_group_splitters_name_what_is_wrong(splitter):
    X, y, domain, groups = patients()
    with pytest.raises(ValueError, match="did not get groups"):
        splitter.split(X, y, sample_domain=domain)
    with pytest.raises(DomainError, match="did not get sample_domain"):
        splitter.split(X, y, groups=groups)
    with pytest.raises(ValueError, match="groups has shape"):
        splitter.split(X, y, sample_domain=domain, groups=groups[1:])
    with pytest.raises(UnlabeledTargetError, match="groups has 1 of them"):
        splitter.split(X, y, sample_domain=domain, groups=["a"] * 34)


@pytest.mark.parametrize("splitter", GROUPED, ids=repr)
def test_kind_03_groups_are_routed_to_the_splitter(splitter):
    X, y, domain, groups = patients()
    tested = []

    def scorer(estimator, X_test, y_test):
        tested.append(len(y_test))
        return accuracy_score(y_test, estimator.predict(X_test))

    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            Pooled(LogisticRegression()),
            {"estimator__C": [0.1, 1.0]},
            cv=splitter,
            scoring=scorer,
        ).fit(X, y, sample_domain=domain, groups=groups)
        result = cross_validate(
            Pooled(LogisticRegression()), X, y, cv=splitter,
            params={"sample_domain": domain, "groups": groups},
        )  # fmt: skip
    splits = splitter.split(X, y, sample_domain=domain, groups=groups)
    expected = [len(test) for _, test in splits]
    assert tested[::2] == tested[1::2] == expected or tested == expected * 2
    assert np.isfinite(result["test_score"]).all() and search.n_splits_ == len(expected)


def test_kind_03_mixed_folds_keep_groups_together():
    X, y, domain, groups = patients()
    groups = np.where(domain > 0, np.array([f"s{k % 5}" for k in range(34)]), groups)
    groups = groups.astype(str)
    folds = MixedDomainKFold(2).split(X, y, sample_domain=domain, groups=groups)
    for train, test in folds:
        assert not np.intersect1d(groups[train], groups[test]).size
        assert (domain[test] > 0).any() and (domain[test] < 0).any()


@pytest.mark.parametrize("splitter", ALL, ids=lambda s: type(s).__name__)
def test_kind_07_two_columns_of_labels(splitter):
    X, y, domain = make_rows()
    y = np.where(y == -1, np.nan, y)
    Y = np.column_stack([y, -y])
    if isinstance(splitter, StratifiedTargetKFold):
        with pytest.raises(ValueError, match=r"one column, but y has 2.*TargetKFold"):
            splitter.split(X, Y, sample_domain=domain)
        return
    one = folds_of(splitter, y, domain)
    for (train, test), (a, b) in zip(folds_of(splitter, Y, domain), one, strict=True):
        np.testing.assert_array_equal(train, a)
        np.testing.assert_array_equal(test, b)


def test_kind_06_splitters_take_rows_of_any_kind():
    _, y, domain = make_rows()
    texts = [f"text {k}" for k in range(12)]
    for X in (texts, np.zeros((12, 2, 3)), [[1.0, 2.0]] * 12):
        for a, b in zip(
            TargetKFold(2).split(X, y, sample_domain=domain),
            folds_of(TargetKFold(2), y, domain),
            strict=True,
        ):
            np.testing.assert_array_equal(a[1], b[1])
