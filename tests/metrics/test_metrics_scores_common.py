"""What every transferability score of features has to stand."""

import numpy as np
import pytest

from sktransfer import metrics

SCORES = {
    "h_score": metrics.h_score,
    "h_score_lw": lambda F, y: metrics.h_score(F, y, shrinkage="ledoit_wolf"),
    "logme": metrics.logme,
    "transrate": lambda F, y: metrics.transrate(F, y, standardize=True),
    "silhouette": metrics.silhouette,
    "gbc": metrics.gbc,
    "n_leep": lambda F, y: metrics.n_leep(F, y, random_state=0),
    "otce": lambda F, y: metrics.otce(F[::-1], np.arange(len(y)) % 2, F, y),
}
rng = np.random.RandomState(0)
Y = np.arange(30) % 3
F = rng.normal(size=(30, 4)) + np.eye(3, 4)[Y] * 1.5


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    "labels",
    [
        np.array(["dog", "ant", "cow"]),
        np.array([100, -1, 7]),
        np.array([2.0, 0.0, 1.0]),
        np.array(["x", "é", "long name"], dtype=object),
    ],
    ids=["text", "gaps", "float", "object"],
)
def test_names_of_classes_do_not_matter(name, labels):
    assert SCORES[name](F, labels[Y]) == pytest.approx(SCORES[name](F, Y), abs=1e-9)


@pytest.mark.parametrize("name", sorted(set(SCORES) - {"n_leep", "otce"}))
def test_order_of_rows_does_not_matter(name):
    order = np.random.RandomState(1).permutation(30)
    assert SCORES[name](F[order], Y[order]) == pytest.approx(
        SCORES[name](F, Y), abs=1e-9
    )


@pytest.mark.parametrize("name", SCORES)
def test_integer_features_count_as_numbers(name):
    integers = np.round(3 * F).astype(np.int16)
    as_float = SCORES[name](integers.astype(float), Y)
    assert SCORES[name](integers, Y) == pytest.approx(as_float, abs=1e-12)
    assert SCORES[name]((integers - integers.min()).astype(np.uint8), Y) is not None


@pytest.mark.parametrize("name", SCORES)
def test_separated_classes_score_higher_than_noise(name):
    apart = 0.1 * F + 20 * np.eye(3, 4)[Y]
    noise = np.random.RandomState(2).normal(size=(30, 4))
    # nearest couplings of separated features under mixed source labels say nothing
    if name != "otce":
        assert SCORES[name](apart, Y) > SCORES[name](noise, Y)
    else:
        source = metrics.otce(apart, Y, apart, Y)
        assert source > metrics.otce(noise, Y, noise[::-1], Y)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("case", ["constant", "duplicated", "zero", "wide", "single"])
def test_degenerate_input_is_finite(name, case):
    features, y = F, Y
    if case == "constant":
        features = np.hstack([F, np.full((30, 1), 0.1)])
    elif case == "duplicated":
        features = np.hstack([F, F])
    elif case == "zero":
        features = np.hstack([F, np.zeros((30, 2))])
    elif case == "wide":
        features = np.random.RandomState(3).normal(size=(30, 50))
    else:
        y = np.r_[Y[:-1], 99]
    assert np.isfinite(SCORES[name](features, y))


@pytest.mark.parametrize("name", SCORES)
def test_bad_input_is_one_clear_error(name):
    score = SCORES[name]
    with pytest.raises(ValueError, match="missing labels"):
        score(F, np.where(Y == 0, np.nan, Y))
    with pytest.raises(ValueError, match="NaN"):
        score(np.where(F > 2, np.nan, F), Y)
    if name != "otce":
        with pytest.raises(ValueError, match="rows"):
            score(F, Y[:-1])


@pytest.mark.parametrize("name", sorted(set(SCORES) - {"logme"}))
def test_continuous_labels_are_refused(name):
    with pytest.raises(ValueError, match="continuous"):
        SCORES[name](F, F[:, 0])


@pytest.mark.parametrize("name", SCORES)
def test_input_is_not_changed(name):
    features, y = F.copy(), Y.copy()
    features.flags.writeable = y.flags.writeable = False
    SCORES[name](features, y)
    np.testing.assert_array_equal(features, F)


def test_exports_are_sorted_and_exist():
    assert metrics.__all__ == sorted(metrics.__all__)
    for name in metrics.__all__:
        assert hasattr(metrics, name)


def test_import_loads_no_heavy_package():
    import subprocess
    import sys

    code = (
        "import sys, sktransfer.metrics; "
        "print([m for m in ('torch', 'matplotlib', 'cvxpy', 'ot') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(set(SCORES) - {"silhouette", "otce"}))
@pytest.mark.parametrize("factor", [1e-150, 1e150])
def test_scale_of_features_does_not_matter(name, factor):
    if name == "transrate":
        factor = factor ** (1 / 3)
    expected = SCORES[name](F, Y)
    assert SCORES[name](factor * F, Y) == pytest.approx(expected, rel=1e-7)
