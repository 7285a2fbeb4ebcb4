"""The load generator against servers whose behaviour is known."""

import asyncio
from array import array
from contextlib import asynccontextmanager

import pytest

from bench.load import Broken, Generator, Spec, amount_of, percentiles

BODY = '{"amount":AMOUNT,"reference":"order-NUMBER"}'


@asynccontextmanager
async def serving(answer):
    """A server that reads requests and has `answer(number)` write the answers; its port, and the requests it read."""
    requests, under_way = [], set()

    async def connected(reader, writer):
        under_way.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                requests.append((head, await reader.readexactly(length)))
                writer.write(await answer(len(requests)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], requests
        await asyncio.wait(under_way)


def answer_of(status, body):
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


async def good(_):
    return answer_of(201, b'{"status":"succeeded"}')


def spec(port, **fields):
    values = {
        "ports": [port],
        "path": "/v1/payments",
        "headers": {"Idempotency-Key": "key-*"},
        "body": BODY,
        "expect": "succeeded",
        "connections": 2,
        "seconds": 0.2,
        "warmup_s": 0.05,
        "first": 7,
    }
    return Spec(**{**values, **fields})


async def test_every_request_is_answered_and_none_has_anothers_key_or_reference():
    async with serving(good) as (port, requests):
        report = await Generator(spec(port)).run()
    assert report.sent == report.answered == report.good == len(requests) > 10
    assert report.statuses == {"201": report.sent}
    assert report.amount_good == sum(amount_of(number) for number in range(7, 7 + report.sent))
    keys = {head.partition(b"Idempotency-Key: ")[2].partition(b"\r\n")[0] for head, _ in requests}
    assert keys == {b"key-%010d" % number for number in range(7, 7 + report.sent)}
    assert {body for _, body in requests} == {
        b'{"amount":%d,"reference":"order-%010d"}' % (amount_of(number), number) for number in range(7, 7 + report.sent)
    }
    assert 0 < report.in_window <= report.good


async def test_answers_that_are_not_good_are_counted_apart_and_one_is_shown():
    async def sometimes(number):
        return await good(number) if number % 2 else answer_of(503, b"busy")

    async with serving(sometimes) as (port, requests):
        report = await Generator(spec(port)).run()
    assert report.statuses["503"] == len(requests) - report.good > 0
    assert "busy" in report.wrong


async def test_answer_of_2xx_without_the_expected_word_is_not_good():
    async def processing(_):
        return answer_of(202, b'{"status":"processing"}')

    async with serving(processing) as (port, _):
        report = await Generator(spec(port)).run()
    assert report.good == report.in_window == report.amount_good == 0 < report.answered


async def test_answer_in_pieces_is_put_together():
    async def split(_):
        return answer_of(201, b" " * 300_000 + b"succeeded")

    async with serving(split) as (port, _):
        report = await Generator(spec(port)).run()
    assert report.good == report.sent > 0


async def test_open_model_sends_at_the_set_rate_whatever_the_answers_take():
    release = asyncio.Event()

    async def held(number):
        if number == 1:
            asyncio.get_running_loop().call_later(0.6, release.set)
        await release.wait()
        return await good(number)

    async with serving(held) as (port, requests):
        report = await Generator(spec(port, connections=400, rate_per_s=500.0, seconds=0.4)).run()
    assert report.sent == report.good == len(requests)
    assert 120 < report.sent < 350  # 225 expected, within eight standard deviations
    assert report.in_window == 0
    assert report.latency_ms["max"] > 400


async def test_requests_that_waited_for_a_connection_count_from_when_they_were_due():
    async with serving(good) as (port, _):
        loop = asyncio.get_running_loop()
        generator = Generator(spec(port, connections=1, rate_per_s=1e-6, seconds=0.4))
        run = asyncio.create_task(generator.run())
        loop.call_later(0.25, lambda: generator.arrived(loop.time() - 0.05))
        report = await run
    assert report.good == 1
    assert report.latency_ms["p50"] >= 50


async def test_connection_ended_under_a_request_ends_the_run():
    async def lost(_):
        raise asyncio.IncompleteReadError(b"", None)

    async with serving(lost) as (port, _):
        with pytest.raises(Broken):
            await Generator(spec(port, connections=1)).run()


async def test_idle_connection_that_is_ended_is_done_without():
    async def closing(number):
        return (await good(number)) if number > 1 else answer_of(201, b"succeeded")

    async with serving(closing) as (port, _):
        generator = Generator(spec(port, connections=3, rate_per_s=200.0))
        asyncio.get_running_loop().call_later(0.1, lambda: generator._idle[0].abort())
        report = await generator.run()
    assert report.good == report.sent > 0


@pytest.mark.parametrize(("share", "rank"), (("p50", 51.0), ("p90", 91.0), ("p99", 100.0), ("max", 100.0)))
def test_percentile_is_a_value_that_was_measured(share, rank):
    assert percentiles(array("d", range(1, 101)), scale=1.0)[share] == rank


def test_percentiles_of_nothing_are_none():
    assert percentiles(array("d")) == {}
