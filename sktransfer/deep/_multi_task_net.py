"""Nets of several tasks: every domain is one, with a head of its own."""

import copy
from typing import ClassVar

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from sktransfer._compat import StrOptions
from sktransfer._domains import canonical_order
from sktransfer.base import ByDomainMixin, tasks_of
from sktransfer.deep._alignment import Sizes
from sktransfer.deep._builder import make_head
from sktransfer.deep._net import (
    TRANSFER_PARAMETERS,
    TransferNetClassifier,
    TransferNetRegressor,
)
from sktransfer.deep._parameters import inherit_parameters
from sktransfer.deep._task_module import (
    HeldOutTask,
    TaskModule,
    TaskRows,
    TaskTrainer,
)
from sktransfer.deep._task_weighting import (
    MGDA,
    CAGrad,
    DynamicAverage,
    EqualTasks,
    GradientVaccine,
    GradNorm,
    LossBalance,
    MoCo,
    MoDo,
    PCGrad,
    RandomTasks,
    TaskWeighting,
    UncertaintyWeighting,
)
from sktransfer.deep._trainer import HeldOutRows, cut_held_out
from sktransfer.deep._uowq_tasks import UOWQTasks

__all__ = ["MultiTaskNetClassifier", "MultiTaskNetRegressor"]

_ENOUGH_LABELS = 200
#: names of the weightings with their default parameters
_NAMED = {
    "equal": EqualTasks,
    "random": RandomTasks,
    "dwa": DynamicAverage,
    "lbtw": LossBalance,
    "uncertainty": UncertaintyWeighting,
    "gradnorm": GradNorm,
    "mgda": MGDA,
    "pcgrad": PCGrad,
    "gradvac": GradientVaccine,
    "cagrad": CAGrad,
    "moco": MoCo,
    "modo": MoDo,
    "uowq": UOWQTasks,
}
_LEFT_OUT = (*TRANSFER_PARAMETERS, "penalties", "compile")


class _TaskModel:
    """What a net of several tasks answers for one task, or for the mean of all."""

    def __init__(self, net, places):
        self.net, self.places = net, places
        if net._n_classes:
            self.classes_ = net.classes_

    def _outputs(self, X):
        """Return outputs of shape (n_places, n_samples, n_outputs)."""
        module, found = self.net.module_, []
        with torch.no_grad():
            for x in self.net._chunks(X):
                features = module.extractor(x)
                outputs = [module.head[k](features).cpu() for k in self.places]
                found.append(torch.stack(outputs))
        return torch.cat(found, 1).numpy()

    def predict_proba(self, X):
        """Return the mean of the class probabilities of the tasks."""
        return softmax(self._outputs(X), axis=2).mean(axis=0)

    def predict(self, X):
        """Return classes, or the mean of the values of the tasks."""
        if self.net._n_classes:
            return self.classes_[self.predict_proba(X).argmax(axis=1)]
        shift = self.net.label_shift_[self.places, None]
        scale = self.net.label_scale_[self.places, None]
        return (self._outputs(X)[:, :, 0] * scale + shift).mean(axis=0)


class _TaskNet(ByDomainMixin):
    """Make a net one of several tasks; every domain is a task."""

    _parameter_constraints: ClassVar[dict] = {
        "weighting": [StrOptions(set(_NAMED)), TaskWeighting]
    }
    _trainer_class = TaskTrainer

    # -- fit -------------------------------------------------------------------

    def _roles(self, data):
        """Let all labeled rows play the source."""
        nobody = np.zeros(len(data.labeled), bool)
        return data.labeled, nobody, nobody

    def _uses_target_rows(self):
        return False

    def _choose_held_out(self, data):
        """Hold out labeled rows of every task."""
        n = int(data.labeled.sum())
        held = np.zeros(len(data.labeled), dtype=bool)
        if self.early_stopping is False or (
            self.early_stopping == "auto" and n < _ENOUGH_LABELS
        ):
            return held
        for task in tasks_of(data, type(self).__name__):
            pool = data.rows_of(task) & data.labeled
            n_valid = int(pool.sum() * self.validation_fraction)
            if n_valid:
                held[self._draw_held_out(data, pool, n_valid)] = True
        if not held.any() and self.early_stopping is True:
            raise ValueError(
                "early_stopping=True with validation_fraction="
                f"{self.validation_fraction} leaves nothing to validate: no task has "
                "enough labeled rows; set early_stopping=False."
            )
        return held

    def _learn_labels(self, data, classes, weight):
        self.task_ids_ = tasks_of(data, type(self).__name__)
        super()._learn_labels(data, classes, weight)

    def _codes(self, labels, place):
        """Return the labels of a task as the net learns them."""
        return self._encode(labels)

    def _label_weights(self, data, weight, labeled, held_out):
        """Return weights relative to their mean in each task."""
        if weight is not None:
            weight = weight.copy()
            for task in self.task_ids_:
                own = data.rows_of(task)
                weight[own] /= weight[own & labeled].mean()
        return super()._label_weights(data, weight, labeled, held_out)

    def _class_parts(self, data, labeled, held_out):
        rows = [data.rows_of(task) for task in self.task_ids_]
        return [own & part for own in rows for part in (labeled, held_out)]

    def _encode_rows(self, data, weight, held_out, device, budget):
        """Return the rows as tensors, task by task."""
        tasks = tasks_of(data, type(self).__name__)
        if not np.array_equal(tasks, self.task_ids_):
            raise ValueError(
                f"sample_domain names the tasks {tasks.tolist()}, but the net was set "
                f"up for {self.task_ids_.tolist()}, each with a head of its own. Fit "
                "anew, without warm_start."
            )
        weight = self._label_weights(data, weight, data.labeled, held_out)
        found = [self._rows_of_task(data, k, data.labeled) for k in range(len(tasks))]
        order = np.concatenate([rows for rows, _ in found])
        rows = TaskRows(
            self._encoder.tensor(data.X[order]),
            torch.as_tensor(np.concatenate([y for _, y in found])),
            [len(y) for _, y in found],
            self.batch_size,
            n_batches=budget.epoch_steps,
            weight=self._as_weight(weight, order),
            device=device,
        )
        if held_out.any():
            rows.validation = self._held_out_parts(data, weight, held_out, device)
        return rows, order

    def _rows_of_task(self, data, place, mask):
        """Return positions and codes of some rows of a task, in canonical order."""
        mask = mask & data.rows_of(self.task_ids_[place])
        rows, codes = np.flatnonzero(mask), self._codes(data.labels(mask), place)
        order = canonical_order(data.X[rows], codes)
        return rows[order], codes[order]

    def _held_out_parts(self, data, weight, held_out, device):
        """Return held-out rows by task, weighted so that all tasks count alike."""
        parts = []
        for place in range(len(self.task_ids_)):
            rows, codes = self._rows_of_task(data, place, held_out)
            if len(rows):
                own = np.ones(len(rows)) if weight is None else weight[rows]
                parts.append((place, rows, codes, own))
        n, found = sum(len(rows) for _, rows, _, _ in parts), []
        for place, rows, codes, own in parts:
            own = own * (n / len(parts) / len(rows))
            tensors = (
                self._encoder.tensor(data.X[rows]),
                torch.as_tensor(codes),
                torch.as_tensor(own.astype(self._encoder.dtype_name)),
            )
            cut = cut_held_out(*(tensor.to(device) for tensor in tensors))
            found += [HeldOutTask(part, place) for part in cut]
        return HeldOutRows(found)

    def _make_module(self, rows):
        x = rows.x[:2].to("cpu")
        extractor, n_features = self._make_extractor(x)
        n_outputs = self._n_classes or 1
        head = make_head(self, x, n_features, self._n_classes)
        heads = [copy.deepcopy(head) for _ in self.task_ids_]  # all start alike
        given = self.weighting
        weighting = _NAMED[given]() if isinstance(given, str) else given
        module = TaskModule(extractor, nn.ModuleList(heads), weighting)
        module.sizes = Sizes(tuple(x.shape[1:]), n_features, n_outputs, self._n_classes)
        return module

    def _weigh_losses(self, module):
        """Leave weights to the weighting of tasks."""

    def _prepare_module(self, module, rows, device, budget):
        module.weighting.start(self, module, rows, budget)

    def _source_weights(self, rows, order, data):
        """Set what was found about the tasks."""
        module = self.module_

        def of(path):
            return torch.stack(path).cpu().double().numpy()

        self.task_loss_path_ = of(module.state.past)
        self.task_weights_path_ = of(module.weights_path)
        self.task_weights_ = self.task_weights_path_[-1]
        return np.ones(int(data.is_source.sum()))

    # -- prediction ------------------------------------------------------------

    @property
    def estimator_(self):
        """Model of the first target, for samples without a domain."""
        return _TaskModel(self, [0])

    def _known_domains(self):
        return self.task_ids_

    def _model_of(self, domain, X):
        place = np.flatnonzero(self.task_ids_ == domain)
        return _TaskModel(self, place if len(place) else range(len(self.task_ids_)))

    def _check_answers(self, method):
        if method != "predict_proba" or not hasattr(_TaskModel, method):
            raise AttributeError(f"{type(self).__name__} has no {method}.")
        if isinstance(self, TransferNetRegressor):
            raise AttributeError("A regressor has no predict_proba.")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.multi_target = True
        tags.transfer_tags.unseen_domain = True
        return tags


@inherit_parameters(but=_LEFT_OUT)
class MultiTaskNetClassifier(_TaskNet, TransferNetClassifier):
    r"""Fit a net with one extractor for all domains and a head for each.

    Every domain id, positive or negative, is a task, and all tasks count alike. A
    sample that is to be predicted names its task in ``sample_domain``; samples of a
    domain that ``fit`` has not seen get the mean of the probabilities of all tasks.
    Unlabeled rows are ignored.

    Parameters
    ----------
    %(module)s
    weighting : str or TaskWeighting, default="equal"
        Which way the extractor goes, given the losses :math:`l_k` of the tasks and
        their gradients: an object such as ``CAGrad(c=0.2)``, or a name for one with
        its default parameters: "equal" (:class:`EqualTasks`), "random"
        (:class:`RandomTasks`), "dwa" (:class:`DynamicAverage`), "lbtw"
        (:class:`LossBalance`), "uncertainty" (:class:`UncertaintyWeighting`),
        "gradnorm" (:class:`GradNorm`), "mgda" (:class:`MGDA`), "pcgrad"
        (:class:`PCGrad`), "gradvac" (:class:`GradientVaccine`), "cagrad"
        (:class:`CAGrad`), "moco" (:class:`MoCo`), "modo" (:class:`MoDo`), "uowq"
        (:class:`UOWQTasks`).
    batch_size : int in [1, inf), default=128
        Rows of each task in a batch.
    early_stopping : {"auto"} or bool, default="auto"
        Hold out labeled rows of every task, stop when the mean of the tasks' losses on
        them no longer falls, and go back to the best epoch. "auto": with 200 labeled
        rows or more in all.
    class_weight : dict or "balanced", default=None
        Weights of the classes in the losses, as in scikit-learn; "balanced" takes the
        frequencies in each task. They multiply ``sample_weight``, which counts
        relative to its mean in each task.
    %(parameters)s

    Attributes
    ----------
    task_ids_ : ndarray of shape (n_tasks,)
        Domain id of each task, the targets -1, -2, ... first.
    task_weights_ : ndarray of shape (n_tasks,)
        Weights of the gradients of the tasks, the mean over the last epoch; equal ones
        are 1 / n_tasks.
    task_weights_path_ : ndarray of shape (n_iter_, n_tasks)
        The same for each epoch.
    task_loss_path_ : ndarray of shape (n_iter_, n_tasks)
        Mean training loss of each task in each epoch.
    sample_weight_ : ndarray of shape (n_source,)
        Ones.
    %(attributes)s

    See Also
    --------
    sktransfer.multisource.UOWQMultiTask : Models of their own, by weighted rows.
    sktransfer.multisource.MultiTaskRelationship : Linear models and their relation.

    Notes
    -----
    The direction of the extractor is what the weighting returns. A head goes along
    the gradient of the loss of its task, times the weight of the task where the
    weighting sees losses alone and times 1 / n_tasks where it sees gradients. Then the
    tasks pass the extractor one by one, which costs no more rows, but
    batch normalization sees one task at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import MultiTaskNetClassifier
    >>> rng = np.random.RandomState(0)
    >>> X, task = rng.normal(size=(120, 2)), np.repeat([-1, -2], 60)
    >>> y = ((X[:, 0] > 0) == (task == -1)).astype(int)  # opposite tasks
    >>> net = MultiTaskNetClassifier(
    ...     weighting="mgda", lr=0.01, max_steps=100, random_state=0
    ... )
    >>> net = net.fit(X, y, sample_domain=task)
    >>> net.predict([[2.0, 0.0], [2.0, 0.0]], sample_domain=[-1, -2])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferNetClassifier._parameter_constraints,
        **_TaskNet._parameter_constraints,
    }

    def __init__(self, module=None, *, weighting="equal", **params):
        super().__init__(module, **params)
        self.weighting = weighting


@inherit_parameters(but=_LEFT_OUT)
class MultiTaskNetRegressor(_TaskNet, TransferNetRegressor):
    r"""Fit a regression net with one extractor for all domains and a head for each.

    As :class:`MultiTaskNetClassifier` with the squared error. Labels are scaled to
    mean 0 and variance 1 in each task, so that the loss of a task is in units of its
    own variance; samples of an unseen domain get the mean of the predictions of all
    tasks.

    Parameters
    ----------
    %(module)s
    weighting : str or TaskWeighting, default="equal"
        Which way the extractor goes, see :class:`MultiTaskNetClassifier`.
    batch_size : int in [1, inf), default=128
        Rows of each task in a batch.
    early_stopping : {"auto"} or bool, default="auto"
        Hold out labeled rows of every task, stop when the mean of the tasks' losses on
        them no longer falls, and go back to the best epoch. "auto": with 200 labeled
        rows or more in all.
    %(parameters)s

    Attributes
    ----------
    task_ids_ : ndarray of shape (n_tasks,)
        Domain id of each task, the targets -1, -2, ... first.
    task_weights_ : ndarray of shape (n_tasks,)
        Weights of the gradients of the tasks, the mean over the last epoch; equal ones
        are 1 / n_tasks.
    task_weights_path_ : ndarray of shape (n_iter_, n_tasks)
        The same for each epoch.
    task_loss_path_ : ndarray of shape (n_iter_, n_tasks)
        Mean training loss of each task in each epoch, relative to its variance.
    label_shift_, label_scale_ : ndarray of shape (n_tasks,)
        Mean and standard deviation of the labels of each task. A task whose labels are
        all equal gets the standard deviation within the others.
    sample_weight_ : ndarray of shape (n_source,)
        Ones.
    %(attributes)s

    See Also
    --------
    MultiTaskNetClassifier : The same for classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.deep import MultiTaskNetRegressor
    >>> X = np.tile(np.linspace(-2, 2, 40), 2)[:, None]
    >>> task = np.repeat([-1, 1], 40)
    >>> y = np.where(task == 1, 100.0, 1.0) * np.abs(X[:, 0])
    >>> net = MultiTaskNetRegressor(
    ...     weighting="pcgrad", lr=0.01, max_steps=150, random_state=0
    ... )
    >>> net.fit(X, y, sample_domain=task).score(X, y, sample_domain=task) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TransferNetRegressor._parameter_constraints,
        **_TaskNet._parameter_constraints,
    }

    def __init__(self, module=None, *, weighting="equal", **params):
        super().__init__(module, **params)
        self.weighting = weighting

    def _learn_labels(self, data, classes, weight):
        super()._learn_labels(data, classes, weight)
        shifts, variances, mass = [], [], []
        for task in self.task_ids_:
            own = data.rows_of(task) & data.labeled
            y = data.labels(own)
            w = np.ones(len(y)) if weight is None else weight[own]
            order = np.lexsort((w, y))  # sorted: rounding depends on the order
            y, w = y[order], w[order]
            shifts.append(np.average(y, weights=w))
            varies = y[0] < y[-1]
            variance = np.average((y - shifts[-1]) ** 2, weights=w) if varies else 0.0
            variances.append(variance)
            mass.append(len(y))
        variances, mass = np.array(variances), np.array(mass)
        known = variances > 0
        within = np.average(variances[known], weights=mass[known]) if known.any() else 1
        self.label_shift_ = np.array(shifts)
        self.label_scale_ = np.sqrt(np.where(known, variances, within))

    def _codes(self, labels, place):
        codes = (labels - self.label_shift_[place]) / self.label_scale_[place]
        return codes.astype(self._encoder.dtype_name)
