"""stack_domains and from_frame: the ways in."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from sktransfer.baselines import Pooled
from sktransfer.datasets import from_frame, stack_domains
from sktransfer.exceptions import DomainError

RED = (np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([0, 1]))
BLUE = (np.array([[4.0, 5.0]]), np.array([1]))
TARGET = (np.array([[6.0, 7.0], [8.0, 9.0]]), np.array([1, 0]))
NEW = np.array([[10.0, 11.0]])


def frames(library):
    def frame(X):
        return library.DataFrame({"a": X[:, 0], "b": X[:, 1]})

    return frame


def test_stack_keeps_the_given_order():
    data = stack_domains({"red": RED, "blue": BLUE}, TARGET, NEW)
    np.testing.assert_array_equal(data.X, np.arange(12.0).reshape(6, 2))
    np.testing.assert_array_equal(data.y, [0, 1, 1, 1, 0, np.nan])
    assert data.sample_domain.tolist() == [1, 1, 2, -1, -1, -1]
    assert data.domain_names == {1: "red", 2: "blue", -1: "target"}


def test_stack_list_of_sources_and_no_labeled_target():
    data = stack_domains([RED, BLUE], unlabeled=NEW.tolist())
    assert data.domain_names == {1: "source_1", 2: "source_2", -1: "target"}
    np.testing.assert_array_equal(data.y, [0, 1, 1, np.nan])


def test_stack_target_alone():
    data = stack_domains({}, TARGET)
    assert data.sample_domain.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "labels, marker",
    [([0.5, 1.5], np.nan), (["a", "b"], None), ([0, 1], np.nan)],
    ids=["floats", "text", "integers"],
)
def test_stack_markers_follow_the_labels(labels, marker):
    data = stack_domains({"red": (RED[0], labels)}, unlabeled=NEW)
    last = data.y[-1]
    assert last is None if marker is None else np.array_equal(last, marker, True)
    assert data.y[:-1].tolist() == labels


@pytest.mark.parametrize("library", [pd, pl])
def test_stack_frames_stay_frames(library):
    frame = frames(library)
    data = stack_domains(
        {"red": (frame(RED[0]), RED[1])},
        (frame(TARGET[0])[["b", "a"]], library.Series(TARGET[1])),
        frame(NEW),
    )
    assert isinstance(data.X, library.DataFrame)
    assert list(data.X.columns) == ["a", "b"]
    expected = np.vstack([RED[0], TARGET[0], NEW])
    np.testing.assert_array_equal(data.X.to_numpy(), expected)
    if library is pd:
        assert data.X.index.tolist() == list(range(5))


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.coo_array])
def test_stack_sparse_stays_sparse(container):
    data = stack_domains({"red": (container(RED[0]), RED[1])}, TARGET, container(NEW))
    assert sparse.issparse(data.X)
    expected = np.vstack([RED[0], TARGET[0], NEW])
    np.testing.assert_array_equal(data.X.toarray(), expected)


def test_stack_keeps_float32_and_does_not_touch_the_parts():
    X = RED[0].astype(np.float32)
    X.flags.writeable = False
    data = stack_domains({"red": (X, RED[1])}, unlabeled=X)
    assert data.X.dtype == np.float32
    data.X[0] = 99
    assert X[0, 0] == 0


def test_stack_takes_images(rng):
    images = rng.normal(size=(5, 1, 4, 4))
    data = stack_domains(
        {"photos": (images[:3], [0, 1, 0])},
        target=(images[3:4], [1]),
        unlabeled=images[4:],
    )
    np.testing.assert_array_equal(data.X, images)
    with pytest.raises(DomainError, match="rows of shape"):
        stack_domains({"a": (images, [0] * 5)}, target=(images[:, :, :2], [0] * 5))


def test_stack_feeds_an_estimator():
    data = stack_domains({"red": RED, "blue": BLUE}, TARGET, NEW)
    model = Pooled(LogisticRegression())
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    assert model.classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sources": {"red": RED}}, "no target row"),
        ({"sources": {}, "unlabeled": NEW}, "No row has a label"),
        ({"sources": {"red": RED, "target": BLUE}, "target": TARGET}, "named 'target'"),
        (
            {"sources": {"red": (RED[0], [1])}, "target": TARGET},
            "'red' has 2 rows in X",
        ),
        (
            {"sources": {"red": RED}, "target": (np.ones((1, 3)), [1])},
            "'target' has 3 columns in X, but 'red' has 2",
        ),
        (
            {
                "sources": {"red": RED},
                "target": (TARGET[0], [-1] * len(TARGET[1])),
                "unlabeled": NEW,
            },
            "class or a missing label",
        ),
        ({"sources": {"red": (RED[0], ["a", "b"])}, "target": TARGET}, "mixes numbers"),
    ],
)
def test_stack_errors(arguments, message):
    with pytest.raises(DomainError, match=message):
        stack_domains(**arguments)


@pytest.mark.parametrize("sources", [{"red": RED[0]}, 3, {"red": (1, 2, 3)}])
def test_stack_wrong_types(sources):
    with pytest.raises(TypeError, match=r"pair \(X, y\)|dict of name"):
        stack_domains(sources, TARGET)


def test_stack_frame_errors():
    frame = frames(pd)
    other = frame(TARGET[0]).rename(columns={"b": "c"})
    with pytest.raises(DomainError, match="differ in the columns b, c"):
        stack_domains({"red": (frame(RED[0]), RED[1])}, (other, TARGET[1]))
    with pytest.raises(DomainError, match="give all domains as dataframes"):
        stack_domains({"red": (frame(RED[0]), RED[1])}, TARGET)


def table(library=pd, label=("n", "y", None, "y", "n")):
    return library.DataFrame(
        {
            "age": [40, 50, 60, 70, 80],
            "site": ["US", "DE", "DE", "FR", "US"],
            "height": [1.0, 2.0, 3.0, 4.0, 5.0],
            "ill": list(label),
        }
    )


@pytest.mark.parametrize("library", [pd, pl])
def test_frame_keeps_rows_and_feature_columns(library):
    data = from_frame(table(library), label="ill", domain="site", target="DE")
    assert isinstance(data.X, library.DataFrame)
    assert list(data.X.columns) == ["age", "height"]
    assert data.X["age"].to_list() == [40, 50, 60, 70, 80]
    assert data.y.tolist() == ["n", "y", None, "y", "n"]
    assert data.sample_domain.tolist() == [2, -1, -1, 1, 2]
    assert data.domain_names == {1: "FR", 2: "US", -1: "DE"}


@pytest.mark.parametrize("library", [pd, pl])
def test_frame_regression_and_chosen_features(library):
    df = table(library, label=[0.5, 1.0, None, 2.0, 3.0])
    data = from_frame(
        df, label="ill", domain="site", target="DE", features=["height", "age"]
    )
    assert list(data.X.columns) == ["height", "age"]
    np.testing.assert_array_equal(data.y, [0.5, 1.0, np.nan, 2.0, 3.0])


def test_frame_nullable_integers_become_floats_with_nan():
    df = table()
    df["ill"] = pd.array([0, 1, pd.NA, 1, 0], dtype="Int64")
    data = from_frame(df, label="ill", domain="site", target="DE")
    assert data.y.dtype == np.float64
    np.testing.assert_array_equal(data.y, [0, 1, np.nan, 1, 0])


def test_frame_equals_stack():
    df = table(label=["n", "y", "n", "y", "n"]).sort_values("site", kind="stable")
    features = ["age", "height"]
    part = {site: (rows[features], rows["ill"]) for site, rows in df.groupby("site")}
    target = part.pop("DE")
    stacked = stack_domains(part, target)
    framed = from_frame(df, label="ill", domain="site", target="DE")
    for rows in (framed.sample_domain > 0, framed.sample_domain < 0):
        same = (stacked.sample_domain > 0) == rows[-1]
        np.testing.assert_array_equal(framed.X[rows], stacked.X[same])
        np.testing.assert_array_equal(framed.y[rows], stacked.y[same])


def test_frame_does_not_change_the_caller():
    df = table()
    before = df.copy()
    data = from_frame(df, label="ill", domain="site", target="DE")
    data.X.iloc[0, 0] = -5
    pd.testing.assert_frame_equal(df, before)


def test_frame_mixed_names_have_an_order():
    df = table()
    df["site"] = ["b", 2, 2, 1, "a"]
    data = from_frame(df, label="ill", domain="site", target=2)
    assert data.domain_names == {1: 1, 2: "a", 3: "b", -1: 2}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"label": "sick"}, r"label='sick' is no column .*age, site, height, ill"),
        ({"domain": "place"}, "domain='place' is no column"),
        ({"features": ["age", "size"]}, "features='size' is no column"),
        ({"features": []}, "no column is left"),
        ({"features": ["age", "ill"]}, "holds the label 'ill'"),
        ({"domain": "ill"}, "label and domain are both"),
        ({"target": "UK"}, "target='UK' is no value .*'DE', 'FR', 'US'"),
        ({"target": "FR"}, r"missing in 1 source rows \(first at row 2\)"),
    ],
)
def test_frame_errors(change, message):
    arguments = {"label": "ill", "domain": "site", "target": "DE"} | change
    with pytest.raises(DomainError, match=message):
        from_frame(table(), **arguments)


@pytest.mark.parametrize("name", ["age", "site", "height", "ill"])
def test_a_name_of_two_columns_is_refused(name):
    twice = pd.concat([table(), table()[[name]]], axis=1)
    names = {"label": "ill", "domain": "site", "target": "DE"}
    with pytest.raises(DomainError, match=f"df has 2 columns of the name '{name}'"):
        from_frame(twice, **names, sample_weight="height")
    with pytest.raises(DomainError, match=r"features names 'age' more than once"):
        from_frame(table(), **names, features=["age", "height", "age"])


@pytest.mark.parametrize("name", ["height", "other"])
def test_columns_that_nobody_asked_for_may_share_a_name(name):
    spare = pd.concat([table(), table()[["height"]]], axis=1)
    spare = spare.rename(columns={"height": name})
    names = {"label": "ill", "domain": "site", "target": "DE"}
    assert from_frame(spare, **names, features=["age"]).X.shape == (5, 1)


@pytest.mark.parametrize("library", [pd, pl])
def test_frame_missing_domain(library):
    df = library.DataFrame({"x": [1, 2], "y": [0, 1], "site": ["a", None]})
    with pytest.raises(DomainError, match=r"no domain in 1 rows \(first at row 1\)"):
        from_frame(df, label="y", domain="site", target="a")


@pytest.mark.parametrize("make", [list, lambda t: np.array(t, dtype=object), pd.Series])
def test_kind_13_texts_are_stacked(make):
    data = stack_domains(
        {"red": (make(["a b", "c"]), [0, 1])}, (make(["d"]), [1]), make(["e", "f"])
    )
    assert data.X.dtype == object
    assert data.X.tolist() == ["a b", "c", "d", "e", "f"]
    with pytest.raises(DomainError, match=r"'target' has rows of shape \(1,\) in X"):
        stack_domains([(make(["a", "b"]), [0, 1])], ([[1.0]], [1]))


def test_numbers_beside_text_stay_numbers():
    data = stack_domains([([[1, "a"], [2, "b"]], [0, 1])], ([[3, "c"]], [1]))
    assert data.X.tolist() == [[1, "a"], [2, "b"], [3, "c"]]


@pytest.mark.parametrize("first", [True, False])
def test_sparse_and_dense_domains_in_either_order(first):
    dense, thin = np.eye(2), sparse.csr_matrix(2 * np.eye(2))
    pair = (thin, dense) if first else (dense, thin)
    data = stack_domains([(pair[0], [0, 1])], (pair[1], [1, 0]))
    assert sparse.issparse(data.X)
    np.testing.assert_array_equal(
        data.X.toarray(), np.vstack([thin.toarray(), dense][:: 1 if first else -1])
    )


def test_categories_of_domains_are_joined_and_dates_kept():
    def frame(letters, **options):
        dates = pd.date_range("2020-01-01", periods=len(letters))
        kind = pd.Categorical(list(letters), **options)
        return pd.DataFrame({"kind": kind, "date": dates})

    X = stack_domains([(frame("xy"), [0, 1])], (frame("z"), [1]), frame("yz")).X
    assert list(X["kind"].cat.categories) == ["x", "y", "z"]
    assert X["kind"].tolist() == list("xyzyz")
    assert X["date"].dtype.kind == "M"
    with pytest.raises(DomainError, match="ordered categories of column 'kind'"):
        stack_domains(
            [(frame("xy", ordered=True), [0, 1])], (frame("z", ordered=True), [1])
        )


def test_frame_without_any_label_and_wrong_types():
    df = pd.DataFrame({"x": [1, 2], "y": [None, None], "site": ["a", "a"]})
    with pytest.raises(DomainError, match="holds no label at all"):
        from_frame(df, label="y", domain="site", target="a")
    with pytest.raises(TypeError, match="must be a pandas or polars"):
        from_frame(np.ones((2, 2)), label="y", domain="site", target="a")
    with pytest.raises(TypeError, match=r"use \['x'\]"):
        from_frame(df, label="y", domain="site", target="a", features="x")


def test_columns_of_several_levels_are_named_by_tuples():
    names = pd.MultiIndex.from_tuples([("g", "y"), ("g", "x"), ("m", "site")])
    df = pd.DataFrame([[0.0, 1.0, "a"], [1.0, 2.0, "b"]], columns=names)
    data = from_frame(df, label=("g", "y"), domain=("m", "site"), target="b")
    assert data.y.shape == (2,) and list(data.X.columns) == [("g", "x")]
