import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sktransfer.metrics import OTCERegressor, nce, otce, otce_components


@pytest.fixture
def tasks():
    rng = np.random.RandomState(0)
    ys = np.array(["a", "b", "c"])[np.arange(30) % 3]
    yt = np.arange(24) % 4 * 10
    Xs = rng.normal(size=(30, 2)) + (ys == "a")[:, None]
    Xt = rng.normal(size=(24, 2)) + (yt == 10)[:, None]
    return Xs, ys, Xt, yt


def test_components_match_loops(tasks):
    Xs, ys, Xt, yt = tasks
    C = np.array([[np.sum((a - b) ** 2) for b in Xt] for a in Xs])
    epsilon = 0.2 * C.mean()
    u, v = np.ones(30), np.ones(24)
    for _ in range(5000):
        u = 1 / 30 / (np.exp(-C / epsilon) @ v)
        v = 1 / 24 / (np.exp(-C / epsilon).T @ u)
    plan = u[:, None] * np.exp(-C / epsilon) * v
    joint = {}
    for i in range(30):
        for j in range(24):
            joint[ys[i], yt[j]] = joint.get((ys[i], yt[j]), 0.0) + plan[i, j]
    entropy = 0.0
    for (s, _), p in joint.items():
        entropy -= p * np.log(p / sum(q for (z, _), q in joint.items() if z == s))
    found = otce_components(*tasks, reg=0.2, tol=1e-12)
    assert found.domain_difference == pytest.approx(np.sum(plan * C), abs=1e-8)
    assert found.task_difference == pytest.approx(entropy, abs=1e-8)
    assert otce(*tasks, reg=0.2, tol=1e-12) == -found.task_difference


def test_same_rows_and_little_entropy_give_nce():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(20, 3)) * 10
    ys, yt = np.arange(20) % 4, np.arange(20) % 3
    assert otce(X, ys, X, yt, reg=1e-3) == pytest.approx(nce(ys, yt), abs=1e-6)
    components = otce_components(X, ys, X, yt, reg=1e-3)
    assert components.domain_difference == pytest.approx(0, abs=1e-6)


def test_strong_entropy_gives_minus_label_entropy(tasks):
    yt = tasks[3]
    shares = np.unique(yt, return_counts=True)[1] / len(yt)
    expected = np.sum(shares * np.log(shares))
    assert otce(*tasks, reg=1e6) == pytest.approx(expected, abs=1e-6)


def test_scale_changes_the_domain_difference_alone(tasks):
    Xs, ys, Xt, yt = tasks
    before = otce_components(*tasks)
    after = otce_components(10 * Xs, ys, 10 * Xt, yt)
    assert after.task_difference == pytest.approx(before.task_difference, abs=1e-6)
    assert after.domain_difference == pytest.approx(
        100 * before.domain_difference, rel=1e-6
    )


def test_domain_difference_grows_with_a_shift(tasks):
    Xs, ys, Xt, yt = tasks
    values = [otce_components(Xs, ys, Xt + s, yt)[0] for s in (0, 2, 4, 8)]
    assert np.all(np.diff(values) > 0)


def test_degenerate_features():
    components = otce_components(
        np.ones((4, 2)), [0, 0, 1, 1], np.ones((6, 2)), [0, 1, 2] * 2
    )
    assert components.domain_difference == 0
    assert components.task_difference == pytest.approx(np.log(3))


def test_sampling_is_seeded(tasks):
    first = otce(*tasks, max_samples=10, random_state=0)
    assert first == otce(*tasks, max_samples=10, random_state=0)
    assert first != otce(*tasks, max_samples=10, random_state=1)


def test_early_stop_warns(tasks):
    Xs, ys, Xt, yt = tasks
    with pytest.warns(ConvergenceWarning, match="residual"):
        otce(Xs, ys, Xt + 5, yt, reg=0.01, max_iter=1)


def test_regressor_recovers_its_coefficients():
    rng = np.random.RandomState(0)
    W = rng.uniform(size=(20, 2))
    accuracy = 0.9 - 0.1 * W[:, 0] - 0.3 * W[:, 1]
    model = OTCERegressor().fit(W, accuracy)
    np.testing.assert_allclose(model.coef_, [-0.1, -0.3])
    assert model.intercept_ == pytest.approx(0.9)
    np.testing.assert_allclose(model.predict(W), accuracy)


def test_negative_regressor_never_rewards_a_difference():
    rng = np.random.RandomState(0)
    W = rng.uniform(size=(20, 2))
    accuracy = 0.5 + 0.2 * W[:, 0] - 0.3 * W[:, 1]
    model = OTCERegressor(negative=True).fit(W, accuracy)
    assert model.coef_[0] == 0
    assert model.coef_[1] < 0
