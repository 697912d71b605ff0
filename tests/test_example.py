"""Examples as scripts: that of the design in a program without a loop, on asyncio and on trio; those of `examples/`."""

from __future__ import annotations

import ast
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import continuum
from continuum import Engine

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


# The programs of examples/

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DOES = ("ord-1: charge", "ord-2: charge", "reserve", "refund", "release", "cancel", "ship the")  # what steps print
SCRIPTS = [path for path in EXAMPLES if "__main__" in path.read_text()]


def example(directory: Path, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", str(path)]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=directory, env=settings, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name != "order.py"], ids=lambda path: path.name)
def test_an_example_runs_and_when_it_is_run_again_it_repeats_nothing(tmp_path: Path, path: Path) -> None:
    first, again = example(tmp_path, path), example(tmp_path, path)
    assert (first.returncode, first.stderr, again.returncode, again.stderr) == (0, "", 0, "")
    assert again.stdout.splitlines() == [line for line in first.stdout.splitlines() if not line.startswith(DOES)]


def test_the_order_is_killed_and_goes_on(tmp_path: Path) -> None:
    path = ROOT / "examples" / "order.py"
    assert example(tmp_path, path).returncode == -signal.SIGKILL
    done = example(tmp_path, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "charge" not in done.stdout
    assert "'tracking': 'parcel of ord-1, on its way'" in done.stdout


@pytest.mark.parametrize(
    ("decision", "result", "stage"),
    [
        ({"granted": True, "by": "ada"}, "a desk is booked", "granted"),
        ({"granted": False, "by": "ada"}, None, "refused"),
        (None, None, "refused"),
    ],
)
def test_a_request_is_granted_refused_or_not_decided_in_time(
    monkeypatch: pytest.MonkeyPatch, decision: object, result: str | None, stage: str
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    approval = importlib.import_module("approval").approval
    with Engine("memory://", workflows=[approval]) as engine:
        started = engine.start(approval("a desk", patience="1h" if decision else "0.01s"))
        if decision:
            started.send("decision", decision)
        assert started.result(timeout=120) == result
        assert started.state()["stage"] == stage


def test_every_example_says_what_it_shows_and_how_to_run_it_and_is_in_the_list() -> None:
    listed = (ROOT / "docs" / "examples.md").read_text()
    for path in EXAMPLES:
        text = path.read_text()
        told = ast.get_docstring(ast.parse(text)) or ""
        assert f"Run it: {'python' if path in SCRIPTS else 'continuum run'} {path.name}" in told, path.name
        assert f"| [{path.name}](" in listed, path.name
        assert len(text.splitlines()) <= 72, path.name
