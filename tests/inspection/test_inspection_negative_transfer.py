"""NegativeTransferDisplay: its gaps are those of the functions behind it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate

from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.datasets import make_concept_shift
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.inspection import NegativeTransferDisplay
from sktransfer.inspection._display import HELPS, HURTS
from sktransfer.metrics import cross_val_ntg, make_ntg_scorer
from sktransfer.model_selection import TargetKFold
from sktransfer.safe import TransferGuard


@pytest.fixture(scope="module")
def data():
    return make_concept_shift(
        40, n_labeled=18, n_unlabeled=0, n_features=3, shift=[0.0, 3.0], random_state=1
    )


def from_estimator(data, estimator, **options):
    options = {"cv": 3, "random_state": 0} | options
    return NegativeTransferDisplay.from_estimator(
        estimator, data.X, data.y, sample_domain=data.sample_domain, **options
    )


def reference(data, estimator, rows=slice(None), **options):
    return cross_val_ntg(
        estimator, data.X[rows], data.y[rows], sample_domain=data.sample_domain[rows],
        cv=3, random_state=0, **options,
    )  # fmt: skip


def test_by_method(data):
    models = {"pooled": Pooled(Ridge()), "source": SourceOnly(Ridge())}
    scoring = "neg_mean_squared_error"
    display = from_estimator(data, models, scoring=scoring, confidence_level=0.8)
    frame = display.frame().set_index("method")
    for name, model in models.items():
        expected = reference(data, model, scoring=scoring, confidence_level=0.8)
        assert frame.ntg[name] == pytest.approx(expected.ntg)
        assert_allclose(frame.loc[name, ["low", "high"]], expected.interval)
    assert display.ax_.get_xlabel().startswith(
        "negative transfer gap (mean squared error)"
    )


def test_by_source_leaves_the_other_sources_out(data):
    display = from_estimator(
        data, Pooled(Ridge()), by="source", domain_names={1: "near", 2: "far"}
    )
    frame = display.frame().set_index("source")
    for domain, name in ((1, "near"), (2, "far")):
        rows = np.isin(data.sample_domain, [domain, -1])
        expected = reference(data, Pooled(Ridge()), rows).ntg
        assert frame.ntg[name] == pytest.approx(expected)
    assert frame.ntg["far"] > frame.ntg["near"]
    assert frame.method.unique().tolist() == ["Pooled"]


def test_by_source_slices_metadata(data, routing):
    weight = np.linspace(0.1, 2.0, len(data.y))
    model = Pooled(Ridge().set_fit_request(sample_weight=True))
    display = from_estimator(data, model, by="source", params={"sample_weight": weight})
    rows = data.sample_domain != 2
    expected = reference(data, model, rows, params={"sample_weight": weight[rows]})
    assert display.ntg[0] == pytest.approx(expected.ntg)


def test_by_fold(data):
    display = from_estimator(data, Pooled(Ridge()), by="fold")
    assert_allclose(display.ntg, reference(data, Pooled(Ridge())).gaps)
    assert display.frame().fold.tolist() == ["fold 1", "fold 2", "fold 3"]
    assert np.isnan(display.intervals).all()


@pytest.fixture(scope="module")
def search(data):
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        return GridSearchCV(
            TransferGuard(Pooled(Ridge()), cv=2),
            {"estimator__source_weight": [0.1, 1.0]},
            cv=TargetKFold(3),
            scoring={"r2": "r2", "ntg": make_ntg_scorer("r2")},
            refit="r2",
        ).fit(data.X, data.y, sample_domain=data.sample_domain)


def test_search_results_are_negated_scores(search):
    display = NegativeTransferDisplay.from_cv_results(search.cv_results_, unit="R2")
    assert display.ax_.get_xlabel().startswith("negative transfer gap (R2)")
    frame = display.frame()
    assert frame.method.tolist() == ["source_weight=0.1", "source_weight=1.0"]
    assert_allclose(frame.ntg, -search.cv_results_["mean_test_ntg"])


def test_interval_of_a_search_is_the_corrected_t(search):
    display = NegativeTransferDisplay.from_cv_results(search.cv_results_)
    gaps = [-search.cv_results_[f"split{k}_test_ntg"][0] for k in range(3)]
    half = stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 1 / 2) * np.var(gaps, ddof=1))
    assert_allclose(display.intervals[0], np.mean(gaps) + half * np.array([-1, 1]))
    narrow = NegativeTransferDisplay.from_cv_results(
        search.cv_results_, test_train_ratio=0
    )
    assert np.ptp(narrow.intervals[0]) < np.ptp(display.intervals[0])


def test_cross_validate_results_by_name(data, routing):
    scoring = {"ntg": make_ntg_scorer("r2")}
    results = {
        name: cross_validate(
            TransferGuard(Pooled(Ridge(), source_weight=weight), cv=2), data.X, data.y,
            cv=TargetKFold(2), params={"sample_domain": data.sample_domain},
            scoring=scoring,
        )
        for name, weight in (("light", 0.1), ("heavy", 1.0))
    }  # fmt: skip
    frame = NegativeTransferDisplay.from_cv_results(results).frame()
    assert frame.method.tolist() == ["light", "heavy"]
    assert_allclose(frame.ntg[1], -results["heavy"]["test_ntg"].mean())


def test_ambiguous_parameter_names_are_written_in_full():
    results = {
        "params": [{"a__C": 1, "b__C": 2}, {"a__C": 1, "b__C": 2.0}, {"a__C": 2}],
        "split0_test_ntg": np.zeros(3),
    }
    names = NegativeTransferDisplay.from_cv_results(results).methods
    assert names.tolist() == ["C=1, C=2", "C=1, C=2.0", "C=2"]
    results["params"] = [{"a__C": 1}, {"b__C": 1}, {"c__C": 1}]
    names = NegativeTransferDisplay.from_cv_results(results).methods
    assert names.tolist() == ["a__C=1", "b__C=1", "c__C=1"]


def test_results_without_the_scorer_are_refused():
    with pytest.raises(ValueError, match=r"no scores 'ntg'.*test_accuracy"):
        NegativeTransferDisplay.from_cv_results({"test_accuracy": np.ones(2)})
    with pytest.raises(ValueError, match="not finite"):
        NegativeTransferDisplay.from_cv_results({"test_ntg": np.array([1, np.nan])})
    with pytest.raises(ValueError, match="names has 2 entries"):
        NegativeTransferDisplay.from_cv_results(
            {"test_ntg": np.ones(2)}, names=["a", "b"]
        )


def test_kind_40_loss_of_whole_numbers_is_not_guessed():
    make = NegativeTransferDisplay.from_predictions
    ratings = np.array([1, 2, 3, 1, 2, 3, 1, 2])
    predictions = ratings + np.array([0.5, 0, 0, 0, 0, 0, 0, 0])
    display = make(ratings, predictions, ratings)
    assert display.ntg[0] == pytest.approx(0.25 / 8)
    other = np.roll(ratings, 1)
    assert make(ratings, other, ratings).ntg[0] == 1
    assert make(ratings.astype(str), other.astype(str), ratings.astype(str)).ntg == [1]
    with pytest.raises(ValueError, match="loss='zero_one' for classes, or loss='sq"):
        make(ratings.astype(float), other, ratings)
    counts = np.arange(30)
    with pytest.raises(ValueError, match="30 distinct whole numbers"):
        make(counts, counts[::-1], counts)
    assert make(counts, counts + 2, counts, loss="squared").ntg[0] == 4


def test_gap_from_predictions():
    y = np.array([0.0, 1.0, 2.0, 3.0])
    base, transfer = y + [1, -1, 1, -1], y + [2, 1, 0, 3]
    display = NegativeTransferDisplay.from_predictions(y, transfer, base)
    gaps = np.array([3.0, 0.0, -1.0, 8.0])
    assert display.ntg[0] == pytest.approx(gaps.mean())
    expected = stats.t.interval(0.95, 3, gaps.mean(), stats.sem(gaps))
    assert_allclose(display.intervals[0], expected)


def test_classes_get_the_zero_one_loss():
    display = NegativeTransferDisplay.from_predictions(
        ["a", "b"], {"x": ["a", "a"], "y": ["a", "b"]}, ["b", "b"]
    )
    assert display.frame().ntg.tolist() == [0.0, -0.5]
    assert display.unit == "zero-one loss"


def test_predictions_are_checked():
    make = NegativeTransferDisplay.from_predictions
    with pytest.raises(ValueError, match="same shape"):
        make([0, 1], [0, 1, 1], [0, 1])
    with pytest.raises(UnlabeledTargetError):
        make([0.5, np.nan], [0.5, 0.1], [0.5, 0.2])
    with pytest.raises(ValueError, match="'loss' parameter"):
        make([0, 1], [0, 1], [0, 1], loss="hinge")


def test_unknown_grouping_is_refused_before_any_fit(data):
    with pytest.raises(ValueError, match="'by' parameter"):
        from_estimator(data, Pooled(Ridge()), by="row")
    with pytest.raises(ValueError, match="empty dict"):
        from_estimator(data, {})


def test_marker_is_filled_where_the_interval_excludes_zero():
    display = NegativeTransferDisplay(
        [1.0, 1.0, -1.0, 1.0],
        [[0.5, 1.5], [-0.5, 2.5], [-2, -0.1], [-np.inf, np.inf]],
        methods=["a", "b", "c", "d"],
    ).plot()
    faces = [point.get_markerfacecolor() for point in display.points_]
    assert faces == [HURTS, "white", HELPS, "white"]
    assert [p.get_xdata()[0] for p in display.points_] == [1.0, 1.0, -1.0, 1.0]
    left, right = display.ax_.get_xlim()
    assert left < -2 and right > 2.5 and np.isfinite([left, right]).all()


def test_every_method_has_its_own_marker():
    display = NegativeTransferDisplay(
        np.zeros(4), np.full((4, 2), np.nan), methods=["a", "b"] * 2,
        groups=["s", "s", "t", "t"], by="source",
    ).plot()  # fmt: skip
    markers = [point.get_marker() for point in display.points_]
    assert markers[:2] == markers[2:] and markers[0] != markers[1]
    texts = display.ax_.get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["a", "b"]


def test_classification(data):
    display = NegativeTransferDisplay.from_estimator(
        Pooled(LogisticRegression()), data.X, np.where(data.y > 0, "up", "down"),
        sample_domain=data.sample_domain, cv=3, random_state=0,
    )  # fmt: skip
    assert -1 <= display.ntg[0] <= 1


def test_kind_03_groups_by_source(data):
    groups = np.where(
        data.sample_domain > 0, np.arange(len(data.y)) + 100, np.arange(len(data.y)) % 6
    )
    options = {"by": "source", "groups": groups}
    display = from_estimator(data, Pooled(Ridge()), **options)
    rows = data.sample_domain != 2
    expected = reference(data, Pooled(Ridge()), rows, groups=groups[rows])
    assert_allclose(display.ntg[0], expected.ntg)
    assert expected.n_held_out == 6


def test_kind_04_generators_and_pairs_over_all_rows(data):
    order = np.random.default_rng(0).permutation(len(data.y))
    folds = [(np.setdiff1d(order, order[k::3]), order[k::3]) for k in range(3)]
    models = {"a": Pooled(Ridge()), "b": Pooled(Ridge())}
    display = from_estimator(data, models, by="source", cv=(pair for pair in folds))
    listed = from_estimator(data, models, by="source", cv=folds)
    assert_array_equal(display.ntg, listed.ntg)
    assert display.ntg[0] == display.ntg[2]
