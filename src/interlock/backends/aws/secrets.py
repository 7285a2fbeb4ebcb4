"""The Secrets port on Secrets Manager: one secret of AWS for each name, its values as a JSON list.

What is too long for one stands in several parts under names of their own, which the secret names; it is written last, so that
a reader sees the old values or the new ones. Whoever is killed in between leaves parts that nobody names.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import NamedTuple

from interlock.backends.aws.calls import Calls, Refused
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import InterlockError, Invalid, StoreUnavailable
from interlock.core.kernel.secrets import Secret, Secrets

PART_MOST = 60_000
"""Characters of one secret; AWS takes 65,536 bytes, and what stands there is ASCII."""
PARTS_MOST = 32
NAME_MOST = 400
"""Characters of a name as AWS gets it, of 512, so that the names of parts fit too."""
CACHE_S = 60.0
CACHED_MOST = 256
TRIES = 3
"""How often somebody else may be in the way of one put or get."""
ABSENT, TAKEN, STATE = "ResourceNotFoundException", "ResourceExistsException", "InvalidRequestException"
"""STATE: the secret is in one that does not allow what was asked."""
_PLAIN = re.compile(r"[A-Za-z0-9/_.@+-]")


class _Kept(NamedTuple):
    until: float
    values: list[Secret]


class AwsSecrets:
    def __init__(
        self,
        calls: Calls,
        *,
        clock: Clock,
        new_token: Callable[[], str],
        prefix: str = "interlock/",
        kms_key: str = "",
        cache_s: float = CACHE_S,
    ) -> None:
        """`calls` must refuse what is not there (`missing={}`). `kms_key` encrypts new secrets; without it, AWS's own key does.

        `new_token` gives 32 to 64 characters. Reads are priced: values are remembered for `cache_s` seconds, and a change made
        elsewhere is seen after that.
        """
        self._calls, self._clock, self._new_token = calls, clock, new_token
        self._prefix, self._cache_s = prefix, cache_s
        self._key = {"KmsKeyId": kms_key} if kms_key else {}
        self._cached: dict[str, _Kept] = {}
        self._puts = 0
        """So that a read overtaken by a put of ours is not remembered."""

    def __repr__(self) -> str:
        return f"AwsSecrets({self._prefix!r})"

    async def get(self, name: str) -> list[Secret]:
        kept = self._cached.get(name)
        if kept is not None and self._clock.monotonic() < kept.until:
            return list(kept.values)
        began, puts = self._clock.monotonic(), self._puts
        text = await self._whole(self._id(name))
        if text is None:
            return []
        values = [Secret(value) for value in _list(text)]
        if puts != self._puts:
            return values
        self._cached.pop(name, None)
        while len(self._cached) >= CACHED_MOST:
            del self._cached[next(iter(self._cached))]
        self._cached[name] = _Kept(began + self._cache_s, values)
        return list(values)

    async def put(self, name: str, values: list[Secret]) -> None:
        """Brings back a secret that is scheduled for deletion. May be repeated."""
        secret_id = self._id(name)
        text = json.dumps([value.reveal() for value in values])
        if len(text) > PART_MOST * PARTS_MOST:
            raise Invalid(f"the values of one secret may have {PART_MOST * PARTS_MOST} characters in all")
        old = await self._read(secret_id)
        try:
            if len(text) <= PART_MOST:
                await self._write(secret_id, text)
            else:
                await self._write(secret_id, await self._in_parts(secret_id, text))
        finally:
            self._puts += 1
            self._cached.pop(name, None)
        if old is not None:
            await self._forget_parts(_parts(secret_id, old))

    def _id(self, name: str) -> str:
        """A name in AWS's alphabet; `=` and two digits for each byte of what is not in it."""
        encoded = "".join(
            one if _PLAIN.fullmatch(one) else "".join(f"={byte:02X}" for byte in one.encode()) for one in name
        )
        secret_id = f"{self._prefix}{encoded}"
        if not name or len(secret_id) > NAME_MOST:
            raise Invalid(f"a secret's name has 1 to {NAME_MOST} characters, three for each byte of unusual ones")
        return secret_id

    async def _whole(self, secret_id: str) -> str | None:
        for _ in range(TRIES):
            head = await self._read(secret_id)
            if head is None or not (ids := _parts(secret_id, head)):
                return head
            parts = await asyncio.gather(*map(self._read, ids))
            if None not in parts:
                return "".join(part for part in parts if part is not None)
        raise StoreUnavailable("a secret is being replaced again and again; ask again")

    async def _in_parts(self, secret_id: str, text: str) -> str:
        """Write them, and say where they are."""
        pieces = [text[start : start + PART_MOST] for start in range(0, len(text), PART_MOST)]
        head = json.dumps({"parts": len(pieces), "of": self._new_token()})
        for part_id, piece in zip(_parts(secret_id, head), pieces, strict=True):
            await self._write(part_id, piece)
        return head

    async def _forget_parts(self, ids: list[str]) -> None:
        for part_id in ids:
            try:
                await self._calls.write("delete_secret", SecretId=part_id, ForceDeleteWithoutRecovery=True)
            except (Refused, InterlockError):
                return  # the put is done; what is left costs a few cents and is read by nobody

    async def _read(self, secret_id: str) -> str | None:
        """None when there is none, or it is scheduled for deletion."""
        try:
            answer = await self._calls.read("get_secret_value", SecretId=secret_id)
        except Refused as refused:
            if refused.code == ABSENT or _is_scheduled(refused):
                return None
            raise _unavailable(refused) from refused
        return str(answer.get("SecretString", ""))  # which a secret of bytes has not

    async def _write(self, secret_id: str, text: str) -> None:
        token = self._new_token()
        said = {"SecretString": text, "ClientRequestToken": token}
        for _ in range(TRIES):
            try:
                await self._calls.write("put_secret_value", SecretId=secret_id, **said)
                return
            except Refused as refused:
                if refused.code != ABSENT and not _is_scheduled(refused):
                    raise _unavailable(refused) from refused
                step = ("restore_secret", {"SecretId": secret_id})
                if refused.code == ABSENT:
                    step = ("create_secret", {"Name": secret_id, **self._key, **said})
            try:
                await self._calls.write(step[0], **step[1])
            except Refused as refused:
                if refused.code not in (ABSENT, TAKEN, STATE):
                    raise _unavailable(refused) from refused
                continue  # somebody else made it, or put it away
            if step[0] == "create_secret":
                return
        raise StoreUnavailable("somebody else is writing the same secret; ask again")


def _parts(secret_id: str, head: str) -> list[str]:
    """The names of the parts; none for values that stand in the secret itself. `=p` is in no name we make otherwise."""
    found = _parsed(head)
    if not isinstance(found, dict) or set(found) != {"parts", "of"}:
        return []
    return [f"{secret_id}=part/{found['of']}/{number}" for number in range(found["parts"])]


def _list(text: str) -> list[str]:
    """Raises StoreUnavailable, which does not quote it, for what is no list of texts: written by hand, most likely."""
    found = _parsed(text)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise StoreUnavailable("a secret is no JSON list of texts: write it as one, newest first")
    return found


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:  # which would carry the text along
        return None


def _is_scheduled(refused: Refused) -> bool:
    """For deletion. AWS has one code for every state a secret may be in, and says which in words."""
    return refused.code == STATE and "deletion" in str(refused)


def _unavailable(refused: Refused) -> StoreUnavailable:
    return StoreUnavailable(f"Secrets Manager refused: {refused.code}")


_port: type[Secrets] = AwsSecrets
"""Held against its port here until a bootstrap joins them."""
