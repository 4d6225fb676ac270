"""The model that a report recommends: a fitted portfolio, and its members."""

import re
import warnings
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import check_random_state

from sktransfer._domains import take_rows
from sktransfer._folds import take_units
from sktransfer.inspection import _report_models as models
from sktransfer.safe import TransferPortfolioClassifier, TransferPortfolioRegressor
from sktransfer.safe._portfolio_members import asking_for_weights

#: most source rows, over all sources, and most labeled target rows in the model
MOST_SOURCE_ROWS, MOST_LABELED_ROWS = 20_000, 2_000
#: rows of a domain, and folds, of a quick report
_QUICK_ROWS, _QUICK_FOLDS = 200, 3
_LEARNERS = {"linear": "linear model", "trees": "boosted trees", "learner": "learner"}
_WAYS = {
    "target": "{learner} of the target alone",
    "source": "{learner} of all sources",
    "pooled": "{learner} of all rows",
    "pooled_domain": "{learner} of all rows, with the domain as a column",
    "downweighted": "{learner} of all rows, source rows weigh 0.1",
}
_OTHERS = {
    "uowq": "linear model of all rows, sources weighed by UOWQ",
    "offset": "linear correction, on the target, of a model of all sources",
    "stacking": "linear model of the target with the sources' predictions as columns",
    "secure_rls": "secure combination of one linear model per source",
    "empirical_bayes": "linear model with a prior from the sources",
}


def fit_portfolio(
    X,
    run,
    estimators,
    *,
    learner,
    groups,
    classify,
    verdict,
    quick,
    left_out=(),
    without=(),
):
    """Return the fitted portfolio that a verdict asks for.

    Parameters
    ----------
    X : {array-like, dataframe} of shape (n_samples, n_features)
        Rows as the user gave them.
    run : Run
        All checked rows, and options; is told what was left out.
    estimators : dict of str to estimator or None
        The members; None: those of a portfolio.
    learner : estimator or None
        Learner of these.
    groups : array-like of shape (n_samples,) or None
        Unit of each row.
    classify : bool
        Whether the labels are classes.
    verdict : str
        Verdict of the report.
    quick : bool
        Whether to hold out each labeled row once, in few folds.
    left_out : list of int, default=()
        Columns not to learn from, if ``X`` is an array. A portfolio finds those of a
        frame by itself.
    without : list of str, default=()
        Names of sources that are left out.

    Returns
    -------
    model : estimator or None
        The portfolio; its part without sources if the verdict is "do_not_transfer" and
        no source is left out; behind a selection of columns if some are. None if
        nothing can be held out or it cannot be fitted.
    """
    if verdict == "unknown":
        return None
    selection = None
    if len(left_out):
        kept = [k for k in range(np.shape(X)[1]) if k not in set(left_out)]
        selection = ColumnTransformer([("kept", "passthrough", kept)])
        X = selection.fit_transform(X)
    rows = _rows(run, _QUICK_ROWS if quick else np.inf, without)
    options = {"cv": run.cv}
    if quick and isinstance(run.cv, Integral):
        options["cv"] = min(run.cv, _QUICK_FOLDS)
    if estimators is not None:
        alone = models.target_only(next(iter(estimators.values())))
        options["members"] = [*estimators.items(), ("target only", alone)]
    elif learner is not None:
        if run.exposure is not None or run.outputs:  # members weigh samples
            learner = asking_for_weights(learner)
        options["learner"] = make_pipeline(models.make_preprocessor(), clone(learner))
    kind = TransferPortfolioClassifier if classify else TransferPortfolioRegressor
    portfolio = kind(n_jobs=run.n_jobs, random_state=run.seed, **options)
    fit_params = {} if groups is None else {"groups": take_units(groups, rows)}
    if run.exposure is not None:
        fit_params["exposure"] = run.exposure[rows]
    try:
        with run.noting("The portfolio"), warnings.catch_warnings():
            # how the table was read names the columns that are left out
            warnings.filterwarnings("ignore", message="TableEncoder leaves out")
            portfolio.fit(
                take_rows(X, rows), run.data.y[rows],
                sample_domain=run.data.sample_domain[rows], **fit_params,
            )  # fmt: skip
    except (TypeError, ValueError) as error:
        run.note(f"No portfolio could be fitted: {' '.join(str(error).split())}")
        return None
    if run.outputs and portfolio.skipped_:
        skipped = [member_name(name, run.names) for name in portfolio.skipped_]
        run.note(
            "Left out of the portfolio, as they do not take several outputs of this "
            f"kind: {'; '.join(skipped)}."
        )
    # the verdict is about all sources; without the harmful ones the rest may help
    alone = verdict == "do_not_transfer" and not without
    model = portfolio.target_only_ if alone else portfolio
    if selection is None:
        return model
    return Pipeline([("columns", selection), ("portfolio", model)])


def harmful_sources(sources):
    """Return the names of the sources that hurt alone, unless all of them do.

    Parameters
    ----------
    sources : pandas.DataFrame
        One line per source.

    Returns
    -------
    names : list of str
        Their names.
    """
    if "effect" not in sources:
        return []
    hurt = sources["effect"] == "hurts"
    return [] if hurt.all() else sources["source"][hurt].tolist()


def _rows(run, limit, without):
    """Return the rows to fit on: all of them, or a sample that is noted."""
    data, rng = run.data, check_random_state(run.seed)
    most = max(MOST_SOURCE_ROWS // len(data.sources), 50)
    kept = [k for k in data.sources if run.names[int(k)] not in without]
    parts = [(data.rows_of(k), most) for k in kept]
    parts += [
        (data.is_labeled_target, MOST_LABELED_ROWS),
        (data.is_target & ~data.labeled, MOST_LABELED_ROWS),
    ]
    parts = [(mask, min(most, limit)) for mask, most in parts]
    kept, n_all = [], 0
    for mask, limit in parts:
        rows = np.flatnonzero(mask)
        n_all += len(rows)
        kept.append(
            rng.choice(rows, limit, replace=False) if len(rows) > limit else rows
        )
    rows = np.sort(np.concatenate(kept))
    if len(rows) < n_all:
        run.note(
            f"The recommended model is fitted on a random sample of {len(rows)} of "
            f"{n_all} rows; clone(report.recommended).fit(...) takes all of them."
        )
    return rows


def member_name(name, names, learner="learner"):
    """Return what a member of the default portfolio is, in words.

    Parameters
    ----------
    name : str
        Key of the member.
    names : dict of int to str
        Names of the domains.
    learner : str, default="learner"
        What the learner of the portfolio is.

    Returns
    -------
    words : str
        The words; the key itself where it is none of the default ones.
    """
    if name in _OTHERS:
        return _OTHERS[name]
    way, _, label = name.rpartition("_")
    if label in _LEARNERS:
        words = {"learner": learner if label == "learner" else _LEARNERS[label]}
        own = re.fullmatch(r"source_(\d+)", way)
        if own and int(own[1]) in names:
            return f"{words['learner']} of {names[int(own[1])]} alone"
        if way in _WAYS:
            return _WAYS[way].format(**words)
    return name


def tabulate_members(model, run, given):
    """Return a line per member of a portfolio: what it is, its weight, its loss.

    Parameters
    ----------
    model : estimator or None
        What :func:`fit_portfolio` returned.
    run : Run
        Names of the domains.
    given : bool
        Whether the members have names of the user's.

    Returns
    -------
    members : pandas.DataFrame
        Columns "member", "uses_sources", "weight" and, if all members were compared,
        "loss", the heaviest first.
    """
    columns = ["member", "uses_sources", "weight", "loss"]
    if model is None:
        return run.table(columns=columns)
    portfolio = model[-1] if isinstance(model, Pipeline) else model
    table = getattr(portfolio, "member_table_", None)
    lines = []
    for name, weight in portfolio.weights_.items():
        line = {"member": name, "uses_sources": False, "weight": weight, "loss": np.nan}
        if not given:
            line["member"] = member_name(name, run.names, run.learner_name)
        if table is not None:
            at = table["name"].tolist().index(name)
            line["uses_sources"] = not bool(table["target_only"][at])
            line["loss"] = float(table["loss"][at])
        lines.append(line)
    frame = run.table(lines)
    return frame.sort_values(
        "weight", ascending=False, kind="stable", ignore_index=True
    )
