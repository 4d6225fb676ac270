"""Several outputs in a report: their names, tasks, and losses over all of them."""

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.multioutput import MultiOutputClassifier

from sktransfer.inspection._report_models import infer_task
from sktransfer.metrics._held_out import exact_match_score


def output_names(y):
    """Return the names of several outputs, [] for one.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Labels; a frame has names.

    Returns
    -------
    names : list of str
        One per output.
    """
    if np.ndim(y) != 2 or np.shape(y)[1] < 2:
        return []
    if hasattr(y, "columns"):
        return [str(name) for name in y.columns]
    return [f"output {k}" for k in range(np.shape(y)[1])]


def infer_common_task(labels, estimators, names):
    """Tell classes from quantities, for all outputs alike.

    Parameters
    ----------
    labels : ndarray of shape (n_labeled,) or (n_labeled, n_outputs)
        Labels, none missing.
    estimators : list of estimator
        What the user gave.
    names : list of str
        Names of several outputs.

    Returns
    -------
    task : {"classification", "regression"}
        That of every output.

    Raises
    ------
    ValueError
        If some outputs look like classes and others like quantities.
    """
    if not names:
        return infer_task(labels, estimators)
    tasks = [infer_task(output, estimators) for output in labels.T]
    if len(set(tasks)) > 1:
        said = ", ".join(f"{n}: {t}" for n, t in zip(names, tasks, strict=True))
        raise ValueError(
            f"The outputs look like different tasks ({said}), but a report is about "
            "one: say task, or make a report for the outputs of each."
        )
    return tasks[0]


def scaled_error(y_true, y_pred, sample_weight=None, *, scale):
    """Return the root of the mean squared error of outputs in units of ``scale``.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples, n_outputs)
        Quantities.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.
    scale : ndarray of shape (n_outputs,)
        Units of the outputs.

    Returns
    -------
    error : float
        Nonnegative.
    """
    errors = np.mean(((np.asarray(y_true) - np.asarray(y_pred)) / scale) ** 2, axis=1)
    return float(np.sqrt(np.average(errors, weights=sample_weight)))


def scorer_of_outputs(data, classify):
    """Return the scorer of several outputs: exact matches, or the scaled error.

    Parameters
    ----------
    data : DomainData
        Checked rows.
    classify : bool
        Whether the labels are classes.

    Returns
    -------
    scoring : callable
        Higher is better.
    """
    if classify:
        return make_scorer(exact_match_score)
    rows = data.is_labeled_target if data.n_labeled > 1 else data.labeled
    scale = np.std(data.labels(rows), axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return make_scorer(scaled_error, scale=scale, greater_is_better=False)


def explain_loss(names, classify, by_default):
    """Return a sentence on the loss of several outputs.

    Parameters
    ----------
    names : list of str
        The outputs.
    classify : bool
        Whether the labels are classes.
    by_default : bool
        Whether the loss is that of :func:`scorer_of_outputs`.

    Returns
    -------
    sentences : list of str
        Empty for a scorer of the user.
    """
    if not by_default:
        return []
    if classify:
        return [
            f"A row counts as right if all {len(names)} outputs are: errors are shares "
            "of rows with a wrong output."
        ]
    return [
        f"The errors of the {len(names)} outputs are divided by the standard deviation "
        "of each among the labeled target rows; squares are averaged over the outputs."
    ]


def default_learner(classify):
    """Return a linear learner of several outputs.

    Parameters
    ----------
    classify : bool
        Whether the labels are classes.

    Returns
    -------
    learner : estimator
        Unfitted; it takes weights.
    """
    if not classify:
        return Ridge()
    with config_context(enable_metadata_routing=True):
        one = LogisticRegression(max_iter=1000).set_fit_request(sample_weight=True)
        return MultiOutputClassifier(one).set_fit_request(sample_weight=True)


def what_is_missing(classify, by_default):
    """Return sentences on what is missing for several outputs, or has another loss.

    Parameters
    ----------
    classify : bool
        Whether the labels are classes.
    by_default : bool
        Whether the methods are the default ones.

    Returns
    -------
    notes : list of str
        One sentence per part.
    """
    if not classify:
        return [
            "The weights in the recommended model and in the guard, and the "
            "extrapolated learning curve, are by squared errors in the units of the "
            "outputs, so that an output of large numbers counts more there than in the "
            "tables. Bring the outputs to like units if they are to count alike."
        ]
    notes = [
        "LEEP and NCE of the sources are not computed: they compare the classes of "
        "one label, and there are several outputs.",
        "The influence of classes of a source is not computed: with several outputs "
        "a row has no one class. That of each source is.",
        "The factors of the error are not computed: their bound is for the classes of "
        "one label.",
        "The picture of the rows does not show classes, as there are several outputs.",
        "How many more labels would decide is not extrapolated: the learning curve of "
        "the gap is for classes of one label, or for quantities.",
    ]
    if by_default:
        notes.append(
            "UOWQ was not tried: its weights come from the likelihood of one label of "
            "classes."
        )
    return notes
