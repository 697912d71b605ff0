"""AsyncRun, the handle to one run. What it asks for is carried out by the :class:`~continuum.client.Client`."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from continuum.description import Description, HistoryStep, Kept, describe, describe_kept, history_step
from continuum.durations import Duration
from continuum.journal import MARKS
from continuum.store.ends import told_result
from continuum.store.ledger import HistoryRow
from continuum.store.preview import preview

if TYPE_CHECKING:
    from continuum.client import Client

__all__ = ["AsyncRun"]

T_co = TypeVar("T_co", covariant=True)


class AsyncRun(Generic[T_co]):
    """A handle to one run. Making it asks nothing; every method asks the store.

    Each raises RunNotFound if there is no such run. `listed` is how it stood when it was listed.
    """

    def __init__(self, client: Client, run_id: str, listed: Description | None = None) -> None:
        self._client = client
        self.id = run_id
        self.listed = listed

    def __repr__(self) -> str:
        return f"<run {self.id!r}>"

    def __await__(self) -> Generator[Any, Any, AsyncRun[T_co]]:
        """Check that the run exists, and give the handle."""
        yield from self.status().__await__()
        return self

    async def result(self, timeout: Duration | None = None) -> T_co:
        """Wait until the run has ended, and give its result; `timeout` is seconds, a timedelta or text.

        Raises RunFailed (the workflow's own exception is its cause, or an UnpicklableError where its class
        cannot be imported), RunCancelled, RunReverted, RunTimedOut, or TimeoutError if it has not ended in time;
        then it goes on all the same.
        """
        end = await self._client.wait_for_end(self.id, timeout)
        result: T_co = told_result(self._client.ledger.codec, self.id, end)
        return result

    async def wait(self, timeout: Duration | None = None) -> str:
        """Wait until the run has ended, and give its status word; loads nothing. Raises TimeoutError."""
        return (await self._client.wait_for_end(self.id, timeout)).status.value

    async def status(self) -> str:
        """One of the status words, such as ``"waiting"``."""
        state = await self._client.read(partial(self._client.ledger.state, run_id=self.id))
        return state.status.value

    async def describe(self) -> Description:
        """How the run stands, with what it was started with and how it ended; loads nothing."""
        return describe(await self._client.read(partial(self._client.ledger.info, run_id=self.id)))

    async def kept(self) -> Kept:
        """The continuation that is kept of the run, or why none is; loads nothing."""
        ledger, run_id = self._client.ledger, self.id
        return await self._client.read(
            lambda view: describe_kept(
                ledger.record(view, run_id),
                ledger.continuation(view, run_id),
                ledger.refusal(view, run_id),
                ledger.survivors(view, run_id),
            )
        )

    async def send(self, name: str, payload: Any = None) -> None:
        """Send an event; it is durable on return. Raises RunFinished, UnpicklableValue, PayloadTooLarge."""
        await self._client.send(self.id, name, payload)

    async def cancel(self, reason: str = "") -> None:
        """Ask the run to end: Cancelled is raised at its yield. The second time it ends at once.

        Raises RunFinished if it has ended.
        """
        await self._client.cancel(self.id, reason)

    async def retry(self) -> None:
        """Let a failed run go on from the step that failed. Raises WrongState if it did not fail."""
        await self._client.retry(self.id)

    async def state(self) -> dict[str, Any]:
        """What the run has published."""
        payload = await self._client.read(partial(self._client.ledger.published, run_id=self.id))
        published: dict[str, Any] = {} if payload is None else self._client.ledger.codec.decode(payload)
        return published

    async def published(self) -> Any:
        """What the run has published as people see it, None if nothing; loads nothing."""
        payload = await self._client.read(partial(self._client.ledger.published, run_id=self.id))
        return None if payload is None else preview(payload)

    async def history(self) -> list[HistoryStep]:
        """The completed commands of the run, in the order of their completion."""
        rows = await self.recorded()
        return [history_step(row) for row in rows if row.kind not in MARKS]

    async def recorded(self, start: int = 0, limit: int | None = None) -> list[HistoryRow]:
        """The entries of the run's journal from that number on, `limit` at most; values stay as they are stored."""
        return await self._client.read(partial(self._client.ledger.history, run_id=self.id, start=start, limit=limit))
