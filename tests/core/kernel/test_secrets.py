"""A Secret shows itself to `reveal` and to nobody else."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from interlock.core.kernel.secrets import Secret, reveal_secret, wrap_secret

CANARY = "canary-Zx81Qw-do-not-print"
SECRET = Secret(CANARY)


class Settings(msgspec.Struct):
    key: Any


@dataclass
class Holder:
    key: Secret


def logged() -> str:
    return logging.Formatter().format(logging.LogRecord("n", 20, "f", 1, "key %s %r", (SECRET, SECRET), None))


def raised() -> str:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize(
    "show",
    [
        lambda: repr(SECRET),
        lambda: str(SECRET),
        lambda: f"{SECRET}",
        lambda: f"{SECRET!s} {SECRET!r} {SECRET!a}",
        lambda: f"{SECRET:>60}",
        lambda: "%s %r" % (SECRET, SECRET),  # noqa: UP031
        lambda: "{}".format(SECRET),  # noqa: UP032
        lambda: repr([SECRET, {"key": SECRET}]),
        lambda: pprint.pformat({"key": SECRET}),
        lambda: repr(Settings(SECRET)),
        lambda: repr(Holder(SECRET)),
        logged,
        raised,
    ],
)
def test_nothing_that_prints_shows_the_value(show: Callable[[], str]) -> None:
    shown = show()
    assert "Secret(...)" in shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    "serialise",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        lambda secret: msgspec.json.encode(Settings(secret)),
        lambda secret: "".join(secret),
        lambda secret: "" + secret,
        vars,
    ],
)
def test_nothing_that_serialises_takes_it(serialise: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as refused:
        serialise(SECRET)
    assert CANARY not in str(refused.value)


def test_reveal_gives_the_value() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_secret_is_not_a_string() -> None:
    assert not isinstance(SECRET, str)


def test_matches_compares_with_text() -> None:
    assert Secret("é").matches("é")
    assert not Secret("abc").matches("abd")
    assert not Secret("abc").matches("")


def test_equal_values_are_equal_secrets() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_record_that_keeps_secrets_is_written_and_read_by_whoever_asks_for_it_and_keeps_nothing_else() -> None:
    class Kept(msgspec.Struct):
        key: Secret

    encoder = msgspec.json.Encoder(enc_hook=reveal_secret)
    decoder = msgspec.json.Decoder(Kept, dec_hook=wrap_secret)
    written = encoder.encode(Kept(SECRET))
    assert CANARY.encode() in written
    assert decoder.decode(written) == Kept(SECRET)
    with pytest.raises(NotImplementedError):
        encoder.encode({"at": 1j})
    with pytest.raises(NotImplementedError):
        msgspec.json.Decoder(complex, dec_hook=wrap_secret).decode(b'"1j"')
