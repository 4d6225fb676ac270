"""Models that a release has stored are loaded, and predict what they predicted."""

import warnings
from pathlib import Path

import joblib
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import InconsistentVersionWarning
from stored_models.store import answer

import sktransfer

FOLDER = Path(__file__).parent / "stored_models"
STORED = sorted(FOLDER.glob("*/*.joblib"))


@pytest.mark.parametrize("path", STORED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_stored_model_predicts_what_it_predicted(path):
    with warnings.catch_warnings():
        # that older versions of scikit-learn stored them is the point
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        stored = joblib.load(path)
    answered = answer(stored["model"], stored["X"])
    assert_allclose(answered, stored["answer"], rtol=1e-6, atol=1e-9)


def test_this_release_has_stored_models():
    """Fails after a new version number: the policies page tells how they are stored."""
    assert (FOLDER / sktransfer.__version__).is_dir()
