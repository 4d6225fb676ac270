"""Losses of single rows, from any criterion of torch."""

import copy
import inspect

from torch import nn

__all__ = ["RowLoss", "make_criterion"]


class RowLoss(nn.Module):
    """Loss of each row.

    Parameters
    ----------
    criterion : Module
        Maps outputs and labels to a loss for each row.
    one_output : bool
        Whether outputs have one column, which is handed on as a vector.
    """

    def __init__(self, criterion, one_output):
        super().__init__()
        self.criterion, self.one_output = criterion, one_output

    def forward(self, outputs, y):
        """Return the losses, shape (n,)."""
        losses = self.criterion(outputs.squeeze(1) if self.one_output else outputs, y)
        if losses.ndim == 0 or len(losses) != len(y):
            raise ValueError(
                f"criterion={self.criterion!r} must return a loss for each row, but it "
                f"returns shape {tuple(losses.shape)} for {len(y)} rows: give it "
                "reduction='none'."
            )
        return losses if losses.ndim == 1 else losses.flatten(1).mean(1)


def make_criterion(criterion, params, default, one_output):
    """Make the loss of each row.

    Parameters
    ----------
    criterion : Module, class, callable or None
        What the user gave; None: ``default``.
    params : dict
        Arguments of a class or function.
    default : class
        Criterion of torch.
    one_output : bool
        Whether outputs have one column.

    Returns
    -------
    criterion : RowLoss
        Loss without a mean over rows, where the criterion can do without.
    """
    if isinstance(criterion, nn.Module):
        if params:
            raise ValueError(
                f"criterion is an instance, so criterion__{next(iter(params))} has no "
                "effect; give the class and its arguments."
            )
        made = copy.deepcopy(criterion)
        if hasattr(made, "reduction"):
            made.reduction = "none"
        return RowLoss(made, one_output)
    maker = default if criterion is None else criterion
    if "reduction" in inspect.signature(maker).parameters:
        params = {**params, "reduction": "none"}
    made = maker(**params)
    if not isinstance(made, nn.Module):
        raise TypeError(f"criterion={criterion!r} does not make a torch module.")
    return RowLoss(made, one_output)
