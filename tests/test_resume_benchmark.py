"""The benchmark of resuming, run small: it says what it is asked, and a compacted loop stays within bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import continuum

ROOT = Path(continuum.__file__).parents[1]


RATIOS = {f"the largest to the smallest {way}" for way in ("by replay", "with continuations")}


def test_it_compares_runs_of_some_sizes_and_shows_what_a_loop_takes_up(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "benchmarks/resume.py"), "--json"]
    sizes = ["--steps", "20", "1200", "--loop", "3000", "--each", "100", "--rounds", "2"]
    done = subprocess.run([*program, *sizes], capture_output=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr.decode()
    results = json.loads(done.stdout)
    assert results["store at its end, KiB"] < 3 * results["store at a tenth of it, KiB"]
    assert set(results) >= {"20 steps by replay, milliseconds", "1,200 steps with continuations, milliseconds", *RATIOS}
    assert all(value > 0 for value in results.values())
