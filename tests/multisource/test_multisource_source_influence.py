import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV

from sktransfer.baselines import Pooled
from sktransfer.exceptions import NegativeTransferWarning, UnlabeledTargetError
from sktransfer.instance import KMM
from sktransfer.metrics import subset_influence
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.multisource import SourceInfluence

CLEAN, FLIPPED, OTHER = 7, 2, 4


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    domain = np.repeat([CLEAN, FLIPPED, OTHER, -1], [40, 40, 40, 36])
    X = rng.normal(size=(len(domain), 3))
    signal = X[:, 0] + 0.3 * rng.normal(size=len(domain))
    signal[domain == FLIPPED] *= -1
    y = np.where(signal > 0, "yes", "no").astype(object)
    y[-6:] = None
    order = rng.permutation(len(X))
    return X[order], y[order], domain[order]


def fit(data, estimator=None, **options):
    X, y, domain = data
    estimator = estimator or Pooled(LogisticRegression())
    return SourceInfluence(estimator, **options).fit(X, y, sample_domain=domain)


def test_influences_are_those_of_the_function(data):
    X, y, domain = data
    for parts, method in (("source", "refit"), ("class", "gradient")):
        options = {"parts": parts, "method": method, "n_subsets": 20, "cv": 3}
        model = fit(data, drop=False, **options)
        found = subset_influence(
            Pooled(LogisticRegression()), X, y, sample_domain=domain, **options
        )
        assert list(model.influence_) == found.parts
        assert_array_equal(list(model.influence_.values()), found.influence)
        assert_array_equal(list(model.standard_error_.values()), found.standard_error)
        assert model.exact_ == found.exact == (parts == "source")
        assert model.kept_.all() and not model.dropped_parts_
        everything = Pooled(LogisticRegression()).fit(X, y, domain)
        assert_array_equal(model.predict_proba(X), everything.predict_proba(X))


@pytest.mark.parametrize("estimator", [Pooled, KMM])
def test_fit_is_that_without_the_parts_that_hurt(data, estimator):
    X, y, domain = data
    score = "neg_brier_score"
    model = fit(data, estimator(LogisticRegression()), cv=3, scoring=score)
    assert FLIPPED in model.dropped_parts_
    rows = ~np.isin(domain, model.dropped_parts_)
    assert_array_equal(model.kept_, rows)
    plain = estimator(LogisticRegression()).fit(X[rows], y[rows], domain[rows])
    assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


def test_parts_leave_most_negative_first_while_the_score_rises(data):
    model = fit(data, cv=3)
    negative = sorted(v for v in model.influence_.values() if v < 0)
    assert len(model.path_scores_) == len(negative) + 1
    n_dropped = len(model.dropped_parts_)
    assert [model.influence_[k] for k in model.dropped_parts_] == negative[:n_dropped]
    assert n_dropped == np.argmax(model.path_scores_)


def test_no_part_left_is_the_target_alone_with_a_warning(data):
    X, y, domain = data
    rows = np.isin(domain, [FLIPPED, -1])
    part = X[rows], y[rows], domain[rows]
    with pytest.warns(NegativeTransferWarning, match="on the target alone"):
        model = fit(part)
    assert model.dropped_parts_ == [FLIPPED]
    own = (domain < 0) & np.array([label is not None for label in y])
    alone = LogisticRegression().fit(X[own], y[own].astype(str))
    assert_array_equal(model.predict_proba(X), alone.predict_proba(X))


def test_without_sources_it_is_the_estimator(data):
    X, y, domain = data
    own = domain < 0
    model = fit((X[own], y[own], domain[own]))
    assert model.influence_ == {} and model.path_scores_.size == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = Pooled(LogisticRegression()).fit(X[own], y[own], domain[own])
    assert_array_equal(model.predict(X), plain.predict(X))


def test_clusters_and_search(data):
    X, y, domain = data
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            SourceInfluence(Pooled(LogisticRegression()), cv=2, n_subsets=8),
            {"parts": ["source", "cluster"]},
            cv=StratifiedTargetKFold(2),
        ).fit(X, y, sample_domain=domain)
    assert search.best_estimator_.influence_


def test_units_stay_together(data):
    X, y, domain = data
    groups = np.arange(len(y)) // 3
    model = SourceInfluence(Pooled(LogisticRegression()), cv=3)
    model.fit(X, y, sample_domain=domain, groups=groups)
    found = subset_influence(
        Pooled(LogisticRegression()), X, y, sample_domain=domain, cv=3, groups=groups
    )
    assert_array_equal(list(model.influence_.values()), found.influence)


def test_what_cannot_be_done_is_refused(data):
    X, y, domain = data
    with pytest.raises(TypeError, match="Wrap it"):
        fit(data, LogisticRegression())
    numbers = X[:, 0], domain
    with pytest.raises(ValueError, match="parts='class' needs classes"):
        SourceInfluence(Pooled(Ridge()), parts="class").fit(X, *numbers)
    one = np.where(domain < 0, None, y)
    one[np.flatnonzero(domain < 0)[0]] = "yes"
    with pytest.raises(UnlabeledTargetError, match="hold out"):
        fit((X, one, domain))
