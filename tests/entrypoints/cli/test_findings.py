"""Money at risk that a proof finds, on the command line: on a folder on which a platform runs."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from interlock.config import Settings
from interlock.core.kernel.store import Delete
from interlock.core.ledger.records import journal_key, journal_of, journal_write
from interlock.entrypoints.cli.main import app
from interlock.entrypoints.cli.stored import opened
from tests.entrypoints.cli.processes import up

pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture
def folder(tmp_path):
    with up(tmp_path / "data"):
        yield tmp_path / "data"


@pytest.fixture
def run(folder):
    """Run a command on the platform's folder, within this process: `status`, `out`, `err`."""

    def command(*arguments: object):
        result = CliRunner().invoke(app, [*map(str, arguments), "--data", str(folder)])
        return SimpleNamespace(status=result.exit_code, out=result.stdout, err=result.stderr)

    return command


def changed(folder, payment, *, lost):
    """Lose a payment's journal, or put it back."""

    async def work():
        async with opened(Settings(data=str(folder))) as platform:
            store = platform.storage.store
            journals = [one for event in await store.history(payment) if (one := journal_of(event)) is not None]
            if lost:
                item = await store.get(journal_key(journals[0]))
                await store.commit([Delete(item.key, item.version)])
            else:
                await store.commit([journal_write(journals[0])])

    asyncio.run(work())


def risks(run, payment):
    return [one for one in json.loads(run("desk", "risk", "--json").out) if one["payment"] == payment]


def test_lost_journal_is_found_by_the_recorded_proof_listed_and_over_when_it_is_back(run, folder, until):
    paid = json.loads(run("pay", 1999, "EUR", "--json").out)
    until.holds(lambda: json.loads(run("ledger", "verify", "--json").out)["sound"])
    changed(folder, paid["id"], lost=True)
    assert (run("ledger", "verify").status, risks(run, paid["id"])) == (1, [])
    assert run("ledger", "verify", "--record").status == 1
    (risk,) = risks(run, paid["id"])
    assert (risk["kind"], risk["amount"], risk["currency"]) == ("captured_not_posted", 1999, "EUR")
    assert risk["finding"] in run("desk", "risk").out
    refused = run("desk", "explain-finding", risk["finding"], "--reason", "it is fine")
    assert (refused.status, "ends when payment and ledger agree" in refused.err.replace("\n", " ")) == (1, True)
    assert run("desk", "explain-finding", risk["finding"], "--reason", " ").status != 0
    changed(folder, paid["id"], lost=False)
    assert run("ledger", "verify", "--record").status == 0
    assert risks(run, paid["id"]) == []
