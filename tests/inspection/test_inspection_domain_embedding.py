"""DomainEmbeddingDisplay: positions, domains, classes and marks."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.base import TransferTransformer
from sktransfer.baselines import Pooled
from sktransfer.datasets import make_subspace_shift
from sktransfer.feature import TCA
from sktransfer.inspection import DomainEmbeddingDisplay


@pytest.fixture(scope="module")
def data():
    return make_subspace_shift(20, n_labeled=6, n_unlabeled=10, random_state=0)


class SourceShift(TransferTransformer):
    """Move source rows alone."""

    def _fit_domains(self, data):
        self.is_fitted_ = True

    def _transform(self, X, source):
        return np.where(source[:, None], X + 10.0, X)


def test_two_features_stay_as_they_are(rng):
    X, domain = rng.normal(size=(12, 2)), np.repeat([1, -1], 6)
    display = DomainEmbeddingDisplay.from_rows(X, X[:, :1], sample_domain=domain)
    assert_array_equal(display.before, X)
    assert_array_equal(display.after, np.c_[X[:, 0], np.zeros(12)])


def test_more_features_go_to_principal_components(data):
    display = DomainEmbeddingDisplay.from_rows(data.X, sample_domain=data.sample_domain)
    expected = PCA(2).fit_transform(data.X)
    assert_allclose(np.abs(display.before), np.abs(expected), atol=1e-8)
    assert display.after is None and len(display.panels_) == 1


def test_tsne(data):
    display = DomainEmbeddingDisplay.from_rows(
        data.X, sample_domain=data.sample_domain, method="tsne", max_samples=8
    )
    assert display.before.shape == (16, 2) and np.isfinite(display.before).all()
    assert display.ax_.get_xlabel() == "t-SNE axis 1"


def test_transformer_gets_the_domains(data):
    X = data.X[:, :2]
    display = DomainEmbeddingDisplay.from_estimator(
        SourceShift().fit(X, sample_domain=data.sample_domain), X,
        sample_domain=data.sample_domain,
    )  # fmt: skip
    moved = np.where(data.sample_domain[:, None] > 0, 10.0, 0.0)
    assert_array_equal(display.after - display.before, X + moved - X)


def test_pipelines_with_and_without_a_predictor(data):
    with sklearn.config_context(enable_metadata_routing=True):
        domain = {"sample_domain": data.sample_domain}
        steps = [StandardScaler(), TCA(2, kernel="linear")]
        bare = make_pipeline(*steps).fit(data.X, data.y, **domain)
        full = make_pipeline(*steps, Pooled(LogisticRegression()))
        full.fit(data.X, data.y, **domain)
    for pipe in (bare, full):
        display = DomainEmbeddingDisplay.from_estimator(pipe, data.X, data.y, **domain)
        assert_allclose(display.after, bare.transform(data.X))


def test_plain_transformers_work_too(data):
    display = DomainEmbeddingDisplay.from_estimator(
        PCA(2).fit(data.X), data.X, sample_domain=data.sample_domain
    )
    assert_allclose(display.after, PCA(2).fit_transform(data.X))


def test_sample_keeps_rows_aligned(data):
    index = np.arange(float(len(data.X)))
    X = np.c_[index, index**2]
    display = DomainEmbeddingDisplay.from_rows(
        X, X + 1, y=data.y, sample_domain=data.sample_domain, max_samples=5,
        domain_names={1: "from"},
    )  # fmt: skip
    frame = display.frame()
    rows = frame.before_1.to_numpy().astype(int)
    assert frame.domain.value_counts().to_dict() == {"from": 5, "target": 5}
    assert_array_equal(frame.after_2, X[rows, 1] + 1)
    assert_array_equal(frame.is_target, data.sample_domain[rows] < 0)
    for label, expected in zip(frame["class"], data.y[rows], strict=True):
        missing = label is None or label != label
        assert np.isnan(expected) if missing else expected == label


def test_kind_40_whole_numbers_are_no_classes_in_the_picture():
    rng = np.random.RandomState(0)
    X, domain = rng.normal(size=(60, 2)), np.repeat([1, -1], 30)
    ages, ratings = rng.randint(20, 80, 60).astype(float), np.arange(60) % 5 + 1
    from_rows = DomainEmbeddingDisplay.from_rows
    assert from_rows(X, y=ages, sample_domain=domain).classes is None
    with pytest.raises(ValueError, match="may be classes or values: give y as text"):
        from_rows(X, y=ages.astype(int), sample_domain=domain)
    assert set(from_rows(X, y=ratings, sample_domain=domain).classes) == set(ratings)
    for learner, classes in ((Ridge(), False), (LogisticRegression(), True)):
        model = make_pipeline(StandardScaler(), learner).fit(X, ratings)
        display = DomainEmbeddingDisplay.from_estimator(
            model, X, ratings, sample_domain=domain
        )
        assert (display.classes is not None) == classes


def test_continuous_labels_are_no_classes(data, rng):
    display = DomainEmbeddingDisplay.from_rows(
        data.X, y=rng.normal(size=len(data.X)), sample_domain=data.sample_domain
    )
    assert display.classes is None


def marks(display):
    lines = display.panels_[0].get_lines()
    return {(line.get_marker(), line.get_fillstyle()) for line in lines}


def test_domain_is_the_filling_and_class_the_shape(data):
    y = np.where(data.sample_domain > 0, data.y_true, data.y)
    display = DomainEmbeddingDisplay.from_rows(
        data.X, y=y, sample_domain=data.sample_domain
    )
    assert marks(display) == {
        ("o", "none"), ("s", "none"), ("o", "full"), ("s", "full"), (".", "full")
    }  # fmt: skip
    n_drawn = sum(len(line.get_xdata()) for line in display.panels_[0].get_lines())
    assert n_drawn == len(data.X)
    entries = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert entries == ["source 1", "target", "class 0", "class 1", "no label"]


def test_sources_differ_without_color():
    domain = np.repeat([1, 2, 3, -1], 3)
    X = np.arange(24.0).reshape(12, 2)
    filled = DomainEmbeddingDisplay.from_rows(X, sample_domain=domain)
    assert len(marks(filled)) == 4
    many = np.arange(12)
    lettered = DomainEmbeddingDisplay.from_rows(X, y=many, sample_domain=domain)
    lettered.figure_.draw_without_rendering()
    assert len({marker for marker, _ in marks(lettered)}) == 12
    entries = [t.get_text() for t in lettered.ax_.get_legend().get_texts()]
    assert entries[4:6] == ["class 0", "class 1"]


def test_bad_input(data):
    domain = data.sample_domain
    with pytest.raises(TypeError, match="has no transform"):
        DomainEmbeddingDisplay.from_estimator(
            LogisticRegression(), data.X, sample_domain=domain
        )
    with pytest.raises(ValueError, match="X_adapted has 1 rows"):
        DomainEmbeddingDisplay.from_rows(data.X, data.X[:1], sample_domain=domain)
    with pytest.raises(ValueError, match="'method' parameter"):
        DomainEmbeddingDisplay.from_rows(data.X, sample_domain=domain, method="umap")
