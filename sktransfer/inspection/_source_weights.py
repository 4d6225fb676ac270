"""A heat map of the weights of the sources."""

import numpy as np

from sktransfer._compat import validate_params
from sktransfer.inspection._display import (
    INK,
    Display,
    domain_label,
    find_attribute,
    named,
    plain_text,
)

__all__ = ["SourceWeightsDisplay"]


class SourceWeightsDisplay(Display):
    """Heat map of the weight of every source for every target.

    Parameters
    ----------
    weights : array-like of shape (n_targets, n_sources)
        Weights. NaN where a target has no such source; that cell is crossed out.
    target_names : list of str of length n_targets
        Names of the targets, or of the methods that weigh the sources.
    source_names : list of str of length n_sources
        Names of the sources.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    image_ : matplotlib AxesImage
        The heat map.
    text_ : ndarray of shape (n_targets, n_sources)
        The printed values.

    See Also
    --------
    SampleWeightDisplay : Weights of single rows.

    Examples
    --------
    >>> from sktransfer.inspection import SourceWeightsDisplay
    >>> display = SourceWeightsDisplay(
    ...     [[0.9, 0.1]], target_names=["north"], source_names=["south", "east"]
    ... )
    >>> [text.get_text() for text in display.plot().text_[0]]
    ['0.90', '0.10']
    """

    def __init__(self, weights, *, target_names, source_names):
        self.weights = np.array(weights, dtype=float)
        self.target_names = list(target_names)
        self.source_names = list(source_names)

    def _columns(self):
        n_targets, n_sources = self.weights.shape
        return {
            "target": np.repeat(np.array(self.target_names, dtype=object), n_sources),
            "source": np.tile(np.array(self.source_names, dtype=object), n_targets),
            "weight": self.weights.ravel(),
        }

    @classmethod
    @validate_params(
        {"estimator": "no_validation", "domain_names": [dict, None]},
        prefer_skip_nested_validation=True,
    )
    def from_estimator(cls, estimator, *, domain_names=None, ax=None):
        """Read the weights of fitted estimators.

        Parameters
        ----------
        estimator : fitted estimator or dict of str to fitted estimator
            Each has ``source_weights_`` and becomes one line, or has ``affinity_``
            (every task in turn is the target) and becomes one line per task. It may
            stand at the end of a pipeline, in a search or in a guard.
        domain_names : dict of int to str, default=None
            Names of the domain ids.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : SourceWeightsDisplay
            The display, drawn.
        """
        rows = {}
        for name, model in named(estimator).items():
            part, attribute = find_attribute(model, ["affinity_", "source_weights_"])
            if attribute == "affinity_":
                tasks = [domain_label(task, domain_names) for task in part.task_ids_]
                for task, weights in zip(tasks, part.affinity_, strict=True):
                    row = task if len(named(estimator)) == 1 else f"{name}: {task}"
                    rows[row] = dict(zip(tasks, weights, strict=True))
            else:
                names = _source_names(part, domain_names)
                rows[name] = dict(zip(names, part.source_weights_, strict=True))
        sources = list(dict.fromkeys(source for row in rows.values() for source in row))
        if not sources:
            raise ValueError(
                "estimator was fitted without sources: no weights to show."
            )
        weights = [
            [row.get(source, np.nan) for source in sources] for row in rows.values()
        ]
        display = cls(weights, target_names=list(rows), source_names=sources)
        return display.plot(ax=ax)

    def plot(self, ax=None, *, values_format=".2f", cmap="Blues", rotation=0):
        """Draw the heat map, with the values in its cells.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.
        values_format : str, default=".2f"
            Format of the printed values.
        cmap : str or matplotlib Colormap, default="Blues"
            Colors from the smallest to the largest weight.
        rotation : float, default=0
            Degrees by which the names of the sources are turned.

        Returns
        -------
        display : SourceWeightsDisplay
            This display.
        """
        n_targets, n_sources = self.weights.shape
        ax = self._start(ax, (2.2 + 0.9 * n_sources, 1.4 + 0.5 * n_targets))
        finite = self.weights[np.isfinite(self.weights)]
        top = finite.max() if finite.size and finite.max() > 0 else 1.0
        low = min(finite.min(), 0.0) if finite.size else 0.0
        shown = np.ma.masked_invalid(self.weights)
        self.image_ = ax.imshow(shown, cmap=cmap, vmin=low, vmax=top, aspect="auto")
        self.text_ = np.empty(self.weights.shape, dtype=object)
        for (row, column), weight in np.ndenumerate(self.weights):
            shade = self.image_.cmap(self.image_.norm(weight))
            self.text_[row, column] = ax.text(
                column, row,
                format(weight, values_format) if np.isfinite(weight) else "-",
                ha="center", va="center",
                color="white" if _is_dark(shade) and np.isfinite(weight) else INK,
            )  # fmt: skip
        names = [plain_text(name) for name in self.source_names]
        ax.set_xticks(range(n_sources), names, rotation=rotation)
        ax.set_yticks(range(n_targets), map(plain_text, self.target_names))
        ax.set_xticks(np.arange(n_sources + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(n_targets + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="0.6", linewidth=0.8)
        ax.tick_params(which="minor", length=0)
        ax.set_xlabel("weight of the source")
        return self


def _is_dark(color):
    """Tell whether white has more contrast to a color than black has."""
    channels = np.asarray(color[:3])
    linear = np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )
    return 0.05 + linear @ (0.2126, 0.7152, 0.0722) < np.sqrt(0.05 * 1.05)


def _source_names(part, domain_names):
    if hasattr(part, "source_ids_"):
        return [domain_label(source, domain_names) for source in part.source_ids_]
    if hasattr(part, "source_names_"):
        return [str(name) for name in part.source_names_]
    return [f"source {k}" for k in range(1, len(part.source_weights_) + 1)]
