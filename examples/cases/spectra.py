r"""
Spectra: a new instrument and ten samples on both
=================================================

After this page you will know how to carry a calibration over to a new instrument.

A calibration of the old spectrometer is carried over: ten samples that were measured on
both tell how the new one sees what the old one saw. :download:`spectra.csv
<../../../examples/cases/spectra.csv>` has 40 channels of either.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline

from sktransfer.baselines import Pooled
from sktransfer.datasets import from_frame
from sktransfer.feature import PiecewiseDirectStandardization
from sktransfer.safe import TransferGuard

file = Path(sys.argv[0]).with_name("spectra.csv")  # or in this folder
table = pd.read_csv(file if file.exists() else file.name)
truth, pair = table.pop("truth").to_numpy(), {"sample_pair": "sample"}
data = from_frame(table, label="fat", domain="instrument", target="new", **pair)
pipe = make_pipeline(PiecewiseDirectStandardization(), Pooled(PLSRegression(4)))
guard = TransferGuard(pipe, target_estimator=PLSRegression(2), cv=4)
print("pairs:", guard.fit(data.X, data.y, **data.metadata).transfer_[0].n_pairs_)

# %%
# The true values are known here.
new, errors = np.isnan(data.y), {}
fits = {"guarded": guard, "new instrument alone": guard.target_only_}
for name, fit in fits.items():
    errors[name] = np.sqrt(np.mean((fit.predict(data.X) - truth)[new] ** 2))
    print(f"{name}: root mean squared error {errors[name]:.2f} of a range of 16")

# %%
# Decision
# --------
# Keep the old calibration. Ten samples on both instruments carry it over, and the guard
# gives it nearly all of the weight. Eight laboratory values alone leave ten times the
# error. They are too few to prove harm or help by an interval, which still contains 0,
# but harm is improbable.
print("gap:", guard.ntg_interval_.round(2), "weight of transfer:", guard.weights_[1])
print(f"probability that the old instrument hurts: {guard.harm_probability_:.2f}")
assert guard.ntg_interval_[0] < 0 < guard.ntg_interval_[1]
assert guard.weights_[1] > 0.9 and guard.harm_probability_ < 0.15
assert errors["guarded"] < 1
assert errors["new instrument alone"] > 10 * errors["guarded"]
for (name, fit), marker in zip(fits.items(), "o^", strict=True):
    plt.plot(truth[new], fit.predict(data.X)[new], marker, alpha=0.6, label=name)
plt.axline((10, 10), slope=1, color="gray")
plt.xlabel("true fat content")
plt.ylabel("predicted")
plt.legend()
plt.show()
