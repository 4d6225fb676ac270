"""Fine-tuning after the source features were fitted to the target's labels."""

from itertools import islice
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from torch import nn
from torch.nn.functional import one_hot

from sktransfer._compat import Interval
from sktransfer.deep._device import has_double
from sktransfer.deep._domain_layers import extract
from sktransfer.deep._fine_tuning import FineTuning
from sktransfer.deep._net import TRANSFER_PARAMETERS
from sktransfer.deep._parameters import inherit_parameters
from sktransfer.exceptions import warn

__all__ = ["OTCEFineTuning"]

_MAX_ITER = 500
_LOOK = 5  # iterations between two looks at the violation
_CLOSE = 1e-2  # relative violation of a marginal at which Newton steps take over
_PRECISE = 1e-9
_RIDGE = 1e-9
_WARN = 0.1


def entropic_plan(source, target, reg):
    r"""Couple two sets of rows by entropic optimal transport, differentiably.

    The plan minimizes :math:`\sum_{ij} \pi_{ij} (c_{ij} / \bar c + \text{reg} \log
    \pi_{ij})` with squared distances :math:`c` of mean :math:`\bar c` and uniform
    marginals. Sinkhorn iterations in the log domain and Newton steps find it without
    gradient; the derivative is that of a further Newton step, which is exact.

    Parameters
    ----------
    source : tensor of shape (m, n_features)
        Features of source rows.
    target : tensor of shape (n, n_features)
        Features of target rows.
    reg : float in (0, inf)
        Strength of the entropy term relative to the mean cost.

    Returns
    -------
    plan : tensor of shape (m, n)
        The coupling, in double precision where the device has it.
    residual : tensor of shape ()
        Largest violation of a marginal, relative to it.
    """
    if has_double(source.device):
        source, target = source.double(), target.double()
    cost = ((source[:, None] - target[None]) ** 2).sum(2)
    kernel = -cost / (reg * cost.mean().clamp_min(torch.finfo(cost.dtype).tiny))
    with torch.no_grad():
        u, v = _polish(kernel, *_sinkhorn(kernel))
    # the step itself is nothing at the solution; its derivative is the solution's
    u, v = (
        w + step - step.detach()
        for w, step in zip((u, v), _newton_step(kernel, u, v), strict=True)
    )
    plan = torch.exp(kernel + u[:, None] + v[None])
    return plan, _violation(plan.detach())


def _sinkhorn(kernel):
    """Return the potentials of both sides, in the log domain."""
    m, n = kernel.shape
    v = kernel.new_zeros(n)
    for i in range(_MAX_ITER):
        u = -np.log(m) - torch.logsumexp(kernel + v[None], 1)
        columns = torch.logsumexp(kernel + u[:, None], 0)
        violation = (torch.expm1(columns + v + np.log(n))).abs().max()
        v = -np.log(n) - columns
        # to look at it makes the host wait for the device
        if i % _LOOK == 0 and violation < _CLOSE:
            break
    return u, v


def _polish(kernel, u, v):
    """Improve potentials by Newton steps, as long as they help."""
    violation = _violation(torch.exp(kernel + u[:, None] + v[None]))
    while violation > _PRECISE:
        du, dv = _newton_step(kernel, u, v)
        found = _violation(torch.exp(kernel + (u + du)[:, None] + (v + dv)[None]))
        if not found < violation / 2:
            break
        u, v, violation = u + du, v + dv, found
    return u, v


def _newton_step(kernel, u, v):
    """Return the step to the marginals; its derivative is that of the solution."""
    m, n = kernel.shape
    plan = torch.exp(kernel + u[:, None] + v[None])
    gap = torch.cat([1 / m - plan.sum(1), 1 / n - plan.sum(0)])
    with torch.no_grad():
        slope = torch.diag(torch.cat([plan.sum(1), plan.sum(0)]))
        slope[:m, m:], slope[m:, :m] = plan, plan.T
        # (1, -1) changes nothing, nor do rows that are coupled apart from the others
        slope += _RIDGE / max(m, n) * torch.eye(m + n, device=plan.device)
    return torch.linalg.solve(slope, gap).split([m, n])


def _violation(plan):
    """Return the largest violation of a marginal, relative to it."""
    m, n = plan.shape
    sides = torch.cat([plan.sum(1) * m, plan.sum(0) * n])
    return (sides - 1).abs().max()


def task_difference(plan, y_source, y_target, n_classes):
    r"""Conditional entropy :math:`H(Y_t | Y_s)` of the labels that a plan couples.

    Parameters
    ----------
    plan : tensor of shape (m, n)
        Coupling of source and target rows.
    y_source : tensor of shape (m,)
        Classes of the source rows.
    y_target : tensor of shape (n,)
        Classes of the target rows.
    n_classes : int
        Number of classes.

    Returns
    -------
    difference : tensor of shape ()
        :math:`-\sum_{ab} P(a, b) \log (P(a, b) / P(a))` in nats, with :math:`P(a, b)`
        the sum of the plan over source rows of class a and target rows of class b.
    """
    source = one_hot(y_source, n_classes).to(plan.dtype)
    target = one_hot(y_target, n_classes).to(plan.dtype)
    joint = (source.T @ plan @ target).clamp_min(1e-30)
    return (joint * (joint.sum(1, keepdim=True).log() - joint.log())).sum()


@inherit_parameters(but=TRANSFER_PARAMETERS)
class OTCEFineTuning(FineTuning):
    r"""Fine-tune a source net whose features were first fitted to the target's labels.

    A net is trained on the source rows. Step 1 changes its extractor so that optimal
    transport couples rows whose labels predict each other: it minimizes the task
    difference of OTCE [1]_. Step 2 fine-tunes the whole net on the labeled target rows
    alone. Unlabeled target rows are ignored.

    Parameters
    ----------
    %(module)s
    otce_epochs : int in [0, inf), default=1
        Epochs of step 1, passes over the source rows. 0: plain fine-tuning. With few
        labeled target rows many epochs fit their noise.
    reg : float in (0, inf), default=0.05
        Strength of the entropy term of the transport, relative to the mean cost.
    keep_head : bool, default=False
        Fine-tune the head of the source net; False, as published, starts from a new
        head.
    %(parameters)s

    Attributes
    ----------
    task_difference_path_ : ndarray of shape (otce_epochs,)
        Mean task difference of the batches in each epoch of step 1, in nats; empty
        without sources.
    sample_weight_ : ndarray of shape (n_source,)
        Ones.
    history_ : dict of str to ndarray of shape (n_iter_,)
        Mean of every loss in each epoch of step 2.
    net_ : NeuralNet
        The skorch net of step 2.
    n_iter_ : int
        Number of epochs of step 2.
    %(attributes)s

    See Also
    --------
    sktransfer.metrics.otce : The score of a source whose negative step 1 minimizes.
    FineTuning : The same without step 1.
    TargetOnlyNet : The net without sources.

    Notes
    -----
    With :math:`\pi` the entropic transport plan between the features of a batch of
    source rows and a batch of labeled target rows, step 1 minimizes

    .. math:: W_T = H(Y_t | Y_s) = -\sum_{ab} P(a, b) \log \frac{P(a, b)}{P(a)},
              \qquad P(a, b) = \sum_{ij:\, y_i = a,\, y_j = b} \pi_{ij},

    over the extractor. The gradient passes through the plan. Costs are taken relative
    to their mean, so that a change of scale gains nothing. ``max_epochs`` and
    ``max_steps`` are those of step 2, which takes as many steps as any other net on the
    same rows; ``sample_weight`` counts in the losses of the labels, not in the plan.

    References
    ----------
    .. [1] Y. Tan, Y. Li, S.-L. Huang, "OTCE: A transferability metric for cross-domain
       cross-task representations", CVPR 2021, arXiv:2103.13843.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import OTCEFineTuning
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(120, 4))
    >>> domain = np.repeat([1, -1], [100, 20])
    >>> y = (X[:, 0] + X[:, 1] * (domain == 1) > 0).astype(int)
    >>> net = OTCEFineTuning(otce_epochs=5, max_epochs=20, random_state=0)
    >>> path = net.fit(X, y, sample_domain=domain).task_difference_path_
    >>> bool(path[-1] < path[0])
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **FineTuning._parameter_constraints,
        "otce_epochs": [Interval(Integral, 0, None, closed="left")],
        "reg": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        module=None,
        *,
        otce_epochs=1,
        reg=0.05,
        keep_head=False,
        **params,
    ):
        super().__init__(module, keep_head=keep_head, **params)
        self.otce_epochs = otce_epochs
        self.reg = reg

    def _prepare_module(self, module, rows, device, budget):
        self.task_difference_path_ = np.zeros(0)
        super()._prepare_module(module, rows, device, budget)

    def _between(self, module, rows):
        """Let the plan guide the extractor."""
        if self.otce_epochs:
            one_pass = -(-rows.sizes[0] // self.batch_size)
            self._lower_task_difference(module.extractor, rows, one_pass)

    def _lower_task_difference(self, extractor, rows, one_pass):
        """Step 1: epochs are passes over the source rows."""
        parameters = [
            (f"extractor.{name}", parameter)
            for name, parameter in extractor.named_parameters()
            if parameter.requires_grad
        ]
        if not parameters:
            raise ValueError(
                f"module={self.module!r} has no parameter to train in step 1; set "
                "otce_epochs=0 for plain fine-tuning."
            )
        # skorch reads rates and groups of parameters as in every other training
        reader = NeuralNet(nn.Module, nn.Identity, **self._optimizer_params())
        groups, options = reader.get_params_for_optimizer("optimizer", parameters)
        optimizer = reader.optimizer(*groups, **options)
        path, worst = [], 0.0
        for _ in range(self.otce_epochs):
            values = []
            for batch in islice(rows, one_pass):
                features = extract(extractor, batch.x, batch.n_source, batch.domain)
                source, labeled, _ = batch.split(features)
                plan, residual = entropic_plan(source, labeled, self.reg)
                value = task_difference(
                    plan, batch.y_source, batch.y_labeled, self._n_classes
                )
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                values.append(torch.stack([value.detach(), residual]))
            values = torch.stack(values).cpu()  # once an epoch
            path.append(values[:, 0].mean().item())
            worst = max(worst, values[:, 1].max().item())
        self.task_difference_path_ = np.array(path)
        if worst > _WARN:
            warn(
                f"The transport of step 1 misses its marginals by up to {worst:.1e} of "
                f"them, more than {_WARN:g}; raise reg={self.reg:g}.",
                ConvergenceWarning,
            )
