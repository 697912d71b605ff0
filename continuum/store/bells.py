"""Bells: what a process is woken by when another one has committed. Here are those that never ring."""

from __future__ import annotations

import socket
from typing import Protocol

__all__ = ["Bells", "NoBells"]


class Bells(Protocol):
    """The bells of one store: where to hang one, and how to ring all the others."""

    def bind(self) -> tuple[socket.socket, str] | None:
        """A bell of our own, to be read from when it has rung, and its address; None where there can be none."""
        ...

    def ring(self, own: str | None) -> None:
        """Ring every bell but that at the address `own`."""
        ...

    def close(self) -> None: ...


class NoBells:
    """Where there can be no bells. Nobody is rung: listeners look by themselves."""

    def bind(self) -> None:
        return None

    def ring(self, own: str | None) -> None:
        pass

    def close(self) -> None:
        pass
