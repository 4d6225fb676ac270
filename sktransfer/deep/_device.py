"""Devices of torch: which one a name stands for, its random numbers, its gradients."""

from contextlib import contextmanager
from functools import wraps

import torch

__all__ = ["find_device", "has_double", "seeded", "with_gradients"]


def find_device(device):
    """Return the device of torch, or raise an error on its name.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps" and so on.

    Returns
    -------
    device : torch.device
        For "auto" a GPU if there is one.

    Raises
    ------
    ValueError
        If torch has no such device, or finds no GPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is no device of torch: {error}") from error
    if found.type == "meta":
        raise ValueError("device='meta' computes nothing; use device='auto' or 'cpu'.")
    seen = {"cuda": torch.cuda, "mps": torch.backends.mps}.get(found.type)
    if seen is not None and not seen.is_available():
        raise ValueError(
            f"device={device!r}, but torch sees no GPU; use device='auto' or 'cpu'."
        )
    try:
        torch.empty(0, device=found)
    except (RuntimeError, NotImplementedError, ImportError) as error:
        raise ValueError(f"torch cannot use device={device!r}: {error}") from error
    return found


def has_double(device):
    """Tell whether a device computes in double precision; Apple's GPUs do not."""
    return torch.device(device).type != "mps"


def with_gradients(train):
    """Let a function compute gradients, also where its caller switched them off.

    Parameters
    ----------
    train : callable
        What needs them.

    Returns
    -------
    trained : callable
        The same; the caller's mode is restored after.
    """

    @wraps(train)
    def trained(*args, **kwargs):
        with torch.inference_mode(False), torch.enable_grad():
            return train(*args, **kwargs)

    return trained


@contextmanager
def seeded(seed, device):
    """Seed the random numbers of the CPU and of one device; restore both after.

    ``torch.manual_seed`` would seed those of every GPU.

    Parameters
    ----------
    seed : int
        Seed.
    device : torch.device
        Device that computes.
    """
    device = torch.device(device)
    generators = [torch.default_generator, *_generators(device)]
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _generators(device):
    """Return the generator of a device, which CPU and "meta" do not have."""
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        return [torch.cuda.default_generators[index]]
    if device.type == "mps":
        return [torch.mps._get_default_mps_generator()]
    return []
