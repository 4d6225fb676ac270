r"""
Five sites that may not share rows
==================================

After this page you will know how to learn from sites that keep their samples and send a
summary instead.

Five sites keep their rows. Each runs one line, :func:`~sktransfer.multisource.\
summarize_source`, in a process of its own, and what crosses to the target is a
:class:`~sktransfer.multisource.SourceSummary`: coefficients, their information and the
number of rows. For least squares the result is that of all rows in one place.
"""

import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed
from sklearn.linear_model import Ridge

from sktransfer.baselines import TargetOnly
from sktransfer.hypothesis import PositiveTransferRidge
from sktransfer.multisource import (
    ARMUL,
    UOWQ,
    EmpiricalBayesRidge,
    SourceSummarizer,
    summarize_source,
)

SLOPE = np.array([2.0, -1.0, 0.5, 0.0, 0.0, 1.0])
learner = Ridge(1.0)


# %%
# What runs at a site
# -------------------
# The rows of a site are made here; in practice they are read from its own files. A site
# with more rows than memory reads them in chunks, and the summary is the same. The
# last site measures something else.
def rows_of(site):
    rng = np.random.default_rng(site)
    X = rng.normal(size=(200, 6))
    slope = SLOPE + (4.0 * np.roll(SLOPE, 1) if site == 4 else 0.1 * rng.normal(size=6))
    return X, X @ slope + rng.normal(size=200)


def at_the_site(site):
    X, y = rows_of(site)
    summarizer = SourceSummarizer(learner)
    for start in range(0, len(X), 50):
        part = slice(start, start + 50)
        summarizer.partial_fit(X[part], y[part])
    return summarizer.summary_


# %%
# Only summaries cross
# --------------------
summaries = Parallel(n_jobs=5)(delayed(at_the_site)(site) for site in range(5))
print(summaries[0], "of", summaries[0].information.size, "numbers")

# %%
# What runs at the target
# -----------------------
rng = np.random.default_rng(10)
X, X_test = rng.normal(size=(12, 6)), rng.normal(size=(2000, 6))
y = X @ SLOPE + rng.normal(size=12)
truth = X_test @ SLOPE
models = {
    "target alone": TargetOnly(learner),
    "UOWQ": UOWQ(learner, source_summaries=summaries),
    "empirical Bayes": EmpiricalBayesRidge(summaries),
    "positive transfer": PositiveTransferRidge(0.1, source_summaries=summaries),
    "ARMUL": ARMUL(summaries),
}
errors = {
    name: np.mean((model.fit(X, y).predict(X_test) - truth) ** 2)
    for name, model in models.items()
}
for name, error in errors.items():
    print(f"{name:18s} error {error:.3f}")
print("weights of UOWQ:", models["UOWQ"].source_weights_.round(2))

# %%
# The same as with all rows
# -------------------------
parts = [rows_of(site) for site in range(5)]
X_all = np.vstack([*(part[0] for part in parts), X])
y_all = np.concatenate([*(part[1] for part in parts), y])
domain = np.repeat([1, 2, 3, 4, 5, -1], [200] * 5 + [12])
rows = UOWQ(learner).fit(X_all, y_all, sample_domain=domain)
difference = abs(rows.source_weights_ - models["UOWQ"].source_weights_).max()
print(f"largest difference of a weight from that of all rows: {difference:.0e}")
assert difference < 1e-6

# two sites that trust each other may also merge theirs
merged = summaries[0].merge(summaries[1])
together = summarize_source(learner, X_all[:400], y_all[:400])
assert np.allclose(merged.coef, together.coef)

# %%
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.barh(list(errors), list(errors.values()))
ax.invert_yaxis()
ax.set_xlabel("mean squared error on the target")
plt.show()
