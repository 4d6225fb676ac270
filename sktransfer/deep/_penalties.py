"""Penalties: what is added to the loss of any net, in full from the start."""

from numbers import Integral

import torch
from torch import nn

from sktransfer.deep._checks import check_flag, check_number

__all__ = [
    "AdversarialTraining",
    "BatchSpectralPenalization",
    "BatchSpectralShrinkage",
    "Penalty",
    "StartPointPenalty",
]


class Penalty(nn.Module):
    r"""Base of penalties, which every net takes as ``penalties=[...]``.

    A subclass returns named losses by ``losses``; they are added in full, in every step
    of the training. A penalty of weight 0 is left out, so that the net is the one
    without it, bit for bit.

    Parameters
    ----------
    weight : float in [0, inf), default=1.0
        Its weight, by which a subclass multiplies its losses.

    Examples
    --------
    >>> from sktransfer.deep import Penalty, TargetOnlyNet
    >>> class SmallOutputs(Penalty):
    ...     def losses(self, net, batch, encoded):
    ...         return {"size": self.weight * encoded.out_source.square().mean()}
    >>> net = TargetOnlyNet(penalties=[SmallOutputs(0.1)], max_steps=3)
    >>> sorted(net.fit([[0.0], [1.0]], [0, 1]).history_)
    ['loss', 'mu', 'size_loss', 'source_loss']
    """

    #: whether it is added where a net is first trained on sources alone
    in_pretraining: bool = True

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = check_number("weight", weight)

    @property
    def active(self):
        """Whether it changes anything."""
        return self.weight > 0

    def begin(self, net):
        """Prepare a training; ``net`` holds ``extractor``, ``head``, ``alignment``."""

    def perturb(self, net, batch, criterion):
        """Return the batch that the step is taken on."""
        return batch

    def losses(self, net, batch, encoded):
        """Return losses by name, times ``weight``.

        Parameters
        ----------
        net : TransferModule
            Holds ``extractor``, ``head`` and ``alignment``.
        batch : Batch
            Rows and labels; ``batch.target_alone`` tells that labeled target rows play
            the source.
        encoded : Encoded
            Features and outputs of the parts.

        Returns
        -------
        losses : dict of str to tensor of shape ()
            Names and values.
        """
        return {}


def features_by_domain(batch, encoded):
    """Return the features of source and target rows of a batch.

    Parameters
    ----------
    batch : Batch
        The batch.
    encoded : Encoded
        Its features.

    Returns
    -------
    source, target : tensor of shape (n, n_features)
        Features; those of all target rows, labeled ones included. Either may be empty.
    """
    if batch.target_alone:
        return encoded.source[:0], torch.cat([encoded.source, encoded.target])
    whole = encoded.target if len(encoded.target) else encoded.labeled
    return encoded.source, whole


def _spectrum(features):
    """Return the singular values of a batch of features, descending."""
    with torch.autocast(features.device.type, enabled=False):
        full = features.float() if features.element_size() < 4 else features
        return torch.linalg.svdvals(full)


class BatchSpectralShrinkage(Penalty):
    r"""Shrink the smallest singular values of the target's features (BSS).

    .. math:: \eta \sum_{i=1}^{k} \sigma_{-i}(F_T)^2

    with the singular values of the matrix :math:`F_T` of the features of a batch of
    target rows, :math:`\sigma_{-1}` the smallest. Directions of small values transfer
    badly, and fine-tuning on few rows leans on them [1]_.

    Parameters
    ----------
    weight : float in [0, inf), default=1e-3
        :math:`\eta`.
    k : int in [1, inf), default=1
        Number of singular values.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    A unit that is off for all rows of a batch, as with rectified ones, makes a value of
    0, which cannot shrink: let k be larger than the number of such units. Where
    ``history_["shrinkage_loss"]`` is 0, the penalty changes nothing.

    References
    ----------
    .. [1] X. Chen, S. Wang, B. Fu, M. Long, J. Wang, "Catastrophic forgetting meets
       negative transfer: batch spectral shrinkage for safe transfer learning",
       NeurIPS 2019.

    Examples
    --------
    >>> from sktransfer.deep import BatchSpectralShrinkage, FineTuning
    >>> net = FineTuning(penalties=[BatchSpectralShrinkage()])
    """

    def __init__(self, weight=1e-3, k=1):
        super().__init__(weight)
        self.k = check_number("k", k, Integral, 1)

    def losses(self, net, batch, encoded):
        """Return the sum of the smallest squares."""
        _, target = features_by_domain(batch, encoded)
        if not len(target):
            return {}
        least = _spectrum(target)[-self.k :]
        return {"shrinkage": self.weight * least.square().sum()}


class BatchSpectralPenalization(Penalty):
    r"""Penalize the largest singular values of both domains' features (BSP).

    .. math:: \beta \sum_{i=1}^{k} \bigl( \sigma_i(F_S)^2 + \sigma_i(F_T)^2 \bigr)

    with the singular values of the features of a batch, the largest first. An adversary
    strengthens the few directions of the largest values, in which the domains meet,
    at the cost of the others, which tell classes apart [1]_.

    Parameters
    ----------
    weight : float in [0, inf), default=1e-4
        :math:`\beta`.
    k : int in [1, inf), default=1
        Number of singular values.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] X. Chen, S. Wang, M. Long, J. Wang, "Transferability vs. discriminability:
       batch spectral penalization for adversarial domain adaptation", ICML 2019.

    Examples
    --------
    >>> from sktransfer.deep import DANN, BatchSpectralPenalization
    >>> net = DANN(penalties=[BatchSpectralPenalization(k=2)])
    """

    def __init__(self, weight=1e-4, k=1):
        super().__init__(weight)
        self.k = check_number("k", k, Integral, 1)

    def losses(self, net, batch, encoded):
        """Return the sum of the largest squares of both domains."""
        parts = [p for p in features_by_domain(batch, encoded) if len(p)]
        squares = [_spectrum(part)[: self.k].square().sum() for part in parts]
        return {"penalization": self.weight * torch.stack(squares).sum()}


class StartPointPenalty(Penalty):
    r"""Hold the weights near those at the start of the training (L2-SP).

    .. math:: \frac{\alpha}{2} \|\theta - \theta_0\|^2

    over the trained parameters of the extractor [1]_. :math:`\theta_0` are those of the
    source's net in :class:`FineTuning`, and in any other net those that ``module``
    comes with; so it is meant for nets that are trained already.

    Parameters
    ----------
    weight : float in [0, inf), default=0.1
        :math:`\alpha`.
    head : bool, default=False
        Whether the weights of the head are held, too.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] X. Li, Y. Grandvalet, F. Davoine, "Explicit inductive bias for transfer
       learning with convolutional networks", ICML 2018, arXiv:1802.01483.

    Examples
    --------
    >>> from sktransfer.deep import FineTuning, StartPointPenalty
    >>> net = FineTuning(penalties=[StartPointPenalty(0.01)])
    """

    in_pretraining = False

    def __init__(self, weight=0.1, head=False):
        super().__init__(weight)
        self.head = check_flag("head", head)

    def _held(self, net):
        """Return the parameters to hold."""
        modules = [net.alignment.target_extractor(net)]
        modules += [net.head] if self.head else []
        return [p for m in modules for p in m.parameters() if p.requires_grad]

    def begin(self, net):
        """Keep the weights of the start."""
        for i, parameter in enumerate(self._held(net)):
            self.register_buffer(f"start_{i}", parameter.detach().clone())

    def losses(self, net, batch, encoded):
        """Return half of the squared distance."""
        gaps = [
            (parameter - start).square().sum()
            for parameter, start in zip(self._held(net), self.buffers(), strict=True)
        ]
        if not gaps:  # all of it is frozen
            return {}
        return {"start": self.weight / 2 * torch.stack(gaps).sum()}


class AdversarialTraining(Penalty):
    r"""Learn the sources from rows that are moved against the net (PGD).

    Every source row is moved by the :math:`\delta`, :math:`\|\delta\|_2 \le \epsilon`,
    that raises its loss most, found by steps along the normalized gradient that are
    projected on the ball [1]_. Features that withstand it were seen to be a better
    start of fine-tuning [2]_.

    Parameters
    ----------
    eps : float in [0, inf), default=0.5
        Largest length :math:`\epsilon` of a move, in units of the scaled inputs; 0:
        none, so the net is the one without it, bit for bit.
    n_steps : int in [1, inf), default=3
        Steps of the attack; each costs a pass through the net and back.
    step_size : float in (0, inf), default=None
        Length of a step. None: ``2.5 * eps / n_steps``.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    The attack starts at the row itself and sees the net as it predicts, so that no
    statistics move. Target rows stay as they are: in :class:`FineTuning` the net of the
    sources is robust, and the target's labels are learned as always.

    References
    ----------
    .. [1] A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, "Towards deep
       learning models resistant to adversarial attacks", ICLR 2018, arXiv:1706.06083.
    .. [2] H. Salman, A. Ilyas, L. Engstrom, A. Kapoor, A. Madry, "Do adversarially
       robust ImageNet models transfer better?", NeurIPS 2020, arXiv:2007.08489.

    Examples
    --------
    >>> from sktransfer.deep import AdversarialTraining, FineTuning
    >>> net = FineTuning(penalties=[AdversarialTraining(eps=0.1)])
    """

    def __init__(self, eps=0.5, n_steps=3, step_size=None):
        super().__init__()
        self.eps = check_number("eps", eps)
        self.n_steps = check_number("n_steps", n_steps, Integral, 1)
        if step_size is not None and not check_number("step_size", step_size):
            raise ValueError("step_size must be more than 0; None sets it by eps.")
        self.step_size = step_size

    @property
    def active(self):
        """Whether rows move."""
        return self.eps > 0

    def perturb(self, net, batch, criterion):
        """Return the batch with moved source rows."""
        n = batch.n_source
        if batch.target_alone or not n:
            return batch
        parts = [net.extractor, net.head]
        modes = [(m, m.training) for part in parts for m in part.modules()]
        for part in parts:
            part.eval()
        moved = self._attack(net, batch, criterion)
        for module, training in modes:
            module.training = training
        return batch._replace(x=torch.cat([moved, batch.x[n:]]))

    def _attack(self, net, batch, criterion):
        """Return source rows that the net finds hard."""
        x = batch.x[: batch.n_source]
        step = self.step_size or 2.5 * self.eps / self.n_steps
        delta = torch.zeros_like(x)
        for _ in range(self.n_steps):
            delta.requires_grad_()
            with torch.enable_grad():
                outputs = net.outputs_of_source(x + delta, batch.domain)
                loss = criterion(outputs, batch.y_source).sum()
            slope = torch.autograd.grad(loss, delta)[0]
            delta = delta.detach() + step * slope / _lengths(slope)
            delta = delta * (self.eps / _lengths(delta)).clamp_max(1.0)
        return x + delta


def _lengths(rows):
    """Return the length of each row, to be broadcast against rows."""
    length = rows.flatten(1).norm(dim=1).clamp_min(torch.finfo(rows.dtype).tiny)
    return length.view(-1, *[1] * (rows.ndim - 1))
