"""Counts and exposure: one rule for every wrapper, and deviance as the loss."""

from functools import partial

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn import config_context
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import (
    GammaRegressor,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import d2_tweedie_score, mean_tweedie_deviance, r2_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

from sktransfer._deviance import deviance_power, unit_deviance
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.feature import TCA
from sktransfer.hypothesis import OffsetTransfer
from sktransfer.instance import KMM
from sktransfer.metrics import cross_val_ntg
from sktransfer.model_selection import TargetKFold
from sktransfer.multisource import (
    OTQMS,
    UOWQ,
    MMDWeightedEnsemble,
    SingleBestSource,
    SourceSelector,
    UOWQMultiTask,
    likelihood_of,
)
from sktransfer.safe import (
    ReliableTransfer,
    TransferConformal,
    TransferGuard,
    TransferPortfolioRegressor,
)

DOMAIN = np.repeat([1, 2, -1], [60, 60, 40])


@pytest.fixture
def counts(rng):
    """Claims in three regions: rate exp(x / 2), exposures of months to years."""
    X = rng.normal(size=(160, 2))
    exposure = rng.uniform(0.2, 3.0, size=160)
    level = np.where(DOMAIN == 2, 1.0, 0.0)
    y = rng.poisson(exposure * np.exp(0.5 * X[:, 0] + level + 1)).astype(float)
    return X, y, exposure


@pytest.mark.parametrize("power", [0, 1, 1.5, 2, 3])
def test_unit_deviance_is_that_of_scikit_learn(rng, power):
    y, mean = rng.gamma(2, size=50) + 0.1, rng.gamma(2, size=50) + 0.1
    expected = mean_tweedie_deviance(y, mean, power=power)
    assert unit_deviance(y, mean, power).mean() == pytest.approx(expected)
    if 1 <= power < 2:
        y[:5] = 0
        expected = mean_tweedie_deviance(y, mean, power=power)
        assert unit_deviance(y, mean, power).mean() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("learner", "power"),
    [
        (PoissonRegressor(), 1),
        (GammaRegressor(), 2),
        (TweedieRegressor(power=1.5), 1.5),
        (TweedieRegressor(power=0, link="log"), 0),
        (TweedieRegressor(power=0), None),
        (HistGradientBoostingRegressor(loss="poisson"), 1),
        (HistGradientBoostingRegressor(), None),
        (LGBMRegressor(objective="tweedie", tweedie_variance_power=1.3), 1.3),
        (LGBMRegressor(), None),
        (XGBRegressor(objective="count:poisson"), 1),
        (make_pipeline(StandardScaler(), GammaRegressor()), 2),
        (TransferGuard(Pooled(PoissonRegressor())), 1),
        (OffsetTransfer(HistGradientBoostingRegressor(loss="gamma")), 2),
        (GridSearchCV(PoissonRegressor(), {}), 1),
        (Ridge(), None),
    ],
)
def test_power_of_a_learner(learner, power):
    assert deviance_power(learner) == power


WRAPPERS = [
    Pooled,
    SourceOnly,
    TargetOnly,
    KMM,
    UOWQ,
    UOWQMultiTask,
    partial(OTQMS, random_state=0),
    MMDWeightedEnsemble,
    SingleBestSource,
]
LEARNERS = [
    PoissonRegressor(alpha=0.01),
    GammaRegressor(alpha=0.01),
    TweedieRegressor(power=1.5, alpha=0.01),
]


@pytest.mark.parametrize("learner", LEARNERS, ids=["poisson", "gamma", "tweedie"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_exposures_are_rates_with_weights(counts, wrapper, learner):
    X, y, exposure = counts
    power = deviance_power(learner)
    y = y + 1.0 if power >= 2 else y
    with config_context(enable_metadata_routing=True):
        asking = learner.set_fit_request(sample_weight=True)
    model = wrapper(asking).fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    by_hand = wrapper(asking).fit(
        X, y / exposure, sample_domain=DOMAIN, sample_weight=exposure ** (2 - power)
    )
    np.testing.assert_allclose(model.predict(X), by_hand.predict(X), rtol=1e-6)
    if wrapper is not UOWQMultiTask:
        scaled = model.predict(X, exposure=exposure)
        np.testing.assert_allclose(scaled, model.predict(X) * exposure)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TransferGuard(Pooled(PoissonRegressor(alpha=0)), cv=3),
        lambda: TransferPortfolioRegressor(PoissonRegressor(alpha=0), cv=3),
        lambda: OffsetTransfer(PoissonRegressor(alpha=0), cv=3),
        lambda: TransferGuard(
            Pooled(PoissonRegressor(alpha=0)),
            target_estimator=PoissonRegressor(alpha=0),
            cv=3,
        ),
        lambda: TransferPortfolioRegressor(
            HistGradientBoostingRegressor(
                loss="poisson", max_iter=20, min_samples_leaf=10
            ),
            cv=2,
        ),
    ],
    ids=["guard", "portfolio", "offset", "fallback", "trees"],
)
def test_rates_are_found_whatever_the_unit_of_exposure(counts, make):
    X, y, exposure = counts
    truth = np.exp(0.5 * X[:, 0] + 1)
    years = make().fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    months = make().fit(X, y, sample_domain=DOMAIN, exposure=12 * exposure)
    # penalties of trees and of default learners are in units of the labels
    tolerance = 0.05 if getattr(make(), "cv", 3) == 3 else 0.3
    np.testing.assert_allclose(years.predict(X), 12 * months.predict(X), rtol=tolerance)
    error = np.abs(np.log(years.predict(X) / truth))
    assert np.mean(error) < 0.3
    blind = make().fit(X, y, sample_domain=DOMAIN)
    worse = np.abs(np.log(np.maximum(blind.predict(X), 1e-3) / truth))
    assert np.mean(error) < np.mean(worse)
    np.testing.assert_allclose(
        years.predict(X, exposure=exposure), years.predict(X) * exposure
    )


def test_the_gap_of_a_guard_is_one_of_deviances(counts):
    X, y, exposure = counts
    rows = np.flatnonzero(DOMAIN < 0)
    folds = [(np.setdiff1d(np.arange(160), rows[k::4]), rows[k::4]) for k in range(4)]
    model = Pooled(PoissonRegressor(alpha=0.01))
    guard = TransferGuard(model, cv=folds)
    guard.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    gaps, weights = [], []
    for train, test in folds:
        losses = []
        for part in (train[DOMAIN[train] < 0], train):
            fitted = Pooled(PoissonRegressor(alpha=0.01)).fit(
                X[part], y[part], sample_domain=DOMAIN[part], exposure=exposure[part]
            )
            losses.append(
                mean_tweedie_deviance(
                    y[test] / exposure[test], fitted.predict(X[test]), power=1,
                    sample_weight=exposure[test],
                )
            )  # fmt: skip
        gaps.append(losses[1] - losses[0])
        weights.append(exposure[test].mean())
    assert guard.ntg_ == pytest.approx(np.average(gaps, weights=weights), rel=1e-3)
    result = cross_val_ntg(
        model, X, y, sample_domain=DOMAIN, cv=folds, params={"exposure": exposure},
        scoring="neg_mean_poisson_deviance",
    )  # fmt: skip
    assert np.mean(result.gaps) == pytest.approx(np.mean(gaps), rel=1e-3)


def test_gap_and_weight_of_counts_have_one_evidence():
    learner = PoissonRegressor(alpha=0.01)
    members = [("alone", TargetOnly(learner)), ("pooled", Pooled(learner))]
    domain = np.repeat([1, -1], [40, 24])
    for seed in (3, 7):
        rng = np.random.default_rng(seed)
        X, exposure = rng.normal(size=(64, 3)), rng.uniform(0.2, 3.0, size=64)
        rate = np.exp(1.2 * X[:, 0] + 0.7 * (domain > 0))
        y = rng.poisson(exposure * rate).astype(float)
        for model in (
            TransferGuard(Pooled(learner), cv=3),
            TransferPortfolioRegressor(members=members, cv=3),
        ):
            model.fit(X, y, sample_domain=domain, exposure=exposure)
            helps = model.weight_posterior_.minimizer > 0.5
            assert helps == (model.ntg_ < 0), seed


def test_the_loss_of_a_portfolio_is_a_deviance(counts):
    X, y, _ = counts
    rows = np.flatnonzero(DOMAIN < 0)
    folds = [(np.setdiff1d(np.arange(160), rows[k::4]), rows[k::4]) for k in range(4)]
    learner = PoissonRegressor(alpha=0.01)
    members = [("alone", TargetOnly(learner)), ("pooled", Pooled(learner))]
    portfolio = TransferPortfolioRegressor(members=members, cv=folds)
    portfolio.fit(X, y, sample_domain=DOMAIN)
    total = 0.0
    for train, test in folds:
        part = train[DOMAIN[train] < 0]
        fitted = PoissonRegressor(alpha=0.01).fit(X[part], y[part])
        total += np.sum(unit_deviance(y[test], fitted.predict(X[test]), 1))
    assert portfolio.member_table_["loss"][0] == pytest.approx(total / 40, rel=1e-3)


def test_labels_of_unlabeled_rows_stay_missing(counts):
    X, y, exposure = counts
    y[-10:] = np.nan
    for model in (
        TransferGuard(Pooled(PoissonRegressor()), cv=3),
        TransferPortfolioRegressor(PoissonRegressor(), cv=2),
        OffsetTransfer(PoissonRegressor(), cv=2),
    ):
        model.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
        assert (model.predict(X) > 0).all()


def test_through_a_pipeline_with_routing(counts):
    X, y, exposure = counts
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), Pooled(PoissonRegressor()))
        pipeline.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
        plain = Pooled(make_pipeline(StandardScaler(), PoissonRegressor()))
        plain.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
        np.testing.assert_allclose(
            pipeline.predict(X, exposure=exposure),
            plain.predict(X, exposure=exposure),
            rtol=1e-3,
        )
        guard = TransferGuard(make_pipeline(StandardScaler(), TCA(1), Pooled(
            PoissonRegressor())), cv=2)  # fmt: skip
        guard.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
        assert (guard.predict(X, exposure=exposure) > 0).all()


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (Pooled(Ridge()), ValueError, "learner with a log link"),
        (TransferGuard(Pooled(Ridge())), ValueError, "learner with a log link"),
        (TransferPortfolioRegressor(), ValueError, "learner with a log link"),
        (
            SourceSelector(Pooled(PoissonRegressor()), source_score="logme"),
            ValueError,
            "compares counts with rates",
        ),
        (TransferConformal(Pooled(PoissonRegressor())), TypeError, "takes no exposure"),
    ],
)
def test_who_takes_no_exposure(counts, model, error, match):
    X, y, exposure = counts
    with pytest.raises(error, match=match):
        model.fit(X, y, sample_domain=DOMAIN, exposure=exposure)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pooled(PoissonRegressor()),
        lambda: Pooled(make_pipeline(StandardScaler(), PoissonRegressor())),
        lambda: UOWQMultiTask(PoissonRegressor()),
        lambda: TransferGuard(Pooled(PoissonRegressor()), cv=3),
        lambda: OffsetTransfer(PoissonRegressor()),
        lambda: TransferPortfolioRegressor(PoissonRegressor(), cv=2),
    ],
    ids=["pooled", "pipeline", "multitask", "guard", "offset", "portfolio"],
)
def test_counts_are_scored_as_rates_and_not_beside_rates(counts, make):
    """Rates are predicted; beside counts their R2 was far below 0, in silence."""
    X, y, exposure = counts
    exposure = exposure * 20
    model = make().fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    X, y, exposure = X[DOMAIN < 0], y[DOMAIN < 0], exposure[DOMAIN < 0]
    rates, options = model.predict(X), {"sample_weight": exposure}
    expected = [
        r2_score(y / exposure, rates, **options),
        d2_tweedie_score(y / exposure, rates, power=1, **options),
    ]
    for routing in (True, False):
        with config_context(enable_metadata_routing=routing):
            score = model.score(X, y, exposure=exposure)
        assert np.isclose(score, expected).any()
    with pytest.raises(ValueError, match="exposure must hold"):
        model.score(X, y, exposure=-exposure)


@pytest.mark.parametrize(
    "wrap", [lambda m: m, partial(make_pipeline, StandardScaler())]
)
def test_exposure_reaches_the_score_of_a_cross_validation(counts, wrap):
    X, y, exposure = counts
    model = wrap(TransferPortfolioRegressor(PoissonRegressor(), cv=2))
    with config_context(enable_metadata_routing=True):
        result = cross_validate(
            model, X, y / 5 * exposure * 100, cv=TargetKFold(3),
            params={"sample_domain": DOMAIN, "exposure": exposure * 100},
            return_estimator=True, return_indices=True,
        )  # fmt: skip
    for one, test, score in zip(
        result["estimator"], result["indices"]["test"], result["test_score"],
        strict=True,
    ):  # fmt: skip
        rates, weight = (y / 5)[test], exposure[test]
        assert score == pytest.approx(
            r2_score(rates, one.predict(X[test]), sample_weight=weight)
        )


@pytest.mark.parametrize("exposure", [[1.0], np.zeros(160), np.full(160, np.nan),
                                      -np.ones(160), ["a"] * 160])  # fmt: skip
def test_bad_exposures(counts, exposure):
    X, y, _ = counts
    for model in (
        Pooled(PoissonRegressor()),
        TransferPortfolioRegressor(PoissonRegressor()),
        OffsetTransfer(PoissonRegressor()),
    ):
        with pytest.raises(ValueError, match="exposure must hold"):
            model.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    fitted = Pooled(PoissonRegressor()).fit(X, y, sample_domain=DOMAIN)
    with pytest.raises(ValueError, match="exposure must hold"):
        fitted.predict(X, exposure=exposure)


@pytest.mark.parametrize("learner", LEARNERS[1:], ids=["gamma", "tweedie"])
def test_uowq_weighs_sources_of_positive_labels(learner):
    """The dispersion is estimated: the source that is alike counts, not the other."""
    domain = np.repeat([1, 2, -1], [150, 150, 40])
    weights = []
    for seed in range(6):
        rng = np.random.RandomState(seed)
        X = rng.normal(size=(340, 2))
        mean = np.exp(0.5 * X[:, 0] + np.where(domain == 2, 1.5, 0.0))
        y = mean * rng.gamma(4, 0.25, size=340)
        weights.append(UOWQ(learner).fit(X, y, sample_domain=domain).source_weights_)
    assert np.mean(weights, axis=0)[0] > 0.5
    assert np.max(weights, axis=0)[1] < 0.2


def test_dispersion_and_link_of_the_likelihood(rng):
    X = rng.normal(size=(2000, 2))
    y = np.exp(0.5 * X[:, 0]) * rng.gamma(4, 0.25, size=2000)
    model = GammaRegressor(alpha=0).fit(X, y)
    root = likelihood_of(model).fisher_root(model, X, y)
    assert root.dispersion == pytest.approx(0.25, rel=0.1)
    information = root.project(np.eye(3)).T @ root.project(np.eye(3))
    np.testing.assert_allclose(information, np.eye(3) / 0.25, atol=0.6)
    scores = likelihood_of(model).scores(model, X, y)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(scores.T @ scores / 2000, information, atol=0.6)
    with pytest.raises(TypeError, match="no log link"):
        likelihood_of(TweedieRegressor(power=0))


def test_only_unlabeled_rows_may_lack_an_exposure(counts):
    X, y, exposure = counts
    y, without = y.copy(), exposure.copy()
    y[-10:] = without[-10:] = np.nan
    learner = PoissonRegressor()
    models = [
        Pooled(learner),
        OffsetTransfer(learner),
        TransferGuard(Pooled(learner), cv=3),
        TransferPortfolioRegressor(
            members=[("alone", learner), ("pooled", Pooled(learner))], cv=3
        ),
    ]
    for model in models:
        expected = model.fit(X, y, sample_domain=DOMAIN, exposure=exposure).predict(X)
        model.fit(X, y, sample_domain=DOMAIN, exposure=without)
        np.testing.assert_allclose(model.predict(X), expected)
        without[0] = np.nan
        with pytest.raises(ValueError, match=r"1 are missing.*first at row 0"):
            model.fit(X, y, sample_domain=DOMAIN, exposure=without)
        without[0] = exposure[0]
        with pytest.raises(ValueError, match=r"shape \(3,\)"):
            model.predict(X, exposure=exposure[:3])
    result = cross_val_ntg(
        Pooled(learner), X, y, sample_domain=DOMAIN, params={"exposure": without}
    )
    assert np.isfinite(result.ntg)


@pytest.mark.parametrize("scaled", [False, True])
def test_members_by_hand_take_exposures_without_a_request(counts, scaled):
    X, y, exposure = counts
    learner = PoissonRegressor(alpha=1e-6, tol=1e-10, max_iter=10_000)
    learner = make_pipeline(StandardScaler(), learner) if scaled else learner
    members = [
        ("alone", learner),
        ("target", TargetOnly(learner)),
        ("pooled", Pooled(learner)),
        ("offset", OffsetTransfer(learner, shrinkage=[1.0])),
    ]
    model = TransferPortfolioRegressor(members=members, cv=3)
    model.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    assert model.skipped_ == {}
    for name, member in members[1:]:
        alone = member.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
        np.testing.assert_allclose(
            model.members_[name].predict(X), alone.predict(X), rtol=1e-4
        )
    # a sample of weight 2 is two samples, and one of weight 0 is none
    with config_context(enable_metadata_routing=True):
        asking = PoissonRegressor().set_fit_request(sample_weight=True)
    members = [("alone", asking), ("pooled", Pooled(asking))]
    weight = np.ones(160)
    weight[:2] = 2.0, 0.0
    rows = np.r_[0, 0, 2:160]
    model = TransferPortfolioRegressor(members=members, cv=3)
    model.fit(X, y, sample_domain=DOMAIN, exposure=exposure, sample_weight=weight)
    expected = model.predict(X)
    model.fit(X[rows], y[rows], sample_domain=DOMAIN[rows], exposure=exposure[rows])
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4)


@pytest.mark.parametrize(
    "learner",
    [
        PoissonRegressor(),
        TweedieRegressor(power=1.5, link="log"),
        HistGradientBoostingRegressor(loss="poisson", max_iter=3),
        LGBMRegressor(objective="poisson", n_estimators=3, verbose=-1, n_jobs=1),
        XGBRegressor(objective="count:poisson", n_estimators=3, n_jobs=1),
    ],
    ids=lambda learner: type(learner).__name__,
)
def test_counts_without_an_event(counts, learner):
    X, y, exposure = counts
    none = np.where(DOMAIN < 0, 0.0, y)
    given = {"sample_domain": DOMAIN, "exposure": exposure}
    assert not TargetOnly(learner).fit(X, none, **given).predict(X).any()
    pooled = Pooled(learner).fit(X, none, **given).predict(X)
    assert (pooled > 0).all()
    offset = OffsetTransfer(learner, shrinkage=[1.0]).fit(X, none, **given)
    assert offset.predict(X).max() < 1e-100
    guard = TransferGuard(Pooled(learner), cv=3)
    with pytest.warns(UserWarning, match="All labels of the 40 labeled target"):
        guard.fit(X, none, **given)
    assert not guard.predict(X).any()
    # a source without an event is no reason to fail
    quiet = np.where(DOMAIN == 1, 0.0, y)
    assert np.isfinite(guard.fit(X, quiet, **given).predict(X)).all()
    assert np.isfinite(offset.fit(X, quiet, **given).predict(X)).all()


def test_likelihood_weights_need_an_event(counts):
    X, y, _ = counts
    with pytest.raises(ValueError, match="All labels of the target are 0"):
        UOWQ(PoissonRegressor()).fit(
            X, np.where(DOMAIN < 0, 0.0, y), sample_domain=DOMAIN
        )
    model = UOWQ(PoissonRegressor())
    with pytest.warns(UserWarning, match="All labels of source 1 are 0"):
        model.fit(X, np.where(DOMAIN == 1, 0.0, y), sample_domain=DOMAIN)
    assert model.source_weights_[0] == 0


@pytest.mark.parametrize("score", ["mmd", "ntg"])
def test_a_selector_hands_exposures_on(counts, score):
    X, y, exposure = counts
    learner = PoissonRegressor(alpha=1e-6, tol=1e-10, max_iter=10_000)
    model = SourceSelector(Pooled(learner), source_score=score, n_sources=1)
    model.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    rows = np.isin(DOMAIN, [*model.kept_sources_, -1])
    expected = Pooled(learner).fit(
        X[rows], y[rows], sample_domain=DOMAIN[rows], exposure=exposure[rows]
    )
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-5)
    if score == "ntg":
        assert model.kept_sources_.tolist() == [1]  # source 2 has another level


def test_reliable_transfer_hands_exposures_on(counts):
    X, y, exposure = counts
    learner = PoissonRegressor(alpha=1e-6, tol=1e-10, max_iter=10_000)
    given = {"sample_domain": DOMAIN, "exposure": exposure}
    model = ReliableTransfer(learner).fit(X, y, **given)
    used = np.isin(DOMAIN, [k for k, v in model.levels_.items() if v != "low"] + [-1])
    assert model.decision_ in ("pool", "mitigate")
    if model.decision_ == "pool":
        part = {name: values[used] for name, values in given.items()}
        expected = Pooled(learner).fit(X[used], y[used], **part)
        np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-5)
    rates = model.predict(X)
    np.testing.assert_allclose(model.predict(X, exposure=exposure), rates * exposure)


def test_tasks_predict_counts(counts):
    X, y, exposure = counts
    model = UOWQMultiTask(PoissonRegressor())
    model.fit(X, y, sample_domain=DOMAIN, exposure=exposure)
    rates = model.predict(X, sample_domain=DOMAIN)
    np.testing.assert_allclose(
        model.predict(X, sample_domain=DOMAIN, exposure=exposure), rates * exposure
    )
    assert model.score(X, y, sample_domain=DOMAIN, exposure=exposure) > 0.2
