"""TableEncoder: mixed columns of a table become numbers."""

import re
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from sktransfer._compat import (
    Interval,
    StrOptions,
    _check_feature_names_in,
    _fit_context,
    _num_samples,
    check_pandas_support,
)
from sktransfer._domains import check_sample_domain
from sktransfer.exceptions import warn
from sktransfer.preprocessing import _columns as columns

__all__ = ["TableEncoder"]

MISSING = "(missing)"
_DROPPED = columns.DROPPED
#: what LightGBM or XGBoost refuse in names of columns
_NOT_PLAIN = re.compile(r"[\s\[\]{}<>\":,]")


class TableEncoder(TransformerMixin, BaseEstimator):
    """Turn a table with mixed columns into numbers.

    Columns are read for what they hold: numbers, dates, times of the day, categories or
    free text, as such types or as text. Columns that must not be learned from, running
    ids and copies of the label or of the domain, and columns without any value are left
    out with a warning that names them.

    Parameters
    ----------
    categories : {"onehot", "ordinal", "native"}, default="onehot"
        How categories are coded. "onehot": one column per frequent value. "ordinal":
        one column of whole numbers. "native": the result is a pandas frame with
        columns of the type ``category``, for learners that take them, such as
        ``HistGradientBoostingClassifier(categorical_features="from_dtype")``.
    max_categories : int >= 2, default=20
        Largest number of values of a category; the rarest are merged into one.
    missing : {"indicator", "impute", "keep"}, default="indicator"
        What happens to missing numbers. "indicator": the median takes their place, and
        a further column marks them. "impute": the median alone. "keep": they stay NaN,
        for learners that take them. A missing category is a category of its own.
    scale : bool, default=True
        Standardize the columns of numbers.
    text_components : int >= 1, default=10
        Number of components of a column of free text: a truncated singular value
        decomposition of the tf-idf weights of its character n-grams.
    plain_names : bool, default=False
        Put ``_`` in place of spaces and of ``[ ] { } < > " : ,`` in the names of the
        encoded columns, which LightGBM or XGBoost refuse in a frame.
    roles : dict of str to str, default=None
        Roles of some columns, by their names (``"x0"``, ``"x1"``, ... for the columns
        of an array), in place of what the values look like: "number", "date", "time",
        "category", "text", or "id" to leave a column out. "number, decimal comma",
        "date, day first" and "date, month first" also say how values are written.
    drop_ids : bool, default=True
        Leave out running ids.
    drop_copies : bool, default=True
        Leave out columns that repeat the label or the domain.
    random_state : int, RandomState instance or None, default=0
        Seed of the decomposition of texts.

    Attributes
    ----------
    roles_ : dict of str to str
        What each column holds: "number", "date", "time", "category", "text", "id",
        "empty", "copy of the label" or "copy of the domain".
    dropped_ : dict of str to str
        Columns that are left out, each with the reason; new rows need not have them.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if all are strings.
    n_features_in_ : int
        Number of columns seen in ``fit``.

    See Also
    --------
    sktransfer.datasets.from_frame : Labels and domains of a table.

    Notes
    -----
    Labels are compared with columns to find copies, and are used for nothing else. A
    column is a copy if each of its values belongs to one label (or domain) and each
    label to one value, or if it is a linear function of a numeric label. Samples with a
    value and a label decide, if there are 20 or more. An id is a column of whole
    numbers without repetition that fill at least half of their range, or of short texts
    without repetition, in 20 samples or more.

    A date becomes the number of years since 1970 and the sine and cosine of the time
    of the year and of the week, and of the day where it comes with a time. Text counts
    as a date in ISO 8601, as ``31.12.2020`` or as ``31 Dec 2020``. ``03/04/2020`` is a
    date if a day above 12 in the column distinguishes days from months, else a
    category. A year may have two digits where it comes last, as in ``31.12.20``: 69 to
    99 are 1969 to 1999. A time of the day, such as ``14:30`` or ``2:30 PM``, becomes
    the number of hours since midnight and the sine and cosine of it. Text counts as
    numbers with a decimal comma if all values can be, and in one of them the comma
    cannot stand between thousands, as in ``1,5``. Periods of pandas are dates: their
    first day.

    At prediction time the columns of a frame are found by name; their order does not
    matter and further columns are ignored. A category that ``fit`` has not seen counts
    as rare. pandas and polars frames with the same content give the same numbers.

    The parts are those of scikit-learn. skrub's ``TableVectorizer`` is an alternative
    with richer encoders of text; it needs pandas and finds neither ids nor copies of
    label or domain.

    Examples
    --------
    >>> import pandas as pd
    >>> from sktransfer.preprocessing import TableEncoder
    >>> table = pd.DataFrame(
    ...     {
    ...         "age": [40.0, None, 60.0],
    ...         "plan": ["free", "paid", None],
    ...         "since": ["2020-01-01", "2021-06-01", "2020-07-01"],
    ...     }
    ... )
    >>> encoder = TableEncoder().fit(table)
    >>> encoder.roles_
    {'age': 'number', 'plan': 'category', 'since': 'date'}
    >>> encoder.get_feature_names_out()[:4].tolist()
    ['age', 'since_years', 'age_missing', 'since_year_sin']
    >>> encoder.transform(table).shape
    (3, 10)
    """

    __metadata_request__fit = {"sample_domain": True}

    _parameter_constraints: dict = {
        "categories": [StrOptions({"onehot", "ordinal", "native"})],
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "missing": [StrOptions({"indicator", "impute", "keep"})],
        "scale": ["boolean"],
        "text_components": [Interval(Integral, 1, None, closed="left")],
        "plain_names": ["boolean"],
        "roles": [dict, None],
        "drop_ids": ["boolean"],
        "drop_copies": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        categories="onehot",
        max_categories=20,
        missing="indicator",
        scale=True,
        text_components=10,
        plain_names=False,
        roles=None,
        drop_ids=True,
        drop_copies=True,
        random_state=0,
    ):
        self.categories = categories
        self.max_categories = max_categories
        self.missing = missing
        self.scale = scale
        self.text_components = text_components
        self.plain_names = plain_names
        self.roles = roles
        self.drop_ids = drop_ids
        self.drop_copies = drop_copies
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_domain=None):
        """Find out what the columns hold and fit their encoders.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            A table of pandas or polars, or an array. The columns of a sparse matrix
            hold numbers; they are scaled without being centered.
        y : array-like of shape (n_samples,), default=None
            Labels, some of them missing; only to find columns that repeat them.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain ids; only to find columns that repeat them.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If no column is left, or a column holds nested or complex values.

        Warns
        -----
        UserWarning
            If columns are left out, with their names and the reasons.
        """
        X = self._check_table(X, reset=True)
        self._names = columns.column_names(X)
        self._check_roles()
        self._sparse = sparse.issparse(X)
        if self._sparse:
            return self._fit_sparse(X)
        values, categorical, self._forms = {}, {}, {}
        given = {}
        for name, role in (self.roles or {}).items():
            given[name], _, form = role.partition(", ")
            if form:
                self._forms[name] = form
        for position, name in enumerate(self._names):
            column = columns.column_of(X, name, position)
            categorical[name] = columns.is_categorical(column)
            form = self._forms.get(name)
            values[name] = _as_role(column, name, given.get(name), form)
            kind = values[name].dtype.kind
            if (
                kind in "fM"
                and form is None
                and np.asarray(column).dtype.kind in "OUST"
            ):
                texts = columns.values_of(column, as_text=True)
                form = columns.form_of(texts)
                if form is not None:
                    self._forms[name] = form
        self.roles_ = {}
        for name in self._names:
            role = columns.role_of(values[name], categorical=categorical[name])
            if role == "id" and not self.drop_ids:
                role = "number" if values[name].dtype.kind == "f" else "category"
            self.roles_[name] = given.get(name, role)
        if self.drop_copies:
            self._find_copies(values, y, sample_domain)
        self.roles_ |= given
        self.dropped_ = {
            name: _DROPPED[role]
            for name, role in self.roles_.items()
            if role in _DROPPED
        }
        self._report_dropped()
        self._fit_encoders(values)
        return self

    def __setstate__(self, state):
        """Complete encoders that were stored before forms and plain names."""
        super().__setstate__(state)
        vars(self).setdefault("plain_names", False)
        if "_names" in vars(self) and "_forms" not in vars(self):
            order = {True: "day first", False: "month first"}
            first = vars(self).pop("_day_first", {})
            self._forms = {n: order[f] for n, f in first.items() if f is not None}
            self._nothing = False

    def _check_table(self, X, *, reset):
        if sparse.issparse(X):
            if not reset and not self._sparse:
                raise TypeError("Sparse data was passed, but fit saw a dense table.")
            return validate_data(
                self, X, reset=reset, accept_sparse="csr",
                dtype=[np.float64, np.float32],
            )  # fmt: skip
        if not hasattr(X, "columns"):
            X = X if hasattr(X, "shape") else np.asarray(_as_rectangle(X))
            return validate_data(
                self, X, reset=reset, dtype=None, ensure_all_finite=False
            )
        if not _num_samples(X):
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by "
                "TableEncoder."
            )
        names = list(X.columns)
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(
                f"X has several columns of the name {twice[0]!r}: give them unique "
                "column names."
            )
        if reset:
            validate_data(self, X, reset=True, skip_check_array=True)
            return X
        known = {*X.columns, *self.dropped_}  # what is left out may be missing
        lost = [name for name in self._names if name not in known]
        if lost:
            raise ValueError(
                "The feature names should match those that were passed during fit. "
                f"X lacks the columns {lost}."
            )
        return X

    def _check_roles(self):
        for name, role in (self.roles or {}).items():
            if name not in self._names:
                raise ValueError(f"roles names {name!r}, which is no column of X.")
            kind, _, form = (
                role.partition(", ") if isinstance(role, str) else (role,) * 3
            )
            known = kind in {*columns.ROLES, *_DROPPED}
            if not known or (form and columns.FORMS.get(form) != kind):
                forms = " or ".join(
                    f"{of}, {form}" for form, of in columns.FORMS.items()
                )
                raise ValueError(
                    f"roles[{name!r}] must be one of {', '.join(columns.ROLES)} or id, "
                    f"or {forms}, got {role!r}."
                )

    def _fit_sparse(self, X):
        """Fit on a sparse matrix: every column holds numbers, none of them missing."""
        self.roles_, self.dropped_ = dict.fromkeys(self._names, "number"), {}
        self._forms = {}
        self._cycles, self._texts, self._categories = {}, {}, None
        steps = [StandardScaler(with_mean=False)] if self.scale else ["passthrough"]
        self._numbers = make_pipeline(*steps).fit(X)
        return self

    def _find_copies(self, values, y, sample_domain):
        """Give columns that repeat the label or the domain that role."""
        if y is not None:
            labels = np.asarray(y.to_numpy() if hasattr(y, "to_numpy") else y)
            n_samples = _num_samples(values[self._names[0]])
            several = labels.ndim in (1, 2) and len(labels) == n_samples
            for output in labels.reshape(n_samples, -1).T if several else ():
                key = output.astype(object) if output.dtype.kind in "OUS" else output
                known = ~columns.missing_in(key)
                self._mark_copies(values, key, known, "copy of the label")
        if sample_domain is not None:
            n_samples = len(values[self._names[0]])
            ids = check_sample_domain(sample_domain, n_samples)
            everything = np.ones(n_samples, dtype=bool)
            self._mark_copies(values, ids, everything, "copy of the domain")

    def _mark_copies(self, values, key, known, role):
        key = key[known]
        if key.dtype == object:
            key = np.array([str(value) for value in key])
        for name in self._names:
            if columns.is_copy(values[name][known], key):
                self.roles_[name] = role

    def _report_dropped(self):
        if len(self.dropped_) == len(self._names):
            raise ValueError(
                "No column of X is left to learn from: "
                + "; ".join(f"{name!r} is {why}" for name, why in self.dropped_.items())
                + ". drop_ids=False and drop_copies=False keep ids and copies."
            )
        found = {n: w for n, w in self.dropped_.items() if n not in (self.roles or {})}
        if not found:
            return
        several = set(found.values()) != {_DROPPED["empty"]}
        warn(
            "TableEncoder leaves out "
            + "; ".join(f"{name!r} ({why})" for name, why in found.items())
            + "."
            + " drop_ids=False and drop_copies=False keep ids and copies." * several
        )

    def _with_role(self, role):
        return [name for name in self._names if self.roles_[name] == role]

    def _fit_encoders(self, values):
        dates = self._with_role("date")
        self._cycles = {
            name: [c for c in columns.CYCLES if c != "day" or columns.has_time(v)]
            for name, v in ((name, values[name]) for name in dates)
        } | {name: ["day"] for name in self._with_role("time")}
        self._numbers = self._categories = None
        numbers = self._number_block(values)
        # some learners fail on a column without any value, as a fold may have
        self._nothing = np.isnan(numbers).all(axis=0) & (self.missing == "keep")
        numbers = np.where(self._nothing, 0.0, numbers)
        if numbers.shape[1]:
            steps = []
            if self.missing != "keep":
                steps.append(
                    SimpleImputer(
                        strategy="median",
                        keep_empty_features=True,
                        add_indicator=self.missing == "indicator",
                    )
                )
            if self.scale:
                steps.append(StandardScaler())
            self._numbers = make_pipeline(*steps or ["passthrough"]).fit(numbers)
        categories = self._category_block(values)
        if categories.shape[1]:
            encoder = (
                OneHotEncoder(
                    handle_unknown="infrequent_if_exist",
                    max_categories=self.max_categories,
                    sparse_output=False,
                )
                if self.categories == "onehot"
                else OrdinalEncoder(
                    handle_unknown="use_encoded_value",
                    unknown_value=-1,
                    max_categories=self.max_categories,
                )
            )
            self._categories = encoder.fit(categories)
        self._texts = {
            name: self._fit_text(values[name]) for name in self._with_role("text")
        }

    def _fit_text(self, values):
        words = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4))
        weights = words.fit_transform(_filled(values))
        n_components = min(self.text_components, min(weights.shape) - 1)
        pipeline = make_pipeline(
            words,
            TruncatedSVD(max(n_components, 1), random_state=self.random_state),
            *([StandardScaler()] if self.scale else []),
        )
        return pipeline.fit(_filled(values))

    def _number_block(self, values):
        """Return numbers, dates and times as floats, NaN where missing."""
        parts = [values[name] for name in self._with_role("number")]
        parts += [columns.years(values[name]) for name in self._with_role("date")]
        parts += [columns.hours(values[name]) for name in self._with_role("time")]
        n_samples = len(next(iter(values.values())))
        return np.column_stack(parts) if parts else np.empty((n_samples, 0))

    def _category_block(self, values):
        parts = [_filled(values[name]) for name in self._with_role("category")]
        n_samples = len(next(iter(values.values())))
        if not parts:
            return np.empty((n_samples, 0), dtype=object)
        return np.column_stack(parts)

    def transform(self, X):
        """Encode a table.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            A table with the columns of ``fit``, in any order.

        Returns
        -------
        X_new : {ndarray, sparse matrix, dataframe} of shape (n_samples, n_features_out)
            Numbers; with ``categories="native"`` a pandas frame.

        Raises
        ------
        ValueError
            If a column is missing, or holds text where ``fit`` saw numbers or dates.
        """
        check_is_fitted(self)
        index = getattr(X, "index", None)  # a list has a method of this name
        X = self._check_table(X, reset=False)
        if sparse.issparse(X):
            return self._numbers.transform(X)
        values = {
            name: _as_role(
                columns.column_of(X, name, position),
                name,
                role,
                self._forms.get(name),
            )
            for position, (name, role) in enumerate(self.roles_.items())
            if role not in _DROPPED
        }
        parts = []
        if self._numbers is not None:
            numbers = np.where(self._nothing, 0.0, self._number_block(values))
            parts.append(self._numbers.transform(numbers))
        for name, cycles in self._cycles.items():
            parts += [columns.cycle(values[name], cycle) for cycle in cycles]
        parts += [text.transform(_filled(values[n])) for n, text in self._texts.items()]
        if self._categories is not None:
            parts.append(self._categories.transform(self._category_block(values)))
        encoded = np.hstack(parts).astype(np.float64, copy=False)
        if self.categories != "native":
            return encoded
        return self._with_native(encoded, None if callable(index) else index)

    def _with_native(self, encoded, index):
        """Return a frame whose categories are of the type ``category``."""
        pandas = check_pandas_support("TableEncoder(categories='native')")
        names = self.get_feature_names_out()
        frame = pandas.DataFrame(encoded, columns=names, index=index)
        sizes = self._n_codes()
        first = frame.shape[1] - len(sizes)  # categories come last
        for position, (n_values, rare) in enumerate(sizes, first):
            codes = encoded[:, position].astype(int)
            # a value that fit has not seen is rare, or else has a code of its own
            codes = np.where(codes < 0, n_values - rare, codes)
            size = n_values + (not rare)
            kinds = pandas.Categorical.from_codes(codes, range(size))
            frame.isetitem(position, kinds)  # names need not be those of the table
        return frame

    def _n_codes(self):
        """Return for each category how many codes it has, and whether one is rare."""
        if self._categories is None:
            return []
        infrequent = self._categories.infrequent_categories_
        return [
            (len(known), 0) if rare is None else (len(known) - len(rare) + 1, 1)
            for known, rare in zip(
                self._categories.categories_, infrequent, strict=True
            )
        ]

    def get_feature_names_out(self, input_features=None):
        """Return the names of the encoded columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of an array; those of a frame are known.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
            A number keeps its name; ``_missing`` marks indicators, ``_years``,
            ``_year_sin`` and the like come from dates, ``_hours`` from times,
            ``column_value`` from categories. A name that is there already gets a
            number: ``age_missing_2``.
        """
        check_is_fitted(self)
        given = _check_feature_names_in(self, input_features)
        shown = dict(zip(self._names, given, strict=True))
        numbers = [shown[name] for name in self._with_role("number")]
        dates = [shown[name] for name in self._with_role("date")]
        times = [shown[name] for name in self._with_role("time")]
        names = numbers + [f"{name}_years" for name in dates]
        names += [f"{name}_hours" for name in times]
        if isinstance(getattr(self._numbers, "steps", [[0]])[0][-1], SimpleImputer):
            marked = getattr(self._numbers[0].indicator_, "features_", [])
            read = numbers + dates + times
            names += [f"{read[position]}_missing" for position in marked]
        for name, cycles in self._cycles.items():
            names += [f"{shown[name]}_{c}_{f}" for c in cycles for f in ("sin", "cos")]
        for name, text in self._texts.items():
            n_components = text[1].components_.shape[0]
            names += [f"{shown[name]}_text{k}" for k in range(n_components)]
        if self._categories is not None:
            categories = [shown[name] for name in self._with_role("category")]
            names += self._categories.get_feature_names_out(categories).tolist()
        if self.plain_names:
            names = [_NOT_PLAIN.sub("_", name) for name in names]
        return np.asarray(_without_repetition(names), dtype=object)

    def summary(self):
        """Return one line per column: its name, and what the encoder does with it.

        Returns
        -------
        text : str
            Lines such as ``"age: number"``, ``"price: number, decimal comma"`` or
            ``"id: left out, a running number"``.
        """
        check_is_fitted(self)
        return "\n".join(
            f"{name}: left out, {self.dropped_[name]}"
            if name in self.dropped_
            else f"{name}: {role}"
            for name, role in self._roles_and_forms().items()
        )

    def _roles_and_forms(self):
        """Return the roles with how their values are written, as ``roles`` takes them.

        They tell a part of the samples what only the whole table shows.
        """
        return {
            name: f"{role}, {self._forms[name]}"
            if columns.FORMS.get(self._forms.get(name)) == role
            else role
            for name, role in self.roles_.items()
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _without_repetition(names):
    """Return names in which one that is there already has a number."""
    used, unique = set(names), []
    seen = set()
    for name in names:
        number, chosen = 2, name
        while chosen in seen or (chosen != name and chosen in used):
            number, chosen = number + 1, f"{name}_{number}"
        seen.add(chosen)
        unique.append(chosen)
    return unique


def _as_rectangle(rows):
    """Return lists of rows as an array in which numbers and text keep their types."""
    array = np.asarray(rows)
    mixed = array.dtype.kind in "US"
    return np.asarray(rows, dtype=object) if mixed else array


def _filled(values):
    """Return categories or texts, with a name of its own for a missing one."""
    return np.array([MISSING if v is None else v for v in values], dtype=object)


def _check_finite(name, values):
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError(
            f"Column {name!r} of X contains infinity (first at row "
            f"{int(np.isinf(values).argmax())}). Replace it by a number or NaN."
        )


def _as_role(column, name, role, form=None):
    """Return values in the form of a role, or an error with the one that misfits."""
    if role in {"category", "text"}:
        return columns.values_of(column, as_text=True)
    values = columns.values_of(column, form=form)
    missing = columns.missing_in(values)
    kind = {"number": "f", "date": "M", "time": "m"}.get(role, values.dtype.kind)
    if values.dtype.kind == kind:
        _check_finite(name, values)
        return values
    if missing.all():
        empty = {"f": np.nan, "M": np.datetime64("NaT"), "m": np.timedelta64("NaT")}
        return np.full(len(values), empty[kind])
    raise ValueError(
        f"Column {name!r} of X is to hold a {role} in each sample, as in fit or by "
        f"roles, but holds {values[~missing][0]!r}."
    )
