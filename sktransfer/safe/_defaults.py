"""Defaults of the guard and the portfolio, in one place."""

#: temperature T of the weights of a portfolio's members; this, and all that is said of
#: a portfolio below, is the choice of ``benchmarks/portfolio.md`` on its "tune" sets
TEMPERATURE = 12.0
#: tolerated probability, given the evidence, of transferring too much, in a portfolio
PORTFOLIO_RISK = 0.4
#: prior probability that the best weight of transfer is 0, in a portfolio
PORTFOLIO_ATOM = 0.2
#: what the mean trial is worth in labels when the members of a portfolio are weighed
TRIAL_WORTH = 30.0
#: prior probability, before any trial, that the best weight is 0: useless sources get a
#: part in at most 5 % of the draws
TRIAL_ATOM = 0.6
#: the same for 1: nearly nothing, so that trials alone can make it likely
TRIAL_WHOLE = 1e-4
#: tolerated probability, given the evidence, of transferring too much, in a guard
RISK = 0.3
#: prior probability that the best weight of transfer is 0, in a guard: useless sources
#: get a part in at most 5 % of the draws
ATOM = 0.45
#: factor by which the posterior of the weight is widened; ``benchmarks/posterior.py``
#: measures how much too narrow it is without
INFLATION = 1.5
#: a smaller weight of transfer is a refusal, which spares one model in predict
LEAST_WEIGHT = 0.01
