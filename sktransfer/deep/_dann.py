"""Domain-adversarial neural networks."""

from typing import ClassVar

from sktransfer._compat import StrOptions
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._checks import check_choice
from sktransfer.deep._net import (
    TransferNet,
    TransferNetClassifier,
    TransferNetRegressor,
)
from sktransfer.deep._parameters import inherit_parameters

__all__ = ["DANN", "AdversarialAlignment", "DANNRegressor"]

_MATCH = "both", "marginal", "joint", "none"


class AdversarialAlignment(Alignment):
    r"""Features that deceive the discriminator of domains, by gradient reversal.

    The discriminator D minimizes its cross-entropy :math:`-L_{ADV}`, the extractor
    maximizes it with weight :math:`\mu`, in one backward pass [1]_.

    Parameters
    ----------
    match : {"both", "marginal", "joint", "none"}, default="both"
        Which terms of the discriminator's loss reach the features: that of the
        features alone ("marginal"), that of pairs of features and labels ("joint").

    Raises
    ------
    ValueError
        If ``match`` is something else, and in the fit of a net whose discriminator
        sees no labels, if ``match="joint"``.

    References
    ----------
    .. [1] Y. Ganin et al., "Domain-adversarial training of neural networks", JMLR
       17(59), 2016, arXiv:1505.07818.

    Examples
    --------
    >>> from sktransfer.deep import AdversarialAlignment, TransferNetClassifier
    >>> net = TransferNetClassifier(alignment=AdversarialAlignment("joint"), gate=True)
    >>> net.alignment.match
    'joint'
    """

    needs_discriminator: ClassVar[bool] = True

    def __init__(self, match="both"):
        super().__init__()
        self.match = check_choice("match", match, _MATCH)
        # features that nothing is to deceive need no discriminator
        self.needs_discriminator = match != "none"

    def reversal(self, net, term):
        r"""Return :math:`\mu` for the terms to match, else 0."""
        return net.mu if self.match in (term, "both") else net.mu * 0


class _Adversarial:
    """Parameter ``match`` and the alignment of both DANN estimators."""

    _parameter_constraints: ClassVar[dict] = {
        **TransferNet._parameter_constraints,
        "match": [StrOptions({"auto", *_MATCH})],
    }

    def __init__(self, module=None, *, match="auto", **net_params):
        super().__init__(module, **net_params)
        self.match = match

    def _make_alignment(self):
        match = self.match
        if match == "auto":
            match = "none" if self.gate else "both"
        return AdversarialAlignment(match)

    def _uses_target_rows(self):
        return True


@inherit_parameters(but=("alignment",))
class DANN(_Adversarial, TransferNetClassifier):
    r"""Domain-adversarial neural network, with or without the discriminator gate.

    .. math::

        \min_{F, C} \max_D\; L_{CLF}(F, C) - \mu L_{ADV}(F, D), \qquad
        L_{ADV} = E_T \log D(F(x)) + E_S \log(1 - D(F(x)))

    [1]_. With ``gate=True`` the discriminator also sees labels: :math:`L_{ADV}` gets
    the terms of the labeled pairs, and every source row is weighted by
    :math:`\omega = D(F(x), y) / (1 - D(F(x), y))` in :math:`L_{CLF}` [2]_.

    Parameters
    ----------
    %(module)s
    match : {"auto", "both", "marginal", "joint", "none"}, default="auto"
        Which terms of :math:`L_{ADV}` reach the features: those of the features
        alone, those of pairs of features and labels, both or none. Without labels in
        the discriminator there is only the first. "auto": none with a gate, else both.
        Where nothing is matched ``mu`` has no effect.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DANNRegressor : The same for regression.
    ADDA : A second extractor for the target.

    Notes
    -----
    With a gate nothing is matched unless ``match`` asks for it: features that are
    matched to a source of which a part is bad become useless, whatever the weights.
    Over eight pairs of domains, clean and corrupted, with three labels per class, the
    gate is .056 more accurate without matching than with "both"
    (``benchmarks/net_defaults.md``). Matching pays where the target has no labels.

    The published method is ``gate=True, agreement=False, ensemble=False,
    match="both"``. Its ablations in [2]_: gate only is the same with
    ``label_input=False``, labels only is ``label_input=True``, joint, marginal and none
    are that ``match``.

    References
    ----------
    .. [1] Y. Ganin et al., "Domain-adversarial training of neural networks", JMLR
       17(59), 2016, arXiv:1505.07818.
    .. [2] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.

    Examples
    --------
    The source lies elsewhere; its labels help where the target has none.

    >>> from sktransfer.datasets import make_subspace_shift
    >>> from sktransfer.deep import DANN
    >>> data = make_subspace_shift(n_labeled=0, random_state=0)
    >>> net = DANN(max_steps=60, random_state=0)
    >>> net = net.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> bool(net.score(data.X_test, data.y_test) > 0.7)
    True
    """


@inherit_parameters(but=("alignment",))
class DANNRegressor(_Adversarial, TransferNetRegressor):
    r"""Domain-adversarial neural network for regression.

    As :class:`DANN` with the squared error; the discriminator's label input is the
    scaled label.

    Parameters
    ----------
    %(module)s
    match : {"auto", "both", "marginal", "joint", "none"}, default="auto"
        Which terms of the discriminator's loss reach the features: those of the
        features alone, those of pairs of features and labels, both or none. Without
        labels in the discriminator there is only the first. "auto": none with a gate,
        else both.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DANN : The same for classification.

    References
    ----------
    .. [1] Y. Ganin et al., "Domain-adversarial training of neural networks", JMLR
       17(59), 2016, arXiv:1505.07818.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import DANNRegressor
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> y, domain = np.abs(X[:, 0]), np.tile([1, -1], 40)
    >>> net = DANNRegressor(lr=0.01, max_steps=150, random_state=0)
    >>> net.fit(X, y, sample_domain=domain).score(X, y) > 0.9
    True
    """
