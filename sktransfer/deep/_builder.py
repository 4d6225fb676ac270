"""Build the modules of a net from the parameters of its estimator."""

import copy
import inspect

import numpy as np
import torch
from torch import nn

from sktransfer.deep._alignment import Sizes
from sktransfer.deep._checks import check_widths
from sktransfer.deep._discriminator import DomainDiscriminator
from sktransfer.deep._modules import MLP
from sktransfer.deep._transfer_module import TransferModule

__all__ = ["make_extractor", "make_head", "make_module"]


def make_part(net, name, default, *args, **kwargs):
    """Copy a module that the user gave, or call a class with its arguments and ours.

    Parameters
    ----------
    net : TransferNet
        Estimator.
    name : {"module", "head"}
        Its parameter.
    default : class
        What None stands for.
    *args, **kwargs : tuple, dict
        Our arguments; the named ones only where they are taken.

    Returns
    -------
    part : Module
        A module on the CPU, wherever the user's is.
    """
    part, own = getattr(net, name), net._params_of(f"{name}__")
    if isinstance(part, nn.Module):
        if own:
            raise ValueError(
                f"{name} is an instance, so {name}__{next(iter(own))} has no "
                f"effect; give the class and its arguments."
            )
        return copy.deepcopy(part).to("cpu")
    maker = default if part is None else part
    made = None
    if not isinstance(maker, type) or issubclass(maker, nn.Module):
        taken = inspect.signature(maker).parameters
        made = maker(*args, **{k: v for k, v in kwargs.items() if k in taken}, **own)
    if not isinstance(made, nn.Module):
        raise TypeError(f"{name}={part!r} does not make a torch module.")
    return made.to("cpu")


def make_extractor(net, x):
    """Return the extractor of a net and the width of its features.

    Parameters
    ----------
    net : TransferNet
        Estimator.
    x : tensor of shape (n, ...)
        A few rows on the CPU, to try it.

    Returns
    -------
    extractor : Module
        Maps rows to features of shape (n, width).
    width : int
        Number of features.
    """
    shape = tuple(x.shape[1:])
    extractor = make_part(net, "module", MLP, n_features=int(np.prod(shape)))
    extractor = extractor.to(x.dtype)
    try:
        with torch.no_grad():
            features = extractor.eval()(x)
    except RuntimeError as error:
        raise ValueError(
            f"module={net.module!r} cannot take rows of shape {shape}: {error}"
        ) from error
    rows = isinstance(features, torch.Tensor) and features.ndim > 1
    if not rows or len(features) != len(x):
        raise ValueError(
            f"module={net.module!r} must return one tensor with a row of features "
            "for each row."
        )
    if features.ndim > 2:
        extractor = nn.Sequential(extractor, nn.Flatten())
    return extractor.train(), features[0].numel()


def make_head(net, like, n_features, n_classes):
    """Return the head of a net, which was tried.

    Parameters
    ----------
    net : TransferNet
        Estimator.
    like : tensor
        Rows on the CPU, for their precision.
    n_features : int
        Number of features.
    n_classes : int
        Number of classes; 0 in regression.

    Returns
    -------
    head : Module
        Maps features to outputs of shape (n, n_classes), or (n, 1) in regression.
    """
    n_outputs = n_classes or 1
    head = make_part(net, "head", nn.Linear, n_features, n_outputs).to(like.dtype)
    tried = copy.deepcopy(head).eval()
    for part in tried.modules():
        part._forward_hooks.clear()  # they are for the training
    try:
        with torch.no_grad():
            outputs = tried(like.new_zeros(2, n_features))
    except RuntimeError as error:
        raise ValueError(
            f"head={net.head!r} cannot take {n_features} features, which module makes "
            f"of a row: {error}"
        ) from error
    shape = getattr(outputs, "shape", None)
    if shape != (2, n_outputs):
        wanted = f"{n_outputs} outputs, one per class" if n_classes else "one output"
        found = type(outputs).__name__ if shape is None else f"shape {tuple(shape)}"
        raise ValueError(
            f"head={net.head!r} must return {wanted}, for each row, but it returns "
            f"{found} for 2 rows."
        )
    return head


def make_module(net, rows, n_classes):
    """Build extractor, head, alignment and discriminators of a net.

    Parameters
    ----------
    net : TransferNet
        Estimator.
    rows : DomainRows
        Rows of the fit.
    n_classes : int
        Number of classes; 0 in regression.

    Returns
    -------
    module : TransferModule
        The parts, on the CPU; ``module.sizes`` holds their sizes.
    """
    x = rows.x[:2].to("cpu")
    extractor, n_features = net._make_extractor(x)
    n_outputs = n_classes or 1
    n_sources = max(rows.n_sources, 1)
    sizes = Sizes(tuple(x.shape[1:]), n_features, n_outputs, n_classes, n_sources)
    head = make_head(net, x, n_features, n_classes)
    alignment = net._make_alignment()
    if getattr(alignment, "match", None) == "joint" and not sees_labels(net):
        raise ValueError(
            "match='joint' needs a discriminator that sees labels: set "
            "label_input=True or gate=True."
        )
    module = TransferModule(
        extractor, head, alignment, None,
        gate=net.gate, mu=net.mu, source_weight=net.source_weight,
        penalties=net._make_penalties(),
    )  # fmt: skip
    module.sizes = sizes
    alignment.build(sizes, module)
    width, adversary = alignment.gate_width(sizes), alignment.needs_discriminator
    noise = _gate_noise(net, width, rows)
    if adversary or net.gate:
        # an adversary sees the features as they are: a gate that sees them through
        # noise is another discriminator
        apart = bool(adversary and noise)
        module.discriminator = _make_discriminator(
            net, sizes, width, 0 if apart else noise
        )
        if apart:
            module.gate_discriminator = _make_discriminator(net, sizes, width, noise)
    return module


def sees_labels(net):
    """Tell whether the discriminators of a net see labels beside features."""
    return net.gate if net.label_input == "auto" else net.label_input


def _gate_noise(net, width, rows):
    """Return the standard deviation of the noise in those of the features."""
    _, n_labeled, n_target = rows.sizes
    n = (n_labeled if sees_labels(net) else 0) or n_target
    scott = n ** (-1 / (width + 4)) if n and net.gate else 0.0
    return net.gate_smoothing * scott


def _make_discriminator(net, sizes, width, noise):
    return DomainDiscriminator(
        width,
        sizes.n_classes,
        labels=sees_labels(net),
        max_ratio=net.max_weight,
        noise=noise,
        hidden_units=check_widths("discriminator_units", net.discriminator_units),
    )
