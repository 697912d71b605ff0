"""TARGET: from text to workflows."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from continuum.cli.importing import BadTarget
from continuum.cli.targets import Target, load_all, load_one, parse

TWO = """
from continuum import Now, workflow

class Thing:
    pass

class Holder:
    @staticmethod
    @workflow
    def held():
        yield Now()

@workflow
def first():
    yield Now()

@workflow(name="2nd")
def second():
    yield Now()

again = first

def plain():
    yield Now()
"""
ONE = "from continuum import Now, workflow\n@workflow\ndef only():\n    yield Now()\n"

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a file into the working directory; what is imported is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules["__main__"].__dict__, "__getattr__", None)

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("flows", Target("flows", "")),
        ("pkg.flows:Holder.held", Target("pkg.flows", "Holder.held")),
        ("dir/flows.py", Target("dir/flows.py", "")),
        ("dir/flows.py:order", Target("dir/flows.py", "order")),
        (r"C:\flows.py", Target(r"C:\flows.py", "")),
        ("flows:", Target("flows:", "")),
    ],
)
def test_a_target_is_taken_apart(text: str, target: Target) -> None:
    assert parse(text) == target


def test_all_workflows_of_a_module_are_loaded_once_each(write: Write) -> None:
    write("cli_two.py", TWO)
    assert [workflow.name for workflow in load_all(["cli_two", "cli_two.py", "cli_two:again"])] == ["first", "2nd"]


@pytest.mark.parametrize(
    ("text", "name"),
    [("cli_two:first", "first"), ("cli_two.py:second", "2nd"), ("cli_two:Holder.held", "held")],
)
def test_one_workflow_is_named_by_its_attribute(write: Write, text: str, name: str) -> None:
    write("cli_two.py", TWO)
    assert load_one(text).name == name


def test_a_module_or_file_with_one_workflow_names_it(write: Write) -> None:
    write("cli_one.py", ONE)
    assert load_one("cli_one").name == "only"
    assert load_one("cli_one.py") is load_one("cli_one")


def test_of_several_workflows_one_has_to_be_named(write: Write) -> None:
    write("cli_two.py", TWO)
    with pytest.raises(BadTarget, match="name one of them: cli_two:first, cli_two:second"):
        load_one("cli_two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cli_tow", "no module 'cli_tow'; did you mean 'cli_two'?"),
        ("cli_two.first", "did you mean 'cli_two:first'?"),
        ("cli_two:frist", "no 'frist'; did you mean 'first'? (workflows: first, second)"),
        ("cli_two:plain", "is no workflow but a function; decorate it with @workflow"),
        ("cli_two:Thing", "is no workflow but a type"),
        ("cli_tw.py", "no file 'cli_tw.py'; did you mean 'cli_two.py'?"),
        ("nowhere/x.py", "no file 'nowhere/x.py'"),
        ("a/b", "a target is module, module:attr, file.py or file.py:attr"),
        ("..", "a target is module"),
        ("", "a target is module"),
        ("cli_none", "no workflow; decorate gen with @workflow"),
        ("cli_package.innr", "did you mean 'cli_package.inner'?"),
    ],
)
def test_a_wrong_target_is_told_what_there_is(write: Write, text: str, message: str) -> None:
    write("cli_two.py", TWO)
    write("cli_none.py", "def gen():\n    yield 1\n")
    write("cli_package/__init__.py", "")
    write("cli_package/inner.py", ONE)
    with pytest.raises(BadTarget, match=re.escape(message)):
        load_all([text])


@pytest.mark.parametrize("target", ["cli_bad", "cli_bad.py"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def x(:", ["cli_bad.py", "line 1", "SyntaxError"]),
        ("def f():\n    raise KeyError('why')\nf()", ["in f", "raise KeyError('why')", "KeyError: 'why'"]),
        ("import cli_not_there", ["import cli_not_there", "No module named 'cli_not_there'"]),
        ("raise SystemExit(3)", ["SystemExit: 3", "__name__"]),
    ],
)
def test_a_module_that_fails_is_told_with_its_own_traceback(
    write: Write, target: str, text: str, told: list[str]
) -> None:
    write("cli_bad.py", text)
    with pytest.raises(BadTarget) as raised:
        load_all([target])
    assert all(part in str(raised.value) for part in told)
    assert "importing.py" not in str(raised.value)
    assert "importlib" not in str(raised.value)


def test_a_file_whose_name_means_something_else_gets_a_name_of_its_own(write: Write) -> None:
    write("below/json.py", ONE)
    workflow = load_one("below/json.py")
    assert workflow.name == "only"
    assert workflow.function.__module__.startswith("json_")
    assert not hasattr(sys.modules["json"], "only")
    assert load_one("below/json.py") is workflow


def test_a_file_in_another_directory_may_import_its_neighbours(write: Write) -> None:
    write("below/cli_neighbour.py", "X = 1\n")
    write("below/cli_flow.py", "import cli_neighbour\n" + ONE)
    assert load_one("below/cli_flow.py").function.__module__ == "cli_flow"


def test_a_file_of_a_package_is_the_module_of_the_package(write: Write) -> None:
    write("cli_package/__init__.py", "")
    write("cli_package/base.py", "X = 1\n")
    write("cli_package/inner.py", "from .base import X\n" + ONE)
    assert load_one("cli_package/inner.py") is load_one("cli_package.inner")


def test_a_file_whose_name_no_module_can_have_is_loaded(write: Write) -> None:
    write("my.odd-flow.py", ONE)
    assert load_one("my.odd-flow.py").name == "only"


def test_what_a_script_recorded_is_found_in_the_module(write: Write) -> None:
    write("cli_two.py", TWO)
    load_all(["cli_two.py"])
    assert pickle.loads(b"c__main__\nThing\n.") is sys.modules["cli_two"].Thing
    assert pickle.loads(b"c__main__\nfirst\n.") is sys.modules["cli_two"].first


def test_what_no_target_has_is_still_missing(write: Write) -> None:
    write("cli_two.py", TWO)
    load_all(["cli_two.py"])
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        sys.modules["__main__"].Nothing  # noqa: B018
