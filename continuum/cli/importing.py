"""Importing what a target names, so that one file is one module, however it was named.

A file is imported under the name that it has for those who import it: its stem, or inside of a package the
dotted name. Where that name means another module already, it gets one of its own. Whatever goes wrong is a
:class:`BadTarget`, with the end of the traceback where it is the user's code that failed.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from continuum.errors import UsageError

__all__ = ["BadTarget", "import_file", "import_name", "near", "search_here"]

FRAMES: Final = 8  # of the user's traceback
FORMS: Final = "a target is module, module:attr, file.py or file.py:attr"


class BadTarget(UsageError):
    """A target does not lead to a workflow."""


def import_name(name: str) -> ModuleType:
    """The module of that name; the working directory is searched first."""
    if not all(name.split(".")) or os.sep in name:
        raise BadTarget(f"{name!r} is no name of a module; {FORMS}")
    search_here()
    return _guarded(repr(name), lambda: _import(name))


def import_file(text: str) -> ModuleType:
    """The module that a Python file is."""
    path = Path(text).resolve()
    if not path.is_file():
        here = path.parent.glob("*.py") if path.parent.is_dir() else ()
        raise BadTarget(f"there is no file {text!r}{near(path.name, (other.name for other in here))}")
    search_here()
    name, root = _name_and_root(path)
    _search(root)
    if _leads_to(name, path):
        return _guarded(repr(text), lambda: importlib.import_module(name))
    return _guarded(repr(text), lambda: _import_under(_own_name(path), path))


def search_here() -> None:
    """Make the modules of the working directory importable, before all others."""
    _search(Path.cwd(), first=True)


def near(name: str, known: Iterable[str]) -> str:
    """The hint at what may have been meant, if anything is like it."""
    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _search(directory: Path, *, first: bool = False) -> None:
    """Make the modules of a directory importable. Only the working directory goes before the others."""
    importlib.invalidate_caches()
    text = str(directory)
    if text not in sys.path:
        sys.path.insert(0 if first else len(sys.path), text)


# Names


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise
    raise BadTarget(f"there is no module {missing!r}{_meant(name, missing)}")


def _meant(name: str, missing: str) -> str:
    parent, _, last = name.rpartition(".")
    if parent in sys.modules and hasattr(sys.modules[parent], last):
        return f"; did you mean '{parent}:{last}'?"
    above = sys.modules.get(missing.rpartition(".")[0])
    places = [os.getcwd()] if above is None else list(getattr(above, "__path__", ()))
    prefix = "" if above is None else f"{above.__name__}."
    return near(missing, (prefix + found.name for found in pkgutil.iter_modules(places)))


def _name_and_root(path: Path) -> tuple[str, Path]:
    """A file's name as a module, and the directory from which that name leads to it."""
    parts, root = [path.stem], path.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts), root


def _leads_to(name: str, path: Path) -> bool:
    """Whether importing the name gives the module of that file."""
    try:
        loaded = sys.modules.get(name)
        spec = find_spec(name) if loaded is None else None
    except Exception:  # a package on the way may run any code of the user's
        return False
    origin = spec.origin if spec is not None else getattr(loaded, "__file__", None)
    return origin is not None and os.path.exists(origin) and os.path.samefile(origin, path)


def _own_name(path: Path) -> str:
    """A name that no other file has: the same one each time, since what is recorded may refer to it."""
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _import_under(name: str, path: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None, "a file that ends in .py has a loader"
    assert spec.loader is not None, "a file that ends in .py has a loader"
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


# Failures


def _guarded(shown: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except BadTarget:
        raise
    except SystemExit as error:
        raise BadTarget(
            f"{shown} ended the program while it was imported (SystemExit: {error}); "
            "put what is for the script under: if __name__ == '__main__'"
        ) from error
    except Exception as error:  # the module's own code
        raise BadTarget(f"{shown} cannot be imported:\n{_tail(error)}") from error


def _tail(error: Exception) -> str:
    """The end of the traceback, from the user's code on."""
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace, limit=-FRAMES)).rstrip()


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or filename == importlib.__file__ or "<frozen importlib" in filename
