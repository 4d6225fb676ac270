import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2_contingency
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from sktransfer.metrics import h_score, maximal_h_score


def categories(n=300, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randint(5, size=(n, 1))
    y = np.where(rng.uniform(size=n) < 0.7, X[:, 0] % 3, rng.randint(3, size=n))
    return X, y


def test_of_categories_it_is_chi_square_over_n():
    X, y = categories()
    table = np.zeros((5, 3))
    np.add.at(table, (X[:, 0], y), 1)
    expected = chi2_contingency(table).statistic / len(y)
    assert maximal_h_score(X, y, discrete=True) == pytest.approx(expected)
    words = np.array(["abcde"[k] for k in X[:, 0]], dtype=object)[:, None]
    assert maximal_h_score(words, y, discrete=True) == pytest.approx(expected)


def test_x_discrete_and_f_one_hot_of_x_has_the_share_1():
    X, y = categories()
    f = OneHotEncoder(sparse_output=False).fit_transform(X)
    best = maximal_h_score(X, y, discrete=True)
    assert h_score(f, y) == pytest.approx(best)
    share = h_score(f, y, normalize=True, classifier=LogisticRegression())
    assert 0.9 < share <= 1
    # with fewer features less of it is left
    assert h_score(f[:, :1], y) < best


@pytest.mark.parametrize("n_classes", [2, 5])
def test_independent_labels_have_0(n_classes):
    """The plain form rewards overconfidence."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(300, 3)), rng.randint(n_classes, size=300)
    calibrated = CalibratedClassifierCV(GaussianNB(), cv=3)
    assert maximal_h_score(X, y, classifier=calibrated) < 0.05
    assert maximal_h_score(X, y) < 0.05
    assert maximal_h_score(X, y, classifier=DecisionTreeClassifier()) == 0


@pytest.mark.parametrize("n_classes", [2, 4])
def test_labels_that_x_determines_have_n_classes_less_1(n_classes):
    rng = np.random.RandomState(0)
    y = np.arange(200) % n_classes
    X = 10.0 * np.eye(n_classes)[y] + rng.normal(size=(200, n_classes))
    found = maximal_h_score(X, y)
    assert found == pytest.approx(n_classes - 1, rel=0.02)
    assert 0.95 <= h_score(X, y, normalize=True) <= 1


def test_it_is_twice_the_soft_hgr_optimum():
    X, y = categories()
    joint = np.zeros((5, 3))
    np.add.at(joint, (X[:, 0], y), 1 / len(y))
    of_x, of_y = joint.sum(axis=1), joint.sum(axis=0)
    U, s, Vt = np.linalg.svd(joint / np.sqrt(np.outer(of_x, of_y)))
    # the optimum: f g' = B minus the trivial part, split by the singular values
    f = U[:, 1:3] * np.sqrt(s[1:3]) / np.sqrt(of_x)[:, None]
    g = Vt[1:3].T * np.sqrt(s[1:3]) / np.sqrt(of_y)[:, None]
    value = np.sum(joint * (f @ g.T))
    value -= 0.5 * np.trace((f.T * of_x) @ f @ (g.T * of_y) @ g)
    assert maximal_h_score(X, y, discrete=True) == pytest.approx(2 * value)


def test_it_is_close_to_the_truth_of_gaussians():
    """H* of two normal classes, by the integral over their densities."""
    from scipy.integrate import quad
    from scipy.stats import norm

    def integrand(x):
        p = norm.pdf(x, [-1, 1]) / 2
        return np.sum(p**2) / p.sum() / 0.5

    truth = quad(integrand, -9, 9)[0] - 1
    rng = np.random.RandomState(0)
    y = np.arange(2000) % 2
    X = rng.normal(size=(2000, 1)) + np.where(y == 0, -1, 1)[:, None]
    found = maximal_h_score(X, y, classifier=LogisticRegression())
    assert found == pytest.approx(truth, abs=0.05)


def test_shares_compare_tasks_of_different_sizes():
    """The share removes the growth of the H-score with the number of classes."""
    rng = np.random.RandomState(0)
    raw, shares = [], []
    for n_classes in (2, 8):
        y = np.arange(480) % n_classes
        centers = rng.normal(size=(n_classes, 12)) * 3
        X = centers[y] + rng.normal(size=(480, 12))
        f = X[:, : 12 if n_classes == 2 else 4]  # of the larger task a part is lost
        raw.append(h_score(f, y))
        shares.append(h_score(f, y, normalize=True, inputs=X))
    assert raw[1] > 2 * raw[0] and shares[1] < shares[0]
    assert all(0 <= share <= 1 for share in shares)


def test_order_of_the_samples_does_not_matter():
    X, y = categories(90)
    X = X + np.random.RandomState(1).normal(size=X.shape)
    order = np.random.RandomState(2).permutation(90)
    options = {"classifier": LogisticRegression()}
    first = maximal_h_score(X, y, **options)
    assert maximal_h_score(X[order], y[order], **options) == pytest.approx(first)


# -- real labels -----------------------------------------------------------------


def test_real_labels_by_quantile_bins():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(400, 2))
    y = X[:, 0] + 0.3 * rng.normal(size=400)
    bins = np.digitize(y, np.quantile(y, [0.25, 0.5, 0.75]))
    assert h_score(X, y, bins=4) == pytest.approx(h_score(X, bins))
    assert 0.4 < h_score(X, y, bins=4, normalize=True) <= 1
    assert maximal_h_score(X, y, n_bins=4) > maximal_h_score(X[:, 1:], y, n_bins=4)


def test_real_labels_by_splines_are_squared_canonical_correlations():
    rng = np.random.RandomState(0)
    for rho in (0.0, 0.6, 0.95):
        f = rng.normal(size=(4000, 1))
        y = rho * f[:, 0] + np.sqrt(1 - rho**2) * rng.normal(size=4000)
        assert h_score(f, y, bins="spline") == pytest.approx(rho**2, abs=0.02)
        # invariant under monotone maps of the labels
        assert h_score(f, np.exp(y), bins="spline") == pytest.approx(
            h_score(f, y, bins="spline")
        )
    bent = f**2
    assert h_score(bent, y, bins="spline") > 0.7
    from sktransfer.metrics._h_score import _label_functions

    G = _label_functions(y[:300])
    F = np.hstack([f[:300], rng.normal(size=(300, 1))])
    cca = CCA(2, max_iter=5000, tol=1e-12).fit(F, G)
    a, b = cca.transform(F, G)
    rs = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(2)]
    found = h_score(F, y[:300], bins="spline")
    assert found == pytest.approx(np.sum(np.square(rs)), abs=1e-4)
    assert_allclose(G.T @ G / 300, np.eye(G.shape[1]), atol=1e-9)


def test_what_cannot_be_done_is_refused():
    X, y = categories(20)
    with pytest.raises(ValueError, match="normalize=True needs classes"):
        h_score(X, y, bins="spline", normalize=True)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        h_score(X, y, normalize=True, inputs=X[:5])
    with pytest.raises(ValueError, match="leave nothing to hold out"):
        maximal_h_score(X[:3], np.arange(3))
    with pytest.raises((TypeError, ValueError), match="classifier"):
        maximal_h_score(X, y, classifier=Ridge())
    assert maximal_h_score(X, np.zeros(20)) == 0
    assert h_score(X, np.zeros(20), normalize=True) == 0


def test_a_share_of_nothing_is_named():
    """Without any dependence the share says nothing, and that is not silent."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    with pytest.warns(UserWarning, match="finds no dependence of y on the inputs"):
        assert h_score(X, y, normalize=True) == 1.0


@pytest.mark.parametrize("name", ["inputs", "classifier"])
def test_what_normalizes_is_not_ignored(name):
    X, y = [[0.0], [0.0], [1.0], [1.0]], [0, 0, 1, 1]
    value = X if name == "inputs" else LogisticRegression()
    with pytest.raises(ValueError, match=f"{name} is for normalize=True"):
        h_score(X, y, **{name: value})


def test_categories_take_no_classifier():
    with pytest.raises(ValueError, match="discrete=True takes no classifier"):
        maximal_h_score([[0], [1]], [0, 1], discrete=True, classifier=GaussianNB())
