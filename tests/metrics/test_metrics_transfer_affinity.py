import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer.baselines import Pooled
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics import (
    affinity_of_losses,
    rank_sources,
    ranking_footrule,
    ranking_ndcg,
    transfer_affinity,
)


def make_data():
    rng = np.random.RandomState(0)
    domain = np.repeat([2, 5, 8, -1], [40, 40, 40, 30])
    X = rng.normal(size=(150, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=150)
    y[domain == 5] += X[domain == 5, 1]
    y[domain == 8] *= -1
    return X, y, domain


def test_of_two_models_the_odds():
    rng = np.random.RandomState(0)
    losses = rng.uniform(size=(2, 40))
    share = np.mean(losses[0] < losses[1])
    found = affinity_of_losses(losses)
    assert found[0] / found[1] == pytest.approx(share / (1 - share))
    sure = affinity_of_losses([[0.0, 0.0], [1.0, 1.0]])
    assert sure[0] / sure[1] == pytest.approx(0.999 / 0.001)


def test_equal_models_are_uniform_and_ties_count_half():
    assert_allclose(affinity_of_losses(np.ones((4, 7))), 0.25)
    found = affinity_of_losses([[1.0, 1.0], [1.0, 2.0]])
    assert found[0] / found[1] == pytest.approx(0.75 / 0.25)


def test_a_monotone_change_of_the_loss_changes_nothing():
    losses = np.random.RandomState(0).uniform(size=(5, 30))
    first = affinity_of_losses(losses)
    assert_allclose(affinity_of_losses(np.exp(9 * losses)), first)
    assert first.sum() == pytest.approx(1) and (first > 0).all()


def test_it_is_the_leading_eigenvector_of_the_odds():
    losses = np.random.RandomState(0).uniform(size=(4, 50))
    wins = np.array([[np.mean((a < b) + 0.5 * (a == b)) for b in losses]
                     for a in losses])  # fmt: skip
    odds = np.clip(wins, 1e-3, 0.999) / np.clip(wins.T, 1e-3, 0.999)
    found = affinity_of_losses(losses)
    vector = np.ones(4)
    for _ in range(500):  # power iteration
        vector = odds @ vector / np.sum(odds @ vector)
    assert_allclose(found, vector)


def test_weights_are_copies_of_samples():
    losses = np.random.RandomState(0).uniform(size=(3, 10))
    counts = np.arange(10) % 3
    assert_allclose(
        affinity_of_losses(losses, sample_weight=counts),
        affinity_of_losses(np.repeat(losses, counts, axis=1)),
    )


@pytest.mark.parametrize("classify", [False, True])
def test_the_source_with_the_rule_of_the_target_is_first(classify):
    X, y, domain = make_data()
    learner = Ridge()
    if classify:
        y, learner = np.where(y > 0, "yes", "no"), LogisticRegression()
    found = transfer_affinity(Pooled(learner), X, y, sample_domain=domain)
    assert_array_equal(found.sources, [2, 5, 8])
    assert found.affinity.argmax() == 0 and found.affinity.argmin() == 2
    assert_allclose(found.wins + found.wins.T, 1)
    # only the order of the losses counts, so outliers of the target do not
    groups = np.arange(len(y)) // 2
    grouped = transfer_affinity(
        Pooled(learner), X, y, sample_domain=domain, groups=groups
    )
    assert grouped.affinity.argmax() == 0


def test_rank_sources_has_it():
    X, y, domain = make_data()
    table = rank_sources(
        Pooled(Ridge()), X, y, domain, scores=["affinity"], random_state=0, cv=3
    )
    found = transfer_affinity(
        Pooled(Ridge()), X, y, sample_domain=domain, cv=3, random_state=0
    )
    assert table["value"].argmax() == found.affinity.argmax() == 0
    assert table["value"].sum() == pytest.approx(1)
    assert_array_equal(table["rank"], [1, 2, 3])
    with pytest.raises(ValueError, match="needs an estimator that"):
        rank_sources(Ridge(), X, y, domain, scores=["affinity"])
    none = np.where(domain < 0, np.nan, y)
    none[-1] = 1.0
    table = rank_sources(Pooled(Ridge()), X, none, domain, scores=["affinity"])
    assert np.isnan(table["value"]).all() and "hold out" in table["note"][0]


def test_what_cannot_be_done_is_refused():
    X, y, domain = make_data()
    with pytest.raises(DomainError, match="0 sources"):
        rows = domain < 0
        transfer_affinity(Pooled(Ridge()), X[rows], y[rows], sample_domain=domain[rows])
    with pytest.raises(UnlabeledTargetError):
        none = np.where(domain < 0, np.nan, y)
        transfer_affinity(Pooled(Ridge()), X, none, sample_domain=domain)
    with pytest.raises(ValueError, match="zero for every sample"):
        affinity_of_losses([[1.0, 2.0]], sample_weight=[0, 0])


# -- rankings --------------------------------------------------------------------


def test_footrule():
    rng = np.random.RandomState(0)
    a, b = rng.normal(size=(2, 9))
    assert ranking_footrule(a, np.exp(a)) == 0
    assert ranking_footrule(a, b) == ranking_footrule(b, a) > 0
    assert ranking_footrule(a, -a) == 9**2 // 2
    assert ranking_footrule(a, -a, normalize=True) == 1
    assert ranking_footrule([1.0], [2.0], normalize=True) == 0
    # between Kendall's distance and twice that; Spearman's rho agrees in sign here
    assert ranking_footrule(a, a + 0.1 * b) < ranking_footrule(a, -a + 0.1 * b)
    assert spearmanr(a, a + 0.1 * b).statistic > 0


def test_ndcg():
    truth = np.array([0.2, 0.9, 0.5, 0.7])
    assert ranking_ndcg(truth, 10 * truth) == pytest.approx(1)
    worst = ranking_ndcg(-truth, truth)
    one_wrong_below = ranking_ndcg([0.6, 0.9, 0.5, 0.7], truth)
    one_wrong_above = ranking_ndcg([0.2, 0.8, 0.5, 0.9], truth)
    assert worst < one_wrong_above < one_wrong_below < 1
    gains, places = np.array([2, 3, 1, 0]), np.log2(np.arange(2, 6))
    best = np.sum(np.sort(gains)[::-1] / places)
    assert one_wrong_above == pytest.approx(np.sum(gains / places) / best)
    assert ranking_ndcg([1.0, 2.0], [3.0, 3.0]) == 1
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ranking_ndcg([1.0, 2.0], [1.0])


@pytest.mark.parametrize("learner", [LogisticRegression(), Ridge()])
def test_copies_of_a_source_are_equal_whatever_the_rounding(learner):
    """A difference in the last digit decides nothing."""
    X, y, domain = make_data()
    y = y if isinstance(learner, Ridge) else y > 0
    copy = domain == 2
    X, y = np.vstack([X[copy], X]), np.concatenate([y[copy], y])
    domain = np.concatenate([np.full(copy.sum(), 9), domain])
    found = transfer_affinity(Pooled(learner), X, y, sample_domain=domain, cv=3)
    places = np.isin(found.sources, [2, 9])
    assert_array_equal(found.wins[np.ix_(places, places)], 0.5)
    assert np.ptp(found.affinity[places]) < 1e-9


def test_perfect_sources_are_equal():
    X, _, domain = make_data()
    found = transfer_affinity(Pooled(Ridge(1e-12)), X, X[:, 0], sample_domain=domain)
    assert_allclose(found.affinity, 1 / 3)
