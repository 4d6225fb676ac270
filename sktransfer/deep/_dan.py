"""Deep adaptation networks."""

from numbers import Integral, Real
from typing import ClassVar

from sktransfer._compat import Interval, StrOptions
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._checks import check_choice, check_interval, check_number
from sktransfer.deep._losses import mk_mmd_loss
from sktransfer.deep._net import (
    TransferNet,
    TransferNetClassifier,
    TransferNetRegressor,
)
from sktransfer.deep._parameters import inherit_parameters

__all__ = ["DAN", "DANRegressor", "MMDAlignment"]


class MMDAlignment(Alignment):
    """A small maximum mean discrepancy of source and target, over several kernels.

    The loss is the sum of :func:`mk_mmd_loss` over the layers [1]_.

    Parameters
    ----------
    layers : {"both", "features", "output"}, default="both"
        Where the domains are to be alike: in the learned features, in the outputs of
        the head, or in both (the sum).
    n_kernels : int in [1, inf), default=5
        Number of Gaussian kernels of :func:`mk_mmd_loss`.
    factor : float in (1, inf), default=2.0
        Ratio of neighboring widths.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] M. Long, Y. Cao, J. Wang, M. I. Jordan, "Learning transferable features
       with deep adaptation networks", ICML 2015, arXiv:1502.02791.

    Examples
    --------
    >>> from sktransfer.deep import MMDAlignment, TransferNetClassifier
    >>> TransferNetClassifier(alignment=MMDAlignment("features")).alignment.n_kernels
    5
    """

    def __init__(self, layers="both", n_kernels=5, factor=2.0):
        super().__init__()
        self.layers = check_choice("layers", layers, ("both", "features", "output"))
        self.n_kernels = check_number("n_kernels", n_kernels, Integral, 1)
        self.factor = check_interval("factor", factor, 1, closed="neither")

    def losses(self, net, batch, encoded):
        """Return the discrepancy of each layer."""
        found = {}
        if self.layers != "output":
            found["mmd_features"] = self._distance(encoded.source, encoded.target)
        if self.layers != "features":
            found["mmd_output"] = self._distance(encoded.out_source, encoded.out_target)
        return found

    def _distance(self, source, target):
        return mk_mmd_loss(source, target, self.n_kernels, self.factor)


class _MeanDiscrepancy:
    """Parameters and the alignment of both DAN estimators."""

    _parameter_constraints: ClassVar[dict] = {
        **TransferNet._parameter_constraints,
        "layers": [StrOptions({"both", "features", "output"})],
        "n_kernels": [Interval(Integral, 1, None, closed="left")],
        "factor": [Interval(Real, 1, None, closed="neither")],
    }

    def __init__(
        self, module=None, *, layers="both", n_kernels=5, factor=2.0, **net_params
    ):
        super().__init__(module, **net_params)
        self.layers = layers
        self.n_kernels = n_kernels
        self.factor = factor

    def _make_alignment(self):
        return MMDAlignment(self.layers, self.n_kernels, self.factor)

    def _uses_target_rows(self):
        return True


@inherit_parameters(but=("alignment",))
class DAN(_MeanDiscrepancy, TransferNetClassifier):
    r"""Deep adaptation network: a multi-kernel MMD between the domains' features.

    .. math:: \min_{F, C}\; L_{CLF}(F, C) + \mu \sum_l MMD^2(F_l(S), F_l(T))

    over the learned features and the outputs [1]_, with kernels of equal weight. The
    gate, which needs a discriminator, gets one of its own that no feature is trained
    against [2]_.

    Parameters
    ----------
    %(module)s
    layers : {"both", "features", "output"}, default="both"
        Where the domains are to be alike.
    n_kernels : int in [1, inf), default=5
        Number of Gaussian kernels.
    factor : float in (1, inf), default=2.0
        Ratio of neighboring widths.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DANRegressor : The same for regression.
    DeepCORAL : Covariances in place of kernels.
    mk_mmd_loss : The distance.

    References
    ----------
    .. [1] M. Long, Y. Cao, J. Wang, M. I. Jordan, "Learning transferable features
       with deep adaptation networks", ICML 2015, arXiv:1502.02791.
    .. [2] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.

    Examples
    --------
    >>> from sktransfer.datasets import make_subspace_shift
    >>> from sktransfer.deep import DAN
    >>> data = make_subspace_shift(n_labeled=0, random_state=0)
    >>> net = DAN(max_steps=60, random_state=0)
    >>> net = net.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> bool(net.score(data.X_test, data.y_test) > 0.7)
    True
    """


@inherit_parameters(but=("alignment",))
class DANRegressor(_MeanDiscrepancy, TransferNetRegressor):
    r"""Deep adaptation network for regression.

    As :class:`DAN` with the squared error.

    Parameters
    ----------
    %(module)s
    layers : {"both", "features", "output"}, default="both"
        Where the domains are to be alike.
    n_kernels : int in [1, inf), default=5
        Number of Gaussian kernels.
    factor : float in (1, inf), default=2.0
        Ratio of neighboring widths.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    DAN : The same for classification.

    References
    ----------
    .. [1] M. Long, Y. Cao, J. Wang, M. I. Jordan, "Learning transferable features
       with deep adaptation networks", ICML 2015, arXiv:1502.02791.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import DANRegressor
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> y, domain = np.abs(X[:, 0]), np.tile([1, -1], 40)
    >>> net = DANRegressor(lr=0.01, max_steps=150, random_state=0)
    >>> net.fit(X, y, sample_domain=domain).score(X, y) > 0.9
    True
    """
