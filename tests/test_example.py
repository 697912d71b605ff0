"""The example of the documentation, as a script: in a program without a loop, on asyncio, and on trio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import continuum

ROOT = Path(continuum.__file__).parent.parent

WORKFLOW = """
from datetime import timedelta
from continuum import workflow, Save, Sleep, Receive, Retry, Engine, AsyncEngine

def charge(order_id, amount): {charge}
def refund(receipt): ...

@workflow                                    # or @workflow(name="order", version="2", queue="billing")
def order(order_id: str, amount: int = 0):
    receipt = yield Save(charge, order_id, amount, retry=Retry(attempts=5), compensate=refund)
    yield Sleep(timedelta({length}))          # or seconds as a number, or Sleep(until=aware_datetime)
    by = yield Receive("approved", timeout=timedelta(days=2), default=None)
    return {{"receipt": receipt, "by": by}}
"""

BLOCKING = """
with Engine("./state", workflows=[order]) as engine:          # blocking host: scheduler in its own thread
    run = engine.start(order("ord-1", amount=500), id="ord-1")
    run.send("approved", "alice")
    print(run.result(timeout=30))
"""

ASYNC = """
async def main():
    async with AsyncEngine("./state", workflows=[order]) as engine:   # asyncio or trio, the caller's own loop
        run = await engine.start(order("ord-1", amount=500), id="ord-1")
        await run.send("approved", "alice")
        print(await run.result(timeout=30))
"""

HOSTS = {
    "blocking": BLOCKING,
    "asyncio": ASYNC + "\nimport asyncio\nasyncio.run(main())\n",
    "trio": ASYNC + "\nimport trio\ntrio.run(main)\n",
}


def run(directory: Path, text: str) -> str:
    program = directory / "shop.py"
    program.write_text(text)
    command = [sys.executable, "-X", "dev", "-W", "error", str(program)]
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("charge", "receipt"), [("...", None), ("return f'{order_id}: {amount}'", "ord-1: 500")])
def test_the_example_runs_as_a_script(tmp_path: Path, host: str, charge: str, receipt: str | None) -> None:
    text = WORKFLOW.format(charge=charge, length="milliseconds=10") + HOSTS[host]
    expected = f"{ {'receipt': receipt, 'by': 'alice'} }\n"
    assert run(tmp_path, text) == expected
    assert run(
        tmp_path, text.replace("    run.send", "    # run.send").replace("await run.send", "# await run.send")
    ) == (expected), "started again it gives the recorded result"


@pytest.mark.parametrize("host", HOSTS)
def test_the_example_goes_on_sleeping_its_hour_when_it_is_started_again(tmp_path: Path, host: str) -> None:
    text = WORKFLOW.format(charge="print('charged', flush=True)", length="hours=1") + HOSTS[host].replace("30", "0.3")
    program = tmp_path / "shop.py"
    program.write_text(text)
    for output in ("charged\n", ""):
        done = subprocess.run(
            [sys.executable, str(program)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 1
        assert done.stdout == output
        assert "has not ended within 0.3 s; it is waiting for sleep" in done.stderr
