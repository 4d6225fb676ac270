r"""
Schools: does a new school need tests of its own?
=================================================

After this page you will know how other domains, each in turn as the target, answer what
a few labels cannot.

Scores in mathematics of 160 schools, drawn after the table Hsb82
(:ref:`how <sphx_glr_auto_examples_cases_make_tables.py>`). In a new school, S160, ten
students were tested, and the scores of the others are to be predicted.
:download:`schools.csv <../../../examples/cases/schools.csv>` is the table.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import Ridge

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import from_frame
from sktransfer.model_selection import cross_val_unseen_domain
from sktransfer.safe import TransferGuard

file = Path(sys.argv[0]).with_name("schools.csv")  # or in this folder
table = pd.read_csv(file if file.exists() else file.name)
truth, sector = table.pop("truth").to_numpy(), table.pop("sector")
table["catholic"] = sector == "Catholic"
data = from_frame(table, label="math", domain="school", target="S160")
guard = TransferGuard(Pooled(Ridge())).fit(data.X, data.y, **data.metadata)
print("share of transfer by ten tests alone:", guard.weights_[1])
print(f"probability that the other schools hurt: {guard.harm_probability_:.2f}")

# %%
# Ten tests do not decide, so the guard stays with them. The other schools show more:
# each of the large ones plays the new school in turn, with 0, 5, 10 and 20 tests.
ids, sizes = np.unique(data.sample_domain, return_counts=True)
large = {"domains": ids[(ids > 0) & (sizes >= 40)], "scoring": "neg_mean_squared_error"}
tests, errors = [0, 5, 10, 20], {}
for name, model, first in (
    ("all other schools", Pooled(Ridge()), 0),
    ("the school alone", TargetOnly(Ridge()), 1),  # cannot begin without a test
):
    curve = cross_val_unseen_domain(
        model, data.X, data.y, **data.metadata, **large, n_calibration=tests[first:]
    )
    errors[name] = -curve.scores
    print(f"{name}, {tests[first:]} tests: mean squared error {-curve.mean.round(1)}")
    plt.errorbar(
        tests[first:],
        -curve.mean,
        yerr=np.abs(curve.interval.T - curve.mean),
        marker="os"[first],
        capsize=4,
        label=name,
    )
plt.xticks(tests)
plt.xlabel("tested students of the new school")
plt.ylabel("mean squared error, 95 % interval")
plt.title(f"{len(large['domains'])} schools, each in turn the new one")
plt.legend()
plt.show()

# %%
# Decision
# --------
# Predict from all other schools, by ordinary pooling, and test nobody for this purpose.
# On average that is better than five or ten tests of the school alone; with twenty the
# two cannot be told apart. This is what holds for schools like these, not for each one;
# in S160 the true expected scores confirm it. The same lines on the real table Hsb82 of
# the R package mlmRev led to the same decision.
without = errors["all other schools"][:, 0]
for k, alone in zip(tests[1:], errors["the school alone"].T, strict=True):
    loss = alone - without
    interval = stats.t.interval(0.95, len(loss) - 1, loss.mean(), stats.sem(loss))
    print(f"{k} tests alone lose {loss.mean():.1f}, interval {np.round(interval, 1)}")
    assert (interval[0] > 0) == (k <= 10) and interval[1] > 0
new, off = np.isnan(data.y), {}
for name, model in (("pooled", guard.transfer_), ("S160 alone", guard.target_only_)):
    off[name] = np.abs(model.predict(data.X)[new] - truth[new]).mean()
    print(f"{name}: mean error of the expected score {off[name]:.1f} points")
assert off["pooled"] < off["S160 alone"] / 2 and not guard.transferred_
