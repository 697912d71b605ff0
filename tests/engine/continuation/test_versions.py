"""A state that was captured under one Python version is used under another."""

from __future__ import annotations

import sys
from base64 import b64decode
from pathlib import Path

import pytest
from collected import Body
from driving import captured, numbers, trace
from elsewhere import load_module

from continuum.engine.continuation import Refused, adopt, loads


def travelling() -> Body:
    """Never to be changed: the states below were captured from it."""
    total, names = 1, ["a", "b"]
    makers = [lambda number=number: number + total for number in range(2)]
    for index, name in enumerate(names):
        counted = [total * each for each in range(2)]
        try:
            raise KeyError(name)
        except KeyError as error:
            total += yield index, [make() for make in makers], counted, sum(total for _ in names), f"{error!r:>{8}}"
    return total, names


STATES = {
    "3.11": (
        "gAWVjAMAAAAAAACMI2NvbnRpbnV1bS5lbmdpbmUuY29udGludWF0aW9uLnN0YXRllIwOX25ld19nZW5lcmF0b3KUk5SMDXRlc3Rf"
        "dmVyc2lvbnOUjAp0cmF2ZWxsaW5nlJOUjCBiNmNkNzc2OTM5Njc0ZjdhOTNkOTdhNTFhOTlkOGRjY5R9lIwFdG90YWyUjChjb250"
        "aW51dW0uZW5naW5lLmNvbnRpbnVhdGlvbi5yZWZlcmVuY2VzlIwKZW1wdHlfY2VsbJSTlClSlGgJjAlmaWxsX2NlbGyUk5RoDEsD"
        "hZSGUjBzh5RSlGgAjAVfZmlsbJSTlGgRSwF9lCiMBW5hbWVzlF2UKIwBYZSMAWKUZYwGbWFrZXJzlF2UKGgJjAxuZXdfZnVuY3Rp"
        "b26Uk5QoaAOMCnRyYXZlbGxpbmeUSwCHlIwcdHJhdmVsbGluZy48bG9jYWxzPi48bGFtYmRhPpRLAIwgYjZjZDc3NjkzOTY3NGY3"
        "YTkzZDk3YTUxYTk5ZDhkY2OUaAyFlHSUUpRoCWgSk5RoI32UKIwMX19kZWZhdWx0c19flEsAhZSMCF9fbmFtZV9flIwIPGxhbWJk"
        "YT6UjAxfX3F1YWxuYW1lX1+UjCd0cmF2ZWxsaW5nLjxsb2NhbHM+LjxsaXN0Y29tcD4uPGxhbWJkYT6UjApfX21vZHVsZV9flGgD"
        "dYZSMGgcKGgDjAp0cmF2ZWxsaW5nlEsAh5SMHHRyYXZlbGxpbmcuPGxvY2Fscz4uPGxhbWJkYT6USwBoIGgMhZR0lFKUaCRoMn2U"
        "KGgmSwGFlGgoaCloKmgraCxoA3WGUjBljAVpbmRleJRLAYwEbmFtZZRoGIwHY291bnRlZJRdlChLAEsDZYwFZXJyb3KUjBpjb250"
        "aW51dW0uc3RvcmUuZXhjZXB0aW9uc5SMCW5ld19lcnJvcpSTlIwIYnVpbHRpbnOUjAhLZXlFcnJvcpSTlIWUUpRoOowNcmVzdG9y"
        "ZV9lcnJvcpSTlGhBfZQojAZmaWVsZHOUfZSMCmF0dHJpYnV0ZXOUfZQojARhcmdzlGgYhZSMFF9fc3VwcHJlc3NfY29udGV4dF9f"
        "lIl1dYZSMIwHLml0ZW1zMZRoPYwJZW51bWVyYXRllJOUjAhidWlsdGluc5SMBGl0ZXKUk5RoFoWUUpRLAmJLAoaUUpSMBy5lcnJv"
        "cjKUaEGMAi4xlEsDdYaUhlIwLg=="
    ),
    "3.12": (
        "gAWVRwMAAAAAAACMI2NvbnRpbnV1bS5lbmdpbmUuY29udGludWF0aW9uLnN0YXRllIwOX25ld19nZW5lcmF0b3KUk5SMDXRlc3Rf"
        "dmVyc2lvbnOUjAp0cmF2ZWxsaW5nlJOUjCBiNmNkNzc2OTM5Njc0ZjdhOTNkOTdhNTFhOTlkOGRjY5R9lIwFdG90YWyUjChjb250"
        "aW51dW0uZW5naW5lLmNvbnRpbnVhdGlvbi5yZWZlcmVuY2VzlIwKZW1wdHlfY2VsbJSTlClSlGgJjAlmaWxsX2NlbGyUk5RoDEsD"
        "hZSGUjBzh5RSlGgAjAVfZmlsbJSTlGgRSwF9lCiMBW5hbWVzlF2UKIwBYZSMAWKUZYwGbWFrZXJzlF2UKGgJjAxuZXdfZnVuY3Rp"
        "b26Uk5QoaAOMCnRyYXZlbGxpbmeUSwCHlIwcdHJhdmVsbGluZy48bG9jYWxzPi48bGFtYmRhPpRLAIwgYjZjZDc3NjkzOTY3NGY3"
        "YTkzZDk3YTUxYTk5ZDhkY2OUaAyFlHSUUpRoCWgSk5RoI32UKIwMX19kZWZhdWx0c19flEsAhZSMCF9fbmFtZV9flIwIPGxhbWJk"
        "YT6UjAxfX3F1YWxuYW1lX1+UaB+MCl9fbW9kdWxlX1+UaAN1hlIwaBwoaAOMCnRyYXZlbGxpbmeUSwCHlGgfSwBoIGgMhZR0lFKU"
        "aCRoMH2UKGgmSwGFlGgoaCloKmgfaCtoA3WGUjBljAVpbmRleJRLAYwEbmFtZZRoGIwHY291bnRlZJRdlChLAEsDZYwFZXJyb3KU"
        "jBpjb250aW51dW0uc3RvcmUuZXhjZXB0aW9uc5SMCW5ld19lcnJvcpSTlIwIYnVpbHRpbnOUjAhLZXlFcnJvcpSTlIWUUpRoOIwN"
        "cmVzdG9yZV9lcnJvcpSTlGg/fZQojAZmaWVsZHOUfZSMCmF0dHJpYnV0ZXOUfZQojARhcmdzlGgYhZSMFF9fc3VwcHJlc3NfY29u"
        "dGV4dF9flIl1dYZSMIwHLml0ZW1zMZRoO4wJZW51bWVyYXRllJOUjAhidWlsdGluc5SMBGl0ZXKUk5RoFoWUUpRLAmJLAoaUUpSM"
        "By5lcnJvcjKUaD+MAi4xlEsDdYaUhlIwLg=="
    ),
    "3.13": (
        "gAWVRwMAAAAAAACMI2NvbnRpbnV1bS5lbmdpbmUuY29udGludWF0aW9uLnN0YXRllIwOX25ld19nZW5lcmF0b3KUk5SMDXRlc3Rf"
        "dmVyc2lvbnOUjAp0cmF2ZWxsaW5nlJOUjCBiNmNkNzc2OTM5Njc0ZjdhOTNkOTdhNTFhOTlkOGRjY5R9lIwFdG90YWyUjChjb250"
        "aW51dW0uZW5naW5lLmNvbnRpbnVhdGlvbi5yZWZlcmVuY2VzlIwKZW1wdHlfY2VsbJSTlClSlGgJjAlmaWxsX2NlbGyUk5RoDEsD"
        "hZSGUjBzh5RSlGgAjAVfZmlsbJSTlGgRSwF9lCiMBW5hbWVzlF2UKIwBYZSMAWKUZYwGbWFrZXJzlF2UKGgJjAxuZXdfZnVuY3Rp"
        "b26Uk5QoaAOMCnRyYXZlbGxpbmeUSwCHlIwcdHJhdmVsbGluZy48bG9jYWxzPi48bGFtYmRhPpRLAIwgYjZjZDc3NjkzOTY3NGY3"
        "YTkzZDk3YTUxYTk5ZDhkY2OUaAyFlHSUUpRoCWgSk5RoI32UKIwMX19kZWZhdWx0c19flEsAhZSMCF9fbmFtZV9flIwIPGxhbWJk"
        "YT6UjAxfX3F1YWxuYW1lX1+UaB+MCl9fbW9kdWxlX1+UaAN1hlIwaBwoaAOMCnRyYXZlbGxpbmeUSwCHlGgfSwBoIGgMhZR0lFKU"
        "aCRoMH2UKGgmSwGFlGgoaCloKmgfaCtoA3WGUjBljAVpbmRleJRLAYwEbmFtZZRoGIwHY291bnRlZJRdlChLAEsDZYwFZXJyb3KU"
        "jBpjb250aW51dW0uc3RvcmUuZXhjZXB0aW9uc5SMCW5ld19lcnJvcpSTlIwIYnVpbHRpbnOUjAhLZXlFcnJvcpSTlIWUUpRoOIwN"
        "cmVzdG9yZV9lcnJvcpSTlGg/fZQojAZmaWVsZHOUfZSMCmF0dHJpYnV0ZXOUfZQojARhcmdzlGgYhZSMFF9fc3VwcHJlc3NfY29u"
        "dGV4dF9flIl1dYZSMIwHLml0ZW1zMZRoO4wJZW51bWVyYXRllJOUjAhidWlsdGluc5SMBGl0ZXKUk5RoFoWUUpRLAmJLAoaUUpSM"
        "By5lcnJvcjKUaD+MAi4xlEsDdYaUhlIwLg=="
    ),
}
"""At its second yield, after it was sent 2."""


@pytest.mark.parametrize("version", STATES)
def test_a_state_of_another_version_is_used(version: str) -> None:
    body = loads(b64decode(STATES[version]))
    with pytest.raises(StopIteration) as stopped:
        body.send(3)
    assert stopped.value.value == (6, ["a", "b"])


NEW_IN_3_12 = """
class Shop:
    def order[T: int](self, number: T, *rest: T) -> T:
        type Pair = tuple[T, Pair]
        def twice[S](value: S = (yield "default")) -> tuple[S, T]:
            return value, number
        got = yield str(T), Pair.__name__, f"{f"{number}" + "x"}"
        return twice(), twice(got), rest
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in 3.12")
def test_functions_with_types_as_parameters_are_captured(tmp_path: Path) -> None:
    path = tmp_path / "shops.py"
    path.write_text(NEW_IN_3_12)
    shop = load_module("shops", str(path)).Shop()
    with pytest.raises(Refused, match="local 'Pair' of type TypeAliasType cannot be pickled"):
        trace(adopt(shop.order(1, 2)), numbers, captured)
    assert trace(adopt(shop.order(1, 2)), numbers) == trace(shop.order(1, 2), numbers)
    path.write_text(NEW_IN_3_12.replace("type Pair = tuple[T, Pair]", "Pair = int"))
    shop = load_module("shops", str(path)).Shop()
    assert trace(adopt(shop.order(1, 2)), numbers, captured) == trace(shop.order(1, 2), numbers)
