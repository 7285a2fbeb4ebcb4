"""What we sign, judged by the official verifier in JavaScript, on a request that went over a socket."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import msgspec

from interlock.backends.local.clock import SystemClock
from interlock.backends.outbound.sender import AiohttpWebhookSender
from interlock.core.kernel.events import Event
from interlock.core.webhooks.signing import new_secret, signed_headers
from interlock.core.webhooks.views import event_body
from tests.counterparts.paths import require

SCRIPT = """
const { Webhook } = require(process.argv[1]);
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(cases.map(({ secret, body, headers }) => {
  try { return new Webhook(secret).verify(Buffer.from(body, "base64").toString("utf8"), headers).id; }
  catch (error) { return error.message; }
})));
"""


async def test_javascript_verifier_accepts_both_secrets_of_a_rotation_and_refuses_tampering_and_age():
    node, package = require("node"), require("standardwebhooks")
    old, new, foreign = (new_secret(lambda n, fill=fill: fill * n) for fill in (b"a", b"b", b"c"))
    now = time.time_ns() // 1_000_000
    data = msgspec.Raw('{"payment":{"description":"Zoë – 10 €"}}'.encode())
    event = Event("evt_1", "payment.created", "ten_1", "pay_1", 1, now, data)
    body = event_body(event)
    received = await over_a_socket(signed_headers([new, old], message_id=event.id, at=now, body=body), body)
    aged = signed_headers([new], message_id=event.id, at=now - 6 * 60_000, body=body)

    def case(secret, body, headers):
        return {"secret": secret.reveal(), "body": base64.b64encode(body).decode(), "headers": headers}

    cases = [
        case(new, received[1], received[0]),
        case(old, received[1], received[0]),
        case(foreign, received[1], received[0]),
        case(new, received[1].replace(b"10", b"99"), received[0]),
        case(new, received[1], received[0] | {"webhook-id": "evt_2"}),
        case(new, body, aged),
    ]
    process = await asyncio.create_subprocess_exec(
        str(node), "-e", SCRIPT, str(package), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(json.dumps(cases).encode())
    refused = "No matching signature found"
    assert json.loads(out) == ["evt_1", "evt_1", refused, refused, refused, "Message timestamp too old"]


async def over_a_socket(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body as a server on this machine gets them."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        got.append(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = AiohttpWebhookSender(clock=SystemClock(), allow_loopback=True)
    result = await sender.send(f"http://127.0.0.1:{port}/", headers, body, timeout_s=5.0)
    await sender.close()
    server.close()
    assert result.status == 204
    lines = got[0].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}, got[1]
