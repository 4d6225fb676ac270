"""Decision trees of a source that are refined on samples of a target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_LEAF = -1


@dataclass
class Tree:
    """A binary tree in arrays; children have larger numbers than their parent.

    Parameters
    ----------
    left, right : ndarray of shape (n_nodes,)
        Children; -1 of a leaf.
    feature : ndarray of shape (n_nodes,)
        Feature of the test ``x <= threshold``, which leads to the left.
    threshold : ndarray of shape (n_nodes,)
        Its threshold.
    value : ndarray of shape (n_nodes, n_columns)
        Shares of the classes, or the mean.
    """

    left: Array
    right: Array
    feature: Array
    threshold: Array
    value: Array

    def copy(self) -> "Tree":
        """Return a copy."""
        return Tree(*(np.array(a) for a in vars(self).values()))

    def apply(self, X: Array) -> Array:
        """Return the leaf of each sample."""
        node = np.zeros(len(X), dtype=np.intp)
        rows = np.arange(len(X))
        while len(rows):
            rows = rows[self.left[node[rows]] != _LEAF]
            at = node[rows]
            goes_left = X[rows, self.feature[at]] <= self.threshold[at]
            node[rows] = np.where(goes_left, self.left[at], self.right[at])
        return node

    def answer(self, X: Array) -> Array:
        """Return the value of the leaf of each sample."""
        return np.asarray(self.value[self.apply(X)])

    def rows_of_nodes(self, X: Array) -> list[Array]:
        """Return the samples that pass each node."""
        rows = [np.empty(0, dtype=np.intp)] * len(self.left)
        rows[0] = np.arange(len(X))
        for node in np.flatnonzero(self.left != _LEAF):
            here = rows[node]
            goes_left = X[here, self.feature[node]] <= self.threshold[node]
            rows[self.left[node]] = here[goes_left]
            rows[self.right[node]] = here[~goes_left]
        return rows

    def graft(self, leaf: int, other: "Tree") -> None:
        """Put a tree in the place of a leaf."""
        shift = len(self.left) - 1  # the root of the other takes the leaf's place

        def moved(children: Array) -> Array:
            return np.where(children == _LEAF, _LEAF, children + shift)

        self.left = np.append(self.left, moved(other.left[1:]))
        self.right = np.append(self.right, moved(other.right[1:]))
        self.left[leaf] = moved(other.left[:1])[0]
        self.right[leaf] = moved(other.right[:1])[0]
        for name in ("feature", "threshold", "value"):
            mine, theirs = getattr(self, name), getattr(other, name)
            mine[leaf] = theirs[0]
            setattr(self, name, np.concatenate([mine, theirs[1:]]))


def expand_and_reduce(
    tree: Tree,
    X: Array,
    goal: Array,
    weight: Array,
    loss: Callable[[Array, Array], Array],
    grow: Callable[[Array], Tree],
) -> Tree:
    """Grow a tree below each leaf on the target, then prune (SER).

    Parameters
    ----------
    tree : Tree
        Tree of the source; it is not changed.
    X : ndarray of shape (n_samples, n_features)
        Target samples.
    goal : ndarray of shape (n_samples, n_columns)
        Their labels, as indicators of the classes or as values.
    weight : ndarray of shape (n_samples,)
        Their weights.
    loss : callable
        ``loss(value, goal)``: loss of one value for each row of ``goal``.
    grow : callable
        ``grow(rows)`` returns a tree fitted on some samples.

    Returns
    -------
    tree : Tree
        The refined tree. A node becomes a leaf where its mean has no larger loss on
        the target than the tree below; parts that no sample reaches stay.
    """
    tree = tree.copy()
    leaf = tree.apply(X)
    for node in np.unique(leaf):
        tree.graft(int(node), grow(np.flatnonzero(leaf == node)))
    rows = tree.rows_of_nodes(X)
    lost = np.zeros(len(tree.left))
    for node in range(len(tree.left) - 1, -1, -1):
        here = rows[node]
        if not len(here):
            continue
        if tree.left[node] == _LEAF:
            lost[node] = weight[here] @ loss(tree.value[node], goal[here])
            continue
        below = lost[tree.left[node]] + lost[tree.right[node]]
        mean = np.average(goal[here], axis=0, weights=weight[here])
        alone = float(weight[here] @ loss(mean, goal[here]))
        if alone <= below + 1e-12 * weight[here].sum():
            tree.left[node] = tree.right[node] = _LEAF
            tree.value[node], lost[node] = mean, alone
        else:
            lost[node] = below
    return tree


def move_thresholds(tree: Tree, X: Array, goal: Array, weight: Array) -> Tree:
    """Keep the structure and set thresholds and leaves on the target (STRUT).

    Parameters
    ----------
    tree : Tree
        Tree of the source; it is not changed.
    X : ndarray of shape (n_samples, n_features)
        Target samples.
    goal : ndarray of shape (n_samples, n_classes)
        Indicators of their classes.
    weight : ndarray of shape (n_samples,)
        Their weights.

    Returns
    -------
    tree : Tree
        The refined tree. A test moves to the local maximum of the information gain
        at which the children's classes are most like those in the source, with the
        children exchanged where that fits better; below a node that no sample reaches
        nothing changes.
    """
    tree = tree.copy()
    rows: list[Array] = [np.empty(0, dtype=np.intp)] * len(tree.left)
    rows[0] = np.arange(len(X))
    for node in range(len(tree.left)):
        here = rows[node]
        if not len(here):
            continue
        source = tree.value[[tree.left[node], tree.right[node]]]
        tree.value[node] = np.average(goal[here], axis=0, weights=weight[here])
        if tree.left[node] == _LEAF:
            continue
        column = X[here, tree.feature[node]]
        found = _best_threshold(column, goal[here] * weight[here][:, None], source)
        if found is not None:
            tree.threshold[node], exchanged = found
            if exchanged:
                left, right = tree.left[node], tree.right[node]
                tree.left[node], tree.right[node] = right, left
        goes_left = column <= tree.threshold[node]
        rows[tree.left[node]] = here[goes_left]
        rows[tree.right[node]] = here[~goes_left]
    return tree


def _best_threshold(
    column: Array, counts: Array, source: Array
) -> tuple[float, bool] | None:
    """Return the threshold and whether the children are exchanged; None: no cut."""
    order = np.argsort(column, kind="stable")
    values = column[order]
    cuts = np.flatnonzero(values[1:] > values[:-1])
    if not len(cuts):
        return None
    left = np.cumsum(counts[order], axis=0)[cuts]
    total = counts.sum(axis=0)
    right = total - left
    size = left.sum(axis=1) / total.sum()
    shares = [part / part.sum(axis=1, keepdims=True) for part in (left, right)]
    gain = -size * _entropy(shares[0]) - (1 - size) * _entropy(shares[1])
    padded = np.concatenate([[-np.inf], gain, [-np.inf]])
    top = (padded[1:-1] >= padded[:-2] - 1e-12) & (padded[1:-1] >= padded[2:] - 1e-12)
    best, found = -np.inf, None
    for exchanged in (False, True):
        pair = source[::-1] if exchanged else source
        unlike = size * _divergence(shares[0], pair[0])
        unlike = unlike + (1 - size) * _divergence(shares[1], pair[1])
        score = np.where(top, 1 - unlike, -np.inf)
        k = int(np.argmax(score))
        if score[k] > best + 1e-12:
            low, high = values[cuts[k]], values[cuts[k] + 1]
            middle = low + (high - low) / 2
            best, found = score[k], (float(middle if middle < high else low), exchanged)
    return found


def _entropy(shares: Array) -> Array:
    logs = np.log2(np.where(shares > 0, shares, 1.0))
    return np.asarray(-np.sum(shares * logs, axis=-1))


def _divergence(shares: Array, other: Array) -> Array:
    """Return Jensen-Shannon divergences in bits, in [0, 1]."""
    middle = (shares + other) / 2
    return _entropy(middle) - (_entropy(shares) + _entropy(other)) / 2
