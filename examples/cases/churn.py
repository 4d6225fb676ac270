r"""
Churn: 25 labels, three countries
=================================

After this page you will know how to get from a table of customers to a decision about
each of two countries as a source.

Who will leave in Germany, where few answers are in? The table (:download:`churn.csv
<../../../examples/cases/churn.csv>`) has text, dates with years of two digits and
missing values: the encoder reads them. The guard decides how far France and the United
States are used for Germany. The running number of the customer is dropped; the encoder
would leave it out with a warning.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from sktransfer.datasets import from_frame
from sktransfer.safe import make_transfer_pipeline

file = Path(sys.argv[0]).with_name("churn.csv")  # or in this folder
table = pd.read_csv(file if file.exists() else file.name).drop(columns="customer")
truth = table.pop("truth").to_numpy()
data = from_frame(table, label="churn", domain="country", target="DE")
model = make_transfer_pipeline(LogisticRegression(), method="guard")
model.fit(data.X, data.y, **data.metadata)
print("gap:", model.ntg_interval_.round(2), "weight of transfer:", model.weights_[1])

# %%
# The true probabilities are known here.
new, errors = pd.isna(data.y), {}
for name, fit in (("guarded", model), ("Germany alone", model.target_only_)):
    answer = fit.predict_proba(data.X)[new, 0]
    errors[name] = np.abs(answer - truth[new]).mean()
    print(f"{name}: mean error of the probability {errors[name]:.3f}")

# %%
# Decision
# --------
# Transfer a little, and from France. The German labels lean toward transfer without
# proving it: the interval of the gap contains 0, and the guard stays near the fit on
# Germany alone. Fitted with one country at a time, it uses France and leaves out the
# United States, where age works the other way round. With France alone its
# probabilities are the nearest to the true ones. More German labels would settle the
# rest.
for country in ("US", "FR"):
    pair = table["country"].isin([country, "DE"])
    data = from_frame(table[pair], label="churn", domain="country", target="DE")
    model.fit(data.X, data.y, **data.metadata)
    answer = model.predict_proba(table[new])[:, 0]
    errors[country] = np.abs(answer - truth[new]).mean()
    print(
        f"{country}: weight {model.weights_[1]:.2f}, "
        f"probability of harm {model.harm_probability_:.2f}, "
        f"mean error {errors[country]:.3f}"
    )
    assert model.ntg_interval_[0] < 0 < model.ntg_interval_[1]
    assert model.transferred_ == (country == "FR")
assert errors["FR"] < errors["guarded"] < errors["Germany alone"]
for name, fit in (("with France", model), ("Germany alone", model.target_only_)):
    answer = fit.predict_proba(table[new])[:, 0]
    plt.plot(truth[new], answer, "^o"[fit is model], alpha=0.6, label=name)
plt.axline((0, 0), slope=1, color="gray")
plt.xlabel("true probability of leaving")
plt.ylabel("predicted")
plt.legend()
plt.show()
