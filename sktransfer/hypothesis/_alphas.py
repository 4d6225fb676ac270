"""One strength of a penalty, or candidates for it."""

import numpy as np


def candidate_alphas(alpha, alphas, *, free, default, finite):
    """Return the strengths to choose among, descending; one where it is fixed.

    Parameters
    ----------
    alpha : float or str
        The parameter of this name.
    alphas : array-like or None
        Candidates.
    free : float or str
        Default of `alpha`, beside which `alphas` may be given.
    default : array-like
        Candidates where `alphas` is None.
    finite : bool
        Whether infinity is refused.

    Returns
    -------
    ndarray of shape (n_alphas,)
        The strengths.

    Raises
    ------
    ValueError
        If both are given, or a candidate is not positive.
    """
    if alphas is None:
        return np.unique(np.asarray(default, dtype=np.float64))[::-1]
    if alpha != free:
        raise ValueError(
            f"alpha={alpha!r} is one strength and alphas={alphas!r} are candidates: "
            f"give one of them, and leave the other at its default (alpha={free!r}, "
            "alphas=None)."
        )
    found = np.unique(np.asarray(alphas, dtype=np.float64).ravel())[::-1]
    good = found > 0
    if finite:
        good &= np.isfinite(found)
    if not len(found) or not good.all():
        kind = "positive finite numbers" if finite else "positive numbers or infinity"
        raise ValueError(f"alphas must hold {kind}, got {alphas!r}.")
    return found
