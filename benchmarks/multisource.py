"""Measure the multi-source estimators: theory, cost, and real data.

    python benchmarks/multisource.py --simulation
    python benchmarks/multisource.py --bound
    python benchmarks/multisource.py --cost
    python benchmarks/multisource.py --data DIR --plot OUT
    python benchmarks/multisource.py --tasks DIR

``--simulation`` draws Gaussian means, linear and logistic regressions with known
parameters and compares the mean KL divergence of every method with the predicted one.
``--bound`` computes how near to the oracle weights any rule can come.
``--data`` reads the data sets by path; none is part of this project. Every domain is
the target in turn (the four largest where there are more), with 10 labels per class or
30 rows; the rest of it is the test set. At most 100 to 1000 rows of a source are
used and wide features are reduced to 20 to 50 principal components (see ``DATA``);
"single" fits one source and the labeled target rows, the first eight sources where
there are more, and its best is chosen on the test set. "nets" are one net of 16 hidden
units for each source. ``--tasks`` takes every domain for a task with few labeled rows.
The output is Markdown; ``--plot`` also draws the weights of ``UOWQ``, and ``--quick``
takes few repetitions.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.special import expit, ive, xlogy
from scipy.stats import ncx2
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.parallel import Parallel, delayed

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.inspection import SourceWeightsDisplay
from sktransfer.multisource import (
    MCW,
    OTQMS,
    UOWQ,
    WADN,
    ChiSquareWeights,
    HEnsemble,
    MMDWeightedEnsemble,
    MultiTaskRelationship,
    PeerWeightedEnsemble,
    SingleBestSource,
    SourceClusters,
    UOWQMultiTask,
    uowq_weights,
)

# --- simulation of the theory -------------------------------------------------------

#: squared distance of the sources per parameter, d = 10 parameters, 200 rows each
SCENARIOS = {
    "near": (0.0, 0.001, 0.002),
    "mixed": (0.001, 0.02, 0.5),
    "far": (0.3, 0.5, 1.0),
}
D, ROWS = 10, 200
ESTIMATED = ["OTQMS", "UOWQ", "UOWQ static", "UOWQ paper", "UOWQ paper static"]
#: kind -> (repetitions, target rows per parameter)
KINDS = {
    "mean": (2000, (1, 2, 5, 10, 20)),
    "linear": (500, (2, 10, 20)),
    "logistic": (500, (5, 10)),
}
#: the published algorithm
PAPER = {"noise_correction": False, "min_gain": None}


def predicted(weights, n0, J, theta):
    """Evaluate the KL expression at given weights."""
    total = n0 + weights.sum() * ROWS
    bias = (weights * ROWS) @ theta / total
    variance = D * (n0 + ROWS * np.sum(weights**2)) / total**2
    return (variance + bias @ J @ bias) / 2


def make_parameters(kind, scenario, rng):
    theta0 = rng.normal(size=D) / (np.sqrt(D) if kind == "logistic" else 1)
    directions = rng.normal(size=(3, D))
    J = np.eye(D)
    if kind == "logistic":
        X = rng.normal(size=(200_000, D))
        p = expit(X @ theta0)
        J = (X * (p * (1 - p))[:, None]).T @ X / len(X)
    length = np.sqrt(np.einsum("ki,ij,kj->k", directions, J, directions))
    theta = directions * (np.sqrt(np.array(SCENARIOS[scenario]) * D) / length)[:, None]
    return theta0, theta, J


def draw(kind, theta0, theta, n0, rng):
    """Rows of the target and of every source."""
    domain = np.repeat([-1, 1, 2, 3], [n0, ROWS, ROWS, ROWS])
    params = np.vstack([theta0, theta0 + theta])[np.maximum(domain, 0)]
    if kind == "mean":
        return None, params + rng.normal(size=params.shape), domain
    X = rng.normal(size=params.shape)
    eta = np.sum(X * params, axis=1)
    if kind == "linear":
        return X, eta + rng.normal(size=len(eta)), domain
    return X, (rng.uniform(size=len(eta)) < expit(eta)).astype(int), domain


def learner(kind):
    if kind == "linear":
        return LinearRegression(fit_intercept=False)
    return LogisticRegression(C=np.inf, fit_intercept=False, max_iter=1000)


def wrappers(model, seed):
    return {
        "OTQMS": OTQMS(model, quantities="static", random_state=seed),
        "UOWQ": UOWQ(model),
        "UOWQ static": UOWQ(model, weighting="static"),
        "UOWQ paper": UOWQ(model, **PAPER),
    }


def weighted_mean(y, domain, weights):
    row = np.concatenate([[1.0], weights])[np.maximum(domain, 0)]
    return row @ y / row.sum()


def estimates_of_means(y, domain, oracle):
    """Estimates of a Gaussian mean by every method."""
    means = np.stack([y[domain == k].mean(axis=0) for k in (-1, 1, 2, 3)])
    n0 = int(np.sum(domain == -1))
    known = {"n_target": n0, "source_sizes": [ROWS] * 3, "fisher": np.eye(D)}
    found = {"target only": np.zeros(3), "pooled": np.ones(3), "oracle": oracle}
    for name, correction in (("UOWQ", True), ("UOWQ paper static", False)):
        found[name] = uowq_weights(
            target_params=means[0],
            source_params=means[1:],
            noise_correction=correction,
            **known,
        ).weights
    return {name: weighted_mean(y, domain, w) for name, w in found.items()}


def estimates_of_models(kind, X, y, domain, oracle, seed):
    """Coefficients of a model by every method."""
    model = learner(kind)
    row = np.concatenate([[1.0], oracle])[np.maximum(domain, 0)]
    fits = {
        "target only": TargetOnly(model).fit(X, y, sample_domain=domain).estimator_,
        "pooled": Pooled(model).fit(X, y, sample_domain=domain).estimator_,
        "oracle": model.fit(X, y, sample_weight=row),
    }
    estimates = {name: fit.coef_.ravel() for name, fit in fits.items()}
    for name, wrapper in wrappers(learner(kind), seed).items():
        wrapper.fit(X, y, sample_domain=domain)
        estimates[name] = wrapper.estimator_.coef_.ravel()
    return estimates


def divergence(kind, estimate, theta0, X_test):
    """Exact divergence of Gaussian models, and over test rows of logistic ones."""
    if kind != "logistic":
        return np.sum((estimate - theta0) ** 2) / 2
    p, q = expit(X_test @ theta0), np.clip(expit(X_test @ estimate), 1e-9, 1 - 1e-9)
    return np.mean(
        xlogy(p, p) + xlogy(1 - p, 1 - p) - xlogy(p, q) - xlogy(1 - p, 1 - q)
    )


def simulate(kind, scenario, n0, repetitions):
    rng = np.random.default_rng(0)
    theta0, theta, J = make_parameters(kind, scenario, rng)
    oracle = uowq_weights(
        target_params=theta0,
        source_params=theta0 + theta,
        n_target=n0,
        source_sizes=[ROWS] * 3,
        fisher=J,
    ).weights
    X_test = rng.normal(size=(4000, D))
    draws = []
    warnings.simplefilter("ignore")  # separable draws and their unsettled weights
    for seed in range(repetitions):
        X, y, domain = draw(kind, theta0, theta, n0, rng)
        estimates = (
            estimates_of_means(y, domain, oracle)
            if kind == "mean"
            else estimates_of_models(kind, X, y, domain, oracle, seed)
        )
        draws.append(
            {k: divergence(kind, v, theta0, X_test) for k, v in estimates.items()}
        )
    expected = {
        name: predicted(w, n0, J, theta)
        for name, w in (
            ("target only", np.zeros(3)),
            ("pooled", np.ones(3)),
            ("oracle", oracle),
        )
    }
    return {k: np.array([d[k] for d in draws]) for k in draws[0]}, expected


def run_simulation(kinds, quick, jobs):
    """Print simulated over predicted divergences, and each method over the oracle."""
    for kind in kinds:
        repetitions, multiples = KINDS[kind]
        repetitions = 50 if quick else repetitions
        print(f"\n{kind}: d = {D}, 3 sources of {ROWS} rows, {repetitions} repetitions")
        print(
            "scenario N0 | simulated/predicted (z): target only, pooled, oracle | "
            "KL over KL of the oracle weights (s.e.)"
        )
        cells = [(scenario, m * D) for scenario in SCENARIOS for m in multiples]
        found = Parallel(n_jobs=jobs)(
            delayed(simulate)(kind, scenario, n0, repetitions) for scenario, n0 in cells
        )
        for (scenario, n0), result in zip(cells, found, strict=True):
            report_simulation(scenario, n0, *result)


def report_simulation(scenario, n0, found, expected):
    parts = []
    for name, value in expected.items():
        mean = found[name].mean()
        error = found[name].std(ddof=1) / np.sqrt(len(found[name]))
        parts.append(f"{mean / value:.3f} ({(mean - value) / error:+.1f})")
    base = found["oracle"].mean()
    ratios = []
    for name in ("target only", "pooled", *ESTIMATED):
        if name not in found:
            continue
        gap = found[name] - found["oracle"]
        error = gap.std(ddof=1) / np.sqrt(len(gap)) / base
        ratios.append(f"{name} {found[name].mean() / base:.2f} ({error:.2f})")
    print(
        f"{scenario:6s} {n0:4d} | {', '.join(parts)} | {', '.join(ratios)}", flush=True
    )


# --- what no rule can beat ----------------------------------------------------------


def noise_of_distance(d, lam):
    r"""Law of :math:`q = \|Z\|^2`, and :math:`E[Z^T \mu | q]`, for Z around mu.

    ``lam`` are squared lengths of :math:`\mu`, one line of the results each.
    """
    lam = np.maximum(np.asarray(lam, dtype=float), 1e-9)[:, None]
    root = np.linspace(0, np.sqrt(ncx2.ppf(1 - 1e-9, d, lam.max())), 1201)
    mass = np.diff(ncx2.cdf(root**2, d, lam), axis=1)
    q = ((root[:-1] + root[1:]) / 2) ** 2
    z = np.sqrt(lam * q)
    return q, mass, z * ive(d / 2, z) / ive(d / 2 - 1, z)


def ratio_to_oracle(kept, q, mass, inner, d, lam, ratio):
    r"""Evaluate the divergence over that of the oracle weight, for Gaussian means.

    One source of ``ratio`` times the rows of the target. Their difference is
    :math:`\sigma Z`, and the rule keeps the share ``kept`` of it at q; 0 pools.
    """
    lam = np.asarray(lam, dtype=float)
    risk = np.sum(mass * (kept**2 * q - 2 * kept * inner + lam[:, None]), axis=1) / d
    oracle = 1 / (1 / ratio + (1 + 1 / ratio) * lam / d)
    return (1 + oracle) / (1 + ratio) * (1 + ratio * risk)


def least_worst_ratio(d, ratio):
    """Bound the worst ratio to the oracle from below, by priors on two distances."""
    best = 1.0
    for distance in np.arange(0.6, 2.5, 0.2):
        lam = np.array([0.0, distance * d])
        q, mass, inner = noise_of_distance(d, lam)
        oracle = 1 / (1 / ratio + (1 + 1 / ratio) * lam / d)
        for p in np.arange(0.2, 0.75, 0.05):
            density = np.array([p, 1 - p])[:, None] * (1 + oracle)[:, None] * mass
            total = np.maximum(density.sum(axis=0), 1e-300)
            bayes = np.sum(density * inner, axis=0) / total / q
            ratios = ratio_to_oracle(bayes, q, mass, inner, d, lam, ratio)
            best = max(best, p * ratios[0] + (1 - p) * ratios[1])
    return best


def run_bound():
    print(
        "\nWorst ratio to the oracle weight over all distances; Gaussian means, one "
        "source of n rows\n\n| d | n / N_0 | no rule below | UOWQ | at distance 0 |"
        "\n|---|---|---|---|---|"
    )
    for d in (5, 10, 30):
        lam = d * np.append(0, np.geomspace(0.01, 8, 60))
        law = noise_of_distance(d, lam)
        for ratio in (0.25, 0.5, 1, 2, 6, 20):
            excess = (1 + 1 / ratio) * law[0] / d - 1
            s = 1 / np.maximum(excess, 1 / ratio)
            kept = 1 - (1 + 1 / ratio) * s / (1 + s)
            found = ratio_to_oracle(kept, *law, d, lam, ratio)
            print(
                f"| {d} | {ratio:g} | {least_worst_ratio(d, ratio):.3f} "
                f"| {found.max():.3f} | {found[0]:.3f} |"
            )


# --- tasks --------------------------------------------------------------------------

#: name -> (regression, labeled rows of a task or of each class in it, tasks at most)
TASKS = {
    "school_ilea139": (True, 15, 20),
    "landmine29": (False, 10, 29),
    "parkinsons_updrs": (True, 15, 20),
    "air_beijing12": (True, 15, 12),
    "proof/computer_survey190": (True, 10, 20),
    "proof/wisdm_users": (False, 4, 12),
}


def run_task_cell(name, X, y, domain, tasks, n_rows, regression, seed):
    """Mean score over all tasks of every method, with one draw of labeled rows."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for task in tasks:
        rows = rng.permutation(np.flatnonzero(domain == task))
        labels = np.zeros(len(rows)) if regression else y[rows]
        groups = [rows[labels == c] for c in np.unique(labels)]
        part = [g[: min(n_rows, len(g) // 2)] for g in groups if len(g) > 1]
        train.append(np.concatenate(part))
        test.append(rows[~np.isin(rows, train[-1])][:300])
    rows = np.concatenate(train)
    ids = -1 - domain
    model = Ridge(1.0) if regression else LogisticRegression(max_iter=1000)
    pooled = clone(model).fit(X[rows], y[rows])
    found = {"pooled": lambda t, rows: pooled_answer(pooled, X[rows])}
    wrappers = {
        "single task": MultiTaskRelationship(model, penalty=0),
        "UOWQMultiTask": UOWQMultiTask(model),
        "MultiTaskRelationship": MultiTaskRelationship(model),
    }
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method, wrapper in wrappers.items():
            wrapper.fit(X[rows], y[rows], sample_domain=ids[rows])
            found[method] = lambda t, rows, w=wrapper: task_answer(w, X[rows], -1 - t)
        for method, answer in found.items():
            each = [
                task_score(name, y[part], answer(task, part))
                for task, part in zip(tasks, test, strict=True)
            ]
            scores[method] = np.array(each)
    return scores


def pooled_answer(model, X):
    proba = getattr(model, "predict_proba", None)
    return model.predict(X) if proba is None else (proba(X), model.classes_)


def task_answer(model, X, task):
    if hasattr(model, "classes_"):
        return model.predict_proba(X, sample_domain=task), model.classes_
    return model.predict(X, sample_domain=task)


def task_score(name, y, answer):
    """Negative root mean squared error, AUC or accuracy; NaN where there is none."""
    if not isinstance(answer, tuple):
        return -np.sqrt(np.mean((y - answer) ** 2))
    proba, classes = answer
    if "landmine" in name:
        one_class = len(np.unique(y)) < 2
        return np.nan if one_class else roc_auc_score(y, proba[:, -1])
    return np.mean(classes[proba.argmax(axis=1)] == y)


def run_tasks(folder, seeds, jobs, only):
    print(
        "\n| data | score | method | mean | gain over single task | tasks below by 2 "
        "s.e. |\n|---|---|---|---|---|---|"
    )
    for name, (regression, n_rows, most) in TASKS.items():
        path = folder / f"{name}.npz"
        if not path.exists() or (only and name not in only):
            continue
        start = time.perf_counter()
        X, y, domain, _ = load(path, None)
        y = y.astype(float) if regression else y
        counts = np.bincount(domain)
        tasks = np.sort(np.argsort(-counts, kind="stable")[:most])
        cells = Parallel(n_jobs=jobs)(
            delayed(run_task_cell)(name, X, y, domain, tasks, n_rows, regression, seed)
            for seed in range(seeds)
        )
        report_tasks(name, cells, regression, time.perf_counter() - start)


def report_tasks(name, cells, regression, seconds):
    kind = "-RMSE" if regression else "AUC" if "landmine" in name else "accuracy"
    base = np.array([c["single task"] for c in cells])
    for method in ("single task", "pooled", "UOWQMultiTask", "MultiTaskRelationship"):
        table = np.array([c[method] for c in cells])
        gap = table - base
        gain = np.nanmean(gap, axis=1)
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        mean, spread = np.nanmean(gap, axis=0), np.nanstd(gap, axis=0, ddof=1)
        below = int(np.sum(mean < -2 * spread / np.sqrt(len(gap))))
        gained = f"{gain.mean():+.4f} ± {error:.4f}" if method != "single task" else ""
        print(
            f"| {name} ({table.shape[1]} tasks, {seconds:.0f} s) | {kind} | {method} | "
            f"{np.nanmean(table):.4f} | {gained} | {below} of {table.shape[1]} |",
            flush=True,
        )


# --- cost ---------------------------------------------------------------------------


def run_cost(quick):
    """Time the weights next to training, and two hundred sources."""
    rng = np.random.default_rng(0)
    n, d, K = (20_000 if quick else 100_000), 50, 5
    X = rng.normal(size=(n, d))
    domain = rng.integers(1, K + 1, size=n)
    domain[:200] = -1
    y = (X[:, 0] + rng.logistic(size=n) > 0).astype(int)
    for model, labels in (
        (LogisticRegression(), y),
        (Ridge(), X[:, 0] + rng.normal(size=n)),
    ):
        row = np.ones(n)
        start = time.perf_counter()
        model.fit(X, labels, sample_weight=row)
        once = time.perf_counter() - start
        wrapper = UOWQ(model, weighting="static")
        spent = []
        weigh = TimeCalls(spent)
        start = time.perf_counter()
        with weigh:
            wrapper.fit(X, labels, sample_domain=domain)
        total = time.perf_counter() - start
        print(
            f"{type(model).__name__}: {n} rows, {K} sources, {d} features: one fit "
            f"{once:.3f} s; UOWQ static {total:.3f} s, of it the weights "
            f"{sum(spent) * 1e3:.2f} ms = {100 * sum(spent) / once:.2f} % of one fit"
        )
    for K, d, n in ((200, 1000, 100), (20, 1_000_000, 50)):
        args = {
            "target_params": np.zeros(d),
            "source_params": rng.normal(size=(K, d)) / 30,
            "n_target": 50,
            "source_sizes": rng.integers(20, 2000, size=K),
            "scores": rng.normal(size=(n, d)),
        }
        start = time.perf_counter()
        uowq_weights(**args)
        print(f"uowq_weights: K = {K}, d = {d}: {time.perf_counter() - start:.2f} s")


class TimeCalls:
    """Collect the seconds spent in the computation of the weights."""

    def __init__(self, spent):
        self.spent = spent

    def __enter__(self):
        from sktransfer.multisource._weighted_likelihood import WeightedLikelihood

        self.owner, self.original = WeightedLikelihood, WeightedLikelihood.weigh

        def timed(*args, **kwargs):
            start = time.perf_counter()
            result = self.original(*args, **kwargs)
            self.spent.append(time.perf_counter() - start)
            return result

        WeightedLikelihood.weigh = timed

    def __exit__(self, *error):
        self.owner.weigh = self.original


# --- real data ----------------------------------------------------------------------

#: name -> (regression, rows per source at most, components of a PCA or None)
DATA = {
    "office_caltech10_surf800": (False, 150, 30),
    "office10_awd_googlenet1024": (False, 150, 30),
    "amazon_reviews_400": (False, 400, 50),
    "adult_census": (False, 400, None),
    "heart_4sites": (False, 500, None),
    "landmine29": (False, 100, None),
    "gas_drift_batches": (False, 150, 20),
    "wine_quality": (True, 1000, None),
    "california_housing": (True, 1000, None),
    "air_beijing12": (True, 200, None),
    "abalone": (True, 1000, None),
    "auto_mpg": (True, 1000, None),
    "parkinsons_updrs": (True, 100, None),
    "school_ilea139": (True, 100, None),
    # nothing is chosen on these
    "proof/german_credit": (False, 150, None),
    "proof/pima_diabetes": (False, 150, None),
    "proof/mushroom_stalk": (False, 150, 20),
    "proof/wisdm_users": (False, 40, 20),
}
MAX_TARGETS = 4


def load(path, components):
    """Return scaled features, labels, domain ids and names."""
    z = np.load(path, allow_pickle=False)
    X, y, domain = z["X"].astype(np.float64), z["y"], z["domain"].astype(int)
    if "surf" in path.name:
        X = X / np.maximum(X.sum(axis=1, keepdims=True), 1e-12)
        for k in np.unique(domain):
            X[domain == k] = StandardScaler().fit_transform(X[domain == k])
    elif "googlenet" in path.name or "amazon" in path.name:
        X = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
    else:
        X = StandardScaler().fit_transform(X)
    if components:
        X = PCA(components, random_state=0).fit_transform(X)
        X = X / X.std()
    return X, y, domain, [str(name) for name in z["domain_names"]]


def split(y, domain, target, regression, cap, seed):
    """Draw the labeled target rows, the test rows and the source rows."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(domain == target))
    if regression:
        train = rows[: min(30, len(rows) // 2)]
    else:
        groups = [rows[y[rows] == c] for c in np.unique(y[rows])]
        train = np.concatenate([g[: min(10, len(g) // 2)] for g in groups])
    test = np.setdiff1d(rows, train)
    sources = [
        rng.permutation(np.flatnonzero(domain == k))[:cap]
        for k in np.unique(domain)
        if k != target
    ]
    return train, test, np.concatenate(sources)


def methods(regression, seed, n_sources):
    model = Ridge(1.0) if regression else LogisticRegression(max_iter=1000)
    common = {
        "target only": TargetOnly(model),
        "pooled": Pooled(model),
        "single, chosen": SingleBestSource(model),
        "OTQMS": OTQMS(model, random_state=seed),
        "UOWQ": UOWQ(model),
        "UOWQ static": UOWQ(model, weighting="static"),
        "UOWQ paper": UOWQ(model, **PAPER),
        "MMD": MMDWeightedEnsemble(model),
    }
    if n_sources > MERGED:
        merged = SourceClusters(UOWQ(model), n_components=MERGED, merge=True)
        common["UOWQ merged"] = merged
    if regression:
        return common
    return {
        **common,
        "peer": PeerWeightedEnsemble(model),
        "HEnsemble": HEnsemble(model),
        "MCW": MCW(model),
        "WADN": WADN(model),
        "chi-square": ChiSquareWeights(),
    }


#: sources that are left of more by merging
MERGED = 6
#: combinations of nets: their features, and their probabilities
OF_NETS = {"features": "features", "probabilities": "predict_proba"}


def fit_nets(X, y, ids):
    """Fit a net alone, and ensembles of one net for each source."""
    net = MLPClassifier((16,), solver="lbfgs", alpha=1.0, max_iter=200, random_state=0)
    own = ids < 0
    nets = [
        clone(net).fit(X[ids == k], y[ids == k])
        for k in np.unique(ids[ids > 0])
        if len(np.unique(y[ids == k])) > 1
    ]
    fitted = {"net alone": clone(net).fit(X[own], y[own])}
    for title, response in OF_NETS.items():
        for name, cls in (("HEnsemble", HEnsemble), ("MCW", MCW)):
            model = cls(net, source_models=nets, response=response)
            fitted[f"{name}, nets' {title}"] = model.fit(X[own], y[own])
    return fitted


def score(name, fitted, X, y):
    if "landmine" in name:
        return roc_auc_score(y, fitted.predict_proba(X)[:, 1])
    found = fitted.predict(X)
    return r2_score(y, found) if y.dtype.kind == "f" else np.mean(found == y)


def run_cell(name, X, y, domain, target, regression, cap, seed):
    """Scores of every method on one target with one seed, and the weights of UOWQ."""
    y = y.astype(float) if regression else y
    train, test, sources = split(y, domain, target, regression, cap, seed)
    rows = np.concatenate([sources, train])
    ids = np.where(domain[rows] == target, -1, domain[rows] + 1)
    scores, weights = {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrappers = methods(regression, seed, len(np.unique(ids)) - 1)
        for method, wrapper in wrappers.items():
            wrapper.fit(X[rows], y[rows], sample_domain=ids)
            scores[method] = score(name, wrapper, X[test], y[test])
            if method == "UOWQ":
                found = wrapper.source_weights_.tolist()
                ids_ = (wrapper.source_ids_ - 1).tolist()
                weights = dict(zip(ids_, found, strict=True))
        if not regression:
            for method, fitted in fit_nets(X[rows], y[rows], ids).items():
                scores[method] = score(name, fitted, X[test], y[test])
        singles = [
            single_source(name, X, y, rows, ids, k, test, regression)
            for k in np.unique(ids[ids > 0])[:8]
        ]
    scores["single, mean"] = float(np.mean(singles))
    scores["single, best"] = float(np.max(singles))
    return scores, weights


def single_source(name, X, y, rows, ids, k, test, regression):
    keep = (ids < 0) | (ids == k)
    model = methods(regression, 0, 1)["pooled"]
    model.fit(X[rows][keep], y[rows][keep], sample_domain=ids[keep])
    return score(name, model, X[test], y[test])


def run_data(folder, plot, seeds, jobs, only):
    results, maps = {}, {}
    for name, (regression, cap, components) in DATA.items():
        path = folder / f"{name}.npz"
        if not path.exists() or (only and name not in only):
            continue
        start = time.perf_counter()
        X, y, domain, names = load(path, components)
        counts = np.bincount(domain)
        targets = np.sort(np.argsort(-counts, kind="stable")[:MAX_TARGETS])
        cells = Parallel(n_jobs=jobs)(
            delayed(run_cell)(name, X, y, domain, t, regression, cap, seed)
            for t in targets
            for seed in range(seeds)
        )
        results[name] = {
            method: np.array([c[0][method] for c in cells]).reshape(-1, seeds)
            for method in cells[0][0]
        }
        maps[name] = heat_map(targets, [c[1] for c in cells], seeds, names)
        report_data(name, results[name], names, targets, time.perf_counter() - start)
    summarize(results)
    report_maps(maps)
    if plot:
        plot_maps(maps, plot)


def heat_map(targets, cells, seeds, names):
    """Mean weights, targets by sources; NaN on the diagonal."""
    weights = np.full((len(targets), len(names)), np.nan)
    for i, _ in enumerate(targets):
        group = cells[i * seeds : (i + 1) * seeds]
        for k in group[0]:
            weights[i, k] = np.mean([g[k] for g in group])
    return weights, [names[t] for t in targets], names


def gaps(values, base):
    """Mean gap to the target alone on each target, and its standard error."""
    gap = values - base
    return gap.mean(axis=1), gap.std(axis=1, ddof=1) / np.sqrt(gap.shape[1])


def standard_error(values):
    """Compute the error over the seeds of the mean over targets and seeds."""
    return values.mean(axis=0).std(ddof=1) / np.sqrt(values.shape[1])


def report_data(name, table, names, targets, seconds):
    base = table["target only"]
    kind = "R2" if DATA[name][0] else "AUC" if "landmine" in name else "accuracy"
    print(
        f"\n### {name}: {kind}\n\n{base.shape[0]} targets x {base.shape[1]} seeds, "
        f"{seconds:.0f} s\n\n"
        "| method | mean | gain over target only | targets below by 2 s.e. | worst |\n"
        "|---|---|---|---|---|"
    )
    for method, values in sorted(table.items(), key=lambda kv: -kv[1].mean()):
        mean, error = gaps(values, base)
        below = int(np.sum(mean < -2 * error))
        worst = int(np.argmin(mean / np.maximum(error, 1e-12)))
        verdict = f"{below} of {len(mean)}" if below else "none"
        gain = f"{np.mean(mean):+.4f} ± {standard_error(values - base):.4f}"
        least = f"{mean[worst]:+.4f} ± {error[worst]:.4f} ({names[targets[worst]]})"
        if method == "target only":
            gain = verdict = least = ""
        print(
            f"| {method} | {values.mean():.4f} ± {standard_error(values):.4f} | {gain} "
            f"| {verdict} | {least} |",
            flush=True,
        )


def summarize(results):
    """Mean score, rank and harm of every method, by kind of task."""
    for title, keep in (("Classification", False), ("Regression", True)):
        names = [n for n in results if DATA[n][0] is keep]
        if not names:
            continue
        shared = [
            m
            for m in results[names[0]]
            if m != "single, best" and all(m in results[n] for n in names)
        ]
        means = np.array([[np.mean(results[n][m]) for m in shared] for n in names])
        ranks = (-means).argsort(axis=1).argsort(axis=1) + 1
        print(
            f"\n### {title}: mean over {len(names)} data sets\n\n"
            "| method | mean | rank | sets below target only | targets below by 2 s.e. "
            "| worst of them |\n|---|---|---|---|---|---|"
        )
        for i in np.argsort(-means.mean(axis=0)):
            found = [
                gaps(results[n][shared[i]], results[n]["target only"]) for n in names
            ]
            mean, error = np.concatenate(found, axis=1)
            below = (means[:, i] < means[:, shared.index("target only")]).sum()
            significant = mean < -2 * error
            worst = min(mean[significant], default=0.0)
            print(
                f"| {shared[i]} | {means[:, i].mean():.4f} | {ranks[:, i].mean():.1f} "
                f"| {below} of {len(names)} | {significant.sum()} of {len(mean)} | "
                f"{worst:+.4f} |"
            )


#: tables of the weights of these are printed
SHOWN = ("office_caltech10_surf800", "heart_4sites", "california_housing")


def report_maps(maps):
    for name in maps:
        if name not in SHOWN:
            continue
        weights, targets, sources = maps[name]
        print(f"\n### Weights of UOWQ: {name}\n\n| target | {' | '.join(sources)} |")
        print("|---" * (len(sources) + 1) + "|")
        for target, row in zip(targets, weights, strict=True):
            cells = [f"{w:.2f}" if np.isfinite(w) else "" for w in row]
            print(f"| {target} | {' | '.join(cells)} |")


def plot_maps(maps, folder):
    """Draw the weights of UOWQ: targets down, sources across."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (weights, targets, sources) in maps.items():
        if len(sources) > 12:
            continue
        display = SourceWeightsDisplay(
            weights, target_names=targets, source_names=sources
        )
        display.plot(rotation=30 if len(sources) > 4 else 0)
        display.figure_.savefig(
            folder / f"weights_{name}.png", dpi=130, bbox_inches="tight"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulation", action="store_true")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--bound", action="store_true")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--data", type=Path, help="folder with the .npz files")
    parser.add_argument("--tasks", type=Path, help="the same, for multi-task methods")
    parser.add_argument("--only", nargs="*", help="names of data sets")
    parser.add_argument("--plot", type=Path, help="folder for pictures of the weights")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.simulation:
        run_simulation(args.kinds, args.quick, args.jobs)
    if args.bound:
        run_bound()
    if args.cost:
        run_cost(args.quick)
    if args.tasks:
        run_tasks(args.tasks, 3 if args.quick else args.seeds, args.jobs, args.only)
    if args.data:
        seeds = 3 if args.quick else args.seeds
        run_data(args.data, args.plot, seeds, args.jobs, args.only)


if __name__ == "__main__":
    main()
