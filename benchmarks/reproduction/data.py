"""The data sets of the reproduction, read by path."""

from functools import cache

import numpy as np
from scipy.ndimage import zoom
from sklearn.preprocessing import normalize

from sktransfer.datasets import stack_domains
from sktransfer.datasets._digits import perturb_image

WHITE = 16.0  # of the images, as in scikit-learn's digits


@cache
def digits16(folder):
    """MNIST, USPS and Semeion as images of 16 x 16 pixels between 0 and 16."""
    file = np.load(folder / "digits_raw.npz")
    mnist = file["mnist_X"][:3000].reshape(-1, 28, 28)[:, 4:24, 4:24].astype(float)
    mnist = zoom(mnist, (1, 0.8, 0.8), order=1).reshape(-1, 256)
    images = {"mnist": mnist, "usps": file["usps_X"], "semeion": file["semeion_X"]}
    labels = {name: file[f"{name}_y"][: len(X)] for name, X in images.items()}
    return {
        name: (WHITE * X.astype(float) / X.max(), labels[name].astype(int))
        for name, X in images.items()
    }


@cache
def office_features(folder):
    """Deep features of the images of Amazon, DSLR and webcam, rows of norm 1."""
    file = np.load(folder / "office10_awd_googlenet1024.npz")
    X, y = normalize(file["X"].astype(float)), file["y"].astype(int)
    return {
        str(name): (X[file["domain"] == k], y[file["domain"] == k])
        for k, name in enumerate(file["domain_names"])
    }


def perturb_images(X, rng):
    """Turn, mirror and sprinkle each image, as for scikit-learn's digits."""
    side = round(X.shape[1] ** 0.5)
    return np.array([perturb_image(row.reshape(side, side), rng).ravel() for row in X])


def perturb_features(X, rng):
    """Shuffle a random half of the features of each row."""
    X = X.copy()
    for row in X:
        chosen = rng.permutation(len(row))[: len(row) // 2]
        row[chosen] = row[rng.permutation(chosen)]
    return X


def perturbed_pair(source, target, eps_x, eps_y, share, max_per_class, perturb, seed):
    """Stack a corrupted source and the target's training half; return test rows too.

    The protocol of ``load_perturbed_digits`` for any two domains.
    """
    rng = np.random.RandomState(seed)
    X, y = source[0].copy(), source[1].copy()
    rows = rng.uniform(size=len(y)) < eps_x
    if rows.any():
        X[rows] = perturb(X[rows], rng)
    rows = rng.uniform(size=len(y)) < eps_y
    y[rows] = rng.choice(np.unique(y), size=rows.sum())
    order = rng.permutation(len(target[1]))
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    X_train, y_train = target[0][train], target[1][train]
    labeled = np.zeros(len(train), dtype=bool)
    for label in np.unique(y_train):
        same = np.flatnonzero(y_train == label)
        wanted = min(max(1, round(share * len(same))), max_per_class or len(same))
        labeled[same[: wanted if share > 0 else 0]] = True
    data = stack_domains(
        {"source": (X, y)}, (X_train[labeled], y_train[labeled]), X_train[~labeled]
    )
    return data, target[0][test], target[1][test]


def sample(domain, size, rng):
    """Return at most ``size`` random rows of a domain."""
    rows = rng.permutation(len(domain[1]))[:size]
    return domain[0][rows], domain[1][rows]
