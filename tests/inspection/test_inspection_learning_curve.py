"""LearningCurveTransferDisplay: the splits, the errors, and where transfer ends."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.utils import Bunch

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.datasets import make_concept_shift, make_label_shift
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.inspection import LearningCurveTransferDisplay


@pytest.fixture(scope="module")
def data():
    return make_concept_shift(
        60, n_labeled=60, n_unlabeled=5, n_features=3, shift=2.0, noise=1.0,
        random_state=0,
    )  # fmt: skip


def curve(estimator, data, **options):
    options = {"n_labels": [4, 30], "n_splits": 3} | options
    return LearningCurveTransferDisplay.from_estimator(
        estimator, data.X, data.y, sample_domain=data.sample_domain, **options
    )


def test_target_only_is_its_own_baseline(data):
    display = curve(TargetOnly(Ridge()), data)
    assert_array_equal(display.transfer_errors, display.target_only_errors)
    assert display.break_even == 4


def test_source_only_does_not_learn_from_labels(data):
    display = curve(SourceOnly(Ridge()), data)
    assert_array_equal(display.transfer_errors[0], display.transfer_errors[1])
    assert np.ptp(display.target_only_errors.mean(axis=1)) > 0


def test_frame_has_a_row_per_fit(data):
    display = curve(Pooled(Ridge()), data)
    frame = display.frame()
    assert frame.n_labels.tolist() == [4, 4, 4, 30, 30, 30]
    row = frame[(frame.n_labels == 30) & (frame.split == 2)]
    assert row.transfer_error.item() == display.transfer_errors[1, 1]
    assert row.target_only_error.item() == display.target_only_errors[1, 1]


class RecordingRegressor(RegressorMixin, BaseEstimator):
    """Write the rows of every fit and predict to a list."""

    def __init__(self, log=None):
        self.log = log

    def fit(self, X, y):
        self.is_fitted_ = True
        self.rows_ = frozenset(X[:, 0])
        return self

    def predict(self, X):
        LOG.append((self.rows_, frozenset(X[:, 0])))
        return np.zeros(len(X))


LOG = []


def test_labels_of_a_fit_are_nested_and_never_tested_on(data):
    LOG.clear()
    display = curve(Pooled(RecordingRegressor()), data, n_labels=[4, 10, 30])
    assert display.transfer_errors.shape == (3, 3)
    alone = LOG[::2]  # theta(0,T) and theta(S,T) in turn
    for k in range(3):
        (small, test), (middle, test_2), (large, test_3) = alone[k::3]
        assert test == test_2 == test_3
        assert len(small) == 4 and len(middle) == 10 and len(large) == 30
        assert small < middle < large
        assert not large & test
    for (with_sources, _), (without, _) in zip(LOG[1::2], alone, strict=True):
        assert with_sources > without
        assert len(with_sources) == len(without) + 60


def test_first_labels_hold_every_class():
    data = make_label_shift(80, n_labeled=100, n_unlabeled=0, random_state=0)
    rare = (data.y == 1) & (data.sample_domain < 0)
    keep = ~rare | (np.cumsum(rare) <= 6)
    data = Bunch(**{k: data[k][keep] for k in ("X", "y", "sample_domain")})
    display = curve(Pooled(LogisticRegression()), data, n_labels=[2, 6], n_splits=8)
    assert display.target_only_errors.shape == (2, 8)  # no fit saw one class alone
    assert display.error_name == "1 - accuracy"
    assert (display.target_only_errors >= 0).all()


def test_error_is_the_negated_or_complemented_score(data):
    model = Pooled(LinearRegression())
    squared = curve(model, data, scoring="neg_mean_squared_error")
    assert squared.error_name == "mean squared error"
    assert (squared.transfer_errors > 0).all()
    own = make_scorer(mean_squared_error, greater_is_better=False)
    assert_allclose(curve(model, data, scoring=own).transfer_errors,
                    squared.transfer_errors)  # fmt: skip
    r2 = curve(model, data, scoring="r2")
    assert r2.error_name == "1 - r2"
    assert_allclose(r2.transfer_errors, curve(model, data).transfer_errors)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ([-1, -1, -1], None),
        ([1, 1, 1], 2),
        ([-1, 0, 1], 4),
        ([1, -1, 1], 8),
        ([-1, 1, -1], None),
    ],
)
def test_break_even(gap, expected):
    gap = np.array(gap, dtype=float)[:, None]
    display = LearningCurveTransferDisplay([2, 4, 8], 5 + gap, np.full((3, 1), 5.0))
    assert display.break_even == expected
    labels = [h.get_label() for h in display.plot().ax_.get_lines()]
    assert any("stops paying" in label for label in labels) == (expected is not None)


def test_curves_show_means(data):
    display = curve(Pooled(Ridge()), data)
    for shown, errors in zip(
        display.curves_,
        (display.transfer_errors, display.target_only_errors),
        strict=True,
    ):
        assert_allclose(shown.lines[0].get_ydata(), errors.mean(axis=1))


def test_transfer_pays_with_few_labels_only(data):
    display = curve(Pooled(LinearRegression()), data, n_labels=[4, 42], n_splits=5)
    gap = (display.transfer_errors - display.target_only_errors).mean(axis=1)
    assert gap[0] < 0 < gap[1]
    assert display.break_even == 42


def test_default_steps_reach_all_labels(data):
    display = curve(Pooled(Ridge()), data, n_labels=None, n_splits=1)
    assert display.n_labels[0] == 4 and display.n_labels[-1] == 42
    assert len(display.n_labels) == 6


@pytest.mark.parametrize("n_labels", [[0, 5], [5, 43], [2.5]])
def test_bad_steps(data, n_labels):
    with pytest.raises(UnlabeledTargetError, match="n_labels must be integers"):
        curve(Pooled(Ridge()), data, n_labels=n_labels)


def test_kind_03_units_are_tested_on_as_a_whole(data):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, len(data.y))
    groups = np.where(data.sample_domain > 0, groups + 100, groups)
    LOG.clear()
    display = curve(Pooled(RecordingRegressor()), data, n_labels=[4, 10], groups=groups)
    assert display.transfer_errors.shape == (2, 3)
    unit = dict(zip(data.X[:, 0].tolist(), groups.tolist(), strict=True))
    for trained, tested in LOG:
        assert not {unit[row] for row in trained} & {unit[row] for row in tested}


def test_kind_33_rows_of_weight_zero_are_no_labels(data):
    weight = np.random.default_rng(0).integers(0, 2, len(data.y)).astype(float)
    with config_context(enable_metadata_routing=True):
        model = Pooled(LinearRegression().set_fit_request(sample_weight=True))
    kept = weight > 0
    part = Bunch(**{k: data[k][kept] for k in ("X", "y", "sample_domain")})
    one = curve(model, data, n_labels=[5, 10], params={"sample_weight": weight})
    two = curve(model, part, n_labels=[5, 10], params={"sample_weight": weight[kept]})
    np.testing.assert_allclose(one.transfer_errors, two.transfer_errors)
