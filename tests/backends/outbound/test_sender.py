"""The sender against real sockets on this machine. 127.0.0.2 plays a public address, 127.0.0.1 a private one."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from interlock.backends.local.clock import SystemClock
from interlock.backends.outbound import sender as module
from interlock.backends.outbound.sender import AiohttpWebhookSender
from interlock.core.webhooks.ports import EXCERPT_BYTES_MAX, Failure, SendResult
from interlock.core.webhooks.targets import refuse_address

PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.1"
HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}
BODY = b'{"id":"evt_1"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks"


def refuse(address: str) -> str | None:
    return None if address == PUBLIC else "private"


class Names:
    """A resolver whose answers are scripted; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return answer


class Server:
    """Reads one request, then does what it is told with the connection."""

    def __init__(self, port: int, requests: list[bytes], tls_names: list[str | None]) -> None:
        self.port, self.requests, self.tls_names = port, requests, tls_names
        self.connections = 0


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def write_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    await writer.drain()


def writing(answer: bytes) -> Answering:
    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return write


@asynccontextmanager
async def serving(
    answer: Answering = write_ok, *, host: str = PUBLIC, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(0, [], [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                server.requests.append(head + await reader.readexactly(length))
                await answer(reader, writer)
                if answer is not write_ok:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    if tls is not None:
        tls.sni_callback = lambda connection, name, context: server.tls_names.append(name)
    listening = await asyncio.start_server(serve, host, port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


@asynccontextmanager
async def sending(**options: object) -> AsyncIterator[AiohttpWebhookSender]:
    options.setdefault("refuse", refuse)
    sender = AiohttpWebhookSender(clock=SystemClock(), **options)  # type: ignore[arg-type]
    try:
        yield sender
    finally:
        await sender.close()


async def post(sender: AiohttpWebhookSender, url: str, *, timeout_s: float = 5.0) -> SendResult:
    return await sender.send(url, HEADERS, BODY, timeout_s=timeout_s)


async def test_request_arrives_as_given_with_the_names_host_header_and_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serving() as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/hooks?a=%20b")
    assert (result.status, result.failure, result.excerpt) == (200, None, b"thanks")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hooks?a=%20b HTTP/1.1"
    names = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in lines[1:]}
    assert names["host"] == f"shop.example.com:{server.port}"
    assert names["webhook-id"] == "evt_1"
    assert names["content-type"] == "application/json"
    assert "cookie" not in names and "transfer-encoding" not in names
    assert body == BODY


async def test_name_is_looked_up_once_and_the_checked_address_is_the_one_connected_to():
    """DNS rebinding: the second answer would be the private one."""
    names = Names([PUBLIC], [PRIVATE])
    async with (
        serving(host=PUBLIC) as public,
        serving(host=PRIVATE, port=public.port) as private,
        sending(lookup=names) as sender,
    ):
        result = await post(sender, f"http://shop.example.com:{public.port}/")
    assert result.status == 200
    assert names.asked == [("shop.example.com", public.port)]
    assert (len(public.requests), len(private.requests)) == (1, 0)


async def test_name_that_turns_private_between_two_attempts_is_refused_at_the_second():
    names = Names([PUBLIC], [PRIVATE])
    closing = writing(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    async with (
        serving(closing, host=PUBLIC) as public,
        serving(host=PRIVATE, port=public.port) as private,
        sending(lookup=names) as sender,
    ):
        first = await post(sender, f"http://shop.example.com:{public.port}/")
        second = await post(sender, f"http://shop.example.com:{public.port}/")
    assert first.status == 500
    assert (second.status, second.failure) == (None, Failure.FORBIDDEN_ADDRESS)
    assert private.connections == 0


@pytest.mark.parametrize("answer", [[PRIVATE], [PUBLIC, PRIVATE], [PRIVATE, PUBLIC], [PUBLIC, "::ffff:127.0.0.1"]])
async def test_name_with_any_refused_address_is_refused_and_nobody_is_connected_to(answer):
    async with (
        serving(host=PUBLIC) as public,
        serving(host=PRIVATE, port=public.port) as private,
        sending(lookup=Names(answer)) as sender,
    ):
        result = await post(sender, f"http://shop.example.com:{public.port}/")
    assert (result.status, result.failure) == (None, Failure.FORBIDDEN_ADDRESS)
    assert public.connections == private.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::]",
    ],
)
async def test_literal_loopback_in_any_form_is_never_connected_to(host):
    async with serving(host="127.0.0.1") as server, sending(refuse=None) as sender:
        result = await post(sender, f"http://{host}:{server.port}/")
    assert result.status is None
    assert result.failure in (Failure.FORBIDDEN_ADDRESS, Failure.BAD_URL)
    assert server.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "10.0.0.1",
        "[fe80::1%25lo]",
        "[fd00:ec2::254]",
        "[64:ff9b::169.254.169.254]",
        "[2002:7f00:1::]",
    ],
)
async def test_literal_private_address_is_refused_without_a_socket(host, monkeypatch):
    made = []
    async with sending(refuse=None, allow_loopback=True) as sender:
        monkeypatch.setattr(module.socket, "socket", lambda *a: made.append(a))
        result = await post(sender, f"http://{host}/")
        monkeypatch.undo()
    assert result.failure in (Failure.FORBIDDEN_ADDRESS, Failure.BAD_URL)
    assert made == []


async def test_socket_is_refused_even_if_the_check_of_names_were_missing(monkeypatch):
    async def unchecked(self, host, port=0, family=socket.AF_UNSPEC):
        return [{"hostname": host, "host": PRIVATE, "port": port, "family": socket.AF_INET, "proto": 6, "flags": 0}]

    monkeypatch.setattr(module._CheckedResolver, "resolve", unchecked)
    async with serving(host=PRIVATE) as server, sending() as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert result.failure is Failure.FORBIDDEN_ADDRESS
    assert server.connections == 0


async def test_local_mode_reaches_loopback_by_name_and_by_address():
    async with serving(host="127.0.0.1") as server, sending(refuse=None, allow_loopback=True) as sender:
        by_address = await post(sender, f"http://127.0.0.1:{server.port}/")
        by_name = await post(sender, f"http://localhost:{server.port}/")
    assert (by_address.status, by_name.status) == (200, 200)


async def test_names_of_this_machine_are_refused_outside_local_mode():
    async with serving(host="127.0.0.1") as server, sending(refuse=None) as sender:
        result = await post(sender, f"http://localhost:{server.port}/")
    assert result.failure is Failure.FORBIDDEN_ADDRESS
    assert server.connections == 0


async def test_name_nobody_knows_is_a_dns_failure():
    async with sending(lookup=Names([])) as sender:
        result = await post(sender, "https://shop.example.com/")
    assert (result.status, result.failure) == (None, Failure.DNS)


async def test_name_that_never_answers_ends_with_the_time_limit():
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with sending(lookup=never) as sender:
        result = await post(sender, "https://shop.example.com/", timeout_s=0.1)
    assert (result.status, result.failure) == (None, Failure.TIMEOUT)


async def test_nobody_listening_is_a_connect_failure():
    async with serving() as server:
        pass
    async with sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert (result.status, result.failure) == (None, Failure.CONNECT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_is_not_followed(status):
    async with serving(host=PRIVATE) as trap:
        answer = f"HTTP/1.1 {status} Go\r\nLocation: http://{PRIVATE}:{trap.port}/\r\nContent-Length: 0\r\n\r\n"
        async with serving(writing(answer.encode())) as server, sending(lookup=Names([PUBLIC])) as sender:
            result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert result.status == status
    assert trap.connections == 0
    assert len(server.requests) == 1


async def test_cookies_are_not_kept():
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with serving(writing(answer)) as server, sending(lookup=Names([PUBLIC])) as sender:
        await post(sender, f"http://shop.example.com:{server.port}/")
        await post(sender, f"http://shop.example.com:{server.port}/")
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


async def test_connection_is_kept_for_the_next_request():
    names = Names([PUBLIC])
    async with serving() as server, sending(lookup=names) as sender:
        for _ in range(5):
            assert (await post(sender, f"http://shop.example.com:{server.port}/")).status == 200
    assert (server.connections, len(server.requests), len(names.asked)) == (1, 5, 1)


async def test_large_body_is_read_to_the_bound_and_no_further():
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while written < 100_000_000:
            writer.write(b"x" * 65_536)
            await writer.drain()
            written += 65_536

    async with serving(flood) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert (result.status, result.excerpt) == (200, b"x" * EXCERPT_BYTES_MAX)
    assert written < 50_000_000


async def test_body_that_drips_is_cut_off_and_the_status_counts(monkeypatch):
    monkeypatch.setattr(module, "EXCERPT_TIMEOUT_S", 0.1)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab")
        await writer.drain()
        await reader.read()

    async with serving(drip) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await asyncio.wait_for(post(sender, f"http://shop.example.com:{server.port}/"), 3)
    assert (result.status, result.excerpt) == (200, b"ab")


async def test_head_that_drips_ends_with_the_time_limit():
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200")
        await writer.drain()
        await reader.read()

    async with serving(drip) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await asyncio.wait_for(post(sender, f"http://shop.example.com:{server.port}/", timeout_s=0.2), 3)
    assert (result.status, result.failure) == (None, Failure.TIMEOUT)
    assert 150 <= result.duration_ms < 2_500


async def test_compressed_body_is_not_unpacked():
    bomb = gzip.compress(b"0" * 10_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with serving(writing(head + bomb)) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert (result.status, result.excerpt) == (200, bomb[:EXCERPT_BYTES_MAX])
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"", Failure.RESET),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Failure.BAD_RESPONSE),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 100_000 + b"\r\n\r\n", Failure.BAD_RESPONSE),
        (b"HTTP/1.1 abc OK\r\n\r\n", Failure.BAD_RESPONSE),
    ],
    ids=["closed", "another protocol", "huge header", "bad status"],
)
async def test_answer_that_is_none_is_a_failure(answer, failure):
    async with serving(writing(answer)) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert (result.status, result.failure) == (None, failure)
    assert len(server.requests) == 1


async def test_truncated_body_after_a_status_is_that_status():
    answer = b"HTTP/1.1 204 OK\r\n\r\n"
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nab"
    async with serving(writing(cut)) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert result.status == 200
    async with serving(writing(answer)) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert (result.status, result.excerpt) == (204, b"")


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        ("99999999999999999999", 999_999_999, 999_999_999),
        ((datetime.now(UTC) + timedelta(seconds=3600)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 3500, 3600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
    ],
)
async def test_retry_after_is_read_as_seconds_or_date(value, low, high):
    answer = f"HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    async with serving(writing(answer)) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert result.retry_after_s is not None
    assert low <= result.retry_after_s <= high


@pytest.mark.parametrize("value", ["soon", "-5", "1.5", "", "Thu, 99 Foo", "½"])
async def test_retry_after_that_cannot_be_read_is_none(value):
    answer = f"HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    async with serving(writing(answer)) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"http://shop.example.com:{server.port}/")
    assert (result.status, result.retry_after_s) == (503, None)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://shop.example.com/",
        "https://user:pw@shop.example.com/",
        "https://",
        "http://[::1",
        "https://shop.example.com:99999/",
        "file:///etc/passwd",
    ],
)
async def test_url_that_should_never_have_been_stored_is_refused_without_a_lookup(url):
    names = Names([PUBLIC])
    async with sending(lookup=names) as sender:
        result = await post(sender, url)
    assert (result.status, result.failure) == (None, Failure.BAD_URL)
    assert names.asked == []


async def test_sending_after_close_is_a_failure_and_closing_twice_is_fine():
    async with sending(lookup=Names([PUBLIC])) as sender:
        await sender.close()
        with pytest.raises(RuntimeError):
            await post(sender, "https://shop.example.com/")


# -- TLS ----------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def contexts(path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


async def test_tls_names_and_verifies_the_host_of_the_url_not_the_address(tmp_path):
    server_tls, client_tls = contexts(certificate(tmp_path, "shop.example.com"))
    async with (
        serving(tls=server_tls) as server,
        sending(lookup=Names([PUBLIC]), ssl_context=client_tls) as sender,
    ):
        result = await post(sender, f"https://shop.example.com:{server.port}/")
    assert result.status == 200
    assert server.tls_names == ["shop.example.com"]


async def test_certificate_of_another_name_is_a_tls_failure_and_nothing_is_sent(tmp_path):
    server_tls, client_tls = contexts(certificate(tmp_path, "other.example.com"))
    async with (
        serving(tls=server_tls) as server,
        sending(lookup=Names([PUBLIC]), ssl_context=client_tls) as sender,
    ):
        result = await post(sender, f"https://shop.example.com:{server.port}/")
    assert (result.status, result.failure) == (None, Failure.TLS)
    assert server.requests == []


async def test_certificate_nobody_vouches_for_is_a_tls_failure(tmp_path):
    server_tls, _ = contexts(certificate(tmp_path, "shop.example.com"))
    async with serving(tls=server_tls) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"https://shop.example.com:{server.port}/")
    assert (result.status, result.failure) == (None, Failure.TLS)
    assert server.requests == []


async def test_plain_server_behind_https_is_a_tls_failure():
    async with serving() as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"https://shop.example.com:{server.port}/", timeout_s=1)
    assert (result.status, result.failure) in {(None, Failure.TLS), (None, Failure.CONNECT), (None, Failure.TIMEOUT)}
    assert server.requests == []


def test_every_error_of_the_http_client_is_classified_and_default_rule_is_the_public_one():
    assert module.classify(aiohttp.ServerDisconnectedError()) is Failure.RESET
    assert module.classify(TimeoutError()) is Failure.TIMEOUT
    assert module.classify(ConnectionResetError()) is Failure.RESET
    assert module.classify(ssl.SSLError()) is Failure.TLS
    assert module.classify(ValueError()) is Failure.BAD_URL
    assert refuse_address(PRIVATE, allow_loopback=False) == "loopback"
