"""What a task is like, measured in hindsight with the labels of its test rows.

No method sees these figures: they sort the tasks of the leaderboard and explain when a
method pays.
"""

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

from benchmarks.board.scores import score_predictions

MOST_ROWS = 300  # of each side in the domain classifier
N_FOLDS = 3


def task_features(data):
    """Return the features of a task.

    Parameters
    ----------
    data : TaskData
        Its rows.

    Returns
    -------
    features : dict of str to float
        ``domain_auc``: how well a forest tells source rows from target rows, out of
        fold; .5 is no covariate shift. ``label_shift``: total variation between the
        labels of sources and target, or the distance of their means in standard
        deviations of the sources. ``source_score``: a forest of the sources on the test
        rows. ``ceiling``: a forest of the other test rows, by 3 folds. ``gap``: the
        second less the first, large where the rule moved or the sources lack
        its region. Sizes: ``n_source_rows``, ``n_features``, ``n_test``, ``n_classes``.
    """
    problem, trees = data.problem, data.problem.trees()
    source = score_predictions(
        trees.fit(data.X_source, data.y_source), data.X_test, data.y_test, data.metric
    )["score"]
    own = [
        score_predictions(
            trees.fit(data.X_test[train], data.y_test[train]),
            data.X_test[test], data.y_test[test], data.metric,
        )["score"]
        for train, test in _folds(data)
    ]  # fmt: skip
    own = [score for score in own if score is not None]
    ceiling = round(float(np.mean(own)), 4) if own else None
    gap = None if None in (ceiling, source) else round(ceiling - source, 4)
    return {
        "domain_auc": round(_domain_auc(data), 4),
        "label_shift": round(_label_shift(data), 4),
        "source_score": source,
        "ceiling": ceiling,
        "gap": gap,
        "n_source_rows": problem.n_source_rows,
        "n_features": problem.n_features,
        "n_test": len(data.y_test),
        "n_classes": len(problem.classes),
    }


def _folds(data):
    if data.metric == "r2" or np.unique(data.y_test, return_counts=True)[1].min() < 3:
        return KFold(N_FOLDS, shuffle=True, random_state=0).split(data.X_test)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    return folds.split(data.X_test, data.y_test)


def _domain_auc(data):
    target = np.concatenate([data.X_labeled, data.X_unlabeled, data.X_test])
    rng = np.random.RandomState(0)
    parts = [
        part[rng.permutation(len(part))[:MOST_ROWS]] for part in (data.X_source, target)
    ]
    X = np.concatenate(parts)
    side = np.repeat([0, 1], [len(part) for part in parts])
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    proba = cross_val_predict(
        RandomForestClassifier(100, min_samples_leaf=3, random_state=0),
        X, side, cv=folds, method="predict_proba",
    )  # fmt: skip
    return float(roc_auc_score(side, proba[:, 1]))


def _label_shift(data):
    source, target = data.y_source, data.y_test
    if data.metric == "r2":
        return abs(float(np.mean(target) - np.mean(source))) / float(np.std(source))
    classes = np.union1d(source, target)
    shares = [np.mean(y[:, None] == classes, axis=0) for y in (source, target)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)
