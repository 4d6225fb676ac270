r"""
Activity: a new person, and six others
======================================

After this page you will know how to choose among persons as sources, and how sure the
choice is with few labels.

Does Noa rest, walk, or take the stairs? A phone's accelerometer and gyroscope give
thirteen numbers of every window of 2.6 seconds (:download:`activity.csv
<../../../examples/cases/activity.csv>`). Six others have labels for all of their
windows, Noa for two bouts of each activity. People walk in their own way, and some
carry the phone elsewhere. Windows of one bout are alike, so whole bouts are held out.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled
from sktransfer.datasets import from_frame
from sktransfer.metrics import rank_sources
from sktransfer.safe import TransferGuard

file = Path(sys.argv[0]).with_name("activity.csv")  # or in this folder
table = pd.read_csv(file if file.exists() else file.name)
truth = table.pop("truth").to_numpy()
data = from_frame(table, label="activity", domain="person", target="Noa", groups="bout")
learner = make_pipeline(StandardScaler(), LogisticRegression())
options = {"scoring": "neg_log_loss", "n_sources": 3, "random_state": 0}
ranks = rank_sources(
    Pooled(learner), data.X, data.y, **data.metadata, scores=["ntg"], **options
)
ranks = pd.DataFrame(ranks).sort_values("rank")
ranks["person"] = ranks["source"].map(data.domain_names)
print(ranks[["person", "value", "low", "high", "selected"]].round(2).to_string())

# %%
# The better half of the people, and all of them, behind a guard. The true activities of
# Noa's other windows are known here.
new = (data.sample_domain < 0) & pd.isna(data.y)
right, guards = {}, {}
for name, ids in (
    ("the better half", ranks["source"][ranks["selected"]]),
    ("all six", ranks["source"]),
):
    rows = np.isin(data.sample_domain, [-1, *ids])
    known = {key: values[rows] for key, values in data.metadata.items()}
    guard = TransferGuard(Pooled(learner), random_state=0)
    guards[name] = guard.fit(data.X[rows], data.y[rows], **known)
    right[name] = (guard.predict(data.X) == truth)[new].mean()
    print(
        f"{name}: {right[name]:.3f} right, weight of transfer {guard.weights_[1]:.2f}"
    )
    print(f"probability that they hurt: {guard.harm_probability_:.3f}")
right["Noa alone"] = (guard.target_only_.predict(data.X) == truth)[new].mean()
print(f"Noa alone: {right['Noa alone']:.3f} right")

# %%
# Decision
# --------
# Transfer from Ada, Ben and Cem, by pooling behind the guard. They carry the phone as
# Noa does; Dora and Emil have it at the belt, and Fred, who is last, has a log that is
# one bout late. No single gap is certain: eight labeled bouts leave intervals that
# contain 0, so it is the order that tells whom to take. About the three together the
# labels are clearer, with a probability of harm of less than a twentieth. Their model
# is right more often than that of all six, and far more often than that of Noa's own
# windows.
best = guards["the better half"]
assert list(ranks["person"][:3]) == ["Ben", "Ada", "Cem"]
assert ranks["person"].iloc[-1] == "Fred" and (ranks["high"] > 0).all()
assert best.harm_probability_ < 0.05 and best.weights_[1] > 0.8
assert right["the better half"] > right["all six"] > right["Noa alone"] + 0.1
figure, (left, bars) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for (_, row), place in zip(ranks.iterrows(), range(6, 0, -1), strict=True):
    style = "oC0" if row["selected"] else "sC1"
    left.plot([row["low"], row["high"]], [place, place], style[1:], linewidth=1)
    left.plot(row["value"], place, style[0], color=style[1:])
left.axvline(0, color="gray", linewidth=1)
left.set(yticks=range(6, 0, -1), yticklabels=ranks["person"])
left.set(
    title="each person's data added to Noa's", xlabel="gap in log loss (> 0: hurts)"
)
bars.barh(list(right), list(right.values()), color=["C0", "C1", "gray"])
bars.invert_yaxis()
bars.set(title="Noa's other windows", xlabel="share of right answers", xlim=(0, 1))
plt.show()
