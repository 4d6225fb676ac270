"""Which labeled rows a plain estimator sees: source, target, or both."""

from copy import copy
from inspect import signature
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from sktransfer._compat import Interval, StrOptions, _num_samples
from sktransfer._domains import canonical_order, take_rows
from sktransfer._fold_fits import (
    fits_without,
    follows,
    held_out_model,
    held_out_models,
    is_known,
)
from sktransfer._learners import (
    LearnerMethodsMixin,
    fit_learner,
    multiply_weights,
    name_samples,
)
from sktransfer.base import TransferMetaEstimator, is_scale_free, slice_params
from sktransfer.exceptions import UnlabeledTargetError

__all__ = ["Pooled", "SourceOnly", "TargetOnly"]


def _learns_in_parts(self: Any) -> Any:
    self.estimator.partial_fit  # noqa: B018  the learner's own AttributeError is best
    return True


#: of the parameters that budget the rows of each source
_SAMPLE_CONSTRAINTS: dict[str, Any] = {
    "max_rows": [Interval(Integral, 1, None, closed="left"), None],
    "random_state": ["random_state"],
}


class _Baseline(LearnerMethodsMixin, TransferMetaEstimator):
    """Template: fit a clone of the learner on some labeled rows.

    The hooks are ``_rows(data)``, a mask, and ``_weights(data)``, one weight per row
    of ``data`` or None.
    """

    _routed_methods = ("fit", "predict", "partial_fit")

    __metadata_request__partial_fit = {"sample_domain": True, "classes": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.scale_free = is_scale_free(self.estimator)
        return tags

    def _weights(self, data: Any) -> Any:
        return None

    def _check_batches(self) -> None:
        """Refuse parameters that need all rows at once (a hook)."""

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        return self._fit_rows(data, self._rows(data), fit_params)

    def leaves_out(self, n_samples: int) -> bool:
        """Tell whether a fit on all rows helps those on folds.

        Parameters
        ----------
        n_samples : int
            Samples of all domains.

        Returns
        -------
        leaves_out : bool
            True for ridge regression, and for logistic regression on many samples, on
            rows as they are: see :meth:`fit_with_folds` and :meth:`fit_of_fold`. A
            subclass may fit in its own way.
        """
        ours = type(self).__module__ == __name__
        plain = ours and self._takes_rows_as_they_are()
        return bool(plain and follows(self.estimator, n_samples))

    def _takes_rows_as_they_are(self) -> Any:
        """Tell whether no row is sampled and no column added (a hook)."""
        return True

    def fit_with_folds(self, data: Any, folds: Any, params: dict[str, Any]) -> Any:
        """Return a fitted clone, and what it would be on the training parts of folds.

        Parameters
        ----------
        data : DomainData
            Samples that an outer fit has checked.
        folds : list of (train, test)
            Indices of rows.
        params : dict
            Metadata of its ``fit``, one entry per row: at most positive weights.

        Returns
        -------
        model : estimator
            What :meth:`fit` would return.
        models : list of estimator or None
            One per fold, to be asked about rows; None where fits of their own are
            needed.
        """
        model = clone(self)
        model._validate_params()
        if type(data.X) is np.ndarray:
            model.n_features_in_ = data.X.shape[1]
        else:
            validate_data(model, data.X, reset=True, skip_check_array=True)
        model._check_capable(data)
        used = model._rows(data)
        part, of_part = data, params
        if not used.all():
            part, of_part = data.take(used), slice_params(params, used)
        model.estimator_ = model._fit_estimator(part, of_part)
        if not used.all():
            model._restore_rows(data, used)
        return model, model._fits_of_folds(part, data, used, folds, of_part)

    def _fits_of_folds(
        self, part: Any, data: Any, used: Any, folds: Any, params: dict[str, Any]
    ) -> Any:
        """Return the models of folds; ``part`` has the rows in ``used``."""
        weight = multiply_weights(self._weights(part), params.get("sample_weight"))
        position = np.cumsum(used) - 1
        n_rows, n_source = len(part.labeled), part.n_source
        left_out = []
        for train, _ in folds:
            lost = used.copy()
            lost[train] = False
            lost = np.flatnonzero(lost)
            n_lost = int(data.is_source[lost].sum())
            sources_gone = 0 < n_source == n_lost
            if sources_gone or 0 < n_rows - n_source == len(lost) - n_lost:
                return None
            left_out.append(position[lost])
        learners = fits_without(
            self.estimator_, part.X, part.labels(part.labeled), weight, left_out
        )
        return None if learners is None else held_out_models(self, learners)

    def fit_of_fold(self, data: Any, params: dict[str, Any]) -> Any:
        """Return what this fitted estimator would be on some of its rows.

        The rows were checked with all others.

        Parameters
        ----------
        data : DomainData
            Some of the rows that it was fitted on.
        params : dict
            Metadata of its ``fit``, one entry per row: at most weights.

        Returns
        -------
        model : estimator
            It can be asked about rows.
        """
        learner = self._fit_rows(data, self._rows(data), params)
        if is_known(learner):
            return held_out_model(self, learner)
        model = copy(self)
        model.estimator_ = learner
        return model

    def _fit_rows(
        self, data: Any, rows: NDArray[np.bool_], fit_params: dict[Any, Any]
    ) -> Any:
        weights = self._weights(data)
        # known learners neither change nor keep their rows
        as_they_are = rows.all() and is_known(self.estimator)
        return fit_learner(
            self.estimator,
            data.X if as_they_are else take_rows(data.X, rows),
            data.labels(rows),
            method_weight=None if weights is None else weights[rows],
            samples=lambda: name_samples(data, rows),
            **slice_params(fit_params, rows),
        )

    @available_if(_learns_in_parts)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_domain: Any = None,
        classes: Any = None,
        **fit_params: Any,
    ) -> Self:
        """Go on fitting the estimator on a batch of source and target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of any domains; a batch may hold source rows alone.
        y : array-like of shape (n_samples,)
            Labels, with markers on the unlabeled target rows, which are dropped.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        classes : array-like of shape (n_classes,), default=None
            All classes; a classifier needs them in the first call.
        **fit_params : dict
            Metadata that the estimator requests for ``partial_fit``, one entry per
            row.

        Returns
        -------
        self : object
            The estimator, a batch further.

        Raises
        ------
        UnlabeledTargetError
            If the first batch holds no row to learn from.
        """
        first = not hasattr(self, "estimator_")
        if first:
            self._validate_params()
            self._check_batches()
        is_batch = sample_domain is not None
        data = self._validate_domains(
            X, y, sample_domain, skip_check_X=True, reset=first, is_batch=is_batch
        )
        params = self._route("partial_fit", data, fit_params)
        data, params, _ = self._drop_weightless(data, params, is_batch=is_batch)
        if classes is not None:
            params["classes"] = classes
        rows, weights = self._rows(data, is_batch=is_batch), self._weights(data)
        if not rows.any():
            if first:
                raise UnlabeledTargetError(
                    f"{type(self).__name__} has no row to learn from in the first "
                    "batch: y and sample_domain leave it none."
                )
            return self
        params = slice_params(params, rows)
        own = params.pop("sample_weight", None)
        weight = multiply_weights(None if weights is None else weights[rows], own)
        if weight is not None:
            self._check_takes_weights_in_parts()
            params["sample_weight"] = weight
        model = clone(self.estimator) if first else self.estimator_
        X, y = take_rows(data.X, rows), data.labels(rows)
        self.estimator_ = model.partial_fit(X, y, **params)
        return self

    def _check_takes_weights_in_parts(self) -> None:
        if "sample_weight" not in signature(self.estimator.partial_fit).parameters:
            raise TypeError(
                f"estimator={type(self.estimator).__name__}(...) takes no "
                "sample_weight in partial_fit, so the weights of the rows would be "
                "lost. Use a learner that does."
            )


class SourceOnly(_Baseline):
    """Fit an estimator on the source rows and predict the target with it.

    Labels of target rows are not used. Without any source row the estimator is
    fitted on the labeled target rows, so that its fit on the target alone exists.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to fit.
    max_rows : int in [1, inf), default=None
        Most rows of each source that are used, as in :class:`Pooled`. None: no limit.
    random_state : int, RandomState instance or None, default=0
        Draws the sample of ``max_rows``. The order of the rows does not matter.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TargetOnly : Fit on the labeled target rows.
    Pooled : Fit on both.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sktransfer.baselines import SourceOnly
    >>> X, y, domain = [[0.0], [1.0], [0.9]], [0, 1, None], [1, 1, -1]
    >>> model = SourceOnly(KNeighborsClassifier(1)).fit(X, y, sample_domain=domain)
    >>> model.predict([[0.9]])
    array([1])
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        **_SAMPLE_CONSTRAINTS,
    }

    def __init__(
        self, estimator: Any, *, max_rows: Any = None, random_state: Any = 0
    ) -> None:
        super().__init__(estimator)
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        rows = self._rows(data)
        if self.max_rows is not None and data.n_source:
            rows = sample_sources(
                data,
                self.max_rows,
                stratify=is_classifier(self.estimator),
                random_state=self.random_state,
            )
        return self._fit_rows(data, rows, fit_params)

    def _takes_rows_as_they_are(self) -> Any:
        return self.max_rows is None

    def _check_batches(self) -> None:
        if self.max_rows is not None:
            raise ValueError(
                "partial_fit sees a batch at a time, so it cannot draw max_rows of "
                "each source: leave it at its default."
            )

    def _rows(self, data: Any, *, is_batch: bool = False) -> NDArray[np.bool_]:
        # a batch without source rows does not tell that there is no source
        return data.is_source if data.n_source or is_batch else data.is_labeled_target

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "unused"
        return tags


class TargetOnly(_Baseline):
    r"""Fit an estimator on the labeled target rows alone, :math:`\theta(0,T)`.

    Source rows and unlabeled target rows are ignored: this is what transfer has to
    beat.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to fit.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourceOnly : Fit on the source rows.
    Pooled : Fit on both.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sktransfer.baselines import TargetOnly
    >>> X, y, domain = [[0.0], [1.0], [2.0]], [10.0, 2.0, 4.0], [1, -1, -1]
    >>> model = TargetOnly(DummyRegressor()).fit(X, y, sample_domain=domain)
    >>> model.predict([[5.0]])
    array([3.])
    """

    def _rows(self, data: Any, *, is_batch: bool = False) -> NDArray[np.bool_]:
        return data.is_labeled_target

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        return tags


class Pooled(_Baseline):
    r"""Fit an estimator on all labeled rows, source and target together.

    It also ends a pipeline of adapting transformers, where it drops the unlabeled
    rows before the learner.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor to fit.
    source_weight : float in [0, inf), default=1.0
        Weight of a source row relative to a labeled target row. With 1 no weights
        are passed and any estimator works; otherwise ``estimator`` must take
        ``sample_weight``. With 0 the source rows are left out.
    add_domain : bool or {"one-hot", "integer", "category"}, default=False
        Describe each row by its domain too; in ``predict`` and the like every row is a
        target row. "one-hot": a column of 0 and 1 for each source, that of the largest
        first, and a last one for the target. "integer": one column with 0 for the
        target and 1, 2, ... for the sources in the order of their ids, which suits
        trees where that order means something. "category": a categorical column with
        the values "target", "source 1", "source 2", ... by the ids, for pandas and
        polars frames alone. With "one-hot" and "category" nothing depends on how the
        sources are numbered: trees, which break ties by the order of columns or
        categories, get the largest source first. True:
        "category" for a frame that holds columns other than numbers, else "one-hot".
        Columns of a frame keep their dtypes; the new ones are named ``domain`` and,
        for "one-hot", ``domain_1``, ``domain_2``, ..., ``domain_target``. Without
        source rows nothing is added.
    max_rows : int in [1, inf), default=None
        Most rows of each source that are used. A larger source is represented by a
        random sample of its rows, for classifiers with every class in proportion and,
        where ``max_rows`` allows, at least one row of each. A sampled row counts as one
        row. All labeled target rows are used in any case. None: no limit.
    random_state : int, RandomState instance or None, default=0
        Draws the sample of ``max_rows``. The order of the rows does not matter.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    rows_ : ndarray of shape (n_rows,)
        Positions of the rows that ``estimator_`` was fitted on, ascending.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourceOnly : Fit on the source rows.
    TargetOnly : Fit on the labeled target rows.

    Notes
    -----
    With source rows :math:`S`, labeled target rows :math:`T` and
    :math:`\omega` = ``source_weight`` the estimator minimizes

    .. math:: \omega \sum_{i \in S} \ell(x_i, y_i) + \sum_{i \in T} \ell(x_i, y_i).

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sktransfer.baselines import Pooled
    >>> X, y, domain = [[0.0], [1.0], [2.0]], [10.0, 2.0, 4.0], [1, -1, -1]
    >>> model = Pooled(DummyRegressor(), source_weight=0.5)
    >>> model.fit(X, y, sample_domain=domain).predict([[5.0]])
    array([4.4])
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "source_weight": [Interval(Real, 0, None, closed="left")],
        "add_domain": ["boolean", StrOptions({"one-hot", "integer", "category"})],
        **_SAMPLE_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator: Any,
        source_weight: Any = 1.0,
        *,
        add_domain: Any = False,
        max_rows: Any = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.source_weight = source_weight
        self.add_domain = add_domain
        self.max_rows = max_rows
        self.random_state = random_state

    def _takes_rows_as_they_are(self) -> Any:
        return self.pooled_learner() is not None

    def pooled_learner(self) -> tuple[Any, float] | None:
        """Return what is fitted on the labeled rows of all domains, as they are.

        Returns
        -------
        pooled : tuple or None
            The unfitted learner and the weight of a source row; None if rows are
            sampled or get a column for their domain.
        """
        if self.add_domain or self.max_rows is not None:
            return None
        return self.estimator, self.source_weight

    def _fit_estimator(self, data: Any, fit_params: dict[Any, Any]) -> Any:
        rows = self._rows(data)
        if self.max_rows is not None and (self.source_weight or not data.n_labeled):
            rows = self._sample(data)
        self.rows_ = np.flatnonzero(rows)
        self._domain_column: Any = None
        if self.add_domain and (rows & data.is_source).any():
            self._domain_column = _DomainColumn(data, self.add_domain)
            data = data.with_X(self._domain_column.add(data.X, data.sample_domain))
        return self._fit_rows(data, rows, fit_params)

    def _rows(self, data: Any, *, is_batch: bool = False) -> NDArray[np.bool_]:
        if self.source_weight == 0 and (data.n_labeled or is_batch):
            return data.is_labeled_target
        return data.labeled

    def _weights(self, data: Any) -> Any:
        if self.source_weight in (0, 1):
            return None
        return np.where(data.is_source, self.source_weight, 1.0)

    def _check_batches(self) -> None:
        if self.add_domain or self.max_rows is not None:
            raise ValueError(
                "partial_fit sees a batch at a time, so it can neither add_domain nor "
                "draw max_rows of each source: leave both at their defaults."
            )

    _domain_column: Any = None

    def _restore_rows(self, data: Any, kept: Any) -> None:
        self.rows_ = np.flatnonzero(kept)[self.rows_]

    def _sample(self, data: Any) -> NDArray[np.bool_]:
        """Mask of the labeled target rows and of at most max_rows of each source."""
        return data.is_labeled_target | sample_sources(
            data,
            self.max_rows,
            stratify=is_classifier(self.estimator),
            random_state=self.random_state,
        )

    def _for_estimator(self, X: Any) -> NDArray[Any]:
        return X if self._domain_column is None else self._domain_column.add(X)


def sample_sources(
    data: Any, max_rows: int, *, stratify: bool, random_state: Any = 0
) -> NDArray[np.bool_]:
    """Return a mask of the rows that represent the sources.

    Parameters
    ----------
    data : DomainData
        Rows of every domain.
    max_rows : int
        Most rows of each source.
    stratify : bool
        Keep the classes in proportion.
    random_state : int, RandomState instance or None, default=0
        Draws the rows.

    Returns
    -------
    rows : ndarray of bool of shape (n_samples,)
        Sampled source rows.
    """
    rows = np.zeros(len(data.sample_domain), dtype=bool)
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    for domain, X, y in data.each_source():
        kept = _sample_rows(X, y, max_rows, stratify, seed)
        rows[np.flatnonzero(data.rows_of(domain))[kept]] = True
    return rows


def _sample_rows(
    X: Any, y: Any, n_rows: int, stratify: bool, seed: int
) -> NDArray[Any]:
    """Return positions of a random sample that does not depend on the row order."""
    if len(y) <= n_rows:
        return np.arange(len(y))
    order = canonical_order(X, y)
    order = order[np.random.RandomState(seed).permutation(len(order))]
    if not stratify:
        return order[:n_rows]
    classes = y if y.ndim == 1 else y[:, 0]  # of several outputs those of the first
    codes, counts = np.unique(classes[order], return_inverse=True, return_counts=True)[
        1:
    ]
    # the r-th of the n rows of a class comes at (r + 1/2) / n: classes in proportion
    by_class = np.argsort(codes, kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[by_class] = np.concatenate([np.arange(n) for n in counts])
    turn = (rank + 0.5) / counts[codes]
    turn[rank == 0] -= 1  # the first row of each class comes before all others
    return order[np.lexsort((codes, turn))[:n_rows]]


class _DomainColumn:
    """Describe rows by their domain, in arrays, sparse matrices and frames."""

    def __init__(self, data: Any, coding: Any) -> None:
        self.sources = data.sources
        self.coding = coding
        if coding is True:
            self.coding = "category" if _has_other_columns(data.X) else "one-hot"
        if self.coding == "category" and not hasattr(data.X, "columns"):
            raise TypeError(
                "add_domain='category' needs X as a pandas or polars frame; use "
                "'one-hot' or 'integer'."
            )
        self.turns = np.arange(len(self.sources))
        if self.coding != "integer":
            self.turns[_largest_first(data)] = np.arange(len(self.sources))

    def add(self, X: Any, sample_domain: Any = None) -> Any:
        """Return X with its domain; None: target rows."""
        codes = np.zeros(_num_samples(X), dtype=np.int64)  # 0 is the target
        if sample_domain is not None:
            place = np.searchsorted(self.sources, sample_domain)
            place = np.minimum(place, len(self.sources) - 1)
            known = self.sources[place] == sample_domain
            codes[known] = self.turns[place[known]] + 1
        columns = self._columns(codes)
        if hasattr(X, "columns"):
            return self._add_to_frame(X, columns)
        block = np.column_stack(list(columns.values()))
        if sparse.issparse(X):
            return sparse.hstack([X, block.astype(X.dtype)], format="csr")
        X = np.asarray(X)
        if X.ndim != 2:
            raise ValueError(
                f"add_domain adds columns, but X has {X.ndim} dimension(s): put the "
                "step that makes a table of it before Pooled."
            )
        dtype = X.dtype if X.dtype.kind in "fO" else np.float64
        return np.hstack([X, block.astype(dtype)])

    def __setstate__(self, state: dict[str, Any]) -> None:
        # a model that was stored by version 0.1 has its sources in the order of ids
        self.__dict__ = {"turns": np.arange(len(state["sources"]))} | state

    def _in_turn(self) -> NDArray[Any]:
        """Return the ids of the sources in the order of their codes."""
        return self.sources[np.argsort(self.turns)]

    def _columns(self, codes: NDArray[Any]) -> dict[str, Any]:
        """Return the new columns by name."""
        if self.coding in ("integer", "category"):
            return {"domain": codes}
        names = [f"domain_{i}" for i in self._in_turn()]
        columns = {name: codes == i + 1 for i, name in enumerate(names)}
        columns["domain_target"] = codes == 0
        return {name: column.astype(np.float64) for name, column in columns.items()}

    def _add_to_frame(self, X: Any, columns: dict[str, Any]) -> Any:
        taken = [name for name in columns if name in X.columns]
        if taken:
            raise ValueError(
                f"add_domain adds the column {taken[0]!r}, but X has one of this name: "
                "rename or drop it."
            )
        categories = ["target", *(f"source {i}" for i in self._in_turn())]
        if hasattr(X, "with_columns"):
            import polars as pl

            if self.coding == "category":
                values = np.array(categories)[columns["domain"]]
                columns = {"domain": pl.Series(values, dtype=pl.Enum(categories))}
            return X.with_columns(**{k: pl.Series(v) for k, v in columns.items()})
        if self.coding == "category":
            import pandas as pd

            values = pd.Categorical.from_codes(columns["domain"], categories)
            columns = {"domain": values}
        return X.assign(**columns)


def _largest_first(data: Any) -> NDArray[np.intp]:
    """Return positions of the sources, the largest first, whatever their ids.

    Of equal size the one comes first whose rows do, in an order of all rows that does
    not depend on how they are given. Trees break ties of equal splits by the order of
    the columns.
    """
    ids = data.source_ids
    sizes = np.array([np.sum(ids == k) for k in data.sources])
    first = np.arange(len(sizes))
    if len(np.unique(sizes)) < len(sizes):
        rows = take_rows(data.X, data.is_source)
        ids = ids[canonical_order(rows, data.y_source)]
        first = np.array([np.argmax(ids == k) for k in data.sources])
    return np.lexsort((first, -sizes))


def _has_other_columns(X: Any) -> bool:
    """Tell a frame that holds more than numbers."""
    if not hasattr(X, "columns"):
        return False
    if hasattr(X, "with_columns"):  # polars
        return not all(dtype.is_numeric() for dtype in X.schema.values())
    return X.select_dtypes(["number", "bool"]).shape[1] < X.shape[1]
