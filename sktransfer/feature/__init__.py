"""Where the domains look alike: common feature spaces."""

from sktransfer.feature._tca import TCA

__all__ = ["TCA"]
