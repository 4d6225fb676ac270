"""Splitters that test on labeled target rows only.

Source rows and unlabeled target rows are in every training set, so that any scorer
of scikit-learn measures the target and every fit sees what it may learn from.
"""

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
)

from sktransfer._compat import _num_samples
from sktransfer._domains import check_domains
from sktransfer._folds import check_groups
from sktransfer.exceptions import DomainError, UnlabeledTargetError

__all__ = [
    "GroupTargetKFold",
    "GroupTargetShuffleSplit",
    "SourceToTargetSplit",
    "StratifiedGroupTargetKFold",
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
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, such as the patient, for the splitters that keep units
            together; an error for the others.

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
        no_features = np.empty((_num_samples(X), 0))
        data = check_domains(
            no_features,
            y,
            sample_domain,
            numeric_labels=None,
            multi_output=True,
            unlabeled_sources=True,  # the estimator itself accepts or refuses them
        )
        self._check_enough(data)
        return self._iter_splits(data, self._check_units(groups, data))

    def _check_units(self, groups, data):
        if groups is not None:
            raise ValueError(
                f"{type(self).__name__} does not support groups. GroupTargetKFold, "
                "StratifiedGroupTargetKFold and GroupTargetShuffleSplit of "
                "sktransfer.model_selection keep the rows of a group together."
            )

    def _iter_splits(self, data, units):
        rows = np.flatnonzero(data.is_labeled_target)
        groups = None if units is None else units[rows]
        for kept, tested in self._split_labeled(data.y_labeled, groups):
            train = ~data.is_labeled_target
            if units is not None:
                train &= ~np.isin(units, groups[tested])
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

    def _split_labeled(self, y, groups):
        # groups are only passed on to the splitters of scikit-learn that use them
        used = {} if groups is None else {"groups": groups}
        return self._inner().split(np.empty((len(y), 0)), y, **used)


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
    >>> X, y = [[0.0]] * 6, [0, 0, 0, 1, 1, None]
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
        if data.y_labeled.ndim > 1:
            raise ValueError(
                f"{type(self).__name__} keeps the shares of the classes of one column, "
                f"but y has {data.y_labeled.shape[1]}. Use TargetKFold."
            )
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

    _splitter = ShuffleSplit

    def _split_labeled(self, y, groups):
        inner = self._splitter(
            self.n_splits,
            test_size=self.test_size,
            train_size=self.train_size,
            random_state=self.random_state,
        )
        return inner.split(np.empty((len(y), 0)), groups=groups)


class _KeepsUnits:
    """Mixin: ``groups`` are required, and no unit is on both sides."""

    __metadata_request__split = {"sample_domain": True, "groups": True}

    def _check_units(self, groups, data):
        name = type(self).__name__
        if groups is None:
            raise ValueError(
                f"{name} did not get groups. Pass them on: search.fit(X, y, "
                "sample_domain=..., groups=...) or cross_validate(..., "
                "params={'sample_domain': ..., 'groups': ...})."
            )
        units = check_groups(groups, data)
        n_units = len(np.unique(units[data.is_labeled_target]))
        least = max(getattr(self, "_least_units", 2), 2)
        if n_units < least:
            raise UnlabeledTargetError(
                f"{name} splits the units with labeled target rows, but groups has "
                f"{n_units} of them; at least {least} are needed."
            )
        return units


class GroupTargetKFold(_KeepsUnits, TargetKFold):
    """K folds of the units with labeled target rows; a unit is never on both sides.

    A unit is what was measured several times, such as a patient: rows with the same
    value of ``groups``.

    Parameters
    ----------
    n_splits : int >= 2, default=5
        Number of folds. There must be at least as many units with labeled target
        rows.
    shuffle : bool, default=False
        Shuffle the units before they are dealt to folds.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle; it must be None without one.

    See Also
    --------
    StratifiedGroupTargetKFold : The same with the class shares kept in each fold.
    sklearn.model_selection.GroupKFold : Deals the units to the folds.

    Notes
    -----
    A value of ``groups`` is one unit in whatever domain: source rows and unlabeled
    target rows of a unit that is tested leave the training set of that split, all
    others are in it. Such a row may have no unit (None or NaN).

    Examples
    --------
    >>> from sktransfer.model_selection import GroupTargetKFold
    >>> X, y = [[0.0]] * 6, [0.5, 0.1, 0.2, 0.3, 0.4, float("nan")]
    >>> patient = ["x", "a", "a", "b", "b", "b"]
    >>> folds = GroupTargetKFold(2).split(
    ...     X, y, sample_domain=[1, -1, -1, -1, -1, -1], groups=patient
    ... )
    >>> for train, test in folds:
    ...     print(train, test)
    [0 1 2] [3 4]
    [0 3 4 5] [1 2]
    """

    @property
    def _least_units(self):
        return self.n_splits

    def _inner(self):
        return GroupKFold(
            self.n_splits, shuffle=self.shuffle, random_state=self.random_state
        )


class StratifiedGroupTargetKFold(_KeepsUnits, StratifiedTargetKFold):
    """K folds of whole units with the class shares kept as well as units allow.

    Parameters
    ----------
    n_splits : int >= 2, default=5
        Number of folds. At least one class must have that many labeled target rows,
        and there must be as many units.
    shuffle : bool, default=False
        Shuffle the units before they are dealt to folds.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle; it must be None without one.

    See Also
    --------
    GroupTargetKFold : The same without classes, for regression.
    sklearn.model_selection.StratifiedGroupKFold : Deals the units to the folds.

    Notes
    -----
    What is said of units in :class:`GroupTargetKFold` holds here, too.

    Examples
    --------
    >>> from sktransfer.model_selection import StratifiedGroupTargetKFold
    >>> X, y = [[0.0]] * 8, [0, 0, 0, 1, 1, 0, 0, 1]
    >>> patient = [9, 1, 1, 2, 2, 3, 3, 4]
    >>> folds = StratifiedGroupTargetKFold(2).split(
    ...     X, y, sample_domain=[1] + 7 * [-1], groups=patient
    ... )
    >>> for train, test in folds:
    ...     print(train, test)
    [0 3 4 5 6] [1 2 7]
    [0 1 2 7] [3 4 5 6]
    """

    @property
    def _least_units(self):
        return self.n_splits

    def _inner(self):
        return StratifiedGroupKFold(
            self.n_splits, shuffle=self.shuffle, random_state=self.random_state
        )


class GroupTargetShuffleSplit(_KeepsUnits, TargetShuffleSplit):
    """Random splits of the units with labeled target rows.

    Units in neither share are left out of the split, with all of their rows.

    Parameters
    ----------
    n_splits : int >= 1, default=10
        Number of splits.
    test_size : float in (0, 1), int or None, default=None
        Share or number of the units to test on. None: the complement of
        ``train_size``, or 0.2 if that is None too.
    train_size : float in (0, 1), int or None, default=None
        Share or number of the units to train on. None: the complement of
        ``test_size``.
    random_state : int, RandomState instance or None, default=None
        Seed of the splits.

    See Also
    --------
    GroupTargetKFold : Every unit is tested on once.
    sklearn.model_selection.GroupShuffleSplit : Draws the units.

    Notes
    -----
    Source rows and unlabeled target rows are trained on unless their unit is tested.

    Examples
    --------
    >>> from sktransfer.model_selection import GroupTargetShuffleSplit
    >>> X, y = [[0.0]] * 7, [0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    >>> split = GroupTargetShuffleSplit(1, test_size=1, train_size=1, random_state=0)
    >>> [(train, test)] = split.split(
    ...     X, y, sample_domain=[1] + 6 * [-1], groups=[9, 1, 1, 2, 2, 3, 3]
    ... )
    >>> train, test
    (array([0, 3, 4]), array([5, 6]))
    """

    _splitter = GroupShuffleSplit


class SourceToTargetSplit(_TargetSplitter):
    """One split: train on the source rows, test on the labeled target rows.

    It ranks plain source models by how they do on the target, or by a score of
    their transferability. The estimator under test must be one that does not use
    domains: an estimator that adapts needs target rows in its fit.

    See Also
    --------
    TargetKFold : Train on target rows, too.

    Examples
    --------
    >>> from sktransfer.model_selection import SourceToTargetSplit
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 1, None]
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

    def _iter_splits(self, data, units):
        yield np.flatnonzero(data.is_source), np.flatnonzero(data.is_labeled_target)
