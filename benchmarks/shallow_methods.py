"""Shallow methods: speed beside skada and adapt, and published tables.

Run::

    python benchmarks/shallow_methods.py speed --peers      # n = 2000, d = 20
    python benchmarks/shallow_methods.py speed --sizes 1000 10000 100000
    python benchmarks/shallow_methods.py office --data office_caltech10_surf800.npz

``speed``: source and target have n samples each of 20 features; the target is a turned
and shifted sample with two classes. Every cell is a process of its own on one thread,
stopped at ``--limit`` seconds of processor time. Imports and inputs are not timed; fit
and the map of the source samples are. Peers keep their defaults but for the number of
components and the strength of the entropy term, which are those of ours.

``office``: SURF features of Office-Caltech (800 visual words, ten classes, four
domains). Rows are divided by their sum and standardized in each domain. Two protocols:

- *draws* (Gong et al. 2012; Fernando et al. 2013): 20 source samples of each class, 8
  from DSLR and webcam, 20 draws, all target samples unlabeled, nearest neighbor;
- *whole* (Long et al. 2013, 2014): all source samples, rows scaled to norm 1, a nearest
  neighbor on components scaled to norm 1.

Nothing is chosen on these data: numbers of components and penalties are the papers'.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
import warnings

import numpy as np

FEATURES, COMPONENTS = 20, 10


# speed


def make_rows(n, seed=0):
    """Return source, target and source classes."""
    rng = np.random.RandomState(seed)
    y = rng.randint(2, size=2 * n)
    X = rng.normal(size=(2 * n, FEATURES))
    X[:, 0] += 3 * y
    mix = np.eye(FEATURES) + 0.3 * rng.normal(size=(FEATURES, FEATURES))
    return X[:n], X[n:] @ mix + 1.0, y[:n], y[n:]


def _ours(estimator):
    def run(Xs, Xt, ys):
        X = np.vstack([Xs, Xt])
        domain = np.repeat([1, -1], [len(Xs), len(Xt)])
        y = np.r_[ys.astype(float), np.full(len(Xt), np.nan)]
        estimator.fit(X, y, sample_domain=domain)
        if hasattr(estimator, "transform"):
            return estimator.transform(Xs, sample_domain=1)
        return estimator.predict(Xt)

    return run


def _skada_map(adapter):
    def run(Xs, Xt, ys):
        X = np.vstack([Xs, Xt])
        domain = np.repeat([1, -2], [len(Xs), len(Xt)])
        y = np.r_[ys, np.full(len(Xt), -1)]
        mapped = adapter.fit_transform(X, y, sample_domain=domain)
        return np.asarray(mapped[0] if isinstance(mapped, tuple) else mapped)

    return run


def _skada_model(make, regression=False):
    def run(Xs, Xt, ys):
        X = np.vstack([Xs, Xt])
        domain = np.repeat([1, -2], [len(Xs), len(Xt)])
        mask = np.nan if regression else -1
        y = np.r_[ys.astype(float) if regression else ys, np.full(len(Xt), mask)]
        model = make()
        model.fit(X, y, sample_domain=domain)
        return model.predict(Xt)

    return run


def _adapt(make):
    def run(Xs, Xt, ys):
        return make(Xt).fit_transform(Xs, Xt)

    return run


def _skada_weights(adapter):
    def run(Xs, Xt, ys):
        X = np.vstack([Xs, Xt])
        domain = np.repeat([1, -2], [len(Xs), len(Xt)])
        found = adapter.fit_transform(X, sample_domain=domain)
        return np.asarray(found[1]["sample_weight"])

    return run


def _labeled(estimator, regression=False):
    """Fit with the labels of every tenth target sample."""

    def run(Xs, Xt, ys):
        X, domain = np.vstack([Xs, Xt]), np.repeat([1, -1], [len(Xs), len(Xt)])
        y = np.r_[ys, np.resize([0, 1], len(Xt))].astype(float)
        y[len(Xs) :][np.arange(len(Xt)) % 10 > 0] = np.nan
        if regression:
            y += X[:, 1]
        estimator.fit(X, y, sample_domain=domain)
        return estimator.predict(Xt)

    return run


def _adapt_labeled(make, regression=False):
    def run(Xs, Xt, ys):
        yt = np.resize([0, 1], len(Xt))[::10].astype(float)
        ys = ys.astype(float)
        if regression:
            yt, ys = yt + Xt[::10, 1], ys + Xs[:, 1]
        model = make(Xt[::10], yt)
        model.fit(Xs, ys)
        return np.asarray(model.predict(Xt)).ravel()

    return run


def weighting_methods():
    """Return the rows of weights of samples, boosting and pseudo-labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    from sktransfer import instance as i
    from sktransfer.pseudo_label import DASVM

    def skada(name, **options):
        def make():
            import skada

            return _skada_weights(getattr(skada, name)(**options))

        return make

    def adapt(name, **options):
        def make():
            import adapt.instance_based as ib

            return lambda Xs, Xt, ys: getattr(ib, name)(
                estimator=LogisticRegression(), Xt=Xt, verbose=0, **options
            ).fit_weights(Xs, Xt)

        return make

    def boosted(name, learner, regression):
        def make():
            import adapt.instance_based as ib

            return _adapt_labeled(
                lambda Xt, yt: getattr(ib, name)(
                    learner, Xt=Xt, yt=yt, n_estimators=10, verbose=0, random_state=0
                ),
                regression,
            )

        return make

    def dasvm():
        import skada

        return _skada_model(lambda: skada.DASVMClassifier(SVC()))

    widths = [0.01, 0.03, 0.1, 0.3, 1.0]
    stump, tree = (
        DecisionTreeClassifier(max_depth=1),
        DecisionTreeRegressor(max_depth=3),
    )
    pairs = lambda function: lambda Xs, Xt, ys: function(Xs, Xt)  # noqa: E731
    return {
        "uLSIF": {
            "sktransfer": lambda: pairs(i.ulsif_weights),
            "adapt": adapt("ULSIF", gamma=widths),
        },
        "RuLSIF": {
            "sktransfer": lambda: pairs(i.rulsif_weights),
            "adapt": adapt("RULSIF", gamma=widths),
        },
        "KLIEP": {
            "sktransfer": lambda: pairs(i.kliep_weights),
            "skada": skada("KLIEPReweightAdapter", gamma=widths),
            "adapt": adapt("KLIEP", gamma=widths),
        },
        "Domain classifier": {
            "sktransfer": lambda: pairs(i.domain_classifier_weights),
            "skada": skada("DiscriminatorReweightAdapter"),
            "adapt": adapt("IWC"),
        },
        "Nearest neighbors": {
            "sktransfer": lambda: pairs(i.nearest_neighbor_weights),
            "skada": skada("NearestNeighborReweightAdapter"),
            "adapt": adapt("NearestNeighborsWeighting"),
        },
        "LDM": {
            "sktransfer": lambda: pairs(i.ldm_weights),
            "adapt": adapt("LDM"),
        },
        "Gaussian": {
            "sktransfer": lambda: pairs(i.gaussian_weights),
            "skada": skada("GaussianReweightAdapter"),
        },
        "TrAdaBoost": {
            "sktransfer": lambda: _labeled(i.TrAdaBoost(stump, n_estimators=10)),
            "adapt": boosted("TrAdaBoost", stump, False),
        },
        "TrAdaBoost.R2": {
            "sktransfer": lambda: _labeled(
                i.TrAdaBoostR2(tree, n_estimators=10), regression=True
            ),
            "adapt": boosted("TrAdaBoostR2", tree, True),
        },
        "Two-stage TrAdaBoost.R2": {
            "sktransfer": lambda: _labeled(
                i.TwoStageTrAdaBoostR2(tree, n_estimators=10), regression=True
            ),
            "adapt": boosted("TwoStageTrAdaBoostR2", tree, True),
        },
        "DASVM": {
            "sktransfer": lambda: _ours(DASVM(SVC())),
            "skada": dasvm,
        },
    }


def methods():
    """Return name -> {library: function that makes the timed function}."""
    from sklearn.linear_model import LogisticRegression, Ridge

    from sktransfer import feature as f

    def skada(name, **options):
        def make():
            import skada

            return _skada_map(getattr(skada, name)(**options))

        return make

    def adapt(name, **options):
        def make():
            import adapt.feature_based as fb

            return _adapt(
                lambda Xt: getattr(fb, name)(
                    estimator=LogisticRegression(), Xt=Xt, verbose=0, **options
                )
            )

        return make

    def jdot(name, learner, regression):
        def make():
            import skada

            return _skada_model(
                lambda: getattr(skada, name)(base_estimator=learner()), regression
            )

        return make

    def labels(name, **options):
        def make():
            import skada

            adapter = getattr(skada, name)(**options)
            return _skada_model(
                lambda: skada.make_da_pipeline(adapter, LogisticRegression())
            )

        return make

    return {
        "CORAL": {
            "sktransfer": lambda: _ours(f.CORAL()),
            "skada": skada("CORALAdapter"),
            "adapt": adapt("CORAL"),
        },
        "SubspaceAlignment": {
            "sktransfer": lambda: _ours(f.SubspaceAlignment(COMPONENTS)),
            "skada": skada("SubspaceAlignmentAdapter", n_components=COMPONENTS),
            "adapt": adapt("SA", n_components=COMPONENTS),
        },
        "FeatureAugmentation": {
            "sktransfer": lambda: _ours(f.FeatureAugmentation()),
        },
        "GeodesicFlowKernel": {
            "sktransfer": lambda: _ours(f.GeodesicFlowKernel(COMPONENTS)),
        },
        "LinearTransportMap": {
            "sktransfer": lambda: _ours(f.LinearTransportMap()),
            "skada": skada("LinearOTMappingAdapter"),
        },
        "MMDLinearMap": {
            "sktransfer": lambda: _ours(f.MMDLinearMap()),
            "skada": skada("MMDLSConSMappingAdapter", gamma=1.0 / (2 * FEATURES)),
        },
        "TCA, rbf": {
            "sktransfer": lambda: _ours(f.TCA(COMPONENTS)),
            "skada": skada("TransferComponentAnalysisAdapter", n_components=COMPONENTS),
            "adapt": adapt("TCA", n_components=COMPONENTS),
        },
        "TJM, rbf": {
            "sktransfer": lambda: _ours(f.TJM(COMPONENTS, kernel="rbf")),
            "skada": skada("TransferJointMatchingAdapter", n_components=COMPONENTS),
        },
        "JDA": {"sktransfer": lambda: _ours(f.JDA(COMPONENTS))},
        "TSL": {
            "sktransfer": lambda: _ours(f.TSL(COMPONENTS)),
            "skada": skada("TransferSubspaceLearningAdapter", n_components=COMPONENTS),
        },
        "OptimalTransportMap, exact": {
            "sktransfer": lambda: _ours(f.OptimalTransportMap(0.0)),
            "skada": skada("OTMappingAdapter"),
        },
        "OptimalTransportMap, entropic": {
            "sktransfer": lambda: _ours(f.OptimalTransportMap(0.05)),
            # the same entropy in units of the cost
            "skada": skada("EntropicOTMappingAdapter", reg_e=0.05, norm="max"),
        },
        "OptimalTransportMap, classes": {
            "sktransfer": lambda: _ours(
                f.OptimalTransportMap(0.05, class_reg=0.1, class_penalty="lp_l1")
            ),
            "skada": skada(
                "ClassRegularizerOTMappingAdapter", reg_e=0.05, reg_cl=0.1, norm="max"
            ),
        },
        "OTLabelPropagation": {
            "sktransfer": lambda: _ours(f.OTLabelPropagation(LogisticRegression())),
            "skada": labels("OTLabelPropAdapter"),
        },
        "JCPOT": {
            "sktransfer": lambda: _ours(f.JCPOT(LogisticRegression())),
            "skada": labels("JCPOTLabelPropAdapter", reg=1.0),
        },
        "JDOT, regressor": {
            "sktransfer": lambda: _ours(f.JDOT(Ridge(), max_samples=100000)),
            "skada": jdot("JDOTRegressor", Ridge, True),
        },
        "JDOT, classifier": {
            "sktransfer": lambda: _ours(
                f.JDOT(LogisticRegression(), max_samples=100000)
            ),
            "skada": jdot("JDOTClassifier", LogisticRegression, False),
        },
        **weighting_methods(),
    }


def run_cell(name, library, n):
    """Time one cell in this process and print it as JSON."""
    warnings.simplefilter("ignore")
    Xs, Xt, ys, _ = make_rows(n)
    with contextlib.suppress(ImportError):
        import ot  # noqa: F401

    run = methods()[name][library]()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start, wall = time.process_time(), time.perf_counter()
    out = np.asarray(run(Xs, Xt, ys))
    cpu, wall = time.process_time() - start, time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_SELF)
    extra = (after.ru_maxrss - before.ru_maxrss) / 1024
    good = bool(np.isfinite(out.astype(float)).all())
    print(json.dumps({"cpu": cpu, "wall": wall, "extra": extra, "finite": good}))


def cell(name, library, n, limit):
    """Run one cell in a process of its own."""
    command = [sys.executable, __file__, "cell", name, library, str(n)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }

    def stop():
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))

    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, preexec_fn=stop
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1][:90] if lines else f"> {limit} s"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def speed(sizes, peers, limit):
    """Print the table of times, a row for each method and size."""
    print(
        "| method | n | library | CPU s | extra MB |\n| --- | --- | --- | --- | --- |"
    )
    for name, libraries in methods().items():
        stopped = set()
        for n in sizes:
            for library in libraries:
                if (library != "sktransfer" and not peers) or library in stopped:
                    continue
                found = cell(name, library, n, limit)
                if "error" in found:
                    stopped.add(library)
                    row = f"{found['error']} | -"
                else:
                    row = f"{found['cpu']:.3f} | {found['extra']:.0f}"
                print(f"| {name} | {n} | {library} | {row} |", flush=True)


# Office-Caltech

DOMAINS = "CADW"
PAIRS = [a + b for a in DOMAINS for b in DOMAINS if a != b]
NAMES = {"A": "amazon", "C": "caltech", "D": "dslr", "W": "webcam"}


def load(path):
    """Return letter -> (standardized rows, classes)."""
    z = np.load(path)
    X = z["X"].astype(np.float64)
    X /= X.sum(axis=1, keepdims=True)
    found = {}
    for letter, name in NAMES.items():
        rows = z["domain"] == list(z["domain_names"]).index(name)
        part = X[rows]
        spread = part.std(axis=0)
        part = (part - part.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        found[letter] = part, z["y"][rows].astype(int)
    return found


def mapped(transformer, Xs, ys, Xt):
    """Return source and target rows after a map."""
    if transformer is None:
        return Xs, Xt
    X = np.vstack([Xs, Xt])
    domain = np.repeat([1, -1], [len(Xs), len(Xt)])
    y = np.r_[ys.astype(float), np.full(len(Xt), np.nan)]
    transformer.fit(X, y, sample_domain=domain)
    return transformer.transform(Xs, sample_domain=1), transformer.transform(Xt)


def office(path, n_draws, wanted):
    """Print both tables: accuracies in percent."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import SVC

    from sktransfer.feature import (
        CORAL,
        JDA,
        TCA,
        TJM,
        TSL,
        GeodesicFlowKernel,
        SubspaceAlignment,
    )

    data = load(path)

    def one():
        return KNeighborsClassifier(1)

    def svm():
        return SVC(kernel="linear", C=1.0)

    learners = {"1-NN": one, "SVM": svm}
    small = {
        "none": (None, learners),
        "GFK": (lambda k: GeodesicFlowKernel(k), {"1-NN": one}),
        "SA": (lambda k: SubspaceAlignment(k), {"1-NN": one}),
        "CORAL": (lambda k: CORAL(0.0, reg=1.0), learners),
    }
    print(" | ".join(["draws", *PAIRS, "mean"]))
    for name, (make, chosen) in small.items():
        if wanted and name not in wanted:
            continue
        scores = np.empty((len(chosen), len(PAIRS), n_draws))
        for p, pair in enumerate(PAIRS):
            (Xs, ys), (Xt, yt) = data[pair[0]], data[pair[1]]
            per_class = 8 if pair[0] in "DW" else 20
            k = 10 if "D" in pair else 20
            for draw in range(n_draws):
                rng = np.random.RandomState(draw)
                kept = np.concatenate(
                    [
                        rng.permutation(np.flatnonzero(ys == c))[:per_class]
                        for c in np.unique(ys)
                    ]
                )
                transformer = None if make is None else make(k)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    Zs, Zt = mapped(transformer, Xs[kept], ys[kept], Xt)
                    for m, learner in enumerate(chosen.values()):
                        model = learner().fit(Zs, ys[kept])
                        scores[m, p, draw] = 100 * model.score(Zt, yt)
        errors = scores.std(axis=2, ddof=1) / np.sqrt(n_draws)
        for label, means, spread in zip(
            chosen, scores.mean(axis=2), errors, strict=True
        ):
            cells = [f"{m:.1f} +- {e:.1f}" for m, e in zip(means, spread, strict=True)]
            print(
                " | ".join([f"{name}, {label}", *cells, f"{means.mean():.1f}"]),
                flush=True,
            )

    def scaled():
        return make_pipeline(Normalizer(), KNeighborsClassifier(1))

    whole = {
        "none": None,
        "GFK": lambda: GeodesicFlowKernel(20),
        "JDA, balance 0 (TCA)": lambda: JDA(100, balance=0.0),
        "TCA": lambda: TCA(100, kernel="linear"),
        "JDA": lambda: JDA(100, estimator=scaled()),
        # the form of the published table: see the page
        "JDA, coefficients": lambda: JDA(
            100, estimator=scaled(), regularizer="coefficients", balance=1 / 11
        ),
        "TSL": lambda: TSL(100, n_init=1, max_samples=400, max_iter=30, reg=0.1),
        "BDA, balance 0.3": lambda: JDA(100, estimator=scaled(), balance=0.3),
        "TJM": lambda: TJM(20),
    }
    print(" | ".join(["whole", *PAIRS, "mean"]))
    for name, make in whole.items():
        if wanted and f"whole {name}" not in wanted:
            continue
        scores = []
        for pair in PAIRS:
            (Xs, ys), (Xt, yt) = data[pair[0]], data[pair[1]]
            if name not in {"none", "GFK"}:
                Xs, Xt = Normalizer().transform(Xs), Normalizer().transform(Xt)
            transformer = None if make is None else make()
            learner = one() if name in {"none", "GFK"} else scaled()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Zs, Zt = mapped(transformer, Xs, ys, Xt)
                scores.append(100 * learner.fit(Zs, ys).score(Zt, yt))
        cells = [f"{score:.1f}" for score in scores]
        print(
            f"{name} | " + " | ".join(cells) + f" | {np.mean(scores):.1f}", flush=True
        )


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("speed")
    part.add_argument("--sizes", type=int, nargs="+", default=[2000])
    part.add_argument("--peers", action="store_true")
    part.add_argument("--limit", type=int, default=60)
    part = parts.add_parser("office")
    part.add_argument("--data", required=True)
    part.add_argument("--draws", type=int, default=20)
    part.add_argument("--methods", nargs="*", default=None)
    part = parts.add_parser("cell")
    part.add_argument("name")
    part.add_argument("library")
    part.add_argument("n", type=int)
    chosen = parser.parse_args()
    if chosen.part == "cell":
        run_cell(chosen.name, chosen.library, chosen.n)
    elif chosen.part == "speed":
        speed(chosen.sizes, chosen.peers, chosen.limit)
    else:
        office(chosen.data, chosen.draws, chosen.methods)


if __name__ == "__main__":
    main()
