"""Data with domains: stacking, shift generators, and perturbed real digits."""

from sktransfer.datasets._covariate import make_covariate_shift
from sktransfer.datasets._stack import stack_domains

__all__ = ["make_covariate_shift", "stack_domains"]
