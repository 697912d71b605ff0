"""Errors through the journal: type, content, causes and the text of the traceback."""

from __future__ import annotations

import socket
import threading
import traceback
from dataclasses import dataclass
from typing import Any

import pytest

from continuum import errors
from continuum.errors import ContinuumError, UnpicklableError
from continuum.store.codec import Codec, traceback_of
from continuum.store.preview import preview

CODEC = Codec()
LOCK = threading.Lock()


class Declined(Exception):
    def __init__(self, order: str, *, code: int) -> None:
        super().__init__(f"{order} was declined")
        self.code = code
        self.lock: object = None


class Silent(Exception):
    def __init__(self, first: int, second: int) -> None:
        self.sum = first + second


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class Reduced(Exception):
    def __init__(self, code: int, resource: object = None) -> None:
        super().__init__(code)
        self.resource = resource

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, (self.args[0], "reopened")


class BadlyReduced(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return BadlyReduced, (1, 2, 3), 5


class Particular(Exception):
    def __new__(cls, *, only: str) -> Particular:
        return super().__new__(cls, only)

    def __init__(self, *, only: str) -> None:
        self.only = only


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class MyOSError(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "gone", path)


class Exits(ExceptionGroup[Exception]):
    def __new__(cls, problems: list[Exception], code: int) -> Exits:
        made = super().__new__(cls, f"exit {code}", problems)
        made.code = code
        return made

    def __init__(self, problems: list[Exception], code: int) -> None:
        super().__init__(problems, code)  # type: ignore[arg-type]

    code: int


def noted() -> ValueError:
    error = ValueError("x")
    error.add_note("tried twice")
    return error


def undecodable() -> UnicodeDecodeError:
    return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


ERRORS: list[BaseException] = [
    ValueError(),
    ValueError("a", 1, None),
    KeyError("x"),
    noted(),
    Declined("ord-1", code=7),
    Silent(1, 2),
    Slotted(3),
    Particular(only="me"),
    Frozen(4),
    OSError(2, "No such file", "a.txt"),
    OSError("just text"),
    FileNotFoundError(2, "gone", "a", None, "b"),
    MyOSError("a.txt"),
    undecodable(),
    ImportError("no", name="mod", path="/x"),
    SyntaxError("bad", ("f.py", 1, 2, "x =", 1, 3)),
    StopIteration(5),
    SystemExit(3),
    KeyboardInterrupt(),
    errors.Cancelled("why"),
    errors.UnknownWorkflow("a", ["b"]),
    errors.RunFailed("r", "why", "text"),
    errors.RunFinished("r", "completed", "too late"),
    errors.StepTimeout("late"),
    errors.ReplayMismatch("m", position="4"),
    errors.UnpicklableError("a.B", "text"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was(error: BaseException) -> None:
    copy = CODEC.failure(error).error
    assert copy is not error
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
    assert traceback.format_exception_only(copy) == traceback.format_exception_only(error)


def test_what_the_builtin_errors_keep_elsewhere_comes_back() -> None:
    copy: Any = CODEC.failure(FileNotFoundError(2, "gone", "a", None, "b")).error
    assert (copy.errno, copy.strerror, copy.filename, copy.filename2) == (2, "gone", "a", "b")
    assert CODEC.failure(MyOSError("a.txt")).error.filename == "a.txt"  # type: ignore[attr-defined]
    assert CODEC.failure(Slotted(3)).error.code == 3  # type: ignore[attr-defined]
    assert CODEC.failure(StopIteration(5)).error.value == 5  # type: ignore[attr-defined]
    assert CODEC.failure(undecodable()).error.object == b"\xff"  # type: ignore[attr-defined]


def test_a_group_comes_back_with_its_errors() -> None:
    group = ExceptionGroup("several", [Declined("a", code=1), ExceptionGroup("inner", [KeyError("k")])])
    copy = CODEC.failure(group).error
    assert isinstance(copy, ExceptionGroup)
    assert repr(copy) == repr(group)
    declined, inner = copy.exceptions
    assert isinstance(declined, Declined)
    assert declined.code == 1
    assert isinstance(inner, ExceptionGroup)
    assert type(inner.exceptions[0]) is KeyError


def test_a_group_with_a_constructor_of_its_own_comes_back() -> None:
    copy = CODEC.failure(Exits([ValueError("x")], 3)).error
    assert isinstance(copy, Exits)
    assert (copy.code, copy.message, repr(copy.exceptions)) == (3, "exit 3", "(ValueError('x'),)")


def test_an_error_of_a_class_without_a_name_comes_back() -> None:
    class Local(Exception):
        def __init__(self, *, code: int) -> None:
            self.code = code

    outcome = CODEC.failure(Local(code=5))
    assert type(outcome.error) is Local
    assert outcome.error.code == 5
    assert outcome.data is not None
    assert outcome.data[:1] == b"E"


def test_an_error_of_a_class_with_a_name_holds_no_code() -> None:
    for error in (ValueError(), Declined("a", code=1), errors.RunNotFound("r")):
        assert CODEC.encode_error(error)[:1] == b"e"


def test_the_authors_own_reduction_is_used() -> None:
    with socket.socket() as connection:
        copy: Any = CODEC.failure(Reduced(1, connection)).error
    assert (copy.args, copy.resource) == ((1,), "reopened")


def test_a_reduction_that_does_not_work_is_passed_over() -> None:
    copy = CODEC.failure(BadlyReduced("x")).error
    assert type(copy) is BadlyReduced
    assert copy.args == ("x",)


def test_the_format_of_errors_stays() -> None:
    # Bytes as a store of the first version holds them.
    head = b"e\n\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00ValueErrorbadtext"
    pickled = (
        b"\x80\x05\x8c\x1acontinuum.store.exceptions\x94\x8c\tnew_error\x94\x93\x94\x8c\x08builtins\x94\x8c\n"
        b"ValueError\x94\x93\x94\x85\x94R\x94h\x00\x8c\rrestore_error\x94\x93\x94h\x07}\x94(\x8c\x06fields\x94}\x94"
        b"\x8c\x04code\x94K\x01s\x8c\nattributes\x94}\x94(\x8c\x04args\x94\x8c\x03bad\x94\x85\x94\x8c\t__cause__\x94"
        b"h\x02h\x03\x8c\x08KeyError\x94\x93\x94\x85\x94R\x94h\th\x17}\x94(h\x0b}\x94h\x0e}\x94(h\x10\x8c\x01k\x94\x85"
        b"\x94\x8c\x14__suppress_context__\x94\x89uu\x86R0h\x1d\x88uu\x86R0."
    )
    error: Any = CODEC.decode_error(head + pickled)
    assert (repr(error), error.code, repr(error.__cause__)) == ("ValueError('bad')", 1, "KeyError('k')")
    assert traceback_of(error) == "text"


# The chain


def raised() -> Exception:
    try:
        try:
            raise KeyError("deep")
        except KeyError as error:
            raise Declined("ord-1", code=7) from error
    except Declined as error:
        return error


def test_the_cause_keeps_its_type() -> None:
    copy = CODEC.decode_error(CODEC.encode_error(raised()))
    assert type(copy.__cause__) is KeyError
    assert copy.__suppress_context__


def test_the_context_is_kept_unless_it_is_suppressed() -> None:
    error = ValueError()
    error.__context__ = KeyError("during")
    copy = CODEC.failure(error).error
    assert type(copy.__context__) is KeyError
    assert not copy.__suppress_context__
    error.__suppress_context__ = True
    copy = CODEC.failure(error).error
    assert copy.__context__ is None
    assert copy.__suppress_context__


def test_a_circle_of_causes_stays_one() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    copy = CODEC.failure(first).error
    assert copy.__cause__ is not None
    assert copy.__cause__.__cause__ is copy


def test_a_long_chain_is_cut() -> None:
    error = ValueError(0)
    top = error
    for number in range(1, 5000):
        error.__cause__ = ValueError(number)
        error = error.__cause__
    copy: BaseException | None = CODEC.failure(top).error
    length = 0
    while copy is not None:
        assert copy.args == (length,)
        length, copy = length + 1, copy.__cause__
    assert length == 50


def test_an_error_that_holds_itself_comes_back() -> None:
    error = ContinuumError("x")
    error.me = error  # type: ignore[attr-defined]
    copy: Any = CODEC.failure(error).error
    assert copy.me is copy


# What cannot be pickled


def test_parts_that_cannot_be_pickled_are_replaced_by_their_repr() -> None:
    error = Declined("ord-1", code=7)
    error.lock = LOCK
    error.args = (*error.args, LOCK)
    copy: Any = CODEC.failure(error).error
    assert type(copy) is Declined
    assert copy.code == 7
    assert copy.lock == repr(LOCK)
    assert copy.args == ("ord-1 was declined", repr(LOCK))


def test_only_the_error_with_the_part_is_changed() -> None:
    cause = Declined("ord-1", code=7)
    cause.lock = LOCK
    error = ValueError(["kept"])
    error.__cause__ = cause
    copy: Any = CODEC.failure(error).error
    assert copy.args == (["kept"],)
    assert type(copy.__cause__) is Declined
    assert copy.__cause__.lock == repr(LOCK)


def test_a_group_with_such_an_error_keeps_the_others() -> None:
    group = ExceptionGroup("several", [ValueError(LOCK), KeyError("k")])
    copy = CODEC.failure(group).error
    assert isinstance(copy, ExceptionGroup)
    assert [type(error) for error in copy.exceptions] == [ValueError, KeyError]
    assert copy.exceptions[0].args == (repr(LOCK),)


def test_an_error_whose_type_cannot_be_pickled_is_told_by_another() -> None:
    class Local(Exception):
        lock = LOCK

    error = Local("what happened")
    error.__cause__ = KeyError("k")
    copy = CODEC.failure(error).error
    assert isinstance(copy, UnpicklableError)
    assert copy.type_name.endswith("Local")
    assert copy.message == "what happened"
    assert type(copy.__cause__) is KeyError


def test_an_error_over_the_limit_is_cut_but_keeps_its_type() -> None:
    outcome = Codec(payload_limit=1000).failure(ValueError("x" * 1_000_000))
    assert type(outcome.error) is ValueError
    assert len(str(outcome.error)) == 1000
    assert outcome.data is not None
    assert len(outcome.data) < 120_000
    assert CODEC.traceback(outcome.data).startswith("ValueError: xxx")


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def test_an_error_whose_texts_fail_is_recorded() -> None:
    outcome = CODEC.failure(Hostile(LOCK))
    assert type(outcome.error) is Hostile
    assert outcome.data is not None
    assert "Hostile" in CODEC.traceback(outcome.data)


# Tracebacks


def test_the_text_of_the_traceback_is_read_without_loading() -> None:
    text = CODEC.traceback(CODEC.encode_error(raised()))
    assert text == "".join(traceback.format_exception(raised()))
    assert "KeyError: 'deep'" in text
    assert "in raised" in text


def test_a_value_has_no_traceback() -> None:
    assert CODEC.traceback(CODEC.encode(1)) == ""


def test_a_loaded_error_knows_the_text_of_its_traceback() -> None:
    payload = CODEC.encode_error(raised())
    assert traceback_of(CODEC.decode_error(payload)) == CODEC.traceback(payload)


def test_a_live_copy_keeps_the_tracebacks_of_the_chain() -> None:
    error = raised()
    copy = CODEC.failure(error).error
    assert copy.__traceback__ is error.__traceback__
    assert copy.__traceback__ is not None
    assert copy.__cause__ is not None
    assert copy.__cause__.__traceback__ is not None
    assert traceback_of(copy) == traceback_of(error)


def test_an_error_raised_again_after_a_replay_tells_both_tracebacks() -> None:
    replayed = CODEC.decode_error(CODEC.encode_error(raised()))
    try:
        raise replayed
    except Declined as error:
        text = CODEC.traceback(CODEC.encode_error(error))
    assert "in raised" in text
    assert "raised again" in text
    assert "in test_an_error_raised_again" in text


def test_a_recorded_error_recorded_again_is_told_once() -> None:
    replayed = CODEC.decode_error(CODEC.encode_error(raised()))
    assert traceback_of(CODEC.failure(replayed).error) == traceback_of(replayed) == traceback_of(raised())


def test_the_traceback_of_a_recorded_cause_is_told_too() -> None:
    error = ValueError("outer")
    error.__cause__ = CODEC.decode_error(CODEC.encode_error(raised()))
    assert "in raised" in CODEC.traceback(CODEC.encode_error(error))


def test_lone_surrogates_break_nothing() -> None:
    payload = CODEC.encode_error(ValueError("\ud800"))
    assert CODEC.decode_error(payload).args == ("\ud800",)
    assert preview(payload)["message"] == "\ud800"  # type: ignore[index]
