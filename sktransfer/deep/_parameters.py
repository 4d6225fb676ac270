"""Constructor parameters of the nets: prefixes, and inheritance with their text."""

import functools
import inspect
from typing import Any

from sklearn.base import ClassifierMixin

__all__ = ["PREFIXES", "ModuleParametersMixin", "inherit_parameters"]

#: what names of arguments of the parts begin with
PREFIXES = "module__", "head__", "criterion__", "optimizer__"
#: text of the parameters that nets inherit, indented for a docstring of a class
PARAMETERS = {
    "module": """module : Module, class or callable, default=None
        Feature extractor: a torch module (it is copied, never trained in place), or a
        class or function that makes one from the arguments ``module__NAME``; it gets
        the number of inputs as ``n_features`` if it takes that name. None:
        :class:`MLP`. It maps rows of shape (n, ...) to features; outputs with more
        than two axes are flattened.""",
    "head": """head : Module, class or callable, default=None
        Maps features to one output per class, or to one output in regression; a class
        or function is called with the two numbers. It is copied. None: a linear
        layer.""",
    "alignment": """alignment : Alignment, default=None
        What brings the domains together; it is copied. None: nothing.""",
    "gate": """gate : bool, default=False
        Weigh every source row by the density ratio :math:`D / (1 - D)` of a
        discriminator D of domains. Without labeled target rows D has seen no label of
        the target, and its ratio for the features alone is taken.""",
    "agreement": r"""agreement : {"auto"} or bool, default="auto"
        Whether a classifier first trains a net on the labeled target rows alone, with
        as many steps, and weighs every source row by that net's probability of its
        label, in the losses and in the scales; rows of classes without a labeled target
        row have the mean weight. "auto": if there is a gate, whose ratio it multiplies.
        The gate as published is ``gate=True, agreement=False, ensemble=False``.""",
    "ensemble": r"""ensemble : {"auto", "stacked", "equal"} or bool, default="auto"
        Whether predictions are means, of class probabilities or labels, over this net
        and two others that take as many steps: one of the labeled target rows alone and
        one of all labeled rows without alignment and gate. "stacked" (or True): this
        net has a third, and the others divide the rest by penalized least squares on
        target labels that they were trained without: those held out for early
        stopping, or three folds of the labeled rows, for which both are trained again.
        "equal": a third each, in half the time; so does ``partial_fit`` unless a
        ``fit`` came before. Classes without a labeled target row get the probability
        that the nets with the source give them. "auto": "stacked" if there is a gate.
        There is this net alone without a source or without two target labels that
        differ. Features and ``sample_weight_`` are those of this net.""",
    "label_input": """label_input : {"auto"} or bool, default="auto"
        Whether the discriminator sees labels beside features (and thereby matches the
        joint distribution). "auto": if there is a gate.""",
    "max_weight": """max_weight : float in (0, inf], default=10.0
        Bound of the gate's weights in training and in ``sample_weight_``: a few rows
        of a huge ratio would decide a step alone. ``inf`` is the gate as published.""",
    "gate_smoothing": r"""gate_smoothing : float in [0, inf), default=1.0
        Width of Gaussian noise on the features that the gate's discriminator sees in
        training, in units of Scott's bandwidth (1992)
        :math:`\sigma\, n^{-1/(d+4)}`, where :math:`\sigma` are the standard deviations
        of the d features and n is the number of labeled target rows (of all target
        rows, where the discriminator sees no label of the target). Without noise it
        memorizes the few labeled rows and rejects every source row. Where
        features work against a discriminator, that one sees them without noise, and
        the gate has a discriminator of its own. 0 is the gate as published: one for
        both.""",
    "discriminator_units": """discriminator_units : tuple of int, default=(64,)
        Widths of the hidden layers of each discriminator of domains.""",
    "mu": r"""mu : float in [0, inf), default=1.0
        Largest weight of the alignment; it is ramped up from 0 as
        :math:`\mu\,(2 / (1 + e^{-10 p}) - 1)` over the share p of the training.""",
    "source_weight": r"""source_weight : float in [0, inf), default=1.0
        Weight :math:`\lambda` of the loss of the source rows.""",
    "source_epochs": """source_epochs : int in [0, inf), default=None
        Passes over the source rows. 0: ``module`` is an extractor that is trained
        already. None: as many steps as the fine-tuning takes, in equal parts for the
        sources of a ``path``.""",
    "keep_head": """keep_head : bool, default=True
        Fine-tune the head of the source net; False: a new head.""",
    "trainable": """trainable : {"all", "head", "adapter"} or int, default="all"
        What is fine-tuned: everything, the head alone, the head and low-rank adapters
        of every linear layer of the frozen extractor, or, for an int m, the last m
        blocks and the head: the others are frozen.""",
    "adapter_rank": """adapter_rank : int in [1, inf), default=8
        Rank of the adapters.""",
    "adapter_alpha": """adapter_alpha : float in (0, inf), default=8.0
        Scale of the adapters, see :class:`LowRankLinear`.""",
    "lr_ratio": """lr_ratio : float in [0, inf), default=1.0
        Learning rate of the extractor over that of the head, in the fine-tuning. 0
        freezes the extractor: a linear probe.""",
    "path": """path : "auto" or array-like of int, default=None
        Ids of the sources in their order, the nearest to the target last; sources that
        it lacks are left out, with weight 0. "auto": descending maximum mean
        discrepancy to the target. None: all sources at once.""",
    "penalties": """penalties : list of Penalty, default=None
        What is added to the losses in every step, such as
        :class:`BatchSpectralShrinkage`; they are copied. None: nothing.""",
    "criterion": """criterion : Module, class or callable, default=None
        Loss of a row: a criterion of torch, or a class or function that makes one from
        the arguments ``criterion__NAME``. It gets the outputs (a vector in regression)
        and the class codes or scaled labels. None: the cross-entropy, or the squared
        error in regression.""",
    "max_epochs": """max_epochs : int in [1, inf), default=None
        Number of passes over the largest kind of rows (source or target), whichever of
        them the net uses. None: by ``max_steps``.""",
    "max_steps": """max_steps : int in [1, inf), default=None
        Number of steps of the optimizer; they are cut into epochs of a pass or of a
        fiftieth of them, whichever is more. None, and ``max_epochs=None``: 1000 steps
        or 10 passes, whichever is more.""",
    "epoch_size": """epoch_size : int in [1, inf), default=None
        Number of rows that make a pass. None: those of the largest kind that ``fit``
        gets. Where a fit without the sources is compared with one with them
        (:class:`~sktransfer.safe.TransferGuard`,
        :func:`~sktransfer.metrics.cross_val_ntg`) it gets the number of the latter, so
        that both take the same number of steps.""",
    "batch_size": """batch_size : int in [1, inf), default=128
        Rows of each kind (source, labeled target, all target) in a batch.""",
    "lr": """lr : float in (0, inf), default=1e-3
        Learning rate.""",
    "optimizer": """optimizer : class, default=None
        Optimizer of torch whose steps need no closure; ``optimizer__NAME`` are further
        arguments. None: Adam as torch has it. With momentum features and a
        discriminator run in circles; ``optimizer__betas=(0.0, 0.99)`` makes the domains
        more alike. Over eighteen tasks DANN was more accurate so, by little more than
        noise, and on turned moons much less (``benchmarks/net_defaults.md``).""",
    "standardize": """standardize : bool or "robust", default=True
        Scale every feature (channel for images) to mean 0 and variance 1 over the rows
        that the net sees; "robust": to median 0 and the interquartile range of a
        standard normal distribution. No scale is less than a twentieth of the range of
        its feature, so that rare values do not become huge (where "robust" has an
        interquartile range, that is taken as it is).""",
    "early_stopping": """early_stopping : {"auto"} or bool, default="auto"
        Hold out labeled target rows, stop when their loss no longer falls, and go back
        to the best epoch. Epochs count once the objective no longer changes: with an
        alignment or a gate from half of the training on. "auto": with 200 labeled
        target rows or more. Held-out rows stay in the fit as unlabeled target rows;
        with ``warm_start`` they are the same in every fit on the same rows.""",
    "validation_fraction": """validation_fraction : float in (0, 1), default=0.2
        Share of the labeled target rows to hold out.""",
    "n_iter_no_change": """n_iter_no_change : int in [1, inf), default=10
        Epochs without progress before an early stop.""",
    "callbacks": """callbacks : list, default=None
        Further callbacks of skorch, such as schedules of the learning rate. Those that
        monitor or score held-out rows need ``early_stopping`` to hold some out; what
        they score are class codes, or scaled labels in regression. They follow the net
        itself: the other nets of an ``ensemble`` train without, at a constant rate.
        Those of scikit-learn (1.9 or later) follow the epochs of a fit:
        ``net.set_callbacks(sklearn.callback.ProgressBar())`` shows a bar.""",
    "device": """device : str, default="auto"
        Device of torch: "auto" is "cuda" where there is a GPU, else "cpu". Rows that
        take more than a gigabyte stay in the memory of the host, and a batch at a time
        is moved.""",
    "dtype": """dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the net. "auto": that of the rows on the CPU without
        ``mixed_precision``, else float32.""",
    "mixed_precision": """mixed_precision : bool, default=False
        Compute steps in bfloat16 where torch deems it safe.""",
    "compile": """compile : bool, default=False
        Compile the module with ``torch.compile``.""",
    "warm_start": """warm_start : bool, default=False
        Go on from the last fit, with the next random numbers, for as many steps
        again; ``mu`` is at its largest by then. Weights of losses, rates and optimizer,
        batches, callbacks, early stopping and ``verbose`` may change in between; an
        optimizer that changes begins anew. What the net was set up with, such as
        ``module``, ``alignment`` and scales, stays.""",
    "verbose": """verbose : int or bool, default=0
        1: print a line of losses per epoch; 2: and show a progress bar of its
        steps.""",
    "random_state": """random_state : int, RandomState instance or None, default=None
        Seed of initial weights and batches. An int makes fits on a CPU repeatable,
        also for rows in another order.""",
    "class_weight": """class_weight : dict or "balanced", default=None
        Weights of the classes in the losses of the labels, as in scikit-learn;
        "balanced" takes the frequencies among the sources and those among the labeled
        target rows, each for its own loss and over the classes that are there. They
        multiply ``sample_weight``.""",
    "module_params": """**module_params : dict
        Arguments of module, head, criterion and optimizer: ``module__NAME``,
        ``head__NAME``, ``criterion__NAME``, ``optimizer__NAME``. skorch's
        ``optimizer__param_groups=[("extractor*", {"lr": 1e-4})]`` gives the parts
        (``extractor``, ``head``, ``discriminator``, ``gate_discriminator``,
        ``alignment``) rates of their own.""",
}
#: text of their attributes; ``classes_`` is a classifier's
ATTRIBUTES = {
    "classes_": """classes_ : ndarray of shape (n_classes,)
        Class labels.""",
    "sample_weight_": """sample_weight_ : ndarray of shape (n_source,)
        Weights of the gate after training, times those of ``agreement``, in the order
        of the source rows in the input; ones without either. A row whose
        ``sample_weight`` is 0 has 0.""",
    "ensemble_weights_": """ensemble_weights_ : ndarray of shape (3,)
        Weights of this net, the target alone and the net without gate in predictions;
        1, 0 and 0 without a mean.""",
    "path_": """path_ : list of int
        Ids of the sources in their order.""",
    "distances_": """distances_ : dict of int to float
        Squared discrepancy of each source to the target; empty unless ``path="auto"``
        has two sources or more.""",
    "history_": """history_ : dict of str to ndarray of shape (n_iter_,)
        Mean of every loss in each epoch, and the last ``mu``.""",
    "net_": """net_ : NeuralNet
        The skorch net that trained.""",
    "n_iter_": """n_iter_ : int
        Number of epochs.""",
    "n_features_in_": """n_features_in_ : int
        Number of features (of channels for images) seen in ``fit``.""",
    "feature_names_in_": """feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.""",
}

_SECTIONS = """Parameters
    ----------
    %(module)s
    %(parameters)s

    Attributes
    ----------
    %(attributes)s"""


class ModuleParametersMixin:
    """Accept ``module__NAME``, ``optimizer__NAME`` and so on as parameters."""

    def _set_module_params(self, params):
        for name in params:
            if not name.startswith(PREFIXES):
                raise TypeError(
                    f"{type(self).__name__}() got an unexpected keyword argument "
                    f"{name!r}; arguments of the parts start with "
                    f"{' or '.join(map(repr, PREFIXES))}."
                )
        vars(self).update(params)

    def _params_of(self, prefix):
        """Return the parameters with a prefix, which is cut off."""
        return {
            name.removeprefix(prefix): value
            for name, value in vars(self).items()
            if name.startswith(prefix)
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, those of the module and the optimizer included.

        Parameters
        ----------
        deep : bool, default=True
            Include parameters of estimators among the parameters.

        Returns
        -------
        params : dict
            Names and values.
        """
        own = {k: v for k, v in vars(self).items() if k.startswith(PREFIXES)}
        return super().get_params(deep=deep) | own

    def set_params(self, **params: Any) -> "ModuleParametersMixin":
        """Set parameters, those of the module and the optimizer included.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : object
            The estimator.
        """
        prefixed = {k: v for k, v in params.items() if k.startswith(PREFIXES)}
        vars(self).update(prefixed)
        super().set_params(**{k: v for k, v in params.items() if k not in prefixed})
        return self


def inherit_parameters(*, but=()):
    """Give a net the parameters of its bases: in signature, docstring and validation.

    The class takes ``**params`` and hands them on. Its signature gets their names, so
    that ``help`` and scikit-learn's introspection find them. In its docstring
    ``%(module)s``, ``%(parameters)s`` and ``%(attributes)s``, each on its own line,
    stand for the inherited text; what the class describes itself is left out.
    ``%(sections)s`` stands for both sections of a class that describes nothing itself.

    Parameters
    ----------
    but : tuple of str, default=()
        Parameters of the base that the class decides itself.

    Returns
    -------
    decorate : callable
        Decorator of a class.
    """

    def decorate(cls):
        inner = cls.__init__

        @functools.wraps(inner)
        def __init__(self, *args, **kwargs):
            for name in set(but) & set(kwargs):
                raise TypeError(
                    f"{cls.__name__}() got an unexpected keyword argument {name!r}"
                )
            inner(self, *args, **kwargs)

        constraints = {}
        for base in reversed(cls.__mro__):
            constraints |= vars(base).get("_parameter_constraints", {})
        cls._parameter_constraints = constraints
        __init__.__signature__ = _merged_signature(cls, but)
        cls.__init__ = __init__
        cls.__doc__ = _filled(cls)
        return cls

    return decorate


def _merged_signature(cls, but):
    """Merge the signatures of the classes that hand keywords on to each other."""
    merged = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        own = inspect.signature(vars(base)["__init__"]).parameters
        merged |= {name: p for name, p in own.items() if name not in merged}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    # prefixed arguments have no names of their own, so the signature leaves them out
    kept = [
        p for p in merged.values() if p.name not in but and p.kind is not p.VAR_KEYWORD
    ]
    return inspect.Signature(sorted(kept, key=lambda p: p.kind))


def _filled(cls):
    """Return the docstring with the inherited text, or None under ``python -OO``."""
    doc = vars(cls).get("__doc__")
    if doc is None:
        return None
    if "    ---" not in doc and "%(sections)s" not in doc:
        doc = f"{doc.rstrip()}\n\n    %(sections)s\n    "
    doc = doc.replace("%(sections)s", _SECTIONS)
    names = [*cls.__init__.__signature__.parameters, "module_params"]
    parameters = [n for n in names if n in PARAMETERS and n != "module"]
    left_out = set() if issubclass(cls, ClassifierMixin) else {"classes_"}
    if "path" not in cls.__init__.__signature__.parameters:
        left_out |= {"path_", "distances_"}
    if "ensemble" not in cls.__init__.__signature__.parameters:
        left_out |= {"ensemble_weights_"}
    attributes = [n for n in ATTRIBUTES if n not in left_out]
    for mark, inherited in {
        "%(module)s": _undescribed(["module"], PARAMETERS, doc),
        "%(parameters)s": _undescribed(parameters, PARAMETERS, doc),
        "%(attributes)s": _undescribed(attributes, ATTRIBUTES, doc),
    }.items():
        doc = doc.replace(mark, inherited)
    return doc


def _undescribed(names, texts, doc):
    """Join the texts of the names that a docstring does not describe itself."""
    return "\n    ".join(texts[n] for n in names if f"\n    {n} : " not in doc)
