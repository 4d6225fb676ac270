"""SelectiveAutoencoder: limits of the selection, intermediate domains, objective."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sktransfer.deep import SelectiveAutoencoder, mk_mmd_loss

NET = SelectiveAutoencoder(
    lr=0.01, max_steps=12, batch_size=32, module__hidden_units=(8, 4), random_state=0
)


def _data(seed=0):
    """Two sources, of which the second is far away, and a target with few labels."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(90, 3))
    domain = np.repeat([2, 7, -1], 30)
    y = (X[:, 0] > 0).astype(float)
    X[domain == 7] *= 8.0
    y[-20:] = np.nan
    return X, y, domain


@pytest.mark.parametrize("nothing", [{"keep": 0}, {"keep": None, "max_loss": 0}])
def test_nothing_selected_is_the_target_only(nothing):
    X, y, domain = _data()
    own = domain < 0  # batches hold all rows, so that no draw differs
    net = clone(NET).set_params(standardize=False, batch_size=90, epoch_size=90)
    net.set_params(warmup=0.0, **nothing)
    whole = net.fit(X, y, sample_domain=domain).predict_proba(X)
    assert_array_equal(net.sample_weight_, 0)
    alone = clone(net).fit(X[own], y[own], sample_domain=-1)
    assert_allclose(alone.predict_proba(X), whole, rtol=1e-9)


@pytest.mark.parametrize(
    "everything", [{"keep": 1}, {"keep": None, "max_loss": np.inf}]
)
def test_everything_selected_is_all_rows(everything):
    X, y, domain = _data()
    net = clone(NET).set_params(**everything).fit(X, y, sample_domain=domain)
    assert_array_equal(net.sample_weight_, 1)
    assert_array_equal(net.selected_path_, 1)


def test_selection_grows_with_the_bound_at_a_given_net():
    X, y, domain = _data()
    shares = []
    for limit in (0.0, 0.5, 1.0, 2.0, 10.0, 1e6):
        # one step: the selection is made at the same new net
        net = clone(NET).set_params(keep=None, max_loss=limit, warmup=0.0, max_steps=1)
        shares.append(net.fit(X, y, sample_domain=domain).sample_weight_.mean())
    assert shares[0] == 0 and shares[-1] == 1
    assert (np.diff(shares) >= 0).all() and len(set(shares)) > 2


def test_the_far_source_is_left_out_and_shares_are_kept():
    X, y, domain = _data()
    net = clone(NET).set_params(keep=None, max_loss=1.0, max_steps=60, warmup=0.3)
    net.fit(X, y, sample_domain=domain)
    near, far = net.sample_weight_[:30].mean(), net.sample_weight_[30:].mean()
    assert near > 0.7 > 0.5 > far
    assert_array_equal(net.selected_path_[0], 0)  # the warm-up
    assert net.source_ids_.tolist() == [2, 7]
    assert_allclose(net.selected_path_[-1], [near, far])
    by_source = clone(NET).set_params(keep={2: 0.5, 7: 0.1}, warmup=0.0)
    path = by_source.fit(X, y, sample_domain=domain).selected_path_
    assert_allclose(path, np.tile([0.5, 0.1], (len(path), 1)))


def test_losses_are_the_objective():
    """Of the first step, whose batches hold all rows."""
    X, y, domain = _data()
    y[30:60] = np.nan  # source 7 is an intermediate domain without labels
    net = clone(NET).set_params(
        keep={2: 1, 7: 0.5}, warmup=0.0, max_steps=1, batch_size=90, standardize=False,
        mmd_weight=0.5, reconstruction_weight=2.0, optimizer=torch.optim.SGD,
        lr=1e-12,
    )  # fmt: skip
    history = net.fit(X, y, sample_domain=domain).history_
    x, v = torch.as_tensor(X), torch.as_tensor(net.sample_weight_)
    module = net.module_
    with torch.no_grad():
        z, out = module.predict(x)
        error = (module.alignment.decoder(z) - x).square().mean(1)
        log_p = out.log_softmax(1)
        codes = mk_mmd_loss(z[:60][v > 0], z[60:])
    entropy = -(log_p.exp() * log_p).sum(1)
    label = -log_p[np.arange(90), np.nan_to_num(y).astype(int)]
    expected = {
        "reconstruction": 2 * error[60:].mean(),
        "source_reconstruction": 2 * (v * error[:60]).mean(),
        "entropy": (v[30:] * entropy[30:60]).sum() / 60,
        "source": (v[:30] * label[:30]).sum() / 60,
        "labeled": label[60:70].mean(),
        "mmd": 0.5 * codes,
    }
    for name, value in expected.items():
        assert_allclose(history[f"{name}_loss"][0], value, rtol=1e-6, err_msg=name)
    assert_allclose(history["loss"][0], sum(expected.values()), rtol=1e-6)
    total = (entropy + 2 * error)[30:60]  # the kept half has the least losses
    kept = v[30:] > 0
    assert kept.sum() == 15 and total[kept].max() <= total[~kept].min()


def test_intermediate_domains_in_every_dtype_of_labels():
    X, y, domain = _data()
    unknown = (domain == 7) | np.isnan(y)
    for kind in (object, float):
        labels = np.where(y == 1, "b", "a").astype(object) if kind is object else y
        labels = np.where(unknown, None if kind is object else np.nan, labels)
        net = clone(NET).set_params(class_weight="balanced")
        net.fit(X, labels, sample_domain=domain)
        assert len(net.classes_) == 2
        assert net.history_["entropy_loss"][-1] > 0
    for _ in range(2):
        net.partial_fit(X, labels, sample_domain=domain)
    with pytest.raises(ValueError, match="set up for"):
        net.partial_fit(X[30:], labels[30:], sample_domain=domain[30:])


def test_what_is_refused():
    X, y, domain = _data()
    for params, message in [
        ({"keep": None}, "set exactly one of them to None"),
        ({"max_loss": 1.0}, "set exactly one of them to None"),
        ({"keep": {2: 0.5}}, r"keep holds values for the domains \[2\]"),
        ({"keep": {2: 0.5, 7: 2.0}}, "must hold values in"),
        ({"keep": 1.5}, "'keep' parameter"),
    ]:
        with pytest.raises(ValueError, match=message):
            clone(NET).set_params(**params).fit(X, y, sample_domain=domain)
