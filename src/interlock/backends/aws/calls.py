"""Calls to AWS: which answers are worth another try, and what the others mean to whoever called.

The SDK's own retries are switched off. It would repeat a call whose outcome is unknown as gladly as one that was turned away,
and the difference is what the Store port is about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable

Answer = Mapping[str, Any]

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "Throttling",
        "SlowDown",
        "RequestThrottled",
        "OverLimit",
        "TooManyRequestsException",
        "KmsThrottled",
        "KMS.ThrottlingException",
        "KMSThrottling",
    }
)
"""Nothing was written."""
IN_PASSING = frozenset({"TransactionConflictException", "ConditionalRequestConflict"})
"""Met somebody else at the same item or object; nothing was written."""
UNCLEAR = frozenset({"InternalServerError", "InternalFailure", "ServiceUnavailable", "TransactionInProgressException"})
"""It may have been written, or be about to be."""
KEYLESS = frozenset(
    {
        "ExpiredTokenException",
        "ExpiredToken",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "AccessDeniedException",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "AccessDenied",
        "AuthorizationError",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
    }
)
"""The credentials are not, or no longer, good for this."""
MISSING = {"ResourceNotFoundException": "table or stream", "NoSuchBucket": "bucket"}
"""What a service says when what Terraform makes is not there, and what that is. Some say the same of what we make ourselves."""
TRANSPORT = frozenset(
    {"ReadTimeoutError", "ConnectionClosedError", "HTTPClientError", "ConnectionError", "IncompleteReadError"}
)
"""The connection broke, or nothing came in time: the request may have arrived."""
BUDGET_S = 2.0
FIRST_PAUSE_S = 0.025
PAUSE_MOST_S = 0.4


class Refused(Exception):
    """AWS understood, and did nothing."""

    def __init__(self, error: ClientError, *, after_unclear: bool) -> None:
        super().__init__(str(error))
        self.code = code_of(error)
        self.reasons = [str(one.get("Code", "None")) for one in error.response.get("CancellationReasons", ())]
        """Of a cancelled transaction: why each item was refused, "None" for those that were not."""
        self.there: Answer = error.response.get("Item", {})
        """What stands where a condition failed, if that was asked for."""
        self.after_unclear = after_unclear
        """An earlier try may have been carried out, and a condition may have failed over what it wrote."""

    @property
    def is_in_passing(self) -> bool:
        """Whether it only met somebody else at the same place at the same moment."""
        return self.code in IN_PASSING or "TransactionConflict" in self.reasons


class Client(Protocol):
    """An aiobotocore client, made with one attempt for each call."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Answer]]: ...


class Calls:
    """Repeats what may be repeated, with jitter and within a budget, then says it in the port's errors."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        random: Callable[[], float],
        what: str = "DynamoDB",
        budget_s: float = BUDGET_S,
        missing: Mapping[str, str] = MISSING,
    ) -> None:
        """`random` gives numbers in [0, 1); `what` is the service, for people; what is not in `missing` is Refused."""
        self._client, self._clock, self._random, self._what, self._budget_s = client, clock, random, what, budget_s
        self._missing = missing

    async def read(self, operation: str, **request: Any) -> Answer:
        """Raises Refused, StoreUnavailable, Invalid."""
        try:
            return await self._call(operation, request)
        except OutcomeUnknown as error:  # of a read: there is none
            raise StoreUnavailable(error.detail) from error

    async def write(self, operation: str, **request: Any) -> Answer:
        """A write that carries what makes it safe to repeat.

        Raises Refused, a condition that failed among others, StoreUnavailable if nothing was written, OutcomeUnknown, Invalid.
        """
        return await self._call(operation, request)

    async def pause(self, tries: int) -> None:
        """Before asking again for what was left out of an answer."""
        await self._clock.sleep(self._pause_s(tries))

    def _pause_s(self, tries: int) -> float:
        return min(FIRST_PAUSE_S * (1 << tries), PAUSE_MOST_S) * (0.5 + self._random())

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        call = getattr(self._client, operation)
        until = self._clock.monotonic() + self._budget_s
        tries, unclear = 0, False
        while True:
            try:
                answer: Answer = await call(**request)
                return answer
            except ClientError as error:
                last: Exception = error
                unclear |= self._is_unclear(error, after_unclear=unclear)
            except (EndpointConnectionError, ConnectTimeoutError) as error:
                last = error
            except BotoCoreError as error:
                if type(error).__name__ not in TRANSPORT:
                    raise _useless(f"the call could not be made: {error}", after_unclear=unclear) from error
                last, unclear = error, True
            pause_s = self._pause_s(tries)
            if self._clock.monotonic() + pause_s > until:
                raise self._given_up(last, unclear) from last
            await self._clock.sleep(pause_s)
            tries += 1

    def _is_unclear(self, error: ClientError, *, after_unclear: bool) -> bool:
        """Whether the outcome is unknown. Raises what is not worth another try."""
        code, refused = code_of(error), Refused(error, after_unclear=after_unclear)
        if code in THROTTLED or code in IN_PASSING or _is_only_in_passing(refused):
            return False
        if code in UNCLEAR or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            return True
        if code in KEYLESS:
            detail = f"{self._what} does not accept the credentials ({code}): renew them or widen the role"
            raise _useless(detail, after_unclear=after_unclear)
        if code in self._missing:
            detail = f"{self._what} has no such {self._missing[code]}: apply the Terraform, or check name and region"
            raise _useless(detail, after_unclear=after_unclear)
        if code == "ValidationException":
            raise Invalid(error.response["Error"].get("Message", code))
        raise refused from error

    def _given_up(self, last: Exception, unclear: bool) -> Exception:
        if unclear:
            return OutcomeUnknown(f"{self._what} did not say what became of it: {last}")
        if isinstance(last, ClientError) and (refused := Refused(last, after_unclear=False)).is_in_passing:
            return refused
        return StoreUnavailable(f"{self._what} takes nothing at the moment: {last}")


def code_of(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _useless(detail: str, *, after_unclear: bool) -> Exception:
    """There is no point in another try. What an earlier one came to is not known by that."""
    return (
        OutcomeUnknown(f"{detail}; an earlier try may have been carried out")
        if after_unclear
        else StoreUnavailable(detail)
    )


def _is_only_in_passing(refused: Refused) -> bool:
    """Cancelled by other transactions or by throttling, and by no condition of ours."""
    found = {one for one in refused.reasons if one != "None"}
    return bool(found) and found <= {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
