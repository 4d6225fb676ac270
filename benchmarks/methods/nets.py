"""Nets of one hidden layer with 300 steps each; they need the extra "deep"."""

from importlib.util import find_spec

from benchmarks.board.registry import method

BUDGET = {"max_steps": 300, "random_state": 0}


def _net(name):
    """Return a class of the nets, imported when it is used."""
    import sktransfer.deep

    return getattr(sktransfer.deep, name)


#: name -> class for classes, class for reals (None: it has none), parameters
NETS = {
    "SourceOnlyNet": ("SourceOnlyNet", "SourceOnlyNetRegressor", {}),
    "pooled net": ("TransferNetClassifier", "TransferNetRegressor", {}),
    "DANN": ("DANN", "DANNRegressor", {}),
    "DANN, gate": ("DANN", "DANNRegressor", {"gate": True}),
    "DAN": ("DAN", "DANRegressor", {}),
    "DeepCORAL": ("DeepCORAL", "DeepCORALRegressor", {}),
    "ADDA": ("ADDA", None, {}),
    "PADA": ("PADA", None, {}),
    "GTA": ("GTA", None, {}),
    "UOWQNet": ("UOWQNet", None, {}),
    "OTCEFineTuning": ("OTCEFineTuning", None, {}),
}

if find_spec("skorch"):

    @method("alone, net", family="nets", kind="alone", tier="slow")
    def alone(problem):
        """Train on the labeled target rows."""
        kind = "Regressor" if problem.regression else ""
        return _net(f"TargetOnlyNet{kind}")(**BUDGET)

    for name, (of_classes, of_reals, options) in NETS.items():
        tasks = "both" if of_reals else "classification"

        @method(name, family="nets", tasks=tasks, tier="slow")
        def net(problem, names=(of_classes, of_reals), options=options):
            """Train on all rows."""
            return _net(names[problem.regression])(**BUDGET, **options)
