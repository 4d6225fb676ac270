import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer import metrics
from sktransfer.baselines import SourceOnly
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics._source_model import source_features
from sktransfer.model_selection import SourceToTargetSplit

FEATURE_SCORES = {
    "h_score_scorer": lambda F, y: metrics.h_score(F, y, shrinkage="ledoit_wolf"),
    "logme_scorer": metrics.logme,
    "transrate_scorer": lambda F, y: metrics.transrate(F, y, standardize=True),
    "silhouette_scorer": metrics.silhouette,
    "gbc_scorer": metrics.gbc,
    "n_leep_scorer": lambda F, y: metrics.n_leep(F, y, random_state=0),
}
ALL = [*FEATURE_SCORES, "leep_scorer", "nce_scorer"]


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 5)) + 2 * np.eye(3, 5)[y]
    domain = np.repeat([1, 2, -1], 30)
    # the target has other names for its classes
    y = np.where(domain > 0, y, y + 10)
    y[-5:] = -1
    return X, y, domain


@pytest.fixture
def fitted(data):
    X, y, domain = data
    model = make_pipeline(StandardScaler(), PCA(3), LogisticRegression())
    target = np.flatnonzero((domain < 0) & (y != -1))
    return model.fit(X[domain > 0], y[domain > 0]), X[target], y[target]


@pytest.mark.parametrize("name", FEATURE_SCORES)
def test_feature_scorers_take_a_pipeline_without_its_last_step(name, fitted):
    model, X, y = fitted
    expected = FEATURE_SCORES[name](model[:-1].transform(X), y)
    scorer = getattr(metrics, name)
    assert scorer(model, X, y) == pytest.approx(expected, abs=1e-12)
    assert scorer(model[:-1], X, y) == pytest.approx(expected, abs=1e-12)


def test_probability_and_label_scorers(fitted):
    model, X, y = fitted
    leep = metrics.leep(model.predict_proba(X), y)
    assert metrics.leep_scorer(model, X, y) == pytest.approx(leep)
    assert metrics.nce_scorer(model, X, y) == metrics.nce(model.predict(X), y)


@pytest.mark.parametrize("name", ALL)
def test_grid_search_ranks_source_models(name, data):
    X, y, domain = data
    grid = {"pca__n_components": [1, 3]}
    model = Pipeline([("pca", PCA()), ("clf", LogisticRegression())])
    scorer = getattr(metrics, name)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            model, grid, cv=SourceToTargetSplit(), scoring=scorer, refit=False
        )
        search.fit(X, y, sample_domain=domain)
    source = domain > 0
    target = ~source & (y != -1)
    for k, q in enumerate((1, 3)):
        fitted = clone(model).set_params(pca__n_components=q).fit(X[source], y[source])
        expected = scorer(fitted, X[target], y[target])
        assert search.cv_results_["mean_test_score"][k] == pytest.approx(expected)


@pytest.mark.parametrize("name", [*ALL, "otce_scorer"])
def test_scorers_can_be_pickled_and_printed(name, fitted):
    scorer = getattr(metrics, name)
    copy = pickle.loads(pickle.dumps(scorer))
    assert "make_" in repr(copy)
    model, X, y = fitted
    if name != "otce_scorer":
        assert copy(model, X, y) == scorer(model, X, y)


def test_otce_scorer_takes_source_rows_from_the_domains(data, fitted):
    X, y, domain = data
    model = fitted[0]
    source, target = domain > 0, (domain < 0) & (y != -1)
    transform = model[:-1].transform
    expected = metrics.otce(
        transform(X[source]), y[source], transform(X[target]), y[target]
    )
    value = metrics.otce_scorer(model, X, y, sample_domain=domain)
    assert value == pytest.approx(expected)
    bound = metrics.make_otce_scorer(X[source], y[source])
    assert bound(model, X[target], y[target]) == pytest.approx(expected)
    with pytest.raises(DomainError, match="make_otce_scorer"):
        metrics.otce_scorer(model, X[target], y[target])
    with pytest.raises(DomainError, match="labels none"):
        bound(model, X[-5:], y[-5:], sample_domain=domain[-5:])
    with pytest.raises(ValueError, match="both X_source and y_source"):
        metrics.make_otce_scorer(X)


def test_otce_scorer_in_a_search(data):
    X, y, domain = data
    source = domain > 0
    model = Pipeline([("pca", PCA()), ("clf", LogisticRegression())])
    scoring = {
        "otce": metrics.make_otce_scorer(X[source], y[source]),
        "leep": metrics.leep_scorer,
    }
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            model,
            X,
            y,
            cv=SourceToTargetSplit(),
            scoring=scoring,
            params={"sample_domain": domain},
        )
    fitted = clone(model).fit(X[source], y[source])
    rows = ~source & (y != -1)
    expected = scoring["otce"](fitted, X[rows], y[rows])
    assert scores["test_otce"] == pytest.approx(expected)
    assert np.isfinite(scores["test_leep"]).all()


def test_features_of_a_perceptron_are_its_last_hidden_layer():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(40, 3)), rng.randint(2, size=40)
    net = MLPClassifier((6, 4), activation="tanh", tol=0.5, random_state=0).fit(X, y)
    W, b = net.coefs_, net.intercepts_
    expected = np.tanh(np.tanh(X @ W[0] + b[0]) @ W[1] + b[1])
    np.testing.assert_allclose(source_features(net, X), expected)
    pipe = make_pipeline(StandardScaler(), net).fit(X, y)
    inside = source_features(pipe[-1], pipe[:-1].transform(X))
    np.testing.assert_allclose(source_features(pipe, X), inside)
    assert source_features(make_pipeline(net), X).shape == (40, 4)


def test_features_of_wrappers_and_sparse_output(data):
    X, y, domain = data
    inner = make_pipeline(PCA(2), LogisticRegression())
    wrapped = SourceOnly(inner).fit(X, y, sample_domain=domain)
    expected = wrapped.estimator_[:-1].transform(X)
    np.testing.assert_allclose(source_features(wrapped, X), expected)
    svd = make_pipeline(TruncatedSVD(2), "passthrough").fit(sparse.csr_matrix(X))
    assert source_features(svd, sparse.csr_matrix(X)).shape == (90, 2)


def test_features_of_a_skorch_net_are_the_input_of_its_last_layer():
    import skorch
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)
    )
    net = skorch.NeuralNetClassifier(module, batch_size=8).initialize()
    X = np.random.RandomState(0).normal(size=(20, 3)).astype(np.float32)
    with torch.no_grad():
        expected = net.module_[:2](torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(source_features(net, X), expected, rtol=1e-5)


def test_models_without_the_output_are_refused_by_name(fitted):
    _, X, y = fitted
    with pytest.raises(TypeError, match="LogisticRegression has no features"):
        metrics.logme_scorer(LogisticRegression().fit(X, y), X, y)
    with pytest.raises(TypeError, match="LinearSVC has no predict_proba"):
        metrics.leep_scorer(LinearSVC().fit(X, y), X, y)


def test_unlabeled_rows_are_not_scored(fitted):
    model, X, y = fitted
    with pytest.raises(UnlabeledTargetError):
        metrics.logme_scorer(model, X, np.where(y == 10, np.nan, y))


def test_a_source_model_that_does_not_predict_is_refused():
    scaler = StandardScaler().fit([[0.0], [1.0]])
    with pytest.raises(TypeError, match="has no predict"):
        metrics.nce_scorer(scaler, [[0.0], [1.0]], [0, 1])
