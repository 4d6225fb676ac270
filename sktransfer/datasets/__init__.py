"""Data with domains: stacking, shift generators, and perturbed real digits."""

from sktransfer._domains import mark_unlabeled
from sktransfer.datasets._concept import make_concept_shift
from sktransfer.datasets._covariate import make_covariate_shift
from sktransfer.datasets._digits import load_perturbed_digits
from sktransfer.datasets._frame import from_frame
from sktransfer.datasets._label import make_label_shift
from sktransfer.datasets._stack import stack_domains
from sktransfer.datasets._subspace import make_subspace_shift

__all__ = [
    "from_frame",
    "load_perturbed_digits",
    "make_concept_shift",
    "make_covariate_shift",
    "make_label_shift",
    "make_subspace_shift",
    "mark_unlabeled",
    "stack_domains",
]
