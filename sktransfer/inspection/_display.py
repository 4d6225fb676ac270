"""What all displays share: the table of their data and the axes to draw on."""

import numpy as np
from sklearn.pipeline import Pipeline

from sktransfer._compat import check_matplotlib_support, check_pandas_support
from sktransfer._domains import TARGET_ID, is_source

#: told apart in black and white
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oo")
INK = "black"
#: blue and, a little darker, vermilion of Okabe and Ito, which color-blind readers tell
#: apart; texts in them can be read on white
HELPS, HURTS = "#0072B2", "#BF5300"
#: further colors for color-blind readers, which mean neither help nor harm
COLORS = ("#b44b4e", "#07a1b2", "#7d42e1", "#6e2c00", "#9c9104")


class Display:
    """Base of displays: ``_columns`` names the data, ``plot`` draws them."""

    def frame(self):
        """Return the data of the picture as one table.

        Returns
        -------
        frame : pandas.DataFrame
            A copy; changing it does not change the display.
        """
        pandas = check_pandas_support(f"{type(self).__name__}.frame")
        return pandas.DataFrame(self._columns()).copy()

    def _start(self, ax, figsize):
        """Set ``ax_`` and ``figure_``, making a new figure unless ``ax`` is given."""
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if ax is None:
            import matplotlib.pyplot as plt

            figure, ax = plt.subplots(figsize=figsize, layout="constrained")
            figure.get_layout_engine().set(w_pad=0.09, h_pad=0.09)
        self.ax_, self.figure_ = ax, ax.figure
        return ax


def named(estimators):
    """Return a dict of name to estimator; a single one goes by its class's name."""
    if isinstance(estimators, dict):
        if not estimators:
            raise ValueError("estimator is an empty dict: give at least one entry.")
        return {str(name): estimator for name, estimator in estimators.items()}
    last = estimators
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    return {type(last).__name__: estimators}


def find_attribute(estimator, names):
    """Return the first part of a fitted estimator that has one of ``names``."""
    part = estimator
    while part is not None:
        for name in names:
            if hasattr(part, name):
                return part, name
        if isinstance(part, Pipeline):
            part = part.steps[-1][1]
            continue
        for inner in ("best_estimator_", "transfer_", "estimator_"):
            if hasattr(part, inner):
                part = getattr(part, inner)
                break
        else:
            part = None
    raise ValueError(
        f"{type(estimator).__name__} has no attribute {' or '.join(names)}. Fit it "
        "first, or take an estimator that has one after fit."
    )


def domain_label(domain, domain_names):
    """Return the name of a domain id."""
    domain = int(domain)
    name = "target" if domain == TARGET_ID else f"target {-domain}"
    if is_source(np.array(domain)):
        name = f"source {domain}"
    return str((domain_names or {}).get(domain, name))


#: a longer name is cut in its middle
_LONGEST_NAME = 40


def short_name(name):
    """Return a name in one line of at most 40 characters.

    Parameters
    ----------
    name : object
        Name of a domain, a class, a method or a model.

    Returns
    -------
    text : str
        A longer name without its middle, as its end tells most of them apart.
    """
    text = " ".join(str(name).split())
    if len(text) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        text = f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[1 - half :]}"
    return text


def plain_text(name):
    """Return a name as pictures draw it: no formula, one line, not too long.

    Parameters
    ----------
    name : object
        Name of a domain, a class, a method or a model.

    Returns
    -------
    text : str
        The :func:`short_name`, with dollar signs that do not start a formula.
    """
    text = short_name(name)
    # a legend leaves out labels that begin with an underscore
    return ("\N{HAIR SPACE}" * text.startswith("_") + text).replace("$", r"\$")


def number(value):
    """Return a number with three digits, or whole from 1000 on."""
    if value is None or np.isnan(value):
        return "-"
    if np.isinf(value):
        return "infinity" if value > 0 else "minus infinity"
    if 999.5 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1e7 else f"{value:.2e}"
