"""ARMUL: one center, and domains that leave it."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from sktransfer.multisource import ARMUL, SourceSummary, summarize_source


def _data(rng, slopes=(1.0, 1.0, 1.0), n=60, n_target=15, d=3):
    X = rng.normal(size=(n * len(slopes) + n_target, d))
    domain = np.repeat([*range(1, len(slopes) + 1), -1], [n] * len(slopes) + [n_target])
    factor = np.append(slopes, 1.0)[np.where(domain < 0, len(slopes), domain - 1)]
    y = factor * (X @ [2.0, -1.0, 0.5][:d]) + 1 + rng.normal(size=len(X))
    return X, y, domain


def test_no_penalty_is_each_domain_alone(rng):
    X, y, domain = _data(rng)
    model = ARMUL(penalty=0.0).fit(X, y, sample_domain=domain)
    for coef, k in zip([*model.source_coef_, model.coef_], [1, 2, 3, -1], strict=True):
        ols = LinearRegression().fit(X[domain == k], y[domain == k])
        np.testing.assert_allclose(coef, ols.coef_, rtol=1e-8)
    assert not model.at_center_.any()


def test_infinite_penalty_is_the_pooled_fit(rng):
    X, y, domain = _data(rng)
    model = ARMUL(penalty=np.inf).fit(X, y, sample_domain=domain)
    pooled = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, pooled.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.intercept_, pooled.intercept_, rtol=1e-8)
    np.testing.assert_array_equal(model.coef_, model.center_coef_)
    assert model.at_center_.all()


def test_similar_domains_are_exactly_at_the_center_and_an_outlier_is_not(rng):
    X, y, domain = _data(rng, slopes=(1.0, 1.0, 1.0, -2.0))
    model = ARMUL(penalty=1.5).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(model.at_center_, [True, True, True, False, True])
    assert model.kkt_residual_ < 1e-9
    # the outlier pulls the center by no more than its penalty
    three = ARMUL(penalty=1.5).fit(
        X[domain != 4], y[domain != 4], sample_domain=domain[domain != 4]
    )
    assert np.abs(model.center_coef_ - three.center_coef_).max() < 0.5


def test_constant_is_chosen_by_held_out_error(rng):
    X, y, domain = _data(rng)
    model = ARMUL().fit(X, y, sample_domain=domain)
    assert set(model.cv_errors_) == {np.inf, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.0}
    assert model.cv_errors_[model.penalty_] == min(model.cv_errors_.values())
    other = np.where(domain == -1, -3 * y, y)
    assert ARMUL().fit(X, other, sample_domain=domain).penalty_ < 8
    one = np.r_[np.arange(181)]
    single = ARMUL().fit(X[one], y[one], sample_domain=domain[one])
    assert single.penalty_ == 1.0
    assert single.cv_errors_ == {}


def test_it_helps_where_domains_are_alike_and_hardly_hurts_where_not():
    errors = {"alike": [], "unlike": []}
    for seed in range(8):
        for name, slopes in [("alike", (1.0,) * 3), ("unlike", (-3.0, 4.0, -2.0))]:
            X, y, domain = _data(np.random.RandomState(seed), slopes, n_target=12)
            model = ARMUL().fit(X, y, sample_domain=domain)
            alone = LinearRegression().fit(X[domain < 0], y[domain < 0])
            errors[name].append([
                np.sum((m.coef_ - [2.0, -1.0, 0.5]) ** 2) for m in (model, alone)
            ])  # fmt: skip
    alike, unlike = (np.mean(errors[k], axis=0) for k in ("alike", "unlike"))
    assert alike[0] < 0.4 * alike[1]
    assert unlike[0] < 1.1 * unlike[1]


def test_summaries_and_rows_give_the_same_fit(rng):
    X, y, domain = _data(rng, slopes=(1.0, 1.2, -1.0))
    rows = ARMUL(penalty=1.0).fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(LinearRegression(), X[domain == k], y[domain == k])
        for k in (1, 2, 3)
    ]
    own = domain == -1
    given = ARMUL(summaries, penalty=1.0).fit(X[own], y[own])
    np.testing.assert_allclose(given.coef_, rows.coef_, rtol=1e-6)
    np.testing.assert_array_equal(given.at_center_, rows.at_center_)
    nameless = SourceSummary([1.0] * 3, 0.0, covariance=np.eye(4), n=10)
    with pytest.raises(ValueError, match=r"source_summaries\[0\] has no noise"):
        ARMUL([nameless]).fit(X[own], y[own])


def test_kind_30_units_do_not_matter(rng):
    X, y, domain = _data(rng)
    factor, offset = np.array([1e5, 1e-3, 1.0]), np.array([2e5, 0.0, 2000.0])
    first = ARMUL().fit(X, y, sample_domain=domain)
    second = ARMUL().fit(X * factor + offset, 7 * y + 1e4, sample_domain=domain)
    np.testing.assert_allclose(
        second.predict(X * factor + offset), 7 * first.predict(X) + 1e4, rtol=1e-6
    )


def _kinds(rng, n=80, n_target=15):
    """Sources of two kinds; the target is of the second."""
    X = rng.normal(size=(6 * n + n_target, 3))
    domain = np.repeat([1, 2, 3, 4, 5, 6, -1], [n] * 6 + [n_target])
    second = (domain < 0) | (domain % 2 == 0)
    coef = np.where(second[:, None], [2.0, -1.0, 0.5], [-1.0, 2.0, 1.0])
    return X, (X * coef).sum(axis=1) + 1 + rng.normal(size=len(X)), domain


def test_clusters_are_the_kinds_of_domains(rng):
    X, y, domain = _kinds(rng)
    model = ARMUL(form="clustered", n_centers=2, penalty=2.0)
    model.fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(model.labels_, [0, 1, 0, 1, 0, 1, 1])
    assert model.at_center_.all()
    assert model.n_centers_ == 2
    # the target has exactly the pooled fit of its kind
    kind = (domain < 0) | (domain % 2 == 0)
    pooled = LinearRegression().fit(X[kind], y[kind])
    np.testing.assert_allclose(model.coef_, pooled.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.source_center_coef_[1], model.center_coef_)
    chosen = ARMUL(form="clustered").fit(X, y, sample_domain=domain)
    assert len(chosen.cv_errors_) == 15
    assert chosen.n_centers_ >= 2
    assert min(chosen.cv_errors_.values()) == min(
        error for (_, count), error in chosen.cv_errors_.items() if count > 1
    )


def test_rank_one_centers_are_multiples_of_one_vector(rng):
    X, y, domain = _data(rng, slopes=(3.0, -2.0, 0.5))
    y = y - 1
    model = ARMUL(form="low_rank", n_centers=1, penalty=np.inf, fit_intercept=False)
    model.fit(X, y, sample_domain=domain)
    centers = np.vstack([model.source_center_coef_, model.center_coef_])
    assert np.linalg.matrix_rank(centers, tol=1e-8) == 1
    np.testing.assert_array_equal(model.coef_, model.center_coef_)
    assert model.n_centers_ == 1
    alone = LinearRegression(fit_intercept=False).fit(X[domain < 0], y[domain < 0])
    true = [2.0, -1.0, 0.5]
    assert np.abs(model.coef_ - true).max() < np.abs(alone.coef_ - true).max()


def test_own_fits_are_the_limit_of_every_form(rng):
    X, y, domain = _kinds(rng, n=30)
    ols = LinearRegression().fit(X[domain < 0], y[domain < 0])
    for form, size in [("clustered", 7), ("low_rank", 4)]:
        model = ARMUL(form=form, n_centers=size, penalty=1.0)
        model.fit(X, y, sample_domain=domain)
        np.testing.assert_allclose(model.coef_, ols.coef_, atol=1e-4)
    alone = ARMUL(form="clustered").fit(X[domain < 0], y[domain < 0])
    np.testing.assert_allclose(alone.coef_, ols.coef_, rtol=1e-8)


def test_number_of_centers_needs_a_form_that_has_it(rng):
    X, y, domain = _data(rng)
    with pytest.raises(ValueError, match="n_centers=2, but form='vanilla'"):
        ARMUL(n_centers=2).fit(X, y, sample_domain=domain)
