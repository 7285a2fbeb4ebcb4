"""The real transport against real sockets: every way a request can fail, and that none is sent twice."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest

from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import Fault, FaultClass, HttpReply, HttpRequest, Phase
from interlock.providers.transport import AiohttpTransport, ProviderConfig, checked_path, classify

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing: Value\r\n\r\n{}"


class Server:
    """Speaks raw bytes: each request gets the next answer; None closes the connection, a number waits so many seconds."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.connections = 0

    async def __call__(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
                self.requests.append((head, await reader.readexactly(length)))
                answer = self.answers.pop(0)
                if isinstance(answer, int | float):
                    await asyncio.sleep(answer)
                    return
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer.lower() or answer is not OK:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


@asynccontextmanager
async def transport(**options):
    real = AiohttpTransport(**options)
    try:
        yield real
    finally:
        await real.close()


def config(url, **fields):
    limits = {"connect_timeout_s": 1.0, "read_timeout_s": 1.0, "total_timeout_s": 2.0, **fields}
    return ProviderConfig("p", url, {"key": Secret("k")}, **limits)


def post(method="POST", body=b'{"a":1}', path="/v1/pay"):
    return HttpRequest(method, path, Phase.COMMIT, {"Idempotency-Key": "att_1"}, body)


async def exchange(*answers, method="POST", **fields):
    server = Server(*answers)
    async with server.running() as url, transport() as real:
        return await real.send(post(method), config(url, **fields)), server


async def test_answer_comes_back_with_lower_case_header_names():
    reply, server = await exchange(OK)
    assert reply == HttpReply(200, {"content-length": "2", "x-thing": "Value"}, b"{}")
    ((head, body),) = server.requests
    assert body == b'{"a":1}'
    assert b"Idempotency-Key: att_1" in head
    assert b"Accept-Encoding: identity" in head


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, FaultClass.RESET),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", FaultClass.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", FaultClass.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\nContent-Le", FaultClass.RESET),
        (b"this is not HTTP\r\n\r\n", FaultClass.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5_000, FaultClass.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", FaultClass.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5_000, FaultClass.TOO_LARGE),
        (1.5, FaultClass.READ_TIMEOUT),
    ],
)
async def test_answer_that_fails_is_a_fault_after_sending(answer, kind):
    reply, server = await exchange(answer, reply_bytes_max=1_000, read_timeout_s=0.2)
    assert isinstance(reply, Fault)
    assert reply.kind is kind
    assert not reply.kind.before_sending
    assert len(server.requests) == 1


async def test_dripping_answer_ends_at_the_total_limit():
    class Drip(Server):
        async def __call__(self, reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(40):
                writer.write(b"x")
                await asyncio.sleep(0.05)
            writer.close()

    async with Drip().running() as url, transport() as real:
        reply = await real.send(post(), config(url, read_timeout_s=0.3, total_timeout_s=0.4))
    assert reply == Fault(FaultClass.READ_TIMEOUT, "TimeoutError")


async def test_nobody_listening_is_connect():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with transport() as real:
        reply = await real.send(post(), config(f"http://127.0.0.1:{port}"))
    assert reply.kind is FaultClass.CONNECT


async def test_listener_that_never_accepts_is_connect():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(3)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        async with transport() as real:
            reply = await real.send(post(), config(f"http://127.0.0.1:{address[1]}", connect_timeout_s=0.2))
        for one in crowd:
            one.close()
    assert reply.kind is FaultClass.CONNECT


async def test_full_pool_is_connect_because_nothing_was_sent():
    server = Server(1.5, OK)
    async with server.running() as url, transport() as real:
        limits = config(url, connections_max=1, connect_timeout_s=0.2, read_timeout_s=0.6)
        first = asyncio.ensure_future(real.send(post(), limits))
        await asyncio.sleep(0.05)
        second = await real.send(post(), limits)
        assert second.kind is FaultClass.CONNECT
        assert (await first).kind is FaultClass.READ_TIMEOUT
    assert len(server.requests) == 1


async def test_name_that_does_not_resolve_is_dns(monkeypatch):
    async def no_such_host(*_args, **_kwargs):
        raise OSError(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(aiohttp.resolver.ThreadedResolver, "resolve", no_such_host)
    async with transport() as real:
        reply = await real.send(post(), config("https://provider.invalid"))
    assert reply.kind is FaultClass.DNS


@pytest.mark.parametrize("hello", [OK, b""])
async def test_no_tls_behind_https_is_a_fault_before_sending(hello):
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(hello)
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with transport() as real:
        reply = await real.send(post(), config(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    server.close()
    assert reply.kind is (FaultClass.TLS if hello else FaultClass.CONNECT)


def test_certificate_errors_are_tls():
    key = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)
    for error in (
        aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError("bad")),
        aiohttp.ClientConnectorSSLError(key, ssl.SSLError(1, "bad")),
    ):
        assert classify(error).kind is FaultClass.TLS


def test_closed_transport_while_writing_counts_as_sent():
    assert classify(aiohttp.ClientConnectionResetError("Cannot write to closing transport")).kind is FaultClass.WRITE
    assert classify(aiohttp.ClientOSError(104, "Connection reset by peer")).kind is FaultClass.RESET
    assert classify(OSError(5, "anything else")).kind is FaultClass.RESET


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET", "PATCH"])
async def test_kept_alive_connection_dying_under_a_request_is_a_reset_and_never_a_second_sending(method):
    server = Server(OK, None, OK)
    async with server.running() as url, transport() as real:
        limits = config(url)
        assert isinstance(await real.send(post("POST"), limits), HttpReply)
        reply = await real.send(post(method, b"" if method == "GET" else b"{}"), limits)
        assert reply == Fault(FaultClass.RESET, "ServerDisconnectedError")
        await asyncio.sleep(0.05)
    assert server.connections == 1
    assert len(server.requests) == 2


async def test_connection_whose_end_was_seen_is_not_used_again():
    closing = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    server = Server(closing, OK)  # the server closes after it, without a word
    async with server.running() as url, transport() as real:
        assert isinstance(await real.send(post(), config(url)), HttpReply)
        await asyncio.sleep(0.05)
        assert isinstance(await real.send(post(), config(url)), HttpReply)
    assert server.connections == 2


async def test_connections_are_kept_alive():
    server = Server(*[OK] * 5)
    async with server.running() as url, transport() as real:
        for _ in range(5):
            await real.send(post(), config(url))
    assert server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_is_not_followed(status):
    server = Server(b"HTTP/1.1 %d Go\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n" % status, OK)
    async with server.running() as url, transport() as real:
        reply = await real.send(post(), config(url))
    assert reply.status == status
    assert len(server.requests) == 1


async def test_proxies_of_the_environment_are_ignored(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    reply, _ = await exchange(OK)
    assert isinstance(reply, HttpReply)


async def test_cookies_are_not_kept():
    server = Server(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", OK)
    async with server.running() as url, transport() as real:
        limits = config(url.replace("127.0.0.1", "localhost"))  # for an address, nobody would keep them anyway
        await real.send(post(), limits)
        await real.send(post(), limits)
    assert len(server.requests) == 2
    assert all(b"cookie" not in head.lower() for head, _ in server.requests)


async def test_cancellation_passes_through():
    server = Server(1.5)
    async with server.running() as url, transport() as real:
        task = asyncio.ensure_future(real.send(post(), config(url)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v1",
        "//evil.example/x",
        "@evil.example/",
        "http://evil.example/",
        "/a b",
        "/a#b",
        "/a\r\nX: y",
        "/\\evil",
        "/é",
    ],
)
def test_path_that_could_lead_elsewhere_is_a_defect(path):
    with pytest.raises(ValueError):
        checked_path(path)


async def test_path_and_query_reach_the_server_as_they_are():
    server = Server(OK)
    async with server.running() as url, transport() as real:
        await real.send(post("GET", b"", "/v1/x?created%5Bgte%5D=1&q=a%20b"), config(url + "/base/"))
    assert server.requests[0][0].startswith(b"GET /base/v1/x?created%5Bgte%5D=1&q=a%20b HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "127.0.0.1:80",
        "http://example.com",
        "https://u:p@example.com",
        "https://example.com/?a=b",
        "https://",
    ],
)
def test_base_url_we_would_not_call_is_refused(url):
    with pytest.raises(ValueError):
        ProviderConfig("p", url)


def test_config_does_not_show_credentials():
    assert "hunter2" not in repr(ProviderConfig("p", "https://example.com", {"key": Secret("hunter2")}))


async def test_closing_twice_is_harmless():
    real = AiohttpTransport()
    await real.close()
    await real.close()
