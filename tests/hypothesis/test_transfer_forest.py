"""Trees of the source refined on the target: SER and STRUT."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from sktransfer._solvers.tree_transfer import (
    Tree,
    _best_threshold,
    expand_and_reduce,
    move_thresholds,
)
from sktransfer.hypothesis import TransferForest, TransferTree

STUMP = Tree(
    np.array([1, -1, -1]),
    np.array([2, -1, -1]),
    np.array([0, -2, -2]),
    np.array([0.0, -2.0, -2.0]),
    np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]),
)


def moved(rng, *, offset=0.5, n_source=300, n_target=40):
    """The boundary of the target lies off that of the source."""
    domain = np.repeat([1, -1], [n_source, n_target])
    X = rng.uniform(-2, 2, size=(len(domain), 2))
    y = (X[:, 0] > np.where(domain < 0, offset, 0.0)).astype(int)
    return X, y, domain


def _wrong(value, goal):
    return 1.0 - goal[:, value.argmax()]


@pytest.mark.parametrize(
    "forest", [RandomForestClassifier(5, random_state=0), ExtraTreesRegressor(5)]
)
def test_without_target_labels_or_sources_nothing_is_refined(forest, rng):
    X, y, domain = moved(rng)
    forest = forest.set_params(random_state=0)
    unlabeled = np.where(domain < 0, np.nan, y)
    model = TransferForest(forest).fit(X, unlabeled, sample_domain=domain)
    plain = forest.fit(X[domain > 0], y[domain > 0])
    assert_allclose(model.predict(X), plain.predict(X), atol=1e-12)
    if hasattr(plain, "predict_proba"):
        assert_allclose(model.predict_proba(X), plain.predict_proba(X))
    alone = TransferForest(forest).fit(X, y)
    assert_allclose(alone.predict(X), forest.fit(X, y).predict(X), atol=1e-12)


@pytest.mark.parametrize("method", ["ser", "strut"])
def test_the_boundary_moves_to_the_target(method, rng):
    X, y, domain = moved(rng)
    X_test, y_test, _ = moved(rng, n_source=0, n_target=500)
    forest = RandomForestClassifier(10, random_state=0)
    model = TransferForest(forest, method=method).fit(X, y, sample_domain=domain)
    source = forest.fit(X[domain > 0], y[domain > 0])
    assert model.score(X_test, y_test) > source.score(X_test, y_test) + 0.05
    assert model.score(X[domain < 0], y[domain < 0]) > 0.9


def test_expansion_fits_the_target_and_reduction_prunes(rng):
    X = np.array([[-1.0], [-0.5], [1.0], [2.0]], dtype=np.float32)
    goal = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    weight = np.ones(4)

    def grow(rows):
        if len(np.unique(goal[rows], axis=0)) == 1:
            return Tree(
                np.array([-1]), np.array([-1]), np.array([-2]), np.array([-2.0]),
                goal[rows][:1],
            )  # fmt: skip
        tree = STUMP.copy()
        tree.threshold[0] = -0.75
        return tree

    tree = expand_and_reduce(STUMP, X, goal, weight, _wrong, grow)
    assert_array_equal(tree.answer(X), goal)
    # a target of one class is one leaf: no test is needed
    goal = np.tile([0.0, 1.0], (4, 1))
    tree = expand_and_reduce(STUMP, X, goal, weight, _wrong, grow)
    assert tree.left[0] == -1
    # what no sample reaches stays
    part = slice(2, 4)
    goal = np.array([[1.0, 0.0], [0.0, 1.0]])
    deep = expand_and_reduce(
        STUMP, X[part], goal, weight[part], _wrong,
        lambda rows: Tree(
            np.array([1, -1, -1]), np.array([2, -1, -1]), np.array([0, -2, -2]),
            np.array([1.5, -2.0, -2.0]), np.array([[0.5, 0.5], [1.0, 0], [0, 1.0]]),
        ),
    )  # fmt: skip
    assert_array_equal(deep.answer(X[:1]), [[1.0, 0.0]])
    assert_array_equal(deep.answer(X[part]), goal)
    assert_array_equal(STUMP.left, [1, -1, -1])  # the source's tree is not changed


def test_thresholds_move_and_children_are_exchanged():
    X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=np.float32)
    same = np.repeat([[1.0, 0.0], [0.0, 1.0]], [3, 2], axis=0)
    tree = move_thresholds(STUMP, X, same, np.ones(5))
    assert tree.threshold[0] == 2.5
    assert_array_equal(tree.answer(X), same)
    # the other way round in the target: its left child is the source's right one
    tree = move_thresholds(STUMP, X, same[:, ::-1], np.ones(5))
    assert tree.threshold[0] == 2.5
    assert_array_equal([tree.left[0], tree.right[0]], [2, 1])
    assert_array_equal(tree.answer(X), same[:, ::-1])
    # without a cut the source's stays
    one = move_thresholds(STUMP, X[:1], same[:1], np.ones(1))
    assert one.threshold[0] == 0.0
    assert _best_threshold(np.ones(3), same[:3], STUMP.value[1:]) is None


def test_the_trees_are_those_of_scikit_learn(rng):
    X, y, domain = moved(rng)
    names = np.array(["left", "right"])[y]
    tree = DecisionTreeClassifier(max_depth=4, random_state=0)
    model = TransferTree(tree).fit(X, names)
    assert_array_equal(model.predict(X), tree.fit(X, names).predict(X))
    assert_array_equal(model.trees_[0].apply(X.astype(np.float32)), tree.apply(X))
    assert len(domain) == len(y)


def test_classes_that_only_one_domain_has(rng):
    X, y, domain = moved(rng)
    y[domain < 0] += 1
    for method in ("ser", "strut"):
        model = TransferForest(RandomForestClassifier(3, random_state=0), method=method)
        model.fit(X, y, sample_domain=domain)
        assert model.classes_.tolist() == [0, 1, 2]
        assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_regression_follows_the_target_where_it_is(rng):
    X, _, domain = moved(rng)
    y = np.sin(X[:, 0]) + np.where(domain < 0, 1.0, 0.0)
    model = TransferForest(ExtraTreesRegressor(20, random_state=0))
    model.fit(X, y, sample_domain=domain)
    X_test = rng.uniform(-2, 2, size=(300, 2))
    error = np.mean((model.predict(X_test) - np.sin(X_test[:, 0]) - 1) ** 2)
    source = ExtraTreesRegressor(20, random_state=0).fit(X[domain > 0], y[domain > 0])
    off = np.mean((source.predict(X_test) - np.sin(X_test[:, 0]) - 1) ** 2)
    assert error < 0.3 * off


def test_what_cannot_be_refined(rng):
    X, y, domain = moved(rng)
    with pytest.raises(TypeError, match="is not a random forest or extra trees"):
        TransferForest(HistGradientBoostingClassifier()).fit(X, y, sample_domain=domain)
    with pytest.raises(TypeError, match="is not a decision tree"):
        TransferTree(RandomForestClassifier()).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="method='strut' compares classes"):
        TransferTree(DecisionTreeRegressor(), method="strut").fit(
            X, y.astype(float), sample_domain=domain
        )
