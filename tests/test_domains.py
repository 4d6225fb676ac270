"""The one owner of signs and markers."""

import warnings
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from sktransfer._domains import (
    canonical_order,
    check_domains,
    check_sample_domain,
    check_scorable,
    join_labels,
    labeled_target_index,
    labels_checked_before,
    mark_unlabeled,
)
from sktransfer.baselines import Pooled
from sktransfer.exceptions import (
    DomainError,
    IntegerMarkerWarning,
    UnlabeledTargetError,
)
from sktransfer.model_selection import StratifiedTargetKFold

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
    ],
)
def test_markers(y, labels):
    data = check_domains(_rows(3), y, [1, -1, -1])
    assert data.y_labeled.tolist() == labels
    assert data.y_labeled.dtype != object


@pytest.mark.parametrize(
    ("values", "dtype", "labels"),
    [
        (["a", "b", None], None, ["b"]),
        (["a", "b", None], "category", ["b"]),
        ([0, 1, None], "Int64", [1]),
    ],
)
def test_markers_of_pandas(values, dtype, labels):
    import pandas as pd

    test_markers(pd.Series(values, dtype=dtype), labels)


@pytest.mark.parametrize(
    ("values", "labels"), [(["a", "b", None], ["b"]), ([0, 1, None], [1.0])]
)
def test_markers_of_polars(values, labels):
    import polars as pl

    test_markers(pl.Series(values), labels)


@pytest.mark.parametrize("dtype", ["string", "Int64", "boolean", object, "category"])
def test_markers_of_every_pandas_dtype_reach_a_classifier(dtype, rng):
    import pandas as pd

    values = np.array(["a", "b"] * 10, dtype=object)
    if dtype in ("Int64", "boolean"):
        values = values == "b"
    known = pd.Series(values).astype("int8" if dtype == "Int64" else object)
    labels = known.astype(object)
    labels[15:] = pd.NA
    y = pd.Series(labels.to_numpy(), dtype=dtype)
    X, domain = rng.normal(size=(20, 2)), np.repeat([1, -1], 10)
    given = y.copy()
    model = Pooled(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert y.equals(given)
    assert model.classes_.tolist() == sorted(set(known))
    assert mark_unlabeled(y, y.isna().to_numpy()).shape == (20,)
    folds = list(StratifiedTargetKFold(2).split(X, y, domain))
    assert sorted(np.concatenate([test for _, test in folds])) == [*range(10, 15)]


def test_text_that_numpy_made_of_nan_is_an_error():
    with pytest.raises(DomainError, match="class or a missing label"):
        check_domains(_rows(3), np.array(["a", "b", np.nan]), [1, -1, -1])


def test_minus_one_among_objects_is_an_error():
    with pytest.raises(DomainError, match="Convert y to integers"):
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
        ([[0, 1], [2]], [0.0, 1.0, 2.0, np.nan]),
        ([[True], [False]], [1.0, 0.0, np.nan]),
        ([[-1, 1]], [-1.0, 1.0, np.nan]),
        ([["a"], ["b"]], np.array(["a", "b", None], dtype=object)),
    ],
)
def test_join_labels_appends_a_missing_value(parts, expected):
    joined = join_labels([np.array(p) for p in parts], 1)
    np.testing.assert_array_equal(joined, expected)


def test_join_labels_marks_floats_with_nan():
    assert np.isnan(join_labels([[1.5]], 1)[-1])
    assert join_labels([[1.5]], 0).tolist() == [1.5]


def test_join_labels_refuses_mixed_and_huge_labels():
    with pytest.raises(DomainError, match="beyond 2\\*\\*53"):
        join_labels([[2**60]], 1)
    with pytest.raises(DomainError, match="mixes numbers and text"):
        join_labels([[1], ["a"]], 0)


def _frame(X):
    import pandas as pd

    return pd.DataFrame(X)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, _frame])
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


def test_canonical_order_takes_infinite_and_missing_values(rng):
    X = rng.normal(size=(30, 4))
    X[rng.random(X.shape) < 0.3] = np.nan
    X[rng.random(X.shape) < 0.2] = np.inf
    X[rng.random(X.shape) < 0.2] = -np.inf
    shuffle = rng.permutation(30)
    np.testing.assert_array_equal(
        X[canonical_order(X)], X[shuffle][canonical_order(X[shuffle])]
    )


def test_canonical_order_is_drawn_by_a_generator_of_the_caller(rng):
    X = rng.normal(size=(30, 4))
    orders = [canonical_order(X, rng=np.random.RandomState(k)) for k in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], canonical_order(X))
    assert (orders[0] != orders[2]).any()


def test_canonical_order_takes_images_and_several_labels(rng):
    X, y = rng.normal(size=(9, 1, 2, 2)), rng.normal(size=(9, 2))
    shuffle = rng.permutation(9)
    first = X[canonical_order(X, y)]
    np.testing.assert_array_equal(
        first, X[shuffle][canonical_order(X[shuffle], y[shuffle])]
    )
    assert canonical_order(X[:0], y[:0]).shape == (0,)


def _xy(y, dtype=None):
    """Three source rows and three target rows."""
    return np.arange(6.0)[:, None], np.array(y, dtype=dtype), [1, 1, 1, -1, -1, -1]


@pytest.mark.parametrize("text", ["nan", "NaN", "<NA>", "NaT", "", " nan "])
@pytest.mark.parametrize("dtype", ["U5", object])
@pytest.mark.parametrize("row", [0, 5])
def test_kind_08_missing_values_turned_into_text_are_no_class(text, dtype, row):
    X, y, domain = _xy(["no", "yes", "no", "yes", "no", "yes"], dtype)
    y[row] = text
    with pytest.raises(DomainError, match="class or a missing label"):
        check_domains(X, y, domain)


@pytest.mark.parametrize("text", ["None", "NA", "N/A", "null"])
def test_kind_08_text_that_no_source_has_is_asked_about(text):
    X, y, domain = _xy(["no", "yes", "no", "yes", "no", text])
    with pytest.raises(DomainError, match="no source sample has it"):
        check_domains(X, y, domain)
    y[0] = text  # a source row has it: a class
    data = check_domains(X, y, domain)
    assert data.labeled.all()
    with labels_checked_before():  # theta(0,T) does not question it again
        assert check_domains(X[3:], y[3:], [-1, -1, -1]).labeled.all()


@pytest.mark.parametrize(
    ("y", "dtype", "label"),
    [
        ([0, 1, 0, 1, -1, -1], float, "-1.0"),
        ([0, 1, 0, 1, np.nan, -1], float, "-1.0"),
        ([0, 1, 0, 1, 255, 255], np.uint8, "255"),
        ([0, 1, 0, 1, 65535, 0], np.uint16, "65535"),
        ([1, 1, 1, -1, 1, -1], int, "-1"),
        ([1, 1, 1, -1, 1, -1], float, "-1.0"),
        ([0, 1, 0, 1, -1.0, 0], object, "-1"),
    ],
)
def test_kind_09_a_minus_one_that_may_be_a_class_is_asked_about(y, dtype, label):
    X, y, domain = _xy(y, dtype)
    with pytest.raises(DomainError, match=f"{label}.*class or a missing"):
        check_domains(X, y, domain)


def test_kind_09_a_class_of_the_sources_is_a_class():
    X, y, domain = _xy([-1.0, 1.0, 1.0, -1.0, 1.0, np.nan])
    data = check_domains(X, y, domain)
    assert data.labels(data.labeled).tolist() == [-1, 1, 1, -1, 1]
    X, y, domain = _xy([255, 1, 0, 255, 1, 0], np.uint8)
    assert check_domains(X, y, domain).labeled.all()


def test_integer_classes_stay_integers_beside_missing_labels():
    X, y, domain = _xy([0, 1, 2, 1, np.nan, np.nan])
    data = check_domains(X, y, domain)
    assert data.y_labeled.dtype == np.int64
    assert data.take(data.labeled).y_source.dtype == np.int64
    assert check_domains(X, y, domain, numeric_labels=True).y_source.dtype == float
    assert check_domains(X, y, domain, numeric_labels=None).y_source.dtype == float


@pytest.mark.filterwarnings("default")
def test_the_integer_marker_is_accepted_with_one_warning():
    X, y, domain = _xy([0, 1, 2, 1, -1, -1])
    with pytest.warns(IntegerMarkerWarning, match="mark_unlabeled") as caught:
        data = check_domains(X, y, domain)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(data.y, [0, 1, 2, 1, np.nan, np.nan])


@pytest.mark.filterwarnings("error")
def test_minus_one_without_domains_warns_beside_two_other_classes_only():
    X = np.arange(4.0)[:, None]
    for y in ([0, 1, -1, -1], [0.0, 1.0, -1.0, -1.0]):
        with pytest.warns(IntegerMarkerWarning, match="class of its own"):
            check_domains(X, y, None)
        with pytest.warns(IntegerMarkerWarning, match="class of its own"):
            check_domains(X, np.array(y, dtype=float), -1)
    check_domains(X, [-1, 1, 1, -1], None)
    check_domains(X, [0.5, 1.0, -1.0, -1.0], None, numeric_labels=True)


@pytest.mark.parametrize(
    ("y", "unlabeled", "expected"),
    [
        ([0, 2, -1], -1, [0, 2, np.nan]),
        ([0, 2, 99], 99, [0, 2, np.nan]),
        ([0.5, np.nan, -9.0], -9.0, [0.5, np.nan, np.nan]),
        ([[1, 2], [-1, -1]], -1, [[1, 2], [np.nan, np.nan]]),
        ([True, False], np.array([False, True]), [1, np.nan]),
    ],
)
def test_mark_unlabeled(y, unlabeled, expected):
    np.testing.assert_array_equal(mark_unlabeled(y, unlabeled), expected)


def test_mark_unlabeled_text_and_errors():
    marked = mark_unlabeled(np.array(["a", "?"]), "?")
    assert marked.tolist() == ["a", None]
    with pytest.raises(DomainError, match="mask of 1 samples"):
        mark_unlabeled([0, 1], [True])
    with pytest.raises(DomainError, match="one value, or a mask"):
        mark_unlabeled([0, 1], [0, 1])


@pytest.mark.filterwarnings("error::sktransfer.exceptions.IntegerMarkerWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize(
    "meta",
    [
        BaggingClassifier(Pooled(LogisticRegression()), 3, random_state=0),
        VotingClassifier([("a", Pooled(LogisticRegression()))]),
        OneVsRestClassifier(Pooled(LogisticRegression())),
        StackingClassifier([("a", Pooled(LogisticRegression()))]),
        CalibratedClassifierCV(
            Pooled(LogisticRegression()), cv=StratifiedTargetKFold(3)
        ),
    ],
    ids=lambda meta: type(meta).__name__,
)
def test_kind_01_outer_meta_estimators_meet_no_class_minus_one(rng, meta):
    X, domain = rng.normal(size=(90, 2)), np.repeat([1, -1], [30, 60])
    y = (X[:, 0] > 0).astype(int)
    marked = np.where(np.arange(90) < 60, y, -1)
    with config_context(enable_metadata_routing=True):
        with pytest.raises(ValueError, match="NaN"):
            clone(meta).fit(X, mark_unlabeled(marked), sample_domain=domain)
        with pytest.raises(IntegerMarkerWarning, match="mark_unlabeled"):
            clone(meta).fit(X, marked, sample_domain=domain)
        inside = Pooled(BaggingClassifier(LogisticRegression(), 3, random_state=0))
        inside.fit(X, mark_unlabeled(marked), sample_domain=domain)
    assert inside.classes_.tolist() == [0, 1]
    assert inside.score(X[60:], y[60:]) > 0.8


@pytest.mark.parametrize(
    "transformer",
    [SelectKBest(k=1), LinearDiscriminantAnalysis(n_components=1)],
    ids=lambda transformer: type(transformer).__name__,
)
def test_kind_02_supervised_transformers_meet_labeled_rows_or_raise(rng, transformer):
    X, domain = rng.normal(size=(220, 3)), np.repeat([1, -1], [100, 120])
    X[domain > 0, 0] += 3.0
    y = (X[:, 1] > 0).astype(int)
    marked = mark_unlabeled(y, np.arange(220) >= 120)
    outside = make_pipeline(transformer, Pooled(LogisticRegression()))
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match="NaN"),
    ):
        outside.fit(X, marked, sample_domain=domain)
    inside = Pooled(make_pipeline(transformer, LogisticRegression()))
    inside.fit(X, marked, sample_domain=domain)
    assert inside.score(X[120:], y[120:]) > 0.85


def test_kind_14_no_number_comes_from_rows_without_labels(rng):
    X, domain = rng.normal(size=(60, 2)), np.repeat([1, -1], [20, 40])
    y = mark_unlabeled((X[:, 0] > 0).astype(int), np.arange(60) >= 40)
    options = {"params": {"sample_domain": domain}, "scoring": "accuracy"}
    model = Pooled(LogisticRegression())
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="NaN"):
            cross_validate(model, X, y, cv=5, **options)
        scores = cross_validate(
            model, X, y, cv=StratifiedTargetKFold(3), return_train_score=True, **options
        )
    assert np.isnan(scores["train_score"]).all()
    assert (scores["test_score"] > 0.7).all()


@pytest.mark.parametrize("thin", [False, True])
def test_kind_30_the_order_does_not_depend_on_units(thin):
    rng = np.random.default_rng(0)
    X = np.round(rng.normal(size=(60, 3)), 3)
    as_rows = sparse.csr_matrix if thin else np.asarray
    moved = X * [1.0, 1e5, 1.0] + ([0, 0, 0] if thin else [2020.0, 2e5, 0.0])
    expected = canonical_order(as_rows(X))
    np.testing.assert_array_equal(canonical_order(as_rows(moved)), expected)


@pytest.mark.parametrize("y", [[0.0, np.nan], ["a", None], [1.5, None]])
@pytest.mark.parametrize("numeric", [True, False, None])
def test_missing_labels_without_domains_name_sample_domain(y, numeric):
    with pytest.raises(UnlabeledTargetError, match=r"y contains NaN.*Pass sample_dom"):
        check_domains(_rows(2), y, None, numeric_labels=numeric)


def test_canonical_order_is_that_of_pandas_and_polars_for_dates_beside_numbers(rng):
    import pandas as pd
    import polars as pl

    days = [timedelta(int(k), seconds=int(k)) for k in rng.permutation(900)[:40]]
    columns = {
        "moment": [datetime(2020, 1, 1) + day for day in days],
        "day": [date(2020, 1, 1) + day for day in days],
        "span": [None, *days[1:]],
        "number": rng.normal(size=40).tolist(),
        "text": rng.choice(["x", "y"], 40).tolist(),
    }
    for names in (["moment", "number"], ["day", "number"], ["span"], list(columns)):
        part = {name: columns[name] for name in names}
        orders = [canonical_order(kind(part)) for kind in (pd.DataFrame, pl.DataFrame)]
        np.testing.assert_array_equal(*orders)


@pytest.mark.parametrize("kind", ["U1", object])
@pytest.mark.parametrize("domain", [None, [1, 1, -1]])
def test_regression_on_text_is_refused(kind, domain):
    y = np.array(["a", "b", "a"], dtype=kind)
    with pytest.raises(DomainError, match="y holds text such as 'a'"):
        check_domains(np.zeros((3, 1)), y, domain, numeric_labels=True)
