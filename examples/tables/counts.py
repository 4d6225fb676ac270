r"""
Counts and exposure: few motorcycles, many cars
===============================================

Claims with the years at risk. Of the 90 motorcycles with a known count alone, rates
cannot be told well; cars and vans have nearly the same dependence on age and region. As
vehicles are known to be related, the guard starts without the suspicion that they are
not (``atom=0``).
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import PoissonRegressor

from sktransfer.datasets import from_frame
from sktransfer.safe import make_transfer_pipeline

table = pd.read_csv(sys.argv[0].replace("counts.py", "claims.csv"))
truth = table.pop("truth").to_numpy()
columns = {"label": "claims", "domain": "vehicle", "exposure": "years"}
data = from_frame(table, target="motorcycle", **columns)
model = make_transfer_pipeline(PoissonRegressor(alpha=0.01), method="guard", atom=0)
model.fit(data.X, data.y, **data.metadata)
print("gap in deviance:", model.ntg_interval_.round(3), "weights:", model.weights_)

# %%
# The true rates are known here.
new = np.isnan(data.y)
for name, fit in (("guarded", model), ("target alone", model.target_only_)):
    rate = fit.predict(data.X)[new]
    error = np.abs(np.log(rate / truth[new])).mean()
    print(f"{name}: mean error of the log rate {error:.3f}")
    plt.loglog(truth[new], rate, ".")
    assert fit is not model or error < 0.26
plt.show()
