"""Base of the alignments that read the predicted classes."""

import copy

from sktransfer.deep._alignment import Alignment

__all__ = ["ClassAlignment", "another_head", "check_classes"]


class ClassAlignment(Alignment):
    """An alignment that needs classes."""

    def build(self, sizes, net):
        """Refuse regression."""
        check_classes(self, sizes)
        self.n_classes = sizes.n_classes


def check_classes(alignment, sizes):
    """Refuse an alignment that needs classes in regression.

    Parameters
    ----------
    alignment : Alignment
        The alignment.
    sizes : Sizes
        What it is built with.

    Raises
    ------
    ValueError
        If there are no classes.
    """
    if not sizes.n_classes:
        raise ValueError(
            f"alignment={type(alignment).__name__} reads predicted classes: use it in "
            "a classifier."
        )


def another_head(head):
    """Return a head like another one, with initial weights of its own.

    Parameters
    ----------
    head : Module
        Head whose layers can be reset.

    Returns
    -------
    head : Module
        A copy, reset layer by layer.
    """
    other = copy.deepcopy(head)
    for layer in other.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return other
