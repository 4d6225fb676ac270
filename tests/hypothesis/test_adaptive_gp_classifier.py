import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from sktransfer.hypothesis import AdaptiveGP, AdaptiveGPClassifier
from sktransfer.hypothesis._adaptive_gp import _Model
from sktransfer.hypothesis._adaptive_gp_classifier import _LaplaceModel

KERNEL = ConstantKernel(4.0, "fixed") * RBF(1.0, "fixed")


def make_data(n_classes=2, flip=(), sizes=(25, 25, 20), seed=0):
    rng = np.random.RandomState(seed)
    domain = np.repeat([3, 7, -1], sizes)
    X = rng.uniform(-2, 2, size=(sum(sizes), 2))
    signal = np.sin(2 * X[:, 0]) + X[:, 1]
    for source in flip:
        signal[domain == source] *= -1
    y = np.digitize(signal, [0.0] if n_classes == 2 else [-0.7, 0.7])
    return X, y, domain


def fit(data, kernel=KERNEL, **options):
    X, y, domain = data
    return AdaptiveGPClassifier(kernel, **options).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_lambda_0_is_scikit_learn_on_the_target_and_1_on_all(n_classes, strength):
    """lambda = 0: sklearn's GaussianProcessClassifier on T_l; lambda = 1: on all."""
    X, y, domain = data = make_data(n_classes)
    model = fit(data, transfer_strength=strength)
    rows = domain < 0 if strength == 0 else np.ones(len(y), dtype=bool)
    plain = GaussianProcessClassifier(KERNEL, optimizer=None).fit(X[rows], y[rows])
    # scikit-learn takes five error functions for the logistic function
    assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=3e-3)
    assert model.residual_ < 1e-8
    if strength == 0 and n_classes == 2:
        found = plain.log_marginal_likelihood_value_
        assert model.log_evidence_ == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_sum_to_1(n_classes):
    data = make_data(n_classes)
    model = fit(data, transfer_strength=0.5)
    p = model.predict_proba(10 * data[0])
    assert_allclose(p.sum(axis=1), 1)
    assert ((p > 0) & (p < 1)).all()
    far = model.predict_proba([[99.0, 99.0]])
    assert_allclose(far, 1 / n_classes, atol=1e-6)


def test_one_latent_value_is_integrated_out_exactly():
    """Against the integral over the latent value, by quadrature of SciPy."""
    from scipy.integrate import quad
    from scipy.stats import norm

    data = make_data()
    X = data[0]
    model = fit(data, transfer_strength=0.5)
    means, variances = model._latent(X[:4])
    for k in range(4):
        m, s = means[0, k], np.sqrt(variances[0, k])
        value = quad(
            lambda f, m=m, s=s: norm.pdf(f, m, s) / (1 + np.exp(-f)),
            m - 12 * s, m + 12 * s, epsabs=1e-12,
        )[0]  # fmt: skip
        assert model.predict_proba(X[:4])[k, 1] == pytest.approx(value, abs=1e-6)


def test_gradients_are_those_of_differences():
    X, y, domain = make_data(3)
    order = np.argsort(np.where(domain < 0, 99, domain), kind="stable")
    codes = np.repeat([0, 1, 2], [25, 25, 20])
    signs = np.where(y[order] == np.arange(3)[:, None], 1.0, -1.0)
    kernel = ConstantKernel(2.0) * RBF(1.5)
    model = _LaplaceModel(kernel, X[order], signs, codes)
    for strength in (0.7, 0.0, -0.5):
        start = model.join(strength)
        error = check_grad(
            lambda p: model.objective(p)[0], lambda p: model.objective(p)[1], start
        )
        assert error < 1e-3 * np.linalg.norm(model.objective(start)[1])


def test_the_kernel_across_domains_is_that_of_adaptive_gp():
    X = make_data()[0]
    codes = np.repeat([0, 1, 2], [25, 25, 20])
    v = np.array([0.3, -0.5, 1.0])[codes]
    mine = _LaplaceModel(RBF(1.0), X, np.ones((1, 70)), codes)
    other = _Model(RBF(1.0), X, np.ones(70), codes, joint=False)
    assert_allclose(mine.factors(v), other.factors(v))
    values = np.linalg.eigvalsh(mine.factors(v) * RBF(1.0)(X))
    assert values.min() > -1e-10


def test_a_good_source_helps_and_a_flipped_one_is_used_in_reverse_or_dropped():
    X, y, domain = make_data(flip=[7], sizes=(40, 40, 14))
    rng = np.random.RandomState(5)
    new = rng.uniform(-2, 2, size=(300, 2))
    truth = (np.sin(2 * new[:, 0]) + new[:, 1] > 0).astype(int)
    kernel = ConstantKernel(4.0, (1.0, 50.0)) * RBF(1.5, (0.5, 5.0))
    model = fit((X, y, domain), kernel)
    own = domain < 0
    alone = AdaptiveGPClassifier(kernel).fit(X[own], y[own])
    assert model.transfer_strength_[0] > 0.5 and model.transfer_strength_[1] <= 0
    assert model.score(new, truth) > alone.score(new, truth)
    assert alone.transfer_strength_.size == 0


def test_unrelated_sources_are_dropped():
    X, y, domain = make_data()
    rng = np.random.RandomState(1)
    y = np.where(domain > 0, rng.randint(2, size=len(y)), y)
    model = fit((X, y, domain))
    assert_allclose(model.transfer_strength_, 0, atol=1e-12)
    own = domain < 0
    alone = AdaptiveGPClassifier(KERNEL).fit(X[own], y[own])
    assert_allclose(model.predict_proba(X), alone.predict_proba(X), atol=1e-7)
    assert (model.evidence_gain_ < 2).all()


def test_classes_of_the_sources_alone_and_one_class():
    X, y, domain = make_data(3)
    own = domain < 0
    y = np.where(own & (y == 2), 1, y)
    model = fit((X, y, domain), transfer_strength=0.5)
    assert model.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="at least two classes"):
        fit((X, np.zeros(len(y), int), domain))


def test_it_is_close_to_the_regression_on_labels_of_plus_and_minus_one():
    """The cheap version ranks samples alike."""
    X, y, domain = make_data(sizes=(40, 40, 40))
    options = {"transfer_strength": 0.6}
    model = fit((X, y, domain), **options)
    cheap = AdaptiveGP(KERNEL, **options).fit(X, 2.0 * y - 1, sample_domain=domain)
    new = np.random.RandomState(3).uniform(-2, 2, size=(200, 2))
    agree = (cheap.predict(new) > 0) == (model.predict(new) == 1)
    assert agree.mean() > 0.9
