"""The fold rule: labeled target rows are tested, units stay together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    LeavePOut,
    PredefinedSplit,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
    check_cv,
)

from sktransfer._domains import check_domains
from sktransfer._folds import take_folds, target_folds
from sktransfer.model_selection import (
    StratifiedTargetKFold,
    TargetKFold,
    TargetShuffleSplit,
)

fuzz = settings(derandomize=True, deadline=None, max_examples=40)
N_SOURCE, N_LABELED, N_UNLABELED = 12, 18, 9
N = N_SOURCE + N_LABELED + N_UNLABELED


def make(seed=0, two=False, kind="array"):
    """Rows in mixed order; float labels with NaN."""
    rng = np.random.default_rng(seed)
    domain = np.r_[np.repeat([1, 2], N_SOURCE // 2), -np.ones(N - N_SOURCE, int)]
    y = np.arange(N) % 3.0
    y[N_SOURCE + N_LABELED :] = np.nan
    order = rng.permutation(N)
    domain, y = domain[order], y[order]
    X = rng.normal(size=(N, 3))
    if kind == "texts":
        X = [f"text {k}" for k in range(N)]
    elif kind == "3d":
        X = rng.normal(size=(N, 2, 4))
    elif kind == "sparse":
        X = sparse.csr_array(X)
    elif kind == "lists":
        X = [[f"word {k}"] * (k % 4 + 1) for k in range(N)]
    return check_domains(X, np.c_[y, y] if two else y, domain, multi_output=True)


def folds_of(data, cv, groups=None, weight=None, stratify=False, seed=0):
    return target_folds(
        data, cv, groups=groups, sample_weight=weight, stratify=stratify,
        random_state=seed,
    )  # fmt: skip


def check_rule(data, folds, units=None):
    assert folds
    for train, test in folds:
        assert len(test) and data.is_labeled_target[test].all()
        assert not np.intersect1d(train, test).size
        assert data.is_labeled_target[train].any()
        if units is not None:
            assert not np.intersect1d(units[train], units[test]).size


PLAIN = [
    2,
    5,
    KFold(4),
    KFold(3, shuffle=True, random_state=0),
    StratifiedKFold(3),
    RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0),
    LeaveOneOut(),
    LeavePOut(2),
    ShuffleSplit(4, test_size=0.3, random_state=0),
    StratifiedShuffleSplit(4, test_size=0.3, random_state=0),
    TargetKFold(3),
    StratifiedTargetKFold(3),
    TargetShuffleSplit(3, test_size=0.3, random_state=0),
    None,
]


@pytest.mark.parametrize("cv", PLAIN, ids=repr)
def test_kind_04_every_cv_tests_labeled_target_rows(cv):
    data = make()
    folds = folds_of(data, cv)
    check_rule(data, folds)
    others = np.flatnonzero(~data.is_labeled_target)
    for train, _ in folds:
        assert np.isin(others, train).all()


@pytest.mark.parametrize("kind", ["texts", "3d", "sparse", "lists"])
@pytest.mark.parametrize("stratify", [True, False])
def test_kind_06_rows_of_any_kind_are_dealt(kind, stratify):
    data = make(kind=kind)
    folds = folds_of(data, 3, stratify=stratify)
    check_rule(data, folds)
    assert sum(len(test) for _, test in folds) == N_LABELED


def test_texts_are_dealt_whatever_their_order():
    texts = np.array([f"text {k}" for k in range(12)], dtype=object)
    order = np.random.default_rng(0).permutation(12)
    y = np.arange(12) % 2.0
    first = folds_of(check_domains(list(texts), y, -1), 3)
    second = folds_of(check_domains(list(texts[order]), y[order], -1), 3)
    for (_, a), (_, b) in zip(first, second, strict=True):
        assert_array_equal(np.sort(order[b]), a)


def test_kind_07_two_columns_are_dealt():
    data = make(two=True)
    for cv in (3, KFold(3), TargetKFold(3)):
        check_rule(data, folds_of(data, cv))


def explicit(data, k=3, seed=0):
    rows = np.random.default_rng(seed).permutation(N)
    return [(np.setdiff1d(rows, rows[i::k]), rows[i::k]) for i in range(k)]


@pytest.mark.parametrize("form", ["indices", "masks", "lists", "generator", "check_cv"])
def test_kind_04_explicit_folds_are_restricted(form):
    data = make()
    pairs = explicit(data)
    expected = [(np.sort(a), np.sort(b[data.is_labeled_target[b]])) for a, b in pairs]
    mask = [tuple(np.isin(np.arange(N), part) for part in pair) for pair in pairs]
    cv = {
        "indices": pairs,
        "masks": mask,
        "lists": [tuple(part.tolist() for part in pair) for pair in pairs],
        "generator": (pair for pair in pairs),
        "check_cv": check_cv(pairs),
    }[form]
    folds = folds_of(data, cv)
    check_rule(data, folds)
    for got, want in zip(folds, expected, strict=True):
        assert_array_equal(got[0], want[0])
        assert_array_equal(got[1], want[1])


def test_kind_04_predefined_split_is_about_the_rows_it_counts():
    data = make()
    of_all = np.arange(N) % 3
    folds = folds_of(data, PredefinedSplit(of_all))
    for k, (_, test) in enumerate(folds):
        assert_array_equal(test, np.flatnonzero((of_all == k) & data.is_labeled_target))
    check_rule(data, folds_of(data, PredefinedSplit(np.arange(N_LABELED) % 3)))
    with pytest.raises(ValueError, match=r"PredefinedSplit.*indices"):
        folds_of(data, PredefinedSplit(np.arange(N_LABELED + 3) % 3))


def test_rows_on_neither_side_stay_out():
    data = make()
    for cv in (
        ShuffleSplit(3, test_size=4, train_size=5, random_state=0),
        TargetShuffleSplit(3, test_size=4, train_size=5, random_state=0),
    ):
        for train, test in folds_of(data, cv):
            assert len(test) == 4 and data.is_labeled_target[train].sum() == 5
    for train, test in folds_of(data, TimeSeriesSplit(3)):
        known = train[data.is_labeled_target[train]]
        assert known.max() < test.min()


def test_repeated_rows_of_a_test_part_count_once():
    data = make()
    rows = np.flatnonzero(data.is_labeled_target)
    folds = folds_of(data, [(rows[4:], np.r_[rows[:4], rows[:4]])])
    assert_array_equal(folds[0][1], rows[:4])


@pytest.mark.parametrize(
    ("pairs", "match"),
    [
        (lambda t, s, u: [], "gives no fold"),
        (lambda t, s, u: [(t, np.r_[s, u])], "fold 0 .* tests no labeled target row"),
        (lambda t, s, u: [(t[2:], t[:2]), (t[2:], [])], "fold 1 .* tests no"),
        (lambda t, s, u: [(t, t[:2])], "trains on 2 rows that it tests"),
        (lambda t, s, u: [(np.r_[s, u], t)], "trains on no labeled target row"),
        (lambda t, s, u: [(t[2:], [N])], f"there are {N} rows"),
        (lambda t, s, u: [(t[2:], [-1])], "indices -1"),
        (lambda t, s, u: [(t[2:], np.array([0.5]))], "dtype float64"),
        (lambda t, s, u: [(t[2:], [True, False])], "masks"),
        (lambda t, s, u: [(t[2:], t[:1], t[:1])], "pairs"),
    ],
)
def test_kind_04_bad_explicit_folds_name_cv(pairs, match):
    data = make()
    parts = data.is_labeled_target, data.is_source, data.is_target & ~data.labeled
    with pytest.raises(ValueError, match=match) as error:
        folds_of(data, pairs(*map(np.flatnonzero, parts)))
    assert "cv" in str(error.value)


def test_used_up_generator_is_an_error():
    data = make()
    cv = (pair for pair in explicit(data))
    folds_of(data, cv)
    with pytest.raises(ValueError, match=r"generator can be used once.*list"):
        folds_of(data, cv)


# -- groups -----------------------------------------------------------------


def units_of(data, n_units=6, seed=0):
    """Units over labeled and unlabeled target rows; sources have others."""
    rng = np.random.default_rng(seed)
    units = rng.integers(0, n_units, N)
    units[np.flatnonzero(data.is_labeled_target)[:n_units]] = np.arange(n_units)
    return np.where(data.is_source, 100 + units, units)


GROUPED = [
    2,
    4,
    100,
    GroupKFold(3),
    StratifiedGroupKFold(2),
    LeaveOneGroupOut(),
    GroupShuffleSplit(3, test_size=0.4, random_state=0),
]


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("cv", GROUPED, ids=repr)
@pytest.mark.parametrize("names", ["numbers", "texts", "objects", "floats"])
def test_kind_03_units_stay_together(cv, names, stratify):
    data = make()
    units = units_of(data)
    groups = {
        "numbers": units,
        "texts": np.array([f"patient {u}" for u in units]),
        "objects": np.array([u if u % 2 else str(u) for u in units], dtype=object),
        "floats": units / 2,
    }[names]
    folds = folds_of(data, cv, groups=groups, stratify=stratify)
    check_rule(data, folds, units)
    assert all(np.isin(np.flatnonzero(data.is_source), tr).all() for tr, _ in folds)
    if isinstance(cv, int):
        assert len(folds) == min(cv, 6)
        tested = np.sort(np.concatenate([test for _, test in folds]))
        assert_array_equal(tested, np.flatnonzero(data.is_labeled_target))


@given(seed=st.integers(0, 10**6), n_folds=st.integers(2, 8), stratify=st.booleans())
@fuzz
def test_kind_03_dealt_units(seed, n_folds, stratify):
    rng = np.random.default_rng(seed)
    data = make(seed)
    units = rng.integers(0, rng.integers(2, 12), N)
    labeled = np.flatnonzero(data.is_labeled_target)
    folds = folds_of(data, n_folds, groups=units, stratify=stratify)
    for train, test in folds:
        assert len(test)
        assert not np.intersect1d(units[train], units[test]).size
        kept = train[data.is_labeled_target[train]]
        assert_array_equal(kept, labeled[~np.isin(units[labeled], units[test])])
    tests = np.concatenate([[], *(test for _, test in folds)])
    assert len(np.unique(tests)) == len(tests)
    if not stratify:
        n_units = len(np.unique(units[labeled]))
        assert len(folds) == (min(n_folds, n_units) if n_units > 1 else 0)
    # the order of the rows is no matter
    order = rng.permutation(N)
    again = folds_of(data.take(order), n_folds, groups=units[order], stratify=stratify)
    for (_, a), (_, b) in zip(folds, again, strict=True):
        assert_array_equal(np.sort(order[b]), a)


def test_kind_03_classes_are_spread_over_the_folds():
    # one label per patient, as it is in most diagnoses
    units = np.repeat(np.arange(12), 3)
    y = np.where(units < 8, 0.0, 1.0)
    data = check_domains(np.zeros((36, 1)), y, -1)
    folds = folds_of(data, 4, groups=units, stratify=True)
    for _, test in folds:
        assert_array_equal(np.unique(units[test] < 8), [False, True])
        assert len(test) == 9


def test_kind_03_a_unit_that_alone_has_a_class_is_never_held_out():
    units = np.repeat(np.arange(4), 3)
    y = np.repeat([0.0, 0.0, 0.0, 1.0], 3)
    data = check_domains(np.zeros((12, 1)), y, -1)
    folds = folds_of(data, 5, groups=units, stratify=True)
    assert len(folds) == 3
    assert not any(3 in units[test] for _, test in folds)


def test_kind_03_other_rows_of_a_tested_unit_leave_the_training_part():
    data = make()
    units = np.arange(N) % 5  # sources share the units, too
    for cv in (3, GroupKFold(3), LeaveOneGroupOut()):
        check_rule(data, folds_of(data, cv, groups=units), units)


def test_kind_03_rows_without_a_group_are_units_of_their_own():
    data = make()
    groups = np.array([f"p{k % 5}" for k in range(N)], dtype=object)
    groups[~data.is_labeled_target] = None
    for train, _ in folds_of(data, 3, groups=groups):
        assert np.isin(np.flatnonzero(~data.is_labeled_target), train).all()
    groups[np.flatnonzero(data.is_labeled_target)[2]] = None
    with pytest.raises(ValueError, match="groups has no value for 1 labeled"):
        folds_of(data, 3, groups=groups)


@pytest.mark.parametrize("cv", [KFold(3), LeaveOneOut(), TargetKFold(3)], ids=repr)
def test_kind_03_a_splitter_that_divides_units_is_refused(cv):
    data = make()
    with pytest.raises(ValueError, match=r"units in groups.*GroupKFold"):
        folds_of(data, cv, groups=units_of(data))


def test_kind_03_explicit_folds_that_divide_units_are_refused():
    data = make()
    with pytest.raises(ValueError, match=r"fold 0 .* units in groups"):
        folds_of(data, explicit(data), groups=units_of(data))


@pytest.mark.parametrize("groups", [np.zeros(N - 1), np.zeros((N, 2)), 3])
def test_kind_03_groups_of_another_length_are_named(groups):
    with pytest.raises(ValueError, match="groups has shape"):
        folds_of(make(), 3, groups=groups)


# -- weights ----------------------------------------------------------------


@pytest.mark.parametrize(
    "cv",
    [3, KFold(3), StratifiedKFold(3), TargetKFold(3), LeaveOneOut(), "explicit"],
    ids=str,
)
@pytest.mark.parametrize("grouped", [False, True])
def test_kind_33_rows_of_weight_zero_do_not_exist(cv, grouped):
    if grouped:
        cv = {3: 3, "explicit": "explicit"}.get(str(cv), GroupKFold(3))
    data, rng = make(), np.random.default_rng(5)
    weight = rng.integers(0, 3, N).astype(float)
    kept = np.flatnonzero(weight)
    units = np.arange(N) if grouped else None
    inner = cv
    if isinstance(cv, str):
        cv = explicit(data)
        inner = [
            tuple(np.flatnonzero(np.isin(kept, part)) for part in pair) for pair in cv
        ]
    folds = folds_of(data, cv, weight=weight, groups=units)
    without = folds_of(
        data.take(kept), inner, groups=None if units is None else units[kept]
    )
    for (train, test), (a, b) in zip(folds, without, strict=True):
        assert_array_equal(train, kept[a])
        assert_array_equal(test, kept[b])


@pytest.mark.parametrize("weight", [np.ones(N - 1), -np.ones(N), np.full(N, np.nan)])
def test_bad_weights_are_named(weight):
    with pytest.raises(ValueError, match="sample_weight"):
        folds_of(make(), 3, weight=weight)


def test_folds_of_a_part():
    data = make()
    folds = folds_of(data, 4)
    part = data.is_target | data.rows_of(2)
    kept = np.flatnonzero(part)
    for (train, test), (a, b) in zip(folds, take_folds(folds, part), strict=True):
        assert_array_equal(kept[a], train[part[train]])
        assert_array_equal(kept[b], test)


@pytest.mark.parametrize("text", ["nan", "NaN", "", " ", "<NA>", "NaT"])
@pytest.mark.parametrize("kind", [str, object])
def test_missing_groups_that_became_text_are_no_unit(text, kind):
    data = make()
    groups = np.array([f"patient {k // 3}" for k in range(N)], dtype=object)
    groups[[4, 20]] = text
    with pytest.raises(ValueError, match=r"groups holds the text .*first at row 4"):
        folds_of(data, 3, groups.astype(kind))
    groups[[4, 20]] = "Nanette", "None"
    assert folds_of(data, 3, groups.astype(kind))
