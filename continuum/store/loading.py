"""Pickles to Python objects, where pickle's own way will not do.

Two things are done differently. A class that came by value and is here already, since its code was loaded before
or was sent from here, stays as it is: cloudpickle would give it the methods of the copy, and a program that has
read a result would go on with other code. And ``__main__`` may mean another program (:meth:`Codec.within
<continuum.store.codec.Codec.within>`).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

from cloudpickle import cloudpickle

__all__ = ["load"]


def load(data: bytes | memoryview, main: Mapping[str, Any] | None = None) -> Any:
    """What a pickle holds, code by value too; `main` is what ``__main__`` has for it.

    Raises what pickle raises, and AttributeError for a name that `main` does not have.
    """
    return _Loader(data, main).load()


class _Loader(pickle.Unpickler):
    def __init__(self, data: bytes | memoryview, main: Mapping[str, Any] | None) -> None:
        super().__init__(io.BytesIO(data))
        self._main = main

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__" and self._main is not None:
            return _found(self._main, name)
        if name == "_class_setstate" and module.startswith("cloudpickle"):
            return _set_up
        return super().find_class(module, name)


def _found(main: Mapping[str, Any], path: str) -> Any:
    first, *inner = path.split(".")
    if first not in main:
        raise AttributeError(
            f"the code that came with the run has no {first!r} of its main program; "
            "it has what the workflow's own code refers to"
        )
    found = main[first]
    for name in inner:
        found = getattr(found, name)
    return found


def _set_up(cls: type, state: tuple[dict[str, Any], dict[str, Any]]) -> type:
    """Put its content into a class, unless that is there."""
    if not state[0].keys() <= vars(cls).keys():
        cloudpickle._class_setstate(cls, state)
    elif cls.__doc__ is None:  # the class is new, and this is all that it consists of
        cls.__doc__ = state[0].get("__doc__")
    return cls
