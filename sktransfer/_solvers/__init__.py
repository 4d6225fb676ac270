"""Pure numerics: arrays in, ``(solution, info)`` with a certificate out.

Nothing here knows estimators, domain ids or markers, and nothing here imports
another part of the library.
"""
