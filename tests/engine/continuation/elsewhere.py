"""Another process, which goes on with generators that were captured here. Run by itself it is that process."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from driving import Body, Sent, step, taken

from continuum.engine.continuation import loads

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class Elsewhere:
    """A process of its own. It knows modules that it can import, and those that it is told of by :meth:`load`."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", str(Path(__file__))]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "PYTHONHASHSEED": "random"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def _ask(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(question, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def load(self, name: str, path: Path) -> None:
        """Have it import a file under that name."""
        self._ask("load", name, str(path))

    def step(self, body: Body, sent: Sent) -> tuple[str, Any, Body | None]:
        """Go on there with the generator, and capture it there again; see :func:`driving.step`."""
        kind, value, data = self._ask("step", taken(body), sent)
        return kind, value, None if data is None else loads(data)

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait() == 0


def load_module(name: str, path: str) -> ModuleType:
    """Import a file under that name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _answer(what: str, *arguments: Any) -> Any:
    if what == "load":
        load_module(*arguments)
        return None
    kind, value, body = step(loads(arguments[0]), arguments[1])
    return kind, value, None if body is None else taken(body)


def main() -> None:
    while True:
        try:
            question = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(*question), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
