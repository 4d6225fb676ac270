"""SequentialHarmTest: an e-process whose level holds at every stopping time."""

import numpy as np
import pytest
from sklearn.base import clone

from sktransfer._solvers.betting import BETS
from sktransfer.metrics import SequentialHarmTest

ALTERNATIVES = ["harm", "benefit"]
D = [0.5, -0.25, 1.0, 0.0, 0.75, -1.0, 0.3, 0.9, 0.6, -0.1, 1.0, 0.4]


def capitals(differences, bet):
    """Return log e_t of many streams, shape (n_rows, n_streams), by the same bets."""
    bettor, log_e = BETS[bet](), np.zeros(differences.shape[1])
    path = []
    for d in differences:
        log_e = log_e + np.log1p(bettor.bet * d)
        path.append(log_e)
        bettor.see(d)
    return np.array(path)


def by_definition(differences, bet):
    """Return e_t, every bet computed anew from all the rows before it."""
    e, lambdas = 1.0, []
    for t in range(len(differences)):
        past = np.array(differences[:t])
        if bet == "agrapa":
            means = [past[: i + 1].sum() / (i + 2) for i in range(t)]
            mean = past.sum() / (t + 1)
            variance = (1 + sum((past - means) ** 2)) / (t + 1)
            lam = np.clip(mean / (variance + mean**2), 0, 0.5)
        else:
            slopes = [d / (1 + lam * d) for d, lam in zip(past, lambdas, strict=True)]
            lam = 0.0
            if t:
                step = (
                    2 / (2 - np.log(3)) * slopes[-1] / (1 + np.sum(np.square(slopes)))
                )
                lam = np.clip(lambdas[-1] + step, 0, 0.5)
        lambdas.append(lam)
        e *= 1 + lam * differences[t]
    return e


def test_reference_of_the_package_expectation():
    """expectation 0.6.1 (Python 3.12): ConservativeCombiner(0.3) on e-values 1 + d."""
    test = SequentialHarmTest(bet=0.3).update(D, np.zeros(12))
    assert test.e_value_ == pytest.approx(2.735661695774287, rel=1e-12)


@pytest.mark.parametrize("bet", sorted(BETS))
def test_bets_follow_their_definition(bet):
    rng = np.random.RandomState(0)
    for differences in (D, rng.uniform(-0.6, 1, 60), rng.choice([0, 0, 0, 1], 40)):
        test = SequentialHarmTest(bet=bet).update(
            differences, np.zeros_like(differences)
        )
        expected = by_definition(list(differences), bet)
        assert test.e_value_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bet", sorted(BETS))
def test_the_class_is_the_process_that_is_simulated(bet):
    differences = np.random.RandomState(0).uniform(-0.5, 1, (50, 3))
    path = capitals(differences, bet)
    for stream in range(3):
        test = SequentialHarmTest(bet=bet)
        for t, d in enumerate(differences[:, stream]):
            test.update(max(d, 0), max(-d, 0))
            assert test.log_e_value_ == pytest.approx(path[t, stream], abs=1e-12)
        assert test.p_value_ == pytest.approx(
            np.exp(-max(path[:, stream].max(), 0)), rel=1e-9
        )


def _wrong_or_right(rng, shape):
    return (rng.uniform(size=shape) < 0.3).astype(float) - (
        rng.uniform(size=shape) < 0.3
    )


def _rarely_far(rng, shape):
    return np.where(rng.uniform(size=shape) < 0.05, 1.0, -0.05 / 0.95)


def _rarely_near(rng, shape):
    return np.where(rng.uniform(size=shape) < 0.05, -1.0, 0.05 / 0.95)


def _drifting(rng, shape):
    scale = np.linspace(0.1, 1, shape[0])[:, None]
    return scale * rng.uniform(-1, 1, size=shape)


def _depending_on_the_past(rng, shape):
    """Mean 0 given the past; the spread follows what was seen."""
    d = rng.choice([-1.0, 1.0], size=shape)
    for t in range(1, shape[0]):
        d[t] *= np.where(d[:t].sum(axis=0) > 0, 1.0, 0.2)
    return d


@pytest.mark.parametrize("bet", sorted(BETS))
@pytest.mark.parametrize(
    "law",
    [_wrong_or_right, _rarely_far, _rarely_near, _drifting, _depending_on_the_past],
)
def test_false_alarms_stay_under_alpha_when_every_row_is_looked_at(law, bet):
    """10^4 draws of 300 rows at the boundary of the hypothesis, stopped at the best."""
    differences = law(np.random.RandomState(0), (300, 10_000))
    largest = capitals(differences, bet).max(axis=0)
    for alpha in (0.05, 0.2):
        alarms = np.mean(largest >= -np.log(alpha))
        assert alarms <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / 10_000)


@pytest.mark.parametrize("bet", sorted(BETS))
def test_power(bet):
    """Error rates .40 and .20: found in nearly all draws within 300 labels."""
    rng = np.random.RandomState(0)
    shape = (300, 2000)
    harm = (rng.uniform(size=shape) < 0.4).astype(float) - (
        rng.uniform(size=shape) < 0.2
    )
    largest = np.maximum.accumulate(capitals(harm, bet), axis=0)
    found = (largest >= np.log(20)).mean(axis=1)
    assert found[99] > 0.4
    assert found[299] > 0.93
    # a useful transfer is not called harm
    assert np.mean(capitals(-harm, bet).max(axis=0) >= np.log(20)) < 0.01


def test_the_two_directions_mirror_each_other():
    rng = np.random.RandomState(0)
    worse, better = rng.uniform(0.4, 1, 80), rng.uniform(0, 0.6, 80)
    harm = SequentialHarmTest().update(worse, better)
    benefit = SequentialHarmTest(alternative="benefit").update(better, worse)
    assert harm.rejected_
    assert harm.e_value_ == benefit.e_value_
    for test in (
        SequentialHarmTest().update(better, worse),
        SequentialHarmTest(alternative="benefit").update(worse, better),
    ):
        assert not test.rejected_
        assert test.e_value_ == pytest.approx(1.0)  # no bet: the capital stays


@pytest.mark.parametrize("bet", ["agrapa", "newton", 0.25])
def test_rows_one_by_one_or_in_parts(bet):
    rng = np.random.RandomState(0)
    a, b = rng.uniform(size=(2, 30))
    whole = SequentialHarmTest(bet=bet).update(a, b)
    parts = SequentialHarmTest(bet=bet)
    for rows in (slice(0, 7), slice(7, 7), slice(7, 30)):
        parts.update(a[rows], b[rows])
    single = SequentialHarmTest(bet=bet)
    for pair in zip(a, b, strict=True):
        single.update(*pair)
    assert whole.e_value_ == parts.e_value_ == single.e_value_
    assert whole.n_seen_ == parts.n_seen_ == single.n_seen_ == 30


def test_a_rejection_stays_and_the_start_is_neutral():
    test = SequentialHarmTest(alpha=0.1, bet=0.5)
    assert (test.e_value_, test.p_value_, test.n_seen_) == (1.0, 1.0, 0)
    assert test.rejected_ is False
    test.update(np.ones(6), np.zeros(6))
    assert test.rejected_
    assert test.e_value_ == pytest.approx(1.5**6)
    test.update(np.zeros(20), np.ones(20))
    assert test.e_value_ < 1
    assert test.rejected_
    assert test.p_value_ == pytest.approx(1.5**-6)
    fresh = clone(test)
    assert fresh.n_seen_ == 0
    assert not fresh.rejected_


def test_the_unit_of_the_loss_is_the_range():
    rng = np.random.RandomState(0)
    a, b = rng.uniform(size=(2, 40))
    one = SequentialHarmTest().update(a, b)
    two = SequentialHarmTest(loss_range=2.0).update(2 * a, 2 * b)
    assert one.e_value_ == pytest.approx(two.e_value_, rel=1e-12)


def test_a_long_stream_does_not_overflow():
    test = SequentialHarmTest(bet=0.5).update(np.ones(5000), np.zeros(5000))
    assert test.log_e_value_ == pytest.approx(5000 * np.log(1.5))
    assert np.isfinite(test.e_value_)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ((1.5, 0.0), r"differ by 1.5 > loss_range=1\. Set loss_range"),
        (([0.1, np.nan], [0.1, 0.2]), "loss_transfer must hold finite numbers"),
        ((0.1, np.inf), "loss_target must hold finite numbers"),
        (([0.1, 0.2], [0.1]), r"loss_transfer has shape \(2,\), but loss_target"),
        ((np.zeros((3, 2)), np.zeros((3, 2))), "reduce the loss of a row"),
        (("0.3", 0.1), "loss_transfer must hold numbers"),
        ((0.3, None), "loss_target must hold numbers"),
    ],
)
def test_bad_losses_are_refused_and_change_nothing(losses, message):
    test = SequentialHarmTest().update([0.5, 1.0], [0.0, 0.5])
    before = test.e_value_
    with pytest.raises(ValueError, match=message):
        test.update(*losses)
    assert (test.e_value_, test.n_seen_) == (before, 2)


@pytest.mark.parametrize(
    "params",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"alternative": "both"},
        {"loss_range": 0.0},
        {"loss_range": np.inf},
        {"bet": 0.6},
        {"bet": 0.0},
        {"bet": "kelly"},
    ],
)
def test_bad_parameters_are_refused(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter"):
        SequentialHarmTest(**params).update(0.5, 0.5)


def test_parameters_cannot_change_on_the_way():
    test = SequentialHarmTest().update(0.5, 0.2)
    with pytest.raises(ValueError, match="cannot change after its first row"):
        test.set_params(loss_range=2.0).update(0.5, 0.2)
