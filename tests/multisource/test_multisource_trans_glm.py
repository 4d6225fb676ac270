"""Trans-GLM: its two steps, its ranking, and what it gains in simulations."""

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
)
from sklearn.preprocessing import StandardScaler

from sktransfer.multisource import SourceSummary, TransGLM, summarize_source
from sktransfer.utils import check_transfer_estimator
from sktransfer.utils.estimator_checks import make_problem

FAMILIES = ["gaussian", "binomial", "poisson"]


def _draw(rng, family, eta):
    if family == "gaussian":
        return eta + rng.normal(size=len(eta))
    if family == "binomial":
        return (rng.uniform(size=len(eta)) < special.expit(eta)).astype(int)
    return rng.poisson(np.exp(eta)).astype(float)


def _data(rng, family="gaussian", sources=(0.0, 2.0), n=80, n_target=40, d=6):
    """Sources at some distances from the target, in one coefficient."""
    beta = np.zeros(d)
    beta[:2] = 0.8, -0.8
    X, y, domain = [], [], []
    for k, distance in enumerate([*sources, None]):
        size = n if distance is not None else n_target
        rows = rng.normal(size=(size, d))
        own = beta + np.eye(d)[2] * (distance or 0.0)
        X.append(rows)
        y.append(_draw(rng, family, rows @ own * (1 if family != "poisson" else 0.5)))
        domain.append(np.full(size, k + 1 if distance is not None else -1))
    return np.concatenate(X), np.concatenate(y), np.concatenate(domain)


def _unit(y, d):
    return y.std() * np.sqrt(2 * np.log(2 * d) / len(y))


def test_without_sources_it_is_the_target_s_lasso(rng):
    X, y, domain = _data(rng)
    X, y = X[domain == -1], y[domain == -1]
    model = TransGLM(penalties=[0.3]).fit(X, y)
    rows = StandardScaler().fit_transform(X)
    lasso = Lasso(0.3 * _unit(y, 6), tol=1e-10).fit(rows, y)
    np.testing.assert_allclose(model.coef_ * X.std(axis=0), lasso.coef_, atol=1e-7)
    np.testing.assert_allclose(model.predict(X), lasso.predict(rows), atol=1e-7)
    assert model.set_weights_.tolist() == [1.0]
    assert len(model.ranking_) == 0


def test_binomial_without_sources_is_the_l1_logistic_regression(rng):
    X, y, domain = _data(rng, "binomial", n_target=100)
    X, y = X[domain == -1], y[domain == -1]
    model = TransGLM(family="binomial", penalties=[0.3]).fit(X, y)
    rows = StandardScaler().fit_transform(X)
    strength = 0.3 * _unit(y, 6) * len(y)
    l1 = LogisticRegression(
        C=1 / strength, l1_ratio=1.0, solver="saga", tol=1e-8, max_iter=100_000
    ).fit(rows, y)
    np.testing.assert_allclose(
        model.predict_proba(X), l1.predict_proba(rows), atol=1e-3
    )
    assert model.score(X, y) == l1.score(rows, y)


def test_poisson_without_a_penalty_is_the_poisson_regression(rng):
    X, y, domain = _data(rng, "poisson", n_target=100)
    X, y = X[domain == -1], y[domain == -1]
    model = TransGLM(family="poisson", penalties=[1e-6]).fit(X, y)
    plain = PoissonRegressor(alpha=0.0, tol=1e-9, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-4)
    assert model.score(X, y) == pytest.approx(plain.score(X, y), abs=1e-4)


def test_without_correction_and_difference_it_is_the_pooled_lasso(rng):
    X, y, domain = _data(rng, sources=(0.0,))
    for k in (1, -1):  # the pooled lasso has one intercept, Trans-GLM one per domain
        rows = domain == k
        X[rows] -= X[rows].mean(axis=0)
        y[rows] -= y[rows].mean()
    model = TransGLM(
        penalties=[0.3], correction_penalties=[np.inf], aggregation="detect",
        detection_constant=1e6,
    ).fit(X, y, sample_domain=domain)  # fmt: skip
    scale = X.std(axis=0)
    alpha = 0.3 * y[domain == -1].std() * np.sqrt(2 * np.log(12) / len(y))
    lasso = Lasso(alpha, tol=1e-10).fit(X / scale, y)
    np.testing.assert_allclose(model.coef_, lasso.coef_ / scale, atol=1e-7)
    # a correction whose penalty is beyond the gradient is none
    large = model.set_params(correction_penalties=[50.0])
    large.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(large.coef_, lasso.coef_ / scale, atol=1e-7)


def test_correction_is_the_lasso_of_the_residuals(rng):
    X, y, domain = _data(rng, sources=(2.0,))
    fits = [
        TransGLM(
            penalties=[0.3], correction_penalties=[c], aggregation="detect",
            detection_constant=1e6,
        ).fit(X, y, sample_domain=domain)
        for c in (np.inf, 0.2)
    ]  # fmt: skip
    scale, own = X.std(axis=0), domain == -1
    rows = X[own] / scale
    residual = y[own] - rows @ (fits[0].coef_ * scale)
    lasso = Lasso(0.2 * _unit(y[own], 6), tol=1e-10).fit(rows, residual)
    np.testing.assert_allclose(
        (fits[1].coef_ - fits[0].coef_) * scale, lasso.coef_, atol=1e-7
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("aggregation", ["exponential", "q", "select", "detect"])
def test_a_good_source_gets_the_weight(family, aggregation):
    rng = np.random.RandomState(3)
    X, y, domain = _data(rng, family, sources=(3.0, 0.0), n=300, n_target=25, d=12)
    model = TransGLM(
        family=family, aggregation=aggregation, penalties=[0.3, 0.1],
        correction_penalties=[np.inf, 0.3], cv=3, detection_constant=6.0,
    ).fit(X, y, sample_domain=domain)  # fmt: skip
    assert model.source_names_ == ["1", "2"]
    assert model.ranking_.tolist() == [1, 0]
    assert model.source_weights_[1] >= model.source_weights_[0]
    assert model.source_weights_[1] > 0.5
    assert model.set_weights_.sum() == pytest.approx(1)
    assert np.isfinite(model.predict(X)).all()


def test_ranking_is_the_sum_of_the_largest_squared_gradients(rng):
    X, y, domain = _data(rng, sources=(0.0, 1.0, 2.0), d=4)
    model = TransGLM(penalties=[0.5], correction_penalties=[np.inf])
    model.fit(X, y, sample_domain=domain)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    rows = (X - mean) / scale
    own = domain == -1
    scores = []
    for k in (1, 2, 3):
        A, b = rows[domain == k], y[domain == k]
        alpha = 0.5 * y[own].std() * np.sqrt(2 * np.log(8) / len(b))
        source = Lasso(alpha, tol=1e-10).fit(A, b)
        error = y[own] - rows[own] @ source.coef_
        gradient = rows[own].T @ (error - error.mean()) / own.sum()
        scores.append(np.sum(gradient**2))  # n_0 / 2 > d: all entries
    assert model.ranking_.tolist() == np.argsort(scores).tolist()


def test_multiclass_probabilities(rng):
    X = rng.normal(size=(150, 3))
    y = np.array(["a", "b", "c"])[np.argmax(3 * X + rng.gumbel(size=X.shape), axis=1)]
    domain = np.repeat([1, -1], [100, 50])
    model = TransGLM(
        family="binomial", penalties=[0.1], correction_penalties=[np.inf], cv=3
    ).fit(X, y, sample_domain=domain)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert model.decision_function(X).shape == (150, 3)
    np.testing.assert_array_equal(
        model.classes_[proba.argmax(axis=1)], model.predict(X)
    )
    assert model.score(X, y) > 0.7
    assert not hasattr(TransGLM(), "predict_proba")


def test_gaussian_summaries_and_rows_give_the_same_fit(rng):
    X, y, domain = _data(rng)
    options = {"penalties": [0.3, 0.1], "correction_penalties": [np.inf, 0.3], "cv": 3}
    rows = TransGLM(**options).fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(LinearRegression(), X[domain == k], y[domain == k])
        for k in (1, 2)
    ]
    own = domain == -1
    given = TransGLM(summaries, **options).fit(X[own], y[own])
    np.testing.assert_allclose(given.coef_, rows.coef_, atol=1e-6)
    np.testing.assert_allclose(given.set_weights_, rows.set_weights_, atol=1e-6)


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_other_summaries_are_near_the_rows(family):
    rng = np.random.RandomState(0)
    X, y, domain = _data(rng, family, sources=(0.0,), n=400)
    learner = {
        "binomial": LogisticRegression(C=100.0), "poisson": PoissonRegressor(alpha=0.0),
    }[family]  # fmt: skip
    summary = summarize_source(learner, X[domain == 1], y[domain == 1])
    options = {
        "family": family, "penalties": [0.3], "correction_penalties": [np.inf],
        "aggregation": "detect", "detection_constant": 1e6,
    }  # fmt: skip
    rows = TransGLM(**options).fit(X, y, sample_domain=domain)
    own = domain == -1
    given = TransGLM(summary, **options).fit(X[own], y[own])
    np.testing.assert_allclose(given.coef_, rows.coef_, atol=0.06)


def test_poisson_keeps_the_transfer_contract():
    def make_data(estimator, **options):
        problem = make_problem(estimator, **options)
        problem.y = np.where(
            np.isnan(problem.y), np.nan, np.round(np.exp(0.3 * problem.y))
        )
        return problem

    names = check_transfer_estimator(
        TransGLM(
            family="poisson", penalties=[0.1], correction_penalties=[np.inf], cv=2
        ),
        make_data=make_data,
        expected_failed_checks={
            "check_target_labels_tag": "the check makes negative labels, no counts"
        },
    )
    assert len(names) > 20


def test_detection_keeps_what_is_not_much_worse(rng):
    X, y, domain = _data(rng, sources=(0.0, 6.0), n_target=60)
    lenient = TransGLM(aggregation="detect", detection_constant=1e6)
    lenient.fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(lenient.source_weights_, [1.0, 1.0])
    usual = TransGLM(aggregation="detect").fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(usual.source_weights_, [1.0, 0.0])


def test_by_default_useless_sources_are_left_out_and_useful_ones_kept():
    kept = []
    for seed in range(6):
        X, y, domain = _data(
            np.random.RandomState(seed), sources=(0.0, 4.0, 6.0), n_target=30
        )
        model = TransGLM(penalties=[0.5, 0.1], cv=3).fit(X, y, sample_domain=domain)
        kept.append(model.source_weights_)
        alone = TransGLM().fit(X[-1:], y[-1:])  # nothing can be held out
        one = np.append(np.flatnonzero(domain > 0), len(y) - 1)
        few = TransGLM(penalties=[0.5]).fit(X[one], y[one], sample_domain=domain[one])
        np.testing.assert_array_equal(few.source_weights_, np.zeros(3))
        assert few.predict(X[-1:]) == pytest.approx(alone.predict(X[-1:]))
    assert np.mean(kept, axis=0)[0] > 0.8
    assert np.max(kept, axis=0)[1:].tolist() == [0.0, 0.0]


def test_bad_parameters_are_one_error(rng):
    X, y, domain = _data(rng)
    for params, message in [
        ({"penalties": [0.0]}, "penalties must hold positive finite"),
        ({"penalties": [np.inf]}, "penalties must hold positive finite"),
        ({"correction_penalties": []}, "correction_penalties must hold positive"),
        ({"family": "poisson"}, "needs labels of 0 or more"),
    ]:
        with pytest.raises(ValueError, match=message):
            TransGLM(**params).fit(X, y, sample_domain=domain)
    nameless = SourceSummary([1.0] * 6, 0.0, covariance=np.eye(7), n=10)
    with pytest.raises(ValueError, match=r"source_summaries\[0\] has no noise"):
        TransGLM(nameless).fit(X, y)
    label = (y > 0).astype(int)
    summary = summarize_source(LogisticRegression(), X, label)
    with pytest.raises(ValueError, match=r"source_summaries\[0\] has the classes"):
        TransGLM(summary, family="binomial").fit(X, np.arange(len(y)) % 3)


@pytest.mark.slow
@pytest.mark.parametrize("n_informative", [0, 2, 4])
def test_simulation_in_the_manner_of_trans_lasso(n_informative):
    """Sparse coefficients, sources that differ in a few or in many entries.

    The design of S. Li, T. T. Cai, H. Li (2022), Section 5, scaled down: s = 8
    coefficients of 0.3 among d = 60, four sources of 100 rows, 50 target rows;
    an informative source differs from the target in 2 entries by 0.3, another one in
    2 s = 16 entries by 0.5 and more.
    """
    errors = []
    for seed in range(8):
        rng = np.random.RandomState(seed)
        d, s = 60, 8
        beta = np.repeat([0.3, 0.0], [s, d - s])
        X, y = rng.normal(size=(450, d)), np.empty(450)
        domain = np.repeat([1, 2, 3, 4, -1], [100, 100, 100, 100, 50])
        for k in (1, 2, 3, 4, -1):
            own = beta.copy()
            if 0 < k <= n_informative:
                own[rng.choice(d, 2, replace=False)] -= 0.3
            elif k > 0:
                own[rng.choice(d, 2 * s, replace=False)] -= 0.8
            rows = domain == k
            y[rows] = X[rows] @ own + rng.normal(size=rows.sum())
        mine = domain == -1
        transfer = TransGLM().fit(X, y, sample_domain=domain)
        alone = TransGLM().fit(X[mine], y[mine])
        errors.append([np.sum((m.coef_ - beta) ** 2) for m in (transfer, alone)])
    transfer, alone = np.mean(errors, axis=0)
    if n_informative:
        assert transfer < 0.7 * alone
    else:
        assert transfer < 1.15 * alone  # the stated slack


def _trans_lasso_data(rng, n_informative, h=6, d=500, s=16, K=20):
    """The exact setting of the program that S. Li publishes with Trans-Lasso.

    s coefficients of 0.3; 150 target rows and K sources of 100 rows, all standard
    normal; informative sources lack 0.3 in the same h entries, the others have -0.3 in
    2 s entries of their own and else 0; unit noise.
    """
    beta = np.repeat([0.3, 0.0], [s, d - s])
    shared = rng.choice(d, h, replace=False)
    domain = np.repeat([-1, *range(1, K + 1)], [150] + [100] * K)
    X = rng.normal(size=(len(domain), d))
    y = rng.normal(size=len(domain))
    for k in (-1, *range(1, K + 1)):
        own = beta.copy()
        if k > n_informative:
            own = np.zeros(d)
            own[rng.choice(d, 2 * s, replace=False)] -= 0.3
        elif k > 0:
            own[shared] -= 0.3
        y[domain == k] += X[domain == k] @ own
    return X, y, domain, beta


@pytest.mark.slow
@pytest.mark.parametrize("n_informative", [0, 12])
def test_published_setting_of_trans_lasso(n_informative):
    X, y, domain, beta = _trans_lasso_data(np.random.RandomState(0), n_informative)
    mine = domain == -1
    transfer = TransGLM().fit(X, y, sample_domain=domain)
    alone = TransGLM().fit(X[mine], y[mine])
    error, own = (np.sum((m.coef_ - beta) ** 2) for m in (transfer, alone))
    # the lasso of 150 rows is near 0.9; with 12 informative sources it is a third
    assert own == pytest.approx(0.94, abs=0.1)
    assert error < (0.5 if n_informative else 1.05) * own


def _glmtrans_data(rng, family, n_informative, h=5, d=500, s=5, K=5):
    """The setting of Y. Tian and Y. Feng (2023), Section 5, at their package's sizes.

    s coefficients of 0.5; rows with covariances 0.5^|i-j|, in sources plus e e' with
    e of standard deviation 0.3; coefficients of transferable sources differ by h/d
    with random signs; the others have their 0.5 in s further entries and in s random
    ones, and differ by 2h/d. 200 target rows, 100 rows of each source.
    """
    beta = np.repeat([0.5, 0.0], [s, d - s])
    root = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(range(d), range(d))))
    X, y, domain = [], [], []
    for k in (-1, *range(1, K + 1)):
        n = 200 if k < 0 else 100
        rows, own, level = rng.normal(size=(n, d)) @ root.T, beta, 0.0
        signs = rng.choice([-1, 1], d)
        if k > 0:
            rows += rng.normal(size=(n, 1)) * rng.normal(0, 0.3, size=d)
            own = beta + h / d * signs
        if k > n_informative:
            own = 2 * h / d * signs
            own[s : 2 * s] += 0.5
            own[2 * s + rng.choice(d - 2 * s, s, replace=False)] += 0.5
            level = 0.5
        X.append(rows)
        y.append(_draw(rng, family, rows @ own + level))
        domain.append(np.full(n, k))
    return np.concatenate(X), np.concatenate(y), np.concatenate(domain), beta


@pytest.mark.slow
@pytest.mark.parametrize(("family", "d"), [("gaussian", 500), ("binomial", 120)])
@pytest.mark.parametrize("n_informative", [0, 5])
def test_published_setting_of_glmtrans(family, d, n_informative):
    rng = np.random.RandomState(1)  # with fewer features for classes, to save time
    X, y, domain, beta = _glmtrans_data(rng, family, n_informative, d=d)
    mine = domain == -1
    transfer = TransGLM(family=family).fit(X, y, sample_domain=domain)
    alone = TransGLM(family=family).fit(X[mine], y[mine])
    error, own = (np.sum((m.coef_.ravel() - beta) ** 2) for m in (transfer, alone))
    # detection gives up more of useful sources where labels are classes
    useful = 0.9 if family == "gaussian" else 0.96
    assert error < (useful if n_informative else 1.1) * own
    if (family, n_informative) == ("binomial", 0):
        # the stated limit: held-out errors of classes hardly tell the sets apart, and
        # useless sources keep a part of the exponential weights
        transfer.set_params(aggregation="exponential").fit(X, y, sample_domain=domain)
        assert np.ptp(transfer.held_out_loss_) < 0.02
        assert transfer.set_weights_.min() > 0.1
        assert transfer.set_weights_.max() < 0.25
