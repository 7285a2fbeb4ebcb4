"""Errors, in three branches by what the caller may do next.

InterlockError
├── Rejected            nothing happened; the same answer if repeated
│   ├── Invalid         the request is malformed or breaks a rule; names each fault by JSON pointer
│   ├── Unauthenticated who is calling is not known
│   ├── Forbidden       the caller is known and may not
│   ├── NotFound        no such thing in the caller's tenant
│   ├── Conflict        the thing exists and its state does not allow this
│   ├── IdempotencyKeyReused  same key, another body
│   ├── PayloadTooLarge       the body is above the limit
│   ├── UnsupportedMediaType  the body is not JSON
│   └── MethodNotAllowed      the path exists, this method does not
├── Unavailable         nothing happened; repeat with the same key
│   ├── WriteConflict   somebody else wrote first; reload and decide again
│   ├── RequestInFlight the same idempotency key is still being worked on
│   ├── RateLimited     too many requests; wait `retry_after_s`
│   └── StoreUnavailable      the store cannot commit now (full disk, lock, throttle)
└── OutcomeUnknown      something may have happened; ask, never repeat

Which HTTP status each becomes is one table in `entrypoints/http/problems.py`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class Fault(NamedTuple):
    """One thing wrong with a request: where (RFC 6901 pointer into the body), which rule, and in words."""

    pointer: str
    code: str
    detail: str


class InterlockError(Exception):
    """Root of every error that crosses a port. `code` is stable and documented; `detail` is for people."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.reason = code or self.code
        """The code shown to the caller: the class's own unless a more precise one was given."""


class Rejected(InterlockError):
    code = "rejected"


class Invalid(Rejected):
    code = "invalid_request"

    def __init__(self, detail: str = "", *, faults: tuple[Fault, ...] = (), code: str | None = None) -> None:
        super().__init__(detail or (faults[0].detail if faults else ""), code=code)
        self.faults = faults


class Unauthenticated(Rejected):
    code = "unauthenticated"


class Forbidden(Rejected):
    code = "forbidden"

    def __init__(self, detail: str = "", *, scope: str = "", code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.scope = scope
        """The missing OAuth scope, if that was the cause."""


class NotFound(Rejected):
    code = "not_found"


class Conflict(Rejected):
    code = "conflict"


class IdempotencyKeyReused(Rejected):
    code = "idempotency_key_reused"


class PayloadTooLarge(Rejected):
    code = "payload_too_large"


class UnsupportedMediaType(Rejected):
    code = "unsupported_media_type"


class MethodNotAllowed(Rejected):
    code = "method_not_allowed"


class Unavailable(InterlockError):
    code = "unavailable"

    def __init__(self, detail: str = "", *, retry_after_s: int = 1, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after_s = retry_after_s


class WriteConflict(Unavailable):
    """`key` is the first item, in the order of the writes, whose condition failed (as `partition/sort`)."""

    code = "write_conflict"

    def __init__(self, key: tuple[str, str]) -> None:
        super().__init__(f"{key[0]}/{key[1]} was written by someone else")
        self.key = key


class RequestInFlight(Unavailable):
    code = "request_in_flight"


class RateLimited(Unavailable):
    code = "rate_limited"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class OutcomeUnknown(InterlockError):
    code = "outcome_unknown"
