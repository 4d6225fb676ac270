"""A test of harm that holds at every stopping time."""

import math
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.betting import BETS, LARGEST_BET, ConstantBet

__all__ = ["SequentialHarmTest"]

_LARGEST_LOG = math.log(np.finfo(float).max)
#: differences of losses may leave the range by rounding
_SLACK = 1e-9


class SequentialHarmTest(BaseEstimator):
    r"""Test for harm by transfer, row by row, with a level that holds at any time.

    Label target rows one at a time, hand the losses of both models to :meth:`update`,
    and stop whenever you like: a test that looks after every row still raises a false
    alarm with probability `alpha` at most.

    Parameters
    ----------
    alpha : float in (0, 1), default=0.05
        Largest probability of a false alarm, however often one looks.
    alternative : {"harm", "benefit"}, default="harm"
        What a rejection shows. "harm": the hypothesis is that the transferred model
        has no larger expected loss than the model of the target alone, and a rejection
        says that it has, so that transfer hurts. "benefit": the hypothesis is that it
        has no smaller loss, and a rejection means that transfer helps. Not to reject
        shows neither. Two tests, one each way, have the level `alpha` each.
    loss_range : float in (0, inf), default=1.0
        Largest possible difference of the two losses of a row: 1 for losses in [0, 1],
        such as wrong or right and the Brier score of one probability, 2 for the Brier
        score summed over classes. Clip unbounded losses, such as the log loss or the
        squared error, to an interval of this length that is chosen before any label
        is seen. The test is then about the clipped losses.
    bet : {"agrapa", "newton"} or float in (0, 1/2], default="agrapa"
        How much of the capital is at stake in a row, from the rows before it.
        "agrapa": the mean difference over its second moment; "newton": an online
        Newton step; a number: always this share.

    Attributes
    ----------
    e_value_ : float
        Capital of the bets now, in [0, inf), 1 before the first row. Large values
        speak against the hypothesis.
    log_e_value_ : float
        Its natural logarithm, which does not overflow.
    p_value_ : float
        Anytime-valid p-value: one over the largest capital so far, in [0, 1].
    rejected_ : bool
        Whether the capital has reached ``1 / alpha`` at some row. It stays True.
    n_seen_ : int
        Number of rows so far.

    See Also
    --------
    negative_transfer_gap : The gap on a held-out set of a size fixed before.
    cross_val_ntg : The gap by cross-validation.

    Notes
    -----
    With :math:`d_s = (\ell^{transfer}_s - \ell^{target}_s) / r` in [-1, 1], :math:`r`
    the `loss_range` (of opposite sign for "benefit"), and bets :math:`\lambda_s` in
    [0, 1/2] that depend on the rows before s only,

    .. math:: e_t = \prod_{s \le t} (1 + \lambda_s d_s)

    is a supermartingale under the hypothesis
    :math:`E[d_s \mid d_1, \dots, d_{s-1}] \le 0`, so by Ville's inequality
    :math:`P(\sup_t e_t \ge 1/\alpha) \le \alpha` [1]_.

    The hypothesis is about *these* two models on rows that they have not seen: both
    are fitted before the label of row s is known. They may be fitted again to the rows
    before s (prequential testing); then the hypothesis is that none of the pairs of
    models had a positive expected difference. Held-out losses of cross-validation are
    not valid input, as each row serves to fit the models that judge the others. Rows
    come in an order that does not depend on their labels.

    References
    ----------
    .. [1] I. Waudby-Smith, A. Ramdas. Estimating means of bounded random variables by
       betting. Journal of the Royal Statistical Society B 86(1), 2024.
       :doi:`10.1093/jrsssb/qkad009`.
    .. [2] A. Cutkosky, F. Orabona. Black-box reductions for parameter-free online
       learning in Banach spaces. Conference on Learning Theory, 2018 ("newton").

    Examples
    --------
    The transferred model is wrong in every second row, the other one in every tenth.

    >>> import numpy as np
    >>> from sktransfer.metrics import SequentialHarmTest
    >>> test = SequentialHarmTest(alpha=0.05)
    >>> for row in range(100):
    ...     _ = test.update(row % 2 == 0, row % 10 == 0)
    ...     if test.rejected_:
    ...         break
    >>> test.n_seen_, test.e_value_ >= 20
    (23, True)
    """

    _parameter_constraints: dict[str, Any] = {
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "alternative": [StrOptions({"harm", "benefit"})],
        "loss_range": [Interval(Real, 0, None, closed="neither")],
        "bet": [StrOptions(set(BETS)), Interval(Real, 0, LARGEST_BET, closed="right")],
    }

    def __init__(
        self,
        alpha: Any = 0.05,
        *,
        alternative: str = "harm",
        loss_range: Any = 1.0,
        bet: Any = "agrapa",
    ) -> None:
        self.alpha = alpha
        self.alternative = alternative
        self.loss_range = loss_range
        self.bet = bet

    def update(self, loss_transfer: Any, loss_target: Any) -> Self:
        """Go on with the losses of further rows, in the order of their labels' arrival.

        Rows one by one or in parts give the same result.

        Parameters
        ----------
        loss_transfer : float or array-like of shape (n_rows,)
            Losses of the transferred model on new target rows.
        loss_target : float or array-like of shape (n_rows,)
            Losses of the model of the target alone on the same rows.

        Returns
        -------
        self : object
            The test itself.

        Raises
        ------
        ValueError
            If the losses are not finite numbers, are not pairs, or differ by more than
            `loss_range`; the test then stays as it was. Or if a parameter was changed
            after the first row.
        """
        self._validate_params()
        settings = (self.alpha, self.alternative, self.loss_range, self.bet)
        differences = self._differences(loss_transfer, loss_target)
        if not hasattr(self, "_bettor"):
            self._settings = settings
            chosen = BETS.get(self.bet) if isinstance(self.bet, str) else None
            self._bettor: Any = chosen() if chosen else ConstantBet(float(self.bet))
        elif settings != self._settings:
            raise ValueError(
                "The parameters of a SequentialHarmTest cannot change after its first "
                "row, as the level would not hold: clone the test to start another."
            )
        log_e, largest = self.log_e_value_, self._largest_log
        for d in differences:
            log_e += math.log1p(self._bettor.bet * d)
            largest = max(largest, log_e)
            self._bettor.see(d)
        self._log_e, self._largest = float(log_e), float(largest)
        self._n = self.n_seen_ + len(differences)
        return self

    def _differences(self, loss_transfer: Any, loss_target: Any) -> list[float]:
        """Return the differences in units of the range, signed for the alternative."""
        transfer = _losses(loss_transfer, "loss_transfer")
        target = _losses(loss_target, "loss_target")
        if transfer.shape != target.shape:
            raise ValueError(
                f"loss_transfer has shape {transfer.shape}, but loss_target has shape "
                f"{target.shape}: give the losses of both models on the same rows."
            )
        differences = (transfer - target) / self.loss_range
        worst = np.abs(differences).max(initial=0.0)
        if worst > 1 + _SLACK:
            raise ValueError(
                f"loss_transfer and loss_target differ by {worst * self.loss_range:g} "
                f"> loss_range={self.loss_range:g}. Set loss_range to the length of an "
                "interval that holds all losses; clip unbounded losses to one, chosen "
                "before the labels are seen."
            )
        sign = 1.0 if self.alternative == "harm" else -1.0
        return (sign * np.clip(differences, -1.0, 1.0)).tolist()

    @property
    def n_seen_(self) -> int:
        """Number of rows so far."""
        return getattr(self, "_n", 0)

    @property
    def log_e_value_(self) -> float:
        """Natural logarithm of the capital."""
        return getattr(self, "_log_e", 0.0)

    @property
    def _largest_log(self) -> float:
        return getattr(self, "_largest", 0.0)

    @property
    def e_value_(self) -> float:
        """Capital of the bets now; the largest float where it would overflow."""
        return math.exp(min(self.log_e_value_, _LARGEST_LOG))

    @property
    def p_value_(self) -> float:
        """Anytime-valid p-value."""
        return math.exp(-self._largest_log)

    @property
    def rejected_(self) -> bool:
        """Whether the capital has reached ``1 / alpha`` at some row."""
        return self._largest_log >= -math.log(self.alpha)


def _losses(losses: Any, name: str) -> NDArray[Any]:
    """Return finite losses, shape (n_rows,)."""
    values = np.asarray(losses)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers, got dtype {values.dtype}.")
    if values.ndim > 1:
        raise ValueError(
            f"{name} must be a number or have shape (n_rows,), got shape "
            f"{values.shape}: reduce the loss of a row to one number."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} must hold finite numbers; clip an infinite loss to an interval of "
            "the length loss_range, and leave rows without a label out."
        )
    return np.atleast_1d(values.astype(np.float64))
