"""Real digits under the perturbation protocol for negative transfer."""

from numbers import Integral, Real

import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch, check_random_state

from sktransfer._compat import Interval, validate_params
from sktransfer.datasets._stack import stack_domains

__all__ = ["load_perturbed_digits"]

_WHITE, _SIDE, _N_CLASSES = 16.0, 8, 10
_SALT_PEPPER_SHARE = 0.2


@validate_params(
    {
        "eps_x": [Interval(Real, 0, 1, closed="both")],
        "eps_y": [Interval(Real, 0, 1, closed="both")],
        "labeled_fraction": [Interval(Real, 0, 1, closed="both")],
        "max_per_class": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def load_perturbed_digits(
    eps_x=0.7,
    eps_y=0.7,
    labeled_fraction=0.1,
    *,
    max_per_class=None,
    random_state=None,
):
    r"""Load real digits with a source that is corrupted on purpose.

    scikit-learn's bundled handwritten digits are split at random into a source and a
    target. Then source rows are corrupted: how often sets how far the source is from
    the target, and so whether transfer helps or hurts.

    Parameters
    ----------
    eps_x : float in [0, 1], default=0.7
        Probability that the image of a source row is perturbed.
    eps_y : float in [0, 1], default=0.7
        Probability that the label of a source row is replaced by a random class,
        which is the true one in a tenth of the cases.
    labeled_fraction : float in [0, 1], default=0.1
        Share of the target's training half that keeps its labels, of each class
        alike and at least one row per class; 0 leaves the target unlabeled.
    max_per_class : int >= 1 or None, default=None
        Largest number of labeled target rows per class. None: no limit.
    random_state : int, RandomState instance or None, default=None
        Seed of the split and of the corruption.

    Returns
    -------
    data : Bunch
        ``X``, ``y``, ``sample_domain``, ``domain_names`` as of
        :func:`sktransfer.datasets.stack_domains`, with half of the 1797 digits as the
        source and a quarter as the target's training half, and

        X_test, y_test : ndarray of shape (450, 64), (450,)
            The target's test half.
        y_true : ndarray of shape (n_samples,)
            True labels of all rows of ``X``.
        input_perturbed : ndarray of bool of shape (n_samples,)
            Rows whose image was perturbed.
        label_randomized : ndarray of bool of shape (n_samples,)
            Rows whose label was drawn at random.

    See Also
    --------
    sktransfer.datasets.make_concept_shift : Simulated rules that move.

    Notes
    -----
    The protocol is that of [1]_. The two corruptions are independent Bernoulli draws
    per source row. A perturbed image is turned by an angle uniform in
    :math:`[-180, 180)` degrees, mirrored left to right and top to bottom with
    probability 1/2 each, and gets salt and pepper (white or black) on 20 % of its
    pixels; the paper leaves these sizes open. Without corruption source and target
    are two random halves of the same data.

    References
    ----------
    .. [1] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, :arxiv:`1811.09751`.

    Examples
    --------
    >>> from sktransfer.datasets import load_perturbed_digits
    >>> data = load_perturbed_digits(eps_x=0.5, eps_y=0.0, random_state=0)
    >>> data.X.shape, data.X_test.shape
    ((1347, 64), (450, 64))
    >>> bool((data.y == data.y_true)[data.sample_domain > 0].all())
    True
    """
    rng = check_random_state(random_state)
    X_source, X_rest, y_source, y_rest = _halves(*_digits(), rng)
    X_train, X_test, y_train, y_test = _halves(X_rest, y_rest, rng)
    perturbed = rng.uniform(size=len(y_source)) < eps_x
    randomized = rng.uniform(size=len(y_source)) < eps_y
    X_source[perturbed] = _perturb(X_source[perturbed], rng)
    noisy = y_source.copy()
    noisy[randomized] = rng.randint(_N_CLASSES, size=randomized.sum())
    labeled = labeled_rows(y_train, labeled_fraction, max_per_class, rng)
    stacked = stack_domains(
        {"perturbed digits": (X_source, noisy)},
        target=(X_train[labeled], y_train[labeled]) if labeled.any() else None,
        unlabeled=X_train[~labeled] if not labeled.all() else None,
    )
    no_target = np.zeros(len(y_train), dtype=bool)
    return Bunch(
        **stacked,
        X_test=X_test,
        y_test=y_test,
        y_true=np.r_[y_source, y_train[labeled], y_train[~labeled]],
        input_perturbed=np.r_[perturbed, no_target],
        label_randomized=np.r_[randomized, no_target],
    )


def _digits():
    return load_digits(return_X_y=True)


def _halves(X, y, rng):
    return train_test_split(X, y, test_size=0.5, stratify=y, random_state=rng)


def labeled_rows(y, fraction, max_per_class, rng):
    """Mask of the rows that keep their labels, the same share of each class."""
    labeled = np.zeros(len(y), dtype=bool)
    if fraction == 0:
        return labeled
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        n_rows = max(1, round(fraction * len(rows)))
        n_rows = min(n_rows, max_per_class or n_rows)
        labeled[rng.choice(rows, size=n_rows, replace=False)] = True
    return labeled


def _perturb(X, rng):
    """Turn, mirror, and sprinkle each image."""
    return np.array(
        [perturb_image(row.reshape(_SIDE, _SIDE), rng).ravel() for row in X]
    ).reshape(X.shape)


def perturb_image(image, rng, white=_WHITE):
    """Turn, mirror and sprinkle one image whose white pixels have value ``white``."""
    image = rotate(image, rng.uniform(-180.0, 180.0), reshape=False, order=1)
    for axis in (0, 1):
        if rng.uniform() < 0.5:
            image = np.flip(image, axis=axis)
    sprinkled = rng.uniform(size=image.shape) < _SALT_PEPPER_SHARE
    salt = np.where(rng.uniform(size=image.shape) < 0.5, white, 0.0)
    return np.where(sprinkled, salt, image)
