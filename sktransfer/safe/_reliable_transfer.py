"""Pool, mitigate or do without the sources, by a calibrated similarity."""

from numbers import Integral, Real

import numpy as np
from scipy.stats import permutation_test
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from sktransfer._domains import take_rows
from sktransfer.base import (
    TransferMetaEstimator,
    consumes_sample_domain,
    fit_on_domains,
    slice_params,
)
from sktransfer.baselines import Pooled
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.instance import KMM
from sktransfer.metrics import mmd_test
from sktransfer.safe._transfer_guard import TransferGuard

__all__ = ["ReliableTransfer"]

# beyond this many rows the kernel matrix gives way to random features
_MOST_KERNEL_ROWS = 1500


class ReliableTransfer(TransferMetaEstimator):
    r"""Pool similar sources, mitigate doubtful ones, leave out harmful ones.

    The scheme of Zhang et al. for reliable transfer: the similarity of the domains
    decides what is done. Its thresholds are levels of two tests, one against
    "similar" and one for "harmful", so there is nothing to tune but the error rate.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor, e.g. ``LogisticRegression()``. It is fitted on the
        pooled rows, or on the target alone.
    mitigation : estimator, default=None
        Estimator of this library that is fitted where the similarity is medium. None:
        ``TransferGuard(Pooled(estimator), policy="aggregate")``, or
        ``KMM(estimator)`` if no target row is labeled.
    alpha : float in (0, 1), default=0.05
        Level of the tests.
    n_permutations : int, default=200
        Number of permutations of the test of similarity; at least 2 / alpha - 1.
    random_state : int, RandomState instance or None, default=0
        Seed of the permutations. The order of the rows does not matter.

    Attributes
    ----------
    decision_ : {"pool", "mitigate", "target_only"}
        What was done.
    levels_ : dict of int to {"high", "medium", "low"}
        Similarity of each source, by its id.
    similarity_ : dict of int to float
        P-value of "the source has the distribution of the target", by source id.
    harm_ : dict of int to float
        P-value of "the source is of use to the target", by source id.
    estimator_ : estimator
        The fitted estimator that predicts.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TransferGuard : Blend by held-out target labels, whatever the similarity.
    sktransfer.metrics.mmd_test : The test of similarity.

    Notes
    -----
    *High* similarity: permutation tests with the maximum mean discrepancy do not
    reject that source and target have one distribution. All target rows are compared
    by their features, and the labeled ones by features and labels together (with the
    label block scaled to the variance of the features). Of two p-values

    .. math:: p = \min(1, 2 \min(p_X, p_{XY}))

    is kept. A source like the target is called high with a probability of at least
    1 - ``alpha``; with few target rows a moderate shift passes, too.

    *Low* similarity: the source model predicts the labeled target rows significantly
    worse than their mean does (squared error, Brier score of the one-hot prediction
    without probabilities; the mean of the other rows; sign-flip test of the paired
    differences). A source that is at least as good as the mean is called low with a
    probability of at most ``alpha``, if the differences are symmetric. Without target
    labels low means that most target rows lie outside the source: the median, over
    the target rows, of the conformal p-value of the distance to the nearest source
    row is at most ``alpha``.

    *Medium*: everything else. Sources of low similarity are left out; the others are
    pooled if all are high, else the mitigation gets them. If none remains, the
    estimator is fitted on the target alone, and without labels the transfer is
    refused by an error.

    References
    ----------
    W. Zhang, L. Deng, L. Zhang, D. Wu. A survey on negative transfer. IEEE/CAA Journal
    of Automatica Sinica 10 (2023), section 3. https://doi.org/10.1109/JAS.2022.106004

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.safe import ReliableTransfer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(90, 2))
    >>> domain = np.repeat([1, 2, -1], 30)
    >>> y = np.where(domain == 2, -1.0, 1.0) * X[:, 0]  # source 2 is reversed
    >>> model = ReliableTransfer(Ridge()).fit(X, y, sample_domain=domain)
    >>> model.levels_, model.decision_
    ({1: 'high', 2: 'low'}, 'pool')
    """

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        "mitigation": [HasMethods(["fit", "predict"]), None],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        mitigation=None,
        alpha=0.05,
        n_permutations=200,
        random_state=0,
    ):
        super().__init__(estimator)
        self.mitigation = mitigation
        self.alpha = alpha
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        self._check_parameters()
        numbers = data.with_X(check_array(data.X))
        rng = check_random_state(self.random_state)
        self.similarity_, self.harm_, self.levels_ = {}, {}, {}
        for source in data.sources.tolist():
            rows = data.rows_of(source)
            pair = numbers.take(_in_canonical_order(numbers, rows | data.is_target))
            self.similarity_[source] = self._similarity(pair, rng)
            self.harm_[source] = self._harm(data, pair, rows, fit_params)
            self.levels_[source] = self._level(source)
        self.decision_ = self._decide(data)
        return self._fit_decided(data, fit_params)

    def _check_parameters(self):
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            raise TypeError(
                f"estimator={self.estimator!r} is neither a classifier nor a regressor."
            )
        if self.mitigation is not None and not consumes_sample_domain(self.mitigation):
            raise TypeError(
                f"mitigation={self.mitigation!r} does not take sample_domain; wrap it, "
                "e.g. in Pooled of sktransfer.baselines."
            )
        if 2 / (self.n_permutations + 1) > self.alpha:
            raise ValueError(
                f"n_permutations={self.n_permutations} cannot reach a p-value of "
                f"alpha={self.alpha}: use at least {int(np.ceil(2 / self.alpha)) - 1}."
            )

    def _similarity(self, pair, rng):
        """Return the p-value of "one distribution" for one source and the target."""
        X = StandardScaler().fit_transform(pair.X)
        p_value = self._mmd_p_value(X, pair.is_source, pair.is_target, rng)
        if not pair.n_labeled:
            return p_value
        labels = _code(pair, is_classifier(self.estimator))
        joint = np.zeros((len(X), X.shape[1] + labels.shape[1]))
        joint[:, : X.shape[1]] = X
        spread = labels.var(axis=0).sum()
        weight = np.sqrt(X.var(axis=0).sum() / spread) if spread > 0 else 0.0
        joint[pair.labeled, X.shape[1] :] = weight * labels
        both = self._mmd_p_value(joint, pair.is_source, pair.is_labeled_target, rng)
        return min(1.0, 2 * min(p_value, both))

    def _mmd_p_value(self, X, source, target, rng):
        many = source.sum() + target.sum() > _MOST_KERNEL_ROWS
        return mmd_test(
            X[source],
            X[target],
            estimator="random_features" if many else "biased",
            n_permutations=self.n_permutations,
            random_state=rng,
        ).p_value

    def _harm(self, data, pair, rows, fit_params):
        """Return the p-value of "the source is of use" for one source."""
        if not data.n_labeled:
            return _median_conformal_p_value(pair.X_source, pair.X_target)
        if data.n_labeled < 2:
            return 1.0
        params = slice_params(fit_params, rows)
        model = clone(self.estimator).fit(
            take_rows(data.X, rows), data.labels(rows), **params
        )
        classes = np.unique(data.labels(data.labeled))
        predicted = _predict(model, data.X_labeled, classes)
        labels = _one_hot(data.y_labeled, classes, is_classifier(model))
        others = (labels.sum(axis=0) - labels) / (len(labels) - 1)
        loss, loss_0 = (np.sum((labels - p) ** 2, axis=1) for p in (predicted, others))
        # sorted: the draws of the sign flips must not depend on the order of rows
        worse = np.sort(loss - loss_0)
        test = permutation_test(
            (worse,),
            np.mean,
            permutation_type="samples",
            alternative="greater",
            n_resamples=max(999, self.n_permutations),
            rng=np.random.default_rng(0),
        )
        return float(test.pvalue)

    def _level(self, source):
        if self.harm_[source] <= self.alpha:
            return "low"
        return "high" if self.similarity_[source] > self.alpha else "medium"

    def _decide(self, data):
        kept = [level for level in self.levels_.values() if level != "low"]
        if kept:
            return "pool" if set(kept) == {"high"} else "mitigate"
        if not data.n_labeled:
            raise UnlabeledTargetError(
                "Transfer is refused: no source is similar enough to the target, and "
                "no target row is labeled to learn from without them. Label target "
                "rows, or lower alpha."
            )
        return "target_only"

    def _fit_decided(self, data, fit_params):
        low = [source for source, level in self.levels_.items() if level == "low"]
        rows = ~np.isin(data.sample_domain, low)
        if self.decision_ == "target_only":
            rows = data.is_labeled_target
            params = slice_params(fit_params, rows)
            return clone(self.estimator).fit(data.X_labeled, data.y_labeled, **params)
        used = data.take(rows)
        if self.decision_ == "pool":
            method = Pooled(clone(self.estimator))
        elif self.mitigation is not None:
            method = clone(self.mitigation)
        elif data.n_labeled:
            method = TransferGuard(
                Pooled(clone(self.estimator)),
                policy="aggregate",
                random_state=self.random_state,
            )
        else:
            method = KMM(clone(self.estimator))
        return fit_on_domains(method, used, **slice_params(fit_params, rows))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.uses_unlabeled = True
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = False
        tags.target_tags.multi_output = False
        return tags


def _in_canonical_order(data, rows):
    """Return the indices of ``rows``, sorted by the rows' content."""
    index = np.flatnonzero(rows)
    return index[np.lexsort(data.X[index].T[::-1])]


def _one_hot(y, classes, classify):
    if not classify:
        return np.asarray(y, dtype=np.float64)[:, None]
    return (np.asarray(y)[:, None] == classes).astype(np.float64)


def _code(data, classify):
    """Return the labels of the labeled rows as columns of numbers."""
    y = data.labels(data.labeled)
    return _one_hot(y, np.unique(y), classify)


def _predict(model, X, classes):
    """Return values, or a matrix of probabilities (votes) over ``classes``."""
    if not is_classifier(model):
        return np.asarray(model.predict(X), dtype=np.float64).reshape(-1, 1)
    if not hasattr(model, "predict_proba"):
        return _one_hot(model.predict(X), classes, True)
    proba = np.zeros((len(X) if not hasattr(X, "shape") else X.shape[0], len(classes)))
    proba[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(X)
    return proba


def _median_conformal_p_value(X_source, X_target):
    """Return the median over the target rows of the p-value of being a source row."""
    scaler = StandardScaler().fit(X_source)
    source, target = scaler.transform(X_source), scaler.transform(X_target)
    if len(source) < 2:
        return 1.0
    neighbors = NearestNeighbors(n_neighbors=1).fit(source)
    within = neighbors.kneighbors()[0].ravel()
    across = neighbors.kneighbors(target)[0].ravel()
    farther = np.sum(within >= across[:, None], axis=1)
    return float(np.median((1 + farther) / (1 + len(within))))
