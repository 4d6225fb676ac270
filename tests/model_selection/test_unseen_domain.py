"""Leave one domain out: who is fitted, who is scored, and what may not leak."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.exceptions import DomainError
from sktransfer.model_selection import cross_val_unseen_domain
from sktransfer.multisource import SourceFreeEnsemble, UOWQMultiTask
from sktransfer.preprocessing import DomainScaler

SITE = np.repeat([3, 5, 8, 9], 30)


class Recording(ClassifierMixin, BaseEstimator):
    """Keep what every fit saw."""

    seen: list = []

    def fit(self, X, y, sample_weight=None):
        """Remember the rows."""
        self.classes_ = np.unique(y)
        Recording.seen.append((np.asarray(X)[:, 0].astype(int), np.asarray(y)))
        return self

    def predict(self, X):
        """Predict the first class."""
        Recording.asked.append(np.asarray(X)[:, 0].astype(int))
        return np.full(len(X), self.classes_[0])


@pytest.fixture
def rows(rng):
    X = np.column_stack([np.arange(120), rng.normal(size=120)])
    return X, rng.randint(2, size=120)


@pytest.mark.parametrize("signs", [1, -1])
@pytest.mark.parametrize("kind", ["int", "text", "bool", "float"])
def test_rows_that_are_fitted_and_scored(rows, signs, kind):
    X, y = rows
    y = {"int": y, "text": np.array(["no", "yes"])[y], "bool": y > 0,
         "float": y.astype(float)}[kind]  # fmt: skip
    Recording.seen, Recording.asked = [], []
    result = cross_val_unseen_domain(
        Pooled(Recording()), X, y, sample_domain=signs * SITE, n_calibration=[4, 0]
    )
    assert result.n_calibration.tolist() == [0, 4]
    assert result.domains.tolist() == sorted(signs * np.unique(SITE))
    assert result.n_scored.tolist() == [26] * 4
    fits = iter(zip(Recording.seen, Recording.asked, strict=True))
    for site in result.domains:
        inside = np.flatnonzero(signs * SITE == site)
        (none, _), asked = next(fits)
        assert set(none) == set(range(120)) - set(inside)
        (some, labels), again = next(fits)
        calibration = set(some) & set(inside)
        assert len(calibration) == 4
        assert len(set(np.asarray(y)[sorted(calibration)])) == 2  # both classes
        assert set(asked) == set(again) == set(inside) - calibration
        assert set(labels) == set(y)


def test_units_are_never_on_both_sides(rows):
    X, y = rows
    patient = np.arange(120) // 3  # of one site each
    patient[[0, 119]] = 777  # one patient was at the first and the last site
    Recording.seen, Recording.asked = [], []
    result = cross_val_unseen_domain(
        Pooled(Recording()), X, y, sample_domain=SITE, groups=patient, n_calibration=[4]
    )
    assert (result.n_scored <= 26).all()
    for (seen, _), asked in zip(Recording.seen, Recording.asked, strict=True):
        assert not set(patient[seen]) & set(patient[asked])


def test_rows_without_a_label(rows):
    X, y = rows
    y = y.astype(float)
    y[::5] = np.nan
    result = cross_val_unseen_domain(
        Pooled(LogisticRegression()), X[:, 1:], y, sample_domain=SITE
    )
    assert result.n_scored.tolist() == [24] * 4


def test_the_curve_over_calibration_rows_falls_with_site_effects(rng):
    """Sites differ by an offset: a few labels of the new one are worth a lot."""
    sites = np.repeat(np.arange(1, 9), 40)
    X = rng.normal(size=(320, 2))
    y = X[:, 0] + rng.normal(0, 3, size=8)[sites - 1] + 0.1 * rng.normal(size=320)
    result = cross_val_unseen_domain(
        Pooled(Ridge(), source_weight=0.01), X, y, sample_domain=sites,
        n_calibration=[0, 3, 10], scoring="neg_root_mean_squared_error", n_repeats=2,
    )  # fmt: skip
    assert (np.diff(result.mean) > 0.3).all()
    assert (result.interval[:, 0] < result.mean).all()
    np.testing.assert_allclose(result.mean, result.scores.mean(axis=0))


def test_domain_scaler_helps_where_sites_have_scales_of_their_own(rng):
    sites = np.repeat(np.arange(1, 7), 40)
    y = rng.permutation(np.arange(240) % 2)
    X = rng.normal(size=(240, 3)) + 2 * y[:, None]
    X = X * rng.uniform(0.3, 3, size=(6, 3))[sites - 1]
    X += rng.normal(0, 5, size=(6, 3))[sites - 1]
    scores = {}
    for scaler in (DomainScaler(), None):
        model = Pooled(LogisticRegression())
        model = model if scaler is None else make_pipeline(scaler, model)
        result = cross_val_unseen_domain(model, X, y, sample_domain=sites)
        scores[scaler is None] = result.mean[0]
    assert scores[False] > 0.9 > scores[True] + 0.1


def test_same_seed_same_result(rows):
    X, y = rows
    fits = [
        cross_val_unseen_domain(
            Pooled(LogisticRegression()), X, y, sample_domain=SITE, domains=[5, 9],
            n_calibration=6, n_repeats=2, random_state=3, n_jobs=n_jobs,
        ).scores
        for X, n_jobs in ((X, None), (pd.DataFrame(X), 2))
    ]  # fmt: skip
    assert fits[0].shape == (2, 1)
    np.testing.assert_array_equal(*fits)


def test_weights_are_sliced(rows):
    X, y = rows
    weights = np.where(np.arange(120) % 2, 0.0, 1.0)
    with config_context(enable_metadata_routing=True):
        model = Pooled(Recording().set_fit_request(sample_weight=True))
    Recording.seen, Recording.asked = [], []
    cross_val_unseen_domain(
        model, X, y, sample_domain=SITE, params={"sample_weight": weights}
    )
    assert all((seen % 2 == 0).all() for seen, _ in Recording.seen)


@pytest.mark.parametrize("routing", [False, True])
def test_exposure_compares_rates_with_rates(rng, routing):
    X, exposure = rng.normal(size=(120, 2)), rng.uniform(0.1, 20.0, size=120)
    counts = exposure * np.exp(X[:, 0])  # without noise: a good model is perfect
    learner = PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000)
    for model in (Pooled(learner), make_pipeline(StandardScaler(), Pooled(learner))):
        with config_context(enable_metadata_routing=routing):
            result = cross_val_unseen_domain(
                model, X, counts, sample_domain=SITE, params={"exposure": exposure}
            )
        assert result.scores.min() > 0.999
    # a row counts as much as its exposure says
    noisy = counts * rng.uniform(0.5, 1.5, size=120)
    result = cross_val_unseen_domain(
        SourceOnly(learner), X, noisy, sample_domain=SITE, domains=[3],
        params={"exposure": exposure}, scoring="neg_mean_squared_error",
    )  # fmt: skip
    fitted = SourceOnly(learner).fit(
        X, np.where(SITE == 3, np.nan, noisy), exposure=exposure,
        sample_domain=np.where(SITE == 3, -1, 1),
    )  # fmt: skip
    out = SITE == 3
    errors = (noisy / exposure - fitted.predict(X))[out] ** 2
    by_hand = -np.average(errors, weights=exposure[out])
    assert result.scores[0, 0] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"sample_domain": None}, DomainError, "sample_domain is None"),
        ({"sample_domain": np.ones(120, int)}, DomainError, "names one domain"),
        ({"n_calibration": -1}, ValueError, "holds -1"),
        ({"n_calibration": 0.5}, ValueError, "one or several integers"),
        ({"n_calibration": 30}, DomainError, "Domain 3 has 30 labeled rows"),
        ({"domains": [4]}, DomainError, r"domains names \[4\]"),
        ({"estimator": Ridge()}, TypeError, "Ridge"),
        ({"estimator": TargetOnly(Ridge())}, ValueError, "must be positive"),
        ({"y": np.zeros(7)}, DomainError, "7 entries"),
        ({"n_repeats": 0}, ValueError, "n_repeats"),
    ],
)
def test_errors(rows, changes, error, match):
    X, y = rows
    arguments = {"estimator": SourceOnly(Ridge()), "X": X, "y": y.astype(float)}
    arguments |= {"sample_domain": SITE} | changes
    with pytest.raises(error, match=match):
        cross_val_unseen_domain(**arguments)


def test_a_domain_without_a_score_is_named_and_left_out_of_the_mean(rows):
    X, y = rows
    y = np.where(SITE == 5, 1, y)  # one class, so no area under the curve
    given = {"sample_domain": SITE, "n_calibration": [0, 4], "scoring": "roc_auc"}
    model = Pooled(LogisticRegression())
    with pytest.warns(UndefinedMetricWarning, match="domains 5 is not") as record:
        result = cross_val_unseen_domain(model, X, y, **given)
    assert len(record) == 1
    assert np.isnan(result.scores[1]).all()
    np.testing.assert_allclose(result.mean, result.scores[[0, 2, 3]].mean(axis=0))
    assert np.isfinite(result.interval).all()
    with pytest.raises(ValueError, match="no domain is left"):
        cross_val_unseen_domain(model, X, y, domains=[5], **given)


def test_an_error_names_the_domain(rows):
    X, y = rows
    y = np.where(SITE == 8, y, 1)
    with pytest.raises(ValueError, match=r"With domain 8 left out: .*one class"):
        cross_val_unseen_domain(Pooled(LogisticRegression()), X, y, sample_domain=SITE)


def test_multi_task_gives_an_unseen_domain_the_mean_of_the_tasks(rng):
    X = rng.normal(size=(90, 2))
    task = np.repeat([-1, -2, 3], 30)
    y = X[:, 0] + 0.1 * rng.normal(size=90)
    model = UOWQMultiTask(LinearRegression()).fit(X, y, sample_domain=task)
    each = [model.predict(X, sample_domain=k) for k in (-1, -2, 3)]
    np.testing.assert_allclose(model.predict(X, sample_domain=77), np.mean(each, 0))
    classes = np.where(y > 0, "yes", "no")
    model = UOWQMultiTask(LogisticRegression()).fit(X, classes, sample_domain=task)
    each = [model.predict_proba(X, sample_domain=k) for k in (-1, -2, 3)]
    np.testing.assert_allclose(
        model.predict_proba(X, sample_domain=-9), np.mean(each, 0)
    )
    assert set(model.predict(X, sample_domain=-9)) == {"yes", "no"}
    with pytest.raises(DomainError, match="predict_proba"):
        model.decision_function(X, sample_domain=-9)


def test_source_free_weights_of_an_unseen_domain(rng):
    """Each new domain is like one of the sources, and gets its model."""
    X = rng.normal(size=(200, 2))
    X[:, 0] += np.where(rng.uniform(size=200) < 0.5, 3, -3)
    domain = np.repeat([1, 2, -1], [80, 80, 40])
    y = (X[:, 0] > 0).astype(int)
    y[80:160] = rng.randint(2, size=80)  # the second source is noise
    model = SourceFreeEnsemble(LogisticRegression())
    model.fit(X, np.where(domain < 0, np.nan, y), sample_domain=domain)
    new = rng.normal(size=(50, 2)) + [3, 0]
    new[::2, 0] -= 6
    proba = model.predict_proba(new, sample_domain=-5)
    alone = SourceFreeEnsemble(
        LogisticRegression(), source_models=list(model._models)
    ).fit(new, np.full(50, np.nan), sample_domain=-5)
    np.testing.assert_allclose(proba, alone.predict_proba(new), atol=1e-6)
    np.testing.assert_array_equal(
        model.predict(new, sample_domain=2), model._models[1].predict(new)
    )
    np.testing.assert_array_equal(model.predict(X, sample_domain=-1), model.predict(X))
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            DomainScaler(), SourceFreeEnsemble(LogisticRegression())
        )
        pipeline.fit(X, np.where(domain < 0, np.nan, y), sample_domain=domain)
        assert pipeline.predict_proba(new, sample_domain=-5).shape == (50, 2)
