"""Transferability scores against accuracies after transfer."""

import numpy as np
from scipy import stats
from sklearn.metrics import check_scoring

from sktransfer._compat import validate_params
from sktransfer.inspection._display import INK, Display, plain_text

__all__ = ["TransferabilityDisplay"]

_FONT = 9


class TransferabilityDisplay(Display):
    r"""Score of every source model against its accuracy on the target.

    A score is useful for choosing a source model if it ranks the models as their
    accuracy does: the title gives both rank correlations.

    Parameters
    ----------
    scores : array-like of shape (n_models,)
        Transferability scores, higher is better.
    accuracies : array-like of shape (n_models,)
        Accuracy of each model after transfer, on target rows that the score did not
        see.
    names : list of str of length n_models, default=None
        Names of the models, printed beside the points. None: no names.
    score_name, accuracy_name : str
        Names of both axes.
    spearman, kendall : float
        Rank correlations :math:`\rho` and :math:`\tau_b`; NaN if undefined.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    points_ : matplotlib Line2D
        One point per model.

    See Also
    --------
    sktransfer.metrics.make_transferability_scorer : Scores for a model search.

    Examples
    --------
    >>> from sktransfer.inspection import TransferabilityDisplay
    >>> display = TransferabilityDisplay.from_scores(
    ...     [-0.9, -0.5, -0.2], [0.6, 0.8, 0.7], score_name="LEEP"
    ... )
    >>> round(float(display.spearman), 2), round(float(display.kendall), 2)
    (0.5, 0.33)
    """

    def __init__(
        self,
        scores,
        accuracies,
        *,
        names=None,
        score_name="transferability score",
        accuracy_name="accuracy on the target",
        spearman,
        kendall,
    ):
        self.scores = np.array(scores, dtype=float)
        self.accuracies = np.array(accuracies, dtype=float)
        self.names = None if names is None else list(names)
        self.score_name = score_name
        self.accuracy_name = accuracy_name
        self.spearman = spearman
        self.kendall = kendall

    def _columns(self):
        name = {} if self.names is None else {"model": self.names}
        return {**name, "score": self.scores, "accuracy": self.accuracies}

    @classmethod
    @validate_params(
        {
            "scores": ["array-like"],
            "accuracies": ["array-like"],
            "names": ["array-like", None],
            "score_name": [str],
            "accuracy_name": [str],
        },
        prefer_skip_nested_validation=True,
    )
    def from_scores(
        cls,
        scores,
        accuracies,
        *,
        names=None,
        score_name="transferability score",
        accuracy_name="accuracy on the target",
        ax=None,
    ):
        """Correlate scores with accuracies.

        Parameters
        ----------
        scores : array-like of shape (n_models,)
            Transferability scores, higher is better.
        accuracies : array-like of shape (n_models,)
            Accuracy of each model after transfer.
        names : array-like of str of shape (n_models,), default=None
            Names of the models.
        score_name, accuracy_name : str
            Names of both axes.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : TransferabilityDisplay
            The display, drawn.
        """
        scores, accuracies = np.asarray(scores, float), np.asarray(accuracies, float)
        if scores.ndim != 1 or scores.shape != accuracies.shape or len(scores) < 2:
            raise ValueError(
                "scores and accuracies must be two vectors of the same length, at "
                f"least 2; got shapes {scores.shape} and {accuracies.shape}."
            )
        if not (np.isfinite(scores).all() and np.isfinite(accuracies).all()):
            raise ValueError(
                "scores and accuracies must be finite: drop failed models."
            )
        if names is not None and len(names) != len(scores):
            raise ValueError(
                f"names has {len(names)} entries for {len(scores)} models."
            )
        spearman = kendall = np.nan
        if np.ptp(scores) > 0 and np.ptp(accuracies) > 0:
            spearman = float(stats.spearmanr(scores, accuracies).statistic)
            kendall = float(stats.kendalltau(scores, accuracies).statistic)
        display = cls(
            scores, accuracies, names=names, score_name=score_name,
            accuracy_name=accuracy_name, spearman=spearman, kendall=kendall,
        )  # fmt: skip
        return display.plot(ax=ax)

    @classmethod
    @validate_params(
        {
            "cv_results": [dict],
            "score": [str],
            "accuracy": [str],
            "names": ["array-like", None],
        },
        prefer_skip_nested_validation=True,
    )
    def from_cv_results(
        cls, cv_results, *, score, accuracy="accuracy", names=None, ax=None
    ):
        """Read scores and accuracies of the candidates of a search.

        Parameters
        ----------
        cv_results : dict
            ``cv_results_`` of a search with both scorers in ``scoring``.
        score : str
            Name of the transferability scorer in ``scoring``.
        accuracy : str, default="accuracy"
            Name of the scorer of the accuracy in ``scoring``.
        names : array-like of str of shape (n_candidates,), default=None
            Names of the candidates. None: their parameters.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : TransferabilityDisplay
            The display, drawn.

        Notes
        -----
        Both scores come from the same target rows here, which favors the score a
        little.
        """
        known = [key[len("mean_test_") :] for key in cv_results if "mean_test_" in key]
        for name in (score, accuracy):
            if name not in known:
                raise ValueError(
                    f"cv_results has no scores {name!r}; it has "
                    f"{', '.join(map(repr, known)) or 'none'}."
                )
        if names is None:
            names = [
                ", ".join(f"{k.rsplit('__', 1)[-1]}={v}" for k, v in each.items())
                for each in cv_results["params"]
            ]
        return cls.from_scores(
            cv_results[f"mean_test_{score}"], cv_results[f"mean_test_{accuracy}"],
            names=names, score_name=score, accuracy_name=accuracy, ax=ax,
        )  # fmt: skip

    @classmethod
    @validate_params(
        {
            "estimators": [dict],
            "scorer": [callable],
            "X_test": "no_validation",
            "y_test": ["array-like"],
        },
        prefer_skip_nested_validation=True,
    )
    def from_estimators(
        cls,
        estimators,
        X,
        y,
        *,
        scorer,
        X_test,
        y_test,
        scoring=None,
        score_name="transferability score",
        ax=None,
    ):
        """Score fitted source models, and test them on other target rows.

        Parameters
        ----------
        estimators : dict of str to fitted estimator
            The source models.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Labeled target rows for the transferability score.
        y : array-like of shape (n_samples,)
            Their classes.
        scorer : callable
            ``scorer(estimator, X, y)``, such as
            :data:`~sktransfer.metrics.leep_scorer`.
        X_test : {array-like, sparse matrix} of shape (n_test, n_features)
            Further target rows.
        y_test : array-like of shape (n_test,)
            Their classes.
        scoring : str, callable or None, default=None
            How the models are tested. None: by their ``score`` method.
        score_name : str
            Name of the score, for the axis.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : TransferabilityDisplay
            The display, drawn.
        """
        scores = [scorer(model, X, y) for model in estimators.values()]
        accuracies = [
            check_scoring(model, scoring=scoring)(model, X_test, y_test)
            for model in estimators.values()
        ]
        name = scoring if isinstance(scoring, str) else "accuracy"
        return cls.from_scores(
            scores, accuracies, names=[str(key) for key in estimators],
            score_name=score_name, accuracy_name=f"{name} on the target", ax=ax,
        )  # fmt: skip

    def plot(self, ax=None):
        """Draw the points and print the rank correlations.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : TransferabilityDisplay
            This display.
        """
        ax = self._start(ax, (5.6, 4.4))
        (self.points_,) = ax.plot(
            self.scores, self.accuracies, "o", color=INK, markersize=6
        )
        if self.names is not None:
            ax.margins(x=0.18, y=0.1)  # room for the names beside the points
            self._write_names(ax)
        ax.set_xlabel(self.score_name)
        ax.set_ylabel(self.accuracy_name)
        ax.set_title(
            f"Spearman {self.spearman:.2f}, Kendall {self.kendall:.2f}, "
            f"{len(self.scores)} models",
            fontsize=10,
        )
        return self

    def _write_names(self, ax):
        """Write each name at the corner of its point where it covers least."""
        ax.autoscale_view()
        points = ax.transData.transform(np.column_stack([self.scores, self.accuracies]))
        points *= 72 / ax.figure.dpi
        taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in points]
        names = [plain_text(name) for name in self.names]
        for name, (x, y), xy in zip(
            names, points, self.points_.get_xydata(), strict=True
        ):
            width, height = 0.6 * _FONT * len(name), 1.1 * _FONT
            boxes = [
                (left, low, left + width, low + height)
                for low in (y + 4, y - 4 - height, y - height / 2)
                for left in (x + 5, x - 5 - width)
            ]
            best = min(boxes, key=lambda box: sum(_overlap(box, t) for t in taken))
            taken.append(best)
            ax.annotate(
                name, xy, xytext=(best[0] - x, best[1] - y),
                textcoords="offset points", fontsize=_FONT,
            )  # fmt: skip


def _overlap(a, b):
    """Return the area that two boxes (left, low, right, high) share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)
