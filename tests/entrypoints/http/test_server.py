"""The server: ports, limits, and how it stops."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from interlock.entrypoints.http import server as module
from interlock.entrypoints.http.server import HEAD_BYTES_MAX, HttpServer, reserve
from tests.entrypoints.http.example import Example, read_response, request, speak

GOOD = b'{"weight":12,"country":"DE"}'


async def test_a_reserved_port_is_nobody_elses_until_it_is_served():
    with closing(reserve("127.0.0.1")) as reserved:
        port = reserved.getsockname()[1]
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(("127.0.0.1", port))
        async with HttpServer(Example().app, reserved=reserved) as served:
            assert served == port
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            with pytest.raises(OSError):
                reserve("127.0.0.1", port)


async def test_port_zero_takes_a_free_port_on_loopback_and_says_which():
    async with HttpServer(Example().app) as port:
        assert port > 0
        assert (await speak(port, request("GET", "/healthz"))).status == 200


async def test_taken_address_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await HttpServer(Example().app, port=taken.getsockname()[1]).start()


async def test_stop_lets_the_request_under_way_finish_and_takes_no_more():
    example, gate = Example(), asyncio.Event()
    example.then = gate
    server = HttpServer(example.app)
    port = await server.start()
    under_way = asyncio.create_task(speak(port, request(body=GOOD)))
    while not example.calls:
        await asyncio.sleep(0)
    stopping = asyncio.create_task(server.stop())
    while await _connects(port):
        await asyncio.sleep(0.01)
    gate.set()
    answer = await under_way
    await stopping
    assert (answer.status, answer.headers["connection"]) == (201, "close")
    await server.stop()


async def test_stop_cancels_what_does_not_finish_in_time_and_says_it_is_not_known(monkeypatch):
    monkeypatch.setattr(module, "DRAIN_S", 0)
    example = Example()
    example.then = asyncio.Event()
    server = HttpServer(example.app)
    port = await server.start()
    under_way = asyncio.create_task(speak(port, request(body=GOOD)))
    while not example.calls:
        await asyncio.sleep(0)
    await asyncio.wait_for(server.stop(), 5)
    answer = await asyncio.wait_for(under_way, 5)
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "stopped", "2")


async def test_stop_does_not_wait_for_idle_connections():
    server = HttpServer(Example().app)
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("GET", "/healthz"))
    await read_response(reader)
    await asyncio.wait_for(server.stop(), 3)
    assert await reader.read() == b""
    writer.close()


def start(status=200, *headers):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content=b"", **more):
    return {"type": "http.response.body", "body": content, **more}


FIVE = (b"content-length", b"5")


@pytest.mark.parametrize(
    ("method", "messages", "said"),
    [
        ("GET", [start(200, FIVE), body(b"hello")], b"content-length: 5\r\n\r\nhello"),
        ("GET", [start(200, FIVE), body(b"he", more_body=True), body(b"llo")], b"content-length: 5\r\n\r\nhello"),
        ("GET", [start(200), body(b"hello")], b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("GET", [start(200, (b"content-length", b"0")), {"type": "http.response.body"}], b"content-length: 0\r\n\r\n"),
        ("GET", [{"type": "http.response.start", "status": 204}, body()], b"\r\n\r\n"),
        ("HEAD", [start(200, FIVE), body(b"hello")], b"content-length: 5\r\n\r\n"),
        ("GET", [start(200, FIVE), "stumbles"], b"Internal Server Error"),
        ("GET", [body(b"hello")], b"Internal Server Error"),
    ],
)
async def test_answer_reaches_the_client_whole_however_the_application_sends_it(method, messages, said):
    async def app(scope, receive, send):
        for message in messages:
            if message == "stumbles":
                raise ValueError(message)
            await send(message)

    async with HttpServer(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2 if b"Error" not in said else 1):  # the connection stays usable
            writer.write(request(method, "/"))
            answer = b""
            while not answer.endswith(said):
                part = await asyncio.wait_for(reader.read(10_000), 5)
                assert part, answer
                answer += part
        writer.close()


async def test_answer_longer_or_shorter_than_announced_ends_the_connection():
    for content in (b"hi", b"hello world"):

        async def app(scope, receive, send, content=content):
            await send(start(200, FIVE))
            await send(body(content))

        async with HttpServer(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request("GET", "/"))
            assert not (await asyncio.wait_for(reader.read(), 5)).endswith(b"hello")
            writer.close()


async def test_whole_answer_is_one_piece_on_the_wire():
    async def app(scope, receive, send):
        await send(start(200, FIVE))
        await send(body(b"hello"))

    async with HttpServer(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/"))
        assert (await reader.read(10_000)).endswith(b"\r\n\r\nhello")
        writer.close()


async def test_head_above_its_limit_is_answered_431(served):
    for padding in (HEAD_BYTES_MAX, 100 * HEAD_BYTES_MAX):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: test\r\nX-Long: " + b"x" * padding)
        writer.write(b"\r\n\r\n")
        line = await reader.readline()
        assert line == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
        writer.transport.abort()
    assert served.example.calls == []


async def test_large_body_does_not_count_as_head(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for _ in range(3):
        writer.write(request(body=GOOD + b" " * 60_000))
        assert (await read_response(reader)).status == 201
    writer.close()


async def test_large_body_in_several_pieces_does_not_count_as_head():
    """Each piece is longer than a head may be."""
    taken = []

    async def app(scope, receive, send):
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        taken.append(size)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with HttpServer(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 600000\r\n\r\n")
        for _ in range(6):
            writer.write(bytes(100_000))
            await writer.drain()
        answer = await read_response(reader)
        writer.close()
    assert (answer.status, taken) == (204, [600_000])


@pytest.mark.parametrize(
    "part",
    [b"", b"GET /heal", request(body=GOOD)[:-5]],
    ids=["nothing", "half a head", "half a body"],
)
async def test_request_that_never_arrives_ends_its_connection(monkeypatch, part):
    monkeypatch.setattr(module, "ARRIVAL_S", -1.0)
    example = Example()
    async with HttpServer(example.app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(part)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    assert example.calls == []


async def test_connection_between_requests_is_not_taken_for_a_slow_one(monkeypatch):
    example = Example()
    server = HttpServer(example.app)
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(body=GOOD))
    await read_response(reader)
    monkeypatch.setattr(module, "ARRIVAL_S", -1.0)
    assert server._server is not None
    await server._server.on_tick(0)
    writer.write(request(body=GOOD))
    assert (await read_response(reader)).status == 201
    writer.close()
    await server.stop()


async def test_garbage_is_answered_400_and_the_connection_closed(served):
    answer = await speak(served.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 3)
    assert (answer.status, answer.headers["connection"]) == (400, "close")


async def test_length_and_chunks_together_are_refused_as_smuggling(served):
    sent = request(body=GOOD, headers={"Transfer-Encoding": "chunked"})
    assert (await speak(served.port, sent)).status == 400
    assert served.example.calls == []


async def _connects(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_head_that_never_ends_is_answered_431_while_it_still_comes(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: test\r\nX-Long: ")
    line = asyncio.create_task(reader.readline())
    for _ in range(100):
        if line.done():
            break
        writer.write(b"x" * 8_192)
        await asyncio.sleep(0.001)
    assert await asyncio.wait_for(line, 5) == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    writer.transport.abort()


@pytest.mark.parametrize(
    ("proxies", "said", "known"),
    [
        ((), "198.51.100.7", "127.0.0.1"),
        (("10.0.0.0/8",), "198.51.100.7", "127.0.0.1"),
        (("127.0.0.0/8",), "198.51.100.7", "198.51.100.7"),
        (("127.0.0.1",), "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (("127.0.0.1", "198.51.100.0/24"), "203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (("127.0.0.1",), "", "127.0.0.1"),
    ],
)
async def test_only_a_proxy_that_is_named_is_believed_where_a_request_comes_from(proxies, said, known):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with HttpServer(app, proxies=proxies) as port:
        head = f"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {said}\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        assert b" 204 " in await reader.read()
        writer.close()
    assert seen == [known]
