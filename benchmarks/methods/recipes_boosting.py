"""What practitioners do with LightGBM, XGBoost and CatBoost and an old and a new table.

Six uses of each: the target alone; all rows; all rows, where the target's have the
total weight of the sources'; all rows and a column per domain; training continued on
the target for the second half of the trees; a whole model of the target on top of the
score of a whole model of the sources. The settings are the same everywhere: 100 trees
in a model, learning rate 0.1, at least 5 rows in a leaf (with LightGBM's default of 20
no split of 30 rows is possible), 4 levels. Nothing is searched. Penalties of leaf
values are the packages' defaults: LightGBM has none, so leaves that a first model got
wrong with certainty take steps without bound (``coil20_1024``, "continued" and
"offset").
"""

from importlib.util import find_spec

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from benchmarks.board.registry import method

N_TREES, RATE, LEAST_ROWS, DEPTH = 100, 0.1, 5, 4
USES = "alone", "pooled", "up-weighted", "domain column", "continued", "offset"


class LightGBM:
    """Boosters of LightGBM that give raw scores."""

    @staticmethod
    def train(X, y, weight, n_classes, n_trees, start=None, offset=None):
        """Train trees, after those of ``start`` or on top of scores."""
        import lightgbm

        objective = {0: "regression", 2: "binary"}.get(n_classes, "multiclass")
        params = {"objective": objective, "learning_rate": RATE, "verbose": -1,
                  "min_data_in_leaf": LEAST_ROWS, "max_depth": DEPTH,
                  "num_leaves": 2**DEPTH, "num_threads": 1, "seed": 0,
                  "deterministic": True}  # fmt: skip
        if n_classes > 2:
            params["num_class"] = n_classes
        score = None if offset is None else offset.ravel(order="F")
        rows = lightgbm.Dataset(X, y, weight=weight, init_score=score)
        return lightgbm.train(params, rows, n_trees, init_model=start)

    @staticmethod
    def score(model, X, n_classes, offset=None):
        """Return raw scores."""
        raw = model.predict(X, raw_score=True)
        raw = raw.reshape(len(X), -1)
        return raw if offset is None else raw + offset


class XGBoost:
    """Boosters of XGBoost that give raw scores."""

    @staticmethod
    def train(X, y, weight, n_classes, n_trees, start=None, offset=None):
        """Train trees, after those of ``start`` or on top of scores."""
        import xgboost

        names = {0: "reg:squarederror", 2: "binary:logistic"}
        params = {"objective": names.get(n_classes, "multi:softprob"), "eta": RATE,
                  "min_child_weight": 1, "max_depth": DEPTH, "nthread": 1,
                  "seed": 0, "tree_method": "hist"}  # fmt: skip
        if n_classes > 2:
            params["num_class"] = n_classes
        rows = xgboost.DMatrix(X, y, weight=weight, base_margin=offset)
        return xgboost.train(params, rows, n_trees, xgb_model=start)

    @staticmethod
    def score(model, X, n_classes, offset=None):
        """Return raw scores."""
        import xgboost

        rows = xgboost.DMatrix(X, base_margin=offset)
        return model.predict(rows, output_margin=True).reshape(len(X), -1)


class CatBoost:
    """Boosters of CatBoost that give raw scores."""

    @staticmethod
    def train(X, y, weight, n_classes, n_trees, start=None, offset=None):
        """Train trees, after those of ``start`` or on top of scores."""
        import catboost

        loss = {0: "RMSE", 2: "Logloss"}.get(n_classes, "MultiClass")
        params = {"loss_function": loss, "learning_rate": RATE, "depth": DEPTH,
                  "iterations": n_trees, "thread_count": 1, "random_seed": 0,
                  "verbose": False, "allow_writing_files": False,
                  "allow_const_label": True}  # fmt: skip
        if n_classes > 2:
            params["classes_count"] = n_classes
        rows = catboost.Pool(X, y, weight=weight, baseline=offset)
        return catboost.CatBoost(params).fit(rows, init_model=start)

    @staticmethod
    def score(model, X, n_classes, offset=None):
        """Return raw scores."""
        import catboost

        rows = catboost.Pool(X, baseline=offset)
        raw = model.predict(rows, prediction_type="RawFormulaVal")
        return np.asarray(raw).reshape(len(X), -1)


PACKAGES = {"lightgbm": LightGBM, "xgboost": XGBoost, "catboost": CatBoost}


class _Boosted(BaseEstimator):
    """A use of a boosting package on rows of several domains."""

    __metadata_request__fit = {"sample_domain": True}

    def __init__(self, package="lightgbm", use="pooled"):
        self.package = package
        self.use = use

    def fit(self, X, y, sample_domain):
        """Fit labeled rows; positive domains are sources."""
        self._booster = PACKAGES[self.package]
        self._n = n = self._code_classes(y)
        codes = y if n == 0 else np.searchsorted(self.classes_, y)
        target = sample_domain < 0
        train = self._booster.train
        weight = np.ones(len(y))
        if self.use == "up-weighted" and (~target).any():
            weight[target] = max((~target).sum() / target.sum(), 1.0)
        self._sources = np.unique(sample_domain[~target])
        if self.use == "domain column":
            X = np.c_[X, sample_domain[:, None] == self._sources]
        if self.use == "alone":
            X, codes, weight = X[target], codes[target], weight[target]
        if self.use in ("alone", "pooled", "up-weighted", "domain column"):
            self._model = train(X, codes, weight, n, N_TREES)
            return self
        n_trees = N_TREES // 2 if self.use == "continued" else N_TREES
        old = X[~target], codes[~target], weight[~target]
        new = X[target], codes[target], weight[target]
        self._model = train(*old, n, n_trees)
        if self.use == "continued":
            self._model = train(*new, n, n_trees, start=self._model)
        else:
            offset = self._booster.score(self._model, new[0], n)
            self._top = train(*new, n, n_trees, offset=offset)
        return self

    def _code_classes(self, y):
        return 0

    def _score(self, X):
        if self.use == "domain column":
            X = np.c_[X, np.zeros((len(X), len(self._sources)))]
        score = self._booster.score(self._model, X, self._n)
        if self.use == "offset":
            score = self._booster.score(self._top, X, self._n, offset=score)
        return score


class BoostedRegressor(RegressorMixin, _Boosted):
    """Predict a real label."""

    def predict(self, X):
        """Return predictions."""
        return self._score(X)[:, 0]


class BoostedClassifier(ClassifierMixin, _Boosted):
    """Predict classes and their probabilities."""

    def _code_classes(self, y):
        self.classes_ = np.unique(y)
        return len(self.classes_)

    def predict_proba(self, X):
        """Return probabilities."""
        score = self._score(X)
        if score.shape[1] == 1:
            score = np.c_[np.zeros(len(score)), score]
        return softmax(score, axis=1)

    def predict(self, X):
        """Return classes."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


for package in PACKAGES:
    for use in USES if find_spec(package) else ():

        @method(
            f"{package}, {use}",
            family="trees",
            kind="alone" if use == "alone" else "recipe",
            reference=f"{package}, alone",
            tier="core" if package == "lightgbm" else "further",
        )
        def boosted(problem, package=package, use=use):
            """Use the package as practitioners do."""
            learner = BoostedRegressor if problem.regression else BoostedClassifier
            return learner(package, use)
