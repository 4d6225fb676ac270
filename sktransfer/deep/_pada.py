"""Partial adversarial domain adaptation."""

import torch

from sktransfer.deep._class_alignment import check_classes
from sktransfer.deep._dann import AdversarialAlignment
from sktransfer.deep._net import TransferNetClassifier
from sktransfer.deep._parameters import inherit_parameters

__all__ = ["PADA", "PartialAlignment"]


class PartialAlignment(AdversarialAlignment):
    r"""Adversarial alignment with weights of the source's classes.

    Source rows of class c weigh
    :math:`\gamma_c = \bar p_c / \max_{c'} \bar p_{c'}` in the loss of the labels and of
    the discriminator, where :math:`\bar p` is the mean predicted probability of the
    target rows, taken anew before every epoch but the first [1]_. Without sources,
    where labeled target rows play one, all classes weigh 1: that target has them all,
    and predictions that feed on themselves would give up one class after the other.

    Parameters
    ----------
    match : {"both", "marginal", "joint", "none"}, default="both"
        Which terms of the discriminator's loss reach the features.

    Raises
    ------
    ValueError
        If ``match`` is something else, and in the fit of a regressor, which has no
        classes.

    References
    ----------
    .. [1] Z. Cao, L. Ma, M. Long, J. Wang, "Partial adversarial domain adaptation",
       ECCV 2018, arXiv:1808.04205.

    Examples
    --------
    >>> from sktransfer.deep import PartialAlignment
    >>> PartialAlignment().match
    'both'
    """

    def build(self, sizes, net):
        """Start with equal weights of the classes; refuse regression."""
        check_classes(self, sizes)
        self.register_buffer("class_weight", torch.ones(sizes.n_outputs))

    def begin_epoch(self, net, rows, progress):
        """Weigh the classes by the predictions for the target rows."""
        if not progress or not rows.sizes[2] or not rows.n_sources:
            return
        net.eval()
        with torch.no_grad():
            chunks = rows.chunks(rows.x_target, 8192)
            total = sum(net.predict(x)[1].softmax(1).sum(0) for x in chunks)
        net.train()
        self.class_weight.copy_(total / total.max())

    def source_weight(self, net, batch):
        """Return the weights of the rows' classes."""
        return self.class_weight[batch.y_source]


@inherit_parameters(but=("alignment",))
class PADA(TransferNetClassifier):
    r"""Partial adversarial adaptation: classes that the target lacks count little.

    As :class:`DANN`, with source rows of class c weighted by
    :math:`\gamma_c = \bar p_c / \max_{c'} \bar p_{c'}` in both losses;
    :math:`\bar p` is the mean predicted probability over the target rows [1]_. The
    gate multiplies these weights [2]_. Without sources all weights are 1, as in
    :class:`DANN`.

    Parameters
    ----------
    %(module)s
    %(parameters)s

    Attributes
    ----------
    class_weight_ : ndarray of shape (n_classes,)
        Final weights of the classes, in [0, 1].
    %(attributes)s

    See Also
    --------
    DANN : The same without weights of classes.

    References
    ----------
    .. [1] Z. Cao, L. Ma, M. Long, J. Wang, "Partial adversarial domain adaptation",
       ECCV 2018, arXiv:1808.04205.
    .. [2] Z. Wang, Z. Dai, B. Poczos, J. Carbonell, "Characterizing and avoiding
       negative transfer", CVPR 2019, arXiv:1811.09751.

    Examples
    --------
    The target has only two of the three classes.

    >>> import numpy as np
    >>> from sktransfer.deep import PADA
    >>> rng = np.random.RandomState(0)
    >>> y = np.r_[np.repeat([0, 1, 2], 30), np.full(40, np.nan)]
    >>> center = np.r_[np.repeat([0, 4, 8], 30), np.repeat([0, 4], 20)]
    >>> X = center[:, None] + rng.normal(size=(130, 1))
    >>> domain = np.where(np.isnan(y), -1, 1)
    >>> net = PADA(lr=0.01, max_steps=100, random_state=0)
    >>> net = net.fit(X, y, sample_domain=domain)
    >>> bool(net.class_weight_[2] < 0.5)
    True
    """

    def _make_alignment(self):
        return PartialAlignment()

    def _uses_target_rows(self):
        return True

    @property
    def class_weight_(self):
        """Final weights of the classes, in [0, 1]."""
        return self.module_.alignment.class_weight.cpu().numpy()
