"""Calls to DocumentDB: which failures are worth another try, and what the others mean to whoever called.

Every call is safe to repeat, since a document is replaced by a higher version only. So nothing is unknown here: what was not
confirmed is unavailable, and is asked for again. DocumentDB has no retryable writes; the driver's own are off.

The driver's errors hold what it was asked, documents and all. They end here: their kind is told, their words are not.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.secrets import Secret

Answer = TypeVar("Answer")

SELECT_MS, CONNECT_MS, ANSWER_MS, POOL_MS = 3_000, 2_000, 5_000, 3_000
CONNECTIONS_MOST = 50
BUDGET_S = 4.0
"""No try begins later. The last may take SELECT_MS and ANSWER_MS."""
FIRST_PAUSE_S, PAUSE_MOST_S = 0.05, 0.8

NOT_PRIMARY = frozenset({10_058, 10_107, 13_435, 13_436, 189, 91, 11_600, 11_602})
"""Somebody else is the primary, or will be: a failover takes DocumentDB up to half a minute."""
IN_PASSING = NOT_PRIMARY | {
    *(6, 7, 89, 9_001),  # it did not reach its own kind
    *(43, 112),  # a cursor is gone, a document was being written
    *(64, 262),  # nobody else confirmed in time
}
KEYLESS = frozenset({13, 18, 8_000, 11, 31})
"""It does not let us in, or not do this."""
OTHER_INDEX = frozenset({85, 86})
"""An index of that name or that key stands there, and is another."""
TOO_LARGE = frozenset({10_334, 17_280, 17_419, 17_420})
"""A document, or a key of an index."""
DUPLICATE_KEY = 11_000
INDEX_IN_THE_MAKING = 40_333
"""DocumentDB makes one index of a collection at a time."""


def open_client(uri: Secret, *, ca_file: str = "") -> AsyncMongoClient[Any]:
    """Connects to nothing yet. What is fixed here cannot be undone in the connection string.

    Raises StoreUnavailable when the connection string is not understood, in every one of its options.
    """
    options: dict[str, Any] = {
        "serverSelectionTimeoutMS": SELECT_MS,
        "connectTimeoutMS": CONNECT_MS,
        "socketTimeoutMS": ANSWER_MS,
        "waitQueueTimeoutMS": POOL_MS,
        "maxPoolSize": CONNECTIONS_MOST,
        "retryWrites": False,
        "w": "majority",
        "journal": True,
        "readPreference": "primary",
        "appname": "interlock",
    }
    if ca_file:
        options |= {"tls": True, "tlsCAFile": ca_file, "tlsAllowInvalidCertificates": False}
        options |= {"tlsAllowInvalidHostnames": False}
    try:
        with warnings.catch_warnings():
            # `tls=yes` would be warned of, then left out, and the password sent in the clear.
            warnings.simplefilter("error", UserWarning)
            return AsyncMongoClient(uri.reveal(), **options)
    except (PyMongoError, ValueError, OSError, UserWarning) as error:
        raise StoreUnavailable(
            f"the connection string of DocumentDB, or the file of its authorities, is not understood"
            f" ({type(error).__name__}): it is mongodb://user:password@host:port/?options, with what is special in"
            " user and password percent-encoded"
        ) from None


class Calls:
    """Repeats what failed in passing, with jitter and within a budget, then says it in the port's errors."""

    def __init__(self, *, clock: Clock, random: Callable[[], float], budget_s: float = BUDGET_S) -> None:
        """`random` gives numbers in [0, 1)."""
        self._clock, self._random, self._budget_s = clock, random, budget_s

    async def run(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """`call` may be called several times. Raises StoreUnavailable, Invalid."""
        until = self._clock.monotonic() + self._budget_s
        tries = 0
        while True:
            try:
                return await call()
            except PyMongoError as error:
                if not is_in_passing(error):
                    raise _meaning(error) from None
                pause_s = min(FIRST_PAUSE_S * (1 << min(tries, 10)), PAUSE_MOST_S) * (0.5 + self._random())
                if self._clock.monotonic() + pause_s >= until:
                    raise _meaning(error) from None
            except (BSONError, OverflowError, UnicodeError) as error:
                raise Invalid(f"DocumentDB cannot be told this ({type(error).__name__})") from None
            await self._clock.sleep(pause_s)
            tries += 1


def is_in_passing(error: PyMongoError) -> bool:
    """Whether another try may fare better. The driver has waited already for a server it did not find."""
    if isinstance(error, ServerSelectionTimeoutError):
        return False
    if isinstance(error, BulkWriteError):
        return bool(error.details.get("writeConcernErrors")) or bool(codes_of(error) & IN_PASSING)
    if isinstance(error, OperationFailure):
        return error.code in IN_PASSING
    return isinstance(error, AutoReconnect)


def codes_of(error: OperationFailure) -> frozenset[int]:
    """Why each write was refused, or the call as a whole."""
    if isinstance(error, BulkWriteError):
        return frozenset(one["code"] for one in error.details.get("writeErrors", ()))
    return frozenset() if error.code is None else frozenset({error.code})


def _meaning(error: PyMongoError) -> Exception:
    codes = codes_of(error) if isinstance(error, OperationFailure) else frozenset()
    if codes & TOO_LARGE:
        return Invalid("a document, or what it would be found by, is longer than DocumentDB takes")
    return StoreUnavailable(f"{_what_to_do(error, codes)} ({_kind(error, codes)})")


def _what_to_do(error: PyMongoError, codes: frozenset[int]) -> str:
    if isinstance(error, ServerSelectionTimeoutError):
        return (
            "DocumentDB is not reached: check that its cluster runs, that this network may reach its port,"
            " and that its certificate is of the authorities given"
        )
    if isinstance(error, WaitQueueTimeoutError):
        return f"all {CONNECTIONS_MOST} connections to DocumentDB are in use: repeat later, with fewer at once"
    if codes & KEYLESS:
        return "DocumentDB does not let us in: check user and password of the connection string, and the user's roles"
    if codes & OTHER_INDEX:
        return "an index in DocumentDB is not the one declared: drop it, the next write makes it anew"
    if codes & NOT_PRIMARY or isinstance(error, AutoReconnect):
        return "DocumentDB is changing its primary, or the connection broke: repeat in half a minute"
    return "DocumentDB takes nothing at the moment: repeat later, and look into its own log if it stays so"


def _kind(error: PyMongoError, codes: frozenset[int]) -> str:
    return " ".join([type(error).__name__, *map(str, sorted(codes))])
