"""Base of the alignments that read the predicted classes."""

import copy

from sktransfer.deep._alignment import Alignment

__all__ = ["ClassAlignment", "another_head"]


class ClassAlignment(Alignment):
    """An alignment that needs classes."""

    def build(self, sizes, net):
        """Refuse regression."""
        if not sizes.n_classes:
            raise ValueError(
                f"alignment={type(self).__name__} reads predicted classes: use it in a "
                "classifier."
            )
        self.n_classes = sizes.n_classes


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
