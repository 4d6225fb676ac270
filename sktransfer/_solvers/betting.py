"""Predictable bets against the hypothesis that bounded variables have no mean > 0.

A bet on the next variable is a function of the variables before it. Variables are
floats, or arrays of shape (n_streams,) for many independent streams at once.
"""

import math
from typing import Any

import numpy as np

__all__ = ["BETS", "LARGEST_BET", "ConstantBet", "NewtonBet", "VarianceBet"]

#: a bet of at most 1/2 keeps every factor 1 + bet * d, d in [-1, 1], at 1/2 or more
LARGEST_BET = 0.5


class ConstantBet:
    """The same bet in every round.

    Parameters
    ----------
    bet : float in (0, 1/2]
        The bet.
    """

    def __init__(self, bet: float) -> None:
        self.bet = bet

    def see(self, d: Any) -> None:
        """Take note of a variable."""


class VarianceBet:
    r"""Approximate growth-rate-adaptive bet (aGRAPA): mean over second moment.

    The mean and the variance start from one pseudo-variable of mean 0 and variance 1.

    Attributes
    ----------
    bet : float
        Bet on the next variable, in [0, 1/2].
    """

    def __init__(self) -> None:
        self.bet: Any = 0.0
        self._n = 1
        self._sum: Any = 0.0
        self._squares: Any = 1.0

    def see(self, d: Any) -> None:
        """Take note of a variable."""
        self._n += 1
        self._sum += d
        mean = self._sum / self._n
        self._squares += (d - mean) ** 2
        second_moment = self._squares / self._n + mean**2
        self.bet = np.clip(mean / second_moment, 0.0, LARGEST_BET)


class NewtonBet:
    r"""Online Newton step on the logarithm of the capital.

    Attributes
    ----------
    bet : float
        Bet on the next variable, in [0, 1/2].
    """

    #: 1 / gamma of bets in [-1/2, 1/2]
    _STEP = 2 / (2 - math.log(3))

    def __init__(self) -> None:
        self.bet: Any = 0.0
        self._curvature: Any = 1.0

    def see(self, d: Any) -> None:
        """Take note of a variable."""
        slope = d / (1 + self.bet * d)
        self._curvature += slope**2
        step = self._STEP * slope / self._curvature
        self.bet = np.clip(self.bet + step, 0.0, LARGEST_BET)


BETS = {"agrapa": VarianceBet, "newton": NewtonBet}
