"""Adversarial discriminative domain adaptation."""

import copy
from numbers import Real
from typing import ClassVar

import torch

from sktransfer._compat import Interval
from sktransfer.deep._alignment import Alignment, Encoded
from sktransfer.deep._checks import check_interval
from sktransfer.deep._domain_layers import extract
from sktransfer.deep._modules import fool, freeze
from sktransfer.deep._net import TransferNet, TransferNetClassifier
from sktransfer.deep._parameters import inherit_parameters

__all__ = ["ADDA", "DiscriminativeAlignment"]


class DiscriminativeAlignment(Alignment):
    r"""A second extractor for the target, trained with inverted domain labels.

    The first part of the training fits extractor and head. Then the target gets a
    copy of the extractor, which minimizes :math:`-E_T \log(1 - D(F_T(x)))` (and the
    same for labeled pairs, if D sees labels) while D learns to tell
    :math:`F_T(x), x \sim T` from :math:`F_S(x), x \sim S` [1]_.

    Parameters
    ----------
    pretraining : float in [0, 1), default=0.5
        Share of the epochs before the target gets its own extractor.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] E. Tzeng, J. Hoffman, K. Saenko, T. Darrell, "Adversarial discriminative
       domain adaptation", CVPR 2017, arXiv:1702.05464.

    Examples
    --------
    >>> from sktransfer.deep import DiscriminativeAlignment
    >>> DiscriminativeAlignment().pretraining
    0.5
    """

    needs_discriminator: ClassVar[bool] = True

    def __init__(self, pretraining=0.5):
        super().__init__()
        self.pretraining = check_interval("pretraining", pretraining, 0, 1)
        self.settled = (1 + pretraining) / 2
        self.adapting = False

    def build(self, sizes, net):
        """Make room for the target's extractor."""
        self.extractor = copy.deepcopy(net.extractor)

    def get_extra_state(self):
        """Return whether the target has its extractor, which is part of the state."""
        return torch.tensor(self.adapting)

    def set_extra_state(self, state):
        """Go back to an earlier state."""
        self.adapting = bool(state)

    def begin_epoch(self, net, rows, progress):
        """Give the target its extractor when pretraining is over."""
        over = progress >= self.pretraining and rows.sizes[2]
        if over and not self.adapting:
            self.extractor.load_state_dict(net.extractor.state_dict())
            self.adapting = True
        if not self.learns_from_source(net):
            net.extractor.eval()  # its statistics stay as they are, too

    def encode(self, net, batch):
        """Map the source by its extractor and the target by the other."""
        if not self.adapting:
            return super().encode(net, batch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and net.gate):
            x, n = batch.x[: batch.n_source], batch.n_source
            domains = 0 if batch.target_alone else n
            source = extract(net.extractor, x, domains, batch.domain)
        features = torch.cat([source, self.extractor(batch.x[n:])])
        outputs = net.head(features)
        return Encoded(*batch.split(features), *batch.split(outputs))

    def target_extractor(self, net):
        """Return the target's extractor, once there is one."""
        return self.extractor if self.adapting else net.extractor

    def learns_from_source(self, net):
        """Tell that the source is done with after pretraining, without a gate."""
        return not self.adapting or net.gate

    def losses(self, net, batch, encoded):
        """Return the loss of target rows that play source rows."""
        if not self.adapting:
            return {}
        discriminator, code = freeze(net.discriminator), net.discriminator.code
        if not net.discriminator.labels:
            return {"fool": fool(discriminator(encoded.target))}
        found = {
            "fool": fool(discriminator(encoded.target, code(None, encoded.target)))
        }
        if batch.n_labeled:
            pairs = code(batch.y_labeled, encoded.labeled)
            found["fool_joint"] = fool(discriminator(encoded.labeled, pairs))
        return found


@inherit_parameters(but=("alignment",))
class ADDA(TransferNetClassifier):
    r"""Adversarial discriminative adaptation: each domain has its own extractor.

    First :math:`F_S` and the head C learn from the labels. Then
    :math:`F_T`, which starts as :math:`F_S`, minimizes

    .. math:: -\mu\, E_T \log(1 - D(F_T(x))) + E_{T_L} \ell(C(F_T(x)), y)

    against a discriminator D of :math:`F_S(S)` and :math:`F_T(T)`, while
    :math:`F_S` stays as it is [1]_. With ``gate=True`` D sees labels too, and
    :math:`F_S` and C go on to learn from the source rows with the gate's weights
    [2]_.

    Parameters
    ----------
    %(module)s
    pretraining : float in [0, 1), default=0.5
        Share of the epochs before the target gets its own extractor.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DANN : One extractor for both domains.

    Notes
    -----
    ``transform`` maps target rows by :math:`F_T`, and by :math:`F_S` the rows that
    ``sample_domain`` calls source rows.

    References
    ----------
    .. [1] E. Tzeng, J. Hoffman, K. Saenko, T. Darrell, "Adversarial discriminative
       domain adaptation", CVPR 2017, arXiv:1702.05464.
    .. [2] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.

    Examples
    --------
    >>> from sktransfer.datasets import make_subspace_shift
    >>> from sktransfer.deep import ADDA
    >>> data = make_subspace_shift(n_labeled=0, random_state=0)
    >>> net = ADDA(max_steps=150, random_state=0)
    >>> net = net.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> bool(net.score(data.X_test, data.y_test) > 0.7)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferNet._parameter_constraints,
        "pretraining": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, module=None, *, pretraining=0.5, **net_params):
        super().__init__(module, **net_params)
        self.pretraining = pretraining

    def _make_alignment(self):
        return DiscriminativeAlignment(self.pretraining)

    def _uses_target_rows(self):
        return True
