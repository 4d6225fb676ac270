import joblib
import numpy as np
import pytest

from sktransfer import metrics
from sktransfer.datasets import make_covariate_shift, make_subspace_shift
from sktransfer.exceptions import DomainError
from sktransfer.metrics import compare_domains

SEEDLESS = (
    "mmd",
    "coral_distance",
    "wasserstein",
    "gaussian_kl",
    "bregman",
    "sinkhorn_divergence",
    "rank_of_domain",
    "feature_correlation",
)


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    domain = np.repeat([4, 9, -1], [30, 40, 35])
    shift = np.repeat([0.0, 2.0, 0.0], [30, 40, 35])
    y = np.array(["a", "b"], dtype=object)[np.arange(105) % 2]
    X = rng.normal(size=(105, 3)) + 0.7 * (y == "a")[:, None] + shift[:, None]
    y[-10:] = None
    order = rng.permutation(105)
    return X[order], y[order], domain[order]


def column(table, measure, key="value"):
    return table[key][table["measure"] == measure]


def test_all_measures_agree_with_their_functions(data):
    X, y, domain = data
    table = compare_domains(X, y, domain, measures="all", n_bootstrap=0, random_state=0)
    assert (table["note"] == "").all()
    assert np.isnan(table["std_error"]).all()
    labeled = np.array([v is not None for v in y])
    target = domain < 0
    for k, source in enumerate((4, 9)):
        rows = domain == source
        for name in SEEDLESS:
            expected = getattr(metrics, name)(X[rows], X[target])
            assert column(table, name)[k] == pytest.approx(expected)
        dte = metrics.domain_transferability_estimation(X[rows], y[rows], X[target])
        found = column(table, "domain_transferability_estimation")
        assert found[k] == pytest.approx(dte)
    weights = metrics.azab_weights(
        [(X[domain == s], y[domain == s]) for s in (4, 9)],
        X[target & labeled],
        y[target & labeled],
    )
    np.testing.assert_allclose(column(table, "azab_weights"), weights)


def test_every_measure_prefers_the_near_source(data):
    X, y, domain = data
    # labels make both sources alike for measures of the labeling rule
    table = compare_domains(X, y, domain, measures="all", n_bootstrap=0, random_state=0)
    blind = {
        "label_informed_divergence",
        "coral_distance",
        "feature_correlation",
        "q_statistic",
        "rank_of_domain",
    }
    for name in set(table["measure"]) - blind:
        near, far = column(table, name)
        if column(table, name, "larger_is_similar")[0]:
            assert near > far, name
        else:
            assert near < far, name


def test_default_measures_need_no_labels(data):
    X, _, domain = data
    table = compare_domains(X, None, domain, n_bootstrap=3, random_state=0)
    assert len(table["value"]) == 10
    assert {len(v) for v in table.values()} == {10}
    assert np.all(table["low"] < table["value"])
    assert np.all(table["value"] < table["high"])
    every = compare_domains(
        X, None, domain, measures="all", n_bootstrap=0, random_state=0
    )
    assert "azab_weights" not in every["measure"]
    import pandas

    assert pandas.DataFrame(table).shape == (10, 8)


def test_parallel_jobs_give_the_same_table(data):
    X, y, domain = data
    options = {"measures": ["mmd", "proxy_a_distance"], "n_bootstrap": 2}
    one = compare_domains(X, y, domain, random_state=0, **options)
    with joblib.parallel_config("threading"):
        two = compare_domains(X, y, domain, random_state=0, n_jobs=2, **options)
    for key in ("value", "low", "high"):
        np.testing.assert_array_equal(one[key], two[key])


def test_standard_error_falls_with_the_sample():
    rng = np.random.RandomState(0)
    errors = []
    for n in (40, 360):
        X, domain = rng.normal(size=(2 * n, 2)), np.repeat([1, -1], n)
        X[:n] += 1
        table = compare_domains(
            X, None, domain, measures=["gaussian_kl"], random_state=0
        )
        errors.append(table["std_error"][0])
    assert errors[0] / errors[1] == pytest.approx(3, rel=0.6)


def test_an_undefined_value_is_noted_and_others_stay(data):
    X, y, domain = data
    X = X[:, :1]
    table = compare_domains(
        X, y, domain, measures=["feature_correlation", "mmd"], n_bootstrap=2
    )
    assert np.isnan(column(table, "feature_correlation")).all()
    assert "undefined" in column(table, "feature_correlation", "note")[0]
    assert np.isfinite(column(table, "mmd")).all()


def test_large_domains_are_sampled(data):
    X, y, domain = data
    small = compare_domains(
        X, y, domain, measures=["mmd"], max_samples=10, n_bootstrap=0, random_state=0
    )
    whole = compare_domains(X, y, domain, measures=["mmd"], n_bootstrap=0)
    assert np.all(small["value"] != whole["value"])


def test_errors(data):
    X, y, domain = data
    with pytest.raises(ValueError, match="'nonsense'"):
        compare_domains(X, y, domain, measures=["nonsense"])
    with pytest.raises(ValueError, match="needs labels"):
        compare_domains(X, None, domain, measures=["azab_weights"])
    with pytest.raises(DomainError, match="at least one source"):
        compare_domains(X, y, np.full(105, -1))
    with pytest.raises(DomainError, match="2 targets"):
        compare_domains(X, y, np.where(domain == 4, -2, domain))


def _increases(table, measure):
    values = column(table, measure)
    if column(table, measure, "larger_is_similar")[0]:
        values = -values
    return np.all(np.diff(values) > 0), values


def test_measures_are_monotone_in_the_covariate_shift():
    data = make_covariate_shift(
        n_source=100,
        n_labeled=0,
        n_unlabeled=100,
        n_features=2,
        shift=[0.0, 1.0, 2.0, 4.0],
        target_scale=1.0,
        task="classification",
        random_state=0,
    )
    # a shift of the mean changes no covariance and no correlation of two features
    measures = [
        "mmd",
        "proxy_a_distance",
        "wasserstein",
        "sinkhorn_divergence",
        "sliced_wasserstein",
        "gaussian_kl",
        "bregman",
        "hsic",
    ]
    table = compare_domains(
        data.X,
        data.y,
        data.sample_domain,
        measures=measures,
        n_bootstrap=0,
        random_state=0,
    )
    for measure in measures:
        increases, values = _increases(table, measure)
        assert increases, (measure, values)


def test_covariance_measures_are_monotone_in_the_subspace_shift():
    data = make_subspace_shift(
        n_source=200, n_unlabeled=200, shift=[0.0, 0.4, 0.8, 1.4], random_state=0
    )
    table = compare_domains(
        data.X,
        None,
        data.sample_domain,
        measures=["coral_distance", "gaussian_kl", "rank_of_domain"],
        n_bootstrap=0,
        random_state=0,
    )
    for measure in ("coral_distance", "gaussian_kl"):
        increases, values = _increases(table, measure)
        assert increases, (measure, values)


def test_few_labels_among_many_rows_are_all_used():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1060, 2))
    y = (X[:, 0] + 2 * rng.normal(size=1060) > 0).astype(int)
    domain = np.repeat([1, -1], [60, 1000])
    y[72:] = -1
    table = compare_domains(
        X, y, domain, measures=["azab_weights", "q_statistic"], max_samples=60,
        n_bootstrap=0, random_state=0,
    )  # fmt: skip
    assert np.isfinite(table["value"]).all()
