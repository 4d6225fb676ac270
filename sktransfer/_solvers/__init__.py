"""Pure numerics: arrays in, ``(solution, info)`` with a certificate out.

Nothing here refers to estimators, domain ids or markers, and nothing here imports
another part of the library.
"""
