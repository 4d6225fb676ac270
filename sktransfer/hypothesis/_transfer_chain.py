"""A chain of sources: from far to near, each model the hypothesis of the next."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from sktransfer._compat import StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import HasLearnerMethods
from sktransfer._source_models import given_entries, is_fitted
from sktransfer.base import (
    TransferMetaEstimator,
    consumes_sample_domain,
    fit_on_domains,
    get_transfer_tags,
    slice_params,
    without_sources,
)
from sktransfer.metrics._path import find_path

__all__ = ["TransferChain"]


class TransferChain(TransferMetaEstimator):
    r"""Go from a distant source over bridges to the target.

    The model of the farthest source is the hypothesis that the next source corrects,
    and so on; the target corrects the model of the nearest one. A bridge helps where a
    source predicts the target badly and the bridge well, and the bridge predicts the
    target well.

    Parameters
    ----------
    estimator : estimator
        What a link is: an estimator that takes ``source_models``, such as
        :class:`SecureRLS` or :class:`SecureLogistic`. Its own ``source_models`` begin
        the chain: a learner, or the default, is fitted on the first source, and fitted
        models come before it.
    path : "auto" or array-like of int, default="auto"
        Ids of the sources in their order, the nearest to the target last; sources
        that it lacks are left out. "auto": descending maximum mean discrepancy to the
        target.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples of more than 500 rows, of which the discrepancy is taken.

    Attributes
    ----------
    estimator_ : estimator
        The link that ends at the target.
    links_ : list of estimator
        The fitted links; the last is ``estimator_``.
    path_ : list of int
        Ids of the sources in their order.
    distances_ : dict of int to float
        Squared discrepancy of each source to the target; empty for a given path and
        for less than two sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.pseudo_label.GradualSelfTraining : A way without labels of the target.
    sktransfer.multisource.SourceSelector : Leave far sources out.

    Notes
    -----
    With the link :math:`L(h; D)`, which corrects the hypothesis h by the rows D,

    .. math:: h_1 = L(h_0; S_{(1)}),\quad h_2 = L(h_1; S_{(2)}),\quad \ldots,\quad
        h_T = L(h_K; T_l),

    with :math:`h_0` the learner of ``source_models``, fitted on :math:`S_{(1)}` (then
    :math:`h_1 = h_0`), or a model that was given. The survey [1]_ describes such a
    chain from pictures over lights at night to poverty [2]_ with nets; here it is
    for any link. One source: the chain is the link itself. The order matters: each
    link forgets a part of those before.

    Without a labeled target row the chain ends at the nearest of several sources, if
    the link takes such data, as :class:`SecureLogistic` does.

    The discrepancy compares features in units of their standard deviation over all
    rows. It does not see labels: a source with the target's features and other rules
    is near.

    References
    ----------
    .. [1] W. Zhang, L. Deng, L. Zhang, D. Wu. A survey on negative transfer. IEEE/CAA
       Journal of Automatica Sinica 10, 2023. :doi:`10.1109/JAS.2022.106004`
    .. [2] M. Xie, N. Jean, M. Burke, D. Lobell, S. Ermon. Transfer learning from deep
       features for remote sensing and poverty mapping. AAAI, 2016. arXiv:1510.00098

    Examples
    --------
    The slopes 0, 1, 2 belong to a far source, a bridge and the target.

    >>> import numpy as np
    >>> from sktransfer.hypothesis import SecureRLS, TransferChain
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat([1, 2, -1], [60, 60, 6])
    >>> place = np.repeat([0.0, 1.0, 2.0], [60, 60, 6])
    >>> X = rng.normal(size=(126, 3)) + place[:, None]
    >>> y = place * X[:, 0]
    >>> chain = TransferChain(SecureRLS()).fit(X, y, sample_domain=domain)
    >>> chain.path_, len(chain.links_)
    ([1, 2], 2)
    """

    _parameter_constraints: dict = {
        "estimator": [HasLearnerMethods(["fit", "predict"])],
        "path": [StrOptions({"auto"}), "array-like"],
        "random_state": ["random_state"],
    }
    _routed_methods = ("fit",)

    def __init__(self, estimator, *, path="auto", random_state=0):
        super().__init__(estimator)
        self.path = path
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        _check_link(self.estimator)
        params = {k: v for k, v in fit_params.items() if k != "sample_domain"}
        self.path_ = self._find_path(data)
        self.links_ = []
        stops = [*self.path_, int(data.targets[0])]
        if not data.n_labeled and len(self.path_) > 1:
            stops.pop()  # no label corrects the model of the nearest source
        given = given_entries(self.estimator.source_models)
        if len(stops) == 1 or (given and all(is_fitted(model) for model in given)):
            self._add_link(clone(self.estimator), data, stops[0], params)
        else:
            pair = data.as_pair(stops[0], stops[1])
            rows = np.isin(data.sample_domain, stops[:2])
            link = fit_on_domains(
                clone(self.estimator), pair, **slice_params(params, rows)
            )
            self.links_.append(link)
        done = len(self.links_) + (len(stops) > 1 and not self._starts_alone(given))
        for stop in stops[done:]:
            following = clone(self.estimator).set_params(source_models=self.links_[-1])
            self._add_link(following, data, stop, params)
        return self.links_[-1]

    @staticmethod
    def _starts_alone(given):
        return bool(given) and all(is_fitted(model) for model in given)

    def _add_link(self, link, data, stop, params):
        """Fit an unfitted link on the rows of one domain, which is its target."""
        rows = data.rows_of(stop)
        own = slice_params(params, rows)
        if data.labeled[rows].all():  # labels at face value, whatever they are
            link.fit(take_rows(data.X, rows), data.labels(rows), **own)
        else:
            fit_on_domains(link, data.as_pair(stop, stop), **own)
        self.links_.append(link)

    def _find_path(self, data):
        X = self._numeric_rows(data.X) if self._is_auto() else data.X
        rng = check_random_state(self.random_state)
        path, self.distances_ = find_path(self.path, data, X, rng)
        return path

    @available_if(lambda self: hasattr(self.estimator, "without_sources"))
    def without_sources(self):
        r"""Return the unfitted :math:`\theta(0,T)`: the link without fitted models.

        Returns
        -------
        target_only : estimator
            A copy whose link has no source model.
        """
        return clone(self).set_params(estimator=without_sources(self.estimator))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            inner = get_transfer_tags(self.estimator)
        except TypeError:  # a plain estimator: fit refuses it by name
            return tags
        tags.transfer_tags.target_labels = inner.target_labels
        tags.transfer_tags.source_free = inner.source_free
        tags.transfer_tags.classification = inner.classification
        tags.transfer_tags.regression = inner.regression
        tags.transfer_tags.uses_unlabeled = self._is_auto() or inner.uses_unlabeled
        return tags

    def _is_auto(self):
        return isinstance(self.path, str)


def _check_link(estimator):
    if not consumes_sample_domain(estimator) or "source_models" not in (
        estimator.get_params(deep=False)
    ):
        raise TypeError(
            f"estimator={estimator!r} takes no source_models, of which a chain is "
            "made. Use SecureRLS() or SecureLogistic() of sktransfer.hypothesis."
        )
