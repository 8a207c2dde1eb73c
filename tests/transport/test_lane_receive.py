"""Answers of a broker, received into memory that is used again: whole, in order, and unchanged for as long as somebody refers to them."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4

from driftline.streams.transport import receive
from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.transport.receive import AT_ONCE_BYTES, BIG_BYTES, MOST_LENT, SMALL_BYTES, InPlace, receive_in_place

REQUEST = FetchRequest(100, 1, 1 << 24, 0, [("t", [(0, 0, 1 << 20)])])
VERSIONS = struct.pack(">hihhh", 0, 1, 1, 4, 4)  # of the fetch request: the fourth
LARGE = SMALL_BYTES * 4


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate in one file."""
    file = tmp_path_factory.mktemp("key") / "broker.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(file), "-out", f"{file}.crt", *names]
    subprocess.run(made, check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.fixture(autouse=True)
def nothing_is_lent_afterwards() -> Iterator[None]:
    yield
    gc.collect()
    assert not receive._LENT


def answer(blocks: Sequence[bytes]) -> bytes:
    partitions: list[Any] = [(number, 0, 7, 7, [], block) for number, block in enumerate(blocks)]
    body: bytes = FetchResponse_v4(0, [("t", partitions)]).encode()
    return body


def blocks_of(response: Any) -> list[Any]:
    return [partition[-1] for _, partitions in response.topics for partition in partitions]


@asynccontextmanager
async def connection(
    tell: Callable[[asyncio.StreamWriter, list[int]], None], after: int = 1, key: Path | None = None
) -> AsyncIterator[AIOKafkaConnection]:
    """A connection to a broker that calls `tell` with the ids of the requests whenever it has had `after` of them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: list[int] = []
        while head := await reader.read(4):
            request = await reader.readexactly(int.from_bytes(head, "big"))
            api, _, correlation = struct.unpack_from(">hhi", request)
            if api != FetchRequest.API_KEY:
                send(writer, correlation, VERSIONS)
                continue
            waiting.append(correlation)
            if len(waiting) == after:
                tell(writer, waiting)
                waiting = []
        writer.close()

    server_context = client_context = None
    if key:
        server_context, client_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context(cafile=key)
        server_context.load_cert_chain(key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    security = {"security_protocol": "SSL", "ssl_context": client_context} if key else {}
    connected = await create_conn("127.0.0.1", port, **security)
    connected._writer.transport.set_protocol(InPlace(connected))
    try:
        yield connected
    finally:
        await connected.close()
        server.close()


def send(writer: asyncio.StreamWriter, correlation: int, body: bytes) -> None:
    writer.write(struct.pack(">ii", len(body) + 4, correlation) + body)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_answers_of_all_sizes_come_whole_and_stay_as_they_are(tls: bool, request: pytest.FixtureRequest) -> None:
    sizes = [(10,), (LARGE, 300), (3 * LARGE, LARGE), (0, 0), (BIG_BYTES, 5), (SMALL_BYTES,), (LARGE,), (LARGE,), (1,)]
    told = [[bytes([i + 1]) * size for size in each] for i, each in enumerate(sizes)]
    bodies = iter([answer(blocks) for blocks in told])

    async def main() -> list[Any]:
        key = request.getfixturevalue("key") if tls else None
        async with connection(lambda writer, ids: send(writer, ids[0], next(bodies)), key=key) as conn:
            return [await conn.send(REQUEST) for _ in told]

    responses = asyncio.run(main())
    assert [[bytes(block) for block in blocks_of(response)] for response in responses] == told
    lent = [isinstance(block, memoryview) for response in responses for block in blocks_of(response)]
    assert lent.count(True) == MOST_LENT + 1  # one of them had two large blocks


def test_answers_that_come_together_go_to_their_requests() -> None:
    told = [[b"a" * LARGE], [b"b" * LARGE], [b"c" * 10], [b"d" * LARGE]]

    def tell(writer: asyncio.StreamWriter, ids: list[int]) -> None:
        for correlation, blocks in zip(ids, told, strict=True):
            send(writer, correlation, answer(blocks))

    async def main() -> list[Any]:
        async with connection(tell, after=len(told)) as conn:
            return list(await asyncio.gather(*(conn.send(REQUEST) for _ in told)))

    assert [[bytes(block) for block in blocks_of(response)] for response in asyncio.run(main())] == told


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("cut", [0, 3, 4, SMALL_BYTES, AT_ONCE_BYTES // 2, AT_ONCE_BYTES + 77, 2 * AT_ONCE_BYTES - 1])
def test_a_socket_wakes_us_for_much_of_a_large_answer_and_for_its_end(tls: bool, cut: int, request: pytest.FixtureRequest) -> None:
    body = answer([b"x" * 2 * AT_ONCE_BYTES, b"y" * 300])
    rest = asyncio.Event()
    telling: list[asyncio.Task[None]] = []

    def tell(writer: asyncio.StreamWriter, ids: list[int]) -> None:
        async def piecewise() -> None:
            whole = struct.pack(">ii", len(body) + 4, ids[0]) + body
            writer.write(whole[:cut])
            await rest.wait()
            writer.write(whole[cut:])

        telling.append(asyncio.create_task(piecewise()))

    async def main() -> list[Any]:
        key = request.getfixturevalue("key") if tls else None
        async with connection(tell, key=key) as conn:
            protocol, sock = conn._writer.transport.get_protocol(), conn._writer.get_extra_info("socket")

            def wakes() -> int:
                return int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))

            response = asyncio.ensure_future(conn.send(REQUEST))
            if cut >= 4:
                while not protocol._n:
                    await asyncio.sleep(0)
            assert wakes() == (1 if tls or cut < 4 else min(len(body) + 8 - protocol._n, AT_ONCE_BYTES))
            rest.set()
            blocks = blocks_of(await asyncio.wait_for(response, 60))
            assert wakes() == 1
            return blocks

    assert [bytes(block) for block in asyncio.run(main())] == [b"x" * 2 * AT_ONCE_BYTES, b"y" * 300]


def test_memory_is_used_again_when_nothing_refers_to_it() -> None:
    async def main() -> int:
        places = set()
        async with connection(lambda writer, ids: send(writer, ids[0], answer([b"x" * LARGE]))) as conn:
            for _ in range(5):
                [block] = blocks_of(await conn.send(REQUEST))
                places.add(block.obj.base.ctypes.data)
                del block
        return len(places)

    assert asyncio.run(main()) <= receive.SPARE


def test_the_memory_of_an_answer_of_small_blocks_is_free_once() -> None:
    told = [[b"a" * 10_000] * 40, [b"b" * LARGE], [b"c" * LARGE]]
    bodies = iter([answer(blocks) for blocks in told])

    async def main() -> list[Any]:
        async with connection(lambda writer, ids: send(writer, ids[0], next(bodies))) as conn:
            first = await conn.send(REQUEST)
            assert len({id(memory) for memory in receive._FREE}) == len(receive._FREE)
            return [first, await conn.send(REQUEST), await conn.send(REQUEST)]

    assert [[bytes(block) for block in blocks_of(response)] for response in asyncio.run(main())] == told


@pytest.mark.parametrize(
    "piece",
    [struct.pack(">ii", LARGE, 2) + b"x" * (LARGE // 2), struct.pack(">i", -5), struct.pack(">ii", LARGE + 4, 99) + b"x" * LARGE],
    ids=["the end in the midst", "no size", "the answer to something else"],
)
def test_a_connection_that_cannot_go_on_is_closed_and_its_requests_fail(piece: bytes) -> None:
    def tell(writer: asyncio.StreamWriter, ids: list[int]) -> None:
        writer.write(piece)
        writer.close()

    async def main() -> bool:
        async with connection(tell) as conn:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            with pytest.raises(Exception) as raised:
                await conn.send(REQUEST)
            assert isinstance(raised.value, KafkaConnectionError) or "Correlation" in type(raised.value).__name__
            return bool(conn.connected())

    assert not asyncio.run(main())


def test_a_client_receives_in_place_on_the_connections_it_fetches_by() -> None:
    async def main(bootstrap: str) -> list[bool]:
        client = AIOKafkaClient(bootstrap_servers=bootstrap)
        receive_in_place(client)
        await client.bootstrap()
        found = []
        for group in (ConnectionGroup.DEFAULT, ConnectionGroup.COORDINATION):
            assert await client.ready(1, group=group)
            found.append(isinstance(client._conns[1, group]._writer.transport.get_protocol(), InPlace))
        await client.close()
        return found

    with EmbeddedBroker() as broker:
        assert asyncio.run(main(broker.bootstrap)) == [True, False]
