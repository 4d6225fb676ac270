"""The learning curve of the gap: extrapolation, its uncertainty, labels needed."""

from dataclasses import replace

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.svm import LinearSVC

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics import GapLearningCurve, gap_learning_curve
from sktransfer.metrics._gap_learning_curve import _fit_curves


def _draw(rng, n_target=20, shift=0.0, d=6, classes=False):
    X = rng.normal(size=(100 + n_target, d))
    domain = np.repeat([1, -1], [100, n_target])
    y = X.sum(axis=1) + np.where(domain > 0, shift * X[:, 0], 0)
    y = y + rng.normal(size=len(y))
    return X, np.where(y > 0, "yes", "no") if classes else y, domain


def test_extrapolates_to_more_labels_than_there_are():
    """True gaps of pooled ridge, with the excess risk by the coefficients."""
    true = {20: -0.447, 40: -0.163, 80: -0.055}  # 600 draws of each size
    rng, found = np.random.RandomState(0), []
    for _ in range(4):
        X, y, domain = _draw(rng)
        curve = gap_learning_curve(
            Pooled(Ridge()), X, y, sample_domain=domain, n_repeats=2
        )
        row = []
        for size, gap in true.items():
            estimate, (low, high) = curve.predict(size)
            row.append((estimate, low <= gap <= high))
        found.append(row)
    estimates, covered = np.moveaxis(np.array(found), -1, 0)
    # of 40 draws the means are -0.40, -0.15 and -0.04; of these few they vary
    np.testing.assert_allclose(estimates.mean(axis=0), list(true.values()), atol=0.35)
    assert covered.mean() > 0.85
    # the gap of today is not that with four times the labels
    assert abs(estimates[:, 2].mean()) < 0.5 * abs(estimates[:, 0].mean())


def _curve(limit, slope, spread=1.0, exponent=0.0, noise=1e-12, n=20):
    return GapLearningCurve(
        sizes=np.array([10, n]), gaps=np.zeros(2), standard_errors=np.zeros(2),
        rates=np.array([1.0]), weights=np.array([1.0]),
        coefs=np.array([[limit, slope]]), covariances=noise * np.eye(2)[None],
        spread=np.array([spread, exponent]), n_labeled=n,
    )  # fmt: skip


def test_answers_of_a_known_curve():
    curve = _curve(0.1, -10.0)
    gap, (low, high) = curve.predict(50)
    assert gap == pytest.approx(-0.1)
    assert low == pytest.approx(high, abs=1e-4)
    n_labels, (first, last) = curve.break_even()
    assert n_labels == pytest.approx(100, rel=1e-3)
    assert first <= n_labels <= last
    assert _curve(-0.1, -10.0).break_even()[0] == np.inf
    assert _curve(0.1, 10.0).break_even()[0] == 0
    # a gap that stays is seen with about (2.03 + .84)^2 / .3^2 labels, less what the
    # units share: 1 - .2 (1 - 10 / n) of it
    assert _curve(0.3, 0.0).labels_needed() == pytest.approx(76, rel=0.05)
    # the gap of the fitted pair has an error larger by sqrt(1 + 1 / 2)
    pair = replace(_curve(0.3, 0.0), instability=0.5)
    assert pair.labels_needed() == pytest.approx(76, rel=0.05)
    fitted = pair.labels_needed(interval_for="fitted")
    assert fitted == pytest.approx((1.22 * 2 + 0.9 * 0.84) ** 2 / 0.3**2, rel=0.05)
    assert pair.labels_needed(confidence=0.9, interval_for="fitted") < fitted
    assert _curve(0.3, 0.0).decision_probability(400) > 0.99
    median, (first, last) = _curve(0.3, 0.0).labels_interval()
    assert median == pytest.approx(76, rel=0.05)
    assert first <= median <= last < np.inf
    assert _curve(0.3, 0.0).undecidable_probability() == 0
    # one that vanishes as fast as its error never is
    assert _curve(0.0, -1.0).labels_needed() == np.inf
    assert _curve(0.0, -1.0).labels_interval()[0] == np.inf
    assert _curve(0.0, -1.0).undecidable_probability() > 0.95
    # half of the curves have a gap that stays, half vanish: one number, with its reason
    parts = _curve(0.3, 0.0), _curve(0.0, -1.0)
    joint = replace(
        parts[0], weights=np.array([0.6, 0.4]),
        **{name: np.concatenate([getattr(part, name) for part in parts])
           for name in ("rates", "coefs", "covariances")},
    )  # fmt: skip
    assert joint.labels_needed() == np.inf
    median, (first, last) = joint.labels_interval()
    assert median == pytest.approx(76, rel=0.1)
    assert last == np.inf
    assert joint.undecidable_probability() == pytest.approx(0.4, abs=0.05)
    assert _curve(0.0, 0.0).decision_probability(100) == pytest.approx(0.025, abs=0.01)
    wide = _curve(0.1, -10.0, noise=0.1).break_even()[1]
    assert wide[0] < first
    assert wide[1] == np.inf


@pytest.mark.parametrize("loss", ["zero_one", "brier"])
def test_classes(rng, loss):
    X, y, domain = _draw(rng, n_target=30, classes=True)
    y = np.where(np.arange(len(y)) >= len(y) - 5, None, y.astype(object))
    curve = gap_learning_curve(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, n_repeats=2, cv=3,
        loss=loss,
    )  # fmt: skip
    assert curve.n_labeled == 25
    assert np.isfinite(curve.gaps).all()
    assert (np.diff(curve.sizes) > 0).all()
    assert 0 <= curve.decision_probability(50) <= 1


def test_same_models_have_no_gap(rng):
    X, y, domain = _draw(rng)
    curve = gap_learning_curve(
        TargetOnly(Ridge()), X, y, sample_domain=domain, sizes=[8, 16], n_repeats=1
    )
    np.testing.assert_array_equal(curve.gaps, 0)
    assert curve.predict(100) == (0, (0, 0))
    assert curve.labels_needed() == np.inf


def test_same_seed_same_curve_and_order_of_ids_is_free(rng):
    X, y, domain = _draw(rng)
    options = {"n_repeats": 1, "cv": 3}
    model = Pooled(Ridge())
    one = gap_learning_curve(model, X, y, sample_domain=domain, **options)
    two = gap_learning_curve(model, X, y, sample_domain=domain, **options)
    np.testing.assert_array_equal(one.gaps, two.gaps)
    fixed = gap_learning_curve(model, X, y, sample_domain=domain, rate=1.0, **options)
    np.testing.assert_array_equal(fixed.rates, 1.0)
    np.testing.assert_array_equal(fixed.coefs[:, 0] == 0, [False, True])


def test_groups_come_and_go_as_a_whole(rng):
    """Copies of rows are no further labels: the same curve with a group per row."""
    X, y, domain = _draw(rng, n_target=24)
    model, twice = (
        Pooled(Ridge()),
        np.r_[np.arange(100), np.repeat(np.arange(100, 124), 2)],
    )
    options = {"n_repeats": 2, "cv": 4, "random_state": 1}
    curve = gap_learning_curve(
        model, X[twice], y[twice], sample_domain=domain[twice], groups=twice, **options
    )
    assert curve.n_labeled == 24
    assert curve.sizes[-1] == 18
    alone = gap_learning_curve(model, X, y, sample_domain=domain, **options)
    np.testing.assert_array_equal(curve.sizes, alone.sizes)
    # without groups the copies leak, and count as labels
    leaky = gap_learning_curve(
        model, X[twice], y[twice], sample_domain=domain[twice], **options
    )
    assert leaky.n_labeled == 48
    assert leaky.standard_errors[-1] < 0.9 * curve.standard_errors[-1]
    # groups of classes: every fit has all classes, whatever the groups hold
    labels = np.where(y > np.median(y), "b", "a")
    sites = np.where(domain < 0, rng.randint(0, 8, len(y)), -1)
    for names in (sites, sites.astype(str)):
        found = gap_learning_curve(
            Pooled(LogisticRegression()), X, labels, sample_domain=domain,
            groups=names, n_repeats=1, cv=3,
        )  # fmt: skip
        assert found.n_labeled == len(np.unique(sites[domain < 0]))
        assert np.isfinite(found.gaps).all()


def test_weights_exposures_and_outputs(rng):
    X, y, domain = _draw(rng, n_target=24)
    options = {"n_repeats": 1, "cv": 4, "random_state": 2}
    with sklearn.config_context(enable_metadata_routing=True):
        model = Pooled(Ridge().set_fit_request(sample_weight=True))
    alone = gap_learning_curve(model, X, y, sample_domain=domain, **options)
    # rows of weight 0 are no rows
    more = np.r_[np.arange(len(y)), np.arange(len(y))]
    zeros = np.repeat([1.0, 0.0], len(y))
    padded = gap_learning_curve(
        model, X[more], np.where(zeros > 0, y[more], 99.0), sample_domain=domain[more],
        params={"sample_weight": zeros}, **options,
    )  # fmt: skip
    np.testing.assert_allclose(padded.gaps, alone.gaps)
    np.testing.assert_allclose(padded.standard_errors, alone.standard_errors)
    # the mean over two equal outputs is that of one
    two = gap_learning_curve(
        model, X, np.column_stack([y, y]), sample_domain=domain, **options
    )
    np.testing.assert_allclose(two.gaps, alone.gaps)
    # counts with exposures are scored as rates
    hours = rng.uniform(1, 4, len(y))
    counts = rng.poisson(hours * np.exp(0.3 * X[:, 0])).astype(float)
    rates = gap_learning_curve(
        Pooled(PoissonRegressor()), X, counts, sample_domain=domain,
        params={"exposure": hours}, **options,
    )  # fmt: skip
    assert np.isfinite(rates.gaps).all()
    assert np.abs(rates.gaps).max() < 5


def test_differences_that_vanish_at_the_largest_size(rng):
    """A gap of 0 without noise at the largest size divided by zero."""
    covariance = np.diag([0.04, 0.01, 0.0])
    found = _fit_curves(np.array([4, 8, 16]), np.array([-0.4, -0.1, 0.0]), covariance,
                        np.array([1.0, 2.0]))  # fmt: skip
    for part in found:
        assert np.isfinite(part).all()
    assert found[1].sum() == pytest.approx(1.0)


def test_bad_input_is_one_error(rng):
    X, y, domain = _draw(rng)
    model = Pooled(Ridge())
    with pytest.raises(ValueError, match="sizes must be from 2 to 16"):
        gap_learning_curve(model, X, y, sample_domain=domain, sizes=[8, 20])
    with pytest.raises(ValueError, match="two or more whole numbers"):
        gap_learning_curve(model, X, y, sample_domain=domain, sizes=[8])
    with pytest.raises(ValueError, match="loss='zero_one' is no loss of a regressor"):
        gap_learning_curve(model, X, y, sample_domain=domain, loss="zero_one")
    with pytest.raises(ValueError, match="groups has shape"):
        gap_learning_curve(model, X, y, sample_domain=domain, groups=[1, 2])
    with pytest.raises(UnlabeledTargetError, match="groups one unit"):
        gap_learning_curve(model, X, y, sample_domain=domain, groups=np.sign(domain))
    few = np.where(np.arange(len(y)) < 103, y, np.nan)
    with pytest.raises(UnlabeledTargetError, match="label more rows"):
        gap_learning_curve(model, X, few, sample_domain=domain)
    labels = np.where(y > 0, "yes", "no")
    with pytest.raises(ValueError, match="needs predict_proba"):
        gap_learning_curve(
            Pooled(LinearSVC()), X, labels, sample_domain=domain, loss="brier"
        )


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [
        ("predict", (0,), "n_labels"),
        ("predict", (-5,), "n_labels"),
        ("predict", (np.nan,), "n_labels"),
        ("predict", ([10, 20],), "n_labels"),
        ("predict", (30, 95), "confidence"),
        ("break_even", (95,), "confidence"),
        ("decision_probability", ("many",), "n_labels"),
        ("labels_needed", (80,), "probability"),
    ],
)
def test_a_number_that_a_curve_cannot_take_is_one_error(method, arguments, name):
    """Zero labels gave -inf with a warning, fewer NaN; 80 for 80 % gave infinity."""
    curve = GapLearningCurve(
        sizes=np.array([10, 20]), gaps=np.array([-0.4, -0.1]),
        standard_errors=np.array([0.05, 0.02]), rates=np.array([1.0]),
        weights=np.array([1.0]), coefs=np.array([[0.2, -6.0]]),
        covariances=np.diag([1e-4, 1e-2])[None], spread=np.array([0.5, 0.0]),
        n_labeled=20,
    )  # fmt: skip
    with pytest.raises(ValueError, match=f"'{name}' parameter of"):
        getattr(curve, method)(*arguments)
