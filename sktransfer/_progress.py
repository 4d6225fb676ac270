"""Progress of long fits, by the callbacks of scikit-learn (from 1.9 on).

An estimator that is given callbacks by ``set_callbacks`` notifies them of its stages
and of the fits in each; without callbacks, or with an older scikit-learn, nothing
happens.
"""

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """Return the method."""
        return method


__all__ = ["CallbackSupportMixin", "Progress", "run_task", "with_callbacks"]


class Progress:
    """Stages of a fit, which callbacks follow.

    Parameters
    ----------
    estimator : estimator
        It has :class:`CallbackSupportMixin` among its bases.
    n_stages : int
        Number of stages.
    """

    def __init__(self, estimator: Any, n_stages: int) -> None:
        self._estimator = estimator
        self._root: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self._root = estimator._init_callback_context(max_subtasks=n_stages)
            self._root.call_on_fit_task_begin(estimator=estimator)

    def stage(self, name: str, n_tasks: int) -> "Stage":
        """Begin a stage of some tasks."""
        context = None
        if self._root is not None:
            context = self._root.subcontext(
                task_name=name, max_subtasks=n_tasks, sequential_subtasks=False
            )
        return Stage(self._estimator, context, n_tasks)

    def end(self) -> None:
        """End the fit."""
        if self._root is not None:
            self._root.call_on_fit_task_end(estimator=self._estimator)


class Stage:
    """Tasks of a stage; its context manager begins and ends it."""

    def __init__(self, estimator: Any, context: Any, n_tasks: int) -> None:
        self._estimator, self._context = estimator, context
        self.tasks: list[Any] = [None] * n_tasks
        followed = getattr(estimator, "_skl_callbacks", None)
        if context is not None and followed:
            # before the parallel loop: workers get copies
            self.tasks = [
                Task(estimator, context.subcontext(task_name="fit", task_id=k))
                for k in range(n_tasks)
            ]

    def __enter__(self) -> "Stage":
        if self._context is not None:
            self._context.call_on_fit_task_begin(estimator=self._estimator)
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self._context is not None and kind is None:
            self._context.call_on_fit_task_end(estimator=self._estimator)


class Task:
    """One fit of a stage."""

    def __init__(self, estimator: Any, context: Any) -> None:
        self._estimator, self._context = estimator, context

    def begin(self) -> None:
        """Let callbacks know that the task begins."""
        self._context.call_on_fit_task_begin(estimator=self._estimator)

    def end(self) -> None:
        """Let callbacks know that the task has ended."""
        self._context.call_on_fit_task_end(estimator=self._estimator)

    def run(self, function: Any, *arguments: Any) -> Any:
        """Call a function between the begin and the end of the task."""
        self.begin()
        value = function(*arguments)
        self.end()
        return value


def run_task(task: Any, function: Any, *arguments: Any) -> Any:
    """Call a function; callbacks hear of it where there is a task."""
    if task is None:
        return function(*arguments)
    return task.run(function, *arguments)
