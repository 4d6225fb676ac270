"""skada and adapt with their defaults and the common linear learner.

They run in an environment of their own (``board/peers.py``). skada uses no labels of
the target: its methods see the same rows, the target's without labels. adapt's take one
source, so all sources are one.
"""

from benchmarks.board.peers import PeerClassifier, PeerRegressor
from benchmarks.board.registry import method

#: package -> name in the server -> what it is for
PEERS = {
    "skada": {
        "CORAL": "both", "SubspaceAlignment": "both", "TransferComponentAnalysis":
        "both", "KMMReweight": "both", "DensityReweight": "both",
        "GaussianReweight": "both", "DiscriminatorReweight": "both",
        "NearestNeighborReweight": "both", "KLIEPReweight": "both",
        "OTMapping": "both", "EntropicOTMapping": "both", "LinearOTMapping": "both",
        "MultiLinearMongeAlignment": "both", "OTLabelProp": "classification",
        "JCPOTLabelProp": "classification",
    },
    "adapt": {
        "KMM": "both", "KLIEP": "both", "ULSIF": "both", "RULSIF": "both",
        "NearestNeighborsWeighting": "both", "BalancedWeighting": "both",
        "IWC": "both", "LDM": "regression", "CORAL": "both", "SA": "both", "FA": "both",
        "PRED": "both", "LinInt": "both", "TrAdaBoost": "classification",
        "TrAdaBoostR2": "regression", "RegularTransferLR": "regression",
        "RegularTransferLC": "classification",
    },
}  # fmt: skip

for package, names in PEERS.items():
    for name, tasks in names.items():

        @method(f"{package}: {name}", kind="peer", tasks=tasks, tier="peers")
        def peer(problem, package=package, name=name):
            """Fit the package's method."""
            learner = PeerRegressor if problem.regression else PeerClassifier
            return learner(package, name)
