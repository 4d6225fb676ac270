r"""
The discriminator gate: nets that ignore bad source rows
========================================================

After this page you will know when the discriminator gate finds bad source samples, and
how much it gains.

Z. Wang, Z. Dai, B. Póczos and J. Carbonell, "Characterizing and avoiding negative
transfer", CVPR 2019, train a discriminator of domains on pairs of features and labels
and weigh each source row by its odds. Rows that look like no target row, or whose label
fits none, then hardly count. They find that the gate improves six deep methods and
largely avoids negative transfer (tables 1 and 2), and that it separates corrupted
source rows from clean ones (figure 4).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn

from sktransfer.base import without_sources
from sktransfer.datasets import load_perturbed_digits, stack_domains
from sktransfer.deep import DANN, DeepCORAL
from sktransfer.inspection import NegativeTransferDisplay, SampleWeightDisplay

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with digits_mnist_usps_256.npz")
parser.add_argument("--eps", type=float, default=0.7, help="corrupted share")
args, _ = parser.parse_known_args()


# %%
# The data
# --------
# Seven of ten source images are turned, mirrored and sprinkled, and seven of ten source
# labels are random. A third of the target's training half is labeled. With ``--data``
# the source is MNIST with random labels, and the target is USPS.
def read():
    if args.data is None:
        return load_perturbed_digits(args.eps, args.eps, 0.3, random_state=0)
    file = np.load(args.data / "digits_mnist_usps_256.npz")
    X, y = file["X"].astype(float), file["y"].astype(int)
    rng = np.random.default_rng(0)
    usps = file["domain_names"][file["domain"]] == "usps"
    random = rng.uniform(size=len(y)) < args.eps
    noisy = np.where(random, rng.integers(10, size=len(y)), y)
    labeled, hidden, test = np.split(rng.permutation(np.flatnonzero(usps)), [270, 900])
    data = stack_domains({"mnist": (X[~usps], noisy[~usps])},
                         (X[labeled], y[labeled]), X[hidden])  # fmt: skip
    is_target = np.zeros(len(labeled) + len(hidden), dtype=bool)
    flags = np.concatenate([random[~usps], is_target])
    return sklearn.utils.Bunch(
        **data, X_test=X[test], y_test=y[test], label_randomized=flags
    )


data = read()
is_target = data.sample_domain < 0

# %%
# With and without the gate
# -------------------------
# Each net is fitted with the source and without it: then labeled target rows play the
# source. The difference of both errors is the negative transfer gap. A gated net of the
# library averages its predictions with those of a net of the target alone and of one
# without gate; the paper's is ``agreement=False, ensemble=False``.
nets = {"DANN": DANN(max_epochs=30, random_state=0),
        "Deep CORAL": DeepCORAL(max_epochs=30, random_state=0)}  # fmt: skip
figure, axes = plt.subplots(1, 2, figsize=(11, 2.8), layout="constrained")
for ax, (name, net) in zip(axes, nets.items(), strict=True):
    alone = without_sources(net).fit(
        data.X[is_target],
        data.y[is_target],
        sample_domain=data.sample_domain[is_target],
    )
    predictions = {}
    for label, gate in ((name, False), (f"{name} with gate", True)):
        net.set_params(gate=gate).fit(data.X, data.y, sample_domain=data.sample_domain)
        predictions[label] = net.predict(data.X_test)
    NegativeTransferDisplay.from_predictions(
        data.y_test, predictions, alone.predict(data.X_test), ax=ax
    )
    base = alone.score(data.X_test, data.y_test)
    print(f"{name}: accuracy on the target alone {base:.3f}")
    for label, predicted in predictions.items():
        found = np.mean(predicted == data.y_test)
        print(f"  {label:21s} {found:.3f}, negative transfer gap {base - found:+.3f}")

# %%
# What the gate sees
# ------------------
# Weights of the source rows at the end, by what is known of their labels.
gated = nets["DANN"]
random = data.label_randomized[~is_target]
SampleWeightDisplay.from_estimator(
    gated, flag=random, flag_names={False: "true label", True: "random label"}
)
weights = gated.sample_weight_
print(f"mean weight: true label {weights[~random].mean():.2f}, "
      f"random label {weights[random].mean():.2f}")  # fmt: skip
if "input_perturbed" in data:
    turned = data.input_perturbed[~is_target]
    for name, rows in (("clean image and true label", ~turned & ~random),
                       ("perturbed image, true label", turned & ~random)):  # fmt: skip
        print(f"mean weight: {name} {weights[rows].mean():.2f}")
plt.show()
