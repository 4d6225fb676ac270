"""Layers that see which domain each row is from, and TransNorm, one of them."""

from numbers import Integral

import torch
from torch import nn

from sktransfer.deep._checks import check_number

__all__ = ["DomainLayer", "TransNorm1d", "extract", "tells_domains"]


class DomainLayer(nn.Module):
    """Base of layers of a ``module`` that see which domain each row is from.

    A subclass calls ``domains(x)`` in its ``forward``. In a training step the rows of
    the source come first; at prediction all rows are the target's, and in ``transform``
    those that ``sample_domain`` declares source rows are the source's.

    Examples
    --------
    A shift of its own for each of two sources, none for the target:

    >>> import torch
    >>> from sktransfer.deep import DomainLayer, TransferNetClassifier
    >>> class SourceShift(DomainLayer):
    ...     def __init__(self, n_features):
    ...         super().__init__()
    ...         self.shift = torch.nn.Embedding(3, n_features, padding_idx=2)
    ...     def forward(self, x):
    ...         domain = self.domains(x)
    ...         return x + self.shift(torch.where(domain < 0, 2, domain))
    >>> module = torch.nn.Sequential(SourceShift(1), torch.nn.Linear(1, 4))
    >>> net = TransferNetClassifier(module, max_steps=3)
    >>> X = [[0.0], [1.0], [2.0], [3.0], [1.5], [2.5]]
    >>> net = net.fit(X, [0, 1, 0, 1, 0, 1], sample_domain=[4, 4, 7, 7, -1, -1])
    >>> net.predict(X).shape
    (6,)
    """

    def __init__(self):
        super().__init__()
        #: number of rows in all, number of source rows that come first, positions of
        #: their sources; None: all rows are the target's
        self.told = None

    def domains(self, x):
        """Return the domain of each row.

        Parameters
        ----------
        x : tensor of shape (n, ...)
            What the layer got: a row for each row of the batch.

        Returns
        -------
        domain : tensor of shape (n,)
            Position of the row's source among the sorted ids of the sources; -1 for
            target rows.

        Raises
        ------
        ValueError
            If x has another number of rows than the batch.
        """
        domain = torch.full((len(x),), -1, dtype=torch.long, device=x.device)
        n = self._n_source(x)
        if n:
            known = self.told[2]
            domain[:n] = 0 if known is None else known
        return domain

    def _n_source(self, x):
        """Return the number of source rows, which come first."""
        if self.told is None:
            return 0
        n_rows, n_source, _ = self.told
        if len(x) != n_rows:
            raise ValueError(
                f"{type(self).__name__} got {len(x)} rows, but the batch has {n_rows}: "
                "layers before it must keep one row for each row of the batch."
            )
        return n_source


def extract(extractor, x, n_source=0, domain=None):
    """Map rows by an extractor whose layers are told which domain each row is from.

    Parameters
    ----------
    extractor : Module
        Extractor.
    x : tensor of shape (n, ...)
        Rows: those of sources first, then those of the target.
    n_source : int in [0, n], default=0
        Number of source rows.
    domain : tensor of shape (n_source,), default=None
        Positions of their sources; None: the first.

    Returns
    -------
    features : tensor of shape (n, n_features)
        Their features.
    """
    layers = _domain_layers(extractor) if n_source else ()
    for layer in layers:
        layer.told = len(x), n_source, domain
    features = extractor(x)
    for layer in layers:
        layer.told = None
    return features


def tells_domains(extractor):
    """Tell whether an extractor has layers that see which domain each row is from.

    Parameters
    ----------
    extractor : Module
        Extractor.

    Returns
    -------
    tells : bool
        Whether there is one.
    """
    return bool(_domain_layers(extractor))


def _domain_layers(module):
    """Return the layers of a module that are told; they are looked for once."""
    found = vars(module).get("_domain_layers")
    if found is None:
        found = tuple(m for m in module.modules() if isinstance(m, DomainLayer))
        vars(module)["_domain_layers"] = found
    return found


class TransNorm1d(DomainLayer):
    r"""Batch normalization by the statistics of each domain.

    In training the source rows and the target rows of a batch are normalized apart,
    with scale :math:`\gamma` and shift :math:`\beta` in common, and channels in which
    both domains lie alike count more [1]_:

    .. math::

        y_j = (1 + \alpha_j)\,(\gamma_j \hat x_j + \beta_j), \qquad
        \alpha_j = \frac{c\,(1 + d_j)^{-1}}{\sum_{l=1}^c (1 + d_l)^{-1}}, \qquad
        d_j = \Bigl| \frac{\mu^s_j}{\sqrt{v^s_j + \epsilon}}
                   - \frac{\mu^t_j}{\sqrt{v^t_j + \epsilon}} \Bigr|

    for c channels with means :math:`\mu` and variances v; :math:`\alpha` carries no
    gradient. At prediction the moving statistics of the target take the place of those
    of the batch.

    Parameters
    ----------
    n_features : int in [1, inf)
        Number c of channels: the size of the second axis.
    eps : float in (0, inf), default=1e-5
        :math:`\epsilon`.
    momentum : float in (0, 1], default=0.1
        Share of a batch in the moving statistics.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    It goes into a ``module`` like any other layer of torch, between rows of shape
    (n, c) or, for images, (n, c, ...). Where a batch has rows of one domain only,
    :math:`d = 0`, and the layer is twice a batch normalization. The survey's equation
    26 lacks the root, without which d depends on the unit of the channel; the authors'
    program has it.

    References
    ----------
    .. [1] X. Wang, Y. Jin, M. Long, J. Wang, M. I. Jordan, "Transferable normalization:
       towards improving transferability of deep neural networks", NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from sktransfer.deep import DANN, TransNorm1d
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 8), TransNorm1d(8), torch.nn.ReLU()
    ... )
    >>> net = DANN(module, max_steps=5)
    """

    def __init__(self, n_features, eps=1e-5, momentum=0.1):
        super().__init__()
        check_number("n_features", n_features, Integral, 1)
        for name, value in ("eps", eps), ("momentum", momentum):
            if check_number(name, value) == 0:
                raise ValueError(f"{name} must be more than 0.")
        if momentum > 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum!r}.")
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(n_features))
        self.bias = nn.Parameter(torch.zeros(n_features))
        for domain in "source", "target":
            self.register_buffer(f"{domain}_mean", torch.zeros(n_features))
            self.register_buffer(f"{domain}_var", torch.ones(n_features))
            self.register_buffer(f"{domain}_batches", torch.tensor(0))

    def forward(self, x):
        """Normalize rows of shape (n, n_features, ...)."""
        n_source = self._n_source(x)
        parts = {"source": x[:n_source], "target": x[n_source:]}
        parts = {domain: part for domain, part in parts.items() if len(part)}
        found = {domain: self._statistics(domain, x) for domain, x in parts.items()}
        if self.training and len(found) == 2:
            both = found
        elif self.training:
            both = dict.fromkeys(("source", "target"), *found.values())
        else:
            both = {domain: self._moving(domain) for domain in ("source", "target")}
        place = {d: mean / (var + self.eps).sqrt() for d, (mean, var) in both.items()}
        near = 1 / (1 + (place["source"] - place["target"]).abs().detach())
        factor = 1 + near * (len(near) / near.sum())
        normal = [
            (part - _wide(both[domain][0], x))
            / _wide((both[domain][1] + self.eps).sqrt(), x)
            for domain, part in parts.items()
        ]
        normal = torch.cat(normal) if normal else x
        return normal * _wide(factor * self.weight, x) + _wide(factor * self.bias, x)

    def _statistics(self, domain, x):
        """Return mean and variance of a part of a batch, and let them move."""
        if not self.training:
            return None
        axes = [axis for axis in range(x.ndim) if axis != 1]
        var, mean = torch.var_mean(x, axes, correction=0)
        with torch.no_grad():
            n = x.numel() / x.shape[1]
            unbiased = var * (n / max(n - 1, 1))
            batches = getattr(self, f"{domain}_batches")
            batches += 1
            for name, value in ("mean", mean), ("var", unbiased):
                moving = getattr(self, f"{domain}_{name}")
                moving.lerp_(value.to(moving.dtype), self.momentum)
        return mean, var

    def _moving(self, domain):
        """Return moving statistics: those of the other domain where there are none."""
        other = "source" if domain == "target" else "target"
        seen = getattr(self, f"{domain}_batches") > 0
        return tuple(
            torch.where(
                seen,
                getattr(self, f"{domain}_{name}"),
                getattr(self, f"{other}_{name}"),
            )
            for name in ("mean", "var")
        )


def _wide(values, x):
    """Return a value for each channel, to be broadcast against rows."""
    return values.view(-1, *[1] * (x.ndim - 2))
