"""Commands that look at stored data open a folder, or what `aws` names."""

import io
import json

import pytest
from typer.testing import CliRunner

from interlock import bootstrap_aws
from interlock.bootstrap import open_platform, open_storage
from interlock.entrypoints.cli.main import app

AWS = {"region": "eu-central-1", "table": "pay", "kafka": {"bootstrap_servers": "127.0.0.1:1"}}
PROVIDERS = [{"name": "stripe", "kind": "stripe", "base_url": "https://api.stripe.com"}]


@pytest.fixture
def on_aws(monkeypatch, tmp_path):
    """What commands have opened there; it stands in a folder."""
    opened = []

    async def stand_in(settings, *, log):
        opened.append(settings)
        local = settings.__class__(data=str(tmp_path / "there"))
        return await open_platform(local, open_storage(local, log=io.BytesIO()), issuer="http://127.0.0.1")

    monkeypatch.setattr(bootstrap_aws, "open_platform_on_aws", stand_in)
    monkeypatch.setenv("INTERLOCK_AWS", json.dumps(AWS))
    monkeypatch.setenv("INTERLOCK_PROVIDERS", json.dumps(PROVIDERS))
    monkeypatch.setenv("INTERLOCK_DATA", str(tmp_path / "here"))
    return opened


def test_command_opens_what_aws_names_and_no_folder_beside_it(on_aws, tmp_path):
    made = CliRunner().invoke(app, ["clients", "create", "first", "--scope", "payments:*", "--json"])
    listed = CliRunner().invoke(app, ["clients", "list"])
    assert (made.exit_code, listed.exit_code) == (0, 0)
    assert json.loads(made.stdout)["client_id"] in listed.stdout
    assert [settings.aws.table for settings in on_aws] == ["pay", "pay"]
    assert [settings.providers for settings in on_aws] == [(), ()], "nobody is called from here"
    assert not (tmp_path / "here").exists()


def test_first_signing_key_signs_at_once(on_aws):
    rotated = CliRunner().invoke(app, ["keys", "rotate"])
    assert rotated.exit_code == 0
    again = CliRunner().invoke(app, ["keys", "rotate"])
    assert again.exit_code == 0, "the first is not about to sign: it does"


def test_setting_that_is_missing_is_named_with_status_1(on_aws, monkeypatch):
    async def refuses(settings, *, log):
        raise ValueError("aws.queues: the settings do not say where the queues are")

    monkeypatch.setattr(bootstrap_aws, "open_platform_on_aws", refuses)
    result = CliRunner().invoke(app, ["queue", "list"])
    assert result.exit_code == 1
    assert "aws.queues" in result.stderr
    assert isinstance(result.exception, SystemExit)
