"""Trees and forests of the source, refined on the target."""

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import BaseDecisionTree
from sklearn.utils import get_tags

from sktransfer._compat import StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import fit_learner, name_samples
from sktransfer._response import CommonColumns, align_classes
from sktransfer._solvers.tree_transfer import (
    Tree,
    expand_and_reduce,
    move_thresholds,
)
from sktransfer.base import BlendingMetaEstimator, slice_params

__all__ = ["TransferForest", "TransferTree"]

_FORESTS = (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)


class TransferForest(BlendingMetaEstimator):
    r"""Fit a forest on the sources and refine each of its trees on the target.

    Parameters
    ----------
    estimator : estimator
        A random forest or extra trees of scikit-learn.
    method : {"ser", "strut"}, default="ser"
        "ser": grow each leaf on the target samples in it, then prune what the target
        does not need. "strut": keep the structure and move thresholds; for classes
        alone.

    Attributes
    ----------
    estimator_ : estimator
        The forest fitted on the sources; on the target without sources.
    trees_ : list of Tree
        The refined trees, in arrays ``left``, ``right``, ``feature``, ``threshold``,
        ``value``.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TransferTree : The same for one tree.
    OffsetTransfer : A source model of any kind as the offset of a simple one.

    Notes
    -----
    *Structure expansion and reduction* [1]_: below each leaf that target samples reach,
    a tree with the same parameters is grown on them. Then, from the leaves up, a node
    becomes a leaf with the mean of its target samples where that has no larger error on
    them than the tree below. Parts that no target sample reaches stay as they are.

    *Structure transfer* [1]_: from the root down, the threshold of a test on the same
    feature moves to a local maximum of the information gain. It is the one whose
    children have classes most like those in the source, by the Jensen-Shannon
    divergence weighted by their sizes; the children are exchanged where that fits
    better. Leaves get the classes of their target samples.

    All sources are one. Several trees are averaged. Target samples decide alone where
    they are, so with a handful of them a node of one sample does; guard the fit.
    Without sources, or without labeled target samples, nothing is refined.

    References
    ----------
    .. [1] N. Segev, M. Harel, S. Mannor, K. Crammer, R. El-Yaniv. Learn on source,
       refine on target: a model transfer learning framework with random forests. IEEE
       Transactions on Pattern Analysis and Machine Intelligence 39, 2017.

    Examples
    --------
    The threshold is 0 in the source and 0.4 in the target.

    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sktransfer.hypothesis import TransferForest
    >>> X = np.r_[np.linspace(-1, 1, 100), np.linspace(-1, 1, 20)][:, None]
    >>> domain = np.repeat([1, -1], [100, 20])
    >>> y = (X[:, 0] > np.where(domain > 0, 0.0, 0.4)).astype(int)
    >>> forest = RandomForestClassifier(10, random_state=0)
    >>> model = TransferForest(forest, method="strut").fit(X, y, sample_domain=domain)
    >>> model.predict([[0.2], [0.6]])
    array([0, 1])
    """

    _parameter_constraints: dict = {
        **BlendingMetaEstimator._parameter_constraints,
        "method": [StrOptions({"ser", "strut"})],
    }
    _learners = _FORESTS
    _wanted = "a random forest or extra trees"

    def __init__(self, estimator, *, method="ser"):
        super().__init__(estimator)
        self.method = method

    def _fit_estimator(self, data, fit_params):
        if not isinstance(self.estimator, self._learners):
            raise TypeError(
                f"estimator={self.estimator!r} is not {self._wanted} of scikit-learn, "
                f"which {type(self).__name__} refines."
            )
        classify = is_classifier(self.estimator)
        if self.method == "strut" and not classify:
            raise ValueError(
                "method='strut' compares classes, but the estimator is a regressor: "
                "use method='ser'."
            )
        X = self._numeric_rows(data.X, accept_sparse=False)
        data = data.with_X(X)
        rows = data.is_source if data.n_source else data.labeled
        params = slice_params(fit_params, rows)
        model = fit_learner(
            self.estimator,
            take_rows(X, rows),
            data.labels(rows),
            samples=name_samples(data, rows),
            **params,
        )
        classes = np.unique(data.labels(data.labeled)) if classify else None
        self._columns = CommonColumns(
            classes, "predict_proba" if classify else "predict"
        )
        learners = getattr(model, "estimators_", [model])
        known = model.classes_ if classify else None
        trees = [_as_tree(learner, known, classes) for learner in learners]
        if data.n_source and data.n_labeled:
            part = data.is_labeled_target
            weight = fit_params.get("sample_weight")
            weight = np.ones(len(part)) if weight is None else np.asarray(weight)
            target = _Target(
                np.asarray(take_rows(X, part), dtype=np.float32),
                self._columns.code(data.y_labeled),
                weight[part].astype(float),
                classify,
            )
            pairs = zip(trees, learners, strict=True)
            trees = [target.refine(self.method, *pair) for pair in pairs]
        self.trees_ = trees
        return model

    def _blend(self, X):
        X = self._validate_X(X, get_tags(self), reset=False)
        rows = np.asarray(X, dtype=np.float32)  # as the trees have seen them
        return sum(tree.answer(rows) for tree in self.trees_) / len(self.trees_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.input_tags.allow_nan = False
        tags.input_tags.sparse = False
        return tags


class TransferTree(TransferForest):
    r"""Fit a decision tree on the sources and refine it on the target.

    Parameters
    ----------
    estimator : estimator
        A decision tree of scikit-learn.
    method : {"ser", "strut"}, default="ser"
        "ser": grow each leaf on the target samples in it, then prune what the target
        does not need. "strut": keep the structure and move thresholds; for classes
        alone. See :class:`TransferForest`.

    Attributes
    ----------
    estimator_ : estimator
        The tree fitted on the sources; on the target without sources.
    trees_ : list of Tree
        The refined tree.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TransferForest : Several trees, with the algorithms.

    References
    ----------
    .. [1] N. Segev, M. Harel, S. Mannor, K. Crammer, R. El-Yaniv. Learn on source,
       refine on target: a model transfer learning framework with random forests. IEEE
       Transactions on Pattern Analysis and Machine Intelligence 39, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from sktransfer.hypothesis import TransferTree
    >>> X = np.r_[np.linspace(-1, 1, 100), np.linspace(0.1, 1, 5)][:, None]
    >>> domain = np.repeat([1, -1], [100, 5])
    >>> y = (X[:, 0] > 0) * np.where(domain > 0, 1.0, 1.0 + X[:, 0])
    >>> model = TransferTree(DecisionTreeRegressor()).fit(X, y, sample_domain=domain)
    >>> model.predict([[-0.5], [1.0]])
    array([0., 2.])
    """

    _learners = (BaseDecisionTree,)
    _wanted = "a decision tree"


class _Target:
    """Labeled target samples, and how to refine a tree on them."""

    def __init__(self, X, goal, weight, classify):
        self.X, self.goal, self.weight, self.classify = X, goal, weight, classify

    def refine(self, method, tree, learner):
        """Return the refined tree of a fitted learner."""
        if method == "strut":
            return move_thresholds(tree, self.X, self.goal, self.weight)

        def grow(rows):
            y = self.goal[rows].argmax(axis=1) if self.classify else self.goal[rows, 0]
            grown = clone(learner)
            grown.fit(self.X[rows], y, sample_weight=self.weight[rows])
            every = np.arange(self.goal.shape[1])
            known, classes = (grown.classes_, every) if self.classify else (None, None)
            return _as_tree(grown, known, classes)

        loss = _wrong if self.classify else _square
        return expand_and_reduce(tree, self.X, self.goal, self.weight, loss, grow)


def _wrong(value, goal):
    return 1.0 - goal[:, value.argmax()]


def _square(value, goal):
    return np.sum((goal - value) ** 2, axis=1)


def _as_tree(learner, known, classes):
    """Return the arrays of a fitted tree, its classes in the columns of ``classes``."""
    found = learner.tree_
    value = np.array(found.value[:, 0, :], dtype=float)
    if classes is not None:
        value /= value.sum(axis=1, keepdims=True)
        value = align_classes(value, known, classes, 0.0)
    return Tree(
        np.array(found.children_left),
        np.array(found.children_right),
        np.array(found.feature),
        np.array(found.threshold),
        value,
    )
