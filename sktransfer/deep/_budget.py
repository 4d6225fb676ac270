"""How long a net trains: a number of steps, cut into epochs."""

from typing import NamedTuple

__all__ = ["Budget", "epoch_size_of", "find_budget"]

#: steps of a training of which neither epochs nor steps are given, at least
DEFAULT_STEPS = 1000
#: passes over the samples that such a training makes, at least
DEFAULT_PASSES = 10
#: epochs into which a number of steps is cut
_EPOCHS = 50


class Budget(NamedTuple):
    """Length of a training.

    Parameters
    ----------
    n_steps : int
        Steps of the optimizer in all.
    epoch_steps : int
        Steps of an epoch; the last one may be shorter.
    """

    n_steps: int
    epoch_steps: int

    @property
    def n_epochs(self):
        """Number of epochs."""
        return -(-self.n_steps // self.epoch_steps)


def epoch_size_of(data):
    """Return the number of samples of the largest kind: source or target.

    Parameters
    ----------
    data : DomainData
        The samples that a net is given, whichever of them it uses.

    Returns
    -------
    epoch_size : int
        Samples that make an epoch.
    """
    return max(data.n_source, data.n_target)


def find_budget(epoch_size, batch_size, *, max_epochs=None, max_steps=None):
    """Return how long to train.

    Parameters
    ----------
    epoch_size : int in [0, inf)
        Samples of a pass.
    batch_size : int in [1, inf)
        Samples of a batch.
    max_epochs : int in [1, inf), default=None
        Passes over the samples.
    max_steps : int in [1, inf), default=None
        Steps. None for both: 1000 steps or 10 passes, whichever is more.

    Returns
    -------
    budget : Budget
        At least one step; epochs of ``max_epochs`` are passes, those of a number of
        steps are a pass or a fiftieth of all steps, whichever is more.

    Raises
    ------
    ValueError
        If both are given.
    """
    one_pass = max(1, -(-epoch_size // batch_size))
    if max_epochs is not None:
        if max_steps is not None:
            raise ValueError(
                f"max_epochs={max_epochs} and max_steps={max_steps} both say how long "
                "to train; set one of them to None."
            )
        return Budget(max_epochs * one_pass, one_pass)
    n_steps = max_steps or max(DEFAULT_STEPS, DEFAULT_PASSES * one_pass)
    return Budget(n_steps, min(n_steps, max(one_pass, -(-n_steps // _EPOCHS))))
