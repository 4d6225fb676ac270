"""Fit methods of skada or adapt on request, in the environment that has them.

``board/peers.py`` starts it: ``python peer_server.py PACKAGE SOCKET``. A request is
fitted in a forked process with a limit of CPU seconds. Without a request for five
minutes the server ends. It imports nothing of this repository.
"""

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import warnings
from multiprocessing.connection import Listener

IDLE_SECONDS = 300


def fit_skada(request):
    """Fit a method of skada to rows whose target labels are hidden."""
    import numpy as np
    import skada
    from sklearn.linear_model import LogisticRegression, Ridge

    reals = request["kind"] == "regression"
    base = Ridge() if reals else LogisticRegression(max_iter=1000)
    X, domain = request["X"], request["domain"]
    hidden = np.nan if reals else -1
    y = np.where(domain < 0, hidden, request["y"])
    if not reals:
        y = y.astype(int)
    name = request["name"]
    options = {}
    if name in ("TransferComponentAnalysis", "SubspaceAlignment"):
        options["n_components"] = min(10, X.shape[1])
    if name == "KLIEPReweight":  # has no default
        options["gamma"] = 1 / X.shape[1]
    step = getattr(skada, f"{name}Adapter")(**options)
    if name.endswith("Reweight"):
        base = (base.set_fit_request(sample_weight=True)
                .set_score_request(sample_weight=True))  # fmt: skip
    model = skada.make_da_pipeline(step, base)
    model.fit(X, y, sample_domain=domain)
    test = np.full(len(request["X_test"]), domain.min())
    if reals:
        return model.predict(request["X_test"], sample_domain=test), None
    proba = model.predict_proba(request["X_test"], sample_domain=test)
    return proba, model[-1].base_estimator_.classes_ if hasattr(
        model[-1], "base_estimator_"
    ) else np.unique(y[y >= 0])


#: methods of adapt that take labels of the target
LABELED = {
    "BalancedWeighting", "FA", "PRED", "LinInt", "TrAdaBoost", "TrAdaBoostR2",
    "RegularTransferLR", "RegularTransferLC",
}  # fmt: skip


def fit_adapt(request):
    """Fit a method of adapt; all sources are one."""
    import adapt.feature_based
    import adapt.instance_based
    import adapt.parameter_based
    import numpy as np
    from sklearn.linear_model import LogisticRegression, Ridge

    reals, name = request["kind"] == "regression", request["name"]
    base = Ridge() if reals else LogisticRegression(max_iter=1000)
    rooms = adapt.instance_based, adapt.feature_based, adapt.parameter_based
    cls = next(getattr(room, name) for room in rooms if hasattr(room, name))
    X, y, domain = request["X"], request["y"], request["domain"]
    source, labeled = domain > 0, (domain < 0) & np.isfinite(y)
    if not reals:
        y = np.where(np.isfinite(y), y, -1).astype(int)
    options = {"Xt": X[domain < 0], "verbose": 0, "random_state": 0}
    if name in LABELED:
        options |= {"Xt": X[labeled], "yt": y[labeled]}
    if name.startswith("RegularTransfer"):
        base.fit(X[source], y[source])
        model = cls(base, **options).fit(X[labeled], y[labeled])
    else:
        model = cls(base, **options).fit(X[source], y[source])
    if reals:
        return np.asarray(model.predict(request["X_test"])).ravel(), None
    if hasattr(adapt.instance_based, name) and hasattr(
        getattr(model, "estimator_", None), "predict_proba"
    ):
        inner = model.estimator_
        return inner.predict_proba(request["X_test"]), inner.classes_
    # no probabilities: votes
    classes = np.unique(np.concatenate([y[source], y[labeled]]))
    return np.asarray(model.predict(request["X_test"])).ravel(), classes


def answer(request, package, sender):
    """Fit and predict; send what comes of it."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (request["cap"], hard))
    start = time.process_time()
    fit = {"skada": fit_skada, "adapt": fit_adapt}[package]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictions, classes = fit(request)
        cpu = time.process_time() - start
        sender.send({"predictions": predictions, "classes": classes, "cpu": cpu})
    except Exception as error:  # goes into the line of the result
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        sender.send({"error": text})


def serve(package, address):
    """Answer one request after the other until none comes for a while."""
    context = multiprocessing.get_context("fork")
    last = [time.monotonic()]

    def end_when_idle():
        while time.monotonic() - last[0] < IDLE_SECONDS:
            time.sleep(5)
        os.unlink(address)
        os._exit(0)

    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))  # not that of the asking fit
    __import__(package)
    if package == "adapt":
        import adapt.feature_based
        import adapt.instance_based
        import adapt.parameter_based  # noqa: F401
    listener = Listener(address, "AF_UNIX")
    threading.Thread(target=end_when_idle, daemon=True).start()
    while True:
        with listener.accept() as connection:
            request = connection.recv()
            last[0] = time.monotonic()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=answer, args=(request, package, sender))
            process.start()
            sender.close()
            try:
                found = receiver.recv()
            except EOFError:
                process.join()
                late = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
                found = {"error": "timeout" if late else f"exit {process.exitcode}"}
            process.join()
            last[0] = time.monotonic()
            connection.send(found)


if __name__ == "__main__":
    serve(*sys.argv[1:])
