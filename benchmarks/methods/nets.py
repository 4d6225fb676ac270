"""Every net of the extra "deep", with one hidden layer and 300 steps each."""

from importlib.util import find_spec
from inspect import signature

from sklearn.base import BaseEstimator

from benchmarks.board.registry import method

BUDGET = {"max_steps": 300, "random_state": 0}
#: the gate of the paper: the discriminator alone
PUBLISHED = {"gate": True, "agreement": False, "ensemble": False}
#: two feature spaces, with pairs of rows or without
TWO_SPACES = {"DATN", "WSDTN"}
NAMES = {"TransferNet": "pooled net", "TargetOnlyNet": "alone, net"}


def _pairs():
    """Return name -> class for classes and for reals; None where there is none."""
    from sktransfer import deep

    found = {}
    for name in deep.__all__:
        cls = getattr(deep, name)
        if isinstance(cls, type) and issubclass(cls, BaseEstimator):
            stem = name.removesuffix("Regressor").removesuffix("Classifier")
            pair = found.setdefault(stem, [None, None])
            pair[name.endswith("Regressor")] = cls
    return {stem: pair for stem, pair in found.items() if stem not in TWO_SPACES}


if find_spec("skorch"):
    for stem, pair in _pairs().items():
        which = "both" if all(pair) else "classification" if pair[0] else "regression"
        kind = "alone" if stem == "TargetOnlyNet" else "transfer"

        @method(
            NAMES.get(stem, stem), family="nets", kind=kind, tasks=which, tier="slow"
        )
        def net(problem, pair=pair):
            """Train on the rows that the net uses."""
            cls = pair[problem.regression]
            asks = signature(cls).parameters.get("estimator")
            if asks is None:
                return cls(**BUDGET)
            return cls(_pairs()["SourceOnlyNet"][0](**BUDGET), **BUDGET)

        if stem == "DANN":

            @method("DANN, gate", family="nets", tier="slow")
            def gated(problem, pair=pair):
                """Average the gated net, that of the target and one without gate."""
                return pair[problem.regression](gate=True, **BUDGET)

            @method("DANN, published gate", family="nets", tier="slow")
            def published(problem, pair=pair):
                """Weigh the source rows by the discriminator alone."""
                return pair[problem.regression](**PUBLISHED, match="both", **BUDGET)
