"""What a report compares by default: rows as they come, learners, methods."""

import warnings

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import (
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline

from sktransfer._compat import _safe_indexing, check_pandas_support
from sktransfer._deviance import check_exposure, deviance_power
from sktransfer.base import (
    consumes_sample_domain,
    get_transfer_tags,
    without_sources,
)
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.instance import KMM
from sktransfer.multisource import UOWQ, SourceSelector
from sktransfer.preprocessing import TableEncoder
from sktransfer.preprocessing import _columns as columns
from sktransfer.safe import TransferGuard

#: more distinct values of a text column than this are merged into one
MAX_CATEGORIES = 20
#: whole numbers with more distinct values than this are quantities, not classes
MAX_CLASSES = 10
#: more columns of a kind than this are not named
MOST_NAMED = 30


def as_rows(X):
    """Return rows as a pandas frame where columns have types, else as an array.

    Parameters
    ----------
    X : {array-like, dataframe} of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    X : {ndarray, pandas.DataFrame} of shape (n_samples, n_features)
        A frame for frames of any library and for arrays of objects.
    """
    pandas = check_pandas_support("transfer_report")
    if isinstance(X, pandas.DataFrame):
        return X
    if hasattr(X, "columns"):
        return pandas.DataFrame({name: X[name].to_list() for name in X.columns})
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, got shape {X.shape}.")
    if X.dtype.kind in "OUS":
        names = [f"column {k}" for k in range(X.shape[1])]
        X = pandas.DataFrame(X.astype(object), columns=names)
        for name in names:
            numbers = pandas.to_numeric(X[name], errors="coerce")
            if numbers.notna().equals(X[name].notna()):
                X[name] = numbers
    return X


def read_columns(X, y, sample_domain):
    """Find out what the columns hold, and leave out those not to be learned from.

    Parameters
    ----------
    X : {ndarray, pandas.DataFrame} of shape (n_samples, n_features)
        Rows of :func:`as_rows`.
    y : ndarray of shape (n_samples,) or None
        Labels, missing for unlabeled rows.
    sample_domain : ndarray of shape (n_samples,)
        Domain ids.

    Returns
    -------
    X : {ndarray, pandas.DataFrame} of shape (n_samples, n_kept)
        The other columns, those of a frame with the types of what they hold.
    reading : list of str
        One sentence per kind of column, with their names.
    roles : dict of str to str
        Roles of a :class:`~sktransfer.preprocessing.TableEncoder` that leaves out the
        same columns.
    """
    encoder = _find_roles(X, y, sample_domain)
    X = _kept(X, encoder)
    notes = column_notes(X, sample_domain, encoder)
    return _typed(X, encoder), notes, dict.fromkeys(encoder.dropped_, "id")


def column_notes(X, sample_domain=None, encoder=None):
    """Tell what the columns hold, and which of them may hold something else.

    Parameters
    ----------
    X : {ndarray, pandas.DataFrame} of shape (n_samples, n_features)
        Rows of :func:`as_rows`.
    sample_domain : ndarray of shape (n_samples,), default=None
        Domain ids. None: columns that tell domains apart are not looked for.
    encoder : TableEncoder, default=None
        Fitted on these columns, and on those that it leaves out. None: one is fitted
        on ``X`` alone, which cannot tell copies of the label.

    Returns
    -------
    notes : list of str
        One sentence per kind of column, with their names, and one per doubtful column.
    """
    if encoder is None:
        encoder = _find_roles(X, None, sample_domain)
        X = _kept(X, encoder)
    by_kind = {}
    for name, role in encoder.roles_.items():
        kind = encoder.dropped_.get(name) or role
        by_kind.setdefault((name in encoder.dropped_, kind), []).append(str(name))
    notes = []
    for (dropped, kind), names in by_kind.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        listed = ", ".join(names[:MOST_NAMED]) + more
        what = f"Left out as {kind}" if dropped else f"Read as {kind}"
        if kind == columns.DROPPED["empty"]:
            what = "Empty in every row"
        notes.append(f"{what}: {listed}.")
    notes += mixed_columns(X, encoder)
    if sample_domain is not None:
        notes += telling_columns(X, encoder, np.asarray(sample_domain))
    return notes


def text_columns(X):
    """Return the names of the columns of a frame that hold text."""
    types = check_pandas_support("transfer_report").api.types
    return [
        name
        for name in getattr(X, "columns", [])
        if types.is_object_dtype(X[name]) or types.is_string_dtype(X[name])
    ]


def _find_roles(X, y, sample_domain):
    with warnings.catch_warnings():
        # the notes name the columns that are left out
        warnings.filterwarnings("ignore", message="TableEncoder leaves out")
        try:
            return TableEncoder().fit(X, y, sample_domain=sample_domain)
        except ValueError as error:  # the options of the encoder are none of a report
            said = str(error).replace(
                "drop_ids=False and drop_copies=False keep ids and copies.",
                "Add other columns.",
            )
            raise ValueError(said) from error


def _kept(X, encoder):
    kept = [k for k, name in enumerate(encoder.roles_) if name not in encoder.dropped_]
    return X.iloc[:, kept] if hasattr(X, "columns") else X[:, kept]


def _typed(X, encoder):
    """Return a frame with the types of its roles, so that no fit parses texts anew."""
    pandas = check_pandas_support("transfer_report")
    if not hasattr(X, "columns"):
        return X
    typed = {}
    for name in X.columns:
        if encoder.roles_[name] == "time":
            typed[name] = X[name]  # as a duration it would be a number
            continue
        is_category = encoder.roles_[name] == "category"
        values = columns.values_of(X[name], as_text=is_category)
        typed[name] = pandas.Categorical(values) if is_category else values
    return pandas.DataFrame(typed, index=X.index)


def mixed_columns(X, encoder):
    """Return a sentence per category whose values are mostly numbers."""
    pandas, notes = check_pandas_support("transfer_report"), []
    for name in text_columns(X):
        if encoder.roles_[name] != "category":
            continue
        present = X[name].dropna().astype(str)
        if columns.is_ambiguous_date(present):
            notes.append(
                f"Column {name!r} holds dates such as {present.iloc[0]!r} in which day "
                "and month cannot be told apart: it is treated as categories. Write "
                "such dates as 2020-12-31."
            )
            continue
        numbers = pandas.to_numeric(present, errors="coerce").notna()
        odd = _stray_date(present)
        if odd is not None:
            notes.append(
                f"Column {name!r} holds mostly dates but also {odd!r}: it is treated "
                "as categories. Correct it if it should be a date."
            )
        if numbers.mean() > 0.5 and not numbers.all():
            notes.append(
                f"Column {name!r} holds mostly numbers but also text, such as "
                f"{present[~numbers].iloc[0]!r}: it is treated as categories. Clean it "
                "if it should be a number."
            )
    return notes


def _stray_date(present):
    """Return the first text that is no date where most of a column are dates."""
    part = present.iloc[:: max(len(present) // 1000, 1)]
    if part.map(columns.is_date).mean() <= 0.5:
        return None
    return next((text for text in present if not columns.is_date(text)), None)


def telling_columns(X, encoder, sample_domain):
    """Return a sentence on columns that tell nothing, or the domain and no more."""
    empty, constant, telling, distinct = [], [], [], []
    for name, role in encoder.roles_.items():
        if name not in getattr(X, "columns", []) or role not in {"number", "category"}:
            continue
        present = X[name].notna().to_numpy()
        values = X.loc[present, name].astype(str).to_numpy()
        domains = sample_domain[present]
        n_values = len(np.unique(values))
        if n_values < 2:
            (constant if n_values else empty).append(str(name))
            continue
        pairs = set(zip(values.tolist(), domains.tolist(), strict=True))
        # each value in one domain, though there are fewer values than rows
        nested = len(pairs) == n_values and n_values <= len(values) / 2
        n_domains = len(np.unique(domains))
        if n_domains > 1 and (nested or len(pairs) == n_domains):
            telling.append(str(name))
        elif role == "number" and n_values == len(values) >= columns.LEAST_EVIDENCE:
            numbers = columns.values_of(X[name])
            if (numbers[~np.isnan(numbers)] % 1 == 0).all():
                distinct.append(str(name))
    notes = []
    for names, what in (
        (empty, "Empty in every row: {}."),
        (constant, "The same in every row: {}."),
        (distinct, "Whole numbers, another one in every row: {}. Leave them out if "
                   "they are ids."),
        (telling, "These columns tell domains apart: {}. Each of their values is in "
                  "one domain, or each domain has one value. Leave them out if they "
                  "are names or ids."),
    ):  # fmt: skip
        if names:
            more = f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED)
            notes.append(what.format(", ".join(names[:MOST_NAMED]) + more))
    return notes


def make_preprocessor():
    """Return an unfitted transformer of mixed columns to complete, scaled numbers."""
    return TableEncoder(
        max_categories=MAX_CATEGORIES, drop_ids=False, drop_copies=False
    )


def to_numbers(X, rows):
    """Return some rows as complete, scaled numbers.

    Parameters
    ----------
    X : {ndarray, pandas.DataFrame} of shape (n_samples, n_features)
        Rows of :func:`as_rows`.
    rows : ndarray
        Indices of the rows.

    Returns
    -------
    features : ndarray of shape (n_rows, n_features_out)
        What :func:`make_preprocessor` makes of them.
    """
    return make_preprocessor().fit_transform(_safe_indexing(X, rows))


def infer_task(labels, estimators=()):
    """Tell classes from quantities.

    Parameters
    ----------
    labels : ndarray of shape (n_labeled,)
        Labels, none missing.
    estimators : list of estimator, default=()
        What the user gave: of whole numbers, and of two numbers, their type decides
        if all agree.

    Returns
    -------
    task : {"classification", "regression"}
        Text and truth values are classes. Else the type of the estimators decides;
        without any, two numbers or few whole numbers are classes.
    """
    if labels.dtype.kind not in "iuf":
        return "classification"
    values = np.unique(labels)
    whole = (values == np.round(values)).all()
    if (whole or len(values) <= 2) and len(estimators):
        if all(is_regressor(estimator) for estimator in estimators):
            return "regression"
        if all(is_classifier(estimator) for estimator in estimators):
            return "classification"
    few = len(values) <= MAX_CLASSES and whole
    return "classification" if few or len(values) <= 2 else "regression"


def common_power(estimators, learner, scoring):
    """Return the power of the deviance that all methods fit, for exposures.

    Parameters
    ----------
    estimators : dict of str to estimator or None
        Methods of the user.
    learner : estimator or None
        Learner of the default methods.
    scoring : str, callable or None
        Scorer of the user.

    Returns
    -------
    power : float
        1, that of Poisson, unless the user gave others.

    Raises
    ------
    ValueError
        If one has no log link, or their powers differ and no scorer is given.
    """
    if estimators is None:
        given = {} if learner is None else {"learner": learner}
    else:
        given = {f"estimators[{k!r}]": method for k, method in estimators.items()}
    powers = {name: deviance_power(model) for name, model in given.items()}
    for name, power in powers.items():
        if power is None:
            raise ValueError(
                f"exposure needs learners with a log link, such as PoissonRegressor(), "
                f"but {name} has none that is known: give another one, or leave "
                "exposure out."
            )
    if len(set(powers.values())) > 1 and scoring is None:
        raise ValueError(
            f"The estimators fit deviances of several powers, {powers}, so that none "
            "compares them all: give scoring, or estimators of one power."
        )
    return next(iter(powers.values()), 1.0)


def check_counts(exposure, data, power, learner):
    """Return checked exposures, and refuse labels that have no deviance.

    Parameters
    ----------
    exposure : array-like of shape (n_samples,)
        Exposures of the user.
    data : DomainData
        Checked rows.
    power : float
        Of the deviance.
    learner : estimator or None
        Learner of the user.

    Returns
    -------
    exposure : ndarray of shape (n_samples,)
        Positive; 1 where an unlabeled row has none.
    """
    exposure = check_exposure(
        exposure, len(data.sample_domain), learner or PoissonRegressor(), data.labeled
    )
    labels = data.labels(data.labeled) if data.labeled.any() else np.ones(1)
    bad = labels <= 0 if power >= 2 else labels < 0
    if power >= 1 and bad.any():
        least = "positive" if power >= 2 else "0 or more"
        raise ValueError(
            f"With exposure labels must be {least}, but y holds {labels[bad][0]:g}."
        )
    return exposure


def log_linear(data, exposure, power):
    r"""Return a linear model of the logarithm of the rate.

    Its penalty is that of a standard normal prior of each coefficient, for the labeled
    target rows: with their exposures :math:`E_i`, alpha is
    :math:`1 / \sum_i E_i^{2-p}`, so that the unit of exposure does not matter.

    Parameters
    ----------
    data : DomainData
        Checked rows.
    exposure : ndarray of shape (n_samples,)
        Exposures.
    power : float
        Of the deviance.

    Returns
    -------
    learner : estimator
        Unfitted.
    """
    rows = data.is_labeled_target if data.n_labeled else data.labeled
    alpha = 1 / max(float(np.sum(exposure[rows] ** (2 - power))), 1e-12)
    if power == 1:
        return PoissonRegressor(alpha=alpha, max_iter=1000)
    return TweedieRegressor(power=power, link="log", alpha=alpha, max_iter=1000)


def default_estimators(*, classify, n_sources, scoring, learner, random_state):
    """Return the methods that a report compares if the user names none.

    Parameters
    ----------
    classify : bool
        Whether the labels are classes.
    n_sources : int
        Number of sources.
    scoring : str or callable
        Scorer of the source models.
    learner : estimator or None
        Learner inside of every method. None: a linear model.
    random_state : int
        Seed of the methods that draw.

    Returns
    -------
    estimators : dict of str to estimator
        Unfitted estimators that take `sample_domain`.
    """
    if learner is None:
        learner = LogisticRegression(max_iter=1000) if classify else Ridge()
    if classify != is_classifier(learner) or classify == is_regressor(learner):
        kind = "classifier" if classify else "regressor"
        raise TypeError(
            f"learner={learner!r} is no {kind}, which the labels ask for. Give "
            "another learner, or say task='classification' or task='regression'."
        )
    methods = {
        "source only": SourceOnly(learner),
        "pooling": Pooled(learner),
        "light pooling": Pooled(learner, source_weight=0.1),
        "KMM": KMM(learner, random_state=random_state),
        "UOWQ": UOWQ(learner),
    }
    if n_sources > 1:
        score = get_scorer(scoring) if isinstance(scoring, str) else scoring
        methods["pooling of the better half"] = SourceSelector(
            Pooled(learner), source_score=score, random_state=random_state
        )
    preprocessor = make_preprocessor()
    pipelines = {name: _piped(preprocessor, m) for name, m in methods.items()}
    pipelines["guarded pooling"] = TransferGuard(
        _piped(preprocessor, Pooled(learner)),
        policy="aggregate",
        random_state=random_state,
    )
    return pipelines


def _piped(preprocessor, method):
    return Pipeline([("preprocess", clone(preprocessor)), ("method", clone(method))])


def target_only(estimator):
    """Return the unfitted learner of a method, for the target rows alone.

    Parameters
    ----------
    estimator : estimator
        A method, or a pipeline that ends in one.

    Returns
    -------
    target_only : estimator
        :class:`~sktransfer.baselines.TargetOnly` of its learner, with the same steps
        before, or of the method without sources if it has no inner learner.
    """
    if isinstance(estimator, Pipeline):
        *steps, (name, last) = clone(estimator).steps
        return Pipeline([*steps, (name, target_only(last))])
    learner = getattr(estimator, "estimator", None)
    if learner is None:
        return TargetOnly(without_sources(estimator))
    if consumes_sample_domain(learner):
        return target_only(learner)
    return TargetOnly(clone(learner))


def check_estimators(estimators, classify):
    """Refuse methods that cannot be compared, by their name.

    Parameters
    ----------
    estimators : dict of str to estimator
        Methods of the user.
    classify : bool
        Whether the labels are classes.

    Raises
    ------
    TypeError
        If one does not take `sample_domain` or is made for the other task.
    ValueError
        If there is none, or one has a reserved name.
    """
    if not estimators:
        raise ValueError("estimators is empty: give at least one, or None.")
    if "target only" in estimators:
        raise ValueError(
            "estimators holds 'target only', which is the name of the comparison; "
            "rename that entry."
        )
    for name, estimator in estimators.items():
        if not hasattr(estimator, "fit") or not hasattr(estimator, "predict"):
            raise TypeError(f"estimators[{name!r}] has no fit and predict.")
        if not consumes_sample_domain(estimator):
            get_transfer_tags(estimator)
            raise TypeError(
                f"estimators[{name!r}] does not take sample_domain; wrap its last "
                "step, e.g. in Pooled of sktransfer.baselines."
            )
        if classify != is_classifier(estimator):
            kind = "classes" if classify else "quantities"
            raise TypeError(
                f"estimators[{name!r}] does not predict {kind}, which y holds. Give "
                "another estimator, or say task='classification' or "
                "task='regression'."
            )
