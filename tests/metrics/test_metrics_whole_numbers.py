"""Whole-number targets (ages, ratings, counts) are not classes by their looks."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import metrics
from sktransfer.metrics import logme, logme_scorer, rank_sources
from sktransfer.metrics._checks import infer_task

RNG = np.random.RandomState(0)
AGES = RNG.randint(20, 80, 60)
RATINGS = np.arange(60) % 5 + 1
COUNTS = RNG.poisson(3.0, 60)
WHOLE = {"ages": AGES, "ratings": RATINGS, "counts": COUNTS}
NOISE = RNG.normal(size=(60, 2))


def informative(y):
    return np.column_stack([y + 0.1 * y.std() * NOISE[:, 0], NOISE[:, 1]])


@pytest.mark.parametrize("dtype", [int, float, object])
@pytest.mark.parametrize("name", WHOLE)
def test_kind_40_the_estimators_type_decides(name, dtype):
    """A regressor's evidence is that of its values, a classifier's that of classes."""
    y = WHOLE[name].astype(dtype)
    for X in (informative(WHOLE[name]), NOISE):
        features = StandardScaler().fit_transform(X)
        for learner, task in (
            (Ridge(), "regression"),
            (LogisticRegression(max_iter=5000), "classification"),
        ):
            model = make_pipeline(StandardScaler(), learner).fit(X, RATINGS)
            expected = logme(features, WHOLE[name], task=task)
            assert logme_scorer(model, X, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", WHOLE)
def test_kind_40_rank_sources_prefers_informative_features(name):
    """Whole numbers are ranked as the same numbers plus 1/4 are."""
    y = WHOLE[name].astype(float)
    X = np.vstack([informative(y), informative(y)[::-1], informative(y)])
    labels, domain = np.r_[y, y[::-1], y], np.repeat([1, 2, -1], 60)
    tables = [
        rank_sources(
            make_pipeline(StandardScaler(), PCA(2), Ridge()),
            X, labels + offset, domain, scores=["logme"], random_state=0,
        )["value"]
        for offset in (0.0, 0.25)
    ]  # fmt: skip
    noise = logme(StandardScaler().fit_transform(NOISE), y, task="regression")
    assert (tables[0] > noise + 0.01).all()
    assert tables[0] == pytest.approx(tables[1], abs=0.2)


@pytest.mark.parametrize("name", WHOLE)
def test_kind_40_rank_sources_takes_the_task_for_a_transformer_alone(name):
    """What a transformer does not say is said by ``task=``, or by clear labels."""
    y = WHOLE[name]
    X, labels = np.tile(informative(y), (3, 1)), np.tile(y, 3)
    domain = np.repeat([1, 2, -1], 60)

    def rank(labels, **options):
        table = rank_sources(
            StandardScaler(), X, labels, domain, scores=["logme"], **options
        )
        return table["value"]

    features = StandardScaler().fit_transform(informative(y))
    for task in ("classification", "regression"):
        expected = logme(features, y, task=task)
        for dtype in (int, float):
            found = rank(labels.astype(dtype), task=task)
            assert found == pytest.approx([expected] * 2, abs=1e-9)
    fractional = logme(features, y + 0.25)
    assert rank(labels + 0.25) == pytest.approx([fractional] * 2, abs=1e-9)
    with pytest.raises(ValueError, match="needs classes"):
        rank_sources(
            StandardScaler(), X, labels, domain, scores=["h_score"], task="regression"
        )


def test_kind_40_logme_reads_ages_as_values():
    for y in (AGES.astype(float), AGES + 0.25):
        assert logme(informative(AGES), y) > logme(NOISE, y) + 1
        assert logme(NOISE, y) == logme(NOISE, y, task="regression")


def test_kind_40_logme_asks_where_whole_numbers_may_be_either():
    many = RNG.randint(20, 80, 200)
    for y in (AGES, many, many.astype(float)):
        with pytest.raises(ValueError, match="task='classification' or task='regr"):
            logme(RNG.normal(size=(len(y), 2)), y)
    assert np.isfinite(logme(NOISE, AGES, task="classification"))
    assert np.isfinite(logme(NOISE, AGES, task="regression"))


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["a", "b", "a"], "classification"),
        ([True, False, True], "classification"),
        ([0, 1, 0, 2], "classification"),
        ([0.0, 1.0, 0.0, 1.0], "classification"),
        (np.array([0, 1, 0, 1], dtype=object), "classification"),
        (np.arange(1000) % 100, "classification"),
        ([0.5, 1.0, 0.5], "regression"),
        ([0.0, 1.0, 2.0], "regression"),
        (np.zeros((3, 2)), "regression"),
    ],
)
def test_kind_40_what_labels_alone_tell(y, task):
    assert infer_task(y) == task


OF_CLASSES = ["leep", "n_leep", "nce", "h_score", "transrate", "silhouette", "gbc"]


@pytest.mark.parametrize("name", [*OF_CLASSES, "otce"])
def test_kind_40_scores_of_classes_refuse_a_regressors_values(name):
    scorer = getattr(metrics, f"{name}_scorer")
    X = informative(RATINGS)
    model = make_pipeline(StandardScaler(), Ridge()).fit(X, RATINGS)
    domain = {"sample_domain": np.repeat([1, -1], 30)} if name == "otce" else {}
    for y in (RATINGS, RATINGS.astype(float)):
        with pytest.raises(ValueError, match=f"{name} compares classes, but Pipeline"):
            scorer(model, X, y, **domain)


@pytest.mark.parametrize("name", ["h_score", "transrate", "silhouette", "gbc"])
def test_kind_40_functions_of_classes_refuse_ages(name):
    for y in (AGES, AGES.astype(float)):
        with pytest.raises(ValueError, match="look like values"):
            getattr(metrics, name)(NOISE, y)
    assert np.isfinite(getattr(metrics, name)(NOISE, RATINGS.astype(str)))


def test_kind_40_a_search_over_regressors():
    y = np.r_[AGES, AGES].astype(float)
    X = np.column_stack([RNG.normal(size=120), y + RNG.normal(size=120)])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), PCA(1), Ridge()),
        {"ridge__alpha": [1.0, 2.0]},
        scoring=logme_scorer,
        cv=KFold(3),
    ).fit(X, y)
    again = GridSearchCV(
        search.estimator,
        search.param_grid,
        scoring=metrics.make_transferability_scorer(logme, task="regression"),
        cv=KFold(3),
    ).fit(X, y)
    first, second = (s.cv_results_["mean_test_score"] for s in (search, again))
    assert first == pytest.approx(second, abs=1e-12)


@pytest.mark.parametrize("dtype", [int, float])
def test_kind_40_compare_domains_does_not_compare_ages_as_classes(dtype):
    y, domain = AGES.astype(dtype), np.repeat([1, -1], 30)
    options = {"n_bootstrap": 0, "random_state": 0}

    def measures(y, **more):
        table = metrics.compare_domains(NOISE, y, domain, **options | more)
        return set(table["measure"])

    of_labels = {
        "domain_transferability_estimation", "label_informed_divergence",
        "q_statistic", "azab_weights",
    }  # fmt: skip
    assert not of_labels & measures(y, measures="all", task="regression")
    assert of_labels <= measures(RATINGS, measures="all")
    assert not of_labels & measures(RATINGS, measures="all", task="regression")
    with pytest.raises(ValueError, match="compares classes, but y holds values"):
        measures(y, measures=["q_statistic"], task="regression")
    if dtype is int:
        with pytest.raises(ValueError, match="task='classification' or task='regr"):
            measures(y, measures="all")
    else:
        assert not of_labels & measures(y, measures="all")
    assert "mmd" in measures(y)
