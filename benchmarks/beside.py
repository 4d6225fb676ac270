"""Times beside former code and other libraries, in turn and in one run.

    git worktree add --detach FORMER COMMIT
    python benchmarks/beside.py --former FORMER --peers PYTHON

PYTHON is an interpreter that has skada, adapt and the dependencies of this library.
Every party (this code, the former one, skada, adapt, POT) is one process on one thread
that stays; a case is given to one after the other, three times, and the median of the
CPU seconds counts. Below 50 ms each of the three is the least of five. A first run of
more than ``PATIENCE`` seconds is not repeated, one of more than ``STOP`` seconds is
stopped. The rows are the same for all. Imports are not timed; methods are fitted to
small samples before the first time.

"change" is the largest difference between the results of this and the former code over
the largest result. Lines go to ``--lines``; what has a line is not run again.
``--table`` writes the table of scale.md from the lines.
"""

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PATIENCE, STOP = 2.0, 30.0
MARK = "<!-- written by beside.py -->"
#: name in shallow_methods.py -> what ends the iterations: of ours; of the peers
STEPS = {
    "CORAL": "closed form",
    "SubspaceAlignment": "closed form",
    "LinearTransportMap": "closed form",
    "TCA, rbf": "eigenpairs to a residual of 1e-6; all eigenpairs",
    "TJM, rbf": "10 rounds; 10 rounds",
    "OptimalTransportMap, exact": "optimal; at most 100,000 steps",
    "OptimalTransportMap, entropic": "marginals to 1e-8; 1e-9, at most 1000 rounds",
    "OTLabelPropagation": "marginals to 1e-8; exact, at most 100,000 steps",
    "JCPOT": "1e-6; at most 100 rounds",
    "JDOT, regressor": "objective falls by less than 1e-5; 10 rounds",
    "uLSIF": "closed form",
    "RuLSIF": "closed form",
    "KLIEP": "gap 1e-6; at most 5000 steps",
    "Domain classifier": "learner's",
    "Nearest neighbors": "exact",
    "Gaussian": "closed form",
    "TrAdaBoost": "10 rounds",
    "TrAdaBoost.R2": "10 rounds",
    "Two-stage TrAdaBoost.R2": "10 rounds",
    "DASVM": "until the labels stay",
}


# cases: a function of (library, n) that returns a function of nothing, or None


def from_shallow_methods(name):
    """Return a case of shallow_methods.py."""

    def make(library, n):
        import shallow_methods as s

        made = s.methods()[name].get(library)
        if made is None:
            return None
        Xs, Xt, ys, _ = s.make_rows(n)
        return lambda: made()(Xs, Xt, ys)

    return make


def kmm(library, n):
    """Weights of kernel mean matching."""
    import kernel_methods as k

    run = {
        "sktransfer": lambda *rows: k.our_kmm(*rows, tol=1e-6),
        "skada": k.skada_kmm,
        "adapt": k.adapt_kmm,
    }.get(library)
    if run is None:
        return None
    made = run(*k.make_data(n, n), 0.025)
    return lambda: made()[0]


def gap_of_kmm(weights, n):
    """Return the relative duality gap of weights, with this code."""
    import kernel_methods as k

    return f"gap {k.kmm_gap(weights, *k.make_data(n, n), 0.025):.0e}"


def value_of_divergence(value, n):
    """Return the divergence that was found."""
    return f"{float(value[0]):.6f}"


def divergence(library, n):
    """Sinkhorn divergence."""
    import kernel_methods as k

    A, B = k.make_data(n, n)
    if library == "sktransfer":
        from sktransfer.metrics import sinkhorn_divergence

        return lambda: np.array([sinkhorn_divergence(A, B, reg=0.05, tol=1e-8)])
    if library != "POT":
        return None
    import ot

    reg = 0.05 * float(np.mean(ot.dist(A, B)))
    return lambda: np.array(
        [
            ot.bregman.empirical_sinkhorn_divergence(
                A, B, reg, numIterMax=5000, stopThr=1e-8
            )
        ]
    )


def sources(K, n, task, d=20):
    """Draw samples of K sources."""
    from sktransfer.datasets import make_concept_shift

    return make_concept_shift(
        n, n_labeled=50, n_unlabeled=n if K == 1 else 450, n_features=d, task=task,
        shift=list(np.linspace(0.2, 1.0, K)), random_state=0,
    )  # fmt: skip


def estimator(make, K, task, d=20):
    """Return a case of an estimator: a fit, and predictions of 500 samples."""

    def case(library, n):
        if library != "sktransfer":
            return None
        data = sources(K, n, task, d)
        X = data.X[data.sample_domain < 0][:500]

        def run():
            model = make().fit(data.X, data.y, sample_domain=data.sample_domain)
            if hasattr(model, "predict_proba"):
                return model.predict_proba(X)
            return model.predict(X)

        return run

    return case


def logistic():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def of(module, name, *arguments, **options):
    """Return a function that makes an estimator of a module."""

    def make():
        import importlib

        cls = getattr(importlib.import_module(f"sktransfer.{module}"), name)
        return cls(*(a() for a in arguments), **options)

    return make


def ridge():
    from sklearn.linear_model import Ridge

    return Ridge()


#: name -> (case, n, what ends the iterations)
CASES = {
    "KMM, 2000": (kmm, 2000, "gap 1e-6; peers' defaults"),
    "KMM, 4000": (kmm, 4000, "gap 1e-6; peers' defaults"),
    "KMM, 6000": (kmm, 6000, "gap 1e-6; peers' defaults"),
    "Sinkhorn divergence": (divergence, 1000, "marginals to 1e-8, at most 5000 rounds"),
    "UOWQ, d = 1024": (
        estimator(of("multisource", "UOWQ", logistic), 3, "classification", 1024),
        200, "learner's",
    ),
    "PeerWeightedEnsemble, 100 sources": (
        estimator(
            of("multisource", "PeerWeightedEnsemble", logistic), 100, "classification"
        ), 100, "learner's",
    ),
    "MMDWeightedEnsemble, 200 sources": (
        estimator(of("multisource", "MMDWeightedEnsemble", ridge), 200, "regression"),
        100, "closed form",
    ),
    "DomainRecognitionEnsemble, 200 sources": (
        estimator(
            of("multisource", "DomainRecognitionEnsemble", logistic),
            200, "classification",
        ), 100, "learner's",
    ),
    "PositiveTransferLogistic, 50 sources": (
        estimator(
            of("hypothesis", "PositiveTransferLogistic"), 50, "classification"
        ), 10_000, "gradient 1e-6",
    ),
    "TransferGuard of KMM": (
        estimator(
            of("safe", "TransferGuard", of("instance", "KMM", ridge), random_state=0),
            1, "regression",
        ), 2000, "gap 1e-6",
    ),
    "TransferGuard of TCA and Pooled": (
        estimator(
            of(
                "safe", "TransferGuard",
                lambda: __import__("sklearn.pipeline").pipeline.make_pipeline(
                    of("feature", "TCA")(), of("baselines", "Pooled", ridge)()
                ), random_state=0,
            ), 1, "regression",
        ), 1000, "eigenpairs to a residual of 1e-6",
    ),
    **{name: (from_shallow_methods(name), 1000, how) for name, how in STEPS.items()},
}  # fmt: skip


QUALITIES = {"KMM": gap_of_kmm, "Sinkhorn divergence": value_of_divergence}


# a party


def serve(root, library):
    """Answer cases: time a run of each, and keep its result in a file."""
    sys.path[:0] = [root, str(HERE)]
    warnings.simplefilter("ignore")
    from threadpoolctl import threadpool_limits

    with contextlib.suppress(AttributeError):  # of versions that always route
        import sklearn

        sklearn.set_config(enable_metadata_routing=False)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    warm = set()
    with threadpool_limits(1):
        for line in sys.stdin:
            name, path = json.loads(line)
            case, n, _ = CASES[name]
            try:
                if name not in warm and case(library, 60) is not None:
                    warm.add(name)
                    case(library, 60)()
                run = case(library, n)
                answer = {"none": True}
                if run is not None:
                    seconds = []
                    while len(seconds) < (5 if not seconds or seconds[0] < 0.05 else 1):
                        begin = time.process_time()
                        result = run()
                        seconds.append(time.process_time() - begin)
                    answer = {"s": min(seconds)}
                    np.save(path, np.asarray(result, dtype=float))
            except Exception as error:
                text = str(error).splitlines() or [""]
                answer = {"error": f"{type(error).__name__}: {text[0]}"[:120]}
            print(json.dumps(answer), file=answers, flush=True)


class Party:
    """A process that answers cases."""

    def __init__(self, python, root, library):
        self.root = root
        self.command = [python, __file__, "--serve", str(root), library]
        self.process = None

    def ask(self, name, path):
        """Return the answer to a case."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                stderr=subprocess.DEVNULL,
                env=os.environ | {
                    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                    "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
                    "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "",
                },
            )  # fmt: skip
        print(json.dumps([name, str(path)]), file=self.process.stdin, flush=True)
        start = self.cpu()
        while not select.select([self.process.stdout], [], [], 0.5)[0]:
            if self.cpu() - start > STOP:
                self.process.kill()
                self.process.wait()
                self.process = None
                return {"stopped": True}
        text = self.process.stdout.readline()
        if not text:
            self.process.wait()
            self.process = None
            return {"error": "the process ended"}
        return json.loads(text)

    def cpu(self):
        """Return the CPU seconds of the process so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        """End the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def measure(parties, names, file, folder):
    """Append a line for each case."""
    for name in names:
        seconds = {key: [] for key in parties}
        ended = {}
        for turn in range(3):
            for key, party in parties.items():
                if key in ended or (turn and seconds[key][0] > PATIENCE):
                    continue
                answer = party.ask(name, folder / f"{key}.npy")
                if "s" in answer:
                    seconds[key].append(answer["s"])
                else:
                    ended[key] = answer
        line = {"case": name, "n": CASES[name][1]}
        line |= {key: float(np.median(s)) for key, s in seconds.items() if s}
        line |= {
            key: a.get("error", f"over {STOP:.0f} s")
            for key, a in ended.items()
            if "none" not in a
        }
        if "former" in parties:
            line["commit"] = commit_of(parties["former"].root)
        if seconds.get("now") and seconds.get("former"):
            one, two = (np.load(folder / f"{key}.npy") for key in ("now", "former"))
            line["change"] = float(
                np.max(np.abs(one - two)) / np.max(np.abs(two))
                if one.shape == two.shape else np.nan
            )  # fmt: skip
        quality = QUALITIES.get(name.partition(",")[0])
        if quality is not None:
            line["quality"] = {
                key: quality(np.load(folder / f"{key}.npy"), CASES[name][1])
                for key, s in seconds.items()
                if s
            }
        print(json.dumps(line), flush=True)
        print(json.dumps(line), file=file, flush=True)


def commit_of(root):
    """Return the commit of a worktree."""
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def shown(found):
    """Return seconds, or why there are none."""
    if isinstance(found, float):
        return f"{found:.2g} s" if found >= 0.0095 else f"{found * 1000:.2g} ms"
    return found or ""


def ratio(line):
    """Return how often this code's time goes into the fastest other one."""
    others = {
        key: line[key]
        for key in ("former", "skada", "adapt", "POT")
        if isinstance(line.get(key), float)
    }
    if not others or not isinstance(line.get("now"), float):
        return ""
    best = min(others, key=others.get)
    return f"{others[best] / line['now']:.2g} ({best})"


def table(path):
    """Return the table of the lines."""
    head = ["method", "n", "now", "former", "skada", "adapt", "POT",
            "fastest other / now", "change", "ends at: ours; peers"]  # fmt: skip
    out = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for text in path.read_text().splitlines():
        line = json.loads(text)
        cells = [line["case"], f"{line['n']:,}"]
        for key in ("now", "former", "skada", "adapt", "POT"):
            quality = line.get("quality", {}).get(key)
            text = shown(line.get(key)) + (f", {quality}" if quality else "")
            if key == "former" and text:
                text += f" ({line['commit']})"
            cells.append(text)
        change = line.get("change")
        cells += [ratio(line), "" if change is None else f"{change:.0e}"]
        out.append("| " + " | ".join([*cells, CASES[line["case"]][2]]) + " |")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="cases; default: all")
    parser.add_argument("--former", type=Path, help="worktree of the former code")
    parser.add_argument("--peers", help="interpreter that has the peers")
    parser.add_argument("--lines", type=Path, default=HERE / "beside.jsonl")
    parser.add_argument("--table", action="store_true", help="write scale.md")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(*args.serve)
        return
    if args.table:
        page = HERE / "scale.md"
        before, _, after = page.read_text().split(MARK)
        page.write_text(f"{before}{MARK}\n\n{table(args.lines)}\n\n{MARK}{after}")
        return
    import tempfile

    sys.path[:0] = [str(HERE.parent), str(HERE)]
    parties = {"now": Party(sys.executable, HERE.parent, "sktransfer")}
    if args.former:
        parties["former"] = Party(sys.executable, args.former.resolve(), "sktransfer")
    if args.peers:
        for name in ("skada", "adapt", "POT"):
            parties[name] = Party(args.peers, HERE.parent, name)
    done = set()
    if args.lines.exists():
        done = {json.loads(t)["case"] for t in args.lines.read_text().splitlines()}
    names = [name for name in args.names or CASES if name not in done]
    with tempfile.TemporaryDirectory() as folder, args.lines.open("a") as file:
        try:
            measure(parties, names, file, Path(folder))
        finally:
            for party in parties.values():
                party.close()


if __name__ == "__main__":
    main()
