"""A conventional implementation under the same load: one uvicorn for each core, and a database of PostgreSQL's."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from bench import environment, processes
from bench.comparators.postgres import Postgres
from bench.course import CaughtUp
from bench.provider import Provider

ISSUER, AUDIENCE, TENANT = "http://127.0.0.1", "interlock", "ten_bench"
TOKEN_S = 900
APPS = {
    "asyncpg": "bench.comparators.with_asyncpg:app",
    "sqlalchemy": "bench.comparators.with_sqlalchemy:app",
}
"""By the name of the contestant."""


class Issuer:
    """Signs the comparators' tokens: ES256, as our platform's are."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        """As PEM."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def token(self, *, scope: str = "payments:write", expires_in_s: int = TOKEN_S) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "bench",
            "tenant": TENANT,
            "scope": scope,
            "iat": now,
            "exp": now + expires_in_s,
        }
        return jwt.encode({"alg": "ES256"}, claims, ECKey.import_key(self._key))


class Comparator:
    def __init__(
        self,
        name: str,
        folder: Path,
        postgres: Postgres,
        provider: Provider,
        *,
        workers: int,
        cores: frozenset[int],
    ) -> None:
        """`workers` uvicorn processes, each with a port of its own; the generator shares its connections out among them."""
        self.name = name
        self.postgres = postgres
        self.database = f"{name}_{workers}_{time.monotonic_ns()}"
        self._issuer = Issuer()
        given = {
            "DATABASE": postgres.make_database(self.database),
            "PUBLIC_KEY": self._issuer.public_key,
            "PROVIDER_URL": provider.base_url,
            "PROVIDER_KEY": provider.api_key,
        }
        self.ports = [processes.free_port() for _ in range(workers)]
        self._children: list[processes.Child] = []
        try:
            for port in self.ports:
                command = [environment.python(), "-m", "uvicorn", APPS[name], "--port", str(port), "--loop", "uvloop"]
                command += [
                    "--http",
                    "httptools",
                    "--no-access-log",
                    "--log-level",
                    "warning",
                    "--timeout-keep-alive",
                    "75",
                ]
                log = folder / f"{name} {port}.log"
                self._children.append(processes.start(command, log=log, cores=cores, environment=given))
            for child, port in zip(self._children, self.ports, strict=True):
                child.until(lambda port=port: processes.answers(port))  # type: ignore[misc]
        except processes.DidNotStart:
            self.stop()
            raise

    def token(self) -> str:
        return self._issuer.token()

    def pids(self) -> list[int]:
        """Its own processes and PostgreSQL's."""
        return [pid for child in self._children for pid in child.pids] + self.postgres.pids()

    def catch_up(self) -> CaughtUp:
        """Nobody consumes its outbox."""
        return CaughtUp()

    def stop(self) -> None:
        for child in self._children:
            child.stop()
