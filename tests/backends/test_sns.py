"""Amazon SNS's signatures, with a certificate of our own behind the address that the message names."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from interlock.backends.outbound.sns import AiohttpSnsSignatures
from interlock.core.desk.alerts.sns import SnsMessage, string_to_sign
from interlock.core.kernel.errors import Unauthenticated

URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"
KEY = rsa.generate_private_key(65537, 2048)


def certificate(key) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime(2026, 11, 27, tzinfo=UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
        .sign(key, SHA256())
    )  # fmt: skip
    return made.public_bytes(Encoding.PEM)


def message(version: str = "2", *, key=KEY, **changes: str) -> SnsMessage:
    made = SnsMessage(
        type="Notification",
        message_id="m-1",
        topic_arn="arn:aws:sns:eu-central-1:123456789012:alarms",
        message="{}",
        timestamp="2026-11-27T08:00:00.000Z",
        sent_at=1_795_000_000_000,
        signature_version=version,
        signature="",
        signing_cert_url=URL,
    )
    signed = key.sign(string_to_sign(made), PKCS1v15(), SHA1() if version == "1" else SHA256())
    return made._replace(**{"signature": b64encode(signed).decode()} | changes)


class Network:
    def __init__(self, answer: bytes) -> None:
        self.answer, self.asked = answer, []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        return self.answer


@pytest.mark.parametrize("version", ["1", "2"])
async def test_message_that_amazon_signed_is_believed_and_its_certificate_fetched_once(version):
    network = Network(certificate(KEY))
    signatures = AiohttpSnsSignatures(network.fetch)
    await signatures.verify(message(version))
    await signatures.verify(message(version))
    assert network.asked == [URL]


@pytest.mark.parametrize(
    "changes",
    [{"message": "{ }"}, {"timestamp": "2026-11-27T08:00:01.000Z"}, {"signature": "AAAA"}, {"signature": "%"}],
)
async def test_message_that_was_changed_is_refused(changes):
    with pytest.raises(Unauthenticated):
        await AiohttpSnsSignatures(Network(certificate(KEY)).fetch).verify(message(**changes))


async def test_signature_by_another_algorithm_than_the_message_names_is_refused():
    with pytest.raises(Unauthenticated):
        await AiohttpSnsSignatures(Network(certificate(KEY)).fetch).verify(message("1")._replace(signature_version="2"))


@pytest.mark.parametrize(
    "answer",
    [b"", b"no certificate", certificate(ec.generate_private_key(ec.SECP256R1()))],
    ids=["nothing", "words", "key of another kind"],
)
async def test_what_is_no_certificate_of_theirs_is_refused(answer):
    with pytest.raises(Unauthenticated):
        await AiohttpSnsSignatures(Network(answer).fetch).verify(message())


async def test_subscription_is_confirmed_by_one_request():
    network = Network(b"<ok/>")
    await AiohttpSnsSignatures(network.fetch).confirm(
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription"
    )
    assert len(network.asked) == 1
