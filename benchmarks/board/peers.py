"""Other packages, in an environment of their own, behind a socket.

``python -m benchmarks run --peers PYTHON`` names the interpreter of an environment that
has them (``requirements.txt``). A server (``peer_server.py``) imports a package once,
fits in a process of its own per request, and measures the CPU seconds of fit and
predictions there. An estimator here sends the rows of ``fit`` with those to predict and
returns the answers.
"""

import os
import subprocess
import tempfile
import time
from multiprocessing.connection import Client
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

SERVER = Path(__file__).parents[1] / "peer_server.py"
VARIABLE = "SKTRANSFER_PEERS"  # path of the interpreter
LONGEST_START = 180.0  # seconds in which a server must be there


def _address(package):
    """Return the socket of a package's server, one per run of the benchmark."""
    return str(Path(tempfile.gettempdir()) / f"sktransfer-{os.getppid()}-{package}")


def ask(package, request, cap=20):
    """Send a request to the server of a package, which is started if there is none.

    Parameters
    ----------
    package : str
        "skada" or "adapt".
    request : dict
        What to fit and to predict.
    cap : int, default=20
        CPU seconds.

    Returns
    -------
    answer : dict
        ``predictions``, ``classes`` and ``cpu``.

    Raises
    ------
    RuntimeError
        With the message of the package, or if the server cannot be reached.
    """
    address = _address(package)
    if not os.path.exists(address):
        python = os.environ.get(VARIABLE)
        if not python:
            raise RuntimeError(f"{VARIABLE} names no interpreter that has {package}.")
        subprocess.Popen(
            [python, str(SERVER), package, address],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": ""}, start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + LONGEST_START
    while True:
        try:
            with Client(address, "AF_UNIX") as connection:
                connection.send(request | {"cap": cap})
                answer = connection.recv()
            break
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > end:
                raise RuntimeError(f"The server of {package} does not start.") from None
            time.sleep(0.2)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


class _Peer(BaseEstimator):
    """An estimator of another package."""

    __metadata_request__fit = {"sample_domain": True}
    unlabeled_rows = True

    def __init__(self, package="skada", name="CORAL"):
        self.package = package
        self.name = name

    def fit(self, X, y, sample_domain):
        """Keep the rows; they are sent with those to predict."""
        # cvxopt takes no other floats
        self._rows = np.asarray(X, float), np.asarray(y, float), sample_domain
        labels = self._rows[1]
        self._find_classes(labels[np.isfinite(labels)])
        return self

    def _find_classes(self, y):
        pass

    def _ask(self, X, kind):
        rows, labels, domain = self._rows
        answer = ask(self.package, {
            "name": self.name, "kind": kind, "X": rows, "y": labels, "domain": domain,
            "X_test": np.asarray(X, float),
        })  # fmt: skip
        self.cpu_seconds_ = answer["cpu"]
        return answer


class PeerRegressor(RegressorMixin, _Peer):
    """A regressor of another package."""

    def predict(self, X):
        """Return predictions."""
        return self._ask(X, "regression")["predictions"]


class PeerClassifier(ClassifierMixin, _Peer):
    """A classifier of another package."""

    def _find_classes(self, y):
        self.classes_ = np.unique(y).astype(int)

    def predict_proba(self, X):
        """Return probabilities; votes where the package gives none."""
        answer = self._ask(X, "classification")
        if answer["predictions"].ndim == 1:
            self.votes_ = True
            return (answer["predictions"][:, None] == self.classes_).astype(float)
        proba = np.zeros((len(X), len(self.classes_)))
        known = np.searchsorted(self.classes_, answer["classes"])
        proba[:, known] = answer["predictions"]
        return proba

    def predict(self, X):
        """Return classes."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
