r"""Means of labeled rows, sharpened by what is known of all rows.

With :math:`\psi_i` on n labeled rows and guesses :math:`\varphi` on these and on N
others (PPI++, Angelopoulos, Duchi, Zrnic 2023):

.. math:: \hat\theta = \bar\psi - \lambda'(\bar\varphi_{lab} - \bar\varphi_{unl}),
    \qquad \lambda = \frac{\mathrm{Var}(\varphi)^{+} \mathrm{Cov}(\varphi, \psi)}
    {1 + n / N}
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


#: leverage of a row beyond which all count alike
_MOST_LEVERAGE = 0.9


class Sharpened(NamedTuple):
    """A sharpened mean, less the mean of the labeled rows.

    Attributes
    ----------
    power : ndarray of shape (n_guesses,)
        Weights of the guesses.
    variance : float
        Variance of the sharpened mean.
    """

    power: Array
    variance: float


def control_variates(
    values: Array,
    guesses: Array,
    others: Array,
    power: Array | None,
    *,
    pooled: bool = True,
) -> Sharpened:
    """Return weights of the guesses and the variance that they leave.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Values of the labeled rows.
    guesses : ndarray of shape (n, n_guesses)
        Their guesses.
    others : ndarray of shape (n_others, n_guesses)
        Guesses of the other rows.
    power : ndarray of shape (n_guesses,) or None
        Weights; None: those of the least variance.
    pooled : bool, default=True
        Whether the variance of the guesses in the weights is that of all rows, or that
        of the labeled rows alone. Then what the weights leave of a row is that of the
        row left out, as products of features and errors have heavy tails.

    Returns
    -------
    sharpened : Sharpened
        The weights and the variance.
    """
    n, N, K = len(values), len(others), guesses.shape[1]
    centered = values - values.mean()
    variables = guesses - guesses.mean(axis=0)
    rest = others - others.mean(axis=0)
    free, hidden = n - 1, np.zeros(n)
    if power is None:
        everything = variables
        if pooled:
            everything = np.vstack([guesses, others])
            everything = everything - everything.mean(axis=0)
        moment = variables.T @ centered / n
        spread = everything.T @ everything / len(everything)
        scale = np.sqrt(np.diagonal(spread))
        scale = np.where(scale > 0, scale, 1.0)
        inverse = np.linalg.pinv(spread / scale / scale[:, None], rcond=1e-9)
        power = inverse @ (moment / scale) / scale / (1 + n / N)
        if pooled:
            free -= K
        else:  # a row that draws the weights to itself hides what they leave of it
            own = variables / scale
            leverage = np.sum(own @ inverse * own, axis=1) / (n + n * n / N)
            hidden = np.minimum(leverage, _MOST_LEVERAGE)
    left = (centered - variables @ power) / (1 - hidden)
    variance = float(left @ left) / (n * free)
    known = rest @ power
    variance += float(known @ known) / (N * max(N - 1, 1))
    return Sharpened(power, variance)
