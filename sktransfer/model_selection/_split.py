"""Splitters that test on labeled target rows only.

Source rows and unlabeled target rows are in every training set, so that any scorer
of scikit-learn measures the target and every fit sees what it may learn from.
"""

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.utils.validation import _num_samples

from sktransfer._domains import check_domains
from sktransfer.exceptions import DomainError, UnlabeledTargetError

__all__ = [
    "SourceToTargetSplit",
    "StratifiedTargetKFold",
    "TargetKFold",
    "TargetShuffleSplit",
]


class _TargetSplitter(BaseCrossValidator):
    """Template: a hook splits the labeled target rows, the rest is for training."""

    __metadata_request__split = {"sample_domain": True}

    def split(self, X, y, sample_domain=None, groups=None):
        """Generate indices of training and test rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,)
            Positive ids for sources, negative for the target. It must be given:
            without it source rows would be tested on.
        groups : None
            Only there because scikit-learn without metadata routing passes it; a
            value is an error.

        Returns
        -------
        splits : iterator of (train, test)
            Two index arrays per split, both ascending.

        Raises
        ------
        DomainError
            If ``sample_domain`` did not arrive or the rows break the contract.
        UnlabeledTargetError
            If there are too few labeled target rows to split.
        """
        if sample_domain is None:
            raise DomainError(
                f"{type(self).__name__} did not get sample_domain. Add "
                "sklearn.set_config(enable_metadata_routing=True) and pass the "
                "domains on: search.fit(X, y, sample_domain=...) or "
                "cross_validate(..., params={'sample_domain': ...})."
            )
        if groups is not None:
            raise ValueError(f"{type(self).__name__} does not support groups.")
        no_features = np.empty((_num_samples(X), 0))
        data = check_domains(no_features, y, sample_domain)
        self._check_enough(data)
        return self._iter_splits(data)

    def _iter_splits(self, data):
        rows = np.flatnonzero(data.is_labeled_target)
        for kept, tested in self._split_labeled(data.y_labeled):
            train = ~data.is_labeled_target
            train[rows[kept]] = True
            yield np.flatnonzero(train), np.sort(rows[tested])

    def _check_enough(self, data):
        if data.n_labeled < 2:
            raise UnlabeledTargetError(
                f"{type(self).__name__} splits the labeled target rows, but y labels "
                f"{data.n_labeled} of {data.n_target}. At least 2 are needed."
            )

    def get_n_splits(self, X=None, y=None, sample_domain=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X : object
            Ignored.
        y : object
            Ignored.
        sample_domain : object
            Ignored.
        groups : object
            Ignored.

        Returns
        -------
        n_splits : int
            The number of splits.
        """
        return self.n_splits


class TargetKFold(_TargetSplitter):
    """K folds of the labeled target rows; all other rows are always trained on.

    Parameters
    ----------
    n_splits : int >= 2, default=5
        Number of folds. There must be at least as many labeled target rows.
    shuffle : bool, default=False
        Shuffle the labeled target rows before they are split.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle; it must be None without one.

    See Also
    --------
    StratifiedTargetKFold : Keep the shares of the classes in each fold.
    TargetShuffleSplit : Random splits with a free share of test rows.

    Notes
    -----
    The fold of a labeled target row depends on the labeled target rows alone: source
    and unlabeled rows may be added, removed or moved without changing it.

    Examples
    --------
    >>> from sktransfer.model_selection import TargetKFold
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.5, 0.1, 0.2, float("nan")]
    >>> for train, test in TargetKFold(2).split(X, y, sample_domain=[1, -1, -1, -1]):
    ...     print(train, test)
    [0 2 3] [1]
    [0 1 3] [2]
    """

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None):
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state
        self._inner()  # scikit-learn checks the parameters

    def _inner(self):
        return KFold(
            self.n_splits, shuffle=self.shuffle, random_state=self.random_state
        )

    def _check_enough(self, data):
        if data.n_labeled < self.n_splits:
            raise UnlabeledTargetError(
                f"{type(self).__name__} splits the labeled target rows into "
                f"n_splits={self.n_splits} folds, but y labels {data.n_labeled} of "
                f"{data.n_target}. Lower n_splits or label more target rows."
            )

    def _split_labeled(self, y):
        return self._inner().split(np.empty((len(y), 0)), y)


class StratifiedTargetKFold(TargetKFold):
    """K folds of the labeled target rows with the class shares kept in each fold.

    Parameters
    ----------
    n_splits : int >= 2, default=5
        Number of folds. At least one class must have that many labeled target rows.
    shuffle : bool, default=False
        Shuffle the labeled target rows of each class before they are split.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle; it must be None without one.

    See Also
    --------
    TargetKFold : The same without classes, for regression.

    Notes
    -----
    A class with fewer labeled target rows than ``n_splits`` is absent from some
    folds. As in :class:`sklearn.model_selection.StratifiedKFold` this is a warning,
    and an error if it holds for every class.

    Examples
    --------
    >>> from sktransfer.model_selection import StratifiedTargetKFold
    >>> X, y = [[0.0]] * 6, [0, 0, 0, 1, 1, -1]
    >>> folds = StratifiedTargetKFold(2).split(X, y, sample_domain=[1] + 5 * [-1])
    >>> for train, test in folds:
    ...     print(train, test)
    [0 2 4 5] [1 3]
    [0 1 3 5] [2 4]
    """

    def _inner(self):
        return StratifiedKFold(
            self.n_splits, shuffle=self.shuffle, random_state=self.random_state
        )

    def _check_enough(self, data):
        super()._check_enough(data)
        largest = np.unique(data.y_labeled, return_counts=True)[1].max()
        if largest < self.n_splits:
            raise UnlabeledTargetError(
                f"{type(self).__name__} has n_splits={self.n_splits}, but no class has "
                f"more than {largest} labeled target rows. Lower n_splits, or use "
                "TargetKFold (for regression, too)."
            )


class TargetShuffleSplit(_TargetSplitter):
    """Random splits of the labeled target rows; all other rows are trained on.

    Labeled target rows in neither share are left out of the split altogether. So
    ``train_size`` is the number of labeled target rows that a fit sees, as a curve
    over few labels needs it.

    Parameters
    ----------
    n_splits : int >= 1, default=10
        Number of splits.
    test_size : float in (0, 1), int or None, default=None
        Share or number of the labeled target rows to test on. None: the complement
        of ``train_size``, or 0.1 if that is None too.
    train_size : float in (0, 1), int or None, default=None
        Share or number of the labeled target rows to train on. None: the complement
        of ``test_size``.
    random_state : int, RandomState instance or None, default=None
        Seed of the splits.

    See Also
    --------
    TargetKFold : Every labeled target row is tested on once.

    Examples
    --------
    >>> from sktransfer.model_selection import TargetShuffleSplit
    >>> X, y = [[0.0]] * 5, [0.5, 0.1, 0.2, 0.3, 0.4]
    >>> split = TargetShuffleSplit(1, test_size=2, train_size=1, random_state=0)
    >>> [(train, test)] = split.split(X, y, sample_domain=[1, -1, -1, -1, -1])
    >>> train, test
    (array([0, 2]), array([3, 4]))
    """

    def __init__(
        self, n_splits=10, *, test_size=None, train_size=None, random_state=None
    ):
        self.n_splits = n_splits
        self.test_size = test_size
        self.train_size = train_size
        self.random_state = random_state

    def _split_labeled(self, y):
        inner = ShuffleSplit(
            self.n_splits,
            test_size=self.test_size,
            train_size=self.train_size,
            random_state=self.random_state,
        )
        return inner.split(np.empty((len(y), 0)))


class SourceToTargetSplit(_TargetSplitter):
    """One split: train on the source rows, test on the labeled target rows.

    It ranks plain source models by how they do on the target, or by a score of
    their transferability. The estimator under test must be one that does not know
    domains: an estimator that adapts needs target rows in its fit.

    See Also
    --------
    TargetKFold : Train on target rows, too.

    Examples
    --------
    >>> from sktransfer.model_selection import SourceToTargetSplit
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 1, -1]
    >>> split = SourceToTargetSplit()
    >>> [(train, test)] = split.split(X, y, sample_domain=[1, 2, -1, -1])
    >>> train, test
    (array([0, 1]), array([2]))
    """

    n_splits = 1

    def _check_enough(self, data):
        if not data.n_source:
            raise DomainError(
                "SourceToTargetSplit trains on source rows, but sample_domain names no "
                "source (no positive id)."
            )
        if not data.n_labeled:
            raise UnlabeledTargetError(
                "SourceToTargetSplit tests on labeled target rows, but y labels none."
            )

    def _iter_splits(self, data):
        yield np.flatnonzero(data.is_source), np.flatnonzero(data.is_labeled_target)
