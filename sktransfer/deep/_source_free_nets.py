"""Source-free adaptation: nets of sources go on learning from unlabeled target rows."""

import copy
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_random_state, get_tags
from torch import nn

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import canonical_order
from sktransfer._response import CommonColumns, all_classes
from sktransfer._solvers.centroid_labels import centroid_labels
from sktransfer._source_models import (
    SourceModelCombiner,
    SourceModelsMixin,
    fit_domain,
    given_models,
    known_columns,
    listed_models,
    mixture,
)
from sktransfer.base import TransferMetaEstimator
from sktransfer.deep._alignment import Alignment
from sktransfer.deep._budget import find_budget
from sktransfer.deep._device import seeded, with_gradients
from sktransfer.deep._losses import masked_mmd_loss
from sktransfer.deep._net import TransferNetClassifier
from sktransfer.deep._pretraining import labeled_rows
from sktransfer.deep._trainer import TransferTrainer
from sktransfer.deep._transfer_module import TransferModule
from sktransfer.multisource import SourceFreeEnsemble
from sktransfer.multisource._source_free import information_loss

__all__ = ["SHOT", "SourceFreeNets"]

_TINY = 1e-12
_ROWS_AT_ONCE = 8192
#: the learned weights of the nets move so many times as fast as the nets
_RATE = 100.0


class _PseudoLabels(Alignment):
    """Renew the pseudo-labels at the beginning of every epoch."""

    def begin_epoch(self, net, rows, progress):
        """Label all rows by the current nets."""
        net.renew_labels(rows)


class _Member(nn.Module):
    """Extractor and frozen head of one net, and the columns of its classes."""

    def __init__(self, net, columns):
        super().__init__()
        module = net.module_
        if module.alignment.own_heads:
            raise ValueError(
                f"{net!r} predicts by a head for each of its sources, so it has no one "
                "head to keep; give its alignment source_heads=False."
            )
        if isinstance(module.head, nn.ModuleList):
            raise ValueError(
                f"{net!r} predicts by a head for each task, so it has no one head to "
                "keep; fit a net of one task, such as TransferNetClassifier."
            )
        if net._companions.in_mean:
            raise ValueError(
                f"{net!r} predicts means over several nets, so it has no one head to "
                "keep; fit it with ensemble=False."
            )
        self.extractor = module.alignment.target_extractor(module)
        self.head = module.head
        self.row_shape = net._encoder.row_shape
        self.register_buffer("columns", torch.as_tensor(columns), persistent=False)

    def forward(self, x):
        """Return features and class probabilities."""
        features = self.extractor(x.reshape(len(x), *self.row_shape))
        return features, self.head(features).softmax(1)


class _AdaptedModule(TransferModule):
    r"""Several nets, their weights, and the losses of target rows.

    Parameters
    ----------
    members : list of _Member
        The nets.
    constants : tensor of shape (n_constants, n_classes)
        Probabilities of models of one class, which stay.
    weights : ndarray of shape (n_members + n_constants,) or None
        Fixed weights, those of the nets first. None: they are learned.
    known : tensor of shape (n_rows,)
        Columns of the labels that are given; -1 where none is.
    label_weight, share, alignment_weight : float
        See :class:`SourceFreeNets`.
    """

    def __init__(
        self, members, constants, weights, known, label_weight, share, alignment_weight
    ):
        super().__init__(
            nn.ModuleList(members), None, _PseudoLabels(), None,
            gate=False, mu=0.0, source_weight=1.0,
        )  # fmt: skip
        self.register_buffer("constants", constants, persistent=False)
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("labels", known.clone(), persistent=False)
        self.label_weight, self.share = label_weight, share
        self.alignment_weight = alignment_weight
        n = len(members) + len(constants)
        start = torch.zeros(n) if weights is None else torch.as_tensor(weights)
        start = start.to(constants.dtype)
        self.logits = nn.Parameter(start) if weights is None else None
        if weights is not None:
            self.register_buffer("fixed", start, persistent=False)

    def weights(self):
        """Return the weights of the models."""
        return self.fixed if self.logits is None else (_RATE * self.logits).softmax(0)

    def answers(self, x):
        """Return the features of each net, and probabilities of all models."""
        widths = [int(np.prod(m.row_shape)) for m in self.extractor]
        n_classes = self.constants.shape[1]
        features, probabilities = [], []
        for member, part in zip(self.extractor, x.split(widths, 1), strict=True):
            found, p = member(part)
            everywhere = p.new_zeros(len(p), n_classes)
            features.append(found)
            probabilities.append(everywhere.index_copy(1, member.columns, p))
        constant = self.constants[:, None].expand(-1, len(x), -1)
        return features, torch.cat([torch.stack(probabilities), constant])

    def renew_labels(self, rows):
        """Label rows by the nearest class centroid of the nets' features."""
        training = self.training
        self.eval()
        weights, parts, proba = self.weights().detach(), [], []
        with torch.no_grad():
            for x in rows.chunks(rows.x_source, _ROWS_AT_ONCE):
                features, p = self.answers(x)
                scaled = [
                    nn.functional.normalize(f, dim=1) * w.sqrt()
                    for f, w in zip(features, weights, strict=False)
                ]
                parts.append(torch.cat(scaled, 1).cpu())
                proba.append(torch.tensordot(weights, p, 1).cpu())
        self.train(training)
        found = torch.cat(parts).double().numpy()
        proba = torch.cat(proba).double().numpy()
        labels = centroid_labels(found, proba)
        labels = np.where(_surest(labels, proba, self.share), labels, -1)
        given = self.known.cpu().numpy()
        labels = np.where(given >= 0, given, labels)
        self.labels.copy_(torch.as_tensor(labels))

    def forward(self, batch, criterion, keep_outputs=False):
        """Return the losses of a batch by name."""
        features, probabilities = self.answers(batch.x)
        weights = self.weights()
        p = torch.tensordot(weights, probabilities, 1).clamp_min(_TINY)
        mean = p.mean(0).clamp_min(_TINY)
        losses = {
            "entropy": -(p * p.log()).sum(1).mean(),
            "balance": (mean * mean.log()).sum(),
        }
        labels = self.labels[batch.source]
        there = labels >= 0
        if self.label_weight:
            of_label = p.gather(1, labels.clamp_min(0)[:, None])[:, 0].log()
            losses["label"] = -self.label_weight * (of_label * there).mean()
        if self.alignment_weight:
            gaps = [masked_mmd_loss(f, there) for f in features]
            gap = sum(w * g for w, g in zip(weights, gaps, strict=False))
            losses["alignment"] = self.alignment_weight * gap
        total = torch.stack(tuple(losses.values())).sum()
        found = {"loss": total, **{f"{k}_loss": v for k, v in losses.items()}}
        if keep_outputs:
            found["y_pred"] = p.log().detach()
        return found


def _surest(labels, proba, share):
    """Return the mask of the rows of each class that are surest of their label."""
    if share == 1:
        return np.ones(len(labels), dtype=bool)
    sure = np.zeros(len(labels), dtype=bool)
    own = proba[np.arange(len(labels)), labels]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        n = int(np.ceil(share * len(rows)))
        sure[rows[np.argsort(-own[rows], kind="stable")[:n]]] = True
    return sure


def _net_of(model):
    """Return the net of a model, the last step of a pipeline too, or None."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    return last if isinstance(last, TransferNetClassifier) else None


def importance(P):
    r"""Weigh models by discriminability times transferability, without labels.

    Parameters
    ----------
    P : ndarray of shape (n_models, n_rows, n_classes)
        Class probabilities.

    Returns
    -------
    weights : ndarray of shape (n_models,)
        On the simplex; uniform where no model has a part.
    """
    n_models = len(P)
    p, mean = np.maximum(P, _TINY), np.maximum(P.mean(axis=1), _TINY)
    entropy = -(p * np.log(p)).sum(axis=2).mean(axis=1)
    known = np.maximum(-(mean * np.log(mean)).sum(axis=1) - entropy, 0.0)
    agreement = np.ones(n_models)
    if n_models > 1:
        others = (P.sum(axis=0) - P) / (n_models - 1)
        agreement = (P * others).sum(axis=2).mean(axis=1)
    product = known * agreement
    if product.sum() <= _TINY:
        return np.full(n_models, 1 / n_models)
    return product / product.sum()


class _AdaptsNets:
    """Train the extractors of fitted nets on target rows."""

    _parameter_constraints: ClassVar[dict] = {
        "pseudo_label_weight": [Interval(Real, 0, None, closed="left")],
        "pseudo_label_share": [Interval(Real, 0, 1, closed="right")],
        "feature_alignment": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "max_steps": [Interval(Integral, 0, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def _check_nets(self, models=()):
        """Refuse what is no net, the learner included, and weights of nothing."""
        if self.feature_alignment > 0 and self.pseudo_label_share == 1:
            raise ValueError(
                f"feature_alignment={self.feature_alignment} has no effect, as "
                "pseudo_label_share=1 leaves no row without a pseudo-label; lower it."
            )
        if _net_of(self.estimator) is None:
            raise TypeError(
                f"estimator={type(self.estimator).__name__}(...) is no net: give a "
                "classifier of sktransfer.deep such as TransferNetClassifier(), or a "
                "pipeline that ends in one."
            )
        for i, model in enumerate(models):
            if _net_of(model) is None:
                raise TypeError(
                    f"source_models[{i}]={model!r} is no net, and only nets go on "
                    "learning: give nets of sktransfer.deep or pipelines that end in "
                    "one. SourceFreeEnsemble takes other models."
                )

    @with_gradients
    def _adapt(self, models, classes, data, known, start):
        """Train the extractors of the models in place; return the number of epochs."""
        budget = find_budget(
            data.n_target,
            self.batch_size,
            max_epochs=self.max_epochs,
            max_steps=self.max_steps or None,
        )
        still = self.lr == 0 or 0 in (self.max_epochs, self.max_steps)
        if still or not any(_net_of(model) is not None for model in models):
            return 0
        place = np.arange(len(models))
        of_net = np.array([_net_of(model) is not None for model in models])
        nets = [_net_of(models[k]) for k in place[of_net]]
        X, labels = data.X_target, np.full(data.n_target, -1)
        labels[known[0]] = known[1]
        order = canonical_order(X, labels)
        tensors = [_encoded(models[k], X)[order] for k in place[of_net]]
        dtype = torch.float64 if torch.float64 in [t.dtype for t in tensors] else None
        x = torch.cat([t.flatten(1).to(dtype or t.dtype) for t in tensors], 1)
        device = torch.device(nets[0].net_.device)
        constants = np.zeros((int((~of_net).sum()), len(classes)))
        for row, k in zip(constants, place[~of_net], strict=True):
            row[np.searchsorted(classes, models[k].classes_)] = 1.0
        frozen = [p for net in nets for p in net.module_.head.parameters()]
        wanted = [p.requires_grad for p in frozen]
        for parameter in frozen:
            parameter.requires_grad_(False)
        reordered = np.concatenate([place[of_net], place[~of_net]])
        module = _AdaptedModule(
            [_Member(n, np.searchsorted(classes, n.classes_)) for n in nets],
            torch.as_tensor(constants).to(x.dtype),
            None if start is None else start[reordered],
            torch.as_tensor(labels[order]),
            self.pseudo_label_weight,
            self.pseudo_label_share,
            self.feature_alignment,
        ).to(x.dtype)
        rows = labeled_rows(
            x, torch.zeros(len(x)), self.batch_size,
            n_batches=budget.epoch_steps, device=device,
        )  # fmt: skip
        learner = _net_of(self.estimator)
        options = learner._params_of("optimizer__")
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        with seeded(seed, device):
            trainer = TransferTrainer(
                module,
                nn.Identity(),
                max_epochs=budget.n_epochs,
                n_steps=budget.n_steps,
                verbose=int(learner.verbose),
                device=str(device),
                lr=self.lr,
                optimizer=learner.optimizer or torch.optim.Adam,
                mixed_precision=learner.mixed_precision,
                train_split=None,
                **{f"optimizer__{name}": value for name, value in options.items()},
            )
            trainer.initialize().train(rows, budget.n_steps)
        for parameter, learns in zip(frozen, wanted, strict=True):
            parameter.requires_grad_(learns)
        for net in nets:
            own = getattr(torch, net._encoder.dtype_name)
            net.module_.to(net.net_.device, own).eval()
        names = [n for n in trainer.history[0] if n.endswith("_loss")]
        self.history_ = {
            name.removeprefix("train_"): np.array(trainer.history[:, name])
            for name in names
        }
        return len(trainer.history)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # with source models the target needs no label at all
        tags.target_tags.required &= self.source_models is None
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.unseen_domain = False
        tags.transfer_tags.source_free = True
        tags.transfer_tags.regression = False
        return tags


def _without_domains(params):
    """Leave the domains out: a net of one domain sees its rows as a target's."""
    return {name: value for name, value in params.items() if name != "sample_domain"}


def _encoded(model, X):
    """Return rows as the net of a model sees them."""
    net = _net_of(model)
    if isinstance(model, Pipeline):
        X = model[:-1].transform(X)
    X = net._validate_X(X, get_tags(net), reset=False)
    return net._encoder.tensor(X)


_ADAPTATION = """pseudo_label_weight : float in [0, inf), default=0.3
        Weight :math:`\\beta` of the cross-entropy to given labels and pseudo-labels.
    pseudo_label_share : float in (0, 1], default=1.0
        Share of the rows with each pseudo-label that keep it: those surest of it.
    feature_alignment : float in [0, inf), default=0.0
        Weight of the maximum mean discrepancy (:func:`mk_mmd_loss`) between features
        of rows with a label or pseudo-label and of those without; above 0 only with
        ``pseudo_label_share`` below 1.
    max_epochs : int in [0, inf), default=None
        Passes over the target rows. 0: the nets stay as they are.
    max_steps : int in [0, inf), default=None
        Steps of the optimizer. None, and ``max_epochs=None``: 1000 steps or 10
        passes, whichever is more.
    batch_size : int in [1, inf), default=128
        Target rows in a batch.
    lr : float in [0, inf), default=1e-4
        Learning rate. 0: the nets stay as they are. Optimizer and mixed precision are
        those of ``estimator``.
    random_state : int, RandomState instance or None, default=None
        Seed of the batches."""


class SourceFreeNets(_AdaptsNets, SourceFreeEnsemble):
    r"""Adapt several source nets to unlabeled target rows, and mix them.

    No source row is needed: fitted nets suffice. Their heads stay as they are, and
    their extractors learn to make the mixture sure of every target row and balanced
    over all of them. Rows that are to be predicted may name their domain in
    ``sample_domain``: those of a source are predicted by its net as it was.

    Parameters
    ----------
    estimator : estimator
        Classifier of :mod:`sktransfer.deep`, or a pipeline that ends in one: fitted to
        the rows of each source where they are given in place of ``source_models``, and
        to the target alone without sources.
    source_models : estimator or list of them, default=None
        Fitted nets, which clones keep. They take the place of source rows and are
        copied. In a parameter grid give each as ``FrozenEstimator(net)``.
    weights : {"learn", "date", "uniform"}, default="learn"
        Weights :math:`a_k` of the nets. "learn": as DECISION [1]_ learned together
        with the nets, from equal ones on; in the end they are those of
        :class:`~sktransfer.multisource.SourceFreeEnsemble` for the adapted nets.
        "date": fixed, discriminability times transferability of the nets as they
        come, see Notes. "uniform": equal.
    %(adaptation)s
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The mixture of the adapted nets; without sources the fit on the labeled target
        rows.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source; with ``source_models`` their positions 1, 2, ...
    source_weights_ : ndarray of shape (n_sources,)
        Weights of the nets, summing to 1.
    loss_ : float
        The loss of ``SourceFreeEnsemble`` at these weights for the adapted nets; NaN
        without sources.
    history_ : dict of str to ndarray of shape (n_iter_,)
        Mean of every loss in each epoch; empty if no net was trained.
    n_iter_ : int
        Number of epochs; 1 if no net was trained.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SHOT : One net.
    sktransfer.multisource.SourceFreeEnsemble : The weights alone, for any models.

    Notes
    -----
    With :math:`p_i = \sum_k a_k p_{ki}` the mixture at target row i, :math:`\bar p` its
    mean over a batch, H the entropy and :math:`y_i` a given label or pseudo-label, the
    extractors and, with "learn", the weights minimize

    .. math:: \frac1n \sum_i H(p_i) - H(\bar p) - \frac{\beta}{n} \sum_i
              \log p_{i, y_i} .

    Before each epoch rows get the pseudo-label of the nearest class centroid, in cosine
    distance, in the nets' features of length :math:`\sqrt{a_k}`, side by side; given
    labels stay. With one net that is SHOT. With ``lr=0`` it is ``SourceFreeEnsemble``.

    ``pseudo_label_share`` below 1 and ``feature_alignment`` above 0 are the two parts
    of MSFDA [2]_: only sure pseudo-labels, which have less bias, and features that are
    alike with and without them. "date" takes up the idea of [3]_, in a form of our
    own: discriminability is the mutual information :math:`H(\bar p_k) - \frac1n \sum_i
    H(p_{ki})` between rows and predicted classes, transferability the mean probability
    that the net and another one name the same class.

    References
    ----------
    .. [1] S. M. Ahmed et al., "Unsupervised multi-source domain adaptation without
       access to source data", CVPR 2021. arXiv:2104.01845.
    .. [2] M. Shen, Y. Bu, G. Wornell, "On balancing bias and variance in unsupervised
       multi-source-free domain adaptation", ICML 2023. arXiv:2202.00796.
    .. [3] Z. Han et al., "Discriminability and transferability estimation: a Bayesian
       source importance estimation approach for multi-source-free domain adaptation",
       AAAI 2023.

    Examples
    --------
    Two nets; the labels that one of them learned have no meaning.

    >>> import numpy as np
    >>> from sktransfer.deep import SourceFreeNets, TransferNetClassifier
    >>> rng = np.random.RandomState(0)
    >>> X, y = rng.normal(size=(100, 2)), np.repeat([0, 1], 50)
    >>> X[:, 0] += 6 * y
    >>> net = TransferNetClassifier(lr=0.01, max_steps=50, random_state=0)
    >>> good = net.fit(X, y)
    >>> bad = TransferNetClassifier(lr=0.01, max_steps=5, random_state=0)
    >>> bad = bad.fit(X, rng.permutation(y))
    >>> model = SourceFreeNets(
    ...     net, source_models=[good, bad], max_epochs=5, random_state=0
    ... )
    >>> model = model.fit(X + 1, np.full(100, np.nan), sample_domain=-1)
    >>> model.source_weights_.round(1)
    array([1., 0.])
    >>> float(model.score(X + 1, y))
    1.0
    """

    _parameter_constraints: ClassVar[dict] = {
        **SourceModelCombiner._parameter_constraints,
        **_AdaptsNets._parameter_constraints,
        "weights": [StrOptions({"learn", "date", "uniform"})],
    }
    #: how SourceFreeEnsemble finds its weights by default
    n_pseudo_rounds = 2
    max_iter = 200
    tol = 1e-8

    def __init__(
        self,
        estimator,
        *,
        source_models=None,
        weights="learn",
        pseudo_label_weight=0.3,
        pseudo_label_share=1.0,
        feature_alignment=0.0,
        max_epochs=None,
        max_steps=None,
        batch_size=128,
        lr=1e-4,
        random_state=None,
        n_jobs=None,
    ):
        SourceModelCombiner.__init__(
            self, estimator, source_models=source_models, n_jobs=n_jobs
        )
        self.weights = weights
        self.pseudo_label_weight = pseudo_label_weight
        self.pseudo_label_share = pseudo_label_share
        self.feature_alignment = feature_alignment
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        self._check_nets(listed_models(self.source_models))
        self.history_ = {}
        return super()._fit_estimator(data, _without_domains(fit_params))

    def _combine_models(self, models, data, fit_params):
        self._models = models
        models = [copy.deepcopy(model) for model in models]
        classes = all_classes(models)
        known, columns = known_columns(data, classes)
        start, X = None, data.X_target
        answers = CommonColumns(classes, "predict_proba").answers
        if self.weights == "uniform":
            start = np.full(len(models), 1 / len(models))
        elif self.weights == "date":
            start = importance(answers(models, X))
        n_epochs = self._adapt(models, classes, data, (known, columns), start)
        if start is None:
            start, info = self._weigh(models, X, known, columns)
            self.loss_ = info["loss"]
        else:
            P, labels = np.maximum(answers(models, X), _TINY), None
            if self.pseudo_label_weight:
                rows = self._validate_X(X, get_tags(self), reset=False)
                labels = centroid_labels(rows, np.tensordot(start, P, axes=1))
                labels[known] = columns
            self.loss_ = information_loss(start, P, labels, self.pseudo_label_weight)[0]
        self.source_weights_, self.n_iter_ = start, max(n_epochs, 1)
        return mixture(self.estimator, models, self.source_weights_)

    def _validate_X(self, X, tags, *, reset, skip_check=False):
        if not skip_check and getattr(X, "ndim", 2) > 2:
            return check_array(np.reshape(X, (len(X), -1)))
        return super()._validate_X(X, tags, reset=reset, skip_check=skip_check)


class SHOT(_AdaptsNets, SourceModelsMixin, TransferMetaEstimator):
    r"""Adapt one source net to unlabeled target rows: source hypothesis transfer.

    No source row is needed: a fitted net suffices. Its head, the hypothesis, stays as
    it is, and its extractor learns to make it sure of every target row and balanced
    over all of them [1]_. Sources that come as rows are pooled.

    Parameters
    ----------
    estimator : estimator
        Classifier of :mod:`sktransfer.deep`, or a pipeline that ends in one: fitted to
        the source rows where they are given in place of ``source_models``, and to the
        target alone without sources. As published its criterion smooths labels:
        ``TransferNetClassifier(criterion__label_smoothing=0.1)``.
    source_models : estimator or list of one, default=None
        A fitted net, which clones keep. It takes the place of source rows and is
        copied. In a parameter grid give it as ``FrozenEstimator(net)``.
    %(adaptation)s

    Attributes
    ----------
    estimator_ : estimator
        The adapted net; without sources the fit on the labeled target rows.
    history_ : dict of str to ndarray of shape (n_iter_,)
        Mean of every loss in each epoch; empty if no net was trained.
    n_iter_ : int
        Number of epochs; 1 if no net was trained.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourceFreeNets : Several nets and their weights.

    Notes
    -----
    With the probabilities :math:`p_i` at target row i, their mean :math:`\bar p` over a
    batch, the entropy H and a given label or pseudo-label :math:`y_i`, the extractor
    minimizes

    .. math:: \frac1n \sum_i H(p_i) - H(\bar p) - \frac{\beta}{n} \sum_i
              \log p_{i, y_i} .

    Before each epoch rows get the pseudo-label of the nearest class centroid, in cosine
    distance of their features: first of centroids weighted by :math:`p_i`, then once
    more of those of the labels so found. Given labels stay. With ``max_epochs=0`` it is
    the source net.

    References
    ----------
    .. [1] J. Liang, D. Hu, J. Feng, "Do we really need to access the source data?
       Source hypothesis transfer for unsupervised domain adaptation", ICML 2020.
       arXiv:2002.08546.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import SHOT, TransferNetClassifier
    >>> rng = np.random.RandomState(0)
    >>> X, y = rng.normal(size=(200, 2)), np.repeat([0, 1], 100)
    >>> X[:, 0] += 6 * y
    >>> net = TransferNetClassifier(
    ...     criterion__label_smoothing=0.1, lr=0.01, max_steps=60, random_state=0
    ... )
    >>> net = net.fit(X, y)
    >>> shifted = X + [2.5, 0.0]
    >>> model = SHOT(net, source_models=net, lr=1e-3, max_epochs=60, random_state=0)
    >>> model = model.fit(shifted, np.full(200, np.nan), sample_domain=-1)
    >>> bool(model.score(shifted, y) > 0.95 > net.score(shifted, y))
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferMetaEstimator._parameter_constraints,
        **SourceModelsMixin._source_models_constraints,
        **_AdaptsNets._parameter_constraints,
    }

    def __init__(
        self,
        estimator,
        *,
        source_models=None,
        pseudo_label_weight=0.3,
        pseudo_label_share=1.0,
        feature_alignment=0.0,
        max_epochs=None,
        max_steps=None,
        batch_size=128,
        lr=1e-4,
        random_state=None,
    ):
        super().__init__(estimator)
        self.source_models = source_models
        self.pseudo_label_weight = pseudo_label_weight
        self.pseudo_label_share = pseudo_label_share
        self.feature_alignment = feature_alignment
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        given = listed_models(self.source_models)
        self._check_nets(given)
        self.history_, self.n_iter_ = {}, 1
        if len(given) > 1:
            raise ValueError(
                f"SHOT adapts one net, but source_models holds {len(given)}: give one, "
                "or use SourceFreeNets."
            )
        if self.source_models is not None:
            (model,) = given_models(self, data, method="predict_proba")
            model = copy.deepcopy(model)
        else:
            rows = data.is_source if data.n_source else data.is_labeled_target
            params = _without_domains(fit_params)
            model = fit_domain(self.estimator, data, rows, params)
            if not data.n_source:
                return model
        classes = all_classes([model])
        known, one = known_columns(data, classes), np.ones(1)
        self.n_iter_ = max(self._adapt([model], classes, data, known, one), 1)
        return model


for _class in (SourceFreeNets, SHOT):
    if _class.__doc__ is not None:  # python -OO has none
        _class.__doc__ = _class.__doc__.replace("%(adaptation)s", _ADAPTATION)
