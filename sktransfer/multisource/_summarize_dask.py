"""Summary of a Dask dataframe: every partition where it is, merged in a tree."""

from typing import Any

from sktransfer.multisource._summarize import (
    SourceSummarizer,
    check_columns,
    expansion_point,
    n_counted,
    split_frame,
)

_FAN_IN = 16


def summarize_dask(
    estimator: Any, frame: Any, y: Any, sample_weight: Any = None
) -> Any:
    """Summarize the rows of a Dask dataframe.

    Parameters
    ----------
    estimator : estimator
        As in ``summarize_source``; an unfitted one is fitted to the first partition
        with rows, of a classifier with two classes.
    frame : dask.dataframe.DataFrame
        Features, labels and weights.
    y : str
        Column of the labels.
    sample_weight : str, default=None
        Column of the weights.

    Returns
    -------
    summary : SourceSummary
        Summary of all rows. Partitions are summarized by the active scheduler; what
        comes back is one summary.
    """
    import dask

    if not (hasattr(frame, "columns") and hasattr(frame, "to_delayed")):
        raise TypeError(
            f"X must be a Dask dataframe, got {type(frame).__name__}: make one with "
            "dask.dataframe.from_dask_array."
        )
    check_columns(frame.columns, y, sample_weight)
    partitions = frame.to_delayed()
    splits = (split_frame(p.compute(), y, sample_weight) for p in partitions)
    used = (chunk for chunk in splits if n_counted(chunk[0], chunk[2]))
    model = dask.delayed(expansion_point(estimator, used))
    parts = [
        dask.delayed(_summarize_partition)(model, partition, y, sample_weight)
        for partition in partitions
    ]
    while len(parts) > 1:
        groups = [parts[i : i + _FAN_IN] for i in range(0, len(parts), _FAN_IN)]
        parts = [dask.delayed(merge_summaries)(group) for group in groups]
    (summary,) = dask.compute(parts[0])
    if summary is None:
        raise ValueError("The dataframe holds no row of positive weight.")
    return summary


def merge_summaries(summaries: Any) -> Any:
    """Merge summaries; None stands for no row."""
    found = [summary for summary in summaries if summary is not None]
    return found[0].merge(*found[1:]) if found else None


def _summarize_partition(model: Any, frame: Any, y: Any, sample_weight: Any) -> Any:
    summarizer = SourceSummarizer(model)
    summarizer.partial_fit(*split_frame(frame, y, sample_weight))
    return getattr(summarizer, "summary_", None)
