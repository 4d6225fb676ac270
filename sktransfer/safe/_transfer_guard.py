"""Transfer only as far as the target's labels support it."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import get_scorer_names

from sktransfer._compat import Interval, StrOptions, _num_samples
from sktransfer._deviance import deviance_power, warn_of_zeros, without_exposure
from sktransfer._domains import check_sample_domain
from sktransfer._folds import check_groups, target_folds
from sktransfer._learners import HasLearnerMethods, check_method
from sktransfer._progress import (
    CallbackSupportMixin,
    Progress,
    run_task,
    with_callbacks,
)
from sktransfer._response import common_columns, in_domains
from sktransfer._solvers.aggregation import BlendInfo, blend_posterior, blend_weight
from sktransfer._solvers.simplex_qp import SOLVERS, simplex_least_squares
from sktransfer.base import (
    BlendingMetaEstimator,
    TakesGroupsMixin,
    get_transfer_tags,
    slice_params,
)
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics._evidence import INTERVAL_FOR, row_evidence
from sktransfer.metrics._gap import PairMeasure
from sktransfer.metrics._pair import (
    check_pair,
    cross_fit,
    fit_target_only,
    fit_transfer,
    prepare_folds,
    prepare_target_only,
)
from sktransfer.safe._defaults import ATOM, INFLATION, LEAST_WEIGHT, RISK
from sktransfer.safe._settled import Settled

__all__ = ["TransferGuard"]


class TransferGuard(CallbackSupportMixin, TakesGroupsMixin, BlendingMetaEstimator):
    r"""Use, blend or refuse transfer, by evidence from the labeled target rows.

    The guard fits :math:`\theta(S,T)` and :math:`\theta(0,T)`, compares them on
    target rows that both were not fitted on, and predicts with the one, the other or
    a blend.

    Parameters
    ----------
    estimator : estimator
        An estimator of this library, or a pipeline that ends in one; classifier or
        regressor.
    target_estimator : estimator, default=None
        What to fall back on. None: ``estimator`` without its sources,
        :math:`\theta(0,T)`. A plain estimator is fitted on the labeled target rows.
    cv : int, splitter or iterable, default=10
        How the labeled target rows are held out, as in
        :func:`~sktransfer.metrics.cross_val_ntg`. With as many labeled target rows
        or fewer an int means leave-one-out. Few folds understate what
        :math:`\theta(0,T)` can do with all rows and so lean towards transfer.
    scoring : str, callable or None, default=None
        Score of the gap; higher is better. None: the negated mean squared error, for
        classifiers of the probabilities (the Brier score), or of what stands for
        them under *What is blended*, for learners with a log
        link the negated deviance that they fit. ``policy="aggregate"`` takes its weight
        from that loss in any case.
    policy : {"aggregate", "select", "safew"}, default="aggregate"
        "aggregate" blends both predictions. "select" transfers or refuses: it
        transfers if the probability that the sources hurt is at most ``risk``; it
        keeps less of the gain at the same risk, and is for those who need one plain
        model. "safew" needs no evidence from labels: see Notes.
    risk : float in (0, 1), default=0.3
        Tolerated probability of transferring too much: see Notes. Smaller is safer
        and keeps less of the gain.
    atom : float in [0, 1), default=0.45
        Prior probability that the best weight of transfer is 0, for "aggregate". 0
        leaves a uniform prior, which is right where the sources are known to be
        related; from about ``risk`` on, transfer needs evidence.
    inflation : float in (0, inf), default=1.5
        Factor by which the posterior of the weight is widened, for "aggregate".
    interval_for : {"average", "fitted"}, default="fitted"
        Whether ``ntg_interval_`` is about the gap of ``transfer_`` and
        ``target_only_``, as they are fitted, or about the average gap over labeled
        target samples of this size, with these sources.
    solver : {"auto", "cvxpy"}, default="auto"
        Of the program of "safew": an active set, or cvxpy (CLARABEL). They agree to
        1e-8.
    n_jobs : int, default=None
        Number of folds that are fitted in parallel.
    random_state : int, RandomState instance or None, default=0
        Deals the labeled target rows to the folds when ``cv`` is an int. The order of
        the rows does not matter.

    Attributes
    ----------
    transfer_ : estimator
        The fitted :math:`\theta(S,T)`.
    target_only_ : estimator
        The fitted :math:`\theta(0,T)`.
    ntg_ : float
        Estimated negative transfer gap; positive: the sources hurt. NaN if no
        labeled target row could be held out.
    ntg_interval_ : ndarray of shape (2,)
        95 % confidence interval of the gap that ``interval_for`` names.
    harm_probability_ : float
        Probability that the gap of ``transfer_`` and ``target_only_`` is positive, by
        the t that the interval for the fitted pair comes from. How often it comes
        true is shown in ``benchmarks/uncertainty.md``.
    weight_posterior_ : object
        Evidence of the held-out rows on the best weight of transfer: its attributes
        ``minimizer``, ``standard_error`` and ``dof`` are those of the Student t
        under *Aggregate*, before it is cut to [0, 1].
    transferred_ : bool
        Whether the sources have a part in the prediction.
    weights_ : ndarray of shape (n_models,)
        Weights of ``models_``: nonnegative, with the sum 1.
    models_ : list of estimator
        ``target_only_``, ``transfer_`` and, for "safew" with several sources, the
        fits with one source each.
    n_held_out_ : int
        Number of distinct labeled target rows, or of groups of them, that the
        evidence comes from.
    estimator_ : estimator
        The same as ``transfer_``.
    classes_ : ndarray of shape (n_classes,)
        Classes of source and target; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.metrics.cross_val_ntg : The gap alone.
    sktransfer.metrics.make_ntg_scorer : The gap of a guard in a model search.

    Notes
    -----
    *Aggregate.* The blend :math:`(1-w) f_0 + w f_1` of target-only and transfer
    predictions has the out-of-fold risk

    .. math:: R(w) = \frac1n \sum_i \lVert y_i - (1-w) f_0(x_i) - w f_1(x_i) \rVert^2,

    with classes coded as indicators. A row counts once, however often folds test it:
    its squared residuals are averaged. With ``groups`` those of a group are averaged,
    too, and i counts groups; with ``sample_weight`` the mean is weighted. Given the n
    rows, under a uniform prior on [0, 1] and Gaussian errors of unknown variance, the
    best weight has the density

    .. math:: p(w) \propto R(w)^{-n/2},

    a Student t truncated to [0, 1]. The held-out rows share most of their training
    rows, so they carry less evidence than n rows: in the simulations of
    ``benchmarks/posterior.py`` the error of the minimizer is 1.0 to 1.7 times as large
    as by that t, whose scale is therefore multiplied by ``inflation``. With the prior
    probability :math:`p_0` = ``atom`` of a best weight of 0 and the density :math:`f`
    of the widened, truncated t, the rows leave it the probability

    .. math:: P(w = 0) = \frac{p_0 f(0)}{p_0 f(0) + 1 - p_0}

    (:math:`f(0)` is the Bayes factor). The guard takes the ``risk`` quantile of this
    mixture, and 0 for less than 0.01.

    *What is bounded.* The weight is above the best one with the probability ``risk``,
    given the rows and averaged over the prior, if the errors are Gaussian. That is no
    bound for the worst case. Where the sources are useless (the best weight is 0, as
    where their step away from the target-only prediction is noise) the default gives
    them a part in at most 5 % of the draws, with 6 to 100 rows: see the tests. With
    ``atom=0`` they always get a part, a small one where there are many rows, which
    hurts in 31 to 44 % of the draws with 10 to 40 rows, mostly by little. With many
    rows the weight tends to the minimizer of R, the best blend, at an excess risk of
    order 1/n. Without evidence it is ``(risk - atom) / (1 - atom)``, or 0 if ``atom``
    is larger.

    *Select.* :math:`\theta(S,T)` is used if ``harm_probability_`` is at most ``risk``
    (see :func:`~sktransfer.metrics.cross_val_ntg` for the t it comes from), else
    :math:`\theta(0,T)`.

    *SAFEW.* The weights of the models that saw a source minimize

    .. math:: \sum_{i \in T} \lVert f_0(x_i) - \textstyle\sum_k w_k f_k(x_i)
              \rVert^2

    over the simplex, on all target rows: the projection of the target-only prediction
    on the hull of the transfer models. It is no worse than the target-only prediction
    if the truth is in the hull. With one source the hull is one model, which is then
    used.

    *What to expect.* ``benchmarks/safety.py`` on 71 targets of 19 real data sets with
    few labels (2520 runs, linear models and nearest neighbors): always transferring
    hurt 43 % of the runs; "aggregate" with ``atom=0`` and ``inflation=1`` hurt 3.2,
    4.2, 5.4 and 6.9 % and kept 82, 91, 97 and 101 % of the gains at a ``risk`` of
    0.2, 0.3, 0.4 and 0.5. "select" at 0.4 hurt 5.6 % and kept 68 %. Over twelve
    methods "aggregate" hurt 3.5 % and kept 80 % at 0.3, 5.2 % and 91 % at 0.5:
    methods that are careful themselves lose gain by it.

    *Few labels.* A class with one labeled row is never held out. With one labeled row
    per class, or one in all, no row can be held out; then "aggregate" is left with
    its prior and "select" refuses (unless ``risk`` is 0.5 or more).

    *Counts.* With a log link (Poisson, gamma, Tweedie) the loss is the deviance, and
    ``fit`` takes ``exposure``. The weight comes from the same deviances as the gap:
    its residuals are divided by :math:`m^{p/2}`, with m the mean of both predictions
    and p the power of the deviance, and moved so that their squares differ between the
    models by exactly what the deviances do.

    *What is blended.* Probabilities where both models have them. Of classifiers that
    have decision values :math:`d_k(x)` alone, one for each class, such as support
    vector machines, these are read as class shares,

    .. math:: p_k(x) \propto \exp(b\, d_k(x)),

    with a slope b for each model. The decision values have no common scale, and their
    squared distance from -1 and 1 would count a wide margin as an error; a multiple
    of them only divides the slope. It has the least logarithmic loss on the held-out
    rows, under a lognormal prior around 2 over the median lead of the first class over
    the second; without held-out rows it is that start. ``benchmarks/margins.md``
    compares this with other scores. Else votes are blended. Learners whose penalty
    leaves next to nothing of the features are underrated by held-out rows, which then
    favors the sources: scale the features.
    Decision values of a blend are the log-odds of its shares (two classes) or their
    logarithms, and those of the model where one model has all the weight.

    *Progress.* With scikit-learn 1.9 or later callbacks follow the fits:
    ``guard.set_callbacks(sklearn.callback.ProgressBar())`` shows a bar for the two
    models and for the held-out rows.

    *Cost.* One fit of both models per fold, and one on all rows. An estimator with a
    method ``prepare_folds(data, folds, params)`` computes what these fits have in
    common once: see :class:`~sktransfer.instance.KMM`, whose guard with ten folds takes
    2.8 to 4.4 fits of CPU with 4000 source and 4000 target rows, of which 40 are
    labeled, and 4.3 to 6.1 if all are. Of ``Ridge`` in
    :class:`~sktransfer.baselines.Pooled` the models of all folds follow from sums over
    the samples, exactly. So do those of ``LogisticRegression``, by Newton steps from
    the fit on all samples, with 1000 samples of all domains or more or with
    ``warm_start=True``. Its solver ends where the gradient is at most ``tol``, which
    leaves any fit open as far; each fold is left as open as the fit on all samples. In
    154 real and generated tasks this moved the gap by at most 1 % of its standard error
    and the weight by at most 0.005, beside a fit for each fold. In a pipeline
    transformers that see no label of the target (scalers, TCA, CORAL, ...) are fitted
    once for all folds if there are 1000 target rows or more; then they see the
    features, though not the labels, of the held-out rows.

    References
    ----------
    Y.-F. Li, Z.-H. Zhou. Towards making unlabeled data never hurt. IEEE Transactions
    on Pattern Analysis and Machine Intelligence 37 (2015).
    https://doi.org/10.1109/TPAMI.2014.2299812

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.safe import TransferGuard
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> y = X[:, 0] * np.where(domain > 0, -1.0, 1.0)  # the source is reversed
    >>> guard = TransferGuard(Pooled(Ridge())).fit(X, y, sample_domain=domain)
    >>> guard.transferred_, bool(guard.ntg_ > 0)
    (False, True)
    """

    _parameter_constraints: dict[str, Any] = {
        **BlendingMetaEstimator._parameter_constraints,
        "target_estimator": [HasLearnerMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "policy": [StrOptions({"select", "aggregate", "safew"})],
        "risk": [Interval(Real, 0, 1, closed="neither")],
        "atom": [Interval(Real, 0, 1, closed="left")],
        "inflation": [Interval(Real, 0, None, closed="neither")],
        "interval_for": [StrOptions(set(INTERVAL_FOR))],
        "solver": [StrOptions(SOLVERS)],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        target_estimator: Any = None,
        cv: Any = 10,
        scoring: Any = None,
        policy: str = "aggregate",
        risk: Any = RISK,
        atom: Any = ATOM,
        inflation: Any = INFLATION,
        interval_for: str = "fitted",
        solver: Any = "auto",
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.target_estimator = target_estimator
        self.cv = cv
        self.scoring = scoring
        self.policy = policy
        self.risk = risk
        self.atom = atom
        self.inflation = inflation
        self.interval_for = interval_for
        self.solver = solver
        self.n_jobs = n_jobs
        self.random_state = random_state

    _hands_exposure_on = True

    fit = with_callbacks(TakesGroupsMixin.fit)

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            raise TypeError(
                f"estimator={self.estimator!r} is neither a classifier nor a regressor."
            )
        baseline = check_pair(self.estimator, self.target_estimator)
        # every inner fit gets the domains of its own rows
        fit_params = {k: v for k, v in fit_params.items() if k != "sample_domain"}
        existing, params, _ = self._existing(data, fit_params)
        self._check_classes(existing)
        warn_of_zeros(existing.y_labeled, self.estimator)
        check_groups(fit_params.get("groups"), data)
        settled = Settled(existing)
        self._settled = settled(self.estimator)
        fallback = settled(self.target_estimator)
        if self._settled is not self.estimator or fallback is not self.target_estimator:
            baseline = check_pair(self._settled, fallback)
        progress = Progress(self, 2)
        nothing = self._nothing_to_transfer(existing)
        folds = [] if nothing else self._hold_out(data, fit_params)
        alone = prepare_target_only(baseline, data, folds, fit_params)
        with progress.stage("models", 1 if nothing else 2) as stage:
            self.target_only_ = run_task(
                stage.tasks[0], fit_target_only, alone[0], existing, params
            )
            if not nothing:
                prepared = prepare_folds(self._settled, data, folds, fit_params)
                self.transfer_ = run_task(
                    stage.tasks[1], fit_transfer, prepared[0], existing, params
                )
        if nothing:
            self.transfer_ = self.target_only_
            self.models_ = [self.target_only_]
            self._set_columns(existing)
            self.ntg_, self.ntg_interval_ = 0.0, np.zeros(2)
            self.harm_probability_ = 0.5
            self.weight_posterior_ = BlendInfo(np.nan, np.inf, 0)
            self.n_held_out_ = 0
            weights = np.ones(1)
        else:
            self.models_ = [self.target_only_, self.transfer_]
            self._set_columns(existing)
            with progress.stage("held-out samples", len(folds)) as stage:
                self._weigh_evidence(
                    baseline, data, folds, fit_params,
                    alone=alone, prepared=prepared, tasks=stage.tasks,
                )  # fmt: skip
            weights = self._choose_weights(existing, params)
            models = dict(enumerate(self.models_))
            self._columns = self._columns.completed(models, existing.X_labeled)
        self.weights_ = weights
        self.transferred_ = bool(weights[1:].any())
        progress.end()
        return self.transfer_

    def _check_classes(self, data: Any) -> None:
        if not is_classifier(self.estimator) or not data.n_source:
            return
        known = np.unique(data.y_labeled)
        if len(known) == 1 and len(np.unique(data.labels(data.labeled))) > 1:
            raise UnlabeledTargetError(
                f"The labeled target rows hold one class, {known.tolist()[0]!r}, so "
                "there is no classifier to fall back on. Label a row of another "
                "class, or use estimator without the guard."
            )

    def _nothing_to_transfer(self, data: Any) -> bool:
        source_free = get_transfer_tags(self.estimator).source_free
        return not data.n_source and not source_free and self.target_estimator is None

    def _set_columns(self, data: Any) -> None:
        """Decide what is blended: values, probabilities, class shares or votes."""
        self._columns = common_columns(
            self.models_,
            data.y_labeled,
            classify=is_classifier(self.estimator),
            power=deviance_power(self.estimator),
        )

    def _hold_out(
        self, data: Any, fit_params: dict[str, Any]
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        return target_folds(
            data,
            self.cv,
            groups=fit_params.get("groups"),
            sample_weight=fit_params.get("sample_weight"),
            stratify=is_classifier(self.estimator),
            random_state=self.random_state,
        )

    def _choose_weights(self, data: Any, fit_params: dict[str, Any]) -> NDArray[Any]:
        """Return the weights of the models."""
        if self.policy == "safew":
            return self._project(data, fit_params)
        if self.policy == "select":
            weight = float(self.harm_probability_ <= self.risk)
        else:
            weight = blend_weight(self.weight_posterior_, self.risk, self.atom)
        weight = weight if weight >= LEAST_WEIGHT else 0.0
        return np.array([1 - weight, weight])

    def _weigh_evidence(
        self,
        baseline: Any,
        data: Any,
        folds: list[tuple[NDArray[Any], NDArray[Any]]],
        fit_params: dict[str, Any],
        **prepared: Any,
    ) -> None:
        """Set the evidence of the held-out rows on the gap and on the weight."""
        if not folds:
            self.ntg_, self.ntg_interval_ = np.nan, np.array([-np.inf, np.inf])
            self.harm_probability_ = 0.5
            self.weight_posterior_ = BlendInfo(np.nan, np.inf, 0)
            self.n_held_out_ = 0
            return
        _, units = without_exposure(data.sample_domain, fit_params, self.estimator)
        pair = PairMeasure(data, units, self.scoring, self._columns)
        results = cross_fit(
            self._settled, baseline, data, folds, pair.measure(), params=fit_params,
            n_jobs=self.n_jobs, **prepared,
        )  # fmt: skip
        held_out = pair.compare(folds, results)
        self._columns = pair.columns
        if self.scoring is None:
            evidence = pair.losses(
                folds, held_out.losses, held_out.residuals, held_out.steps
            )
        else:
            evidence = pair.scores(folds, results).evidence
        self.ntg_ = evidence.mean
        self.ntg_interval_ = evidence.interval(0.95, self.interval_for)
        self.harm_probability_ = evidence.probability_positive()
        weights, self.n_held_out_ = row_evidence(data, folds, **pair.units)
        rows = held_out.residuals * np.sqrt(weights)[:, None]
        self.weight_posterior_ = blend_posterior(
            rows[0], rows[1], n_units=self.n_held_out_, inflation=self.inflation
        )

    def _project(self, data: Any, fit_params: dict[str, Any]) -> NDArray[Any]:
        if len(data.sources) > 1:
            for source in data.sources:
                rows = data.rows_of(source) | data.is_target
                part, params = data.take(rows), slice_params(fit_params, rows)
                self.models_.append(fit_transfer(self._settled, part, params))
        models = dict(enumerate(self.models_))
        self._columns = self._columns.completed(models, data.X_labeled)
        rows = data.X_target
        answers = self._columns.standardized(self._columns.answers(self.models_, rows))
        safe, *others = answers.reshape(len(answers), -1)
        others = np.stack(others)
        weights, _ = simplex_least_squares(others, safe, solver=self.solver)
        return np.concatenate([[0.0], weights])

    def _answer(self, method: str, X: Any, params: dict[str, Any]) -> NDArray[Any]:
        domain = params.pop("sample_domain", None)
        if domain is None:
            return super()._answer(method, X, params)
        domain = check_sample_domain(domain, _num_samples(X))
        return in_domains(self, ["models_"], method, domain)._answer(method, X, params)

    def _blend(self, X: Any) -> NDArray[Any]:
        return self._columns.blend(self.models_, self.weights_, X)

    def _sole_model(self) -> Any:
        if self.weights_.max() < 1:
            return None
        return self.models_[int(self.weights_.argmax())]

    def _blended_models(self) -> list[Any]:
        if hasattr(self, "models_"):
            return self.models_
        fallback = self.target_estimator
        return [self.estimator, self.estimator if fallback is None else fallback]

    def _check_answers(self, method: str) -> Any:
        if method != "decision_function":
            return super()._check_answers(method)
        # log-odds stand in where only the fallback lacks decision values
        model = self.transfer_ if hasattr(self, "transfer_") else self.estimator
        return check_method(model, method)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags = _guarded_tags(self)
        return tags


def _guarded_tags(guard: TransferGuard) -> Any:
    try:
        tags = get_transfer_tags(guard.estimator)
    except TypeError:  # a plain estimator: fit refuses it by name
        return BlendingMetaEstimator.__sklearn_tags__(guard).transfer_tags
    tags.target_labels = "required"
    tags.multi_target = False
    tags.uses_unlabeled = tags.uses_unlabeled or guard.policy == "safew"
    return tags
