r"""
Sites: a hospital that was not there before
===========================================

Scanners with scales of their own, three visits of each patient, and a new hospital.
What is a model worth at a site left out, and at the new one, where ten patients have a
diagnosis? Whole patients are held out throughout.
"""

import sys

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer.baselines import Pooled
from sktransfer.datasets import from_frame
from sktransfer.model_selection import cross_val_unseen_domain
from sktransfer.preprocessing import DomainScaler
from sktransfer.safe import TransferGuard

table = pd.read_csv(sys.argv[0].replace("sites.py", "sites.csv"))
truth, columns = table.pop("truth").to_numpy(), {"domain": "site", "groups": "patient"}
data = from_frame(table, label="state", target="Lyon", **columns)
pipe = make_pipeline(DomainScaler(), Pooled(LogisticRegression()))
known = {**data.metadata, "n_calibration": [0, 6, 15]}
curve = cross_val_unseen_domain(pipe, data.X, data.y, **known)
print("accuracy at a site left out:", curve.mean.round(3))

# %%
# The true states are known here.
guard = TransferGuard(pipe, cv=5).fit(data.X, data.y, **data.metadata)
for name, fit in (("guarded", guard), ("target alone", guard.target_only_)):
    right = (fit.predict(data.X) == truth)[pd.isna(data.y)].mean()
    print(f"{name}: share of right answers in Lyon {right:.3f}")
    assert fit is not guard or right > 0.8
plt.plot(curve.n_calibration, curve.scores.T, "o-")
plt.show()
