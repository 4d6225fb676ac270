"""Memory maps go to other processes by the name of their file."""

import copyreg
import pickle

import numpy as np
import pytest

from sktransfer.utils import send_memory_maps_by_name


@pytest.fixture(autouse=True)
def by_name():
    send_memory_maps_by_name()
    yield
    del copyreg.dispatch_table[np.memmap]


@pytest.fixture(params=["C", "F"])
def rows(request, tmp_path):
    X = np.asarray(np.arange(40_000.0).reshape(2000, 20), order=request.param)
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("part", [np.s_[:], np.s_[:, :], np.s_[100:2000], np.s_[7]])
def test_a_part_without_gaps_goes_by_name(rows, part):
    if rows.flags.f_contiguous and part in (np.s_[100:2000], np.s_[7]):
        part = np.s_[:, 3:9]
    sent = rows[part]
    message = pickle.dumps(sent)
    received = pickle.loads(message)
    np.testing.assert_array_equal(received, sent)
    assert isinstance(received, np.memmap)
    assert len(message) < 500
    with pytest.raises(ValueError, match="read-only"):
        received[:] = 0.0


@pytest.mark.parametrize(
    "change",
    [lambda X: X[::2], lambda X: X[:, ::3], lambda X: X * 2.0, lambda X: X[:0]],
    ids=["every second", "some columns", "computed", "empty"],
)
def test_what_is_no_part_of_a_file_is_copied(rows, change):
    sent = change(rows)
    received = pickle.loads(pickle.dumps(sent))
    np.testing.assert_array_equal(received, sent)
    assert received.shape == sent.shape
    assert type(received) is np.ndarray


def test_changes_that_are_not_in_the_file_are_sent(rows):
    changed = np.load(rows.filename, mmap_mode="c")
    changed[0, 0] = -1.0
    for sent in (changed, changed[:, :]):
        assert pickle.loads(pickle.dumps(sent))[0, 0] == -1.0
