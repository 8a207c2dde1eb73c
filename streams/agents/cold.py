"""The store's side of the cold tier: what `tiers` wants to know and to write, asked and written by way of `sinks.waiting`.

Order: rows are in the store before they leave memory; they have left memory before a marker's floor moves past them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from driftline.sinks.waiting import Waiting, waiting_block
from driftline.streams.batch import Batch, Outcomes, Predictions
from driftline.streams.cold import OUTCOME, ColdRows, Int64, NamedRows
from driftline.streams.columns import UInt64
from driftline.streams.join import Orphans
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.tiers import Departure, Overdue

Slices = Sequence[tuple[int, int]]


class Cold:
    """The rows of one worker's partitions that are in the store. Calls block."""

    def __init__(self, waiting: Waiting, registry: Registry) -> None:
        self._waiting, self._registry = waiting, registry

    def insert(self, partition: int, departure: Departure) -> None:
        """Write what leaves; returns when it is stored."""
        constants = {
            "partition": pa.scalar(partition, pa.uint32()), "model": departure.named.model, "life": pa.scalar(departure.life, pa.uint64()),
            "slice": pa.scalar(departure.number, pa.uint32()), "keep_s": pa.scalar(departure.keep_ms // 1000, pa.uint32()),
        }  # fmt: skip
        columns, names = _columns(departure.named)
        token = f"{departure.life}:{departure.number}:{partition}:{departure.named.model}"
        self._waiting.insert(waiting_block(columns, names, constants), token)

    def find(self, partition: int, model: str, ids: UInt64, slices: Slices) -> NamedRows:
        """All that the store has of these ids."""
        found = self._waiting.find(partition, model, ids, slices)
        return _named(model, found, numbers=self._registry.model(model).task == "regression")

    def ids(self, partition: int, model: str, since: int, slices: Slices) -> Iterator[tuple[UInt64, Int64]]:
        """The ids in the store, each with the times of its rows, in parts."""
        return self._waiting.ids(partition, model, since, slices)

    def orphans(self, partition: int, about: Overdue, slices: Slices) -> Orphans:
        """Outcomes in the store that met no prediction there."""
        found = self._waiting.orphans(partition, about.model, about.since, about.until, about.horizon_ms, slices)
        return Orphans(found["offset"].to_numpy().astype(np.int64), found["ts"].to_numpy(), found["id_hash"].to_numpy())


async def begin(partition: Partition, cold: Cold) -> None:
    """A partition that starts hears which of its ids are in the store."""
    tiers = partition.tiers
    for model, since in tiers.unread().items():
        parts = cold.ids(partition.number, model, since, tiers.slices)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            tiers.know(model, *part)


async def bring_back(partition: Partition, batch: Batch[Predictions] | Batch[Outcomes], cold: Cold) -> None:
    """The ids of a batch that are in the store come back, before it is taken in."""
    for model, ids in partition.tiers.wanted(batch).items():
        found = await asyncio.to_thread(cold.find, partition.number, model, ids, partition.tiers.slices)
        partition.tiers.thaw(found, partition.positions)


async def make_room(partition: Partition, cold: Cold) -> None:
    """The oldest ids leave. While the store is away this waits, and nothing is taken in."""
    departures = partition.tiers.leave()
    for departure in departures:
        await asyncio.to_thread(cold.insert, partition.number, departure)
    partition.tiers.left(departures)


async def name_orphans(partition: Partition, cold: Cold) -> None:
    """Ask which of the outcomes in the store no prediction came for, when none can come any more."""
    for about in partition.tiers.overdue():
        partition.tiers.name(about, await asyncio.to_thread(cold.orphans, partition.number, about, partition.tiers.slices))


def _columns(named: NamedRows) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    """The columns of the table, three of them codes, and the texts behind those."""
    rows, out = named.rows, named.rows.version == OUTCOME
    told = ~np.isnan(rows.value)
    code = np.zeros(len(rows), np.int64)
    if named.classes is not None:
        code[told] = rows.value[told].astype(np.int64) + 1
    columns = {
        "id_hash": rows.id_hash, "is_outcome": out, "offset": rows.offset.astype(np.uint64), "ts": rows.ts, "remembered": rows.remembered,
        "version": rows.version + 1, "segments": np.where(out, 0, rows.segments + 1), "class": code,
        "number": rows.value if named.classes is None else np.where(told, 0.0, np.nan),
        "bin": rows.bin.astype(np.int16), "fingerprint": rows.fingerprint.astype(np.uint32),
    }  # fmt: skip
    segments = [json.dumps(names, ensure_ascii=False) for names in named.segments]
    return columns, {"version": ["", *named.versions], "segments": ["[]", *segments], "class": ["", *(named.classes or ())]}


def _named(model: str, found: pa.Table, *, numbers: bool) -> NamedRows:
    """The inverse of `_columns`; `numbers` for a regression."""
    out = found["is_outcome"].to_numpy(zero_copy_only=False).astype(bool)
    version, versions = _codes(found["version"])
    segments, texts = _codes(found["segments"])
    code, classes = _codes(found["class"])
    number = found["number"].to_numpy()
    rows = ColdRows(
        found["id_hash"].to_numpy(), found["offset"].to_numpy().astype(np.int64), found["ts"].to_numpy(), found["remembered"].to_numpy(),
        number if numbers else np.where(np.isnan(number), np.nan, code), np.where(out, OUTCOME, version), segments,
        found["bin"].to_numpy().astype(np.int64), found["fingerprint"].to_numpy().astype(np.uint64),
    )  # fmt: skip
    return NamedRows(model, rows, versions, [tuple(json.loads(text)) for text in texts], None if numbers else classes)


def _codes(column: Any) -> tuple[Int64, list[str]]:
    encoded = pa.chunked_array([column.combine_chunks()]).combine_chunks().dictionary_encode()
    codes: Int64 = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, [str(text) for text in encoded.dictionary.to_pylist()]
