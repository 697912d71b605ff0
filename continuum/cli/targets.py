"""TARGET: from ``module``, ``module:attr``, ``file.py`` or ``file.py:attr`` to workflows.

What is imported under which name is decided in :mod:`continuum.cli.importing`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from inspect import isgeneratorfunction
from types import ModuleType
from typing import Any, NamedTuple

from continuum.cli.importing import BadTarget, import_file, import_name, near, search_here
from continuum.engine.forgotten import check_yields
from continuum.workflow import Workflow

__all__ = ["Target", "load_all", "load_one", "parse", "stand_in_for_main"]


class Target(NamedTuple):
    """A target taken apart: a module's name or file, and perhaps what is meant in it."""

    place: str
    attribute: str

    @property
    def module(self) -> ModuleType:
        """What the place names. Raises BadTarget."""
        return import_file(self.place) if self.place.endswith(".py") else import_name(self.place)


def parse(text: str) -> Target:
    """Take a target apart; a colon counts where a name follows it."""
    place, _, attribute = text.rpartition(":")
    if place and all(part.isidentifier() for part in attribute.split(".")):
        return Target(place, attribute)
    return Target(text, "")


def load_all(texts: Iterable[str]) -> list[Workflow[..., Any]]:
    """All workflows of these targets. Raises BadTarget, and BadCommand for what one of them forgets to yield."""
    search_here()
    targets = [parse(text) for text in texts]
    found = [workflow for target in targets for workflow in _workflows_of(target)]
    for workflow in found:
        check_yields(workflow)
    stand_in_for_main([target.module for target in targets])
    return list(dict.fromkeys(found))


def load_one(text: str) -> Workflow[..., Any]:
    """The one workflow that a target names. Raises BadTarget, and BadCommand for what it forgets to yield."""
    target = parse(text)
    found = _workflows_of(target)
    if len(found) > 1:
        choices = ", ".join(f"{target.place}:{name}" for name in _named(target.module))
        raise BadTarget(f"{target.place} has {len(found)} workflows; name one of them: {choices}")
    check_yields(found[0])
    return found[0]


def stand_in_for_main(modules: Sequence[ModuleType]) -> None:
    """Let ``__main__`` have what these modules have.

    What a program recorded while one of them ran as its script refers to ``__main__``.
    """

    def look_up(name: str) -> Any:
        for module in modules:
            if name in vars(module) and not name.startswith("__"):
                return vars(module)[name]
        raise AttributeError(f"module '__main__' has no attribute {name!r}", name=name)

    sys.modules["__main__"].__dict__["__getattr__"] = look_up


def _workflows_of(target: Target) -> list[Workflow[..., Any]]:
    if target.attribute:
        return [_attribute(target)]
    found = list(_named(target.module).values())
    if not found:
        raise BadTarget(f"{target.place} has no workflow{_undecorated(target.module)}")
    return found


def _attribute(target: Target) -> Workflow[..., Any]:
    found: Any = target.module
    for name in target.attribute.split("."):
        if not hasattr(found, name):
            raise BadTarget(f"{target.place} has no {target.attribute!r}{_offer(target)}")
        found = getattr(found, name)
    if not isinstance(found, Workflow):
        hint = "; decorate it with @workflow" if isgeneratorfunction(found) else _offer(target)
        raise BadTarget(f"{target.place}:{target.attribute} is no workflow but a {type(found).__name__}{hint}")
    return found


def _named(module: ModuleType) -> dict[str, Workflow[..., Any]]:
    """The workflows of a module by the names that they have there; each one once."""
    first: dict[Workflow[..., Any], str] = {}
    for name, value in vars(module).items():
        if isinstance(value, Workflow):
            first.setdefault(value, name)
    return {name: workflow for workflow, name in first.items()}


def _offer(target: Target) -> str:
    known = list(_named(target.module))
    return f"{near(target.attribute, known)} (workflows: {', '.join(known) or 'none'})"


def _undecorated(module: ModuleType) -> str:
    own = (value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__)
    names = [value.__name__ for value in own if isgeneratorfunction(value)]
    return f"; decorate {', '.join(names)} with @workflow" if names else ""
