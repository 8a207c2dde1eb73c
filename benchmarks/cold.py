"""The cold tier of the join: how fast predictions go to ClickHouse and come back for their labels.

    python benchmarks/cold.py [ROWS] [DSN]

Fills `waiting` with ROWS predictions (20 million) of one partition, in a temporary engine inside this process or in the database at DSN,
which must be empty. Then prints, each from the same calls that a worker makes: rows a second written, ids a second found again, all of
them cold, by the number of ids asked for at once, and ids a second read at a start. The rows that fill the table are made in the server.
The microseconds of this process's CPU are beside the ids: on a busy machine the clock says more about the others.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from statistics import median

import numpy as np

from driftline.schemas.config import Model
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.waiting import Waiting
from driftline.streams.agents.cold import Cold
from driftline.streams.cold import ColdRows, NamedRows
from driftline.streams.join import Leaving
from driftline.streams.registry import Registry
from driftline.streams.tiers import Departure

ROWS = 20_000_000
CHUNK = 5_000  # ids asked for at once in the figure that counts: about what a chunk of late labels asks for
AT_ONCE = (100, 1_000, CHUNK, 20_000, 50_000)
SPILL = 1_000_000  # rows that leave memory at a time
FILL = """
INSERT INTO waiting
SELECT 0, 'bench', cityHash64(number), false, number, {start} + 20 * number, {start} + 20 * number, '1', '[]', toString(number % 2),
       0, number % 256, cityHash64(number, 1) % 4294967296, 1, 1, 90 * 86400
FROM numbers({first}, {rows})
"""
START_MS = 1_767_571_200_000
SLICES = [(1, 1), (2, 1)]


def fill(store: ClickHouse, rows: int) -> None:
    """As many rows as there shall be, in parts, as they would come."""
    for first in range(0, rows, SPILL):
        store._command(FILL.format(start=START_MS, first=first, rows=min(SPILL, rows - first)))


def spill(cold: Cold) -> float:
    """Rows a second that leave memory."""
    rng = np.random.default_rng(1)
    at = np.arange(SPILL)
    hashes = rng.integers(0, 2**64, SPILL, dtype=np.uint64)
    zeros = np.zeros(SPILL, np.int64)
    rows = ColdRows(hashes, at, START_MS + at, START_MS + at, (at % 2).astype(float), zeros, zeros, at % 256, hashes)
    leaving = Leaving(rows, np.ones(SPILL, bool))
    begun = time.perf_counter()
    cold.insert(0, Departure(NamedRows("bench", rows, ["1"], [()], ["0", "1"]), leaving, 2, 1, 86_400_000))
    return SPILL / (time.perf_counter() - begun)


def look_up(cold: Cold, hashes: np.ndarray, at_once: int, times: int = 5) -> tuple[float, float]:
    """Ids a second, and microseconds of CPU an id; all of them are there. Medians of several questions."""
    rates, costs = [], []
    rng = np.random.default_rng(at_once)
    for _ in range(times):
        asked = np.unique(rng.choice(hashes, at_once))
        begun, spent = time.perf_counter(), time.process_time()
        found = cold.find(0, "bench", asked, SLICES)
        rates.append(len(asked) / (time.perf_counter() - begun))
        costs.append((time.process_time() - spent) * 1e6 / len(asked))
        if set(found.rows.id_hash.tolist()) != set(asked.tolist()):
            sys.exit("not every id came back")
    return median(rates), median(costs)


def rates(rows: int, dsn: str = "") -> dict[str, float | int]:
    """The part `cold` of the results: everything that is measured with `rows` predictions in the table; says what it sees."""
    with ExitStack() as stack:
        dsn = dsn or f"chdb://{stack.enter_context(tempfile.TemporaryDirectory())}/store"
        store = stack.enter_context(ClickHouse.connect(dsn, create=True))
        store.migrate()
        begun = time.perf_counter()
        fill(store, rows)
        print(f"{rows:,} rows in `waiting`, made in {time.perf_counter() - begun:.0f} s")
        cold = Cold(Waiting(store), Registry({"bench": Model("bench")}))
        written = spill(cold)
        print(f"written: {written:,.0f} rows/s")
        hashes = np.concatenate([ids for ids, _ in cold.ids(0, "bench", START_MS, [(1, 1)])])
        begun = time.perf_counter()
        read = sum(len(ids) for ids, _ in cold.ids(0, "bench", START_MS, SLICES)) / (time.perf_counter() - begun)
        print(f"read at a start: {read:,.0f} ids/s")
        found = {at_once: look_up(cold, hashes, at_once) for at_once in AT_ONCE}
        for at_once, (rate, cost) in found.items():
            print(f"found again, {at_once:,} at once: {rate:,.0f} ids/s, {cost:.0f} µs of CPU each")
        size = store.query("SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE active AND table = 'waiting'").to_pylist()[0]["n"]
        print(f"on disk: {size / (rows + SPILL):.1f} bytes a row")
    return {
        "lookups_per_second": found[CHUNK][0], "at_once": CHUNK, "rows": rows, "written_per_second": written, "read_per_second": read,
        "disk_bytes_per_row": size / (rows + SPILL),
    }  # fmt: skip


def main() -> None:
    rates(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS, sys.argv[2] if len(sys.argv) > 2 else "")


if __name__ == "__main__":
    main()
