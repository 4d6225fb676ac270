"""How much too narrow is the posterior of the weight of transfer?

The guard treats the out-of-fold residuals of n target rows as n independent draws, but
the fold models share most of their rows. Here ridge regressions on a source and a
target of known coefficients are drawn many times. The error of the minimizer of the
out-of-fold risk, from the truly best weight of the two models fitted on all rows, is
divided by the scale of the posterior. The table shows by how much the 90 % quantile of
its absolute value, and the 5 and 95 % quantiles, exceed those of Student's t:
1.0 is a posterior as wide as it should be.

Run: ``python benchmarks/posterior.py`` (about a minute).
"""

import argparse

import numpy as np
from scipy import stats

from sktransfer._solvers.aggregation import blend_posterior


def fit(gram, moment, penalty):
    return np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)


def errors(rng, n, d, shift, *, n_draws, n_source=200, penalty=1.0, n_folds=10):
    """Errors of the minimizer of the out-of-fold risk, over the posterior's scale."""
    scaled = []
    for _ in range(n_draws):
        target = rng.normal(size=d) / np.sqrt(d)
        source = target + shift * rng.normal(size=d) / np.sqrt(d)
        X_s, X = rng.normal(size=(n_source, d)), rng.normal(size=(n, d))
        y_s = X_s @ source + rng.normal(size=n_source)
        y = X @ target + rng.normal(size=n)
        gram, moment = X_s.T @ X_s, X_s.T @ y_s

        def pair(rows, X=X, y=y, gram=gram, moment=moment):
            own, own_y = X[rows].T @ X[rows], X[rows].T @ y[rows]
            return fit(own, own_y, penalty), fit(own + gram, own_y + moment, penalty)

        fold = rng.permutation(n) % min(n_folds, n)
        residual = np.empty((2, n))
        for k in range(min(n_folds, n)):
            test = fold == k
            for j, coef in enumerate(pair(~test)):
                residual[j, test] = y[test] - X[test] @ coef
        info = blend_posterior(residual[0][:, None], residual[1][:, None])
        alone, pooled = pair(np.ones(n, dtype=bool))
        step = pooled - alone
        best = (target - alone) @ step / (step @ step)
        scaled.append((info.minimizer - best) / info.standard_error)
    return np.array(scaled)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=400)
    n_draws = parser.parse_args().draws
    rng = np.random.default_rng(0)
    print("| rows | features | shift of the source | width | below | above |")
    print("|---|---|---|---|---|---|")
    widths = []
    for n in (10, 20, 30, 60):
        for d in (3, 10):
            for shift in (0.0, 0.5, 2.0):
                z = errors(rng, n, d, shift, n_draws=n_draws)
                t = stats.t.ppf(0.95, n - 1)
                row = [np.quantile(np.abs(z), 0.9), -np.quantile(z, 0.05)]
                row = np.array([*row, np.quantile(z, 0.95)]) / t
                widths.append(row[0])
                cells = " | ".join(f"{value:.2f}" for value in row)
                print(f"| {n} | {d} | {shift} | {cells} |")
    print()
    print(
        f"width: median {np.median(widths):.2f}, "
        f"from {min(widths):.2f} to {max(widths):.2f}"
    )


if __name__ == "__main__":
    main()
