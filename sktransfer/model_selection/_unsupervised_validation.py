"""Validation without target labels: scorers, and the splitter that serves them.

Each scorer is called with rows of both domains and ``sample_domain`` and never looks
at a label of a target row. Higher is better.
"""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.metadata_routing import MetadataRequest

from sktransfer._compat import HasMethods, Interval, StrOptions, validate_params
from sktransfer._domains import (
    canonical_order,
    check_domains,
    is_source,
    join_labels,
    source_id,
)
from sktransfer._folds import check_groups
from sktransfer.base import consumes_sample_domain, fit_on_domains
from sktransfer.exceptions import DomainError
from sktransfer.metrics._source_model import source_features, source_probabilities
from sktransfer.model_selection._split import _TargetSplitter

__all__ = [
    "MixedDomainKFold",
    "circular_validation_scorer",
    "deep_embedded_validation_scorer",
    "importance_weighted_risk",
    "importance_weighted_scorer",
    "make_importance_weighted_scorer",
    "make_mano_scorer",
    "make_mixval_scorer",
    "make_soft_neighborhood_density_scorer",
    "mano_scorer",
    "matrix_norm",
    "mixval_scorer",
    "prediction_entropy",
    "prediction_entropy_scorer",
    "soft_neighborhood_density",
    "soft_neighborhood_density_scorer",
]


class MixedDomainKFold(_TargetSplitter):
    """Folds that hold out rows of every domain, for validation without target labels.

    Test rows are source rows and target rows, labeled or not: use it only with
    scorers that request ``sample_domain``. An ordinary scorer would score the source.
    With ``groups`` in ``split``, the rows of a group are never on both sides.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2; every domain needs as many rows.
    shuffle : bool, default=False
        Shuffle the rows before they are split.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling.

    See Also
    --------
    TargetKFold : Tests on labeled target rows, where there are any.

    Examples
    --------
    >>> from sktransfer.model_selection import MixedDomainKFold
    >>> X, y = [[0.0]] * 8, [0, 1, 0, 1] + 4 * [None]
    >>> folds = MixedDomainKFold(2).split(X, y, sample_domain=[1] * 4 + [-1] * 4)
    >>> [test.tolist() for _, test in folds]
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None):
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def _check_enough(self, data):
        ids, counts = np.unique(data.sample_domain, return_counts=True)
        if counts.min() < self.n_splits:
            raise DomainError(
                f"n_splits={self.n_splits} needs as many rows in every domain, but "
                f"domain {ids[counts.argmin()]} has {counts.min()}."
            )
        if not data.n_source:
            raise DomainError("MixedDomainKFold needs source rows; there are none.")

    def _check_units(self, groups, data):
        return check_groups(groups, data)

    def _iter_splits(self, data, units):
        splitter = StratifiedKFold if units is None else StratifiedGroupKFold
        folds = splitter(
            self.n_splits,
            shuffle=self.shuffle,
            random_state=self.random_state if self.shuffle else None,
        )
        used = {} if units is None else {"groups": units}
        rows = np.empty((len(data.labeled), 1))
        yield from folds.split(rows, data.sample_domain, **used)


@validate_params(
    {
        "losses": ["array-like"],
        "weights": ["array-like"],
        "control_variate": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def importance_weighted_risk(losses, weights, *, control_variate=False):
    r"""Estimate the target risk from losses of source rows and density ratios.

    Parameters
    ----------
    losses : array-like of shape (n_source,)
        Loss of each held-out source row.
    weights : array-like of shape (n_source,)
        Density ratio target over source of each row, at least 0.
    control_variate : bool, default=False
        Lower the variance by the known mean 1 of the weights (deep embedded
        validation). False: divide by the mean weight.

    Returns
    -------
    risk : float
        The estimate.

    Raises
    ------
    ValueError
        If a weight is negative or all are 0.

    Notes
    -----
    Without control variate :math:`\sum_i w_i l_i / \sum_i w_i`; with it
    :math:`\overline{w l} + \eta (\bar w - 1)` where
    :math:`\eta = -\mathrm{Cov}(w l, w) / \mathrm{Var}(w)`.

    References
    ----------
    .. [1] Sugiyama, Krauledat and Mueller, "Covariate shift adaptation by importance
       weighted cross validation", JMLR 8 (2007) 985-1005.
    .. [2] You et al., "Towards accurate model selection in deep unsupervised domain
       adaptation", ICML (2019).

    Examples
    --------
    >>> from sktransfer.model_selection import importance_weighted_risk
    >>> importance_weighted_risk([0.0, 1.0], [3.0, 1.0])
    0.25
    """
    losses = column_or_1d(losses, dtype=np.float64)
    weights = column_or_1d(weights, dtype=np.float64)
    if len(losses) != len(weights):
        raise ValueError(f"{len(losses)} losses for {len(weights)} weights.")
    if weights.min() < 0 or not weights.any():
        raise ValueError("weights must be at least 0 and not all 0.")
    weighted = weights * losses
    if not control_variate:
        return float(weighted.sum() / weights.sum())
    variance = weights.var()
    if variance <= 1e-24 * weights.max() ** 2:
        return float(weighted.mean())
    eta = -np.mean((weighted - weighted.mean()) * (weights - weights.mean())) / variance
    return float(weighted.mean() + eta * (weights.mean() - 1))


@validate_params({"proba": ["array-like"]}, prefer_skip_nested_validation=True)
def prediction_entropy(proba):
    r"""Compute the mean entropy of predicted probabilities.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Probabilities; the entries of a row are at least 0 and sum to 1.

    Returns
    -------
    entropy : float
        In [0, log(n_classes)], in nats; small means confident predictions, which is
        blind to confident mistakes.

    Notes
    -----
    :math:`-\frac1n \sum_i \sum_c p_{ic} \log p_{ic}`.

    References
    ----------
    .. [1] Morerio, Cavazza and Murino, "Minimal-entropy correlation alignment for
       unsupervised deep domain adaptation", ICLR (2018), :arxiv:`1711.10288`.

    Examples
    --------
    >>> from sktransfer.model_selection import prediction_entropy
    >>> round(prediction_entropy([[0.5, 0.5], [1.0, 0.0]]), 4)
    0.3466
    """
    proba = _check_proba(proba)
    logs = np.log(proba, out=np.zeros_like(proba), where=proba > 0)
    return float(max(0.0, -np.mean(np.sum(proba * logs, axis=1))))


@validate_params(
    {
        "proba": ["array-like"],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def soft_neighborhood_density(proba, *, temperature=0.05):
    r"""Compute how densely rows with alike predictions lie together.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Probabilities of at least two target rows.
    temperature : float > 0, default=0.05
        Temperature of the softmax over neighbors.

    Returns
    -------
    density : float
        In [0, log(n_samples - 1)], in nats; higher is better.

    Notes
    -----
    With unit rows :math:`u_i = p_i / \lVert p_i \rVert` and neighbors :math:`q_{ij}
    \propto \exp(u_i^\top u_j / \tau)`, :math:`j \ne i`, it is
    :math:`-\frac1n \sum_{i} \sum_{j \ne i} q_{ij} \log q_{ij}`. Time and memory grow
    with the square of the rows.

    References
    ----------
    .. [1] Saito et al., "Tune it the right way: unsupervised validation of domain
       adaptation via soft neighborhood density", ICCV (2021), :arxiv:`2108.10860`.

    Examples
    --------
    >>> from sktransfer.model_selection import soft_neighborhood_density
    >>> clustered = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    >>> round(soft_neighborhood_density(clustered), 4)
    0.6931
    """
    proba = _check_proba(proba, min_rows=2)
    unit = proba / np.linalg.norm(proba, axis=1, keepdims=True)
    logits = unit @ unit.T / temperature
    np.fill_diagonal(logits, -np.inf)
    logits -= logits.max(axis=1, keepdims=True)
    neighbors = np.exp(logits)
    mass = neighbors.sum(axis=1, keepdims=True)
    neighbors /= mass
    np.fill_diagonal(logits, 0.0)
    entropy = np.log(mass[:, 0]) - np.sum(neighbors * logits, axis=1)
    return float(np.mean(entropy))


@validate_params(
    {
        "proba": ["array-like"],
        "p": [Interval(Real, 1, None, closed="left")],
        "threshold": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def matrix_norm(proba, *, p=4.0, threshold=5.0):
    r"""Compute the matrix norm of predictions, which follows the accuracy (MaNo).

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Probabilities of at least two classes.
    p : float in [1, inf), default=4.0
        Exponent of the norm.
    threshold : float in [0, inf), default=5.0
        Predictions that differ from uniform ones by more are taken as they are,
        others are made less overconfident first.

    Returns
    -------
    norm : float
        In (0, 1]; higher is better.

    Notes
    -----
    The logits :math:`q` are the centered logarithms of the probabilities. With
    :math:`\Phi = -\frac1{nK} \sum_{ic} \log p_{ic}` the score is
    :math:`\bigl(\frac1{nK} \sum_{ic} \sigma(q_i)_c^p\bigr)^{1/p}` [1]_, where
    :math:`\sigma` is the softmax if :math:`\Phi` is above `threshold` and else
    :math:`1 + q + q^2/2` scaled to the sum 1.

    References
    ----------
    .. [1] Xie et al., "MaNo: exploiting matrix norm for unsupervised accuracy
       estimation under distribution shifts", NeurIPS (2024), :arxiv:`2405.18979`.

    Examples
    --------
    >>> from sktransfer.model_selection import matrix_norm
    >>> round(matrix_norm([[0.5, 0.5], [0.5, 0.5]]), 4)
    0.5
    >>> matrix_norm([[0.9, 0.1], [0.1, 0.9]]) > 0.5
    True
    """
    proba = _check_proba(proba)
    if proba.shape[1] < 2:
        raise ValueError("proba must have at least two columns.")
    logs = np.log(np.maximum(proba, np.finfo(float).tiny))
    if -logs.mean() <= threshold:
        q = logs - logs.mean(axis=1, keepdims=True)
        proba = 1 + q + q**2 / 2
        proba /= proba.sum(axis=1, keepdims=True)
    return float(np.mean(proba**p) ** (1 / p))


def _check_proba(proba, min_rows=1):
    proba = check_array(
        proba, dtype=np.float64, input_name="proba", ensure_min_samples=min_rows
    )
    if proba.min() < 0 or np.abs(proba.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("proba must have entries >= 0 and rows that sum to 1.")
    return proba / proba.sum(axis=1, keepdims=True)


class _DomainScorer:
    """Template: check the rows, then call the hook ``_score(estimator, data)``."""

    def __init__(self, **options):
        self.options = options

    def get_metadata_routing(self):
        """Request ``sample_domain`` of the scored rows."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sample_domain", alias=True)
        return request

    def __call__(self, estimator, X, y=None, sample_domain=None):
        name = type(self).__name__.strip("_")
        if sample_domain is None:
            raise DomainError(
                f"{name} did not get sample_domain. Add "
                "sklearn.set_config(enable_metadata_routing=True) and pass the domains "
                "on: search.fit(X, y, sample_domain=...)."
            )
        data = check_domains(
            X, y, sample_domain, numeric_labels=is_regressor(estimator)
        )
        if self.needs_source and not data.n_source:
            raise DomainError(
                f"{name} needs source rows among the scored rows: use "
                "cv=MixedDomainKFold()."
            )
        return float(self._score(estimator, data, **self.options))

    def __repr__(self):
        options = ", ".join(f"{k}={v!r}" for k, v in self.options.items())
        return f"{type(self).__name__.strip('_')}({options})"


class _ImportanceWeighted(_DomainScorer):
    """Minus the target risk by weighted losses of source rows.

    Callable ``(estimator, X, y, sample_domain)``; higher is better.
    """

    needs_source = True

    def _score(self, estimator, data, *, control_variate, space, classifier):
        source, target = data.X_source, data.X_target
        predicted = estimator.predict(source)
        if is_regressor(estimator):
            losses, best = (predicted - data.y_source) ** 2, 0.0
        else:
            losses, best = predicted != data.y_source, 1.0
        if space == "features":
            source, target = (source_features(estimator, X) for X in (source, target))
        weights = _density_ratio(source, target, classifier)
        return best - importance_weighted_risk(
            np.asarray(losses, dtype=float), weights, control_variate=control_variate
        )


def _density_ratio(source, target, classifier):
    """Return target over source density at the source rows by a domain classifier."""
    if classifier is None:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    X = np.vstack([np.asarray(source), np.asarray(target)])
    m, n = len(X) - len(target), len(target)
    model = clone(classifier).fit(X, np.repeat([0, 1], [m, n]))
    proba = model.predict_proba(X[:m])
    return proba[:, 1] / np.maximum(proba[:, 0], 1e-12) * m / n


class _PredictionEntropy(_DomainScorer):
    """Minus the mean entropy of target predictions.

    Callable ``(estimator, X, y, sample_domain)``; higher is better.
    """

    needs_source = False

    def _score(self, estimator, data):
        return -prediction_entropy(source_probabilities(estimator, data.X_target))


class _SoftNeighborhoodDensity(_DomainScorer):
    """Soft neighborhood density of target predictions.

    Callable ``(estimator, X, y, sample_domain)``; higher is better.
    """

    needs_source = False

    def _score(self, estimator, data, *, temperature):
        proba = source_probabilities(estimator, data.X_target)
        return soft_neighborhood_density(proba, temperature=temperature)


class _Mano(_DomainScorer):
    """Matrix norm of target predictions.

    Callable ``(estimator, X, y, sample_domain)``; higher is better.
    """

    needs_source = False

    def _score(self, estimator, data, *, p, threshold):
        proba = source_probabilities(estimator, data.X_target)
        return matrix_norm(proba, p=p, threshold=threshold)


class _Mixval(_DomainScorer):
    """Consistency of predictions on mixed target samples.

    Callable ``(estimator, X, y, sample_domain)``; higher is better.
    """

    needs_source = False

    def _score(self, estimator, data, *, share, pairs, n_repeats, random_state):
        if is_regressor(estimator):
            raise TypeError(
                "MixVal mixes samples of classes; the model is a regressor."
            )
        X = check_array(
            data.X_target, accept_sparse="csr", dtype=np.float64, input_name="X"
        )
        label = np.asarray(estimator.predict(data.X_target))
        rng = check_random_state(random_state)
        order = canonical_order(X, rng=rng)
        right = {True: [], False: []}
        for _ in range(n_repeats):
            other = np.empty_like(order)
            other[order] = order[rng.permutation(len(order))]
            mixed = np.asarray(estimator.predict(_mix(X, X[other], share, data)))
            same = label == label[other]
            apart = np.arange(len(order)) != other
            for inside in right:
                right[inside].append((mixed == label)[(same == inside) & apart])
        found = {inside: np.concatenate(parts) for inside, parts in right.items()}
        asked = {"both": (True, False), "within": (True,), "between": (False,)}[pairs]
        # without pairs of one kind there is nothing to be inconsistent about
        return np.mean([found[k].mean() if len(found[k]) else 1.0 for k in asked])


def _mix(X, other, share, data):
    """Return mixed samples in the container of the target's."""
    mixed = share * X + (1 - share) * other
    frame = data.X_target
    if hasattr(frame, "columns"):
        if hasattr(frame, "iloc"):
            return type(frame)(mixed, columns=frame.columns)
        return type(frame)(mixed, schema=frame.columns)
    return mixed


class _CircularValidation(_DomainScorer):
    """Score, on source rows, of a model fitted on predicted target labels.

    Callable ``(estimator, X, y, sample_domain)``; higher is better.
    """

    needs_source = True

    def _score(self, estimator, data):
        pseudo = np.asarray(estimator.predict(data.X_target))
        if is_regressor(estimator):
            metric = r2_score
        else:
            metric = accuracy_score
            if len(np.unique(pseudo)) == 1:
                # one predicted class comes back as that class
                return np.mean(data.y_source == pseudo[0])
        reverse = clone(estimator)
        if consumes_sample_domain(estimator):
            fit_on_domains(reverse, _swap(data, pseudo))
        else:
            reverse.fit(data.X_target, pseudo)
        return metric(data.y_source, reverse.predict(data.X_source))


def _swap(data, pseudo):
    """Make the target a source with pseudo labels, and the sources the target."""
    labels = join_labels([pseudo], data.n_source)
    order = np.concatenate(
        [np.flatnonzero(data.is_target), np.flatnonzero(data.is_source)]
    )
    swapped = data.take(order)
    target_id = data.targets[0]
    domain = np.where(is_source(swapped.sample_domain), target_id, source_id(0))
    labeled = np.arange(len(order)) < data.n_target
    return replace(swapped, y=labels, sample_domain=domain, labeled=labeled)


@validate_params(
    {
        "control_variate": ["boolean"],
        "space": [StrOptions({"input", "features"})],
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
    },
    prefer_skip_nested_validation=True,
)
def make_importance_weighted_scorer(
    *, control_variate=False, space="input", classifier=None
):
    """Make a scorer of the target risk by weighted losses of held-out source rows.

    It is right where the domains differ in the features alone and the weights are.

    Parameters
    ----------
    control_variate : bool, default=False
        Lower the variance as deep embedded validation does.
    space : {"input", "features"}, default="input"
        Where the density ratio is estimated: on the rows, or on the features of the
        model (a pipeline without its last step, or the last hidden layer of a net).
    classifier : classifier, default=None
        Classifier of the domain whose odds give the ratio. None: logistic regression
        on standardized columns.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_domain)``: estimated target accuracy of a
        classifier, minus the mean squared error of a regressor.

    See Also
    --------
    importance_weighted_risk : The estimate from losses and weights.

    Examples
    --------
    >>> from sktransfer.model_selection import make_importance_weighted_scorer
    >>> from sklearn.dummy import DummyClassifier
    >>> X, y, domain = [[0.0], [1.0], [0.0], [1.0]], [0, 1, None, None], [1, 1, -1, -1]
    >>> model = DummyClassifier(strategy="constant", constant=0).fit(X[:2], y[:2])
    >>> scorer = make_importance_weighted_scorer()
    >>> round(scorer(model, X, y, sample_domain=domain), 3)
    0.5
    """
    return _ImportanceWeighted(
        control_variate=control_variate, space=space, classifier=classifier
    )


@validate_params(
    {"temperature": [Interval(Real, 0, None, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def make_soft_neighborhood_density_scorer(*, temperature=0.05):
    """Make a scorer of the soft neighborhood density of target predictions.

    Parameters
    ----------
    temperature : float > 0, default=0.05
        Temperature of the softmax over neighbors.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_domain)``.

    See Also
    --------
    soft_neighborhood_density : The measure.

    Examples
    --------
    >>> from sktransfer.model_selection import make_soft_neighborhood_density_scorer
    >>> make_soft_neighborhood_density_scorer(temperature=0.1)
    SoftNeighborhoodDensity(temperature=0.1)
    """
    return _SoftNeighborhoodDensity(temperature=temperature)


@validate_params(
    {
        "p": [Interval(Real, 1, None, closed="left")],
        "threshold": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def make_mano_scorer(*, p=4.0, threshold=5.0):
    """Make a scorer of the matrix norm of target predictions (MaNo).

    Parameters
    ----------
    p : float in [1, inf), default=4.0
        Exponent of the norm.
    threshold : float in [0, inf), default=5.0
        Distance from uniform predictions above which they are taken as they are.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_domain)``.

    See Also
    --------
    matrix_norm : The measure.

    Examples
    --------
    >>> from sktransfer.model_selection import make_mano_scorer
    >>> make_mano_scorer(p=2.0)
    Mano(p=2.0, threshold=5.0)
    """
    return _Mano(p=p, threshold=threshold)


@validate_params(
    {
        "share": [Interval(Real, 0.5, 1, closed="neither")],
        "pairs": [StrOptions({"both", "within", "between"})],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_mixval_scorer(*, share=0.55, pairs="both", n_repeats=3, random_state=0):
    r"""Make a scorer of the consistency of predictions on mixed target samples.

    Parameters
    ----------
    share : float in (0.5, 1), default=0.55
        Share of the sample whose predicted class a mixture should have.
    pairs : {"both", "within", "between"}, default="both"
        Mixtures of samples with the same predicted class, with different ones, or the
        mean of both.
    n_repeats : int in [1, inf), default=3
        How often each sample is mixed with another one.
    random_state : int, RandomState instance or None, default=0
        Draws the pairs; the order of the samples does not matter.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_domain)``, in [0, 1].

    Notes
    -----
    With predicted classes :math:`\hat y` the score is the share of mixtures
    :math:`a x_i + (1 - a) x_j` that the model gives the class :math:`\hat y_i` [1]_.
    Mixtures within a class probe whether it is in one piece, those between classes
    how far the boundary is from the samples. The features must be numbers.

    References
    ----------
    .. [1] Hu et al., "Mixed samples as probes for unsupervised model selection in
       domain adaptation", NeurIPS (2023).

    Examples
    --------
    >>> from sktransfer.model_selection import make_mixval_scorer
    >>> make_mixval_scorer(pairs="within")
    Mixval(share=0.55, pairs='within', n_repeats=3, random_state=0)
    """
    return _Mixval(
        share=share, pairs=pairs, n_repeats=n_repeats, random_state=random_state
    )


importance_weighted_scorer = make_importance_weighted_scorer()
deep_embedded_validation_scorer = make_importance_weighted_scorer(
    control_variate=True, space="features"
)
prediction_entropy_scorer = _PredictionEntropy()
soft_neighborhood_density_scorer = make_soft_neighborhood_density_scorer()
mano_scorer = make_mano_scorer()
mixval_scorer = make_mixval_scorer()
circular_validation_scorer = _CircularValidation()
