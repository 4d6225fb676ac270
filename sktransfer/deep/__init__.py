"""Neural nets for transfer, trained by skorch on a CPU or a GPU (extra ``deep``)."""

try:
    import skorch  # noqa: F401
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sktransfer.deep needs torch and skorch: pip install 'sktransfer[deep]'."
    ) from error

from sktransfer.deep._adapters import LowRankLinear, add_adapters
from sktransfer.deep._adda import ADDA, DiscriminativeAlignment
from sktransfer.deep._alignment import Alignment, Encoded, Sizes
from sktransfer.deep._baselines import (
    SourceOnlyNet,
    SourceOnlyNetRegressor,
    TargetOnlyNet,
    TargetOnlyNetRegressor,
)
from sktransfer.deep._batch_norm_alignment import BatchNormAlignment
from sktransfer.deep._conditional_alignment import ConditionalAlignment
from sktransfer.deep._conditional_wasserstein import ConditionalWassersteinAlignment
from sktransfer.deep._dan import DAN, DANRegressor, MMDAlignment
from sktransfer.deep._dann import DANN, AdversarialAlignment, DANNRegressor
from sktransfer.deep._datn import DATN
from sktransfer.deep._deep_coral import CORALAlignment, DeepCORAL, DeepCORALRegressor
from sktransfer.deep._disparity_alignments import (
    ClassifierDiscrepancyAlignment,
    MarginDisparityAlignment,
)
from sktransfer.deep._domain_layers import DomainLayer, TransNorm1d
from sktransfer.deep._fine_tuning import FineTuning, FineTuningRegressor
from sktransfer.deep._gta import GTA, GenerativeAlignment
from sktransfer.deep._losses import coral_loss, mk_mmd_loss, soft_triplet_loss
from sktransfer.deep._modules import MLP
from sktransfer.deep._moment_alignment import MomentMatchingAlignment
from sktransfer.deep._multi_adversarial_alignment import MultiAdversarialAlignment
from sktransfer.deep._multi_task_net import (
    MultiTaskNetClassifier,
    MultiTaskNetRegressor,
)
from sktransfer.deep._net import TransferNetClassifier, TransferNetRegressor
from sktransfer.deep._otce_fine_tuning import OTCEFineTuning
from sktransfer.deep._pada import PADA, PartialAlignment
from sktransfer.deep._penalties import (
    AdversarialTraining,
    BatchSpectralPenalization,
    BatchSpectralShrinkage,
    Penalty,
    StartPointPenalty,
)
from sktransfer.deep._prediction_alignments import (
    ClassConfusionAlignment,
    ConsistencyAlignment,
    ContrastiveAlignment,
)
from sktransfer.deep._selective_autoencoder import SelectiveAutoencoder
from sktransfer.deep._semantic_alignment import ContrastiveSemanticAlignment
from sktransfer.deep._source_free_nets import SHOT, SourceFreeNets
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
    TaskState,
    TaskWeighting,
    UncertaintyWeighting,
)
from sktransfer.deep._transport_alignments import (
    JointTransportAlignment,
    WassersteinAlignment,
)
from sktransfer.deep._uowq_net import UOWQNet
from sktransfer.deep._uowq_tasks import UOWQTasks
from sktransfer.deep._weighting_alignments import (
    AdversarialWeighting,
    ImportanceWeighting,
)
from sktransfer.deep._wsdtn import WSDTN

__all__ = [
    "ADDA",
    "AdversarialAlignment",
    "AdversarialTraining",
    "AdversarialWeighting",
    "Alignment",
    "BatchNormAlignment",
    "BatchSpectralPenalization",
    "BatchSpectralShrinkage",
    "CAGrad",
    "CORALAlignment",
    "ClassConfusionAlignment",
    "ClassifierDiscrepancyAlignment",
    "ConditionalAlignment",
    "ConditionalWassersteinAlignment",
    "ConsistencyAlignment",
    "ContrastiveAlignment",
    "ContrastiveSemanticAlignment",
    "DAN",
    "DANN",
    "DANNRegressor",
    "DANRegressor",
    "DATN",
    "DeepCORAL",
    "DeepCORALRegressor",
    "DiscriminativeAlignment",
    "DomainLayer",
    "DynamicAverage",
    "Encoded",
    "EqualTasks",
    "FineTuning",
    "FineTuningRegressor",
    "GTA",
    "GenerativeAlignment",
    "GradNorm",
    "GradientVaccine",
    "ImportanceWeighting",
    "JointTransportAlignment",
    "LossBalance",
    "LowRankLinear",
    "MGDA",
    "MLP",
    "MMDAlignment",
    "MarginDisparityAlignment",
    "MoCo",
    "MoDo",
    "MomentMatchingAlignment",
    "MultiAdversarialAlignment",
    "MultiTaskNetClassifier",
    "MultiTaskNetRegressor",
    "OTCEFineTuning",
    "PADA",
    "PCGrad",
    "PartialAlignment",
    "Penalty",
    "RandomTasks",
    "SHOT",
    "SelectiveAutoencoder",
    "Sizes",
    "SourceFreeNets",
    "SourceOnlyNet",
    "SourceOnlyNetRegressor",
    "StartPointPenalty",
    "TargetOnlyNet",
    "TargetOnlyNetRegressor",
    "TaskState",
    "TaskWeighting",
    "TransNorm1d",
    "TransferNetClassifier",
    "TransferNetRegressor",
    "UOWQNet",
    "UOWQTasks",
    "UncertaintyWeighting",
    "WSDTN",
    "WassersteinAlignment",
    "add_adapters",
    "coral_loss",
    "mk_mmd_loss",
    "soft_triplet_loss",
]
