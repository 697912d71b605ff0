"""Who may import whom. The arrows go one way; the machine is pure; only the command line prints."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import continuum

ROOT = Path(continuum.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NAMES = {
    path: ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__") for path in FILES
}

MACHINE = "continuum.engine.machine"
CONTINUATION = "continuum.engine.continuation"
FORBIDDEN_TO_THE_MACHINE = {
    "anyio", "asyncio", "trio", "sniffio", "lmdb", "psycopg", "time", "random", "secrets", "threading", "_thread",
    "queue", "concurrent", "multiprocessing", "subprocess", "socket", "os", "pickle", "cloudpickle", "logging",
}  # fmt: skip

ARROWS: dict[str, tuple[str, ...]] = {
    "continuum.errors": (),
    "continuum.journal": (),
    "continuum.stamps": (),
    "continuum.durations": ("continuum.errors",),
    "continuum.limit": ("continuum.durations", "continuum.errors"),
    "continuum.workflow": ("continuum.durations", "continuum.errors", "continuum.limit", "continuum.place"),
    "continuum.retry": ("continuum.durations", "continuum.errors"),
    "continuum.place": (),
    "continuum.context": ("continuum.errors",),
    "continuum.checks": (
        "continuum.command", "continuum.durations", "continuum.errors", "continuum.place", "continuum.workflow",
    ),
    "continuum.command": ("continuum.errors", "continuum.place"),
    "continuum.steps": (
        "continuum.checks", "continuum.command", "continuum.durations", "continuum.errors", "continuum.limit",
        "continuum.retry", "continuum.workflow",
    ),
    "continuum.branches": (
        "continuum.checks", "continuum.command", "continuum.errors", "continuum.steps", "continuum.workflow",
    ),
    "continuum.commands": (
        "continuum.branches", "continuum.checks", "continuum.command", "continuum.durations", "continuum.errors",
        "continuum.place", "continuum.retry", "continuum.steps", "continuum.workflow",
    ),
    "continuum.dag": ("continuum.branches", "continuum.commands", "continuum.errors", "continuum.steps"),
    MACHINE: (
        MACHINE, "continuum.branches", "continuum.command", "continuum.commands", "continuum.context",
        "continuum.durations",
        "continuum.errors", "continuum.journal", "continuum.place", "continuum.retry", "continuum.steps",
        "continuum.workflow",
    ),
    CONTINUATION: (
        CONTINUATION, "continuum.command", "continuum.errors", "continuum.place", "continuum.store.culprit",
        "continuum.store.exceptions", "continuum.workflow",
    ),
    "continuum.store.protocol": (),
    "continuum.store.keys": ("continuum.errors", "continuum.journal"),
}  # fmt: skip
"""What these may import of ours, and nothing else."""

NEVER: list[tuple[str, str]] = [
    ("continuum.store", "continuum.engine"),
    ("continuum.store", "continuum.branches"),
    ("continuum.store", "continuum.command"),
    ("continuum.store", "continuum.commands"),
    ("continuum.store", "continuum.steps"),
    ("continuum.store", "continuum.client"),
    ("continuum.store", "continuum.runs"),
    ("continuum.store", "continuum.host"),
    ("continuum.store", "continuum.blocking"),
    ("continuum.store.lmdb", "continuum.store.ledger"),
    ("continuum.store.lmdb", "continuum.store.records"),
    ("continuum.store.memory", "continuum.store.ledger"),
    ("continuum.store.memory", "continuum.store.records"),
    ("continuum.store.postgres", "continuum.store.ledger"),
    ("continuum.store.postgres", "continuum.store.records"),
    ("continuum.engine", "continuum.client"),
    ("continuum.engine", "continuum.runs"),
    ("continuum.runs", "continuum.client"),
    ("continuum.runs", "continuum.engine"),
    ("continuum.engine", "continuum.host"),
    ("continuum.engine", "continuum.blocking"),
    ("continuum.client", "continuum.engine.machine"),
    ("continuum.client", "continuum.engine.scheduler"),
    ("continuum.client", "continuum.engine.steps"),
    ("continuum.client", "continuum.host"),
    ("continuum.client", "continuum.blocking"),
    ("continuum.host", "continuum.blocking"),
    ("continuum", "continuum.cli"),
    ("continuum", "continuum.dag"),
]

OPTIONAL = {"psycopg", "cloudpickle", "rich"}
"""What may be imported where it is used, since it need not be installed."""

NEEDS_AN_EXTRA = {"continuum.store.postgres": "psycopg"}
"""What of ours may be imported where it is used, and the one package that makes it so."""


ONE_SYSTEM = {
    "fcntl": "continuum.store.posix",
    "msvcrt": "continuum.store.windows",
    "continuum.store.sockets": "continuum.store.posix",
    "continuum.store.posix": "continuum.store.system",
    "continuum.store.windows": "continuum.store.system",
}
"""What not every operating system has, and the one module that may import it."""


class Import:
    """One import statement: what it names, and whether it stands in a function or is for the type checker alone."""

    def __init__(self, name: str, line: int, hidden: bool, typing_only: bool) -> None:
        self.name, self.line, self.hidden, self.typing_only = name, line, hidden, typing_only


@cache
def imports(path: Path) -> list[Import]:
    found: list[Import] = []
    todo: list[tuple[ast.AST, bool, bool]] = [(ast.parse(path.read_text()), False, False)]
    while todo:
        node, hidden, typing_only = todo.pop()
        match node:
            case ast.Import(names=names):
                found += [Import(each.name, node.lineno, hidden, typing_only) for each in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found += [Import(_target(module, each.name), node.lineno, hidden, typing_only) for each in names]
            case ast.ImportFrom():
                raise AssertionError(f"{path}:{node.lineno}: imports are absolute")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                hidden = True
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                typing_only = True
        todo += [(child, hidden, typing_only) for child in ast.iter_child_nodes(node)]
    return found


def _target(module: str, name: str) -> str:
    """The module that ``from module import name`` reaches: a submodule, if it is one."""
    full = f"{module}.{name}"
    return full if full in NAMES.values() else module


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def of(package: str) -> list[Path]:
    return [path for path, name in NAMES.items() if within(name, package)]


def test_the_files_are_found() -> None:
    assert len(FILES) > 40
    assert sum(len(imports(path)) for path in FILES) > 200
    assert [each.name for each in imports(ROOT / "durations.py")] != []


@pytest.mark.parametrize("package", ARROWS)
def test_these_import_nothing_of_ours_but_what_is_below_them(package: str) -> None:
    assert of(package) != []
    for path in of(package):
        for each in imports(path):
            if within(each.name, "continuum"):
                allowed = any(within(each.name, below) for below in ARROWS[package])
                assert allowed, f"{NAMES[path]}:{each.line} imports {each.name}"


@pytest.mark.parametrize("path", of(MACHINE), ids=lambda path: path.name)
def test_the_machine_is_pure(path: Path) -> None:
    reached = {each.name.split(".")[0] for each in imports(path)}
    assert reached & FORBIDDEN_TO_THE_MACHINE == set()


@pytest.mark.parametrize("path", of(MACHINE), ids=lambda path: path.name)
def test_the_machine_draws_no_ids_and_reads_no_clock(path: Path) -> None:
    used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert (used | names) & {
        "uuid1",
        "uuid4",
        "utcnow",
        "today",
        "urandom",
        "token_bytes",
        "monotonic",
        "time_ns",
    } == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: NAMES[path])
def test_what_not_every_system_has_stays_where_it_belongs(path: Path) -> None:
    reached = [each.name for each in imports(path)]
    assert {ONE_SYSTEM[name] for name in reached if name in ONE_SYSTEM} <= {NAMES[path]}
    assert set(reached) & {"pwd", "grp", "resource", "termios", "winreg", "_winapi"} == set()


@pytest.mark.parametrize(("above", "below"), NEVER, ids=lambda name: name.removeprefix("continuum."))
def test_no_arrow_goes_the_wrong_way(above: str, below: str) -> None:
    for path in of(above):
        if within(NAMES[path], below) or NAMES[path] == "continuum.__main__":
            continue
        wrong = [
            f"{NAMES[path]}:{each.line}" for each in imports(path) if within(each.name, below) and not each.typing_only
        ]
        assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: NAMES[path])
def test_no_import_is_hidden_in_a_function(path: Path) -> None:
    hidden = [each.name for each in imports(path) if each.hidden and each.name.split(".")[0] not in OPTIONAL]
    assert [name for name in hidden if name not in NEEDS_AN_EXTRA] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: NAMES[path])
def test_what_needs_an_extra_is_imported_by_nobody_until_it_is_used(path: Path) -> None:
    for package, extra in NEEDS_AN_EXTRA.items():
        if not within(NAMES[path], package):
            at_once = [each.name for each in imports(path) if not (each.hidden or each.typing_only)]
            assert [name for name in at_once if within(name, package) or within(name, extra)] == []


def test_no_module_imports_itself_in_a_ring() -> None:
    reaches = {name: _ours(path) for path, name in NAMES.items() if path.name != "__init__.py"}
    for start in reaches:
        seen: set[str] = set()
        todo = list(reaches[start])
        while todo:
            name = todo.pop()
            assert name != start, f"{start} imports itself by way of others"
            if name not in seen:
                seen.add(name)
                todo += reaches.get(name, [])


def _ours(path: Path) -> list[str]:
    return [
        each.name for each in imports(path) if within(each.name, "continuum") and not (each.typing_only or each.hidden)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: NAMES[path])
def test_only_the_output_of_the_command_line_prints(path: Path) -> None:
    if NAMES[path] == "continuum.cli.output":
        return
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []
    printing = {("click", "echo"), ("click", "secho"), ("stdout", "write"), ("stderr", "write")}
    named = [(_last(call.value), call.attr) for call in calls if isinstance(call, ast.Attribute)]
    assert [each for each in named if each in printing] == []


def _last(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
