"""A Kafka broker inside the process: librdkafka's mock cluster, which ships in the confluent-kafka wheel.

Real protocol over TCP on loopback, served by threads of C. It keeps 5 MiB or 100 000 batches a partition, in memory, and then cuts
the head; it knows no CreateTopics, compaction, security, or offsets by time. For a first run and for tests, never to keep anything.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import Topic

_PRODUCER: Final = 0
_POINTER, _TEXT, _INT, _INT16, _INT32, _INT64 = (
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int16, ctypes.c_int32, ctypes.c_int64,
)  # fmt: skip

#: The functions used: what each takes, and what it returns.
_SIGNATURES: Final[dict[str, tuple[list[Any], Any]]] = {
    "rd_kafka_conf_new": ([], _POINTER),
    "rd_kafka_conf_set": ([_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t], _INT),
    "rd_kafka_new": ([_INT, _POINTER, _TEXT, ctypes.c_size_t], _POINTER),
    "rd_kafka_destroy": ([_POINTER], None),
    "rd_kafka_err2str": ([_INT], _TEXT),
    "rd_kafka_mock_cluster_new": ([_POINTER, _INT], _POINTER),
    "rd_kafka_mock_cluster_destroy": ([_POINTER], None),
    "rd_kafka_mock_cluster_bootstraps": ([_POINTER], _TEXT),
    "rd_kafka_mock_set_controller_id": ([_POINTER, _INT32], None),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": ([_POINTER, _INT32], None),
    "rd_kafka_mock_topic_create": ([_POINTER, _TEXT, _INT, _INT], _INT),
    "rd_kafka_mock_broker_set_down": ([_POINTER, _INT32], _INT),
    "rd_kafka_mock_broker_set_up": ([_POINTER, _INT32], _INT),
    "rd_kafka_mock_broker_set_rtt": ([_POINTER, _INT32, _INT], _INT),
    "rd_kafka_mock_push_request_errors_array": ([_POINTER, _INT16, ctypes.c_size_t, ctypes.POINTER(_INT)], None),
    "rd_kafka_mock_partition_delete_records": ([_POINTER, _TEXT, _INT32, _INT64], _INT),
}


class EmbeddedBroker(AbstractContextManager["EmbeddedBroker"]):
    """A cluster of mock brokers, numbered from 1; `bootstrap` is its address. Ends with the `with` block.

    >>> with EmbeddedBroker() as broker:
    ...     broker.create_topic("events", partitions=4)
    ...     broker.bootstrap.startswith("127.0.0.1:")
    True
    """

    def __init__(self, brokers: int = 1) -> None:
        self._library = library = _load()
        configuration = library.rd_kafka_conf_new()
        reason = ctypes.create_string_buffer(512)
        # Silent: a broker that a test puts down is not news.
        library.rd_kafka_conf_set(configuration, b"log_level", b"0", reason, len(reason))
        self._client = library.rd_kafka_new(_PRODUCER, configuration, reason, len(reason))
        if not self._client:
            raise DriftlineError("embedded_broker", f"librdkafka does not start: {reason.value.decode()}", "free memory or file handles")
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, brokers)
        library.rd_kafka_mock_set_controller_id(self._cluster, 1)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Make one topic; raises `DriftlineError` when it exists."""
        self._done("create_topic", self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1))

    def create_topics(self, table: Iterable[Topic]) -> None:
        """Make every topic of a table. Of a topic's settings, this broker knows the partition count."""
        for topic in table:
            self.create_topic(topic.name, topic.partitions)

    def down(self, broker: int = 1) -> None:
        """Close a broker's connections and refuse new ones."""
        self._done("down", self._library.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def up(self, broker: int = 1) -> None:
        """Let a broker answer again."""
        self._done("up", self._library.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def rtt(self, milliseconds: int, broker: int = 1) -> None:
        """Delay every answer of a broker."""
        self._done("rtt", self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds))

    def push_errors(self, api_key: int, *codes: int) -> None:
        """Answer the next requests of a kind (a Kafka API key; 0 is Produce) with these error codes, in order."""
        array = (_INT * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(codes), array)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Cut the head of a partition: the first record that stays has offset `before` or more."""
        self._done("delete_records", self._library.rd_kafka_mock_partition_delete_records(self._cluster, topic.encode(), partition, before))

    def close(self) -> None:
        """End the brokers. Closing twice is harmless."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _done(self, what: str, code: int) -> None:
        if code:
            reason = self._library.rd_kafka_err2str(code).decode()
            raise DriftlineError(
                "embedded_broker", f"{what} failed: {reason}", "check the name and the number given to the embedded broker"
            )


@cache
def _load() -> ctypes.CDLL:
    """The copy of librdkafka that confluent-kafka itself uses."""
    import confluent_kafka

    package = Path(confluent_kafka.__file__).parent
    shipped = [*package.parent.glob("confluent_kafka.libs/librdkafka*.so*"), *package.glob(".dylibs/librdkafka*.dylib")]
    path = str(shipped[0]) if shipped else ctypes.util.find_library("rdkafka")
    if path is None:
        raise DriftlineError("embedded_broker", "librdkafka is not beside confluent-kafka", "install confluent-kafka from its wheel")
    library = ctypes.CDLL(path)
    for name, (takes, returns) in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = takes, returns
    return library
