"""Which kind of shift: level, power, and that the three are told apart."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.svm import LinearSVC

from sktransfer.baselines import Pooled
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics import (
    compare_domains,
    query_target,
    target_coefficients,
    which_shift,
)


def _draw(rng, kind, task, n_source=250, n_target=60):
    n = n_source + n_target
    domain = np.repeat([1, -1], [n_source, n_target])
    target = domain < 0
    X = rng.normal(size=(n, 3))
    if kind == "label":
        y = rng.normal(size=n) + 1.2 * target
        if task == "classification":
            y = (rng.uniform(size=n) < np.where(target, 0.1, 0.5)).astype(float)
        return X + y[:, None] * [1.3, 0.5, 0.0], y, domain
    X[:, 0] += 1.2 * target * (kind == "covariate")
    slope = np.where(target & (kind == "concept"), -2.0, 2.0)
    score = slope * X[:, 0] + X[:, 1]
    if task == "classification":
        return X, (score + rng.logistic(size=n) > 0).astype(float), domain
    return X, score + rng.normal(size=n), domain


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", ["covariate", "label", "concept"])
def test_the_shift_is_found_and_named(rng, kind, task):
    found = []
    for _ in range(4):
        X, y, domain = _draw(rng, kind, task)
        result = which_shift(X, y, sample_domain=domain, task=task, n_permutations=99)
        found.append(
            [getattr(result, k) <= 0.05 for k in ("covariate", "label", "concept")]
        )
    shares = dict(
        zip(("covariate", "label", "concept"), np.mean(found, axis=0), strict=True)
    )
    own = shares.pop(kind)
    # for real labels the rows of a label are blurred by bins
    assert own >= (0.0 if (kind, task) == ("covariate", "regression") else 0.75)
    assert max(shares.values()) < 0.5


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_level_without_any_shift(rng, task):
    p_values = []
    for _ in range(24):
        X, y, domain = _draw(rng, "none", task, n_source=80, n_target=25)
        result = which_shift(X, y, sample_domain=domain, task=task, n_permutations=39)
        p_values.append(result)
    rejected = (np.array(p_values) <= 0.05).mean(axis=0)
    assert (rejected[3:] < 0.19).all()  # 5 % and three standard errors
    assert (rejected[:3] < 0.13).all()


def test_kinds_are_the_larger_of_two_p_values(rng):
    X, y, domain = _draw(rng, "label", "classification")
    y[-20:] = np.nan  # unlabeled rows count in the test of the rows
    result = which_shift(X, y, sample_domain=domain, n_permutations=49)
    assert result.covariate == max(result.p_x, result.p_x_given_y)
    assert result.label == max(result.p_y, result.p_y_given_x)
    assert result.concept == max(result.p_y_given_x, result.p_x_given_y)
    assert min(result) >= 1 / 50
    again = which_shift(X, y, sample_domain=domain, n_permutations=49)
    assert again == result
    text = np.array(["no", "yes", None], dtype=object)
    words = text[np.where(np.isnan(y), 2, y).astype(int)]
    assert which_shift(X, words, sample_domain=domain, n_permutations=49) == result


def test_a_better_model_sees_a_concept_that_lines_do_not(rng):
    X = rng.normal(size=(400, 2))
    domain = np.repeat([1, -1], [300, 100])
    sign = np.where(domain > 0, 1, -1)
    y = (sign * X[:, 0] * X[:, 1] > 0).astype(float)
    forest = RandomForestClassifier(30, min_samples_leaf=5, random_state=0)
    result = which_shift(
        X, y, sample_domain=domain, estimator=forest, n_permutations=99
    )
    assert result.concept <= 0.02


def test_one_class_in_the_target_and_three_classes(rng):
    X, y, domain = _draw(rng, "none", "classification", n_target=12)
    y[domain < 0] = 1.0
    result = which_shift(X, y, sample_domain=domain, n_permutations=49)
    assert result.p_y < 0.05
    three = np.where(X[:, 2] > 0.8, 2.0, y)
    result = which_shift(X, three, sample_domain=domain, n_permutations=49)
    assert np.isfinite(result).all()


def test_bad_input_is_one_error(rng):
    X, y, domain = _draw(rng, "none", "regression")
    few = np.where(np.arange(len(y)) < 254, y, np.nan)
    with pytest.raises(UnlabeledTargetError, match="4 target rows are labeled"):
        which_shift(X, few, sample_domain=domain)
    with pytest.raises(ValueError, match="no source row"):
        which_shift(X[250:], y[250:], sample_domain=domain[250:])
    with pytest.raises(ValueError, match="does not fit task="):
        which_shift(
            X, y, sample_domain=domain, estimator=LinearRegression(),
            task="classification",
        )  # fmt: skip
    with pytest.raises(ValueError, match="has no predict_proba"):
        which_shift(X, np.sign(y), sample_domain=domain, estimator=LinearSVC())


@pytest.mark.parametrize("function", [which_shift, compare_domains])
def test_whole_values_of_a_regression_are_no_missing_labels(rng, function):
    """It said "If -1 is a class", although task="regression" was given."""
    X, domain = rng.normal(size=(60, 2)), np.repeat([1, -1], 30)
    y = rng.randint(-3, 4, 60)
    with pytest.raises(DomainError, match=r"-1 in a regression: .* Pass y as floats"):
        function(X, y, sample_domain=domain, task="regression")
    with pytest.raises(DomainError, match="values, pass them as floats"):
        function(X, y, sample_domain=domain)


@pytest.mark.parametrize("bad", ["text", "missing", "date"])
@pytest.mark.parametrize("name", ["which", "compare", "query", "coefficients"])
def test_rows_that_are_no_numbers_name_x_and_what_helps(rng, name, bad):
    pandas = pytest.importorskip("pandas")
    column = {"text": "u", "missing": np.nan, "date": pandas.Timestamp("2020-01-01")}
    X = pandas.DataFrame({"a": rng.normal(size=60), "b": [column[bad]] * 60})
    domain, y = np.repeat([1, -1], [30, 30]), rng.normal(size=60)
    some = np.where(np.arange(60) < 50, y, np.nan)
    calls = {
        "which": lambda: which_shift(X, y, sample_domain=domain),
        "compare": lambda: compare_domains(X, y, domain),
        "query": lambda: query_target(
            Pooled(Ridge()), X, some, sample_domain=domain, n_samples=2
        ),
        "coefficients": lambda: target_coefficients(X, some, y),
    }
    with pytest.raises(ValueError, match=r"X must hold finite numbers: .*TableEncoder"):
        calls[name]()
