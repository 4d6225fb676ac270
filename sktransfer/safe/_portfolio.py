"""Many members, weighed by their errors on held-out target rows, and guarded."""

import time
import warnings
from collections.abc import Iterator
from dataclasses import astuple, replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.utils import get_tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    _num_samples,
)
from sktransfer._deviance import (
    check_exposure,
    deviance_power,
    warn_of_zeros,
    without_exposure,
)
from sktransfer._domains import check_sample_domain, take_rows
from sktransfer._folds import check_groups, target_folds
from sktransfer._learners import check_weights, routing_of
from sktransfer._progress import (
    CallbackSupportMixin,
    Progress,
    run_task,
    with_callbacks,
)
from sktransfer._response import OutputColumns, common_columns, in_domains
from sktransfer._solvers.aggregation import (
    BlendInfo,
    BlendPrior,
    blend_posterior,
    blend_weight,
    convex_weights,
    exponential_weights,
    fit_blend_prior,
    q_weights,
    select_weights,
)
from sktransfer._solvers.simplex_qp import SOLVERS
from sktransfer.base import (
    BlendMixin,
    TransferMixin,
    get_transfer_tags,
    slice_params,
    without_sources,
)
from sktransfer.exceptions import UnlabeledTargetError, warn
from sktransfer.metrics._evidence import INTERVAL_FOR, row_evidence
from sktransfer.metrics._gap import PairMeasure
from sktransfer.metrics._pair import (
    fit_target_only,
    fit_transfer,
    leaves_out,
    prepare_folds,
    prepare_target_only,
)
from sktransfer.safe._defaults import (
    INFLATION,
    LEAST_WEIGHT,
    PORTFOLIO_ATOM,
    PORTFOLIO_RISK,
    TEMPERATURE,
    TRIAL_ATOM,
    TRIAL_WHOLE,
    TRIAL_WORTH,
)
from sktransfer.safe._portfolio_evidence import Evidence, HeldOut
from sktransfer.safe._portfolio_members import (
    MAX_ROWS,
    SharedSources,
    find_roles,
    is_target_only,
    members_of,
    share_sources,
    target_members,
    transfer_members,
)
from sktransfer.safe._portfolio_trials import (
    MAX_TRIALS,
    collect_trials,
    plan_trials,
    trial_posteriors,
    trial_prior,
)
from sktransfer.safe._settled import Settled, leading_encoder

__all__ = ["TransferPortfolioClassifier", "TransferPortfolioRegressor"]

# members below this weight are left out of predict
_NEGLIGIBLE = 1e-4
# what a member that cannot be fitted raises: the errors of boosting packages derive
# from Exception alone; each one is told in skipped_
_CANNOT_FIT = Exception
# the user's weights, where others stand for exposures
_OWN_WEIGHT = "own_weight"


class _TransferPortfolio(
    CallbackSupportMixin, BlendMixin, TransferMixin, BaseEstimator
):
    """What both portfolios share."""

    __metadata_request__fit = {
        "sample_domain": True,
        "groups": True,
        "sample_weight": True,
        "exposure": True,
    }
    __metadata_request__predict = {"exposure": True}

    _parameter_constraints: dict[str, Any] = {
        "learner": [HasMethods(["fit", "predict"]), None],
        "members": [StrOptions({"auto"}), list, tuple],
        "aggregation": [StrOptions({"exponential", "q", "convex", "select"})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "risk": [Interval(Real, 0, 1, closed="neither")],
        "prior": [StrOptions({"trials", "uniform"}), dict],
        "atom": [Interval(Real, 0, 1, closed="left")],
        "inflation": [Interval(Real, 0, None, closed="neither")],
        "interval_for": [StrOptions(set(INTERVAL_FOR))],
        "cv": ["cv_object"],
        "max_rows": [Interval(Integral, 1, None, closed="left"), None],
        "solver": [StrOptions(SOLVERS)],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        learner: Any = None,
        *,
        members: Any = "auto",
        aggregation: str = "exponential",
        temperature: float = TEMPERATURE,
        risk: float = PORTFOLIO_RISK,
        prior: Any = "uniform",
        atom: float = PORTFOLIO_ATOM,
        inflation: float = INFLATION,
        interval_for: str = "fitted",
        cv: Any = 10,
        max_rows: int = MAX_ROWS,
        solver: Any = "auto",
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.learner = learner
        self.members = members
        self.aggregation = aggregation
        self.temperature = temperature
        self.risk = risk
        self.prior = prior
        self.atom = atom
        self.inflation = inflation
        self.interval_for = interval_for
        self.cv = cv
        self.max_rows = max_rows
        self.solver = solver
        self.n_jobs = n_jobs
        self.random_state = random_state

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_domain: Any = None,
        groups: Any = None,
        **fit_params: Any,
    ) -> Self:
        """Fit and weigh the members on source and target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN or None for unlabeled target rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, such as the patient, where units have several rows: a
            unit is never fitted on and tested at once. Rows of a source, or without a
            label, may have none (None or NaN).
        **fit_params : dict
            ``sample_weight``, of shape (n_samples,). Held-out rows count by it, too; a
            row of weight 0 does not exist. Members that take no weights are in
            ``skipped_``. ``exposure``, of shape (n_samples,), for learners with a log
            link: a row of twice the exposure is expected to have twice the label.

        Returns
        -------
        self : object
            The fitted portfolio.

        Raises
        ------
        DomainError
            If the rows break the domain contract.
        UnlabeledTargetError
            If no target row is labeled, or all of them have one class.
        """
        self._check_members()
        data = self._validate_domains(
            X, y, sample_domain, skip_check_X=self._hands_rows_on(X)
        )
        unknown = set(fit_params) - {"sample_weight", "exposure"}
        if unknown:
            raise TypeError(
                f"{type(self).__name__}.fit takes no {', '.join(sorted(unknown))}."
            )
        check_groups(groups, data)
        weights = fit_params.get("sample_weight")
        if weights is not None:
            weights = check_weights(weights, len(data.labeled))
        exposure, own = fit_params.get("exposure"), weights
        if exposure is not None:
            exposure = check_exposure(exposure, len(data.labeled), self, data.labeled)
            given = {"sample_weight": weights, "exposure": exposure}
            rates, given = without_exposure(data.y, given, self)
            data, weights = replace(data, y=rates), given["sample_weight"]
        params = {"groups": groups, "sample_weight": weights, "exposure": exposure}
        params[_OWN_WEIGHT] = None if exposure is None else own
        params = {name: value for name, value in params.items() if value is not None}
        existing, handed = data, params
        if weights is not None:
            kept = weights > 0
            existing, handed = data.take(kept), slice_params(params, kept)
            if not existing.n_labeled:
                raise UnlabeledTargetError(
                    "sample_weight is zero for all labeled target rows, so nothing is "
                    "left to learn the target from."
                )
            known = np.unique(existing.y_labeled)
            if is_classifier(self) and len(known) == 1:
                raise UnlabeledTargetError(
                    "The labeled target rows with a positive sample_weight hold one "
                    f"class, {known.tolist()[0]!r}: label a row of another class."
                )
        self._check_classes(existing)
        warn_of_zeros(existing.y_labeled, self)
        table = self._settle(existing)
        planned = members = self._plan(existing, table)
        folds = self._hold_out(data, params)
        members, self.skipped_ = _with_shared_sources(
            members, existing, handed, **self._budget()
        )
        progress = Progress(self, 2 + (self.prior == "trials"))
        same = len(existing.labeled) == len(data.labeled)
        prepared = self._fit_members(
            members, existing, handed, folds if same else [], progress
        )
        self._set_columns(existing)
        trials = self._run_trials(existing, handed, table, progress)
        evidence = self._cross_fit(data, folds, params, prepared, progress)
        self._warn_without_sources(planned)
        self._weigh(evidence, trials)
        progress.end()
        return self

    def _hands_rows_on(self, X: Any) -> bool:
        """Whether the members check the values: learners of the user, and tables."""
        if not isinstance(self.members, str):
            return True
        if sparse.issparse(X):
            return False  # refused: not every member takes it
        if self.learner is not None:
            return True
        return hasattr(X, "columns") or np.asarray(X).dtype.kind == "O"

    def _check_members(self) -> None:
        if not isinstance(self.members, str):
            for entry in self.members:
                if not (isinstance(entry, tuple) and len(entry) == 2):
                    raise TypeError(
                        f"members must be a list of (name, estimator), got {entry!r}."
                    )
            names = [name for name, _ in self.members]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"members holds the name {twice.pop()!r} twice.")
        right, kind = (
            (is_classifier, "classifier")
            if is_classifier(self)
            else (is_regressor, "regressor")
        )
        given = [] if isinstance(self.members, str) else list(self.members)
        given = [(f"members[{name!r}]", model) for name, model in given]
        if self.learner is not None:
            given.append(("learner", self.learner))
        for name, model in given:
            if not right(model):
                raise TypeError(
                    f"{name}={model!r} must be a {kind} for {type(self).__name__}."
                )

    def _check_classes(self, data: Any) -> None:
        if not is_classifier(self) or not data.n_source:
            return
        known = np.unique(data.y_labeled)
        if len(known) == 1 and len(np.unique(data.labels(data.labeled))) > 1:
            raise UnlabeledTargetError(
                f"The labeled target rows hold one class, {known.tolist()[0]!r}, so "
                "there is no classifier to fall back on. Label a row of another class."
            )

    def _settle(self, data: Any) -> tuple[Settled, Any, Any]:
        """Return the encoders, the learner and the roles, read from the whole table."""
        settled = Settled(data)
        learner = settled(self.learner)
        encoder = leading_encoder(learner)
        roles = find_roles(data) if encoder is None else encoder.roles
        return settled, learner, roles

    def _budget(self) -> dict[str, Any]:
        """Return how many rows of each source the shared source fits may have."""
        seed = self.random_state if isinstance(self.random_state, Integral) else 0
        auto = isinstance(self.members, str)
        return {"max_rows": self.max_rows if auto else None, "random_state": seed}

    def _plan(self, data: Any, table: tuple[Settled, Any, Any]) -> list[Any]:
        """Return the members that these rows allow for; `table` is of _settle."""
        settled, learner, roles = table
        seed = self.random_state if isinstance(self.random_state, Integral) else 0
        options = {
            "classification": is_classifier(self),
            "roles": roles,
            "power": deviance_power(self),
            "random_state": seed,
        }
        if isinstance(self.members, str):
            members = target_members(learner, **options)
            if data.n_source:
                members += transfer_members(
                    learner, data, max_rows=self.max_rows, **options
                )
        else:
            given = [(name, settled(model)) for name, model in self.members]
            members = members_of(given, learner, **options)
        if data.n_source:
            return members
        return [m for m in members if m.target_only or _holds_models(m.estimator)]

    def _fit_members(
        self,
        members: list[Any],
        data: Any,
        params: dict[str, Any],
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
        progress: Progress,
    ) -> dict[str, Any]:
        """Fit every member on all rows; leave out those that cannot be fitted.

        Return name -> fitters of the folds, of those that have them from this fit.
        """
        with progress.stage("members", len(members)) as stage:
            results = Parallel(n_jobs=self.n_jobs)(
                delayed(run_task)(task, _fit_with_folds, member, data, params, folds)
                for task, member in zip(stage.tasks, members, strict=True)
            )
        self._members, self.members_, self._seconds = [], {}, {}
        errors, prepared = [], {}
        for member, (fit, fitters) in zip(members, results, strict=True):
            model, seconds, error = fit
            if error is None:
                prepared[member.name] = fitters
                self._members.append(member)
                self.members_[member.name] = model
                self._seconds[member.name] = seconds
            else:
                errors.append(error)
                self.skipped_[member.name] = f"{type(error).__name__}: {error}"
        if not any(m.target_only for m in self._members):
            raise errors[0]
        return prepared

    def _warn_without_sources(self, planned: list[Any]) -> None:
        """Say aloud that none of the members that use a source is left."""
        lost = [m.name for m in planned if not m.target_only]
        if lost and all(m.target_only for m in self._members):
            warn(
                "No member that uses a source can be fitted, so nothing is "
                f"transferred. {lost[0]}: {self.skipped_[lost[0]]} All reasons are in "
                "skipped_.",
                UserWarning,
            )

    def _hold_out(
        self, data: Any, params: dict[str, Any]
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Return the folds."""
        if isinstance(self.cv, Iterator):
            self.cv = list(self.cv)  # a generator, which the next fit needs again
        return target_folds(
            data,
            self.cv,
            groups=params.get("groups"),
            sample_weight=params.get("sample_weight"),
            stratify=is_classifier(self),
            random_state=self.random_state,
        )

    def _cross_fit(
        self,
        data: Any,
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
        params: dict[str, Any],
        prepared: dict[str, Any],
        progress: Progress,
    ) -> Evidence:
        """Return every member's predictions for held-out labeled target rows."""
        pair = PairMeasure(data, params, None, self._columns)
        reference = None
        if len(pair.reference):
            reference = take_rows(data.X, pair.reference)
        tasks = [
            (member, fold, fitter)
            for member in self._members
            for fold, fitter in zip(
                folds, prepared[member.name] or [None] * len(folds), strict=True
            )
        ]
        with progress.stage("held-out samples", len(tasks)) as stage:
            results = Parallel(n_jobs=self.n_jobs)(
                delayed(run_task)(
                    step, _held_out_answers, member, self.members_[member.name], data,
                    *fold, self._columns, params,
                    None if _answers_known(member, fold, folds) else reference, fitter,
                )
                for step, (member, fold, fitter) in zip(stage.tasks, tasks, strict=True)
            )  # fmt: skip
        held_out = {}
        for member in list(self._members):
            each = zip(tasks, results, strict=True)
            mine = [result for task, result in each if task[0] is member]
            failed = [error for _, _, error in mine if error is not None]
            self._seconds[member.name] += sum(seconds for _, seconds, _ in mine)
            if failed:
                error = failed[0]
                self.skipped_[member.name] = (
                    f"{type(error).__name__} without some of the target rows: {error}"
                )
                self._members.remove(member)
                del self.members_[member.name]
            elif folds:
                tests, answers = zip(*(found for found, _, _ in mine), strict=True)
                if reference is not None:
                    first = answers[0]
                    answers = [first if one is None else one for one in answers]
                held_out[member.name] = np.concatenate(tests), answers
        if not any(m.target_only for m in self._members):
            raise ValueError(
                "No target-only member can be fitted without some of the labeled "
                f"target rows: {self.skipped_}. Label more rows or lower cv."
            )
        self._calibrate(pair, folds, held_out)
        return Evidence(pair, folds, self._read(pair, folds, held_out))

    def _calibrate(
        self,
        pair: PairMeasure,
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
        held_out: dict[str, Any],
    ) -> None:
        """Let the columns learn how to read what the members say of held-out rows."""
        if folds:
            y = _tested(pair.data, folds)
            weights, _ = row_evidence(pair.data, folds, **pair.units)
            said = {name: tests for name, (tests, _) in held_out.items()}
            self._columns = self._columns.calibrated(said, y, weights)
        X = pair.data.X_labeled
        self._columns = pair.columns = self._columns.completed(self.members_, X)

    def _read(
        self,
        pair: PairMeasure,
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
        held_out: dict[str, Any],
    ) -> dict[str, Any]:
        """Return residuals and answers of the members, in calibrated columns."""
        goal = self._columns.code(_tested(pair.data, folds)) if folds else None
        found = {}
        for name, (tests, answers) in held_out.items():
            residuals = goal - self._columns.read(tests, name)
            each = [self._columns.read(one, name) for one in answers if one is not None]
            found[name] = HeldOut(residuals, np.stack(each) if each else None)
        return found

    def _set_columns(self, data: Any) -> None:
        """Decide what is blended: values, probabilities, class shares or votes."""
        classify = is_classifier(self)
        self._columns = common_columns(
            list(self.members_.values()),
            data.labels(data.labeled) if classify else data.y_labeled,
            classify=classify,
            power=deviance_power(self),
        )

    def _run_trials(
        self,
        data: Any,
        params: dict[str, Any],
        table: tuple[Settled, Any, Any],
        progress: Progress,
    ) -> list[Any]:
        """Return what the members answer where a source is the target of the others."""
        if self.prior != "trials":
            return []
        trials = plan_trials(
            data,
            params,
            classification=is_classifier(self),
            random_state=self.random_state,
            max_trials=MAX_TRIALS,
        )
        tasks = []
        for trial in trials:
            part = slice_params(params, trial.rows)
            members = [
                member
                for member in self._plan(trial.data, table)
                if not _holds_models(member.estimator)
            ]
            members, _ = _with_shared_sources(
                members, trial.data, part, **self._budget()
            )
            tasks += [(trial, member, part) for member in members]
        with progress.stage("trials", len(tasks)) as stage:
            answers = Parallel(n_jobs=self.n_jobs)(
                delayed(run_task)(step, _trial_residuals, *task, data, self._columns)
                for step, task in zip(stage.tasks, tasks, strict=True)
            )
        return collect_trials(trials, tasks, answers, data, self._columns)

    def _weigh(self, evidence: Evidence, trials: list[Any]) -> None:
        """Set the weights, the gap and the table of members."""
        target = [m.name for m in self._members if m.target_only]
        transfer = [m.name for m in self._members if not m.target_only]
        rule = self._rule
        prior = self._check_prior()
        blend_prior = self._learn_prior(prior, trials, evidence.n_units)
        weights_0 = evidence.weigh(target, prior, rule)
        out_0 = evidence.out_of_fold(target, prior, rule)
        self.n_held_out_ = evidence.n_units
        weight = 0.0
        self.weight_posterior_ = BlendInfo(np.nan, np.inf, 0)
        self.ntg_, self.ntg_interval_ = 0.0, np.zeros(2)
        self.harm_probability_ = 0.5
        weights_1 = {}
        if transfer:
            weights_1 = evidence.weigh(transfer, prior, rule)
            out_1 = evidence.out_of_fold(transfer, prior, rule)
            without, within = evidence.pair_of(out_1, out_0)
            self.weight_posterior_ = blend_posterior(
                without,
                within,
                n_units=evidence.n_units,
                inflation=self.inflation,
            )
            weight = blend_weight(
                self.weight_posterior_, self.risk, blend_prior.atom, blend_prior.whole
            )
            weight = weight if weight >= LEAST_WEIGHT else 0.0
            gap = evidence.gap(out_1, out_0)
            self.ntg_, self.ntg_interval_ = _read(gap, self.interval_for)
            self.harm_probability_ = 0.5 if gap is None else gap.probability_positive()
        blend = {name: (1 - weight) * w for name, w in weights_0.items()}
        blend |= {name: weight * w for name, w in weights_1.items()}
        self.weights_ = _without_negligible(
            {m.name: blend[m.name] for m in self._members}
        )
        self.transferred_ = weight > 0
        self.member_table_ = self._table(evidence, out_0)
        self.target_only_ = self._part(weights_0, transferred=False)
        self.transfer_ = (
            self._part(weights_1, transferred=True) if transfer else self.target_only_
        )

    def _learn_prior(
        self, prior: dict[str, Any], trials: list[Any], n_units: int
    ) -> BlendPrior:
        """Put the evidence of the trials into the priors of members and blend."""
        base = BlendPrior(self.atom, 0.0)
        transfer = [m for m in self._members if not m.target_only]
        infos = []
        if trials and transfer:
            learned = trial_prior(
                trials, transfer, worth=TRIAL_WORTH, temperature=self.temperature
            )
            prior.update(zip([m.name for m in transfer], learned, strict=True))
            infos = trial_posteriors(
                trials, self._rule, n_units=n_units or 1, inflation=self.inflation
            )
            center, scale, dof = np.array([astuple(info) for info in infos]).T
            base = fit_blend_prior(
                center, scale, dof, BlendPrior(TRIAL_ATOM, TRIAL_WHOLE)
            )
        self.atom_ = float(base.atom)
        self.prior_ = _shares(prior, self._members)
        self.trial_table_ = {
            "domain": np.array([result.trial.domain for result in trials], dtype=int),
            "best_weight": np.array([info.minimizer for info in infos]),
            "standard_error": np.array([info.standard_error for info in infos]),
        }
        return base

    def _rule(
        self, residuals: NDArray[Any], n: int, prior: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the weights of members by their residuals (member, row, column)."""
        if not n:
            return prior / prior.sum()
        if self.aggregation in ("exponential", "select"):
            losses = np.sum(residuals**2, axis=(1, 2))
            if self.aggregation == "select":
                return select_weights(losses, prior)
            return exponential_weights(losses, n, self.temperature, prior)
        gram = np.einsum("inc,jnc->ij", residuals, residuals)
        if self.aggregation == "convex":
            return convex_weights(gram, solver=self.solver)[0]
        return q_weights(gram, n, self.temperature, prior, solver=self.solver)[0]

    def _check_prior(self) -> dict[str, Any]:
        prior = {m.name: 1.0 for m in self._members}
        given: dict[str, Any] = self.prior if isinstance(self.prior, dict) else {}
        for name, value in given.items():
            if name not in prior and name not in self.skipped_:
                raise ValueError(
                    f"prior names {name!r}, which is not a member. Members: "
                    f"{', '.join([*prior, *self.skipped_])}."
                )
            if not isinstance(value, Real) or not 0 < float(value) < np.inf:
                raise ValueError(
                    f"prior[{name!r}] must be a positive number, got {value!r}."
                )
            prior[name] = float(value)
        return prior

    def _table(self, evidence: Evidence, out_0: HeldOut) -> dict[str, Any]:
        """Return the evidence of the held-out rows on every member."""
        columns = {}
        names = [m.name for m in self._members]
        gaps = []
        for name in names:
            gap = evidence.gap(evidence.held_out.get(name), out_0)
            gap, interval = _read(gap, self.interval_for)
            gaps.append([gap, *interval])
        columns["name"] = np.array(names, dtype=object)
        columns["target_only"] = np.array([m.target_only for m in self._members])
        columns["loss"] = np.array([evidence.loss(name) for name in names])
        columns["gap"], columns["gap_lower"], columns["gap_upper"] = np.transpose(gaps)
        columns["weight"] = np.array([self.weights_[name] for name in names])
        columns["seconds"] = np.array([self._seconds[name] for name in names])
        return columns

    def _part(self, weights: dict[str, Any], *, transferred: bool) -> Any:
        """Return a fitted portfolio of some of the members."""
        part = clone(self)
        part.__dict__.update(
            {
                key: value
                for key, value in vars(self).items()
                if key in {"n_features_in_", "feature_names_in_", "_columns"}
            }
        )
        part.weights_ = _without_negligible(weights)
        part.members_ = {name: self.members_[name] for name in weights}
        part.transferred_ = transferred
        return part

    def _delegate(self, method: str, X: Any, params: dict[str, Any]) -> NDArray[Any]:
        check_is_fitted(self)
        X = self._validate_X(
            X, get_tags(self), reset=False, skip_check=self._hands_rows_on(X)
        )
        return self._answer(method, X, params)

    def _check_answers(self, method: str) -> None:
        if method == "predict":
            return
        if not is_classifier(self):
            raise AttributeError(f"{type(self).__name__} has no {method}")
        if method == "predict_log_proba":
            method = "predict_proba"
        if hasattr(self, "_columns"):
            if isinstance(self._columns, OutputColumns) and method[-5:] != "proba":
                raise AttributeError(f"several outputs have no {method}")
            if self._columns.method not in {method, "predict_proba"}:
                raise AttributeError(f"a member of the portfolio has no {method}")
            return
        models = [] if isinstance(self.members, str) else [m for _, m in self.members]
        for model in [self.learner, *models]:
            if model is not None and not hasattr(model, "predict_proba"):
                getattr(model, method)

    def _answer(self, method: str, X: Any, params: dict[str, Any]) -> NDArray[Any]:
        domain = params.pop("sample_domain", None)
        if domain is None:
            return super()._answer(method, X, params)
        domain = check_sample_domain(domain, _num_samples(X))
        asked = in_domains(self, ["members_"], method, domain)
        return asked._answer(method, X, params)

    def _blend(self, X: Any) -> NDArray[Any]:
        """Return blended predictions, coded, one row per row of X."""
        used = {name: weight for name, weight in self.weights_.items() if weight}
        models = [self.members_[name] for name in used]
        return self._columns.blend(models, list(used.values()), X, list(used))

    def _sole_model(self) -> Any:
        used = [name for name, weight in self.weights_.items() if weight]
        return self.members_[used[0]] if len(used) == 1 else None

    def without_sources(self) -> Any:
        r"""Return the unfitted :math:`\theta(0,T)`: a copy without source models.

        Returns
        -------
        target_only : estimator
            The portfolio of the target-only members.
        """
        copy = clone(self)
        if isinstance(self.members, str):
            return copy
        copy.members = [
            (name, without_sources(model))
            for name, model in self.members
            if is_target_only(model)
        ]
        return copy

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether the weights have been found."""
        return hasattr(self, "weights_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.classification = isinstance(self, ClassifierMixin)
        tags.transfer_tags.regression = isinstance(self, RegressorMixin)
        models = [] if isinstance(self.members, str) else [m for _, m in self.members]
        tags.input_tags.sparse = bool(models) and all(
            get_tags(model).input_tags.sparse for model in models
        )
        tags.input_tags.allow_nan = all(
            get_tags(m).input_tags.allow_nan
            for m in [*models, self.learner]
            if m is not None
        )
        tags.transfer_tags.uses_unlabeled = any(map(_uses_unlabeled, models))
        tags.transfer_tags.unseen_domain = any(map(_takes_unseen_domains, models))
        several = [m for m in [*models, self.learner] if m is not None]
        tags.target_tags.multi_output = bool(several) and all(
            get_tags(m).target_tags.multi_output for m in several
        )
        return tags


class TransferPortfolioClassifier(ClassifierMixin, _TransferPortfolio):
    r"""Portfolio of classifiers with and without sources, weighed on held-out rows.

    Members that use the sources in different ways are compared on held-out labeled
    target rows. The better a member is there, the more weight it
    gets; the guard of :class:`TransferGuard` then blends the members that saw a
    source with those that did not. This is the estimator to reach for first, and its
    table of members answers which way of transfer pays.

    Parameters
    ----------
    learner : classifier, default=None
        Learner of the members that "auto" means. None: a linear model and boosted
        trees of scikit-learn, after an encoding of text, categories and missing
        values; X may then be an array or a dataframe of such columns.
    members : "auto" or list of (str, estimator), default="auto"
        The members, with names. An estimator of this library (or a pipeline that ends
        in one) gets sources and target; a plain classifier, or one in
        :class:`~sktransfer.baselines.TargetOnly`, is a target-only member and gets
        the labeled target rows. If none is, the target-only members of "auto" are
        added. "auto": see the table in Notes.
    aggregation : {"exponential", "q", "convex", "select"}, default="exponential"
        How members are weighed, see Notes.
    temperature : float in (0, inf), default=12.0
        T of "exponential" and "q". Small: the best member gets all; large: the prior
        is left.
    risk : float in (0, 1), default=0.4
        Tolerated probability that the weight of transfer is above the best one, as in
        :class:`TransferGuard`. Smaller is safer and keeps less of the gain.
    prior : {"trials", "uniform"} or dict of str to float, default="uniform"
        What is believed of the members before a label of the target is seen.
        "trials": each source in turn is the target of the others, with as many labels
        as the target has, and what was best there is the prior of the members and of
        the weight of transfer; see Notes. It needs two sources with twice as many
        labels as the target and costs one more fit of every member per trial, so
        at most 8 beside the ``cv`` + 1 of each. "uniform": all alike.
        A dict: positive prior weights by name of member, relative to 1 of those not
        named. Copies of a member that share its prior change nothing for
        "exponential" and "q".
    atom : float in [0, 1), default=0.2
        Prior probability that the best weight of transfer is 0, as in
        :class:`TransferGuard`. Where there are trials, they take its place.
    inflation : float in (0, inf), default=1.5
        Factor by which the posterior of that weight is widened, as in
        :class:`TransferGuard`.
    interval_for : {"average", "fitted"}, default="fitted"
        Whether ``ntg_interval_`` and the intervals of ``member_table_`` are about the
        gaps of the models as they are fitted, or about average gaps over labeled
        target samples of this size, with these sources.
    cv : int, splitter or iterable, default=10
        How the labeled target rows are held out, as in
        :func:`~sktransfer.metrics.cross_val_ntg`. With as many labeled target rows
        or fewer an int means leave-one-out.
    max_rows : int in [1, inf) or None, default=10000
        Most rows of each source in every fit of trees and of a ``learner`` that is
        not linear; see :class:`~sktransfer.baselines.Pooled`. Used by "auto".
    solver : {"auto", "cvxpy"}, default="auto"
        Of the program of "q" and "convex": Newton's method and an active set, or
        cvxpy.
    n_jobs : int, default=None
        Number of fits, of a member on a fold, that run in parallel.
    random_state : int, RandomState instance or None, default=0
        Deals the labeled target rows to the folds when ``cv`` is an int; an int also
        seeds the boosted trees and the samples of ``max_rows`` (otherwise 0 does).

    Attributes
    ----------
    members_ : dict of str to estimator
        The fitted members.
    weights_ : dict of str to float
        Their weights in the prediction: nonnegative, with the sum 1. Members of
        weight 0 are not asked.
    skipped_ : dict of str to str
        Members that could not be fitted, each with the error.
    member_table_ : dict of str to ndarray of shape (n_members,)
        Evidence of the held-out rows: ``name``, ``target_only``, ``loss``
        (the Brier score), ``gap`` (loss less that of ``target_only_``,
        negative: better), ``gap_lower`` and ``gap_upper`` (its 95 % interval),
        ``weight``, ``seconds`` (of all its fits). It makes a ``pandas.DataFrame``.
    target_only_ : estimator
        The fitted :math:`\theta(0,T)`: the portfolio of the target-only members.
    transfer_ : estimator
        The fitted portfolio of the members that saw a source.
    transferred_ : bool
        Whether the sources have a part in the prediction.
    ntg_ : float
        Estimated negative transfer gap of ``transfer_`` to ``target_only_``, in the
        units of ``loss``; positive: the sources hurt. NaN if no row could be held out.
    ntg_interval_ : ndarray of shape (2,)
        95 % confidence interval of the gap that ``interval_for`` names.
    harm_probability_ : float
        Probability that the gap of ``transfer_`` and ``target_only_`` is positive, as
        in :class:`TransferGuard`.
    weight_posterior_ : object
        Evidence of the held-out rows on the best weight of ``transfer_``: see
        :class:`TransferGuard`.
    n_held_out_ : int
        Number of labeled target rows that the evidence comes from.
    prior_ : dict of str to float
        Prior weights of the members, with the sum 1 among those that saw a source and
        among the others.
    atom_ : float
        Prior probability that the best weight of transfer is 0.
    trial_table_ : dict of str to ndarray of shape (n_trials,)
        Trials: ``domain`` (the source that was the target), ``best_weight`` of
        transfer there and its ``standard_error``. Empty without trials.
    classes_ : ndarray of shape (n_classes,)
        Classes of source and target.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TransferGuard : The same for one way of transfer.
    TransferPortfolioRegressor : The same for real labels.

    Notes
    -----
    *Members.* With ``members="auto"`` and K sources:

    ======================  =======================================================
    name                    what it is
    ======================  =======================================================
    target_linear           logistic regression on the labeled target rows
    target_L                the learner L on the labeled target rows
    source_L                L on all sources
    pooled_L                L on sources and target
    pooled_domain_L         the same, with the domain as a column
    downweighted_L          L on both, a source row counts 0.1
    uowq                    :class:`~sktransfer.multisource.UOWQ`, if L is linear
    offset                  :class:`~sktransfer.hypothesis.OffsetTransfer`: a linear
                            correction of L on all sources
    stacking                :class:`~sktransfer.hypothesis.SourcePredictions`: L on each
                            source as columns of a linear model on the target
    source_k_L              L on source k, if 2 <= K <= 4
    ======================  =======================================================

    ``learner=None`` stands for L = linear and L = trees (trees in the last rows):
    13 members, 13 + K with few sources. A given ``learner`` is L alone, named
    "learner": 8 members, also if it is linear, and K more with few sources.
    Linear is what has a likelihood in
    :func:`~sktransfer.multisource.likelihood_of`, also at the end of a pipeline; such
    a learner is its own linear target-only member. A learner without
    ``sample_weight`` is not downweighted: the member is then in ``skipped_``.

    *Weights.* Member j leaves the residuals :math:`r_{ij}` on the n held-out
    rows (classes coded as indicators),
    :math:`S_j = \sum_i \lVert r_{ij} \rVert^2`. With the
    prior :math:`\pi` and :math:`s^2 = \min_j S_j / n`,

    - "exponential": :math:`w_j \propto \pi_j \exp(-S_j / (2 T s^2))`;
    - "q": the minimum over the simplex of :math:`\tfrac12 R(f_w) + \tfrac12 \sum_j
      w_j R(f_j) + \tfrac{2 T s^2}{n} \sum_j w_j \log(w_j / \pi_j)`, R the mean
      squared residual;
    - "convex": the least :math:`R(f_w)` on the simplex;
    - "select": the least :math:`S_j`.

    The rule is applied twice, among the members that saw a source and among the
    target-only ones. For fixed members, Gaussian errors of variance
    :math:`\sigma^2` and :math:`2 T s^2 \ge 4 \sigma^2` the first two have a risk of
    at most the best member's plus :math:`2 T s^2 \log(1/\pi_j) / n` [1]_ [2]_. Members
    fitted on the same rows by turns, and :math:`s^2` from these rows, are outside
    this theorem: there it is a rule that simulations support.

    *Blend.* Both aggregates are compared on the held-out rows, where the weights of
    each fold are found without it, and blended by the posterior of
    :class:`TransferGuard` at ``risk``. ``target_only_`` is the standard for "hurt":
    its members are the best learners of few rows, not only ``learner``.

    *Trials.* With ``prior="trials"`` each of K sources with enough labels, the eight
    largest at most, is the target of the others. It gives as many labels as the target
    has, in classification of each class, and at most half of its own; the members are
    compared on up to 500 of its other rows. With their losses :math:`L_{jk}` the prior
    of the members that see a source is

    .. math:: \pi_j \propto \exp\Bigl(-\frac{30}{2 T K} \sum_k
              \frac{L_{jk}}{\min_i L_{ik}}\Bigr),

    worth 30 labels of the mean trial. The best weight of transfer is 0 with the
    probability :math:`p_0`, 1 with :math:`p_1`, else uniform on [0, 1]; both
    probabilities maximize the likelihood of the trials under a Dirichlet prior worth
    one trial, with :math:`p_0 = 0.6` and :math:`p_1 = 0` before. So useless sources,
    of which no trial has a use, get a part in at most 5 % of the draws at
    ``risk`` up to 0.45. The target-only members have a uniform prior: they see target
    rows alone. Members with fitted source models are in no trial, as these may have
    seen the rows of the trial.

    *Progress.* With scikit-learn 1.9 or later callbacks follow the fits:
    ``portfolio.set_callbacks(sklearn.callback.ProgressBar())`` shows a bar for the
    members, the trials and the held-out rows.

    *Cost.* Members that use no label of the target, and the source models of offset
    and stacking, are fitted once for all folds. The fits of a given ``learner`` on the
    folds follow from those on all samples where those of a guard do, see
    :class:`TransferGuard`.

    *What to expect.* ``temperature``, ``risk`` and ``atom`` were chosen on 19 real
    data sets; ``benchmarks/portfolio.md`` has the runs behind these and all other
    defaults. On 18 other sets (62 tasks, mostly with few labels) 3.2 % of the tasks
    were hurt by more than one point of accuracy or R2, by 0.041 on average, the worst
    task lost 0.042, and 52 % of the gain of each run's best member was kept; without
    the guard 12.1 %, 0.061, 0.076 and 65 %. Useless sources keep a
    small weight, 0.03 to 0.25 in simulations: with the guard's ``risk=0.3,
    atom=0.45`` they get one in at most 5 % of the draws, and a third less gain is
    kept.
    With ``prior="trials"`` they get none in 95 % of the draws; on the 18 sets it kept
    62 % and hurt 8.9 % of the tasks.

    *Classifiers without probabilities* answer with class shares, as in
    :class:`TransferGuard`. Where one member has all of few held-out rows right by a
    wide margin, its slope is steep and the rule gives it nearly all the weight.

    *Few labels.* With one labeled row per class, or one in all, no row can be held
    out: the priors are left. Then members weigh by ``prior`` and transfer by the
    prior of its weight: ``(risk - atom) / (1 - atom)``, or 0 where ``atom`` is larger.

    References
    ----------
    .. [1] G. Leung, A. R. Barron. Information theory and mixing least-squares
       regressions. IEEE Transactions on Information Theory 52 (2006).
       https://doi.org/10.1109/TIT.2006.878172

    .. [2] D. Dai, P. Rigollet, T. Zhang. Deviation optimal learning using greedy
       Q-aggregation. Annals of Statistics 40 (2012).
       https://doi.org/10.1214/12-AOS1025

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.safe import TransferPortfolioClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(830, 3))
    >>> domain = np.repeat([1, -1], [300, 30])
    >>> y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
    >>> portfolio = TransferPortfolioClassifier(cv=5)
    >>> _ = portfolio.fit(X[:330], y[:330], sample_domain=domain)
    >>> models = portfolio, portfolio.target_only_
    >>> score, alone = (model.score(X[330:], y[330:]) for model in models)
    >>> score > alone + 0.1
    True
    """

    score = BlendMixin.score

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes of source and target, shape (n_classes,)."""
        check_is_fitted(self)
        return self._columns.classes


class TransferPortfolioRegressor(RegressorMixin, _TransferPortfolio):
    r"""Portfolio of regressors with and without sources, weighed on held-out rows.

    Members that use the sources in different ways are compared on held-out labeled
    target rows. The better a member is there, the more weight it
    gets; the guard of :class:`TransferGuard` then blends the members that saw a
    source with those that did not. This is the estimator to reach for first, and its
    table of members answers which way of transfer pays.

    Parameters
    ----------
    learner : regressor, default=None
        Learner of the members that "auto" means. None: a linear model and boosted
        trees of scikit-learn, after an encoding of text, categories and missing
        values; X may then be an array or a dataframe of such columns.
    members : "auto" or list of (str, estimator), default="auto"
        The members, with names. An estimator of this library (or a pipeline that ends
        in one) gets sources and target; a plain regressor, or one in
        :class:`~sktransfer.baselines.TargetOnly`, is a target-only member and gets
        the labeled target rows. If none is, the target-only members of "auto" are
        added. "auto": see the table in Notes.
    aggregation : {"exponential", "q", "convex", "select"}, default="exponential"
        How members are weighed, see Notes.
    temperature : float in (0, inf), default=12.0
        T of "exponential" and "q". Small: the best member gets all; large: the prior
        is left.
    risk : float in (0, 1), default=0.4
        Tolerated probability that the weight of transfer is above the best one, as in
        :class:`TransferGuard`. Smaller is safer and keeps less of the gain.
    prior : {"trials", "uniform"} or dict of str to float, default="uniform"
        What is believed of the members before a label of the target is seen.
        "trials": each source in turn is the target of the others, with as many labels
        as the target has, and what was best there is the prior of the members and of
        the weight of transfer; see Notes. It needs two sources with twice as many
        labels as the target and costs one more fit of every member per trial, so
        at most 8 beside the ``cv`` + 1 of each. "uniform": all alike.
        A dict: positive prior weights by name of member, relative to 1 of those not
        named. Copies of a member that share its prior change nothing for
        "exponential" and "q".
    atom : float in [0, 1), default=0.2
        Prior probability that the best weight of transfer is 0, as in
        :class:`TransferGuard`. Where there are trials, they take its place.
    inflation : float in (0, inf), default=1.5
        Factor by which the posterior of that weight is widened, as in
        :class:`TransferGuard`.
    interval_for : {"average", "fitted"}, default="fitted"
        Whether ``ntg_interval_`` and the intervals of ``member_table_`` are about the
        gaps of the models as they are fitted, or about average gaps over labeled
        target samples of this size, with these sources.
    cv : int, splitter or iterable, default=10
        How the labeled target rows are held out, as in
        :func:`~sktransfer.metrics.cross_val_ntg`. With as many labeled target rows
        or fewer an int means leave-one-out.
        ``RepeatedKFold(n_splits=10, n_repeats=3)`` kept two points more of the gain
        in ``benchmarks/portfolio.md``, at three times the fits.
    max_rows : int in [1, inf) or None, default=10000
        Most rows of each source in every fit of trees and of a ``learner`` that is
        not linear; see :class:`~sktransfer.baselines.Pooled`. Used by "auto".
    solver : {"auto", "cvxpy"}, default="auto"
        Of the program of "q" and "convex": Newton's method and an active set, or
        cvxpy.
    n_jobs : int, default=None
        Number of fits, of a member on a fold, that run in parallel.
    random_state : int, RandomState instance or None, default=0
        Deals the labeled target rows to the folds when ``cv`` is an int; an int also
        seeds the boosted trees and the samples of ``max_rows`` (otherwise 0 does).

    Attributes
    ----------
    members_ : dict of str to estimator
        The fitted members.
    weights_ : dict of str to float
        Their weights in the prediction: nonnegative, with the sum 1. Members of
        weight 0 are not asked.
    skipped_ : dict of str to str
        Members that could not be fitted, each with the error.
    member_table_ : dict of str to ndarray of shape (n_members,)
        Evidence of the held-out rows: ``name``, ``target_only``, ``loss``
        (the mean squared error), ``gap`` (loss less that of ``target_only_``,
        negative: better), ``gap_lower`` and ``gap_upper`` (its 95 % interval),
        ``weight``, ``seconds`` (of all its fits). It makes a ``pandas.DataFrame``.
    target_only_ : estimator
        The fitted :math:`\theta(0,T)`: the portfolio of the target-only members.
    transfer_ : estimator
        The fitted portfolio of the members that saw a source.
    transferred_ : bool
        Whether the sources have a part in the prediction.
    ntg_ : float
        Estimated negative transfer gap of ``transfer_`` to ``target_only_``, in the
        units of ``loss``; positive: the sources hurt. NaN if no row could be held out.
    ntg_interval_ : ndarray of shape (2,)
        95 % confidence interval of the gap that ``interval_for`` names.
    harm_probability_ : float
        Probability that the gap of ``transfer_`` and ``target_only_`` is positive, as
        in :class:`TransferGuard`.
    weight_posterior_ : object
        Evidence of the held-out rows on the best weight of ``transfer_``: see
        :class:`TransferGuard`.
    n_held_out_ : int
        Number of labeled target rows that the evidence comes from.
    prior_ : dict of str to float
        Prior weights of the members, with the sum 1 among those that saw a source and
        among the others.
    atom_ : float
        Prior probability that the best weight of transfer is 0.
    trial_table_ : dict of str to ndarray of shape (n_trials,)
        Trials: ``domain`` (the source that was the target), ``best_weight`` of
        transfer there and its ``standard_error``. Empty without trials.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TransferGuard : The same for one way of transfer.
    TransferPortfolioClassifier : The same for classes.

    Notes
    -----
    *Members.* With ``members="auto"`` and K sources:

    ======================  =======================================================
    name                    what it is
    ======================  =======================================================
    target_linear           ridge regression on the labeled target rows
    target_L                the learner L on the labeled target rows
    source_L                L on all sources
    pooled_L                L on sources and target
    pooled_domain_L         the same, with the domain as a column
    downweighted_L          L on both, a source row counts 0.1
    uowq                    :class:`~sktransfer.multisource.UOWQ`, if L is linear
    secure_rls              :class:`~sktransfer.hypothesis.SecureRLS`, if L is linear
    empirical_bayes         :class:`~sktransfer.multisource.EmpiricalBayesRidge`, if L
                            is linear
    offset                  :class:`~sktransfer.hypothesis.OffsetTransfer`: a linear
                            correction of L on all sources
    stacking                :class:`~sktransfer.hypothesis.SourcePredictions`: L on each
                            source as columns of a linear model on the target
    source_k_L              L on source k, if 2 <= K <= 4
    ======================  =======================================================

    ``learner=None`` stands for L = linear and L = trees (trees in the last rows):
    15 members, 15 + K with few sources. A given ``learner`` is L alone, named
    "learner": 8 members, 10 if it is linear, and K more with few sources. Linear is
    what has a likelihood in
    :func:`~sktransfer.multisource.likelihood_of`, also at the end of a pipeline; such
    a learner is its own linear target-only member. A learner without
    ``sample_weight`` is not downweighted: the member is then in ``skipped_``.

    *Weights.* Member j leaves the residuals :math:`r_{ij}` on the n held-out
    rows, :math:`S_j = \sum_i \lVert r_{ij} \rVert^2`. With the prior
    :math:`\pi` and :math:`s^2 = \min_j S_j / n`,

    - "exponential": :math:`w_j \propto \pi_j \exp(-S_j / (2 T s^2))`;
    - "q": the minimum over the simplex of :math:`\tfrac12 R(f_w) + \tfrac12 \sum_j
      w_j R(f_j) + \tfrac{2 T s^2}{n} \sum_j w_j \log(w_j / \pi_j)`, R the mean
      squared residual;
    - "convex": the least :math:`R(f_w)` on the simplex;
    - "select": the least :math:`S_j`.

    The rule is applied twice, among the members that saw a source and among the
    target-only ones. For fixed members, Gaussian errors of variance
    :math:`\sigma^2` and :math:`2 T s^2 \ge 4 \sigma^2` the first two have a risk of
    at most the best member's plus :math:`2 T s^2 \log(1/\pi_j) / n` [1]_ [2]_. Members
    fitted on the same rows by turns, and :math:`s^2` from these rows, are outside
    this theorem: there it is a rule that simulations support.

    *Blend.* Both aggregates are compared on the held-out rows, where the weights of
    each fold are found without it, and blended by the posterior of
    :class:`TransferGuard` at ``risk``. ``target_only_`` is the standard for "hurt":
    its members are the best learners of few rows, not only ``learner``.

    *Trials.* With ``prior="trials"`` each of K sources with enough labels, the eight
    largest at most, is the target of the others. It gives as many labels as the target
    has, in classification of each class, and at most half of its own; the members are
    compared on up to 500 of its other rows. With their losses :math:`L_{jk}` the prior
    of the members that see a source is

    .. math:: \pi_j \propto \exp\Bigl(-\frac{30}{2 T K} \sum_k
              \frac{L_{jk}}{\min_i L_{ik}}\Bigr),

    worth 30 labels of the mean trial. The best weight of transfer is 0 with the
    probability :math:`p_0`, 1 with :math:`p_1`, else uniform on [0, 1]; both
    probabilities maximize the likelihood of the trials under a Dirichlet prior worth
    one trial, with :math:`p_0 = 0.6` and :math:`p_1 = 0` before. So useless sources,
    of which no trial has a use, get a part in at most 5 % of the draws at
    ``risk`` up to 0.45. The target-only members have a uniform prior: they see target
    rows alone. Members with fitted source models are in no trial, as these may have
    seen the rows of the trial.

    *Progress.* With scikit-learn 1.9 or later callbacks follow the fits:
    ``portfolio.set_callbacks(sklearn.callback.ProgressBar())`` shows a bar for the
    members, the trials and the held-out rows.

    *Cost.* Members that use no label of the target, and the source models of offset
    and stacking, are fitted once for all folds. The fits of a given ``learner`` on the
    folds follow from those on all samples where those of a guard do, see
    :class:`TransferGuard`.

    *What to expect.* ``temperature``, ``risk`` and ``atom`` were chosen on 19 real
    data sets; ``benchmarks/portfolio.md`` has the runs behind these and all other
    defaults. On 18 other sets (62 tasks, mostly with few labels) 3.2 % of the tasks
    were hurt by more than one point of accuracy or R2, by 0.041 on average, the worst
    task lost 0.042, and 52 % of the gain of each run's best member was kept; without
    the guard 12.1 %, 0.061, 0.076 and 65 %. Useless sources keep a
    small weight, 0.03 to 0.25 in simulations: with the guard's ``risk=0.3,
    atom=0.45`` they get one in at most 5 % of the draws, and a third less gain is
    kept.
    With ``prior="trials"`` they get none in 95 % of the draws; on the 18 sets it kept
    62 % and hurt 8.9 % of the tasks.

    *Few labels.* With one labeled row per class, or one in all, no row can be held
    out: the priors are left. Then members weigh by ``prior`` and transfer by the
    prior of its weight: ``(risk - atom) / (1 - atom)``, or 0 where ``atom`` is larger.

    References
    ----------
    .. [1] G. Leung, A. R. Barron. Information theory and mixing least-squares
       regressions. IEEE Transactions on Information Theory 52 (2006).
       https://doi.org/10.1109/TIT.2006.878172

    .. [2] D. Dai, P. Rigollet, T. Zhang. Deviation optimal learning using greedy
       Q-aggregation. Annals of Statistics 40 (2012).
       https://doi.org/10.1214/12-AOS1025

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.safe import TransferPortfolioRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(830, 3))
    >>> domain = np.repeat([1, -1], [300, 30])
    >>> y = X[:, 0] + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=830)
    >>> portfolio = TransferPortfolioRegressor(cv=5)
    >>> _ = portfolio.fit(X[:330], y[:330], sample_domain=domain)
    >>> models = portfolio, portfolio.target_only_
    >>> score, alone = (model.score(X[330:], y[330:]) for model in models)
    >>> score > alone + 0.1
    True
    """

    __metadata_request__score = {"exposure": True}

    score = BlendMixin.score


def _without_negligible(weights: dict[str, Any]) -> dict[str, Any]:
    kept = {name: w if w >= _NEGLIGIBLE else 0.0 for name, w in weights.items()}
    total = sum(kept.values())
    return {name: float(w / total) for name, w in kept.items()}


def _shares(prior: dict[str, Any], members: list[Any]) -> dict[str, Any]:
    """Return prior weights with the sum 1 on either side."""
    shares = {}
    for member in members:
        side = [m.name for m in members if m.target_only == member.target_only]
        shares[member.name] = float(prior[member.name] / sum(prior[n] for n in side))
    return shares


def _with_shared_sources(
    members: list[Any], data: Any, params: dict[str, Any], **budget: Any
) -> tuple[list[Any], Any]:
    """Fit source models that do not depend on the target once; what cannot be fitted.

    Returns the other members, and name -> error.
    """
    shared, kept, skipped = SharedSources(data, params, **budget), [], {}
    for member in members:
        try:
            kept.append(share_sources(member, shared) if data.n_source else member)
        except _CANNOT_FIT as error:
            skipped[member.name] = f"{type(error).__name__}: {error}"
    return kept, skipped


def _as_counts(
    estimator: Any, data: Any, params: dict[Any, Any]
) -> tuple[Any, dict[Any, Any]]:
    """Return labels and metadata for one member, where there are exposures.

    The portfolio itself compares rates. A member that takes exposures gets counts and
    exposures, for which no request is needed; any other one rates and weights.
    """
    plain = {k: v for k, v in params.items() if k not in ("exposure", _OWN_WEIGHT)}
    exposure = params.get("exposure")
    if exposure is None or not routing_of(estimator).consumes("fit", ["exposure"]):
        return data, plain
    del plain["sample_weight"]
    if _OWN_WEIGHT in params:
        plain["sample_weight"] = params[_OWN_WEIGHT]
    counts = data.y * exposure.reshape(-1, *[1] * (data.y.ndim - 1))
    return replace(data, y=counts), {**plain, "exposure": exposure}


def _fit_with_folds(
    member: Any,
    data: Any,
    params: dict[Any, Any],
    folds: list[tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[Any, Any]:
    """Fit a member on all rows, and on folds where these fits follow from it.

    Return what :func:`_try_fit` does, and a fitter for each fold, or None.
    """
    start, estimator = time.perf_counter(), member.estimator
    weights = ["sample_weight"] if "sample_weight" in params else []
    shares = (
        not (member.shared or member.domain is not None or "exposure" in params)
        and folds
        and not _ignores_target_labels(estimator)
        and leaves_out(estimator, data)
        and set(routing_of(estimator).consumes("fit", weights)) == set(weights)
    )
    if not shares:
        return _try_fit(member, data, params), None
    prepare = prepare_target_only if member.target_only else prepare_folds
    try:
        fitters = prepare(estimator, data, folds, params)
    except _CANNOT_FIT as error:
        return (None, 0.0, error), None
    seconds = time.perf_counter() - start
    model, more, error = _try_fit(member, data, params, fitters[0])
    return (model, seconds + more, error), fitters[1:]


def _fit_member(
    member: Any, data: Any, params: dict[Any, Any], fitter: Any = None
) -> Any:
    if fitter is not None:
        fit = fit_target_only if member.target_only else fit_transfer
        return fit(fitter, data, params)
    data, params = _as_counts(member.estimator, data, params)
    if member.target_only:
        return fit_target_only(member.estimator, data, params)
    if member.shared:
        rows = data.is_target
        data, params = data.take(rows), slice_params(params, rows)
    if member.domain is not None:
        rows = data.rows_of(member.domain) | data.is_target
        data, params = data.take(rows), slice_params(params, rows)
    return fit_transfer(member.estimator, data, params)


def _try_fit(
    member: Any, data: Any, params: dict[Any, Any], fitter: Any = None
) -> tuple[Any, float, Any]:
    """Return (model, seconds, None), or the error of a member that cannot be fitted."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            if member.strict:
                warnings.simplefilter("error", UserWarning)
            model = _fit_member(member, data, params, fitter)
        if is_classifier(member.estimator) and len(model.classes_) == 1:
            raise ValueError(f"it sees one class only, {model.classes_[0]!r}")
    except _CANNOT_FIT as error:
        return None, 0.0, error
    return model, time.perf_counter() - start, None


def _held_out_answers(
    member: Any,
    fitted: Any,
    data: Any,
    train: NDArray[Any],
    test: NDArray[Any],
    columns: Any,
    params: dict[Any, Any],
    reference: Any,
    fitter: Any = None,
) -> tuple[Any, float, Any]:
    """Return what is said of held-out rows and of others, and the seconds."""
    model, seconds, error = fitted, 0.0, None
    if not _ignores_target_labels(member.estimator):
        model, seconds, error = _try_fit(
            member, data.take(train), slice_params(params, data.mask_of(train)), fitter
        )
    if error is not None:
        return None, seconds, error
    answers = None if reference is None else columns.ask(model, reference)
    return (columns.ask(model, take_rows(data.X, test)), answers), seconds, None


def _tested(data: Any, folds: list[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[Any]:
    """Return the labels of the test rows, fold after fold."""
    return np.concatenate([data.labels(data.mask_of(test)) for _, test in folds])


def _read(gap: Any, interval_for: str) -> tuple[float, NDArray[Any]]:
    """Return the gap and its interval; no evidence is None."""
    if gap is None:
        return np.nan, np.array([-np.inf, np.inf])
    return gap.mean, gap.interval(0.95, interval_for)


def _answers_known(
    member: Any,
    fold: tuple[NDArray[Any], NDArray[Any]],
    folds: list[tuple[NDArray[Any], NDArray[Any]]],
) -> bool:
    """Whether the one fit of a member has answered in the first fold."""
    return fold is not folds[0] and _ignores_target_labels(member.estimator)


def _trial_residuals(
    trial: Any, member: Any, params: dict[str, Any], data: Any, columns: Any
) -> NDArray[Any] | None:
    """Return the residuals of a member in a trial; None if it cannot be fitted."""
    model, _, error = _try_fit(member, trial.data, params)
    if error is not None:
        return None
    y = data.labels(data.mask_of(trial.test))
    said = columns.ask(model, take_rows(data.X, trial.test))
    columns = columns.calibrated({member.name: said}, y, trial.weight)
    return columns.code(y) - columns.read(said, member.name)


def _ignores_target_labels(estimator: Any) -> bool:
    """Whether one fit holds for all folds, as none sees a label of the target."""
    tags = get_tags(estimator)
    transfer = getattr(tags, "transfer_tags", None)
    return transfer is not None and transfer.target_labels == "unused"


def _uses_unlabeled(estimator: Any) -> bool:
    try:
        return get_transfer_tags(estimator).uses_unlabeled
    except TypeError:  # a plain learner
        return False


def _takes_unseen_domains(estimator: Any) -> bool:
    try:
        return get_transfer_tags(estimator).unseen_domain
    except TypeError:  # a plain learner
        return False


def _holds_models(estimator: Any) -> bool:
    """Whether an estimator holds fitted source models, which need no source rows."""
    return repr(without_sources(estimator)) != repr(estimator)
