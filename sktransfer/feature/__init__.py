"""Where the domains look alike: common feature spaces, and transport between them."""

from sktransfer.feature._augmentation import FeatureAugmentation
from sktransfer.feature._cdls import CDLS
from sktransfer.feature._coral import CORAL
from sktransfer.feature._dipls import DomainInvariantPLS
from sktransfer.feature._dual_transfer import DualTransfer
from sktransfer.feature._geodesic_flow import GeodesicFlowKernel
from sktransfer.feature._hhtl import HHTL
from sktransfer.feature._jda import JDA
from sktransfer.feature._label_transport import JCPOT, JDOT, OTLabelPropagation
from sktransfer.feature._low_rank_sparse import LowRankSparseTransfer
from sktransfer.feature._mmd_linear_map import MMDLinearMap
from sktransfer.feature._mmd_selection import FeatureMMDSelection
from sktransfer.feature._sstca import SSTCA
from sktransfer.feature._standardization import (
    DirectStandardization,
    PiecewiseDirectStandardization,
)
from sktransfer.feature._subspace_alignment import SubspaceAlignment
from sktransfer.feature._tca import TCA
from sktransfer.feature._tjm import TJM
from sktransfer.feature._transport_map import LinearTransportMap, OptimalTransportMap
from sktransfer.feature._tsl import TSL
from sktransfer.feature._tti import TTI

__all__ = [
    "CDLS",
    "CORAL",
    "DirectStandardization",
    "DomainInvariantPLS",
    "DualTransfer",
    "FeatureAugmentation",
    "FeatureMMDSelection",
    "GeodesicFlowKernel",
    "HHTL",
    "JCPOT",
    "JDA",
    "JDOT",
    "LinearTransportMap",
    "LowRankSparseTransfer",
    "MMDLinearMap",
    "OTLabelPropagation",
    "OptimalTransportMap",
    "PiecewiseDirectStandardization",
    "SSTCA",
    "SubspaceAlignment",
    "TCA",
    "TJM",
    "TSL",
    "TTI",
]
