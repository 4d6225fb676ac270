r"""From the folds of a pair of models to the evidence about its gap.

Whatever score is asked for, :class:`PairMeasure` makes values of units of it where the
score has some, and adds what the unlabeled target rows tell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from sktransfer._domains import take_rows
from sktransfer._learners import predict_learner
from sktransfer._response import CommonColumns, answers_with
from sktransfer.metrics._evidence import (
    UNSEEN,
    FoldGaps,
    by_unit,
    fold_evidence,
    mean_interval,
    paired_evidence,
    reference_rows,
    row_evidence,
    units_of,
)
from sktransfer.metrics._held_out import (
    Remembering,
    counts_hits,
    row_scores,
    score_pair,
    settle_scores,
)

_METHODS = ("predict_proba", "decision_function", "predict")


@dataclass
class FoldAnswers:
    """What the pair of models of one fold does.

    Parameters
    ----------
    scores : list of HeldOutScore, or None
        Of the model without and with the sources, on the test rows.
    y : ndarray of shape (n_test,) or (n_test, n_outputs)
        Labels of the test rows.
    answers : ndarray of shape (2, n_test, n_columns), or None
        What both say of the test rows, by ``ask`` of the columns.
    reference : ndarray of shape (2, n_reference, n_columns), or None
        The same of the unlabeled rows.
    disagree : ndarray of bool of shape (n_reference,), or None
        Whether both predict different classes there.
    """

    scores: Any
    y: Any
    answers: Any
    reference: Any
    disagree: Any

    @property
    def steps(self) -> NDArray[Any] | None:
        """Answers with the sources less answers without, on the unlabeled rows."""
        if self.reference is None:
            return None
        without, within = self.reference
        differ = within != without  # where a class is unknown to both they are -inf
        return np.subtract(within, without, where=differ, out=np.zeros(differ.shape))


@dataclass
class HeldOutLosses:
    """Residuals of the two models on the test rows of all folds in turn.

    Parameters
    ----------
    residuals : ndarray of shape (2, n_tested, n_columns)
        Labels less answers, over the scales of several outputs; where losses are
        deviances, what has squares that differ by as much.
    losses : ndarray of shape (2, n_tested)
        Squared residuals, or deviances.
    steps : list of ndarray of shape (n_reference, n_columns)
        For each fold answers with the sources less answers without, on the unlabeled
        rows; empty without such rows.
    """

    residuals: Any
    losses: Any
    steps: Any


@dataclass
class HeldOutScores:
    """Scores of the two models of every fold.

    Parameters
    ----------
    target_only, transfer : ndarray of shape (n_splits,)
        Scores of the folds.
    evidence : PairedEvidence or FoldGaps
        Their evidence on the gap.
    folds : FoldEvidence
        Weights of the folds.
    kind : str, default="other"
        As in :class:`~sktransfer.metrics._held_out.RowScores`.
    values : ndarray of shape (2, n_units), default=None
        Scores of the units, without and with the sources.
    weights : ndarray of shape (n_units,), default=None
        Their weights.
    """

    target_only: Any
    transfer: Any
    evidence: Any
    folds: Any
    kind: str = "other"
    values: Any = None
    weights: Any = None

    def intervals(self, confidence_level: float) -> NDArray[Any]:
        """Return the interval of each score, without and with the sources, (2, 2)."""
        if self.kind in ("other", "r2"):
            folds = self.folds
            return np.array([folds.interval(one, confidence_level)
                             for one in (self.target_only, self.transfer)])  # fmt: skip
        hits = self.kind == "hits"
        losses = [mean_interval((1.0 if hits else 0.0) - one, self.weights,
                                confidence_level, hits=hits)
                  for one in self.values]  # fmt: skip
        if self.kind == "root":
            losses = np.sqrt(losses)
        return (1.0 if hits else 0.0) - np.array(losses)[:, ::-1]


class PairMeasure:
    """What is measured of the pair of every fold.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    params : dict
        Metadata; "groups" and "sample_weight" count.
    scoring : str, callable or None
        Scorer, higher is better.
    columns : CommonColumns, default=None
        Columns of the residuals; they are measured instead of scores if `scoring` is
        None. Without columns there are no residuals.
    """

    def __init__(
        self, data: Any, params: dict[str, Any], scoring: Any, columns: Any = None
    ) -> None:
        self.data, self.scoring, self.columns = data, scoring, columns
        self.units: dict[str, Any] = {
            name: params.get(name) for name in ("groups", "sample_weight")
        }
        self.reference = reference_rows(data, self.units["sample_weight"])

    def measure(self) -> Callable[..., Any]:
        """Return ``measure(pair, X, y, sample_weight)`` for ``cross_fit``."""
        classes: Any = None
        X_reference = None
        if self.data.y is not None:
            labels = self.data.labels(self.data.labeled)
            classes = np.unique(labels) if labels.ndim == 1 else None
        if len(self.reference):
            X_reference = take_rows(self.data.X, self.reference)
        return partial(
            _measure, X_reference=X_reference, scoring=self.scoring,
            columns=self.columns, classes=classes,
        )  # fmt: skip

    def scores(self, folds: Any, results: Any) -> HeldOutScores:
        """Return the scores of both models, fold by fold, and the evidence.

        Parameters
        ----------
        folds : list of (train, test)
            The folds.
        results : list of FoldAnswers
            One per fold.

        Returns
        -------
        scores : HeldOutScores
            Scores of the folds, and their evidence on the gap.
        """
        scores = [result.scores for result in results]
        target_only, transfer = settle_scores(scores, self.scoring)
        units = units_of(self.data, self.units["groups"])
        rows = row_scores(scores, self.scoring, [units[test] for _, test in folds])
        overall = fold_evidence(self.data, folds, **self.units)
        # equal answers, unlike equal classes, to many rows are no accident
        same = len(self.reference) and not any(
            result.steps is None or result.steps.any() for result in results
        )
        # scores of classifiers are at most 1: as with hits, a tie is no proof
        shares = scores[0][0].tags.estimator_type == "classifier" and not same
        if rows is None or len(folds) < 2:
            evidence = FoldGaps(target_only - transfer, overall, shares)
            return HeldOutScores(target_only, transfer, evidence, overall)
        reference = None
        if len(self.reference) and rows.guesses is not None:
            each = [
                result.disagree
                if rows.kind == "hits"
                else scale * np.sum(result.steps**2, axis=1)
                for scale, result in zip(rows.scales, results, strict=True)
            ]
            reference = np.mean(each, axis=0)
        differences = rows.values[0] - rows.values[1]
        tied = shares and rows.kind == "other" and not differences.any()
        evidence = paired_evidence(
            self.data, folds, differences,
            guesses=rows.guesses, reference_guesses=reference,
            hits=tied or (rows.kind == "hits" and not same),
            unseen=UNSEEN * rows.scales[0] if rows.kind == "brier" else 0.0,
            **self.units,
        )  # fmt: skip
        weights, collect = by_unit(self.data, folds, **self.units)
        values = np.array([collect(one) for one in rows.values])
        if rows.kind == "root":
            total = float(np.sum(np.sqrt(np.maximum(-values @ weights, 0.0))))
            if total > 0:
                evidence = evidence.scaled(1 / total)
        return HeldOutScores(
            target_only, transfer, evidence, overall, rows.kind, values, weights
        )

    def compare(self, folds: Any, results: Any) -> HeldOutLosses:
        """Return residuals and losses of both models, in columns that are calibrated.

        Parameters
        ----------
        folds : list of (train, test)
            The folds.
        results : list of FoldAnswers
            One per fold.

        Returns
        -------
        held_out : HeldOutLosses
            The model without the sources is called 0 in ``columns``, the other 1.
        """
        answers = np.concatenate([result.answers for result in results], axis=1)
        y = np.concatenate([result.y for result in results])
        weights, _ = row_evidence(self.data, folds, **self.units)
        self.columns = self.columns.calibrated(dict(enumerate(answers)), y, weights)
        parts = []
        for result in results:
            raw = self.columns.code(result.y) - self._read(result.answers)
            losses = self.columns.losses(result.y, raw)
            parts.append((self.columns.paired(result.y, raw), losses))
        residuals, losses = zip(*parts, strict=True)
        steps = []
        if len(self.reference):
            steps = [
                self.columns.standardized(np.subtract(*self._read(r.reference)[::-1]))
                for r in results
            ]
        return HeldOutLosses(
            np.concatenate(residuals, axis=1), np.concatenate(losses, axis=1), steps
        )

    def _read(self, answers: NDArray[Any]) -> NDArray[Any]:
        return np.stack([self.columns.read(one, k) for k, one in enumerate(answers)])

    def losses(self, folds: Any, losses: Any, residuals: Any, steps: Any) -> Any:
        """Return the evidence of squared errors or deviances.

        Parameters
        ----------
        folds : list of (train, test)
            The folds.
        losses : ndarray of shape (2, n_tested)
            Without and with the sources, for the rows of all test parts in turn.
        residuals : ndarray of shape (2, n_tested, n_columns)
            Of the same rows.
        steps : list of ndarray of shape (n_reference, n_columns)
            For each fold answers with the sources less answers without, on the
            unlabeled rows of ``reference``; it does not count if there are none.

        Returns
        -------
        evidence : PairedEvidence
            About the mean difference of the losses. Unlabeled rows tell nothing of
            deviances.
        """
        guesses, reference, unseen = None, None, 0.0
        if self.columns.method == "predict_proba":
            unseen = UNSEEN
        if not self.columns.power:
            guesses = np.sum((residuals[1] - residuals[0]) ** 2, axis=1)
            if len(self.reference):
                reference = np.mean(np.sum(np.square(steps), axis=2), axis=0)
        return paired_evidence(
            self.data, folds, losses[1] - losses[0], guesses=guesses,
            reference_guesses=reference, unseen=unseen, **self.units,
        )  # fmt: skip


def _measure(
    pair: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    X_reference: Any,
    scoring: Any,
    columns: Any,
    classes: NDArray[Any],
) -> FoldAnswers:
    pair = [Remembering(model) for model in pair]
    scores = answers = None
    if columns is not None:
        answers = np.stack([columns.ask(model, X) for model in pair])
    if columns is None or scoring is not None:
        scores = score_pair(pair, X, y, sample_weight, scoring=scoring)
    if scoring is None and scores is not None and not scores[0].answers:
        # score() does not show what it asks: accuracy and R2 ask for predictions
        for score, model in zip(scores, pair, strict=True):
            score.answers = {"predict": np.asarray(predict_learner(model, X))}
    reference = disagree = None
    if X_reference is not None:
        if classes is not None and scores is not None and counts_hits(scoring, pair):
            votes = [np.asarray(predict_learner(model, X_reference)) for model in pair]
            disagree = votes[0] != votes[1]
        columns = columns or _columns_of(pair, y, classes)
        if columns is not None:
            reference = np.stack([columns.ask(model, X_reference) for model in pair])
    return FoldAnswers(scores, y, answers, reference, disagree)


def _columns_of(
    pair: list[Remembering], y: Any, classes: NDArray[Any] | None
) -> CommonColumns | None:
    """Return the columns in which both answer; None for several columns of classes."""
    if not any(map(is_classifier, pair)):
        return CommonColumns(n_outputs=y.shape[1] if y.ndim == 2 else 0)
    if classes is None:
        return None
    method = next(m for m in _METHODS if all(answers_with(one, m) for one in pair))
    return CommonColumns(classes, method)
