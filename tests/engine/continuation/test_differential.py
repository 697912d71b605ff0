"""Random programs: the twin does what the plain generator does, wherever it is captured, whatever is thrown in.

CONTINUUM_EXAMPLES=N has N times as many programs, by chance; Hypothesis prints how to have one again.
"""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from collecting import Noted
from driving import Answer, Thrown, captured, numbers, step, throwing, trace
from elsewhere import Elsewhere, load_module
from hypothesis import given, note
from hypothesis import strategies as st
from writing import examples, sources

from continuum.engine.continuation import adopt, twin_of

# A generator that yields while it is closed is complained about when it is let go of, plain or not.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: Thrown("thrown"),
    lambda: Noted("thrown"),
    lambda: KeyError("thrown"),
    lambda: GeneratorExit("thrown"),
)
names = (f"written_{number}" for number in itertools.count())


@pytest.fixture
def load(tmp_path: Path, elsewhere: Elsewhere) -> Iterator[Callable[[str], ModuleType]]:
    """Write source to a file and import it, here and elsewhere."""
    made: list[str] = []

    def load(source: str) -> ModuleType:
        name = next(names)
        made.append(name)
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        elsewhere.load(name, path)
        return load_module(name, str(path))

    yield load
    for name in made:
        del sys.modules[name]
    gc.collect()  # what is complained about comes here, and not in the tests that follow


@examples(60)
@given(sources, st.lists(st.tuples(st.integers(0, 40), st.sampled_from(ERRORS)), max_size=4))
def test_a_random_program_does_the_same_captured_at_every_yield(
    load: Callable[[str], ModuleType],
    elsewhere: Elsewhere,
    source: str,
    errors: list[tuple[int, Callable[[], BaseException]]],
) -> None:
    note(source)
    program = load(source).program
    twin_of(program)
    answers: list[Answer] = [numbers, *(throwing(at, error) for at, error in errors)]
    for answer in answers:
        expected = trace(program(), answer, step)
        assert trace(adopt(program()), answer, step) == expected
        assert trace(adopt(program()), answer, captured) == expected
    assert trace(adopt(program()), answers[-1], elsewhere.step) == trace(program(), answers[-1], step)
