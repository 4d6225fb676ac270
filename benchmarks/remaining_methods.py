"""What the survey's remaining methods bring, bare and behind a guard.

    python benchmarks/remaining_methods.py --data DIR
    python benchmarks/remaining_methods.py --data DIR --beside-datn

For each method and each set of DIR/INDEX.md (tune and proof) some draws: up to 300
source rows of at most four domains, 3 labels per class of the target (15 rows for
regression), 200 unlabeled rows, up to 500 to test on. Three fits: with the sources, on
the target alone, and inside ``TransferGuard`` with five folds. "hurt" is the share of
the runs in which the error with the sources is larger than alone, "mean" the mean
relative fall of the error, "kept" the share of the falls that the guard kept. Few
draws, for speed: a share moves by 10 points and more with other draws.

``--beside-datn`` compares the methods for two feature spaces with ``DATN``, bare: mean
accuracy with the sources, and in brackets on the target alone.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import sklearn
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled
from sktransfer.feature import CDLS, HHTL, TTI, DualTransfer, LowRankSparseTransfer
from sktransfer.hypothesis import (
    AdaptiveGPClassifier,
    SecureLogistic,
    SecureRLS,
    TransferChain,
)
from sktransfer.multisource import (
    FeatureFusion,
    IncrementalSourceEnsemble,
    SourceClusters,
    SourceInfluence,
)
from sktransfer.safe import TransferGuard

CLASSES = {
    "tune": ["amazon_reviews_400", "heart_4sites", "gas_drift_batches"],
    "proof": ["german_credit", "pima_diabetes", "wisdm_users", "mushroom_stalk"],
}
TEXTS = {
    "tune": ["newsgroups_comp_sci", "reuters_orgspeople"],
    "proof": ["spam_sms_mail", "imdb_genre3"],
}
REALS = {
    "tune": ["california_housing", "abalone", "air_beijing12", "auto_mpg"],
    "proof": ["bike_dc_seoul", "computer_survey190", "cmapss_fd001_fd003"],
}
N_SOURCE, N_UNLABELED, N_TEST, N_LABELED, N_SHOTS = 300, 200, 500, 15, 3


def linear():
    return LogisticRegression(max_iter=300)


def scaled(*steps):
    return make_pipeline(StandardScaler(), *steps)


def methods():
    """Yield (name, sets, is regression, estimator)."""
    learner = scaled(linear())
    yield (
        "IncrementalSourceEnsemble",
        CLASSES,
        False,
        IncrementalSourceEnsemble(learner),
    )
    features = scaled(PCA(4), linear())
    for score in ("h_score", "logme", "uniform"):
        fusion = FeatureFusion(features, source_score=score)
        yield f"FeatureFusion {score}", CLASSES, False, fusion
    sparse_map = LowRankSparseTransfer(growth=1.05, max_iter=400)
    pipe = scaled(sparse_map, Pooled(linear()))
    yield "LowRankSparseTransfer", CLASSES, False, pipe
    yield "DualTransfer", TEXTS, False, DualTransfer()
    yield "SecureRLS, sources at once", REALS, True, scaled(SecureRLS())
    yield "TransferChain", REALS, True, scaled(TransferChain(SecureRLS()))
    pooled = Pooled(linear())
    yield "Pooled", CLASSES, False, scaled(pooled)
    for parts in ("source", "class"):
        part = SourceInfluence(pooled, parts=parts, method="gradient", n_subsets=32)
        yield f"SourceInfluence {parts}", CLASSES, False, scaled(part)
    yield "SourceClusters", CLASSES, False, scaled(SourceClusters(linear()))
    yield "SecureLogistic", CLASSES, False, scaled(SecureLogistic(linear()))
    yield "AdaptiveGPClassifier", CLASSES, False, scaled(AdaptiveGPClassifier())
    yield "CDLS", BLOCKS, False, CDLS(linear())
    yield "HHTL", BLOCKS, False, HHTL(linear())
    yield "TTI", BLOCKS, False, TTI()


def read(data, kind, name):
    folder = data / "proof" if kind == "proof" else data
    file = np.load(folder / f"{name}.npz")
    if "X" in file:
        X = file["X"].astype(float)
    else:
        parts = [file[f"X_{part}"] for part in ("data", "indices", "indptr")]
        X = sparse.csr_matrix((parts[0].astype(float), *parts[1:]), file["X_shape"])
    return X, file["y"], file["domain"].astype(int)


def draw(X, y, domain, seed, regression):
    """Return rows, labels, domains, and test rows of one draw."""
    rng = np.random.default_rng(seed)
    names = np.unique(domain)[:6]
    target = names[seed % len(names)]
    rows, ids = [], []
    others = names[names != target][:4]
    for k, source in enumerate(others):
        own = rng.permutation(np.flatnonzero(domain == source))
        rows.append(own[: N_SOURCE // len(others)])
        ids += [k + 1] * len(rows[-1])
    own = rng.permutation(np.flatnonzero(domain == target))
    if regression:
        labeled, rest = own[:N_LABELED], own[N_LABELED:]
    else:
        labeled = np.concatenate([own[y[own] == c][:N_SHOTS] for c in np.unique(y)])
        rest = rng.permutation(np.setdiff1d(own, labeled))
    n_unlabeled = min(N_UNLABELED, len(rest) // 2)
    unlabeled, test = rest[:n_unlabeled], rest[n_unlabeled:][:N_TEST]
    rows = np.concatenate([*rows, labeled, unlabeled])
    marked = y[rows].astype(float)
    marked[len(rows) - n_unlabeled :] = np.nan
    ids += [-1] * (len(labeled) + n_unlabeled)
    return X[rows], marked, np.array(ids), X[test], y[test], {}


def halves(name, data):
    """Return source block, target block and labels of a set of pairs."""
    if name == "wikipedia":
        file = np.load(data / "wikipedia_text_image.npz")
        return file["X_lda10"].astype(float), file["X_img"].astype(float), file["y"]
    if name == "digits":
        X, y = sklearn.datasets.load_digits(return_X_y=True)
        return X[:, :32] / 16, X[:, 32:] / 16, y
    file = np.load(data / "proof" / "coil20_1024.npz")
    X = file["X"].astype(float).reshape(-1, 32, 32)[:, ::2, ::2]
    return X[:, :8].reshape(len(X), -1), X[:, 8:].reshape(len(X), -1), file["y"]


BLOCKS = {"tune": ["wikipedia", "digits"], "proof": ["coil20"]}


def draw_pairs(S, T, y, seed):
    """Draw 400 labeled source rows, 200 pairs, and 3 target labels per class."""
    rows = np.random.default_rng(seed).permutation(len(y))
    source, pairs, rest = rows[:400], rows[400:600], rows[600:]
    few = np.concatenate([rest[y[rest] == c][:N_SHOTS] for c in np.unique(y)])
    test = np.setdiff1d(rest, few)[:N_TEST]
    X = np.hstack([S, T])
    width = S.shape[1]
    table = X[np.concatenate([source, pairs, few])]
    table[: len(source), width:] = np.nan
    table[len(source) + len(pairs) :, :width] = np.nan
    marked = y[np.concatenate([source, pairs, few])].astype(float)
    marked[len(source) : len(source) + len(pairs)] = np.nan
    domain = np.repeat([1, -1], [len(source), len(pairs) + len(few)])
    seen = X[test]
    seen[:, :width] = np.nan
    columns = np.arange(X.shape[1])
    blocks = {"source_columns": columns[:width], "target_columns": columns[width:]}
    return table, marked, domain, seen, y[test], blocks


def runs(data, kind, sets, regression, n_draws):
    for name in sets[kind]:
        if sets is BLOCKS:
            table = halves(name, data)
            for seed in range(n_draws):
                yield draw_pairs(*table, seed)
        else:
            table = read(data, kind, name)
            for seed in range(n_draws):
                yield draw(*table, seed, regression)


def bare_errors(model, run, regression):
    """Return the errors with the sources, and on the target alone."""
    model = sklearn.base.clone(model).set_params(**run[-1])
    domain = run[2]
    return [error(model, run, rows, regression) for rows in (domain != 0, domain < 0)]


def errors(model, run, regression):
    """Return the errors with the sources, on the target alone, and guarded."""
    guard = TransferGuard(sklearn.base.clone(model).set_params(**run[-1]), cv=5)
    return [
        *bare_errors(model, run, regression),
        error(guard, run, run[2] != 0, regression),
    ]


def error(method, run, rows, regression):
    """Return the error on the test rows of a fit on some of the others."""
    X, y, domain, X_test, y_test, _ = run
    fitted = sklearn.base.clone(method)
    fitted.fit(X[rows], y[rows], sample_domain=domain[rows])
    answer = fitted.predict(X_test)
    wrong = (answer - y_test) ** 2 if regression else answer != y_test
    return float(np.mean(wrong))


def beside_datn(data, n_draws, kinds):
    """Print the accuracy of the methods for two feature spaces on the sets of pairs."""
    from sktransfer.deep import DATN

    models = {"CDLS": CDLS(linear()), "HHTL": HHTL(linear()), "TTI": TTI()}
    models["DATN"] = DATN(pretrain_iter=40, device="cpu", random_state=0)
    print(f"| set, {n_draws} draws | {' | '.join(models)} |")
    print("| --- " * (len(models) + 1) + "|")
    for kind in kinds:
        for name in BLOCKS[kind]:
            table, cells = halves(name, data), []
            for model in models.values():
                found = [
                    bare_errors(model, draw_pairs(*table, seed), False)
                    for seed in range(n_draws)
                ]
                right, alone = 1 - np.mean(found, axis=0)
                cells.append(f"{right:.3f} ({alone:.3f})")
            print(f"| {name} ({kind}) | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--only", default="", help="begin of a method's name")
    parser.add_argument("--sets", nargs="*", default=["tune", "proof"])
    parser.add_argument("--beside-datn", action="store_true")
    args = parser.parse_args()
    sklearn.set_config(enable_metadata_routing=True)
    warnings.simplefilter("ignore")
    if args.beside_datn:
        beside_datn(args.data, args.draws, args.sets)
        return
    print("method                       sets   runs  hurt  mean  guarded: hurt  kept")
    for name, sets, regression, model in methods():
        if not name.startswith(args.only):
            continue
        for kind in args.sets:
            table = np.array(
                [
                    errors(model, run, regression)
                    for run in runs(args.data, kind, sets, regression, args.draws)
                ]
            )
            with_sources, alone, guarded = table.T
            falls = np.maximum(alone - with_sources, 0) / np.maximum(alone, 1e-9)
            kept = np.clip((alone - guarded) / np.maximum(alone, 1e-9), 0, falls)
            mean = np.mean(1 - with_sources / np.maximum(alone, 1e-9))
            print(
                f"{name:28s} {kind:6s} {len(table):3d}  "
                f"{100 * np.mean(with_sources > alone):3.0f} % {100 * mean:+5.1f} %  "
                f"{100 * np.mean(guarded > alone):3.0f} % "
                f"{100 * kept.sum() / max(falls.sum(), 1e-9):3.0f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
