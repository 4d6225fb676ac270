"""Stacking: what models of the sources predict, as further columns."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import MetaEstimatorMixin, is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import (
    Interval,
    StrOptions,
    _check_feature_names_in,
    _fit_context,
)
from sktransfer._domains import take_rows
from sktransfer._folds import deal_rows
from sktransfer._learners import fit_or_constant
from sktransfer._response import CommonColumns, all_classes
from sktransfer._source_models import (
    SourceModelsMixin,
    check_source_models,
    fit_domain,
    given_entries,
    is_fitted,
    listed_models,
)
from sktransfer.base import TransferTransformer
from sktransfer.hypothesis._offset_learners import LEAST_PROBABILITY

__all__ = ["SourcePredictions"]

# columns that may be chosen, the richest first, and the method that they need
_NEEDED = {"log_odds": "predict_proba", "decision_function": "decision_function"}


class SourcePredictions(SourceModelsMixin, MetaEstimatorMixin, TransferTransformer):
    r"""Add the predictions of source models as columns (stacking).

    One model is fitted for each source, or one for all of them. Their predictions
    describe every row, next to its own features; a learner on the target that follows
    in a pipeline finds out which of them to trust::

        make_pipeline(SourcePredictions(HistGradientBoostingClassifier()),
                      Pooled(LogisticRegression()))

    End the pipeline in :class:`~sktransfer.baselines.TargetOnly` to learn from the
    target rows alone, or in :class:`~sktransfer.baselines.Pooled` for all rows.

    Parameters
    ----------
    source_models : estimator or list of them
        Classifiers or regressors. A learner is fitted on the source rows; a model
        that is fitted already is taken as it is.
    pooled : bool, default=False
        Fit one model on the rows of all sources instead of one for each source.
    response_method : {"auto", "log_odds", "predict_proba", "decision_function", \
            "predict"}, default="auto"
        What the columns are. "log_odds": for two classes the log-odds of the second,
        else the logarithm of each class less their mean, after probabilities are
        raised to 0.001; with two classes the other methods too give one column, that
        of the second class. "predict": values, or votes of 0 and 1. "auto": values for
        regressors; for classifiers the first of "log_odds", "decision_function" and
        "predict" that all of them have. A class that a model has not seen gets 0 (-1
        for "decision_function").
    passthrough : bool, default=True
        Keep the features; False: the predictions alone.
    cv : int in [2, inf), default=5
        Number of folds from which source rows of the fit get their predictions.
    random_state : int, RandomState instance or None, default=0
        Deals the source rows to the folds. The order of the rows does not matter.

    Attributes
    ----------
    models_ : list of estimator
        Given models first, then learner by learner and source by source.
    model_names_ : list of str
        A name of each: ``"model 0"``, ... for given models, ``"source 3"``, ... for
        those of a source by its id, ``"sources"`` for pooled ones.
    source_classes_ : ndarray of shape (n_classes,) or None
        Classes of all models; None for regressors.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    OffsetTransfer : One source model as an offset, with coefficient c in [0, 1].
    SecureRLS : Weights of source hypotheses and a ridge regression on what is left.

    Notes
    -----
    A row x becomes :math:`(x, s_1(x), \dots, s_K(x))`. With ``pooled=True``,
    ``passthrough=False`` and a logistic regression on the target this is the linear
    adjustment :math:`\operatorname{logit} p_t = a + b \operatorname{logit} p_s` of a
    source model.

    *No leakage.* Target rows get the predictions of models that are fitted on source
    rows alone. A source row must not be predicted by a model that has seen its label:
    ``fit_transform``, and so the fit of a pipeline, gives it the out-of-fold
    prediction of the model of its own source. ``transform`` gives source rows the
    predictions of the full models; it is for new rows. So ``fit_transform`` differs
    from ``fit`` and ``transform`` on source rows, and on these only.

    Without source rows and given models nothing is added and the features are kept,
    whatever ``passthrough`` is. Frames stay frames, with the dtypes of their
    columns, and sparse matrices stay sparse.

    References
    ----------
    D. H. Wolpert. Stacked generalization. Neural Networks 5(2), 1992.
    :doi:`10.1016/S0893-6080(05)80023-1`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.hypothesis import SourcePredictions
    >>> X = np.arange(8.0)[:, None]
    >>> y = np.r_[X[:6, 0], 2 * X[6:, 0]]
    >>> domain = [1, 1, 1, 2, 2, 2, -1, -1]
    >>> stacking = SourcePredictions(Ridge(alpha=1e-9))
    >>> stacking.fit(X, y, sample_domain=domain).transform([[10.0]]).round(6)
    array([[10., 10., 10.]])
    >>> stacking.get_feature_names_out()
    array(['x0', 'source 1', 'source 2'], dtype=object)
    """

    _parameter_constraints: dict = {
        **SourceModelsMixin._source_models_constraints,
        "pooled": ["boolean"],
        "response_method": [
            StrOptions(
                {"auto", "log_odds", "predict_proba", "decision_function", "predict"}
            )
        ],
        "passthrough": ["boolean"],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        source_models,
        *,
        pooled=False,
        response_method="auto",
        passthrough=True,
        cv=5,
        random_state=0,
    ):
        self.source_models = source_models
        self.pooled = pooled
        self.response_method = response_method
        self.passthrough = passthrough
        self.cv = cv
        self.random_state = random_state

    def _fit_domains(self, data):
        """Fit the models; return the learner and the rows of each, None if given."""
        entries = given_entries(self.source_models)
        check_source_models(
            entries, owner=self, n_features=self.n_features_in_, learners=True
        )
        self._check_kinds(entries)
        given = [(i, model) for i, model in enumerate(entries) if is_fitted(model)]
        learners = [
            (i, model) for i, model in enumerate(entries) if not is_fitted(model)
        ]
        self.models_ = [model for _, model in given]
        self.model_names_ = [f"model {i}" for i, _ in given]
        origins = [None] * len(given)
        for i, learner in learners:
            several = f" ({i})" if len(learners) > 1 else ""
            for name, rows in self._source_parts(data):
                self.models_.append(fit_domain(learner, data, rows, {}))
                self.model_names_.append(name + several)
                origins.append((learner, rows))
        self._set_columns(data)
        return origins

    def _check_kinds(self, entries):
        classify = [_classifies(model) for model in entries]
        if any(classify) and not all(classify):
            raise TypeError(
                f"source_models={self.source_models!r} mixes classifiers and "
                "regressors."
            )

    def _source_parts(self, data):
        """Return name and mask of the rows that one model each is fitted on."""
        if not data.n_source:
            return []
        if self.pooled:
            return [("sources", data.is_source)]
        return [(f"source {domain}", data.rows_of(domain)) for domain in data.sources]

    def _set_columns(self, data):
        """Decide what the models are asked, and count their columns."""
        self.source_classes_, self._method = None, "predict"
        if self.models_ and _classifies(self.models_[0]):
            self.source_classes_ = all_classes(self.models_)
            self._method = self.response_method
            if self._method == "auto":
                self._method = self._richest_method()
        first = take_rows(data.X, np.arange(1))
        self._widths = [self._answers(model, first).shape[1] for model in self.models_]

    def _richest_method(self):
        for method, needed in _NEEDED.items():
            if all(hasattr(model, needed) for model in self.models_):
                return method
        return "predict"

    def _answers(self, model, X):
        """Return the columns of one model, shape (n_samples, n_columns)."""
        classes = self.source_classes_
        if classes is None:
            values = np.asarray(model.predict(X), dtype=np.float64)
            return values.reshape(len(values), -1)
        method = "predict_proba" if self._method == "log_odds" else self._method
        known = model.classes_ if self._method == "log_odds" else classes
        absent = -1.0 if method == "decision_function" else 0.0
        values = CommonColumns(known, method, absent).answer(model, X)
        if self._method == "log_odds":
            values = np.log(np.maximum(values, LEAST_PROBABILITY))
            values -= values.mean(axis=1, keepdims=True)
            place = np.searchsorted(classes, known)
            logs, values = values, np.zeros((len(values), len(classes)))
            values[:, place] = logs
            if len(classes) == 2:
                values[:, 1] -= values[:, 0]
        return values[:, 1:] if len(classes) == 2 else values

    def _transform(self, X, source):
        return self._join(X, [self._answers(model, X) for model in self.models_])

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None, sample_domain=None):
        """Fit the source models and describe the same rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,), default=None
            Labels; those of the source rows are used.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target.

        Returns
        -------
        X_new : {ndarray, sparse matrix, dataframe} of shape (n_samples, n_columns)
            Rows in input order. Predictions of source rows by models of their own
            source are out of fold.
        """
        data = self._validate_domains(X, y, sample_domain)
        origins = self._fit_domains(data)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        blocks = [self._answers(model, data.X) for model in self.models_]
        for block, origin in zip(blocks, origins, strict=True):
            if origin is not None:
                self._hold_out(block, data, *origin, seed)
        return self._join(data.X, blocks)

    def _hold_out(self, block, data, learner, rows, seed):
        """Replace the answers for the rows of a fit by out-of-fold ones."""
        X, y = take_rows(data.X, rows), data.labels(rows)
        place = np.flatnonzero(rows)
        rng = np.random.RandomState(seed)
        folds = deal_rows(X, y, self.cv, is_classifier(learner), rng)
        held_out = np.concatenate([np.empty(0, dtype=int), *folds])
        # a row that is the only one of its class: a model without it
        alone = np.setdiff1d(np.arange(len(y)), held_out)
        for test in [*folds, *alone[:, None]]:
            train = np.setdiff1d(np.arange(len(y)), test)
            if not len(train):
                block[place[test]] = 0.0  # nothing else is known of this source
                continue
            model = fit_or_constant(learner, take_rows(X, train), y[train])
            block[place[test]] = self._answers(model, take_rows(X, test))

    def _join(self, X, blocks):
        if not blocks:
            return X
        block = np.hstack(blocks)
        if hasattr(X, "columns"):
            return self._join_frame(X, block)
        if sparse.issparse(X):
            block = block.astype(X.dtype)
            new = sparse.csr_array(block)
            return sparse.hstack([X, new], format="csr") if self.passthrough else new
        if X.dtype.kind == "f":
            block = block.astype(X.dtype)
        if not self.passthrough:
            return block
        return np.hstack([X if X.dtype.kind in "fiub" else X.astype(object), block])

    def _join_frame(self, X, block):
        names = self._new_names()
        taken = [name for name in names if name in X.columns]
        if taken and self.passthrough:
            raise ValueError(
                f"X has a column {taken[0]!r}, the name of a column of predictions: "
                "rename it."
            )
        columns = dict(zip(names, block.T, strict=True))
        if hasattr(X, "with_columns"):
            import polars as pl

            new = pl.DataFrame(columns)
            return X.with_columns(*new.get_columns()) if self.passthrough else new
        import pandas as pd

        new = pd.DataFrame(columns, index=X.index)
        return pd.concat([X, new], axis=1) if self.passthrough else new

    def _new_names(self):
        """Return the names of the added columns."""
        names = []
        for model, width in zip(self.model_names_, self._widths, strict=True):
            each = (
                range(width) if self.source_classes_ is None else self.source_classes_
            )
            names += [model] if width == 1 else [f"{model}: {k}" for k in each]
        return names

    def get_feature_names_out(self, input_features=None):
        """Get the names of the columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features. None: those of ``fit``, or x0, x1, ...

        Returns
        -------
        names : ndarray of str objects
            The features, if they are kept, then the name of each model, with the class
            or the output where a model has several columns.
        """
        check_is_fitted(self)
        features = _check_feature_names_in(self, input_features)
        new = np.asarray(self._new_names(), dtype=object)
        if self.passthrough or not self.models_:
            return np.concatenate([features, new])
        return new

    def _validate_X(self, X, tags, *, reset, skip_check=False):
        # no arithmetic here: tables reach the models as they are, text included
        skip = skip_check or hasattr(X, "columns") or _holds_text(X)
        return super()._validate_X(X, tags, reset=reset, skip_check=skip)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        entries = listed_models(self.source_models)
        entries = [model for model in entries if hasattr(model, "__sklearn_tags__")]
        inner = [get_tags(model).input_tags for model in entries]
        tags.input_tags.sparse = all(t.sparse for t in inner)
        tags.input_tags.allow_nan = all(map(_takes_nan, entries))
        outputs = [get_tags(model).target_tags.multi_output for model in entries]
        tags.target_tags.multi_output = all(outputs) and all(map(is_regressor, entries))
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.source_free = True
        tags.transfer_tags.classification = not any(map(is_regressor, entries))
        tags.transfer_tags.regression = not any(map(is_classifier, entries))
        return tags


def _classifies(model):
    """Whether a model, which need not be one of scikit-learn, has classes."""
    if hasattr(model, "__sklearn_tags__"):
        return is_classifier(model)
    return hasattr(model, "classes_")


def _takes_nan(model):
    """Tell whether a model takes missing values; of a pipeline its first step does."""
    if isinstance(model, FrozenEstimator):
        model = model.estimator
    if isinstance(model, Pipeline) and hasattr(model[0], "__sklearn_tags__"):
        model = model[0]
    return get_tags(model).input_tags.allow_nan


def _holds_text(X):
    """Tell rows, not in a frame, that hold text."""
    if sparse.issparse(X):
        return False
    rows = np.asarray(X)
    if rows.ndim != 2 or rows.dtype.kind not in "OUS":
        return False
    return rows.dtype.kind != "O" or any(isinstance(v, str) for v in rows.flat)
