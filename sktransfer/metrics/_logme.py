"""Log maximum evidence of a linear model on features."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from sktransfer._compat import StrOptions, validate_params
from sktransfer.metrics._checks import encode_labels, infer_task, to_unit_range

# the ratio alpha / beta is searched between these multiples of the largest squared
# singular value of the features
_SMALLEST_RATIO, _LARGEST_RATIO = 1e-12, 1e12
_STEP = 0.5
_GOLDEN = (np.sqrt(5) - 1) / 2


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "task": [StrOptions({"auto", "classification", "regression"})],
    },
    prefer_skip_nested_validation=True,
)
def logme(features: Any, y: Any, *, task: str = "auto") -> float:
    r"""Compute the log maximum evidence of a Bayesian linear model on features.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the source model for labeled target rows. The model has no
        intercept: append a constant column for one.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Target classes of any kind, or target values.
    task : {"auto", "classification", "regression"}, default="auto"
        "auto" takes floats with a fractional part and several columns as values, text
        and truth values as classes. Whole numbers are classes if few of them are
        distinct; whole floats are values if more than half are distinct; else it is
        an error that asks. Ratings and small counts need "regression".
        ``logme_scorer`` and ``rank_sources`` ask the estimator instead.

    Returns
    -------
    score : float
        Log evidence per row, averaged over classes (one against the rest, coded 1 and
        0) or outputs; higher is better. It may be positive, as a density.

    Raises
    ------
    ValueError
        If an output is 0 for every row, which leaves the evidence without a maximum,
        or if "auto" cannot tell classes from values.

    See Also
    --------
    h_score : Class separation relative to redundancy.

    Notes
    -----
    The model is :math:`y | w \sim N(F w, \beta^{-1} I)`, :math:`w \sim N(0,
    \alpha^{-1} I)`. With :math:`A = \alpha I + \beta F^\top F` and
    :math:`m = \beta A^{-1} F^\top y` the log evidence is

    .. math:: \frac n2 \log\beta + \frac D2 \log\alpha - \frac n2 \log 2\pi
       - \frac\beta2 \lVert F m - y \rVert^2 - \frac\alpha2 m^\top m
       - \frac12 \log\det A,

    exact for :math:`n < D` too. In the singular vectors of :math:`F`, with squared
    singular values :math:`\sigma_i`, squared coordinates :math:`z_i^2` of :math:`y`,
    and :math:`r^2` the part of :math:`\lVert y \rVert^2` outside of them, it depends
    on the ratio :math:`t = \alpha/\beta` alone once :math:`\beta = n / Q(t)` is
    maximized out:

    .. math:: -\frac n2 \Big[\log\frac{2 \pi Q(t)}{n} + 1\Big]
       - \frac12 \sum_i \log(1 + \sigma_i / t), \qquad
       Q(t) = r^2 + \sum_i \frac{t \, z_i^2}{t + \sigma_i}.

    This is maximized over a grid of :math:`\log t`, then to full precision by golden
    section search: the global maximum, where fixed-point iterations stop early or
    depend on their start. The score does not change when the features are multiplied
    by a number or rotated. Features that reproduce an output exactly have unbounded
    evidence; there :math:`t` stops at :math:`10^{-12} \max_i \sigma_i`.

    References
    ----------
    .. [1] You et al., "LogME: Practical assessment of pre-trained models for transfer
       learning", ICML (2021), :arxiv:`2102.11005`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import logme
    >>> y = np.repeat(["cat", "dog"], 20)
    >>> noise = np.random.RandomState(0).normal(size=(40, 2))
    >>> logme(noise + 3 * (y == "dog")[:, None], y) > logme(noise, y)
    True
    """
    features = check_array(features, dtype=np.float64, input_name="features")
    outputs = _outputs(y, len(features), task)
    evidence, _ = max_log_evidence(to_unit_range(features), outputs)
    return float(np.mean(evidence) / len(features))


def _outputs(y: Any, n_samples: int, task: str) -> NDArray[Any]:
    """Return the outputs of the linear model, one column each."""
    if task == "auto":
        task = infer_task(y, argument="task='classification' or task='regression'")
    if task == "classification":
        classes, codes = encode_labels(y, n_samples, declared=True)
        return (codes[:, None] == np.arange(len(classes))).astype(np.float64)
    values = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
    values = values.reshape(len(values), -1)
    if len(values) != n_samples:
        raise ValueError(f"y has {len(values)} rows for {n_samples} rows of features.")
    empty = np.flatnonzero(~values.any(axis=0))
    if len(empty):
        raise ValueError(
            f"Output {empty[0]} of y is 0 for every row: the evidence has no maximum."
        )
    return values


def max_log_evidence(
    features: Any, outputs: Any
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Maximize the log evidence of every output over both precisions.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Features.
    outputs : ndarray of shape (n_samples, n_outputs)
        Outputs, none of them all zero.

    Returns
    -------
    evidence : ndarray of shape (n_outputs,)
        The maxima.
    info : dict
        ``alpha`` and ``beta`` of shape (n_outputs,); alpha is infinite where the best
        model ignores the features.
    """
    n_samples = len(features)
    values, squares = _spectrum(features, outputs)
    total = np.sum(outputs**2, axis=0)
    rest = total - squares.sum(axis=0)
    # beyond the features' span is only what rounding leaves
    rest[rest < 1e-12 * total] = 0.0
    if len(values) >= n_samples:
        rest[:] = 0.0

    def evidence(log_ratio: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Evaluate at one ratio per output, or at a column of ratios for all."""
        ratio = np.exp(log_ratio)
        if ratio.ndim == 2:
            shrink = ratio / (ratio + values)
            quadratic = rest + shrink @ squares
            logs = np.log1p(values / ratio).sum(axis=1, keepdims=True)
        else:
            shrink = ratio / (ratio + values[:, None])
            quadratic = rest + np.sum(shrink * squares, axis=0)
            logs = np.log1p(values[:, None] / ratio).sum(axis=0)
        return _profile(quadratic, n_samples) - logs / 2, quadratic

    without, quadratic = _profile(total, n_samples), total
    if not len(values):
        return without, _precisions(np.inf, n_samples / quadratic)
    bounds = np.log(values.max() * np.array([_SMALLEST_RATIO, _LARGEST_RATIO]))
    grid = np.arange(bounds[0], bounds[1] + _STEP, _STEP)
    start = grid[np.argmax(evidence(grid[:, None])[0], axis=0)]
    best = _golden_section(lambda t: evidence(t)[0], start, bounds[0])
    value, quadratic = evidence(best)
    ignored = without > value
    beta = n_samples / np.where(ignored, total, quadratic)
    alpha = np.where(ignored, np.inf, np.exp(best) * beta)
    return np.where(ignored, without, value), _precisions(alpha, beta)


def _profile(quadratic: NDArray[Any], n_samples: int) -> NDArray[Any]:
    return -n_samples / 2 * (np.log(2 * np.pi * quadratic / n_samples) + 1)


def _precisions(alpha: Any, beta: NDArray[Any]) -> dict[str, Any]:
    return {"alpha": np.broadcast_to(alpha, beta.shape), "beta": beta}


def _spectrum(
    features: NDArray[Any], outputs: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return squared singular values and the outputs' squared coordinates."""
    n_samples, n_features = features.shape
    wide = n_samples < n_features
    gram = features @ features.T if wide else features.T @ features
    values, vectors = np.linalg.eigh(gram)
    tolerance = max(values[-1], 0) * max(n_samples, n_features) * np.finfo(float).eps
    kept = values > tolerance
    values, vectors = values[kept], vectors[:, kept]
    if wide:
        return values, (vectors.T @ outputs) ** 2
    return values, (vectors.T @ (features.T @ outputs)) ** 2 / values[:, None]


def _golden_section(
    function: Callable[..., Any], center: NDArray[Any], lowest: float, n_iter: int = 42
) -> NDArray[Any]:
    """Maximize one function per output within one grid step of ``center``."""
    low, high = np.maximum(center - _STEP, lowest), center + _STEP
    left = high - _GOLDEN * (high - low)
    right = low + _GOLDEN * (high - low)
    value_left, value_right = function(left), function(right)
    for _ in range(n_iter):
        to_left = value_left > value_right
        low, high = np.where(to_left, low, left), np.where(to_left, right, high)
        new = np.where(
            to_left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        )
        value_new = function(new)
        left, right = np.where(to_left, new, right), np.where(to_left, left, new)
        value_left, value_right = (
            np.where(to_left, value_new, value_right),
            np.where(to_left, value_left, value_new),
        )
    return (low + high) / 2
