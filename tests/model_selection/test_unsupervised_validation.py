import pickle

import numpy as np
import pytest
import sklearn
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.exceptions import DomainError
from sktransfer.model_selection._unsupervised_validation import (
    MixedDomainKFold,
    circular_validation_scorer,
    deep_embedded_validation_scorer,
    importance_weighted_risk,
    importance_weighted_scorer,
    make_importance_weighted_scorer,
    make_mixval_scorer,
    mano_scorer,
    matrix_norm,
    mixval_scorer,
    prediction_entropy,
    prediction_entropy_scorer,
    soft_neighborhood_density,
    soft_neighborhood_density_scorer,
)

SCORERS = [
    importance_weighted_scorer,
    deep_embedded_validation_scorer,
    prediction_entropy_scorer,
    soft_neighborhood_density_scorer,
    circular_validation_scorer,
    mano_scorer,
    mixval_scorer,
]


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    domain = np.repeat([1, 2, -1], [60, 40, 60])
    y = np.arange(160) % 2
    X = rng.normal(size=(160, 2)) + 2.0 * y[:, None] + 0.5 * (domain < 0)[:, None]
    return X, y, domain


@pytest.fixture
def model(data):
    X, y, domain = data
    return SourceOnly(make_pipeline(StandardScaler(), LogisticRegression())).fit(
        X, y, sample_domain=domain
    )


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_target_labels_are_never_used(scorer, data, model):
    X, y, domain = data
    hidden = np.where(domain < 0, -1, y)
    permuted = np.where(domain < 0, 1 - y, y)
    value = scorer(model, X, y, sample_domain=domain)
    assert scorer(model, X, hidden, sample_domain=domain) == value
    assert scorer(model, X, permuted, sample_domain=domain) == value


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_search_without_target_labels(scorer, data):
    X, y, domain = data
    y = np.where(domain < 0, -1, y)
    estimator = Pooled(make_pipeline(StandardScaler(), LogisticRegression()))
    grid = {"estimator__logisticregression__C": [1e-4, 1.0]}
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(estimator, grid, cv=MixedDomainKFold(3), scoring=scorer)
        search.fit(X, y, sample_domain=domain)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_scorers_ask_for_domains_and_can_be_pickled(scorer, data, model):
    X, y, domain = data
    with pytest.raises(DomainError, match="enable_metadata_routing"):
        scorer(model, X, y)
    value = scorer(model, X, y, sample_domain=domain)
    again = pickle.loads(pickle.dumps(scorer))
    assert again(model, X, y, sample_domain=domain) == value


@pytest.mark.parametrize(
    "scorer",
    [importance_weighted_scorer, circular_validation_scorer],
    ids=repr,
)
def test_target_rows_alone_are_refused(scorer, data, model):
    X, y, domain = data
    target = domain < 0
    with pytest.raises(DomainError, match="MixedDomainKFold"):
        scorer(model, X[target], y[target], sample_domain=domain[target])


def test_weighted_risk_by_hand():
    losses, weights = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 0.5])
    assert importance_weighted_risk(losses, weights) == pytest.approx(4 / 4.5)
    wl = losses * weights
    eta = -np.cov(wl, weights, ddof=0)[0, 1] / weights.var()
    expected = wl.mean() + eta * weights.mean() - eta
    found = importance_weighted_risk(losses, weights, control_variate=True)
    assert found == pytest.approx(expected)
    for variate in (False, True):
        equal = importance_weighted_risk(losses, np.ones(3), control_variate=variate)
        assert equal == pytest.approx(losses.mean())


@pytest.mark.parametrize("variate", [False, True])
def test_constant_loss_is_its_own_risk(variate):
    weights = np.random.RandomState(0).uniform(size=20)
    risk = importance_weighted_risk(np.full(20, 3.0), weights, control_variate=variate)
    assert risk == pytest.approx(3.0)


def test_control_variate_lowers_the_variance():
    rng = np.random.RandomState(0)
    plain, lowered = [], []
    for _ in range(300):
        x = rng.normal(size=200)
        # exact ratio of N(0.5, 1) to N(0, 1); the target risk of x > 0 is known
        weights = np.exp(0.5 * x - 0.125)
        losses = (x > 0).astype(float)
        plain.append(np.mean(weights * losses))
        lowered.append(importance_weighted_risk(losses, weights, control_variate=True))
    assert np.std(lowered) < 0.7 * np.std(plain)
    assert np.mean(lowered) == pytest.approx(0.6915, abs=0.01)


def test_weighted_score_follows_the_target_and_not_the_source():
    rng = np.random.RandomState(0)
    X = np.r_[rng.uniform(-2, 2, 400), rng.uniform(1, 2, 400)][:, None]
    domain = np.repeat([1, -1], 400)
    y = (X[:, 0] > 0).astype(int)
    # right for x > 1 only: good on the target, bad on the source
    model = DummyClassifier(strategy="constant", constant=1).fit(X, y)
    score = importance_weighted_scorer(model, X, y, sample_domain=domain)
    assert np.mean(y[:400]) < 0.6 < 0.85 < score


def test_weighted_score_of_a_regressor_and_own_classifier(data):
    X, _, domain = data
    y = X[:, 0] + 1.0
    model = DummyRegressor(strategy="constant", constant=0.0).fit(X, y)
    scorer = make_importance_weighted_scorer(classifier=KNeighborsClassifier(30))
    assert scorer(model, X, y, sample_domain=domain) < 0
    exact = Ridge(alpha=0.0).fit(X, y)
    value = importance_weighted_scorer(exact, X, y, sample_domain=domain)
    assert value == pytest.approx(0, abs=1e-12)


def test_refused_weights():
    with pytest.raises(ValueError, match="at least 0"):
        importance_weighted_risk([1.0], [-1.0])
    with pytest.raises(ValueError, match="at least 0"):
        importance_weighted_risk([1.0], [0.0])
    with pytest.raises(ValueError, match="2 losses"):
        importance_weighted_risk([1.0, 2.0], [1.0])


def test_entropy_matches_loops():
    proba = np.random.RandomState(0).dirichlet(np.ones(4), size=10)
    expected = -np.mean([sum(p * np.log(p) for p in row) for row in proba])
    assert prediction_entropy(proba) == pytest.approx(expected)
    assert prediction_entropy(np.eye(3)) == 0
    assert prediction_entropy(np.full((5, 4), 0.25)) == pytest.approx(np.log(4))


def test_density_matches_loops():
    proba = np.random.RandomState(0).dirichlet(np.ones(3), size=8)
    total = 0.0
    for i in range(8):
        similar = [
            np.exp(p @ proba[i] / np.linalg.norm(p) / np.linalg.norm(proba[i]) / 0.05)
            for j, p in enumerate(proba)
            if j != i
        ]
        q = np.array(similar) / np.sum(similar)
        total -= np.sum(q * np.log(q)) / 8
    assert soft_neighborhood_density(proba) == pytest.approx(total)


def test_density_prefers_clusters():
    rng = np.random.RandomState(0)
    clusters = np.eye(2)[rng.randint(2, size=40)]
    spread = rng.dirichlet(np.ones(2), size=40)
    assert soft_neighborhood_density(clusters) > soft_neighborhood_density(spread)
    with pytest.raises(ValueError, match="minimum of 2"):
        soft_neighborhood_density([[1.0, 0.0]])
    with pytest.raises(ValueError, match="sum to 1"):
        prediction_entropy([[1.0, 1.0]])


def test_circular_validation_of_plain_and_domain_estimators(data, model):
    X, y, domain = data
    assert circular_validation_scorer(model, X, y, sample_domain=domain) > 0.8
    plain = LogisticRegression().fit(X[domain > 0], y[domain > 0])
    reverse = LogisticRegression().fit(X[domain < 0], plain.predict(X[domain < 0]))
    expected = reverse.score(X[domain > 0], y[domain > 0])
    found = circular_validation_scorer(plain, X, y, sample_domain=domain)
    assert found == pytest.approx(expected)
    constant = DummyClassifier().fit(X, np.zeros(160, int))
    value = circular_validation_scorer(constant, X, y, sample_domain=domain)
    assert value == pytest.approx(0.5)


def test_circular_validation_of_text_labels_and_regressors(data):
    X, y, domain = data
    text = np.array(["no", "yes"], dtype=object)[y]
    text[domain < 0] = None
    model = SourceOnly(LogisticRegression()).fit(X, text, sample_domain=domain)
    assert circular_validation_scorer(model, X, text, sample_domain=domain) > 0.8
    values = np.where(domain < 0, np.nan, X @ [1.0, 2.0])
    ridge = SourceOnly(Ridge(alpha=1e-8)).fit(X, values, sample_domain=domain)
    value = circular_validation_scorer(ridge, X, values, sample_domain=domain)
    assert value == pytest.approx(1.0)


def test_mixed_folds_partition_every_domain(data):
    X, y, domain = data
    folds = list(
        MixedDomainKFold(4, shuffle=True, random_state=0).split(
            X, y, sample_domain=domain
        )
    )
    tested = np.concatenate([test for _, test in folds])
    np.testing.assert_array_equal(np.sort(tested), np.arange(160))
    for train, test in folds:
        assert not set(train) & set(test)
        assert set(domain[test]) == {1, 2, -1}
    with pytest.raises(DomainError, match="domain 2 has 40"):
        list(MixedDomainKFold(50).split(X, y, sample_domain=domain))
    with pytest.raises(DomainError, match="needs source rows"):
        list(MixedDomainKFold(2).split(X, y, sample_domain=np.full(160, -1)))


def test_matrix_norm_by_hand():
    proba = np.array([[0.8, 0.2], [0.5, 0.5]])
    q = np.log(2.0)  # half of the log-odds of 0.8
    taylor = np.array([1 + q + q**2 / 2, 1 - q + q**2 / 2])
    taylor /= taylor.sum()
    expected = (np.sum(taylor**4) + 2 * 0.5**4) / 4
    assert matrix_norm(proba) == pytest.approx(expected**0.25)
    softmax = (0.8**2 + 0.2**2 + 0.5) / 4
    assert matrix_norm(proba, p=2.0, threshold=0.0) == pytest.approx(softmax**0.5)
    with pytest.raises(ValueError, match="two columns"):
        matrix_norm([[1.0], [1.0]])


def test_matrix_norm_of_overconfident_predictions_takes_the_softmax():
    proba = np.array([[1.0 - 1e-9, 1e-9], [1e-9, 1.0 - 1e-9]])
    assert matrix_norm(proba) == pytest.approx(0.5**0.25)


def _blobs(rng):
    X = np.concatenate([rng.normal(-3, 0.5, 100), rng.normal(3, 0.5, 100)])[:, None]
    return X, np.full(200, np.nan), np.full(200, -1)


def test_mixtures_between_classes_find_a_boundary_amid_a_cluster(rng):
    X, y, domain = _blobs(rng)
    between, within = (
        make_mixval_scorer(pairs=pairs) for pairs in ("between", "within")
    )
    right, wrong = LogisticRegression(), LogisticRegression()
    right.fit([[-1.0], [1.0]], [0, 1])
    wrong.fit([[2.0], [4.0]], [0, 1])
    scores = [
        [scorer(model, X, y, sample_domain=domain) for scorer in (between, within)]
        for model in (right, wrong)
    ]
    assert scores[0] == [pytest.approx(0.9, abs=0.1), 1.0]
    assert scores[1][0] < scores[0][0] - 0.2
    mean = mixval_scorer(right, X, y, sample_domain=domain)
    assert mean == pytest.approx(np.mean(scores[0]), abs=1e-12)


def test_mixtures_within_a_class_find_one_in_two_pieces(rng):
    X, y, domain = _blobs(rng)
    X[:50] -= 6.0
    pieces = KNeighborsClassifier(1).fit([[-9.0], [-3.0], [3.0]], [1, 0, 1])
    within = make_mixval_scorer(pairs="within")
    assert within(pieces, X, y, sample_domain=domain) < 0.9
    order = rng.permutation(200)
    assert within(pieces, X[order], y, sample_domain=domain) == pytest.approx(
        within(pieces, X, y, sample_domain=domain)
    )


def test_mixtures_of_one_class_and_of_a_regressor(rng):
    X, y, domain = _blobs(rng)
    one = DummyClassifier().fit(X, np.zeros(200))
    assert mixval_scorer(one, X, y, sample_domain=domain) == 1.0
    with pytest.raises(TypeError, match="regressor"):
        mixval_scorer(Ridge().fit(X, X[:, 0]), X, y, sample_domain=domain)
