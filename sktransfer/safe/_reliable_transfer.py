"""Pool, mitigate or do without the sources, by a calibrated similarity."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._deviance import without_exposure
from sktransfer._domains import canonical_order, take_rows
from sktransfer._folds import deal_rows
from sktransfer._learners import (
    HasLearnerMethods,
    LearnerMethodsMixin,
    fit_learner,
    name_samples,
)
from sktransfer._response import common_columns
from sktransfer.base import (
    TransferMetaEstimator,
    consumes_sample_domain,
    fit_on_domains,
    slice_params,
)
from sktransfer.baselines import Pooled
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.hypothesis import SecureLogistic, SecureRLS, TransferChain
from sktransfer.instance import KMM
from sktransfer.metrics import mmd_test
from sktransfer.safe._transfer_guard import TransferGuard

__all__ = ["ReliableTransfer"]

_N_FOLDS = 5
# beyond this many rows the kernel matrix gives way to random features
_MOST_KERNEL_ROWS = 1500


class ReliableTransfer(LearnerMethodsMixin, TransferMetaEstimator):
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
    distant : {"target_only", "chain"} or estimator, default="target_only"
        What is fitted where the similarity of all sources is low and target rows are
        labeled. "target_only": ``estimator`` on the target. "chain", or an estimator
        of this library: distant transfer,
        :class:`~sktransfer.hypothesis.TransferChain` from the farthest source to the
        nearest and the target (by :class:`~sktransfer.hypothesis.SecureRLS` or
        :class:`~sktransfer.hypothesis.SecureLogistic`), or the estimator, inside a
        :class:`TransferGuard` that compares it with ``estimator`` on the target.
    alpha : float in (0, 1), default=0.05
        Level of the tests.
    n_permutations : int, default=200
        Number of permutations of the test of similarity; at least 2 / alpha - 1.
    random_state : int, RandomState instance or None, default=0
        Seed of the permutations. The order of the rows does not matter.

    Attributes
    ----------
    decision_ : {"pool", "mitigate", "distant", "target_only"}
        What was done.
    levels_ : dict of int to {"high", "medium", "low"}
        Similarity of each source, by its id.
    similarity_ : dict of int to float
        P-value of "the source has the distribution of the target", by source id.
    harm_ : dict of int to float
        P-value of "the source is of use to the target", by source id.
    no_signal_ : dict of int to float
        P-value of "the source model predicts held-out rows of the source no better
        than their mean", by source id; NaN where this cannot be tested.
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
    *High* similarity: two tests do not reject that source and target have one
    distribution. The first is the permutation test of the maximum mean discrepancy of
    their features, all target rows included. The second asks if the source model,
    cross-fitted in five folds, errs more on the labeled target rows than on held-out
    source rows (permutation test of the mean squared error, of classifiers the Brier
    score). Of the two p-values

    .. math:: p = \min(1, 2 \min(p_X, p_{Y|X}))

    is kept. A model that errs at home as much as anywhere passes both, so that a
    third test must find that the source has something to teach: with labeled target
    rows it is high only if the source model predicts held-out source rows
    significantly better than the mean of the other ones does (sign-flip test). A
    source like the target from which its own labels can be predicted is called high
    with a probability of about 1 - ``alpha``; with few target rows a moderate shift
    passes, too.

    *Low* similarity: the source model predicts the labeled target rows significantly
    worse than the mean of the other ones does (sign-flip test of the paired squared
    errors). A source that is at least as good as the mean is called low with a
    probability of at most about ``alpha``. Without target labels low means that most
    target rows lie outside the source: the median, over the target rows, of the
    conformal p-value of the distance to the nearest source row is at most ``alpha``.

    *Medium*: everything else. Sources of low similarity are left out; the others are
    pooled if all are high, else the mitigation gets them. If none remains, the
    estimator is fitted on the target alone, or ``distant`` gets all sources; without
    labels the transfer is refused by an error. Distant transfer is not the default,
    since low means that the sources were found to be of no use as they are.

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

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "mitigation": [HasLearnerMethods(["fit", "predict"]), None],
        "distant": [
            StrOptions({"target_only", "chain"}),
            HasLearnerMethods(["fit", "predict"]),
        ],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        mitigation: Any = None,
        distant: Any = "target_only",
        alpha: Any = 0.05,
        n_permutations: int = 200,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.mitigation = mitigation
        self.distant = distant
        self.alpha = alpha
        self.n_permutations = n_permutations
        self.random_state = random_state

    _hands_exposure_on = True

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        self._check_parameters()
        # every inner fit gets the domains of its own rows
        fit_params = {k: v for k, v in fit_params.items() if k != "sample_domain"}
        given, given_params = data, fit_params
        if fit_params.get("exposure") is not None:  # evidence is about rates
            y, fit_params = without_exposure(data.y, fit_params, self.estimator)
            data = replace(data, y=y)
        numbers = data.with_X(
            self._numeric_rows(data.X, accept_sparse=False, dtype=np.float64)
        )
        rng = check_random_state(self.random_state)
        self.similarity_: dict[int, float] = {}
        self.harm_: dict[int, float] = {}
        self.no_signal_: dict[int, float] = {}
        self.levels_: dict[int, str] = {}
        for source in data.sources.tolist():
            found = self._p_values(data, numbers, source, fit_params, rng)
            self.similarity_[source], self.harm_[source] = found[:2]
            self.no_signal_[source] = found[2]
            self.levels_[source] = self._level(source)
        self.decision_ = self._decide(data)
        if self.decision_ == "target_only":
            return self._fit_target(data, fit_params)
        return self._fit_decided(given, given_params)

    def _check_parameters(self) -> None:
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            raise TypeError(
                f"estimator={self.estimator!r} is neither a classifier nor a regressor."
            )
        for name in ("mitigation", "distant"):
            method = getattr(self, name)
            named = method is None or isinstance(method, str)
            if not named and not consumes_sample_domain(method):
                raise TypeError(
                    f"{name}={method!r} does not take sample_domain; wrap it, e.g. in "
                    "Pooled of sktransfer.baselines."
                )
        if 2 / (self.n_permutations + 1) > self.alpha:
            raise ValueError(
                f"n_permutations={self.n_permutations} cannot reach a p-value of "
                f"alpha={self.alpha}: use at least {int(np.ceil(2 / self.alpha)) - 1}."
            )

    def _p_values(
        self,
        data: Any,
        numbers: Any,
        source: int,
        fit_params: dict[str, Any],
        rng: np.random.RandomState,
    ) -> tuple[float, float, float]:
        """Return p-values of "one distribution", "of use" and "nothing to teach"."""
        rows = np.flatnonzero(numbers.rows_of(source) | numbers.is_target)
        pair = numbers.take(rows[canonical_order(numbers.X[rows])])
        similar = self._mmd_p_value(pair, rng)
        if not data.n_labeled:
            useful = _median_conformal_p_value(pair.X_source, pair.X_target)
            return similar, useful, np.nan
        losses = self._losses(data, numbers, data.rows_of(source), fit_params)
        if losses is None:
            return similar, 1.0, np.nan
        same_labels, useful, no_signal = _label_p_values(*losses, self.n_permutations)
        return min(1.0, 2 * min(similar, same_labels)), useful, no_signal

    def _mmd_p_value(self, pair: Any, rng: np.random.RandomState) -> float:
        X = StandardScaler().fit_transform(pair.X)
        return mmd_test(
            X[pair.is_source],
            X[pair.is_target],
            estimator="random_features" if len(X) > _MOST_KERNEL_ROWS else "biased",
            n_permutations=self.n_permutations,
            random_state=rng,
        ).p_value

    def _losses(
        self,
        data: Any,
        numbers: Any,
        rows: NDArray[np.bool_],
        fit_params: dict[str, Any],
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]] | None:
        """Return held-out losses of the source model on source and target rows.

        The other two arrays are the losses of the mean of the other source rows, and
        of the other labeled target rows. None if there is nothing to compare.
        """
        classify = is_classifier(self.estimator)
        source, y = np.flatnonzero(rows), data.labels(rows)
        folds = deal_rows(
            numbers.X[source], y, _N_FOLDS, classify, np.random.RandomState(0)
        )
        if data.n_labeled < 2 or not folds or (classify and len(np.unique(y)) < 2):
            return None
        models = []
        for test in folds:
            train = rows.copy()
            train[source[test]] = False
            params = slice_params(fit_params, train)
            X_train = take_rows(data.X, train)
            models.append(
                fit_learner(self.estimator, X_train, data.labels(train), **params)
            )
        labels = data.labels(data.labeled) if classify else data.y_labeled
        columns = common_columns(models, labels, classify=classify)
        said = [
            columns.ask(model, take_rows(data.X, source[test]))
            for model, test in zip(models, folds, strict=True)
        ]
        said, held_out = np.concatenate(said), np.concatenate(folds)
        columns = columns.calibrated({0: said}, y[held_out])
        own = _loss(columns, columns.read(said, 0), y[held_out])
        foreign = np.mean(
            [
                _loss(columns, columns.answer(model, data.X_labeled, key=0),
                      data.y_labeled)
                for model in models
            ],
            axis=0,
        )  # fmt: skip
        own_mean, foreign_mean = (
            _loss(columns, _constant_answer(columns, columns.code(y), classify), y)
            for y in (y[held_out], data.y_labeled)
        )
        return own, foreign, own_mean, foreign_mean

    def _level(self, source: int) -> str:
        if self.harm_[source] <= self.alpha:
            return "low"
        teaches = not self.no_signal_[source] > self.alpha
        similar = self.similarity_[source] > self.alpha
        return "high" if similar and teaches else "medium"

    def _decide(self, data: Any) -> str:
        kept = [level for level in self.levels_.values() if level != "low"]
        if kept:
            return "pool" if set(kept) == {"high"} else "mitigate"
        if not data.n_labeled:
            raise UnlabeledTargetError(
                "Transfer is refused: no source is similar enough to the target, and "
                "no target row is labeled to learn from without them. Label target "
                "rows, or lower alpha."
            )
        far = self.levels_ and self.distant != "target_only"
        return "distant" if far else "target_only"

    def _fit_target(self, data: Any, fit_params: dict[Any, Any]) -> Any:
        rows = data.is_labeled_target
        params = slice_params(fit_params, rows)
        params["samples"] = name_samples(data, rows)
        return fit_learner(self.estimator, data.X_labeled, data.y_labeled, **params)

    def _fit_decided(self, data: Any, fit_params: dict[str, Any]) -> Any:
        low = [source for source, level in self.levels_.items() if level == "low"]
        rows = ~np.isin(data.sample_domain, low)
        if self.decision_ == "distant":
            return fit_on_domains(self._distant_method(), data, **fit_params)
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

    def _distant_method(self) -> Any:
        """Return the guarded method for sources that are all far from the target."""
        method = self.distant
        if isinstance(method, str):
            link = SecureLogistic() if is_classifier(self.estimator) else SecureRLS()
            method = TransferChain(link)
        return TransferGuard(
            clone(method),
            target_estimator=clone(self.estimator),
            policy="aggregate",
            random_state=self.random_state,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transfer_tags.uses_unlabeled = True
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = False
        if is_classifier(self.estimator):
            tags.target_tags.multi_output = False
        return tags


def _loss(columns: Any, answers: NDArray[Any], y: Any) -> NDArray[Any]:
    """Return the squared error of each row; the Brier score for classifiers."""
    return columns.losses(y, columns.code(y) - answers)


def _constant_answer(
    columns: Any, labels: NDArray[Any], classify: bool
) -> NDArray[Any]:
    """Return what knows nothing of a row would answer, as the models answer.

    That is the mean of the other labels, or, among votes, the commonest class.
    """
    if classify and columns.method == "predict":
        return np.eye(labels.shape[1])[[labels.sum(axis=0).argmax()]]
    return (labels.sum(axis=0) - labels) / (len(labels) - 1)


def _label_p_values(
    own: NDArray[Any],
    foreign: NDArray[Any],
    own_mean: NDArray[Any],
    foreign_mean: NDArray[Any],
    n_resamples: int,
) -> tuple[float, float, float]:
    """Return p-values of three hypotheses.

    They are "no larger errors than at home", "of use" and "no better at home than the
    mean".
    """
    options: dict[str, Any] = {
        "n_resamples": n_resamples,
        "vectorized": True,
        "batch": 100,
    }
    # sorted, so that the draws do not depend on the order of the rows
    same = permutation_test(
        (np.sort(foreign), np.sort(own)),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        alternative="greater",
        rng=np.random.default_rng(0),
        **options,
    )
    useful, no_signal = (
        permutation_test(
            (np.sort(difference),),
            lambda a, axis: np.mean(a, axis=axis),
            permutation_type="samples",
            alternative=alternative,
            rng=np.random.default_rng(0),
            **options,
        )
        for difference, alternative in (
            (foreign - foreign_mean, "greater"),
            (own - own_mean, "less"),
        )
    )
    return float(same.pvalue), float(useful.pvalue), float(no_signal.pvalue)


def _median_conformal_p_value(X_source: NDArray[Any], X_target: NDArray[Any]) -> float:
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
