"""TLS: named and verified by the URL, whatever the address."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from interlock.core.webhooks.ports import Failure
from tests.backends.outbound.endpoints import (
    PUBLIC,
    Names,
    post,
    sending,
    serving,
)


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def contexts(path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


async def test_tls_names_and_verifies_the_host_of_the_url_not_the_address(tmp_path):
    server_tls, client_tls = contexts(certificate(tmp_path, "shop.example.com"))
    async with (
        serving(tls=server_tls) as server,
        sending(lookup=Names([PUBLIC]), ssl_context=client_tls) as sender,
    ):
        result = await post(sender, f"https://shop.example.com:{server.port}/")
    assert result.status == 200
    assert server.tls_names == ["shop.example.com"]


async def test_certificate_of_another_name_is_a_tls_failure_and_nothing_is_sent(tmp_path):
    server_tls, client_tls = contexts(certificate(tmp_path, "other.example.com"))
    async with (
        serving(tls=server_tls) as server,
        sending(lookup=Names([PUBLIC]), ssl_context=client_tls) as sender,
    ):
        result = await post(sender, f"https://shop.example.com:{server.port}/")
    assert (result.status, result.failure) == (None, Failure.TLS)
    assert server.requests == []


async def test_certificate_nobody_vouches_for_is_a_tls_failure(tmp_path):
    server_tls, _ = contexts(certificate(tmp_path, "shop.example.com"))
    async with serving(tls=server_tls) as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"https://shop.example.com:{server.port}/")
    assert (result.status, result.failure) == (None, Failure.TLS)
    assert server.requests == []


async def test_plain_server_behind_https_is_a_tls_failure():
    async with serving() as server, sending(lookup=Names([PUBLIC])) as sender:
        result = await post(sender, f"https://shop.example.com:{server.port}/", timeout_s=1)
    assert (result.status, result.failure) in {(None, Failure.TLS), (None, Failure.CONNECT), (None, Failure.TIMEOUT)}
    assert server.requests == []
