"""The engine inside a trio program, on the program's own loop, beside the program's own tasks.

Run it: python trio_host.py
"""

import trio

from continuum import All, AsyncEngine, Receive, Save, workflow


async def greet(name: str) -> str:
    await trio.sleep(0.01)
    return f"hello {name}"


@workflow
def party(first: str, second: str):
    greetings = yield All(Save(greet, first), Save(greet, second))
    last = yield Receive("late guest")
    return [*greetings, (yield Save(greet, last))]


async def main() -> None:
    async with AsyncEngine("./party", workflows=[party]) as engine:
        run = await engine.start(party("ada", "grace"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.send, "late guest", "edsger")
            print(await run.result(timeout=30))


if __name__ == "__main__":
    trio.run(main)
