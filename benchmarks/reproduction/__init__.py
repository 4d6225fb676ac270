"""Claims of the papers, one module per paper.

A module holds experiments (what is run) and claims (what is concluded from it) and
lists its claims in ``CLAIMS``. A new row of the table is a new ``Claim``.
"""
