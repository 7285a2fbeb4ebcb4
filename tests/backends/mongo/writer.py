"""A process that upserts one document after the other as it is told on its input: `{"id": ..., "version": ...}` a line.

It says `ready` when its connection stands, waits for a first line that only says to begin, and says `done`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from interlock.backends.local.clock import SystemClock
from interlock.backends.mongo.documents import MongoDocuments
from interlock.core.kernel.documents import Collection, Document
from interlock.core.kernel.secrets import Secret

TENANT, PAYMENTS = "ten_a", Collection("payments", ("status",))
AT_ONCE = 8


def document(id: str, version: int) -> Document:
    return Document(id, TENANT, version, {"status": f"s{version}"}, b'{"v":%d}' % version)


async def main(uri: str, database: str) -> None:
    documents = MongoDocuments(Secret(uri), [PAYMENTS], clock=SystemClock(), random=random.random, database=database)
    await documents.get(PAYMENTS.name, "nothing", tenant=TENANT)
    print("ready", flush=True)
    sys.stdin.readline()
    told = [json.loads(line) for line in sys.stdin]
    for at in range(0, len(told), AT_ONCE):
        await asyncio.gather(*(documents.upsert(PAYMENTS.name, [document(**one)]) for one in told[at : at + AT_ONCE]))
    print("done", flush=True)
    await documents.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
