"""Who is next where many wait: one of each owner in turn, so that who asks for much keeps nobody waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Turns"]

T = TypeVar("T")


class Turns(Generic[T]):
    """Things that wait, each with an owner. Those of one owner keep their order."""

    def __init__(self) -> None:
        self.next: deque[tuple[Hashable, T]] = deque()
        """What one of each owner has waiting; empty where nothing waits."""
        self._owners: set[Hashable] = set()  # that have one there
        self._more: dict[Hashable, deque[T]] = {}  # of those who have more; most have not

    def add(self, owner: Hashable, what: T) -> None:
        """Have something wait behind what its owner has waiting already."""
        if owner in self._owners:
            self._more.setdefault(owner, deque()).append(what)
        else:
            self._owners.add(owner)
            self.next.append((owner, what))

    def take(self) -> T:
        """Take the next one out; there has to be one."""
        owner, what = self.next.popleft()
        if owner not in self._more:
            self._owners.remove(owner)
            return what
        more = self._more[owner]
        self.next.append((owner, more.popleft()))
        if not more:
            del self._more[owner]
        return what

    def clear(self) -> None:
        """Take all out."""
        self.next.clear()
        self._owners.clear()
        self._more.clear()
