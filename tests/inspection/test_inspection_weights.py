"""SourceWeightsDisplay and SampleWeightDisplay show what the estimators hold."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from sktransfer.datasets import load_perturbed_digits, make_concept_shift
from sktransfer.inspection import SampleWeightDisplay, SourceWeightsDisplay
from sktransfer.instance import KMM
from sktransfer.multisource import UOWQ, MMDWeightedEnsemble, UOWQMultiTask


@pytest.fixture(scope="module")
def data():
    return make_concept_shift(
        40, n_labeled=16, n_unlabeled=0, n_features=3, shift=[0.0, 3.0], random_state=0
    )


def fitted(estimator, data):
    with sklearn.config_context(enable_metadata_routing=True):
        return estimator.fit(data.X, data.y, sample_domain=data.sample_domain)


def test_weights_of_one_estimator(data):
    model = fitted(UOWQ(Ridge()), data)
    display = SourceWeightsDisplay.from_estimator(
        model, domain_names={1: "near", 2: "far"}
    )
    assert_array_equal(display.weights, [model.source_weights_])
    assert display.source_names == ["near", "far"]
    assert display.target_names == ["UOWQ"]
    assert display.weights[0, 0] > display.weights[0, 1]


def test_inside_a_pipeline(data):
    pipe = fitted(make_pipeline(StandardScaler(), UOWQ(Ridge())), data)
    display = SourceWeightsDisplay.from_estimator(pipe)
    assert_array_equal(display.weights, [pipe[-1].source_weights_])
    assert display.source_names == ["source 1", "source 2"]


def test_methods_side_by_side_and_absent_sources(data):
    rows = data.sample_domain != 2
    part = Bunch(X=data.X[rows], y=data.y[rows], sample_domain=data.sample_domain[rows])
    models = {
        "all": fitted(MMDWeightedEnsemble(Ridge()), data),
        "first": fitted(MMDWeightedEnsemble(Ridge()), part),
    }
    display = SourceWeightsDisplay.from_estimator(models)
    assert display.target_names == ["all", "first"]
    assert np.isnan(display.weights[1, 1])
    assert display.text_[1, 1].get_text() == "-"
    frame = display.frame().set_index(["target", "source"])
    assert frame.weight["all", "source 2"] == models["all"].source_weights_[1]


def test_every_task_is_a_target_in_turn(data):
    model = fitted(UOWQMultiTask(LinearRegression()), data)
    display = SourceWeightsDisplay.from_estimator(model)
    assert_array_equal(display.weights, model.affinity_)
    assert display.target_names == display.source_names
    assert display.target_names[0] == "target"


def test_values_are_printed_legibly():
    display = SourceWeightsDisplay(
        [[0.0, 1.0]], target_names=["t"], source_names=["a", "b"]
    ).plot(values_format=".1f")
    light, dark = display.text_[0]
    assert (light.get_text(), dark.get_text()) == ("0.0", "1.0")
    assert (light.get_color(), dark.get_color()) == ("black", "white")


def test_weights_of_zero_can_be_drawn():
    SourceWeightsDisplay([[0.0]], target_names=["t"], source_names=["a"]).plot()


def test_estimators_without_weights_are_refused(data):
    with pytest.raises(ValueError, match=r"Ridge has no attribute .*source_weights_"):
        SourceWeightsDisplay.from_estimator(Ridge())
    alone = UOWQ(Ridge()).fit(data.X, data.y)
    with pytest.raises(ValueError, match="without sources"):
        SourceWeightsDisplay.from_estimator(alone)


@pytest.fixture(scope="module")
def digits():
    data = load_perturbed_digits(0.5, 0.0, random_state=0)
    source = np.flatnonzero(data.sample_domain > 0)[:80]
    rows = np.r_[source, np.flatnonzero(data.sample_domain < 0)[:100]]
    part = Bunch(**{k: data[k][rows] for k in ("X", "y", "sample_domain")})
    model = fitted(KMM(LogisticRegression(max_iter=1000)), part)
    return model, data.input_perturbed[source]


def test_flag_splits_the_rows(digits):
    model, flag = digits
    display = SampleWeightDisplay.from_estimator(
        model, flag=flag, flag_names={False: "intact", True: "perturbed"}
    )
    frame = display.frame()
    assert_array_equal(frame.sample_weight, model.sample_weight_)
    assert_array_equal(frame.flag, flag)
    mean = frame.groupby("flag").sample_weight.mean()
    assert mean[False] > mean[True]  # KMM trusts intact images
    labels = [bars.get_label() for bars in display.bars_]
    assert labels[0].startswith(f"intact: {(~flag).sum()} rows")
    assert labels[1].startswith(f"perturbed: {flag.sum()} rows")


def test_bars_are_shares_of_each_group(digits):
    model, flag = digits
    display = SampleWeightDisplay.from_estimator(model, flag=flag).plot(bins=7)
    for bars in display.bars_:
        heights = [bar.get_height() for bar in bars]
        assert len(heights) == 7
        assert_allclose(sum(heights), 1.0)
    first, second = (bars[0] for bars in display.bars_)
    assert first.get_hatch() != second.get_hatch()


def test_one_group_without_a_flag():
    display = SampleWeightDisplay([0.5, 0.5, 2.0]).plot(bins=2)
    assert [bar.get_height() for bar in display.bars_[0]] == [2 / 3, 1 / 3]


def test_sample_weights_are_checked(digits, data):
    model, flag = digits
    with pytest.raises(ValueError, match=r"flag has 79 entries.*80 source rows"):
        SampleWeightDisplay.from_estimator(model, flag=flag[1:])
    with pytest.raises(ValueError, match="no attribute sample_weight_"):
        SampleWeightDisplay.from_estimator(Ridge())
    alone = KMM(Ridge()).fit(data.X, data.y)
    with pytest.raises(ValueError, match="without sources"):
        SampleWeightDisplay.from_estimator(alone)
    with pytest.raises(ValueError, match="'bins' parameter"):
        SampleWeightDisplay([1.0]).plot(bins=0)
