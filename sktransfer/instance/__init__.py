"""Which source rows count: reweighting of instances."""

from sktransfer.instance._kmm import KMM, kmm_weights

__all__ = ["KMM", "kmm_weights"]
