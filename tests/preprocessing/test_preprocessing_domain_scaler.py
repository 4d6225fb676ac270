"""Domains on scales of their own, brought together without a label."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.preprocessing import DomainScaler

SIZES = [12, 8, 10]
DOMAIN = np.repeat([1, 2, -1], SIZES)


def three_batches():
    rng = np.random.RandomState(0)
    age = rng.normal(size=30).round(2)
    X = rng.normal(size=(30, 6))
    batch = np.repeat([0, 1, 2], SIZES)
    X = X * np.array([1.0, 2.0, 0.5])[batch][:, None]
    X += np.array([0.0, 3.0, -1.0])[batch][:, None] + age[:, None] * np.arange(6) / 3
    return X.round(2), age


#: combatlearn 2.3.0, ComBat(batch=batch, method="johnson") on these data: the result
#: is intercept + slope * x in every batch and feature
COMBAT_INTERCEPT = [
    [0.8133, 0.0983, 0.2647, 0.6763, 0.0077, 0.2386],
    [-1.567, -1.5542, -1.3269, -3.4836, -1.5835, -2.4934],
    [1.8602, 2.4181, 1.816, 2.063, 1.3439, 1.6954],
]
COMBAT_SLOPE = [
    [1.1848, 1.1373, 1.3203, 0.967, 0.9682, 1.0418],
    [0.6498, 0.686, 0.6619, 0.9691, 0.9499, 0.9616],
    [1.558, 1.3716, 1.2322, 0.9416, 0.9339, 0.8882],
]


def test_agrees_with_combatlearn_on_small_batches():
    X, _ = three_batches()
    batch = np.repeat([0, 1, 2], SIZES)
    combat = np.array(COMBAT_INTERCEPT)[batch] + np.array(COMBAT_SLOPE)[batch] * X

    def agreement(shrinkage):
        scaler = DomainScaler(shrinkage=shrinkage)
        Z = scaler.fit_transform(X, sample_domain=DOMAIN)
        return np.array([np.corrcoef(Z[:, j], combat[:, j])[0, 1] for j in range(6)])

    # both shrink, by priors over other things: domains here, features there
    assert agreement("auto").min() > 0.99
    assert agreement("auto").min() > agreement(0).min()
    sds = np.array([(combat[k == DOMAIN]).std(0, ddof=1) for k in (1, 2, -1)])
    scaler = DomainScaler().fit(X, sample_domain=DOMAIN)
    own = np.array([X[k == DOMAIN].std(0, ddof=1) for k in (1, 2, -1)])
    ours = own / scaler.scale_[[1, 2, 0]]  # targets come first
    relation = np.corrcoef(np.log(ours).ravel(), np.log(sds / sds.mean(0)).ravel())
    assert relation[0, 1] > 0.8


def test_without_shrinkage_each_domain_is_standardized(rng):
    X = rng.normal(size=(30, 3)) * DOMAIN[:, None] + 5 * DOMAIN[:, None]
    Z = DomainScaler(shrinkage=0).fit_transform(X, sample_domain=DOMAIN)
    for k in (1, 2, -1):
        np.testing.assert_allclose(Z[k == DOMAIN].mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(Z[k == DOMAIN].std(axis=0, ddof=1), 1)


def test_without_domains_it_is_a_standard_scaler(rng):
    X = rng.normal(3, 2, size=(40, 3))
    ours = DomainScaler().fit_transform(X)
    plain = StandardScaler().fit_transform(X) * np.sqrt(39 / 40)
    np.testing.assert_allclose(ours, plain)


def test_switches(rng):
    X = rng.normal(size=(30, 2)) * DOMAIN[:, None] + 5 * DOMAIN[:, None]
    fits = {
        name: DomainScaler(**{name: False}).fit(X, sample_domain=DOMAIN)
        for name in ("with_mean", "with_std")
    }
    for attribute, name in (("location_", "with_mean"), ("scale_", "with_std")):
        assert np.ptp(getattr(fits[name], attribute), axis=0).max() == 0
        common = getattr(fits[name], f"common_{attribute}")
        np.testing.assert_array_equal(getattr(fits[name], attribute)[0], common)


def test_a_small_domain_is_shrunk_toward_the_others(rng):
    """10 sites differ a little; of an eleventh there are 2 samples."""
    sites = np.repeat(np.arange(1, 11), 40)
    place = rng.normal(0, 0.3, size=11)
    X = np.concatenate([rng.normal(place[k - 1], 1, size=40) for k in range(1, 11)])
    errors = []
    for _ in range(40):
        new = rng.normal(place[10], 1, size=2)
        scaler = DomainScaler().fit(
            np.append(X, new)[:, None], sample_domain=np.append(sites, [-1, -1])
        )
        errors.append([scaler.location_[0, 0] - place[10], new.mean() - place[10]])
        assert scaler.scale_[0, 0] == pytest.approx(1, abs=0.4)
    shrunk, own = np.mean(np.square(errors), axis=0)
    assert shrunk < 0.6 * own


def test_domains_that_differ_by_chance_get_one_location(rng):
    domain = np.repeat([1, 2, 3, 4, 5, -1], 30)
    X = rng.normal(size=(180, 40))
    scaler = DomainScaler().fit(X, sample_domain=domain)
    assert np.mean(scaler.location_variance_ == 0) > 0.3
    assert np.sqrt(scaler.location_variance_.mean()) < 0.15
    assert np.abs(scaler.scale_ - 1).max() < 0.25


def test_an_unseen_domain_is_placed_by_its_own_samples(rng):
    domain = np.repeat([1, 2, 3, -1], 50)
    shift, stretch = np.array([0, 4, -3, 2])[[0, 1, 2, -1]], np.array([1, 2, 0.5, 1.5])
    X = rng.normal(size=(200, 2)) * np.repeat(stretch, 50)[:, None]
    X += np.repeat(shift, 50)[:, None]
    scaler = DomainScaler().fit(X, sample_domain=domain)
    new = 7 + 3 * rng.normal(size=(60, 2))
    for name in (9, -9):
        Z = scaler.transform(new, sample_domain=name)
        np.testing.assert_allclose(Z.mean(axis=0), 0, atol=0.1)
        np.testing.assert_allclose(Z.std(axis=0), 1, atol=0.1)
    # beside samples of known domains nothing changes
    both = np.concatenate([X[:3], new, X[60:62]])
    ids = np.concatenate([domain[:3], np.full(60, 9), domain[60:62]])
    mixed = scaler.transform(both, sample_domain=ids)
    np.testing.assert_allclose(mixed[3:63], scaler.transform(new, sample_domain=9))
    known = scaler.transform(X, sample_domain=domain)
    np.testing.assert_allclose(mixed[[0, 1, 2, 63, 64]], known[[0, 1, 2, 60, 61]])
    # one sample says little, and so it stays nearly where the others are
    one = scaler.transform(np.full((1, 2), 5.0), sample_domain=9)
    assert np.isfinite(one).all()
    assert (np.abs(one) < 5.0 - scaler.common_location_).all()


def test_samples_without_a_domain_belong_to_the_target(rng):
    X = rng.normal(size=(30, 2)) + 3 * DOMAIN[:, None]
    scaler = DomainScaler().fit(X, sample_domain=DOMAIN)
    np.testing.assert_array_equal(
        scaler.transform(X), scaler.transform(X, sample_domain=-1)
    )


def test_labels_change_nothing(rng):
    X = rng.normal(size=(30, 2)) + 3 * DOMAIN[:, None]
    y = rng.randint(2, size=30)
    expected = DomainScaler().fit_transform(X, sample_domain=DOMAIN)
    for labels in (y, rng.permutation(y), np.where(DOMAIN < 0, np.nan, y)):
        Z = DomainScaler().fit_transform(X, labels, sample_domain=DOMAIN)
        np.testing.assert_array_equal(Z, expected)


def test_shuffled_labels_give_no_gain(rng):
    """Harmonization that sees labels finds a signal in pure noise; this does not."""
    scores = []
    with config_context(enable_metadata_routing=True):
        for _ in range(30):
            domain = np.repeat([1, 2, -1], 40)
            X = rng.normal(size=(120, 20)) + rng.normal(size=(3, 20))[[0, 1, 2]].repeat(
                40, axis=0
            )
            y = (rng.uniform(size=120) < np.repeat([0.8, 0.2, 0.5], 40)).astype(int)
            y[80:] = rng.permutation([0, 1] * 20)
            pipeline = make_pipeline(DomainScaler(), Pooled(LogisticRegression(C=0.1)))
            scores.append(
                cross_val_score(
                    pipeline, X, y, cv=StratifiedTargetKFold(4),
                    params={"sample_domain": domain}, scoring="roc_auc",
                ).mean()
            )  # fmt: skip
    error = np.std(scores) / np.sqrt(len(scores))
    assert np.mean(scores) < 0.5 + 2.5 * error
    assert np.mean(scores) < 0.53


def test_covariates_keep_what_they_explain(rng):
    """Sites of other ages differ rightly by age, and wrongly by their scanner."""
    domain = np.repeat([1, -1], 200)
    age = rng.normal(np.where(domain > 0, 30.0, 60.0), 5)
    volume = -0.1 * age + rng.normal(0, 0.3, 400) + np.where(domain > 0, 0.0, 7.0)
    X = pd.DataFrame({"age": age, "volume": volume})
    plain = DomainScaler(shrinkage=0).fit_transform(X, sample_domain=domain)
    scaler = DomainScaler(covariates=["age"], shrinkage=0)
    kept = scaler.fit_transform(X, sample_domain=domain)
    assert scaler.coef_[0, 1] == pytest.approx(-0.1, abs=0.02)
    assert abs(plain[domain > 0, 1].mean() - plain[domain < 0, 1].mean()) < 1e-9
    drop = kept[domain > 0, 1].mean() - kept[domain < 0, 1].mean()
    assert drop * scaler.common_scale_[1] == pytest.approx(3.0, abs=0.6)
    assert np.corrcoef(kept[:, 0], age)[0, 1] == pytest.approx(1)
    by_place = DomainScaler(covariates=[0], shrinkage=0)
    np.testing.assert_array_equal(by_place.fit_transform(X, sample_domain=domain), kept)


def test_rotation_makes_correlations_alike(rng):
    domain = np.repeat([1, 2, -1], 300)
    X = rng.normal(size=(900, 2))
    X[domain == 1, 1] += 2 * X[domain == 1, 0]
    X[domain == 2, 1] -= 2 * X[domain == 2, 0]
    for rotate, least in ((False, 0.8), (True, 0.0)):
        scaler = DomainScaler(rotate=rotate)
        Z = scaler.fit_transform(X, sample_domain=domain)
        r = [np.corrcoef(Z[domain == k].T)[0, 1] for k in (1, 2, -1)]
        assert np.ptp(r) >= least
    assert np.ptp(r) < 0.25
    new = rng.normal(size=(400, 2))
    new[:, 1] += 3 * new[:, 0]
    Z = scaler.transform(new, sample_domain=5)
    assert np.corrcoef(Z.T)[0, 1] == pytest.approx(np.mean(r), abs=0.2)


def test_correlations_that_differ_by_chance_are_not_rotated(rng):
    X = rng.normal(size=(90, 3))
    domain = np.repeat([1, 2, -1], 30)
    on = DomainScaler(rotate=True).fit_transform(X, sample_domain=domain)
    off = DomainScaler().fit_transform(X, sample_domain=domain)
    assert np.abs(on - off).max() < 1.0
    lone = DomainScaler(rotate=True, shrinkage=1e9).fit_transform(
        X, sample_domain=domain
    )
    fixed = DomainScaler(shrinkage=1e9).fit_transform(X, sample_domain=domain)
    np.testing.assert_allclose(lone, fixed, atol=1e-6)


def test_missing_values_stay_missing(rng):
    X = rng.normal(size=(30, 3)) + 3 * DOMAIN[:, None]
    X[DOMAIN == 2, 1] = np.nan  # a domain without a feature
    X[0, 0] = np.nan
    Z = DomainScaler().fit_transform(X, sample_domain=DOMAIN)
    np.testing.assert_array_equal(np.isnan(Z), np.isnan(X))
    part = DomainScaler(shrinkage=0).fit_transform(X, sample_domain=DOMAIN)
    known = part[DOMAIN == 1, 0][1:]
    assert known.mean() == pytest.approx(0)
    with pytest.raises(ValueError, match="NaN"):
        DomainScaler(rotate=True).fit(X, sample_domain=DOMAIN)
    with pytest.raises(ValueError, match=r"covariate contains NaN"):
        DomainScaler(covariates=[0]).fit(X, sample_domain=DOMAIN)


def test_constant_features_and_large_offsets(rng):
    X = np.column_stack([np.full(30, 1e9 + 0.1), 1e9 + rng.normal(size=30)])
    X[DOMAIN == 1, 0] = -3.3
    Z = DomainScaler(shrinkage=0).fit_transform(X, sample_domain=DOMAIN)
    np.testing.assert_allclose(Z[:, 0], 0, atol=1e-6)
    assert Z[:, 1].std() == pytest.approx(1, abs=0.1)


def test_sites_on_their_own_scales_predict_an_unseen_site(rng):
    """A site effect as large as the signal of the classes hides it."""
    n, sites = 60, [1, 2, 3, 4, -1]
    domain = np.repeat(sites, n)
    y = rng.randint(2, size=len(domain))
    X = rng.normal(size=(len(y), 3)) + 1.5 * y[:, None]
    site = rng.normal(0, 4, size=(6, 3))
    X += site[np.repeat(np.arange(5), n)]
    y_new = rng.permutation([0, 1] * 100)
    new = rng.normal(size=(200, 3)) + 1.5 * y_new[:, None] + site[5]
    with config_context(enable_metadata_routing=True):
        scaled = make_pipeline(DomainScaler(), Pooled(LogisticRegression()))
        scaled.fit(X, y, sample_domain=domain)
        score = np.mean(scaled.predict(new, sample_domain=-2) == y_new)
    raw = Pooled(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert score > 0.85
    assert score > np.mean(raw.predict(new) == y_new) + 0.1


@pytest.mark.parametrize(
    ("covariates", "match"),
    [(["age"], "'age'.*no column"), ([7], "positions from 0 to 1"), ([0.5], "0.5")],
)
def test_errors(rng, covariates, match):
    with pytest.raises(ValueError, match=match):
        DomainScaler(covariates=covariates).fit(rng.normal(size=(30, 2)))


def test_names_of_columns_go_through_a_pipeline():
    X, _ = three_batches()
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(30) + 7)
    pipe = make_pipeline(DomainScaler(), Pooled(LogisticRegression()))
    with config_context(enable_metadata_routing=True):
        pipe.set_output(transform="pandas")
        pipe.fit(frame, np.arange(30) % 2, sample_domain=DOMAIN)
    assert pipe[-1].feature_names_in_.tolist() == list("abcdef")
    assert pipe[0].transform(frame).index.tolist() == frame.index.tolist()
