"""Where the domains look alike: common feature spaces."""

from sktransfer.feature._sstca import SSTCA
from sktransfer.feature._tca import TCA

__all__ = ["SSTCA", "TCA"]
