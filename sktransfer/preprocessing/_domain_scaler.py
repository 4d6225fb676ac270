"""DomainScaler: location and scale of every domain, shrunk toward the others."""

from numbers import Real

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import Interval, StrOptions, _num_samples
from sktransfer._domains import check_sample_domain
from sktransfer._solvers.domain_moments import (
    between_variance,
    posterior_variance,
    prior_share,
    variance_prior,
)
from sktransfer.base import TransferTransformer

__all__ = ["DomainScaler"]

# least eigenvalue of a correlation matrix that is inverted, relative to the mean of 1
_LEAST_EIGENVALUE = 1e-6
# standard deviations up to this share of the mean are rounding
_ROUNDING = 1e-13


class DomainScaler(OneToOneFeatureMixin, TransferTransformer):
    r"""Standardize the features of each domain by its own location and scale.

    Where sites, instruments or batches measure on scales of their own, each is brought
    to mean 0 and standard deviation 1. Locations and scales of small domains are shrunk
    toward those of the others. Labels are never used.

    Parameters
    ----------
    with_mean : bool, default=True
        Center each domain at its own location; False: at the common one.
    with_std : bool, default=True
        Scale each domain by its own standard deviation; False: by the common one.
    rotate : bool, default=False
        Make the correlations of the domains alike, too.
    covariates : list of str or int, default=None
        Columns by which domains differ rightly, such as age. What they explain within
        domains, with the same slopes in all, is left in the other features. They are
        themselves standardized alike in all domains.
    shrinkage : "auto" or float in [0, inf), default="auto"
        How far locations and scales are shrunk toward the common ones. "auto": by what
        the domains have in common, see Notes. A number: as if the common values had
        been seen in so many further samples of the domain; 0: not at all.

    Attributes
    ----------
    domains_ : ndarray of shape (n_domains,)
        Ids of the domains in ``fit``: targets, then sources.
    location_, scale_ : ndarray of shape (n_domains, n_features)
        Location and scale by which each domain is standardized; of the features less
        what the covariates explain. Those of the covariates are the same in all rows.
    common_location_, common_scale_ : ndarray of shape (n_features,)
        What they are shrunk toward.
    location_variance_ : ndarray of shape (n_features,)
        Variance :math:`\tau^2` of the locations between domains; infinite with one
        domain.
    scale_dof_ : ndarray of shape (n_features,)
        Degrees of freedom :math:`d_0` that the common scale is worth.
    coef_ : ndarray of shape (n_covariates, n_features)
        Slopes of the features on the covariates; no row without covariates.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.feature.TCA : Features in which the domains look alike.

    Notes
    -----
    This is the location/scale model of the ComBat family [1]_,

    .. math:: x = \alpha + B z + \gamma_k + \delta_k \varepsilon,

    for each feature of domain k with covariates z. B is fitted by least squares within
    domains. With the mean :math:`b_k` and the variance :math:`s_k^2` of the
    :math:`n_k` samples of a domain,

    .. math:: \hat\gamma_k = m + \frac{\tau^2}{\tau^2 + \hat\delta_k^2 / n_k} (b_k - m),
       \qquad \hat\delta_k^2 = \frac{d_0 s_0^2 + d_k s_k^2}{d_0 + d_k},

    with :math:`d_k = n_k - 1`. The prior is shared by the domains, feature by feature:
    :math:`m, \tau^2` by the equation of Paule and Mandel, :math:`s_0^2, d_0` by the
    same equation for :math:`\log s_k^2` [2]_. (ComBat shares it by the features of a
    domain.) Domains that differ no more than by chance get the same location.
    With ``rotate`` the standardized samples of domain k are multiplied by
    :math:`R_k^{-1/2} R^{1/2}`, where R is the mean correlation matrix, and
    :math:`R_k` that of the domain, shrunk toward R by as much as chance explains of
    their squared distances.

    *A domain that fit has not seen* is standardized by the location and scale of the
    samples that ``transform`` gets of it, shrunk in the same way. So give all of its
    samples at once: what they become depends on each other. Without
    ``sample_domain`` samples belong to the (first) target of ``fit``.

    *What it cannot do.* Domains with other shares of the classes differ in location
    rightly. Centering takes that away, too: a domain of one class ends where the
    others are. Missing values are left out of means and variances and stay missing.

    References
    ----------
    .. [1] W. E. Johnson, C. Li, A. Rabinovic. Adjusting batch effects in microarray
       expression data using empirical Bayes methods. Biostatistics 8(1), 2007.
       :doi:`10.1093/biostatistics/kxj037`
    .. [2] G. K. Smyth. Linear models and empirical Bayes methods for assessing
       differential expression in microarray experiments. Statistical Applications in
       Genetics and Molecular Biology 3(1), 2004. :doi:`10.2202/1544-6115.1027`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.preprocessing import DomainScaler
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(90, 2))
    >>> domain = np.repeat([1, 2, -1], 30)
    >>> X[domain == 2] = 5 + 3 * X[domain == 2]
    >>> scaler = DomainScaler().fit(X, sample_domain=domain)
    >>> Z = scaler.transform(X, sample_domain=domain)
    >>> bool(abs(Z[domain == 2].mean()) < 0.1)
    True

    A site that was not there in ``fit`` is standardized by its own samples.

    >>> new = 8 + 2 * rng.normal(size=(40, 2))
    >>> bool(abs(scaler.transform(new, sample_domain=-7).mean()) < 0.2)
    True
    """

    _parameter_constraints: dict = {
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
        "rotate": ["boolean"],
        "covariates": ["array-like", None],
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        with_mean=True,
        with_std=True,
        rotate=False,
        covariates=None,
        shrinkage="auto",
    ):
        self.with_mean = with_mean
        self.with_std = with_std
        self.rotate = rotate
        self.covariates = covariates
        self.shrinkage = shrinkage

    def _fit_domains(self, data):
        X = data.X.astype(np.float64)
        self._covariates = self._find_covariates(X.shape[1])
        self._check_missing(X)
        self.domains_ = np.concatenate([data.targets, data.sources])
        rows = [data.rows_of(domain) for domain in self.domains_]
        self._fit_covariates(X, rows)
        X = self._without_covariates(X)
        moments = [_moments(X[mask]) for mask in rows]
        self._set_prior(*(np.array(part) for part in zip(*moments, strict=True)))
        places = [self._place(*moment) for moment in moments]
        self.location_, self.scale_ = (np.array(p) for p in zip(*places, strict=True))
        self._maps = None
        if self.rotate and not self._covariates.all():
            self._fit_rotations(X, rows)

    def _find_covariates(self, n_features):
        if self.covariates is None:
            return np.zeros(n_features, dtype=bool)
        known = getattr(self, "feature_names_in_", np.array([], dtype=object)).tolist()
        mask = np.zeros(n_features, dtype=bool)
        for column in self.covariates:
            if isinstance(column, str):
                if column not in known:
                    raise ValueError(
                        f"covariates names {column!r}, which is no column of X."
                    )
                mask[known.index(column)] = True
            elif isinstance(column, int | np.integer) and 0 <= column < n_features:
                mask[column] = True
            else:
                raise ValueError(
                    f"covariates must hold names of columns, or positions from 0 to "
                    f"{n_features - 1}; got {column!r}."
                )
        return mask

    def _check_missing(self, X):
        missing = np.isnan(X)
        if missing[:, self._covariates].any():
            raise ValueError("A covariate contains NaN: fill it in before.")
        if self.rotate and missing.any():
            raise ValueError("rotate=True takes no NaN in X: fill them in before.")

    def _fit_covariates(self, X, rows):
        """Fit the slopes within domains, and what standardizes the covariates."""
        kept = self._covariates
        Z = X[:, kept]
        self._covariate_mean = Z.mean(axis=0)
        spread = Z.std(axis=0)
        self._covariate_spread = np.where(spread > 0, spread, 1.0)
        self.coef_ = np.zeros((Z.shape[1], X.shape[1]))
        if not kept.any():
            return
        inside = np.empty_like(X)
        for j in np.flatnonzero(~kept):
            known = ~np.isnan(X[:, j])
            for mask in rows:
                part = mask & known
                if part.any():
                    inside[part, j] = X[part, j] - X[part, j].mean()
                    inside[np.ix_(part, kept)] = Z[part] - Z[part].mean(axis=0)
            design, target = inside[np.ix_(known, kept)], inside[known, j]
            self.coef_[:, j] = np.linalg.lstsq(design, target, rcond=None)[0]

    def _without_covariates(self, X):
        """Return features less what the covariates explain, covariates standardized."""
        kept = self._covariates
        if not kept.any():
            return X
        centered = X[:, kept] - self._covariate_mean
        X = X - centered @ self.coef_
        X[:, kept] = centered / self._covariate_spread
        return X

    def _set_prior(self, n, means, variances):
        """Set what the domains have in common."""
        dof = np.maximum(n - 1, 0.0)
        common, self.scale_dof_ = variance_prior(variances, dof)
        if self.shrinkage != "auto":
            self.scale_dof_ = np.full(len(common), float(self.shrinkage))
        self.common_scale_ = np.sqrt(np.where(common > 0, common, 1.0))
        posterior = posterior_variance(variances, dof, common, self.scale_dof_)
        errors = np.where(n > 0, posterior / np.maximum(n, 1), np.inf)
        self.common_location_, self.location_variance_ = between_variance(means, errors)
        self.common_location_[self._covariates] = 0.0
        self.common_scale_[self._covariates] = 1.0

    def _place(self, n, mean, variance):
        """Return the location and the scale of a domain from its moments."""
        dof = np.maximum(n - 1, 0.0)
        square = posterior_variance(
            variance, dof, self.common_scale_**2, self.scale_dof_
        )
        if self.shrinkage == "auto":
            between = self.location_variance_
            own = np.where(n > 0, square / np.maximum(n, 1), np.inf)
            share = prior_share(own, between)
            share = np.where(np.isinf(between) & (n > 0), 0.0, share)
        else:
            share = prior_share(float(self.shrinkage), n)
        common = self.common_location_
        location = np.where(n > 0, mean + share * (common - mean), common)
        scale = np.sqrt(np.where(square > 0, square, 1.0))
        fixed_location = self._covariates | (not self.with_mean)
        fixed_scale = self._covariates | (not self.with_std)
        return (
            np.where(fixed_location, common, location),
            np.where(fixed_scale, self.common_scale_, scale),
        )

    def _fit_rotations(self, X, rows):
        """Fit the matrices that make the correlations of the domains alike."""
        free = ~self._covariates
        spreads = []
        for k, mask in enumerate(rows):
            Z = (X[mask] - self.location_[k]) / self.scale_[k]
            spreads.append(_scatter(Z[:, free]))
        dof = np.array([n for n, _ in spreads])
        S = np.array([matrix for _, matrix in spreads])
        weights = dof / max(dof.sum(), 1)
        self._correlation = np.tensordot(weights, S, axes=1)
        known = dof > 0
        by_chance = self._chance(dof)
        excess = np.sum((S - self._correlation) ** 2, axis=(1, 2)) - by_chance
        self._excess = max(float(excess[known].mean()), 0.0) if known.any() else 0.0
        self._maps = [self._rotation(*spread) for spread in spreads]

    def _chance(self, dof):
        """Return how far a correlation matrix is from R by chance, squared."""
        R = self._correlation
        return (np.trace(R) ** 2 + np.sum(R**2)) / np.maximum(dof, 1)

    def _rotation(self, dof, S):
        """Return the matrix for a domain from its degrees of freedom and scatter."""
        R = self._correlation
        if not dof or not self._excess:
            return np.eye(len(R))
        if self.shrinkage == "auto":
            share = prior_share(self._chance(dof), self._excess)
        else:
            share = prior_share(float(self.shrinkage), dof)
        return _power(share * R + (1 - share) * S, -0.5) @ _power(R, 0.5)

    def transform(self, X, sample_domain=None):
        """Standardize samples by location and scale of their domains.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples. All of a domain that ``fit`` has not seen should be among them.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain ids of the samples; ids that ``fit`` has not seen are new domains.
            None: samples of the (first) target.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
            Standardized samples, in input order.
        """
        check_is_fitted(self)
        X = self._validate_X(X, get_tags(self), reset=False)
        if sample_domain is None:
            sample_domain = int(self.domains_[0])
        domain = check_sample_domain(sample_domain, _num_samples(X))
        return self._transform(X, domain)

    def _transform(self, X, domain):
        rows = X.astype(np.float64)
        self._check_missing(rows)
        plain = self._without_covariates(rows)
        Z = np.empty_like(plain)
        for k in np.unique(domain):
            mask = domain == k
            Z[mask] = self._standardize(plain[mask], int(k))
        if self._covariates.any():
            centered = rows[:, self._covariates] - self._covariate_mean
            Z += centered @ (self.coef_ / self.common_scale_)
        return Z.astype(X.dtype, copy=False)

    def _standardize(self, X, domain):
        place = np.flatnonzero(self.domains_ == domain)
        if len(place):
            location, scale = self.location_[place[0]], self.scale_[place[0]]
        else:
            location, scale = self._place(*_moments(X))
        Z = (X - location) / scale
        if self._maps is not None:
            free = ~self._covariates
            inside = Z[:, free]
            rotation = (
                self._maps[place[0]]
                if len(place)
                else self._rotation(*_scatter(inside))
            )
            Z[:, free] = inside @ rotation
        return Z

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = not self.rotate
        tags.target_tags.multi_output = True  # labels are not used
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.multi_target = True
        tags.transfer_tags.unseen_domain = True
        return tags


def _moments(X):
    """Return number, mean and variance of the known values of each column."""
    known = ~np.isnan(X)
    n = known.sum(axis=0).astype(np.float64)
    center = np.where(known, X, np.inf).min(axis=0, initial=np.inf)
    center = np.where(np.isfinite(center), center, 0.0)  # keeps digits far from 0
    inside = np.where(known, X - center, 0.0)
    mean = inside.sum(axis=0) / np.maximum(n, 1)
    squares = np.where(known, (inside - mean) ** 2, 0.0).sum(axis=0)
    variance = squares / np.maximum(n - 1, 1)
    # a variance below rounding is none: the values are constant
    constant = variance <= (_ROUNDING * np.abs(center + mean)) ** 2
    return n, center + mean, np.where(constant, 0.0, variance)


def _scatter(Z):
    """Return the degrees of freedom of samples and their covariance matrix."""
    dof = max(len(Z) - 1, 0)
    centered = Z - Z.mean(axis=0)
    return dof, centered.T @ centered / max(dof, 1)


def _power(matrix, exponent):
    """Return a power of a covariance matrix, whose eigenvalues are kept from 0."""
    values, vectors = np.linalg.eigh(matrix)
    least = _LEAST_EIGENVALUE * max(values.mean(), _LEAST_EIGENVALUE)
    return (vectors * np.maximum(values, least) ** exponent) @ vectors.T
