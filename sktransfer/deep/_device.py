"""Which device of torch a name stands for."""

import torch

__all__ = ["find_device"]


def find_device(device):
    """Return the device of torch, or say what is wrong with its name.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:1" and so on.

    Returns
    -------
    device : torch.device
        For "auto" a GPU if there is one.

    Raises
    ------
    ValueError
        If torch knows no such device, or sees no GPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is no device of torch: {error}") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r}, but torch sees no GPU; use device='auto' or 'cpu'."
        )
    return found
