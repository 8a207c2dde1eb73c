"""The whole pipeline, simulated: whatever crashes, comes twice or comes late, the tables equal a recomputation from the raw events."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import Any

import pytest
import simulate
from simulate import Violation, World

from driftline.streams.agents.ingest import Ingest
from driftline.streams.panes import encode_key


def started(*arguments: str) -> subprocess.Popen[str]:
    """The script in a process of its own, since what it does depends on how Python hashes strings."""
    command = [sys.executable, simulate.__file__, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_thousands_of_steps_with_all_harm_end_in_the_recomputed_tables() -> None:
    happened = {"steps": 0, "kills": 0, "pauses": 0, "rebalances": 0, "failed": 0}
    for run in [started("--seed", seed, "--steps", "10500") for seed in ("1", "8")]:
        out, errors = run.communicate(timeout=600)
        assert run.returncode == 0, errors[-6_000:]
        for name, n in re.findall(r"(\w+) (\d+)", out):
            happened[name] = happened.get(name, 0) + int(n)
    assert happened["steps"] >= 20_000
    assert happened["failed"] == 0
    assert min(happened["events"], happened["kills"], happened["pauses"], happened["rebalances"]) > 20


def test_a_seed_brings_the_same_run_again() -> None:
    first, second = (run.communicate(timeout=300)[0] for run in [started("--seed", "5", "--steps", "300", "--trace") for _ in range(2)])
    assert first == second
    assert len(first.splitlines()) > 300


def test_a_snapshot_that_only_the_table_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def table_first(self: Any, number: int, owned: Any, snapshots: Any, positions: Any) -> None:
        pairs = {encode_key(key, number): snapshot for key, snapshot in snapshots}
        await asyncio.gather(owned.write(sum(positions), pairs), wrong(self, number, owned, snapshots, positions))

    wrong = Ingest._write
    monkeypatch.setattr(Ingest, "_write", table_first)
    with pytest.raises(Violation, match="the table has a snapshot that `panes` has not"):
        simulate.simulate(1)


def test_an_event_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_less(self: World) -> Any:
        recomputed = original(self)
        (of_table := recomputed.tables["performance_panes"]).pop(next(key for key, row in of_table.items() if row["n"]))
        return recomputed

    original = World.recomputed
    monkeypatch.setattr(World, "recomputed", one_less)
    with pytest.raises(Violation, match="1 rows differ from the recomputation\nperformance_panes"):
        simulate.simulate(1, 300, harms=())
