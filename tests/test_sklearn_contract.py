"""Is it a scikit-learn estimator?"""

import warnings

import pytest
from instances import ESTIMATORS, PLAIN_ESTIMATORS, expected_failures
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import estimator_checks_generator


def _checks():
    with warnings.catch_warnings():
        # array API checks need an environment variable before SciPy is imported
        warnings.simplefilter("ignore", SkipTestWarning)
        for estimator in [*ESTIMATORS, *PLAIN_ESTIMATORS]:
            expected = expected_failures(estimator)
            label = "".join(repr(estimator).split())
            for checked, check in estimator_checks_generator(estimator):
                name = getattr(check, "func", check).__name__
                if name.startswith("check_array_api"):
                    continue
                marks = (
                    [pytest.mark.xfail(reason=expected[name], strict=True)]
                    if name in expected
                    else []
                )
                yield pytest.param(
                    checked, check, marks=marks, id=f"{label[:60]}-{name}"
                )


@pytest.mark.parametrize(("estimator", "check"), list(_checks()))
def test_estimator_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)
