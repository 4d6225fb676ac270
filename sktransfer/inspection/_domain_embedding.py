"""Rows of all domains in the plane, before and after adaptation."""

from numbers import Integral
from string import ascii_letters

import numpy as np
from sklearn import config_context
from sklearn.base import is_regressor
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metadata_routing import get_routing_for_object

from sktransfer._compat import HasMethods, Interval, StrOptions, validate_params
from sktransfer._domains import check_domains
from sktransfer.inspection._display import (
    COLORS,
    INK,
    MARKERS,
    Display,
    domain_label,
    plain_text,
)
from sktransfer.metrics._checks import infer_task

__all__ = ["DomainEmbeddingDisplay"]

_OPTIONS = {
    "sample_domain": ["array-like"],
    "y": ["array-like", None],
    "method": [StrOptions({"pca", "tsne"})],
    "max_samples": [Interval(Integral, 2, None, closed="left"), None],
    "domain_names": [dict, None],
    "random_state": ["random_state"],
}
#: fillings of the sources beside their colors; the target is full and dark
_FILLS = ("none", "left", "top", "right", "bottom")
_TARGET_STYLE = ("full", "#0b2545")


class DomainEmbeddingDisplay(Display):
    """Rows of all domains in the plane, before and after adaptation.

    Domains that lie apart before and mix after were adapted; classes that lie apart
    after can be told apart. Target rows are filled, source rows are open or half
    filled; the shape of the marker is the class, a dot a row without a label.

    Parameters
    ----------
    before : array-like of shape (n_rows, 2)
        Positions of the rows before adaptation.
    after : array-like of shape (n_rows, 2) or None
        Positions after adaptation. None: there is only one panel.
    domains : array-like of str of shape (n_rows,)
        Name of the domain of each row.
    is_target : array-like of bool of shape (n_rows,)
        Whether a row is a target row.
    classes : array-like of shape (n_rows,), default=None
        Class of each row; None where it is unknown. None: no classes are marked.
    axis_name : str, default="component"
        Name of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that hold the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    panels_ : list of matplotlib Axes
        The panel before and, if there is one, the panel after.

    See Also
    --------
    sktransfer.metrics.compare_domains : The distances as numbers.

    Examples
    --------
    >>> from sktransfer.datasets import make_subspace_shift
    >>> from sktransfer.feature import TCA
    >>> from sktransfer.inspection import DomainEmbeddingDisplay
    >>> data = make_subspace_shift(random_state=0)
    >>> tca = TCA(n_components=2, kernel="linear")
    >>> tca = tca.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> display = DomainEmbeddingDisplay.from_estimator(
    ...     tca, data.X, data.y, sample_domain=data.sample_domain, max_samples=50
    ... )
    >>> display.before.shape, display.after.shape
    ((100, 2), (100, 2))
    """

    def __init__(
        self, before, after, *, domains, is_target, classes=None, axis_name="component"
    ):
        self.before = np.array(before, dtype=float)
        self.after = None if after is None else np.array(after, dtype=float)
        self.domains = np.asarray(domains, dtype=object)
        self.is_target = np.asarray(is_target, dtype=bool)
        self.classes = None if classes is None else np.asarray(classes, dtype=object)
        self.axis_name = axis_name

    def _columns(self):
        columns = {"domain": self.domains, "is_target": self.is_target}
        if self.classes is not None:
            columns["class"] = self.classes
        for name, positions in (("before", self.before), ("after", self.after)):
            if positions is not None:
                columns |= {f"{name}_{k + 1}": positions[:, k] for k in range(2)}
        return columns

    @classmethod
    @validate_params(
        {"estimator": [HasMethods("fit")], **_OPTIONS},
        prefer_skip_nested_validation=True,
    )
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        sample_domain,
        method="pca",
        max_samples=300,
        domain_names=None,
        random_state=0,
        ax=None,
    ):
        """Transform the rows by a fitted transformer or pipeline and draw both.

        Parameters
        ----------
        estimator : fitted estimator
            A transformer, or a pipeline; of a pipeline that ends in a predictor the
            steps before.
        X : array-like of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,), default=None
            Classes, with markers on the unlabeled target rows. None, continuous, or
            of an estimator that ends in a regressor: no classes are marked.
        sample_domain : array-like of shape (n_samples,)
            Positive ids for sources, negative for the target.
        method : {"pca", "tsne"}, default="pca"
            How more than two features become two: principal components of the rows
            of all domains, or t-SNE.
        max_samples : int or None, default=300
            A domain with more rows is replaced by a random sample of this size.
        domain_names : dict of int to str, default=None
            Names of the domain ids.
        random_state : int, RandomState instance or None, default=0
            Draws the sample and starts t-SNE.
        ax : matplotlib Axes, default=None
            Axes to draw on; they are divided if there are two panels. None: a new
            figure.

        Returns
        -------
        display : DomainEmbeddingDisplay
            The display, drawn.
        """
        if is_regressor(estimator):
            y = None  # its labels are values, however few they are
        if isinstance(estimator, Pipeline) and not hasattr(estimator, "transform"):
            estimator = estimator[:-1]
        if not hasattr(estimator, "transform"):
            raise TypeError(
                f"estimator={type(estimator).__name__}(...) has no transform. Give a "
                "fitted transformer, or a pipeline with one before its last step."
            )
        with config_context(enable_metadata_routing=True):
            routing = get_routing_for_object(estimator)
            takes = routing.consumes("transform", ["sample_domain"])
            domain = {"sample_domain": sample_domain} if takes else {}
            adapted = estimator.transform(X, **domain)
        return cls.from_rows(
            X, adapted, y=y, sample_domain=sample_domain, method=method,
            max_samples=max_samples, domain_names=domain_names,
            random_state=random_state, ax=ax,
        )  # fmt: skip

    @classmethod
    @validate_params(_OPTIONS, prefer_skip_nested_validation=True)
    def from_rows(
        cls,
        X,
        X_adapted=None,
        *,
        y=None,
        sample_domain,
        method="pca",
        max_samples=300,
        domain_names=None,
        random_state=0,
        ax=None,
    ):
        """Draw rows, and the same rows after adaptation if there are such.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of every domain, in any order.
        X_adapted : array-like of shape (n_samples, n_features_out), default=None
            The same rows after adaptation.
        y : array-like of shape (n_samples,), default=None
            Classes, with markers on the unlabeled target rows. None, or continuous:
            no classes are marked.
        sample_domain : array-like of shape (n_samples,)
            Positive ids for sources, negative for the target.
        method : {"pca", "tsne"}, default="pca"
            How more than two features become two.
        max_samples : int or None, default=300
            A domain with more rows is replaced by a random sample of this size.
        domain_names : dict of int to str, default=None
            Names of the domain ids.
        random_state : int, RandomState instance or None, default=0
            Draws the sample and starts t-SNE.
        ax : matplotlib Axes, default=None
            Axes to draw on; they are divided if there are two panels. None: a new
            figure.

        Returns
        -------
        display : DomainEmbeddingDisplay
            The display, drawn.
        """
        rng = check_random_state(random_state)
        X = check_array(X, input_name="X")
        data = check_domains(X, y, sample_domain, numeric_labels=None)
        keep = _sample(data, max_samples, rng)
        data = data.take(keep)
        seed = rng.randint(np.iinfo(np.int32).max)
        before, after = _plane(data.X, method, seed), None
        if X_adapted is not None:
            adapted = check_array(X_adapted, input_name="X_adapted")
            if len(adapted) != len(X):
                raise ValueError(
                    f"X_adapted has {len(adapted)} rows, but X has {len(X)}."
                )
            after = _plane(adapted[keep], method, seed)
        display = cls(
            before,
            after,
            domains=[domain_label(d, domain_names) for d in data.sample_domain],
            is_target=data.is_target,
            classes=_classes(data),
            axis_name={"pca": "component", "tsne": "t-SNE axis"}[method],
        )
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; they are divided if there are two panels. None: a new
            figure.

        Returns
        -------
        display : DomainEmbeddingDisplay
            This display.
        """
        views = [("before adaptation", self.before)]
        if self.after is not None:
            views.append(("after adaptation", self.after))
        ax = self._start(ax, (0.8 + 4.2 * len(views), 4.8))
        self.panels_ = [ax]
        if len(views) > 1:
            ax.set_axis_off()
            self.panels_ = [
                ax.inset_axes([0.54 * k, 0.0, 0.46, 1.0]) for k in range(len(views))
            ]
        for panel, (title, positions) in zip(self.panels_, views, strict=True):
            self._draw_rows(panel, positions)
            if len(views) > 1:
                panel.set_title(title, fontsize=10)
            panel.set_xlabel(f"{self.axis_name} 1")
            panel.set_ylabel(f"{self.axis_name} 2")
            panel.tick_params(labelsize=8)
        self._add_legend(ax)
        return self

    def _draw_rows(self, panel, positions):
        markers = self._class_markers()
        labels = [None] * len(self.domains) if self.classes is None else self.classes
        other = "o" if self.classes is None else "."
        shapes = np.array([markers.get(c, other) for c in labels], dtype=object)
        for domain, (fill, color) in self._domain_styles().items():
            for shape in dict.fromkeys(shapes):
                rows = (self.domains == domain) & (shapes == shape)
                if not rows.any():
                    continue
                marker = _accented(shape, fill)
                size = {1: 5.5, 3: 5.5}.get(len(marker), 7.5)
                panel.plot(
                    *positions[rows].T, linestyle="", marker=marker, color=color,
                    markersize=4 if shape == "." else size, fillstyle=fill,
                    markerfacecoloralt="white", markeredgewidth=0.8, alpha=0.85,
                    zorder=3 if fill == "full" else 2,
                )  # fmt: skip

    def _class_markers(self):
        """Return a marker per class: shapes, or letters if there are too many."""
        if self.classes is None:
            return {}
        known = sorted({c for c in self.classes if c is not None})
        if len(known) <= len(MARKERS):
            return dict(zip(known, MARKERS, strict=False))
        names = [str(label) for label in known]
        if not all(len(name) == 1 and name.isalnum() for name in names):
            names = [ascii_letters[k % len(ascii_letters)] for k in range(len(known))]
        return {label: f"${name}$" for label, name in zip(known, names, strict=True)}

    def _domain_styles(self):
        sources = dict.fromkeys(self.domains[~self.is_target])
        n_fills, n_colors = len(_FILLS), len(COLORS)
        styles = {  # after five sources the colors go on to other fillings
            name: (_FILLS[k % n_fills], COLORS[(k + k // n_fills) % n_colors])
            for k, name in enumerate(sources)
        }
        return styles | dict.fromkeys(self.domains[self.is_target], _TARGET_STYLE)

    def _add_legend(self, ax):
        from matplotlib.lines import Line2D

        def handle(marker, label, color=INK, fill="none"):
            return Line2D(
                [], [], linestyle="", marker=_accented(marker, fill), color=color,
                fillstyle=fill, markerfacecoloralt="white", label=plain_text(label),
            )  # fmt: skip

        markers = self._class_markers()
        first = next(iter(markers.values()), "o")
        handles = [
            handle(first if first[0] == "$" else "o", name, color, fill)
            for name, (fill, color) in self._domain_styles().items()
        ]
        handles += [
            handle(marker, f"class {label}")
            for label, marker in markers.items()
            if marker != f"${label}$"
        ]
        if self.classes is not None and any(c is None for c in self.classes):
            handles.append(handle(".", "no label", fill="full"))
        longest = max(len(handle.get_label()) for handle in handles)
        # about 60 characters of this size are as wide as a panel
        fitting = max(1, min(3, _LEGEND_WIDTH // (longest + 3)))
        ax.legend(
            handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.07),
            ncols=min(len(handles), fitting * len(self.panels_)), frameon=False,
            fontsize=9,
            columnspacing=1.2, handletextpad=0.3,
        )  # fmt: skip


_LEGEND_WIDTH = 60


def _accented(marker, fill):
    """Tell the domains of letters apart by accents, which have no filling."""
    if not marker.startswith("$"):
        return marker
    letter = marker.strip("$")
    return {
        "full": rf"$\mathbf{{{letter}}}$",
        "left": rf"$\overline{{{letter}}}$",
        "top": rf"$\hat{{{letter}}}$",
        "right": rf"$\underline{{{letter}}}$",
        "bottom": rf"$\tilde{{{letter}}}$",
    }.get(fill, marker)


def _sample(data, max_samples, rng):
    """Return the rows to draw, ascending."""
    kept = []
    for domain in np.unique(data.sample_domain):
        rows = np.flatnonzero(data.rows_of(domain))
        if max_samples is not None and len(rows) > max_samples:
            rows = rng.choice(rows, max_samples, replace=False)
        kept.append(rows)
    return np.sort(np.concatenate(kept))


def _plane(X, method, seed):
    """Return two columns for the rows."""
    if X.shape[1] == 1:
        return np.column_stack([X, np.zeros(len(X))])
    if X.shape[1] == 2:
        return X
    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(X)
    perplexity = min(30.0, (len(X) - 1) / 3)
    return TSNE(2, perplexity=perplexity, random_state=seed).fit_transform(X)


def _classes(data):
    if data.y is None or not data.labeled.any():
        return None
    labels = data.labels(data.labeled)
    ask = "y as text to mark classes, or y=None to mark none"
    if infer_task(labels, argument=ask) == "regression":
        return None
    classes = np.full(len(data.y), None, dtype=object)
    if labels.dtype.kind == "f":  # integer classes, some of them missing
        labels = labels.astype(np.int64)
    classes[data.labeled] = labels.tolist()
    return classes
