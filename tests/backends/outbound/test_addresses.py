"""Where the sender connects to, and where never, against real sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from interlock.backends.outbound import sender as module
from interlock.core.webhooks.ports import Failure
from tests.backends.outbound.endpoints import (
    BODY,
    PRIVATE,
    PUBLIC,
    Names,
    post,
    sending,
    serving,
    writing,
)


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
