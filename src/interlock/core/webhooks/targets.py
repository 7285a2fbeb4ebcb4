"""Where a webhook may go: rules for URLs, and for the addresses their names turn out to have.

The URL is checked when it is taken; the address by the sender at each connection, because names change their minds.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from interlock.core.kernel.errors import Fault

WELL_KNOWN_PORT_MAX = 1023

_REFUSED_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
"""Special-purpose blocks, multicast, reserved, and one public address that a cloud answers its own machines on.

Source: https://www.iana.org/assignments/iana-ipv4-special-registry (checked 2026-11-21)
"""

_UNICAST_V6 = IPv6Network("2000::/3")
"""All that is assigned for the public; everything else is refused."""
_REFUSED_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
"""Within it: protocol assignments with Teredo, documentation, and 6to4, which could lead to any IPv4 address.

Source: https://www.iana.org/assignments/iana-ipv6-special-registry (checked 2026-11-21)
"""
_NAT64 = IPv6Network("64:ff9b::/96")
"""Its last 32 bits are an IPv4 address, and count as that."""


def refuse_address(address: str, *, allow_loopback: bool) -> str | None:
    """Why nothing may be sent to `address`, or None if it may. What is not an address is refused, too."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return "link-local"
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.is_loopback:
        return None if allow_loopback else "loopback"
    if isinstance(ip, IPv4Address):
        return "not a public address" if any(ip in block for block in _REFUSED_V4) else None
    if ip not in _UNICAST_V6 or any(ip in block for block in _REFUSED_V6):
        return "not a public address"
    return None


def url_faults(url: str, *, allow_loopback: bool, pointer: str = "/url") -> tuple[Fault, ...]:
    """Everything wrong with `url` as a webhook's target that can be told without asking anybody."""
    fault = _url_fault(url, allow_loopback)
    return () if fault is None else (Fault(pointer, *fault),)


def _url_fault(url: str, allow_loopback: bool) -> tuple[str, str] | None:
    if not url.isascii() or not url.isprintable() or any(c in url for c in ' "<>\\^`{|}'):
        return (
            "bad_format",
            "a URL is printable ASCII without spaces; write other characters percent-encoded or in punycode",
        )
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return "bad_format", "not a URL"
    if parts.scheme not in ("https", "http") or not host:
        return "bad_format", "an https URL is needed"
    if "@" in parts.netloc:
        return "credentials", "a URL with credentials is not taken; the signature proves who calls"
    if parts.fragment or url.endswith("#"):
        return "bad_format", "a fragment is never sent"
    if port == 0:
        return "bad_port", "a port is 1 to 65535"
    local = allow_loopback and _is_loopback(host)
    if parts.scheme == "http" and not local:
        return "not_https", "only https is taken"
    if port is not None and port != 443 and port <= WELL_KNOWN_PORT_MAX and not local:
        return "bad_port", "ports below 1024 belong to other protocols; 443 is taken"
    return _host_fault(host, allow_loopback)


def _host_fault(host: str, allow_loopback: bool) -> tuple[str, str] | None:
    if ":" in host or _ends_in_number(host):
        refused = refuse_address(host, allow_loopback=allow_loopback)
        return None if refused is None else ("forbidden_address", f"the address is refused: {refused}")
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return None if allow_loopback else ("forbidden_address", "the address is refused: loopback")
    labels = name.split(".")
    if len(name) > 253 or not all(0 < len(label) <= 63 and _is_label(label) for label in labels):
        return "bad_format", "not a host name"
    if len(labels) == 1:
        return "forbidden_address", "a public host name has a dot in it"
    return None


def _is_label(label: str) -> bool:
    return all(c.isalnum() or c in "-_" for c in label) and label[0] != "-" and label[-1] != "-"


def _ends_in_number(host: str) -> bool:
    """Whether resolvers may read `host` as an IPv4 address, perhaps in an odd form (127.1, 0x7f.0.0.1, 2130706433)."""
    last = host.removesuffix(".").rpartition(".")[2]
    return last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
