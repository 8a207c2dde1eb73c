"""The cold tier's table: predictions and outcomes that wait for each other longer than memory holds them.

A row is a fact about a record of a source topic. It is written once and never changed, and counts only as part of a slice that its
partition says it has put here; so what a worker left behind when it died in between is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.sinks.clickhouse import ClickHouse

BLOCK_ROWS: Final = 100_000  # of one insert
ASKED_IDS: Final = 5_000  # of one query: the server reads at most 256 KiB of it
READ_ROWS: Final = 2_000_000  # about as many ids are read at a time at a start

UInt64 = NDArray[np.uint64]
Slices = Sequence[tuple[int, int]]  # a life, and the last of its slices that counts

_FOUND: Final = "id_hash, is_outcome, offset, ts, remembered, version, segments, class, number, bin, fingerprint"


class Waiting:
    """See the module. Calls block; while the store is away they wait, and end when it is closed.

    Parameters
    ----------
    store
        The store; it must be migrated.
    """

    def __init__(self, store: ClickHouse) -> None:
        self._store = store

    def insert(self, block: pa.Table, token: str) -> None:
        """Store rows; returns when they are stored. `token` names the block, as in `Sink.insert`."""
        for first in range(0, len(block), BLOCK_ROWS):
            self._store.insert_table("waiting", block.slice(first, BLOCK_ROWS), f"waiting:{token}:{first}")

    def find(self, partition: int, model: str, ids: UInt64, slices: Slices) -> pa.Table:
        """All rows of these ids that count: the columns of `waiting` that make up a row of the join."""
        found = [
            self._store.ask(
                f"SELECT {_FOUND} FROM waiting WHERE {_OF_MODEL} AND id_hash IN ({','.join(map(str, ids[first : first + ASKED_IDS]))}) "
                f"AND {_counting(slices)}",
                {"partition": partition, "model": model},
            )
            for first in range(0, len(ids), ASKED_IDS)
        ]
        return pa.concat_tables(found)

    def ids(self, partition: int, model: str, since: int, slices: Slices) -> Iterator[tuple[UInt64, NDArray[np.int64]]]:
        """The hashes of all ids whose rows count, and the event times of these (milliseconds, at least `since`), in parts."""
        about = {"partition": partition, "model": model, "since": since}
        where = f"{_OF_MODEL} AND remembered >= {{since:Int64}} AND {_counting(slices)}"
        rows = int(self._store.ask(f"SELECT count() AS n FROM waiting WHERE {where}", about)["n"][0].as_py())
        parts = rows // READ_ROWS + 1
        for part in range(parts if rows else 0):
            first, last = 2**64 * part // parts, 2**64 * (part + 1) // parts - 1
            found = self._store.ask(f"SELECT id_hash, remembered FROM waiting WHERE {where} AND id_hash BETWEEN {first} AND {last}", about)
            yield found["id_hash"].to_numpy(), found["remembered"].to_numpy()

    def orphans(self, partition: int, model: str, since: int, until: int, horizon_ms: int, slices: Slices) -> pa.Table:
        """Outcomes of event times from `since` to before `until` that pair with no prediction here, and of which nothing was told yet."""
        return self._store.ask(
            f"""
            WITH predictions AS (
                SELECT id_hash, ts FROM waiting
                WHERE {_OF_MODEL} AND NOT is_outcome AND {_counting(slices)}
                AND ts BETWEEN {{since:Int64}} - {{horizon:Int64}} AND {{until:Int64}} + {{horizon:Int64}}
            ), outcomes AS (
                SELECT DISTINCT id_hash, ts, offset FROM waiting
                WHERE {_OF_MODEL} AND is_outcome AND bin = 0 AND ts >= {{since:Int64}} AND ts < {{until:Int64}} AND {_counting(slices)}
            )
            SELECT offset, any(outcomes.ts) AS ts, outcomes.id_hash AS id_hash
            FROM outcomes LEFT JOIN predictions ON outcomes.id_hash = predictions.id_hash
            GROUP BY offset, outcomes.id_hash
            HAVING countIf(predictions.ts > 0 AND abs(outcomes.ts - predictions.ts) <= {{horizon:Int64}}) = 0
            ORDER BY offset, id_hash
            """,
            {"partition": partition, "model": model, "since": since, "until": until, "horizon": horizon_ms},
        )


_OF_MODEL: Final = "partition = {partition:UInt32} AND model = {model:String}"


def _counting(slices: Slices) -> str:
    """The condition that a row is of a slice that counts.

    >>> _counting([(7, 2)])
    '(life = 7 AND slice <= 2)'
    """
    each = [f"(life = {int(life)} AND slice <= {int(last)})" for life, last in slices]
    return each[0] if len(each) == 1 else f"({' OR '.join(each or ['0'])})"


def waiting_block(columns: dict[str, Any], names: dict[str, Sequence[str]], constants: dict[str, Any]) -> pa.Table:
    """Rows for `Waiting.insert`: columns as they are, codes with the names behind them, and what is the same in all rows."""
    n = len(columns["id_hash"])
    arrays = {name: pa.array(values) for name, values in columns.items() if name not in names}
    for name, texts in names.items():
        codes = pa.array(columns[name].astype(np.int32))
        arrays[name] = pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.string())).cast(pa.string())
    return pa.table(arrays | {name: pa.repeat(pa.scalar(value), n) for name, value in constants.items()})
