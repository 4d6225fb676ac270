"""A source or a target of one class: it works, or the message names the samples."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.hypothesis import PositiveTransferLogistic
from sktransfer.instance import KMM
from sktransfer.metrics import cross_val_ntg, rank_sources
from sktransfer.multisource import (
    MCW,
    OTQMS,
    UOWQ,
    DomainRecognitionEnsemble,
    HEnsemble,
    MMDWeightedEnsemble,
    PeerWeightedEnsemble,
    SingleBestSource,
    SourceFreeEnsemble,
)
from sktransfer.safe import SAFEW, ReliableTransfer, TransferGuard

LEARNER = LogisticRegression()
DOMAIN = np.repeat([1, 4, -1], [12, 10, 8])


def rows(*, one_class_source=False, one_class_target=False, n_labeled=6):
    rng = np.random.RandomState(0)
    y = np.arange(len(DOMAIN)) % 2
    X = rng.normal(size=(len(DOMAIN), 2)) + y[:, None]
    y = y.astype(float)
    if one_class_source:
        y[DOMAIN > 0] = 1
    if one_class_target:
        y[DOMAIN < 0] = 1
    y[len(y) - 8 + n_labeled :] = np.nan
    return X, y


@pytest.mark.parametrize("learner", [LEARNER, SVC()], ids=["logistic", "svc"])
@pytest.mark.parametrize(
    ("wrapper", "which", "samples"),
    [
        (SourceOnly, "source", "the samples of sources 1, 4 hold one class, 1"),
        (TargetOnly, "target", "the labeled target samples hold one class, 1"),
    ],
)
def test_one_class_is_named(wrapper, which, samples, learner):
    X, y = rows(**{f"one_class_{which}": True})
    with pytest.raises(ValueError, match=samples):
        wrapper(learner).fit(X, y, sample_domain=DOMAIN)


@pytest.mark.parametrize("wrapper", [Pooled, KMM])
def test_one_class_over_all_domains_names_them(wrapper):
    X, y = rows(one_class_source=True, one_class_target=True)
    both = "the samples of sources 1, 4 and the labeled target samples hold one class"
    with pytest.raises(ValueError, match=both):
        wrapper(LEARNER).fit(X, y, sample_domain=DOMAIN)
    target = DOMAIN < 0
    with pytest.raises(ValueError, match=r": the labeled target samples hold one"):
        wrapper(LEARNER).fit(X[target], y[target], sample_domain=DOMAIN[target])


@pytest.mark.parametrize(
    "estimator",
    [
        TransferGuard(Pooled(LEARNER)),
        PositiveTransferLogistic(),
        UOWQ(LEARNER),
        OTQMS(LEARNER),
        HEnsemble(LEARNER),
        MCW(LEARNER),
        TargetOnly(make_pipeline(StandardScaler(), LEARNER)),
    ],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("n_labeled", [1, 6])
def test_what_needs_two_classes_of_the_target_says_so(estimator, n_labeled):
    X, y = rows(one_class_target=True, n_labeled=n_labeled)
    with pytest.raises(ValueError, match=r"target (rows|samples).* one class"):
        estimator.fit(X, y, sample_domain=DOMAIN)


@pytest.mark.parametrize(
    "estimator",
    [
        Pooled(LEARNER),
        SourceOnly(LEARNER),
        KMM(LEARNER),
        MMDWeightedEnsemble(LEARNER),
        PeerWeightedEnsemble(LEARNER),
        DomainRecognitionEnsemble(LEARNER),
        SourceFreeEnsemble(LEARNER),
        SingleBestSource(LEARNER),
        TargetOnly(DecisionTreeClassifier()),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_needs_no_second_class_of_the_target_works(estimator):
    X, y = rows(one_class_target=True)
    model = estimator.fit(X, y, sample_domain=DOMAIN)
    assert np.isfinite(model.predict_proba(X)).all()


def test_other_messages_name_the_target():
    X, y = rows(one_class_target=True)
    with pytest.raises(ValueError, match="no labeled target row has them"):
        SAFEW(LEARNER).fit(X, y, sample_domain=DOMAIN)
    with pytest.raises(ValueError, match="labeled target samples hold one class"):
        ReliableTransfer(LEARNER, alpha=0.9).fit(X, y, sample_domain=DOMAIN)


def test_a_source_of_one_class_is_named_by_the_ranking():
    X, y = rows(one_class_source=True)
    table = rank_sources(Pooled(LEARNER), X, y, DOMAIN, scores=["leep"])
    assert np.isnan(table["value"]).all()
    assert "all labels of this source are 1" in table["note"][0]


def test_a_pair_without_a_second_class_names_the_target():
    X, y = rows(one_class_target=True)
    with pytest.raises(ValueError, match="labeled target samples hold one class"):
        cross_val_ntg(Pooled(LEARNER), X, y, sample_domain=DOMAIN, cv=2)
