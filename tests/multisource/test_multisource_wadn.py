"""WADN in its form for tables: the sentences of its specification."""

import numpy as np
import ot
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from sktransfer.baselines import Pooled
from sktransfer.multisource import WADN
from sktransfer.multisource._wadn import _sliced

LEARNER = LogisticRegression()


def make_data(rng, shares=(0.5, 0.5), target_share=0.5, n=200, n_target=200):
    """Draw sources and a target whose classes look alike and have given shares."""
    sizes = [n] * len(shares) + [n_target]
    y = np.concatenate(
        [
            (np.arange(size) < share * size).astype(int)
            for size, share in zip(sizes, [*shares, target_share], strict=True)
        ]
    )
    domain = np.repeat([*range(1, len(shares) + 1), -1], sizes)
    X = rng.normal(size=(len(y), 2)) + np.c_[1.5 * y, 0 * y]
    return X, y.astype(float), domain


def unlabeled(y, domain):
    return np.where(domain < 0, np.nan, y)


@pytest.mark.parametrize("class_ratio", ["labels", "predictions"])
def test_no_label_shift_gives_ratio_1(class_ratio, rng):
    """No label shift: a = 1."""
    X, y, domain = make_data(rng, n=1000, n_target=1000)
    model = WADN(LEARNER, class_ratio=class_ratio).fit(X, y, sample_domain=domain)
    tolerance = 1e-9 if class_ratio == "labels" else 0.1
    assert_allclose(model.class_ratios_, 1.0, atol=tolerance)


def test_a_large_spread_gives_uniform_weights_or_the_sizes(rng):
    """c_1 large gives uniform weights with ||lambda||_2, and lambda ~ n_k by sizes."""
    X, y, domain = make_data(rng, shares=(0.5, 0.5, 0.5))
    domain[150:200] = 2
    model = WADN(LEARNER, spread=1e7, spread_by="sources")
    assert_allclose(
        model.fit(X, y, sample_domain=domain).source_weights_, 1 / 3, atol=1e-6
    )
    model.set_params(spread_by="sizes").fit(X, y, sample_domain=domain)
    assert_allclose(model.source_weights_, np.array([150, 250, 200]) / 600, atol=1e-6)


def test_without_spread_a_single_source_is_best(rng):
    """c1 = 0: single best."""
    X, y, domain = make_data(rng, shares=(0.5, 0.5, 0.5))
    y[:200] = 1 - y[:200]
    X[domain == 3] += 0.7
    model = WADN(LEARNER, spread=0.0).fit(X, y, sample_domain=domain)
    assert_allclose(model.source_weights_, [0, 1, 0])
    best = np.argmin(model.risks_ + model.distances_)
    assert best == 1
    assert (model.sample_weight_[model.sample_weight_ > 0]).sum() == pytest.approx(600)


@pytest.mark.parametrize("class_ratio", ["labels", "predictions"])
def test_under_pure_label_shift_the_weights_tend_to_the_ratios(class_ratio, rng):
    """Pure label shift: weights tend to T/S."""
    X, y, domain = make_data(
        rng, shares=(0.2, 0.8), target_share=0.5, n=3000, n_target=3000
    )
    given = y if class_ratio == "labels" else unlabeled(y, domain)
    model = WADN(LEARNER, class_ratio=class_ratio, spread=50.0)
    model.fit(X, given, sample_domain=domain)
    expected = np.array([[0.5 / 0.8, 0.5 / 0.2], [0.5 / 0.2, 0.5 / 0.8]])
    assert_allclose(model.class_ratios_, expected, rtol=0.15)
    ratio = model.class_ratios_[domain[domain > 0] - 1, y[domain > 0].astype(int)]
    scale = (model.source_weights_ * 2)[domain[domain > 0] - 1]
    assert_allclose(model.sample_weight_, ratio * scale)
    assert_allclose(model.source_weights_, 0.5, atol=0.05)


def test_equations_of_a_round(rng):
    """Risk, distance and weights of the last round by hand."""
    X, y, domain = make_data(rng, shares=(0.3, 0.6), n=40, n_target=30)
    model = WADN(LEARNER, n_rounds=1, distance_weight=0.7, spread=0.4)
    model.fit(X, y, sample_domain=domain)
    shares = np.bincount(y[domain < 0].astype(int)) / 30
    risk, distance, first = [], [], np.ones(110)
    rng_lines = np.random.RandomState(0)
    lines = rng_lines.normal(size=(2, 50))
    lines /= np.linalg.norm(lines, axis=0)
    Z = X / X.std(axis=0) @ lines
    for k in (1, 2):
        own = domain == k
        ratio = shares / (np.bincount(y[own].astype(int)) / 40)
        first[own] = 0.5 * ratio[y[own].astype(int)] * 80 / 40
    start = LogisticRegression().fit(X, y, sample_weight=first)
    for k in (1, 2):
        own = domain == k
        ratio = (shares / (np.bincount(y[own].astype(int)) / 40))[y[own].astype(int)]
        proba = start.predict_proba(X[own])[np.arange(40), y[own].astype(int)]
        risk.append(np.mean(-ratio * np.log(proba)))
        distance.append(
            sum(
                shares[c]
                * np.mean(
                    [
                        ot.emd2_1d(
                            Z[own & (y == c), j], Z[(domain < 0) & (y == c), j],
                            metric="euclidean",
                        )
                        for j in range(50)
                    ]
                )
                for c in (0, 1)
            )
        )  # fmt: skip
    assert_allclose(model.risks_, risk, rtol=1e-4)
    assert_allclose(model.distances_, distance, rtol=1e-9)
    lam, losses = model.source_weights_, np.array(risk) + 0.7 * np.array(distance)
    # stationary: losses + c d lambda / norm are equal on the support
    slope = losses + 0.4 * 2 * lam / np.sqrt(2 * lam @ lam)
    assert slope[0] == pytest.approx(slope[1], rel=1e-3)
    assert model.gap_ < 1e-10


def test_sliced_distance_of_moved_samples(rng):
    left = rng.normal(size=(50, 3))
    ones = np.ones(50)
    assert _sliced(left, ones, left + [1.0, 2.0, 3.0], ones) == pytest.approx(2.0)


def test_a_flipped_source_and_a_far_one_count_less(rng):
    X, y, domain = make_data(rng, shares=(0.5,) * 3)
    y[:200] = 1 - y[:200]
    X[200:400] += [0.0, 3.0]
    model = WADN(LEARNER).fit(X, y, sample_domain=domain)
    assert model.source_weights_[2] > model.source_weights_[:2].max()


def test_without_sources_it_is_the_learner(rng):
    X, y, domain = make_data(rng)
    rows = domain < 0
    model = WADN(LEARNER).fit(X[rows], y[rows], sample_domain=domain[rows])
    assert_allclose(model.estimator_.coef_, LEARNER.fit(X[rows], y[rows]).coef_)
    assert model.source_weights_.shape == (0,)


def test_equal_sources_of_the_target_are_pooled(rng):
    X, y, domain = make_data(rng, n_target=200)
    model = WADN(LEARNER, class_ratio="labels", spread=1e7)
    model.fit(X, y, sample_domain=domain)
    pooled = Pooled(LEARNER).fit(X, y, sample_domain=domain)
    assert_allclose(model.sample_weight_, 1.0, atol=1e-5)
    assert_allclose(model.estimator_.coef_, pooled.estimator_.coef_, rtol=1e-3)


def test_a_class_that_a_source_or_the_target_lacks(rng):
    X, y, domain = make_data(rng, shares=(0.0, 0.5))
    model = WADN(LEARNER).fit(X, y, sample_domain=domain)
    assert model.class_ratios_[0, 1] == 0
    assert np.isfinite(model.distances_).all()
    y[domain < 0] = 0
    model.fit(X, y, sample_domain=domain)
    assert (model.class_ratios_[:, 1] == 0).all()
    assert (model.sample_weight_[y[domain > 0] == 1] == 0).all()


def test_weights_count_samples_and_names_and_order_do_not_matter(rng, routing):
    X, y, domain = make_data(rng, shares=(0.3, 0.6), n=40, n_target=30)
    weight = rng.randint(0, 3, size=len(y)).astype(float)
    many = np.repeat(np.arange(len(y)), weight.astype(int))
    weighted = WADN(LogisticRegression().set_fit_request(sample_weight=True))
    weighted.fit(X, y, sample_domain=domain, sample_weight=weight)
    repeated = WADN(LEARNER).fit(X[many], y[many], sample_domain=domain[many])
    assert_allclose(weighted.class_ratios_, repeated.class_ratios_)
    assert_allclose(weighted.risks_, repeated.risks_, rtol=0.02)
    assert_allclose(weighted.source_weights_, repeated.source_weights_, atol=0.02)
    order = rng.permutation(len(y))
    names = np.array(["a", "b"])[y.astype(int)]
    ids = np.where(domain == 1, 9, domain)
    other = WADN(LEARNER).fit(X[order], names[order], sample_domain=ids[order])
    plain = WADN(LEARNER).fit(X, y, sample_domain=domain)
    assert_allclose(other.source_weights_[::-1], plain.source_weights_, atol=1e-4)


def test_sparse_samples_and_learners_without_probabilities(rng):
    X, y, domain = make_data(rng)
    dense = WADN(LinearSVC(dual=False)).fit(X, y, sample_domain=domain)
    found = WADN(LinearSVC(dual=False))
    found.fit(sparse.csr_matrix(X), y, sample_domain=domain)
    assert_allclose(found.source_weights_, dense.source_weights_, atol=1e-3)
    assert (dense.risks_ <= 1.5).all()


def test_bad_input_is_one_clear_error(rng):
    X, y, domain = make_data(rng)
    with pytest.raises(ValueError, match="class_ratio='labels', but no target"):
        WADN(LEARNER, class_ratio="labels").fit(
            X, unlabeled(y, domain), sample_domain=domain
        )
    with pytest.raises(TypeError, match="takes no sample_weight"):
        WADN(KNeighborsClassifier()).fit(X, y, sample_domain=domain)
    with pytest.raises(TypeError, match="is no classifier"):
        WADN(Ridge()).fit(X, y, sample_domain=domain)


def test_it_helps_where_labels_shift_and_nothing_is_labeled(rng):
    X, y, domain = make_data(rng, shares=(0.9, 0.8), target_share=0.2, n_target=400)
    given = unlabeled(y, domain)
    target = domain < 0
    losses = [
        log_loss(
            y[target],
            m.fit(X, given, sample_domain=domain).predict_proba(X[target]),
        )
        for m in (WADN(LEARNER), Pooled(LEARNER))
    ]
    assert losses[0] < 0.8 * losses[1]
