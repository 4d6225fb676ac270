"""Density ratios from a classifier that separates the domains."""

from numbers import Integral

import numpy as np
from scipy import sparse
from scipy.special import logsumexp
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, get_tags

from sktransfer._compat import Interval, _num_samples, validate_params
from sktransfer._domains import check_sample_domain, take_rows
from sktransfer._folds import deal_rows
from sktransfer._learners import HasLearnerMethods, fit_learner, has_method
from sktransfer._response import align_classes
from sktransfer.base import as_rows
from sktransfer.instance._ratio_template import (
    PAIR_CONSTRAINTS,
    RatioWeighting,
    check_pair,
)

__all__ = [
    "DomainClassifierWeighting",
    "domain_classifier_weights",
    "domain_density_ratios",
]

_CONSTRAINTS = {
    "classifier": [HasLearnerMethods(["fit", "predict"]), None],
    "calibrate": ["boolean"],
    "cv": [Interval(Integral, 2, None, closed="left")],
    "random_state": ["random_state"],
}


@validate_params(
    {**PAIR_CONSTRAINTS, **_CONSTRAINTS}, prefer_skip_nested_validation=True
)
def domain_classifier_weights(
    X_source, X_target, *, classifier=None, calibrate=True, cv=5, random_state=0
):
    r"""Weigh source samples by the odds that they come from the target.

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Source samples.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Target samples, labeled or not.
    classifier : classifier, default=None
        Any classifier with ``predict_proba`` or ``decision_function``. None: logistic
        regression on scaled features.
    calibrate : bool, default=True
        Fit probabilities to held-out answers (Platt's method); False: take those of
        the classifier as they are, so that it must not balance the domains
        (``class_weight``).
    cv : int in [2, inf), default=5
        Folds; each sample is judged by a classifier that has not seen it.
    random_state : int, RandomState instance or None, default=0
        Deals the folds; the order of the samples does not matter.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Ratio of the target's to the source's density.

    Raises
    ------
    ValueError
        If the domains have different numbers of features, or a domain has one sample.

    See Also
    --------
    DomainClassifierWeighting : A learner that is fitted with these weights.
    domain_density_ratios : Ratios of more than two domains.

    Notes
    -----
    .. math:: w(x) = \frac{n_s}{n_t} \frac{P(\mathrm{target} \mid x)}
        {P(\mathrm{source} \mid x)}

    with calibrated out-of-fold probabilities [1]_. No probability is below
    :math:`1 / (n + 2)` of all n samples, so that no ratio is infinite.

    References
    ----------
    .. [1] S. Bickel, M. Brueckner, T. Scheffer. Discriminative learning under
       covariate shift. Journal of Machine Learning Research 10, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import domain_classifier_weights
    >>> X_source = np.linspace(-1, 1, 50)[:, None]
    >>> weights = domain_classifier_weights(X_source, X_source[25:])
    >>> bool(weights[25:].mean() > 2 * weights[:25].mean())
    True
    """
    X_source, X_target = check_pair(X_source, X_target)
    stack = sparse.vstack if sparse.issparse(X_source) else np.concatenate
    X = stack([X_source, X_target])
    n_source = X_source.shape[0]
    code = np.repeat([0, 1], [n_source, X_target.shape[0]])
    rng = check_random_state(random_state)
    log_proba = _domain_log_proba(X, code, classifier, calibrate, cv, rng)
    return _ratio_of(log_proba, code, 1, 0)[:n_source]


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "sample_domain": ["array-like"],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def domain_density_ratios(
    X, sample_domain, *, classifier=None, calibrate=True, cv=5, random_state=0
):
    r"""Estimate the densities of several domains relative to each other.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples of two or more domains.
    sample_domain : array-like of shape (n_samples,)
        Their domains.
    classifier : classifier, default=None
        Any classifier with ``predict_proba`` or ``decision_function``. None: logistic
        regression on scaled features.
    calibrate : bool, default=True
        Fit probabilities to held-out answers; False: take those of the classifier.
    cv : int in [2, inf), default=5
        Folds; each sample is judged by a classifier that has not seen it.
    random_state : int, RandomState instance or None, default=0
        Deals the folds; the order of the samples does not matter.

    Returns
    -------
    log_density : ndarray of shape (n_samples, n_domains)
        Logarithms of the densities up to a term of each sample, so that differences
        of columns are log-ratios. The term makes the mean density of the domains 1.
    domains : ndarray of shape (n_domains,)
        Domain of each column, ascending.

    Raises
    ------
    ValueError
        If there is one domain, or one with a single sample.

    See Also
    --------
    domain_classifier_weights : The ratio of two domains.

    Notes
    -----
    One classifier of the domain gives :math:`P(d \mid x)`, and
    :math:`p_d(x) \propto P(d \mid x) / n_d`. So ratios of all pairs agree with each
    other: those of a to b and of b to c multiply to that of a to c [1]_.

    References
    ----------
    .. [1] L. Yu, Y. Jin, S. Ermon. A unified framework for multi-distribution density
       ratio estimation. arXiv:2112.03440, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import domain_density_ratios
    >>> X = np.concatenate([np.linspace(0, 1, 50) + shift for shift in (0, 0.5, 1)])
    >>> domain = np.repeat([1, 2, -1], 50)
    >>> log_density, domains = domain_density_ratios(X[:, None], domain)
    >>> domains
    array([-1,  1,  2])
    >>> log_ratio = log_density[:, 0] - log_density[:, 1]
    >>> bool(log_ratio[-1] > 0 > log_ratio[0])
    True
    """
    X = as_rows(X)
    domain = check_sample_domain(sample_domain, _num_samples(X))
    domains, code = np.unique(domain, return_inverse=True)
    if len(domains) < 2:
        raise ValueError(
            f"sample_domain holds the domain {domains.tolist()} alone; a ratio needs "
            "two."
        )
    rng = check_random_state(random_state)
    log_proba = _domain_log_proba(X, code, classifier, calibrate, cv, rng)
    log_density = log_proba - np.log(np.bincount(code))
    log_mean = logsumexp(log_density, axis=1, keepdims=True) - np.log(len(domains))
    return log_density - log_mean, domains


def _domain_log_proba(X, code, classifier, calibrate, cv, rng):
    """Return calibrated out-of-fold log-probabilities of the domains 0, 1, ..."""
    if classifier is None:
        scaler = StandardScaler(with_mean=not sparse.issparse(X))
        classifier = make_pipeline(scaler, LogisticRegression(max_iter=1000))
    if not is_classifier(classifier):
        raise TypeError(f"classifier={classifier!r} is no classifier.")
    counts = np.bincount(code)
    if counts.min() < 2:
        raise ValueError(
            "Each sample is judged by a classifier that has not seen it, but a domain "
            "has one sample: give two samples of each domain at least."
        )
    scores = _held_out_scores(X, code, classifier, cv, rng)
    if calibrate:
        return _calibrated(scores, code)
    if not has_method(classifier, "predict_proba"):
        raise ValueError(
            f"calibrate=False needs probabilities, but classifier={classifier!r} has "
            "no predict_proba."
        )
    return scores


def _held_out_scores(X, code, classifier, cv, rng):
    """Return log-probabilities or decision values, one column per domain."""
    domains = np.arange(code.max() + 1)
    method = next(
        (
            m
            for m in ("predict_proba", "decision_function")
            if has_method(classifier, m)
        ),
        None,
    )
    if method is None:
        raise TypeError(
            f"classifier={classifier!r} has neither predict_proba nor "
            "decision_function."
        )
    fold = np.empty(len(code), dtype=np.intp)
    seed = rng.randint(np.iinfo(np.int32).max)
    for k in domains:
        # each domain on its own, so that their numbering does not matter
        rows = np.flatnonzero(code == k)
        part, same = take_rows(X, rows), np.zeros(len(rows))
        dealt = deal_rows(part, same, cv, True, np.random.RandomState(seed))
        for number, held_out in enumerate(dealt):
            fold[rows[held_out]] = number
    scores = np.empty((len(code), len(domains)))
    for number in range(fold.max() + 1):
        train, test = fold != number, fold == number
        model = fit_learner(classifier, take_rows(X, train), code[train])
        values = np.asarray(getattr(model, method)(take_rows(X, test)), dtype=float)
        if values.ndim == 1:
            values = np.column_stack([-values / 2, values / 2])
        scores[test] = align_classes(values, model.classes_, domains, 0.0)
    if method == "predict_proba":
        floor = 1.0 / (len(code) + len(domains))
        scores = np.maximum(scores, floor)
        scores = np.log(scores / scores.sum(axis=1, keepdims=True))
    return scores


def _calibrated(scores, code):
    """Fit probabilities to scores, with the smoothed labels of Platt's method."""
    n_domains = scores.shape[1]
    counts = np.bincount(code, minlength=n_domains)
    features = scores[:, 1:] - scores[:, :1]
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-12)
    # a sample of domain d counts as d by (n_d + 1) / (n_d + K), as each other by
    # 1 / (n_d + K): scores that separate the domains give finite odds too
    rest = 1.0 / (counts[code] + n_domains)
    weight = np.repeat(rest[:, None], n_domains, axis=1)
    weight[np.arange(len(code)), code] += counts[code] * rest
    # a ridge that is small beside the samples: constant scores have no slope
    model = LogisticRegression(C=100.0, solver="newton-cholesky", max_iter=1000)
    model.fit(
        np.repeat(features, n_domains, axis=0),
        np.tile(np.arange(n_domains), len(code)),
        sample_weight=weight.ravel(),
    )
    log_proba = model.predict_log_proba(features)
    floor = -np.log(len(code) + n_domains)
    log_proba = np.maximum(log_proba, floor)
    return log_proba - logsumexp(log_proba, axis=1, keepdims=True)


def _ratio_of(log_proba, code, numerator, denominator):
    """Return the ratio of two domains' densities at all samples."""
    counts = np.bincount(code)
    log_ratio = log_proba[:, numerator] - log_proba[:, denominator]
    return np.exp(log_ratio) * (counts[denominator] / counts[numerator])


class DomainClassifierWeighting(RatioWeighting):
    r"""Fit a learner on source samples weighted by a classifier of the domain.

    A classifier learns to tell source from target samples; a source sample counts by
    its calibrated odds of coming from the target.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    classifier : classifier, default=None
        Any classifier of the domain with ``predict_proba`` or ``decision_function``,
        which gets the samples as they are. None: logistic regression on scaled
        features, which need finite numbers.
    calibrate : bool, default=True
        Fit probabilities to held-out answers (Platt's method); False: take those of
        the classifier as they are, so that it must not balance the domains
        (``class_weight``).
    cv : int in [2, inf), default=5
        Folds; each sample is judged by a classifier that has not seen it.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample; the mean weight of a source sample is about
        1.
    per_source : bool, default=False
        False: all sources are one denominator. True: the classifier separates all
        domains apart, and a sample counts by the ratio of the target's to its own
        source's density.
    random_state : int, RandomState instance or None, default=0
        Deals the folds.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, without the user's
        ``sample_weight``, by which they are multiplied.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    estimator_ : estimator
        The fitted learner.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    domain_classifier_weights : The weights alone, with the equations.
    domain_density_ratios : Ratios of all pairs of domains.
    sktransfer.metrics.proxy_a_distance : How well a classifier separates domains.

    References
    ----------
    .. [1] S. Bickel, M. Brueckner, T. Scheffer. Discriminative learning under
       covariate shift. Journal of Machine Learning Research 10, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import DomainClassifierWeighting
    >>> X = np.concatenate([np.linspace(0, 2, 40), np.linspace(1, 2, 20)])[:, None]
    >>> y = np.r_[X[:40, 0] ** 2, np.full(20, np.nan)]
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> model = DomainClassifierWeighting(LinearRegression())
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> bool(model.estimator_.coef_[0] > 2.4)
    True
    """

    _parameter_constraints: dict = {
        **RatioWeighting._parameter_constraints,
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator,
        *,
        classifier=None,
        calibrate=True,
        cv=5,
        target_weight=1.0,
        per_source=False,
        random_state=0,
    ):
        super().__init__(estimator, target_weight=target_weight, per_source=per_source)
        self.classifier = classifier
        self.calibrate = calibrate
        self.cv = cv
        self.random_state = random_state

    def _weigh_sources(self, data):
        X = self._rows_to_weigh(data.X)
        if not data.n_source:
            return np.zeros(0)
        domain = data.sample_domain.copy()
        if not self.per_source:
            domain[data.is_source] = data.sources[0]
        domains, code = np.unique(domain, return_inverse=True)
        rng = check_random_state(self.random_state)
        log_proba = _domain_log_proba(
            X, code, self.classifier, self.calibrate, self.cv, rng
        )
        target = int(np.flatnonzero(domains == data.targets[0])[0])
        weights = np.zeros(len(code))
        for k in np.delete(np.arange(len(domains)), target):
            rows = code == k
            weights[rows] = _ratio_of(log_proba, code, target, k)[rows]
        return weights[data.is_source]

    def _rows_to_weigh(self, X):
        if self.classifier is None:
            return super()._rows_to_weigh(X)
        if sparse.issparse(X) and not get_tags(self.classifier).input_tags.sparse:
            raise TypeError(
                f"X is a sparse matrix, but classifier={self.classifier!r} takes dense "
                "samples: make them dense, or give a classifier that takes sparse ones."
            )
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.classifier is not None:
            inner = get_tags(self.estimator).input_tags
            outer = get_tags(self.classifier).input_tags
            tags.input_tags.allow_nan = inner.allow_nan and outer.allow_nan
            tags.input_tags.sparse = inner.sparse and outer.sparse
        return tags
