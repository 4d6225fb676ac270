"""One report on one table: whether, from which sources and how to transfer."""

from numbers import Integral, Real

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

import sktransfer
from sktransfer._compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_matplotlib_support,
    check_pandas_support,
    validate_params,
)
from sktransfer._domains import check_domains
from sktransfer._folds import check_groups, take_units
from sktransfer.exceptions import DomainError
from sktransfer.inspection import _report_models as models
from sktransfer.inspection import _report_outputs as outputs
from sktransfer.inspection import _report_steps as steps
from sktransfer.inspection import _report_text as text
from sktransfer.inspection._report_portfolio import (
    fit_portfolio,
    harmful_sources,
    tabulate_members,
)
from sktransfer.inspection._report_result import TransferReport
from sktransfer.preprocessing._columns import column_names

__all__ = ["TransferReport", "transfer_report"]

_N_TO_LABEL = 20
#: rows that stand for a domain in a quick report
_QUICK_ROWS = 200


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like", None],
        "sample_domain": ["array-like"],
        "domain_names": [dict, None],
        "estimators": [dict, None],
        "learner": [HasMethods(["fit", "predict"]), None],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split")],
        "groups": ["array-like", None],
        "exposure": ["array-like", None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "max_samples": [Interval(Integral, 10, None, closed="left"), None],
        "quick": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def transfer_report(
    X,
    y,
    sample_domain,
    *,
    domain_names=None,
    estimators=None,
    learner=None,
    task="auto",
    scoring=None,
    cv=5,
    groups=None,
    exposure=None,
    n_repeats=3,
    confidence_level=0.95,
    max_samples=1000,
    quick=False,
    n_jobs=None,
    random_state=0,
    verbose=False,
):
    r"""Decide for one table whether, from which sources and how to transfer.

    Parameters
    ----------
    X : {array-like, dataframe} of shape (n_samples, n_features)
        Rows of every domain, in any order. Columns of a dataframe may hold text and
        missing values.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Labels, with markers on the unlabeled target rows. None: no row is labeled,
        and only the inputs are compared. Several outputs must be all classes or all
        quantities; columns of a frame name them. The notes of the report state what
        cannot be computed for them.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    domain_names : dict of int to object, default=None
        Names of the domain ids, as :func:`~sktransfer.datasets.from_frame` returns
        them.
    estimators : dict of str to estimator, default=None
        Methods to compare, each an estimator of this library or a pipeline that ends
        in one; they get ``X`` as it is. None: source only, pooling, light
        pooling, KMM, UOWQ, with several sources pooling of the better half of them,
        and guarded pooling, after a preprocessing of numbers and categories.
    learner : estimator, default=None
        Learner inside the default methods; it must take ``sample_weight``. None:
        ``LogisticRegression`` or ``Ridge``.
    task : {"auto", "classification", "regression"}, default="auto"
        What the labels are. "auto": classes, if they are text, truth values or up to
        ten whole numbers; of two other numbers, such as 0.5 and 1.5, the type of the
        estimators or the learner decides, and without any they are refused.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: accuracy, or the negated root mean squared
        error; with ``exposure`` the negated mean deviance of the learner. Of several
        outputs a row is right if all of its classes are, which "accuracy" means, too;
        squared errors are averaged over outputs in units of their standard deviations
        on the target.
    cv : int or splitter, default=5
        How the labeled target rows are held out, as in
        :func:`~sktransfer.metrics.cross_val_ntg`.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row, such as the patient, where units have several rows: a unit is
        never fitted on and tested at once, and the intervals count units. Rows of a
        source, or without a label, may have none (None or NaN).
    exposure : array-like of shape (n_samples,), default=None
        Positive exposures of counts, such as the years at risk: a row with twice the
        exposure is expected to have twice the label. Rates are predicted and compared,
        each of the weight that its exposure amounts to in the deviance. The default
        learner is then ``PoissonRegressor``; others need a log link. Rows without a
        label may have none (NaN).
    n_repeats : int >= 1, default=3
        How often the rows are dealt anew to the folds, if ``cv`` is an int.
    confidence_level : float in (0, 1), default=0.95
        Level of the intervals.
    max_samples : int or None, default=1000
        A random sample of this size stands for the rows of a source, the labeled
        target rows and the unlabeled ones, where there are more. None: all rows.
    quick : bool, default=False
        Answer sooner and less surely, which the notes of the report state: the rows are
        dealt to the folds once, at most 200 rows stand for a domain, and the default
        methods are without KMM and the guarded one. There is no learning curve, and no
        number of labels that would decide.
    n_jobs : int, default=None
        Number of folds that are fitted in parallel.
    random_state : int, RandomState instance or None, default=0
        Seed of samples, folds and methods.
    verbose : bool, default=False
        Show progress on stderr: a bar by rich on a terminal, if it is installed, else
        lines with the time left.

    Returns
    -------
    report : TransferReport
        Tables, sentences and unfitted estimators, with ``to_html`` and ``to_json``.

    Raises
    ------
    DomainError
        If the rows break the domain contract, or there is no source or not exactly
        one target.
    TypeError
        If an estimator does not take `sample_domain` or is made for the other task.
    ValueError
        If the labels do not fit ``task`` or do not tell it, or outputs are of several
        tasks; if, with exposures, a method has no log link, they are not positive, or
        there are several outputs.

    See Also
    --------
    sktransfer.metrics.cross_val_ntg : The gap with its interval.
    sktransfer.metrics.rank_sources : The scores of the sources.
    sktransfer.safe.TransferGuard : A method that decides by itself.

    Notes
    -----
    All methods, and each source alone, are tested on the same folds of labeled target
    rows; gaps, intervals and probabilities are those of
    :func:`~sktransfer.metrics.cross_val_ntg`. ``low`` and ``high`` are about the
    average gap over labeled target samples of this size, ``fitted_low`` and
    ``fitted_high`` about the gap of the models that are fitted on all rows here, which
    is less certain; ``joint_low`` and ``joint_high`` are about the average, at the
    level

    .. math:: 1 - (1 - \text{confidence\_level}) / m

    for m methods (Bonferroni).

    The verdict rests on one number, the probability that the gap of the fitted pair is
    positive (``harm_probability``; a guard around the method shows the same). It is
    "transfer" if for a method it is at most 0.05, and the method has a smaller error
    than any fit on the target alone; "do_not_transfer" if for the method with the
    smallest error it is at least 0.95, or if the gap is so small that the joint
    interval stays within 1 % of the target's error; "unknown" if no labeled target row
    can be held out; and "undecided" otherwise. ``grade`` puts it into words, such as
    "probably helps, 0.86". ``benchmarks/uncertainty.md`` shows how often that comes
    true, on simulated and on real tasks.

    ``parts`` has the influence of each source among the others, and of each class of a
    source: those of :func:`~sktransfer.metrics.subset_influence` with
    ``method="gradient"`` and a linear model of all rows, whatever the methods are.

    The error of the chosen method itself is a little too small, as it was chosen by
    it. The preprocessing of the default methods is fitted in each training fold on
    all of its rows; that of the similarities on all rows.

    pandas and matplotlib are needed: ``pip install "sktransfer[plot]"``. Metadata is
    routed whatever scikit-learn's global switch is set to.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled, SourceOnly
    >>> from sktransfer.datasets import make_concept_shift
    >>> from sktransfer.inspection import transfer_report
    >>> data = make_concept_shift(
    ...     60, n_labeled=24, shift=[0.0, 3.0], noise=0.5, random_state=0
    ... )
    >>> report = transfer_report(
    ...     data.X, data.y, data.sample_domain,
    ...     estimators={"pooled": Pooled(Ridge()), "sources": SourceOnly(Ridge())},
    ...     n_repeats=1,
    ... )
    >>> report.verdict
    'do_not_transfer'
    >>> report.sources["effect"].to_list()
    ['unclear', 'hurts']
    """
    names = outputs.output_names(y)
    if names and exposure is not None:
        raise ValueError(
            f"y has {len(names)} outputs, but exposure is for one label: make a report "
            "of y[:, k] with exposure for each of them."
        )
    check_pandas_support("transfer_report")
    check_matplotlib_support("transfer_report")
    if quick:
        n_repeats, max_samples = 1, min(max_samples or _QUICK_ROWS, _QUICK_ROWS)
    rows = models.as_rows(X)
    given = X if estimators is not None and hasattr(X, "shape") else rows
    asked = [learner] * (learner is not None)
    asked = asked if estimators is None else [*estimators.values()]
    if exposure is not None:
        task = _task_of_counts(task)
    data, task = _check(given, y, sample_domain, task, asked, names)
    units = check_groups(groups, data)
    n_groups = None
    if units is not None:
        n_groups = len(np.unique(units[data.is_labeled_target]))
    classify = task == "classification"
    power, named_loss = None, False
    if exposure is not None:
        power = models.common_power(estimators, learner, scoring)
        exposure = models.check_counts(exposure, data, power, learner)
    if scoring is None and power is not None:
        scoring = steps.deviance_scorer(power)
    elif names and (scoring is None or (classify and scoring == "accuracy")):
        scoring = outputs.scorer_of_outputs(data, classify)
        named_loss = True
    elif scoring is None:
        scoring = "accuracy" if classify else "neg_root_mean_squared_error"
    run = steps.Run(
        data, steps.name_domains(data, domain_names), scoring, cv, n_repeats,
        confidence_level, n_jobs,
        check_random_state(random_state).randint(np.iinfo(np.int32).max),
        exposure=exposure, power=power, outputs=names,
    )  # fmt: skip
    if exposure is not None and learner is None and estimators is None:
        learner = models.log_linear(data, exposure, power)
        run.learner_name = "log-linear model"
    reading, left_out = steps.describe_labels(run, task), []
    by_default = estimators is None
    if names:
        reading += outputs.explain_loss(names, classify, named_loss)
        for sentence in outputs.what_is_missing(classify, by_default):
            run.note(sentence)
        if by_default and learner is None:
            learner = outputs.default_learner(classify)
            run.learner_name = "linear model of each output"
    if by_default:
        known = column_names(rows)
        rows, columns, roles = models.read_columns(rows, data.y, data.sample_domain)
        if not hasattr(X, "columns"):
            left_out = [known.index(name) for name in roles]
        reading += columns
        data = run.data = data.with_X(rows)
        estimators = models.default_estimators(
            classify=classify, n_sources=len(data.sources), scoring=scoring,
            learner=learner, random_state=run.seed,
        )  # fmt: skip
        if names and classify:
            del estimators["UOWQ"]
        if quick:
            run.note(
                "This is a quick report: each labeled row is held out once, KMM and "
                "guarded pooling were not tried, and there is no learning curve."
            )
            for slow in ("KMM", "guarded pooling"):
                del estimators[slow]
    else:
        estimators = {str(name): method for name, method in estimators.items()}
        models.check_estimators(estimators, classify)
    positions = steps.sample_rows(run, max_samples)
    domains = steps.describe_domains(run)
    label_next = _draw_unlabeled(data, run.seed)
    run.data = data.take(positions)
    run.groups = take_units(groups, positions)
    run.exposure = take_units(exposure, positions)
    features = models.to_numbers(rows, positions)
    settings = {
        "sktransfer": sktransfer.__version__,
        "scoring": scoring if isinstance(scoring, str) else repr(scoring),
        "cv": cv if isinstance(cv, Integral) else repr(cv),
        "groups": n_groups,
        "n_repeats": n_repeats,
        "confidence_level": confidence_level,
        "max_samples": max_samples,
        "quick": quick,
        "random_state": random_state if isinstance(random_state, Integral) else None,
        "columns": rows.shape[1],
        "features": features.shape[1],
    }
    if exposure is not None:
        settings["exposure"] = True
    with (
        threadpool_limits(1),  # for samples of this size threads only cost time
        steps.Progress(len(estimators) + 9, verbose) as progress,
    ):
        found, reason = steps.find(
            run, estimators, features, classify, progress, curve=not quick
        )
        decision = text.decide(run, found, reason)
        progress.step("choosing what to label")
        more, label_for_model = None, []
        if decision.verdict == "undecided" and not quick:
            more = steps.extrapolate_gap(run, estimators, found["methods"], classify)
        if text.wants_labels(decision.verdict, data.n_labeled):
            wanted = steps.query_rows(run, features, classify, _N_TO_LABEL)
            label_for_model = positions[wanted].tolist()
        progress.step("fitting the recommended portfolio")
        run.data, run.exposure = data, exposure
        harmful = harmful_sources(found["sources"])
        model = fit_portfolio(
            X, run, None if by_default else estimators, learner=learner,
            groups=groups, classify=classify, verdict=decision.verdict, quick=quick,
            left_out=left_out, without=harmful,
        )  # fmt: skip
    return text.explained(
        TransferReport(
            verdict=decision.verdict,
            grade=decision.grade,
            harm_probability=decision.harm_probability,
            recommendation=decision.recommendation,
            evidence=[],
            to_label="",
            reading=reading,
            notes=run.notes,
            target=run.target,
            task=task,
            error_name=steps.error_of(scoring)[1],
            domains=domains,
            more_labels=more,
            label_next=label_next,
            label_for_model=label_for_model,
            settings=settings,
            estimators=estimators,
            recommended=model,
            leave_out=harmful,
            members=tabulate_members(model, run, not by_default),
            **found,
        )
    )


def _check(X, y, sample_domain, task, estimators=(), outputs_of_y=()):
    """Return the checked rows and the task."""
    if task == "regression":
        y = _numbers(y)
    numeric = {"auto": None, "regression": True, "classification": False}[task]
    data = check_domains(X, y, sample_domain, numeric_labels=numeric, multi_output=True)
    if not data.n_source or len(data.targets) != 1:
        raise DomainError(
            f"sample_domain names {len(data.sources)} sources and {len(data.targets)} "
            "targets; at least one source and exactly one target are needed."
        )
    if not data.labeled.any():
        return data, "classification" if task == "auto" else task
    if task == "auto":
        labels = data.labels(data.labeled)
        task = outputs.infer_common_task(labels, estimators, outputs_of_y)
        if task == "classification":
            _refuse_two_values(labels)
        data = check_domains(
            X, y, sample_domain, numeric_labels=task == "regression", multi_output=True
        )
    if task == "classification" and data.labels(data.labeled).dtype.kind == "f":
        raise ValueError(
            "task='classification', but y holds numbers that are not whole. Say "
            "task='regression', or make the classes text."
        )
    return data, task


def _refuse_two_values(labels):
    """Ask what two numbers are that scikit-learn takes for no classes."""
    for output in labels.reshape(len(labels), -1).T if labels.dtype.kind == "f" else ():
        values = np.unique(output)
        if (values != np.round(values)).any():
            seen = " and ".join(f"{value:g}" for value in values)
            raise ValueError(
                f"The labels in y are {seen}, which may be classes or quantities. Say "
                "task='regression' if they are quantities; if they are classes, make "
                "them text or whole numbers, since scikit-learn's classifiers take no "
                "others."
            )


def _task_of_counts(task):
    """Refuse classes with exposures."""
    if task == "classification":
        raise ValueError(
            "task='classification', but exposure is for counts and other positive "
            "labels: leave one of them out."
        )
    return "regression"


def _numbers(y):
    """Refuse text in a regression."""
    if y is None:
        return None
    y = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    if y.dtype.kind in "OUS":
        try:
            np.array([v for v in y.ravel() if v is not None], dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"task='regression' needs numbers in y ({error}). Say "
                "task='classification' if they are classes."
            ) from error
    return y


def _draw_unlabeled(data, seed):
    """Return positions of unlabeled target rows, drawn at random."""
    rows = np.flatnonzero(data.is_target & ~data.labeled)
    rng = check_random_state(seed)
    return rng.permutation(rows)[:_N_TO_LABEL].tolist()
