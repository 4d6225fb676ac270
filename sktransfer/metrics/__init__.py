"""Similarity of domains and transferability of source models.

Similarity measures compare source rows with target rows; small means similar unless
the function documents the contrary. Transferability scores judge the features or the
predictions of a source model on labeled target rows; higher is better, and logarithms
are natural.
"""

from sktransfer.metrics._azab import azab_weights
from sktransfer.metrics._bregman import bregman
from sktransfer.metrics._compare_domains import compare_domains
from sktransfer.metrics._domain_classifier import proxy_a_distance
from sktransfer.metrics._feature_correlation import feature_correlation
from sktransfer.metrics._gap_learning_curve import (
    GapLearningCurve,
    gap_learning_curve,
)
from sktransfer.metrics._gaussian import coral_distance, gaussian_kl
from sktransfer.metrics._gbc import gbc
from sktransfer.metrics._h_score import h_score
from sktransfer.metrics._hsic import hsic
from sktransfer.metrics._label_informed import label_informed_divergence
from sktransfer.metrics._leep import leep, n_leep, nce
from sktransfer.metrics._logme import logme
from sktransfer.metrics._maximal_h_score import maximal_h_score
from sktransfer.metrics._mmd import mmd, mmd_test
from sktransfer.metrics._mmd_of_chunks import mmd_of_chunks
from sktransfer.metrics._negative_transfer import (
    cross_val_ntg,
    make_ntg_scorer,
    negative_transfer_gap,
)
from sktransfer.metrics._otce import (
    OTCEComponents,
    OTCERegressor,
    otce,
    otce_components,
)
from sktransfer.metrics._q_statistic import q_statistic
from sktransfer.metrics._query_target import query_target
from sktransfer.metrics._rank_of_domain import rank_of_domain
from sktransfer.metrics._rank_sources import rank_sources
from sktransfer.metrics._ranking import ranking_footrule, ranking_ndcg
from sktransfer.metrics._scatter import domain_transferability_estimation
from sktransfer.metrics._sequential import SequentialHarmTest
from sktransfer.metrics._silhouette import silhouette
from sktransfer.metrics._subset_influence import subset_influence
from sktransfer.metrics._target_error_bound import target_error_bound
from sktransfer.metrics._target_estimate import (
    TargetEstimate,
    target_coefficients,
    target_mean,
    target_score,
)
from sktransfer.metrics._transfer_affinity import (
    affinity_of_losses,
    transfer_affinity,
)
from sktransfer.metrics._transferability_scorers import (
    gbc_scorer,
    h_score_scorer,
    leep_scorer,
    logme_scorer,
    make_otce_scorer,
    make_transferability_scorer,
    n_leep_scorer,
    nce_scorer,
    otce_scorer,
    silhouette_scorer,
    transrate_scorer,
)
from sktransfer.metrics._transport import (
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein,
)
from sktransfer.metrics._transrate import transrate
from sktransfer.metrics._which_shift import ShiftTest, which_shift

__all__ = [
    "GapLearningCurve",
    "OTCEComponents",
    "OTCERegressor",
    "SequentialHarmTest",
    "ShiftTest",
    "TargetEstimate",
    "affinity_of_losses",
    "azab_weights",
    "bregman",
    "compare_domains",
    "coral_distance",
    "cross_val_ntg",
    "domain_transferability_estimation",
    "feature_correlation",
    "gap_learning_curve",
    "gaussian_kl",
    "gbc",
    "gbc_scorer",
    "h_score",
    "h_score_scorer",
    "hsic",
    "label_informed_divergence",
    "leep",
    "leep_scorer",
    "logme",
    "logme_scorer",
    "make_ntg_scorer",
    "make_otce_scorer",
    "make_transferability_scorer",
    "maximal_h_score",
    "mmd",
    "mmd_of_chunks",
    "mmd_test",
    "n_leep",
    "n_leep_scorer",
    "nce",
    "nce_scorer",
    "negative_transfer_gap",
    "otce",
    "otce_components",
    "otce_scorer",
    "proxy_a_distance",
    "q_statistic",
    "query_target",
    "rank_of_domain",
    "rank_sources",
    "ranking_footrule",
    "ranking_ndcg",
    "silhouette",
    "silhouette_scorer",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "subset_influence",
    "target_coefficients",
    "target_error_bound",
    "target_mean",
    "target_score",
    "transfer_affinity",
    "transrate",
    "transrate_scorer",
    "wasserstein",
    "which_shift",
]
