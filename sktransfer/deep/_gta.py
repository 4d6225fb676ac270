"""Generate to adapt."""

import math
from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from sktransfer._compat import Interval
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._checks import check_number
from sktransfer.deep._class_alignment import check_classes
from sktransfer.deep._modules import freeze, label_code
from sktransfer.deep._net import TransferNet, TransferNetClassifier
from sktransfer.deep._parameters import inherit_parameters

__all__ = ["GTA", "GenerativeAlignment"]


class _Judge(nn.Module):
    """Tell real rows from generated ones, and name their class."""

    def __init__(self, n_inputs, n_hidden, n_classes):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Flatten(), nn.Linear(n_inputs, n_hidden), nn.LeakyReLU(0.2),
            nn.Linear(n_hidden, n_hidden), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.outputs = nn.Linear(n_hidden, 1 + n_classes)

    def forward(self, x):
        """Return the logit of "real", shape (n,), and the logits of the classes."""
        outputs = self.outputs(self.trunk(x))
        return outputs[:, 0], outputs[:, 1:]


class GenerativeAlignment(Alignment):
    r"""Features from which a generator makes source-like rows.

    A generator G makes rows from features, label and noise; a judge J separates real
    source rows from generated ones and names their class. J learns to do so, G
    learns to make rows that pass as real ones of their class, and the extractor
    learns features with [1]_

    .. math::

        \alpha\, E_S\, CE(J_{class}(G(F(x), y, z)), y)
        - \beta\, E_T \log J_{real}(G(F(x), nil, z)).

    Parameters
    ----------
    alpha, beta : float in [0, inf), default=0.1
        Weights of both terms.
    n_noise : int in [1, inf), default=16
        Length of the noise z.
    hidden_units : int in [1, inf), default=64
        Width of the layers of generator and judge.

    Raises
    ------
    ValueError
        If a parameter is out of its range, and in the fit of a regressor, which has
        no classes.

    References
    ----------
    .. [1] S. Sankaranarayanan, Y. Balaji, C. D. Castillo, R. Chellappa, "Generate to
       adapt: aligning domains using generative adversarial networks", CVPR 2018,
       arXiv:1704.01705.

    Examples
    --------
    >>> from sktransfer.deep import GenerativeAlignment
    >>> GenerativeAlignment(alpha=0.3).alpha
    0.3
    """

    def __init__(self, alpha=0.1, beta=0.1, n_noise=16, hidden_units=64):
        super().__init__()
        self.alpha = check_number("alpha", alpha)
        self.beta = check_number("beta", beta)
        self.n_noise = check_number("n_noise", n_noise, Integral, 1)
        self.hidden_units = check_number("hidden_units", hidden_units, Integral, 1)

    def build(self, sizes, net):
        """Make generator and judge; refuse regression."""
        check_classes(self, sizes)
        n_inputs, width = math.prod(sizes.row_shape), self.hidden_units
        n_latent = sizes.n_features + sizes.n_classes + 1 + self.n_noise
        self.n_classes = sizes.n_classes
        self.generator = nn.Sequential(
            nn.Linear(n_latent, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, n_inputs), nn.Unflatten(1, sizes.row_shape),
        )  # fmt: skip
        self.judge = _Judge(n_inputs, width, sizes.n_classes)

    def _latent(self, features, y):
        """Join features, label ("nil" for None) and noise."""
        code = label_code(y, features, self.n_classes)
        noise = torch.randn_like(features[:, :1].expand(-1, self.n_noise))
        return torch.cat([features, code, noise], 1)

    def losses(self, net, batch, encoded):
        """Return the loss of the extractor, with generator and judge fixed."""
        generator, judge = freeze(self.generator), freeze(self.judge)
        latent = [
            self._latent(encoded.source, batch.y_source),
            self._latent(encoded.target, None),
        ]
        real, names = judge(generator(torch.cat(latent)))
        source, target = names[: batch.n_source], real[batch.n_source :]
        return {
            "generated_class": self.alpha * cross_entropy(source, batch.y_source),
            "generated_real": self.beta * softplus(-target).mean(),
        }

    def own_losses(self, net, batch, encoded):
        """Return the losses of the generator and of the judge."""
        source, y = encoded.source.detach(), batch.y_source
        made = self.generator(self._latent(source, y))
        passed, made_names = freeze(self.judge)(made)
        with torch.no_grad():
            other = self.generator(self._latent(encoded.target, None))
        rows = torch.cat([batch.x[: len(y)], made.detach(), other])
        judged, names = self.judge(rows)
        real, fakes = judged[: len(y)], judged[len(y) :]
        fakes = torch.split(softplus(fakes), [len(y), len(other)])
        return {
            "generator": softplus(-passed).mean() + cross_entropy(made_names, y),
            "judge": softplus(-real).mean()
            + fakes[0].mean()
            + fakes[1].mean()
            + cross_entropy(names[: len(y)], y),
        }

    def reversal(self, net, term):
        """Return -1: the gate's discriminator trains the judge's layers with it."""
        return net.mu * 0 - 1

    def gate_features(self, net, x):
        """Return the judge's view of the rows."""
        return self.judge.trunk(x)

    def gate_width(self, sizes):
        """Return the width of the judge's layers."""
        return self.hidden_units


@inherit_parameters(but=("alignment",))
class GTA(TransferNetClassifier):
    r"""Generate to adapt: features from which source-like rows can be generated.

    A generator G makes rows from features, label and noise, a judge J separates real
    source rows from generated ones and names their class. Beside the labels'
    loss the extractor F minimizes

    .. math::

        \mu\, [\alpha\, E_S\, CE(J_{class}(G(F(x), y, z)), y)
        - \beta\, E_T \log J_{real}(G(F(x), nil, z))]

    [1]_. For the gate the judge is extended: a discriminator of domains sees its
    hidden layer and the label [2]_.

    Parameters
    ----------
    %(module)s
    alpha : float in [0, inf), default=0.1
        Weight of the class of rows generated from source features.
    beta : float in [0, inf), default=0.1
        Weight of the realness of rows generated from target features.
    n_noise : int in [1, inf), default=16
        Length of the noise z.
    hidden_units : int in [1, inf), default=64
        Width of the layers of generator and judge.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DANN : A discriminator of features.

    Notes
    -----
    Rows are generated as they are standardized. All modules take one step at a time
    on the same batch; each loss trains its own modules while the others are fixed.

    References
    ----------
    .. [1] S. Sankaranarayanan, Y. Balaji, C. D. Castillo, R. Chellappa, "Generate to
       adapt: aligning domains using generative adversarial networks", CVPR 2018,
       arXiv:1704.01705.
    .. [2] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.

    Examples
    --------
    >>> from sktransfer.datasets import make_subspace_shift
    >>> from sktransfer.deep import GTA
    >>> data = make_subspace_shift(n_labeled=0, random_state=0)
    >>> net = GTA(max_steps=60, random_state=0)
    >>> net = net.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> bool(net.score(data.X_test, data.y_test) > 0.7)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferNet._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "n_noise": [Interval(Integral, 1, None, closed="left")],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        module=None,
        *,
        alpha=0.1,
        beta=0.1,
        n_noise=16,
        hidden_units=64,
        **net_params,
    ):
        super().__init__(module, **net_params)
        self.alpha = alpha
        self.beta = beta
        self.n_noise = n_noise
        self.hidden_units = hidden_units

    def _make_alignment(self):
        return GenerativeAlignment(
            self.alpha, self.beta, self.n_noise, self.hidden_units
        )

    def _uses_target_rows(self):
        return True
