r"""
Scores of segmentation models: pixels near edges
================================================

After this page you will know how to score segmentation models on the pixels that
matter.

A segmentation model classifies pixels, and one image has as many rows as it has
pixels. Most of them lie inside of an area, where models hardly differ; a score of all
of them is slow. Y. Tan, Y. Li and S.-L. Huang score source models by OTCE on pixels
near the edges of the areas. Here that is a function of ten lines, and the scores are
those of any table.
"""

import argparse
from time import process_time

import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from sktransfer.metrics import h_score, logme

parser = argparse.ArgumentParser()
parser.add_argument("--draws", type=int, default=6, help="number of images")
args, _ = parser.parse_known_args()
SIZE, WIDTH, N_PIXELS = 96, 3, 300


# %%
# Images and models
# -----------------
# Areas of three kinds with noise. The "source models" are filters of different width:
# narrow ones keep the noise, wide ones blur the edges.
def image(seed):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 7)
    label = np.digitize(field, np.quantile(field, [0.4, 0.7]))
    return label + 0.9 * rng.normal(size=label.shape), label


def features(picture, width):
    """Return the features of each pixel: means and slopes at one scale."""
    smooth = ndimage.gaussian_filter(picture, width)
    slopes = [
        ndimage.gaussian_filter(picture, width, order) for order in [(0, 1), (1, 0)]
    ]
    return np.stack([smooth, *slopes], axis=-1)


# %%
# Pixels near edges
# -----------------
# A pixel is near an edge if there is another class within some pixels of it. As many of
# these are drawn from each class.
def pixels_near_edges(label, width, n_pixels, rng):
    """Return the positions of drawn pixels near edges, shape (n, 2)."""
    size = 2 * width + 1
    near = ndimage.maximum_filter(label, size) != ndimage.minimum_filter(label, size)
    classes = np.unique(label[near])
    drawn = []
    for c in classes:
        place = np.argwhere(near & (label == c))
        drawn.append(rng.permutation(place)[: n_pixels // len(classes)])
    return np.concatenate(drawn)


# %%
# Scores of all pixels, and of pixels near edges
# ----------------------------------------------
# What the scores are to predict is the accuracy of a probe near the edges of further
# images.
widths = [0.3, 0.7, 1.0, 1.5, 2.0, 3.0, 4.5, 6.0]
rng = np.random.default_rng(0)
train = [image(seed) for seed in range(args.draws)]
test = [image(100 + seed) for seed in range(2)]


def rows(pictures, width, pick):
    parts = []
    for (picture, label), place in zip(pictures, pick, strict=True):
        at = tuple(place.T)
        parts.append((features(picture, width)[at], label[at]))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


near = [pixels_near_edges(label, WIDTH, N_PIXELS, rng) for _, label in train]
every = [np.argwhere(np.ones_like(label)) for _, label in train]
judged = [pixels_near_edges(label, WIDTH, 1500, rng) for _, label in test]
table, seconds = {"probe": []}, {}
for width in widths:
    probe = LogisticRegression().fit(*rows(train, width, near))
    table["probe"].append(probe.score(*rows(test, width, judged)))
for name, pick in {"all pixels": every, "near edges": near}.items():
    start = process_time()
    table[f"H-score, {name}"] = [h_score(*rows(train, w, pick)) for w in widths]
    table[f"LogME, {name}"] = [logme(*rows(train, w, pick)) for w in widths]
    seconds[name] = process_time() - start

# %%
# A sample of pixels near edges ranks the models about as the probe does, for a part of
# the time.
figure, axes = plt.subplots(1, len(table), figsize=(14, 3), layout="constrained")
for ax, (name, values) in zip(axes, table.items(), strict=True):
    rank = spearmanr(values, table["probe"]).statistic
    best = widths[int(np.argmax(values))]
    print(f"{name}: best width {best}, rank correlation with the probe {rank:.2f}")
    ax.plot(widths, values, "o-")
    ax.set(title=name, xlabel="width of the filter")
print({name: f"{value:.2f} s" for name, value in seconds.items()})
plt.show()
