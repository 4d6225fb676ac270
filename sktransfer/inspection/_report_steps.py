"""The computations behind a report, one function per question."""

import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer, make_scorer, mean_tweedie_deviance
from sklearn.utils import check_random_state

from sktransfer._compat import check_pandas_support
from sktransfer._folds import check_groups, target_folds
from sktransfer._response import class_of_each
from sktransfer.base import fit_on_domains, get_transfer_tags
from sktransfer.baselines import Pooled
from sktransfer.inspection._display import domain_label, find_attribute, number
from sktransfer.inspection._domain_embedding import DomainEmbeddingDisplay
from sktransfer.inspection._learning_curve import LearningCurveTransferDisplay
from sktransfer.inspection._report_models import log_linear
from sktransfer.inspection._report_outputs import (
    default_learner,
    scaled_error,
)
from sktransfer.metrics import (
    compare_domains,
    cross_val_ntg,
    gap_learning_curve,
    query_target,
    rank_sources,
    subset_influence,
    target_error_bound,
)
from sktransfer.metrics._evidence import PairedEvidence
from sktransfer.metrics._held_out import exact_match_score
from sktransfer.metrics._query_target import candidates
from sktransfer.safe import TransferGuard

SIMILARITIES = ("mmd", "proxy_a_distance", "coral_distance")
#: error name by scoring, where it has one that people use
_ERRORS = {
    "accuracy": "error rate",
    "balanced_accuracy": "balanced error rate",
    "neg_root_mean_squared_error": "root mean squared error",
    "neg_mean_poisson_deviance": "mean Poisson deviance",
    "neg_mean_gamma_deviance": "mean gamma deviance",
}
#: methods whose fit takes longer than the picture is worth
_SLOW = (TransferGuard,)
_LEAST_FOR_CURVE = 20
#: scores that are means over rows, of which many subsets cost little
_MEANS = (
    "accuracy", "neg_mean_absolute_error", "neg_mean_squared_error",
    "neg_root_mean_squared_error",
)  # fmt: skip
#: more classes of sources than this are not told apart
_MOST_PARTS = 30
#: sources in the picture of the rows; more could not be told apart
_MOST_SHOWN = 5
#: probability of harm up to which the verdict is "transfer", and of help up to which it
#: is "do_not_transfer"
RISK = 0.05
#: labels, by those that there are, beyond which no number is named
_MOST_TIMES = 20
#: fewer labeled target rows than this are called few
FEW_LABELS = 30


@dataclass
class Run:
    """What all steps share: checked rows, options, and notes for the reader."""

    data: Any
    names: dict[int, str]
    scoring: Any
    cv: Any
    n_repeats: int
    confidence_level: float
    n_jobs: int | None
    seed: int
    groups: Any = None
    exposure: Any = None
    power: float | None = None
    #: what the learner of the recommended portfolio is
    learner_name: str = "learner"
    #: names of several outputs
    outputs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def table(self):
        """The frame constructor of pandas."""
        return check_pandas_support("transfer_report").DataFrame

    @property
    def target(self):
        """Name of the target."""
        return self.names[int(self.data.targets[0])]

    @property
    def sources(self):
        """Names of the sources."""
        return [self.names[int(source)] for source in self.data.sources]

    @property
    def params(self):
        """Metadata of the rows for every fit but the groups."""
        return {} if self.exposure is None else {"exposure": self.exposure}

    @property
    def units(self):
        """Number of the unit of each row: its group, else the row itself."""
        if self.groups is None:
            return np.arange(len(self.data.sample_domain))
        return check_groups(self.groups, self.data)

    def note(self, text):
        """Keep a sentence once."""
        if text not in self.notes:
            self.notes.append(text)

    @contextmanager
    def noting(self, subject):
        """Turn warnings into notes."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        counts = {}
        for warning in caught:
            text = " ".join(str(warning.message).split())
            counts[text] = counts.get(text, 0) + 1
        for text, count in list(counts.items())[:3]:
            times = f" ({count} times)" if count > 1 else ""
            self.note(f"{subject} warned{times}: {text}")


class Progress:
    """A bar on a terminal where rich is installed, else one line per step.

    The lines estimate the time left as if every step took as long as those before.

    Parameters
    ----------
    n_steps : int
        Number of steps.
    verbose : bool
        Whether to show anything.
    """

    def __init__(self, n_steps, verbose):
        self.n_steps, self.done, self.bar = n_steps, 0, None
        self.start = time.monotonic()
        self.verbose = verbose

    def __enter__(self):
        if self.verbose and sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import (
                    BarColumn,
                    MofNCompleteColumn,
                    TextColumn,
                    TimeElapsedColumn,
                )
                from rich.progress import Progress as Bar
            except ImportError:
                return self
            columns = (
                TextColumn("{task.description:<42}"), BarColumn(bar_width=30),
                MofNCompleteColumn(), TimeElapsedColumn(),
            )  # fmt: skip
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("", total=self.n_steps)
            self.bar.start()
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.stop()

    def step(self, text):
        """Announce the next step."""
        if self.bar is not None:
            self.bar.update(self.task, description=text, completed=self.done)
        elif self.verbose:
            left = ""
            if self.done:
                each = (time.monotonic() - self.start) / self.done
                left = f", about {each * (self.n_steps - self.done):.0f} s left"
            sys.stderr.write(f"[{self.done + 1}/{self.n_steps}] {text}{left}\n")
            sys.stderr.flush()
        self.done += 1


def error_of(scoring):
    """Return what a perfect score is, and the name of the error.

    Parameters
    ----------
    scoring : str or callable
        Scorer, higher is better.

    Returns
    -------
    best : float
        The error is this minus the score.
    name : str
        Name of the error.
    """
    if not isinstance(scoring, str):
        if getattr(scoring, "_score_func", None) is mean_tweedie_deviance:
            return 0.0, "mean Tweedie deviance"
        function = getattr(scoring, "_score_func", None)
        if function is exact_match_score:
            return 1.0, "error rate over all outputs"
        if function is scaled_error:
            return 0.0, "scaled root mean squared error"
        return 0.0, "negated score"
    best = 0.0 if scoring.startswith("neg_") else 1.0
    plain = scoring.removeprefix("neg_").replace("_", " ")
    return best, _ERRORS.get(scoring, plain if best == 0.0 else f"1 - {plain}")


def deviance_scorer(power):
    """Return the scorer of the deviance of a power, by name where it has one.

    Parameters
    ----------
    power : float
        1 for Poisson, 2 for gamma.

    Returns
    -------
    scoring : str or callable
        Higher is better.
    """
    named = {1.0: "neg_mean_poisson_deviance", 2.0: "neg_mean_gamma_deviance"}
    if power in named:
        return named[power]
    return make_scorer(mean_tweedie_deviance, power=power, greater_is_better=False)


def sample_rows(run, max_samples):
    """Replace large domains by random samples of their rows.

    Parameters
    ----------
    run : Run
        Checked rows; is told what is left out.
    max_samples : int or None
        Most rows of a source, of labeled and of unlabeled target rows.

    Returns
    -------
    rows : ndarray
        Indices of the rows to use, ascending.
    """
    data, rng = run.data, check_random_state(run.seed)
    parts = {run.names[int(k)]: data.rows_of(k) for k in data.sources}
    labeled = f"{run.target}, labeled"
    parts[labeled] = data.is_labeled_target
    parts[f"{run.target}, unlabeled"] = data.is_target & ~data.labeled
    kept, cut = [], {}
    for name, mask in parts.items():
        rows = np.flatnonzero(mask)
        if max_samples is not None and len(rows) > max_samples:
            cut[name] = f"{max_samples} of {len(rows)} rows of {name}"
            rows = rng.choice(rows, max_samples, replace=False)
        kept.append(rows)
    if cut:
        more = f"; and {len(cut) - 5} more" * (len(cut) > 5)
        run.note(
            f"Computed on random samples: {'; '.join([*cut.values()][:5])}{more}. "
            "max_samples=None takes all rows."
        )
    if labeled in cut:
        run.note(
            "With all labeled target rows the target alone would do better, so "
            "transfer may help less than this report says."
        )
    return np.sort(np.concatenate(kept))


def describe_labels(run, task):
    """Return sentences on how the labels were read."""
    data = run.data
    if data.y is None or not data.labeled.any():
        return ["No row is labeled."]
    labels = data.labels(data.labeled)
    if run.outputs:
        each = zip(run.outputs, labels.T, strict=True)
        named = "; ".join(f"{name}, {_what(one, task)}" for name, one in each)
        what = f"{len(run.outputs)} outputs ({named})"
    else:
        what = _what(labels, task)
    found = [
        f"The task is {task}: labels are {what}; {data.n_labeled} of {data.n_target} "
        "target rows are labeled."
    ]
    if run.exposure is not None:
        known = run.exposure[data.labeled]
        name = error_of(run.scoring)[1]
        found.append(
            f"Exposures are from {known.min():g} to {known.max():g}. Labels per unit "
            f"of exposure, rates, are predicted; they are compared by the {name}, in "
            "which a row counts by its exposure."
            if run.power == 1
            else f"Exposures are from {known.min():g} to {known.max():g}. Labels per "
            f"unit of exposure, rates, are predicted; they are compared by the {name}, "
            f"in which a row of exposure E has the weight E ** {2 - run.power:g}."
        )
    return found


def _what(labels, task):
    """Say what the labels of one output are."""
    if task == "regression":
        return f"numbers from {labels.min():g} to {labels.max():g}"
    classes = [str(value) for value in np.unique(labels)]
    more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
    plural = "es" * (len(classes) > 1)
    return f"{len(classes)} class{plural} ({', '.join(classes[:10])}{more})"


def describe_domains(run):
    """Return one line per domain: its rows and its labels."""
    data, lines = run.data, []
    regression = (
        data.y is not None and data.y.dtype.kind == "f" and not data.integer_classes
    )
    for domain in [*data.targets, *data.sources]:
        rows = data.rows_of(domain)
        line = {
            "domain": run.names[int(domain)],
            "role": "target" if domain in data.targets else "source",
            "rows": int(rows.sum()),
            "labeled": int((rows & data.labeled).sum()),
            "labels": "",
        }
        if line["labeled"]:
            known = rows & data.labeled
            labels = data.labels(known)
            if run.outputs:
                each = zip(run.outputs, labels.T, strict=True)
                line["labels"] = "; ".join(
                    f"{name}: {_summary(one, regression)}" for name, one in each
                )
            else:
                line["labels"] = _summary(labels, regression)
            if run.exposure is not None:
                count, exposed = data.labels(known).sum(), run.exposure[known].sum()
                line["labels"] = (
                    f"rate {number(count / exposed)} ({count:g} in {exposed:.5g})"
                )
        lines.append(line)
    return run.table(lines)


def _summary(labels, regression):
    """Say how labels are distributed."""
    if regression and len(np.unique(labels)) > 2:
        return (
            f"mean {number(labels.mean())}, standard deviation {number(labels.std())}"
        )
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = [f"{values[k]}: {counts[k] / len(labels):.0%}" for k in order[:4]]
    return ", ".join(shown) + (", ..." if len(values) > 4 else "")


def compare_sources(run, features):
    """Return the similarity of every source, with intervals."""
    data = run.data
    table = compare_domains(
        features, None, data.sample_domain,
        measures=list(SIMILARITIES),
        n_bootstrap=int(np.clip(100 // len(data.sources), 4, 10)),
        confidence_level=run.confidence_level,
        n_jobs=run.n_jobs, random_state=run.seed,
    )  # fmt: skip
    return _with_names(run.table(table), run)


def score_sources(run, estimator, classify, folds):
    """Return the scores of each source's own model, and its gap alone.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    estimator : estimator
        The method; its fit on the rows of a source is that source's model.
    classify : bool
        Whether the labels are classes.
    folds : list of (train, test)
        Those of the methods; empty if no labeled target row can be held out.

    Returns
    -------
    scores : pandas.DataFrame
        Table of ``rank_sources``; empty without labeled target rows.
    """
    scoring, data = run.scoring, run.data
    if not data.n_labeled:
        return run.table(columns=[
            "source", "score", "kind", "value", "low", "high", "higher_is_better",
            "rank", "note",
        ])  # fmt: skip
    score = get_scorer(scoring) if isinstance(scoring, str) else scoring
    scores = {"source_model": score}
    if classify and not run.outputs:
        scores |= {"leep": "leep", "nce": "nce"}
    if folds:
        scores["ntg"] = "ntg"
    table = rank_sources(
        estimator, data.X, data.y, data.sample_domain, scores=scores,
        cv=folds or run.cv,
        scoring=scoring, confidence_level=run.confidence_level, groups=run.groups,
        params=run.params, n_jobs=run.n_jobs, random_state=run.seed,
    )  # fmt: skip
    found = _with_names(run.table(table).drop(columns="selected"), run)
    alone = found[(found["score"] == "source_model") & (found["note"] != "")]
    for source, why in zip(alone["source"], alone["note"], strict=True):
        run.note(f"The model of {source} alone has no score: {why}.")
    return found


def measure_parts(run, features, classify, folds, *, classes=True):
    """Return the influence of each source, and of each class of it, among all others.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    features : ndarray of shape (n_samples, n_features)
        Numbers, one line per row.
    classify : bool
        Whether the labels are classes.
    folds : list of (train, test)
        Those of the methods; those of the first deal are used.
    classes : bool, default=True
        Whether to tell classes of a source apart, too.

    Returns
    -------
    parts : pandas.DataFrame
        Columns "source", "class" (missing for a whole source), "rows", "influence" on
        the error of a linear model of all rows, "low", "high" and "effect"; empty
        without folds.
    """
    columns = [
        "source", "class", "rows", "influence", "low", "high", "effect",
    ]  # fmt: skip
    if not folds:
        return run.table(columns=columns)
    data, lines = run.data.with_X(features), []
    kinds = ["source"] * (len(data.sources) > 1)
    if classify and classes and not run.outputs:
        n_classes = len(np.unique(data.labels(data.labeled)))
        kinds += ["class"] * (len(data.sources) * n_classes <= _MOST_PARTS)
    learner = LogisticRegression(max_iter=1000) if classify else Ridge()
    how = {"method": "gradient", "n_subsets": 64 if run.scoring in _MEANS else 16}
    if run.power is not None:  # one Newton step is for the other two losses
        learner = log_linear(run.data, run.exposure, run.power)
        how = {"method": "refit", "n_subsets": 16}
    if run.outputs:
        learner = default_learner(classify)
        how = {"method": "refit", "n_subsets": 16}
    once = folds[: len(folds) // max(run.n_repeats, 1)] or folds
    for kind in kinds:
        try:
            found = subset_influence(
                Pooled(learner), features, data.y, sample_domain=data.sample_domain,
                parts=kind, cv=once, scoring=run.scoring, groups=run.groups,
                params=run.params, n_jobs=run.n_jobs, random_state=run.seed, **how,
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            run.note(f"What each part of the sources does was not computed: {why}")
            return run.table(columns=columns)
        reach = norm.ppf((1 + run.confidence_level) / 2) * found.standard_error
        for k, part in enumerate(found.parts):
            source, label = part if kind == "class" else (part, None)
            label = None if label is None else str(label)
            effect = -found.influence[k]
            low, high = effect - reach[k], effect + reach[k]
            lines.append({
                "source": run.names[int(source)], "class": label,
                "rows": int(found.n_samples[k]), "influence": effect,
                "low": low, "high": high,
                "effect": "helps" if high < 0 else "hurts" if low > 0 else "unclear",
            })  # fmt: skip
    return run.table(lines, columns=columns)


def name_factors(run, features, folds):
    """Return which factor bounds the error on the target, source by source.

    Parameters
    ----------
    run : Run
        Checked rows of classes, and options.
    features : ndarray of shape (n_samples, n_features)
        Numbers, one line per row.
    folds : list of (train, test)
        Those of the methods.

    Returns
    -------
    factors : pandas.DataFrame
        Table of ``target_error_bound``; empty without folds or where it fails.
    """
    names = ["source", "source_error", "divergence", "joint_error", "total", "factor"]
    data, table = run.data, None
    if folds:
        try:
            table = target_error_bound(
                features, data.y, sample_domain=data.sample_domain, groups=run.groups,
                random_state=run.seed,
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            run.note(f"The factors of the error were not computed: {why}")
    if table is None:
        return run.table(columns=names)
    return _with_names(run.table({name: table[name] for name in names}), run)


def tabulate_sources(run, similarity, scores):
    """Return one line per source with what is known of it.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    similarity : pandas.DataFrame
        Table of :func:`compare_sources`.
    scores : pandas.DataFrame
        Table of :func:`score_sources`.

    Returns
    -------
    sources : pandas.DataFrame
        Columns "source", "rows", the similarities, "source_model_error", "leep", "nce",
        "ntg", "low", "high" and "effect"; those that are not defined are missing.
    """
    best, _ = error_of(run.scoring)
    frame = run.table({"source": run.sources})
    frame["rows"] = [int(run.data.rows_of(k).sum()) for k in run.data.sources]

    def add(column, table, key, name, value="value"):
        values = table[table[key] == name].set_index("source")[value]
        if len(values):
            frame[column] = values.reindex(run.sources).to_numpy(dtype=float)

    for name in SIMILARITIES:
        add(name, similarity, "measure", name)
    add("source_model_error", scores, "score", "source_model")
    if "source_model_error" in frame:
        frame["source_model_error"] = best - frame["source_model_error"]
    for name in ("leep", "nce", "ntg"):
        add(name, scores, "score", name)
    if "ntg" in frame:
        add("low", scores, "score", "ntg", "low")
        add("high", scores, "score", "ntg", "high")
        frame["effect"] = np.select(
            [frame["high"] < 0, frame["low"] > 0], ["helps", "hurts"], "unclear"
        )
    return frame


def _with_names(frame, run):
    frame["source"] = [run.names[int(k)] for k in frame["source"]]
    return frame


def make_folds(run, classify):
    """Return the folds of labeled target rows, the same for every method."""
    rng = check_random_state(run.seed)
    n_repeats = run.n_repeats if isinstance(run.cv, int) else 1
    folds = []
    for _ in range(n_repeats):
        seed = rng.randint(np.iinfo(np.int32).max)
        once = target_folds(
            run.data, run.cv, groups=run.groups, stratify=classify, random_state=seed
        )
        folds += once
        if all(len(np.unique(run.units[test])) == 1 for _, test in once):
            break  # each unit is a fold: another deal is the same
    return folds


def hold_out(run, classify):
    """Return the folds, or the reason why no labeled target row can be held out.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    classify : bool
        Whether the labels are classes.

    Returns
    -------
    folds : list of (train, test)
        Empty if there is a reason.
    reason : str
        A clause; empty if there are folds.
    """
    n_labeled = run.data.n_labeled
    if not n_labeled:
        return [], "no target row is labeled"
    for name, labels in zip(run.outputs, run.data.y_labeled.T, strict=False):
        if classify and len(np.unique(labels)) == 1:
            only = f"of one class of {name}, {labels[0]}"
            return [], f"all {n_labeled} labeled target rows are {only}"
    if classify and len(np.unique(run.data.y_labeled)) == 1:
        only = run.data.y_labeled[0]
        return [], f"all {n_labeled} labeled target rows are of one class, {only}"
    folds = make_folds(run, classify)
    if len(folds) < 2:
        each = " of each class" if classify and n_labeled > 1 else ""
        rows = f"{n_labeled} labeled target row{'s' * (n_labeled > 1)}"
        if run.groups is not None:
            rows += " in their groups"
        return [], f"with {rows} none{each} can be held out"
    n_units = len(np.unique(run.units[run.data.is_labeled_target]))
    if run.groups is not None:
        run.note(
            f"The {n_labeled} labeled target rows belong to {n_units} groups. A group "
            "is never fitted on and tested at once, and the intervals count groups."
        )
    if n_units < FEW_LABELS:
        what = "target rows" if run.groups is None else "groups of target rows"
        run.note(
            f"Only {n_units} {what} are labeled. The intervals are wide, and as "
            "the training folds are smaller still, the estimates lean towards transfer."
        )
    return folds, ""


def measure_methods(run, estimators, folds, progress):
    """Cross-validate every method with and without the sources.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    estimators : dict of str to estimator
        The methods.
    folds : list of (train, test)
        Common folds.
    progress : Progress
        Is told each method.

    Returns
    -------
    methods : pandas.DataFrame
        One line per method and one for the target alone, by rank.
    """
    best, _ = error_of(run.scoring)
    results, failed = {}, {}
    for name, estimator in estimators.items():
        progress.step(f"cross-validating {name}")
        if not folds:
            continue
        try:
            with run.noting(name):
                results[name] = cross_val_ntg(
                    estimator, run.data.X, run.data.y,
                    sample_domain=run.data.sample_domain, cv=folds,
                    scoring=run.scoring, groups=run.groups, params=run.params,
                    n_jobs=run.n_jobs, random_state=run.seed,
                )  # fmt: skip
        except (TypeError, ValueError) as error:
            failed[name] = " ".join(str(error).split())
            run.note(f"{name} could not be cross-validated: {failed[name]}")
    family = 1 - (1 - run.confidence_level) / max(len(results), 1)

    def line(name, scores, score_interval, evidence, alone):
        lines = {"method": name, "error": best - scores.mean(), "ntg": evidence.mean}
        low, high = np.maximum(best - score_interval[::-1], 0.0)
        lines |= {"error_low": low, "error_high": high}
        for prefix, level, gap in (
            ("", run.confidence_level, "average"),
            ("fitted_", run.confidence_level, "fitted"),
            ("joint_", family, "average"),
        ):
            low, high = evidence.interval(level, gap)
            lines |= {f"{prefix}low": low, f"{prefix}high": high}
        lines["harm_probability"] = evidence.probability_positive()
        return {**lines, "target_only_error": best - alone.mean(), "note": ""}

    lines = [
        line(name, r.transfer_scores, r.transfer_interval, r.evidence,
             r.target_only_scores)
        for name, r in results.items()
    ]  # fmt: skip
    if results:
        alone = max(results.values(), key=lambda r: r.target_only_scores.mean())
        none = PairedEvidence(np.zeros(2))
        scores = alone.target_only_scores
        lines.append(
            line("target only", scores, alone.target_only_interval, none, scores)
            | {"harm_probability": np.nan}
        )
    lines += [{"method": name, "note": text} for name, text in failed.items()]
    columns = [
        "method", "error", "error_low", "error_high", "ntg", "low", "high",
        "fitted_low", "fitted_high", "joint_low", "joint_high", "harm_probability",
        "target_only_error", "note",
    ]  # fmt: skip
    frame = run.table(lines, columns=columns)
    frame = frame.sort_values("error", kind="stable", ignore_index=True)
    frame.insert(0, "rank", frame["error"].rank(method="min"))
    return frame


def _can_be_fitted(estimators, data, methods):
    """Return the methods that have the labels they need and did not fail before."""
    if data.y is None:
        return {}
    failed = set(methods.loc[methods["error"].isna(), "method"])
    return {
        name: estimator
        for name, estimator in estimators.items()
        if name not in failed
        and (data.n_labeled or get_transfer_tags(estimator).target_labels != "required")
    }


def weigh_sources(run, estimators):
    """Fit methods on all rows and read the weights that each gives the sources.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    estimators : dict of str to estimator
        The methods; guards are left out.

    Returns
    -------
    weights : pandas.DataFrame
        One line per method and source, for methods that weigh or drop sources.
    """
    lines = []
    for name, estimator in estimators.items():
        if isinstance(estimator, _SLOW):
            continue
        try:
            with run.noting(name):
                fitted = fit_on_domains(clone(estimator), run.data, **run.params)
        except (TypeError, ValueError) as error:
            text = " ".join(str(error).split())
            run.note(f"{name} could not be fitted to all rows: {text}")
            continue
        weights = _weights_of(fitted, run.data)
        lines += [
            {"method": name, "source": run.names[source], "weight": weight}
            for source, weight in weights.items()
        ]
    return run.table(lines, columns=["method", "source", "weight"])


def _weights_of(fitted, data):
    """Return the weight of a row of each source, {} if the method states none."""
    sources = data.sources.tolist()
    try:
        part, name = find_attribute(
            fitted, ["source_weights_", "kept_sources_", "sample_weight_"]
        )
    except ValueError:
        return {}
    values = np.asarray(getattr(part, name), dtype=float)
    if name == "kept_sources_":
        return {source: float(source in values) for source in sources}
    if name == "sample_weight_":
        if len(values) != data.n_source:
            return {}
        return {s: float(values[data.source_ids == s].mean()) for s in sources}
    ids = np.asarray(getattr(part, "source_ids_", sources))
    if values.shape != ids.shape:
        return {}
    return dict(zip(ids.tolist(), values.tolist(), strict=True))


def consult_guard(run, estimator, name, folds):
    """Fit a guard around a method and return its decision, or None.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    estimator : estimator
        The method.
    name : str
        Its name.
    folds : list of (train, test)
        Those of the methods, so that the guard's probability is that of the method.

    Returns
    -------
    guard : dict or None
        What the guard found; None if it cannot be fitted.
    """
    guard = TransferGuard(
        clone(estimator), cv=folds, scoring=run.scoring, random_state=run.seed,
        n_jobs=run.n_jobs,
    )  # fmt: skip
    try:
        with run.noting("The guard"):
            groups = {} if run.groups is None else {"groups": run.groups}
            fit_on_domains(guard, run.data, **groups, **run.params)
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        run.note(f"The guard could not be fitted: {text}")
        return None
    low, high = guard.ntg_interval_
    return {
        "method": name,
        "loss": error_of(run.scoring)[1],
        "weight": float(guard.weights_[1:].sum()),
        "transferred": bool(guard.transferred_),
        "harm_probability": float(guard.harm_probability_),
        "ntg": float(guard.ntg_),
        "low": float(low),
        "high": float(high),
        "held_out_rows": int(guard.n_held_out_),
        "counted": "rows" if run.groups is None else "groups",
    }


def embed_rows(run, features, labels, similarity):
    """Return the positions of a sample of rows in the plane.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    features : ndarray of shape (n_samples, n_features)
        Numbers, one line per row.
    labels : array-like of shape (n_samples,) or None
        Classes with markers; None: no classes.
    similarity : pandas.DataFrame
        Table of :func:`compare_sources`; of many sources the nearest are shown.

    Returns
    -------
    embedding : pandas.DataFrame
        Domain, class and position of each row.
    """
    from matplotlib.figure import Figure

    own = similarity[similarity["measure"] == SIMILARITIES[0]]
    near = own.sort_values("value", kind="stable")["source"].head(_MOST_SHOWN).tolist()
    shown = [k for k in run.data.sources if run.names[int(k)] in near]
    rows = run.data.is_target | np.isin(run.data.sample_domain, shown)
    display = DomainEmbeddingDisplay.from_rows(
        features[rows], y=None if labels is None else labels[rows],
        sample_domain=run.data.sample_domain[rows], max_samples=150,
        domain_names=run.names, random_state=run.seed, ax=Figure().add_subplot(),
    )  # fmt: skip
    return display.frame()


def trace_labels(run, estimator):
    """Return the error against the number of labels, or None with too few.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    estimator : estimator
        The method.

    Returns
    -------
    curve : pandas.DataFrame or None
        Errors with and without the sources, per number of labels and split.
    """
    if run.data.n_labeled < _LEAST_FOR_CURVE:
        run.note(
            f"No learning curve: it takes {_LEAST_FOR_CURVE} labeled target rows, and "
            f"there are {run.data.n_labeled}."
        )
        return None
    from matplotlib.figure import Figure

    try:
        with run.noting("The learning curve"):
            display = LearningCurveTransferDisplay.from_estimator(
                estimator, run.data.X, run.data.y,
                sample_domain=run.data.sample_domain, n_splits=5,
                scoring=run.scoring, groups=run.groups, params=run.params,
                n_jobs=run.n_jobs, random_state=run.seed, ax=Figure().add_subplot(),
            )  # fmt: skip
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        run.note(f"No learning curve: {text}")
        return None
    return display.frame()


def soon_fitted(estimators, methods):
    """Return the names of the methods that can be fitted often, the best first."""
    return [
        name
        for name in dict.fromkeys([*methods.dropna(subset="error")["method"]])
        if name in estimators and not isinstance(estimators[name], _SLOW)
    ]


def extrapolate_gap(run, estimators, methods, classify):
    """Return how many more labels would decide, or None where no curve can be fitted.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    estimators : dict of str to estimator
        The methods.
    methods : pandas.DataFrame
        Table of :func:`measure_methods`.
    classify : bool
        Whether the labels are classes.

    Returns
    -------
    more : dict or None
        As in the report.
    """
    names = soon_fitted(estimators, methods)
    if not names or (classify and run.outputs):
        return None
    try:
        with run.noting("The extrapolation of the gap"):
            curve = gap_learning_curve(
                estimators[names[0]], run.data.X, run.data.y,
                sample_domain=run.data.sample_domain, n_repeats=2, groups=run.groups,
                params=run.params, n_jobs=run.n_jobs, random_state=run.seed,
                loss="auto" if run.power is None else "deviance",
            )  # fmt: skip
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        run.note(f"How many labels would decide is not known: {text}")
        return None
    clear = {"confidence": 1 - 2 * RISK, "interval_for": "fitted"}
    needed = curve.labels_needed(**clear)
    within_reach = needed <= _MOST_TIMES * curve.n_labeled
    goal = needed if within_reach else 2.0 * curve.n_labeled
    gap, (low, high) = curve.predict(goal, run.confidence_level)
    even, (first, last) = curve.break_even(run.confidence_level)
    loss = "error rate" if classify else "squared error"
    if run.power is not None:
        loss = error_of(deviance_scorer(run.power))[1]
    elif run.outputs:
        loss = "mean squared error of the outputs"
    return {
        "method": names[0],
        "loss": loss,
        "counted": "rows" if run.groups is None else "groups",
        "n_labeled": curve.n_labeled,
        "labels_needed": needed,
        "undecidable": curve.undecidable_probability(**clear),
        "goal": goal,
        "probability": curve.decision_probability(goal, **clear),
        "gap_now": curve.predict(curve.n_labeled)[0],
        "gap": gap,
        "low": low,
        "high": high,
        "break_even": even,
        "break_even_low": first,
        "break_even_high": last,
    }


def query_rows(run, features, classify, n_rows):
    """Return unlabeled target rows whose labels would improve a model most.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    features : ndarray of shape (n_samples, n_features)
        Numbers, one line per row.
    classify : bool
        Whether the labels are classes.
    n_rows : int
        Most rows to return.

    Returns
    -------
    rows : ndarray
        Positions among the rows of `run`; one row of each group.
    """
    data = run.data
    pool, unit, different = candidates(features, data, run.groups)
    known = []
    if data.labeled.any():
        known = np.unique(class_of_each(data.labels(data.labeled)))
    if not len(pool) or (classify and len(known) < 2) or not len(known):
        return np.zeros(0, dtype=int)
    learner = LogisticRegression(max_iter=1000) if classify else Ridge()
    if run.outputs:
        learner = default_learner(classify)
    with run.noting("The choice of rows to label"):
        rows = query_target(
            Pooled(learner), features, data.y, sample_domain=data.sample_domain,
            n_samples=min(n_rows, len(different)), groups=run.groups,
            random_state=run.seed,
        )  # fmt: skip
    places = unit[np.searchsorted(pool, rows)]
    return rows[np.sort(np.unique(places, return_index=True)[1])]


def find(run, estimators, features, classify, progress, *, curve=True):
    """Run all steps that the labels allow.

    Parameters
    ----------
    run : Run
        Checked rows and options.
    estimators : dict of str to estimator
        The methods.
    features : ndarray of shape (n_samples, n_features)
        Numbers, one line per row.
    classify : bool
        Whether the labels are classes.
    progress : Progress
        Is told each step.
    curve : bool, default=True
        Whether to trace the number of labels.

    Returns
    -------
    found : dict
        Tables by the names of the report's entries.
    reason : str
        Why no labeled target row can be held out; empty if there are folds.
    """
    guard = traced = None
    progress.step("comparing the domains")
    with run.noting("The comparison of the domains"):
        similarity = compare_sources(run, features)
    folds, reason = hold_out(run, classify)
    methods = measure_methods(run, estimators, folds, progress)
    quick = soon_fitted(estimators, methods)
    plain = estimators.get("pooling", next(iter(estimators.values())))
    progress.step("scoring each source")
    with run.noting("The scores of the sources"):
        scores = score_sources(run, plain, classify, folds)
    progress.step("leaving out parts of the sources")
    with run.noting("The influences of parts of the sources"):
        parts = measure_parts(run, features, classify, folds, classes=curve)
    bounded = classify and curve and not run.outputs
    with run.noting("The factors of the error"):
        factors = name_factors(run, features, folds if bounded else [])
    progress.step("weighing the sources")
    weights = weigh_sources(run, _can_be_fitted(estimators, run.data, methods))
    progress.step("asking the guard")
    if quick:
        guard = consult_guard(run, estimators[quick[0]], quick[0], folds)
    progress.step("tracing the number of labels")
    if quick and curve:
        traced = trace_labels(run, estimators[quick[0]])
    progress.step("placing the rows")
    labels = run.data.y if classify and not run.outputs else None
    with run.noting("The picture of the rows"):
        embedding = embed_rows(run, features, labels, similarity)
    return {
        "sources": tabulate_sources(run, similarity, scores),
        "similarity": similarity,
        "transferability": scores,
        "parts": parts,
        "factors": factors,
        "source_weights": weights,
        "methods": methods,
        "guard": guard,
        "learning_curve": traced,
        "embedding": embedding,
    }, reason


def name_domains(data, domain_names):
    """Return the name of every domain id, the target's too.

    Parameters
    ----------
    data : DomainData
        Checked rows.
    domain_names : dict of int to object, or None
        Names given by the user.

    Returns
    -------
    names : dict of int to str
        Distinct names.
    """
    domains = [int(d) for d in [*data.targets, *data.sources]]
    names = {domain: domain_label(domain, domain_names) for domain in domains}
    repeated = [name for name in names.values() if list(names.values()).count(name) > 1]
    if repeated:
        raise ValueError(
            f"domain_names gives several domains the name {repeated[0]!r}: give every "
            "domain its own."
        )
    return names
