"""Does every estimator obey the domain convention?"""

from instances import ESTIMATORS, expected_failures

from sktransfer.utils import parametrize_with_transfer_checks


@parametrize_with_transfer_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_estimator_keeps_the_transfer_contract(estimator, check):
    check(estimator)
