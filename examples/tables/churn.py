r"""
Churn: 25 labels, three countries
=================================

Text, dates with years of two digits and missing values: the encoder reads them. The
guard decides how far France and the United States are used for Germany. The running
number of the customer is dropped; the encoder would leave it out with a warning.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from sktransfer.datasets import from_frame
from sktransfer.safe import make_transfer_pipeline

table = pd.read_csv(sys.argv[0].replace("churn.py", "churn.csv")).drop(
    columns="customer"
)
truth = table.pop("truth").to_numpy()
data = from_frame(table, label="churn", domain="country", target="DE")
model = make_transfer_pipeline(LogisticRegression(), method="guard")
model.fit(data.X, data.y, **data.metadata)

# %%
# The true probabilities are known here.
new = pd.isna(data.y)
for name, fit in (("guarded", model), ("target alone", model.target_only_)):
    answer = fit.predict_proba(data.X)[new, 0]
    error = np.abs(answer - truth[new]).mean()
    print(f"{name}: mean error of the probability {error:.3f}")
    plt.plot(truth[new], answer, ".")
    assert fit is not model or error < 0.15
plt.show()
