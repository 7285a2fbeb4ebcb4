"""How often somebody may try. Who guesses shuts out themselves, and nobody else: neither others nor who is signed in."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address

from interlock.core.access.rates import RateLimit
from interlock.core.desk.operators.ports import Operators
from interlock.core.kernel.errors import RateLimited
from interlock.core.kernel.store import Key

FROM_ADDRESS = RateLimit(per_s=1.0, burst=20)
"""Sign-ins with a password from one address, whatever the names."""
OF_NAME = RateLimit(per_s=1.0, burst=30)
"""Sign-ins under one name from everywhere. More than an address has for a name, so that one alone does not use them up."""
ERRANDS = RateLimit(per_s=1.0, burst=20)
"""To an issuer, from one address. Each is kept for ten minutes."""
ADDRESS_CHARS_MAX = 64
IPV6_PREFIX = 64
"""Of IPv6 so many bits are one subscriber, who has all addresses behind them."""


def count_sign_in(o: Operators, name: str, address: str) -> None:
    """Raises RateLimited. One name from one address has the limiter's own rate."""
    place, called = place_of(address), name.lower()[:100]
    _take(o, f"sign_in_from/{place}", FROM_ADDRESS)
    _take(o, f"sign_in/{place}/{called}", None)
    _take(o, f"sign_in_of/{called}", OF_NAME)


def count_proof(o: Operators, session: Key) -> None:
    """Raises RateLimited. Of one session, which no stranger has."""
    _take(o, f"prove/{session.partition}", None)


def count_errand(o: Operators, address: str, proving: Key | None) -> None:
    """Raises RateLimited."""
    _take(o, f"errands/{proving.partition if proving else place_of(address)}", ERRANDS)


def place_of(address: str) -> str:
    """Who tries, as far as an address tells."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:ADDRESS_CHARS_MAX]
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((int(found), IPV6_PREFIX), strict=False))


def _take(o: Operators, bucket: str, limit: RateLimit | None) -> None:
    allowance = o.limiter.take(bucket, o.clock.monotonic(), limit)
    if not allowance.allowed:
        raise RateLimited("too many tries; wait a moment", retry_after_s=allowance.retry_after_s)
