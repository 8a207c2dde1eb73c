"""The SDK's batches: events wait a moment and go out as one Arrow stream a partition. Needs pyarrow, so only those who ask load it.

add, add_table ──► waiting rows and tables (bounded) ──► by partition, a thousand at most ──► producer ──► acknowledged, or lost
   any thread                                              a thread of its own, or `send`
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import confluent_kafka
import pyarrow as pa

from driftline.schemas.errors import Rejected
from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction, parse_time

ROWS = 1_000  # a message
LINGER_S = 0.1  # how long an event waits for others
KEEP_S = 120.0  # how long events wait for a broker that does not say how many partitions there are
COUNT_S = 300.0  # how long the number of partitions is believed
HEADERS: list[tuple[str, bytes]] = [("content-type", b"application/vnd.apache.arrow.stream")]

Row = tuple[bytes, bytes]  # key, the event in JSON
Drop = Callable[[str, str, int], None]  # code, message, how many events


class Batches:
    """Events on their way into batches.

    Parameters
    ----------
    producer : gives the producer.
    drop : told of events that are lost.
    limit_rows, limit_bytes : how much may wait, in events and in bytes of their JSON.
    """

    def __init__(self, producer: Callable[[], confluent_kafka.Producer], drop: Drop, limit_rows: int, limit_bytes: int) -> None:
        self._producer, self._drop, self._limits = producer, drop, (limit_rows, limit_bytes)
        self._lock, self._sending = threading.RLock(), threading.RLock()
        self._rows: dict[str, list[Row]] = defaultdict(list)
        self._tables: dict[str, list[pa.Table]] = defaultdict(list)
        self._size = self._n = self._in_flight = 0
        self._counts: dict[str, tuple[int, float]] = {}
        self._silent_since: float | None = None
        self._wake, self._closed = threading.Event(), False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return self._n + self._in_flight

    def add(self, topic: str, key: bytes, value: bytes) -> bool:
        """Take in one event that was judged to be good; False if too many wait."""
        with self._lock:
            if not self._has_room(1, len(value)):
                return False
            self._rows[topic].append((key, value))
            self._took(1, len(value))
        if len(self._rows[topic]) >= ROWS:
            self._wake.set()
        return True

    @staticmethod
    def prepared(rows: Any, answer: str, about: dict[str, str], now_ms: int) -> pa.Table | Rejected:
        """See `table_of`."""
        return table_of(rows, answer, about, now_ms)

    def add_table(self, topic: str, table: pa.Table) -> bool:
        """Take in a prepared table, which must not change any more; False if too much waits. Nothing of it is copied or looked at."""
        with self._lock:
            if not self._has_room(table.num_rows, table.nbytes):
                return False
            self._tables[topic].append(table)
            self._took(table.num_rows, table.nbytes)
        self._wake.set()
        return True

    def _has_room(self, rows: int, size: int) -> bool:
        return self._n + self._in_flight + rows <= self._limits[0] and self._size + size <= self._limits[1]

    def _took(self, rows: int, size: int) -> None:
        self._n += rows
        self._size += size
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="driftline-batches", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """No thread sends any more."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(LINGER_S)
            self._wake.clear()
            self.send(1.0)

    def send(self, timeout_s: float) -> None:
        """Hand everything that waits to the producer; at most `timeout_s` is spent on asking for the number of partitions."""
        with self._sending:
            producer = self._producer()
            producer.poll(0)
            for topic in {topic for waiting in (self._rows, self._tables) for topic, parts in waiting.items() if parts}:
                count = self._partitions(producer, topic, timeout_s)
                if count:
                    self._send(producer, topic, self._take(topic), count)
                    for table in self._take_tables(topic):
                        self._send_table(producer, topic, table, count)
                elif self._silent_since is not None and time.monotonic() - self._silent_since > KEEP_S:
                    lost = len(self._take(topic)) + sum(table.num_rows for table in self._take_tables(topic))
                    self._drop("_MSG_TIMED_OUT", f"{topic}: no broker told the number of partitions", lost)

    def _take(self, topic: str) -> list[Row]:
        with self._lock:
            rows, self._rows[topic] = self._rows[topic], []
            self._n -= len(rows)
            self._size -= sum(len(value) for _, value in rows)
            return rows

    def _take_tables(self, topic: str) -> list[pa.Table]:
        with self._lock:
            tables, self._tables[topic] = self._tables[topic], []
            self._n -= sum(table.num_rows for table in tables)
            self._size -= sum(table.nbytes for table in tables)
            return tables

    def _partitions(self, producer: confluent_kafka.Producer, topic: str, timeout_s: float) -> int:
        """How many there are; 0 if nobody says."""
        count, until_s = self._counts.get(topic, (0, 0.0))
        if time.monotonic() < until_s:
            return count
        with contextlib.suppress(confluent_kafka.KafkaException, KeyError):  # then what was known before holds, mostly
            count = len(producer.list_topics(topic, timeout=timeout_s).topics[topic].partitions)
        if count:
            self._counts[topic] = (count, time.monotonic() + COUNT_S)
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = time.monotonic()
        return count

    def _send(self, producer: confluent_kafka.Producer, topic: str, rows: Sequence[Row], count: int) -> None:
        for partition, own in _by_partition(rows, count).items():
            for batch in _once_each(own):
                for begin in range(0, len(batch), ROWS):
                    self._send_batch(producer, topic, partition, batch[begin : begin + ROWS])

    def _send_table(self, producer: confluent_kafka.Producer, topic: str, table: pa.Table, count: int) -> None:
        try:
            for partition, own in _parts_of(table.unify_dictionaries().combine_chunks(), count):
                for begin in range(0, own.num_rows, ROWS):
                    piece = own.slice(begin, ROWS)
                    self._produce(producer, topic, partition, _written(piece), piece.num_rows, HEADERS)
        except Exception as error:  # what pyarrow cannot write must not end the thread
            self._drop("wrong_type", f"{topic}: {type(error).__name__}: {error}", table.num_rows)

    def _send_batch(self, producer: confluent_kafka.Producer, topic: str, partition: int, rows: Sequence[Row]) -> None:
        try:
            for about, value in messages([value for _, value in rows]):
                self._produce(producer, topic, partition, value, about, HEADERS)
        except (pa.ArrowException, TypeError, ValueError):  # values of one column that Arrow cannot hold together: as single events
            for key, value in rows:
                self._produce(producer, topic, partition, value, 1, [], key)

    def _produce(
        self, producer: confluent_kafka.Producer, topic: str, partition: int, value: bytes, n: int, headers: Any, key: bytes | None = None
    ) -> None:
        def delivered(error: confluent_kafka.KafkaError | None, _: confluent_kafka.Message) -> None:
            with self._lock:
                self._in_flight -= n
            if error is not None:
                self._drop(error.name(), f"{topic}: {error.str()}", n)

        with self._lock:
            self._in_flight += n
        try:
            producer.produce(topic, value, key, partition, headers=headers, on_delivery=delivered)
        except (BufferError, confluent_kafka.KafkaException) as error:
            with self._lock:
                self._in_flight -= n
            code = "queue_full" if isinstance(error, BufferError) else error.args[0].name()
            self._drop(code, f"{topic}: {error}", n)


def _by_partition(rows: Sequence[Row], count: int) -> dict[int, list[Row]]:
    out: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        out[murmur2(row[0]) % count].append(row)
    return out


def _once_each(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows in batches in which no key comes twice; those of one key in their order."""
    out: list[list[Row]] = []
    seen: dict[bytes, int] = defaultdict(int)
    for row in rows:
        at = seen[row[0]]
        seen[row[0]] += 1
        if at == len(out):
            out.append([])
        out[at].append(row)
    return out


def murmur2(key: bytes) -> int:
    """Kafka's own hash of a key, positive.

    >>> murmur2(b"abc") % 4
    3
    """
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m & mask
        h = h * m & mask ^ (k ^ k >> 24) * m & mask
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def messages(values: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Good events in JSON as Arrow streams, one for each model and version, each with the number of its rows.

    Raises `TypeError` where one column would hold values of several types, and for rankings.
    """
    own: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for value in values:
        event = _event(value)
        own[event.model, getattr(event, "version", "")].append(event)
    return [(len(events), _stream(model, version, events)) for (model, version), events in own.items()]


def _event(value: bytes) -> Prediction | Outcome:
    event = decode_prediction(value)
    if isinstance(event, Rejected):
        event = decode_outcome(value)  # type: ignore[assignment]
    assert not isinstance(event, Rejected), "events were judged before"
    answer = event.prediction if isinstance(event, Prediction) else event.label
    if isinstance(answer, list | dict):
        raise TypeError("a ranking is no column")
    return event


_PLAIN = ("id", "prediction", "label", "score", "role", "latency_ms", "failed", "trace", "kind")
_NESTED = {"features": "feature.", "segments": "segment.", "scores": "score."}


def _stream(model: str, version: str, events: Sequence[Any]) -> bytes:
    columns: dict[str, Any] = {"ts": pa.array([parse_time(event.ts) for event in events], pa.int64())}
    for name in _PLAIN:
        if name in events[0].__struct_fields__:
            columns[name] = _array([getattr(event, name) for event in events])
    for name, prefix in _NESTED.items():
        rows = [getattr(event, name, None) or {} for event in events]
        for key in dict.fromkeys(key for row in rows for key in row):
            columns[prefix + key] = _array([row.get(key) for row in rows])
    return _written(pa.table(columns).replace_schema_metadata({"model": model} | ({"version": version} if version else {})))


def _written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def table_of(rows: Any, answer: str, about: dict[str, str], now_ms: int) -> pa.Table | Rejected:
    """Rows as a table that can be sent, or why not. Whatever `pyarrow.table` takes is taken; buffers stay where they are.

    >>> table_of({"id": [7], "label": [1.0]}, "label", {"model": "m"}, 1_767_571_200_000).to_pylist()
    [{'id': '7', 'label': 1.0, 'ts': 1767571200000}]
    >>> table_of({"label": [1.0]}, "label", {"model": "m"}, 0).code
    'missing_field'
    """
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else pa.table(rows)
    for name in ("id", answer):
        if name not in table.column_names:
            return Rejected("missing_field", f"the table has no column {name!r}")
    ids = table["id"]
    if ids.null_count:
        return Rejected("missing_field", f"{ids.null_count} rows of the table have no id")
    if not pa.types.is_string(ids.type):
        table = table.set_column(table.column_names.index("id"), "id", ids.cast(pa.string()))
    if "ts" not in table.column_names:
        table = table.append_column("ts", pa.repeat(pa.scalar(now_ms, pa.int64()), table.num_rows))
    return table.replace_schema_metadata(about)


def _parts_of(table: pa.Table, count: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each partition, those of one id apart; the table itself where it is one part."""
    parts: dict[tuple[int, int], list[int]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    keys: list[Any] = table["id"].to_pylist()
    for row, key in enumerate(keys):
        parts[seen[key], murmur2(key.encode()) % count].append(row)
        seen[key] += 1
    for (_, partition), rows in sorted(parts.items()):
        yield partition, table if len(rows) == table.num_rows else table.take(rows)


def _array(values: list[Any]) -> Any:
    if len(set(map(type, values)) - {type(None)}) > 1:  # pyarrow takes True for 1.0 beside numbers
        raise TypeError("values of several types")
    array = pa.array(values, from_pandas=False)
    return array.dictionary_encode() if pa.types.is_string(array.type) and len(set(values)) * 4 < len(values) else array
