"""The one owner of signs and markers."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sktransfer._domains import (
    canonical_order,
    check_domains,
    check_sample_domain,
    check_scorable,
    join_labels,
    labeled_target_index,
)
from sktransfer.exceptions import DomainError, UnlabeledTargetError

ids = st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=30).filter(
    lambda values: min(values) < 0
)


def _rows(n):
    return np.arange(float(n))[:, None]


@given(ids, st.randoms(use_true_random=False))
def test_every_row_is_source_or_labeled_or_unlabeled_target(sample_domain, random):
    n = len(sample_domain)
    y = [
        random.randint(0, 2) if d > 0 else random.randint(-1, 2) for d in sample_domain
    ]
    data = check_domains(_rows(n), y, sample_domain)
    parts = [data.X_source, data.X_labeled, data.X_unlabeled]
    assert sorted(np.concatenate(parts).ravel()) == list(range(n))
    assert data.n_source + data.n_target == n
    assert len(data.y_source) == len(data.source_ids) == data.n_source
    assert len(data.y_labeled) == data.n_labeled
    assert set(data.sources) == {d for d in sample_domain if d > 0}
    assert sum(len(X) for _, X, _ in data.each_source()) == data.n_source
    np.testing.assert_array_equal(
        labeled_target_index(np.array(y), sample_domain, n),
        [i for i in range(n) if sample_domain[i] < 0 and y[i] != -1],
    )


@given(ids, st.randoms(use_true_random=False))
def test_taking_rows_commutes_with_checking(sample_domain, random):
    n = len(sample_domain)
    y = np.arange(n)
    data = check_domains(_rows(n), y, sample_domain)
    order = random.sample(range(n), n)
    taken = data.take(np.array(order))
    again = check_domains(_rows(n)[order], y[order], np.array(sample_domain)[order])
    for name in ("X", "y", "sample_domain", "labeled", "is_source"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(again, name))


def test_without_domains_labels_are_taken_at_face_value():
    data = check_domains(_rows(3), [-1, 0, 1], None)
    assert data.n_labeled == 3
    assert data.n_source == 0


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array([0, 1, -1]), [1]),
        (np.array([0.0, 1.0, np.nan]), [1.0]),
        (np.array(["a", "b", None], dtype=object), ["b"]),
        (["a", "b", None], ["b"]),
        (["a", "b", np.nan], ["b"]),
        (pd.Series(["a", "b", None]), ["b"]),
        (pd.Series(["a", "b", None], dtype="category"), ["b"]),
        (pd.Series([0, 1, None], dtype="Int64"), [1]),
        (pl.Series(["a", "b", None]), ["b"]),
        (pl.Series([0, 1, None]), [1.0]),
    ],
)
def test_markers(y, labels):
    data = check_domains(_rows(3), y, [1, -1, -1])
    assert data.y_labeled.tolist() == labels
    assert data.y_labeled.dtype != object


def test_text_that_numpy_made_of_nan_is_an_error():
    with pytest.raises(DomainError, match="dtype=object"):
        check_domains(_rows(3), np.array(["a", "b", np.nan]), [1, -1, -1])


def test_minus_one_among_objects_is_an_error():
    with pytest.raises(DomainError, match="convert y to integers"):
        check_domains(_rows(3), np.array([0, 1, -1], dtype=object), [1, -1, -1])


def test_text_and_numbers_are_not_mixed():
    data = check_domains(_rows(2), np.array(["a", 1], dtype=object), [-1, -1])
    with pytest.raises(DomainError, match="mixes text and numbers"):
        data.labels(data.labeled)


def test_minus_one_among_sources_says_how_to_encode_again():
    with pytest.raises(DomainError, match=r"first at row 1.*\{-1, 1\} as \{0, 1\}"):
        check_domains(_rows(3), [1, -1, 1], [1, 1, -1])


def test_integers_with_minus_one_are_ambiguous_in_a_regression():
    with pytest.raises(DomainError, match="Pass y as floats"):
        check_domains(_rows(3), [5, -1, 3], [1, -1, -1], numeric_labels=True)
    data = check_domains(_rows(3), [5, 4, 3], [1, -1, -1], numeric_labels=True)
    assert data.n_labeled == 2


def test_several_outputs_are_given_or_missing_together():
    y = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]])
    data = check_domains(_rows(3), y, [1, -1, -1], multi_output=True)
    assert data.n_labeled == 1
    y[1, 0] = np.nan
    with pytest.raises(DomainError, match="partly missing row"):
        check_domains(_rows(3), y, [1, -1, -1], multi_output=True)


def test_infinite_labels_are_refused():
    with pytest.raises(ValueError, match="infinity"):
        check_domains(_rows(2), [np.inf, 1.0], [1, -1])


def test_y_of_another_length_is_refused():
    with pytest.raises(DomainError, match="y has 2 entries, but X has 3 rows"):
        check_domains(_rows(3), [0, 1], [1, 1, -1])


@pytest.mark.parametrize(
    ("sample_domain", "message"),
    [
        ([1, 0, -1], "holds 0"),
        ([1.0, 1.0, -1.0], "must hold integers"),
        ([True, True, False], "must hold integers"),
        (["a", "b", "c"], "from_frame"),
        ([1, -1], "2 entries, but X has 3 rows"),
        ([[1, 1, -1]], "shape"),
        ([1, 2, 3], "no target row"),
    ],
)
def test_bad_domain_ids_are_clear_errors(sample_domain, message):
    with pytest.raises(DomainError, match=message):
        check_domains(_rows(3), [0, 1, 0], sample_domain)


def test_one_integer_holds_for_every_row():
    assert check_sample_domain(2, 3).tolist() == [2, 2, 2]


def test_check_sample_domain_copies():
    given_ids = np.array([1, -1])
    check_sample_domain(given_ids, 2)[0] = 9
    assert given_ids.tolist() == [1, -1]


@pytest.mark.parametrize(
    ("y", "classes"),
    [([0, -1], [0, 1]), ([0.0, np.nan], None), (["a", None], ["a", "b"])],
)
def test_markers_cannot_be_scored(y, classes):
    with pytest.raises(UnlabeledTargetError, match="marks 1 of 2 rows"):
        check_scorable(y, classes)


@pytest.mark.parametrize(("y", "classes"), [([0, -1], [-1, 0]), ([-1.0, 2.0], None)])
def test_labels_that_look_like_markers_can_be_scored(y, classes):
    check_scorable(y, classes)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([[0, 1], [2]], [0, 1, 2, -1]),
        ([[True], [False]], [1, 0, -1]),
        ([["a"], ["b"]], ["a", "b", None]),
    ],
)
def test_join_labels_appends_the_marker_of_the_dtype(parts, expected):
    joined = join_labels([np.array(p) for p in parts], 1)
    assert joined.tolist() == expected


def test_join_labels_marks_floats_with_nan():
    assert np.isnan(join_labels([[1.5]], 1)[-1])
    assert join_labels([[1.5]], 0).tolist() == [1.5]


def test_join_labels_refuses_a_class_that_looks_like_the_marker():
    with pytest.raises(DomainError, match="Re-encode"):
        join_labels([[-1, 1]], 1)
    with pytest.raises(DomainError, match="mixes numbers and text"):
        join_labels([[1], ["a"]], 0)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, pd.DataFrame])
def test_canonical_order_forgets_the_order(rng, kind):
    X, y = rng.normal(size=(20, 3)), np.array(["a", "b"])[rng.randint(2, size=20)]
    X[5] = X[4]
    y[4:6] = ["a", "b"]  # told apart by the label
    if kind is not sparse.csr_matrix:
        X[3] = np.nan
    shuffle = rng.permutation(20)
    first = canonical_order(kind(X), y)
    second = canonical_order(kind(X[shuffle]), y[shuffle])
    np.testing.assert_array_equal(X[first], X[shuffle][second])
    np.testing.assert_array_equal(y[first], y[shuffle][second])
    assert (y[first] == np.sort(y)).all()


def test_canonical_order_takes_images_and_several_labels(rng):
    X, y = rng.normal(size=(9, 1, 2, 2)), rng.normal(size=(9, 2))
    shuffle = rng.permutation(9)
    first = X[canonical_order(X, y)]
    np.testing.assert_array_equal(
        first, X[shuffle][canonical_order(X[shuffle], y[shuffle])]
    )
    assert canonical_order(X[:0], y[:0]).shape == (0,)
