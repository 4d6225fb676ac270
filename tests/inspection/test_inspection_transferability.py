"""TransferabilityDisplay: points, rank correlations, refusals."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sktransfer.datasets import make_label_shift
from sktransfer.inspection import TransferabilityDisplay
from sktransfer.metrics import leep_scorer
from sktransfer.model_selection import SourceToTargetSplit


def test_rank_correlations(rng):
    scores, accuracies = rng.normal(size=(2, 8)).round(1)
    display = TransferabilityDisplay.from_scores(scores, accuracies)
    assert display.spearman == stats.spearmanr(scores, accuracies)[0]
    assert display.kendall == stats.kendalltau(scores, accuracies)[0]
    assert f"Spearman {display.spearman:.2f}" in display.ax_.get_title()
    np.testing.assert_array_equal(display.points_.get_xdata(), scores)
    np.testing.assert_array_equal(display.points_.get_ydata(), accuracies)


def test_same_order_is_one_and_constant_is_undefined():
    make = TransferabilityDisplay.from_scores
    same = make([1, 2, 4], [0.1, 0.2, 0.9])
    assert (round(same.spearman, 9), round(same.kendall, 9)) == (1.0, 1.0)
    constant = make([1, 1, 1], [0.1, 0.2, 0.9])
    assert np.isnan(constant.spearman) and np.isnan(constant.kendall)


def _source_models():
    data = make_label_shift(60, n_labeled=20, n_unlabeled=0, n_test=40, random_state=0)
    source = data.sample_domain > 0
    models = {
        f"C={C}": LogisticRegression(C=C).fit(data.X[source], data.y[source])
        for C in (1e-3, 1.0, 100.0)
    }
    return data, ~source, models


def test_from_estimators_scores_and_tests_on_different_rows():
    data, target, models = _source_models()
    display = TransferabilityDisplay.from_estimators(
        models, data.X[target], data.y[target], scorer=leep_scorer,
        X_test=data.X_test, y_test=data.y_test, scoring="balanced_accuracy",
        score_name="LEEP",
    )  # fmt: skip
    frame = display.frame().set_index("model")
    for name, model in models.items():
        assert frame.score[name] == leep_scorer(model, data.X[target], data.y[target])
    assert display.ax_.get_xlabel() == "LEEP"
    assert "balanced_accuracy" in display.ax_.get_ylabel()


def test_from_cv_results(routing):
    data, _, _ = _source_models()
    search = GridSearchCV(
        LogisticRegression(), {"C": [1e-3, 1.0, 100.0]}, cv=SourceToTargetSplit(),
        scoring={"leep": leep_scorer, "accuracy": "accuracy"}, refit=False,
    )  # fmt: skip
    search.fit(data.X, data.y, sample_domain=data.sample_domain)
    display = TransferabilityDisplay.from_cv_results(search.cv_results_, score="leep")
    np.testing.assert_array_equal(display.scores, search.cv_results_["mean_test_leep"])
    assert display.names == ["C=0.001", "C=1.0", "C=100.0"]
    with pytest.raises(ValueError, match="no scores 'logme'"):
        TransferabilityDisplay.from_cv_results(search.cv_results_, score="logme")


def test_names_are_not_written_over_each_other(pyplot):
    display = TransferabilityDisplay.from_scores(
        [1.0, 1.02, 3.0], [0.5, 0.5, 0.6], names=["first model", "second model", "x"]
    )
    display.figure_.draw_without_rendering()
    first, second = (text.get_window_extent() for text in display.ax_.texts[:2])
    assert not first.overlaps(second)


@pytest.mark.parametrize(
    ("scores", "accuracies", "options", "match"),
    [
        ([1.0], [1.0], {}, "at least 2"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], {}, "same length"),
        ([1.0, np.nan], [1.0, 2.0], {}, "finite"),
        ([1.0, 2.0], [1.0, 2.0], {"names": ["a"]}, "names has 1 entries"),
    ],
)
def test_bad_input(scores, accuracies, options, match):
    with pytest.raises(ValueError, match=match):
        TransferabilityDisplay.from_scores(scores, accuracies, **options)
