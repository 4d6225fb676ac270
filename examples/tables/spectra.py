r"""
Spectra: a new instrument and ten samples on both
=================================================

A calibration of the old spectrometer is carried over: ten samples that were measured on
both tell how the new one sees what the old one saw.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline

from sktransfer.baselines import Pooled
from sktransfer.datasets import from_frame
from sktransfer.feature import PiecewiseDirectStandardization
from sktransfer.safe import TransferGuard

table = pd.read_csv(sys.argv[0].replace("spectra.py", "spectra.csv"))
truth, pair = table.pop("truth").to_numpy(), {"sample_pair": "sample"}
data = from_frame(table, label="fat", domain="instrument", target="new", **pair)
pipe = make_pipeline(PiecewiseDirectStandardization(), Pooled(PLSRegression(4)))
guard = TransferGuard(pipe, target_estimator=PLSRegression(2), cv=4)
print("pairs:", guard.fit(data.X, data.y, **data.metadata).transfer_[0].n_pairs_)

# %%
# The true values are known here.
new = np.isnan(data.y)
for name, fit in (("guarded", guard), ("new instrument alone", guard.target_only_)):
    answer = fit.predict(data.X)[new]
    error = np.sqrt(np.mean((answer - truth[new]) ** 2))
    print(f"{name}: root mean squared error {error:.2f} of a range of 16")
    plt.plot(truth[new], answer, ".")
    assert fit is not guard or error < 1
plt.show()
