"""ReliableTransfer: levels, their calibration, what is fitted, and bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from sktransfer.baselines import Pooled
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.instance import KMM
from sktransfer.preprocessing import DomainScaler
from sktransfer.safe import ReliableTransfer, TransferGuard
from sktransfer.utils import parametrize_with_transfer_checks
from sktransfer.utils.estimator_checks import make_problem


def shifted_problem(estimator, **options):
    """The sources are shifted, so that the mitigation is asked for."""
    problem = make_problem(estimator, **options)
    problem.X[problem.sample_domain > 0] += 2.0
    return problem


@parametrize_with_transfer_checks(
    [
        ReliableTransfer(Ridge(), mitigation=KMM(Ridge()), n_permutations=39),
        ReliableTransfer(
            LogisticRegression(),
            mitigation=KMM(LogisticRegression()),
            n_permutations=39,
        ),
    ],
    make_data=shifted_problem,
)
def test_transfer_contract(estimator, check):
    check(estimator)


def problem(seed=0, shift=0.0, sign=1.0, n_source=40, n_target=30, n_labeled=20):
    rng = np.random.default_rng(seed)
    domain = np.repeat([1, -1], [n_source, n_target])
    X = rng.normal(size=(len(domain), 3))
    y = X.sum(axis=1) * np.where(domain > 0, sign, 1) + 0.2 * rng.normal(size=len(X))
    X[domain > 0] += shift
    y[n_source + n_labeled :] = np.nan
    return X, y, domain


def fit(data, estimator=None, **options):
    X, y, domain = data
    model = ReliableTransfer(estimator or Ridge(), **options)
    return model.fit(X, y, sample_domain=domain)


def test_high_similarity_pools():
    X, y, domain = problem()
    model = fit((X, y, domain))
    assert model.levels_ == {1: "high"} and model.decision_ == "pool"
    pooled = Pooled(Ridge()).fit(X, y, sample_domain=domain)
    assert_allclose(model.predict(X), pooled.predict(X))


def test_medium_similarity_mitigates():
    X, y, domain = problem(shift=0.7)
    model = fit((X, y, domain))
    assert model.levels_ == {1: "medium"} and model.decision_ == "mitigate"
    assert isinstance(model.estimator_, TransferGuard)
    given = fit((X, y, domain), mitigation=Pooled(Ridge(), source_weight=0.5))
    half = Pooled(Ridge(), source_weight=0.5).fit(X, y, sample_domain=domain)
    assert_allclose(given.predict(X), half.predict(X))


def test_low_similarity_takes_the_target_alone():
    X, y, domain = problem(sign=-1.0)
    model = fit((X, y, domain))
    assert model.levels_ == {1: "low"} and model.decision_ == "target_only"
    rows = (domain < 0) & ~np.isnan(y)
    assert_allclose(model.predict(X), Ridge().fit(X[rows], y[rows]).predict(X))


def test_equal_features_with_other_labels_are_not_similar():
    model = fit(problem(sign=-1.0))
    assert model.similarity_[1] <= 0.05


def test_a_source_that_teaches_nothing_is_not_pooled():
    """A source model at chance errs at home as on the target, and passes both tests."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(112) % 2)
    X = rng.normal(size=(112, 3)) + 3.0 * y[:, None] * [1, 0, 0]
    domain = np.repeat([1, -1], [100, 12])
    useful = ReliableTransfer(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert useful.decision_ == "pool" and useful.no_signal_[1] < 0.05
    labels = y.copy()
    labels[:100] = rng.permutation(y[:100])
    X_new, y_new = X[:100], y[:100]
    model = ReliableTransfer(LogisticRegression()).fit(X, labels, sample_domain=domain)
    assert model.levels_ == {1: "medium"} and model.no_signal_[1] > 0.05
    alone = LogisticRegression().fit(X[100:], y[100:]).score(X_new, y_new)
    assert model.score(X_new, y_new) > alone - 0.05
    pooled = LogisticRegression().fit(X, labels).score(X_new, y_new)
    assert pooled < alone - 0.2


def test_pipelines_with_steps_that_know_domains_and_dates():
    rng = np.random.default_rng(0)
    domain, y = np.repeat([1, -1], 30), np.arange(60) % 2
    X = rng.normal(size=(60, 2)) + 2.0 * y[:, None]
    for shift, decision in ((0.0, "pool"), (1.0, "mitigate")):
        learner = make_pipeline(DomainScaler(), LogisticRegression())
        model = ReliableTransfer(learner)
        model.fit(X + shift * (domain > 0)[:, None], y, sample_domain=domain)
        assert model.decision_ == decision
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    for frame in (
        pd.DataFrame({"day": days}),
        pl.DataFrame({"day": days}),
        days[:, None],
    ):
        with pytest.raises(TypeError, match=r"holds dates.*TableEncoder"):
            ReliableTransfer(LogisticRegression()).fit(frame, y, sample_domain=domain)


def test_low_sources_are_left_out():
    X, y, domain = problem(n_source=80)
    domain[:40] = 2
    y[:40] *= -1
    model = fit((X, y, domain))
    assert model.levels_ == {1: "high", 2: "low"} and model.decision_ == "pool"
    rows = domain != 2
    pooled = Pooled(Ridge()).fit(X[rows], y[rows], sample_domain=domain[rows])
    assert_allclose(model.predict(X), pooled.predict(X))


def test_without_labels_the_support_decides():
    near = fit(problem(shift=0.7, n_labeled=0))
    assert near.decision_ == "mitigate" and isinstance(near.estimator_, KMM)
    assert fit(problem(n_labeled=0)).decision_ == "pool"
    with pytest.raises(UnlabeledTargetError, match="refused"):
        fit(problem(shift=20.0, n_labeled=0))


def test_classification_with_text_labels():
    X, y, domain = problem(n_labeled=30)
    labels = np.where(y > 0, "up", "down").astype(object)
    model = fit((X, labels, domain), LogisticRegression())
    assert model.decision_ == "pool" and set(model.classes_) == {"up", "down"}
    labels[domain > 0] = np.where(y[domain > 0] > 0, "down", "up")
    model = fit((X, labels, domain), LogisticRegression())
    assert model.decision_ == "target_only"
    assert model.predict_proba(X).shape == (len(X), 2)


@pytest.mark.parametrize("labels", [0, 12])
def test_level_of_the_similarity_test(labels):
    n, alpha = 40, 0.1
    rejected = 0
    for seed in range(n):
        data = problem(seed, n_source=15, n_target=15, n_labeled=labels)
        model = fit(data, alpha=alpha, n_permutations=19)
        rejected += model.similarity_[1] <= alpha
    assert rejected <= binom.ppf(0.999, n, alpha)


def test_source_as_good_as_the_mean_is_rarely_low():
    n, alpha = 40, 0.1
    low = 0
    for seed in range(n):
        rng = np.random.default_rng(seed)
        X, domain = rng.normal(size=(34, 2)), np.repeat([1, -1], [20, 14])
        y = rng.normal(size=34)  # nothing to learn anywhere
        strong = Ridge(alpha=1e6)  # so the source model is its mean
        model = fit((X, y, domain), strong, alpha=alpha, n_permutations=19)
        low += model.levels_[1] == "low"
    assert low <= binom.ppf(0.999, n, alpha)


def test_order_of_rows_does_not_matter():
    X, y, domain = problem(shift=0.4)
    order = np.random.default_rng(5).permutation(len(y))
    first = fit((X, y, domain))
    second = fit((X[order], y[order], domain[order]))
    assert first.similarity_ == pytest.approx(second.similarity_)
    assert first.harm_ == pytest.approx(second.harm_)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"mitigation": Ridge()}, TypeError, "mitigation"),
        ({"n_permutations": 10}, ValueError, "n_permutations=10"),
        ({"alpha": 1.0}, ValueError, "alpha"),
    ],
)
def test_bad_parameters(options, error, match):
    with pytest.raises(error, match=match):
        fit(problem(), **options)
