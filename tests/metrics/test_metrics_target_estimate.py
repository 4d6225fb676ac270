"""Target summaries: reference values, coverage, width, errors."""

import numpy as np
import pytest

from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics import target_coefficients, target_mean, target_score

#: ppi-python 0.2.3 on the data of ``_reference_data``, alpha=0.05: estimate and
#: interval of the mean, and of slope and intercept by least squares and by logistic
#: regression; lam=None tunes the power, with ``coord`` for the coefficient.
PPI_PYTHON = {
    ("mean", "auto"): [(1.03201508, 0.97147728, 1.09255289)],
    ("mean", 1.0): [(1.02349862, 0.96108966, 1.08590758)],
    ("gaussian", "auto"): [
        (2.02104766, 1.99118249, 2.05091417), (1.03831982, 1.00409069, 1.0725461),
    ],
    ("gaussian", 1.0): [
        (2.01696153, 1.97977649, 2.05414656), (1.03906732, 1.00150754, 1.0766271),
    ],
    ("binomial", "auto"): [
        (3.80667337, 3.48684678, 4.12663042), (-0.82088905, -0.9956279, -0.64608748),
    ],
}  # fmt: skip


def _reference_data(family, n=2000, n_others=8000):
    """Plain formulas, so that every version of NumPy makes the same numbers."""
    t = np.arange(n + n_others)
    x = np.sin(1.7 * t + 0.3) * 1.5 + np.cos(0.37 * t * t)
    noise = np.sin(5.1 * t * t + 0.2 * t) + np.cos(2.3 * t * t * 0.7 + t)
    y = 1 + 2 * x + noise
    guess = 0.5 + 1.8 * x + 0.6 * noise + 0.8 * np.sin(3.3 * t * t + 0.11 * t)
    if family == "binomial":
        y, guess = (y > 1.5) * 1.0, 1 / (1 + np.exp(-2.5 * (guess - 1.5)))
    return x[:, None], np.where(t < n, y, np.nan), guess


@pytest.mark.parametrize(("family", "power"), PPI_PYTHON)
def test_agrees_with_ppi_python(family, power):
    X, y, guess = _reference_data(family)
    reference = np.array(PPI_PYTHON[family, power])
    if family == "mean":
        result = target_mean(y, guess, power=power)
        np.testing.assert_allclose(result.estimate, reference[0, 0], atol=1e-5)
        # a degree of freedom more, and Student's t
        np.testing.assert_allclose(result.interval, reference[0, 1:], atol=1e-4)
        return
    result = target_coefficients(X, y, guess, family=family, power=power)
    half = (reference[:, 2] - reference[:, 1]) / 2
    if (family, power) == ("gaussian", 1.0):  # the same estimator
        np.testing.assert_allclose(result.estimate, reference[:, 0], atol=1e-8)
    # else equal to first order: they differ by far less than their intervals
    assert (np.abs(result.estimate - reference[:, 0]) < 0.15 * half).all()
    low, high = result.interval
    # the influences of the package keep the bias of the predictions
    assert ((high - low) / 2 < 1.01 * half).all()
    assert ((high - low) / 2 > 0.7 * half).all()


def _draws(rng, n_draws, n, quality, n_others=300):
    truth = rng.normal(size=(n_draws, n + n_others)) + 2.0
    noise = rng.normal(size=truth.shape)
    guess = quality * truth + np.sqrt(1 - quality**2) * noise - 7.0
    return np.where(np.arange(n + n_others) < n, truth, np.nan), guess


@pytest.mark.parametrize("n", [10, 40])
def test_mean_covers_and_is_tighter_where_predictions_follow(rng, n):
    for quality, widest in [(0.0, 1.06), (0.9, 0.75)]:
        covered, widths = [], []
        for y, guess in zip(*_draws(rng, 400, n, quality), strict=True):
            result = target_mean(y, guess)
            low, high = result.interval
            covered.append(low <= 2.0 <= high)
            widths.append((high - low) / np.ptp(result.labels_only_interval))
        assert 0.92 < np.mean(covered) < 0.98
        # never wider than the labels alone by more than noise
        assert np.mean(widths) < widest


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("quality", [0.0, 0.6, 0.95])
def test_coefficients_cover_and_are_tighter_where_predictions_follow(quality, n):
    """With 10 labels .88 to .92 before the weights left a row out."""
    rng = np.random.RandomState(n)
    covered, widths = [], []
    for _ in range(300):
        X = rng.normal(size=(n + 200, 1))
        truth = X[:, 0] + rng.normal(size=n + 200)
        y = np.where(np.arange(n + 200) < n, truth, np.nan)
        noise = np.sqrt(1 - quality**2) * rng.normal(size=n + 200)
        result = target_coefficients(X, y, quality * truth + noise)
        low, high = (bound[0] for bound in result.interval)
        covered.append(low <= 1.0 <= high)
        own_low, own_high = (bound[0] for bound in result.labels_only_interval)
        widths.append((high - low) / (own_high - own_low))
    assert 0.89 < np.mean(covered) < 0.995
    # never wider than the labels alone by more than noise
    assert np.median(widths) < {0.0: 1.1, 0.6: 0.97, 0.95: 0.5}[quality]


def test_limits_of_the_power(rng):
    (y,), (guess,) = _draws(rng, 1, 15, 0.8)
    labels = y[:15]
    none = target_mean(y, guess, power=0.0)
    assert none.estimate == pytest.approx(labels.mean())
    assert none.standard_error == pytest.approx(labels.std(ddof=1) / np.sqrt(15))
    assert none.interval == pytest.approx(none.labels_only_interval)
    assert (none.n_labeled, none.n_unlabeled) == (15, 300)
    full = target_mean(y, guess, power=1.0)
    moved = guess[:15].mean() - guess[15:].mean()
    assert full.estimate == pytest.approx(labels.mean() - moved)
    # shift and scale of the predictions change nothing, nor do more copies of them
    auto = target_mean(y, guess)
    other = target_mean(y, -3 * guess + 5)
    assert other.estimate == pytest.approx(auto.estimate)
    assert other.interval == pytest.approx(auto.interval)
    twice = target_mean(y, np.column_stack([guess, guess]))
    thrice = target_mean(y, np.column_stack([guess, 2 * guess, guess]))
    assert thrice.estimate == pytest.approx(twice.estimate)
    constant = target_mean(y, np.ones_like(guess))
    assert constant.estimate == pytest.approx(labels.mean())


def test_two_sources_know_more_than_one(rng):
    first, second = rng.normal(size=(2, 2000))
    truth = first + second
    y = np.where(np.arange(2000) < 30, truth, np.nan)
    both = target_mean(y, np.column_stack([first, second]))
    assert both.standard_error < 0.5 * target_mean(y, first).standard_error
    np.testing.assert_allclose(both.power, 1 / (1 + 30 / 1970), rtol=0.1)
    low, high = both.interval
    assert low < truth.mean() < high


def test_score_of_labels_texts_probabilities_and_values(rng):
    truth = rng.randint(0, 2, 2000)
    y_pred = np.where(rng.uniform(size=2000) < 0.8, truth, 1 - truth)
    guess = np.where(rng.uniform(size=2000) < 0.95, truth, 1 - truth)
    labeled = np.arange(2000) < 50
    y = np.where(labeled, truth, np.nan)
    result = target_score(y, y_pred, guess)
    assert result.labels_only == pytest.approx((truth == y_pred)[labeled].mean())
    low, high = result.interval
    assert low < 0.8 < high
    assert high - low < 0.7 * np.ptp(result.labels_only_interval)
    words = np.array(["no", "yes"])
    text = np.where(labeled, words[truth], None)
    same = target_score(text, words[y_pred], words[guess])
    assert same.estimate == pytest.approx(result.estimate)
    sure = np.column_stack([1.0 - guess, guess])
    same = target_score(text, words[y_pred], sure, classes=["no", "yes"])
    assert same.estimate == pytest.approx(result.estimate)
    with pytest.raises(ValueError, match="give as many classes"):
        target_score(text, words[y_pred], sure)
    errors = target_score(y, y_pred, guess, scoring="neg_mean_squared_error")
    assert errors.estimate == pytest.approx(result.estimate - 1)
    own = target_score(y, y_pred, guess, scoring=lambda a, b: 1.0 * (a == b))
    assert own.estimate == pytest.approx(result.estimate)
    with pytest.raises(ValueError, match="one number per row"):
        target_score(y, y_pred, guess, scoring=lambda a, b: np.mean(a == b))


def test_bad_input_is_one_error(rng):
    (y,), (guess,) = _draws(rng, 1, 15, 0.8)
    with pytest.raises(UnlabeledTargetError, match="2 labeled rows: at least 3"):
        target_mean(np.where(np.arange(315) < 2, y, np.nan), guess)
    with pytest.raises(ValueError, match="Every row of y is labeled"):
        target_mean(y[:15], guess[:15])
    with pytest.raises(ValueError, match="y must hold numbers"):
        target_mean(["a", "b", "a", None], guess[:4])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        target_mean(y, guess[:-1])
    X = rng.normal(size=(315, 20))
    with pytest.raises(ValueError, match="15 labeled rows do not determine 21"):
        target_coefficients(X, y, guess)
    with pytest.raises(ValueError, match="linearly dependent"):
        target_coefficients(X[:, [0, 0]], y, guess)
    with pytest.raises(ValueError, match="y must hold probabilities"):
        target_coefficients(X[:, :1], y + 9, guess, family="binomial")
    share = (y > 2).astype(float)
    share[15:] = np.nan
    apart = np.where(np.isnan(share), X[:, 0], 2 * share - 1)[:, None]
    with pytest.raises(ValueError, match="y is separated by X"):
        target_coefficients(apart, share, np.full(315, 0.5), family="binomial")


@pytest.mark.parametrize("given", ["y", "y_pred", "y_source"])
def test_accuracy_of_numbers_that_are_no_classes_is_an_error(rng, given):
    """Probabilities are never equal to classes: the accuracy was 0, in silence."""
    classes = rng.randint(0, 2, 40)
    y = np.where(np.arange(40) < 20, classes, np.nan)
    data = {"y": y, "y_pred": classes, "y_source": classes}
    with pytest.raises(ValueError, match=f"classes, but {given} holds numbers"):
        target_score(**{**data, given: data[given] * 0.7 + 0.1})


@pytest.mark.parametrize("given", ["y", "y_pred", "y_source", "classes"])
def test_accuracy_of_text_against_numbers_is_an_error(rng, given):
    classes = rng.randint(0, 2, 40)
    names = np.array(["no", "yes"], dtype=object)[classes]
    y = np.where(np.arange(40) < 20, classes, np.nan)
    data = {"y": y, "y_pred": classes, "y_source": classes}
    if given == "classes":
        data |= {"y_source": np.eye(2)[classes], "classes": ["no", "yes"]}
    else:
        data[given] = np.where(np.isnan(y), None, names) if given == "y" else names
    with pytest.raises(ValueError, match=f"one kind, but got .*{given} text"):
        target_score(**data)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float64, str, object])
def test_accuracy_takes_classes_of_every_dtype(rng, dtype):
    classes = rng.randint(0, 2, 40).astype(dtype)
    y = np.where(np.arange(40) < 20, classes.astype(object), None)
    estimate = target_score(y, classes, classes).estimate
    assert estimate == pytest.approx(1.0)
