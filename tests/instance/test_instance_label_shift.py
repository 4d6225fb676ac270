"""Label shift: weights of classes, and the classifier that is fitted with them."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn import config_context
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from sktransfer._solvers import label_shift as numerics
from sktransfer.baselines import SourceOnly
from sktransfer.datasets import make_label_shift
from sktransfer.instance import LabelShiftClassifier, label_shift_weights
from sktransfer.metrics import cross_val_ntg
from sktransfer.safe import TransferGuard

METHODS = ["em", "bbse", "rlls"]
PRIOR = np.array([30, 20, 10]) / 60
CENTERS = np.array([[0.0, 0.0], [1.2, 0.3], [0.4, 1.5]])


def probabilities(X, prior=PRIOR):
    """Return the true probabilities of three normal classes."""
    density = prior * np.exp(X @ CENTERS.T - 0.5 * (CENTERS**2).sum(axis=1))
    return density / density.sum(axis=1, keepdims=True)


def draw(y, rng):
    return CENTERS[y] + rng.normal(size=(len(y), 2))


@pytest.fixture
def small():
    """Return labels and probabilities of 60 source rows, and of 50 target rows."""
    rng = np.random.RandomState(0)
    y_source, y_target = (np.repeat([0, 1, 2], n) for n in ([30, 20, 10], [8, 12, 30]))
    return (
        y_source,
        probabilities(draw(y_source, rng)),
        probabilities(draw(y_target, rng)),
    )


def normalized(ratio):
    return ratio / (PRIOR @ ratio)


def test_em_agrees_with_quapy(small):
    """QuaPy 0.2.3, ``EMQ.EM(prior, posteriors, epsilon=1e-14)`` on the same rows."""
    weights = label_shift_weights(*small, calibration=None, tol=1e-12)
    expected = [0.17116910422891218, 0.20415804315971492, 0.624672852611373]
    assert weights * PRIOR == pytest.approx(expected, abs=1e-6)


def test_calibration_agrees_with_abstention(small):
    """abstention 0.1.3.1, ``TempScaling(bias_positions="all")``, then QuaPy's EM."""
    weights, info = label_shift_weights(*small, tol=1e-12, return_info=True)
    expected = [0.3682444288521159, 0.21510743658879733, 0.4166481345590867]
    assert weights * PRIOR == pytest.approx(expected, abs=2e-4)
    calibrated = numerics.calibrate(small[2], info.temperature, info.bias)
    first = [0.7695738787094701, 0.2205526479760972, 0.009873473314432656]
    assert calibrated[0] == pytest.approx(first, abs=2e-4)


@pytest.mark.parametrize(
    ("hard", "expected"),
    [
        (True, [0.4434782608695652, 0.2573913043478261, 0.2991304347826087]),
        (False, [0.45712586726775783, 0.204942715949324, 0.33793141678291816]),
    ],
)
def test_bbse_solves_the_joint_confusion_matrix(small, hard, expected):
    """QuaPy 0.2.3, its joint matrix and ``numpy.linalg.solve``."""
    y, source, target = small
    if hard:
        source, target = np.eye(3)[source.argmax(1)], np.eye(3)[target.argmax(1)]
    weights = label_shift_weights(y, source, target, method="bbse")
    assert weights * PRIOR == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("regularization", "expected"),
    [
        (0.01, [0.9142130035787603, 0.6149127118169103, 2.027538652259058]),
        (0.1, [0.9733808739291063, 0.9896563925210023, 1.0123519745409162]),
        (1.0, [1.0, 1.0, 1.0]),
    ],
)
def test_rlls_agrees_with_quapy(small, regularization, expected):
    """QuaPy 0.2.3, ``RLLS(mode="soft", delta=0.05)`` by cvxpy and SCS."""
    weights = label_shift_weights(*small, method="rlls", regularization=regularization)
    assert weights == pytest.approx(normalized(np.array(expected)), abs=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 0.01, 0.1, 0.3, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_confusion_weights_are_optimal(penalty, seed):
    rng = np.random.RandomState(seed)
    matrix = rng.uniform(size=(5, 4)) / 10 + np.eye(5, 4) / 4
    right = rng.dirichlet(np.ones(5))
    weights = numerics.confusion_weights(matrix, right, penalty=penalty)
    w = cp.Variable(4)
    objective = cp.norm(matrix @ w - right) + penalty * cp.norm(w - 1)
    problem = cp.Problem(cp.Minimize(objective), [w >= 0])
    problem.solve(solver=cp.CLARABEL)
    own = np.linalg.norm(matrix @ weights - right)
    own += penalty * np.linalg.norm(weights - 1)
    assert weights.min() >= 0
    assert own <= problem.value + 1e-7


@pytest.mark.parametrize("counts", [[0, 0, 0], [3, 0, 1]])
def test_em_is_the_maximum_of_the_likelihood(small, counts):
    counts = np.array(counts, dtype=float)
    ratio = small[2] / PRIOR
    shares, info = numerics.em_shares(ratio, counts, PRIOR, tol=1e-10, max_iter=10**5)

    def loss(z):
        p = np.exp(z) / np.exp(z).sum()
        return -np.log(ratio @ p).sum() - counts @ np.log(p)

    best = minimize(loss, np.zeros(3), tol=1e-12).x
    assert info.converged
    assert shares == pytest.approx(np.exp(best) / np.exp(best).sum(), abs=1e-4)


# SLSQP of SciPy 1.15 leaves the bounds by a rounding
@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
@pytest.mark.parametrize("method", ["em", "bbse"])
def test_few_labels_enter_as_by_another_route(small, method):
    """The likelihood by SLSQP, the equations by cvxpy: no EM and no NNLS."""
    y, source, target = small
    y_target = [0, 0, 1, 2, 2, 2]
    weights = label_shift_weights(
        y, source, target, y_target=y_target, method=method, calibration=None, tol=1e-12
    )
    counts = np.bincount(y_target)
    if method == "em":
        best = minimize(
            lambda w: -np.log(target @ w).sum() - counts @ np.log(w),
            np.ones(3), method="SLSQP", bounds=[(1e-9, None)] * 3, tol=1e-14,
            constraints={"type": "eq", "fun": lambda w: PRIOR @ w - 1},
        ).x  # fmt: skip
    else:
        joint = source.T @ np.eye(3)[y] / len(y)
        w = cp.Variable(3)
        unlabeled = len(target) * cp.sum_squares(joint @ w - target.mean(axis=0))
        known = len(y_target) * cp.sum_squares(
            cp.multiply(PRIOR, w) - counts / len(y_target)
        )
        cp.Problem(cp.Minimize(unlabeled + known), [w >= 0]).solve(solver=cp.CLARABEL)
        best = normalized(w.value)
    assert weights == pytest.approx(best, abs=2e-5)
    without = label_shift_weights(y, source, target, method=method, calibration=None)
    assert np.abs(weights - without).max() > 0.01


def test_the_gap_bounds_what_is_missing(small):
    ratio, none = small[2] / PRIOR, np.zeros(3)
    optimum, _ = numerics.em_shares(ratio, none, PRIOR, tol=1e-12, max_iter=10**5)
    for max_iter in (0, 1, 5, 20):
        shares, info = numerics.em_shares(
            ratio, none, PRIOR, tol=1e-12, max_iter=max_iter
        )
        missing = np.mean(np.log(ratio @ optimum)) - np.mean(np.log(ratio @ shares))
        assert -1e-12 <= missing <= info.gap + 1e-12
        assert info.n_iter == max_iter


def test_calibration_is_the_maximum_of_the_likelihood(small):
    y, source, _ = small
    weight = np.random.RandomState(0).uniform(0.5, 2, 60)
    temperature, bias = numerics.fit_calibration(source, y, weight)

    def loss(x):
        log_p = np.log(source) * x[0] + [x[1], x[2], -x[1] - x[2]]
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        return -weight @ log_p[np.arange(60), y]

    best = minimize(loss, [1.0, 0.0, 0.0], tol=1e-12).x
    assert 1 / temperature == pytest.approx(best[0], abs=1e-4)
    assert bias[:2] == pytest.approx(best[1:], abs=1e-4)
    assert bias.sum() == pytest.approx(0, abs=1e-12)
    calibrated = numerics.calibrate(source, temperature, bias)
    shares = np.bincount(y, weights=weight) / weight.sum()
    assert weight @ calibrated / weight.sum() == pytest.approx(shares, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_no_shift_gives_weights_of_1(small, method):
    y, source, _ = small
    weights = label_shift_weights(y, source, source, method=method, tol=1e-9)
    assert weights == pytest.approx(np.ones(3), abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_no_target_row_gives_weights_of_1(small, method):
    y, source, target = small
    weights = label_shift_weights(y, source, target[:0], method=method)
    assert weights == pytest.approx(np.ones(3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [2000, 20_000])
def test_weights_are_the_true_ratio(method, n):
    """The error shrinks with the square root of the number of rows."""
    rng = np.random.RandomState(1)
    pi_t = np.array([0.1, 0.2, 0.7])
    y = rng.choice(3, n, p=PRIOR)
    source = probabilities(draw(y, rng))
    target = probabilities(draw(rng.choice(3, n, p=pi_t), rng))
    weights, info = label_shift_weights(
        y, source, target, method=method, return_info=True
    )
    assert info.target_shares == pytest.approx(pi_t, abs=6 / np.sqrt(n))
    assert weights @ info.source_shares == pytest.approx(1)
    assert weights == pytest.approx(pi_t / PRIOR, abs=36 / np.sqrt(n))


def test_calibration_repairs_overconfident_probabilities():
    rng = np.random.RandomState(0)
    pi_t = np.array([0.1, 0.2, 0.7])
    y = rng.choice(3, 5000, p=PRIOR)
    wrong = [
        p**3 * [1.0, 5.0, 1.0] / (p**3 * [1.0, 5.0, 1.0]).sum(axis=1, keepdims=True)
        for p in (
            probabilities(draw(y, rng)),
            probabilities(draw(rng.choice(3, 5000, p=pi_t), rng)),
        )
    ]
    error = {
        calibration: np.abs(
            label_shift_weights(y, *wrong, calibration=calibration) * PRIOR - pi_t
        ).max()
        for calibration in ("bcts", None)
    }
    assert error["bcts"] < 0.04
    assert error[None] > 3 * error["bcts"]
    _, info = label_shift_weights(y, *wrong, return_info=True)
    assert info.temperature == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_labels_alone_are_counted(small, method):
    y, source, target = small
    weights = label_shift_weights(
        y, source, target[:0], y_target=[0, 1, 1, 2], method=method, regularization=0.0
    )
    assert weights * PRIOR == pytest.approx([0.25, 0.5, 0.25], abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_labels_narrow_the_error(method):
    """With blurred predictions 40 labels lower the mean squared error of the shares."""
    pi_t, errors = np.array([0.1, 0.2, 0.7]), {0: [], 40: []}
    for seed in range(30):
        rng = np.random.RandomState(seed)
        y = rng.choice(3, 300, p=PRIOR)
        source = probabilities(draw(y, rng))
        y_target = rng.choice(3, 140, p=pi_t)
        target = probabilities(draw(y_target, rng))
        for n_labeled, found in errors.items():
            _, info = label_shift_weights(
                y,
                source,
                target[n_labeled:],
                y_target=y_target[:n_labeled],
                method=method,
                return_info=True,
            )
            found.append(np.sum((info.target_shares - pi_t) ** 2))
    assert np.mean(errors[40]) < 0.75 * np.mean(errors[0])


@pytest.mark.parametrize("method", METHODS)
def test_sample_weights_count_rows(small, method):
    y, source, target = small
    times = np.random.RandomState(0).randint(1, 4, 60)
    weighted = label_shift_weights(
        y, source, target, sample_weight=times, method=method, regularization=0.0
    )
    repeated = label_shift_weights(
        np.repeat(y, times),
        np.repeat(source, times, axis=0),
        target,
        method=method,
        regularization=0.0,
    )
    assert weighted == pytest.approx(repeated, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proba_source": np.ones((60, 2)) / 2}, "proba_source has 2 columns, but"),
        ({"proba_target": np.ones((5, 3))}, "proba_target must hold probabilities"),
        ({"proba_source": np.ones((59, 3)) / 3}, "proba_source has 59 rows, but"),
        ({"sample_weight": [0.0] * 30 + [1.0] * 30}, "Class 0 has sample_weight 0"),
        ({"method": "mlls"}, "The 'method' parameter"),
        ({"regularization": -1.0}, "The 'regularization' parameter"),
    ],
)
def test_bad_input_is_named(small, change, message):
    y, source, target = small
    inputs = {"y_source": y, "proba_source": source, "proba_target": target} | change
    with pytest.raises(ValueError, match=message):
        label_shift_weights(**inputs)


def test_em_warns_unless_it_converged(small):
    with pytest.warns(ConvergenceWarning, match="Raise max_iter or tol"):
        label_shift_weights(*small, max_iter=1)


# the classifier


def blobs(counts, rng, centers=CENTERS):
    """Return rows of normal classes, so many of each."""
    y = np.repeat(np.arange(len(counts)), counts)
    return centers[y] + 0.7 * rng.normal(size=(len(y), 2)), y


def stack(*domains, n_labeled=0, random_state=0):
    """Return X, y, sample_domain; the last domain is the target."""
    rng = np.random.RandomState(random_state)
    ids = [*range(1, len(domains)), -1]
    domain = np.repeat(ids, [len(y) for _, y in domains])
    X = np.concatenate([X for X, _ in domains])
    y = np.concatenate([y for _, y in domains]).astype(float)
    target = rng.permutation(np.flatnonzero(domain == -1))
    y[target[n_labeled:]] = np.nan
    return X, y, domain


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "learner",
    [LogisticRegression(), GaussianNB(), RandomForestClassifier(20, random_state=0)],
    ids=lambda e: type(e).__name__,
)
def test_the_classifier_finds_the_shares(method, learner):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([600, 300, 100], rng), blobs([100, 200, 700], rng))
    model = LabelShiftClassifier(learner, method=method).fit(X, y, sample_domain=domain)
    info = model.label_shift_
    assert info.source_shares == pytest.approx([0.6, 0.3, 0.1])
    assert info.target_shares == pytest.approx([0.1, 0.2, 0.7], abs=0.1)
    weights = info.target_shares / info.source_shares
    assert model.sample_weight_ == pytest.approx(weights[y[domain > 0].astype(int)])
    assert model.sample_weight_.mean() == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_better_than_the_source_under_label_shift(method):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([600, 300, 100], rng), blobs([60, 140, 600], rng))
    X_test, y_test = blobs([100, 200, 700], rng)
    model = LabelShiftClassifier(LogisticRegression(), method=method)
    model = model.fit(X, y, sample_domain=domain)
    source = SourceOnly(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert model.score(X_test, y_test) > source.score(X_test, y_test) + 0.08


@pytest.mark.parametrize("method", METHODS)
def test_several_sources_are_pooled(method):
    """Sources of unlike shares, one of which lacks a class."""
    rng = np.random.RandomState(0)
    X, y, domain = stack(
        blobs([300, 200, 100], rng),
        blobs([0, 300, 100], rng),
        blobs([100, 200, 500], rng),
    )
    model = LabelShiftClassifier(LogisticRegression(), method=method)
    model = model.fit(X, y, sample_domain=domain)
    assert model.label_shift_.source_shares == pytest.approx([0.3, 0.5, 0.2])
    assert model.label_shift_.target_shares == pytest.approx(
        [0.125, 0.25, 0.625], abs=0.07
    )
    pooled = LabelShiftClassifier(LogisticRegression(), method=method)
    pooled.fit(X, y, sample_domain=np.sign(domain))
    assert pooled.sample_weight_ == pytest.approx(model.sample_weight_)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_the_target_lacks(method):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([300, 300, 300], rng), blobs([100, 300, 0], rng))
    model = LabelShiftClassifier(LogisticRegression(), method=method)
    model = model.fit(X, y, sample_domain=domain)
    assert model.label_shift_.target_shares == pytest.approx(
        [0.25, 0.75, 0.0], abs=0.07
    )
    assert model.classes_.tolist() == [0, 1, 2]
    X_test, _ = blobs([100, 300, 0], rng)
    assert np.mean(model.predict(X_test) == 2) < 0.02


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_only_the_target_has(method):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([300, 300], rng), blobs([30, 90, 30], rng), n_labeled=60)
    model = LabelShiftClassifier(LogisticRegression(), method=method)
    model = model.fit(X, y, sample_domain=domain)
    assert model.label_shift_.classes.tolist() == [0, 1]
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.label_shift_.target_shares.sum() == pytest.approx(1)
    assert 2 in model.predict(X[domain < 0])


@pytest.mark.parametrize("method", METHODS)
def test_all_target_rows_labeled(method):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([100, 60], rng), blobs([10, 30], rng), n_labeled=40)
    model = LabelShiftClassifier(
        LogisticRegression(), method=method, regularization=0.0
    ).fit(X, y, sample_domain=domain)
    assert model.label_shift_.target_shares == pytest.approx([0.25, 0.75], abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_source_of_one_class(method):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([50], rng), blobs([20, 20], rng), n_labeled=20)
    model = LabelShiftClassifier(LogisticRegression(), method=method)
    model = model.fit(X, y, sample_domain=domain)
    assert model.sample_weight_.tolist() == [1.0] * 50
    assert model.classes_.tolist() == [0, 1]


def test_text_classes():
    rng = np.random.RandomState(0)
    X, codes, domain = stack(blobs([200, 100], rng), blobs([60, 140], rng))
    y = np.where(np.isnan(codes), None, np.where(codes == 1, "sick", "well"))
    model = LabelShiftClassifier(GaussianNB()).fit(X, y, sample_domain=domain)
    assert model.label_shift_.classes.tolist() == ["sick", "well"]
    assert model.label_shift_.target_shares[0] == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_the_user_count_rows(method):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([300, 150], rng), blobs([60, 240], rng))
    weight = np.where(y == 1, 3.0, 1.0) * rng.randint(1, 3, len(y))
    weight[:10] = 0
    with config_context(enable_metadata_routing=True):
        learner = GaussianNB().set_fit_request(sample_weight=True)
        model = LabelShiftClassifier(learner, method=method)
        model.fit(X, y, sample_domain=domain, sample_weight=weight)
    source = domain > 0
    mass = np.array([weight[source & (y == c)].sum() for c in (0, 1)])
    info = model.label_shift_
    assert info.source_shares == pytest.approx(mass / mass.sum())
    assert info.target_shares == pytest.approx([0.2, 0.8], abs=0.1)
    product = model.sample_weight_ * weight[source]
    share = product[y[source] == 1].sum() / product.sum()
    assert share == pytest.approx(info.target_shares[1])


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_rows_is_no_matter(method):
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([80, 40], rng), blobs([20, 60], rng), n_labeled=10)
    order = rng.permutation(len(y))
    model = LabelShiftClassifier(LogisticRegression(), method=method)
    first = model.fit(X, y, sample_domain=domain).label_shift_.target_shares
    model.fit(X[order], y[order], sample_domain=domain[order])
    assert model.label_shift_.target_shares == pytest.approx(first, abs=1e-6)


def test_what_it_refuses():
    rng = np.random.RandomState(0)
    X, y, domain = stack(blobs([20, 1], rng), blobs([5, 5], rng))
    with pytest.raises(ValueError, match="Class 1 has one source row"):
        LabelShiftClassifier(LogisticRegression()).fit(X, y, sample_domain=domain)
    X, y, domain = stack(blobs([20, 20], rng), blobs([5, 5], rng))
    with pytest.raises(TypeError, match="has no predict_proba: use method='bbse'"):
        LabelShiftClassifier(SVC()).fit(X, y, sample_domain=domain)
    with pytest.raises(TypeError, match="is no classifier"):
        LabelShiftClassifier(Ridge()).fit(X, y, sample_domain=domain)
    with pytest.raises(TypeError, match="takes no sample_weight"):
        LabelShiftClassifier(KNeighborsClassifier()).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("method", METHODS)
def test_generated_label_shift(method):
    """The true weights of the generator, over 20 draws of two sources."""
    errors = []
    for seed in range(20):
        data = make_label_shift(
            300, shift=[1.5, 0.5], n_labeled=10, n_unlabeled=500, random_state=seed
        )
        model = LabelShiftClassifier(LogisticRegression(), method=method)
        model.fit(data.X, data.y, sample_domain=data.sample_domain)
        errors.append(model.label_shift_.target_shares[1] - 0.5)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(20) + 0.005
    assert np.std(errors) < 0.06


def test_in_a_guard_and_in_the_gap():
    data = make_label_shift(200, shift=2.0, n_labeled=20, random_state=0)
    model = LabelShiftClassifier(LogisticRegression(), cv=3)
    gap = cross_val_ntg(
        model, data.X, data.y, sample_domain=data.sample_domain, scoring="accuracy"
    )
    guard = TransferGuard(model, cv=3)
    guard.fit(data.X, data.y, sample_domain=data.sample_domain)
    assert np.isfinite(gap.ntg)
    assert guard.score(data.X_test, data.y_test) > 0.7
