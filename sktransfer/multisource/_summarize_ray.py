"""Summary of a Ray dataset: every block where it is, merged as summaries arrive."""

import pickle
from typing import Any

from sktransfer.multisource._summarize import (
    SourceSummarizer,
    check_columns,
    expansion_point,
    n_counted,
    split_frame,
)


def summarize_ray(
    estimator: Any, dataset: Any, y: Any, sample_weight: Any = None
) -> Any:
    """Summarize the rows of a Ray dataset.

    Parameters
    ----------
    estimator : estimator
        As in ``summarize_source``; an unfitted one is fitted to the first batch with
        rows, of a classifier with two classes.
    dataset : ray.data.Dataset
        Features, labels and weights, in columns of numbers.
    y : str
        Column of the labels.
    sample_weight : str, default=None
        Column of the weights.

    Returns
    -------
    summary : SourceSummary
        Summary of all rows. Blocks are summarized by the workers of the cluster; a
        pickled summary of each comes back.
    """
    if not hasattr(dataset, "map_batches"):
        raise TypeError(f"X must be a Ray dataset, got {type(dataset).__name__}.")
    check_columns(dataset.columns() or [], y, sample_weight)
    batches = dataset.iter_batches(batch_format="pandas")
    splits = (split_frame(batch, y, sample_weight) for batch in batches)
    used = (chunk for chunk in splits if n_counted(chunk[0], chunk[2]))
    model = expansion_point(estimator, used)

    def summarize_batch(batch: Any) -> Any:
        summarizer = SourceSummarizer(model)
        summarizer.partial_fit(*split_frame(batch, y, sample_weight))
        found = getattr(summarizer, "summary_", None)
        return {"summary": [] if found is None else [pickle.dumps(found)]}

    blocks = dataset.map_batches(
        summarize_batch, batch_format="pandas", batch_size=None
    )
    summary = None
    for row in blocks.iter_rows():
        part = pickle.loads(row["summary"])
        summary = part if summary is None else summary.merge(part)
    if summary is None:
        raise ValueError("The dataset holds no row of positive weight.")
    return summary
