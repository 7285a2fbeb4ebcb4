"""The connection string: what it cannot undo, and that it is never shown."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from pymongo import ReadPreference, WriteConcern

from interlock.backends.mongo.calls import ANSWER_MS, CONNECT_MS, CONNECTIONS_MOST, SELECT_MS, open_client
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.secrets import Secret
from tests.backends.mongo.passage import make_authority

WEAK = "mongodb://me:hunter2@127.0.0.1:1/?w=1&journal=false&readPreference=secondary&retryWrites=true"
WEAK += "&serverSelectionTimeoutMS=600000&connectTimeoutMS=600000&socketTimeoutMS=0&maxPoolSize=0"


async def test_connection_string_cannot_weaken_what_a_write_promises_or_how_long_it_takes() -> None:
    client = open_client(Secret(WEAK))
    assert client.write_concern == WriteConcern(w="majority", j=True)
    assert client.read_preference == ReadPreference.PRIMARY
    assert client.options.retry_writes is False
    assert client.options.server_selection_timeout == SELECT_MS / 1_000
    assert client.options.pool_options.connect_timeout == CONNECT_MS / 1_000
    assert client.options.pool_options.socket_timeout == ANSWER_MS / 1_000
    assert client.options.pool_options.max_pool_size == CONNECTIONS_MOST
    await client.close()


async def test_certificate_is_checked_whatever_the_connection_string_says(tmp_path: Path) -> None:
    authority, _ = make_authority(tmp_path / "ours")
    unchecked = "mongodb://h/?tls=true&tlsAllowInvalidCertificates=true&tlsAllowInvalidHostnames=true"
    client = open_client(Secret(unchecked), ca_file=str(authority))
    context = client.options.pool_options._ssl_context
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    await client.close()


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://me:hunter2@h/",
        "mongodb://me:hun:ter2@h/",
        "mongodb://me:hunter2@h:99999/",
        "mongodb://me:hunter2@h:hunter2/",
        "mongodb://me:hunter2@h/?tls=yes",
        "mongodb://me:hunter2@h/?readPrefs=hunter2",
    ],
)
def test_connection_string_that_is_not_understood_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(StoreUnavailable, match="percent-encoded") as refused:
        open_client(Secret(uri))
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_named_as_the_fault(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StoreUnavailable, match="the file of its authorities"):
        open_client(Secret("mongodb://h/"), ca_file=str(file))
