"""The protocol of displays: store, compute, draw; plot changes no data."""

import ast
import copy
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from sklearn.linear_model import Ridge

import sktransfer.inspection as inspection
from sktransfer.baselines import Pooled
from sktransfer.datasets import make_concept_shift
from sktransfer.inspection import (
    DomainEmbeddingDisplay,
    LearningCurveTransferDisplay,
    NegativeTransferDisplay,
    SampleWeightDisplay,
    SourceWeightsDisplay,
    TransferabilityDisplay,
)
from sktransfer.inspection._display import COLORS, HELPS, HURTS, INK, plain_text
from sktransfer.inspection._domain_embedding import _TARGET_STYLE
from sktransfer.instance import KMM
from sktransfer.multisource import UOWQ


def _data():
    return make_concept_shift(
        40, n_labeled=16, n_unlabeled=10, n_features=3, shift=[0.0, 2.0], random_state=0
    )


def _ntg_estimator(ax):
    data = _data()
    return NegativeTransferDisplay.from_estimator(
        {"a": Pooled(Ridge()), "b": Pooled(Ridge(), source_weight=0.1)},
        data.X,
        data.y,
        sample_domain=data.sample_domain,
        by="source",
        cv=3,
        random_state=0,
        ax=ax,
    )


def _ntg_cv_results(ax):
    results = {"test_ntg": np.array([0.1, -0.2, 0.3])}
    return NegativeTransferDisplay.from_cv_results(results, by="fold", ax=ax)


def _ntg_predictions(ax):
    return NegativeTransferDisplay.from_predictions(
        ["a", "b", "b"], {"x": ["a", "a", "b"]}, ["a", "b", "a"], ax=ax
    )


def _source_weights(ax):
    data = _data()
    model = UOWQ(Ridge()).fit(data.X, data.y, sample_domain=data.sample_domain)
    return SourceWeightsDisplay.from_estimator(model, ax=ax)


def _sample_weight(ax):
    data = _data()
    model = KMM(Ridge()).fit(data.X, data.y, sample_domain=data.sample_domain)
    ids = data.sample_domain[data.sample_domain > 0]
    return SampleWeightDisplay.from_estimator(model, flag=ids, ax=ax)


def _embedding(ax):
    data = _data()
    return DomainEmbeddingDisplay.from_rows(
        data.X, data.X - 1, sample_domain=data.sample_domain, ax=ax
    )


def _embedding_one_panel(ax):
    data = _data()
    y = np.where(data.sample_domain > 0, data.y_true > 0, None)
    return DomainEmbeddingDisplay.from_rows(
        data.X, y=y, sample_domain=data.sample_domain, ax=ax
    )


def _transferability(ax):
    return TransferabilityDisplay.from_scores(
        [1.0, 2.0, 3.0], [0.5, 0.7, 0.6], names=["a", "b", "c"], ax=ax
    )


def _learning_curve(ax):
    data = _data()
    return LearningCurveTransferDisplay.from_estimator(
        Pooled(Ridge()),
        data.X,
        data.y,
        sample_domain=data.sample_domain,
        n_labels=[3, 8],
        n_splits=2,
        ax=ax,
    )


MAKERS = [
    _ntg_estimator,
    _ntg_cv_results,
    _ntg_predictions,
    _source_weights,
    _sample_weight,
    _embedding,
    _embedding_one_panel,
    _transferability,
    _learning_curve,
]
every_display = pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)


def _data_of(display):
    return {k: copy.deepcopy(v) for k, v in vars(display).items() if k[-1] != "_"}


def _assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_equal(second[name], value, err_msg=name)


def test_every_display_is_tested():
    made = {type(make(None)).__name__ for make in MAKERS}
    assert made == {name for name in inspection.__all__ if name.endswith("Display")}


@every_display
def test_from_methods_draw_and_plot_returns_self(make, pyplot):
    display = make(None)
    assert display.figure_ is display.ax_.figure
    assert display.plot() is display
    pyplot.close("all")


@every_display
def test_ax_is_used(make, pyplot):
    figure, (left, right) = pyplot.subplots(1, 2)
    display = make(left)
    assert display.ax_ is left and display.figure_ is figure
    assert display.plot(ax=right).ax_ is right
    assert pyplot.get_fignums() == [figure.number]
    figure.draw_without_rendering()


@every_display
def test_plot_changes_no_data(make):
    display = make(None)
    before = _data_of(display)
    display.plot().figure_.draw_without_rendering()
    _assert_same(before, _data_of(display))


@every_display
def test_init_takes_computed_data_only(make):
    display = make(None)
    again = type(display)(**_data_of(display))
    assert not [name for name in vars(again) if name.endswith("_")]
    _assert_same(_data_of(display), _data_of(again))


@every_display
def test_frame_is_a_copy_of_the_data(make):
    display = make(None)
    before = _data_of(display)
    frame = display.frame()
    assert len(frame) and frame.columns.is_unique
    for column in frame:
        frame[column] = 0
    _assert_same(before, _data_of(display))
    assert not (display.frame() == 0).all().all()


@every_display
def test_same_input_same_data(make):
    _assert_same(_data_of(make(None)), _data_of(make(None)))


@every_display
def test_axes_say_what_they_show(make):
    display = make(None)
    for panel in getattr(display, "panels_", [display.ax_]):
        assert panel.get_xlabel()


def test_plotting_libraries_are_imported_where_they_are_used():
    files = Path(inspection.__file__).parent.glob("*.py")
    top = [node for file in files for node in ast.parse(file.read_text()).body]
    names = {alias.name for n in top if isinstance(n, ast.Import) for alias in n.names}
    names |= {node.module for node in top if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"matplotlib", "pandas"}


@pytest.mark.parametrize(
    ("module", "use"),
    [("matplotlib", lambda d: d.plot()), ("pandas", lambda d: d.frame())],
)
def test_missing_library_is_named(monkeypatch, module, use):
    display = SampleWeightDisplay([1.0, 2.0])
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=module):
        use(display)


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("cost_$^$", r"cost_\$^\$"),
        ("Store $5", r"Store \$5"),
        ("$\\foo$", r"\$\foo\$"),
        ("_hidden", "\N{HAIR SPACE}_hidden"),
        ("two\nlines", "two lines"),
        ("a" * 30 + "b" * 50, "a" * 20 + "\N{HORIZONTAL ELLIPSIS}" + "b" * 19),
        (7, "7"),
    ],
)
def test_kind_42_names_are_drawn_as_they_are(name, drawn):
    from matplotlib.text import Text

    text = plain_text(name)
    assert text == drawn
    rendered, is_formula = Text()._preprocess_math(text)
    assert not is_formula
    assert rendered == drawn.replace(r"\$", "$")


def test_kind_42_every_picture_takes_any_name():
    names = ["cost_$^$", "_hidden", "a\nb", "<b>", "50%", "x" * 90]
    intervals = np.tile([0.0, 0.2], (12, 1))
    displays = [
        NegativeTransferDisplay(np.full(6, 0.1), intervals[:6], methods=names),
        NegativeTransferDisplay(
            np.full(12, 0.1), intervals, methods=names * 2,
            groups=["$^$"] * 6 + ["_g"] * 6,
        ),
        SourceWeightsDisplay(np.ones((6, 6)), target_names=names, source_names=names),
        TransferabilityDisplay(
            np.arange(6.0), np.arange(6.0), names=names, spearman=1.0, kendall=1.0
        ),
    ]  # fmt: skip
    for display in displays:
        display.plot().figure_.canvas.draw()


#: what color-blind readers see of linear RGB, by Machado, Oliveira and Fernandes (2009)
SIGHTS = [
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
     [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
     [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
     [0.004733, 0.691367, 0.303900]],
]  # fmt: skip
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375],
                   [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip


def _linear(color):
    channels = np.array(to_rgb(color))
    return np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )


def _contrast(color, other="white"):
    """Contrast of two colors by WCAG 2."""
    dark, light = sorted(0.05 + TO_XYZ[1] @ _linear(c) for c in (color, other))
    return light / dark


def _lab(linear):
    ratio = TO_XYZ @ np.clip(linear, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(
    "colors", [(HELPS, HURTS, INK), (*COLORS, _TARGET_STYLE[1])], ids=["gap", "domains"]
)
def test_colors_can_be_told_apart_by_all_readers(colors):
    for sight in np.array(SIGHTS):
        seen = [_lab(sight @ _linear(color)) for color in colors]
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 20


def test_colors_have_enough_contrast():
    assert all(_contrast(color) >= 3 for color in COLORS)  # markers
    assert all(_contrast(color) >= 4.5 for color in (HELPS, HURTS))  # texts, too


def test_weights_can_be_read_on_every_shade(pyplot):
    display = SourceWeightsDisplay(
        np.linspace(0, 1, 40)[None], target_names="t", source_names=range(40)
    ).plot()
    shades = display.image_.cmap(display.image_.norm(display.weights[0]))
    for text, shade in zip(display.text_[0], shades, strict=True):
        assert _contrast(text.get_color(), shade[:3]) >= 4.5


def test_more_than_five_domains_differ():
    names = [f"s{k}" for k in range(12)]
    display = DomainEmbeddingDisplay(
        np.zeros((13, 2)), None, domains=[*names, "t"], is_target=[False] * 12 + [True]
    )
    assert len(set(display._domain_styles().values())) == 13
