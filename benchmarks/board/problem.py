"""What a method is told about a task, and the common learners."""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge

N_TREES = 100


@dataclass(frozen=True)
class Problem:
    """Sizes and kind of a task: all that a method may adapt to before it is fitted.

    Parameters
    ----------
    regression : bool
        Real labels; otherwise classes.
    classes : ndarray
        Classes of the sources and of the labeled target samples; empty in regression.
    n_labeled, n_sources, n_source_rows, n_features : int
        Labeled target samples, sources, samples of all sources, features.
    """

    regression: bool
    classes: np.ndarray
    n_labeled: int
    n_sources: int
    n_source_rows: int
    n_features: int

    def linear(self):
        """Return the linear learner that all methods share, with its defaults."""
        if self.regression:
            return Ridge()
        return LogisticRegression(max_iter=1000)

    def trees(self):
        """Return the ensemble of trees that all methods share."""
        if self.regression:
            return RandomForestRegressor(N_TREES, random_state=0)
        return RandomForestClassifier(N_TREES, random_state=0)

    def learner(self, family):
        """Return the learner of a family, "linear" or "trees"."""
        return self.linear() if family == "linear" else self.trees()
