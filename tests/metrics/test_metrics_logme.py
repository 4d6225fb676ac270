import mpmath
import numpy as np
import pytest

from sktransfer.metrics import logme
from sktransfer.metrics._logme import max_log_evidence


def mp_evidence(F, y, alpha, beta):
    """The log evidence from the covariance of y, with 40 digits."""
    with mpmath.workdps(40):
        F, y = mpmath.matrix(F.tolist()), mpmath.matrix(y.tolist())
        n = F.rows
        S = F * F.T / mpmath.mpf(alpha) + mpmath.eye(n) / mpmath.mpf(beta)
        quadratic = (y.T * mpmath.lu_solve(S, y))[0, 0]
        log_det = mpmath.log(mpmath.det(S))
        return float(-(quadratic + log_det + n * mpmath.log(2 * mpmath.pi)) / 2)


def mp_docstring_evidence(F, y, alpha, beta):
    """The equation of the docstring as it stands, with 40 digits.

    In doubles its solve loses the digits of small values of alpha where n < D.
    """
    with mpmath.workdps(40):
        F, y = mpmath.matrix(F.tolist()), mpmath.matrix(y.tolist())
        alpha, beta = mpmath.mpf(alpha), mpmath.mpf(beta)
        n, D = F.rows, F.cols
        A = alpha * mpmath.eye(D) + beta * F.T * F
        m = beta * mpmath.lu_solve(A, F.T * y)
        residual = F * m - y
        fit = beta / 2 * mpmath.fdot(residual, residual)
        fit += alpha / 2 * mpmath.fdot(m, m)
        constant = n * mpmath.log(beta) + D * mpmath.log(alpha)
        constant -= n * mpmath.log(2 * mpmath.pi)
        return float(constant / 2 - fit - mpmath.log(mpmath.det(A)) / 2)


def fast_evidence(F, y, alpha, beta):
    """The evidence in doubles, from the smaller and so the well-conditioned matrix."""
    n, D = F.shape
    if n < D:
        S = F @ F.T / alpha + np.eye(n) / beta
        quadratic = y @ np.linalg.solve(S, y)
        return -(quadratic + np.linalg.slogdet(S)[1] + n * np.log(2 * np.pi)) / 2
    A = alpha * np.eye(D) + beta * F.T @ F
    m = beta * np.linalg.solve(A, F.T @ y)
    fit = beta / 2 * np.sum((F @ m - y) ** 2) + alpha / 2 * m @ m
    constant = n / 2 * np.log(beta) + D / 2 * np.log(alpha) - n / 2 * np.log(2 * np.pi)
    return constant - fit - np.linalg.slogdet(A)[1] / 2


SHAPES = [(12, 3), (8, 8), (6, 14)]


@pytest.fixture(params=SHAPES, ids=str)
def data(request):
    rng = np.random.RandomState(0)
    F = rng.normal(size=request.param) * np.linspace(0.5, 3, request.param[1])
    weights = rng.normal(size=(request.param[1], 2))
    return F, F @ weights + rng.normal(size=(request.param[0], 2))


def test_value_is_the_evidence_at_the_reported_precisions(data):
    F, Y = data
    evidence, info = max_log_evidence(F, Y)
    for k in range(2):
        alpha, beta = info["alpha"][k], info["beta"][k]
        if not np.isfinite(alpha):
            alpha = 1e30
        expected = mp_evidence(F, Y[:, k], alpha, beta)
        assert evidence[k] == pytest.approx(expected, abs=1e-8)
        if alpha < 1e12:
            written = mp_docstring_evidence(F, Y[:, k], alpha, beta)
            assert written == pytest.approx(expected, rel=1e-12)
            fast = fast_evidence(F, Y[:, k], alpha, beta)
            assert fast == pytest.approx(expected, abs=1e-8)


def test_no_other_precisions_are_better(data):
    F, Y = data
    evidence, _ = max_log_evidence(F, Y)
    for k in range(2):
        for alpha in np.logspace(-6, 6, 25):
            for beta in np.logspace(-4, 6, 21):
                other = fast_evidence(F, Y[:, k], alpha, beta)
                assert other <= evidence[k] + 1e-6


def test_maximum_is_stationary(data):
    F, Y = data
    evidence, info = max_log_evidence(F, Y)
    for k in range(2):
        alpha, beta = info["alpha"][k], info["beta"][k]
        for a, b in ((1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99)):
            other = mp_evidence(F, Y[:, k], a * alpha, b * beta)
            # where n <= D fits every output, the evidence hardly depends on beta
            flat = b != 1 and len(F) < F.shape[1]
            assert other < evidence[k] + (1e-10 if flat else -1e-6)


def test_regression_is_the_mean_over_outputs(data):
    F, Y = data
    evidence, _ = max_log_evidence(F, Y)
    assert logme(F, Y) == pytest.approx(evidence.mean() / len(F), abs=1e-12)
    single = logme(F, Y[:, 0])
    assert single == pytest.approx(evidence[0] / len(F), abs=1e-12)


def test_classification_is_one_against_the_rest():
    rng = np.random.RandomState(0)
    F, y = rng.normal(size=(30, 4)), np.array([7, -2, 100] * 10)
    indicators = np.stack([y == c for c in (-2, 7, 100)], axis=1).astype(float)
    expected = logme(F, indicators, task="regression")
    assert logme(F, y) == pytest.approx(expected, abs=1e-12)
    assert logme(F, y.astype(str)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_scale_and_rotation_invariance(shape):
    rng = np.random.RandomState(0)
    F, y = rng.normal(size=shape), np.arange(shape[0]) % 2
    Q = np.linalg.qr(rng.normal(size=(shape[1], shape[1])))[0]
    value = logme(F, y)
    for factor in (1e-5, 1e3, 1e7):
        assert logme(factor * F, y) == pytest.approx(value, abs=1e-9)
    assert logme(F @ Q, y) == pytest.approx(value, abs=1e-9)
    wider = np.hstack([F, np.zeros((shape[0], 3))])
    assert logme(wider, y) == pytest.approx(value, abs=1e-9)


def test_useless_features_give_the_evidence_without_them():
    y = np.array([1.5, -0.5, 2.0, 0.5])
    expected = -(np.log(2 * np.pi * np.mean(y**2)) + 1) / 2
    assert logme(np.zeros((4, 2)), y) == pytest.approx(expected)
    orthogonal = np.array([[0.5], [1.5], [0.0], [0.0]])
    assert logme(orthogonal, y) == pytest.approx(expected)
    evidence, info = max_log_evidence(orthogonal, y[:, None])
    assert info["alpha"][0] == np.inf
    assert evidence[0] == pytest.approx(4 * expected)


def test_exact_features_score_highest_and_stay_finite():
    rng = np.random.RandomState(0)
    y = np.arange(40) % 4
    onehot = np.eye(4)[y]
    exact = logme(onehot, y)
    assert np.isfinite(exact)
    assert exact > logme(onehot + 1e-2 * rng.normal(size=(40, 4)), y)
    assert exact == pytest.approx(logme(1e5 * onehot, y), abs=1e-6)


def test_integer_outputs_need_the_task():
    F = np.random.RandomState(0).normal(size=(6, 2))
    y = np.array([1, 2, 3, 1, 2, 3])
    as_values = logme(F, y, task="regression")
    assert as_values == pytest.approx(logme(F, y.astype(float), task="regression"))
    assert as_values != pytest.approx(logme(F, y))
    with pytest.raises(ValueError, match="0 for every row"):
        logme(F, np.zeros(6), task="regression")
    with pytest.raises(ValueError, match="5 rows"):
        logme(F, np.ones(5) * 0.5)
