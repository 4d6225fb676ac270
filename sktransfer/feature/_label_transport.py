"""Labels that reach the target by optimal transport: propagation, JDOT and JCPOT."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._learners import fit_learner, name_samples, predict_learner
from sktransfer._response import CommonColumns
from sktransfer._solvers.kernels import order_free_sample
from sktransfer._solvers.transport import (
    class_plan,
    entropic_plan,
    exact_plan,
    joint_class_shares,
    squared_distances,
)
from sktransfer.base import TransferMetaEstimator, missing_hook, slice_params
from sktransfer.exceptions import CapabilityError, warn

__all__ = ["JCPOT", "JDOT", "OTLabelPropagation"]

#: masses of a class at a target row below this share come from rounding
_NO_MASS = 1e-9


class LabelTransport(TransferMetaEstimator):
    """Template: a learner is fitted on target samples with labels from the sources.

    The hook ``_transport(problem)`` returns the labels that reach the target samples,
    in the columns of the problem, and may set fitted attributes.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor.
    """

    _parameter_constraints: dict = {
        **TransferMetaEstimator._parameter_constraints,
        "reg": [Interval(Real, 0, None, closed="left")],
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def _transport(self, problem):
        """Return the labels of target samples, shape (n_target, n_columns)."""
        raise missing_hook(self, "_transport(problem)")

    def _fit_estimator(self, data, fit_params):
        if not data.n_source:
            return self._fit_target_only(data, fit_params)
        problem = _Problem(self, data, fit_params)
        labels = self._transport(problem)
        model = problem.fit(labels)
        self.transduction_ = problem.columns.decide(
            problem.columns.answer(model, data.X_target)
        )
        self.transduction_[problem.target_positions] = problem.columns.decide(labels)
        return model

    def _fit_target_only(self, data, fit_params):
        rows = data.labeled
        self.transduction_ = data.labels(rows) if rows.all() else None
        self._without_plan()
        model = fit_learner(
            self.estimator,
            data.X_labeled,
            data.y_labeled,
            samples=name_samples(data, rows),
            **slice_params(fit_params, rows),
        )
        if self.transduction_ is None:
            self.transduction_ = predict_learner(model, data.X_target)
            self.transduction_[rows[data.is_target]] = data.y_labeled
        return model

    def _without_plan(self):
        """Set the fitted attributes of a fit without sources."""
        self.residual_, self.n_iter_ = 0.0, 0

    def _restore_rows(self, data, kept):
        labels = predict_learner(self.estimator_, data.X_target)
        labels[kept[data.is_target]] = self.transduction_
        self.transduction_ = labels

    def _warn_unless(self, good, residual):
        if not good:
            warn(
                f"{type(self).__name__} stopped early: the coupling misses its "
                f"marginals by {residual:.1e} (tol={self.tol:g}). Raise reg or "
                "max_iter, or scale X.",
                ConvergenceWarning,
            )

    def _couple(self, cost, problem, max_iter, tol):
        """Return the plan of a cost, exact or entropic."""
        if self.reg == 0:
            return exact_plan(cost, problem.a, problem.b)
        return entropic_plan(
            cost,
            self.reg * (float(cost.mean()) or 1.0),
            problem.a,
            problem.b,
            max_iter=max_iter,
            tol=tol,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.target_tags.multi_output = False
        tags.transfer_tags.uses_unlabeled = True
        return tags


class _Problem:
    """The coupled samples of a fit, their masses, labels and costs.

    Parameters
    ----------
    owner : LabelTransport
        The estimator that is fitted.
    data : DomainData
        Rows of sources and target.
    fit_params : dict
        Metadata, one entry per row.
    """

    def __init__(self, owner, data, fit_params):
        X = owner._numeric_rows(data.X)
        self.owner, self.data, self.params = owner, data, dict(fit_params)
        weight = self.params.get("sample_weight")
        self.weight = np.ones(len(data.labeled)) if weight is None else weight
        self.source, self.target = (
            self._draw(X, rows) for rows in (data.is_source, data.is_target)
        )
        self.X_source, self.X_target = (
            take_rows(X, rows) for rows in (self.source, self.target)
        )
        self.a, self.b = (
            self.weight[rows] / self.weight[rows].sum()
            for rows in (self.source, self.target)
        )
        self.y_source = data.labels(data.mask_of(self.source))
        self.y_source = self.y_source[np.argsort(np.argsort(self.source))]
        classes = None
        if is_classifier(owner.estimator):
            classes = np.unique(data.labels(data.labeled))
        self.columns = CommonColumns(classes)
        self.coded = self.columns.code(self.y_source)
        self.known = data.labeled[self.target]
        self.own = np.zeros((len(self.target), self.coded.shape[1]))
        if self.known.any():
            rows = self.target[self.known]
            labels = data.labels(data.mask_of(rows))[np.argsort(np.argsort(rows))]
            self.own[self.known] = self.columns.code(labels)

    def _draw(self, X, mask):
        rows = np.flatnonzero(mask)
        sample = order_free_sample(
            take_rows(X, rows), self.owner.max_samples, self.owner.random_state
        )
        return rows[sample]

    @property
    def target_positions(self):
        """Positions of the coupled samples among the target samples."""
        return np.searchsorted(np.flatnonzero(self.data.is_target), self.target)

    def distances(self):
        """Return squared distances in units of their mean."""
        cost = squared_distances(self.X_source, self.X_target)
        scale = float(cost.mean()) or 1.0
        return cost / scale

    def carry(self, coupling):
        """Return the mean label that reaches each target sample, or its own."""
        masses = np.maximum(coupling.sum(axis=0), np.finfo(float).tiny)
        labels = coupling.T @ self.coded / masses[:, None]
        labels[self.known] = self.own[self.known]
        return labels

    def label_cost(self, model):
        """Return the squared loss of each pair, per column's variance."""
        columns = self.columns
        if columns.classes is not None and hasattr(model, "predict_proba"):
            columns = CommonColumns(columns.classes, "predict_proba")
        answers = columns.answer(model, take_rows(self.data.X, self.target))
        answers[self.known] = self.own[self.known]
        cost = squared_distances(self.coded, answers)
        if columns.classes is None:
            cost = cost / (float(self.coded.var(axis=0).sum()) or 1.0)
        return cost

    def initial_model(self):
        """Return the learner fitted on the labeled samples of all domains."""
        rows = self.data.labeled
        return fit_learner(
            self.owner.estimator,
            take_rows(self.data.X, rows),
            self.data.labels(rows),
            samples=name_samples(self.data, rows),
            **slice_params(self.params, rows),
        )

    def fit(self, labels):
        """Return the learner fitted on target samples with these labels."""
        rows, weight, y = self.target, None, None
        if self.columns.classes is None:
            y = labels[:, 0]
            weighted = "sample_weight" in self.params
            weight = self.weight[rows] if weighted else None
        else:
            pairs = np.argwhere(labels > _NO_MASS)
            y = self.columns.classes[pairs[:, 1]]
            weight = labels[pairs[:, 0], pairs[:, 1]] * self.weight[rows[pairs[:, 0]]]
            rows = rows[pairs[:, 0]]
            if np.ptp(weight) < 1e-6 and len(rows) == len(labels):
                weight = None  # every sample has one class
        params = slice_params_at(self.params, rows, len(self.data.labeled))
        return fit_learner(
            self.owner.estimator,
            take_rows(self.data.X, rows),
            y,
            method_weight=weight,
            samples="the labels that reach the target",
            **params,
        )


def slice_params_at(params, rows, n_samples):
    """Return metadata but for ``sample_weight`` at some rows, which may repeat."""
    return {
        name: take_rows(value, rows)
        if hasattr(value, "__len__") and len(value) == n_samples
        else value
        for name, value in params.items()
        if name != "sample_weight"
    }


class OTLabelPropagation(LabelTransport):
    r"""Label propagation by optimal transport.

    Source and target samples are coupled; each target sample gets the labels of the
    source samples that it is coupled with, and the learner is fitted on the target
    samples. Labeled ones keep their own label.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor. A classifier gets a target sample that several classes
        reach once for each, weighted by their shares, and must take ``sample_weight``
        then.
    reg : float in [0, inf), default=0.05
        Strength of the entropy term relative to the mean cost. 0: exact transport.
    class_reg : float in [0, inf), default=0.0
        Strength, relative to the mean cost, of the penalty that keeps different
        classes from reaching the same target sample; it needs `reg` > 0 and a
        classifier.
    class_penalty : {"group_lasso", "lp_l1"}, default="group_lasso"
        Form of that penalty, see :class:`OptimalTransportMap`.
    max_samples : int in [2, inf), default=2000
        A domain with more samples is represented by a random sample of this size: the
        learner is fitted on the target samples in it.
    max_iter : int in [1, inf), default=5000
        Largest number of Sinkhorn iterations.
    tol : float in (0, inf), default=1e-6
        Largest violation of the marginals.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples.

    Attributes
    ----------
    transduction_ : ndarray of shape (n_target,)
        Labels that reach the target samples, in input order: the class of the largest
        share or the mean value; predictions of the learner for samples that were not
        coupled.
    estimator_ : estimator
        The fitted learner.
    residual_ : float
        Violation of the marginals; 0 without sources.
    n_iter_ : int
        Iterations over the class penalty: 1 without one, 0 without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the coupling misses its marginals by more than ten times `tol`.

    See Also
    --------
    JDOT : Couples features and labels at once.
    JCPOT : Estimates the shares of the classes, too.
    OptimalTransportMap : Moves the samples instead of the labels.

    Notes
    -----
    With the coupling :math:`\pi` of least :math:`\sum_{ij} \pi_{ij} \lVert x_i - z_j
    \rVert^2` (plus entropy and penalty) target sample j gets the labels :math:`\sum_i
    \pi_{ij} y_i / \sum_i \pi_{ij}` [1]_. All mass moves, so the target gets the class
    shares of the sources; where they differ, :class:`JCPOT` fits them.
    ``sample_weight`` is the mass of a sample.

    References
    ----------
    .. [1] J. Solomon, R. Rustamov, L. Guibas, A. Butscher. Wasserstein propagation for
       semi-supervised learning. ICML, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.feature import OTLabelPropagation
    >>> X = np.r_[np.linspace(0, 1, 10), np.linspace(5, 6, 10)][:, None]
    >>> y = np.r_[np.repeat([0.0, 1.0], 5), np.full(10, np.nan)]
    >>> domain = np.repeat([1, -1], 10)
    >>> model = OTLabelPropagation(LogisticRegression(C=100.0))
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> model.transduction_.tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    """

    _parameter_constraints: dict = {
        **LabelTransport._parameter_constraints,
        "class_reg": [Interval(Real, 0, None, closed="left")],
        "class_penalty": [StrOptions({"group_lasso", "lp_l1"})],
    }

    def __init__(
        self,
        estimator,
        *,
        reg=0.05,
        class_reg=0.0,
        class_penalty="group_lasso",
        max_samples=2000,
        max_iter=5000,
        tol=1e-6,
        random_state=0,
    ):
        super().__init__(estimator)
        self.reg = reg
        self.class_reg = class_reg
        self.class_penalty = class_penalty
        self.max_samples = max_samples
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        if self.class_reg > 0 and (self.reg == 0 or not is_classifier(self.estimator)):
            raise ValueError(
                f"class_reg={self.class_reg} needs entropic transport of classes: set "
                "reg > 0 and give a classifier."
            )
        return super()._fit_estimator(data, fit_params)

    def _transport(self, problem):
        cost = problem.distances()
        if self.class_reg > 0:
            plan = class_plan(
                cost,
                self.reg,
                problem.y_source,
                self.class_reg,
                self.class_penalty,
                problem.a,
                problem.b,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        else:
            plan = self._couple(cost, problem, self.max_iter, self.tol)
        self.residual_, self.n_iter_ = plan.residual, plan.n_iter
        good = plan.converged and plan.residual <= 10 * self.tol
        self._warn_unless(good, plan.residual)
        return problem.carry(plan.coupling)


class JDOT(LabelTransport):
    r"""Joint distribution optimal transport, for classes and real labels.

    Source samples with their labels are coupled with target samples with predictions
    of the learner; the learner is fitted to the labels that reach the target samples;
    and so on in turn. Labeled target samples keep their own label.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor. A classifier gets a target sample that several classes
        reach once for each, weighted by their shares, and must take ``sample_weight``
        then.
    label_weight : float in [0, inf], default=1.0
        Weight of the loss of the labels beside the distance of the features, each in
        units of its mean and variance. 0: label propagation; infinity: the features
        do not count in the coupling.
    reg : float in [0, inf), default=0.0
        Strength of the entropy term relative to the mean cost. 0: exact transport, as
        in the paper.
    max_iter : int in [1, inf), default=10
        Largest number of couplings.
    max_samples : int in [2, inf), default=1000
        A domain with more samples is represented by a random sample of this size: the
        learner is fitted on the target samples in it.
    max_sinkhorn : int in [1, inf), default=5000
        Largest number of Sinkhorn iterations of one coupling; exact transport needs
        none.
    tol : float in (0, inf), default=1e-4
        The couplings end where the objective falls by no more than this share.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        Cost of each coupling; empty without sources.
    transduction_ : ndarray of shape (n_target,)
        Labels that reach the target samples, in input order; predictions of the
        learner for samples that were not coupled.
    estimator_ : estimator
        The fitted learner.
    n_iter_ : int
        Number of couplings; 0 without sources.
    residual_ : float
        Violation of the marginals; 0 without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If `max_iter`, other than 1, ends the couplings while the objective falls.

    See Also
    --------
    OTLabelPropagation : One coupling by features alone.
    OptimalTransportMap : Moves the samples instead of the labels.

    Notes
    -----
    .. math:: \min_{\pi, f} \sum_{ij} \pi_{ij} \left( \frac{\lVert x_i - z_j \rVert^2}
        {\overline{\lVert x - z \rVert^2}} + \lambda\, \ell(y_i, f(z_j)) \right)

    with the squared loss of values over their variance, or of class indicators and
    probabilities (votes of a learner without probabilities) [1]_. For a fixed coupling
    a regressor is fitted to the mean values :math:`\sum_i \pi_{ij} y_i / \sum_i
    \pi_{ij}`, which minimizes the objective for least squares; a classifier to the
    shares of the classes. The first coupling is that of features and of a model that
    was fitted on all labeled samples. The objective does not rise: the couplings end
    where it would.

    References
    ----------
    .. [1] N. Courty, R. Flamary, A. Habrard, A. Rakotomamonjy. Joint distribution
       optimal transportation for domain adaptation. NeurIPS, 2017.
       :arxiv:`1705.08848`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.feature import JDOT
    >>> x = np.linspace(0, 1, 30)
    >>> X = np.r_[x, x + 2][:, None]
    >>> y = np.r_[x, np.full(30, np.nan)]
    >>> domain = np.repeat([1, -1], 30)
    >>> model = JDOT(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> model.predict([[2.5]]).round(2)
    array([0.5])
    """

    _parameter_constraints: dict = {
        **LabelTransport._parameter_constraints,
        "label_weight": [Interval(Real, 0, None, closed="both")],
        "max_sinkhorn": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        *,
        label_weight=1.0,
        reg=0.0,
        max_iter=10,
        max_samples=1000,
        max_sinkhorn=5000,
        tol=1e-4,
        random_state=0,
    ):
        super().__init__(estimator)
        self.label_weight = label_weight
        self.reg = reg
        self.max_iter = max_iter
        self.max_samples = max_samples
        self.max_sinkhorn = max_sinkhorn
        self.tol = tol
        self.random_state = random_state

    def _without_plan(self):
        super()._without_plan()
        self.objective_ = np.empty(0)

    def _transport(self, problem):
        distances = problem.distances()
        model, best, objectives = problem.initial_model(), None, []
        for _ in range(self.max_iter):
            cost = self._cost(distances, problem.label_cost(model))
            plan = self._couple(cost, problem, self.max_sinkhorn, 1e-6)
            value = float(np.sum(plan.coupling * cost))
            fallen = not objectives or value < objectives[-1] * (1 - self.tol)
            objectives.append(value)
            if best is None or value <= min(objectives):
                best = plan
            if not fallen:
                break
            if len(objectives) < self.max_iter:
                model = problem.fit(problem.carry(plan.coupling))
        if fallen and self.max_iter > 1:
            warn(
                f"JDOT stopped after max_iter={self.max_iter} couplings while its "
                f"objective still fell to {value:.4g}: raise max_iter or tol.",
                ConvergenceWarning,
            )
        self.objective_, self.n_iter_ = np.array(objectives), len(objectives)
        self.residual_ = best.residual
        return problem.carry(best.coupling)

    def _cost(self, distances, loss):
        if self.label_weight == np.inf:
            return loss
        return distances + self.label_weight * loss


class JCPOT(LabelTransport):
    r"""Joint class proportions by optimal transport: several sources, label shift.

    The shares of the classes on the target are fitted such that couplings of all
    sources with the target agree on them; then labels propagate along these couplings
    and the learner is fitted on the target samples.

    Parameters
    ----------
    estimator : estimator
        Classifier that takes ``sample_weight``: it gets a target sample that several
        classes reach once for each, weighted by their shares.
    reg : float in (0, inf), default=0.05
        Strength of the entropy term relative to the mean cost.
    max_samples : int in [2, inf), default=2000
        A domain with more samples is represented by a random sample of this size: the
        learner is fitted on the target samples in it.
    max_iter : int in [1, inf), default=5000
        Largest number of iterations.
    tol : float in (0, inf), default=1e-6
        Change of the shares at which the iterations end.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples.

    Attributes
    ----------
    target_shares_ : ndarray of shape (n_classes,)
        Shares of the classes on the target, of sum 1; those of its labels without
        sources.
    transduction_ : ndarray of shape (n_target,)
        Classes that reach the target samples, in input order; predictions of the
        learner for samples that were not coupled.
    estimator_ : estimator
        The fitted learner.
    residual_ : float
        Violation of the target's marginals; 0 without sources.
    n_iter_ : int
        Iterations; 0 without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Raises
    ------
    CapabilityError
        If a source has no sample of a class.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` ends the iterations.

    See Also
    --------
    OTLabelPropagation : Takes the shares from the sources.
    sktransfer.instance.LabelShiftClassifier : Label shift by predictions.

    Notes
    -----
    .. math:: \min_{h, \pi_1, .., \pi_K} \sum_k \langle \pi_k, C_k \rangle + \epsilon
        \sum_{ij} \pi_{k,ij} \log \pi_{k,ij}

    where in :math:`\pi_k` the samples of class c of source k have the mass
    :math:`h_c` [1]_. The labels that reach a target sample are averaged over the
    sources. Labels of the target count where labels are propagated, not in h.

    References
    ----------
    .. [1] I. Redko, N. Courty, R. Flamary, D. Tuia. Optimal transport for multi-source
       domain adaptation under target shift. AISTATS, 2019. :arxiv:`1803.04899`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.feature import JCPOT
    >>> rng = np.random.RandomState(0)
    >>> label = np.repeat([0, 1, 0, 1, 0, 1], [20, 20, 10, 30, 50, 10])
    >>> X = (10.0 * label + rng.normal(size=140))[:, None]
    >>> domain = np.repeat([1, 2, -1], [40, 40, 60])
    >>> y = np.where(domain > 0, label, np.nan)
    >>> model = JCPOT(LogisticRegression()).fit(X, y, sample_domain=domain)
    >>> model.target_shares_.round(2)
    array([0.83, 0.17])
    """

    _parameter_constraints: dict = {
        **LabelTransport._parameter_constraints,
        "reg": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator,
        *,
        reg=0.05,
        max_samples=2000,
        max_iter=5000,
        tol=1e-6,
        random_state=0,
    ):
        super().__init__(estimator)
        self.reg = reg
        self.max_samples = max_samples
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        if not is_classifier(self.estimator):
            raise TypeError(
                f"estimator={self.estimator!r} must be a classifier: JCPOT fits shares "
                "of classes."
            )
        if data.n_source:
            self._check_classes(data)
        model = super()._fit_estimator(data, fit_params)
        if not data.n_source:
            counts = CommonColumns(model.classes_).code(data.y_labeled)
            self.target_shares_ = counts.mean(axis=0)
        return model

    def _check_classes(self, data):
        classes = np.unique(data.labels(data.labeled))
        for source, _, y in data.each_source():
            missing = np.setdiff1d(classes, y)
            if len(missing):
                raise CapabilityError(
                    f"Source {source} has no sample of the classes {missing.tolist()}, "
                    "but JCPOT couples every class of every source with the target: "
                    "leave the source or the class out."
                )

    def _transport(self, problem):
        cost = problem.distances()
        ids = problem.data.sample_domain[problem.source]
        costs, members = [], []
        for source in np.unique(ids):
            rows = ids == source
            mass = problem.coded[rows] * problem.a[rows][:, None]
            if not mass.sum(axis=0).all():
                raise CapabilityError(
                    f"The sample of source {source} lacks a class: raise max_samples="
                    f"{self.max_samples}."
                )
            members.append(mass / mass.sum(axis=0))
            costs.append(cost[rows])
        self.target_shares_, couplings, info = joint_class_shares(
            costs, members, self.reg, problem.b, max_iter=self.max_iter, tol=self.tol
        )
        self.residual_, self.n_iter_ = info.residual, info.n_iter
        self._warn_unless(info.converged, info.residual)
        coupling = np.empty_like(cost)
        for source, plan in zip(np.unique(ids), couplings, strict=True):
            coupling[ids == source] = plan / len(couplings)
        return problem.carry(coupling)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.regression = False
        return tags
