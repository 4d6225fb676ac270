"""The transfer contract as checks, for our estimators and for third parties.

A check takes an unfitted estimator and a function that makes data, and raises an
``AssertionError`` that names the sentence of the contract is broken. Which checks
apply is read from the estimator's :class:`~sktransfer.base.TransferTags`. Frames and
their column names are checked where pandas is installed.
"""

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from inspect import Parameter, signature

import joblib
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import check_scoring as default_scorer
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from sktransfer._domains import is_source, mark_unlabeled, take_rows
from sktransfer.base import consumes_sample_domain, get_transfer_tags
from sktransfer.exceptions import (
    CapabilityError,
    DomainError,
    IntegerMarkerWarning,
    NegativeTransferWarning,
    UnlabeledTargetError,
)

__all__ = ["check_transfer_estimator", "parametrize_with_transfer_checks"]

# outputs of equal fits differ by rounding and by the tolerance of iterative solvers
RTOL, ATOL = 1e-4, 1e-5
# outputs of different fits differ by more than that
DIFFERENT = 1e-7
_HAS_PANDAS = find_spec("pandas") is not None
# fits on the unchanged rows; a few, as tests of one estimator mostly come together
_UNCHANGED_FITS: dict = {}
_N_UNCHANGED_FITS = 4


@dataclass
class Problem:
    """Rows of sources and a target, and target rows to predict.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of every domain, shuffled.
    y : ndarray of shape (n_samples,)
        Labels as floats, NaN for the unlabeled target rows.
    sample_domain : ndarray of shape (n_samples,)
        Domain ids.
    X_test : ndarray of shape (n_test, n_features)
        Target rows to predict or transform.
    """

    X: np.ndarray
    y: np.ndarray
    sample_domain: np.ndarray
    X_test: np.ndarray

    @property
    def unlabeled(self):
        """Mask of the unlabeled target rows."""
        return np.isnan(self.y) & (self.sample_domain < 0)

    @property
    def is_labeled_target(self):
        """Mask of the labeled target rows."""
        return ~np.isnan(self.y) & (self.sample_domain < 0)

    def take(self, rows):
        """Return the problem with some of the training rows."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            sample_domain=self.sample_domain[rows],
        )


def make_problem(
    estimator, *, n_source=(21, 14), n_labeled=12, n_unlabeled=9, random_state=0
):
    """Make a small problem that fits the tags of an estimator.

    Parameters
    ----------
    estimator : estimator
        Its type decides between classes and real labels, its tags the number of
        sources.
    n_source : tuple of int, default=(21, 14)
        Rows of each source; an estimator without ``multi_source`` gets the first.
    n_labeled, n_unlabeled : int, default=12, 9
        Target rows.
    random_state : int, default=0
        Seed.

    Returns
    -------
    problem : Problem
        Shuffled rows of every domain.
    """
    rng = np.random.RandomState(random_state)
    if not get_transfer_tags(estimator).multi_source:
        n_source = n_source[:1]
    sizes = [*n_source, n_labeled + n_unlabeled, 8]
    ids = [*range(1, len(n_source) + 1), -1, -1]
    parts = []
    for size, domain in zip(sizes, ids, strict=True):
        label = np.arange(size) % 3
        # sources lie on both sides of the target: blends of them can be the best
        shift = 0.3 * domain * (-1) ** domain if domain > 0 else 0.0
        noise = rng.normal(size=(size, 4))
        X = noise + shift + np.eye(3, 4)[label] * [1.5, 1.5, 1.0, 1.0]
        if get_tags(estimator).input_tags.positive_only:
            X = np.abs(X)
        real = X @ [1.0, -0.5, 0.2, 0.1] + shift + 0.1 * rng.normal(size=size)
        parts.append((X, real if is_regressor(estimator) else label))
    X, y = (np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    sample_domain = np.repeat(ids[:-1], sizes[:-1])
    y = y.astype(np.float64)
    if n_unlabeled:
        y[-n_unlabeled:] = np.nan
    problem = Problem(X, y, sample_domain, parts[-1][0])
    return problem.take(rng.permutation(len(y)))


def check_transfer_estimator(
    estimator, *, make_data=make_problem, expected_failed_checks=None
):
    """Check that an estimator keeps the transfer contract.

    Parameters
    ----------
    estimator : estimator
        Unfitted instance with transfer tags, or a pipeline that ends in one.
    make_data : callable, default=make_problem
        ``make_data(estimator, n_source=..., n_labeled=..., n_unlabeled=...,
        random_state=...)`` returns an object with the attributes ``X``, ``y``,
        ``sample_domain``, ``X_test``, ``unlabeled`` and ``take(rows)``.
    expected_failed_checks : dict of str to str, default=None
        Names of checks that this method cannot pass, each with the reason. Such a
        check must fail.

    Returns
    -------
    names : list of str
        Names of the checks that were run.

    Raises
    ------
    AssertionError
        If the contract is broken, naming the check.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.utils import check_transfer_estimator
    >>> len(check_transfer_estimator(Pooled(Ridge()))) > 20
    True
    """
    get_transfer_tags(estimator)  # raises unless the estimator knows domains
    expected = expected_failed_checks or {}
    names = []
    for check in _checks_of(estimator):
        name = check.__name__
        names.append(name)
        try:
            check(clone(estimator), make_data)
        except Exception as error:
            if name not in expected:
                raise AssertionError(
                    f"{type(estimator).__name__} fails {name}: {error}"
                ) from error
        else:
            if name in expected:
                raise AssertionError(
                    f"{type(estimator).__name__} passes {name}, which was expected "
                    f"to fail: {expected[name]}"
                )
    return names


def parametrize_with_transfer_checks(
    estimators, *, make_data=make_problem, expected_failed_checks=None
):
    """Decorate a pytest test with every contract check of every estimator.

    Parameters
    ----------
    estimators : list of estimator
        Unfitted instances.
    make_data : callable, default=make_problem
        As in :func:`check_transfer_estimator`.
    expected_failed_checks : callable, default=None
        ``expected_failed_checks(estimator)`` returns a dict of check names to
        reasons; these become strict expected failures.

    Returns
    -------
    decorator : pytest.mark.parametrize
        Provides the arguments ``estimator`` and ``check``; the test calls
        ``check(estimator)``.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.utils import parametrize_with_transfer_checks
    >>> @parametrize_with_transfer_checks([Pooled(Ridge())])
    ... def test_contract(estimator, check):
    ...     check(estimator)
    """
    import pytest

    params = []
    for estimator in estimators:
        expected = expected_failed_checks(estimator) if expected_failed_checks else {}
        label = "".join(repr(estimator).split())
        for check in _checks_of(estimator):
            name = check.__name__
            marks = (
                [pytest.mark.xfail(reason=expected[name], strict=True)]
                if name in expected
                else []
            )
            params.append(
                pytest.param(
                    estimator,
                    _bind(check, make_data),
                    marks=marks,
                    id=f"{label[:60]}-{name}",
                )
            )
    return pytest.mark.parametrize(("estimator", "check"), params)


def _bind(check: Callable, make_data: Callable) -> Callable:
    def bound(estimator):
        return check(clone(estimator), make_data)

    bound.__name__ = check.__name__
    return bound


def _checks_of(estimator):
    """List the checks that apply to an estimator."""
    checks = [
        check_row_order,
        check_unequal_domain_sizes,
        check_domain_ids_are_names,
        check_domain_order,
        check_input_unmodified,
        check_containers,
        *([check_feature_names] if _HAS_PANDAS else []),
        check_sparse,
        check_float32,
        check_markers_agree,
        check_marker_among_sources,
        check_target_labels_tag,
        check_unlabeled_tag,
        check_target_only,
        check_no_labeled_target,
        check_one_labeled_row,
        check_equal_rows,
        check_parameters_kept,
        check_refit,
        check_same_seed,
        check_bad_sample_domain,
        check_undeclared_sources,
        check_undeclared_targets,
        check_pipeline_routing,
    ]
    if get_transfer_tags(estimator).scale_free:
        checks.append(check_scale_free)
    methods = ("predict", "predict_proba", "transform")
    if any(hasattr(estimator, m) and _takes_domains(estimator, m) for m in methods):
        checks.append(check_unseen_domain)
    if is_classifier(estimator):
        checks += [check_string_labels, check_face_value_labels]
    if hasattr(estimator, "score"):
        checks.append(check_score_refuses_markers)
    if is_classifier(estimator) or is_regressor(estimator):
        checks += [
            check_equal_target_labels,
            check_scorers_refuse_markers,
            check_cross_validate_refuses_markers,
        ]
    if _takes_metadata(estimator):
        checks.append(check_metadata_sliced)
    if _weighted(estimator) is not None:
        checks.append(check_weightless_rows)
    return checks


def _takes_metadata(estimator):
    kinds = {p.kind for p in signature(estimator.fit).parameters.values()}
    return Parameter.VAR_KEYWORD in kinds and bool(_learners(estimator))


def _learners(estimator):
    """Names of the parameters that hold a plain learner."""
    return [
        name
        for name, value in estimator.get_params().items()
        if name.split("__")[-1] == "estimator"
        and hasattr(value, "predict")
        and not consumes_sample_domain(value)
    ]


def _fit(estimator, problem, **changes):
    problem = replace(problem, **changes) if changes else problem
    return clone(estimator).fit(
        problem.X, problem.y, sample_domain=problem.sample_domain
    )


def _unchanged_fit(estimator, problem):
    """Return the fit that a check compares with, kept for the checks that follow.

    Most checks compare a changed fit with this one. A check predicts with it, and
    leaves it as it is.
    """
    arrays = problem.X, problem.y, problem.sample_domain
    if not all(isinstance(a, np.ndarray) and a.dtype.kind in "if" for a in arrays):
        return _fit(estimator, problem)
    try:
        configuration = pickle.dumps((estimator, get_config()))
    except (pickle.PicklingError, AttributeError, TypeError):
        return _fit(estimator, problem)  # such as a class of a function's body
    key = configuration, *((a.dtype, a.shape, a.tobytes()) for a in arrays)
    if key not in _UNCHANGED_FITS:
        fitted = _fit(estimator, problem)
        while len(_UNCHANGED_FITS) >= _N_UNCHANGED_FITS:
            _UNCHANGED_FITS.pop(next(iter(_UNCHANGED_FITS)))
        _UNCHANGED_FITS[key] = fitted
    return _UNCHANGED_FITS[key]


#: name in the outputs of what a transformer makes of the source rows
MAPPED_SOURCE = "transform of source rows"


def _outputs(fitted, problem):
    """All outputs of a fitted estimator for rows, by method.

    These are the target rows ``X_test``, and of a transformer that takes
    ``sample_domain`` in ``transform`` also the source rows of the problem.
    """
    methods = ["decision_function", "predict_proba", "transform", "predict"]
    outputs = {
        m: getattr(fitted, m)(problem.X_test) for m in methods if hasattr(fitted, m)
    }
    assert outputs, "the estimator neither predicts nor transforms"
    ids = np.asarray(problem.sample_domain)
    source = np.flatnonzero(is_source(ids))
    if "transform" in outputs and len(source) and _maps_domains(fitted):
        with config_context(enable_metadata_routing=True):
            outputs[MAPPED_SOURCE] = fitted.transform(
                take_rows(problem.X, source), sample_domain=ids[source]
            )
    return {name: _dense(value) for name, value in outputs.items()}


def _assert_finite_or_refused(estimator, problem):
    """Fit and predict: finite values without a warning of the numerics, or an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        try:
            outputs = _outputs(_fit(estimator, problem), problem)
        except np.linalg.LinAlgError as error:
            raise AssertionError(f"a bare error of the numerics: {error}") from error
        except ValueError:
            return
    for value in outputs.values():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), "an output is not finite"


def _dense(value):
    return value.toarray() if sparse.issparse(value) else np.asarray(value)


def _maps_domains(transformer):
    with config_context(enable_metadata_routing=True):
        routing = get_routing_for_object(transformer)
        return bool(routing.consumes("transform", ["sample_domain"]))


def _assert_same(first, second, what, *, rtol=RTOL, atol=ATOL):
    assert first.keys() == second.keys(), what
    for name in first:
        if first[name].dtype.kind in "fc":
            assert_allclose(
                first[name], second[name], rtol=rtol, atol=atol, err_msg=what
            )
        elif not {"decision_function", "predict_proba"} & first.keys():
            # hard labels near a boundary may flip by rounding: compared only alone
            assert_array_equal(first[name], second[name], err_msg=what)


def _differ(first, second):
    return any(
        np.abs(first[name] - second[name]).max() > DIFFERENT
        if first[name].dtype.kind in "fc"
        else (first[name] != second[name]).any()
        for name in first
    )


def _assert_raises(error, match, call, what):
    try:
        call()
    except error as caught:
        assert match in str(caught), f"{what}: the error says {str(caught)!r}"
    else:
        raise AssertionError(f"{what}: no error")


def check_row_order(estimator, make_data):
    """Shuffled rows give the same fit, and outputs come in input order."""
    problem = make_data(estimator)
    order = np.random.RandomState(1).permutation(len(problem.y))
    shuffled = problem.take(order)
    first, second = _unchanged_fit(estimator, problem), _fit(estimator, shuffled)
    _assert_same(
        _outputs(first, problem),
        _outputs(second, problem),
        "the order of the rows changes the fit",
    )
    reverse = {k: v[::-1] for k, v in _outputs(first, problem).items()}
    upward = replace(
        problem,
        X=problem.X[::-1],
        sample_domain=problem.sample_domain[::-1],
        X_test=problem.X_test[::-1],
    )
    _assert_same(_outputs(first, upward), reverse, "outputs are not in input order")
    if hasattr(estimator, "fit_transform"):
        outputs = [
            clone(estimator).fit_transform(p.X, p.y, sample_domain=p.sample_domain)
            for p in (problem, shuffled)
        ]
        assert_allclose(
            outputs[0][order],
            outputs[1],
            rtol=RTOL,
            atol=ATOL,
            err_msg="fit_transform returns rows in another order than the input's",
        )


def check_unequal_domain_sizes(estimator, make_data):
    """Fewer source than target rows work as well as more."""
    for sizes in ({"n_source": (9, 6)}, {"n_labeled": 6, "n_unlabeled": 3}):
        problem = make_data(estimator, **sizes)
        outputs = _outputs(_fit(estimator, problem), problem)
        sizes = {MAPPED_SOURCE: np.sum(problem.sample_domain > 0)}
        for name, value in outputs.items():
            n_rows = sizes.get(name, len(problem.X_test))
            assert len(value) == n_rows, "one output per row"
            if value.dtype.kind == "f":
                assert np.isfinite(value).all(), "an output is not finite"


def check_domain_ids_are_names(estimator, make_data):
    """Other ids for the same domains give the same fit."""
    _assert_renaming_is_harmless(estimator, make_data, {1: 3, 2: 7, -1: -4})


def check_domain_order(estimator, make_data):
    """Ids in another order give the same fit."""
    _assert_renaming_is_harmless(estimator, make_data, {1: 7, 2: 3, -1: -4})


def _assert_renaming_is_harmless(estimator, make_data, names):
    problem = make_data(estimator)
    ids = problem.sample_domain.copy()
    for old, new in names.items():
        ids[problem.sample_domain == old] = new
    renamed = replace(problem, sample_domain=ids)
    _assert_same(
        _outputs(_unchanged_fit(estimator, problem), problem),
        _outputs(_fit(estimator, renamed), renamed),
        "the value of a domain id changes the fit",
    )


def check_input_unmodified(estimator, make_data):
    """Read-only arrays work, so the caller's data are never written to."""
    problem = make_data(estimator)
    arrays = [problem.X, problem.y, problem.sample_domain, problem.X_test]
    copies = [a.copy() for a in arrays]
    _outputs(_fit(estimator, problem), problem)
    for array, copy in zip(arrays, copies, strict=True):
        assert_array_equal(array, copy, err_msg="fit changes the caller's data")
        array.flags.writeable = False
    _outputs(_fit(estimator, problem), problem)


def check_containers(estimator, make_data):
    """Lists, frames and series give the same fit as arrays."""
    problem = make_data(estimator)
    expected = _outputs(_unchanged_fit(estimator, problem), problem)
    names = ("X", "y", "sample_domain", "X_test")
    lists = replace(problem, **{k: getattr(problem, k).tolist() for k in names})
    outputs = _outputs(_fit(estimator, lists), lists)
    _assert_same(outputs, expected, "lists differ")
    if not _HAS_PANDAS:
        return
    import pandas as pd

    columns = [f"f{i}" for i in range(problem.X.shape[1])]
    index = np.arange(len(problem.y))[::-1] + 5  # positions count, labels do not
    frame = pd.DataFrame(problem.X, columns=columns, index=index)
    frames = replace(
        problem,
        X=frame,
        y=pd.Series(problem.y, index=index),
        sample_domain=pd.Series(problem.sample_domain),
        X_test=pd.DataFrame(problem.X_test, columns=columns),
    )
    outputs = _outputs(_fit(estimator, frames), frames)
    _assert_same(outputs, expected, "frames differ")


def check_feature_names(estimator, make_data):
    """Feature names are kept, and ``set_output`` gives frames."""
    import pandas as pd

    problem = make_data(estimator)
    columns = [f"f{i}" for i in range(problem.X.shape[1])]
    frame = pd.DataFrame(problem.X, columns=columns)
    fitted = _fit(estimator, problem, X=frame)
    assert list(fitted.feature_names_in_) == columns, "feature_names_in_"
    if not hasattr(estimator, "set_output") or not hasattr(estimator, "transform"):
        return
    mapped = fitted.set_output(transform="pandas").transform(
        pd.DataFrame(problem.X_test, columns=columns, index=range(10, 18))
    )
    assert isinstance(mapped, pd.DataFrame), "set_output(transform='pandas')"
    assert list(mapped.columns) == list(fitted.get_feature_names_out())
    assert list(mapped.index) == list(range(10, 18)), "the index is kept"


def check_sparse(estimator, make_data):
    """Sparse rows work where the tag declares it, else they are refused."""
    problem = make_data(estimator)
    X = sparse.csr_array(problem.X)
    if not get_tags(estimator).input_tags.sparse:
        _assert_raises(
            (TypeError, ValueError),
            "parse",
            lambda: _fit(estimator, problem, X=X),
            "sparse X without the tag",
        )
        return
    expected = _outputs(_unchanged_fit(estimator, problem), problem)
    rows = replace(problem, X=X, X_test=sparse.csr_array(problem.X_test))
    fitted = _fit(estimator, rows)
    outputs = _outputs(fitted, rows)
    _assert_same(outputs, expected, "sparse X differs from dense X", rtol=1e-3)
    for what, model, other in (
        ("dense X after a fit on sparse X", fitted, problem),
        ("sparse X after a fit on dense X", _unchanged_fit(estimator, problem), rows),
    ):
        try:
            outputs = _outputs(model, other)
        except (TypeError, ValueError) as error:
            # a learner, such as a search tree of neighbors, may refuse it by name
            assert "sparse" in str(error), f"{what}: the error says {str(error)!r}"
            continue
        _assert_same(outputs, expected, what, rtol=1e-3)


def check_scale_free(estimator, make_data):
    """Where the tag declares it, units do not change the predictions."""
    problem = make_data(estimator)
    expected = _outputs(_unchanged_fit(estimator, problem), problem)
    n_features = problem.X.shape[1]
    for columns in ([0], [n_features - 1], list(range(n_features))):
        moved = np.isin(np.arange(n_features), columns)
        scale, offset = np.where(moved, 1e5, 1.0), np.where(moved, 2e5, 0.0)
        rows = replace(
            problem,
            X=offset + scale * problem.X,
            X_test=offset + scale * problem.X_test,
        )
        _assert_same(
            _outputs(_fit(estimator, rows), rows),
            expected,
            f"the predictions depend on the units of the features {columns}",
        )


def check_float32(estimator, make_data):
    """Rows in float32 work; transformers that declare it keep the dtype."""
    problem = make_data(estimator)
    single = replace(
        problem,
        X=problem.X.astype(np.float32),
        X_test=problem.X_test.astype(np.float32),
    )
    outputs = _outputs(_fit(estimator, single), single)
    for value in outputs.values():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), "an output is not finite"
    tags = get_tags(estimator).transformer_tags
    if tags and "float32" in tags.preserves_dtype:
        for name in {"transform", MAPPED_SOURCE} & outputs.keys():
            assert outputs[name].dtype == np.float32, "float32 is not kept"


def check_markers_agree(estimator, make_data):
    """Every marker of a missing label means the same."""
    problem = make_data(estimator)
    unlabeled = problem.unlabeled
    expected = _outputs(_unchanged_fit(estimator, problem), problem)
    objects = problem.y.astype(object)
    variants = []
    markers = [None, np.nan]
    if _HAS_PANDAS:
        import pandas as pd

        markers.append(pd.NA)
    for marker in markers:
        objects = objects.copy()
        objects[unlabeled] = marker
        variants.append(objects)
    for y in variants:
        outputs = _outputs(_fit(estimator, problem, y=y), problem)
        _assert_same(
            outputs, expected, f"the marker {y[unlabeled][0]!r} changes the fit"
        )
    if is_classifier(estimator):
        fitted = _unchanged_fit(estimator, problem)
        assert fitted.classes_.dtype.kind == "i", "classes_ are not integers"
        integers = np.where(unlabeled, -1, problem.y).astype(int)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outputs = _outputs(_fit(estimator, problem, y=integers), problem)
        _assert_same(outputs, expected, "the marker -1 changes the fit")
        marker = [w for w in caught if w.category is IntegerMarkerWarning]
        assert len(marker) == 1, f"{len(marker)} warnings about the integer -1, not one"


def check_marker_among_sources(estimator, make_data):
    """A missing label of a source row is a clear error, or it is taken as declared."""
    problem = make_data(estimator)
    y = problem.y.copy()
    row = np.flatnonzero(problem.sample_domain > 0)[0]
    y[row] = np.nan
    if get_transfer_tags(estimator).unlabeled_sources:
        _outputs(_fit(estimator, problem, y=y), problem)
        return
    _assert_raises(
        DomainError,
        f"row {row}",
        lambda: _fit(estimator, problem, y=y),
        "a marker among the labels of the sources",
    )


def check_target_labels_tag(estimator, make_data):
    """Labels of target rows change the fit exactly where the tag declares it."""

    def relabel(problem):
        rows = problem.is_labeled_target
        y = problem.y.copy()
        if is_regressor(estimator):
            y[rows] = -3 * y[rows]
        else:
            y[rows] = (y[rows] + 1) % 3
            # a mere permutation would hide a leak of the classes' frequencies
            last = np.flatnonzero(rows & (y == 2))
            y[last[::2]] = 1
        return replace(problem, y=y)

    tag = get_transfer_tags(estimator).target_labels
    if tag == "unused":
        assert not _fit_changes(estimator, make_data, relabel, n_problems=2), (
            "target labels leak into a fit that declares them unused"
        )
    else:
        assert _fit_changes(estimator, make_data, relabel), (
            f"target_labels={tag!r}, but other labels give the same fit"
        )


def check_unlabeled_tag(estimator, make_data):
    """Unlabeled target rows change the fit exactly where the tag declares it."""

    def drop(problem):
        return problem.take(~problem.unlabeled)

    if get_transfer_tags(estimator).uses_unlabeled:
        assert _fit_changes(estimator, make_data, drop), (
            "uses_unlabeled, but the fit ignores unlabeled rows"
        )
    else:
        assert not _fit_changes(estimator, make_data, drop, n_problems=2), (
            "unlabeled rows change a fit that declares to ignore them"
        )


def _fit_changes(estimator, make_data, change, *, n_problems=8):
    """Tell whether a change of the rows changes the fit on one of several problems.

    A solution at a corner, such as a source of weight 1, may stay where it is on
    some of them.
    """
    for seed in range(n_problems):
        problem = make_data(estimator, random_state=seed)
        changed = change(problem)
        fits = [_unchanged_fit(estimator, problem)] if seed == 0 else []
        with warnings.catch_warnings():
            # another problem may be one where the sources hurt
            warnings.simplefilter("ignore", NegativeTransferWarning)
            fits += [_fit(estimator, p) for p in (problem, changed)[len(fits) :]]
        if _differ(*(_outputs(fitted, problem) for fitted in fits)):
            return True
        if hasattr(estimator, "fit_transform"):
            mapped = (_fit_transform_labeled(estimator, p) for p in (problem, changed))
            if _differ(*mapped):
                return True
    return False


def _fit_transform_labeled(estimator, problem):
    """What ``fit_transform`` makes of the source rows and the labeled target rows."""
    Z = clone(estimator).fit_transform(
        problem.X, problem.y, sample_domain=problem.sample_domain
    )
    return {"fit_transform": _dense(Z)[~problem.unlabeled]}


def check_target_only(estimator, make_data):
    """Target rows alone with and without ``sample_domain`` give the same fit."""
    problem = make_data(estimator, n_unlabeled=0)
    target = problem.take(problem.sample_domain < 0)
    _assert_same(
        _outputs(_fit(estimator, target), target),
        _outputs(_fit(estimator, target, sample_domain=None), target),
        "sample_domain=None is not the fit on labeled target rows",
    )


def check_no_labeled_target(estimator, make_data):
    """Without labeled target rows: a fit, or an error where they are required."""
    problem = make_data(estimator)
    y = problem.y.copy()
    y[problem.is_labeled_target] = np.nan
    if get_transfer_tags(estimator).target_labels == "required":
        _assert_raises(
            UnlabeledTargetError,
            "labeled target rows",
            lambda: _fit(estimator, problem, y=y),
            "no labeled target row",
        )
    else:
        _outputs(_fit(estimator, problem, y=y), problem)


def check_one_labeled_row(estimator, make_data):
    """One labeled target row gives a fit or a ValueError, nothing else."""
    _assert_finite_or_refused(estimator, make_data(estimator, n_labeled=1))


def check_equal_target_labels(estimator, make_data):
    """Target rows that all have one label give a fit or a ValueError, nothing else."""
    problem = make_data(estimator)
    y = problem.y.copy()
    y[problem.is_labeled_target] = y[problem.is_labeled_target][0]
    _assert_finite_or_refused(estimator, replace(problem, y=y))


def check_equal_rows(estimator, make_data):
    """Samples that are all alike give a fit or a ValueError, nothing else."""
    problem = make_data(estimator)
    _assert_finite_or_refused(estimator, replace(problem, X=np.ones_like(problem.X)))


def check_parameters_kept(estimator, make_data):
    """``fit`` keeps the parameters; clone and pickle work afterwards."""
    problem = make_data(estimator)
    before = joblib.hash(estimator.get_params(deep=False))
    fitted = clone(estimator)
    fitted.fit(problem.X, problem.y, sample_domain=problem.sample_domain)
    after = joblib.hash(fitted.get_params(deep=False))
    assert before == after, "fit changes a constructor parameter"
    unpickled = pickle.loads(pickle.dumps(fitted))
    _assert_same(
        _outputs(unpickled, problem),
        _outputs(fitted, problem),
        "a pickled estimator differs",
        rtol=0,
        atol=0,
    )
    try:
        _outputs(clone(fitted), problem)
    except (NotFittedError, AttributeError, AssertionError):
        return
    raise AssertionError("a clone of a fitted estimator is fitted")


def check_refit(estimator, make_data):
    """A second fit forgets the first."""
    problem = make_data(estimator)
    other = make_data(estimator, random_state=1, n_source=(12, 8))
    refitted = clone(estimator)
    for p in (other, problem):
        refitted.fit(p.X, p.y, sample_domain=p.sample_domain)
    _assert_same(
        _outputs(refitted, problem),
        _outputs(_unchanged_fit(estimator, problem), problem),
        "a second fit remembers the first",
        rtol=1e-9,
        atol=1e-10,
    )


def check_same_seed(estimator, make_data):
    """The same seed gives the same result."""
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    problem = make_data(estimator)
    fits = _unchanged_fit(estimator, problem), _fit(estimator, problem)
    outputs = [_outputs(fitted, problem) for fitted in fits]
    _assert_same(*outputs, "two fits with the same seed differ", rtol=1e-10, atol=1e-12)


def check_bad_sample_domain(estimator, make_data):
    """Bad domain ids are errors that name the argument."""
    problem = make_data(estimator)
    ids = problem.sample_domain
    zero = ids.copy()
    zero[3] = 0
    bad = {
        "a zero id": zero,
        "float ids": ids.astype(float),
        "text ids": ids.astype(str),
        "too few ids": ids[:-1],
        "ids of the wrong shape": np.column_stack([ids, ids]),
        "no target row": np.abs(ids),
    }
    for what, value in bad.items():
        _assert_raises(
            ValueError,
            "sample_domain",
            lambda value=value: _fit(estimator, problem, sample_domain=value),
            what,
        )


def check_undeclared_sources(estimator, make_data):
    """Several sources are refused unless the tag declares them."""
    problem = make_data(estimator)
    ids = problem.sample_domain.copy()
    ids[np.flatnonzero(ids > 0)[::2]] = 5
    divided = replace(problem, sample_domain=ids)
    if get_transfer_tags(estimator).multi_source:
        _outputs(_fit(estimator, divided), divided)
    else:
        _assert_raises(
            CapabilityError,
            "sources",
            lambda: _fit(estimator, divided),
            "two sources",
        )


def check_undeclared_targets(estimator, make_data):
    """Several targets are refused unless the tag declares them."""
    problem = make_data(estimator, n_labeled=24)
    ids = problem.sample_domain.copy()
    ids[np.flatnonzero(ids < 0)[::2]] = -2
    divided = replace(problem, sample_domain=ids)
    if get_transfer_tags(estimator).multi_target:
        _outputs(_fit(estimator, divided), divided)
    else:
        _assert_raises(
            CapabilityError,
            "targets",
            lambda: _fit(estimator, divided),
            "two targets",
        )


def check_unseen_domain(estimator, make_data):
    """Ids that ``fit`` has not seen get an answer or an error, as the tag declares."""
    problem = make_data(estimator)
    fitted = _unchanged_fit(estimator, problem)
    known = np.unique(problem.sample_domain)
    for method in ("predict", "predict_proba", "transform"):
        if not (hasattr(fitted, method) and _takes_domains(fitted, method)):
            continue
        rows = np.flatnonzero(problem.sample_domain == known[0])
        X = np.concatenate([problem.X[rows], problem.X_test])
        ids = np.repeat([known[0], 987], [len(rows), len(problem.X_test)])
        answer = getattr(fitted, method)

        def ask(answer=answer, X=X, ids=ids):
            return _dense(answer(X, sample_domain=ids))

        if not get_transfer_tags(estimator).unseen_domain:
            if method != "transform":  # a map may treat all sources alike
                _assert_raises(DomainError, "987", ask, "an unseen domain")
            continue
        value = ask()
        assert len(value) == len(X), "one output per row"
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), "an output is not finite"
        alone = _dense(answer(X[: len(rows)], sample_domain=ids[: len(rows)]))
        _assert_same(
            {method: value[: len(rows)]},
            {method: alone},
            "rows of an unseen domain change those of a known one",
        )


def _takes_domains(estimator, method):
    return "sample_domain" in signature(getattr(estimator, method)).parameters


def check_pipeline_routing(estimator, make_data):
    """In a pipeline the domains arrive without a request by the user."""
    problem = make_data(estimator)
    scaler = StandardScaler().fit(problem.X)
    scaled = replace(
        problem, X=scaler.transform(problem.X), X_test=scaler.transform(problem.X_test)
    )
    pipeline = make_pipeline(StandardScaler(), clone(estimator))
    with config_context(enable_metadata_routing=True):
        pipeline.fit(problem.X, problem.y, sample_domain=problem.sample_domain)
    _assert_same(
        _outputs(pipeline, problem),
        _outputs(_fit(estimator, scaled), scaled),
        "the fit in a pipeline differs",
    )


def check_string_labels(estimator, make_data):
    """Text classes give the fit of the integer classes."""
    problem = make_data(estimator)
    names = np.array(["ant", "bee", "cat"], dtype=object)
    y = names[np.where(problem.unlabeled, 0, problem.y).astype(int)]
    y[problem.unlabeled] = None
    fitted = _fit(estimator, problem, y=y)
    assert fitted.classes_.dtype.kind in "UO", "classes_ of text labels"
    assert_array_equal(fitted.classes_, names, err_msg="classes_ of text labels")
    outputs = _outputs(fitted, problem)
    expected = _outputs(_unchanged_fit(estimator, problem), problem)
    assert_array_equal(outputs.pop("predict"), names[expected.pop("predict")])
    if expected:
        _assert_same(outputs, expected, "text labels change the fit")


def check_face_value_labels(estimator, make_data):
    """Without ``sample_domain`` the class -1 is a class."""
    problem = make_data(estimator, n_unlabeled=0)
    target = problem.take(problem.sample_domain < 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegerMarkerWarning)
        classes = target.y.astype(int) - 1
        three = _fit(estimator, target, y=classes, sample_domain=None)
    assert_array_equal(three.classes_, [-1, 0, 1], err_msg="classes {-1, 0, 1}")
    signs = np.where(target.y > 0, 1, -1)
    two = _fit(estimator, target, y=signs, sample_domain=None)
    assert_array_equal(two.classes_, [-1, 1], err_msg="classes {-1, 1}")
    two.score(target.X, signs)


def check_score_refuses_markers(estimator, make_data):
    """Scoring unlabeled rows is an error that names the target splitters."""
    problem = make_data(estimator)
    fitted = _unchanged_fit(estimator, problem)
    target = problem.take(problem.sample_domain < 0)
    _assert_raises(
        UnlabeledTargetError,
        "TargetKFold",
        lambda: fitted.score(target.X, target.y),
        "score with a marker in y",
    )
    labeled = target.take(~target.unlabeled)
    assert np.isfinite(fitted.score(labeled.X, labeled.y)), "score of labeled rows"


def check_scorers_refuse_markers(estimator, make_data):
    """Scorers of scikit-learn refuse target rows whose labels are missing."""
    problem = make_data(estimator)
    y = mark_unlabeled(problem.y, problem.unlabeled)
    fitted = _unchanged_fit(estimator, replace(problem, y=y))
    target = problem.take(problem.sample_domain < 0)
    labeled = target.take(~target.unlabeled)
    if is_regressor(estimator):
        names = ["r2", "neg_mean_absolute_error", "explained_variance"]
    else:
        names = ["accuracy", "balanced_accuracy", "f1_macro", "matthews_corrcoef"]
        names += ["neg_log_loss", "roc_auc_ovr"] * hasattr(fitted, "predict_proba")
    for name in names:
        scorer = get_scorer(name)
        for marked in (target, target.take(target.unlabeled)):
            with warnings.catch_warnings():
                # scikit-learn casts the labels before it looks for NaN
                warnings.simplefilter("ignore", RuntimeWarning)
                _assert_raises(
                    ValueError,
                    "",
                    lambda scorer=scorer, rows=marked: scorer(fitted, rows.X, rows.y),
                    f"scoring={name!r} on rows whose labels are missing",
                )
        score = scorer(fitted, labeled.X, labeled.y)
        assert np.isfinite(score), f"scoring={name!r} of labeled rows"


def check_cross_validate_refuses_markers(estimator, make_data):
    """Cross-validation by habit, ``cv=3``, gives no score of unlabeled rows."""
    problem = make_data(estimator, n_labeled=18)
    problem = problem.take(np.argsort(problem.sample_domain, kind="stable"))
    marked = np.array(
        [np.isnan(problem.y[test]).any() for _, test in KFold(3).split(problem.X)]
    )
    named = "r2" if is_regressor(estimator) else "accuracy"
    scoring = {named: get_scorer(named)}
    if hasattr(estimator, "score"):
        scoring["None"] = default_scorer(estimator)
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of every score of NaN
        try:
            scores = cross_validate(
                clone(estimator),
                problem.X,
                problem.y,
                cv=KFold(3),
                scoring=scoring,
                return_train_score=True,
                params={"sample_domain": problem.sample_domain},
            )
        except ValueError:
            return
    for name in scoring:
        assert np.isnan(scores[f"train_{name}"]).all(), (
            "train rows without label scored"
        )
        assert np.isnan(scores[f"test_{name}"][marked]).all(), (
            f"cv=3 with scoring={name} scores test rows whose labels are missing"
        )


def check_metadata_sliced(estimator, make_data):
    """Routed metadata reach the learner with the rows that they belong to."""
    problem = make_data(estimator)
    with config_context(enable_metadata_routing=True):
        learners = {
            name: _recording(estimator.get_params()[name])
            for name in _learners(estimator)
        }
    clone(estimator).set_params(**learners).fit(
        problem.X,
        problem.y,
        sample_domain=problem.sample_domain,
        row_id=problem.X[:, 0].copy(),
    )


def _weighted(estimator):
    """Return a copy whose ``fit`` takes weights of the user; None if it takes none."""
    parameters = signature(estimator.fit).parameters
    if "sample_weight" in parameters:
        return clone(estimator)
    if not _takes_metadata(estimator):
        return None
    learners = {}
    with config_context(enable_metadata_routing=True):
        for name in _learners(estimator):
            learner = estimator.get_params()[name]
            if not has_fit_parameter(learner, "sample_weight"):
                return None
            if hasattr(learner, "set_fit_request"):
                learners[name] = clone(learner).set_fit_request(sample_weight=True)
        return clone(estimator).set_params(**learners)


def check_weightless_rows(estimator, make_data):
    """A row whose ``sample_weight`` is 0 is a removed row, in every domain."""
    problem = make_data(estimator)
    weighted = _weighted(estimator)
    n = len(problem.y)
    weights = np.random.RandomState(0).uniform(0.5, 2.0, size=n)
    domain = np.where(problem.unlabeled, 0, problem.sample_domain)
    for kind in np.unique(domain):
        weights[np.flatnonzero(domain == kind)[::4]] = 0.0
    kept = weights > 0
    part = problem.take(kept)
    whole, removed = (
        clone(weighted).fit(p.X, p.y, sample_domain=p.sample_domain, sample_weight=w)
        for p, w in ((problem, weights), (part, weights[kept]))
    )
    _assert_same(
        _outputs(whole, replace(part, X_test=problem.X_test)),
        _outputs(removed, part),
        "a row of weight 0 changes the fit",
    )


def _recording(learner):
    """Return the learner with a ``fit`` that wants ``row_id``, the first feature."""
    plain = type(learner)

    # trees declare check_input, and so their fit must have it
    def fit(self, X, y, sample_weight=None, row_id=None, check_input=True):
        assert row_id is not None, "the learner gets no metadata"
        assert_array_equal(np.shape(row_id), (len(X),), "metadata of another length")
        assert_array_equal(X[:, 0], row_id, "metadata of other rows")
        if sample_weight is None:
            return plain.fit(self, X, y)
        assert_array_equal(np.shape(sample_weight), (len(X),), "sample_weight")
        return plain.fit(self, X, y, sample_weight=sample_weight)

    recorder = type(f"Recording{plain.__name__}", (plain,), {"fit": fit})
    requests = {"row_id": True, "sample_weight": True}
    return recorder(**learner.get_params(deep=False)).set_fit_request(**requests)
