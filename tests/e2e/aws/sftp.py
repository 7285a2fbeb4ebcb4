"""Sends a file by SFTP, as a bank does: with a key, and nothing but a name and a content."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.counterparts.paths import require
from tests.e2e.aws.deployment import BUCKET, ROLE, Deployment

_SEND = """
import asyncio, sys, asyncssh

async def main(port, user, key, name, path):
    async with asyncssh.connect("127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=None) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.put(path, name)

asyncio.run(main(*sys.argv[1:]))
"""


def send(deployment: Deployment, user: str, name: str, content: bytes, *, port: int) -> None:
    """The user is made, with a key, and has an inbox of its own, as modules/sftp makes them."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    transfer = deployment.client("transfer")
    server = transfer.create_server(Protocols=["SFTP"], IdentityProviderType="SERVICE_MANAGED")["ServerId"]
    transfer.create_user(
        ServerId=server,
        UserName=user,
        Role=ROLE,
        HomeDirectoryType="LOGICAL",
        HomeDirectoryMappings=[{"Entry": "/", "Target": f"/{BUCKET}/inbox/{user}"}],
        SshPublicKeyBody=public.decode(),
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "key").write_bytes(private)
        (Path(folder) / "key").chmod(0o600)
        (Path(folder) / "content").write_bytes(content)
        command = [str(require("ministack")), "-c", _SEND, str(port), user, f"{folder}/key", name, f"{folder}/content"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    _have_it_announced(deployment, f"inbox/{user}/{name}")


def _have_it_announced(deployment: Deployment, key: str) -> None:
    """S3 tells EventBridge of whatever arrives; the emulator does not of what arrives by SFTP, so it is written once more."""
    s3 = deployment.client("s3")
    content = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=key, Body=content)
