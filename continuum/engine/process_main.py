"""What a process worker runs: requests come in by one pipe, replies go out by another, one by one.

The first message is the pickled codec. A request is a pickled triple, the step's name, what it can know of
itself, and its pickled function and arguments; a reply is a pickled pair, whether the step failed and its
outcome's payload. Each travels with its length in front.

The protocol takes the descriptors that the worker was started with as standard input and output for
itself, so that a step which reads or prints cannot disturb it. The worker ends when its pipe closes,
however its parent came to an end.

The other end is :mod:`continuum.engine.processes`.
"""

from __future__ import annotations

import os
import pickle
import struct
from contextlib import suppress
from typing import IO, Any, Final

from continuum.context import Context, enter
from continuum.engine.calling import Codec, call
from continuum.journal import Failure

__all__ = ["main", "read_message", "write_message"]

LENGTH: Final = struct.Struct(">Q")


def main(shown: int) -> None:
    """Serve until the pipe closes. What steps print goes to the descriptor `shown`."""
    # The copies are not inherited: what a step starts does not hold the pipes open.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _give_to_steps(shown)
    with suppress(OSError), requests, replies:  # the parent has gone
        codec = read_message(requests)
        if codec is not None:
            _serve(requests, replies, pickle.loads(codec))


def read_message(stream: IO[bytes]) -> bytes | None:
    """The next message, or None if the other side is gone."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None


def write_message(stream: IO[bytes], body: bytes) -> None:
    """Send a message. Raises OSError if the other side is gone: BrokenPipeError, on Windows also one of EINVAL."""
    stream.write(LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def _give_to_steps(shown: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(shown, 1)
    if shown > 2:
        os.close(shown)


def _serve(requests: IO[bytes], replies: IO[bytes], codec: Codec) -> None:
    while (request := read_message(requests)) is not None:
        write_message(replies, _reply(codec, *pickle.loads(request)))


def _reply(codec: Codec, name: str, context: Context, body: bytes) -> bytes:
    enter(lambda: context)
    outcome = call(codec, name, _run, (body,))
    return pickle.dumps((isinstance(outcome, Failure), outcome.data))


def _run(body: bytes) -> Any:
    # Loaded as a part of the step: that a module is missing here is the step's error.
    fn, args = pickle.loads(body)
    return fn(*args)
