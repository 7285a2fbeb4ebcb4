"""What the sender makes of answers, honest and hostile, against real sockets."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from interlock.backends.outbound import sender as module
from interlock.core.webhooks.ports import EXCERPT_BYTES_MAX, Failure
from interlock.core.webhooks.targets import refuse_address
from tests.backends.outbound.endpoints import (
    PRIVATE,
    PUBLIC,
    Names,
    post,
    sending,
    serving,
    writing,
)


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
        ("in an hour", 3500, 3600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
    ],
)
async def test_retry_after_is_read_as_seconds_or_date(value, low, high):
    if value == "in an hour":
        value = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
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


def test_every_error_of_the_http_client_is_classified_and_default_rule_is_the_public_one():
    assert module.classify(aiohttp.ServerDisconnectedError()) is Failure.RESET
    assert module.classify(TimeoutError()) is Failure.TIMEOUT
    assert module.classify(ConnectionResetError()) is Failure.RESET
    assert module.classify(ssl.SSLError()) is Failure.TLS
    assert module.classify(ValueError()) is Failure.BAD_URL
    assert refuse_address(PRIVATE, allow_loopback=False) == "loopback"
