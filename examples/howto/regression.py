r"""
Regression: few rows of one group, many of another
==================================================

After this page you will know how to compare ways of transferring a regression, and how
many target labels make the sources superfluous.

You want to predict the progress of diabetes for one sex and have 20 patients of it,
and 235 of the other sex. Do the others help? And until when?
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.datasets import from_frame
from sktransfer.hypothesis import PositiveTransferRidge, SecureRLS
from sktransfer.inspection import LearningCurveTransferDisplay, NegativeTransferDisplay
from sktransfer.metrics import cross_val_ntg

# scikit-learn's own switch: sample_domain reaches every step of a pipeline
sklearn.set_config(enable_metadata_routing=True)

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with california_housing.npz")
args, _ = parser.parse_known_args()
N_LABELS = 20


# %%
# The data
# --------
# One table, one column that names the domain of each row: ``from_frame`` turns it into
# ``X``, ``y`` and ``sample_domain``. Sources get positive ids, the target gets -1.
# With ``--data`` the table is that of California's houses, and a region is a domain.
def read_table():
    if args.data is None:
        table = load_diabetes(as_frame=True, scaled=False).frame
        table["domain"] = table.pop("sex").map({1.0: "one sex", 2.0: "the other sex"})
        return table, "the other sex"
    file = np.load(args.data / "california_housing.npz")
    table = pd.DataFrame(file["X"]).add_prefix("feature_")
    table["target"] = file["y"].astype(float)
    table["domain"] = file["domain_names"][file["domain"]]
    table = table.sample(frac=1, random_state=0).groupby("domain").head(600)
    return table, "south_east"


table, target = read_table()
data = from_frame(table, domain="domain", target=target, label="target")
print(pd.Series(data.sample_domain).map(data.domain_names).value_counts().to_string())

# %%
# Keep 20 target rows to learn from; the others are for the test.
rng = np.random.default_rng(0)
test = rng.permutation(np.flatnonzero(data.sample_domain < 0))[N_LABELS:]
rows = np.setdiff1d(np.arange(len(data.y)), test)
X, y, sample_domain = data.X.iloc[rows], data.y[rows], data.sample_domain[rows]
X_test, y_test = data.X.iloc[test], data.y[test]


# %%
# Do the sources help?
# --------------------
# The *negative transfer gap* of a method is its error with the sources minus its error
# without them: above zero the sources hurt. Cross-validation on 20 rows rarely settles
# its sign. The test rows do, and usually one does not have them.
def pipeline(model):
    return make_pipeline(StandardScaler(), model)


methods = {
    "source only": pipeline(SourceOnly(Ridge())),
    "pooled": pipeline(Pooled(Ridge())),
    "secure RLS": pipeline(SecureRLS(Ridge())),
    "prior from the source": pipeline(PositiveTransferRidge()),
}
alone = pipeline(TargetOnly(Ridge())).fit(X, y, sample_domain=sample_domain)
predictions = {}
print("Gaps in squared error, cross-validated on the labels at hand")
for name, method in methods.items():
    gap = cross_val_ntg(
        method,
        X,
        y,
        sample_domain=sample_domain,
        scoring="neg_mean_squared_error",
        random_state=0,
    )
    low, high = gap.interval
    print(f"{name:22s} {np.mean(gap.gaps):9.3g} [{low:9.3g}, {high:9.3g}]")
    predictions[name] = method.fit(X, y, sample_domain=sample_domain).predict(X_test)

display = NegativeTransferDisplay.from_predictions(
    y_test, predictions, alone.predict(X_test)
)
print("Gaps in squared error on the test rows")
for row in display.frame().itertuples():
    verdict = "helps" if row.high < 0 else "hurts" if row.low > 0 else "cannot tell"
    print(f"{row.method:22s} {row.ntg:9.3g} [{row.low:9.3g}, {row.high:9.3g}]  "
          f"{verdict}")  # fmt: skip

# %%
# Until when?
# -----------
# One draw of 20 rows may be luck. The learning curve draws often, and shows that the
# more rows of one's own there are, the less others are worth.
curve = LearningCurveTransferDisplay.from_estimator(
    methods["pooled"],
    data.X,
    data.y,
    sample_domain=data.sample_domain,
    n_labels=[10, 20, 40, 80, 130],
    n_splits=15,
    scoring="neg_root_mean_squared_error",
)
if curve.break_even is None:
    print("Pooling still pays with", curve.n_labels[-1], "labeled target rows.")
else:
    print("Pooling no longer pays from", curve.break_even, "labeled target rows on.")
plt.show()
