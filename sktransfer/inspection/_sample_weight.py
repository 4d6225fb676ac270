"""A histogram of the weights of source rows."""

from numbers import Integral

import numpy as np

from sktransfer._compat import Interval, validate_params
from sktransfer.inspection._display import (
    COLORS,
    HATCHES,
    INK,
    Display,
    find_attribute,
    plain_text,
)

__all__ = ["SampleWeightDisplay"]


class SampleWeightDisplay(Display):
    """Histogram of the weights of source rows, split by a flag known of each row.

    The flag is side information on the rows: whether a label is
    corrupted, which source a row is from. Good weights tell the groups apart.

    Parameters
    ----------
    sample_weight : array-like of shape (n_source_rows,)
        Weights of the source rows.
    flag : array-like of shape (n_source_rows,), default=None
        Group of each source row. None: one group.
    flag_names : dict of object to str, default=None
        Name of each value of `flag`. None: the values.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    bars_ : list of matplotlib BarContainer
        Bars of each group.

    See Also
    --------
    SourceWeightsDisplay : One weight per source.

    Examples
    --------
    >>> from sktransfer.inspection import SampleWeightDisplay
    >>> display = SampleWeightDisplay([0.9, 1.0, 0.1], flag=[False, False, True])
    >>> float(display.frame().groupby("flag")["sample_weight"].mean()[True])
    0.1
    """

    def __init__(self, sample_weight, *, flag=None, flag_names=None):
        self.sample_weight = np.array(sample_weight, dtype=float)
        self.flag = None if flag is None else np.asarray(flag)
        self.flag_names = flag_names

    def _columns(self):
        group = {} if self.flag is None else {"flag": self.flag}
        return {"sample_weight": self.sample_weight, **group}

    @classmethod
    @validate_params(
        {
            "estimator": "no_validation",
            "flag": ["array-like", None],
            "flag_names": [dict, None],
        },
        prefer_skip_nested_validation=True,
    )
    def from_estimator(cls, estimator, *, flag=None, flag_names=None, ax=None):
        """Read the weights of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
            It has ``sample_weight_``, such as :class:`~sktransfer.instance.KMM`, or
            contains such an estimator at the end of a pipeline, in a search or in a
            guard.
        flag : array-like of shape (n_source_rows,), default=None
            Group of each source row, in the order of the rows in ``fit``.
        flag_names : dict of object to str, default=None
            Name of each value of `flag`. None: the values.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : SampleWeightDisplay
            The display, drawn.
        """
        weights = getattr(*find_attribute(estimator, ["sample_weight_"]))
        if not len(weights):
            raise ValueError(
                "estimator was fitted without sources: no weights to show."
            )
        if flag is not None and len(flag) != len(weights):
            raise ValueError(
                f"flag has {len(flag)} entries, but the fit had {len(weights)} source "
                "rows: give one entry per source row, e.g. flag[sample_domain > 0]."
            )
        return cls(weights, flag=flag, flag_names=flag_names).plot(ax=ax)

    @validate_params(
        {"self": "no_validation", "bins": [Interval(Integral, 1, None, closed="left")]},
        prefer_skip_nested_validation=True,
    )
    def plot(self, ax=None, *, bins=20):
        """Draw the histogram.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.
        bins : int >= 1, default=20
            Number of bins.

        Returns
        -------
        display : SampleWeightDisplay
            This display.
        """
        ax = self._start(ax, (6.4, 3.6))
        groups = self._groups()
        top = self.sample_weight.max()
        edges = np.linspace(0.0, top if top > 0 else 1.0, bins + 1)
        width = np.diff(edges)[0] * 0.9 / len(groups)
        self.bars_ = []
        for k, (name, weights) in enumerate(groups):
            share = np.histogram(weights, edges)[0] / len(weights)
            self.bars_.append(
                ax.bar(
                    edges[:-1] + (k + 0.5) * width, share, width,
                    facecolor=COLORS[k % len(COLORS)], edgecolor=INK, linewidth=0.7,
                    hatch=HATCHES[k % len(HATCHES)], label=_caption(name, weights),
                )
            )  # fmt: skip
        ax.set_xlabel("weight of a source row")
        ax.set_ylabel("share of the group" if len(groups) > 1 else "share of the rows")
        ax.legend(frameon=False)
        return self

    def _groups(self):
        if self.flag is None:
            return [("all source rows", self.sample_weight)]
        names = self.flag_names or {}
        return [
            (str(names.get(value, value)), self.sample_weight[self.flag == value])
            for value in np.unique(self.flag).tolist()
        ]


def _caption(name, weights):
    return f"{plain_text(name)}: {len(weights)} rows, mean {weights.mean():.2f}"
