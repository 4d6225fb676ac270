"""The contract checks are checked: each one fails on a toy that breaks its sentence."""

from importlib.util import find_spec

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import cholesky
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from sktransfer.base import (
    TransferMixin,
    TransferTransformer,
    slice_params,
)
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.utils import check_transfer_estimator
from sktransfer.utils import estimator_checks as checks


def _pooled(**overrides):
    """Return a Pooled logistic regression with some attributes replaced."""
    return type("Toy", (Pooled,), overrides)(LogisticRegression())


def _with_tag(base, inner, **tags):
    def sklearn_tags(self):
        result = base.__sklearn_tags__(self)
        for name, value in tags.items():
            setattr(result.transfer_tags, name, value)
        return result

    return type("Toy", (base,), {"__sklearn_tags__": sklearn_tags})(inner)


def _fit_then(change):
    """Return a ``fit`` that changes something before it fits as it should."""

    def fit(self, X, y, sample_domain=None, **fit_params):
        X, y, sample_domain = change(self, X, y, sample_domain)
        return Pooled.fit(self, X, y, sample_domain, **fit_params)

    return fit


def _first_rows_only(self, X, y, sample_domain):
    if sample_domain is None or isinstance(X, list):
        return X, y, sample_domain
    keep = np.arange(len(y)) < 30
    return X[keep], y[keep], sample_domain[keep]


def _nan_with_few_sources(self, X):
    proba = Pooled.predict_proba(self, X)
    return proba * (np.nan if self.few_ else 1.0)


def _remember_few(self, X, y, sample_domain):
    self.few_ = (
        sample_domain is not None and np.mean(np.asarray(sample_domain) > 0) < 0.5
    )
    return X, y, sample_domain


def _ids_are_numbers(self, data, fit_params):
    weight = np.abs(data.sample_domain).astype(float)
    model = clone(self.estimator)
    return model.fit(data.X[data.labeled], data.y[data.labeled], weight[data.labeled])


def _first_source_counts(self, data, fit_params):
    rows = data.is_labeled_target
    if data.n_source:
        rows = rows | data.rows_of(data.sources[0])
    return clone(self.estimator).fit(data.X[rows], data.labels(rows))


def _write_to_y(self, X, y, sample_domain):
    if isinstance(y, np.ndarray):
        y[0] = y[0]
    return X, y, sample_domain


def _no_lists(self, X, y, sample_domain):
    return X, y, np.asarray(sample_domain) if X.shape else None


def _flip_objects(self, X, y, sample_domain):
    if np.asarray(y).dtype == object:
        y = np.where(np.asarray(y) == 0, 1, y)
    return X, y, sample_domain


def _fill_sources(self, X, y, sample_domain):
    if sample_domain is not None and np.asarray(y).dtype.kind == "f":
        y = np.where((np.asarray(sample_domain) > 0) & np.isnan(y), 0.0, y)
    return X, y, sample_domain


def _shift_without_domains(self, X, y, sample_domain):
    return (X + 1.0 if sample_domain is None else X), y, sample_domain


def _key_error_for_one_label(self, data, fit_params):
    if data.n_labeled == 1:
        raise KeyError("one label")
    return Pooled._fit_estimator(self, data, fit_params)


def _key_error_for_equal_labels(self, data, fit_params):
    if len(np.unique(data.y_labeled)) == 1:
        raise KeyError("equal labels")
    return Pooled._fit_estimator(self, data, fit_params)


def _key_error_for_equal_rows(self, data, fit_params):
    if not np.ptp(data.X, axis=0).any():
        raise KeyError("equal rows")
    return Pooled._fit_estimator(self, data, fit_params)


def _answer_every_domain(self, X, sample_domain=None):
    return Pooled.predict(self, X)


def _set_parameter(self, X, y, sample_domain):
    self.source_weight = 0.5
    return X, y, sample_domain


def _grow(self, data, fit_params):
    model = Pooled._fit_estimator(self, data, fit_params)
    self.fits_ = getattr(self, "fits_", 0) + 1
    model.intercept_ = model.intercept_ + self.fits_
    return model


def _random(self, data, fit_params):
    model = Pooled._fit_estimator(self, data, fit_params)
    model.intercept_ = model.intercept_ + np.random.default_rng().normal(size=3)
    return model


def _round_ids(self, X, y, sample_domain):
    if np.asarray(sample_domain).dtype.kind == "f":
        sample_domain = np.asarray(sample_domain).astype(int)
    return X, y, sample_domain


def _merge_targets(self, X, y, sample_domain):
    if sample_domain is not None and np.asarray(sample_domain).dtype.kind == "i":
        sample_domain = np.maximum(sample_domain, -1)
    return X, y, sample_domain


def _merge_sources(self, X, y, sample_domain):
    if sample_domain is not None and np.asarray(sample_domain).dtype.kind == "i":
        sample_domain = np.minimum(sample_domain, 1)
    return X, y, sample_domain


def _claim_one_source(self):
    tags = Pooled.__sklearn_tags__(self)
    tags.transfer_tags.multi_source = False
    return tags


def _no_text(self, X, y, sample_domain):
    if isinstance(np.asarray(y).flat[0], str):
        y = np.array([-1 if v is None else ["ant", "bee", "cat"].index(v) for v in y])
    return X, y, sample_domain


def _drop_minus_one(self, X, y, sample_domain):
    if sample_domain is None and np.asarray(y).dtype.kind == "i":
        keep = np.asarray(y) != -1
        return np.asarray(X)[keep], np.asarray(y)[keep], None
    return X, y, sample_domain


def _predict_text(self, X):
    return Pooled.predict(self, X).astype(str)


def _score_everything(self, X, y, sample_weight=None):
    return np.mean(self.predict(X) == np.asarray(y))


def _metadata_unsliced(self, data, fit_params):
    rows = data.labeled
    return clone(self.estimator).fit(data.X[rows], data.y[rows], **fit_params)


def _metadata_shifted(self, data, fit_params):
    rows = data.labeled
    params = {k: np.roll(v, 1) for k, v in slice_params(fit_params, rows).items()}
    return clone(self.estimator).fit(data.X[rows], data.y[rows], **params)


def _weights_forgotten(self, data, params, *, is_batch=False):
    params.pop("sample_weight", None)
    return data, params, np.ones(len(data.sample_domain), dtype=bool)


class _OneContainer(Pooled):
    """Predict rows in the container of the fit alone."""

    def fit(self, X, y, sample_domain=None):
        self.sparse_ = sparse.issparse(X)
        return super().fit(X, y, sample_domain=sample_domain)

    def predict_proba(self, X):
        assert sparse.issparse(X) == self.sparse_
        return super().predict_proba(X)


class _Mean(TransferTransformer):
    """Correct transformer: subtract the mean of the target rows."""

    def _fit_domains(self, data):
        self.mean_ = data.X_target.mean(axis=0)

    def _transform(self, X, source):
        return X - self.mean_

    def get_feature_names_out(self, input_features=None):
        return np.asarray(self.feature_names_in_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        return tags


class _SourcesFirst(_Mean):
    def fit_transform(self, X, y=None, sample_domain=None):
        Z = super().fit_transform(X, y, sample_domain)
        return Z[np.argsort(-np.sign(sample_domain), kind="stable")]


class _Float64(_Mean):
    def _transform(self, X, source):
        return (X - self.mean_).astype(np.float64)


class _OtherNames(_Mean):
    def get_feature_names_out(self, input_features=None):
        return np.array(["mean0"])


class _ToyCORAL(_Mean):
    """Correct toy: give the source rows the covariance of the target rows."""

    def _fit_domains(self, data):
        self.recolor_ = None
        if data.n_source:
            roots = [
                cholesky(np.cov(X, rowvar=False) + 0.1 * np.eye(X.shape[1]))
                for X in (data.X_source, self._rows_of_target(data))
            ]
            self.recolor_ = np.linalg.solve(*roots)

    def _rows_of_target(self, data):
        return data.X_target

    def _transform(self, X, source):
        Z = X.copy()
        if self.recolor_ is not None and source.any():
            Z[source] = X[source] @ self.recolor_.astype(X.dtype)
        return Z


class _LabelsMoveSources(_ToyCORAL):
    """Says that target labels are unused, but moves source rows by them."""

    def _fit_domains(self, data):
        super()._fit_domains(data)
        self.offset_ = data.y_labeled.mean() if data.n_labeled else 0.0

    def _transform(self, X, source):
        Z = super()._transform(X, source)
        Z[source] += np.asarray(self.offset_, dtype=X.dtype)
        return Z


class _LabelsMoveSourcesOfTheFit(_ToyCORAL):
    """Does so in ``fit_transform`` alone."""

    def fit_transform(self, X, y=None, sample_domain=None):
        Z = super().fit_transform(X, y, sample_domain)
        if sample_domain is not None:
            source = np.asarray(sample_domain) > 0
            Z[source] += np.nanmean(np.asarray(y, dtype=float)[~source])
        return Z


class _LabeledRowsMoveSources(_ToyCORAL):
    """Says that unlabeled rows count, but looks at labeled target rows only."""

    def _rows_of_target(self, data):
        return data.X_labeled if data.n_labeled > 1 else data.X_target


class _IdsMoveSources(_ToyCORAL):
    """Adds the number of a domain to its source rows."""

    def transform(self, X, sample_domain=None):
        Z = super().transform(X, sample_domain)
        if sample_domain is not None:
            Z += np.maximum(np.asarray(sample_domain), 0)[:, None].astype(Z.dtype)
        return Z


class _RandomSources(_ToyCORAL):
    def _transform(self, X, source):
        Z = super()._transform(X, source)
        Z[source] += np.random.default_rng().normal(size=X.shape[1]).astype(X.dtype)
        return Z


class _NoRequest(Pooled):
    __metadata_request__fit = {"sample_domain": False}


def _claim_sparse(self):
    tags = Pooled.__sklearn_tags__(self)
    tags.input_tags.sparse = True
    return tags


def _refuse_sparse(self, X, y, sample_domain):
    if hasattr(X, "tocsr"):
        raise TypeError("dense rows only")
    return X, y, sample_domain


BROKEN = [
    ("check_row_order", _pooled(fit=_fit_then(_first_rows_only))),
    ("check_row_order", _SourcesFirst()),
    (
        "check_unequal_domain_sizes",
        _pooled(fit=_fit_then(_remember_few), predict_proba=_nan_with_few_sources),
    ),
    ("check_domain_ids_are_names", _pooled(_fit_estimator=_ids_are_numbers)),
    ("check_domain_order", _pooled(_fit_estimator=_first_source_counts)),
    ("check_input_unmodified", _pooled(fit=_fit_then(_write_to_y))),
    ("check_containers", _pooled(fit=_fit_then(_no_lists))),
    ("check_feature_names", _OtherNames()),
    (
        "check_sparse",
        _pooled(fit=_fit_then(_refuse_sparse), __sklearn_tags__=_claim_sparse),
    ),
    ("check_scale_free", _with_tag(Pooled, Ridge(), scale_free=True)),
    ("check_scale_free", _with_tag(Pooled, KNeighborsRegressor(3), scale_free=True)),
    ("check_float32", _Float64()),
    ("check_markers_agree", _pooled(fit=_fit_then(_flip_objects))),
    ("check_marker_among_sources", _pooled(fit=_fit_then(_fill_sources))),
    (
        "check_target_labels_tag",
        _with_tag(Pooled, LogisticRegression(), target_labels="unused"),
    ),
    (
        "check_target_labels_tag",
        _with_tag(SourceOnly, LogisticRegression(), target_labels="optional"),
    ),
    ("check_unlabeled_tag", _with_tag(Pooled, Ridge(), uses_unlabeled=True)),
    (
        "check_unlabeled_tag",
        type(
            "Toy", (_Mean,), {"__sklearn_tags__": TransferTransformer.__sklearn_tags__}
        )(),
    ),
    ("check_target_labels_tag", _LabelsMoveSources()),
    ("check_target_labels_tag", _LabelsMoveSourcesOfTheFit()),
    ("check_unlabeled_tag", _LabeledRowsMoveSources()),
    (
        "check_unlabeled_tag",
        type(
            "Toy",
            (_ToyCORAL,),
            {"__sklearn_tags__": TransferTransformer.__sklearn_tags__},
        )(),
    ),
    ("check_domain_ids_are_names", _IdsMoveSources()),
    ("check_same_seed", _RandomSources()),
    ("check_target_only", _pooled(fit=_fit_then(_shift_without_domains))),
    (
        "check_no_labeled_target",
        type("Toy", (SourceOnly,), {"__sklearn_tags__": TargetOnly.__sklearn_tags__})(
            Ridge()
        ),
    ),
    ("check_one_labeled_row", _pooled(_fit_estimator=_key_error_for_one_label)),
    ("check_equal_rows", _pooled(_fit_estimator=_key_error_for_equal_rows)),
    (
        "check_equal_target_labels",
        _pooled(_fit_estimator=_key_error_for_equal_labels),
    ),
    ("check_unseen_domain", _pooled(predict=_answer_every_domain)),
    ("check_parameters_kept", _pooled(fit=_fit_then(_set_parameter))),
    ("check_refit", _pooled(_fit_estimator=_grow)),
    ("check_same_seed", _pooled(_fit_estimator=_random)),
    ("check_bad_sample_domain", _pooled(fit=_fit_then(_round_ids))),
    (
        "check_undeclared_sources",
        _pooled(fit=_fit_then(_merge_sources), __sklearn_tags__=_claim_one_source),
    ),
    ("check_undeclared_targets", _pooled(fit=_fit_then(_merge_targets))),
    ("check_pipeline_routing", _NoRequest(LogisticRegression())),
    ("check_string_labels", _pooled(fit=_fit_then(_no_text))),
    ("check_face_value_labels", _pooled(fit=_fit_then(_drop_minus_one))),
    ("check_score_refuses_markers", _pooled(score=_score_everything)),
    ("check_cross_validate_refuses_markers", _pooled(score=_score_everything)),
    ("check_scorers_refuse_markers", _pooled(predict=_predict_text)),
    ("check_metadata_sliced", _pooled(_fit_estimator=_metadata_unsliced)),
    ("check_metadata_sliced", _pooled(_fit_estimator=_metadata_shifted)),
    ("check_weightless_rows", _pooled(_drop_weightless=_weights_forgotten)),
    ("check_sparse", _OneContainer(LogisticRegression())),
]


#: the check of column names needs a frame
CHECKED = [
    (n, t) for n, t in BROKEN if n != "check_feature_names" or find_spec("pandas")
]


@pytest.mark.parametrize(("name", "toy"), CHECKED)
def test_a_broken_toy_fails_its_check(name, toy):
    check = getattr(checks, name)
    with pytest.raises(
        (AssertionError, TypeError, ValueError, KeyError, AttributeError)
    ):
        check(toy, checks.make_problem)


def test_every_check_has_a_broken_toy():
    every = {name for name in dir(checks) if name.startswith("check_")}
    every -= {"check_transfer_estimator"}
    assert {name for name, _ in BROKEN} == every


@pytest.mark.parametrize("toy", [_Mean(), _ToyCORAL(), Pooled(Ridge())])
def test_an_unbroken_toy_passes(toy):
    assert len(check_transfer_estimator(toy)) >= 20


@pytest.mark.parametrize(
    ("toy", "broken"),
    [
        (_LabelsMoveSources(), {"check_target_labels_tag"}),
        (_LabeledRowsMoveSources(), {"check_unlabeled_tag"}),
        (_IdsMoveSources(), {"check_domain_ids_are_names", "check_domain_order"}),
    ],
)
def test_a_toy_that_breaks_one_sentence_on_source_rows_fails_there_alone(toy, broken):
    reasons = dict.fromkeys(broken, "the sentence that the toy breaks")
    check_transfer_estimator(toy, expected_failed_checks=reasons)


def test_the_failed_check_is_named():
    with pytest.raises(AssertionError, match="_Float64 fails check_float32"):
        check_transfer_estimator(_Float64())


def test_an_expected_failure_must_fail():
    expected = {"check_row_order": "no reason at all"}
    with pytest.raises(AssertionError, match="expected to fail: no reason"):
        check_transfer_estimator(Pooled(Ridge()), expected_failed_checks=expected)


def test_an_estimator_without_tags_is_refused():
    with pytest.raises(TypeError, match="Wrap it"):
        check_transfer_estimator(Ridge())


def test_an_estimator_that_does_nothing_is_refused():
    class Nothing(TransferMixin, BaseEstimator):
        def fit(self, X, y, sample_domain=None):
            return self

    with pytest.raises(AssertionError, match="neither predicts nor transforms"):
        checks.check_input_unmodified(Nothing(), checks.make_problem)
