r"""
Counts and exposure: few motorcycles, many cars
===============================================

After this page you will know how to price a thin segment with the claims of larger
ones.

Claims with the years at risk (:download:`claims.csv
<../../../examples/cases/claims.csv>`). The 90 motorcycles with a known count are too
few to estimate rates well. Cars and vans depend on age and region in nearly the same
way. As vehicles are known to be related, the guard starts without the suspicion that
they are not (``atom=0``).
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import PoissonRegressor

from sktransfer.datasets import from_frame
from sktransfer.safe import make_transfer_pipeline

file = Path(sys.argv[0]).with_name("claims.csv")  # or in this folder
table = pd.read_csv(file if file.exists() else file.name)
truth = table.pop("truth").to_numpy()
columns = {"label": "claims", "domain": "vehicle", "exposure": "years"}
data = from_frame(table, target="motorcycle", **columns)
model = make_transfer_pipeline(PoissonRegressor(alpha=0.01), method="guard", atom=0)
model.fit(data.X, data.y, **data.metadata)
print("gap in deviance:", model.ntg_interval_.round(3), "weights:", model.weights_)

# %%
# The true rates are known here.
new, errors = np.isnan(data.y), {}
fits = {"guarded": model, "motorcycles alone": model.target_only_}
for name, fit in fits.items():
    errors[name] = np.abs(np.log(fit.predict(data.X) / truth)[new]).mean()
    print(f"{name}: mean error of the log rate {errors[name]:.3f}")
assert errors["guarded"] < 0.26

# %%
# Decision
# --------
# Price motorcycles by the guarded model, which takes two fifths of its rates from the
# fit with all vehicles. The sources more likely help than hurt; the interval of the gap
# still contains 0, so this rests on vehicles being related, too. Without that
# (the default ``atom``) the guard would stay with motorcycles alone, whose rates are
# farther from the true ones.
print(f"probability that cars and vans hurt: {model.harm_probability_:.2f}")
assert model.ntg_interval_[0] < 0 < model.ntg_interval_[1]
assert model.harm_probability_ < 0.25 and abs(model.weights_[1] - 0.4) < 0.05
assert errors["guarded"] < 0.8 * errors["motorcycles alone"]
careful = make_transfer_pipeline(PoissonRegressor(alpha=0.01), method="guard")
assert not careful.fit(data.X, data.y, **data.metadata).transferred_
for (name, fit), marker in zip(fits.items(), "o^", strict=True):
    plt.loglog(truth[new], fit.predict(data.X)[new], marker, alpha=0.6, label=name)
plt.axline((0.1, 0.1), (1, 1), color="gray")
plt.xlabel("true rate of claims")
plt.ylabel("predicted")
plt.legend()
plt.show()
