"""What a portfolio is made of: default learners, and the members that "auto" means."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    clone,
    is_classifier,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import has_fit_parameter

from sktransfer._deviance import deviance_power
from sktransfer._domains import take_rows
from sktransfer._learners import FewRowsRidgeCV, fit_or_constant
from sktransfer._source_models import is_fitted
from sktransfer.base import (
    TransferMetaEstimator,
    consumes_sample_domain,
    fit_on_domains,
    get_transfer_tags,
)
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly, sample_sources
from sktransfer.hypothesis import OffsetTransfer, SecureRLS, SourcePredictions
from sktransfer.multisource import UOWQ, EmpiricalBayesRidge, likelihood_of
from sktransfer.preprocessing import TableEncoder

#: sources up to this number get members of their own; as the list of members, this is
#: the one that ``benchmarks/portfolio.md`` measures
FEW_SOURCES = 4
#: most rows of each source in a pooled fit of a tree ensemble, for speed; "Where the
#: defaults come from" in ``benchmarks/portfolio.md``
MAX_ROWS = 10_000


class Member(NamedTuple):
    """A member of a portfolio before it is fitted.

    Attributes
    ----------
    name : str
        Its key in ``members_`` and ``weights_``.
    estimator : estimator
        Unfitted; it takes `sample_domain`, or is fitted on the labeled target rows.
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


def is_target_only(estimator: Any) -> bool:
    """Tell a plain learner, or one in TargetOnly, from an estimator that transfers."""
    if not consumes_sample_domain(estimator):
        return True
    if not isinstance(estimator, Pipeline):
        return isinstance(estimator, TargetOnly)
    if _only_encoders_ask(estimator):
        return True
    # the steps before may see sources
    return isinstance(estimator[-1], TargetOnly) and not any(
        consumes_sample_domain(step) for _, step in estimator.steps[:-1]
    )


def _only_encoders_ask(pipeline: Any) -> bool:
    """Tell whether none but encoders of tables, which look for copies, take domains."""
    return all(
        isinstance(step, TableEncoder) or not consumes_sample_domain(step)
        for _, step in pipeline.steps
        if hasattr(step, "fit")
    )


class SharedSources:
    """Models of the sources that are fitted once, for all members and all folds.

    Parameters
    ----------
    data : DomainData
        Rows of every domain.
    params : dict
        Metadata of the rows.
    max_rows : int or None, default=None
        Most rows of each source for learners that are not linear.
    random_state : int, default=0
        Draws them.
    """

    def __init__(
        self,
        data: Any,
        params: dict[str, Any],
        max_rows: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.data = data
        self.max_rows, self.random_state = max_rows, random_state
        weight = params.get("sample_weight")
        self.weight = None if weight is None else np.asarray(weight, dtype=np.float64)
        self._models: dict[tuple[str, int | None], Any] = {}

    def pooled(self, learner: Any) -> Any:
        """Return a learner fitted on all sources."""
        return self._fit(learner, None, self.data.is_source)

    def each(self, learner: Any) -> list[Any]:
        """Return a learner fitted on each source in turn."""
        return [
            self._fit(learner, int(domain), self.data.rows_of(domain))
            for domain in self.data.sources
        ]

    def _fit(self, learner: Any, domain: int | None, rows: NDArray[np.bool_]) -> Any:
        key = repr(learner), domain
        if key not in self._models:
            if self.max_rows is not None and not _is_linear(learner):
                rows = rows & sample_sources(
                    self.data,
                    self.max_rows,
                    stratify=is_classifier(learner),
                    random_state=self.random_state,
                )
            params = {}
            if self.weight is not None:
                params["sample_weight"] = self.weight[rows]
            model = fit_or_constant(
                learner, take_rows(self.data.X, rows), self.data.labels(rows), **params
            )
            self._models[key] = FrozenEstimator(model)
        return self._models[key]


def share_sources(member: Member, shared: SharedSources) -> Member:
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


def _is_learner(models: Any) -> bool:
    return hasattr(models, "fit") and not is_fitted(models)


def find_roles(data: Any) -> dict[str, Any] | None:
    """Return what the columns of a table hold, told by the rows of all domains.

    Parameters
    ----------
    data : DomainData
        Rows of every domain.

    Returns
    -------
    roles : dict of str to str or None
        As in :class:`~sktransfer.preprocessing.TableEncoder`. Ids and copies of label
        and domain among named columns are left out, with a warning. None: all columns
        hold numbers, or the rows are no table.
    """
    X = data.X
    named = hasattr(X, "columns")
    if sparse.issparse(X) or np.ndim(X) != 2:
        return None
    if not named and np.asarray(X).dtype.kind in "biuf":
        return None
    encoder = TableEncoder(drop_ids=named, drop_copies=named)
    fitted = encoder.fit(X, data.y, sample_domain=data.sample_domain)
    return fitted._roles_and_forms()


def target_members(
    learner: Any,
    *,
    classification: bool,
    roles: Any,
    random_state: Any,
    power: float | None = None,
) -> list[Member]:
    """Return the target-only members: a linear model and the learner.

    Parameters
    ----------
    learner : estimator or None
        The learner of the portfolio; None for boosted trees.
    classification : bool
        The task.
    roles : dict of str to str or None
        What the columns hold, by :func:`find_roles`.
    random_state : int
        Seed of the default learners.
    power : float or None, default=None
        Power of the deviance of the learner, if it has a log link.

    Returns
    -------
    members : list of Member
        One or, where the learner is not linear itself, two of them.
    """
    return [
        Member(f"target_{label}", TargetOnly(clone(model)), True)
        for label, model in _learners(
            learner, classification, roles, random_state, power
        ).items()
    ]


def transfer_members(
    learner: Any,
    data: Any,
    *,
    classification: bool,
    roles: Any,
    max_rows: int | None,
    random_state: Any,
    power: float | None = None,
) -> list[Member]:
    """Return the members that see sources.

    Parameters
    ----------
    learner : estimator or None
        The learner of the portfolio; None for a linear model and boosted trees.
    data : DomainData
        Rows of every domain.
    classification : bool
        The task.
    roles : dict of str to str or None
        What the columns hold, by :func:`find_roles`.
    max_rows : int or None
        Most rows of each source in pooled fits of learners that are not linear.
    random_state : int
        Seed of the default learners and of samples of rows.
    power : float or None, default=None
        Power of the deviance of the learner, if it has a log link.

    Returns
    -------
    members : list of Member
        In the order of the table in the portfolio's docstring.
    """
    members = []
    learners = _learners(learner, classification, roles, random_state, power)
    if learner is not None and len(learners) > 1:
        del learners["linear"]  # that is for the target alone
    for label, model in learners.items():
        linear = label == "linear" or _is_linear(model)
        limit = None if linear else max_rows

        def pooled(
            model: Any = model, limit: int | None = limit, **options: Any
        ) -> Pooled:
            return Pooled(
                clone(model), max_rows=limit, random_state=random_state, **options
            )

        members += [
            Member(
                f"source_{label}",
                SourceOnly(clone(model), max_rows=limit, random_state=random_state),
                False,
            ),
            Member(f"pooled_{label}", pooled(), False),
            Member(f"pooled_domain_{label}", pooled(add_domain=True), False),
            Member(f"downweighted_{label}", pooled(source_weight=0.1), False),
        ]
        if linear:
            members += _linear_members(model, classification, default=learner is None)
    main, rich = list(learners.items())[-1]
    simple = default_linear(classification, roles, power)
    budget = {"random_state": random_state}
    budget["max_rows"] = None if _is_linear(rich) else max_rows
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
                f"source_{domain}_{main}",
                SourceOnly(clone(rich), **budget),
                False,
                int(domain),
            )
            for domain in data.sources
        ]  # fmt: skip
    return members


def _linear_members(model: Any, classification: bool, default: bool) -> list[Member]:
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
    if not classification and deviance_power(last) is None:
        secure = SecureRLS(clone(last), alphas=np.logspace(-2, 3, 11))
        bayes = EmpiricalBayesRidge()
        members += [
            Member("secure_rls", _after(steps, secure), False),
            Member("empirical_bayes", _after(steps, bayes), False, strict=True),
        ]
    return members


def _after(steps: list[TableEncoder], estimator: Any) -> Any:
    if not steps:
        return estimator
    return AfterTransform(estimator, make_pipeline(*map(clone, steps)))


def _learners(
    learner: Any,
    classification: bool,
    roles: dict[str, Any] | None,
    random_state: Any,
    power: Any,
) -> dict[str, Any]:
    """Return label -> learner: linear first, then the learner or boosted trees."""
    learners = {"linear": default_linear(classification, roles, power)}
    if learner is None:
        learners["trees"] = default_trees(classification, roles, random_state)
        return learners
    learner = asking_for_weights(learner)
    if _is_linear(learner):
        return {"learner": learner}
    return {**learners, "learner": learner}


def asking_for_weights(learner: Any) -> Any:
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


def default_linear(
    classification: bool, roles: dict[str, Any] | None, power: Any = None
) -> Any:
    """Return the linear learner: encoded and standardized columns, an L2 penalty."""
    if classification:
        return _encoded(LogisticRegression(max_iter=1000), roles)
    if power is not None:
        learner = TweedieRegressor(power=power, link="log", alpha=0.1, max_iter=1000)
        return _encoded(
            PoissonRegressor(alpha=0.1, max_iter=1000) if power == 1 else learner, roles
        )
    # of several outputs one alpha for all would hang on their units
    learner = FewRowsRidgeCV(alphas=np.logspace(-2, 3, 11), alpha_per_target=True)
    return _encoded(learner, roles)


def default_trees(
    classification: bool, roles: dict[str, Any] | None, random_state: Any
) -> Any:
    """Return the tree learner: boosted trees of scikit-learn on encoded columns."""
    trees = (
        HistGradientBoostingClassifier
        if classification
        else HistGradientBoostingRegressor
    )
    learner = trees(early_stopping=False, random_state=random_state)
    return _encoded(learner, roles, scale=False, missing="keep")


def _encoded(
    learner: Any,
    roles: dict[str, Any] | None,
    *,
    scale: bool = True,
    missing: str = "impute",
) -> Any:
    with config_context(enable_metadata_routing=True):
        learner.set_fit_request(sample_weight=True)
    encoder = TableEncoder(
        scale=scale, missing=missing, roles=roles, drop_ids=False, drop_copies=False
    )
    return make_pipeline(encoder, learner)


def _is_linear(learner: Any) -> bool:
    last = learner[-1] if isinstance(learner, Pipeline) else learner
    return _has_likelihood(last)


def _has_likelihood(learner: Any) -> bool:
    try:
        likelihood_of(learner)
    except TypeError:
        return False
    return True


#: its name in portfolios that were stored before
_FewRowsRidgeCV = FewRowsRidgeCV


class AfterTransform(TransferMetaEstimator):
    """Fit a transformer on the labeled rows alone, and an estimator on its output.

    In a pipeline the transformer would see the unlabeled rows too.

    Parameters
    ----------
    estimator : estimator
        It takes `sample_domain`.
    transformer : transformer
        It need not.
    """

    _hands_exposure_on = True

    def __init__(self, estimator: Any, transformer: Any) -> None:
        super().__init__(estimator)
        self.transformer = transformer

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        rows = data.labeled
        self.transformer_ = clone(self.transformer).fit(
            take_rows(data.X, rows), data.labels(rows)
        )
        mapped = data.with_X(self.transformer_.transform(data.X))
        handed = {k: v for k, v in fit_params.items() if k != "sample_domain"}
        return fit_on_domains(clone(self.estimator), mapped, **handed)

    def _for_estimator(self, X: Any) -> NDArray[Any]:
        return self.transformer_.transform(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags = get_transfer_tags(self.estimator)
        return tags


def members_of(estimators: list[Any], learner: Any, **options: Any) -> list[Member]:
    """Return the given members; without a target-only one the default ones too."""
    members = [Member(name, est, is_target_only(est)) for name, est in estimators]
    if not any(m.target_only for m in members):
        defaults = target_members(learner, **options)
        members = defaults + members
    return members
