"""Calibration transfer by pairs: maps of samples, and a line for predictions."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from sktransfer._solvers.pair_maps import banded_map, least_norm_map
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.exceptions import CapabilityError, DomainError
from sktransfer.feature import (
    CORAL,
    DirectStandardization,
    PiecewiseDirectStandardization,
)
from sktransfer.hypothesis import SlopeBiasCorrection
from sktransfer.safe import TransferGuard

N_CHANNELS = 60


def spectra(rng, n_source=80, n_target=60, n_pairs=10):
    """Two instruments: the second is shifted by a channel, stronger, and offset."""
    grid = np.arange(N_CHANNELS)
    peaks = np.exp(-0.5 * (grid - np.array([[10], [22], [35], [50]])) ** 2 / 16)
    amounts = rng.uniform(0.2, 1.0, size=(n_source + n_target, 4))
    clean = amounts @ peaks
    first = clean + 0.002 * rng.normal(size=clean.shape)
    second = 1.15 * np.roll(clean, 1, axis=1) + 0.1
    second += 0.002 * rng.normal(size=clean.shape)
    pairs = np.arange(n_pairs)
    X = np.concatenate([first[:n_source], second[pairs], second[n_source:]])
    domain = np.repeat([1, -1], [n_source, n_pairs + n_target])
    names = np.full(len(X), None, dtype=object)
    names[pairs] = names[n_source + pairs] = [f"sample {k}" for k in pairs]
    y = np.concatenate(
        [amounts[:n_source, 0], amounts[pairs, 0], amounts[n_source:, 0]]
    )
    return X, y, domain, names, first[n_source:]


def test_maps_are_least_squares(rng):
    A, B = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    expected = np.linalg.lstsq(A, B, rcond=None)[0]
    np.testing.assert_allclose(least_norm_map(A, B), expected)
    few = rng.normal(size=(4, 9))
    F = least_norm_map(few, rng.normal(size=(4, 2)))
    null = np.linalg.svd(few)[2][4:]
    np.testing.assert_allclose(null @ F, 0, atol=1e-12)  # of least norm
    assert np.linalg.matrix_rank(least_norm_map(A, B, 2)) == 2
    band = banded_map(A, A, 1, 3)
    np.testing.assert_allclose(band, np.eye(5), atol=1e-12)
    assert least_norm_map(np.zeros((3, 2)), np.ones((3, 2))).tolist() == [[0, 0]] * 2


@pytest.mark.parametrize(
    "transformer",
    [DirectStandardization(), DirectStandardization(4),
     PiecewiseDirectStandardization(), PiecewiseDirectStandardization(5)],
)  # fmt: skip
def test_target_samples_become_those_of_the_source(rng, transformer):
    X, _, domain, names, truth = spectra(rng)
    fitted = transformer.fit(X, sample_domain=domain, sample_pair=names)
    assert fitted.n_pairs_ == 10
    mapped = fitted.transform(X, sample_domain=domain)
    np.testing.assert_array_equal(mapped[domain > 0], X[domain > 0])
    before = np.abs(X[domain < 0][10:] - truth).mean()
    assert np.abs(mapped[domain < 0][10:] - truth).mean() < 0.1 * before
    np.testing.assert_allclose(fitted.transform(X[domain < 0]), mapped[domain < 0])


@pytest.mark.parametrize("kind", [PiecewiseDirectStandardization,
                                  DirectStandardization])  # fmt: skip
def test_the_calibration_of_the_source_serves_the_target(rng, kind):
    X, y, domain, names, _ = spectra(rng)
    y = np.where(domain < 0, np.nan, y), y
    with config_context(enable_metadata_routing=True):
        model = make_pipeline(kind(), SourceOnly(PLSRegression(4)))
        model.fit(X, y[0], sample_domain=domain, sample_pair=names)
        error = np.std(model.predict(X[domain < 0][10:]) - y[1][domain < 0][10:])
        raw = SourceOnly(PLSRegression(4)).fit(X, y[0], sample_domain=domain)
        worse = np.std(raw.predict(X[domain < 0][10:]) - y[1][domain < 0][10:])
        blind = make_pipeline(CORAL(), SourceOnly(PLSRegression(4)))
        blind.fit(X, y[0], sample_domain=domain)
    assert error < 0.02
    assert error < 0.3 * worse


def test_names_of_pairs_of_any_kind(rng):
    X, _, domain, names, _ = spectra(rng)
    expected = DirectStandardization().fit(X, sample_domain=domain, sample_pair=names)
    numbers = np.array([np.nan if n is None else float(n.split()[1]) for n in names])
    again = DirectStandardization().fit(X, sample_domain=domain, sample_pair=numbers)
    np.testing.assert_array_equal(again.coef_, expected.coef_)
    order = rng.permutation(len(X))
    moved = DirectStandardization().fit(
        X[order], sample_domain=domain[order], sample_pair=names[order]
    )
    np.testing.assert_allclose(moved.coef_, expected.coef_, atol=1e-8)
    lone = names.copy()
    lone[70] = "only here"
    part = DirectStandardization().fit(X, sample_domain=domain, sample_pair=lone)
    assert part.n_pairs_ == 10


def test_limits(rng):
    X, _, domain, names, _ = spectra(rng)
    for kind in (DirectStandardization, PiecewiseDirectStandardization):
        alone = kind().fit(X[domain < 0])
        np.testing.assert_allclose(alone.transform(X[domain < 0]), X[domain < 0])
        unpaired = kind().fit(X, sample_domain=domain)
        Z = unpaired.transform(X, sample_domain=domain)
        gap = Z[domain < 0].mean(axis=0) - X[domain > 0].mean(axis=0)
        np.testing.assert_allclose(gap, 0, atol=1e-9)
        one = np.where(names == "sample 3", names, None)
        single = kind().fit(X, sample_domain=domain, sample_pair=one)
        pair = single.transform(X, sample_domain=domain)[names == "sample 3"]
        np.testing.assert_allclose(pair[0], pair[1])
    assert PiecewiseDirectStandardization(0).fit(
        X, sample_domain=domain, sample_pair=names
    ).coef_.astype(bool).sum() == N_CHANNELS  # fmt: skip


def test_errors(rng):
    X, _, domain, names, _ = spectra(rng)
    fit = DirectStandardization().fit
    twice = names.copy()
    twice[75] = "sample 3"
    with pytest.raises(
        DomainError, match=r"'sample 3' in two source rows \(3 and 75\)"
    ):
        fit(X, sample_domain=domain, sample_pair=twice)
    with pytest.raises(DomainError, match="no name that is in a source row and"):
        fit(X, sample_domain=domain, sample_pair=np.arange(len(X)))
    with pytest.raises(DomainError, match="sample_pair has shape"):
        fit(X, sample_domain=domain, sample_pair=names[:5])
    with pytest.raises(CapabilityError, match="2 sources"):
        fit(X, sample_domain=np.where(np.arange(len(X)) < 9, 2, domain))


def test_slope_and_bias_by_labels_and_by_pairs(rng):
    X = rng.normal(size=(100, 3))
    domain = np.repeat([1, -1], [60, 40])
    y = X @ [1.0, 2.0, 0.0]
    X[60:] = 0.5 * X[60:] - 1.0  # another instrument
    labeled = np.where((domain < 0) & (np.arange(100) >= 70), np.nan, y)
    model = SlopeBiasCorrection(LinearRegression(), alpha=0)
    model.fit(X, labeled, sample_domain=domain)
    assert model.n_points_ == 10
    assert model.slope_ == pytest.approx(2.0)
    np.testing.assert_allclose(model.predict(X[60:]), y[60:])
    assert model.score(X[60:], y[60:]) == pytest.approx(1)
    X[60:65] = 0.5 * X[:5] - 1.0  # five objects on both
    names = np.full(100, None, dtype=object)
    names[:5] = names[60:65] = list("abcde")
    unlabeled = np.where(domain < 0, np.nan, y)
    model.fit(X, unlabeled, sample_domain=domain, sample_pair=names)
    assert model.n_points_ == 5
    np.testing.assert_allclose(model.predict(X[65:]), y[65:])
    careful = SlopeBiasCorrection(LinearRegression(), alpha=10)
    careful.fit(X, unlabeled, sample_domain=domain, sample_pair=names)
    assert 1.0 < careful.slope_ < 1.5


def test_slope_and_bias_limits(rng):
    X = rng.normal(size=(50, 2))
    domain = np.repeat([1, -1], [40, 10])
    y = X[:, 0] + np.where(domain < 0, 3.0, 0.0)
    nothing = np.where(domain < 0, np.nan, y)
    model = SlopeBiasCorrection(Ridge()).fit(X, nothing, sample_domain=domain)
    assert (model.slope_, model.bias_, model.n_points_) == (1, 0, 0)
    one = nothing.copy()
    one[40] = y[40]
    model.fit(X, one, sample_domain=domain)
    assert (model.slope_, model.n_points_) == (1, 1)
    assert model.bias_ == pytest.approx(3, abs=0.1)
    both = np.column_stack([y, -y])
    model.fit(X, both, sample_domain=domain)
    assert model.predict(X).shape == (50, 2)
    with pytest.raises(TypeError, match="is no regressor"):
        SlopeBiasCorrection(LogisticRegression()).fit(X, y > 0, sample_domain=domain)


def test_pairs_pass_through_a_guard(rng):
    """Pairs are sliced to the folds; the target alone needs none."""
    X, y, domain, names, _ = spectra(rng)
    y = np.where((domain < 0) & (np.arange(len(y)) >= 110), np.nan, y)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(PiecewiseDirectStandardization(), Pooled(Ridge(1e-3)))
    guard = TransferGuard(pipeline, target_estimator=Ridge(1e-3), cv=4)
    guard.fit(X, y, sample_domain=domain, sample_pair=names)
    assert guard.transfer_[0].n_pairs_ == 10
    assert np.isfinite(guard.predict(X)).all()
    line = TransferGuard(SlopeBiasCorrection(Ridge(1e-3)), cv=4)
    line.fit(X, y, sample_domain=domain, sample_pair=names)
    assert np.isfinite(line.predict(X)).all()
