"""What has been saved with a compensation, and undoing it: last first, each once.

The stack is rebuilt by every replay, from the results as the journal holds them. Undoing is decided first, by
Revert or by a failure. Then the branches under way are cancelled and clean up; what is saved by that is undone,
too. Undoing begins when the workflow has ended.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from continuum.commands import Save
from continuum.errors import CompensationFailed
from continuum.journal import Failure, Outcome, Position, Value

__all__ = ["REVERTS", "UndoStack"]

REVERTS: Final = "the run reverts"
"""The reason that branches are cancelled for."""


_NO_CAUSE: Final = Value("")


class UndoStack:
    """The saved steps that can be undone, newest last."""

    __slots__ = ("cause", "position", "running", "steps")

    def __init__(self) -> None:
        self.steps: list[tuple[Save[Any], Any]] = []
        self.position: Position | None = None  # where the undoing stands, once it is decided
        self.cause: Outcome = _NO_CAUSE  # why the run is undone
        self.running = False

    def __bool__(self) -> bool:
        return bool(self.steps)

    def push(self, command: Save[Any], result: Any) -> None:
        """Remember a saved step; steps of the undoing itself are not undone."""
        if not self.running:
            self.steps.append((command, result))

    def decide(self, position: Position, cause: Outcome) -> bool:
        """Have the run undone; False where that was decided before. Of several causes the first error is kept."""
        first = self.position is None
        if first:
            self.position = position
        if first or (isinstance(self.cause, Value) and isinstance(cause, Failure)):
            self.cause = cause
        return first

    def unwind(self) -> Generator[Any, Any, None]:
        """Run the compensations, as steps. Raises CompensationFailed at the first that fails for good.

        All that it goes by is on the stack, so one that is begun anew goes on where another was left.
        """
        self.running = True
        while self.steps:
            command, result = self.steps[-1]
            compensate = command.options.compensate
            assert compensate is not None
            try:
                yield Save(compensate, result, name=f"undo {command.name}")
            except (Exception, SystemExit) as error:  # whatever a step may raise
                original = self.cause.error if isinstance(self.cause, Failure) else None
                raise CompensationFailed(_told(command, error, len(self.steps) - 1, original), original) from error
            self.steps.pop()


def _told(command: Save[Any], error: BaseException, left: int, original: BaseException | None) -> str:
    text = f"the compensation of step {command.name!r} failed: {error!r}; it is still to be done"
    text += f", and {left} more before it" if left else ""
    return text + (f". The run was undone because of {original!r}" if original is not None else "")
