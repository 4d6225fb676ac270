"""Does a PLS that carries its components from the source pay? Corn, three instruments.

    python benchmarks/transfer_pls.py --data corn_nir3.npz

"transfer PLS": the components of the source's PLS, and coefficients on their scores
that are pulled to the source's, by a ridge that leave-one-out chooses. Beside it what
the library has: domain-invariant PLS, a correction of the source's PLS on the target,
the pooled fit and the target alone. Every pair of instruments and each of four values;
RMSE relative to the standard deviation of the target's values.
"""

import argparse
import warnings

import numpy as np
from sklearn.cross_decomposition import PLSRegression

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.feature import DomainInvariantPLS
from sktransfer.hypothesis import OffsetTransfer

COMPONENTS = 6


class Flat(PLSRegression):
    """PLS with one output of one column."""

    def predict(self, X):
        """Predict."""
        return super().predict(X).ravel()


def transfer_pls(Xs, ys, Xl, yl, X):
    """Return predictions of X."""
    pls = PLSRegression(COMPONENTS).fit(Xs, ys)
    scale = pls.transform(Xs).std(axis=0)
    T, Z = pls.transform(Xl) / scale, pls.transform(X) / scale
    rest = yl - pls.predict(Xl).ravel()
    T, Z = (np.column_stack([part, np.ones(len(part))]) for part in (T, Z))
    best = np.inf, None
    for penalty in np.logspace(-3, 3, 13):
        gram = T.T @ T + penalty * np.eye(T.shape[1])
        hat = T @ np.linalg.solve(gram, T.T)
        loo = np.mean(((rest - hat @ rest) / (1 - np.diag(hat))) ** 2)
        if loo < best[0]:
            best = loo, np.linalg.solve(gram, T.T @ rest)
    return pls.predict(X).ravel() + Z @ best[1]


def main():
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--sizes", type=int, default=3, help="of 5, 10, 20 labels")
    chosen = parser.parse_args()
    z = np.load(chosen.data)
    X, Y, domain, sample = (z[k] for k in ("X", "Y", "domain", "sample"))
    few = max(2, COMPONENTS // 3)
    models = {
        "target alone": TargetOnly(Flat(few)),
        "pooled": Pooled(Flat(COMPONENTS)),
        "DomainInvariantPLS": DomainInvariantPLS(COMPONENTS),
        "OffsetTransfer": OffsetTransfer(Flat(COMPONENTS), Flat(few)),
    }
    for n_labeled in (5, 10, 20)[: chosen.sizes]:
        found = {name: [] for name in (*models, "transfer PLS")}
        for source in range(3):
            for target in range(3):
                for draw in range(chosen.draws if source != target else 0):
                    rng = np.random.RandomState(draw)
                    order = rng.permutation(80)
                    own = order[:n_labeled]
                    others = order[n_labeled:40]  # the source's samples are others
                    at = np.flatnonzero(domain == target)
                    at = at[np.argsort(sample[at])]
                    there = np.flatnonzero(domain == source)
                    there = there[np.argsort(sample[there])]
                    test = order[40:]
                    for k in range(Y.shape[1]):
                        Xs, ys = X[there[others]], Y[there[others], k]
                        Xl, yl = X[at[own]], Y[at[own], k]
                        Xt, yt = X[at[test]], Y[at[test], k]
                        rows = np.concatenate([Xs, Xl])
                        ids = np.repeat([1, -1], [len(Xs), len(Xl)])
                        answers = {
                            name: model.fit(
                                rows, np.r_[ys, yl], sample_domain=ids
                            ).predict(Xt)
                            for name, model in models.items()
                        }
                        answers["transfer PLS"] = transfer_pls(Xs, ys, Xl, yl, Xt)
                        for name, answer in answers.items():
                            error = np.sqrt(np.mean((answer.ravel() - yt) ** 2))
                            found[name].append(error / yt.std())
        print(f"{n_labeled} labels: median and quartiles of the relative RMSE")
        for name, errors in found.items():
            low, middle, high = np.quantile(errors, (0.25, 0.5, 0.75))
            print(f"  {name:<20}{middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
