"""Speed and memory of every family over commits, with pytest-benchmark.

Kept out of the default test run. Run it, store what a commit gives, compare::

    pytest benchmarks/test_speed.py --benchmark-json=new.json
    python benchmarks/test_speed.py store new.json       # a line of speed.jsonl
    python benchmarks/test_speed.py compare new.json     # with the last line there
    python benchmarks/test_speed.py compare new.json base.json

Times are CPU seconds. Every case asserts what its time buys: a tolerance that is met,
or finite answers. The ``extra_info`` of a case, which is stored, does not depend on the
machine:

- ``ratio``: its least time over that of a kernel product of 2000 samples, the yardstick
  of the same run;
- ``slope``: of log time over log size, from the size before (of the same family);
- ``peak_mb``: the largest memory that Python and NumPy held during a fit of its own.

A comparison fails where a ratio is more than 25 % above the stored one and more than
``LEAST_CHANGE`` of a yardstick, or the memory by as much and by more than a megabyte.
"""

import argparse
import json
import subprocess
import sys
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC
from sklearn.utils import get_tags

import sktransfer
from sktransfer import baselines as b
from sktransfer import feature as f
from sktransfer import hypothesis as h
from sktransfer import instance as i
from sktransfer import multisource as m
from sktransfer import preprocessing, pseudo_label
from sktransfer import safe as s
from sktransfer.datasets import make_concept_shift
from sktransfer.inspection import transfer_report
from sktransfer.metrics import cross_val_ntg, mmd, sinkhorn_divergence
from sktransfer.model_selection import TargetKFold, importance_weighted_scorer

pytestmark = pytest.mark.benchmark(timer=time.process_time)

SIZES = [250, 500, 1000]
LEAST = {}
#: a change of time below this share of the yardstick (some 2 ms) is noise
LEAST_CHANGE, WORSE = 0.03, 1.25
LINES = Path(__file__).with_name("speed.jsonl")


def two_domains(n):
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(2, n, 20))
    X_target[:, 0] += 1.0
    return X_source, X_target


@pytest.fixture(scope="session")
def yardstick():
    """Least seconds of a kernel product of 2000 samples."""
    X, _ = two_domains(2000)
    seconds = []
    for _ in range(7):
        begin = time.process_time()
        rbf_kernel(X) @ np.ones(len(X))
        seconds.append(time.process_time() - begin)
    return min(seconds)


@pytest.fixture
def measure(benchmark, yardstick):
    """Return what times a function, and notes ratio, slope and memory."""

    def run(function, family, n, rounds=None):
        if rounds is None:
            begin = time.process_time()
            function()  # makes imports, too
            once = time.process_time() - begin
            rounds = int(np.clip(0.1 / max(once, 1e-3), 2, 10))
        found = benchmark.pedantic(function, rounds=rounds)
        least = benchmark.stats.stats.min
        LEAST[family, n] = least
        before = LEAST.get((family, n // 2))
        tracemalloc.start()
        function()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        benchmark.extra_info |= {
            "ratio": round(least / yardstick, 4),
            "slope": None if before is None else round(np.log2(least / before), 2),
            "peak_mb": round(peak / 2**20, 1),
        }
        return found

    return run


def test_yardstick_kernel_product(benchmark):
    X, _ = two_domains(2000)
    benchmark(lambda: rbf_kernel(X) @ np.ones(len(X)))


@pytest.mark.parametrize(
    "solver, n",
    [
        *(("dense", n) for n in (1000, 2000, 4000)),
        *(("low_rank", n) for n in (2500, 5000, 10_000)),
    ],
)
def test_kmm(measure, solver, n):
    X_source, X_target = two_domains(n)

    def run():
        return i.kmm_weights(
            X_source, X_target, gamma=0.025, solver=solver, return_info=True
        )

    _, info = measure(run, f"kmm {solver}", n)
    assert info.converged


@pytest.mark.parametrize(
    "eigen_solver, n",
    [
        *(("lanczos", n) for n in (500, 1000, 2000)),
        *(("nystroem", n) for n in (1000, 2000, 4000)),
    ],
)
def test_tca(measure, eigen_solver, n):
    X = np.concatenate(two_domains(n))
    domain = np.repeat([1, -1], n)
    tca = f.TCA(10, gamma=0.05, eigen_solver=eigen_solver)
    measure(lambda: tca.fit(X, sample_domain=domain), f"tca {eigen_solver}", n)
    assert tca.residual_ < 1e-6


def families():
    """Return room -> estimators that are fitted at three sizes."""
    ridge, logistic = Ridge(), LogisticRegression()
    members = [
        ("alone", Ridge()),
        ("pooled", b.Pooled(Ridge())),
        ("uowq", m.UOWQ(Ridge())),
    ]
    found = {
        "baselines": [b.TargetOnly(ridge), b.Pooled(ridge), b.SourceOnly(ridge)],
        "instance": [
            i.KMM(ridge), i.ULSIF(ridge), i.KLIEP(ridge), i.LDM(ridge),
            i.DomainClassifierWeighting(logistic), i.GaussianWeighting(ridge),
            i.NearestNeighborWeighting(ridge), i.BalancedWeighting(ridge),
            i.LabelShiftClassifier(logistic), i.TrAdaBoost(logistic),
            i.TrAdaBoostR2(ridge, random_state=0), i.ActiveSourceSelection(ridge),
        ],
        "feature": [
            f.CORAL(), f.JDA(5), f.SubspaceAlignment(5), f.FeatureAugmentation(),
            f.GeodesicFlowKernel(5), f.DomainInvariantPLS(), f.FeatureMMDSelection(5),
            f.MMDLinearMap(max_iter=200), f.OptimalTransportMap(0.2), f.TJM(5),
            f.LinearTransportMap(), f.JDOT(ridge, max_iter=20), f.HHTL(ridge),
        ],
        "hypothesis": [
            h.SecureRLS(), h.SecureLogistic(), h.PositiveTransferRidge(),
            h.PositiveTransferLogistic(), h.LinearInterpolation(ridge),
            h.OffsetTransfer(ridge), h.SourcePredictions(ridge), h.AdaptiveGP(),
            h.AdaptiveSVC(), h.SlopeBiasCorrection(ridge),
            h.TransferForest(ExtraTreesRegressor(10, random_state=0)),
        ],
        "multisource": [
            m.UOWQ(ridge), m.EmpiricalBayesRidge(), m.EmpiricalBayesLogistic(),
            m.ARMUL(), m.AngleTransfer(), m.TransGLM(), m.MMDWeightedEnsemble(ridge),
            m.PeerWeightedEnsemble(logistic), m.DomainRecognitionEnsemble(ridge),
            m.MultiTaskRelationship(ridge), m.ChiSquareWeights(),
            m.SingleBestSource(ridge), m.SourceSelector(b.Pooled(ridge)),
            m.HEnsemble(logistic),
            m.SourceInfluence(b.Pooled(ridge), cv=2, n_subsets=4),
        ],
        "pseudo_label": [
            pseudo_label.SelfTraining(logistic), pseudo_label.DASVM(SVC()),
            pseudo_label.GradualSelfTraining(logistic),
            pseudo_label.PredictiveDistributionMatching(logistic, n_rounds=2),
        ],
        "safe": [
            s.SAFEW(ridge), s.TransferGuard(b.Pooled(ridge)),
            s.TransferConformal(b.Pooled(ridge)),
            s.ReliableTransfer(ridge, alpha=0.5, mitigation=b.Pooled(ridge)),
            s.TransferPortfolioRegressor(members=members, random_state=0),
        ],
        "preprocessing": [preprocessing.DomainScaler(), preprocessing.TableEncoder()],
    }  # fmt: skip
    if sktransfer_has_nets():
        from sktransfer import deep as d

        steps = {"max_epochs": 2, "random_state": 0}
        found["deep"] = [
            d.TransferNetClassifier(**steps), d.DANN(**steps), d.DAN(**steps),
            d.UOWQNet(**steps), d.MultiTaskNetRegressor(**steps), d.FineTuning(**steps),
            d.SHOT(d.TransferNetClassifier(**steps), max_steps=4, random_state=0),
        ]  # fmt: skip
    return found


def sktransfer_has_nets():
    from importlib.util import find_spec

    return find_spec("skorch") is not None and find_spec("torch") is not None


#: rooms whose cases are tests of their own, below
OTHERS = {"metrics", "model_selection", "inspection"}
#: rooms that have nothing to fit
WITHOUT = {"datasets", "utils"}


def test_every_room_has_cases():
    folder = Path(sktransfer.__file__).parent
    rooms = {
        path.name.removesuffix(".py")
        for path in folder.iterdir()
        if (path / "__init__.py").exists() and not path.name.startswith("_")
    }
    missing = rooms - set(families()) - OTHERS - WITHOUT
    assert missing <= ({"deep"} if not sktransfer_has_nets() else set())


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "model",
    [model for models in families().values() for model in models],
    ids=lambda model: type(model).__name__,
)
def test_family(measure, model, n):
    name = type(model).__name__
    real = get_tags(model).estimator_type == "regressor"
    regression = real or name in ("DomainScaler", "TableEncoder", "DomainInvariantPLS")
    data = make_concept_shift(
        n, n_labeled=50, n_unlabeled=n, shift=[0.2, 1.0], random_state=0,
        task="regression" if regression else "classification",
    )  # fmt: skip
    given = {} if name == "TableEncoder" else {"sample_domain": data.sample_domain}

    def run():
        with warnings.catch_warnings():  # of solvers that stop early
            warnings.simplefilter("ignore")
            model.fit(data.X, data.y, **given)

    measure(run, name, n)
    fitted = model.predict if hasattr(model, "predict") else model.transform
    answers = np.asarray(fitted(data.X_test))
    assert answers.dtype.kind not in "fc" or np.isfinite(answers).all()


def regression_of(n):
    data = make_concept_shift(
        n, n_labeled=50, n_unlabeled=n, shift=[0.2, 1.0], random_state=0
    )
    return (data.X, data.y), {"sample_domain": data.sample_domain}


@pytest.mark.parametrize("n", SIZES)
def test_summary(measure, n):
    X, y = regression_of(10 * n)[0]
    summary = measure(
        lambda: m.summarize_source(Ridge(), X, np.nan_to_num(y)), "sum", n
    )
    assert summary.n == len(X)


@pytest.mark.parametrize("n", SIZES)
def test_gap(measure, n):
    arrays, given = regression_of(n)
    found = measure(
        lambda: cross_val_ntg(b.Pooled(Ridge()), *arrays, cv=TargetKFold(5), **given),
        "gap", n,
    )  # fmt: skip
    assert np.isfinite(found.ntg)


@pytest.mark.parametrize("n", SIZES)
def test_risk(measure, n):
    (X, y), given = regression_of(n)
    model = b.Pooled(Ridge()).fit(X, y, **given)
    found = measure(lambda: importance_weighted_scorer(model, X, y, **given), "risk", n)
    assert np.isfinite(found)


@pytest.mark.parametrize("n", SIZES)
def test_report(measure, n):
    arrays, given = regression_of(n)

    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return transfer_report(
                *arrays, estimators={"pooled": b.Pooled(Ridge())}, quick=True, **given
            )

    assert measure(run, "report", n, rounds=1).evidence


@pytest.mark.parametrize("n", SIZES)
def test_sinkhorn(measure, n):
    assert measure(lambda: sinkhorn_divergence(*two_domains(n)), "sinkhorn", n) > 0


@pytest.mark.parametrize("n", [500, 1000, 2000])
def test_mmd(measure, n):
    assert measure(lambda: mmd(*two_domains(n), gamma=0.025), "mmd", n) > 0


def cases_of(path):
    """Return name -> extra_info of a run that pytest-benchmark has stored."""
    stored = json.loads(Path(path).read_text())["benchmarks"]
    return {
        case["name"]: case["extra_info"]
        for case in stored
        if "ratio" in case["extra_info"]
    }


def worse(base, new):
    """Return what has become slower or larger, a line each."""
    found = []
    for name in sorted(base.keys() & new.keys()):
        before, now = base[name], new[name]
        more = now["ratio"] - before["ratio"]
        if now["ratio"] > WORSE * before["ratio"] and more > LEAST_CHANGE:
            found.append(f"{name}: time {before['ratio']:.3f} -> {now['ratio']:.3f}")
        more = now["peak_mb"] - before["peak_mb"]
        if now["peak_mb"] > WORSE * before["peak_mb"] and more > 1:
            found.append(f"{name}: memory {before['peak_mb']} -> {now['peak_mb']} MB")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=["store", "compare"])
    parser.add_argument("new", type=Path)
    parser.add_argument("base", type=Path, nargs="?")
    args = parser.parse_args()
    new = cases_of(args.new)
    if args.do == "store":
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
            check=True, cwd=Path(__file__).parent,
        ).stdout.strip()  # fmt: skip
        with LINES.open("a") as file:
            print(json.dumps({"commit": commit, "cases": new}), file=file)
        return
    if args.base is None:
        line = json.loads(LINES.read_text().splitlines()[-1])
        base, what = line["cases"], f"commit {line['commit']}"
    else:
        base, what = cases_of(args.base), str(args.base)
    found = worse(base, new)
    both = len(base.keys() & new.keys())
    print("\n".join([*found, f"{len(found)} of {both} cases worse than {what}"]))
    if found or not both:
        sys.exit(1)


if __name__ == "__main__":
    main()
