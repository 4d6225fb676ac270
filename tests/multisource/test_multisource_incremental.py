"""Incremental ensembles: Q statistic, pool, batches."""

from typing import ClassVar

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.multisource import IncrementalSourceEnsemble


def batch(seed, sign=1, n=80, classes=("a", "b")):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = np.array(classes)[(sign * X[:, 0] + 0.7 * rng.normal(size=n) > 0).astype(int)]
    return X, y


def stack(*batches):
    X = np.vstack([X for X, _ in batches])
    y = np.concatenate([y for _, y in batches])
    ids = [*range(1, len(batches)), -1]
    return X, y, np.repeat(ids, [len(y) for _, y in batches])


def test_a_threshold_above_one_is_the_target_model_alone():
    """Threshold 1: target model alone."""
    X, y, domain = stack(batch(0), batch(1), batch(2))
    model = IncrementalSourceEnsemble(LogisticRegression(), threshold=1.01)
    model.fit(X, y, sample_domain=domain)
    own = domain < 0
    plain = LogisticRegression().fit(X[own], y[own])
    assert_allclose(model.predict_proba(X), plain.predict_proba(X))
    assert not model.kept_.any() and len(model.models_) == 1
    # at 1 itself models stay that err on a part of the same rows only
    equal = IncrementalSourceEnsemble(LogisticRegression(), threshold=1.0)
    equal.fit(X, y, sample_domain=domain)
    assert_array_equal(equal.kept_, equal.q_statistics_ == 1)


def test_threshold_minus_one_is_the_mean_of_all_by_accuracy():
    """Threshold -1: mean of all (weighted by accuracy)."""
    X, y, domain = stack(batch(0), batch(1, -1), batch(2))
    model = IncrementalSourceEnsemble(LogisticRegression(), threshold=-1)
    model.fit(X, y, sample_domain=domain)
    assert model.kept_.all() and len(model.models_) == 3
    parts = [
        LogisticRegression().fit(X[domain == d], y[domain == d]) for d in (1, 2, -1)
    ]
    own = domain < 0
    accuracy = [part.score(X[own], y[own]) for part in parts[:2]]
    # the model of the batch is weighed by its cross-fit, the others by these rows
    assert_allclose(
        model.source_weights_[:2] / model.source_weights_[0],
        np.array(accuracy) / accuracy[0],
    )
    expected = sum(
        w * p.predict_proba(X)
        for w, p in zip(model.source_weights_, parts, strict=True)
    )
    assert_allclose(model.predict_proba(X), expected)


def test_the_pool_never_exceeds_max_models():
    """The pool never exceeds max_models (drop the least diverse)."""
    model = IncrementalSourceEnsemble(LogisticRegression(), threshold=-1, max_models=3)
    for seed in range(6):
        model.partial_fit(*batch(seed))
        assert len(model.models_) <= 3
    assert model.n_batches_ == 6


def test_the_least_diverse_model_goes_first():
    X, y = batch(0)
    twin = LogisticRegression().fit(X, y)
    other = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X[:, ::-1], y)
    model = IncrementalSourceEnsemble(
        LogisticRegression(), source_models=[other, twin, twin], threshold=-1,
        max_models=3,
    )  # fmt: skip
    model.fit(*batch(1))
    assert model.models_[0] is other
    assert_array_equal(model.kept_, [True, False, True])


def test_reversed_models_are_dropped_and_related_ones_kept():
    X, y, domain = stack(batch(0), batch(1, -1), batch(2))
    model = IncrementalSourceEnsemble(LogisticRegression())
    model.fit(X, y, sample_domain=domain)
    assert_array_equal(model.kept_, [True, False])
    assert model.q_statistics_[0] > 0 > model.q_statistics_[1]


def test_batches_are_sources_in_the_order_of_their_ids():
    parts = [batch(0), batch(1), batch(2)]
    X, y, domain = stack(*parts)
    whole = IncrementalSourceEnsemble(LogisticRegression(), threshold=-1)
    whole.fit(X, y, sample_domain=domain)
    steps = IncrementalSourceEnsemble(LogisticRegression(), threshold=-1)
    for X_b, y_b in parts:
        steps.partial_fit(X_b, y_b)
    assert_allclose(steps.predict_proba(X), whole.predict_proba(X))
    assert whole.n_batches_ == steps.n_batches_ == 3


def test_q_of_zero_over_zero_counts_as_one_or_minus_one():
    """Define Q for 0/0."""
    X = batch(0)[0]
    sure = np.where(X[:, 0] > 0, "b", "a")  # a model of the batch is always right
    right = DecisionTreeClassifier(max_depth=1).fit(X, sure)
    wrong = DecisionTreeClassifier(max_depth=1).fit(X, np.where(sure == "a", "b", "a"))
    model = IncrementalSourceEnsemble(
        DecisionTreeClassifier(max_depth=1), source_models=[right, wrong]
    )
    model.fit(X, sure)
    assert model.q_statistics_[0] == 1.0
    assert_array_equal(model.kept_, [True, False])


def test_classes_grow_and_may_be_announced():
    model = IncrementalSourceEnsemble(LogisticRegression(), threshold=-1)
    model.partial_fit(*batch(0), classes=["a", "b", "z"])
    assert list(model.classes_) == ["a", "b", "z"]
    model.partial_fit(*batch(1, classes=("b", "c")))
    assert list(model.classes_) == ["a", "b", "c", "z"]
    proba = model.predict_proba(batch(2)[0])
    assert_allclose(proba.sum(axis=1), 1.0)
    assert_array_equal(proba[:, 3], 0.0)


def test_no_label_gives_equal_weights_and_a_batch_needs_labels():
    X, y, domain = stack(batch(0), batch(1), batch(2))
    hidden = np.where(domain < 0, None, y.astype(object))
    model = IncrementalSourceEnsemble(LogisticRegression())
    model.fit(X, hidden, sample_domain=domain)
    assert_allclose(model.source_weights_, 0.5)
    with pytest.raises(UnlabeledTargetError):
        IncrementalSourceEnsemble(LogisticRegression()).fit(
            X[domain < 0], hidden[domain < 0], sample_domain=domain[domain < 0]
        )


def test_a_batch_has_one_domain():
    X, y = batch(0)
    with pytest.raises(TypeError, match="no sample_domain"):
        IncrementalSourceEnsemble(LogisticRegression()).partial_fit(
            X, y, sample_domain=np.ones(len(y), dtype=int)
        )


def test_one_class_one_row_and_weights():
    model = IncrementalSourceEnsemble(LogisticRegression(), threshold=-1)
    model.partial_fit(*batch(0))
    model.partial_fit(np.zeros((1, 3)), np.array(["a"]))
    assert len(model.models_) == 2
    X, y = batch(1)
    weight = np.r_[np.ones(40), np.zeros(40)]
    with sklearn.config_context(enable_metadata_routing=True):
        learner = LogisticRegression().set_fit_request(sample_weight=True)
    one, two = (IncrementalSourceEnsemble(learner) for _ in range(2))
    one.partial_fit(X, y, sample_weight=weight)
    two.partial_fit(X[:40], y[:40])
    assert_allclose(one.predict_proba(X), two.predict_proba(X))


@sklearn.config_context(enable_metadata_routing=True)
def test_weights_count_rows():
    """Accuracies, Q and the given models of a batch are those of repeated rows."""
    (X1, y1), (X2, y2), (X, y) = batch(0), batch(1, -1), batch(2, n=40)
    models = [LogisticRegression().fit(X1, y1), LogisticRegression().fit(X2, y2)]
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    learner = LogisticRegression().set_fit_request(sample_weight=True)
    options = {"source_models": models, "threshold": -1}
    weighted = IncrementalSourceEnsemble(learner, **options)
    weighted.fit(X, y, sample_weight=weight)
    again = np.repeat(np.arange(len(y)), weight)
    repeated = IncrementalSourceEnsemble(learner, **options).fit(X[again], y[again])
    share = weighted.source_weights_[:2], repeated.source_weights_[:2]
    assert_allclose(*[part / part.sum() for part in share])


def test_text_and_numbers_are_not_mixed():
    """NumPy would turn the numbers into text."""
    X, y = batch(0)
    model = IncrementalSourceEnsemble(LogisticRegression()).partial_fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="are text and numbers"):
        model.partial_fit(X, np.unique(y, return_inverse=True)[1])
    assert_allclose(model.predict_proba(X), before)
    with pytest.raises(ValueError, match="are text and numbers"):
        model.partial_fit(X, y, classes=[0, 1])


class Remembers(LogisticRegression):
    """A learner that keeps the last feature of the rows of each of its fits."""

    seen: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.seen.append(np.asarray(X)[:, 2].copy())
        return super().fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_units_are_dealt_to_the_folds_as_a_whole(method):
    """Ten patients of four equal rows each: a model that has seen one knows all."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(10), 4)
    X = np.column_stack([rng.normal(size=(10, 2))[patient], patient])
    y = np.array(["a", "b"])[rng.permutation(np.arange(10) % 2)[patient]]
    names = np.array([f"patient {k}" for k in patient], dtype=object)
    Remembers.seen.clear()
    model = IncrementalSourceEnsemble(Remembers())
    getattr(model, method)(X, y, groups=names)
    folds = Remembers.seen[1:]
    assert len(folds) == 5
    for train in folds:
        assert set(np.bincount(train.astype(int), minlength=10)) == {0, 4}
    assert_array_equal(sum(np.bincount(f.astype(int), minlength=10) for f in folds), 16)

    earlier = LogisticRegression().fit(*batch(0, classes=("a", "b")))
    weights = {}
    for groups in (None, names):
        ensemble = IncrementalSourceEnsemble(
            DecisionTreeClassifier(random_state=0), source_models=[earlier],
            threshold=-1,
        )  # fmt: skip
        ensemble.fit(X, y, groups=groups)
        weights[groups is None] = ensemble.source_weights_[-1]
    # without groups the twins of a row tell its label
    assert weights[True] > weights[False]


def test_groups_are_checked_and_units_of_weight_zero_are_left_out():
    X, y, domain = stack(batch(0), batch(1), batch(2))
    model = IncrementalSourceEnsemble(LogisticRegression())
    with pytest.raises(ValueError, match="groups has shape"):
        model.fit(X, y, sample_domain=domain, groups=np.arange(3))
    groups = np.where(domain < 0, np.arange(len(y)) // 4, np.nan)
    with pytest.raises(ValueError, match="no value for 1 labeled target rows"):
        model.fit(
            X, y, sample_domain=domain,
            groups=np.where(np.arange(len(y)) == len(y) - 1, np.nan, groups),
        )  # fmt: skip
    with sklearn.config_context(enable_metadata_routing=True):
        learner = LogisticRegression().set_fit_request(sample_weight=True)
    weight = np.where(np.arange(len(y)) < len(y) - 20, 1.0, 0.0)
    kept = weight > 0
    one = IncrementalSourceEnsemble(learner)
    one.fit(X, y, sample_domain=domain, groups=groups, sample_weight=weight)
    two = IncrementalSourceEnsemble(learner)
    two.fit(X[kept], y[kept], sample_domain=domain[kept], groups=groups[kept])
    assert_allclose(one.source_weights_, two.source_weights_)
    assert_allclose(one.predict_proba(X), two.predict_proba(X))
