"""The vault key at the emulator, which holds what was sealed against its context; then KMS on bad days."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.vault import NO_KEY, PLAINTEXT_BYTES_MAX, KmsVaultKey
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from tests.backends.aws.stub import HurriedClock, ScriptedClient, refusal
from tests.contracts.on_aws import aws_client

CONTEXT = {"what": "provider-credentials", "tenant": "ten_1"}
CANARY = b"canary-Zx81Qw-do-not-print"


def vault_of(client: Any, key_id: str = "alias/interlock") -> KmsVaultKey:
    return KmsVaultKey(Calls(client, clock=HurriedClock(), random=random.random, what="KMS", missing=NO_KEY), key_id)


@pytest.fixture
async def vault(aws: str) -> AsyncIterator[KmsVaultKey]:
    async with aws_client("kms", aws) as client:
        yield vault_of(client, (await client.create_key())["KeyMetadata"]["Arn"])


@pytest.mark.aws
@pytest.mark.parametrize("plaintext", [b"", CANARY, b"\x00" * PLAINTEXT_BYTES_MAX])
async def test_what_is_sealed_opens_in_its_context_only(vault: KmsVaultKey, plaintext: bytes) -> None:
    sealed = await vault.seal(plaintext, context=CONTEXT)
    assert not plaintext or plaintext not in sealed
    assert await vault.open(sealed, context=dict(reversed(CONTEXT.items()))) == plaintext
    for other in ({**CONTEXT, "tenant": "ten_2"}, {"what": CONTEXT["what"]}, {**CONTEXT, "more": "x"}):
        with pytest.raises(Invalid, match="not sealed under this key"):
            await vault.open(sealed, context=other)


@pytest.mark.aws
async def test_every_seal_is_another(vault: KmsVaultKey) -> None:
    assert len({await vault.seal(CANARY, context=CONTEXT) for _ in range(5)}) == 5


@pytest.mark.aws
async def test_what_was_changed_anywhere_does_not_open(vault: KmsVaultKey) -> None:
    sealed = await vault.seal(CANARY, context=CONTEXT)
    for at in (0, 1, 2, len(sealed) - len(CANARY) - 20, len(sealed) - 30, len(sealed) - 1):
        changed = bytes(byte ^ 1 if number == at else byte for number, byte in enumerate(sealed))
        with pytest.raises(Invalid):
            await vault.open(changed, context=CONTEXT)
    for cut in (b"", sealed[:1], sealed[:3], sealed[:-1], sealed[: len(sealed) // 2]):
        with pytest.raises(Invalid):
            await vault.open(cut, context=CONTEXT)


@pytest.mark.aws
async def test_what_another_key_sealed_does_not_open(aws: str, vault: KmsVaultKey) -> None:
    async with aws_client("kms", aws) as client:
        other = vault_of(client, (await client.create_key())["KeyMetadata"]["Arn"])
        with pytest.raises(Invalid):
            await other.open(await vault.seal(CANARY, context=CONTEXT), context=CONTEXT)


async def test_context_is_checked_here_too_and_not_by_kms_alone() -> None:
    """A KMS that opened any data key still would not open what was sealed for another place."""
    key = {"Plaintext": b"k" * 32, "CiphertextBlob": b"wrapped"}
    vault = vault_of(ScriptedClient(key))
    sealed = await vault.seal(CANARY, context=CONTEXT)
    assert await vault.open(sealed, context=CONTEXT) == CANARY
    with pytest.raises(Invalid):
        await vault.open(sealed, context={**CONTEXT, "tenant": "ten_2"})
    swapped = sealed.replace(b"wrapped", b"another")
    with pytest.raises(Invalid):
        await vault.open(swapped, context=CONTEXT)


@pytest.mark.parametrize("context", [{}, {"what": ""}, {str(number): "x" for number in range(9)}])
async def test_context_that_says_nothing_or_too_much_is_invalid_and_kms_is_not_asked(context: dict[str, str]) -> None:
    client = ScriptedClient({})
    with pytest.raises(Invalid):
        await vault_of(client).seal(b"x", context=context)
    with pytest.raises(Invalid):
        await vault_of(client).open(b"x", context=context)
    assert client.calls == []


async def test_more_than_a_vault_takes_is_invalid() -> None:
    with pytest.raises(Invalid):
        await vault_of(ScriptedClient({})).seal(b"x" * (PLAINTEXT_BYTES_MAX + 1), context=CONTEXT)


@pytest.mark.parametrize(
    "code", ["DisabledException", "NotFoundException", "AccessDeniedException", "ThrottlingException"]
)
async def test_key_that_cannot_be_used_is_unavailable_and_nothing_secret_is_told(code: str) -> None:
    vault = vault_of(ScriptedClient({"Plaintext": b"k" * 32, "CiphertextBlob": b"wrapped"}, refusal(code)))
    sealed = await vault.seal(CANARY, context=CONTEXT)
    with pytest.raises(StoreUnavailable) as unavailable:
        await vault.open(sealed, context=CONTEXT)
    with pytest.raises(StoreUnavailable):
        await vault.seal(CANARY, context=CONTEXT)
    assert CANARY.decode() not in f"{unavailable.value!r} {vault!r}"
