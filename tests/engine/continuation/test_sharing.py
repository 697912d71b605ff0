"""What frames, functions, iterators and handlers share stays shared after a restore; circles are no trouble."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from collected import Body
from collecting import Noted

from continuum import Handle, Log, Save, workflow
from continuum.command import Command
from continuum.engine.continuation import Refused, adopt, dumps, loads

Handlers = dict[str, Callable[[Any], object]]


def restored(value: Any) -> Any:
    return loads(dumps(value))


def ended(body: Body, value: Any = None) -> Any:
    """What a generator returns that ends with this value."""
    with pytest.raises(StopIteration) as stopped:
        body.send(value)
    return stopped.value.value


# Handlers: functions of the workflow that others hold


def handling() -> Body:
    seen: list[int] = []
    total = 0

    def handler(payload: int) -> None:
        nonlocal total
        total += payload
        seen.append(payload)

    yield Handle("event", handler)
    yield Log("one")
    total *= 10
    yield Log("two")
    return total, seen


def test_a_handler_that_the_machine_holds_shares_the_variables_of_the_frame() -> None:
    body = adopt(handling())
    handlers: Handlers = {"event": next(body).callback}
    handlers["event"](1)
    next(body)
    body, handlers = restored((body, handlers))
    handlers["event"](2)
    next(body)
    handlers, body = restored((handlers, body))
    handlers["event"](3)
    assert ended(body) == (33, [1, 2, 3])


def test_a_copy_shares_nothing_with_what_it_was_made_of() -> None:
    body = adopt(handling())
    handler = next(body).callback
    copy, copied = restored((body, handler))
    handler(5)
    copied(7)
    assert [next(body), next(copy)] == [Log("one"), Log("one")]
    assert [next(body), next(copy)] == [Log("two"), Log("two")]
    assert (ended(body), ended(copy)) == ((50, [5]), (70, [7]))


def predicates() -> Body:
    ready = False
    conditions = {"ready": lambda: ready, "not ready": lambda: not ready}
    yield conditions
    ready = True
    yield
    return conditions


def test_lambdas_and_the_frame_see_each_other() -> None:
    body = adopt(predicates())
    conditions = next(body)
    body, conditions = restored((body, conditions))
    assert (conditions["ready"](), conditions["not ready"]()) == (False, True)
    next(body)
    assert (conditions["ready"](), conditions["not ready"]()) == (True, False)
    assert ended(body) is conditions


# Frames


def outer() -> Body:
    shared: list[Any] = []
    got = yield from inner(shared, shared.append)
    return got is shared, shared


def inner(given: list[Any], append: Callable[[Any], None]) -> Body:
    given.append((yield 1))
    append((yield 2))
    return given


def test_frames_that_delegate_share_what_they_share() -> None:
    body = adopt(outer())
    next(body)
    body = restored(body)
    body.send("one")
    assert ended(restored(body), "two") == (True, ["one", "two"])


def branch(queue: list[Any], name: str) -> Body:
    while len(queue) < 4:
        queue.append((name, (yield queue)))
    return queue


def test_several_generators_in_one_pickle_share_what_they_share() -> None:
    queue: list[Any] = []
    branches = [adopt(branch(queue, name)) for name in "ab"]
    for each in branches:
        next(each)
    branches, queue = restored((branches, queue))
    assert branches[0].send(1) is queue
    assert branches[1].send(2) is queue
    assert queue == [("a", 1), ("b", 2)]


def iterating() -> Body:
    items = ["a", "b", "c"]
    iterator = iter(items)
    for item in iterator:
        items.append((yield item))
        if len(items) == 5:
            break
    return list(iterator)


def test_an_iterator_goes_on_over_the_same_list() -> None:
    body = adopt(iterating())
    assert next(body) == "a"
    body = restored(body)
    assert body.send("d") == "b"
    assert ended(restored(body), "e") == ["c", "d", "e"]


# Circles


def in_a_circle() -> Body:
    me: list[Any] = []
    yield me
    got = yield
    return me[0], got


def test_a_generator_may_hold_itself() -> None:
    body = adopt(in_a_circle())
    next(body).append(body)
    body = restored(body)
    next(body)
    body = restored(body)
    assert ended(body, "got") == (body, "got")


def through_a_cell() -> Body:
    body = yield
    known = lambda: body  # noqa: E731
    yield known
    return known


def test_a_generator_may_be_in_a_cell_of_its_own() -> None:
    body = adopt(through_a_cell())
    next(body)
    known = body.send(body)
    body, known = restored((body, known))
    assert known() is body
    known, body = restored((known, body))
    assert known() is body
    assert ended(body) is known


def descending(depth: int) -> Body:
    if depth:
        return 1 + (yield from descending(depth - 1))
    return (yield "bottom")


def test_a_stack_of_many_frames_is_captured() -> None:
    body = adopt(descending(50))
    next(body)
    assert ended(restored(body), 0) == 50


def test_a_stack_of_too_many_frames_is_refused() -> None:
    body = adopt(descending(500))
    next(body)
    try:  # how many are too many depends on the version
        dumps(body)
    except Refused as refused:
        assert "nested too deeply" in refused.reason
    assert ended(body, 0) == 500


# Generators that are not delegated to


def helping(name: str) -> Body:
    got = yield name
    while True:
        got = yield name, got


def kept_aside() -> Body:
    first, second, third = helping("first"), helping("second"), helping("third")
    yield from zipped(first)
    yield second
    return third


def zipped(other: Body) -> Body:
    yield other


def test_generators_in_locals_that_were_not_started_are_captured() -> None:
    body = adopt(kept_aside())
    assert next(next(body)) == "first"
    body = adopt(kept_aside())
    next(body)
    body = restored(body)
    second = next(body)
    assert next(second) == "second"
    third = ended(body)
    assert (next(third), third.send(1)) == ("third", ("third", 1))


def test_twins_that_nobody_delegates_to_stand_at_their_yields() -> None:
    bodies = {name: adopt(helping(name)) for name in ("a", "b", "c")}
    next(bodies["a"])
    bodies["c"].close()
    bodies = restored(bodies)
    assert bodies["a"].send(1) == ("a", 1)
    assert next(bodies["b"]) == "b"
    assert next(bodies["c"], "ended") == "ended"


@workflow
def lone() -> Body:
    return (yield Save(len, "text"))


def test_a_command_and_an_invocation_by_themselves_are_captured() -> None:
    body, later, unstarted = iter(Log("now")), lone(), iter(Log("later"))
    assert next(body) == Log("now")
    body, later, unstarted = restored((body, later, unstarted))
    assert ended(body, "done") == "done"
    assert next(unstarted) == Log("later")
    assert isinstance(next(adopt(later.body())), Command)
    assert later.workflow is lone


# Errors


def handling_an_error() -> Body:
    kept = None
    try:
        raise Noted("first")
    except Noted as error:
        kept = error
        yield
        try:
            yield
            raise KeyError("second")
        except KeyError as second:
            return kept is error, second.__context__ is error, error.args


def test_the_error_that_is_handled_stays_the_same_one() -> None:
    body = adopt(handling_an_error())
    next(body)
    body = restored(body)
    next(body)
    assert ended(restored(body)) == (True, True, ("first",))


# What a restore leaves behind


class Resource:
    pass


def holding() -> Body:
    resource: Any = Resource()
    resource.itself = resource
    yield
    resource = (resource, [each + 1 for each in [1, 2]])
    yield
    del resource
    yield
    return "ended"


def test_what_a_twin_lets_go_of_is_gone() -> None:
    body = adopt(holding())
    next(body)
    body = restored(body)
    gc.collect()
    found = [weakref.ref(each) for each in gc.get_objects() if type(each) is Resource]
    assert len(found) == 2 - 1
    next(body)
    next(body)
    gc.collect()
    assert [each() for each in found] == [None]
    assert ended(body) == "ended"


def cleaning(log: list[str]) -> Body:
    try:
        yield
    finally:
        log.append("cleaned up")


def test_a_restored_generator_cleans_up_when_it_is_closed() -> None:
    log: list[str] = []
    body = adopt(cleaning(log))
    next(body)
    body, log = restored((body, log))
    body.close()
    assert log == ["cleaned up"]
