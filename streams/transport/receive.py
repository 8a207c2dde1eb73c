"""What a fetch brings, received into memory that is used again.

asyncio's streams make an object of every piece that comes, put the pieces together in memory that grows, and copy an answer out of it;
aiokafka copies each partition's records out of that. In a backlog all of it is memory touched for the first time, which costs more than
the copies. Here a large answer to a fetch is received where it stays, and its blocks are views of it; small ones are read by our own
reader too. Everything else of a connection, its beginning with TLS and login, other answers, its end, is aiokafka's own.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
import weakref
from contextlib import suppress
from typing import Any, Final

import numpy as np
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.fetch import FetchRequest
from numpy.typing import NDArray

from driftline.streams.transport.wire import Keep, reader

#: Of one fetch, of all partitions: as much as of one of them (`consumer_max_fetch_size`). Another fetch costs less than memory that is new.
FETCH_BYTES: Final = 8 << 20
SMALL_BYTES: Final = 256 << 10  # what is received at once while nothing large comes; answers below it are aiokafka's
BIG_BYTES: Final = FETCH_BYTES + (1 << 20)  # the broker adds headers, and may go on to the end of a batch
MOST_LENT: Final = 3  # large answers that blocks are views of; of more the blocks are copied, so that one that stays holds no other
SPARE: Final = 3
AT_ONCE_BYTES: Final = 3 << 20  # of an answer, that are waited for before they are read; half of what Linux lets a socket hold, as it comes
_COPIED_BYTES: Final = 64 << 10  # a piece up to this size is copied: names, and blocks that are not worth a view
_SIZE: Final = 4  # bytes of an answer's length before it


def receive_in_place(client: AIOKafkaClient) -> None:
    """From now on `client` receives what it fetches so. Call it before it connects."""
    connect = client._get_conn

    async def connected(node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, **options: Any) -> Any:
        connection = await connect(node_id, group=group, **options)
        if connection is not None and group == ConnectionGroup.DEFAULT and not connection._requests:  # nothing is under way
            transport = connection._writer.transport
            if not isinstance(transport.get_protocol(), InPlace):
                transport.set_protocol(InPlace(connection))
        return connection

    client._get_conn = connected


class InPlace(asyncio.BufferedProtocol):
    """Takes a connection's bytes in the place of its protocol, which goes on hearing of everything else."""

    def __init__(self, connection: AIOKafkaConnection) -> None:
        self._connection = weakref.ref(connection)  # aiokafka's connections close when nobody refers to them
        self._protocol = connection._protocol
        self._memory = self._small = np.empty(SMALL_BYTES, np.uint8)
        self._n = 0  # bytes in it
        transport = connection._writer.transport
        # What TLS has read and not yet told is not in the socket any more, and only Linux wakes us when a socket is full with less.
        plain = sys.platform == "linux" and not transport.get_extra_info("sslcontext")
        self._socket = transport.get_extra_info("socket") if plain else None
        self._least = 1  # bytes that wake us
        self._lent: list[memoryview] = []  # of answers in it: it is not free before the rest has moved on, though all pieces were copied

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: behind those of the answer that has begun."""
        return self._memory.data[self._n :]

    def buffer_updated(self, nbytes: int) -> None:
        """Hand over the answers that are whole. What is raised here closes the connection."""
        self._n += nbytes
        begin = 0
        while (size := self._size_at(begin)) is not None and begin + size <= self._n:
            self._hand_over(begin + _SIZE, begin + size)
            begin += size
        if begin or (size or 0) > len(self._memory):
            self._move(begin, size or 0)
        self._wait_for(1 if size is None else size - self._n)

    def _wait_for(self, missing: int) -> None:
        """Be woken when so many bytes are there, or many."""
        least = min(missing, AT_ONCE_BYTES)
        if self._socket and least != self._least:
            self._least = least
            with suppress(OSError):  # a socket that is closed is told to us otherwise
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)

    def _size_at(self, begin: int) -> int | None:
        """The size of the answer that begins here, its length included; None while that is not known."""
        if self._n - begin < _SIZE:
            return None
        size = int.from_bytes(self._memory.data[begin : begin + _SIZE], "big", signed=True)
        if size < 0:
            raise ValueError(f"a broker announced an answer of {size} bytes")
        return size + _SIZE

    def _move(self, begin: int, size: int) -> None:
        """What is left from `begin` on, of an answer of `size` bytes, to the front of memory that has room for all of it."""
        old, left = self._memory, self._memory[begin : self._n].copy()
        self._memory = self._small if max(size, len(left)) < SMALL_BYTES else _memory(size)
        self._memory[: len(left)] = left
        self._n = len(left)
        if old is not self._small and id(old) not in _LENT:
            _take_back(old)
        self._lent.clear()

    def _hand_over(self, begin: int, end: int) -> None:
        """Give the first request that waits its answer, as `AIOKafkaConnection._handle_frame` does it."""
        connection = self._connection()
        if connection is None or not connection.connected():
            return
        correlation_id, request, waiting = connection._requests[0]
        answer = self._memory.data[begin:end]
        fetched = request is not None and request.API_KEY == FetchRequest.API_KEY and not request.FLEXIBLE_VERSION
        if fetched and answer[:_SIZE] == correlation_id.to_bytes(_SIZE, "big"):
            if not waiting.done():
                kind = request.RESPONSE_TYPE
                keep: Keep = bytes
                if self._memory is not self._small and (lent := _lend(self._memory, begin, end)):
                    self._lent.append(lent)
                    answer, keep = lent, _kept
                values, _ = reader(kind.SCHEMA)(answer, _SIZE, keep)
                waiting.set_result(kind(*values))
            connection._last_action = time.monotonic()
            connection._requests.popleft()
        else:
            connection._handle_frame(bytes(answer))

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def eof_received(self) -> bool | None:
        result: bool | None = self._protocol.eof_received()
        return result

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


def _kept(piece: memoryview) -> bytes | memoryview:
    """A large piece of an answer that is lent stays where it is."""
    return piece if len(piece) > _COPIED_BYTES else bytes(piece)


_FREE: list[NDArray[np.uint8]] = []
_LENT: set[int] = set()  # ids of memory that somebody may refer to


def _memory(size: int) -> NDArray[np.uint8]:
    """At least so many bytes of anything."""
    try:
        return _FREE.pop() if size <= BIG_BYTES else np.empty(size, np.uint8)
    except IndexError:
        return np.empty(BIG_BYTES, np.uint8)


def _lend(memory: NDArray[np.uint8], begin: int, end: int) -> memoryview | None:
    """What lies there, to be referred to; the memory is taken back when nothing does any more. None where all of it is to be copied."""
    if id(memory) in _LENT or len(_LENT) >= MOST_LENT:
        return None
    lent = memory[begin:end]
    _LENT.add(id(memory))
    weakref.finalize(lent, _take_back, memory).atexit = False
    return lent.data


def _take_back(memory: NDArray[np.uint8]) -> None:
    _LENT.discard(id(memory))
    if len(memory) == BIG_BYTES and len(_FREE) < SPARE:
        _FREE.append(memory)
