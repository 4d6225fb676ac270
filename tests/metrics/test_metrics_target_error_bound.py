import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.tree import DecisionTreeClassifier

from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics import proxy_a_distance, target_error_bound

SAME, FLIPPED, FAR, NOISY = 1, 2, 3, 4


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    domain = np.repeat([SAME, FLIPPED, FAR, NOISY, -1], 80)
    X = rng.normal(size=(400, 2))
    y = X[:, 0] + X[:, 1] > 0
    y[domain == FLIPPED] = ~y[domain == FLIPPED]
    noisy = np.flatnonzero(domain == NOISY)
    y[noisy] = rng.permutation(y[noisy])
    X[domain == FAR] += [9.0, -9.0]
    labels = np.where(y, "yes", "no").astype(object)
    labels[-30:] = None
    order = rng.permutation(400)
    return X[order], labels[order], domain[order]


def table(data, **options):
    X, y, domain = data
    found = target_error_bound(X, y, sample_domain=domain, **options)
    return {k: dict(zip(found["source"].tolist(), v, strict=True))
            for k, v in found.items()}  # fmt: skip


def test_each_factor_is_named(data):
    found = table(data)
    assert found["factor"][FLIPPED] == "joint_error"
    assert found["factor"][FAR] == "divergence"
    for name in ("source_error", "divergence", "joint_error"):
        assert found[name][SAME] < 0.3
    assert found["source_error"][NOISY] > 0.35


def test_identical_domains_have_a_divergence_near_0(data):
    assert table(data)["divergence"][SAME] < 0.25
    assert table(data)["divergence"][FAR] > 0.9


def test_flipped_labels_have_a_joint_error_near_1_and_no_divergence(data):
    """joint error = e_S(h) + e_T(h) of one model, the sum (flipped labels: 1)."""
    found = table(data)
    assert found["joint_error"][FLIPPED] == pytest.approx(1, abs=0.15)
    assert found["divergence"][FLIPPED] < 0.25


def test_the_parts_add_up(data):
    X, y, domain = data
    found = target_error_bound(X, y, sample_domain=domain)
    terms = found["source_error"] + found["divergence"] + found["joint_error"]
    assert_allclose(found["total"], terms)
    assert_allclose(
        found["joint_error"], found["joint_source_error"] + found["joint_target_error"]
    )
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    distance = proxy_a_distance(X[domain == FAR], X[domain < 0], random_state=seed)
    assert found["divergence"][FAR - 1] == pytest.approx(distance / 2)


def test_errors_are_held_out(data):
    X, y, domain = data
    found = table(data, learner=DecisionTreeClassifier(random_state=0))
    assert found["source_error"][NOISY] > 0.3  # a tree fits its own samples exactly
    groups = np.arange(len(y)) // 4
    grouped = target_error_bound(X, y, sample_domain=domain, groups=groups)
    assert np.isfinite(grouped["total"]).all()


def test_order_of_the_samples_does_not_matter(data):
    X, y, domain = data
    first = target_error_bound(X, y, sample_domain=domain)
    order = np.random.RandomState(1).permutation(len(y))
    second = target_error_bound(X[order], y[order], sample_domain=domain[order])
    for name in ("source_error", "joint_error"):
        assert_allclose(first[name], second[name], atol=0.02)


def test_what_cannot_be_done_is_refused(data):
    X, y, domain = data
    with pytest.raises(DomainError, match="0 sources"):
        rows = domain < 0
        target_error_bound(X[rows], y[rows], sample_domain=domain[rows])
    with pytest.raises(UnlabeledTargetError, match="joint error"):
        none = np.where(domain < 0, None, y)
        target_error_bound(X, none, sample_domain=domain)
    with pytest.raises(ValueError, match="error rates"):
        target_error_bound(X, X[:, 0], sample_domain=domain)
    with pytest.raises(ValueError, match="cv must be at least 2"):
        target_error_bound(X, y, sample_domain=domain, cv=1)


def test_the_order_of_the_rows_does_not_matter(data):
    X, y, domain = data
    order = np.random.RandomState(1).permutation(len(y))
    assert table((X[order], y[order], domain[order])) == table(data)


def test_text_among_the_features_is_refused(data):
    X, y, domain = data
    rows = np.where(X > 0, "high", "low").astype(object)
    with pytest.raises(ValueError, match=r"X must hold finite numbers.*TableEncoder"):
        target_error_bound(rows, y, sample_domain=domain)
