"""The real transport against real sockets: every way a request can fail, and that none is sent twice."""

import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import Fault, FaultClass, HttpReply, HttpRequest, Phase
from interlock.providers.transport import HttpTransport, ProviderConfig, checked_path, not_connected

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
    async def running(self, certificate=None):
        context = None
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
        server = await asyncio.start_server(self, "127.0.0.1", 0, ssl=context)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


def self_signed(folder):
    """A certificate for localhost, with its key; the same one each time."""
    file = folder / "localhost.pem"
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
    return file


@asynccontextmanager
async def transport(**options):
    real = HttpTransport(**options)
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
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", FaultClass.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", FaultClass.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", FaultClass.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, FaultClass.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2_000, FaultClass.TOO_LARGE),
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
    assert reply == Fault(FaultClass.READ_TIMEOUT, "no answer in time")


async def test_total_limit_counts_from_the_beginning_also_when_connecting_took_long(monkeypatch):
    look_up = socket.getaddrinfo

    def slow(*arguments, **named):
        time.sleep(0.8)
        return look_up(*arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with Server(5).running() as url, transport() as real:
        began = time.monotonic()
        reply = await real.send(
            post(), config(url.replace("127.0.0.1", "localhost"), read_timeout_s=1.0, total_timeout_s=1.0)
        )
        assert time.monotonic() - began < 1.6
    assert reply.kind is FaultClass.READ_TIMEOUT


async def test_silence_is_noticed_in_time_on_a_connection_that_was_idle_before():
    async with Server(OK, 5).running() as url, transport() as real:
        limits = config(url, read_timeout_s=0.2, total_timeout_s=3.0)
        await real.send(post(), limits)
        await asyncio.sleep(0.3)
        began = time.monotonic()
        reply = await real.send(post(), limits)
        assert time.monotonic() - began < 1.5
    assert reply.kind is FaultClass.READ_TIMEOUT


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
    def no_such_host(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
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
    assert not_connected(ssl.SSLCertVerificationError("bad")).kind is FaultClass.TLS
    assert not_connected(ssl.SSLError(1, "bad")).kind is FaultClass.TLS
    assert not_connected(OSError(5, "anything else")).kind is FaultClass.CONNECT


async def test_certificate_of_nobody_we_trust_is_tls_and_nothing_was_sent(tmp_path):
    server = Server(OK)
    async with server.running(self_signed(tmp_path)) as url, transport() as real:
        reply = await real.send(post(), config(url.replace("http:", "https:")))
    assert reply.kind is FaultClass.TLS
    assert server.requests == []


async def test_certificate_we_trust_lets_requests_through(tmp_path):
    server = Server(OK, OK)
    trusting = ssl.create_default_context(cafile=self_signed(tmp_path))
    async with server.running(self_signed(tmp_path)) as url, transport(ssl_context=trusting) as real:
        limits = config(url.replace("http://127.0.0.1", "https://localhost"))
        for _ in range(2):
            assert (await real.send(post(), limits)).body == b"{}"
    assert server.connections == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET", "PATCH"])
async def test_kept_alive_connection_dying_under_a_request_is_a_reset_and_never_a_second_sending(method):
    server = Server(OK, None, OK)
    async with server.running() as url, transport() as real:
        limits = config(url)
        assert isinstance(await real.send(post("POST"), limits), HttpReply)
        reply = await real.send(post(method, b"" if method == "GET" else b"{}"), limits)
        assert reply == Fault(FaultClass.RESET, "closed before the answer")
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
    real = HttpTransport()
    await real.close()
    await real.close()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"{}"),
    ],
)
async def test_whole_answer_is_an_answer_however_it_is_framed(answer, status, body):
    reply, _ = await exchange(answer)
    assert (reply.status, reply.body) == (status, body)
    assert "link" not in reply.headers


async def test_answer_in_single_bytes_is_put_together():
    class Slow(Server):
        async def __call__(self, reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            for place in range(len(OK)):
                writer.write(OK[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0)

    async with Slow().running() as url, transport() as real:
        reply = await real.send(post(), config(url))
    assert reply == HttpReply(200, {"content-length": "2", "x-thing": "Value"}, b"{}")


@pytest.mark.parametrize("more", [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"x"])
async def test_answer_that_nobody_asked_for_is_not_the_next_ones(more):
    server = Server(OK + more, OK)
    async with server.running() as url, transport() as real:
        first = await real.send(post(), config(url))
        second = await real.send(post(), config(url))
    assert (first.body, second.body) == (b"{}", b"{}")
    assert server.connections == 2


async def test_answer_while_nobody_waits_ends_the_connection():
    class Talkative(Server):
        async def __call__(self, reader, writer):
            self.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await asyncio.sleep(0.05)
            writer.write(OK.replace(b"{}", b"[]"))

    server = Talkative()
    async with server.running() as url, transport() as real:
        for _ in range(2):
            assert (await real.send(post(), config(url))).body == b"{}"
            await asyncio.sleep(0.1)
    assert server.connections == 2


async def test_connection_of_a_cancelled_request_is_not_used_again_and_makes_room():
    server = Server(1.5, OK)
    async with server.running() as url, transport() as real:
        limits = config(url, connections_max=1)
        task = asyncio.ensure_future(real.send(post(), limits))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert isinstance(await real.send(post(), limits), HttpReply)
    assert server.connections == 2


async def test_connection_idle_too_long_is_not_used_again_and_is_closed():
    server = Server(OK, OK)
    async with server.running() as url, transport(keepalive_s=0.1) as real:
        await real.send(post(), config(url))
        await asyncio.sleep(0.25)
        await real.send(post(), config(url))
    assert server.connections == 2


async def test_waiter_gets_the_connection_that_comes_free():
    server = Server(*[OK] * 8)
    async with server.running() as url, transport() as real:
        limits = config(url, connections_max=2)
        replies = await asyncio.gather(*(real.send(post(), limits) for _ in range(8)))
    assert [reply.status for reply in replies] == [200] * 8
    assert server.connections == 2


async def test_who_comes_later_does_not_overtake_a_waiter():
    """Found by the benchmark: under load some waited until their time was over, while others went by."""
    server = Server(*[OK] * 6)
    done: list[str] = []
    async with server.running() as url, transport() as real:
        limits = config(url, connections_max=1)

        async def again_and_again():
            for _ in range(5):
                await real.send(post(), limits)
                done.append("busy")

        async def once():
            await real.send(post(), limits)
            done.append("waiter")

        await asyncio.gather(again_and_again(), once())
    assert done.index("waiter") == 1


async def test_never_are_there_more_connections_than_allowed_when_they_keep_dying():
    server = Server(*[OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)] * 30)
    async with server.running() as url, transport() as real:
        limits = config(url, connections_max=2)
        most = 0

        async def one():
            nonlocal most
            reply = await real.send(post(), limits)
            pool = real._pools[limits.name]
            most = max(most, len(pool._open) + pool._connecting)
            return reply

        replies = await asyncio.gather(*(one() for _ in range(30)))
        assert all(isinstance(reply, HttpReply) for reply in replies)
        assert most <= 2
        assert real._pools[limits.name]._promised == 0


async def test_waiter_who_gives_up_when_told_passes_it_on():
    server = Server(0.2, OK)
    async with server.running() as url, transport() as real:
        limits = config(url, connections_max=1, read_timeout_s=0.2)
        under_way = asyncio.ensure_future(real.send(post(), limits))
        await asyncio.sleep(0.05)
        impatient = asyncio.ensure_future(real.send(post(), limits))
        patient = asyncio.ensure_future(real.send(post(), limits))
        await under_way
        impatient.cancel()
        assert isinstance(await patient, HttpReply)
        await asyncio.gather(impatient, return_exceptions=True)


@pytest.mark.parametrize("breaks", ["a\r\nX: y", "a\ny", "a\0"])
async def test_line_break_in_a_header_is_a_defect_and_nothing_is_sent(breaks):
    server = Server(OK)
    async with server.running() as url, transport() as real:
        for headers in ({"X": breaks}, {breaks: "x"}):
            with pytest.raises(ValueError):
                await real.send(HttpRequest("POST", "/v1/pay", Phase.COMMIT, headers), config(url))
    assert server.connections == 0


async def test_body_that_is_empty_is_announced_where_one_is_expected():
    server = Server(OK, OK)
    async with server.running() as url, transport() as real:
        await real.send(post("POST", b""), config(url))
        await real.send(post("GET", b""), config(url))
    assert b"Content-Length: 0" in server.requests[0][0]
    assert b"Content-Length" not in server.requests[1][0]
