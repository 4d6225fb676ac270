"""Carry the model, not the data: source hypotheses and priors."""

from sktransfer.hypothesis._secure_rls import SecureRLS

__all__ = ["SecureRLS"]
