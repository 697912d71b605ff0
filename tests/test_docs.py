"""What the README and the pages in docs/ say is true: their programs run, their links lead somewhere.

The info string of a fence says what becomes of the block:

* ``python``: all such blocks of a page are one script, which is run where the first of them stands; what a
  ``print(...)  # text`` announces has to be printed, in that order, with ``...`` for anything
* ``python file=NAME``: a file of that name beside the script; if `examples/` has one, it is the same
* ``python fragment``: shown only; it has to compile, inside of a function if need be
* ``console``: the lines that begin with ``$`` are run by a shell, and what is shown below them has
  to be printed, with ``...`` for anything; a command that ends in ``&`` runs until the page is over
* ``console by-hand``, ``text``: shown only
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import continuum
from continuum import commands, errors
from continuum.cli.main import cli
from continuum.journal import Status

ROOT = Path(continuum.__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"python", "python fragment", "console", "console by-hand", "text"}
ANNOUNCED = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
INDEXED = re.compile(r"^\| \[`(?P<name>\w+)`\]\((?P<page>\w+\.md)#(?P<anchor>\w+)\) \|", re.MULTILINE)
TOO_LONG = 60  # seconds

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string, its text, and the line of the page on which that begins."""

    info: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        return self.info.removeprefix("python file=") if self.info.startswith("python file=") else None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text("utf-8")
    return [
        Block(found["info"].strip(), found["text"], text.count("\n", 0, found.start("text")) + 1)
        for found in FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def files(page: Path) -> dict[str, str]:
    """The files that a page shows."""
    return {block.file: block.text for block in blocks(page) if block.file is not None}


# Programs


@every_page
def test_every_fence_says_what_becomes_of_its_block(page: Path) -> None:
    assert [block for block in blocks(page) if block.info not in KNOWN and block.file is None] == []


@every_page
def test_every_python_block_compiles(page: Path) -> None:
    for block in blocks(page):
        if block.info.startswith("python"):
            inside = block.info == "python fragment"
            text = f"def fragment():\n{textwrap.indent(block.text, '    ')}" if inside else block.text
            compile(text, f"{page.name}:{block.line}", "exec")


@every_page
def test_the_programs_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        shell = stack.enter_context(_shell(tmp_path))
        for name, text in files(page).items():
            (tmp_path / name).write_text(text, "utf-8")
        script = _script(page)
        for block in blocks(page):
            if block.info == "python" and script:
                _run_script(f"{page.stem}_page.py", script, shell)
                script = ""
            elif block.info == "console":
                _run_commands(block, shell, stack)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_shown_as_it_is(example: Path) -> None:
    shown = [text for page in PAGES for name, text in files(page).items() if name == example.name]
    assert shown != []
    assert set(shown) == {example.read_text("utf-8")}


class Shell:
    """A directory to run commands in, with `python` and `continuum` to be found there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CONTINUUM_", "COLUMNS"))},
            "PATH": f"{directory / '.bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
        }

    def run(self, command: str, stack: ExitStack) -> str:
        """What a command prints; one in the background is ended with the stack."""
        if command.endswith("&"):
            stack.enter_context(self._in_background(command.removesuffix("&")))
            return ""
        done = self.python("-c", f"import os; os.execvp('bash', ['bash', '-c', {command!r}])")
        return done.stdout + ("Killed" if done.returncode == -9 else "")

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this interpreter, standard error and output as one."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TOO_LONG,
        )

    @contextmanager
    def _in_background(self, command: str) -> Iterator[None]:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.directory, env=self.environment, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(TOO_LONG) == 0


@contextmanager
def _shell(directory: Path) -> Iterator[Shell]:
    programs = directory / ".bin"
    programs.mkdir()
    for name, arguments in (("python", ""), ("continuum", "-m continuum")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o700)
    yield Shell(directory)


def _script(page: Path) -> str:
    """The blocks of a page as one script, whose lines have the numbers that they have in the page."""
    lines: list[str] = []
    for block in blocks(page):
        if block.info == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines)


def _run_script(name: str, script: str, shell: Shell) -> None:
    (shell.directory / name).write_text(script, "utf-8")
    done = shell.python(name)
    assert done.returncode == 0, done.stdout
    printed = iter(done.stdout.splitlines())
    for announced in ANNOUNCED.findall(script):
        shown = any(_shows(announced, line) for line in printed)
        assert shown, f"{announced!r} is not printed, or not in that order:\n{done.stdout}"


def _run_commands(block: Block, shell: Shell, stack: ExitStack) -> None:
    for part in block.text.removeprefix("$ ").split("\n$ "):
        command, _, shown = part.partition("\n")
        printed = shell.run(command, stack)
        assert _shows(shown, printed), f"$ {command}\n{printed}"


def _shows(shown: str, printed: str) -> bool:
    pattern = re.escape(_loosely(shown)).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, _loosely(printed), re.DOTALL) is not None


def _loosely(text: str) -> str:
    """The text without what differs from time to time: moments, ages, the width of columns."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<moment>", text)
    text = re.sub(r"\b\d+[smhd]\b", "<age>", text)
    return " ".join(text.split())


# Links


@every_page
def test_every_link_within_the_checkout_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))}


# Nothing is forgotten


def test_every_command_has_a_section_with_an_example() -> None:
    index = ROOT / "docs" / "commands.md"
    rows = [found.group("name", "page", "anchor") for found in INDEXED.finditer(prose(index))]
    assert {name for name, _, _ in rows} == _public_commands()
    for name, where, anchor in rows:
        page = ROOT / "docs" / where
        assert anchor == name.lower()
        examples = " ".join(block.text for block in blocks(page) if block.info == "python" or block.file)
        assert f"{name}(" in examples, f"{page.name} has no example of {name}"


def _public_commands() -> set[str]:
    named = {name: getattr(commands, name) for name in commands.__all__ if name != "Command"}
    return {name for name, it in named.items() if isinstance(it, type) and issubclass(it, commands.Command)}


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            links = [link.partition("#")[0] for link in LINK.findall(prose(page)) if "://" not in link]
            todo += [(page.parent / link).resolve() for link in links if link]
    assert set(PAGES) == reached


def test_every_command_is_in_the_table_of_the_readme() -> None:
    rows = [line for line in prose(ROOT / "README.md").splitlines() if line.startswith("|")]
    assert {name for name in _public_commands() if not any(f"`{name}(" in row for row in rows)} == set()


def test_every_status_word_is_explained() -> None:
    rows = [line for line in prose(ROOT / "docs" / "ends.md").splitlines() if line.startswith("| `")]
    assert {row.split("`")[1] for row in rows} >= set(Status)


def test_every_subcommand_is_described() -> None:
    headings = HEADING.findall(prose(ROOT / "docs" / "cli.md"))
    assert {heading.split()[1].strip("`") for heading in headings if heading.startswith("`continuum ")} == set(
        cli.commands
    )


@every_page
def test_names_that_a_page_imports_are_public(page: Path) -> None:
    for block in blocks(page):
        if block.info == "python" or block.file:
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and node.module == "continuum":
                    assert {alias.name for alias in node.names} <= set(continuum.__all__)


def test_errors_that_pages_name_exist() -> None:
    known = {
        *errors.__all__,
        "RuntimeError",
        "TimeoutError",
        "ConnectionError",
        "ValueError",
        "NameError",
        "UnboundLocalError",
    }
    own = [page for page in PAGES if page.stem != "coming-from"]  # which names those of others, too
    named = {name for page in own for name in re.findall(r"`([A-Z]\w*(?:Error|Timeout))`", prose(page))}
    assert named <= known


@every_page
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:benchmarks|examples|docs)/[\w./]+)`", prose(page))
    assert [name for name in named if not (ROOT / name).exists()] == []
