"""Chains of sources: limits, order, bridges."""

import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeRegressor

from sktransfer.hypothesis import SecureLogistic, SecureRLS, TransferChain
from sktransfer.metrics import mmd
from sktransfer.model_selection import TargetKFold
from sktransfer.safe import ReliableTransfer, TransferGuard


def places(seed=0, *, n_labeled=8, n_unlabeled=40):
    """Return rows whose rule turns with the place of their domain: 0, 1, and 2."""
    rng = np.random.default_rng(seed)
    sizes = [80, 80, n_labeled + n_unlabeled, 200]
    place = np.repeat([0.0, 1.0, 2.0, 2.0], sizes)
    domain = np.repeat([1, 2, -1, -1], sizes)
    X = rng.normal(size=(len(place), 4)) + place[:, None]
    angle = place * np.pi / 4
    y = np.cos(angle) * X[:, 0] + np.sin(angle) * X[:, 1] + np.sin(2 * X[:, 2])
    train = np.arange(len(place)) < sum(sizes[:3])
    marked = np.where(np.arange(len(place)) < sum(sizes[:2]) + n_labeled, y, np.nan)
    return X[train], marked[train], domain[train], X[~train], y[~train]


def test_one_source_is_the_link_itself():
    """One source: FineTuning (here SecureRLS)."""
    X, y, domain, X_test, _ = places()
    rows = domain != 2
    link = SecureRLS(DecisionTreeRegressor(random_state=0))
    chain = TransferChain(link).fit(X[rows], y[rows], sample_domain=domain[rows])
    plain = clone(link).fit(X[rows], y[rows], sample_domain=domain[rows])
    assert_array_equal(chain.predict(X_test), plain.predict(X_test))
    assert chain.path_ == [1] and chain.distances_ == {}


def test_a_chain_is_its_links_by_hand():
    """h_1, h_2 = SecureRLS(h_1), h_T."""
    X, y, domain, X_test, _ = places()
    chain = TransferChain(SecureRLS(Ridge()), path=[1, 2])
    chain.fit(X, y, sample_domain=domain)
    h_1 = Ridge().fit(X[domain == 1], y[domain == 1])
    h_2 = SecureRLS(h_1).fit(X[domain == 2], y[domain == 2])
    known = (domain < 0) & ~np.isnan(y)
    h_T = SecureRLS(h_2).fit(X[known], y[known])
    assert_allclose(chain.predict(X_test), h_T.predict(X_test))
    assert_allclose(chain.links_[0].predict(X_test), h_2.predict(X_test))


def test_classes_are_chained_by_hand():
    """Chains source -> bridge -> target by SecureLogistic."""
    X, values, domain, X_test, _ = places()
    y = np.where(np.isnan(values), None, np.where(values > 1, "up", "down"))
    chain = TransferChain(SecureLogistic(LogisticRegression()), path=[1, 2])
    chain.fit(X, y, sample_domain=domain)
    h_1 = LogisticRegression().fit(X[domain == 1], y[domain == 1].astype(str))
    h_2 = SecureLogistic(h_1).fit(X[domain == 2], y[domain == 2])
    known = (domain < 0) & ~np.isnan(values)
    h_T = SecureLogistic(h_2).fit(X[known], y[known])
    assert_allclose(chain.predict_proba(X_test), h_T.predict_proba(X_test), atol=1e-6)
    assert list(chain.classes_) == ["down", "up"]


def test_no_labeled_row_is_the_link_to_the_last_source():
    X, values, domain, X_test, _ = places(n_labeled=0)
    y = np.where(np.isnan(values), np.nan, values > 1)
    chain = TransferChain(SecureLogistic()).fit(X, y, sample_domain=domain)
    assert chain.path_ == [1, 2]
    last = chain.links_[0].predict_proba(X_test)
    assert_allclose(chain.predict_proba(X_test), last, atol=1e-6)


def test_order_matters():
    X, y, domain, X_test, _ = places()
    forth, back = (
        TransferChain(SecureRLS(Ridge()), path=path).fit(X, y, sample_domain=domain)
        for path in ([1, 2], [2, 1])
    )
    assert np.abs(forth.predict(X_test) - back.predict(X_test)).max() > 1e-3


def test_auto_is_by_mmd_to_the_target_descending():
    X, y, domain, _, _ = places()
    swapped = np.where(domain == 1, 9, domain)
    chain = TransferChain(SecureRLS()).fit(X, y, sample_domain=swapped)
    assert chain.path_ == [9, 2]
    assert chain.distances_[9] > chain.distances_[2]
    scaled = X / X.std(axis=0)
    expected = mmd(scaled[domain == 1], scaled[domain < 0])
    assert chain.distances_[9] == pytest.approx(expected)


def test_no_source_is_the_link_on_the_target():
    X, y, domain, X_test, _ = places()
    known = (domain < 0) & ~np.isnan(y)
    chain = TransferChain(SecureRLS(), path=[3]).fit(X[known], y[known])
    plain = SecureRLS().fit(X[known], y[known])
    assert_allclose(chain.predict(X_test), plain.predict(X_test))
    assert chain.path_ == []


def test_given_models_come_before_the_first_source():
    X, y, domain, X_test, _ = places()
    h_0 = LinearRegression().fit(X[:30], y[:30] + 1.0)
    chain = TransferChain(SecureRLS(h_0), path=[2]).fit(X, y, sample_domain=domain)
    h_1 = SecureRLS(h_0).fit(X[domain == 2], y[domain == 2])
    known = (domain < 0) & ~np.isnan(y)
    expected = SecureRLS(h_1).fit(X[known], y[known])
    assert_allclose(chain.predict(X_test), expected.predict(X_test))
    assert chain.without_sources().estimator.source_models is None


def test_a_bridge_helps_where_rules_turn_with_the_place():
    """The chain has a smaller error than the far source alone, and than the target."""
    errors = {"chain": [], "far": [], "target": []}
    for seed in range(5):
        X, y, domain, X_test, y_test = places(seed)
        link = SecureRLS(DecisionTreeRegressor(min_samples_leaf=5, random_state=0))
        far = domain != 2
        known = (domain < 0) & ~np.isnan(y)
        for name, rows in [("chain", domain != 0), ("far", far), ("target", known)]:
            model = TransferChain(link).fit(
                X[rows], y[rows], sample_domain=domain[rows]
            )
            errors[name].append(np.mean((model.predict(X_test) - y_test) ** 2))
    mean = {name: np.mean(values) for name, values in errors.items()}
    assert mean["chain"] < mean["far"]
    assert mean["chain"] < mean["target"]


def test_sparse_rows_and_pickle():
    X, y, domain, X_test, _ = places()
    dense = TransferChain(SecureRLS(Ridge())).fit(X, y, sample_domain=domain)
    thin = TransferChain(SecureRLS(Ridge())).fit(
        sparse.csr_array(X), y, sample_domain=domain
    )
    expected = dense.predict(X_test)
    assert_allclose(thin.predict(sparse.csr_array(X_test)), expected, atol=1e-6)
    again = pickle.loads(pickle.dumps(dense))
    assert_array_equal(again.predict(X_test), expected)


def test_paths_in_a_search():
    X, y, domain, _, _ = places()
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            TransferChain(SecureRLS(Ridge())),
            {"path": [[1, 2], [2, 1], [2]]},
            cv=TargetKFold(3),
        ).fit(X, y, sample_domain=domain)
    assert search.best_params_["path"] in ([1, 2], [2, 1], [2])


@pytest.mark.parametrize(
    ("chain", "match"),
    [
        (TransferChain(Ridge()), "takes no source_models"),
        (TransferChain(SecureRLS(), path=[1, 7]), "each once; these are"),
        (TransferChain(SecureRLS(), path=[1, 1]), "each once; these are"),
        (TransferChain(SecureRLS(), path=[]), "each once; these are"),
        (TransferChain(SecureRLS(), path=[1.5]), "must hold ids of sources"),
        (TransferChain(SecureRLS(), path=[True, 2]), "must hold ids of sources"),
    ],
)
def test_bad_input_is_one_error(chain, match):
    X, y, domain, _, _ = places()
    with pytest.raises((TypeError, ValueError), match=match):
        chain.fit(X, y, sample_domain=domain)


class TestDistantBranch:
    """ReliableTransfer's branch for low similarity uses the chain."""

    @staticmethod
    def reversed_sources():
        rng = np.random.default_rng(0)
        X = rng.normal(size=(180, 3))
        domain = np.repeat([1, 2, -1], [60, 60, 60])
        y = X @ [2.0, 1.0, 0.0] + np.sin(3 * X[:, 2])
        y[domain > 0] *= -1
        y[140:] = np.nan
        return X, y, domain

    def test_low_sources_are_chained_inside_a_guard(self):
        X, y, domain = self.reversed_sources()
        model = ReliableTransfer(Ridge(), distant="chain")
        model.fit(X, y, sample_domain=domain)
        assert set(model.levels_.values()) == {"low"}
        assert model.decision_ == "distant"
        assert isinstance(model.estimator_, TransferGuard)
        assert isinstance(model.estimator_.estimator, TransferChain)
        plain = ReliableTransfer(Ridge()).fit(X, y, sample_domain=domain)
        assert plain.decision_ == "target_only"

    def test_classes_are_chained_by_secure_logistic(self):
        X, y, domain = self.reversed_sources()
        labels = np.where(np.isnan(y), np.nan, y > 0)
        model = ReliableTransfer(LogisticRegression(), distant="chain")
        model.fit(X, labels, sample_domain=domain)
        assert model.decision_ == "distant"
        chain = model.estimator_.estimator
        assert isinstance(chain.estimator, SecureLogistic)
        assert model.predict_proba(X).shape == (len(X), 2)

    def test_an_estimator_of_the_user_takes_its_place(self):
        X, y, domain = self.reversed_sources()
        own = TransferChain(SecureRLS(alpha=0.1), path=[2, 1])
        model = ReliableTransfer(Ridge(), distant=own)
        model.fit(X, y, sample_domain=domain)
        assert model.estimator_.estimator.path == [2, 1]

    def test_bad_input_is_one_error(self):
        X, y, domain = self.reversed_sources()
        with pytest.raises(TypeError, match="distant=Ridge"):
            ReliableTransfer(Ridge(), distant=Ridge()).fit(X, y, sample_domain=domain)
