"""JDA and TJM as their published tables were made: dense, independent of the library.

    python benchmarks/published_protocols.py --data office_caltech10_surf800.npz

What the tables of the papers go with, beyond the equations: a linear kernel and a
penalty of the coefficients on the rows (not of directions); the means of the domains
as heavy as those of all classes together (JDA); eigenvectors of length 1, which set
the scale of the reweighting (TJM); ten rounds; rows of length 1 before and after.
"""

import argparse

import numpy as np
from scipy import linalg
from shallow_methods import PAIRS, load
from sklearn.neighbors import KNeighborsClassifier


def unit(X):
    """Scale rows to length 1."""
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def predict(Z, ys):
    """Return the classes of the nearest source rows."""
    Z = unit(Z)
    return KNeighborsClassifier(1).fit(Z[: len(ys)], ys).predict(Z[len(ys) :])


def compare(of_source, of_target, n):
    """Return the vector that compares the means of some rows."""
    v = np.zeros(n)
    v[of_source] = 1 / len(of_source)
    if len(of_target):
        v[of_target] = -1 / len(of_target)
    return v


def jda(X, ys, k=100, penalty=1.0, rounds=10):
    """Return the pseudo-labels of the last round."""
    ns, n = len(ys), len(X)
    values, vectors = np.linalg.eigh(X.T @ X)
    kept = values > 1e-10 * values[-1]
    # b = coefficients of a in an orthonormal basis: Z = X R b and |a| = |b|
    R = vectors[:, kept] * np.sqrt(values[kept])
    features = X @ R
    centered = features - features.mean(axis=0)
    total, classes, found = centered.T @ centered, np.unique(ys), None
    for _ in range(rounds):
        marginal = compare(np.arange(ns), np.arange(ns, n), n)
        V = [np.sqrt(len(classes)) * marginal]
        for c in classes if found is not None else ():
            rows = ns + np.flatnonzero(found == c)
            V.append(compare(np.flatnonzero(ys == c), rows, n))
        V = np.column_stack(V)
        V /= np.sqrt(np.linalg.norm(V.T @ V))
        means = features.T @ V
        metric = means @ means.T + penalty * np.eye(len(total))
        last = len(total) - 1
        _, b = linalg.eigh(total, metric, subset_by_index=[max(last - k + 1, 0), last])
        new = predict(features @ (b / np.linalg.norm(b, axis=0)), ys)
        if found is not None and np.array_equal(new, found):
            break
        found = new
    return found


def tjm(X, ys, k=20, penalty=1.0, rounds=10):
    """Return the predictions of the last round."""
    ns, n = len(ys), len(X)
    K = X @ X.T
    centered = K - K.mean(axis=0)
    total, G = centered.T @ centered, np.ones(n)
    v = compare(np.arange(ns), np.arange(ns, n), n)
    u = K @ v / np.linalg.norm(v)
    for _ in range(rounds):
        metric = np.outer(u, u) + penalty * np.diag(G)
        _, A = linalg.eigh(total, metric, subset_by_index=[n - k, n - 1])
        A = A / np.linalg.norm(A, axis=0)
        G[:ns] = 1 / (np.linalg.norm(A[:ns], axis=1) + 1e-16)
    return predict(K @ A, ys)


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", nargs="*", default=PAIRS)
    chosen = parser.parse_args()
    data = load(chosen.data)
    print("| pair | JDA | TJM |\n| --- | --- | --- |")
    for pair in chosen.pairs:
        (Xs, ys), (Xt, yt) = data[pair[0]], data[pair[1]]
        X = np.vstack([unit(Xs), unit(Xt)])
        cells = [f"{100 * np.mean(f(X, ys) == yt):.1f}" for f in (jda, tjm)]
        print(f"| {pair[0]}-{pair[1]} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
