"""What errors mean to a script."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from projects import Project

from continuum import errors
from continuum.cli.exits import explain, require_result
from continuum.description import Description


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RunFailed("a", "boom"), 1),
        (errors.RunTimedOut("a"), 1),
        (errors.RunCancelled("a"), 1),
        (errors.RunReverted("a"), 1),
        (errors.BadArguments("no"), 2),
        (errors.UnknownWorkflow("a", []), 2),
        (errors.InvalidId("no"), 2),
        (errors.RunNotFound("a"), 3),
        (errors.WrongState("a", "waiting", "no"), 4),
        (errors.RunFinished("a", "failed", "no"), 4),
        (errors.RunExists("a", "order"), 4),
        (errors.StoreBusy("no"), 5),
        (errors.CorruptRecord("no"), 5),
        (errors.ReplayMismatch("no"), 6),
        (TimeoutError("late"), 124),
        (ExceptionGroup("wrapped", [errors.StoreFull("no")]), 5),
        (ZeroDivisionError(), None),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int | None) -> None:
    assert explain(error)[0] == code


def described(status: str, **fields: Any) -> Description:
    now = datetime(2024, 5, 1, tzinfo=UTC)
    blank: dict[str, Any] = dict.fromkeys(Description.__slots__)
    given = {"id": "a", "status": status, "created": now, "updated": now, "waiting_for": "", "reason": "", **fields}
    return Description(**{**blank, **given})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("pending", errors.WrongState),
        ("running", errors.WrongState),
        ("waiting", errors.WrongState),
        ("blocked", errors.ReplayMismatch),
        ("failed", errors.RunFailed),
        ("timed_out", errors.RunTimedOut),
        ("cancelled", errors.RunCancelled),
        ("reverted", errors.RunReverted),
    ],
)
def test_a_run_without_a_result_is_told_by_its_error(status: str, error: type[errors.ContinuumError]) -> None:
    with pytest.raises(error) as raised:
        require_result(described(status, reason="two\nlines"))
    assert type(raised.value) is error


def test_a_completed_run_has_a_result() -> None:
    require_result(described("completed", result=5))


def test_the_reason_of_an_end_is_told_in_one_line() -> None:
    with pytest.raises(errors.RunFailed, match=r"ValueError: two lines$"):
        require_result(described("failed", reason="ValueError: two\nlines"))


@pytest.mark.parametrize("command", [["start", "flows:order", "ord-1"], ["ls"], ["demo"]])
def test_a_store_that_would_end_with_the_command_is_refused_with_2(project: Project, command: list[str]) -> None:
    done = project(*command, "--store", "memory://x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "memory://x is one process's" in done.stderr
