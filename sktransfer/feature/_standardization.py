"""Direct and piecewise direct standardization: one instrument made like another."""

from numbers import Integral

import numpy as np
from sklearn.base import OneToOneFeatureMixin

from sktransfer._compat import Interval
from sktransfer._domains import match_pairs
from sktransfer._solvers.pair_maps import banded_map, least_norm_map
from sktransfer.base import TransferTransformer, missing_hook

__all__ = ["DirectStandardization", "PiecewiseDirectStandardization"]


class _PairMap(OneToOneFeatureMixin, TransferTransformer):
    """Map target samples onto the source by pairs of samples of the same objects."""

    __metadata_request__fit = {"sample_domain": True, "sample_pair": True}
    __metadata_request__fit_transform = {"sample_domain": True, "sample_pair": True}

    def _solve(self, target, source):
        """Return the matrix that maps centered target samples to their partners."""
        raise missing_hook(self, "_solve(target, source)")

    def fit(self, X, y=None, sample_domain=None, sample_pair=None):
        """Fit the map on the pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of source and target.
        y : array-like of shape (n_samples,), default=None
            Labels; not used.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for the source, negative for the target. None: every sample is
            a target sample, and the map is the identity.
        sample_pair : array-like of shape (n_samples,), default=None
            Name of the object that each sample was measured on: a sample of the source
            and one of the target with the same name are a pair. None or NaN: a sample
            without a partner. None in place of the array: there are no pairs, and the
            means of both domains are aligned.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        DomainError
            If a domain has two samples of the same name, or no name occurs in both.
        """
        self._pair_names = sample_pair
        super().fit(X, y, sample_domain=sample_domain)
        del self._pair_names
        return self

    def fit_transform(self, X, y=None, sample_domain=None, sample_pair=None):
        """Fit the map on the pairs and map the same samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of source and target.
        y : array-like of shape (n_samples,), default=None
            Labels; not used.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain ids, as in ``fit``.
        sample_pair : array-like of shape (n_samples,), default=None
            Names of the objects, as in ``fit``.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
            Samples of the source as they are, target samples mapped.
        """
        fitted = self.fit(X, y, sample_domain=sample_domain, sample_pair=sample_pair)
        return fitted.transform(X, sample_domain=sample_domain)

    def _fit_domains(self, data):
        n_features = data.X.shape[1]
        self.coef_ = np.eye(n_features)
        self.target_mean_ = self.source_mean_ = np.zeros(n_features)
        self.n_pairs_ = 0
        if not data.n_source:
            return
        X = np.asarray(data.X, dtype=np.float64)
        if self._pair_names is None:
            self.target_mean_ = X[data.is_target].mean(axis=0)
            self.source_mean_ = X[data.is_source].mean(axis=0)
            return
        source, target = match_pairs(self._pair_names, data)
        self.n_pairs_ = len(source)
        self.target_mean_, self.source_mean_ = (
            X[target].mean(axis=0), X[source].mean(axis=0),
        )  # fmt: skip
        if len(source) > 1:
            self.coef_ = self._solve(
                X[target] - self.target_mean_, X[source] - self.source_mean_
            )

    def _transform(self, X, source):
        mapped = np.array(X, dtype=np.float64)
        moved = mapped[~source] - self.target_mean_
        mapped[~source] = moved @ self.coef_ + self.source_mean_
        return mapped.astype(X.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True  # labels are not used
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.multi_source = False
        return tags


class DirectStandardization(_PairMap):
    r"""Map target samples onto the source by one matrix, learned from pairs.

    A calibration was made on one instrument, the source, and is to be used on another
    one, the target. A few objects were measured on both: the pairs. Target samples are
    mapped to what the source's instrument would have measured; source samples stay.

    Parameters
    ----------
    n_components : int >= 1, default=None
        Number of components of the target samples in the pairs that the map uses.
        None: as many as the pairs determine.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features, n_features)
        The matrix F.
    target_mean_, source_mean_ : ndarray of shape (n_features,)
        Means of the paired samples.
    n_pairs_ : int
        Number of pairs.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    PiecewiseDirectStandardization : Looks at neighboring features alone; better with
        many channels and few pairs.
    sktransfer.hypothesis.SlopeBiasCorrection : Corrects predictions in place of
        samples.

    Notes
    -----
    A target sample x becomes

    .. math:: m_s + (x - m_t) F, \qquad F = (X_t - m_t)^+ (X_s - m_s),

    with the paired samples :math:`X_t, X_s`, their means, and the pseudoinverse, cut to
    ``n_components`` singular values [1]_. F maps the span of the paired target
    samples; what is orthogonal to it is lost, so the pairs should vary as the samples
    do. Without pairs F is the identity and the means of all samples are aligned.

    References
    ----------
    .. [1] Y. Wang, D. J. Veltkamp, B. R. Kowalski. Multivariate instrument
       standardization. Analytical Chemistry 63(23), 1991. :doi:`10.1021/ac00023a016`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import DirectStandardization
    >>> rng = np.random.default_rng(0)
    >>> Xs = rng.normal(size=(40, 3))
    >>> Xt = 2 * Xs[:10, ::-1] + 1  # the first ten objects on another instrument
    >>> X, domain = np.concatenate([Xs, Xt]), np.repeat([1, -1], [40, 10])
    >>> pair = np.concatenate([np.arange(40.0), np.arange(10.0)])
    >>> ds = DirectStandardization().fit(X, sample_domain=domain, sample_pair=pair)
    >>> bool(np.allclose(ds.transform(Xt), Xs[:10]))
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None]
    }

    def __init__(self, n_components=None):
        self.n_components = n_components

    def _solve(self, target, source):
        return least_norm_map(target, source, self.n_components)


class PiecewiseDirectStandardization(_PairMap):
    r"""Map each feature of target samples from its neighbors, learned from pairs.

    For spectra and other ordered features: what one channel of the source measures
    depends on the same channel of the target and a few beside it. So ten pairs suffice
    for hundreds of channels.

    Parameters
    ----------
    half_width : int >= 0, default=3
        Number of features on either side that a feature depends on.
    n_components : int >= 1, default=2
        Number of components of these features that are used; fewer where the pairs do
        not determine as many.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features, n_features)
        The banded matrix F.
    target_mean_, source_mean_ : ndarray of shape (n_features,)
        Means of the paired samples.
    n_pairs_ : int
        Number of pairs.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    DirectStandardization : One matrix for all features at once.

    Notes
    -----
    Column j of F in :math:`m_s + (x - m_t) F` is fitted by regression on the leading
    principal components of the features :math:`j - w, \dots, j + w` of the paired
    target samples and is 0 elsewhere [1]_. Without pairs F is the identity and the
    means of all samples are aligned.

    References
    ----------
    .. [1] Y. Wang, D. J. Veltkamp, B. R. Kowalski. Multivariate instrument
       standardization. Analytical Chemistry 63(23), 1991. :doi:`10.1021/ac00023a016`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import PiecewiseDirectStandardization
    >>> rng = np.random.default_rng(0)
    >>> peaks = np.exp(-0.5 * (np.arange(50) - np.arange(5, 50, 8)[:, None]) ** 2 / 9)
    >>> Xs = rng.uniform(size=(30, 6)) @ peaks
    >>> Xt = 1.2 * np.roll(Xs, 1, axis=1)[:8]  # shifted by a channel, and stronger
    >>> X, domain = np.concatenate([Xs, Xt]), np.repeat([1, -1], [30, 8])
    >>> pair = np.concatenate([np.arange(30.0), np.arange(8.0)])
    >>> pds = PiecewiseDirectStandardization()
    >>> pds = pds.fit(X, sample_domain=domain, sample_pair=pair)
    >>> left = np.abs(pds.transform(Xt) - Xs[:8]).mean() / np.abs(Xt - Xs[:8]).mean()
    >>> bool(left < 0.1)
    True
    """

    _parameter_constraints: dict = {
        "half_width": [Interval(Integral, 0, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, half_width=3, *, n_components=2):
        self.half_width = half_width
        self.n_components = n_components

    def _solve(self, target, source):
        return banded_map(target, source, self.half_width, self.n_components)
