"""Which device of torch a name stands for, what it can do, and its random numbers."""

from contextlib import contextmanager

import torch

__all__ = ["find_device", "has_double", "seeded"]


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
    seen = {"cuda": torch.cuda, "mps": torch.backends.mps}.get(found.type)
    if seen is not None and not seen.is_available():
        raise ValueError(
            f"device={device!r}, but torch sees no GPU; use device='auto' or 'cpu'."
        )
    return found


def has_double(device):
    """Tell whether a device computes in double precision; Apple's GPUs do not."""
    return torch.device(device).type != "mps"


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
