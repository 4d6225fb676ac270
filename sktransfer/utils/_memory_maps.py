"""Memory maps go to other processes by the name of their file."""

import copyreg
from collections.abc import Callable
from typing import Any

import numpy as np


def send_memory_maps_by_name(client: Any = None) -> None:
    """Let worker processes open the file of a memory map in place of a copy.

    joblib's own workers (``n_jobs``) do so already. Workers of Ray, of Dask and of
    other pools get a memory map as a pickle with all its samples, each worker its own;
    after this call they get its place in the file, which they must be able to read.
    Arrays in memory are sent as before, and so are parts of a map that are not
    contiguous, and maps of the mode "c", whose changes are not in the file.

    Parameters
    ----------
    client : dask.distributed.Client, default=None
        Client of a Dask cluster, which has a way of its own to send arrays. It and the
        workers that it has now learn to send and receive memory maps. None: only
        pickles change, which is enough for Ray.

    Returns
    -------
    None
        The change holds for this process until it ends.

    Examples
    --------
    >>> import pickle, tempfile
    >>> import numpy as np
    >>> from sktransfer.utils import send_memory_maps_by_name
    >>> send_memory_maps_by_name()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/X.npy", np.zeros((10_000, 20)))
    ...     X = np.load(f"{folder}/X.npy", mmap_mode="r")
    ...     message = pickle.dumps(X)
    ...     received = pickle.loads(message)
    ...     print(X.nbytes, len(message) < 1000, received.shape)
    ...     del X, received
    1600000 True (10000, 20)
    """
    copyreg.pickle(np.memmap, _reduced)  # type: ignore[type-var]
    if client is not None:
        _register_with_dask()
        client.run(_register_with_dask)


def _reduced(rows: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return a function and arguments that make the rows anew: their place, or they."""
    contiguous = rows.flags.c_contiguous or rows.flags.f_contiguous
    whole = rows
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    # results of operations have the type of a map, but lie in memory
    in_file = whole.base is not None and rows.filename is not None and rows.mode != "c"
    if not (contiguous and in_file and rows.size):
        return np.array, (np.asarray(rows),)
    offset = whole.offset + rows.ctypes.data - whole.ctypes.data
    order = "C" if rows.flags.c_contiguous else "F"
    return _opened, (str(rows.filename), rows.dtype, offset, rows.shape, order)


def _opened(*where: Any) -> Any:
    """Return a memory map of a part of a file."""
    name, dtype, offset, shape, order = where
    return np.memmap(name, dtype, "r", offset, shape, order)


def _register_with_dask() -> None:
    from distributed.protocol import dask_deserialize, dask_serialize, pickle

    def send(rows: Any, context: Any = None) -> tuple[dict[str, Any], list[Any]]:
        return {}, [pickle.dumps(_reduced(rows))]

    def receive(header: Any, frames: list[Any]) -> Any:
        function, arguments = pickle.loads(frames[0])
        return function(*arguments)

    dask_serialize.register(np.memmap, send)
    dask_deserialize.register(np.memmap, receive)
