"""Which labeled rows a plain estimator sees: source, target, or both."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from sktransfer._domains import canonical_order, take_rows
from sktransfer.base import (
    TransferMetaEstimator,
    fit_with_sample_weight,
    slice_params,
)

__all__ = ["Pooled", "SourceOnly", "TargetOnly"]


class SourceOnly(TransferMetaEstimator):
    """Fit an estimator on the source rows and predict the target with it.

    Labels of target rows are not used. Without any source row the estimator is
    fitted on the labeled target rows, so that its fit on the target alone exists.

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

    def _fit_estimator(self, data, fit_params):
        rows = data.is_source if data.n_source else data.is_labeled_target
        return _fit_rows(self.estimator, data, rows, fit_params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "unused"
        return tags


class TargetOnly(TransferMetaEstimator):
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

    def _fit_estimator(self, data, fit_params):
        return _fit_rows(self.estimator, data, data.is_labeled_target, fit_params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        return tags


class Pooled(TransferMetaEstimator):
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
        target row. "one-hot": a column of 0 and 1 for each source, in the order of
        their ids, and a last one for the target. "integer": one column with 0 for the
        target and 1, 2, ... for the sources in the order of their ids, which suits
        trees. "category": a categorical column with the values "target", "source 1",
        "source 2", ... by the ids, for pandas and polars frames alone. True:
        "category" for a frame that holds columns other than numbers, else "one-hot".
        Columns of a frame keep their dtypes; the new ones are named ``domain`` and,
        for "one-hot", ``domain_1``, ``domain_2``, ..., ``domain_target``. Without
        source rows nothing is added.
    max_rows : int in [1, inf), default=None
        Most rows of each source that are used. A larger source is represented by a
        random sample of its rows, for classifiers with every class in proportion and
        at least one row of each as far as ``max_rows`` allows. A sampled row counts
        as one row. All labeled target rows are used in any case. None: no limit.
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

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        "source_weight": [Interval(Real, 0, None, closed="left")],
        "add_domain": ["boolean", StrOptions({"one-hot", "integer", "category"})],
        "max_rows": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        source_weight=1.0,
        *,
        add_domain=False,
        max_rows=None,
        random_state=0,
    ):
        super().__init__(estimator)
        self.source_weight = source_weight
        self.add_domain = add_domain
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        rows = data.labeled
        if self.source_weight == 0 and data.n_labeled:
            rows = data.is_labeled_target
        elif self.max_rows is not None:
            rows = self._sample(data)
        self.rows_ = np.flatnonzero(rows)
        weight = None
        if self.source_weight not in (0, 1):
            weight = np.where(data.is_source, self.source_weight, 1.0)[rows]
        self._domain_column = None
        if self.add_domain and (rows & data.is_source).any():
            self._domain_column = _DomainColumn(data.X, data.sources, self.add_domain)
            data = data.with_X(self._domain_column.add(data.X, data.sample_domain))
        return _fit_rows(self.estimator, data, rows, fit_params, sample_weight=weight)

    def _sample(self, data):
        """Mask of the labeled target rows and of at most max_rows of each source."""
        rows = data.is_labeled_target.copy()
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        for domain, X, y in data.each_source():
            kept = _sample_rows(
                X, y, self.max_rows, is_classifier(self.estimator), seed
            )
            rows[np.flatnonzero(data.rows_of(domain))[kept]] = True
        return rows

    def _for_estimator(self, X):
        return X if self._domain_column is None else self._domain_column.add(X)


def _sample_rows(X, y, n_rows, stratify, seed):
    """Return positions of a random sample that does not depend on the row order."""
    if len(y) <= n_rows:
        return np.arange(len(y))
    order = canonical_order(X, y)
    order = order[np.random.RandomState(seed).permutation(len(order))]
    if not stratify:
        return order[:n_rows]
    codes, counts = np.unique(y[order], return_inverse=True, return_counts=True)[1:]
    # the r-th of the n rows of a class comes at (r + 1/2) / n: classes in proportion
    by_class = np.argsort(codes, kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[by_class] = np.concatenate([np.arange(n) for n in counts])
    turn = (rank + 0.5) / counts[codes]
    turn[rank == 0] -= 1  # the first row of each class comes before all others
    return order[np.lexsort((codes, turn))[:n_rows]]


class _DomainColumn:
    """Describe rows by their domain, in arrays, sparse matrices and frames."""

    def __init__(self, X, sources, coding):
        self.sources = sources
        self.coding = coding
        if coding is True:
            self.coding = "category" if _has_other_columns(X) else "one-hot"
        if self.coding == "category" and not hasattr(X, "columns"):
            raise TypeError(
                "add_domain='category' needs X as a pandas or polars frame; use "
                "'one-hot' or 'integer'."
            )

    def add(self, X, sample_domain=None):
        """Return X with its domain; None: target rows."""
        codes = np.zeros(X.shape[0], dtype=np.int64)  # 0 is the target
        if sample_domain is not None:
            place = np.searchsorted(self.sources, sample_domain)
            place = np.minimum(place, len(self.sources) - 1)
            known = self.sources[place] == sample_domain
            codes[known] = place[known] + 1
        columns = self._columns(codes)
        if hasattr(X, "columns"):
            return self._add_to_frame(X, columns)
        block = np.column_stack(list(columns.values()))
        if sparse.issparse(X):
            return sparse.hstack([X, block.astype(X.dtype)], format="csr")
        X = np.asarray(X)
        dtype = X.dtype if X.dtype.kind in "fO" else np.float64
        return np.hstack([X, block.astype(dtype)])

    def _columns(self, codes):
        """Return the new columns by name."""
        if self.coding in ("integer", "category"):
            return {"domain": codes}
        names = [f"domain_{i}" for i in self.sources]
        columns = {name: codes == i + 1 for i, name in enumerate(names)}
        columns["domain_target"] = codes == 0
        return {name: column.astype(np.float64) for name, column in columns.items()}

    def _add_to_frame(self, X, columns):
        taken = [name for name in columns if name in X.columns]
        if taken:
            raise ValueError(
                f"add_domain adds the column {taken[0]!r}, but X has one of this name: "
                "rename or drop it."
            )
        categories = ["target", *(f"source {i}" for i in self.sources)]
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


def _has_other_columns(X):
    """Tell a frame that holds more than numbers."""
    if not hasattr(X, "columns"):
        return False
    if hasattr(X, "with_columns"):  # polars
        return not all(dtype.is_numeric() for dtype in X.schema.values())
    return X.select_dtypes(["number", "bool"]).shape[1] < X.shape[1]


def _fit_rows(estimator, data, rows, fit_params, sample_weight=None):
    """Fit a clone on some labeled rows, with the metadata of those rows."""
    X, y = take_rows(data.X, rows), data.labels(rows)
    params = slice_params(fit_params, rows)
    if sample_weight is None:
        return clone(estimator).fit(X, y, **params)
    return fit_with_sample_weight(clone(estimator), X, y, sample_weight, **params)
