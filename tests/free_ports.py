"""Ports for processes that are killed and started again at the same address."""

import secrets
import socket


def free_ports(*counts: int) -> tuple[int, ...]:
    """The first port of a free row of each length. All below those that are given out for connections (Linux: from 32,768),
    so that nobody takes one while its process is dead."""
    ports = iter(range(20_000 + secrets.randbelow(8_000), 32_000))

    def row(count: int) -> int:
        free = 0
        for port in ports:
            free = free + 1 if _is_free(port) else 0
            if free == count:
                return port - count + 1
        raise RuntimeError("no ports are free")

    return tuple(row(count) for count in counts)


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
