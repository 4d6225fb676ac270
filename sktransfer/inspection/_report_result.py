"""The result of a report: plain data, with its ways out."""

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from sktransfer.inspection import _report_html as html
from sktransfer.inspection._report_text import render_text


@dataclass(frozen=True, eq=False, repr=False)
class TransferReport:
    """What :func:`transfer_report` found; every entry is plain data.

    Parameters
    ----------
    verdict : {"transfer", "do_not_transfer", "undecided", "unknown"}
        "unknown": no labeled target row can be held out.
    grade : str
        The effect of the method that the recommendation names, with its probability,
        such as "probably helps, 0.86"; empty if it is unknown.
    harm_probability : float
        Probability that this method hurts; NaN if it is unknown.
    recommendation : str
        The verdict in plain language, with its evidence.
    evidence : list of str
        Further findings, one sentence each.
    to_label : str
        What to label next; empty if the labels suffice.
    reading : list of str
        How the table was read: task, labels, and what each column holds.
    notes : list of str
        What the report left out, assumed, or was warned of.
    target : str
        Name of the target.
    task : {"classification", "regression"}
        What the labels are.
    error_name : str
        What the errors and gaps are measured in.
    domains : pandas.DataFrame
        Rows and labels of each domain, the target first.
    sources : pandas.DataFrame
        One line per source: similarity to the target, the error of its own model on
        the target, transferability, the negative transfer gap with that source alone,
        and whether it "helps", "hurts", or the interval leaves it "unclear".
    similarity : pandas.DataFrame
        Table of :func:`~sktransfer.metrics.compare_domains`.
    transferability : pandas.DataFrame
        Table of :func:`~sktransfer.metrics.rank_sources`.
    source_weights : pandas.DataFrame
        Weight that a row of each source has in methods that weigh or drop sources.
    methods : pandas.DataFrame
        One line per method, the best first: cross-validated error and negative
        transfer gap, with intervals. ``low`` and ``high`` are about the average gap,
        ``fitted_low`` and ``fitted_high`` about that of this fit, as is
        ``harm_probability``; ``joint_low`` and ``joint_high`` hold for all methods at
        once.
    guard : dict or None
        Decision of a :class:`~sktransfer.safe.TransferGuard` around the best method.
    learning_curve : pandas.DataFrame or None
        Errors against the number of labeled target rows.
    embedding : pandas.DataFrame
        A sample of rows in the plane of their principal components.
    more_labels : dict or None
        What :func:`~sktransfer.metrics.gap_learning_curve` says of the best method
        that can be fitted often: ``labels_needed`` in all for a clear answer with a
        probability of 0.8 (infinity if none is enough), the ``goal`` (that number, or
        twice the labels there are), the ``probability`` of a clear answer there, the
        expected ``gap`` with its interval ``low`` and ``high``, and ``break_even``,
        the number of labels from which on the sources no longer help, with its own.
        None if the labels suffice, or are too few for a curve, and in a quick report.
    label_next : list of int
        Positions of unlabeled target rows in ``X``, drawn at random: to tell whether
        the sources help.
    label_for_model : list of int
        Positions of unlabeled target rows in ``X`` about which a pooled linear model
        is unsure and the sources say little, by
        :func:`~sktransfer.metrics.query_target`: for a better model; of groups one row
        each. They are no random sample. Empty if the labels suffice.
    settings : dict
        How the report was made.
    estimators : dict of str to estimator
        The compared methods, unfitted.
    recommended : estimator or None
        What to predict with, fitted: a
        :class:`~sktransfer.safe.TransferPortfolioClassifier` or
        :class:`~sktransfer.safe.TransferPortfolioRegressor`, or its part that sees the
        target alone if the verdict is "do_not_transfer" and ``leave_out`` is empty.
        None if the verdict is "unknown". Of an array with columns that are left out, a
        pipeline that ends in it.
    members : pandas.DataFrame
        One line per member of that model, the heaviest first: what it is, whether it
        uses sources, its weight in the prediction, and its held-out loss.
    parts : pandas.DataFrame
        One line per source, and per class of a source ("class" is missing for a whole
        source): its rows; its "influence", by which it changes the error of a linear
        model of all rows, on average over the subsets of the others; the interval
        "low" to "high"; and "effect". Empty if nothing can be held out.
    factors : pandas.DataFrame
        One line per source with the terms of
        :func:`~sktransfer.metrics.target_error_bound` for a linear model, and the
        largest of them: which factor to work on. Empty for quantities, in a quick
        report, and if nothing can be held out.
    leave_out : list of str
        Sources that hurt, each alone with the target, by the interval of their gap;
        the recommended model is fitted without them. Empty if all do.
    saved : str or None
        File that holds the model, by :meth:`save_model` or ``--save``.

    See Also
    --------
    transfer_report : Make a report.
    """

    verdict: str
    grade: str
    harm_probability: float
    recommendation: str
    evidence: list[str]
    to_label: str
    reading: list[str]
    notes: list[str]
    target: str
    task: str
    error_name: str
    domains: Any
    sources: Any
    similarity: Any
    transferability: Any
    source_weights: Any
    methods: Any
    guard: dict[str, Any] | None
    learning_curve: Any
    embedding: Any
    more_labels: dict[str, Any] | None
    label_next: list[int]
    label_for_model: list[int]
    settings: dict[str, Any]
    estimators: dict[str, Any] = field(default_factory=dict)
    recommended: Any = None
    members: Any = None
    parts: Any = None
    factors: Any = None
    leave_out: list[str] = field(default_factory=list)
    saved: str | None = None

    @property
    def has_exposure(self):
        """Whether the labels are counts with exposures, so that rates are predicted."""
        return bool(self.settings.get("exposure"))

    def to_dict(self):
        """Return the report as nested dicts, lists, texts and numbers.

        Returns
        -------
        content : dict
            Tables are lists of lines; estimators are given by their text.
        """
        content = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        content["recommended"] = repr(self.recommended) if self.recommended else None
        content["estimators"] = {k: repr(v) for k, v in self.estimators.items()}
        return content

    def to_json(self, path=None):
        """Return the report as JSON, and write it to a file if one is given.

        Parameters
        ----------
        path : str or Path, default=None
            File to write.

        Returns
        -------
        content : str
            The JSON; numbers that are not finite are null.
        """
        content = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        return _written(content, path)

    def to_html(self, path=None):
        """Return the report as one page, and write it to a file if one is given.

        Parameters
        ----------
        path : str or Path, default=None
            File to write.

        Returns
        -------
        content : str
            HTML with all pictures inside; it asks for no other file.
        """
        return _written(html.render_page(self), path)

    def save_model(self, path):
        """Write the recommended model to a file, which ``joblib.load`` reads.

        Parameters
        ----------
        path : str or Path
            File to write.

        Returns
        -------
        report : TransferReport
            The same report; its page shows how to load that file.

        Raises
        ------
        ValueError
            If the report recommends no model.
        """
        if self.recommended is None:
            raise ValueError(
                f"The verdict is {self.verdict!r}, so there is no model to save: "
                f"{self.recommendation}"
            )
        joblib.dump(self.recommended, path, compress=3)
        return replace(self, saved=str(path))

    def summary(self):
        """Return the report in a few lines of text.

        Returns
        -------
        summary : str
            The recommendation, the ranking of the methods, the effect of each source
            and the evidence.
        """
        return render_text(self)

    def __str__(self):
        return self.summary()

    def __repr__(self):
        return (
            f"TransferReport(target={self.target!r}, verdict={self.verdict!r}, "
            f"grade={self.grade!r}, recommendation={self.recommendation!r})"
        )

    def _repr_html_(self):
        return html.render_fragment(self)


def _written(content, path):
    if path is not None:
        Path(path).write_text(content, encoding="utf-8")
    return content


def _plain(value):
    """Return data of JSON's types."""
    if hasattr(value, "to_dict"):
        value = value.to_dict("records")
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
