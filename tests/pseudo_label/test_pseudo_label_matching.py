"""Predictive distribution matching."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from sktransfer.baselines import Pooled
from sktransfer.pseudo_label import PredictiveDistributionMatching

LEARNER = LogisticRegression()


def flipped(rng, n_labeled=20):
    """Source 2 has wrong labels; a part of the target is labeled."""
    domain = np.repeat([1, 2, -1], [80, 80, 80])
    y = np.arange(240) % 2
    X = 0.7 * rng.normal(size=(240, 2)) + np.outer(2 * y - 1, [1.5, 0.0])
    labels = y.astype(float)
    labels[80:160] = 1 - labels[80:160]
    labels[160 + n_labeled :] = np.nan
    return X, labels, domain, y


def test_a_source_with_wrong_labels_is_left_out(rng):
    X, labels, domain, y = flipped(rng)
    model = PredictiveDistributionMatching(LEARNER)
    model.fit(X, labels, sample_domain=domain)
    assert model.sample_weight_[:80].mean() > 0.9
    assert model.sample_weight_[80:].mean() < 0.1
    assert model.score(X[160:], y[160:]) > 0.95
    pooled = Pooled(LEARNER).fit(X, labels, sample_domain=domain)
    losses = [log_loss(y[160:], m.predict_proba(X[160:])) for m in (model, pooled)]
    assert losses[0] < 0.5 * losses[1]
    assert 1 <= model.n_rounds_ <= 10


def test_without_thresholds_it_is_pooled(rng):
    X, labels, domain, _ = flipped(rng)
    model = PredictiveDistributionMatching(
        LEARNER, target_threshold=1.1, source_threshold=0.0
    ).fit(X, labels, sample_domain=domain)
    pooled = Pooled(LEARNER).fit(X, labels, sample_domain=domain)
    assert_allclose(model.estimator_.coef_, pooled.estimator_.coef_)
    assert (model.pseudo_weight_ == 0).all()


def test_transferability_by_hand():
    X = np.array([[0.0], [1.0], [2.0], [-1.0], [5.0]])
    y = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    domain = np.array([1, -1, -1, -1, 1])
    model = PredictiveDistributionMatching(
        DecisionTreeClassifier(), n_neighbors=3, soft=True, source_threshold=0.0
    ).fit(X, y, sample_domain=domain)
    h = np.mean([2.0, 6.0])
    k = np.exp(-(np.array([1.0, 4.0, 1.0]) - 1.0) / h**2)
    expected = (k[0] + k[2]) / k.sum()
    assert model.sample_weight_[0] == pytest.approx(expected)
    k = np.exp(-(np.array([16.0, 9.0, 36.0]) - 9.0) / h**2)
    assert model.sample_weight_[1] == pytest.approx(k[1] / k.sum())


def test_without_a_source_it_labels_the_target(rng):
    X, labels, domain, y = flipped(rng)
    target = domain < 0
    model = PredictiveDistributionMatching(LEARNER)
    model.fit(X[target], labels[target], sample_domain=domain[target])
    assert len(model.sample_weight_) == 0
    assert model.score(X[target], y[target]) > 0.9
    assert (model.pseudo_weight_ > 0).any()


def test_learners_without_weights_are_refused(rng):
    X, labels, domain, _ = flipped(rng)
    with pytest.raises(TypeError, match="takes no sample_weight"):
        PredictiveDistributionMatching(KNeighborsClassifier()).fit(
            X, labels, sample_domain=domain
        )
