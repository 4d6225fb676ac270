"""Pooling: plain learners on source and target rows together."""

from benchmarks.board.registry import method
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.multisource import SingleBestSource

for family in ("linear", "trees"):

    @method(f"SourceOnly, {family}", family=family, tier="core")
    def source_only(problem, family=family):
        """Fit the sources alone."""
        return SourceOnly(problem.learner(family))

    @method(f"Pooled, {family}", family=family, tier="core")
    def pooled(problem, family=family):
        """Give every labeled row the same weight."""
        return Pooled(problem.learner(family))

    @method(f"Pooled, {family}, equal totals", family=family, tier="core")
    def balanced(problem, family=family):
        """Give the sources together the weight of the labeled target rows."""
        share = problem.n_labeled / problem.n_source_rows
        return Pooled(problem.learner(family), source_weight=min(share, 1.0))

    @method(f"Pooled, {family}, domain column", family=family, tier="core")
    def with_domain(problem, family=family):
        """Add a column per domain."""
        return Pooled(problem.learner(family), add_domain="one-hot")

    @method(f"SingleBestSource, {family}", family=family)
    def best_source(problem, family=family):
        """Take the model of the source, or of the target, that is best held out."""
        return SingleBestSource(problem.learner(family))
