"""Deep correlation alignment."""

from typing import ClassVar

from sktransfer._compat import StrOptions
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._checks import check_choice
from sktransfer.deep._losses import coral_loss
from sktransfer.deep._net import (
    TransferNet,
    TransferNetClassifier,
    TransferNetRegressor,
)
from sktransfer.deep._parameters import inherit_parameters

__all__ = ["CORALAlignment", "DeepCORAL", "DeepCORALRegressor"]


class CORALAlignment(Alignment):
    """Equal covariances of source and target.

    The loss is the sum of :func:`coral_loss` over the layers [1]_.

    Parameters
    ----------
    layers : {"output", "features", "both"}, default="output"
        Where the covariances are to agree: in the outputs of the head, in the learned
        features, or in both (the sum).

    Raises
    ------
    ValueError
        If ``layers`` is something else.

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: correlation alignment for deep domain
       adaptation", ECCV 2016 Workshops, arXiv:1607.01719.

    Examples
    --------
    >>> from sktransfer.deep import CORALAlignment, TransferNetClassifier
    >>> TransferNetClassifier(alignment=CORALAlignment()).alignment.layers
    'output'
    """

    def __init__(self, layers="output"):
        super().__init__()
        self.layers = check_choice("layers", layers, ("output", "features", "both"))

    def losses(self, net, batch, encoded):
        """Return the distance of the covariances of each layer."""
        found = {}
        if self.layers != "output":
            found["coral_features"] = coral_loss(encoded.source, encoded.target)
        if self.layers != "features":
            found["coral_output"] = coral_loss(encoded.out_source, encoded.out_target)
        return found


class _Covariances:
    """Parameter ``layers`` and the alignment of both Deep CORAL estimators."""

    _parameter_constraints: ClassVar[dict] = {
        **TransferNet._parameter_constraints,
        "layers": [StrOptions({"both", "features", "output"})],
    }

    def __init__(self, module=None, *, layers="output", **net_params):
        super().__init__(module, **net_params)
        self.layers = layers

    def _make_alignment(self):
        return CORALAlignment(self.layers)

    def _uses_target_rows(self):
        return True


@inherit_parameters(but=("alignment",))
class DeepCORAL(_Covariances, TransferNetClassifier):
    r"""Deep CORAL: equal covariances of the domains in the last layer.

    .. math::

        \min_{F, C}\; L_{CLF}(F, C) + \mu \frac{1}{4 d^2} \|C_S - C_T\|_F^2

    with the covariances of the d outputs (or features) [1]_. The gate, which needs a
    discriminator, gets one of its own that no feature is trained against [2]_.

    Parameters
    ----------
    %(module)s
    layers : {"output", "features", "both"}, default="output"
        Where the covariances are to agree.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DeepCORALRegressor : The same for regression.
    DAN : A kernel distance in place of covariances.
    coral_loss : The distance.

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: correlation alignment for deep domain
       adaptation", ECCV 2016 Workshops, arXiv:1607.01719.
    .. [2] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.

    Examples
    --------
    >>> from sktransfer.datasets import make_subspace_shift
    >>> from sktransfer.deep import DeepCORAL
    >>> data = make_subspace_shift(n_labeled=0, random_state=0)
    >>> net = DeepCORAL(max_steps=60, random_state=0)
    >>> net = net.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> bool(net.score(data.X_test, data.y_test) > 0.7)
    True
    """


@inherit_parameters(but=("alignment",))
class DeepCORALRegressor(_Covariances, TransferNetRegressor):
    r"""Deep CORAL for regression.

    As :class:`DeepCORAL` with the squared error; with ``layers="output"`` it is the
    variance of the predictions that is to agree.

    Parameters
    ----------
    %(module)s
    layers : {"output", "features", "both"}, default="output"
        Where the covariances are to agree.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DeepCORAL : The same for classification.

    References
    ----------
    .. [1] B. Sun, K. Saenko, "Deep CORAL: correlation alignment for deep domain
       adaptation", ECCV 2016 Workshops, arXiv:1607.01719.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import DeepCORALRegressor
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> y, domain = np.abs(X[:, 0]), np.tile([1, -1], 40)
    >>> net = DeepCORALRegressor(lr=0.01, max_steps=150, random_state=0)
    >>> net.fit(X, y, sample_domain=domain).score(X, y) > 0.9
    True
    """
