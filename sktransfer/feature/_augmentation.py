"""Feature augmentation."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse

from sktransfer._compat import Interval, _check_feature_names_in
from sktransfer._domains import is_source
from sktransfer._solvers.augmentation import agreement_roots
from sktransfer._solvers.low_rank import fit_landmarks
from sktransfer.base import KernelParametersMixin, TransferTransformer
from sktransfer.exceptions import DomainError

__all__ = ["FeatureAugmentation"]


class FeatureAugmentation(KernelParametersMixin, TransferTransformer):
    r"""Feature augmentation: a shared copy of the features and one for each domain.

    A linear learner on the augmented samples has weights that all domains share and
    corrections for each domain, and its penalty decides how much is shared. Labeled
    target samples are what makes the target's corrections known.

    Parameters
    ----------
    kernel : str or callable, default="linear"
        "linear" augments the features themselves. Any other kernel ("rbf", "poly",
        "sigmoid", "laplacian", "cosine", or a callable that takes two samples)
        augments features whose inner product is the kernel.
    agreement : float in [0, inf), default=0.0
        Weight of the semi-supervised penalty: the mean squared difference between
        predictions of each source's model and the target's model on the target
        samples, labeled or not, is added to the squared norm of the weights.
    per_source : bool, default=True
        True: each source has a copy of its own. False: all sources share one.
    gamma : {"median", "scale"}, float in (0, inf) or None, default="median"
        Width of the kernel. "median": one over the median squared distance of all
        samples; "scale": one over n_features times the variance; None:
        1 / n_features.
    degree : float in [1, inf), default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further arguments of a callable kernel.
    n_landmarks : int in [1, inf), default=500
        Samples that the kernel's features are built on. The kernel is exact where
        there are no more samples than that.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks.

    Attributes
    ----------
    source_ids_ : ndarray of shape (n_sources,)
        Sources seen in ``fit``, in the order of their copies.
    landmarks_ : LandmarkMap or None
        The kernel's features; None for the linear kernel.
    gamma_ : float or None
        The width that was used.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.baselines.Pooled : ``add_domain=True`` adds an intercept of each domain.
    sktransfer.multisource.ARMUL : Shares coefficients between tasks by a penalty.

    Notes
    -----
    With features :math:`\phi` a sample of source k becomes :math:`(\phi, 0, .., \phi,
    .., 0)` and a target sample :math:`(\phi, 0, .., 0, \phi)` [1]_. The inner products
    are :math:`2 k(x, z)` within a domain and :math:`k(x, z)` between domains, which is
    the kernel form: a linear learner with an L2 penalty on the augmented samples is
    the kernel learner. With `agreement` :math:`\gamma > 0` the augmented samples are
    multiplied with :math:`(I + \gamma M)^{-1/2}`, where :math:`w'Mw` is the mean
    squared disagreement [2]_; as it grows, all domains get the same model. Without a
    source there is the shared copy and the target's.

    References
    ----------
    .. [1] H. Daume III. Frustratingly easy domain adaptation. ACL, 2007.
       :arxiv:`0907.1815`
    .. [2] A. Kumar, A. Saha, H. Daume III. Co-regularization based semi-supervised
       domain adaptation. NeurIPS, 2010.

    Examples
    --------
    >>> from sktransfer.feature import FeatureAugmentation
    >>> augmentation = FeatureAugmentation()
    >>> X, domain = [[1.0], [2.0], [3.0]], [1, 2, -1]
    >>> augmentation.fit_transform(X, sample_domain=domain)
    array([[1., 1., 0., 0.],
           [2., 0., 2., 0.],
           [3., 0., 0., 3.]])
    >>> augmentation.get_feature_names_out().tolist()
    ['common_x0', 'source1_x0', 'source2_x0', 'target_x0']
    """

    _parameter_constraints: dict = {
        **KernelParametersMixin._kernel_constraints,
        "agreement": [Interval(Real, 0, None, closed="left")],
        "per_source": ["boolean"],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernel="linear",
        *,
        agreement=0.0,
        per_source=True,
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
        n_landmarks=500,
        random_state=0,
    ):
        self.kernel = kernel
        self.agreement = agreement
        self.per_source = per_source
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def _fit_domains(self, data):
        self.source_ids_ = data.sources
        options = self._kernel_options(data.X)
        self.landmarks_ = None
        if self.kernel != "linear":
            self.landmarks_ = fit_landmarks(
                data.X, self.n_landmarks, random_state=self.random_state, **options
            )
        self._roots = None
        if self.agreement > 0 and self._n_blocks > 1:
            phi = self._features(data.X_target)
            second = phi.T @ phi
            second = second.toarray() if sparse.issparse(second) else second
            second = np.asarray(second, dtype=np.float64) / phi.shape[0]
            self._roots = agreement_roots(second, self.agreement, self._n_blocks - 1)

    @property
    def _n_blocks(self):
        n_sources = len(self.source_ids_)
        return 1 + (n_sources if self.per_source else min(n_sources, 1))

    def _features(self, X):
        if self.landmarks_ is None:
            return X
        return np.ascontiguousarray(self.landmarks_.transform(X).T)

    def _blocks_of(self, sample_domain):
        """Return the position of each sample's own copy; the target's is the last."""
        blocks = np.full(len(sample_domain), self._n_blocks - 1)
        source = is_source(sample_domain)
        named = np.unique(sample_domain[source])
        unknown = np.setdiff1d(named, self.source_ids_) if self.per_source else []
        if len(unknown) or (len(named) and not len(self.source_ids_)):
            raise DomainError(
                f"sample_domain names the sources {named.tolist()}, but fit saw "
                f"{self.source_ids_.tolist()}: there is no copy of the features for "
                "the others."
            )
        blocks[source] = 0
        if self.per_source and len(named):
            blocks[source] = np.searchsorted(self.source_ids_, sample_domain[source])
        return blocks

    def _transform_domains(self, X, sample_domain):
        blocks = self._blocks_of(sample_domain)
        phi = self._features(X)
        if self._roots is None:
            copies = [phi]
            for block in range(self._n_blocks):
                own = (blocks == block).astype(phi.dtype)
                sparse_own = sparse.issparse(phi)
                copies.append(
                    sparse.diags_array(own) @ phi if sparse_own else own[:, None] * phi
                )
            if sparse.issparse(phi):
                return sparse.hstack(copies, format="csr", dtype=X.dtype)
            return np.hstack(copies).astype(X.dtype, copy=False)
        width = phi.shape[1]
        out = np.zeros((phi.shape[0], width * (1 + self._n_blocks)), dtype=X.dtype)
        out[:, :width] = phi.toarray() if sparse.issparse(phi) else phi
        for projection, root in self._roots:
            part = phi @ root
            for block in range(self._n_blocks):
                columns = slice(width * (1 + block), width * (2 + block))
                out[:, columns] += projection[block, blocks][:, None] * part
        return out

    def get_feature_names_out(self, input_features=None):
        """Return the names of the augmented features.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features; None: those seen in ``fit``.

        Returns
        -------
        names : ndarray of str
            One name per column: copy and feature.
        """
        features = _check_feature_names_in(self, input_features)
        if self.landmarks_ is not None:
            features = [f"landmark{i}" for i in range(self.landmarks_.rank)]
        sources = [f"source{source}" for source in self.source_ids_]
        if not self.per_source:
            sources = ["source"] * min(len(sources), 1)
        copies = ["common", *sources, "target"]
        return np.array([f"{c}_{f}" for c in copies for f in features], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True  # labels are not used
        tags.transfer_tags.target_labels = "unused"
        uses_rows = self.agreement > 0 or self.kernel != "linear"
        tags.transfer_tags.uses_unlabeled = uses_rows
        return tags
