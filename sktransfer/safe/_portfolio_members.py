"""What a portfolio is made of: default learners, and the members that "auto" means."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    TransformerMixin,
    clone,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sktransfer._domains import take_rows
from sktransfer._learners import fit_or_constant
from sktransfer._source_models import is_fitted
from sktransfer.base import (
    TransferMetaEstimator,
    consumes_sample_domain,
    fit_on_domains,
    get_transfer_tags,
)
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.hypothesis import OffsetTransfer, SecureRLS, SourcePredictions
from sktransfer.multisource import UOWQ, EmpiricalBayesRidge, likelihood_of

#: sources up to this number get members of their own
FEW_SOURCES = 4
#: most rows of each source in a pooled fit of a tree ensemble
MAX_ROWS = 10_000


class Member(NamedTuple):
    """A member of a portfolio before it is fitted.

    Attributes
    ----------
    name : str
        Its key in ``members_`` and ``weights_``.
    estimator : estimator
        Unfitted; it knows domains, or is fitted on the labeled target rows.
    target_only : bool
        Whether it sees target rows alone.
    domain : int or None
        Id of the one source that it sees; None for all of them.
    strict : bool
        Whether it is left out where its fit warns.
    shared : bool
        Whether it holds fitted source models and is fitted on target rows alone.
    """

    name: str
    estimator: BaseEstimator
    target_only: bool
    domain: int | None = None
    strict: bool = False
    shared: bool = False


def is_target_only(estimator):
    """Tell a plain learner, or one in TargetOnly, from an estimator that transfers."""
    if not consumes_sample_domain(estimator):
        return True
    if not isinstance(estimator, Pipeline):
        return isinstance(estimator, TargetOnly)
    # the steps before may see sources
    return isinstance(estimator[-1], TargetOnly) and not any(
        consumes_sample_domain(step) for _, step in estimator.steps[:-1]
    )


class SharedSources:
    """Models of the sources that are fitted once, for all members and all folds.

    Parameters
    ----------
    data : DomainData
        Rows of every domain.
    params : dict
        Metadata of the rows.
    """

    def __init__(self, data, params):
        self.data = data
        weight = params.get("sample_weight")
        self.weight = None if weight is None else np.asarray(weight, dtype=np.float64)
        self._models = {}

    def pooled(self, learner):
        """Return a learner fitted on all sources."""
        return self._fit(learner, None, self.data.is_source)

    def each(self, learner):
        """Return a learner fitted on each source in turn."""
        return [
            self._fit(learner, int(domain), self.data.rows_of(domain))
            for domain in self.data.sources
        ]

    def _fit(self, learner, domain, rows):
        key = repr(learner), domain
        if key not in self._models:
            params = {}
            if self.weight is not None:
                params["sample_weight"] = self.weight[rows]
            model = fit_or_constant(
                learner, take_rows(self.data.X, rows), self.data.labels(rows), **params
            )
            self._models[key] = FrozenEstimator(model)
        return self._models[key]


def share_sources(member, shared):
    """Return the member with fitted source models in place of learners of sources.

    It is then fitted on target rows alone. Members whose source fits depend on the
    target come back as they are.
    """
    estimator = member.estimator
    first = estimator[0] if isinstance(estimator, Pipeline) else estimator
    if isinstance(estimator, OffsetTransfer) and not is_fitted(
        estimator.source_estimator
    ):
        model = shared.pooled(estimator.source_estimator)
        carrier = clone(estimator).set_params(source_estimator=model)
    elif isinstance(first, SourcePredictions) and _is_learner(first.source_models):
        # out-of-fold predictions of source rows are asked for if these are fitted on
        if not isinstance(estimator[-1], TargetOnly):
            return member
        learner = first.source_models
        models = [shared.pooled(learner)] if first.pooled else shared.each(learner)
        carrier = clone(estimator)
        carrier[0].set_params(source_models=models)
    elif isinstance(estimator, SecureRLS) and _is_learner(estimator.source_models):
        models = shared.each(estimator.source_models)
        carrier = clone(estimator).set_params(source_models=models)
    else:
        return member
    return member._replace(estimator=carrier, shared=True)


def _is_learner(models):
    return hasattr(models, "fit") and not is_fitted(models)


def target_members(learner, data, *, classification, random_state):
    """Return the target-only members: a linear model and the learner.

    Parameters
    ----------
    learner : estimator or None
        The learner of the portfolio; None for boosted trees.
    data : DomainData
        Rows of every domain.
    classification : bool
        The task.
    random_state : int
        Seed of the default learners.

    Returns
    -------
    members : list of Member
        One or, where the learner is not linear itself, two of them.
    """
    return [
        Member(f"target_{label}", TargetOnly(clone(model)), True)
        for label, model in _learners(
            learner, data.X, classification, random_state
        ).items()
    ]


def transfer_members(learner, data, *, classification, max_rows, random_state):
    """Return the members that see sources.

    Parameters
    ----------
    learner : estimator or None
        The learner of the portfolio; None for a linear model and boosted trees.
    data : DomainData
        Rows of every domain.
    classification : bool
        The task.
    max_rows : int or None
        Most rows of each source in pooled fits of learners that are not linear.
    random_state : int
        Seed of the default learners and of samples of rows.

    Returns
    -------
    members : list of Member
        In the order of the table in the portfolio's docstring.
    """
    members = []
    learners = _learners(learner, data.X, classification, random_state)
    if learner is not None and len(learners) > 1:
        del learners["linear"]  # that is for the target alone
    for label, model in learners.items():
        linear = label == "linear" or _is_linear(model)
        limit = None if linear else max_rows

        def pooled(model=model, limit=limit, **options):
            return Pooled(
                clone(model), max_rows=limit, random_state=random_state, **options
            )

        members += [
            Member(f"source_{label}", SourceOnly(clone(model)), False),
            Member(f"pooled_{label}", pooled(), False),
            Member(f"pooled_domain_{label}", pooled(add_domain=True), False),
            Member(f"downweighted_{label}", pooled(source_weight=0.1), False),
        ]
        if linear:
            members += _linear_members(model, classification, default=learner is None)
    main, rich = list(learners.items())[-1]
    simple = default_linear(classification, numeric_columns(data.X))
    members += [
        Member("offset", OffsetTransfer(clone(rich), clone(simple)), False),
        Member(
            "stacking",
            make_pipeline(SourcePredictions(clone(rich)), TargetOnly(clone(simple))),
            False,
        ),
    ]
    if 2 <= len(data.sources) <= FEW_SOURCES:
        members += [
            Member(
                f"source_{domain}_{main}", SourceOnly(clone(rich)), False, int(domain)
            )
            for domain in data.sources
        ]  # fmt: skip
    return members


def _linear_members(model, classification, default):
    """Return the members for learners with a likelihood or a linear correction."""
    steps, last = [], model
    if isinstance(model, Pipeline):
        steps, last = [step for _, step in model.steps[:-1]], model[-1]
    if default and not classification:
        last = Ridge()  # RidgeCV has no likelihood
    members = []
    if _has_likelihood(last):
        uowq = _after(steps, UOWQ(clone(last)))
        members.append(Member("uowq", uowq, False, strict=True))
    if not classification:
        secure = SecureRLS(clone(last), alphas=np.logspace(-2, 3, 11))
        bayes = EmpiricalBayesRidge()
        members += [
            Member("secure_rls", _after(steps, secure), False),
            Member("empirical_bayes", _after(steps, bayes), False, strict=True),
        ]
    return members


def _after(steps, estimator):
    if not steps:
        return estimator
    return AfterTransform(estimator, make_pipeline(*map(clone, steps)))


def _learners(learner, X, classification, random_state):
    """Return label -> learner: linear first, then the learner or boosted trees."""
    numeric = numeric_columns(X)
    learners = {"linear": default_linear(classification, numeric)}
    if learner is None:
        learners["trees"] = default_trees(classification, numeric, random_state)
        return learners
    learner = _asking_for_weights(learner)
    if _is_linear(learner):
        return {"learner": learner}
    return {**learners, "learner": learner}


def _asking_for_weights(learner):
    """Return a clone that requests weights, unless the user said what it requests."""
    learner = clone(learner)
    if isinstance(learner, Pipeline) or not has_fit_parameter(learner, "sample_weight"):
        return learner
    with config_context(enable_metadata_routing=True):
        routing = getattr(learner, "get_metadata_routing", lambda: None)()
        requests = getattr(getattr(routing, "fit", None), "requests", {})
        if requests.get("sample_weight", False) is None:
            learner.set_fit_request(sample_weight=True)
    return learner


def default_linear(classification, numeric):
    """Return the linear learner: encoded and standardized columns, an L2 penalty."""
    if classification:
        return _encoded(LogisticRegression(max_iter=1000), numeric, scale=True)
    learner = _FewRowsRidgeCV(alphas=np.logspace(-2, 3, 11))
    return _encoded(learner, numeric, scale=True)


def default_trees(classification, numeric, random_state):
    """Return the tree learner: boosted trees of scikit-learn on encoded columns."""
    trees = (
        HistGradientBoostingClassifier
        if classification
        else HistGradientBoostingRegressor
    )
    learner = trees(early_stopping=False, random_state=random_state)
    return _encoded(learner, numeric, scale=False)


def _encoded(learner, numeric, scale):
    with config_context(enable_metadata_routing=True):
        learner.set_fit_request(sample_weight=True)
    return make_pipeline(EncodedTable(numeric, scale=scale), learner)


def _is_linear(learner):
    last = learner[-1] if isinstance(learner, Pipeline) else learner
    return _has_likelihood(last)


def _has_likelihood(learner):
    try:
        likelihood_of(learner)
    except TypeError:
        return False
    return True


class _FewRowsRidgeCV(RidgeCV):
    """RidgeCV that also takes a single row, on which nothing can be left out."""

    def fit(self, X, y, sample_weight=None):
        if X.shape[0] > 1:
            return super().fit(X, y, sample_weight=sample_weight)
        model = Ridge(alpha=float(np.max(self.alphas))).fit(X, y)
        self.alpha_ = model.alpha
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.n_features_in_ = model.n_features_in_
        return self


class AfterTransform(TransferMetaEstimator):
    """Fit a transformer on the labeled rows alone, and an estimator on its output.

    In a pipeline the transformer would see the unlabeled rows too.

    Parameters
    ----------
    estimator : estimator
        It knows domains.
    transformer : transformer
        It need not.
    """

    def __init__(self, estimator, transformer):
        super().__init__(estimator)
        self.transformer = transformer

    def _fit_estimator(self, data, fit_params):
        rows = data.labeled
        self.transformer_ = clone(self.transformer).fit(
            take_rows(data.X, rows), data.labels(rows)
        )
        mapped = data.with_X(self.transformer_.transform(data.X))
        return fit_on_domains(clone(self.estimator), mapped)

    def _for_estimator(self, X):
        return self.transformer_.transform(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags = get_transfer_tags(self.estimator)
        return tags


class EncodedTable(TransformerMixin, BaseEstimator):
    """Turn a table of numbers, text and missing values into an array of floats.

    Numbers and booleans stay, standardized and with the mean in place of missing
    values; columns of text and categories become one column of 0 and 1 for each of
    their values (at most 30, rare ones together; a missing value is a value).

    Parameters
    ----------
    numeric : ndarray of bool of shape (n_columns,), default=None
        Which of the first columns hold numbers; None: told from their values. A part
        of a table may have no value in a column, so the whole table should tell.
    scale : bool, default=True
        Whether numbers are standardized and filled; False for trees.
    """

    def __init__(self, numeric=None, *, scale=True):
        self.numeric = numeric
        self.scale = scale

    def fit(self, X, y=None):
        """Find the kinds and the values of the columns."""
        X = _as_table(X)
        self.n_features_in_ = X.shape[1]
        self.sparse_ = sparse.issparse(X)
        if self.sparse_:
            self.numbers_ = StandardScaler(with_mean=False).fit(X)
            return self
        self.numeric_ = numeric_columns(X)
        if self.numeric is not None:
            self.numeric_[: len(self.numeric)] = self.numeric
        numbers, text = self._blocks(X)
        self.numbers_ = self.values_ = None
        if self.scale and numbers.shape[1]:
            self.numbers_ = make_pipeline(
                StandardScaler(),
                SimpleImputer(
                    strategy="constant", fill_value=0.0, keep_empty_features=True
                ),
            ).fit(numbers)
        if text.shape[1]:
            self.values_ = OneHotEncoder(
                max_categories=30,
                handle_unknown="infrequent_if_exist",
                sparse_output=False,
            ).fit(text)
        return self

    def transform(self, X):
        """Encode rows."""
        check_is_fitted(self)
        X = _as_table(X)
        if self.sparse_:
            return self.numbers_.transform(X)
        numbers, text = self._blocks(X)
        if self.numbers_ is not None:
            numbers = self.numbers_.transform(numbers)
        if self.values_ is None:
            return numbers
        return np.hstack([numbers, self.values_.transform(text)])

    def _blocks(self, X):
        numbers = np.full((X.shape[0], int(self.numeric_.sum())), np.nan)
        text = np.empty((X.shape[0], int((~self.numeric_).sum())), dtype=object)
        if not hasattr(X, "columns") and self.numeric_.all():
            return np.asarray(X, dtype=np.float64), text
        for j, column in enumerate(np.flatnonzero(self.numeric_)):
            values = _column(X, column)
            known = ~_missing(values)
            numbers[known, j] = values[known].astype(np.float64)
        for j, column in enumerate(np.flatnonzero(~self.numeric_)):
            values = _column(X, column)
            text[:, j] = np.where(_missing(values), None, values.astype(str))
        return numbers, text


def _as_table(X):
    X = X if hasattr(X, "shape") else np.asarray(X)
    if len(X.shape) != 2:
        return check_array(X, dtype=None)  # raises scikit-learn's error
    return X


def numeric_columns(X):
    """Return which columns of an array or a dataframe hold numbers or booleans."""
    X = _as_table(X)
    if sparse.issparse(X):
        return np.ones(X.shape[1], dtype=bool)
    if not hasattr(X, "columns") and X.dtype.kind in "fiub":
        return np.ones(X.shape[1], dtype=bool)
    numeric = np.zeros(X.shape[1], dtype=bool)
    for j in range(X.shape[1]):
        column = _safe_indexing(X, j, axis=1)
        kind = str(getattr(column, "dtype", ""))
        values = _column(X, j)
        if values.dtype.kind in "mM":
            raise ValueError(
                f"Column {_name(X, j)!r} of X holds dates or durations, which the "
                "default learners do not encode. Replace it by numbers, or give a "
                "learner that takes it."
            )
        if kind.startswith(("category", "Categorical", "Enum")):
            continue
        known = values[~_missing(values)]
        numeric[j] = known.dtype.kind in "fiub" or all(
            isinstance(v, int | float | np.number | np.bool_) for v in known
        )
    return numeric


def check_table(X):
    """Refuse what the default learners cannot encode, before any of them is fitted."""
    numeric = numeric_columns(X)
    for j in np.flatnonzero(~numeric):
        for value in _column(X, j):
            if isinstance(value, dict | list | tuple | set | np.ndarray):
                raise TypeError(
                    "argument must be a string or a real number, not "
                    f"{type(value).__name__!r} (column {_name(X, j)!r} of X)"
                )
    for j in np.flatnonzero(numeric):
        values = _column(X, j)
        if np.isinf(values[~_missing(values)].astype(np.float64)).any():
            raise ValueError(f"Input X contains infinity (column {_name(X, j)!r}).")


def _column(X, j):
    values = np.asarray(_safe_indexing(X, j, axis=1))
    return values if values.dtype.kind in "fiubmM" else values.astype(object)


def _missing(values):
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype != object:
        return np.zeros(len(values), dtype=bool)
    return np.array(
        [v is None or type(v).__name__ == "NAType" or v != v for v in values],
        dtype=bool,
    )


def _name(X, j):
    return X.columns[j] if hasattr(X, "columns") else j


def members_of(estimators, learner, data, *, classification, random_state):
    """Return the given members; without a target-only one the default ones too."""
    members = [Member(name, est, is_target_only(est)) for name, est in estimators]
    if not any(m.target_only for m in members):
        defaults = target_members(
            learner, data, classification=classification, random_state=random_state
        )
        members = defaults + members
    return members
