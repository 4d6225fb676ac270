import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sktransfer.baselines import Pooled
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics import subset_influence
from sktransfer.model_selection import StratifiedTargetKFold

SOURCES = [3, 5, 9]


def make_data(seed=0, sizes=(30, 30, 30, 24), flipped=5):
    """Three sources; one has its labels flipped."""
    rng = np.random.RandomState(seed)
    domain = np.repeat([*SOURCES, -1], sizes)
    X = rng.normal(size=(len(domain), 3))
    signal = X[:, 0] + 0.3 * rng.normal(size=len(domain))
    signal[domain == flipped] *= -1
    order = rng.permutation(len(domain))
    return X[order], signal[order], domain[order]


@pytest.fixture
def classes():
    X, signal, domain = make_data()
    return X, np.where(signal > 0, "yes", "no"), domain


@pytest.fixture
def values():
    return make_data()


def influence(data, estimator=None, **options):
    X, y, domain = data
    if estimator is None:
        text = np.asarray(y).dtype.kind in "OU"
        estimator = Pooled(LogisticRegression() if text else Ridge())
    return subset_influence(estimator, X, y, sample_domain=domain, **options)


def test_the_influence_is_the_difference_of_mean_scores(classes):
    found = influence(classes)
    assert found.parts == SOURCES and found.exact
    for part in range(3):
        within = found.subsets[:, part]
        step = found.scores[within].mean() - found.scores[~within].mean()
        assert found.influence[part] == pytest.approx(step)
    assert_allclose(found.coefficients, found.influence)
    half = found.intercept + found.coefficients.sum() / 2
    assert half == pytest.approx(found.scores.mean())
    assert np.argmin(found.influence) == 1 and found.influence[1] < 0
    assert_array_equal(found.subset_error, 0)


def test_scores_are_those_of_fits_on_the_target_and_the_parts(values):
    """The empty subset is the fit on the target alone."""
    X, y, domain = values
    rows = np.flatnonzero(domain < 0)
    folds = [
        (np.setdiff1d(np.arange(len(y)), rows[k::3]), rows[k::3]) for k in (0, 1, 2)
    ]
    found = influence(values, cv=folds, scoring="neg_mean_squared_error")
    for subset, score in zip(found.subsets, found.scores, strict=True):
        used = np.isin(domain, [-1, *np.array(SOURCES)[subset]])
        losses = []
        for train, test in folds:
            at = train[used[train]]
            model = Ridge().fit(X[at], y[at])
            losses.append(np.mean((y[test] - model.predict(X[test])) ** 2))
        assert score == pytest.approx(-np.mean(losses))


def test_symmetric_sources_get_equal_values(values):
    X, y, domain = values
    copy = domain == 3
    X, y = np.vstack([X, X[copy]]), np.append(y, y[copy])
    domain = np.append(domain, np.full(copy.sum(), 12))
    found = influence((X, y, domain))
    assert found.influence[0] == pytest.approx(found.influence[3])


@pytest.mark.parametrize("parts", ["source", "class", "cluster", "given"])
def test_the_order_of_the_samples_and_the_ids_do_not_matter(classes, parts):
    X, y, domain = classes
    given = np.where(X[:, 1] > 0, "high", "low")
    options = {"n_subsets": 8, "cv": 2}
    first = influence(classes, parts=given if parts == "given" else parts, **options)
    order = np.random.RandomState(1).permutation(len(y))
    renamed = np.where(domain > 0, domain + 20, domain)[order]
    second = influence(
        (X[order], y[order], renamed),
        parts=given[order] if parts == "given" else parts, **options,
    )  # fmt: skip
    assert_allclose(second.influence, first.influence)
    assert_array_equal(second.n_samples, first.n_samples)


def test_parts_are_sources_classes_clusters_or_given_ones(classes):
    X, y, domain = classes
    found = influence(classes, parts="class", n_subsets=4, cv=2)
    assert found.parts == [(k, c) for k in SOURCES for c in ("no", "yes")]
    for code, (source, label) in enumerate(found.parts):
        rows = found.codes == code
        assert_array_equal(rows, (domain == source) & (y == label))
    assert (found.codes[domain < 0] == -1).all()
    X = X.copy()
    far = (domain == 9) & (X[:, 1] > 0)
    X[far] += 30
    found = influence((X, y, domain), parts="cluster", n_subsets=4, cv=2)
    assert found.parts == [(k, c) for k in SOURCES for c in (0, 1)]
    assert len(np.unique(found.codes[far])) == 1
    given = np.where(X[:, 2] > 0, "a", "b").astype(object)
    given[domain < 0] = None
    found = influence((X, y, domain), parts=given, n_subsets=4, cv=2)
    assert found.parts == ["a", "b"]


def test_a_bad_class_of_a_source_is_found():
    """ "Leave out class c of X": in one source the samples of a class are wrong."""
    X, signal, domain = make_data(sizes=(60, 60, 60, 60), flipped=None)
    y = np.digitize(signal, [-0.5, 0.5])
    wrong = (domain == 5) & (y == 2)
    X[wrong, 0] -= 4
    found = influence(
        (X, y, domain), Pooled(LogisticRegression()), parts="class", n_subsets=60,
        method="gradient",
    )  # fmt: skip
    assert found.parts[int(np.argmin(found.influence))] == (5, 2)
    worst = np.argmin(found.influence)
    assert found.influence[worst] + 2 * found.standard_error[worst] < 0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "learner, source_weight",
    [
        (Ridge(0.7), 1.0),
        (Ridge(0.7, fit_intercept=False), 0.3),
        (LinearRegression(), 0.3),
    ],
)
def test_gradient_form_is_exact_for_squared_loss(
    values, learner, source_weight, weighted
):
    """The gradient form is exact for linear learners without projection."""
    params = {}
    if weighted:
        weight = np.random.RandomState(0).randint(0, 3, len(values[1]))
        params = {"sample_weight": weight.astype(float)}
    with config_context(enable_metadata_routing=True):
        learner = clone(learner).set_fit_request(sample_weight=True)
    pooled = Pooled(learner, source_weight)
    refit = influence(values, pooled, params=params, cv=2)
    step = influence(values, pooled, params=params, cv=2, method="gradient")
    assert_allclose(step.scores, refit.scores, rtol=1e-7)
    assert_allclose(step.standard_error, refit.standard_error, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_gradient_form_is_close_for_logistic_regression(values, n_classes):
    X, signal, domain = values
    y = np.digitize(signal, [-0.5, 0.5][: n_classes - 1])
    data = X, y, domain
    options = {"cv": 3, "scoring": "accuracy"}
    refit = influence(data, Pooled(LogisticRegression()), **options)
    step = influence(data, Pooled(LogisticRegression()), method="gradient", **options)
    assert np.abs(step.influence - refit.influence).max() < 0.1
    assert np.argmin(step.influence) == np.argmin(refit.influence) == 1
    # with nothing left out, one step from the fit on everything stays there
    whole = step.subsets.all(axis=1)
    assert step.scores[whole] == pytest.approx(refit.scores[whole])


def test_the_standard_error_covers_the_influence_on_new_target_samples():
    """The error over held-out units, for models that hardly depend on the folds."""
    hits = []
    sizes = (200, 200, 200, 4000)
    X, y, domain = make_data(3, sizes)
    target = np.flatnonzero(domain < 0)
    data = X, y, domain
    scoring = "neg_mean_squared_error"
    options = {"scoring": scoring, "method": "gradient", "cv": 4}
    truth = influence(data, **options).influence
    rng = np.random.RandomState(0)
    sources = np.flatnonzero(domain > 0)
    for _ in range(25):
        rows = np.r_[sources, rng.choice(target, 60, replace=False)]
        found = influence((X[rows], y[rows], domain[rows]), **options)
        # 60 labels change the fits too: compare with the mean over the draws
        hits.append((found.influence, found.standard_error))
    means = np.mean([one for one, _ in hits], axis=0)
    spread = np.std([one for one, _ in hits], axis=0)
    errors = np.mean([error for _, error in hits], axis=0)
    assert np.sign(means[1]) == np.sign(truth[1]) == -1
    assert_allclose(errors[1], spread[1], rtol=0.5)


def test_weightless_samples_do_not_exist(values):
    X, y, domain = values
    weight = np.ones(len(y))
    weight[:10] = 0
    options = {"method": "gradient", "cv": GroupKFold(3)}
    groups = np.arange(len(y)) // 2
    with_zeros = influence(
        values, params={"sample_weight": weight}, groups=groups, **options
    )
    removed = influence(
        (X[10:], y[10:], domain[10:]), groups=groups[10:],
        params={"sample_weight": weight[10:]}, **options,
    )  # fmt: skip
    assert_allclose(with_zeros.influence, removed.influence)
    assert_allclose(with_zeros.standard_error, removed.standard_error)
    assert (with_zeros.codes[:10] == -1).all()


@pytest.mark.parametrize("parts", ["source", "cluster"])
def test_sparse_samples_give_the_same(values, parts):
    X, y, domain = values
    X = np.where(np.abs(X) < 0.2, 0.0, X)
    for method in ("refit", "gradient"):
        options = {"parts": parts, "n_subsets": 8, "cv": 2, "method": method}
        dense = influence((X, y, domain), Pooled(LinearRegression()), **options)
        rows = sparse.csr_array(X)
        found = influence((rows, y, domain), Pooled(LinearRegression()), **options)
        assert_allclose(found.influence, dense.influence, atol=1e-7)


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "neg_brier_score"])
def test_any_score_has_a_standard_error(classes, scoring):
    splitter = StratifiedTargetKFold(3)
    found = influence(classes, scoring=scoring, cv=splitter, n_subsets=8)
    assert np.isfinite(found.standard_error).all()
    assert np.argmin(found.influence) == 1


def test_root_mean_squared_error_has_the_error_of_its_first_order(values):
    squared = influence(values, scoring="neg_mean_squared_error", method="gradient")
    root = influence(values, scoring="neg_root_mean_squared_error", method="gradient")
    ratio = root.standard_error / squared.standard_error
    assert ((ratio > 0.1) & (ratio < 10)).all()


def test_any_learner_and_pipelines_will_do(classes):
    tree = Pooled(DecisionTreeClassifier(max_depth=2, random_state=0))
    found = influence(classes, make_pipeline(StandardScaler(), tree), cv=2)
    assert np.argmin(found.influence) == 1


def test_what_cannot_be_done_is_refused_by_name(classes, values):
    X, y, domain = classes
    with pytest.raises(TypeError, match=r"Wrap it, e\.g\. Pooled"):
        influence(classes, LogisticRegression())
    with pytest.raises(TypeError, match="method='gradient' cannot handle"):
        influence(classes, Pooled(DecisionTreeClassifier()), method="gradient")
    for learner in (
        LogisticRegression(class_weight="balanced"),
        LogisticRegression(l1_ratio=0.5, solver="saga"),
        Ridge(positive=True),
        Ridge([1.0, 2.0]),
    ):
        with pytest.raises(TypeError, match="method='gradient' cannot handle"):
            data = classes if isinstance(learner, LogisticRegression) else values
            influence(data, Pooled(learner), method="gradient")
    with pytest.raises(TypeError, match="without add_domain"):
        pooled = Pooled(Ridge(), add_domain=True)
        influence(values, pooled, method="gradient")
    with pytest.raises(ValueError, match="parts='class' needs classes"):
        influence(values, parts="class")
    with pytest.raises(ValueError, match="parts has shape"):
        influence(values, parts=[1, 2])
    with pytest.raises(ValueError, match="parts has no value for 90 source rows"):
        influence(values, parts=np.full(len(y), None))
    with pytest.raises(DomainError, match="names 0 sources"):
        influence((X[domain < 0], y[domain < 0], domain[domain < 0]))
    one = np.where(domain < 0, None, y)
    one[np.flatnonzero(domain < 0)[0]] = "yes"
    with pytest.raises(UnlabeledTargetError, match="hold out"):
        influence((X, one, domain))
